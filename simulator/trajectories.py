"""What happened to each patient.

The log is the one record; every column is derived from it here and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulator.tables import NONE, Flags, Floats, Integers, LogCodes, ModelTables

Counts = NDArray[np.int64]


class Log(NamedTuple):
    """The log as kernels take it: patient ``i`` owns the rows ``offset[i]`` to ``offset[i + 1]``."""

    offset: Integers  # (n + 1,)
    time: Floats
    code: NDArray[np.int16]


class People(NamedTuple):
    """Whose histories they are, as kernels take it: each (n,)."""

    parameter_set: Integers
    replicate: Integers
    patient: Integers
    cell: Integers


@dataclass(frozen=True, eq=False)
class Trajectories:
    """Histories of ``n`` patients, ordered by (parameter set, replicate, patient).

    ``log_*`` hold all histories one after another; patient ``i`` owns rows ``offset[i]`` to
    ``offset[i + 1]``, in the order in which things happened. Codes are ``model.log_codes``: events in
    declared order, then the administration, the adverse-event terms, and the end of the course.
    ``log_value`` is the dose of an administration, the outcome an event chose (index among its own
    outcomes), the number of the administration that caused an adverse event, or the reason the course
    ended (index into ``model.course.reasons``); NaN where there is none.
    Times are days since entry, all below the horizon.
    """

    model: ModelTables
    parameter_set: Integers
    replicate: Integers
    patient: Integers
    cell: Integers
    covariates: Floats  # (n, covariates)
    offset: Integers  # (n + 1,)
    log_time: Floats
    log_code: NDArray[np.int16]
    log_value: Floats

    def __len__(self) -> int:
        return int(self.patient.size)

    @property
    def log(self) -> Log:
        return Log(self.offset, self.log_time, self.log_code)

    @property
    def people(self) -> People:
        return People(self.parameter_set, self.replicate, self.patient, self.cell)

    @property
    def codes(self) -> LogCodes:
        return self.model.log_codes

    @property
    def horizon(self) -> Floats:
        """Horizon of each patient, days, shape (n,)."""
        horizon: Floats = self.model.horizon[self.parameter_set]
        return horizon

    @property
    def stratum(self) -> Integers:
        return np.asarray(self.cell % len(self.model.strata))

    @property
    def arm(self) -> Integers:
        return np.asarray(self.cell // len(self.model.strata))

    @cached_property
    def owner(self) -> Integers:
        """Patient (row of the columns) that each log row belongs to."""
        return np.repeat(np.arange(len(self)), np.diff(self.offset))

    def rows(self, code: int) -> Integers:
        """Return the log rows with this code, in order."""
        return np.flatnonzero(self.log_code == code)

    def first_time(self, code: int) -> Floats:
        """Time of the first row with this code, days, +inf where there is none, shape (n,)."""
        return self._first(self.rows(code), self.log_time, np.inf)

    def first_value(self, code: int) -> Floats:
        """Value at the first row with this code, NaN where there is none, shape (n,)."""
        return self._first(self.rows(code), self.log_value, np.nan)

    def count(self, code: int, *, before: Floats | None = None) -> Counts:
        """Number of rows with this code (strictly before a time per patient, if given), shape (n,)."""
        rows = self.rows(code)
        if before is not None:
            rows = rows[self.log_time[rows] < before[self.owner[rows]]]
        return np.bincount(self.owner[rows], minlength=len(self)).astype(np.int64)

    def _first(self, rows: Integers, values: Floats, missing: float) -> Floats:
        first = np.full(len(self), missing)
        first[self.owner[rows][::-1]] = values[rows[::-1]]
        return first

    @cached_property
    def transitions(self) -> Transitions:
        """Every change of state, in log order."""
        model = self.model
        to = np.full(int(self.log_code.max(initial=0)) + 1, NONE, dtype=np.int64)
        n = min(to.size, len(model.events))
        to[:n] = model.event_to[:n]
        rows = np.flatnonzero(to[self.log_code] != NONE)
        owner, entered = self.owner[rows], to[self.log_code[rows]]
        left = np.empty_like(entered)
        left[1:] = entered[:-1]
        first = np.ones(rows.size, dtype=bool)
        first[1:] = owner[1:] != owner[:-1]
        left[first] = model.initial_state
        changed = left != entered
        return Transitions(owner[changed], self.log_time[rows[changed]], left[changed], entered[changed])

    @cached_property
    def absorbed_at(self) -> Floats:
        """Time of entry into an absorbing state, days, +inf if never before the horizon, shape (n,)."""
        moves = self.transitions
        into = self.model.absorbing[moves.entered]
        time = np.full(len(self), np.inf)
        time[moves.owner[into]] = moves.time[into]
        return time

    def state_at(self, time: Floats) -> Integers:
        """State of each patient at a time per patient (changes at that very time included), shape (n,)."""
        moves = self.transitions
        state = np.full(len(self), self.model.initial_state, dtype=np.int64)
        due = moves.time <= time[moves.owner]
        state[moves.owner[due]] = moves.entered[due]
        return state

    def select(self, keep: Flags) -> Trajectories:
        """Return the histories of the patients flagged, in the same order."""
        rows = keep[self.owner]
        lengths = np.diff(self.offset)[keep]
        return Trajectories(
            self.model,
            self.parameter_set[keep],
            self.replicate[keep],
            self.patient[keep],
            self.cell[keep],
            self.covariates[keep],
            np.concatenate([[0], np.cumsum(lengths)]),
            self.log_time[rows],
            self.log_code[rows],
            self.log_value[rows],
        )

    def difference(self, other: Trajectories) -> str | None:
        """Name the first array in which two sets of histories differ bit for bit, None if equal."""
        for spec in fields(self):
            if spec.name == "model":
                continue
            own, theirs = getattr(self, spec.name), getattr(other, spec.name)
            if own.shape != theirs.shape or own.tobytes() != theirs.tobytes():
                return spec.name
        return None


@dataclass(frozen=True, eq=False)
class Summaries:
    """Of ``n`` patients, in the order of `Trajectories`, what is asked for most: far smaller than their histories.

    ``first_time`` (E, n): day of the first occurrence of each event, +inf never. ``counts`` (k, n): how often each of
    `counted_codes` occurred; what happens at most once is counted by its first time.
    """

    model: ModelTables
    first_time: Floats
    counts: NDArray[np.int32]

    def __len__(self) -> int:
        return int(self.counts.shape[1])

    def count(self, code: int) -> NDArray[np.int32]:
        """How often a code of ``model.log_codes`` occurred, (n,)."""
        counted = counted_codes(self.model)
        known = self.counts[counted.index(code)] if code in counted else np.isfinite(self.first_time[code])
        return np.asarray(known, dtype=np.int32)


def counted_codes(model: ModelTables) -> tuple[int, ...]:
    """Codes of a log that `Summaries` count: of events that may recur, and all that are not events."""
    recurrent = np.flatnonzero(model.event_recurrent).tolist()
    return (*recurrent, *range(len(model.events), model.log_codes.end_of_course + 1))


@dataclass(frozen=True)
class Transitions:
    """Changes of state: who, when (days), from which state, to which."""

    owner: Integers
    time: Floats
    left: Integers
    entered: Integers


def concatenate(parts: list[Trajectories]) -> Trajectories:
    """Join histories of one model, in the order given."""

    def joined(name: str) -> NDArray[np.generic]:
        return np.concatenate([getattr(part, name) for part in parts])

    names = [spec.name for spec in fields(Trajectories) if spec.name not in ("model", "offset")]
    lengths = np.concatenate([np.diff(part.offset) for part in parts])
    offset = np.concatenate([[0], np.cumsum(lengths)])
    arrays: dict[str, Any] = {name: joined(name) for name in names}
    return Trajectories(model=parts[0].model, offset=offset, **arrays)
