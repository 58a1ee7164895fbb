"""A fuzzer of configurations: mutations of shipped and documented cohorts, and what comes of each.

A mutation is a function of a seed and a number alone. Half of them change files, half set overrides. What comes of
one is a result or a `ConfigError`; a `SimulationError` only where an event passes its declared maximum. `outcome` lets
everything else through.
"""

from __future__ import annotations

import random
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from simulator.configuration.draws import draws_of
from simulator.configuration.files import read
from simulator.configuration.library import shipped_folder
from simulator.errors import ConfigError, DeclarationWarning, SimulationError
from simulator.experiment.explain import explain
from simulator.experiment.preparation import prepare
from simulator.experiment.schema import Experiment
from simulator.running import batch, draws

ROOT = Path(__file__).resolve().parents[1]
GROUPS = ("cohort", "evidence", "model", "course", "study", "parameters")
PATIENTS, REPLICATES = 12, 2
"""Size of the simulation of what can be declared."""

NUMBERS = (
    *"0 1 -1 2 0.5 37 250 -0.0 0.1 0.98 0.999999999999 1e-12 1e-9 1e-6 1e-3 1e3 1e5 1e6 1e9 1e12 1e-308 5e-324".split(),
    *"1e300 1.7976931348623157e308 1e309 -1e300 .nan .inf -.inf nan inf 4294967296 18446744073709551616".split(),
    *"9007199254740993 010 0x1F".split(),
    "1" + "0" * 50,
)
TIMES = (*"200y 1d 0d 14kg".split(), "1e-9 d", "1e9 d", "365 mo", "-3 mo", "0.05 / y", "1e9 / d", "1e-9 / y", "1e300 y")
OTHERS = (
    *"null true no '' text [] {} [1] [null] parameters.nothing parameters parameters. all any treated".split(),
    *"parameters.survival.median 'Ünïcødé☃' '\u202e' '=1+1' '${oc.env:HOME}' [[[[[[]]]]]]".split(),
    *("[1, 2, 3]", "{a: 1}", "{value: 1}", "{value: null}", "{uniform: [1, 2]}", "{normal: [0, 1e9]}", "'a b'"),
    *("{log_normal: [1e-9, 50]}", "{exponential: 1e-9}", "{gamma: {mean: 1, sd: 1e9}}", "{fixed: 3}", "{uniform: 3}"),
    *("{weibull: [1e9, 1e-3]}", "{poisson: {mean: 1e6}}", "{geometric: {probability: 1e-9}}", "{choice: {}}"),
    *("{unifrom: [1, 2]}", "{until: [1, 2], values: [1]}", "'" + "x" * 3000 + "'"),
)
VALUES = (*NUMBERS, *(f"'{time}'" for time in TIMES), *OTHERS)
SHOWN = {"interval", "prior", "provenance", "note", "source", "contraction", "label", "title", "name", "citation"}
SHOWN |= {"locator", "description", "printed", "sources", "population", "file"}
RAW = (
    "*a",
    "&a 1",
    "!!python/object:os.system x",
    "<<: {}",
    "- ",
    "\t",
    "? [a]",
    "---",
    "\x00",
    "\ufeff",
    "#",
    "{",
    "'",
    "%",
)


@dataclass(frozen=True)
class Mutation:
    """One configuration: overrides, and texts of files by their path in a folder of the user's own."""

    number: int
    overrides: tuple[str, ...]
    files: dict[str, str]
    said: str

    def written(self, folder: Path) -> Path | None:
        """Write the files into a folder and return it, None where there are none."""
        for name, text in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode("utf-8", "surrogatepass"))
        return folder if self.files else None


@cache
def documented() -> dict[str, dict[str, str]]:
    """Texts of the files of documented cohorts, by cohort and path."""
    page = (ROOT / "docs" / "larger_example.md").read_text(encoding="utf-8")
    found = {"riverside": dict(re.findall(r"```yaml\n# (\w+/riverside\.yaml)\n(.*?)```", page, re.DOTALL))}
    for folder in sorted((ROOT / "tests" / "packaging" / "cohorts").iterdir()):
        texts = {f"{path.parent.name}/{path.name}": path.read_text("utf-8") for path in sorted(folder.rglob("*.yaml"))}
        found |= {Path(name).stem: texts for name in texts if name.startswith("cohort/")}
    return found


@cache
def shipped() -> dict[str, dict[str, str]]:
    """Texts of the files of shipped cohorts, by cohort and path, under names of their own."""
    found = {}
    for path in sorted((shipped_folder() / "cohort").glob("*.yaml")):
        content = read(path, label=path.name).content
        texts = {f"cohort/own_{path.name}": path.read_text("utf-8")}
        for item in content["defaults"]:
            for group, name in item.items() if isinstance(item, dict) else ():
                file = shipped_folder() / group.strip("/") / f"{name}.yaml"
                texts[f"{group.strip('/')}/own_{file.name}"] = file.read_text("utf-8")
        renamed = re.sub(r"- /(\w+): (\w+)", r"- /\1: own_\2", texts[f"cohort/own_{path.name}"])
        found[f"own_{path.stem}"] = {**texts, f"cohort/own_{path.name}": renamed}
    return found


def bases() -> list[str]:
    return [*(name.removeprefix("own_") for name in shipped()), *shipped(), *documented()]


def mutations(numbers: Sequence[int], *, seed: int) -> Iterator[Mutation]:
    """Yield the mutations of some numbers."""
    for number in numbers:
        yield mutation(number, random.Random(seed * 1_000_003 + number))


def mutation(number: int, chance: random.Random) -> Mutation:
    cohort = chance.choice(bases())
    texts = {**documented(), **shipped()}.get(cohort, {})
    overrides = [f"cohort={cohort}"]
    files = dict(texts)
    said = []
    if texts and chance.random() < 0.6:
        for _ in range(chance.choice((1, 1, 1, 1, 1, 2, 4))):
            name = chance.choice(sorted(files))
            if chance.random() < 0.12:
                files[name], what = _torn(files[name], chance)
            else:
                files[name], what = _changed(files[name], chance)
            said.append(f"{name}: {what}")
    else:
        if chance.random() < 0.2:
            overrides += chance.choice((["parameters=posterior", "parameters.draws=3"], ["parameters=start"]))
        for _ in range(chance.choice((1, 1, 1, 1, 1, 2, 4))):
            keys = [key for key in _keys(cohort) if _counts(key.split("."), chance)]
            numbers = [key for key in keys if _NUMBER.fullmatch(str(_keys(cohort)[key]))]
            key = chance.choice(numbers if chance.random() < 0.5 else keys)
            value = _another(_keys(cohort)[key], chance)
            if chance.random() < 0.1:
                key += chance.choice((".value", ".x", ".0", "x", ".", "..y"))
            overrides.append(f"{key}={value}")
    return Mutation(number, tuple(overrides), files, "; ".join([*overrides, *said]))


_NUMBER = re.compile(r"([0-9.]+)(?!.*[a-z]{3})(.*)")
FACTORS = (0.0, -1.0, *(10.0**power for power in (-12, -9, -6, -4, -3, -2, -1, 1, 2, 3, 4, 6, 9)), 0.5, 2.0, 5.0, 30.0)


def _another(value: Any, chance: random.Random) -> str:
    """Return another value as text: often the same number, scaled, with its unit."""
    found = _NUMBER.fullmatch(str(value)) if isinstance(value, int | float | str) else None
    if found is None or isinstance(value, bool) or chance.random() < 0.4:
        return chance.choice(VALUES)
    try:
        scaled = float(found[1]) * chance.choice(FACTORS)
    except ValueError:
        return chance.choice(VALUES)
    number = f"{scaled:.6g}" if isinstance(value, float | str) else f"{round(scaled)}"
    return f"'{number}{found[2]}'" if found[2] else number


@cache
def _keys(cohort: str) -> dict[str, Any]:
    """Dotted keys of a cohort and their values, all of them, with those that a user may add."""
    container: dict[str, Any] = {}
    own = {**shipped(), **documented()}
    for name, text in own.get(cohort, own.get(f"own_{cohort}", {})).items():
        container[name.split("/")[0]] = yaml.safe_load(text)
    found = [
        *"seed engine launcher output cohort.covariates cohort.covariates.age cohort.arms parameters.draws".split(),
        *(f"output.{name}" for name in "time_step patients events estimates contrast decisions x".split()),
        *(f"study.{name}" for name in "data_cut minimum_follow_up loss_to_follow_up accrual replicates".split()),
        *"parameters.draw course.start course.planned course.dose".split(),
    ]
    groups = {key: value for key, value in container.items() if key != "evidence"}
    return dict.fromkeys(found, 7.0) | dict(_paths(groups, ""))


def _paths(node: Any, before: str) -> Iterator[tuple[str, Any]]:
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        if key != "defaults":
            yield f"{before}{key}", value
            yield from _paths(value, f"{before}{key}.")


def _counts(path: Sequence[object], chance: random.Random) -> bool:
    """Whether a place is a candidate: what is only told to a reader seldom is."""
    return chance.random() < 0.1 or not SHOWN.intersection(map(str, path))


def _nodes(node: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every place of a structure as its container and key."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in list(items):
        yield node, key
        yield from _nodes(value)


def _changed(text: str, chance: random.Random) -> tuple[str, str]:
    """Change one place of what a file holds: another value, no key, another name, another place."""
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError:
        return _torn(text, chance)
    places = [place for place in _nodes(content) if place[1] != "defaults" and _counts([place[1]], chance)]
    if not places:
        return _torn(text, chance)
    numbers = [place for place in places if _NUMBER.fullmatch(str(place[0][place[1]]))]
    node, key = chance.choice(numbers if numbers and chance.random() < 0.5 else places)
    what = chance.choice(("value", "value", "value", "value", "delete", "rename", "move", "wrap"))
    messages = f"{what} {key!r}"
    if what == "delete":
        del node[key]
    elif what == "rename" and isinstance(node, dict):
        name = chance.choice(
            (f"{key}x", str(key).title(), "value", "all", "1a", "", "any", "x.y", "é", "death", "_target_")
        )
        node[name] = node.pop(key)
        messages += f" to {name!r}"
    elif what == "move":
        other, there = chance.choice(places)
        node[key] = yaml.safe_load(yaml.safe_dump(other.get(there) if isinstance(other, dict) else None))
        messages += f" from {there!r}"
    elif what == "wrap":
        node[key] = chance.choice(([node[key]], {"value": node[key]}, {"colorectal": node[key]}, str(node[key])))
    else:
        mark, value = "MARK", _another(node[key], chance)
        node[key] = mark
        return yaml.safe_dump(content, sort_keys=False, allow_unicode=True).replace(
            mark, value
        ), f"{messages} = {value[:60]}"
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True), messages


def _torn(text: str, chance: random.Random) -> tuple[str, str]:
    """Change the text itself: a line gone, twice, or elsewhere, an odd word, a cut."""
    lines = text.split("\n")
    at = chance.randrange(len(lines))
    what = chance.choice(("gone", "twice", "indented", "odd", "cut", "inserted"))
    if what == "gone":
        del lines[at]
    elif what == "twice":
        lines.insert(at, lines[at])
    elif what == "indented":
        lines[at] = "  " + lines[at]
    elif what == "odd":
        lines[at] += chance.choice(RAW)
    elif what == "inserted":
        lines.insert(at, chance.choice(RAW))
    else:
        lines[at:] = [lines[at][: chance.randrange(len(lines[at]) + 1)]]
    return "\n".join(lines), f"{what} at line {at + 1}"


def outcome(mutated: Mutation, folder: Path) -> str:
    """Return what comes of a mutation: ``result``, ``refused``, or ``beyond`` a declared maximum."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", DeclarationWarning)
        try:
            prepared = prepare(list(mutated.overrides), config_dir=mutated.written(folder), hydra=False)
            explain(prepared.experiment)
            simulate(prepared.experiment)
        except ConfigError as error:
            if error.problems and all(problem.key for problem in error.problems):
                return "refused"
            raise
        except SimulationError as error:
            if "its declared maximum" in str(error):
                return "beyond"
            raise
    return "result"


def simulate(experiment: Experiment) -> None:
    """Simulate a few patients of a few studies, with few draws, into a tree of results."""
    patients = experiment.tables.patients
    few = replace(patients, n_patients=np.minimum(patients.n_patients, PATIENTS))
    study = experiment.study.model_copy(update={"replicates": min(experiment.study.replicates, REPLICATES)})
    small = replace(experiment, study=study, tables=replace(experiment.tables, patients=few))
    if draws_of(experiment.config) in range(1, 6) and patients.n_patients.max() <= 1_000:
        draws.run(small, threads=1)  # declares anew, so that studies have as many patients as they say
    else:
        batch.run(small, threads=1)
