"""What weighted draws say: quantiles, effective size, and how much the data moved each number.

Knows arrays and scales; knows no file and prints nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calibration.laws import SCALES
from simulator.tables import Floats

LEVELS = (0.025, 0.5, 0.975)
LITTLE = 0.1
"""A contraction below this is called no information: the posterior is the prior."""


@dataclass(frozen=True)
class Interval:
    """2.5th, 50th and 97.5th percentile."""

    lower: float
    median: float
    upper: float


@dataclass(frozen=True)
class Row:
    """One number before and after the data; times in days.

    ``contraction`` = 1 − Var(posterior)/Var(prior) on the number's own scale (Betancourt 2018, "Calibrating
    model-based inferences and decisions", section 3.4): 0 where the data say nothing, 1 where they say all; NaN for a
    fixed number. ``effective_size`` of the posterior draws. ``informed``: a target depends on the number, and its
    contraction is at least `LITTLE`.
    """

    name: str
    prior: Interval
    posterior: Interval
    contraction: float
    effective_size: float
    informed: bool


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


def weighted_variance(values: Floats, weights: Floats) -> float:
    """Return Σw(x − x̄)²/Σw; draws without weight do not count, be they infinite."""
    held = weights > 0
    x, w = values[held], weights[held] / np.sum(weights[held])
    mean = np.sum(w * x)
    return float(np.sum(w * (x - mean) ** 2))


def effective_size(weights: Floats) -> float:
    """Return Kish's effective sample size, (Σw)²/Σw²."""
    return float(np.sum(weights) ** 2 / np.sum(weights**2))


def interval(values: Floats, weights: Floats) -> Interval:
    """Return median and central 95 % of weighted draws."""
    lower, median, upper = weighted_quantiles(values, weights)
    return Interval(float(lower), float(median), float(upper))


def row(name: str, scale: str, prior: Floats, values: Floats, weights: Floats, *, depends: bool = True) -> Row:
    """Return the summary of one number.

    Parameters
    ----------
    scale : name of the scale of `laws.SCALES` on which variances are compared.
    prior : draws from the prior, (m,), all of one weight.
    values, weights : draws from the posterior, (n,).
    depends : whether any target depends on it.
    """
    equal = np.ones(len(prior))
    forward = SCALES[scale].forward
    with np.errstate(divide="ignore"):
        before, after = weighted_variance(forward(prior), equal), weighted_variance(forward(values), weights)
    contraction = 1.0 - after / before if before > 0.0 else float("nan")
    return Row(
        name,
        interval(prior, equal),
        interval(values, weights),
        contraction,
        effective_size(weights),
        depends and contraction >= LITTLE,
    )
