"""Histories of single patients: one row a patient, and every event as a ragged array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from simulator.results.tree import CF, REPLICATE, DataColumn
from simulator.study.observe import StudyData
from simulator.tables import NONE, Floats, ModelTables

_PATIENT = {"long_name": "patient of a study", "units": "1"}
_DOMAINS = ("AE", "CE", "DD", "DS", "EX", "RS")
_CENSORING = ("death", "end_of_horizon", "data_cut", "lost_to_follow_up")


def patients_dataset(parts: Sequence[StudyData]) -> xr.Dataset:
    """Return one row a patient, dims (replicate, patient): what happened and what was seen.

    ``parts`` are blocks of replicate studies of one parameter set, in order.
    """
    blocks = [_patient_columns(part) for part in parts]
    return xr.Dataset(
        {
            name: (("replicate", "patient"), np.concatenate([block[name][0] for block in blocks]), attrs)
            for name, (_, attrs) in blocks[0].items()
        },
        coords={
            "replicate": ("replicate", np.concatenate([part.replicate for part in parts]), REPLICATE),
            "patient": ("patient", np.arange(parts[0].shape[1]), _PATIENT),
        },
        attrs=CF,
    )


def _patient_columns(data: StudyData) -> dict[str, tuple[NDArray[Any], dict[str, Any]]]:
    """Columns of a block, each (R, N), with their attributes."""
    model, codes = data.trajectories.model, data.trajectories.codes
    columns: dict[str, tuple[NDArray[Any], dict[str, Any]]] = {}

    def add(name: str, values: NDArray[Any], long_name: str, units: str = "1", **attrs: Any) -> None:
        columns[name] = values, {"long_name": long_name, "units": units, **attrs}

    def add_code(name: str, code: NDArray[Any], what: str, names: Sequence[str], first: int = 0) -> None:
        add(name, code.astype(np.int16), what, **_flags(names, first=first))

    add_code("arm", data.arm, "arm", model.arms)
    add_code("stratum", data.stratum, "stratum", model.strata)
    for x, covariate in enumerate(model.patients.covariates):
        values = data.trajectories.covariates[:, x].reshape(data.shape)
        add(covariate, values, f"{covariate} at entry", "d" if x == model.patients.age else "1")
    add("entry", data.entry, "entry into the study since accrual opened", "d")
    add("observation", data.observed, "time under observation since entry", "d")
    why = "why observation ended; 0 is the event, as CNSR of ADaM"
    add_code("censoring", _censoring(data), why, _CENSORING)
    deadly = [to != NONE and bool(model.absorbing[to]) for to in model.event_to]
    causes = tuple(dict.fromkeys(cause for cause, kills in zip(model.causes, deadly, strict=True) if kills))
    cause_of_event = np.array([causes.index(c) if c in causes else NONE for c in model.causes] + [NONE])
    why = "cause of a death that was seen, -1 none"
    add_code("cause_of_death", cause_of_event[data.cause], why, ("none", *causes), NONE)
    add_code("state", data.state, "state at the end of observation, as seen", model.states)
    add("administrations", data.administrations(data.end), "administrations under observation")
    for e, event in enumerate(model.events):
        add(f"{event}_onset", _finite(data.onset(e)), f"first {event}, as it happened, since entry", "d")
        add(f"{event}_seen", _finite(data.seen(e)), f"first {event}, as it was seen, since entry", "d")
        if outcomes := _outcomes(model, e):
            chosen = np.where(np.isnan(data.outcome(e)), NONE, data.outcome(e))
            what = f"outcome of {event}, as seen, -1 none"
            add_code(f"{event}_outcome", chosen, what, ("none", *outcomes), NONE)
    for t, term in enumerate(model.course.terms):
        had = np.isfinite(data.seen(codes.first_term + t))
        add(f"adverse_event_{term}", had, f"ever had {term}, as seen")
    for name in data.populations:
        add(f"population_{name}", data.population(name), f"belongs to: {name}")
    return columns


def events_dataset(parts: Sequence[StudyData]) -> xr.Dataset:
    """Return every history as a CF contiguous ragged array; ``parts`` as in `patients_dataset`.

    Trajectory i owns ``row_size[i]`` consecutive rows of ``obs``. Domains are SDTM's: EX administrations,
    AE adverse events, DD entry into an absorbing state, RS events that are assessed at visits, CE other
    events, DS the end of the course.
    """
    histories = [part.trajectories for part in parts]
    model = histories[0].model
    terms = (*model.events, "administration", *model.course.terms, "end_of_course")
    code = np.concatenate([history.log_code for history in histories]).astype(np.int16)
    columns: dict[str, DataColumn] = {}

    def add(dim: str, name: str, values: NDArray[Any], long_name: str, units: str = "1", **attrs: Any) -> None:
        columns[name] = dim, values, {"long_name": long_name, "units": units, **attrs}

    def joined(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(history, name) for history in histories])

    replicate, patient = (joined(name) for name in ("replicate", "patient"))
    row_size = np.concatenate([np.diff(history.offset) for history in histories])
    add("trajectory", "replicate", replicate, **REPLICATE)
    add("trajectory", "patient", patient, **_PATIENT)
    add("trajectory", "arm", joined("arm").astype(np.int16), "arm", **_flags(model.arms))
    add("trajectory", "stratum", joined("stratum").astype(np.int16), "stratum", **_flags(model.strata))
    add("trajectory", "row_size", row_size, "number of rows of this patient", sample_dimension="obs")
    add("obs", "term", code, "what happened (EVTERM)", **_flags(terms))
    add("obs", "domain", _domain_of_code(parts[0])[code], "SDTM domain (DOMAIN)", **_flags(_DOMAINS))
    add("obs", "time", joined("log_time"), "time at which it happened, since entry", "d")
    seen = _finite(np.concatenate([part.log_seen for part in parts]))
    add("obs", "seen", seen, "time at which it was seen, since entry; NaN never", "d")
    add("obs", "value", joined("log_value"), "value, by term", comment=_meaning_of_values(model))
    dataset = xr.Dataset(columns, attrs=CF | {"featureType": "trajectory"})
    return dataset.set_coords(["replicate", "patient", "arm", "stratum"])


def _outcomes(model: ModelTables, event: int) -> tuple[str, ...]:
    start, stop = model.outcome_offset[event : event + 2]
    return tuple(name.rpartition(".")[2] for name in model.outcomes[start:stop])


def _meaning_of_values(model: ModelTables) -> str:
    outcomes = {event: _outcomes(model, e) for e, event in enumerate(model.events)}
    said = [f"{event}: outcome, index into {' '.join(names)}" for event, names in outcomes.items() if names]
    said += ["administration: dose", "adverse event: number of the administration that caused it"]
    return "; ".join([*said, f"end_of_course: reason, index into {' '.join(model.course.reasons)}"])


def _domain_of_code(data: StudyData) -> NDArray[np.int16]:
    model, codes = data.trajectories.model, data.trajectories.codes
    domain = ["CE"] * codes.n_events + ["EX"] + ["AE"] * codes.n_terms + ["DS"]
    for event in range(codes.n_events):
        to = model.event_to[event]
        if to != NONE and model.absorbing[to]:
            domain[event] = "DD"
        elif data.design.assessed[event]:
            domain[event] = "RS"
    return np.array([_DOMAINS.index(name) for name in domain], dtype=np.int16)


def _censoring(data: StudyData) -> NDArray[np.int16]:
    sets = data.trajectories.parameter_set.reshape(data.shape)
    horizon = data.trajectories.horizon.reshape(data.shape)
    cut = np.maximum(data.design.data_cut[sets] - data.entry, 0.0)
    reason = np.where(data.end >= horizon, 1, np.where(data.end >= cut, 2, 3))
    return np.where(data.died, 0, reason).astype(np.int16)


def _flags(names: Sequence[str], *, first: int = 0) -> dict[str, Any]:
    values = np.arange(first, first + len(names), dtype=np.int16)
    return {"flag_values": values, "flag_meanings": " ".join(names)}


def _finite(time: Floats) -> Floats:
    return np.where(np.isfinite(time), time, np.nan)
