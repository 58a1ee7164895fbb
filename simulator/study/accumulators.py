"""Patients of all replicates added up block by block, in any order and from several threads at once.

Each kind of count is one record (`counts`): it begins empty, takes the patients of a block (`Counts.add`) and is merged
with the same of other patients (`Counts.merge`). `Accumulator` keeps the order of replicates for what needs it: curves
of single studies and histories of sample patients. Everything is added as integers, so that nothing depends on how
patients were cut into blocks or who counted them.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.study.counts import (
    CourseCounts,
    EventCounts,
    Events,
    RiskCounts,
    count_course,
    count_events,
    follow_group,
)
from simulator.study.observe import StudyData
from simulator.study.scope import Scope, scope_of
from simulator.study.statistics import BAND_REPLICATES, SAMPLE_PATIENTS, History, LabelledArray, Totals, conclude
from simulator.tables import Floats, Integers
from simulator.trajectories import Trajectories

_CURVES, _REPLICATES = "curves", "replicates"


@dataclass(frozen=True, eq=False)
class PooledCounts:
    """Everything that is counted of some patients."""

    events: EventCounts
    course: CourseCounts
    risk: RiskCounts

    @classmethod
    def empty(cls, scope: Scope, n_times: int) -> PooledCounts:
        """Counts of nobody, along a grid of so many times."""
        cells, groups, kinds = scope.model.n_cells, len(scope.groups), len(scope.events)
        states, terms, bins = len(scope.model.states), len(scope.model.course.terms), scope.n_bins

        def zeros(*shape: int) -> Integers:
            return np.zeros(shape, dtype=np.int64)

        events = EventCounts(
            patients=zeros(cells),
            dead=zeros(cells, n_times + 1),
            changes=zeros(cells, states, n_times + 1),
            happened=zeros(kinds, cells, n_times + 1),
            true=zeros(kinds, cells, bins),
            observed=zeros(kinds, cells, bins),
            lived=zeros(cells, 2, 2),
        )
        course = CourseCounts(
            given=zeros(cells, 1),
            treated=zeros(cells),
            on_course=zeros(cells, n_times + 1),
            harmed=zeros(cells, terms + 1),
            spent=zeros(cells, 2, 2),
        )
        return cls(events, course, RiskCounts(zeros(groups, n_times), zeros(groups, n_times)))

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> PooledCounts:
        """Counts of the arrays that `arrays` gave."""
        kept = [
            {name: np.array(arrays[name]) for name in kind._fields} for kind in (EventCounts, CourseCounts, RiskCounts)
        ]
        return cls(EventCounts(**kept[0]), CourseCounts(**kept[1]), RiskCounts(**kept[2]))

    def arrays(self) -> dict[str, Integers]:
        """Every array by its name."""
        return self.events._asdict() | self.course._asdict() | self.risk._asdict()

    def add(self, data: StudyData, scope: Scope, time: Floats) -> tuple[PooledCounts, tuple[Floats, ...]]:
        """Add the studies of a block in place; ``time`` (T,) is the grid.

        Returns the counts, of which some arrays may have grown, and the Kaplan–Meier curves (R, T) of each group in the
        studies that the band is taken from.
        """
        patients, death = data.trajectories, data.death.ravel()
        model, codes = scope.model, patients.codes
        events = Events(scope.entered, model.absorbing, model.initial_state, scope.slot, scope.event_of, scope.bin)
        seen = data.first_seen.reshape(-1, len(patients))
        count_events(patients.log, patients.cell, events, death, data.died.ravel(), seen, time, self.events)
        course, most = self.course, int(np.diff(patients.offset).max()) + 1
        if course.given.shape[1] < most:
            course = course._replace(given=np.pad(course.given, [(0, 0), (0, most - course.given.shape[1])]))
        ends = codes.administration, codes.end_of_course
        counted, horizon = data.design.counted, patients.horizon
        count_course(patients.log, patients.cell, ends, counted, death, horizon, time, course)
        n_curves = int(np.searchsorted(data.replicate, BAND_REPLICATES))
        curves = []
        for row, member in enumerate(scope.members(data)):
            group = data.ordered("survival", member)
            curves.append(follow_group(group.key, group.size, time, n_curves, *(each[row] for each in self.risk)))
        return PooledCounts(self.events, course, self.risk), tuple(curves)

    def merge(self, other: PooledCounts) -> PooledCounts:
        """Return the counts of both."""
        most = max(self.course.given.shape[1], other.course.given.shape[1])
        courses = [
            each.course._replace(given=np.pad(each.course.given, [(0, 0), (0, most - each.course.given.shape[1])]))
            for each in (self, other)
        ]
        return PooledCounts(
            EventCounts(*map(np.add, self.events, other.events)),
            CourseCounts(*map(np.add, *courses)),
            RiskCounts(*map(np.add, self.risk, other.risk)),
        )


@dataclass(frozen=True, eq=False)
class Part:
    """What a block has beyond its counts: its studies, and what is kept of single studies and patients."""

    replicate: Integers  # (R,)
    curves: tuple[Floats, ...]  # of each group: estimates (R, T) of those studies that the band is taken from
    histories: tuple[History, ...]


class Accumulator:
    """Adds up blocks of whole replicates of one parameter set.

    `count` counts a block, in any order and from several threads at once; `append` takes what it returns, in
    ascending order of replicates. `add` does both, `merge` goes on from what another accumulator has added.

    Parameters
    ----------
    time : (T,) ascending days from 0, the grid of curves; the last is where restricted means end.
    """

    def __init__(self, time: Floats, *, n_sample: int = SAMPLE_PATIENTS) -> None:
        self.time = np.asarray(time, dtype=np.float64)
        self.n_sample = n_sample
        self._scope: Scope | None = None
        self._lock = threading.Lock()
        self._idle: list[PooledCounts] = []  # one for each thread that has counted at the same time
        self._last_replicate = -1
        self._n_replicates = 0
        self._curves: list[tuple[Floats, ...]] = []
        self._histories: list[History] = []

    def merge(self, sums: Mapping[str, NDArray[Any]]) -> None:
        """Go on after the replicates that `sums` of another accumulator of the same experiment are of.

        Raises ValueError if something was added already.
        """
        if self._scope is not None or self._n_replicates:
            raise ValueError("only an accumulator that nothing was added to can go on from sums")
        self._n_replicates = int(sums[_REPLICATES])
        self._last_replicate = self._n_replicates - 1
        self._curves = [tuple(sums[_CURVES])]
        self._idle = [PooledCounts.of_arrays(sums)]

    def sums(self) -> dict[str, NDArray[Any]]:
        """Return everything that adding more replicates needs, histories aside: integers, and curves of studies.

        Replicates are those from 0 on. Raises ValueError as `conclude`.
        """
        _, counts = self._total()
        curves = [np.concatenate(each) for each in zip(*self._curves, strict=True)]
        empty = np.empty((len(counts.risk.at_risk), 0, self.time.size))
        kept: dict[str, NDArray[Any]] = {**counts.arrays(), _CURVES: np.stack(curves) if curves else empty}
        return kept | {_REPLICATES: np.array(self._n_replicates)}

    def add(self, data: StudyData) -> None:
        """Add the studies of a block.

        Raises
        ------
        ValueError
            If the block is of another parameter set or does not follow the blocks before it.
        """
        self.append(self.count(data))

    def count(self, data: StudyData) -> Part:
        """Count the patients of a block. Raises ValueError if it is of another parameter set."""
        log = data.trajectories
        with self._lock:
            if self._scope is None:
                self._scope = scope_of(data)
            scope = self._scope
            counts = self._idle.pop() if self._idle else PooledCounts.empty(scope, self.time.size)
        if (log.parameter_set != scope.parameter_set).any():
            raise ValueError("an accumulator takes one parameter set")
        counts, curves = counts.add(data, scope, self.time)
        with self._lock:
            self._idle.append(counts)
        wanting = self.n_sample - len(self._histories)  # never grows: what is not wanted now is not later
        return Part(data.replicate, curves, _sample(log, wanting))

    def append(self, part: Part) -> None:
        """Take a part in its turn. Raises ValueError if it does not follow the parts before it."""
        if part.replicate[0] <= self._last_replicate or (np.diff(part.replicate) <= 0).any():
            raise ValueError("replicates must be added in ascending order, each once")
        self._last_replicate = int(part.replicate[-1])
        self._histories += part.histories[: self.n_sample - len(self._histories)]
        self._n_replicates += part.replicate.size
        if len(part.curves[0]):
            self._curves.append(part.curves)

    def conclude(self) -> dict[str, LabelledArray]:
        """Return every variable and coordinate by name. Raises ValueError if nothing was added."""
        scope, counts = self._total()
        curves = tuple(np.concatenate(of_group) for of_group in zip(*self._curves, strict=True))
        totals = Totals(self.time, counts.events, counts.course, counts.risk, self._n_replicates, curves)
        return conclude(scope, totals, self._histories)

    def _total(self) -> tuple[Scope, PooledCounts]:
        """Sum of what all threads counted. Raises ValueError where nothing was added."""
        if self._scope is None:
            raise ValueError("no replicate was added")
        total = reduce(PooledCounts.merge, self._idle)
        given = total.course.given
        given = given[:, : int(np.flatnonzero(given.any(axis=0)).max()) + 1]
        return self._scope, PooledCounts(total.events, total.course._replace(given=given), total.risk)


def _sample(log: Trajectories, n: int) -> tuple[History, ...]:
    """Histories of the first n patients."""
    histories = []
    for i in range(min(n, len(log))):
        rows = slice(log.offset[i], log.offset[i + 1])
        replicate, patient, code = int(log.replicate[i]), int(log.patient[i]), log.log_code[rows].astype(np.int64)
        histories.append((replicate, patient, log.log_time[rows].copy(), code, log.log_value[rows].copy()))
    return tuple(histories)
