"""Mid-ranks by DESIGN section 10: what rounds to the printed number is equal to it."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.study.ranks import mid_rank, order_statistics

INF, NAN = np.inf, np.nan


def test_the_percentile_is_the_share_below_and_half_the_share_equal():
    rank = mid_rank(np.array([1.0, 2.0, 2.0, 3.0]), 2.0, 0.0)
    assert rank.percentile == (1 + 2 / 2) / 4
    assert (rank.n_not_reached, rank.n_undefined) == (0, 0)


def test_values_that_round_to_the_printed_one_are_equal():
    simulated = np.array([276.4, 276.5, 277.0, 277.5, 277.6])
    assert mid_rank(simulated, 277.0, 0.5).percentile == (1 + 3 / 2) / 5


def test_rounding_noise_neither_makes_nor_breaks_a_tie():
    printed = 0.357
    edge = np.array([printed - 0.0005, printed + 0.0005, 25 / 52])
    assert mid_rank(edge, printed, 0.0005).percentile == (2 / 2) / 3
    assert mid_rank(np.array([1 - 27 / 52]), 25 / 52, 0.0).percentile == 0.5


def test_counts_are_equal_only_to_themselves():
    simulated = np.array([24, 25, 26]) / 52
    assert mid_rank(simulated, 25 / 52, 0.5 / 52).percentile == 0.5


def test_not_reached_ranks_highest_and_equals_a_reported_not_reached():
    simulated = np.array([100.0, 200.0, INF, INF])
    rank = mid_rank(simulated, 150.0, 0.5)
    assert (rank.percentile, rank.n_not_reached, rank.upper) == (0.25, 2, INF)
    assert mid_rank(simulated, INF, 0.5).percentile == (2 + 2 / 2) / 4


def test_undefined_is_left_out_and_counted():
    rank = mid_rank(np.array([NAN, 1.0, NAN, 3.0]), 2.0, 0.1)
    assert (rank.percentile, rank.n_undefined) == (0.5, 2)
    nothing = mid_rank(np.array([NAN, NAN]), 2.0, 0.1)
    assert np.isnan([nothing.percentile, nothing.lower, nothing.upper]).all()
    assert nothing.n_undefined == 2


def test_studies_of_several_draws_are_ranked_by_what_each_reading_reports():
    studies = np.array([[1.0, 2.0, 3.0], [2.0, 4.0, NAN]])
    assert mid_rank(studies, 2.0, 0.0).percentile == (1 + 2 / 2) / 5
    by_draw = mid_rank(studies, np.array([2.0, 4.0]), np.array([0.0, 0.5]))
    assert by_draw.percentile == (1 + 1 / 2 + 1 + 1 / 2) / 5
    assert by_draw.n_undefined == 1


def test_of_one_draw_the_error_of_a_percentile_is_binomial():
    rank = mid_rank(np.arange(100.0), 20.0, 0.0)
    p = rank.percentile
    assert rank.percentile_error == pytest.approx(np.sqrt(p * (1 - p) / 100), rel=0.02)  # one study is equal


def test_the_interval_leaves_a_fortieth_on_either_side():
    rank = mid_rank(np.arange(1.0, 1001.0), 500.0, 0.0)
    assert (rank.lower, rank.upper) == (25.0, 975.0)


def test_the_rank_is_uniform_for_an_honest_target():
    # A discrete target: mid-ranks average one half exactly over the distribution it is drawn from.
    values = np.random.default_rng(2).binomial(52, 0.48, 2000) / 52
    ranks = [mid_rank(values, v, 0.5 / 52).percentile for v in np.unique(values)]
    weights = np.unique(values, return_counts=True)[1] / values.size
    assert np.dot(ranks, weights) == pytest.approx(0.5, abs=1e-12)


@pytest.mark.parametrize("level", [0.025, 0.5, 0.975])
def test_order_statistics_are_numpys_inverted_cdf(level):
    values = np.random.default_rng(3).normal(size=(101, 7))
    expected = np.quantile(values, level, axis=0, method="inverted_cdf")
    assert np.array_equal(order_statistics(values, (level,))[0], expected)


def test_order_statistics_leave_out_the_undefined():
    values = np.array([[1.0, NAN], [NAN, NAN], [3.0, NAN]])
    found = order_statistics(values, (0.5,))[0]
    assert found[0] == 1.0
    assert np.isnan(found[1])
