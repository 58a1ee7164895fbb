"""From a composed configuration to everything declared, checked. Knows all groups and their keys; compiles nothing."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from simulator.configuration import draws as posterior
from simulator.configuration.layers import key_of, keys_of, lay_over
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
from simulator.errors import MISSING, ConfigError, DeclarationWarning, Problem, unknown
from simulator.evidence import evidence as evidence_file
from simulator.evidence.entries import EvidenceEntry
from simulator.evidence.statistic import Statistic
from simulator.experiment import decisions as decision_rules
from simulator.experiment import sizes
from simulator.experiment.arms import contrasts as between_arms
from simulator.experiment.compilation import Compilation
from simulator.experiment.follow_up import EARLIEST, MEDIAN, potential_follow_up, refuse_beyond
from simulator.experiment.plausibility import differing_by_case
from simulator.experiment.root import Root
from simulator.model.cohort import Cohort
from simulator.model.course import Course
from simulator.model.model import Model, references
from simulator.model.study import Study
from simulator.solving.baseline import Solved
from simulator.tables import NONE, ModelTables
from simulator.text import visible

GROUPS = ("cohort", "model", "course", "study")
OPEN = ("cohort", "study", "parameters", "course")
"""Groups that a reading may patch."""
OF_A_READING = "set by a reading of the evidence"


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
    units: Mapping[str, str] = field(default_factory=dict)  # key → unit in which a bare number is read there
    estimates: Mapping[str, Statistic] = field(default_factory=dict)  # what studies compute beside the targets
    kinds: Mapping[str, str] = field(default_factory=dict)  # key → what may stand there (`values.DIMENSIONS`)
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
            role = posterior.role_shown(group, (entry.id, printed[entry.id], entry.role), name)
            found.append(entry if role == entry.role else entry.model_copy(update={"role": role}))
        return tuple(found)

    @property
    def targets(self) -> tuple[EvidenceEntry, ...]:
        """Those of the `entries` that a simulated study computes."""
        return tuple(entry for entry in self.entries if entry.is_target)


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
        draws of a posterior the point values are taken; `posterior.designs` has the draws.
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
    posterior.check(groups["parameters"], problems)
    selection = _select(evidence, groups, overrides, problems) if evidence is not None else None
    _rescale_mix(groups["cohort"], overrides, problems)
    top = {k: v for k, v in container.items() if k not in {*GROUPS, "parameters", "evidence"}}
    root = validated(Root, top, "", problems.found)
    if root is not None and posterior.has_draws(container):
        for what in ("patients", "events"):
            if getattr(root.output, what):
                allowed = "keeps histories of one parameter set: leave it out, or take point values"
                problems.add(f"output.{what}", True, allowed)
    elsewhere = len(problems.found)  # these do not keep the numbers of the other groups from being read
    model = validated(Model, groups["model"], "model", problems.found)
    cohort = validated(Cohort, groups["cohort"], "cohort", problems.found)
    course = validated(Course, groups["course"], "course", problems.found)
    study = validated(Study, groups["study"], "study", problems.found)
    for key in posterior.KEYS:
        groups["parameters"].pop(key, None)
    reference = groups["parameters"].pop("reference", None) or {}
    leaves = parameter_leaves(groups["parameters"], problems, keys_of(overrides))
    if selection is not None:
        for path, leaf in leaves.items():
            problems.found += selection.refuse_use_of_held_out(PREFIX + path, leaf.value, leaf.source, leaf.note)
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
    parameters, by_hand = Parameters(leaves, 1).replaced(varied or {}), _by_hand(overrides)
    resolver = Resolver(parameters, cohort.strata, problems)
    compiled = Compilation(model, cohort, course, study, reference, resolver, groups["course"], by_hand)
    wanted = _wanted(selection, root)
    _check_statistics(wanted, model, cohort, course, study, problems)
    tables, design, solved = compiled.run()
    if evidence is None or selection is None or root is None:
        raise ConfigError(problems.found)
    horizon = float(tables.horizon[0])
    for key, statistic in wanted.items():
        _check_times(key, statistic, horizon, problems, by_hand)
    within = {key: each for key, each in wanted.items() if each.time is None or each.time <= horizon}
    beyond = []
    if varied is None:  # of varied parameter sets, as of draws, each is undefined and counted where it falls short
        beyond = refuse_beyond(within, float(potential_follow_up(tables.horizon, design, EARLIEST)[0]), problems)
    half = float(potential_follow_up(tables.horizon, design, MEDIAN)[0])
    events = [
        event
        for event, to in zip(tables.events, tables.event_to.tolist(), strict=True)
        if to == NONE or not tables.absorbing[to]
    ]
    arms = (cohort.arm_names, events, tuple(course.adverse_events.terms), half)
    estimates = root.output.estimates | between_arms(root.output.contrast, *arms, problems)
    sizes.check(root.output, study, tables, len(wanted), posterior.draws_of(container), by_hand, problems)
    decision_rules.check(root.output.decisions, selection.targets, estimates, problems)
    problems.raise_any()
    referred = parameters.used | references(groups)
    unused = tuple(p for p in leaves if p not in referred and p.rpartition(".")[0] not in referred)
    not_applied = {**selection.not_applied, **(container["parameters"].get(posterior.NOT_APPLIED) or {})}
    kept = container["parameters"].get(posterior.KEPT) or {}
    size = _size(selection.targets, cohort, tables)
    sized_by_hand = not keys_of(overrides).isdisjoint(("cohort.n_patients", "cohort.mix")) or any(
        key.startswith(("cohort.mix.", "cohort.arms")) for key in keys_of(overrides)
    )
    one_draw = container["parameters"].get(posterior.DRAW) is not None
    drawn = kept if posterior.has_draws(container) or one_draw else {}
    told = [
        *([size] if size and not sized_by_hand else []),
        *(f"the reading {name} is not applied: {why}" for name, why in not_applied.items()),
        *(f"{PREFIX}{path} is not drawn: it is set in {file}, closer to the run" for path, file in drawn.items()),
        *compiled.warnings,
        *evidence.doubts(),
        *([] if one_draw else outside_interval(leaves)),
        *differing_by_case({name: group for name, group in groups.items() if name != "parameters"}),
        *differing_by_case(groups["parameters"], "parameters"),
        *beyond,
        *(f"{PREFIX}{path} is not used by any declaration of this cohort" for path in unused),
    ]
    for text in told:
        warnings.warn(visible(text), DeclarationWarning, stacklevel=2)
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
        {path: _varied(leaf, (varied or {}).get(path)) for path, leaf in leaves.items()},
        solved,
        tables,
        design,
        tuple(told),
        unused,
        parameters.units,
        estimates,
        parameters.kinds,
        not_applied,
        size,
        posterior.borrowed(container["parameters"], cohort=cohort.name, evidence=evidence.name),
    )


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
        mine = shares[[cohort.arm_names.index(given["arm"])]] if "arm" in given else shares
        share = mine[:, tables.strata.index(given["stratum"])].sum() if "stratum" in given else mine.sum()
        if abs(entry.denominator - n * share) >= 1.0:
            whom = " ".join(("treated", *(f"in {what} {name}" for what, name in given.items())))
            said = f"{entry.denominator} {whom} in the evidence, {n * share:.4g} of cohort.n_patients = {n} simulated"
            found.setdefault(said, []).append(entry.id)
    listed = (f"{said} ({', '.join(ids[:4])}{', …' if len(ids) > 4 else ''})" for said, ids in found.items())
    return "the size of the study is not the published one: " + "; ".join(listed) if found else ""


def _varied(leaf: Leaf, values: Sequence[Any] | None) -> Leaf:
    """Return a parameter, or one that varies over parameter sets, of which nothing is said."""
    same = values is None or all(value == leaf.value for value in values)
    return leaf if same else Leaf(leaf.path, list(values or ()), "assumed", note="one value a parameter set")


def declare_many(experiment: Experiment, values: Mapping[str, Sequence[Any]]) -> Experiment:
    """Return an experiment with n parameter sets: the same, but for the values of some parameters.

    Everything that does not depend on the values is checked once, and what is solved is solved for all sets side by
    side. Each set is what `declare` gives for its values alone, bit for bit, whatever its neighbours are.

    Parameters
    ----------
    values : path of a parameter, such as ``response.hazard_ratio`` → n values, as a file or an override would give
        them: numbers, or texts such as ``"300 d"``.

    Raises
    ------
    ConfigError
        If a path is no parameter of the experiment, or with every problem that was found. What cannot be solved
        names its parameter set (`Problem.parameter_set`).
    """
    wrong = [unknown(PREFIX + path, path, experiment.parameters, what="parameter") for path in values
             if path not in experiment.parameters]  # fmt: skip
    if wrong:
        raise ConfigError(wrong)
    plain = {path: [v.item() if isinstance(v, np.generic) else v for v in column] for path, column in values.items()}
    if len({len(column) for column in plain.values()}) != 1:
        sizes = {path: len(column) for path, column in plain.items()}
        raise ConfigError(Problem("values", sizes, "must be as many for every parameter, and for one at least"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeclarationWarning)  # told when the experiment was declared
        declared = declare(experiment.config, overrides=experiment.overrides, varied=plain)
    return replace(declared, estimates=experiment.estimates)  # a contrast has one horizon for all parameter sets


@dataclass(frozen=True, eq=False)
class Possible:
    """Those of some parameter sets that can be declared.

    ``experiment``: with the parameter sets ``rows``, in order; None where there are none. ``refused``: the others, each
    with the reason.
    """

    experiment: Experiment | None
    rows: tuple[int, ...]
    refused: Mapping[int, str]


def declare_possible(
    container: Mapping[str, Any], values: Mapping[str, Sequence[Any]], *, overrides: Sequence[str] = ()
) -> Possible:
    """Declare n parameter sets; those that cannot be declared are refused, and the others are not lost.

    ``values`` as for `declare_many`. Each set is accepted, or refused with the same words, as by `declare` alone.
    """
    refused: dict[int, str] = {}
    rows = list(range(len(next(iter(values.values())))))
    while rows:
        try:
            varied = {path: [column[row] for row in rows] for path, column in values.items()}
            return Possible(declare(container, overrides=overrides, varied=varied), tuple(rows), refused)
        except ConfigError as refusal:
            problems = refusal.problems
        found: dict[int, list[Problem]] = {}
        for problem in problems:
            if problem.parameter_set is not None:
                found.setdefault(rows[problem.parameter_set], []).append(replace(problem, parameter_set=None))
        if len(rows) == 1:
            found = {rows[0]: list(problems)}
        elif any(problem.parameter_set is None for problem in problems):  # of which sets, it does not say
            found = {}
            for half in (rows[: len(rows) // 2], rows[len(rows) // 2 :]):
                part = {path: [column[row] for row in half] for path, column in values.items()}
                less = declare_possible(container, part, overrides=overrides)
                refused |= {half[row]: why for row, why in less.refused.items()}
        refused |= {row: "; ".join(map(str, said)) for row, said in found.items()}
        rows = [row for row in rows if row not in refused]
    return Possible(None, (), refused)


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


def _select(
    evidence: evidence_file.EvidenceFile, groups: dict[str, Any], overrides: Sequence[str], problems: Problems
) -> evidence_file.Selection:
    """Choose readings and lay their patches over the groups; what the user set by hand stays."""
    keys = keys_of(overrides)
    try:
        selection = evidence.select(groups["study"].get("reading"), by_hand=evidence_file.READING_KEY in keys)
    except ConfigError as refusal:
        problems.found.extend(refusal.problems)
        return evidence.select(None)
    for name in OPEN:
        lay_over(groups[name], getattr(selection, name), name, keys, OF_A_READING)
    applied = set(selection.chosen.values()) - set(selection.not_applied)
    posterior.lay_reading_over(groups["parameters"], applied, keys)
    return selection


def _rescale_mix(cohort: dict[str, Any], overrides: Sequence[str], problems: Problems) -> None:
    """``cohort.mix.<stratum>=share``: that stratum gets the share, the others keep their proportions."""
    prefix = "cohort.mix."
    mine = [key[len(prefix) :] for key in map(key_of, overrides) if key.startswith(prefix)]
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


def _by_hand(overrides: Sequence[str]) -> dict[str, str]:
    """Return the dotted keys that texts set, with what they set them to; choices of files are not among them."""
    return {key: text.partition("=")[2] for text in overrides if "." in (key := key_of(text))}


def _wanted(selection: evidence_file.Selection | None, root: Root | None) -> dict[str, Statistic]:
    """Return every statistic that a user or the evidence asks for, by the key where it stands."""
    targets = () if selection is None else selection.targets
    found = {f"evidence.entries.{e.id}.statistic": e.statistic for e in targets if e.statistic is not None}
    asked = {} if root is None else root.output.estimates
    return found | {f"output.estimates.{name}": statistic for name, statistic in asked.items()}


def _check_times(
    key: str, statistic: Statistic, horizon: float, problems: Problems, by_hand: Mapping[str, str]
) -> None:
    """A restricted mean may end at the horizon; every other time is before it."""
    mean = not statistic.record.point
    times = [(f"{key}.time", statistic.time, mean)]
    times += [
        (f"{key}.{group}.landmark", where.landmark, False)
        for group, where in (("where", statistic.where), ("against", statistic.against))
        if where is not None
    ]
    for place, time, may_equal in times:
        if time is None or time < horizon or (time == horizon and may_equal):
            continue
        inside = "must not be after" if may_equal else "must be before"
        if "study.horizon" in by_hand and not any(place.startswith(name) for name in by_hand):
            after = f"must {'not be before' if may_equal else 'be after'} {place}, day {time:g}"
            problems.add("study.horizon", by_hand["study.horizon"], after)
        else:
            problems.add(place, time, f"{inside} the horizon, day {horizon:g}")


def _check_statistics(
    wanted: Mapping[str, Statistic],
    model: Model,
    cohort: Cohort,
    course: Course,
    study: Study,
    problems: Problems,
) -> None:
    """Every statistic must refer to what this cohort has."""
    known = {
        "stratum": cohort.strata,
        "arm": cohort.arm_names,
        "population": ("treated", *study.populations),
        "adverse_event": ("any", *course.adverse_events.terms),
        "state": model.states,
        "event": model.events,
    }
    seen = {*model.events, *model.markers}
    for key, statistic in wanted.items():
        column = statistic.column
        if statistic.endpoint.needs_dose and course.dose is None:
            problems.add(f"{key}.variable", statistic.variable, "the course declares no dose")
        second = statistic.endpoint.second
        if second and column.name is not None and column.name not in known[second]:
            what = f"{column.kind} of this cohort"
            problems.unknown(f"{key}.variable", statistic.variable, known[second], what=what)
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
        for group, where in (("where", statistic.where), ("against", statistic.against)):
            if where is None:
                continue
            for what in ("stratum", "arm"):
                name = getattr(where, what)
                if name is not None and name not in known[what]:
                    problems.unknown(f"{key}.{group}.{what}", name, known[what], what=f"{what} of the cohort")
            for what in ("ever", "never"):
                name = getattr(where, what)
                if name is not None and name not in seen:
                    problems.unknown(f"{key}.{group}.{what}", name, seen, what="event or marker of the model")


__all__ = [
    "GROUPS",
    "Experiment",
    "Possible",
    "declare",
    "declare_many",
    "declare_possible",
    "references",
]
