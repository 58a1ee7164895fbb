"""The reference engine: SimPy decides every race.

Written to be read beside a paper. Each patient is a process. Whatever may happen to a patient next (an event, a visit)
is an entry of SimPy's calendar at an absolute time; the calendar wakes the patient at the first of them, the patient
changes state and markers, and entries whose rate has changed are withdrawn and entered anew. Ties are settled by the
calendar's priorities: model events in declared order, then the administration.

Canonical arithmetic (DESIGN section 4; `engines.compiled` follows the same, to the bit): an event at risk has a budget
E = −log(u). With hazard ratio r its cumulative hazard H spends it; when r changes, ``remaining = max(remaining − r·(H(t
− origin) − anchor), 0)``, ``anchor = H(t − origin)``; it fires at ``max(now, origin + H⁻¹(anchor + remaining / r))``.
The ratio is the product of the ratios of state and markers in declared order, times the patient's own factor (arm, then
covariates in declared order).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from heapq import heappush
from math import inf, sqrt

import numpy as np
import simpy

from simulator.errors import SimulationError
from simulator.kernels.elementary import exp, log, normal_cdf, normal_quantile
from simulator.kernels.hazards import cumulative_hazard, inverse_cumulative_hazard
from simulator.kernels.quantiles import FIXED, quantile
from simulator.kernels.rng import STREAMS, uniform
from simulator.tables import NONE, Allocation, Clock, Driver, Floats, Integers, ModelTables, Per
from simulator.trajectories import Trajectories

BATCH = 1_000
"""Patients that share an environment; about the size at which SimPy is fastest."""


HazardLaw = tuple[float, float, float, int, int, Floats, Floats]


class Calendar(simpy.Environment):
    """SimPy's environment with absolute times.

    ``timeout(T − now)`` rounds the time at which it fires; ``schedule_at`` does not (PERFORMANCE,
    "what made equality hard"). Priorities are a patient's own order of ties; a wake-up goes first.
    """

    def schedule_at(self, entry: simpy.Event, time: float, priority: int) -> None:
        heappush(self._queue, (time, priority, next(self._eid), entry))  # type: ignore[misc]


class Entry(simpy.Event):
    """A calendar entry of one patient; ``withdrawn`` entries wake nobody."""

    def __init__(self, life: Life, what: int) -> None:
        super().__init__(life.calendar)
        self._ok, self._value = True, None
        self.what = what
        self.withdrawn = False
        self.callbacks.append(life.wake_up)


@dataclass(slots=True)
class Clocked:
    """An event of one patient: what is left of its budget, and since when it is being spent."""

    rate: float = 0.0  # current hazard ratio, 0 while not at risk
    remaining: float = 0.0
    anchor: float = 0.0  # cumulative hazard at which the current rate began
    origin: float = 0.0
    occurrence: int = NONE  # number of the current budget, NONE before the first
    fired: int = 0
    started: bool = True  # False: a clock "since" an event that has not happened
    spent: bool = False  # the budget has fired and not been renewed
    susceptible: bool | None = None  # None until the draw is needed
    pending: bool = False  # an administration has succeeded, the lag has not passed
    entry: Entry | None = None


@dataclass
class HistoryLog:
    """What has been written down about all patients of a run, one list a column."""

    time: list[float] = field(default_factory=list)
    code: list[int] = field(default_factory=list)
    value: list[float] = field(default_factory=list)


class Setting:
    """One parameter set as plain Python values: SimPy's loop reads lists faster than arrays."""

    def __init__(self, model: ModelTables, parameter_set: int, seed: int) -> None:
        self.model, self.seed, self.index = model, seed, parameter_set
        course, n_events = model.course, len(model.events)
        self.n_strata = len(model.strata)
        self.horizon = float(model.horizon[parameter_set])
        self.events = range(n_events)
        self.at_risk = model.event_from.tolist()
        self.to = model.event_to.tolist()
        self.sets, self.clears = model.event_set.tolist(), model.event_clear.tolist()
        self.when, self.unless = model.event_when.tolist(), model.event_unless.tolist()
        self.clock, self.since = model.event_clock.tolist(), model.event_since.tolist()
        self.maximum, self.recurrent = model.event_maximum.tolist(), model.event_recurrent.tolist()
        self.by_hazard = (model.event_driver == Driver.HAZARD).tolist()
        self.by_administration = [e for e in self.events if not self.by_hazard[e]]
        self.stream, self.ever_stream = model.event_stream.tolist(), model.ever_stream.tolist()
        self.choice_stream, self.lag_stream = model.choice_stream.tolist(), model.lag_stream.tolist()
        self.outcome_offset, self.outcome_set = model.outcome_offset.tolist(), model.outcome_set.tolist()
        self.outcome_cdf = model.outcome_cdf[parameter_set].T.tolist()
        self.family: list[list[int]] = model.family[parameter_set].T.tolist()
        self.law = [[self._law(event, cell) for event in self.events] for cell in range(model.n_cells)]
        self.probability = model.probability[parameter_set].T.tolist()
        self.success = model.success[parameter_set].T.tolist()
        self.lag_code, self.lag = model.lag_code[parameter_set].tolist(), model.lag[parameter_set].tolist()
        self.withholds = model.withholds.tolist()
        self.cell_ratio = model.cell_ratio[parameter_set].T.tolist()
        self.effects = [
            [
                (int(model.effect_state[f]), int(model.effect_marker[f]), f)
                for f in np.flatnonzero(model.effect_event == e)
            ]
            for e in self.events
        ]
        self.effect_ratio = model.effect_ratio[parameter_set].T.tolist()
        self.covariate_effects = [
            [
                (
                    int(model.covariate_effect_covariate[g]),
                    float(model.covariate_effect[parameter_set, g, 0]),
                    float(model.covariate_effect[parameter_set, g, 1]),
                )
                for g in np.flatnonzero(model.covariate_effect_event == e)
            ]
            for e in self.events
        ]
        self.waits_for = [
            [o for o in self.events if self.clock[o] == Clock.SINCE and self.since[o] == e] for e in self.events
        ]
        self.absorbing = model.absorbing.tolist()
        self.codes = model.log_codes
        self.on_treatment = 0 if course.on_treatment == NONE else 1 << course.on_treatment
        self.terms = range(len(course.terms))
        self.term_stream, self.term_set = course.term_stream.tolist(), course.term_set.tolist()
        self.threshold = course.term_threshold[parameter_set].tolist()
        self.frailty = float(course.frailty[parameter_set])
        self.root_frailty, self.root_rest = sqrt(self.frailty), sqrt(1.0 - self.frailty)
        self.unshared = [[normal_cdf(a) for a in row] for row in self.threshold]
        self.course = [ArmCourse(model, parameter_set, arm) for arm in range(len(model.arms))]

    def _law(self, event: int, cell: int) -> HazardLaw:
        """What the hazard kernels take after family and time: three parameters, and the knots of a table."""
        model, at = self.model, (self.index, event, cell)
        p0, p1, p2 = (float(p) for p in model.parameters[at])
        table = int(model.table[at])
        start, stop = (0, 0) if table == NONE else (int(k) for k in model.knot_offset[table : table + 2])
        return p0, p1, p2, start, stop, model.knot_time, model.knot_hazard


class ArmCourse:
    """The course of one arm in one parameter set, as plain Python values."""

    def __init__(self, model: ModelTables, b: int, arm: int) -> None:
        course = model.course
        self.given = bool(course.given[b, arm])
        self.start = float(course.start[b, arm])
        self.interval_code = int(course.interval_code[b, arm])
        self.interval = course.interval[b, arm].tolist()
        self.planned_event = course.planned_event
        self.planned_cdf = course.planned_cdf[b, arm].tolist()
        self.stop_states = course.stop_states[arm].tolist()
        self.stop_markers = [(1 << m, reason) for m, reason in enumerate(course.stop_markers[arm].tolist()) if reason]
        self.dose_per_patient = course.dose_per == Per.PATIENT
        self.dose_level, self.dose_cdf = course.dose_level[b, arm].tolist(), course.dose_cdf[b, arm].tolist()
        self.delay = float(course.delay_after_adverse_event[b, arm])
        self.dose_factor = float(course.dose_factor_after_adverse_event[b, arm])


class Life:
    """One patient: state, markers, clocks, course; and the process that lives it."""

    def __init__(
        self,
        calendar: Calendar,
        setting: Setting,
        log: HistoryLog,
        replicate: int,
        patient: int,
        cell: int,
        row: list[float],
    ) -> None:
        self.calendar, self.setting, self.log = calendar, setting, log
        self.replicate, self.patient, self.cell = replicate, patient, cell
        self.covariates = row
        self.course = setting.course[cell // setting.n_strata]
        self.state = setting.model.initial_state
        self.markers = setting.model.initial_markers
        self.clocks = [Clocked() for _ in setting.events]
        self.factor = [self._own_factor(event) for event in setting.events]
        self.wake = simpy.Event(calendar)
        self.visit: Entry | None = None
        calendar.process(self.live())

    # -- random numbers ---------------------------------------------------------------------------------------
    def draw(self, stream: int, occurrence: int = 0) -> float:
        """The uniform of this patient for one decision."""
        return uniform(self.setting.seed, self.patient, self.replicate, stream, occurrence)

    def is_susceptible(self, event: int) -> bool:
        """Whether the event can ever occur in this patient: one draw a patient and event."""
        clock = self.clocks[event]
        if clock.susceptible is None:
            probability = self.setting.probability[self.cell][event]
            clock.susceptible = probability >= 1.0 or self.draw(self.setting.ever_stream[event]) < probability
        return clock.susceptible

    # -- hazards ------------------------------------------------------------------------------------
    def cumulative(self, event: int, since_origin: float) -> float:
        s, c = self.setting, self.cell
        return cumulative_hazard(s.family[c][event], since_origin, *s.law[c][event])

    def inverse(self, event: int, hazard: float) -> float:
        s, c = self.setting, self.cell
        return inverse_cumulative_hazard(s.family[c][event], hazard, *s.law[c][event])

    def _own_factor(self, event: int) -> float:
        """Ratio of the arm times those of the covariates, in declared order."""
        factor: float = self.setting.cell_ratio[self.cell][event]
        for covariate, slope, reference in self.setting.covariate_effects[event]:
            factor = factor * exp(slope * (self.covariates[covariate] - reference))
        return factor

    def rate_now(self, event: int) -> float:
        """Current hazard ratio, multiplied afresh in declared order; 0 while not at risk."""
        s = self.setting
        if not self.is_at_risk(event):
            return 0.0
        ratio = 1.0
        for state, marker, effect in s.effects[event]:
            if (state == NONE or state == self.state) and (marker == NONE or self.markers >> marker & 1):
                ratio = ratio * s.effect_ratio[self.cell][effect]
        return ratio * self.factor[event]

    def is_at_risk(self, event: int) -> bool:
        s, clock = self.setting, self.clocks[event]
        return (
            s.at_risk[event][self.state]
            and (self.markers & s.when[event]) == s.when[event]
            and not self.markers & s.unless[event]
            and clock.started
            and (s.recurrent[event] or not clock.fired)
        )

    # -- budgets ------------------------------------------------------------------------------------
    def new_budget(self, event: int) -> None:
        """Draw the budget of the next occurrence and start spending it now."""
        clock = self.clocks[event]
        clock.occurrence += 1
        clock.remaining = -log(self.draw(self.setting.stream[event], clock.occurrence))
        clock.spent = False

    def settle(self, event: int, now: float, *, renew: bool = False) -> None:
        """Bring one hazard-driven event up to date: re-anchor it only if its own rate has changed."""
        clock = self.clocks[event]
        rate = self.rate_now(event)
        if rate == clock.rate and not renew and not clock.spent:
            return
        if renew or clock.spent or clock.occurrence == NONE:
            self.withdraw(clock)
            hazard = self.cumulative(event, now - clock.origin) if rate > 0.0 else 0.0
            over = clock.spent and not renew and hazard == inf  # a timer fires once for each start of its clock
            if rate == 0.0 or over or not self.is_susceptible(event):
                clock.rate = 0.0
                if renew:
                    clock.spent = clock.occurrence != NONE
                return
            self.new_budget(event)
            clock.anchor = hazard
        else:
            hazard = self.cumulative(event, now - clock.origin)
            if clock.rate > 0.0 and hazard > clock.anchor:
                clock.remaining = max(clock.remaining - clock.rate * (hazard - clock.anchor), 0.0)
            clock.anchor = hazard
        clock.rate = rate
        self.withdraw(clock)
        if rate > 0.0:
            overdue = clock.anchor == inf  # the hazard has no bound left: at once
            due = now if overdue else clock.origin + self.inverse(event, clock.anchor + clock.remaining / rate)
            clock.entry = self.enter(max(now, due), event)

    def enter(self, time: float, what: int) -> Entry | None:
        """Put an entry into the calendar; at or beyond the horizon nothing is entered."""
        if not time < self.setting.horizon:
            return None
        entry = Entry(self, what)
        self.calendar.schedule_at(entry, time, 1 + what)
        return entry

    @staticmethod
    def withdraw(clock: Clocked) -> None:
        if clock.entry is not None:
            clock.entry.withdrawn = True
            clock.entry = None

    def wake_up(self, entry: simpy.Event) -> None:
        """Called by the calendar; a wake-up precedes every other entry of the same time."""
        if not entry.withdrawn:  # type: ignore[attr-defined]
            self.wake._ok, self.wake._value = True, entry
            self.calendar.schedule_at(self.wake, self.calendar.now, 0)

    # -- the process --------------------------------------------------------------------------------
    def live(self) -> Generator[simpy.Event, Entry, None]:
        """Enter the cohort, then live from one calendar entry to the next until absorbed or the end."""
        s = self.setting
        self.begin_clocks()
        self.begin_course()
        for event in s.events:
            if s.by_hazard[event]:
                self.settle(event, 0.0)
        while not s.absorbing[self.state]:
            entry = yield self.wake
            self.wake = simpy.Event(self.calendar)
            if entry.what == s.codes.administration:
                self.attend(self.calendar.now)
            else:
                self.happen(entry.what, self.calendar.now)
        for clock in self.clocks:
            self.withdraw(clock)

    def begin_clocks(self) -> None:
        s = self.setting
        for event in s.events:
            clock = self.clocks[event]
            if s.clock[event] == Clock.SINCE:
                clock.started = s.since[event] == event  # of itself: from entry until it first occurs
            elif s.clock[event] == Clock.AGE:
                clock.origin = -self.covariates[s.model.patients.age]

    def happen(self, event: int, now: float) -> None:
        """An event fires: write it down, change state and markers, and settle every other event."""
        s, clock = self.setting, self.clocks[event]
        clock.entry, clock.pending = None, False
        clock.fired += 1
        if s.recurrent[event] and clock.fired > s.maximum[event]:
            raise SimulationError(
                f"event {s.model.events[event]!r} happened more than its declared maximum of {s.maximum[event]} times"
                f" (parameter set {s.index}, replicate {self.replicate}, patient {self.patient}, day {now:g})"
            )
        clock.spent = s.by_hazard[event]
        chosen = self.choose(event, clock.fired - 1)
        self.write(now, event, float("nan") if chosen is None else float(chosen))
        self.markers = (self.markers & ~s.clears[event]) | s.sets[event]
        if chosen is not None:
            self.markers |= s.outcome_set[s.outcome_offset[event] + chosen]
        moved = s.to[event] != NONE  # also into the state that they are in: a transition starts the state anew
        if moved:
            self.state = s.to[event]
        self.check_course(now)
        restarted = set(s.waits_for[event])
        for other in restarted:
            self.clocks[other].started, self.clocks[other].origin = True, now
        self.settle_all(now, moved=moved, restarted=restarted)

    def settle_all(self, now: float, *, moved: bool = False, restarted: Iterable[int] = ()) -> None:
        s = self.setting
        for event in s.events:
            if s.by_hazard[event]:
                fresh = event in restarted
                if moved and s.clock[event] == Clock.RESET:
                    self.clocks[event].origin, fresh = now, True
                self.settle(event, now, renew=fresh)
            elif self.clocks[event].pending and not self.is_at_risk(event):
                self.withdraw(self.clocks[event])
                self.clocks[event].pending = False

    def choose(self, event: int, occurrence: int) -> int | None:
        """Index of the outcome that this occurrence chooses, None if there is nothing to choose."""
        s = self.setting
        start, stop = s.outcome_offset[event : event + 2]
        if start == stop:
            return None
        u = self.draw(s.choice_stream[event], occurrence)
        return _first_below(u, s.outcome_cdf[self.cell][start:stop])

    def write(self, time: float, code: int, value: float) -> None:
        self.log.time.append(time)
        self.log.code.append(code)
        self.log.value.append(value)

    # -- the course ---------------------------------------------------------------------------------
    def begin_course(self) -> None:
        """Draw what is drawn once, and enter the first visit."""
        s, course = self.setting, self.course
        self.n_given = self.n_visits = 0
        self.delayed, self.last_delay, self.dose_scale = 0.0, 0.0, 1.0
        self.on_course = course.given
        if not course.given:
            return
        self.harm = self.term_probabilities()
        if course.start == 0.0:
            self.markers |= s.on_treatment
        planned_by = course.planned_event
        ever = 1 if planned_by != NONE and self.is_susceptible(planned_by) else 0
        self.planned = _first_below(self.draw(STREAMS["course.planned"]), course.planned_cdf[ever])
        self.check_course(0.0)
        if self.on_course:
            self.visit = self.enter(course.start, s.codes.administration)

    def attend(self, now: float) -> None:
        """A visit: the course ends if the planned number has been given; otherwise one more is given."""
        s = self.setting
        self.visit = None
        if self.n_given >= self.planned:
            self.end_course(now, 0)
            self.settle_all(now)
            return
        if any(s.withholds[e] and self.clocks[e].pending for e in s.by_administration):
            self.last_delay = 0.0
        else:
            self.administer(now)
        if not self.on_course:
            return
        if self.course.interval_code == NONE:
            self.end_course(now, 0)
            self.settle_all(now)
            return
        self.visit = self.enter(self.next_visit(now), s.codes.administration)

    def next_visit(self, now: float) -> float:
        """Time of the next visit: start + k·interval, or a running sum of random intervals; plus delays."""
        course = self.course
        self.n_visits += 1
        if course.interval_code == FIXED:
            fixed: float = course.start + self.n_visits * course.interval[0] + self.delayed
            return fixed
        u = self.draw(STREAMS["visit"], self.n_visits - 1)
        drawn = quantile(course.interval_code, u, *course.interval)
        return now + drawn + self.last_delay

    def administer(self, now: float) -> None:
        """Give one administration and draw what it brings."""
        s, course, number = self.setting, self.course, self.n_given
        self.n_given += 1
        u = (
            self.draw(STREAMS["course.dose"], 0 if course.dose_per_patient else number)
            if len(course.dose_level) > 1
            else 0.0
        )
        dose = course.dose_level[_first_below(u, course.dose_cdf)]
        self.write(now, s.codes.administration, dose * self.dose_scale)
        before, harmed = self.markers, False
        if number == 0:
            self.markers |= s.on_treatment
        for term, probability in enumerate(self.harm):
            if probability > 0.0 and self.draw(s.term_stream[term], number) < probability:
                self.write(now, s.codes.first_term + term, float(number))
                self.markers |= s.term_set[term]
                harmed = True
        self.last_delay = course.delay if harmed else 0.0
        if harmed:
            self.delayed += course.delay
            self.dose_scale *= course.dose_factor
        for event in s.by_administration:
            self.try_event(event, number, now)
        if self.markers != before:
            self.check_course(now)
            self.settle_all(now)

    def term_probabilities(self) -> list[float]:
        """Probability of each term per administration in this patient: Φ((a + √ρ·z) / √(1 − ρ)).

        a = Φ⁻¹ of the marginal probability and z the patient's frailty, so that patients differ and the
        margin holds (one-factor probit: Ochi & Prentice 1984).
        """
        s = self.setting
        if s.frailty == 0.0 or not s.terms:
            return s.unshared[self.cell]
        shift = s.root_frailty * normal_quantile(self.draw(STREAMS["adverse_event.frailty"]))
        return [normal_cdf((a + shift) / s.root_rest) for a in s.threshold[self.cell]]

    def try_event(self, event: int, number: int, now: float) -> None:
        """An administration may bring about an event after a lag, in patients at risk of it."""
        s, clock = self.setting, self.clocks[event]
        if clock.pending or not self.is_at_risk(event) or not self.is_susceptible(event):
            return
        if self.draw(s.stream[event], number) < s.success[self.cell][event]:
            lag = quantile(s.lag_code[event], self.draw(s.lag_stream[event], number), *s.lag[event])
            clock.entry, clock.pending = self.enter(now + lag, event), True

    def check_course(self, now: float) -> None:
        """The first exit stops the course for good, with its reason."""
        if not self.on_course:
            return
        reason = self.course.stop_states[self.state]
        if not reason:
            reason = next((r for marker, r in self.course.stop_markers if self.markers & marker), 0)
        if reason:
            self.end_course(now, reason)

    def end_course(self, now: float, reason: int) -> None:
        s = self.setting
        self.on_course = False
        if self.visit is not None:
            self.visit.withdrawn = True
            self.visit = None
        self.markers &= ~s.on_treatment
        self.write(now, s.codes.end_of_course, float(reason))


def _first_below(u: float, cdf: list[float]) -> int:
    """Smallest index whose cumulative probability exceeds u."""
    return next(i for i, cumulative in enumerate(cdf) if u < cumulative)


def cells(model: ModelTables, parameter_set: int, replicate: int, seed: int, n: int) -> list[int]:
    """Cell of patients 0 … n − 1: the largest deficit against the shares, or one draw each."""
    share = model.patients.share[parameter_set].tolist()
    if len(share) == 1:
        return [0] * n
    if model.patients.allocation == Allocation.RANDOM:
        cdf = np.cumsum(share)
        cdf[-1] = 1.0
        stream = STREAMS["cohort.allocation"]
        return [_first_below(uniform(seed, i, replicate, stream, 0), cdf.tolist()) for i in range(n)]
    counts = [0] * len(share)
    taken = []
    for i in range(n):
        deficits = [share[c] * (i + 1) - counts[c] for c in range(len(share))]
        best = max(range(len(share)), key=deficits.__getitem__)
        counts[best] += 1
        taken.append(best)
    return taken


def covariate_rows(model: ModelTables, b: int, replicate: int, seed: int, cell: list[int]) -> list[list[float]]:
    """Covariates of patients, by inversion, one draw each."""
    table = model.patients
    codes, streams = table.covariate_code.tolist(), table.covariate_stream.tolist()
    values = table.covariate[b].tolist()
    return [
        [quantile(codes[x], uniform(seed, i, replicate, streams[x], 0), *values[c][x]) for x in range(len(codes))]
        for i, c in enumerate(cell)
    ]


def simulate(
    model: ModelTables,
    *,
    seed: int,
    replicates: range,
    parameter_sets: range | None = None,
    patients: range | None = None,
    progress: Callable[[int], None] | None = None,
) -> Trajectories:
    """Simulate every patient of the given replicates and parameter sets.

    Parameters
    ----------
    seed : 0 ≤ seed < 2**64, the key of every draw.
    replicates : replicate numbers, a range within [0, 2**32).
    parameter_sets : rows of the tables; all of them if None.
    patients : patients of each replicate, a contiguous range; all of them if None.
    progress : called with the number of patients finished since the last call.

    Returns
    -------
    Trajectories ordered by (parameter set, replicate, patient).

    Raises
    ------
    SimulationError
        When a recurrent event exceeds its declared maximum.
    """
    log, offset = HistoryLog(), [0]
    columns: list[tuple[int, int, int, int, list[float]]] = []
    for b in parameter_sets if parameter_sets is not None else range(model.n_sets):
        setting = Setting(model, b, seed)
        n = int(model.patients.n_patients[b])
        start, stop = (0, n) if patients is None else (min(patients.start, n), min(patients.stop, n))
        allocated = None
        for replicate in replicates:
            if allocated is None or model.patients.allocation == Allocation.RANDOM:
                allocated = cells(model, b, replicate, seed, stop)
            rows = covariate_rows(model, b, replicate, seed, allocated)
            for first in range(start, stop, BATCH):
                members = range(first, min(first + BATCH, stop))
                calendar, logs = Calendar(), [HistoryLog() for _ in members]
                for own, i in zip(logs, members, strict=True):
                    Life(calendar, setting, own, replicate, i, allocated[i], rows[i])
                calendar.run()
                for own in logs:
                    log.time += own.time
                    log.code += own.code
                    log.value += own.value
                    offset.append(len(log.time))
                columns += [(b, replicate, i, allocated[i], rows[i]) for i in members]
                if progress is not None:
                    progress(len(members))
    return _trajectories(model, columns, log, offset)


def _trajectories(
    model: ModelTables, columns: list[tuple[int, int, int, int, list[float]]], log: HistoryLog, offset: list[int]
) -> Trajectories:
    def column(i: int) -> Integers:
        return np.array([row[i] for row in columns], dtype=np.int64)

    covariates: Floats = np.array([row[4] for row in columns], dtype=float).reshape(
        len(columns), len(model.patients.covariates)
    )
    return Trajectories(
        model,
        column(0),
        column(1),
        column(2),
        column(3),
        covariates,
        np.array(offset, dtype=np.int64),
        np.array(log.time, dtype=float),
        np.array(log.code, dtype=np.int16),
        np.array(log.value, dtype=float),
    )


__all__ = ["BATCH", "Calendar", "Life", "cells", "simulate"]
