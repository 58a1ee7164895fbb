"""An experiment over draws of a posterior: a crossed design, draws × replicates that share their luck.

Knows the order of things. Each draw is an experiment of its own, declared and solved like any other. A draw that the
model cannot produce (more responses than its progression leaves room for) is left out, named in the record, and the
next takes its place: the posterior is cut to what can be simulated.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from simulator.declaration.posterior import DRAWS, GROUP, configurations, has_draws
from simulator.declaration.schema import Experiment, declare
from simulator.declaration.values import PREFIX
from simulator.errors import ConfigError, DeclarationWarning, Problem
from simulator.running import batch
from simulator.running.batch import Outcome, Progress, outcomes
from simulator.running.record import record_of
from simulator.running.workers import in_order, processors

if TYPE_CHECKING:
    from xarray import DataTree


@dataclass(frozen=True, eq=False)
class Declared:
    """Draws of an experiment: their numbers, the experiment of each, and why other draws were left out."""

    numbers: tuple[int, ...]
    experiments: tuple[Experiment, ...]
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
    progress: Progress | None = None,
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
    return tree_of(experiment, declared, list(outcomes(declared.experiments, progress=progress, threads=threads)))


def declared_draws(
    experiment: Experiment, *, threads: int | None = None, solved: Callable[[int, int], None] | None = None
) -> Declared:
    """Declare as many draws as are wanted. Raises ConfigError where too many cannot be produced."""
    wanted = int(experiment.config[GROUP][DRAWS])
    numbers: list[int] = []
    experiments: list[Experiment] = []
    left_out: dict[int, str] = {}
    with warnings.catch_warnings():  # the point values have told all there is
        warnings.simplefilter("ignore", DeclarationWarning)
        for number, found in _declared(experiment, processors(threads)):
            if isinstance(found, Experiment):
                numbers.append(number)
                experiments.append(found)
            else:
                left_out[number] = found
            if solved is not None:
                solved(len(numbers), wanted)
            if len(numbers) == wanted:
                return Declared(tuple(numbers), tuple(experiments), left_out)
    tried = len(numbers) + len(left_out)
    allowed = f"the model can produce only {len(numbers)} of {tried} draws"
    reasons = "; ".join(sorted(set(left_out.values()))[:3])
    raise ConfigError(Problem(PREFIX + DRAWS, wanted, f"{allowed}: {reasons}" if reasons else allowed))


def _declared(experiment: Experiment, threads: int) -> Iterator[tuple[int, Experiment | str]]:
    """Yield each draw's number and its experiment, or why there is none, in order."""

    def work(task: tuple[int, dict[str, object]]) -> Experiment | str:
        try:
            return declare(task[1], overrides=experiment.overrides)
        except ConfigError as refusal:
            return "; ".join(str(problem) for problem in refusal.problems)

    for (number, _), found in in_order(work, configurations(experiment.config, experiment.overrides), threads):
        yield number, found


def tree_of(experiment: Experiment, declared: Declared, found: list[Outcome]) -> DataTree:
    """Return the results tree of all draws."""
    from simulator.results import tree as results

    binned, draws = found[0].binned, declared.numbers
    entries = [one.selection.targets for one in declared.experiments]
    statistics, spread = results.statistics_over_draws([one.statistics for one in found], draws, binned=binned)
    return results.build(
        targets=results.targets_over_draws(entries, np.stack([o.targets for o in found]), draws, binned=binned),
        statistics=statistics,
        spread=spread,
        record=record_of(
            experiment,
            engine=found[0].engine,
            parameter_uncertainty=declared.said,
            n_draws=len(draws),
            draws_left_out=", ".join(map(str, declared.left_out)),
        ),
    )
