"""The design of the study as arrays: accrual, data cut, loss, assessments, populations; parameter sets first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from simulator.configuration.values import Problems, Resolver, nearest_to_the_run
from simulator.errors import MISSING
from simulator.kernels.hazards import TABULATED
from simulator.kernels.quantiles import DISTRIBUTIONS, quantile
from simulator.model.events import compile_events
from simulator.model.model import Event, Model
from simulator.model.study import Population, Study
from simulator.tables import NONE, Floats

MOST_VISITS = 100_000
"""Assessments of one patient."""


def compile_design(
    study: Study,
    model: Model,
    counted: Sequence[bool],
    resolver: Resolver,
    *,
    n_arms: int,
    n_sets: int,
    horizon: Floats,
    by_hand: Mapping[str, str],
) -> dict[str, Any]:
    """Return the arrays of the study's design, as keyword arguments of `study.design.StudyDesign`.

    ``counted``: of each adverse-event term, whether "any adverse event" counts it. ``horizon``: (parameter sets,).
    """
    events = list(model.events)
    entry_code, entry = resolver.distribution(study.accrual, "duration", "study.accrual")
    cut = _data_cut(study, resolver, n_sets, entry_code, entry[:, 0])
    assessment_code, assessment = NONE, np.zeros((n_sets, 1, 3))
    if study.assessment_interval is not None:
        assessment_code, assessment = resolver.distribution(
            study.assessment_interval, "time", "study.assessment_interval"
        )
        if not resolver.reading:
            _check_visits(study, resolver.problems, assessment_code, assessment, float(np.max(horizon)), by_hand)
    loss_family, loss = _loss(study, model, resolver, n_sets)
    populations = [
        _population(name, declared, events, resolver, n_arms=n_arms, n_sets=n_sets)
        for name, declared in study.populations.items()
    ]
    return {
        "populations": populations,
        "entry_code": np.full(n_sets, entry_code),
        "entry": entry[:, 0],
        "data_cut": cut,
        "loss_family": loss_family,
        "loss": loss,
        "assessment_code": np.full(n_sets, assessment_code),
        "assessment": assessment[:, 0],
        "assessed": np.array([name in study.assessed for name in events]),
        "counted": np.array(counted, dtype=bool),
    }


def _population(
    name: str, declared: Population, events: Sequence[str], resolver: Resolver, *, n_arms: int, n_sets: int
) -> dict[str, Any]:
    """Return the arrays of one population."""
    key = f"study.populations.{name}"
    by_stratum = resolver.array(declared.probability, "probability", f"{key}.probability")
    alive_at = np.full(n_sets, np.inf)
    if declared.alive_at is not None:
        alive_at = resolver.scalar(declared.alive_at, "duration", f"{key}.alive_at")
    return {
        "name": name,
        "of": declared.of,
        "probability": np.tile(by_stratum, (1, n_arms)),
        "always_event": NONE if declared.always is None else events.index(declared.always),
        "exclude_event": NONE if declared.exclude is None else events.index(declared.exclude),
        "alive_at": alive_at,
    }


def _check_visits(
    study: Study, problems: Problems, code: int, interval: Floats, horizon: float, by_hand: Mapping[str, str]
) -> None:
    """Refuse intervals between assessments that are near 0, or too short for the horizon."""
    shortest, middle = (min(quantile(code, u, *map(float, row)) for row in interval[:, 0]) for u in (1e-3, 0.5))
    if np.any(interval[:, :, 0] < 0.02) or shortest < 1e-6:
        allowed = "must be at least half an hour (0.02 days), and hardly ever near 0"
        problems.add("study.assessment_interval", study.assessment_interval, allowed)
    elif horizon > MOST_VISITS * middle:
        key = nearest_to_the_run(("study.assessment_interval", "study.horizon"), by_hand)
        allowed = f"makes more than {MOST_VISITS:,} assessments until day {horizon:g}, the horizon; set a longer"
        allowed += " study.assessment_interval or a shorter study.horizon"
        problems.add(key, getattr(study, key.partition(".")[2]), allowed)


def _data_cut(study: Study, resolver: Resolver, n_sets: int, entry_code: int, entry: Floats) -> Floats:
    """Time of the analysis, (parameter sets,): as declared, or so long after the last possible entry."""
    if study.data_cut is not None:
        return resolver.scalar(study.data_cut, "duration", "study.data_cut")
    if study.minimum_follow_up is None:
        return np.full(n_sets, np.inf)
    least = resolver.scalar(study.minimum_follow_up, "duration", "study.minimum_follow_up")
    last = {each.code: len(each.parameters) - 1 for each in DISTRIBUTIONS.values() if each.bounded}
    if entry_code not in last:
        allowed = "needs an accrual that ends: a fixed, uniform or triangular one; or give study.data_cut"
        resolver.problems.add("study.minimum_follow_up", study.minimum_follow_up, allowed)
        return np.full(n_sets, np.inf)
    return entry[:, last[entry_code]] + least


def _loss(study: Study, model: Model, resolver: Resolver, n_sets: int) -> tuple[Any, Floats]:
    """Loss to follow-up as a hazard; the same families as events, without tables or cure."""
    declared = study.loss_to_follow_up
    if declared is None:
        return np.full(n_sets, NONE), np.zeros((n_sets, 3))
    if declared.observed or declared.solved_for is not None:
        resolver.problems.add("study.loss_to_follow_up", MISSING, "takes neither `observed` nor `solved_for`")
    state = model.initial
    event = Event.model_validate({"from": [state], "set": ["x"], "hazard": declared})
    lone = Model.model_construct(
        states=model.states,
        absorbing=model.absorbing,
        initial=state,
        markers=["x"],
        initial_markers=[],
        events={"study.loss_to_follow_up": event},
    )
    arrays = compile_events(lone, resolver, n_arms=1, covariates=(), response="continuous").arrays
    if np.any(arrays["family"] == TABULATED) or np.any(arrays["probability"] != 1.0):
        resolver.problems.add(
            "study.loss_to_follow_up",
            MISSING,
            "must be a plain hazard family, without tables or a probability",
        )
    if np.any(arrays["parameters"] != arrays["parameters"][:, :, :1]):
        resolver.problems.add("study.loss_to_follow_up", MISSING, "must be the same for every stratum")
    return arrays["family"][:, 0, 0], arrays["parameters"][:, 0, 0]
