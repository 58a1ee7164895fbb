"""A calibration from beginning to end: readings, targets, priors, search, posterior. Knows the order of things;
knows no file format, and nothing of any one cohort.

Parameters that no target ties together are searched apart: the posterior is a product over *components*, the
connected parts of the graph of prior blocks and likelihood terms. Each is small, each has its own weighted draws, and
the log evidence is their sum. A component without a term keeps its prior, and says so. The readings of a text are
discrete alternatives: each is fitted by itself, and their evidence weighs them (Bayes).
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np

from calibration import choices, schema
from calibration.closed_forms import ClosedForms
from calibration.cuts import Cut
from calibration.journal import Journal
from calibration.likelihoods import Term
from calibration.parameters import Alternatives, Prior, normal_scores
from calibration.samplers.imis import LogLikelihood, WeightedDraws, imis, resampled
from calibration.simulated import Simulated, SimulationError, simulation_error
from calibration.summary import Row, row
from calibration.targets import simulated_terms, terms_of
from simulator.declaration import evidence as evidence_file
from simulator.declaration.evidence import EvidenceFile
from simulator.declaration.schema import Experiment, declare
from simulator.declaration.values import PREFIX
from simulator.errors import MISSING, ConfigError, DeclarationWarning, Problem, unknown
from simulator.tables import Floats

UNINFORMED_DRAWS = 4000
PRIOR_DRAWS, STAGE_DRAWS = 300, 100
"""Draws for each coordinate of a search by simulation, if nothing is said: from the prior, and of a stage."""
SIMULATED_TOGETHER = 250
"""Rows of a search by simulation in a batch, at most: so much is lost when it is cut off."""
LEAST_LOG_PROBABILITY = -12.0
"""Of a printed figure, on average over those of a term, under the most likely draw: 6e-6. A figure of a study of
thousands has 1e-4 and more if the prior allows what it says, one of dozens 1e-3.
"""
FAILED_DRAWS = 100
"""Draws of the prior at which targets are looked at by themselves where no draw explains them together."""
ERROR_DRAWS = 100
"""Draws at which a simulated likelihood is found again under other seeds."""


@dataclass(frozen=True, eq=False)
class Component:
    """Parameters that targets tie together, and what is known of them afterwards."""

    prior: Prior
    terms: tuple[Term, ...]
    draws: WeightedDraws
    simulation: SimulationError | None = None  # of terms that are simulated

    @property
    def converged(self) -> bool:
        """Whether the search ended before its stages ran out, and luck moves the posterior little."""
        return self.draws.converged and (self.simulation is None or self.simulation.converged)

    @property
    def targets(self) -> tuple[str, ...]:
        """Ids of the targets that inform it; none where the posterior is the prior."""
        return tuple(name for term in self.terms for name in term.targets)

    @cached_property
    def values(self) -> Mapping[str, Floats]:
        """Every number at every draw, (n,)."""
        return self.prior.parameter_sets(self.draws.coordinates).values

    @cached_property
    def scaled(self) -> Mapping[str, Floats]:
        """The same on scales where their prior is normal, or nearly."""
        return self.prior.scaled(self.draws.coordinates)

    def depends(self, name: str) -> bool:
        """Whether some target depends on a number."""
        block = next(block for block in self.prior.blocks if name in block.names)
        looked_at = frozenset[str]().union(*(term.parameters for term in self.terms))
        return name in looked_at or (name not in block.parameters and bool(looked_at & set(block.parameters)))


@dataclass(frozen=True, eq=False)
class Summed:
    """Weighted draws of a component's numbers, as they are and on scales where their prior is normal, or nearly."""

    values: Mapping[str, Floats]
    scaled: Mapping[str, Floats]
    weights: Floats
    effective_size: float


@dataclass(frozen=True, eq=False)
class ReadingFit:
    """The posterior under one reading: ``chosen`` alternatives by question, the ``experiment`` as it reads then."""

    chosen: Mapping[str, str]
    components: tuple[Component, ...]
    seed: int
    experiment: Experiment
    kinds: Mapping[str, str]  # how the model reads a parameter (`values.DIMENSIONS`)
    cut: Cut | None = None  # the posterior cut to what the model can produce; None: not looked at

    @property
    def log_evidence(self) -> float:
        """Log probability of all fitted targets under prior and reading, constants included."""
        found = float(sum(component.draws.log_evidence for component in self.components))
        return found if self.cut is None else found + self.cut.log_factor

    @property
    def log_evidence_error(self) -> float:
        """Its Monte-Carlo standard error: of the search, of what is simulated, and of the cut."""
        errors = [component.draws.log_evidence_error for component in self.components]
        errors += [c.simulation.log_evidence for c in self.components if c.simulation is not None]
        return float(np.linalg.norm(errors if self.cut is None else [*errors, self.cut.log_factor_error]))

    @property
    def converged(self) -> bool:
        """Whether all components have converged."""
        return all(component.converged for component in self.components)

    @cached_property
    def summed(self) -> list[Summed]:
        """Return, for each component, weighted draws of its numbers."""
        if self.cut is None or self.cut.share == 1.0:
            return [Summed(c.values, c.scaled, c.draws.weights, c.draws.effective_size) for c in self.components]
        n = self.cut.size
        return [
            Summed(
                component.prior.parameter_sets(z).values,
                component.prior.scaled(z),
                np.full(n, 1.0 / n),
                1.0 / (1.0 / n + 1.0 / component.draws.effective_size),
            )
            for component, z in zip(self.components, self.cut.coordinates, strict=True)
        ]

    def coordinates(self, n: int, batch: int = 0) -> list[Floats]:
        """Return, for each component, the coordinates (n, d) of n equally weighted draws.

        Components are independent: each is resampled systematically and put in an order of its own. Of a posterior
        that was cut, the first of the draws that can be produced. Another ``batch`` of draws has other places in the
        steps of the resampling.
        """
        if self.cut is not None and batch == 0:
            if n > self.cut.size:
                allowed = f"is more than the {self.cut.size} draws that were found to be possible; raise search.draws"
                raise ConfigError(Problem("draws", n, allowed))
            return [z[:n] for z in self.cut.coordinates]
        found = []
        for component in self.components:
            rows = resampled(component.draws.weights, n, _within(batch))
            stream = _stream("order", component)
            order = np.argsort(normal_scores(n, 1, seed=self.seed, stream=stream, stage=batch)[:, 0])
            found.append(component.draws.coordinates[rows[order]])
        return found

    def prior_coordinates(self, n: int) -> list[Floats]:
        """Return, for each component, the coordinates (n, d) of n draws from the prior."""
        return [c.prior.draw(n, seed=self.seed, stream=_stream("prior", c)) for c in self.components]

    def draws(self, n: int) -> dict[str, Floats]:
        """Return n equally weighted draws of every number, (n,) each, dependence between parameters kept."""
        out: dict[str, Floats] = {}
        for component, z in zip(self.components, self.coordinates(n), strict=True):
            out |= component.prior.parameter_sets(z).values
        return out


@dataclass(frozen=True, eq=False)
class Fit:
    """A cohort's posterior, over its readings; what was declared for it, and the evidence it was fitted to."""

    readings: tuple[ReadingFit, ...]
    alternatives: Alternatives
    declared: schema.Calibration
    evidence: EvidenceFile
    config: Mapping[str, Any]  # the composed configuration it was made from
    overrides: tuple[str, ...]

    @property
    def seed(self) -> int:
        return self.readings[0].seed

    @property
    def default(self) -> int:
        """Index of the reading that a run takes if nothing is said, or else of the most probable one."""
        usual = {question: reading.default for question, reading in self.evidence.readings.items()}
        found = [i for i, reading in enumerate(self.readings) if reading.chosen == usual]
        return found[0] if found else int(np.argmax(self.probabilities))

    @cached_property
    def probabilities(self) -> Floats:
        """Posterior probability of each reading."""
        return self.alternatives.probabilities([reading.log_evidence for reading in self.readings])

    def rows(self) -> list[Row]:
        """Return the summary of every number over all readings, each weighing its posterior probability."""
        return _rows(self.readings, self.probabilities)

    def rows_of(self, reading: ReadingFit) -> list[Row]:
        """Return the summary under one reading; whether a number is informed is said over all of them."""
        informed = {row.name: row.informed for row in self.rows()}
        return [replace(row, informed=informed[row.name]) for row in _rows((reading,), np.ones(1))]


def fit(
    container: Mapping[str, Any],
    declared: schema.Calibration,
    *,
    overrides: Sequence[str] = (),
    told: Callable[[str], None] | None = None,
    journal: Journal | None = None,
    known: Fit | None = None,
) -> Fit:
    """Calibrate a cohort.

    Parameters
    ----------
    container : the composed configuration, as `simulator.declaration.schema.declare` takes it; its ``seed`` is used.
    declared : the calibration file.
    overrides : the user's ``key=value`` texts, as for `declare`.
    told : is called with one line for each component that was searched.
    journal : likelihoods of a run that was cut off, not to be found again; the new ones are added.
    known : a fit with the same seed and search, of the same model but for a word; parts that it has too, prior and
        closed forms alike, are taken from it. What is simulated depends on the whole model, and is searched anew.

    Raises
    ------
    ConfigError
        With every problem: of the cohort, of the targets, of the priors; before anything is searched. Where no draw of
        the prior gives the targets any probability, after the search.
    """
    prepared = prepare(container, declared, overrides)
    chosen = prepared.chosen
    seed = int(container.get("seed", 0))
    others = () if known is None else known.readings
    searched_before = [c for reading in others for c in reading.components if c.simulation is None]
    fits: list[ReadingFit] = []
    for alternatives, one in zip(chosen, prepared.readings, strict=True):
        found = []
        for part, mine in components(one.prior, one.terms):
            before = (*(c for reading in fits for c in reading.components), *searched_before)
            component = next((c for c in before if (c.prior, c.terms) == (part, mine)), None)
            if component is None:
                asked = (one.experiment.config, declared, alternatives, part.names)
                remembered = None if journal is None else partial(journal.remembered, asked)
                component = searched(part, mine, declared.search, seed, remembered)
                if told is not None and mine:
                    size, stages = component.draws.effective_size, component.draws.stages
                    told(f"{', '.join(component.targets)}: effective size {size:,.0f} after {stages} stages")
            found.append(component)
        fits.append(ReadingFit(alternatives, tuple(found), seed, one.experiment, one.kinds))
    names = tuple(tuple(alternatives.values()) for alternatives in chosen)
    readings = Alternatives(names, prepared.weights)
    return Fit(tuple(fits), readings, declared, prepared.evidence, container, tuple(overrides))


@dataclass(frozen=True, eq=False)
class Prepared:
    """What is fitted under each reading: its alternatives, and their prior weights, not normalised."""

    evidence: EvidenceFile
    chosen: tuple[Mapping[str, str], ...]
    weights: tuple[float, ...]
    readings: tuple[PreparedReading, ...]

    @property
    def targets(self) -> frozenset[str]:
        """Ids of the targets that are fitted, under every reading."""
        return frozenset(name for term in self.readings[0].terms for name in term.targets)


def prepare(container: Mapping[str, Any], declared: schema.Calibration, overrides: Sequence[str]) -> Prepared:
    """Return priors and likelihoods under every reading; the arguments and what is raised are those of `fit`."""
    evidence = evidence_file.load(container["evidence"])
    used = choices.taken(declared, container)
    chosen, weights = _readings(declared, evidence, container.get("study", {}).get("reading"))
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
    return Prepared(evidence, tuple(chosen), tuple(weights), tuple(prepared))


def _refuse_other_targets(chosen: Sequence[Mapping[str, str]], terms: Sequence[Sequence[Term]]) -> None:
    """Refuse readings that do not fit the same targets: evidence of other data does not weigh them."""
    fitted = [frozenset(name for term in mine for name in term.targets) for mine in terms]
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


def components(prior: Prior, terms: Sequence[Term]) -> Iterator[tuple[Prior, tuple[Term, ...]]]:
    """Yield the independent parts of a posterior: prior blocks and the terms that tie them together."""
    owner = {name: i for i, block in enumerate(prior.blocks) for name in block.parameters}
    label = list(range(len(prior.blocks)))
    for term in terms:
        tied = {label[owner[name]] for name in term.parameters}
        label = [min(tied) if one in tied else one for one in label]
    for one in dict.fromkeys(label):
        blocks = tuple(block for block, of in zip(prior.blocks, label, strict=True) if of == one)
        mine = tuple(term for term in terms if {label[owner[name]] for name in term.parameters} == {one})
        yield Prior(blocks), mine


def _readings(
    declared: schema.Calibration, evidence: EvidenceFile, by_hand: object
) -> tuple[list[dict[str, str]], list[float]]:
    """Return the alternatives of every reading to be fitted, and their prior weights."""
    given = [by_hand] if isinstance(by_hand, str) else list(by_hand) if isinstance(by_hand, Sequence) else []
    default = dict(evidence.select(given).chosen)
    owner = {name: question for question, r in evidence.readings.items() for name in r.alternatives}
    wrong = []
    options = []
    for question, weights in declared.readings.items():
        key = f"{schema.ROOT}.readings.{question}"
        if question not in evidence.readings:
            wrong.append(unknown(key, question, evidence.readings, what="question of the evidence"))
            continue
        for name in weights:
            if name not in evidence.readings[question].alternatives:
                known = evidence.readings[question].alternatives
                wrong.append(unknown(f"{key}.{name}", name, known, what=f"alternative of {question}"))
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
    with warnings.catch_warnings():  # of a reading that nobody chose: what is inert in it is no news
        warnings.simplefilter("ignore", DeclarationWarning)
        experiment = declare({**container, "study": study}, overrides=overrides)
    keys, wrong = schema.expanded(declared, experiment.parameters)
    closed = ClosedForms(experiment, frozenset(path for paths in keys.values() for path in paths))
    terms, more = terms_of(declared, closed)
    wrong += more
    kinds = _kinds(experiment) | closed.kinds
    try:
        prior = schema.prior_of(declared, experiment.parameters, kinds)
    except ConfigError as refusal:
        raise ConfigError(list({str(p): p for p in (*wrong, *refusal.problems)}.values())) from None
    if not wrong:
        simulated, wrong = simulated_terms(declared, experiment, prior)
        terms = (*terms, *simulated)
    if not wrong and not terms:
        wrong.append(Problem(f"{schema.ROOT}.left_out", MISSING, "no fitted target is left; there is nothing to learn"))
    if wrong:
        raise ConfigError(wrong)
    return PreparedReading(experiment, prior, terms, schema.kinds_of(keys, experiment.parameters, kinds))


def _kinds(experiment: Experiment) -> dict[str, str]:
    """How the model reads the parameters that are times and rates."""
    kinds = {"d": "duration", "1/d": "rate"}
    units = {key.removeprefix(PREFIX): unit for key, unit in experiment.units.items() if key.startswith(PREFIX)}
    return {path: kinds[unit] for path, unit in units.items() if unit in kinds}


def searched(
    prior: Prior,
    terms: tuple[Term, ...],
    search: schema.Search,
    seed: int,
    remembered: Callable[[LogLikelihood], LogLikelihood] | None = None,
) -> Component:
    """Return one component with its posterior. ``remembered`` puts what is known before a log likelihood."""
    stream = _stream("imis", prior)
    d = len(prior.coordinates)
    if not terms:
        n = UNINFORMED_DRAWS
        z = prior.draw(n, seed=seed, stream=stream)
        return Component(prior, (), WeightedDraws(z, np.full(n, 1.0 / n), np.zeros(n), 0.0, n, 0, True))

    def log_likelihood(z: Floats) -> Floats:
        sets = prior.parameter_sets(z)
        return np.asarray(sum(term.log_density(sets) for term in terms))

    settings = {name: getattr(search, name) for name in ("initial", "step", "draws", "stages", "batch")}
    if any(isinstance(term, Simulated) for term in terms):  # each point costs milliseconds
        for name, each in (("initial", PRIOR_DRAWS), ("step", STAGE_DRAWS)):
            if name not in search.model_fields_set:
                settings[name] = min(settings[name], each * d)
        settings["batch"] = min(settings["batch"], SIMULATED_TOGETHER)
    draws = imis(remembered(log_likelihood) if remembered else log_likelihood, d, seed=seed, stream=stream, **settings)
    if draws is None:
        names = [name for term in terms for name in term.targets]
        exact = any(isinstance(term, Simulated) for term in terms)
        cure = "; an exact figure may need a tolerance" if exact else ""
        allowed = f"no draw of the priors of {', '.join(prior.names)} gives {', '.join(names)} any probability"
        alone = _impossible(prior, terms, seed)
        if len(names) > 1:
            some = f"by themselves {', '.join(alone)} have none" if alone else "each has some by itself, not together"
            allowed += f": of {FAILED_DRAWS} draws, {some}"
        raise ConfigError(Problem(f"{schema.ROOT}.parameters", MISSING, allowed + cure))
    _refuse_excluded(prior, terms, draws)
    return Component(prior, terms, draws, _simulation_error(prior, terms, draws))


def _refuse_excluded(prior: Prior, terms: Sequence[Term], draws: WeightedDraws) -> None:
    """Refuse targets that the most likely draw gives next to no probability: data outside of what the prior allows."""
    best = int(np.argmax(draws.log_likelihood))
    sets = prior.parameter_sets(draws.coordinates[best : best + 1])
    for term in terms:
        each = float(term.log_density(sets)[0]) / len(term.targets)
        if each < LEAST_LOG_PROBABILITY:
            allowed = f"excludes the data: no draw of the priors of {', '.join(sorted(term.parameters))} gives"
            allowed += f" {', '.join(term.targets)} a probability of more than {math.exp(each):.0e} each"
            raise ConfigError(Problem(f"{schema.ROOT}.parameters", MISSING, allowed))


def _impossible(prior: Prior, terms: Sequence[Term], seed: int) -> list[str]:
    """Return the targets that no draw of the prior gives any probability, be they alone: the term, if it is closed."""
    sets = prior.parameter_sets(prior.draw(FAILED_DRAWS, seed=seed, stream=_stream("failed", prior)))
    parts = [one for term in terms for one in (term.alone() if isinstance(term, Simulated) else [term])]
    return [name for one in parts if not np.isfinite(one.log_density(sets)).any() for name in one.targets]


def _simulation_error(prior: Prior, terms: Sequence[Term], draws: WeightedDraws) -> SimulationError | None:
    """Return how far the luck of simulated terms moves a posterior; None where none is simulated."""
    simulated = [term for term in terms if isinstance(term, Simulated)]
    if not simulated:
        return None
    mode = int(np.argmax(draws.log_likelihood + prior.log_density(draws.coordinates)))
    rows = [mode, *resampled(draws.weights, ERROR_DRAWS).tolist()]
    z = draws.coordinates[rows]
    return simulation_error(simulated, prior.parameter_sets(z), prior.scaled(z))


def _stream(what: str, of: Prior | Component) -> str:
    """Name of a stream of random numbers: a component's own, so that another one changes nothing in it."""
    prior = of.prior if isinstance(of, Component) else of
    return f"calibration.{what}.{prior.names[0]}"


def _within(batch: int) -> float:
    """Place of a batch of draws within the steps of the resampling: ½, ¼, ¾, ⅛, … (van der Corput)."""
    digits = f"{batch + 1:b}"
    return int(digits[::-1], 2) / float(2 ** len(digits))


def _rows(readings: Sequence[ReadingFit], probabilities: Floats) -> list[Row]:
    rows = []
    names = dict.fromkeys(name for reading in readings for c in reading.components for name in c.prior.names)
    for name in names:
        parts = [
            (component, summed, probability)
            for reading, probability in zip(readings, probabilities, strict=True)
            for component, summed in zip(reading.components, reading.summed, strict=True)
            if name in component.prior.names and probability > 0.0
        ]
        rows.append(
            row(
                name,
                prior=np.concatenate([c.values[name][: c.draws.n_prior] for c, *_ in parts]),
                values=np.concatenate([each.values[name] for _, each, _ in parts]),
                weights=np.concatenate([p * each.weights for _, each, p in parts]),
                prior_scaled=np.concatenate([c.scaled[name][: c.draws.n_prior] for c, *_ in parts]),
                scaled=np.concatenate([each.scaled[name] for _, each, _ in parts]),
                depends=any(c.depends(name) for c, *_ in parts),
                size=1.0 / math.fsum(p * p / each.effective_size for _, each, p in parts),
            )
        )
    return rows
