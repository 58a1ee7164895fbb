"""Tasks in threads, their results in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from simulator.errors import ConfigError, Problem

THREADS_VARIABLE = "LOBULE_THREADS"
"""Environment variable that says how many threads work; as many as there are processors if it is not set."""

WorkItem = TypeVar("WorkItem")
Result = TypeVar("Result")


def processors(threads: int | None = None) -> int:
    """Threads that work: as many as are given, else as LOBULE_THREADS says, else one for each usable processor.

    Raises ConfigError where the variable is no whole number from 1 on.
    """
    said = os.environ.get(THREADS_VARIABLE, "")
    if threads is None and said:
        if not said.isdecimal() or int(said) < 1:
            raise ConfigError(Problem(THREADS_VARIABLE, said, "must be a whole number of threads, 1 or more"))
        threads = int(said)
    if threads is not None:
        return max(threads, 1)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_order(
    work: Callable[[WorkItem], Result], tasks: Iterable[WorkItem], threads: int
) -> Iterator[tuple[WorkItem, Result]]:
    """Yield each task with its result, in order; a few are at work or done beforehand, so that memory is bounded."""
    if threads == 1:
        for task in tasks:
            yield task, work(task)
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="lobule") as pool:
        waiting: deque[tuple[WorkItem, Future[Result]]] = deque()
        try:
            for task in tasks:
                waiting.append((task, pool.submit(work, task)))
                if len(waiting) > threads + 1:
                    first, result = waiting.popleft()
                    yield first, result.result()
            while waiting:
                first, result = waiting.popleft()
                yield first, result.result()
        finally:
            for _, result in waiting:
                result.cancel()
