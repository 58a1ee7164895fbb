"""V5, V6 and V40 for the hazard families. Expected values: scipy.stats, mpmath, or an identity stated in the test.

A family has one row, in `ROWS`; the law that it is held against is the one that its record names.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import mpmath
import numpy as np
import pytest
from scipy import special, stats

from simulator.kernels import hazards
from simulator.kernels.hazards import (
    FAMILIES,
    PARAMETERS,
    cumulative_hazards,
    inverse_cumulative_hazards,
    kernel_parameters,
    piecewise_exponential_knots,
)
from simulator.units import DIMENSIONS

LN2 = math.log(2)
NO_KNOTS = np.empty(0)
SCALES = [1e-6, 0.3, 300.0, 1e6]
SHAPES = [0.05, 0.5, 1.0, 1.3, 7.0, 20.0]
PROBABILITIES = np.array([1e-15, 1e-9, 1e-4, 0.01, 0.2, 0.5, 0.8, 0.99, 1 - 1e-6, 1 - 1e-12])


EXTREMES = [1e-300, 1e-12, 1.0, 1e12, 1e300]
SCALED = [(p, q, 1 / q) for p in EXTREMES for q in EXTREMES]
Q = (-2.0, -0.3, -0.0101, -0.0099, -1e-5, 0.0, 1e-5, 0.0099, 0.0101, 0.5, 3.0)


class Row(NamedTuple):
    """How a family is tested."""

    named: Callable[[float, float], list[dict[str, float]]]  # at a scale and a shape: parameters over the whole range
    spreads: Sequence[dict[str, float]]  # beside a median
    tails: dict[str, float]  # whose smallest and largest hazards come back
    extremes: Sequence[tuple[float, float, float]] = SCALED  # p0, p1, p2
    tolerance: float = 1e-13


ROWS = {
    "exponential": Row(
        lambda scale, shape: [{"mean": scale}],
        [{}],
        {"median": 300.0},
        [(p, 0.0, 0.0) for p in (0.0, *EXTREMES)],
    ),
    "weibull": Row(
        lambda scale, shape: [{"shape": shape, "scale": scale}],
        [{"shape": k} for k in SHAPES],
        {"median": 300.0, "shape": 1.3},
    ),
    "gompertz": Row(
        lambda scale, shape: [{"shape": 1 / scale, "rate": shape / scale}],
        [{"shape": a} for a in (-0.002, 0.0, 1e-25, 1e-9, 0.01)],
        {"median": 300.0, "shape": 0.001},
        [(p, s * q, 0.0) for p in (0.0, *EXTREMES) for q in EXTREMES for s in (1, -1, 0)],
    ),
    "log_logistic": Row(
        lambda scale, shape: [{"shape": shape, "scale": scale}],
        [{"shape": k} for k in SHAPES],
        {"median": 300.0, "shape": 2.0},
    ),
    "log_normal": Row(
        lambda scale, shape: [{"sigma": 1 / shape, "median": scale}],
        [{"sigma": s} for s in (0.05, 1.0, 8.0)],
        {"median": 42.0, "sigma": 0.5},
    ),
    "gamma": Row(
        lambda scale, shape: [{"shape": shape, "scale": scale}],
        [{"shape": k} for k in (*SHAPES, 1e7)],
        {"median": 42.0, "shape": 2.5},
        [(p, q, 0.0) for p in EXTREMES for q in (1e-3, 0.05, 1.0, 1e8)],
        1e-10,
    ),
    "generalised_gamma": Row(
        lambda scale, shape: [{"mu": math.log(scale), "sigma": min(1 / shape, 3.0), "Q": q} for q in (0.3, 1.2, -0.7)],
        [{"sigma": 0.8, "Q": q} for q in Q],
        {"median": 42.0, "sigma": 0.5, "Q": -0.4},
        [(m, s, q) for m in (-600.0, 0.0, 600.0) for s in EXTREMES for q in (-30.0, -1.0, -1e-300, 0.0, 1e-6, 4.0)],
        1e-10,
    ),
}
CONTINUOUS = list(ROWS)
DELAYS = [(p, 0.0, 0.0) for p in (0.0, *EXTREMES, math.inf)]


def cumulative(family, t, *p, **knots):
    return cumulative_hazards(FAMILIES[family].code, t, *p, **knots)


def inverse(family, x, *p, **knots):
    return inverse_cumulative_hazards(FAMILIES[family].code, x, *p, **knots)


def grid(family):
    """Parameters over the whole range, with the scipy law that the family's record names."""
    for scale, shape in itertools.product(SCALES, SHAPES):
        for named in ROWS[family].named(scale, shape):
            p = map(float, kernel_parameters(family, **named))
            values: dict[str, Any] = dict(zip(FAMILIES[family].kernel, p, strict=False))
            yield named, eval(FAMILIES[family].scipy, {**vars(stats), "exp": math.exp, "abs": abs}, values)


@pytest.mark.parametrize("family", CONTINUOUS)
def test_distribution_function_of_the_quantile_is_the_probability(family):
    """V5, also relative in H: what a budget spends, it spent."""
    tolerance = ROWS[family].tolerance
    x = -np.log1p(-PROBABILITIES)
    for named, _ in grid(family):
        p = kernel_parameters(family, **named)
        t = inverse(family, x, *p)
        possible = (t > 1e-300) & (t < 1e300)
        back = cumulative(family, t, *p)
        assert np.abs(-np.expm1(-back) - PROBABILITIES)[possible].max() <= tolerance, named
        assert np.abs(back / x - 1)[possible].max() <= 10 * tolerance, named
        assert np.all(np.diff(t) >= 0), named


@pytest.mark.parametrize("family", CONTINUOUS)
def test_cumulative_hazard_is_minus_scipys_log_survival(family):
    for named, law in grid(family):
        p = kernel_parameters(family, **named)
        t = law.ppf([1e-4, 0.01, 0.2, 0.5, 0.8, 0.99, 1 - 1e-6])
        t = t[(t > 1e-290) & (t < 1e290)]
        assert cumulative(family, t, *p) == pytest.approx(-law.logsf(t), rel=1e-9), named


@pytest.mark.parametrize("family", CONTINUOUS)
def test_derivative_of_the_cumulative_hazard_is_the_hazard(family):
    """Five-point differences of ours against density over survival of scipy."""
    for named, law in grid(family):
        p = kernel_parameters(family, **named)
        t = law.ppf([0.05, 0.3, 0.6, 0.95])
        t = t[(t > 1e-200) & (t < 1e200)]
        step = 2e-4 * t
        if family == "gompertz":
            step = np.minimum(step, 1e-3 * float(p[1]) ** -1)
        at = [cumulative(family, t + k * step, *p) for k in (-2, -1, 1, 2)]
        slope = (at[0] - 8 * at[1] + 8 * at[2] - at[3]) / (12 * step)
        assert slope == pytest.approx(law.pdf(t) / law.sf(t), rel=1e-8), named


@pytest.mark.parametrize("family", CONTINUOUS)
def test_median_is_where_half_survive(family):
    for named in ROWS[family].spreads:
        p = kernel_parameters(family, median=300.0, **named)
        assert inverse(family, LN2, *p) == pytest.approx(300.0, rel=1e-11), named


def test_fixed_is_a_timer():
    (delay, _, _) = p = kernel_parameters("fixed", delay=14.0)
    assert delay == 14.0
    assert cumulative("fixed", [0.0, 13.999, 14.0, 1e9, math.inf], *p).tolist() == [0, 0, *[math.inf] * 3]
    assert inverse("fixed", [0.0, 1e-9, 3.0, math.inf], *p).tolist() == [14.0] * 4
    assert cumulative("fixed", [0.0], 0.0).tolist() == [math.inf]
    assert cumulative("fixed", [1e300], math.inf).tolist() == [0.0]


# ----------------------------------------------------------------------------------------------- identities (V6)

T = np.array([1e-9, 0.01, 3.0, 40.0, 300.0, 2_000.0])


def test_weibull_of_shape_1_is_exponential():
    assert cumulative("weibull", T, 300.0, 1.0, 1.0) == pytest.approx(cumulative("exponential", T, 1 / 300), rel=1e-12)


@pytest.mark.parametrize("shape", [0.0, 1e-30, -1e-30, 1e-20])
def test_gompertz_of_shape_0_is_exponential(shape):
    assert cumulative("gompertz", T, 0.01, shape) == pytest.approx(0.01 * T, rel=1e-12)
    assert inverse("gompertz", 0.01 * T, 0.01, shape) == pytest.approx(T, rel=1e-12)


def test_gamma_of_shape_1_is_exponential():
    t = np.append(T, 1e5)
    assert cumulative("gamma", t, 300.0, 1.0) == pytest.approx(t / 300, rel=1e-12)


@pytest.mark.parametrize("sigma", [0.1, 0.8, 4.0])
def test_generalised_gamma_holds_the_weibull_gamma_and_log_normal_laws(sigma):
    t = 300.0 * np.exp(sigma * np.linspace(-20, 3, 24))
    mu = math.log(300.0)
    weibull = kernel_parameters("weibull", shape=1 / sigma, scale=300.0)
    assert cumulative("generalised_gamma", t, mu, sigma, 1.0) == pytest.approx(
        cumulative("weibull", t, *weibull), rel=1e-12
    )
    gamma = kernel_parameters("gamma", shape=sigma**-2, scale=300.0 * sigma**2)
    assert cumulative("generalised_gamma", t, mu, sigma, sigma) == pytest.approx(
        cumulative("gamma", t, *gamma), rel=1e-11
    )
    t = 300.0 * np.exp(sigma * np.linspace(-8, 30, 39))
    log_normal = cumulative("log_normal", t, 300.0, sigma)
    assert cumulative("generalised_gamma", t, mu, sigma, 0.0) == pytest.approx(log_normal, rel=1e-12)
    assert cumulative("generalised_gamma", t, mu, sigma, 1e-14) == pytest.approx(log_normal, rel=1e-10)
    assert cumulative("generalised_gamma", t, mu, sigma, -1e-14) == pytest.approx(log_normal, rel=1e-10)


def test_piecewise_exponential_of_equal_rates_is_exponential():
    time, hazard, after = piecewise_exponential_knots([0.0, 10.0, 90.0, 400.0], [0.01] * 4)
    assert cumulative("tabulated", T, after, knot_time=time, knot_hazard=hazard) == pytest.approx(0.01 * T, rel=1e-12)
    assert inverse("tabulated", 0.01 * T, after, knot_time=time, knot_hazard=hazard) == pytest.approx(T, rel=1e-12)


# ------------------------------------------------------------------------------------------------------ tails


def test_far_tails_keep_their_digits():
    """mpmath, 60 digits: where survival underflows and where the distribution function does."""
    with mpmath.workdps(60):
        for sigma, t in ((0.5, 1e20), (0.5, 1e-6), (2.0, 1e-30)):
            z = mpmath.log(mpmath.mpf(t) / 42) / sigma
            upper = mpmath.erfc(z / mpmath.sqrt(2)) / 2
            exact = -mpmath.log1p(-mpmath.erfc(-z / mpmath.sqrt(2)) / 2) if z < 0 else -mpmath.log(upper)
            assert float(cumulative("log_normal", t, 42.0, sigma)) == pytest.approx(float(exact), rel=1e-12)
        for shape, t in ((2.5, 5e4), (0.05, 1e-200), (80.0, 1.0)):
            a, x = mpmath.mpf(shape), mpmath.mpf(t) / 42
            exact = -mpmath.log(mpmath.gammainc(a, x, mpmath.inf, regularized=True)) if x > a else -mpmath.log1p(
                -mpmath.gammainc(a, 0, x, regularized=True)
            )  # fmt: skip
            assert float(cumulative("gamma", t, 42.0, shape)) == pytest.approx(float(exact), rel=1e-12)


@pytest.mark.parametrize("family", CONTINUOUS)
def test_small_and_large_hazards_come_back(family):
    x = np.array([1e-250, 1e-100, 1e-20, 1e-8, 5.0, 36.7, 500.0, 1e4, 1e8])
    p = kernel_parameters(family, **ROWS[family].tails)
    t = inverse(family, x, *p)
    possible = (t > 1e-300) & (t < 1e300)
    assert possible.sum() >= 5
    # The rounding of t alone changes H by some 1e-16 times the log-log slope of H.
    assert cumulative(family, t[possible], *p) == pytest.approx(x[possible], rel=3e-12)


def test_a_hazard_that_is_never_reached_is_never_reached():
    shape, rate = -0.001, 0.0005
    assert inverse("gompertz", [0.499, 0.5, 0.501, 1e9], rate, shape)[1:].tolist() == [math.inf] * 3
    assert math.isfinite(inverse("gompertz", 0.499, rate, shape))
    assert cumulative("gompertz", math.inf, rate, shape) == 0.5
    for family in ("exponential", "gompertz"):
        assert inverse(family, [0.0, 1e-300, 1.0], 0.0).tolist() == [0.0, math.inf, math.inf]
        assert cumulative(family, [0.0, 1.0, math.inf], 0.0).tolist() == [0.0] * 3


def extremes(family):
    return DELAYS if family == "fixed" else ROWS[family].extremes


@pytest.mark.parametrize("family", [*CONTINUOUS, "fixed"])
def test_nothing_valid_gives_nan_or_a_negative_time(family):
    """V40."""
    values = np.array([0.0, 5e-324, 1e-300, 1e-16, 1e-3, 0.5, LN2, 1.0, 30.0, 40.0, 709.0, 746.0, 1e9, 1e300, math.inf])
    for p in extremes(family):
        for found in (cumulative(family, values, *p), inverse(family, values, *p)):
            assert not np.isnan(found).any(), p
            assert np.all(found >= 0), p
        if family != "fixed":
            assert cumulative(family, 0.0, *p) == 0
            assert cumulative(family, -1.0, *p) == 0
            assert inverse(family, 0.0, *p) == 0
            assert inverse(family, math.inf, *p) == math.inf
            assert cumulative(family, math.inf, *p) == math.inf or p[0] == 0 or (family == "gompertz" and p[1] < 0)


def test_hazards_never_decrease():
    generator = np.random.default_rng(4)
    for family in CONTINUOUS:
        for named, _ in itertools.islice(grid(family), 12, 18):
            p = kernel_parameters(family, **named)
            t = inverse(family, np.sort(generator.exponential(1.0, 2_000)), *p)
            back = cumulative(family, t, *p)
            assert np.all(np.diff(t) >= -1e-12 * t[1:]), named
            assert np.all(np.diff(back) >= -1e-12 * back[1:]), named


# -------------------------------------------------------------------------------------------------- tabulated


def test_tabulated_goes_through_its_knots_and_straight_between():
    time, hazard = np.array([0.0, 10.0, 30.0, 31.0]), np.array([0.0, 0.2, 0.2, 1.0])
    knots = {"knot_time": time, "knot_hazard": hazard}
    assert cumulative("tabulated", time, 0.0, **knots).tolist() == hazard.tolist()
    t = np.linspace(0, 31, 200)
    assert cumulative("tabulated", t, 0.0, **knots) == pytest.approx(np.interp(t, time, hazard), rel=1e-14)
    assert cumulative("tabulated", [31.0, 1e9, math.inf, -1.0], 0.0, **knots).tolist() == [1.0, 1.0, 1.0, 0.0]
    assert cumulative("tabulated", [41.0, math.inf], 0.5, **knots).tolist() == [6.0, math.inf]


def test_tabulated_inverse_is_the_first_time_and_inf_beyond_a_flat_end():
    knots = {"knot_time": np.array([0.0, 10.0, 30.0, 31.0]), "knot_hazard": np.array([0.0, 0.2, 0.2, 1.0])}
    found = inverse("tabulated", [0.0, 0.1, 0.2, 0.6, 1.0, 1.0000001, math.inf], 0.0, **knots)
    assert found == pytest.approx([0.0, 5.0, 10.0, 30.5, 31.0, math.inf, math.inf], rel=1e-15)
    assert inverse("tabulated", [1.5, math.inf], 0.5, **knots).tolist() == [32.0, math.inf]


def test_tabulated_may_jump_and_may_begin_late():
    knots = {"knot_time": np.array([5.0, 10.0, 10.0]), "knot_hazard": np.array([0.0, 0.0, 2.0])}
    assert cumulative("tabulated", [4.0, 9.999, 10.0, 11.0], 0.0, **knots).tolist() == [0, 0, 2, 2]
    assert inverse("tabulated", [1e-9, 1.0, 2.0], 0.0, **knots).tolist() == [10.0, 10.0, 10.0]


def test_tabulated_reads_its_own_slice_of_the_flat_knots():
    time, hazard = np.array([0.0, 1.0, 0.0, 10.0, 0.0, 5.0]), np.array([0.0, 9.0, 0.0, 0.5, 0.0, 7.0])
    code = FAMILIES["tabulated"].code
    assert hazards.cumulative_hazard(code, 5.0, 0.0, 0.0, 0.0, 2, 4, time, hazard) == 0.25
    assert hazards.inverse_cumulative_hazard(code, 0.25, 0.0, 0.0, 0.0, 2, 4, time, hazard) == 5.0
    assert hazards.inverse_cumulative_hazard(code, 0.6, 0.0, 0.0, 0.0, 2, 4, time, hazard) == math.inf
    assert hazards.inverse_cumulative_hazard(code, 0.6, 0.1, 0.0, 0.0, 3, 3, time, hazard) == pytest.approx(6.0)


@pytest.mark.parametrize(
    ("starts", "rates", "message"),
    [
        ([1.0], [0.1], "begin with 0"),
        ([0.0, 0.0], [0.1, 0.1], "increase"),
        ([0.0], [-1.0], "≥ 0"),
        ([0.0], [], "as many"),
    ],
)
def test_impossible_pieces_are_refused(starts, rates, message):
    with pytest.raises(ValueError, match=message):
        piecewise_exponential_knots(starts, rates)


# -------------------------------------------------------------------------------------------- named parameters


def test_every_family_has_a_row_a_stable_code_and_documented_parameters():
    assert {*ROWS, "tabulated", "fixed"} == set(FAMILIES)
    assert [family.code for family in FAMILIES.values()] == list(range(len(FAMILIES)))
    first = ["exponential", "weibull", "gompertz", "log_logistic", "log_normal", "gamma", "generalised_gamma"]
    assert list(FAMILIES)[:9] == [*first, "tabulated", "fixed"]
    taken = {name: dimension for family in FAMILIES.values() for name, dimension in family.dimensions.items()}
    assert set(taken) == {*PARAMETERS, "rate_after"}
    assert set(taken.values()) <= set(DIMENSIONS)


@pytest.mark.parametrize("family", [*CONTINUOUS, "fixed"])
def test_the_choice_by_the_code_is_the_record(family):
    """Bit for bit."""
    record = FAMILIES[family]
    values = [0.0, 1e-300, 0.3, 1.0, 40.0, 1e300, math.inf]
    for p in extremes(family):
        for value in values:
            knots = (0, 0, NO_KNOTS, NO_KNOTS)
            assert hazards.cumulative_hazard(record.code, value, *p, *knots) == record.cumulative(value, *p)
            assert hazards.inverse_cumulative_hazard(record.code, value, *p, *knots) == record.inverse(value, *p)


def test_an_unknown_code_gives_nan():
    assert math.isnan(hazards.cumulative_hazard(99, 1.0, 1.0, 1.0, 1.0, 0, 0, NO_KNOTS, NO_KNOTS))
    assert math.isnan(hazards.inverse_cumulative_hazard(-1, 1.0, 1.0, 1.0, 1.0, 0, 0, NO_KNOTS, NO_KNOTS))


def test_names_say_the_same_law():
    p = kernel_parameters
    assert p("exponential", mean=200.0)[0] == p("exponential", rate=1 / 200)[0]
    assert p("exponential", median=LN2)[0] == pytest.approx(1.0)
    assert p("gamma", shape=2.0, rate=0.1)[0] == p("gamma", shape=2.0, mean=20.0)[0] == pytest.approx(10.0)
    assert p("gamma", shape=2.0, median=10 * special.gammaincinv(2.0, 0.5))[0] == pytest.approx(10.0)
    assert p("log_normal", sigma=1.0, meanlog=math.log(42.0))[0] == pytest.approx(42.0)
    assert p("log_logistic", shape=2.0, median=5.0) == p("log_logistic", shape=2.0, scale=5.0)


@pytest.mark.parametrize("family", ["weibull", "log_logistic", "log_normal"])
def test_weibull_shape_gives_every_family_the_same_spread(family):
    for k in (0.4, 1.0, 1.3, 6.0):
        lower, median, upper = inverse(
            family, -np.log([0.75, 0.5, 0.25]), *kernel_parameters(family, median=300.0, weibull_shape=k)
        )
        assert median == pytest.approx(300.0, rel=1e-13)
        assert upper / lower == pytest.approx((math.log(4) / math.log(4 / 3)) ** (1 / k), rel=1e-12)


def test_parameters_broadcast_and_stay_beside_their_neighbours():
    p0, p1, p2 = kernel_parameters("weibull", shape=np.array([1.0, 2.0]), median=np.array([[10.0], [20.0], [30.0]]))
    assert p0.shape == p1.shape == p2.shape == (3, 2)
    assert cumulative("weibull", [[10.0], [20.0], [30.0]], p0, p1, p2) == pytest.approx(np.full((3, 2), LN2))


@pytest.mark.parametrize(
    ("family", "named", "message"),
    [
        ("weibul", {"shape": 1.0}, r"family 'weibul': must be one of exponential, weibull"),
        ("weibull", {"shape": 1.0}, r"scale \| median: missing; weibull takes shape \| weibull_shape and scale"),
        ("weibull", {"shape": 1.0, "weibull_shape": 1.0, "scale": 1.0}, r"shape and weibull_shape: only one of"),
        ("weibull", {"shape": 1.0, "scale": 1.0, "rate": 1.0}, r"rate: not a parameter of weibull, which takes"),
        ("weibull", {"shape": 0.0, "scale": 1.0}, r"shape = 0.0: must be > 0"),
        ("weibull", {"shape": 1.0, "scale": -3.0}, r"scale = -3.0: must be > 0 days"),
        ("weibull", {"shape": math.nan, "scale": 1.0}, r"shape = nan: must be > 0"),
        ("weibull", {"shape": 1.0, "scale": math.inf}, r"scale = inf"),
        ("weibull", {"shape": "x", "scale": 1.0}, r"shape = 'x': must be a number"),
        ("weibull", {"shape": 1e-5, "median": 300.0}, r"beyond the range of floating point"),
        ("exponential", {"rate": -1e-9}, r"rate = -1e-09: must be ≥ 0 per day"),
        ("exponential", {}, r"rate \| mean \| median: missing"),
        ("gompertz", {"shape": math.inf, "rate": 1.0}, r"shape = inf: must be a rate per day and finite"),
        ("fixed", {"delay": -1.0}, r"delay = -1.0: must be ≥ 0 days"),
        ("gamma", {"shape": 1e-4, "median": 1.0}, r"beyond the range"),
        ("gamma", {"shape": 2.0, "rate": 0.0}, r"beyond the range"),
        ("log_normal", {"sigma": [1.0, 2.0], "median": [1.0, 2.0, 3.0]}, r"shapes do not fit together"),
    ],
)
def test_wrong_parameters_are_refused_by_name(family, named, message):
    with pytest.raises(ValueError, match=message):
        kernel_parameters(family, **named)


def test_all_problems_are_listed_at_once():
    with pytest.raises(ValueError, match=r"rate: not a parameter.*median: missing.*shape = -1"):
        kernel_parameters("weibull", rate=1.0, shape=-1.0)
