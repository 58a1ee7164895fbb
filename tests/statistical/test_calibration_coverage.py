"""Simulation-based calibration of the order-statistic likelihood (VERIFICATION V50, V51; EVIDENCE B3).

For every simulated paper a median and a shape are drawn from the prior, n survival times from them, and what a paper
prints is kept: Kaplan–Meier median to the day, number alive at day 365, from the simulator's estimators. The posterior
is on a grid, so that nothing but the likelihood is on trial. If it is right, the truth's rank in its posterior is
uniform: for the median, the shape and the log likelihood (without which a posterior that ignores its data passes).

One check: coverage of central 80 and 95 % intervals within the exact binomial 99.9 % bounds, and Kolmogorov–Smirnov
at 1e-3: false-alarm probability below 3e-3 a quantity with these fixed seeds. The negative controls must fail it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from scipy import stats

from calibration.likelihoods.order_statistics import Cut, OrderStatistic, median_rank
from calibration.likelihoods.terms import DeathCounts, Sample
from calibration.priors.distributions import HalfNormal, log_normal
from calibration.priors.parameters import ParameterSets, Pooled, Prior, Single
from calibration.samplers.imis import imis
from simulator.study.survival import kaplan_meier_median, landmark

AT = 365.0
MEDIAN, SHAPE = log_normal(300.0, 0.6), log_normal(1.3, 0.35)  # EVIDENCE B10
Z = np.linspace(-4.4, 4.4, 89)
GRID = np.stack([axis.ravel() for axis in np.meshgrid(Z, Z[::2], indexing="ij")], axis=1)
LOG_PRIOR = stats.norm.logpdf(GRID).sum(axis=1)
SETS = ParameterSets({"m": MEDIAN.value(GRID[:, 0]), "k": SHAPE.value(GRID[:, 1])}, len(GRID))


@dataclass(frozen=True)
class Weibull:
    """exp(−log 2·(t/m)^k) with m and k among the parameters."""

    parameters = frozenset({"m", "k"})

    def log_survival(self, sets, times):
        return -math.log(2.0) * (times[None, :] / sets["m"][:, None]) ** sets["k"][:, None]


def exact(size, median, alive):
    """The likelihood on trial."""
    order = OrderStatistic(median_rank(size), max(median - 0.5, 0.0), median + 0.5)
    term = DeathCounts(("x",), (Sample(Weibull(), size, (Cut(AT, (size - alive,)),), order),))
    return term.log_density


def gaussian(size, median, alive):
    """What is usually done: log median and survival at day 365, bivariate normal, covariance from the printed numbers.

    Greenwood's variance for the survival, asymptotic variance and covariance for the median, at the Weibull law that
    matches both numbers. (With a covariance computed anew at every parameter value the approximation passes here.)
    """
    p, m = min(max(alive / size, 0.5 / size), 1 - 0.5 / size), max(median, 0.5)
    k = min(max(math.log(-math.log(p) / math.log(2.0)) / math.log(AT / m), 0.2), 5.0) if m != AT else 1.3
    f = 0.5 * math.log(2.0) * k  # m·f(m): density of log T at the median
    var_m, var_s, cov = 0.25 / f**2 / size, p * (1 - p) / size, (min(0.5, 1 - p) - 0.5 * (1 - p)) / f / size
    rho = min(max(cov / math.sqrt(var_m * var_s), -0.999), 0.999)

    def log_density(sets):
        s = np.exp(-math.log(2.0) * (AT / sets["m"]) ** sets["k"])
        a, b = (math.log(m) - np.log(sets["m"])) / math.sqrt(var_m), (p - s) / math.sqrt(var_s)
        return -0.5 * (a * a - 2 * rho * a * b + b * b) / (1 - rho**2)

    return log_density


def ignorant(size, median, alive):
    """A likelihood that does not look at its data."""
    return lambda sets: np.zeros(sets.size)


def simulated_papers(size, n, seed):
    """True scores (n, 2), printed medians and numbers alive, (n,) each."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((n, 2))
    m, k = MEDIAN.value(z[:, :1]), SHAPE.value(z[:, 1:])
    times = m * (rng.standard_exponential((n, size)) / math.log(2.0)) ** (1 / k)
    died = np.ones_like(times, dtype=bool)
    printed = np.floor(kaplan_meier_median(times, died, died) + 0.5)
    return z, printed, np.rint(size * landmark(times, died, died, AT)).astype(int)


def ranks(likelihood, size, n, seed):
    """Rank of the truth in its posterior, (n, 3): median, shape, log likelihood."""
    z, medians, alive = simulated_papers(size, n, seed)
    found = np.empty((n, 3))
    width = np.array([Z[1] - Z[0], 2 * (Z[1] - Z[0])])
    for i, (median, survivors) in enumerate(zip(medians, alive, strict=True)):
        log_posterior = LOG_PRIOR + likelihood(size, median, survivors)(SETS)
        weight = np.exp(log_posterior - log_posterior.max())
        weight /= weight.sum()
        below = np.clip((z[i] - GRID) / width + 0.5, 0.0, 1.0)  # share of each grid cell below the truth
        found[i, :2] = weight @ below
        truth = ParameterSets({"m": MEDIAN.value(z[i, :1]), "k": SHAPE.value(z[i, 1:])}, 1)
        ours = exact(size, median, survivors)
        found[i, 2] = weight @ (ours(SETS) < ours(truth))
    return found


def passes(rank, n):
    """The check, for one quantity."""
    for level in (0.8, 0.95):
        inside = int(np.sum(np.abs(rank - 0.5) < level / 2))
        if not stats.binom.ppf(0.0005, n, level) <= inside <= stats.binom.ppf(0.9995, n, level):
            return False
    return bool(stats.kstest(rank, "uniform").pvalue > 1e-3)


@pytest.mark.parametrize(("size", "seed"), [(17, 1), (49, 2)])
def test_posteriors_of_simulated_papers_cover_the_truth(size, seed):
    rank = ranks(exact, size, 400, seed)
    assert [passes(column, 400) for column in rank.T] == [True, True, True]


@pytest.mark.parametrize(("size", "seed"), [(17, 1), (49, 2)])
def test_a_normal_approximation_fails_the_same_check(size, seed):
    rank = ranks(gaussian, size, 400, seed)
    assert not all(passes(column, 400) for column in rank.T[:2])


def test_a_likelihood_that_ignores_its_data_fails_on_the_likelihood_alone():
    rank = ranks(ignorant, 17, 400, 1)
    assert [passes(column, 400) for column in rank.T] == [True, True, False]


@pytest.mark.slow
@pytest.mark.parametrize(("size", "seed"), [(17, 3), (49, 4)])
def test_two_thousand_papers_cover_and_the_normal_approximation_does_not(size, seed):
    rank, approximate = ranks(exact, size, 2000, seed), ranks(gaussian, size, 2000, seed)
    assert [passes(column, 2000) for column in rank.T] == [True, True, True]
    assert not passes(approximate[:, 0], 2000)


# ------------------------------------------------------------- whole papers: strata, readings, pooling, the sampler


SPLITS = ((49, 17, 15), (51, 17, 13))
POOLED = Prior(
    (
        *(Single(f"m{s}", log_normal(300.0, 0.6)) for s in range(3)),
        Pooled("k", ("0", "1", "2"), log_normal(1.3, 0.35), HalfNormal(0.25)),
    )
)


@dataclass(frozen=True)
class Stratum:
    """The Weibull curve of one stratum."""

    s: int

    @property
    def parameters(self):
        return frozenset({f"m{self.s}", f"k.{self.s}"})

    def log_survival(self, sets, times):
        m, k = sets[f"m{self.s}"], sets[f"k.{self.s}"]
        with np.errstate(over="ignore"):
            return -math.log(2.0) * (times[None, :] / m[:, None]) ** k[:, None]


def whole_paper(truth, split, rng):
    """The likelihood of one simulated paper: medians and landmarks of two strata, and of all three together."""
    times = [
        truth[f"m{s}"][0] * (rng.standard_exponential(n) / math.log(2.0)) ** (1 / truth[f"k.{s}"][0])
        for s, n in enumerate(split)
    ]

    def printed(sample):
        rank = median_rank(len(sample))
        day = math.floor(np.sort(sample)[rank - 1] + 0.5)
        return Cut(AT, (int(np.sum(sample <= AT)),)), OrderStatistic(rank, max(day - 0.5, 0.0), day + 0.5)

    samples = []
    for s, sample in enumerate(times):
        cut, median = printed(sample)
        samples.append(Sample(Stratum(s), len(sample), (cut,) if s < 2 else (), median if s < 2 else None))
    return DeathCounts(("x",), tuple(samples), *printed(np.concatenate(times)))


@pytest.mark.slow
def test_whole_papers_cover_the_truth_through_pooling_convolution_and_sampler():
    # Truths, split and luck drawn anew for each of 200 papers; every number of the hierarchy, and the log likelihood.
    # At the sampler's own settings, an effective size of about 3,800: one of 850 makes 95 % intervals cover .93 to .95.
    n = 200
    rng = np.random.default_rng(5)
    z = POOLED.draw(n, seed=5, stream="truth")
    found = np.empty((n, len(POOLED.names) + 1))
    for i in range(n):
        truth = POOLED.parameter_sets(z[i : i + 1])
        term = whole_paper(truth, SPLITS[rng.integers(2)], rng)

        def log_likelihood(y, term=term):
            return term.log_density(POOLED.parameter_sets(y))

        drawn = imis(log_likelihood, 8, seed=i, stream="paper")
        assert drawn is not None
        values = POOLED.parameter_sets(drawn.coordinates)
        found[i, :-1] = [drawn.weights @ (values[name] < truth[name][0]) for name in POOLED.names]
        found[i, -1] = drawn.weights @ (drawn.log_likelihood < term.log_density(truth)[0])
    assert [passes(column, n) for column in found.T] == [True] * found.shape[1]
