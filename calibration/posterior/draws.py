"""Equally weighted draws over all readings of a text.

A reading is part of a draw: where texts are read in two ways, a draw is a reading and, given it, a value of every
number. The first draws are like all: draw i takes the reading that lags most behind its probability, so that the first
m draws have each reading in a share within 1/m of its probability.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from calibration.posterior.components import Component
from calibration.posterior.fit import Fit, ReadingFit
from calibration.priors.parameters import standard_normal_log_density
from simulator.tables import Floats, Integers


@dataclass(frozen=True, eq=False)
class Draws:
    """n draws, each of one weight.

    ``reading``: (n,) index into the fit's readings. ``values``: every number, (n,), NaN under a reading that has no
    such number. ``log_prior``: (n,) log density of the coordinates. ``log_likelihood``: (n,) of each term; none
    of draws from the prior.
    """

    reading: Integers
    values: Mapping[str, Floats]
    log_prior: Floats
    log_likelihood: Mapping[str, Floats]

    @property
    def size(self) -> int:
        return len(self.reading)


def posterior_draws(fitted: Fit, n: int) -> Draws:
    """Return n draws from the posterior."""
    return _draws(fitted, n, fitted.probabilities, ReadingFit.coordinates, likelihood=True)


def prior_draws(fitted: Fit, n: int) -> Draws:
    """Return n draws from the prior."""
    return _draws(fitted, n, fitted.alternatives.probabilities(), ReadingFit.prior_coordinates, likelihood=False)


def allotted(probabilities: Sequence[float] | Floats, n: int) -> Integers:
    """Return an alternative for each of n draws, (n,): always the one that lags most behind its probability."""
    taken = np.zeros(len(probabilities))
    out = np.empty(n, dtype=np.int64)
    for i in range(n):
        out[i] = int(np.argmax(np.asarray(probabilities) * (i + 1) - taken))
        taken[out[i]] += 1
    return out


def name_of(component: Component, number: int) -> str:
    """Name of a term: its targets."""
    return "+".join(component.terms[number].targets)


def _draws(
    fitted: Fit,
    n: int,
    probabilities: Floats,
    coordinates: Callable[[ReadingFit, int], list[Floats]],
    *,
    likelihood: bool,
) -> Draws:
    reading = allotted(probabilities, n)
    values: dict[str, Floats] = {}
    terms: dict[str, Floats] = {}
    log_prior = np.zeros(n)
    for number, one in enumerate(fitted.readings):
        chosen = reading == number
        size = int(chosen.sum())
        if size == 0:
            continue
        for component, z in zip(one.components, coordinates(one, size), strict=True):
            sets = component.prior.parameter_sets(z)
            for name, column in sets.values.items():
                values.setdefault(name, np.full(n, np.nan))[chosen] = column
            log_prior[chosen] += standard_normal_log_density(z)
            for k, column in enumerate(_log_densities(component, z) if likelihood else ()):
                terms.setdefault(name_of(component, k), np.full(n, np.nan))[chosen] = column
    return Draws(reading, values, log_prior, terms)


def _log_densities(component: Component, z: Floats) -> list[Floats]:
    """Return the log density of each term at draws of a component (n, d), (n,) each: known already if there is one."""
    if len(component.terms) == 1:
        searched = zip(component.draws.coordinates, component.draws.log_likelihood.tolist(), strict=True)
        known = {row.tobytes(): value for row, value in searched}
        return [np.array([known[row.tobytes()] for row in z])]
    sets = component.prior.parameter_sets(z)
    return [term.log_density(sets) for term in component.terms]
