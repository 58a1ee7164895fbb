"""V4: elementary functions against mpmath. Expected values are computed here, at 40 digits, by mpmath."""

import math
import os
import subprocess
import sys

import mpmath
import numpy as np
import pytest

from simulator.kernels import elementary
from simulator.kernels.compilation import kernel

INF = math.inf
NAN = math.nan
SMALLEST = 5e-324
SMALLEST_NORMAL = 2.0**-1022
LARGEST = sys.float_info.max
EDGES = [
    SMALLEST, 3 * SMALLEST, 2.0**-1060, SMALLEST_NORMAL * (1 - 2.0**-52), SMALLEST_NORMAL,
    SMALLEST_NORMAL * (1 + 2.0**-52), 2.0**-1021, 1 - 2.0**-52, 1 - 2.0**-53, 1.0, 1 + 2.0**-52, 0.5,
    math.sqrt(0.5), math.nextafter(math.sqrt(0.5), 0), math.nextafter(math.sqrt(0.5), 1), math.sqrt(2),
    math.nextafter(math.sqrt(2), 0), math.nextafter(math.sqrt(2), 2), 2.0, 2.0**1022, 2.0**1023, LARGEST,
]  # fmt: skip

ci = 20_000
sizes = pytest.mark.parametrize("n", [ci, pytest.param(200_000, marks=pytest.mark.slow)])
fewer = pytest.mark.parametrize("n", [4_000, pytest.param(100_000, marks=pytest.mark.slow)])


@pytest.fixture(autouse=True)
def forty_digits():
    with mpmath.workdps(40):
        yield


def ulps(value: float, exact: mpmath.mpf) -> float:
    """Distance in units in the last place of the exact value, as a float rounds it."""
    rounded = float(exact)
    if math.isinf(rounded):
        return 0.0 if value == rounded else INF
    return float(abs(mpmath.mpf(value) - exact) / mpmath.mpf(math.ulp(rounded)))


def relative(value: float, exact: mpmath.mpf) -> float:
    if exact == 0 or math.isinf(float(exact)):
        return 0.0 if value == float(exact) else INF
    return float(abs(mpmath.mpf(value) / exact - 1))


def positive_floats(n: int, seed: int) -> list[float]:
    """Half over all exponents, half around 1, and the edges."""
    generator = np.random.default_rng(seed)
    wide = np.ldexp(generator.uniform(1, 2, n // 2), generator.integers(-1074, 1024, n // 2))
    near = np.exp(generator.uniform(-3, 3, n - n // 2))
    return [*EDGES, *wide[wide > 0].tolist(), *near.tolist()]


@sizes
def test_log_is_within_two_ulp(n):
    worst = max(ulps(elementary.log(x), mpmath.log(x)) for x in positive_floats(n, 1))
    assert worst <= 2


@sizes
def test_exp_is_within_two_ulp(n):
    generator = np.random.default_rng(2)
    points = [*generator.uniform(-746, 710, n // 2), *generator.uniform(-3, 3, n // 2)]
    points += [0.0, -0.0, SMALLEST, -SMALLEST, 2.0**-54, -(2.0**-54), math.log(2) / 2, -745.13, 709.78, 709.7827]
    worst = max(ulps(elementary.exp(float(x)), mpmath.exp(float(x))) for x in points)
    assert worst <= 2


@fewer
def test_expm1_and_log1p_are_within_three_ulp_near_zero_and_far(n):
    generator = np.random.default_rng(3)
    small = [*(sign * 10.0**e for e in generator.uniform(-300, 0, n // 4) for sign in (1, -1))]
    points = [*small, *generator.uniform(-60, 709, n // 4).tolist()]
    assert max(ulps(elementary.expm1(x), mpmath.expm1(x)) for x in points) <= 3
    points = [*(x for x in small if x > -1), *positive_floats(n // 4, 4), *generator.uniform(-1, 1, n // 4).tolist()]
    assert max(ulps(elementary.log1p(x), mpmath.log1p(x)) for x in points) <= 3


@sizes
def test_power_is_within_1e_14_wherever_the_result_is_a_normal_float(n):
    generator = np.random.default_rng(5)
    bases = np.exp(generator.uniform(-700, 700, n))
    exponents = generator.uniform(-690, 690, n) / np.abs(np.log(bases))
    bases[: n // 2] = np.exp(generator.normal(0, 3, n // 2))
    exponents[: n // 2] = generator.choice([0.05, 0.5, 1.3, 2, 3, 7.5, 20], n // 2)
    worst = 0.0
    for x, y in zip(bases.tolist(), exponents.tolist(), strict=True):
        worst = max(worst, relative(elementary.power(x, y), mpmath.mpf(x) ** mpmath.mpf(y)))
    for x in EDGES:
        for y in (0.01, -0.3, 0.5, 1.0, -1.0):
            exact = mpmath.mpf(x) ** mpmath.mpf(y)
            if SMALLEST_NORMAL <= exact <= LARGEST:
                worst = max(worst, relative(elementary.power(x, y), exact))
    assert worst <= 1e-14


@fewer
def test_root_is_within_1e_14_although_its_reciprocal_is_rounded(n):
    generator = np.random.default_rng(6)
    hazards = np.exp(generator.uniform(-37, 8, n)).tolist()
    degrees = np.exp(generator.uniform(math.log(0.07), math.log(20), n)).tolist()
    worst = 0.0
    worst_of_expm1 = 0.0
    for x, k in zip(hazards, degrees, strict=True):
        exact = mpmath.mpf(x) ** (1 / mpmath.mpf(k))
        worst = max(worst, relative(elementary.root(x, k, 1 / k), exact))
        exact = mpmath.exp(mpmath.log(mpmath.expm1(x)) / mpmath.mpf(k))
        if exact < LARGEST:
            worst_of_expm1 = max(worst_of_expm1, relative(elementary.root_of_expm1(x, k, 1 / k), exact))
    assert worst <= 1e-14
    assert worst_of_expm1 <= 1e-14


@fewer
def test_normal_cdf_is_within_1e_14_in_both_tails(n):
    points = [*np.random.default_rng(7).uniform(-37.5, 9, n).tolist(), 0.0, -37.5, 40.0]
    worst = max(relative(elementary.normal_cdf(z), mpmath.erfc(-z / mpmath.sqrt(2)) / 2) for z in points)
    assert worst <= 1e-14


def exact_deviate(z: float, log_tail: mpmath.mpf) -> mpmath.mpf:
    """The deviate above which the tail has this logarithm, by one exact Newton step from z (error of order δ²)."""
    tail = mpmath.erfc(z / mpmath.sqrt(2)) / 2
    density = mpmath.exp(-(mpmath.mpf(z) ** 2) / 2) / mpmath.sqrt(2 * mpmath.pi)
    gap = mpmath.log(tail) - log_tail
    return z + gap * tail / density


@fewer
def test_normal_quantile_is_within_1e_14(n):
    generator = np.random.default_rng(8)
    points = [*generator.random(n // 2).tolist(), *(10.0 ** generator.uniform(-300, 0, n // 2)).tolist()]
    points += [0.075, 0.925, math.nextafter(0.075, 0), 1e-11, 2.0**-53, 1 - 2.0**-53, 0.5 + 2.0**-53, 0.49999]
    worst = 0.0
    for u in points:
        z = elementary.normal_quantile(u)
        exact = -exact_deviate(-z, mpmath.log(u)) if u < 0.5 else exact_deviate(z, mpmath.log(1 - mpmath.mpf(u)))
        worst = max(worst, relative(z, exact))
    assert worst <= 1e-14


@fewer
def test_normal_hazard_and_its_inverse_are_accurate_in_every_tail(n):
    generator = np.random.default_rng(9)
    worst = 0.0
    for z in generator.uniform(-30, 200, n).tolist():
        exact = -mpmath.log1p(-mpmath.erfc(-z / mpmath.sqrt(2)) / 2) if z < 0 else -mpmath.log(
            mpmath.erfc(z / mpmath.sqrt(2)) / 2
        )  # fmt: skip
        worst = max(worst, relative(elementary.normal_hazard(z), exact))
    assert worst <= 1e-14
    worst = 0.0
    for x in [*(10.0 ** generator.uniform(-300, 5, n)).tolist(), 699.9, 700.1, 729.0, math.log(2)]:
        z = elementary.normal_inverse_hazard(x)
        if z < 0:
            exact = -exact_deviate(-z, mpmath.log(-mpmath.expm1(-mpmath.mpf(x))))
        else:
            exact = exact_deviate(z, -mpmath.mpf(x))
        worst = max(worst, float(abs(z - exact) / max(1, abs(exact))))
    assert worst <= 1e-14


@fewer
def test_log_gamma_is_within_1e_14(n):
    points = [*(10.0 ** np.random.default_rng(10).uniform(-10, 12, n)).tolist(), 0.5, 1.0, 2.0, 10.0]
    for a in points:
        exact = mpmath.loggamma(a)
        assert abs(elementary.log_gamma(a) - exact) <= 1e-14 * max(1, abs(exact)), a


GAMMA_SHAPES = [0.05, 0.3, 1.0, 2.5, 9.99, 29.9, 30.0, 31.0, 100.0, 1e3, 1e6]


@pytest.mark.parametrize("shape", GAMMA_SHAPES)
def test_incomplete_gamma_tails_are_within_1e_12_in_logarithms(shape):
    spread = 1 / math.sqrt(shape)
    ratios = [*np.linspace(-12, 12, 13) * spread, *np.linspace(-0.9, 0.9, 13)]
    for rho in [float(r) for r in ratios if shape * math.expm1(r) < 600 and abs(r) < 5 and shape * r * r < 1000]:
        log_lower, log_upper = elementary.log_gamma_tails(shape, rho)
        exact_lower, exact_upper = exact_log_tails(shape, rho)
        assert relative(log_lower, exact_lower) <= 1e-12, rho
        assert relative(log_upper, exact_upper) <= 1e-12, rho


def exact_log_tails(shape: float, rho: float) -> tuple[mpmath.mpf, mpmath.mpf]:
    """Logarithms of P and Q by the plain series of P (NIST DLMF 8.11.4), with digits enough for both tails."""
    digits = 50 + int(shape * (math.expm1(rho) - rho) / 2.3)
    with mpmath.workdps(digits):
        a = mpmath.mpf(shape)
        x = a * mpmath.exp(rho)
        term = total = mpmath.mpf(1)
        n = a
        while term > total * mpmath.mpf(10) ** -digits:
            n += 1
            term *= x / n
            total += term
        log_lower = a * mpmath.log(x) - x - mpmath.loggamma(a + 1) + mpmath.log(total)
        return log_lower, mpmath.log(-mpmath.expm1(log_lower))


@pytest.mark.parametrize("shape", [*GAMMA_SHAPES, 1e9, 1e14])
def test_inverse_incomplete_gamma_comes_back_within_1e_10(shape):
    for log_lower in [-600.0, -37.0, -5.0, -0.7, -0.3]:
        log_upper = math.log(-math.expm1(log_lower))
        rho = elementary.log_gamma_inverse(shape, log_lower, log_upper)
        assert elementary.log_gamma_tails(shape, rho)[0] == pytest.approx(log_lower, rel=1e-12)
        rho = elementary.log_gamma_inverse(shape, log_upper, log_lower)
        assert elementary.log_gamma_tails(shape, rho)[1] == pytest.approx(log_lower, rel=1e-12)


def test_gamma_functions_equal_scipy():
    special = pytest.importorskip("scipy.special")
    for a in (0.05, 0.5, 1.0, 3.3, 40.0, 1e4):
        for u in (1e-8, 0.01, 0.5, 0.9, 1 - 1e-9):
            assert elementary.gamma_lower_inverse(a, u) == pytest.approx(special.gammaincinv(a, u), rel=1e-10)
            assert elementary.gamma_upper_inverse(a, u) == pytest.approx(special.gammainccinv(a, u), rel=1e-10)
            x = float(special.gammaincinv(a, u))
            assert elementary.gamma_lower(a, x) == pytest.approx(special.gammainc(a, x), rel=1e-11)
            assert elementary.gamma_upper(a, x) == pytest.approx(special.gammaincc(a, x), rel=1e-11)


LIMITS = [
    ("log", (0.0,), -INF), ("log", (-0.0,), -INF), ("log", (INF,), INF), ("log", (-1.0,), NAN),
    ("log", (-INF,), NAN), ("log", (NAN,), NAN), ("log", (1.0,), 0.0),
    ("exp", (-INF,), 0.0), ("exp", (INF,), INF), ("exp", (NAN,), NAN), ("exp", (0.0,), 1.0), ("exp", (710.0,), INF),
    ("exp", (-746.0,), 0.0), ("exp", (1e308,), INF), ("exp", (-1e308,), 0.0),
    ("expm1", (-INF,), -1.0), ("expm1", (INF,), INF), ("expm1", (NAN,), NAN), ("expm1", (0.0,), 0.0),
    ("expm1", (710.0,), INF), ("expm1", (SMALLEST,), SMALLEST), ("expm1", (-1e308,), -1.0),
    ("log1p", (-1.0,), -INF), ("log1p", (-2.0,), NAN), ("log1p", (INF,), INF), ("log1p", (NAN,), NAN),
    ("log1p", (0.0,), 0.0), ("log1p", (SMALLEST,), SMALLEST), ("log1p", (-INF,), NAN),
    ("power", (0.0, 2.0), 0.0), ("power", (0.0, -2.0), INF), ("power", (0.0, 0.0), 1.0), ("power", (INF, 0.5), INF),
    ("power", (INF, -0.5), 0.0), ("power", (INF, 0.0), 1.0), ("power", (2.0, INF), INF), ("power", (0.5, INF), 0.0),
    ("power", (2.0, -INF), 0.0), ("power", (0.5, -INF), INF), ("power", (1.0, INF), NAN), ("power", (1.0, NAN), NAN),
    ("power", (NAN, 0.0), NAN), ("power", (0.0, NAN), NAN), ("power", (INF, NAN), NAN),
    ("power", (NAN, 1.0), NAN), ("power", (2.0, NAN), NAN), ("power", (-1.0, 2.0), NAN),
    ("power", (1e300, 2.0), INF), ("power", (1e-300, 2.0), 0.0), ("power", (0.0, INF), 0.0),
    ("power", (INF, INF), INF), ("power", (1e300, 1e300), INF), ("power", (1e-300, 1e300), 0.0),
    ("root", (0.0, 2.0, 0.5), 0.0), ("root", (INF, 2.0, 0.5), INF), ("root", (1.0, 3.0, 1 / 3), 1.0),
    ("root_of_expm1", (0.0, 2.0, 0.5), 0.0), ("root_of_expm1", (INF, 2.0, 0.5), INF),
    ("normal_cdf", (-INF,), 0.0), ("normal_cdf", (INF,), 1.0), ("normal_cdf", (0.0,), 0.5), ("normal_cdf", (NAN,), NAN),
    ("normal_cdf", (-1e300,), 0.0), ("normal_cdf", (1e300,), 1.0),
    ("normal_quantile", (0.0,), -INF), ("normal_quantile", (1.0,), INF), ("normal_quantile", (0.5,), 0.0),
    ("normal_quantile", (-0.1,), NAN), ("normal_quantile", (1.1,), NAN), ("normal_quantile", (NAN,), NAN),
    ("normal_hazard", (-INF,), 0.0), ("normal_hazard", (INF,), INF), ("normal_hazard", (NAN,), NAN),
    ("normal_inverse_hazard", (0.0,), -INF), ("normal_inverse_hazard", (INF,), INF),
    ("normal_inverse_hazard", (-1.0,), NAN), ("normal_inverse_hazard", (NAN,), NAN),
    ("log_gamma", (0.0,), INF), ("log_gamma", (INF,), INF), ("log_gamma", (-1.0,), NAN), ("log_gamma", (NAN,), NAN),
    ("gamma_lower", (2.0, 0.0), 0.0), ("gamma_lower", (2.0, INF), 1.0), ("gamma_upper", (2.0, 0.0), 1.0),
    ("gamma_upper", (2.0, INF), 0.0), ("gamma_lower", (-1.0, 1.0), NAN), ("gamma_lower_inverse", (2.0, 0.0), 0.0),
    ("gamma_lower_inverse", (2.0, 1.0), INF), ("gamma_upper_inverse", (2.0, 0.0), INF),
    ("gamma_upper_inverse", (2.0, 1.0), 0.0), ("gamma_lower_inverse", (2.0, 1.5), NAN),
]  # fmt: skip


@pytest.mark.parametrize(("function", "arguments", "expected"), LIMITS, ids=lambda v: str(v))
def test_limits_are_those_of_the_mathematics(function, arguments, expected):
    found = getattr(elementary, function)(*arguments)
    assert found == expected or (math.isnan(found) and math.isnan(expected))


@pytest.mark.parametrize("name", ["log", "exp", "expm1", "log1p", "normal_cdf", "normal_quantile"])
def test_functions_never_decrease_from_float_to_float_at_the_seams(name):
    function = getattr(elementary, name)
    seams = {
        "log": [math.sqrt(0.5), math.sqrt(2.0), 1.0, SMALLEST_NORMAL],
        "exp": [0.34657359027997264, -0.34657359027997264, -708.4],
        "expm1": [0.34657359027997264, -0.34657359027997264],
        "log1p": [0.4142135623730951, -0.2928932188134524],
        "normal_cdf": [0.0],
        "normal_quantile": [0.075, 0.925, 1.3887943864964021e-11],
    }[name]
    for seam in seams:
        x = seam
        for _ in range(200):
            x = math.nextafter(x, -INF)
        for _ in range(400):
            following = math.nextafter(x, INF)
            slack = 2e-15 * abs(function(x))  # neighbours may differ by rounding, not by a jump
            assert function(following) >= function(x) - slack
            x = following


def test_a_logarithm_in_one_float_would_miss_the_bound_of_power():
    """Negative control: the double logarithm is what keeps the 1e-14."""
    naive = 0.0
    for y in np.linspace(2.5, 3.0, 50).tolist():
        exact = mpmath.mpf(1.7e100) ** mpmath.mpf(y)
        naive = max(naive, relative(elementary.exp(y * elementary.log(1.7e100)), exact))
    assert naive > 2e-14


@kernel
def in_loops(x, y, u):
    found = np.empty((6, x.size))
    for i in range(x.size):
        found[0, i] = elementary.log(x[i])
    for i in range(x.size):
        found[1, i] = elementary.exp(y[i])
    for i in range(x.size):
        found[2, i] = elementary.power(x[i], 1.3)
    for i in range(x.size):
        found[3, i] = elementary.root(x[i], 1.3, 1 / 1.3)
    for i in range(x.size):
        found[4, i] = elementary.normal_quantile(u[i])
    for i in range(x.size):
        found[5, i] = elementary.normal_inverse_hazard(x[i])
    return found


def test_a_vectorised_loop_gives_the_bits_of_single_calls():
    generator = np.random.default_rng(12)
    x, y, u = np.exp(generator.normal(0, 5, 2_000)), generator.normal(0, 90, 2_000), generator.random(2_000)
    x[:6] = [0.0, INF, NAN, -1.0, SMALLEST, 1.0]
    singly = [
        [elementary.log(v) for v in x.tolist()],
        [elementary.exp(v) for v in y.tolist()],
        [elementary.power(v, 1.3) for v in x.tolist()],
        [elementary.root(v, 1.3, 1 / 1.3) for v in x.tolist()],
        [elementary.normal_quantile(v) for v in u.tolist()],
        [elementary.normal_inverse_hazard(v) for v in x.tolist()],
    ]
    assert np.array_equal(in_loops(x, y, u), np.array(singly), equal_nan=True)


PROGRAM = """
import hashlib, numpy as np
from simulator.kernels import elementary as e
from simulator.kernels.hazards import FAMILIES, cumulative_hazards, inverse_cumulative_hazards
from simulator.kernels.quantiles import quantiles
from simulator.kernels.rng import uniforms
generator = np.random.default_rng(11)
digest = hashlib.sha256()
for x, y in zip(np.exp(generator.normal(0, 9, 3000)).tolist(), generator.normal(0, 9, 3000).tolist()):
    u = x / (1.0 + x)
    values = [e.log(x), e.exp(y), e.expm1(y), e.log1p(x), e.power(x, y), e.root(x, 1.3, 1 / 1.3), e.normal_cdf(y),
              e.normal_quantile(u), e.normal_hazard(y), e.normal_inverse_hazard(x)]
    digest.update(np.array(values).tobytes())
u = uniforms(5, np.arange(3000), 1, 2, 3)
for family in ("exponential", "weibull", "gompertz", "log_logistic", "log_normal", "gamma", "generalised_gamma"):
    for p in ((0.9, 1.3, 1 / 1.3), (0.3, 2.5, -0.4), (2.0, 0.4, 2.5)):
        t = inverse_cumulative_hazards(FAMILIES[family].code, -np.log(u).round(12), *p)
        digest.update(t.tobytes() + cumulative_hazards(FAMILIES[family].code, t, *p).tobytes())
for code in range(8):
    digest.update(quantiles(code, u, 3.0, 4.0, 5.0).tobytes())
print(digest.hexdigest())
"""


def checksum(**environment: str) -> str:
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, **environment, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        capture_output=True,
        text=True,
        check=True,
    )
    return finished.stdout.strip()


@pytest.mark.slow
def test_every_processor_and_optimisation_level_gives_the_same_bits():
    """R2: the knobs that stand for other x86 machines."""
    reference = checksum()
    assert len(reference) == 64
    assert checksum(NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="") == reference
    assert checksum(NUMBA_OPT="0") == reference
    assert checksum(GLIBC_TUNABLES="glibc.cpu.hwcaps=-FMA,-AVX2") == reference
