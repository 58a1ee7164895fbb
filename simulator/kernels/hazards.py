"""Families of hazards: cumulative hazard and its inverse.

Every family is a record in `FAMILIES`, with two scalar kernels of one form, `<family>_cumulative(t, p0, p1, p2)` and
`<family>_inverse(x, p0, p1, p2)`, which a loop over arrays inlines; `cumulative_hazard` and `inverse_cumulative_hazard`
choose among them by code. t is in days; x, a cumulative hazard, has no unit. H(t ≤ 0) = 0 and H⁻¹(0) = 0 (but for
`fixed`), H never decreases, H⁻¹(x) = inf where x is never reached. Valid parameters and t or x in [0, inf] never give
NaN. H(H⁻¹(x)) = x to 1e-13 relative, the gamma families to 1e-10. `kernel_parameters` turns the parameters that people
name into p0, p1, p2.

To add a family: a code, its two kernels, a line in each of the two choices by the code, a function that converts its
parameters, and its record; then a row in tests/unit/kernels/test_hazards.py.

Generalised gamma (Prentice 1974, Biometrika 61; Jackson 2016, J. Stat. Softw. 70(8)), with P and Q(·, ·) the
regularised incomplete gamma functions: w = (log t − mu)/sigma, u = Q⁻²·e^(Q·w); S = Q(Q⁻², u) for Q > 0, P(Q⁻², u) for
Q < 0, Φ(−w) for Q = 0. Q = 1 is Weibull(1/sigma, e^mu), Q = sigma gamma, Q = 0 log-normal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simulator.kernels.compilation import inlined_kernel, kernel
from simulator.kernels.elementary import (
    INFINITY,
    LN2,
    exp,
    expm1,
    log,
    log1p,
    log_gamma_inverse,
    log_gamma_tails,
    normal_hazard,
    normal_inverse_hazard,
    power,
    root,
    root_of_expm1,
)
from simulator.units import DIMENSIONS

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# Codes stand in tables and in stored results: never renumbered.
EXPONENTIAL = 0
WEIBULL = 1
GOMPERTZ = 2
LOG_LOGISTIC = 3
LOG_NORMAL = 4
GAMMA = 5
GENERALISED_GAMMA = 6
TABULATED = 7
FIXED = 8

_NORMAL_LIMIT = 1e-100  # |Q| below which generalised gamma is log-normal to the last bit


# ------------------------------------------------------------------------------------------------- families


@inlined_kernel
def exponential_cumulative(t: float, p0: float, p1: float, p2: float) -> float:
    """rate·t; rate in [0, inf)."""
    return p0 * t if (t > 0.0) & (p0 > 0.0) else 0.0


@inlined_kernel
def exponential_inverse(x: float, p0: float, p1: float, p2: float) -> float:
    """x/rate; inf at rate 0."""
    return x / p0 if x > 0.0 else 0.0


@inlined_kernel
def weibull_cumulative(t: float, p0: float, p1: float, p2: float) -> float:
    """(t/scale)^shape; scale, shape in (0, inf)."""
    return power(t / p0, p1) if t > 0.0 else 0.0


@inlined_kernel
def weibull_inverse(x: float, p0: float, p1: float, p2: float) -> float:
    """scale·x^(1/shape)."""
    return p0 * root(x, p1, p2) if x > 0.0 else 0.0


@inlined_kernel
def gompertz_cumulative(t: float, p0: float, p1: float, p2: float) -> float:
    """(rate/shape)·(e^(shape·t) − 1), rate·t at shape 0; rate in [0, inf), shape real, per day."""
    grown = p1 * t if p1 != 0.0 else 0.0
    small = (grown < 1e-20) & (grown > -1e-20)
    clock = t if small else expm1(grown) / p1
    return p0 * clock if (t > 0.0) & (p0 > 0.0) else 0.0


@inlined_kernel
def gompertz_inverse(x: float, p0: float, p1: float, p2: float) -> float:
    """log(1 + shape·x/rate)/shape; inf where a negative shape's hazard never adds up to x."""
    clock = x / p0
    grown = p1 * clock if p1 != 0.0 else 0.0
    small = (grown < 1e-20) & (grown > -1e-20)
    t = clock if small else log1p(grown) / p1
    t = t if grown > -1.0 else INFINITY
    return t if x > 0.0 else 0.0


@inlined_kernel
def log_logistic_cumulative(t: float, p0: float, p1: float, p2: float) -> float:
    """log(1 + (t/scale)^shape); scale (the median), shape in (0, inf)."""
    odds = power(t / p0, p1)
    value = log1p(odds) if odds < 1e300 else p1 * log(t / p0)
    return value if t > 0.0 else 0.0


@inlined_kernel
def log_logistic_inverse(x: float, p0: float, p1: float, p2: float) -> float:
    """scale·(e^x − 1)^(1/shape)."""
    return p0 * root_of_expm1(x, p1, p2) if x > 0.0 else 0.0


@inlined_kernel
def log_normal_cumulative(t: float, p0: float, p1: float, p2: float) -> float:
    """−log Φ(−log(t/median)/sigma); median, sigma in (0, inf)."""
    return normal_hazard(log(t / p0) / p1) if t > 0.0 else 0.0


@inlined_kernel
def log_normal_inverse(x: float, p0: float, p1: float, p2: float) -> float:
    """median·e^(sigma·z) with −log Φ(−z) = x."""
    return p0 * exp(p1 * normal_inverse_hazard(x)) if x > 0.0 else 0.0


@kernel
def gamma_cumulative(t: float, p0: float, p1: float, p2: float) -> float:
    """−log Q(shape, t/scale); scale, shape in (0, inf)."""
    if not t > 0.0:
        return 0.0
    _, log_survival = log_gamma_tails(p1, log(t / p0 / p1))
    return -log_survival


@kernel
def gamma_inverse(x: float, p0: float, p1: float, p2: float) -> float:
    """scale·u with −log Q(shape, u) = x."""
    if not x > 0.0:
        return 0.0
    return p0 * (p1 * exp(log_gamma_inverse(p1, log(-expm1(-x)), -x)))


@kernel
def generalised_gamma_cumulative(t: float, p0: float, p1: float, p2: float) -> float:
    """−log S(t) in Prentice's parameters mu, Q real, sigma in (0, inf)."""
    if not t > 0.0:
        return 0.0
    w = (log(t) - p0) / p1
    if -_NORMAL_LIMIT < p2 < _NORMAL_LIMIT:
        return normal_hazard(w)
    log_lower, log_upper = log_gamma_tails(1.0 / (p2 * p2), p2 * w)
    return -log_upper if p2 > 0.0 else -log_lower


@kernel
def generalised_gamma_inverse(x: float, p0: float, p1: float, p2: float) -> float:
    """e^(mu + sigma·w) with −log S = x."""
    if not x > 0.0:
        return 0.0
    if x == INFINITY:
        return x
    if -_NORMAL_LIMIT < p2 < _NORMAL_LIMIT:
        return exp(p0 + p1 * normal_inverse_hazard(x))
    shape = 1.0 / (p2 * p2)
    log_event = log(-expm1(-x))
    if p2 > 0.0:
        return exp(p0 + p1 * (log_gamma_inverse(shape, log_event, -x) / p2))
    return exp(p0 + p1 * (log_gamma_inverse(shape, -x, log_event) / p2))


@kernel
def tabulated_cumulative(t: float, p0: float, start: int, stop: int, knot_time: Floats, knot_hazard: Floats) -> float:
    """Linear from (0, 0) through the knots [start, stop), then with slope p0 ≥ 0 (0: no more events).

    Knot times and hazards never decrease and are finite; two knots at one time are a jump.
    """
    if not t > 0.0:
        return 0.0
    low = start
    high = stop
    while low < high:  # first knot after t
        middle = (low + high) >> 1
        if knot_time[middle] <= t:
            low = middle + 1
        else:
            high = middle
    time = knot_time[low - 1] if low > start else 0.0
    hazard = knot_hazard[low - 1] if low > start else 0.0
    if low == stop:
        return hazard + p0 * (t - time) if p0 > 0.0 else hazard
    slope = (knot_hazard[low] - hazard) / (knot_time[low] - time)
    value = hazard + (t - time) * slope
    return value if value < knot_hazard[low] else knot_hazard[low]


@kernel
def tabulated_inverse(x: float, p0: float, start: int, stop: int, knot_time: Floats, knot_hazard: Floats) -> float:
    """First t with H(t) ≥ x; inf beyond the last knot where p0 is 0."""
    if not x > 0.0:
        return 0.0
    low = start
    high = stop
    while low < high:  # first knot with a hazard of at least x
        middle = (low + high) >> 1
        if knot_hazard[middle] < x:
            low = middle + 1
        else:
            high = middle
    time = knot_time[low - 1] if low > start else 0.0
    hazard = knot_hazard[low - 1] if low > start else 0.0
    if low == stop:
        return time + (x - hazard) / p0 if p0 > 0.0 else INFINITY
    slope = (knot_time[low] - time) / (knot_hazard[low] - hazard)
    value = time + (x - hazard) * slope
    return value if value < knot_time[low] else knot_time[low]


@inlined_kernel
def fixed_cumulative(t: float, p0: float, p1: float, p2: float) -> float:
    """A timer: 0 before the delay, inf from it on; delay in [0, inf]."""
    return 0.0 if t < p0 else INFINITY


@inlined_kernel
def fixed_inverse(x: float, p0: float, p1: float, p2: float) -> float:
    """Return the delay, whatever x."""
    return p0


# --------------------------------------------------------------------------------------- choice by the code


@kernel
def cumulative_hazard(
    family: int,
    t: float,
    p0: float,
    p1: float,
    p2: float,
    start: int,
    stop: int,
    knot_time: Floats,
    knot_hazard: Floats,
) -> float:
    """H(t) of the family with this code; `tabulated` reads knots [start, stop). NaN: unknown code."""
    if family == EXPONENTIAL:
        return exponential_cumulative(t, p0, p1, p2)
    if family == WEIBULL:
        return weibull_cumulative(t, p0, p1, p2)
    if family == GOMPERTZ:
        return gompertz_cumulative(t, p0, p1, p2)
    if family == LOG_LOGISTIC:
        return log_logistic_cumulative(t, p0, p1, p2)
    if family == LOG_NORMAL:
        return log_normal_cumulative(t, p0, p1, p2)
    if family == GAMMA:
        return gamma_cumulative(t, p0, p1, p2)
    if family == GENERALISED_GAMMA:
        return generalised_gamma_cumulative(t, p0, p1, p2)
    if family == TABULATED:
        return tabulated_cumulative(t, p0, start, stop, knot_time, knot_hazard)
    if family == FIXED:
        return fixed_cumulative(t, p0, p1, p2)
    return np.nan


@kernel
def inverse_cumulative_hazard(
    family: int,
    x: float,
    p0: float,
    p1: float,
    p2: float,
    start: int,
    stop: int,
    knot_time: Floats,
    knot_hazard: Floats,
) -> float:
    """H⁻¹(x) of the family with this code, inf where x is never reached. NaN: unknown code."""
    if family == EXPONENTIAL:
        return exponential_inverse(x, p0, p1, p2)
    if family == WEIBULL:
        return weibull_inverse(x, p0, p1, p2)
    if family == GOMPERTZ:
        return gompertz_inverse(x, p0, p1, p2)
    if family == LOG_LOGISTIC:
        return log_logistic_inverse(x, p0, p1, p2)
    if family == LOG_NORMAL:
        return log_normal_inverse(x, p0, p1, p2)
    if family == GAMMA:
        return gamma_inverse(x, p0, p1, p2)
    if family == GENERALISED_GAMMA:
        return generalised_gamma_inverse(x, p0, p1, p2)
    if family == TABULATED:
        return tabulated_inverse(x, p0, start, stop, knot_time, knot_hazard)
    if family == FIXED:
        return fixed_inverse(x, p0, p1, p2)
    return np.nan


@kernel
def _each_cumulative(
    family: Integers, t: Floats, p0: Floats, p1: Floats, p2: Floats, knot_time: Floats, knot_hazard: Floats
) -> Floats:
    values = np.empty(t.size, np.float64)
    stop = knot_time.size
    for i in range(t.size):
        values[i] = cumulative_hazard(family[i], t[i], p0[i], p1[i], p2[i], 0, stop, knot_time, knot_hazard)
    return values


@kernel
def _each_inverse(
    family: Integers, x: Floats, p0: Floats, p1: Floats, p2: Floats, knot_time: Floats, knot_hazard: Floats
) -> Floats:
    values = np.empty(x.size, np.float64)
    stop = knot_time.size
    for i in range(x.size):
        values[i] = inverse_cumulative_hazard(family[i], x[i], p0[i], p1[i], p2[i], 0, stop, knot_time, knot_hazard)
    return values


@kernel
def _along(family: int, t: Floats, p0: float, p1: float, p2: float, knot_time: Floats, knot_hazard: Floats) -> Floats:
    """H of one law at times (n,); a loop for each family that vectorises."""
    values = np.empty(t.size, np.float64)
    if family == EXPONENTIAL:
        for i in range(t.size):
            values[i] = exponential_cumulative(t[i], p0, p1, p2)
    elif family == WEIBULL:
        for i in range(t.size):
            values[i] = weibull_cumulative(t[i], p0, p1, p2)
    elif family == LOG_LOGISTIC:
        for i in range(t.size):
            values[i] = log_logistic_cumulative(t[i], p0, p1, p2)
    elif family == LOG_NORMAL:
        for i in range(t.size):
            values[i] = log_normal_cumulative(t[i], p0, p1, p2)
    else:
        for i in range(t.size):
            values[i] = cumulative_hazard(family, t[i], p0, p1, p2, 0, knot_time.size, knot_time, knot_hazard)
    return values


def cumulative_hazards(
    family: int | Integers,
    t: ArrayLike,
    p0: ArrayLike,
    p1: ArrayLike = 0.0,
    p2: ArrayLike = 0.0,
    *,
    knot_time: ArrayLike = (),
    knot_hazard: ArrayLike = (),
) -> Floats:
    """H at arrays of times, families and parameters that broadcast; every `tabulated` reads all knots."""
    times, hazards = (
        np.ascontiguousarray(knot_time, np.float64),
        np.ascontiguousarray(knot_hazard, np.float64),
    )
    if np.ndim(family) == np.ndim(p0) == np.ndim(p1) == np.ndim(p2) == 0:
        along = np.array(t, np.float64, order="C")
        return _along(int(family), along.ravel(), float(p0), float(p1), float(p2), times, hazards).reshape(along.shape)  # type: ignore[arg-type]
    codes, (t, p0, p1, p2), shape = _flattened(family, t, p0, p1, p2)
    return _each_cumulative(codes, t, p0, p1, p2, times, hazards).reshape(shape)


def inverse_cumulative_hazards(
    family: int | Integers,
    x: ArrayLike,
    p0: ArrayLike,
    p1: ArrayLike = 0.0,
    p2: ArrayLike = 0.0,
    *,
    knot_time: ArrayLike = (),
    knot_hazard: ArrayLike = (),
) -> Floats:
    """H⁻¹ at arrays that broadcast, as `cumulative_hazards`."""
    codes, (x, p0, p1, p2), shape = _flattened(family, x, p0, p1, p2)
    times, hazards = (
        np.ascontiguousarray(knot_time, np.float64),
        np.ascontiguousarray(knot_hazard, np.float64),
    )
    return _each_inverse(codes, x, p0, p1, p2, times, hazards).reshape(shape)


def _flattened(
    family: int | Integers, x: ArrayLike, p0: ArrayLike, p1: ArrayLike, p2: ArrayLike
) -> tuple[Integers, tuple[Floats, Floats, Floats, Floats], tuple[int, ...]]:
    arrays = np.broadcast_arrays(*(np.asarray(value, np.float64) for value in (x, p0, p1, p2)), np.asarray(family))
    x, p0, p1, p2 = (np.array(array, np.float64, order="C").ravel() for array in arrays[:4])
    return np.array(arrays[4], np.int64, order="C").ravel(), (x, p0, p1, p2), arrays[4].shape


# ----------------------------------------------------------------------------------------- named parameters


Named = dict[str, Floats]
Triple = tuple[ArrayLike, ArrayLike, ArrayLike]

# The 75th over the 25th percentile of a Weibull law of shape k is (log 4 / log(4/3))^(1/k).
_LOG_QUARTILE_RATIO = 1.5725335836855192  # log(log 4 / log(4/3))
_NORMAL_UPPER_QUARTILE = 0.674489750196082


def piecewise_exponential_knots(starts: ArrayLike, rates: ArrayLike) -> tuple[Floats, Floats, float]:
    """(knot_time, knot_hazard, rate_after) of rates[i] per day from starts[i] days on; starts[0] = 0."""
    knot_time = np.array(starts, np.float64, ndmin=1)
    slopes = np.array(rates, np.float64, ndmin=1)
    if knot_time.shape != slopes.shape or knot_time.ndim != 1:
        raise ValueError(f"starts and rates: {knot_time.size} and {slopes.size} values, must be as many")
    if knot_time[0] != 0.0 or not np.all(np.diff(knot_time) > 0.0) or not np.isfinite(knot_time[-1]):
        raise ValueError("starts: must begin with 0 days and increase")
    if not np.all((slopes >= 0.0) & np.isfinite(slopes)):
        raise ValueError("rates: must be ≥ 0 per day and finite")
    knot_hazard = np.concatenate([[0.0], np.cumsum(slopes[:-1] * np.diff(knot_time))])
    return knot_time, knot_hazard, float(slopes[-1])


def _each(function: Callable[[float], float], values: ArrayLike) -> Floats:
    """Apply one of our own functions to every element: NumPy's bits depend on the processor, ours do not."""
    array = np.asarray(values, np.float64)
    return np.array([function(float(value)) for value in array.ravel()], np.float64).reshape(array.shape)


def _exponential(given: Named) -> Triple:
    if "rate" in given:
        return given["rate"], 0.0, 0.0
    return (1.0 / given["mean"] if "mean" in given else LN2 / given["median"]), 0.0, 0.0


def _weibull(given: Named) -> Triple:
    shape = given["shape"] if "shape" in given else given["weibull_shape"]
    scale = (
        given["scale"]
        if "scale" in given
        else given["median"] * _each(lambda exponent: power(LN2, exponent), -1.0 / shape)
    )
    return scale, shape, 1.0 / shape


def _gompertz(given: Named) -> Triple:
    shape = given["shape"]
    if "rate" in given:
        return given["rate"], shape, 0.0
    median = given["median"]
    growth = shape * median
    still = np.abs(growth) < 1e-20
    clock = np.where(still, median, _each(expm1, growth) / np.where(still, 1.0, shape))
    return LN2 / clock, shape, 0.0


def _log_logistic(given: Named) -> Triple:
    if "shape" in given:
        shape = given["shape"]
    else:
        shape = given["weibull_shape"] * (2.1972245773362194 / _LOG_QUARTILE_RATIO)  # 2 log 3
    return (given["scale"] if "scale" in given else given["median"]), shape, 1.0 / shape


def _log_normal(given: Named) -> Triple:
    if "sigma" in given:
        sigma = given["sigma"]
    else:
        sigma = _LOG_QUARTILE_RATIO / (2.0 * _NORMAL_UPPER_QUARTILE * given["weibull_shape"])
    return (given["median"] if "median" in given else _each(exp, given["meanlog"])), sigma, 0.0


def _gamma(given: Named) -> Triple:
    shape = given["shape"]
    if "scale" in given:
        return given["scale"], shape, 0.0
    if "rate" in given:
        with np.errstate(divide="ignore"):
            return 1.0 / given["rate"], shape, 0.0
    if "mean" in given:
        return given["mean"] / shape, shape, 0.0
    from scipy.special import gammaincinv

    with np.errstate(divide="ignore"):
        return given["median"] / gammaincinv(shape, 0.5), shape, 0.0


def _generalised_gamma(given: Named) -> Triple:
    sigma, q = given["sigma"], given["Q"]
    if "mu" in given:
        return given["mu"], sigma, q
    from scipy.special import gammaincinv

    square = q * q
    large = square < 1e-4  # shape above 10⁴: median/shape by Choi 1994, Proc. Amer. Math. Soc. 121
    shape = 1.0 / np.where(large, 1.0, square)
    offset = square * (-1.0 / 3.0 + square * (8.0 / 405.0 + square * (184.0 / 25515.0)))
    log_ratio = np.where(large, _each(log1p, np.where(large, offset, 0.0)), _each(log, gammaincinv(shape, 0.5) / shape))
    w = np.where(square > 0.0, log_ratio / np.where(square > 0.0, q, 1.0), -q / 3.0)
    return _each(log, given["median"]) - sigma * w, sigma, q


def _tabulated(given: Named) -> Triple:
    return given["rate_after"], 0.0, 0.0


def _fixed(given: Named) -> Triple:
    return given["delay"], 0.0, 0.0


# -------------------------------------------------------------------------------------------------- records


@dataclass(frozen=True, eq=False)
class Family:
    """A family of hazards: how people name its parameters, and what is computed with them.

    ``choices``: of every choice exactly one name is given; its value is one of `units.DIMENSIONS`. ``convert`` turns
    these into p0, p1, p2, whose names are ``kernel``, as R's and scipy.stats' names of the same law use them.
    ``positive``: p0 and p1 must be > 0. ``smooth``: H has a derivative and is finite.
    """

    code: int
    hazard: str
    choices: tuple[Mapping[str, str], ...]
    convert: Callable[[Named], Triple]
    cumulative: Callable[..., float]
    inverse: Callable[..., float]
    kernel: tuple[str, ...]
    r: str = ""
    scipy: str = ""
    positive: bool = False
    smooth: bool = True

    @property
    def dimensions(self) -> dict[str, str]:
        """Dimension of every name that it takes."""
        return {name: dimension for choice in self.choices for name, dimension in choice.items()}


_TIMES = {"scale": "time", "median": "time"}
_SHAPES = {"shape": "positive", "weibull_shape": "positive"}

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "exponential": Family(
            EXPONENTIAL,
            "rate·t",
            ({"rate": "rate", "mean": "time", "median": "time"},),
            _exponential,
            exponential_cumulative,
            exponential_inverse,
            ("rate",),
            r="exp(rate)",
            scipy="expon(scale=1/rate)",
        ),
        "weibull": Family(
            WEIBULL,
            "(t/scale)^shape",
            (_SHAPES, _TIMES),
            _weibull,
            weibull_cumulative,
            weibull_inverse,
            ("scale", "shape", "1/shape"),
            r="weibull(shape, scale)",
            scipy="weibull_min(shape, scale=scale)",
            positive=True,
        ),
        "gompertz": Family(
            GOMPERTZ,
            "rate/shape·(e^(shape·t) − 1)",
            ({"shape": "signed_rate"}, {"rate": "rate", "median": "time"}),
            _gompertz,
            gompertz_cumulative,
            gompertz_inverse,
            ("rate", "shape"),
            r="flexsurv gompertz(shape, rate)",
            scipy="gompertz(rate/shape, scale=1/shape)",
        ),
        "log_logistic": Family(
            LOG_LOGISTIC,
            "log(1 + (t/scale)^shape)",
            (_SHAPES, _TIMES),
            _log_logistic,
            log_logistic_cumulative,
            log_logistic_inverse,
            ("scale", "shape", "1/shape"),
            r="flexsurv llogis(shape, scale)",
            scipy="fisk(shape, scale=scale)",
            positive=True,
        ),
        "log_normal": Family(
            LOG_NORMAL,
            "−log Φ(−log(t/median)/sigma)",
            ({"sigma": "positive", "weibull_shape": "positive"}, {"median": "time", "meanlog": "real"}),
            _log_normal,
            log_normal_cumulative,
            log_normal_inverse,
            ("median", "sigma"),
            r="lnorm(log(median), sigma)",
            scipy="lognorm(sigma, scale=median)",
            positive=True,
        ),
        "gamma": Family(
            GAMMA,
            "−log Q(shape, t/scale)",
            ({"shape": "positive"}, {"rate": "rate", "scale": "time", "mean": "time", "median": "time"}),
            _gamma,
            gamma_cumulative,
            gamma_inverse,
            ("scale", "shape"),
            r="gamma(shape, scale=scale)",
            scipy="gamma(shape, scale=scale)",
            positive=True,
        ),
        "generalised_gamma": Family(
            GENERALISED_GAMMA,
            "−log S(t), Prentice 1974",
            ({"mu": "real", "median": "time"}, {"sigma": "positive"}, {"Q": "real"}),
            _generalised_gamma,
            generalised_gamma_cumulative,
            generalised_gamma_inverse,
            ("mu", "sigma", "Q"),
            r="flexsurv gengamma(mu, sigma, Q)",
            scipy="gengamma(Q**-2, Q/sigma, scale=exp(mu)*abs(Q)**(2*sigma/Q))",
        ),
        "tabulated": Family(
            TABULATED,
            "linear through the points, then with the slope rate_after",
            ({"rate_after": "rate"},),
            _tabulated,
            tabulated_cumulative,
            tabulated_inverse,
            ("rate_after",),
            smooth=False,
        ),
        "fixed": Family(
            FIXED,
            "0 before the delay, ∞ from it on",
            ({"delay": "duration"},),
            _fixed,
            fixed_cumulative,
            fixed_inverse,
            ("delay",),
            smooth=False,
        ),
    }
)

PARAMETERS: Mapping[str, str] = MappingProxyType(
    {
        "rate": "Hazard, or its value at 0.",
        "mean": "Mean time.",
        "median": "Median time of the susceptible.",
        "scale": "Scale of the time.",
        "shape": "Shape; of `gompertz` a rate.",
        "weibull_shape": "Shape of the Weibull with the same ratio of quartiles.",
        "sigma": "Standard deviation of the logarithm of the time.",
        "meanlog": "Mean of the logarithm of the days.",
        "mu": "Location of the logarithm of the days.",
        "Q": "Shape of the generalised gamma.",
        "delay": "When a timer goes off.",
    }
)
"""Every parameter that may be declared, whichever families take it, and what it is."""


def kernel_parameters(family: str, **named: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """(p0, p1, p2) of a family from named parameters, each a number or an array; they broadcast.

    `FAMILIES` lists the names. `weibull_shape` stands for the spread of the Weibull law of that shape: the
    family gets its ratio of 75th to 25th percentile, so that one can change family and keep two numbers.
    ValueError names every unknown, missing, doubled or impossible parameter and what is allowed.
    """
    if family not in FAMILIES:
        raise ValueError(f"family {family!r}: must be one of {', '.join(FAMILIES)}")
    record = FAMILIES[family]
    given = _checked(family, record, named)
    with np.errstate(over="ignore", under="ignore"):
        p0, p1, p2 = record.convert(given)
    p0, p1, p2 = np.broadcast_arrays(*(np.asarray(p, np.float64) for p in (p0, p1, p2)))
    representable = np.isfinite(p0) & np.isfinite(p1) & np.isfinite(p2)
    if record.positive:
        representable &= (p0 > 0.0) & (p1 > 0.0)
    if family != "fixed" and not np.all(representable):
        shown = ", ".join(f"{name} = {value!r}" for name, value in named.items())
        raise ValueError(f"{family}: {shown}: beyond the range of floating point")
    return p0, p1, p2


def _checked(family: str, record: Family, named: Mapping[str, ArrayLike]) -> dict[str, Floats]:
    dimensions = record.dimensions
    allowed = " and ".join(" | ".join(choice) for choice in record.choices)
    problems = [
        f"{name}: not a parameter of {family}, which takes {allowed}" for name in named if name not in dimensions
    ]
    for choice in record.choices:
        used = [name for name in choice if name in named]
        if len(used) > 1:
            problems.append(f"{' and '.join(used)}: only one of {' | '.join(choice)} may be given")
        if not used:
            problems.append(f"{' | '.join(choice)}: missing; {family} takes {allowed}")
    values = {}
    for name, value in named.items():
        if name not in dimensions:
            continue
        try:
            values[name] = np.asarray(value, np.float64)
        except (TypeError, ValueError):
            problems.append(f"{name} = {value!r}: must be a number")
            continue
        dimension, unbounded = DIMENSIONS[dimensions[name]], dimensions[name] == "duration"
        if not np.all(dimension.holds(values[name]) & (unbounded | np.isfinite(values[name]))):
            problems.append(f"{name} = {value!r}: {dimension.allowed}{'' if unbounded else ' and finite'}")
    if problems:
        raise ValueError(f"{family}: " + "; ".join(problems))
    try:
        np.broadcast_shapes(*(value.shape for value in values.values()))
    except ValueError:
        shapes = ", ".join(f"{name} {value.shape}" for name, value in values.items())
        raise ValueError(f"{family}: shapes do not fit together: {shapes}") from None
    return values
