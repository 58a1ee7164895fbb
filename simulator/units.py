"""Days inside, units at the edge. Knows durations and rates; knows nothing of who declares them.

A month is 30.4375 days and a year 365.25 days (EVIDENCE section E). A bare number is in days
(per day for a rate); text carries its unit: ``"14 mo"``, ``"2 wk"``, ``"0.05 / y"``.
"""

from __future__ import annotations

import math
import re
from contextlib import suppress

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


def any_number(value: object) -> float:
    """Return a number without a unit, a time in days or a rate per day; NaN if the value is none of them."""
    for read in (number, days, per_day):
        with suppress(ValueError):
            return read(value)
    return math.nan


def unit_of(value: object) -> str | None:
    """Return the unit inside of a text with a unit: ``d`` of a time, ``1/d`` of a rate; None of anything else."""
    if isinstance(value, str):
        for unit, read in (("d", days), ("1/d", per_day)):
            with suppress(ValueError):
                read(value)
                return unit
    return None


def read_in(unit: str, value: object) -> float:
    """Return a number in a unit inside (``d``, ``1/d``, else none), as a key with this unit reads it."""
    return {"d": days, "1/d": per_day}.get(unit, number)(value)


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
