"""What is legal and surely not meant: warnings. Refuses nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from simulator.configuration.values import Resolver
from simulator.model.cohort import Cohort
from simulator.model.model import Model
from simulator.tables import Floats
from simulator.units import days

LARGEST_RATIO = 100.0
"""Hazard ratio beyond which, or below whose reciprocal, a slip is more likely than an effect."""
SHARES_NEAR_ONE = (0.9, 1.1)
ROUNDED = 0.005
"""By how much a share that is printed with two decimals may be off."""
BEYOND, LIKE_DAYS = 5.0, 0.1
"""A time is like one in days under another unit: beyond so many horizons, and its number so large a part of one."""
_UNIT = re.compile(r"\s*([0-9.]+)\s*[a-z]+\s*")


def suspicions(model: Model, cohort: Cohort, resolver: Resolver, horizon: float) -> Iterator[str]:
    """Yield a warning for each number that is surely not meant."""
    yield from _hazard_ratios(model, cohort, resolver)
    yield from _times(model, resolver, horizon)
    yield from _shares(cohort)


def differing_by_case(declared: Any, key: str = "") -> Iterator[str]:
    """Yield a warning for each name that differs from another one beside it in capital letters alone."""
    if isinstance(declared, Mapping):
        yield from _same_but_for_case(declared, key)
        for name, value in declared.items():
            yield from differing_by_case(value, f"{key}.{name}" if key else str(name))
    elif isinstance(declared, (list, tuple)) and all(isinstance(item, str) for item in declared):
        yield from _same_but_for_case(declared, key)


def _same_but_for_case(names: Any, key: str) -> Iterator[str]:
    found: dict[str, str] = {}
    for name in map(str, names):
        other = found.setdefault(name.casefold(), name)
        if other != name:
            yield f"{key}: {name} stands beside {other}: names that differ in capital letters alone are two names"


def _hazard_ratios(model: Model, cohort: Cohort, resolver: Resolver) -> Iterator[str]:
    places = {
        f"model.events.{name}.ratios[{i}].ratio": term.ratio
        for name, event in model.events.items()
        for i, term in enumerate(event.ratios)
        if term.covariate is None
    }
    for arm, declared in cohort.arms.items():
        places |= {
            f"cohort.arms.{arm}.effects.hazard_ratio.{event}": expression
            for event, expression in declared.effects.hazard_ratio.items()
        }
    found: dict[str, float] = {}
    for key, expression in places.items():
        values: Floats = resolver.array(expression, "ratio", key)[0]
        found |= dict(zip(resolver.origins(expression, key), values.tolist(), strict=True))
    for key, value in found.items():
        if value > LARGEST_RATIO or 0.0 < value < 1.0 / LARGEST_RATIO:
            yield f"{key} = {value:g} is an unlikely hazard ratio: 1 is no effect, 0.5 half the hazard"


def _times(model: Model, resolver: Resolver, horizon: float) -> Iterator[str]:
    found: dict[str, str] = {}
    for name, event in model.events.items():
        if event.hazard is None or event.clock == "age":
            continue
        for what in ("median", "mean", "scale", "delay"):
            key = f"model.events.{name}.hazard.{what}"
            expression = getattr(event.hazard, what)
            for source, value in [] if expression is None else resolver.declared(expression, key):
                number = _UNIT.fullmatch(value) if isinstance(value, str) else None
                if number and days(value) > BEYOND * horizon and LIKE_DAYS * horizon <= float(number[1]) <= horizon:
                    found[source] = f"{source} = {value} is {days(value) / horizon:.2g} horizons; '{number[1]} d'?"
    yield from found.values()


def _shares(cohort: Cohort) -> Iterator[str]:
    shares = [value for value in cohort.mix.values() if isinstance(value, float | int) and 0 <= value <= 1]
    total, (low, high) = float(np.sum(shares)), SHARES_NEAR_ONE
    off = min(len(shares), 3) * ROUNDED + 1e-9
    if len(shares) == len(cohort.mix) > 1 and low <= total <= high and abs(total - 1.0) > off:
        yield f"cohort.mix sums to {total:.6g}: shares are taken as proportions of that"
