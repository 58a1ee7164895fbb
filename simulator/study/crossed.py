"""Spreads of a crossed design: draws of parameters × replicate studies that share random numbers.

Draw i of D and replicate j of R give y_ij = μ + a_i + b_j + e_ij: what the parameters of a draw do, what the random
numbers of a replicate do to all draws alike, and the rest. With the mean squares of a two-way layout with one number a
cell (Searle, Casella & McCulloch 1992, Variance Components, ch. 4)

    A = R·Σ(ȳ_i· − ȳ)²/(D − 1),  B = D·Σ(ȳ_·j − ȳ)²/(R − 1),  E = Σ(y_ij − ȳ_i· − ȳ_·j + ȳ)²/((D − 1)(R − 1))

    study sampling   σ_b² + σ_e² = (B − E)/D + E            how studies of one draw vary
    parameters       σ_a²        = (A − E)/R, at least 0     how draws vary, apart from random numbers
    Monte Carlo      σ_a²/D + σ_b²/R + σ_e²/(D·R) = (A + B − E)/(D·R)   variance of ȳ; falls with D and R

Since all draws have the same random numbers, b_j drops out of every difference between draws: E, not A, carries it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from simulator.tables import Flags, Floats


@dataclass(frozen=True)
class Spreads:
    """Standard deviations apart, and the error of the mean; those of the first two by the delta method.

    NaN where they do not exist: fewer than two draws or replicates, or too few finite numbers.
    """

    mean: float
    study: float
    study_error: float
    parameter: float
    parameter_error: float
    monte_carlo: float


_UNKNOWN = Spreads(*[math.nan] * 6)


def spreads(values: Floats) -> Spreads:
    """Return the spreads of numbers (draws, replicates) where they are finite.

    The mean is that of the finite numbers. Numbers that are not finite are missing plots (Yates 1933): filled in by
    least squares with ȳ_i· + ȳ_·j − ȳ, each takes a degree of freedom from E. Draws and replicates without any finite
    number are left out.
    """
    finite = np.isfinite(values)
    finite = finite[np.ix_(finite.any(axis=1), finite.any(axis=0))]
    y = values[np.ix_(np.isfinite(values).any(axis=1), np.isfinite(values).any(axis=0))]
    d, r = y.shape
    if d < 1 or r < 1:
        return _UNKNOWN
    known, y = float(y[finite].mean()), _filled(y, finite)
    freedom = (d - 1) * (r - 1) - int((~finite).sum())
    if d == 1 or r == 1 or freedom < 1:
        return Spreads(known, *[math.nan] * 5)
    mean, rows, columns = float(y.mean()), y.mean(axis=1), y.mean(axis=0)
    a = float(r * np.sum((rows - mean) ** 2) / (d - 1))
    b = float(d * np.sum((columns - mean) ** 2) / (r - 1))
    e = float(np.sum((y - rows[:, None] - columns[None, :] + mean) ** 2) / freedom)
    var_a, var_b, var_e = 2 * a**2 / (d - 1), 2 * b**2 / (r - 1), 2 * e**2 / freedom
    study, of_study = (b - e) / d + e, math.sqrt(var_b + (d - 1) ** 2 * var_e) / d
    parameter, of_parameter = max((a - e) / r, 0.0), math.sqrt(var_a + var_e) / r
    return Spreads(
        known,
        math.sqrt(max(study, 0.0)),
        _of_root(max(study, 0.0), of_study),
        math.sqrt(parameter),
        _of_root(parameter, of_parameter),
        math.sqrt(max(a + b - e, e) / (d * r)),
    )


MOST_STEPS = 200


def _filled(y: Floats, finite: Flags) -> Floats:
    """Numbers with the missing ones where the additive model of the others puts them."""
    if finite.all():
        return y
    filled = np.where(finite, y, y[finite].mean())
    for _ in range(MOST_STEPS):
        fitted = filled.mean(axis=1)[:, None] + filled.mean(axis=0)[None, :] - filled.mean()
        change = np.abs(fitted - filled)[~finite].max()
        filled = np.where(finite, y, fitted)
        if change <= 1e-12 * np.abs(filled).max():
            break
    return filled


def _of_root(variance: float, error: float) -> float:
    """Error of a standard deviation from that of its square; its own size where the square is within its error of 0."""
    if error == 0.0:
        return 0.0
    return error / (2.0 * math.sqrt(variance)) if variance > error else math.sqrt(error)


def error_of_share(flags: Floats) -> float:
    """Return the standard error of the mean of shares 0 to 1 (draws, replicates), NaN where one is undefined.

    Of one draw, that of independent replicates.
    """
    known = flags[~np.isnan(flags)]
    if known.size == 0:
        return math.nan
    share = float(known.mean())
    if flags.shape[0] == 1:
        return math.sqrt(share * (1.0 - share) / known.size)
    found = spreads(flags).monte_carlo
    # Draws of which some studies are undefined leave no crossed design: as if each draw were a single study.
    return math.sqrt(share * (1.0 - share) / flags.shape[0]) if math.isnan(found) else found
