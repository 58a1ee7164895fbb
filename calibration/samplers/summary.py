"""What weighted draws say: quantiles, effective size, and how much the data moved each number."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from simulator.tables import Floats

LEVELS = (0.025, 0.5, 0.975)
LITTLE = 0.2
"""A contraction of less is called no information: an interval not even a ninth narrower than that of the prior."""


@dataclass(frozen=True)
class CredibleInterval:
    """2.5th, 50th and 97.5th percentile."""

    lower: float
    median: float
    upper: float


@dataclass(frozen=True)
class Row:
    """One number before and after the data; times in days.

    ``contraction`` = 1 − Var(posterior)/Var(prior) on a scale where the prior is normal, or nearly (Betancourt 2018,
    "Calibrating model-based inferences and decisions", arXiv:1803.08393): 0 where the data say nothing, 1 where they
    say all, NaN for a fixed number. ``effective_size`` of the posterior draws. ``informed``: a target depends on the
    number, and its contraction is `LITTLE` or more even if it is found too large by a Monte-Carlo standard error.
    ``middle``, ``spread``: mean and standard deviation of the posterior on that scale.
    """

    name: str
    prior: CredibleInterval
    posterior: CredibleInterval
    contraction: float
    effective_size: float
    informed: bool
    middle: float = math.nan
    spread: float = math.nan


def weighted_quantiles(values: Floats, weights: Floats, levels: tuple[float, ...] = LEVELS) -> Floats:
    """Return quantiles of draws (n,) with weights (n,) ≥ 0, shape (levels,).

    The distribution function is linear between draws and has at each draw the weight before it and half its own
    (Hazen's plotting position where all weights are equal).
    """
    held = weights > 0
    order = np.argsort(values[held], kind="stable")
    x, w = values[held][order], weights[held][order]
    position = (np.cumsum(w) - 0.5 * w) / np.sum(w)
    return np.asarray(np.interp(levels, position, x))


def weighted_mean(values: Floats, weights: Floats) -> float:
    """Return Σwx/Σw; draws without weight do not count, be they infinite."""
    held = weights > 0
    return float(np.sum(weights[held] * values[held]) / np.sum(weights[held]))


def weighted_variance(values: Floats, weights: Floats) -> float:
    """Return Σw(x − x̄)²/Σw; draws without weight do not count, be they infinite."""
    held = weights > 0
    x, w = values[held], weights[held] / np.sum(weights[held])
    mean = np.sum(w * x)
    return float(np.sum(w * (x - mean) ** 2))


def effective_size(weights: Floats) -> float:
    """Return Kish's effective sample size, (Σw)²/Σw²."""
    return float(np.sum(weights) ** 2 / np.sum(weights**2))


def interval(values: Floats, weights: Floats) -> CredibleInterval:
    """Return median and central 95 % of weighted draws."""
    lower, median, upper = weighted_quantiles(values, weights)
    return CredibleInterval(float(lower), float(median), float(upper))


def row(
    name: str,
    *,
    prior: Floats,
    values: Floats,
    weights: Floats,
    prior_scaled: Floats,
    scaled: Floats,
    depends: bool = True,
    size: float | None = None,
) -> Row:
    """Return the summary of one number.

    Parameters
    ----------
    prior : draws from the prior, (m,), all of one weight; ``prior_scaled`` the same on the scale of comparison.
    values, weights : draws from the posterior, (n,); ``scaled`` the same on the scale of comparison.
    depends : whether any target depends on it.
    size : effective size of the posterior draws; None: that of the weights, if no two draws are the same.
    """
    before = weighted_variance(prior_scaled, np.ones(len(prior)))
    variance = weighted_variance(scaled, weights)
    contraction = 1.0 - variance / before if before > 0.0 else math.nan
    size = effective_size(weights) if size is None else size
    error = (1.0 - contraction) * math.sqrt(2.0 / size + 2.0 / len(prior))  # of a ratio of variances of normal draws
    return Row(
        name,
        interval(prior, np.ones(len(prior))),
        interval(values, weights),
        contraction,
        size,
        depends and contraction - error >= LITTLE,
        weighted_mean(scaled, weights),
        math.sqrt(variance),
    )
