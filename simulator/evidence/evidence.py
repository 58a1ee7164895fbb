"""A cohort's evidence: reported figures, how they must agree, and the readings they allow."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, model_validator

from simulator.configuration.fields import Declared, Name, Text
from simulator.configuration.layers import READING_GROUPS, why_not
from simulator.configuration.messages import Wrong, problems_of
from simulator.errors import MISSING, ConfigError, Problem, unknown
from simulator.evidence.checks import (
    Relation,
    count_checks,
    curve_checks,
    doubts,
    range_checks,
    same_statistic_checks,
)
from simulator.evidence.entries import (
    ROOT,
    Check,
    EvidenceEntry,
    listed,
)

_WORD, _DIGIT = re.compile(r"[\w.]+"), re.compile(r"\d")
READING_KEY = "study.reading"


class SourceFile(Declared):
    """A text that was read, and what it is."""

    file: Text
    """Name of the text that was read."""
    citation: Text
    """What it is."""


class ReadingAlternative(Declared):
    """One answer to a question the paper leaves open, and what it changes in the configuration."""

    note: Text
    """Why the text may be read so."""
    cohort: dict[str, Any] = Field(default_factory=dict)
    """Laid over the group."""
    study: dict[str, Any] = Field(default_factory=dict)
    """Laid over the group."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Laid over the group."""
    course: dict[str, Any] = Field(default_factory=dict)
    """Laid over the group."""
    entries: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """By id: laid over the entry."""
    overruled: dict[str, str] = Field(default_factory=dict)
    """In a composed configuration: keys of it that files closer to the run set, each with the file."""


class Reading(Declared):
    """A question the paper leaves open; one alternative is the default."""

    question: Text
    """What the paper leaves open."""
    default: Name
    """Alternative that is taken if none is chosen."""
    alternatives: Annotated[dict[Name, ReadingAlternative], Field(min_length=1)]
    """By name; unique in the file."""


@dataclass(frozen=True)
class Selection:
    """The evidence under chosen readings: entries after their patches, and patches of the configuration."""

    chosen: Mapping[str, str]
    entries: tuple[EvidenceEntry, ...]
    cohort: Mapping[str, Any]
    study: Mapping[str, Any]
    parameters: Mapping[str, Any]
    course: Mapping[str, Any]
    not_applied: Mapping[str, str]
    """Alternatives that would be taken and change nothing, each with the reason."""

    @property
    def targets(self) -> tuple[EvidenceEntry, ...]:
        """The entries that a simulated study computes."""
        return tuple(entry for entry in self.entries if entry.is_target)

    def refuse_use_of_held_out(self, key: str, value: object, *texts: str | None) -> Iterator[Problem]:
        """Yield a problem for each held-out target that texts about a value name by its id.

        A target by which a value was chosen is not held out. An id counts as named where it stands as a word of its
        own; one without a digit, such as ``response``, may be an ordinary word and is never recognised.
        """
        words = {word.strip(".") for text in texts if isinstance(text, str) for word in _WORD.findall(text)}
        for entry in self.targets:
            if entry.role == "held_out" and entry.id in words and _DIGIT.search(entry.id):
                allowed = f"cites {entry.id}, which is held out: a target that a value is chosen by has the role used"
                yield Problem(key, value, allowed)


class EvidenceFile(Declared):
    """Everything that was reported about one cohort."""

    name: Name
    """Stands in the results."""
    title: Text
    """For the reader."""
    sources: Annotated[list[SourceFile], Field(min_length=1)]
    """Texts that were read."""
    entries: list[EvidenceEntry]
    """Reported figures and statements."""
    readings: dict[Name, Reading] = Field(default_factory=dict)
    """Questions that the paper leaves open, by name."""
    checks: list[Relation] = Field(default_factory=list)
    """How entries must agree."""

    @model_validator(mode="after")
    def _refers_to_what_exists(self) -> Self:
        wrong = [*self._wrong_entries(), *self._wrong_readings(), *self._wrong_relations()]
        if wrong:
            raise Wrong(wrong)
        return self

    @property
    def by_id(self) -> dict[str, EvidenceEntry]:
        """The entries by their ids."""
        return {entry.id: entry for entry in self.entries}

    def _wrong_entries(self) -> Iterator[Problem]:
        files = [source.file for source in self.sources]
        seen: set[str] = set()
        for entry in self.entries:
            if entry.id in seen:
                yield Problem(f"entries.{entry.id}.id", entry.id, "stands twice; an id must be unique")
            seen.add(entry.id)
            if entry.source.file not in files:
                yield unknown(f"entries.{entry.id}.source.file", entry.source.file, files, what="source")

    def _wrong_readings(self) -> Iterator[Problem]:
        entries, owner = self.by_id, dict[str, str]()
        for question, reading in self.readings.items():
            if reading.default not in reading.alternatives:
                key = f"readings.{question}.default"
                yield unknown(key, reading.default, reading.alternatives, what="alternative")
            for name, alternative in reading.alternatives.items():
                here = f"readings.{question}.alternatives.{name}"
                if name in owner:
                    allowed = f"must be unique in the file; {owner[name]} has an alternative of this name"
                    yield Problem(here, MISSING, allowed)
                owner.setdefault(name, question)
                for entry, patch in alternative.entries.items():
                    if entry not in entries:
                        yield unknown(f"{here}.entries.{entry}", entry, entries, what="entry")
                        continue
                    try:
                        _patched(entries[entry], patch)
                    except ValidationError as error:
                        yield from problems_of(error, f"{here}.entries.{entry}", EvidenceEntry)

    def _wrong_relations(self) -> Iterator[Problem]:
        entries = self.by_id
        for index, relation in enumerate(self.checks):
            yield from relation.wrong(entries, f"checks.{index}")

    def verify(self) -> list[Check]:
        """Return every check with what it found: of each entry, of each curve, of the declared relations."""
        entries = self.by_id
        found = [check for entry in self.entries for check in entry.verify()]
        found += [*range_checks(entries), *curve_checks(self.entries), *count_checks(self.entries)]
        found += same_statistic_checks(self.entries)
        found += [relation.verify(entries) for relation in self.checks]
        for reading in self.readings.values():
            for name, alternative in reading.alternatives.items():
                for entry, patch in alternative.entries.items():
                    checks = _patched(entries[entry], patch).verify()
                    found += [replace(c, what=f"{c.what}, under {name}") for c in checks if not c.passed]
        return found

    def doubts(self) -> list[str]:
        """Return what is legal in the entries but surely not meant."""
        return [*(said for entry in self.entries for said in entry.doubts()), *doubts(self.entries)]

    def select(self, reading_names: str | Sequence[str] | None = None, *, by_hand: bool = True) -> Selection:
        """Return the evidence under the named alternatives; the default where a question is not answered.

        An alternative changes nothing where a file closer to the run sets what it sets, unless it is named
        ``by_hand``: in a command, not in a file.

        Raises ConfigError for a name nobody declared, for two alternatives of one question, and where two
        chosen alternatives set the same key to different values.
        """
        names: Any = [reading_names] if isinstance(reading_names, str) else reading_names or []
        owner = {name: question for question, r in self.readings.items() for name in r.alternatives}
        if isinstance(names, bool) or not isinstance(names, Sequence):
            raise ConfigError(Problem(READING_KEY, names, f"must be one or more of: {listed(sorted(owner))}"))
        chosen: dict[str, str] = {}
        wrong = []
        for name in names:
            if not isinstance(name, str) or name not in owner:
                wrong.append(unknown(READING_KEY, str(name), owner, what="reading"))
            elif chosen.setdefault(owner[name], name) != name:
                both = f"{chosen[owner[name]]} and {name} both answer {owner[name]}"
                allowed = f"must name one alternative a question: {both}"
                wrong.append(Problem(READING_KEY, list(names), allowed))
        if wrong:
            raise ConfigError(wrong)
        named = dict(chosen) if by_hand else {}
        not_applied = {}
        for question, reading in self.readings.items():
            for name in dict.fromkeys((chosen.get(question, reading.default), reading.default)):
                why = "" if named.get(question) == name else why_not(reading.alternatives[name].overruled)
                chosen[question] = name
                if not why:
                    break
                not_applied[name] = why
        chosen = {question: chosen[question] for question in self.readings}
        patches: dict[str, dict[str, Any]] = {group: {} for group in (*READING_GROUPS, "entries")}
        for question, name in chosen.items():
            alternative = self.readings[question].alternatives[name]
            for group, patch in patches.items() if name not in not_applied else ():
                clash = _merge(patch, getattr(alternative, group), group)
                if clash:
                    allowed = f"{name} and another chosen reading both set {clash}; they cannot go together"
                    wrong.append(Problem(READING_KEY, list(chosen.values()), allowed))
        if wrong:
            raise ConfigError(wrong)
        changed = patches.pop("entries")
        entries = (_patched(e, changed[e.id]) if e.id in changed else e for e in self.entries)
        return Selection(chosen=chosen, entries=tuple(entries), **patches, not_applied=not_applied)


REMEMBERED = 8
_SOUND: list[str] = []
"""Texts of the evidence whose checks held last."""


def load(container: object) -> EvidenceFile:
    """Return the evidence a configuration holds, checked; ConfigError lists everything wrong with it."""
    if not isinstance(container, Mapping):
        raise ConfigError(Problem(ROOT, container, "must be a mapping of keys to values"))
    try:
        file = EvidenceFile.model_validate(dict(container))
    except ValidationError as error:
        problems = problems_of(error, ROOT, EvidenceFile, container)
        raise ConfigError([*problems, *_problems(_checks_of_sound_entries(container))]) from None
    text = repr(container)
    if text not in _SOUND:  # scenarios share their evidence, and the checks take most of the time
        problems = _problems(file.verify())
        if problems:
            raise ConfigError(problems)
        _SOUND[:] = [text, *_SOUND[: REMEMBERED - 1]]
    return file


def _problems(checks: Sequence[Check]) -> list[Problem]:
    failed = [check for check in checks if not check.passed]
    return [Problem(c.key, c.value, f"must hold: {c.what}; found: {c.outcome}") for c in failed]


def _checks_of_sound_entries(container: Mapping[Any, Any]) -> list[Check]:
    """Check the entries that are well formed although others are not, so that all problems show at once."""
    given = container.get("entries")
    checks = []
    for item in given if isinstance(given, list) else []:
        try:
            checks += EvidenceEntry.model_validate(item).verify()
        except ValidationError:
            continue
    return checks


def _patched(entry: EvidenceEntry, patch: Mapping[str, Any]) -> EvidenceEntry:
    return EvidenceEntry.model_validate(_over(entry.model_dump(exclude_unset=True), patch))


def _over(base: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in patch.items():
        below = merged.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping) and bool(value)  # {} clears
        merged[key] = _over(below, value) if both else value  # type: ignore[arg-type]
    return merged


def _merge(into: dict[str, Any], patch: Mapping[str, Any], here: str) -> str | None:
    """Add one alternative's patch to another's; return the key that both set differently, if any."""
    for key, value in patch.items():
        if isinstance(value, Mapping) and isinstance(into.get(key, {}), dict):
            clash = _merge(into.setdefault(key, {}), value, f"{here}.{key}")
            if clash:
                return clash
        elif key in into and into[key] != value:
            return f"{here}.{key}"
        else:
            into[key] = value
    return None
