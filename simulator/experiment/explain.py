"""What follows from a declaration, in words."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from simulator.experiment.assumption import assumption
from simulator.experiment.schema import Experiment
from simulator.kernels.elementary import normal_cdf
from simulator.kernels.hazards import FAMILIES, cumulative_hazard, inverse_cumulative_hazard
from simulator.model.model import Model
from simulator.tables import NONE, Clock, Driver, ModelTables

CONFIGURATIONS = 100_000
"""More reachable configurations (state and set of markers) than this are not enumerated."""
LN2 = 0.6931471805599453


def explain(experiment: Experiment) -> str:
    """Return a description of what a declaration implies, for a modeler to check against their intentions."""
    return "\n".join(_lines(experiment)) + "\n"


def _lines(experiment: Experiment) -> Iterator[str]:
    model, tables, cohort = experiment.model, experiment.tables, experiment.cohort
    yield f"{cohort.title or cohort.name} ({cohort.name})"
    yield ""
    size, studies = int(tables.patients.n_patients[0]), experiment.study.replicates
    yield f"Patients   {size} a study, {studies} studies, followed at most {tables.horizon[0]:g} days"
    if experiment.size:
        yield f"           {experiment.size}"
    shares = tables.patients.share[0].reshape(len(tables.arms), -1)
    yield "Strata     " + ", ".join(
        f"{name} {share:.1%}" for name, share in zip(tables.strata, shares.sum(axis=0), strict=True)
    )
    if len(tables.arms) > 1:
        yield "Arms       " + ", ".join(
            f"{name} {share:.1%}" for name, share in zip(tables.arms, shares.sum(axis=1), strict=True)
        )
    if tables.patients.covariates:
        yield f"Covariates {', '.join(tables.patients.covariates)}"
    states = [f"{state} (absorbing)" if state in model.absorbing else state for state in model.states]
    yield f"States     {', '.join(states)}; all start in {model.initial}"
    if model.markers:
        yield f"Markers    {', '.join(model.markers)}"
    yield ""
    yield "At risk of, by state"
    for s, state in enumerate(tables.states):
        if not tables.absorbing[s]:
            events = [event for e, event in enumerate(tables.events) if tables.event_from[e, s]]
            yield f"  {state}: {', '.join(events) or 'nothing'}"
    yield ""
    yield "Events (net: as if nothing else happened, all hazard ratios 1)"
    for e, name in enumerate(tables.events):
        yield from _event(tables, e, name, model)
    yield ""
    yield from _course(experiment)
    yield from _study(experiment)
    if experiment.solved.values:
        yield ""
        yield "Solved, so that what the paper saw comes out"
        for what, by_stratum in experiment.solved.values.items():
            values = {f"{v:.4g}" for v in by_stratum.values()}
            shown = values.pop() if len(values) == 1 else ", ".join(f"{k} {v:.4g}" for k, v in by_stratum.items())
            yield f"  {what}: {shown}"
    if said := assumption(experiment):
        yield f"  survival: {said}"
    yield ""
    yield "Readings   " + (", ".join(f"{q}: {a}" for q, a in experiment.selection.chosen.items()) or "none to choose")
    yield from (f"           not applied: {name} ({why})" for name, why in experiment.not_applied.items())
    yield "Parameters, with where they come from" + (f"; {experiment.borrowed}" if experiment.borrowed else "")
    for path, leaf in experiment.parameters.items():
        yield f"  {path} = {leaf.value} [{leaf.provenance}]" + "".join(
            f" {said}" for said in (leaf.source, leaf.note) if said
        )
    lines = [*experiment.warnings, *recurrence_warnings(model)]
    if lines:
        yield ""
        yield "Surely meant?"
        yield from (f"  {text}" for text in lines)


def _event(tables: ModelTables, e: int, name: str, model: Model) -> Iterator[str]:
    families = {family.code: name for name, family in FAMILIES.items()}
    to = "" if tables.event_to[e] == NONE else f" → {tables.states[tables.event_to[e]]}"
    declared = model.events[name]
    extra = []
    if declared.set or declared.clear:
        extra.append("; ".join([*(f"sets {m}" for m in declared.set), *(f"clears {m}" for m in declared.clear)]))
    if tables.event_clock[e] != Clock.FORWARD:
        extra.append(f"clock {Clock(tables.event_clock[e]).name.lower()}")
    if tables.event_recurrent[e]:
        extra.append(f"may recur, at most {tables.event_maximum[e]} times")
    yield f"  {name}{to}" + (f" ({'; '.join(extra)})" if extra else "")
    yield from _ratios(tables, e)
    for a, arm in enumerate(tables.arms):
        effect = tables.cell_ratio[0, e, a * len(tables.strata)]
        if effect != 1.0:
            yield f"    ratio of arm {arm}: {effect:.4g}"
    for c in range(tables.n_cells):
        cell = tables.strata[c % len(tables.strata)] + (
            f", {tables.arms[c // len(tables.strata)]}" if len(tables.arms) > 1 else ""
        )
        ever = float(tables.probability[0, e, c])
        if tables.event_driver[e] == Driver.ADMINISTRATION:
            yield f"    {cell}: {tables.success[0, e, c]:.3g} per administration" + (
                f", in {ever:.3g} of patients" if ever < 1 else ""
            )
            continue
        family, table = int(tables.family[0, e, c]), int(tables.table[0, e, c])
        start, stop = (int(tables.knot_offset[table]), int(tables.knot_offset[table + 1])) if table != NONE else (0, 0)
        p0, p1, p2 = map(float, tables.parameters[0, e, c])
        rest = (p0, p1, p2, start, stop, tables.knot_time, tables.knot_hazard)
        median = inverse_cumulative_hazard(family, LN2, *rest)
        if tables.event_clock[e] == Clock.AGE:
            yield f"    {cell}: {families[family]}, median age {median / 365.25:.3g} years"
            continue
        by_horizon = ever * -np.expm1(-cumulative_hazard(family, float(tables.horizon[0]), *rest))
        often = f"ever in {ever:.3g}, " if ever < 1 else ""
        at = f"median {median:.4g} d" if np.isfinite(median) else "median not reached"
        yield f"    {cell}: {families[family]}, {often}{at}, by the horizon {by_horizon:.3g}"


def _ratios(tables: ModelTables, e: int) -> Iterator[str]:
    """Hazard ratios of states, markers and covariates, in the order in which they are multiplied."""
    for f in np.flatnonzero(tables.effect_event == e):
        state, marker = int(tables.effect_state[f]), int(tables.effect_marker[f])
        when = [tables.markers[marker]] if marker != NONE else []
        when += [f"in {tables.states[state]}"] if state != NONE else []
        values = dict.fromkeys(f"{ratio:.4g}" for ratio in tables.effect_ratio[0, f])
        yield f"    hazard ratio {', '.join(values)} while {' '.join(when)}"
    for g in np.flatnonzero(tables.covariate_effect_event == e):
        covariate = tables.patients.covariates[int(tables.covariate_effect_covariate[g])]
        slope, reference = tables.covariate_effect[0, g]
        yield f"    hazard ratio exp({slope:.4g} · ({covariate} − {reference:.6g}))"


def _study(experiment: Experiment) -> Iterator[str]:
    study = experiment.study
    cut = f"data cut {_said(study.data_cut)}"
    if study.minimum_follow_up is not None:
        cut = f"data cut {_said(study.minimum_follow_up)} after the last possible entry"
    yield f"Study      entry {_said(study.accrual)} after opening; {cut}"
    seen = f"{', '.join(study.assessed)} seen every {_said(study.assessment_interval)}" if study.assessed else "nothing"
    lost = "nobody" if study.loss_to_follow_up is None else f"by {study.loss_to_follow_up.family}"
    yield f"           assessments: {seen}; lost to follow-up: {lost}"
    for name, population in study.populations.items():
        yield f"           population {name}: " + (population.label or f"part of {population.of}")


def _course(experiment: Experiment) -> Iterator[str]:
    course, tables = experiment.course, experiment.tables.course
    if not np.any(tables.given):
        yield "Course     nothing is administered"
        return
    several = len(experiment.courses) > 1
    for a, own in enumerate(experiment.courses):
        title = f"Course of {experiment.tables.arms[a]}: " if several else "Course     "
        most = int(tables.maximum[0, a])
        often = "once" if own.interval is None or most == 1 else f"every {_said(own.interval)}, at most {most} times"
        stops = ", ".join([*own.stop.states, *own.stop.markers]) or "death only"
        yield title + (f"{often}; stops at {stops}" if most else "nothing is administered")
    for t, term in enumerate(course.adverse_events.terms):
        each = {f"{normal_cdf(float(a)):.3g}" for a in experiment.tables.course.term_threshold[0, :, t]}
        yield f"  {term}: {' to '.join(sorted(each)[:: max(len(each) - 1, 1)])} at each administration"


def _said(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, dict) and len(value) == 1:
        name, given = next(iter(value.items()))
        return f"{name} {', '.join(map(str, given)) if isinstance(given, list) else given}"
    return f"{value} days" if isinstance(value, (int, float)) else str(value)


def recurrence_warnings(model: Model) -> list[str]:
    """Return events that could happen again but are not declared to (`maximum`), by walking configurations."""
    index = {marker: i for i, marker in enumerate(model.markers)}

    def mask(names: list[str]) -> int:
        return sum(1 << index[n] for n in set(names))

    start = (model.initial, mask(model.initial_markers))
    after: dict[str, set[tuple[str, int]]] = {name: set() for name in model.events}
    seen, queue = {start}, [start]
    moves: dict[tuple[str, int], list[tuple[str, tuple[str, int]]]] = {}
    while queue:
        state, markers = here = queue.pop()
        moves[here] = []
        for name, event in model.events.items():
            when, unless = mask(event.when), mask(event.unless)
            if state not in event.from_ or markers & when != when or markers & unless:
                continue
            base = (markers & ~mask(event.clear)) | mask(event.set)
            for chosen in [mask(o.set) for o in event.choose.values()] or [0]:
                there = (event.to or state, base | chosen)
                moves[here].append((name, there))
                after[name].add(there)
                if there not in seen:
                    seen.add(there)
                    queue.append(there)
        if len(seen) > CONFIGURATIONS:
            return []
    lines = []
    for name, event in model.events.items():
        if event.maximum is not None or event.to is None:
            continue
        reached, queue = set(after[name]), list(after[name])
        while queue:
            for again, there in moves.get(queue.pop(), []):
                if again == name:
                    lines.append(
                        f"model.events.{name} could happen again but happens at most once;"
                        " give `maximum` if it may recur"
                    )
                    queue.clear()
                    break
                if there not in reached:
                    reached.add(there)
                    queue.append(there)
    return lines
