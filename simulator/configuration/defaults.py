"""Defaults lists: which files a composition takes, in what order, and how far each of them is from the run.

An entry has one of four forms, with Hydra's meaning (`test_compose.py` compares with Hydra's own composition):

| entry | |
|---|---|
| ``_self_`` | the place of the file's own content; last where it is not written |
| ``NAME`` | another file of the same folder, to build on |
| ``/GROUP: NAME`` | a file of another group; ``/GROUP@_global_.GROUP: NAME`` is the same |
| ``override /GROUP: NAME`` | another choice than a list below makes; such entries are last |

A group that is named twice is refused, also where Hydra would take the same file twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from simulator.configuration.files import ConfigFile
from simulator.configuration.library import COHORT, PRIMARY, Library
from simulator.errors import MISSING, ConfigError, Problem, unknown

EVIDENCE = "evidence"
SELF = "_self_"
Level = tuple[int, int]
"""How far a file is from the run: steps from cohort to cohort (0: the command line), then from file to file."""

OF_HYDRA = "hydra"
"""Group of settings of Hydra's own main, which is not in use here."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_OF_GROUP = re.compile(r"(override )?/?(\w+(?:/\w+)?)(?:@(?:_global_\.)?(\w+))?")
_FORMS = ("must be '_self_', '/<group>: <name>', the name of another file of the same folder, "
          "or, last, 'override /<group>: <name>'")  # fmt: skip


@dataclass(frozen=True)
class DefaultsEntry:
    """An entry of a defaults list. ``group`` is empty of `SELF` and of a file of the same folder."""

    name: str
    group: str = ""
    override: bool = False


class Defaults:
    """The defaults lists of a library, for choices of files by group.

    ``files`` taken in the order of merging, as ``group/name``, the primary one by its name; ``taken``: the file of each
    group; ``problems`` of all lists.
    """

    def __init__(self, library: Library, choices: Mapping[str, str]) -> None:
        self.library, self.choices = library, choices
        self.files: list[str] = []
        self.taken: dict[str, str] = {}
        self.problems: list[Problem] = []
        self._lists = f"defaults lists of {choices.get(COHORT, 'the default cohort')}"
        self._entries: dict[str, list[DefaultsEntry]] = {}
        self._chosen = dict(choices)
        self._visit(library.primary_name, ())
        self.files.reverse()
        if not self.problems:
            self.problems += [self._unused(group) for group in self._chosen if group not in self.taken]

    def _visit(self, path: str, above: tuple[str, ...]) -> None:
        """Take a file and what it builds on, the last to be merged first. A choice above wins over one below."""
        if path in above:
            self.problems.append(Problem(self._lists, MISSING, "two files name each other"))
            return
        entries = self.entries(path)
        for entry in entries:
            if entry.override:
                self._chosen.setdefault(entry.group, entry.name)
        for entry in reversed(entries):
            if entry.name == SELF:
                self.files.append(path)
            elif not entry.group:
                self._visit(_beside(path, entry.name), (*above, path))
            elif not entry.override:
                name = self._chosen.get(entry.group, entry.name)
                if entry.group in self.taken:
                    twice = "is named twice; keep one"
                    if self.taken[entry.group] != name:
                        twice = "is named twice with different files; in the list that builds on another file write "
                        twice += f"'- override /{entry.group}: <name>', last"
                    self.problems.append(Problem(self._lists, entry.group, twice))
                    continue
                self.taken[entry.group] = name
                self._visit(f"{entry.group}/{name}", (*above, path))

    def _unused(self, group: str) -> Problem:
        if group in self.choices:
            allowed = f"the cohort names no {group}: add '- /{group}: <name>' to its defaults list"
            return Problem(group, self.choices[group], allowed)
        return Problem(self._lists, f"override /{group}", "no list names one to override; leave out 'override'")

    def entries(self, path: str) -> list[DefaultsEntry]:
        """Return the entries of a file's list; what is wrong with one is a problem, and the entry is left out."""
        if path not in self._entries:
            try:
                file = self.library.file(path)
                found = list(self._read(file, path))
            except ConfigError as error:
                self.problems += error.problems
                found = []
            has_self = any(entry.name == SELF for entry in found)
            self._entries[path] = found if has_self else [*found, DefaultsEntry(SELF)]
        return self._entries[path]

    def _read(self, file: ConfigFile, path: str) -> Iterator[DefaultsEntry]:
        given = file.content.get("defaults", [])
        if not isinstance(given, list):
            self.problems.append(Problem(file.where("defaults"), MISSING, "defaults must be a list"))
            return
        read: list[DefaultsEntry] = []
        folder = path.rpartition("/")[0]
        for number, item in enumerate(given):
            where = file.where("defaults", number)
            entry = _entry(item, shipped_primary=path == PRIMARY)
            overriding = bool(read) and read[-1].override
            if entry is None or (overriding and not entry.override) or (entry.name == SELF and entry in read):
                shown = ": ".join(map(str, *item.items())) if isinstance(item, dict) and len(item) == 1 else item
                self.problems.append(Problem(where, shown, _FORMS))
            elif entry.group == OF_HYDRA:
                continue
            elif entry.group and entry.group not in self.library.groups:
                self.problems.append(unknown(where, entry.group, self.library.groups, what="group"))
            elif entry.name != SELF and entry.name not in (known := self.library.options(entry.group or folder)):
                self.problems.append(unknown(where, entry.name, known, what=entry.group or folder or "file"))
            else:
                read.append(entry)
                yield entry

    def below(self, group: str, name: str) -> Iterator[tuple[str, int]]:
        """Yield a file and those of its folder that it builds on, nearest first, each with its number of steps."""
        queue, seen = [(name, 0)], {name}
        while queue:
            here, depth = queue.pop(0)
            yield here, depth
            for entry in self.entries(f"{group}/{here}"):
                if not entry.group and entry.name not in (SELF, *seen):
                    seen.add(entry.name)
                    queue.append((entry.name, depth + 1))

    def levels(self) -> dict[str, Level]:
        """Return the level of every file, as far from the run as any cohort takes it.

        A file of another group than the evidence that the command line names is one of the cohort's.
        """
        chain = list(self.below(COHORT, self.taken[COHORT])) if COHORT in self.taken else []
        lists = [self.library.primary_name, *(f"{COHORT}/{name}" for name, _ in chain)]
        named = [{entry.group: entry.name for entry in self.entries(path) if entry.group} for path in lists]
        named[0] |= self.choices
        levels = {f"{COHORT}/{name}": (1 + depth, 0) for name, depth in chain}
        taken: dict[str, str] = {}
        for number in reversed(range(len(named))):
            taken |= {group: name for group, name in named[number].items() if group != COHORT}
            step = number if number == 0 else 1 + chain[number - 1][1]
            for group, first in taken.items():
                for name, depth in self.below(group, first):
                    at = step if group == EVIDENCE else max(step, 1)
                    levels.setdefault(f"{group}/{name}", (at, depth))
        return levels


def _entry(item: object, *, shipped_primary: bool) -> DefaultsEntry | None:
    """Return an entry as written; None of what has none of the four forms."""
    if isinstance(item, str) and (item == SELF or _NAME.fullmatch(item)):
        return DefaultsEntry(item)
    if not isinstance(item, dict) or len(item) != 1:
        return None
    ((key, name),) = item.items()
    if shipped_primary and key.startswith("override hydra/"):
        return DefaultsEntry(str(name), OF_HYDRA, override=True)
    match = _OF_GROUP.fullmatch(key)
    if not match or match[3] not in (None, match[2]):
        return None
    return DefaultsEntry(str(name), match[2], override=bool(match[1]))


def _beside(path: str, name: str) -> str:
    folder = path.rpartition("/")[0]
    return f"{folder}/{name}" if folder else name
