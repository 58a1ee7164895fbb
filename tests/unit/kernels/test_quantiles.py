"""Distributions of intervals, lags and covariates. Expected values: scipy.stats."""

import math

import numpy as np
import pytest
from scipy import stats

from simulator.configuration.layers import ONE_CHOICE
from simulator.kernels.quantiles import (
    DISTRIBUTIONS,
    PARAMETERS,
    cumulative,
    quantile,
    quantiles,
)
from simulator.model.course import NUMBERS


def parameters(name: str, named: dict[str, float]) -> tuple[float, float, float]:
    """p0, p1, p2 of a distribution from its named parameters."""
    p0, p1, p2 = [*(named[parameter] for parameter in PARAMETERS[name]), 0.0, 0.0][:3]
    return p0, p1, p2


U = np.array([2.0**-53, 1e-9, 0.01, 0.2, 0.5, 0.8, 0.99, 1 - 1e-9, 1 - 2.0**-53])

LAWS = [
    ("uniform", {"low": -3.0, "high": 14.0}, stats.uniform(-3, 17)),
    ("triangular", {"low": 10.0, "mode": 14.0, "high": 30.0}, stats.triang(0.2, 10, 20)),
    ("triangular", {"low": 10.0, "mode": 10.0, "high": 30.0}, stats.triang(0.0, 10, 20)),
    ("triangular", {"low": 10.0, "mode": 30.0, "high": 30.0}, stats.triang(1.0, 10, 20)),
    ("normal", {"mean": 62.0, "sd": 10.0}, stats.norm(62, 10)),
    ("log_normal", {"median": 42.0, "sigma": 0.5}, stats.lognorm(0.5, scale=42)),
    ("exponential", {"mean": 21.0}, stats.expon(scale=21)),
    ("weibull", {"median": 21.0, "shape": 1.3}, stats.weibull_min(1.3, scale=21 / math.log(2) ** (1 / 1.3))),
    ("weibull", {"median": 21.0, "shape": 0.2}, stats.weibull_min(0.2, scale=21 / math.log(2) ** 5)),
    ("gamma", {"mean": 21.0, "sd": 3.0}, stats.gamma(49, scale=3 / 7)),
    ("gamma", {"mean": 21.0, "sd": 40.0}, stats.gamma((21 / 40) ** 2, scale=1600 / 21)),
]
names = [f"{name}-{'-'.join(map(str, named.values()))}" for name, named, _ in LAWS]


@pytest.mark.parametrize(("name", "named", "law"), LAWS, ids=names)
def test_quantiles_equal_scipys(name, named, law):
    code, p = DISTRIBUTIONS[name], parameters(name, named)
    found = quantiles(code, U, *p)
    assert found == pytest.approx(law.ppf(U), rel=1e-9)
    assert found[1:-1] == pytest.approx(law.ppf(U[1:-1]), rel=1e-11)
    assert found.tolist() == [quantile(code, u, *p) for u in U.tolist()]
    assert np.all(np.diff(found) >= 0)


@pytest.mark.parametrize(("name", "named", "law"), LAWS, ids=names)
def test_distribution_function_inverts_the_quantile_and_equals_scipys(name, named, law):
    code, p = DISTRIBUTIONS[name], parameters(name, named)
    tolerance = 1e-10 if name == "gamma" else 1e-13
    for u in U.tolist():
        x = quantile(code, u, *p)
        assert cumulative(code, x, *p) == pytest.approx(u, abs=tolerance)
        assert cumulative(code, x, *p) == pytest.approx(law.cdf(x), abs=tolerance)
    assert cumulative(code, -math.inf, *p) == 0.0
    assert cumulative(code, math.inf, *p) == 1.0


WITHOUT_SPREAD = [
    ("fixed", {"value": 21.0}),
    ("uniform", {"low": 21.0, "high": 21.0}),
    ("triangular", {"low": 21.0, "mode": 21.0, "high": 21.0}),
    ("normal", {"mean": 21.0, "sd": 0.0}),
    ("log_normal", {"median": 21.0, "sigma": 0.0}),
    ("gamma", {"mean": 21.0, "sd": 0.0}),
]


@pytest.mark.parametrize(("name", "named"), WITHOUT_SPREAD)
def test_without_spread_every_draw_is_the_fixed_value(name, named):
    code, p = DISTRIBUTIONS[name], parameters(name, named)
    assert quantiles(code, U, *p).tolist() == [21.0] * len(U)
    below_at_above = [cumulative(code, x, *p) for x in (math.nextafter(21.0, 0), 21.0, 22.0)]
    assert below_at_above == [0.0, 1.0, 1.0]


def test_parameters_broadcast():
    codes = np.array([DISTRIBUTIONS["fixed"], DISTRIBUTIONS["uniform"]])
    assert quantiles(codes, 0.25, [14.0, 0.0], [0.0, 8.0]).tolist() == [14.0, 2.0]
    assert quantiles(DISTRIBUTIONS["fixed"], np.full((2, 3), 0.5), 1.0).shape == (2, 3)


def test_an_unknown_code_gives_nan():
    assert math.isnan(quantile(99, 0.5, 1.0, 1.0, 1.0))
    assert math.isnan(cumulative(99, 0.5, 1.0, 1.0, 1.0))


def test_every_distribution_has_a_code_and_named_parameters():
    assert list(DISTRIBUTIONS) == list(PARAMETERS)
    assert list(DISTRIBUTIONS.values()) == list(range(8))
    assert {kind for named in PARAMETERS.values() for kind in named.values()} == {
        "value", "positive_value", "spread", "ratio", "positive",
    }  # fmt: skip


def test_the_names_that_replace_each_other_are_those_of_distributions():
    # `configuration.layers` lists them without loading a kernel
    assert {*DISTRIBUTIONS, *NUMBERS} - {"shares"} == ONE_CHOICE
