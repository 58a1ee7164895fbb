"""From a block's columns and log to what is kept of it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulator.engines.compiled.columns import (
    COMPLETED,
    FIRST,
    FULL,
    N_GIVEN,
    PLACE,
    STOPPED,
    Columns,
    RaceLog,
    VisitLog,
)
from simulator.engines.compiled.plan import FEEDBACK, N_EVENTS, N_TERMS, RECURRENT, Plan
from simulator.kernels.compilation import bare_kernel
from simulator.kernels.elementary import INFINITY
from simulator.kernels.references import by_reference
from simulator.tables import NONE, Floats, Integers


@by_reference
class Rows(NamedTuple):
    """Histories one after another, as `trajectories.Trajectories` has them; grows."""

    time: Floats
    code: NDArray[np.int16]
    value: Floats


def empty_rows(size: int) -> Rows:
    """Return room for so many rows."""
    return Rows(np.empty(size), np.empty(size, np.int16), np.empty(size))


def more_rows(rows: Rows, filled: int, size: int) -> Rows:
    """Return room for so many rows, at least for twice as many as before, with what is filled in it."""
    larger = empty_rows(max(size, 2 * rows.time.size + 1))
    larger.time[:filled], larger.code[:filled] = rows.time[:filled], rows.code[:filled]
    larger.value[:filled] = rows.value[:filled]
    return larger


@bare_kernel
def summarise_block(plan: Plan, columns: Columns, n: int, first: Floats, count: NDArray[np.int32], at: int) -> None:
    """Copy first times (E, …) and counts of a block to patients ``at`` and following.

    ``count`` has a row for each code but those of events that happen once.
    """
    n_events = plan.fact[N_EVENTS]
    end_of_course = n_events + 1 + plan.fact[N_TERMS]
    for e in range(n_events):
        when, out = columns.event[FIRST, e], first[e, at : at + n]
        for s in range(n):
            out[s] = when[s]
    for s in range(n):
        columns.counts[n_events, s] = columns.whole[N_GIVEN, s]
    if not plan.fact[FEEDBACK]:
        stopped, completed, ended = columns.real[STOPPED], columns.real[COMPLETED], columns.counts[end_of_course]
        for s in range(n):  # or it had ended at entry
            ended[s] = 1 if (stopped[s] < INFINITY) | (completed[s] < INFINITY) else ended[s]
    row = 0
    for code in range(end_of_course + 1):
        if code < n_events and not plan.event[code, RECURRENT]:
            continue
        number, counted = columns.counts[code], count[row, at : at + n]
        for s in range(n):
            counted[s] = number[s]
        row += 1


@bare_kernel
def write_block(
    plan: Plan,
    columns: Columns,
    n: int,
    log: RaceLog,
    used: int,
    visits: VisitLog,
    rows: Rows,
    filled: int,
    lengths: Integers,
) -> int:
    """Append each slot's history to the rows; ``lengths`` (n,) becomes their lengths.

    Returns how many rows are filled then, FULL where there is not room enough.

    The log has a slot's rows in their order, among those of others. Administrations that were counted after the
    race are merged in: at one time events come first. The end that a rule brought about is left out where the
    planned number had been given before.
    """
    n_events, n_terms = plan.fact[N_EVENTS], plan.fact[N_TERMS]
    end_of_course = n_events + 1 + n_terms
    order, end = log.slot[1], columns.whole[PLACE]
    end[:n] = 0
    for r in range(used):
        end[log.slot[0, r]] += 1
    total = 0
    for s in range(n):  # first where a slot's rows begin, then, as they are put there, where they end
        total += end[s]
        end[s] = total - end[s]
    for r in range(used):
        s = log.slot[0, r]
        order[end[s]] = r
        end[s] += 1
    counted = not plan.fact[FEEDBACK]
    most = used
    for s in range(n if counted else 0):
        most += columns.whole[N_GIVEN, s] * (1 + n_terms) + 1
    if filled + most > rows.time.size:
        return FULL
    time, code, value = rows.time, rows.code, rows.value
    i = 0
    for s in range(n):
        begin = filled
        number, given = 0, columns.whole[N_GIVEN, s] if counted else 0
        completed = columns.real[COMPLETED, s] if counted else INFINITY
        done = not completed < INFINITY
        while True:
            r = order[i] if i < end[s] else NONE
            at = log.real[0, r] if r != NONE else INFINITY
            while number < given and visits.real[0, number, s] < at:
                t = visits.real[0, number, s]
                time[filled], code[filled], value[filled] = t, n_events, visits.real[1, number, s]
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
            if r == NONE:
                break
            i += 1
            if completed == INFINITY or log.code[r] != end_of_course:
                time[filled], code[filled], value[filled] = at, log.code[r], log.real[1, r]
                filled += 1
        lengths[s] = filled - begin
    return filled
