"""Distributions of intervals, lags, covariates and accrual.

A draw is `quantile(code, u, p0, p1, p2)` at a uniform u in (0, 1): by inversion, a larger u never gives a smaller
value. `cumulative` is the distribution function, for solvers. Values have the unit of the parameters. A spread of 0
(sd, sigma, high − low) is allowed and gives the fixed value.

To add a distribution: a code, a record in `DISTRIBUTIONS`, and its formula in `quantile` and in `cumulative`; then a
row in tests/unit/kernels/test_quantiles.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simulator.kernels.compilation import kernel
from simulator.kernels.elementary import (
    INFINITY,
    LN2,
    exp,
    expm1,
    gamma_lower,
    gamma_lower_inverse,
    log,
    log1p,
    normal_cdf,
    normal_quantile,
    power,
    root,
)

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# Codes stand in tables: never renumbered.
FIXED = 0
UNIFORM = 1
TRIANGULAR = 2
NORMAL = 3
LOG_NORMAL = 4
EXPONENTIAL = 5
WEIBULL = 6
GAMMA = 7


@dataclass(frozen=True)
class Distribution:
    """What people name of a distribution; `quantile` and `cumulative` compute it by its code.

    ``parameters``: names of p0, p1, p2, in this order, and what each is: a value of the quantity, its spread, or one of
    `units.DIMENSIONS`. ``support``: what is drawn. ``scipy``: scipy.stats' name of it, in these parameters.
    ``bounded``: the parameters do not decrease, and the last is the largest value. ``real``: values may be below 0.
    """

    code: int
    parameters: Mapping[str, str]
    support: str
    scipy: str = ""
    bounded: bool = False
    real: bool = False


_ENDS = {"low": "value", "high": "value"}
_MODE = {"low": "value", "mode": "value", "high": "value"}
_SHAPED = {"median": "positive_value", "shape": "positive"}

DISTRIBUTIONS: Mapping[str, Distribution] = MappingProxyType(
    {
        "fixed": Distribution(FIXED, {"value": "value"}, "the value", bounded=True),
        "uniform": Distribution(UNIFORM, _ENDS, "between both", "uniform(low, high - low)", bounded=True),
        "triangular": Distribution(
            TRIANGULAR,
            _MODE,
            "between low and high",
            "triang((mode - low)/(high - low), low, high - low)",
            bounded=True,
        ),
        "normal": Distribution(
            NORMAL, {"mean": "value", "sd": "spread"}, "real: also below 0", "norm(mean, sd)", real=True
        ),
        "log_normal": Distribution(
            LOG_NORMAL, {"median": "positive_value", "sigma": "ratio"}, "> 0", "lognorm(sigma, scale=median)"
        ),
        "exponential": Distribution(EXPONENTIAL, {"mean": "positive_value"}, "> 0", "expon(scale=mean)"),
        "weibull": Distribution(WEIBULL, _SHAPED, "> 0", "weibull_min(shape, scale=median/log(2)**(1/shape))"),
        "gamma": Distribution(
            GAMMA, {"mean": "positive_value", "sd": "spread"}, "> 0", "gamma((mean/sd)**2, scale=sd**2/mean)"
        ),
    }
)


@kernel
def quantile(code: int, u: float, p0: float, p1: float, p2: float) -> float:
    """Value whose distribution function is u, for u in (0, 1); relative error ≤ 1e-13 (gamma 1e-10).

    NaN: unknown code.
    """
    if code == FIXED:
        return p0
    if code == UNIFORM:
        return p0 + u * (p1 - p0)
    if code == TRIANGULAR:
        width = p2 - p0
        if not width > 0.0:
            return p0
        if u * width <= p1 - p0:
            return p0 + sqrt(u * width * (p1 - p0))
        return p2 - sqrt((1.0 - u) * width * (p2 - p1))
    if code == NORMAL:
        return p0 + p1 * normal_quantile(u)
    if code == LOG_NORMAL:
        return p0 * exp(p1 * normal_quantile(u))
    if code == EXPONENTIAL:
        return -p0 * log1p(-u)
    if code == WEIBULL:
        return p0 * root(-log1p(-u) / LN2, p1, 1.0 / p1)
    if code == GAMMA:
        if not p1 > 0.0:
            return p0
        ratio = p0 / p1
        return gamma_lower_inverse(ratio * ratio, u) * (p1 / ratio)
    return np.nan


@kernel
def cumulative(code: int, x: float, p0: float, p1: float, p2: float) -> float:
    """Probability of a value ≤ x, absolute error ≤ 1e-13 (gamma 1e-10). NaN: unknown code."""
    if code == FIXED:
        return 1.0 if x >= p0 else 0.0
    if code == UNIFORM:
        if x >= p1:
            return 1.0
        return (x - p0) / (p1 - p0) if x > p0 else 0.0
    if code == TRIANGULAR:
        if x >= p2:
            return 1.0
        if x <= p0:
            return 0.0
        if x <= p1:
            return (x - p0) / (p2 - p0) * ((x - p0) / (p1 - p0))
        return 1.0 - (p2 - x) / (p2 - p0) * ((p2 - x) / (p2 - p1))
    if code == NORMAL:
        if not p1 > 0.0:
            return 1.0 if x >= p0 else 0.0
        return normal_cdf((x - p0) / p1)
    if code == LOG_NORMAL:
        if not (p1 > 0.0 and x > 0.0):
            return 1.0 if x >= p0 else 0.0
        return normal_cdf(log(x / p0) / p1)
    if code == EXPONENTIAL:
        return -expm1(-x / p0) if x > 0.0 else 0.0
    if code == WEIBULL:
        return -expm1(-LN2 * power(x / p0, p1)) if x > 0.0 else 0.0
    if code == GAMMA:
        if not (p1 > 0.0 and x > 0.0):
            return 1.0 if x >= p0 else 0.0
        ratio = p0 / p1
        return gamma_lower(ratio * ratio, x / (p1 / ratio)) if x < INFINITY else 1.0
    return np.nan


@kernel
def cumulatives(code: int, x: Floats, p0: float, p1: float, p2: float) -> Floats:
    """`cumulative` at each of (n,) values."""
    values = np.empty(x.size)
    for i in range(x.size):
        values[i] = cumulative(code, x[i], p0, p1, p2)
    return values


@kernel
def _each_quantile(code: Integers, u: Floats, p0: Floats, p1: Floats, p2: Floats) -> Floats:
    values = np.empty(u.size, np.float64)
    for i in range(u.size):
        values[i] = quantile(code[i], u[i], p0[i], p1[i], p2[i])
    return values


def quantiles(code: int | Integers, u: ArrayLike, p0: ArrayLike, p1: ArrayLike = 0.0, p2: ArrayLike = 0.0) -> Floats:
    """`quantile` at arrays that broadcast against each other."""
    codes, *arrays = np.broadcast_arrays(
        np.asarray(code, np.int64), *(np.asarray(value, np.float64) for value in (u, p0, p1, p2))
    )
    contiguous = [np.array(array, order="C").ravel() for array in arrays]
    return _each_quantile(np.array(codes, order="C").ravel(), *contiguous).reshape(codes.shape)
