"""A baseline hazard under a mixture. Knows survival curves on a grid; knows nothing of what they mean."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simulator.kernels.compilation import kernel
from simulator.kernels.elementary import exp, log

Floats = NDArray[np.float64]

NEWTON_STEPS = 60


@kernel
def baseline_hazard(marginal: Floats, onset: Floats, atom: Floats, ratio: float) -> Floats:
    """Cumulative baseline hazard H₀ such that a mixture over a multiplier has a given survival.

    The living are those without the multiplier, ``(1 − G(t))·exp(−H₀(t))``, and those with it since s,
    ``∫₀ᵗ exp(−H₀(s) − r·(H₀(t) − H₀(s))) dG(s)``. Solved forward, one knot at a time, by Newton's method on
    the logarithm of survival, so that the mixture equals ``marginal`` at every knot.

    Parameters
    ----------
    marginal : survival at the knots, (n,), 1 at the first, not increasing.
    onset : G at the knots, (n,): probability that the multiplier has set in, absent death; G[0] = 0.
    atom : mass of G that sits exactly on a knot, (n,).
    ratio : hazard ratio r > 0 of the multiplier.

    Returns
    -------
    H₀ at the knots, (n,), not decreasing.
    """
    n = marginal.size
    hazard = np.zeros(n)
    carried = 0.0  # share alive with the multiplier at the last knot
    for i in range(1, n):
        previous = hazard[i - 1]
        if marginal[i] <= 0.0:
            hazard[i] = previous
            continue
        spread = onset[i] - onset[i - 1] - atom[i]
        fresh = 1.0 - onset[i] + 0.5 * spread + atom[i]
        held = carried + 0.5 * spread * exp(-previous)
        target = log(marginal[i])
        h = previous + (previous - hazard[i - 2] if i > 1 else 0.0)
        for _ in range(NEWTON_STEPS):
            a, b = fresh * exp(-h), held * exp(-ratio * (h - previous))
            step = (log(a + b) - target) * (a + b) / (a + ratio * b)
            h = h + step
            if abs(step) <= 1e-14 * (1.0 + h):
                break
        h = max(h, previous)
        hazard[i] = h
        carried = held * exp(-ratio * (h - previous)) + (0.5 * spread + atom[i]) * exp(-h)
    return hazard


@kernel
def mixture_survival(hazard: Floats, onset: Floats, atom: Floats, ratio: float) -> Floats:
    """Survival of the mixture at the knots for a given baseline: the inverse question, same quadrature."""
    n = hazard.size
    survival = np.ones(n)
    carried = 0.0
    for i in range(1, n):
        spread = onset[i] - onset[i - 1] - atom[i]
        kept = exp(-ratio * (hazard[i] - hazard[i - 1]))
        carried = (carried + 0.5 * spread * exp(-hazard[i - 1])) * kept
        carried = carried + (0.5 * spread + atom[i]) * exp(-hazard[i])
        survival[i] = (1.0 - onset[i]) * exp(-hazard[i]) + carried
    return survival


def negative_exponential(hazard: Floats) -> Floats:
    """exp(−H), element by element, in the same arithmetic as the engines."""
    return _negative_exponential(np.ascontiguousarray(hazard, dtype=np.float64).ravel()).reshape(np.shape(hazard))


@kernel
def _negative_exponential(hazard: Floats) -> Floats:
    out = np.empty(hazard.size)
    for i in range(hazard.size):
        out[i] = exp(-hazard[i])
    return out


@kernel
def convolved(mass: Floats, step: Floats) -> Floats:
    """Distribution of a sum on the grid: mass (n,) of one term, step (m,) of the other; cut at n."""
    n = mass.size
    out = np.zeros(n)
    for i in range(n):
        if mass[i] > 0.0:
            for j in range(min(step.size, n - i)):
                out[i + j] += mass[i] * step[j]
    return out


@kernel
def renewal_mass(step: Floats, n: int) -> Floats:
    """Expected number of visits at each grid point, the one at 0 included: m = δ₀ + step ∗ m (step[0] = 0)."""
    mass = np.zeros(n)
    mass[0] = 1.0
    for i in range(1, n):
        total = 0.0
        for j in range(1, min(step.size, i + 1)):
            total += step[j] * mass[i - j]
        mass[i] = total
    return mass


@kernel
def seen_mass(visits: Floats, step: Floats, gained: Floats, kept: Floats) -> Floats:
    """Mass of onsets first seen at each grid point.

    An onset in (u, v] is seen at v when u and v are successive visits: ``kept(v)·Σ_u m(u)·f(v − u)·(A(v) −
    A(u))`` with A the onsets weighted by 1/kept at onset (``gained``) and kept the chance to be seen still.
    """
    n = visits.size
    seen = np.zeros(n)
    for v in range(1, n):
        total = 0.0
        for j in range(1, min(step.size, v + 1)):
            total += visits[v - j] * step[j] * (gained[v] - gained[v - j])
        seen[v] = total * kept[v]
    return seen
