"""Elementary functions in plain arithmetic.

Only + − × ÷, comparisons, integer operations, square root and an explicit fused multiply-add: every processor gives the
same bits, both engines agree exactly, and LLVM vectorises a loop over any function up to the gamma family (selects in
place of branches, no table); the gamma family branches and iterates. Errors are given in units in the last place (ulp)
or relative; they are measured against mpmath in tests/unit/kernels/test_elementary.py. An argument outside a function's
domain gives NaN.
"""

from __future__ import annotations

from math import fabs, sqrt
from typing import Any

import numpy as np
from numba.core import types

from simulator.kernels.compilation import inlined_kernel, intrinsic, kernel

# ------------------------------------------------------------------------- instructions Python cannot spell


@intrinsic
def fma(typing_context: Any, x: Any, y: Any, z: Any) -> Any:
    """x·y + z, rounded once (IEEE 754 fusedMultiplyAdd)."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return types.float64(types.float64, types.float64, types.float64), generate


@intrinsic
def float_bits(typing_context: Any, x: Any) -> Any:
    """Return the 64 bits of a float as an unsigned integer."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(signature.return_type))

    return types.uint64(types.float64), generate


@intrinsic
def float_from_bits(typing_context: Any, bits: Any) -> Any:
    """Return the float that has these 64 bits."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(signature.return_type))

    return types.float64(types.uint64), generate


@intrinsic
def polynomial(typing_context: Any, x: Any, coefficients: Any) -> Any:
    """Sum of coefficients[j]·x^j by Horner's rule, fused; a tuple of floats, lowest first."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        point, constants = arguments
        count = len(coefficients)
        value = builder.extract_value(constants, count - 1)
        for j in range(count - 2, -1, -1):
            value = builder.fma(value, point, builder.extract_value(constants, j))
        return value

    return types.float64(types.float64, coefficients), generate


# ------------------------------------------------------------------------------------------------ constants

INFINITY = float("inf")
NOT_A_NUMBER = float("nan")
LN2 = 0.6931471805599453

_LN2_HIGH = 0.6931471805598903  # 42 bits: its product with an exponent is exact
_LN2_LOW = 5.497923018708371e-14
_INVERSE_LN2 = 1.4426950408889634
_SQRT_HALF = 0.7071067811865476
_HALF_LOG_2PI = 0.9189385332046727
_LOG_2PI = 1.8378770664093453
_SMALLEST_NORMAL = 2.2250738585072014e-308
_TWO_52 = 4503599627370496.0
_TWO_54 = 18014398509481984.0
_ROUNDER = 6755399441055744.0  # 1.5·2^52: adding it rounds to an integer, held in the low bits

_U1 = np.uint64(1)
_U52 = np.uint64(52)
_U1023 = np.uint64(1023)
_U1024 = np.uint64(1024)
_U2048 = np.uint64(2048)
_MANTISSA = np.uint64(0x000FFFFFFFFFFFFF)
_BITS_TWO_52 = np.uint64(0x4330000000000000)
_BITS_SQRT_HALF = np.uint64(0x3FE6A09E667F3BCD)
_BITS_1024 = np.uint64(1024 << 52)
_BITS_ROUNDER = np.uint64(0x4338000000000000)

_EXP_SERIES = (
    0.5, 0.1666666666666667, 0.04166666666666667, 0.008333333333326025, 0.001388888888888367,
    0.00019841269875205077, 2.4801587325822283e-05, 2.75572549134867e-06, 2.7557273295539724e-07,
    2.5105419192016337e-08, 2.091483135138041e-09,
)  # fmt: skip
"""(e^r - 1 - r)/r² for |r| ≤ 0.3473, interpolated at Chebyshev nodes: relative error of e^r below 2^-61."""
_LOG_SERIES = (
    0.6666666666666666, 0.40000000000000885, 0.28571428570799784, 0.22222222392581045, 0.18181795547521137,
    0.15386244737621665, 0.13268638369266825, 0.13088034850927555,
)  # fmt: skip
"""(2 atanh(s) - 2s)/s³ in z = s², z ≤ 0.02947 (√½ ≤ m ≤ √2): relative error of log m below 2^-60."""
_MILLS_SERIES = (
    1.2375126308378275, -0.14024059858554697, 0.003585415485463775, 0.08227673849014516,
    -0.10880393014171785, 0.09230432116037876, -0.058693398590212366, 0.028362277418940665,
    -0.009746579552504244, 0.0017556258530017257, 0.0002937136342850081, -0.0002901540809795271,
    5.1649211390702855e-05, 2.2384240314224437e-05, -1.1444412439171722e-05, -9.735619015182663e-07,
    1.752057970166318e-06, -5.721597255990987e-08, -2.591069687796658e-07, 2.3261913276696566e-08,
    3.8965452548985966e-08, -3.743568033634583e-09, -5.28428697963142e-09, 3.110310719839165e-10,
    4.434959070009628e-10,
)  # fmt: skip
"""(1 + 2x)·e^(x²)·erfc(x) in (x - 3.75)/(x + 3.75), x ≥ 0 (Shepherd and Laframboise 1981): below 1.1e-16."""
# Wichura 1988, "Algorithm AS 241: the percentage points of the normal distribution", Applied Statistics 37
# (PPND16): numerators and denominators for |u - 1/2| ≤ 0.425, then for r = √(-log p) up to 5 and up to 27.
_CENTRE_OVER = (
    3.3871328727963665, 133.14166789178438, 1971.5909503065513, 13731.69376550946, 45921.95393154987,
    67265.7709270087, 33430.57558358813, 2509.0809287301227,
)  # fmt: skip
_CENTRE_UNDER = (
    1.0, 42.31333070160091, 687.1870074920579, 5394.196021424751, 21213.794301586597, 39307.89580009271,
    28729.085735721943, 5226.495278852854,
)  # fmt: skip
_TAIL_OVER = (
    1.4234371107496835, 4.630337846156546, 5.769497221460691, 3.6478483247632045, 1.2704582524523684,
    0.2417807251774506, 0.022723844989269184, 0.0007745450142783414,
)  # fmt: skip
_TAIL_UNDER = (
    1.0, 2.053191626637759, 1.6763848301838038, 0.6897673349851, 0.14810397642748008, 0.015198666563616457,
    0.0005475938084995345, 1.0507500716444169e-09,
)  # fmt: skip
_FAR_OVER = (
    6.657904643501103, 5.463784911164114, 1.7848265399172913, 0.29656057182850487, 0.026532189526576124,
    0.0012426609473880784, 2.7115555687434876e-05, 2.0103343992922881e-07,
)  # fmt: skip
_FAR_UNDER = (
    1.0, 0.599832206555888, 0.1369298809227358, 0.014875361290850615, 0.0007868691311456133,
    1.8463183175100548e-05, 1.421511758316446e-07, 2.0442631033899397e-15,
)  # fmt: skip

# ---------------------------------------------------------------------------------------------- exp and log


@inlined_kernel
def exp_of_sum(high: float, low: float) -> float:
    """e^(high + low) for |low| ≪ 1. Cody and Waite's reduction, then one polynomial."""
    x = -746.0 if high < -746.0 else (710.0 if high > 710.0 else high)
    shifted = fma(x, _INVERSE_LN2, _ROUNDER)
    count = shifted - _ROUNDER
    rest_high = fma(-count, _LN2_HIGH, x)
    rest_low = fma(-count, _LN2_LOW, low if x == high else 0.0)
    rest = rest_high + rest_low
    small = rest_high + fma(rest * rest, polynomial(rest, _EXP_SERIES), rest_low)
    # 2^count as two factors, so that neither overflows where the result does not.
    raised = float_bits(shifted) - _BITS_ROUNDER + _U2048
    half = raised >> _U1
    first = float_from_bits((half + _U1023 - _U1024) << _U52)
    second = float_from_bits((raised - half + _U1023 - _U1024) << _U52)
    return ((1.0 + small) * first) * second


@inlined_kernel
def exp(x: float) -> float:
    """e^x, ≤ 2 ulp (of the rounded subnormal where the result is one); exp(-inf) = 0, overflow gives inf."""
    return exp_of_sum(x, 0.0)


@inlined_kernel
def expm1(x: float) -> float:
    """e^x − 1, ≤ 3 ulp, also near 0; expm1(-inf) = −1, overflow gives inf."""
    bounded = -50.0 if x < -50.0 else (710.0 if x > 710.0 else x)
    shifted = fma(bounded, _INVERSE_LN2, _ROUNDER)
    count = shifted - _ROUNDER
    rest_high = fma(-count, _LN2_HIGH, bounded)
    rest_low = -count * _LN2_LOW
    rest = rest_high + rest_low
    small = rest_high + fma(rest * rest, polynomial(rest, _EXP_SERIES), rest_low)
    raised = float_bits(shifted) - _BITS_ROUNDER + _U2048
    half = raised >> _U1
    first = float_from_bits((half + _U1023 - _U1024) << _U52)
    second = float_from_bits((raised - half + _U1023 - _U1024) << _U52)
    inverse_second = float_from_bits((_U1023 + _U1024 - (raised - half)) << _U52)
    return fma(first, small, first - inverse_second) * second


@inlined_kernel
def _exponent_and_mantissa(x: float) -> tuple[float, float]:
    """(k, m) with x = m·2^k and √½ ≤ m < √2, for finite x > 0, subnormal or not."""
    subnormal = x < _SMALLEST_NORMAL
    bits = float_bits(x * _TWO_54 if subnormal else x)
    offset = _TWO_52 + 1078.0 if subnormal else _TWO_52 + 1024.0
    shifted = bits - _BITS_SQRT_HALF + _BITS_1024
    exponent = float_from_bits((shifted >> _U52) | _BITS_TWO_52) - offset
    return exponent, float_from_bits((shifted & _MANTISSA) + _BITS_SQRT_HALF)


@inlined_kernel
def _log_limits(x: float, value: float) -> float:
    """Put log's values at 0, inf, NaN and below 0 in place of `value`."""
    value = value if x < INFINITY else x
    return value if x > 0.0 else (-INFINITY if x == 0.0 else NOT_A_NUMBER)


@inlined_kernel
def log(x: float) -> float:
    """Natural logarithm, ≤ 2 ulp; log(0) = −inf, log(inf) = inf, log(x < 0) = NaN. As in fdlibm's e_log.c."""
    exponent, mantissa = _exponent_and_mantissa(x)
    f = mantissa - 1.0
    s = f / (2.0 + f)
    z = s * s
    half_square = 0.5 * f * f
    series = z * polynomial(z, _LOG_SERIES)
    low = fma(exponent, _LN2_LOW, s * (half_square + series))
    return _log_limits(x, fma(exponent, _LN2_HIGH, f - (half_square - low)))


@inlined_kernel
def log_as_sum(x: float) -> tuple[float, float]:
    """(high, low) with log x = high + low to about 2^-58 relative, for finite x > 0."""
    exponent, mantissa = _exponent_and_mantissa(x)
    f = mantissa - 1.0
    under = mantissa + 1.0
    under_low = mantissa - (under - 1.0)
    reciprocal = 1.0 / under
    s = f * reciprocal
    s_low = fma(-s, under_low, fma(-s, under, f)) * reciprocal
    z = s * s
    low = fma(s, z * polynomial(z, _LOG_SERIES), 2.0 * s_low)
    whole = exponent * _LN2_HIGH
    first = fma(2.0, s, whole)
    second = fma(2.0, s, whole - first) + fma(exponent, _LN2_LOW, low)
    high = first + second
    return high, second - (high - first)


@inlined_kernel
def log1p(x: float) -> float:
    """log(1 + x), ≤ 3 ulp, also near 0; log1p(−1) = −inf, log1p(x < −1) = NaN."""
    whole = 1.0 + x
    part = whole - 1.0
    lost = (1.0 - (whole - part)) + (x - part)
    high, low = log_as_sum(whole)
    value = high + (low + lost / whole)
    value = value if whole > _SMALLEST_NORMAL else log(whole)
    value = value if whole < INFINITY else whole
    return value if x != 0.0 else x


@inlined_kernel
def power(x: float, y: float) -> float:
    """x^y = exp(y·log x) for x ≥ 0, ≤ 1e-14 relative, the logarithm being carried in two floats.

    x^0 = 1; 0^y = 0 and inf^y = inf for y > 0, the other way round for y < 0. NaN for x < 0, for a NaN (also
    where C's pow gives 1) and for 1^±inf.
    """
    log_high, log_low = log_as_sum(x)
    high = y * log_high
    value = exp_of_sum(high, fma(y, log_high, -high) + y * log_low)
    return _power_limits(x, y, value)


@inlined_kernel
def root(x: float, degree: float, reciprocal: float) -> float:
    """x^(1/degree) for x ≥ 0, ≤ 1e-14 relative whatever the degree; `reciprocal` is 1/degree, rounded.

    The rounding of the reciprocal is made good, so that root(power(t, k), k, 1/k) comes back to t. Limits
    as `power`.
    """
    log_high, log_low = log_as_sum(x)
    high = log_high * reciprocal
    value = exp_of_sum(high, (fma(-high, degree, log_high) + log_low) * reciprocal)
    return _power_limits(x, reciprocal, value)


@inlined_kernel
def root_of_expm1(x: float, degree: float, reciprocal: float) -> float:
    """(e^x − 1)^(1/degree) for x ≥ 0, ≤ 1e-14 relative, also where e^x overflows; see `root`."""
    long = x > 40.0
    odds = expm1(40.0 if long else x)
    log_high, log_low = log_as_sum(odds)
    log_high = x if long else log_high
    log_low = 0.0 if long else log_low
    high = log_high * reciprocal
    value = exp_of_sum(high, (fma(-high, degree, log_high) + log_low) * reciprocal)
    value = value if x < INFINITY else INFINITY
    value = value if x > 0.0 else 0.0
    return value if x >= 0.0 else NOT_A_NUMBER


@inlined_kernel
def _power_limits(x: float, y: float, value: float) -> float:
    """Put power's values at x = 0, inf, NaN and below 0 in place of `value`."""
    large = INFINITY if y > 0.0 else (0.0 if y < 0.0 else (1.0 if y == 0.0 else y))
    small = 0.0 if y > 0.0 else (INFINITY if y < 0.0 else (1.0 if y == 0.0 else y))
    value = value if x < INFINITY else large
    value = value if x > 0.0 else small
    return value if x >= 0.0 else NOT_A_NUMBER


# ----------------------------------------------------------------------------------------------- normal law


@inlined_kernel
def scaled_erfc(x: float) -> float:
    """e^(x²)·erfc(x) for x ≥ 0, ≤ 1e-15 relative; 1/(x√π) for large x."""
    bounded = x if x < 1e150 else 1e150
    t = (bounded - 3.75) / (bounded + 3.75)
    return polynomial(t, _MILLS_SERIES) / fma(2.0, bounded, 1.0)


@inlined_kernel
def _normal_tail(distance: float) -> float:
    """1 − Φ(distance) for distance ≥ 0, ≤ 4e-15 relative in the far tail."""
    square = distance * distance
    lost = fma(distance, distance, -square)
    return 0.5 * scaled_erfc(distance * _SQRT_HALF) * exp_of_sum(-0.5 * square, -0.5 * lost)


@inlined_kernel
def normal_cdf(z: float) -> float:
    """Φ(z) of the standard normal law, ≤ 1e-14 relative down to the smallest normal float."""
    tail = _normal_tail(-z if z < 0.0 else z)
    value = tail if z < 0.0 else 1.0 - tail
    return value if z == z else z


@inlined_kernel
def normal_hazard(z: float) -> float:
    """−log(1 − Φ(z)), the normal law's cumulative hazard, ≤ 1e-14 relative for z ≥ −30."""
    distance = -z if z < 0.0 else z
    upper = fma(0.5 * distance, distance, -log(0.5 * scaled_erfc(distance * _SQRT_HALF)))
    lower = -log1p(-_normal_tail(distance))
    value = lower if z < 0.0 else upper
    return value if z == z else z


@inlined_kernel
def tail_quantile(r: float) -> float:
    """The z > 0 with 1 − Φ(z) = e^(−r²), 1.6 ≲ r ≤ 27 (AS 241)."""
    near = r - 1.6
    far = r - 5.0
    over = polynomial(near, _TAIL_OVER) if r <= 5.0 else polynomial(far, _FAR_OVER)
    under = polynomial(near, _TAIL_UNDER) if r <= 5.0 else polynomial(far, _FAR_UNDER)
    return over / under


@inlined_kernel
def centre_quantile(q: float) -> float:
    """Φ⁻¹(1/2 + q) for |q| ≤ 0.425 (AS 241)."""
    r = fma(-q, q, 0.180625)
    return q * polynomial(r, _CENTRE_OVER) / polynomial(r, _CENTRE_UNDER)


@inlined_kernel
def normal_quantile(u: float) -> float:
    """Φ⁻¹(u), ≤ 1e-14 relative for u from 1e-300 to 1 − 2^-53; ∓inf at 0 and 1, NaN outside [0, 1]."""
    q = u - 0.5
    smaller = u if q < 0.0 else 1.0 - u
    tail = tail_quantile(sqrt(-log(smaller)))
    tail = -tail if q < 0.0 else tail
    value = centre_quantile(q) if fabs(q) <= 0.425 else tail
    value = value if smaller > 0.0 else (INFINITY if q > 0.0 else -INFINITY)
    return value if smaller >= 0.0 else NOT_A_NUMBER


@inlined_kernel
def normal_inverse_hazard(x: float) -> float:
    """The z with −log(1 − Φ(z)) = x, for x ≥ 0: error ≤ 1e-14 in z, relative where |z| > 1.

    Below x = 729 by AS 241, in the upper tail from x itself, so that nothing underflows. Beyond, one Newton
    step on the asymptotic series of Mills' ratio (NIST DLMF 7.12.1). −inf at 0, inf at inf.
    """
    negative_lower = expm1(-x)
    q = -(0.5 + negative_lower)
    upper = q > 0.0
    tail_log = x if upper else -log(-negative_lower)
    tail = tail_quantile(sqrt(tail_log))
    tail = tail if upper else -tail
    value = centre_quantile(q) if fabs(q) <= 0.425 else tail
    far = fma(2.0, x, -_LOG_2PI)
    log_far = log(far)
    w = far - log_far
    v = 1.0 / w
    series = v * polynomial(v, (-1.0, 2.5, -37.0 / 3.0, 88.25))
    # log w = log far + log(1 − log(far)/far); the second logarithm is short enough for its series.
    ratio = log_far / far
    log_w = log_far - ratio * polynomial(ratio, (1.0, 0.5, 1.0 / 3.0, 0.25, 0.2))
    w = w - ((w - far) + log_w - 2.0 * series) / polynomial(v, (1.0, 1.0, -2.0, 10.0))
    value = value if x < 700.0 else sqrt(w)
    value = value if x > 0.0 else -INFINITY
    value = value if x < INFINITY else INFINITY
    return value if x >= 0.0 else NOT_A_NUMBER


# --------------------------------------------------------------------------------------------- gamma family

# Temme 1979, "The asymptotic expansion of the incomplete gamma functions", SIAM J. Math. Anal. 10; NIST DLMF
# 8.12.7–8.12.10: Taylor coefficients in η of c_0(η) … c_9(η), kept as far as 1e-17 at a ≥ 30, |η| ≤ 0.72.
_TEMME_0 = (
    -0.3333333333333333, 0.08333333333333333, -0.014814814814814815, 0.0011574074074074073,
    0.0003527336860670194, -0.0001787551440329218, 3.919263178522438e-05, -2.185448510679992e-06,
    -1.85406221071516e-06, 8.296711340953087e-07, -1.7665952736826078e-07, 6.707853543401498e-09,
    1.0261809784240309e-08, -4.382036018453353e-09, 9.14769958223679e-10, -2.5514193994946248e-11,
    -5.830772132550426e-11, 2.4361948020667415e-11, -5.0276692801141755e-12, 1.1004392031956135e-13,
    3.371763262400985e-13, -1.392388722418162e-13, 2.8534893807047445e-14,
)  # fmt: skip

_TEMME_1 = (
    -0.001851851851851852, -0.003472222222222222, 0.0026455026455026454, -0.0009902263374485596,
    0.00020576131687242798, -4.018775720164609e-07, -1.8098550334489977e-05, 7.64916091608111e-06,
    -1.6120900894563446e-06, 4.647127802807434e-09, 1.378633446915721e-07, -5.752545603517705e-08,
    1.1951628599778148e-08, -1.7543241719747647e-11, -1.0091543710600413e-09, 4.162792991842583e-10,
    -8.56390702649298e-11, 6.067215101604758e-14, 7.1624989648114856e-12, -2.933186643771437e-12,
    5.996696365683689e-13,
)  # fmt: skip

_TEMME_2 = (
    0.004133597883597883, -0.0026813271604938273, 0.0007716049382716049, 2.0093878600823047e-06,
    -0.0001073665322636516, 5.2923448829120125e-05, -1.2760635188618728e-05, 3.423578734096138e-08,
    1.3721957309062934e-06, -6.298992138380055e-07, 1.4280614206064242e-07, -2.0477098421990866e-10,
    -1.409252991086752e-08, 6.228974084922022e-09, -1.3670488396617114e-09, 9.428356159014678e-13,
    1.2872252400089318e-10, -5.5645956134363323e-11, 1.197593554636698e-11,
)  # fmt: skip

_TEMME_3 = (
    0.0006494341563786008, 0.00022947209362139917, -0.0004691894943952557, 0.00026772063206283885,
    -7.561801671883977e-05, -2.396505113867297e-07, 1.1082654115347302e-05, -5.6749528269915965e-06,
    1.4230900732435883e-06, -2.7861080291528143e-11, -1.6958404091930278e-07, 8.099464905388083e-08,
    -1.9111168485973655e-08, 2.3928620439808118e-12, 2.0620131815488797e-09, -9.460496661855133e-10,
    2.1541049775774907e-10,
)  # fmt: skip

_TEMME_4 = (
    -0.0008618882909167117, 0.0007840392217200666, -0.0002990724803031902, -1.4638452578843418e-06,
    6.641498215465122e-05, -3.968365047179435e-05, 1.1375726970678419e-05, 2.507497226237533e-10,
    -1.6954149536558305e-06, 8.907507532205309e-07, -2.292934834000805e-07, 2.956794137544049e-11,
    2.8865829742708783e-08, -1.4189739437803219e-08, 3.4463580499464896e-09,
)  # fmt: skip

_TEMME_5 = (
    -0.00033679855336635813, -6.972813758365857e-05, 0.0002772753244959392, -0.00019932570516188847,
    6.797780477937208e-05, 1.419062920643967e-07, -1.3594048189768693e-05, 8.018470256334202e-06,
    -2.291481176508095e-06, -3.252473551298454e-10, 3.4652846491085265e-07, -1.8447187191171344e-07,
    4.8240967037894184e-08,
)  # fmt: skip

_TEMME_6 = (
    0.0005313079364639922, -0.0005921664373536939, 0.0002708782096718045, 7.902353232660328e-07,
    -8.153969367561969e-05, 5.61168275310625e-05, -1.8329116582843375e-05, -3.0796134506033047e-09,
    3.465155368803609e-06, -2.0291327396058603e-06, 5.788792863149004e-07,
)  # fmt: skip

_TEMME_7 = (
    0.00034436760689237765, 5.171790908260592e-05, -0.00033493161081142234, 0.0002812695154763237,
    -0.00010976582244684731, -1.2741009095484485e-07, 2.7744451511563645e-05, -1.8263488805711332e-05,
    5.7876949497350525e-06,
)  # fmt: skip

_TEMME_8 = (
    -0.0006526239185953094, 0.0008394987206720873, -0.000438297098541721, -6.969091458420552e-07,
    0.00016644846642067547, -0.00012783517679769218,
)  # fmt: skip

_TEMME_9 = (
    -0.0005967612901927463, -7.204895416020011e-05, 0.0006782308837667328, -0.0006401475260262758,
)  # fmt: skip
_STIRLING_SERIES = (
    1.0 / 12.0, -1.0 / 360.0, 1.0 / 1260.0, -1.0 / 1680.0, 1.0 / 1188.0, -691.0 / 360360.0, 1.0 / 156.0,
    -3617.0 / 122400.0,
)  # fmt: skip
"""log Γ(a) − (a − ½)·log a + a − ½·log 2π in 1/a² (NIST DLMF 5.11.1), used for a ≥ 10."""


@kernel
def _stirling_error(a: float) -> float:
    """log Γ(a) − (a − ½)·log a + a − ½·log 2π for a ≥ 10."""
    inverse = 1.0 / a
    return inverse * polynomial(inverse * inverse, _STIRLING_SERIES)


@kernel
def log_gamma(a: float) -> float:
    """log Γ(a) for a > 0; error ≤ 1e-14·max(1, |log Γ(a)|). inf at 0 and inf, NaN below 0."""
    if not a > 0.0:
        return INFINITY if a == 0.0 else NOT_A_NUMBER
    if a == INFINITY:
        return a
    product = 1.0
    shifted = a
    while shifted < 10.0:
        product *= shifted
        shifted += 1.0
    error = _stirling_error(shifted) - log(product)
    return (shifted - 0.5) * (log(shifted) - 1.0) + (_HALF_LOG_2PI - 0.5) + error


@kernel
def _excess(rho: float) -> float:
    """e^ρ − 1 − ρ, relative error ≤ 1e-15."""
    d = expm1(rho)
    if d < -0.29 or d > 0.41:
        return d - rho
    s = d / (2.0 + d)
    z = s * s
    return s * (d - z * polynomial(z, _LOG_SERIES))


@kernel
def _log_gamma_density(a: float, rho: float) -> float:
    """log of x^a·e^(−x)/Γ(a) at x = a·e^ρ."""
    if a >= 10.0:
        return 0.5 * (log(a) - _LOG_2PI) - a * _excess(rho) - _stirling_error(a)
    return a * (rho + log(a)) - a * exp(rho) - log_gamma(a)


@kernel
def _log_complement(log_probability: float) -> float:
    """log(1 − e^L) for L ≤ 0."""
    if log_probability > -LN2:
        return log(-expm1(log_probability))
    return log1p(-exp(log_probability))


@kernel
def _temme_sum(eta: float, inverse_a: float) -> float:
    """Σ c_k(η)·a^(−k) of NIST DLMF 8.12.7 for a ≥ 30 and |η| ≤ 0.72."""
    value = polynomial(eta, _TEMME_9)
    value = fma(value, inverse_a, polynomial(eta, _TEMME_8))
    value = fma(value, inverse_a, polynomial(eta, _TEMME_7))
    value = fma(value, inverse_a, polynomial(eta, _TEMME_6))
    value = fma(value, inverse_a, polynomial(eta, _TEMME_5))
    value = fma(value, inverse_a, polynomial(eta, _TEMME_4))
    value = fma(value, inverse_a, polynomial(eta, _TEMME_3))
    value = fma(value, inverse_a, polynomial(eta, _TEMME_2))
    value = fma(value, inverse_a, polynomial(eta, _TEMME_1))
    return fma(value, inverse_a, polynomial(eta, _TEMME_0))


@kernel
def log_gamma_tails(a: float, rho: float) -> tuple[float, float]:
    """(log P(a, x), log Q(a, x)) at x = a·e^ρ, for a > 0: both tails in logarithms, so that none underflows.

    Error of each logarithm ≤ 1e-12 relative for a ≥ 0.05, the argument ρ = log(x/a) taken as exact.
    Near the centre of a large shape Temme's uniform expansion, else the series below and Lentz' continued
    fraction above (NIST DLMF 8.11.4, 8.9.2).
    """
    if rho == -INFINITY:
        return -INFINITY, 0.0
    if rho == INFINITY:
        return 0.0, -INFINITY
    excess = _excess(rho)
    if a >= 30.0 and excess <= 0.245:
        eta = sqrt(2.0 * excess)
        distance = eta * sqrt(0.5 * a)
        signed = _temme_sum(eta if rho > 0.0 else -eta, 1.0 / a) / sqrt(a * 6.283185307179586)
        tail = 0.5 * scaled_erfc(distance) + (signed if rho > 0.0 else -signed)
        log_tail = log(tail) - a * excess
        if rho > 0.0:
            return _log_complement(log_tail), log_tail
        return log_tail, _log_complement(log_tail)
    log_density = _log_gamma_density(a, rho)
    x = a * exp(rho)
    if x < a + 1.0:
        term = 1.0 / a
        total = term
        n = a
        while term > 1e-17 * total:
            n += 1.0
            term *= x / n
            total += term
        log_lower = log_density + log(total)
        log_lower = log_lower if log_lower < 0.0 else 0.0
        return log_lower, _log_complement(log_lower)
    if log_density == -INFINITY:
        return 0.0, -INFINITY
    b = x + 1.0 - a
    c = 1e300
    d = 1.0 / b
    fraction = d
    for i in range(1, 10_000):
        numerator = -i * (i - a)
        b += 2.0
        d = 1.0 / fma(numerator, d, b)
        c = b + numerator / c
        change = c * d
        fraction *= change
        if fabs(change - 1.0) < 2e-16:
            break
    log_upper = log_density + log(fraction)
    log_upper = log_upper if log_upper < 0.0 else 0.0
    return _log_complement(log_upper), log_upper


@kernel
def gamma_lower(a: float, x: float) -> float:
    """Regularised lower incomplete gamma function P(a, x), a > 0, x ≥ 0 (scipy.special.gammainc)."""
    if not (a > 0.0 and x >= 0.0):
        return NOT_A_NUMBER
    log_lower, _ = log_gamma_tails(a, log(x / a))
    return exp(log_lower)


@kernel
def gamma_upper(a: float, x: float) -> float:
    """Regularised upper incomplete gamma function Q(a, x), a > 0, x ≥ 0 (scipy.special.gammaincc)."""
    if not (a > 0.0 and x >= 0.0):
        return NOT_A_NUMBER
    _, log_upper = log_gamma_tails(a, log(x / a))
    return exp(log_upper)


@kernel
def log_gamma_inverse(a: float, log_lower: float, log_upper: float) -> float:
    """The ρ with log_gamma_tails(a, ρ) = (log_lower, log_upper), both given so that neither is rounded away.

    Newton's method on the smaller tail's logarithm (concave below, convex above), kept inside a bracket, from
    Wilson and Hilferty's start or the power law of small x. ±inf at the ends. Error of x = a·e^ρ ≤ 1e-10
    relative, in truth near the conditioning of the problem.
    """
    if log_upper == -INFINITY:
        return INFINITY
    if log_lower == -INFINITY:
        return -INFINITY
    upper = log_upper < log_lower
    hazard = -log_upper
    deviate = normal_inverse_hazard(hazard) if upper else -normal_inverse_hazard(-log_lower)
    argument = deviate / (3.0 * sqrt(a)) - 1.0 / (9.0 * a)
    power_law = (log_lower + log_gamma(a + 1.0)) / a - log(a)
    if argument > -0.5 and a > 0.5:
        rho = 3.0 * log1p(argument)
    else:
        rho = power_law
    bound = log1p(hazard / a + sqrt(2.0 * hazard / a))  # Boucheron, Lugosi and Massart 2013, section 2.4
    rho = rho if rho < bound else bound
    low = -INFINITY
    high = INFINITY
    tolerance = 1e-15 / sqrt(a) if a > 1.0 else 1e-15
    for _ in range(200):
        tail_lower, tail_upper = log_gamma_tails(a, rho)
        log_density = _log_gamma_density(a, rho)
        if upper:
            gap = log_upper - tail_upper
            step = gap / exp(log_density - tail_upper)
        else:
            gap = tail_lower - log_lower
            step = gap / exp(log_density - tail_lower)
        if gap > 0.0:
            high = rho
        elif gap < 0.0:
            low = rho
        else:
            return rho
        following = rho - step
        if not (low < following < high):
            if low == -INFINITY or high == INFINITY:
                following = rho - 1.0 if gap > 0.0 else rho + 1.0
            else:
                following = 0.5 * (low + high)
        moved = fabs(following - rho)
        rho = following
        if moved <= tolerance + 4e-16 * fabs(rho):
            return rho
    return rho


@kernel
def gamma_lower_inverse(a: float, probability: float) -> float:
    """The x with P(a, x) = probability, ≤ 1e-10 relative (scipy.special.gammaincinv); 0 at 0, inf at 1."""
    if not (a > 0.0 and 0.0 <= probability <= 1.0):
        return NOT_A_NUMBER
    return a * exp(log_gamma_inverse(a, log(probability), log1p(-probability)))


@kernel
def gamma_upper_inverse(a: float, probability: float) -> float:
    """The x with Q(a, x) = probability, ≤ 1e-10 relative (scipy.special.gammainccinv); inf at 0, 0 at 1."""
    if not (a > 0.0 and 0.0 <= probability <= 1.0):
        return NOT_A_NUMBER
    return a * exp(log_gamma_inverse(a, log1p(-probability), log(probability)))
