"""From overrides and an experiment file to the sweep that they describe. Composes no scenario."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

from simulator.configuration.draws import MOST_DRAWS
from simulator.configuration.library import COHORT, EXPERIMENT, PARAMETERS, Library
from simulator.configuration.overrides import POSTERIOR, read_overrides, split
from simulator.configuration.parameters import DRAWS, ONE_DRAW
from simulator.errors import MISSING, ConfigError, Problem, unknown
from simulator.experiment.arms import ARM
from simulator.experiment.preparation import misleads, open_library, unknown_roots
from simulator.sweep.axes import (
    METHODS,
    SCENARIO,
    Axis,
    Bounds,
    Range,
    SampledDesign,
    Swept,
    axes_of,
    meaning,
    names_of,
    read_swept,
)
from simulator.sweep.contrasts import NO_EFFECT
from simulator.sweep.design import Running, Sweep
from simulator.sweep.layout import VOCABULARY

MOST_SCENARIOS = 1_000_000
"""Scenarios of one sweep; more are counted and refused."""
MOST_PROBLEMS = 40
_SAME_DIGITS = 14
"""Digits to which two spellings are one value: 0.1 wk and 0.7 d differ in the last bit of a float."""

_NOT_SWEPT = {
    "seed": "is not swept: two seeds are two stores; run the sweep once for each, with hydra.sweep.dir of its own",
    "study.replicates": "is not swept: give one number, the largest that is wanted; the first n studies of "
    "a run are what a run of n studies has",
    "output": "is not swept: what is kept is the same for all scenarios; give one value",
    "launcher": "is not swept: it says where the work is done, and no result depends on it",
    EXPERIMENT: "is not swept: run one experiment at a time",
}
_DESIGN = ("sweep.design", "sweep.samples", "sweep.seed")
_EXTENDABLE = "sweep.extendable"
_RUNNING = ("launcher", "launcher.shard", "launcher.takeover", "launcher.address", "launcher.workers")
_LAUNCHERS = ("local", "dask")
MANY_DRAWS = f"{PARAMETERS}.draws"
_CONTRAST = ("output.contrast", "output.contrast_across_cohorts")


def read_sweep(
    texts: Sequence[str], *, config_dir: str | os.PathLike[str] | None = None
) -> tuple[Sweep, dict[str, str]]:
    """Return the sweep that overrides describe, and the settings of Hydra among them.

    Composes the files, but no scenario. Raises ConfigError with every problem of the overrides and the files.
    """
    library = open_library(config_dir)
    problems = list(library.problems())
    overrides, title = _with_experiment(texts, library, problems)
    overrides = list(_with_draws(overrides, problems))
    plain, swept, ours = _sorted_out(overrides, library, problems)
    fixed = read_overrides(plain, library)
    problems += fixed.problems
    running, design = _settings(ours, swept, problems)
    whole_keys = {each.key: each.key for each in swept}
    draft = Sweep(library, fixed, axes_of(swept, whole_keys, design), whole_keys, running, {}, title)
    for axis in draft.axes:
        problems += _repeats(draft, axis)
        for place in range(min(axis.size, MOST_SCENARIOS)):
            for key, text in axis.point(place):
                read = draft.read(f"{key}={text}")
                problems += read.problems
                fixed.unknown_roots += [root for root in read.unknown_roots if place == 0]
            if len(problems) > MOST_PROBLEMS:
                break
    if not misleads(problems, library) and not any(problem.key == EXPERIMENT for problem in problems):
        try:
            strata = draft.strata
            first = draft.composed(0)
            problems += unknown_roots(fixed, library, first.container)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(list({str(problem): problem for problem in problems}.values()))
    names = names_of([each.key for each in swept], strata=strata, taken=VOCABULARY)
    axes = axes_of(swept, names, design)
    extendable = _yes(_EXTENDABLE, ours, problems)
    sweep = Sweep(library, fixed, axes, names, running, _contrast(ours, axes, library), title, extendable)
    return sweep, fixed.hydra


def _repeats(sweep: Sweep, axis: Axis) -> Iterator[Problem]:
    """Yield the values that an axis has twice, in whatever spelling. What is counted or drawn has none."""
    for key, column in zip(axis.keys, axis.columns, strict=True):
        if isinstance(column, Range) or axis.name == SCENARIO:
            continue
        seen: dict[Hashable, str] = {}
        for text in column:
            before = seen.setdefault(meaning(sweep.value(key, text), digits=_SAME_DIGITS), text)
            if before is not text:
                both = f"{text} twice" if before == text else f"one value twice: {before} and {text}"
                yield Problem(key, ",".join(column), f"has {both}; keep one")


def _with_draws(overrides: Sequence[str], problems: list[Problem]) -> Iterator[str]:
    """Yield the overrides, draws of a posterior as an axis: the first ``parameters.draws``, 100 if nothing is said."""
    given = dict(map(split, overrides))
    parameters = [each.strip() for each in given.get(PARAMETERS, "").split(",")]
    if POSTERIOR in parameters and len(parameters) > 1:
        allowed = (
            f"is not swept: {PARAMETERS}={POSTERIOR} gives every scenario the dimension draw; run the others apart"
        )
        problems.append(Problem(PARAMETERS, given[PARAMETERS], allowed))
    for override in overrides:
        key, text = split(override)
        if key != MANY_DRAWS:
            yield override
        elif not text.isdecimal() or not 1 <= int(text) <= MOST_DRAWS or ONE_DRAW in given:
            allowed = f"must be one whole number from 1 to {MOST_DRAWS:,}, without {ONE_DRAW} beside it"
            problems.append(Problem(key, text, allowed))
        else:
            yield f"{ONE_DRAW}=range(0,{int(text)})"
    if parameters == [POSTERIOR] and not {MANY_DRAWS, ONE_DRAW} & set(given):
        yield f"{ONE_DRAW}=range(0,{DRAWS})"


def _with_experiment(texts: Sequence[str], library: Library, problems: list[Problem]) -> tuple[list[str], str]:
    """Return the overrides of an experiment file, if one is named, before those given; of one key the given ones
    stay.
    """
    named = [split(text)[1] for text in texts if split(text)[0] == EXPERIMENT]
    given = [text for text in texts if split(text)[0] != EXPERIMENT]
    if not named:
        return given, ""
    if len(set(named)) > 1 or "," in named[0]:
        problems.append(Problem(EXPERIMENT, ", ".join(named), _NOT_SWEPT[EXPERIMENT]))
        return given, ""
    if named[0] not in library.options(EXPERIMENT):
        problems.append(unknown(EXPERIMENT, named[0], library.options(EXPERIMENT), what=EXPERIMENT))
        return given, ""
    try:
        file = library.file(f"{EXPERIMENT}/{named[0]}")
    except ConfigError as error:
        problems += error.problems
        return given, ""
    by_hand = {split(text)[0] for text in given}
    overrides = []
    for section in ("set", "sweep"):
        entries = file.content.get(section, {})
        if not isinstance(entries, dict):
            problems.append(Problem(file.where(section), MISSING, f"{section} must be a mapping of keys to values"))
            continue
        for key, value in entries.items():
            if key not in by_hand:
                overrides.append(f"{key}={_as_override(value, swept=section == 'sweep')}")
    for key in file.content:
        if key not in ("title", "description", "set", "sweep"):
            problems.append(unknown(file.where(key), key, ("title", "description", "set", "sweep"), what="key"))
    return [*overrides, *given], str(file.content.get("title", ""))


def _as_override(value: Any, *, swept: bool) -> str:
    """Write a value of an experiment file as on the command line; text is taken to be written so already."""
    if swept and isinstance(value, list):
        return ",".join(_as_override(item, swept=False) for item in value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_as_override(item, swept=False)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_as_override(item, swept=False) for item in value) + "]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _sorted_out(
    overrides: Sequence[str], library: Library, problems: list[Problem]
) -> tuple[list[str], list[Swept], dict[str, str]]:
    """Tell apart what is set, what is swept, and what says how the sweep is made."""
    plain: list[str] = []
    swept: dict[str, Swept] = {}
    ours: dict[str, str] = {}
    for override in overrides:
        key, given = split(override)
        if key == _CONTRAST[0]:
            arms, given = _between_arms(given, library)
            plain += arms
            if not given:
                continue
        if key in (*_DESIGN, _EXTENDABLE, *_RUNNING, *_CONTRAST):
            if key in ours and ours[key] != given:
                problems.append(Problem(key, given, f"is set twice: before, to {ours[key]}; keep one"))
            ours[key] = given
            continue
        if key.startswith(("sweep.", "launcher.")):
            problems.append(unknown(key, key, (*_DESIGN, _EXTENDABLE, *_RUNNING), what="key"))
            continue
        found = read_swept(key, given, library) if "=" in override and key and not key.startswith("hydra.") else None
        if isinstance(found, Problem):
            problems.append(found)
        elif found is None:
            plain.append(override)
        elif refusal := next((said for root, said in _NOT_SWEPT.items() if f"{key}.".startswith(f"{root}.")), None):
            problems.append(Problem(key, given, refusal))
        elif key in swept:
            problems.append(Problem(key, given, f"is swept twice: before, {swept[key].given}; keep one"))
        else:
            swept[key] = found
    for override in plain:
        key, given = split(override)
        if key in swept:
            problems.append(Problem(key, given, f"is set and swept ({swept[key].given}); keep one"))
    if not swept and not problems:
        allowed = "nothing is swept: give a key several values, such as course.interval=14,21,28, or name an experiment"
        problems.append(Problem("--multirun", MISSING, allowed))
    return plain, list(swept.values()), ours


def _between_arms(given: str, library: Library) -> tuple[list[str], str]:
    """Return the override of a contrast between arms, which every scenario makes by itself, and what is left of it."""
    key = _CONTRAST[0]
    value = dict(read_overrides([f"{key}={given}"], library).values).get(key)
    if not isinstance(value, Mapping) or ARM not in value:
        return [], given
    rest = {name: label for name, label in value.items() if name != ARM}
    return [f"{key}={_as_override({ARM: value[ARM]}, swept=False)}"], _as_override(rest, swept=False) if rest else ""


def _settings(
    ours: Mapping[str, str], swept: Sequence[Swept], problems: list[Problem]
) -> tuple[Running, SampledDesign]:
    """Read the keys that say how a sweep is drawn and where it runs."""
    sampled = [each for each in swept if isinstance(each.values, Bounds)]
    method = ours.get("sweep.design", METHODS[0])
    if method not in METHODS:
        problems.append(unknown("sweep.design", method, METHODS, what="design"))
        method = METHODS[0]
    samples = _whole("sweep.samples", ours, 1, problems)
    seed = _whole("sweep.seed", ours, 0, problems)
    if sampled and samples is None and "sweep.samples" not in ours:
        problems.append(Problem(sampled[0].key, sampled[0].given, "is drawn from: say how often with sweep.samples=64"))
    if not sampled and (unused := [key for key in _DESIGN if key in ours]):
        problems.append(Problem(unused[0], ours[unused[0]], "draws from nothing: give a key interval(low,high)"))
    if samples is not None and method == "sobol" and samples & (samples - 1):
        problems.append(
            Problem("sweep.samples", samples, "must be a power of 2 for sobol, which is balanced only then")
        )
        samples = 1
    launcher = ours.get("launcher", _LAUNCHERS[0])
    if launcher not in _LAUNCHERS:
        problems.append(unknown("launcher", launcher, _LAUNCHERS, what="launcher"))
    takeover = _yes("launcher.takeover", ours, problems)
    _yes(_EXTENDABLE, ours, problems)  # a wrong value is refused here, with the others
    workers = _whole("launcher.workers", ours, 1, problems)
    running = Running(launcher, _shard(ours, problems), takeover, ours.get("launcher.address"), workers)
    return running, SampledDesign(method, min(samples or 1, MOST_SCENARIOS), seed or 0)


def _contrast(ours: Mapping[str, str], axes: Sequence[Axis], library: Library) -> dict[str, Any]:
    """Return the reference that ``output.contrast`` names by dimension. Raises ConfigError."""
    key = _CONTRAST[0]
    problems: list[Problem] = []
    leave = _yes(_CONTRAST[1], ours, problems)
    labels: dict[str, Any] = {}
    if key in ours:
        read = read_overrides([f"{key}={ours[key]}"], library)
        problems += read.problems
        given = dict(read.values).get(key)
        if not isinstance(given, Mapping) or not given:
            problems.append(Problem(key, ours[key], "must name a reference by dimension, such as {interval: 21}"))
        else:
            labels = dict(given)
    names = [axis.name for axis in axes]
    problems += [unknown(key, name, names, what="swept dimension") for name in labels if name not in names]
    if COHORT in labels and not leave:
        allowed = f"{NO_EFFECT}; if that is what you want, add {_CONTRAST[1]}=true"
        problems.append(Problem(key, ours[key], allowed))
    if problems:
        raise ConfigError(problems)
    return labels


def _yes(key: str, ours: Mapping[str, str], problems: list[Problem]) -> bool:
    given = ours.get(key, "false").lower()
    if given not in ("true", "false"):
        problems.append(Problem(key, given, "must be true or false"))
    return given == "true"


def _whole(key: str, ours: Mapping[str, str], least: int, problems: list[Problem]) -> int | None:
    given = ours.get(key)
    if given is None:
        return None
    if not given.isdecimal() or int(given) < least:
        problems.append(Problem(key, given, f"must be a whole number from {least} on"))
        return None
    return int(given)


def _shard(ours: Mapping[str, str], problems: list[Problem]) -> tuple[int, int] | None:
    given = ours.get("launcher.shard")
    if given is None:
        return None
    number, _, of = given.partition("/")
    if not (number.isdecimal() and of.isdecimal()) or not 1 <= int(number) <= int(of):
        problems.append(Problem("launcher.shard", given, "must be i/n, the i-th of n jobs, counted from 1: 3/8"))
        return None
    return int(number), int(of)
