"""How far the data inform a survival curve: until the last time at which a target looks that its numbers rest on.

One rule, whatever the route of a target's likelihood, and the one of a run's page (`simulator.results.assumptions`).
What a curve says beyond the last time follows from the family of hazards and is extrapolated. What a shape that is
pooled over strata borrows from another stratum is not counted.
"""

from __future__ import annotations

from collections.abc import Sequence

from calibration.posterior.fit import Fit
from simulator.results.assumptions import INFORMING, last_looks, look_of


def informed_until(fitted: Fit, groups: Sequence[str]) -> dict[str, float]:
    """Return the last time at which a target informs each group's survival, days; 0 if none does.

    A target informs that was fitted, or whose role is ``used``. ``groups``: as in the statistics of a simulation
    (``all``, strata, arms).
    """
    reading = fitted.readings[fitted.default]
    others = tuple(role for role in INFORMING if role != "fitted")
    informing = [e for e in reading.experiment.selection.targets if e.id in reading.targets or e.role in others]
    return last_looks([look for entry in informing if (look := look_of(entry)) is not None], groups)
