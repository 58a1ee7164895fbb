"""Results that vouch for themselves: what is not as it was written is refused when read, and named by `verify`."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import LocalStore

from simulator.errors import ConfigError, IncompleteWarning
from simulator.sweep.manifest import manifest
from simulator.sweep.opening import open_results
from simulator.sweep.proven_store import ProvenStore
from simulator.sweep.store import SweepStore
from simulator.sweep.verification import verify
from tests import damages
from tests.unit.sweep.test_store import contents, fill, run, small

ALIVE = "sweep.zarr/targets/alive/c"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written")
    (folder / "file").mkdir()
    damages.a_sweep(folder / "sweep")
    damages.a_file(folder / "file")
    return folder


@pytest.fixture
def sweep(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written / "sweep", tmp_path / "sweep"))


def swap(one: Path, other: Path) -> None:
    first = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(first)


OF_SCENARIO_5: dict[str, Callable[[Path], object]] = {
    "deleted": lambda chunk: chunk.unlink(),
    "empty": lambda chunk: chunk.write_bytes(b""),
    "cut short": lambda chunk: chunk.write_bytes(chunk.read_bytes()[:-1]),
    "swapped with another's": lambda chunk: swap(chunk, chunk.parents[3] / "2" / "3" / "0" / "0"),
    "copied from another": lambda chunk: shutil.copy(chunk.parents[3] / "2" / "3" / "0" / "0", chunk),
    "a folder of its name": lambda chunk: (chunk.unlink(), chunk.mkdir()),
}


@pytest.mark.parametrize("damage", OF_SCENARIO_5)
def test_a_chunk_that_is_not_as_written_is_refused_with_its_scenario(damage: str, sweep: Path) -> None:
    OF_SCENARIO_5[damage](sweep / ALIVE / "1" / "1" / "0" / "0")
    tree = open_results(sweep)
    with pytest.raises(ConfigError, match=r"alive/c/1/1/0/0.*: of scenario 5 \(x=1\); the sweep's command"):
        tree["targets"]["alive"].isel(cohort=1, interval=1).load()
    np.testing.assert_array_equal(tree["targets"]["alive"].isel(cohort=0, interval=0).sel(target="b")[0], 0.0)
    assert "scenario 5 (x=1)" in " ".join(map(str, verify(sweep).damaged))


def test_a_chunk_of_which_nothing_is_known_may_be_absent_and_a_stale_one_is_not_read(sweep: Path) -> None:
    absent = sweep / ALIVE / "1" / "0" / "0" / "0"
    assert not absent.exists()
    assert open_results(sweep)["targets"]["alive"].isel(cohort=1, interval=0).isnull().all()
    absent.parent.mkdir(parents=True)
    shutil.copy(sweep / ALIVE / "1" / "1" / "0" / "0", absent)
    assert open_results(sweep)["targets"]["alive"].isel(cohort=1, interval=0).isnull().all()
    assert [problem.value for problem in verify(sweep).damaged] == [str(absent)]


@pytest.mark.parametrize(
    "path", ["sweep.zarr/zarr.json", "sweep.zarr/targets/zarr.json", "sweep.zarr/targets/alive/zarr.json",
             "sweep.zarr/cohort/c/0", "manifest/block-3.json", "manifest/sweep.json", "manifest/frame.json"],
)  # fmt: skip
def test_metadata_and_records_that_are_gone_or_another_are_refused(path: str, sweep: Path) -> None:
    other = {"sweep.zarr": "sweep.zarr/targets/n_dead/zarr.json", "manifest": "manifest/block-4.json"}
    kept = (sweep / path).read_bytes()
    for damage in ("delete", "copy"):
        if damage == "delete":
            (sweep / path).unlink()
        else:
            shutil.copy(sweep / other[path.partition("/")[0]], sweep / path)
        with pytest.raises(ConfigError, match=Path(path).name):
            open_results(sweep)
        assert verify(sweep).damaged
        (sweep / path).write_bytes(kept)
    assert not verify(sweep).damaged


def test_a_damaged_sweep_is_whole_again_after_its_command(sweep: Path, tmp_path: Path) -> None:
    damages.a_sweep(tmp_path / "again")
    whole = contents(tmp_path / "again")
    (sweep / "manifest" / "block-3.json").unlink()
    (sweep / ALIVE / "1" / "1" / "0" / "0").unlink()
    damages.a_sweep(sweep)
    assert contents(sweep) == whole


def test_a_sweep_that_is_not_finished_is_read_as_far_as_it_is_committed(tmp_path: Path) -> None:
    layout, store = small(), SweepStore(tmp_path)
    store.begin({}, layout)
    store.commit(layout, 5, [run(5)])
    record = tmp_path / "manifest" / "block-5.json"
    kept = record.read_bytes()
    record.unlink()  # as if it was cut off before the record was written
    with pytest.warns(IncompleteWarning):
        assert open_results(tmp_path)["targets"]["n_dead"].isnull().all()
    assert not verify(tmp_path).damaged
    assert verify(tmp_path).notes == ["12 of 12 blocks are not finished"]
    (tmp_path / "manifest" / "block-6.json").write_bytes(kept)
    with pytest.raises(ConfigError, match=r"block-6\.json"):
        open_results(tmp_path)


def test_a_store_from_before_there_was_a_seal_is_checked_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulator.sweep.store._named", lambda _, content: _as_before(content))
    fill(tmp_path)
    monkeypatch.undo()
    assert not verify(tmp_path).damaged
    assert "before there was a finished.json" in verify(tmp_path).notes[0]
    (tmp_path / ALIVE / "1" / "1" / "0" / "0").unlink()
    with pytest.raises(ConfigError, match="of scenario 5"):
        open_results(tmp_path)["targets"]["alive"].load()
    assert len(verify(tmp_path).damaged) == 1


def _as_before(content: object) -> str:
    from simulator.sweep.store import _json, checksum

    return checksum(_json(content))


def test_a_part_of_a_file_is_read_only_if_the_whole_is_as_written(sweep: Path) -> None:
    records, key = manifest(SweepStore(sweep)), "targets/alive/c/1/1/0/0"
    proven, path = ProvenStore(LocalStore(sweep / "sweep.zarr", read_only=True), records), sweep / "sweep.zarr" / key
    data, prototype = path.read_bytes(), default_buffer_prototype()
    for wanted, expected in (
        (RangeByteRequest(2, 7), data[2:7]),
        (OffsetByteRequest(5), data[5:]),
        (SuffixByteRequest(4), data[-4:]),
    ):
        found = sync(proven.get(key, prototype, wanted))
        assert found is not None
        assert found.to_bytes() == expected
    path.write_bytes(data[:-1] + b"?")
    with pytest.raises(ConfigError, match="of scenario 5"):
        sync(proven.get_partial_values(prototype, [(key, RangeByteRequest(0, 2))]))


def test_a_file_without_its_checksum_or_changed_by_another_program_is_refused(written: Path, tmp_path: Path) -> None:
    path = tmp_path / "results.nc"
    data = (written / "file" / "results.nc").read_bytes()
    for changed in (data[:-80], data[:-1], data + b"\n", b"", data[:100] + data[100:101] * 2 + data[102:]):
        path.write_bytes(changed)
        if changed != data:
            with pytest.raises(ConfigError, match=r"results\.nc"):
                open_results(path)
    path.write_bytes(data)
    import netCDF4

    with netCDF4.Dataset(path, "a") as file:
        file["targets/n"][0] = 5
    with pytest.raises(ConfigError, match="is damaged or was changed after it was written"):
        open_results(path)


def test_other_readers_of_netcdf_pass_over_the_checksum(written: Path) -> None:
    with xr.open_datatree(written / "file" / "results.nc", engine="netcdf4") as tree:
        assert tree["targets"]["n"].values.tolist() == [0, 3, 17]
        assert tree["targets"]["simulated"].encoding["fletcher32"]


def test_a_file_from_before_there_was_a_checksum_opens_and_verify_says_so(tmp_path: Path) -> None:
    root = xr.Dataset({"a": 1.0}, attrs={"software": "lobule", "results_format": 1})
    xr.DataTree(root).to_netcdf(tmp_path / "calibration.nc", engine="netcdf4")
    assert open_results(tmp_path)["a"].item() == 1.0
    assert verify(tmp_path).checked == ["calibration.nc: can be read; it was written before files had a checksum"]


@pytest.mark.parametrize(("what", "counts"), [("sweep", (25, 8, 8, 8)), ("file", (25, 8, 1, 8))])
def test_no_damage_is_read_as_a_value_or_missed_by_verify(what: str, counts: tuple[int, ...], written: Path,
                                                          tmp_path: Path) -> None:  # fmt: skip
    """A slice of tests/verification/test_damage.py."""
    folder = Path(shutil.copytree(written / what, tmp_path / what))
    of_kinds = dict(zip(damages.KINDS, counts, strict=True))
    found = damages.battery_of_results(folder, of_kinds, np.random.default_rng(20261201))
    for kind, count in of_kinds.items():
        assert found[f"{kind}: damages"] == count
        assert found[f"{kind}: read as another value"] == found[f"{kind}: not found by verify"] == 0


def test_damaged_kernels_are_compiled_again_to_the_same_results(tmp_path: Path) -> None:
    of_kinds = {"flip": 6, "truncate": 2, "delete": 1, "swap": 2}
    found = damages.battery_of_a_cache(tmp_path, of_kinds, np.random.default_rng(20261201))
    for kind, count in of_kinds.items():
        assert found[f"{kind}: damages"] == count
        assert not any(
            found[f"{kind}: {wrong}"] for wrong in ("another hash", "damaged code that was run", "not mended")
        )


def test_verify_prints_what_it_checked_and_ends_with_2_where_something_is_damaged(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from simulator.__main__ import main

    assert main(["verify", str(sweep)]) == 0
    said = capsys.readouterr().out
    assert "checked: sweep.zarr: " in said
    assert "checked: sums: 12 files" in said
    assert "nothing is damaged" in said
    (sweep / "summary.csv").write_bytes(b"")
    (sweep / "sums" / "block-2").unlink()
    assert main(["verify", str(sweep)]) == 2
    errors = capsys.readouterr().err
    assert "block-2: is missing: of scenario 2" in errors
    assert "summary.csv: is not as it was written" in errors
    assert main(["verify"]) == main(["verify", "a", "b"]) == main(["verify", str(sweep / "nothing")]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_configuration_that_the_results_do_not_record_is_named(written: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(written / "file", tmp_path / "run"))
    (folder / "config.yaml").write_text("{}")
    assert verify(folder).checked[1] == "config.yaml: as results.nc records it"
    (folder / "config.yaml").write_text("seed: 8")
    assert "is not the configuration that results.nc records" in str(verify(folder).damaged[0])


def test_a_damage_that_comes_after_the_opening_is_refused(sweep: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tree = open_results(sweep)
    tree["targets"]["alive"].isel(cohort=1, interval=1).load()
    (sweep / ALIVE / "1" / "1" / "0" / "0").write_bytes(b"")
    with pytest.raises(ConfigError, match="of scenario 5"):
        tree["targets"]["alive"].isel(cohort=1, interval=1).load()
