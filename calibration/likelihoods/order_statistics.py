"""Exact probabilities of death counts and order statistics in an uncensored sample.

In a sample of n independent times with survival S, let N(t) be the number that are ≤ t. At cut times c₁ < … < c_J the
counts N(c₁) ≤ … ≤ N(c_J), a *path*, are multinomial in their increments. Given the path, the times between two
neighbouring cuts are themselves an independent sample, from the distribution truncated to that segment; so the r-th
smallest time, which lies in the segment that the path says, is an order statistic there, and the probability that it
lies in an interval is a difference of two incomplete beta functions (David & Nagaraja 2003, Order Statistics, 2.1 and
2.5). Everything a paper prints of an uncensored Kaplan–Meier curve is a statement of this kind:

| printed                      | statement                                           |
|------------------------------|-----------------------------------------------------|
| median m, printed to a unit  | lower < T₍ᵣ₎ ≤ upper, r = ⌈n/2⌉, half a unit around m |
| median not reached by t      | T₍ᵣ₎ > t                                             |
| survival at L, K of n alive  | N(L) = n − K                                         |

Nothing is approximated: neither the correlation of median and landmark nor the flat steps of the curve.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

from simulator.tables import Floats, Integers


@dataclass(frozen=True)
class Cut:
    """At ``time`` (days) the number of deaths is one of ``deaths``."""

    time: float
    deaths: tuple[int, ...]


@dataclass(frozen=True)
class OrderStatistic:
    """The ``rank``-th death (from 1) comes after ``lower`` and not after ``upper``, days; either may be 0 or inf."""

    rank: int
    lower: float
    upper: float


def median_rank(size: int) -> int:
    """Rank of the death at which an uncensored Kaplan–Meier curve first is ≤ ½: ⌈n/2⌉."""
    return (size + 1) // 2


def merged(cuts: Sequence[Cut]) -> tuple[Cut, ...]:
    """Return the cuts in order of time; cuts at one time become one, with the counts that all of them allow."""
    allowed: dict[float, set[int]] = {}
    for cut in cuts:
        allowed[cut.time] = allowed.get(cut.time, set(cut.deaths)) & set(cut.deaths)
    return tuple(Cut(time, tuple(sorted(allowed[time]))) for time in sorted(allowed))


@lru_cache(maxsize=256)
def paths_of(cuts: tuple[Cut, ...], size: int, order: OrderStatistic | None) -> Integers:
    """Return every path that cuts and order statistic leave possible, (paths, cuts), read-only.

    Cuts come in order of time. The same question is asked for every batch of parameter sets: the answers are kept.
    """
    allowed = [[d for d in cut.deaths if 0 <= d <= size and _possible(cut.time, d, order)] for cut in cuts]
    found = [path for path in itertools.product(*allowed) if all(a <= b for a, b in itertools.pairwise(path))]
    paths = np.array(found, dtype=np.int64).reshape(len(found), len(cuts))
    paths.flags.writeable = False
    return paths


def _possible(time: float, deaths: int, order: OrderStatistic | None) -> bool:
    """Whether a count is compatible with the order statistic: the r-th death has, or has not, happened by then."""
    if order is None:
        return True
    return not (time <= order.lower and deaths >= order.rank) and not (time >= order.upper and deaths < order.rank)


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def log_path_probabilities(
    paths: Integers,
    size: int,
    log_survival: Floats,
    *,
    times: Sequence[float] = (),
    order: OrderStatistic | None = None,
    log_survival_at_order: Floats | None = None,
) -> Floats:
    """Return the log probability of each path, jointly with the order statistic if there is one.

    Parameters
    ----------
    paths : (m, J) counts at the J cuts, as `paths_of` gives them.
    log_survival : (n, J), log S at the cuts in each of n parameter sets; −inf allowed, NaN gives −inf.
    times : the J cut times; needed with ``order``.
    log_survival_at_order : (n, 2), log S at the order statistic's lower and upper end (0 and −inf at 0 and inf).

    Returns
    -------
    (n, m); −inf where a path cannot happen. What overflows on the way is such a place, and no warning.
    """
    n, j = log_survival.shape
    edges = np.concatenate([np.zeros((n, 1)), log_survival, np.full((n, 1), -np.inf)], axis=1)
    full = np.concatenate([np.zeros((len(paths), 1), np.int64), paths, np.full((len(paths), 1), size)], axis=1)
    increments = np.diff(full, axis=1)
    constant = special.gammaln(size + 1.0) - special.gammaln(increments + 1.0).sum(axis=1)
    total = np.broadcast_to(constant, (n, len(paths))).copy()
    for i in range(j + 1):
        log_mass = edges[:, i] + _log_one_minus_exp(edges[:, i + 1], edges[:, i])
        total += _times(increments[:, i], log_mass)
    if order is None or log_survival_at_order is None:
        return _without_nan(total)
    bounds = (0.0, *times, np.inf)
    for i in range(j + 1):
        here = (full[:, i] < order.rank) & (order.rank <= full[:, i + 1])
        if not here.any():
            continue
        low, high = edges[:, i], edges[:, i + 1]
        after = log_survival_at_order[:, 0] if order.lower > bounds[i] else low
        until = log_survival_at_order[:, 1] if order.upper < bounds[i + 1] else high
        rank, deaths = order.rank - full[here, i], increments[here, i]
        total[:, here] += _log_between(rank, deaths, _within(after, low, high), _within(until, low, high))
    return _without_nan(total)


def log_sum(log_terms: Floats) -> Floats:
    """Return log Σ exp over the last axis, (n, m) → (n,); −inf for no terms. Row by row: no neighbour matters."""
    if log_terms.shape[1] == 0:
        return np.full(len(log_terms), -np.inf)
    greatest = log_terms.max(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        total = np.log(np.exp(log_terms - greatest[:, None]).sum(axis=1)) + greatest
    return np.where(np.isfinite(greatest), total, -np.inf)


def _without_nan(log_p: Floats) -> Floats:
    """−inf where there is no number: a segment without mass, a curve that could not be computed."""
    return np.where(np.isnan(log_p), -np.inf, log_p)


def _times(count: Integers, log_mass: Floats) -> Floats:
    """count·log_mass, (n, m), with 0·(−inf) = 0."""
    return np.where(count[None, :] == 0, 0.0, count[None, :] * log_mass[:, None])


def _log_one_minus_exp(smaller: Floats, greater: Floats) -> Floats:
    """log(1 − e^(smaller − greater)); −inf where both are equal, be they −inf."""
    value = np.log(-np.expm1(smaller - greater))
    return np.where(np.isnan(value), -np.inf, value)


Tails = tuple[Floats, Floats]


def _within(log_s: Floats, low: Floats, high: Floats) -> Tails:
    """Distribution function of the truncated distribution at a time of its segment, and its complement, both (n,).

    (S(c) − S(t))/(S(c) − S(c′)) and (S(t) − S(c′))/(S(c) − S(c′)), each from differences of logarithms, so that the
    smaller one keeps its digits. NaN where the segment has no mass.
    """
    whole = np.expm1(high - low)
    below = np.expm1(log_s - low) / whole
    above = np.exp(log_s - low) * np.expm1(high - log_s) / whole
    return below, np.where(np.isneginf(log_s), 0.0, above)


def _log_between(rank: Integers, deaths: Integers, after: Tails, until: Tails) -> Floats:
    """log P(after < U₍rank₎ ≤ until) of ``deaths`` uniform variables, (n, m), from whichever tail is small."""
    a, b = rank[None, :].astype(np.float64), (deaths - rank + 1)[None, :].astype(np.float64)
    lower_until = special.betainc(a, b, _column(until[0]))
    small = lower_until <= 0.5
    lower = lower_until - special.betainc(a, b, _column(after[0]))
    upper = special.betainc(b, a, _column(after[1])) - special.betainc(b, a, _column(until[1]))
    return np.asarray(np.log(np.maximum(np.where(small, lower, upper), 0.0)))


def _column(x: Floats) -> NDArray[np.float64]:
    return np.clip(x, 0.0, 1.0)[:, None]
