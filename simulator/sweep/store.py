"""The store of a sweep on disk: one Zarr v3 hierarchy, filled block by block, and a manifest of what is in it.

An array never says what is done, since a chunk that is not there reads as NaN: the manifest does, and `proven_store`
holds what is read against it. A block is committed by writing its chunks, each under a temporary name, flushed and
renamed, and then its record in the manifest in the same way. So whatever is killed when, a block is there whole or it
is done again, with the same bytes.

    <folder>/sweep.zarr/          the arrays, open to every reader of Zarr
    <folder>/manifest/            sweep.json: what is swept; frame.json, block-<n>.json: files and their checksums;
                                  finished.json: checksums of these records and of summary.csv, once all is done
    <folder>/sums/                block-<n>: what more studies can be added to, where that was asked for
    <folder>/locks/               who works here
    <folder>/extended/            arrays, manifest and sums of a larger sweep, until they take the place of these
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from simulator.errors import ConfigError, LobuleError, Problem
from simulator.results.store import SWEEP
from simulator.sweep.layout import Coordinate, Layout
from simulator.sweep.sums import Sums, packed, unpacked

if TYPE_CHECKING:
    import zarr  # loaded where a sweep is written: a tenth of a second that a run need not wait

ARRAYS = SWEEP
MANIFEST, SUMS, EXTENDED, SUMMARY = "manifest", "sums", "extended", "summary.csv"
FRAME, SEAL = "frame.json", "finished.json"
_KEYS = {FRAME: {"shape", "block", "files"}, SEAL: {"records", "files"}, "block": {"sweep", "files", "failed"}}
_DONE = "done"

SCENARIOS = "scenarios"
"""The node of what is known of each scenario beforehand."""


@dataclass(frozen=True)
class Block:
    """The record of a committed block."""

    number: int
    files: Mapping[str, str]  # path below the arrays → checksum
    failed: Mapping[str, str] = field(default_factory=dict)  # scenario → what went wrong
    sums: str | None = None  # checksum of its sums, where they are kept

    @property
    def complete(self) -> bool:
        """Whether every scenario of it is there."""
        return not self.failed


class SweepStore:
    """The arrays and the manifest in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.arrays, self.manifest, self.kept_sums = folder / ARRAYS, folder / MANIFEST, folder / SUMS

    # -- what is there ------------------------------------------------------------------------------

    def description(self) -> dict[str, Any] | None:
        """Return what is swept here, or None where nothing is. Raises ConfigError if that cannot be read."""
        return self._read("sweep.json")

    def begin(self, description: Mapping[str, Any], layout: Layout) -> None:
        """Write what is known before anything is simulated, where it is not there whole already."""
        files = _frame(layout)
        checksums = {path: checksum(data) for path, data in files.items()}
        record: dict[str, Any] = {"shape": list(layout.shape), "block": list(layout.block), "files": checksums}
        if self._read(FRAME) != record or not self._whole(record["files"]):
            self._withdraw(FRAME, record)
            for path, data in files.items():
                write(self.arrays / path, data)
            self._write(FRAME, record)
        if self.description() != description:
            self._withdraw("sweep.json", description)
            self._write("sweep.json", description)
            self.__dict__.pop("sweep", None)

    @cached_property
    def sweep(self) -> str:
        """Checksum of what is swept here: a record of a block counts only with the sweep that it was made for."""
        return checksum(_json(self.description()))

    def shape(self) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        """Return the points of each axis, of all scenarios and of a block; None where nothing has been started."""
        record = self._read(FRAME)
        return None if record is None else (tuple(record["shape"]), tuple(record["block"]))

    def block(self, number: int) -> Block | None:
        """Return the record of a block if it is committed and everything it names is as it was written."""
        record = self._read(f"block-{number}.json")
        if record is None or record["sweep"] != self.sweep or not self._whole(record["files"]):
            return None
        if record.get("sums") not in (None, checksum_of(self.sums_of(number))):
            return None
        return block_of(number, record)

    def sums(self, number: int) -> dict[int, dict[str, Any]]:
        """Return the sums of a block that is whole, by scenario; none where they are not kept."""
        block = self.block(number)
        if block is None or block.sums is None:
            return {}
        data = self.sums_of(number).read_bytes()
        return unpacked(data) if checksum(data) == block.sums else {}

    def sums_of(self, number: int) -> Path:
        """Return where the sums of a block are kept."""
        return self.kept_sums / f"block-{number}"

    def committed(self) -> dict[int, Block]:
        """Return every block that has a record, unverified."""
        found = {}
        for path in sorted(self.manifest.glob("block-*.json")):
            record = self._read(path.name)
            if record is not None and record["sweep"] == self.sweep:
                number = int(path.stem.partition("-")[2])
                found[number] = block_of(number, record)
        return found

    # -- committing ---------------------------------------------------------------------------------

    def commit(
        self,
        layout: Layout,
        number: int,
        runs: Sequence[Mapping[str, xr.Dataset] | None],
        failed: Mapping[str, str] | None = None,
        sums: Mapping[int, Sums] | None = None,
    ) -> Block:
        """Write a block: the nodes of each of its scenarios, None for one that failed; and sums, where they are kept.

        Raises
        ------
        LobuleError
            If a file cannot be written, as on a full disk; what was committed before is as it was.
        """
        files = {self.arrays / path: data for path, data in encoded(layout, number, runs).items()}
        record: dict[str, Any] = {
            "sweep": self.sweep,
            "files": {path.relative_to(self.arrays).as_posix(): checksum(data) for path, data in files.items()},
            "failed": dict(failed or {}),
        }
        if sums is not None:
            files[self.sums_of(number)] = packed(sums)
            record["sums"] = checksum(files[self.sums_of(number)])
        self._withdraw(f"block-{number}.json", record)
        for path, data in files.items():
            write(path, data)
        self._write(f"block-{number}.json", record)
        return block_of(number, record)

    def seal(self) -> None:
        """Write down which records there are, and the summary, once every block is committed."""
        content = {
            "records": {path.name: checksum_of(path) for path in sorted(self.manifest.glob("*.json"))},
            "files": {SUMMARY: checksum_of(self.folder / SUMMARY)},
        }
        content["records"].pop(SEAL, None)
        if self._read(SEAL) != content:
            self._write(SEAL, content)

    def _whole(self, files: Mapping[str, str]) -> bool:
        return all(checksum_of(self.arrays / path) == written for path, written in files.items())

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            return self.record(name)
        except ValueError:  # damaged: as if it were not there
            return None

    def record(self, name: str) -> dict[str, Any] | None:
        """Return the content of a record, None where there is none. Raises ValueError where it is damaged."""
        path = self.manifest / name
        try:
            held: dict[str, Any] = json.loads(path.read_bytes())
            content: dict[str, Any] = held.pop("content")
            whole = held in ({"checksum": each} for each in (_named(name, content), checksum(_json(content))))
            whole = whole and _KEYS.get(name.partition("-")[0], set()) <= content.keys()
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            whole = False
        except OSError as error:
            raise _cannot(path, error) from error
        if not whole:
            raise ValueError(name)
        return content

    def expects_seal(self) -> bool:
        """Whether the folder is of a version that seals what is finished."""
        frame = self._read(FRAME)
        return frame is not None and (self.manifest / FRAME).read_bytes() == _recorded(FRAME, frame)

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        write(self.manifest / name, _recorded(name, content))

    def _withdraw(self, name: str, content: Mapping[str, Any]) -> None:
        """Take away a record that is about to say something else, and the seal with it, before files change."""
        path = self.manifest / name
        try:
            if not path.exists() or path.read_bytes() != _recorded(name, content):
                (self.manifest / SEAL).unlink(missing_ok=True)
                path.unlink(missing_ok=True)
        except OSError as error:
            raise _cannot(path, error) from error


def _recorded(name: str, content: Mapping[str, Any]) -> bytes:
    return _json({"checksum": _named(name, content), "content": content})


def _named(name: str, content: Mapping[str, Any]) -> str:
    """Return the checksum of a record in its place; those written before there was a seal have one of the content."""
    return checksum(name.encode() + b"\n" + _json(content))


def block_of(number: int, record: Mapping[str, Any]) -> Block:
    """Return a block as its record says it."""
    return Block(number, record["files"], record["failed"], record.get("sums"))


def write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: under a temporary name, flushed to disk, renamed.

    Raises
    ------
    ConfigError
        If the folder may not be written.
    LobuleError
        If writing fails on the way, as on a full disk.
    """
    temporary = path.with_name(f".{secrets.token_hex(6)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        if os.name != "nt":
            descriptor = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise _cannot(path, error) from error
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def sweep_away(folder: Path) -> None:
    """Remove what a killed writer left under temporary names; nobody else may be at work."""
    for path in folder.rglob(".*.tmp"):
        with suppress(OSError):
            path.unlink()


def settle(folder: Path) -> None:
    """Put an extended store that is finished in the place of the one it extends; go on where that was cut off.

    Nobody may be at work in the folder (`locks.closed`).
    """
    staged = folder / EXTENDED
    if not is_extended(folder):
        return
    try:
        for name in (ARRAYS, SUMS, MANIFEST):
            new, old, replaced = staged / name, folder / name, staged / f"replaced-{name}"
            if new.exists():
                if old.exists():
                    shutil.rmtree(replaced, ignore_errors=True)
                    old.rename(replaced)
                new.rename(old)
        shutil.rmtree(folder / EXTENDED / f"replaced-{ARRAYS}", ignore_errors=True)
        (staged / _DONE).unlink()
        shutil.rmtree(staged, ignore_errors=True)
    except OSError as error:
        raise _cannot(staged, error) from error


def is_extended(folder: Path) -> bool:
    """Whether a folder has an extended store that is finished and has not taken its place."""
    return (folder / EXTENDED / _DONE).exists()


def mark_extended(folder: Path) -> None:
    """Say that the extended store in a folder is finished, so that `settle` may take it."""
    write(folder / EXTENDED / _DONE, b"")


def _cannot(path: Path, error: OSError) -> LobuleError:
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return ConfigError(Problem("hydra.sweep.dir", str(path), "cannot be written to: permission denied"))
    full = " Make room and give the same command again." if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
    return LobuleError(f"{path}: {error.strerror or error}. Everything finished before is intact.{full}")


# -- arrays as bytes ----------------------------------------------------------------------------------


def _frame(layout: Layout) -> dict[str, bytes]:
    """Return every file of the arrays that does not depend on a simulation, by path."""
    import zarr
    from zarr.storage import MemoryStore

    memory: dict[str, Any] = {}
    root = zarr.create_group(MemoryStore(memory), zarr_format=3, attributes=_plain(layout.attrs))
    beside = []
    for axis in layout.axes:
        for name, (values, attrs) in axis.coordinates.items():
            _write_whole(root, name, Coordinate((axis.name,), values, attrs))
            beside += [name] if name != axis.name else []
    if beside:
        root.attrs["coordinates"] = " ".join(beside)
    for name, node in layout.nodes.items():
        group = root.create_group(name, attributes=_plain(node.attrs))
        for key, coordinate in node.coordinates.items():
            _write_whole(group, key, coordinate)
        beside = [key for key, coordinate in node.coordinates.items() if coordinate.dims != (key,)]
        if beside:
            group.attrs["coordinates"] = " ".join(beside)
        for each in node.fields:
            _empty(group, layout, name, each.name, each.dims, each.attrs)
    group = root.create_group(SCENARIOS)
    for key, note in layout.notes.items():
        _write_whole(group, key, note)
    return {path: data.to_bytes() for path, data in sorted(memory.items())}


def encoded(layout: Layout, number: int, runs: Sequence[Mapping[str, xr.Dataset] | None]) -> dict[str, bytes]:
    """Return the chunks of a block by path. A chunk in which nothing is known is left out: it reads as NaN."""
    import zarr
    from zarr.storage import MemoryStore

    region = layout.blocks.region(number)
    found: dict[str, bytes] = {}
    for node, each, values in layout.filled(number, runs):
        memory: dict[str, Any] = {}
        group = zarr.create_group(MemoryStore(memory), zarr_format=3)
        _empty(group, layout, node, each.name, each.dims, {})[region] = values
        found |= {f"{node}/{path}": data.to_bytes() for path, data in memory.items() if "/c/" in path}
    return dict(sorted(found.items()))


def _empty(
    group: zarr.Group, layout: Layout, node: str, name: str, dims: tuple[str, ...], attrs: Mapping[str, Any]
) -> zarr.Array[Any]:
    sizes = tuple(layout.nodes[node].coordinates[dim].values.size for dim in dims)
    shape, chunks = (*layout.shape, *sizes), (*layout.block, *sizes)
    return _array(group, name, shape, chunks, np.dtype("float64"), (*layout.names, *dims), attrs)


def _write_whole(group: zarr.Group, name: str, coordinate: Coordinate) -> None:
    values = np.asarray(coordinate.values)
    array = _array(group, name, values.shape, values.shape, values.dtype, coordinate.dims, coordinate.attrs)
    array[...] = values


def _array(
    group: zarr.Group,
    name: str,
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    dtype: np.dtype[Any],
    dims: tuple[str, ...],
    attrs: Mapping[str, Any],
) -> zarr.Array[Any]:
    """Make an array; text is of dtype object. What is not written reads as NaN, "" or the least integer."""
    from zarr.codecs import ZstdCodec

    text = dtype.kind == "O"
    fill: Any = "" if text else np.nan if dtype.kind == "f" else np.iinfo(dtype).min
    return group.create_array(
        name,
        shape=shape,
        chunks=tuple(max(size, 1) for size in chunks),
        dtype=str if text else dtype,
        fill_value=fill,
        dimension_names=dims,
        attributes=_plain(attrs),
        compressors=ZstdCodec(level=1),
    )


def _plain(attrs: Mapping[str, Any]) -> dict[str, Any]:
    return {
        str(key): value.tolist() if isinstance(value, np.ndarray | np.generic) else value
        for key, value in attrs.items()
    }


def _json(content: object) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def checksum(data: bytes) -> str:
    """Return the SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def checksum_of(path: Path) -> str | None:
    """Return the SHA-256 of a file, None where there is none."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None
    except OSError as error:
        raise _cannot(path, error) from error
