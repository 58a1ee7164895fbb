"""What a multiplier's quadrature is made of, on a grid of days.

Three things a paper reports are consequences, not parameters: the survival of all patients (a mixture of responders and
others), the share in whom a response was seen, and the time at which it was seen. Here the baseline hazard, the latent
probability and the latent median are solved (`mixture`) so that those come out, at the `parameters.reference` design of
the published study.

The class that can be solved: one event (the *multiplier*, here always a response) that does not depend on death, seen
from entry, whose competing events do not depend on it; deaths on the forward clock. Anything else is refused by name,
and the modeler gives latent values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, TypeVar

import numpy as np

from simulator.configuration.values import Resolver
from simulator.kernels.hazards import FAMILIES, cumulative_hazards, kernel_parameters
from simulator.kernels.marginal import convolved, negative_exponential, renewal_mass
from simulator.kernels.quantiles import cumulatives
from simulator.model.course import Course, planned_cdf
from simulator.model.events import CompiledEvents, by_administration
from simulator.model.model import Event, Model
from simulator.tables import NONE, Floats

STEP = 0.25
"""Grid step, days."""
SPREAD = 0.005
"""Knot j of a tabulated baseline stands at the grid point nearest to SPREAD·j², whatever the horizon."""
FINEST = 12
"""Knots inside the first grid cell, each at half the time of the one above it: a hazard may begin steeply."""
EARLY = STEP / 2.0 ** np.arange(FINEST, 0, -1)

Made = TypeVar("Made")


@dataclass(frozen=True)
class Structure:
    """The parts of a model that a multiplier's quadrature needs: indices of events."""

    multiplier: int
    deaths: tuple[int, ...]  # absorbing events from the multiplier's states
    competing: tuple[int, ...]  # events that leave those states otherwise
    ending: tuple[int, ...]  # events that end the multiplier's own state


@dataclass(frozen=True)
class Schedule:
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


@dataclass(frozen=True, eq=False)
class Elements:
    """All strata of some parameter sets on one grid, side by side: arrays (n, L), element = set · strata + stratum."""

    sets: tuple[int, ...]
    time: Floats  # (n,)
    followed: int  # points before the horizon
    free: Floats  # chance that nothing has ended the wait for the multiplier, deaths aside
    administered: Floats  # mass of its time by administrations; no points where it is driven by a hazard
    ratio: Floats  # (L,) of the solved death, after onset against before
    before: Floats  # total cumulative hazard of death without the multiplier, other deaths only
    after: Floats
    own: Floats  # cumulative hazard of the solved death's calibrated curve
    still: Floats  # cumulative hazard of leaving the multiplier's state
    step: Floats  # (m,) distribution of the interval between assessments
    visits: Floats  # (n,) expected number of them at each point; no points: seen at onset

    @cached_property
    def marginal(self) -> Floats:
        """Survival of the calibrated curve."""
        return negative_exponential(self.own)


class Pieces:
    """What the quadrature of one task at one design needs, by parameter set and stratum."""

    def __init__(self, task: Task, design: Schedule, *, step: float = STEP) -> None:
        self.task, self.design, self.step = task, design, step
        self.model, self.compiled, self.arrays = task.model, task.compiled, task.compiled.arrays
        self.resolver, self.parts, self.solved = task.resolver, task.parts, task.death
        self.names = list(self.model.events)
        self.event = list(self.model.events.values())[self.parts.multiplier]
        self.driven = by_administration(self.event, design.course.response)
        self.n_strata = len(task.resolver.strata)
        self._once: dict[tuple[Any, ...], Any] = {}

    def once(self, key: tuple[Any, ...], compute: Callable[[], Made]) -> Made:
        """Return what was computed before under a key that says all it depends on, else compute it."""
        if key not in self._once:
            self._once[key] = compute()
        made: Made = self._once[key]
        return made

    def alike(self, sets: Sequence[int], most: int) -> Iterator[tuple[int, ...]]:
        """Parameter sets, at most so many at a time, that share a grid and an interval between assessments."""
        found: dict[tuple[Any, ...], list[int]] = {}
        for b in sets:
            found.setdefault((float(self.task.horizon[b]), self.assessment(b)), []).append(b)
        for group in found.values():
            for first in range(0, len(group), most):
                yield tuple(group[first : first + most])

    def elements(self, sets: tuple[int, ...]) -> Elements:
        """Everything the integrals need of parameter sets that are `alike`."""
        time = self.grid(sets[0])
        columns = [self._element(b, s, time) for b in sets for s in range(self.n_strata)]
        ratio, *arrays = zip(*columns, strict=True)
        administered, free, before, after, own, still = (
            np.ascontiguousarray(np.stack(array, axis=1)) for array in arrays
        )
        step, visits = np.zeros(0), np.zeros(0)
        if self.assessment(sets[0]) is not None:
            step = self.interval(self.design.assessment, sets[0], "study.assessment_interval")
            visits = self.once(("renewal", step.tobytes(), time.size), lambda: renewal_mass(step, time.size))
        followed = int(np.searchsorted(time, self.task.horizon[sets[0]], side="left"))
        return Elements(
            sets, time, followed, free, administered, np.array(ratio), before, after, own, still, step, visits
        )

    def assessment(self, b: int) -> tuple[Any, ...] | None:
        """Law of the interval between assessments, None where an onset is seen when it happens."""
        if self.design.assessment is None or self.driven:
            return None
        code, values = self._distribution(self.design.assessment, "study.assessment_interval")
        return code, values[b, 0].tobytes()

    def _element(self, b: int, s: int, time: Floats) -> tuple[Any, ...]:
        waiting = self._total(self.parts.competing, b, s, time, 0)
        administered = self._administered(b, s, time.size) if self.driven else np.zeros(0)
        ratio, before, after, own = self._deaths(b, s, time)
        still = self._total(self.parts.ending, b, s, time, 1)
        return ratio, administered, negative_exponential(waiting), before, after, own, still

    # -- pieces on the grid -------------------------------------------------------------------------
    def n_points(self, b: int) -> int:
        """Points from 0 to the first knot at or beyond the horizon: a longer horizon only adds to them."""
        needed = float(self.task.horizon[b]) / STEP
        fine = round(SPREAD * np.ceil(np.sqrt(needed / SPREAD) + 1.0) ** 2)
        return int(np.ceil(max(fine, 1) * STEP / self.step)) + 1

    def grid(self, b: int) -> Floats:
        """Times of the points, days."""
        return np.asarray(np.arange(self.n_points(b)) * self.step)

    def interval(self, declared: Any, b: int, key: str) -> Floats:
        """Distribution of an interval between visits on the grid."""
        code, values = self._distribution(declared, key)
        law, n = values[b, 0], self.n_points(b)
        return self.once(("interval", code, law.tobytes(), n), lambda: interval_mass(code, law, n, self.step))

    def _distribution(self, declared: Any, key: str) -> tuple[int, Floats]:
        return self.once(("law", key), lambda: self.resolver.distribution(declared, "time", key))

    def hazard(self, e: int, b: int, s: int, time: Floats) -> Floats:
        """Cumulative hazard of an event in an arm, its cure fraction included: −log(1 − p + p·e^{−H})."""
        a = self.arrays
        table = int(a["table"][b, e, s])
        knot_time, knot_hazard = self.compiled.knots[table] if table != NONE else (np.zeros(0), np.zeros(0))
        values: Floats = cumulative_hazards(
            int(a["family"][b, e, s]),
            time,
            *map(float, a["parameters"][b, e, s]),
            knot_time=knot_time,
            knot_hazard=knot_hazard,
        )
        if (effect := self.effect_of_arm(e, b, s)) != 1.0:
            values = effect * values
        probability = float(a["probability"][b, e, s])
        if probability < 1.0:
            values = -np.log1p(-probability * -np.expm1(-values))
        return values

    def effect_of_arm(self, e: int, b: int, s: int) -> float:
        """Hazard ratio of an arm; 1 where the task is of no arm, and of the solved death, on which it acts on top."""
        effects = self.arrays.get("cell_ratio")
        return 1.0 if effects is None or e == self.solved else float(effects[b, e, s])

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

    def incidence(self, b: int, s: int, time: Floats, law: Floats) -> Floats:
        """Distribution function of the multiplier's time in those who will have it, absent everything else, (n,).

        ``law``: its kernel parameters, one of `laws`.
        """
        m, a = self.parts.multiplier, self.arrays
        table = int(a["table"][b, m, s])
        knot_time, knot_hazard = self.compiled.knots[table] if table != NONE else (np.zeros(0), np.zeros(0))
        own = cumulative_hazards(
            int(a["family"][b, m, s]), time, *map(float, law), knot_time=knot_time, knot_hazard=knot_hazard
        )
        if (effect := self.effect_of_arm(m, b, s)) != 1.0:
            own = effect * own
        return 1.0 - negative_exponential(own)

    def incidences(self, elements: Elements, median: Floats | None) -> Floats:
        """`incidence` of all elements, for the median of each set; equal ones are computed once."""
        m, a = self.parts.multiplier, self.arrays
        laws = self.laws(elements.sets, median).reshape(-1, 3)
        out = np.empty((elements.time.size, len(laws)))
        known: dict[tuple[int, int, float, bytes], Floats] = {}
        for k, law in enumerate(laws):
            b, s = elements.sets[k // self.n_strata], k % self.n_strata
            key = (int(a["family"][b, m, s]), int(a["table"][b, m, s]), self.effect_of_arm(m, b, s), law.tobytes())
            if key not in known:
                known[key] = self.incidence(b, s, elements.time, law)
            out[:, k] = known[key]
        return out

    def laws(self, sets: Sequence[int], median: Floats | None) -> Floats:
        """Kernel parameters of the multiplier's hazard, (k, strata, 3); with other medians (k,), if they are given."""
        m, rows = self.parts.multiplier, list(sets)
        declared: Floats = self.arrays["parameters"][rows, m, : self.n_strata]
        if median is None:
            return declared
        hazard = self.event.hazard
        if hazard is None:
            raise TypeError("an event without a hazard has no median")
        laws, families = declared.copy(), self.arrays["family"][rows, m, : self.n_strata]
        key = f"model.events.{self.names[m]}.hazard"
        for family, record in FAMILIES.items():
            of_family = families == record.code
            if not of_family.any():
                continue
            named: dict[str, Any] = {"median": np.broadcast_to(median[:, None], of_family.shape)[of_family]}
            for name, expression in hazard.named().items():
                if name != "median":
                    kind = record.dimensions[name]
                    read = partial(self.resolver.array, expression, kind, f"{key}.{name}")
                    named[name] = self.once(("named", name, kind), read)[rows][of_family]
            laws[of_family] = np.stack(kernel_parameters(family, **named), axis=-1)
        return laws

    def visit_times(self, b: int) -> list[Floats]:
        """Distribution of the time of each administration of the design's course, on the grid."""
        course, n = self.design.course, self.n_points(b)
        starts = self.once(("start",), lambda: self.resolver.scalar(course.start, "duration", "course.start"))
        start, most = float(starts[b]), self._most(b)
        step = None if course.interval is None else self.interval(course.interval, b, "course.interval")

        def compute() -> list[Floats]:
            mass = np.zeros(n)
            mass[min(round(start / self.step), n - 1)] = 1.0
            visits = [mass]
            if step is not None:
                for _ in range(1, most):
                    visits.append(convolved(visits[-1], step))
            return visits[:most]

        return self.once(("visits", start, most, None if step is None else step.tobytes(), n), compute)

    def schedule(self, b: int) -> tuple[Any, ...]:
        """Every number that the times of administrations depend on, and who is planned to have how many."""
        start = self.once(
            ("start",), lambda: self.resolver.scalar(self.design.course.start, "duration", "course.start")
        )
        interval: tuple[Any, ...] = ()
        if self.design.course.interval is not None:
            code, values = self._distribution(self.design.course.interval, "course.interval")
            interval = (code, values[b, 0].tobytes())
        return float(start[b]), self._most(b), interval, self.planned(b, ever=True).tobytes()

    def onset_numbers(self, b: int, probability: Floats, median: float | None) -> tuple[Any, ...]:
        """Every number that the distribution of the multiplier's time depends on, absent death.

        ``probability``: latent, by stratum; ``median``: latent, None where it is declared.
        """
        m, a, strata = self.parts.multiplier, self.arrays, slice(self.n_strata)
        rows = [m, *self.parts.competing]
        laws = self.laws((b,), None if median is None else np.array([median]))[0]
        numbers = [probability, laws, a["family"][b, rows, strata], a["table"][b, rows, strata]]
        numbers += [a["parameters"][b, rows[1:], strata], a["probability"][b, rows[1:], strata]]
        numbers += [a["effect_ratio"][b, np.isin(a["effect_event"], rows[1:]), strata]]
        numbers += [np.array([[self.effect_of_arm(e, b, s) for s in range(self.n_strata)] for e in rows])]
        driven: tuple[Any, ...] = ()
        if self.driven:
            driven = (a["lag"][b, m].tobytes(), a["success"][b, m, strata].tobytes(), self.schedule(b))
        return tuple(np.ascontiguousarray(each).tobytes() for each in numbers), driven

    def _most(self, b: int) -> int:
        declared, key = self.design.course.max_administrations, "course.max_administrations"
        return int(self.once(("most",), lambda: self.resolver.integers(declared, key, most=10_000))[b])

    def _administered(self, b: int, s: int, n: int) -> Floats:
        """Mass of the onset time of a susceptible patient, by administrations, absent everything else."""
        a, m = self.arrays, self.parts.multiplier
        success = float(a["success"][b, m, s])
        lag = interval_mass(int(a["lag_code"][b, m]), a["lag"][b, m], n, self.step)
        planned = self.planned(b, ever=True)
        total, chance = np.zeros(n), success
        for k, visit in enumerate(self.visit_times(b)):
            total += convolved(visit, lag) * (chance * (1.0 - planned[k]))
            chance *= 1.0 - success
        return total

    def planned(self, b: int, *, ever: bool) -> Floats:
        """P(planned number ≤ k) of the design's course."""
        course, most = self.design.course, self._most(b)
        if course.planned is None:
            return np.append(np.zeros(most), 1.0)
        declared = course.planned.number
        if ever and course.planned.if_ever == self.names[self.parts.multiplier]:
            declared = course.planned.then
        key = ("planned", ever, most)
        cdf = self.once(key, lambda: planned_cdf(declared, most, self.resolver, "course.planned"))
        return np.asarray(cdf[b])

    def solved_ratio(self, b: int, s: int) -> float:
        """Hazard ratio of the solved death, after the multiplier against before."""
        if self.solved is None:
            return 1.0
        before, after = self.ratios(self.solved, b, s)
        return after / before

    def solved_start(self, b: int, s: int) -> Floats:
        """Cumulative hazard of the calibrated curve inside the first grid cell and at its end, (FINEST + 1,)."""
        if self.solved is None:
            return np.zeros(FINEST + 1)
        return self.hazard(self.solved, b, s, np.append(EARLY, STEP))

    def _deaths(self, b: int, s: int, time: Floats) -> tuple[float, Floats, Floats, Floats]:
        """Ratio of the solved death; cumulative hazards of the others before and after; its own."""
        before, after = np.zeros(time.size), np.zeros(time.size)
        own, ratio = np.zeros(time.size), self.solved_ratio(b, s)
        for e in self.parts.deaths:
            values = self.hazard(e, b, s, time)
            if e == self.solved:
                own = values
            else:
                r0, r1 = self.ratios(e, b, s)
                before, after = before + r0 * values, after + r1 * values
        return ratio, before, after, own

    def _total(self, events: tuple[int, ...], b: int, s: int, time: Floats, after: int) -> Floats:
        """Cumulative hazard of several events together, before (0) or after (1) the multiplier."""
        total: Floats = np.zeros(time.size)
        for e in events:
            total = total + self.ratios(e, b, s)[after] * self.hazard(e, b, s, time)
        return total


def interval_mass(code: int, parameters: Floats, n: int, step: float = STEP) -> Floats:
    """Distribution of an interval on a grid of n points: mass of [j − ½, j + ½)·step; none at 0 unless fixed there."""
    edges = np.maximum((np.arange(n + 1) - 0.5) * step, 0.0)
    mass = np.diff(np.where(edges > 0.0, cumulatives(code, edges, *map(float, parameters)), 0.0))
    if mass[0] < 1.0:
        mass[0] = 0.0
    total = mass.sum()
    if total == 0.0:
        return np.zeros(2)
    return np.asarray((mass / total if total > 1.0 - 1e-6 else mass)[: int(np.flatnonzero(mass)[-1]) + 1])


__all__ = ["Elements", "Pieces", "Schedule", "Structure", "Task", "interval_mass", "structure"]
