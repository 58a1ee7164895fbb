"""Trees on disk.

A run is one NetCDF-4 file with a group per node. The same tree always gives the same bytes: no times, no host, a fixed
order of everything. After the last byte that NetCDF knows of stands the SHA-256 of all before it, which every opening
checks: HDF5's own checksums see no damage in text, scalars, attributes and names. Those that it has, fletcher32 of each
chunk, guard what is read of a large file after it was opened.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from simulator.errors import ConfigError, LobuleError, Problem
from simulator.results.provenance import RESULTS_FORMAT, SOFTWARE

FILES = ("results.nc", "calibration.nc", "sbc.nc")
"""Names under which a run leaves its results: a simulation's, a calibration's, those of a check of a calibration."""

LOADED_BELOW = 256 * 2**20
"""Trees smaller than this many bytes are read whole and their file is closed."""

CONTRAST = "contrast.nc"
"""Name of the contrasts of a sweep, beside it."""

SWEEP = "sweep.zarr"
"""Name of a sweep's store in its folder."""

SEALED = "sealed"
"""Attribute of a file that ends with a checksum; files written before there was one lack it."""

_SEAL = b"\nlobule sha256 "
_SEAL_BYTES = len(_SEAL) + hashlib.sha256().digest_size * 2 + 1
_SEALED_HOW = f"the last {_SEAL_BYTES} bytes are '\\nlobule sha256 ', the SHA-256 of all before them, and '\\n'"
_NOT_AS_WRITTEN = "is damaged or was changed after it was written"
_CHUNK_BYTES = 2**20
_NETCDF_MAGIC = (b"\x89HDF\r\n\x1a\n",)
_OTHER_NETCDF = (b"CDF\x01", b"CDF\x02", b"CDF\x05")


def save(tree: xr.DataTree, path: str | os.PathLike[str]) -> None:
    """Write a tree as one NetCDF-4 file; an existing file is replaced whole or not at all.

    The file is written under a temporary name in the same folder, flushed to disk and renamed, so a
    reader never sees half a file and trees opened from the old one keep their contents.

    Raises
    ------
    ConfigError
        If the folder does not exist or may not be written.
    LobuleError
        If writing fails on the way, as on a full disk. Nothing is left behind.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
    try:
        _claim(temporary)
        marked = tree.copy(deep=False)
        marked.attrs[SEALED] = _SEALED_HOW
        marked.to_netcdf(temporary, engine="netcdf4", format="NETCDF4", encoding=_encoding(tree))
        _seal(temporary)
        _flush(temporary)
        temporary.replace(target)
        _flush(target.parent)
    except (OSError, RuntimeError) as error:
        raise _refusal(target, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def open_file(found: Path) -> tuple[xr.DataTree, bool]:
    """Open one file of results, and return whether a checksum vouches for it. Raises
    ConfigError where it is none, or not as it was written.
    """
    sealed = _is_sealed(found)
    try:
        opened = xr.open_datatree(found, engine="netcdf4")
    except PermissionError as error:
        raise _refused(found, "must be readable: permission denied") from error
    except (OSError, RuntimeError, ValueError) as error:
        raise _refused(found, "must be a whole NetCDF-4 file: it is damaged or cut short") from error
    try:
        _check_record(found, opened.attrs)
        if not sealed and SEALED in opened.attrs:
            raise _refused(found, f"{_NOT_AS_WRITTEN}: the checksum at its end is gone")
        lazy = opened.nbytes >= LOADED_BELOW
        tree = xr.DataTree.from_dict({node.path: _restored(node, lazy=lazy) for node in opened.subtree})
    except (OSError, RuntimeError, ValueError) as error:
        opened.close()
        raise _refused(found, "must be a whole NetCDF-4 file: what is in it cannot be read") from error
    except BaseException:
        opened.close()
        raise
    if lazy:
        tree.set_close(opened.close)
    else:
        opened.close()
    tree.attrs.pop(SEALED, None)
    return tree, sealed


def _seal(path: Path) -> None:
    """Append the checksum of a file to it."""
    with path.open("r+b") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0, os.SEEK_END)
        file.write(_SEAL + digest.encode() + b"\n")


def _is_sealed(path: Path) -> bool:
    """Whether a file ends with a checksum. Raises ConfigError where that is not the one of the file."""
    try:
        with path.open("rb") as file:
            before = file.seek(0, os.SEEK_END) - _SEAL_BYTES
            file.seek(max(before, 0))
            end = file.read()
            if before < 0 or not end.startswith(_SEAL):
                return False
            file.seek(0)
            digest = hashlib.sha256()
            while before > 0 and (some := file.read(min(before, _CHUNK_BYTES))):
                digest.update(some)
                before -= len(some)
    except OSError as error:
        raise _refused(path, f"must be a file that can be read: {error.strerror or error}") from error
    if end[len(_SEAL) :] != digest.hexdigest().encode() + b"\n":
        raise _refused(path, f"{_NOT_AS_WRITTEN}: its checksum does not hold")
    return True


def _encoding(tree: xr.DataTree) -> dict[str, dict[str, dict[str, Any]]]:
    own = {node.path: node.to_dataset(inherit=False).variables for node in tree.subtree}
    return {path: {str(name): _storage(each) for name, each in found.items()} for path, found in own.items()}


def _storage(variable: xr.Variable) -> dict[str, Any]:
    """Light compression, a checksum, chunks of about 1 MiB that cut the leading dimensions first."""
    if variable.dtype == object or variable.ndim == 0 or variable.size == 0:
        return {}
    chunks = list(variable.shape)
    for dim in range(variable.ndim):
        rest = int(np.prod(chunks[dim + 1 :], dtype=np.int64)) * variable.dtype.itemsize
        chunks[dim] = max(1, min(chunks[dim], _CHUNK_BYTES // rest))
        if chunks[dim] > 1:
            break
    return {"zlib": True, "complevel": 1, "shuffle": True, "fletcher32": True, "chunksizes": tuple(chunks)}


def _claim(path: Path) -> None:
    """Create the file exclusively: refuses a folder that cannot be written before any work is done."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))


def _flush(path: Path) -> None:
    """Force a file, or the names in a folder, to disk; where folders cannot be opened there is no need."""
    if path.is_dir() and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refusal(target: Path, error: OSError | RuntimeError) -> LobuleError:
    if isinstance(error, PermissionError) or getattr(error, "errno", None) == errno.EROFS:
        return _refused(target, "must be a file in a folder that can be written: permission denied")
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return _refused(target, f"must be a file in a folder that exists: there is no {target.parent}")
    if isinstance(error, IsADirectoryError):
        return _refused(target, "must be a file: a folder of this name is there")
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return LobuleError(f"cannot write {target}: {reason}; is the disk full? Nothing was left behind")


def _refused(path: Path, allowed: str) -> ConfigError:
    return ConfigError(Problem("results", str(path), allowed))


def sweep_at(path: Path) -> Path | None:
    """Return the folder of a sweep, given it or the store in it."""
    if path.name == SWEEP and (path / "zarr.json").is_file():
        return path.parent
    return path if (path / SWEEP).is_dir() and not (path / "results.nc").exists() else None


def located(path: Path) -> Path:
    """Return the file of results at a path or in a folder. Raises ConfigError where there is none."""
    for name in FILES:
        if (path / name).is_file():
            return path / name
    if path.is_dir() and (path / "zarr.json").is_file():
        raise _refused(path, f"must be a results.nc or a {SWEEP}: this is a Zarr store of another name")
    if path.is_dir():
        raise _refused(path, "must hold a results.nc: this folder has none")
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except FileNotFoundError as error:
        raise _refused(path, "must be a file of results: there is nothing at this path") from error
    except PermissionError as error:
        raise _refused(path, "must be readable: permission denied") from error
    except OSError as error:
        raise _refused(path, f"must be a file that can be read: {error.strerror}") from error
    if head.startswith(_OTHER_NETCDF):
        raise _refused(path, "must be NetCDF-4: this is classic NetCDF, so not written by Lobule")
    if not head.startswith(_NETCDF_MAGIC):
        raise _refused(path, "must be results of Lobule: this is no NetCDF-4 file")
    return path


def _check_record(path: Path, attributes: Mapping[Any, Any]) -> None:
    if attributes.get("software") != SOFTWARE:
        raise _refused(path, "must be results of Lobule: this NetCDF file has no run record of ours")
    version = attributes.get("results_format", 0)
    if not 1 <= version <= RESULTS_FORMAT:
        raise _refused(path, f"must have format 1 to {RESULTS_FORMAT}, not {version}; a newer Lobule may open it")


def _restored(node: xr.DataTree, *, lazy: bool) -> xr.Dataset:
    """Undo what the file format does: fixed-width text, attributes of one value, NumPy scalars."""
    dataset = node.to_dataset(inherit=False)
    if not lazy:
        dataset = dataset.load()
    variables = {}
    for name, variable in dataset.variables.items():
        restored = variable.to_base_variable()
        restored = restored.astype(object) if variable.dtype.kind in "UT" else restored.copy(deep=False)
        restored.attrs = {
            key: np.atleast_1d(value) if key == "flag_values" else _native(value)
            for key, value in variable.attrs.items()
        }
        restored.encoding = {}
        variables[name] = restored
    attributes = {key: _native(value) for key, value in dataset.attrs.items()}
    return xr.Dataset(variables, attrs=attributes).set_coords(list(dataset.coords))


def _native(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
