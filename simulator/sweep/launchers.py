"""Where blocks are done: here, in processes here, or by Dask."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Protocol

from simulator.errors import ConfigError, LobuleError, Problem
from simulator.sweep.store import Block


class Doer(Protocol):
    """A job that does a block by its number and writes it itself; it can be sent to another process."""

    def do(self, number: int, progress: Callable[[int], None] | None = None, threads: int | None = None) -> Block: ...


def here(job: Doer, numbers: Sequence[int], *, progress: Callable[[int], None] | None = None) -> Iterator[Block]:
    """Do blocks one after another in this process, each in threads."""
    for number in numbers:
        yield job.do(number, progress)


def processes(job: Doer, numbers: Sequence[int], *, workers: int) -> Iterator[Block]:
    """Do blocks in processes of this machine, each in one thread. A killed process costs the blocks in flight."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(job,)) as pool:
        waiting: set[Future[Block]] = set()
        left = iter(numbers)
        try:
            while True:
                while len(waiting) < workers + 1 and (number := next(left, None)) is not None:
                    waiting.add(pool.submit(_do, number))
                if not waiting:
                    return
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        except BrokenProcessPool as error:
            lost = "a worker process was killed; what was finished is intact, and the same command goes on from there"
            raise LobuleError(lost) from error
        finally:
            for future in waiting:
                future.cancel()


_JOB: list[Doer] = []


def _begin(job: Doer) -> None:
    _JOB[:] = [job]


def _do(number: int) -> Block:
    return _JOB[0].do(number, None, 1)


def dask(job: Doer, numbers: Sequence[int], *, address: str | None, workers: int | None) -> Iterator[Block]:
    """Do blocks by the workers of a Dask scheduler, or of a cluster of processes started here.

    A worker that is killed costs its block, which another one does again.

    Raises
    ------
    ConfigError
        If Dask is not installed, or no scheduler answers at the address.
    LobuleError
        If the scheduler is lost; what was finished is intact.
    """
    try:
        from distributed import Client, LocalCluster, as_completed
        from distributed.client import FutureCancelledError
    except ImportError as error:
        allowed = "needs Dask: pip install 'lobule[distributed]'"
        raise ConfigError(Problem("launcher", "dask", allowed)) from error
    cluster = None
    try:
        if address is None:
            cluster = LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None)
        client = Client(address if cluster is None else cluster, timeout=10)
    except (OSError, ValueError) as error:
        raise ConfigError(Problem("launcher.address", address, f"no scheduler answers there: {error}")) from error
    try:
        # The job goes with every task: Dask keeps one copy of what is scattered, and loses it with its worker.
        futures = [
            client.submit(_done_by, job, number, key=f"block-{number}", pure=False, retries=3) for number in numbers
        ]
        for future in as_completed(futures):
            yield future.result()
            future.release()
    except (OSError, FutureCancelledError) as error:
        lost = "the Dask scheduler was lost; what was finished is intact, and the same command goes on from there"
        raise LobuleError(lost) from error
    finally:
        client.close(timeout=5)
        if cluster is not None:
            cluster.close(timeout=10)


def _done_by(job: Doer, number: int) -> Block:
    return job.do(number, None, 1)
