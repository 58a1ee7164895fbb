"""What is measured: the project's engines and the yardsticks, each a call that takes a number of patients.

An engine that is not built, or a peer that is not installed, is a reason instead of a call.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import simulator
from simulator.engines import reference
from simulator.tables import ModelTables
from tests.benchmarks import hand_kernel, numpy_vectorised
from tests.benchmarks.measure import child, processor_seconds
from tests.benchmarks.workloads import CONFIGS, tables

SEED = 20240917
HERE = Path(__file__).parent
PEERS_VARIABLE = "LOBULE_PEERS_PYTHON"
"""Environment variable: Pythons in which peers are installed, separated as in PATH."""

PEERS = {"heormodel": "heormodel", "miscore": "miscore-sim", "cimba": "cimba"}
"""Import name and name of distribution."""


@dataclass(frozen=True)
class Engine:
    """The project's engine under one interface; `size`: patients that take it about a second."""

    name: str
    size: int

    def log(self, model: ModelTables, *, threads: int = 1) -> object:
        """Simulate one replicate and keep every history."""
        if self.name == "reference":
            return reference.simulate(model, seed=SEED, replicates=range(1))
        return _compiled().simulate(model, seed=SEED, replicates=range(1), threads=threads)

    def columns(self, model: ModelTables, *, threads: int = 1) -> object:
        """Simulate one replicate and keep first times and counts a patient."""
        if self.name == "reference":
            return self.log(model)
        return _compiled().summarise(model, seed=SEED, replicates=range(1), threads=threads)


def engines() -> dict[str, Engine | str]:
    """Return engines by name, or why one is missing."""
    built = importlib.util.find_spec("simulator.engines.compiled") is not None
    return {
        "compiled": Engine("compiled", 1_000_000) if built else "not built",
        "reference": Engine("reference", 5_000),
    }


def public_call(workload: str, n: int, engine: str) -> object:
    """Simulate n patients by `simulator.simulate`, statistics only: studies of 1,000 patients, or a single one."""
    size = min(n, 1_000)
    overrides = [f"cohort={workload}", f"cohort.n_patients={size}", f"study.replicates={n // size}", f"engine={engine}"]
    return simulator.simulate(overrides, config_dir=CONFIGS)


def by_hand(n: int, *, threads: int = 1) -> object:
    """Run the hand-written kernel, its patients shared among threads."""
    numbers = hand_kernel.numbers_of(tables("w1", 1_000))
    cuts = [n * k // threads for k in range(threads + 1)]

    def part(k: int) -> object:
        return hand_kernel.simulate(numbers, seed=SEED, replicate=0, patients=range(cuts[k], cuts[k + 1]))

    if threads == 1:
        return part(0)
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(part, range(threads)))


def in_numpy(n: int) -> object:
    return numpy_vectorised.simulate(n, seed=SEED)


def in_numpy_columns(n: int) -> object:
    return numpy_vectorised.simulate_columns(n, seed=SEED)


def here(call: Callable[[], object]) -> Callable[[int], float]:
    """Processor seconds of a call in this process; the round does not matter."""
    return lambda _round: processor_seconds(call)


def plain_simpy(workload: str, n: int) -> Callable[[int], float]:
    """Processor seconds of plain SimPy, in a process of its own; the round is the seed."""
    script = str(HERE / "plain_simpy.py")
    return lambda number: child([sys.executable, script, workload, str(n), str(number)])["seconds"]


def peer(name: str, workload: str, n: int, pythons: Sequence[str]) -> Callable[[int], float] | str:
    """Likewise of a peer in the first Python that has it; a reason where none has."""
    for python in pythons:
        if _has(python, name):
            script = str(HERE / f"peer_{name}.py")
            return lambda number: child([python, script, workload, str(n), str(number)])["seconds"]
    return f"{PEERS[name]} is not installed (--peers-python)"


def peer_versions(pythons: Sequence[str]) -> dict[str, str]:
    """Versions of the peers that are installed, by name of distribution."""
    found = {}
    for name, distribution in PEERS.items():
        for python in pythons:
            if _has(python, name):
                asked = f"metadata.version({distribution!r})"
                code = f"import json; from importlib import metadata; print(json.dumps({asked}))"
                found[distribution] = child([python, "-c", code])
                break
    return found


def peer_pythons(given: Sequence[str]) -> list[str]:
    """Pythons to look for peers in: those given, those of the environment, this one."""
    named = [path for path in os.environ.get(PEERS_VARIABLE, "").split(os.pathsep) if path]
    return [*given, *named, sys.executable]


def _has(python: str, name: str) -> bool:
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({name!r}) is None)"
    try:
        return subprocess.run([python, "-c", code], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _compiled():
    return importlib.import_module("simulator.engines.compiled")


__all__ = [
    "PEERS_VARIABLE",
    "SEED",
    "Engine",
    "by_hand",
    "engines",
    "here",
    "in_numpy",
    "in_numpy_columns",
    "peer",
    "peer_pythons",
    "peer_versions",
    "plain_simpy",
    "public_call",
]
