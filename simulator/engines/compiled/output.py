"""From a block's columns and log to what is kept of it. Knows the order of a history; decides nothing."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulator.engines.compiled.columns import Columns, Log, Visits
from simulator.engines.compiled.plan import FEEDBACK, N_EVENTS, N_TERMS, Plan
from simulator.kernels.compilation import kernel
from simulator.kernels.elementary import INFINITY
from simulator.tables import Floats, Integers


class Rows(NamedTuple):
    """Histories one after another, as `trajectories.Trajectories` has them; grows."""

    time: Floats
    code: NDArray[np.int16]
    value: Floats


def empty_rows(size: int) -> Rows:
    """Return room for so many rows."""
    return Rows(np.empty(size), np.empty(size, np.int16), np.empty(size))


@kernel
def summarise_block(plan: Plan, columns: Columns, n: int, first: Floats, count: NDArray[np.int32], at: int) -> None:
    """Copy first times (E, …) and counts (codes, …) of a block to patients ``at`` and following."""
    n_events = plan.fact[N_EVENTS]
    end_of_course = n_events + 1 + plan.fact[N_TERMS]
    for e in range(n_events):
        first[e, at : at + n] = columns.first[e, :n]
    for s in range(n):
        columns.count[n_events, s] = columns.n_given[s]
        columns.count[end_of_course, s] = 1 if columns.completed[s] < INFINITY else columns.count[end_of_course, s]
    for code in range(columns.count.shape[0]):
        for s in range(n):
            count[code, at + s] = columns.count[code, s]


@kernel
def write_block(
    plan: Plan, columns: Columns, n: int, log: Log, used: int, visits: Visits, rows: Rows, filled: int, lengths: Integers
) -> tuple:
    """Append each slot's history to the rows; ``lengths`` (n,) becomes their lengths. Returns rows, rows filled.

    The log has a slot's rows in their order, among those of others. Administrations that were counted after the
    race are merged in: at one time events come first. The end that a rule brought about is left out where the
    planned number had been given before.
    """
    n_events, n_terms = plan.fact[N_EVENTS], plan.fact[N_TERMS]
    end_of_course = n_events + 1 + n_terms
    start, order = np.zeros(n + 1, np.int64), np.empty(used, np.int64)
    for r in range(used):
        start[log.slot[r] + 1] += 1
    for s in range(n):
        start[s + 1] += start[s]
    place = start[:n].copy()
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
        rows = more_rows(rows, filled, most)
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
    return rows, filled


@kernel
def more_rows(rows: Rows, filled: int, more: int) -> Rows:
    """Return room for so many more rows, the old ones in it."""
    size = filled + more + (filled + more) // 2
    time, code, value = np.empty(size), np.empty(size, np.int16), np.empty(size)
    time[:filled], code[:filled], value[:filled] = rows.time[:filled], rows.code[:filled], rows.value[:filled]
    return Rows(time, code, value)
