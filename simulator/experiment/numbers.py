"""Every declared number as an array, parameter sets first; nothing is solved yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from simulator.configuration.fields import Declared, Expression, Name
from simulator.configuration.layers import merged
from simulator.configuration.messages import validated
from simulator.configuration.values import Leaf, Problems, Resolver
from simulator.errors import ConfigError
from simulator.model.cohort import Cohort, compile_patients
from simulator.model.course import Course, compile_course, term_rates
from simulator.model.design import compile_design
from simulator.model.events import CompiledEvents, compile_events
from simulator.model.model import Model
from simulator.model.study import Study
from simulator.solving.baseline import Reference
from simulator.solving.interventions import ArmEffects
from simulator.solving.latent import Schedule
from simulator.tables import CourseTables, Driver, Floats, PatientTable


@dataclass(frozen=True)
class Declarations:
    """What is declared, each group checked by itself and against the names of the others.

    ``reference``: `parameters.reference` as written. ``raw_course``: the course as written, for arms to be laid over.
    ``by_hand``: dotted keys that the user set, and their values.
    """

    model: Model
    cohort: Cohort
    course: Course
    study: Study
    reference: Mapping[str, Any]
    leaves: Mapping[str, Leaf]
    raw_course: Mapping[str, Any]
    by_hand: Mapping[str, str]


class Published(Declared):
    """`parameters.reference`: the published study, at which observed numbers become latent ones."""

    course: dict[str, Any] = {}
    assessment_interval: Any = None
    horizon: Expression | None = None
    mix: dict[Name, Expression] | None = None
    parameters: dict[str, Any] = {}


@dataclass(frozen=True)
class Numbers:
    """Arrays of what is declared.

    ``horizon``: (parameter sets,), days. ``shares``: of the strata, (parameter sets, strata). ``rates``: of adverse
    events, as declared. ``reference``: the published study. ``design``: arguments of `study.design.StudyDesign`.
    ``courses``: of each arm.
    """

    horizon: Floats
    patients: PatientTable
    shares: Floats
    events: CompiledEvents
    course: CourseTables
    rates: dict[str, Floats]
    reference: Reference
    design: dict[str, Any]
    courses: tuple[Course, ...]


def read_numbers(declared: Declarations, resolver: Resolver) -> Numbers:
    """Turn declarations into arrays. With `resolver.reading`, nothing is converted."""
    model, cohort, course = declared.model, declared.cohort, declared.course
    courses = _arm_courses(declared, resolver.problems)
    keys = ["course" if not cohort.arms else f"cohort.arms.{name}.course" for name in cohort.arm_names]
    for name, event in model.events.items():
        if event.clock == "age" and "age" not in cohort.covariates:
            key = f"model.events.{name}.clock"
            resolver.problems.add(key, "age", "needs a covariate `age` in cohort.covariates")
    patients = compile_patients(cohort, resolver)
    horizon = resolver.scalar(declared.study.horizon, "time", "study.horizon")
    share = patients.share
    shares = np.asarray(share.reshape(share.shape[0], -1, len(cohort.strata)).sum(axis=1))
    return Numbers(
        horizon=horizon,
        patients=patients,
        shares=shares,
        events=events_of(declared, resolver),
        course=compile_course(
            courses,
            resolver,
            states=model.states,
            markers=model.markers,
            absorbing=model.absorbing,
            events=list(model.events),
            keys=keys,
        ),
        rates=term_rates(course, resolver),
        reference=_reference(declared, resolver, horizon, shares),
        design=compile_design(
            declared.study,
            model,
            [term.counted for term in course.adverse_events.terms.values()],
            resolver,
            n_arms=len(cohort.arm_names),
            n_sets=patients.n_patients.size,
            horizon=horizon,
            by_hand=declared.by_hand,
        ),
        courses=tuple(courses),
    )


def events_of(declared: Declarations, resolver: Resolver) -> CompiledEvents:
    """Return the events as arrays, of the parameters that a resolver knows."""
    return compile_events(
        declared.model,
        resolver,
        n_arms=len(declared.cohort.arm_names),
        covariates=tuple(declared.cohort.covariates),
        response=declared.course.response,
    )


def arm_effects(declared: Declarations, numbers: Numbers, resolver: Resolver) -> ArmEffects:
    """Read the effects of the arms; nothing is applied yet."""
    arrays, n_strata, names = numbers.events.arrays, len(declared.cohort.strata), list(declared.model.events)
    hazard_ratio = np.ones_like(arrays["probability"])
    odds_ratio = np.full_like(hazard_ratio, np.nan)
    for a, (arm, own) in enumerate(declared.cohort.arms.items()):
        groups = slice(a * n_strata, (a + 1) * n_strata)
        key = f"cohort.arms.{arm}.effects"
        for event, expression in own.effects.hazard_ratio.items():
            if arrays["event_driver"][names.index(event)] == Driver.ADMINISTRATION:
                allowed = "acts on hazards; this event follows administrations: give an odds_ratio"
                resolver.problems.add(f"{key}.hazard_ratio.{event}", expression, allowed)
            hazard = declared.model.events[event].hazard
            if hazard is not None and hazard.family == "fixed":
                allowed = "acts on hazards; this event is a timer and happens after its delay whatever the ratio"
                resolver.problems.add(f"{key}.hazard_ratio.{event}", expression, allowed)
            ratio = resolver.array(expression, "ratio", f"{key}.hazard_ratio.{event}")
            hazard_ratio[:, names.index(event), groups] = ratio
        for event, expression in own.effects.odds_ratio.items():
            ratio = resolver.array(expression, "positive", f"{key}.odds_ratio.{event}")
            odds_ratio[:, names.index(event), groups] = ratio
    reference = next((i for i, arm in enumerate(declared.cohort.arms.values()) if arm.reference), 0)
    return ArmEffects(hazard_ratio, odds_ratio, numbers.courses, reference)


def refuse_odds(declared: Declarations, effects: ArmEffects, problems: Problems) -> None:
    """Refuse odds ratios of events without a probability."""
    arms, names = list(declared.cohort.arms.items()), list(declared.model.events)
    for a, e in sorted(effects.without):
        arm, own = arms[a]
        key, expression = f"cohort.arms.{arm}.effects.odds_ratio.{names[e]}", own.effects.odds_ratio[names[e]]
        allowed = "the event has no probability that an odds ratio could change; give a hazard ratio"
        problems.add(key, expression, allowed)


def _arm_courses(declared: Declarations, problems: Problems) -> list[Course]:
    """The course of each arm: the common one with the arm's own keys laid over it."""
    courses = []
    for name, arm in declared.cohort.arms.items():
        raw = merged(declared.raw_course, arm.course)
        key = f"cohort.arms.{name}.course"
        course = validated(Course, raw, key, problems.found)
        if course is not None:
            course.check(declared.model.states, declared.model.markers, declared.model.events, problems, key)
            if "adverse_events" in arm.course or "response" in arm.course or "marker" in arm.course:
                problems.add(
                    key,
                    sorted(arm.course),
                    "adverse events, response mode and marker are common to all arms: give them in `course`",
                )
            courses.append(course)
    if len(courses) < len(declared.cohort.arms):
        raise ConfigError(problems.found)
    return courses or [declared.course]


def _reference(declared: Declarations, resolver: Resolver, horizon: Floats, shares: Floats) -> Reference:
    """The published study: what `parameters.reference` says, else what this scenario declares."""
    problems = resolver.problems
    published = validated(Published, declared.reference, "parameters.reference", problems.found) or Published()
    raw = dict(declared.raw_course)
    if declared.cohort.arms:
        arms = declared.cohort.arms.values()
        raw = merged(raw, next((arm for arm in arms if arm.reference), next(iter(arms))).course)
    raw = merged(raw, published.course) | {"response": declared.course.response}
    course = validated(Course, raw, "parameters.reference.course", problems.found) or declared.course
    assessment = published.assessment_interval
    design = Schedule(course, declared.study.assessment_interval if assessment is None else assessment)
    if published.horizon is not None:
        horizon = resolver.scalar(published.horizon, "time", "parameters.reference.horizon")
    if published.mix is not None:
        mix = resolver.array(published.mix, "ratio", "parameters.reference.mix")
        shares = mix / mix.sum(axis=1, keepdims=True)
    return Reference(design, published.parameters, horizon, shares)
