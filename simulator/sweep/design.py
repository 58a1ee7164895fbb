"""A sweep as described: axes over plain overrides, and a list of scenarios that is counted before it is made.

A scenario is composed from files once for each set of group choices, and its other values are set in a copy; it equals
what the same overrides give in a single run.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from simulator.configuration.compose import Composition, with_values
from simulator.configuration.library import COHORT, PARAMETERS, Library
from simulator.configuration.overrides import Overrides, read_overrides, split
from simulator.configuration.parameters import ONE_DRAW, point_values, table_fingerprint, with_draw
from simulator.errors import ConfigError
from simulator.experiment.preparation import declared
from simulator.experiment.schema import Experiment
from simulator.sweep.axes import Axis
from simulator.sweep.layout import place_of

DRAWS_TABLE = "table of draws"


@dataclass(frozen=True)
class Running:
    """Where and how the work of a sweep is done; no result depends on it."""

    launcher: str = "local"
    shard: tuple[int, int] | None = None  # number from 1, of how many
    takeover: bool = False
    address: str | None = None
    workers: int | None = None


@dataclass(frozen=True, eq=False)
class Sweep:
    """A lazy list of scenarios, the last axis fastest."""

    library: Library
    fixed: Overrides
    axes: tuple[Axis, ...]
    names: Mapping[str, str]  # of each swept key: its dimension, or its coordinate along `scenario`
    running: Running = field(default_factory=Running)
    contrast: Mapping[str, Any] = field(default_factory=dict)  # label of a reference by dimension, to contrast with
    title: str = ""
    extendable: bool = False  # keep what more studies of each scenario can be added to
    _files: dict[tuple[tuple[str, str], ...], Composition] = field(default_factory=dict, repr=False)
    _read: dict[str, Overrides] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return math.prod(axis.size for axis in self.axes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of points of each axis."""
        return tuple(axis.size for axis in self.axes)

    def overrides(self, index: int) -> tuple[str, ...]:
        """Return the overrides that give this scenario in a single run."""
        return tuple(self._set(index)[2])

    def composed(self, index: int) -> Composition:
        """Return the composed configuration of a scenario. Raises ConfigError."""
        choices, values, texts = self._set(index)
        return with_draw(self.library, with_values(self._composed_files(choices), values), texts)

    def experiment(self, index: int) -> Experiment:
        """Return a scenario, checked and compiled. Raises ConfigError with everything that is wrong with it."""
        experiment, problems = declared(self.composed(index), self.overrides(index))
        if problems or experiment is None:
            raise ConfigError(problems)
        return experiment

    @cached_property
    def description(self) -> dict[str, Any]:
        """The sweep in plain values: what is set, what is swept, and fingerprints of the files it is made of."""
        return {
            "set": {split(text)[0]: split(text)[1] for text in self.fixed.texts},
            "axes": [
                {
                    "dimension": axis.name,
                    "keys": list(axis.keys),
                    "points": [list(axis.points(i)) for i in range(axis.size)],
                }
                for axis in self.axes
            ],
            "files": {_named(choices): self._files_fingerprint(choices) for choices in self._choices()},
            **({"extendable": True} if self.extendable else {}),
        }

    @property
    def configurations(self) -> dict[str, dict[str, Any]]:
        """The composed files of every set of group choices, by name as in the description."""
        return {_named(choices): self._composed_files(choices).container for choices in self._choices()}

    @cached_property
    def keys(self) -> frozenset[str]:
        """Every key that is set or swept."""
        return frozenset(
            {*(split(text)[0] for text in self.fixed.texts), *(key for axis in self.axes for key in axis.keys)}
        )

    @cached_property
    def strata(self) -> frozenset[str]:
        """Names of the strata of all cohorts that occur."""
        found: set[str] = set()
        for choices in self._choices():
            mix = self._composed_files(choices).container.get(COHORT, {}).get("mix", {})
            found |= set(mix) if isinstance(mix, Mapping) else set()
        return frozenset(found)

    def representatives(self) -> Iterator[int]:
        """Yield scenarios in which every point of every axis occurs: the first one, and one change at a time."""
        stride = len(self)
        yield 0
        for axis in self.axes:
            stride //= axis.size
            for point in range(1, axis.size):
                yield point * stride

    def firsts(self) -> Iterator[tuple[dict[str, int], int]]:
        """Yield the first scenario of every set of group choices: its place on the axes that choose, and its number."""
        chosen = [number for number, axis in enumerate(self.axes) if self._chooses(axis)]
        for places in itertools.product(*(range(self.shape[number]) for number in chosen)):
            index, at = 0, dict(zip(chosen, places, strict=True))
            for number, size in enumerate(self.shape):
                index = index * size + at.get(number, 0)
            yield {self.axes[number].name: place for number, place in at.items()}, index

    def _chooses(self, axis: Axis) -> bool:
        return any(key in self.library.groups for key in axis.keys)

    def _set(self, index: int) -> tuple[dict[str, str], list[tuple[str, Any]], list[str]]:
        choices, values, texts = _choices_of(self.fixed), list(self.fixed.values), list(self.fixed.texts)
        for axis, place in zip(self.axes, place_of(index, self.shape), strict=True):
            for key, text in axis.point(place):
                read = self.read(f"{key}={text}")
                choices |= _choices_of(read)
                values += read.values
                texts += read.texts
        return choices, values, texts

    def read(self, text: str) -> Overrides:
        """Return a plain override as read; nothing is raised for what is wrong with it."""
        if text not in self._read:
            if len(self._read) > 100_000:
                self._read.clear()
            self._read[text] = read_overrides([text], self.library)
        return self._read[text]

    def value(self, key: str, text: str) -> Any:
        """Return what a text sets a key to; the text itself where it cannot be read."""
        read = self.read(f"{key}={text}")
        return read.choices[key] if key in read.choices else dict(read.values).get(key, text)

    def _choices(self) -> Iterator[dict[str, str]]:
        """Yield every set of group choices that occurs."""
        groups = [axis for axis in self.axes if self._chooses(axis)]
        for places in itertools.product(*(range(axis.size) for axis in groups)):
            choices = _choices_of(self.fixed)
            for axis, place in zip(groups, places, strict=True):
                for key, text in axis.point(place):
                    choices |= _choices_of(self.read(f"{key}={text}"))
            yield choices

    def _composed_files(self, choices: Mapping[str, str]) -> Composition:
        taken = tuple(sorted(choices.items()))
        if taken not in self._files:
            self._files[taken] = point_values(self.library, choices)
        return self._files[taken]

    def _files_fingerprint(self, choices: Mapping[str, str]) -> str:
        taken = tuple(sorted(choices.items()))
        if taken not in self._fingerprints:
            composed = self._composed_files(choices)
            content = {key: value for key, value in composed.container.items() if key != "launcher"}
            drawn = table_fingerprint(self.library, composed) if ONE_DRAW in self.keys else ""
            self._fingerprints[taken] = fingerprint({**content, **({DRAWS_TABLE: drawn} if drawn else {})})
        return self._fingerprints[taken]

    @cached_property
    def _fingerprints(self) -> dict[tuple[tuple[str, str], ...], str]:
        return {}


def _choices_of(read: Overrides) -> dict[str, str]:
    """Return what is chosen by group; of parameters also what their choice stands for."""
    return read.choices | ({PARAMETERS: read.source} if read.source else {})


def _named(choices: Mapping[str, str]) -> str:
    return " ".join(f"{group}={file}" for group, file in sorted(choices.items()))


def fingerprint(value: object) -> str:
    """Hash of plain values. Mappings keep their order, which has a meaning: strata are allotted in it."""
    return hashlib.sha256(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()
