"""Counts over the pooled patients of all studies: compiled walks of a log, and the arrays that they add to.

Sums of real numbers are counts, too: whole numbers, and 2^-32 of what is left. So no sum depends on the order of its
terms, nor on how patients were cut into blocks, nor on who counted them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulator.kernels.compilation import kernel
from simulator.kernels.elementary import float_from_bits
from simulator.study.survival import Keys
from simulator.tables import NONE, Flags, Floats, Integers
from simulator.trajectories import Log

PER_UNIT = 2.0**32


class Events(NamedTuple):
    """Which codes of a log count as what. K codes, I statistics of events: deaths by cause stand after the others."""

    entered: Integers  # (K,) state that a code leads to, NONE for one that changes no state
    absorbing: Flags  # (S,)
    initial_state: int
    slot: Integers  # (K,) statistic that a code belongs to, NONE for none
    event_of: Integers  # (I,) event of which a statistic takes the first observed time, NONE for deaths
    width: float  # days of a bin of times, a power of two


class EventCounts(NamedTuple):
    """What happened to patients. C groups of arm and stratum, T times of the grid; the last place is after the grid."""

    patients: Integers  # (C,)
    dead: Integers  # (C, T + 1)
    changes: Integers  # (C, S, T + 1) of the number in a state
    happened: Integers  # (I, C, T + 1)
    true: Integers  # (I, C, bins) first times
    observed: Integers  # (I, C, bins) first observed times
    lived: Integers  # (C, 2, 2) time lived until the end of the grid, and its square


class CourseCounts(NamedTuple):
    """What was given to patients and what they suffered."""

    given: Integers  # (C, numbers of administrations)
    treated: Integers  # (C,) those given any
    on_course: Integers  # (C, T + 1) patients whose course begins less those whose course ends there
    harmed: Integers  # (C, terms + 1) who ever had a term, then any term that counts
    spent: Integers  # (C, 2, 2) time from the first administration to the end of the course, and its square


class RiskCounts(NamedTuple):
    """Patients of single studies under observation, summed over studies: (G, T) of G groups that are shown."""

    at_risk: Integers
    at_risk_square: Integers


@kernel
def count_events(
    log: Log,
    cell: Integers,
    events: Events,
    death: Floats,
    died: Flags,
    first: Floats,
    grid: Floats,
    counts: EventCounts,
) -> None:
    """Add patients to counts by group of what happened to them until each time of the grid.

    ``death`` (N,), days, +inf if not before the horizon; ``died`` (N,): it was seen; ``first`` (K, N): when each code
    was first seen; ``cell`` (N,): the group of each patient.
    """
    slot, entered, absorbing, event_of = events.slot, events.entered, events.absorbing, events.event_of
    patients, dead, changes, happened, true, observed, lived = counts
    offset, log_time, log_code = log.offset, log.time, log.code
    initial_state = events.initial_state
    n_times, n_bins = grid.size, true.shape[2]
    n_slots = event_of.size
    per_bin = 1.0 / events.width  # exact: a width is a power of two
    per_day = (n_times - 1) / grid[n_times - 1] if n_times > 1 else 0.0
    last = np.full(n_slots, NONE)  # patient whose first event of each kind has been counted
    for i in range(offset.size - 1):
        c = cell[i]
        patients[c] += 1
        state, killed = initial_state, NONE
        for row in range(offset[i], offset[i + 1]):
            code = log_code[row]
            kind = slot[code]
            to = entered[code]
            if kind == NONE and to == NONE:
                continue
            time = log_time[row]
            place = place_of(time, grid, per_day)
            if to != NONE:
                if to != state:
                    changes[c, state, place] -= 1
                    changes[c, to, place] += 1
                    state = to
                if absorbing[to]:
                    killed = kind
                    continue
            if kind != NONE and last[kind] != i:
                last[kind] = i
                happened[kind, c, place] += 1
                true[kind, c, min(int(time * per_bin), n_bins - 1)] += 1
        if killed != NONE and death[i] < np.inf:
            place = place_of(death[i], grid, per_day)
            bin_ = min(int(death[i] * per_bin), n_bins - 1)
            dead[c, place] += 1
            happened[killed, c, place] += 1
            true[killed, c, bin_] += 1
            if died[i]:
                observed[killed, c, bin_] += 1
        for kind in range(n_slots):
            if event_of[kind] != NONE:
                time = first[event_of[kind], i]
                if time < np.inf:
                    observed[kind, c, min(int(time * per_bin), n_bins - 1)] += 1
        time = min(death[i], grid[n_times - 1])
        add(lived[c, 0], time)
        add(lived[c, 1], time * time)


@kernel
def count_course(
    log: Log,
    cell: Integers,
    codes: tuple[int, int],
    counted: Flags,
    death: Floats,
    horizon: Floats,
    grid: Floats,
    counts: CourseCounts,
) -> None:
    """Add patients to counts by group of their course.

    ``codes`` of an administration, which those of terms follow, and of the end of the course; ``counted``
    (terms,): which terms "any adverse event" counts; ``death`` and ``horizon`` (N,), days.
    """
    given_code, end_code = codes
    given, treated, on_course, harmed, spent = counts
    offset, log_time, log_code = log.offset, log.time, log.code
    n_times = grid.size
    per_day = (n_times - 1) / grid[n_times - 1] if n_times > 1 else 0.0
    n_terms = counted.size
    number = np.zeros(end_code + 1, np.int64)  # of each code, in one patient
    first = np.empty(end_code + 1)
    for i in range(offset.size - 1):
        c = cell[i]
        number[:] = 0
        for row in range(offset[i + 1] - 1, offset[i] - 1, -1):
            number[log_code[row]] += 1
            first[log_code[row]] = log_time[row]
        any_term = 0
        for term in range(n_terms):
            had = min(number[given_code + 1 + term], 1)
            harmed[c, term] += had
            any_term |= had & counted[term]
        harmed[c, n_terms] += any_term
        given[c, number[given_code]] += 1
        if number[given_code] > 0:
            treated[c] += 1
            start, end = first[given_code], min(death[i], horizon[i])
            if number[end_code] > 0:
                end = min(end, first[end_code])
            on_course[c, place_of(start, grid, per_day)] += 1
            on_course[c, place_of(end, grid, per_day)] -= 1
            add(spent[c, 0], end - start)
            add(spent[c, 1], (end - start) * (end - start))


@kernel
def follow_group(key: Keys, size: Integers, grid: Floats, n_curves: int, at_risk: Integers, square: Integers) -> Floats:
    """Follow a group (`survival.Ordered`) along the grid; the first curves (n_curves, T) are returned.

    A curve is the product-limit estimate, Π (1 − dᵢ/nᵢ) over times up to each of the grid, NaN in an empty group
    and, unless it has reached 0, beyond all follow-up.
    ``at_risk`` and ``square`` (T,): the number of members whose time is not before it, and its square, are added
    for each study.
    """
    n_times = grid.size
    per_day = (n_times - 1) / grid[n_times - 1] if n_times > 1 else 0.0
    curves = np.empty((n_curves, n_times))
    here = np.empty(n_times, np.int64)
    for row in range(size.size):
        n = size[row]
        estimate = 1.0 if n > 0 else np.nan
        start, known, end = 0, 0, 0
        for i in range(n):
            time = float_from_bits(key[row, i] >> np.uint64(1))
            place = place_of(time, grid, per_day)
            if row < n_curves:
                curves[row, known:place] = estimate
                known = max(known, place)
            stop = place + 1 if place < n_times and grid[place] == time else place
            here[start:stop] = n - i
            end = stop
            start = max(start, stop)
            if key[row, i] & np.uint64(1) == np.uint64(0):
                estimate *= (n - i - 1) / (n - i)
        if row < n_curves:
            curves[row, known:end] = estimate
            curves[row, end:] = 0.0 if estimate == 0.0 else np.nan
        here[start:] = 0
        for t in range(n_times):
            at_risk[t] += here[t]
            square[t] += here[t] * here[t]
    return curves


@kernel
def histogram_quantiles(counts: Integers, cells: Integers, levels: Floats, width: float) -> tuple[Floats, Floats]:
    """Quantiles of binned times of groups, lower edge of the bin, and their standard errors, each (I, G, levels).

    ``counts`` (I, C, bins); ``cells`` (G, C): which cells a group has. NaN for a group that nothing happened in.
    Error: half the distance between the quantiles one binomial standard error to either side (Woodruff 1952).
    """
    n_kinds, n_cells, n_bins = counts.shape
    values = np.full((n_kinds, len(cells), levels.size), np.nan)
    errors = np.full((n_kinds, len(cells), levels.size), np.nan)
    cumulative, places = np.empty((n_cells, n_bins), np.int64), np.empty(3)
    for kind in range(n_kinds):
        for c in range(n_cells):
            total = 0
            for bin_ in range(n_bins):
                total += counts[kind, c, bin_]
                cumulative[c, bin_] = total
        for group in range(len(cells)):
            n = 0
            for c in range(n_cells):
                n += cells[group, c] * cumulative[c, n_bins - 1]
            if n == 0:
                continue
            for q in range(levels.size):
                level = levels[q]
                step = np.sqrt(level * (1.0 - level) / n)
                for side in range(3):
                    rank = min(max(np.ceil(n * (level + (side - 1) * step)), 1.0), n)
                    low, high = 0, n_bins - 1  # first bin by which so many are reached
                    while low < high:
                        middle = (low + high) >> 1
                        reached = 0
                        for c in range(n_cells):
                            reached += cells[group, c] * cumulative[c, middle]
                        if reached < rank:
                            low = middle + 1
                        else:
                            high = middle
                    places[side] = width * low
                values[kind, group, q] = places[1]
                errors[kind, group, q] = (places[2] - places[0]) / 2.0
    return values, errors


@kernel
def place_of(time: float, grid: Floats, per_day: float) -> int:
    """First place of the grid that is not before a time, the size of the grid if all are; a guess and a look."""
    if time > grid[grid.size - 1]:
        return grid.size
    at = min(int(time * per_day), grid.size - 1)
    while grid[at] < time:
        at += 1
    while at > 0 and grid[at - 1] >= time:
        at -= 1
    return at


@kernel
def add(counts: NDArray[np.int64], value: float) -> None:
    """Add a number to a sum: ``counts[0]`` whole ones and ``counts[1]`` times 2^-32, rounded."""
    whole = np.floor(value)
    counts[0] += int(whole)
    counts[1] += int(np.rint((value - whole) * PER_UNIT))


def real(counts: Integers) -> Floats:
    """Sums (…,) of counts (…, 2) as `add` makes them, each rounded once."""
    flat = counts.reshape(-1, 2).tolist()
    sums = np.array([((whole << 32) + rest) / 2**32 for whole, rest in flat], dtype=np.float64)
    return sums.reshape(counts.shape[:-1])
