"""Distributions of intervals, lags and covariates. Expected values: scipy.stats."""

import math
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from simulator.configuration.layers import NUMBERS, is_distribution
from simulator.kernels.quantiles import DISTRIBUTIONS, FIXED, UNIFORM, cumulative, quantile, quantiles
from simulator.units import DIMENSIONS


def parameters(name: str, given: tuple[float, ...]) -> tuple[float, float, float]:
    """p0, p1, p2 of a distribution from its parameters."""
    assert len(given) == len(DISTRIBUTIONS[name].parameters)
    p0, p1, p2 = (*given, 0.0, 0.0)[:3]
    return p0, p1, p2


def law_of(name: str, given: tuple[float, ...]):
    """The scipy law that the distribution's record names."""
    values = dict(zip(DISTRIBUTIONS[name].parameters, given, strict=True))
    return eval(DISTRIBUTIONS[name].scipy, {**vars(stats), "log": math.log}, values)


U = np.array([2.0**-53, 1e-9, 0.01, 0.2, 0.5, 0.8, 0.99, 1 - 1e-9, 1 - 2.0**-53])

ROWS = {
    "uniform": [(-3.0, 14.0)],
    "triangular": [(10.0, 14.0, 30.0), (10.0, 10.0, 30.0), (10.0, 30.0, 30.0)],
    "normal": [(62.0, 10.0)],
    "log_normal": [(42.0, 0.5)],
    "exponential": [(21.0,)],
    "weibull": [(21.0, 1.3), (21.0, 0.2)],
    "gamma": [(21.0, 3.0), (21.0, 40.0)],
}
"""Parameters of every distribution, in order."""
LAWS = [(name, given) for name, rows in ROWS.items() for given in rows]


@pytest.mark.parametrize(("name", "given"), LAWS)
def test_quantiles_equal_scipys(name, given):
    code, p, law = DISTRIBUTIONS[name].code, parameters(name, given), law_of(name, given)
    found = quantiles(code, U, *p)
    assert found == pytest.approx(law.ppf(U), rel=1e-9)
    assert found[1:-1] == pytest.approx(law.ppf(U[1:-1]), rel=1e-11)
    assert found.tolist() == [quantile(code, u, *p) for u in U.tolist()]
    assert np.all(np.diff(found) >= 0)


@pytest.mark.parametrize(("name", "given"), LAWS)
def test_distribution_function_inverts_the_quantile_and_equals_scipys(name, given):
    code, p, law = DISTRIBUTIONS[name].code, parameters(name, given), law_of(name, given)
    tolerance = 1e-10 if name == "gamma" else 1e-13
    for u in U.tolist():
        x = quantile(code, u, *p)
        assert cumulative(code, x, *p) == pytest.approx(u, abs=tolerance)
        assert cumulative(code, x, *p) == pytest.approx(law.cdf(x), abs=tolerance)
    assert cumulative(code, -math.inf, *p) == 0.0
    assert cumulative(code, math.inf, *p) == 1.0


WITHOUT_SPREAD = [
    ("fixed", (21.0,)),
    ("uniform", (21.0, 21.0)),
    ("triangular", (21.0, 21.0, 21.0)),
    ("normal", (21.0, 0.0)),
    ("log_normal", (21.0, 0.0)),
    ("gamma", (21.0, 0.0)),
]


@pytest.mark.parametrize(("name", "given"), WITHOUT_SPREAD)
def test_without_spread_every_draw_is_the_fixed_value(name, given):
    code, p = DISTRIBUTIONS[name].code, parameters(name, given)
    assert quantiles(code, U, *p).tolist() == [21.0] * len(U)
    below_at_above = [cumulative(code, x, *p) for x in (math.nextafter(21.0, 0), 21.0, 22.0)]
    assert below_at_above == [0.0, 1.0, 1.0]


def test_parameters_broadcast():
    codes = np.array([FIXED, UNIFORM])
    assert quantiles(codes, 0.25, [14.0, 0.0], [0.0, 8.0]).tolist() == [14.0, 2.0]
    assert quantiles(FIXED, np.full((2, 3), 0.5), 1.0).shape == (2, 3)


def test_an_unknown_code_gives_nan():
    assert math.isnan(quantile(99, 0.5, 1.0, 1.0, 1.0))
    assert math.isnan(cumulative(99, 0.5, 1.0, 1.0, 1.0))


def test_every_distribution_has_a_row_a_code_that_stays_and_parameters_of_a_kind():
    assert {*ROWS, "fixed"} == set(DISTRIBUTIONS)
    assert [law.code for law in DISTRIBUTIONS.values()] == list(range(len(DISTRIBUTIONS)))
    first = ["fixed", "uniform", "triangular", "normal", "log_normal", "exponential", "weibull", "gamma"]
    assert list(DISTRIBUTIONS)[:8] == first
    kinds = {kind for law in DISTRIBUTIONS.values() for kind in law.parameters.values()}
    assert kinds <= {"value", "positive_value", "spread", *DIMENSIONS}


def test_whatever_is_a_distribution_replaces_another_and_loads_no_kernel_before():
    assert all(is_distribution({name: [1.0]}) for name in (*DISTRIBUTIONS, *NUMBERS))
    assert not is_distribution({"colon": 1.0})
    assert not is_distribution({"normal": 1.0, "abnormal": 2.0})  # strata
    program = "import sys, simulator.configuration.layers; assert 'numba' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
