"""Mediation: how much of the advantage of responders response causes, and what follows for the survival of all.

Responders have the hazard ratio r. With the share of mediation φ, on the logarithmic scale, an intervention on response
or its timing moves the survival of all patients as if the ratio were r^φ: b_φ is the baseline that gives the
calibrated curve with the published distribution of onset and the ratio r^φ; the curve under the intervention is that
of b_φ and r^φ with the distribution at hand. The ratio r is then imposed with the baseline solved again, so that all
patients have that curve. With φ = 0 (prognostic) it is the calibrated curve; with φ = 1 (causal) the baseline is b_1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulator.kernels.elementary import power
from simulator.tables import Floats


@dataclass(frozen=True, eq=False)
class Mediation:
    """Of L strata of parameter sets: ``base`` b_φ at the grid (n, L), not looked at where φ is 0; ``share`` φ (L,)."""

    base: Floats
    share: Floats

    def part(self, chosen: slice) -> Mediation:
        """Return some of the strata."""
        return Mediation(self.base[:, chosen], self.share[chosen])

    @staticmethod
    def side_by_side(some: Sequence[Mediation]) -> Mediation:
        """Return several as one."""
        return Mediation(
            np.concatenate([one.base for one in some], axis=1), np.concatenate([one.share for one in some])
        )


def caused_ratio(ratio: Floats, share: Floats) -> Floats:
    """r^φ, exactly r and 1 at the ends."""
    powers = np.array([power(r, s) for r, s in zip(ratio.tolist(), share.tolist(), strict=True)])
    return np.where(share == 1.0, ratio, np.where(share == 0.0, 1.0, powers))
