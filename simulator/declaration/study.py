"""What the investigators did: accrual, follow-up, assessments, populations. Knows a study as declared."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from simulator.declaration.base import Declared, Expression, Name
from simulator.declaration.model import Hazard
from simulator.declaration.values import Problems
from simulator.errors import MISSING

MOST_REPLICATES = 2**32


class Population(Declared):
    """An analysis set: who of another set belongs, by chance or by what was seen of them."""

    of: Name = "treated"
    probability: Expression = 1
    always: Name | None = None
    exclude: Name | None = None
    alive_at: Expression | None = None
    label: str | None = None


class Study(Declared):
    """The design of the virtual study."""

    name: str | None = None
    description: str | None = None
    replicates: int = Field(default=1000, ge=1, le=MOST_REPLICATES)
    horizon: Expression
    reading: str | list[str] | None = None
    assessment_interval: Any = None
    assessed: list[Name] = []
    accrual: Any = 0
    data_cut: Expression | None = None
    minimum_follow_up: Expression | None = None
    loss_to_follow_up: Hazard | None = None
    populations: dict[Name, Population] = {}

    def check(self, events: Any, problems: Problems) -> None:
        """Collect names that refer to nothing."""
        for event in self.assessed:
            if event not in events:
                problems.unknown("study.assessed", event, events, what="event")
        if self.data_cut is not None and self.minimum_follow_up is not None:
            allowed = "cannot stand beside study.data_cut, which says the same from the other end; keep one"
            problems.add("study.minimum_follow_up", self.minimum_follow_up, allowed)
        known = ["treated", *self.populations]
        if self.assessed and self.assessment_interval is None:
            problems.add("study.assessment_interval", MISSING, "is missing: the assessed events are seen at visits")
        for name in sorted({"entry", "loss"} & set(self.populations)):
            problems.add(f"study.populations.{name}", name, "is a name that Lobule uses for something else")
        if "treated" in self.populations:
            problems.add(
                "study.populations.treated",
                "treated",
                "is always there and holds everybody; choose another name",
            )
        for i, (name, population) in enumerate(self.populations.items()):
            key = f"study.populations.{name}"
            if population.of not in known[: i + 1]:
                problems.unknown(f"{key}.of", population.of, known[: i + 1], what="population declared before it")
            for what in ("always", "exclude"):
                event = getattr(population, what)
                if event is not None and event not in events:
                    problems.unknown(f"{key}.{what}", event, events, what="event")
