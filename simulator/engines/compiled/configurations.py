"""Configurations: the states and markers that patients are found in. Knows a table that fills as it is needed.

A configuration is a state, a set of the markers that matter, which clocks have started and which events that
happen once have happened: all that decides who is at risk of what, under which effects, and whether the course
ends. Row 0 is nobody's: before entry, when nothing is at risk.
"""

from __future__ import annotations

import numpy as np

from simulator.engines.compiled.columns import MOST_CONFIGURATIONS, Columns
from simulator.engines.compiled.plan import (
    CLOCK,
    FIRST_EFFECT,
    FROM,
    LAST_EFFECT,
    N_CELLS,
    N_EVENTS,
    RECURRENT,
    UNLESS,
    WHEN,
    Plan,
)
from simulator.kernels.compilation import bare_kernel
from simulator.tables import NONE, Clock

SINCE_CLOCK = int(Clock.SINCE)


@bare_kernel
def clear(columns: Columns) -> None:
    """Forget all configurations but row 0."""
    columns.bucket[:] = NONE
    columns.n_configurations[0] = 1
    columns.risk[0] = 0
    columns.effects[0] = 0
    columns.stop[0] = 0
    columns.length[:] = 0


@bare_kernel
def find(plan: Plan, columns: Columns, state: int, markers: int, started: int, fired: int) -> int:
    """Row of a configuration, added if it is new."""
    size = columns.bucket.size
    mixed = (np.uint64(markers) * np.uint64(0x9E3779B97F4A7C15)) ^ (np.uint64(fired) * np.uint64(0xC2B2AE3D27D4EB4F))
    mixed = mixed ^ (np.uint64(started) * np.uint64(0x165667B19E3779F9)) ^ (np.uint64(state) << np.uint64(40))
    at = np.int64((mixed ^ (mixed >> np.uint64(29))) % np.uint64(size))
    while columns.bucket[at] != NONE:
        c = columns.bucket[at]
        known = columns.key[c]
        if known[0] == state and known[1] == markers and known[2] == started and known[3] == fired:
            return c
        at = at + 1 if at + 1 < size else 0
    c = columns.n_configurations[0]
    columns.n_configurations[0] = c + 1
    columns.bucket[at] = c
    columns.key[c, 0], columns.key[c, 1], columns.key[c, 2], columns.key[c, 3] = state, markers, started, fired
    columns.length[c] = 0
    columns.following[c] = NONE
    columns.risk[c] = at_risk(plan, state, markers, started, fired)
    for e in range(plan.fact[N_EVENTS]):
        first, last = plan.event[e, FIRST_EFFECT], plan.event[e, LAST_EFFECT]
        effects = 0
        for f in range(first, last):
            in_state = plan.effect[f, 0] == NONE or plan.effect[f, 0] == state
            if in_state and (plan.effect[f, 1] == NONE or markers >> plan.effect[f, 1] & 1):
                effects |= 1 << (f - first)
        columns.effects[c, e] = effects
    for cell in range(plan.fact[N_CELLS]):
        reason = plan.stop_state[state, cell]
        for m in range(plan.stop_marker.shape[0]):
            if reason == 0 and markers >> m & 1:
                reason = plan.stop_marker[m, cell]
        columns.stop[c, cell] = reason
    return c


@bare_kernel
def at_risk(plan: Plan, state: int, markers: int, started: int, fired: int) -> int:
    """Mask of the events that patients of a configuration are at risk of."""
    risk = 0
    for e in range(plan.fact[N_EVENTS]):
        event = plan.event[e]
        able = event[FROM] >> state & 1 == 1 and markers & event[WHEN] == event[WHEN] and markers & event[UNLESS] == 0
        if event[CLOCK] == SINCE_CLOCK:
            able = able and started >> e & 1 == 1
        if not event[RECURRENT]:
            able = able and fired >> e & 1 == 0
        if able:
            risk |= 1 << e
    return risk


@bare_kernel
def make_room(plan: Plan, columns: Columns, more: int) -> None:
    """See to it that so many configurations can be added: if need be, forget those that nobody is in."""
    if columns.n_configurations[0] + more <= MOST_CONFIGURATIONS:
        return
    n = columns.n_configurations[0]
    kept = 1
    for c in range(1, n):
        if columns.length[c] > 0:
            for k in range(columns.length[c]):
                columns.lists[kept, k] = columns.lists[c, k]
            columns.following[kept, 0] = columns.length[c]  # out of the way of `clear`
            for word in range(4):
                columns.key[kept, word] = columns.key[c, word]
            kept += 1
    clear(columns)
    for c in range(1, kept):
        length = columns.following[c, 0]
        find(plan, columns, columns.key[c, 0], columns.key[c, 1], columns.key[c, 2], columns.key[c, 3])
        columns.length[c] = length
