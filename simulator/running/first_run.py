"""The first run on a machine: the compiled engine is compiled in a process beside this one.

Kernels are compiled when they are first called, one after another. A process of its own compiles the engine, the
larger part, while this one declares the experiment and passes a few patients through the study. Both leave what they
compile in the cache, where the other finds it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable

from simulator.engines import compiled
from simulator.engines.compiled.early import compile_after_race
from simulator.experiment.schema import Experiment
from simulator.kernels.compilation import cache_folder, n_cached
from simulator.running.batch import rehearse
from simulator.running.experiment import engine_of
from simulator.running.workers import processors

KERNELS = 165
"""Kernels that the first run compiles, about."""

_SECONDS = 0.5


class FirstRun:
    """What is compiled before a run can begin.

    Within its context kernels are counted as they are compiled. On leaving it the process beside this one ends.

    Parameters
    ----------
    progress : called from a thread, twice a second, with the number of kernels compiled and about how many there are.
    """

    def __init__(self, progress: Callable[[int, int], None]) -> None:
        self._progress = progress
        self._before = n_cached()
        self._over = threading.Event()
        self._counter = threading.Thread(target=self._count, daemon=True)
        self._engine: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> FirstRun:
        self._counter.start()
        if processors() > 1 and cache_folder() is not None:
            path = os.pathsep.join(place or os.curdir for place in sys.path)
            nowhere = subprocess.DEVNULL
            self._engine = subprocess.Popen(
                [sys.executable, "-m", compiled.__name__],
                env=os.environ | {"PYTHONPATH": path},
                stdin=subprocess.PIPE,
                stdout=nowhere,
                stderr=nowhere,
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._engine is not None:
            self._engine.kill()
            self._engine.communicate()
        self._over.set()
        self._counter.join()

    def finish(self, experiment: Experiment) -> None:
        """Compile what the study of an experiment needs, and wait for its engine; what failed is compiled later."""
        rehearse(experiment)
        if self._engine is not None and engine_of(experiment) == "compiled":
            compile_after_race()  # which the process beside comes to last
            self._engine.wait()

    def _count(self) -> None:
        while not self._over.wait(_SECONDS):
            done = n_cached() - self._before
            self._progress(done, max(KERNELS, done))
