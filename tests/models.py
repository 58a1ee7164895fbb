"""Small declared models as plain mappings, compiled through the real `declare`, and simulated.

`container` builds a configuration as Hydra would compose it; `compiled` is `declare`; `simulated` runs an
engine, in two processes where that pays; `history` turns trajectories into the plain arrays of
`tests.oracles`. `tests.any_model` draws random ones.
"""

from __future__ import annotations

import atexit
import importlib
import os
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, settings

from simulator.errors import DeclarationWarning
from simulator.experiment.schema import Experiment, declare
from simulator.kernels.rng import stream_number, uniforms
from simulator.tables import ModelTables
from simulator.trajectories import Trajectories, concatenate
from tests.oracles import ADMINISTRATION, END_OF_COURSE, TERM, Declared, History

STUDY_SIZE = 1_000
"""Patients of a replicate in a simulation of many."""
IN_PROCESS = 4_000
"""Patients below which a second process does not pay."""
HORIZON = 5_000.0
ENGINE = os.environ.get("LOBULE_ENGINE", "reference")
"""Engine under test."""

NO_EVIDENCE = {"name": "none", "title": "No evidence", "sources": [{"file": "none", "citation": "none"}], "entries": []}


# --------------------------------------------------------------------------------- from mappings to trajectories


def container(
    events: Mapping[str, Any],
    *,
    states: Sequence[str] = ("alive", "dead"),
    absorbing: Sequence[str] = ("dead",),
    markers: Sequence[str] = (),
    cohort: Mapping[str, Any] | None = None,
    course: Mapping[str, Any] | None = None,
    study: Mapping[str, Any] | None = None,
    parameters: Mapping[str, Any] | None = None,
    n_patients: int = STUDY_SIZE,
    horizon: float | str = HORIZON,
    seed: int = 1,
    **model: Any,
) -> dict[str, Any]:
    """Return a composed configuration; states begin in the first one."""
    own = dict(cohort or {})
    if "arms" not in own:
        own.setdefault("n_patients", n_patients)
    return {
        "seed": seed,
        "engine": "reference",
        "evidence": NO_EVIDENCE,
        "cohort": {"name": "declared", **own},
        "model": {
            "states": list(states),
            "absorbing": list(absorbing),
            "initial": states[0],
            "markers": list(markers),
            "events": dict(events),
            **model,
        },
        "course": dict(course or {"max_administrations": 0}),
        "study": {"replicates": 1, "horizon": horizon, **(study or {})},
        "parameters": dict(parameters or {}),
    }


def compiled(config: Mapping[str, Any], *, quiet: bool = False, **options: Any) -> Experiment:
    """Compile a configuration through the real `declare`; ``quiet`` drops warnings of what is legal but odd."""
    with warnings.catch_warnings():
        if quiet:
            warnings.simplefilter("ignore", DeclarationWarning)
        return declare(config, **options)


def declared(config: Mapping[str, Any]) -> Declared:
    """Return the parts of a configuration that `tests.oracles` replays."""
    return Declared(config["model"], config["course"], config["cohort"])


def processors() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def workers() -> Executor:
    """Processes that simulate beside this one."""
    pool = ProcessPoolExecutor(min(processors(), 8), mp_context=get_context("spawn"))
    atexit.register(pool.shutdown, cancel_futures=True)
    return pool


def simulated(
    of: Experiment | ModelTables | Mapping[str, Any],
    *,
    seed: int,
    n: int | None = None,
    replicates: range = range(1),
    parameter_set: int | None = None,
    engine: str = ENGINE,
    here: bool = False,
) -> Trajectories:
    """Simulate replicates, or as many as hold ``n`` patients; ``here``: in this process (patched engines)."""
    tables = of if isinstance(of, ModelTables) else (of if isinstance(of, Experiment) else compiled(of)).tables
    sets = range(tables.n_sets) if parameter_set is None else range(parameter_set, parameter_set + 1)
    size = int(tables.patients.n_patients[sets.start : sets.stop].sum())
    if n is not None:
        replicates = range(-(-n // size))
    simulate = importlib.import_module(f"simulator.engines.{engine}").simulate
    at_once = processors()
    if here or engine != "reference" or at_once == 1 or size * len(replicates) < IN_PROCESS:
        return simulate(tables, seed=seed, replicates=replicates, parameter_sets=sets)  # type: ignore[no-any-return]
    step = max(1, -(-len(replicates) * len(sets) // (4 * at_once)))
    cuts = [replicates[i : i + step] for i in range(0, len(replicates), step)]
    waiting = [
        workers().submit(simulate, tables, seed=seed, replicates=cut, parameter_sets=range(b, b + 1))
        for b in sets
        for cut in cuts
    ]
    return concatenate([job.result() for job in waiting])


def codes(model: ModelTables) -> tuple[str, ...]:
    """Names of the codes of a log, in order."""
    return (*model.events, ADMINISTRATION, *(TERM + term for term in model.course.terms), END_OF_COURSE)


def history(trajectories: Trajectories) -> History:
    """Return trajectories of one parameter set as plain arrays with names."""
    model = trajectories.model
    return History(
        codes(model),
        trajectories.offset.astype(np.int64),
        trajectories.log_time,
        trajectories.log_code.astype(np.int64),
        trajectories.log_value,
        float(model.horizon[int(trajectories.parameter_set[0])]),
        np.array(model.strata)[trajectories.stratum],
        np.array(model.arms)[trajectories.arm],
        {name: trajectories.covariates[:, x] for x, name in enumerate(model.patients.covariates)},
    )


def draws(trajectories: Trajectories, stream: str, seed: int, occurrence: int = 0) -> np.ndarray[Any, Any]:
    """Return every patient's uniform of one stream: the exported luck."""
    return uniforms(seed, trajectories.patient, trajectories.replicate, stream_number(stream), occurrence)


def susceptible(trajectories: Trajectories, seed: int) -> dict[str, np.ndarray[Any, Any]]:
    """Return by event in whom it can ever occur, from the exported luck and the tables' probability."""
    model = trajectories.model
    out = {}
    for e, name in enumerate(model.events):
        p = model.probability[trajectories.parameter_set, e, trajectories.cell]
        out[name] = (p >= 1.0) | (draws(trajectories, f"{name}.ever", seed) < p)
    return out


def lines(trajectories: Trajectories) -> list[list[tuple[str, str, str]]]:
    """Return histories by patient as (time, name, value), exact and comparable between models."""
    names = codes(trajectories.model)
    reasons = trajectories.model.course.reasons
    out: list[list[tuple[str, str, str]]] = []
    for i in range(len(trajectories)):
        rows = range(int(trajectories.offset[i]), int(trajectories.offset[i + 1]))
        ours = []
        for k in rows:
            name, value = names[trajectories.log_code[k]], float(trajectories.log_value[k])
            shown = reasons[int(value)] if name == END_OF_COURSE else value.hex()
            ours.append((float(trajectories.log_time[k]).hex(), name, shown))
        out.append(ours)
    return out


# ------------------------------------------------------------------------------------------------- small models


def death(median: float, shape: float = 1.0, **more: Any) -> dict[str, Any]:
    """Return a Weibull death from "alive"."""
    hazard = {"family": "weibull", "median": median, "shape": shape}
    return {"from": ["alive"], "to": "dead", "hazard": hazard, **more}


def switch(*, at: float, ratio: Any, median: float, shape: float, **more: Any) -> dict[str, Any]:
    """Return a Weibull hazard that is multiplied from a fixed day on (V20)."""
    events = {
        "onset": {"from": ["alive"], "set": ["responded"], "hazard": {"family": "fixed", "delay": at}},
        "death": death(median, shape, ratios=[{"marker": "responded", "ratio": ratio}]),
    }
    return container(events, markers=["responded"], **more)


def random_onset(*, hazard: float, onset: float, ratio: float, **more: Any) -> dict[str, Any]:
    """Return a constant hazard that is multiplied from an exponential time on (V22)."""
    events = {
        "onset": {"from": ["alive"], "set": ["responded"], "hazard": {"family": "exponential", "rate": onset}},
        "death": {
            "from": ["alive"],
            "to": "dead",
            "hazard": {"family": "exponential", "rate": hazard},
            "ratios": [{"marker": "responded", "ratio": ratio}],
        },
    }
    return container(events, markers=["responded"], **more)


def cycles(
    *, cycle: float, most: int, p: float, ratio: float, median: float, shape: float, stop: bool, **more: Any
) -> dict[str, Any]:
    """Onset at the end of a cycle with probability p, treatment to onset or regardless (V23, V24)."""
    events = {
        "onset": {
            "from": ["alive"],
            "set": ["responded"],
            "per_administration": {"probability": p, "lag": cycle},
        },
        "death": death(median, shape, ratios=[{"marker": "responded", "ratio": ratio}]),
    }
    course = {
        "interval": cycle,
        "max_administrations": most,
        "response": "per_administration",
        "stop": {"markers": ["responded"]} if stop else {},
        **more.pop("course", {}),
    }
    return container(events, markers=["responded"], course=course, **more)


def rich(**more: Mapping[str, Any]) -> dict[str, Any]:
    """Return one of everything: clocks, recovery, timers, cure, covariates, arms, recurrences, a course.

    ``more``: keys by group that replace what stands here, as in ``rich(study={"horizon": 700.0})``.
    """
    events: dict[str, Any] = {
        "response": {
            "from": ["stable"],
            "to": "response",
            "set": ["responded"],
            "clock": "reset",
            "maximum": 60,
            "hazard": {
                "family": "log_normal",
                "median": {"north": 60.0, "south": 90.0},
                "sigma": 0.7,
                "probability": 0.7,
            },
            "ratios": [{"marker": "toxic", "ratio": 0.5}],
        },
        "waning": {
            "from": ["response"],
            "set": ["waned"],
            "unless": ["waned"],
            "clock": {"since": "response"},
            "maximum": 60,
            "hazard": {"family": "fixed", "delay": 75.0},
        },
        "loss_of_response": {
            "from": ["response"],
            "to": "stable",
            "clear": ["waned"],
            "clock": "reset",
            "maximum": 60,
            "hazard": {"family": "weibull", "median": 120.0, "shape": 1.5},
        },
        "progression": {
            "from": ["stable", "response"],
            "to": "progression",
            "set": ["progressed"],
            "hazard": {"family": "log_logistic", "median": 300.0, "shape": 1.6},
            "ratios": [{"state": "response", "ratio": 0.4}, {"covariate": "score", "ratio": 1.3, "per": 2.0}],
            "choose": {"lung": {"probability": 0.4, "set": ["lung"]}, "liver": {"probability": 0.6, "set": ["liver"]}},
        },
        "flare": {
            "from": ["stable", "response", "progression"],
            "set": ["toxic"],
            "when": ["on_treatment"],
            "maximum": 300,
            "hazard": {"family": "piecewise_exponential", "breaks": [30.0, 90.0], "rates": [0.004, 0.012, 0.006]},
        },
        "relief": {
            "from": ["stable", "response", "progression"],
            "clear": ["toxic"],
            "when": ["toxic"],
            "clock": {"since": "flare"},
            "maximum": 300,
            "hazard": {"family": "gamma", "shape": 2.0, "mean": 20.0},
        },
        "death": {
            "from": ["stable", "response", "progression"],
            "to": "dead",
            "hazard": {"family": "weibull", "median": {"north": 400.0, "south": 300.0}, "shape": 1.3},
            "ratios": [
                {"marker": "responded", "ratio": 0.6},
                {"marker": "waned", "ratio": 1.4},
                {"state": "progression", "ratio": {"north": 2.0, "south": 1.5}},
                {"marker": "liver", "ratio": 1.2},
                {"covariate": "score", "ratio": 1.1},
            ],
        },
        "background": {
            "from": ["stable", "response", "progression"],
            "to": "dead_otherwise",
            "clock": "age",
            "hazard": {"family": "gompertz", "rate": 2e-7, "shape": 3e-4},
        },
    }
    config = container(
        events,
        states=["stable", "response", "progression", "dead", "dead_otherwise"],
        absorbing=["dead", "dead_otherwise"],
        markers=["responded", "waned", "progressed", "lung", "liver", "toxic", "on_treatment"],
        cohort={
            "mix": {"north": 3, "south": 2},
            "arms": {
                "control": {"n_patients": 600, "reference": True},
                "active": {"n_patients": 400, "effects": {"hazard_ratio": {"death": 0.8, "response": 1.5}}},
            },
            "covariates": {"age": {"uniform": ["50 y", "75 y"]}, "score": {"normal": [0.0, 1.0]}},
        },
        course={
            "interval": {"uniform": [14.0, 21.0]},
            "max_administrations": 8,
            "planned": {
                "number": {"negative_binomial": {"mean": 3.0, "size": 2, "shift": 1}},
                "if_ever": "response",
                "then": 8,
            },
            "marker": "on_treatment",
            "stop": {"states": ["progression"]},
            "dose": {"levels": [300.0, 600.0, 900.0], "shares": [0.3, 0.5, 0.2]},
            "after_adverse_event": {"delay": 3.5, "dose_factor": 0.75},
            "adverse_events": {
                "frailty": 0.3,
                "terms": {"pain": {"probability": 0.2}, "fever": {"probability": 0.1, "set": ["toxic"]}},
            },
        },
        horizon=1500.0,
    )
    for group, changes in more.items():
        config[group].update(changes)
    return config


# --------------------------------------------------------------------------------------------- any valid model


def examples(number: int, **more: Any) -> settings:
    """Return Hypothesis settings: so many random models, the same ones every time.

    One that fails is printed as it was drawn; LOBULE_SHRINK=1 takes minutes to make it small.
    """
    shrink = [Phase.shrink] if os.environ.get("LOBULE_SHRINK") else []
    usual = {"derandomize": True, "database": None, "deadline": None, "suppress_health_check": list(HealthCheck)}
    return settings(max_examples=number, phases=[Phase.explicit, Phase.generate, *shrink], **(usual | more))
