"""What is kept of a posterior that was truncated to feasible parameter sets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from simulator.tables import Floats


@dataclass(frozen=True, eq=False)
class Truncation:
    """Draws of a reading's posterior that the model can produce, and how many were tried.

    ``coordinates``: of each component, (k, d), equally weighted. ``simulated``: what studies of the first of them
    report, (s, studies, targets). ``reasons``: what was said of those that cannot be produced, without its numbers →
    how often. ``undefined``: simulated terms without a likelihood at some draw of the prior, whatever the other
    parameters are → the share of such draws.
    """

    coordinates: tuple[Floats, ...]
    simulated: Floats
    tried: int
    refused: int
    prior_tried: int
    prior_refused: int
    reasons: Mapping[str, int]
    undefined: Mapping[str, float] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Number of draws."""
        return self.tried - self.refused

    @property
    def share(self) -> float:
        """Share of the posterior, before it is truncated, that can be produced."""
        return 1.0 - self.refused / self.tried

    @property
    def prior_share(self) -> float:
        """Share of the prior that can be produced."""
        return 1.0 - self.prior_refused / self.prior_tried

    @property
    def log_factor(self) -> float:
        """What the truncation adds to the log evidence; −inf where nothing can be produced."""
        if self.share == 0.0 or self.prior_share == 0.0:
            return -math.inf
        return math.log(self.share / self.prior_share)

    @property
    def log_factor_error(self) -> float:
        """Its Monte-Carlo standard error: two binomial shares, by the delta method."""
        if self.share == 0.0 or self.prior_share == 0.0:
            return 0.0
        shares = ((self.share, self.tried), (self.prior_share, self.prior_tried))
        return math.sqrt(sum((1.0 - share) / (share * n) for share, n in shares))
