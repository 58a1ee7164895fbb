"""Whole columns at once: draws, hazard ratios, budgets, due times. Knows the canonical arithmetic, no race.

Each step is a loop over contiguous arrays of one expression, so that LLVM vectorises it over patients. ``slots``
names who takes part, its length how many.
"""

from __future__ import annotations

import numpy as np

from simulator.engines.compiled.columns import Columns, Slots
from simulator.engines.compiled.plan import (
    CLOCK,
    CURE,
    EVER,
    EVER_STREAM,
    FACTORED,
    FAMILY,
    FAMILY_CODE,
    FIRST_EFFECT,
    FIRST_KNOT,
    LAST_EFFECT,
    LAST_KNOT,
    STREAM,
    Plan,
)
from simulator.kernels import hazards
from simulator.kernels.compilation import bare_kernel
from simulator.kernels.elementary import INFINITY, log
from simulator.kernels.rng import uniform
from simulator.tables import Clock, Floats, Integers

RESET, FORWARD = int(Clock.RESET), int(Clock.FORWARD)
EXPONENTIAL, WEIBULL, GOMPERTZ = hazards.EXPONENTIAL, hazards.WEIBULL, hazards.GOMPERTZ
LOG_LOGISTIC, LOG_NORMAL, FIXED = hazards.LOG_LOGISTIC, hazards.LOG_NORMAL, hazards.FIXED


@bare_kernel
def draw(seed: np.uint64, columns: Columns, slots: Slots, stream: int, occurrence: int, out: Floats) -> None:
    """Uniforms of one decision: out[k] that of slot slots[k]."""
    patient, replicate = columns.patient, columns.replicate
    for k in range(slots.size):
        s = slots[k]
        out[k] = uniform(seed, patient[s], replicate[s], stream, occurrence)


@bare_kernel
def draw_next(seed: np.uint64, columns: Columns, slots: Slots, stream: int, occurrence: Integers, out: Floats) -> None:
    """As `draw`, each slot at its own next occurrence, which is counted on."""
    patient, replicate = columns.patient, columns.replicate
    for k in range(slots.size):
        s = slots[k]
        occurrence[s] += 1
    for k in range(slots.size):
        s = slots[k]
        out[k] = uniform(seed, patient[s], replicate[s], stream, occurrence[s])


@bare_kernel
def ratios(plan: Plan, columns: Columns, slots: Slots, e: int, effects: int, out: Floats) -> None:
    """Hazard ratios under the effects whose bits are set, in declared order, then the patient's own factor."""
    first, last = plan.event[e, FIRST_EFFECT], plan.event[e, LAST_EFFECT]
    out[: slots.size] = 1.0
    row = columns.row
    for f in range(first, last):
        if effects >> (f - first) & 1:
            ratio = plan.effect_ratio[f]
            for k in range(slots.size):
                out[k] = out[k] * ratio[row[slots[k]]]
    if plan.event[e, FACTORED]:
        factor = columns.factor[e]
        for k in range(slots.size):
            out[k] = out[k] * factor[slots[k]]


@bare_kernel
def inverse(plan: Plan, e: int, row: Integers, n: int, x: Floats, out: Floats) -> None:
    """out[k] = H⁻¹(x[k]) of event e in row[k], for k < n."""
    family = plan.event[e, FAMILY]
    p0, p1, p2 = plan.law[e, 0], plan.law[e, 1], plan.law[e, 2]
    if family == EXPONENTIAL:
        for k in range(n):
            out[k] = hazards.exponential_inverse(x[k], p0[row[k]], 0.0, 0.0)
    elif family == WEIBULL:
        for k in range(n):
            out[k] = hazards.weibull_inverse(x[k], p0[row[k]], p1[row[k]], p2[row[k]])
    elif family == GOMPERTZ:
        for k in range(n):
            out[k] = hazards.gompertz_inverse(x[k], p0[row[k]], p1[row[k]], 0.0)
    elif family == LOG_LOGISTIC:
        for k in range(n):
            out[k] = hazards.log_logistic_inverse(x[k], p0[row[k]], p1[row[k]], p2[row[k]])
    elif family == LOG_NORMAL:
        for k in range(n):
            out[k] = hazards.log_normal_inverse(x[k], p0[row[k]], p1[row[k]], 0.0)
    elif family == FIXED:
        for k in range(n):
            out[k] = hazards.fixed_inverse(x[k], p0[row[k]], 0.0, 0.0)
    else:
        code, start, stop = plan.code[e, FAMILY_CODE], plan.code[e, FIRST_KNOT], plan.code[e, LAST_KNOT]
        for k in range(n):
            r = row[k]
            out[k] = hazards.inverse_cumulative_hazard(
                code[r], x[k], p0[r], p1[r], p2[r], start[r], stop[r], plan.knot_time, plan.knot_hazard
            )


@bare_kernel
def cumulative(plan: Plan, e: int, row: Integers, n: int, t: Floats, out: Floats) -> None:
    """out[k] = H(t[k]) of event e in row[k], for k < n."""
    family = plan.event[e, FAMILY]
    p0, p1, p2 = plan.law[e, 0], plan.law[e, 1], plan.law[e, 2]
    if family == EXPONENTIAL:
        for k in range(n):
            out[k] = hazards.exponential_cumulative(t[k], p0[row[k]], 0.0, 0.0)
    elif family == WEIBULL:
        for k in range(n):
            out[k] = hazards.weibull_cumulative(t[k], p0[row[k]], p1[row[k]], p2[row[k]])
    elif family == GOMPERTZ:
        for k in range(n):
            out[k] = hazards.gompertz_cumulative(t[k], p0[row[k]], p1[row[k]], 0.0)
    elif family == LOG_LOGISTIC:
        for k in range(n):
            out[k] = hazards.log_logistic_cumulative(t[k], p0[row[k]], p1[row[k]], p2[row[k]])
    elif family == LOG_NORMAL:
        for k in range(n):
            out[k] = hazards.log_normal_cumulative(t[k], p0[row[k]], p1[row[k]], 0.0)
    elif family == FIXED:
        for k in range(n):
            out[k] = hazards.fixed_cumulative(t[k], p0[row[k]], 0.0, 0.0)
    else:
        code, start, stop = plan.code[e, FAMILY_CODE], plan.code[e, FIRST_KNOT], plan.code[e, LAST_KNOT]
        for k in range(n):
            r = row[k]
            out[k] = hazards.cumulative_hazard(
                code[r], t[k], p0[r], p1[r], p2[r], start[r], stop[r], plan.knot_time, plan.knot_hazard
            )


@bare_kernel
def begin(
    plan: Plan, seed: np.uint64, columns: Columns, slots: Slots, now: Floats, e: int, effects: int, entry: bool
) -> None:
    """A plain event comes to be at risk in these slots: draw its budget and find when it is due.

    ``now[k]`` belongs to slots[k]; ``entry`` says that it is 0 for all. Where the event can never occur its
    budget is infinite.
    """
    event = plan.event[e]
    due, remaining, anchors, origins = columns.due[e], columns.remaining[e], columns.anchor[e], columns.origin[e]
    clock, family = event[CLOCK], event[FAMILY]
    if clock == RESET:
        for k in range(slots.size):
            origins[slots[k]] = now[k]
    time, chosen = now, slots
    if event[CURE]:
        u = columns.real[7]
        draw(seed, columns, slots, event[EVER_STREAM], 0, u)
        probability, row = plan.law[e, EVER], columns.row
        kept, kept_time = columns.lists[0], columns.real[6]  # list 0 is nobody's: the configuration before entry
        n = 0
        for k in range(slots.size):
            s = slots[k]
            p = probability[row[s]]
            due[s] = INFINITY
            remaining[s] = INFINITY
            anchors[s] = 0.0
            kept[n] = s
            kept_time[n] = now[k]
            n += 1 if (p >= 1.0) | (u[k] < p) else 0
        chosen, time = kept[:n], kept_time
    n = chosen.size
    budget, hazard, ratio, x, rows = columns.real[1], columns.real[2], columns.real[3], columns.real[4], columns.whole[0]
    if clock == RESET:
        draw_next(seed, columns, chosen, event[STREAM], columns.occurrence[e], x)
    else:
        draw(seed, columns, chosen, event[STREAM], 0, x)
    for k in range(n):
        budget[k] = -log(x[k])
    ratios(plan, columns, chosen, e, effects, ratio)
    for k in range(n):
        rows[k] = columns.row[chosen[k]]
    if family != FIXED and (clock == RESET or (entry and clock == FORWARD)):
        hazard[:n] = 0.0
    else:
        for k in range(n):
            x[k] = time[k] - origins[chosen[k]]
        cumulative(plan, e, rows, n, x, hazard)
    for k in range(n):
        x[k] = hazard[k] + budget[k] / ratio[k]
    since = columns.real[5]
    inverse(plan, e, rows, n, x, since)
    for k in range(n):
        s = chosen[k]
        t = origins[s] + since[k]
        t = t if t > time[k] else time[k]
        t = t if hazard[k] < INFINITY else time[k]
        due[s] = t if ratio[k] > 0.0 else INFINITY
        remaining[s] = budget[k]
        anchors[s] = hazard[k]


@bare_kernel
def reanchor(
    plan: Plan, columns: Columns, slots: Slots, now: Floats, e: int, effects_before: int, effects_after: int
) -> None:
    """A plain event stays at risk while its effects change: where the ratio does, spend and find when it is due."""
    n = slots.size
    due, remaining, anchors, origins = columns.due[e], columns.remaining[e], columns.anchor[e], columns.origin[e]
    left, hazard, ratio, x, rows = columns.real[1], columns.real[2], columns.real[3], columns.real[4], columns.whole[0]
    before, since = columns.real[5], columns.real[6]
    ratios(plan, columns, slots, e, effects_before, before)
    ratios(plan, columns, slots, e, effects_after, ratio)
    for k in range(n):
        rows[k] = columns.row[slots[k]]
        x[k] = now[k] - origins[slots[k]]
    cumulative(plan, e, rows, n, x, hazard)
    for k in range(n):
        s = slots[k]
        grown = hazard[k] - anchors[s]
        rest = remaining[s] - before[k] * grown
        rest = rest if rest > 0.0 else 0.0
        rest = rest if grown > 0.0 else remaining[s]
        left[k] = rest if remaining[s] < INFINITY else INFINITY
        x[k] = hazard[k] + left[k] / ratio[k]
    inverse(plan, e, rows, n, x, since)
    for k in range(n):
        s = slots[k]
        t = origins[s] + since[k]
        t = t if t > now[k] else now[k]
        t = t if hazard[k] < INFINITY else now[k]
        t = t if (left[k] < INFINITY) & (ratio[k] > 0.0) else INFINITY
        changed = before[k] != ratio[k]
        due[s] = t if changed else due[s]
        remaining[s] = left[k] if changed else remaining[s]
        anchors[s] = hazard[k] if changed else anchors[s]
