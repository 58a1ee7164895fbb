"""Competing risks, Markov and semi-Markov occupancy (V25-V27), against closed forms, matrix exponentials and
Volterra equations. α = 2.5e-9 a test, shared among its comparisons."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import brentq

from tests import models, oracles
from tests.oracles import ALPHA, Weibull

# -- V25 ----------------------------------------------------------------------------------------------------

SHAPES = {"constant": 1.0, "rising": 1.7}
WEIGHTS = (1.0, 2.0, 0.5)
UNIT = 200.0  # days


@pytest.fixture(scope="module")
def raced(battery):
    """Three causes, Weibull hazards of one shape a stratum; N = 30,000 a stratum."""
    events = {
        f"cause_{j}": {
            "from": ["alive"],
            "to": f"dead_{j}",
            "hazard": {
                "family": "weibull",
                "shape": SHAPES,
                "scale": {name: UNIT * weight ** (-1.0 / shape) for name, shape in SHAPES.items()},
            },
        }
        for j, weight in enumerate(WEIGHTS)
    }
    dead = [f"dead_{j}" for j in range(len(WEIGHTS))]
    config = models.container(
        events, states=["alive", *dead], absorbing=dead, cohort={"mix": dict.fromkeys(SHAPES, 1)}, horizon=1e6
    )
    return models.simulated(config, seed=battery.seed_of("race"), n=battery.n(60_000))


def p_raced(trajectories, stratum, weights=WEIGHTS):
    """Incidence of each cause at ten times; the share of each; survival from all."""
    own = trajectories.stratum == list(SHAPES).index(stratum)
    shape, grid = SHAPES[stratum], np.linspace(20.0, 400.0, 10)
    time = np.array([trajectories.first_time(j)[own] for j in range(len(weights))])
    counts = (time[:, :, None] <= grid).sum(axis=1)
    expected = oracles.competing_incidence(grid / UNIT, weights, shape)
    total = np.array(weights) / np.sum(weights)

    def all_causes(t):
        return oracles.competing_incidence(t / UNIT, weights, shape).sum(axis=0)

    return {
        "incidence": oracles.smallest(oracles.p_of_count(counts, own.sum(), expected)),
        "share": oracles.smallest(oracles.p_of_count(np.isfinite(time).sum(axis=1), own.sum(), total)),
        "survival": oracles.p_of_curve(time.min(axis=0), all_causes),
    }


@pytest.mark.parametrize("what", ["incidence", "share", "survival"])
@pytest.mark.parametrize("stratum", SHAPES)
def test_competing_causes_divide_the_deaths(raced, stratum, what):
    # V25. Detects: an incidence or a share off by 2.8 points, survival by 3.0 points.
    assert p_raced(raced, stratum)[what] >= ALPHA


def test_causes_add_up_to_all_deaths(raced):
    causes = sum(raced.count(j) for j in range(len(WEIGHTS)))
    assert (causes == 1).all()


def test_a_cause_with_a_wrong_hazard_is_found(raced):
    # 3.8 b: the share of one cause off by 2 × 2.6 points.
    p, n = WEIGHTS[1] / sum(WEIGHTS), len(raced) / 2
    wrong = p + 2.0 * oracles.detectable(np.sqrt(p * (1 - p) / n), checks=3)
    weights = (WEIGHTS[0], (WEIGHTS[0] + WEIGHTS[2]) * wrong / (1 - wrong), WEIGHTS[2])
    assert p_raced(raced, "rising", weights)["share"] < ALPHA


# -- V26 ----------------------------------------------------------------------------------------------------

NAMES = ("well", "ill", "worse", "cured", "dead")
RATES = {
    (0, 1): 0.015,
    (1, 0): 0.010,
    (1, 2): 0.008,
    (2, 1): 0.004,
    (1, 3): 0.002,
    (0, 4): 0.001,
    (1, 4): 0.003,
    (2, 4): 0.012,
}


@cache
def markov_config():
    events = {
        f"{NAMES[i]}_to_{NAMES[j]}": {
            "from": [NAMES[i]],
            "to": NAMES[j],
            "maximum": 1000,
            "clock": "reset" if (i + j) % 2 else "forward",  # without memory it cannot matter
            "hazard": {"family": "exponential", "rate": rate},
        }
        for (i, j), rate in RATES.items()
    }
    return models.container(events, states=NAMES, absorbing=["cured", "dead"], horizon=400.0)


def test_a_markov_model_has_the_occupancy_of_its_generator(battery):
    # V26: five states, back and forth, 20 times by the matrix exponential. N = 30,000. Detects: 2.8 points in a state.
    trajectories = models.simulated(markov_config(), seed=battery.seed_of("markov"), n=battery.n(30_000))
    n, times = len(trajectories), np.linspace(15.0, 395.0, 20)
    expected = oracles.markov_occupancy(RATES, len(NAMES), times)
    counts = np.array([np.bincount(trajectories.state_at(np.full(n, t)), minlength=len(NAMES)) for t in times])
    assert oracles.smallest(oracles.p_of_count(counts, n, expected)) >= ALPHA
    # 3.8 b: one of the eight rates wrong by so much that a state is off by 2 × 2.8 points.
    size = 2.0 * oracles.detectable(0.5 / np.sqrt(n), checks=counts.size)

    def wrong(rate):
        return oracles.markov_occupancy({**RATES, (1, 0): rate}, len(NAMES), times)

    rate = brentq(lambda rate: np.abs(wrong(rate) - expected).max() - size, RATES[1, 0], 0.1)
    assert oracles.smallest(oracles.p_of_count(counts, n, wrong(rate))) < ALPHA


# -- V27 ----------------------------------------------------------------------------------------------------


def test_death_on_a_clock_reset_at_illness_solves_its_integral_equation(battery):
    # V27: illness and death on the forward clock, death after illness on a reset clock. N = 60,000, ten times.
    # Detects: 1.9 points in a state.
    illness, well, after = Weibull(120.0, 1.6), Weibull(400.0, 1.2), Weibull(90.0, 2.5)

    def weibull(law):
        return {"family": "weibull", "median": law.median, "shape": law.shape}

    events = {
        "illness": {"from": ["well"], "to": "ill", "hazard": weibull(illness)},
        "death": {"from": ["well"], "to": "dead", "hazard": weibull(well)},
        "death_ill": {"from": ["ill"], "to": "dead", "clock": "reset", "hazard": weibull(after)},
    }
    config = models.container(events, states=["well", "ill", "dead"], horizon=600.0)
    trajectories = models.simulated(config, seed=battery.seed_of("semi-markov"), n=battery.n(60_000))
    n, times = len(trajectories), np.linspace(40.0, 400.0, 10)
    expected = np.array([oracles.illness_death_occupancy(t, illness, well, after.survival) for t in times])
    states = [trajectories.state_at(np.full(n, t)) for t in times]
    counts = np.array([[(state == s).sum() for s in (0, 1)] for state in states])
    assert oracles.smallest(oracles.p_of_count(counts, n, expected)) >= ALPHA
    # 3.8 b: the same model on a forward clock after illness is another one.
    forward = [
        oracles.illness_death_occupancy(t, illness, well, lambda s, t=t: after.survival(t) / after.survival(t - s))
        for t in times
    ]
    assert oracles.smallest(oracles.p_of_count(counts, n, np.array(forward))) < ALPHA


def test_recovery_and_relapse_solve_their_renewal_equation(battery):
    # V27: alternating renewal, Weibull spells on, gamma spells off, Volterra equation on a grid, error < 1e-6 by
    # Richardson. N = 20,000 (about 8 spells each), 16 times. Detects: 3.4 points.
    on, off = stats.weibull_min(2.0, scale=50.0), stats.gamma(3.0, scale=10.0)
    events = {
        "stop": {
            "from": ["on"],
            "to": "off",
            "clock": "reset",
            "maximum": 1000,
            "hazard": {"family": "weibull", "scale": 50.0, "shape": 2.0},
        },
        "return": {
            "from": ["off"],
            "to": "on",
            "clock": "reset",
            "maximum": 1000,
            "hazard": {"family": "gamma", "scale": 10.0, "shape": 3.0},
        },
    }
    config = models.container(events, states=["on", "off", "dead"], horizon=320.0)
    trajectories = models.simulated(config, seed=battery.seed_of("renewal"), n=battery.n(20_000))
    n = len(trajectories)
    grid, occupied = oracles.alternating_occupancy(on, off, 320.0)
    at = np.arange(90, grid.size, 95)
    counts = [(trajectories.state_at(np.full(n, grid[k])) == 0).sum() for k in at]
    assert oracles.smallest(oracles.p_of_count(counts, n, occupied[at])) >= ALPHA


# -- renewal: a self-transition restarts the clock --------------------------------------------------------------

YEAR, FOLLOWED = 365.25, 1826.0
RISING = {"family": "weibull", "scale": YEAR, "shape": 2}
RECURS = {"maximum": 1000, "hazard": RISING}
RENEWALS = {
    "self-transition": {"relapse": {"from": ["stable"], "to": "stable", "clock": "reset", **RECURS}},
    "since itself": {"relapse": {"from": ["stable"], "set": ["seen"], "clock": {"since": "relapse"}, **RECURS}},
    "two states": {
        "relapse": {"from": ["stable"], "to": "again", "clock": "reset", **RECURS},
        "another": {"from": ["again"], "to": "stable", "clock": "reset", **RECURS},
    },
}
MEAN_RENEWALS = 5.2777  # of shared case 04, independently computed; sd of a patient 1.284


def renewals(how, engine, seed, n):
    config = models.container(
        RENEWALS[how], states=["stable", "again", "dead"], markers=["seen"], horizon=FOLLOWED, n_patients=1_000
    )
    trajectories = models.simulated(models.compiled(config, quiet=True), seed=seed, n=n, engine=engine)
    return sum(trajectories.count(e) for e in range(len(RENEWALS[how])))


def test_the_renewal_equation_gives_the_mean_of_the_case():
    # Deterministic: α = 0.
    assert oracles.renewal_mean(stats.weibull_min(2, scale=YEAR), FOLLOWED) == pytest.approx(MEAN_RENEWALS, abs=5e-5)


@pytest.mark.parametrize(("engine", "patients"), [("reference", 10_000), ("compiled", 1_000_000)])
@pytest.mark.parametrize("how", RENEWALS)
def test_gap_times_give_the_renewal_process(battery, how, engine, patients):
    # The forward clock gave 25.0. Detects a mean off by 0.012 with 10⁶ patients. α = 2.5e-9 each.
    if engine == "compiled":
        pytest.importorskip("numba")
    count = renewals(how, engine, battery.seed_of(f"renewals {how}"), patients)
    expected = oracles.renewal_mean(stats.weibull_min(2, scale=YEAR), FOLLOWED)
    assert oracles.p_of_mean(count, expected) >= ALPHA
