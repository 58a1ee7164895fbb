"""Likelihood terms by simulation, for what has no closed form.

The probability that a study prints what the paper printed is the mean, over simulated studies with the study's own
estimators, of the probability that each statistic prints so: 1 or 0, or, with a tolerance τ, that of the statistic plus
a normal error of standard deviation τ (Wilkinson 2013, Stat Appl Genet Mol Biol 12:129: a kernel is a model of error).
Targets of one term are taken together, study by study, so their dependence is in it. Like every term it is a
probability of printed figures, constants included, and goes beside those with closed forms.

All parameter sets share their random numbers (common random numbers), so that the estimate is one smooth function of
the parameters, the same bits for the same parameters. Its error is smooth too, not small; `simulation_error` measures
it.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy import special

from calibration.likelihoods.held import Move, placed, possible
from calibration.priors.parameters import ParameterSets, Prior, PriorBlock
from simulator.errors import DeclarationWarning
from simulator.experiment.schema import Experiment, declare
from simulator.kernels.rng import stream_number, uniforms
from simulator.running import batch
from simulator.tables import Flags, Floats, Integers

ROUNDING = 1e-9
QUARTILES = (-0.6744897501960817, 0.6744897501960817)
"""Of a standard normal score."""
NEARER = (1.0, 0.5, 0.25, 0.125)
"""Parts of the way from the prior's middle to a quartile that are tried in turn, where the whole is impossible."""
SEEDS = 4
LARGEST_SHIFT = 0.1
LARGEST_ERROR = 0.5
"""V54 of VERIFICATION.md: beyond these a posterior by simulation has not converged."""


@dataclass(frozen=True)
class PrintedTarget:
    """What was printed of one statistic: it lies between ``lower`` and ``upper``, but for an error ``tolerance``."""

    target: str
    lower: float
    upper: float
    tolerance: float

    def probability(self, values: Floats) -> Floats:
        """Return the probability that each value prints so; 0 where it is undefined.

        "Not reached" (+inf) prints as a bound from below, and as nothing else.
        """
        if self.tolerance == 0.0:
            return ((values >= self.lower - ROUNDING) & (values <= self.upper + ROUNDING)).astype(np.float64)
        infinite = np.isinf(values)
        known = np.where(infinite, 0.0, values)
        upper = special.ndtr((self.upper - known) / self.tolerance)
        found = upper - special.ndtr((self.lower - known) / self.tolerance)
        return np.asarray(np.nan_to_num(np.where(infinite, (values == self.lower) | (values == self.upper), found)))


@dataclass(frozen=True)
class Simulated:
    """Statistics of simulated studies, together.

    ``parameters``: those that vary; all others have the value that ``experiment`` declares, also ``held``, which have a
    prior and would move a target; of ``untried`` it is not known. ``moves``: of the others, for sets that cannot be
    declared with these values (`held`). The experiment's replicates are the simulated studies; ``recombined`` times as
    many are put together anew from their patients (`study.recombined`).
    Two terms are equal if the same is asked of the same studies, be it under different readings.
    """

    name: str
    printed: tuple[PrintedTarget, ...]
    parameters: frozenset[str]
    experiment: Experiment = field(compare=False)
    recombined: int
    held: tuple[str, ...] = field(default=(), compare=False)
    untried: tuple[str, ...] = field(default=(), compare=False)
    moves: tuple[Move, ...] = field(default=(), compare=False)
    asked: tuple[Any, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        selection, names = self.experiment.selection, set(self.targets)
        patches = (selection.cohort, selection.study, selection.parameters, selection.course)
        statistics = [entry.statistic for entry in selection.entries if entry.id in names]
        object.__setattr__(self, "asked", (*patches, statistics, self.experiment.study.replicates))

    @property
    def targets(self) -> tuple[str, ...]:
        return tuple(one.target for one in self.printed)

    def log_density(self, sets: ParameterSets) -> Floats:
        """Return the log probability of what was printed, (n,).

        −inf also of a set that the model cannot produce wherever the other parameters are (`undefined`).
        """
        found = np.full(sets.size, -np.inf)
        for rows, experiment in self._placed(sets):
            values = batch.targets(experiment, of=self.targets, recombined=self.recombined)
            probability = np.ones(values.shape[:2])
            for k, one in enumerate(self.printed):
                probability *= one.probability(values[:, :, k])
            with np.errstate(divide="ignore"):
                found[rows] = np.log(probability.mean(axis=1))
        return found

    def undefined(self, sets: ParameterSets) -> Flags:
        """Return at which sets there is no likelihood, (n,): the model cannot produce them, whatever the others are."""
        missing = np.ones(sets.size, dtype=bool)
        for rows, _ in self._placed(sets):
            missing[rows] = False
        return missing

    def _placed(self, sets: ParameterSets) -> list[tuple[Integers, Experiment]]:
        return placed(self.experiment, {name: sets[name] for name in sorted(self.parameters)}, self.moves, sets.size)

    def alone(self) -> list[Simulated]:
        """Return a term for each of its targets by itself."""
        return [replace(self, printed=(one,)) for one in self.printed]

    def with_other_seed(self, number: int) -> Simulated:
        """Return the same term under other random numbers, a number ≥ 1 for each."""
        return replace(self, experiment=with_seed(self.experiment, self.name, number))


def with_seed(experiment: Experiment, name: str, number: int = 0, **study: Any) -> Experiment:
    """Return an experiment with random numbers of its own, for a term of this name, and other numbers of its study."""
    config = experiment.config
    stream = stream_number(f"calibration.simulated.{name}")
    u = float(uniforms(int(config.get("seed", 0)), 0, number, stream, 0))
    container = {**config, "seed": int(u * 2.0**53), "study": {**config["study"], **study}}
    with warnings.catch_warnings(action="ignore", category=DeclarationWarning):  # shown once already
        return declare(container, overrides=experiment.overrides)


def moved(term: Simulated, prior: Prior) -> tuple[frozenset[str], frozenset[str]]:
    """Return the parameters that move a statistic of the term, in some study, and those of which it is not known.

    Each coordinate of the prior is set to both quartiles, those of its block to their medians, other blocks to their
    declared values; since sets share their random numbers, what does not matter changes no bit. Blocks come whole.
    Where a set cannot be produced, one nearer to the prior's middle is tried: a refusal says nothing of what a number
    moves. A block of which some set cannot be produced however near it is, and no other moves a statistic, is not
    known.
    """
    usual = batch.targets(term.experiment, of=term.targets)[0]
    found: set[str] = set()
    unknown: set[str] = set()
    for block in prior.blocks:
        moves, refused = _moves(term, block, usual)
        (found if moves else unknown if refused else set()).update(block.parameters)
    return frozenset(found), frozenset(unknown)


def _moves(term: Simulated, block: PriorBlock, usual: Floats) -> tuple[bool, bool]:
    """Return whether a block moves a statistic of the term, and whether some trial of it was impossible."""
    d = len(block.coordinates)
    z = np.zeros((2 * d, d))
    z[np.arange(2 * d), np.repeat(np.arange(d), 2)] = np.tile(QUARTILES, d)
    left = np.arange(2 * d)
    for part in NEARER:
        numbers = block.values(part * z[left])
        made = possible(term.experiment, {name: numbers[name] for name in block.parameters})
        if made.experiment is not None:
            values = batch.targets(made.experiment, of=term.targets)
            if not all(np.array_equal(one, usual, equal_nan=True) for one in values):
                return True, False
            left = np.delete(left, list(made.rows))
        if not left.size:
            return False, False
    return False, True


@dataclass(frozen=True)
class MonteCarloError:
    """How far the random numbers of simulated studies move a posterior, between ``seeds`` seeds.

    ``shift``: for each number, the standard deviation of its posterior mean over the posterior standard deviation.
    ``log_likelihood``: the standard deviation of the log likelihood at the mode; ``log_evidence``: that of the log
    evidence. Infinite where some seed finds no likelihood.
    """

    seeds: int
    shift: Mapping[str, float]
    log_likelihood: float
    log_evidence: float

    @property
    def largest_shift(self) -> float:
        return max(self.shift.values())

    @property
    def converged(self) -> bool:
        """Whether both are below `LARGEST_SHIFT` and `LARGEST_ERROR`."""
        return self.largest_shift < LARGEST_SHIFT and self.log_likelihood < LARGEST_ERROR


def simulation_error(
    terms: Sequence[Simulated], sets: ParameterSets, scaled: Mapping[str, Floats], seeds: int = SEEDS
) -> MonteCarloError:
    """Find the posterior again under other seeds: at equally weighted draws of it, by reweighting.

    Parameters
    ----------
    terms : the simulated terms of one posterior; other terms have no random numbers.
    sets : n equally weighted draws, the first of them the mode.
    scaled : numbers (n,) on the scales on which their spread is compared.
    """
    log_likelihood = np.stack(
        [
            sum((one.with_other_seed(k).log_density(sets) if k else one.log_density(sets) for one in terms), start=0.0)
            for k in range(seeds)
        ]
    )
    change = log_likelihood - log_likelihood[0]
    highest = change.max(axis=1)
    if not np.isfinite(highest).all() or not np.isfinite(log_likelihood[:, 0]).all():
        return MonteCarloError(seeds, dict.fromkeys(scaled, np.inf), np.inf, np.inf)
    weights = np.exp(change - highest[:, None])
    log_evidence = np.log(weights.mean(axis=1)) + highest
    weights /= weights.sum(axis=1)[:, None]
    shift = {}
    for name, column in scaled.items():
        spread = float(np.std(column))
        means = (weights * column).sum(axis=1)
        shift[name] = float(np.std(means, ddof=1)) / spread if spread > 0.0 else 0.0
    of_mode, of_evidence = (float(np.std(values, ddof=1)) for values in (log_likelihood[:, 0], log_evidence))
    return MonteCarloError(seeds, shift, of_mode, of_evidence)
