"""The store of a sweep: labels and unions, commits that a kill cannot harm, locks, damage found."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from simulator.errors import ConfigError, IncompleteWarning, LobuleError
from simulator.sweep import store as sweep_store
from simulator.sweep.layout import LabelledAxis, Layout, ScenarioKind, layout_of
from simulator.sweep.locks import WHOLE, held
from simulator.sweep.opening import open_results
from simulator.sweep.store import SweepStore, settle, sweep_away
from simulator.sweep.tree import COMPLETE, N_FINISHED, Finished

SIZES = (3, 4)
PROCESSES = multiprocessing.get_context("forkserver" if os.name != "nt" else "spawn")
PROCESSES.set_forkserver_preload(["simulator.sweep.tree"])


def node(names: list[str], first: float, *, unit: str = "d") -> xr.Dataset:
    values = first + np.arange(len(names) * 2, dtype=np.float64).reshape(len(names), 2)
    return xr.Dataset(
        {
            "alive": (("target", "time"), values, {"long_name": "alive", "units": "1"}),
            "n_dead": ((), np.int64(first), {"long_name": "dead", "units": "1"}),
        },
        coords={
            "target": ("target", np.array(names, dtype=object), {"long_name": "id", "units": ""}),
            "time": ("time", [0.0, 7.0], {"long_name": "time", "units": "d"}),
            "unit": ("target", np.array([unit] * len(names), dtype=object), {"long_name": "unit", "units": ""}),
        },
    )


def run(index: int) -> dict[str, xr.Dataset]:
    return {"targets": node(["a", "b"] if index % 2 else ["b", "c"], 100.0 * index)}


def small(sizes: tuple[int, ...] = SIZES, names: tuple[str, ...] = ("cohort", "interval")) -> Layout:
    axes = []
    for name, size in zip(names, sizes, strict=True):
        values = np.arange(size) * 7
        axes.append(LabelledAxis(name, size, {name: (values, {"long_name": name, "units": "d"})}))
    kind_of = np.arange(np.prod(sizes)).reshape(sizes) % 2
    kinds = [ScenarioKind(run(number), {}) for number in (0, 1)]
    notes = {"overrides": (np.full(sizes, "x=1", dtype=object), {"long_name": "words", "units": ""})}
    return layout_of(axes, kinds, kind_of, notes=notes, attrs={"software": "lobule", "results_format": 1}, patients=9)


def fill(folder: Path, sizes: tuple[int, ...] = SIZES) -> None:
    """Do what a sweep does: begin, keep what is whole, do the rest."""
    layout, store = small(sizes), SweepStore(folder)
    sweep_away(folder)
    store.begin({"sizes": list(sizes)}, layout)
    for number in range(len(layout.blocks)):
        block = store.block(number)
        if block is None or not block.complete:
            store.commit(layout, number, [run(index) for index in layout.blocks.scenarios(number)])


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "locks" not in path.parts
    }


@pytest.fixture
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IncompleteWarning)
        yield


# --- labels -------------------------------------------------------------------------------------------------


def test_every_scenario_stands_at_its_labels_and_what_it_lacks_is_nan(tmp_path: Path) -> None:
    fill(tmp_path)
    tree = open_results(tmp_path)
    assert tree.attrs[COMPLETE] == 1
    targets = tree["targets"].to_dataset()
    assert targets["target"].values.tolist() == ["b", "c", "a"]
    for index in range(12):
        cohort, interval = divmod(index, 4)
        cell = targets.sel(cohort=7 * cohort, interval=7 * interval)
        alone = run(index)["targets"]
        there = alone["target"].values
        xr.testing.assert_equal(cell["alive"].sel(target=there).drop_vars(["cohort", "interval"]), alone["alive"])
        assert cell["n_dead"].item() == alone["n_dead"].item()
        assert cell["alive"].sel(target=[t for t in "abc" if t not in there]).isnull().all()
    assert tree.sel(cohort=7, interval=21)["targets"]["alive"].dims == ("target", "time")
    for each in tree.subtree:
        for variable in each.to_dataset(inherit=False).variables.values():
            assert {"long_name", "units"} <= set(variable.attrs)


def test_a_text_that_scenarios_disagree_on_is_kept_for_each() -> None:
    axes = [
        LabelledAxis("family", 2, {"family": (np.array(["x", "y"], dtype=object), {"long_name": "f", "units": ""})})
    ]
    kinds = [
        ScenarioKind({"targets": node(["a", "b"], 0)}, {}),
        ScenarioKind({"targets": node(["b"], 0, unit="%")}, {}),
    ]
    layout = layout_of(axes, kinds, np.array([0, 1]), notes={}, attrs={}, patients=1)
    unit = layout.nodes["targets"].coordinates["unit"]
    assert unit.dims == ("family", "target")
    assert unit.values.tolist() == [["d", "d"], ["", "%"]]


def test_a_variable_named_like_a_swept_key_steps_aside() -> None:
    axes = [LabelledAxis("n_dead", 2, {"n_dead": (np.array([1, 2]), {"long_name": "n", "units": "1"})})]
    layout = layout_of(axes, [ScenarioKind(run(0), {})], np.zeros(2, int), notes={}, attrs={}, patients=1)
    assert [field.name for field in layout.nodes["targets"].fields] == ["alive", "simulated_n_dead"]


@pytest.mark.parametrize("sizes", [(1,), (5,), (3, 4), (2, 3, 40), (7, 100), (2000,)])
def test_blocks_hold_every_scenario_once(sizes: tuple[int, ...]) -> None:
    blocks = small(sizes, tuple("xyz"[: len(sizes)])).blocks
    every = [index for number in range(len(blocks)) for index in blocks.scenarios(number)]
    assert sorted(every) == list(range(int(np.prod(sizes))))
    for number in range(len(blocks)):
        assert {blocks.number(blocks.place(index)) for index in blocks.scenarios(number)} == {number}


# --- kills, damage, refusals ----------------------------------------------------------------------------------


def _killed_at(step: int, folder: Path, before: bool, sizes: tuple[int, ...]) -> None:
    """Fill a folder in a process that ends at its n-th rename, before or after it, as a kill would."""
    count = 0
    rename = Path.replace

    def counted(self: Path, target: Any) -> Any:
        nonlocal count
        count += 1
        if count == step and before:
            os._exit(9)
        done = rename(self, target)
        if count == step:
            os._exit(9)
        return done

    Path.replace = counted  # type: ignore[method-assign]
    fill(folder, sizes)


def _in_a_process(do: Callable[..., None], *arguments: object) -> int | None:
    process = PROCESSES.Process(target=do, args=arguments)
    process.start()
    process.join(60)
    return process.exitcode


def test_a_kill_at_any_step_of_a_commit_loses_nothing_and_counts_nothing_twice(tmp_path: Path, quiet: None) -> None:
    sizes = (2, 3)
    fill(tmp_path / "whole", sizes)
    whole = contents(tmp_path / "whole")
    steps = len(whole)
    for step in range(1, steps + 1):
        folder = tmp_path / str(step)
        assert _in_a_process(_killed_at, step, folder, step % 2 == 0, sizes) == 9
        n_committed = len(list((folder / "manifest").glob("block-*"))) if (folder / "manifest").is_dir() else 0
        if n_committed:
            tree = open_results(folder)
            assert tree.attrs[N_FINISHED] == n_committed  # blocks of one scenario here
            assert tree["targets"]["n_dead"].notnull().sum() >= n_committed
        fill(folder, sizes)
        assert contents(folder) == whole
    assert _in_a_process(_killed_at, steps + 1, tmp_path / "end", True, sizes) == 0


@pytest.mark.parametrize("damage", ["truncate", "flip", "remove", "record", "frame"])
def test_a_damaged_block_is_found_and_done_again(damage: str, tmp_path: Path) -> None:
    fill(tmp_path)
    whole = contents(tmp_path)
    chunks = sorted((tmp_path / "sweep.zarr" / "targets" / "alive" / "c").rglob("*"))
    path = next(each for each in chunks if each.is_file())
    if damage == "truncate":
        path.write_bytes(path.read_bytes()[:-3])
    elif damage == "flip":
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    elif damage == "remove":
        path.unlink()
    elif damage == "record":
        (tmp_path / "manifest" / "block-3.json").write_bytes(b'{"checksum":"x","content":{"files":{}}}')
    else:
        (tmp_path / "sweep.zarr" / "targets" / "alive" / "zarr.json").write_text("{")
    assert contents(tmp_path) != whole
    fill(tmp_path)
    assert contents(tmp_path) == whole


def test_a_store_that_is_not_complete_says_so_and_shows_nan(tmp_path: Path) -> None:
    tmp_path = tmp_path / "store\x1b[31m"  # a folder's name may hold what a terminal obeys
    tmp_path.mkdir()
    layout, store = small(), SweepStore(tmp_path)
    store.begin({}, layout)
    store.commit(layout, 5, [run(5)])
    store.commit(layout, 6, [None], {"6": "SimulationError: too many"})
    said = r"store\\x1b\[31m: 1 of 12 scenarios are finished; the others show NaN; 1 failed"
    with pytest.warns(IncompleteWarning, match=said):
        tree = open_results(tmp_path / "sweep.zarr")
    assert (tree.attrs[COMPLETE], tree.attrs[N_FINISHED]) == (0, 1)
    assert tree.attrs["failed"] == '{"6": "SimulationError: too many"}'
    assert tree["targets"]["n_dead"].notnull().values.ravel().nonzero()[0].tolist() == [5]


def test_blocks_of_another_sweep_are_never_taken_for_ones_own(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "manifest" / "sweep.json").write_bytes(b"{")
    store = SweepStore(tmp_path)
    store.begin({"sizes": "others"}, small())
    assert store.block(0) is None
    assert store.committed() == {}
    with pytest.warns(IncompleteWarning):
        assert open_results(tmp_path).attrs[N_FINISHED] == 0


def test_a_full_disk_leaves_what_was_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quiet: None) -> None:
    fill(tmp_path / "whole")
    layout, store = small(), SweepStore(tmp_path / "full")
    store.begin({"sizes": list(SIZES)}, layout)
    store.commit(layout, 0, [run(0)])
    before = contents(tmp_path / "full")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sweep_store.os, "fsync", full)
    with pytest.raises(LobuleError, match=r"No space left on device. Everything finished before is intact. Make room"):
        store.commit(layout, 1, [run(1)])
    monkeypatch.undo()
    assert contents(tmp_path / "full") == before
    fill(tmp_path / "full")
    assert contents(tmp_path / "full") == contents(tmp_path / "whole")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(self: Path, *arguments: Any, **more: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "replace", denied)
    with pytest.raises(ConfigError, match=r"hydra.sweep.dir = .*: cannot be written to: permission denied"):
        SweepStore(tmp_path).begin({}, small())


def test_a_larger_store_takes_the_place_of_the_one_it_extends(tmp_path: Path) -> None:
    for cut in range(5):
        folder = tmp_path / str(cut)
        fill(folder)
        fill(folder / "extended", (3, 5))
        whole = contents(folder / "extended")
        (folder / "extended" / "done").touch()
        steps: list[Callable[[], object]] = [
            lambda f=folder: (f / "sweep.zarr").rename(f / "extended" / "replaced-sweep.zarr"),
            lambda f=folder: (f / "extended" / "sweep.zarr").rename(f / "sweep.zarr"),
            lambda f=folder: (f / "manifest").rename(f / "extended" / "replaced-manifest"),
            lambda f=folder: (f / "extended" / "manifest").rename(f / "manifest"),
        ]
        for step in steps[:cut]:
            step()
        settle(folder)
        assert contents(folder) == whole


def test_what_a_store_has_whole_can_be_taken_from_it(tmp_path: Path) -> None:
    fill(tmp_path)
    layout, store = small(), SweepStore(tmp_path)
    store.commit(layout, 6, [None], {"6": "lost"})
    finished = Finished(tmp_path, layout.names)
    for index in range(12):
        taken = finished.run(layout.blocks.place(index), layout)
        if index == 6:
            assert taken is None
        else:
            assert taken is not None
            again = {field.name: values for _, field, values in layout.filled(index, [taken])}
            for _, field, values in layout.filled(index, [run(index)]):
                np.testing.assert_array_equal(again[field.name], values)


# --- locks --------------------------------------------------------------------------------------------------


def test_a_second_run_is_refused_and_named_the_first(tmp_path: Path) -> None:
    with held(tmp_path), pytest.raises(ConfigError, match=f"is in use by process {os.getpid()} on "), held(tmp_path):
        pass
    with held(tmp_path):
        pass


@pytest.mark.parametrize(
    ("first", "second", "beside"),
    [
        ("shard_1_of_2", "shard_2_of_2", True),
        ("shard_1_of_2", "shard_1_of_2", False),
        ("shard_1_of_2", "shard_2_of_3", False),
        ("shard_1_of_2", WHOLE, False),
        (WHOLE, "shard_1_of_2", False),
    ],
)
def test_shards_work_beside_each_other_and_nobody_else(first: str, second: str, beside: bool, tmp_path: Path) -> None:
    with held(tmp_path, first):
        if beside:
            with held(tmp_path, second):
                pass
            return
        with pytest.raises(ConfigError, match="in use"), held(tmp_path, second):
            pass


def _hold_and_die(folder: Path) -> None:
    with held(folder):
        os._exit(9)


def test_a_dead_holders_lock_is_no_obstacle(tmp_path: Path) -> None:
    assert _in_a_process(_hold_and_die, tmp_path) == 9
    assert list((tmp_path / "locks").glob("*.json"))
    with held(tmp_path):
        pass


def test_the_lock_of_another_machine_is_refused_unless_it_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks" / "whole.json").write_text('{"name": "whole", "host": "elsewhere", "process": 7}')
    with pytest.raises(ConfigError, match=r"process 7 on elsewhere; .*launcher\.takeover=true"), held(tmp_path):
        pass
    with held(tmp_path, takeover=True):
        pass


def _race(folder: Path, start: Any, both: Any, won: Any) -> None:
    start.wait()
    try:
        with held(folder):
            won.put(True)
            both.wait()
    except ConfigError:
        won.put(False)
        both.wait()


def test_of_two_runs_that_race_for_a_folder_exactly_one_proceeds(tmp_path: Path) -> None:
    for attempt in range(30):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        start, both, won = PROCESSES.Barrier(2), PROCESSES.Barrier(2), PROCESSES.Queue()
        racers = [PROCESSES.Process(target=_race, args=(folder, start, both, won)) for _ in range(2)]
        for racer in racers:
            racer.start()
        assert sorted([won.get(timeout=60), won.get(timeout=60)]) == [False, True]
        for racer in racers:
            racer.join(60)
