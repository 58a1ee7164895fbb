"""Configuration files: YAML read strictly, with the line of every fault.

Text that two readers of YAML would take for different things (`010`, `NO`, `12:30`) is refused rather than guessed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from simulator.errors import MISSING, ConfigError, Problem

DEEPEST = 40
LARGEST_FILE = 1_000_000
"""Bytes of a file of configurations. The YAML of one million takes some seconds to read."""

IN_QUOTES = "or put it in quotes if it is text"
_INTEGER = re.compile(r"[+-]?(?:0|[1-9][0-9]*(?:_[0-9]+)*)")
_REAL = re.compile(r"[+-]?(?:[0-9]+(?:_[0-9]+)*\.[0-9]*|\.[0-9]+|[0-9]+(?:_[0-9]+)*(?=[eE]))(?:[eE][+-]?[0-9]+)?")
_TRAPS = tuple(
    (re.compile(pattern), f"{reason}, {IN_QUOTES}")
    for pattern, reason in (
        (
            r"[+-]?0[0-9_]+",
            "is ambiguous: a number that begins with 0 may be read as octal; write it without the 0",
        ),
        (r"[+-]?0[xXoObB][0-9a-fA-F_]+", "is not a decimal number; write it in decimals"),
        (
            r"[+-]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?",
            "is ambiguous: YAML may read colons as base 60; write one number, with its unit if it is a time",
        ),
        (r"(?i:yes|no|on|off)", "is ambiguous: YAML may read it as true or false; write true or false"),
        (r"(?i:[+-]?\.?(?:nan|inf|infinity))", "is not a finite number; write a finite number"),
        (r"[+-]?[0-9]+,[0-9]+", "has a decimal comma; write a decimal point"),
        (r"[−–][0-9.][0-9.eE]*", "has a dash where a minus sign belongs; write '-'"),
        (r"\?\?\?", "stands for a missing value; write the value"),
    )
)
_CODE = re.compile(r"_.*_|class|\(\)")

_UNREAD = "YAML's anchors, aliases and tags are not read"
CODE_REFUSED = "names code to run, which no configuration can do"
INTERPOLATION_REFUSED = "${…} is not read: no interpolations, no resolvers, no environment; write the value"


@dataclass(frozen=True)
class ConfigFile:
    """One file as read: plain dictionaries, lists and scalars, and the line of every key and item."""

    label: str
    content: dict[str, Any]
    comment: str | None = None
    lines: dict[tuple[Hashable, ...], int] = field(default_factory=dict)

    def where(self, *path: Hashable) -> str:
        """Return file and line of a key, as ``study/my_study.yaml:3``."""
        line = self.lines.get(path)
        return self.label if line is None else f"{self.label}:{line}"


def trap(text: str) -> str | None:
    """Return why unquoted text is refused, or None where it is plain enough."""
    for pattern, reason in _TRAPS:
        if pattern.fullmatch(text):
            return reason
    if _REAL.fullmatch(text) and not math.isfinite(float(text)):
        return f"is beyond the largest number; write a smaller number, {IN_QUOTES}"
    return None


def runs_code(key: str) -> bool:
    """Whether a key is one that other software takes for something to call."""
    return _CODE.fullmatch(key) is not None


def read(path: Path, *, label: str, trusted: bool = False) -> ConfigFile:
    """Read one file. A `trusted` file (our own primary configuration) may hold Hydra's interpolations.

    Raises
    ------
    ConfigError
        With every problem found in the file.
    """
    text = _text(path, label)
    reader = _Reader(label, trusted)
    try:
        content = reader.document(yaml.parse(text, Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader)))
    except _TooDeep as error:
        problem = Problem(f"{label}:{error}", MISSING, f"is nested deeper than {DEEPEST} levels")
        raise ConfigError(problem) from None
    except yaml.YAMLError as error:
        raise ConfigError([*reader.problems, _unreadable(error, text, label)]) from None
    if not isinstance(content, dict):
        reader.problems.append(Problem(label, MISSING, "must be a mapping of keys to values"))
    if not trusted and (header := re.match(r"(?:\s*\n)*\s*#\s*@\s*(.*)", text)):
        reader.problems.append(
            Problem(f"{label}:1", f"# @{header[1]}", "a file of a group has no header; take the line out")
        )
    if reader.problems:
        raise ConfigError(reader.problems)
    comment = re.match(r"#+[ \t]*([^\n]*)", text)
    return ConfigFile(label, content, comment[1].strip() if comment else None, reader.lines)


def dump(container: Mapping[str, Any], *, compact: bool = False) -> str:
    """Write a configuration so that every reader of YAML reads back what it is; ``compact``: a parameter a line."""
    dumper = _Compact if compact else _Dumper
    width = 10_000 if compact else 110
    text: str = yaml.dump(dict(container), Dumper=dumper, sort_keys=False, allow_unicode=True, width=width)
    return text


_SafeDumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Dumper(_SafeDumper):  # type: ignore[misc] # PyYAML has no types
    """Puts text into quotes where unquoted it would be, or could be taken for, something else."""

    def ignore_aliases(self, data: object) -> bool:
        return True

    def represent_text(self, text: str) -> yaml.ScalarNode:
        plain = isinstance(_plain(text), str) and trap(text) is None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else "'")


_Dumper.add_representer(str, _Dumper.represent_text)


class _Compact(_Dumper):
    """Writes a parameter with its provenance, and a list, on one line."""

    def represent_one_line(self, data: Mapping[str, Any] | list[Any]) -> yaml.Node:
        flow = isinstance(data, list) or "value" in data
        represent = self.represent_sequence if isinstance(data, list) else self.represent_mapping
        tag = "tag:yaml.org,2002:seq" if isinstance(data, list) else "tag:yaml.org,2002:map"
        return represent(tag, data if isinstance(data, list) else data.items(), flow_style=flow)


_Compact.add_representer(dict, _Compact.represent_one_line)
_Compact.add_representer(list, _Compact.represent_one_line)


def contents(path: Path, label: str, largest: int) -> bytes:
    """Return the bytes of an input file; ConfigError where there are more than ``largest``, OSError as usual."""
    with path.open("rb") as file:
        data = file.read(largest + 1)
    if len(data) > largest:
        raise ConfigError(Problem(label, MISSING, f"is larger than {largest / 1e6:g} MB, the most that is read"))
    return data


def _text(path: Path, label: str) -> str:
    try:
        if path.exists() and not path.is_file():
            raise ConfigError(Problem(label, MISSING, "is not a file"))
        data = contents(path, label, LARGEST_FILE)
    except OSError as error:
        raise ConfigError(Problem(label, MISSING, f"cannot be read: {error.strerror or error}")) from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        problem = Problem(f"{label}:{line}", MISSING, "is not UTF-8 text; save the file as UTF-8")
        raise ConfigError(problem) from None


def _unreadable(error: yaml.YAMLError, text: str, label: str) -> Problem:
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        reason = getattr(error, "reason", None) or "a character that no YAML file may hold"
        return Problem(label, MISSING, f"is not readable YAML: {reason}")
    said, context = str(error.problem or "").strip(), str(error.context or "")
    if context.startswith(("while scanning a quoted", "while parsing a flow")) and error.context_mark:
        mark = error.context_mark
        said = "a quote or bracket that is not closed"
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    where = f"{label}:{mark.line + 1}"
    if "\t" in line[: len(line) - len(line.lstrip())] or line[mark.column : mark.column + 1] == "\t":
        return Problem(where, line.strip() or MISSING, "a tab; YAML is indented with spaces")
    advice = "check the indentation, the closing quotes and brackets, and quotes around text with a colon"
    return Problem(where, line.strip() or MISSING, f"is not readable YAML ({said}); {advice}")


class _TooDeep(Exception):
    """Carries the line where the nesting passes `DEEPEST`."""


class _Reader:
    """One pass over YAML's events that converts what is plain and collects what is not.

    Events rather than PyYAML's nodes: composing those recurses in C, and a deep file would end the process.
    """

    def __init__(self, label: str, trusted: bool) -> None:
        self.label = label
        self.trusted = trusted
        self.problems: list[Problem] = []
        self.lines: dict[tuple[Hashable, ...], int] = {}

    def document(self, events: Iterator[yaml.Event]) -> Any:
        """Convert the only document; an empty file is an empty mapping."""
        self.events = events
        content: Any = {}
        n_documents = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                n_documents += 1
                if n_documents == 2:
                    self._problem(event, (), "a second document (---); a file holds one")
            elif isinstance(event, yaml.NodeEvent):
                empty = isinstance(event, yaml.ScalarEvent) and not event.value and not event.style
                content = {} if empty else self._value(event, ())
        return content

    def _problem(self, event: yaml.Event, path: tuple[Hashable, ...], allowed: str, value: object = MISSING) -> None:
        key = ".".join(str(step) for step in path)
        where = f"{self.label}:{event.start_mark.line + 1}"
        self.problems.append(Problem(f"{where}: {key}" if key else where, value, allowed))

    def _value(self, event: yaml.Event, path: tuple[Hashable, ...]) -> Any:
        """Convert what begins with this event, and take its events."""
        line = event.start_mark.line + 1
        if len(path) > DEEPEST:
            raise _TooDeep(line)
        self.lines.setdefault(path, line)
        if isinstance(event, yaml.AliasEvent):
            self._problem(event, path, f"{_UNREAD}; write the value out", f"*{event.anchor}")
            return None
        if event.anchor is not None:
            self._problem(event, path, f"{_UNREAD}; write the value out where it is repeated", f"&{event.anchor}")
        if event.tag is not None:
            self._problem(event, path, f"{_UNREAD}; take it out", event.tag)
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(path)
        if isinstance(event, yaml.SequenceStartEvent):
            items: list[Any] = []
            while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
                items.append(self._value(event, (*path, len(items))))
            return items
        return self._scalar(event, path)

    def _mapping(self, path: tuple[Hashable, ...]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                self._problem(event, path, "has a key that is not a name")
                self._value(event, (*path, "?"))
                self._value(next(self.events), (*path, "?"))
                continue
            key = event.value
            here = (*path, key)
            if refused := self._key_refused(event, key in made):
                self._problem(event, here, refused)
            self.lines.setdefault(here, event.start_mark.line + 1)
            value = self._value(next(self.events), here)
            if not refused:
                made[key] = value
        return made

    def _key_refused(self, event: yaml.ScalarEvent, twice: bool) -> str | None:
        key: str = event.value
        if twice:
            return "is there twice; keep one"
        if runs_code(key):
            return CODE_REFUSED
        if key == "<<":
            return "merge keys are not read; write the keys out"
        if "${" in key and not self.trusted:
            return INTERPOLATION_REFUSED
        if event.style:
            return None
        if not isinstance(_plain(key), str) or not key:
            return "must be a name: it is read as a number, true, false or nothing; put it in quotes"
        reason = trap(key)
        return f"as a name: {reason}" if reason else None

    def _scalar(self, event: yaml.ScalarEvent, path: tuple[Hashable, ...]) -> Any:
        text: str = event.value
        if "${" in text and not self.trusted:
            self._problem(event, path, INTERPOLATION_REFUSED, text)
        elif event.style:  # the C parser says "" where the Python one says None
            return text
        elif not text:
            self._problem(event, path, "has no value; write one, or null for none, or take the key out")
        elif reason := trap(text):
            self._problem(event, path, reason, text)
        else:
            return _plain(text)
        return None


def _plain(text: str) -> Any:
    """Read an unquoted scalar as OmegaConf would, traps apart."""
    if text in ("true", "True", "TRUE"):
        return True
    if text in ("false", "False", "FALSE"):
        return False
    if text in ("null", "Null", "NULL", "~"):
        return None
    if _INTEGER.fullmatch(text):
        return int(text) if len(text) < 40 else text
    if _REAL.fullmatch(text):
        return float(text)
    return text
