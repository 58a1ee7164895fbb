"""What a declared experiment says of its own run: design, engine, grid of times. Runs nothing but an engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict

import numpy as np

from simulator.engines import reference
from simulator.errors import ConfigError, Problem
from simulator.experiment.schema import Experiment
from simulator.study.design import AnalysisSet, StudyDesign
from simulator.tables import Floats
from simulator.trajectories import Trajectories


class Whom(TypedDict):
    """Whom an engine simulates."""

    replicates: range
    parameter_sets: range | None
    patients: range | None


def design_of(experiment: Experiment) -> StudyDesign:
    """Return the study design that an experiment declares."""
    arrays = dict(experiment.design)
    populations = tuple(AnalysisSet(**population) for population in arrays.pop("populations"))
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


def trajectories_of(
    experiment: Experiment,
    replicates: range,
    *,
    parameter_sets: range | None = None,
    patients: range | None = None,
    threads: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Trajectories:
    """Simulate the given replicates of an experiment, of some parameter sets (None: all), or some patients of each."""
    tables, seed = experiment.tables, experiment.root.seed
    whom: Whom = {"replicates": replicates, "parameter_sets": parameter_sets, "patients": patients}
    if engine_of(experiment) == "reference":
        return reference.simulate(tables, seed=seed, **whom, progress=progress)
    from simulator.engines import compiled

    return compiled.simulate(tables, seed=seed, **whom, threads=threads, progress=progress)


def time_grid(experiment: Experiment, parameter_set: int = 0) -> Floats:
    """Times of curves: from 0 in steps of ``output.time_step`` to the horizon, which is the last."""
    horizon = float(experiment.tables.horizon[parameter_set])
    step = float(experiment.root.output.time_step)
    grid: Floats = np.arange(int(np.ceil(horizon / step)), dtype=float) * step
    return np.append(grid, horizon)
