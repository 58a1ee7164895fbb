"""What both engines are given: generated models by number, several parameter sets, models of ties and of extremes.

A case is its number: the model that Hypothesis draws for it (`tests.any_model`), one to three parameter sets, a seed,
and the replicates that hold so many patients. Sets other than the first are the tables of the first with other
numbers: whatever has a leading dimension of parameter sets may differ between them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, fields, replace
from types import ModuleType
from typing import Any

import numpy as np
import yaml

from simulator.engines import reference
from simulator.errors import SimulationError
from simulator.kernels.hazards import FAMILIES
from simulator.kernels.quantiles import DISTRIBUTIONS
from simulator.tables import NONE, Clock, CourseTables, ModelTables, PatientTable
from simulator.trajectories import Trajectories
from tests import any_model, models

PATIENTS = 20_000
FEW = 150
"""Patients that show a wrong rule; a wrong rounding may take many more."""
SEEDS = (20240917, 2**64 - 1, 0, 2**63)
FIRST_REPLICATES = (0, 2**32 - 100_000)


@dataclass(frozen=True, eq=False)
class Case:
    """One model, its parameter sets and whose luck."""

    name: str
    config: dict[str, Any]
    tables: ModelTables
    seed: int
    replicates: range

    def __str__(self) -> str:
        shown = yaml.safe_dump({group: self.config[group] for group in ("model", "cohort", "course", "study")})
        sets = f"{self.tables.n_sets} parameter set(s), seed={self.seed}, replicates={self.replicates}"
        return f"{self.name}: {sets}\n{shown}"

    @property
    def size(self) -> int:
        """Patients of all parameter sets."""
        return int(self.tables.patients.n_patients.sum()) * len(self.replicates)

    def by(self, engine: ModuleType, **options: Any) -> Trajectories | SimulationError:
        """Return the histories that an engine gives, or the error with which it stops."""
        try:
            return engine.simulate(self.tables, seed=self.seed, replicates=self.replicates, **options)  # type: ignore[no-any-return]
        except SimulationError as stopped:
            return stopped


def generated(number: int, *, patients: int = PATIENTS, study: int = 1_000) -> Case:
    """Return the case of a number: every third on a grid, every third with two or three parameter sets.

    ``study``: patients of one replicate; a second parameter set may have more or fewer.
    """
    grid = number % 3 == 2
    config = any_model.drawn(any_model.random_models(n_patients=study, grid=grid), number)
    rng = np.random.default_rng(number)
    n_sets = int(rng.integers(2, 4)) if rng.random() < 1 / 3 else 1
    tables = varied(models.compiled(config, quiet=True).tables, n_sets, rng, unit=step_of(config) if grid else None)
    first = FIRST_REPLICATES[rng.integers(len(FIRST_REPLICATES))]
    size = int(tables.patients.n_patients.sum())
    replicates = range(first, first + -(-patients // size))
    return Case(f"case {number}", config, tables, SEEDS[rng.integers(len(SEEDS))], replicates)


def by_reference(number: int, **size: int) -> tuple[Case, Trajectories | SimulationError]:
    """Return the case of a number and what the reference engine makes of it: a task for a process."""
    case = generated(number, **size)
    return case, case.by(reference)


def ahead(numbers: Iterable[int], **size: int) -> Iterator[tuple[Case, Trajectories | SimulationError]]:
    """Yield `by_reference` of each number in order, computed by all processes some numbers ahead."""
    waiting: deque[Future[Any]] = deque()
    for number in numbers:
        waiting.append(models.workers().submit(by_reference, number, **size))
        if len(waiting) > 2 * models.processors():
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def step_of(config: dict[str, Any]) -> float:
    """Return the unit of a declaration on a grid."""
    return float(config["study"]["horizon"]) / any_model.GRID_STEPS


# ------------------------------------------------------------------------------------------- several parameter sets


def varied(tables: ModelTables, n_sets: int, rng: np.random.Generator, *, unit: float | None = None) -> ModelTables:
    """Return tables of several sets, the first as it was and the others with other numbers.

    ``unit``: times stay multiples of it.
    """
    if n_sets == 1:
        return tables
    course = _tiled(tables.course, n_sets)
    patients = _tiled(tables.patients, n_sets)
    events = _tiled(tables, n_sets)
    for b in range(1, n_sets):
        _vary_events(tables, events, b, rng, unit)
        _vary_course(course, b, rng, unit)
        _vary_patients(patients, b, rng)
    return replace(
        tables, course=replace(tables.course, **course), patients=replace(tables.patients, **patients), **events
    )


def _tiled(table: ModelTables | CourseTables | PatientTable, n_sets: int) -> dict[str, Any]:
    """Return writable copies of all arrays whose first dimension is the parameter set, repeated."""
    return {name: np.repeat(getattr(table, name), n_sets, axis=0) for name in led_by_sets(table)}


def led_by_sets(table: ModelTables | CourseTables | PatientTable) -> list[str]:
    """Names of the arrays whose first dimension is the parameter set."""
    return [spec.name for spec in fields(table) if spec.metadata.get("dims", "").startswith("B")]


def _vary_events(tables: ModelTables, a: dict[str, Any], b: int, rng: np.random.Generator, unit: float | None) -> None:
    n_events, n_cells = len(tables.events), tables.n_cells
    horizon = a["horizon"][b]
    a["horizon"][b] = rng.choice([horizon, horizon / 2, horizon - (unit or 0.25)])
    _swap_families(tables, a, b, rng)
    timer = a["family"][b] == FAMILIES["fixed"].code
    factor = rng.uniform(0.7, 1.4, (n_events, n_cells))
    shifted = np.where(a["family"][b] == FAMILIES["generalised_gamma"].code, factor - 1.0, 0.0)
    scaled = a["parameters"][b, :, :, 0] * np.where(timer, 1.0, factor) + shifted
    a["parameters"][b, :, :, 0] = scaled + np.where(timer, unit or 0.5, 0.0)
    a["probability"][b] = _redrawn(a["probability"][b], rng)
    a["success"][b] = _redrawn(a["success"][b], rng)
    a["cell_ratio"][b] *= rng.choice([1.0, 0.5, 1.3, 0.0], (n_events, n_cells), p=[0.5, 0.2, 0.2, 0.1])
    a["effect_ratio"][b] *= rng.choice([1.0, 0.5, 1.7, 0.0], a["effect_ratio"][b].shape, p=[0.4, 0.25, 0.25, 0.1])
    a["covariate_effect"][b, :, 0] *= rng.choice([1.0, -1.0, 0.0, 0.3], a["covariate_effect"].shape[1])
    a["covariate_effect"][b, :, 1] += rng.uniform(-0.5, 0.5, a["covariate_effect"].shape[1])
    for start, stop in zip(tables.outcome_offset[:-1], tables.outcome_offset[1:], strict=True):
        if stop > start:
            a["outcome_cdf"][b, start : stop - 1] = np.sort(rng.random((stop - start - 1, n_cells)), axis=0)
    for e in range(n_events):
        code, values = _lag(rng, unit)
        a["lag_code"][b, e], a["lag"][b, e] = DISTRIBUTIONS[code].code, values


def _swap_families(tables: ModelTables, a: dict[str, Any], b: int, rng: np.random.Generator) -> None:
    """Give some cells of an event the hazard of another one: families differ by set, and within a set by cell.

    Only where both may recur or neither, both count the same age or neither, and no timer takes part: it might
    not leave the risk set where it goes off.
    """
    timers = (tables.family == FAMILIES["fixed"].code).any(axis=(0, 2))
    kind = list(zip(tables.event_recurrent.tolist(), (tables.event_clock == Clock.AGE).tolist(), strict=True))
    for e in range(len(tables.events)):
        others = [o for o in range(len(kind)) if kind[o] == kind[e] and not timers[o] and not timers[e]]
        if others and rng.random() < 0.4:
            other = int(rng.choice(others))
            cells = np.flatnonzero(rng.random(tables.n_cells) < 0.6)
            for name in ("family", "parameters", "table"):
                a[name][b, e, cells] = getattr(tables, name)[0, other, cells]


def _vary_course(a: dict[str, Any], b: int, rng: np.random.Generator, unit: float | None) -> None:
    for arm in range(a["given"].shape[1]):
        if not a["given"][b, arm]:
            continue
        most = int(rng.integers(0, a["maximum"][b, arm] + 1))
        a["maximum"][b, arm], a["given"][b, arm] = most, most > 0
        cdf = a["planned_cdf"][b, arm]
        cdf[:] = np.minimum(cdf * rng.uniform(0.5, 1.5), 1.0)
        cdf[:, max(most, 0) :] = 1.0
        a["start"][b, arm] = rng.choice([0.0, unit or 3.5, a["start"][b, arm]])
        if a["interval_code"][b, arm] != NONE:
            code, values = _interval(rng, unit)
            a["interval_code"][b, arm], a["interval"][b, arm] = DISTRIBUTIONS[code].code, values
    a["dose_level"][b] *= rng.uniform(0.5, 2.0)
    inner = a["dose_cdf"][b, :, :-1]
    a["dose_cdf"][b, :, :-1] = np.where(inner < 1.0, np.sort(rng.random(inner.shape), axis=-1), 1.0)
    a["delay_after_adverse_event"][b] = rng.choice([0.0, unit or 1.25])
    a["dose_factor_after_adverse_event"][b] = rng.choice([1.0, 0.9, 0.0])
    a["frailty"][b] = rng.choice([0.0, 0.2, 0.7])
    threshold = a["term_threshold"][b]
    a["term_threshold"][b] = np.where(
        rng.random(threshold.shape) < 0.1, -np.inf, rng.normal(-0.5, 1.0, threshold.shape)
    )


def _vary_patients(a: dict[str, Any], b: int, rng: np.random.Generator) -> None:
    n = int(a["n_patients"][b])
    a["n_patients"][b] = rng.choice([n, max(n // 2, 1), n + 3, max(n - 1, 1)])
    share = a["share"][b] * rng.uniform(0.1, 1.0, a["share"][b].size)
    if share.size > 2:
        share[int(rng.integers(share.size))] = 0.0
    a["share"][b] = share / share.sum() if share.sum() > 0.0 else a["share"][b]
    a["covariate"][b, :, :, 0] *= np.where(a["covariate"][b, :, :, 1] > a["covariate"][b, :, :, 0], 1.0, 1.01)


def _redrawn(p: Any, rng: np.random.Generator) -> Any:
    """Return other probabilities where they were neither 0 nor 1, and here and there one of these."""
    other = rng.choice([0.0, 1.0, 0.3, 0.8], p.shape, p=[0.1, 0.1, 0.4, 0.4])
    return np.where((p > 0.0) & ((p < 1.0) | (rng.random(p.shape) < 0.1)), other, p)


def _lag(rng: np.random.Generator, unit: float | None) -> tuple[str, list[float]]:
    laws = [
        ("fixed", [0.0, 0.0, 0.0]),
        ("fixed", [unit or 10.25, 0.0, 0.0]),
        ("uniform", [unit or 0.0, unit or 9.0, 0.0]),
    ]
    if unit is None:
        laws += [("weibull", [12.0, 1.5, 0.0]), ("triangular", [1.0, 2.0, 20.0])]
    return laws[int(rng.integers(len(laws)))]


def _interval(rng: np.random.Generator, unit: float | None) -> tuple[str, list[float]]:
    laws = [("fixed", [unit or 20.1, 0.0, 0.0]), ("uniform", [unit or 15.0, unit or 25.0, 0.0])]
    if unit is None:
        laws += [("gamma", [25.0, 5.0, 0.0]), ("log_normal", [21.0, 0.3, 0.0])]
    return laws[int(rng.integers(len(laws)))]


# ------------------------------------------------------------------------------------------------------------ ties


def tied(trajectories: Trajectories) -> Any:
    """Whether a patient had a tie: two events, or an event and an administration, at the same time; shape (n,)."""
    codes = trajectories.codes
    kept = trajectories.log_code <= codes.administration
    owner, time = trajectories.owner[kept], trajectories.log_time[kept]
    same = (owner[1:] == owner[:-1]) & (time[1:] == time[:-1])
    out = np.zeros(len(trajectories), dtype=bool)
    out[owner[1:][same]] = True
    return out


def returned(trajectories: Trajectories) -> Any:
    """Whether a patient entered a state that they had left before; shape (n,)."""
    moves, model = trajectories.transitions, trajectories.model
    seen = np.zeros((len(trajectories), len(model.states)), dtype=np.int64)
    np.add.at(seen, (moves.owner, moves.entered), 1)
    seen[:, model.initial_state] += 1
    return (seen > 1).any(axis=1)
