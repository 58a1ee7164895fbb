"""What the truncation of a posterior to what the model can produce does to each number.

A term's own posterior says what the targets say under the prior; the joint one is truncated to feasible parameter sets
(`feasibility`). Where they differ, an assumption of the model narrows a calibrated number: they are shown side by side.
Power-scaling cannot see this, since an indicator to any power is itself (`sensitivity`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from calibration.likelihoods.simulated import Simulated
from calibration.posterior.fit import Fit, ReadingFit
from calibration.samplers.summary import CredibleInterval

MUCH = 0.1
"""Posterior standard deviations by which the truncation moves a number that is named."""


@dataclass(frozen=True)
class Truncated:
    """One number with and without the truncation.

    ``without``: its posterior before the truncation; None where a simulated term that looks at it has no likelihood
    outside of what the model can produce. ``distance``: from the mean of that posterior to that of the truncated one,
    in standard deviations of the former, on the scale where the prior is normal; NaN where there is none. ``targets``:
    those that look at it; none of a number that only decides what can be produced.
    """

    name: str
    without: CredibleInterval | None
    distance: float
    joint: CredibleInterval
    targets: tuple[str, ...]

    @property
    def much(self) -> bool:
        """Whether the truncation moves it by more than `MUCH`, or by an unknown distance."""
        return self.without is None or abs(self.distance) > MUCH


def truncated(fitted: Fit, reading: ReadingFit | None = None) -> Mapping[str, Truncated]:
    """Return what the truncation does to every number, over all readings or under one; nothing where nothing was
    truncated.
    """
    readings = fitted.readings if reading is None else (reading,)
    looked_at = [one.truncation for one in readings if one.truncation is not None]
    if all(one.share == 1.0 and not one.undefined for one in looked_at):
        return {}
    if reading is None:
        joint, alone = fitted.rows(), fitted.uncut.rows()
    else:
        place = next(i for i, one in enumerate(fitted.readings) if one is reading)
        joint, alone = fitted.rows_of(reading), fitted.uncut.rows_of(fitted.uncut.readings[place])
    before, found = {row.name: row for row in alone}, {}
    for row in joint:
        old, components = before[row.name], [c for one in readings for c in one.components if row.name in c.prior.names]
        targets = tuple(dict.fromkeys(n for c in components for t in c.looking_at(row.name) for n in t.targets))
        without: CredibleInterval | None = old.posterior
        distance = (row.middle - old.middle) / old.spread if old.spread > 0.0 else 0.0
        if _undefined(readings, row.name):
            without, distance = None, math.nan
        found[row.name] = Truncated(row.name, without, distance, row.posterior, targets)
    return found


def _undefined(readings: tuple[ReadingFit, ...], name: str) -> bool:
    """Return whether some term of the number's component has no likelihood somewhere."""
    return any(
        isinstance(term, Simulated) and term.name in one.truncation.undefined
        for one in readings if one.truncation is not None
        for c in one.components if name in c.prior.names
        for term in c.terms
    )  # fmt: skip


def conflict(found: Sequence[Truncated]) -> str:
    """Say which targets and which assumptions cannot all hold in what was left out."""
    targets = dict.fromkeys(target for one in found for target in one.targets)
    assumed = [one.name for one in found if not one.targets]
    others = f"the visit scheme and {', '.join(assumed) if assumed else 'what the model assumes besides'}"
    return (
        f"In conflict: {', '.join(targets) or 'no target'}; {others}. What is left out is what the targets allow and "
        "these do not: a number that has moved is what both say together, not what its target says"
    )
