"""Results and caches on disk, damaged at random, and what is read of them afterwards.

A value that is read after a damage is the one that was written, or reading it is refused: `changed` tells the others.
"""

from __future__ import annotations

import hashlib
import importlib.util
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from simulator.errors import ConfigError, IncompleteWarning
from simulator.kernels import compilation, sources
from simulator.results.store import save
from simulator.sweep.opening import open_results
from simulator.sweep.store import SweepStore
from simulator.sweep.tree import open_sweep, write_summary
from simulator.sweep.verification import verify
from tests.unit.sweep.test_store import run, small

KINDS = ("flip", "truncate", "delete", "swap")
REFUSED = "refused"

KERNEL = """
import numpy as np
from simulator.kernels.compilation import kernel

@kernel
def powers(x):
    total = 0.0
    for k in range(1, 20):
        total += x / k - total * 0.25
    return total
"""


def a_sweep(folder: Path) -> None:
    """Write a finished sweep of 12 scenarios with sums and a summary; of scenario 4 nothing is known of `alive`."""
    layout, store = small(), SweepStore(folder)
    store.begin({"sizes": [3, 4]}, layout)
    for number in range(len(layout.blocks)):
        nodes = [run(index) for index in layout.blocks.scenarios(number)]
        if number == 4:
            nodes[0]["targets"]["alive"][...] = np.nan
        sums = {index: {"n_dead": np.arange(index + 3)} for index in layout.blocks.scenarios(number)}
        store.commit(layout, number, nodes, sums=sums)
    write_summary(folder, open_sweep(folder)["/scenarios"].root.filter(lambda node: node.name != "targets"))
    store.seal()


def a_file(folder: Path) -> None:
    """Write a file of results with numbers, text, counts, scalars and attributes."""
    rng = np.random.default_rng(20261201)
    targets = xr.Dataset(
        {
            "simulated": (("replicate", "target"), rng.normal(size=(40, 3)), {"units": "d"}),
            "n": ("target", np.array([0, 3, 17])),
            "total": ((), 2.5),
        },
        coords={
            "target": ("target", np.array(["D01", "D02", "D03"], dtype=object)),
            "printed": ("target", np.array(["≥ 50 %", "", "12"], dtype=object)),
            "replicate": np.arange(40),
        },
    )
    root = xr.Dataset(attrs={"software": "lobule", "results_format": 1, "seed": 7, "config": "{}"})
    save(xr.DataTree.from_dict({"/": root, "/targets": targets}), folder / "results.nc")


def read(folder: Path) -> dict[str, Any]:
    """Return every attribute and variable that can be read, and `REFUSED` for what is refused."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", IncompleteWarning)
            tree = open_results(folder)
    except ConfigError:
        return {}
    found: dict[str, Any] = {}
    for node in tree.subtree:
        found[f"{node.path} attributes"] = repr(node.attrs)
        for name, variable in node.to_dataset(inherit=False).variables.items():
            place = f"{node.path}/{name}"
            found[f"{place} attributes"] = repr((variable.dims, variable.attrs))
            try:
                found[place] = variable.values
            except ConfigError:
                found[place] = REFUSED
    tree.close()
    return found


def changed(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Return what was read and is not what was written."""
    if not after:
        return []
    names = [name for name in before if name not in after] + [name for name in after if name not in before]
    for name, value in after.items():
        if name in before and value is not REFUSED and not np.array_equal(value, before[name], **_nan(value)):
            names.append(name)
    return names


def _nan(value: Any) -> dict[str, bool]:
    return {"equal_nan": True} if getattr(value, "dtype", np.dtype(object)).kind == "f" else {}


@dataclass
class Damage:
    """Files that were changed, and what they held."""

    before: dict[Path, bytes]

    def mend(self) -> None:
        for path, data in self.before.items():
            path.write_bytes(data)


def damage(folder: Path, kind: str, rng: np.random.Generator) -> Damage:
    """Do one damage to a file of a folder: one bit, an end cut off, a file gone, two files or stretches exchanged."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    path = files[rng.integers(len(files))]
    data = path.read_bytes()
    if kind == "flip":
        bit = int(rng.integers(len(data) * 8))
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
    elif kind == "truncate":
        path.write_bytes(data[: rng.integers(len(data))])
    elif kind == "delete":
        path.unlink()
    elif len(files) == 1:
        return _exchanged_stretches(path, data, rng)
    else:
        others = [each for each in files if each.read_bytes() != data]
        other = others[rng.integers(len(others))]
        exchanged = {path: data, other: other.read_bytes()}
        path.write_bytes(exchanged[other])
        other.write_bytes(data)
        return Damage(exchanged)
    return Damage({path: data})


def _exchanged_stretches(path: Path, data: bytes, rng: np.random.Generator) -> Damage:
    while True:
        first, second = sorted(int(place) for place in rng.integers(len(data) - 32, size=2))
        a, b = data[first : first + 32], data[second : second + 32]
        if second - first >= 32 and a != b:
            path.write_bytes(data[:first] + b + data[first + 32 : second] + a + data[second + 32 :])
            return Damage({path: data})


def battery_of_results(folder: Path, counts: dict[str, int], rng: np.random.Generator) -> Counter[str]:
    """Damage results in a folder again and again; count what reading and `verify` made of it."""
    before, found = read(folder), Counter[str]()
    assert before
    assert not verify(folder).damaged
    for kind, count in counts.items():
        for _ in range(count):
            done = damage(folder, kind, rng)
            after = read(folder)
            found[f"{kind}: damages"] += 1
            found[f"{kind}: refused when opened or read"] += not after or REFUSED in map(_text, after.values())
            found[f"{kind}: read as another value"] += bool(changed(before, after))
            found[f"{kind}: not found by verify"] += not _is_found(folder)
            done.mend()
    assert not changed(before, read(folder))
    return found


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _is_found(folder: Path) -> bool:
    try:
        return bool(verify(folder).damaged)
    except ConfigError:
        return True


def battery_of_a_cache(folder: Path, counts: dict[str, int], rng: np.random.Generator) -> Counter[str]:
    """Damage compiled kernels again and again; count whether they are compiled again, with which results."""
    source = folder / "source.py"
    source.write_text(KERNEL)
    cache = folder / "cache"
    cache.mkdir()
    expected, found = _hash(_kernel(source, cache)), Counter[str]()
    for kind, count in counts.items():
        for _ in range(count):
            done = damage(cache, kind, rng)
            powers = _kernel(source, cache)
            found[f"{kind}: damages"] += 1
            found[f"{kind}: another hash"] += _hash(powers) != expected
            hits = sum(powers.stats.cache_hits.values())
            found[f"{kind}: damaged code that was run"] += 2 - hits < sum(path.suffix == ".nbc" for path in done.before)
            again = _kernel(source, cache)
            found[f"{kind}: not mended"] += _hash(again) != expected or sum(again.stats.cache_hits.values()) != 2
    return found


def _hash(powers: Any) -> str:
    """Hash of the results of two signatures, in two files of a cache."""
    values = [powers(x) for x in (0.5, 1.5, 3, 11)]
    return hashlib.sha256(np.array(values).tobytes()).hexdigest()


def _kernel(source: Path, cache: Path) -> Any:
    """Return the kernel of a file as a new process would meet it, with a cache of its own."""
    spec = importlib.util.spec_from_file_location("source", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sources.source_of.cache_clear()
    kept = compilation.cache_folder
    compilation.cache_folder = lambda: cache  # type: ignore[assignment]
    try:
        spec.loader.exec_module(module)
    finally:
        compilation.cache_folder = kept
    return module.powers


def shares(counts: dict[str, int], *parts: int) -> Iterator[dict[str, int]]:
    """Split the number of each kind of damage in these proportions."""
    for part in parts:
        yield {kind: count * part // sum(parts) for kind, count in counts.items()}
