"""From a composed configuration to everything declared, checked, and to tables. Knows all groups' keys."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from simulator.declaration import evidence as evidence_file
from simulator.declaration.base import Declared, Expression, Name, Time, replaces
from simulator.declaration.baseline import (
    Reference,
    Solved,
    calibrated_death,
    plain_thresholds,
    published_parameters,
    solve,
    structure_of,
)
from simulator.declaration.cohort import Cohort, compile_patients
from simulator.declaration.course import Course, compile_course, term_rates
from simulator.declaration.latent import Design, Task
from simulator.declaration.messages import problems_of
from simulator.declaration.model import CompiledEvents, Model, compile_events, references
from simulator.declaration.study import Study
from simulator.declaration.values import PREFIX, Leaf, Parameters, Problems, Resolver, parameter_leaves
from simulator.errors import MISSING, ConfigError, DeclarationWarning, Problem
from simulator.kernels.hazards import FAMILIES
from simulator.kernels.quantiles import quantile
from simulator.tables import NONE, CourseTables, Driver, Floats, ModelTables, PatientTable

GROUPS = ("cohort", "model", "course", "study")
OPEN = ("cohort", "study", "parameters", "course")
"""Groups that a reading may patch."""

_Model = TypeVar("_Model", bound=BaseModel)


class Output(Declared):
    """What to keep."""

    patients: bool = False
    events: bool = False
    time_step: Time = Field(default=7.0, gt=0)


class Published(Declared):
    """`parameters.reference`: the published study, at which observed numbers become latent ones."""

    course: dict[str, Any] = {}
    assessment_interval: Any = None
    horizon: Expression | None = None
    mix: dict[Name, Expression] | None = None
    parameters: dict[str, Any] = {}


class Root(Declared):
    """Keys at the top of a configuration, beside the groups."""

    seed: int = Field(default=0, ge=0, lt=2**64)
    engine: Literal["auto", "reference", "compiled"] = "auto"
    launcher: Literal["local"] = "local"
    output: Output = Output()


@dataclass(frozen=True, eq=False)
class Experiment:
    """One declared cohort, ready to run: what was declared, what was solved, and the tables."""

    config: Mapping[str, Any]
    overrides: tuple[str, ...]
    root: Root
    evidence: evidence_file.EvidenceFile
    selection: evidence_file.Selection
    model: Model
    cohort: Cohort
    course: Course
    courses: tuple[Course, ...]  # of each arm
    study: Study
    parameters: Mapping[str, Leaf]
    solved: Solved
    tables: ModelTables
    design: Mapping[str, Any]  # keyword arguments of study.design.StudyDesign
    warnings: tuple[str, ...] = ()
    unused: tuple[str, ...] = field(default=())

    @property
    def name(self) -> str:
        return self.cohort.name


def declare(
    container: Mapping[str, Any],
    *,
    overrides: Sequence[str] = (),
    varied: Mapping[str, Sequence[Any]] | None = None,
) -> Experiment:
    """Check a composed configuration and compile it.

    Parameters
    ----------
    container : the composed configuration as plain Python values, without ``hydra``.
    overrides : the user's ``key=value`` texts; they win over a reading's patches, and
        ``cohort.mix.<stratum>=share`` rescales the other strata.
    varied : parameter path → one value a parameter set, for a batch of parameter sets.

    Raises
    ------
    ConfigError
        With every problem that was found.
    """
    problems = Problems()
    groups = _groups(container, problems)
    evidence = _evidence(container["evidence"], problems)
    selection = _select(evidence, groups, overrides, problems) if evidence is not None else None
    _rescale_mix(groups["cohort"], overrides, problems)
    top = {k: v for k, v in container.items() if k not in {*GROUPS, "parameters", "evidence"}}
    root = _validated(Root, top, "", problems)
    elsewhere = len(problems.found)  # these do not keep the numbers of the other groups from being read
    model = _validated(Model, groups["model"], "model", problems)
    cohort = _validated(Cohort, groups["cohort"], "cohort", problems)
    course = _validated(Course, groups["course"], "course", problems)
    study = _validated(Study, groups["study"], "study", problems)
    reference = groups["parameters"].pop("reference", None) or {}
    leaves = parameter_leaves(groups["parameters"], problems)
    if model is not None:
        model.check(problems)
        if cohort is not None:
            cohort.check(model.events, problems)
        if course is not None:
            course.check(model.states, model.markers, model.events, problems, "course")
        if study is not None:
            study.check(model.events, problems)
    if len(problems.found) > elsewhere or model is None or cohort is None or course is None or study is None:
        raise ConfigError(problems.found)
    parameters = Parameters(leaves, 1).replaced(varied or {})
    resolver = Resolver(parameters, cohort.strata, problems)
    compiled = _Compilation(model, cohort, course, study, reference, resolver, groups["course"])
    if selection is not None:
        _check_targets(selection, model, cohort, course, study, problems)
    tables, design, solved = compiled.run()
    if evidence is None or selection is None or root is None:
        raise ConfigError(problems.found)
    for entry in selection.targets:
        if entry.statistic is not None and (entry.statistic.time or 0.0) >= tables.horizon[0]:
            key = f"evidence.entries.{entry.id}.statistic.time"
            problems.add(key, entry.statistic.time, f"must be before the horizon, day {tables.horizon[0]:g}")
    problems.raise_any()
    referred = parameters.used | references(groups)
    unused = tuple(p for p in leaves if p not in referred and p.rpartition(".")[0] not in referred)
    told = [
        *compiled.warnings,
        *(f"{PREFIX}{path} is not used by any declaration of this cohort" for path in unused),
    ]
    for text in told:
        warnings.warn(text, DeclarationWarning, stacklevel=2)
    return Experiment(
        container,
        tuple(overrides),
        root,
        evidence,
        selection,
        model,
        cohort,
        course,
        tuple(compiled.courses),
        study,
        leaves,
        solved,
        tables,
        design,
        tuple(told),
        unused,
    )


def _groups(container: Mapping[str, Any], problems: Problems) -> dict[str, dict[str, Any]]:
    """Return a copy of every group but the evidence; ConfigError where one is missing or a key is unknown."""
    names = (*GROUPS, "parameters", "evidence")
    known = {*names, *Root.model_fields}
    for key in container:
        if key not in known:
            problems.unknown(str(key), str(key), known, what="key")
    for name in names:
        group = container.get(name)
        if not isinstance(group, Mapping):
            value = MISSING if group is None else group
            problems.add(name, value, f"is missing: the cohort's defaults must name a {name} file")
    problems.raise_any()
    return {name: copy.deepcopy(dict(container[name])) for name in names[:-1]}


def _evidence(container: object, problems: Problems) -> evidence_file.EvidenceFile | None:
    try:
        return evidence_file.load(container)
    except ConfigError as refusal:
        problems.found.extend(refusal.problems)
        return None


def _validated(kind: type[_Model], data: Any, root: str, problems: Problems) -> _Model | None:
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        problems.found.extend(problems_of(error, root, kind, data))
        return None


def _select(
    evidence: evidence_file.EvidenceFile, groups: dict[str, Any], overrides: Sequence[str], problems: Problems
) -> evidence_file.Selection:
    """Choose readings and lay their patches over the groups; what the user set by hand stays."""
    try:
        selection = evidence.select(groups["study"].get("reading"))
    except ConfigError as refusal:
        problems.found.extend(refusal.problems)
        return evidence.select(None)
    by_hand = {key for key, _ in map(_split, overrides)}
    for name in OPEN:
        _lay_over(groups[name], getattr(selection, name), name, by_hand)
    return selection


def _lay_over(base: Any, patch: Mapping[str, Any], key: str, by_hand: set[str]) -> None:
    for name, value in patch.items():
        here = f"{key}.{name}"
        if here in by_hand or f"{here}.value" in by_hand:
            continue
        old = base.get(name)
        if (
            isinstance(value, Mapping)
            and isinstance(old, Mapping)
            and "value" not in value
            and not replaces(value, old)
        ):
            _lay_over(old, value, here, by_hand)
        else:
            base[name] = copy.deepcopy(value)


def _split(override: str) -> tuple[str, str]:
    key, _, value = override.partition("=")
    return key.lstrip("+").strip(), value


def _rescale_mix(cohort: dict[str, Any], overrides: Sequence[str], problems: Problems) -> None:
    """``cohort.mix.<stratum>=share``: that stratum gets the share, the others keep their proportions."""
    prefix = "cohort.mix."
    mine = [key[len(prefix) :] for key, _ in map(_split, overrides) if key.startswith(prefix)]
    mix = cohort.get("mix")
    if not mine or not isinstance(mix, dict) or any(name not in mix for name in mine):
        return
    fixed = {name: mix[name] for name in mine}
    if any(isinstance(v, bool) or not isinstance(v, (int, float)) or not 0 <= v <= 1 for v in fixed.values()):
        for name, value in fixed.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
                problems.add(prefix + name, value, "must be a share between 0 and 1; the other strata are rescaled")
        return
    others = {name: value for name, value in mix.items() if name not in fixed}
    if any(isinstance(v, bool) or not isinstance(v, (int, float)) for v in others.values()):
        problems.add("cohort.mix", dict(mix), "only a mix of plain numbers can be rescaled: set every stratum's share")
        return
    rest, total = 1.0 - sum(fixed.values()), sum(others.values())
    if rest < -1e-9 or (not others and abs(rest) > 1e-9):
        problems.add("cohort.mix", fixed, "the shares must sum to at most 1 (to 1 if all are given)")
        return
    for name, value in others.items():
        mix[name] = max(rest, 0.0) * (value / total if total > 0 else 1.0 / len(others))


def _check_targets(
    selection: evidence_file.Selection,
    model: Model,
    cohort: Cohort,
    course: Course,
    study: Study,
    problems: Problems,
) -> None:
    """Every target must refer to what this cohort has."""
    known = {
        "stratum": cohort.strata,
        "arm": cohort.arm_names,
        "population": ("treated", *study.populations),
        "adverse_event": ("any", *course.adverse_events.terms),
        "state": model.states,
        "event": model.events,
        "administrations_before": model.events,
    }
    seen = {*model.events, *model.markers}
    for entry in selection.targets:
        statistic, key = entry.statistic, f"evidence.entries.{entry.id}.statistic"
        if statistic is None:
            continue
        column = statistic.column
        if column.kind == "dose" and course.dose is None:
            problems.add(f"{key}.variable", statistic.variable, "the course declares no dose")
        if column.kind in known and column.name is not None and column.name not in known[column.kind]:
            problems.unknown(
                f"{key}.variable",
                statistic.variable,
                known[column.kind],
                what=f"{column.kind} of this cohort",
            )
        elif (
            column.outcome is not None
            and column.name is not None
            and column.outcome not in model.events[column.name].choose
        ):
            problems.unknown(
                f"{key}.variable",
                statistic.variable,
                model.events[column.name].choose,
                what=f"outcome of {column.name}",
            )
        if statistic.population not in known["population"]:
            problems.unknown(
                f"{key}.population", statistic.population, known["population"], what="population of the study"
            )
        for what in ("stratum", "arm"):
            name = getattr(statistic.where, what)
            if name is not None and name not in known[what]:
                problems.unknown(f"{key}.where.{what}", name, known[what], what=f"{what} of the cohort")
        for what in ("ever", "never"):
            name = getattr(statistic.where, what)
            if name is not None and name not in seen:
                problems.unknown(f"{key}.where.{what}", name, seen, what="event or marker of the model")


@dataclass
class _Compilation:
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
        self._read()
        problems.raise_any()
        resolver.reading = False
        horizon, patients, events, course, rates, reference, design = self._read()
        _no_nan(events.arrays, problems)
        problems.raise_any()
        n_arms = len(cohort.arm_names)
        shares = _stratum_shares(patients.share, len(cohort.strata))
        thresholds, solved = self._solve(events, course, rates, reference, horizon, shares)
        thresholds = np.tile(thresholds, (1, n_arms, 1))
        self._apply_arms(events.arrays)
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
    ) -> tuple[Floats, Solved]:
        """Solve what is declared as observed or marginal, in the model of the scenario and of the published study."""
        parts = structure_of(self.model, self.course, reference.design)
        if parts is None:
            return plain_thresholds(self.course, rates, shares.shape), Solved()
        published = Resolver(published_parameters(self.resolver, reference), self.cohort.strata, self.resolver.problems)
        death = calibrated_death(self.model, parts.multiplier)
        if list(self.model.events)[parts.multiplier] not in self.study.assessed:
            reference = replace(reference, design=replace(reference.design, assessment=None))
        task = Task(self.model, events, self.resolver, parts, death, horizon, shares)
        then = Task(self.model, self._events(published), published, parts, death, reference.horizon, reference.shares)
        first = next((i for i, arm in enumerate(self.cohort.arms.values()) if arm.reference), 0)
        return solve(task, then, course=self.courses[first], reference=reference, rates=rates, frailty=course.frailty)

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
            _lay_over(raw, arm.course, "course", set())
            key = f"cohort.arms.{name}.course"
            course = _validated(Course, raw, key, problems)
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
        declared = _validated(Published, self.reference, "parameters.reference", problems) or Published()
        raw = copy.deepcopy(dict(self.raw_course))
        if self.cohort.arms:
            arms = self.cohort.arms.values()
            _lay_over(raw, next((arm for arm in arms if arm.reference), next(iter(arms))).course, "course", set())
        _lay_over(raw, declared.course, "course", set())
        raw["response"] = self.course.response
        course = _validated(Course, raw, "parameters.reference.course", problems) or self.course
        assessment = declared.assessment_interval
        design = Design(course, self.study.assessment_interval if assessment is None else assessment)
        if declared.horizon is not None:
            horizon = resolver.scalar(declared.horizon, "time", "parameters.reference.horizon")
        if declared.mix is not None:
            mix = resolver.array(declared.mix, "ratio", "parameters.reference.mix")
            shares = mix / mix.sum(axis=1, keepdims=True)
        return Reference(design, declared.parameters, horizon, shares)

    def _apply_arms(self, arrays: dict[str, Any]) -> None:
        """Hazard ratios and odds ratios of the arms, on top of what was solved for the reference arm."""
        n_strata = len(self.cohort.strata)
        names = list(self.model.events)
        arrays["cell_ratio"] = np.ones_like(arrays["probability"])
        for a, (arm, declared) in enumerate(self.cohort.arms.items()):
            cells = slice(a * n_strata, (a + 1) * n_strata)
            key = f"cohort.arms.{arm}.effects"
            for event, expression in declared.effects.hazard_ratio.items():
                if arrays["event_driver"][names.index(event)] == Driver.ADMINISTRATION:
                    allowed = "acts on hazards; this event follows administrations: give an odds_ratio"
                    self.resolver.problems.add(f"{key}.hazard_ratio.{event}", expression, allowed)
                hazard = self.model.events[event].hazard
                if hazard is not None and hazard.family == "fixed":
                    allowed = "acts on hazards; this event is a timer and happens after its delay whatever the ratio"
                    self.resolver.problems.add(f"{key}.hazard_ratio.{event}", expression, allowed)
                arrays["cell_ratio"][:, names.index(event), cells] = self.resolver.array(
                    expression, "ratio", f"{key}.hazard_ratio.{event}"
                )
            for event, expression in declared.effects.odds_ratio.items():
                e = names.index(event)
                ratio = self.resolver.array(expression, "positive", f"{key}.odds_ratio.{event}")
                where = "probability" if np.any(arrays["probability"][:, e, cells] < 1.0) else "success"
                p = arrays[where][:, e, cells]
                arrays[where][:, e, cells] = ratio * p / (1.0 - p + ratio * p)
                if where == "success" and not np.any(p):
                    self.resolver.problems.add(
                        f"{key}.odds_ratio.{event}",
                        expression,
                        "the event has no probability that an odds ratio could change; give a hazard ratio",
                    )

    def _design(self, n_sets: int) -> dict[str, Any]:
        """Arrays of the study's design, as keyword arguments of `study.design`."""
        study, model, resolver = self.study, self.model, self.resolver
        events = list(model.events)
        entry_code, entry = resolver.distribution(study.accrual, "duration", "study.accrual")
        cut = np.full(n_sets, np.inf)
        if study.data_cut is not None:
            cut = resolver.scalar(study.data_cut, "duration", "study.data_cut")
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

    def _loss(self, n_sets: int) -> tuple[Any, Floats]:
        """Loss to follow-up as a hazard; the same families as events, without tables or cure."""
        from simulator.declaration.model import Event

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


__all__ = ["GROUPS", "Experiment", "Output", "Root", "declare", "references"]
