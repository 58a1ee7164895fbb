"""Spreads apart: study sampling, parameters, Monte Carlo, of draws × replicates that share their luck."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.study.crossed import error_of_share, spreads


def test_effects_of_draws_and_of_random_numbers_are_separated():
    a, b = np.array([1.0, 4.0, 10.0]), np.array([-2.0, 0.0, 1.0, 5.0])
    found = spreads(a[:, None] + b[None, :])
    assert found.mean == pytest.approx(a.mean() + b.mean())
    assert found.parameter == pytest.approx(a.std(ddof=1))
    assert found.study == pytest.approx(b.std(ddof=1))
    assert found.monte_carlo == pytest.approx(np.sqrt(a.var(ddof=1) / 3 + b.var(ddof=1) / 4))


def test_random_numbers_that_draws_share_are_not_taken_for_parameters():
    # One parameter set under many names: whatever the replicates do, there is no spread of parameters.
    shared = np.random.default_rng(1).normal(size=50)
    found = spreads(np.tile(shared, (20, 1)))
    assert found.parameter == pytest.approx(0.0, abs=1e-12)
    assert found.study == pytest.approx(shared.std(ddof=1))


def test_estimates_and_their_errors_are_right_on_average():
    # Variances 4, 9, 1 of draws, luck and the rest; 600 designs of 12 × 15. Each mean of squares is normal with a
    # standard error from the 600; |z| < 5 for three of them: false alarms below 2e-6. The errors stated by the delta
    # method are approximations: within 15 % of the observed spread.
    rng = np.random.default_rng(20240917)
    draws, replicates, designs = 12, 15, 600
    found = [
        spreads(
            rng.normal(0, 2, (draws, 1)) + rng.normal(0, 3, (1, replicates)) + rng.normal(0, 1, (draws, replicates))
        )
        for _ in range(designs)
    ]
    expected = {"parameter": 4.0, "study": 10.0, "monte_carlo": 4 / draws + 9 / replicates + 1 / (draws * replicates)}
    for name, variance in expected.items():
        squares = np.array([getattr(each, name) for each in found]) ** 2
        assert abs(squares.mean() - variance) < 5 * squares.std(ddof=1) / np.sqrt(designs), name
    for name in ("parameter", "study"):
        stated = np.median([getattr(each, f"{name}_error") for each in found])
        observed = np.std([getattr(each, name) for each in found], ddof=1)
        assert stated == pytest.approx(observed, rel=0.15), name
    means = np.array([each.mean for each in found])
    assert means.std(ddof=1) == pytest.approx(np.sqrt(expected["monte_carlo"]), rel=0.15)  # 5 standard errors of 3 %


def test_where_a_spread_does_not_exist_there_is_no_number():
    one_draw = spreads(np.array([[1.0, 2.0, 3.0]]))
    assert one_draw.mean == 2.0
    assert np.isnan([one_draw.parameter, one_draw.study, one_draw.monte_carlo]).all()
    few = spreads(np.array([[1.0, np.inf], [2.0, 3.0]]))
    assert few.mean == 2.0
    assert np.isnan([few.parameter, few.study, few.monte_carlo]).all()
    assert np.isnan(spreads(np.full((2, 3), np.nan)).mean)


@pytest.mark.parametrize("missing", [np.nan, np.inf])
def test_one_study_that_is_not_finite_hardly_changes_mean_or_spreads(missing):
    rng = np.random.default_rng(7)
    values = rng.normal(0, 2, (50, 1)) + rng.normal(0, 3, (1, 100)) + rng.normal(0, 1, (50, 100))
    whole, one = spreads(values), values.copy()
    one[17, 23] = missing
    found = spreads(one)
    assert found.mean == np.nanmean(np.where(np.isfinite(one), one, np.nan))
    np.testing.assert_allclose(vars_of(found), vars_of(whole), rtol=0.02)


def vars_of(found):
    return [found.study, found.study_error, found.parameter, found.parameter_error, found.monte_carlo]


def test_missing_plots_are_filled_by_least_squares():
    # Yates 1933: of an additive table a missing number is found exactly, whatever its draw and replicate.
    a, b = np.array([1.0, 4.0, 10.0]), np.array([-2.0, 0.0, 1.0, 5.0])
    values = a[:, None] + b[None, :]
    values[0, 3], values[2, 1] = np.nan, np.inf
    found = spreads(values)
    assert found.mean == pytest.approx(values[np.isfinite(values)].mean())
    assert found.parameter == pytest.approx(a.std(ddof=1))
    assert found.study == pytest.approx(b.std(ddof=1))


def test_a_replicate_that_no_draw_defines_is_left_out():
    values = np.array([[1.0, 2.0, np.nan], [2.0, 3.5, np.inf]])
    assert vars_of(spreads(values)) == vars_of(spreads(values[:, :2]))


def test_the_error_of_a_share_counts_replicates_once_though_all_draws_have_them():
    # Ten draws that agree on forty replicates are forty studies, not four hundred.
    flags = np.tile(np.repeat([0.0, 1.0], 20), (10, 1))
    assert error_of_share(flags) == pytest.approx(np.sqrt(0.25 / 39))
    assert error_of_share(flags[:1]) == pytest.approx(np.sqrt(0.25 / 40))
    assert np.isnan(error_of_share(np.full((2, 2), np.nan)))
