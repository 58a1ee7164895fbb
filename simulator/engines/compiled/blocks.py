"""Patients of a call, block after block."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulator.engines.compiled.columns import CELL, END, FULL, PATIENT, REPLICATE, ROW, Columns, RaceLog, VisitLog
from simulator.engines.compiled.configurations import clear
from simulator.engines.compiled.output import Rows, summarise_block, write_block
from simulator.engines.compiled.plan import (
    ANY_COURSE,
    FEEDBACK,
    HORIZON,
    N_CELLS,
    N_COVARIATES,
    RANDOM_ALLOCATION,
    Plan,
)
from simulator.engines.compiled.race import run_race
from simulator.engines.compiled.visits import count_visits
from simulator.kernels.compilation import bare_kernel, entry_kernel
from simulator.kernels.quantiles import quantile
from simulator.kernels.references import by_reference
from simulator.kernels.rng import STREAMS, uniform
from simulator.tables import Floats, Integers

ALLOCATION = STREAMS["cohort.allocation"]
DONE, BROKEN, LOG_FULL, VISITS_FULL, ROWS_FULL = 0, 1, 2, 3, 4
NEXT, FILLED = 0, 1  # entries of `progress`: the next patient, rows filled


@by_reference
class Call(NamedTuple):
    """Whom a call simulates: of each parameter set (in order) each replicate, of each replicate a range of patients."""

    sets: Integers  # (s,) rows of the tables
    size: Integers  # (s,) patients of each replicate
    base: Integers  # (s + 1,) first patient of each set, counted through the call
    replicates: Integers  # (r,)
    first: int  # number of the first patient of each replicate
    sequence: Integers  # (s,) row of `cells`
    cells: NDArray[np.int16]  # (…, patients) cells by the deficit rule


@by_reference
class PatientColumns(NamedTuple):
    """Columns of the patients of a task, in order."""

    parameter_set: Integers
    replicate: Integers
    patient: Integers
    cell: Integers
    covariates: Floats  # (n, X)
    length: Integers  # rows of each history


@entry_kernel
def deficit_cells(share: Floats, counts: Integers, first: int, cells: NDArray[np.int16]) -> None:
    """Cells of patients ``first`` and following: always the one furthest below its share.

    ``counts`` (C,) are the patients that each cell has had before, and become those it has had after.
    """
    for i in range(cells.size):
        best, most = 0, share[0] * (first + i + 1) - counts[0]
        for c in range(1, share.size):
            deficit = share[c] * (first + i + 1) - counts[c]
            if deficit > most:
                best, most = c, deficit
        counts[best] += 1
        cells[i] = best


@entry_kernel
def run_blocks(
    plan: Plan,
    seed: int,
    call: Call,
    start: int,
    stop: int,
    block: int,
    keep: bool,
    columns: Columns,
    log: RaceLog,
    visits: VisitLog,
    rows: Rows,
    people: PatientColumns,
    first: Floats,
    count: NDArray[np.int32],
    fault: Integers,
    progress: Integers,
) -> int:
    """Simulate patients of the call from ``progress[NEXT]`` to ``stop``, ``block`` at a time.

    With ``keep`` whole histories go into ``rows`` and ``people``, from ``start`` on; without, first times and counts
    go into columns start to stop of ``first`` and ``count``. Where something has not room enough it returns which,
    and goes on from there when called again with more; otherwise DONE, or BROKEN: see ``fault``.
    """
    clear(columns)
    while progress[NEXT] < stop:
        begin, n = progress[NEXT], min(block, stop - progress[NEXT])
        fill(plan, seed, call, begin, n, columns)
        used = run_race(plan, seed, columns, n, log, keep, fault)
        if used == FULL:
            return LOG_FULL
        if fault[0] >= 0:
            s = fault[0]
            fault[2], fault[3], fault[4] = (
                columns.address[ROW, s] // plan.fact[N_CELLS],
                columns.address[REPLICATE, s],
                columns.address[PATIENT, s],
            )
            return BROKEN
        counted = plan.fact[ANY_COURSE] and not plan.fact[FEEDBACK]
        if counted and not count_visits(plan, seed, columns, n, visits, keep):
            return VISITS_FULL
        if keep:
            at = begin - start
            lengths = people.length[at : at + n]
            filled = write_block(plan, columns, n, log, used, visits, rows, progress[FILLED], lengths)
            if filled == FULL:
                return ROWS_FULL
            progress[FILLED] = filled
            for s in range(n):
                people.parameter_set[at + s] = columns.address[ROW, s] // plan.fact[N_CELLS]
                people.replicate[at + s] = columns.address[REPLICATE, s]
                people.patient[at + s] = columns.address[PATIENT, s]
                people.cell[at + s] = columns.address[CELL, s]
            for x in range(plan.fact[N_COVARIATES]):
                for s in range(n):
                    people.covariates[at + s, x] = columns.covariate[x, s]
        else:
            summarise_block(plan, columns, n, first, count, begin)
        progress[NEXT] = begin + n
    return DONE


@bare_kernel
def fill(plan: Plan, seed: int, call: Call, begin: int, n: int, columns: Columns) -> None:
    """Put the patients ``begin`` and following of a call into the slots: numbers, cells, covariates, horizon."""
    n_cells = plan.fact[N_CELLS]
    which = 0
    while call.base[which + 1] <= begin:
        which += 1
    replicate = (begin - call.base[which]) // call.size[which]
    patient = (begin - call.base[which]) % call.size[which]
    done = 0
    while done < n:
        size = min(n - done, call.size[which] - patient)
        b, number, sequence = call.sets[which], call.replicates[replicate], call.cells[call.sequence[which]]
        # Slices: numba would ask of a sum whether it is negative, and store one by one.
        patients, replicates = (
            columns.address[PATIENT, done : done + size],
            columns.address[REPLICATE, done : done + size],
        )
        rows, cells = columns.address[ROW, done : done + size], columns.address[CELL, done : done + size]
        for k in range(size):
            patients[k] = call.first + patient + k
            replicates[k] = number
        if plan.fact[RANDOM_ALLOCATION]:
            for k in range(size):
                u = uniform(seed, call.first + patient + k, number, ALLOCATION, 0)
                cell = 0
                while u >= plan.allocation[b, cell]:
                    cell += 1
                cells[k] = cell
        elif n_cells == 1:
            for k in range(size):
                cells[k] = 0
        else:
            following = sequence[patient : patient + size]
            for k in range(size):
                cells[k] = following[k]
        for k in range(size):
            rows[k] = b * n_cells + cells[k]
        done += size
        patient += size
        if patient == call.size[which]:
            patient = 0
            replicate += 1
        while which < call.sets.size and replicate * call.size[which] == call.base[which + 1] - call.base[which]:
            replicate = 0
            which += 1
    row = columns.address[ROW]
    end = columns.real[END]
    for s in range(n):
        end[s] = plan.number[HORIZON, row[s]]
    for x in range(plan.fact[N_COVARIATES]):
        code, stream = plan.covariate_of[0, x], plan.covariate_of[1, x]
        for s in range(n):
            u = uniform(seed, columns.address[PATIENT, s], columns.address[REPLICATE, s], stream, 0)
            p0, p1, p2 = plan.covariate[x, 0, row[s]], plan.covariate[x, 1, row[s]], plan.covariate[x, 2, row[s]]
            columns.covariate[x, s] = quantile(code, u, p0, p1, p2)
