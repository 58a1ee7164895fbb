"""The solved parts of a compiled model: baseline, latent response, adverse-event thresholds.

Knows which declared numbers are consequences and where the solved ones go; the quadrature is `latent`'s
and `exposure`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from simulator.declaration.course import Course, threshold
from simulator.declaration.exposure import number_of_administrations, per_administration_threshold
from simulator.declaration.latent import Design, Solver, Structure, Task, structure
from simulator.declaration.model import Model, by_administration
from simulator.declaration.values import Parameters, Resolver, parameter_leaves
from simulator.errors import ConfigError, Problem
from simulator.kernels.elementary import normal_cdf
from simulator.kernels.hazards import FAMILIES
from simulator.tables import Floats

EFFECTS = ("prognostic", "causal")


@dataclass
class Solved:
    """What was solved, for `explain` and the run record: quantity → value by stratum, first parameter set."""

    values: dict[str, dict[str, float]] = field(default_factory=dict)
    effect: tuple[str, ...] = ()


def multiplier_of(model: Model, course: Course) -> str | None:
    """Name of the event around which things are solved, None where nothing needs solving."""
    for event in model.events.values():
        if event.hazard is not None and event.hazard.solved_for is not None:
            return event.hazard.solved_for
    for name, event in model.events.items():
        if event.hazard is not None and event.hazard.observed:
            return name
    if any(term.scale == "ever" for term in course.adverse_events.terms.values()):
        if course.planned is not None and course.planned.if_ever is not None:
            return course.planned.if_ever
        return next(
            (
                n
                for n, e in model.events.items()
                if e.to is not None and model.initial in e.from_ and e.hazard is not None
            ),
            None,
        )
    return None


@dataclass(frozen=True)
class Reference:
    """The published study: its design, horizon, mix, and the values its parameters had where they are given."""

    design: Design
    parameters: Mapping[str, Any]  # path → value
    horizon: Floats  # (B,)
    shares: Floats  # of the strata, (B, strata)


@dataclass(frozen=True)
class Latent:
    """What was solved in one parameter set: latent probabilities (strata,), common median, baselines by stratum."""

    probability: Floats
    median: float | None
    baseline: list[Floats]


def solve(
    task: Task,
    published: Task,
    *,
    course: Course,
    reference: Reference,
    rates: Mapping[str, Floats],
    frailty: Floats,
) -> tuple[Floats, Solved]:
    """Put solved numbers into the compiled arrays and return the adverse-event thresholds, (B, strata, T).

    Parameters
    ----------
    task : the model with the parameters of this scenario. ``published``: with those of the published study.
    course : of this scenario. ``reference``: the published study's.
    rates : declared probabilities of the adverse-event terms, (B, strata) each.
    frailty : their correlation, (B,).
    """
    n_sets = task.resolver.parameters.n_sets
    solved = Solved(effect=tuple(_effects(task)))
    then = Solver(published, reference.design)
    now = Solver(replace(task, horizon=published.horizon, shares=published.shares), reference.design)
    here = Solver(task, Design(course, reference.design.assessment))
    there = Solver(replace(published, horizon=task.horizon), reference.design)
    exposure = []
    _check_ratios(task)
    for b in range(n_sets):
        study = _solved(then, b, None)
        causal = bool(solved.effect) and solved.effect[b] == "causal"
        same = np.array_equal(_inputs(then, b), _inputs(now, b))
        latent = study if same else _solved(now, b, study.baseline if causal else None)
        solver, of = (there, study) if causal else (here, latent)
        baseline = [solver.baseline(solver.quadrature(b, s, float(p), of.median)) for s, p in enumerate(of.probability)]
        exposure.append(
            [
                number_of_administrations(then, b, s, float(p), study.median, study.baseline[s])
                for s, p in enumerate(study.probability)
            ]
        )
        _write(here, b, latent, baseline, causal=causal)
        if b == 0:
            _tell(solved, now, latent, exposure[0])
    return _thresholds(course, published, rates, frailty, exposure, solved), solved


def structure_of(model: Model, course: Course, design: Design) -> Structure | None:
    """Return the structure around which this model is solved, None where nothing needs solving.

    Raises
    ------
    ConfigError
        If something needs solving and the model is outside the class that can be.
    """
    name = multiplier_of(model, course)
    ever = [term for term, declared in course.adverse_events.terms.items() if declared.scale == "ever"]
    if ever:
        _check_exposure(model, design.course, name, f"course.adverse_events.terms.{ever[0]}.scale")
    if name is None:
        return None
    parts = structure(model, name, design.course.response)
    if not isinstance(parts, str):
        terms = course.adverse_events.terms.values()
        elsewhere = {marker for term in terms for marker in term.set} | ({course.marker} if course.marker else set())
        shared = sorted(elsewhere & set(model.events[name].set))
        if shared:
            parts = f"the marker {shared[0]!r} is set by the course or by an adverse event too"
    if isinstance(parts, str):
        refusal = Problem(
            f"model.events.{name}",
            name,
            f"nothing can be solved around this event: {parts}. Leave out `observed` and `solved_for` and give"
            " latent values; give adverse events as probabilities per administration",
        )
        raise ConfigError(refusal)
    return parts


def _check_exposure(model: Model, course: Course, multiplier: str | None, key: str) -> None:
    """Refuse rates of patients where the number of administrations has no quadrature."""
    cure = "; give it per administration instead"
    if multiplier is None:
        raise ConfigError(Problem(key, "ever", f"cannot be solved: no hazard ends the course or the life{cure}"))
    planned = course.planned.if_ever if course.planned is not None else None
    if planned is not None and planned != multiplier:
        why = f"course.planned.if_ever is {planned}, but only {multiplier} is solved for"
        raise ConfigError(Problem(key, "ever", f"cannot be solved: {why}{cure}"))
    once = isinstance(course.max_administrations, int) and course.max_administrations <= 1
    event = model.events[multiplier]
    stops = {*course.stop.states, *model.absorbing}
    if by_administration(event, course.response) and not once:
        stopping = event.to in stops or bool(set(event.set) & set(course.stop.markers))
        if event.per_administration is None or not event.per_administration.withhold or not stopping:
            why = f"{multiplier} follows administrations and does not withhold and stop them"
            raise ConfigError(Problem(key, "ever", f"cannot be solved: {why}{cure}"))
    for name, other in model.events.items():
        if name != multiplier and by_administration(other, course.response) and other.to in stops and not once:
            raise ConfigError(Problem(key, "ever", f"cannot be solved: administrations may bring {name}{cure}"))
    markers = {marker for term in course.adverse_events.terms.values() for marker in term.set}
    if markers & set(course.stop.markers):
        raise ConfigError(Problem(key, "ever", f"cannot be solved: an adverse event stops the course{cure}"))
    if course.after_adverse_event.delay not in (0, 0.0, "0 d"):
        raise ConfigError(Problem(key, "ever", f"cannot be solved: adverse events delay the course{cure}"))


def calibrated_death(model: Model, multiplier: int) -> int | None:
    """Index of the event whose declared hazard is the mixture's over the multiplier, None if there is none."""
    name = list(model.events)[multiplier]
    events = enumerate(model.events.values())
    return next((e for e, event in events if event.hazard is not None and event.hazard.solved_for == name), None)


def plain_thresholds(course: Course, rates: Mapping[str, Floats], shape: tuple[int, int]) -> Floats:
    """Thresholds of terms that are declared per administration, where nothing is solved, (B, strata, T)."""
    out = np.full((*shape, len(course.adverse_events.terms)), -np.inf)
    for t, term in enumerate(course.adverse_events.terms):
        out[:, :, t] = np.vectorize(threshold, otypes=[float])(rates[term])
    return out


def _check_ratios(task: Task) -> None:
    """A multiplier that stops its bearers from dying leaves no baseline that could hold the marginal."""
    if task.death is None:
        return
    for f in np.flatnonzero(task.compiled.arrays["effect_event"] == task.death):
        if np.any(task.compiled.arrays["effect_ratio"][:, f] <= 0.0):
            name = list(task.model.events)[task.death]
            task.resolver.problems.add(f"model.events.{name}.ratios", 0, "must be > 0 where the baseline is solved")
    task.resolver.problems.raise_any()


def _effects(task: Task) -> list[str]:
    """``prognostic`` or ``causal`` in every set, empty where no baseline is solved."""
    if task.death is None:
        return []
    name, event = list(task.model.events.items())[task.death]
    if event.hazard is None:
        return []
    key = f"model.events.{name}.hazard.response_effect"
    return task.resolver.names(event.hazard.response_effect, EFFECTS, key, what="response effect")


def _solved(solver: Solver, b: int, fixed: list[Floats] | None) -> Latent:
    """Solve one parameter set at a solver's design, with given baselines or with the baselines themselves."""
    task, m = solver.task, solver.parts.multiplier
    name, event = list(solver.model.events.items())[m]
    hazard = event.hazard
    observed = set(hazard.observed) if hazard is not None else set()
    targets = solver.arrays["probability"][b, m, : len(task.resolver.strata)]
    median = None
    if "median" in observed and not solver.driven and hazard is not None and hazard.median is not None:
        median = float(task.resolver.scalar(hazard.median, "time", f"model.events.{name}.hazard.median")[b])
    latent = Latent(*solver.latent(b, targets, median, solve_probability="probability" in observed, fixed=fixed))
    task.resolver.problems.raise_any()
    return latent


def _inputs(solver: Solver, b: int) -> Floats:
    """Every number that a solution depends on, flat."""
    names = ("family", "parameters", "probability", "success", "lag", "effect_ratio")
    return np.concatenate([np.ravel(solver.arrays[name][b]) for name in names])


def _write(solver: Solver, b: int, latent: Latent, baseline: list[Floats], *, causal: bool) -> None:
    """Put latent values and the tabulated baseline of one parameter set into the compiled arrays."""
    arrays, m, death = solver.arrays, solver.parts.multiplier, solver.solved
    n_strata = len(latent.probability)
    for s, probability in enumerate(latent.probability):
        cells = slice(s, None, n_strata)
        q = solver.quadrature(b, s, float(probability), latent.median)
        arrays["probability"][b, m, cells] = probability
        if latent.median is not None:
            arrays["parameters"][b, m, cells] = solver.with_median(b, s, latent.median)
        if death is not None and (q.ratio != 1.0 or causal):
            time, knots, slope = solver.table(b, baseline[s], q)
            arrays["family"][b, death, cells] = FAMILIES["tabulated"]
            arrays["table"][b, death, cells] = len(solver.compiled.knots)
            arrays["probability"][b, death, cells] = 1.0
            arrays["parameters"][b, death, cells] = (slope, 0.0, 0.0)
            solver.compiled.knots.append((time, knots))


def _tell(solved: Solved, solver: Solver, latent: Latent, exposure: list[Floats]) -> None:
    strata, name = solver.task.resolver.strata, solver.names[solver.parts.multiplier]
    solved.values[f"{name}.probability (latent)"] = dict(zip(strata, map(float, latent.probability), strict=True))
    if latent.median is not None:
        solved.values[f"{name}.median (latent, days)"] = dict.fromkeys(strata, latent.median)
    mean = [float(row.sum()) for row in exposure]
    solved.values["administrations (mean, reference course)"] = dict(zip(strata, mean, strict=True))


def _thresholds(
    course: Course,
    task: Task,
    rates: Mapping[str, Floats],
    frailty: Floats,
    exposure: list[list[Floats]],
    solved: Solved,
) -> Floats:
    """Φ⁻¹ of each term's marginal probability per administration; a rate common to all strata is the cohort's."""
    strata, terms = task.resolver.strata, course.adverse_events.terms
    out = plain_thresholds(course, rates, (len(exposure), len(strata)))
    for t, (term, declared) in enumerate(terms.items()):
        if declared.scale == "per_administration":
            continue
        for b, s in np.ndindex(len(exposure), len(strata)):
            rate = float(rates[term][b, s])
            more = exposure[b][s]
            if np.all(rates[term][b] == rate):
                more = np.average(exposure[b], axis=0, weights=task.shares[b])
            out[b, s, t] = per_administration_threshold(rate, np.asarray(more), float(frailty[b]))
            if rate > (float(more[0]) + 1e-9 if more.size else 0.0):
                key = f"course.adverse_events.terms.{term}.probability"
                task.resolver.problems.add(
                    key, rate, "is more than the share of patients who receive any administration"
                )
        per_administration = [normal_cdf(float(a)) for a in out[0, :, t]]
        solved.values[f"adverse_event.{term} per administration"] = dict(zip(strata, per_administration, strict=True))
    task.resolver.problems.raise_any()
    return out


def published_parameters(resolver: Resolver, reference: Reference) -> Parameters:
    """Return the parameters with the published study's values laid over them.

    Raises
    ------
    ConfigError
        If a reference value names no parameter.
    """
    leaves = parameter_leaves(reference.parameters, resolver.problems)
    for path in leaves:
        if path not in resolver.parameters.leaves:
            key = f"parameters.reference.parameters.{path}"
            resolver.problems.unknown(key, path, resolver.parameters.leaves, what="parameter")
    resolver.problems.raise_any()
    kept = {path: values for path, values in resolver.parameters.varied.items() if path not in leaves}
    return Parameters({**resolver.parameters.leaves, **leaves}, resolver.parameters.n_sets, kept)
