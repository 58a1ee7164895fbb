"""What a sweep's store must hold, from its manifest, and what is wrong with the manifest itself.

A record is checked by itself, by the block that its files belong to, and, once all is done, by the seal, which names
every record.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from simulator.errors import ConfigError, Problem
from simulator.sweep.layout import Blocks
from simulator.sweep.store import FRAME, MANIFEST, SEAL, Block, SweepStore, block_of, checksum_of

MOST_NAMED = 3
"""Scenarios that a message shows with the overrides of each."""

MENDED = "the sweep's command, given again, mends it"
DESCRIPTION = "sweep.json"
DIFFERS, MISSING = "is not as it was written", "is missing"


@dataclass(frozen=True)
class Listed:
    """A file that the manifest names."""

    checksum: str
    block: int | None  # None: what is known before anything is simulated


@dataclass
class Manifest:
    """Every record of a store that is whole, and what is wrong with the others by the path below the folder."""

    folder: Path
    blocks: Blocks | None  # None: there is no record of what is swept over which axes
    committed: dict[int, Block] = field(default_factory=dict)
    listed: dict[str, Listed] = field(default_factory=dict)  # path below the arrays → what is to be there
    damaged: dict[str, str] = field(default_factory=dict)
    sealed: dict[str, str] | None = None  # checksums of files beside the arrays, once all is done
    overrides: Sequence[str] | None = None  # overrides of each scenario, where they are known

    @property
    def complete(self) -> bool:
        """Whether every block is committed."""
        return self.blocks is not None and len(self.committed) == len(self.blocks)

    def block_at(self, path: str) -> int | None:
        """Return the block to which a path of a chunk belongs; None of what is no chunk of a block."""
        node, _, places = path.partition("/c/")
        if self.blocks is None or node.count("/") != 1 or not places:
            return None
        places_of_blocks = [int(each) for each in places.split("/") if each.isdecimal()][: len(self.blocks.grid)]
        if len(places_of_blocks) < len(self.blocks.grid):
            return None
        inside = all(place < size for place, size in zip(places_of_blocks, self.blocks.grid, strict=True))
        return int(np.ravel_multi_index(places_of_blocks, self.blocks.grid)) if inside else None

    def scenarios_of(self, block: int | None) -> str:
        """Return the scenarios of a block in words, some with their overrides; without a block, all of them."""
        if block is None or self.blocks is None:
            return "all scenarios"
        numbers = self.blocks.scenarios(block)
        shown = []
        for number in numbers[:MOST_NAMED]:
            overrides = self.overrides[number].replace("\n", " ") if self.overrides is not None else ""
            shown.append(f"{number} ({overrides})" if overrides else f"{number}")
        more = f" and {len(numbers) - MOST_NAMED:,} more" if len(numbers) > MOST_NAMED else ""
        return f"{'scenario' if len(numbers) == 1 else 'scenarios'} {', '.join(shown)}{more}"

    def refusal(self, path: str, block: int | None, what: str) -> ConfigError:
        """Return the error of a file that is not as it was written, naming the scenarios."""
        return ConfigError(self.problem(path, block, what))

    def problem(self, path: str, block: int | None, what: str) -> Problem:
        """Return the problem of a file below the folder."""
        return Problem("results", str(self.folder / path), f"{what}: of {self.scenarios_of(block)}; {MENDED}")

    def refuse_damaged(self) -> None:
        """Raise ConfigError with all that is wrong with the records."""
        if self.damaged:
            raise ConfigError([self.problem(path, number_of(path), what) for path, what in self.damaged.items()])


def manifest(store: SweepStore) -> Manifest:
    """Read every record of a store."""
    found = Manifest(store.folder, None)
    frame = _record(store, found, FRAME)
    if frame is not None:
        found.blocks = Blocks(tuple(frame["shape"]), tuple(frame["block"]))
        found.listed |= {path: Listed(checksum, None) for path, checksum in frame["files"].items()}
    described = _record(store, found, DESCRIPTION) is not None
    for path in sorted(store.manifest.glob("block-*.json")):
        if not described:  # it is written before any block
            found.damaged.setdefault(f"{MANIFEST}/{DESCRIPTION}", MISSING)
        _read_block(store, found, path.name)
    _compare_with_seal(store, found)
    return found


def number_of(path: str) -> int | None:
    """Return the number of the block that a record or the sums at a path are of."""
    number = Path(path).name.removeprefix("block-").removesuffix(".json")
    return int(number) if number.isdecimal() else None


def damage(path: Path, checksum: str) -> str | None:
    """Return what is wrong with a file that has a checksum; None where it is as it was written."""
    here = checksum_of(path)
    return None if here == checksum else MISSING if here is None else DIFFERS


def _record(store: SweepStore, found: Manifest, name: str) -> dict[str, Any] | None:
    """Return the content of a record, None where there is none or it is damaged, which is noted."""
    try:
        return store.record(name)
    except ValueError:
        found.damaged[f"{MANIFEST}/{name}"] = DIFFERS
        return None


def _read_block(store: SweepStore, found: Manifest, name: str) -> None:
    number = number_of(name)
    record = _record(store, found, name)
    if record is None or record["sweep"] != store.sweep:
        return
    if number is None or any(found.block_at(path) != number for path in record["files"]):
        found.damaged[f"{MANIFEST}/{name}"] = "is the record of another block"
        return
    found.committed[number] = block_of(number, record)
    found.listed |= {path: Listed(checksum, number) for path, checksum in record["files"].items()}


def _compare_with_seal(store: SweepStore, found: Manifest) -> None:
    seal = _record(store, found, SEAL)
    if seal is None:
        return
    found.sealed = seal["files"]
    differs = dict(_differences(store, seal["records"]))
    if (store.manifest / SEAL).exists():  # a command that works here takes it away before it changes anything
        found.damaged = differs | found.damaged


def _differences(store: SweepStore, sealed: dict[str, str]) -> Iterator[tuple[str, str]]:
    for name, checksum in sealed.items():
        if what := damage(store.manifest / name, checksum):
            yield f"{MANIFEST}/{name}", what
