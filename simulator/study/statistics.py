"""Pooled statistics of all replicates, added up block by block. Knows what to add; knows no xarray.

True quantities (what happened) and observed ones (what was seen) are apart and say which they are. Counts are
added as integers; sums of real numbers are kept by replicate and added at the end in the order of replicates.
So nothing depends on how replicates were cut into blocks.

Every estimate has beside it ``<name>_standard_error``, its Monte-Carlo error: that of the pooled patients
taken as independent draws. The band ``kaplan_meier_{lower,median,upper}`` is another thing: how much the
estimate of one study of the declared size varies.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.study.observe import StudyData
from simulator.study.ranks import order_statistics
from simulator.study.survival import kaplan_meier
from simulator.tables import NONE, Flags, Floats, Integers, ModelTables
from simulator.trajectories import Trajectories

Array = NDArray[Any]

SAMPLE_PATIENTS = 50
BAND_REPLICATES = 10_000
"""Replicates that the band is taken from: the first ones. More would make it dearer, hardly better."""
BAND = (0.025, 0.5, 0.975)
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
FINEST_BIN = 1 / 16  # days
MOST_BINS = 2**17
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


class Accumulator:
    """Adds up blocks of replicates of one parameter set, in ascending order of replicate.

    Parameters
    ----------
    time : (T,) ascending days from 0, the grid of curves; the last is where restricted means end.
    """

    def __init__(self, time: Floats, *, n_sample: int = SAMPLE_PATIENTS) -> None:
        self.time = np.asarray(time, dtype=np.float64)
        self.n_sample = n_sample
        self._model: ModelTables | None = None
        self._last_replicate = -1
        self._n_replicates = 0
        self._counts: dict[str, Integers] = {}
        self._by_replicate: dict[str, list[Array]] = {}
        self._histories: list[tuple[int, int, Floats, Integers, Floats]] = []

    def add(self, data: StudyData) -> None:
        """Add the studies of a block.

        Raises
        ------
        ValueError
            If the block is of another parameter set or does not follow the blocks before it.
        """
        trajectories = data.trajectories
        if self._model is None:
            self._model, self._set = trajectories.model, int(trajectories.parameter_set[0])
            self._groups = groups_of(self._model)
            self._events = _events(self._model, data.design.assessed)
            horizon = float(self._model.horizon[self._set])
            self._bin = max(FINEST_BIN, 2.0 ** np.ceil(np.log2(horizon / MOST_BINS)))
            self._n_bins = int(horizon / self._bin) + 2
        replicate = data.replicate
        if (trajectories.parameter_set != self._set).any():
            raise ValueError("an accumulator takes one parameter set")
        if replicate[0] <= self._last_replicate or (np.diff(replicate) <= 0).any():
            raise ValueError("replicates must be added in ascending order, each once")
        self._last_replicate = int(replicate[-1])
        self._sample(trajectories)
        cell = trajectories.cell
        self._count("patients", np.bincount(cell, minlength=self._model.n_cells))
        self._add_survival(data, cell)
        self._add_states(trajectories, cell)
        self._add_events(data, cell)
        self._add_course(data, cell)
        self._n_replicates += replicate.size

    def result(self) -> dict[str, Variable]:
        """Return every variable and coordinate by name. Raises ValueError if nothing was added."""
        if self._model is None:
            raise ValueError("no replicate was added")
        table = _Table()
        table.add("group", "group", _names(self._groups.names), "group of patients", None)
        table.add("time", "time", self.time, "time since entry", "d")
        table.add("state", "state", _names(self._model.states), "state", None)
        table.add("event", "event", _names(n for n, _ in self._events), "event, or cause of death", None)
        table.add("quantile", "quantile", np.array(QUANTILES), "share of times at or below")
        table.add("n_patients", "group", self._by_group("patients"), "patients simulated")
        self._survival_result(table)
        if self._events:
            self._event_result(table)
        self._course_result(table, self._model)
        self._history_result(table, self._model)
        return table.variables

    # -- adding -------------------------------------------------------------------------------------

    def _add_survival(self, data: StudyData, cell: Integers) -> None:
        n_times = self.time.size
        death = data.death.ravel()
        self._count("dead", self._by_time(cell, np.searchsorted(self.time, death, side="left")))
        lived = np.minimum(death, self.time[-1])
        self._sum("lived", data, lived)
        self._sum("lived_square", data, lived**2)
        # Number at risk of each study: those whose observation lasts until the time or longer.
        observed, n_cells = data.observed, len(self._groups.cells[0])
        last = np.searchsorted(self.time, observed, side="right")
        study = np.arange(observed.shape[0])[:, None]
        place = (study * n_cells + cell.reshape(observed.shape)) * (n_times + 1) + last
        ended = np.bincount(place.ravel(), minlength=observed.shape[0] * n_cells * (n_times + 1))
        ended = ended.reshape(observed.shape[0], n_cells, n_times + 1)
        still = ended[..., ::-1].cumsum(axis=-1)[..., ::-1][..., 1:]
        at_risk = np.einsum("gc,rct->rgt", self._groups.cells, still)
        self._count("at_risk", at_risk.sum(axis=0))
        self._count("at_risk_square", (at_risk**2).sum(axis=0))
        wanted = min(observed.shape[0], BAND_REPLICATES - self._n_replicates)
        if wanted > 0:
            self._by_replicate.setdefault("kaplan_meier", []).append(self._curves(data, wanted))

    def _curves(self, data: StudyData, n: int) -> Floats:
        """Product-limit estimate of the first n studies by group, shape (n, G, T)."""
        cell = data.trajectories.cell.reshape(data.shape)[:n]
        observed, died = data.observed[:n], data.died[:n]
        curves = np.empty((n, len(self._groups.names), self.time.size))
        for group, cells in enumerate(self._groups.cells.astype(bool)):
            member = cells[cell]
            columns = np.flatnonzero(member.any(axis=0))
            curves[:, group] = kaplan_meier(observed[:, columns], died[:, columns], member[:, columns], self.time)
        return curves

    def _add_states(self, trajectories: Trajectories, cell: Integers) -> None:
        model, moves = trajectories.model, trajectories.transitions
        n_states, width = len(model.states), self.time.size + 1
        at = np.searchsorted(self.time, moves.time, side="left")
        place = cell[moves.owner] * n_states
        size = model.n_cells * n_states * width
        changes = np.bincount((place + moves.entered) * width + at, minlength=size)
        changes -= np.bincount((place + moves.left) * width + at, minlength=size)
        occupied = changes.reshape(model.n_cells, n_states, width)
        occupied[:, model.initial_state, 0] += np.bincount(cell, minlength=model.n_cells)
        self._count("occupied", occupied.cumsum(axis=-1)[..., :-1])

    def _add_events(self, data: StudyData, cell: Integers) -> None:
        cause = _true_causes(data.trajectories)
        for i, (_, members) in enumerate(self._events):
            if _is_death(data.trajectories.model, members[0]):
                mine = np.isin(cause, members)
                onset = np.where(mine, data.death.ravel(), np.inf)
                seen = np.where(data.died.ravel(), onset, np.inf)
            else:
                onset, seen = data.onset(members[0]).ravel(), data.seen(members[0]).ravel()
            self._count(f"happened.{i}", self._by_time(cell, np.searchsorted(self.time, onset, side="left")))
            for what, time in (("true", onset), ("observed", seen)):
                finite = np.isfinite(time)
                bins = np.minimum(np.floor(time[finite] / self._bin).astype(np.int64), self._n_bins - 1)
                size = len(self._groups.cells[0]) * self._n_bins
                histogram = np.bincount(cell[finite] * self._n_bins + bins, minlength=size)
                self._count(f"{what}.{i}", histogram.reshape(-1, self._n_bins))

    def _add_course(self, data: StudyData, cell: Integers) -> None:
        trajectories, codes = data.trajectories, data.trajectories.codes
        n_cells, n_terms = trajectories.model.n_cells, codes.n_terms
        given = trajectories.count(codes.administration)
        width = int(given.max()) + 1
        given_by_cell = np.bincount(cell * width + given, minlength=n_cells * width).reshape(n_cells, width)
        self._count("given", given_by_cell)
        first = trajectories.first_time(codes.administration)
        treated = np.isfinite(first)
        last = np.minimum(trajectories.first_time(codes.end_of_course), trajectories.absorbed_at)
        last = np.minimum(last, trajectories.horizon)
        spent = np.where(treated, np.where(treated, last, 0.0) - np.where(treated, first, 0.0), 0.0)
        self._count("treated", np.bincount(cell[treated], minlength=n_cells))
        self._sum("spent", data, spent)
        self._sum("spent_square", data, spent**2)
        start, stop = (np.searchsorted(self.time, t[treated], side="left") for t in (first, last))
        on_course = self._by_time(cell[treated], start) - self._by_time(cell[treated], stop)
        self._count("on_course", on_course)
        harmed = np.zeros((n_terms + 1, len(trajectories)), dtype=bool)
        for term in range(n_terms):
            harmed[term, trajectories.owner[trajectories.rows(codes.first_term + term)]] = True
        harmed[n_terms] = (harmed[:n_terms] & data.design.counted[:, None]).any(axis=0)
        self._count("harmed", np.stack([np.bincount(cell[row], minlength=n_cells) for row in harmed], axis=1))

    def _sample(self, trajectories: Trajectories) -> None:
        for i in range(min(self.n_sample - len(self._histories), len(trajectories))):
            rows = slice(trajectories.offset[i], trajectories.offset[i + 1])
            self._histories.append(
                (
                    int(trajectories.replicate[i]),
                    int(trajectories.patient[i]),
                    trajectories.log_time[rows].copy(),
                    trajectories.log_code[rows].astype(np.int64),
                    trajectories.log_value[rows].copy(),
                )
            )

    def _count(self, name: str, counted: Integers) -> None:
        """Add integers; the last dimension may grow from block to block."""
        before = self._counts.get(name)
        if before is None:
            self._counts[name] = counted.astype(np.int64)
            return
        missing = counted.shape[-1] - before.shape[-1]
        if missing > 0:
            before = np.pad(before, [(0, 0)] * (before.ndim - 1) + [(0, missing)])
        before[..., : counted.shape[-1]] += counted
        self._counts[name] = before

    def _sum(self, name: str, data: StudyData, values: Floats) -> None:
        """Keep the sum over the patients of each study and cell, added in the order of patients."""
        n_studies, n_cells = data.shape[0], len(self._groups.cells[0])
        study = np.repeat(np.arange(n_studies), data.shape[1])
        place = study * n_cells + data.trajectories.cell
        sums = np.bincount(place, weights=values.ravel(), minlength=n_studies * n_cells)
        self._by_replicate.setdefault(name, []).append(sums.reshape(n_studies, n_cells))

    def _by_time(self, cell: Integers, at: Integers) -> Integers:
        """Patients whose time has come by each time of the grid, by cell, shape (C, T)."""
        width, n_cells = self.time.size + 1, len(self._groups.cells[0])
        counted = np.bincount(cell * width + at, minlength=n_cells * width).reshape(n_cells, width)
        return np.asarray(counted.cumsum(axis=1)[:, :-1])

    # -- results ------------------------------------------------------------------------------------

    def _survival_result(self, table: _Table) -> None:
        n = self._by_group("patients")
        alive = n[:, None] - self._by_group("dead")
        table.share("overall_survival", "group time", alive, n[:, None], "share alive (true)")
        band = order_statistics(np.concatenate(self._by_replicate["kaplan_meier"]), BAND)
        for name, values, level in zip(("lower", "median", "upper"), band, BAND, strict=True):
            meaning = f"Kaplan–Meier estimate of one study, {100 * level:g} % point over replicates"
            table.add(f"kaplan_meier_{name}", "group time", values, meaning)
        mean = self._counts["at_risk"] / self._n_replicates
        variance = np.maximum(self._counts["at_risk_square"] / self._n_replicates - mean**2, 0.0)
        meaning = "patients of one study under observation, mean over replicates"
        table.estimate("number_at_risk", "group time", mean, np.sqrt(variance / self._n_replicates), meaning)
        meaning = f"mean time lived until day {self.time[-1]:g} (true restricted mean survival time)"
        table.mean("rmst", "group", self._total("lived"), self._total("lived_square"), n, meaning, "d")
        occupied, meaning = self._by_group("occupied"), "share of patients in each state (true)"
        table.share("state_occupancy", "group state time", occupied, n[:, None, None], meaning)

    def _event_result(self, table: _Table) -> None:
        every = range(len(self._events))
        n = self._by_group("patients")[:, None, None]
        happened = np.stack([self._by_group(f"happened.{i}") for i in every], axis=1)
        meaning = "share in whom the event has happened (true)"
        table.share("cumulative_incidence", "group event time", happened, n, meaning)
        for what, verb in (("true", "happened"), ("observed", "was seen")):
            found = [_histogram_quantiles(self._by_group(f"{what}.{i}"), self._bin) for i in every]
            values, errors = (np.stack(part, axis=1) for part in zip(*found, strict=True))
            meaning = f"time to the event among those in whom it {verb}, in steps of {self._bin:g} d"
            table.estimate(f"time_to_event_{what}", "group event quantile", values, errors, meaning, "d")

    def _course_result(self, table: _Table, model: ModelTables) -> None:
        n, given = self._by_group("patients"), self._by_group("given")
        number = np.arange(given.shape[1])
        reached = given[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:]
        table.add("visit", "visit", number[1:], "number of the administration")
        meaning = "share given this administration (true)"
        table.share("administrations", "group visit", reached, n[:, None], meaning)
        total, square = (given * number).sum(axis=1), (given * number**2).sum(axis=1)
        meaning = "administrations per patient, mean (true)"
        table.mean("administrations_mean", "group", total, square, n, meaning)
        treated, total, square = self._by_group("treated"), self._total("spent"), self._total("spent_square")
        meaning = "time from the first administration to the end of the course, mean (true)"
        table.mean("time_on_treatment", "group", total, square, treated, meaning, "d")
        on_course = self._by_group("on_course")
        table.share("on_treatment", "group time", on_course, n[:, None], "share on treatment (true)")
        table.add("term", "term", _names((*model.course.terms, ANY_TERM)), "adverse-event term", None)
        meaning = "share of patients who ever had the adverse event (true)"
        table.share("ae_incidence", "group term", self._by_group("harmed"), n[:, None], meaning)

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

    def _by_group(self, name: str) -> Integers:
        """Counts by group: (C, …) → (G, …)."""
        return np.asarray(np.tensordot(self._groups.cells, self._counts[name], axes=1))

    def _total(self, name: str) -> Floats:
        """Sum over all replicates, in their order, by group: shape (G,)."""
        by_cell = np.concatenate(self._by_replicate[name]).cumsum(axis=0)[-1]
        return np.asarray((self._groups.cells * by_cell).sum(axis=1))


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


def _true_causes(trajectories: Trajectories) -> Integers:
    """Event that led to death, seen or not, NONE for those alive at the horizon."""
    model = trajectories.model
    cause = np.full(len(trajectories), NONE, dtype=np.int64)
    for event in range(len(model.events)):
        if _is_death(model, event):
            cause[trajectories.owner[trajectories.rows(event)]] = event
    return cause


def _histogram_quantiles(histogram: Integers, width: float) -> tuple[Floats, Floats]:
    """Quantiles of binned times, lower edge of the bin, and their standard errors, each (G, quantiles).

    Error: half the distance between the quantiles one binomial standard error to either side (Woodruff 1952).
    """
    cumulative = histogram.cumsum(axis=1)
    values = np.full((histogram.shape[0], len(QUANTILES)), np.nan)
    errors = values.copy()
    for group, row in enumerate(cumulative):
        n = int(row[-1])
        if n == 0:
            continue
        level = np.array(QUANTILES)
        step = np.sqrt(level * (1 - level) / n)
        rank = [np.clip(np.ceil(n * p), 1, n) for p in (level - step, level, level + step)]
        low, values[group], high = (width * np.searchsorted(row, r, side="left") for r in rank)
        errors[group] = (high - low) / 2
    return values, errors


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
