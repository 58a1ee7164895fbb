"""Choices of the model whose value is a name, such as a family of hazards: which one holds, and which others may.

A key is a parameter of the cohort (``survival.family``) or a dotted key as on the command line (``course.response``).
The choice that the configuration has is the one that is calibrated; the others are compared with it.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from calibration.schema import ROOT, Calibration
from simulator.configuration.draws import GROUP, KEYS, published_with
from simulator.configuration.values import PREFIX
from simulator.errors import MISSING, ConfigError, Problem, nearest

GROUPS = ("cohort", "model", "course", "study", GROUP)
"""Where a choice can stand: evidence is no choice, and how things are computed changes nothing."""
_WORD = re.compile(r"^[A-Za-z][A-Za-z0-9_]*$")
_NOT_NAMES = ("name", "title", "description")


@dataclass(frozen=True)
class Combination:
    """The value of every choice that is compared, and the prior weight of all together, not normalised."""

    chosen: Mapping[str, str]
    weight: float

    @property
    def name(self) -> str:
        """The values, by name."""
        return ", ".join(self.chosen.values())


def choices_of(declared: Calibration, container: Mapping[str, Any]) -> dict[str, str]:
    """Return the value that each choice has in a configuration.

    Raises
    ------
    ConfigError
        Where a key is no choice of this cohort, or its value is no name.
    """
    found, wrong = {}, []
    for key in declared.alternatives:
        here = f"{ROOT}.alternatives.{key}"
        value = _at(container, _path(key, container))
        if value is None:
            allowed = "unknown choice; it must be a parameter of this cohort, or another key, whose value is a name"
            wrong.append(Problem(here, MISSING, allowed, nearest(key, _known(container))))
        elif not isinstance(value, str) or not _WORD.match(value):
            refers = isinstance(value, str) and value.startswith(PREFIX)
            instead = f"; name {value.removeprefix(PREFIX)}" if isinstance(value, str) and refers else ""
            shown = value if isinstance(value, str | int | float) else MISSING
            wrong.append(Problem(here, shown, f"is no name, so it has no alternatives{instead}"))
        else:
            found[key] = value
    if wrong:
        raise ConfigError(wrong)
    return found


def taken(declared: Calibration, container: Mapping[str, Any]) -> Calibration:
    """Return a calibration whose priors are those of the choices that a configuration has. Raises as `words_of`."""
    priors = dict(declared.parameters)
    for _, alternative in _given(declared, container):
        priors |= alternative.parameters
    return declared if priors == declared.parameters else declared.model_copy(update={"parameters": priors})


def located(problem: Problem, declared: Calibration, container: Mapping[str, Any]) -> Problem:
    """Return a problem of a prior that stands under an alternative with the key under which it stands."""
    for here, alternative in _given(declared, container):
        for path in alternative.parameters:
            key = f"{ROOT}.parameters.{path}"
            if problem.key == key or problem.key.startswith(f"{key}."):
                return replace(problem, key=f"{here}.parameters.{problem.key.removeprefix(f'{ROOT}.parameters.')}")
    return problem


def combinations(declared: Calibration, container: Mapping[str, Any]) -> list[Combination]:
    """Return every combination of choices, the configuration's own first; nothing where none is compared.

    A choice whose value is none of its alternatives, set by hand, keeps it. Raises as `words_of`.
    """
    own = choices_of(declared, container)
    compared = {key: chosen for key, chosen in declared.alternatives.items() if own[key] in chosen}
    if not compared:
        return []
    found = []
    for chosen in itertools.product(*compared.values()):
        weight = math.prod(
            declared.alternatives[key][choice].weight for key, choice in zip(compared, chosen, strict=True)
        )
        found.append(Combination(dict(zip(compared, chosen, strict=True)), weight))
    usual = {key: own[key] for key in compared}
    return sorted(found, key=lambda one: one.chosen != usual)


def held(declared: Calibration, container: Mapping[str, Any]) -> dict[str, str]:
    """Return the choices that are not compared, since their value is none of their alternatives."""
    return {
        key: choice
        for key, choice in choices_of(declared, container).items()
        if choice not in declared.alternatives[key]
    }


def with_choices(container: Mapping[str, Any], chosen: Mapping[str, str]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return a configuration with other choices, in the published study too, and the overrides that say so.

    The overrides keep a reading of the text from laying its own value over them.
    """
    out, overrides = dict(container), []
    for key, choice in chosen.items():
        path = _path(key, container)
        if path[0] == GROUP:
            out[GROUP] = published_with(out[GROUP], [".".join(path[1:])])
        overrides.append(f"{'.'.join(path)}={choice}")
        out = _with(out, path, choice)
    return out, tuple(overrides)


def _given(declared: Calibration, container: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield key and alternative of each choice that a configuration has and the file names."""
    for key, choice in choices_of(declared, container).items():
        if choice in declared.alternatives[key]:
            yield f"{ROOT}.alternatives.{key}.{choice}", declared.alternatives[key][choice]


def _path(key: str, container: Mapping[str, Any]) -> tuple[str, ...]:
    """Return where a key stands: among the parameters, or as it is written."""
    steps = tuple(key.split("."))
    return (GROUP, *steps) if _at(container, (GROUP, *steps)) is not None else steps


def _at(container: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    """Return what a configuration says at a path, without its provenance; None for nothing."""
    if path[0] not in GROUPS:
        return None
    node: Any = container
    for step in path:
        node = node.get(step) if isinstance(node, Mapping) else None
    return node.get("value") if path[0] == GROUP and isinstance(node, Mapping) and "value" in node else node


def _with(node: Mapping[str, Any], path: tuple[str, ...], choice: str) -> dict[str, Any]:
    first, *rest = path
    old = node.get(first)
    if rest:
        new: Any = _with(old if isinstance(old, Mapping) else {}, tuple(rest), choice)
    else:
        new = {**old, "value": choice} if isinstance(old, Mapping) else choice
    return {**node, first: new}


def _known(container: Mapping[str, Any]) -> list[str]:
    """Return every key of a configuration whose value is a name, parameters by their own names."""
    known = []
    for group in GROUPS:
        for path in _words_below(container.get(group), ()):
            if path[-1] not in _NOT_NAMES and not (group == GROUP and path[0] in (*KEYS, "reference")):
                known.append(".".join(path if group == GROUP else (group, *path)))
    return known


def _words_below(node: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if isinstance(node, Mapping):
        leaf = "value" in node and not isinstance(node["value"], Mapping)
        for key, child in {"": node["value"]}.items() if leaf else node.items():
            yield from _words_below(child, (*path, str(key)) if key else path)
    elif isinstance(node, str) and _WORD.match(node) and path:
        yield path
