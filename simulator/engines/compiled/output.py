"""From a block's columns and log to what is kept of it. Knows the order of a history; decides nothing."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulator.engines.compiled.columns import Columns, Log, Visits
from simulator.engines.compiled.plan import FEEDBACK, N_EVENTS, N_TERMS, Plan
from simulator.kernels.compilation import bare_kernel
from simulator.kernels.elementary import INFINITY
from simulator.tables import Floats, Integers

FULL = -1


class Rows(NamedTuple):
    """Histories one after another, as `trajectories.Trajectories` has them; grows."""

    time: Floats
    code: NDArray[np.int16]
    value: Floats


def empty_rows(size: int) -> Rows:
    """Return room for so many rows."""
    return Rows(np.empty(size), np.empty(size, np.int16), np.empty(size))


def more_rows(rows: Rows, filled: int) -> Rows:
    """Return twice the room, what is filled in it."""
    larger = empty_rows(2 * rows.time.size + 1)
    for new, old in zip(larger, rows, strict=True):
        new[:filled] = old[:filled]
    return larger


@bare_kernel
def summarise_block(plan: Plan, columns: Columns, n: int, first: Floats, count: NDArray[np.int32], at: int) -> None:
    """Copy first times (E, …) and counts (codes, …) of a block to patients ``at`` and following."""
    n_events = plan.fact[N_EVENTS]
    end_of_course = n_events + 1 + plan.fact[N_TERMS]
    for e in range(n_events):
        for s in range(n):
            first[e, at + s] = columns.first[e, s]
    for s in range(n):
        columns.count[n_events, s] = columns.n_given[s]
        columns.count[end_of_course, s] = 1 if columns.completed[s] < INFINITY else columns.count[end_of_course, s]
    for code in range(columns.count.shape[0]):
        for s in range(n):
            count[code, at + s] = columns.count[code, s]


@bare_kernel
def write_block(
    plan: Plan, columns: Columns, n: int, log: Log, used: int, visits: Visits, rows: Rows, filled: int, lengths: Integers
) -> int:
    """Append each slot's history to the rows; ``lengths`` (n,) becomes their lengths.

    Returns how many rows are filled then, FULL where there is not room enough.

    The log has a slot's rows in their order, among those of others. Administrations that were counted after the
    race are merged in: at one time events come first. The end that a rule brought about is left out where the
    planned number had been given before.
    """
    n_events, n_terms = plan.fact[N_EVENTS], plan.fact[N_TERMS]
    end_of_course = n_events + 1 + n_terms
    start, order, place = columns.start, log.order, columns.whole[0]
    start[: n + 1] = 0
    for r in range(used):
        start[log.slot[r] + 1] += 1
    for s in range(n):
        start[s + 1] += start[s]
    for s in range(n):
        place[s] = start[s]
    for r in range(used):
        s = log.slot[r]
        order[place[s]] = r
        place[s] += 1
    counted = not plan.fact[FEEDBACK]
    most = used
    if counted:
        for s in range(n):
            most += columns.n_given[s] * (1 + n_terms) + 1
    if filled + most > rows.time.size:
        return FULL
    time, code, value = rows.time, rows.code, rows.value
    for s in range(n):
        begin = filled
        number, given = 0, columns.n_given[s] if counted else 0
        completed = columns.completed[s] if counted else INFINITY
        done = not completed < INFINITY
        for i in range(start[s], start[s + 1] + 1):
            at = log.time[order[i]] if i < start[s + 1] else INFINITY
            while number < given and visits.time[number, s] < at:
                t = visits.time[number, s]
                time[filled], code[filled], value[filled] = t, n_events, visits.dose[number, s]
                filled += 1
                for term in range(n_terms):
                    if visits.harmed[number, s] >> term & 1:
                        time[filled], code[filled], value[filled] = t, n_events + 1 + term, float(number)
                        filled += 1
                number += 1
            if not done and number == given and completed < at:
                time[filled], code[filled], value[filled] = completed, end_of_course, 0.0
                filled += 1
                done = True
            if i < start[s + 1]:
                r = order[i]
                if completed < INFINITY and log.code[r] == end_of_course:
                    continue
                time[filled], code[filled], value[filled] = log.time[r], log.code[r], log.value[r]
                filled += 1
        lengths[s] = filled - begin
    return filled
