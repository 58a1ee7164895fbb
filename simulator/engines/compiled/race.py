"""The race of events over a block of patients. Knows who is at risk and who wins; the arithmetic stands elsewhere.

Patients are kept in lists by configuration. The longest list is taken: in each of its patients the earliest event
at risk wins (ties in declared order, then the visit); those with the same winner change configuration together,
every event is settled for all of them at once, and they join their next list. Patients never meet, so the order
in which lists are taken changes nothing.
"""

from __future__ import annotations

import numpy as np

from simulator.engines.compiled.clocks import ratio, settle
from simulator.engines.compiled.columns import Columns, Log, Slots
from simulator.engines.compiled.configurations import clear, find, make_room
from simulator.engines.compiled.passes import begin, reanchor
from simulator.engines.compiled.plan import (
    ABSORBING,
    AGE,
    ANY_COURSE,
    ANY_STOP,
    BY_HAZARD,
    CHOICE_STREAM,
    CLEAR,
    CLOCK,
    FACTORED,
    FEEDBACK,
    FIRST_OUTCOME,
    INITIAL_MARKERS,
    INITIAL_STATE,
    LAST_OUTCOME,
    MAXIMUM,
    N_EVENTS,
    N_TERMS,
    ON_TREATMENT,
    PLAIN,
    PLANNED_BY,
    RATIO,
    RECURRENT,
    SET,
    SINCE,
    START,
    TO,
    TRACKED,
    Plan,
)
from simulator.engines.compiled.visits import attend, begin_course, leave, write
from simulator.kernels.compilation import kernel
from simulator.kernels.elementary import INFINITY, exp
from simulator.kernels.rng import uniform
from simulator.tables import NONE, Clock, Floats, Integers

RESET_CLOCK, SINCE_CLOCK, AGE_CLOCK = int(Clock.RESET), int(Clock.SINCE), int(Clock.AGE)
VOID = 0  # the configuration before entry


@kernel
def run_race(plan: Plan, seed: np.uint64, columns: Columns, n: int, log: Log, keep: bool, fault: Integers) -> tuple:
    """Live the first ``n`` slots from entry to the horizon. Returns the log and how many of its rows are used.

    ``fault`` becomes (slot, event) where a recurrent event exceeds its maximum, and the day stands in the log's
    last row.
    """
    n_events, n_terms = plan.fact[N_EVENTS], plan.fact[N_TERMS]
    per_step = 3 + n_terms
    everyone = columns.grouped[:n]
    for k in range(n):
        everyone[k] = k
    log = with_room(log, 0, n * per_step)
    used = enter(plan, seed, columns, everyone, log)
    best, winner, order = columns.real[0], columns.whole[2], columns.grouped
    to, counts = columns.whole[3], np.zeros(n_events + 3, np.int64)
    times = columns.times
    while fault[0] < 0:
        make_room(plan, columns, 2 * n)
        c = longest(columns)
        m = columns.length[c]
        if m == 0:
            break
        log = with_room(log, used, m * per_step)
        slots = columns.lists[c, :m]
        find_winners(plan, columns, slots, columns.risk[c], best, winner)
        # Group by winner: events in order, the visit, then those whom nothing happens to before the horizon.
        counts[:] = 0
        for k in range(m):
            counts[winner[k] + 1] += 1
        for w in range(n_events + 2):
            counts[w + 1] += counts[w]
        for k in range(m):
            w = winner[k]
            order[counts[w]] = slots[k]
            times[counts[w]] = best[k]
            counts[w] += 1
        columns.length[c] = 0
        first = 0
        for w in range(n_events):
            last = counts[w]
            if last > first:
                used = happen(plan, seed, columns, order[first:last], times[first:last], w, c, log, used, keep, fault)
            first = last
        last = counts[n_events]
        if last > first:
            used = visit(plan, seed, columns, order[first:last], times[first:last], c, log, used)
    return log, used


@kernel
def longest(columns: Columns) -> int:
    """Configuration that most patients wait in."""
    best = 1
    for c in range(2, columns.n_configurations[0]):
        if columns.length[c] > columns.length[best]:
            best = c
    return best


@kernel
def with_room(log: Log, used: int, more: int) -> Log:
    """Return the log with room for so many more rows."""
    if used + more <= log.slot.size:
        return log
    size = 2 * (used + more)
    slot, time, code, value = np.empty(size, np.int32), np.empty(size), np.empty(size, np.int16), np.empty(size)
    slot[:used], time[:used] = log.slot[:used], log.time[:used]
    code[:used], value[:used] = log.code[:used], log.value[:used]
    return Log(slot, time, code, value)


# ------------------------------------------------------------------------------------------------------- entry


@kernel
def enter(plan: Plan, seed: np.uint64, columns: Columns, slots: Slots, log: Log) -> int:
    """Everybody enters: clocks, course, and the first budgets. Returns rows of the log used."""
    fact, n = plan.fact, slots.size
    n_events = fact[N_EVENTS]
    clear(columns)
    columns.count[:, :n] = 0
    columns.stopped[:n] = INFINITY
    columns.completed[:n] = INFINITY
    columns.n_given[:n] = 0
    columns.on_course[:n] = 0
    for e in range(n_events):
        prepare(plan, columns, n, e)
    start = find(plan, columns, fact[INITIAL_STATE], fact[INITIAL_MARKERS], 0, 0)
    used = 0
    now = columns.times
    now[:n] = 0.0
    to = columns.whole[3]
    if not fact[ANY_COURSE]:
        move(plan, seed, columns, slots, now[:n], VOID, start, NONE, False, True)
        return used
    begin_course(plan, seed, columns, slots)
    if not fact[FEEDBACK] and not columns.stop[start].any():
        move(plan, seed, columns, slots, now[:n], VOID, start, NONE, False, True)
        return used
    for k in range(n):
        s = slots[k]
        c = start
        if columns.on_course[s]:
            if plan.course[START, columns.row[s]] == 0.0:
                markers = fact[INITIAL_MARKERS] | fact[ON_TREATMENT]
                c = find(plan, columns, fact[INITIAL_STATE], markers, 0, 0)
            reason = columns.stop[c, columns.cell[s]]
            if reason:
                columns.stopped[s] = 0.0
                used, c = leave(plan, columns, log, used, s, 0.0, c, reason)
        to[k] = c
        due = plan.course[START, columns.row[s]]
        columns.due[n_events, s] = due if columns.on_course[s] and due < columns.end[s] else INFINITY
    scatter(plan, seed, columns, slots, now[:n], VOID, to, NONE, False, True)
    return used


@kernel
def prepare(plan: Plan, columns: Columns, n: int, e: int) -> None:
    """Columns of one event as they are before entry; of a plain event as few as it has."""
    event = plan.event[e]
    columns.first[e, :n] = INFINITY
    columns.occurrence[e, :n] = NONE
    if event[CLOCK] == AGE_CLOCK:
        age = columns.covariate[plan.fact[AGE]]
        for s in range(n):
            columns.origin[e, s] = -age[s]
    else:
        columns.origin[e, :n] = 0.0
    if event[FACTORED]:
        factor, row = columns.factor[e], columns.row
        for s in range(n):
            factor[s] = plan.law[e, RATIO, row[s]]
        for g in range(plan.slope_of.shape[0]):
            if plan.slope_of[g, 0] == e:
                value, slope, centre = columns.covariate[plan.slope_of[g, 1]], plan.slope[g, 0], plan.slope[g, 1]
                for s in range(n):
                    factor[s] = factor[s] * exp(slope[row[s]] * (value[s] - centre[row[s]]))
    if event[PLAIN] and e != plan.fact[PLANNED_BY]:
        return
    columns.due[e, :n] = INFINITY
    columns.susceptible[e, :n] = NONE
    columns.rate[e, :n] = 0.0
    columns.spent[e, :n] = 0
    columns.pending[e, :n] = 0


# --------------------------------------------------------------------------------------------------- the steps


@kernel
def find_winners(plan: Plan, columns: Columns, slots: Slots, risk: int, best: Floats, winner: Integers) -> None:
    """The earliest of what these patients are at risk of, and when; n_events the visit, n_events + 1 nothing."""
    n_events = plan.fact[N_EVENTS]
    for k in range(slots.size):
        best[k] = columns.end[slots[k]]
        winner[k] = n_events + 1
    for e in range(n_events + 1):
        if e == n_events:
            if not plan.fact[FEEDBACK]:
                continue
        elif risk >> e & 1 == 0:
            continue
        due = columns.due[e]
        for k in range(slots.size):
            t = due[slots[k]]
            winner[k] = e if t < best[k] else winner[k]
            best[k] = t if t < best[k] else best[k]


@kernel
def happen(
    plan: Plan,
    seed: np.uint64,
    columns: Columns,
    slots: Slots,
    now: Floats,
    e: int,
    c: int,
    log: Log,
    used: int,
    keep: bool,
    fault: Integers,
) -> int:
    """Event e happens in these slots of configuration c. Returns rows of the log used."""
    event, n = plan.event[e], slots.size
    first, count = columns.first[e], columns.count[e]
    for k in range(n):
        s = slots[k]
        first[s] = now[k] if count[s] == 0 else first[s]
        count[s] += 1
    if event[RECURRENT]:
        for k in range(n):
            if count[slots[k]] > event[MAXIMUM] and fault[0] < 0:
                fault[0], fault[1] = slots[k], e
                log.time[log.time.size - 1] = now[k]
                return used
    if not event[PLAIN]:
        for k in range(n):
            s = slots[k]
            columns.spent[e, s] = event[BY_HAZARD]
            columns.pending[e, s] = 0
            columns.due[e, s] = INFINITY
    key = columns.key[c]
    state, moved = key[0], event[TO] != NONE and event[TO] != key[0]
    if moved:
        state = event[TO]
    started, fired = key[2], key[3]
    for o in range(plan.fact[N_EVENTS]):
        if plan.event[o, CLOCK] == SINCE_CLOCK and plan.event[o, SINCE] == e:
            started |= 1 << o
    if event[TRACKED]:
        fired |= 1 << e
    markers = (key[1] & ~event[CLEAR]) | event[SET]
    outcomes = event[LAST_OUTCOME] - event[FIRST_OUTCOME]
    to = columns.whole[3]
    if outcomes > 0:
        for k in range(n):
            s = slots[k]
            u = uniform(seed, columns.patient[s], columns.replicate[s], event[CHOICE_STREAM], count[s] - 1)
            chosen = 0
            while u >= plan.outcome_cdf[event[FIRST_OUTCOME] + chosen, columns.row[s]]:
                chosen += 1
            mask = plan.outcome_set[event[FIRST_OUTCOME] + chosen]
            to[k] = find(plan, columns, state, markers | mask, started, fired)
            used = write(log, used, s, now[k], e, float(chosen))
            used = check_course(plan, columns, log, used, s, now[k], to, k)
        scatter(plan, seed, columns, slots, now, c, to, e, moved, False)
        return used
    following = columns.following[c, e]
    if following == NONE:
        following = find(plan, columns, state, markers, started, fired)
        columns.following[c, e] = following
    stops = plan.fact[ANY_STOP] and columns.stop[following].any()
    if stops and plan.fact[ANY_COURSE]:
        for k in range(n):
            to[k] = following
            if keep:
                used = write(log, used, slots[k], now[k], e, np.nan)
            used = check_course(plan, columns, log, used, slots[k], now[k], to, k)
        if plan.fact[ON_TREATMENT]:
            scatter(plan, seed, columns, slots, now, c, to, e, moved, False)
            return used
    elif keep:
        log.slot[used : used + n] = slots
        log.time[used : used + n] = now
        log.code[used : used + n] = e
        log.value[used : used + n] = np.nan
        used += n
    move(plan, seed, columns, slots, now, c, following, e, moved, False)
    return used


@kernel
def check_course(
    plan: Plan, columns: Columns, log: Log, used: int, s: int, now: float, to: Integers, k: int
) -> int:
    """The course of slot s, about to enter configuration to[k], ends if that stops it: the first exit for good."""
    reason = columns.stop[to[k], columns.cell[s]]
    if reason and columns.on_course[s] and columns.stopped[s] == INFINITY:
        columns.stopped[s] = now
        if plan.fact[FEEDBACK]:
            used, to[k] = leave(plan, columns, log, used, s, now, to[k], reason)
        else:
            code = plan.fact[N_EVENTS] + 1 + plan.fact[N_TERMS]
            columns.count[code, s] = 1
            used = write(log, used, s, now, code, float(reason))
    return used


@kernel
def visit(
    plan: Plan, seed: np.uint64, columns: Columns, slots: Slots, now: Floats, c: int, log: Log, used: int
) -> int:
    """These slots of configuration c are at a visit. Returns rows of the log used."""
    n, to, ends = slots.size, columns.whole[3], columns.whole[4]
    ending = 0
    for k in range(n):
        used, to[k], done = attend(plan, seed, columns, log, used, slots[k], now[k], c)
        ends[k] = 1 if done else 0
        ending += ends[k]
    if ending == 0:
        scatter(plan, seed, columns, slots, now, c, to, NONE, False, False)
        return used
    # Those whose plan is done are settled as they are after the administration, then as they are without a course.
    for k in range(n):
        s, one = slots[k], slots[k : k + 1]
        if to[k] != c and ends[k]:
            settle_all(plan, seed, columns, one, now[k : k + 1], c, to[k], NONE, False, False)
        if ends[k]:
            before = to[k]
            used, to[k] = leave(plan, columns, log, used, s, now[k], before, 0)
            settle_all(plan, seed, columns, one, now[k : k + 1], before, to[k], NONE, False, False)
            join(columns, one, to[k])
        else:
            if to[k] != c:
                settle_all(plan, seed, columns, one, now[k : k + 1], c, to[k], NONE, False, False)
            join(columns, one, to[k])
    return used


# --------------------------------------------------------------------------------- from list to list


@kernel
def scatter(
    plan: Plan,
    seed: np.uint64,
    columns: Columns,
    slots: Slots,
    now: Floats,
    c: int,
    to: Integers,
    winner: int,
    moved: bool,
    entry: bool,
) -> None:
    """Move each slot to a configuration of its own; those of one configuration together."""
    n = slots.size
    same, same_now, left = columns.same, columns.real[0], columns.whole[5]
    waiting = 0
    for k in range(n):
        left[k] = k
        waiting += 1
    while waiting > 0:
        target = to[left[0]]
        m = 0
        rest = 0
        for j in range(waiting):
            k = left[j]
            if to[k] == target:
                same[m] = slots[k]
                same_now[m] = now[k]
                m += 1
            else:
                left[rest] = k
                rest += 1
        waiting = rest
        move(plan, seed, columns, same[:m], same_now[:m], c, target, winner, moved, entry)


@kernel
def move(
    plan: Plan,
    seed: np.uint64,
    columns: Columns,
    slots: Slots,
    now: Floats,
    c: int,
    to: int,
    winner: int,
    moved: bool,
    entry: bool,
) -> None:
    """Slots go from configuration c to another: absorbed, or settled and put into its list."""
    if plan.fact[ABSORBING] >> columns.key[to, 0] & 1:
        for k in range(slots.size):
            if now[k] < columns.stopped[slots[k]]:
                columns.stopped[slots[k]] = now[k]
        return
    settle_all(plan, seed, columns, slots, now, c, to, winner, moved, entry)
    join(columns, slots, to)


@kernel
def join(columns: Columns, slots: Slots, to: int) -> None:
    """Put slots into the list of a configuration."""
    n = columns.length[to]
    columns.lists[to, n : n + slots.size] = slots
    columns.length[to] = n + slots.size


@kernel
def settle_all(
    plan: Plan,
    seed: np.uint64,
    columns: Columns,
    slots: Slots,
    now: Floats,
    c: int,
    to: int,
    winner: int,
    moved: bool,
    entry: bool,
) -> None:
    """Bring every event up to date: whole columns where it is plain, otherwise patient by patient."""
    if c == to and winner == NONE:
        return
    for e in range(plan.fact[N_EVENTS]):
        event = plan.event[e]
        was = columns.risk[c] >> e & 1 == 1
        able = columns.risk[to] >> e & 1 == 1
        if not event[BY_HAZARD]:
            if not able:
                for k in range(slots.size):
                    columns.pending[e, slots[k]] = 0
                    columns.due[e, slots[k]] = INFINITY
            continue
        begun = event[CLOCK] == SINCE_CLOCK and winner != NONE and event[SINCE] == winner
        renew = begun or (moved and event[CLOCK] == RESET_CLOCK)
        before, after = columns.effects[c, e], columns.effects[to, e]
        if event[PLAIN]:
            if able and (renew or not was):
                begin(plan, seed, columns, slots, now, e, after, entry)
            elif able and before != after:
                reanchor(plan, columns, slots, now, e, before, after)
            continue
        if not (renew or was or able) or (was and able and not renew and e != winner and before == after):
            continue
        for k in range(slots.size):
            s = slots[k]
            if renew:
                columns.origin[e, s] = now[k]
            rate = ratio(plan, columns, s, e, after) if able else 0.0
            settle(plan, seed, columns, s, now[k], e, rate, renew)
