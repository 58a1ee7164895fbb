"""How far work has come: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any

from simulator.cli.terminal import raw_of

if TYPE_CHECKING:
    from simulator.experiment.schema import Experiment
    from simulator.running.first_run import FirstRun

QUIET_SECONDS = 30.0
"""Time between two lines where nobody watches."""


def say(line: str) -> None:
    """Say a line beside the results."""
    print(line, file=sys.stderr, flush=True)


class Progress:
    """Progress towards a total, shown while the context lasts."""

    def __init__(self, verb: str, total: int | None = None) -> None:
        self.verb, self.total, self.done = verb, total, 0
        self._committed = 0
        self._bar: Any = None

    def __enter__(self) -> Progress:
        self._began = self._last = time.monotonic()
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=Console(file=raw_of(sys.stderr)), transient=True)
            self._bar.start()
            self._task = self._bar.add_task(self.verb, total=self.total)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def at(self, done: int, total: int, *, verb: str | None = None) -> None:
        """Say how far it is, and of what where that is another thing now."""
        if verb is not None and verb != self.verb:
            self.verb, self._began = verb, time.monotonic()
        self.done, self.total = done, total
        self._show()

    def more(self, n: int) -> None:
        """Say that so many more are done, before the block that they are in is."""
        total = self.total or 0
        self.at(min(self.done + n, total), total)

    def block(self, n: int) -> None:
        """Say that a block of so many is done."""
        self._committed += n
        total = self.total or 0
        self.at(max(self.done, min(self._committed, total)), total)

    def _show(self) -> None:
        now, total = time.monotonic(), self.total or 0
        rate = self.done / max(now - self._began, 1e-9)
        said = f"{self.verb} {self.done:,} of {total:,}, {rate:,.0f}/s"
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, total=total, description=said)
        elif now - self._last >= QUIET_SECONDS:
            self._last = now
            left = (total - self.done) / max(rate, 1e-9)
            say(f"{said}, {left:,.0f} s left")


class Compilation:
    """What the first run on a machine compiles, shown while the context lasts; nothing where the engine is compiled.

    ``overrides``: of the run; with ``engine=reference`` nothing is compiled beforehand.
    """

    def __init__(self, overrides: Sequence[str]) -> None:
        self._wanted = "engine=reference" not in overrides
        self._shown = ExitStack()
        self._first_run: FirstRun | None = None

    def __enter__(self) -> Compilation:
        return self

    def __exit__(self, *_: object) -> None:
        self._shown.close()

    def begin(self) -> None:
        """Begin, once the input is known to be read: an error of it comes first."""
        from simulator.engines import compiled

        if not self._wanted or compiled.is_compiled():
            return
        from simulator.running.first_run import FirstRun

        say("compiling, once on this machine: a minute or less on two processors")
        progress = self._shown.enter_context(Progress("compiled"))
        self._first_run = self._shown.enter_context(FirstRun(progress.at))

    def finish(self, experiment: Experiment) -> None:
        """Return when all that an experiment needs is compiled."""
        if self._first_run is not None:
            self._first_run.finish(experiment)
        self._shown.close()
