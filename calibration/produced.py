"""Parameter sets that a model can produce, told from those it cannot. Knows a declared experiment and its numbers.

Not every set of numbers is a model: more responses than progression leaves room for cannot be seen. A prior holds on
what can be produced; the rest has no probability.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from simulator.declaration.schema import Experiment, declare_many
from simulator.declaration.values import SMALLEST
from simulator.errors import ConfigError
from simulator.tables import Floats, Integers


@dataclass(frozen=True, eq=False)
class Produced:
    """Of n parameter sets those that the model can produce, in order, and why it cannot produce the others.

    ``rows``: (m,) their numbers. ``experiment``: of these m sets; None where there is none. ``refused``: by number.
    """

    rows: Integers
    experiment: Experiment | None
    refused: Mapping[int, str]


def produced(experiment: Experiment, values: Mapping[str, Floats]) -> Produced:
    """Declare n parameter sets, ``values`` (n,) of each parameter in internal units; what is tiny counts as 0.

    Raises
    ------
    ConfigError
        For a name that is no parameter of the experiment.
    """
    values = {name: np.where(np.abs(column) < SMALLEST, 0.0, column) for name, column in values.items()}
    rows = np.arange(len(next(iter(values.values()))))
    refused: dict[int, str] = {}
    while len(rows):
        try:
            many = declare_many(experiment, {name: column[rows].tolist() for name, column in values.items()})
        except ConfigError as refusal:
            if not values.keys() <= experiment.parameters.keys():
                raise
            for problem in refusal.problems:  # what names no set is wrong with a number that all of them have
                named = range(len(rows)) if problem.parameter_set is None else [problem.parameter_set]
                for number in named:
                    refused.setdefault(int(rows[number]), f"{problem.key}: {problem.allowed}")
            rows = np.array([row for row in rows.tolist() if row not in refused], dtype=np.int64)
        else:
            return Produced(rows, many, refused)
    return Produced(rows, None, refused)
