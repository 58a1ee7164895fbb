"""An experiment over draws of a posterior: a crossed design, draws × replicates that share their random numbers.

Each draw is a parameter set, declared and solved like any other, many side by side. A draw that the model cannot
produce (more responses than its progression leaves room for) is left out, named in the record, and the next takes its
place: the posterior is truncated to what can be simulated.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from simulator.configuration.draws import DRAWS, GROUP, designs, has_draws
from simulator.configuration.values import PREFIX
from simulator.errors import ConfigError, DeclarationWarning, Problem
from simulator.evidence.statistic import Statistic
from simulator.experiment.batches import Possible, declare_possible
from simulator.experiment.schema import Experiment
from simulator.running import batch
from simulator.running.batch import OnProgress, RunResult, outcomes
from simulator.running.other_end import other_end, side_by_side
from simulator.running.record import record_of
from simulator.running.workers import in_order, processors
from simulator.tables import Floats

if TYPE_CHECKING:
    from xarray import DataTree


TOGETHER = 32
"""Draws that are declared together."""


@dataclass(frozen=True, eq=False)
class DeclaredDraws:
    """Draws of an experiment: their numbers, and why other draws were left out.

    ``batches``: experiments with some of the draws each, as their parameter sets. ``places``: for each parameter set,
    in order, the place of its number.
    """

    numbers: tuple[int, ...]
    batches: tuple[Experiment, ...]
    places: tuple[int, ...]
    left_out: dict[int, str]

    @property
    def said(self) -> str:
        """Say what the spread of parameters is of."""
        said = f"{len(self.numbers)} draws of the posterior"
        if not self.left_out:
            return said
        numbers, reason = ", ".join(map(str, self.left_out)), next(iter(self.left_out.values()))
        return f"{said}; left out, since the model cannot produce them: {numbers} ({reason})"


def run(
    experiment: Experiment,
    *,
    progress: OnProgress | None = None,
    threads: int | None = None,
    solved: Callable[[int, int], None] | None = None,
) -> DataTree:
    """Simulate, observe and estimate; return the results tree: of point values, or of draws if it asks for them.

    ``solved`` is called with the number of draws solved and their total, ``progress`` and ``threads`` as by
    `batch.outcomes`.
    """
    if not has_draws(experiment.config):
        return batch.run(experiment, progress=progress, threads=threads)
    declared = declared_draws(experiment, threads=threads, solved=solved)
    drawn = any(share for one in declared.batches for share in one.solved.effect)  # by draw: both ends and all between
    other = None if drawn else other_end(experiment)
    beside = None if other is None else declared_draws(other, threads=threads)
    if other is None or beside is None or beside.numbers != declared.numbers:  # other draws cannot be produced there
        return tree_of(experiment, declared, list(outcomes(declared.batches, progress=progress, threads=threads)))
    kept = [replace(batch, estimates=other.estimates) for batch in beside.batches]
    found = list(outcomes([*declared.batches, *kept], progress=progress, threads=threads))
    n = len(declared.places)
    others = np.stack([found[n:][k].estimates for k in np.argsort(beside.places)])
    return tree_of(experiment, declared, found[:n], beside=(other.estimates, others))


def declared_draws(
    experiment: Experiment, *, threads: int | None = None, solved: Callable[[int, int], None] | None = None
) -> DeclaredDraws:
    """Declare as many draws as are wanted. Raises ConfigError where too many cannot be produced."""
    wanted = int(experiment.config[GROUP][DRAWS])
    parts = designs(experiment.config, experiment.overrides)
    where = {number: (part, row) for part in parts for row, number in enumerate(part.numbers)}
    place: dict[int, int] = {}  # of each number that can be produced
    batches: list[Experiment] = []
    sets: list[int] = []  # the number of each parameter set
    left_out: dict[int, str] = {}

    def declared(some: list[int]) -> list[tuple[list[int], Possible]]:
        """Declare draws by their numbers, those of one design together."""
        found = []
        for part in parts:
            members = [number for number in some if where[number][0] is part]
            if members:
                rows = [where[number][1] for number in members]
                values = {path: [column[row] for row in rows] for path, column in part.values.items()}
                found.append((members, declare_possible(part.config, values, overrides=experiment.overrides)))
        return found

    order = sorted(where)
    tasks = (order[first : first + TOGETHER] for first in range(0, len(order), TOGETHER))
    with warnings.catch_warnings():  # of the point values they were shown before
        warnings.simplefilter("ignore", DeclarationWarning)
        for some, found in in_order(declared, tasks, processors(threads)):
            refused = {members[row]: why for members, part in found for row, why in part.refused.items()}
            for number in some:
                if number in refused:
                    left_out[number] = refused[number]
                else:
                    place[number] = len(place)
                if solved is not None:
                    solved(len(place), wanted)
                if len(place) == wanted:
                    break
            if any(number not in refused and number not in place for number in some):
                found = declared([number for number in some if number in place])
            for members, part in found:
                # A contrast has one horizon for all draws: that of the point values.
                batches += [replace(part.experiment, estimates=experiment.estimates)] if part.experiment else []
                sets += [members[row] for row in part.rows]
            if len(place) == wanted:
                return DeclaredDraws(tuple(place), tuple(batches), tuple(place[number] for number in sets), left_out)
    tried = len(place) + len(left_out)
    allowed = f"the model can produce only {len(place)} of {tried} draws"
    reasons = "; ".join(sorted(set(left_out.values()))[:3])
    raise ConfigError(Problem(PREFIX + DRAWS, wanted, f"{allowed}: {reasons}" if reasons else allowed))


def tree_of(
    experiment: Experiment,
    declared: DeclaredDraws,
    found: list[RunResult],
    *,
    beside: tuple[Mapping[str, Statistic], Floats] | None = None,
) -> DataTree:
    """Return the results tree of all draws; ``beside``: what they find at the `other_end` (draws, replicates, …)."""
    from simulator.results import tree as results
    from simulator.results.decisions import decisions_dataset
    from simulator.results.estimates import estimates_dataset

    draws, decisions = declared.numbers, experiment.root.output.decisions
    read = [one.targets for one in declared.batches for _ in range(one.tables.n_sets)]
    found, entries = ([each[k] for k in np.argsort(declared.places)] for each in (found, read))
    intervals, values = (np.stack([getattr(one, name) for one in found]) for name in ("decisions", "estimates"))
    asked, shares = dict(experiment.estimates), None
    if beside is not None:
        asked, values, shares = side_by_side(asked, values, *beside)
    statistics, spread = results.statistics_over_draws([one.statistics for one in found], draws)
    return results.build(
        targets=results.targets_over_draws(entries, np.stack([o.targets for o in found]), draws),
        statistics=statistics,
        spread=spread,
        estimates=estimates_dataset(asked, values, draws=draws, shares=shares) if asked else None,
        decisions=decisions_dataset(decisions, intervals, draws=draws) if decisions else None,
        record=record_of(
            experiment,
            engine=found[0].engine,
            draws=declared.batches,
            parameter_uncertainty=declared.said,
            n_draws=len(draws),
            draws_left_out=", ".join(map(str, declared.left_out)),
        ),
    )
