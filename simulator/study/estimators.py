"""The estimators that papers use, by name. Knows the closed registry; the formulas stand elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

import numpy as np

from simulator.errors import ConfigError, unknown
from simulator.study import summaries, survival
from simulator.study.observe import Column, StudyData
from simulator.study.summaries import Proportion
from simulator.tables import Flags, Floats


class Subgroup(Protocol):
    """Who is counted within a population: `declaration.evidence.Where`."""

    @property
    def stratum(self) -> str | None: ...
    @property
    def arm(self) -> str | None: ...
    @property
    def status(self) -> str | None: ...
    @property
    def ever(self) -> str | None: ...
    @property
    def never(self) -> str | None: ...


class Wanted(Protocol):
    """What is to be computed: `declaration.evidence.Statistic`."""

    @property
    def estimator(self) -> str: ...
    @property
    def variable(self) -> str: ...
    @property
    def population(self) -> str: ...
    @property
    def where(self) -> Subgroup: ...
    @property
    def time(self) -> float | None: ...
    @property
    def value(self) -> float | None: ...


Function = Callable[[Column, Flags, Wanted], Floats]


def _of_times(estimate: Callable[[Floats, Flags, Flags], Floats]) -> Function:
    return lambda column, member, wanted: estimate(column.value, column.event, member)


def _of_values(summary: Callable[[Floats, Flags], Floats]) -> Function:
    return lambda column, member, wanted: summary(column.value, member & column.has)


def _landmark(column: Column, member: Flags, wanted: Wanted) -> Floats:
    if wanted.time is None:
        raise ValueError("kaplan_meier_landmark needs the printed time")
    return survival.landmark(column.value, column.event, member, wanted.time)


def _naive_median(column: Column, member: Flags, wanted: Wanted) -> Floats:
    return summaries.naive_median(column.value, member)


def _proportion(column: Column, member: Flags, wanted: Wanted) -> Floats:
    return summaries.proportion(column.event, member).share


def _mode_share(column: Column, member: Flags, wanted: Wanted) -> Floats:
    return _shares(column, member, wanted).share


ESTIMATORS: dict[str, Function] = {
    "proportion": _proportion,
    "kaplan_meier_median": _of_times(survival.kaplan_meier_median),
    "kaplan_meier_median_midpoint": _of_times(survival.kaplan_meier_median_midpoint),
    "kaplan_meier_landmark": _landmark,
    "naive_median": _naive_median,
    "median": _of_values(summaries.median),
    "mean": _of_values(summaries.mean),
    "minimum": _of_values(summaries.minimum),
    "maximum": _of_values(summaries.maximum),
    "mode_share": _mode_share,
}
"""Every estimator. `declaration.evidence.Estimator` lists the same names."""


def estimate(data: StudyData, statistic: Wanted) -> Floats:
    """Return the statistic of every replicate study, shape (R,): +inf not reached, NaN undefined.

    Raises
    ------
    ConfigError
        If the statistic names an estimator, variable, population or subgroup that does not exist.
    """
    if statistic.estimator not in ESTIMATORS:
        raise ConfigError(unknown("statistic.estimator", statistic.estimator, ESTIMATORS, what="estimator"))
    column = data.column(statistic.variable)
    return ESTIMATORS[statistic.estimator](column, members(data, statistic), statistic)


def counts(data: StudyData, statistic: Wanted) -> Proportion | None:
    """Return count and denominator behind a share, None for an estimator that has none."""
    column, member = data.column(statistic.variable), members(data, statistic)
    if statistic.estimator == "proportion":
        return summaries.proportion(column.event, member)
    if statistic.estimator == "mode_share":
        return _shares(column, member, statistic)
    return None


def members(data: StudyData, statistic: Wanted) -> Flags:
    """Who is counted: the population, narrowed by every condition of ``where``, shape (R, N)."""
    model, where = data.trajectories.model, statistic.where
    member = data.population(statistic.population)
    if where.stratum is not None:
        member = member & (data.stratum == _index("stratum", where.stratum, model.strata))
    if where.arm is not None:
        member = member & (data.arm == _index("arm", where.arm, model.arms))
    if where.status is not None:
        member = member & (data.died == bool(_index("status", where.status, ("alive", "dead"))))
    if where.ever is not None:
        member = member & _seen(data, "ever", where.ever)
    if where.never is not None:
        member = member & ~_seen(data, "never", where.never)
    return member


def _seen(data: StudyData, key: str, name: str) -> Flags:
    """Whether an event, or what sets a marker, was seen before the end of observation."""
    model = data.trajectories.model
    if name in model.events:
        return np.isfinite(data.seen(model.events.index(name)))
    names = (*model.events, *model.markers)
    _index(key, name, names, what="event or marker")
    return np.isfinite(data.marker_seen(model.markers.index(name)))


def _shares(column: Column, member: Flags, wanted: Wanted) -> Proportion:
    member = member & column.has
    if wanted.value is None:
        return summaries.mode_share(column.value, member)
    return summaries.share_at(column.value, member, wanted.value)


def _index(key: str, name: str, names: Iterable[str], *, what: str | None = None) -> int:
    known = list(names)
    if name not in known:
        raise ConfigError(unknown(f"statistic.where.{key}", name, known, what=what or key))
    return known.index(name)
