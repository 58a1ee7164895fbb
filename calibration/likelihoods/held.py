"""What a simulated term holds, and where it stands where a parameter set cannot be declared with it.

A term varies some parameters and holds the others. Where the model cannot produce a set together with the held values
(a response seen in 90 % is too much for the survival that is tried), that is no property of what the term is about: its
likelihood exists there too. So one held block of the prior after the other is moved, by a score or two of its prior,
until the set can be declared; then several at a time. What all calibrated parameters can have together is decided once,
in `feasibility.truncate`, and counted there.

The order of the moves is found once, at draws of the term's own parameters: a block that makes more of them possible
comes first, its nearest value before the others. A set takes the first that makes it possible, so that it knows no
other set.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from calibration.priors.parameters import Prior, PriorBlock
from simulator.errors import DeclarationWarning
from simulator.experiment.batches import Possible, declare_possible
from simulator.experiment.schema import Experiment
from simulator.tables import Floats, Integers
from simulator.units import SMALLEST

TRIED = 40
"""Draws of a term's own parameters at which it is seen which moves of the others help."""
MOST = 12
"""Refused draws, at most, at which a move is tried: to refuse takes longest."""
FAR, NEAR = (-2.0, 2.0), (-1.0, 1.0)
"""Scores of a coordinate of a held block that are tried: near ones only where far ones help."""

Move = Mapping[str, float]


def possible(experiment: Experiment, values: Mapping[str, Floats]) -> Possible:
    """Declare n parameter sets, ``values`` (n,) of each parameter in internal units; what is tiny counts as 0."""
    columns = {name: np.where(np.abs(column) < SMALLEST, 0.0, column).tolist() for name, column in values.items()}
    with warnings.catch_warnings(action="ignore", category=DeclarationWarning):  # shown once already
        return declare_possible(experiment.config, columns, overrides=experiment.overrides)


def placed(
    experiment: Experiment, values: Mapping[str, Floats], moves: Sequence[Move], n: int
) -> list[tuple[Integers, Experiment]]:
    """Return which of n sets are declared by each experiment: at the held values, or after the first move that helps.

    Sets of which nothing is returned cannot be declared after any move.
    """
    found: list[tuple[Integers, Experiment]] = []
    left = np.arange(n)
    for move in ({}, *moves):
        if not left.size:
            break
        made = possible(experiment, _moved({name: column[left] for name, column in values.items()}, move))
        if made.experiment is not None:
            found.append((left[list(made.rows)], made.experiment))
            left = np.delete(left, list(made.rows))
    return found


def moves_of(experiment: Experiment, prior: Prior, looked_at: frozenset[str], *, seed: int, name: str) -> list[Move]:
    """Return the moves of what a term holds that make more of its parameter sets possible, the best first.

    ``looked_at``: the term's own parameters. None where every set that is tried can be declared as it is.
    """
    own = Prior(tuple(block for block in prior.blocks if looked_at & set(block.parameters)))
    others = [block for block in prior.blocks if not looked_at & set(block.parameters)]
    if not own.blocks or not others:
        return []
    sets = own.parameter_sets(own.draw(TRIED, seed=seed, stream=f"calibration.held.{name}"))
    values = {path: sets[path] for path in sorted(looked_at)}
    refused = np.array(sorted(possible(experiment, values).refused), dtype=np.int64)
    if not refused.size:
        return []
    hard = {path: column[refused[:MOST]] for path, column in values.items()}

    def helped(move: Move) -> int:
        return len(possible(experiment, _moved(hard, move)).rows)

    of_blocks = [_of_block(block, helped) for block in others]
    of_blocks = sorted((each for each in of_blocks if each), key=lambda each: -max(count for _, count in each))
    single = [move for each in of_blocks for move, _ in each]
    together: list[Move] = []
    for each in of_blocks:  # the first block's best value, with that of the second, and so on
        best = max(each, key=lambda pair: pair[1])[0]
        together.append({**(together[-1] if together else {}), **best})
    return [*single, *together[1:]]


def _of_block(block: PriorBlock, helped: Callable[[Move], int]) -> list[tuple[Move, int]]:
    """Return the places of one block that make sets possible, each with how many, the near ones first."""
    d = len(block.coordinates)
    found: list[tuple[Move, int]] = []
    for scores in (FAR, NEAR):
        for score in scores:
            for coordinate in range(d):
                z = np.zeros((1, d))
                z[0, coordinate] = score
                numbers = block.values(z)
                move = {path: float(numbers[path][0]) for path in block.parameters}
                if count := helped(move):
                    found.append((move, count))
        if not found:
            break
    return found[::-1]


def _moved(values: Mapping[str, Floats], move: Move) -> dict[str, Floats]:
    n = len(next(iter(values.values())))
    return {**values, **{path: np.full(n, value) for path, value in move.items()}}
