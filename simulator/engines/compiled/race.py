"""The race of events over a block of patients. Knows who is at risk and who wins; the arithmetic stands elsewhere.

Patients are kept in lists by configuration. The longest list is taken: in each of its patients the earliest event
at risk wins (ties in declared order, then the visit); those with the same winner change configuration together,
every event is settled for all of them at once, and they join their next list. Patients never meet, so the order
in which lists are taken changes nothing.
"""

from __future__ import annotations

import numpy as np

from simulator.engines.compiled.clocks import settle_each
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
from simulator.kernels.compilation import bare_kernel, inlined_bare_kernel
from simulator.kernels.elementary import INFINITY, exp
from simulator.kernels.rng import uniform
from simulator.tables import NONE, Clock, Floats, Integers

RESET_CLOCK, SINCE_CLOCK, AGE_CLOCK = int(Clock.RESET), int(Clock.SINCE), int(Clock.AGE)
VOID = 0  # the configuration before entry
FULL = -1


@inlined_bare_kernel
def run_race(plan: Plan, seed: np.uint64, columns: Columns, n: int, log: Log, keep: bool, fault: Integers) -> int:
    """Live the first ``n`` slots from entry to the horizon.

    Returns how many rows of the log are used, or FULL where it has not room enough. ``fault`` becomes (slot, event)
    where a recurrent event exceeds its maximum, and ``columns.real[0, 0]`` the day.
    """
    n_events, n_terms = plan.fact[N_EVENTS], plan.fact[N_TERMS]
    per_step = 3 + n_terms
    best, winner, to, ends = columns.real[0], columns.whole[2], columns.whole[3], columns.whole[4]
    slots, now, last = columns.grouped, columns.times, columns.last
    room = log.slot.size
    if n * per_step > room:
        return FULL
    used = enter(plan, seed, columns, slots[:n], log, to)
    now[:n] = 0.0
    go(plan, seed, columns, slots[:n], now[:n], VOID, to, NONE, ends)
    while fault[0] < 0:
        make_room(plan, columns, 2 * n)
        c = longest(columns)
        m = columns.length[c]
        if m == 0:
            break
        if used + m * per_step > room:
            return FULL
        find_winners(plan, columns, columns.lists[c, :m], columns.risk[c], best, winner)
        group(columns, c, m, best, winner, last)
        first = 0
        for w in range(n_events + 1):
            part, at = slots[first : last[w]], now[first : last[w]]
            first = last[w]
            if part.size == 0:
                continue
            if w < n_events:
                used = happen(plan, seed, columns, part, at, w, c, log, used, keep, to, fault)
                go(plan, seed, columns, part, at, c, to, w, ends)
                continue
            ending = 0
            for k in range(part.size):
                used, to[k], ends[k] = attend(plan, seed, columns, log, used, part[k], at[k], c)
                ending += ends[k]
            go(plan, seed, columns, part, at, c, to, NONE, ends)
            # Those whose plan is done are settled once more, now without a course.
            for k in range(part.size if ending else 0):
                if ends[k]:
                    ends[k] = 0
                    before = to[k]
                    used, to[k] = leave(plan, columns, log, used, part[k], at[k], before, 0)
                    go(plan, seed, columns, part[k : k + 1], at[k : k + 1], before, to[k:], NONE, ends[k:])
    return used


@bare_kernel
def longest(columns: Columns) -> int:
    """Configuration that most patients wait in."""
    best = 1
    for c in range(2, columns.n_configurations[0]):
        if columns.length[c] > columns.length[best]:
            best = c
    return best


# ------------------------------------------------------------------------------------------------------- entry


@bare_kernel
def enter(plan: Plan, seed: np.uint64, columns: Columns, slots: Slots, log: Log, to: Integers) -> int:
    """Everybody enters: clocks, course, and the configuration to begin in. Returns rows of the log used."""
    fact, n = plan.fact, slots.size
    n_events = fact[N_EVENTS]
    clear(columns)
    columns.count[:, :n] = 0
    columns.stopped[:n] = INFINITY
    columns.completed[:n] = INFINITY
    columns.n_given[:n] = 0
    columns.on_course[:n] = 0
    for k in range(n):
        slots[k] = k
    for e in range(n_events):
        prepare(plan, columns, n, e)
    start = find(plan, columns, fact[INITIAL_STATE], fact[INITIAL_MARKERS], 0, 0)
    treated = find(plan, columns, fact[INITIAL_STATE], fact[INITIAL_MARKERS] | fact[ON_TREATMENT], 0, 0)
    to[:n] = start
    used = 0
    if not fact[ANY_COURSE]:
        return used
    begin_course(plan, seed, columns, slots)
    for k in range(n):
        s = slots[k]
        due = plan.course[START, columns.row[s]]
        if columns.on_course[s]:
            to[k] = treated if due == 0.0 else start
            reason = columns.stop[to[k], columns.cell[s]]
            if reason:
                columns.stopped[s] = 0.0
                used, to[k] = leave(plan, columns, log, used, s, 0.0, to[k], reason)
        columns.due[n_events, s] = due if columns.on_course[s] and due < columns.end[s] else INFINITY
    return used


@bare_kernel
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


@bare_kernel
def find_winners(plan: Plan, columns: Columns, slots: Slots, risk: int, best: Floats, winner: Integers) -> None:
    """The earliest of what these patients are at risk of, and when; n_events the visit, n_events + 1 nothing."""
    n_events = plan.fact[N_EVENTS]
    for k in range(slots.size):
        best[k] = columns.end[slots[k]]
        winner[k] = n_events + 1
    if plan.fact[FEEDBACK]:
        risk |= 1 << n_events
    for e in range(n_events + 1):
        if risk >> e & 1:
            due = columns.due[e]
            for k in range(slots.size):
                t = due[slots[k]]
                winner[k] = e if t < best[k] else winner[k]
                best[k] = t if t < best[k] else best[k]


@bare_kernel
def group(columns: Columns, c: int, m: int, best: Floats, winner: Integers, last: Integers) -> None:
    """Empty the list of configuration c into `grouped` and `times`, by winner; last[w] is where winner w ends."""
    slots = columns.lists[c]
    last[:] = 0
    for k in range(m):
        last[winner[k] + 1] += 1
    for w in range(last.size - 1):
        last[w + 1] += last[w]
    for k in range(m):
        at = last[winner[k]]
        columns.grouped[at] = slots[k]
        columns.times[at] = best[k]
        last[winner[k]] = at + 1
    columns.length[c] = 0


@bare_kernel
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
    to: Integers,
    fault: Integers,
) -> int:
    """Event e happens in these slots of configuration c, who go to ``to``. Returns rows of the log used."""
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
                columns.real[0, 0] = now[k]
    if not event[PLAIN]:
        for k in range(n):
            s = slots[k]
            columns.spent[e, s] = event[BY_HAZARD]
            columns.pending[e, s] = 0
            columns.due[e, s] = INFINITY
    following = columns.following[c, e]
    if following == NONE:
        following = lead(plan, columns, e, c, 0)
        columns.following[c, e] = following
    outcomes = event[LAST_OUTCOME] - event[FIRST_OUTCOME]
    for k in range(n):
        to[k] = following
    if outcomes > 0:
        known = columns.outcome[:outcomes]
        known[:] = NONE
        for k in range(n):
            s = slots[k]
            u = uniform(seed, columns.patient[s], columns.replicate[s], event[CHOICE_STREAM], count[s] - 1)
            chosen = 0
            while u >= plan.outcome_cdf[event[FIRST_OUTCOME] + chosen, columns.row[s]]:
                chosen += 1
            if known[chosen] == NONE:
                known[chosen] = lead(plan, columns, e, c, plan.outcome_set[event[FIRST_OUTCOME] + chosen])
            to[k] = known[chosen]
            used = write(log, used, s, now[k], e, float(chosen))
            used = check_course(plan, columns, log, used, s, now[k], to, k)
    elif plan.fact[ANY_COURSE] and columns.stop[following].any():
        for k in range(n):
            if keep:
                used = write(log, used, slots[k], now[k], e, np.nan)
            used = check_course(plan, columns, log, used, slots[k], now[k], to, k)
    elif keep:
        for k in range(n):
            log.slot[used + k] = slots[k]
            log.time[used + k] = now[k]
            log.code[used + k] = e
            log.value[used + k] = np.nan
        used += n
    return used


@bare_kernel
def lead(plan: Plan, columns: Columns, e: int, c: int, mask: int) -> int:
    """Configuration that event e leads to from configuration c, with the markers of a chosen outcome."""
    event, key = plan.event[e], columns.key[c]
    state = event[TO] if event[TO] != NONE else key[0]
    started = key[2]
    for other in range(plan.fact[N_EVENTS]):
        if plan.event[other, CLOCK] == SINCE_CLOCK and plan.event[other, SINCE] == e:
            started |= 1 << other
    fired = key[3] | 1 << e if event[TRACKED] else key[3]
    return find(plan, columns, state, (key[1] & ~event[CLEAR]) | event[SET] | mask, started, fired)


@inlined_bare_kernel
def check_course(plan: Plan, columns: Columns, log: Log, used: int, s: int, now: float, to: Integers, k: int) -> int:
    """The course of slot s, about to enter configuration to[k], ends if that stops it: the first exit for good."""
    reason = columns.stop[to[k], columns.cell[s]]
    if reason and columns.on_course[s] and columns.stopped[s] == INFINITY:
        columns.stopped[s] = now
        if plan.fact[FEEDBACK]:
            used, to[k] = leave(plan, columns, log, used, s, now, to[k], reason)
        else:  # unless `count_visits` finds that it had ended before
            code = plan.fact[N_EVENTS] + 1 + plan.fact[N_TERMS]
            columns.count[code, s] = 1
            used = write(log, used, s, now, code, float(reason))
    return used


# ------------------------------------------------------------------------------------------- from list to list


@bare_kernel
def go(
    plan: Plan,
    seed: np.uint64,
    columns: Columns,
    slots: Slots,
    now: Floats,
    c: int,
    to: Integers,
    winner: int,
    held: Integers,
) -> None:
    """Slots go from configuration c to ``to``: absorbed, or settled and put into a list; those of one kind together.

    Without a winner it is entry or a visit, where a slot that is ``held`` joins no list yet.
    """
    same, at, left = columns.same, columns.real[0], columns.whole[5]
    waiting = slots.size
    for k in range(waiting):
        left[k] = k
    while waiting > 0:
        target = to[left[0]]
        m, rest = 0, 0
        for j in range(waiting):
            k = left[j]
            same[m], at[m] = slots[k], now[k]
            left[rest] = k
            here = to[k] == target
            m += 1 if here else 0
            rest += 0 if here else 1
        if plan.fact[ABSORBING] >> columns.key[target, 0] & 1:
            for j in range(m):
                columns.stopped[same[j]] = min(columns.stopped[same[j]], at[j])
        else:
            if target != c or winner != NONE:
                settle(plan, seed, columns, same[:m], at[:m], c, target, winner)
            n = columns.length[target]
            if winner != NONE or c == VOID:
                for j in range(m):
                    columns.lists[target, n + j] = same[j]
                columns.length[target] = n + m
            else:
                for k in range(slots.size):
                    if to[k] == target and not held[k]:
                        columns.lists[target, n] = slots[k]
                        n += 1
                columns.length[target] = n
        waiting = rest


@inlined_bare_kernel
def settle(
    plan: Plan, seed: np.uint64, columns: Columns, slots: Slots, now: Floats, c: int, to: int, winner: int
) -> None:
    """Bring every event up to date: whole columns where it is plain, otherwise patient by patient."""
    moved = c != VOID and columns.key[c, 0] != columns.key[to, 0]
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
                begin(plan, seed, columns, slots, now, e, after, c == VOID)
            elif able and before != after:
                reanchor(plan, columns, slots, now, e, before, after)
        elif renew or was != able or (able and (e == winner or before != after)):
            settle_each(plan, seed, columns, slots, now, e, after, able, renew)
