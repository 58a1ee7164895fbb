"""A block of patients as columns.

A *slot* is a patient's place in the block. Everything is written before it is read, so nothing is cleared that a block
does not use. Columns of one kind share an array, and a name here is a column's place in it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulator.engines.compiled.plan import N_CELLS, N_COVARIATES, N_EVENTS, N_TERMS, Plan
from simulator.kernels.references import by_reference
from simulator.tables import Floats, Integers

Slots = NDArray[np.uint32]
"""Unsigned, since numba asks of every signed index whether it counts from the end, which keeps gathers scalar."""

# Of `Columns.real`.
END, STOPPED, ABSORBED, COMPLETED, DELAYED, LAST_DELAY, DOSE_SCALE, TIMES, UNTIL = 0, 1, 2, 3, 4, 5, 6, 7, 8
SCRATCH = 9  # and following
N_SCRATCH = 14
BEST, AT, LAWS = SCRATCH + 8, SCRATCH + 9, SCRATCH + 10  # LAWS and two more: parameters of a hazard
FOUND = SCRATCH + 13
# Of `Columns.whole`.
PLANNED_NUMBER, N_GIVEN, N_VISITS, ON_COURSE = 0, 1, 2, 3
WINNER, TARGET, HELD, LEFT, PLACE, HARMED = 4, 5, 6, 7, 8, 9
N_WHOLE = 10
# Of `Columns.address`.
PATIENT, REPLICATE, ROW, CELL, ROWS = 0, 1, 2, 3, 4
LISTED = 5  # and two more: patient, replicate and occurrence of the slots of a list
NUMBER_GIVEN, HIT = 8, 9
N_ADDRESS = 10
# Of `Columns.event`, and of `Columns.status`.
DUE, REMAINING, ANCHOR, ORIGIN, RATE, OWN_FACTOR, FIRST = 0, 1, 2, 3, 4, 5, 6
N_EVENT = 7
OCCURRENCE, SPENT, PENDING, SUSCEPTIBLE = 0, 1, 2, 3
N_STATUS = 4
# Of `Columns.slots`.
WAITING, PICKED, SAME, ABLE = 0, 1, 2, 3
N_SLOTS = 4
# Of `Columns.table`: what a configuration is, whom it puts at risk, how many wait in it, what ends the course.
STATE, MARKERS, STARTED, HAPPENED, RISK, LENGTH, STOPS = 0, 1, 2, 3, 4, 5, 6
# Of `Columns.leads`: effects that act in a configuration, and where an event leads from it.
EFFECTS, FOLLOWING = 0, 1


FULL = -1
"""What a kernel returns in place of a number of rows where there is not room enough."""


@by_reference
class Columns(NamedTuple):
    """Columns of N slots, and the lists of the race. E events, T terms, X covariates, C cells, Z configurations."""

    real: Floats  # (SCRATCH + N_SCRATCH, N)
    whole: Integers  # (N_WHOLE, N)
    address: Slots  # (N_ADDRESS, N): unsigned as slots are
    event: Floats  # (N_EVENT, E + 1, N): the last is the visit's, which is only due
    status: Integers  # (N_STATUS, E, N)
    covariate: Floats  # (X, N)
    harm: Floats  # (T, N): probability of each term per administration
    limit: Slots  # (2, T, N): the same as bits of a draw (`rng.bits_below`), high and low word
    counts: Slots  # (codes, N): not of events that happen once
    slots: Slots  # (N_SLOTS, N)
    lists: Slots  # (Z, N)
    table: Integers  # (Z, STOPS + C)
    leads: Integers  # (2, Z, E)
    bucket: Integers  # (2 Z + 1,): rows of the table by hash, and last how many there are
    outcome: Integers  # (outcomes,): where each outcome of an event leads


@by_reference
class RaceLog(NamedTuple):
    """Rows in the order in which they came about, of all slots."""

    slot: Slots  # and, (2, rows), the order of rows by slot
    code: NDArray[np.int16]
    real: Floats  # (2, rows): time, value


@by_reference
class VisitLog(NamedTuple):
    """Administrations that were counted after the race, by number and slot."""

    real: Floats  # (2, K, N): time, dose
    harmed: Integers  # (K, N): bit t: term t occurred


def columns_for(plan: Plan, size: int) -> Columns:
    """Return columns for a block of ``size`` patients."""
    n_events, n_terms, n_cells = (int(n) for n in plan.fact[[N_EVENTS, N_TERMS, N_CELLS]])
    # Configurations: each slot may be in one of its own, and go to two others in one step.
    n_configurations = 3 * size + n_events + 8

    def whole(*shape: int) -> Integers:
        return np.empty(shape, dtype=np.int64)

    return Columns(
        real=np.empty((SCRATCH + N_SCRATCH, size)),
        whole=whole(N_WHOLE, size),
        address=np.empty((N_ADDRESS, size), dtype=np.uint32),
        event=np.empty((N_EVENT, n_events + 1, size)),
        status=whole(N_STATUS, n_events, size),
        covariate=np.empty((int(plan.fact[N_COVARIATES]), size)),
        harm=np.empty((n_terms, size)),
        limit=np.empty((2, n_terms, size), dtype=np.uint32),
        counts=np.empty((n_events + n_terms + 2, size), dtype=np.uint32),
        slots=np.empty((N_SLOTS, size), dtype=np.uint32),
        lists=np.empty((n_configurations, size), dtype=np.uint32),
        table=np.zeros((n_configurations, STOPS + n_cells), dtype=np.int64),
        leads=whole(2, n_configurations, n_events),
        bucket=whole(2 * n_configurations + 1),
        outcome=whole(plan.outcome_set.size),
    )


def empty_log(rows: int) -> RaceLog:
    """Return a log with room for this many rows."""
    return RaceLog(np.empty((2, rows), dtype=np.uint32), np.empty(rows, dtype=np.int16), np.empty((2, rows)))


def empty_visits(most: int, size: int) -> VisitLog:
    """Return room for so many administrations of each of ``size`` patients."""
    return VisitLog(np.empty((2, most, size)), np.empty((most, size), dtype=np.int64))


@dataclass
class Workplace:
    """What a thread needs to simulate blocks. Log and visits may be replaced by larger ones."""

    columns: Columns
    log: RaceLog
    visits: VisitLog


_idle: OrderedDict[tuple[tuple[int, ...], ...], list[Workplace]] = OrderedDict()
_lock = Lock()
_KEPT = 4  # kinds of models, by the shapes of their columns


@contextmanager
def workplace(plan: Plan, size: int) -> Iterator[Workplace]:
    """Lend a workplace for blocks of ``size`` patients: one used before if there is one, since new memory is slow.

    Nothing in it is read before it is written, so what it was used for makes no difference.
    """
    sizes = plan.fact[[N_EVENTS, N_TERMS, N_CELLS, N_COVARIATES]].tolist()
    kind = ((size, *sizes), plan.outcome_set.shape)
    with _lock:
        idle = _idle.get(kind)
        place = idle.pop() if idle else None
    if place is None:
        place = Workplace(columns_for(plan, size), empty_log(16 * size), empty_visits(16, size))
    yield place
    with _lock:  # not after an error
        _idle.setdefault(kind, []).append(place)
        _idle.move_to_end(kind)
        if len(_idle) > _KEPT:
            _idle.popitem(last=False)
