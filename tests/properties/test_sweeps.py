"""What a sweep promises: its cells are single runs, and no kill, order, shard or extension changes a byte."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import random
import signal
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import simulator
from simulator.cli.commands import main
from simulator.errors import DeclarationWarning, IncompleteWarning, SimulationError
from simulator.sweep import jobs as running

KILLS = 5
PROCESSES = multiprocessing.get_context("forkserver" if os.name != "nt" else "spawn")
PROCESSES.set_forkserver_preload(["simulator.cli.multirun", "simulator.engines.compiled"])

CHEAP = ["cohort=il2_hai_adjuvant", "study.replicates=30"]
NO_PAGE = "output.report=false"
SWEPT = ["parameters.recurrence.sigma=0.6,0.8,1.0,1.2", "course.max_administrations=10,20,26"]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="kills processes by signal")


def multirun(folder: Path, *words: str) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeclarationWarning)
        return main(["--multirun", *words, f"hydra.sweep.dir={folder}"])


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "locks" not in path.parts
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Contents of the folder of the sweep `CHEAP` × `SWEPT`, run once without interruption."""
    folder = tmp_path_factory.mktemp("whole")
    assert multirun(folder, *CHEAP, *SWEPT) == 0
    return contents(folder)


def assert_cells_are_single_runs(tree: xr.DataTree) -> int:
    """Compare every scenario with the single run of its words, value by value; return how many values."""
    sizes = dict(tree.to_dataset().sizes)
    compared = 0
    for place in np.ndindex(*sizes.values()):
        at = dict(zip(sizes, place, strict=True))
        alone = simulator.simulate(tree["scenarios"]["overrides"].isel(at).item().split("\n"))
        for node in ("targets", "statistics"):
            single, cell = alone[node].to_dataset(), tree[node].to_dataset().isel(at).load()
            for name, variable in single.data_vars.items():
                if {"patient", "history"} & set(variable.dims):
                    continue
                values = cell[name].sel({dim: single[dim].values for dim in variable.dims})
                np.testing.assert_array_equal(values.values, variable.values.astype(np.float64), err_msg=str(name))
                assert cell[name].notnull().sum() == variable.notnull().sum()  # and nothing anywhere else
                compared += variable.size
            for name in single.coords:
                if single[name].dims == ("target",):
                    there = cell[name].sel(target=single["target"].values)
                    np.testing.assert_array_equal(there.values, single[name].values)
    return compared


@pytest.mark.filterwarnings("ignore::simulator.errors.DeclarationWarning")
def test_cells_of_a_grid_over_all_cohorts_are_single_runs(tmp_path: Path) -> None:
    words = [
        "cohort=glob(*)",
        "seed=11",
        "course.max_administrations=1,3",
        "course.interval=14,21",
        "study.replicates=20",
        NO_PAGE,
    ]
    assert multirun(tmp_path / "grid", *words) == 0
    tree = simulator.open_results(tmp_path / "grid")
    assert tuple(tree.sizes.values()) == (4, 2, 2)
    assert assert_cells_are_single_runs(tree) > 100_000
    cell = tree.sel(cohort="ilp", interval=21, max_administrations=3)
    assert cell["statistics"]["overall_survival"].dims == ("group", "time")
    assert tree["interval"].attrs == {"long_name": "course.interval", "units": "d"}
    summary = (tmp_path / "grid" / "summary.csv").read_text().splitlines()
    assert summary[0].startswith("cohort,max_administrations,interval,quantity,")
    assert sum(line.startswith("ilp,3,21,L08,") for line in summary) == 1


@pytest.mark.filterwarnings("ignore::simulator.errors.DeclarationWarning")
def test_cells_of_a_sampled_design_over_readings_are_single_runs(tmp_path: Path) -> None:
    words = ["cohort=ilp", NO_PAGE, "study.replicates=20", "study.reading=naive,kaplan_meier", "sweep.samples=4"]
    words += ["parameters.additional_infusion.hazard_ratio=interval(0.5,1.5)", "cohort.n_patients=20,50"]
    assert multirun(tmp_path / "drawn", *words) == 0
    tree = simulator.open_results(tmp_path / "drawn")
    assert tuple(tree.sizes) == ("reading", "scenario", "n_patients")
    assert tree["hazard_ratio"].dims == ("scenario",)
    assert tree["targets"]["estimator"].dims == ("reading", "scenario", "n_patients", "target")
    renamed = tree["statistics"].to_dataset().rename(simulated_n_patients="patients_simulated")
    assert (renamed["patients_simulated"].sel(group="all") == 20 * tree["n_patients"]).all()


# --- kills ------------------------------------------------------------------------------------------------------


def _quietly(folder: Path, words: Sequence[str]) -> None:
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    raise SystemExit(multirun(folder, *words))


def test_kills_at_random_moments_change_no_byte(tmp_path: Path, whole: dict[str, str]) -> None:
    kill_at_random_moments(tmp_path, KILLS, whole)


def kill_at_random_moments(tmp_path: Path, wanted: int, whole: dict[str, str]) -> None:
    """Kill a sweep and go on, until a run gets through; from anew until there were enough kills. Compare bytes."""
    words = [*CHEAP, *SWEPT]
    random_numbers, kills, attempt, lost_nothing = random.Random(20261125), 0, 0, True
    longest = 1.5
    while kills < wanted:
        attempt += 1
        folder, committed = tmp_path / str(attempt), -1
        while True:
            process = PROCESSES.Process(target=_quietly, args=(folder, words))
            began = time.monotonic()
            process.start()
            process.join(random_numbers.uniform(0.05, longest) if kills < wanted else 300)
            if process.exitcode is None:
                process.kill()
                kills += 1
                process.join(60)
                longest *= 1.15  # a busy machine may need longer to get anywhere at all
            else:
                longest = 1.1 * (time.monotonic() - began)
            assert process.exitcode in (0, -signal.SIGKILL)
            before, committed = committed, len(list((folder / "manifest").glob("block-*")))
            lost_nothing &= committed >= before
            if process.exitcode == 0:
                break
        assert contents(folder) == whole
    assert lost_nothing


def test_ctrl_c_says_how_to_go_on(
    tmp_path: Path,
    whole: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [*CHEAP, *SWEPT]
    do = running.Job.do

    def interrupted(self: running.Job, number: int, *arguments: Any) -> Any:
        if number == 5:
            raise KeyboardInterrupt
        return do(self, number, *arguments)

    monkeypatch.setattr(running.Job, "do", interrupted)
    capsys.readouterr()
    assert multirun(tmp_path / "cut", *words) == 130
    assert "5 of 12 blocks are finished; the same command goes on from there" in capsys.readouterr().err
    monkeypatch.undo()
    assert multirun(tmp_path / "cut", *words) == 0
    assert "5 scenarios kept, 7 computed" in capsys.readouterr().err
    assert contents(tmp_path / "cut") == whole


@pytest.mark.parametrize("ahead", [False, True])
def test_a_scenario_that_fails_is_named_and_the_others_are_kept(
    tmp_path: Path,
    whole: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    ahead: bool,
) -> None:
    words = [*CHEAP, *SWEPT]
    outcomes = running.outcomes

    def one_fails(experiments: Any, *, partial: Any = None, **more: Any) -> Any:
        for i in range(len(experiments)):
            for experiment in experiments if ahead else experiments[i : i + 1]:  # ahead: while others are under way
                if "course.max_administrations=20" in experiment.overrides and experiment.study.replicates > 1:
                    raise SimulationError("beyond its declared maximum")
            yield from outcomes(experiments[i : i + 1], partial=partial and partial[i : i + 1], **more)

    monkeypatch.setattr(running, "outcomes", one_fails)
    assert multirun(tmp_path / "a", *words) == 3
    err = capsys.readouterr().err
    assert "4 scenarios failed, the others are kept" in err
    assert "parameters.recurrence.sigma=0.6 course.max_administrations=20: SimulationError: beyond its" in err
    with pytest.warns(IncompleteWarning, match="8 of 12 .* 4 failed"):
        tree = simulator.open_results(tmp_path / "a")
    missing = tree["statistics"]["rmst"].isnull().any("group")
    assert missing.sel(max_administrations=20).all()
    assert missing.sum() == 4
    monkeypatch.undo()
    assert multirun(tmp_path / "a", *words) == 0
    assert contents(tmp_path / "a") == whole


# --- one folder ---------------------------------------------------------------------------------------------------


def test_the_same_command_keeps_what_is_there_and_another_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert multirun(tmp_path, *CHEAP, *SWEPT) == 0
    before = contents(tmp_path)
    capsys.readouterr()
    assert multirun(tmp_path, *CHEAP, *SWEPT) == 0
    assert "12 scenarios kept, 0 computed" in capsys.readouterr().err
    for words, said in (
        ([*CHEAP, *SWEPT, "seed=2"], "seed was not set and is 2"),
        (["cohort=il2_hai_adjuvant", "study.replicates=31", *SWEPT], "study.replicates was 30 and is 31"),
        ([*CHEAP, SWEPT[0]], "swept were parameters.recurrence.sigma, course.max_administrations, and are"),
        ([*CHEAP, SWEPT[0], "course.max_administrations=10,26"], "course.max_administrations had 20 too"),
    ):
        assert multirun(tmp_path, *words) == 2
        assert f"holds another sweep: {said}" in capsys.readouterr().err
    assert contents(tmp_path) == before


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    assert multirun(tmp_path, *CHEAP, *SWEPT) == 2
    assert "holds something else (thesis.txt)" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_shards_fill_one_store_in_any_order(
    tmp_path: Path, whole: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    for shard in (3, 1, 2):
        assert multirun(tmp_path / "shards", *CHEAP, *SWEPT, f"launcher.shard={shard}/3") == 0
        assert "4 computed" in capsys.readouterr().err
    assert contents(tmp_path / "shards") == whole


def test_the_reference_engine_in_worker_processes_gives_the_same_values(tmp_path: Path) -> None:
    small = ["cohort=il2_hai_adjuvant", NO_PAGE, "study.replicates=2", "parameters.recurrence.sigma=0.6,0.8"]
    assert multirun(tmp_path / "simpy", *small, "engine=reference", "launcher.workers=2") == 0
    assert multirun(tmp_path / "compiled", *small) == 0
    for node in ("targets", "statistics"):
        one, two = (simulator.open_results(tmp_path / each)[node].to_dataset().load() for each in ("simpy", "compiled"))
        xr.testing.assert_identical(one, two)


# --- extending ----------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::simulator.errors.DeclarationWarning")
def test_an_extended_store_is_that_of_one_run_and_only_what_is_new_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["study.replicates=20", "seed=5", NO_PAGE]
    first = [*common, "cohort=ilp,il2_hai_adjuvant", "cohort.n_patients=20,30"]
    more = [*common, "cohort=il2_hai_unresectable,ilp,il2_hai_adjuvant", "cohort.n_patients=20,25,30"]
    assert multirun(tmp_path / "one", *more) == 0
    assert multirun(tmp_path / "two", *first) == 0
    simulated: list[str] = []
    outcomes = running.outcomes

    def counted(experiments: Any, **options: Any) -> Any:
        simulated.extend("\n".join(each.overrides) for each in experiments if each.study.replicates > 1)
        yield from outcomes(experiments, **options)

    monkeypatch.setattr(running, "outcomes", counted)
    capsys.readouterr()
    assert multirun(tmp_path / "two", *more) == 0
    assert len(simulated) == len(set(simulated)) == 9 - 4
    assert "4 scenarios of the store that is extended, 5 computed" in capsys.readouterr().err
    assert contents(tmp_path / "two") == contents(tmp_path / "one")


@pytest.mark.filterwarnings("ignore::simulator.errors.DeclarationWarning")
def test_a_sweep_killed_while_its_store_takes_its_place_goes_on_and_computes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def cut_at(step: int) -> None:
        left = [step]

        def rename(path: Path, target: Path) -> Path:
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            return Path(os.rename(path, target) or target)  # noqa: PTH104

        monkeypatch.setattr(Path, "rename", rename)

    first = [*CHEAP, NO_PAGE, "sweep.extendable=true", "course.max_administrations=10,20"]
    more = [*first[:-1], "course.max_administrations=10,20,26"]
    assert multirun(tmp_path / "one", *more) == 0
    for step in range(6):  # arrays, sums and manifest, each away and into place
        folder = tmp_path / str(step)
        assert multirun(folder, *first) == 0
        cut_at(step)
        assert multirun(folder, *more) == 130
        monkeypatch.undo()
        capsys.readouterr()
        shard = [] if step % 2 else ["launcher.shard=1/2"]
        assert multirun(folder, *more, *shard) == 0
        assert "kept, 0 computed" in capsys.readouterr().err
        assert contents(folder) == contents(tmp_path / "one")


@pytest.mark.filterwarnings("ignore::simulator.errors.DeclarationWarning")
def test_draws_are_a_dimension_with_the_numbers_of_a_run_over_draws(tmp_path: Path) -> None:
    words = ["cohort=pj203_mmc", "parameters=posterior", "study.replicates=12", "course.interval=14,21"]
    assert multirun(tmp_path / "one", *words, "parameters.draws=5") == 0
    assert multirun(tmp_path / "two", *words, "parameters.draws=3") == 0
    assert multirun(tmp_path / "two", *words, "parameters.draws=5") == 0
    assert contents(tmp_path / "two") == contents(tmp_path / "one")
    tree = simulator.open_results(tmp_path / "one")
    assert dict(tree.sizes) == {"interval": 2, "draw": 5}
    assert tree.attrs["parameter_uncertainty"] == "draws of the posterior, dimension draw"
    assert assert_cells_are_single_runs(tree) > 10_000
    run = simulator.simulate([*words[:3], "course.interval=21", "parameters.draws=5"])["targets"].to_dataset()
    assert run["draw"].values.tolist() == tree["draw"].values.tolist()  # the model can produce them all
    cell = tree["targets"]["simulated"].sel(interval=21, target=run["target"].values)
    np.testing.assert_array_equal(cell.transpose(*run["simulated"].dims).values, run["simulated"].values)


def test_a_sobol_design_is_extended_by_more_samples(tmp_path: Path) -> None:
    words = [*CHEAP, NO_PAGE, "parameters.recurrence.sigma=interval(0.5,1)", "sweep.design=sobol"]
    assert multirun(tmp_path / "a", *words, "sweep.samples=4") == 0
    assert multirun(tmp_path / "a", *words, "sweep.samples=8") == 0
    assert multirun(tmp_path / "b", *words, "sweep.samples=8") == 0
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_an_extension_that_is_killed_goes_on(
    tmp_path: Path, whole: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    less = [*CHEAP, SWEPT[0], "course.max_administrations=10,26"]
    assert multirun(tmp_path / "a", *less) == 0
    before = contents(tmp_path / "a")
    do = running.Job.do

    def stopped(self: running.Job, number: int, *arguments: Any) -> Any:
        if number == 7:
            raise KeyboardInterrupt
        return do(self, number, *arguments)

    monkeypatch.setattr(running.Job, "do", stopped)
    assert multirun(tmp_path / "a", *CHEAP, *SWEPT) == 130
    monkeypatch.undo()
    assert {path: sum_ for path, sum_ in contents(tmp_path / "a").items() if not path.startswith("extended")} == before
    assert multirun(tmp_path / "a", *CHEAP, *SWEPT) == 0
    assert contents(tmp_path / "a") == whole


MORE_STUDIES = ["cohort=il2_hai_adjuvant", NO_PAGE, "sweep.extendable=true"]


def test_more_studies_extend_a_store_that_keeps_its_sums(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = [*MORE_STUDIES, "study.replicates=30", "course.max_administrations=10,26", "cohort.n_patients=18"]
    more = [*MORE_STUDIES, "study.replicates=50", "course.max_administrations=10,20,26", "cohort.n_patients=18"]
    assert multirun(tmp_path / "one", *more) == 0
    assert multirun(tmp_path / "two", *first) == 0
    simulated: list[int] = []
    outcomes = running.outcomes

    def counted(experiments: Any, partial: Any = None, **options: Any) -> Any:
        for each, earlier in zip(experiments, partial or (), strict=bool(partial)):
            simulated.append(each.study.replicates - (earlier.replicates if earlier else 0))
        yield from outcomes(experiments, partial=partial, **options)

    monkeypatch.setattr(running, "outcomes", counted)
    capsys.readouterr()
    assert multirun(tmp_path / "two", *more) == 0
    assert sorted(simulated) == [20, 20, 50]
    assert "2 scenarios of the store that is extended, with more studies, 1 computed" in capsys.readouterr().err
    assert contents(tmp_path / "two") == contents(tmp_path / "one")
    assert any(path.startswith("sums") for path in contents(tmp_path / "one"))


def test_more_scenarios_of_as_many_studies_take_their_sums_along(tmp_path: Path) -> None:
    words = [*MORE_STUDIES, "study.replicates=30"]
    assert multirun(tmp_path / "one", *words, "course.max_administrations=10,20,26") == 0
    assert multirun(tmp_path / "two", *words, "course.max_administrations=10,26") == 0
    assert multirun(tmp_path / "two", *words, "course.max_administrations=10,20,26") == 0
    assert contents(tmp_path / "two") == contents(tmp_path / "one")


def test_an_extension_by_studies_that_is_killed_or_damaged_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept = [*MORE_STUDIES, "course.max_administrations=10,20,26", "output.decisions={go: {target: I11, above: 0.2}}"]
    assert multirun(tmp_path / "whole", *swept, "study.replicates=50") == 0
    assert multirun(tmp_path / "a", *swept, "study.replicates=30") == 0
    sums = sorted((tmp_path / "a" / "sums").iterdir())
    assert len(sums) == 3
    sums[1].write_bytes(sums[1].read_bytes()[:-5])  # this block is done again from its first study on
    do = running.Job.do

    def stopped(self: running.Job, number: int, *arguments: Any) -> Any:
        if number == 2:
            raise KeyboardInterrupt
        return do(self, number, *arguments)

    monkeypatch.setattr(running.Job, "do", stopped)
    assert multirun(tmp_path / "a", *swept, "study.replicates=50") == 130
    monkeypatch.undo()
    assert multirun(tmp_path / "a", *swept, "study.replicates=50") == 0
    assert contents(tmp_path / "a") == contents(tmp_path / "whole")


def test_damaged_sums_are_found_and_made_again(tmp_path: Path) -> None:
    words = [*MORE_STUDIES, "study.replicates=30", "course.max_administrations=10,20"]
    assert multirun(tmp_path, *words) == 0
    whole = contents(tmp_path)
    (tmp_path / "sums" / "block-1").unlink()
    assert multirun(tmp_path, *words) == 0
    assert contents(tmp_path) == whole


def test_studies_are_added_only_where_sums_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    swept = ["cohort=il2_hai_adjuvant", NO_PAGE, "course.max_administrations=10,20"]
    assert multirun(tmp_path / "bare", *swept, "study.replicates=30") == 0
    assert multirun(tmp_path / "kept", *swept, "study.replicates=30", "sweep.extendable=true") == 0
    before = contents(tmp_path)
    capsys.readouterr()
    for folder, words, said in (
        ("bare", ["study.replicates=50"], "study.replicates was 30 and is 50 (only a store that was made with"),
        ("kept", ["study.replicates=20", "sweep.extendable=true"], "study.replicates was 30 and is 20"),
        ("kept", ["study.replicates=50"], "sweep.extendable was true and is false"),
        ("bare", ["study.replicates=30", "sweep.extendable=true"], "sweep.extendable was false and is true"),
        ("kept", ["study.replicates=30", "sweep.extendable=ja"], "sweep.extendable = ja: must be true or false"),
    ):
        assert multirun(tmp_path / folder, *swept, *words) == 2
        assert said in capsys.readouterr().err
    assert contents(tmp_path) == before


def test_the_record_says_enough_to_make_the_sweep_again(tmp_path: Path) -> None:
    assert multirun(tmp_path, *CHEAP, *SWEPT) == 0
    attrs = simulator.open_results(tmp_path).attrs
    swept = json.loads(attrs["sweep"])
    assert swept["set"] == {"cohort": "il2_hai_adjuvant", "study.replicates": "30"}
    assert swept["axes"][1] == {
        "dimension": "max_administrations",
        "keys": ["course.max_administrations"],
        "points": [["10"], ["20"], ["26"]],
    }
    assert json.loads(attrs["configurations"])["cohort=il2_hai_adjuvant"]["cohort"]["n_patients"] == 18
