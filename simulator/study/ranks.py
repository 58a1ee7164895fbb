"""Where a reported number falls among simulated ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from simulator.study.crossed import error_of_share
from simulator.tables import Floats

CENTRAL = (0.025, 0.975)
TOLERANCE = 1e-12
"""Rounding allowed in "equal to the printed number": 25/52 computed in two ways must be equal."""


class Rank(NamedTuple):
    """Mid-rank of a reported number, the central 95 % of the studies, and studies that are special."""

    percentile: float  # 0 to 1, NaN if every study is undefined
    lower: float
    upper: float
    n_not_reached: int
    n_undefined: int
    percentile_error: float  # its Monte-Carlo standard error


def mid_rank(simulated: Floats, reported: float | Floats, half_width: float | Floats) -> Rank:
    """Rank a reported number among simulated ones: share below plus half the share equal.

    ``simulated`` has the shape (R,) of replicates, or (D, R) of draws and replicates; then what is reported, and its
    half width, may be (D,), one a draw. A simulated value is equal if it rounds to the printed one: it lies within
    ``half_width``, half a printed unit (half a patient for a count). "Not reached" (+inf) ranks highest and equals a
    reported +inf; "undefined" (NaN) is left out. Both are counted.
    """
    studies = np.atleast_2d(simulated)
    n_undefined = int(np.isnan(studies).sum())
    if n_undefined == studies.size:
        return Rank(math.nan, math.nan, math.nan, 0, n_undefined, math.nan)
    number, width = (np.reshape(np.asarray(x, np.float64), (-1, 1)) for x in (reported, half_width))
    with np.errstate(invalid="ignore"):
        near = np.abs(studies - number) <= width + TOLERANCE * np.maximum(1.0, np.abs(number))
    equal = np.where(np.isinf(number), studies == number, near)
    below = (studies < number) & ~equal
    flags = np.where(np.isnan(studies), np.nan, below + equal / 2)
    percentile = float((below.sum() + equal.sum() / 2) / (studies.size - n_undefined))
    lower, upper = order_statistics(studies.reshape(-1, 1), CENTRAL)[:, 0]
    n_not_reached = int(np.isinf(studies).sum())
    return Rank(percentile, float(lower), float(upper), n_not_reached, n_undefined, error_of_share(flags))


def as_printed(values: Floats, bounds: Sequence[str | None], reported: Sequence[float | None]) -> Floats:
    """Return what studies (D, R) would print where a bound was printed, one a draw: what keeps it prints the bound.

    So a p value "< 0.05" equals every smaller one, and a median "not reached by 24 months" every later one.
    """
    if not any(bounds):
        return values
    kept = np.array(values, dtype=np.float64)
    for row, bound, at in zip(kept, bounds, reported, strict=True):
        if bound is not None and at is not None:
            (np.maximum if bound == "below" else np.minimum)(row, at, out=row)
    return kept


def order_statistics(values: Floats, levels: tuple[float, ...]) -> Floats:
    """Quantiles over the first axis, (levels, …): the smallest value with at least that share at or below.

    Values that occur, never a mixture of two, so that a count stays a count and +inf stays +inf. NaN are left
    out; NaN where there is nothing else.
    """
    ranked = np.sort(values, axis=0)
    n = (~np.isnan(values)).sum(axis=0)
    at = [np.clip(np.ceil(level * n).astype(np.int64) - 1, 0, None) for level in levels]
    return np.stack([np.take_along_axis(ranked, a[None], axis=0)[0] for a in at])
