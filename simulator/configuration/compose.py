"""Composing a configuration: the files that defaults lists take, merged, and values set by dotted key.

Defaults lists and merging mean what Hydra makes of them; the files are read by `files`, so that no interpolation,
resolver or `_target_` is ever looked at. Nothing global is needed or changed, and many threads may compose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from simulator.configuration.defaults import Defaults
from simulator.configuration.layers import REMOVED, SET_BY_USER, is_leaf, merged
from simulator.configuration.library import COHORT, NAMED_BY_COHORT, PARAMETERS, Library
from simulator.errors import MISSING, ConfigError, Problem, nearest


@dataclass(frozen=True)
class Composition:
    """A composed configuration, which file each group took, and which keys no file has."""

    container: dict[str, Any]
    choices: dict[str, str]
    new: tuple[str, ...] = ()
    flattened: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Keys at which one value was set in the place of several, and the names of those."""


def compose(library: Library, choices: Mapping[str, str], values: Sequence[tuple[str, Any]]) -> Composition:
    """Compose: `choices` of files by group, then `values` by dotted key, in order.

    Raises
    ------
    ConfigError
        With every problem of the files taken, or of the keys that cannot be set.
    """
    return with_values(compose_files(library, choices), values)


def compose_files(library: Library, choices: Mapping[str, str]) -> Composition:
    """Compose the files that a choice by group takes. Raises ConfigError with every problem of theirs."""
    defaults = Defaults(library, choices)
    if defaults.problems:
        raise ConfigError(defaults.problems)
    from simulator.configuration.closeness import Closeness  # reads declarations, which bad input need not wait for

    container: dict[str, Any] = {}
    closeness = Closeness(defaults)
    for path in defaults.files:
        content = library.content(path)
        closeness.take(path, content)
        container = merged(container, content, f"set in {path}.yaml")
    if problems := _missing(defaults.taken, container, library):
        raise ConfigError(problems)
    return Composition(closeness.found(container), defaults.taken)


def with_values(composed: Composition, values: Sequence[tuple[str, Any]]) -> Composition:
    """Set `values` by dotted key, in order, in a composition; that one stays as it is.

    `REMOVED` as a value takes the key away. Raises ConfigError.
    """
    container = composed.container
    new = tuple(key for key, value in values if value is not REMOVED and not _has(container, key))
    flattened = {key: names for key, value in values if (names := _flattened(container, key, value))}
    problems: list[Problem] = []
    # a value set by hand takes with it what was said of the old one, never what is set by hand beside it
    for key, value in sorted(values, key=lambda item: not _is_value(item[0])):
        steps = key.split(".")
        try:
            if value is REMOVED:
                container = _without(container, steps, key)
            else:
                container = merged(container, _placed(container, steps, value, key), SET_BY_USER, by_hand=True)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return Composition(container, composed.choices, (*composed.new, *new), {**composed.flattened, **flattened})


def _has(container: Mapping[str, Any], key: str) -> bool:
    node: Any = container
    for step in key.split("."):
        if not isinstance(node, Mapping) or step not in node:
            return False
        node = node[step]
    return True


def _is_value(key: str) -> bool:
    return key.startswith(f"{PARAMETERS}.") and "value" in key.split(".")


def _flattened(container: Mapping[str, Any], key: str, value: Any) -> tuple[str, ...]:
    """Return the names below a parameter that one value is set in the place of."""
    node: Any = container
    for step in key.split("."):
        node = node.get(step) if isinstance(node, Mapping) else None
    if is_leaf(node) and isinstance(node["value"], Mapping):
        node = node["value"]
    one = key.startswith(f"{PARAMETERS}.") and not isinstance(value, Mapping) and value is not REMOVED
    return tuple(map(str, node)) if one and isinstance(node, Mapping) and "value" not in node else ()


def _placed(node: Any, steps: Sequence[str], value: Any, key: str, shown: str = "") -> Any:
    """Return what is to be laid over a node for a dotted key to have a value. Raises ConfigError where it cannot."""
    if not steps:
        return value
    step, *rest = steps
    here = f"{shown}.{step}" if shown else step
    if isinstance(node, list):
        if not step.isdigit() or int(step) >= len(node):
            items = f"its items are {shown}.0 to {shown}.{len(node) - 1}"
            raise ConfigError(Problem(key, MISSING, f"{shown} is a list of {len(node)}: {items}"))
        old = node[int(step)]
        new = _placed(old, rest, value, key, here)
        both = isinstance(old, Mapping) and isinstance(new, Mapping)
        return [*node[: int(step)], merged(old, new) if both else new, *node[int(step) + 1 :]]
    if not isinstance(node, Mapping):
        raise ConfigError(Problem(key, value, f"{shown} is the single value {node!r} and has no keys below it"))
    return {step: _placed(node.get(step, {}), rest, value, key, here)}


def _without(node: Mapping[str, Any], steps: Sequence[str], key: str) -> dict[str, Any]:
    """Return a mapping without what is at a dotted key. Raises ConfigError where there is nothing."""
    step, *rest = steps
    below = node.get(step)
    if step not in node or (rest and not isinstance(below, Mapping)):
        before = key.split(".")[: -len(steps)]
        near = nearest(step, [str(name) for name in node])
        raise ConfigError(Problem(f"~{key}", MISSING, "is not there, so it cannot be taken away",
                                  None if near is None else ".".join(["~" + before[0], *before[1:], near, *rest])
                                  if before else None))  # fmt: skip
    others = {name: value for name, value in node.items() if name != step}
    return {**node, step: _without(below, rest, key)} if isinstance(below, Mapping) and rest else others


def _missing(taken: Mapping[str, str], made: Mapping[str, Any], library: Library) -> list[Problem]:
    absent = [group for group in NAMED_BY_COHORT if group not in taken and group not in made]
    if not absent:
        return []
    label = library.file(f"{COHORT}/{taken[COHORT]}").label
    lines = ", ".join(f"'- /{group}: <name>'" for group in absent)
    return [Problem(label, MISSING, f"its defaults list must name {', '.join(absent)}: add {lines}")]
