"""Incremental mixture importance sampling on targets whose evidence and moments are known in closed form.

The prior is standard normal, so a Gaussian likelihood N(y; z, s²) has evidence N(y; 0, 1 + s²) and posterior
N(y/(1 + s²), s²/(1 + s²)) in every coordinate. Bounds are five Monte-Carlo standard errors, with fixed seeds: the
false-alarm probability of one check is below 1e-6, as far as the error is normal.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from calibration.priors.distributions import Normal
from calibration.priors.parameters import Prior, Single, normal_scores
from calibration.samplers.imis import ENOUGH_UNIQUE, WeightedDraws, imis, resampled
from calibration.samplers.summary import effective_size, weighted_quantiles, weighted_variance

ERRORS = 5.0


def gaussian(y, s):
    """Independent Gaussian likelihoods, one a coordinate, and their evidence under the standard normal prior."""
    y = np.asarray(y, float)

    def log_likelihood(z):
        return stats.norm.logpdf(y, z, s).sum(axis=1)

    return log_likelihood, float(stats.norm.logpdf(y, 0.0, math.sqrt(1 + s * s)).sum())


def bimodal(y, s):
    """Half N(y; z₁, s²) and half N(−y; z₁, s²), the other coordinates uninformed."""

    def log_likelihood(z):
        return np.logaddexp(stats.norm.logpdf(y, z[:, 0], s), stats.norm.logpdf(-y, z[:, 0], s)) - math.log(2.0)

    return log_likelihood, float(stats.norm.logpdf(y, 0.0, math.sqrt(1 + s * s)))


def evidence_is_right(found: WeightedDraws, truth: float) -> bool:
    """The check that a right sampler passes and a wrong one must fail."""
    return abs(found.log_evidence - truth) < ERRORS * max(found.log_evidence_error, 1e-3)


@pytest.mark.parametrize(("d", "s"), [(1, 0.1), (1, 3.0), (3, 0.3), (6, 0.3)])
def test_a_gaussian_has_its_evidence_mean_and_variance(d, s):
    y = np.linspace(-1.5, 1.5, d) if d > 1 else np.array([1.2])
    log_likelihood, truth = gaussian(y, s)
    found = imis(log_likelihood, d, seed=1, stream="test")
    assert found.converged
    assert evidence_is_right(found, truth)
    mean, var = y / (1 + s * s), s * s / (1 + s * s)
    for i in range(d):
        z = found.coordinates[:, i]
        size = found.effective_size
        assert abs(np.sum(found.weights * z) - mean[i]) < ERRORS * math.sqrt(var / size)
        assert abs(weighted_variance(z, found.weights) / var - 1) < ERRORS * math.sqrt(2 / size)


def test_a_strongly_correlated_posterior_has_its_evidence():
    # y = z₁ + z₂ + noise of 0.05: a narrow ridge; evidence N(y; 0, 2 + s²).
    found = imis(lambda z: stats.norm.logpdf(1.0, z[:, 0] + z[:, 1], 0.05), 2, seed=1, stream="test")
    assert evidence_is_right(found, float(stats.norm.logpdf(1.0, 0.0, math.sqrt(2 + 0.05**2))))
    assert found.converged


@pytest.mark.parametrize("d", [1, 3])
def test_both_modes_are_found_and_weigh_the_same(d):
    log_likelihood, truth = bimodal(2.0, 0.1)
    found = imis(log_likelihood, d, seed=1, stream="test")
    assert evidence_is_right(found, truth)
    right = float(np.sum(found.weights[found.coordinates[:, 0] > 0]))
    assert abs(right - 0.5) < ERRORS * 0.5 / math.sqrt(found.effective_size)


def test_a_sampler_that_knows_one_mode_fails_the_check():
    # Negative control: plain importance sampling from a normal at one mode reports half the evidence, with a small
    # error of its own. The same check must refuse it.
    log_likelihood, truth = bimodal(2.0, 0.1)
    centre, spread = 2.0 / 1.01, 0.1 / math.sqrt(1.01)
    z = centre + spread * normal_scores(20_000, 1, seed=1, stream="test")
    log_weight = log_likelihood(z) + stats.norm.logpdf(z[:, 0]) - stats.norm.logpdf(z[:, 0], centre, spread)
    weight = np.exp(log_weight - log_weight.max())
    evidence = log_weight.max() + math.log(weight.mean())
    lone = WeightedDraws(z, weight / weight.sum(), log_weight, evidence, len(z), 0, True)
    assert lone.log_evidence_error < 0.02
    assert not evidence_is_right(lone, truth)
    assert lone.log_evidence == pytest.approx(truth - math.log(2.0), abs=0.05)


def test_weights_that_forget_the_components_fail_the_check():
    # Negative control: the mixture's draws weighed as if all of them came from the prior.
    log_likelihood, truth = gaussian([1.2], 0.1)
    found = imis(log_likelihood, 1, seed=1, stream="test")
    weight = np.exp(found.log_likelihood - found.log_likelihood.max())
    evidence = found.log_likelihood.max() + math.log(weight.mean())
    forgetful = WeightedDraws(found.coordinates, weight / weight.sum(), found.log_likelihood, evidence, 8000, 0, True)
    assert evidence_is_right(found, truth)
    assert not evidence_is_right(forgetful, truth)


def test_evidence_is_unbiased_over_seeds_and_its_error_is_honest():
    # 40 seeds: the mean of z-scores within 5/√40 of 0, their sum of squares within χ²(40) at 1e-6.
    log_likelihood, truth = gaussian([1.0, -0.5], 0.2)
    found = [imis(log_likelihood, 2, seed=s, stream="test", initial=2000, step=500, draws=1000) for s in range(40)]
    z = np.array([(f.log_evidence - truth) / f.log_evidence_error for f in found])
    assert abs(z.mean()) < ERRORS / math.sqrt(40)
    assert stats.chi2.ppf(1e-6, 40) < np.sum(z**2) < stats.chi2.isf(1e-6, 40)


def test_the_same_seed_gives_the_same_bits_whatever_the_batches():
    log_likelihood, _ = gaussian([1.0, -0.5, 0.2], 0.2)
    first = imis(log_likelihood, 3, seed=7, stream="test")
    for batch in (1000, 777, 13, 10**6):
        again = imis(log_likelihood, 3, seed=7, stream="test", batch=batch)
        for name in ("coordinates", "weights", "log_likelihood"):
            assert np.array_equal(getattr(again, name), getattr(first, name))
        assert again.log_evidence == first.log_evidence
    assert imis(log_likelihood, 3, seed=8, stream="test").log_evidence != first.log_evidence
    assert imis(log_likelihood, 3, seed=7, stream="other").log_evidence != first.log_evidence


def test_a_search_that_ends_too_early_says_so():
    log_likelihood, _ = gaussian([2.5, -2.5, 2.5], 0.02)
    found = imis(log_likelihood, 3, seed=1, stream="test", initial=200, step=50, stages=2)
    assert not found.converged
    assert found.stages == 2
    assert len(found.weights) == 200 + 2 * 50


def test_an_uninformative_likelihood_needs_no_stage_and_has_evidence_one():
    found = imis(lambda z: np.zeros(len(z)), 4, seed=1, stream="test")
    assert (found.stages, found.log_evidence, found.converged) == (0, pytest.approx(0.0, abs=1e-12), True)
    assert found.effective_size == pytest.approx(8000)
    assert found.log_evidence_error == pytest.approx(0.0, abs=1e-9)


def test_a_likelihood_of_zero_everywhere_gives_nothing():
    assert imis(lambda z: np.full(len(z), -np.inf), 2, seed=1, stream="test") is None


def test_part_of_the_prior_may_be_impossible():
    # Likelihood 1 where z > 1: evidence 1 − Φ(1).
    found = imis(lambda z: np.where(z[:, 0] > 1.0, 0.0, -np.inf), 1, seed=1, stream="test")
    assert evidence_is_right(found, float(stats.norm.logsf(1.0)))


def test_a_likelihood_that_is_not_a_number_is_an_error():
    with pytest.raises(FloatingPointError, match="NaN at coordinates"):
        imis(lambda z: np.full(len(z), np.nan), 2, seed=1, stream="test")


def test_the_stopping_rule_is_the_published_one():
    assert pytest.approx(1 - 1 / math.e) == ENOUGH_UNIQUE
    log_likelihood, _ = gaussian([1.2], 0.1)
    found = imis(log_likelihood, 1, seed=1, stream="test", draws=3000)
    unique = np.mean([len(np.unique(np.random.default_rng(i).choice(len(found.weights), 3000, p=found.weights)))
                      for i in range(20)])  # fmt: skip
    assert unique / 3000 > ENOUGH_UNIQUE - 0.01


def test_resampling_takes_each_row_as_often_as_its_weight_says():
    weights = np.array([0.5, 0.0, 0.3, 0.2])
    assert np.bincount(resampled(weights, 10), minlength=4).tolist() == [5, 0, 3, 2]
    assert np.bincount(resampled(weights, 1000), minlength=4).tolist() == [500, 0, 300, 200]


# ------------------------------------------------------------------------------------------- what draws say


def test_quantiles_of_equal_weights_are_those_of_numpy():
    values = np.random.default_rng(0).normal(size=201)
    levels = (0.025, 0.5, 0.975)
    expected = np.quantile(values, levels, method="hazen")
    assert weighted_quantiles(values, np.full(201, 0.3), levels) == pytest.approx(expected)


def test_a_draw_of_weight_two_counts_as_two_draws_almost():
    values = np.random.default_rng(0).normal(size=500)
    weights = np.ones(500)
    weights[::3] = 2.0
    doubled = np.repeat(values, weights.astype(int))
    levels = (0.1, 0.5, 0.9)
    assert weighted_quantiles(values, weights, levels) == pytest.approx(np.quantile(doubled, levels), abs=0.02)
    assert weighted_variance(values, weights) == pytest.approx(doubled.var())


def test_draws_without_weight_do_not_count():
    values, weights = np.array([np.inf, 1.0, 2.0, 3.0]), np.array([0.0, 1.0, 1.0, 1.0])
    assert weighted_quantiles(values, weights, (0.5,))[0] == 2.0
    assert weighted_variance(values, weights) == pytest.approx(2 / 3)
    assert effective_size(weights) == pytest.approx(3.0)


def test_the_prior_of_one_normal_number_is_its_own_coordinate():
    prior = Prior((Single("x", Normal(0.0, 1.0)),))
    z = prior.draw(5, seed=1, stream="test")
    assert np.array_equal(prior.parameter_sets(z)["x"], z[:, 0])
