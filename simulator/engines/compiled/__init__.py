"""The compiled engine: the reference's rules over blocks of patients as arrays.

Same tables in, same trajectories out, bit for bit, by another road: no calendar, but the minimum over what each patient
is at risk of (`race`); no patient at a time, but columns of those to whom the same thing happens (`passes`), where an
event is plain, and one at a time where it is not (`clocks`). A model is data (`plan`): one compilation serves every
model and every parameter value. Patients who wait for each other are SimPy's work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise
from threading import Lock
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from simulator.engines.compiled.blocks import (
    BROKEN,
    FILLED,
    LOG_FULL,
    NEXT,
    VISITS_FULL,
    Call,
    PatientColumns,
    deficit_cells,
    run_blocks,
)
from simulator.engines.compiled.columns import BEST, empty_log, empty_visits, workplace
from simulator.engines.compiled.output import Rows, empty_rows, more_rows
from simulator.engines.compiled.plan import plan_of, too_large
from simulator.errors import SimulationError
from simulator.kernels import compilation
from simulator.tables import Floats, Integers, ModelTables
from simulator.trajectories import Summaries, Trajectories, counted_codes

BLOCK = 2_048
"""Patients of a block: their columns stay in the processor's cache."""

TASK = 16
"""Most blocks that a thread takes at a time."""

ROOM = 32
"""Rows of a history that there is room for at first: memory that is not written to is not taken."""

OnProgress = Callable[[int], None]
T = TypeVar("T")


def simulate(
    model: ModelTables,
    *,
    seed: int,
    replicates: range,
    parameter_sets: range | None = None,
    patients: range | None = None,
    threads: int = 1,
    block: int = BLOCK,
    progress: OnProgress | None = None,
) -> Trajectories:
    """Simulate every patient of the given replicates and parameter sets.

    Parameters
    ----------
    seed : 0 ≤ seed < 2**64, the key of every draw.
    replicates : replicate numbers, a range within [0, 2**32).
    parameter_sets : rows of the tables; all of them if None.
    patients : patients of each replicate, a contiguous range; all of them if None.
    threads : at work at a time. No result depends on it.
    block : patients simulated together; no result depends on it.
    progress : called with the number of patients finished since the last call.

    Returns
    -------
    Trajectories ordered by (parameter set, replicate, patient).

    Raises
    ------
    SimulationError
        When a recurrent event exceeds its declared maximum.
    """
    work = _Work(model, seed, replicates, parameter_sets, patients, block)
    people, rows = work.histories(threads, progress)
    of_people = people._asdict()
    offset = np.zeros(work.n + 1, dtype=np.int64)
    np.cumsum(of_people.pop("length"), out=offset[1:])
    of_rows = {f"log_{name}": column for name, column in rows._asdict().items()}
    return Trajectories(model=model, offset=offset, **of_people, **of_rows)


def summarise(
    model: ModelTables,
    *,
    seed: int,
    replicates: range,
    parameter_sets: range | None = None,
    patients: range | None = None,
    threads: int = 1,
    block: int = BLOCK,
    progress: OnProgress | None = None,
) -> Summaries:
    """Simulate likewise, and keep of each patient when each event first happened and how often everything did."""
    work = _Work(model, seed, replicates, parameter_sets, patients, block)
    first = np.empty((len(model.events), work.n))
    count = np.empty((len(counted_codes(model)), work.n), dtype=np.int32)
    work.run(threads, progress, lambda start, stop: work.summaries(start, stop, first, count))
    return Summaries(model, first, count)


def is_compiled() -> bool:
    """Whether the kernels are there; if not, the first call takes about a minute, once a machine."""
    return compilation.is_compiled(run_blocks)


class _Work:
    """One call: whom it simulates, cut into tasks of whole blocks."""

    def __init__(
        self,
        model: ModelTables,
        seed: int,
        replicates: range,
        parameter_sets: range | None,
        patients: range | None,
        block: int,
    ) -> None:
        self.model, self.block = model, block
        self.seed: Any = np.uint64(seed)  # numba takes a Python integer for a signed one
        if reason := too_large(model):
            raise SimulationError(f"the compiled engine has no room for {reason}; use engine=reference")
        self.plan = plan_of(model)
        sets = np.array(range(model.n_sets) if parameter_sets is None else parameter_sets, dtype=np.int64)
        first = 0 if patients is None else patients.start
        size = np.maximum(model.patients.n_patients[sets] - first, 0)
        if patients is not None:
            size = np.minimum(size, len(patients))
        base = np.concatenate([[0], np.cumsum(size * len(replicates))])
        sequence, cells = _cells(model, sets, first, int(size.max(initial=0)))
        self.call = Call(sets, size, base, np.array(replicates, dtype=np.int64), first, sequence, cells)
        self.n = int(base[-1])

    def run(self, threads: int, progress: OnProgress | None, task: Callable[[int, int], T]) -> list[T]:
        """Do every task, in threads, and return what they bring in order."""
        blocks = -(-self.n // self.block)
        tasks = 2 * threads if threads > 1 else 1
        step = self.block * max(1, min(TASK, -(-blocks // tasks)))
        cuts = list(pairwise([*range(0, self.n, step), self.n])) or [(0, 0)]
        if threads == 1 or len(cuts) == 1:
            return list(_counted(map(task, *zip(*cuts, strict=True)), cuts, progress))
        with ThreadPoolExecutor(min(threads, len(cuts))) as pool:
            return list(_counted(pool.map(task, *zip(*cuts, strict=True)), cuts, progress))

    def histories(self, threads: int, progress: OnProgress | None) -> tuple[PatientColumns, Rows]:
        """Return all patients, and their rows one after another: one thread writes them where they stay."""
        people = _people(self.n, len(self.model.patients.covariates))
        whole = _Histories(0, self.n, min(self.n, TASK * self.block)) if threads == 1 else None

        def write(start: int, stop: int) -> _Histories:
            histories = whole or _Histories(start, stop, stop - start)
            of_task = PatientColumns._make(column[start:stop] for column in people)
            self._run_blocks(start, stop, True, histories, of_task, *_NO_SUMMARIES)
            return histories

        parts = self.run(threads, progress, write)
        if whole or len(parts) == 1:
            return people, parts[0].written()
        return people, Rows._make(map(np.concatenate, zip(*(part.written() for part in parts), strict=True)))

    def summaries(self, start: int, stop: int, first: Floats, count: NDArray[np.int32]) -> None:
        """Write first times and counts of some patients of the call."""
        self._run_blocks(start, stop, False, _Histories(start, stop, 0), _people(0, 0), first, count)

    def _run_blocks(
        self,
        start: int,
        stop: int,
        keep: bool,
        histories: _Histories,
        people: PatientColumns,
        first: Floats,
        count: NDArray[np.int32],
    ) -> None:
        size = min(self.block, max(stop - start, 1))
        fault, done = np.full(5, -1, dtype=np.int64), np.array([start, histories.filled], dtype=np.int64)
        kept = (people, first, count, fault, done)
        with workplace(self.plan, size) as work:
            while status := run_blocks(
                self.plan,
                self.seed,
                self.call,
                start,
                stop,
                size,
                keep,
                work.columns,
                work.log,
                work.visits,
                histories.rows,
                *kept,
            ):
                if status == BROKEN:
                    day = float(work.columns.real[BEST, 0])
                    raise SimulationError(self._fault(*fault[1:].tolist(), day=day))
                if status == LOG_FULL:
                    work.log = empty_log(2 * work.log.code.size)
                elif status == VISITS_FULL:
                    work.visits = empty_visits(2 * work.visits.harmed.shape[0], size)
                else:
                    histories.filled = int(done[FILLED])
                    histories.grow(int(done[NEXT]))
        histories.filled = int(done[FILLED])

    def _fault(self, event: int, parameter_set: int, replicate: int, patient: int, *, day: float) -> str:
        return (
            f"event {self.model.events[event]!r} happened more than its declared maximum of "
            f"{self.model.event_maximum[event]} times (parameter set {parameter_set}, replicate {replicate}, "
            f"patient {patient}, day {day:g})"
        )


class _Histories:
    """Rows of the histories of patients ``first`` to ``last`` of a call, written one patient after another."""

    def __init__(self, first: int, last: int, room: int) -> None:
        self.first, self.last = first, last
        self.rows, self.filled = empty_rows(ROOM * room), 0

    def grow(self, patient: int) -> None:
        """Make room for as many rows as it will be if patients from this one on have as many as those before."""
        done = max(patient - self.first, 1)
        self.rows = more_rows(self.rows, self.filled, int(1.05 * self.filled * (self.last - self.first) / done))

    def written(self) -> Rows:
        return Rows._make(column[: self.filled] for column in self.rows)


_NO_SUMMARIES = (np.empty((0, 0)), np.empty((0, 0), dtype=np.int32))


def _people(n: int, n_covariates: int) -> PatientColumns:
    a, b, c, d, e = (np.empty(n, dtype=np.int64) for _ in range(5))
    return PatientColumns(a, b, c, d, np.empty((n, n_covariates)), e)


def _counted(results: Iterator[T], cuts: list[tuple[int, int]], progress: OnProgress | None) -> Iterator[T]:
    for result, (start, stop) in zip(results, cuts, strict=True):
        if progress is not None:
            progress(stop - start)
        yield result


# ------------------------------------------------------------------------------------------------- allocation


def _cells(model: ModelTables, sets: Integers, first: int, size: int) -> tuple[Integers, NDArray[np.int16]]:
    """Cells of patients ``first`` to ``first + size`` by the deficit rule: one sequence for equal shares."""
    if model.n_cells == 1 or not size:
        return np.zeros(sets.size, dtype=np.int64), np.zeros((1, 1), dtype=np.int16)
    shares, sequence = np.unique(model.patients.share[sets], axis=0, return_inverse=True)
    cells = [_deficits(share.tobytes()).cells(first, first + size) for share in shares]
    return sequence.ravel().astype(np.int64), cells[0][None] if len(cells) == 1 else np.stack(cells)


class _Deficits:
    """The cell of every patient under one mix: the first ones are kept, others found from counts kept now and then."""

    EVERY = 65_536
    REMEMBERED = 2**20

    def __init__(self, share: Floats) -> None:
        self.share = share
        self.known = [np.zeros(share.size, dtype=np.int64)]
        self.first = np.empty(0, dtype=np.int16)
        self.lock = Lock()

    def cells(self, start: int, stop: int) -> NDArray[np.int16]:
        """Cells of patients start … stop − 1."""
        with self.lock:
            if stop <= self.REMEMBERED:
                if stop > self.first.size:
                    n = min(max(stop, 2 * self.first.size), self.REMEMBERED)
                    self.first = self._computed(0, n)
                return self.first[start:stop]
            return self._computed(start, stop)

    def _computed(self, start: int, stop: int) -> NDArray[np.int16]:
        scratch = np.empty(self.EVERY, dtype=np.int16)
        while len(self.known) <= start // self.EVERY:
            counts = self.known[-1].copy()
            deficit_cells(self.share, counts, (len(self.known) - 1) * self.EVERY, scratch)
            self.known.append(counts)
        counts = self.known[start // self.EVERY].copy()
        before = start % self.EVERY
        deficit_cells(self.share, counts, start - before, scratch[:before])
        cells = np.empty(stop - start, dtype=np.int16)
        deficit_cells(self.share, counts, start, cells)
        return cells


@lru_cache(maxsize=16)
def _deficits(share: bytes) -> _Deficits:
    return _Deficits(np.frombuffer(share))


__all__ = ["BLOCK", "is_compiled", "simulate", "summarise"]
