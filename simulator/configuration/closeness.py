"""Which file is closest to the run, where a reading of the evidence and a file set the same key.

Knows defaults lists and readings. A file is as close as the cohort that names it: the cohort of the run is closer than
one whose file it builds on, and a file is closer than one of its folder that it builds on. Between equals a reading
wins over a file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from simulator.configuration.draws import GROUP as PARAMETERS
from simulator.configuration.draws import KEPT, POSTERIOR, UNDER
from simulator.configuration.draws import KEYS as OF_POSTERIOR
from simulator.configuration.layers import OVERRULED, READING_GROUPS, is_leaf
from simulator.configuration.library import COHORT, Library
from simulator.errors import ConfigError

EVIDENCE = "evidence"
Level = tuple[int, int]
"""How far a file is from the run: steps from cohort to cohort (0: the command line), then from file to file."""


class Closeness:
    """Takes the files of a composition in the order of merging."""

    def __init__(self, library: Library, choices: Mapping[str, str]) -> None:
        self._library = library
        self._levels = self._levels_of(dict(choices))
        self._set_by: dict[str, dict[str, str]] = {
            group: {} for group in READING_GROUPS
        }  # dotted key: the file that set it
        self._declared: dict[tuple[str, str], str] = {}  # question and alternative: the file of the evidence

    def take(self, config_path: str, content: Mapping[str, Any]) -> None:
        """Take one file, above those taken before."""
        group = config_path.partition("/")[0]
        if group in self._set_by:
            self._set_by[group] |= dict.fromkeys(_keys(content, group), config_path)
        elif group == EVIDENCE:
            for question, name, _ in alternatives(content):
                self._declared[question, name] = config_path

    def told(self, container: dict[str, Any]) -> dict[str, Any]:
        """Return the composed configuration with, of each reading, the keys that files closer to the run set.

        Parameters that files closer than draws of a posterior set are named there.
        """
        made = dict(container)
        for question, name, alternative in alternatives(container.get(EVIDENCE)):
            level = self._level(self._declared[question, name])
            study = container.get("study")
            if isinstance(study, Mapping) and name in _listed(study.get("reading")):
                level = min(level, self._level(self._set_by["study"].get("study.reading")))
            patched = [key for group in READING_GROUPS for key in _keys(alternative.get(group), group)]
            found = {key: f"{file}.yaml" for key in patched for file in self._closer(key, level)}
            if found:
                _put(made, (EVIDENCE, "readings", question, "alternatives", name, OVERRULED), found)
        group = container.get(PARAMETERS)
        if isinstance(group, Mapping) and (POSTERIOR in group or UNDER in group):
            mine = self._set_by[PARAMETERS]
            of_draws = tuple(f"{PARAMETERS}.{key}" for key in (POSTERIOR, UNDER))
            levels = (self._level(file) for key, file in mine.items() if key.startswith(of_draws))
            level = max(levels, default=(0, 0))  # none where the group itself is no group: the schema says so
            kept = {key.removeprefix(f"{PARAMETERS}."): f"{file}.yaml" for key, file in mine.items()
                    if self._level(file) < level and key.split(".")[1] not in OF_POSTERIOR}  # fmt: skip
            if kept:
                _put(made, (PARAMETERS, KEPT), kept)
        return made

    def _closer(self, key: str, level: Level) -> Iterator[str]:
        """Yield the closest file that sets a key, one above or one below it, if it is closer than a level."""
        files = {file for other, file in self._set_by[key.partition(".")[0]].items() if overlap(other, key)}
        closest = min(files, key=self._level, default=None)
        if closest is not None and self._level(closest) < level:
            yield closest

    def _level(self, file: str | None) -> Level:
        return self._levels.get(file or "", (0, 0))

    def _levels_of(self, choices: dict[str, str]) -> dict[str, Level]:
        """Return the level of every file, as far from the run as any cohort takes it.

        A file of another group than the evidence that the command line names is one of the cohort's.
        """
        cohort = choices.get(COHORT) or _default_cohort(self._library)
        chain = list(below(self._library, COHORT, cohort))
        named = [choices, *(self._named(name) for name, _ in chain)]
        levels = {f"{COHORT}/{name}": (1 + depth, 0) for name, depth in chain}
        taken: dict[str, str] = {}
        for number in reversed(range(len(named))):
            taken |= {group: name for group, name in named[number].items() if group != COHORT}
            step = number if number == 0 else 1 + chain[number - 1][1]
            for group, first in taken.items():
                for name, depth in below(self._library, group, first):
                    at = step if group == EVIDENCE else max(step, 1)
                    levels.setdefault(f"{group}/{name}", (at, depth))
        return levels

    def _named(self, cohort: str) -> dict[str, str]:
        """Return the files by group that the defaults list of a cohort names."""
        found = {}
        for entry in _defaults(self._library, COHORT, cohort):
            if isinstance(entry, Mapping):
                for key, name in entry.items():
                    found[str(key).removeprefix("override ").lstrip("/").partition("@")[0]] = str(name)
        return found


def below(library: Library, group: str, name: str) -> Iterator[tuple[str, int]]:
    """Yield a file and those of its folder that it builds on, nearest first, each with its number of steps."""
    queue, seen = [(name, 0)], {name}
    while queue:
        here, depth = queue.pop(0)
        yield here, depth
        for entry in _defaults(library, group, here):
            if isinstance(entry, str) and entry != "_self_" and entry not in seen:
                seen.add(entry)
                queue.append((entry, depth + 1))


def _defaults(library: Library, group: str, name: str) -> list[Any]:
    if name not in library.options(group):
        return []
    try:
        found = library.file(f"{group}/{name}").content.get("defaults")
    except ConfigError:  # of a file that the run does not take
        return []
    return found if isinstance(found, list) else []


def overlap(one: str, other: str) -> bool:
    """Whether two dotted keys are the same, or one stands in the other."""
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def _keys(node: Any, here: str) -> Iterator[str]:
    """Yield the dotted keys of everything that is set below a key; of a parameter, its own."""
    if isinstance(node, Mapping) and not is_leaf(node):
        for name, child in node.items():
            yield from _keys(child, f"{here}.{name}")
    elif node is not None or here.count("."):
        yield here


def alternatives(evidence: Any) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield question, name and content of every alternative of composed evidence, whatever else is wrong with it."""
    readings = evidence.get("readings") if isinstance(evidence, Mapping) else None
    for question, reading in readings.items() if isinstance(readings, Mapping) else ():
        names = reading.get("alternatives") if isinstance(reading, Mapping) else None
        for name, alternative in names.items() if isinstance(names, Mapping) else ():
            if isinstance(alternative, Mapping):
                yield question, name, alternative


def _listed(given: Any) -> list[Any]:
    return [given] if isinstance(given, str) else given if isinstance(given, list) else []


def _default_cohort(library: Library) -> str:
    for entry in library.primary.get("defaults") or ():
        if isinstance(entry, Mapping) and COHORT in entry:
            return str(entry[COHORT])
    return ""


def _put(container: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    """Set a key; mappings on the way are copied, since files share them."""
    *above, last = path
    node = container
    for step in above:
        node[step] = dict(node[step])
        node = node[step]
    node[last] = value
