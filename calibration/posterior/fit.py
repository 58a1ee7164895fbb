"""A calibration from beginning to end: readings, targets, priors, search, posterior.

The readings of a text are discrete alternatives: each is fitted by itself, the independent parts of its posterior apart
(`components`), and their evidence weighs them (Bayes).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, partial
from threading import Event
from typing import Any

import numpy as np

from calibration import schema
from calibration.likelihoods.terms import Term
from calibration.posterior.components import Component, components, searched, stream_of
from calibration.posterior.feasible import Truncation
from calibration.posterior.journal import Journal
from calibration.posterior.readings import prepare
from calibration.priors.parameters import Alternatives, Prior, normal_scores
from calibration.samplers.imis import LogLikelihood, resampled
from calibration.samplers.summary import Row, row
from simulator.configuration.draws import GROUP, KEYS, published_with
from simulator.errors import ConfigError, DeclarationWarning, Problem
from simulator.evidence.evidence import EvidenceFile
from simulator.experiment.schema import Experiment
from simulator.running.workers import processors
from simulator.tables import Floats
from simulator.units import DIMENSIONS


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
    kinds: Mapping[str, str]  # how the model reads a parameter (`units.DIMENSIONS`)
    truncation: Truncation | None = None  # the posterior truncated to feasible parameter sets; None: not looked at

    @property
    def log_evidence(self) -> float:
        """Log probability of all fitted targets under prior and reading, constants included."""
        found = float(sum(component.draws.log_evidence for component in self.components))
        return found if self.truncation is None else found + self.truncation.log_factor

    @property
    def log_evidence_error(self) -> float:
        """Its Monte-Carlo standard error: of the search, of what is simulated, and of the truncation."""
        errors = [component.draws.log_evidence_error for component in self.components]
        errors += [c.simulation.log_evidence for c in self.components if c.simulation is not None]
        return float(np.linalg.norm(errors if self.truncation is None else [*errors, self.truncation.log_factor_error]))

    @property
    def converged(self) -> bool:
        """Whether all components have converged."""
        return all(component.converged for component in self.components)

    @cached_property
    def targets(self) -> tuple[str, ...]:
        """Ids of the targets that are fitted."""
        return tuple(dict.fromkeys(name for component in self.components for name in component.targets))

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the model's parameters that have a prior."""
        return tuple(path for component in self.components for path in component.prior.parameters)

    @property
    def config(self) -> dict[str, Any]:
        """Configuration in which a draw's parameters are declared: its published study has what the draw has."""
        config = self.experiment.config
        group = {key: value for key, value in config[GROUP].items() if key not in KEYS}
        return {**config, GROUP: published_with(group, self.parameters)}

    @property
    def effective_size(self) -> float:
        """Least effective size of the components that a target informs; NaN without any."""
        return min((c.draws.effective_size for c in self.components if c.terms), default=math.nan)

    @cached_property
    def summed(self) -> list[Summed]:
        """Return, for each component, weighted draws of its numbers."""
        if self.truncation is None or self.truncation.share == 1.0:
            return [Summed(c.values, c.scaled, c.draws.weights, c.draws.effective_size) for c in self.components]
        n = self.truncation.size
        return [
            Summed(
                component.prior.parameter_sets(z).values,
                component.prior.scaled(z),
                np.full(n, 1.0 / n),
                1.0 / (1.0 / n + 1.0 / component.draws.effective_size),
            )
            for component, z in zip(self.components, self.truncation.coordinates, strict=True)
        ]

    def coordinates(self, n: int, batch: int = 0) -> list[Floats]:
        """Return, for each component, the coordinates (n, d) of n equally weighted draws.

        Components are independent: each is resampled systematically and put in an order of its own. Of a posterior
        that was truncated, the first of the draws that can be produced. Another ``batch`` of draws has other places in
        the steps of the resampling.
        """
        if self.truncation is not None and batch == 0:
            if n > self.truncation.size:
                allowed = (
                    f"is more than the {self.truncation.size} draws that were found to be possible; raise search.draws"
                )
                raise ConfigError(Problem("draws", n, allowed))
            return [z[:n] for z in self.truncation.coordinates]
        found = []
        for component in self.components:
            rows = resampled(component.draws.weights, n, _within(batch))
            stream = stream_of("order", component)
            order = np.argsort(normal_scores(n, 1, seed=self.seed, stream=stream, stage=batch)[:, 0])
            found.append(component.draws.coordinates[rows[order]])
        return found

    def prior_coordinates(self, n: int) -> list[Floats]:
        """Return, for each component, the coordinates (n, d) of n draws from the prior."""
        return [c.prior.draw(n, seed=self.seed, stream=stream_of("prior", c)) for c in self.components]

    def draws(self, n: int) -> dict[str, Floats]:
        """Return n equally weighted draws of every number, (n,) each, dependence between parameters kept."""
        return self.values_at(self.coordinates(n))

    def values_at(self, coordinates: Sequence[Floats]) -> dict[str, Floats]:
        """Return every number, (n,) each, at coordinates (n, d) of each component."""
        values: dict[str, Floats] = {}
        for component, z in zip(self.components, coordinates, strict=True):
            values |= component.prior.parameter_sets(z).values
        return values


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

    @property
    def converged(self) -> bool:
        """Whether all readings have converged."""
        return all(reading.converged for reading in self.readings)

    @property
    def varied(self) -> list[str]:
        """Questions whose answers are part of a draw."""
        return [question for question in self.declared.readings if question in self.readings[0].chosen]

    def name_of(self, reading: ReadingFit) -> str:
        """Return the name of a reading: its answers to what varies; empty where nothing does."""
        return "+".join(reading.chosen[question] for question in self.varied)

    @cached_property
    def units(self) -> dict[str, str]:
        """Unit of every number that is not plain."""
        units: dict[str, str] = {}
        for reading in self.readings:
            for component in reading.components:
                for block in component.prior.blocks:
                    unit = DIMENSIONS[reading.kinds.get(block.parameters[0], "real")].unit
                    units |= {name: unit for name in block.names if not name.endswith("(between)")}
        return units

    @property
    def uncut(self) -> Fit:
        """The same before it was truncated to feasible parameter sets."""
        return replace(self, readings=tuple(replace(reading, truncation=None) for reading in self.readings))

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
    progress: Callable[[str], None] | None = None,
    journal: Journal | None = None,
    known: Fit | None = None,
    threads: int | None = None,
) -> Fit:
    """Calibrate a cohort.

    Parameters
    ----------
    container : the composed configuration, as `simulator.experiment.schema.declare` takes it; its ``seed`` is used.
    declared : the calibration file.
    overrides : the user's ``key=value`` texts, as for `declare`.
    progress : is called with one line for each component that was searched.
    journal : likelihoods of a run that was cut off, not to be found again; the new ones are added.
    known : a fit with the same seed and search, of the same model but for a choice; parts that it has too, prior and
        closed forms alike, are taken from it. What is simulated depends on the whole model, and is searched anew.
    threads : components searched at a time (`simulator.running.workers.processors`); changes nothing in the result.

    Raises
    ------
    ConfigError
        With every problem: of the cohort, of the targets, of the priors; before anything is searched. Where no draw of
        the prior gives the targets any probability, after the search.
    """
    prepared = prepare(container, declared, overrides)
    seed = int(container.get("seed", 0))
    others = () if known is None else known.readings
    made = [component for reading in others for component in reading.components if component.simulation is None]
    parts = [list(components(one.prior, one.terms)) for one in prepared.readings]
    wanted: list[_Search] = []
    for alternatives, one, own in zip(prepared.chosen, prepared.readings, parts, strict=True):
        for prior, terms in own:
            there = [(other.prior, other.terms) for other in made] + [(other.prior, other.terms) for other in wanted]
            if (prior, terms) not in there:
                asked = (one.experiment.config, declared, alternatives, prior.names)
                wanted.append(_Search(prior, terms, None if journal is None else partial(journal.remembered, asked)))
    # Here, since threads share what is ignored.
    with warnings.catch_warnings(action="ignore", category=DeclarationWarning):
        for component in _side_by_side(wanted, declared.search, seed, processors(threads)):
            made.append(component)
            if progress is not None and component.terms:
                size, stages = component.draws.effective_size, component.draws.stages
                progress(f"{', '.join(component.targets)}: effective size {size:,.0f} after {stages} stages")
    fits = []
    for alternatives, one, own in zip(prepared.chosen, prepared.readings, parts, strict=True):
        found = tuple(next(c for c in made if (c.prior, c.terms) == part) for part in own)
        fits.append(ReadingFit(alternatives, found, seed, one.experiment, one.kinds))
    names = tuple(tuple(alternatives.values()) for alternatives in prepared.chosen)
    readings = Alternatives(names, prepared.weights)
    return Fit(tuple(fits), readings, declared, prepared.evidence, container, tuple(overrides))


@dataclass(frozen=True, eq=False)
class _Search:
    """A component that is to be searched, and what answers for likelihoods that are known."""

    prior: Prior
    terms: tuple[Term, ...]
    remembered: Callable[[LogLikelihood], LogLikelihood] | None


class _Stopped(Exception):
    """Another search failed, or somebody lost patience."""


def _side_by_side(wanted: Sequence[_Search], search: schema.Search, seed: int, threads: int) -> Iterator[Component]:
    """Yield searched components in order, several at work at a time; none knows of another.

    Where one fails, or at an interruption, the others end with the batch that they are at.
    """
    stopped = Event()

    def found(one: _Search) -> Component:
        def around(log_likelihood: LogLikelihood) -> LogLikelihood:
            known = one.remembered(log_likelihood) if one.remembered else log_likelihood

            def unless_stopped(z: Floats) -> Floats:
                if stopped.is_set():
                    raise _Stopped
                return known(z)

            return unless_stopped

        try:
            return searched(one.prior, one.terms, search, seed, around)
        except BaseException:
            stopped.set()
            raise

    if threads == 1 or len(wanted) < 2:
        yield from map(found, wanted)
        return
    with ThreadPoolExecutor(min(threads, len(wanted)), thread_name_prefix="search") as pool:
        futures = [pool.submit(found, one) for one in wanted]
        try:
            for future in futures:
                yield future.result()
        except _Stopped:  # by another, which says why
            pool.shutdown(cancel_futures=True)
            failed = (future.exception() for future in futures if not future.cancelled())
            raise next(error for error in failed if error and not isinstance(error, _Stopped)) from None
        except BaseException:
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


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
                prior=np.concatenate([c.values_before[name] for c, *_ in parts]),
                values=np.concatenate([each.values[name] for _, each, _ in parts]),
                weights=np.concatenate([p * each.weights for _, each, p in parts]),
                prior_scaled=np.concatenate([c.scaled_before[name] for c, *_ in parts]),
                scaled=np.concatenate([each.scaled[name] for _, each, _ in parts]),
                depends=any(c.depends(name) for c, *_ in parts),
                size=1.0 / math.fsum(p * p / each.effective_size for _, each, p in parts),
            )
        )
    return rows
