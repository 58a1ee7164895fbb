"""Closed forms, quadratures and a replay that know nothing of Lobule. Imports nothing from `simulator`.

Three parts: what a check may conclude (p-values and detectable sizes, VERIFICATION section 3), exact answers
for models that have one (VERIFICATION 4b), and second implementations that work for any declared model: an
auditor of histories and the integrated intensity along a path (VERIFICATION 4a, 4c). Times are days.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import comb, fsum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import integrate, linalg, special, stats

Floats = NDArray[np.float64]
Curve = Callable[[Any], Any]

# ------------------------------------------------------------------------------------ what may be concluded

ALPHA = 2.5e-9
"""False-alarm probability of one check: 1e-6 over 400 checks (VERIFICATION 3.1); two-sided |z| < 5.961."""
POWER = 0.999


def critical(checks: int = 1) -> float:
    """Two-sided critical value of z where one test makes several comparisons: α is shared among them."""
    return float(stats.norm.isf(ALPHA / 2.0 / checks))


def detectable(standard_error: float, checks: int = 1) -> float:
    """Smallest shift of a mean that is found with probability `POWER`."""
    return (critical(checks) + float(stats.norm.ppf(POWER))) * standard_error


def detectable_gap(n: int) -> float:
    """Smallest gap of a distribution function that is found with probability `POWER` at least (DKW)."""
    return float(np.sqrt(np.log(2.0 / ALPHA) / (2.0 * n)) + np.sqrt(np.log(2.0 / (1.0 - POWER)) / (2.0 * n)))


def p_of_z(z: ArrayLike) -> Floats:
    """Two-sided p-value of a standard normal statistic."""
    p: Floats = 2.0 * stats.norm.sf(np.abs(np.asarray(z, dtype=float)))
    return p


def p_of_mean(sample: ArrayLike, expected: float) -> float:
    """Two-sided p-value of a mean, with the sample's own standard error."""
    values = np.asarray(sample, dtype=float)
    error = values.std(ddof=1) / np.sqrt(values.size)
    if error == 0.0:
        return 1.0 if values[0] == expected else 0.0
    return float(p_of_z((values.mean() - expected) / error))


def p_of_count(count: ArrayLike, n: ArrayLike, probability: ArrayLike) -> Floats:
    """Two-sided exact binomial p-value (twice the smaller tail), element by element."""
    lower = stats.binom.cdf(count, n, probability)
    upper = stats.binom.sf(np.asarray(count) - 1, n, probability)
    p: Floats = np.minimum(2.0 * np.minimum(lower, upper), 1.0)
    return p


def p_of_events(count: ArrayLike, expected: ArrayLike) -> Floats:
    """Two-sided exact Poisson p-value of a number of events."""
    lower = stats.poisson.cdf(count, expected)
    upper = stats.poisson.sf(np.asarray(count) - 1, expected)
    p: Floats = np.minimum(2.0 * np.minimum(lower, upper), 1.0)
    return p


def gap(sample: ArrayLike, distribution: Curve) -> float:
    """sup |F_n − F| over the finite times of a sample; +inf stands for "later than anything seen"."""
    values = np.sort(np.asarray(sample, dtype=float))
    n = values.size
    seen = values[np.isfinite(values)]
    if not seen.size:
        return 0.0
    expected = np.asarray(distribution(seen), dtype=float)
    rank = np.arange(1, seen.size + 1)
    return float(max(np.max(rank / n - expected), np.max(expected - (rank - 1) / n)))


def p_of_curve(sample: ArrayLike, distribution: Curve) -> float:
    """Bound of the p-value of `gap`: 2·exp(−2·n·gap²) (Dvoretzky–Kiefer–Wolfowitz; Massart 1990)."""
    n = np.asarray(sample).size
    return float(min(1.0, 2.0 * np.exp(-2.0 * n * gap(sample, distribution) ** 2)))


def p_of_counts(counts: ArrayLike, expected: ArrayLike, *, least: float = 25.0) -> float:
    """Return the χ² p-value of cell counts; neighbouring cells are joined until every expected count is ≥ 25."""
    observed, wanted = [0.0], [0.0]
    for count, mean in zip(np.asarray(counts, float), np.asarray(expected, float), strict=True):
        if wanted[-1] >= least:
            observed.append(0.0)
            wanted.append(0.0)
        observed[-1] += count
        wanted[-1] += mean
    if len(wanted) > 1 and wanted[-1] < least:
        observed[-2:] = [sum(observed[-2:])]
        wanted[-2:] = [sum(wanted[-2:])]
    x = np.array(observed) - np.array(wanted)
    return float(stats.chi2.sf(np.sum(x * x / np.array(wanted)), len(wanted) - 1))


def smallest(p: ArrayLike) -> float:
    """Bonferroni: p-value of several comparisons taken together."""
    values = np.asarray(p, dtype=float).ravel()
    return float(min(1.0, values.min() * values.size))


# --------------------------------------------------------------------------------------- laws of one variable


@dataclass(frozen=True)
class Weibull:
    """H(t) = log 2 · (t/median)^shape."""

    median: float
    shape: float = 1.0

    @property
    def scale(self) -> float:
        return float(self.median * np.log(2.0) ** (-1.0 / self.shape))

    def hazard(self, t: ArrayLike) -> Floats:
        """Cumulative hazard."""
        return np.asarray((np.maximum(np.asarray(t, float), 0.0) / self.scale) ** self.shape)

    def rate(self, t: ArrayLike) -> Floats:
        """Hazard."""
        return np.asarray(self.shape / self.scale * (np.asarray(t, float) / self.scale) ** (self.shape - 1.0))

    def inverse(self, x: ArrayLike) -> Floats:
        return np.asarray(self.scale * np.asarray(x, float) ** (1.0 / self.shape))

    def survival(self, t: ArrayLike) -> Floats:
        return np.exp(-self.hazard(t))


def law(hazard: Mapping[str, Any]) -> Any:
    """Return scipy's law of a declared hazard (literal numbers), the one of those in whom it ever occurs."""
    g = hazard
    match hazard["family"]:
        case "exponential":
            mean = 1.0 / g["rate"] if g.get("rate") else g.get("mean", g.get("median", np.inf) / np.log(2.0))
            return stats.expon(scale=mean)
        case "weibull":
            scale = g.get("scale", g.get("median", 0.0) * np.log(2.0) ** (-1.0 / g["shape"]))
            return stats.weibull_min(g["shape"], scale=scale)
        case "log_logistic":
            return stats.fisk(g["shape"], scale=g.get("scale", g.get("median")))
        case "log_normal":
            return stats.lognorm(g["sigma"], scale=g.get("median"))
        case "gamma":
            scale = g.get("scale", g["mean"] / g["shape"] if "mean" in g else 1.0 / g.get("rate", 1.0))
            return stats.gamma(g["shape"], scale=scale)
        case "generalised_gamma" if g["Q"] == 0:
            return stats.lognorm(g["sigma"], scale=np.exp(g["mu"]))
        case "generalised_gamma":  # Prentice's parameters
            q = g["Q"]
            return stats.gengamma(q**-2, q / g["sigma"], scale=np.exp(g["mu"]) * (q * q) ** (g["sigma"] / q))
    raise LookupError(f"no law for {dict(hazard)!r}")


def cumulative_hazard(hazard: Mapping[str, Any], t: Floats) -> Floats:
    """H(t) of a declared hazard by scipy; piecewise and tabulated ones by interpolation."""
    t = np.maximum(t, 0.0)
    if hazard["family"] == "piecewise_exponential":
        knots = np.concatenate([[0.0], hazard["breaks"]])
        steps = np.concatenate([[0.0], np.cumsum(np.array(hazard["rates"][:-1]) * np.diff(knots))])
        beyond = np.maximum(t - knots[-1], 0.0) * hazard["rates"][-1]
        return np.asarray(np.interp(t, knots, steps) + beyond)
    if hazard["family"] == "tabulated":
        knots = np.concatenate([[0.0], hazard["times"]])  # from nothing at time 0; flat after the last point
        steps = np.concatenate([[0.0], hazard["cumulative_hazard"]])
        return np.asarray(np.interp(t, knots, steps))
    if hazard["family"] == "exponential" and hazard.get("rate") == 0:
        return np.zeros_like(t)
    if hazard["family"] == "gompertz":  # scipy's has no negative shape
        return np.asarray(hazard["rate"] / hazard["shape"] * np.expm1(hazard["shape"] * t))
    return np.asarray(-law(hazard).logsf(t))


# ----------------------------------------------------------------------- one fixed change of hazard (V20, V21)


def switch_survival(t: ArrayLike, law: Weibull, at: float, ratio: float) -> Floats:
    """S(t) = exp{−H(min(t, s)) − r·[H(t) − H(s)]₊}."""
    t = np.asarray(t, float)
    after = np.maximum(law.hazard(t) - law.hazard(at), 0.0)
    return np.exp(-law.hazard(np.minimum(t, at)) - ratio * after)


def switch_quantile(u: float, law: Weibull, at: float, ratio: float) -> float:
    """Time by which a share u has died."""
    budget, before = -np.log1p(-u), float(law.hazard(at))
    spent = budget if budget <= before else (budget - before) / ratio + before
    return float(law.inverse(spent))


def switch_restricted_mean(end: float, law: Weibull, at: float, ratio: float) -> float:
    """RMST(τ) = J(0, s; 1) + e^{−(1 − r)·H(s)}·J(s, τ; r), J(a, b; q) = ∫ₐᵇ e^{−q·H}."""

    def area(a: float, b: float, q: float) -> float:
        k, scale = law.shape, law.scale
        lower = special.gammainc(1 / k, q * (b / scale) ** k) - special.gammainc(1 / k, q * (a / scale) ** k)
        return float(scale / (k * q ** (1 / k)) * special.gamma(1 / k) * lower)

    return area(0.0, at, 1.0) + float(np.exp(-(1 - ratio) * law.hazard(at))) * area(at, end, ratio)


# ------------------------------------------------------------------------------- random change of hazard (V22)


def random_onset_survival(t: ArrayLike, hazard: float, onset: float, ratio: float) -> Floats:
    """S(t) = e^{−(h+μ)t} + μ·e^{−rht}·(1 − e^{−dt})/d with d = μ + h − rh, t where d vanishes."""
    t = np.asarray(t, float)
    d = onset + hazard - ratio * hazard
    grown = np.where(np.abs(d * t) < 1e-12, t, -np.expm1(-d * t) / (d if d != 0.0 else 1.0))
    return np.exp(-(hazard + onset) * t) + onset * np.exp(-ratio * hazard * t) * grown


def random_onset_mean(hazard: float, onset: float, ratio: float) -> float:
    """1/(h + μ) + [μ/(h + μ)]/(r·h)."""
    return 1.0 / (hazard + onset) + onset / (hazard + onset) / (ratio * hazard)


def naive_rate_ratio(hazard: float, onset: float) -> float:
    """Person-time death rate of the ever-onset over that of the never-onset when onset does nothing (V34)."""
    return (1.0 / (1.0 / (hazard + onset) + 1.0 / hazard)) / (hazard + onset)


# ------------------------------------------------------------------------------------- cycles (V19, V23, V24)


def cycle_survival(t: ArrayLike, law: Weibull, cycle: float, cycles: int, p: float, ratio: float) -> Floats:
    """Onset at the end of cycle j ≤ J with probability p if alive and without it."""
    t = np.asarray(t, float)
    total = (1.0 - p) ** cycles * law.survival(t)
    for j in range(1, cycles + 1):
        total = total + p * (1.0 - p) ** (j - 1) * switch_survival(t, law, j * cycle, ratio)
    return total


def cycle_responses(law: Weibull, cycle: float, cycles: int, p: float) -> Floats:
    """P(observed onset at the end of cycle j), j = 1 … J."""
    j = np.arange(1, cycles + 1)
    return np.asarray(p * (1.0 - p) ** (j - 1) * law.survival(j * cycle))


def cycles_started(law: Weibull, cycle: float, cycles: int, p: float, ratio: float, *, stop: bool) -> Floats:
    """P(cycle j + 1 is started), j = 0 … J − 1; the course stops at onset or goes on."""
    j = np.arange(cycles)
    if stop:
        return np.asarray((1.0 - p) ** j * law.survival(j * cycle))
    return cycle_survival(j * cycle, law, cycle, cycles, p, ratio)


# -------------------------------------------------------------------------------------- competing risks (V25)


def competing_incidence(t: ArrayLike, weights: Sequence[float], shape: float = 1.0) -> Floats:
    """F_j(t) = (a_j/A)·(1 − e^{−A·t^k}) for hazards a_j·k·t^{k−1}; shape (causes, times)."""
    a = np.asarray(weights, float)[:, None]
    total = a.sum()
    return np.asarray(a / total * -np.expm1(-total * np.asarray(t, float)[None, :] ** shape))


# -------------------------------------------------------------------------------------- multi-state (V26, V27)


def markov_occupancy(rates: Mapping[tuple[int, int], float], n_states: int, times: ArrayLike) -> Floats:
    """P(state at t), from state 0, by the matrix exponential of the generator; shape (times, states)."""
    q = np.zeros((n_states, n_states))
    for (i, j), rate in rates.items():
        q[i, j] += rate
        q[i, i] -= rate
    return np.array([linalg.expm(q * float(t))[0] for t in np.asarray(times, float)])


def illness_death_occupancy(
    t: float, illness: Weibull, death: Weibull, after: Callable[[Floats], Floats]
) -> tuple[float, float]:
    """(well, ill) at t: illness and death on the forward clock, survival ``after`` illness on a reset clock."""

    def density(s: float) -> float:
        free = float(illness.survival(s) * death.survival(s))
        return free * float(illness.rate(s)) * float(after(np.asarray(t - s)))

    ill, _ = integrate.quad(density, 0.0, t, epsabs=1e-10, epsrel=1e-10, limit=400)
    return float(illness.survival(t) * death.survival(t)), float(ill)


def alternating_occupancy(on: Any, off: Any, end: float, *, cells: int = 1600) -> tuple[Floats, Floats]:
    """P(on at t) of an alternating renewal process that starts on, on a grid of ``cells`` + 1 points.

    Volterra equation of the second kind for the density m of returns, m = k + k ∗ m with k = f ∗ g, by the
    trapezoidal rule; one Richardson step (error h² → h⁴) and its size checked to be below 1e-6.
    """

    def solve(n: int) -> Floats:
        h = end / n
        t = np.arange(n + 1) * h
        f, g, kept = on.pdf(t), off.pdf(t), on.sf(t)

        def folded(a: Floats, b: Floats) -> Floats:
            c = np.convolve(a, b)[: n + 1] * h
            return c - 0.5 * h * (a[0] * b + b[0] * a)

        k = folded(f, g)
        m = np.zeros(n + 1)
        m[0] = k[0]
        for i in range(1, n + 1):
            inner = np.dot(k[1:i], m[i - 1 : 0 : -1]) if i > 1 else 0.0
            m[i] = (k[i] + h * (inner + 0.5 * k[i] * m[0])) / (1.0 - 0.5 * h * k[0])
        return kept + folded(m, kept)

    coarse, fine, finest = solve(cells), solve(2 * cells)[::2], solve(4 * cells)[::4]
    better, best = (4.0 * fine - coarse) / 3.0, (4.0 * finest - fine) / 3.0
    if not np.max(np.abs(best - better)) < 1e-6:
        raise ArithmeticError("the grid is too coarse for 1e-6")
    return np.linspace(0.0, end, cells + 1), best


def renewal_mean(law: Any, end: float, *, cells: int = 1600) -> float:
    """Mean number of renewals by ``end``, m = F + m ∗ f (Cox 1962), by the trapezoidal rule and one Richardson step."""

    def solve(n: int) -> float:
        h = end / n
        t = np.arange(n + 1) * h
        f, m = law.pdf(t), np.asarray(law.cdf(t), dtype=float)
        for i in range(1, n + 1):
            m[i] = (m[i] + h * np.dot(f[1:i], m[i - 1 : 0 : -1])) / (1.0 - 0.5 * h * f[0])
        return float(m[n])

    coarse, fine, finest = solve(cells), solve(2 * cells), solve(4 * cells)
    better, best = (4.0 * fine - coarse) / 3.0, (4.0 * finest - fine) / 3.0
    if not abs(best - better) < 1e-6:
        raise ArithmeticError("the grid is too coarse for 1e-6")
    return best


# ------------------------------------------------------------- adverse events with a shared frailty (V28), V29

_NODE, _WEIGHT = np.polynomial.hermite_e.hermegauss(160)
_WEIGHT = _WEIGHT / _WEIGHT.sum()


def _given_frailty(probability: float, correlation: float) -> Floats:
    """Probability per administration at the nodes of a standard normal frailty (one-factor probit)."""
    a = stats.norm.ppf(probability)
    return np.asarray(stats.norm.cdf((a + np.sqrt(correlation) * _NODE) / np.sqrt(1.0 - correlation)))


def frailty_counts(n: int, probability: float, correlation: float) -> Floats:
    """P(k of n administrations bring the event), k = 0 … n."""
    p = _given_frailty(probability, correlation)
    return np.array([np.sum(_WEIGHT * stats.binom.pmf(k, n, p)) for k in range(n + 1)])


def frailty_both(first: float, second: float, correlation: float) -> float:
    """P(two terms at one administration): orthant probability of a bivariate normal."""
    bounds = stats.norm.ppf([first, second])
    together = stats.multivariate_normal([0.0, 0.0], [[1.0, correlation], [correlation, 1.0]])
    return float(together.cdf(bounds))


def frailty_ever(number: ArrayLike, probability: float, correlation: float) -> float:
    """P(ever) where ``number[n]`` = P(n administrations): 1 − Σ P(n)·E[(1 − p)ⁿ]."""
    mass = np.asarray(number, float)
    p = _given_frailty(probability, correlation)
    spared = (1.0 - p)[None, :] ** np.arange(mass.size)[:, None]
    return float(1.0 - np.sum(mass * (spared @ _WEIGHT)))


def cure_survival(t: ArrayLike, law: Weibull, probability: float) -> Floats:
    """1 − p + p·e^{−H}: it ever happens with probability p."""
    return np.asarray(1.0 - probability + probability * law.survival(t))


def log_normal_frailty_survival(t: ArrayLike, law: Weibull, sd: float) -> Floats:
    """E[exp(−e^{X}·H(t))], X normal with mean 0: a covariate's log hazard ratio is a frailty."""
    factor = np.exp(sd * _NODE)
    return np.asarray(np.exp(-np.outer(law.hazard(t), factor)) @ _WEIGHT)


# --------------------------------------------------------------------------------- accrual, cut, loss (V31)


def event_by_cut(hazard: float, accrual: float, cut: float, loss: float = 0.0) -> float:
    """P(death is seen): uniform accrual on [0, a], data cut at f ≥ a, exponential death and loss."""
    both = hazard + loss
    kept = (np.exp(-both * (cut - accrual)) - np.exp(-both * cut)) / (both * accrual)
    return float(hazard / both * (1.0 - kept))


# ---------------------------------------------------------------- a mixture over a random time of onset (B12.4)


def irwin_hall(x: ArrayLike, n: int) -> Floats:
    """Distribution function of a sum of n uniforms on (0, 1); n = 0: a step at 0."""
    x = np.asarray(x, float)
    if n == 0:
        return (x >= 0.0).astype(float)
    clipped = np.clip(x, 0.0, n)
    low = np.minimum(clipped, n - clipped)  # the alternating sum is accurate in the lower half
    total = np.zeros_like(low)
    for k in range(n // 2 + 1):
        total += (-1) ** k * comb(n, k) * np.maximum(low - k, 0.0) ** n
    total /= special.factorial(n)
    return np.where(clipped <= n / 2, total, 1.0 - total)


def uniform_visits(k: int, low: float, high: float, grid: Floats) -> Floats:
    """Distribution function of visit k (the first is 0) at the points of a grid, intervals uniform on [low, high]."""
    return irwin_hall((grid - k * low) / (high - low), k)


def administrations_started(law: Weibull, low: float, high: float, most: int, planned: Floats) -> Floats:
    """P(administration k + 1 is given), k = 0 … most − 1: planned (P(planned > k)), and alive at its visit."""
    grid = np.arange(0.0, most * high, 0.01)
    middle = law.survival(0.5 * (grid[1:] + grid[:-1]))
    alive = [1.0] + [float(np.sum(np.diff(uniform_visits(k, low, high, grid)) * middle)) for k in range(1, most)]
    return np.asarray(np.asarray(planned) * np.array(alive))


def mixture_survival(onset: Floats, baseline: Floats, between: Floats, ratio: float) -> Floats:
    """Survival of all patients at the points of a grid, hazard multiplied by r from a random onset on.

    ``onset``: G at the grid, absent death; ``baseline``: H₀ at the grid, (n,); ``between``: H₀ at the
    middles of the cells, (n − 1,). S = (1 − G)·e^{−H₀} + e^{−r·H₀}·∫ e^{−(1−r)·H₀} dG, midpoint rule.
    """
    settled = np.concatenate([[0.0], np.cumsum(np.diff(onset) * np.exp(-(1.0 - ratio) * between))])
    return np.asarray((1.0 - onset) * np.exp(-baseline) + np.exp(-ratio * baseline) * settled)


# --------------------------------------------------------------------------------- histories of any model


ADMINISTRATION, END_OF_COURSE = "administration", "end_of_course"
TERM = "adverse_event."


@dataclass(frozen=True)
class History:
    """What happened to n patients, as plain arrays: rows ``offset[i]`` to ``offset[i + 1]`` are patient i's.

    ``names`` gives codes a meaning: events in declared order, "administration", "adverse_event.<term>",
    "end_of_course". ``value``: dose, index of the chosen outcome, number of the administration, or index
    of the reason.
    """

    names: tuple[str, ...]
    offset: NDArray[np.int64]
    time: Floats
    code: NDArray[np.int64]
    value: Floats
    horizon: float
    stratum: Sequence[str]
    arm: Sequence[str]
    covariates: Mapping[str, Floats]

    def __len__(self) -> int:
        return int(self.offset.size - 1)

    def first(self, name: str) -> Floats:
        """First time of something by patient, +inf where there is none."""
        rows = np.flatnonzero(self.code == self.names.index(name))[::-1]
        out = np.full(len(self), np.inf)
        out[self.owner[rows]] = self.time[rows]
        return out

    def count(self, name: str) -> NDArray[np.int64]:
        rows = self.code == self.names.index(name)
        return np.bincount(self.owner[rows], minlength=len(self)).astype(np.int64)

    @cached_property
    def owner(self) -> NDArray[np.int64]:
        return np.repeat(np.arange(len(self)), np.diff(self.offset))

    def lines(self, patient: int) -> list[tuple[float, str, float]]:
        """One patient's history: time, what, value."""
        rows = range(int(self.offset[patient]), int(self.offset[patient + 1]))
        return [(float(self.time[i]), self.names[self.code[i]], float(self.value[i])) for i in rows]


@dataclass(frozen=True)
class Declared:
    """A model as a modeler wrote it: plain mappings with literal numbers (times in days)."""

    model: Mapping[str, Any]
    course: Mapping[str, Any]
    cohort: Mapping[str, Any]

    @property
    def events(self) -> Mapping[str, Mapping[str, Any]]:
        return self.model["events"]  # type: ignore[no-any-return]

    def of_arm(self, name: str) -> Declared:
        """Return the same with the arm's own course laid over the common one; a distribution is replaced whole."""
        own = self.cohort.get("arms", {}).get(name, {}).get("course", {})
        return Declared(self.model, {**self.course, **own}, self.cohort)

    def maximum(self, name: str) -> int:
        """How often an event may happen."""
        return int(self.events[name].get("maximum") or 1)

    def outcome(self, name: str, value: float) -> Mapping[str, Any]:
        """Return the outcome that an event chose, empty if there is nothing to choose."""
        choices = list(self.events[name].get("choose", {}).values())
        return choices[int(value)] if 0 <= value < len(choices) else {}

    def sets(self, name: str, value: float) -> set[str]:
        """Return the markers that something sets."""
        if name in self.events:
            return {*self.events[name].get("set", ()), *self.outcome(name, value).get("set", ())}
        if name.startswith(TERM):
            terms = (self.course.get("adverse_events") or {}).get("terms", {})
            return set(terms.get(name[len(TERM) :], {}).get("set", ()))
        return set()

    @property
    def stops(self) -> tuple[set[str], set[str]]:
        """Return the states and the markers that end the course."""
        stop = self.course.get("stop", {})
        return {*stop.get("states", ()), *self.model["absorbing"]}, set(stop.get("markers", ()))


def violations(history: History, declared: Declared) -> Iterator[str]:
    """Replay histories by the declaration alone and yield every rule that one breaks (V9)."""
    of_arm = {arm: declared.of_arm(arm) for arm in set(history.arm)}
    for i in range(len(history)):
        for what in _violations_of(history.lines(i), history.horizon, of_arm[history.arm[i]]):
            yield f"patient {i}: {what}"


def _violations_of(lines: list[tuple[float, str, float]], horizon: float, d: Declared) -> Iterator[str]:
    model, course = d.model, d.course
    state, markers = model["initial"], set(model.get("initial_markers", ()))
    fired: dict[str, int] = {}
    now, given, ended, absorbed = 0.0, 0, False, np.inf
    durations, since = [], 0.0
    stop_states, stop_markers = d.stops
    doses = [float(level) for level in (course.get("dose") or {}).get("levels", [0.0])]
    factor = (course.get("after_adverse_event") or {}).get("dose_factor", 1)
    harmed, harmed_at, last_given = 0, -1, -np.inf
    marker = course.get("marker")
    if marker and course.get("start", 0) == 0 and course.get("max_administrations", 1) > 0:
        markers.add(marker)
    for time, name, value in lines:
        if not 0.0 <= time < horizon:
            yield f"{name} at {time!r} is outside [0, {horizon})"
        if time < now:
            yield f"{name} at {time!r} comes after something at {now!r}"
        if time > absorbed or (np.isfinite(absorbed) and name != END_OF_COURSE):
            yield f"{name} at {time!r} follows absorption at {absorbed!r}"
        now = time
        if name in d.events:
            event = d.events[name]
            if state not in event["from"]:
                yield f"{name} at {time!r} in state {state}"
            if not set(event.get("when", ())) <= markers or set(event.get("unless", ())) & markers:
                yield f"{name} at {time!r} with markers {sorted(markers)}"
            fired[name] = fired.get(name, 0) + 1
            if fired[name] > d.maximum(name):
                yield f"{name} happened {fired[name]} times"
            clock = event.get("clock", "forward")
            if isinstance(clock, dict) and clock["since"] not in fired:
                yield f"{name} at {time!r} before {clock['since']}"
            choices = event.get("choose", {})
            if bool(choices) == np.isnan(value) or (choices and not 0 <= value < len(choices)):
                yield f"{name} chose {value!r} of {len(choices)}"
            markers = (markers - set(event.get("clear", ()))) | d.sets(name, value)
            to = event.get("to")
            if to is not None and to != state:
                durations.append(time - since)
                state, since = to, time
                if state in model["absorbing"]:
                    absorbed = time
        elif name == ADMINISTRATION:
            given += 1
            if ended:
                yield f"an administration at {time!r} after the end of the course"
            if given > course.get("max_administrations", 1):
                yield f"administration number {given}"
            if state in stop_states or markers & stop_markers:
                yield f"an administration at {time!r} in {state} with {sorted(markers)}"
            if time == last_given:
                yield f"two administrations at {time!r}"
            last_given = time
            if not any(np.isclose(value, level * float(factor) ** harmed, rtol=1e-12) for level in doses):
                yield f"dose {value!r} after {harmed} reductions"
            if marker and given == 1:
                markers.add(marker)
        elif name.startswith(TERM):
            if time != last_given or value != given - 1:
                yield f"{name} at {time!r}, number {value!r}, without its administration"
            if harmed_at != given:
                harmed, harmed_at = harmed + 1, given
            markers |= d.sets(name, value)
        elif name == END_OF_COURSE:
            if ended:
                yield f"the course ends twice, at {time!r}"
            ended = True
            markers.discard(marker)
    if not np.isfinite(absorbed):
        durations.append(horizon - since)
    followed = min(absorbed, horizon)
    if abs(fsum(durations) - followed) > np.spacing(followed):
        yield f"times in states sum to {fsum(durations)!r}, followed for {followed!r}"
    running = not ended and bool(given)
    if running and (state in stop_states or markers & stop_markers):
        yield f"the course went on in {state} with {sorted(markers)}"


@dataclass(frozen=True)
class Spells:
    """Integrated intensity of one event, spell by spell (between two rows of a patient's history).

    ``spent`` is ∫ r·h over the spell, ``fired`` whether the event ends it. ``labels``: what is known at the
    start of a spell, for groups; ``residual``: what was spent between successive occurrences in one patient,
    and ``complete`` whether an occurrence ended it (Cox–Snell).
    """

    patient: NDArray[np.int64]
    spent: Floats
    fired: NDArray[np.bool_]
    labels: Mapping[str, NDArray[Any]]
    residual: Floats
    complete: NDArray[np.bool_]

    def z(self, where: NDArray[np.bool_] | None = None) -> float:
        """Σ(N − Λ)/√ΣΛ: standard normal for a right model, a martingale over its predictable variation."""
        keep = slice(None) if where is None else where
        total = self.spent[keep].sum()
        if total == 0.0:
            return 0.0 if not self.fired[keep].any() else np.inf
        return float((self.fired[keep].sum() - total) / np.sqrt(total))

    def p(self, where: NDArray[np.bool_] | None = None) -> float:
        """Two-sided p-value of the number of events, Poisson in its integrated intensity.

        Run on the clock of Λ the events are a unit Poisson process, stopped somewhere: exact at a fixed Λ, and at
        a fixed number of events too (the gamma law of Λ there is the same tail).
        """
        keep = slice(None) if where is None else where
        total, count = self.spent[keep].sum(), self.fired[keep].sum()
        return float(p_of_events(count, total)) if total > 0.0 else float(count == 0)

    def residuals(self, seed: int) -> Floats:
        """Residuals as a full sample from Exp(1): a censored one is completed with an exponential rest.

        Under a right model what is left of a budget is Exp(1) whatever was spent, so that the completed
        values are independent Exp(1) and the bound of `p_of_curve` is exact.
        """
        rest = np.random.default_rng(seed).exponential(size=self.residual.size)
        return np.where(self.complete, self.residual, self.residual + rest)


def integrated_intensities(
    history: History,
    declared: Declared,
    *,
    susceptible: Mapping[str, NDArray[np.bool_]] | None = None,
    hazards: Mapping[str, Callable[[Floats, NDArray[np.int64]], Floats]] | None = None,
) -> dict[str, Spells]:
    """Integrate every hazard-driven event's intensity along the simulated paths (V35, V36).

    Works down the rows of all patients at once, from the declaration: state, markers, clocks, hazard ratios,
    risk sets. ``susceptible``: for cure mixtures, in whom the event can ever occur. ``hazards``: H(t, patient)
    for events whose hazard is not literal. Timers and events that administrations bring are left out.
    """
    model, n = declared.model, len(history)
    names = [
        name
        for name, event in declared.events.items()
        if "hazard" in event and event["hazard"]["family"] != "fixed" and not _by_administration(event, declared)
    ]
    states, marker_names = list(model["states"]), list(model.get("markers", ()))
    bit = {name: np.int64(1) << k for k, name in enumerate(marker_names)}
    state = np.full(n, states.index(model["initial"]))
    markers = np.full(n, sum(int(bit[m]) for m in set(model.get("initial_markers", ()))), dtype=np.int64)
    on_treatment = declared.course.get("marker")
    for arm in set(history.arm):
        course = declared.of_arm(arm).course
        if on_treatment and course.get("start", 0) == 0 and course.get("max_administrations", 1) > 0:
            markers[np.asarray(history.arm) == arm] |= bit[on_treatment]
    changed = np.zeros(n)  # time of the last entry into the present state
    last = {name: np.full(n, np.nan) for name in declared.events}
    count = {name: np.zeros(n, dtype=np.int64) for name in declared.events}
    given = np.zeros(n, dtype=np.int64)
    running = {name: np.zeros(n) for name in names}
    spells: dict[str, list[tuple[Any, ...]]] = {name: [] for name in names}
    finished: dict[str, list[Floats]] = {name: [] for name in names}
    own = {name: _own_ratio(name, history, declared) for name in names}
    cumulative = {name: _cumulative(name, history, declared, hazards or {}) for name in names}
    can = susceptible or {}
    absorbing = np.array([s in model["absorbing"] for s in states])
    now, rows_of = np.zeros(n), np.diff(history.offset)
    for step in range(int(rows_of.max(initial=0)) + 1):
        has = step < rows_of
        row = np.where(has, history.offset[:-1] + step, 0)
        upto = np.where(has, history.time[row] if history.time.size else 0.0, history.horizon)
        upto = np.where(absorbing[state] & ~has, now, upto)
        code = np.where(has, history.code[row] if history.code.size else 0, -1)
        for name in names:
            event = declared.events[name]
            risk = _at_risk(event, state, states, markers, bit) & can.get(name, np.ones(n, dtype=bool))
            if event.get("maximum") is None:
                risk &= count[name] == 0
            origin = _origin(name, event, changed, last, history)
            risk &= np.isfinite(origin)
            who = np.flatnonzero(risk & (upto > now) | (code == history.names.index(name)))
            if not who.size:
                continue
            start = np.where(risk, origin, 0.0)[who]
            h0, h1 = cumulative[name](now[who] - start, who), cumulative[name](upto[who] - start, who)
            rate = own[name][who] * _ratio(event, declared, history, state, states, markers, bit)[who]
            spent = np.where(risk[who], rate * (h1 - h0), 0.0)
            fires = code[who] == history.names.index(name)
            running[name][who] += spent
            finished[name].append(running[name][who[fires]])
            running[name][who[fires]] = 0.0
            spells[name].append((who, spent, fires, state[who], markers[who], given[who]))
        for kind in np.unique(code[has]):
            who = np.flatnonzero(has & (code == kind))
            name = history.names[kind]
            value, time = history.value[row[who]], history.time[row[who]]
            if name in declared.events:
                event = declared.events[name]
                clear = sum(int(bit[m]) for m in event.get("clear", ()))
                markers[who] &= ~np.int64(clear)
                markers[who] |= sum(int(bit[m]) for m in event.get("set", ()))
                for k, outcome in enumerate(event.get("choose", {}).values()):
                    markers[who[value == k]] |= sum(int(bit[m]) for m in outcome.get("set", ()))
                if event.get("to") is not None:
                    to = states.index(event["to"])
                    changed[who], state[who] = time, to
                last[name][who] = time
                count[name][who] += 1
            elif name == ADMINISTRATION:
                given[who] += 1
                if on_treatment:
                    markers[who[given[who] == 1]] |= bit[on_treatment]
            elif name.startswith(TERM):
                markers[who] |= sum(int(bit[m]) for m in declared.sets(name, 0.0))
            elif on_treatment:
                markers[who] &= ~bit[on_treatment]
        now = upto
    return {name: _spells(spells[name], finished[name], running[name], states, bit, history) for name in names}


def _spells(parts: list[Any], finished: list[Floats], left: Floats, states: Any, bit: Any, history: History) -> Spells:
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)] if parts else [np.zeros(0)] * 6
    patient = columns[0].astype(np.int64)
    labels: dict[str, Any] = {
        "stratum": np.asarray(history.stratum)[patient],
        "arm": np.asarray(history.arm)[patient],
        "state": np.asarray(states)[columns[3].astype(np.int64)],
        "administrations": columns[5].astype(np.int64),
    }
    for name, mask in bit.items():
        labels[name] = (columns[4].astype(np.int64) & mask) != 0
    done = np.concatenate(finished) if finished else np.zeros(0)
    open_ended = left[left > 0.0]
    return Spells(
        patient,
        columns[1].astype(float),
        columns[2].astype(bool),
        labels,
        np.concatenate([done, open_ended]),
        np.concatenate([np.ones(done.size, dtype=bool), np.zeros(open_ended.size, dtype=bool)]),
    )


def _by_administration(event: Mapping[str, Any], declared: Declared) -> bool:
    return "per_administration" in event and declared.course.get("response") == "per_administration"


def _at_risk(event: Mapping[str, Any], state: Any, states: list[str], markers: Any, bit: Any) -> NDArray[np.bool_]:
    risk = np.isin(state, [states.index(s) for s in event["from"]])
    for name in event.get("when", ()):
        risk &= (markers & bit[name]) != 0
    for name in event.get("unless", ()):
        risk &= (markers & bit[name]) == 0
    return np.asarray(risk)


def _origin(name: str, event: Mapping[str, Any], changed: Floats, last: Any, history: History) -> Floats:
    clock = event.get("clock", "forward")
    if isinstance(clock, Mapping):
        since = np.asarray(last[clock["since"]])
        return np.where(np.isnan(since), 0.0, since) if clock["since"] == name else since
    if clock == "reset":
        return changed
    if clock == "age":
        return np.asarray(-history.covariates["age"])
    return np.zeros(len(history))


def _of_stratum(value: Any, history: History) -> Any:
    """Return a literal, or a mapping by stratum as one value a patient."""
    if isinstance(value, Mapping):
        return np.array([value[s] for s in history.stratum])
    return value


def _cumulative(name: str, history: History, declared: Declared, given: Mapping[str, Any]) -> Any:
    if name in given:
        return given[name]
    hazard = declared.events[name]["hazard"]
    by_stratum = {key: value for key, value in hazard.items() if isinstance(value, Mapping)}
    if not by_stratum:
        return lambda t, who: cumulative_hazard(hazard, t)
    strata = np.asarray(history.stratum)

    def one_each(t: Floats, who: NDArray[np.int64]) -> Floats:
        out = np.empty(t.size)
        for stratum in np.unique(strata[who]):
            ours = strata[who] == stratum
            plain = {key: by_stratum[key][stratum] if key in by_stratum else v for key, v in hazard.items()}
            out[ours] = cumulative_hazard(plain, t[ours])
        return out

    return one_each


def _own_ratio(name: str, history: History, declared: Declared) -> Floats:
    """Hazard ratio of arm and covariates."""
    ratio = np.ones(len(history))
    for arm, effects in declared.cohort.get("arms", {}).items():
        factor = effects.get("effects", {}).get("hazard_ratio", {}).get(name, 1.0)
        ratio = np.where(np.asarray(history.arm) == arm, ratio * _of_stratum(factor, history), ratio)
    for term in declared.events[name].get("ratios", ()):
        if "covariate" in term:
            x = history.covariates[term["covariate"]]
            ratio = ratio * float(term["ratio"]) ** ((x - term.get("reference", 0.0)) / term.get("per", 1.0))
    return ratio


def _ratio(
    event: Mapping[str, Any],
    declared: Declared,
    history: History,
    state: Any,
    states: list[str],
    markers: Any,
    bit: Any,
) -> Floats:
    ratio = np.ones(len(history))
    for term in event.get("ratios", ()):
        if "covariate" in term:
            continue
        acts = np.ones(len(history), dtype=bool)
        if "state" in term:
            acts &= state == states.index(term["state"])
        if "marker" in term:
            acts &= (markers & bit[term["marker"]]) != 0
        ratio = np.where(acts, ratio * _of_stratum(term["ratio"], history), ratio)
    return ratio
