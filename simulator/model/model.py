"""States, markers, events and effects.

An event leaves its ``from`` states for its ``to`` state and sets or clears markers. It is driven by a hazard (Putter,
Fiocco & Geskus 2007) or by the success of an administration; an event that declares both is driven as
``course.response`` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, create_model

from simulator.configuration.fields import Declared, Expression, Kind, Name
from simulator.configuration.values import PREFIX, Problems
from simulator.endpoints.registry import ENDPOINTS, EVENT
from simulator.errors import MISSING
from simulator.kernels.hazards import FAMILIES, PARAMETERS

N_MARKERS = 64
TABLES = {"piecewise_exponential": ("breaks", "rates"), "tabulated": ("times", "cumulative_hazard")}
RESERVED = frozenset({*ENDPOINTS, "administration", "end_of_course", "visit"} - {EVENT})
"""Names that mean something else where events are named: variables of the study, rows of a log, streams."""


class _Mixture(Declared):
    """What every hazard has."""

    family: str
    """Family of hazards, or a parameter that holds its name."""
    probability: Annotated[Expression, Kind("probability")] = 1
    """Cure mixture: share in whom it can ever happen."""


def _of_families() -> type[_Mixture]:
    """Return a schema with every parameter of the hazard families (`hazards.PARAMETERS`), all of which may be left out.

    One that is of different dimensions in different families has no kind.
    """
    fields: dict[str, Any] = {}
    for name, meaning in PARAMETERS.items():
        found = {family.dimensions[name] for family in FAMILIES.values() if name in family.dimensions}
        given: Any = Expression | None
        annotation = Annotated[given, Kind(found.pop())] if len(found) == 1 else given
        fields[name] = (annotation, Field(default=None, description=meaning))
    return create_model("FamilyParameters", __base__=_Mixture, **fields)


class Hazard(_of_families()):  # type: ignore[misc]
    """A hazard family and its named parameters (`kernels.hazards.FAMILIES`), alone or as a cure mixture."""

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
    response_effect: Annotated[Expression, Kind("mediation")] = "prognostic"
    """Share of the responders' advantage that response causes: 0 (`prognostic`) to 1 (`causal`)."""

    def named(self) -> dict[str, Any]:
        """The family's parameters that are given."""
        given = {name: getattr(self, name) for name in sorted(PARAMETERS)}
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
    """Event at each of whose occurrences the clock starts; the event itself for gap times, the first from entry."""


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
    """Where its hazard's time begins: at entry, at the last entry into the state, at birth, or `{since: EVENT}`."""
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
