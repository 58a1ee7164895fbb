"""Laying one configuration over another: distributions, parameters with what is said of them, readings.

Provenance belongs to a value and goes with it. What was declared closest to the run wins.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeGuard

SET_BY_USER = "set by the user"
"""Note of a value that the user set."""

REMOVED = object()
"""In the place of a value: the key is taken away."""

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
    """Return the dotted key that a ``key=value`` text sets, or ``~key`` takes away."""
    return override.partition("=")[0].lstrip("+~").strip()


def keys_of(overrides: Iterable[str]) -> set[str]:
    """Return the dotted keys that texts set (`key_of`)."""
    return set(map(key_of, overrides))


EXCEPT = "except"
"""Key of a parameter: what is said of some of its strata's values, where the rest of the parameter is of the others."""


def is_leaf(node: object) -> TypeGuard[Mapping[str, Any]]:
    """Whether a node of the group ``parameters`` is a parameter with what is said of it."""
    return isinstance(node, Mapping) and "value" in node


def merged(
    below: Mapping[str, Any],
    above: Mapping[str, Any],
    whose: str = "",
    *,
    key: str = "",
    closer: Collection[str] = (),
    by_hand: bool = False,
) -> dict[str, Any]:
    """Return a mapping with another one laid over it, key by key; what is no mapping is replaced. Changes neither.

    Parameters
    ----------
    whose : who set what is above; the note of a parameter that it changes without saying more.
    key : dotted key of both. Below ``parameters`` provenance goes with its value.
    closer : dotted keys that were set closer to the run than what is above; they stay.
    by_hand : the user set what is above, so that an equal value is another one.
    """
    if replaces(above, below):
        return dict(above)
    made = dict(below)
    for name, value in above.items():
        here = f"{key}.{name}" if key else name
        if here not in closer and f"{here}.value" not in closer:
            made[name] = _over(made.get(name), value, whose, here, closer, by_hand)
    return made


def _over(old: Any, value: Any, whose: str, here: str, closer: Collection[str], by_hand: bool) -> Any:
    below = [each.removeprefix(f"{here}.") for each in closer if each.startswith(f"{here}.")]
    parameter = here.startswith("parameters.")
    if parameter and is_leaf(old) and value is not None and value != {}:
        strata = [each.removeprefix("value.") for each in below if each.startswith("value.")]
        if strata and not (is_leaf(value) and _by_stratum(value["value"])):
            return old
        if strata:
            value = {**value, "value": {n: v for n, v in value["value"].items() if n not in strata}}
        plain = by_hand and not isinstance(value, Mapping)
        return value if plain else _over_leaf(old, value, whose, by_hand)
    if isinstance(old, Mapping) and isinstance(value, Mapping) and not (parameter and is_leaf(value)):
        return merged(old, value, whose, key=here, closer=closer, by_hand=by_hand)
    return old if below and isinstance(old, Mapping) else value


def _over_leaf(old: Mapping[str, Any], new: Any, whose: str, by_hand: bool) -> dict[str, Any]:
    """Lay a value, a parameter or a part of one over a parameter. Provenance belongs to a value and goes with it.

    Where the value differs, nothing that was said of the old one stays; ``whose`` says who set it, unless the new one
    has a note or a provenance of its own. Where only some strata's values differ, what is said of them stands under
    `EXCEPT`.
    """
    patch = dict(new) if isinstance(new, Mapping) else {"value": new}
    if "value" not in patch:
        return merged(old, patch)
    said = {key: value for key, value in patch.items() if key != "value"}
    said = said if "note" in said or "provenance" in said else {**said, "note": whose}
    before, value = old["value"], patch["value"]
    if not (_by_stratum(before) and _by_stratum(value)):
        same = before == value and not by_hand
        return {**old, **patch} if same else {"value": value, **said}
    both = {**before, **value}
    changed = [name for name in value if by_hand or name not in before or before[name] != value[name]]
    if not changed:
        return {**old, **patch}
    apart = {**old.get(EXCEPT, {}), **{name: dict(said) for name in changed}}
    if len(apart) == len(both) and all(each == said for each in apart.values()):
        return {"value": both, **said}
    return {**old, "value": both, EXCEPT: apart}


def _by_stratum(value: object) -> bool:
    return isinstance(value, Mapping) and not is_distribution(value)


def why_not(overruled: Mapping[str, str]) -> str:
    """Return why an alternative changes nothing unless it is named by hand; empty where no file overrules it."""
    by_file: dict[str, list[str]] = {}
    for key, file in overruled.items():
        by_file.setdefault(file, []).append(key)
    return "; ".join(f"{file}, closer to the run, sets {', '.join(keys)}" for file, keys in by_file.items())
