"""Decisions that a study would be read for: a bound of a proportion's interval beside a threshold.

Knows targets by their ids; knows nothing of how an interval is computed or of how anything is simulated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Self

from pydantic import Field, model_validator

from simulator.declaration.base import Declared, Name, Number
from simulator.declaration.messages import Wrong
from simulator.declaration.reported import EvidenceEntry, Text
from simulator.declaration.values import Problems
from simulator.errors import MISSING, Problem

PROPORTIONS = ("proportion", "mode_share")
"""Estimators that have a count and a denominator, so that an interval can be taken of them."""


class Decision(Declared):
    """What is decided in a study from the interval of one target, a proportion.

    ``above``: yes if the lower end of the two-sided interval is above it; ``below``: yes if the upper end is below it.
    """

    target: Text
    above: Number | None = Field(default=None, ge=0, le=1)
    below: Number | None = Field(default=None, ge=0, le=1)
    level: Number = Field(default=0.95, gt=0, lt=1)
    method: Literal["wilson", "exact"] = "wilson"

    @model_validator(mode="after")
    def _one_threshold(self) -> Self:
        if self.above is None and self.below is None:
            allowed = "must be given, or below: the share that the interval must lie above (below)"
            raise Wrong([Problem("above", MISSING, allowed)])
        if self.above is not None and self.below is not None:
            raise Wrong([Problem("below", self.below, "cannot stand beside above: declare two decisions")])
        return self

    @property
    def threshold(self) -> float:
        """The share that a bound is held against."""
        found = self.above if self.above is not None else self.below
        assert found is not None
        return found

    @property
    def said(self) -> str:
        """The rule in words."""
        end, side = ("lower", "above") if self.above is not None else ("upper", "below")
        return f"{end} {100 * self.level:g} % bound ({self.method}) of {self.target} {side} {self.threshold:g}"


def check(decisions: Mapping[Name, Decision], targets: Sequence[EvidenceEntry], problems: Problems) -> None:
    """Collect decisions on what is no target, or has no interval."""
    by_id = {entry.id: entry for entry in targets}
    shares = [name for name, entry in by_id.items() if entry.estimator_name in PROPORTIONS]
    for name, decision in decisions.items():
        key = f"output.decisions.{name}.target"
        if decision.target not in by_id:
            problems.unknown(key, decision.target, shares, what="proportion among the targets")
        elif decision.target not in shares:
            of = by_id[decision.target].estimator_name
            allowed = f"is a {of}, which has no count and denominator; proportions are {', '.join(shares)}"
            problems.add(key, decision.target, allowed)
