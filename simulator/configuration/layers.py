"""Laying one configuration over another: distributions, parameters with what is said of them, readings.

Provenance belongs to a value and goes with it. What was declared closest to the run wins.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any, TypeGuard

SET_BY_USER = "set by the user"
"""Note of a value that the user set."""

READING_GROUPS = ("cohort", "study", "parameters", "course")
"""Groups of the configuration that an alternative of a reading may change."""
OVERRULED = "overruled"
"""Key of an alternative in a composed configuration: keys of it that closer files set, each with the file."""

NUMBERS = ("fixed", "geometric", "poisson", "negative_binomial", "choice")
"""Distributions of a whole number."""


def is_distribution(node: Mapping[str, Any]) -> bool:
    """Whether a mapping stands for one thing: a name of a distribution, to its parameters."""
    if len(node) != 1:
        return False
    from simulator.kernels.quantiles import DISTRIBUTIONS  # not before it is needed: loading kernels takes a while

    return not {*DISTRIBUTIONS, *NUMBERS}.isdisjoint(node)


def replaces(new: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    """Whether a mapping laid over another replaces it whole: another distribution, not two at once."""
    return len(new) == len(old) == 1 and set(new) != set(old) and is_distribution(old)


def key_of(override: str) -> str:
    """Return the dotted key that a ``key=value`` text sets."""
    return override.partition("=")[0].lstrip("+").strip()


def keys_of(overrides: Iterable[str]) -> set[str]:
    """Return the dotted keys that texts set (`key_of`)."""
    return set(map(key_of, overrides))


EXCEPT = "except"
"""Key of a parameter: what is said of some of its strata's values, where the rest of the parameter is of the others."""


def is_leaf(node: object) -> TypeGuard[Mapping[str, Any]]:
    """Whether a node of the group ``parameters`` is a parameter with what is said of it."""
    return isinstance(node, Mapping) and "value" in node


def laid_over_leaf(old: Mapping[str, Any], new: Any, whose: str, *, by_hand: bool = False) -> dict[str, Any]:
    """Lay a value, a parameter or a part of one over a parameter. Provenance belongs to a value and goes with it.

    Where the value differs, nothing that was said of the old one stays; ``whose`` says who set it, unless the new one
    has a note or a provenance of its own. Where only some strata's values differ, what is said of them stands under
    `EXCEPT`. ``by_hand``: a value that is set again counts as another one.
    """
    patch = dict(new) if isinstance(new, Mapping) else {"value": new}
    if "value" not in patch:
        return {**old, **patch}
    said = {key: value for key, value in patch.items() if key != "value"}
    said = said if "note" in said or "provenance" in said else {**said, "note": whose}
    before, value = old["value"], patch["value"]
    if not (_by_stratum(before) and _by_stratum(value)):
        same = before == value and not by_hand
        return {**old, **patch} if same else {"value": value, **said}
    merged = {**before, **value}
    changed = [name for name in value if by_hand or name not in before or before[name] != value[name]]
    if not changed:
        return {**old, **patch}
    apart = {**old.get(EXCEPT, {}), **{name: dict(said) for name in changed}}
    if len(apart) == len(merged) and all(each == said for each in apart.values()):
        return {"value": merged, **said}
    return {**old, "value": merged, EXCEPT: apart}


def _by_stratum(value: object) -> bool:
    return isinstance(value, Mapping) and not is_distribution(value)


def _mergeable(old: object, new: object) -> bool:
    both = isinstance(old, Mapping) and isinstance(new, Mapping)
    return both and not is_leaf(new) and not replaces(new, old)  # type: ignore[arg-type]


def lay_over(base: Any, patch: Mapping[str, Any], key: str, by_hand: set[str], whose: str = "") -> None:
    """Lay a patch over a mapping in place, key by key; what the user set by hand (dotted keys) stays.

    ``whose`` patch it is: the note of a parameter that it changes without saying more.
    """
    for name, value in patch.items():
        here = f"{key}.{name}"
        if here in by_hand or f"{here}.value" in by_hand:
            continue
        old = base.get(name)
        below = any(each.startswith(f"{here}.") for each in by_hand)
        if key.split(".")[0] == "parameters" and is_leaf(old) and not (isinstance(value, Mapping) and not value):
            mine = [each.removeprefix(f"{here}.value.") for each in by_hand if each.startswith(f"{here}.value.")]
            if mine and not (is_leaf(value) and _by_stratum(value["value"])):
                continue
            if mine:
                value = {**value, "value": {n: v for n, v in value["value"].items() if n not in mine}}
            base[name] = copy.deepcopy(laid_over_leaf(old, value, whose))
        elif (
            isinstance(value, Mapping) and isinstance(old, Mapping) and not is_leaf(value) and not replaces(value, old)
        ):
            lay_over(old, value, here, by_hand, whose)
        elif not (below and isinstance(old, Mapping)):  # what the user set below it is closer
            base[name] = copy.deepcopy(value)


def why_not(overruled: Mapping[str, str]) -> str:
    """Return why an alternative changes nothing unless it is named by hand; empty where no file overrules it."""
    by_file: dict[str, list[str]] = {}
    for key, file in overruled.items():
        by_file.setdefault(file, []).append(key)
    return "; ".join(f"{file}, closer to the run, sets {', '.join(keys)}" for file, keys in by_file.items())
