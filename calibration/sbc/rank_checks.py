"""Whether ranks are uniform, as they must be if posteriors are right: χ², ECDF, coverage, calibration of alternatives.

A *rank* is the number of L draws below the truth, 0 to L; if truth and draws are exchangeable given the data it is
uniform over L + 1 values (Talts, Betancourt, Simpson, Vehtari & Gelman 2018, arXiv:1804.06788). A *position* is (rank +
a uniform number)/(L + 1): uniform over (0, 1) then.

Every check is a p-value. Those of the ECDF, of coverage and of alternatives are exact, so that a family-wise level is
kept to whatever the number of papers; χ² is the usual approximation, in bins with an expected count of 5 or more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from calibration.sbc.ranks import Ranks
from simulator.tables import Flags, Floats, Integers

BINS = 20
LEAST_EXPECTED = 5.0
LEVELS = (0.8, 0.95)
MOST_POINTS = 100
HOPELESS = 1e-7
"""A p-value of the ECDF below this is given as its upper bound by Bonferroni: the exact one takes longer to compute."""


@dataclass(frozen=True)
class Coverage:
    """How many of n central intervals of a ``level`` hold the truth.

    ``share``: of the papers; ``lower``, ``upper``: exact binomial bounds that a right posterior leaves with a given
    probability at most; ``p_value``: two-sided.
    """

    level: float
    share: float
    lower: float
    upper: float
    p_value: float


@dataclass(frozen=True)
class QuantityChecks:
    """Everything that is asked of the ranks of one quantity; ``chi_square`` and ``ecdf`` are p-values."""

    name: str
    chi_square: float
    ecdf: float
    coverage: tuple[Coverage, ...]


@dataclass(frozen=True)
class AlternativeCheck:
    """How often an alternative was true, and how often posterior probabilities expect it; ``p_value`` two-sided."""

    name: str
    true: int
    expected: float
    p_value: float


@dataclass(frozen=True)
class Verdict:
    """All checks of a study of ranks, at a family-wise false-alarm probability ``level`` (Bonferroni).

    That is also the false-alarm probability of the bounds of one coverage.
    """

    quantities: tuple[QuantityChecks, ...]
    alternatives: tuple[AlternativeCheck, ...]
    level: float

    def checks(self) -> Iterator[tuple[str, float]]:
        """Yield the name and the p-value of every check."""
        for one in self.quantities:
            yield f"χ² of {one.name}", one.chi_square
            yield f"ECDF of {one.name}", one.ecdf
            for interval in one.coverage:
                yield f"{interval.level:.0%} intervals of {one.name}", interval.p_value
        for other in self.alternatives:
            yield f"probability of {other.name}", other.p_value

    @property
    def each(self) -> float:
        """Level of one check."""
        return self.level / len(list(self.checks()))

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the checks that failed."""
        each = self.each
        return tuple(name for name, p_value in self.checks() if p_value < each)

    @property
    def passed(self) -> bool:
        return not self.failed


def verdict(found: Ranks, level: float) -> Verdict:
    """Return every check of a study, at a family-wise false-alarm probability ``level``.

    Of two readings one is checked, since the other says the same.
    """
    papers = found.papers
    quantities = tuple(
        QuantityChecks(
            name,
            chi_square_p_value(papers.rank[:, q], found.draws),
            ecdf_p_value(papers.rank[:, q], found.draws),
            tuple(coverage(papers.position[:, q], of, bounds=level) for of in LEVELS),
        )
        for q, name in enumerate(found.quantities)
    )
    n = len(found.readings)
    checked = () if n < 2 else found.readings[:1] if n == 2 else found.readings
    others = tuple(
        alternative(name, papers.reading == a, papers.share[:, a], found.draws) for a, name in enumerate(checked)
    )
    return Verdict(quantities, others, level)


def chi_square_p_value(ranks: Integers, draws: int, bins: int = BINS) -> float:
    """Return the p-value of Pearson's χ² of ranks (n,) in bins of neighbouring ranks, each with 5 expected or more.

    1 where there are too few papers for two bins.
    """
    n, values = len(ranks), draws + 1
    bins = min(bins, values, int(n // LEAST_EXPECTED))
    while bins >= 2:
        sizes = np.array([len(part) for part in np.array_split(np.arange(values), bins)])
        if n * sizes.min() / values >= LEAST_EXPECTED:
            break
        bins -= 1  # bins of different numbers of ranks
    else:
        return 1.0
    ends = np.cumsum(sizes)
    seen = np.bincount(np.searchsorted(ends, ranks, side="right"), minlength=bins)
    return float(stats.chisquare(seen, n * sizes / values).pvalue)


def points_of(draws: int) -> Integers:
    """Return the ranks at which ECDFs are looked at: all but the last, at which it is 1, or 100 of them."""
    return np.unique(np.linspace(0, draws - 1, min(draws, MOST_POINTS)).astype(np.int64))


def uniform(draws: int) -> Floats:
    """Return the share of ranks at most as great as each of `points_of` that is expected, (points,)."""
    return np.asarray((points_of(draws) + 1) / (draws + 1))


def ecdf(ranks: Integers, draws: int) -> Floats:
    """Return the share of ranks (n,) at most as great as each of `points_of`, (points,)."""
    return np.asarray(np.mean(ranks[:, None] <= points_of(draws)[None, :], axis=0))


def ecdf_p_value(ranks: Integers, draws: int) -> float:
    """Return the p-value of the ECDF: how likely a uniform one leaves pointwise bands as narrow somewhere.

    The statistic is γ = min over points of 2·min(F(k), 1 − F(k − 1)), with k papers counted at a point and F the
    binomial distribution function of that count (Säilynoja, Bürkner & Vehtari 2022, Statistics and Computing 32:32,
    section 2.2). Its distribution is computed by following the count from point to point.
    """
    n = len(ranks)
    gamma = float(_tails(np.rint(ecdf(ranks, draws) * n), n, draws).min())
    bound = gamma * len(points_of(draws))
    return bound if bound < HOPELESS else _probability_of_leaving(n, draws, gamma, beyond=False)


def ecdf_band(n: int, draws: int, level: float) -> tuple[Floats, Floats]:
    """Return lower and upper ends, (points,) each, that a uniform ECDF of n ranks leaves with this probability at most.

    Simultaneous over all points: pointwise binomial bands of the greatest coverage error γ that keeps to the level.
    """
    low, high = level / len(points_of(draws)) / 4.0, level
    for _ in range(30):
        middle = float(np.sqrt(low * high))
        low, high = (low, middle) if _probability_of_leaving(n, draws, middle, beyond=True) > level else (middle, high)
    first, last = _pointwise(n, draws, low, beyond=True)
    return first / n, last / n


def _tails(counts: Floats | Integers, n: int, draws: int) -> Floats:
    """Return the two-sided tail of a count of n papers at each point, 2·min(F(k), 1 − F(k − 1)) but 1 at most."""
    of = stats.binom(n, uniform(draws))
    return np.asarray(np.minimum(2.0 * np.minimum(of.cdf(counts), of.sf(counts - 1)), 1.0))


def _pointwise(n: int, draws: int, gamma: float, *, beyond: bool) -> tuple[Integers, Integers]:
    """Return the least and the greatest count at each point with a γ greater than this; ``beyond``: or as great."""
    tails = _tails(np.arange(n + 1)[:, None], n, draws)
    inside = tails >= gamma * (1.0 - 1e-12) if beyond else tails > gamma * (1.0 + 1e-12)
    first = np.argmax(inside, axis=0)
    last = n - np.argmax(inside[::-1], axis=0)
    return np.where(inside.any(axis=0), first, 1), np.where(inside.any(axis=0), last, 0)


def _probability_of_leaving(n: int, draws: int, gamma: float, *, beyond: bool) -> float:
    """Return the probability that the ECDF of n uniform ranks leaves the pointwise bands of γ at some point.

    Counts at successive points are a Markov chain: of those not counted yet, each is by the next point with the same
    probability.
    """
    first, last = _pointwise(n, draws, gamma, beyond=beyond)
    if np.any(first > last):
        return 1.0
    log_factorial = special.gammaln(np.arange(n + 1) + 1.0)
    at, mass, before = np.zeros(1, dtype=np.int64), np.ones(1), 0.0
    for level, low, high in zip(uniform(draws).tolist(), first.tolist(), last.tolist(), strict=True):
        share = (level - before) / (1.0 - before)
        now = np.arange(low, high + 1)
        more, left = now[None, :] - at[:, None], n - at[:, None]
        possible = (more >= 0) & (more <= left)
        k = np.where(possible, more, 0)
        log_p = log_factorial[left] - log_factorial[k] - log_factorial[left - k]
        log_p = log_p + k * np.log(share) + (left - k) * np.log1p(-share)
        mass = np.sum(mass[:, None] * np.where(possible, np.exp(log_p), 0.0), axis=0)
        at, before = now, level
    return float(min(1.0, max(0.0, 1.0 - mass.sum())))


def coverage(positions: Floats, level: float, *, bounds: float) -> Coverage:
    """Return how often central intervals of a level hold the truth: positions (n,) within level/2 of one half."""
    n = len(positions)
    inside = int(np.sum(np.abs(positions - 0.5) < 0.5 * level))
    of = stats.binom(n, level)
    low, high = of.ppf([0.5 * bounds, 1.0 - 0.5 * bounds]) / n
    p_value = 2.0 * min(of.cdf(inside), of.sf(inside - 1))
    return Coverage(level, inside / n, float(low), float(high), float(min(1.0, p_value)))


def alternative(name: str, true: Flags, share: Floats, draws: int) -> AlternativeCheck:
    """Return whether an alternative is true as often as posteriors say.

    Truth and draws are exchangeable given the data: if k of the L + 1 are the alternative, the truth is one of them
    with probability k/(L + 1). So the number of papers (n,) in which it is true is a sum of independent Bernoulli
    variables with these probabilities, exactly.
    """
    chances = (np.rint(share * draws) + true) / (draws + 1)
    distribution = np.ones(1)
    for p in chances.tolist():
        distribution = np.convolve(distribution, [1.0 - p, p])
    seen = int(true.sum())
    tail = min(float(distribution[: seen + 1].sum()), float(distribution[seen:].sum()))
    return AlternativeCheck(name, seen, float(share.sum()), min(1.0, 2.0 * tail))
