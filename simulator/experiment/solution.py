"""The step that solves: latent numbers from observed ones, baselines, thresholds of adverse events."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simulator.configuration.values import PREFIX, Parameters, Resolver
from simulator.experiment.numbers import Declarations, Numbers, events_of
from simulator.kernels.quantiles import quantile
from simulator.model.course import MOST_ADMINISTRATIONS
from simulator.solving.baseline import (
    Solved,
    calibrated_death,
    law_of_death,
    plain_thresholds,
    published_parameters,
    solve,
    structure_of,
)
from simulator.solving.interventions import ArmEffects
from simulator.solving.latent import STEP, Task
from simulator.tables import Floats

LONGEST_SOLVED = 73_050.0
"""Longest horizon to which numbers are solved, days: the quadrature has four points a day."""
MOST_POINTS = 10**8
"""Points of the distributions of the times of all administrations, where a number is solved."""
MOST_PRODUCTS = 1e8
"""Products of a convolution of such distributions."""
_ENDS = ((min, 1e-3), (max, 1.0 - 1e-12))


def solution(
    declared: Declarations, numbers: Numbers, effects: ArmEffects, resolver: Resolver
) -> tuple[Floats, Solved]:
    """Solve what is declared as observed or marginal, in the model of the scenario and of the published study.

    Returns the thresholds of adverse events, (parameter sets, strata, terms), and what was solved; the arrays of events
    are changed in place.
    """
    model, course, events, shares = declared.model, declared.course, numbers.events, numbers.shares
    reference, horizon = numbers.reference, numbers.horizon
    parts = structure_of(model, course, reference.design)
    if parts is None:
        for b in range(len(shares)):
            effects.apply_odds(events.arrays, b)
        return plain_thresholds(course, numbers.rates, shares.shape), Solved()
    _check_sizes(declared, numbers, resolver)
    death = calibrated_death(model, parts.multiplier)
    if list(model.events)[parts.multiplier] not in declared.study.assessed:
        reference = replace(reference, design=replace(reference.design, assessment=None))
    task = Task(model, events, resolver, parts, death, horizon, shares)

    def of_study(given: Parameters) -> Task:
        published = Resolver(given, declared.cohort.strata, resolver.problems)
        arrays = events_of(declared, published)
        return Task(model, arrays, published, parts, death, reference.horizon, reference.shares)

    then = published_parameters(resolver, reference)
    now = published_parameters(resolver, reference, but=law_of_death(model, death))
    published = of_study(then)
    study = published if now.leaves == then.leaves and now.varied == then.varied else of_study(now)
    frailty = numbers.course.frailty
    return solve(task, published, study, arms=effects, reference=reference, rates=numbers.rates, frailty=frailty)


def _check_sizes(declared: Declarations, numbers: Numbers, resolver: Resolver) -> None:
    """Refuse grids of the quadrature that are too large, before one is made."""
    problems, reference, horizon = resolver.problems, numbers.reference, numbers.horizon
    for key, given, value in (
        ("study.horizon", declared.study.horizon, horizon),
        (f"{PREFIX}reference.horizon", declared.reference.get("horizon"), reference.horizon),
    ):
        if np.any(value > LONGEST_SOLVED) and given is not None:
            key = resolver.origins(given, key)[0]
            allowed = f"must be at most {LONGEST_SOLVED:g} days (200 years) where a number is solved up to it"
            problems.add(key, given, allowed)
    problems.raise_any()
    longest = max(float(np.max(horizon)), float(np.max(reference.horizon)))
    points, published = longest / STEP, reference.design
    visits = [("study.assessment_interval", published.assessment, 1)]
    for course in (declared.course, published.course):
        key, given = "course.max_administrations", course.max_administrations
        most = int(np.max(resolver.integers(given, key, most=MOST_ADMINISTRATIONS)))
        visits.append(("course.interval", course.interval, most))
        if most * points > MOST_POINTS:
            allowed = f"must be at most {int(MOST_POINTS / points):,} where a number is solved up to day"
            problems.add(resolver.origins(given, key)[0], given, f"{allowed} {longest:g}")
    for key, given, times in visits:
        if given is not None:
            code, values = resolver.distribution(given, "time", key)
            rows = [tuple(map(float, row)) for row in values[:, 0]]
            shortest, wait = (of(quantile(code, u, *row) for row in rows) for of, u in _ENDS)
            made = min(times, longest / max(shortest, STEP) + 1.0)
            if made * points * min(wait / STEP, points) > MOST_PRODUCTS:
                allowed = f"may be {wait:.3g} days, which takes too long where a number is solved up to day"
                problems.add(key, given, f"{allowed} {longest:g}; give a distribution that ends sooner")
    problems.raise_any()
