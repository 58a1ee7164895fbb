"""Many parameter sets of one experiment, declared side by side."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from simulator.configuration.values import PREFIX
from simulator.errors import ConfigError, DeclarationWarning, Problem, unknown
from simulator.experiment.schema import Experiment, declare


def declare_many(experiment: Experiment, values: Mapping[str, Sequence[Any]]) -> Experiment:
    """Return an experiment with n parameter sets: the same, but for the values of some parameters.

    Everything that does not depend on the values is checked once, and what is solved is solved for all sets side by
    side. Each set is what `declare` gives for its values alone, bit for bit, whatever its neighbours are.

    Parameters
    ----------
    values : path of a parameter, such as ``response.hazard_ratio`` → n values, as a file or an override would give
        them: numbers, or texts such as ``"300 d"``.

    Raises
    ------
    ConfigError
        If a path is no parameter of the experiment, or with every problem that was found. What cannot be solved
        names its parameter set (`Problem.parameter_set`).
    """
    wrong = [unknown(PREFIX + path, path, experiment.parameters, what="parameter") for path in values
             if path not in experiment.parameters]  # fmt: skip
    if wrong:
        raise ConfigError(wrong)
    plain = {path: [v.item() if isinstance(v, np.generic) else v for v in column] for path, column in values.items()}
    if len({len(column) for column in plain.values()}) != 1:
        sizes = {path: len(column) for path, column in plain.items()}
        raise ConfigError(Problem("values", sizes, "must be as many for every parameter, and for one at least"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeclarationWarning)  # shown when the experiment was declared
        declared = declare(experiment.config, overrides=experiment.overrides, varied=plain)
    return replace(declared, estimates=experiment.estimates)  # a contrast has one horizon for all parameter sets


@dataclass(frozen=True, eq=False)
class Possible:
    """Those of some parameter sets that can be declared.

    ``experiment``: with the parameter sets ``rows``, in order; None where there are none. ``refused``: the others, each
    with the reason.
    """

    experiment: Experiment | None
    rows: tuple[int, ...]
    refused: Mapping[int, str]


def declare_possible(
    container: Mapping[str, Any], values: Mapping[str, Sequence[Any]], *, overrides: Sequence[str] = ()
) -> Possible:
    """Declare n parameter sets; those that cannot be declared are refused, and the others are not lost.

    ``values`` as for `declare_many`. Each set is accepted, or refused with the same message as by `declare` alone.
    """
    refused: dict[int, str] = {}
    rows = list(range(len(next(iter(values.values())))))
    while rows:
        try:
            varied = {path: [column[row] for row in rows] for path, column in values.items()}
            return Possible(declare(container, overrides=overrides, varied=varied), tuple(rows), refused)
        except ConfigError as refusal:
            problems = refusal.problems
        found: dict[int, list[Problem]] = {}
        for problem in problems:
            if problem.parameter_set is not None:
                found.setdefault(rows[problem.parameter_set], []).append(replace(problem, parameter_set=None))
        if len(rows) == 1:
            found = {rows[0]: list(problems)}
        elif any(problem.parameter_set is None for problem in problems):  # of which sets, it does not say
            found = {}
            for half in (rows[: len(rows) // 2], rows[len(rows) // 2 :]):
                part = {path: [column[row] for row in half] for path, column in values.items()}
                less = declare_possible(container, part, overrides=overrides)
                refused |= {half[row]: why for row, why in less.refused.items()}
        refused |= {row: "; ".join(map(str, said)) for row, said in found.items()}
        rows = [row for row in rows if row not in refused]
    return Possible(None, (), refused)
