"""Ends of confidence intervals as papers print them, around Kaplan–Meier estimates.

With S the product-limit estimate, σ² = Σ dᵢ/(nᵢ(nᵢ − dᵢ)) (Greenwood 1926) and z the normal quantile of the level:

- ``plain``: S ± z·S·σ
- ``log``: S·exp(±z·σ), the default of R's ``survfit``
- ``log_log``: S^exp(±z·σ/log S) (Kalbfleisch & Prentice 2002, 1.4), the default of SAS and lifelines

cut to 0 and 1. An end of the interval of a median is the first time at which the curve of the same ends is at most one
half (Brookmeyer & Crowley 1982): +inf, "not reached", if it never is. Where S is 0 the lower end is 0 and there is no
upper one, as in R. Beyond all follow-up there is neither end (`study.survival`), unless the last value is extended.
"""

from __future__ import annotations

import math

import numpy as np

from simulator.kernels.compilation import kernel
from simulator.kernels.elementary import exp, float_from_bits, log, normal_quantile
from simulator.study.survival import HALF_TOLERANCE, Keys, Ordered
from simulator.tables import Floats, Integers

SCALES = ("plain", "log", "log_log")


def median_end(group: Ordered, *, upper: bool, level: float, scale: str) -> Floats:
    """Lower or upper end of the interval of a median, shape (R,), days; +inf not reached, NaN in an empty group."""
    code, z = SCALES.index(scale), distance(level, upper=upper)
    return _ends(group.key, group.size, 0.5 + HALF_TOLERANCE, math.nan, z, code, False)


def landmark_end(group: Ordered, at: float, *, upper: bool, level: float, scale: str, extend: bool = False) -> Floats:
    """Lower or upper end of the interval of survival at one time, shape (R,).

    NaN if nobody is there, beyond all follow-up (without ``extend``), and for the upper end where S is 0.
    """
    code, z = SCALES.index(scale), distance(level, upper=upper)
    return _ends(group.key, group.size, math.nan, at, z, code, extend)


def distance(level: float, *, upper: bool) -> float:
    """Standard errors from the estimate to an end of its interval, negative for the lower."""
    z = float(normal_quantile((1.0 + level) / 2.0))
    return z if upper else -z


@kernel
def _end(survival: float, variance: float, z: float, scale: int) -> float:
    """End of the interval of survival, ``variance`` that of its logarithm, ``z`` errors above it (or below it)."""
    if survival <= 0.0:
        return 0.0 if z < 0.0 else np.nan
    if survival >= 1.0:
        return 1.0
    error = math.sqrt(variance)
    if scale == 0:
        end = survival + z * survival * error
    elif scale == 1:
        end = survival * exp(z * error)
    else:
        end = exp(log(survival) * exp(z * error / log(survival)))
    return min(max(end, 0.0), 1.0)


@kernel
def _ends(key: Keys, size: Integers, half: float, at: float, z: float, scale: int, extend: bool) -> Floats:
    """First time at which the curve of ends is at most ``half``, or, if that is NaN, the curve of ends at ``at``."""
    out = np.empty(size.size)
    one = np.uint64(1)
    for row in range(size.size):
        n, i, survival, variance, last = size[row], 0, 1.0, 0.0, 0.0
        if n == 0:
            out[row] = np.nan
            continue
        found = np.inf
        while n > 0:
            bits = key[row, i] >> one
            last = float_from_bits(bits)
            if last > at:
                break
            fallen = False
            while n > 0 and key[row, i] >> one == bits:
                if key[row, i] & one == np.uint64(0):
                    survival *= (n - 1) / n
                    variance += 1 / (n * (n - 1)) if n > 1 else 0.0
                    fallen = True
                n -= 1
                i += 1
            if fallen and _end(survival, variance, z, scale) <= half:
                found = float_from_bits(bits)
                break
        if at != at:
            out[row] = found
        elif extend or survival == 0.0 or last >= at:
            out[row] = _end(survival, variance, z, scale)
        else:
            out[row] = np.nan
    return out
