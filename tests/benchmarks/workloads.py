"""The workloads as an engine gets them. Knows the declared files in `configs/` and the shape of tables."""

from __future__ import annotations

from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from simulator.experiment.preparation import prepare
from simulator.tables import ModelTables

CONFIGS = Path(__file__).parent / "configs"


@cache
def tables(workload: str, n_patients: int, *overrides: str) -> ModelTables:
    """Compile w1 or w2 as declared, with overrides as on the command line."""
    texts = [f"cohort={workload}", f"cohort.n_patients={n_patients}", *overrides]
    return prepare(texts, config_dir=CONFIGS, hydra=False).experiment.tables


def tiled(model: ModelTables, n_sets: int) -> ModelTables:
    """Return tables of n_sets parameter sets, each the first one of the model."""
    course = replace(model.course, **_repeated(model.course, n_sets))
    patients = replace(model.patients, **_repeated(model.patients, n_sets))
    return replace(model, course=course, patients=patients, **_repeated(model, n_sets))


def _repeated(table: Any, n_sets: int) -> dict[str, Any]:
    by_set = [spec.name for spec in fields(table) if spec.metadata.get("dims", "").startswith("B")]
    return {name: np.repeat(getattr(table, name)[:1], n_sets, axis=0) for name in by_set}


__all__ = ["CONFIGS", "tables", "tiled"]
