"""When what stands in a log was seen: compiled walks, a patient after the other.

Throughout: ``entered`` is the state that each code of a log leads to, NONE for a code that changes no state. Times are
days since entry; +inf stands for never.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from simulator.kernels.compilation import kernel
from simulator.kernels.quantiles import FIXED, UNIFORM, quantile
from simulator.kernels.rng import uniform
from simulator.tables import NONE, Flags, Floats, Integers
from simulator.trajectories import Log, People

AHEAD = 16
"""Intervals between visits that are drawn at once, so that a processor's vector unit is busy."""
CHUNK = 256
"""Patients whose draws are made at once."""


class Assessments(NamedTuple):
    """When patients are assessed: the distribution of intervals by parameter set (NONE: there are no visits)."""

    code: Integers  # (B,)
    parameters: Floats  # (B, 3)
    waits: Flags  # of each code, whether it is seen at a visit


@kernel
def deaths(log: Log, entered: Integers, absorbing: Flags) -> tuple[Floats, Integers]:
    """Time of entry into an absorbing state, and the code that led there (NONE where none did), each (n,).

    Nobody leaves an absorbing state or enters one twice: it is the last state entered, looked for from the end.
    """
    offset, log_code = log.offset, log.code
    n = offset.size - 1
    time = np.full(n, np.inf)
    cause = np.full(n, NONE)
    for i in range(n):
        for row in range(offset[i + 1] - 1, offset[i] - 1, -1):
            to = entered[log_code[row]]
            if to != NONE:
                if absorbing[to]:
                    time[i], cause[i] = log.time[row], log_code[row]
                break
    return time, cause


@kernel
def seen_times(
    log: Log, entered: Integers, visits: Assessments, end: Floats, death: Floats, people: People, seed: Any, stream: int
) -> tuple[Floats, bool]:
    """Time at which each row was seen, and whether all intervals between visits were positive.

    A row whose code ``waits`` for an assessment is seen at the first visit at or after it, if that comes before
    death and the end of follow-up and the patient has not left the state it led to by then: changes at the very
    time of a visit come first. Any other row is seen when it happens, before the end of follow-up. The running
    sum of intervals is drawn from ``stream``.
    """
    offset, log_time, log_code, waits = log.offset, log.time, log.code, visits.waits
    patient, replicate, parameters = people.patient, people.replicate, visits.parameters
    seen = np.empty(log_time.size)
    intervals = np.empty(AHEAD)
    sound = True
    for i in range(offset.size - 1):
        b = people.parameter_set[i]
        code = visits.code[b]
        p0, p1, p2 = parameters[b, 0], parameters[b, 1], parameters[b, 2]
        limit = min(end[i], death[i])
        visit, n_visits = 0.0, 0
        for row in range(offset[i], offset[i + 1]):
            time = log_time[row]
            if code == NONE or not waits[log_code[row]]:
                seen[row] = time if time < end[i] else np.inf
                continue
            seen[row] = np.inf
            if not time < limit:
                continue
            if code == FIXED:
                sound = sound and p0 > 0.0
                visit = visit_on_grid(time, p0)
            else:
                while visit < time or n_visits == 0:
                    at = n_visits % AHEAD
                    if at == 0:
                        for j in range(intervals.size):  # not AHEAD: unrolled, it would be no vector loop
                            intervals[j] = uniform(seed, patient[i], replicate[i], stream, n_visits + j)
                        to_values(intervals, code, p0, p1, p2)
                    if not intervals[at] > 0.0:
                        sound = False
                        break
                    visit += intervals[at]
                    n_visits += 1
            if visit < limit:
                seen[row] = visit
                to = entered[log_code[row]]
                if to == NONE:
                    continue
                for later in range(row + 1, offset[i + 1]):
                    next_state = entered[log_code[later]]
                    if next_state != NONE and next_state != to:
                        if log_time[later] <= visit:
                            seen[row] = np.inf
                        break
    return seen, sound


@kernel
def visit_on_grid(time: float, interval: float) -> float:
    """First k·interval, k = 1, 2, …, at or after a time."""
    k: float = max(np.ceil(time / interval), 1.0)
    if k * interval < time:
        k += 1.0
    if k > 1.0 and (k - 1.0) * interval >= time:  # the quotient's rounding may be one visit out, not two
        k -= 1.0
    return k * interval


@kernel
def first_seen(log: Log, log_seen: Floats, n_codes: int) -> Floats:
    """Time at which each code was first seen, (codes, n). Of two rows of a code the first is seen no later."""
    offset, log_code = log.offset, log.code
    n = offset.size - 1
    first = np.full((n_codes, n), np.inf)
    for i in range(n):
        for row in range(offset[i + 1] - 1, offset[i] - 1, -1):
            if log_seen[row] < np.inf:
                first[log_code[row], i] = log_seen[row]
    return first


@kernel
def first_seen_of(offset: Integers, chosen: Flags, log_seen: Floats) -> Floats:
    """Time at which one of the chosen rows was first seen, (n,)."""
    first = np.full(offset.size - 1, np.inf)
    for i in range(offset.size - 1):
        for row in range(offset[i], offset[i + 1]):
            if chosen[row]:
                first[i] = min(first[i], log_seen[row])
    return first


@kernel
def value_at_first(log: Log, time: Floats, value: Floats, code: int) -> Floats:
    """Value of the first row of a code whose ``time`` is not +inf, NaN where there is none, (n,)."""
    offset, log_code = log.offset, log.code
    first = np.full(offset.size - 1, np.nan)
    for i in range(offset.size - 1):
        for row in range(offset[i], offset[i + 1]):
            if log_code[row] == code and time[row] < np.inf:
                first[i] = value[row]
                break
    return first


@kernel
def count_before(log: Log, code: int, before: Floats) -> Integers:
    """Rows of a code strictly before a time per patient, (n,)."""
    offset, log_time, log_code = log.offset, log.time, log.code
    count = np.zeros(offset.size - 1, np.int64)
    for i in range(offset.size - 1):
        n = 0
        for row in range(offset[i], offset[i + 1]):
            n += (log_code[row] == code) & (log_time[row] < before[i])
        count[i] = n
    return count


@kernel
def drawn(seed: Any, stream: int, people: People, probability: Floats) -> Flags:
    """Whether each patient's draw falls below the probability of their parameter set and group, (n,)."""
    parameter_set, replicate, patient, cell = people
    member = np.empty(patient.size, np.bool_)
    u = np.empty(CHUNK)
    for start in range(0, patient.size, CHUNK):
        size = min(CHUNK, patient.size - start)
        for j in range(size):
            u[j] = uniform(seed, patient[start + j], replicate[start + j], stream, 0)
        for j in range(size):
            member[start + j] = u[j] < probability[parameter_set[start + j], cell[start + j]]
    return member


@kernel
def drawn_values(
    seed: Any, stream: int, patient: Integers, replicate: Integers, code: int, p0: float, p1: float, p2: float
) -> Floats:
    """One draw a patient from a distribution, (n,)."""
    values = np.empty(patient.size)
    for i in range(patient.size):
        values[i] = uniform(seed, patient[i], replicate[i], stream, 0)
    to_values(values, code, p0, p1, p2)
    return values


@kernel
def to_values(u: Floats, code: int, p0: float, p1: float, p2: float) -> None:
    """Turn uniforms into values of a distribution, in place."""
    if code == UNIFORM:
        for j in range(u.size):
            u[j] = p0 + u[j] * (p1 - p0)
    else:
        for j in range(u.size):
            u[j] = quantile(code, u[j], p0, p1, p2)
