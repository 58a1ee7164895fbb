"""From a composed configuration to an experiment that is ready to run, in named steps.

`read_groups` → `_declared` (each group checked) → `compile_declarations` (numbers read, solved, compiled to tables) →
`_asked` (what is asked of results) → `Experiment` → `_warnings`. Problems of a step are raised together.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from simulator.configuration import draws
from simulator.configuration.messages import validated
from simulator.configuration.values import (
    PREFIX,
    Leaf,
    Parameters,
    Problems,
    Resolver,
    outside_interval,
    parameter_leaves,
)
from simulator.errors import ConfigError, DeclarationWarning
from simulator.evidence.entries import EvidenceEntry
from simulator.evidence.evidence import EvidenceFile, Selection
from simulator.evidence.statistic import Statistic
from simulator.experiment import decisions, sizes
from simulator.experiment.arms import contrasts as between_arms
from simulator.experiment.asked import asked, check_names, check_times
from simulator.experiment.compilation import Compiled, compile_declarations
from simulator.experiment.follow_up import EARLIEST, MEDIAN, potential_follow_up, refuse_beyond
from simulator.experiment.groups import DECLARED, DeclaredGroups, read_groups
from simulator.experiment.numbers import Declarations
from simulator.experiment.plausibility import differing_by_case
from simulator.experiment.root import Root
from simulator.model.cohort import Cohort
from simulator.model.course import Course
from simulator.model.model import Model, references
from simulator.model.study import Study
from simulator.solving.baseline import Solved
from simulator.tables import NONE, ModelTables
from simulator.text import visible


@dataclass(frozen=True, eq=False)
class Experiment:
    """One declared cohort, ready to run: what was declared, what was solved, and the tables."""

    config: Mapping[str, Any]
    overrides: tuple[str, ...]
    root: Root
    evidence: EvidenceFile
    selection: Selection
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
    estimates: Mapping[str, Statistic] = field(default_factory=dict)  # what studies compute beside the targets
    kinds: Mapping[str, str] = field(default_factory=dict)  # key → what may stand there (`units.DIMENSIONS`)
    not_applied: Mapping[str, str] = field(default_factory=dict)  # readings that change nothing here → why
    size: str = ""  # where the evidence is of more or fewer patients than are simulated
    borrowed: str = ""  # where the parameters are of a calibration of another cohort, or of other evidence: of which

    @property
    def name(self) -> str:
        return self.cohort.name

    @cached_property
    def entries(self) -> tuple[EvidenceEntry, ...]:
        """The evidence as results show it: an entry is `fitted` where these parameters were calibrated on it."""
        printed = {entry.id: entry.printed for entry in self.evidence.entries}  # a reading may say another number
        group, name = self.config["parameters"], self.evidence.name
        found = []
        for entry in self.selection.entries:
            role = draws.role_shown(group, (entry.id, printed[entry.id], entry.role), name)
            found.append(entry if role == entry.role else entry.model_copy(update={"role": role}))
        return tuple(found)

    @property
    def targets(self) -> tuple[EvidenceEntry, ...]:
        """Those of the `entries` that a simulated study computes."""
        return tuple(entry for entry in self.entries if entry.is_target)


@dataclass(frozen=True)
class _Asked:
    """What is asked of results beside the targets, and what of it lies beyond follow-up, in words."""

    estimates: Mapping[str, Statistic]
    beyond: Sequence[str]


def declare(
    container: Mapping[str, Any],
    *,
    overrides: Sequence[str] = (),
    varied: Mapping[str, Sequence[Any]] | None = None,
) -> Experiment:
    """Check a composed configuration and compile it.

    Parameters
    ----------
    container : the composed configuration as plain Python values, without ``hydra``. Of parameters that come with
        draws the point values are taken; `configuration.draws.designs` has the draws.
    overrides : the user's ``key=value`` texts; they win over a reading's patches, and
        ``cohort.mix.<stratum>=share`` rescales the other strata.
    varied : parameter path → one value a parameter set, for a batch of parameter sets.

    Raises
    ------
    ConfigError
        With every problem that was found.
    """
    problems = Problems()
    groups = read_groups(container, overrides, problems)
    declared = _declared(groups, problems)
    parameters = Parameters(declared.leaves, 1).replaced(varied or {})
    resolver = Resolver(parameters, declared.cohort.strata, problems)
    wanted = asked(groups.selection, groups.root)
    check_names(wanted, declared.model, declared.cohort, declared.course, declared.study, problems)
    compiled = compile_declarations(declared, resolver)
    if groups.evidence is None or groups.selection is None or groups.root is None:
        raise ConfigError(problems.found)
    more = _asked(container, groups, groups.root, groups.selection, declared, compiled, wanted, problems, varied)
    used = parameters.used | references(groups.raw)
    unused = tuple(p for p in declared.leaves if p not in used and p.rpartition(".")[0] not in used)
    given = container["parameters"]
    experiment = Experiment(
        config=container,
        overrides=tuple(overrides),
        root=groups.root,
        evidence=groups.evidence,
        selection=groups.selection,
        model=declared.model,
        cohort=declared.cohort,
        course=declared.course,
        courses=compiled.courses,
        study=declared.study,
        parameters={path: _varied(leaf, (varied or {}).get(path)) for path, leaf in declared.leaves.items()},
        solved=compiled.solved,
        tables=compiled.tables,
        design=compiled.design,
        unused=unused,
        estimates=more.estimates,
        kinds=parameters.kinds,
        not_applied={**groups.selection.not_applied, **(given.get(draws.NOT_APPLIED) or {})},
        size=_size(groups.selection.targets, declared.cohort, compiled.tables),
        borrowed=draws.borrowed(given, cohort=declared.cohort.name, evidence=groups.evidence.name),
    )
    said = tuple(_warnings(experiment, groups, declared, compiled.warnings, more.beyond))
    for text in said:
        warnings.warn(visible(text), DeclarationWarning, stacklevel=2)
    return replace(experiment, warnings=said)


def _declared(groups: DeclaredGroups, problems: Problems) -> Declarations:
    """Check each group. Raises ConfigError where one of them cannot be read on."""
    earlier = len(problems.found)  # these do not keep the numbers of the groups from being read
    raw = groups.raw
    model = validated(Model, raw["model"], "model", problems.found)
    cohort = validated(Cohort, raw["cohort"], "cohort", problems.found)
    course = validated(Course, raw["course"], "course", problems.found)
    study = validated(Study, raw["study"], "study", problems.found)
    for key in draws.KEYS:
        raw["parameters"].pop(key, None)
    reference = raw["parameters"].pop("reference", None) or {}
    leaves = parameter_leaves(raw["parameters"], problems, set(groups.keys))
    if groups.selection is not None:
        for path, leaf in leaves.items():
            problems.found += groups.selection.refuse_use_of_held_out(PREFIX + path, leaf.value, leaf.source, leaf.note)
    if model is not None:
        model.check(problems)
        if cohort is not None:
            cohort.check(model.events, problems)
        if course is not None:
            course.check(model.states, model.markers, model.events, problems, "course")
        if study is not None:
            study.check(model.events, problems)
    if len(problems.found) > earlier or model is None or cohort is None or course is None or study is None:
        raise ConfigError(problems.found)
    return Declarations(model, cohort, course, study, reference, leaves, raw["course"], groups.by_hand)


def _asked(
    container: Mapping[str, Any],
    groups: DeclaredGroups,
    root: Root,
    selection: Selection,
    declared: Declarations,
    compiled: Compiled,
    wanted: Mapping[str, Statistic],
    problems: Problems,
    varied: Mapping[str, Sequence[Any]] | None,
) -> _Asked:
    """Hold what is asked of results against horizon, follow-up and memory. Raises ConfigError."""
    tables, design = compiled.tables, compiled.design
    horizon = float(tables.horizon[0])
    check_times(wanted, horizon, problems, groups.by_hand)
    within = {key: each for key, each in wanted.items() if each.time is None or each.time <= horizon}
    beyond: list[str] = []
    if varied is None:  # of varied parameter sets, as of draws, each is undefined and counted where it falls short
        beyond = refuse_beyond(within, float(potential_follow_up(tables.horizon, design, EARLIEST)[0]), problems)
    half = float(potential_follow_up(tables.horizon, design, MEDIAN)[0])
    leads = zip(tables.events, tables.event_to.tolist(), strict=True)
    events = [event for event, to in leads if to == NONE or not tables.absorbing[to]]
    arms = (declared.cohort.arm_names, events, tuple(declared.course.adverse_events.terms), half)
    estimates = root.output.estimates | between_arms(root.output.contrast, *arms, problems)
    n_draws = draws.draws_of(container)
    sizes.check(root.output, declared.study, tables, len(wanted), n_draws, groups.by_hand, problems)
    decisions.check(root.output.decisions, selection.targets, estimates, problems)
    problems.raise_any()
    return _Asked(estimates, beyond)


def _warnings(
    experiment: Experiment,
    groups: DeclaredGroups,
    declared: Declarations,
    of_tables: Sequence[str],
    beyond: Sequence[str],
) -> Iterator[str]:
    """Yield what is legal, and what a user should know of it."""
    given = experiment.config["parameters"]
    one_draw = given.get(draws.DRAW) is not None
    sized_by_hand = any(
        key in ("cohort.n_patients", "cohort.mix") or key.startswith(("cohort.mix.", "cohort.arms"))
        for key in groups.keys
    )
    if experiment.size and not sized_by_hand:
        yield experiment.size
    for name, why in experiment.not_applied.items():
        yield f"the reading {name} is not applied: {why}"
    if draws.has_draws(experiment.config) or one_draw:
        for path, file in (given.get(draws.KEPT) or {}).items():
            yield f"{PREFIX}{path} is not drawn: it is set in {file}, closer to the run"
    yield from of_tables
    yield from experiment.evidence.doubts()
    if not one_draw:
        yield from outside_interval(declared.leaves)
    yield from differing_by_case({name: groups.raw[name] for name in DECLARED})
    yield from differing_by_case(groups.raw["parameters"], "parameters")
    yield from beyond
    for path in experiment.unused:
        yield f"{PREFIX}{path} is not used by any declaration of this cohort"


def _varied(leaf: Leaf, values: Sequence[Any] | None) -> Leaf:
    """Return a parameter, or one that varies over parameter sets, of which nothing is said."""
    same = values is None or all(value == leaf.value for value in values)
    return leaf if same else Leaf(leaf.path, list(values or ()), "assumed", note="one value a parameter set")


def _size(targets: Sequence[EvidenceEntry], cohort: Cohort, tables: ModelTables) -> str:
    """Say where figures of all treated, or of all of an arm or stratum, are of another number than is simulated."""
    n, strata = int(tables.patients.n_patients[0]), len(tables.strata)
    shares = tables.patients.share[0].reshape(-1, strata)
    found: dict[str, list[str]] = {}
    for entry in targets:
        statistic, where = entry.statistic, entry.statistic.where if entry.statistic is not None else None
        if statistic is None or entry.denominator is None or statistic.population != "treated" or statistic.against:
            continue
        given = where.model_dump(exclude_none=True) if where is not None else {}
        if not set(given) <= {"stratum", "arm"}:
            continue
        of_arm = shares[[cohort.arm_names.index(given["arm"])]] if "arm" in given else shares
        share = of_arm[:, tables.strata.index(given["stratum"])].sum() if "stratum" in given else of_arm.sum()
        if abs(entry.denominator - n * share) >= 1.0:
            whom = " ".join(("treated", *(f"in {what} {name}" for what, name in given.items())))
            said = f"{entry.denominator} {whom} in the evidence, {n * share:.4g} of cohort.n_patients = {n} simulated"
            found.setdefault(said, []).append(entry.id)
    listed = (f"{said} ({', '.join(ids[:4])}{', …' if len(ids) > 4 else ''})" for said, ids in found.items())
    return "the size of the study is not the published one: " + "; ".join(listed) if found else ""
