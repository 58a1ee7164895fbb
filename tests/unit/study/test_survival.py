"""Survival estimators against lifelines, brute force in exact fractions, and their own sampling theory."""

from __future__ import annotations

from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from scipy.stats import binom

from simulator.study.confidence import landmark_end
from simulator.study.survival import (
    cumulative_incidence,
    curve,
    curve_at,
    greenwood,
    kaplan_meier,
    kaplan_meier_median,
    kaplan_meier_median_midpoint,
    landmark,
    nelson_aalen,
    number_at_risk,
    ordered,
    read,
    restricted_mean,
    restricted_mean_of,
)

INF = np.inf
FALSE_ALARM = 2.5e-9  # VERIFICATION section 3: 1e-6 over 400 checks


def rows(*values, dtype=float):
    return np.array(values, dtype=dtype)


def one_study(time, event):
    time, event = rows(list(time)), rows(list(event), dtype=bool)
    return time, event, np.ones_like(event)


def data_sets(n_sets=200, n=37, *, tied=True, seed=20):
    """Random studies with censoring, ties within and between events and censorings, groups of all sizes."""
    rng = np.random.default_rng(seed)
    time = rng.weibull(rng.uniform(0.5, 3.0, (n_sets, 1)), (n_sets, n)) * 20
    time = np.ceil(time) if tied else time
    event = rng.random((n_sets, n)) < rng.uniform(0.2, 1.0, (n_sets, 1))
    member = np.arange(n) < rng.integers(2, n + 1, (n_sets, 1))
    member = rng.permuted(member, axis=1)
    return time, event, member


# -- known answers --------------------------------------------------------------------------------------


def test_product_limit_estimate_by_hand():
    # One of 5 dies at 1, two of 4 at 3, where one is censored after them; the last is censored at 5.
    time, event, member = one_study([1, 3, 3, 3, 5], [1, 1, 1, 0, 0])
    at = np.array([0.0, 0.999, 1.0, 2.9, 3.0, 5.0, 100.0])
    expected = [1, 1, 4 / 5, 4 / 5, 4 / 5 * 2 / 4, 0.4, np.nan]
    assert kaplan_meier(time, event, member, at)[0] == pytest.approx(expected, abs=1e-15, nan_ok=True)
    days = np.array([0.0, 1.0, 1.5, 3.0, 5.0, 6.0])
    assert number_at_risk(time, member, days)[0].tolist() == [5, 5, 4, 4, 1, 0]


def test_the_median_is_the_first_time_at_or_below_one_half():
    time, event, member = one_study([1, 2, 3, 4], [1, 1, 1, 1])
    assert kaplan_meier_median(time, event, member)[0] == 2.0
    assert kaplan_meier_median_midpoint(time, event, member)[0] == 2.5  # R: survfit(Surv(1:4, rep(1, 4)) ~ 1)
    time, event, member = one_study([1, 2, 3], [1, 1, 1])
    assert kaplan_meier_median(time, event, member)[0] == 2.0
    assert kaplan_meier_median_midpoint(time, event, member)[0] == 2.0


def test_the_median_of_an_even_number_of_deaths_is_the_lower_middle_one():
    # At n = 24, 38, 44, … the floating product at that death is 0.5000000000000001 or more.
    for n in range(2, 200, 2):
        time, event, member = one_study(np.arange(1, n + 1), np.ones(n))
        assert kaplan_meier_median(time, event, member)[0] == n / 2
        assert kaplan_meier_median_midpoint(time, event, member)[0] == n / 2 + 0.5


def test_the_midpoint_ends_at_an_event_and_not_at_a_censoring():
    time, event, member = one_study([1, 2, 3, 4], [1, 1, 0, 1])
    assert kaplan_meier_median_midpoint(time, event, member)[0] == 3.0
    time, event, member = one_study([1, 2, 3, 4], [1, 1, 0, 0])
    assert kaplan_meier_median_midpoint(time, event, member)[0] == 2.0  # no later event: its beginning


def test_not_reached_is_infinite_and_an_empty_group_is_undefined():
    time, event = rows([1, 2, 3], [1, 2, 3]), rows([1, 0, 0], [1, 1, 1], dtype=bool)
    member = rows([1, 1, 1], [0, 0, 0], dtype=bool)
    for median in (kaplan_meier_median, kaplan_meier_median_midpoint):
        found = median(time, event, member)
        assert found[0] == INF
        assert np.isnan(found[1])
    assert np.isnan(landmark(time, event, member, 2.0)[1])
    assert np.isnan(restricted_mean(time, event, member, 2.0)[1])
    assert number_at_risk(time, member, np.array([0.0]))[1, 0] == 0


def test_beyond_all_follow_up_a_curve_is_undefined_unless_it_reached_zero():
    # By hand: of three patients one dies at 1; the last observation is at 3, a censoring, then a death.
    time, member = rows([1, 2, 3], [1, 2, 3]), np.ones((2, 3), dtype=bool)
    event = rows([1, 0, 0], [1, 0, 1], dtype=bool)
    at = np.array([2.5, 3.0, 3.0000001, 0.5, 9.0])
    expected = [[2 / 3, 2 / 3, np.nan, 1.0, np.nan], [2 / 3, 0.0, 0.0, 1.0, 0.0]]
    np.testing.assert_allclose(kaplan_meier(time, event, member, at), expected, rtol=1e-15)
    group = ordered(time, event, member)
    np.testing.assert_allclose(curve_at(group, at, extend=True)[0], [2 / 3, 2 / 3, 2 / 3, 1.0, 2 / 3], rtol=1e-15)
    areas = {3.0: [1 + 4 / 3, 1 + 4 / 3], 4.0: [np.nan, 1 + 4 / 3]}
    for horizon, area in areas.items():
        np.testing.assert_allclose(restricted_mean(time, event, member, horizon), area, rtol=1e-15)
    assert restricted_mean_of(group, 4.0, extend=True)[0] == pytest.approx(1 + 6 / 3)
    for upper in (False, True):
        end = partial(landmark_end, group, upper=upper, level=0.95, scale="plain")
        assert np.isnan(end(3.5)[0])
        assert end(3.5, extend=True)[0] == end(3.0)[0]
    assert landmark_end(group, 3.5, upper=False, level=0.95, scale="plain")[1] == 0.0


def test_those_outside_the_group_do_not_count():
    time, event, member = data_sets(20)
    for study in range(20):
        ours = member[study]
        alone = time[study][ours][None], event[study][ours][None], np.ones((1, ours.sum()), bool)
        at = np.arange(0.0, 60.0, 5.0)
        assert np.array_equal(kaplan_meier(time, event, member, at)[study], kaplan_meier(*alone, at)[0], equal_nan=True)


@pytest.mark.parametrize("seed", range(5))
def test_the_median_agrees_with_exact_fractions(seed):
    # Small studies with many censorings reach S(t) = 1/2 exactly, which floating products miss.
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 15))
    time = rng.integers(1, 12, (400, n)).astype(float)
    event = rng.random((400, n)) < 0.7
    member = np.ones_like(event)
    first, middle = (f(time, event, member) for f in (kaplan_meier_median, kaplan_meier_median_midpoint))
    at_half = 0
    for study in range(400):
        survival, reached, below = Fraction(1), INF, INF
        for t in np.unique(time[study]):
            at_risk = int((time[study] >= t).sum())
            survival *= Fraction(at_risk - int((event[study] & (time[study] == t)).sum()), at_risk)
            if survival <= Fraction(1, 2) and reached == INF:
                reached, at_half = t, at_half + (survival == Fraction(1, 2))
                flat = survival == Fraction(1, 2)
            if survival < Fraction(1, 2) and below == INF:
                below = t
        assert first[study] == reached
        expected = (reached + below) / 2 if reached < INF and flat and below < INF else reached
        assert middle[study] == expected
    assert at_half > 10 or n % 2


# -- compiled walks against the formulas on whole arrays ------------------------------------------------


def by_arrays(time, event, member, level):
    """First event at which the cumulative product is at most a level: the formula, without a walk."""
    group = ordered(time, event, member)
    reached = (curve(group) <= level) & group.event
    first = np.take_along_axis(group.time, reached.argmax(axis=1)[:, None], axis=1)[:, 0]
    return np.where(group.size > 0, np.where(reached.any(axis=1), first, INF), np.nan)


@pytest.mark.parametrize("tied", [True, False])
def test_walks_are_the_cumulative_product_to_the_bit(tied):
    time, event, member = data_sets(400, 60, tied=tied)
    member[0] = False
    group = ordered(time, event, member)
    for row in range(len(time)):
        ours = member[row]
        order = np.lexsort([~event[row, ours], time[row, ours]])
        n = ours.sum()
        assert group.time[row, :n].tolist() == time[row, ours][order].tolist()
        assert group.event[row, :n].tolist() == event[row, ours][order].tolist()
    half = 0.5 + 2.0**-26
    assert kaplan_meier_median(time, event, member).tobytes() == by_arrays(time, event, member, half).tobytes()
    below = by_arrays(time, event, member, np.nextafter(0.5 - 2.0**-26, 0.0))
    first = by_arrays(time, event, member, half)
    flat = np.isfinite(below) & (below > first)
    midpoint = np.where(flat, (first + np.where(flat, below, first)) / 2, first)
    assert kaplan_meier_median_midpoint(time, event, member).tobytes() == midpoint.tobytes()
    at = np.concatenate([np.linspace(0.0, 60.0, 61), time[:3].ravel(), [0.0]])  # not in order
    expected = read(group, curve(group), at, before=1.0)
    assert kaplan_meier(time, event, member, at).tobytes() == expected.tobytes()
    assert landmark(time, event, member, at[7]).tobytes() == np.ascontiguousarray(expected[:, 7]).tobytes()
    at_risk = ((time[:, None, :] >= at[:, None]) & member[:, None, :]).sum(axis=2)
    assert np.array_equal(number_at_risk(time, member, at), at_risk)


# -- V32: against lifelines -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lifelines():
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of lifelines' own imports
        return pytest.importorskip("lifelines")


@pytest.fixture(scope="module")
def fitted(lifelines):
    """The random studies and their Kaplan–Meier fits."""
    time, event, member = data_sets()
    fits = [lifelines.KaplanMeierFitter().fit(t[ours], e[ours]) for t, e, ours in zip(time, event, member, strict=True)]
    return time, event, member, fits


def check(found, expected):
    assert np.max(np.abs(found - expected), initial=0.0) <= 1e-10


def check_followed(found, expected, time, event, at):
    """Where one study (N,) is followed, or its curve has reached 0, all is as expected; NaN elsewhere."""
    last = time.max()
    followed = (at <= last) | event[time == last].all()
    assert np.isnan(found[~followed]).all()
    check(found[followed], expected[followed])
    return int((~followed).sum())


def test_kaplan_meier_and_at_risk_are_lifelines(fitted):
    time, event, member, fits = fitted
    at = np.arange(0.0, 80.0, 0.5)
    curves, at_risk = kaplan_meier(time, event, member, at), number_at_risk(time, member, at)
    beyond = 0
    for study, fitter in enumerate(fits):
        ours = time[study][member[study]], event[study][member[study]]
        beyond += check_followed(curves[study], fitter.predict(at).to_numpy(), *ours, at)
        table = fitter.event_table["at_risk"].iloc[1:]
        assert np.array_equal(at_risk[study][np.isin(at, table.index)], table[table.index <= at[-1]])
    assert beyond > 100


def test_nelson_aalen_is_lifelines(lifelines):
    time, event, member = data_sets()
    at = np.arange(0.0, 80.0, 0.5)
    curves = nelson_aalen(time, event, member, at)
    for study, ours in enumerate(member):
        fitter = lifelines.NelsonAalenFitter(nelson_aalen_smoothing=False)
        fitter.fit(time[study][ours], event[study][ours])
        check_followed(curves[study], fitter.predict(at).to_numpy(), time[study][ours], event[study][ours], at)


def test_restricted_mean_is_lifelines(fitted):
    from lifelines.utils import restricted_mean_survival_time

    time, event, member, fits = fitted
    found = {horizon: restricted_mean(time, event, member, horizon) for horizon in (10.0, 25.0, 60.0)}
    extended = restricted_mean_of(ordered(time, event, member), 60.0, extend=True)
    for study, fitter in enumerate(fits):
        horizon = (10.0, 25.0, 60.0)[study % 3]
        ours, expected = member[study], restricted_mean_survival_time(fitter, t=horizon)
        at, known = np.array([horizon]), np.array([expected])
        check_followed(found[horizon][study, None], known, time[study][ours], event[study][ours], at)
        if horizon == 60.0:
            check(extended[study], expected)
    assert 5 < np.isnan(found[60.0]).sum() < len(fits)


def test_cumulative_incidence_is_lifelines_without_ties(lifelines):
    # Without ties: lifelines breaks them by chance. With ties: the test below.
    time, event, member = data_sets(tied=False)
    cause = np.where(event, np.random.default_rng(8).integers(1, 3, event.shape), 0)
    at = np.arange(0.0, 80.0, 0.5)
    found = cumulative_incidence(time, cause == 1, cause == 2, member, at)
    for study, ours in enumerate(member):
        fitter = lifelines.AalenJohansenFitter(calculate_variance=False)
        fitter.fit(time[study][ours], cause[study][ours], event_of_interest=1)
        check_followed(found[study], fitter.predict(at).to_numpy(), time[study][ours], event[study][ours], at)


def test_cumulative_incidence_with_ties_is_the_sum_by_definition():
    time, event, member = data_sets(n_sets=60)
    cause = np.where(event, np.random.default_rng(8).integers(1, 3, event.shape), 0)
    at = np.arange(0.0, 80.0, 1.0)
    found = cumulative_incidence(time, cause == 1, cause == 2, member, at)
    for study, ours in enumerate(member):
        t, c = time[study][ours], cause[study][ours]
        survival, total, steps = 1.0, 0.0, np.zeros(at.size)
        for day in np.unique(t):
            at_risk = (t >= day).sum()
            total += survival * ((t == day) & (c == 1)).sum() / at_risk
            survival *= 1 - ((t == day) & (c > 0)).sum() / at_risk
            steps[at >= day] = total
        check_followed(found[study], steps, t, c > 0, at)


def test_incidences_and_survival_sum_to_one():
    time, event, member = data_sets()
    cause = np.where(event, np.random.default_rng(8).integers(1, 3, event.shape), 0)
    at = np.arange(0.0, 80.0, 0.5)
    parts = [cumulative_incidence(time, cause == j, (cause != j) & (cause > 0), member, at) for j in (1, 2)]
    total = parts[0] + parts[1] + kaplan_meier(time, event, member, at)
    check(total[~np.isnan(total)], 1.0)
    assert 0.1 < np.isnan(total).mean() < 0.9


def test_greenwood_is_the_formula_and_undefined_once_nobody_is_left():
    time, event, member = data_sets(n_sets=60)
    at = np.arange(0.0, 80.0, 1.0)
    found = greenwood(time, event, member, at)
    survival = kaplan_meier(time, event, member, at)
    for study, ours in enumerate(member):
        t, e = time[study][ours], event[study][ours]
        for i, day in enumerate(at):
            terms = 0.0
            for death in np.unique(t[e & (t <= day)]):
                n, d = int((t >= death).sum()), int((e & (t == death)).sum())
                terms += d / (n * (n - d)) if n > d else INF
            if survival[study, i] == 0 or (day > t.max() and not e[t == t.max()].all()):
                assert np.isnan(found[study, i])
            else:
                assert found[study, i] == pytest.approx(survival[study, i] ** 2 * terms, rel=1e-12)


# -- sampling theory ------------------------------------------------------------------------------------


def test_greenwood_intervals_cover_mid_curve():
    """V32: intervals of 95 % over 2,000 studies of 400, exponential with uniform censoring, S = 0.5 and 0.7.

    False alarm 2.5e-9 at each of the two, if they cover 0.95 (200,000 other studies: 0.949 and 0.951; at
    n = 200 they cover 0.943). A coverage of 0.90 is found with probability 0.997.
    """
    rng = np.random.default_rng(32)
    shape = (2000, 400)
    death, censored = rng.exponential(300.0, shape), rng.uniform(200.0, 1500.0, shape)
    time, event = np.minimum(death, censored), death < censored
    for level in (0.5, 0.7):
        at = np.array([-300.0 * np.log(level)])
        survival = kaplan_meier(time, event, np.ones_like(event), at)[:, 0]
        error = np.sqrt(greenwood(time, event, np.ones_like(event), at)[:, 0])
        covered = int((np.abs(survival - level) <= 1.959964 * error).sum())
        low, high = binom.ppf([FALSE_ALARM / 2, 1 - FALSE_ALARM / 2], 2000, 0.95)
        assert low <= covered <= high


def test_uncensored_estimates_are_shares_alive():
    rng = np.random.default_rng(35)
    time = rng.exponential(300.0, (50, 31))
    event = np.ones_like(time, dtype=bool)
    at = np.array([100.0, 365.0])
    shares = np.stack([(time > t).mean(axis=1) for t in at], axis=1)
    assert np.allclose(kaplan_meier(time, event, event, at), shares, rtol=0, atol=1e-14)
    assert np.array_equal(kaplan_meier_median(time, event, event), np.sort(time, axis=1)[:, 15])
