"""Processor time, wall-clock time and memory of calls and of whole processes. Knows no system that is measured."""

from __future__ import annotations

import atexit
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PACKAGES = ("numpy", "numba", "llvmlite", "simpy", "xarray", "scipy")


@dataclass
class Measured:
    """One row: what was measured, and every sample of it."""

    section: str
    name: str
    patients: int | None = None
    unit: str = "ns"  # ns are nanoseconds a patient
    samples: list[float] = field(default_factory=list)
    missing: str | None = None  # why there is no sample
    role: str | None = None  # the yardstick it is for other rows
    against: tuple[str, ...] = ()  # the yardsticks it is compared with

    @property
    def median(self) -> float:
        return statistics.median(self.samples) if self.samples else float("nan")


def processor_seconds(call: Callable[[], object]) -> float:
    """User and system time of this process, all its threads, while a call lasts."""
    gc.collect()
    before = time.process_time()
    call()
    return time.process_time() - before


def wall_seconds(call: Callable[[], object]) -> float:
    """Wall-clock time of a call."""
    gc.collect()
    before = time.perf_counter()
    call()
    return time.perf_counter() - before


def child(command: Sequence[str], **environment: str) -> Any:
    """Run a process in the repository's root; return the JSON of its last line. RuntimeError where it fails."""
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["no message"])[-1])
    return json.loads(done.stdout.splitlines()[-1])


def process_seconds(command: Sequence[str], **environment: str) -> float:
    """Wall-clock time of a whole process, its modules compiled as an installation leaves them once they were used.

    Raises CalledProcessError where it fails.
    """
    compiled = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(_compiled_modules())}
    everything = {**os.environ, **compiled, **environment}
    before = time.perf_counter()
    subprocess.run(command, cwd=ROOT, env=everything, capture_output=True, check=True)
    return time.perf_counter() - before


@cache
def _compiled_modules() -> Path:
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    return Path(folder.name)


def peak_memory() -> float:
    """Bytes of memory this process has held at most since it began."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return float(line.split()[1]) * 1024.0
    import resource  # where there is no /proc; counts in bytes on macOS

    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def machine() -> dict[str, str]:
    """Describe what the numbers were measured on."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        entries = dict(line.split(":", 1) for line in cpuinfo.read_text().splitlines() if ":" in line)
        said = {key.strip(): value.strip() for key, value in entries.items()}
        model = f"{said.get('model name', model)} (family {said.get('cpu family')}, model {said.get('model')})"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {
        "processor": f"{model}, {cores} cores to use, load {os.getloadavg()[0]:.1f} at the start",
        "versions": f"Python {platform.python_version()}, {versions}",
        "commit": commit.stdout.strip() or "unknown",
        "command": " ".join(["python -m tests.benchmarks", *sys.argv[1:]]),
    }


__all__ = [
    "ROOT",
    "Measured",
    "child",
    "machine",
    "peak_memory",
    "process_seconds",
    "processor_seconds",
    "wall_seconds",
]
