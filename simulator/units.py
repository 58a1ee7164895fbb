"""Days inside, units at the edge: units, and dimensions of what may be declared, each in one table.

A month is 30.4375 days and a year 365.25 days (EVIDENCE section E). A bare number is in days
(per day for a rate); text carries its unit: ``"14 mo"``, ``"2 wk"``, ``"0.05 / y"``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

DAYS_PER = {"d": 1.0, "wk": 7.0, "mo": 30.4375, "y": 365.25}
_SPELLINGS = {
    "d": "d", "day": "d", "days": "d",
    "w": "wk", "wk": "wk", "week": "wk", "weeks": "wk",
    "mo": "mo", "month": "mo", "months": "mo",
    "y": "y", "yr": "y", "year": "y", "years": "y",
}  # fmt: skip
_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_TIME = re.compile(rf"^\s*({_NUMBER})\s*([A-Za-z]+)\s*$")
_RATE = re.compile(rf"^\s*({_NUMBER})\s*(?:/|per)\s*([A-Za-z]+)\s*$")

TIME_ALLOWED = "must be a time: a number of days, or text with a unit (d, wk, mo, y) such as '14 mo'"
RATE_ALLOWED = "must be a rate: a number per day, or text such as '0.05 / y' (per d, wk, mo, y)"
NUMBER_ALLOWED = "must be a finite number without a unit"
SMALLEST, LARGEST = 1e-12, 1e12
"""Least and greatest size of a declared number other than 0, in days or per day if it has a unit."""


def out_of_range(value: float, smallest: float = SMALLEST, largest: float = LARGEST) -> str | None:
    """Return why the size of a number is refused, None if it is not."""
    if value == 0 or smallest <= abs(value) <= largest:
        return None
    return f"is out of range: must be 0 or between {smallest:g} and {largest:g} in size"


def number(value: object) -> float:
    """Return a finite number without a unit; refuse booleans, text, NaN and infinities."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(NUMBER_ALLOWED)
    try:
        converted = float(value)
    except OverflowError:
        raise ValueError(NUMBER_ALLOWED) from None
    if not math.isfinite(converted):
        raise ValueError(NUMBER_ALLOWED)
    return converted


def days(value: object) -> float:
    """Return a duration in days, from a number of days or text with a unit."""
    return _with_unit(value, _TIME, TIME_ALLOWED, lambda amount, unit: amount * unit)


def per_day(value: object) -> float:
    """Return a rate per day, from a number per day or text with a unit."""
    return _with_unit(value, _RATE, RATE_ALLOWED, lambda amount, unit: amount / unit)


def _with_unit(value: object, pattern: re.Pattern[str], allowed: str, convert) -> float:  # type: ignore[no-untyped-def]
    if not isinstance(value, str):
        try:
            return number(value)
        except ValueError:
            raise ValueError(allowed) from None
    match = pattern.match(value)
    if match is None or match[2] not in _SPELLINGS:
        raise ValueError(allowed)
    converted = float(convert(float(match[1]), DAYS_PER[_SPELLINGS[match[2]]]))
    if not math.isfinite(converted):
        raise ValueError(allowed)
    return converted


@dataclass(frozen=True)
class Unit:
    """A unit inside: how a number, or text with a unit, is read into it; its name; what is written after a number."""

    read: Callable[[object], float]
    label: str = ""
    written: str = ""


UNITS: Mapping[str, Unit] = MappingProxyType(
    {"d": Unit(days, "days", " d"), "1/d": Unit(per_day, "per day", " / d"), "1": Unit(number)}
)


def any_number(value: object) -> float:
    """Return a number without a unit, a time in days or a rate per day; NaN if the value is none of them."""
    for unit in UNITS.values():
        with suppress(ValueError):
            return unit.read(value)
    return math.nan


def unit_of(value: object) -> str | None:
    """Return the unit inside of a text with a unit: ``d`` of a time, ``1/d`` of a rate; None of anything else."""
    for name, unit in UNITS.items() if isinstance(value, str) else ():
        with suppress(ValueError):
            unit.read(value)
            return name
    return None


def read_in(unit: str, value: object) -> float:
    """Return a number in a unit inside (`UNITS`, else none), as a key with this unit reads it."""
    return UNITS.get(unit, UNITS["1"]).read(value)


NAMED_SHARES = {"prognostic": 0.0, "causal": 1.0}
"""Names of the ends of a share of mediation: the advantage of responders is announced, or caused, by response."""


def _share_caused(value: object) -> float:
    """Return a share of mediation, from a number or its name; ValueError where it is neither."""
    if isinstance(value, str) and value in NAMED_SHARES:
        return NAMED_SHARES[value]
    try:
        return number(value)
    except ValueError:
        raise ValueError(
            "must be a share between 0 and 1, or a name of one of them: prognostic (0), causal (1)"
        ) from None


@dataclass(frozen=True)
class Dimension:
    """What a declared number measures: its unit inside, and which values are allowed.

    ``holds`` takes a number or an array. A number other than 0 is between `SMALLEST` and `LARGEST` in size: both
    engines compute with all of these. ``named``: how it is read, if not as its unit is.
    """

    unit: str
    holds: Callable[[Any], Any]
    allowed: str
    named: Callable[[object], float] | None = None

    def read(self, value: object) -> float:
        """Return a declared number in the unit inside; ValueError, which says what is allowed."""
        return (self.named or UNITS[self.unit].read)(value)

    def refusal(self, value: float) -> str | None:
        """Return why a number that was read is not allowed, None if it is."""
        return out_of_range(value) if self.holds(value) else self.allowed


DIMENSIONS: Mapping[str, Dimension] = MappingProxyType(
    {
        "time": Dimension("d", lambda x: x > 0, "must be > 0 days"),
        "duration": Dimension("d", lambda x: x >= 0, "must be ≥ 0 days"),
        "rate": Dimension("1/d", lambda x: x >= 0, "must be ≥ 0 per day"),
        "probability": Dimension("1", lambda x: (x >= 0) & (x <= 1), "must be a probability between 0 and 1"),
        "ratio": Dimension("1", lambda x: x >= 0, "must be a ratio ≥ 0"),
        "positive": Dimension("1", lambda x: x > 0, "must be > 0"),
        "real": Dimension("1", lambda x: True, "must be a number"),
        "signed_rate": Dimension("1/d", lambda x: True, "must be a rate per day"),
        "signed_time": Dimension("d", lambda x: True, "must be a time"),
        "mediation": Dimension(
            "1",
            lambda x: (x >= 0) & (x <= 1),
            "must be a share between 0 (prognostic) and 1 (causal)",
            _share_caused,
        ),
        "correlation": Dimension("1", lambda x: (x >= 0) & (x < 1), "must be a correlation ≥ 0 and < 1"),
    }
)
"""Everything that a declared number may be. The kind of a key is one of these names."""
