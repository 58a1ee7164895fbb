"""A calibration beside those under other choices of the model, such as another family of hazards.

Every combination of choices (`choices`) is fitted to the same targets under the same readings and cut to what the model
can produce, so their evidence weighs them, readings summed out (Bayes). The first is the calibration itself, which
nothing here touches. Parts of the posterior that do not depend on a choice are not searched again. Each is shown with
its numbers, and survival by group, also averaged with the probabilities as weights.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy import special

from calibration.posterior.choices import Combination, combinations, held, with_choices
from calibration.posterior.draws import Draws, posterior_draws
from calibration.posterior.feasibility import truncate
from calibration.posterior.fit import Fit, fit
from calibration.posterior.journal import Journal
from calibration.posterior.readings import prepare
from calibration.prediction.extrapolation import informed_until
from calibration.prediction.survival import Survival, survival_of
from calibration.priors.parameters import Alternatives
from calibration.samplers.summary import LEVELS, Row, weighted_quantiles
from calibration.schema import ROOT, Calibration
from simulator.errors import MISSING, ConfigError, DeclarationWarning, Problem
from simulator.experiment.schema import declare
from simulator.study.scope import ALL_PATIENTS
from simulator.tables import Flags, Floats

STANDARD, FULL = "standard", "full"
DRAWS = 400
"""Draws of each other combination that are declared, at most: each takes some tens of milliseconds."""


@dataclass(frozen=True, eq=False)
class Side:
    """One combination of choices: its posterior, draws of it, and survival under them."""

    combination: Combination
    fitted: Fit
    draws: Draws
    survival: Survival

    @property
    def log_evidence(self) -> float:
        """Log probability of all fitted targets, readings summed out."""
        readings = [reading.log_evidence for reading in self.fitted.readings]
        return float(special.logsumexp(np.log(self.fitted.alternatives.probabilities()) + readings))

    @property
    def log_evidence_error(self) -> float:
        """Its Monte-Carlo standard error, at most: as if the errors of readings were one."""
        errors = [reading.log_evidence_error for reading in self.fitted.readings]
        return math.fsum(p * e for p, e in zip(self.fitted.probabilities, errors, strict=True) if p > 0.0)

    @cached_property
    def rows(self) -> list[Row]:
        """The summary of every number."""
        return self.fitted.rows()


@dataclass(frozen=True, eq=False)
class Comparison:
    """Calibrations side by side, the one that was asked for first.

    ``informed``: of each group, and of all, the last informative time in days (`extrapolation`). ``refused``: what
    cannot be fitted, and why. ``held``: choices with a value that is none of their alternatives. ``skipped``:
    combinations that were not fitted, and the depth of diagnostics that fits them.
    """

    sides: tuple[Side, ...]
    informed: Mapping[str, float]
    refused: Mapping[str, str] = field(default_factory=dict)
    held: Mapping[str, str] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """What each side is called; one alone has no choices."""
        return [side.combination.name for side in self.sides]

    @property
    def weighing(self) -> Alternatives:
        """The sides as alternatives, with their prior weights."""
        return Alternatives(tuple((name,) for name in self.names), tuple(s.combination.weight for s in self.sides))

    @cached_property
    def probabilities(self) -> Floats:
        """Posterior probability of each side."""
        return self.weighing.probabilities([side.log_evidence for side in self.sides])

    @property
    def extrapolated(self) -> Flags:
        """Whether survival is beyond the last informative time, (groups, times)."""
        first = self.sides[0].survival
        until = np.array([self.informed[group] for group in first.groups])
        return np.asarray(first.times[None, :] > until[:, None])

    @property
    def mean_extrapolated(self) -> Flags:
        """Whether a restricted mean goes beyond the last informative time, (groups,)."""
        first = self.sides[0].survival
        return np.array([first.restricted_to > self.informed[group] for group in first.groups])

    @cached_property
    def share(self) -> Floats:
        """Quantiles (`summary.LEVELS`) of survival on each side, (sides, levels, groups, times)."""
        return np.stack([_quantiles([side.survival.share], np.ones(1)) for side in self.sides])

    @cached_property
    def mean(self) -> Floats:
        """Quantiles of the restricted mean on each side, (sides, levels, groups)."""
        return np.stack([_quantiles([side.survival.mean], np.ones(1)) for side in self.sides])

    @cached_property
    def averaged_share(self) -> Floats:
        """Quantiles of survival over all sides, each weighing its probability, (levels, groups, times)."""
        return _quantiles([side.survival.share for side in self.sides], self.probabilities)

    @cached_property
    def averaged_mean(self) -> Floats:
        """Quantiles of the restricted mean over all sides, (levels, groups)."""
        return _quantiles([side.survival.mean for side in self.sides], self.probabilities)

    @property
    def differing(self) -> list[str]:
        """Names of numbers in parts of the posterior that are not the same on all sides."""
        first = [component for reading in self.sides[0].fitted.readings for component in reading.components]
        names: dict[str, None] = {}
        for side in self.sides[1:]:
            for component in (c for reading in side.fitted.readings for c in reading.components):
                same = any((c.prior, c.terms) == (component.prior, component.terms) for c in first)
                if component.terms and (component.simulation is not None or not same):
                    names |= dict.fromkeys(component.prior.names)
        return list(names)


def check(container: Mapping[str, Any], declared: Calibration, overrides: Sequence[str]) -> None:
    """Refuse alternatives that this cohort cannot have, before anything is searched.

    Raises
    ------
    ConfigError
        For unknown choices and values, wrong priors, and alternatives that do not fit the same targets.
    """
    others = combinations(declared, container)[1:]
    wrong: dict[str, Problem] = {}
    targets = prepare(container, declared, overrides).targets if others and not declared.simulated else None
    for one in others:
        other, more = with_choices(container, one.chosen)
        try:
            if targets is None:  # simulated terms take long to prepare
                with warnings.catch_warnings(action="ignore", category=DeclarationWarning):
                    declare(other, overrides=(*overrides, *more))
            else:
                _refuse_other_targets(one, targets, prepare(other, declared, (*overrides, *more)).targets)
        except ConfigError as refusal:
            for problem in refusal.problems:
                found = _under(problem, one)
                wrong.setdefault(str(found), found)
    if wrong:
        raise ConfigError(list(wrong.values()))


def compare(
    fitted: Fit,
    draws: Draws,
    *,
    depth: str = STANDARD,
    progress: Callable[[str], None] | None = None,
    journal: Journal | None = None,
) -> Comparison:
    """Fit what a calibration file compares, and return all sides.

    Parameters
    ----------
    fitted : the calibration, truncated to feasible parameter sets, and ``draws`` of it.
    depth : of diagnostics; ``standard``: what has a closed form; ``full``: what is found by simulation too; else none.
    progress : is called with a line for each combination, and with those of `fit`.
    journal : as for `fit`.
    """
    declared, container = fitted.declared, fitted.config
    own, *others = combinations(declared, container) or [Combination({}, 1.0)]
    sides = [Side(own, fitted, draws, survival_of(fitted, draws))]
    needed = FULL if declared.simulated else STANDARD
    refused, skipped = {}, {}
    for one in others:
        if depth not in (needed, FULL):
            skipped[one.name] = needed
            continue
        if progress is not None:
            progress(f"{one.name}:")
        try:
            sides.append(_side(fitted, one, progress, journal))
        except ConfigError as refusal:
            refused[one.name] = "; ".join(str(problem) for problem in refusal.problems)
    first = sides[0].survival
    informed = informed_until(fitted, list(dict.fromkeys((ALL_PATIENTS, *first.groups))))
    return Comparison(tuple(sides), informed, refused, held(declared, container), skipped)


def _side(fitted: Fit, one: Combination, progress: Callable[[str], None] | None, journal: Journal | None) -> Side:
    """Return another combination, fitted and truncated. Raises ConfigError where it cannot be."""
    container, more = with_choices(fitted.config, one.chosen)
    overrides = (*fitted.overrides, *more)
    other = fit(container, fitted.declared, overrides=overrides, progress=progress, journal=journal, known=fitted)
    _refuse_other_targets(one, *(frozenset(each.readings[0].targets) for each in (fitted, other)))
    n = min(DRAWS, fitted.declared.search.draws)
    other = truncate(other, n, progress=progress)
    drawn = posterior_draws(other, n)
    return Side(one, other, drawn, survival_of(other, drawn))


def _refuse_other_targets(one: Combination, fitted: frozenset[str], others: frozenset[str]) -> None:
    if fitted != others:
        allowed = f"{one.name} does not fit the same targets ({', '.join(sorted(fitted ^ others))}): their evidence"
        raise ConfigError(Problem(_key(one), MISSING, f"{allowed} cannot be compared"))


def _under(problem: Problem, one: Combination) -> Problem:
    """Say of a problem under which choices there is one; a choice that is refused is named by its key here."""
    for key, choice in one.chosen.items():
        if problem.value == choice:
            return replace(problem, key=f"{ROOT}.alternatives.{key}.{choice}", value=MISSING)
    if problem.key.startswith(f"{ROOT}.alternatives."):
        return problem
    return replace(problem, allowed=f"{problem.allowed} (under {one.name}, one of {_key(one)})")


def _key(one: Combination) -> str:
    return f"{ROOT}.alternatives.{'+'.join(one.chosen)}"


def _quantiles(parts: Sequence[Floats], probabilities: Floats) -> Floats:
    """Return quantiles over the draws of all parts, (n, …) each, a part weighing its probability: (levels, …)."""
    weights = np.concatenate([np.full(len(x), p / len(x)) for x, p in zip(parts, probabilities, strict=True)])
    values = np.concatenate(parts)
    flat = values.reshape(len(values), -1)
    found = np.stack([weighted_quantiles(column, weights) for column in flat.T], axis=1)
    return np.asarray(found.reshape(len(LEVELS), *values.shape[1:]))
