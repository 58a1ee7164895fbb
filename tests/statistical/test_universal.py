"""Oracles for any model, without a closed form: compensator (V35), time-rescaling (V36), draws (V37).

The integrated intensity along every simulated path is computed again from the declaration by `tests.oracles`, which
shares no code with the engine: N − Λ is a martingale and Λ at an event is a unit exponential. α = 2.5e-9 a test.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from scipy import stats

from simulator.kernels.rng import STREAMS, stream_number, uniforms
from tests import any_model, models, oracles
from tests.oracles import ALPHA

HAZARD_DRIVEN = ("response", "loss_of_response", "progression", "flare", "relief", "death", "background")


@pytest.fixture(scope="module")
def spent(battery):
    """Integrated intensities of the model that has one of everything; N = 9,000."""
    config, seed = models.rich(), battery.seed_of("rich")
    trajectories = models.simulated(config, seed=seed, n=battery.n(9_000))
    return trajectories, oracles.integrated_intensities(
        models.history(trajectories), models.declared(config), susceptible=models.susceptible(trajectories, seed)
    )


def unit_exponential(x):
    return -np.expm1(-x)


@pytest.mark.parametrize("event", HAZARD_DRIVEN)
def test_events_come_at_the_rate_that_was_declared(spent, event):
    # V35, overall. Detects: a hazard off by 9.05/√events: 9 % of response, 10 % of death, 11 % of flares.
    assert spent[1][event].p() >= ALPHA


@pytest.mark.parametrize(
    "by", ["arm", "stratum", "state", "responded", "waned", "liver", "toxic", "on_treatment", "administrations"]
)
@pytest.mark.parametrize("event", HAZARD_DRIVEN)
def test_events_come_at_the_declared_rate_in_every_group(spent, event, by):
    # V35 by arm, subgroup, state, marker and cycle. Detects: a ratio off by 9.05/√(events of the group).
    spells = spent[1][event]
    values = spells.labels[by]
    p = [spells.p(values == value) for value in np.unique(values)]
    assert oracles.smallest(p) >= ALPHA


@pytest.mark.parametrize("event", HAZARD_DRIVEN)
def test_spent_budgets_are_unit_exponentials(battery, spent, event):
    # V36: Cox–Snell residuals, the censored ones completed. Detects: a gap of 3 to 5 points by Massart's bound.
    residuals = spent[1][event].residuals(battery.seed % 2**32)
    assert oracles.p_of_curve(residuals, unit_exponential) >= ALPHA


def test_a_wrong_hazard_ratio_is_found_after_onset_only(spent):
    # 3.8 b: r off by 2 × 9.05/√events after onset; the overall sum and the group before onset stay silent.
    spells = spent[1]["death"]
    after = spells.labels["responded"]
    off = 1.0 + 2.0 * 9.05 / np.sqrt(spells.fired[after].sum())
    wrong = replace(spells, spent=np.where(after, spells.spent * off, spells.spent))
    assert wrong.p(after) < ALPHA
    assert wrong.p(~after) >= ALPHA


def test_a_forgotten_clock_is_found(spent):
    # 3.8 b: `relief` on a forward clock instead of since the flare; `response` on a forward instead of a reset one.
    trajectories, _ = spent
    config = models.rich()
    for event in ("relief", "response"):
        config["model"]["events"][event]["clock"] = "forward"
    few = trajectories.select(np.arange(len(trajectories)) < 4_000)
    again = oracles.integrated_intensities(models.history(few), models.declared(config))
    assert oracles.p_of_curve(again["relief"].residuals(1), unit_exponential) < ALPHA
    assert oracles.p_of_curve(again["response"].residuals(1), unit_exponential) < ALPHA


@models.examples(60)
@given(config=any_model.random_models(n_patients=200))
def test_any_valid_model_spends_its_budgets_as_declared(battery, config):
    # V35, V36 for whatever can be declared: 60 models of 200 patients, up to 6 events each; α is shared among 720
    # comparisons. Detects: one event's hazard off by 45 % in 200 of them; a wrong rule, such as a clock, in most.
    seed = battery.seed_of("any model")
    trajectories = models.simulated(models.compiled(config, quiet=True), seed=seed, replicates=range(battery.scale))
    spells = oracles.integrated_intensities(
        models.history(trajectories), models.declared(config), susceptible=models.susceptible(trajectories, seed)
    )
    for name, ours in spells.items():
        assert ours.p() >= ALPHA / 720, name
        if ours.residual.size:
            assert oracles.p_of_curve(ours.residuals(1), unit_exponential) >= ALPHA / 720, name


# -- V37 ----------------------------------------------------------------------------------------------------

NAMES = (
    *STREAMS,
    *(f"covariate.{name}" for name in ("age", "score")),
    *(f"adverse_event.{name}" for name in ("pain", "fever", "nausea", "anorexia")),
    *(
        event + suffix
        for event in ("response", "progression", "death", "relapse", "onset")
        for suffix in ("", ".ever", ".choice", ".lag")
    ),
    *(f"event_{k}" for k in range(6)),
)  # 40 streams


def test_every_stream_is_uniform(battery):
    # V37: 40 streams of 100,000 patients. Detects: a gap of 1.7 points in one stream.
    patients = np.arange(battery.n(100_000))
    p = [oracles.p_of_curve(uniforms(battery.seed, patients, 0, stream_number(name), 0), lambda u: u) for name in NAMES]
    assert len(NAMES) == 40
    assert oracles.smallest(p) >= ALPHA


def test_streams_patients_replicates_and_occurrences_are_independent(battery):
    # V37: all pairs of 40 streams, and of neighbouring patients, replicates, occurrences and seeds. Detects: a rank
    # correlation of 0.03. (A pair of streams that shared a number would have 1.)
    n = battery.n(100_000)
    patients = np.arange(n)
    drawn = np.array([uniforms(battery.seed, patients, 0, stream_number(name), 0) for name in NAMES])
    rank = stats.norm.ppf(drawn)
    upper = np.triu_indices(len(NAMES), 1)
    z = np.corrcoef(rank)[upper] * np.sqrt(n)
    assert oracles.smallest(oracles.p_of_z(z)) >= ALPHA
    first, stream = drawn[0], stream_number(NAMES[0])
    others = [
        uniforms(battery.seed, patients + 1, 0, stream, 0),
        uniforms(battery.seed, patients, 1, stream, 0),
        uniforms(battery.seed, patients, 0, stream, 1),
        uniforms(battery.seed + 1, patients, 0, stream, 0),
        uniforms(battery.seed, 0, patients, stream, 0),
        uniforms(battery.seed, 0, 0, stream, patients),
    ]
    z = [stats.spearmanr(first, other).statistic * np.sqrt(n) for other in others[:4]]
    z += [stats.spearmanr(first[1:], other[1:]).statistic * np.sqrt(n) for other in others[4:]]
    assert oracles.smallest(oracles.p_of_z(z)) >= ALPHA
    assert oracles.smallest([oracles.p_of_curve(other, lambda u: u) for other in others]) >= ALPHA


def test_no_two_decisions_of_a_model_share_a_draw():
    # V2 in small: the addresses of one patient's decisions, in all streams of the model, are distinct.
    model = models.compiled(models.rich()).tables
    own = [model.event_stream, model.ever_stream, model.choice_stream, model.lag_stream]
    streams = np.concatenate([*own, model.course.term_stream, model.patients.covariate_stream, list(STREAMS.values())])
    assert np.unique(streams).size == streams.size
