"""Where a reported number falls among simulated ones. Knows numbers; knows nothing of how they were made."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from simulator.tables import Floats

CENTRAL = (0.025, 0.975)
TOLERANCE = 1e-12
"""Rounding allowed in "equal to the printed number": 25/52 computed in two ways must be equal."""


class Rank(NamedTuple):
    """Mid-rank of a reported number, the central 95 % of the replicates, and replicates that are special."""

    percentile: float  # 0 to 1, NaN if every replicate is undefined
    lower: float
    upper: float
    n_not_reached: int
    n_undefined: int


def mid_rank(simulated: Floats, reported: float, half_width: float) -> Rank:
    """Rank a reported number among simulated ones (R,): share below plus half the share equal.

    A simulated value is equal if it rounds to the printed one: it lies within ``half_width``, half a printed
    unit (half a patient for a count). "Not reached" (+inf) ranks highest and equals a reported +inf;
    "undefined" (NaN) is left out. Both are counted.
    """
    values = simulated[~np.isnan(simulated)]
    n_undefined = simulated.size - values.size
    if values.size == 0:
        return Rank(math.nan, math.nan, math.nan, 0, n_undefined)
    if math.isinf(reported):
        equal = values == reported
    else:
        equal = np.abs(values - reported) <= half_width + TOLERANCE * max(1.0, abs(reported))
    below = (values < reported) & ~equal
    percentile = (below.sum() + equal.sum() / 2) / values.size
    lower, upper = order_statistics(values[:, None], CENTRAL)[:, 0]
    return Rank(float(percentile), float(lower), float(upper), int(np.isinf(values).sum()), n_undefined)


def order_statistics(values: Floats, levels: tuple[float, ...]) -> Floats:
    """Quantiles over the first axis, (levels, …): the smallest value with at least that share at or below.

    Values that occur, never a mixture of two, so that a count stays a count and +inf stays +inf. NaN are left
    out; NaN where there is nothing else.
    """
    ranked = np.sort(values, axis=0)
    n = (~np.isnan(values)).sum(axis=0)
    at = [np.clip(np.ceil(level * n).astype(np.int64) - 1, 0, None) for level in levels]
    return np.stack([np.take_along_axis(ranked, a[None], axis=0)[0] for a in at])
