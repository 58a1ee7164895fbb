"""Likelihood terms with closed forms, over batches of parameter sets.

A term has the ids of its targets, the parameters that it looks at, and ``log_density(sets)``, shape (n,), constants
included: they weigh one reading of a paper against another. A kind of term that simulates will be one more class with
these three, and nothing that calls them will notice.

`ProportionTerm`  n/N, also of several strata together          binomial, a sum of binomials
`Outcomes`    n₁, n₂, … of N                                 multinomial
`DeathCounts` Kaplan–Meier medians and landmarks of strata   order statistics, see `order_statistics`
              and of all strata together                     and the convolution of their counts
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy import special

from calibration.likelihoods.order_statistics import (
    Cut,
    OrderStatistic,
    log_path_probabilities,
    log_sum,
    merged,
    paths_of,
)
from calibration.priors.parameters import ParameterSets
from simulator.tables import Floats

TINY = 1e-12
LARGEST_TABLE = 2_000_000  # numbers held at once by one stratum of a term: a bound on memory, not on what is computed


class Share(Protocol):
    """A probability as a function of parameters."""

    @property
    def parameters(self) -> frozenset[str]: ...

    def of(self, sets: ParameterSets) -> Floats:
        """Return the probability in each set, (n,)."""


class SurvivalTerm(Protocol):
    """A survival curve as a function of parameters."""

    @property
    def parameters(self) -> frozenset[str]: ...

    def log_survival(self, sets: ParameterSets, times: Floats) -> Floats:
        """Return log S at times (T,), days, in each set, (n, T)."""


class Term(Protocol):
    """One factor of the likelihood."""

    @property
    def targets(self) -> tuple[str, ...]:
        """Ids of the evidence entries that it accounts for."""

    @property
    def parameters(self) -> frozenset[str]:
        """Names of the calibrated parameters that it depends on."""

    def log_density(self, sets: ParameterSets) -> Floats:
        """Return the log probability of what was printed, (n,), normalised over what could have been printed."""


@dataclass(frozen=True)
class ProportionTerm:
    """A count of N patients, or one of several counts that print alike; N in parts with shares of their own.

    Parts are independent binomials; the count of all is their sum, by convolution.
    """

    targets: tuple[str, ...]
    parts: tuple[tuple[Share, int], ...]
    counts: tuple[int, ...]

    @property
    def parameters(self) -> frozenset[str]:
        return _union(share for share, _ in self.parts)

    def log_density(self, sets: ParameterSets) -> Floats:
        if len(self.parts) == 1:
            share, size = self.parts[0]
            return log_sum(log_binomial(np.array(self.counts), size, share.of(sets)))
        total = np.ones((sets.size, 1))
        for share, size in self.parts:
            total = _convolved(total, np.exp(log_binomial(np.arange(size + 1), size, share.of(sets))))
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(total[:, list(self.counts)].sum(axis=1)))


@dataclass(frozen=True)
class Outcomes:
    """Counts of mutually exclusive outcomes among N patients; those with none of them are the rest."""

    targets: tuple[str, ...]
    shares: tuple[Share, ...]
    counts: tuple[int, ...]
    size: int

    @property
    def parameters(self) -> frozenset[str]:
        return _union(self.shares)

    def log_density(self, sets: ParameterSets) -> Floats:
        rest = self.size - sum(self.counts)
        total = np.full(sets.size, float(special.gammaln(self.size + 1.0) - special.gammaln(rest + 1.0)))
        left = np.ones(sets.size)
        for share, count in zip(self.shares, self.counts, strict=True):
            p = share.of(sets)
            left = left - p
            total += special.xlogy(count, p) - special.gammaln(count + 1.0)
        impossible = left < -TINY  # shares that sum to one may leave a rounding error below 0
        return np.where(impossible, -np.inf, total + special.xlogy(rest, np.maximum(left, 0.0)))


@dataclass(frozen=True)
class Sample:
    """What was printed of one stratum of ``size`` patients, followed without censoring: landmarks and a median."""

    survival: SurvivalTerm
    size: int
    landmarks: tuple[Cut, ...] = ()
    median: OrderStatistic | None = None

    def log_table(self, sets: ParameterSets, more: Sequence[Cut]) -> tuple[list[tuple[int, ...]], Floats]:
        """Return counts at the times of ``more``, and their log probability jointly with what was printed.

        The counts are a list of m distinct tuples, one number a time of ``more``; the probabilities are (n, m).
        """
        cuts = merged([*self.landmarks, *more])
        paths = paths_of(cuts, self.size, self.median)
        times = [cut.time for cut in cuts]
        keys = list(map(tuple, paths[:, [times.index(cut.time) for cut in more]].tolist()))
        ends = [] if self.median is None else [self.median.lower, self.median.upper]
        finite = np.array([t for t in (*times, *ends) if 0.0 < t < np.inf])
        at = {0.0: np.zeros(sets.size), np.inf: np.full(sets.size, -np.inf)}
        at |= dict(zip(finite.tolist(), self.survival.log_survival(sets, finite).T, strict=True))
        log_p = log_path_probabilities(
            paths,
            self.size,
            _columns(at, times, sets.size),
            times=times,
            order=self.median,
            log_survival_at_order=_columns(at, ends, sets.size) if ends else None,
        )
        distinct = list(dict.fromkeys(keys))
        if len(distinct) == len(keys):
            return keys, log_p
        rows = [[i for i, key in enumerate(keys) if key == one] for one in distinct]
        return distinct, np.stack([log_sum(log_p[:, of]) for of in rows], axis=1)


@dataclass(frozen=True)
class DeathCounts:
    """Medians and landmarks of strata, and of all strata together, as one exact joint probability.

    Deaths of all strata are the sum of independent counts. A median of all patients, the R-th death within (a, b], is
    the event N(b) ≥ R without N(a) ≥ R, each a convolution of the strata's counts given what was printed of them. (That
    exactly R have died by the printed day is another event: it says that the day lies between two deaths.)
    """

    targets: tuple[str, ...]
    samples: tuple[Sample, ...]
    landmark: Cut | None = None
    median: OrderStatistic | None = None

    @property
    def parameters(self) -> frozenset[str]:
        return _union(sample.survival for sample in self.samples)

    def log_density(self, sets: ParameterSets) -> Floats:
        widest = max(sample.size + 1 for sample in self.samples) * (self.size + 1)
        rows = max(1, LARGEST_TABLE // widest)
        starts = range(0, max(sets.size, 1), rows)
        return np.concatenate([self._log_density(sets.part(start, start + rows)) for start in starts])

    @property
    def size(self) -> int:
        """Patients in all strata."""
        return sum(sample.size for sample in self.samples)

    def _log_density(self, sets: ParameterSets) -> Floats:
        log_printed, by_upper = self._deaths(sets, math.inf if self.median is None else self.median.upper)
        if self.median is None:
            return log_printed
        _, by_lower = self._deaths(sets, self.median.lower)
        rank = self.median.rank
        (fewer_by_upper, more_by_upper), (fewer_by_lower, more_by_lower) = (
            (deaths[:, :rank].sum(axis=1), deaths[:, rank:].sum(axis=1)) for deaths in (by_upper, by_lower)
        )
        # P(N(b) ≥ R) − P(N(a) ≥ R), from whichever tail of N(b) is small.
        between = np.where(more_by_upper <= 0.5, more_by_upper - more_by_lower, fewer_by_lower - fewer_by_upper)
        with np.errstate(divide="ignore"):
            return np.asarray(log_printed + np.log(np.maximum(between, 0.0)))

    def _deaths(self, sets: ParameterSets, time: float) -> tuple[Floats, Floats]:
        """Return log P(what was printed of strata, and the landmark), (n,), and, given that, of the deaths by a time.

        The latter is P(N(time) = j), (n, N + 1): nobody has died by time 0, all by infinity.
        """
        cut = 0.0 < time < math.inf
        log_printed = np.zeros(sets.size)
        states: dict[int, Floats] = {0: np.ones((sets.size, 1))}  # deaths by the landmark → P(deaths by the time)
        for sample in self.samples:
            everything = tuple(range(sample.size + 1))
            times = [*([self.landmark.time] if self.landmark is not None else []), *([time] if cut else [])]
            keys, log_p = sample.log_table(sets, [Cut(t, everything) for t in times])
            log_own = log_sum(log_p)
            log_printed += log_own
            with np.errstate(invalid="ignore"):
                p = np.where(np.isfinite(log_own)[:, None], np.exp(log_p - log_own[:, None]), 0.0)
            tables: dict[int, Floats] = {}
            for column, key in enumerate(keys):
                by_landmark = 0 if self.landmark is None else key[0]
                by_time = key[-1] if cut else 0 if time <= 0.0 else sample.size
                table = tables.setdefault(by_landmark, np.zeros((sets.size, sample.size + 1)))
                table[:, by_time] += p[:, column]
            states = _added(states, tables, most=0 if self.landmark is None else max(self.landmark.deaths))
        wanted = (0,) if self.landmark is None else self.landmark.deaths
        deaths = sum((states[d] for d in wanted if d in states), np.zeros((sets.size, self.size + 1)))
        mass = deaths.sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            return log_printed + np.log(mass), np.nan_to_num(deaths / mass[:, None])


def log_binomial(counts: np.ndarray[tuple[int], np.dtype[np.int64]], size: int, p: Floats) -> Floats:
    """Return log Binomial(counts; size, p), (n, m) for counts (m,) and p (n,) in [0, 1]."""
    constant = special.gammaln(size + 1.0) - special.gammaln(counts + 1.0) - special.gammaln(size - counts + 1.0)
    k, q = counts[None, :], p[:, None]
    return np.asarray(constant[None, :] + special.xlogy(k, q) + special.xlog1py(size - k, -q))


def _added(states: dict[int, Floats], tables: dict[int, Floats], *, most: int) -> dict[int, Floats]:
    """Add one stratum's counts: deaths at the landmark add up to at most ``most``, those at the time are convolved."""
    out: dict[int, Floats] = {}
    for before, state in states.items():
        for deaths, table in tables.items():
            if before + deaths > most:
                continue
            both = _convolved(state, table)
            out[before + deaths] = out[before + deaths] + both if before + deaths in out else both
    return out


def _convolved(a: Floats, b: Floats) -> Floats:
    """Distribution of a sum of independent counts, row by row: (n, i) and (n, j) → (n, i + j − 1)."""
    if a.shape[1] > b.shape[1]:
        a, b = b, a
    out = np.zeros((len(a), a.shape[1] + b.shape[1] - 1))
    for k in range(a.shape[1]):
        if np.any(a[:, k]):
            out[:, k : k + b.shape[1]] += a[:, k : k + 1] * b
    return out


def _columns(at: dict[float, Floats], times: Sequence[float], n: int) -> Floats:
    return np.stack([at[time] for time in times], axis=1) if times else np.zeros((n, 0))


def _union(parts: Iterable[Share | SurvivalTerm]) -> frozenset[str]:
    return frozenset[str]().union(*(part.parameters for part in parts))
