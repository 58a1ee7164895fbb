"""Visits at which treatment is decided. Knows administrations; knows the race only by who is at risk.

Where nothing that happens at a visit can change the race of events, visits are counted when it is over
(`count_visits`), whole columns at a time. Otherwise a visit takes part in the race and is attended patient by
patient (`attend`, `leave`).
"""

from __future__ import annotations

import numpy as np

from simulator.engines.compiled.clocks import is_susceptible
from simulator.engines.compiled.columns import (
    CELL,
    COMPLETED,
    DELAYED,
    DOSE_SCALE,
    DUE,
    END,
    HARMED,
    HELD,
    LAST_DELAY,
    MARKERS,
    N_GIVEN,
    N_VISITS,
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
    Columns,
    Log,
    Slots,
    Visits,
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
from simulator.kernels.rng import STREAMS, uniform
from simulator.tables import NONE, Floats

VISIT, COURSE_PLANNED, DOSE = STREAMS["visit"], STREAMS["course.planned"], STREAMS["course.dose"]
FRAILTY = STREAMS["adverse_event.frailty"]


@bare_kernel
def begin_course(plan: Plan, seed: np.uint64, columns: Columns, slots: Slots) -> None:
    """Draw what a course draws once: the planned number, and each patient's proneness to adverse events.

    ``slots`` are 0, 1, … as at entry.
    """
    fact, n = plan.fact, slots.size
    row, ever, planned = columns.whole[ROW], columns.whole[HARMED], columns.whole[PLANNED_NUMBER]
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
def dose_of(plan: Plan, seed: np.uint64, columns: Columns, s: int, number: int) -> float:
    """Dose level of one administration, before any reduction."""
    row, levels = columns.whole[ROW, s], plan.dose.shape[1]
    if levels == 1:
        return plan.dose[0, 0, row]
    occurrence = 0 if plan.fact[DOSE_PER_PATIENT] else number
    u = uniform(seed, columns.whole[PATIENT, s], columns.whole[REPLICATE, s], DOSE, occurrence)
    level = 0
    while u >= plan.dose[1, level, row]:
        level += 1
    return plan.dose[0, level, row]


@inlined_bare_kernel
def next_visit(plan: Plan, seed: np.uint64, columns: Columns, s: int, now: float) -> float:
    """Time of the next visit: start + k·interval, or a running sum of random intervals; plus delays."""
    row = columns.whole[ROW, s]
    columns.whole[N_VISITS, s] += 1
    code = plan.choice[INTERVAL_CODE, row]
    p0, p1, p2 = plan.number[INTERVAL, row], plan.number[INTERVAL + 1, row], plan.number[INTERVAL + 2, row]
    if code == FIXED:
        return plan.number[START, row] + columns.whole[N_VISITS, s] * p0 + columns.real[DELAYED, s]
    u = uniform(seed, columns.whole[PATIENT, s], columns.whole[REPLICATE, s], VISIT, columns.whole[N_VISITS, s] - 1)
    return now + quantile(code, u, p0, p1, p2) + columns.real[LAST_DELAY, s]


@inlined_bare_kernel
def write(log: Log, used: int, s: int, time: float, code: int, value: float) -> int:
    """Append a row; returns the number of rows."""
    log.slot[0, used] = s
    log.code[used] = code
    log.real[0, used] = time
    log.real[1, used] = value
    return used + 1


@inlined_bare_kernel
def leave(plan: Plan, columns: Columns, log: Log, used: int, s: int, now: float, c: int, reason: int) -> tuple:
    """The course of slot s ends for good. Returns rows of the log used and the configuration after it."""
    end_of_course = plan.fact[N_EVENTS] + 1 + plan.fact[N_TERMS]
    columns.whole[ON_COURSE, s] = 0
    columns.event[DUE, plan.fact[N_EVENTS], s] = INFINITY
    columns.count[end_of_course, s] = 1
    used = write(log, used, s, now, end_of_course, float(reason))
    return used, with_markers(plan, columns, c, columns.table[c, MARKERS] & ~plan.fact[ON_TREATMENT])


# --------------------------------------------------------------------------------------- visits in the race


@bare_kernel
def attend(
    plan: Plan, seed: np.uint64, columns: Columns, slots: Slots, now: Floats, c: int, log: Log, used: int
) -> tuple:
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
    plan: Plan, seed: np.uint64, columns: Columns, s: int, now: float, c: int, log: Log, used: int
) -> tuple:
    """`attend` for one slot: rows of the log used, the configuration to go to, 1 where the course ends by its plan."""
    n_events, row = plan.fact[N_EVENTS], columns.whole[ROW, s]
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
        reason = columns.table[c, STOPS + columns.whole[CELL, s]] if markers != before else 0
        if reason:
            used, c = leave(plan, columns, log, used, s, now, c, reason)
            return used, c, 0
    if plan.choice[INTERVAL_CODE, row] == NONE:
        return used, c, 1
    due = next_visit(plan, seed, columns, s, now)
    columns.event[DUE, n_events, s] = due if due < columns.real[END, s] else INFINITY
    return used, c, 0


@inlined_bare_kernel
def administer(
    plan: Plan, seed: np.uint64, columns: Columns, s: int, now: float, markers: int, log: Log, used: int
) -> tuple:
    """Give one administration and draw its harm. Returns rows of the log used, markers after it, its number."""
    n_events, row, number = plan.fact[N_EVENTS], columns.whole[ROW, s], columns.whole[N_GIVEN, s]
    columns.whole[N_GIVEN, s] = number + 1
    dose = dose_of(plan, seed, columns, s, number) * columns.real[DOSE_SCALE, s]
    used = write(log, used, s, now, n_events, dose)
    harmed = False
    if number == 0:
        markers |= plan.fact[ON_TREATMENT]
    for t in range(plan.fact[N_TERMS]):
        u = uniform(seed, columns.whole[PATIENT, s], columns.whole[REPLICATE, s], plan.term[0, t], number)
        if u < columns.harm[t, s]:
            used = write(log, used, s, now, n_events + 1 + t, float(number))
            columns.count[n_events + 1 + t, s] += 1
            markers |= plan.term[1, t]
            harmed = True
    columns.real[LAST_DELAY, s] = plan.number[DELAY, row] if harmed else 0.0
    if harmed:
        columns.real[DELAYED, s] += plan.number[DELAY, row]
        columns.real[DOSE_SCALE, s] *= plan.number[FACTOR, row]
    return used, markers, number


@inlined_bare_kernel
def try_events(plan: Plan, seed: np.uint64, columns: Columns, s: int, now: float, c: int, number: int) -> None:
    """An administration may bring about events after a lag, in patients at risk of them."""
    row, patient, replicate = columns.whole[ROW, s], columns.whole[PATIENT, s], columns.whole[REPLICATE, s]
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
def count_visits(plan: Plan, seed: np.uint64, columns: Columns, n: int, visits: Visits, keep: bool) -> bool:
    """Count the administrations of slots 0 … n − 1 until the course stopped or its plan was done.

    `STOPPED` is when a rule, death or the horizon stopped the course: a visit at that very time comes after it.
    `COMPLETED` becomes when the planned number had been given. With ``keep`` times, doses and harm go into
    ``visits``; returns whether it had room for them.
    """
    on_course, stopped, end = columns.whole[ON_COURSE], columns.real[STOPPED], columns.real[END]
    for s in range(n):
        last = stopped[s] if stopped[s] < end[s] else end[s]
        stopped[s] = last if on_course[s] else -1.0
    if plan.fact[PLAIN_VISITS]:
        most = count_plain(plan, columns, n)
        if keep and most > visits.harmed.shape[0]:
            return False
        for number in range(most):
            draw_harm(plan, seed, columns, n, number)
            if keep:
                for s in range(n):
                    due = plan.number[START, columns.whole[ROW, s]]
                    due = due + number * plan.number[INTERVAL, columns.whole[ROW, s]] if number else due
                    if number < columns.whole[N_GIVEN, s]:
                        keep_visit(plan, seed, columns, s, number, due, visits)
        return True
    due, number = columns.real[TIMES], 0
    for s in range(n):
        due[s] = plan.number[START, columns.whole[ROW, s]]
    while True:
        given = 0
        for s in range(n):
            here = due[s] < stopped[s]
            done = here and number >= columns.whole[PLANNED_NUMBER, s]
            columns.real[COMPLETED, s] = due[s] if done else columns.real[COMPLETED, s]
            due[s] = INFINITY if done or not here else due[s]
            columns.whole[N_GIVEN, s] += 1 if due[s] < INFINITY else 0
            given += 1 if due[s] < INFINITY else 0
        if given == 0:
            return True
        if keep and number >= visits.harmed.shape[0]:
            return False
        draw_harm(plan, seed, columns, n, number)
        for s in range(n):
            if not due[s] < INFINITY:
                continue
            harmed, row = columns.whole[HARMED, s] != 0, columns.whole[ROW, s]
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


@inlined_bare_kernel
def count_plain(plan: Plan, columns: Columns, n: int) -> int:
    """Visits at start + k·interval, without delays. Returns the largest number given to anybody."""
    stopped, given, planned, row = columns.real[STOPPED], columns.whole[N_GIVEN], columns.whole[PLANNED_NUMBER], columns.whole[ROW]
    most = 0
    for s in range(n):
        most = max(most, planned[s])
    start, interval, completed = columns.real[SCRATCH], columns.real[SCRATCH + 1], columns.real[COMPLETED]
    for s in range(n):
        start[s] = plan.number[START, row[s]]
        interval[s] = plan.number[INTERVAL, row[s]]
    for number in range(most):
        for s in range(n):
            due = start[s] + number * interval[s] if number else start[s]
            given[s] += 1 if (due < stopped[s]) & (number < planned[s]) else 0
    most = 0
    for s in range(n):
        due = start[s] + planned[s] * interval[s] if planned[s] else start[s]
        completed[s] = due if due < stopped[s] else INFINITY
        most = max(most, given[s])
    return most


@inlined_bare_kernel
def draw_harm(plan: Plan, seed: np.uint64, columns: Columns, n: int, number: int) -> None:
    """Draw the adverse events of one administration: `HARMED` gets bit t for term t. Those not given it have none."""
    patient, replicate, given = columns.whole[PATIENT], columns.whole[REPLICATE], columns.whole[N_GIVEN]
    harmed, u = columns.whole[HARMED], columns.real[SCRATCH]
    harmed[:n] = 0
    for t in range(plan.fact[N_TERMS]):
        probability, count = columns.harm[t], columns.count[plan.fact[N_EVENTS] + 1 + t]
        stream = plan.term[0, t]
        for s in range(n):
            u[s] = uniform(seed, patient[s], replicate[s], stream, number)
        for s in range(n):
            hit = 1 if (u[s] < probability[s]) & (number < given[s]) else 0
            count[s] += hit
            harmed[s] |= hit << t


@inlined_bare_kernel
def keep_visit(
    plan: Plan, seed: np.uint64, columns: Columns, s: int, number: int, time: float, visits: Visits
) -> None:
    """Keep one administration, and the dose of the next."""
    visits.real[0, number, s] = time
    visits.real[1, number, s] = dose_of(plan, seed, columns, s, number) * columns.real[DOSE_SCALE, s]
    visits.harmed[number, s] = columns.whole[HARMED, s]
    if columns.whole[HARMED, s]:
        columns.real[DOSE_SCALE, s] *= plan.number[FACTOR, columns.whole[ROW, s]]
