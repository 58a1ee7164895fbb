"""The solved parts of a compiled model: baseline, latent response, adverse-event thresholds.

Knows which declared numbers are consequences and where the solved ones go; the quadrature is `latent`'s
and `exposure`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from simulator.declaration.course import Course, threshold
from simulator.declaration.exposure import number_of_administrations, per_administration_threshold
from simulator.declaration.latent import Reference, Solver, structure
from simulator.declaration.model import CompiledEvents, Model
from simulator.declaration.values import Parameters, Resolver, parameter_leaves
from simulator.errors import ConfigError, Problem
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


def solve(
    model: Model,
    compiled: CompiledEvents,
    resolver: Resolver,
    *,
    reference: Reference,
    horizon: Floats,
    shares: Floats,
    n_arms: int,
    course: Course,
    rates: Mapping[str, Floats],
    frailty: Floats,
) -> tuple[Floats, Solved]:
    """Put solved numbers into the compiled arrays and return the adverse-event thresholds, (B, C, T).

    ``rates`` are the declared probabilities of the terms (`course.term_rates`), ``frailty`` their
    correlation by set; everything has been read without a problem.
    """
    solved, problems = Solved(), resolver.problems
    terms = course.adverse_events.terms
    n_sets, n_strata = resolver.parameters.n_sets, len(resolver.strata)
    thresholds = np.full((n_sets, n_arms * n_strata, len(terms)), -np.inf)
    name = multiplier_of(model, course)
    exposure: list[list[Floats]] = []
    if name is not None:
        parts = structure(model, name, reference.course.response)
        if isinstance(parts, str):
            refusal = Problem(
                f"model.events.{name}",
                name,
                f"nothing can be solved around this event: {parts}. Leave out `observed` and `solved_for` and give"
                " latent values; give adverse events as probabilities per administration",
            )
            raise ConfigError(refusal)
        exposure = _solve_events(model, compiled, resolver, reference, horizon, shares, n_arms, name, parts, solved)
    for t, (term, declared) in enumerate(terms.items()):
        for b in range(n_sets):
            for s in range(n_strata):
                rate = float(rates[term][b, s])
                if declared.scale == "per_administration":
                    value = threshold(rate)
                else:
                    pooled = np.all(rates[term][b] == rate)
                    more = np.average(exposure[b], axis=0, weights=shares[b]) if pooled else exposure[b][s]
                    value = per_administration_threshold(rate, np.asarray(more), float(frailty[b]))
                    if value == np.inf and rate > float(np.asarray(more)[0]) + 1e-9:
                        problems.add(
                            f"course.adverse_events.terms.{term}.probability",
                            rate,
                            "is more than the share of patients who receive any administration",
                        )
                thresholds[b, s::n_strata, t] = value
    if any(term.scale == "ever" for term in terms.values()):
        from simulator.kernels.elementary import normal_cdf

        for t, term in enumerate(terms):
            if terms[term].scale == "ever":
                solved.values[f"adverse_event.{term} per administration"] = {
                    stratum: normal_cdf(float(thresholds[0, s, t])) for s, stratum in enumerate(resolver.strata)
                }
    problems.raise_any()
    return thresholds, solved


def _solve_events(
    model: Model,
    compiled: CompiledEvents,
    resolver: Resolver,
    reference: Reference,
    horizon: Floats,
    shares: Floats,
    n_arms: int,
    name: str,
    parts: Any,
    solved: Solved,
) -> list[list[Floats]]:
    """Solve latent values and the baseline of every set and stratum; return P(N > k) of each."""
    arrays, strata = compiled.arrays, resolver.strata
    names, events = list(model.events), list(model.events.values())
    m, hazard = parts.multiplier, events[parts.multiplier].hazard
    death = next(
        (e for e, event in enumerate(events) if event.hazard is not None and event.hazard.solved_for == name),
        None,
    )
    observed = set(hazard.observed) if hazard is not None else set()
    effects = ["prognostic"] * resolver.parameters.n_sets
    calibrated = None if death is None else events[death].hazard
    if calibrated is not None and death is not None:
        effects = resolver.names(
            calibrated.response_effect,
            EFFECTS,
            f"model.events.{names[death]}.hazard.response_effect",
            what="response effect",
        )
    resolver.problems.raise_any()
    solver = Solver(model, compiled, resolver, reference, horizon, shares, parts, death)
    published = _published(model, resolver, reference, name)
    exposure: list[list[Floats]] = []
    solved.effect = tuple(effects)
    for b in range(resolver.parameters.n_sets):
        targets = arrays["probability"][b, m, : len(strata)].copy()
        median = None
        if "median" in observed and not solver.driven and hazard is not None and hazard.median is not None:
            median = float(resolver.scalar(hazard.median, "time", f"model.events.{name}.hazard.median")[b])
        fixed = None
        wants = "probability" in observed
        if effects[b] == "causal" and death is not None:
            fixed = solver.latent(
                b,
                published[0][b],
                published[1] if median is None else published[1] or median,
                solve_probability=wants,
                fixed=None,
            )[2]
        probabilities, latent_median, bases = solver.latent(b, targets, median, solve_probability=wants, fixed=fixed)
        resolver.problems.raise_any()
        rows: list[Floats] = []
        for s in range(len(strata)):
            rows.append(number_of_administrations(solver, b, s, float(probabilities[s]), latent_median, bases[s]))
            cells = slice(s, None, len(strata))
            arrays["probability"][b, m, cells] = probabilities[s]
            if latent_median is not None:
                arrays["parameters"][b, m, cells] = solver.with_median(b, s, latent_median)
            q = solver.quadrature(b, s, float(probabilities[s]), latent_median)
            if death is not None and (q.ratio != 1.0 or fixed is not None):
                arrays["family"][b, death, cells] = FAMILIES["tabulated"]
                arrays["table"][b, death, cells] = len(compiled.knots)
                arrays["probability"][b, death, cells] = 1.0
                time, knots, slope = solver.table(b, bases[s], q.atom)
                arrays["parameters"][b, death, cells] = (slope, 0.0, 0.0)
                compiled.knots.append((time, knots))
        exposure.append(rows)
        if b == 0:
            solved.values[f"{name}.probability (latent)"] = dict(zip(strata, map(float, probabilities), strict=True))
            if latent_median is not None:
                solved.values[f"{name}.median (latent, days)"] = dict.fromkeys(strata, latent_median)
            mean = [float(row.sum()) for row in rows]
            solved.values["administrations (mean, reference course)"] = dict(zip(strata, mean, strict=True))
    return exposure


def _published(model: Model, resolver: Resolver, reference: Reference, name: str) -> tuple[Floats, float | None]:
    """Observed probability (B, S) and median of the multiplier in the published study, for `causal`."""
    leaves = parameter_leaves(reference.overrides, resolver.problems)
    for path in leaves:
        if path not in resolver.parameters.leaves:
            resolver.problems.unknown(
                f"parameters.reference.parameters.{path}", path, resolver.parameters.leaves, what="parameter"
            )
    resolver.problems.raise_any()
    kept = {k: v for k, v in resolver.parameters.varied.items() if k not in leaves}
    parameters = Parameters({**resolver.parameters.leaves, **leaves}, resolver.parameters.n_sets, kept)
    published = Resolver(parameters, resolver.strata, resolver.problems)
    event = model.events[name]
    hazard = event.hazard
    if hazard is None:
        ever = event.per_administration.ever if event.per_administration is not None else 1
        return published.array(ever, "probability", f"model.events.{name}"), None
    median = None
    if "median" in hazard.observed and hazard.median is not None:
        median = float(published.scalar(hazard.median, "time", f"model.events.{name}.hazard.median")[0])
    return published.array(hazard.probability, "probability", f"model.events.{name}"), median
