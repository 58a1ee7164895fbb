"""Accrual, data cut and loss (V31); the immortal-time guard (V34). α = 2.5e-9 a test."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.running.experiment import design_of
from simulator.study.observe import observe
from simulator.study.survival import greenwood, kaplan_meier
from tests import models, oracles
from tests.oracles import ALPHA

# -- V31 ----------------------------------------------------------------------------------------------------

HAZARD, ACCRUAL, CUT = 0.002, 600.0, 1000.0


@pytest.fixture(scope="module")
def exposed(battery):
    """Patients of a constant hazard, N = 40,000, and how a study design is put over them."""

    def experiment(**study):
        death = {"from": ["alive"], "to": "dead", "hazard": {"family": "exponential", "rate": HAZARD}}
        study = {"accrual": {"uniform": [0.0, ACCRUAL]}, "data_cut": CUT, **study}
        return models.compiled(models.container({"death": death}, horizon=2000.0, study=study))

    seed = battery.seed_of("follow-up")
    trajectories = models.simulated(experiment(), seed=seed, n=battery.n(40_000))
    return lambda **study: observe(trajectories, design_of(experiment(**study)), seed=seed)


@pytest.mark.parametrize("loss", [0.0, 0.001])
def test_deaths_seen_by_the_data_cut_are_exact(exposed, loss):
    # V31, with and without loss to follow-up. Detects: 2.2 points of the share of deaths, 4 % of the time observed.
    study = {"loss_to_follow_up": {"family": "exponential", "rate": loss}} if loss else {}
    data = exposed(**study)
    expected = oracles.event_by_cut(HAZARD, ACCRUAL, CUT, loss)
    n = data.died.size
    assert oracles.p_of_count(data.died.sum(), n, expected) >= ALPHA
    assert oracles.p_of_mean(data.observed.ravel(), expected / HAZARD) >= ALPHA  # E[N] = h·E[time observed]
    # 3.8 b: a cut or an accrual by which the share is off by 2 × 2.2 points.
    size = 2.0 * oracles.detectable(np.sqrt(expected * (1 - expected) / n))
    later = next(c for c in np.arange(CUT, 2000.0) if oracles.event_by_cut(HAZARD, ACCRUAL, c, loss) > expected + size)
    assert oracles.p_of_count(data.died.sum(), n, oracles.event_by_cut(HAZARD, ACCRUAL, later, loss)) < ALPHA


def test_censoring_does_not_bend_the_curve(exposed):
    # Kaplan–Meier of the censored study against the true survival, eight times up to day 800. Detects: 2.9 points.
    data = exposed(loss_to_follow_up={"family": "exponential", "rate": 0.001})
    time, died = data.observed.reshape(1, -1), data.died.reshape(1, -1)
    at = np.linspace(100.0, 800.0, 8)
    all_patients = np.ones_like(died)
    error = np.sqrt(greenwood(time, died, all_patients, at)[0])
    z = (kaplan_meier(time, died, all_patients, at)[0] - np.exp(-HAZARD * at)) / error
    assert oracles.smallest(oracles.p_of_z(z)) >= ALPHA


# -- V34 ----------------------------------------------------------------------------------------------------

H, MU = 0.08, 0.15  # a day; onset does nothing


@pytest.fixture(scope="module")
def unaffected(battery):
    """Onset and death times where onset has hazard ratio 1; N = 40,000."""
    config = models.random_onset(hazard=H, onset=MU, ratio=1.0, horizon=1e5)
    trajectories = models.simulated(config, seed=battery.seed_of("immortal time"), n=battery.n(40_000))
    return trajectories.first_time(0), trajectories.absorbed_at


def log_rate(time, deaths=None):
    """Log of deaths over person-time of independent patients, and its standard error by the delta method."""
    deaths = np.ones(time.size) if deaths is None else deaths.astype(float)
    rate = deaths.sum() / time.sum()
    return np.log(rate), np.std(deaths - rate * time) * np.sqrt(time.size) / deaths.sum()


def p_of_ratio(one, other, expected):
    (a, sa), (b, sb) = one, other
    return float(oracles.p_of_z((a - b - np.log(expected)) / np.hypot(sa, sb)))


def test_the_naive_comparison_is_biased_by_exactly_so_much(unaffected):
    # V34: "ever" against "never" has expectation 0.2581 under no effect at all. Detects: 9 % of the ratio.
    onset, death = unaffected
    ever = np.isfinite(onset)
    expected = oracles.naive_rate_ratio(H, MU)
    assert expected == pytest.approx(0.2581, abs=5e-5)
    assert p_of_ratio(log_rate(death[ever]), log_rate(death[~ever]), expected) >= ALPHA
    assert p_of_ratio(log_rate(death[ever]), log_rate(death[~ever]), 1.0) < ALPHA


def test_the_time_dependent_comparison_sees_no_effect(unaffected):
    # V34: person-time before onset counts as before. Detects: a hazard ratio off by 10 %.
    onset, death = unaffected
    ever = np.isfinite(onset)
    before = log_rate(np.minimum(onset, death), ~ever)
    after = log_rate(death[ever] - onset[ever])
    assert p_of_ratio(after, before, 1.0) >= ALPHA
    assert p_of_ratio(after, before, 1.2) < ALPHA


@pytest.mark.parametrize("landmark", [3.0, 10.0])
def test_the_landmark_comparison_sees_no_effect(unaffected, landmark):
    # V34: patients alive at a landmark, by what had happened until then. Detects: a hazard ratio off by 11 % (day 3)
    # and 17 % (day 10).
    onset, death = unaffected
    alive = death > landmark
    had = onset <= landmark
    with_onset = log_rate(death[alive & had] - landmark)
    assert p_of_ratio(with_onset, log_rate(death[alive & ~had] - landmark), 1.0) >= ALPHA
    assert p_of_ratio(with_onset, log_rate(death[alive & ~had] - landmark), 1.4) < ALPHA
