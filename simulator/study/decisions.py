"""Intervals of proportions, and what would be decided on them, in every study.

Both intervals are two-sided at confidence 1 − α, for k of n:

    wilson   the shares p with |k/n − p| ≤ z·√(p(1 − p)/n), z the 1 − α/2 quantile of N(0, 1)    Wilson 1927
    exact    the shares p that neither P(K ≥ k | p) < α/2 nor P(K ≤ k | p) < α/2 rules out, by
             quantiles of beta distributions                                             Clopper & Pearson 1934
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from simulator.study.summaries import Proportion
from simulator.tables import Flags, Floats


class Rule(Protocol):
    """What is decided: `experiment.decisions.Decision`."""

    @property
    def target(self) -> str: ...
    @property
    def above(self) -> float | None: ...
    @property
    def below(self) -> float | None: ...
    @property
    def level(self) -> float: ...
    @property
    def method(self) -> str: ...


def interval(share: Proportion, level: float, method: str) -> Floats:
    """Return the interval of the share of each study, lower and upper end, (R, 2), 0 to 1; NaN where nobody counts.

    Raises
    ------
    ValueError
        If the method is neither ``wilson`` nor ``exact``.
    """
    if method not in _INTERVALS:
        raise ValueError(f"method {method!r}: must be one of {', '.join(_INTERVALS)}")
    n = np.asarray(share.denominator, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = _INTERVALS[method](np.asarray(share.count, dtype=np.float64), n, level)
    return np.where(n[:, None] > 0, np.clip(ends, 0.0, 1.0), np.nan)


def _wilson(k: Floats, n: Floats, level: float) -> Floats:
    from scipy.special import ndtri  # a slow import, for this alone

    z = float(ndtri(0.5 + level / 2))
    middle, reach = k + z**2 / 2, z * np.sqrt(k * (n - k) / n + z**2 / 4)
    ends = np.stack([middle - reach, middle + reach], axis=1) / (n + z**2)[:, None]
    return _closed(ends, k, n)


def _exact(k: Floats, n: Floats, level: float) -> Floats:
    from scipy.special import betaincinv

    tail = (1 - level) / 2
    return _closed(np.stack([betaincinv(k, n - k + 1, tail), betaincinv(k + 1, n - k, 1 - tail)], axis=1), k, n)


def _closed(ends: Floats, k: Floats, n: Floats) -> Floats:
    """Ends that are 0 and 1 themselves where none, or all, are counted: no rounding, no empty beta law."""
    return np.stack([np.where(k == 0, 0.0, ends[:, 0]), np.where(k == n, 1.0, ends[:, 1])], axis=1)


_INTERVALS = {"wilson": _wilson, "exact": _exact}


def intervals(shares: Sequence[Proportion], rules: Sequence[Rule], n_studies: int) -> Floats:
    """Return the interval that each rule looks at, (R, rules, 2)."""
    found = [interval(share, rule.level, rule.method) for share, rule in zip(shares, rules, strict=True)]
    return np.stack(found, axis=1) if found else np.empty((n_studies, 0, 2))


def decided(ends: Floats, rules: Sequence[Rule]) -> Flags:
    """Return whether each rule says yes, (…, rules), of intervals (…, rules, 2). An undefined one says no."""
    above = np.array([np.nan if rule.above is None else rule.above for rule in rules])
    below = np.array([np.nan if rule.below is None else rule.below for rule in rules])
    return np.asarray((ends[..., 0] > above) | (ends[..., 1] < below))
