"""Errors by meaning."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from simulator.text import visible


class LobuleError(Exception):
    """Anything Lobule raises on purpose."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong with an input: the dotted key, the value as given, and what is allowed.

    ``parameter_set``: of several that were declared together, the one it is about; None: all of them.
    """

    key: str
    value: object
    allowed: str
    nearest: str | None = None
    parameter_set: int | None = field(default=None, kw_only=True)

    def __str__(self) -> str:
        shown = "" if self.value is MISSING else f" = {_shown(self.value)}"
        hint = f" (did you mean {self.nearest!r}?)" if self.nearest else ""
        which = "" if self.parameter_set is None else f" (parameter set {self.parameter_set})"
        return visible(f"{self.key}{shown}: {self.allowed}{hint}{which}")


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING = _Missing()


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 120 else text[:117] + "..."


class ConfigError(LobuleError):
    """Bad input. Carries every problem found, in the order of the configuration; exit code 2."""

    def __init__(self, problems: Sequence[Problem] | Problem) -> None:
        self.problems = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__("\n".join(f"config error: {problem}" for problem in self.problems))


class SimulationError(LobuleError):
    """A simulation that cannot go on, such as a recurrent event beyond its declared maximum."""


class ScenarioError(LobuleError):
    """Some scenarios of a sweep failed; the others are kept. Exit code 3."""


class IncompleteWarning(UserWarning):
    """Results that are not all there yet: what is missing shows as NaN."""


class DeclarationWarning(UserWarning):
    """A declaration that is legal but surely not meant, or a key that is inert in this cohort."""


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate closest to ``name``, or None when none is close."""
    found = difflib.get_close_matches(name, list(candidates), n=1, cutoff=0.6)
    return found[0] if found else None


def unknown(key: str, name: str, candidates: Iterable[str], *, what: str) -> Problem:
    """Return the problem of an unknown name: what it should have been one of, and the nearest."""
    known = sorted(candidates)
    listed = ", ".join(known) if known else "none declared"
    return Problem(key, name, f"unknown {what}; known: {listed}", nearest(name, known))
