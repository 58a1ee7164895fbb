"""Every time is what the draws say, by an independent replay in numpy (V8); and it moves as it must (V15-V17).

Deterministic: α = 0. The replay knows the exported draws (`kernels.rng.uniforms`), numpy and scipy, and shares no
clock, budget or hazard kernel with the engine.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from tests import models
from tests.oracles import Weibull

SEED = 47
EXACT = 1e-12
"""Largest relative error of a time: a dozen operations of one or two units in the last place each."""
LAW = Weibull(300.0, 1.3)


def error(simulated, expected):
    """Largest relative error of times; what never happens must never happen in both."""
    assert (np.isinf(simulated) == np.isinf(expected)).all()
    seen = np.isfinite(expected)
    return float(np.max(np.abs(simulated[seen] - expected[seen]) / expected[seen]))


def exponential(trajectories, stream, occurrence=0):
    return -np.log(models.draws(trajectories, stream, SEED, occurrence))


def piecewise(budget, law, changes, ratios):
    """First time at which Σ r·ΔH reaches the budget; ``changes`` (k, n) ascending times, ``ratios`` k + 1 values."""
    spent, start = np.zeros(budget.size), np.zeros(budget.size)
    time = np.full(budget.size, np.nan)
    for k, ratio in enumerate(ratios):
        end = law.hazard(changes[k]) if k < len(changes) else np.full(budget.size, np.inf)
        more = ratio * np.where(np.isinf(start), 0.0, end - np.where(np.isinf(start), 0.0, start))
        here = np.isnan(time) & (spent + more >= budget)
        time[here] = law.inverse(start[here] + (budget[here] - spent[here]) / ratio)
        spent, start = spent + more, end
    return time


# -- V8 ---------------------------------------------------------------------------------------------------


def announced(ratio=0.6, wane=1.5, **more):
    """Return a cure mixture of onset, a timer that ends its effect, death on a Weibull clock."""
    events = {
        "onset": {
            "from": ["alive"],
            "set": ["responded"],
            "hazard": {"family": "log_normal", "median": 42.0, "sigma": 0.5, "probability": 0.6},
        },
        "wane": {
            "from": ["alive"],
            "set": ["waned"],
            "clock": {"since": "onset"},
            "hazard": {"family": "fixed", "delay": 90.0},
        },
        "death": models.death(
            LAW.median,
            LAW.shape,
            ratios=[{"marker": "responded", "ratio": ratio}, {"marker": "waned", "ratio": wane}],
        ),
    }
    return models.container(events, markers=["responded", "waned"], **more)


def replay(trajectories, ratio=0.6, wane=1.5, horizon=models.HORIZON):
    """Onset, wane and death of every patient from their draws."""
    ever = models.draws(trajectories, "onset.ever", SEED) < 0.6
    onset = np.where(ever, 42.0 * np.exp(-0.5 * special.ndtri(models.draws(trajectories, "onset", SEED))), np.inf)
    waned = onset + 90.0
    death = piecewise(exponential(trajectories, "death"), LAW, [onset, waned], [1.0, ratio, ratio * wane])
    return [np.where((t < np.minimum(death, horizon)) | (t == death), t, np.inf) for t in (onset, waned, death)]


def test_every_time_follows_from_the_draws():
    # V8: 20,000 patients; 1e5 in tests/verification.
    trajectories = models.simulated(announced(), seed=SEED, n=20_000)
    for event, expected in enumerate(replay(trajectories)):
        assert error(trajectories.first_time(event), expected) <= EXACT
    assert len(trajectories.log_time) == sum(np.isfinite(t).sum() for t in replay(trajectories))


def test_the_replay_notices_a_budget_that_is_drawn_anew(monkeypatch):
    # Planted: a new budget at every change of hazard ratio. By the memoryless budget no statistic can see it;
    # luck can: the same patient would have other luck under another treatment.
    from simulator.engines import reference

    usual = reference.Life.settle

    def settle(self, event, now, *, renew=False):
        anew = now > 0.0 and self.rate_now(event) != self.clocks[event].rate
        usual(self, event, now, renew=renew or anew)

    monkeypatch.setattr(reference.Life, "settle", settle)
    trajectories = models.simulated(announced(), seed=SEED, n=1_000, here=True, engine="reference")
    assert error(trajectories.first_time(0), replay(trajectories)[0]) <= EXACT
    changed = trajectories.first_time(2) != replay(trajectories)[2]
    assert np.abs(np.log(trajectories.first_time(2)[changed] / replay(trajectories)[2][changed])).max() > 0.1


def test_every_cycle_follows_from_the_draws():
    # Visits at sums of uniform intervals, one success a visit, onset after a lag; the course stops at onset.
    p, lag, most = 0.3, 24.0, 7
    events = {
        "onset": {
            "from": ["alive"],
            "set": ["responded"],
            "per_administration": {"probability": p, "ever": 0.8, "lag": lag, "withhold": True},
        },
        "death": models.death(LAW.median, LAW.shape, ratios=[{"marker": "responded", "ratio": 0.5}]),
    }
    course = {
        "start": 2.0,
        "interval": {"uniform": [14.0, 21.0]},
        "max_administrations": most,
        "response": "per_administration",
        "stop": {"markers": ["responded"]},
    }
    config = models.container(events, markers=["responded"], course=course)
    trajectories = models.simulated(config, seed=SEED, n=5_000)
    steps = [14.0 + 7.0 * models.draws(trajectories, "visit", SEED, k) for k in range(most + 2)]
    visits = 2.0 + np.cumsum([np.zeros(len(trajectories)), *steps], axis=0)
    success = np.array([models.draws(trajectories, "onset", SEED, k) < p for k in range(most)])
    success &= models.draws(trajectories, "onset.ever", SEED) < 0.8
    first = np.where(success.any(axis=0), success.argmax(axis=0), most)
    onset = np.where(first < most, visits[np.minimum(first, most), np.arange(first.size)] + lag, np.inf)
    death = piecewise(exponential(trajectories, "death"), LAW, [onset], [1.0, 0.5])
    responded = np.where(onset < death, onset, np.inf)
    assert error(trajectories.first_time(0), responded) <= EXACT
    assert error(trajectories.first_time(1), death) <= EXACT
    # The visit that follows a success within its lag is withheld; those before it are given while alive.
    given = (np.arange(most)[:, None] <= first) & (visits[:most] < death)
    assert trajectories.count(trajectories.codes.administration).tolist() == given.sum(axis=0).tolist()


def test_a_reset_clock_has_a_budget_for_every_visit_of_a_state():
    # Recovery: sojourn k is H⁻¹ of the budget of occurrence k, in both states.
    well, ill = Weibull(60.0, 1.6), Weibull(25.0, 0.8)
    events = {
        "fall": {
            "from": ["well"],
            "to": "ill",
            "clock": "reset",
            "maximum": 1000,
            "hazard": {"family": "weibull", "median": well.median, "shape": well.shape},
        },
        "rise": {
            "from": ["ill"],
            "to": "well",
            "clock": "reset",
            "maximum": 1000,
            "hazard": {"family": "weibull", "median": ill.median, "shape": ill.shape},
        },
        "death": {"from": ["ill"], "to": "dead", "hazard": {"family": "exponential", "mean": 400.0}},
    }
    config = models.container(events, states=["well", "ill", "dead"], horizon=4000.0)
    trajectories = models.simulated(config, seed=SEED, n=500)
    now, sick = np.zeros(len(trajectories)), np.zeros(len(trajectories))
    alive = np.ones(len(trajectories), dtype=bool)
    budget = exponential(trajectories, "death") * 400.0
    moves = trajectories.transitions
    order = np.arange(moves.time.size) - np.searchsorted(moves.owner, moves.owner)
    checked = 0
    for k in range(200):
        now = now + well.inverse(exponential(trajectories, "fall", k))
        stay = ill.inverse(exponential(trajectories, "rise", k))
        # A budget on the forward clock is kept while its patient is not at risk: death after E days *ill*.
        dies = alive & (now < 4000.0) & (sick + stay >= budget)
        expected_fall, leaves = now.copy(), np.where(dies, now + (budget - sick), now + stay)
        for step, expected in ((2 * k, expected_fall), (2 * k + 1, leaves)):
            rows = np.flatnonzero(order == step)
            who = moves.owner[rows]
            due = np.flatnonzero(alive & (expected_fall < 4000.0) & (expected < 4000.0))
            assert set(who) == set(due)
            checked += who.size
            if who.size:
                assert np.max(np.abs(moves.time[rows] / expected[who] - 1.0)) <= EXACT
        sick = sick + stay
        now = np.where(dies, np.inf, now + stay)
        alive &= ~dies & (now < 4000.0)
        if not alive.any():
            break
    assert checked == moves.time.size > 10_000


# -- V15 --------------------------------------------------------------------------------------------------


def varied(n_patients=2_000, **values):
    """Death times (sets, patients) and onset times under parameter sets that share luck."""
    defaults = {"ratio": 0.6, "median": 300.0, "onset": 60.0, "p": 0.5}
    events = {
        "onset": {
            "from": ["alive"],
            "set": ["responded"],
            "hazard": {
                "family": "log_normal",
                "median": "parameters.onset",
                "sigma": 0.5,
                "probability": "parameters.p",
            },
        },
        "death": models.death(300.0, 1.3, ratios=[{"marker": "responded", "ratio": "parameters.ratio"}]),
    }
    events["death"]["hazard"]["median"] = "parameters.median"
    config = models.container(events, markers=["responded"], parameters=defaults, n_patients=n_patients, horizon=1e6)
    tables = models.compiled(config, varied=values).tables
    trajectories = models.simulated(tables, seed=SEED, replicates=range(1))
    shape = (tables.n_sets, n_patients)
    return trajectories.absorbed_at.reshape(shape), trajectories.first_time(0).reshape(shape)


@pytest.mark.parametrize(
    "values",
    [
        {"ratio": [0.2, 0.6, 1.0, 2.5]},
        {"onset": [20.0, 60.0, 200.0]},  # earlier onset of a benefit
        {"median": [400.0, 300.0, 90.0]},  # a lower baseline hazard
        {"p": [1.0, 0.7, 0.3, 0.0]},  # more onsets of a benefit
    ],
    ids=lambda values: next(iter(values)),
)
def test_who_has_it_better_never_dies_earlier(values):
    # V15: 0 violations of 2,000 patients for every neighbouring pair, under common random numbers.
    death, _ = varied(**values)
    assert (np.diff(death, axis=0) <= 0.0).all()
    assert (np.diff(death, axis=0) < 0.0).any(axis=1).all()


def test_a_higher_probability_of_onset_never_delays_it():
    _, onset = varied(p=[0.2, 0.5, 0.8, 1.0], ratio=[1.0] * 4)
    assert (onset[1:] <= onset[:-1]).all()
    assert (np.isfinite(onset[1:]).sum(axis=1) > np.isfinite(onset[:-1]).sum(axis=1)).all()


# -- V16, V17 ---------------------------------------------------------------------------------------------


def measured(time, rate):
    """Return one of every family, its times and rates written by two functions of days and per day."""
    events = {
        "a": ("exponential", {"rate": rate(0.004)}),
        "b": ("weibull", {"scale": time(120.0), "shape": 1.4}),
        "c": ("gompertz", {"rate": rate(0.002), "shape": rate(0.001)}),
        "d": ("log_logistic", {"median": time(150.0), "shape": 2.0}),
        "e": ("log_normal", {"median": time(100.0), "sigma": 0.8}),
        "f": ("gamma", {"mean": time(90.0), "shape": 2.5}),
        "g": ("generalised_gamma", {"median": time(110.0), "sigma": 0.7, "Q": 0.4}),
        "h": (
            "piecewise_exponential",
            {"breaks": [time(30.0), time(90.0)], "rates": [rate(0.01), rate(0.002), rate(0.006)]},
        ),
        "i": ("fixed", {"delay": time(70.0)}),
        "j": ("exponential", {"mean": time(80.0)}),
    }
    declared = {
        name: {"from": ["alive"], "set": [name], "hazard": {"family": family, **given}}
        for name, (family, given) in events.items()
    }
    declared["k"] = {
        "from": ["alive"],
        "set": ["k"],
        "clock": "age",
        "hazard": {"family": "weibull", "median": time(24_000.0), "shape": 6.0},
        "ratios": [{"covariate": "age", "ratio": 1.5, "per": time(3652.5), "reference": time(20_000.0)}],
    }
    declared["death"] = models.death(1.0, 1.2, ratios=[{"marker": name, "ratio": 0.8} for name in "abcdefghij"])
    declared["death"]["hazard"]["median"] = time(200.0)
    course = {
        "start": time(3.0),
        "interval": {"uniform": [time(14.0), time(21.0)]},
        "max_administrations": 6,
        "after_adverse_event": {"delay": time(7.0)},
        "adverse_events": {"terms": {"pain": {"probability": 0.3}}},
    }
    return models.container(
        declared,
        markers=list("abcdefghijk"),
        cohort={"covariates": {"age": {"uniform": [time(18_000.0), time(26_000.0)]}}},
        course=course,
        horizon=time(1500.0),
        n_patients=1_000,
    )


def same_but_scaled(config, scale):
    """Largest relative difference of all times from ``scale`` times those in days; the same rows in the same order."""
    days = models.simulated(measured(lambda x: x, lambda x: x), seed=SEED)
    other = models.simulated(config, seed=SEED)
    assert other.log_code.tolist() == days.log_code.tolist()
    assert other.offset.tolist() == days.offset.tolist()
    by_age = days.log_code == days.model.events.index("k")  # a difference of ages: relative to the age
    size = days.log_time + np.where(by_age, days.covariates[days.owner, 0], 0.0)
    later = size > 0.0
    assert (other.log_time[~later] == 0.0).all()
    return float(np.max(np.abs(other.log_time[later] / scale - days.log_time[later]) / size[later]))


@pytest.mark.parametrize(("unit", "length"), [("wk", 7.0), ("mo", 30.4375), ("y", 365.25)])
def test_units_are_only_a_way_of_writing(unit, length):
    # V16: the same lives, whatever the unit in which times and rates are declared.
    config = measured(lambda x: f"{x / length!r} {unit}", lambda x: f"{x * length!r} / {unit}")
    assert same_but_scaled(config, 1.0) <= EXACT


@pytest.mark.parametrize("c", [0.125, 1.7, 365.25])
def test_slowing_every_clock_stretches_every_time(c):
    # V17: all rates divided by c, all times multiplied by it.
    assert same_but_scaled(measured(lambda x: x * c, lambda x: x / c), c) <= EXACT


@pytest.mark.parametrize("interval", [21.0, {"uniform": [14.0, 21.0]}], ids=["fixed", "uniform"])
def test_adverse_events_delay_visits_and_lower_doses_as_drawn(interval):
    # Every administration with an adverse event puts the later visits off by 3.5 days and multiplies later doses by
    # 0.8; without a frailty the draws alone decide.
    most, p = 6, {"pain": 0.3, "fever": 0.2}
    course = {
        "start": 2.0,
        "interval": interval,
        "max_administrations": most,
        "dose": {"levels": [100.0, 200.0], "shares": [0.4, 0.6]},
        "after_adverse_event": {"delay": 3.5, "dose_factor": 0.8},
        "adverse_events": {"terms": {name: {"probability": probability} for name, probability in p.items()}},
    }
    trajectories = models.simulated(models.container({"death": models.death(1e6)}, course=course), seed=SEED)
    rows = trajectories.rows(trajectories.codes.administration)
    time, dose = (x[rows].reshape(-1, most) for x in (trajectories.log_time, trajectories.log_value))
    due, factor = np.full(len(trajectories), 2.0), np.ones(len(trajectories))
    for k in range(most):
        assert np.max(np.abs(time[:, k] / due - 1.0)) <= EXACT
        level = np.where(models.draws(trajectories, "course.dose", SEED, k) < 0.4, 100.0, 200.0)
        assert np.max(np.abs(dose[:, k] / (level * factor) - 1.0)) <= EXACT
        harmed = np.zeros(len(trajectories), dtype=bool)
        for name, probability in p.items():
            harmed |= models.draws(trajectories, f"adverse_event.{name}", SEED, k) < probability
        step = 21.0 if interval == 21.0 else 14.0 + 7.0 * models.draws(trajectories, "visit", SEED, k)
        due = due + step + np.where(harmed, 3.5, 0.0)
        factor = np.where(harmed, 0.8 * factor, factor)
