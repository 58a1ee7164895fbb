"""The base of everything declared. Knows strictness and units; knows nothing of cohorts.

A declared number may be a literal, text with a unit, a reference to a parameter
(``parameters.response.onset_median``), or a mapping from stratum to any of these. Which of them is a
time, a rate or a plain number is known only where it is used; `values.resolve` turns it into an array.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeGuard

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from simulator import units

SET_BY_USER = "set by the user"
"""Note of a value that the user set."""


class Declared(BaseModel):
    """Strict, immutable: no unknown keys, no silent conversion of text to numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True)


def _name(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a name; YAML reads NO, YES, ON and OFF as true or false: put it in quotes")
    return value


Name = Annotated[str, BeforeValidator(_name), Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
"""A name: a letter, then letters, digits and underscores."""

Text = Annotated[str, Field(min_length=1)]
"""Text that says something."""


def _bounded(read: Callable[[object], float]) -> Callable[[object], float]:
    def bounded(value: object) -> float:
        number = read(value)
        if refusal := units.out_of_range(number):
            raise ValueError(refusal)
        return number

    return bounded


Time = Annotated[float, BeforeValidator(_bounded(units.days))]
"""Days, from a number of days or text with a unit."""

Number = Annotated[float, BeforeValidator(_bounded(units.number))]
"""A number without a unit."""


@dataclass(frozen=True)
class Kind:
    """How the numbers at a key are read, for whoever reads the schema: the resolver is told where it uses them.

    ``name``: one of `values.DIMENSIONS`, or ``whole``. ``distribution``: one may stand there.
    """

    name: str
    distribution: bool = False


Expression = float | int | str | dict[str, Any]
"""A literal, text with a unit, ``parameters.<path>``, or a mapping from stratum to these."""

RESERVED = frozenset(
    {
        *("survival", "follow_up", "administrations", "administrations_before", "dose", "entered", "population"),
        *("state", "adverse_event", "administration", "end_of_course", "visit"),
    }
)
"""Names that mean something else where events are named: variables of the study, rows of a log, streams."""

ONE_CHOICE = frozenset(
    {
        *("fixed", "uniform", "triangular", "normal", "log_normal", "exponential", "weibull", "gamma"),
        *("geometric", "poisson", "negative_binomial", "choice"),
    }
)
"""Names of distributions. A mapping with one of them stands for one thing, here without loading a kernel."""


def replaces(new: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    """Whether a mapping laid over another replaces it whole: another distribution, not two at once."""
    return len(new) == len(old) == 1 and set(old) <= ONE_CHOICE and set(new) != set(old)


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
    return isinstance(value, Mapping) and not set(value) & ONE_CHOICE


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
