"""A declared experiment, run in blocks of replicate studies into one tree. Knows the order of the steps.

Blocks hold whole replicates; what they bring is added in the order of replicates, so that neither the
size of a block nor the engine that ran it can change a result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.declaration.schema import Experiment
from simulator.engines import reference
from simulator.errors import ConfigError, Problem
from simulator.study.design import Population, StudyDesign
from simulator.study.estimators import estimate
from simulator.study.observe import StudyData, observe
from simulator.study.statistics import Accumulator
from simulator.tables import NONE, Floats
from simulator.trajectories import Trajectories

if TYPE_CHECKING:
    from xarray import DataTree

BLOCK_PATIENTS = 10_000
"""Patients of a block, about: whole replicates, at least one."""

Progress = Callable[[int, int], None]


def design_of(experiment: Experiment) -> StudyDesign:
    """Return the study design that an experiment declares."""
    arrays = dict(experiment.design)
    populations = tuple(Population(**population) for population in arrays.pop("populations"))
    return StudyDesign(populations=populations, **arrays)


def engine_of(experiment: Experiment) -> str:
    """Return the engine that runs an experiment; ``auto`` takes the only one there is yet."""
    if experiment.root.engine == "compiled":
        raise ConfigError(Problem("engine", "compiled", "is not built yet; use reference or auto"))
    return "reference"


def trajectories_of(
    experiment: Experiment, replicates: range, *, progress: Callable[[int], None] | None = None
) -> Trajectories:
    """Simulate the given replicates of an experiment."""
    engine_of(experiment)
    return reference.simulate(experiment.tables, seed=experiment.root.seed, replicates=replicates, progress=progress)


def run(experiment: Experiment, *, progress: Progress | None = None) -> DataTree:
    """Simulate, observe and estimate; return the results tree.

    ``progress`` is called with the number of patients finished and their total.
    """
    from simulator.results import tree as results

    engine = engine_of(experiment)
    n_replicates = experiment.study.replicates
    n_patients = int(experiment.tables.patients.n_patients[0])
    targets = experiment.selection.targets
    simulated = np.empty((n_replicates, len(targets)))
    accumulator = Accumulator(time_grid(experiment))
    kept: list[StudyData] = []
    keep = experiment.root.output.patients or experiment.root.output.events
    for block, data in blocks(experiment, progress=progress):
        for k, entry in enumerate(targets):
            if entry.statistic is not None:
                simulated[block.start : block.stop, k] = estimate(data, entry.statistic)
        accumulator.add(data)
        if keep:
            kept.append(data)
    return results.build(
        targets=results.targets_dataset(targets, simulated),
        statistics=results.statistics_dataset(accumulator.result()),
        patients=results.patients_dataset(kept) if experiment.root.output.patients else None,
        events=results.events_dataset(kept) if experiment.root.output.events else None,
        record=_record(experiment, engine, n_replicates, n_patients),
    )


def blocks(experiment: Experiment, *, progress: Progress | None = None) -> Iterator[tuple[range, StudyData]]:
    """Yield blocks of replicate studies, in order: their replicate numbers and what was seen."""
    design, n_replicates = design_of(experiment), experiment.study.replicates
    n_patients = int(experiment.tables.patients.n_patients[0])
    total, done = n_replicates * n_patients, 0

    def finished(patients: int) -> None:
        nonlocal done
        done += patients
        if progress is not None:
            progress(done, total)

    size = max(1, BLOCK_PATIENTS // n_patients)
    for first in range(0, n_replicates, size):
        block = range(first, min(first + size, n_replicates))
        histories = trajectories_of(experiment, block, progress=finished)
        yield block, observe(histories, design, seed=experiment.root.seed)


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
