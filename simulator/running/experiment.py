"""A declared experiment, run in blocks of patients into one tree. Knows the order of the steps.

A block holds whole replicates, or some patients of one that is too large for a block. Blocks are simulated, observed
and reduced in threads, each block in one; what they bring is put together in the order of patients, by rules that do
not depend on where blocks begin. So neither their size, nor the number of threads, nor the engine can change a result,
and memory does not grow with the number of patients unless their histories are asked for.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from simulator.declaration.schema import Experiment
from simulator.engines import reference
from simulator.errors import ConfigError, Problem
from simulator.study.design import Population, StudyDesign
from simulator.study.estimators import conclude, gather
from simulator.study.observe import StudyData, observe
from simulator.study.pooling import BINNED, EXACT_PATIENTS, Pool
from simulator.study.statistics import Accumulator, Part
from simulator.tables import NONE, Floats
from simulator.trajectories import Trajectories

if TYPE_CHECKING:
    from xarray import DataTree

BLOCK_PATIENTS = 16_384
"""Patients of a block, about: its arrays stay near the processor. Whole replicates if they are no larger."""

THREADS_VARIABLE = "LOBULE_THREADS"
"""Environment variable that says how many threads work; as many as there are processors if it is not set."""

Progress = Callable[[int, int], None]
Task = TypeVar("Task")
Result = TypeVar("Result")


def design_of(experiment: Experiment) -> StudyDesign:
    """Return the study design that an experiment declares."""
    arrays = dict(experiment.design)
    populations = tuple(Population(**population) for population in arrays.pop("populations"))
    return StudyDesign(populations=populations, **arrays)


def engine_of(experiment: Experiment) -> str:
    """Return the engine that runs an experiment; ``auto`` takes the compiled one if it has room for the model."""
    wanted = experiment.root.engine
    if wanted == "reference":
        return wanted
    from simulator.engines.compiled.plan import too_large

    reason = too_large(experiment.tables)
    if reason and wanted == "compiled":
        raise ConfigError(Problem("engine", wanted, f"has no room for {reason}; use reference or auto"))
    return "reference" if reason else "compiled"


def is_compiled(experiment: Experiment) -> bool:
    """Whether the engine of an experiment can run at once, without being compiled first."""
    if engine_of(experiment) == "reference":
        return True
    from simulator.engines import compiled

    return compiled.is_compiled()


def trajectories_of(
    experiment: Experiment,
    replicates: range,
    *,
    patients: range | None = None,
    threads: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Trajectories:
    """Simulate the given replicates of an experiment, or the given patients of each."""
    tables, seed = experiment.tables, experiment.root.seed
    if engine_of(experiment) == "reference":
        return reference.simulate(tables, seed=seed, replicates=replicates, patients=patients, progress=progress)
    from simulator.engines import compiled

    return compiled.simulate(
        tables, seed=seed, replicates=replicates, patients=patients, threads=threads, progress=progress
    )


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


def run(experiment: Experiment, *, progress: Progress | None = None, threads: int | None = None) -> DataTree:
    """Simulate, observe and estimate; return the results tree.

    ``progress`` is called with the number of patients finished and their total. No result depends on ``threads``
    (`processors`).
    """
    from simulator.results import tree as results

    engine = engine_of(experiment)
    n_replicates = experiment.study.replicates
    n_patients = int(experiment.tables.patients.n_patients[0])
    output, targets = experiment.root.output, experiment.selection.targets
    study = _Study(experiment, keep=output.patients or output.events)
    # SimPy's threads would wait for each other: it gets more than one only if it is told to.
    workers = 1 if engine == "reference" and threads is None else processors(threads)
    finished = _Finished(n_replicates * n_patients, progress)
    if workers == 1:
        study.simulated = finished.more
    kept: list[StudyData] = []
    for block, reduced in in_order(study.reduce, study.blocks(), workers):
        study.append(block, reduced)
        if reduced.data is not None:
            kept.append(reduced.data)
        if workers > 1:
            finished.more(block.n_patients)
    return results.build(
        targets=results.targets_dataset(targets, study.targets, binned=BINNED if study.binned else ""),
        statistics=results.statistics_dataset(study.pooled.result(), binned=BINNED if study.binned else ""),
        patients=results.patients_dataset(kept) if output.patients else None,
        events=results.events_dataset(kept) if output.events else None,
        record=_record(experiment, engine, n_replicates, n_patients),
    )


def in_order(work: Callable[[Task], Result], tasks: Iterable[Task], threads: int) -> Iterator[tuple[Task, Result]]:
    """Yield each task with its result, in order; a few are at work or done beforehand, so that memory is bounded."""
    if threads == 1:
        for task in tasks:
            yield task, work(task)
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="lobule") as pool:
        waiting: deque[tuple[Task, Future[Result]]] = deque()
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


@dataclass(frozen=True)
class Block:
    """Patients simulated together: those of some replicates, or, if ``patients`` is given, some of one."""

    replicates: range
    patients: range | None
    n_patients: int


@dataclass(frozen=True, eq=False)
class _Reduced:
    """What a block brings: what targets take of it, its part of the pooled statistics, its data if they are kept."""

    gathered: list[Any]
    part: Part
    data: StudyData | None


class _Study:
    """An experiment's studies as they are reduced: in any order, and put together in the order of patients."""

    def __init__(self, experiment: Experiment, *, keep: bool) -> None:
        self.experiment, self.keep = experiment, keep
        self.design = design_of(experiment)
        self.statistics = [entry.statistic for entry in experiment.selection.targets]
        self.n_patients = int(experiment.tables.patients.n_patients[0])
        self.binned = self.n_patients > EXACT_PATIENTS
        self.targets = np.full((experiment.study.replicates, len(self.statistics)), np.nan)
        self.pooled = Accumulator(time_grid(experiment))
        self.simulated: Callable[[int], None] | None = None  # called with the number of patients simulated since
        self._pools: list[Pool] = []

    def blocks(self) -> Iterator[Block]:
        """Cut the experiment into blocks. Histories that are kept stay in whole replicates."""
        replicates, n = self.experiment.study.replicates, self.n_patients
        if self.binned or (n > BLOCK_PATIENTS and not self.keep):
            step = n if self.keep else BLOCK_PATIENTS
            for replicate in range(replicates):
                for first in range(0, n, step):
                    patients = range(first, min(first + step, n))
                    yield Block(range(replicate, replicate + 1), patients, len(patients))
            return
        step = max(1, BLOCK_PATIENTS // n)
        for first in range(0, replicates, step):
            block = range(first, min(first + step, replicates))
            yield Block(block, None, len(block) * n)

    def reduce(self, block: Block) -> _Reduced:
        """Simulate and observe a block, and take what is needed of it."""
        histories = trajectories_of(self.experiment, block.replicates, patients=block.patients, progress=self.simulated)
        data = observe(histories, self.design, seed=self.experiment.root.seed)
        gathered = gather(data, self.statistics)
        if block.patients is None:
            gathered = [conclude(gathered, self.statistics, len(block.replicates))]
        part = self.pooled.reduce(data, of=None if block.patients is None else self.n_patients)
        return _Reduced(gathered, part, data if self.keep else None)

    def append(self, block: Block, reduced: _Reduced) -> None:
        """Put a block in its place, after those before it."""
        self.pooled.append(reduced.part)
        rows = slice(block.replicates.start, block.replicates.stop)
        if block.patients is None:
            self.targets[rows] = reduced.gathered[0]
            return
        if block.patients.start == 0:
            self._pools = [Pool(binned=self.binned) for _ in self.statistics]
        for pool, statistic, taken in zip(self._pools, self.statistics, reduced.gathered, strict=True):
            if statistic is not None:
                pool.add(taken)
        if block.patients.stop == self.n_patients:
            whole = [
                None if statistic is None else pool.whole()
                for pool, statistic in zip(self._pools, self.statistics, strict=True)
            ]
            self.targets[rows] = conclude(whole, self.statistics, 1)
            self._pools = []


class _Finished:
    """Patients finished so far, told as they come."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self.total, self.done, self.progress = total, 0, progress

    def more(self, patients: int) -> None:
        self.done += patients
        if self.progress is not None:
            self.progress(self.done, self.total)


def time_grid(experiment: Experiment) -> Floats:
    """Times of curves: from 0 in steps of ``output.time_step`` to the horizon, which is the last."""
    horizon = float(experiment.tables.horizon[0])
    step = float(experiment.root.output.time_step)
    grid: Floats = np.arange(int(np.ceil(horizon / step)), dtype=float) * step
    return np.append(grid, horizon)


def _record(experiment: Experiment, engine: str, n_replicates: int, n_patients: int) -> dict[str, Any]:
    from simulator.results.provenance import record

    parameters = {
        path: {
            "value": leaf.value,
            "provenance": leaf.provenance,
            "note": leaf.note or "",
            "source": leaf.source or "",
        }
        for path, leaf in experiment.parameters.items()
    }
    return record(
        experiment.config,
        seed=experiment.root.seed,
        evidence={
            "readings": dict(experiment.selection.chosen),
            "entries": list(experiment.selection.entries),
        },
        parameters={"declared": parameters, "solved": experiment.solved.values},
        engine=engine,
        cohort=experiment.name,
        title=experiment.cohort.title or experiment.name,
        n_replicates=n_replicates,
        n_patients=n_patients,
        overrides="\n".join(experiment.overrides),
        assumed=assumption(experiment),
    )


def assumption(experiment: Experiment) -> str:
    """What every survival output rests on, in words."""
    effect, tables = experiment.solved.effect, experiment.tables
    if not effect:
        return ""
    if "causal" in effect:
        said = "assumed: response causes survival"
    else:
        said = (
            "response announces survival (prognostic): a change of response or course leaves overall survival as it is"
        )
    if len(tables.arms) > 1:
        said += "; solved for the reference arm, the effects of other arms come on top"
    solved = {e for e, event in enumerate(experiment.model.events.values()) if event.hazard and event.hazard.solved_for}
    on_top = {
        tables.markers[int(tables.effect_marker[f])]
        for f in range(tables.effect_event.size)
        if int(tables.effect_event[f]) in solved
        and tables.effect_marker[f] != NONE
        and np.any(tables.effect_ratio[:, f] != 1.0)
        and not any(_sets(experiment, e, int(tables.effect_marker[f])) for e in solved)
    }
    return said + (f"; the effect of {', '.join(sorted(on_top))} comes on top of it" if on_top else "")


def _sets(experiment: Experiment, death: int, marker: int) -> bool:
    """Whether the event for which a death is solved sets a marker."""
    hazard = list(experiment.model.events.values())[death].hazard
    if hazard is None or hazard.solved_for is None:
        return False
    return experiment.model.markers[marker] in experiment.model.events[hazard.solved_for].set
