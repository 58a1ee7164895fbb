"""What investigators would have seen of simulated patients. Knows follow-up and visits; estimates nothing.

What *happened* (onset) and what was *seen* (at an assessment visit, before the end of observation) are kept
apart. Follow-up is half-open: something at time t is seen if and only if t < end of follow-up.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from simulator.errors import ConfigError, SimulationError, unknown
from simulator.kernels.hazards import inverse_cumulative_hazards
from simulator.kernels.quantiles import DISTRIBUTIONS, quantiles
from simulator.kernels.rng import stream_number, uniforms
from simulator.study.design import TREATED, Population, StudyDesign
from simulator.tables import NONE, Flags, Floats, Integers
from simulator.trajectories import Counts, Trajectories

_ANY = "any"


@dataclass(frozen=True, eq=False)
class Column:
    """One variable of every patient, each array of shape (R, N).

    ``value``: days (until the event was seen, or of observation where it was not), a number, or 0 and 1;
    NaN where there is none. ``event``: whether what the variable is about was seen. ``has``: whether the
    patient counts in a median, mean or range of the value.
    """

    value: Floats
    event: Flags
    has: Flags


@dataclass(frozen=True, eq=False)
class StudyData:
    """What was seen in R replicate studies of N patients, arrays of shape (R, N). Times are days since entry.

    ``log_seen`` has, for each row of the trajectories' log, the time at which the investigators saw it, +inf
    if they never did.
    """

    trajectories: Trajectories
    design: StudyDesign
    entry: Floats  # days since accrual opened
    end: Floats  # of follow-up: horizon, data cut or loss, whichever comes first
    death: Floats  # as it happened; +inf: not before the horizon
    died: Flags  # and it was seen
    cause: Integers  # the event that led to death, NONE if death was not seen
    log_seen: Floats
    populations: dict[str, Flags]
    _columns: dict[str, Column] = field(default_factory=dict, init=False, repr=False)
    _times: dict[tuple[str, int], Floats] = field(default_factory=dict, init=False, repr=False)

    @property
    def shape(self) -> tuple[int, int]:
        """Replicate studies, patients in each."""
        n_studies, n_patients = self.end.shape
        return n_studies, n_patients

    @property
    def replicate(self) -> Integers:
        """Number of each replicate study, shape (R,)."""
        return self.trajectories.replicate.reshape(self.shape)[:, 0]

    @property
    def stratum(self) -> Integers:
        return self.trajectories.stratum.reshape(self.shape)

    @property
    def arm(self) -> Integers:
        return self.trajectories.arm.reshape(self.shape)

    @cached_property
    def observed(self) -> Floats:
        """Time under observation: until death or the end of follow-up, days."""
        return np.minimum(self.death, self.end)

    def onset(self, event: int) -> Floats:
        """Time at which an event first happened, seen or not; +inf if never before the horizon."""
        return self._cached("onset", event, lambda: self.trajectories.first_time(event))

    def seen(self, code: int) -> Floats:
        """Time at which something with this log code was first seen, +inf if it never was."""
        return self._cached("seen", code, lambda: self._first_seen(self.trajectories.rows(code)))

    def outcome(self, event: int) -> Floats:
        """Index of the outcome chosen at the first occurrence of an event that was seen, NaN if none."""
        rows = self.trajectories.rows(event)
        rows = rows[np.isfinite(self.log_seen[rows])][::-1]
        chosen = np.full(len(self.trajectories), np.nan)
        chosen[self.trajectories.owner[rows]] = self.trajectories.log_value[rows]
        return chosen.reshape(self.shape)

    def marker_seen(self, marker: int) -> Floats:
        """Time at which something that sets the marker was first seen, +inf if never; 0 if set at entry."""
        model, codes = self.trajectories.model, self.trajectories.codes
        bit = np.uint64(1) << np.uint64(marker)
        if int(model.initial_markers) >> marker & 1:
            return np.zeros(self.shape)
        setting = np.zeros(codes.end_of_course + 1, dtype=bool)
        setting[: codes.n_events] = (model.event_set & bit) != 0
        setting[codes.first_term : codes.end_of_course] = (model.course.term_set & bit) != 0
        setting[codes.administration] = model.course.on_treatment == marker
        chosen = setting[self.trajectories.log_code]
        for event in range(codes.n_events):
            start, stop = model.outcome_offset[event : event + 2]
            sets = (model.outcome_set[start:stop] & bit) != 0
            if sets.any():
                rows = self.trajectories.rows(event)
                chosen[rows] |= sets[self.trajectories.log_value[rows].astype(np.int64)]
        return self._first_seen(np.flatnonzero(chosen))

    def administrations(self, before: Floats) -> Counts:
        """Number of administrations strictly before a time per patient."""
        trajectories = self.trajectories
        count = trajectories.count(trajectories.codes.administration, before=before.ravel())
        return count.reshape(self.shape)

    @property
    def state(self) -> Integers:
        """State at the end of observation, as seen: a change that no visit showed is not in it."""
        model, trajectories = self.trajectories.model, self.trajectories
        entered = _entered(trajectories)
        rows = np.flatnonzero((entered != NONE) & np.isfinite(self.log_seen))
        state = np.full(len(trajectories), model.initial_state, dtype=np.int64)
        state[trajectories.owner[rows]] = entered[rows]
        return state.reshape(self.shape)

    def column(self, name: str) -> Column:
        """Return a variable by name; `column_names` lists them.

        Raises
        ------
        ConfigError
            If there is no such variable; the nearest name is suggested.
        """
        if name not in self._columns:
            self._columns[name] = self._column(name)
        return self._columns[name]

    def population(self, name: str) -> Flags:
        """Return who belongs to a population. Raises ConfigError if there is none of that name."""
        if name not in self.populations:
            raise ConfigError(unknown("statistic.population", name, self.populations, what="population"))
        return self.populations[name]

    def column_names(self) -> tuple[str, ...]:
        """Names of all variables of this model and design."""
        model = self.trajectories.model
        names = ["survival", "follow_up", "entered", "administrations", "dose", "adverse_event.any"]
        names += [f"administrations_before.{event}" for event in model.events]
        names += [f"adverse_event.{term}" for term in model.course.terms]
        names += [f"state.{state}" for state in model.states]
        names += [f"population.{population}" for population in self.populations]
        names += model.events
        for event in range(len(model.events)):
            names += [f"{model.events[event]}.{outcome}" for outcome in self._outcomes(event)]
        return tuple(names)

    def _column(self, name: str) -> Column:
        model, codes = self.trajectories.model, self.trajectories.codes
        kind, _, detail = name.partition(".")
        everyone = np.ones(self.shape, dtype=bool)
        if name == "survival":
            return Column(self.observed, self.died, everyone)
        if name == "follow_up":
            return Column(self.observed, ~self.died, everyone)
        if name == "entered":
            cut = self.design.data_cut[self.trajectories.parameter_set].reshape(self.shape)
            return Column(self.entry, self.entry < cut, self.entry < cut)
        if name == "administrations":
            return _number(self.administrations(self.end))
        if name == "dose":
            given = np.isfinite(self.seen(codes.administration))
            dose = self.trajectories.first_value(codes.administration).reshape(self.shape)
            return _number(np.where(given, dose, np.nan))
        if kind == "administrations_before" and detail in model.events:
            seen = self.seen(model.events.index(detail))
            return _number(self.administrations(np.where(np.isfinite(seen), seen, self.end)))
        if kind == "adverse_event" and detail in (_ANY, *model.course.terms):
            if detail in model.course.terms:
                return self._occurrence(self.seen(codes.first_term + model.course.terms.index(detail)))
            counted = np.zeros(codes.end_of_course + 1, dtype=bool)
            counted[codes.first_term : codes.end_of_course] = self.design.counted
            return self._occurrence(self._first_seen(np.flatnonzero(counted[self.trajectories.log_code])))
        if kind == "state" and detail in model.states:
            return _flag(self.state == model.states.index(detail))
        if kind == "population" and detail in self.populations:
            return _flag(self.populations[detail])
        if kind in model.events:
            event = model.events.index(kind)
            if not detail:
                return self._occurrence(self.seen(event))
            outcomes = self._outcomes(event)
            if detail in outcomes:
                chosen = self.outcome(event) == outcomes.index(detail)
                return self._occurrence(np.where(chosen, self.seen(event), np.inf))
        raise ConfigError(unknown("statistic.variable", name, self.column_names(), what="variable"))

    def _occurrence(self, seen: Floats) -> Column:
        event = np.isfinite(seen)
        return Column(np.where(event, seen, self.observed), event, event)

    def _outcomes(self, event: int) -> tuple[str, ...]:
        model = self.trajectories.model
        start, stop = model.outcome_offset[event : event + 2]
        return model.outcomes[start:stop]

    def _first_seen(self, rows: Integers) -> Floats:
        first = np.full(len(self.trajectories), np.inf)
        np.minimum.at(first, self.trajectories.owner[rows], self.log_seen[rows])
        return first.reshape(self.shape)

    def _cached(self, kind: str, code: int, compute) -> Floats:  # type: ignore[no-untyped-def]
        key = (kind, code)
        if key not in self._times:
            self._times[key] = compute().reshape(self.shape)
        return self._times[key]


def observe(trajectories: Trajectories, design: StudyDesign, *, seed: int) -> StudyData:
    """Return what investigators who follow the design would have seen of these patients.

    The patients of every study must be as many; several parameter sets may stand one after another, each
    (parameter set, replicate) being a row of the result.

    Raises
    ------
    ValueError
        If the patients do not form a rectangle of studies.
    SimulationError
        If an assessment interval is not positive.
    """
    shape = _rectangle(trajectories)
    horizon = trajectories.horizon
    entry = np.zeros(len(trajectories))
    end = horizon.copy()
    for row, who in _sets(trajectories.parameter_set):
        if design.entry_code[row] != NONE:
            u = _draw(trajectories, who, seed, "study.entry")
            entry[who] = quantiles(int(design.entry_code[row]), u, *design.entry[row])
        end[who] = np.minimum(end[who], np.maximum(design.data_cut[row] - entry[who], 0.0))
        if design.loss_family[row] != NONE:
            u = _draw(trajectories, who, seed, "study.loss")
            budget = quantiles(DISTRIBUTIONS["exponential"], 1.0 - u, 1.0)  # −log u; 1 − u is exact
            lost = inverse_cumulative_hazards(int(design.loss_family[row]), budget, *design.loss[row])
            end[who] = np.minimum(end[who], lost)
    death = trajectories.absorbed_at
    died = death < end
    data = StudyData(
        trajectories,
        design,
        entry.reshape(shape),
        end.reshape(shape),
        death.reshape(shape),
        died.reshape(shape),
        _causes(trajectories, died).reshape(shape),
        _log_seen(trajectories, design, end, seed),
        {TREATED: np.ones(shape, dtype=bool)},
    )
    for population in design.populations:
        data.populations[population.name] = _members(data, population, seed)
    return data


def observe_each(trajectories: Trajectories, design: StudyDesign, *, seed: int) -> Iterator[StudyData]:
    """Yield what was seen under each parameter set in turn; sets may differ in number of patients."""
    for _, who in _sets(trajectories.parameter_set):
        yield observe(_patients(trajectories, who.start, who.stop), design, seed=seed)


def _log_seen(trajectories: Trajectories, design: StudyDesign, end: Floats, seed: int) -> Floats:
    """Time at which each row of the log was seen, +inf if never.

    A row of an assessed event is seen at the first visit at or after it, if that comes before the end of
    observation and the patient has not left the event's state by then: changes at the very time of a visit
    come first. Death, and events that are confirmed at onset, wait for no visit.
    """
    model, owner, time = trajectories.model, trajectories.owner, trajectories.log_time
    seen = np.where(time < end[owner], time, np.inf)
    limit = np.minimum(end, trajectories.absorbed_at)
    entered = _entered(trajectories)
    moves = np.flatnonzero(entered != NONE)
    has_visits = design.assessment_code[trajectories.parameter_set] != NONE
    for event in np.flatnonzero(design.assessed & ~model.confirmed_at_onset):
        to = model.event_to[event]
        if to != NONE and model.absorbing[to]:
            continue
        rows = trajectories.rows(int(event))
        rows = rows[has_visits[owner[rows]]]
        visit = _first_visits(trajectories, design, rows, limit, seed)
        shown = visit < limit[owner[rows]]
        if to != NONE:
            leaves = moves[entered[moves] != to]
            following = np.searchsorted(leaves, rows, side="right")
            within = following < leaves.size
            leave = leaves[np.where(within, following, 0)] if leaves.size else np.zeros_like(rows)
            left = within & (owner[leave] == owner[rows]) & (time[leave] <= visit)
            shown &= ~left
        seen[rows] = np.where(shown, visit, np.inf)
    return seen


def _first_visits(trajectories: Trajectories, design: StudyDesign, rows: Integers, limit: Floats, seed: int) -> Floats:
    """First assessment visit at or after each log row; any time at or after the limit where there is none."""
    owner = trajectories.owner[rows]
    time = trajectories.log_time[rows]
    visit = np.empty_like(time)
    for row, which in _sets(trajectories.parameter_set[owner]):
        code = int(design.assessment_code[row])
        if code == DISTRIBUTIONS["fixed"]:
            visit[which] = _on_grid(time[which], float(design.assessment[row, 0]))
        else:
            visit[which] = _on_random_grid(
                trajectories, owner[which], time[which], limit, code, design.assessment[row], seed
            )
    return visit


def _on_grid(time: Floats, interval: float) -> Floats:
    """First k·interval, k = 1, 2, …, at or after each time."""
    if not interval > 0:
        raise SimulationError(f"the assessment interval is {interval} days: it must be positive")
    k = np.maximum(np.ceil(time / interval), 1.0)
    k += k * interval < time
    k -= (k > 1) & ((k - 1) * interval >= time)  # the quotient's rounding may be one visit out, not two
    return np.asarray(k * interval)


def _on_random_grid(
    trajectories: Trajectories,
    owner: Integers,
    time: Floats,
    limit: Floats,
    code: int,
    parameters: Floats,
    seed: int,
) -> Floats:
    """First running sum of a patient's intervals at or after each time, or at or after the limit."""
    visit = np.zeros(time.size)
    waiting = np.arange(time.size)
    occurrence = 0  # as in the engines: the first interval of a course is occurrence 0 of its stream
    while waiting.size:
        who = owner[waiting]
        interval = quantiles(code, _draw(trajectories, who, seed, "visit", occurrence), *parameters)
        if not (interval > 0).all():
            raise SimulationError("an assessment interval is not positive")
        visit[waiting] += interval
        at = visit[waiting]
        waiting = waiting[(at < time[waiting]) & (at < limit[who])]
        occurrence += 1
    return visit


def _members(data: StudyData, population: Population, seed: int) -> Flags:
    trajectories = data.trajectories
    parameter_set = trajectories.parameter_set
    draw = _draw(trajectories, slice(None), seed, f"study.{population.name}")
    member = draw < population.probability[parameter_set, trajectories.cell]
    alive_at = population.alive_at[parameter_set]
    member &= ~np.isfinite(alive_at) | (data.observed.ravel() > alive_at)
    member = member.reshape(data.shape)
    if population.always_event != NONE:
        member |= np.isfinite(data.seen(population.always_event))
    if population.exclude_event != NONE:
        member &= ~np.isfinite(data.seen(population.exclude_event))
    return np.asarray(member & data.populations[population.of])


def _causes(trajectories: Trajectories, died: Flags) -> Integers:
    """Event that led into an absorbing state, NONE for those who did not die under observation."""
    entered = _entered(trajectories)
    rows = np.flatnonzero(entered != NONE)
    rows = rows[trajectories.model.absorbing[entered[rows]]]
    cause = np.full(len(trajectories), NONE, dtype=np.int64)
    cause[trajectories.owner[rows]] = trajectories.log_code[rows]
    return np.where(died, cause, NONE)


def _entered(trajectories: Trajectories) -> Integers:
    """State that each log row leads to, NONE for rows that change no state."""
    codes = trajectories.codes
    to = np.full(codes.end_of_course + 1, NONE, dtype=np.int64)
    to[: codes.n_events] = trajectories.model.event_to
    return np.asarray(to[trajectories.log_code])


def _draw(trajectories: Trajectories, who: slice | Integers, seed: int, stream: str, occurrence: int = 0) -> Floats:
    patient, replicate = trajectories.patient[who], trajectories.replicate[who]
    return uniforms(seed, patient, replicate, stream_number(stream), occurrence)


def _number(value: NDArray[np.generic]) -> Column:
    number = value.astype(np.float64)
    has = ~np.isnan(number)
    return Column(number, has, has)


def _flag(value: Flags) -> Column:
    return Column(value.astype(np.float64), value, np.ones_like(value))


def _sets(parameter_set: Integers) -> Iterator[tuple[int, slice]]:
    """Parameter sets in their order, each with where it stands."""
    edges = np.flatnonzero(np.diff(parameter_set)) + 1
    for start, stop in pairwise([0, *edges.tolist(), parameter_set.size]):
        if stop > start:
            yield int(parameter_set[start]), slice(start, stop)


def _patients(trajectories: Trajectories, start: int, stop: int) -> Trajectories:
    """Histories of patients start to stop."""
    first, last = trajectories.offset[[start, stop]]
    return Trajectories(
        trajectories.model,
        trajectories.parameter_set[start:stop],
        trajectories.replicate[start:stop],
        trajectories.patient[start:stop],
        trajectories.cell[start:stop],
        trajectories.covariates[start:stop],
        trajectories.offset[start : stop + 1] - first,
        trajectories.log_time[first:last],
        trajectories.log_code[first:last],
        trajectories.log_value[first:last],
    )


def _rectangle(trajectories: Trajectories) -> tuple[int, int]:
    """Number of studies and of patients in each."""
    n = len(trajectories)
    if n == 0:
        raise ValueError("there are no patients to observe")
    changed = np.diff(trajectories.parameter_set) != 0
    changed |= np.diff(trajectories.replicate) != 0
    starts = np.flatnonzero(np.concatenate([[True], changed]))
    size = n // starts.size
    if n % starts.size or (starts != np.arange(starts.size) * size).any():
        raise ValueError("the studies differ in number of patients: observe each parameter set on its own")
    return starts.size, size
