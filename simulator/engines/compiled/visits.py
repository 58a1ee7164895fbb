"""Visits at which treatment is decided. Knows administrations; knows the race only by who is at risk.

Where nothing that happens at a visit can change the race of events, visits are counted when it is over
(`count_visits`), whole columns at a time. Otherwise a visit takes part in the race and is attended patient by
patient (`attend`, `leave`).
"""

from __future__ import annotations

import numpy as np

from simulator.engines.compiled.clocks import is_susceptible
from simulator.engines.compiled.columns import Columns, Log, Slots, Visits
from simulator.engines.compiled.configurations import find
from simulator.engines.compiled.passes import draw
from simulator.engines.compiled.plan import (
    BY_HAZARD,
    DELAY,
    DOSE_PER_PATIENT,
    FACTOR,
    GIVEN,
    INTERVAL,
    INTERVAL_CODE,
    LAG,
    LAG_CODE,
    LAG_STREAM,
    N_EVENTS,
    N_TERMS,
    ON_TREATMENT,
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

VISIT, PLANNED, DOSE = STREAMS["visit"], STREAMS["course.planned"], STREAMS["course.dose"]
FRAILTY = STREAMS["adverse_event.frailty"]


@bare_kernel
def begin_course(plan: Plan, seed: np.uint64, columns: Columns, slots: Slots) -> None:
    """Draw what a course draws once: the planned number, and each patient's proneness to adverse events."""
    fact, n = plan.fact, slots.size
    row, ever, u = columns.row, columns.whole[1], columns.real[1]
    for k in range(n):
        s = slots[k]
        columns.on_course[s] = plan.course_code[GIVEN, row[s]]
        columns.n_given[s] = 0
        columns.stopped[s] = INFINITY
        columns.completed[s] = INFINITY
        columns.dose_scale[s] = 1.0
        columns.delayed[s] = 0.0
        columns.last_delay[s] = 0.0
        columns.n_visits[s] = 0
    ever[:n] = 0
    if fact[PLANNED_BY] != NONE:
        for k in range(n):
            ever[k] = 1 if is_susceptible(plan, seed, columns, slots[k], fact[PLANNED_BY]) else 0
    if fact[PLANNED_DRAWN]:
        draw(seed, columns, slots, PLANNED, 0, u)
        columns.planned[:n] = 0
        for number in range(plan.planned_cdf.shape[1] - 1):
            cdf = plan.planned_cdf[:, number]
            for k in range(n):
                columns.planned[slots[k]] += 1 if u[k] >= cdf[ever[k], row[slots[k]]] else 0
    else:
        for k in range(n):
            columns.planned[slots[k]] = plan.planned[ever[k], row[slots[k]]]
    if fact[N_TERMS] and fact[SHARED_FRAILTY]:
        draw(seed, columns, slots, FRAILTY, 0, u)
        for k in range(n):
            u[k] = plan.course[ROOT_FRAILTY, row[slots[k]]] * normal_quantile(u[k])
        for t in range(fact[N_TERMS]):
            harm, threshold, unshared = columns.harm[t], plan.harm[0, t], plan.harm[1, t]
            for k in range(n):
                r = row[slots[k]]
                shared = normal_cdf((threshold[r] + u[k]) / plan.course[ROOT_REST, r])
                harm[slots[k]] = shared if plan.course[ROOT_FRAILTY, r] > 0.0 else unshared[r]
    else:
        for t in range(fact[N_TERMS]):
            harm, unshared = columns.harm[t], plan.harm[1, t]
            for k in range(n):
                harm[slots[k]] = unshared[row[slots[k]]]


@inlined_bare_kernel
def dose_of(plan: Plan, seed: np.uint64, columns: Columns, s: int, number: int) -> float:
    """Dose level of one administration, before any reduction."""
    row, levels = columns.row[s], plan.dose.shape[1]
    if levels == 1:
        return plan.dose[0, 0, row]
    occurrence = 0 if plan.fact[DOSE_PER_PATIENT] else number
    u = uniform(seed, columns.patient[s], columns.replicate[s], DOSE, occurrence)
    level = 0
    while u >= plan.dose[1, level, row]:
        level += 1
    return plan.dose[0, level, row]


@inlined_bare_kernel
def next_visit(plan: Plan, seed: np.uint64, columns: Columns, s: int, now: float) -> float:
    """Time of the next visit: start + k·interval, or a running sum of random intervals; plus delays."""
    row = columns.row[s]
    columns.n_visits[s] += 1
    code = plan.course_code[INTERVAL_CODE, row]
    p0, p1, p2 = plan.course[INTERVAL, row], plan.course[INTERVAL + 1, row], plan.course[INTERVAL + 2, row]
    if code == FIXED:
        return plan.course[START, row] + columns.n_visits[s] * p0 + columns.delayed[s]
    u = uniform(seed, columns.patient[s], columns.replicate[s], VISIT, columns.n_visits[s] - 1)
    return now + quantile(code, u, p0, p1, p2) + columns.last_delay[s]


@inlined_bare_kernel
def write(log: Log, used: int, s: int, time: float, code: int, value: float) -> int:
    """Append a row; returns the number of rows."""
    log.slot[used] = s
    log.time[used] = time
    log.code[used] = code
    log.value[used] = value
    return used + 1


# --------------------------------------------------------------------------------------- visits in the race


@inlined_bare_kernel
def leave(plan: Plan, columns: Columns, log: Log, used: int, s: int, now: float, c: int, reason: int) -> tuple:
    """The course of slot s ends for good. Returns rows of the log used and the configuration after it."""
    n_events = plan.fact[N_EVENTS]
    columns.on_course[s] = 0
    columns.due[n_events, s] = INFINITY
    columns.count[n_events + 1 + plan.fact[N_TERMS], s] += 1
    used = write(log, used, s, now, n_events + 1 + plan.fact[N_TERMS], float(reason))
    markers = columns.key[c, 1] & ~plan.fact[ON_TREATMENT]
    if markers != columns.key[c, 1]:
        c = find(plan, columns, columns.key[c, 0], markers, columns.key[c, 2], columns.key[c, 3])
    return used, c


@inlined_bare_kernel
def attend(plan: Plan, seed: np.uint64, columns: Columns, log: Log, used: int, s: int, now: float, c: int) -> tuple:
    """A visit of slot s, found in configuration c: one administration, unless one is withheld or the plan is done.

    Returns rows of the log used, the configuration after the administration, and whether the course ends by its
    plan; `leave` then ends it.
    """
    fact = plan.fact
    n_events, n_terms = fact[N_EVENTS], fact[N_TERMS]
    columns.due[n_events, s] = INFINITY
    if columns.n_given[s] >= columns.planned[s]:
        return used, c, 1
    withheld = False
    for e in range(n_events):
        withheld = withheld or (plan.event[e, WITHHOLDS] == 1 and columns.pending[e, s] == 1)
    row = columns.row[s]
    if withheld:
        columns.last_delay[s] = 0.0
    else:
        number = columns.n_given[s]
        columns.n_given[s] += 1
        dose = dose_of(plan, seed, columns, s, number) * columns.dose_scale[s]
        used = write(log, used, s, now, n_events, dose)
        state, before, started, fired = columns.key[c, 0], columns.key[c, 1], columns.key[c, 2], columns.key[c, 3]
        markers, harmed = before, False
        if number == 0:
            markers |= fact[ON_TREATMENT]
        for t in range(n_terms):
            probability = columns.harm[t, s]
            if probability > 0.0:
                u = uniform(seed, columns.patient[s], columns.replicate[s], plan.term[0, t], number)
                if u < probability:
                    used = write(log, used, s, now, n_events + 1 + t, float(number))
                    columns.count[n_events + 1 + t, s] += 1
                    markers |= plan.term[1, t]
                    harmed = True
        columns.last_delay[s] = plan.course[DELAY, row] if harmed else 0.0
        if harmed:
            columns.delayed[s] += plan.course[DELAY, row]
            columns.dose_scale[s] *= plan.course[FACTOR, row]
        if markers != before:
            c = find(plan, columns, state, markers, started, fired)
        for e in range(n_events):
            if plan.event[e, BY_HAZARD] or columns.pending[e, s] or not columns.risk[c] >> e & 1:
                continue
            if not is_susceptible(plan, seed, columns, s, e):
                continue
            u = uniform(seed, columns.patient[s], columns.replicate[s], plan.event[e, STREAM], number)
            if u < plan.law[e, SUCCESS, row]:
                u = uniform(seed, columns.patient[s], columns.replicate[s], plan.event[e, LAG_STREAM], number)
                p0, p1, p2 = plan.law[e, LAG, row], plan.law[e, LAG + 1, row], plan.law[e, LAG + 2, row]
                due = now + quantile(plan.code[e, LAG_CODE, row], u, p0, p1, p2)
                columns.due[e, s] = due if due < columns.end[s] else INFINITY
                columns.pending[e, s] = 1
        reason = columns.stop[c, columns.cell[s]] if markers != before else 0
        if reason:
            used, c = leave(plan, columns, log, used, s, now, c, reason)
            return used, c, 0
    if plan.course_code[INTERVAL_CODE, row] == NONE:
        return used, c, 1
    due = next_visit(plan, seed, columns, s, now)
    columns.due[n_events, s] = due if due < columns.end[s] else INFINITY
    return used, c, 0


# ----------------------------------------------------------------------------------- visits after the race


@bare_kernel
def count_visits(plan: Plan, seed: np.uint64, columns: Columns, slots: Slots, visits: Visits, keep: bool) -> bool:
    """Administrations until the course stopped or its plan was done; with ``keep``, when, how much and what harm.

    Returns whether ``visits`` had room for them.

    ``columns.stopped`` is when a rule, death or the horizon stopped the course: a visit at that very time comes
    after it. ``columns.completed`` becomes when the planned number had been given.
    """
    fact, row = plan.fact, columns.row
    n_events, n_terms = fact[N_EVENTS], fact[N_TERMS]
    active, at, u, harmed = columns.grouped, columns.real[1], columns.real[2], columns.whole[1]
    n = 0
    for k in range(slots.size):
        s = slots[k]
        start = plan.course[START, row[s]]
        active[n] = s
        at[n] = start
        n += 1 if (columns.on_course[s] == 1) & (start < columns.stopped[s]) & (start < columns.end[s]) else 0
    number = 0
    while n > 0:
        m = 0  # those whose plan is done drop out
        for k in range(n):
            s = active[k]
            done = number >= columns.planned[s]
            columns.completed[s] = at[k] if done else columns.completed[s]
            active[m] = s
            at[m] = at[k]
            m += 0 if done else 1
        n = m
        if n == 0:
            break
        now = active[:n]
        if keep:
            if number >= visits.time.shape[0]:
                return False
            for k in range(n):
                s = now[k]
                visits.time[number, s] = at[k]
                visits.dose[number, s] = dose_of(plan, seed, columns, s, number) * columns.dose_scale[s]
        for k in range(n):
            columns.n_given[now[k]] += 1
        harmed[:n] = 0
        for t in range(n_terms):
            draw(seed, columns, now, plan.term[0, t], number, u)
            probability, count = columns.harm[t], columns.count[n_events + 1 + t]
            for k in range(n):
                harmed[k] |= (1 << t) if u[k] < probability[now[k]] else 0
            for k in range(n):
                count[now[k]] += harmed[k] >> t & 1
        if keep:
            for k in range(n):
                visits.harmed[number, now[k]] = harmed[k]
        m = 0
        for k in range(n):
            s = now[k]
            r = row[s]
            if plan.course_code[INTERVAL_CODE, r] == NONE:
                columns.completed[s] = at[k]
                continue
            columns.last_delay[s] = plan.course[DELAY, r] if harmed[k] else 0.0
            if harmed[k]:
                columns.delayed[s] += plan.course[DELAY, r]
                columns.dose_scale[s] *= plan.course[FACTOR, r]
            due = next_visit(plan, seed, columns, s, at[k])
            active[m] = s
            at[m] = due
            m += 1 if (due < columns.stopped[s]) & (due < columns.end[s]) else 0
        n = m
        number += 1
    return True
