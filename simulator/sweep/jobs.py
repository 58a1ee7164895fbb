"""Scenarios run in blocks into one store.

Every scenario is checked before any work. A block is a job that whoever has the description can do: it simulates its
scenarios together, or takes them from a store that is being extended, and commits them itself. No result depends on who
did which block when.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import xarray as xr

from simulator.errors import ConfigError, LobuleError, Problem
from simulator.experiment.assumption import assumption
from simulator.experiment.schema import Experiment
from simulator.results.decisions import decisions_dataset
from simulator.results.estimates import estimates_dataset
from simulator.results.tree import statistics_dataset, targets_dataset
from simulator.running.batch import PartialRun, RunResult, outcomes
from simulator.running.experiment import engine_of, time_grid
from simulator.running.record import as_shown
from simulator.sweep.layout import LabelledAxis, Layout, ScenarioKind, layout_of
from simulator.sweep.store import Block, SweepStore
from simulator.sweep.sums import Sums
from simulator.sweep.tree import Finished

KEPT_EXPERIMENTS = 2_000
"""Scenarios whose solved declarations stay in memory between the check and the work; others are solved again."""
MOST_PROBLEMS = 40
REFERENCE_COST = 100
"""Patients of the compiled engine that one of the reference engine costs, about."""
PILOT_PATIENTS = 20_000


class Scenarios(Protocol):
    """What is run: a list of experiments that is made as it is read."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    def __len__(self) -> int: ...
    def experiment(self, index: int) -> Experiment: ...
    def overrides(self, index: int) -> tuple[str, ...]: ...
    def representatives(self) -> Iterator[int]: ...


@dataclass(frozen=True, eq=False)
class SweepPlan:
    """A checked sweep: its layout, and the experiments as far as they are kept."""

    scenarios: Scenarios
    layout: Layout
    known: Mapping[int, Experiment]
    patients: int  # simulated in all scenarios that were checked
    by_reference: bool  # whether some scenario runs on the reference engine
    checked: int  # scenarios
    seconds_to_check: float  # each


def check(
    scenarios: Scenarios, *, most: int | None = None, progress: Callable[[int, int], None] | None = None
) -> Iterator[tuple[int, Experiment]]:
    """Yield scenarios as experiments, at most so many: first those that show every value once, then the others.

    Raises
    ------
    ConfigError
        With every problem that was found, once; it gives up looking for more after `MOST_PROBLEMS`.
    """
    problems: dict[str, Problem] = {}
    total = min(len(scenarios), len(scenarios) if most is None else most)
    first = list(itertools.islice(scenarios.representatives(), total))
    seen = set(first)
    others = (index for index in range(len(scenarios)) if index not in seen)
    for done, index in enumerate(itertools.islice(itertools.chain(first, others), total)):
        if len(problems) >= MOST_PROBLEMS or (problems and done == len(first)):
            break
        yield from _checked(scenarios, index, problems)
        if progress:
            progress(done + 1, total)
    if problems:
        raise ConfigError(list(problems.values()))


def _checked(scenarios: Scenarios, index: int, problems: dict[str, Problem]) -> Iterator[tuple[int, Experiment]]:
    try:
        experiment = scenarios.experiment(index)
        engine_of(experiment)
        if experiment.root.output.patients or experiment.root.output.events:
            allowed = "is for single runs: a sweep keeps statistics; give false, and run the scenario by itself"
            raise ConfigError(Problem("output.patients, output.events", True, allowed))
    except ConfigError as error:
        problems |= {str(problem): problem for problem in error.problems}
        return
    yield index, experiment


def plan(
    scenarios: Scenarios,
    axes: Callable[[Experiment], Sequence[LabelledAxis]],
    *,
    attrs: Mapping[str, Any],
    most: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> SweepPlan:
    """Check every scenario and lay out their results; a study of each kind is simulated to see what it brings.

    ``axes`` returns the swept dimensions, whose units an experiment tells. Raises ConfigError as `check`, of which
    ``most`` is.
    """
    n = len(scenarios)
    kind_of = np.zeros(n, dtype=np.int64)
    numbers: dict[str, int] = {}
    members: list[list[int]] = []
    known: dict[int, Experiment] = {}
    notes = {name: np.full(n, "", dtype=object) for name in ("overrides", "assumed")}
    patients, heaviest, by_reference, checked, began = 0, 0, False, 0, time.perf_counter()
    for index, experiment in check(scenarios, most=most, progress=progress):
        checked += 1
        key = _kind_key(experiment)
        kind_of[index] = number = numbers.setdefault(key, len(numbers))
        if number == len(members):
            members.append([])
        if len(members[number]) < 3:
            members[number].append(index)
        if len(known) < KEPT_EXPERIMENTS:
            known[index] = experiment
        notes["overrides"][index] = "\n".join(experiment.overrides)
        notes["assumed"][index] = assumption(experiment)
        size = patients_of(experiment)
        patients += size
        reference = engine_of(experiment) == "reference"
        by_reference |= reference
        heaviest = max(heaviest, size * (REFERENCE_COST if reference else 1))
    seconds = (time.perf_counter() - began) / checked
    kinds = [_kind(known.get(index) or scenarios.experiment(index) for index in each) for each in members]
    about = {
        "overrides": {"long_name": "overrides that give this scenario in a single run", "units": ""},
        "assumed": {"long_name": "what survival outputs rest on", "units": ""},
    }
    shape = scenarios.shape
    layout = layout_of(
        axes(known[0]),
        *_in_order_of_scenarios(kinds, kind_of, shape),
        notes={name: (values.reshape(shape), about[name]) for name, values in notes.items()},
        attrs=attrs,
        patients=heaviest,
    )
    return SweepPlan(scenarios, layout, known, patients, by_reference, checked, seconds)


def _in_order_of_scenarios(
    kinds: Sequence[ScenarioKind], kind_of: Any, shape: tuple[int, ...]
) -> tuple[list[ScenarioKind], Any]:
    """Number kinds by the first scenario of each, whatever the order in which scenarios were checked."""
    order = list(dict.fromkeys(kind_of.tolist()))
    place = np.argsort(order)
    return [kinds[number] for number in order], place[kind_of].reshape(shape)


def patients_of(experiment: Experiment) -> int:
    """Return the number of patients that an experiment simulates."""
    return experiment.study.replicates * int(experiment.tables.patients.n_patients[0])


def _kind_key(experiment: Experiment) -> str:
    """Return a fingerprint of all that decides which labels an experiment's results have."""
    tables = experiment.tables
    names = (tables.states, tables.events, tables.strata, tables.arms, tables.causes, tables.course.terms)
    arrays = (tables.event_to, tables.absorbing, tables.horizon, tables.course.maximum, time_grid(experiment))
    entries = [as_shown(entry) for entry in experiment.targets]
    design = np.asarray(experiment.design["assessed"]).tolist()
    said = json.dumps([names, [a.tolist() for a in arrays], entries, design, experiment.study.replicates])
    return hashlib.sha256(said.encode()).hexdigest()


def _kind(members: Iterable[Experiment]) -> ScenarioKind:
    """Return what scenarios of one kind bring, from one study of the first that can be simulated."""
    for experiment in members:
        small = replace(experiment, study=experiment.study.model_copy(update={"replicates": 1}))
        try:
            [outcome] = outcomes([small])
        except LobuleError:
            continue
        visits = np.arange(1, int(experiment.tables.course.maximum.max()) + 1)
        extents = {"replicate": np.arange(experiment.study.replicates), "visit": visits}
        return ScenarioKind(nodes_of(experiment, outcome), extents)
    return ScenarioKind({}, {})


def nodes_of(experiment: Experiment, outcome: RunResult) -> dict[str, xr.Dataset]:
    """Return the nodes of a scenario, as those of a single run."""
    nodes = {
        "targets": targets_dataset(experiment.targets, outcome.targets),
        "statistics": statistics_dataset(outcome.statistics),
    }
    if experiment.estimates:
        nodes["estimates"] = estimates_dataset(experiment.estimates, outcome.estimates)
    decisions = experiment.root.output.decisions
    return nodes | ({"decisions": decisions_dataset(decisions, outcome.decisions)} if decisions else {})


def partial_run(experiment: Experiment, run: Mapping[str, xr.Dataset], sums: Sums) -> PartialRun:
    """Return what the nodes and sums of a scenario's first studies tell, as its targets and decisions stand."""
    first = range(int(sums["replicates"]))

    def values(node: str, dim: str, names: Sequence[str]) -> Any:
        if not names:
            return np.empty((len(first), 0))
        return run[node]["simulated"].sel({"replicate": first, dim: names}).transpose("replicate", dim).values

    targets = values("targets", "target", [entry.id for entry in experiment.selection.targets])
    estimates = values("estimates", "estimate", list(experiment.estimates))
    ends = np.empty((len(first), 0, 2))
    if names := list(experiment.root.output.decisions):
        both = (run["decisions"][f"interval_{end}"].sel(replicate=first, decision=names) for end in ("lower", "upper"))
        ends = np.stack([each.transpose("replicate", "decision").values for each in both], axis=-1)
    return PartialRun(targets, estimates, ends, sums)


@dataclass(frozen=True, eq=False)
class Job:
    """Everything that doing a block needs: small, and the same in every process.

    ``open_scenarios`` can be sent to another process, and equal ones are called there once.
    """

    open_scenarios: Callable[[], Scenarios]
    layout: Layout
    folder: Path
    extended: Path | None = None  # a store from which scenarios that it has are taken
    places: tuple[Mapping[int, int], ...] = ()  # for each axis: point → point of that store
    known: Mapping[int, Experiment] = field(default_factory=dict)
    summed: bool = False  # keep the sums that more studies can be added to
    more_studies: bool = False  # the store that is extended has fewer studies of its scenarios

    def __getstate__(self) -> dict[str, Any]:
        return vars(replace(self, layout=self.layout.bare, known={}))

    @cached_property
    def store(self) -> SweepStore:
        """The store that is filled."""
        return SweepStore(self.folder)

    def finished(self, number: int) -> Block | None:
        """Return the record of a block that is there whole, every scenario of it, and as it was written."""
        block = self.store.block(number)
        return block if block is not None and block.complete else None

    def do(self, number: int, progress: Callable[[int], None] | None = None, threads: int | None = None) -> Block:
        """Simulate a block and commit it. A scenario that fails is recorded with its error; the others stay."""
        indices = self.layout.blocks.scenarios(number)
        runs: list[Mapping[str, xr.Dataset] | None] = [self._taken(index) for index in indices]
        sums = {index: self._sums(index) for index, run in zip(indices, runs, strict=True) if run is not None}
        wanted = [place for place, run in enumerate(runs) if run is None]
        experiments = [self._experiment(indices[place]) for place in wanted]
        partial_run = [self._partial_run(indices[place], e) for place, e in zip(wanted, experiments, strict=True)]
        failed: dict[str, str] = {}
        done, alone = 0, False  # an error is attributed by doing the next one alone: several are started ahead
        while done < len(wanted):
            some = slice(done, done + 1 if alone else None)
            try:
                for outcome in outcomes(
                    experiments[some], partial=partial_run[some], summed=self.summed, threads=threads
                ):
                    index = indices[wanted[done]]
                    runs[wanted[done]], sums[index] = nodes_of(experiments[done], outcome), outcome.sums
                    if progress:
                        progress(patients_of(experiments[done]))
                    done += 1
                alone = False
            except Exception as error:
                if alone:
                    failed[str(indices[wanted[done]])] = f"{type(error).__name__}: {error}"
                    done += 1
                alone = not alone
        kept = {index: sums[index] for index in sorted(sums)} if self.summed else None
        return self.store.commit(self.layout, number, runs, failed, kept)

    def _experiment(self, index: int) -> Experiment:
        return self.known[index] if index in self.known else _opened(self.open_scenarios).experiment(index)

    def _taken(self, index: int) -> Mapping[str, xr.Dataset] | None:
        """Return what the store that is extended has of a scenario, if it has all of its studies."""
        place = self._stood(index)
        if place is None or self.more_studies:
            return None
        return self._finished.run(place, self.layout)

    def _sums(self, index: int) -> Sums:
        """Return the sums that the store that is extended has of a scenario."""
        place = self._stood(index)
        found = self._finished.sums(place) if self.summed and place is not None else None
        return {} if found is None else found

    def _partial_run(self, index: int, experiment: Experiment) -> PartialRun | None:
        """Return what the store that is extended has of the first studies of a scenario."""
        place = self._stood(index)
        if place is None or not self.more_studies:
            return None
        run, sums = self._finished.run(place, self.layout), self._finished.sums(place)
        return None if run is None or sums is None else partial_run(experiment, run, sums)

    def takes(self, number: int) -> int:
        """Return how many scenarios of a block the store that is extended has."""
        places = map(self._stood, self.layout.blocks.scenarios(number))
        return sum(place is not None and self._finished.has(place) for place in places)

    def _stood(self, index: int) -> tuple[int, ...] | None:
        """Return the place of a scenario in the store that is extended, if it has one."""
        if self.extended is None:
            return None
        places = [there.get(at) for at, there in zip(self.layout.blocks.place(index), self.places, strict=True)]
        found = tuple(at for at in places if at is not None)
        return found if len(found) == len(places) else None

    @cached_property
    def _finished(self) -> Finished:
        assert self.extended is not None
        return Finished(self.extended, self.layout.names)


@lru_cache(maxsize=4)
def _opened(open_scenarios: Callable[[], Scenarios]) -> Scenarios:
    return open_scenarios()


def rate_of(experiment: Experiment) -> float:
    """Return patients a second, measured on a few studies."""
    n = int(experiment.tables.patients.n_patients[0])
    most = PILOT_PATIENTS // (REFERENCE_COST if engine_of(experiment) == "reference" else 1)
    replicates = max(1, min(experiment.study.replicates, most // n))
    small = replace(experiment, study=experiment.study.model_copy(update={"replicates": replicates}))
    for _ in outcomes([small]):
        pass  # whatever is compiled or read once
    began = time.perf_counter()
    for outcome in outcomes([small]):
        nodes_of(small, outcome)
    return replicates * n / (time.perf_counter() - began)
