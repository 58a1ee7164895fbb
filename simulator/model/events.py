"""From declared events to the event arrays of `ModelTables`.

Every name is known to exist: `Model.check` has passed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from simulator.configuration.values import Problems, Resolver
from simulator.errors import MISSING
from simulator.kernels.elementary import log
from simulator.kernels.hazards import FAMILIES, TABULATED, kernel_parameters, piecewise_exponential_knots
from simulator.kernels.rng import stream_numbers
from simulator.model.model import TABLES, Event, Hazard, Model, PerAdministration, Since
from simulator.tables import NONE, Clock, Driver, Floats
from simulator.units import days, number, per_day


@dataclass
class CompiledEvents:
    """The event arrays of `ModelTables`, by field name, and the tabulated hazards they refer to."""

    arrays: dict[str, Any]
    knots: list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]


def markers_mask(names: list[str], markers: list[str]) -> int:
    """Return the bit mask of named markers."""
    return sum(1 << markers.index(name) for name in set(names))


def by_administration(event: Event, response: str) -> bool:
    """Whether an event is driven by administrations, given ``course.response``."""
    if event.hazard is None:
        return True
    return event.per_administration is not None and response == "per_administration"


def compile_events(
    model: Model,
    resolver: Resolver,
    *,
    n_arms: int,
    covariates: tuple[str, ...],
    response: str,
) -> CompiledEvents:
    """Return the event arrays; every name is known to exist (`Model.check` has passed)."""
    events = list(model.events.values())
    names = list(model.events)
    n_sets, n_strata = resolver.parameters.n_sets, len(resolver.strata)
    shape = (n_sets, len(events), n_arms * n_strata)
    states, markers = model.states, model.markers
    driven = [by_administration(event, response) for event in events]
    streams = stream_numbers([s for n in names for s in (n, f"{n}.ever", f"{n}.choice", f"{n}.lag")])
    arrays: dict[str, Any] = {
        "event_from": np.array([[state in event.from_ for state in states] for event in events]),
        "event_to": np.array([NONE if e.to is None else states.index(e.to) for e in events]),
        "event_set": _masks([e.set for e in events], markers),
        "event_clear": _masks([e.clear for e in events], markers),
        "event_when": _masks([e.when for e in events], markers),
        "event_unless": _masks([e.unless for e in events], markers),
        "event_clock": np.array([_clock(e) for e in events]),
        "event_since": np.array([names.index(e.clock.since) if isinstance(e.clock, Since) else NONE for e in events]),
        "event_maximum": np.array([e.maximum or 1 for e in events]),
        "event_recurrent": np.array([e.maximum is not None for e in events]),
        "event_driver": np.array([Driver.ADMINISTRATION if d else Driver.HAZARD for d in driven]),
        **{
            field: np.array([streams[name + suffix] for name in names])
            for field, suffix in (
                ("event_stream", ""),
                ("ever_stream", ".ever"),
                ("choice_stream", ".choice"),
                ("lag_stream", ".lag"),
            )
        },
        "family": np.zeros(shape, dtype=np.int64),
        "parameters": np.zeros((*shape, 3)),
        "table": np.full(shape, NONE),
        "probability": np.ones(shape),
        "success": np.zeros(shape),
        "lag_code": np.zeros(shape[:2], dtype=np.int64),
        "lag": np.zeros((*shape[:2], 3)),
        "withholds": np.zeros(len(events), dtype=bool),
        "confirmed_at_onset": np.array(driven),
    }
    knots: list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]] = []
    for e, (name, event) in enumerate(model.events.items()):
        key = f"model.events.{name}"
        if driven[e]:
            if event.per_administration is not None:
                _compile_chance(event.per_administration, resolver, f"{key}.per_administration", arrays, e, n_arms)
        elif event.hazard is not None:
            _compile_hazard(event.hazard, resolver, f"{key}.hazard", arrays, knots, e, n_arms)
    arrays.update(_effects(model, resolver, covariates, n_arms))
    arrays.update(_outcomes(model, resolver, n_arms))
    return CompiledEvents(arrays, knots)


def _compile_chance(
    declared: PerAdministration, resolver: Resolver, key: str, arrays: dict[str, Any], e: int, n_arms: int
) -> None:
    """Fill in the arrays of an event that an administration brings."""
    arrays["success"][:, e] = _cells(resolver.array(declared.probability, "probability", f"{key}.probability"), n_arms)
    arrays["probability"][:, e] = _cells(resolver.array(declared.ever, "probability", f"{key}.ever"), n_arms)
    arrays["lag_code"][:, e], lag = resolver.distribution(declared.lag, "duration", f"{key}.lag")
    arrays["lag"][:, e] = lag[:, 0]
    arrays["withholds"][e] = declared.withhold


def _compile_hazard(
    hazard: Hazard,
    resolver: Resolver,
    key: str,
    arrays: dict[str, Any],
    knots: list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]],
    e: int,
    n_arms: int,
) -> None:
    problems = resolver.problems
    known = [*(f for f in FAMILIES if f != "tabulated"), "piecewise_exponential", "tabulated"]
    before = len(problems.found)
    families = resolver.names(hazard.family, known, f"{key}.family", what="hazard family")
    if len(problems.found) > before:
        return
    tables = {name: getattr(hazard, name) for name in ("breaks", "rates", "times", "cumulative_hazard")}
    for name, value in tables.items():
        if value is not None and not any(name in TABLES.get(family, ()) for family in families):
            problems.add(f"{key}.{name}", value, f"is not a parameter of {families[0]}")
    if set(families) <= set(TABLES):
        for name, expression in hazard.named().items():
            problems.add(f"{key}.{name}", expression, f"is not a parameter of {families[0]}")
    arrays["probability"][:, e] = _cells(
        resolver.array(hazard.probability, "probability", f"{key}.probability"), n_arms
    )
    for family in dict.fromkeys(families):
        rows = np.array([f == family for f in families])
        if family in ("piecewise_exponential", "tabulated"):
            table = (
                _piecewise(hazard, key, problems)
                if family == "piecewise_exponential"
                else _tabulated(hazard, key, problems)
            )
            if table is None:
                continue
            time, cumulative, slope = table
            arrays["family"][rows, e] = TABULATED
            arrays["parameters"][rows, e, :, 0] = slope
            arrays["table"][rows, e] = len(knots)
            knots.append((time, cumulative))
            continue
        named = {}
        dimensions = FAMILIES[family].dimensions
        for name, expression in hazard.named().items():
            if name not in dimensions:
                allowed = ", ".join(dimensions)
                problems.add(f"{key}.{name}", expression, f"is not a parameter of {family}, which takes {allowed}")
                continue
            named[name] = resolver.array(expression, dimensions[name], f"{key}.{name}")[rows]
        if resolver.reading or any(np.isnan(values).any() for values in named.values()):
            continue
        try:
            converted = kernel_parameters(family, **named)
        except ValueError as refusal:
            problems.add(key, MISSING, str(refusal))
            continue
        arrays["family"][rows, e] = FAMILIES[family].code
        block = np.stack(np.broadcast_arrays(*converted), axis=-1)
        block = np.broadcast_to(block, (int(rows.sum()), len(resolver.strata), 3))
        arrays["parameters"][rows, e] = np.tile(block, (1, n_arms, 1))


def _piecewise(hazard: Hazard, key: str, problems: Problems) -> tuple[Any, Any, float] | None:
    """Constant hazards between breaks; the last rate goes on for ever (R pch, flexsurv)."""
    if hazard.breaks is None or hazard.rates is None or len(hazard.rates) != len(hazard.breaks) + 1:
        problems.add(key, MISSING, "piecewise_exponential needs `breaks` (times) and one rate more in `rates`")
        return None
    try:
        starts, rates = [0.0, *(days(b) for b in hazard.breaks)], [per_day(r) for r in hazard.rates]
        return piecewise_exponential_knots(starts, rates)
    except ValueError as refusal:
        problems.add(key, [hazard.breaks, hazard.rates], str(refusal))
        return None


def _tabulated(hazard: Hazard, key: str, problems: Problems) -> tuple[Any, Any, float] | None:
    """A cumulative hazard read from a table: linear between its points, flat after the last."""
    if hazard.times is None or hazard.cumulative_hazard is None or len(hazard.times) != len(hazard.cumulative_hazard):
        problems.add(key, MISSING, "tabulated needs `times` and as many values in `cumulative_hazard`")
        return None
    try:
        time = np.array([days(t) for t in hazard.times])
        cumulative = np.array([number(h) for h in hazard.cumulative_hazard])
    except ValueError as refusal:
        problems.add(key, [hazard.times, hazard.cumulative_hazard], str(refusal))
        return None
    if (
        not time.size
        or time[0] < 0
        or np.any(np.diff(time) <= 0)
        or cumulative[0] < 0
        or np.any(np.diff(cumulative) < 0)
    ):
        problems.add(
            key,
            [hazard.times, hazard.cumulative_hazard],
            "times must increase and the cumulative hazard must not fall",
        )
        return None
    if time[0] > 0:
        time, cumulative = np.concatenate([[0.0], time]), np.concatenate([[0.0], cumulative])
    elif cumulative[0] > 0:
        problems.add(f"{key}.cumulative_hazard", cumulative[0], "must be 0 at time 0")
        return None
    return time, cumulative, 0.0


def _effects(model: Model, resolver: Resolver, covariates: tuple[str, ...], n_arms: int) -> dict[str, Any]:
    """Hazard ratios of states and markers, and of covariates, each in declared order."""
    event, state, marker, ratio = [], [], [], []
    on_event, on_covariate, effect = [], [], []
    for e, (name, declared) in enumerate(model.events.items()):
        for i, term in enumerate(declared.ratios):
            key = f"model.events.{name}.ratios[{i}]"
            values = resolver.array(term.ratio, "ratio", f"{key}.ratio")
            if term.covariate is None:
                event.append(e)
                state.append(NONE if term.state is None else model.states.index(term.state))
                marker.append(NONE if term.marker is None else model.markers.index(term.marker))
                ratio.append(_cells(values, n_arms))
                continue
            if term.covariate not in covariates:
                resolver.problems.unknown(f"{key}.covariate", term.covariate, covariates, what="covariate")
                continue
            kind = "signed_time" if term.covariate == "age" else "real"
            per = resolver.scalar(term.per, kind, f"{key}.per")
            reference = resolver.scalar(term.reference, kind, f"{key}.reference")
            slope = resolver.scalar(term.ratio, "positive", f"{key}.ratio")
            if np.any(per == 0):
                resolver.problems.add(f"{key}.per", term.per, "must not be 0")
                continue
            on_event.append(e)
            on_covariate.append(covariates.index(term.covariate))
            logs = np.zeros(slope.size) if resolver.reading else np.array([log(float(x)) for x in slope])
            effect.append(np.stack([logs / per, reference], axis=-1))
    n_sets, n_cells = resolver.parameters.n_sets, n_arms * len(resolver.strata)
    return {
        "effect_event": np.array(event, dtype=np.int64),
        "effect_state": np.array(state, dtype=np.int64),
        "effect_marker": np.array(marker, dtype=np.int64),
        "effect_ratio": np.stack(ratio, axis=1) if ratio else np.ones((n_sets, 0, n_cells)),
        "covariate_effect_event": np.array(on_event, dtype=np.int64),
        "covariate_effect_covariate": np.array(on_covariate, dtype=np.int64),
        "covariate_effect": np.stack(effect, axis=1) if effect else np.zeros((n_sets, 0, 2)),
    }


def _outcomes(model: Model, resolver: Resolver, n_arms: int) -> dict[str, Any]:
    """What events choose among: cumulative probabilities within each event."""
    names, sets, offset = list[str](), list[int](), [0]
    cdf: list[Floats] = []
    n_sets, n_cells = resolver.parameters.n_sets, n_arms * len(resolver.strata)
    for event_name, event in model.events.items():
        key = f"model.events.{event_name}.choose"
        columns = []
        for outcome, declared in event.choose.items():
            names.append(outcome)
            sets.append(markers_mask(declared.set, model.markers))
            columns.append(resolver.array(declared.probability, "probability", f"{key}.{outcome}.probability"))
        if columns:
            total = np.sum(columns, axis=0)
            if not np.isnan(total).any() and np.any(np.abs(total - 1) > 1e-6):
                given = [float(c.flat[0]) for c in columns]
                resolver.problems.add(key, given, "the probabilities of the outcomes must sum to 1 in every stratum")
            cumulative = np.cumsum(columns, axis=0)
            cumulative[-1] = 1.0
            cdf.extend(_cells(c, n_arms) for c in cumulative)
        offset.append(len(names))
    return {
        "outcomes": tuple(names),
        "outcome_offset": np.array(offset),
        "outcome_set": np.array(sets, dtype=np.uint64),
        "outcome_cdf": np.stack(cdf, axis=1) if cdf else np.ones((n_sets, 0, n_cells)),
    }


def _cells(by_stratum: np.ndarray[Any, Any], n_arms: int) -> np.ndarray[Any, Any]:
    return np.tile(by_stratum, (1, n_arms))


def _masks(names: list[list[str]], markers: list[str]) -> np.ndarray[Any, Any]:
    return np.array([markers_mask(n, markers) for n in names], dtype=np.uint64)


def _clock(event: Event) -> int:
    if isinstance(event.clock, Since):
        return Clock.SINCE
    return {"forward": Clock.FORWARD, "reset": Clock.RESET, "age": Clock.AGE}[event.clock]
