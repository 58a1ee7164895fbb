"""Survival estimators of papers, on all replicate studies at once. Knows times and flags; knows no patients.

Throughout: ``time`` (R, N), days ≥ 0, of event or censoring; ``event`` (R, N), true where it is an event;
``member`` (R, N), who is in the group. A row is one study. A group nobody is in gives NaN ("undefined"); a
quantile the curve does not fall to gives +inf ("not reached"). Events come before censorings of the same
time, as everywhere in the literature. Beyond the last observation a curve keeps its last value (as R's
``summary(survfit, extend = TRUE)`` and lifelines do), also where the last observation is censored.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

from simulator.tables import Flags, Floats, Integers

HALF_TOLERANCE = 2.0**-26
"""How far S(t) may be from 0.5 and count as equal to it: R's ``survfit`` takes this, √(machine epsilon).

S is a product of rationals; in floating point a product that is exactly one half comes out as
0.5000000000000001. Rounding moves it by less than n · 1.2e-16.
"""


@dataclass(frozen=True, eq=False)
class Ordered:
    """One group's observations in ascending order of time, events first; padded at the end. All (R, N)."""

    time: Floats  # +inf where padded
    event: Flags
    at_risk: Integers  # before this observation leaves, ties taken one by one

    @property
    def size(self) -> Integers:
        """Members of each study's group, shape (R,)."""
        return self.at_risk[:, 0] if self.time.shape[1] else np.zeros(self.time.shape[0], dtype=np.int64)


def ordered(time: Floats, event: Flags, member: Flags) -> Ordered:
    """Sort each study's group by time, events before censorings."""
    return _unpacked(np.sort(_keys(time, event, member), axis=1), member)


def ordered_with(flag: Flags, time: Floats, event: Flags, member: Flags) -> tuple[Ordered, Flags]:
    """Sort likewise, and a flag (R, N) along with the observations; false where padded."""
    key = _keys(time, event, member)
    order = np.argsort(key, axis=1, kind="stable")
    group = _unpacked(np.take_along_axis(key, order, axis=1), member)
    return group, np.take_along_axis(flag, order, axis=1) & (group.at_risk > 0)


def _keys(time: Floats, event: Flags, member: Flags) -> NDArray[np.uint64]:
    # The bits of a double ≥ 0 have the double's order, and the sign bit is free for the flag: sorting keys
    # is several times as fast as sorting by two arrays.
    bits = (np.ascontiguousarray(time, dtype=np.float64) + 0.0).view(np.uint64) << np.uint64(1)
    return np.where(member, bits | ~event, np.uint64(2**64 - 1))


def _unpacked(key: NDArray[np.uint64], member: Flags) -> Ordered:
    at_risk = np.maximum(member.sum(axis=1)[:, None] - np.arange(key.shape[1]), 0)
    inside = at_risk > 0
    time = np.where(inside, (key >> np.uint64(1)).view(np.float64), np.inf)
    return Ordered(time, inside & (key & np.uint64(1) == 0), at_risk)


def curve(group: Ordered) -> Floats:
    """Product-limit estimate after each observation, Π (1 − dᵢ/nᵢ) (Kaplan & Meier 1958), shape (R, N).

    Among ties the factors (n − 1)/n taken one by one telescope to (n − d)/n.
    """
    n = np.maximum(group.at_risk, 1)
    return np.asarray(np.cumprod(np.where(group.event, (n - 1) / n, 1.0), axis=1), dtype=np.float64)


def kaplan_meier(time: Floats, event: Flags, member: Flags, at: Floats) -> Floats:
    """Product-limit estimate at times ``at`` (T,), shape (R, T)."""
    group = ordered(time, event, member)
    return read(group, curve(group), at, before=1.0)


def landmark(time: Floats, event: Flags, member: Flags, at: float) -> Floats:
    """Product-limit estimate at one printed time, shape (R,)."""
    return kaplan_meier(time, event, member, np.array([at]))[:, 0]


def kaplan_meier_median(time: Floats, event: Flags, member: Flags) -> Floats:
    """First t with S(t) ≤ 0.5, shape (R,); +inf if not reached."""
    group = ordered(time, event, member)
    return _first_below(group, curve(group) <= 0.5 + HALF_TOLERANCE)


def kaplan_meier_median_midpoint(time: Floats, event: Flags, member: Flags) -> Floats:
    """Median as R's ``survfit`` prints it, shape (R,): the middle of a flat stretch at exactly 0.5.

    The stretch ends at the next event; if there is none its beginning is taken, as R does.
    """
    group = ordered(time, event, member)
    survival = curve(group)
    first = _first_below(group, survival <= 0.5 + HALF_TOLERANCE)
    below = _first_below(group, survival < 0.5 - HALF_TOLERANCE)
    flat = np.isfinite(below) & (below > first)
    return np.where(flat, (first + np.where(flat, below, first)) / 2, first)


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
    group = ordered(time, np.zeros_like(member), member)
    gone = _count(group.time, at, side="left")
    return np.asarray(group.size[:, None] - np.minimum(gone, group.size[:, None]))


def restricted_mean(time: Floats, event: Flags, member: Flags, horizon: float) -> Floats:
    """Area under the product-limit estimate up to the horizon (Irwin 1949), days, shape (R,)."""
    group = ordered(time, event, member)
    edges = np.minimum(group.time, horizon)
    survival = curve(group)
    start = np.zeros((edges.shape[0], 1))
    widths = np.diff(edges, axis=1, prepend=start, append=np.full_like(start, horizon))
    heights = np.concatenate([np.ones_like(start), survival], axis=1)
    return np.where(group.size > 0, (widths * heights).sum(axis=1), np.nan)


def cumulative_incidence(time: Floats, event: Flags, competing: Flags, member: Flags, at: Floats) -> Floats:
    """Aalen–Johansen estimate Σ S(tᵢ−) dᵢ/nᵢ of one event among competing ones, shape (R, T).

    ``event`` and ``competing`` are disjoint (Aalen & Johansen 1978; Kalbfleisch & Prentice 2002, ch. 8).
    """
    group, mine = ordered_with(event, time, event | competing, member)
    first = _first_of_tie(group.time)
    survival = curve(group)
    before = np.concatenate([np.ones((survival.shape[0], 1)), survival[:, :-1]], axis=1)
    before = np.take_along_axis(before, first, axis=1)
    n = np.maximum(np.take_along_axis(group.at_risk, first, axis=1), 1)
    return read(group, np.cumsum(np.where(mine, before / n, 0.0), axis=1), at, before=0.0)


def log_rank(time: Floats, event: Flags, member: Flags, treated: Flags) -> tuple[Floats, Floats]:
    """Two-group log-rank test (Mantel 1966): χ² with one degree of freedom, and its p-value, each (R,).

    Hypergeometric variance at ties. NaN where one group is empty or no event informs the comparison.
    """
    group, mine = ordered_with(treated, time, event, member)
    first = _first_of_tie(group.time)
    n = np.maximum(np.take_along_axis(group.at_risk, first, axis=1), 1)
    left = np.cumsum(mine[:, ::-1], axis=1)[:, ::-1]
    share = np.take_along_axis(left, first, axis=1) / n
    deaths = np.cumsum(group.event, axis=1, dtype=np.int64)
    before: Integers = np.take_along_axis(deaths - group.event, first, axis=1)
    last = _last_of_tie(group.time)
    tied = np.take_along_axis(deaths, last, axis=1) - before
    excess = np.where(group.event, mine - share, 0.0).sum(axis=1)
    variance = np.where(group.event, share * (1 - share) * (n - tied) / np.maximum(n - 1, 1), 0.0).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = np.where(variance > 0, excess**2 / variance, np.nan)
    return statistic, np.asarray(chdtrc(1.0, statistic))


def read(group: Ordered, steps: Floats, at: Floats, *, before: float) -> Floats:
    """Value of a right-continuous step function at ``at`` (T,), ``before`` its first step; shape (R, T)."""
    known = np.minimum(_count(group.time, at, side="right"), group.size[:, None])
    padded = np.concatenate([np.full((steps.shape[0], 1), before), steps], axis=1)
    values = np.take_along_axis(padded, known, axis=1)
    return np.where(group.size[:, None] > 0, values, np.nan)


def _count(time: Floats, at: Floats, *, side: str) -> Integers:
    """Observations of each study before ``at`` (up to and including, for side "right"), shape (R, T)."""
    if at.size == 1:
        earlier = time <= at[0] if side == "right" else time < at[0]
        return np.asarray(earlier.sum(axis=1)[:, None])
    return np.stack([np.searchsorted(row, at, side=side) for row in time])  # type: ignore[call-overload]


def _first_below(group: Ordered, reached: Flags) -> Floats:
    """Time at which a monotone condition is first met, +inf where it is not, NaN in an empty group."""
    reached = reached & group.event
    time = np.take_along_axis(group.time, reached.argmax(axis=1)[:, None], axis=1)[:, 0]
    time = np.where(reached.any(axis=1), time, np.inf)
    return np.where(group.size > 0, time, np.nan)


def _first_of_tie(time: Floats) -> Integers:
    """Position of the first observation with the same time, in sorted rows."""
    position = np.broadcast_to(np.arange(time.shape[1]), time.shape)
    new = np.ones(time.shape, dtype=bool)
    new[:, 1:] = time[:, 1:] != time[:, :-1]
    return np.asarray(np.maximum.accumulate(np.where(new, position, 0), axis=1))


def _last_of_tie(time: Floats) -> Integers:
    """Position of the last observation with the same time, in sorted rows."""
    mirrored = _first_of_tie(time[:, ::-1])[:, ::-1]
    return np.asarray(time.shape[1] - 1 - mirrored)
