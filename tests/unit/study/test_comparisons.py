"""Two groups compared: against lifelines, by hand, in parts, and by their own sampling theory."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.stats import binom, chi2

from simulator.study.comparisons import Pair, compared, hazard_ratio, hazard_ratio_end, log_rank
from simulator.study.survival import ordered
from tests.unit.study.test_survival import FALSE_ALARM, check, data_sets, one_study

INF = np.inf


@pytest.fixture(scope="module")
def lifelines():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of lifelines' own imports
        return pytest.importorskip("lifelines")


def pair(time, event, member, treated) -> Pair:
    return Pair(ordered(time, event, member & treated), ordered(time, event, member & ~treated))


def two(first, second) -> Pair:
    """Two groups of one study, all of whom die at these times."""
    return Pair(*(ordered(*one_study(times, [1] * len(times))) for times in (first, second)))


def test_log_rank_is_lifelines(lifelines):
    from lifelines.statistics import logrank_test

    time, event, member = data_sets()
    treated = np.random.default_rng(3).random(time.shape) < 0.4
    statistic, p = log_rank(pair(time, event, member, treated))
    compared = 0
    for study, ours in enumerate(member):
        t, e, arm = time[study][ours], event[study][ours], treated[study][ours]
        if arm.all() or not arm.any() or not e.any() or np.isnan(statistic[study]):
            continue
        theirs = logrank_test(t[arm], t[~arm], e[arm], e[~arm])
        check(statistic[study], theirs.test_statistic)
        check(p[study], theirs.p_value)
        compared += 1
    assert compared > 150


def test_the_p_value_is_that_of_chi_square_far_into_the_tail():
    statistic, p = log_rank(two(range(1, 61), range(100, 160)))
    assert p[0] == pytest.approx(chi2.sf(statistic[0], 1), rel=1e-10)
    assert p[0] < 1e-20


def test_log_rank_size_under_no_difference():
    """V33: rejections at 5 % over 10,000 trials of 2 × 100 with censoring.

    False alarm 2.5e-9 at a size of 0.05, 1.1e-8 at the 0.0508 that 200,000 other trials gave (the test is
    asymptotic). A size of 0.07 is found with probability 0.995.
    """
    rng = np.random.default_rng(33)
    shape = (10_000, 200)
    death, censored = rng.weibull(1.3, shape) * 300, rng.uniform(100.0, 900.0, shape)
    time, event = np.minimum(death, censored), death < censored
    treated = np.broadcast_to(np.arange(200) % 2 == 0, shape)
    _, p = log_rank(pair(time, event, np.ones_like(event), treated))
    low, high = binom.ppf([FALSE_ALARM / 2, 1 - FALSE_ALARM / 2], 10_000, 0.05)
    assert low <= (p <= 0.05).sum() <= high


def test_log_rank_notices_a_difference():
    rng = np.random.default_rng(34)
    treated = np.broadcast_to(np.arange(400) % 2 == 0, (200, 400))
    time = rng.exponential(np.where(treated, 450.0, 300.0))
    _, p = log_rank(pair(time, np.ones_like(treated), np.ones_like(treated), treated))
    assert (p <= 0.05).mean() > 0.9  # hazard ratio 1.5 with 400 deaths: power 0.98


def test_the_hazard_ratio_and_its_interval_are_those_of_lifelines(lifelines):
    """Cox regression on one covariate with Efron's ties, on studies where it has a finite estimate."""
    import pandas as pd

    time, event, member = data_sets(60, seed=8)
    treated = np.random.default_rng(5).random(time.shape) < 0.5
    groups = pair(time, event, member, treated)
    ratio = hazard_ratio(groups)
    ends = [hazard_ratio_end(groups, upper=upper, level=0.9) for upper in (False, True)]
    compared = 0
    for study, ours in enumerate(member):
        if not 0.02 < ratio[study] < 50.0:
            continue
        table = pd.DataFrame({"t": time[study], "e": event[study], "x": treated[study].astype(float)})[ours]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of few events
            fitter = lifelines.CoxPHFitter(alpha=0.1).fit(table, "t", "e", fit_options={"precision": 1e-10})
        theirs = [np.exp(fitter.params_["x"]), *np.exp(fitter.confidence_intervals_.loc["x"])]
        assert [ratio[study], ends[0][study], ends[1][study]] == pytest.approx(theirs, rel=1e-5)
        compared += 1
    assert compared > 40


def test_a_hazard_ratio_by_hand():
    # Of {1, 3} over {2, 4} the partial likelihood is θ/(2θ+2) · 1/(θ+2) · θ/(θ+1), greatest where θ² − θ − 4 = 0.
    assert hazard_ratio(two([1, 3], [2, 4]))[0] == pytest.approx((1 + 17**0.5) / 2, rel=1e-12)


def test_where_no_death_bounds_the_ratio_it_is_zero_or_infinite_and_has_no_interval():
    apart = two([1, 2, 3], [4, 5, 6])  # all of the first group die while the second is whole
    assert hazard_ratio(apart).tolist() == [INF]
    assert hazard_ratio(Pair(apart.second, apart.first)).tolist() == [0.0]
    assert np.isnan(hazard_ratio_end(apart, upper=True, level=0.95)).all()


def test_nobody_in_a_group_or_no_death_leaves_the_comparison_undefined():
    nobody = ordered(np.ones((1, 2)), np.ones((1, 2), dtype=bool), np.zeros((1, 2), dtype=bool))
    alive = ordered(np.ones((1, 2)), np.zeros((1, 2), dtype=bool), np.ones((1, 2), dtype=bool))
    for groups in (Pair(nobody, alive), Pair(alive, nobody), Pair(alive, alive)):
        assert np.isnan(hazard_ratio(groups)).all()
        assert np.isnan(log_rank(groups)).all()


def test_a_log_rank_test_that_no_event_informs_is_undefined_where_lifelines_prints_1(lifelines):
    # Case 12. χ² is 0/0: no death, or none while both groups are under observation.
    from lifelines.statistics import logrank_test

    apart = two([1.0, 2.0, 3.0], [8.0, 9.0])
    after = Pair(
        ordered(np.array([[1.0, 2.0]]), np.zeros((1, 2), dtype=bool), np.ones((1, 2), dtype=bool)),
        ordered(np.array([[8.0, 9.0]]), np.ones((1, 2), dtype=bool), np.ones((1, 2), dtype=bool)),
    )
    assert np.isfinite(log_rank(apart)).all()
    assert np.isnan(log_rank(after)).all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert logrank_test([1.0, 2.0], [8.0, 9.0], [0, 0], [0, 0]).p_value == 1.0


def test_the_groups_exchanged_give_the_inverse_ratio_and_the_same_test():
    time, event, member = data_sets(50, seed=9)
    treated = np.random.default_rng(6).random(time.shape) < 0.5
    one, other = pair(time, event, member, treated), pair(time, event, member, ~treated)
    a, b = hazard_ratio(one), hazard_ratio(other)
    finite = (a > 0.0) & np.isfinite(a)
    assert finite.sum() > 30
    assert np.allclose(a[finite] * b[finite], 1.0, rtol=1e-9)
    assert np.allclose(log_rank(one)[0], log_rank(other)[0], rtol=1e-9, equal_nan=True)


def test_the_interval_of_the_ratio_covers_a_true_one():
    """2,000 trials of 2 × 100 with hazard ratio 0.7: exact binomial bounds of 95 %, false alarm 2.5e-9."""
    rng = np.random.default_rng(35)
    treated = np.broadcast_to(np.arange(200) % 2 == 0, (2000, 200))
    time = rng.exponential(np.where(treated, 1 / 0.7, 1.0))
    groups = pair(time, np.ones_like(treated), np.ones_like(treated), treated)
    low, high = (hazard_ratio_end(groups, upper=upper, level=0.95) for upper in (False, True))
    least, most = binom.ppf([FALSE_ALARM / 2, 1 - FALSE_ALARM / 2], 2000, 0.95)
    assert least <= ((low < 0.7) & (high > 0.7)).sum() <= most


def test_difference_and_ratio_of_what_is_not_reached():
    a, b = np.array([3.0, INF, 3.0, INF, np.nan]), np.array([2.0, 2.0, INF, INF, 1.0])
    assert compared(a, b, "difference").tolist()[:3] == [1.0, INF, -INF]
    assert compared(a, b, "ratio").tolist()[:3] == [1.5, INF, -INF]
    for comparison in ("difference", "ratio"):
        assert np.isnan(compared(a, b, comparison)[3:]).all()
