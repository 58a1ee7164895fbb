"""Survival estimators of papers, on all replicate studies at once.

Throughout: ``time`` (R, N), days ≥ 0, of event or censoring; ``event`` (R, N), true where it is an event; ``member``
(R, N), who is in the group. A row is one study. A group nobody is in gives NaN ("undefined"); a quantile the curve does
not fall to gives +inf ("not reached"). Events come before censorings of the same time, as everywhere in the literature.
Beyond all follow-up, later than the largest time of the group, a curve is undefined (NaN; as in R's
``summary(survfit)``), unless it has reached 0. With ``extend`` it keeps its last value there (as R's ``summary(survfit,
extend = TRUE)`` and lifelines do).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from simulator.kernels.compilation import kernel
from simulator.kernels.elementary import float_bits, float_from_bits
from simulator.tables import Flags, Floats, Integers

Keys = NDArray[np.uint64]

_PADDED = np.uint64(2**64 - 1)

HALF_TOLERANCE = 2.0**-26
"""How far S(t) may be from 0.5 and count as equal to it: R's ``survfit`` takes this, √(machine epsilon).

S is a product of rationals; in floating point a product that is exactly one half comes out as
0.5000000000000001. Rounding moves it by less than n · 1.2e-16.
"""


@dataclass(frozen=True, eq=False)
class Ordered:
    """One group's observations in ascending order of time, events first, padded at the end.

    ``key`` (R, W), W the largest group, holds the bits of a time moved up by one, and below them 0 for an event, 1
    for a censoring; all ones where padded. ``size`` (R,): members of each study's group.
    """

    key: Keys
    size: Integers

    @cached_property
    def at_risk(self) -> Integers:
        """Members before each observation leaves, ties taken one by one, (R, W)."""
        return np.asarray(np.maximum(self.size[:, None] - np.arange(self.key.shape[1]), 0))

    @cached_property
    def time(self) -> Floats:
        """Times, +inf where padded, (R, W)."""
        return np.where(self.at_risk > 0, (self.key >> np.uint64(1)).view(np.float64), np.inf)

    @cached_property
    def event(self) -> Flags:
        """Whether it is an event, false where padded, (R, W)."""
        return np.asarray((self.at_risk > 0) & (self.key & np.uint64(1) == 0))


def ordered(time: Floats, event: Flags, member: Flags) -> Ordered:
    """Sort each study's group by time, events before censorings."""
    # The bits of a double ≥ 0 have the double's order, and the sign bit is free for the flag: sorting keys is
    # several times as fast as sorting by two arrays.
    member = np.ascontiguousarray(member)
    size = sizes(member)
    width = max(int(size.max(initial=0)), 1)
    key = _keys(np.ascontiguousarray(time, dtype=np.float64), np.ascontiguousarray(event), member, width)
    key.sort(axis=1)
    return Ordered(key, size)


@kernel
def sizes(member: Flags) -> Integers:
    """Members of each row, (R,)."""
    n_rows, n_columns = member.shape
    size = np.empty(n_rows, np.int64)
    for row in range(n_rows):
        n = 0
        for i in range(n_columns):
            n += member[row, i]
        size[row] = n
    return size


@kernel
def _keys(time: Floats, event: Flags, member: Flags, width: int) -> Keys:
    """Keys of `Ordered`, those of members to the left, in the order of patients."""
    n_rows, n_columns = member.shape
    key = np.empty((n_rows, width), np.uint64)
    for row in range(n_rows):
        n = 0
        for i in range(n_columns):
            if member[row, i]:
                bits = float_bits(time[row, i] + 0.0) << np.uint64(1)
                key[row, n] = bits | np.uint64(not event[row, i])
                n += 1
        key[row, n:] = _PADDED
    return key


def ordered_with(flag: Flags, time: Floats, event: Flags, member: Flags) -> tuple[Ordered, Flags]:
    """Sort likewise, and a flag (R, N) along with the observations; false where padded."""
    all_patients = np.ones_like(member)
    key = np.where(member, _keys(time + 0.0, event, all_patients, time.shape[1]), _PADDED)
    order = np.argsort(key, axis=1, kind="stable")
    group = Ordered(np.take_along_axis(key, order, axis=1), sizes(member))
    return group, np.take_along_axis(flag, order, axis=1) & (group.at_risk > 0)


def curve(group: Ordered) -> Floats:
    """Product-limit estimate after each observation, Π (1 − dᵢ/nᵢ) (Kaplan & Meier 1958), shape (R, W).

    Among ties the factors (n − 1)/n taken one by one telescope to (n − d)/n.
    """
    n = np.maximum(group.at_risk, 1)
    return np.asarray(np.cumprod(np.where(group.event, (n - 1) / n, 1.0), axis=1), dtype=np.float64)


def kaplan_meier(time: Floats, event: Flags, member: Flags, at: Floats) -> Floats:
    """Product-limit estimate at times ``at`` (T,), shape (R, T)."""
    return curve_at(ordered(time, event, member), at)


def landmark(time: Floats, event: Flags, member: Flags, at: float) -> Floats:
    """Product-limit estimate at one printed time, shape (R,)."""
    return landmark_of(ordered(time, event, member), at)


def kaplan_meier_median(time: Floats, event: Flags, member: Flags) -> Floats:
    """First t with S(t) ≤ 0.5, shape (R,); +inf if not reached."""
    return median_of(ordered(time, event, member))


def kaplan_meier_median_midpoint(time: Floats, event: Flags, member: Flags) -> Floats:
    """Median as R's ``survfit`` prints it, shape (R,): the middle of a flat stretch at exactly 0.5.

    The stretch ends at the next event; if there is none its beginning is taken, as R does.
    """
    return midpoint_of(ordered(time, event, member))


def curve_at(group: Ordered, at: Floats, *, extend: bool = False) -> Floats:
    """`kaplan_meier` of a group in order."""
    return _curve_at(group.key, group.size, np.asarray(at, dtype=np.float64), extend)


def landmark_of(group: Ordered, at: float, *, extend: bool = False) -> Floats:
    """`landmark` of a group in order."""
    return curve_at(group, np.array([at]), extend=extend)[:, 0]


def median_of(group: Ordered) -> Floats:
    """`kaplan_meier_median` of a group in order."""
    return _first_at_or_below(group.key, group.size, 0.5 + HALF_TOLERANCE)


def midpoint_of(group: Ordered) -> Floats:
    """`kaplan_meier_median_midpoint` of a group in order."""
    first = median_of(group)
    below = _first_at_or_below(group.key, group.size, np.nextafter(0.5 - HALF_TOLERANCE, 0.0))
    flat = np.isfinite(below) & (below > first)
    return np.where(flat, (first + np.where(flat, below, first)) / 2, first)


def restricted_mean_of(group: Ordered, horizon: float, *, extend: bool = False) -> Floats:
    """`restricted_mean` of a group in order."""
    return _area(group.key, group.size, horizon, extend)


def at_risk_at(group: Ordered, at: Floats) -> Integers:
    """`number_at_risk` of a group in order."""
    return _at_risk_at(group.key, group.size, np.asarray(at, dtype=np.float64))


@kernel
def _curve_at(key: Keys, size: Integers, at: Floats, extend: bool) -> Floats:
    """Π (1 − dᵢ/nᵢ) over times up to each of ``at``, the factors of ties taken one by one.

    NaN in an empty group and, without ``extend``, beyond all follow-up.
    """
    out = np.empty((size.size, at.size))
    for row in range(size.size):
        n, i, survival, last = size[row], 0, 1.0, -1.0
        for t in range(at.size):
            if t > 0 and at[t] < at[t - 1]:
                n, i, survival = size[row], 0, 1.0
            while n > 0 and float_from_bits(key[row, i] >> np.uint64(1)) <= at[t]:
                if key[row, i] & np.uint64(1) == np.uint64(0):
                    survival *= (n - 1) / n
                n -= 1
                i += 1
                if n == 0:
                    last = float_from_bits(key[row, i - 1] >> np.uint64(1))
            followed = extend or n > 0 or survival == 0.0 or at[t] <= last
            out[row, t] = survival if size[row] > 0 and followed else np.nan
    return out


@kernel
def _first_at_or_below(key: Keys, size: Integers, level: float) -> Floats:
    """First time at which the product-limit estimate is at most ``level``, +inf if never, NaN in an empty group."""
    out = np.empty(size.size)
    for row in range(size.size):
        n, i, survival = size[row], 0, 1.0
        out[row] = np.inf if n > 0 else np.nan
        while n > 0:
            if key[row, i] & np.uint64(1) == np.uint64(0):
                survival *= (n - 1) / n
                if survival <= level:
                    out[row] = float_from_bits(key[row, i] >> np.uint64(1))
                    break
            n -= 1
            i += 1
    return out


@kernel
def _area(key: Keys, size: Integers, horizon: float, extend: bool) -> Floats:
    """Area under the product-limit estimate up to the horizon; NaN as in `_curve_at`."""
    out = np.empty(size.size)
    for row in range(size.size):
        n, i, survival, before, area, time = size[row], 0, 1.0, 0.0, 0.0, 0.0
        while n > 0:
            time = float_from_bits(key[row, i] >> np.uint64(1))
            if time >= horizon:
                break
            if key[row, i] & np.uint64(1) == np.uint64(0):
                area += survival * (time - before)
                before = time
                survival *= (n - 1) / n
            n -= 1
            i += 1
        followed = extend or survival == 0.0 or time >= horizon
        out[row] = area + survival * (horizon - before) if size[row] > 0 and followed else np.nan
    return out


@kernel
def _at_risk_at(key: Keys, size: Integers, at: Floats) -> Integers:
    """Members whose time is not before each of ``at``."""
    out = np.empty((size.size, at.size), np.int64)
    for row in range(size.size):
        n = size[row]
        i = 0
        for t in range(at.size):
            if t > 0 and at[t] < at[t - 1]:
                i = 0
            while i < n and float_from_bits(key[row, i] >> np.uint64(1)) < at[t]:
                i += 1
            out[row, t] = n - i
    return out


def greenwood(time: Floats, event: Flags, member: Flags, at: Floats) -> Floats:
    """Variance of the product-limit estimate, S² Σ dᵢ/(nᵢ(nᵢ − dᵢ)) (Greenwood 1926), shape (R, T).

    NaN once S is 0, as in R.
    """
    group = ordered(time, event, member)
    n = group.at_risk
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.cumsum(np.where(group.event, 1.0 / (n * (n - 1.0)), 0.0), axis=1)
        variance = curve(group) ** 2 * terms
    return read(group, variance, at, before=0.0)


def nelson_aalen(time: Floats, event: Flags, member: Flags, at: Floats) -> Floats:
    """Cumulative hazard Σ dᵢ/nᵢ (Nelson 1972; Aalen 1978), shape (R, T).

    Ties share one denominator: lifelines' ``nelson_aalen_smoothing=False``, R's ``stype=2, ctype=1``.
    """
    group = ordered(time, event, member)
    first = _first_of_tie(group.time)
    n = np.maximum(np.take_along_axis(group.at_risk, first, axis=1), 1)
    return read(group, np.cumsum(np.where(group.event, 1.0 / n, 0.0), axis=1), at, before=0.0)


def number_at_risk(time: Floats, member: Flags, at: Floats) -> Integers:
    """Members whose time is not before each of ``at`` (T,), shape (R, T). An empty group has 0."""
    return at_risk_at(ordered(time, np.zeros_like(member), member), at)


def restricted_mean(time: Floats, event: Flags, member: Flags, horizon: float) -> Floats:
    """Area under the product-limit estimate up to the horizon (Irwin 1949), days, shape (R,)."""
    return restricted_mean_of(ordered(time, event, member), horizon)


def cumulative_incidence(time: Floats, event: Flags, competing: Flags, member: Flags, at: Floats) -> Floats:
    """Aalen–Johansen estimate Σ S(tᵢ−) dᵢ/nᵢ of one event among competing ones, shape (R, T).

    ``event`` and ``competing`` are disjoint (Aalen & Johansen 1978; Kalbfleisch & Prentice 2002, ch. 8).
    """
    group, chosen = ordered_with(event, time, event | competing, member)
    first = _first_of_tie(group.time)
    survival = curve(group)
    before = np.concatenate([np.ones((survival.shape[0], 1)), survival[:, :-1]], axis=1)
    before = np.take_along_axis(before, first, axis=1)
    n = np.maximum(np.take_along_axis(group.at_risk, first, axis=1), 1)
    return read(group, np.cumsum(np.where(chosen, before / n, 0.0), axis=1), at, before=0.0)


def read(group: Ordered, steps: Floats, at: Floats, *, before: float) -> Floats:
    """Value of a right-continuous step function at ``at`` (T,), ``before`` its first step; shape (R, T).

    NaN in an empty group, and beyond all follow-up unless the last observation is an event, so that nobody is left.
    """
    known = group.size[:, None] - at_risk_at(group, np.nextafter(at, np.inf))
    padded = np.concatenate([np.full((steps.shape[0], 1), before), steps], axis=1)
    values = np.take_along_axis(padded, known, axis=1)
    last = np.maximum(group.size - 1, 0)[:, None]
    followed = (at <= np.take_along_axis(group.time, last, axis=1)) | np.take_along_axis(group.event, last, axis=1)
    return np.where((group.size[:, None] > 0) & followed, values, np.nan)


def _first_of_tie(time: Floats) -> Integers:
    """Position of the first observation with the same time, in sorted rows."""
    position = np.broadcast_to(np.arange(time.shape[1]), time.shape)
    new = np.ones(time.shape, dtype=bool)
    new[:, 1:] = time[:, 1:] != time[:, :-1]
    return np.asarray(np.maximum.accumulate(np.where(new, position, 0), axis=1))
