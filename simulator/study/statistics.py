"""Pooled statistics of all replicates, added up block by block. Knows what to add; knows no xarray.

True quantities (what happened) and observed ones (what was seen) are apart and say which they are. Everything is
added as integers, sums of real numbers in units of 2^-32 (`tallies`), so that nothing depends on how patients were
cut into blocks or who counted them.

Every estimate has beside it ``<name>_standard_error``, its Monte-Carlo error: that of the pooled patients
taken as independent draws. The band ``kaplan_meier_{lower,median,upper}`` is another thing: how much the
estimate of one study of the declared size varies; beyond all follow-up of a study there is none of it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.study.observe import StudyData, states_entered
from simulator.study.pooling import EXACT_PATIENTS, Pool
from simulator.study.ranks import order_statistics
from simulator.study.survival import Ordered, at_risk_at, curve_at
from simulator.study.tallies import histogram_quantiles, real, tally_course, tally_events, tally_group
from simulator.tables import NONE, Flags, Floats, Integers, ModelTables
from simulator.trajectories import Trajectories

Array = NDArray[Any]
History = tuple[int, int, Floats, Integers, Floats]
"""Of one patient: replicate, number, and what the log holds of them: times, codes, values."""

SAMPLE_PATIENTS = 50
BAND_REPLICATES = 10_000
"""Replicates that the band is taken from: the first ones. More would make it dearer, hardly better."""
BAND = (0.025, 0.5, 0.975)
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
FINEST_BIN = 1 / 16  # days
MOST_BINS = 2**17
_CURVES, _REPLICATES = "curves", "replicates"
EVERYBODY = "all"
ANY_TERM = "any"


@dataclass(frozen=True, eq=False)
class Variable:
    """An array with named dimensions, and what it is."""

    dims: tuple[str, ...]
    values: Array
    attrs: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Groups:
    """Everybody, each stratum and each arm where there are several: names, and the cells in each (G, C)."""

    names: tuple[str, ...]
    cells: Integers


def groups_of(model: ModelTables) -> Groups:
    """Return the groups that statistics are given by."""
    n_strata = len(model.strata)
    cell = np.arange(model.n_cells)
    names, rows = [EVERYBODY], [np.ones(model.n_cells, dtype=bool)]
    if n_strata > 1:
        names += model.strata
        rows += [cell % n_strata == stratum for stratum in range(n_strata)]
    if len(model.arms) > 1:
        names += [f"arm.{arm}" if arm in names else arm for arm in model.arms]
        rows += [cell // n_strata == arm for arm in range(len(model.arms))]
    return Groups(tuple(names), np.stack(rows).astype(np.int64))


@dataclass(frozen=True, eq=False)
class _Counts:
    """What is counted: arrays that blocks of patients are added to, in any order. First dimension: cells."""

    patients: Integers  # (C,)
    dead: Integers  # (C, T + 1)
    changes: Integers  # (C, S, T + 1)
    happened: Integers  # (I, C, T + 1)
    true: Integers  # (I, C, bins)
    observed: Integers  # (I, C, bins)
    lived: Integers  # (C, 2, 2)
    given: Integers  # (C, numbers of administrations)
    treated: Integers  # (C,)
    on_course: Integers  # (C, T + 1)
    harmed: Integers  # (C, terms + 1)
    spent: Integers  # (C, 2, 2)
    at_risk: Integers  # (G, T)
    at_risk_square: Integers  # (G, T)


@dataclass(frozen=True, eq=False)
class Part:
    """What a block adds beyond its counts: its studies, and what is kept of single studies and patients."""

    replicate: Integers  # (R,)
    curves: tuple[Floats, ...]  # of each group: estimates (R, T) of those studies that the band is taken from
    histories: tuple[History, ...]
    open: Open | None = None  # if the block is not of whole studies


@dataclass(frozen=True, eq=False)
class Open:
    """What is kept of some patients of one study until the others have come."""

    patients: range
    of: int  # patients of the study
    groups: tuple[Ordered, ...]
    at_risk: Integers  # (G, T)


class Accumulator:
    """Adds up blocks of one parameter set: of whole replicates, or of some patients of one.

    `reduce` counts a block, in any order and from several threads at once; `append` takes what it returns, in
    ascending order of replicates and patients. `add` does both.

    Parameters
    ----------
    time : (T,) ascending days from 0, the grid of curves; the last is where restricted means end.
    """

    def __init__(self, time: Floats, *, n_sample: int = SAMPLE_PATIENTS) -> None:
        self.time = np.asarray(time, dtype=np.float64)
        self.n_sample = n_sample
        self._known: _Known | None = None
        self._lock = threading.Lock()
        self._idle: list[_Counts] = []  # one for each thread that has counted at the same time
        self._last_replicate = -1
        self._n_replicates = 0
        self._curves: list[tuple[Floats, ...]] = []
        self._histories: list[History] = []
        self._open: _OpenStudy | None = None
        self._at_risk = self._at_risk_square = np.zeros((1, self.time.size), dtype=np.int64)  # of studies in parts

    def resume(self, sums: Mapping[str, Array]) -> None:
        """Go on after the replicates that `sums` of another accumulator of the same experiment are of.

        Raises ValueError if something was added already.
        """
        if self._known is not None or self._n_replicates:
            raise ValueError("only an accumulator that nothing was added to can go on from sums")
        self._n_replicates = int(sums[_REPLICATES])
        self._last_replicate = self._n_replicates - 1
        self._curves = [tuple(sums[_CURVES])]
        self._idle = [_Counts(**{spec.name: np.array(sums[spec.name]) for spec in fields(_Counts)})]

    def sums(self) -> dict[str, Array]:
        """Return everything that adding more replicates needs, histories aside: integers, and curves of studies.

        Replicates are those from 0 on. Raises ValueError as `result`.
        """
        total = self._complete()
        kept = {spec.name: getattr(total, spec.name) for spec in fields(_Counts)}
        n_groups = len(total.at_risk)
        curves = [np.concatenate(each) for each in zip(*self._curves, strict=True)]
        kept[_CURVES] = np.stack(curves) if curves else np.empty((n_groups, 0, self.time.size))
        return kept | {_REPLICATES: np.array(self._n_replicates)}

    def add(self, data: StudyData, *, of: int | None = None) -> None:
        """Add the studies of a block, or, of one study of so many patients, those that the block has.

        Raises
        ------
        ValueError
            If the block is of another parameter set or does not follow the blocks before it.
        """
        self.append(self.reduce(data, of=of))

    def reduce(self, data: StudyData, *, of: int | None = None) -> Part:
        """Count the patients of a block. Raises ValueError if it is of another parameter set."""
        log = data.trajectories
        parameter_set = int(log.parameter_set[0])
        with self._lock:
            if self._known is None:
                self._known = _known(data, parameter_set)
            known = self._known
            counts = self._idle.pop() if self._idle else _no_counts(known, self.time.size)
        if (log.parameter_set != known.parameter_set).any():
            raise ValueError("an accumulator takes one parameter set")
        counts = self._counted(data, known, counts)
        groups = tuple(data.ordered("survival", member) for member in known.members(data))
        unfinished, curves = None, tuple(np.empty((0, self.time.size)) for _ in groups)
        if of is None:
            wanted = int(np.searchsorted(data.replicate, BAND_REPLICATES))
            curves = tuple(
                tally_group(group.key, group.size, self.time, wanted, at_risk, square)
                for group, at_risk, square in zip(groups, counts.at_risk, counts.at_risk_square, strict=True)
            )
        else:
            patients = range(int(log.patient[0]), int(log.patient[-1]) + 1)
            at_risk = np.concatenate([at_risk_at(group, self.time) for group in groups])
            unfinished = Open(patients, of, groups, at_risk)
        with self._lock:
            self._idle.append(counts)
        wanting = self.n_sample - len(self._histories)  # never grows: what is not wanted now is not later
        return Part(data.replicate, curves, _sample(log, wanting), unfinished)

    def append(self, part: Part) -> None:
        """Take a part in its turn. Raises ValueError if it does not follow the parts before it."""
        more = self._open is not None and part.open is not None and part.replicate[0] == self._last_replicate
        if self._open is not None and not more:
            raise ValueError("a replicate was left before all of its patients were added")
        if not more and (part.replicate[0] <= self._last_replicate or (np.diff(part.replicate) <= 0).any()):
            raise ValueError("replicates must be added in ascending order, each once")
        self._last_replicate = int(part.replicate[-1])
        self._histories += part.histories[: self.n_sample - len(self._histories)]
        if part.open is None:
            self._n_replicates += part.replicate.size
            if len(part.curves[0]):
                self._curves.append(part.curves)
            return
        if self._open is None:
            self._open = _OpenStudy(part.open, banded=part.replicate[0] < BAND_REPLICATES)
        self._open.add(part.open)
        if self._open.n_patients == part.open.of:
            self._close(self._open)

    def _close(self, study: _OpenStudy) -> None:
        """Take what a study that came in parts is as a whole."""
        self._open = None
        self._n_replicates += 1
        self._at_risk = self._at_risk + study.at_risk
        self._at_risk_square = self._at_risk_square + study.at_risk**2
        if study.groups:
            self._curves.append(tuple(curve_at(group.whole(), self.time) for group in study.groups))

    def result(self) -> dict[str, Variable]:
        """Return every variable and coordinate by name. Raises ValueError if nothing was added."""
        counts, known = self._complete(), self._known
        assert known is not None
        table = _Table()
        table.add("group", "group", _names(known.groups.names), "group of patients", None)
        table.add("time", "time", self.time, "time since entry", "d")
        table.add("state", "state", _names(known.model.states), "state", None)
        table.add("event", "event", _names(n for n, _ in known.events), "event, or cause of death", None)
        table.add("quantile", "quantile", np.array(QUANTILES), "share of times at or below")
        table.add("n_patients", "group", known.by_group(counts.patients), "patients simulated")
        self._survival_result(table, known, counts)
        if known.events:
            self._event_result(table, known, counts)
        self._course_result(table, known, counts)
        self._history_result(table, known.model)
        return table.variables

    def _complete(self) -> _Counts:
        """All that was counted. Raises ValueError where it is not of whole replicates, one at least."""
        if self._known is None:
            raise ValueError("no replicate was added")
        if self._open is not None:
            raise ValueError("a replicate was left before all of its patients were added")
        return self._total()

    # -- adding -------------------------------------------------------------------------------------

    def _counted(self, data: StudyData, known: _Known, counts: _Counts) -> _Counts:
        """Counts with the patients of a block added."""
        log, codes = data.trajectories, data.trajectories.codes
        death = data.death.ravel()
        tally_events(
            log.offset,
            log.log_time,
            log.log_code,
            log.cell,
            known.entered,
            known.model.absorbing,
            known.model.initial_state,
            known.slot,
            known.event_of,
            death,
            data.died.ravel(),
            data.first_seen.reshape(-1, len(log)),
            self.time,
            known.bin,
            counts.patients,
            counts.dead,
            counts.changes,
            counts.happened,
            counts.true,
            counts.observed,
            counts.lived,
        )
        most = int(np.diff(log.offset).max()) + 1
        if counts.given.shape[1] < most:
            more = most - counts.given.shape[1]
            counts = replace(counts, given=np.pad(counts.given, [(0, 0), (0, more)]))
        tally_course(
            log.offset,
            log.log_time,
            log.log_code,
            log.cell,
            codes.administration,
            codes.end_of_course,
            data.design.counted,
            death,
            log.horizon,
            self.time,
            counts.given,
            counts.treated,
            counts.on_course,
            counts.harmed,
            counts.spent,
        )
        return counts

    def _total(self) -> _Counts:
        """Sum of what all threads counted."""
        most = max(counts.given.shape[1] for counts in self._idle)
        given = [np.pad(counts.given, [(0, 0), (0, most - counts.given.shape[1])]) for counts in self._idle]
        sums = {
            spec.name: reduce(np.add, [getattr(counts, spec.name) for counts in self._idle])  # one is not copied
            for spec in fields(_Counts)
            if spec.name != "given"
        }
        sums["at_risk"] = sums["at_risk"] + self._at_risk
        sums["at_risk_square"] = sums["at_risk_square"] + self._at_risk_square
        total = np.sum(given, axis=0)
        return _Counts(given=total[:, : int(np.flatnonzero(total.any(axis=0)).max()) + 1], **sums)

    # -- results ------------------------------------------------------------------------------------

    def _survival_result(self, table: _Table, known: _Known, counts: _Counts) -> None:
        n = known.by_group(counts.patients)
        alive = n[:, None] - known.by_group(_until(counts.dead))
        table.share("overall_survival", "group time", alive, n[:, None], "share alive (true)")
        bands = [order_statistics(np.concatenate(of_group), BAND) for of_group in zip(*self._curves, strict=True)] or [
            np.full((len(BAND), self.time.size), np.nan)
        ] * len(known.groups.names)
        for level, share in enumerate(BAND):
            name, values = ("lower", "median", "upper")[level], np.stack([band[level] for band in bands])
            meaning = f"Kaplan–Meier estimate of one study, {100 * share:g} % point over replicates that follow so far"
            table.add(f"kaplan_meier_{name}", "group time", values, meaning)
        mean = counts.at_risk / self._n_replicates
        variance = np.maximum(counts.at_risk_square / self._n_replicates - mean**2, 0.0)
        meaning = "patients of one study under observation, mean over replicates"
        table.estimate("number_at_risk", "group time", mean, np.sqrt(variance / self._n_replicates), meaning)
        meaning = f"mean time lived until day {self.time[-1]:g} (true restricted mean survival time)"
        lived = real(known.by_group(counts.lived))
        table.mean("rmst", "group", lived[:, 0], lived[:, 1], n, meaning, "d")
        changes = counts.changes.copy()
        changes[:, known.model.initial_state, 0] += counts.patients
        occupied, meaning = known.by_group(_until(changes)), "share of patients in each state (true)"
        table.share("state_occupancy", "group state time", occupied, n[:, None, None], meaning)

    def _event_result(self, table: _Table, known: _Known, counts: _Counts) -> None:
        n = known.by_group(counts.patients)[:, None, None]
        happened = np.stack([known.by_group(_until(each)) for each in counts.happened], axis=1)
        meaning = "share in whom the event has happened (true)"
        table.share("cumulative_incidence", "group event time", happened, n, meaning)
        for what, verb, times in (("true", "happened", counts.true), ("observed", "was seen", counts.observed)):
            found = histogram_quantiles(times, known.groups.cells, np.array(QUANTILES), known.bin)
            values, errors = (each.swapaxes(0, 1) for each in found)
            meaning = f"time to the event among those in whom it {verb}, in steps of {known.bin:g} d"
            table.estimate(f"time_to_event_{what}", "group event quantile", values, errors, meaning, "d")

    def _course_result(self, table: _Table, known: _Known, counts: _Counts) -> None:
        n, given = known.by_group(counts.patients), known.by_group(counts.given)
        number = np.arange(given.shape[1])
        reached = given[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:]
        table.add("visit", "visit", number[1:], "number of the administration")
        meaning = "share given this administration (true)"
        table.share("administrations", "group visit", reached, n[:, None], meaning)
        total, square = (given * number).sum(axis=1), (given * number**2).sum(axis=1)
        meaning = "administrations per patient, mean (true)"
        table.mean("administrations_mean", "group", total, square, n, meaning)
        treated, spent = known.by_group(counts.treated), real(known.by_group(counts.spent))
        meaning = "time from the first administration to the end of the course, mean (true)"
        table.mean("time_on_treatment", "group", spent[:, 0], spent[:, 1], treated, meaning, "d")
        on_course = known.by_group(_until(counts.on_course))
        table.share("on_treatment", "group time", on_course, n[:, None], "share on treatment (true)")
        terms = _names((*known.model.course.terms, ANY_TERM))
        table.add("term", "term", terms, "adverse-event term", None)
        meaning = "share of patients who ever had the adverse event (true)"
        table.share("ae_incidence", "group term", known.by_group(counts.harmed), n[:, None], meaning)

    def _history_result(self, table: _Table, model: ModelTables) -> None:
        codes = (*model.events, "administration", *model.course.terms, "end_of_course")
        replicate, patient, time, code, value = zip(*self._histories, strict=True)
        flags = {"flag_values": np.arange(len(codes)), "flag_meanings": " ".join(codes)}
        sizes = np.array([t.size for t in time])
        table.add("history_replicate", "patient", np.array(replicate), "replicate")
        table.add("history_patient", "patient", np.array(patient), "patient within the replicate")
        table.add("history_row_size", "patient", sizes, "rows of each history", sample_dimension="history")
        table.add("history_time", "history", np.concatenate(time), "time since entry", "d")
        table.add("history_code", "history", np.concatenate(code), "what happened", None, **flags)
        meaning = "dose, outcome chosen, administration that caused it, or reason of the end"
        table.add("history_value", "history", np.concatenate(value), meaning, None)


class _OpenStudy:
    """A study some patients of which have been added."""

    def __init__(self, first: Open, *, banded: bool) -> None:
        self.n_patients = 0
        self.at_risk = np.zeros_like(first.at_risk)
        binned = first.of > EXACT_PATIENTS
        self.groups = [Pool(binned=binned) for _ in first.groups] if banded else []

    def add(self, part: Open) -> None:
        if part.patients.start != self.n_patients or part.patients.stop > part.of:
            raise ValueError("patients of a replicate must be added in ascending order, each once")
        self.n_patients = part.patients.stop
        self.at_risk += part.at_risk
        for pool, group in zip(self.groups, part.groups, strict=bool(self.groups)):
            pool.add(group)


@dataclass(frozen=True, eq=False)
class _Known:
    """What an accumulator knows of the model and the design once it has seen a first block."""

    model: ModelTables
    parameter_set: int
    groups: Groups
    events: list[tuple[str, list[int]]]
    entered: Integers  # state that each log code leads to
    slot: Integers  # of each log code, index into `events`
    event_of: Integers  # of each of `events`, NONE for deaths
    bin: float  # days
    n_bins: int

    def by_group(self, counted: Integers) -> Integers:
        """Counts by group: (C, …) → (G, …)."""
        return np.asarray(np.tensordot(self.groups.cells, counted, axes=1))

    def members(self, data: StudyData) -> list[Flags]:
        """Who is in each group, (R, N)."""
        members = [data.everybody]
        if len(self.model.strata) > 1:
            members += [data.is_stratum(stratum) for stratum in range(len(self.model.strata))]
        if len(self.model.arms) > 1:
            members += [data.is_arm(arm) for arm in range(len(self.model.arms))]
        return members


def _known(data: StudyData, parameter_set: int) -> _Known:
    model, codes = data.trajectories.model, data.trajectories.codes
    horizon = float(model.horizon[parameter_set])
    width = max(FINEST_BIN, 2.0 ** np.ceil(np.log2(horizon / MOST_BINS)))
    events = _events(model, data.design.assessed)
    slot = np.full(codes.end_of_course + 1, NONE)
    event_of = np.full(len(events), NONE)
    for i, (_, members) in enumerate(events):
        slot[members] = i
        if not _is_death(model, members[0]):
            event_of[i] = members[0]
    return _Known(
        model=model,
        parameter_set=parameter_set,
        groups=groups_of(model),
        events=events,
        entered=states_entered(model),
        slot=slot,
        event_of=event_of,
        bin=width,
        n_bins=int(horizon / width) + 2,
    )


def _no_counts(known: _Known, n_times: int) -> _Counts:
    cells, groups, kinds = known.model.n_cells, len(known.groups.names), len(known.events)
    shapes = {
        "patients": (cells,),
        "dead": (cells, n_times + 1),
        "changes": (cells, len(known.model.states), n_times + 1),
        "happened": (kinds, cells, n_times + 1),
        "true": (kinds, cells, known.n_bins),
        "observed": (kinds, cells, known.n_bins),
        "lived": (cells, 2, 2),
        "given": (cells, 1),
        "treated": (cells,),
        "on_course": (cells, n_times + 1),
        "harmed": (cells, len(known.model.course.terms) + 1),
        "spent": (cells, 2, 2),
        "at_risk": (groups, n_times),
        "at_risk_square": (groups, n_times),
    }
    return _Counts(**{name: np.zeros(shape, dtype=np.int64) for name, shape in shapes.items()})


def _sample(log: Trajectories, n: int) -> tuple[History, ...]:
    """Histories of the first n patients."""
    histories = []
    for i in range(min(n, len(log))):
        rows = slice(log.offset[i], log.offset[i + 1])
        replicate, patient, code = int(log.replicate[i]), int(log.patient[i]), log.log_code[rows].astype(np.int64)
        histories.append((replicate, patient, log.log_time[rows].copy(), code, log.log_value[rows].copy()))
    return tuple(histories)


def _until(changes: Integers) -> Integers:
    """Counts at each time of the grid from changes there, (…, T + 1) → (…, T)."""
    return np.asarray(changes.cumsum(axis=-1)[..., :-1])


def _is_death(model: ModelTables, event: int) -> bool:
    to = int(model.event_to[event])
    return to != NONE and bool(model.absorbing[to])


def _events(model: ModelTables, assessed: Flags) -> list[tuple[str, list[int]]]:
    """Events that statistics are given for, then causes of death: name, and the events it stands for.

    A death without a declared cause is called by its event, a declared cause ``death.<cause>``.
    """
    every = range(len(model.events))
    found = [
        (model.events[e], [e])
        for e in every
        if not _is_death(model, e) and (assessed[e] or not model.event_recurrent[e])
    ]
    deaths = [e for e in every if _is_death(model, e)]
    causes = dict.fromkeys(model.causes[e] for e in deaths)
    own = {model.events[e] for e in deaths}
    names = {cause: cause if cause in own else f"death.{cause}" for cause in causes}
    return found + [(names[cause], [e for e in deaths if model.causes[e] == cause]) for cause in causes]


class _Table:
    """Variables by name, each estimate with its Monte-Carlo standard error beside it."""

    def __init__(self) -> None:
        self.variables: dict[str, Variable] = {}

    def add(self, name: str, dims: str, values: Array, meaning: str, units: str | None = "1", **attrs: object) -> None:
        described = {"long_name": meaning, **({} if units is None else {"units": units}), **attrs}
        self.variables[name] = Variable(tuple(dims.split()), values, described)

    def estimate(self, name: str, dims: str, values: Array, errors: Array, meaning: str, units: str = "1") -> None:
        self.add(name, dims, values, meaning, units)
        self.add(f"{name}_standard_error", dims, errors, f"Monte-Carlo standard error: {meaning}", units)

    def share(self, name: str, dims: str, count: Integers, n: Integers, meaning: str) -> None:
        with np.errstate(divide="ignore", invalid="ignore"):
            share = count / n
            self.estimate(name, dims, share, np.sqrt(share * (1 - share) / n), meaning)

    def mean(
        self, name: str, dims: str, total: Array, square: Array, n: Integers, meaning: str, units: str = "1"
    ) -> None:
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = total / n
            error = np.sqrt(np.maximum(square / n - mean**2, 0.0) / n)
        self.estimate(name, dims, mean, error, meaning, units)


def _names(names: Iterable[str]) -> NDArray[np.object_]:
    return np.array(list(names), dtype=object)
