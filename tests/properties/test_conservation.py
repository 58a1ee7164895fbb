"""Nothing is lost, nothing happens twice, nothing happens to the dead (V9, V10). Deterministic: α = 0."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given

from simulator.running.experiment import design_of
from simulator.study.observe import observe
from simulator.study.survival import kaplan_meier, number_at_risk
from tests import any_model, models, oracles

SEED = 31


def broken(config, trajectories):
    return list(oracles.violations(models.history(trajectories), models.declared(config)))


def test_every_history_keeps_every_rule_of_its_declaration(rich, rich_histories):
    # V9: times in states sum to the follow-up (1 ulp), every event from its states and with its markers, within
    # its maximum, after what starts its clock; nothing after death; administrations before the end of the course.
    assert broken(rich, rich_histories) == []


def test_the_rich_model_makes_everything_happen(rich_histories):
    # Otherwise the test above would say nothing about it.
    history = models.history(rich_histories)
    assert all(history.count(name).sum() >= 5 for name in history.names)
    twice = ("response", "loss_of_response", "flare", "relief", "waning")
    assert all(history.count(name).max() >= 2 for name in twice)


@given(any_model.random_models())
@models.examples(150)
def test_every_history_of_any_valid_model_keeps_every_rule(config):
    trajectories = models.simulated(models.compiled(config, quiet=True), seed=SEED)
    assert broken(config, trajectories) == []


def tampered(history, **columns):
    return replace(history, **columns)


def shifted(history, name, time):
    rows = np.flatnonzero(history.code == history.names.index(name))
    times = history.time.copy()
    times[rows[0]] = time(times[rows[0]])
    return tampered(history, time=times)


def renamed(history, name, other):
    code = history.code.copy()
    rows = np.flatnonzero(code == history.names.index(name))
    code[rows] = history.names.index(other)
    return tampered(history, code=code)


@pytest.mark.parametrize(
    "damage",
    [
        lambda h: shifted(h, "death", lambda t: -1.0),
        lambda h: shifted(h, "death", lambda t: h.horizon),
        lambda h: shifted(h, "relief", lambda t: 0.0),
        lambda h: renamed(h, "loss_of_response", "response"),
        lambda h: renamed(h, "end_of_course", "adverse_event.pain"),
        lambda h: renamed(h, "adverse_event.pain", "administration"),
        lambda h: renamed(h, "waning", "relief"),
        lambda h: renamed(h, "progression", "background"),
        lambda h: tampered(h, value=np.where(h.code == h.names.index("administration"), 250.0, h.value)),
        lambda h: tampered(h, value=np.where(h.code == h.names.index("progression"), 2.0, h.value)),
        lambda h: tampered(h, horizon=h.horizon / 2),
    ],
)
def test_the_auditor_notices_damage(rich, rich_histories, damage):
    # A planted defect each (VERIFICATION 3.8 b): an auditor that finds nothing in them would prove nothing.
    history = models.history(rich_histories)
    assert list(oracles.violations(damage(history), models.declared(rich)))


def test_states_hold_everybody_at_every_time(rich_histories):
    # V10: Σ states = N, absorbed never falls, and what entered minus what left is what is there.
    n, grid = len(rich_histories), np.linspace(0.0, 1500.0, 61)
    model = rich_histories.model
    moves = rich_histories.transitions
    absorbed = -1
    for t in grid:
        state = rich_histories.state_at(np.full(n, t))
        occupied = np.bincount(state, minlength=len(model.states))
        assert occupied.sum() == n
        now = occupied[model.absorbing].sum()
        assert now >= absorbed
        absorbed = now
        due = moves.time <= t
        entered = np.bincount(moves.entered[due], minlength=occupied.size)
        left = np.bincount(moves.left[due], minlength=occupied.size)
        entered[model.initial_state] += n
        assert (entered - left).tolist() == occupied.tolist()
    assert absorbed == np.isfinite(rich_histories.absorbed_at).sum()


def test_events_and_censorings_make_up_the_study():
    # V10 as the investigators see it: every patient is an event or a censoring, the number at risk never rises,
    # and the curve falls exactly where it must: S·N at risk of the uncensored part.
    study = {
        "accrual": {"uniform": [0.0, 400.0]},
        "data_cut": 700.0,
        "loss_to_follow_up": {"family": "exponential", "mean": 900.0},
    }
    experiment = models.compiled(models.rich(study=study))
    trajectories = models.simulated(experiment, seed=SEED)
    data = observe(trajectories, design_of(experiment), seed=SEED)
    all_patients = np.ones(data.shape, dtype=bool)
    grid = np.linspace(0.0, 800.0, 161)
    at_risk = number_at_risk(data.observed, all_patients, grid)[0]
    assert at_risk[0] == data.died.size
    assert (np.diff(at_risk) <= 0).all()
    censored = ~data.died
    assert data.died.sum() + censored.sum() == data.died.size
    assert 0 < data.died.sum() < data.died.size
    assert (data.observed[censored] == data.end[censored]).all()
    assert (data.observed[data.died] == data.death[data.died]).all()
    assert (data.observed < 700.0 + 1e-9).all()
    curve = kaplan_meier(data.observed, data.died, all_patients, grid)[0]
    assert np.array_equal(np.isnan(curve), grid > data.observed.max())  # beyond all follow-up it is undefined
    assert (np.diff(curve[~np.isnan(curve)]) <= 0).all()


@given(any_model.random_models())
@models.examples(40)
def test_nobody_leaves_the_dead_of_any_valid_model(config):
    trajectories = models.simulated(models.compiled(config, quiet=True), seed=SEED)
    moves = trajectories.transitions
    assert not trajectories.model.absorbing[moves.left].any()
    grid = np.linspace(0.0, trajectories.model.horizon[0], 9)
    n = len(trajectories)
    dead = [trajectories.model.absorbing[trajectories.state_at(np.full(n, t))].sum() for t in grid]
    assert (np.diff(dead) >= 0).all()
