"""Which number that the user set is behind a problem of several numbers together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from simulator.configuration.values import PREFIX
from simulator.errors import Problem
from simulator.experiment.groups import DECLARED
from simulator.experiment.numbers import Declarations
from simulator.model.model import references


def attributed(problem: Problem, declared: Declarations, *, solved: bool) -> Problem:
    """Return a problem of several numbers as one of the number among them that the user set by hand.

    It stays what it is where the user set none of them, or what it names. ``solved``: it is of a solved number,
    which follows from more than stands at its key.
    """

    def is_of(key: str, other: str) -> bool:
        return f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}.")

    if any(is_of(key, problem.key) for key in declared.by_hand):
        return problem
    behind = [PREFIX + path for path in references(_at(declared, problem.key))]
    behind += _behind_solved(declared) if solved else []
    drivers = [key for key in declared.by_hand if any(is_of(key, other) for other in behind)]
    if not drivers:
        return problem
    first, *others = drivers
    also = f" ({', '.join(f'{key} = {declared.by_hand[key]}' for key in others)} is set by hand too)" if others else ""
    allowed = f"does not go with the rest{also}: {replace(problem, parameter_set=None)}"
    return replace(problem, key=first, value=declared.by_hand[first], allowed=allowed)


def _at(declared: Declarations, key: str) -> Any:
    """Return what is declared at a key, None where nothing is found."""
    node: Any = {name: getattr(declared, name) for name in DECLARED}
    for step in key.split("."):
        node = node.get(step) if isinstance(node, Mapping) else getattr(node, step, None)
    return node


def _behind_solved(declared: Declarations) -> list[str]:
    """Return the keys of everything that a solved number may follow from."""
    course = {name: value for name, value in declared.course if name != "adverse_events"}
    study = {name: value for name, value in declared.study if name.startswith("assess")}
    paths = references([declared.model, course, study, dict(declared.cohort.mix)])
    named = [*(f"course.{name}" for name in course), *(f"study.{name}" for name in study)]
    groups = ["model", "cohort.mix", "cohort.arms", "study.horizon", "study.reading", f"{PREFIX}reference"]
    return [*(PREFIX + path for path in paths), *named, *groups]
