"""The run record.

A record is flat: text and numbers, so that it can be the attributes of a file. It holds no time, host or absolute path:
two runs of the same thing have the same record.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import simulator
from simulator.errors import ConfigError, Problem

Record = dict[str, str | int | float]

SOFTWARE = "lobule"
RESULTS_FORMAT = 1
"""Version of the layout of the tree; a reader refuses what is newer than itself."""

UNCERTAINTY = "parameter_uncertainty"
"""What a record says of the spread of parameters, and whose they are where they are borrowed."""
POINT_VALUES = "no parameter uncertainty: point values"

_PACKAGES = ("numpy", "numba", "scipy", "simpy", "xarray")
_ABSOLUTE_PATH = re.compile(r"^['\"]?(/[^\s/]+(/|$)|~[^\s/]*/|\\\\|[A-Za-z]:[\\/]|file:/)")


def record(
    config: Mapping[str, Any],
    *,
    seed: int,
    evidence: Mapping[str, Any] | Sequence[Any],
    parameters: Mapping[str, Any],
    engine: str,
    parameter_uncertainty: str = POINT_VALUES,
    **facts: str | int | float,
) -> Record:
    """Return what a run was made of, in a fixed order: enough to run it again bit for bit.

    ``config`` is the composed configuration; its ``hydra`` branch is left out, and so is every value anywhere
    that is an absolute path. ``evidence`` and ``parameters`` are the resolved values. ``facts`` are further
    attributes, such as ``cohort`` and ``n_patients``. All three mappings keep their order, which has a
    meaning: patients are allotted to strata in declared order.
    """
    made: Record = {
        **_version(),
        "engine": engine,
        "seed": seed,
        **{name: _without_path_lines(fact) for name, fact in facts.items()},
        "parameter_uncertainty": parameter_uncertainty,
        "config": _json({key: value for key, value in config.items() if key != "hydra"}),
        "evidence": _json(evidence),
        "parameters": _json(parameters),
        "python_version": platform.python_version(),
    }
    return made | _installed()


def sweep_record(
    description: Mapping[str, Any],
    configurations: Mapping[str, Any],
    *,
    parameter_uncertainty: str = POINT_VALUES,
    **facts: str | int | float,
) -> Record:
    """Return what a sweep was made of: what was swept, and the composed files that its overrides are set in."""
    return {
        **_version(),
        **facts,
        "parameter_uncertainty": parameter_uncertainty,
        "sweep": _json(description),
        "configurations": _json(configurations),
        "python_version": platform.python_version(),
        **_installed(),
    }


def version() -> Record:
    """Return what decides whether two runs of the same configuration may be put together."""
    made: Record = {"software_version": simulator.__version__, "stream_version": _version()["stream_version"]}
    return made | {name: value for name, value in _installed().items() if name == "source_commit"}


def software() -> Record:
    """Return all versions that a result's last bit may depend on."""
    return _version() | _installed()


def _version() -> Record:
    from simulator.kernels.rng import STREAM_VERSION  # opening results needs no kernels

    return {
        "software": SOFTWARE,
        "software_version": simulator.__version__,
        "results_format": RESULTS_FORMAT,
        "stream_version": STREAM_VERSION,
    }


def config_of(tree: xr.DataTree) -> dict[str, Any]:
    """Return the composed configuration a tree was made from.

    Raises
    ------
    ConfigError
        If the tree carries no run record of ours.
    """
    if "config" not in tree.root.attrs:
        allowed = "must carry a run record: it has no attribute 'config', so Lobule did not write it or it was lost"
        raise ConfigError(Problem("results", tree.root.name or "DataTree", allowed))
    config: dict[str, Any] = json.loads(tree.root.attrs["config"])
    return config


def is_recorded(config: object, tree: xr.DataTree) -> bool:
    """Whether a configuration is the one that a tree was made from, as far as the record has it."""
    if not isinstance(config, Mapping):
        return False
    try:
        recorded = json.loads(_json({key: value for key, value in config.items() if key != "hydra"}))
    except TypeError:  # what no record holds
        return False
    return bool(recorded == config_of(tree))


def _json(value: object) -> str:
    return json.dumps(_without_paths(_plain(value)), ensure_ascii=False, separators=(",", ":"))


def _plain(value: object) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "model_dump"):
        return _plain(value.model_dump(mode="json"))
    if isinstance(value, Iterable):
        return [_plain(item) for item in value]
    raise TypeError(f"a run record holds text, numbers, lists and mappings, not {type(value).__name__}")


def _without_paths(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_paths(item) for key, item in value.items() if not _is_path(item)}
    if isinstance(value, list):
        return [_without_paths(item) for item in value if not _is_path(item)]
    return value


def _without_path_lines(fact: str | int | float) -> str | int | float:
    """Leave out lines such as ``parameters=/a/place/fit.yaml``."""
    if not isinstance(fact, str):
        return fact
    return "\n".join(line for line in fact.split("\n") if not _is_path(line.rpartition("=")[2]))


def _is_path(value: object) -> bool:
    return isinstance(value, str) and bool(_ABSOLUTE_PATH.match(value))


@cache
def _installed() -> Record:
    """Versions of what runs, as they were when first asked for: a process goes on with what it has loaded."""
    commit = _commit_of_this_checkout()
    versions: Record = {f"{package}_version": metadata.version(package) for package in _PACKAGES}
    return versions | ({"source_commit": commit} if commit else {})


def _commit_of_this_checkout() -> str | None:
    """Commit of the sources in use, marked when they differ from it; None for an installed package."""
    root = Path(simulator.__file__).resolve().parent.parent
    if not (root / ".git").exists() or not (root / "pyproject.toml").is_file():
        return None
    commit = _git(root, "rev-parse", "--verify", "HEAD")
    if not commit:
        return None
    changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    return commit if changed == "" else f"{commit}, with uncommitted changes"


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],
            capture_output=True,
            check=True,
            text=True,
            timeout=10,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
