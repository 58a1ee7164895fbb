"""Defects planted in tables or engine, each twice as large as the check can detect, must be found (VERIFICATION 3.8 b).

The other files shift the expected answer by twice the detectable fault; here the simulation itself is wrong. A red
here is a check that has lost its teeth. Missed with probability below 1e-6 each (the shift is twice that of power
0.999); the unplanted form of every check runs beside it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import brentq

from simulator.engines import reference
from tests import models, oracles
from tests.oracles import ALPHA, Weibull
from tests.statistical import test_adverse_events, test_cycles, test_one_change, test_races

N = 10_000
SEED = 11


def run(tables, *, n=N):
    return models.simulated(tables, seed=SEED, n=n, here=True, engine="reference")


def planted(tables, **arrays):
    """Return tables with some arrays changed by functions of the right ones."""
    return replace(tables, **{name: change(getattr(tables, name)) for name, change in arrays.items()})


# -- one change of hazard ---------------------------------------------------------------------------------------

LAW = test_one_change.LAW


@pytest.fixture(scope="module")
def switch():
    config = models.switch(at=test_one_change.AT, ratio=test_one_change.RATIO, median=LAW.median, shape=LAW.shape)
    return models.compiled(config).tables


def curve(tables):
    return test_one_change.p_switched(run(tables).absorbed_at)["curve"]


def twice_detectable(wrong):
    """Size of a fault whose curve is off by 2 × the detectable gap at N."""
    gap = 2.0 * oracles.detectable_gap(N)
    return brentq(lambda x: test_one_change.worst_gap(**wrong(x)) - gap, 0.0, 3.0)


def test_the_right_engine_passes(switch):
    assert curve(switch) >= ALPHA


def test_a_wrong_hazard_ratio_is_found(switch):
    ratio = test_one_change.RATIO
    off = twice_detectable(lambda x: {"ratio": ratio * (1.0 + x)})
    assert curve(planted(switch, effect_ratio=lambda r: r * (1.0 + off))) < ALPHA


def test_a_hazard_ratio_that_acts_late_is_found(switch):
    late = twice_detectable(lambda x: {"at": test_one_change.AT * (1.0 + x)})
    timer = switch.events.index("onset")

    def delayed(parameters):
        parameters = parameters.copy()
        parameters[:, timer, :, 0] *= 1.0 + late
        return parameters

    assert curve(planted(switch, parameters=delayed)) < ALPHA


def test_a_shape_and_its_inverse_swapped_are_found(switch):
    death = switch.events.index("death")

    def swapped(parameters):
        parameters = parameters.copy()
        parameters[:, death, :, 1:] = parameters[:, death, :, :0:-1]
        return parameters

    assert curve(planted(switch, parameters=swapped)) < ALPHA


def test_a_budget_that_a_change_of_ratio_does_not_spend_is_found(switch, monkeypatch):
    # remaining stays E at the switch: what was lived before it is forgotten.
    usual = reference.Life.settle

    def settle(self, event, now, **options):
        clock = self.clocks[event]
        if clock.occurrence >= 0 and clock.rate > 0.0 and self.rate_now(event) not in (0.0, clock.rate):
            clock.remaining += clock.rate * (self.cumulative(event, now - clock.origin) - clock.anchor)
        usual(self, event, now, **options)

    monkeypatch.setattr(reference.Life, "settle", settle)
    assert curve(switch) < ALPHA


# -- races ----------------------------------------------------------------------------------------------------


def test_two_causes_that_share_a_stream_are_found():
    events = {
        f"cause_{j}": {"from": ["alive"], "to": f"dead_{j}", "hazard": {"family": "exponential", "mean": mean}}
        for j, mean in enumerate((200.0, 150.0))
    }
    dead = ["dead_0", "dead_1"]
    tables = models.compiled(models.container(events, states=["alive", *dead], absorbing=dead, horizon=1e6)).tables

    def p(tables):
        return oracles.p_of_curve(run(tables).absorbed_at, lambda t: -np.expm1(-t * (1 / 200.0 + 1 / 150.0)))

    assert p(tables) >= ALPHA
    assert p(planted(tables, event_stream=lambda s: np.full_like(s, s[0]))) < ALPHA


# -- cycles ---------------------------------------------------------------------------------------------------


def cycled(most=test_cycles.MOST, p=test_cycles.P):
    config = models.cycles(
        cycle=test_cycles.CYCLE,
        most=most,
        p=p,
        ratio=test_cycles.RATIO,
        median=test_cycles.LAW.median,
        shape=test_cycles.LAW.shape,
        stop=True,
    )
    return run(models.compiled(config).tables)


def test_the_right_cycles_pass():
    assert min(test_cycles.p_cycled(cycled(), stop=True).values()) >= ALPHA


def test_one_cycle_too_many_is_found():
    assert test_cycles.p_cycled(cycled(most=test_cycles.MOST + 1), stop=True)["most"] < ALPHA


def test_a_draw_that_does_not_know_its_cycle_is_found(monkeypatch):
    # The occurrence is not advanced: who does not respond at once never does.
    usual = reference.Life.draw
    monkeypatch.setattr(reference.Life, "draw", lambda self, stream, occurrence=0: usual(self, stream, 0))
    p = test_cycles.p_cycled(cycled(), stop=True)
    assert p["onset"] < ALPHA
    assert p["cycles"] < ALPHA


# -- adverse events --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def harmed():
    config = models.container(
        {"death": {"from": ["alive"], "to": "dead", "hazard": {"family": "exponential", "rate": 0.0}}},
        course={
            "interval": 21.0,
            "max_administrations": test_adverse_events.SIX,
            "adverse_events": {
                "frailty": test_adverse_events.CORRELATION,
                "terms": {name: {"probability": p} for name, p in test_adverse_events.TERMS.items()},
            },
        },
        horizon=200.0,
    )
    return models.compiled(config).tables


def p_harmed(tables):
    occurred = test_adverse_events.by_administration(run(tables), test_adverse_events.SIX)
    return test_adverse_events.p_harmed(occurred)


def test_the_right_adverse_events_pass(harmed):
    assert min(p_harmed(harmed).values()) >= ALPHA


def test_a_forgotten_frailty_is_found_and_leaves_the_mean(harmed):
    p = p_harmed(replace(harmed, course=replace(harmed.course, frailty=np.zeros(1))))
    assert max(p["pain: counts"], p["fever: counts"], p["both"]) < ALPHA
    assert min(p["pain: mean"], p["fever: mean"]) >= ALPHA


def test_a_frailty_of_each_term_of_its_own_is_found(harmed, monkeypatch):
    # Terms must share the patient's frailty: drawn anew for each, the counts are right and the pairs are not.
    def probabilities(self):
        s = self.setting
        draws = [self.draw(s.term_stream[term], 2**31 + term) for term in s.terms]
        shift = [s.root_frailty * reference.normal_quantile(u) for u in draws]
        return [reference.normal_cdf((a + x) / s.root_rest) for a, x in zip(s.threshold[self.cell], shift, strict=True)]

    monkeypatch.setattr(reference.Life, "term_probabilities", probabilities)
    p = p_harmed(harmed)
    assert p["both"] < ALPHA
    assert min(p["pain: counts"], p["fever: counts"]) >= ALPHA


# -- any model --------------------------------------------------------------------------------------------------


def test_an_effect_on_the_wrong_arm_is_found_by_the_compensator():
    config = models.rich()
    config["cohort"]["arms"]["active"]["effects"] = {"hazard_ratio": {"death": 0.5}}
    tables = models.compiled(config).tables
    wrong = planted(tables, cell_ratio=lambda r: r[:, :, ::-1].copy())

    def p(tables):
        spells = oracles.integrated_intensities(models.history(run(tables, n=3_000)), models.declared(config))["death"]
        return [spells.p(spells.labels["arm"] == arm) for arm in ("control", "active")]

    assert min(p(tables)) >= ALPHA
    assert max(p(wrong)) < ALPHA


def test_an_occupancy_with_a_wrong_rate_is_found():
    # One Markov rate wrong by so much that a state is off by 2 × the detectable at N.
    times = np.linspace(15.0, 395.0, 20)
    right = oracles.markov_occupancy(test_races.RATES, len(test_races.NAMES), times)
    size = 2.0 * oracles.detectable(0.5 / np.sqrt(4_000), checks=right.size)

    def off(rate):
        return np.abs(oracles.markov_occupancy({**test_races.RATES, (1, 0): rate}, 5, times) - right).max() - size

    config = models.container(
        {
            name: {**event, "hazard": dict(event["hazard"])}
            for name, event in test_races.markov_config()["model"]["events"].items()
        },
        states=test_races.NAMES,
        absorbing=["cured", "dead"],
        horizon=400.0,
    )
    config["model"]["events"]["ill_to_well"]["hazard"]["rate"] = brentq(off, test_races.RATES[1, 0], 0.5)
    trajectories = run(models.compiled(config).tables, n=4_000)
    counts = np.array(
        [np.bincount(trajectories.state_at(np.full(4_000, t)), minlength=len(test_races.NAMES)) for t in times]
    )
    assert oracles.smallest(oracles.p_of_count(counts, 4_000, right)) < ALPHA


def test_the_oracles_agree_with_quadrature():
    # The closed forms themselves, by brute force: an oracle that is wrong would accept a wrong engine.
    t = np.linspace(0.0, 4000.0, 400_001)
    survived = oracles.switch_survival(t[t <= 800.0], LAW, 120.0, 0.6)
    assert oracles.switch_restricted_mean(800.0, LAW, 120.0, 0.6) == pytest.approx(
        np.trapezoid(survived, dx=0.01), rel=1e-8
    )
    median = oracles.switch_quantile(0.5, LAW, 120.0, 0.6)
    assert oracles.switch_survival(median, LAW, 120.0, 0.6) == pytest.approx(0.5, abs=1e-14)
    for hazard, mu, ratio in test_one_change.RANDOM.values():
        s = np.linspace(0.0, 700.0, 7001)
        inner = mu * np.exp(-(mu + hazard) * s - ratio * hazard * (700.0 - s))
        total = np.exp(-(mu + hazard) * 700.0) + np.trapezoid(inner, dx=0.1)
        assert oracles.random_onset_survival(700.0, hazard, mu, ratio) == pytest.approx(total, rel=1e-6)
        mean = np.trapezoid(oracles.random_onset_survival(t * 5, hazard, mu, ratio), dx=0.05)
        assert oracles.random_onset_mean(hazard, mu, ratio) == pytest.approx(mean, rel=1e-6)
    x = np.linspace(0.0, 10.0, 2001)
    uniform = np.random.default_rng(1).uniform(size=(200_000, 10)).sum(axis=1)
    assert oracles.gap(uniform, lambda u: oracles.irwin_hall(u, 10)) < 0.005
    assert (np.diff(oracles.irwin_hall(x, 10)) >= -1e-12).all()
    assert oracles.frailty_counts(6, 0.2, 0.3).sum() == pytest.approx(1.0, abs=1e-12)
    assert oracles.frailty_counts(6, 0.2, 0.3) @ np.arange(7) == pytest.approx(1.2, abs=1e-10)
    assert oracles.frailty_ever([0.0, 1.0], 0.2, 0.3) == pytest.approx(0.2, abs=1e-10)
    well, ill = oracles.illness_death_occupancy(50.0, Weibull(30.0), Weibull(100.0), Weibull(60.0).survival)
    rates = {(0, 1): np.log(2) / 30, (0, 2): np.log(2) / 100, (1, 2): np.log(2) / 60}
    assert [well, ill] == pytest.approx(oracles.markov_occupancy(rates, 3, [50.0])[0, :2].tolist(), abs=1e-9)
