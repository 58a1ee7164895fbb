"""Decisions that a study would be read for: a bound of a proportion's interval beside a threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Self

from pydantic import Field, model_validator

from simulator.configuration.fields import Declared, Name, Number, Text
from simulator.configuration.messages import Wrong
from simulator.configuration.values import Problems
from simulator.errors import MISSING, Problem
from simulator.evidence.entries import EvidenceEntry
from simulator.evidence.statistic import Statistic


class Decision(Declared):
    """What is decided in a study from the interval of one target, a proportion."""

    target: Text
    """Id of a target, or name of an estimate, that is a proportion."""
    above: Number | None = Field(default=None, ge=0, le=1)
    """Yes if the lower end of the interval is above it."""
    below: Number | None = Field(default=None, ge=0, le=1)
    """Yes if the upper end of the interval is below it."""
    level: Number = Field(default=0.95, gt=0, lt=1)
    """Level of the two-sided interval."""
    method: Literal["wilson", "exact"] = "wilson"
    """Wilson's score interval, or the exact one of Clopper and Pearson."""

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


def check(
    decisions: Mapping[Name, Decision],
    targets: Sequence[EvidenceEntry],
    estimates: Mapping[str, Statistic],
    problems: Problems,
) -> None:
    """Collect decisions on what is neither target nor estimate, or has no interval."""
    by_id = {entry.id: entry.statistic for entry in targets if entry.statistic is not None} | dict(estimates)
    shares = [name for name, statistic in by_id.items() if statistic.counted]
    for name, decision in decisions.items():
        key = f"output.decisions.{name}.target"
        if decision.target not in by_id:
            problems.unknown(key, decision.target, shares, what="proportion among targets and estimates")
        elif decision.target not in shares:
            known = f"proportions are {', '.join(shares)}"
            allowed = f"is a {by_id[decision.target].named}, which has no count and denominator; {known}"
            problems.add(key, decision.target, allowed)
