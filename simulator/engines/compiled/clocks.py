"""One event of one patient, brought up to date.

The rules are those of ARCHITECTURE.md, "Canonical arithmetic": a budget is spent at the current hazard ratio,
re-anchored only when that changes; a renewed clock draws the next one; a timer fires once for each start.
"""

from __future__ import annotations

from simulator.engines.compiled.columns import (
    ANCHOR,
    DUE,
    OCCURRENCE,
    ORIGIN,
    OWN_FACTOR,
    PATIENT,
    RATE,
    REMAINING,
    REPLICATE,
    ROW,
    SPENT,
    SUSCEPTIBLE,
    Columns,
    Slots,
)
from simulator.engines.compiled.plan import (
    EVER,
    EVER_STREAM,
    FACTORED,
    FAMILY_CODE,
    FIRST_EFFECT,
    FIRST_KNOT,
    LAST_EFFECT,
    LAST_KNOT,
    STREAM,
    Plan,
)
from simulator.kernels.compilation import bare_kernel, inlined_bare_kernel
from simulator.kernels.elementary import INFINITY, log
from simulator.kernels.hazards import cumulative_hazard, inverse_cumulative_hazard
from simulator.kernels.rng import uniform
from simulator.tables import NONE, Floats


@inlined_bare_kernel
def ratio(plan: Plan, columns: Columns, s: int, e: int, effects: int) -> float:
    """Hazard ratio of event e in slot s under the effects whose bits are set: see `passes.ratios`."""
    first, last = plan.event[e, FIRST_EFFECT], plan.event[e, LAST_EFFECT]
    row = columns.address[ROW, s]
    value = 1.0
    for f in range(first, last):
        if effects >> (f - first) & 1:
            value = value * plan.effect_ratio[f, row]
    return value * columns.event[OWN_FACTOR, e, s] if plan.event[e, FACTORED] else value


@inlined_bare_kernel
def is_susceptible(plan: Plan, seed: int, columns: Columns, s: int, e: int) -> bool:
    """Whether the event can ever occur in this patient: one draw a patient and event, kept."""
    if columns.status[SUSCEPTIBLE, e, s] < 0:
        probability = plan.law[e, EVER, columns.address[ROW, s]]
        able = probability >= 1.0
        if not able:
            u = uniform(seed, columns.address[PATIENT, s], columns.address[REPLICATE, s], plan.event[e, EVER_STREAM], 0)
            able = u < probability
        columns.status[SUSCEPTIBLE, e, s] = 1 if able else 0
    return columns.status[SUSCEPTIBLE, e, s] == 1


@inlined_bare_kernel
def settle(plan: Plan, seed: int, columns: Columns, s: int, now: float, e: int, rate: float, renew: bool) -> None:
    """Bring event e of slot s up to date at its present rate, 0 where it is not at risk.

    ``renew``: its clock has just been started afresh.
    """
    before = columns.event[RATE, e, s]
    spent = columns.status[SPENT, e, s] == 1
    if rate == before and not renew and not spent:
        return
    row = columns.address[ROW, s]
    family = plan.code[e, FAMILY_CODE, row]
    p0, p1, p2 = plan.law[e, 0, row], plan.law[e, 1, row], plan.law[e, 2, row]
    start, stop = plan.code[e, FIRST_KNOT, row], plan.code[e, LAST_KNOT, row]
    fresh = renew or spent or columns.status[OCCURRENCE, e, s] == NONE
    hazard = 0.0
    if rate > 0.0 or not fresh:
        t = now - columns.event[ORIGIN, e, s]
        hazard = cumulative_hazard(family, t, p0, p1, p2, start, stop, plan.knots[0], plan.knots[1])
    if fresh:
        over = spent and not renew and hazard == INFINITY
        if rate == 0.0 or over or not is_susceptible(plan, seed, columns, s, e):
            columns.event[RATE, e, s] = 0.0
            columns.event[DUE, e, s] = INFINITY
            if renew:
                columns.status[SPENT, e, s] = 1 if columns.status[OCCURRENCE, e, s] != NONE else 0
            return
        columns.status[OCCURRENCE, e, s] += 1
        u = uniform(
            seed,
            columns.address[PATIENT, s],
            columns.address[REPLICATE, s],
            plan.event[e, STREAM],
            columns.status[OCCURRENCE, e, s],
        )
        columns.event[REMAINING, e, s] = -log(u)
        columns.status[SPENT, e, s] = 0
    elif before > 0.0 and hazard > columns.event[ANCHOR, e, s]:
        left = columns.event[REMAINING, e, s] - before * (hazard - columns.event[ANCHOR, e, s])
        columns.event[REMAINING, e, s] = left if left > 0.0 else 0.0
    columns.event[ANCHOR, e, s] = hazard
    columns.event[RATE, e, s] = rate
    columns.event[DUE, e, s] = INFINITY
    if rate > 0.0:
        due = now
        if hazard < INFINITY:
            x = hazard + columns.event[REMAINING, e, s] / rate
            since = inverse_cumulative_hazard(family, x, p0, p1, p2, start, stop, plan.knots[0], plan.knots[1])
            due = columns.event[ORIGIN, e, s] + since
        columns.event[DUE, e, s] = due if due > now else now


@bare_kernel
def settle_each(
    plan: Plan,
    seed: int,
    columns: Columns,
    slots: Slots,
    now: Floats,
    e: int,
    effects: int,
    able: bool,
    renew: bool,
) -> None:
    """Bring event e up to date in these slots, who are at risk of it (``able``) under these effects, or not."""
    for k in range(slots.size):
        s = slots[k]
        if renew:
            columns.event[ORIGIN, e, s] = now[k]
        rate = ratio(plan, columns, s, e, effects) if able else 0.0
        settle(plan, seed, columns, s, now[k], e, rate, renew)
