"""Simulating from Python, as from the command line. Writes nothing, keeps nothing, may run in threads."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from simulator.cli.progress import Compilation
from simulator.errors import ConfigError, Problem

if TYPE_CHECKING:
    from xarray import DataTree


def simulate(overrides: Sequence[str] = (), *, config_dir: str | os.PathLike[str] | None = None) -> DataTree:
    """Simulate one experiment and return its results, the same as the command with these overrides writes.

    Parameters
    ----------
    overrides
        Texts as on the command line, such as ``["cohort=ilp", "study.replicates=100"]``.
    config_dir
        A folder with configurations of your own, as ``--config-dir``.

    Raises
    ------
    ConfigError
        With every problem of the input.
    """
    from simulator.experiment.preparation import prepare

    texts = _texts(overrides)
    with Compilation(texts) as first_run:
        prepared = prepare(texts, config_dir=config_dir, hydra=False, composed=first_run.begin)
        first_run.finish(prepared.experiment)
    from simulator.running.draws import run

    return run(prepared.experiment)


def rerun(path: str | os.PathLike[str]) -> DataTree:
    """Simulate again what a results file records, and return it: every array is reproduced exactly.

    Raises
    ------
    ConfigError
        If there are no results at the path, or what they record is no valid experiment for this version.
    """
    from simulator.experiment.schema import declare
    from simulator.results.provenance import config_of
    from simulator.running.draws import run
    from simulator.sweep.opening import open_results

    tree = open_results(path)
    try:
        config, overrides = config_of(tree), str(tree.attrs.get("overrides", "")).split("\n")
    finally:
        tree.close()
    return run(declare(config, overrides=overrides))


def _texts(overrides: object) -> list[str]:
    allowed = "must be a list of texts, such as ['cohort=ilp', 'study.replicates=100']"
    if isinstance(overrides, str) or not isinstance(overrides, Sequence):
        raise ConfigError(Problem("overrides", overrides, allowed))
    wrong = [item for item in overrides if not isinstance(item, str)]
    if wrong:
        raise ConfigError([Problem("overrides", item, allowed) for item in wrong])
    return list(overrides)
