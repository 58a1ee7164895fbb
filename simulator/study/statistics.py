"""What is concluded of the pooled patients of all replicates: variables by name.

True quantities (what happened) and observed ones (what was seen) are apart and say which they are. Every estimate has
beside it ``<name>_standard_error``, its Monte-Carlo error: that of the pooled patients taken as independent draws. The
band ``kaplan_meier_{lower,median,upper}`` is another thing: how much the estimate of one study of the declared size
varies; beyond all follow-up of a study there is none of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.study.counts import CourseCounts, EventCounts, RiskCounts, histogram_quantiles, real
from simulator.study.ranks import order_statistics
from simulator.study.scope import Scope
from simulator.tables import Floats, Integers, ModelTables

Array = NDArray[Any]
History = tuple[int, int, Floats, Integers, Floats]
"""Of one patient: replicate, number, and what the log holds of them: times, codes, values."""

SAMPLE_PATIENTS = 50
BAND_REPLICATES = 10_000
"""Replicates that the band is taken from: the first ones. More would make it dearer, hardly better."""
BAND = (0.025, 0.5, 0.975)
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
ANY_TERM = "any"


@dataclass(frozen=True, eq=False)
class LabelledArray:
    """An array with named dimensions, and what it is."""

    dims: tuple[str, ...]
    values: Array
    attrs: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Totals:
    """What was added up of all replicates: counts, and the curves (R, T) of single studies by group."""

    time: Floats  # (T,) days, the grid
    events: EventCounts
    course: CourseCounts
    risk: RiskCounts
    n_replicates: int
    curves: tuple[Floats, ...]


def conclude(scope: Scope, totals: Totals, histories: Sequence[History]) -> dict[str, LabelledArray]:
    """Return every variable and coordinate by name."""
    table, patients = _Table(), totals.events.patients
    table.add("group", "group", _names(scope.groups), "group of patients", None)
    table.add("time", "time", totals.time, "time since entry", "d")
    table.add("state", "state", _names(scope.model.states), "state", None)
    table.add("event", "event", _names(scope.events), "event, or cause of death", None)
    table.add("quantile", "quantile", np.array(QUANTILES), "share of times at or below")
    table.add("n_patients", "group", scope.by_group(patients), "patients simulated")
    _survival(table, scope, totals)
    if scope.events:
        _events(table, scope, totals.events)
    _course(table, scope, patients, totals.course)
    _sample(table, scope.model, histories)
    return table.variables


def _survival(table: _Table, scope: Scope, totals: Totals) -> None:
    counts, risk, grid = totals.events, totals.risk, totals.time
    n = scope.by_group(counts.patients)
    alive = n[:, None] - scope.by_group(_until(counts.dead))
    table.share("overall_survival", "group time", alive, n[:, None], "share alive (true)")
    unknown = np.full((len(BAND), grid.size), np.nan)
    bands = [order_statistics(curves, BAND) for curves in totals.curves] or [unknown] * len(scope.groups)
    for level, share in enumerate(BAND):
        name, values = ("lower", "median", "upper")[level], np.stack([band[level] for band in bands])
        meaning = f"Kaplan–Meier estimate of one study, {100 * share:g} % point over replicates that follow so far"
        table.add(f"kaplan_meier_{name}", "group time", values, meaning)
    mean = risk.at_risk / totals.n_replicates
    variance = np.maximum(risk.at_risk_square / totals.n_replicates - mean**2, 0.0)
    meaning = "patients of one study under observation, mean over replicates"
    table.estimate("number_at_risk", "group time", mean, np.sqrt(variance / totals.n_replicates), meaning)
    meaning = f"mean time lived until day {grid[-1]:g} (true restricted mean survival time)"
    lived = real(scope.by_group(counts.lived))
    table.mean("rmst", "group", lived[:, 0], lived[:, 1], n, meaning, "d")
    changes = counts.changes.copy()
    changes[:, scope.model.initial_state, 0] += counts.patients
    occupied, meaning = scope.by_group(_until(changes)), "share of patients in each state (true)"
    table.share("state_occupancy", "group state time", occupied, n[:, None, None], meaning)


def _events(table: _Table, scope: Scope, counts: EventCounts) -> None:
    n = scope.by_group(counts.patients)[:, None, None]
    happened = np.stack([scope.by_group(_until(each)) for each in counts.happened], axis=1)
    meaning = "share in whom the event has happened (true)"
    table.share("cumulative_incidence", "group event time", happened, n, meaning)
    for what, verb, times in (("true", "happened", counts.true), ("observed", "was seen", counts.observed)):
        found = histogram_quantiles(times, scope.cells, np.array(QUANTILES), scope.bin)
        values, errors = (each.swapaxes(0, 1) for each in found)
        meaning = f"time to the event among those in whom it {verb}, in steps of {scope.bin:g} d"
        table.estimate(f"time_to_event_{what}", "group event quantile", values, errors, meaning, "d")


def _course(table: _Table, scope: Scope, patients: Integers, counts: CourseCounts) -> None:
    n, given = scope.by_group(patients), scope.by_group(counts.given)
    number = np.arange(given.shape[1])
    reached = given[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:]
    table.add("visit", "visit", number[1:], "number of the administration")
    meaning = "share given this administration (true)"
    table.share("administrations", "group visit", reached, n[:, None], meaning)
    total, square = (given * number).sum(axis=1), (given * number**2).sum(axis=1)
    meaning = "administrations per patient, mean (true)"
    table.mean("administrations_mean", "group", total, square, n, meaning)
    treated, spent = scope.by_group(counts.treated), real(scope.by_group(counts.spent))
    meaning = "time from the first administration to the end of the course, mean (true)"
    table.mean("time_on_treatment", "group", spent[:, 0], spent[:, 1], treated, meaning, "d")
    on_course = scope.by_group(_until(counts.on_course))
    table.share("on_treatment", "group time", on_course, n[:, None], "share on treatment (true)")
    terms = _names((*scope.model.course.terms, ANY_TERM))
    table.add("term", "term", terms, "adverse-event term", None)
    meaning = "share of patients who ever had the adverse event (true)"
    table.share("ae_incidence", "group term", scope.by_group(counts.harmed), n[:, None], meaning)


def _sample(table: _Table, model: ModelTables, histories: Sequence[History]) -> None:
    codes = (*model.events, "administration", *model.course.terms, "end_of_course")
    replicate, patient, time, code, value = zip(*histories, strict=True)
    flags = {"flag_values": np.arange(len(codes)), "flag_meanings": " ".join(codes)}
    sizes = np.array([t.size for t in time])
    table.add("history_replicate", "patient", np.array(replicate), "replicate")
    table.add("history_patient", "patient", np.array(patient), "patient within the replicate")
    table.add("history_row_size", "patient", sizes, "rows of each history", sample_dimension="history")
    table.add("history_time", "history", np.concatenate(time), "time since entry", "d")
    table.add("history_code", "history", np.concatenate(code), "what happened", None, **flags)
    meaning = "dose, outcome chosen, administration that caused it, or reason of the end"
    table.add("history_value", "history", np.concatenate(value), meaning, None)


def _until(changes: Integers) -> Integers:
    """Counts at each time of the grid from changes there, (…, T + 1) → (…, T)."""
    return np.asarray(changes.cumsum(axis=-1)[..., :-1])


class _Table:
    """Variables by name, each estimate with its Monte-Carlo standard error beside it."""

    def __init__(self) -> None:
        self.variables: dict[str, LabelledArray] = {}

    def add(self, name: str, dims: str, values: Array, meaning: str, units: str | None = "1", **attrs: object) -> None:
        described = {"long_name": meaning, **({} if units is None else {"units": units}), **attrs}
        self.variables[name] = LabelledArray(tuple(dims.split()), values, described)

    def estimate(self, name: str, dims: str, values: Array, errors: Array, meaning: str, units: str = "1") -> None:
        self.add(name, dims, values, meaning, units)
        self.add(f"{name}_standard_error", dims, errors, f"Monte-Carlo standard error: {meaning}", units)

    def share(self, name: str, dims: str, count: Integers, n: Integers, meaning: str) -> None:
        with np.errstate(divide="ignore", invalid="ignore"):
            share = count / n
            self.estimate(name, dims, share, np.sqrt(share * (1 - share) / n), meaning)

    def mean(
        self, name: str, dims: str, total: Array, square: Array, n: Integers, meaning: str, units: str = "1"
    ) -> None:
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = total / n
            error = np.sqrt(np.maximum(square / n - mean**2, 0.0) / n)
        self.estimate(name, dims, mean, error, meaning, units)


def _names(names: Iterable[str]) -> NDArray[np.object_]:
    return np.array(list(names), dtype=object)
