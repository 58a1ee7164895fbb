"""How a posterior answers to its prior and to its likelihood, number by number, and whether it leans on a bound.

Power-scaling (Kallioinen, Paananen, Bürkner & Vehtari 2024, Statistics and Computing 34:57): the prior, or the
likelihood, is raised to a power near one, by weights of the draws that there are. The distance between the two
posteriors is the cumulative Jensen–Shannon distance (Nguyen & Vreeken 2015), symmetric and between 0 and 1; divided by
the change of log₂ of the power it is the sensitivity. A number that answers to both has a prior in conflict with its
data; one that answers to the prior alone has a likelihood that is weak beside it.

A prior is scaled on the scale on which it is declared: a normal one raised to a power is normal, a uniform one stays,
a beta one is another beta. Of pooled strata the priors of centre and spread are scaled, since what lies below them is
part of the model (section 2.4 there).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import special

from calibration.posterior.components import Component
from calibration.posterior.fit import ReadingFit
from calibration.priors.distributions import Beta, HalfNormal, Normal, PriorDistribution
from calibration.priors.parameters import Dirichlet, Pooled, PriorBlock, Single
from calibration.samplers.summary import weighted_quantiles
from simulator.tables import Floats

POWERS = (0.8, 1.25)
SENSITIVE = 0.05
"""A sensitivity from which on a number answers: 0.05 as in section 3.3 there."""
CONFLICT, WEAK = "prior–data conflict", "weak likelihood"
TINY = 1e-300  # below it a mean of two shares may round to 0
EDGE = 0.2
"""Part of the width of an interval next to a bound in which the posterior leans on it."""
FALLS = 0.8
"""A posterior with less of it next to a bound than so many times what is beside that falls towards the bound."""
LEANS = 1.25
"""So many times as much of the posterior as of the prior is there, at least."""


@dataclass(frozen=True)
class Sensitivity:
    """Of one number: how much its posterior answers to the power of its prior, and of its likelihood."""

    prior: float
    likelihood: float

    @property
    def said(self) -> str:
        """What that means; nothing where the prior matters little, or no target looks at the number."""
        if math.isnan(self.likelihood) or not self.prior >= SENSITIVE:
            return ""
        return CONFLICT if self.likelihood >= SENSITIVE else WEAK


def sensitivities(reading: ReadingFit) -> Mapping[str, Sensitivity]:
    """Return the sensitivities of every number under one reading; NaN where no target informs its component."""
    found: dict[str, Sensitivity] = {}
    for component in reading.components:
        if not component.terms:
            found |= dict.fromkeys(component.prior.names, Sensitivity(math.nan, math.nan))
            continue
        of_prior, of_likelihood = _log_prior(component), component.draws.log_likelihood
        for name in component.prior.names:
            values = component.values[name]
            both = (_sensitivity(values, component.draws.weights, log) for log in (of_prior, of_likelihood))
            found[name] = Sensitivity(*both)
    return found


def _sensitivity(values: Floats, weights: Floats, log_density: Floats) -> float:
    """Return Σ distance over both powers / log₂ of their ratio."""
    held = (weights > 0.0) & np.isfinite(values)
    x, w, log = values[held], weights[held], log_density[held]
    total = 0.0
    for power in POWERS:
        change = (power - 1.0) * log
        total += distance(x, w, w * np.exp(change - change.max()))
    return total / math.log2(POWERS[1] / POWERS[0])


def distance(x: Floats, p: Floats, q: Floats) -> float:
    """Return the cumulative Jensen–Shannon distance of two distributions with weights p and q on points x, (n,)."""
    return max(_distance(x, p, q), _distance(-x, p, q))


def _distance(x: Floats, p: Floats, q: Floats) -> float:
    order = np.argsort(x, kind="stable")
    width = np.diff(x[order])
    P, Q = (np.maximum(np.cumsum(w[order])[:-1] / np.sum(w), TINY) for w in (p, q))
    M, entropy = 0.5 * (P + Q), special.rel_entr
    bits = float(np.sum(width * (entropy(P, M) + entropy(Q, M)))) / math.log(2.0)
    bound = float(np.sum(width * (P + Q)))
    return math.sqrt(max(bits, 0.0) / bound) if bound > 0.0 else 0.0


def _log_prior(component: Component) -> Floats:
    """Return the log density of what is scaled of a prior at the draws, (n,), constants aside."""
    return np.asarray(sum(_of_block(block, component.values) for block in component.prior.blocks))


def _of_block(block: PriorBlock, values: Mapping[str, Floats]) -> Floats:
    if isinstance(block, Pooled):
        centre, between = block.hyper
        return _of_distribution(block.centre, values[centre]) + _of_distribution(block.between, values[between])
    if isinstance(block, Dirichlet):
        shares = zip(block.parameters, block.concentration.values(), strict=True)
        return np.asarray(sum(special.xlogy(a - 1.0, np.maximum(values[name], 1e-300)) for name, a in shares))
    assert isinstance(block, Single)
    return _of_distribution(block.distribution, values[block.name])


def _of_distribution(distribution: PriorDistribution, x: Floats) -> Floats:
    if isinstance(distribution, Normal):
        return np.asarray(-0.5 * distribution.score(x) ** 2)
    if isinstance(distribution, HalfNormal):
        return np.asarray(-0.5 * (x / distribution.sd) ** 2)
    if isinstance(distribution, Beta):
        low, high = np.maximum(x, 1e-300), np.maximum(1.0 - x, 1e-16)
        return np.asarray((distribution.a - 1.0) * np.log(low) + (distribution.b - 1.0) * np.log(high))
    return np.zeros(len(x))


@dataclass(frozen=True)
class Pressed:
    """A posterior that leans on a bound of its prior, or of what the parameter may be: ``share`` of it near there."""

    name: str
    bound: float
    share: float


def pressed(reading: ReadingFit) -> list[Pressed]:
    """Return the numbers that lean on a bound under one reading.

    Next to the bound, within `EDGE` of the width of the central 95 %, there is at least `FALLS` times as much of the
    posterior as beside that, and `LEANS` times as much as of the prior.
    """
    found = []
    for component, summed in zip(reading.components, reading.summed, strict=True):
        for block in component.prior.blocks:
            if not isinstance(block, Single) or not component.terms:
                continue
            values, before, weights = summed.values[block.name], component.values_before[block.name], summed.weights
            low, high = weighted_quantiles(values, weights, (0.025, 0.975))
            edge = EDGE * (high - low)
            for bound in block.distribution.support:
                if edge == 0.0 or not math.isfinite(bound):
                    continue
                away, total = np.abs(values - bound), float(np.sum(weights))
                near = float(np.sum(weights[away < edge])) / total
                beside = float(np.sum(weights[away < 2.0 * edge])) / total - near
                if near >= max(FALLS * beside, LEANS * float(np.mean(np.abs(before - bound) < edge)), 1e-12):
                    found.append(Pressed(block.name, float(bound), near))
    return found
