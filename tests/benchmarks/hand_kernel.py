"""W1 written by hand for this one model: the limit that a general engine is compared with.

Knows the structure of W1, the project's addresses and canonical arithmetic; takes only numbers from the tables.
Every patient equals the reference engine's to the bit (tests/unit/cli/test_benchmarks.py). One thread, no fastmath.

How it is made fast: blocks of `BLOCK` patients, whose columns stay in the second-level cache; one short loop a
step, so that LLVM vectorises each of them and keeps its constants in registers (two loops over half of a function
beat one loop over the whole); lists of those concerned instead of branches; Philox written out.
"""

from __future__ import annotations

from math import fabs, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulator.kernels.compilation import inlined_kernel, kernel
from simulator.kernels.elementary import (
    centre_quantile,
    exp,
    exp_of_sum,
    expm1,
    float_from_bits,
    fma,
    log,
    log_as_sum,
    normal_cdf,
    tail_quantile,
)
from simulator.tables import ModelTables

Floats = NDArray[np.float64]
Counts = NDArray[np.uint8]
Lists = NDArray[np.int32]

BLOCK = 2_048
INTERVAL = 21.0
MOST_VISITS = 11
RESPONSE, PROGRESSION, DEATH, ADVERSE_EVENT = range(4)
NEVER = np.inf

_MULTIPLIER_0 = np.uint64(0xD2511F53)
_MULTIPLIER_1 = np.uint64(0xCD9E8D57)
_WEYL_0 = np.uint64(0x9E3779B9)
_WEYL_1 = np.uint64(0xBB67AE85)
_WORD = np.uint64(0xFFFFFFFF)
_U0 = np.uint64(0)
_U12 = np.uint64(12)
_U32 = np.uint64(32)
_BITS_TWO_52 = np.uint64(0x4330000000000000)


class Numbers(NamedTuple):
    """What W1 leaves open, as the tables of a model that is declared as W1 hold it."""

    streams: NDArray[np.uint64]  # of response, progression, death, adverse event
    ever_stream: np.uint64  # of the response
    probability: Floats  # of a response, by stratum
    median: float
    sigma: float
    rate: float  # of progression
    scale: float
    shape: float
    inverse_shape: float
    hazard_ratio: float  # of death, after a response
    horizon: float
    harmed_below: np.uint64  # a draw's bits below this are an adverse event


class Outcomes(NamedTuple):
    """First times in days, +inf: never; numbers of visits and adverse events. Shape (n,) each."""

    response: Floats
    progression: Floats
    death: Floats
    visits: Counts
    adverse_events: Counts


def numbers_of(model: ModelTables) -> Numbers:
    """Read the numbers of W1 from the first parameter set of its tables."""
    median, sigma, _ = model.parameters[0, RESPONSE, 0]
    scale, shape, inverse_shape = model.parameters[0, DEATH, 0]
    harm = normal_cdf(float(model.course.term_threshold[0, 0, 0]))
    return Numbers(
        streams=np.array([*model.event_stream, *model.course.term_stream], np.uint64),
        ever_stream=np.uint64(model.ever_stream[RESPONSE]),
        probability=np.array(model.probability[0, RESPONSE]),
        median=float(median),
        sigma=float(sigma),
        rate=float(model.parameters[0, PROGRESSION, 0, 0]),
        scale=float(scale),
        shape=float(shape),
        inverse_shape=float(inverse_shape),
        hazard_ratio=float(model.effect_ratio[0, 0, 0]),
        horizon=float(model.horizon[0]),
        # (bits >> 12) + ½ < harm·2^52, solved for the bits
        harmed_below=np.uint64(int(np.ceil(harm * 2.0**52 - 0.5)) << 12),
    )


def simulate(numbers: Numbers, *, seed: int, replicate: int, patients: range) -> Outcomes:
    """Simulate W1; strata alternate, as shares of one half do."""
    n = len(patients)
    outcomes = Outcomes(np.empty(n), np.empty(n), np.empty(n), np.empty(n, np.uint8), np.empty(n, np.uint8))
    fill(numbers, np.uint64(seed), np.uint64(replicate), patients.start, outcomes)
    return outcomes


# -------------------------------------------------------------------------------------------------- draws


@inlined_kernel
def _round(a, b, c, d, k0, k1):
    product_0 = (a & _WORD) * _MULTIPLIER_0
    product_1 = (c & _WORD) * _MULTIPLIER_1
    return (product_1 >> _U32) ^ b ^ k0, product_1, (product_0 >> _U32) ^ d ^ k1, product_0


@inlined_kernel
def draw_bits(seed, patient, replicate, stream, occurrence):
    """First two words of `rng.philox4x32`, low | high·2^32, with the ten rounds written out."""
    k0 = seed & _WORD
    k1 = seed >> _U32
    a, b, c, d = _round(patient, replicate, stream, occurrence, k0, k1)
    k0, k1 = k0 + _WEYL_0, k1 + _WEYL_1
    a, b, c, d = _round(a, b, c, d, k0, k1)
    k0, k1 = k0 + _WEYL_0, k1 + _WEYL_1
    a, b, c, d = _round(a, b, c, d, k0, k1)
    k0, k1 = k0 + _WEYL_0, k1 + _WEYL_1
    a, b, c, d = _round(a, b, c, d, k0, k1)
    k0, k1 = k0 + _WEYL_0, k1 + _WEYL_1
    a, b, c, d = _round(a, b, c, d, k0, k1)
    k0, k1 = k0 + _WEYL_0, k1 + _WEYL_1
    a, b, c, d = _round(a, b, c, d, k0, k1)
    k0, k1 = k0 + _WEYL_0, k1 + _WEYL_1
    a, b, c, d = _round(a, b, c, d, k0, k1)
    k0, k1 = k0 + _WEYL_0, k1 + _WEYL_1
    a, b, c, d = _round(a, b, c, d, k0, k1)
    k0, k1 = k0 + _WEYL_0, k1 + _WEYL_1
    a, b, c, d = _round(a, b, c, d, k0, k1)
    k0, k1 = k0 + _WEYL_0, k1 + _WEYL_1
    product_1 = (c & _WORD) * _MULTIPLIER_1
    return ((product_1 << _U32) | (product_1 >> _U32)) ^ ((b ^ k0) & _WORD)


@inlined_kernel
def _uniform(bits):
    """As `rng.uniform_from_words`."""
    return (float_from_bits((bits >> _U12) | _BITS_TWO_52) - 4503599627370496.0 + 0.5) * 2.220446049250313e-16


@kernel
def draw(seed, first, replicate, stream, u):
    for i in range(u.size):
        u[i] = _uniform(draw_bits(seed, first + np.uint64(i), replicate, stream, _U0))


@kernel
def draw_listed(seed, first, replicate, stream, listed, u):
    for i in range(u.size):
        u[i] = _uniform(draw_bits(seed, first + np.uint64(listed[i]), replicate, stream, _U0))


# -------------------------------------------------------------------------------------------------- races


@kernel
def exponential_times(u, rate, time):
    """u becomes the budget −log u."""
    for i in range(u.size):
        u[i] = -log(u[i])
    for i in range(u.size):
        time[i] = u[i] / rate


@kernel
def weibull_times(budget, scale, shape, inverse_shape, high, low, time):
    """`hazards.weibull_inverse` of a budget > 0, its two halves a loop each."""
    for i in range(budget.size):
        log_high, log_low = log_as_sum(budget[i])
        product = log_high * inverse_shape
        high[i] = product
        low[i] = (fma(-product, shape, log_high) + log_low) * inverse_shape
    for i in range(budget.size):
        time[i] = scale * exp_of_sum(high[i], low[i])


@kernel
def weibull_hazards(time, scale, shape, high, low, hazard):
    """`hazards.weibull_cumulative` of a time > 0, likewise."""
    for i in range(time.size):
        log_high, log_low = log_as_sum(time[i] / scale)
        product = shape * log_high
        high[i] = product
        low[i] = fma(shape, log_high, -product) + shape * log_low
    for i in range(time.size):
        hazard[i] = exp_of_sum(high[i], low[i])


@kernel
def log_normal_times(u, median, sigma, q, r, time):
    """`hazards.log_normal_inverse` of the budget −log u, in steps; a budget from a draw is below 37."""
    n = u.size
    for i in range(n):
        u[i] = -log(u[i])
    for i in range(n):
        negative_lower = expm1(-u[i])
        q[i] = -(0.5 + negative_lower)
        r[i] = -negative_lower
    for i in range(n):
        lower = -log(r[i])
        r[i] = sqrt(u[i] if q[i] > 0.0 else lower)
    for i in range(n):
        r[i] = tail_quantile(r[i])
    for i in range(n):
        tail = r[i] if q[i] > 0.0 else -r[i]
        r[i] = centre_quantile(q[i]) if fabs(q[i]) <= 0.425 else tail
    for i in range(n):
        time[i] = median * exp(sigma * r[i])


@kernel
def spent_afresh(budget, hazard, ratio):
    """Cumulative hazard of death at which the rest of the budget is spent under the new ratio; into budget."""
    for i in range(budget.size):
        remaining = budget[i] - hazard[i]
        remaining = remaining if remaining > 0.0 else 0.0
        budget[i] = hazard[i] + remaining / ratio


@kernel
def settle_response(time, progression, death, later_death, horizon):
    """A response comes first or never; from it on death is the later one. Into time and death."""
    for i in range(time.size):
        t = time[i]
        first = (t <= progression[i]) & (t <= death[i]) & (t < horizon)
        later = later_death[i] if later_death[i] > t else t
        death[i] = later if first else death[i]
        time[i] = t if first else NEVER


@kernel
def settle_end(progression, death, horizon, end):
    """First times below the horizon; `end`: when visits end."""
    for i in range(end.size):
        p = progression[i]
        d = death[i]
        p = p if p <= d else NEVER
        e = p if p < d else d
        end[i] = e if e < horizon else horizon
        progression[i] = p if p < horizon else NEVER
        death[i] = d if d < horizon else NEVER


# -------------------------------------------------------------------------------------------------- lists


@kernel
def list_below(u, even, odd, listed):
    """List the places with u below the stratum's probability; return how many."""
    n = 0
    for i in range(u.size):
        listed[n] = i
        n += np.int64(u[i] < (odd if i & 1 else even))
    return n


@kernel
def gather(column, listed, out):
    for j in range(out.size):
        out[j] = column[listed[j]]


@kernel
def scatter(values, listed, column):
    for j in range(values.size):
        column[listed[j]] = values[j]


# ------------------------------------------------------------------------------------------------- visits


@kernel
def count_visits(end, visits):
    """Count visits at 0, 21, … days before the end, at most 11."""
    for i in range(end.size):
        e = end[i]
        n = 0
        for k in range(MOST_VISITS):
            n += np.int64(e > k * INTERVAL)
        visits[i] = n


@kernel
def count_harm(numbers, seed, first, replicate, number, visits, harm):
    """Add the adverse events of one visit."""
    stream, limit, occurrence = numbers.streams[ADVERSE_EVENT], numbers.harmed_below, np.uint64(number)
    for i in range(visits.size):
        bits = draw_bits(seed, first + np.uint64(i), replicate, stream, occurrence)
        harm[i] += np.uint8((bits < limit) & (visits[i] > number))


# ------------------------------------------------------------------------------------------------- blocks


@kernel
def fill(numbers: Numbers, seed: np.uint64, replicate: np.uint64, start: int, outcomes: Outcomes) -> None:
    """Fill the outcomes of patients from `start` on, block by block."""
    scratch = np.empty((11, BLOCK))
    places = np.empty(BLOCK, np.int32)
    scale, shape, inverse_shape = numbers.scale, numbers.shape, numbers.inverse_shape
    total = outcomes.death.size
    for begin in range(0, total, BLOCK):
        n = min(BLOCK, total - begin)
        first = np.uint64(start + begin)
        u, budget, high, low, end = scratch[0, :n], scratch[1, :n], scratch[2, :n], scratch[3, :n], scratch[4, :n]
        response = outcomes.response[begin : begin + n]
        progression = outcomes.progression[begin : begin + n]
        death = outcomes.death[begin : begin + n]
        visits = outcomes.visits[begin : begin + n]
        harm = outcomes.adverse_events[begin : begin + n]

        draw(seed, first, replicate, numbers.streams[PROGRESSION], u)
        exponential_times(u, numbers.rate, progression)
        draw(seed, first, replicate, numbers.streams[DEATH], budget)
        for i in range(n):
            budget[i] = -log(budget[i])
        weibull_times(budget, scale, shape, inverse_shape, high, low, death)

        draw(seed, first, replicate, numbers.ever_stream, u)
        parity = (start + begin) & 1
        m = list_below(u, numbers.probability[parity], numbers.probability[1 - parity], places)
        listed = places[:m]
        time, budgets, hazards = scratch[5, :m], scratch[6, :m], scratch[7, :m]
        progressions, deaths, later = scratch[8, :m], scratch[9, :m], scratch[10, :m]
        draw_listed(seed, first, replicate, numbers.streams[RESPONSE], listed, u[:m])
        log_normal_times(u[:m], numbers.median, numbers.sigma, high[:m], low[:m], time)
        gather(budget, listed, budgets)
        gather(progression, listed, progressions)
        gather(death, listed, deaths)
        weibull_hazards(time, scale, shape, high[:m], low[:m], hazards)
        spent_afresh(budgets, hazards, numbers.hazard_ratio)
        weibull_times(budgets, scale, shape, inverse_shape, high[:m], low[:m], later)
        settle_response(time, progressions, deaths, later, numbers.horizon)
        response[:] = NEVER
        scatter(time, listed, response)
        scatter(deaths, listed, death)
        settle_end(progression, death, numbers.horizon, end)

        count_visits(end, visits)
        harm[:] = 0
        for number in range(MOST_VISITS):
            count_harm(numbers, seed, first, replicate, number, visits, harm)


__all__ = ["BLOCK", "Numbers", "Outcomes", "draw_bits", "numbers_of", "simulate"]
