import errno
import hashlib
import os

import netCDF4
import numpy as np
import pytest
import xarray as xr

from simulator.errors import ConfigError, LobuleError
from simulator.results import store
from simulator.sweep.opening import open_results


def tree(value=1.0, **attributes):
    targets = xr.Dataset(
        {
            "simulated": (("replicate", "target"), np.full((50, 2), value), {"long_name": "x", "units": "d"}),
            "n": ("target", np.array([0, 3]), {"flag_values": np.array([0], dtype=np.int16)}),
            "seen": ("target", np.array([True, False])),
        },
        coords={
            "target": ("target", np.array(["D01", "D02"], dtype=object)),
            "printed": ("target", np.array(["≥ 50 %", ""], dtype=object)),
            "replicate": np.arange(50),
        },
    )
    targets["simulated"][0, 0], targets["simulated"][1, 0] = np.inf, np.nan
    record = {
        "software": "lobule",
        "results_format": 1,
        "seed": 2**64 - 1,
        "config": '{"a":"é"}',
        **attributes,
    }
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs=record), "/targets": targets})


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_tree_comes_back_identical(tmp_path):
    store.save(tree(), tmp_path / "results.nc")
    back = open_results(tmp_path / "results.nc")
    assert back.identical(tree())
    assert tree().identical(back)
    for name, variable in tree()["targets"].variables.items():
        assert back["targets"].variables[name].dtype == variable.dtype, name
    assert isinstance(back.attrs["seed"], int)


def test_the_folder_of_a_run_opens_too(tmp_path):
    store.save(tree(), tmp_path / "results.nc")
    assert open_results(str(tmp_path)).identical(tree())


def test_the_same_tree_gives_the_same_bytes(tmp_path):
    for name in ("a.nc", "b.nc"):
        store.save(tree(), tmp_path / name)
    store.save(open_results(tmp_path / "a.nc"), tmp_path / "c.nc")
    assert digest(tmp_path / "a.nc") == digest(tmp_path / "b.nc") == digest(tmp_path / "c.nc")


def test_nothing_but_the_file_is_left_and_it_is_replaced_whole(tmp_path):
    path = tmp_path / "results.nc"
    store.save(tree(1.0), path)
    old = open_results(path)
    store.save(tree(2.0), path)
    assert [each.name for each in tmp_path.iterdir()] == ["results.nc"]
    assert old["targets"]["simulated"].values[5, 1] == 1.0
    assert open_results(path)["targets"]["simulated"].values[5, 1] == 2.0


def test_a_large_tree_is_opened_lazily_and_outlives_its_file(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "LOADED_BELOW", 0)
    path = tmp_path / "results.nc"
    store.save(tree(1.0), path)
    old = open_results(path)
    assert not old["targets"]["simulated"].variable._in_memory
    assert old["targets"]["printed"].dtype == object
    store.save(tree(2.0), path)
    assert old["targets"]["simulated"].values[5, 1] == 1.0
    path.unlink()
    assert old.identical(tree(1.0))
    old.close()


def test_integers_never_written_do_not_read_as_zero(tmp_path):
    store.save(tree(), tmp_path / "results.nc")
    with netCDF4.Dataset(tmp_path / "results.nc") as file:
        n = file["targets/n"]
        assert netCDF4.default_fillvals[n.dtype.str[1:]] != 0
        assert "_FillValue" not in n.ncattrs()
        assert file["targets/simulated"].filters()["zlib"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("missing.nc", None, "nothing at this path"),
        ("notes.txt", b"hello", "no NetCDF-4 file"),
        ("old.nc", b"CDF\x01....", "classic NetCDF"),
        ("cut.nc", b"\x89HDF\r\n\x1a\n" + bytes(64), "damaged or cut short"),
    ],
)
def test_what_is_not_results_is_refused_with_its_path(tmp_path, name, content, said):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=said) as refused:
        open_results(path)
    assert name in str(refused.value)


def test_a_folder_without_results_and_a_zarr_store_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"must hold a results\.nc"):
        open_results(tmp_path)
    (tmp_path / "zarr.json").write_text("{}")
    with pytest.raises(ConfigError, match="Zarr"):
        open_results(tmp_path)


def test_someone_elses_netcdf_and_a_newer_format_are_refused(tmp_path):
    xr.Dataset({"a": 1}).to_netcdf(tmp_path / "theirs.nc", engine="netcdf4")
    with pytest.raises(ConfigError, match="no run record"):
        open_results(tmp_path / "theirs.nc")
    store.save(tree(results_format=99), tmp_path / "newer.nc")
    with pytest.raises(ConfigError, match="format"):
        open_results(tmp_path / "newer.nc")


def test_a_folder_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="folder that exists"):
        store.save(tree(), tmp_path / "nowhere" / "results.nc")


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (PermissionError(errno.EACCES, os.strerror(errno.EACCES)), ConfigError, "permission denied"),
        (OSError(errno.EROFS, os.strerror(errno.EROFS)), ConfigError, "permission denied"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), LobuleError, "No space left"),
        (RuntimeError("NetCDF: HDF error"), LobuleError, "HDF error"),
    ],
)
def test_a_failure_to_write_names_the_path_and_leaves_the_old_file(tmp_path, monkeypatch, error, kind, said):
    path = tmp_path / "results.nc"
    store.save(tree(), path)
    before = digest(path)

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(xr.DataTree, "to_netcdf", fail)
    with pytest.raises(kind, match=said) as refused:
        store.save(tree(2.0), path)
    assert "results.nc" in str(refused.value)
    assert [each.name for each in tmp_path.iterdir()] == ["results.nc"]
    assert digest(path) == before
