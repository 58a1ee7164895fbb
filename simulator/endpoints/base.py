"""What is known of an endpoint: its name, unit and words, how it is observed, and how its distribution is found.

Shapes: R studies, N patients in each. Times are days since entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from simulator.tables import Flags, Floats, Integers, ModelTables

EndpointKind = Literal["time_to_event", "duration", "event", "number", "share"]
"""Kinds of endpoints; an estimator applies to some of them (`estimators`).

``time_to_event``: days, censored at the end of observation. ``duration``: days of every patient. ``event``: whether
something was seen, and when. ``number``: a count or an amount. ``share``: whether something holds.
"""
ADMINISTRATIONS = "administrations"
"""Unit of printed counts of administrations."""


class Column:
    """One variable of every patient, each array of shape (R, N).

    ``value``: days (until the event was seen, or of observation where it was not), a number, or 0 and 1;
    NaN where there is none; made when first asked for. ``event``: whether what the variable is about was seen.
    ``has``: whether the patient counts in a median, mean or range of the value.

    The function that makes the value holds arrays, never the data that keep the column: a ring of references would
    keep them all until Python's garbage collector comes.
    """

    def __init__(self, value: Callable[[], Floats], event: Flags, has: Flags) -> None:
        self._make, self.event, self.has = value, event, has

    @cached_property
    def value(self) -> Floats:
        return self._make()


class Observed(Protocol):
    """What an endpoint may ask of the patients of studies (R, N): `study.observe.StudyData`.

    ``observed``: days under observation. ``died``: and it was seen. ``entry``: days since accrual opened; ``entered``:
    before the data cut. ``end``: of follow-up. ``state``: at the end of observation, as seen. ``dose``: of the first
    administration that was seen, NaN without one. ``counted``: log codes that "any adverse event" counts.
    """

    @property
    def model(self) -> ModelTables: ...
    @property
    def all_patients(self) -> Flags: ...
    @property
    def observed(self) -> Floats: ...
    @property
    def died(self) -> Flags: ...
    @property
    def entry(self) -> Floats: ...
    @property
    def entered(self) -> Flags: ...
    @property
    def end(self) -> Floats: ...
    @property
    def state(self) -> Integers: ...
    @property
    def dose(self) -> Floats: ...
    @property
    def counted(self) -> Sequence[int]: ...
    @property
    def populations(self) -> Mapping[str, Flags]: ...
    def was_seen(self, code: int) -> Flags: ...
    def seen(self, code: int) -> Floats: ...
    def outcomes(self, event: int) -> tuple[str, ...]: ...
    def outcome(self, event: int) -> Floats: ...
    def administrations(self, before: Floats) -> NDArray[np.integer[Any]]: ...


class DeclaredNames(Protocol):
    """What an endpoint may ask of a declared model for a closed form: `likelihoods.closed_forms.ClosedForms`.

    Each raises NoClosedForm where there is none. A share is a product of factors, each a number by stratum.
    """

    def survival(self) -> Mapping[str, Any]: ...
    def term(self, name: str) -> list[Any]: ...
    def membership(self, name: str, within: str) -> list[Any]: ...
    def event(self, name: str, outcome: str | None) -> list[Any]: ...


@dataclass(frozen=True)
class Variable:
    """A variable of a study: the name of its endpoint (``event`` for those of the model), and what it is of."""

    kind: str
    name: str | None = None
    outcome: str | None = None


@dataclass(frozen=True)
class Endpoint:
    """One endpoint.

    Attributes
    ----------
    name : first part of the names of its variables; the endpoint ``event`` has those of the model's events.
    label : for tables.
    kind : which estimators apply.
    unit : of its values, as results show it; ``d`` for times.
    column : (data, variable) → the column of the patients of studies.
    names : data → names of its variables; by default its own name alone.
    second : what the second part of a variable's name is, as in ``state.<state>``; empty where there is none.
    informs_survival : whether what is printed of it says something of the curve of overall survival.
    since_entry : whether its times are days since entry; else since accrual opened.
    needs_dose : whether the course must declare a dose.
    printed : the unit of a printed number, or what it must be in words; times take any unit of time.
    curve : of a declared model: survival curve by stratum, in closed form.
    share : (declared model, variable, population) → factors of the share that a proportion estimates, in closed form.
        Without a closed form a calibration finds the likelihood by simulation, or refuses the target by name.
    """

    name: str
    label: str
    kind: EndpointKind
    unit: str
    column: Callable[[Observed, Variable], Column]
    names: Callable[[Observed], Iterable[str]] | None = None
    second: str = ""
    printed: str = ""
    informs_survival: bool = False
    needs_dose: bool = False
    since_entry: bool = True
    curve: Callable[[DeclaredNames], Mapping[str, Any]] | None = None
    share: Callable[[DeclaredNames, Variable, str], list[Any]] | None = None

    def variables(self, data: Observed) -> list[str]:
        """Return the names of its variables in these studies."""
        return [self.name] if self.names is None else list(self.names(data))

    def wrong_unit(self, unit: str, *, time: bool) -> str:
        """Return what is wrong with the unit of a printed value, or ''; ``time``: whether it is one of time."""
        if self.unit == "d":
            return "" if time else "must be a time: d, wk, mo or y"
        if self.printed == ADMINISTRATIONS:
            return "" if unit == ADMINISTRATIONS else f"must be {ADMINISTRATIONS}"
        amount = not time and unit not in ("%", "1", ADMINISTRATIONS)
        return "" if amount or not self.printed else f"must be {self.printed}"


def flag(value: Flags) -> Column:
    """Return the column of what holds or does not."""
    return Column(lambda: value.astype(np.float64), value, np.ones_like(value))


def number(value: NDArray[np.generic]) -> Column:
    """Return the column of a number of each patient, NaN where there is none."""
    numbers = value.astype(np.float64, copy=False)
    has = ~np.isnan(numbers)
    return Column(lambda: numbers, has, has)


def occurrence(data: Observed, *codes: int, of: Flags | None = None) -> Column:
    """Return when one of some log codes was first seen, in the patients flagged; in all if None.

    Patients in whom none was seen have no value: this is the time of an event in those who have it. A time to event in
    all patients, censored where it was not seen, has all of them (`survival`).
    """
    event = np.zeros(data.all_patients.shape, dtype=bool)
    for code in codes:
        event |= data.was_seen(code)
    if of is not None:
        event &= of
    seen, observed = [data.seen(code) for code in codes], data.observed

    def value() -> Floats:
        return np.where(event, np.minimum.reduce(seen) if seen else np.inf, observed)

    return Column(value, event, event)
