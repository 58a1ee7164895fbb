"""What papers say of two groups: difference, ratio, hazard ratio, log-rank test.

The hazard ratio is that of the first group over the second: Cox's partial likelihood (1972) of one binary covariate
with Efron's treatment of ties (1977), the default of R and lifelines. It is 0 where no death of the first group came
while somebody of the second was at risk, +inf the other way round, NaN ("undefined") where no death informs it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from simulator.kernels.compilation import kernel
from simulator.kernels.elementary import exp, normal_cdf
from simulator.study.confidence import distance
from simulator.study.survival import Keys, Ordered
from simulator.tables import Floats, Integers

MOST_STEPS = 100


@dataclass(frozen=True, eq=False)
class Pair:
    """What was gathered of two groups, the one that is compared first."""

    first: Any
    second: Any


def compared(first: Floats, second: Floats, comparison: str) -> Floats:
    """Return the ``difference`` or ``ratio`` of two estimates, (R,); NaN where both, or one, is undefined.

    Where one of them is not reached (+inf) so is the comparison, upwards (+inf) or downwards (-inf, of a ratio too, so
    that no mean takes it for a number); where both are it is undefined.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        if comparison == "difference":
            return first - second
        return np.where(np.isinf(second) & np.isfinite(first), -np.inf, first / second)


def log_rank(pair: Pair) -> tuple[Floats, Floats]:
    """Log-rank test of two groups (Mantel 1966): χ² with one degree of freedom, and its p value, each (R,).

    Hypergeometric variance at ties. NaN where one group is empty or no event informs the comparison.
    """
    return _log_rank(*_columns(pair.first), *_columns(pair.second))


def hazard_ratio(pair: Pair) -> Floats:
    """Hazard ratio of the first group over the second, (R,)."""
    return _hazard_ratio(*_columns(pair.first), *_columns(pair.second), 0.0)


def hazard_ratio_end(pair: Pair, *, upper: bool, level: float) -> Floats:
    """End of its interval, exp(log ratio ± z/√information), (R,); NaN where the ratio is 0 or infinite."""
    return _hazard_ratio(*_columns(pair.first), *_columns(pair.second), distance(level, upper=upper))


def _columns(group: Ordered) -> tuple[Keys, Integers]:
    return group.key, group.size


@kernel
def _leave(key: Keys, row: int, i: int, n: int, bits: int) -> tuple[int, int, int]:
    """Members of a group who die at a time, its next observation, and the members who are left."""
    one, deaths = np.uint64(1), 0
    while n > 0 and key[row, i] >> one == bits:
        if key[row, i] & one == np.uint64(0):
            deaths += 1
        n -= 1
        i += 1
    return deaths, i, n


@kernel
def _log_rank(key: Keys, size: Integers, other_key: Keys, other_size: Integers) -> tuple[Floats, Floats]:
    statistic, p = np.full(size.size, np.nan), np.full(size.size, np.nan)
    one = np.uint64(1)
    for row in range(size.size):
        n, m, i, j, excess, variance = size[row], other_size[row], 0, 0, 0.0, 0.0
        while n > 0 and m > 0:
            bits = min(key[row, i] >> one, other_key[row, j] >> one)
            share, total = n / (n + m), n + m
            deaths, i, n = _leave(key, row, i, n, bits)
            others, j, m = _leave(other_key, row, j, m, bits)
            tied = deaths + others
            if tied > 0:
                excess += deaths - tied * share
                variance += tied * share * (1.0 - share) * (total - tied) / (total - 1)
        if variance > 0.0:
            statistic[row] = excess * excess / variance
            p[row] = 2.0 * normal_cdf(-math.sqrt(statistic[row]))
    return statistic, p


@kernel
def _hazard_ratio(key: Keys, size: Integers, other_key: Keys, other_size: Integers, z: float) -> Floats:
    """Hazard ratio, or what lies ``z`` standard errors above it (or below), (R,)."""
    out = np.full(size.size, np.nan)
    one = np.uint64(1)
    at = np.empty((key.shape[1] + other_key.shape[1], 4))
    for row in range(size.size):
        n, m, i, j, k, first, second = size[row], other_size[row], 0, 0, 0, 0, 0
        while n > 0 and m > 0:
            bits = min(key[row, i] >> one, other_key[row, j] >> one)
            at[k, 0], at[k, 1] = n, m
            deaths, i, n = _leave(key, row, i, n, bits)
            others, j, m = _leave(other_key, row, j, m, bits)
            at[k, 2], at[k, 3] = deaths, others
            first, second = first + deaths, second + others
            k += 1 if deaths + others > 0 else 0
        if first > 0 and second > 0:
            log_ratio, error = _solved(at[:k])
            out[row] = exp(log_ratio + z * error)
        elif (first > 0 or second > 0) and z == 0.0:
            out[row] = np.inf if first > 0 else 0.0
    return out


@kernel
def _solved(at: Floats) -> tuple[float, float]:
    """Where the score is 0, and 1/√information: ``at`` has those at risk and the deaths of both groups, (times, 4)."""
    beta, low, high, information = 0.0, -np.inf, np.inf, 0.0
    for _ in range(MOST_STEPS):
        score, information = _score(at, exp(beta))
        if score > 0.0:
            low = beta
        else:
            high = beta
        step = min(max(score / information, -2.0), 2.0)
        after = beta + step
        if not low <= after <= high:
            after = (low + high) / 2.0
        done = abs(after - beta) <= 1e-12 * max(1.0, abs(beta))
        beta = after
        if done:
            break
    return beta, 1.0 / math.sqrt(information)


@kernel
def _score(at: Floats, ratio: float) -> tuple[float, float]:
    """Derivative of the log partial likelihood by the log ratio, and the information."""
    score, information = 0.0, 0.0
    for k in range(at.shape[0]):
        tied = int(at[k, 2] + at[k, 3])
        score += at[k, 2]
        for dead in range(tied):
            left = dead / tied  # Efron: of those who die together so many are gone on average
            weight = ratio * (at[k, 0] - left * at[k, 2])
            share = weight / (weight + at[k, 1] - left * at[k, 3])
            score -= share
            information += share * (1.0 - share)
    return score, information
