"""``python -m simulator.engines.compiled``: compile the engine into the cache, and nothing else.

A process of its own, beside one that compiles what comes before and after the engine. It ends when its input does, so
that it does not outlive the process that started it.
"""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import fields
from typing import Any

import numpy as np

from simulator.engines.compiled import simulate
from simulator.tables import CourseTables, ModelTables, PatientTable


def smallest_model() -> ModelTables:
    """Return tables of one state, in which nothing happens to nobody: kernels are compiled by types, not by sizes."""
    sizes = {"B": 1, "A": 1, "C": 1, "S": 1, "J": 1, "2": 2, "3": 3}

    def zeros(table: Any, **named: Any) -> Any:
        arrays = {
            spec.name: np.zeros([sizes.get(dim, 0) for dim in spec.metadata["dims"]], spec.metadata["dtype"])
            for spec in fields(table)
            if "dims" in spec.metadata
        }
        return table(**(arrays | named))

    course = zeros(CourseTables, terms=(), reasons=("completed",))
    patients = zeros(PatientTable, covariates=())
    names: dict[str, tuple[str, ...]] = dict.fromkeys(("markers", "events", "outcomes", "causes"), ())
    one = {"states": ("alive",), "arms": ("all",), "strata": ("all",)}
    return zeros(ModelTables, course=course, patients=patients, **names, **one)


def _end_with_input() -> None:
    os.read(0, 1)
    os._exit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is for the process that started this one
    threading.Thread(target=_end_with_input, daemon=True).start()
    simulate(smallest_model(), seed=0, replicates=range(1))
