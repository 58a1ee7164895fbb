"""What the targets can tell apart: profile likelihoods, collinearity, modes, targets left out one by one.

The first three look at one component of the posterior under one reading. They begin at its weighted draws and ask for
the likelihood at some thousand more points at most, since a term may simulate.

Points are scores of the prior (see `priors.distributions`), where the prior is standard normal. Optimisation is in
units of the posterior: z = middle + L·y with LLᵀ its covariance, so that a quadratic likelihood is nearly round.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import optimize, stats
from scipy.spatial import cKDTree

from calibration.likelihoods.closed_forms import ClosedForms
from calibration.likelihoods.simulated import Simulated
from calibration.likelihoods.targets import simulated_ids, terms_of
from calibration.likelihoods.terms import Term
from calibration.posterior import feasibility
from calibration.posterior.components import Component, log_likelihood_of
from calibration.posterior.fit import Fit, ReadingFit, fit
from calibration.prediction.predictive import Predictive, predictive
from calibration.priors.parameters import Dirichlet, ParameterSets, Pooled, standard_normal_log_density
from calibration.samplers.imis import resampled
from calibration.samplers.summary import effective_size, weighted_variance
from calibration.schema import Calibration
from simulator.errors import ConfigError
from simulator.study.ranks import TOLERANCE, as_printed
from simulator.tables import Floats, Integers

DROP = float(stats.chi2.ppf(0.95, 1)) / 2.0
"""What the profile log likelihood falls by at the ends of a 95 % interval (Wilks 1938)."""
REACH = 6.0  # scores of the prior beyond which no end of a profile is sought
STEP = 0.05  # of a posterior standard deviation, for differences
RESTARTS = 5
BEGINNINGS = 10  # of a search, among the draws
POINTS = 1000  # of a posterior, among which modes are sought
NEIGHBOURS = 15
SHALLOW = 1.0  # log units by which two modes must stand out over the saddle between them
COMPARABLE = 0.1  # of the mass: a mode with less is not shown
COLLINEAR = 10.0
"""Brun et al. (2001): from an index of 10 to 15 on, parameters can make up for each other."""
REFITTED = 300  # draws of a posterior that is searched without a target
ENOUGH = 200.0
"""Effective size below which draws do not stand for the posterior without a target."""


@dataclass(frozen=True)
class Profile:
    """Most likely value of a parameter, all others free, and where its profile likelihood ends; ±inf: nowhere."""

    parameter: str
    best: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Collinearity:
    """How nearly parameters make up for each other: γ = 1/√λ, 1 where they do not, ∞ where they do entirely."""

    parameters: tuple[str, ...]
    index: float


@dataclass(frozen=True)
class Mode:
    """A mode of a component's posterior: where it is, and the share of the posterior around it."""

    values: Mapping[str, float]
    mass: float


@dataclass(frozen=True)
class LeftOut:
    """A target under the posterior without it: percentile of what was reported, effective size of the draws.

    ``percentile`` is NaN where the draws do not stand for that posterior; ``why`` then says so.
    """

    target: str
    percentile: float
    effective_size: float
    why: str = ""


# ------------------------------------------------------------------------------------------------------ one component


def likelihood_shape(component: Component, names: Sequence[str]) -> tuple[list[Profile], list[Collinearity]]:
    """Return the profile of every parameter among the names, and how nearly they make up for each other.

    Strata of a pooled parameter are moved with centre and spread held, which costs no generality: the likelihood looks
    at strata alone. Shares that sum to one have no coordinate each, and no profile; neither has a likelihood by
    simulation, which is a step function where figures print exactly, and dear.
    """
    columns = _columns(component)
    chosen = [name for name in names if name in columns]
    if not chosen or any(isinstance(term, Simulated) for term in component.terms):
        return [], []
    log_likelihood = log_likelihood_of(component.prior, component.terms)
    free = np.array(list(columns.values()))
    cloud = _cloud(component, list(columns.values()))
    start = cloud[int(np.argmax(component.draws.log_likelihood))]
    nearby = start + np.eye(len(start))[free]
    scaled, base = component.prior.scaled(nearby), component.prior.scaled(start[None])
    weights = component.draws.weights
    spread = np.array([
        math.sqrt(max(weighted_variance(component.scaled[name], weights), 1e-12)) / abs(scaled[name][k] - base[name][0])
        for k, name in enumerate(columns)
    ])  # fmt: skip

    def at(points: Floats) -> Floats:
        """Log likelihood at values of the free coordinates, (n, k), the others held."""
        full = np.tile(start, (len(points), 1))
        full[:, free] = points
        return log_likelihood(full)

    top, peak = _highest(at, start[free], spread, None)
    draws = cloud[np.argsort(-component.draws.log_likelihood, kind="stable")][:, free]
    found = []
    for name in chosen:
        j = list(columns).index(name)
        ends = [_end(at, top, peak, spread, j, side, draws) for side in (-1, 1)]
        values = [_value(component, start, free, top, j, end, name) for end in (top[j], *ends)]
        low, high = (math.copysign(math.inf, s) if math.isnan(e) else v
                     for s, e, v in zip((-1, 1), ends, values[1:], strict=True))  # fmt: skip
        found.append(Profile(name, values[0], low, high))
    return found, collinearity(_information(at, top, spread), list(columns))


def _cloud(component: Component, free: Sequence[int]) -> Floats:
    """Return the draws in coordinates with one wide pooled prior, (n, d).

    What is not free, centre and spread between strata, is put at the middle and at two scores above it.
    """
    z = component.draws.coordinates
    other = z.copy()
    hyper = [name for block in component.prior.blocks if isinstance(block, Pooled) for name in block.hyper]
    if not hyper:
        return z
    for centre, between in zip(hyper[::2], hyper[1::2], strict=True):
        other[:, component.prior.coordinates.index(centre)] = 0.0
        other[:, component.prior.coordinates.index(between)] = 2.0
    wide, values = component.prior.parameter_sets(other).values, dict(component.values)
    found = component.prior.scores(values | {name: wide[name] for name in hyper})
    others = [i for i in range(z.shape[1]) if i not in free and component.prior.coordinates[i] not in hyper]
    found[:, others] = z[:, others]
    return np.asarray(found)


def _columns(component: Component) -> dict[str, int]:
    """Return the coordinate of each parameter that has one of its own and that a term looks at."""
    looked_at = frozenset[str]().union(*(term.parameters for term in component.terms))
    coordinates = component.prior.coordinates
    blocks = [block for block in component.prior.blocks if not isinstance(block, Dirichlet)]
    return {name: coordinates.index(name) for block in blocks for name in block.parameters if name in looked_at}


def _highest(at: Callable[[Floats], Floats], start: Floats, spread: Floats, fixed: int | None) -> tuple[Floats, float]:
    """Return where the log likelihood is highest, one coordinate perhaps fixed, and how high. By BFGS."""
    moving = np.array([i for i in range(len(start)) if i != fixed])
    if moving.size == 0:
        return start, float(at(start[None])[0])

    def falling(y: Floats) -> tuple[float, Floats]:
        points = np.tile(start, (1 + 2 * moving.size, 1))
        points[:, moving] += y * spread[moving]
        for k, i in enumerate(moving):
            points[1 + 2 * k, i] += STEP * spread[i]
            points[2 + 2 * k, i] -= STEP * spread[i]
        values = np.maximum(at(np.clip(points, -37.0, 37.0)), -1e6)
        return -float(values[0]), -(values[1::2] - values[2::2]) / (2.0 * STEP)

    y, lowest = np.zeros(moving.size), math.inf
    for _ in range(RESTARTS):  # a ridge that turns leaves BFGS with a matrix of no use
        found = optimize.minimize(falling, y, jac=True, method="BFGS", options={"maxiter": 40, "gtol": 0.01})
        gained, y, lowest = lowest - found.fun, found.x, min(lowest, float(found.fun))
        if gained < 0.01:
            break
    top = start.copy()
    top[moving] += y * spread[moving]
    return top, -lowest


def _end(
    at: Callable[[Floats], Floats], top: Floats, peak: float, spread: Floats, j: int, side: int, draws: Floats
) -> float:
    """Return the coordinate where the profile has fallen by `DROP`, to one side; NaN where it does not.

    ``draws`` (n, k), the most likely first: where a search may begin beside where others have ended.
    """
    reach, wanted = max(REACH, abs(top[j])), math.sqrt(2.0 * DROP)
    known = [(float(top[j]), 0.0, top)]

    def root_of_drop(x: float) -> float:
        """√(2·drop) of the profile at x, started where the nearest point was found: nearly linear in x."""
        near = draws[np.abs(draws[:, j] - x) < 0.5 * spread[j]][:BEGINNINGS]
        begin = np.concatenate([min(known, key=lambda each: abs(each[0] - x))[2][None], near])
        begin[:, j] = x
        point = begin[int(np.argmax(at(begin)))]
        found, height = _highest(at, point, spread, j)
        root = math.sqrt(max(2.0 * (peak - height), 0.0)) if math.isfinite(height) else 1e3
        known.append((x, root, found if root < 30.0 else point))
        return root

    low, below, step = float(top[j]), 0.0, 1.9 * float(spread[j])
    while True:
        high = float(np.clip(low + side * step, -reach, reach))
        above = root_of_drop(high)
        if above >= wanted:
            break
        if abs(high) >= reach:
            return math.nan
        low, below, step = high, above, 1.5 * step
    for _ in range(12):
        if abs(high - low) < 0.02 * spread[j]:
            break
        part = (wanted - below) / (above - below)
        middle = low + (high - low) * min(max(part, 0.1), 0.9)
        value = root_of_drop(middle)
        if abs(value - wanted) < 0.01:
            return middle
        if value < wanted:
            low, below = middle, value
        else:
            high, above = middle, value
    return 0.5 * (low + high)


def _value(component: Component, start: Floats, free: Integers, top: Floats, j: int, x: float, name: str) -> float:
    full = start.copy()
    full[free] = top
    full[free[j]] = 0.0 if math.isnan(x) else x
    return float(component.prior.parameter_sets(full[None])[name][0])


def _information(at: Callable[[Floats], Floats], top: Floats, spread: Floats) -> Floats:
    """Return minus the second differences of the log likelihood at its top, in units of the spread, (k, k)."""
    k, h = len(top), 0.5
    moves = [(i, j, a, b) for i in range(k) for j in range(i + 1) for a in (-h, h) for b in (-h, h)]
    points = np.tile(top, (len(moves), 1))
    for row, (i, j, a, b) in enumerate(moves):
        points[row, i] += a * spread[i]
        points[row, j] += b * spread[j]
    values = np.maximum(at(points), -1e6)
    found = np.zeros((k, k))
    for row, (i, j, a, b) in enumerate(moves):
        found[i, j] -= math.copysign(1.0, a * b) * values[row] / (4.0 * h * h)
        found[j, i] = found[i, j]
    return found


def collinearity(information: Floats, names: Sequence[str]) -> list[Collinearity]:
    """Return the collinearity index of parameters together and, if that is large, of the worst pair.

    Brun, Reichert & Künsch (2001, Water Resources Research 37:1015), eq. 16: γ = 1/√λ, λ the least eigenvalue of
    SᵀS with the columns of S, the sensitivities, brought to length 1. Targets of all kinds are compared in units of
    their own probability, so SᵀS is the observed information of the log likelihood, (k, k); the prior is not in it.
    """
    if len(names) < 2:
        return []
    pairs = [(i, j) for i in range(len(names)) for j in range(i)]
    worst = max(pairs, key=lambda pair: _index(information, pair))
    together = Collinearity(tuple(names), _index(information, tuple(range(len(names)))))
    if len(names) == 2 or _index(information, worst) < COLLINEAR:
        return [together]
    return [together, Collinearity((names[worst[1]], names[worst[0]]), _index(information, worst))]


def _index(matrix: Floats, chosen: Sequence[int]) -> float:
    part = matrix[np.ix_(list(chosen), list(chosen))]
    size = np.sqrt(np.maximum(np.diag(part), 1e-12))
    least = float(np.linalg.eigvalsh(part / np.outer(size, size))[0])
    return 1.0 / math.sqrt(least) if least > 1e-8 else math.inf


def modes(component: Component) -> list[Mode]:
    """Return the modes of a posterior with at least a tenth of its mass each, the greatest first.

    Draws climb to their highest neighbour within reach; where the saddle between two hills, along neighbours or along
    the straight line between their tops, lies less than one log unit below the lower of them, they are one (the
    persistence of Chazal, Guibas, Oudot & Skraba 2013, J. ACM 60:41).
    """
    if not component.terms:
        return []
    rows = np.unique(resampled(component.draws.weights, POINTS))
    z = component.draws.coordinates[rows]
    height = component.draws.log_likelihood[rows] + standard_normal_log_density(z)
    log_likelihood = log_likelihood_of(component.prior, component.terms)
    hill, saddle = _hills(z, height)
    tops = list(dict.fromkeys(hill.tolist()))
    merged = {top: top for top in tops}

    def root(top: int) -> int:
        while merged[top] != top:
            top = merged[top]
        return top

    for a, b in sorted(saddle, key=lambda pair: -saddle[pair]):
        low, high = sorted((root(a), root(b)), key=lambda top: height[top])
        if low != high and height[low] - saddle[a, b] < SHALLOW:
            merged[low] = high
    weights = np.bincount(rows.searchsorted(resampled(component.draws.weights, POINTS)), minlength=len(rows)) / POINTS
    mass: dict[int, float] = {}
    for point, weight in zip(hill.tolist(), weights.tolist(), strict=True):
        mass[root(point)] = mass.get(root(point), 0.0) + weight
    great = sorted((top for top in mass if mass[top] >= COMPARABLE / 2), key=lambda top: -height[top])
    kept: list[int] = []
    for top in great:
        line = [z[top] + s * (z[other] - z[top]) for other in kept for s in np.linspace(0.0, 1.0, 21)]
        if line:
            path = np.stack(line)
            along = (log_likelihood(path) + standard_normal_log_density(path)).reshape(len(kept), 21).min(axis=1)
            joined = [k for k, least in zip(kept, along, strict=True) if height[top] - least < SHALLOW]
            if joined:
                mass[joined[0]] += mass[top]
                continue
        kept.append(top)
    total = sum(mass[top] for top in kept)
    found = []
    for top in kept:
        values = component.prior.parameter_sets(z[[top]])
        share = mass[top] / total
        if share >= COMPARABLE:
            found.append(Mode({name: float(values[name][0]) for name in component.prior.parameters}, share))
    return sorted(found, key=lambda mode: -mode.mass)


def _hills(z: Floats, height: Floats) -> tuple[Integers, dict[tuple[int, int], float]]:
    """Return the top that each point climbs to, (n,), and the highest saddle between neighbouring hills."""
    places = z / np.maximum(z.std(axis=0), 1e-9)
    _, near = cKDTree(places).query(places, k=min(NEIGHBOURS, len(z)))
    near = near.reshape(len(z), -1)
    up = near[np.arange(len(z)), np.argmax(height[near], axis=1)]
    hill = up.copy()
    for _ in range(len(z)):
        if np.array_equal(up[hill], hill):
            break
        hill = up[hill]
    saddle: dict[tuple[int, int], float] = {}
    for i, others in enumerate(near):
        for j in others:
            a, b = sorted((int(hill[i]), int(hill[j])))
            if a != b:
                saddle[a, b] = max(saddle.get((a, b), -math.inf), float(min(height[i], height[j])))
    return hill, saddle


# ---------------------------------------------------------------------------------------------- one target at a time


def leave_one_out(fitted: Fit, predicted: Predictive) -> list[LeftOut]:
    """Return the percentile of each fitted target under the posterior of the others, by reweighting.

    A draw of the posterior weighs L(others)/L(all), whatever its reading; where a likelihood is of several targets
    together it is built anew without the one, so that the rest of it stays. Below an effective size of 200 the draws
    do not stand for that posterior, and no percentile is given.
    """
    return [_left_out(fitted, predicted, target) for target in fitted.readings[0].targets]


def _left_out(fitted: Fit, predicted: Predictive, target: str) -> LeftOut:
    if target in simulated_ids(fitted.declared):
        return LeftOut(target, math.nan, math.nan, "likelihood by simulation; diagnostics=full fits the others alone")
    n = len(predicted.reading)
    log_weight = np.zeros(n)
    for number, reading in enumerate(fitted.readings):
        of_reading = predicted.reading == number
        changed = _without(fitted, reading, target)
        if changed is None:
            return LeftOut(target, math.nan, math.nan, "cannot be left out alone")
        n_drawn = int(of_reading.sum())
        sets = ParameterSets(reading.draws(n_drawn), n_drawn)
        log_weight[of_reading] = sum(term.log_density(sets) for term in changed[1]) - sum(
            term.log_density(sets) for term in changed[0]
        )
    weights = np.exp(log_weight - log_weight.max())
    size = effective_size(weights)
    if size < ENOUGH:
        return LeftOut(target, math.nan, size, "the others say too little; diagnostics=full fits them alone")
    return LeftOut(target, percentile(predicted, target, weights), size)


def _without(fitted: Fit, reading: ReadingFit, target: str) -> tuple[list[Term], list[Term]] | None:
    """Return the terms that have the target, and what takes their place without it; None where that is refused."""
    declared = without(fitted, target)
    terms, problems = terms_of(declared, ClosedForms(reading.experiment, frozenset(reading.parameters)))
    if problems:
        return None
    old = [term for c in reading.components for term in c.terms if target in term.targets]
    others = {name for term in old for name in term.targets} - {target}
    return old, [term for term in terms if set(term.targets) & others]


def without(fitted: Fit, *targets: str) -> Calibration:
    """Return the calibration file with more targets left out."""
    left_out = {**fitted.declared.left_out, **dict.fromkeys(targets, "in turn")}
    return fitted.declared.without(set(targets)).model_copy(update={"left_out": left_out})


def percentile(predicted: Predictive, target: str, weights: Floats | None = None) -> float:
    """Return the mid-rank of a reported value among studies whose draws have weights (D,); NaN where undefined."""
    k = [entry.id for entry in predicted.entries[0]].index(target)
    read = [predicted.entries[int(which)][k] for which in predicted.reading]
    values = as_printed(predicted.simulated[:, :, k], [e.bound for e in read], [e.reported for e in read])
    weight = np.broadcast_to((np.ones(len(values)) if weights is None else weights)[:, None], values.shape)
    known = ~np.isnan(values)
    rank = np.full(values.shape, math.nan)
    for number, entries in enumerate(predicted.entries):
        of_reading, entry = predicted.reading == number, entries[k]
        if entry.reported is not None and of_reading.any():
            reach = (entry.half_width or 0.0) + TOLERANCE * max(1.0, abs(entry.reported))
            with np.errstate(invalid="ignore"):
                near = np.abs(values[of_reading] - entry.reported) <= reach
            equal = values[of_reading] == entry.reported if math.isinf(entry.reported) else near
            rank[of_reading] = np.where(equal, 0.5, values[of_reading] < entry.reported)
    return float(np.sum((weight * rank)[known]) / np.sum(weight[known])) if known.any() else math.nan


# --------------------------------------------------------------------------------------------------------- all of them


@dataclass(frozen=True)
class Diagnostics:
    """What the targets can tell apart, under the reading that a run takes if nothing is said."""

    profiles: tuple[Profile, ...]
    collinear: tuple[Collinearity, ...]
    modes: tuple[tuple[Mode, ...], ...]  # of each component that has more than one
    left_out: tuple[LeftOut, ...]


def diagnose(fitted: Fit, predicted: Predictive | None, *, full: bool = False) -> Diagnostics:
    """Return all diagnostics; ``full``: calibrate anew for the targets that reweighting says too little of."""
    profiles: list[Profile] = []
    collinear: list[Collinearity] = []
    several: list[tuple[Mode, ...]] = []
    reading = fitted.readings[fitted.default]
    informed = {row.name for row in fitted.rows_of(reading) if row.informed}
    for component in (component for component in reading.components if component.terms):
        found, indices = likelihood_shape(component, [n for n in component.prior.parameters if n in informed])
        profiles += found
        collinear += indices
        if len(hills := modes(component)) > 1:
            several.append(tuple(hills))
    left_out = [] if predicted is None else leave_one_out(fitted, predicted)
    if full:
        left_out = [_fitted_anew(fitted, one) if math.isnan(one.percentile) else one for one in left_out]
    return Diagnostics(tuple(profiles), tuple(collinear), tuple(several), tuple(left_out))


def refitted(fitted: Fit, *targets: str, known: Fit | None = None) -> tuple[Fit, Fit]:
    """Calibrate without some targets; return the fit, and that truncated, with simulated studies. Raises ConfigError.

    ``known`` : as for `fit`.
    """
    others = fit(fitted.config, without(fitted, *targets), overrides=fitted.overrides, known=known)
    return others, feasibility.truncate(others, REFITTED, studies=feasibility.STUDIES)


def _fitted_anew(fitted: Fit, one: LeftOut) -> LeftOut:
    """Return the percentile of a target under a posterior that is searched without it."""
    try:
        _, again = refitted(fitted, one.target)
    except ConfigError as refusal:
        return replace(one, why=str(refusal.problems[0]))
    predicted = predictive(again)
    found = math.nan if predicted is None else percentile(predicted, one.target)
    return replace(one, percentile=found, effective_size=REFITTED, why="calibrated anew")
