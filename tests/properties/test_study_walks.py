"""Compiled walks of a log against formulas on whole arrays, and definitions, in any valid model. α = 0."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.kernels.quantiles import DISTRIBUTIONS, quantiles
from simulator.kernels.rng import stream_number, uniforms
from simulator.study.accumulators import Accumulator
from simulator.study.design import AnalysisSet, StudyDesign
from simulator.study.observe import observe
from simulator.tables import NONE
from tests import any_model, models

SEED = 31
INTERVALS = {
    "fixed": (21.0, 0.0, 0.0),
    "uniform": (14.0, 21.0, 0.0),
    "triangular": (10.0, 20.0, 40.0),
    "gamma": (20.0, 6.0, 0.0),
}


def protocol(trajectories, assessment):
    """Everything at once: staggered entry, a cut, every event assessed, a drawn population."""
    model = trajectories.model
    return StudyDesign(
        populations=(
            AnalysisSet(name="some", probability=np.full((1, model.n_cells), 0.6), alive_at=[30.0]),
            AnalysisSet(name="others", probability=np.full((1, model.n_cells), 0.5), alive_at=[np.nan], of="some"),
        ),
        entry_code=[DISTRIBUTIONS["uniform"].code],
        entry=[[0.0, 300.0, 0.0]],
        data_cut=[700.0],
        loss_family=[NONE],
        loss=np.zeros((1, 3)),
        assessment_code=[DISTRIBUTIONS[assessment].code],
        assessment=[INTERVALS[assessment]],
        assessed=np.arange(len(model.events)) % 3 != 2,
        counted=np.arange(len(model.course.terms)) % 2 == 0,
    )


def draws(log, stream, occurrence=0):
    return uniforms(SEED, log.patient, log.replicate, stream_number(stream), occurrence)


def seen_by_definition(log, design, data):
    """When each row was seen, row by row from the patient's visits."""
    model = log.model
    code = int(design.assessment_code[0])
    u = uniforms(SEED, log.patient[:, None], log.replicate[:, None], stream_number("visit"), np.arange(200))
    visits = np.cumsum(quantiles(code, u, *design.assessment[0]), axis=1)
    if code == DISTRIBUTIONS["fixed"].code:
        visits = np.broadcast_to(np.arange(1, 201) * design.assessment[0, 0], visits.shape)
    death = log.absorbed_at
    to = np.full(log.codes.end_of_course + 1, NONE)
    to[: len(model.events)] = model.event_to
    waits = np.zeros(to.size, dtype=bool)
    waits[: len(model.events)] = design.assessed & ~model.confirmed_at_onset
    seen = np.full(log.log_time.size, np.inf)
    for i in range(len(log)):
        end = data.end.ravel()[i]
        for row in range(log.offset[i], log.offset[i + 1]):
            state = to[log.log_code[row]]
            if not waits[log.log_code[row]] or (state != NONE and model.absorbing[state]):
                seen[row] = log.log_time[row] if log.log_time[row] < end else np.inf
                continue
            visit = visits[i][np.searchsorted(visits[i], log.log_time[row], side="left")]
            rest = slice(row + 1, log.offset[i + 1])
            moves = [(t, to[c]) for t, c in zip(log.log_time[rest], log.log_code[rest], strict=True) if to[c] != NONE]
            left = next((t for t, s in moves if s != state), np.inf) if state != NONE else np.inf
            if visit < min(end, death[i]) and left > visit:
                seen[row] = visit
    return seen


@given(any_model.random_models(), st.sampled_from(sorted(INTERVALS)))
@models.examples(40)
def test_what_is_seen_follows_from_the_visits(config, assessment):
    log = models.simulated(models.compiled(config, quiet=True), seed=SEED)
    design = protocol(log, assessment)
    data = observe(log, design, seed=SEED)
    entry = quantiles(DISTRIBUTIONS["uniform"].code, draws(log, "study.entry"), 0.0, 300.0)
    assert data.entry.ravel().tobytes() == entry.tobytes()
    assert data.death.ravel().tobytes() == log.absorbed_at.tobytes()
    assert data.log_seen.tobytes() == seen_by_definition(log, design, data).tobytes()
    n = len(log)
    for code in range(log.codes.end_of_course + 1):
        first = np.full(n, np.inf)
        rows = log.rows(code)
        np.minimum.at(first, log.owner[rows], data.log_seen[rows])
        assert data.seen(code).ravel().tobytes() == first.tobytes()
    for marker in range(len(log.model.markers)):
        assert data.marker_seen(marker).shape == data.shape
    given_ = log.count(log.codes.administration, before=data.end.ravel())
    assert data.administrations(data.end).ravel().tolist() == given_.tolist()
    some = (draws(log, "study.some") < 0.6) & (data.observed.ravel() > 30.0)
    assert data.population("some").ravel().tolist() == some.tolist()
    assert data.population("others").ravel().tolist() == (some & (draws(log, "study.others") < 0.5)).tolist()


@given(any_model.random_models(), st.sampled_from([7.0, 50.0, 333.0]))
@models.examples(40)
def test_pooled_counts_are_those_of_whole_arrays(config, step):
    log = models.simulated(models.compiled(config, quiet=True), seed=SEED)
    design = protocol(log, "uniform")
    data = observe(log, design, seed=SEED)
    model, n = log.model, len(log)
    grid = np.append(np.arange(0.0, model.horizon[0], step), model.horizon[0])
    pooled = Accumulator(grid)
    pooled.add(data)
    found = {name: variable.values for name, variable in pooled.conclude().items()}
    death = log.absorbed_at
    assert found["overall_survival"][0].tolist() == [(death > t).sum() / n for t in grid]
    for i, t in enumerate(grid):
        states = np.bincount(log.state_at(np.full(n, t)), minlength=len(model.states))
        assert found["state_occupancy"][0, :, i].tolist() == (states / n).tolist()
    for i, name in enumerate(found["event"]):
        if name in model.events and not _kills(model, model.events.index(name)):
            onset = log.first_time(model.events.index(name))
            assert found["cumulative_incidence"][0, i].tolist() == [(onset <= t).sum() / n for t in grid]
            seen = data.seen(model.events.index(name)).ravel()
            _has_quantiles(found["time_to_event_true"][0, i], onset)
            _has_quantiles(found["time_to_event_observed"][0, i], seen)
    count = log.count(log.codes.administration)
    assert found["administrations_mean"][0] == count.sum() / n
    assert found["administrations"][0].tolist() == [(count >= k).sum() / n for k in found["visit"]]
    had = [log.count(log.codes.first_term + term) > 0 for term in range(log.codes.n_terms)]
    counted = np.any([own for own, counts in zip(had, design.counted, strict=True) if counts] or [np.zeros(n)], axis=0)
    assert found["ae_incidence"][0].tolist() == [own.sum() / n for own in [*had, counted]]
    first = log.first_time(log.codes.administration)
    last = np.minimum(np.minimum(log.first_time(log.codes.end_of_course), death), log.horizon)
    assert found["on_treatment"][0].tolist() == [((first <= t) & (last > t)).sum() / n for t in grid]
    spent = (last - first)[count > 0]
    if spent.size:
        assert found["time_on_treatment"][0] == pytest.approx(spent.mean(), rel=1e-9, abs=1e-9)
    assert found["rmst"][0] == pytest.approx(np.minimum(death, grid[-1]).mean(), rel=1e-9)
    at_risk = [(data.observed >= t).sum(axis=1) for t in grid]
    assert found["number_at_risk"][0].tolist() == [each.mean() for each in at_risk]


def _kills(model, event):
    return model.event_to[event] != NONE and model.absorbing[model.event_to[event]]


def _has_quantiles(found, times):
    finite = np.sort(times[np.isfinite(times)])
    if not finite.size:
        assert np.isnan(found).all()
        return
    exact = finite[np.ceil(np.array([0.05, 0.25, 0.5, 0.75, 0.95]) * finite.size).astype(int) - 1]
    assert ((exact - found >= 0) & (exact - found < 1 / 16)).all()
