"""One change of hazard at a fixed or a random time, cure and frailty, against closed forms (V20-V22, V29).

α = 2.5e-9 a test. Smallest detectable faults (power 0.999) stand beside each; those of curves by Massart's bound.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq

from tests import models, oracles
from tests.oracles import ALPHA, Weibull

LAW = Weibull(300.0, 1.3)
AT, RATIO, END = 120.0, 0.6, 800.0


# -- V20, V21 ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def switched(battery):
    """Death times, hazard × 0.6 from day 120; N = 120,000."""
    config = models.switch(at=AT, ratio=RATIO, median=LAW.median, shape=LAW.shape)
    return models.simulated(config, seed=battery.seed_of("switch"), n=battery.n(120_000)).absorbed_at


def p_switched(death, ratio=RATIO, at=AT, law=LAW):
    """Whole curve; exact median; restricted mean to day 800."""
    median = oracles.switch_quantile(0.5, law, at, ratio)
    return {
        "curve": oracles.p_of_curve(death, lambda t: 1.0 - oracles.switch_survival(t, law, at, ratio)),
        "median": float(oracles.p_of_count((death <= median).sum(), death.size, 0.5)),
        "mean": oracles.p_of_mean(np.minimum(death, END), oracles.switch_restricted_mean(END, law, at, ratio)),
    }


def worst_gap(ratio=RATIO, at=AT, law=LAW):
    t = np.linspace(1.0, 3000.0, 3000)
    right = oracles.switch_survival(t, LAW, AT, RATIO)
    return float(np.max(np.abs(oracles.switch_survival(t, law, at, ratio) - right)))


@pytest.mark.parametrize("what", ["curve", "median", "mean"])
def test_survival_with_a_switch_of_hazard_is_exact(switched, what):
    # V20, V21. Detects: gap of the curve 1.5 points (a ratio of 0.63, a switch 20 days late, a median off by 3.2 %, a
    # shape by 4 %); median off by 1.3 points of probability; RMST by 7 of 428 days.
    assert p_switched(switched)[what] >= ALPHA


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: {"ratio": RATIO + x},
        lambda x: {"at": AT + 1000.0 * x},
        lambda x: {"law": Weibull(LAW.median * (1.0 + x), LAW.shape)},
        lambda x: {"law": Weibull(LAW.median, LAW.shape * (1.0 + x))},
    ],
    ids=["ratio", "day", "median", "shape"],
)
def test_twice_the_detectable_fault_is_found(switched, wrong):
    # VERIFICATION 3.8 b: a hazard ratio, day, median or shape whose curve is off by 2 × the detectable gap.
    size = 2.0 * oracles.detectable_gap(switched.size)
    x = brentq(lambda x: worst_gap(**wrong(x)) - size, 0.0, 0.4)
    assert p_switched(switched, **wrong(x))["curve"] < ALPHA


# -- V22 ----------------------------------------------------------------------------------------------------

RANDOM = {"apart": (0.004, 0.010, 0.5), "together": (0.004, 0.004, 2.0)}  # the second: d = μ + h − r·h = 0


@pytest.fixture(scope="module")
def random_onset(battery):
    """Onset and death with an exponential onset, two strata; N = 60,000 each."""

    def by_stratum(k):
        return {name: values[k] for name, values in RANDOM.items()}

    config = models.random_onset(
        hazard=by_stratum(0),
        onset=by_stratum(1),
        ratio=by_stratum(2),
        cohort={"mix": dict.fromkeys(RANDOM, 1)},
        horizon=1e6,
    )
    trajectories = models.simulated(config, seed=battery.seed_of("random onset"), n=battery.n(120_000))
    return {
        name: (
            trajectories.first_time(0)[trajectories.stratum == s],
            trajectories.absorbed_at[trajectories.stratum == s],
        )
        for s, name in enumerate(RANDOM)
    }


def p_random(onset, death, hazard, mu, ratio):
    """Whole curve; mean; share with onset before death."""
    return {
        "curve": oracles.p_of_curve(death, lambda t: 1.0 - oracles.random_onset_survival(t, hazard, mu, ratio)),
        "mean": oracles.p_of_mean(death, oracles.random_onset_mean(hazard, mu, ratio)),
        "onset": float(oracles.p_of_count(np.isfinite(onset).sum(), onset.size, mu / (mu + hazard))),
    }


@pytest.mark.parametrize("what", ["curve", "mean", "onset"])
@pytest.mark.parametrize("stratum", RANDOM)
def test_survival_with_a_random_onset_is_exact(random_onset, stratum, what):
    # V22. Detects: gap of 2.1 points; mean by 4 %; share with onset by 1.7 points.
    assert p_random(*random_onset[stratum], *RANDOM[stratum])[what] >= ALPHA


def test_a_fault_in_the_rate_of_onset_is_found(random_onset):
    # 3.8 b: 2 × 1.7 points of the share with onset.
    onset, death = random_onset["apart"]
    hazard, mu, ratio = RANDOM["apart"]
    p = mu / (mu + hazard)
    wrong = p + 2.0 * oracles.detectable(np.sqrt(p * (1 - p) / onset.size))
    assert p_random(onset, death, hazard, hazard * wrong / (1 - wrong), ratio)["onset"] < ALPHA


# -- V29 ----------------------------------------------------------------------------------------------------


def test_a_cure_fraction_never_dies_of_it(battery):
    # V29: S(t) = 1 − p + p·e^{−H}, the hazard ratio acting on the susceptibles. N = 60,000. Detects: 2.1 points.
    hazard = {"family": "weibull", "median": 200.0, "shape": 1.4, "probability": 0.65}
    death = {"from": ["alive"], "to": "dead", "hazard": hazard, "ratios": [{"state": "alive", "ratio": 1.5}]}
    trajectories = models.simulated(
        models.container({"death": death}), seed=battery.seed_of("cure"), n=battery.n(60_000)
    )
    law = Weibull(200.0 * 1.5 ** (-1 / 1.4), 1.4)
    assert oracles.p_of_curve(trajectories.absorbed_at, lambda t: 1.0 - oracles.cure_survival(t, law, 0.65)) >= ALPHA
    assert oracles.p_of_count(np.isfinite(trajectories.absorbed_at).sum(), len(trajectories), 0.65) >= ALPHA


def test_a_covariate_is_a_frailty(battery):
    # V29: log-normal frailty, by quadrature over the covariate. N = 60,000. Detects: 2.1 points of the curve.
    death = models.death(200.0, 1.4, ratios=[{"covariate": "x", "ratio": 2.0, "per": 0.5, "reference": 0.5}])
    config = models.container({"death": death}, cohort={"covariates": {"x": {"normal": [0.5, 0.4]}}}, horizon=1e7)
    trajectories = models.simulated(config, seed=battery.seed_of("frailty"), n=battery.n(60_000))
    sd = 0.4 * np.log(2.0) / 0.5

    def incidence(t):
        return 1.0 - oracles.log_normal_frailty_survival(t, Weibull(200.0, 1.4), sd)

    assert oracles.p_of_curve(trajectories.absorbed_at, incidence) >= ALPHA
    assert oracles.p_of_curve(trajectories.absorbed_at, Weibull(200.0, 1.4).survival) < ALPHA


def test_an_odds_ratio_of_an_arm_acts_on_the_share_that_ever_has_it(battery):
    # p = 0.3 in one arm, OR·p/(1 − p + OR·p) in the other. N = 20,000 an arm. Detects: 3.1 points.
    hazard = {"family": "exponential", "mean": 50.0, "probability": 0.3}
    response = {"from": ["alive"], "set": ["responded"], "hazard": hazard}
    arms = {
        "control": {"n_patients": 500, "reference": True},
        "active": {"n_patients": 500, "effects": {"odds_ratio": {"response": 2.5}}},
    }
    config = models.container({"response": response}, markers=["responded"], cohort={"arms": arms}, horizon=1e5)
    trajectories = models.simulated(config, seed=battery.seed_of("odds"), n=battery.n(40_000))
    had = [np.isfinite(trajectories.first_time(0))[trajectories.arm == arm] for arm in (0, 1)]
    p = oracles.p_of_count([x.sum() for x in had], [x.size for x in had], [0.3, 2.5 * 0.3 / (0.7 + 2.5 * 0.3)])
    assert oracles.smallest(p) >= ALPHA
