"""What the investigators did: accrual, follow-up, assessments, populations."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from simulator.configuration.fields import Declared, Expression, Kind, Name
from simulator.configuration.values import Problems
from simulator.errors import MISSING
from simulator.model.model import Hazard

MOST_REPLICATES = 2**32


class Population(Declared):
    """An analysis set: who of another set belongs, by chance or by what was seen of them."""

    of: Name = "treated"
    """Population, declared before, that it is part of."""
    probability: Annotated[Expression, Kind("probability")] = 1
    """Who belongs by chance, one draw a patient."""
    always: Name | None = None
    """Event: belongs if it was seen, whatever the draw."""
    exclude: Name | None = None
    """Event: does not belong if it was seen."""
    alive_at: Annotated[Expression | None, Kind("duration")] = None
    """Only if alive and under observation at this time since entry."""
    label: str | None = None
    """For the reader."""


class Study(Declared):
    """The design of the virtual study."""

    name: str | None = None
    """For the reader."""
    description: str | None = None
    """For the reader."""
    replicates: int = Field(default=1000, ge=1, le=MOST_REPLICATES)
    """Simulated studies."""
    horizon: Annotated[Expression, Kind("time")]
    """Nothing is simulated from it on."""
    reading: str | list[str] | None = None
    """Answers to open questions of the evidence, by name; the others take their default."""
    assessment_interval: Annotated[Any, Kind("time", distribution=True)] = None
    """Between assessment visits."""
    assessed: list[Name] = []
    """Events that are seen only at an assessment visit."""
    accrual: Annotated[Any, Kind("duration", distribution=True)] = 0
    """Entry of a patient, counted from the opening of accrual."""
    data_cut: Annotated[Expression | None, Kind("duration")] = None
    """When the data are analysed, counted from the opening; never if left out."""
    minimum_follow_up: Annotated[Expression | None, Kind("duration")] = None
    """Instead of `data_cut`: how long after the last possible entry the data are analysed."""
    loss_to_follow_up: Hazard | None = None
    """Hazard of loss, since entry; the same for all strata."""
    populations: dict[Name, Population] = {}
    """Analysis sets by name; `treated` holds all patients."""

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
                "is always there and holds all patients; choose another name",
            )
        for i, (name, population) in enumerate(self.populations.items()):
            key = f"study.populations.{name}"
            if population.of not in known[: i + 1]:
                problems.unknown(f"{key}.of", population.of, known[: i + 1], what="population declared before it")
            for what in ("always", "exclude"):
                event = getattr(population, what)
                if event is not None and event not in events:
                    problems.unknown(f"{key}.{what}", event, events, what="event")
