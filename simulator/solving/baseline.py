"""The solved parts of a compiled model: baseline, latent response, adverse-event thresholds."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any

import numpy as np

from simulator.configuration.values import Parameters, Resolver, parameter_leaves
from simulator.errors import ConfigError, Problem
from simulator.kernels.elementary import normal_cdf
from simulator.model.course import Course, threshold
from simulator.model.events import by_administration
from simulator.model.model import Model, references
from simulator.solving.exposure import number_of_administrations, per_administration_thresholds
from simulator.solving.interventions import ArmEffects, ArmGroups, mediations
from simulator.solving.latent import Schedule, Structure, Task, structure
from simulator.solving.mediation import Mediation
from simulator.solving.mixture import Latent, PrintedShares, Solver
from simulator.tables import Floats

REMEMBERED = 128
"""Solutions that are kept for later declarations, of about 0.2 MB each."""
_KNOWN: dict[object, Latent] = {}
_LOCK = Lock()
TOGETHER = 64
"""Parameter sets whose baselines are held at a time."""


@dataclass
class Solved:
    """What was solved, for `explain` and the run record: quantity → value by stratum, first parameter set."""

    values: dict[str, dict[str, float]] = field(default_factory=dict)
    effect: tuple[float, ...] = ()
    """Share of mediation φ of each parameter set; empty where no baseline is solved."""
    scenario: bool = False
    """Whether response, or its timing, is not that of the published study."""
    arms: frozenset[int] = frozenset()
    """Arms in which it is not that of the scenario."""


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

    design: Schedule
    parameters: Mapping[str, Any]  # path → value
    horizon: Floats  # (B,)
    shares: Floats  # of the strata, (B, strata)


def solve(
    task: Task,
    published: Task,
    study: Task,
    *,
    arms: ArmEffects,
    reference: Reference,
    rates: Mapping[str, Floats],
    frailty: Floats,
) -> tuple[Floats, Solved]:
    """Put solved numbers into the compiled arrays and return the adverse-event thresholds, (B, strata, T).

    Parameters
    ----------
    task : the model with the parameters of this scenario. ``published``: with those of the published study.
    study : as ``published``, with the scenario's own law of death; ``published`` itself where they are the same.
    arms : the course of each arm, and its effects, which are applied. ``reference``: the published study.
    rates : declared probabilities of the adverse-event terms, (B, strata) each.
    frailty : their correlation, (B,).
    """
    n_sets, problems = task.resolver.parameters.n_sets, task.resolver.problems
    share = _shares_caused(task)
    solved = Solved(effect=tuple(map(float, share)) if task.death is not None else ())
    _check_ratios(task)
    then = Solver(published, reference.design)
    theirs = then if study is published else Solver(study, reference.design)
    now = Solver(replace(task, horizon=published.horizon, shares=published.shares), reference.design)
    groups = ArmGroups(task, arms, study=theirs)
    exposure: list[list[Floats]] = []
    first: Latent | None = None
    for start in range(0, n_sets, TOGETHER):  # baselines on a grid take memory: some sets at a time
        sets = range(start, min(start + TOGETHER, n_sets))
        printed = _latents(then, sets, None)
        unsolved = {problem.parameter_set for problem in problems.found}
        sound = [] if None in unsolved else [b for b in sets if b not in unsolved]
        of_study = printed if theirs is then else _latents(theirs, sound, None)
        moved = [b for b in sound if share[b] > 0.0 and _moves_response(theirs, now, b)]
        other = [b for b in sound if b not in moved and not np.array_equal(_inputs(then, b), _inputs(now, b))]
        latent = printed | _latents(now, other, None)
        latent |= _latents(now, moved, mediations(theirs, moved, share, of_study))
        if problems.found:  # of this set or of one before: go on for the names of others
            continue
        first = first or latent[0]
        exposure += [
            [
                number_of_administrations(then.pieces, b, s, float(p), printed[b].median, printed[b].baseline[:, s])
                for s, p in enumerate(printed[b].probability)
            ]
            for b in sets
        ]
        groups.write(sets, latent, of_study, share)
    problems.raise_any()
    if first is not None:
        _tell(solved, now, first, exposure[0])
    solved.scenario, solved.arms = groups.changes.scenario, frozenset(groups.changes.arms)
    return _thresholds(arms.courses[arms.reference], published, rates, frailty, exposure, solved), solved


def structure_of(model: Model, course: Course, design: Schedule) -> Structure | None:
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


def _shares_caused(task: Task) -> Floats:
    """φ of every set (B,): what response causes of the advantage of responders; 0 where no baseline is solved."""
    hazard = None if task.death is None else list(task.model.events.values())[task.death].hazard
    if task.death is None or hazard is None:
        return np.zeros(task.resolver.parameters.n_sets)
    key = f"model.events.{list(task.model.events)[task.death]}.hazard.response_effect"
    return task.resolver.scalar(hazard.response_effect, "mediation", key)


def _moves_response(study: Solver, now: Solver, b: int) -> bool:
    """Whether a scenario differs from the published study in what response is solved from, or in what hides it."""
    parts, numbers = now.pieces.parts, ("family", "table", "parameters", "probability", "success", "effect_ratio")
    rows = [parts.multiplier, *parts.competing, *parts.ending, *parts.deaths]
    for name in numbers:
        which = np.isin(now.pieces.arrays["effect_event"], rows) if name == "effect_ratio" else rows
        if not np.array_equal(study.pieces.arrays[name][b, which], now.pieces.arrays[name][b, which]):
            return True
    return not np.array_equal(study.pieces.arrays["lag"][b], now.pieces.arrays["lag"][b])


def _latents(solver: Solver, sets: Sequence[int], mediation: Mapping[int, Mediation] | None) -> dict[int, Latent]:
    """Solve parameter sets at a solver's design; ``mediation``: where survival is not to stay the calibrated curve.

    What is the same is solved once, also where it comes again in another declaration: a scenario seldom changes it.
    """
    task, pieces, m = solver.task, solver.pieces, solver.pieces.parts.multiplier
    name, event = list(pieces.model.events.items())[m]
    hazard = event.hazard
    observed = set(hazard.observed) if hazard is not None else set()
    median = None
    if "median" in observed and not pieces.driven and hazard is not None and hazard.median is not None:
        median = task.resolver.scalar(hazard.median, "time", f"model.events.{name}.hazard.median")
    solve_share = "probability" in observed
    share = pieces.arrays["probability"][:, m, : pieces.n_strata]

    def solved(rows: list[int]) -> list[Latent]:
        wanted = PrintedShares(share[rows], None if median is None else median[rows], solve_share)
        return solver.solve(rows, wanted, None if mediation is None else [mediation[b] for b in rows])

    if mediation is not None or pieces.driven:  # depends on more than its own numbers
        return dict(zip(sets, solved(list(sets)), strict=True))
    common = (
        repr(pieces.model),
        pieces.parts,
        solve_share,
        *((t.tobytes(), h.tobytes()) for t, h in pieces.compiled.knots),
    )
    keys = {b: (common, _numbers(solver, b, median)) for b in sets}
    with _LOCK:
        latent = {key: _KNOWN[key] for key in keys.values() if key in _KNOWN}
    first = {keys[b]: b for b in reversed(sets) if keys[b] not in latent}
    rows = list(first.values())
    latent |= zip(first, solved(rows), strict=True)
    unsolved = {problem.parameter_set for problem in task.resolver.problems.found}
    if None not in unsolved:
        sound = [key for key, b in first.items() if b not in unsolved]
        with _LOCK:
            _KNOWN.update((key, replace(latent[key], baseline=latent[key].baseline.copy())) for key in sound)
            while len(_KNOWN) > REMEMBERED:
                _KNOWN.pop(next(iter(_KNOWN)))
    return {b: latent[keys[b]] for b in sets}


def _numbers(solver: Solver, b: int, median: Floats | None) -> tuple[object, ...]:
    """Every number that a solution depends on, beside the model."""
    task, printed = solver.task, None if median is None else float(median[b])
    numbers = (_inputs(solver, b).tobytes(), task.shares[b].tobytes(), float(task.horizon[b]), printed)
    return *numbers, solver.pieces.assessment(b)


def _inputs(solver: Solver, b: int) -> Floats:
    """Every number that a solution depends on, flat."""
    names = ("family", "parameters", "probability", "success", "lag", "effect_ratio")
    return np.concatenate([np.ravel(solver.pieces.arrays[name][b]) for name in names])


def _tell(solved: Solved, solver: Solver, latent: Latent, exposure: list[Floats]) -> None:
    strata, name = solver.task.resolver.strata, solver.pieces.names[solver.pieces.parts.multiplier]
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
        common = np.all(rates[term] == rates[term][:, :1], axis=1)
        groups: list[tuple[int, slice, Floats]] = []  # parameter set, strata, administrations
        for b, each in enumerate(exposure):
            if common[b]:
                groups.append((b, slice(None), np.average(each, axis=0, weights=task.shares[b])))
            else:
                groups += [(b, slice(s, s + 1), each[s]) for s in range(len(strata))]
        rate = np.array([rates[term][b, where][0] for b, where, _ in groups])
        found = per_administration_thresholds(rate, [more for *_, more in groups], frailty[[b for b, *_ in groups]])
        for (b, where, given), share, a in zip(groups, rate.tolist(), found.tolist(), strict=True):
            out[b, where, t] = a
            if share > (float(given[0]) + 1e-9 if given.size else 0.0):
                key = f"course.adverse_events.terms.{term}.probability"
                allowed = "is more than the share of patients who receive any administration"
                which = b if len(exposure) > 1 else None
                task.resolver.problems.add(key, share, allowed, parameter_set=which)
        per_administration = [normal_cdf(float(a)) for a in out[0, :, t]]
        solved.values[f"adverse_event.{term} per administration"] = dict(zip(strata, per_administration, strict=True))
    task.resolver.problems.raise_any()
    return out


def published_parameters(resolver: Resolver, reference: Reference, *, but: Collection[str] = ()) -> Parameters:
    """Return the parameters with the published study's values laid over them, ``but`` for some paths.

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
    leaves = {path: leaf for path, leaf in leaves.items() if not _below(path, but)}
    kept = {path: values for path, values in resolver.parameters.varied.items() if path not in leaves}
    return Parameters({**resolver.parameters.leaves, **leaves}, resolver.parameters.n_sets, kept)


def law_of_death(model: Model, death: int | None) -> set[str]:
    """Return the paths of parameters that the solved death and its hazard ratios refer to."""
    return set() if death is None else references(list(model.events.values())[death])


def _below(path: str, above: Collection[str]) -> bool:
    """Whether a parameter is one of some paths, or the value of a stratum there."""
    return path in above or path.rpartition(".")[0] in above
