"""The engine, compiled before it is needed, in two parts that two processes can compile at a time."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numba
import numpy as np

from simulator.engines.compiled import simulate
from simulator.engines.compiled.columns import workplace
from simulator.engines.compiled.output import empty_rows, summarise_block, write_block
from simulator.engines.compiled.plan import plan_of
from simulator.engines.compiled.visits import count_visits
from simulator.tables import CourseTables, ModelTables, PatientTable


def compile_engine() -> None:
    """Compile all of the engine that the cache does not have."""
    simulate(smallest_model(), seed=0, replicates=range(1))


def compile_after_race() -> None:
    """Compile the kernels that a block passes after the race: those of visits and of output."""
    plan = plan_of(smallest_model())
    numbers, times, counts = np.empty(1, np.int64), np.empty((1, 1)), np.empty((1, 1), np.int32)
    with workplace(plan, 1) as work:
        columns, log, visits = work.columns, work.log, work.visits
        compile_for(summarise_block, plan, columns, 1, times, counts, 0)
        compile_for(write_block, plan, columns, 1, log, 0, visits, empty_rows(1), 0, numbers)
        compile_for(count_visits, plan, np.uint64(0), columns, 1, visits, True)


def compile_for(kernel: Any, *arguments: Any) -> None:
    """Compile a kernel for the types of these arguments, and do not call it."""
    if hasattr(kernel, "compile"):  # no dispatcher under NUMBA_DISABLE_JIT
        kernel.compile(tuple(numba.typeof(argument) for argument in arguments))


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
