"""Declared experiments, run in blocks of patients, each into an outcome.

A block holds whole replicates. Blocks are simulated, observed and reduced in threads, each block in one; what they find
is put together in the order of replicates, by rules that do not depend on where blocks begin. So neither their size,
nor the number of threads, nor the engine, nor the experiments that are run together can change a result, and memory
does not grow with the number of replicates unless histories are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.engines import reference
from simulator.errors import SimulationError
from simulator.experiment.schema import Experiment
from simulator.running.experiment import design_of, engine_of, time_grid, trajectories_of
from simulator.running.other_end import other_end, side_by_side
from simulator.running.record import record_of
from simulator.running.workers import in_order, processors
from simulator.study.accumulators import Accumulator, Part
from simulator.study.decisions import intervals
from simulator.study.estimators import Wanted, conclude, gather, share_of
from simulator.study.observe import StudyData, observe
from simulator.study.patients import Patients
from simulator.study.recombined import Recombined, recombinations
from simulator.study.statistics import LabelledArray
from simulator.tables import Floats
from simulator.trajectories import Trajectories

if TYPE_CHECKING:
    from xarray import DataTree

BLOCK_PATIENTS = 16_384
"""Patients of a block, about: its arrays stay near the processor. A larger study is a block of its own."""
MOST_AT_ONCE = 4_000_000
"""Patients whose histories are held at once, by all threads; a study may have a million."""
REHEARSAL = 20
"""Patients of a rehearsal."""

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class RunResult:
    """What a run of one experiment brought: arrays. `tree_of` makes a results tree of them."""

    engine: str
    targets: Floats  # (replicates, targets): what each simulated study reports
    estimates: Floats  # (replicates, estimates): of what studies compute beside the targets
    decisions: Floats  # (replicates, decisions, 2): the interval that each decision looks at
    statistics: Mapping[str, LabelledArray]  # of all replicates together, by name
    kept: tuple[StudyData, ...]  # blocks of replicates in order, where ``output`` asks for patients or events
    sums: Mapping[str, Any] = field(default_factory=dict)  # what more replicates can be added to, where that is wanted


@dataclass(frozen=True, eq=False)
class PartialRun:
    """What the first replicates of an experiment brought before: of an `RunResult` of theirs, with its sums."""

    targets: Floats
    estimates: Floats
    decisions: Floats
    sums: Mapping[str, Any]

    @property
    def replicates(self) -> int:
        """How many they were."""
        return len(self.targets)


def run(experiment: Experiment, *, progress: OnProgress | None = None, threads: int | None = None) -> DataTree:
    """Simulate, observe and estimate; return the results tree. As `outcomes` of one experiment, or at both ends."""
    other = other_end(experiment)
    if other is None:
        [outcome] = outcomes([experiment], progress=progress, threads=threads)
        return tree_of(experiment, outcome)
    outcome, beside = outcomes([experiment, other], progress=progress, threads=threads)
    return tree_of(experiment, outcome, beside=(other, beside))


def outcomes(
    experiments: Sequence[Experiment],
    *,
    threads: int | None = None,
    progress: OnProgress | None = None,
    partial: Sequence[PartialRun | None] | None = None,
    summed: bool = False,
) -> Iterator[RunResult]:
    """Yield what each experiment brings, in order; each is what it would bring alone, bit for bit.

    One of several parameter sets (`experiment.schema.declare_many`) brings as many outcomes, in their order.

    ``progress`` is called with the number of patients finished and their total. No result depends on ``threads``
    (`workers.processors`). ``partial``: what the first replicates of each experiment found before, all of one
    parameter set; only the others are simulated, and the outcome is that of all. ``summed``: keep the sums that this
    takes.
    """
    before = partial if partial is not None else [None] * len(experiments)
    total = sum(
        (e.study.replicates - (0 if earlier is None else earlier.replicates)) * int(e.tables.patients.n_patients.sum())
        for e, earlier in zip(experiments, before, strict=True)
    )
    finished = _Finished(total, progress)
    # SimPy's threads would wait for each other: it gets more than one only where ``threads`` says so.
    by_simpy = any(engine_of(experiment) == "reference" for experiment in experiments)
    largest = max((int(e.tables.patients.n_patients.max()) for e in experiments), default=1)
    workers = 1 if by_simpy and threads is None else min(processors(threads), max(1, MOST_AT_ONCE // largest))
    simulated = finished.more if workers == 1 else None
    studies = (
        _Study(experiment, b, simulated, earlier, summed=summed)
        for experiment, earlier in zip(experiments, before, strict=True)
        for b in range(experiment.tables.n_sets)
    )
    tasks = ((study, block) for study in studies for block in study.blocks())
    for (study, block), reduced in in_order(lambda task: task[0].reduce(task[1]), tasks, workers):
        study.append(block, reduced)
        if workers > 1:
            finished.more(len(block) * study.n_patients)
        if block.stop == study.experiment.study.replicates:
            yield study.outcome()


def rehearse(experiment: Experiment) -> None:
    """Pass a few patients of the reference engine through the study, so that all that the study needs is compiled."""
    small = replace(experiment, study=experiment.study.model_copy(update={"replicates": 1}))
    study, one = _Study(small), range(1)
    patients = range(min(REHEARSAL, study.n_patients))
    seed = small.root.seed
    try:
        histories = reference.simulate(small.tables, seed=seed, replicates=one, parameter_sets=one, patients=patients)
    except SimulationError:  # the run says so
        return
    study.append(one, study.of(histories, one))
    study.outcome()


def targets(
    experiment: Experiment,
    *,
    of: Sequence[str] | None = None,
    recombined: int = 0,
    replicates: Sequence[range] | None = None,
    threads: int | None = None,
) -> Floats:
    """What the simulated studies of each parameter set report, (sets, replicates, targets); nothing else is kept.

    The `Outcome.targets` of its parameter sets, for many of them at a fraction of the price: sets share blocks.

    Parameters
    ----------
    of : ids of the targets, in this order; None: all.
    recombined : so many times as many studies more, put together anew from the same patients (`study.recombined`):
        the result has (1 + ``recombined``) · replicates studies.
    replicates : for each parameter set, or for the first of them, replicates of its own, as many for each, so that sets
        share no random numbers; None: those of the study, for all of them.

    Raises
    ------
    ValueError
        Where parameter sets that are recombined differ in number of patients.
    """
    tables, by_id = experiment.tables, {entry.id: entry.statistic for entry in experiment.selection.targets}
    names = list(by_id) if of is None else list(of)
    statistics = [by_id[name] for name in names]
    sizes, common = tables.patients.n_patients, range(experiment.study.replicates)
    if replicates is None and not recombined and (sizes.min() != sizes.max() or sizes.max() > BLOCK_PATIENTS):
        columns = [list(by_id).index(name) for name in names]
        return np.stack([outcome.targets[:, columns] for outcome in outcomes([experiment], threads=threads)])
    if recombined and sizes.min() != sizes.max():
        raise ValueError("parameter sets differ in number of patients: recombine each on its own")
    design, seed = design_of(experiment), experiment.root.seed
    n = len(common if replicates is None else replicates[0])
    anew = recombinations(n, int(sizes[0]), recombined, seed=seed) if recombined else None

    def reduce(block: tuple[range, range]) -> Floats:
        sets, some = block
        data = observe(trajectories_of(experiment, some, parameter_sets=sets), design, seed=seed)
        found = [_estimated(data, statistics, len(sets))]
        if anew is not None:
            found.append(_estimated(Recombined(data, anew, len(sets)), statistics, len(sets)))
        return np.concatenate(found, axis=1)

    if replicates is None:
        step = max(1, BLOCK_PATIENTS // int(sizes[0] * n))
        within = n if anew is not None else max(1, min(n, BLOCK_PATIENTS // int(sizes[0])))
        blocks = [
            (range(b, min(b + step, tables.n_sets)), common[r : r + within])
            for b in range(0, tables.n_sets, step)
            for r in range(0, n, within)
        ]
    else:
        within = n
        blocks = [(range(b, b + 1), some) for b, some in enumerate(replicates)]
    workers = 1 if threads is None and engine_of(experiment) == "reference" else processors(threads)
    values = np.full((blocks[-1][0].stop, (1 + recombined) * n, len(statistics)), np.nan)
    for (sets, some), found in in_order(reduce, blocks, workers):
        first = some.start if within < n else 0
        values[sets.start : sets.stop, first : first + found.shape[1]] = found
    return values


def _estimated(patients: Patients, statistics: Sequence[Wanted | None], sets: int) -> Floats:
    """Estimate every statistic of the studies of some parameter sets, (sets, replicates, statistics)."""
    gathered = gather(patients, statistics)
    studies = patients.all_patients.shape[0]
    return conclude(gathered, statistics, studies).reshape(sets, studies // sets, len(statistics))


def tree_of(
    experiment: Experiment, outcome: RunResult, *, beside: tuple[Experiment, RunResult] | None = None
) -> DataTree:
    """Return the results tree of an outcome of one parameter set; ``beside``: its `other_end`, with its outcome."""
    from simulator.results import histories
    from simulator.results import tree as results
    from simulator.results.decisions import decisions_dataset
    from simulator.results.estimates import estimates_dataset

    output, targets = experiment.root.output, experiment.targets
    asked, found, shares = dict(experiment.estimates), outcome.estimates, None
    if beside is not None:
        asked, found, shares = side_by_side(asked, found, beside[0].estimates, beside[1].estimates)
    return results.build(
        targets=results.targets_dataset(targets, outcome.targets),
        statistics=results.statistics_dataset(outcome.statistics),
        estimates=estimates_dataset(asked, found, shares=shares) if asked else None,
        decisions=decisions_dataset(output.decisions, outcome.decisions) if output.decisions else None,
        patients=histories.patients_dataset(outcome.kept) if output.patients else None,
        events=histories.events_dataset(outcome.kept) if output.events else None,
        record=record_of(experiment, engine=outcome.engine),
    )


@dataclass(frozen=True, eq=False)
class _Reduced:
    """What a block of replicates finds: targets and estimates, ends of decisions, its part of the pooled statistics."""

    found: Floats
    decisions: Floats
    part: Part
    data: StudyData | None  # if histories are kept


class _Study:
    """Studies of one parameter set as they are reduced: in any order, and put together in the order of patients."""

    def __init__(
        self,
        experiment: Experiment,
        parameter_set: int = 0,
        simulated: Callable[[int], None] | None = None,
        partial: PartialRun | None = None,
        *,
        summed: bool = False,
    ) -> None:
        self.experiment, self.parameter_sets = experiment, range(parameter_set, parameter_set + 1)
        self.simulated = simulated  # is called with the patients simulated since the last call
        self.keep = experiment.root.output.patients or experiment.root.output.events
        self.design = design_of(experiment)
        self.n_targets = len(experiment.selection.targets)
        self.statistics = [entry.statistic for entry in experiment.selection.targets] + [*experiment.estimates.values()]
        self.n_patients = int(experiment.tables.patients.n_patients[parameter_set])
        self.found = np.full((experiment.study.replicates, len(self.statistics)), np.nan)  # targets, then estimates
        self.rules = list(experiment.root.output.decisions.values())
        names = (*(entry.id for entry in experiment.selection.targets), *experiment.estimates)
        places = {name: place for place, name in enumerate(names)}
        self.ruled = [places[rule.target] for rule in self.rules]
        self.decisions = np.full((experiment.study.replicates, len(self.rules), 2), np.nan)
        self.pooled = Accumulator(time_grid(experiment, parameter_set))
        self.first, self.summed = 0, summed
        if partial is not None:
            self.first = partial.replicates
            self.found[: self.first] = np.concatenate([partial.targets, partial.estimates], axis=1)
            self.decisions[: self.first] = partial.decisions
            self.pooled.merge(partial.sums)
        self._kept: list[StudyData] = []

    def blocks(self) -> Iterator[range]:
        """Cut the experiment into blocks of replicates."""
        replicates, step = self.experiment.study.replicates, max(1, BLOCK_PATIENTS // self.n_patients)
        for first in range(self.first, replicates, step):
            yield range(first, min(first + step, replicates))

    def reduce(self, block: range) -> _Reduced:
        """Simulate a block, and take what is needed of it."""
        return self.of(
            trajectories_of(self.experiment, block, parameter_sets=self.parameter_sets, progress=self.simulated), block
        )

    def of(self, histories: Trajectories, block: range) -> _Reduced:
        """Observe the histories of a block, and take what is needed of it."""
        data = observe(histories, self.design, seed=self.experiment.root.seed)
        gathered = gather(data, self.statistics)
        shares = [share_of(gathered[place]) for place in self.ruled]
        found, decisions = conclude(gathered, self.statistics, len(block)), intervals(shares, self.rules, len(block))
        return _Reduced(found, decisions, self.pooled.count(data), data if self.keep else None)

    def append(self, block: range, reduced: _Reduced) -> None:
        """Put a block in its place, after those before it."""
        self.pooled.append(reduced.part)
        if reduced.data is not None:
            self._kept.append(reduced.data)
        rows = slice(block.start, block.stop)
        self.found[rows], self.decisions[rows] = reduced.found, reduced.decisions

    def outcome(self) -> RunResult:
        """What the experiment brought once its last block has been appended."""
        return RunResult(
            engine_of(self.experiment),
            self.found[:, : self.n_targets],
            self.found[:, self.n_targets :],
            self.decisions,
            self.pooled.conclude(),
            tuple(self._kept),
            self.pooled.sums() if self.summed else {},
        )


class _Finished:
    """Counts finished patients, and calls ``progress`` with them."""

    def __init__(self, total: int, progress: OnProgress | None) -> None:
        self.total, self.done, self.progress = total, 0, progress

    def more(self, patients: int) -> None:
        self.done += patients
        if self.progress is not None:
            self.progress(self.done, self.total)
