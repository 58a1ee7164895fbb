"""Administrations: when, how many, how much, and what each may bring."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from simulator.configuration.fields import Declared, Expression, Kind, Name, Number
from simulator.configuration.layers import NUMBERS
from simulator.configuration.values import Problems, Resolver
from simulator.errors import MISSING
from simulator.kernels.elementary import normal_quantile
from simulator.kernels.quantiles import FIXED
from simulator.kernels.rng import stream_numbers
from simulator.model.events import markers_mask
from simulator.tables import NONE, CourseTables, Floats, Per

MOST_ADMINISTRATIONS = 10_000
LARGEST_MEAN = 700.0  # of a distribution of numbers: e^(−mean) must not underflow


class Planned(Declared):
    """Distribution of the planned number of administrations; may differ for those who will have an event."""

    number: Annotated[Any, Kind("whole", distribution=True)]
    """Planned number: whole, or a law of whole numbers."""
    if_ever: Name | None = None
    """Event that selects `then` in patients who are susceptible to it."""
    then: Annotated[Any, Kind("whole", distribution=True)] = None
    """Planned number in those patients."""


class Stop(Declared):
    """States and markers that end the course for good."""

    states: list[Name] = []
    """States that end the course when they are entered."""
    markers: list[Name] = []
    """Markers that end the course when they are set."""


class Dose(Declared):
    """Dose levels and their shares (equal if not given); drawn for the patient or for each administration."""

    levels: list[Number] = Field(min_length=1)
    """Doses that are given."""
    shares: list[Number] | None = None
    """Their shares, which sum to 1; equal if left out."""
    unit: str = "mg"
    """For the reader."""
    per: Literal["patient", "administration"] = "administration"
    """Whether a dose is drawn once a patient or at each administration."""


class AfterAdverseEvent(Declared):
    """What follows an administration with an adverse event; inert by default."""

    delay: Annotated[Expression, Kind("duration")] = 0
    """How much later the next visit, and all after it, come."""
    dose_factor: Annotated[Expression, Kind("ratio")] = 1
    """What the patient's doses are multiplied by from then on."""


class AdverseEventTerm(Declared):
    """An adverse-event term: probability per administration, or the rate at which patients ever have it."""

    probability: Annotated[Expression, Kind("probability")]
    """Per administration, or of ever having it, as `scale` says."""
    scale: Literal["per_administration", "ever"] = "per_administration"
    """What `probability` is; with `ever` the probability per administration is solved."""
    counted: bool = True
    """Whether `adverse_event.any` counts it."""
    set: list[Name] = []
    """Markers that each occurrence sets."""
    label: str | None = None
    """For the reader."""


class AdverseEvents(Declared):
    """Terms that share a patient's probit frailty, exchangeable correlation ``frailty``."""

    frailty: Annotated[Expression, Kind("correlation")] = 0
    """Correlation of a patient's terms and administrations, on the probit scale."""
    terms: dict[Name, AdverseEventTerm] = {}
    """By name."""


class Course(Declared):
    """A schedule of administrations with its stopping rules and outcomes."""

    name: str | None = None
    """For the reader."""
    description: str | None = None
    """For the reader."""
    start: Annotated[Expression, Kind("duration")] = 0
    """Day of the first visit."""
    interval: Annotated[Any, Kind("time", distribution=True)] = None
    """Between visits; needed where more than one administration is given."""
    max_administrations: Annotated[Expression, Kind("whole")] = 1
    """At most so many; 0: without treatment."""
    planned: Planned | None = None
    """Number planned for a patient; the maximum if left out."""
    response: Literal["continuous", "per_administration"] = "continuous"
    """What drives events that declare both a hazard and `per_administration`."""
    stop: Stop = Stop()
    """What ends the course for good."""
    marker: Name | None = None
    """Marker that is set while the course lasts."""
    dose: Dose | None = None
    """What is given."""
    after_adverse_event: AfterAdverseEvent = AfterAdverseEvent()
    """What follows an administration with an adverse event."""
    adverse_events: AdverseEvents = Field(default=AdverseEvents())
    """What each administration may bring."""

    def check(self, states: list[str], markers: list[str], events: Any, problems: Problems, key: str) -> None:
        """Collect names that refer to nothing."""
        for what, names, known in (
            ("states", self.stop.states, states),
            ("markers", self.stop.markers, markers),
        ):
            for name in names:
                if name not in known:
                    problems.unknown(f"{key}.stop.{what}", name, known, what=what[:-1])
        if self.marker is not None and self.marker not in markers:
            problems.unknown(f"{key}.marker", self.marker, markers, what="marker")
        if self.planned is not None and self.planned.if_ever is not None:
            if self.planned.if_ever not in events:
                problems.unknown(f"{key}.planned.if_ever", self.planned.if_ever, events, what="event")
            if self.planned.then is None:
                problems.add(
                    f"{key}.planned.then",
                    MISSING,
                    "is missing: the number planned for those who will have the event",
                )
        if self.planned is not None and self.planned.if_ever is None and self.planned.then is not None:
            problems.add(f"{key}.planned.then", self.planned.then, "needs `if_ever`, the event that selects it")
        for term in sorted({"any", *events} & set(self.adverse_events.terms)):
            allowed = "is the name of an event, or of the union of all terms; choose another"
            problems.add(f"{key}.adverse_events.terms.{term}", term, allowed)
        for term, declared in self.adverse_events.terms.items():
            for name in declared.set:
                if name not in markers:
                    problems.unknown(f"{key}.adverse_events.terms.{term}.set", name, markers, what="marker")

    def reasons(self) -> tuple[str, ...]:
        return ("completed", *self.stop.states, *self.stop.markers)


def planned_cdf(declared: Any, most: int, resolver: Resolver, key: str) -> Floats:
    """Return P(planned ≤ n) for n = 0 … most, all mass above ``most`` moved to it, shape (sets, most + 1).

    ``declared`` is a whole number or one of ``{geometric: {probability}}`` (from 1), ``{poisson: {mean,
    shift}}``, ``{negative_binomial: {mean, size, shift}}`` (R's dnbinom(mu, size) + shift) and
    ``{choice: {of: [1, 2], shares: [0.3, 0.7]}}``.
    """
    n_sets, problems = resolver.parameters.n_sets, resolver.problems
    cdf = np.ones((n_sets, most + 1))
    count = np.arange(most + 1, dtype=float)
    name, given = ("fixed", declared)
    if isinstance(declared, Mapping):
        if len(declared) != 1 or next(iter(declared)) not in NUMBERS:
            problems.unknown(key, str(next(iter(declared), "")), NUMBERS, what="distribution of a number")
            return cdf
        name, given = next(iter(declared.items()))
    if name == "fixed":
        number = resolver.integers(given, key, most=MOST_ADMINISTRATIONS)
        return np.asarray(count >= np.minimum(number, most)[:, None], dtype=float)
    if not isinstance(given, Mapping):
        problems.add(f"{key}.{name}", given, "must be a mapping of named parameters")
        return cdf
    if name == "choice":
        return _choice_cdf(given, cdf, problems, f"{key}.choice")
    allowed = {
        "geometric": ("probability",),
        "poisson": ("mean", "shift"),
        "negative_binomial": ("mean", "size", "shift"),
    }[name]
    for extra in sorted(set(map(str, given)) - set(allowed)):
        problems.unknown(f"{key}.{name}.{extra}", extra, allowed, what=f"parameter of {name}")
    values = {}
    for parameter in allowed:
        if parameter == "shift":
            values["shift"] = resolver.integers(given.get("shift", 0), f"{key}.{name}.shift", most=MOST_ADMINISTRATIONS)
        elif parameter not in given:
            problems.add(f"{key}.{name}.{parameter}", MISSING, "is missing")
            return cdf
        else:
            kind = "probability" if parameter == "probability" else "positive"
            values[parameter] = resolver.scalar(given[parameter], kind, f"{key}.{name}.{parameter}")
    if np.any(values.get("mean", np.zeros(1)) > LARGEST_MEAN):
        problems.add(f"{key}.{name}.mean", given["mean"], f"must be at most {LARGEST_MEAN:g}")
        return cdf
    if resolver.reading or any(np.isnan(v).any() for v in values.values()):
        return cdf
    columns = [np.asarray(v, dtype=float)[:, None] for v in values.values()]
    for i, row in enumerate(zip(*columns, strict=True)):
        cdf[i] = _number_cdf(name, count, *(float(x[0]) for x in row))
    cdf[:, -1] = 1.0
    return cdf


def _number_cdf(name: str, count: Floats, *values: float) -> Floats:
    """Cumulative distribution by summing the mass function's recurrence, exact to rounding.

    geometric: P(N > n) = (1 − p)^n, n ≥ 0. poisson: p₀ = e^{−μ}, p_{n+1} = p_n μ/(n+1).
    negative binomial: p₀ = (k/(k+μ))^k, p_{n+1} = p_n (k+n)/(n+1) · μ/(k+μ).
    """
    from simulator.kernels.elementary import exp, log

    if name == "geometric":
        (p,) = values
        above, cdf = 1.0, []
        for n in range(count.size):
            above = above if n == 0 else above * (1.0 - p)
            cdf.append(1.0 - above)
        return np.array(cdf)
    if name == "poisson":
        mean, shift = values
        mass, ratio = exp(-mean), [mean / (n + 1) for n in range(count.size)]
    else:
        mean, size, shift = values
        mass = exp(size * log(size / (size + mean)))
        ratio = [(size + n) / (n + 1) * mean / (size + mean) for n in range(count.size)]
    cdf, total = [0.0] * min(int(shift), count.size), 0.0
    for n in range(count.size - len(cdf)):
        total += mass
        cdf.append(min(total, 1.0))
        mass *= ratio[n]
    return np.array(cdf)


def _choice_cdf(given: Mapping[str, Any], cdf: Floats, problems: Problems, key: str) -> Floats:
    numbers, shares = given.get("of"), given.get("shares")
    for extra in sorted(set(given) - {"of", "shares"}):
        problems.unknown(f"{key}.{extra}", extra, ("of", "shares"), what="key of choice")
    if not isinstance(numbers, (list, tuple)) or not isinstance(shares, (list, tuple)) or len(numbers) != len(shares):
        problems.add(key, dict(given), "needs `of`, a list of whole numbers, and as many `shares`")
        return cdf
    mass = np.zeros(cdf.shape[1])
    for number, share in zip(numbers, shares, strict=True):
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            problems.add(f"{key}.of", number, "must be a whole number of administrations ≥ 0")
        elif isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share <= 1:
            problems.add(f"{key}.shares", share, "must be a share between 0 and 1")
        else:
            mass[min(number, mass.size - 1)] += share
    if abs(mass.sum() - 1) > 1e-6:
        problems.add(f"{key}.shares", list(shares), "must sum to 1")
    total = np.minimum(np.cumsum(mass), 1.0)
    total[-1] = 1.0
    return np.tile(total, (cdf.shape[0], 1))


def compile_course(
    arms: list[Course],
    resolver: Resolver,
    *,
    states: list[str],
    markers: list[str],
    absorbing: list[str],
    events: list[str],
    keys: list[str],
) -> CourseTables:
    """Return the course tables of all arms, without the adverse-event thresholds, which are solved last."""
    first, problems = arms[0], resolver.problems
    reasons = list(dict.fromkeys(r for arm in arms for r in (*arm.reasons(), *absorbing)))
    terms = tuple(first.adverse_events.terms)
    streams = stream_numbers([f"adverse_event.{term}" for term in terms])
    if len({arm.dose.per for arm in arms if arm.dose is not None}) > 1:
        problems.add("cohort.arms", MISSING, "course.dose.per must be the same in all arms")
    ever = {arm.planned.if_ever for arm in arms if arm.planned is not None and arm.planned.if_ever is not None}
    if len(ever) > 1:
        problems.add("course.planned.if_ever", sorted(ever), "must be one event in all arms")
    stops = [[_reason(m, arm.stop.markers, reasons) for m in markers] for arm in arms]
    return CourseTables(
        terms=terms,
        reasons=tuple(reasons),
        planned_event=events.index(ever.pop()) if ever else NONE,
        stop_states=np.array([[_reason(s, (*a.stop.states, *absorbing), reasons) for s in states] for a in arms]),
        stop_markers=np.array(stops).reshape(len(arms), -1),
        on_treatment=markers.index(first.marker) if first.marker else NONE,
        dose_per=Per.PATIENT if first.dose is not None and first.dose.per == "patient" else Per.ADMINISTRATION,
        frailty=resolver.scalar(first.adverse_events.frailty, "correlation", "course.adverse_events.frailty"),
        term_threshold=np.full((resolver.parameters.n_sets, len(arms) * len(resolver.strata), len(terms)), -np.inf),
        term_set=np.array([markers_mask(t.set, markers) for t in first.adverse_events.terms.values()], dtype=np.uint64),
        term_stream=np.array([streams[f"adverse_event.{term}"] for term in terms], dtype=np.int64),
        **_schedules(arms, resolver, keys),
    )


def _schedules(arms: list[Course], resolver: Resolver, keys: list[str]) -> dict[str, Any]:
    """Numbers, times and doses of administrations, (sets, arms, …)."""
    n_sets, n_arms, problems = resolver.parameters.n_sets, len(arms), resolver.problems
    numbers = [
        resolver.integers(a.max_administrations, f"{k}.max_administrations", most=MOST_ADMINISTRATIONS)
        for a, k in zip(arms, keys, strict=True)
    ]
    maximum = np.stack(numbers, axis=1)
    most = int(maximum.max())
    cdf = np.ones((n_sets, n_arms, 2, most + 1))
    interval_code, interval = np.full((n_sets, n_arms), NONE), np.zeros((n_sets, n_arms, 3))
    levels = [_levels(arm.dose, problems, f"{k}.dose") for arm, k in zip(arms, keys, strict=True)]
    width = max(len(level) for level, _ in levels)
    dose_level, dose_cdf = np.zeros((n_sets, n_arms, width)), np.ones((n_sets, n_arms, width))
    start, delay, factor = np.zeros((3, n_sets, n_arms))
    for a, (arm, key) in enumerate(zip(arms, keys, strict=True)):
        planned = arm.planned or Planned(number=MOST_ADMINISTRATIONS)
        cdf[:, a, 0] = planned_cdf(planned.number, most, resolver, f"{key}.planned.number")
        cdf[:, a, 1] = cdf[:, a, 0]
        if planned.if_ever is not None and planned.then is not None:
            cdf[:, a, 1] = planned_cdf(planned.then, most, resolver, f"{key}.planned.then")
        for b in range(n_sets):
            cdf[b, a, :, maximum[b, a] :] = 1.0
        if arm.interval is not None:
            code, values = resolver.distribution(arm.interval, "time", f"{key}.interval")
            interval_code[:, a], interval[:, a] = code, values[:, 0]
            if code != FIXED and np.any(values[:, 0, 0] <= 0):
                problems.add(f"{key}.interval", arm.interval, "must be > 0 days")
        elif np.any(maximum[:, a] > 1):
            problems.add(f"{key}.interval", MISSING, "is missing: more than one administration needs an interval")
        level, share = levels[a]
        dose_level[:, a, : len(level)], dose_cdf[:, a, : len(level)] = level, share
        start[:, a] = resolver.scalar(arm.start, "duration", f"{key}.start")
        after = arm.after_adverse_event
        delay[:, a] = resolver.scalar(after.delay, "duration", f"{key}.after_adverse_event.delay")
        factor[:, a] = resolver.scalar(after.dose_factor, "ratio", f"{key}.after_adverse_event.dose_factor")
    return {
        "given": maximum > 0,
        "start": start,
        "interval_code": interval_code,
        "interval": interval,
        "maximum": maximum,
        "planned_cdf": cdf,
        "dose_level": dose_level,
        "dose_cdf": dose_cdf,
        "delay_after_adverse_event": delay,
        "dose_factor_after_adverse_event": factor,
    }


def term_rates(course: Course, resolver: Resolver) -> dict[str, Floats]:
    """Declared probability of each adverse-event term, (sets, strata)."""
    return {
        name: resolver.array(term.probability, "probability", f"course.adverse_events.terms.{name}.probability")
        for name, term in course.adverse_events.terms.items()
    }


def threshold(probability: float) -> float:
    """Return Φ⁻¹ of a probability per administration; −inf for 0 and +inf for 1."""
    if probability <= 0.0:
        return -np.inf
    return np.inf if probability >= 1.0 else float(normal_quantile(probability))


def _reason(name: str, stops: Any, reasons: list[str]) -> int:
    return reasons.index(name) if name in stops else 0


def _levels(dose: Dose | None, problems: Problems, key: str) -> tuple[list[float], list[float]]:
    """Dose levels in increasing order and their cumulative shares."""
    if dose is None:
        return [0.0], [1.0]
    shares = dose.shares if dose.shares is not None else [1.0 / len(dose.levels)] * len(dose.levels)
    if len(shares) != len(dose.levels):
        problems.add(f"{key}.shares", shares, f"must be as many as the levels, {len(dose.levels)}")
        return [0.0], [1.0]
    pairs = sorted(zip(dose.levels, shares, strict=True))
    total = np.cumsum([share for _, share in pairs])
    if any(share < 0 for share in shares) or abs(total[-1] - 1) > 1e-6:
        problems.add(f"{key}.shares", shares, "must be ≥ 0 and sum to 1")
    total[-1] = 1.0
    return [level for level, _ in pairs], [float(x) for x in total]
