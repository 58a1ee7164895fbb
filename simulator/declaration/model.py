"""States, markers, events and effects. Knows a multi-state model as declared; knows no cohort.

An event leaves its ``from`` states for its ``to`` state and sets or clears markers. It is driven by a
hazard (Putter, Fiocco & Geskus 2007) or by the success of an administration; an event that declares
both is driven as ``course.response`` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from simulator.declaration.base import RESERVED, Declared, Expression, Kind, Name
from simulator.declaration.values import PREFIX, Problems, Resolver
from simulator.errors import MISSING
from simulator.kernels.elementary import log
from simulator.kernels.hazards import FAMILIES, PARAMETERS, kernel_parameters, piecewise_exponential_knots
from simulator.kernels.rng import stream_numbers
from simulator.tables import NONE, Clock, Driver, Floats

N_MARKERS = 64
FAMILY_KEYS = sorted({name for choices in PARAMETERS.values() for choice in choices for name in choice})
TABLES = {"piecewise_exponential": ("breaks", "rates"), "tabulated": ("times", "cumulative_hazard")}
KINDS = {"delay": "duration"}  # how `values` calls a dimension of `kernels.hazards`


class Hazard(Declared):
    """A hazard family and its named parameters (`kernels.hazards.PARAMETERS`), alone or as a cure mixture."""

    family: str
    """Family of hazards, or a parameter that holds its name."""
    probability: Annotated[Expression, Kind("probability")] = 1
    """Cure mixture: share in whom it can ever happen."""
    rate: Annotated[Expression | None, Kind("rate")] = None
    """Hazard, or its value at 0."""
    mean: Annotated[Expression | None, Kind("time")] = None
    """Mean time."""
    median: Annotated[Expression | None, Kind("time")] = None
    """Median time of the susceptible."""
    scale: Annotated[Expression | None, Kind("time")] = None
    """Scale of the time."""
    shape: Expression | None = None
    """Shape; of `gompertz` a rate."""
    weibull_shape: Annotated[Expression | None, Kind("positive")] = None
    """Shape of the Weibull with the same ratio of quartiles."""
    sigma: Annotated[Expression | None, Kind("positive")] = None
    """Standard deviation of the logarithm of the time."""
    meanlog: Annotated[Expression | None, Kind("real")] = None
    """Mean of the logarithm of the days."""
    mu: Annotated[Expression | None, Kind("real")] = None
    """Location of the logarithm of the days."""
    Q: Annotated[Expression | None, Kind("real")] = None
    """Shape of the generalised gamma."""
    delay: Annotated[Expression | None, Kind("duration")] = None
    """When a timer goes off."""
    breaks: list[float | int | str] | None = None
    """Times at which the rate changes."""
    rates: list[float | int | str] | None = None
    """Rate in each piece, one more than `breaks`."""
    times: list[float | int | str] | None = None
    """Times of a table."""
    cumulative_hazard: list[float | int] | None = None
    """Cumulative hazard at `times`, from 0, not falling."""
    observed: list[Literal["probability", "median"]] = []
    """Numbers that are as seen, so that latent ones are solved."""
    solved_for: Name | None = None
    """Event whose marker's ratio the baseline of this death is solved for."""
    response_effect: str = "prognostic"
    """`prognostic`, `causal`, or a parameter: what a change of response does to survival."""

    def named(self) -> dict[str, Any]:
        """The family's parameters that are given."""
        given = {name: getattr(self, name) for name in FAMILY_KEYS if hasattr(self, name)}
        return {name: value for name, value in given.items() if value is not None}


class PerAdministration(Declared):
    """The event follows the first successful administration, after a lag."""

    probability: Annotated[Expression, Kind("probability")]
    """Of success at each administration, in the susceptible."""
    ever: Annotated[Expression, Kind("probability")] = 1
    """Share of patients who are susceptible."""
    lag: Annotated[Any, Kind("duration", distribution=True)] = 0
    """From the administration to the event."""
    withhold: bool = False
    """Nothing is administered while a success waits for its lag."""


class Ratio(Declared):
    """A hazard ratio: while a marker is set, in a state, or by a covariate per so many units."""

    ratio: Annotated[Expression, Kind("ratio")]
    """The hazard ratio; 0: not at risk."""
    marker: Name | None = None
    """Acts while it is set."""
    state: Name | None = None
    """Acts while in it."""
    covariate: Name | None = None
    """Acts always, as `ratio` to the power (value − `reference`)/`per`."""
    per: float | int | str = 1
    """So many units of the covariate; of `age` a time."""
    reference: float | int | str = 0
    """Value of the covariate at which the ratio is 1."""


class Outcome(Declared):
    """One of the outcomes an event chooses among."""

    probability: Annotated[Expression, Kind("probability")]
    """Of this outcome; they sum to 1."""
    set: list[Name] = []
    """Markers that it sets."""


class Since(Declared):
    """A clock that starts at each occurrence of a named event."""

    since: Name
    """Event at each of whose occurrences the clock starts."""


class Event(Declared):
    """What can happen, to whom, how soon, and what changes then."""

    from_: list[Name] = Field(alias="from", min_length=1)
    """States in which it can happen."""
    to: Name | None = None
    """State that it leads to; none changes if left out."""
    set: list[Name] = []
    """Markers that it sets."""
    clear: list[Name] = []
    """Markers that it clears, before it sets others."""
    when: list[Name] = []
    """Only while all of these markers are set."""
    unless: list[Name] = []
    """Not while one of these markers is set."""
    clock: Literal["forward", "reset", "age"] | Since = "forward"
    """Where the time of its hazard begins: at entry, at the last change of state, at birth, or `{since: EVENT}`."""
    hazard: Hazard | None = None
    """What drives it."""
    per_administration: PerAdministration | None = None
    """Administrations drive it, instead of the hazard or beside it."""
    ratios: list[Ratio] = []
    """Hazard ratios, multiplied in this order."""
    choose: dict[Name, Outcome] = {}
    """By name: outcomes, one of which is drawn at each occurrence."""
    maximum: int | None = Field(default=None, ge=1, le=10_000)
    """It may recur, up to so often; once if left out."""
    cause: Name | None = None
    """Of a death: the cause that it is counted under."""


class Model(Declared):
    """A multi-state process: exclusive states, markers that may be set together, events between them."""

    name: str | None = None
    """For the reader."""
    description: str | None = None
    """For the reader."""
    states: list[Name] = Field(min_length=2)
    """Exclusive: a patient is in exactly one."""
    absorbing: list[Name] = Field(min_length=1)
    """States in which nothing happens any more; to enter one is to die."""
    initial: Name
    """State at entry."""
    markers: list[Name] = []
    """What may be set beside the state, several at a time."""
    initial_markers: list[Name] = []
    """Markers that are set at entry."""
    events: dict[Name, Event] = Field(min_length=1)
    """By name: what can happen."""

    def check(self, problems: Problems) -> None:
        """Collect names that refer to nothing, repetitions, and events that cannot be meant."""
        for what, names in (("states", self.states), ("markers", self.markers)):
            for name in sorted({n for n in names if names.count(n) > 1}):
                problems.add(f"model.{what}", name, "is listed twice")
        if len(self.markers) > N_MARKERS:
            problems.add("model.markers", len(self.markers), f"at most {N_MARKERS} markers")
        for name in set(self.states) & set(self.markers):
            problems.add("model.markers", name, "is a state already")
        self._known("model.absorbing", self.absorbing, self.states, "state", problems)
        self._known("model.initial", [self.initial], self.states, "state", problems)
        self._known("model.initial_markers", self.initial_markers, self.markers, "marker", problems)
        if self.initial in self.absorbing:
            problems.add("model.initial", self.initial, "is absorbing: nothing could ever happen")
        solving = [n for n, e in self.events.items() if e.hazard is not None and e.hazard.solved_for is not None]
        observed = [n for n, e in self.events.items() if e.hazard is not None and e.hazard.observed]
        for what, found in (("solved_for", solving), ("observed", observed)):
            for name in found[1:]:
                problems.add(f"model.events.{name}.hazard.{what}", name, f"only one event may have it; {found[0]} does")
        for name in solving:
            hazard = self.events[name].hazard
            if hazard is not None and observed and hazard.solved_for != observed[0]:
                key = f"model.events.{name}.hazard.solved_for"
                problems.add(key, hazard.solved_for, f"must be the event whose numbers are observed, {observed[0]}")
        for name, event in self.events.items():
            if name in RESERVED:
                problems.add(f"model.events.{name}", name, "is a name that Lobule uses for something else")
            self._check_event(f"model.events.{name}", event, problems)

    def _check_event(self, key: str, event: Event, problems: Problems) -> None:
        self._known(f"{key}.from", event.from_, self.states, "state", problems)
        for state in set(event.from_) & set(self.absorbing):
            problems.add(f"{key}.from", state, "is absorbing: nothing happens there")
        if event.to is not None:
            self._known(f"{key}.to", [event.to], self.states, "state", problems)
        for what in ("set", "clear", "when", "unless"):
            self._known(f"{key}.{what}", getattr(event, what), self.markers, "marker", problems)
        if event.to is None and not event.set and not event.clear and not event.choose:
            problems.add(key, MISSING, "changes nothing: give `to`, `set`, `clear` or `choose`")
        if event.hazard is None and event.per_administration is None:
            problems.add(key, MISSING, "needs a `hazard` or `per_administration`")
        if isinstance(event.clock, Since):
            self._known(f"{key}.clock.since", [event.clock.since], self.events, "event", problems)
            if self.events.get(event.clock.since) is event:
                problems.add(
                    f"{key}.clock.since", event.clock.since, "is the event itself: its clock would never start"
                )
        for i, ratio in enumerate(event.ratios):
            here = f"{key}.ratios[{i}]"
            if sum(x is not None for x in (ratio.marker, ratio.state, ratio.covariate)) == 0:
                problems.add(here, MISSING, "needs a `marker`, `state` or `covariate` by which it acts")
            if ratio.covariate is not None and (ratio.marker is not None or ratio.state is not None):
                problems.add(here, ratio.covariate, "a covariate's ratio acts always: leave out marker and state")
            if ratio.marker is not None:
                self._known(f"{here}.marker", [ratio.marker], self.markers, "marker", problems)
            if ratio.state is not None:
                self._known(f"{here}.state", [ratio.state], self.states, "state", problems)
        for outcome, declared in event.choose.items():
            self._known(f"{key}.choose.{outcome}.set", declared.set, self.markers, "marker", problems)
        hazard = event.hazard
        if hazard is None and event.ratios:
            problems.add(f"{key}.ratios", MISSING, "act on hazards; an event that follows administrations has none")
        if hazard is not None and hazard.solved_for is not None:
            self._known(f"{key}.hazard.solved_for", [hazard.solved_for], self.events, "event", problems)
            if event.to not in self.absorbing or self.events.get(hazard.solved_for) is event:
                allowed = "belongs to a death, and names the event (such as response) over which it is the marginal"
                problems.add(f"{key}.hazard.solved_for", hazard.solved_for, allowed)
        timer = hazard is not None and hazard.family == "fixed"
        if timer and event.maximum not in (None, 1) and event.clock in ("forward", "age"):
            problems.add(f"{key}.clock", event.clock, "a timer that recurs needs the clock `reset` or `since`")

    @staticmethod
    def _known(key: str, names: list[str], known: Any, what: str, problems: Problems) -> None:
        for name in names:
            if name not in known:
                problems.unknown(key, name, known, what=what)


@dataclass
class CompiledEvents:
    """The event arrays of `ModelTables`, by field name, and the tabulated hazards they refer to."""

    arrays: dict[str, Any]
    knots: list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]


def markers_mask(names: list[str], markers: list[str]) -> int:
    """Return the bit mask of named markers."""
    return sum(1 << markers.index(name) for name in set(names))


def by_administration(event: Event, response: str) -> bool:
    """Whether an event is driven by administrations, given ``course.response``."""
    if event.hazard is None:
        return True
    return event.per_administration is not None and response == "per_administration"


def compile_events(
    model: Model,
    resolver: Resolver,
    *,
    n_arms: int,
    covariates: tuple[str, ...],
    response: str,
) -> CompiledEvents:
    """Return the event arrays; every name is known to exist (`Model.check` has passed)."""
    events = list(model.events.values())
    names = list(model.events)
    n_sets, n_strata = resolver.parameters.n_sets, len(resolver.strata)
    shape = (n_sets, len(events), n_arms * n_strata)
    states, markers = model.states, model.markers
    driven = [by_administration(event, response) for event in events]
    streams = stream_numbers([s for n in names for s in (n, f"{n}.ever", f"{n}.choice", f"{n}.lag")])
    arrays: dict[str, Any] = {
        "event_from": np.array([[state in event.from_ for state in states] for event in events]),
        "event_to": np.array([NONE if e.to is None else states.index(e.to) for e in events]),
        "event_set": _masks([e.set for e in events], markers),
        "event_clear": _masks([e.clear for e in events], markers),
        "event_when": _masks([e.when for e in events], markers),
        "event_unless": _masks([e.unless for e in events], markers),
        "event_clock": np.array([_clock(e) for e in events]),
        "event_since": np.array([names.index(e.clock.since) if isinstance(e.clock, Since) else NONE for e in events]),
        "event_maximum": np.array([e.maximum or 1 for e in events]),
        "event_recurrent": np.array([e.maximum is not None for e in events]),
        "event_driver": np.array([Driver.ADMINISTRATION if d else Driver.HAZARD for d in driven]),
        **{
            field: np.array([streams[name + suffix] for name in names])
            for field, suffix in (
                ("event_stream", ""),
                ("ever_stream", ".ever"),
                ("choice_stream", ".choice"),
                ("lag_stream", ".lag"),
            )
        },
        "family": np.zeros(shape, dtype=np.int64),
        "parameters": np.zeros((*shape, 3)),
        "table": np.full(shape, NONE),
        "probability": np.ones(shape),
        "success": np.zeros(shape),
        "lag_code": np.zeros(shape[:2], dtype=np.int64),
        "lag": np.zeros((*shape[:2], 3)),
        "withholds": np.zeros(len(events), dtype=bool),
        "confirmed_at_onset": np.array(driven),
    }
    knots: list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]] = []
    for e, (name, event) in enumerate(model.events.items()):
        key = f"model.events.{name}"
        if driven[e]:
            declared = event.per_administration
            if declared is None:
                continue
            here = f"{key}.per_administration"
            arrays["success"][:, e] = _cells(
                resolver.array(declared.probability, "probability", f"{here}.probability"), n_arms
            )
            arrays["probability"][:, e] = _cells(resolver.array(declared.ever, "probability", f"{here}.ever"), n_arms)
            arrays["lag_code"][:, e], lag = resolver.distribution(declared.lag, "duration", f"{here}.lag")
            arrays["lag"][:, e] = lag[:, 0]
            arrays["withholds"][e] = declared.withhold
        elif event.hazard is not None:
            _compile_hazard(event.hazard, resolver, f"{key}.hazard", arrays, knots, e, n_arms)
    arrays.update(_effects(model, resolver, covariates, n_arms))
    arrays.update(_outcomes(model, resolver, n_arms))
    return CompiledEvents(arrays, knots)


def _compile_hazard(
    hazard: Hazard,
    resolver: Resolver,
    key: str,
    arrays: dict[str, Any],
    knots: list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]],
    e: int,
    n_arms: int,
) -> None:
    problems = resolver.problems
    known = [*(f for f in FAMILIES if f != "tabulated"), "piecewise_exponential", "tabulated"]
    before = len(problems.found)
    families = resolver.names(hazard.family, known, f"{key}.family", what="hazard family")
    if len(problems.found) > before:
        return
    tables = {name: getattr(hazard, name) for name in ("breaks", "rates", "times", "cumulative_hazard")}
    for name, value in tables.items():
        if value is not None and not any(name in TABLES.get(family, ()) for family in families):
            problems.add(f"{key}.{name}", value, f"is not a parameter of {families[0]}")
    if set(families) <= set(TABLES):
        for name, expression in hazard.named().items():
            problems.add(f"{key}.{name}", expression, f"is not a parameter of {families[0]}")
    arrays["probability"][:, e] = _cells(
        resolver.array(hazard.probability, "probability", f"{key}.probability"), n_arms
    )
    for family in dict.fromkeys(families):
        rows = np.array([f == family for f in families])
        if family in ("piecewise_exponential", "tabulated"):
            table = (
                _piecewise(hazard, key, problems)
                if family == "piecewise_exponential"
                else _tabulated(hazard, key, problems)
            )
            if table is None:
                continue
            time, cumulative, slope = table
            arrays["family"][rows, e] = FAMILIES["tabulated"]
            arrays["parameters"][rows, e, :, 0] = slope
            arrays["table"][rows, e] = len(knots)
            knots.append((time, cumulative))
            continue
        named = {}
        dimensions = {name: dimension for choice in PARAMETERS[family] for name, dimension in choice.items()}
        for name, expression in hazard.named().items():
            if name not in dimensions:
                allowed = ", ".join(dimensions)
                problems.add(f"{key}.{name}", expression, f"is not a parameter of {family}, which takes {allowed}")
                continue
            kind = KINDS.get(dimensions[name], dimensions[name])
            named[name] = resolver.array(expression, kind, f"{key}.{name}")[rows]
        if resolver.reading or any(np.isnan(values).any() for values in named.values()):
            continue
        try:
            converted = kernel_parameters(family, **named)
        except ValueError as refusal:
            problems.add(key, MISSING, str(refusal))
            continue
        arrays["family"][rows, e] = FAMILIES[family]
        block = np.stack(np.broadcast_arrays(*converted), axis=-1)
        block = np.broadcast_to(block, (int(rows.sum()), len(resolver.strata), 3))
        arrays["parameters"][rows, e] = np.tile(block, (1, n_arms, 1))


def _piecewise(hazard: Hazard, key: str, problems: Problems) -> tuple[Any, Any, float] | None:
    """Constant hazards between breaks; the last rate goes on for ever (R pch, flexsurv)."""
    from simulator.units import days, per_day

    if hazard.breaks is None or hazard.rates is None or len(hazard.rates) != len(hazard.breaks) + 1:
        problems.add(key, MISSING, "piecewise_exponential needs `breaks` (times) and one rate more in `rates`")
        return None
    try:
        starts, rates = [0.0, *(days(b) for b in hazard.breaks)], [per_day(r) for r in hazard.rates]
        return piecewise_exponential_knots(starts, rates)
    except ValueError as refusal:
        problems.add(key, [hazard.breaks, hazard.rates], str(refusal))
        return None


def _tabulated(hazard: Hazard, key: str, problems: Problems) -> tuple[Any, Any, float] | None:
    """A cumulative hazard read from a table: linear between its points, flat after the last."""
    from simulator.units import days, number

    if hazard.times is None or hazard.cumulative_hazard is None or len(hazard.times) != len(hazard.cumulative_hazard):
        problems.add(key, MISSING, "tabulated needs `times` and as many values in `cumulative_hazard`")
        return None
    try:
        time = np.array([days(t) for t in hazard.times])
        cumulative = np.array([number(h) for h in hazard.cumulative_hazard])
    except ValueError as refusal:
        problems.add(key, [hazard.times, hazard.cumulative_hazard], str(refusal))
        return None
    if (
        not time.size
        or time[0] < 0
        or np.any(np.diff(time) <= 0)
        or cumulative[0] < 0
        or np.any(np.diff(cumulative) < 0)
    ):
        problems.add(
            key,
            [hazard.times, hazard.cumulative_hazard],
            "times must increase and the cumulative hazard must not fall",
        )
        return None
    if time[0] > 0:
        time, cumulative = np.concatenate([[0.0], time]), np.concatenate([[0.0], cumulative])
    elif cumulative[0] > 0:
        problems.add(f"{key}.cumulative_hazard", cumulative[0], "must be 0 at time 0")
        return None
    return time, cumulative, 0.0


def _effects(model: Model, resolver: Resolver, covariates: tuple[str, ...], n_arms: int) -> dict[str, Any]:
    """Hazard ratios of states and markers, and of covariates, each in declared order."""
    event, state, marker, ratio = [], [], [], []
    on_event, on_covariate, effect = [], [], []
    for e, (name, declared) in enumerate(model.events.items()):
        for i, term in enumerate(declared.ratios):
            key = f"model.events.{name}.ratios[{i}]"
            values = resolver.array(term.ratio, "ratio", f"{key}.ratio")
            if term.covariate is None:
                event.append(e)
                state.append(NONE if term.state is None else model.states.index(term.state))
                marker.append(NONE if term.marker is None else model.markers.index(term.marker))
                ratio.append(_cells(values, n_arms))
                continue
            if term.covariate not in covariates:
                resolver.problems.unknown(f"{key}.covariate", term.covariate, covariates, what="covariate")
                continue
            kind = "signed_time" if term.covariate == "age" else "real"
            per = resolver.scalar(term.per, kind, f"{key}.per")
            reference = resolver.scalar(term.reference, kind, f"{key}.reference")
            slope = resolver.scalar(term.ratio, "positive", f"{key}.ratio")
            if np.any(per == 0):
                resolver.problems.add(f"{key}.per", term.per, "must not be 0")
                continue
            on_event.append(e)
            on_covariate.append(covariates.index(term.covariate))
            logs = np.zeros(slope.size) if resolver.reading else np.array([log(float(x)) for x in slope])
            effect.append(np.stack([logs / per, reference], axis=-1))
    n_sets, n_cells = resolver.parameters.n_sets, n_arms * len(resolver.strata)
    return {
        "effect_event": np.array(event, dtype=np.int64),
        "effect_state": np.array(state, dtype=np.int64),
        "effect_marker": np.array(marker, dtype=np.int64),
        "effect_ratio": np.stack(ratio, axis=1) if ratio else np.ones((n_sets, 0, n_cells)),
        "covariate_effect_event": np.array(on_event, dtype=np.int64),
        "covariate_effect_covariate": np.array(on_covariate, dtype=np.int64),
        "covariate_effect": np.stack(effect, axis=1) if effect else np.zeros((n_sets, 0, 2)),
    }


def _outcomes(model: Model, resolver: Resolver, n_arms: int) -> dict[str, Any]:
    """What events choose among: cumulative probabilities within each event."""
    names, sets, offset = list[str](), list[int](), [0]
    cdf: list[Floats] = []
    n_sets, n_cells = resolver.parameters.n_sets, n_arms * len(resolver.strata)
    for event_name, event in model.events.items():
        key = f"model.events.{event_name}.choose"
        columns = []
        for outcome, declared in event.choose.items():
            names.append(outcome)
            sets.append(markers_mask(declared.set, model.markers))
            columns.append(resolver.array(declared.probability, "probability", f"{key}.{outcome}.probability"))
        if columns:
            total = np.sum(columns, axis=0)
            if not np.isnan(total).any() and np.any(np.abs(total - 1) > 1e-6):
                given = [float(c.flat[0]) for c in columns]
                resolver.problems.add(key, given, "the probabilities of the outcomes must sum to 1 in every stratum")
            cumulative = np.cumsum(columns, axis=0)
            cumulative[-1] = 1.0
            cdf.extend(_cells(c, n_arms) for c in cumulative)
        offset.append(len(names))
    return {
        "outcomes": tuple(names),
        "outcome_offset": np.array(offset),
        "outcome_set": np.array(sets, dtype=np.uint64),
        "outcome_cdf": np.stack(cdf, axis=1) if cdf else np.ones((n_sets, 0, n_cells)),
    }


def _cells(by_stratum: np.ndarray[Any, Any], n_arms: int) -> np.ndarray[Any, Any]:
    return np.tile(by_stratum, (1, n_arms))


def _masks(names: list[list[str]], markers: list[str]) -> np.ndarray[Any, Any]:
    return np.array([markers_mask(n, markers) for n in names], dtype=np.uint64)


def _clock(event: Event) -> int:
    if isinstance(event.clock, Since):
        return Clock.SINCE
    return {"forward": Clock.FORWARD, "reset": Clock.RESET, "age": Clock.AGE}[event.clock]


def references(declared: Any) -> set[str]:
    """Return every parameter path that a declaration refers to."""
    if isinstance(declared, str) and declared.startswith(PREFIX):
        return {declared[len(PREFIX) :]}
    if isinstance(declared, Mapping):
        return set().union(*(references(v) for v in declared.values()), set())
    if isinstance(declared, (list, tuple)):
        return set().union(*(references(v) for v in declared), set())
    if isinstance(declared, Declared):
        return references(dict(declared))
    return set()
