"""One study that is simulated in parts: what its parts bring, put together. Knows groups; knows no patients.

Up to `EXACT_PATIENTS` patients a study, parts are joined and nothing is lost. A larger study keeps times and values
in bins, so that it needs no more memory than they take: a number is rounded up to `DIGITS` significant binary digits
(1/64 d at one year, 1/16 d at five; a whole number up to 2^15 keeps its value), and one below `SMALLEST` counts as 0.
Shares, means, extremes and numbers at risk stay exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from simulator.study.comparisons import Pair
from simulator.study.summaries import Extremes, Proportion, Ranked, Total, ranked
from simulator.study.survival import Ordered, ordered
from simulator.study.tallies import count_bins, real, sum_of
from simulator.tables import Floats, Integers

EXACT_PATIENTS = 1_000_000
"""Patients of the largest study whose medians and curves are exact."""

DIGITS = 15
SMALLEST = 2.0**-12
BINNED = (
    "studies so large keep times in bins: medians and Kaplan–Meier estimates are of times rounded up to "
    f"{DIGITS} significant binary digits, by at most 1/64 d at one year and 1/16 d at five"
)
"""What results say of studies that are larger than `EXACT_PATIENTS`."""

_DROPPED = 53 - DIGITS
_BASE = int(np.float64(SMALLEST).view(np.int64)) >> _DROPPED
_OCTAVE = 1 << (DIGITS - 1)


class Pool:
    """What was gathered for one statistic from the parts of one study, in the order of patients."""

    def __init__(self, *, binned: bool) -> None:
        self._binned = binned
        self._parts: list[Any] = []
        self._large: _Bins | _Sum | None = None
        self._both: tuple[Pool, Pool] | None = None

    def add(self, part: Any) -> None:
        """Add the next part: a `Proportion`, `Extremes`, `Total`, `Ordered` or `Ranked` of one study, or a `Pair`."""
        if isinstance(part, Pair):
            if self._both is None:
                self._both = Pool(binned=self._binned), Pool(binned=self._binned)
            for pool, of_group in zip(self._both, (part.first, part.second), strict=True):
                pool.add(of_group)
        elif not self._binned:
            self._parts.append(part)
        elif isinstance(part, Proportion | Extremes):
            self._parts = [joined([*self._parts, part])]
        else:
            if self._large is None:
                self._large = _Sum() if isinstance(part, Total) else _Bins(in_order=isinstance(part, Ordered))
            self._large.add(part)

    def whole(self) -> Any:
        """What the study as one would have brought, in bins if it is a large one."""
        if self._both is not None:
            return Pair(*(pool.whole() for pool in self._both))
        return joined(self._parts) if self._large is None else self._large.whole()


def joined(parts: Sequence[Any]) -> Any:
    """Return what the parts of one study bring together."""
    first = parts[0]
    if len(parts) == 1:
        return first
    if isinstance(first, Proportion):
        return Proportion(_sum(part.count for part in parts), _sum(part.denominator for part in parts))
    if isinstance(first, Extremes):
        least, most = ([getattr(part, end) for part in parts] for end in ("least", "most"))
        return Extremes(np.fmin.reduce(least), np.fmax.reduce(most))
    size = _sum(part.size for part in parts)
    if isinstance(first, Total):
        return Total(np.concatenate([part.value for part in parts], axis=1), size)
    name = "key" if isinstance(first, Ordered) else "value"
    together = np.concatenate([getattr(part, name)[:, : part.size[0]] for part in parts], axis=1)
    if together.size == 0:  # all groups are empty: keep their padding
        together = getattr(first, name)
    together.sort(axis=1)
    return type(first)(together, size)


def _sum(counts: Any) -> Integers:
    return np.asarray(sum(counts))


class _Sum:
    """A total of which only the sum is kept."""

    def __init__(self) -> None:
        self._counts = np.zeros(2, dtype=np.int64)
        self._size = 0

    def add(self, part: Total) -> None:
        sum_of(part.value[0], self._counts)
        self._size += int(part.size[0])

    def whole(self) -> Total:
        return Total(real(self._counts)[None, None], np.array([self._size]))


class _Bins:
    """A group in order of which only the number in each bin is kept."""

    def __init__(self, *, in_order: bool) -> None:
        self._in_order = in_order  # of `Ordered`: with a flag; else of `Ranked`
        self._first = 0  # bin of the first row
        self._counts = np.zeros((1, 2), dtype=np.int64)  # (bins, event or censored)

    def add(self, part: Ordered | Ranked) -> None:
        n = int(part.size[0])
        if n == 0:
            return
        if isinstance(part, Ordered):
            key = part.key[0, :n]
            values, flag = (key >> np.uint64(1)).view(np.float64), (key & np.uint64(1)).astype(np.int64)
        else:
            values, flag = part.value[0, :n], np.zeros(n, dtype=np.int64)
        bins = _bins(values)
        low, high = int(bins[0]), int(bins[-1])  # they ascend
        before, after = max(0, self._first - low), max(0, high + 1 - self._first - len(self._counts))
        if before or after:
            before, after = (-(-more // _OCTAVE) * _OCTAVE for more in (before, after))
            self._counts = np.pad(self._counts, [(before, after), (0, 0)])
            self._first -= before
        count_bins(bins - self._first, flag, self._counts)

    def whole(self) -> Ordered | Ranked:
        size = np.array([int(self._counts.sum())])
        if size[0] == 0:
            nobody, nothing = np.zeros((1, 1), dtype=bool), np.zeros((1, 1))
            return ordered(nothing, nobody, nobody) if self._in_order else ranked(nothing, nobody)
        if not self._in_order:
            rows = np.flatnonzero(self._counts[:, 0])
            return Ranked(_values(rows + self._first)[None], size, self._counts[rows, 0][None])
        row, flag = np.nonzero(self._counts)
        bits = _values(row + self._first).view(np.uint64)
        key = bits << np.uint64(1) | flag.astype(np.uint64)
        return Ordered(key[None], size, self._counts[row, flag][None])


def _bins(values: Floats) -> Integers:
    """Bin of each number, 0 for those that count as 0; the order of bins is that of numbers."""
    magnitude = np.abs(values).view(np.int64)
    above = (magnitude + ((1 << _DROPPED) - 1) >> _DROPPED) - _BASE
    below = _BASE - (magnitude >> _DROPPED)
    return np.asarray(np.where(values > 0, np.maximum(above, 0), np.minimum(below, 0)))


def _values(bins: Integers) -> Floats:
    """Largest number of each bin."""
    size = np.where(bins == 0, 0, np.abs(bins) + _BASE << _DROPPED).view(np.float64)
    return np.where(bins < 0, -size, size)
