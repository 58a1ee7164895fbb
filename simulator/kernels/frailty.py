"""Who ever has something that each of several occasions may bring, with a shared probit frailty."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simulator.kernels.compilation import kernel
from simulator.kernels.elementary import normal_cdf

Floats = NDArray[np.float64]

LARGEST = 12.0
"""Thresholds are looked for between this and its negative: Φ there is 1 and 0 but for 2e-33."""
HALVINGS = 60


@kernel
def thresholds(rate: Floats, numbers: Floats, frailty: Floats, node: Floats, weight: Floats) -> Floats:
    """The a with ``rate = 1 − Σ_n P(N = n) E_z[(1 − Φ((a + √ρ z)/√(1 − ρ)))^n]``, z standard normal, (K,).

    By halving, since the right side grows with a, to its last bits.

    Parameters
    ----------
    rate : share of patients who ever have it, (K,), above 0 and below that of those who have an occasion at all.
    numbers : P(N = n) of the number of occasions, n = 0, 1, …, (K, n). ``frailty``: correlation ρ, (K,), 0 ≤ ρ < 1.
    node, weight : of a quadrature over z, (q,).
    """
    found = np.empty(rate.size)
    spared, kept = np.empty(node.size), np.empty(node.size)
    for i in range(rate.size):
        root, rest = np.sqrt(frailty[i]), np.sqrt(1.0 - frailty[i])
        low, high = -LARGEST, LARGEST
        for _ in range(HALVINGS):
            a = 0.5 * (low + high)
            for q in range(node.size):
                spared[q] = 1.0 - normal_cdf((a + root * node[q]) / rest)
            kept[:] = 0.0
            for n in range(numbers.shape[1] - 1, -1, -1):
                for q in range(node.size):
                    kept[q] = kept[q] * spared[q] + numbers[i, n]
            never = 0.0
            for q in range(node.size):
                never += weight[q] * kept[q]
            if 1.0 - never < rate[i]:
                low = a
            else:
                high = a
        found[i] = 0.5 * (low + high)
    return found
