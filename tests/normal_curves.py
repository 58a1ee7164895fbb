"""A wrong posterior that a check of posteriors must find out: survival printed in a paper, taken as normal.

It is what is usually done with a printed median and landmarks of survival: log median and survival are taken as
normal, with asymptotic variances and covariances from the printed numbers. At 17 and at 49 patients the intervals are
too narrow (EVIDENCE B3). Numbers of all strata together are taken as independent of those of the strata.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import special

from calibration.likelihoods.order_statistics import Cut, OrderStatistic
from calibration.likelihoods.terms import DeathCounts, SurvivalTerm
from calibration.posterior.components import Component, searched
from calibration.priors.parameters import LOG_2PI, ParameterSets
from calibration.schema import Search
from simulator.tables import Floats

LOG_2 = math.log(2.0)
USUAL_SHAPE = 1.3
"""Of the Weibull distribution that gives variances, where a landmark at the median, or none, does not tell it."""
AROUND = np.exp(np.linspace(-5.0, 5.0, 61))
"""Times, as multiples of a printed median, between which medians of parameter sets are found by interpolation."""


def gaussian(component: Component, search: Search, seed: int) -> Component:
    """Return the component searched again with normal approximations for terms of medians and landmarks."""
    terms = tuple(NormalCurves(term) if isinstance(term, DeathCounts) else term for term in component.terms)
    return searched(component.prior, terms, search, seed) if terms != component.terms else component


@dataclass(frozen=True)
class NormalCurves:
    """Bivariate normal approximation to a term of survival curves."""

    exact: DeathCounts

    @property
    def targets(self) -> tuple[str, ...]:
        return self.exact.targets

    @property
    def parameters(self) -> frozenset[str]:
        return self.exact.parameters

    def log_density(self, sets: ParameterSets) -> Floats:
        return np.asarray(sum((curve.log_density(sets) for curve in self._curves), np.zeros(sets.size)))

    @cached_property
    def _curves(self) -> tuple[_Curve, ...]:
        return tuple(self._made())

    def _made(self) -> Iterator[_Curve]:
        for sample in self.exact.samples:
            if sample.landmarks or sample.median is not None:
                yield _Curve(sample.survival, sample.size, sample.landmarks, sample.median)
        if self.exact.landmark is not None or self.exact.median is not None:
            parts = tuple((sample.survival, sample.size / self.exact.size) for sample in self.exact.samples)
            cuts = () if self.exact.landmark is None else (self.exact.landmark,)
            yield _Curve(_Mixture(parts), self.exact.size, cuts, self.exact.median)


@dataclass(frozen=True)
class _Mixture:
    """Survival of all patients in strata of these shares."""

    parts: tuple[tuple[SurvivalTerm, float], ...]

    @property
    def parameters(self) -> frozenset[str]:
        return frozenset[str]().union(*(survival.parameters for survival, _ in self.parts))

    def log_survival(self, sets: ParameterSets, times: Floats) -> Floats:
        total = sum(share * np.exp(survival.log_survival(sets, times)) for survival, share in self.parts)
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(total))


@dataclass(frozen=True)
class _Curve:
    """Printed numbers of one curve, taken as normal with a covariance that parameters do not change.

    Of n patients: Var Ŝ(t) = S(1 − S)/n, Cov(Ŝ(s), Ŝ(t)) = S(t)(1 − S(s))/n for s ≤ t, and log median ≈ its
    expectation + (Ŝ(median) − ½)/(median · density there), all at the Weibull distribution that the printed numbers
    match.
    """

    survival: SurvivalTerm
    size: int
    landmarks: Sequence[Cut]
    median: OrderStatistic | None

    def log_density(self, sets: ParameterSets) -> Floats:
        n, times = self.size, np.array([cut.time for cut in self.landmarks])
        alive = np.array([n - np.mean(cut.deaths) for cut in self.landmarks])
        seen = np.clip(alive / n, 0.5 / n, 1.0 - 0.5 / n)
        away = np.exp(self.survival.log_survival(sets, times)) - seen if len(times) else np.zeros((sets.size, 0))
        total = np.zeros(sets.size)
        if self.median is not None and math.isinf(self.median.upper):
            s = np.exp(self.survival.log_survival(sets, np.array([self.median.lower]))[:, 0])
            total += special.log_ndtr((s - 0.5) / math.sqrt(0.25 / n))
        elif self.median is not None:
            printed = max(0.5 * (self.median.lower + self.median.upper), 0.5)
            steepness = 0.5 * LOG_2 * self._shape(printed, times, seen)
            away = np.concatenate([(math.log(printed) - self._log_median(sets, printed))[:, None], -away], axis=1)
            return total + _normal(away, _covariance(np.append(0.5, seen), n, steepness))
        return total + (_normal(-away, _covariance(seen, n, None)) if len(times) else 0.0)

    @staticmethod
    def _shape(median: float, times: Floats, seen: Floats) -> float:
        """Shape of the Weibull distribution through the median and the first landmark, within 0.2 and 5."""
        if not len(times) or times[0] == median:
            return USUAL_SHAPE
        shape = math.log(-math.log(seen[0]) / LOG_2) / math.log(times[0] / median)
        return min(max(shape, 0.2), 5.0)

    def _log_median(self, sets: ParameterSets, around: float) -> Floats:
        """Logarithm of the time at which a curve is ½, (n,): log cumulative hazard is linear between times."""
        times = around * AROUND
        with np.errstate(divide="ignore"):
            height = np.log(np.maximum(-self.survival.log_survival(sets, times), 1e-300)) - math.log(LOG_2)
        after = np.clip(np.sum(height < 0.0, axis=1), 1, len(times) - 1)
        row = np.arange(sets.size)
        low, high = height[row, after - 1], height[row, after]
        with np.errstate(invalid="ignore", divide="ignore"):
            part = np.where(high > low, -low / (high - low), 0.5)
        log_times = np.log(times)
        return np.asarray(log_times[after - 1] + part * (log_times[after] - log_times[after - 1]))


def _covariance(survival: Floats, n: int, steepness: float | None) -> Floats:
    """Covariance of survival at these heights, (d, d); with a steepness the first is a log median.

    A little is added to the diagonal, since a landmark at the median would leave none.
    """
    larger, smaller = np.maximum.outer(survival, survival), np.minimum.outer(survival, survival)
    covariance = smaller * (1.0 - larger) / n
    if steepness is not None:
        covariance[0, :] /= steepness
        covariance[:, 0] /= steepness
    return np.asarray(covariance + np.diag(0.002 * np.diag(covariance)))


def _normal(away: Floats, covariance: Floats) -> Floats:
    """Log density of normal deviations (n, d)."""
    factor = np.linalg.cholesky(covariance)
    scores = np.linalg.solve(factor, away.T)
    return np.asarray(
        -0.5 * np.sum(scores**2, axis=0) - np.log(np.diag(factor)).sum() - 0.5 * LOG_2PI * len(covariance)
    )
