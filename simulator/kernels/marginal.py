"""A baseline hazard under a mixture.

Arrays are (points, elements): an element of a batch is one curve, and all of a call are computed together, each by the
arithmetic that it would have alone. Loops over elements hold few arrays each, so that they vectorise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simulator.kernels.compilation import kernel
from simulator.kernels.elementary import exp, log

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

NEWTON_STEPS = 60
NOBODY = 1e-290
"""A survival below this is nobody's: near the smallest numbers a logarithm has no digits left."""


@kernel
def baseline_hazards(marginal: Floats, onset: Floats, atom: Floats, ratio: Floats) -> Floats:
    """Cumulative baseline hazards H₀ such that a mixture over a multiplier has a given survival.

    The living are those without the multiplier, ``(1 − G(t))·exp(−H₀(t))``, and those with it since s,
    ``∫₀ᵗ exp(−H₀(s) − r·(H₀(t) − H₀(s))) dG(s)``. Solved forward, one knot at a time, by Newton's method on
    the logarithm of survival, so that the mixture equals ``marginal`` at every knot.

    Parameters
    ----------
    marginal : survival at the knots, (n, L), 1 at the first, not increasing.
    onset : G at the knots, (n, L): probability that the multiplier has set in, absent death; G[0] = 0.
    atom : mass of G that sits exactly on a knot, (n, L).
    ratio : hazard ratio r > 0 of the multiplier, (L,).

    Returns
    -------
    H₀ at the knots, (n, L), not decreasing.
    """
    n, width = marginal.shape
    hazard = np.zeros((n, width))
    carried = np.zeros(width)  # share alive with the multiplier at the last knot
    spread, fresh, held, target, h, a, b, step = (
        np.empty(width),
        np.empty(width),
        np.empty(width),
        np.empty(width),
        np.empty(width),
        np.empty(width),
        np.empty(width),
        np.empty(width),
    )
    moving = np.empty(width, np.int64)
    for i in range(1, n):
        previous, before_that, new = hazard[i - 1], hazard[max(i - 2, 0)], hazard[i]
        survival, now, before, jump = marginal[i], onset[i], onset[i - 1], atom[i]
        for k in range(width):
            spread[k] = now[k] - before[k] - jump[k]
        for k in range(width):
            fresh[k] = 1.0 - now[k] + 0.5 * spread[k] + jump[k]
        for k in range(width):
            held[k] = carried[k] + 0.5 * spread[k] * exp(-previous[k])
        for k in range(width):
            target[k] = log(survival[k])
        for k in range(width):
            h[k] = previous[k] + (previous[k] - before_that[k])
        for k in range(width):
            moving[k] = 1 if survival[k] > NOBODY else 0
        for _ in range(NEWTON_STEPS):
            for k in range(width):
                a[k] = fresh[k] * exp(-h[k])
            for k in range(width):
                b[k] = held[k] * exp(-ratio[k] * (h[k] - previous[k]))
            for k in range(width):
                step[k] = log(a[k] + b[k]) - target[k]
            for k in range(width):
                step[k] = step[k] * (a[k] + b[k]) / (a[k] + ratio[k] * b[k])
            for k in range(width):
                h[k] = h[k] + step[k] if moving[k] != 0 else h[k]
            left = 0
            for k in range(width):
                moving[k] = moving[k] if abs(step[k]) > 1e-14 * (1.0 + h[k]) else 0
                left += moving[k]
            if left == 0:
                break
        for k in range(width):
            new[k] = max(h[k], previous[k]) if survival[k] > NOBODY else previous[k]
        for k in range(width):
            a[k] = held[k] * exp(-ratio[k] * (new[k] - previous[k]))
        for k in range(width):
            b[k] = (0.5 * spread[k] + jump[k]) * exp(-new[k])
        for k in range(width):
            carried[k] = a[k] + b[k] if survival[k] > NOBODY else carried[k]
    return hazard


@kernel
def mixture_survival(hazard: Floats, onset: Floats, atom: Floats, ratio: Floats) -> Floats:
    """Survival of a mixture over a multiplier, (n, L), for a given baseline: what `baseline_hazards` inverts.

    ``hazard`` is H₀ at the knots, (n, L); the other arguments, and the trapezoids, are those of `baseline_hazards`.
    """
    n, width = hazard.shape
    survival = np.ones((n, width))
    carried, spread = np.zeros(width), np.empty(width)  # share alive with the multiplier; mass of onset off the knots
    for i in range(1, n):
        previous, new, out = hazard[i - 1], hazard[i], survival[i]
        now, before, jump = onset[i], onset[i - 1], atom[i]
        for k in range(width):
            spread[k] = now[k] - before[k] - jump[k]
        for k in range(width):
            carried[k] = carried[k] + 0.5 * spread[k] * exp(-previous[k])
        for k in range(width):
            carried[k] = carried[k] * exp(-ratio[k] * (new[k] - previous[k]))
        for k in range(width):
            carried[k] = carried[k] + (0.5 * spread[k] + jump[k]) * exp(-new[k])
        for k in range(width):
            out[k] = (1.0 - now[k]) * exp(-new[k]) + carried[k]
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
def onset_distribution(incidence: Floats, free: Floats, probability: Floats) -> Floats:
    """G = ∫ p·free dF on the grid, (n, L): the multiplier comes to a share ``probability`` (L,) at times of law F.

    ``free`` (n, L) is the chance that nothing has competed by then. Trapezoids.
    """
    n, width = incidence.shape
    onset = np.zeros((n, width))
    for i in range(1, n):
        now, before, risen, last = onset[i], onset[i - 1], incidence[i], incidence[i - 1]
        for k in range(width):
            now[k] = (risen[k] - last[k]) * 0.5
        kept, kept_before = free[i], free[i - 1]
        for k in range(width):
            now[k] = now[k] * (kept[k] + kept_before[k]) * probability[k]
        for k in range(width):
            now[k] = now[k] + before[k]
    return onset


@kernel
def convolved(mass: Floats, step: Floats) -> Floats:
    """Distribution of a sum on the grid: mass (n,) of one term, step (m,) of the other; cut at n."""
    n = mass.size
    out = np.zeros(n)
    first = 0
    while first < step.size - 1 and step[first] == 0.0:
        first += 1
    for i in range(n):
        if mass[i] > 0.0:
            for j in range(first, min(step.size, n - i)):
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
def seen_masses(
    visits: Floats,
    step: Floats,
    onset: Floats,
    hazard: Floats,
    before: Floats,
    after: Floats,
    still: Floats,
    ratio: Floats,
    followed: int,
) -> Floats:
    """Mass of onsets first seen at each grid point, (n, L); nothing is seen from point ``followed`` on.

    An onset in (u, v] is seen at v when u and v are successive visits, which have the mass ``visits`` (n,) and the
    intervals ``step`` (m,): ``kept(v)·Σ_u m(u)·f(v − u)·(A(v) − A(u))`` with A the onsets weighted by 1/kept at
    onset and kept the chance to be alive and in the multiplier's state still. Without visits (n = 0) an onset is
    seen when it happens.

    Parameters
    ----------
    hazard : of the solved death before the multiplier, (n, L); times ``ratio`` (L,) after it.
    before, after : of other deaths, (n, L). ``still``: of leaving the multiplier's state, (n, L).
    """
    n, width = onset.shape
    seen, gained = np.zeros((n, width)), np.zeros((n, width))
    alive, kept = np.empty(width), np.empty(width)
    first = 1
    while first < step.size - 1 and step[first] == 0.0:
        first += 1
    for v in range(followed):
        row, own, other = seen[v], hazard[v], before[v]
        for k in range(width):
            alive[k] = exp(-(other[k] + own[k]))
        now, last = onset[v], onset[max(v - 1, 0)]
        for k in range(width):
            alive[k] = (now[k] - (last[k] if v > 0 else 0.0)) * alive[k]
        if visits.size == 0:
            for k in range(width):  # a slice would compile numba's general assignment, 2 s
                row[k] = alive[k]
            continue
        other, leaving, total, so_far = after[v], still[v], gained[v], gained[max(v - 1, 0)]
        for k in range(width):
            kept[k] = exp(-(other[k] + ratio[k] * own[k] + leaving[k]))
        for k in range(width):
            total[k] = so_far[k] + alive[k] / max(kept[k], 1e-300)
        for j in range(first, min(step.size, v + 1)):
            weight, then = visits[v - j] * step[j], gained[v - j]
            if weight != 0.0:
                for k in range(width):
                    row[k] += weight * (total[k] - then[k])
        for k in range(width):
            row[k] = row[k] * kept[k]
    return seen


@kernel
def totals(mass: Floats, at: Integers) -> tuple[Floats, Floats]:
    """Sum of each element's mass (n, L), and how much more than half of it lies below a point (L,), itself by half."""
    n, width = mass.shape
    whole, below = np.zeros(width), np.zeros(width)
    for i in range(n):
        for k in range(width):
            whole[k] += mass[i, k]
        for k in range(width):
            if at[k] == i:
                below[k] = whole[k] - 0.5 * mass[i, k]
    for k in range(width):
        below[k] -= 0.5 * whole[k]
    return whole, below


@kernel
def chances(visit: Floats, never: float, free: Floats, ever: float, will: Floats) -> float:
    """∫ (never·free + ever·will) dV over the mass of a visit's time, all (n,)."""
    total = 0.0
    for i in range(visit.size):
        total += visit[i] * (never * free[i] + ever * will[i])
    return total
