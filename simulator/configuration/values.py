"""From declared numbers to arrays.

An `Expression` becomes an array of shape (parameter sets, strata). Problems are collected, never raised one at a time,
so that a modeler sees all of them at once.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from simulator import units
from simulator.configuration.layers import EXCEPT, SET_BY_USER
from simulator.errors import MISSING, ConfigError, Problem, nearest, unknown
from simulator.kernels.quantiles import DISTRIBUTIONS, FIXED
from simulator.tables import Floats
from simulator.units import DIMENSIONS, Dimension

PREFIX = "parameters."
PROVENANCES = ("reported", "derived", "read", "borrowed", "assumed", "calibrated")


@dataclass(frozen=True)
class Leaf:
    """One parameter: its value as declared, where it comes from, and how well it is known.

    ``interval``: lower and upper end of what is believed. Of a calibrated number, ``prior`` is the interval before the
    data, and ``contraction`` what they did to it.
    """

    path: str
    value: Any
    provenance: str
    note: str | None = None
    interval: tuple[Any, Any] | None = None
    source: str | None = None
    prior: tuple[Any, Any] | None = None
    contraction: float | None = None


@dataclass
class Problems:
    """Everything found wrong so far, in order."""

    found: list[Problem] = field(default_factory=list)

    def add(
        self, key: str, value: object, allowed: str, near: str | None = None, *, parameter_set: int | None = None
    ) -> None:
        problem = Problem(key, value, allowed, near, parameter_set=parameter_set)
        if str(problem) not in map(str, self.found):
            self.found.append(problem)

    def unknown(self, key: str, name: str, known: Iterable[str], *, what: str) -> None:
        problem = unknown(key, name, known, what=what)
        if str(problem) not in map(str, self.found):
            self.found.append(problem)

    def raise_any(self) -> None:
        if self.found:
            raise ConfigError(self.found)


@dataclass
class Parameters:
    """Named parameters of one or more parameter sets.

    ``leaves`` are common to all sets; ``varied`` holds, for some paths, one value a set.
    ``used`` collects the paths that a declaration has referred to, ``kinds`` what may stand at each key that holds a
    number (`units.DIMENSIONS`), where it is met first.
    """

    leaves: Mapping[str, Leaf]
    n_sets: int = 1
    varied: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    kinds: dict[str, str] = field(default_factory=dict)

    def raw(self, path: str) -> list[Any]:
        """Return the value of a leaf in every parameter set."""
        self.used.add(path)
        if path in self.varied:
            return list(self.varied[path])
        return [self.leaves[path].value] * self.n_sets

    def below(self, path: str) -> dict[str, str]:
        """Return the leaves directly under a path: last word → full path."""
        start = path + "."
        return {p[len(start) :]: p for p in self.leaves if p.startswith(start) and "." not in p[len(start) :]}

    def replaced(self, values: Mapping[str, Sequence[Any]]) -> Parameters:
        """Return the same parameters with some of them varied over sets."""
        n_sets = {len(v) for v in values.values()}
        if len(n_sets) > 1:
            raise ValueError(f"parameter columns of different lengths: {sorted(n_sets)}")
        return Parameters(self.leaves, n_sets.pop() if n_sets else self.n_sets, {**self.varied, **values})


LEAF_KEYS = {"value", "provenance", "note", "interval", "prior", "contraction", "source", "formula", "citation", EXCEPT}


def parameter_leaves(
    container: Mapping[str, Any], problems: Problems, by_hand: Collection[str] = frozenset()
) -> dict[str, Leaf]:
    """Flatten the ``parameters`` group. A leaf is a bare value or a mapping with ``value``.

    ``by_hand``: dotted keys that the user set. A value among them is the user's, whatever the file says of it.
    """
    leaves: dict[str, Leaf] = {}

    def visit(node: Mapping[Any, Any], path: str) -> None:
        for name, child in node.items():
            here = f"{path}.{name}" if path else str(name)
            key = PREFIX + here
            if not isinstance(name, str):
                problems.add(key, name, "a parameter's name must be text; quote names that YAML reads as NO or 12")
            elif isinstance(child, Mapping) and "value" in child:
                for part, said in _parts(child, here, problems):
                    leaves[part] = _leaf(said, part, by_hand, problems)
            elif isinstance(child, Mapping):
                visit(child, here)
            elif child is None:
                problems.add(key, child, "must have a value")
            else:
                leaves[here] = Leaf(here, child, "assumed", note=SET_BY_USER if _set_by_hand(key, by_hand) else None)

    visit(container, "")
    return leaves


def _leaf(child: Mapping[str, Any], here: str, by_hand: Collection[str], problems: Problems) -> Leaf:
    """Return a parameter that is declared with what is said of it."""
    key = PREFIX + here
    for extra in sorted(set(map(str, child)) - LEAF_KEYS):
        problems.unknown(f"{key}.{extra}", extra, LEAF_KEYS, what="key of a parameter")
    provenance = child.get("provenance", "assumed")
    if provenance not in PROVENANCES:
        problems.unknown(f"{key}.provenance", str(provenance), PROVENANCES, what="provenance class")
    by_composition = child.get("note") == SET_BY_USER  # which knows best what belongs to the value
    if f"{key}.value" in by_hand and f"{key}.provenance" not in by_hand and not by_composition:
        return Leaf(here, child["value"], "assumed", note=SET_BY_USER)
    for name in ("note", "source", "citation", "formula"):
        if not isinstance(child.get(name), str | None):
            problems.add(f"{key}.{name}", child[name], "must be text")
    interval, prior = (_ends(child.get(name), f"{key}.{name}", problems) for name in ("interval", "prior"))
    source = child.get("source") or child.get("citation") or child.get("formula")
    contraction = _contraction(child.get("contraction"), f"{key}.contraction", problems)
    return Leaf(here, child["value"], str(provenance), child.get("note"), interval, source, prior, contraction)


def _contraction(declared: Any, key: str, problems: Problems) -> float | None:
    if declared is None:
        return None
    try:
        if (contraction := units.number(declared)) <= 1.0:
            return contraction
    except ValueError:
        pass
    problems.add(key, declared, "must be a finite number of at most 1")
    return None


def _ends(declared: Any, key: str, problems: Problems) -> tuple[Any, Any] | None:
    if declared is None:
        return None
    if isinstance(declared, (list, tuple)) and len(declared) == 2:
        lower, upper = map(units.any_number, declared)
        if lower <= upper:
            return declared[0], declared[1]
    problems.add(key, declared, "must be a list of two values in order, lower and upper: numbers, times or rates")
    return None


def outside_interval(leaves: Mapping[str, Leaf]) -> Iterator[str]:
    """Yield the parameters whose value lies outside their own interval; what is calibrated may."""
    for path, leaf in leaves.items():
        if leaf.interval is None or leaf.provenance == "calibrated":
            continue
        lower, upper = map(units.any_number, leaf.interval)
        values = leaf.value.items() if isinstance(leaf.value, Mapping) else [("", leaf.value)]
        for stratum, value in values:
            number = units.any_number(value)
            if number < lower or number > upper:
                key = f"{PREFIX}{path}.value{f'.{stratum}' if stratum else ''}"
                yield f"{key} = {value}: lies outside its own interval, {leaf.interval[0]} to {leaf.interval[1]}"


def _set_by_hand(key: str, by_hand: Collection[str]) -> bool:
    """Whether the user set a dotted key, or a mapping that it stands in."""
    steps = key.split(".")
    return any(".".join(steps[:n]) in by_hand for n in range(2, len(steps) + 1))


def _parts(leaf: Mapping[str, Any], path: str, problems: Problems) -> list[tuple[str, Mapping[str, Any]]]:
    """Return a parameter by its path; one whose strata's values differ in what is said of them, by stratum."""
    apart, value = leaf.get(EXCEPT), leaf["value"]
    if not apart:
        return [(path, {key: said for key, said in leaf.items() if key != EXCEPT})]
    known = value if isinstance(value, Mapping) else {}
    if not isinstance(apart, Mapping) or not all(isinstance(said, Mapping) for said in apart.values()):
        problems.add(f"{PREFIX}{path}.{EXCEPT}", apart, "must be a mapping from stratum to what is said of its value")
        return [(path, {"value": value})]
    for name in sorted(set(map(str, apart)) - set(known)):
        problems.unknown(f"{PREFIX}{path}.{EXCEPT}.{name}", name, known, what="stratum of this parameter")
    common = {key: said for key, said in leaf.items() if key not in ("value", EXCEPT)}
    return [(f"{path}.{name}", {"value": v, **apart.get(name, common)}) for name, v in known.items()]


@dataclass
class Resolver:
    """Turns expressions into arrays of shape (sets, strata), collecting problems."""

    parameters: Parameters
    strata: tuple[str, ...]
    problems: Problems
    reading: bool = False  # only read and refuse: no number is converted, so that no kernel is loaded

    def array(self, expression: Any, kind: str, key: str) -> Floats:
        """Return numbers of one kind; NaN where a problem was found (and collected)."""
        n_sets, n_strata = self.parameters.n_sets, len(self.strata)
        columns = self._by_stratum(expression, key)
        if columns is None:
            return np.full((n_sets, n_strata), np.nan)
        dimension = DIMENSIONS[kind]
        out = np.empty((n_sets, n_strata))
        for j, (source, values) in enumerate(columns):
            self.parameters.kinds.setdefault(source, kind)
            if all(value is values[0] for value in values):
                out[:, j] = self._number(values[0], dimension, source)
            else:
                out[:, j] = [self._number(value, dimension, source, b) for b, value in enumerate(values)]
        return out

    def origins(self, expression: Any, key: str) -> tuple[str, ...]:
        """Return, for every stratum, the key at which its value stands: a parameter's, or one at or below ``key``."""
        path = self._path(expression)
        if path is not None:
            own = path in self.parameters.leaves
            return tuple(expression if own else f"{expression}.{stratum}" for stratum in self.strata)
        if isinstance(expression, Mapping):
            return tuple(expression[s] if self._path(expression[s]) else f"{key}.{s}" for s in self.strata)
        return (key,) * len(self.strata)

    def declared(self, expression: Any, key: str) -> list[tuple[str, Any]]:
        """Return, for every stratum, the key at which its value stands and that value, of the first set."""
        return [(source, values[0]) for source, values in self._by_stratum(expression, key) or ()]

    def scalar(self, expression: Any, kind: str, key: str) -> Floats:
        """Return one number a set, shape (sets,); refuse a value that differs by stratum."""
        values = self.array(expression, kind, key)
        self._common(values, expression, key)
        return np.ascontiguousarray(values[:, 0])

    def names(self, expression: Any, allowed: Iterable[str], key: str, *, what: str) -> list[str]:
        """Return a name in every set, from a literal or a parameter."""
        path = self._path(expression)
        if path is None:
            raw, source = [expression] * self.parameters.n_sets, key
        elif path in self.parameters.leaves:
            raw, source = self.parameters.raw(path), PREFIX + path
        else:
            self._no_parameter(path, key)
            return [next(iter(allowed))] * self.parameters.n_sets
        known = tuple(allowed)
        for value in raw:
            if value not in known:
                self.problems.unknown(source, str(value), known, what=what)
        return [value if value in known else known[0] for value in raw]

    def integers(
        self, expression: Any, key: str, *, least: int = 0, most: int = 2**31, hint: str = ""
    ) -> np.ndarray[Any, Any]:
        """Return whole numbers, shape (sets,); ``hint``: what else to do, where one is too large or too small."""
        values = self.scalar(expression, "real", key)
        for value in values[~np.isnan(values)]:
            if value != math.floor(value) or not least <= value <= most:
                self.problems.add(key, expression, f"must be a whole number between {least:,} and {most:,}{hint}")
                return np.full(values.shape, least, dtype=np.int64)
        return np.where(np.isnan(values), least, values).astype(np.int64)

    def distribution(self, declared: Any, kind: str, key: str, *, by_stratum: bool = False) -> tuple[int, Floats]:
        """Return a distribution's code and its parameters, shape (sets, strata, 3).

        Unless ``by_stratum``, it must be the same for every stratum, and one of times must not fall below 0.

        ``declared`` is an expression (a fixed value) or a mapping with one key, the distribution's name,
        to its parameters: a list in their order or a mapping by name.
        """
        name, given = distribution_of(declared)
        if name is None:
            code, fixed = self._fixed(given, kind, key)
            if not by_stratum:
                self._common(fixed, given, key)
            return code, fixed
        if name not in DISTRIBUTIONS:
            self.problems.unknown(key, str(name), DISTRIBUTIONS, what="distribution")
            return self._fixed(0.0, "real", key)
        law = DISTRIBUTIONS[name]
        wanted = law.parameters
        if isinstance(given, (list, tuple)):
            if len(given) != len(wanted):
                self.problems.add(f"{key}.{name}", list(given), f"must be {len(wanted)} values: {', '.join(wanted)}")
                return self._fixed(0.0, "real", key)
            given = dict(zip(wanted, given, strict=True))
        if not isinstance(given, Mapping):
            given = {next(iter(wanted)): given}
        for extra in sorted(set(map(str, given)) - set(wanted)):
            self.problems.unknown(f"{key}.{name}.{extra}", extra, wanted, what=f"parameter of {name}")
        out = np.zeros((self.parameters.n_sets, len(self.strata), 3))
        for i, (parameter, dimension) in enumerate(wanted.items()):
            if parameter not in given:
                self.problems.add(f"{key}.{name}.{parameter}", MISSING, f"is missing; {name} needs {', '.join(wanted)}")
                continue
            out[:, :, i] = self.array(given[parameter], _as_kind(dimension, kind), f"{key}.{name}.{parameter}")
        complete = all(parameter in given for parameter in wanted)
        if complete and law.bounded and np.any(np.diff(out[..., : len(wanted)], axis=-1) < 0):
            self.problems.add(f"{key}.{name}", list(given.values()), f"must be ordered: {' ≤ '.join(wanted)}")
        if not by_stratum:
            self._common(out, given, key)
            if law.real and kind in ("time", "duration"):
                self.problems.add(key, declared, f"{name} can fall below 0; use log_normal, gamma, weibull or uniform")
        return law.code, out

    def _common(self, values: Floats, declared: Any, key: str) -> None:
        if not np.array_equal(values, np.repeat(values[:, :1], values.shape[1], axis=1), equal_nan=True):
            self.problems.add(key, declared, "must be the same for every stratum")

    def _fixed(self, value: Any, kind: str, key: str) -> tuple[int, Floats]:
        out = np.zeros((self.parameters.n_sets, len(self.strata), 3))
        out[:, :, 0] = self.array(value, kind, key)
        return FIXED, out

    def _number(self, value: Any, dimension: Dimension, key: str, parameter_set: int | None = None) -> float:
        near = None
        try:
            converted = dimension.read(value)
        except ValueError as refusal:
            allowed = _decimal_comma(value) or str(refusal)
        else:
            refused = dimension.refusal(converted)
            if refused is None:
                return converted
            allowed = refused
            if dimension is DIMENSIONS["probability"] and 1 < converted <= 100:
                near = f"{converted / 100:g}"
        self.problems.add(key, value, allowed, near, parameter_set=parameter_set)
        return math.nan

    def _by_stratum(self, expression: Any, key: str) -> list[tuple[str, list[Any]]] | None:
        """Return, for every stratum, where its value stands and the value in each set."""
        path = self._path(expression)
        if path is not None:
            if path in self.parameters.leaves:
                inner = self.parameters.raw(path)
                if inner and isinstance(inner[0], Mapping):
                    return self._mapping({k: [v[k] for v in inner] for k in inner[0]}, PREFIX + path)
                return [(PREFIX + path, inner)] * len(self.strata)
            below = self.parameters.below(path)
            if below:
                return self._mapping({k: self.parameters.raw(p) for k, p in below.items()}, PREFIX + path)
            self._no_parameter(path, key)
            return None
        if isinstance(expression, Mapping):
            found: dict[str, Any] = {}
            for name, value in expression.items():
                inner_path = self._path(value)
                if inner_path is None:
                    found[str(name)] = [value] * self.parameters.n_sets
                elif inner_path in self.parameters.leaves:
                    found[str(name)] = self.parameters.raw(inner_path)
                else:
                    self._no_parameter(inner_path, f"{key}.{name}")
                    return None
            return self._mapping(found, key)
        return [(key, [expression] * self.parameters.n_sets)] * len(self.strata)

    def _mapping(self, found: Mapping[str, list[Any]], key: str) -> list[tuple[str, list[Any]]] | None:
        extra = sorted(set(found) - set(self.strata))
        missing = [name for name in self.strata if name not in found]
        for name in extra:
            self.problems.unknown(f"{key}.{name}", name, self.strata, what="stratum")
        for name in missing:
            self.problems.add(f"{key}.{name}", MISSING, "is missing: every stratum of the cohort needs a value")
        if extra or missing:
            return None
        return [(f"{key}.{name}", found[name]) for name in self.strata]

    @staticmethod
    def _path(expression: Any) -> str | None:
        if isinstance(expression, str) and expression.startswith(PREFIX):
            return expression[len(PREFIX) :]
        return None

    def _no_parameter(self, path: str, key: str) -> None:
        known = set(self.parameters.leaves) | {p.rpartition(".")[0] for p in self.parameters.leaves} - {""}
        self.problems.add(
            key, PREFIX + path, "refers to a parameter that is not declared", _prefixed(nearest(path, known))
        )


def nearest_to_the_run(keys: Sequence[str], by_hand: Collection[str]) -> str:
    """Return which of some keys that do not go together is named: one that the user set by hand, else the first."""
    return next((key for key in keys if key in by_hand), keys[0])


def distribution_of(declared: Any) -> tuple[str | None, Any]:
    """Split a declared distribution into its name (None: a fixed value) and what follows."""
    if isinstance(declared, Mapping) and len(declared) == 1:
        name, given = next(iter(declared.items()))
        if name in DISTRIBUTIONS or isinstance(given, (list, tuple, Mapping)):
            return str(name), given
    return None, declared


def _as_kind(dimension: str, kind: str) -> str:
    """Give the parameters of a distribution the kind of what is distributed."""
    timed = DIMENSIONS[kind].unit == "d"
    if dimension == "value":
        return kind
    if dimension == "positive_value":
        return "time" if timed else "positive"
    if dimension == "spread":
        return "duration" if timed else "ratio"
    return dimension


def _prefixed(path: str | None) -> str | None:
    return None if path is None else PREFIX + path


def _decimal_comma(value: Any) -> str | None:
    if isinstance(value, str) and value.replace(",", "", 1).replace("-", "", 1).isdigit() and "," in value:
        return "must be a number: write the decimal point as '.', not ','"
    return None
