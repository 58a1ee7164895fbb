"""How patients were watched: accrual, follow-up, assessments, populations.

Dimensions of the shapes are those of `simulator.tables`: ``B`` parameter sets, ``C`` cells, ``E`` events, ``T``
adverse-event terms. Times are days.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.tables import NONE, Flags, Floats, Integers, freeze, shaped

TREATED = "treated"
"""The population of all patients. It always exists and is never declared."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AnalysisSet:
    """A set of patients that a statistic is taken in: part of another one, by chance and by rule.

    A patient belongs if they belong to the population ``of`` and (their draw falls below the cell's
    probability while they are alive at ``alive_at``, or ``always_event`` was seen in them), unless
    ``exclude_event`` was seen in them. The draw has the stream ``study.<name>``.
    """

    name: str
    of: str = TREATED
    always_event: int = NONE
    exclude_event: int = NONE

    probability: Floats = shaped("BC")
    alive_at: Floats = shaped("B")  # days since entry; not finite: no such condition

    def __post_init__(self) -> None:
        freeze(self, {})


@dataclass(frozen=True, kw_only=True, eq=False)
class StudyDesign:
    """A study protocol, by parameter set."""

    populations: tuple[AnalysisSet, ...]

    entry_code: Integers = shaped("B", np.int64)  # of kernels.quantiles.DISTRIBUTIONS; NONE: all at day 0
    entry: Floats = shaped("B3")  # of the time of entry, days since accrual opened
    data_cut: Floats = shaped("B")  # days since accrual opened, +inf: none
    loss_family: Integers = shaped("B", np.int64)  # of kernels.hazards.FAMILIES; NONE: nobody is lost
    loss: Floats = shaped("B3")
    assessment_code: Integers = shaped("B", np.int64)  # NONE: events are seen when they happen
    assessment: Floats = shaped("B3")  # of the interval between assessment visits
    assessed: Flags = shaped("E", np.bool_)  # events seen only at an assessment visit
    counted: Flags = shaped("T", np.bool_)  # adverse-event terms that "any adverse event" counts

    def __post_init__(self) -> None:
        sizes = {"3": 3}
        freeze(self, sizes)
        known = [TREATED]
        for population in self.populations:
            if population.name in known:
                raise ValueError(f"StudyDesign.populations: {population.name!r} is declared twice")
            if population.of not in known:
                raise ValueError(
                    f"StudyDesign.populations: {population.name!r} is part of {population.of!r}, "
                    "which is not declared before it"
                )
            if population.alive_at.size != sizes["B"]:
                raise ValueError(f"StudyDesign.populations: {population.name!r} has not B={sizes['B']} rows")
            known.append(population.name)
