"""The race of events over a block of patients.

Patients are kept in lists by configuration. A long list is taken: in each of its patients the earliest event at risk
wins (ties in declared order, then the visit); those with the same winner change configuration together, every event is
settled for all of them at once, and they join their next list. Patients never meet, so the order in which lists are
taken changes nothing.
"""

from __future__ import annotations

import numpy as np

from simulator.engines.compiled.clocks import settle_each
from simulator.engines.compiled.columns import (
    ABSORBED,
    AT,
    BEST,
    CELL,
    COMPLETED,
    DUE,
    EFFECTS,
    END,
    FIRST,
    FOLLOWING,
    FOUND,
    FULL,
    HELD,
    LEFT,
    LENGTH,
    LISTED,
    N_GIVEN,
    OCCURRENCE,
    ON_COURSE,
    ORIGIN,
    OWN_FACTOR,
    PATIENT,
    PENDING,
    PICKED,
    RATE,
    REPLICATE,
    RISK,
    ROW,
    SAME,
    SPENT,
    STATE,
    STOPPED,
    STOPS,
    SUSCEPTIBLE,
    TARGET,
    TIMES,
    WAITING,
    WINNER,
    Columns,
    RaceLog,
    Slots,
)
from simulator.engines.compiled.configurations import find, lead, longest, make_room, stops_anybody
from simulator.engines.compiled.passes import begin, gather, reanchor
from simulator.engines.compiled.plan import (
    ABSORBING,
    AGE,
    ANY_COURSE,
    BY_HAZARD,
    CHOICE_STREAM,
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
    SINCE,
    START,
    TO,
    Plan,
)
from simulator.engines.compiled.visits import attend, begin_course, leave, write
from simulator.kernels.compilation import bare_kernel, inlined_bare_kernel
from simulator.kernels.elementary import INFINITY, exp
from simulator.kernels.rng import uniform
from simulator.tables import NONE, Clock, Floats, Integers

RESET_CLOCK, SINCE_CLOCK, AGE_CLOCK = int(Clock.RESET), int(Clock.SINCE), int(Clock.AGE)
VOID = 0  # the configuration before entry
NOBODY = 62  # a winner that no event and no visit is: nothing happens before the horizon


@bare_kernel
def run_race(plan: Plan, seed: int, columns: Columns, n: int, log: RaceLog, keep: bool, fault: Integers) -> int:
    """Live the first ``n`` slots from entry to the horizon.

    Returns how many rows of the log are used, or FULL where it has not room enough. ``fault`` becomes (slot, event)
    where a recurrent event exceeds its maximum, and ``columns.real[BEST, 0]`` the day.
    """
    n_events, n_terms = plan.fact[N_EVENTS], plan.fact[N_TERMS]
    per_step = 3 + n_terms
    waiting, picked, now, target = (
        columns.slots[WAITING],
        columns.slots[PICKED],
        columns.real[TIMES],
        columns.whole[TARGET],
    )
    if n * per_step > log.code.size:
        return FULL
    make_room(plan, columns, 3)  # with and without a course, and whatever is left when it ends at once
    used, one = enter(plan, seed, columns, n, log)
    go(plan, seed, columns, picked[:n], now[:n], VOID, target, one, NONE, 0, n)
    c = VOID
    while fault[0] < 0:
        c = longest(columns, c)
        m = columns.table[c, LENGTH]
        if make_room(plan, columns, 2 * m + n_events + 2):
            c = longest(columns, VOID)
            m = columns.table[c, LENGTH]
        if m == 0:
            break
        if used + m * per_step > log.code.size:
            return FULL
        for k in range(m):
            waiting[k] = columns.lists[c, k] if m < n else k
        columns.table[c, LENGTH] = 0
        present = find_winners(plan, columns, waiting[:m], columns.table[c, RISK], m == n)
        for w in range(n_events + 1):
            if present >> w & 1 == 0:
                continue
            size = pick(columns, m, w)
            part, at = picked[:size], now[:size]
            if w < n_events:
                used, one = happen(plan, seed, columns, part, at, w, c, log, used, keep, fault)
                go(plan, seed, columns, part, at, c, target, one, w, 0, n)
                continue
            used, ending = attend(plan, seed, columns, part, at, c, log, used)
            go(plan, seed, columns, part, at, c, target, NONE, NONE, ending, n)
            # Those whose plan is done are settled once more, now without a course.
            for k in range(size if ending else 0):
                if columns.whole[HELD, k]:
                    before = target[k]
                    used, after = leave(plan, columns, log, used, part[k], at[k], before, 0)
                    go(plan, seed, columns, part[k : k + 1], at[k : k + 1], before, target, after, NONE, 0, n)
    return used


# ------------------------------------------------------------------------------------------------------- entry


@inlined_bare_kernel
def enter(plan: Plan, seed: int, columns: Columns, n: int, log: RaceLog) -> tuple[int, int]:
    """All patients enter: clocks, course, and the configuration to begin in.

    Returns rows of the log used, and the configuration if it is one for all; else `TARGET` has them and it is NONE.
    """
    fact = plan.fact
    n_events = fact[N_EVENTS]
    columns.counts[n_events:, :n] = 0
    columns.real[STOPPED, :n] = INFINITY
    columns.real[ABSORBED, :n] = INFINITY
    columns.real[COMPLETED, :n] = INFINITY
    columns.real[TIMES, :n] = 0.0
    columns.whole[N_GIVEN, :n] = 0
    columns.whole[ON_COURSE, :n] = 0
    slots, target = columns.slots[PICKED], columns.whole[TARGET]
    for s in range(n):
        slots[s] = s
    for e in range(n_events):
        prepare(plan, columns, n, e)
    start = find(plan, columns, fact[INITIAL_STATE], fact[INITIAL_MARKERS], 0, 0)
    treated = find(plan, columns, fact[INITIAL_STATE], fact[INITIAL_MARKERS] | fact[ON_TREATMENT], 0, 0)
    if not fact[ANY_COURSE]:
        return 0, start
    begin_course(plan, seed, columns, slots[:n])
    if not fact[FEEDBACK] and not stops_anybody(columns, start):
        return 0, start
    used = 0
    for s in range(n):
        due = plan.number[START, columns.address[ROW, s]]
        target[s] = start
        if columns.whole[ON_COURSE, s]:
            target[s] = treated if due == 0.0 else start
            reason = columns.table[target[s], STOPS + columns.address[CELL, s]]
            if reason:
                used, target[s] = leave(plan, columns, log, used, s, 0.0, target[s], reason)
        attends = columns.whole[ON_COURSE, s] == 1 and due < columns.real[END, s]
        columns.event[DUE, n_events, s] = due if attends else INFINITY
    return used, NONE


@bare_kernel
def prepare(plan: Plan, columns: Columns, n: int, e: int) -> None:
    """Columns of one event as they are before entry; of a plain event as few as it has."""
    event = plan.event[e]
    columns.event[FIRST, e, :n] = INFINITY
    if event[RECURRENT]:
        columns.counts[e, :n] = 0
    if event[CLOCK] == AGE_CLOCK:
        age, origin = columns.covariate[plan.fact[AGE]], columns.event[ORIGIN, e]
        for s in range(n):
            origin[s] = -age[s]
    else:
        columns.event[ORIGIN, e, :n] = 0.0
    if event[FACTORED]:
        factor, row = columns.event[OWN_FACTOR, e], columns.address[ROW]
        for s in range(n):
            factor[s] = plan.law[e, RATIO, row[s]]
        for g in range(plan.slope_of.shape[0]):
            if plan.slope_of[g, 0] == e:
                value, slope, centre = columns.covariate[plan.slope_of[g, 1]], plan.slope[g, 0], plan.slope[g, 1]
                for s in range(n):
                    factor[s] = factor[s] * exp(slope[row[s]] * (value[s] - centre[row[s]]))
    if e == plan.fact[PLANNED_BY] or not event[PLAIN]:
        columns.status[SUSCEPTIBLE, e, :n] = NONE
    if event[CLOCK] == RESET_CLOCK or not event[PLAIN]:
        columns.status[OCCURRENCE, e, :n] = NONE
    if not event[PLAIN]:
        columns.event[DUE, e, :n] = INFINITY
        columns.event[RATE, e, :n] = 0.0
        columns.status[SPENT, e, :n] = 0
        columns.status[PENDING, e, :n] = 0


# --------------------------------------------------------------------------------------------------- the steps


@inlined_bare_kernel
def find_winners(plan: Plan, columns: Columns, slots: Slots, risk: int, everyone: bool) -> int:
    """The earliest of what these patients are at risk of, in `WINNER`, and when, in `BEST`.

    Returns the mask of the winners; n_events is the visit. Whom nothing happens to before the horizon has none.
    """
    n_events, n, best, winner = plan.fact[N_EVENTS], slots.size, columns.real[BEST], columns.whole[WINNER]
    found = columns.real[FOUND]
    end = columns.real[END]
    if not everyone:
        gather(end, slots, best)
    for k in range(n):
        winner[k] = NOBODY
        best[k] = end[k] if everyone else best[k]
    if plan.fact[FEEDBACK]:
        risk |= 1 << n_events
    for e in range(n_events + 1):
        if risk >> e & 1:
            due = columns.event[DUE, e]
            if not everyone:
                gather(due, slots, found)
                due = found
            compare(due, n, e, best, winner)
    present = 0
    for k in range(n):
        present |= 1 << winner[k]
    return present & risk


@bare_kernel
def compare(due: Floats, n: int, e: int, best: Floats, winner: Integers) -> None:
    """Event e wins where it is due before the best so far. Not inlined: between other loops it does not vectorise."""
    for k in range(n):
        time, least, leader = due[k], best[k], winner[k]
        winner[k] = e if time < least else leader
        best[k] = time if time < least else least


@inlined_bare_kernel
def pick(columns: Columns, m: int, w: int) -> int:
    """Put the waiting with winner w, and their times, into `PICKED` and `TIMES`. Returns how many."""
    waiting, winner, best = columns.slots[WAITING], columns.whole[WINNER], columns.real[BEST]
    picked, times = columns.slots[PICKED], columns.real[TIMES]
    n = 0
    for k in range(m):
        picked[n] = waiting[k]
        times[n] = best[k]
        n += 1 if winner[k] == w else 0
    return n


@bare_kernel
def happen(
    plan: Plan,
    seed: int,
    columns: Columns,
    slots: Slots,
    now: Floats,
    e: int,
    c: int,
    log: RaceLog,
    used: int,
    keep: bool,
    fault: Integers,
) -> tuple[int, int]:
    """Event e happens in these slots of configuration c.

    Returns rows of the log used, and the configuration they go to; NONE: each to its own, in `TARGET`.
    """
    event, n, target = plan.event[e], slots.size, columns.whole[TARGET]
    first, count = columns.event[FIRST, e], columns.counts[e]
    if event[RECURRENT]:
        for k in range(n):
            s = slots[k]
            first[s] = now[k] if count[s] == 0 else first[s]
            count[s] += 1
            if count[s] > event[MAXIMUM] and fault[0] < 0:
                fault[0], fault[1], columns.real[BEST, 0] = s, e, now[k]
    else:
        for k in range(n):
            first[slots[k]] = now[k]  # and the count follows from it
    if not event[PLAIN]:
        for k in range(n):
            s = slots[k]
            columns.status[SPENT, e, s] = event[BY_HAZARD]
            columns.status[PENDING, e, s] = 0
            columns.event[DUE, e, s] = INFINITY
    if event[LAST_OUTCOME] > event[FIRST_OUTCOME]:
        outcome = columns.outcome[event[FIRST_OUTCOME] : event[LAST_OUTCOME]]
        outcome[:] = NONE
        for k in range(n):
            s = slots[k]
            number = count[s] - 1 if event[RECURRENT] else 0
            u = uniform(seed, columns.address[PATIENT, s], columns.address[REPLICATE, s], event[CHOICE_STREAM], number)
            chosen = 0
            while u >= plan.outcome_cdf[event[FIRST_OUTCOME] + chosen, columns.address[ROW, s]]:
                chosen += 1
            if outcome[chosen] == NONE:
                outcome[chosen] = lead(plan, columns, e, c, plan.outcome_set[event[FIRST_OUTCOME] + chosen])
            used = write(log, used, s, now[k], e, float(chosen))
            used, target[k] = check_course(plan, columns, log, used, s, now[k], outcome[chosen])
        return used, NONE
    following = columns.leads[FOLLOWING, c, e]
    if following == NONE:
        following = lead(plan, columns, e, c, 0)
        columns.leads[FOLLOWING, c, e] = following
    if plan.fact[ANY_COURSE] and stops_anybody(columns, following):
        if not keep and not plan.fact[FEEDBACK]:
            note_stop(plan, columns, slots, now, following)
            return used, following
        for k in range(n):
            if keep:
                used = write(log, used, slots[k], now[k], e, np.nan)
            used, target[k] = check_course(plan, columns, log, used, slots[k], now[k], following)
        return used, NONE if plan.fact[ON_TREATMENT] else following
    for k in range(n if keep else 0):
        used = write(log, used, slots[k], now[k], e, np.nan)
    return used, following


@inlined_bare_kernel
def note_stop(plan: Plan, columns: Columns, slots: Slots, now: Floats, to: int) -> None:
    """As `check_course`, for many slots of which no log is kept, where visits are counted after the race."""
    n, stopped, stop = slots.size, columns.real[STOPPED], columns.table[to, STOPS:]
    cells, before, on_course = columns.address[LISTED], columns.real[FOUND], columns.whole[HELD]
    gather(columns.address[CELL], slots, cells)
    gather(columns.whole[ON_COURSE], slots, on_course)
    gather(stopped, slots, before)
    for k in range(n):
        on_course[k] = on_course[k] if stop[cells[k]] != 0 else 0
    for k in range(n):
        since = before[k]
        before[k] = now[k] if (since == INFINITY) & (on_course[k] != 0) else since
    for k in range(n):
        stopped[slots[k]] = before[k]


@inlined_bare_kernel
def check_course(plan: Plan, columns: Columns, log: RaceLog, used: int, s: int, now: float, to: int) -> tuple[int, int]:
    """The course of slot s, about to enter configuration ``to``, ends if that stops it: the first exit for good.

    Returns rows of the log used, and the configuration that it then enters.
    """
    reason = columns.table[to, STOPS + columns.address[CELL, s]]
    if reason and columns.whole[ON_COURSE, s] and columns.real[STOPPED, s] == INFINITY:
        columns.real[STOPPED, s] = now
        if plan.fact[FEEDBACK]:
            return leave(plan, columns, log, used, s, now, to, reason)
        # Unless `count_visits` finds that it had ended before.
        return write(log, used, s, now, plan.fact[N_EVENTS] + 1 + plan.fact[N_TERMS], float(reason)), to
    return used, to


# ------------------------------------------------------------------------------------------- from list to list


@bare_kernel
def go(
    plan: Plan,
    seed: int,
    columns: Columns,
    slots: Slots,
    now: Floats,
    c: int,
    target: Integers,
    one: int,
    winner: int,
    held: int,
    size: int,
) -> None:
    """Slots go from configuration c to ``one``, or where that is NONE each to its target: absorbed, or settled.

    Those of one kind go together. Where ``held`` is not 0, slots whose `HELD` is set join no list yet. Without a
    winner it is entry or a visit. ``size`` is that of the block.
    """
    left, waiting = columns.whole[LEFT], slots.size
    for k in range(waiting if one == NONE else 0):
        left[k] = k
    while waiting > 0:
        m, rest, to, same, at = waiting, 0, one, slots, now
        if one == NONE:
            m, to, same, at = 0, target[left[0]], columns.slots[SAME], columns.real[AT]
            for j in range(waiting):
                k = left[j]
                same[m], at[m] = slots[k], now[k]
                left[rest] = k
                here = target[k] == to
                m += 1 if here else 0
                rest += 0 if here else 1
        waiting = rest
        if plan.fact[ABSORBING] >> columns.table[to, STATE] & 1:
            absorbed = columns.real[ABSORBED]
            for j in range(m):
                absorbed[same[j]] = at[j]
            continue
        settle(plan, seed, columns, same[:m], at[:m], c, to, winner, c == VOID and m == size)
        n = columns.table[to, LENGTH]
        joined = columns.lists[to, n:]
        if held == 0:
            for j in range(m):
                joined[j] = same[j]
            columns.table[to, LENGTH] = n + m
        else:
            for k in range(slots.size):
                if target[k] == to and columns.whole[HELD, k] == 0:
                    columns.lists[to, n] = slots[k]
                    n += 1
            columns.table[to, LENGTH] = n


@bare_kernel
def settle(
    plan: Plan,
    seed: int,
    columns: Columns,
    slots: Slots,
    now: Floats,
    c: int,
    to: int,
    winner: int,
    everyone: bool,
) -> None:
    """Bring every event up to date: whole columns where it is plain, otherwise patient by patient."""
    if c == to and winner == NONE:
        return
    moved = winner != NONE and plan.event[winner, TO] != NONE  # also into the state that they are in
    for e in range(plan.fact[N_EVENTS]):
        event = plan.event[e]
        was = columns.table[c, RISK] >> e & 1 == 1
        able = columns.table[to, RISK] >> e & 1 == 1
        if not event[BY_HAZARD]:
            for k in range(0 if able else slots.size):
                columns.status[PENDING, e, slots[k]] = 0
                columns.event[DUE, e, slots[k]] = INFINITY
            continue
        started = event[CLOCK] == SINCE_CLOCK and winner != NONE and event[SINCE] == winner
        renew = started or (moved and event[CLOCK] == RESET_CLOCK)
        before, after = columns.leads[EFFECTS, c, e], columns.leads[EFFECTS, to, e]
        if event[PLAIN]:
            if able and (renew or not was):
                begin(plan, seed, columns, slots, now, e, after, c == VOID, everyone)
            elif able and before != after:
                reanchor(plan, columns, slots, now, e, before, after)
        elif renew or was != able or (able and (e == winner or before != after)):
            settle_each(plan, seed, columns, slots, now, e, after, able, renew)
