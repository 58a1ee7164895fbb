"""Independent parts of a posterior, each searched by itself.

Parameters that no target ties together are searched apart: the posterior is a product over *components*, the connected
parts of the graph of prior blocks and likelihood terms. Each is small, each has its own weighted draws, and the log
evidence is their sum. A component without a term keeps its prior, and says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from calibration import schema
from calibration.likelihoods.simulated import MonteCarloError, Simulated, simulation_error
from calibration.likelihoods.terms import Term
from calibration.priors.parameters import Prior
from calibration.samplers.imis import LogLikelihood, WeightedDraws, imis, resampled
from simulator.errors import MISSING, ConfigError, Problem
from simulator.tables import Floats

LEAST_PRIOR_DRAWS = 4000
"""Draws from the prior, at least, that say what was known before; and the posterior, of what no target informs."""
PRIOR_DRAWS, STAGE_DRAWS = 200, 50
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
    before: Floats  # coordinates (m, d) of draws from the prior
    simulation: MonteCarloError | None = None  # of terms that are simulated

    @property
    def converged(self) -> bool:
        """Whether the search ended before its stages ran out, and the random numbers move the posterior little."""
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

    @cached_property
    def values_before(self) -> Mapping[str, Floats]:
        """Every number at every draw of the prior, (m,)."""
        return self.prior.parameter_sets(self.before).values

    @cached_property
    def scaled_before(self) -> Mapping[str, Floats]:
        """The same on the scales of `scaled`."""
        return self.prior.scaled(self.before)

    def looking_at(self, name: str) -> tuple[Term, ...]:
        """Return the terms that depend on a number; on a number of a prior by what it is the prior of."""
        block = next(block for block in self.prior.blocks if name in block.names)
        wanted = {name} if name in block.parameters else set(block.parameters)
        return tuple(term for term in self.terms if wanted & term.parameters)

    def depends(self, name: str) -> bool:
        """Whether some target depends on a number."""
        return bool(self.looking_at(name))


def components(prior: Prior, terms: Sequence[Term]) -> Iterator[tuple[Prior, tuple[Term, ...]]]:
    """Yield the independent parts of a posterior: prior blocks and the terms that tie them together."""
    owner = {name: i for i, block in enumerate(prior.blocks) for name in block.parameters}
    label = list(range(len(prior.blocks)))
    for term in terms:
        tied = {label[owner[name]] for name in term.parameters}
        label = [min(tied) if one in tied else one for one in label]
    for one in dict.fromkeys(label):
        blocks = tuple(block for block, of in zip(prior.blocks, label, strict=True) if of == one)
        own = tuple(term for term in terms if {label[owner[name]] for name in term.parameters} == {one})
        yield Prior(blocks), own


def log_likelihood_of(prior: Prior, terms: Sequence[Term]) -> LogLikelihood:
    """Return the log likelihood of terms, (n,), as a function of coordinates (n, d)."""

    def log_likelihood(z: Floats) -> Floats:
        sets = prior.parameter_sets(z)
        return np.asarray(sum(term.log_density(sets) for term in terms))

    return log_likelihood


def searched(
    prior: Prior,
    terms: tuple[Term, ...],
    search: schema.Search,
    seed: int,
    around: Callable[[LogLikelihood], LogLikelihood] | None = None,
) -> Component:
    """Return one component with its posterior. ``around`` puts something before its log likelihood."""
    stream = stream_of("imis", prior)
    d = len(prior.coordinates)
    if not terms:
        n = LEAST_PRIOR_DRAWS
        z = prior.draw(n, seed=seed, stream=stream)
        return Component(prior, (), WeightedDraws(z, np.full(n, 1.0 / n), np.zeros(n), 0.0, n, 0, True), z)

    log_likelihood = log_likelihood_of(prior, terms)
    settings = {name: getattr(search, name) for name in ("initial", "step", "draws", "stages", "batch")}
    if any(isinstance(term, Simulated) for term in terms):  # each point costs milliseconds
        for name, each in (("initial", PRIOR_DRAWS), ("step", STAGE_DRAWS)):
            if name not in search.model_fields_set:
                settings[name] = min(settings[name], each * d)
        settings["batch"] = min(settings["batch"], SIMULATED_TOGETHER)
    draws = imis(around(log_likelihood) if around else log_likelihood, d, seed=seed, stream=stream, **settings)
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
    before = draws.coordinates[: draws.n_prior]
    if len(before) < LEAST_PRIOR_DRAWS:  # a search by simulation has few
        before = prior.draw(LEAST_PRIOR_DRAWS, seed=seed, stream=stream_of("before", prior))
    return Component(prior, terms, draws, before, _simulation_error(prior, terms, draws))


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
    sets = prior.parameter_sets(prior.draw(FAILED_DRAWS, seed=seed, stream=stream_of("failed", prior)))
    parts = [one for term in terms for one in (term.alone() if isinstance(term, Simulated) else [term])]
    return [name for one in parts if not np.isfinite(one.log_density(sets)).any() for name in one.targets]


def _simulation_error(prior: Prior, terms: Sequence[Term], draws: WeightedDraws) -> MonteCarloError | None:
    """Return how far the random numbers of simulated terms move a posterior; None where none is simulated."""
    simulated = [term for term in terms if isinstance(term, Simulated)]
    if not simulated:
        return None
    mode = int(np.argmax(draws.log_likelihood + prior.log_density(draws.coordinates)))
    rows = [mode, *resampled(draws.weights, ERROR_DRAWS).tolist()]
    z = draws.coordinates[rows]
    return simulation_error(simulated, prior.parameter_sets(z), prior.scaled(z))


def stream_of(what: str, of: Prior | Component) -> str:
    """Name of a stream of random numbers: a component's own, so that another one changes nothing in it."""
    prior = of.prior if isinstance(of, Component) else of
    return f"calibration.{what}.{prior.names[0]}"
