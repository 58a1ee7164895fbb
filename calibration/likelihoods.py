"""Likelihood terms with closed forms, over batches of parameter sets. Knows counts, shares and survival curves;
knows nothing of evidence files, of priors or of how parameters are searched.

A term has the ids of its targets, the parameters that it looks at, and ``log_density(sets)``, shape (n,), constants
included: they weigh one reading of a paper against another. A kind of term that simulates will be one more class
with these three, and nothing that calls them will notice.

`Proportion`  n/N, also of several strata together          binomial, a sum of binomials
`Outcomes`    n₁, n₂, … of N                                 multinomial
`DeathCounts` Kaplan–Meier medians and landmarks of strata   order statistics, see `order_statistics`
              and of all strata together                     and the convolution of their counts
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy import special

from calibration.order_statistics import (
    Cut,
    OrderStatistic,
    log_path_probabilities,
    log_sum,
    merged,
    paths_of,
)
from calibration.parameters import ParameterSets
from simulator.tables import Floats

TINY = 1e-12
LARGEST_TABLE = 2_000_000  # numbers held at once by one stratum of a term: a bound on memory, not on what is computed


class Share(Protocol):
    """A probability as a function of parameters."""

    @property
    def parameters(self) -> frozenset[str]: ...

    def of(self, sets: ParameterSets) -> Floats:
        """Return the probability in each set, (n,)."""


class Survival(Protocol):
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
class Proportion:
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

    survival: Survival
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

    Deaths of all strata are the sum of independent counts. A median of everybody, the R-th death within (a, b], is the
    event N(b) ≥ R without N(a) ≥ R, each a convolution of the strata's counts given what was printed of them. (That
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
        if sets.size <= rows:
            return self._log_density(sets)
        parts = [slice(start, start + rows) for start in range(0, sets.size, rows)]
        blocks = [ParameterSets({k: v[p] for k, v in sets.values.items()}, len(range(sets.size)[p])) for p in parts]
        return np.concatenate([self._log_density(part) for part in blocks])

    @property
    def size(self) -> int:
        """Patients in all strata."""
        return sum(sample.size for sample in self.samples)

    def _log_density(self, sets: ParameterSets) -> Floats:
        if self.median is None:
            return self._tail(sets, None)[0]
        printed, lower, upper = self._tail(sets, self.median.upper)
        fewer, more = np.ones(sets.size), np.zeros(sets.size)
        if self.median.lower > 0.0:
            _, fewer, more = self._tail(sets, self.median.lower)
        # P(N(b) ≥ R) − P(N(a) ≥ R), from whichever tail of N(b) is small.
        difference = np.where(upper <= 0.5, upper - more, fewer - lower)
        with np.errstate(divide="ignore"):
            return np.asarray(printed + np.log(np.maximum(difference, 0.0)))

    def _tail(self, sets: ParameterSets, time: float | None) -> tuple[Floats, Floats, Floats]:
        """Return log P(printed of strata and landmark), and given that P(N(time) < R), P(N(time) ≥ R), each (n,)."""
        free = self.landmark is not None
        reached = time is not None and np.isfinite(time)
        states: dict[int, Floats] = {0: np.ones((sets.size, 1))}  # deaths at the landmark → by deaths at the time
        log_scale = np.zeros(sets.size)
        for sample in self.samples:
            everything = tuple(range(sample.size + 1))
            more = [Cut(self.landmark.time, everything)] if self.landmark is not None else []
            more += [Cut(time, everything)] if time is not None and reached else []
            keys, log_p = sample.log_table(sets, more)
            scale = log_sum(log_p)
            log_scale += scale
            with np.errstate(invalid="ignore"):
                p = np.where(np.isfinite(scale)[:, None], np.exp(log_p - scale[:, None]), 0.0)
            tables: dict[int, Floats] = {}
            for column, key in enumerate(keys):
                table = tables.setdefault(key[0] if free else 0, np.zeros((sets.size, sample.size + 1)))
                table[:, key[-1] if reached else 0] += p[:, column]
            most = max(self.landmark.deaths) if self.landmark is not None else 0
            states = _added(states, tables, most)
        wanted = [t for deaths, t in states.items() if self.landmark is None or deaths in self.landmark.deaths]
        counts = np.sum(wanted, axis=0) if wanted else np.zeros((sets.size, 1))
        mass = counts.sum(axis=1)
        if self.median is None or not reached:
            lower, upper = np.zeros(sets.size), mass
        else:
            lower, upper = counts[:, : self.median.rank].sum(axis=1), counts[:, self.median.rank :].sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            printed = log_scale + np.log(mass)
            return printed, np.nan_to_num(lower / mass), np.nan_to_num(upper / mass)


def log_binomial(counts: np.ndarray[tuple[int], np.dtype[np.int64]], size: int, p: Floats) -> Floats:
    """Return log Binomial(counts; size, p), (n, m) for counts (m,) and p (n,) in [0, 1]."""
    constant = special.gammaln(size + 1.0) - special.gammaln(counts + 1.0) - special.gammaln(size - counts + 1.0)
    k, q = counts[None, :], p[:, None]
    return np.asarray(constant[None, :] + special.xlogy(k, q) + special.xlog1py(size - k, -q))


def _added(states: dict[int, Floats], tables: dict[int, Floats], most: int) -> dict[int, Floats]:
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


def _union(parts: Iterable[Share | Survival]) -> frozenset[str]:
    return frozenset[str]().union(*(part.parameters for part in parts))
