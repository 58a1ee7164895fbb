"""Blocks of survival targets left out together: how well the others predict them.

A block is the fitted survival targets of one stratum, those that one arm has a part in, all medians, all landmarks, or
the landmarks from some time on. The cohort is calibrated again without the block, and what was left out is compared
with what that posterior predicts:

- the log predictive density, log p(block | others) = log Z(all) − log Z(others), Z being the evidence of the fitted
  targets under the prior, beside that of a reference model in which every stratum has a survival curve of its own,
  with the same family and the same priors and nothing shared between strata;
- the share of studies predicted without the block that lie at least as far from the middle of them as the printed
  figures (`predictive.distance`), and the percentile of each printed figure under the prior and under that posterior.

Gelman, Meng & Stern 1996 (Statistica Sinica 6:733); Vehtari & Lampinen 2002 (Neural Computation 14:2439).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import special

from calibration.diagnostics.identifiability import REFITTED, percentile, refitted
from calibration.likelihoods.closed_forms import ClosedForms, NoClosedForm, SurvivalOf, Value, statistic_of
from calibration.likelihoods.printed_curves import PrintedCurves
from calibration.likelihoods.terms import Term
from calibration.posterior.components import components, searched
from calibration.posterior.draws import prior_draws
from calibration.posterior.fit import Fit, ReadingFit
from calibration.prediction.predictive import Predictive, distance, normal_scores, predictive
from calibration.prediction.survival import simulated_draws
from calibration.priors.parameters import Pooled, Prior, Single
from calibration.priors.parameters import PriorBlock as PriorBlock
from simulator.configuration.values import Problems
from simulator.errors import ConfigError
from simulator.evidence.entries import EvidenceEntry
from simulator.study.crossed import error_of_share

ALARM = 0.01
"""A share of studies below this is an alarm, and so is a reference model that predicts 1/ALARM times better.

Each has a false-alarm probability of ALARM at most: the share is uniform under the model, but for ties; the ratio of
the reference's predictive density to the model's has an expectation of at most 1 under the model, so that it exceeds
1/ALARM with a probability of at most ALARM (Markov).
"""
PRIOR_STUDIES = 5
"""Simulated studies of each draw of the prior."""


@dataclass(frozen=True)
class TargetBlock:
    """Fitted survival targets that are left out together, by their ids."""

    name: str
    targets: tuple[str, ...]


@dataclass(frozen=True)
class BlockCheck:
    """How well the other targets predict a block.

    ``log_density``: log p(block | others), natural logarithm. ``reference``: the same where strata share nothing; NaN
    where it is not defined. ``p``: share of studies at least as far out. ``errors``: Monte-Carlo standard errors of the
    three, in this order. ``percentiles``: of each target, 0 to 1, under the prior and under the posterior without the
    block. ``why``: why there is none, or why there is no reference.
    """

    block: TargetBlock
    log_density: float = math.nan
    reference: float = math.nan
    p: float = math.nan
    errors: tuple[float, float, float] = (math.nan, math.nan, math.nan)
    percentiles: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    why: str = ""

    @property
    def alarm(self) -> bool:
        """Whether what was left out lies outside what the others predict, or the reference predicts it far better."""
        return self.p < ALARM or self.reference - self.log_density > -math.log(ALARM)


def blocks_of(fitted: Fit) -> list[TargetBlock]:
    """Return the blocks of a calibration: groups of fitted survival targets without which others remain."""
    reading = fitted.readings[0]
    entries = [e for e in reading.experiment.selection.targets if e.id in reading.targets]
    found = [*_groups("stratum", entries), *_groups("arm", entries)]
    found.append(TargetBlock("all medians", _ids(e for e in entries if statistic_of(e).record.point == "median")))
    landmarks = [(float(statistic_of(e).time or 0.0), e) for e in entries if statistic_of(e).record.point == "landmark"]
    for number, start in enumerate(sorted({time for time, _ in landmarks})):
        name = f"landmarks from day {start:g} on" if number else "all landmarks"
        found.append(TargetBlock(name, _ids(e for time, e in landmarks if time >= start)))
    survival = _ids(entries)
    return [block for block in found if block.targets and set(block.targets) < set(survival)]


def _groups(key: str, entries: Sequence[EvidenceEntry]) -> list[TargetBlock]:
    """Return a block for each stratum, or arm, that survival targets name, where they name more than one."""
    of: dict[str, list[EvidenceEntry]] = {}
    for entry in entries:
        statistic = statistic_of(entry)
        for where in (statistic.where, statistic.against):
            name = None if where is None else getattr(where, key)
            if name is not None:
                of.setdefault(name, []).append(entry)
    return [TargetBlock(f"{key} {name}", _ids(each)) for name, each in of.items()] if len(of) > 1 else []


def _ids(entries: Iterable[EvidenceEntry]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(e.id for e in entries if statistic_of(e).endpoint.curve is not None))


def check_blocks(fitted: Fit, progress: Callable[[str], None] | None = None) -> list[BlockCheck]:
    """Return the check of every block. Each takes a calibration of its own.

    ``progress`` is called with a line for each block.
    """
    blocks = blocks_of(fitted)
    before = _prior_predictive(fitted) if blocks else None
    found = []
    for block in blocks:
        found.append(_checked(fitted, block, before))
        if progress is not None:
            progress(f"without {block.name}: {found[-1].why or f'p = {found[-1].p:.3g}'}")
    return found


def _checked(fitted: Fit, block: TargetBlock, before: Predictive | None) -> BlockCheck:
    try:
        others, again = refitted(fitted, *block.targets, known=fitted)
    except ConfigError as refusal:
        return BlockCheck(block, why=str(refusal.problems[0]))
    predicted = predictive(again)
    all_of, of_others = _evidence(fitted), _evidence(others)
    reference, why = reference_density(fitted, block)
    p, p_error = (math.nan, math.nan) if predicted is None else _share_further(predicted, block)
    percentiles = {
        name: (
            math.nan if before is None else percentile(before, name),
            math.nan if predicted is None else percentile(predicted, name),
        )
        for name in block.targets
    }
    error = math.hypot(all_of[1], of_others[1])
    density = all_of[0] - of_others[0]
    return BlockCheck(block, density, reference[0], p, (error, reference[1], p_error), percentiles, why)


def _share_further(predicted: Predictive, block: TargetBlock) -> tuple[float, float]:
    """Return the share of studies at least as far out as what was printed of a block, and its standard error."""
    scores, reported = normal_scores(predicted.simulated, predicted.reading, predicted.entries)
    names = [entry.id for entry in predicted.entries[0]]
    chosen = [names.index(name) for name in block.targets]
    further = distance(scores[..., chosen], reported[chosen]).astype(float)
    return float(further.mean()), error_of_share(further)


def _prior_predictive(fitted: Fit) -> Predictive | None:
    """Return studies of draws from the prior; None where none of them can be declared."""
    draws = prior_draws(fitted, REFITTED)
    found: dict[int, np.ndarray] = {}
    for number, reading in enumerate(fitted.readings):
        rows = np.flatnonzero(draws.reading == number)
        if rows.size == 0:
            continue
        try:
            _, kept, outcomes = simulated_draws(reading, draws, rows, PRIOR_STUDIES)
        except RuntimeError:
            continue
        found |= {int(rows[row]): outcome.targets for row, outcome in zip(kept, outcomes, strict=True)}
    if not found:
        return None
    order = sorted(found)
    entries = tuple([*reading.experiment.selection.targets] for reading in fitted.readings)
    return Predictive(draws.reading[order], np.stack([found[row] for row in order]), entries, ())


# ------------------------------------------------------------------------------------------------- evidence


def _evidence(fitted: Fit) -> tuple[float, float]:
    """Return the log evidence of all readings together, before truncation, and its Monte-Carlo standard error."""
    each = [[component.draws for component in reading.components] for reading in fitted.readings]
    return _together(
        fitted,
        [sum(draws.log_evidence for draws in one) for one in each],
        [math.hypot(*(draws.log_evidence_error for draws in one)) for one in each],
    )


def _together(fitted: Fit, evidence: Sequence[float], errors: Sequence[float]) -> tuple[float, float]:
    prior = fitted.alternatives.probabilities()
    posterior = fitted.alternatives.probabilities(evidence)
    error = math.fsum(p * e for p, e in zip(posterior, errors, strict=True) if p > 0.0)
    return float(special.logsumexp(np.asarray(evidence), b=prior)), error


def reference_density(fitted: Fit, block: TargetBlock) -> tuple[tuple[float, float], str]:
    """Return log p(block | others) where strata share nothing, its standard error; NaN and the reason where undefined.

    Every stratum has the declared family and, for each parameter of its curve, the declared prior, independent of all
    other strata: a pooled prior is that of a single stratum.
    """
    undefined = (math.nan, math.nan)
    evidence: list[list[tuple[float, float]]] = [[], []]
    for reading in fitted.readings:
        try:
            curves, prior = _apart(reading)
        except NoClosedForm as reason:
            return undefined, f"no reference model: {reason}"
        for left_out, found in zip(((), block.targets), evidence, strict=True):
            terms = _terms(fitted, reading, curves, left_out)
            if terms is None:
                return undefined, "no reference model: survival is not fitted in closed form"
            found.append(_searched(fitted, prior, terms))
    (of_all, error), (of_others, other_error) = (
        _together(fitted, *map(list, zip(*found, strict=True))) for found in evidence
    )
    return (of_all - of_others, math.hypot(error, other_error)), ""


def _apart(reading: ReadingFit) -> tuple[dict[str, SurvivalOf], Prior]:
    """Return curves whose parameters no two strata share, and their prior. Raises NoClosedForm."""
    blocks = [block for component in reading.components for block in component.prior.blocks]
    calibrated = frozenset(name for block in blocks for name in block.parameters)
    curves: dict[str, SurvivalOf] = {}
    apart: list[PriorBlock] = []
    for stratum, curve in ClosedForms(reading.experiment, calibrated).survival().items():
        renamed = {}
        for block in blocks:
            for path in [path for path in block.parameters if path in curve.parameters]:
                own = _own(block, path, stratum)
                renamed[path] = own.parameters[0]
                apart.append(own)

        def value(old: Value, renamed: Mapping[str, str] = renamed) -> Value:
            return old if old.parameter is None else Value(renamed[old.parameter], old.constant)

        named = tuple((name, value(old)) for name, old in curve.named)
        curves[stratum] = SurvivalOf(curve.family, named, value(curve.probability))
    return curves, Prior(tuple(apart))


def _own(block: PriorBlock, path: str, stratum: str) -> PriorBlock:
    """Return the prior of one parameter in one stratum by itself."""
    if isinstance(block, Single):
        return Single(f"{stratum}: {path}", block.distribution)
    if isinstance(block, Pooled):
        return Pooled(f"{stratum}: {block.name}", (path.rpartition(".")[2],), block.centre, block.between)
    raise NoClosedForm(f"{path} is one of several shares, which strata cannot have apart")


def _terms(
    fitted: Fit, reading: ReadingFit, curves: Mapping[str, SurvivalOf], left_out: Sequence[str]
) -> tuple[Term, ...] | None:
    """Return the terms of the fitted survival targets but for some; None where they have no closed form."""
    closed = ClosedForms(reading.experiment, frozenset())
    if closed.sizes is None:
        return None
    problems = Problems()
    survivors = {name: given.count for name, given in fitted.declared.survivors.items() if name not in left_out}
    printed = PrintedCurves(closed.sizes, survivors, closed.follow_up, problems)
    used = set(reading.targets) - set(left_out)
    for entry in reading.experiment.selection.targets:
        if entry.id in used and statistic_of(entry).endpoint.curve is not None:
            printed.add(entry)
    terms = tuple(printed.terms(curves)) if printed.sound else ()
    return None if problems.found else terms


def _searched(fitted: Fit, prior: Prior, terms: Sequence[Term]) -> tuple[float, float]:
    """Return the log evidence of terms and its standard error."""
    made = [searched(*part, fitted.declared.search, fitted.seed).draws for part in components(prior, terms)]
    return sum(one.log_evidence for one in made), math.hypot(*(one.log_evidence_error for one in made))
