"""What investigators would have seen of simulated patients.

What *happened* (onset) and what was *seen* (at an assessment visit, before the end of observation) are kept apart.
Follow-up is half-open: something at time t is seen if and only if t < end of follow-up.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from simulator.endpoints import registry
from simulator.endpoints.base import Column
from simulator.errors import ConfigError, SimulationError, unknown
from simulator.kernels.hazards import inverse_cumulative_hazards
from simulator.kernels.quantiles import EXPONENTIAL, quantiles
from simulator.kernels.rng import stream_number, uniforms
from simulator.study import observed_times
from simulator.study.design import TREATED, AnalysisSet, StudyDesign
from simulator.study.patients import Patients
from simulator.tables import NONE, Flags, Floats, Integers, ModelTables
from simulator.trajectories import Counts, Trajectories


@dataclass(frozen=True, eq=False)
class StudyData(Patients):
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
    _kept: dict[tuple[str, Hashable], Any] = field(default_factory=dict, init=False, repr=False)

    @property
    def shape(self) -> tuple[int, int]:
        """Replicate studies, patients in each."""
        n_studies, n_patients = self.end.shape
        return n_studies, n_patients

    @property
    def model(self) -> ModelTables:
        return self.trajectories.model

    @property
    def replicate(self) -> Integers:
        """Number of each replicate study, shape (R,)."""
        return self.trajectories.replicate.reshape(self.shape)[:, 0]

    @cached_property
    def stratum(self) -> Integers:
        return self.trajectories.stratum.reshape(self.shape)

    def is_stratum(self, stratum: int) -> Flags:
        """Who is of a stratum, by its index."""
        return self.kept("stratum", stratum, lambda: self._in_cells(lambda cell, n: cell % n == stratum))

    def is_arm(self, arm: int) -> Flags:
        """Who is in an arm, by its index."""
        return self.kept("arm", arm, lambda: self._in_cells(lambda cell, n: cell // n == arm))

    def is_dead(self) -> Flags:
        return self.died

    def _in_cells(self, chosen: Callable[[Integers, int], Flags]) -> Flags:
        model = self.trajectories.model
        return np.asarray(chosen(np.arange(model.n_cells), len(model.strata))[self.trajectories.cell]).reshape(
            self.shape
        )

    @cached_property
    def arm(self) -> Integers:
        return self.trajectories.arm.reshape(self.shape)

    @property
    def all_patients(self) -> Flags:
        return self.populations[TREATED]

    @cached_property
    def observed(self) -> Floats:
        """Time under observation: until death or the end of follow-up, days."""
        return np.minimum(self.death, self.end)

    @cached_property
    def first_seen(self) -> Floats:
        """Time at which each log code was first seen, +inf if it never was, shape (codes, R, N)."""
        trajectories = self.trajectories
        n_codes = trajectories.codes.end_of_course + 1
        first = observed_times.first_seen(trajectories.log, self.log_seen, n_codes)
        return first.reshape(n_codes, *self.shape)

    def onset(self, event: int) -> Floats:
        """Time at which an event first happened, seen or not; +inf if never before the horizon."""
        return self.kept("onset", event, lambda: self.trajectories.first_time(event).reshape(self.shape))

    def seen(self, code: int) -> Floats:
        """Time at which something with this log code was first seen, +inf if it never was."""
        return np.asarray(self.first_seen[code])

    def was_seen(self, code: int) -> Flags:
        """Whether something with this log code was ever seen."""
        return self.kept("was_seen", code, lambda: np.isfinite(self.first_seen[code]))

    def outcome(self, event: int) -> Floats:
        """Index of the outcome chosen at the first occurrence of an event that was seen, NaN if none."""
        return self.kept("outcome", event, lambda: self._value_at_first(event, self.log_seen))

    def marker_seen(self, marker: int) -> Floats:
        """Time at which something that sets the marker was first seen, +inf if never; 0 if set at entry."""
        return self.kept("marker", marker, lambda: self._marker_seen(marker))

    def _marker_seen(self, marker: int) -> Floats:
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
        return observed_times.first_seen_of(self.trajectories.offset, chosen, self.log_seen).reshape(self.shape)

    def administrations(self, before: Floats) -> Counts:
        """Number of administrations strictly before a time per patient."""
        given = self.trajectories.codes.administration
        count = observed_times.count_before(self.trajectories.log, given, before.ravel())
        return count.reshape(self.shape)

    @property
    def state(self) -> Integers:
        """State at the end of observation, as seen: a change that no visit showed is not in it."""
        model, trajectories = self.trajectories.model, self.trajectories
        entered = states_entered(model)[trajectories.log_code]
        rows = np.flatnonzero((entered != NONE) & np.isfinite(self.log_seen))
        state = np.full(len(trajectories), model.initial_state, dtype=np.int64)
        state[trajectories.owner[rows]] = entered[rows]
        return state.reshape(self.shape)

    def column(self, name: str) -> Column:
        """Return a variable by name. Raises ConfigError if there is none; the nearest name is suggested."""
        return self.kept("column", name, lambda: registry.column(self, name))

    def population(self, name: str) -> Flags:
        """Return who belongs to a population. Raises ConfigError if there is none of that name."""
        if name not in self.populations:
            raise ConfigError(unknown("statistic.population", name, self.populations, what="population"))
        return self.populations[name]

    @property
    def entered(self) -> Flags:
        """Who entered before the data cut."""
        cut = self.design.data_cut[self.trajectories.parameter_set].reshape(self.shape)
        return np.asarray(self.entry < cut)

    @property
    def dose(self) -> Floats:
        """Dose of the first administration that was seen, NaN without one."""
        given = self.trajectories.codes.administration
        return np.where(self.was_seen(given), self._value_at_first(given, self.trajectories.log_time), np.nan)

    @property
    def counted(self) -> tuple[int, ...]:
        """Log codes of the adverse events that "any adverse event" counts."""
        return tuple((self.trajectories.codes.first_term + np.flatnonzero(self.design.counted)).tolist())

    def outcomes(self, event: int) -> tuple[str, ...]:
        """Names of the outcomes of an event."""
        start, stop = self.model.outcome_offset[event : event + 2]
        return self.model.outcomes[start:stop]

    def _value_at_first(self, code: int, time: Floats) -> Floats:
        """Value of the first row of a code that has a finite time, NaN where there is none."""
        log = self.trajectories
        return observed_times.value_at_first(log.log, time, log.log_value, code).reshape(self.shape)


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
            entry[who] = observed_times.drawn_values(
                np.uint64(seed),
                stream_number("study.entry"),
                trajectories.patient[who],
                trajectories.replicate[who],
                design.entry_code[row],
                *design.entry[row],
            )
        end[who] = np.minimum(end[who], np.maximum(design.data_cut[row] - entry[who], 0.0))
        if design.loss_family[row] != NONE:
            u = _draw(trajectories, who, seed, "study.loss")
            budget = quantiles(EXPONENTIAL, 1.0 - u, 1.0)  # −log u; 1 − u is exact
            lost = inverse_cumulative_hazards(int(design.loss_family[row]), budget, *design.loss[row])
            end[who] = np.minimum(end[who], lost)
    model = trajectories.model
    death, cause = observed_times.deaths(trajectories.log, states_entered(model), model.absorbing)
    died = death < end
    data = StudyData(
        trajectories,
        design,
        entry.reshape(shape),
        end.reshape(shape),
        death.reshape(shape),
        died.reshape(shape),
        np.where(died, cause, NONE).reshape(shape),
        _log_seen(trajectories, design, end, death, seed),
        {TREATED: np.ones(shape, dtype=bool)},
    )
    for population in design.populations:
        data.populations[population.name] = _members(data, population, seed)
    return data


def observe_each(trajectories: Trajectories, design: StudyDesign, *, seed: int) -> Iterator[StudyData]:
    """Yield what was seen under each parameter set in turn; sets may differ in number of patients."""
    for _, who in _sets(trajectories.parameter_set):
        yield observe(_patients(trajectories, who.start, who.stop), design, seed=seed)


def _log_seen(trajectories: Trajectories, design: StudyDesign, end: Floats, death: Floats, seed: int) -> Floats:
    """Time at which each row of the log was seen, +inf if never: `observed_times.seen_times`.

    Death, and events that are confirmed at onset, wait for no visit.
    """
    model = trajectories.model
    entered = states_entered(model)
    waits = np.zeros(entered.size, dtype=bool)
    waits[: len(model.events)] = design.assessed & ~model.confirmed_at_onset
    waits[entered != NONE] &= ~model.absorbing[entered[entered != NONE]]
    visits = observed_times.Assessments(design.assessment_code, design.assessment, waits)
    seen, sound = observed_times.seen_times(
        trajectories.log, entered, visits, end, death, trajectories.people, np.uint64(seed), stream_number("visit")
    )
    if not sound:
        raise SimulationError("an assessment interval is not positive")
    return seen


def _members(data: StudyData, population: AnalysisSet, seed: int) -> Flags:
    people = data.trajectories.people
    stream = stream_number(f"study.{population.name}")
    member = observed_times.drawn(np.uint64(seed), stream, people, population.probability)
    if np.isfinite(population.alive_at).any():
        alive_at = population.alive_at[people.parameter_set]
        member &= ~np.isfinite(alive_at) | (data.observed.ravel() > alive_at)
    member = member.reshape(data.shape)
    if population.always_event != NONE:
        member |= data.was_seen(population.always_event)
    if population.exclude_event != NONE:
        member &= ~data.was_seen(population.exclude_event)
    if population.of != TREATED:
        member &= data.populations[population.of]
    return member


def states_entered(model: ModelTables) -> Integers:
    """State that each log code leads to, NONE for codes that change no state."""
    to = np.full(model.log_codes.end_of_course + 1, NONE, dtype=np.int64)
    to[: len(model.events)] = model.event_to
    return to


def _draw(trajectories: Trajectories, who: slice, seed: int, stream: str) -> Floats:
    patient, replicate = trajectories.patient[who], trajectories.replicate[who]
    return uniforms(seed, patient, replicate, stream_number(stream), 0)


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
