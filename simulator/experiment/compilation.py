"""From declarations to tables: read every number and refuse what is wrong, then convert, solve, lay arms over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from simulator.configuration.values import Problems, Resolver
from simulator.errors import MISSING, ConfigError, Problem
from simulator.experiment.attribution import attributed
from simulator.experiment.numbers import Declarations, Numbers, arm_effects, read_numbers, refuse_odds
from simulator.experiment.plausibility import suspicions
from simulator.experiment.solution import solution
from simulator.kernels.quantiles import quantile
from simulator.model.course import Course
from simulator.solving.baseline import Solved
from simulator.tables import NONE, CourseTables, ModelTables


@dataclass(frozen=True)
class Compiled:
    """Tables, what was solved, and what is surely not meant in the numbers.

    ``design``: keyword arguments of `study.design.StudyDesign`. ``courses``: of each arm.
    """

    tables: ModelTables
    design: Mapping[str, Any]
    solved: Solved
    courses: tuple[Course, ...]
    warnings: tuple[str, ...]


def compile_declarations(declared: Declarations, resolver: Resolver) -> Compiled:
    """Return the tables of what is declared. Raises ConfigError with every problem of the step that fails."""
    problems = resolver.problems
    try:
        resolver.reading = True
        arm_effects(declared, read_numbers(declared, resolver), resolver)
        problems.raise_any()
        resolver.reading = False
        numbers = read_numbers(declared, resolver)
        effects = arm_effects(declared, numbers, resolver)
        _no_nan(numbers.events.arrays, problems)
        problems.raise_any()
    except ConfigError as refusal:
        raise ConfigError([attributed(problem, declared, solved=False) for problem in refusal.problems]) from None
    try:
        thresholds, solved = solution(declared, numbers, effects, resolver)
        _no_nan({"knots": np.concatenate([hazard for _, hazard in numbers.events.knots] or [np.zeros(0)])}, problems)
        problems.raise_any()
    except ConfigError as refusal:  # of a consequence of many numbers
        raise ConfigError([attributed(problem, declared, solved=True) for problem in refusal.problems]) from None
    numbers.events.arrays["cell_ratio"] = effects.hazard_ratio
    refuse_odds(declared, effects, problems)
    n_arms = len(declared.cohort.arm_names)
    course = replace(numbers.course, term_threshold=np.tile(thresholds, (1, n_arms, 1)))
    problems.raise_any()
    warnings = tuple(doubts_of(declared, numbers, resolver))
    problems.raise_any()
    return Compiled(_tables(declared, numbers, course), numbers.design, solved, numbers.courses, warnings)


def _tables(declared: Declarations, numbers: Numbers, course: CourseTables) -> ModelTables:
    model, cohort, knots = declared.model, declared.cohort, numbers.events.knots
    arrays = dict(numbers.events.arrays)
    return ModelTables(
        states=tuple(model.states),
        markers=tuple(model.markers),
        events=tuple(model.events),
        arms=cohort.arm_names,
        strata=cohort.strata,
        outcomes=arrays.pop("outcomes"),
        causes=tuple(event.cause or name for name, event in model.events.items()),
        course=course,
        patients=numbers.patients,
        horizon=numbers.horizon,
        absorbing=np.array([s in model.absorbing for s in model.states]),
        initial_state=model.states.index(model.initial),
        initial_markers=sum(1 << model.markers.index(m) for m in set(model.initial_markers)),
        knot_offset=np.concatenate([[0], np.cumsum([len(time) for time, _ in knots])]).astype(np.int64),
        knot_time=np.concatenate([time for time, _ in knots] or [np.zeros(0)]),
        knot_hazard=np.concatenate([hazard for _, hazard in knots] or [np.zeros(0)]),
        **arrays,
    )


def doubts_of(declared: Declarations, numbers: Numbers, resolver: Resolver) -> Iterator[str]:
    """Yield what is legal in the numbers and surely not meant, or has no effect."""
    if np.all(numbers.course.maximum <= 1) and declared.course.interval is not None:
        yield "course.interval is inert: at most one administration is given"
    yield from _entries(declared, numbers.design, resolver)
    yield from suspicions(declared.model, declared.cohort, resolver, float(numbers.horizon[0]))
    for e, name in enumerate(declared.model.events):
        for table in np.unique(numbers.events.arrays["table"][:, e]):
            hazard = declared.model.events[name].hazard
            if table != NONE and hazard is not None and hazard.family == "tabulated":
                end = numbers.events.knots[int(table)][0][-1]
                yield f"model.events.{name}.hazard ends at day {end:g}: nothing happens after the last point"


def _entries(declared: Declarations, design: Mapping[str, Any], resolver: Resolver) -> Iterator[str]:
    """Yield a warning of entries after the data cut, and of ages that look like years written as days."""
    late = quantile(int(design["entry_code"][0]), 0.999, *map(float, design["entry"][0]))
    if late > design["data_cut"][0]:
        yield f"study.data_cut comes before the last entries (day {late:g}): those are followed for 0 days"
    age = declared.cohort.covariates.get("age")
    if age is None:
        return
    code, values = resolver.distribution(age, "duration", "cohort.covariates.age", by_stratum=True)
    if quantile(code, 0.5, *map(float, values[0, 0])) < 365.25:
        yield "cohort.covariates.age is below one year for most: a bare number is in days"


def _no_nan(arrays: Mapping[str, Any], problems: Problems) -> None:
    if problems.found:
        return
    for name, array in arrays.items():
        if isinstance(array, np.ndarray) and array.dtype.kind == "f" and np.isnan(array).any():
            problems.found.append(
                Problem(f"model ({name})", MISSING, "a value could not be computed from what was declared")
            )
