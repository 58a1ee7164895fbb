"""Everything that results on disk say of themselves, checked: of one file, of the folder of a run, of a sweep.

What has no checksum is named as not checked.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import xarray as xr

from simulator.errors import ConfigError, Problem
from simulator.results.provenance import is_recorded
from simulator.results.store import CONTRAST, FILES, located, open_file, sweep_at
from simulator.sweep.manifest import MISSING, Manifest, damage, manifest, number_of
from simulator.sweep.store import ARRAYS, EXTENDED, MANIFEST, SEAL, SUMMARY, SUMS, SweepStore

_CONFIG = "config.yaml"
_RECORDS = ("sweep.json", "frame.json", SEAL)


@dataclass
class Verified:
    """What was checked, in lines; what is damaged; what else there is to know."""

    checked: list[str] = field(default_factory=list)
    damaged: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def verify(path: str | os.PathLike[str]) -> Verified:
    """Check every byte of results that a checksum vouches for.

    Raises
    ------
    ConfigError
        If there are no results at the path.
    """
    at, found = Path(path), Verified()
    if (folder := sweep_at(at)) is not None:
        _sweep(folder, found)
    elif at.is_dir() and (names := [name for name in (*FILES, CONTRAST) if (at / name).is_file()]):
        for name in names:
            _file(at / name, found)
    else:
        _file(located(at), found)
        return found
    _unchecked(folder or at, found)
    return found


def _file(path: Path, found: Verified) -> None:
    """Check one NetCDF file, and the configuration beside it."""
    try:
        tree, sealed = open_file(located(path))
    except ConfigError as error:
        found.damaged += error.problems
        return
    try:
        for node in tree.subtree:  # what is not loaded yet: chunks have checksums of their own
            node.to_dataset(inherit=False).load()
        said = "as it was written" if sealed else "can be read; it was written before files had a checksum"
        found.checked.append(f"{path.name}: {said}")
        if path.name == FILES[0]:
            _configuration(path.with_name(_CONFIG), tree, found)
    except ConfigError as error:
        found.damaged += error.problems
    except (OSError, RuntimeError, ValueError) as error:
        found.damaged.append(Problem("results", str(path), f"cannot be read: {error}"))
    finally:
        tree.close()


def _configuration(path: Path, tree: xr.DataTree, found: Verified) -> None:
    """Hold the configuration beside results against the one that they record."""
    import yaml

    if not path.is_file():
        return
    try:
        held = yaml.load(path.read_bytes(), yaml.CSafeLoader if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader)
    except (yaml.YAMLError, ValueError) as error:
        held = error
    if is_recorded(held, tree):
        found.checked.append(f"{path.name}: as {FILES[0]} records it")
    else:
        found.damaged.append(Problem("results", str(path), f"is not the configuration that {FILES[0]} records"))


def _sweep(folder: Path, found: Verified) -> None:
    store = SweepStore(folder)
    records = manifest(store)
    if records.blocks is None and not records.damaged:
        problem = Problem("results", str(folder), "has no manifest, which says what is finished")
        raise ConfigError(problem)
    found.damaged += [records.problem(path, number_of(path), what) for path, what in records.damaged.items()]
    _take_words(records)
    for path, block, what in (*_arrays(store, records), *_sums(store, records), *_beside(store, records)):
        found.damaged.append(records.problem(path, block, what))
    n_records = len(records.committed) + 2
    found.checked.append(f"{MANIFEST}: {n_records:,} records")
    found.checked.append(f"{ARRAYS}: {len(records.listed):,} files in {len(records.committed):,} blocks")
    n_sums = sum(block.sums is not None for block in records.committed.values())
    if n_sums:
        found.checked.append(f"{SUMS}: {n_sums:,} files")
    if records.sealed is not None:
        found.checked += list(records.sealed)
    _what_is_not_done(store, records, found)
    if (folder / CONTRAST).is_file():
        _file(folder / CONTRAST, found)


def _take_words(records: Manifest) -> None:
    """Let problems name the overrides of scenarios, where the store can still be opened."""
    import warnings

    from simulator.errors import IncompleteWarning
    from simulator.sweep.tree import opened

    if not records.damaged:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", IncompleteWarning)
            try:
                opened(records)
            except ConfigError:
                return


_Damage = tuple[str, int | None, str]


def _arrays(store: SweepStore, records: Manifest) -> Iterator[_Damage]:
    for path, listed in records.listed.items():
        if what := damage(store.arrays / path, listed.checksum):
            yield f"{ARRAYS}/{path}", listed.block, what
    for path in _files(store.arrays):
        block = records.block_at(path)
        unfinished = block is not None and block not in records.committed
        if path not in records.listed and not unfinished:
            yield f"{ARRAYS}/{path}", block, "is not of this sweep and is never read"


def _sums(store: SweepStore, records: Manifest) -> Iterator[_Damage]:
    kept = {f"block-{number}": block.sums for number, block in records.committed.items() if block.sums}
    for name, checksum in kept.items():
        if what := damage(store.kept_sums / name, checksum):
            yield f"{SUMS}/{name}", number_of(name), what
    for name in _files(store.kept_sums):
        number = number_of(name)
        if name not in kept and (number is None or number in records.committed):
            yield f"{SUMS}/{name}", None, "is not of this sweep and is never read"


def _beside(store: SweepStore, records: Manifest) -> Iterator[_Damage]:
    for name in _files(store.manifest):
        of_block = number_of(name) is not None and name == f"block-{number_of(name)}.json"
        if name not in _RECORDS and not of_block:
            yield f"{MANIFEST}/{name}", None, "is not of this sweep and is never read"
    for name, checksum in (records.sealed or {}).items():
        if what := damage(store.folder / name, checksum):
            yield name, None, what
    seal = f"{MANIFEST}/{SEAL}"
    if records.complete and records.sealed is None and seal not in records.damaged and store.expects_seal():
        yield seal, None, MISSING


def _files(folder: Path) -> list[str]:
    """Return the files below a folder, but those that a killed writer left under temporary names."""
    below = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".tmp"))
    return sorted(path.relative_to(folder).as_posix() for path in below)


def _what_is_not_done(store: SweepStore, records: Manifest, found: Verified) -> None:
    if records.blocks is not None and not records.complete:
        n = len(records.blocks) - len(records.committed)
        found.notes.append(f"{n:,} of {len(records.blocks):,} blocks are not finished")
    if failed := sum(len(block.failed) for block in records.committed.values()):
        found.notes.append(f"{failed:,} scenarios failed")
    if records.complete and records.sealed is None and not store.expects_seal():
        found.notes.append(f"written before there was a {SEAL}: a record that was deleted would go unseen")
    if (store.folder / EXTENDED).exists():
        found.notes.append("is being extended; what is ready of that was not checked")


def _unchecked(folder: Path, found: Verified) -> None:
    checked = {*FILES, CONTRAST, _CONFIG, SUMMARY}
    others = sorted(path.name for path in folder.iterdir() if path.is_file() and path.name not in checked)
    if others:
        found.notes.append(f"not checked, since nothing vouches for it: {', '.join(others)}")
