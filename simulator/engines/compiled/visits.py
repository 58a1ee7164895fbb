"""Visits at which treatment is decided.

Where nothing that happens at a visit can change the race of events, visits are counted when it is over
(`count_visits`), whole columns at a time. Otherwise a visit takes part in the race and is attended patient by patient
(`attend`, `leave`).
"""

from __future__ import annotations

import math

import numpy as np

from simulator.engines.compiled.clocks import is_susceptible
from simulator.engines.compiled.columns import (
    ABSORBED,
    CELL,
    COMPLETED,
    DELAYED,
    DOSE_SCALE,
    DUE,
    END,
    HARMED,
    HELD,
    HIT,
    LAST_DELAY,
    MARKERS,
    N_GIVEN,
    N_VISITS,
    NUMBER_GIVEN,
    ON_COURSE,
    PATIENT,
    PENDING,
    PLANNED_NUMBER,
    REPLICATE,
    RISK,
    ROW,
    SCRATCH,
    STOPPED,
    STOPS,
    TARGET,
    TIMES,
    UNTIL,
    Columns,
    RaceLog,
    Slots,
    VisitLog,
)
from simulator.engines.compiled.configurations import with_markers
from simulator.engines.compiled.passes import draw
from simulator.engines.compiled.plan import (
    BY_HAZARD,
    DELAY,
    DOSE_PER_PATIENT,
    FACTOR,
    FEEDBACK,
    GIVEN,
    INTERVAL,
    INTERVAL_CODE,
    LAG,
    LAG_CODE,
    LAG_STREAM,
    N_EVENTS,
    N_TERMS,
    ON_TREATMENT,
    PLAIN_VISITS,
    PLANNED,
    PLANNED_BY,
    PLANNED_DRAWN,
    ROOT_FRAILTY,
    ROOT_REST,
    SHARED_FRAILTY,
    START,
    STREAM,
    SUCCESS,
    WITHHOLDS,
    Plan,
)
from simulator.kernels.compilation import bare_kernel, inlined_bare_kernel
from simulator.kernels.elementary import INFINITY, normal_cdf, normal_quantile
from simulator.kernels.quantiles import FIXED, quantile
from simulator.kernels.rng import STREAMS, bits_below, leading_bits, uniform
from simulator.tables import NONE, Floats

VISIT, COURSE_PLANNED, DOSE = STREAMS["visit"], STREAMS["course.planned"], STREAMS["course.dose"]
FRAILTY = STREAMS["adverse_event.frailty"]
STRIP = 256
"""Slots whose administrations are drawn one after another: their columns stay in the first-level cache."""


@bare_kernel
def begin_course(plan: Plan, seed: int, columns: Columns, slots: Slots) -> None:
    """Draw what a course draws once: the planned number, and each patient's proneness to adverse events.

    ``slots`` are 0, 1, … as at entry.
    """
    fact, n = plan.fact, slots.size
    row, ever, planned = columns.address[ROW], columns.whole[HARMED], columns.whole[PLANNED_NUMBER]
    u, on_course = columns.real[SCRATCH], columns.whole[ON_COURSE]
    for s in range(n):
        on_course[s] = plan.choice[GIVEN, row[s]]
    if not fact[PLAIN_VISITS] or fact[FEEDBACK]:
        columns.real[DELAYED, :n] = 0.0
        columns.real[LAST_DELAY, :n] = 0.0
        columns.whole[N_VISITS, :n] = 0
    columns.real[DOSE_SCALE, :n] = 1.0
    ever[:n] = 0
    if fact[PLANNED_BY] != NONE:
        for s in range(n):
            ever[s] = 1 if is_susceptible(plan, seed, columns, s, fact[PLANNED_BY]) else 0
    if fact[PLANNED_DRAWN]:
        draw(seed, columns, slots, True, COURSE_PLANNED, 0, u)
        planned[:n] = 0
        for number in range(plan.planned_cdf.shape[1] - 1):
            for s in range(n):
                planned[s] += 1 if u[s] >= plan.planned_cdf[ever[s], number, row[s]] else 0
    else:
        for s in range(n):
            planned[s] = plan.choice[PLANNED + ever[s], row[s]]
    if fact[SHARED_FRAILTY]:
        draw(seed, columns, slots, True, FRAILTY, 0, u)
        for s in range(n):
            u[s] = plan.number[ROOT_FRAILTY, row[s]] * normal_quantile(u[s])
    for t in range(fact[N_TERMS]):
        harm, threshold, unshared = columns.harm[t], plan.harm[0, t], plan.harm[1, t]
        for s in range(n):
            harm[s] = unshared[row[s]]
        for s in range(n if fact[SHARED_FRAILTY] else 0):
            if plan.number[ROOT_FRAILTY, row[s]] > 0.0:
                harm[s] = normal_cdf((threshold[row[s]] + u[s]) / plan.number[ROOT_REST, row[s]])


@inlined_bare_kernel
def dose_of(plan: Plan, seed: int, columns: Columns, s: int, number: int) -> float:
    """Dose level of one administration, before any reduction."""
    row, levels = columns.address[ROW, s], plan.dose.shape[1]
    if levels == 1:
        return plan.dose[0, 0, row]
    occurrence = 0 if plan.fact[DOSE_PER_PATIENT] else number
    u = uniform(seed, columns.address[PATIENT, s], columns.address[REPLICATE, s], DOSE, occurrence)
    level = 0
    while u >= plan.dose[1, level, row]:
        level += 1
    return plan.dose[0, level, row]


@inlined_bare_kernel
def next_visit(plan: Plan, seed: int, columns: Columns, s: int, now: float) -> float:
    """Time of the next visit: start + k·interval, or a running sum of random intervals; plus delays."""
    row = columns.address[ROW, s]
    columns.whole[N_VISITS, s] += 1
    code = plan.choice[INTERVAL_CODE, row]
    p0, p1, p2 = plan.number[INTERVAL, row], plan.number[INTERVAL + 1, row], plan.number[INTERVAL + 2, row]
    if code == FIXED:
        return plan.number[START, row] + columns.whole[N_VISITS, s] * p0 + columns.real[DELAYED, s]
    u = uniform(seed, columns.address[PATIENT, s], columns.address[REPLICATE, s], VISIT, columns.whole[N_VISITS, s] - 1)
    return now + quantile(code, u, p0, p1, p2) + columns.real[LAST_DELAY, s]


@inlined_bare_kernel
def write(log: RaceLog, used: int, s: int, time: float, code: int, value: float) -> int:
    """Append a row; returns the number of rows."""
    log.slot[0, used] = s
    log.code[used] = code
    log.real[0, used] = time
    log.real[1, used] = value
    return used + 1


@inlined_bare_kernel
def leave(
    plan: Plan, columns: Columns, log: RaceLog, used: int, s: int, now: float, c: int, reason: int
) -> tuple[int, int]:
    """The course of slot s ends for good. Returns rows of the log used and the configuration after it."""
    end_of_course = plan.fact[N_EVENTS] + 1 + plan.fact[N_TERMS]
    columns.whole[ON_COURSE, s] = 0
    columns.event[DUE, plan.fact[N_EVENTS], s] = INFINITY
    columns.counts[end_of_course, s] = 1
    used = write(log, used, s, now, end_of_course, float(reason))
    return used, with_markers(plan, columns, c, columns.table[c, MARKERS] & ~plan.fact[ON_TREATMENT])


# --------------------------------------------------------------------------------------- visits in the race


@bare_kernel
def attend(
    plan: Plan, seed: int, columns: Columns, slots: Slots, now: Floats, c: int, log: RaceLog, used: int
) -> tuple[int, int]:
    """These slots, found in configuration c, are at a visit: one administration each, unless it is withheld.

    Returns rows of the log used and how many courses end by their plan. `TARGET` becomes the configuration after
    the administration, and `HELD` whether the course is then to end: `leave` ends it.
    """
    ending, target, held = 0, columns.whole[TARGET], columns.whole[HELD]
    for k in range(slots.size):
        used, target[k], held[k] = attend_one(plan, seed, columns, slots[k], now[k], c, log, used)
        ending += held[k]
    return used, ending


@inlined_bare_kernel
def attend_one(
    plan: Plan, seed: int, columns: Columns, s: int, now: float, c: int, log: RaceLog, used: int
) -> tuple[int, int, int]:
    """`attend` for one slot: rows of the log used, the configuration to go to, 1 where the course ends by its plan."""
    n_events, row = plan.fact[N_EVENTS], columns.address[ROW, s]
    columns.event[DUE, n_events, s] = INFINITY
    if columns.whole[N_GIVEN, s] >= columns.whole[PLANNED_NUMBER, s]:
        return used, c, 1
    withheld = False
    for e in range(n_events):
        withheld = withheld or (plan.event[e, WITHHOLDS] == 1 and columns.status[PENDING, e, s] == 1)
    if withheld:
        columns.real[LAST_DELAY, s] = 0.0
    else:
        before = columns.table[c, MARKERS]
        used, markers, number = administer(plan, seed, columns, s, now, before, log, used)
        c = with_markers(plan, columns, c, markers)
        try_events(plan, seed, columns, s, now, c, number)
        reason = columns.table[c, STOPS + columns.address[CELL, s]] if markers != before else 0
        if reason:
            used, c = leave(plan, columns, log, used, s, now, c, reason)
            for e in range(n_events):  # dropped here: where c is as before, nothing more is settled
                if not plan.event[e, BY_HAZARD] and not columns.table[c, RISK] >> e & 1:
                    columns.status[PENDING, e, s] = 0
                    columns.event[DUE, e, s] = INFINITY
            return used, c, 0
    if plan.choice[INTERVAL_CODE, row] == NONE:
        return used, c, 1
    due = next_visit(plan, seed, columns, s, now)
    columns.event[DUE, n_events, s] = due if due < columns.real[END, s] else INFINITY
    return used, c, 0


@inlined_bare_kernel
def administer(
    plan: Plan, seed: int, columns: Columns, s: int, now: float, markers: int, log: RaceLog, used: int
) -> tuple[int, int, int]:
    """Give one administration and draw its harm. Returns rows of the log used, markers after it, its number."""
    n_events, row, number = plan.fact[N_EVENTS], columns.address[ROW, s], columns.whole[N_GIVEN, s]
    columns.whole[N_GIVEN, s] = number + 1
    dose = dose_of(plan, seed, columns, s, number) * columns.real[DOSE_SCALE, s]
    used = write(log, used, s, now, n_events, dose)
    harmed = False
    if number == 0:
        markers |= plan.fact[ON_TREATMENT]
    for t in range(plan.fact[N_TERMS]):
        u = uniform(seed, columns.address[PATIENT, s], columns.address[REPLICATE, s], plan.term[0, t], number)
        if u < columns.harm[t, s]:
            used = write(log, used, s, now, n_events + 1 + t, float(number))
            columns.counts[n_events + 1 + t, s] += 1
            markers |= plan.term[1, t]
            harmed = True
    columns.real[LAST_DELAY, s] = plan.number[DELAY, row] if harmed else 0.0
    if harmed:
        columns.real[DELAYED, s] += plan.number[DELAY, row]
        columns.real[DOSE_SCALE, s] *= plan.number[FACTOR, row]
    return used, markers, number


@inlined_bare_kernel
def try_events(plan: Plan, seed: int, columns: Columns, s: int, now: float, c: int, number: int) -> None:
    """An administration may bring about events after a lag, in patients at risk of them."""
    row, patient, replicate = columns.address[ROW, s], columns.address[PATIENT, s], columns.address[REPLICATE, s]
    for e in range(plan.fact[N_EVENTS]):
        if plan.event[e, BY_HAZARD] or columns.status[PENDING, e, s] or not columns.table[c, RISK] >> e & 1:
            continue
        if not is_susceptible(plan, seed, columns, s, e):
            continue
        if uniform(seed, patient, replicate, plan.event[e, STREAM], number) < plan.law[e, SUCCESS, row]:
            u = uniform(seed, patient, replicate, plan.event[e, LAG_STREAM], number)
            p0, p1, p2 = plan.law[e, LAG, row], plan.law[e, LAG + 1, row], plan.law[e, LAG + 2, row]
            due = now + quantile(plan.code[e, LAG_CODE, row], u, p0, p1, p2)
            columns.event[DUE, e, s] = due if due < columns.real[END, s] else INFINITY
            columns.status[PENDING, e, s] = 1


# ----------------------------------------------------------------------------------- visits after the race


@bare_kernel
def count_visits(plan: Plan, seed: int, columns: Columns, n: int, visits: VisitLog, keep: bool) -> bool:
    """Count the administrations of slots 0 … n − 1 until the course stopped or its plan was done.

    `UNTIL` becomes when a rule, death or the horizon stopped the course: a visit at that very time comes after it.
    `COMPLETED` becomes when the planned number had been given. With ``keep`` times, doses and harm go into
    ``visits``; returns whether it had room for them.
    """
    on_course, stopped, end = columns.whole[ON_COURSE], columns.real[STOPPED], columns.real[END]
    absorbed, until = columns.real[ABSORBED], columns.real[UNTIL]
    for s in range(n):
        stop, last = stopped[s], absorbed[s]
        until[s] = stop if stop < last else last
    for s in range(n):
        last, horizon = until[s], end[s]
        last = last if last < horizon else horizon
        until[s] = last if on_course[s] else -1.0
    for t in range(plan.fact[N_TERMS]):
        harm, high, low = columns.harm[t], columns.limit[0, t], columns.limit[1, t]
        for s in range(n):
            limit = bits_below(harm[s])
            high[s], low[s] = limit >> 32, limit & 0xFFFFFFFF
    if plan.fact[PLAIN_VISITS]:
        for first in range(0, n, STRIP):
            last = min(first + STRIP, n)
            most = count_plain(plan, columns, first, last)
            for s in range(first, last):
                columns.address[NUMBER_GIVEN, s] = columns.whole[N_GIVEN, s]
            if keep and most > visits.harmed.shape[0]:
                return False
            for number in range(most):
                draw_harm(plan, seed, columns, first, last, number, keep)
                if keep:
                    keep_plain(plan, seed, columns, first, last, number, visits)
        return True
    due, number = columns.real[TIMES], 0
    for s in range(n):
        due[s] = plan.number[START, columns.address[ROW, s]]
    while True:
        given = 0
        for s in range(n):
            here = due[s] < until[s]
            done = here and number >= columns.whole[PLANNED_NUMBER, s]
            columns.real[COMPLETED, s] = due[s] if done else columns.real[COMPLETED, s]
            due[s] = INFINITY if done or not here else due[s]
            columns.whole[N_GIVEN, s] += 1 if due[s] < INFINITY else 0
            columns.address[NUMBER_GIVEN, s] = columns.whole[N_GIVEN, s]
            given += 1 if due[s] < INFINITY else 0
        if given == 0:
            return True
        if keep and number >= visits.harmed.shape[0]:
            return False
        draw_harm(plan, seed, columns, 0, n, number, True)
        for s in range(n):
            if not due[s] < INFINITY:
                continue
            harmed, row = columns.whole[HARMED, s] != 0, columns.address[ROW, s]
            if keep:
                keep_visit(plan, seed, columns, s, number, due[s], visits)
            if plan.choice[INTERVAL_CODE, row] == NONE:
                columns.real[COMPLETED, s] = due[s]
                due[s] = INFINITY
                continue
            columns.real[LAST_DELAY, s] = plan.number[DELAY, row] if harmed else 0.0
            columns.real[DELAYED, s] += columns.real[LAST_DELAY, s]
            due[s] = next_visit(plan, seed, columns, s, due[s])
        number += 1


@bare_kernel
def count_plain(plan: Plan, columns: Columns, first: int, last: int) -> int:
    """Visits of slots first … last − 1 at start + k·interval, without delays. Returns the most given to anybody."""
    until, completed = columns.real[UNTIL, first:last], columns.real[COMPLETED, first:last]
    given, planned = columns.whole[N_GIVEN, first:last], columns.whole[PLANNED_NUMBER, first:last]
    start, interval, row = columns.real[SCRATCH], columns.real[SCRATCH + 1], columns.address[ROW, first:last]
    for s in range(last - first):
        start[s] = plan.number[START, row[s]]
        interval[s] = plan.number[INTERVAL, row[s]]
    for s in range(last - first):
        # The first visit that is too late is at most one away from where division says, which is clipped before;
        # see `plan` for intervals of which that would not be so.
        most = float(planned[s])
        guess = (until[s] - start[s]) / interval[s]
        guess = guess if guess < most else most
        number = math.floor(guess if guess > 1.0 else 1.0) - 1.0
        number += 1.0 if start[s] + number * interval[s] < until[s] else 0.0
        number += 1.0 if start[s] + number * interval[s] < until[s] else 0.0
        number += 1.0 if start[s] + number * interval[s] < until[s] else 0.0
        number = number if number < most else most
        given[s] = int(number)
    most = 0
    for s in range(last - first):
        due = start[s] + planned[s] * interval[s]
        completed[s] = due if due < until[s] else INFINITY
        most = max(most, given[s])
    return most


@bare_kernel
def draw_harm(plan: Plan, seed: int, columns: Columns, first: int, last: int, number: int, note: bool) -> None:
    """Draw and count the adverse events of one administration of slots first … last − 1.

    Those who are not given it have none. With ``note`` `HARMED` gets bit t for term t. Words are of 32 bits: in twice
    as many elements the rounds of two draws overlap.
    """
    patient, replicate = columns.address[PATIENT, first:last], columns.address[REPLICATE, first:last]
    given, hit = columns.address[NUMBER_GIVEN, first:last], columns.address[HIT, first:last]
    harmed = columns.whole[HARMED, first:last]
    for s in range(last - first if note else 0):
        harmed[s] = 0
    for t in range(plan.fact[N_TERMS]):
        high, low = columns.limit[0, t, first:last], columns.limit[1, t, first:last]
        count = columns.counts[plan.fact[N_EVENTS] + 1 + t, first:last]
        stream, words = plan.term[0, t], np.uint64(32)
        for s in range(last - first):
            bits = leading_bits(seed, patient[s], replicate[s], stream, number)
            limit = (np.uint64(high[s]) << words) | np.uint64(low[s])
            hit[s] = 1 if (bits < limit) & (np.uint32(number) < given[s]) else 0
        for s in range(last - first):
            count[s] += hit[s]
        for s in range(last - first if note else 0):
            harmed[s] |= np.int64(hit[s]) << t


@bare_kernel
def keep_plain(plan: Plan, seed: int, columns: Columns, first: int, last: int, number: int, visits: VisitLog) -> None:
    """As `keep_visit` for slots first … last − 1 after `count_plain`; of those who are not given it, never read."""
    n, row, scale = last - first, columns.address[ROW, first:last], columns.real[DOSE_SCALE, first:last]
    start, interval, harmed = columns.real[SCRATCH], columns.real[SCRATCH + 1], columns.whole[HARMED, first:last]
    time, dose = visits.real[0, number, first:last], visits.real[1, number, first:last]
    kept = visits.harmed[number, first:last]
    for s in range(n):
        time[s] = start[s] + number * interval[s]
        kept[s] = harmed[s]
    if plan.dose.shape[1] == 1:
        for s in range(n):
            dose[s] = plan.dose[0, 0, row[s]] * scale[s]
    else:
        for s in range(n):
            if number < columns.address[NUMBER_GIVEN, first + s]:
                dose[s] = dose_of(plan, seed, columns, first + s, number) * scale[s]
    for s in range(n):
        reduced = scale[s] * plan.number[FACTOR, row[s]]
        scale[s] = reduced if harmed[s] else scale[s]


@inlined_bare_kernel
def keep_visit(plan: Plan, seed: int, columns: Columns, s: int, number: int, time: float, visits: VisitLog) -> None:
    """Keep one administration, and the dose of the next."""
    visits.real[0, number, s] = time
    visits.real[1, number, s] = dose_of(plan, seed, columns, s, number) * columns.real[DOSE_SCALE, s]
    visits.harmed[number, s] = columns.whole[HARMED, s]
    if columns.whole[HARMED, s]:
        columns.real[DOSE_SCALE, s] *= plan.number[FACTOR, columns.address[ROW, s]]
