"""What is fitted under each reading of the text: its experiment, priors and likelihood terms. Searches nothing.

Everything that is wrong with the input is found here, under all readings, before a search begins.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from calibration import schema
from calibration.likelihoods.closed_forms import ClosedForms
from calibration.likelihoods.targets import simulated_terms, terms_of
from calibration.likelihoods.terms import Term
from calibration.posterior import choices
from calibration.priors.parameters import Prior
from simulator.configuration.draws import GROUP, published_with
from simulator.configuration.layers import keys_of, why_not
from simulator.configuration.values import PREFIX
from simulator.errors import MISSING, ConfigError, DeclarationWarning, Problem, unknown
from simulator.evidence import evidence as evidence_file
from simulator.evidence.evidence import EvidenceFile, Selection
from simulator.experiment.schema import Experiment, declare


@dataclass(frozen=True, eq=False)
class PreparedReadings:
    """What is fitted under each reading: its alternatives, and their prior weights, not normalised."""

    evidence: EvidenceFile
    chosen: tuple[Mapping[str, str], ...]
    weights: tuple[float, ...]
    readings: tuple[PreparedReading, ...]

    @property
    def targets(self) -> frozenset[str]:
        """Ids of the targets that are fitted, under every reading."""
        return frozenset(name for term in self.readings[0].terms for name in term.targets)


def prepare(container: Mapping[str, Any], declared: schema.Calibration, overrides: Sequence[str]) -> PreparedReadings:
    """Return priors and likelihoods under every reading; the arguments and what is raised are those of `fit`."""
    evidence = evidence_file.load(container["evidence"])
    used = choices.taken(declared, container)
    chosen, weights = _readings(declared, evidence, container, overrides)
    prepared = []
    problems: dict[str, tuple[Problem, list[str]]] = {}
    for alternatives in chosen:
        try:
            prepared.append(_prepared(container, used, overrides, alternatives))
        except ConfigError as refusal:
            for problem in refusal.problems:
                under = ", ".join(alternatives[question] for question in declared.readings if question in alternatives)
                problems.setdefault(str(problem), (problem, []))[1].append(under)
    if problems:
        said = (_under(problem, names, len(chosen)) for problem, names in problems.values())
        raise ConfigError([choices.located(problem, declared, container) for problem in said])
    _refuse_other_targets(chosen, [one.terms for one in prepared])
    return PreparedReadings(evidence, tuple(chosen), tuple(weights), tuple(prepared))


def chosen_in(evidence: EvidenceFile, container: Mapping[str, Any], overrides: Sequence[str]) -> Selection:
    """Return the evidence as a run of the configuration reads it, with the readings that are not applied."""
    return evidence.select(_given(container), by_hand=evidence_file.READING_KEY in keys_of(overrides))


def _given(container: Mapping[str, Any]) -> list[Any]:
    reading = container.get("study", {}).get("reading")
    return [reading] if isinstance(reading, str) else list(reading) if isinstance(reading, Sequence) else []


def _refuse_other_targets(chosen: Sequence[Mapping[str, str]], terms: Sequence[Sequence[Term]]) -> None:
    """Refuse readings that do not fit the same targets: evidence of other data does not weigh them."""
    fitted = [frozenset(name for term in own_terms for name in term.targets) for own_terms in terms]
    for alternatives, names in zip(chosen, fitted, strict=True):
        if names != fitted[0]:
            other = ", ".join(sorted(names ^ fitted[0]))
            allowed = f"{', '.join(alternatives.values())} does not fit the same targets as the first ({other}): their"
            allowed += " evidence cannot be compared; choose one of them with study.reading"
            raise ConfigError(Problem(f"{schema.ROOT}.readings", MISSING, allowed))


def _under(problem: Problem, readings: Sequence[str], n_readings: int) -> Problem:
    """Say under which readings there is a problem, unless under all of them."""
    if len(readings) == n_readings:
        return problem
    return replace(problem, allowed=f"{problem.allowed} (under {' and '.join(readings)})")


def _readings(
    declared: schema.Calibration, evidence: EvidenceFile, container: Mapping[str, Any], overrides: Sequence[str]
) -> tuple[list[dict[str, str]], list[float]]:
    """Return the alternatives of every reading to be fitted, and their prior weights.

    An alternative that a file closer to the run overrules changes nothing: it would equal the default. It
    is refused, unless ``study.reading`` answers its question.
    """
    given = _given(container)
    default = dict(chosen_in(evidence, container, overrides).chosen)
    owner = {name: question for question, r in evidence.readings.items() for name in r.alternatives}
    wrong = []
    options = []
    for question, weights in declared.readings.items():
        key = f"{schema.ROOT}.readings.{question}"
        if question not in evidence.readings:
            wrong.append(unknown(key, question, evidence.readings, what="question of the evidence"))
            continue
        known = evidence.readings[question].alternatives
        for name, weight in weights.items():
            if name not in known:
                wrong.append(unknown(f"{key}.{name}", name, known, what=f"alternative of {question}"))
            elif (why := why_not(known[name].overruled)) and question not in {owner[other] for other in given}:
                allowed = f"cannot be fitted: {why}; leave {name} out, or name it with {evidence_file.READING_KEY}"
                wrong.append(Problem(f"{key}.{name}", weight, allowed))
        if question not in {owner[name] for name in given}:
            options.append([(question, name, weight) for name, weight in weights.items()])
    if wrong:
        raise ConfigError(wrong)
    chosen, total = [], []
    for combination in itertools.product(*options):
        chosen.append(default | {question: name for question, name, _ in combination})
        total.append(float(np.prod([weight for _, _, weight in combination])))
    return chosen, total


@dataclass(frozen=True, eq=False)
class PreparedReading:
    """What is fitted under one reading."""

    experiment: Experiment
    prior: Prior
    terms: tuple[Term, ...]
    kinds: Mapping[str, str]


def _prepared(
    container: Mapping[str, Any],
    declared: schema.Calibration,
    overrides: Sequence[str],
    alternatives: Mapping[str, str],
) -> PreparedReading:
    """Return prior and likelihood under one reading, or refuse with everything that is wrong."""
    study = {**container["study"], "reading": list(alternatives.values()) or None}
    # Of a reading that nobody chose: what is inert in it is no news.
    with warnings.catch_warnings(action="ignore", category=DeclarationWarning):
        experiment = declare({**container, "study": study}, overrides=overrides)
        keys, wrong = schema.expanded(declared, experiment.parameters)
        paths = [path for paths in keys.values() for path in paths]
        # What is calibrated has the same value in the published study: it is no intervention on it.
        own = {**experiment.config, GROUP: published_with(experiment.config[GROUP], paths)}
        fitted = experiment if own == experiment.config else declare(own, overrides=overrides)
    closed = ClosedForms(fitted, frozenset(paths))
    terms, more = terms_of(declared, closed)
    wrong += more
    for name, given in declared.parameters.items():
        key = f"{schema.ROOT}.parameters.{name}.note"
        wrong += experiment.selection.refuse_use_of_held_out(key, MISSING, given.note)
    kinds = _kinds(experiment) | closed.kinds
    try:
        prior = schema.prior_of(declared, experiment.parameters, kinds)
    except ConfigError as refusal:
        raise ConfigError(list({str(p): p for p in (*wrong, *refusal.problems)}.values())) from None
    if not wrong:
        simulated, wrong = simulated_terms(declared, fitted, prior)
        terms = (*terms, *simulated)
    if not wrong and not terms:
        wrong.append(Problem(f"{schema.ROOT}.left_out", MISSING, "no fitted target is left; there is nothing to learn"))
    if wrong:
        raise ConfigError(wrong)
    return PreparedReading(experiment, prior, terms, schema.kinds_of(keys, experiment.parameters, kinds))


def _kinds(experiment: Experiment) -> dict[str, str]:
    """How the model reads parameters, where it first meets them."""
    return {key.removeprefix(PREFIX): kind for key, kind in experiment.kinds.items() if key.startswith(PREFIX)}
