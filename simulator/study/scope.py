"""What statistics of all patients are given by: groups of patients, events and causes of death."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.study.observe import StudyData, states_entered
from simulator.tables import NONE, Flags, Integers, ModelTables

ALL_PATIENTS = "all"
FINEST_BIN = 1 / 16  # days
MOST_BINS = 2**17


@dataclass(frozen=True, eq=False)
class Scope:
    """The labels of the statistics of one parameter set, and which codes of a log belong to which of them.

    ``cells`` (G, C): of all patients, each stratum and each arm where there are several, which cells belong to it.
    """

    model: ModelTables
    parameter_set: int
    groups: tuple[str, ...]
    cells: Integers
    events: tuple[str, ...]
    entered: Integers  # state that each log code leads to
    slot: Integers  # of each log code, index into `events`, NONE for none
    event_of: Integers  # of each of `events`, NONE for deaths
    bin: float  # days

    @property
    def n_bins(self) -> int:
        return int(float(self.model.horizon[self.parameter_set]) / self.bin) + 2

    def by_group(self, counted: Integers) -> Integers:
        """Counts by group: (C, …) → (G, …)."""
        return np.asarray(np.tensordot(self.cells, counted, axes=1))

    def members(self, data: StudyData) -> list[Flags]:
        """Who is in each group, (R, N)."""
        members = [data.all_patients]
        if len(self.model.strata) > 1:
            members += [data.is_stratum(stratum) for stratum in range(len(self.model.strata))]
        if len(self.model.arms) > 1:
            members += [data.is_arm(arm) for arm in range(len(self.model.arms))]
        return members


def scope_of(data: StudyData) -> Scope:
    """Return what the statistics of the first parameter set of these studies are given by."""
    model, codes = data.trajectories.model, data.trajectories.codes
    parameter_set = int(data.trajectories.parameter_set[0])
    width = max(FINEST_BIN, 2.0 ** np.ceil(np.log2(float(model.horizon[parameter_set]) / MOST_BINS)))
    events = _events(model, data.design.assessed)
    slot = np.full(codes.end_of_course + 1, NONE)
    event_of = np.full(len(events), NONE)
    for i, members in enumerate(events.values()):
        slot[members] = i
        if not _is_death(model, members[0]):
            event_of[i] = members[0]
    groups, cells = _groups(model)
    return Scope(model, parameter_set, groups, cells, tuple(events), states_entered(model), slot, event_of, width)


def _groups(model: ModelTables) -> tuple[tuple[str, ...], Integers]:
    n_strata = len(model.strata)
    cell = np.arange(model.n_cells)
    names, rows = [ALL_PATIENTS], [np.ones(model.n_cells, dtype=bool)]
    if n_strata > 1:
        names += model.strata
        rows += [cell % n_strata == stratum for stratum in range(n_strata)]
    if len(model.arms) > 1:
        names += [f"arm.{arm}" if arm in names else arm for arm in model.arms]
        rows += [cell // n_strata == arm for arm in range(len(model.arms))]
    return tuple(names), np.stack(rows).astype(np.int64)


def _is_death(model: ModelTables, event: int) -> bool:
    to = int(model.event_to[event])
    return to != NONE and bool(model.absorbing[to])


def _events(model: ModelTables, assessed: Flags) -> dict[str, list[int]]:
    """Events that statistics are given for, then causes of death: name, and the events it stands for.

    A death without a declared cause is called by its event, a declared cause ``death.<cause>``.
    """
    every = range(len(model.events))
    deaths = [e for e in every if _is_death(model, e)]
    found = {model.events[e]: [e] for e in every if e not in deaths and (assessed[e] or not model.event_recurrent[e])}
    own = {model.events[e] for e in deaths}
    for cause in dict.fromkeys(model.causes[e] for e in deaths):
        name = cause if cause in own else f"death.{cause}"
        found[name] = [e for e in deaths if model.causes[e] == cause]
    return found
