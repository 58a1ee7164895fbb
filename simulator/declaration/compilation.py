"""From checked declarations to tables. Knows the order: read and refuse, convert, solve, lay arms over."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from simulator.declaration.base import Declared, Expression, Name, lay_over
from simulator.declaration.baseline import (
    Reference,
    Solved,
    calibrated_death,
    law_of_death,
    plain_thresholds,
    published_parameters,
    solve,
    structure_of,
)
from simulator.declaration.cohort import Cohort, compile_patients
from simulator.declaration.course import Course, compile_course, term_rates
from simulator.declaration.events import CompiledEvents, compile_events
from simulator.declaration.interventions import ArmEffects
from simulator.declaration.latent import Design, Task
from simulator.declaration.messages import validated
from simulator.declaration.model import Event, Model
from simulator.declaration.study import Study
from simulator.declaration.values import Parameters, Problems, Resolver
from simulator.errors import MISSING, ConfigError, Problem
from simulator.kernels.hazards import FAMILIES
from simulator.kernels.quantiles import DISTRIBUTIONS, quantile
from simulator.tables import NONE, CourseTables, Driver, Floats, ModelTables, PatientTable


class Published(Declared):
    """`parameters.reference`: the published study, at which observed numbers become latent ones."""

    course: dict[str, Any] = {}
    assessment_interval: Any = None
    horizon: Expression | None = None
    mix: dict[Name, Expression] | None = None
    parameters: dict[str, Any] = {}


@dataclass
class Compilation:
    """Turns checked declarations into tables; every array has the parameter sets first."""

    model: Model
    cohort: Cohort
    course: Course
    study: Study
    reference: Mapping[str, Any]
    resolver: Resolver
    raw_course: Mapping[str, Any]
    courses: list[Course] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def run(self) -> tuple[ModelTables, dict[str, Any], Solved]:
        """Read every number, refuse what is wrong, and only then convert and solve."""
        model, cohort, resolver, problems = self.model, self.cohort, self.resolver, self.resolver.problems
        resolver.reading = True
        self._arm_effects(self._read()[2].arrays)
        problems.raise_any()
        resolver.reading = False
        horizon, patients, events, course, rates, reference, design = self._read()
        _no_nan(events.arrays, problems)
        problems.raise_any()
        n_arms = len(cohort.arm_names)
        shares = _stratum_shares(patients.share, len(cohort.strata))
        effects = self._arm_effects(events.arrays)
        thresholds, solved = self._solve(events, course, rates, reference, horizon, shares, effects)
        thresholds = np.tile(thresholds, (1, n_arms, 1))
        events.arrays["cell_ratio"] = effects.hazard_ratio
        self._refuse_odds(effects)
        course = replace(course, term_threshold=thresholds)
        self._warn(events.arrays, events.knots, course, design)
        problems.raise_any()
        arrays = dict(events.arrays)
        sizes = [len(time) for time, _ in events.knots]
        tables = ModelTables(
            states=tuple(model.states),
            markers=tuple(model.markers),
            events=tuple(model.events),
            arms=cohort.arm_names,
            strata=cohort.strata,
            outcomes=arrays.pop("outcomes"),
            causes=tuple(event.cause or name for name, event in model.events.items()),
            course=course,
            patients=patients,
            horizon=horizon,
            absorbing=np.array([s in model.absorbing for s in model.states]),
            initial_state=model.states.index(model.initial),
            initial_markers=sum(1 << model.markers.index(m) for m in set(model.initial_markers)),
            knot_offset=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            knot_time=np.concatenate([time for time, _ in events.knots] or [np.zeros(0)]),
            knot_hazard=np.concatenate([hazard for _, hazard in events.knots] or [np.zeros(0)]),
            **arrays,
        )
        return tables, design, solved

    def _solve(
        self,
        events: CompiledEvents,
        course: CourseTables,
        rates: dict[str, Floats],
        reference: Reference,
        horizon: Floats,
        shares: Floats,
        effects: ArmEffects,
    ) -> tuple[Floats, Solved]:
        """Solve what is declared as observed or marginal, in the model of the scenario and of the published study."""
        parts = structure_of(self.model, self.course, reference.design)
        if parts is None:
            for b in range(len(shares)):
                effects.apply_odds(events.arrays, b)
            return plain_thresholds(self.course, rates, shares.shape), Solved()
        death = calibrated_death(self.model, parts.multiplier)
        if list(self.model.events)[parts.multiplier] not in self.study.assessed:
            reference = replace(reference, design=replace(reference.design, assessment=None))
        task = Task(self.model, events, self.resolver, parts, death, horizon, shares)

        def of_study(given: Parameters) -> Task:
            published = Resolver(given, self.cohort.strata, self.resolver.problems)
            arrays = self._events(published)
            return Task(self.model, arrays, published, parts, death, reference.horizon, reference.shares)

        then = published_parameters(self.resolver, reference)
        now = published_parameters(self.resolver, reference, but=law_of_death(self.model, death))
        published = of_study(then)
        study = published if now.leaves == then.leaves and now.varied == then.varied else of_study(now)
        return solve(task, published, study, arms=effects, reference=reference, rates=rates, frailty=course.frailty)

    def _events(self, resolver: Resolver) -> CompiledEvents:
        return compile_events(
            self.model,
            resolver,
            n_arms=len(self.cohort.arm_names),
            covariates=tuple(self.cohort.covariates),
            response=self.course.response,
        )

    def _read(self) -> tuple[Floats, PatientTable, CompiledEvents, CourseTables, dict[str, Floats], Reference, Any]:
        """Turn declarations into arrays; nothing is solved yet. With `resolver.reading`, nothing is converted."""
        model, cohort, resolver = self.model, self.cohort, self.resolver
        self.courses = arms = self._arm_courses()
        keys = ["course" if not cohort.arms else f"cohort.arms.{name}.course" for name in cohort.arm_names]
        covariates = tuple(cohort.covariates)
        for name, event in model.events.items():
            if event.clock == "age" and "age" not in covariates:
                key = f"model.events.{name}.clock"
                resolver.problems.add(key, "age", "needs a covariate `age` in cohort.covariates")
        patients = compile_patients(cohort, resolver)
        horizon = resolver.scalar(self.study.horizon, "time", "study.horizon")
        return (
            horizon,
            patients,
            self._events(resolver),
            compile_course(
                arms,
                resolver,
                states=model.states,
                markers=model.markers,
                absorbing=model.absorbing,
                events=list(model.events),
                keys=keys,
            ),
            term_rates(self.course, resolver),
            self._reference(horizon, _stratum_shares(patients.share, len(cohort.strata))),
            self._design(patients.n_patients.size),
        )

    def _arm_courses(self) -> list[Course]:
        """The course of each arm: the common one with the arm's own keys laid over it."""
        courses = []
        problems = self.resolver.problems
        for name, arm in self.cohort.arms.items():
            raw = copy.deepcopy(dict(self.raw_course))
            lay_over(raw, arm.course, "course", set())
            key = f"cohort.arms.{name}.course"
            course = validated(Course, raw, key, problems.found)
            if course is not None:
                course.check(self.model.states, self.model.markers, self.model.events, problems, key)
                if "adverse_events" in arm.course or "response" in arm.course or "marker" in arm.course:
                    problems.add(
                        key,
                        sorted(arm.course),
                        "adverse events, response mode and marker are common to all arms: give them in `course`",
                    )
                courses.append(course)
        if len(courses) < len(self.cohort.arms):
            raise ConfigError(problems.found)
        return courses or [self.course]

    def _reference(self, horizon: Floats, shares: Floats) -> Reference:
        """The published study: what `parameters.reference` says, else what this scenario declares."""
        problems, resolver = self.resolver.problems, self.resolver
        declared = validated(Published, self.reference, "parameters.reference", problems.found) or Published()
        raw = copy.deepcopy(dict(self.raw_course))
        if self.cohort.arms:
            arms = self.cohort.arms.values()
            lay_over(raw, next((arm for arm in arms if arm.reference), next(iter(arms))).course, "course", set())
        lay_over(raw, declared.course, "course", set())
        raw["response"] = self.course.response
        course = validated(Course, raw, "parameters.reference.course", problems.found) or self.course
        assessment = declared.assessment_interval
        design = Design(course, self.study.assessment_interval if assessment is None else assessment)
        if declared.horizon is not None:
            horizon = resolver.scalar(declared.horizon, "time", "parameters.reference.horizon")
        if declared.mix is not None:
            mix = resolver.array(declared.mix, "ratio", "parameters.reference.mix")
            shares = mix / mix.sum(axis=1, keepdims=True)
        return Reference(design, declared.parameters, horizon, shares)

    def _arm_effects(self, arrays: Mapping[str, Any]) -> ArmEffects:
        """Read the effects of the arms; nothing is applied yet."""
        n_strata, names = len(self.cohort.strata), list(self.model.events)
        hazard_ratio = np.ones_like(arrays["probability"])
        odds_ratio = np.full_like(hazard_ratio, np.nan)
        for a, (arm, declared) in enumerate(self.cohort.arms.items()):
            groups = slice(a * n_strata, (a + 1) * n_strata)
            key = f"cohort.arms.{arm}.effects"
            for event, expression in declared.effects.hazard_ratio.items():
                if arrays["event_driver"][names.index(event)] == Driver.ADMINISTRATION:
                    allowed = "acts on hazards; this event follows administrations: give an odds_ratio"
                    self.resolver.problems.add(f"{key}.hazard_ratio.{event}", expression, allowed)
                hazard = self.model.events[event].hazard
                if hazard is not None and hazard.family == "fixed":
                    allowed = "acts on hazards; this event is a timer and happens after its delay whatever the ratio"
                    self.resolver.problems.add(f"{key}.hazard_ratio.{event}", expression, allowed)
                ratio = self.resolver.array(expression, "ratio", f"{key}.hazard_ratio.{event}")
                hazard_ratio[:, names.index(event), groups] = ratio
            for event, expression in declared.effects.odds_ratio.items():
                ratio = self.resolver.array(expression, "positive", f"{key}.odds_ratio.{event}")
                odds_ratio[:, names.index(event), groups] = ratio
        reference = next((i for i, arm in enumerate(self.cohort.arms.values()) if arm.reference), 0)
        return ArmEffects(hazard_ratio, odds_ratio, tuple(self.courses), reference)

    def _refuse_odds(self, effects: ArmEffects) -> None:
        """Refuse odds ratios of events without a probability."""
        arms, names = list(self.cohort.arms.items()), list(self.model.events)
        for a, e in sorted(effects.without):
            arm, declared = arms[a]
            key, expression = f"cohort.arms.{arm}.effects.odds_ratio.{names[e]}", declared.effects.odds_ratio[names[e]]
            allowed = "the event has no probability that an odds ratio could change; give a hazard ratio"
            self.resolver.problems.add(key, expression, allowed)

    def _design(self, n_sets: int) -> dict[str, Any]:
        """Arrays of the study's design, as keyword arguments of `study.design`."""
        study, model, resolver = self.study, self.model, self.resolver
        events = list(model.events)
        entry_code, entry = resolver.distribution(study.accrual, "duration", "study.accrual")
        cut = self._data_cut(n_sets, entry_code, entry[:, 0])
        assessment_code, assessment = NONE, np.zeros((n_sets, 1, 3))
        if study.assessment_interval is not None:
            assessment_code, assessment = resolver.distribution(
                study.assessment_interval, "time", "study.assessment_interval"
            )
            if np.any(assessment[:, :, 0] < 0.02):
                resolver.problems.add(
                    "study.assessment_interval",
                    study.assessment_interval,
                    "must be at least half an hour (0.02 days)",
                )
        loss_family, loss = self._loss(n_sets)
        populations = []
        for name, declared in study.populations.items():
            key = f"study.populations.{name}"
            by_stratum = resolver.array(declared.probability, "probability", f"{key}.probability")
            alive_at = np.full(n_sets, np.inf)
            if declared.alive_at is not None:
                alive_at = resolver.scalar(declared.alive_at, "duration", f"{key}.alive_at")
            populations.append(
                {
                    "name": name,
                    "of": declared.of,
                    "probability": np.tile(by_stratum, (1, len(self.cohort.arm_names))),
                    "always_event": NONE if declared.always is None else events.index(declared.always),
                    "exclude_event": NONE if declared.exclude is None else events.index(declared.exclude),
                    "alive_at": alive_at,
                }
            )
        return {
            "populations": populations,
            "entry_code": np.full(n_sets, entry_code),
            "entry": entry[:, 0],
            "data_cut": cut,
            "loss_family": loss_family,
            "loss": loss,
            "assessment_code": np.full(n_sets, assessment_code),
            "assessment": assessment[:, 0],
            "assessed": np.array([name in study.assessed for name in events]),
            "counted": np.array([term.counted for term in self.course.adverse_events.terms.values()], dtype=bool),
        }

    def _data_cut(self, n_sets: int, entry_code: int, entry: Floats) -> Floats:
        """Time of the analysis, (parameter sets,): as declared, or so long after the last possible entry."""
        study, resolver = self.study, self.resolver
        if study.data_cut is not None:
            return resolver.scalar(study.data_cut, "duration", "study.data_cut")
        if study.minimum_follow_up is None:
            return np.full(n_sets, np.inf)
        least = resolver.scalar(study.minimum_follow_up, "duration", "study.minimum_follow_up")
        last = {DISTRIBUTIONS["fixed"]: 0, DISTRIBUTIONS["uniform"]: 1, DISTRIBUTIONS["triangular"]: 2}
        if entry_code not in last:
            allowed = "needs an accrual that ends: a fixed, uniform or triangular one; or give study.data_cut"
            resolver.problems.add("study.minimum_follow_up", study.minimum_follow_up, allowed)
            return np.full(n_sets, np.inf)
        return entry[:, last[entry_code]] + least

    def _loss(self, n_sets: int) -> tuple[Any, Floats]:
        """Loss to follow-up as a hazard; the same families as events, without tables or cure."""
        declared = self.study.loss_to_follow_up
        if declared is None:
            return np.full(n_sets, NONE), np.zeros((n_sets, 3))
        if declared.observed or declared.solved_for is not None:
            self.resolver.problems.add("study.loss_to_follow_up", MISSING, "takes neither `observed` nor `solved_for`")
        state = self.model.initial
        event = Event.model_validate({"from": [state], "set": ["x"], "hazard": declared})
        lone = Model.model_construct(
            states=self.model.states,
            absorbing=self.model.absorbing,
            initial=state,
            markers=["x"],
            initial_markers=[],
            events={"study.loss_to_follow_up": event},
        )
        arrays = compile_events(lone, self.resolver, n_arms=1, covariates=(), response="continuous").arrays
        if np.any(arrays["family"] == FAMILIES["tabulated"]) or np.any(arrays["probability"] != 1.0):
            self.resolver.problems.add(
                "study.loss_to_follow_up",
                MISSING,
                "must be a plain hazard family, without tables or a probability",
            )
        if np.any(arrays["parameters"] != arrays["parameters"][:, :, :1]):
            self.resolver.problems.add("study.loss_to_follow_up", MISSING, "must be the same for every stratum")
        return arrays["family"][:, 0, 0], arrays["parameters"][:, 0, 0]

    def _warn(self, arrays: Mapping[str, Any], knots: list[Any], course: Any, design: Mapping[str, Any]) -> None:
        if np.all(course.maximum <= 1) and self.course.interval is not None:
            self.warnings.append("course.interval is inert: at most one administration is given")
        self._warn_entry(design)
        for e, name in enumerate(self.model.events):
            for table in np.unique(arrays["table"][:, e]):
                hazard = self.model.events[name].hazard
                if table != NONE and hazard is not None and hazard.family == "tabulated":
                    end = knots[int(table)][0][-1]
                    self.warnings.append(
                        f"model.events.{name}.hazard ends at day {end:g}: nothing happens after the last point"
                    )

    def _warn_entry(self, design: Mapping[str, Any]) -> None:
        """Warn of entries after the data cut, and of ages that look like years written as days."""
        late = quantile(int(design["entry_code"][0]), 0.999, *map(float, design["entry"][0]))
        if late > design["data_cut"][0]:
            told = f"study.data_cut comes before the last entries (day {late:g}): those are followed for 0 days"
            self.warnings.append(told)
        age = self.cohort.covariates.get("age")
        if age is None:
            return
        code, values = self.resolver.distribution(age, "duration", "cohort.covariates.age", by_stratum=True)
        if quantile(code, 0.5, *map(float, values[0, 0])) < 365.25:
            self.warnings.append("cohort.covariates.age is below one year for most: a bare number is in days")


def _no_nan(arrays: Mapping[str, Any], problems: Problems) -> None:
    if problems.found:
        return
    for name, array in arrays.items():
        if isinstance(array, np.ndarray) and array.dtype.kind == "f" and np.isnan(array).any():
            problems.found.append(
                Problem(f"model ({name})", MISSING, "a value could not be computed from what was declared")
            )


def _stratum_shares(share: Floats, n_strata: int) -> Floats:
    n_sets = share.shape[0]
    return np.asarray(share.reshape(n_sets, -1, n_strata).sum(axis=1))
