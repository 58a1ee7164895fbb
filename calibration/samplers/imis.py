"""Incremental mixture importance sampling (Raftery & Bao 2010, Biometrics 66:1162-1173).

Begin with draws from the prior and weigh them by the likelihood. Then, again and again, put a normal component where
the greatest weight is, with the covariance of the points around it, draw from it, and weigh all points drawn so far by
prior·likelihood over the density of the whole mixture q = (N₀·prior + B·Σ components)/N they came from. The prior stays
in the mixture, so that weights are bounded and a mode that the components miss is still seen. The mean weight estimates
the evidence. (A mixture with the prior in it: Hesterberg 1995, Technometrics 37:185.)

Here the prior is standard normal in every coordinate (see `priors.distributions`), so distances to a point are plain.
All randomness has an address (seed, stream, stage, row, column), and every density is computed row by row: the result
is the same to the bit whatever the batches in which the likelihood is evaluated.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from calibration.priors.parameters import LOG_2PI, normal_scores, standard_normal_log_density
from calibration.samplers.summary import effective_size
from simulator.tables import Floats

LogLikelihood = Callable[[Floats], Floats]
ENOUGH_UNIQUE = 1.0 - math.exp(-1.0)
"""Stop when a resample is expected to have this share of distinct points."""


@dataclass(frozen=True, eq=False)
class WeightedDraws:
    """Points and weights that stand for a posterior.

    Of ``n`` draws in ``d`` coordinates, the first ``n_prior`` from the prior: ``coordinates`` (n, d), ``weights``
    (n,) summing to one, ``log_likelihood`` (n,). ``log_evidence`` estimates log ∫ prior·likelihood, with standard
    error ``log_evidence_error``. ``converged``: the stopping rule was met before the stages ran out.
    """

    coordinates: Floats
    weights: Floats
    log_likelihood: Floats
    log_evidence: float
    n_prior: int
    stages: int
    converged: bool

    @property
    def effective_size(self) -> float:
        """Kish's effective sample size."""
        return effective_size(self.weights)

    @property
    def log_evidence_error(self) -> float:
        """Standard error of the log evidence: of a mean of n weights, by the delta method, √(1/ESS − 1/n)."""
        return math.sqrt(max(1.0 / self.effective_size - 1.0 / len(self.weights), 0.0))


def imis(
    log_likelihood: LogLikelihood,
    d: int,
    *,
    seed: int,
    stream: str,
    initial: int = 8000,
    step: int = 1000,
    draws: int = 4000,
    stages: int = 100,
    batch: int = 2000,
) -> WeightedDraws | None:
    """Sample a posterior whose prior is standard normal in d coordinates.

    Parameters
    ----------
    log_likelihood : of coordinates (m, d), returning (m,); −inf is allowed, NaN is not.
    initial, step : draws from the prior, and from each component.
    draws : size of the resample that should have enough distinct points; at most this many stages.
    batch : rows the likelihood is asked for at a time; changes memory, not a bit of the result.

    Returns
    -------
    The weighted draws, or None where no draw of the prior has any likelihood.
    """
    z = normal_scores(initial, d, seed=seed, stream=stream)
    likelihood = _in_batches(log_likelihood, z, batch)
    if not np.any(likelihood > -np.inf):
        return None
    components: list[tuple[Floats, Floats]] = []
    log_prior = standard_normal_log_density(z)
    log_sum = math.log(initial) + log_prior  # log(N₀·prior + B·Σ components) at every point
    stage = 0
    while True:
        weights, log_evidence = _weights(likelihood, log_prior, log_sum)
        enough = float(np.mean(-np.expm1(draws * np.log1p(-np.minimum(weights, 1.0 - 1e-16))))) * len(z) / draws
        if enough >= ENOUGH_UNIQUE or stage == stages:
            return WeightedDraws(z, weights, likelihood, log_evidence, initial, stage, enough >= ENOUGH_UNIQUE)
        stage += 1
        component = _component(z, weights, step)
        components.append(component)
        new = _transformed(normal_scores(step, d, seed=seed, stream=stream, stage=stage), component)
        log_sum = np.logaddexp(log_sum, math.log(step) + _log_normal_density(z, component))
        new_prior = standard_normal_log_density(new)
        new_sum = math.log(initial) + new_prior
        for one in components:
            new_sum = np.logaddexp(new_sum, math.log(step) + _log_normal_density(new, one))
        z, log_prior = np.concatenate([z, new]), np.concatenate([log_prior, new_prior])
        log_sum = np.concatenate([log_sum, new_sum])
        likelihood = np.concatenate([likelihood, _in_batches(log_likelihood, new, batch)])


def resampled(weights: Floats, n: int, at: float = 0.5) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return n row numbers, each row about n·weight times: systematic resampling, ``at`` a place within each step."""
    return np.searchsorted(np.cumsum(weights), (np.arange(n) + at) / n * np.sum(weights)).clip(0, len(weights) - 1)


def _in_batches(log_likelihood: LogLikelihood, z: Floats, batch: int) -> Floats:
    found = np.concatenate([log_likelihood(z[i : i + batch]) for i in range(0, len(z), batch)])
    if np.isnan(found).any():
        raise FloatingPointError(f"the log likelihood is NaN at coordinates {z[np.isnan(found)][0].tolist()}")
    return found


def _weights(likelihood: Floats, log_prior: Floats, log_sum: Floats) -> tuple[Floats, float]:
    """Return normalised weights, and the log of the mean unnormalised one."""
    log_weight = likelihood + log_prior - log_sum + math.log(len(likelihood))
    greatest = float(log_weight.max())
    weight = np.exp(log_weight - greatest)
    total = float(weight.sum())
    return weight / total, greatest + math.log(total / len(weight))


def _component(z: Floats, weights: Floats, step: int) -> tuple[Floats, Floats]:
    """Return centre and Cholesky factor of a component: the covariance of the ``step`` points nearest the centre.

    Points weigh the mean of their importance weight and 1/N (Raftery & Bao 2010).
    """
    centre = z[np.argmax(weights)]
    near = np.argsort(_squared_norm(z - centre), kind="stable")[:step]
    share = 0.5 * (weights[near] + 1.0 / len(z))
    share = share / share.sum()
    away = z[near] - centre
    d = z.shape[1]
    covariance = np.empty((d, d))
    for i in range(d):
        for j in range(i + 1):
            covariance[i, j] = covariance[j, i] = np.sum(share * away[:, i] * away[:, j])
    covariance /= 1.0 - np.sum(share**2)
    return centre, np.asarray(np.linalg.cholesky(covariance + 1e-12 * np.eye(d)), np.float64)


def _transformed(scores: Floats, component: tuple[Floats, Floats]) -> Floats:
    """centre + L·scores, row by row in plain sums: a matrix product's bits may depend on the number of rows."""
    centre, factor = component
    columns = []
    for i in range(len(centre)):
        column = np.full(len(scores), centre[i])
        for j in range(i + 1):
            column += factor[i, j] * scores[:, j]
        columns.append(column)
    return np.stack(columns, axis=1)


def _log_normal_density(z: Floats, component: tuple[Floats, Floats]) -> Floats:
    """Log density of the component at z, (n,), by forward substitution."""
    centre, factor = component
    d = len(centre)
    scores = np.empty_like(z)
    for i in range(d):
        left = z[:, i] - centre[i]
        for j in range(i):
            left = left - factor[i, j] * scores[:, j]
        scores[:, i] = left / factor[i, i]
    log_determinant = float(np.sum(np.log(np.diag(factor))))
    return -0.5 * (_squared_norm(scores) + d * LOG_2PI) - log_determinant


def _squared_norm(z: Floats) -> Floats:
    total = np.zeros(len(z))
    for column in z.T:
        total += column * column
    return total
