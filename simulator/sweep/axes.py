"""What is swept: a key with several values in Hydra's grammar, taken apart into an axis of labelled points.

Every point is the text of a plain override, so that it is read, checked and labelled as if it had been given alone, and
never a rounded sum. What it means is a number in the unit inside wherever it is one: two spellings of one number are
one point. A range counts its points without making them.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any, overload

from simulator.configuration.hydra_adapter import ChoiceSweep, Glob, IntervalSweep, RangeSweep, Unreadable, sweep_of
from simulator.configuration.library import Library
from simulator.errors import Problem
from simulator.units import any_number

METHODS = ("latin_hypercube", "sobol")
SCENARIO = "scenario"
"""The dimension of a sampled design."""

_FUNCTIONS = ("choice", "range", "glob", "interval")
_ORDERED = "writes its values in another order; write them in the order that the dimension shall have"


@dataclass(frozen=True)
class Range(Sequence[str]):
    """Numbers from ``start`` in steps, written exactly: 0.3, never 0.30000000000000004."""

    start: Decimal
    step: Decimal
    size: int

    def __len__(self) -> int:
        return self.size

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self.size))]
        if not 0 <= index < self.size:
            raise IndexError(index)
        number = self.start + index * self.step
        return f"{number.normalize() + 0:f}"


@dataclass(frozen=True)
class Bounds:
    """Bounds of a key that a sampled design draws from."""

    low: float
    high: float


@dataclass(frozen=True)
class Swept:
    """One key and the texts of its values, or the interval they are drawn from."""

    key: str
    given: str
    values: Sequence[str] | Bounds


@dataclass(frozen=True, eq=False)
class Axis:
    """One dimension of a sweep: its keys, and for each point one text a key."""

    name: str
    keys: tuple[str, ...]
    columns: tuple[Sequence[str], ...]

    @property
    def size(self) -> int:
        return len(self.columns[0])

    def points(self, index: int) -> tuple[str, ...]:
        """Return the text of each key at a point."""
        return tuple(column[index] for column in self.columns)

    def point(self, index: int) -> tuple[tuple[str, str], ...]:
        """Return the key and text of everything that a point sets."""
        return tuple(zip(self.keys, self.points(index), strict=True))


@dataclass(frozen=True)
class SampledDesign:
    """How points of a sampled design are drawn from the intervals."""

    method: str = METHODS[0]
    samples: int = 0
    seed: int = 0

    def draw(self, swept: Sequence[Swept]) -> list[list[str]]:
        """Return the texts of each key's values, one column a key.

        A Sobol sequence of more samples begins with the same points; a Latin hypercube does not.
        """
        from scipy.stats import qmc

        sampler: Any = qmc.Sobol if self.method == "sobol" else qmc.LatinHypercube
        unit = sampler(len(swept), rng=self.seed).random(self.samples)
        columns = []
        for column, each in zip(unit.T, swept, strict=True):
            assert isinstance(each.values, Bounds)
            low, high = each.values.low, each.values.high
            columns.append([repr(float(low + (high - low) * share)) for share in column])
        return columns


def read_swept(key: str, given: str, library: Library) -> Swept | Problem | None:
    """Return what a key sweeps; None where it has a single value (which is somebody else's to judge)."""
    try:
        value = sweep_of(f"{key}={given}")
    except Unreadable:
        return _unreadable(key, given)
    if value is None:
        return None
    if getattr(value, "shuffle", False) or getattr(value, "tags", None) or given.lstrip().startswith("sort"):
        return Problem(key, given, _ORDERED)
    if isinstance(value, ChoiceSweep):
        inner = given.strip()
        texts = _split(inner if value.simple_form else inner[inner.index("(") + 1 : inner.rindex(")")])
        return Swept(key, given, texts)
    if isinstance(value, RangeSweep):
        return _range(key, given, value)
    if isinstance(value, Glob):
        if key not in library.groups:
            return Problem(key, given, f"glob() takes names of files, so only {', '.join(library.groups)} can have it")
        names = [name for name in library.options(key) if _matches(name, value.include)]
        names = [name for name in names if not _matches(name, value.exclude)]
        if not names:
            return Problem(key, given, f"names no file; there are {', '.join(library.options(key))}")
        return Swept(key, given, sorted(names))
    assert isinstance(value, IntervalSweep)
    low, high = float(value.start or 0.0), float(value.end or 0.0)
    if not low < high:
        return Problem(key, given, "must be interval(low,high) with low < high")
    return Swept(key, given, Bounds(low, high))


def _unreadable(key: str, given: str) -> Problem | None:
    """Return a problem where a sweep was surely meant; None leaves it to the reader of single values."""
    name = given.strip().partition("(")[0]
    if name in _FUNCTIONS and "(" in given:
        return Problem(key, given, "cannot be read: write a,b,c or choice(a,b), range(start,stop,step) without stop, "
                       "glob(pattern), or interval(low,high) for a sampled design")  # fmt: skip
    return None


def _split(text: str) -> list[str]:
    """Split at commas outside brackets and quotes."""
    parts, depth, quote, begin, position = [], 0, "", 0, 0
    while position < len(text):
        letter = text[position]
        if letter == "\\":
            position += 1
        elif quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter in "([{":
            depth += 1
        elif letter in ")]}":
            depth -= 1
        elif letter == "," and not depth:
            parts.append(text[begin:position].strip())
            begin = position + 1
        position += 1
    return [*parts, text[begin:].strip()]


def _range(key: str, given: str, value: RangeSweep) -> Swept | Problem:
    start, stop, step = (Decimal(str(number)) for number in (value.start, value.stop, value.step))
    if not all(number.is_finite() for number in (start, stop, step)) or step == 0:
        return Problem(key, given, "must be range(start,stop,step) of finite numbers, with a step other than 0")
    size = math.ceil((stop - start) / step)
    if size <= 0:
        return Problem(key, given, "is empty: range(start,stop,step) goes from start up to, but without, stop")
    return Swept(key, given, Range(start, step, size))


def quantity(value: Any) -> float | None:
    """Return the number that a value is, a time in days and a rate per day; None of a name or anything else."""
    number = any_number(value)
    return None if math.isnan(number) else number


def meaning(value: Any, *, digits: int = 17) -> Hashable:
    """Return what a value means: equal for equal numbers however they are written, wherever they stand in it."""
    if isinstance(value, Mapping):
        return "mapping", *((str(key), meaning(inner, digits=digits)) for key, inner in value.items())
    if isinstance(value, list | tuple):
        return "list", *(meaning(inner, digits=digits) for inner in value)
    number = quantity(value)
    return (type(value).__name__, str(value)) if number is None else ("number", float(f"{number:.{digits}g}"))


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def names_of(keys: Sequence[str], *, strata: Iterable[str], taken: Iterable[str]) -> dict[str, str]:
    """Return the dimension of each swept key.

    It is the last word of the key; ``<quantity>_<stratum>`` where that is a stratum; the whole key where two would
    have one name, or the name is ``taken`` by something else in the results.
    """
    strata, taken = set(strata), set(taken)
    short = {key: _short(key, strata) for key in keys}
    given = list(short.values())
    return {key: key if name in taken or given.count(name) > 1 else name for key, name in short.items()}


def _short(key: str, strata: set[str]) -> str:
    *before, last = key.split(".")
    return f"{before[-1]}_{last}" if before and last in strata else last


def axes_of(swept: Sequence[Swept], names: Mapping[str, str], design: SampledDesign) -> tuple[Axis, ...]:
    """Return the axes of a sweep, in the order given; keys with an interval share one, ``scenario``."""
    sampled = [each for each in swept if isinstance(each.values, Bounds)]
    axes: list[Axis] = []
    for each in swept:
        if not isinstance(each.values, Bounds):
            axes.append(Axis(names[each.key], (each.key,), (each.values,)))
        elif each is sampled[0]:
            columns = tuple(design.draw(sampled))
            axes.append(Axis(SCENARIO, tuple(one.key for one in sampled), columns))
    return tuple(axes)
