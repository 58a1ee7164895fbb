"""What a sweep will take: scenarios, patients, time, memory and disk. Measures a little; makes nothing."""

from __future__ import annotations

import math
import os
import shutil
from pathlib import Path

from simulator.errors import ConfigError, Problem
from simulator.study.statistics import BAND_REPLICATES
from simulator.sweep.design import Sweep
from simulator.sweep.grammar import MOST_SCENARIOS
from simulator.sweep.jobs import SweepPlan, patients_of, rate_of

CHECKED_DRY = 1_000
"""Scenarios that a dry run checks: all of a smaller sweep, of a larger one those that show every value once, first."""

_SHOWN = 40
_TIMED = 4
_PROCESS = 300e6  # bytes of the program itself, compiled engine included


def refuse_too_many(sweep: Sweep) -> None:
    """Raise ConfigError for a sweep of more scenarios than are made, with what they would take."""
    n = len(sweep)
    if n <= MOST_SCENARIOS:
        return
    experiment = sweep.experiment(0)
    patients = n * patients_of(experiment)
    took = f"{patients:.3g} patients, {_duration(patients / rate_of(experiment))} on this machine"
    allowed = f"is more than {MOST_SCENARIOS:,}; about {took}. Give fewer values, or draw a sample of them: "
    allowed += "interval(low,high) with sweep.samples=…"
    raise ConfigError(Problem("--multirun", f"{n:,} scenarios", allowed))


def refuse_too_large(sweep: Sweep, planned: SweepPlan, folder: Path) -> None:
    """Raise ConfigError where the disk has no room for the arrays and sums."""
    above = folder.absolute()
    while not above.exists():
        above = above.parent
    free, wanted = shutil.disk_usage(above).free, _n_bytes(sweep, planned)
    if wanted > free:
        allowed = (
            f"has {_size(free)} free, and this sweep may take {_size(wanted)}; sweep less, or lower study.replicates"
        )
        raise ConfigError(Problem("hydra.sweep.dir", str(folder), allowed))


def _n_bytes(sweep: Sweep, planned: SweepPlan) -> int:
    """Bytes of the arrays, and of the curves of single studies where sums are kept, before compression."""
    n_bytes, nodes = planned.layout.n_bytes, planned.layout.nodes
    if not sweep.extendable:
        return n_bytes
    sizes = {name: each.values.size for node in nodes.values() for name, each in node.coordinates.items()}
    return n_bytes + len(sweep) * 8 * sizes["group"] * sizes["time"] * min(sizes["replicate"], BAND_REPLICATES)


def requirements(sweep: Sweep, planned: SweepPlan, folder: Path) -> str:
    """Return what a dry run tells."""
    layout, n = planned.layout, len(sweep)
    known = list(planned.known.values())
    timed = known[:: max(1, len(known) // _TIMED)][:_TIMED]
    per_scenario = sum(patients_of(experiment) / rate_of(experiment) for experiment in timed) / len(timed)
    seconds = n * (per_scenario + planned.seconds_to_check)
    n_bytes = _n_bytes(sweep, planned)
    memory = _PROCESS + 3 * n_bytes / n * math.prod(layout.block)
    grid = " × ".join(f"{axis.name} ({axis.size})" for axis in layout.axes)
    lines = [
        f"{grid}: {counted(n, 'scenario')} in {counted(len(layout.blocks), 'block')}, {planned.patients:,} patients"
    ]
    if planned.checked < n:
        lines[0] += f" (of {planned.checked:,} scenarios that were checked)"
    for index in range(n) if n <= _SHOWN else [*range(_SHOWN - 1), n - 1]:
        if index == n - 1 and n > _SHOWN:
            lines.append(f"  … {n - _SHOWN:,} more")
        lines.append(f"  {index + 1:>{len(str(n))}}  {' '.join(sweep.overrides(index))}")
    lines.append(f"time    about {_duration(seconds)} on this machine")
    lines.append(f"disk    at most {_size(n_bytes)}, less after compression")
    lines.append(f"memory  about {_size(memory)}")
    lines.append(f"folder  {folder}{os.sep}; nothing was made")
    return "\n".join(lines)


def counted(n: int, what: str) -> str:
    """Return a number with its noun."""
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _size(n_bytes: float) -> str:
    for unit in ("kB", "MB", "GB"):
        n_bytes /= 1000
        if n_bytes < 1000:
            return f"{n_bytes:.3g} {unit}"
    return f"{n_bytes / 1000:.3g} TB"


def _duration(seconds: float) -> str:
    for unit, size in (("years", 31_557_600), ("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.3g} {unit}"
    return f"{seconds:.2g} s"
