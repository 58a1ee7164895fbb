"""What a user sets: ``key=value`` in Hydra's grammar, each checked before anything is composed."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from simulator.configuration.files import CODE_REFUSED, INTERPOLATION_REFUSED, runs_code, trap
from simulator.configuration.hydra_adapter import QuotedString, Unreadable, value_of
from simulator.configuration.layers import REMOVED
from simulator.configuration.library import COHORT, EXPERIMENT, PARAMETERS, Library
from simulator.errors import MISSING, ConfigError, Problem, nearest, unknown

COMMANDS = ("explain", "evidence", "report", "verify")
"""Commands, one of which a text without `=` may have been meant for."""
LONGEST = 2000
HYDRA_KEYS = ("hydra.run.dir", "hydra.sweep.dir", "hydra.verbose")
HYDRA_REFUSED = {
    "launcher": "Lobule starts the work itself, so that a sweep is one store: use --multirun with launcher=local or "
    "launcher=dask, and launcher.workers=N",
    "sweeper": "Lobule reads sweeps itself: use --multirun with key=a,b; sweep.design and sweep.samples draw samples",
    "callbacks": "a configuration runs no code: use simulator.simulate and simulator.open_results from Python",
    "job_logging": "messages are chosen with hydra.verbose=true, or with names of loggers",
    "hydra_logging": "messages are chosen with hydra.verbose=true, or with names of loggers",
    "searchpath": "your own files go into one folder, given with --config-dir FOLDER",
    "job": "a run stays in the folder where it is started; hydra.run.dir says where it writes",
    "output_subdir": "a run writes config.yaml beside its results; hydra.run.dir says where",
}
"""Hydra's settings that have another way here."""
START, CALIBRATED, POSTERIOR = SOURCES = ("start", "calibrated", "posterior")
"""What a run may take of the parameters that a cohort names: see `parameters`."""

SWEEP_REFUSED = "several values are a sweep, which needs --multirun"
_COMMA_REFUSED = f"has a comma: write a decimal point if it is one number; {SWEEP_REFUSED}"
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.(?:[A-Za-z_][A-Za-z0-9_]*|0|[1-9][0-9]*))*")
_NEEDS_QUOTES = re.compile(r"[^\w\s/\\+.$%*@?|:,=()\[\]{}'\"-]", re.ASCII)
_PATH = re.compile(r"[/\\]|\.(ya?ml|nc)$")
_SIGN = re.compile(r"~|\+{0,2}")


@dataclass
class Overrides:
    """What was set, by what it does; and what is wrong with it."""

    choices: dict[str, str] = field(default_factory=dict)
    source: str | None = None
    values: list[tuple[str, Any]] = field(default_factory=list)
    hydra: dict[str, str] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    unknown_roots: list[tuple[str, str]] = field(default_factory=list)
    """Keys that begin with nothing known, and their values: refused once the valid keys are known."""


class _Refused(Exception):
    """Why a value is refused."""


def read_overrides(texts: Sequence[str], library: Library) -> Overrides:
    """Read ``key=value`` texts. Nothing is raised: problems are collected beside what could be read."""
    made = Overrides()
    seen: dict[str, str] = {}
    for text in texts:
        problem = _argument_problem(text)
        if problem is None:
            key, given = split(text)
            if key in seen and seen[key] != given:
                problem = Problem(key, given, f"is set twice: before, to {seen[key]}; keep one")
            else:
                seen[key] = given
                problem = _read_one(text, key, given, library, made)
        if problem is not None:
            made.problems.append(problem)
    return made


def split(text: str) -> tuple[str, str]:
    """Return key and value of a ``key=value`` text, signs of adding and spaces around taken off."""
    key, _, value = text.partition("=")
    return _SIGN.sub("", key, count=1).strip(), value.strip()


def _argument_problem(text: str) -> Problem | None:
    """Return what is wrong with an argument before its key is looked at."""
    if any("\ud800" <= character <= "\udfff" for character in text):
        return Problem("argument", ascii(text), "is not UTF-8 text")
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        return Problem("argument", repr(text), "holds a tab, line break or control character")
    if "=" not in text and not text.startswith("~"):
        return Problem(text, MISSING, "must be key=value, such as cohort=ilp or course.interval=21",
                       nearest(text, COMMANDS))  # fmt: skip
    if len(text) > LONGEST:
        key, value = split(text)
        return Problem(key[:80], value[:80] + "…", f"is {len(text):,} characters long; at most {LONGEST:,}")
    return None


def _read_one(text: str, key: str, given: str, library: Library, made: Overrides) -> Problem | None:
    """Read one override into `made`, or return what is wrong with it."""
    if re.match(r"hydra\b", key):
        if key not in HYDRA_KEYS:
            allowed = HYDRA_REFUSED.get(re.split(r"[./@]", f"{key}.")[1])
            if allowed is not None:
                return Problem(key, given or MISSING, f"is not used: {allowed}")
            return Problem(key, given, f"of Hydra's own settings only {', '.join(HYDRA_KEYS)} can be set",
                           *difflib.get_close_matches(key, HYDRA_KEYS, n=1, cutoff=0.8))  # fmt: skip
        if not given or "${" in given:
            return Problem(key, given or MISSING, INTERPOLATION_REFUSED if given else "has no value")
        if key == "hydra.verbose" and not re.fullmatch(r"\[?[\w.]+(,\s*[\w.]+)*\]?", given):
            return Problem(key, given, "must be true, false, or names of loggers")
        made.hydra[key] = _unquoted(given)
        return None
    if any(runs_code(step) for step in re.split(r"[./@:]", key)):
        return Problem(key, given, CODE_REFUSED)
    if not _KEY.fullmatch(key):
        shown = given if key else MISSING
        return Problem(key or text, shown, "is no key: a key is one or more names joined by dots, such as "
                       "course.interval", nearest(key.replace("/", "."), library.root_keys))  # fmt: skip
    if "${" in given:
        return Problem(key, given, INTERPOLATION_REFUSED)
    if text.startswith("~"):
        return _remove(text, key, library, made)
    if not given:
        return Problem(key, MISSING, "has no value: write key=value (null for none)")
    if reason := trap(given):
        return Problem(key, given, _COMMA_REFUSED if "," in given else reason)
    try:
        value = _plain(_parse(f"{key}={given}"))
    except _Refused as refused:
        return Problem(key, given, str(refused))
    root = key.split(".")[0]
    if key == EXPERIMENT:
        return Problem(key, given, "names a sweep, which needs --multirun")
    if root not in library.root_keys:
        made.unknown_roots.append((key, given))
        return None
    if key in library.groups and not isinstance(value, dict):
        return _choose(key, given, value, library, made)
    made.values.append((key, value))
    made.texts.append(f"{key}={given}")
    return None


def _remove(text: str, key: str, library: Library, made: Overrides) -> Problem | None:
    """Take a key away, as ``~key`` says."""
    if "=" in text:
        return Problem(f"~{key}", text.partition("=")[2], f"takes no value: write ~{key}")
    if key.split(".")[0] not in library.root_keys:
        made.unknown_roots.append((key, "(taken away)"))
    elif "." not in key:
        instead = f"another one with {key}=NAME" if key in library.groups else "its value with key=value"
        return Problem(f"~{key}", MISSING, f"cannot be taken away, since every run needs it; choose {instead}")
    else:
        made.values.append((key, REMOVED))
        made.texts.append(f"~{key}")
    return None


def _choose(group: str, given: str, value: object, library: Library, made: Overrides) -> Problem | None:
    if group == PARAMETERS and value in SOURCES:
        made.source = str(value)
        made.texts.append(f"{group}={value}")
        return None
    if group == PARAMETERS and isinstance(value, str) and _PATH.search(value):
        try:
            value = library.add(group, value, usual="parameters.yaml")
        except ConfigError as error:
            return error.problems[0]
    options = library.options(group)
    if isinstance(value, str) and value in options:
        made.choices[group] = value
        made.texts.append(f"{group}={given}")
        return None
    if not isinstance(value, str):
        return Problem(group, given, f"must be the name of one {group}: {', '.join(options)}")
    known = (*SOURCES, *options) if group == PARAMETERS else options
    problem = unknown(group, value, known, what=group if group == COHORT else f"{group} file")
    stem = value.removesuffix(".yaml")
    return Problem(group, value, problem.allowed, stem) if stem in known else problem


def _parse(text: str) -> Any:
    """Return the value as Hydra's grammar reads it, or raise `_Refused` with a reason."""
    try:
        return value_of(text)
    except Unreadable as error:
        if error.sweep:
            hint = "" if error.function else "; a list is written in brackets, [a,b]"
            raise _Refused(SWEEP_REFUSED + hint) from None
        if error.function:
            called = f"calls {error.function}(), and nothing can be called here; put it in quotes if it is text"
            raise _Refused(called) from None
        if error.reason:
            raise _Refused(error.reason) from None
    value = text.partition("=")[2]
    for quote in "'\"":
        if value.count(quote) % 2:
            raise _Refused(f"has a quote ({quote}) that is not closed")
    if odd := _NEEDS_QUOTES.search(value):
        raise _Refused(f"has the character {odd[0]!r}, which needs quotes around the value: '…'")
    raise _Refused("cannot be read: check brackets and quotes; text with commas, brackets, colons or = "
                   "needs quotes around it: '…'")  # fmt: skip


def _plain(value: Any) -> Any:
    """Return a parsed value as plain Python, or raise `_Refused` where it is a trap."""
    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, str):
        if reason := trap(value):
            raise _Refused(f"holds {value}, which {reason}")
        return value
    if isinstance(value, float) and not math.isfinite(value):
        raise _Refused("is not a finite number, or beyond the largest one; write a finite number")
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        made = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise _Refused(f"has the key {key!r}, which is not a name")
            if runs_code(key):
                raise _Refused(f"has the key {key}, which {CODE_REFUSED}")
            made[key] = _plain(item)
        return made
    return value


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text
