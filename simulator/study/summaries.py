"""Plain summaries of papers, on all replicate studies at once. Knows numbers and who counts; no patients.

``values`` and ``member`` (who counts) are (R, N), a row a study; a result is (R,). A group nobody is in gives
NaN ("undefined"). Values of those who do not count may be anything.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.tables import Flags, Floats, Integers


@dataclass(frozen=True, eq=False)
class Proportion:
    """A share with its count and denominator, each (R,)."""

    count: Integers
    denominator: Integers

    @property
    def share(self) -> Floats:
        """Count over denominator, NaN where that is 0."""
        return _ratio(self.count, self.denominator)


def proportion(flag: Flags, member: Flags) -> Proportion:
    """Members flagged, of all members."""
    return Proportion((flag & member).sum(axis=1), member.sum(axis=1))


def median(values: Floats, member: Flags) -> Floats:
    """Sample median: the middle value, or the mean of the two middle ones."""
    ranked = np.sort(np.where(member, values, np.inf), axis=1)
    n = member.sum(axis=1)
    low = np.take_along_axis(ranked, np.maximum(n - 1, 0)[:, None] // 2, axis=1)[:, 0]
    high = np.take_along_axis(ranked, np.minimum(n // 2, ranked.shape[1] - 1)[:, None], axis=1)[:, 0]
    return np.where(n > 0, (low + high) / 2, np.nan)


def naive_median(time: Floats, member: Flags) -> Floats:
    """Median of observed times, the living and the dead pooled as if all had died.

    Not an estimate of median survival: censoring pulls it down. Papers have printed it (EVIDENCE A1, L09).
    """
    return median(time, member)


def mean(values: Floats, member: Flags) -> Floats:
    """Arithmetic mean."""
    return _ratio(np.where(member, values, 0.0).sum(axis=1), member.sum(axis=1))


def minimum(values: Floats, member: Flags) -> Floats:
    """Smallest value."""
    return _or_undefined(np.where(member, values, np.inf).min(axis=1), member)


def maximum(values: Floats, member: Flags) -> Floats:
    """Largest value."""
    return _or_undefined(np.where(member, values, -np.inf).max(axis=1), member)


def share_at(values: Floats, member: Flags, value: float) -> Proportion:
    """Members at one value, such as the printed mode, of all members."""
    return proportion(values == value, member)


def mode_share(values: Floats, member: Flags) -> Proportion:
    """Members at the most frequent value, of all members."""
    n = member.sum(axis=1)
    ranked = np.sort(np.where(member, values, np.inf), axis=1)
    position = np.broadcast_to(np.arange(ranked.shape[1]), ranked.shape)
    new = np.ones(ranked.shape, dtype=bool)
    new[:, 1:] = ranked[:, 1:] != ranked[:, :-1]
    first = np.maximum.accumulate(np.where(new, position, 0), axis=1)
    run = np.where(position < n[:, None], position - first + 1, 0)
    return Proportion(run.max(axis=1), n)


def _ratio(numerator: Floats | Integers, denominator: Integers) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(denominator > 0, numerator / denominator, np.nan))


def _or_undefined(values: Floats, member: Flags) -> Floats:
    return np.where(member.any(axis=1), values, np.nan)
