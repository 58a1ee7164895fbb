"""From checked declarations to tables. Knows the order: read and refuse, convert, solve, lay arms over."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from simulator.configuration.fields import Declared, Expression, Name
from simulator.configuration.layers import lay_over
from simulator.configuration.messages import validated
from simulator.configuration.values import PREFIX, Parameters, Problems, Resolver, nearest_to_the_run
from simulator.errors import MISSING, ConfigError, Problem
from simulator.experiment.plausibility import suspicions
from simulator.kernels.hazards import FAMILIES
from simulator.kernels.quantiles import DISTRIBUTIONS, quantile
from simulator.model.cohort import Cohort, compile_patients
from simulator.model.course import MOST_ADMINISTRATIONS, Course, compile_course, term_rates
from simulator.model.events import CompiledEvents, compile_events
from simulator.model.model import Event, Model, references
from simulator.model.study import Study
from simulator.solving.baseline import (
    Reference,
    Solved,
    calibrated_death,
    law_of_death,
    plain_thresholds,
    published_parameters,
    solve,
    structure_of,
)
from simulator.solving.interventions import ArmEffects
from simulator.solving.latent import STEP, Design, Task
from simulator.tables import NONE, CourseTables, Driver, Floats, ModelTables, PatientTable

LONGEST_SOLVED = 73_050.0
"""Longest horizon to which numbers are solved, days: the quadrature has four points a day."""
MOST_POINTS = 10**8
"""Points of the distributions of the times of all administrations, where a number is solved."""
MOST_PRODUCTS = 1e8
"""Products of a convolution of such distributions."""
_ENDS = ((min, 1e-3), (max, 1.0 - 1e-12))
MOST_VISITS = 100_000
"""Assessments of one patient."""


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
    by_hand: Mapping[str, str] = field(default_factory=dict)  # dotted keys that the user set, and their values
    courses: list[Course] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def run(self) -> tuple[ModelTables, dict[str, Any], Solved]:
        """Read every number, refuse what is wrong, and only then convert and solve."""
        model, cohort, resolver, problems = self.model, self.cohort, self.resolver, self.resolver.problems
        try:
            resolver.reading = True
            self._arm_effects(self._read()[2].arrays)
            problems.raise_any()
            resolver.reading = False
            horizon, patients, events, course, rates, reference, design = self._read()
            effects = self._arm_effects(events.arrays)
            _no_nan(events.arrays, problems)
            problems.raise_any()
        except ConfigError as refusal:
            raise ConfigError([self._attributed(problem, solved=False) for problem in refusal.problems]) from None
        n_arms = len(cohort.arm_names)
        shares = _stratum_shares(patients.share, len(cohort.strata))
        try:
            thresholds, solved = self._solve(events, course, rates, reference, horizon, shares, effects)
            _no_nan({"knots": np.concatenate([hazard for _, hazard in events.knots] or [np.zeros(0)])}, problems)
            problems.raise_any()
        except ConfigError as refusal:  # of a consequence of many numbers
            raise ConfigError([self._attributed(problem, solved=True) for problem in refusal.problems]) from None
        thresholds = np.tile(thresholds, (1, n_arms, 1))
        events.arrays["cell_ratio"] = effects.hazard_ratio
        self._refuse_odds(effects)
        course = replace(course, term_threshold=thresholds)
        problems.raise_any()
        self._warn(events.arrays, events.knots, course, design, float(horizon[0]))
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

    def _attributed(self, problem: Problem, *, solved: bool) -> Problem:
        """Return a problem of several numbers as one of the number among them that the user set by hand.

        It stays what it is where the user set none of them, or what it names. ``solved``: it is of a solved number,
        which follows from more than stands at its key.
        """

        def is_of(key: str, other: str) -> bool:
            return f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}.")

        if any(is_of(key, problem.key) for key in self.by_hand):
            return problem
        behind = [PREFIX + path for path in references(self._at(problem.key))]
        behind += self._behind_solved() if solved else []
        drivers = [key for key in self.by_hand if any(is_of(key, other) for other in behind)]
        if not drivers:
            return problem
        first, *others = drivers
        also = f" ({', '.join(f'{key} = {self.by_hand[key]}' for key in others)} is set by hand too)" if others else ""
        allowed = f"does not go with the rest{also}: {replace(problem, parameter_set=None)}"
        return replace(problem, key=first, value=self.by_hand[first], allowed=allowed)

    def _at(self, key: str) -> Any:
        """Return what is declared at a key, None where nothing is found."""
        node: Any = {"model": self.model, "cohort": self.cohort, "course": self.course, "study": self.study}
        for step in key.split("."):
            node = node.get(step) if isinstance(node, Mapping) else getattr(node, step, None)
        return node

    def _behind_solved(self) -> list[str]:
        """Return the keys of everything that a solved number may follow from."""
        course = {name: value for name, value in self.course if name != "adverse_events"}
        study = {name: value for name, value in self.study if name.startswith("assess")}
        paths = references([self.model, course, study, dict(self.cohort.mix)])
        named = [*(f"course.{name}" for name in course), *(f"study.{name}" for name in study)]
        groups = ["model", "cohort.mix", "cohort.arms", "study.horizon", "study.reading", f"{PREFIX}reference"]
        return [*(PREFIX + path for path in paths), *named, *groups]

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
        self._check_sizes(horizon, reference)
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

    def _check_sizes(self, horizon: Floats, reference: Reference) -> None:
        """Refuse grids of the quadrature that are too large, before one is made."""
        problems = self.resolver.problems
        for key, declared, value in (
            ("study.horizon", self.study.horizon, horizon),
            (f"{PREFIX}reference.horizon", self.reference.get("horizon"), reference.horizon),
        ):
            if np.any(value > LONGEST_SOLVED) and declared is not None:
                key = self.resolver.origins(declared, key)[0]
                allowed = f"must be at most {LONGEST_SOLVED:g} days (200 years) where a number is solved up to it"
                problems.add(key, declared, allowed)
        problems.raise_any()
        longest = max(float(np.max(horizon)), float(np.max(reference.horizon)))
        points, published = longest / STEP, reference.design
        visits = [("study.assessment_interval", published.assessment, 1)]
        for course in (self.course, published.course):
            key, declared = "course.max_administrations", course.max_administrations
            most = int(np.max(self.resolver.integers(declared, key, most=MOST_ADMINISTRATIONS)))
            visits.append(("course.interval", course.interval, most))
            if most * points > MOST_POINTS:
                allowed = f"must be at most {int(MOST_POINTS / points):,} where a number is solved up to day"
                problems.add(self.resolver.origins(declared, key)[0], declared, f"{allowed} {longest:g}")
        for key, declared, times in visits:
            if declared is not None:
                code, values = self.resolver.distribution(declared, "time", key)
                rows = [tuple(map(float, row)) for row in values[:, 0]]
                shortest, wait = (of(quantile(code, u, *row) for row in rows) for of, u in _ENDS)
                made = min(times, longest / max(shortest, STEP) + 1.0)
                if made * points * min(wait / STEP, points) > MOST_PRODUCTS:
                    allowed = f"may be {wait:.3g} days, which takes too long where a number is solved up to day"
                    problems.add(key, declared, f"{allowed} {longest:g}; give a distribution that ends sooner")
        problems.raise_any()

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
            self._design(patients.n_patients.size, horizon),
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

    def _design(self, n_sets: int, horizon: Floats) -> dict[str, Any]:
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
            if not resolver.reading:
                self._check_visits(assessment_code, assessment, float(np.max(horizon)))
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

    def _check_visits(self, code: int, interval: Floats, horizon: float) -> None:
        """Refuse intervals between assessments that are near 0, or too short for the horizon."""
        study, problems = self.study, self.resolver.problems
        shortest, middle = (min(quantile(code, u, *map(float, row)) for row in interval[:, 0]) for u in (1e-3, 0.5))
        if np.any(interval[:, :, 0] < 0.02) or shortest < 1e-6:
            allowed = "must be at least half an hour (0.02 days), and hardly ever near 0"
            problems.add("study.assessment_interval", study.assessment_interval, allowed)
        elif horizon > MOST_VISITS * middle:
            key = nearest_to_the_run(("study.assessment_interval", "study.horizon"), self.by_hand)
            allowed = f"makes more than {MOST_VISITS:,} assessments until day {horizon:g}, the horizon; set a longer"
            allowed += " study.assessment_interval or a shorter study.horizon"
            problems.add(key, getattr(study, key.partition(".")[2]), allowed)

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

    def _warn(
        self, arrays: Mapping[str, Any], knots: list[Any], course: Any, design: Mapping[str, Any], horizon: float
    ) -> None:
        if np.all(course.maximum <= 1) and self.course.interval is not None:
            self.warnings.append("course.interval is inert: at most one administration is given")
        self._warn_entry(design)
        self.warnings += suspicions(self.model, self.cohort, self.resolver, horizon)
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
