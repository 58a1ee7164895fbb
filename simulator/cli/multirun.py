"""The command ``--multirun``: from overrides to one store, with progress on the way."""

from __future__ import annotations

import functools
import itertools
import json
import os
import warnings
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from simulator.cli.console import CONTRAST, PAGE, listen, show
from simulator.cli.progress import Compilation, Progress, say
from simulator.configuration.files import dump
from simulator.configuration.parameters import ONE_DRAW
from simulator.errors import ConfigError, IncompleteWarning, Problem, ScenarioError
from simulator.experiment.schema import Experiment
from simulator.results.provenance import UNCERTAINTY, sweep_record, version
from simulator.results.store import save
from simulator.running.experiment import engine_of
from simulator.running.record import record_of
from simulator.running.workers import processors
from simulator.sweep import launchers
from simulator.sweep.axes import SCENARIO, meaning, quantity
from simulator.sweep.both_ends import both_ends
from simulator.sweep.contrasts import contrast
from simulator.sweep.design import Running, Sweep, fingerprint
from simulator.sweep.grammar import read_sweep
from simulator.sweep.jobs import Job, SweepPlan, plan
from simulator.sweep.layout import LabelledAxis
from simulator.sweep.locks import WHOLE, closed, held
from simulator.sweep.requirements import CHECKED_DRY, counted, refuse_too_large, refuse_too_many, requirements
from simulator.sweep.scenarios import MOST_RECORDS, RECORDS, records
from simulator.sweep.store import (
    ARRAYS,
    EXTENDED,
    MANIFEST,
    SUMMARY,
    SUMS,
    Block,
    SweepStore,
    is_extended,
    mark_extended,
    settle,
    sweep_away,
)
from simulator.sweep.tree import FAILED, N_FINISHED, N_SCENARIOS, open_sweep, write_summary
from simulator.units import DIMENSIONS, unit_of
from simulator.views import decisions, estimates
from simulator.views.tables import line

STUDIES = "study.replicates"
_OURS = {ARRAYS, EXTENDED, MANIFEST, SUMS, SUMMARY, CONTRAST, PAGE, "locks"}


def axes_of_results(sweep: Sweep, experiment: Experiment) -> list[LabelledAxis]:
    """Return the swept dimensions with their labels: numbers in the unit inside where all are numbers, else words."""
    made = []
    for axis in sweep.axes:
        coordinates: dict[str, tuple[Any, Mapping[str, Any]]] = {}
        if axis.name == SCENARIO:
            about = {"long_name": "number of the scenario", "units": "1"}
            coordinates[SCENARIO] = np.arange(axis.size), about
        for key, column in zip(axis.keys, axis.columns, strict=True):
            labels, unit = _labels(sweep, key, column, experiment)
            coordinates[sweep.names[key]] = labels, {"long_name": key, "units": unit}
        made.append(LabelledAxis(axis.name, axis.size, coordinates))
    return made


def _labels(sweep: Sweep, key: str, column: Sequence[str], experiment: Experiment) -> tuple[Any, str]:
    """Return what the points of a key are called, and their unit: numbers, or words without quotes."""
    values = [sweep.value(key, text) for text in column]
    numbers = [None if key in sweep.library.groups else quantity(value) for value in values]
    if any(number is None for number in numbers):
        named = [value if isinstance(value, str | int | float) and not isinstance(value, bool) else text
                 for value, text in zip(values, column, strict=True)]  # fmt: skip
        return np.array([str(each) for each in named], dtype=object), ""
    whole = all(isinstance(value, int) for value in values)
    said = next((unit for value in values if (unit := unit_of(value)) is not None), "1")
    kind = experiment.kinds.get(key.removesuffix(".value"))
    unit = said if kind is None else DIMENSIONS[kind].unit
    return np.array(values if whole else numbers), unit


def run_sweep(
    overrides: Sequence[str], *, config_dir: str | os.PathLike[str] | None = None, dry: bool = False, cfg: bool = False
) -> Path | None:
    """Run a sweep into its store, or go on with it. Returns the folder.

    ``dry`` only tells what would be done, ``cfg`` only prints the composed configuration of the first scenario.

    Raises
    ------
    ConfigError
        With every problem of every scenario, or if the folder holds another sweep or is in use. Nothing is created.
    ScenarioError
        If some scenarios failed; the others are in the store.
    """
    sweep, hydra = read_sweep(overrides, config_dir=config_dir)
    listen(hydra.get("hydra.verbose", "false"))
    if "hydra.run.dir" in hydra:
        allowed = "is of a single run; a sweep goes to hydra.sweep.dir"
        raise ConfigError(Problem("hydra.run.dir", hydra["hydra.run.dir"], allowed))
    if cfg:
        print(dump(sweep.composed(0).container), end="")
        return None
    refuse_too_many(sweep)
    more, said = both_ends(sweep)
    if said:
        say(said)
    if more:
        overrides = [*overrides, more]
        sweep, hydra = read_sweep(overrides, config_dir=config_dir)
        refuse_too_many(sweep)
    description = sweep.description | {"software": version()}
    folder = _folder(hydra.get("hydra.sweep.dir"), description)
    if not dry and is_extended(folder):
        with closed(folder):
            settle(folder)
    extends = _what_is_there(folder, description, sweep)
    drawn = {UNCERTAINTY: "draws of the posterior, dimension draw"} if ONE_DRAW in sweep.names else {}
    attrs = sweep_record(description, sweep.configurations, title=sweep.title, **drawn)
    looked_at = CHECKED_DRY if dry else len(sweep)
    with Progress("checking", min(looked_at, len(sweep))) as progress:
        axes = functools.partial(axes_of_results, sweep)
        planned = plan(sweep, axes, attrs=attrs, most=looked_at, progress=progress.at)
    if dry:
        print(requirements(sweep, planned, folder))
        return None
    planned = _recorded(sweep, planned)
    refuse_too_large(sweep, planned, folder)
    with Compilation(overrides) as first_run:  # all that is refused has been
        first_run.begin()
        first_run.finish(planned.known.get(0) or sweep.experiment(0))
    own = None if config_dir is None else str(Path(config_dir).expanduser().absolute())  # a worker may stand elsewhere
    open_scenarios, place = SweepOverrides(tuple(overrides), own), folder.absolute()
    job = Job(open_scenarios, planned.layout, place, known=planned.known, summed=sweep.extendable)
    if extends is not None:
        places = _places(extends, description, sweep)
        more = extends["set"].get(STUDIES) != description["set"].get(STUDIES)
        job = replace(job, folder=place / EXTENDED, extended=place, places=places, more_studies=more)
    with _claimed(folder, sweep):
        _work(sweep, planned, job, description)
        if extends is not None:
            with closed(folder):  # of shards that end together one puts the store in its place
                if len(job.store.committed()) == len(planned.layout.blocks):
                    mark_extended(folder)
                settle(folder)
    return _concluded(folder, sweep)


def _recorded(sweep: Sweep, planned: SweepPlan) -> SweepPlan:
    """Return the plan with the records of the first scenario of each set of group choices, for a page of the sweep."""
    kept, borrowed = [], dict[str, None]()
    for places, index in itertools.islice(sweep.firsts(), MOST_RECORDS):
        experiment = planned.known.get(index) or sweep.experiment(index)
        kept.append((places, record_of(experiment, engine=engine_of(experiment))))
        borrowed |= {experiment.borrowed: None} if experiment.borrowed else {}
    said = {UNCERTAINTY: "; ".join([str(planned.layout.attrs[UNCERTAINTY]), *borrowed])}
    attrs = {**planned.layout.attrs, **said, RECORDS: records(kept)}
    return replace(planned, layout=replace(planned.layout, attrs=attrs))


@dataclass(frozen=True)
class SweepOverrides:
    """The overrides of a sweep, for another process to read: equal ones are read once there."""

    overrides: tuple[str, ...]
    config_dir: str | None

    def __call__(self) -> Sweep:
        return read_sweep(self.overrides, config_dir=self.config_dir)[0]


def _work(sweep: Sweep, planned: SweepPlan, job: Job, description: Mapping[str, Any]) -> None:
    """Do what is not done, and say how much of it was there."""
    blocks, running = planned.layout.blocks, sweep.running
    if running.shard is None:
        sweep_away(job.folder)
    job.store.begin(description, planned.layout)
    first, step = (0, 1) if running.shard is None else (running.shard[0] - 1, running.shard[1])
    assigned = range(len(blocks))[first::step]
    finished = [number for number in assigned if job.finished(number)]
    todo = [number for number in assigned if number not in set(finished)]
    per_scenario = planned.patients / len(sweep)
    n_kept, n_todo = (sum(len(blocks.scenarios(number)) for number in each) for each in (finished, todo))
    if finished:
        say(f"{counted(n_kept, 'scenario')} in {counted(len(finished), 'block')} kept; {n_todo:,} to do")
    n_taken = sum(job.takes(number) for number in todo)
    done = 0
    try:
        with Progress("simulating", round(n_todo * per_scenario)) as progress:
            for block in _launched(planned, job, todo, progress, running):
                done += 1
                progress.block(round(len(blocks.scenarios(block.number)) * per_scenario))
        if running.shard is None:
            sweep_away(job.folder)  # what killed workers left
    except KeyboardInterrupt:
        share = f"{len(finished) + done} of {counted(len(assigned), 'block')} are finished"
        say(f"interrupted: {share}; the same command goes on from there")
        raise
    kept = [f"{counted(n_kept, 'scenario')} kept"] if finished or not n_taken else []
    if n_taken:
        more = ", with more studies" if job.more_studies else ""
        kept += [f"{counted(n_taken, 'scenario')} of the store that is extended{more}"]
    say(", ".join([*kept, f"{n_todo - n_taken:,} computed"]))


def _launched(
    planned: SweepPlan, job: Job, todo: Sequence[int], progress: Progress, running: Running
) -> Iterator[Block]:
    if running.launcher == "dask":
        return launchers.dask(job, todo, address=running.address, workers=running.workers)
    workers = running.workers or processors()
    if planned.by_reference and workers > 1 and len(todo) > 1:
        return launchers.processes(job, todo, workers=min(workers, len(todo)))
    return launchers.here(job, todo, progress=progress.more)


# -- what is there already ------------------------------------------------------------------------------


def _folder(given: str | None, description: Mapping[str, Any]) -> Path:
    if given is not None:
        return Path(given).expanduser()
    return Path("outputs") / "sweeps" / fingerprint(description)[:16]


def _what_is_there(folder: Path, description: Mapping[str, Any], sweep: Sweep) -> Mapping[str, Any] | None:
    """Return the description of a smaller sweep that this one extends; None to begin or to go on.

    Raises ConfigError where the folder holds something else, naming what differs.
    """
    key = "hydra.sweep.dir"
    try:
        if folder.exists() and not folder.is_dir():
            raise ConfigError(Problem(key, str(folder), "is a file; name a folder"))
        present = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    except OSError as error:
        raise ConfigError(Problem(key, str(folder), f"cannot be read: {error.strerror or error}")) from None
    left_behind = {name for name in present if name.startswith(".") and name.endswith(".tmp")}  # by a killed writer
    if strange := sorted(present - _OURS - left_behind):
        raise ConfigError(Problem(key, str(folder), f"holds something else ({strange[0]}); name a new folder"))
    there = SweepStore(folder).description()
    if there is None or there == description:
        return None
    staged = SweepStore(folder / EXTENDED).description()
    differs = _differences(there, description, sweep)
    if differs:
        listed = "; ".join(differs[:6])
        raise ConfigError(Problem(key, str(folder), f"holds another sweep: {listed}. Name a new folder"))
    if staged not in (None, description):
        allowed = f"is being extended by another command; finish that one, or remove {folder / EXTENDED}"
        raise ConfigError(Problem(key, str(folder), allowed))
    return there


def _differences(there: Mapping[str, Any], here: Mapping[str, Any], sweep: Sweep) -> list[str]:
    """Return what keeps a sweep from being an extension of the one that is there, whatever the spelling of a value."""
    found = []
    for key in dict.fromkeys((*there["set"], *here["set"])):
        before, now = there["set"].get(key, "not set"), here["set"].get(key, "not set")
        if before == now or meaning(sweep.value(key, before)) == meaning(sweep.value(key, now)):
            continue
        if key != STUDIES or not (before.isdecimal() and now.isdecimal()) or int(now) < int(before):
            found.append(f"{key} was {before} and is {now}")
        elif not there.get("extendable"):
            hint = "only a store that was made with sweep.extendable=true takes more studies"
            found.append(f"{key} was {before} and is {now} ({hint})")
    before, now = (bool(each.get("extendable")) for each in (there, here))
    if before != now:
        found.append(f"sweep.extendable was {str(before).lower()} and is {str(now).lower()}")
    before, now = ([axis["keys"] for axis in each["axes"]] for each in (there, here))
    if before != now:
        found.append(f"swept were {_listed(before)}, and are {_listed(now)}")
    else:
        for old, new in zip(there["axes"], here["axes"], strict=True):
            stay = {_point(sweep, new["keys"], point) for point in new["points"]}
            if missing := [point for point in old["points"] if _point(sweep, old["keys"], point) not in stay]:
                found.append(f"{', '.join(old['keys'])} had {', '.join(missing[0])} too")
    for name, fingerprint_there in there["files"].items():
        if here["files"].get(name, fingerprint_there) != fingerprint_there:
            found.append(f"the files of {name or 'the default cohort'} have changed")
    for name, before in there["software"].items():
        if here["software"].get(name) != before:
            found.append(f"{name} was {before} and is {here['software'].get(name)}")
    return found


def _listed(axes: Sequence[Sequence[str]]) -> str:
    return ", ".join(" and ".join(keys) for keys in axes)


def _point(sweep: Sweep, keys: Sequence[str], texts: Sequence[str]) -> tuple[Hashable, ...]:
    """Return what a point of an axis means, key by key."""
    return tuple(meaning(sweep.value(key, text)) for key, text in zip(keys, texts, strict=True))


def _places(there: Mapping[str, Any], here: Mapping[str, Any], sweep: Sweep) -> tuple[dict[int, int], ...]:
    """Return, for each axis, where each point stood in the sweep that is extended."""
    made = []
    for old, new in zip(there["axes"], here["axes"], strict=True):
        stood = {_point(sweep, old["keys"], point): place for place, point in enumerate(old["points"])}
        points = [_point(sweep, new["keys"], point) for point in new["points"]]
        made.append({place: stood[point] for place, point in enumerate(points) if point in stood})
    return tuple(made)


@contextmanager
def _claimed(folder: Path, sweep: Sweep) -> Iterator[None]:
    """Make the folder and hold it, or the shard of it that is ours."""
    shard = sweep.running.shard
    name = WHOLE if shard is None else f"shard_{shard[0]}_of_{shard[1]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ARRAYS).mkdir(exist_ok=True)
    except OSError as error:
        why = f"cannot be written to: {error.strerror or error}"
        raise ConfigError(Problem("hydra.sweep.dir", str(folder), why)) from None
    with held(folder, name, takeover=sweep.running.takeover):
        yield


def _concluded(folder: Path, sweep: Sweep) -> Path:
    """Write summary and page of a store that is complete, say what is there, and name what failed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IncompleteWarning)
        tree = open_sweep(folder)
    failed: dict[str, str] = json.loads(tree.attrs.get(FAILED, "{}"))
    n, n_finished = tree.attrs[N_SCENARIOS], tree.attrs[N_FINISHED]
    paged = bool(sweep.composed(0).container["output"]["report"])
    if n_finished + len(failed) == n:
        write_summary(folder, tree)
        SweepStore(folder).seal()
        if sweep.contrast:
            save(contrast(tree, sweep.contrast, across_cohorts=True), folder / CONTRAST)
        if paged:
            from simulator.views import report

            report.write(tree, folder / PAGE, source=str(folder), against=sweep.contrast)
    if estimates.NODE in tree.children:
        show(estimates.estimates_table(tree))
    if decisions.NODE in tree.children:
        show(decisions.decisions_table(tree))
    if uncertainty := str(tree.attrs.get(UNCERTAINTY, "")):
        show(line(f"Parameters: {uncertainty}"))
    print(f"\n{folder}{os.sep}")
    print(f'  {ARRAYS:12}  the results: simulator.open_results("{folder.as_posix()}")')
    if n_finished + len(failed) == n:
        print(f"  {SUMMARY:12}  for a spreadsheet")
        if sweep.contrast:
            print(f"  {CONTRAST:12}  against {sweep.contrast}")
        if paged:
            print(f"  {PAGE:12}  all of it on a page, for a browser")
    else:
        print(f"  {n_finished:,} of {n:,} scenarios are finished; the others show NaN")
    if failed:
        lines = [f"scenario {' '.join(sweep.overrides(int(index)))}: {said}" for index, said in failed.items()]
        raise ScenarioError(f"{counted(len(failed), 'scenario')} failed, the others are kept\n" + "\n".join(lines[:20]))
    return folder
