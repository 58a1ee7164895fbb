"""Numbers of studies by other means: plain NumPy, and lifelines for the log-rank test. Imports nothing of ours.

A study is arrays of its patients: ``x``, time under observation (days), ``dead``, whether death was seen.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import optimize


def curve(x, dead):
    """Kaplan–Meier: times of deaths, and survival just after each."""
    times = np.unique(x[dead])
    at_risk = np.array([(x >= t).sum() for t in times])
    died = np.array([(x[dead] == t).sum() for t in times])
    return times, np.cumprod(1.0 - died / at_risk) if times.size else np.empty(0)


def median(x, dead):
    """First time at which at most half are alive; infinite if never, undefined for nobody."""
    if x.size == 0:
        return math.nan
    times, alive = curve(x, dead)
    below = np.flatnonzero(alive <= 0.5 + 1e-12)
    return times[below[0]] if below.size else math.inf


def landmark(x, dead, at):
    """Survival at a time; undefined beyond all follow-up, unless nobody is alive then."""
    if x.size == 0:
        return math.nan
    times, alive = curve(x, dead)
    value = alive[times <= at][-1] if (times <= at).any() else 1.0
    return math.nan if at > x.max() and value > 0.0 else value


def median_limit(x, dead, which, z=1.959963984540054):
    """Brookmeyer–Crowley 95 % limit of the median, log–log: the first time at which the curve of ends is at most half.

    Greenwood's variance; where nobody is alive there is a lower end, 0, and no upper one (as in R's survfit).
    """
    alive, variance = 1.0, 0.0
    for t in np.unique(x[dead]):
        n, d = int((x >= t).sum()), int((x[dead] == t).sum())
        alive *= 1.0 - d / n
        if n == d:
            return t if which == "lower" else math.inf
        variance += d / (n * (n - d))
        reach = math.exp((z if which == "upper" else -z) * math.sqrt(variance) / math.log(alive))
        if alive**reach <= 0.5 + 1e-12:
            return t
    return math.inf


def hazard_ratio(x, dead, treated):
    """Root of Cox's score with one binary covariate, Efron's ties; NaN, 0, or infinite where the score has no root."""
    times = np.unique(x[dead])
    if not any((x[treated] >= t).any() and (x[~treated] >= t).any() for t in times):
        return math.nan

    def score(beta):
        total, ratio = 0.0, math.exp(beta)
        for t in times:
            at_risk, tied = x >= t, dead & (x == t)
            n1, n0, d1, d = (at_risk & treated).sum(), (at_risk & ~treated).sum(), (tied & treated).sum(), tied.sum()
            for k in range(d):
                here, there = ratio * (n1 - k * d1 / d), n0 - k * (d - d1) / d
                total += (d1 / d) - here / (here + there)
        return total

    if score(-30.0) <= 0.0:
        return 0.0
    if score(30.0) >= 0.0:
        return math.inf
    return math.exp(optimize.brentq(score, -30.0, 30.0, xtol=1e-13))


def log_rank_p(x, dead, treated):
    from lifelines.statistics import logrank_test

    if not dead.any():
        return math.nan
    return float(logrank_test(x[treated], x[~treated], dead[treated], dead[~treated]).p_value)


# ------------------------------------------------------------------------------------------------- over studies


def quantile(values, level):
    """The smallest value with at least this share of the defined ones at or below it."""
    known = np.sort([v for v in values if not math.isnan(v)])
    return known[max(math.ceil(level * len(known)) - 1, 0)] if len(known) else math.nan


def percentile(values, reported, half_width, bound=None):
    """Mid-rank of a reported value among studies; what keeps a bound equals it."""
    known = [v for v in values if not math.isnan(v)]
    if not known:
        return math.nan
    score = 0.0
    for v in known:
        keeps = {"below": v <= reported, "above": v >= reported}.get(bound, False)
        if keeps or (bound is None and (v == reported or abs(v - reported) <= half_width + 1e-9)):
            score += 0.5
        elif v < reported:
            score += 1.0
    return score / len(known)


def quantile_error(values, level):
    """Half the distance of the order statistics one binomial standard deviation of the rank to either side."""
    known = np.sort([v for v in values if not math.isnan(v)])
    n = len(known)
    if n == 0:
        return math.nan
    rank, reach = max(math.ceil(level * n) - 1, 0), math.ceil(math.sqrt(n * level * (1 - level)))
    low, high = known[max(rank - reach, 0)], known[min(rank + reach, n - 1)]
    return 0.0 if low == high else (high - low) / 2


def crossed(y):
    """Variance components of (draws, replicates) that share random numbers: mean, study, parameter, Monte Carlo sd.

    By the analysis of variance of a two-way layout without repetition, written with loops.
    """
    d, r = y.shape
    grand = sum(map(sum, y.tolist())) / (d * r)
    rows, columns = [sum(row) / r for row in y.tolist()], [sum(column) / d for column in y.T.tolist()]
    a = r * sum((m - grand) ** 2 for m in rows) / (d - 1)
    b = d * sum((m - grand) ** 2 for m in columns) / (r - 1)
    rest = sum((y[i, j] - rows[i] - columns[j] + grand) ** 2 for i in range(d) for j in range(r))
    e = rest / ((d - 1) * (r - 1))
    sigma_a, sigma_b = max((a - e) / r, 0.0), (b - e) / d
    of_mean = (a + b - e) / (d * r)
    return grand, math.sqrt(sigma_b + e), math.sqrt(sigma_a), math.sqrt(max(of_mean, e / (d * r)))


def wilson(count, n, z=1.959963984540054):
    """Wilson's interval of a proportion."""
    p = count / n
    middle, reach = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (middle - reach) / (1 + z * z / n), (middle + reach) / (1 + z * z / n)
