"""From what papers print to what patients have. Knows quadrature on a grid of days; simulates nothing.

Three things a paper reports are consequences, not parameters: the survival of everybody (a mixture of
responders and others), the share in whom a response was seen, and the time at which it was seen. Here the
baseline hazard, the latent probability and the latent median are solved so that those come out, at the
`parameters.reference` design of the published study.

The class that can be solved: one event (the *multiplier*, here always a response) that does not depend on
death, seen from entry, whose competing events do not depend on it; deaths on the forward clock. Anything
else is refused by name, and the modeler gives latent values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from simulator.declaration.course import Course, planned_cdf
from simulator.declaration.model import KINDS, CompiledEvents, Event, Model, by_administration
from simulator.declaration.values import Resolver
from simulator.kernels.hazards import FAMILIES, PARAMETERS, cumulative_hazards, kernel_parameters
from simulator.kernels.marginal import (
    baseline_hazard,
    convolved,
    negative_exponential,
    renewal_mass,
    seen_mass,
)
from simulator.kernels.quantiles import cumulative as distribution_function
from simulator.tables import NONE, Floats

STEP = 0.25
"""Grid step, days."""
SPREAD = 0.005
"""Knot j of a tabulated baseline stands at the grid point nearest to SPREAD·j², whatever the horizon."""
FINEST = 12
"""Knots inside the first grid cell, each at half the time of the one above it: a hazard may begin steeply."""
DIGITS = 9
"""Significant digits kept of a solved number, so that rounding in the solver never reaches a trajectory."""


@dataclass(frozen=True)
class Structure:
    """The parts of a model that a multiplier's quadrature needs: indices of events."""

    multiplier: int
    deaths: tuple[int, ...]  # absorbing events from the multiplier's states
    competing: tuple[int, ...]  # events that leave those states otherwise
    ending: tuple[int, ...]  # events that end the multiplier's own state


@dataclass(frozen=True)
class Design:
    """Under which course, and on which assessment grid, something is solved."""

    course: Course
    assessment: Any  # distribution of the interval between assessments, None: seen at onset


@dataclass(frozen=True)
class Task:
    """What is to be solved: a compiled model, around which event, for which horizon and mix of strata."""

    model: Model
    compiled: CompiledEvents
    resolver: Resolver
    parts: Structure
    death: int | None  # the event whose calibrated curve is the mixture's, None if there is none
    horizon: Floats  # (B,)
    shares: Floats  # of the strata, (B, strata)


def significant(value: float) -> float:
    """Round to the digits kept of a solved number."""
    return float(f"{value:.{DIGITS}g}")


def structure(model: Model, name: str, response: str) -> Structure | str:
    """Return the structure around a multiplier, or why it cannot be solved."""
    names, events = list(model.events), list(model.events.values())
    m = names.index(name)
    multiplier = events[m]
    if model.initial not in multiplier.from_:
        return f"{name} does not start from the initial state {model.initial!r}"
    if multiplier.clock != "forward" or multiplier.when or multiplier.unless or multiplier.maximum is not None:
        return f"{name} must be on the forward clock, happen once and need no marker"
    if multiplier.ratios and not by_administration(multiplier, response):
        return f"{name} has hazard ratios of its own"
    deaths, competing, ending = [], [], []
    for e, event in enumerate(events):
        if e == m or event.to is None or by_administration(event, response):
            continue  # deaths by administration are left out: the numbers are net of them
        leaves = set(event.from_) & set(multiplier.from_)
        ends = multiplier.to is not None and multiplier.to in event.from_
        if not leaves and not ends:
            continue
        refusal = _outside(event, names[e], model, multiplier, name)
        if refusal is not None:
            return refusal
        if event.to in model.absorbing:
            deaths.append(e)
            continue
        if leaves and event.to not in multiplier.from_:
            competing.append(e)
        if ends:
            ending.append(e)
    if ending and any(r.state == multiplier.to for e in deaths for r in events[e].ratios):
        return f"a death depends on the state {multiplier.to!r}, which is left again: let a marker carry the ratio"
    return Structure(m, tuple(deaths), tuple(competing), tuple(ending))


def _outside(event: Event, called: str, model: Model, multiplier: Event, name: str) -> str | None:
    """Why an event beside the multiplier is outside the class that can be solved, None if it is inside."""
    if event.clock != "forward" or event.when or event.unless or event.maximum is not None:
        return f"{called} competes with {name} and is not a plain single event on the forward clock"
    calibrated = event.hazard is not None and event.hazard.solved_for is not None
    if calibrated and (model.initial not in event.from_ or (event.hazard and event.hazard.family == "fixed")):
        return f"{called} must be a hazard to which patients are at risk from entry"
    for ratio in event.ratios:
        if ratio.covariate is not None:
            return f"{called} depends on a covariate"
        if ratio.state is not None and ratio.state not in (model.initial, multiplier.to):
            return f"{called} depends on the state {ratio.state!r}"
        if ratio.marker in multiplier.set:
            others = [e for e in model.events.values() if e is not multiplier]
            chosen = {marker for e in model.events.values() for o in e.choose.values() for marker in o.set}
            if any(ratio.marker in (*e.set, *e.clear) for e in others) or ratio.marker in chosen:
                return f"the marker {ratio.marker!r}, on which {called} depends, is set or cleared by other events too"
            if ratio.state is not None:
                return f"{called} depends on {ratio.marker!r} in one state only"
    return None


@dataclass
class Quadrature:
    """One parameter set and stratum on the grid: everything the integrals need."""

    time: Floats
    onset: Floats  # G(t): probability of onset by t, absent death
    atom: Floats  # the part of G's increments that sits on grid points
    ratio: float  # of the solved death, after onset against before
    before: Floats  # total cumulative hazard of death without the multiplier, other deaths only
    after: Floats
    own: Floats  # cumulative hazard of the solved death's calibrated curve
    still: Floats  # cumulative hazard of leaving the multiplier's state
    start: Floats  # cumulative hazard of the calibrated curve inside the first grid cell and at its end


class Solver:
    """Solves the baselines and latent values of one model's multiplier, set by set and stratum by stratum."""

    def __init__(self, task: Task, design: Design) -> None:
        self.task, self.design = task, design
        self.model, self.compiled, self.arrays = task.model, task.compiled, task.compiled.arrays
        self.resolver, self.parts, self.solved = task.resolver, task.parts, task.death
        self.names = list(self.model.events)
        self.event = list(self.model.events.values())[self.parts.multiplier]
        self.driven = by_administration(self.event, design.course.response)
        self._once: dict[tuple[Any, ...], Any] = {}

    def once(self, key: tuple[Any, ...], compute: Callable[[], Any]) -> Any:
        """Return what does not change while a set is being solved, computed the first time."""
        if key not in self._once:
            self._once[key] = compute()
        return self._once[key]

    # -- pieces on the grid -------------------------------------------------------------------------
    def grid(self, b: int) -> Floats:
        """Times from 0 to the first knot at or beyond the horizon: a longer horizon only adds to them."""
        needed = float(self.task.horizon[b]) / STEP
        return np.asarray(np.arange(round(SPREAD * np.ceil(np.sqrt(needed / SPREAD) + 1.0) ** 2) + 1) * STEP)

    def interval(self, declared: Any, b: int, key: str) -> Floats:
        """Distribution of an interval between visits on the grid."""
        code, values = self.resolver.distribution(declared, "time", key)
        return interval_mass(code, values[b, 0], self.grid(b).size)

    def hazard(self, e: int, b: int, s: int, time: Floats, parameters: Floats | None = None) -> Floats:
        """Cumulative hazard of an event as declared, its cure fraction included: −log(1 − p + p·e^{−H})."""
        a = self.arrays
        table = int(a["table"][b, e, s])
        knot_time, knot_hazard = self.compiled.knots[table] if table != NONE else (np.zeros(0), np.zeros(0))
        p = a["parameters"][b, e, s] if parameters is None else parameters
        values: Floats = cumulative_hazards(
            int(a["family"][b, e, s]), time, *p, knot_time=knot_time, knot_hazard=knot_hazard
        )
        probability = float(a["probability"][b, e, s])
        if probability < 1.0:
            values = -np.log1p(-probability * -np.expm1(-values))
        return values

    def ratios(self, e: int, b: int, s: int) -> tuple[float, float]:
        """Hazard ratio of an event before and after the multiplier, other markers as at entry; 0: not at risk."""
        model, a = self.model, self.arrays
        declared = list(model.events.values())[e]
        reached = self.event.to or model.initial
        before, after = float(model.initial in declared.from_), float(reached in declared.from_)
        set_markers = set(self.event.set)
        for f in np.flatnonzero(a["effect_event"] == e):
            state, marker = int(a["effect_state"][f]), int(a["effect_marker"][f])
            value = float(a["effect_ratio"][b, f, s])
            name = None if marker == NONE else model.markers[marker]
            at_entry = name is None or name in model.initial_markers
            if at_entry and (state == NONE or model.states[state] == model.initial):
                before *= value
            if (at_entry or name in set_markers) and (state == NONE or model.states[state] == reached):
                after *= value
        return before, after

    def onset(self, b: int, s: int, time: Floats, probability: float, median: float | None) -> tuple[Floats, Floats]:
        """G on the grid and its atoms, for a latent probability and median."""
        free = self.once(("free", b, s), lambda: negative_exponential(self._total(self.parts.competing, b, s, time, 0)))
        if self.driven:
            mass = self.once(("administered", b, s), lambda: self._administered(b, s, time.size)) * probability * free
            return np.cumsum(mass), mass
        incidence = self.incidence(b, s, time, median)
        increments = np.diff(incidence) * 0.5 * (free[1:] + free[:-1]) * probability
        return np.concatenate([[0.0], np.cumsum(increments)]), np.zeros(time.size)

    def incidence(self, b: int, s: int, time: Floats, median: float | None) -> Floats:
        """Distribution function of the multiplier's time in those who will have it, absent everything else."""
        known, values = self._once.get(("incidence", b, s), (None, None))
        if values is not None and known == median:
            return np.asarray(values)
        m, a = self.parts.multiplier, self.arrays
        parameters = a["parameters"][b, m, s] if median is None else self.with_median(b, s, median)
        table = int(a["table"][b, m, s])
        knot_time, knot_hazard = self.compiled.knots[table] if table != NONE else (np.zeros(0), np.zeros(0))
        own = cumulative_hazards(
            int(a["family"][b, m, s]), time, *parameters, knot_time=knot_time, knot_hazard=knot_hazard
        )
        self._once["incidence", b, s] = median, 1.0 - negative_exponential(own)
        return np.asarray(self._once["incidence", b, s][1])

    def with_median(self, b: int, s: int, median: float) -> Floats:
        hazard = self.event.hazard
        if hazard is None:
            raise TypeError("an event without a hazard has no median")
        family = {code: name for name, code in FAMILIES.items()}[
            int(self.arrays["family"][b, self.parts.multiplier, s])
        ]
        named: dict[str, Any] = {"median": median}
        dimensions = {name: dimension for choice in PARAMETERS[family] for name, dimension in choice.items()}
        key = f"model.events.{self.names[self.parts.multiplier]}.hazard"
        for name, expression in hazard.named().items():
            if name != "median":
                kind = KINDS.get(dimensions[name], dimensions[name])
                named[name] = float(self.resolver.array(expression, kind, f"{key}.{name}")[b, s])
        return np.array([float(np.asarray(x)) for x in kernel_parameters(family, **named)])

    def visit_times(self, b: int) -> list[Floats]:
        """Distribution of the time of each administration of the design's course, on the grid."""
        course, resolver = self.design.course, self.resolver
        most = int(resolver.integers(course.max_administrations, "course.max_administrations", most=10_000)[b])
        n = self.grid(b).size
        start = float(resolver.scalar(course.start, "duration", "course.start")[b])
        mass = np.zeros(n)
        mass[min(round(start / STEP), n - 1)] = 1.0
        visits = [mass]
        if course.interval is not None:
            step = self.interval(course.interval, b, "course.interval")
            for _ in range(1, most):
                visits.append(convolved(visits[-1], step))
        return visits[:most]

    def _administered(self, b: int, s: int, n: int) -> Floats:
        """Mass of the onset time of a susceptible patient, by administrations, absent everything else."""
        a, m = self.arrays, self.parts.multiplier
        success = float(a["success"][b, m, s])
        lag = interval_mass(int(a["lag_code"][b, m]), a["lag"][b, m], n)
        planned = self.planned(b, ever=True)
        total, chance = np.zeros(n), success
        for k, visit in enumerate(self.visit_times(b)):
            total += convolved(visit, lag) * (chance * (1.0 - planned[k]))
            chance *= 1.0 - success
        return total

    def planned(self, b: int, *, ever: bool) -> Floats:
        """P(planned number ≤ k) of the design's course."""
        course, resolver = self.design.course, self.resolver
        most = int(resolver.integers(course.max_administrations, "course.max_administrations", most=10_000)[b])
        cdf = np.zeros(most + 1)
        cdf[-1] = 1.0
        if course.planned is not None:
            declared = course.planned.number
            if ever and course.planned.if_ever == self.names[self.parts.multiplier]:
                declared = course.planned.then
            cdf = planned_cdf(declared, most, resolver, "course.planned")[b]
        return cdf

    def quadrature(self, b: int, s: int, probability: float, median: float | None) -> Quadrature:
        time = self.grid(b)
        onset, atom = self.onset(b, s, time, probability, median)
        return Quadrature(time, onset, atom, *self.once(("deaths", b, s), lambda: self._deaths(b, s, time)))

    def _deaths(self, b: int, s: int, time: Floats) -> tuple[float, Floats, Floats, Floats, Floats, Floats]:
        """Ratio of the solved death; cumulative hazards of the others before and after; its own; leaving; start."""
        start = np.zeros(FINEST + 1)
        before, after = np.zeros(time.size), np.zeros(time.size)
        own, ratio = np.zeros(time.size), 1.0
        for e in self.parts.deaths:
            r0, r1 = self.ratios(e, b, s)
            values = self.hazard(e, b, s, time)
            if e == self.solved:
                own, ratio = values, r1 / r0
                start = self.hazard(e, b, s, np.append(STEP / 2.0 ** np.arange(FINEST, 0, -1), STEP))
            else:
                before, after = before + r0 * values, after + r1 * values
        return ratio, before, after, own, self._total(self.parts.ending, b, s, time, 1), start

    def _total(self, events: tuple[int, ...], b: int, s: int, time: Floats, after: int) -> Floats:
        """Cumulative hazard of several events together, before (0) or after (1) the multiplier."""
        total: Floats = np.zeros(time.size)
        for e in events:
            total = total + self.ratios(e, b, s)[after] * self.hazard(e, b, s, time)
        return total

    # -- what is solved -----------------------------------------------------------------------------
    def baseline(self, q: Quadrature) -> Floats:
        """H₀ of the solved death at the grid, so that the mixture's net survival is the calibrated curve."""
        if self.solved is None or q.ratio == 1.0:
            return q.own
        return np.asarray(baseline_hazard(negative_exponential(q.own), q.onset, q.atom, q.ratio))

    def seen(self, b: int, q: Quadrature, base: Floats) -> Floats:
        """Mass of onsets first seen at each grid point, deaths and assessments considered."""
        before, after = q.before + base, q.after + q.ratio * base
        mass = np.diff(q.onset, prepend=0.0)
        followed = q.time < self.task.horizon[b]
        if self.design.assessment is None or self.driven:
            return np.asarray(mass * negative_exponential(before) * followed)
        key = "study.assessment_interval"
        step = self.once(("assessment", b), lambda: self.interval(self.design.assessment, b, key))
        kept = negative_exponential(after + q.still)
        gained = np.cumsum(mass * negative_exponential(before) / np.maximum(kept, 1e-300))
        visits = self.once(("renewal", b), lambda: renewal_mass(step, q.time.size))
        return np.asarray(seen_mass(visits, step, gained, kept) * followed)

    def latent(
        self,
        b: int,
        targets: Floats,
        median: float | None,
        *,
        solve_probability: bool,
        fixed: list[Floats] | None,
    ) -> tuple[Floats, float | None, list[Floats]]:
        """Solve latent probabilities (strata,) and the common latent median for one parameter set.

        ``targets``: observed probability by stratum; ``median``: observed median in days, None if it is
        latent; ``fixed``: baselines to hold instead of solving them with the probabilities (`causal`).
        """
        n_strata = targets.size
        weights = self.task.shares[b] / self.task.shares[b].sum()

        def given(at: float | None, *, trial: bool = False) -> tuple[Floats, list[Floats], list[Floats]]:
            probabilities, bases, masses = np.empty(n_strata), [], []
            for s in range(n_strata):
                p, base, mass = self._probability(b, s, float(targets[s]), at, solve_probability, fixed, trial=trial)
                probabilities[s] = p
                bases.append(base)
                masses.append(mass)
            return probabilities, bases, masses

        if median is None:
            probabilities, bases, _ = given(None)
            return probabilities, None, bases

        def gap(log_trial: float) -> float:
            _, _, masses = given(float(np.exp(log_trial)), trial=True)
            pooled = sum(w * mass for w, mass in zip(weights, masses, strict=True))
            at = round(median / STEP)
            below = np.cumsum(pooled)
            return float(below[min(at, below.size - 1)] - 0.5 * pooled[min(at, below.size - 1)] - 0.5 * below[-1])

        from scipy.optimize import brentq

        low, high = np.log(median / 50.0), np.log(median * 3.0)
        if gap(low) < 0.0 or gap(high) > 0.0:
            self.resolver.problems.add(
                f"model.events.{self.names[self.parts.multiplier]}.hazard.median",
                median,
                "cannot be the median time at which the event is seen on the reference assessment grid, whatever the"
                " latent median; give it a larger value or a shorter reference assessment interval",
            )
            return targets, median, fixed or given(median, trial=True)[1]
        solved = significant(float(np.exp(brentq(gap, low, high, xtol=1e-11, rtol=1e-12))))
        probabilities, bases, _ = given(solved)
        return probabilities, solved, bases

    def _probability(
        self,
        b: int,
        s: int,
        target: float,
        median: float | None,
        solve: bool,
        fixed: list[Floats] | None,
        *,
        trial: bool,
    ) -> tuple[float, Floats, Floats]:
        """Latent probability of one stratum by fixed-point iteration (seen share is nearly proportional to it)."""
        p = self._once.get(("last", b, s), target) if solve else target
        for _ in range(60):
            q = self.quadrature(b, s, p, median)
            base = self.baseline(q) if fixed is None else fixed[s]
            mass = self.seen(b, q, base)
            share = float(np.cumsum(mass)[-1])
            if not solve or target == 0.0:
                return p, base, mass
            better = p * target / share if share > 0.0 else 1.1
            if better > 1.0:
                if p >= 1.0:
                    name = self.names[self.parts.multiplier]
                    if trial:
                        return 1.0, base, mass
                    self.resolver.problems.add(
                        f"model.events.{name}.hazard.probability",
                        target,
                        f"cannot be the observed share in stratum {self.resolver.strata[s]!r}: even if every patient"
                        f" were to have {name}, it would be seen in {share:.3f} (death, progression and the assessment"
                        " grid hide the rest)",
                    )
                    return 1.0, base, mass
                better = 1.0
            settled, p = abs(better - p) <= 1e-11, better
            if settled:
                break
        self._once["last", b, s] = p
        if trial:
            return p, base, mass
        p = significant(p)
        q = self.quadrature(b, s, p, median)
        base = self.baseline(q) if fixed is None else fixed[s]
        return p, base, self.seen(b, q, base)

    def table(self, b: int, base: Floats, q: Quadrature) -> tuple[Floats, Floats, float]:
        """Knots of a solved baseline: thinned at absolute times, atoms kept; the slope after the last one."""
        n = base.size
        spaced = np.round(SPREAD * np.arange(int(np.sqrt(n / SPREAD)) + 2) ** 2).astype(np.int64)
        stepped = np.flatnonzero(q.atom > 1e-9)
        chosen = np.unique(np.concatenate([spaced, stepped, np.maximum(stepped - 1, 0)]))
        chosen = chosen[chosen < n]
        time, knots = self.grid(b)[chosen], np.maximum.accumulate(base[chosen])
        slope = float((knots[-1] - knots[-2]) / (time[-1] - time[-2]))
        if q.start[-1] > 0.0 and chosen[1] == 1:
            early = STEP / 2.0 ** np.arange(FINEST, 0, -1)
            time = np.concatenate([time[:1], early, time[1:]])
            knots = np.concatenate([knots[:1], q.start[:-1] * (knots[1] / q.start[-1]), knots[1:]])
        return time, knots, slope


def interval_mass(code: int, parameters: Floats, n: int) -> Floats:
    """Distribution of an interval on a grid of n points: mass of [j − ½, j + ½)·STEP; none at 0 unless fixed there."""
    edges = np.maximum((np.arange(n + 1) - 0.5) * STEP, 0.0)
    mass = np.diff([distribution_function(code, float(x), *parameters) if x > 0 else 0.0 for x in edges])
    if mass[0] < 1.0:
        mass[0] = 0.0
    total = mass.sum()
    if total == 0.0:
        return np.zeros(2)
    return np.asarray((mass / total if total > 1.0 - 1e-6 else mass)[: int(np.flatnonzero(mass)[-1]) + 1])


__all__ = ["Design", "Solver", "Structure", "Task", "interval_mass", "structure"]
