"""Priors as functions of standard normal scores: against scipy's densities and quantiles, and their addresses."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from calibration.priors.distributions import SCALES, Beta, Fixed, HalfNormal, Normal, Uniform, log_normal, logit_normal
from calibration.priors.parameters import (
    Alternatives,
    Dirichlet,
    ParameterSets,
    Pooled,
    Prior,
    Single,
    normal_scores,
    standard_normal_log_density,
)

LAWS = {
    "normal": (Normal(3.0, 2.0), stats.norm(3.0, 2.0)),
    "log_normal": (log_normal(300.0, 0.6), stats.lognorm(0.6, scale=300.0)),
    "half_normal": (HalfNormal(0.25), stats.halfnorm(scale=0.25)),
    "uniform": (Uniform(14.0, 21.0), stats.uniform(14.0, 7.0)),
    "beta": (Beta(0.5, 0.5), stats.beta(0.5, 0.5)),
    "skew_beta": (Beta(6.5, 3.5), stats.beta(6.5, 3.5)),
}
SCORES = np.linspace(-6.0, 6.0, 49)


def shape_prior(between: HalfNormal | Fixed | None = None) -> Pooled:
    return Pooled("shape", ("a", "b", "c"), log_normal(1.3, 0.35), between or HalfNormal(0.25))


@pytest.mark.parametrize("name", LAWS)
def test_a_law_has_the_quantiles_of_scipy(name):
    law, reference = LAWS[name]
    expected = np.where(SCORES < 0, reference.ppf(stats.norm.cdf(SCORES)), reference.isf(stats.norm.sf(SCORES)))
    assert law.value(SCORES) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_a_logit_normal_law_has_normal_log_odds():
    x = logit_normal(0.4, 0.7).value(SCORES)
    assert np.log(x / (1 - x)) == pytest.approx(math.log(0.4 / 0.6) + 0.7 * SCORES, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("law", [law for law, _ in LAWS.values()] + [logit_normal(0.4, 0.7)])
def test_score_is_the_inverse_of_value(law):
    # No better than the digits of x near an end: of 1 − x near 1, of 1 − 2Φ(−x/sd) near 0 in the half-normal law.
    z = np.linspace(-4.0, 4.0, 33)
    assert law.score(law.value(z)) == pytest.approx(z, abs=1e-6)


@pytest.mark.parametrize("name", LAWS)
def test_the_density_of_scores_is_that_of_the_law_by_change_of_variables(name):
    # p(x)·dx/dz = φ(z): the derivative by central differences, scipy's density at x.
    law, reference = LAWS[name]
    z, h = np.linspace(-2.5, 2.5, 21), 1e-5
    slope = (law.value(z + h) - law.value(z - h)) / (2 * h)
    density = standard_normal_log_density(z[:, None])
    assert reference.logpdf(law.value(z)) + np.log(slope) == pytest.approx(density, abs=1e-6)


@pytest.mark.parametrize("name", LAWS)
def test_no_score_leaves_the_support_or_is_not_a_number(name):
    law, _ = LAWS[name]
    x = law.value(np.array([-37.0, -9.0, 0.0, 9.0, 37.0]))
    assert np.all(np.isfinite(x))
    assert law.support[0] <= x.min()
    assert x.max() <= law.support[1]
    assert np.all(np.diff(x) >= 0)


def test_a_value_beyond_floating_point_is_infinite_without_a_warning():
    assert log_normal(300.0, 100.0).value(np.array([-37.0, 37.0])).tolist() == [0.0, math.inf]


def test_a_fixed_number_has_one_value_and_no_score():
    law = Fixed(7.0)
    assert law.value(SCORES).tolist() == [7.0] * len(SCORES)
    assert law.score(np.array([7.0])).tolist() == [0.0]
    assert law.support == (7.0, 7.0)


def test_scales_come_back():
    x = np.array([0.1, 0.5, 0.9])
    for scale in SCALES.values():
        assert scale.inverse(scale.forward(x)) == pytest.approx(x)


def test_pooled_strata_are_normal_around_the_centre_on_the_pooled_scale():
    z = np.array([[1.0, 0.5, -1.0, 0.0, 2.0]])
    values = shape_prior().values(z)
    between = 0.25 * stats.norm.ppf((1 + stats.norm.cdf(0.5)) / 2)  # the half-normal law's own definition
    assert values["shape (centre)"][0] == pytest.approx(1.3 * math.exp(0.35))
    assert values["shape (between)"][0] == pytest.approx(between)
    expected = [1.3 * math.exp(0.35 + between * e) for e in (-1.0, 0.0, 2.0)]
    assert [values[f"shape.{s}"][0] for s in "abc"] == pytest.approx(expected)


def test_pooled_strata_have_the_moments_of_the_hierarchy():
    # log k = mu + tau·e: variance 0.35² + 0.25², covariance between strata 0.35²; n = 40 000, z below 5 (p < 1e-6).
    prior = Prior((shape_prior(),))
    drawn = prior.parameter_sets(prior.draw(40_000, seed=5, stream="test")).values
    a, b = np.log(drawn["shape.a"]), np.log(drawn["shape.b"])
    n, var = len(a), 0.35**2 + 0.25**2
    kurtosis = 3 * 0.35**4 + 6 * 0.35**2 * 0.25**2 + 3 * 3 * 0.25**4  # E[(mu + tau·e)⁴], E[tau⁴] = 3·0.25⁴
    assert abs(a.mean() - math.log(1.3)) < 5 * math.sqrt(var / n)
    assert abs(a.var() - var) < 5 * math.sqrt((kurtosis - var**2) / n)
    product = (a - a.mean()) * (b - b.mean())
    assert abs(product.mean() - 0.35**2) < 5 * product.std() / math.sqrt(n)


def test_dirichlet_shares_have_beta_marginals_and_sum_to_one():
    # Marginals of a Dirichlet are Beta(a, rest); Kolmogorov–Smirnov at 1e-4, three of them.
    prior = Prior((Dirichlet("best", {"complete": 9.5, "partial": 28.5, "none": 4.5}),))
    drawn = prior.parameter_sets(prior.draw(4000, seed=5, stream="test")).values
    assert sum(drawn.values()) == pytest.approx(np.ones(4000))
    for name, a in (("best.complete", 9.5), ("best.partial", 28.5), ("best.none", 4.5)):
        assert stats.kstest(drawn[name], stats.beta(a, 42.5 - a).cdf).pvalue > 1e-4


@pytest.mark.parametrize(
    "block",
    [
        Single("median", log_normal(300.0, 0.6)),
        shape_prior(),
        Dirichlet("best", {"complete": 9.5, "partial": 28.5, "none": 4.5}),
    ],
)
def test_scores_of_a_block_are_the_inverse_of_its_values(block):
    prior = Prior((block,))
    z = np.clip(prior.draw(200, seed=2, stream="test"), -3.5, 3.5)
    assert prior.scores(prior.parameter_sets(z).values) == pytest.approx(z, abs=1e-6)


def test_spreads_are_compared_where_the_prior_is_normal():
    jeffreys, fixed = Single("p", Beta(0.1, 0.1)), Single("f", Fixed(2.0))
    prior = Prior((jeffreys, fixed, shape_prior(), Dirichlet("best", {"a": 0.1, "b": 0.1})))
    z = prior.draw(2000, seed=1, stream="test")
    scaled = prior.scaled(z)
    assert set(scaled) == set(prior.names)
    assert np.array_equal(scaled["p"], z[:, 0])
    assert not scaled["f"].any()
    assert np.exp(scaled["shape.b"]) == pytest.approx(prior.parameter_sets(z)["shape.b"])
    assert all(np.isfinite(values).all() for values in scaled.values())  # although some shares are 1 to the last bit
    assert np.any(prior.parameter_sets(z)["p"] == 1.0)


def test_a_prior_names_coordinates_numbers_and_parameters_in_order():
    prior = Prior((Single("median", log_normal(300.0, 0.6)), shape_prior()))
    assert prior.parameters == ("median", "shape.a", "shape.b", "shape.c")
    assert prior.names == ("median", "shape (centre)", "shape (between)", "shape.a", "shape.b", "shape.c")
    assert len(prior.coordinates) == 6


def test_a_draw_depends_on_its_address_alone():
    prior = Prior((Single("median", log_normal(300.0, 0.6)), shape_prior()))
    many = prior.draw(500, seed=9, stream="one")
    assert np.array_equal(prior.draw(20, seed=9, stream="one"), many[:20])
    fewer = Prior((Single("median", log_normal(300.0, 0.6)),))
    assert np.array_equal(fewer.draw(500, seed=9, stream="one"), many[:, :1])
    assert not np.any(prior.draw(500, seed=10, stream="one") == many)
    assert not np.any(prior.draw(500, seed=9, stream="two") == many)
    assert not np.any(normal_scores(500, 6, seed=9, stream="one", stage=1) == many)


def test_draws_are_standard_normal_and_independent():
    # 5 columns against N(0, 1) at 1e-4 each; 10 correlations below 5/√n (p < 1e-6 each).
    z = normal_scores(20_000, 5, seed=3, stream="test")
    assert all(stats.kstest(column, "norm").pvalue > 1e-4 for column in z.T)
    correlation = np.corrcoef(z.T) - np.eye(5)
    assert np.abs(correlation).max() < 5 / math.sqrt(20_000)


def test_alternatives_weigh_evidence_by_bayes():
    # By hand: 2:1 before, evidence e^1 in favour of the second.
    alternatives = Alternatives((("a",), ("b",)), (2.0, 1.0))
    assert alternatives.probabilities() == pytest.approx([2 / 3, 1 / 3])
    expected = [2 / (2 + math.e), math.e / (2 + math.e)]
    assert alternatives.probabilities([-25.0, -24.0]) == pytest.approx(expected)
    assert alternatives.probabilities([-2500.0, -2499.0]) == pytest.approx(expected)


def test_parameter_sets_are_read_by_name():
    sets = ParameterSets({"a": np.array([1.0, 2.0])}, 2)
    assert sets["a"].tolist() == [1.0, 2.0]
