"""The estimators that papers use, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from simulator.endpoints.estimators import ESTIMATORS as RECORDS
from simulator.errors import ConfigError, unknown
from simulator.study import comparisons, confidence, summaries, survival
from simulator.study.comparisons import Pair
from simulator.study.patients import Patients
from simulator.study.summaries import Extremes, Proportion, Ranked, Total
from simulator.study.survival import Ordered
from simulator.tables import Flags, Floats, ModelTables

Gathered = TypeVar("Gathered")
LOG_LOG = "log_log"
"""Scale of a Kaplan-Meier interval if nothing is said."""


class Subgroup(Protocol):
    """Who is counted within a population: `evidence.statistic.Where`."""

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
    @property
    def landmark(self) -> float | None: ...


class Limit(Protocol):
    """Which end of which confidence interval: `evidence.statistic.Confidence`."""

    @property
    def end(self) -> str: ...
    @property
    def level(self) -> float: ...
    @property
    def scale(self) -> str | None: ...


class Wanted(Protocol):
    """What is to be computed: `evidence.statistic.Statistic`."""

    @property
    def estimator(self) -> str: ...
    @property
    def variable(self) -> str: ...
    @property
    def population(self) -> str: ...
    @property
    def where(self) -> Subgroup: ...
    @property
    def against(self) -> Subgroup | None: ...
    @property
    def comparison(self) -> str | None: ...
    @property
    def confidence(self) -> Limit | None: ...
    @property
    def time(self) -> float | None: ...
    @property
    def value(self) -> float | None: ...
    @property
    def extend(self) -> bool: ...


@dataclass(frozen=True)
class Computation(Generic[Gathered]):
    """What an estimator takes from the patients of studies, and what it makes of that."""

    gather: Callable[[Patients, Wanted], Gathered]
    conclude: Callable[[Gathered, Wanted], Floats]


@dataclass(frozen=True)
class _InGroup:
    """What is wanted of one group, by itself."""

    estimator: str
    variable: str
    population: str
    where: Subgroup
    time: float | None
    value: float | None
    extend: bool
    against: Subgroup | None = None
    comparison: str | None = None
    confidence: Limit | None = None


def _times(data: Patients, wanted: Wanted) -> Ordered:
    return data.ordered(wanted.variable, members(data, wanted))


def _values(data: Patients, wanted: Wanted) -> Ranked:
    return data.ranked(wanted.variable, _who_have_one(data, wanted))


def _observed_times(data: Patients, wanted: Wanted) -> Ranked:
    return data.ranked(wanted.variable, members(data, wanted))


def _total(data: Patients, wanted: Wanted) -> Total:
    return summaries.total(data.column(wanted.variable).value, _who_have_one(data, wanted))


def _extremes(data: Patients, wanted: Wanted) -> Extremes:
    return data.extremes(wanted.variable, _who_have_one(data, wanted))


def _flagged(data: Patients, wanted: Wanted) -> Proportion:
    return summaries.proportion(data.column(wanted.variable).event, members(data, wanted))


def _at_value(data: Patients, wanted: Wanted) -> Proportion | Ranked:
    member = _who_have_one(data, wanted)
    if wanted.value is None:
        return data.ranked(wanted.variable, member)
    return summaries.share_at(data.column(wanted.variable).value, member, wanted.value)


def share_of(gathered: Proportion | Ranked) -> Proportion:
    """Return count and denominator of what was gathered for a share."""
    return summaries.mode_of(gathered) if isinstance(gathered, Ranked) else gathered


def _median(group: Ordered, wanted: Wanted) -> Floats:
    if wanted.confidence is None:
        return survival.median_of(group)
    return confidence.median_end(group, **_interval(wanted.confidence))


def _landmark(group: Ordered, wanted: Wanted) -> Floats:
    if wanted.time is None:
        raise ValueError("kaplan_meier_landmark needs the printed time")
    if wanted.confidence is None:
        return survival.landmark_of(group, wanted.time, extend=wanted.extend)
    return confidence.landmark_end(group, wanted.time, extend=wanted.extend, **_interval(wanted.confidence))


def _restricted_mean(group: Ordered, wanted: Wanted) -> Floats:
    if wanted.time is None:
        raise ValueError("restricted_mean needs the time that it ends at")
    return survival.restricted_mean_of(group, wanted.time, extend=wanted.extend)


def _interval(limit: Limit) -> dict[str, Any]:
    return {"upper": limit.end == "upper", "level": limit.level, "scale": limit.scale or LOG_LOG}


def _hazard_ratio(pair: Pair, wanted: Wanted) -> Floats:
    if wanted.confidence is None:
        return comparisons.hazard_ratio(pair)
    upper = wanted.confidence.end == "upper"
    return comparisons.hazard_ratio_end(pair, upper=upper, level=wanted.confidence.level)


ESTIMATORS: dict[str, Computation[Any]] = {
    "proportion": Computation(_flagged, lambda share, wanted: share.share),
    "kaplan_meier_median": Computation(_times, _median),
    "kaplan_meier_median_midpoint": Computation(_times, lambda group, wanted: survival.midpoint_of(group)),
    "kaplan_meier_landmark": Computation(_times, _landmark),
    "restricted_mean": Computation(_times, _restricted_mean),
    "naive_median": Computation(_observed_times, lambda group, wanted: summaries.median_of(group)),
    "median": Computation(_values, lambda group, wanted: summaries.median_of(group)),
    "mean": Computation(_total, lambda total, wanted: total.mean),
    "minimum": Computation(_extremes, lambda extremes, wanted: extremes.least),
    "maximum": Computation(_extremes, lambda extremes, wanted: extremes.most),
    "mode_share": Computation(_at_value, lambda gathered, wanted: share_of(gathered).share),
    "hazard_ratio": Computation(_times, _hazard_ratio),
    "log_rank_p": Computation(_times, lambda pair, wanted: comparisons.log_rank(pair)[1]),
}
"""How each estimator of `endpoints.estimators` is computed."""


def estimate(data: Patients, statistic: Wanted) -> Floats:
    """Return the statistic of every replicate study, shape (R,): +inf not reached, NaN undefined.

    Raises
    ------
    ConfigError
        If the statistic names an estimator, variable, population or subgroup that does not exist.
    """
    estimator = estimator_of(statistic)
    return estimator.conclude(estimator.gather(data, statistic), statistic)


def gather(data: Patients, statistics: Sequence[Wanted | None]) -> list[Any]:
    """Return what each statistic takes of these patients, None for none; ConfigError as `estimate`."""
    return [None if wanted is None else estimator_of(wanted).gather(data, wanted) for wanted in statistics]


def conclude(gathered: Sequence[Any], statistics: Sequence[Wanted | None], n_studies: int) -> Floats:
    """Return each statistic of what was gathered of n studies, (R, statistics), NaN for none."""
    values = np.full((n_studies, len(statistics)), np.nan)
    for k, (wanted, taken) in enumerate(zip(statistics, gathered, strict=True)):
        if wanted is not None:
            values[:, k] = estimator_of(wanted).conclude(taken, wanted)
    return values


def estimator_of(statistic: Wanted) -> Computation[Any]:
    """Return the estimator by its name, of two groups where there are two. Raises ConfigError if there is none."""
    if statistic.estimator not in ESTIMATORS:
        raise ConfigError(unknown("statistic.estimator", statistic.estimator, ESTIMATORS, what="estimator"))
    estimator = ESTIMATORS[statistic.estimator]
    if statistic.against is None:
        return estimator
    comparison, of = statistic.comparison, (statistic.estimator, statistic.variable, statistic.population)
    other = _InGroup(*of, statistic.against, statistic.time, statistic.value, statistic.extend)

    def gather_both(data: Patients, wanted: Wanted) -> Pair:
        return Pair(estimator.gather(data, wanted), estimator.gather(data, other))

    def conclude_both(pair: Pair, wanted: Wanted) -> Floats:
        if comparison is None:
            return estimator.conclude(pair, wanted)
        first, second = (estimator.conclude(gathered, wanted) for gathered in (pair.first, pair.second))
        return comparisons.compared(first, second, comparison)

    return Computation(gather_both, conclude_both)


def counts(data: Patients, statistic: Wanted) -> Proportion | None:
    """Return count and denominator behind a share, None for an estimator that has none."""
    if statistic.against is not None or not RECORDS[statistic.estimator].counted:
        return None
    return share_of(estimator_of(statistic).gather(data, statistic))


def members(data: Patients, statistic: Wanted) -> Flags:
    """Who is counted: the population, narrowed by every condition of ``where``, shape (R, N)."""
    model, where = data.model, statistic.where
    key = (statistic.population, where.stratum, where.arm, where.status, where.ever, where.never, where.landmark)
    return data.kept("members", key, lambda: _members(data, model, statistic.population, where))


def _members(data: Patients, model: ModelTables, population: str, where: Subgroup) -> Flags:
    kept = []
    if where.stratum is not None:
        kept.append(data.is_stratum(_index("stratum", where.stratum, model.strata)))
    if where.arm is not None:
        kept.append(data.is_arm(_index("arm", where.arm, model.arms)))
    if where.status is not None:
        kept.append(data.is_dead() == bool(_index("status", where.status, ("alive", "dead"))))
    if where.ever is not None:
        kept.append(_seen(data, "ever", where.ever, where.landmark))
    if where.never is not None:
        kept.append(~_seen(data, "never", where.never, where.landmark))
    if where.landmark is not None:
        kept.append(data.column("survival").value > where.landmark)
    member = data.population(population)
    for flags in kept:
        member = flags if member is data.all_patients else member & flags
    return member


def _who_have_one(data: Patients, statistic: Wanted) -> Flags:
    """Members who count in a median, mean or range of the variable."""
    column, member = data.column(statistic.variable), members(data, statistic)
    return data.kept("members who have", (statistic.variable, id(member)), lambda: member & column.has)


def _seen(data: Patients, key: str, name: str, by: float | None) -> Flags:
    """Whether an event, or what sets a marker, was seen: before the end of observation, or ``by`` a time."""
    model = data.model
    if name in model.events:
        code = model.events.index(name)
        return data.was_seen(code) if by is None else data.seen(code) <= by
    names = (*model.events, *model.markers)
    _index(key, name, names, what="event or marker")
    first = data.marker_seen(model.markers.index(name))
    return np.isfinite(first) if by is None else first <= by


def _index(key: str, name: str, names: Iterable[str], *, what: str | None = None) -> int:
    known = list(names)
    if name not in known:
        raise ConfigError(unknown(f"statistic.where.{key}", name, known, what=what or key))
    return known.index(name)
