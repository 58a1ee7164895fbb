"""A block of patients as columns. Knows shapes; knows no rule.

A *slot* is a patient's place in the block. Everything is written before it is read, so nothing is cleared that a
block does not use.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulator.engines.compiled.plan import N_CELLS, N_COVARIATES, N_EVENTS, N_TERMS, Plan
from simulator.tables import Floats, Integers

Bytes = NDArray[np.int8]
Slots = NDArray[np.int32]

MOST_CONFIGURATIONS = 4096
"""Rows of the table of configurations; it is made anew when it is full of ones that nobody is in."""


class Columns(NamedTuple):
    """Columns of N slots, and the lists and scratch of the race. E events, T terms, X covariates."""

    # who
    patient: Integers  # (N,)
    replicate: Integers
    row: Integers  # parameter set · n_cells + cell
    cell: Integers
    covariate: Floats  # (X, N)
    factor: Floats  # (E, N): the patient's own hazard ratio
    end: Floats  # (N,): the horizon
    # events
    due: Floats  # (E + 1, N): when each would happen next; last the visit
    rate: Floats  # (E, N)
    remaining: Floats
    anchor: Floats
    origin: Floats
    occurrence: Integers  # (E, N)
    spent: Bytes
    pending: Bytes
    susceptible: Bytes  # -1: not known yet
    # course
    planned: Integers  # (N,)
    n_given: Integers
    n_visits: Integers
    on_course: Bytes
    stopped: Floats  # (N,): when a rule or the end of life ended the course
    completed: Floats  # when the planned number had been given; +inf: never
    delayed: Floats
    last_delay: Floats
    dose_scale: Floats
    harm: Floats  # (T, N): probability of each term per administration
    # what is kept
    first: Floats  # (E, N)
    count: Integers  # (codes, N)
    # the race
    lists: Slots  # (configurations, N)
    length: Integers  # (configurations,)
    grouped: Slots  # (N,) slots by winner; whoever is given administrations after the race
    times: Floats  # (N,) and when
    same: Slots  # (N,) slots of one next configuration
    real: Floats  # (8, N) scratch
    whole: Integers  # (6, N) scratch
    last: Integers  # (E + 2,) where each winner's slots end
    outcome: Integers  # (outcomes,) where each outcome of an event leads
    start: Integers  # (N + 1,) first row of each slot in the sorted log
    # the table of configurations
    key: Integers  # (configurations, 4): state, markers, clocks started, events that have happened
    risk: Integers  # (configurations,)
    effects: Integers  # (configurations, E)
    stop: Integers  # (configurations, C)
    bucket: Integers  # (2 · configurations,)
    following: Integers  # (configurations, E): where an event leads, NONE not known
    n_configurations: Integers  # (1,)


class Log(NamedTuple):
    """Rows in the order in which they came about, of all slots; ``order`` is scratch."""

    slot: Slots
    time: Floats
    code: NDArray[np.int16]
    value: Floats
    order: Slots


class Visits(NamedTuple):
    """Administrations that were counted after the race, (K, N) by number and slot."""

    time: Floats
    dose: Floats
    harmed: NDArray[np.int64]  # bit t: term t occurred


def columns_for(plan: Plan, size: int) -> Columns:
    """Return columns for a block of ``size`` patients."""
    n_events, n_terms = int(plan.fact[N_EVENTS]), int(plan.fact[N_TERMS])
    n_codes = n_events + n_terms + 2

    def real(*leading: int) -> Floats:
        return np.empty((*leading, size))

    def whole(*leading: int) -> Integers:
        return np.empty((*leading, size), dtype=np.int64)

    def byte(*leading: int) -> Bytes:
        return np.empty((*leading, size), dtype=np.int8)

    return Columns(
        patient=whole(),
        replicate=whole(),
        row=whole(),
        cell=whole(),
        covariate=real(int(plan.fact[N_COVARIATES])),
        factor=real(n_events),
        end=real(),
        due=real(n_events + 1),
        rate=real(n_events),
        remaining=real(n_events),
        anchor=real(n_events),
        origin=real(n_events),
        occurrence=whole(n_events),
        spent=byte(n_events),
        pending=byte(n_events),
        susceptible=byte(n_events),
        planned=whole(),
        n_given=whole(),
        n_visits=whole(),
        on_course=byte(),
        stopped=real(),
        completed=real(),
        delayed=real(),
        last_delay=real(),
        dose_scale=real(),
        harm=real(n_terms),
        first=real(n_events),
        count=whole(n_codes),
        lists=np.empty((MOST_CONFIGURATIONS, size), dtype=np.int32),
        length=np.zeros(MOST_CONFIGURATIONS, dtype=np.int64),
        grouped=np.empty(size, dtype=np.int32),
        times=real(),
        same=np.empty(size, dtype=np.int32),
        real=real(8),
        whole=whole(6),
        last=np.empty(n_events + 3, dtype=np.int64),
        outcome=np.empty(plan.outcome_set.size, dtype=np.int64),
        start=np.empty(size + 1, dtype=np.int64),
        key=np.empty((MOST_CONFIGURATIONS, 4), dtype=np.int64),
        risk=np.empty(MOST_CONFIGURATIONS, dtype=np.int64),
        effects=np.empty((MOST_CONFIGURATIONS, n_events), dtype=np.int64),
        stop=np.empty((MOST_CONFIGURATIONS, int(plan.fact[N_CELLS])), dtype=np.int64),
        bucket=np.empty(2 * MOST_CONFIGURATIONS, dtype=np.int64),
        following=np.empty((MOST_CONFIGURATIONS, n_events), dtype=np.int64),
        n_configurations=np.zeros(1, dtype=np.int64),
    )


def empty_log(rows: int) -> Log:
    """Return a log with room for this many rows."""
    return Log(
        np.empty(rows, np.int32),
        np.empty(rows),
        np.empty(rows, np.int16),
        np.empty(rows),
        np.empty(rows, np.int32),
    )


def empty_visits(most: int, size: int) -> Visits:
    """Return room for so many administrations of each of ``size`` patients."""
    return Visits(np.empty((most, size)), np.empty((most, size)), np.empty((most, size), dtype=np.int64))
