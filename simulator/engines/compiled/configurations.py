"""Configurations: the states and markers that patients are found in.

A configuration is a state, a set of the markers that matter, which clocks have started and which events that happen
once have happened: all that decides who is at risk of what, under which effects, and whether the course ends. Row 0 is
nobody's: before entry, when nothing is at risk.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from simulator.engines.compiled.columns import (
    EFFECTS,
    FOLLOWING,
    HAPPENED,
    LENGTH,
    MARKERS,
    RISK,
    STARTED,
    STATE,
    STOPS,
    Columns,
)
from simulator.engines.compiled.plan import (
    CLEAR,
    CLOCK,
    FIRST_EFFECT,
    FROM,
    LAST_EFFECT,
    N_CELLS,
    N_EVENTS,
    N_STATES,
    RECURRENT,
    SET,
    SINCE,
    TO,
    TRACKED,
    UNLESS,
    WHEN,
    Plan,
)
from simulator.kernels.compilation import bare_kernel, inlined_bare_kernel
from simulator.tables import NONE, Clock

SINCE_CLOCK = int(Clock.SINCE)
LOOKED_AT = 64


@bare_kernel
def clear(columns: Columns) -> None:
    """Forget all configurations but row 0."""
    columns.bucket[:] = NONE
    columns.bucket[columns.bucket.size - 1] = 1
    columns.table[0] = 0
    columns.leads[EFFECTS, 0] = 0


@inlined_bare_kernel
def bucket_of(columns: Columns, state: int, markers: int, started: int, happened: int) -> int:
    """Where a configuration stands in the buckets, or would stand."""
    size = columns.bucket.size - 1
    mixed = (np.uint64(markers) * np.uint64(0x9E3779B97F4A7C15)) ^ (np.uint64(happened) * np.uint64(0xC2B2AE3D27D4EB4F))
    mixed = mixed ^ (np.uint64(started) * np.uint64(0x165667B19E3779F9)) ^ (np.uint64(state) << np.uint64(40))
    at: Any = np.int64((mixed ^ (mixed >> np.uint64(29))) % np.uint64(size))
    while columns.bucket[at] != NONE:
        known = columns.table[columns.bucket[at]]
        same = known[STATE] == state and known[MARKERS] == markers
        if same and known[STARTED] == started and known[HAPPENED] == happened:
            break
        at = at + 1 if at + 1 < size else 0
    return at


@bare_kernel
def find(plan: Plan, columns: Columns, state: int, markers: int, started: int, happened: int) -> int:
    """Row of a configuration, added if it is new."""
    at = bucket_of(columns, state, markers, started, happened)
    if columns.bucket[at] != NONE:
        return columns.bucket[at]
    c = columns.bucket[columns.bucket.size - 1]
    columns.bucket[columns.bucket.size - 1] = c + 1
    columns.bucket[at] = c
    row = columns.table[c]
    row[STATE], row[MARKERS], row[STARTED], row[HAPPENED], row[LENGTH] = state, markers, started, happened, 0
    row[RISK] = at_risk(plan, state, markers, started, happened)
    for e in range(plan.fact[N_EVENTS]):
        columns.leads[FOLLOWING, c, e] = NONE
        first, last = plan.event[e, FIRST_EFFECT], plan.event[e, LAST_EFFECT]
        effects = 0
        for f in range(first, last):
            in_state = plan.effect[f, 0] == NONE or plan.effect[f, 0] == state
            if in_state and (plan.effect[f, 1] == NONE or markers >> plan.effect[f, 1] & 1):
                effects |= 1 << (f - first)
        columns.leads[EFFECTS, c, e] = effects
    n_states = plan.fact[N_STATES]
    for cell in range(plan.fact[N_CELLS]):
        reason = plan.stop[state, cell]
        for m in range(plan.stop.shape[0] - n_states):
            if reason == 0 and markers >> m & 1:
                reason = plan.stop[n_states + m, cell]
        row[STOPS + cell] = reason
    return c


@inlined_bare_kernel
def at_risk(plan: Plan, state: int, markers: int, started: int, happened: int) -> int:
    """Mask of the events that patients of a configuration are at risk of."""
    risk = 0
    for e in range(plan.fact[N_EVENTS]):
        event = plan.event[e]
        able = event[FROM] >> state & 1 == 1 and markers & event[WHEN] == event[WHEN] and markers & event[UNLESS] == 0
        if event[CLOCK] == SINCE_CLOCK:
            able = able and (event[SINCE] == e or started >> e & 1 == 1)
        if not event[RECURRENT]:
            able = able and happened >> e & 1 == 0
        if able:
            risk |= 1 << e
    return risk


@bare_kernel
def lead(plan: Plan, columns: Columns, e: int, c: int, mask: int) -> int:
    """Configuration that event e leads to from configuration c, with the markers of a chosen outcome."""
    event, known = plan.event[e], columns.table[c]
    state = event[TO] if event[TO] != NONE else known[STATE]
    started = known[STARTED]
    for other in range(plan.fact[N_EVENTS]):
        if plan.event[other, CLOCK] == SINCE_CLOCK and plan.event[other, SINCE] == e:
            started |= 1 << other
    happened = known[HAPPENED] | 1 << e if event[TRACKED] else known[HAPPENED]
    return find(plan, columns, state, (known[MARKERS] & ~event[CLEAR]) | event[SET] | mask, started, happened)


@bare_kernel
def with_markers(plan: Plan, columns: Columns, c: int, markers: int) -> int:
    """Configuration c, but with these markers."""
    known = columns.table[c]
    if known[MARKERS] == markers:
        return c
    return find(plan, columns, known[STATE], markers, known[STARTED], known[HAPPENED])


@bare_kernel
def stops_anybody(columns: Columns, c: int) -> bool:
    """Whether being in configuration c ends the course in any cell."""
    stops = False
    for at in range(STOPS, columns.table.shape[1]):
        stops = stops or columns.table[c, at] != 0
    return stops


@bare_kernel
def make_room(plan: Plan, columns: Columns, more: int) -> bool:
    """See to it that so many configurations can be added. Returns whether those that nobody is in were forgotten."""
    n = columns.bucket[columns.bucket.size - 1]
    if n + more <= columns.table.shape[0]:
        return False
    kept = 1
    for c in range(1, n):
        length = columns.table[c, LENGTH]
        if length > 0:
            for k in range(length):
                columns.lists[kept, k] = columns.lists[c, k]
            for column in range(LENGTH + 1):
                columns.table[kept, column] = columns.table[c, column]
            kept += 1
    clear(columns)
    for c in range(1, kept):
        row = columns.table[c]
        length = row[LENGTH]
        find(plan, columns, row[STATE], row[MARKERS], row[STARTED], row[HAPPENED])
        columns.table[c, LENGTH] = length
    return True


@inlined_bare_kernel
def longest(columns: Columns, after: int) -> int:
    """Configuration that most patients wait in, of the next ones after a row; 0 where nobody waits in any.

    Where there are thousands of them, with few patients in each, to look at all would cost more than it saves.
    """
    n, best, c = columns.bucket[columns.bucket.size - 1], 0, after
    for looked in range(1, n):
        c = c + 1 if c + 1 < n else 1
        if columns.table[c, LENGTH] > columns.table[best, LENGTH]:
            best = c
        if looked >= LOOKED_AT and columns.table[best, LENGTH] > 0:
            break
    return best
