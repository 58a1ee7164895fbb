"""Whole columns at once: draws, hazard ratios, budgets, due times.

Each step is a short loop over a few arrays, which LLVM vectorises over patients and whose constants stay in registers:
two loops over the halves of a function take half the time of one over the whole. The bits are those of the functions in
`simulator.kernels`. ``slots`` names who takes part, its length how many.
"""

from __future__ import annotations

from math import fabs, sqrt
from typing import Any

from simulator.engines.compiled.columns import (
    ABLE,
    ANCHOR,
    DUE,
    LAWS,
    LISTED,
    OCCURRENCE,
    ORIGIN,
    OWN_FACTOR,
    PATIENT,
    REMAINING,
    REPLICATE,
    ROW,
    ROWS,
    SCRATCH,
    Columns,
    Slots,
)
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
    SAME_LAW,
    STREAM,
    Plan,
)
from simulator.kernels import hazards
from simulator.kernels.compilation import bare_kernel, inlined_bare_kernel
from simulator.kernels.elementary import (
    INFINITY,
    centre_quantile,
    exp,
    exp_of_sum,
    expm1,
    fma,
    log,
    log_as_sum,
    tail_quantile,
)
from simulator.kernels.rng import uniform
from simulator.tables import Clock, Floats

HIGH, LOW = SCRATCH + 6, SCRATCH + 7
RESET_CLOCK, FORWARD_CLOCK = int(Clock.RESET), int(Clock.FORWARD)
EXPONENTIAL, WEIBULL, GOMPERTZ = hazards.EXPONENTIAL, hazards.WEIBULL, hazards.GOMPERTZ
LOG_LOGISTIC, LOG_NORMAL, FIXED = hazards.LOG_LOGISTIC, hazards.LOG_NORMAL, hazards.FIXED
TABULATED = hazards.TABULATED


# ------------------------------------------------------------------------------------------------------ draws


@bare_kernel
def gather(values: Any, slots: Slots, out: Any) -> None:
    """out[k] = values[slots[k]]: apart from arithmetic, which a gather would keep from being vectorised."""
    for k in range(slots.size):
        out[k] = values[slots[k]]


@bare_kernel
def draw(seed: int, columns: Columns, slots: Slots, everyone: bool, stream: int, occurrence: int, out: Floats) -> None:
    """Uniforms of one decision: out[k] that of slot slots[k]. ``everyone``: the slots are all there are, in order."""
    patient, replicate = columns.address[PATIENT], columns.address[REPLICATE]
    if not everyone:
        patient, replicate = columns.address[LISTED], columns.address[LISTED + 1]
        gather(columns.address[PATIENT], slots, patient)
        gather(columns.address[REPLICATE], slots, replicate)
    for k in range(slots.size):
        out[k] = uniform(seed, patient[k], replicate[k], stream, occurrence)


@bare_kernel
def draw_next(seed: int, columns: Columns, slots: Slots, e: int, stream: int, out: Floats) -> None:
    """As `draw`, each slot at its own next occurrence of event e, which is counted on."""
    patient, replicate, number = columns.address[LISTED], columns.address[LISTED + 1], columns.address[LISTED + 2]
    gather(columns.address[PATIENT], slots, patient)
    gather(columns.address[REPLICATE], slots, replicate)
    occurrence = columns.status[OCCURRENCE, e]
    for k in range(slots.size):
        s = slots[k]
        occurrence[s] += 1
        number[k] = occurrence[s]
    for k in range(slots.size):
        out[k] = uniform(seed, patient[k], replicate[k], stream, number[k])


# ---------------------------------------------------------------------------------------------------- hazards


@bare_kernel
def law(plan: Plan, columns: Columns, e: int, row: Slots, n: int) -> None:
    """Parameters of event e's hazard in row[k], as many as it has, in `LAWS` and the columns after it."""
    family, most = plan.event[e, FAMILY], 3
    if family in (EXPONENTIAL, FIXED, TABULATED):
        most = 1
    elif family in (GOMPERTZ, LOG_NORMAL):
        most = 2
    for p in range(most):
        out, values = columns.real[LAWS + p], plan.law[e, p]
        if plan.event[e, SAME_LAW]:
            for k in range(n):
                out[k] = values[0]
        else:
            for k in range(n):
                out[k] = values[row[k]]


@bare_kernel
def inverse(plan: Plan, columns: Columns, e: int, row: Slots, n: int, x: Floats, out: Floats) -> None:
    """out[k] = H⁻¹(x[k]) of event e in row[k], for k < n."""
    family = plan.event[e, FAMILY]
    p0, p1, p2 = columns.real[LAWS], columns.real[LAWS + 1], columns.real[LAWS + 2]
    high, low = columns.real[HIGH], columns.real[LOW]
    law(plan, columns, e, row, n)
    if family == EXPONENTIAL:
        for k in range(n):
            out[k] = hazards.exponential_inverse(x[k], p0[k], 0.0, 0.0)
    elif family == WEIBULL:
        for k in range(n):
            log_high, log_low = log_as_sum(x[k])
            product = log_high * p2[k]
            high[k] = product
            low[k] = (fma(-product, p1[k], log_high) + log_low) * p2[k]
        for k in range(n):
            value = exp_of_sum(high[k], low[k])
            value = value if x[k] < INFINITY else INFINITY
            out[k] = p0[k] * value if x[k] > 0.0 else 0.0
    elif family == GOMPERTZ:
        for k in range(n):
            out[k] = hazards.gompertz_inverse(x[k], p0[k], p1[k], 0.0)
    elif family == LOG_LOGISTIC:
        for k in range(n):
            out[k] = hazards.log_logistic_inverse(x[k], p0[k], p1[k], p2[k])
    elif family == LOG_NORMAL:
        log_normal_inverse(p0, p1, n, x, high, low, out)
    elif family == FIXED:
        for k in range(n):
            out[k] = p0[k]
    elif family == TABULATED and plan.knots.size > 0:
        along_knots(plan, columns, e, row, n, 1, x, out)
    else:
        code, start, stop = plan.code[e, FAMILY_CODE], plan.code[e, FIRST_KNOT], plan.code[e, LAST_KNOT]
        for k in range(n):
            r = row[k]
            out[k] = hazards.inverse_cumulative_hazard(
                code[r], x[k], p0[k], p1[k], p2[k], start[r], stop[r], plan.knots[0], plan.knots[1]
            )


@inlined_bare_kernel
def log_normal_inverse(median: Floats, sigma: Floats, n: int, x: Floats, z: Floats, q: Floats, out: Floats) -> None:
    """`hazards.log_normal_inverse` in steps: those of `elementary.normal_inverse_hazard` below 700, then the rest."""
    for k in range(n):
        negative_lower = expm1(-x[k])
        q[k] = -(0.5 + negative_lower)
        z[k] = -negative_lower
    for k in range(n):
        lower = -log(z[k])
        z[k] = sqrt(x[k] if q[k] > 0.0 else lower)
    for k in range(n):
        z[k] = tail_quantile(z[k])
    for k in range(n):
        tail = z[k] if q[k] > 0.0 else -z[k]
        z[k] = centre_quantile(q[k]) if fabs(q[k]) <= 0.425 else tail
    for k in range(n):
        out[k] = median[k] * exp(sigma[k] * z[k])
    far = 0
    for k in range(n):
        far += 0 if (x[k] > 0.0) & (x[k] < 700.0) else 1
    for k in range(n if far else 0):
        if not (x[k] > 0.0 and x[k] < 700.0):
            out[k] = hazards.log_normal_inverse(x[k], median[k], sigma[k], 0.0)


@bare_kernel
def along_knots(
    plan: Plan, columns: Columns, e: int, row: Slots, n: int, inverted: int, values: Floats, out: Floats
) -> None:
    """`hazards.tabulated_cumulative` of n values, or where ``inverted`` is 1 `hazards.tabulated_inverse`.

    All patients go half of the way that is left at a time, whatever they find there: a branch for each would be guessed
    wrong at every other step.
    """
    here, there = plan.knots[inverted], plan.knots[1 - inverted]
    first, last = plan.code[e, FIRST_KNOT], plan.code[e, LAST_KNOT]
    low, stop, at = columns.address[LISTED], columns.address[LISTED + 1], columns.address[LISTED + 2]
    after = columns.real[LAWS]
    before, from_here, from_there = columns.real[LAWS + 1], columns.real[HIGH], columns.real[LOW]
    to_here, to_there = columns.real[LAWS + 2], out
    most = 0
    for k in range(n):
        low[k] = first[row[k]]
        stop[k] = last[row[k]]
        most = max(most, last[row[k]] - first[row[k]])
    step = 1
    while 2 * step <= most:
        step *= 2
    while step > 0 and most > 0:
        for k in range(n):
            beyond = low[k] + step
            beyond = beyond if beyond <= stop[k] else stop[k]
            at[k] = beyond - 1 if beyond > 0 else 0
        for k in range(n):
            from_here[k] = here[at[k]]
        for k in range(n):
            passed = from_here[k] < values[k] if inverted else from_here[k] <= values[k]
            beyond = low[k] + step
            low[k] = beyond if passed & (beyond <= stop[k]) else low[k]
        step >>= 1
    for k in range(n):
        started = low[k] > first[row[k]]
        before[k] = 1.0 if started else 0.0
        at[k] = low[k] - 1 if started else 0
    for k in range(n):
        from_here[k] = here[at[k]]
    for k in range(n):
        from_there[k] = there[at[k]]
    for k in range(n):
        from_here[k] = from_here[k] if before[k] > 0.0 else 0.0
        from_there[k] = from_there[k] if before[k] > 0.0 else 0.0
    for k in range(n):
        ended = low[k] == stop[k]
        before[k] = 1.0 if ended else 0.0
        at[k] = at[k] if ended else low[k]
    for k in range(n):
        to_here[k] = here[at[k]]
    for k in range(n):
        to_there[k] = there[at[k]]
    for k in range(n):
        slope = (to_there[k] - from_there[k]) / (to_here[k] - from_here[k])
        value = from_there[k] + (values[k] - from_here[k]) * slope
        value = value if value < to_there[k] else to_there[k]
        further = values[k] - from_here[k]
        if inverted:
            beyond = from_there[k] + further / after[k] if after[k] > 0.0 else INFINITY
        else:
            beyond = from_there[k] + after[k] * further if after[k] > 0.0 else from_there[k]
        value = beyond if before[k] > 0.0 else value
        out[k] = value if values[k] > 0.0 else 0.0


@bare_kernel
def cumulative(plan: Plan, columns: Columns, e: int, row: Slots, n: int, t: Floats, out: Floats) -> None:
    """out[k] = H(t[k]) of event e in row[k], for k < n."""
    family = plan.event[e, FAMILY]
    p0, p1, p2 = columns.real[LAWS], columns.real[LAWS + 1], columns.real[LAWS + 2]
    high, low = columns.real[HIGH], columns.real[LOW]
    law(plan, columns, e, row, n)
    if family == EXPONENTIAL:
        for k in range(n):
            out[k] = hazards.exponential_cumulative(t[k], p0[k], 0.0, 0.0)
    elif family == WEIBULL:
        for k in range(n):
            out[k] = t[k] / p0[k]
        for k in range(n):
            log_high, log_low = log_as_sum(out[k])
            product = p1[k] * log_high
            high[k] = product
            low[k] = fma(p1[k], log_high, -product) + p1[k] * log_low
        for k in range(n):
            value = exp_of_sum(high[k], low[k])
            value = value if out[k] < INFINITY else INFINITY
            out[k] = value if out[k] > 0.0 else 0.0
    elif family == GOMPERTZ:
        for k in range(n):
            out[k] = hazards.gompertz_cumulative(t[k], p0[k], p1[k], 0.0)
    elif family == LOG_LOGISTIC:
        for k in range(n):
            out[k] = hazards.log_logistic_cumulative(t[k], p0[k], p1[k], p2[k])
    elif family == LOG_NORMAL:
        for k in range(n):
            out[k] = hazards.log_normal_cumulative(t[k], p0[k], p1[k], 0.0)
    elif family == FIXED:
        for k in range(n):
            out[k] = hazards.fixed_cumulative(t[k], p0[k], 0.0, 0.0)
    elif family == TABULATED and plan.knots.size > 0:
        along_knots(plan, columns, e, row, n, 0, t, out)
    else:
        code, start, stop = plan.code[e, FAMILY_CODE], plan.code[e, FIRST_KNOT], plan.code[e, LAST_KNOT]
        for k in range(n):
            r = row[k]
            out[k] = hazards.cumulative_hazard(
                code[r], t[k], p0[k], p1[k], p2[k], start[r], stop[r], plan.knots[0], plan.knots[1]
            )


@bare_kernel
def ratios(plan: Plan, columns: Columns, slots: Slots, row: Slots, e: int, effects: int, out: Floats) -> None:
    """Hazard ratios under the effects whose bits are set, in declared order, then the patient's own factor."""
    n, first, last = slots.size, plan.event[e, FIRST_EFFECT], plan.event[e, LAST_EFFECT]
    weighed = False
    for f in range(first, last):
        if effects >> (f - first) & 1:
            ratio = plan.effect_ratio[f]
            for k in range(n):
                out[k] = out[k] * ratio[row[k]] if weighed else ratio[row[k]]
            weighed = True
    for k in range(0 if weighed else n):
        out[k] = 1.0
    if plan.event[e, FACTORED]:
        factor = columns.event[OWN_FACTOR, e]
        for k in range(n):
            out[k] = out[k] * factor[slots[k]]


# ---------------------------------------------------------------------------------------------------- budgets


@inlined_bare_kernel
def scratch(columns: Columns) -> tuple[Floats, Floats, Floats, Floats, Floats, Floats]:
    """Six columns for the steps of a pass."""
    real = columns.real
    a, b, c = real[SCRATCH], real[SCRATCH + 1], real[SCRATCH + 2]
    d, e, f = real[SCRATCH + 3], real[SCRATCH + 4], real[SCRATCH + 5]
    return a, b, c, d, e, f


@bare_kernel
def begin(
    plan: Plan,
    seed: int,
    columns: Columns,
    slots: Slots,
    now: Floats,
    e: int,
    effects: int,
    entry: bool,
    everyone: bool,
) -> None:
    """A plain event comes to be at risk in these slots: draw its budget and find when it is due.

    ``now[k]`` belongs to slots[k]; ``entry`` says that it is 0 for all, ``everyone`` that the slots are all there
    are, in order. Where the event can never occur its budget is infinite.
    """
    event = plan.event[e]
    due, remaining = columns.event[DUE, e], columns.event[REMAINING, e]
    anchors, origins = columns.event[ANCHOR, e], columns.event[ORIGIN, e]
    budget, x, hazard, ratio, kept_time, since = scratch(columns)
    row, rows, chosen, time = columns.address[ROW], columns.address[ROWS], slots, now
    kept = event[LAST_EFFECT] > event[FIRST_EFFECT]
    n = slots.size
    if event[CLOCK] == RESET_CLOCK:
        for k in range(n):
            origins[slots[k]] = now[k]
    if event[CURE]:
        draw(seed, columns, slots, everyone, event[EVER_STREAM], 0, x)
        able = columns.slots[ABLE]
        probability = plan.law[e, EVER]
        for k in range(n):
            due[slots[k]] = INFINITY
        for k in range(n if kept else 0):
            remaining[slots[k]] = INFINITY
            anchors[slots[k]] = 0.0
        n = 0
        for k in range(slots.size):
            s = slots[k]
            p = probability[row[s]]
            able[n] = s
            kept_time[n] = now[k]
            n += 1 if (p >= 1.0) | (x[k] < p) else 0
        chosen, time, everyone = able[:n], kept_time, False
    if event[CLOCK] == RESET_CLOCK:
        draw_next(seed, columns, chosen, e, event[STREAM], x)
    else:
        draw(seed, columns, chosen, everyone, event[STREAM], 0, x)
    for k in range(n):
        budget[k] = -log(x[k])
    if everyone:
        rows = row
    else:
        gather(row, chosen, rows)
    weighed = effects != 0 or event[FACTORED]
    if weighed:
        ratios(plan, columns, chosen, rows, e, effects, ratio)
        for k in range(n):
            x[k] = budget[k] / ratio[k]
    else:
        for k in range(n):
            x[k] = budget[k]
    # A clock that starts now has spent nothing, a timer without delay excepted.
    if event[FAMILY] != FIXED and (event[CLOCK] == RESET_CLOCK or (entry and event[CLOCK] == FORWARD_CLOCK)):
        inverse(plan, columns, e, rows, n, x, since)
        for k in range(n):
            t = time[k] + since[k]
            since[k] = t if t > time[k] else time[k]
        for k in range(n if kept else 0):
            hazard[k] = 0.0
    else:
        for k in range(n):
            since[k] = time[k] - origins[chosen[k]]
        cumulative(plan, columns, e, rows, n, since, hazard)
        for k in range(n):
            x[k] = hazard[k] + x[k]
        inverse(plan, columns, e, rows, n, x, since)
        for k in range(n):
            t = origins[chosen[k]] + since[k]
            t = t if t > time[k] else time[k]
            since[k] = t if hazard[k] < INFINITY else time[k]
    for k in range(n if weighed else 0):
        since[k] = since[k] if ratio[k] > 0.0 else INFINITY
    if everyone:
        for k in range(n):
            due[k] = since[k]
        for k in range(n if kept else 0):
            remaining[k] = budget[k]
            anchors[k] = hazard[k]
        return
    for k in range(n):
        due[chosen[k]] = since[k]
    for k in range(n if kept else 0):
        remaining[chosen[k]] = budget[k]
        anchors[chosen[k]] = hazard[k]


@bare_kernel
def reanchor(
    plan: Plan, columns: Columns, slots: Slots, now: Floats, e: int, effects_before: int, effects_after: int
) -> None:
    """A plain event stays at risk while its effects change: where the ratio does, spend and find when it is due."""
    due, remaining = columns.event[DUE, e], columns.event[REMAINING, e]
    anchors, origins = columns.event[ANCHOR, e], columns.event[ORIGIN, e]
    left, x, hazard, ratio, before, since = scratch(columns)
    row, rows, n = columns.address[ROW], columns.address[ROWS], slots.size
    gather(row, slots, rows)
    ratios(plan, columns, slots, rows, e, effects_before, before)
    ratios(plan, columns, slots, rows, e, effects_after, ratio)
    for k in range(n):
        x[k] = now[k] - origins[slots[k]]
    cumulative(plan, columns, e, rows, n, x, hazard)
    gather(remaining, slots, left)
    gather(anchors, slots, since)
    for k in range(n):
        grown = hazard[k] - since[k]
        rest = left[k] - before[k] * grown
        rest = rest if rest > 0.0 else 0.0
        rest = rest if (grown > 0.0) & (before[k] > 0.0) else left[k]
        left[k] = rest if left[k] < INFINITY else INFINITY
    for k in range(n):
        x[k] = hazard[k] + left[k] / ratio[k]
    inverse(plan, columns, e, rows, n, x, since)
    for k in range(n):
        t = origins[slots[k]] + since[k]
        t = t if t > now[k] else now[k]
        t = t if hazard[k] < INFINITY else now[k]
        since[k] = t if (left[k] < INFINITY) & (ratio[k] > 0.0) else INFINITY
    for k in range(n):
        if before[k] != ratio[k]:
            due[slots[k]] = since[k]
            remaining[slots[k]] = left[k]
            anchors[slots[k]] = hazard[k]
