"""Plain summaries of papers, on all replicate studies at once.

``values`` and ``member`` (who counts) are (R, N), a row a study; a result is (R,). A group nobody is in gives NaN
("undefined"). Values of those who do not count may be anything.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.kernels.compilation import kernel
from simulator.study.survival import sizes
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


@dataclass(frozen=True, eq=False)
class Ranked:
    """One group's values in ascending order, (R, W), W the largest group, +inf beyond its ``size`` (R,)."""

    value: Floats
    size: Integers


@dataclass(frozen=True, eq=False)
class Extremes:
    """Smallest and largest value of a group, NaN where it is empty, each (R,)."""

    least: Floats
    most: Floats


@dataclass(frozen=True, eq=False)
class Total:
    """One group's values (R, N), 0 for those who do not count, and how many count, (R,)."""

    value: Floats
    size: Integers

    @property
    def mean(self) -> Floats:
        """Arithmetic mean, NaN where nobody counts."""
        return _ratio(self.value.sum(axis=1), self.size)


def proportion(flag: Flags, member: Flags) -> Proportion:
    """Members flagged, of all members."""
    return Proportion(*_counted(np.ascontiguousarray(flag), np.ascontiguousarray(member)))


def ranked(values: Floats, member: Flags) -> Ranked:
    """Sort each study's group."""
    member = np.ascontiguousarray(member)
    size = sizes(member)
    value = _gathered(np.ascontiguousarray(values, dtype=np.float64), member, max(int(size.max(initial=0)), 1))
    value.sort(axis=1)
    return Ranked(value, size)


def median(values: Floats, member: Flags) -> Floats:
    """Sample median: the middle value, or the mean of the two middle ones."""
    return median_of(ranked(values, member))


def median_of(group: Ranked) -> Floats:
    """`median` of a group in order."""
    n, row = group.size, np.arange(group.size.size)
    low, high = np.maximum(n - 1, 0) // 2, np.minimum(n // 2, np.maximum(n - 1, 0))
    low, high = group.value[row, low], group.value[row, high]
    return np.where(n > 0, (low + high) / 2, np.nan)


def naive_median(time: Floats, member: Flags) -> Floats:
    """Median of observed times, the living and the dead pooled as if all had died.

    Not an estimate of median survival: censoring pulls it down. Papers have printed it (EVIDENCE A1, L09).
    """
    return median(time, member)


def total(values: Floats, member: Flags) -> Total:
    """What a mean is made of."""
    return Total(np.where(member, values, 0.0), sizes(np.ascontiguousarray(member)))


def mean(values: Floats, member: Flags) -> Floats:
    """Arithmetic mean."""
    return total(values, member).mean


def extremes(values: Floats, member: Flags) -> Extremes:
    """Smallest and largest value."""
    return Extremes(*_extremes(np.ascontiguousarray(values, dtype=np.float64), np.ascontiguousarray(member)))


def minimum(values: Floats, member: Flags) -> Floats:
    """Smallest value."""
    return extremes(values, member).least


def maximum(values: Floats, member: Flags) -> Floats:
    """Largest value."""
    return extremes(values, member).most


def share_at(values: Floats, member: Flags, value: float) -> Proportion:
    """Members at one value, such as the printed mode, of all members."""
    return proportion(np.asarray(values == value), member)


def mode_share(values: Floats, member: Flags) -> Proportion:
    """Members at the most frequent value, of all members."""
    return mode_of(ranked(values, member))


def mode_of(group: Ranked) -> Proportion:
    """`mode_share` of a group in order."""
    n, shape = group.size, group.value.shape
    position = np.broadcast_to(np.arange(shape[1]), shape)
    new = np.ones(shape, dtype=bool)
    new[:, 1:] = group.value[:, 1:] != group.value[:, :-1]
    first = np.maximum.accumulate(np.where(new, position, 0), axis=1)
    run = np.where(position < n[:, None], position - first + 1, 0)
    return Proportion(run.max(axis=1), n)


def _ratio(numerator: Floats | Integers, denominator: Integers) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(denominator > 0, numerator / denominator, np.nan))


@kernel
def _gathered(values: Floats, member: Flags, width: int) -> Floats:
    """Members' values to the left, in the order of patients, (R, width); +inf beyond a group's size."""
    n_rows, n_columns = member.shape
    out = np.empty((n_rows, width))
    for row in range(n_rows):
        n = 0
        for i in range(n_columns):
            if member[row, i]:
                out[row, n] = values[row, i]
                n += 1
        out[row, n:] = np.inf
    return out


@kernel
def _counted(flag: Flags, member: Flags) -> tuple[Integers, Integers]:
    """Members flagged, and members, each (R,)."""
    n_rows, n_columns = member.shape
    count, size = np.empty(n_rows, np.int64), np.empty(n_rows, np.int64)
    for row in range(n_rows):
        flagged, n = 0, 0
        for i in range(n_columns):
            flagged += flag[row, i] & member[row, i]
            n += member[row, i]
        count[row], size[row] = flagged, n
    return count, size


@kernel
def _extremes(values: Floats, member: Flags) -> tuple[Floats, Floats]:
    """Smallest and largest value of the members, NaN where there are none, each (R,)."""
    n_rows, n_columns = member.shape
    least, most = np.full(n_rows, np.nan), np.full(n_rows, np.nan)
    for row in range(n_rows):
        low, high, n = np.inf, -np.inf, 0
        for i in range(n_columns):
            if member[row, i]:
                low, high = min(low, values[row, i]), max(high, values[row, i])
                n += 1
        if n > 0:
            least[row], most[row] = low, high
    return least, most
