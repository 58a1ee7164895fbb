"""Which file is closest to the run, where a reading of the evidence and a file set the same key.

A file is as close as the cohort that names it: the cohort of the run is closer than one whose file it builds on, and a
file is closer than one of its folder that it builds on. Between equals a reading wins over a file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from simulator.configuration.defaults import EVIDENCE, Defaults, Level
from simulator.configuration.draws import GROUP as PARAMETERS
from simulator.configuration.draws import KEPT, POSTERIOR, UNDER
from simulator.configuration.draws import KEYS as OF_POSTERIOR
from simulator.configuration.layers import OVERRULED, READING_GROUPS, is_leaf


class Closeness:
    """Takes the files of a composition in the order of merging."""

    def __init__(self, defaults: Defaults) -> None:
        self._levels = defaults.levels()
        self._set_by: dict[str, dict[str, str]] = {
            group: {} for group in READING_GROUPS
        }  # dotted key: the file that set it
        self._declared: dict[tuple[str, str], str] = {}  # question and alternative: the file of the evidence

    def take(self, path: str, content: Mapping[str, Any]) -> None:
        """Take what one file sets, above those taken before."""
        for group in self._set_by:
            if group in content:
                self._set_by[group] |= dict.fromkeys(_keys(content[group], group), path)
        for question, name, _ in alternatives(content.get(EVIDENCE)):
            self._declared[question, name] = path

    def found(self, container: dict[str, Any]) -> dict[str, Any]:
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
            set_by = self._set_by[PARAMETERS]
            of_draws = tuple(f"{PARAMETERS}.{key}" for key in (POSTERIOR, UNDER))
            levels = (self._level(file) for key, file in set_by.items() if key.startswith(of_draws))
            level = max(levels, default=(0, 0))  # none where the group itself is no group: the schema says so
            kept = {key.removeprefix(f"{PARAMETERS}."): f"{file}.yaml" for key, file in set_by.items()
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


def _put(container: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    """Set a key; mappings on the way are copied, since files share them."""
    *above, last = path
    node = container
    for step in above:
        node[step] = dict(node[step])
        node = node[step]
    node[last] = value
