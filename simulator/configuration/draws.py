"""Draws of a posterior, each a configuration of its own.

A file of parameters may say, beside its parameters:

| key | |
|---|---|
| ``start`` | name of the file of the values that calibration started from |
| ``posterior`` | name of a table of draws beside the file; in a composed configuration the table itself, by column |
| ``calibrated_on`` | names of ``cohort`` and ``evidence`` of the calibration; its fitted ``targets``: id → as printed |
| ``truncation`` | how much of the posterior was infeasible and left out, and why, in words |
| ``under`` | reading, or readings joined by ``+`` → parameters that differ when the text is read so |
| ``draws`` | number of draws to run instead of the point values |
| ``draw`` | number of the one draw whose values stand for point values; a composed configuration has them there |
| ``not_applied`` | in a composed configuration: readings of the draws that change nothing in this cohort → why |
| ``kept`` | in a composed configuration: parameters that a file closer to the run sets → the file; no draw sets them |

A column of the table is a parameter, or ``reading:<question>``. A draw sets every parameter to its value, in the
published study (``reference``) as well, and reads the text as it says, if the evidence of the cohort at hand has that
reading and no closer file sets what it would; what the user set by hand stays.
"""

from __future__ import annotations

import copy
import csv
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from simulator.configuration.layers import keys_of, merged
from simulator.configuration.values import PREFIX, Problems
from simulator.errors import MISSING, ConfigError, Problem, nearest

GROUP = "parameters"
START, POSTERIOR, TRUNCATION, UNDER, DRAWS, DRAW = "start", "posterior", "truncation", "under", "draws", "draw"
NOT_APPLIED, KEPT, CALIBRATED_ON = "not_applied", "kept", "calibrated_on"
KEYS = (START, POSTERIOR, CALIBRATED_ON, TRUNCATION, UNDER, DRAWS, DRAW, NOT_APPLIED, KEPT)
ORIGIN = ("cohort", "evidence", "targets")
"""Keys of ``calibrated_on``."""
NOT_FITTED = "not_fitted"
"""Role that results show of a target with the role ``fitted`` that the calibration of the parameters did not fit."""
READING = "reading:"
"""What the name of a column begins with that says how a question was read."""
MOST_DRAWS = 100_000

Table = dict[str, list[Any]]


def check(group: Mapping[str, Any], problems: Problems) -> None:
    """Refuse what is wrong with the keys that are no parameters."""
    draws, posterior, under = group.get(DRAWS), group.get(POSTERIOR), group.get(UNDER)
    if draws is not None and (isinstance(draws, bool) or not isinstance(draws, int) or not 1 <= draws <= MOST_DRAWS):
        problems.add(PREFIX + DRAWS, draws, f"must be a whole number from 1 to {MOST_DRAWS:,}, or null for none")
    elif draws is not None and posterior is None:
        problems.add(PREFIX + DRAWS, draws, "needs draws of a posterior, and these parameters come with none")
    if posterior is not None and not isinstance(posterior, str) and not _is_table(posterior):
        problems.add(PREFIX + POSTERIOR, posterior, "must be the name of a table of draws beside the file")
    if not isinstance(group.get(START), str | None):
        problems.add(PREFIX + START, group[START], "must be the name of a file of parameters")
    if not isinstance(group.get(TRUNCATION), str | None):
        problems.add(PREFIX + TRUNCATION, group[TRUNCATION], "must be text: how the posterior was truncated")
    if group.get(CALIBRATED_ON) is not None and _origin(group) is None:
        allowed = "must have the names cohort and evidence that were calibrated, and targets: id → as printed"
        problems.add(PREFIX + CALIBRATED_ON, group[CALIBRATED_ON], allowed)
    for key in (NOT_APPLIED, KEPT):
        if not isinstance(group.get(key) or {}, Mapping):
            problems.add(PREFIX + key, group[key], "is for a composed configuration to say; take it out")
    if under is not None and not (isinstance(under, Mapping) and all(isinstance(v, Mapping) for v in under.values())):
        problems.add(PREFIX + UNDER, MISSING, "must be a mapping from readings to parameters")


def _is_table(given: object) -> bool:
    """Whether something is a table of draws by column."""
    columns = list(given.values()) if isinstance(given, Mapping) and DRAW in given else []
    return bool(columns) and all(isinstance(c, list | tuple) and len(c) == len(columns[0]) for c in columns)


def _origin(group: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return what a file says of the calibration of its parameters; None where it says nothing that can be read."""
    given = group.get(CALIBRATED_ON)
    if not isinstance(given, Mapping) or set(given) != set(ORIGIN):
        return None
    cohort, evidence, targets = (given[key] for key in ORIGIN)
    sound = isinstance(cohort, str) and isinstance(evidence, str) and isinstance(targets, Mapping)
    return given if sound else None


def whose(group: Mapping[str, Any]) -> str:
    """Say whose posterior a file of parameters has, as after "the posterior"; empty where it does not say."""
    origin = _origin(group)
    return f" of {origin['cohort']}" if origin is not None else ""


def borrowed(group: Mapping[str, Any], *, cohort: str, evidence: str) -> str:
    """Say whose posterior parameters are from where it is another cohort's, or of other evidence; else nothing."""
    origin = _origin(group)
    if origin is None or (origin["cohort"], origin["evidence"]) == (cohort, evidence):
        return ""
    return f"borrowed for {cohort}, calibrated for the cohort {origin['cohort']} on the evidence {origin['evidence']}"


def role_shown(group: Mapping[str, Any], entry: tuple[str, str, str | None], evidence: str) -> str | None:
    """Return the role that results show of an entry: its id, as it is printed, its role in the evidence of this name.

    Only what the calibration of the parameters fitted of this evidence is ``fitted``. What it fitted as an entry of
    other evidence, from which this one has it, is ``borrowed``; what it did not fit, `NOT_FITTED`.
    """
    id_, printed, role = entry
    origin = _origin(group)
    if role != "fitted" or origin is None:
        return role
    if str(origin["targets"].get(id_, "")) != printed:
        return NOT_FITTED
    return role if origin["evidence"] == evidence else "borrowed"


def with_readings(group: Mapping[str, Any], applied: Collection[str], by_hand: set[str]) -> dict[str, Any]:
    """Return the parameters with what the file says of the readings that are applied laid over them."""
    made = dict(group)
    under, closer = group.get(UNDER), by_hand | {PREFIX + path for path in group.get(KEPT) or ()}
    for names, patch in under.items() if isinstance(under, Mapping) else ():
        if isinstance(patch, Mapping) and set(str(names).split("+")) <= set(applied):
            made = merged(made, patch, f"of the reading {names}", key=GROUP, closer=closer)
    return made


def applicable(
    table: Table, alternatives: Mapping[str, str], overruled: Mapping[str, str], by_hand: Sequence[str]
) -> tuple[Table, dict[str, str]]:
    """Return draws without the readings that change nothing in this cohort, and these readings with the reason.

    Parameters
    ----------
    alternatives : of every alternative of the cohort's evidence the question that it answers.
    overruled : alternatives that closer files stand against, each with the reason.
    by_hand : readings that the user named; they are applied.
    """
    made, left = dict(table), {}
    for column in (name for name in table if name.startswith(READING)):
        for name in dict.fromkeys(table[column]):
            if alternatives.get(name) != column.removeprefix(READING):
                left[name] = "the evidence of this cohort has no such reading"
            elif name in overruled and name not in by_hand:
                left[name] = overruled[name]
        made[column] = ["" if name in left else name for name in table[column]]
    return made, left


def has_draws(container: Mapping[str, Any]) -> bool:
    """Whether a configuration asks for draws of a posterior."""
    return draws_of(container) is not None


def draws_of(container: Mapping[str, Any]) -> Any:
    """Return how many draws of a posterior a configuration asks for, None for point values."""
    return (container.get(GROUP) or {}).get(DRAWS)


def read_table(text: str, label: str) -> Table:
    """Read a table of draws. Raises ConfigError with what is wrong with it."""
    header, *lines = list(csv.reader(text.splitlines())) or [[]]
    if len(set(header)) < len(header) or not header or not lines:
        raise ConfigError(Problem(label, MISSING, "must be a header of different names, and a line for each draw"))
    table: Table = {name: [] for name in header}
    for number, line in enumerate(lines, start=2):
        if len(line) != len(header):
            allowed = f"has {len(line)} values, and the header {len(header)} names"
            raise ConfigError(Problem(f"{label}:{number}", MISSING, allowed))
        for name, value in zip(header, line, strict=True):
            try:
                table[name].append(value if name.startswith(READING) else float(value))
            except ValueError:
                raise ConfigError(Problem(f"{label}:{number}: {name}", value, "must be a number")) from None
    return table


def selected(table: Table, wanted: int, readings: Sequence[str], alternatives: Mapping[str, str], label: str) -> Table:
    """Return the draws that a run may need: under the readings that the user chose, twice as many as wanted.

    More than are wanted, since some may be beyond what the model can produce. ``alternatives``: of every alternative
    the question that it answers. Raises ConfigError where there are too few.
    """
    rows = list(range(len(next(iter(table.values())))))
    for name in readings:
        column = table.get(READING + alternatives.get(name, ""))
        if column is not None and name in column:
            rows = [i for i in rows if column[i] == name]
        elif column is not None:
            known = ", ".join(dict.fromkeys(column))
            raise ConfigError(Problem("study.reading", name, f"is no reading of the draws; they have {known}"))
    if len(rows) < wanted:
        under = f" under {', '.join(readings)}" if readings else ""
        raise ConfigError(Problem(PREFIX + DRAWS, wanted, f"must be at most {len(rows)}: {label} has no more{under}"))
    return {"draw": rows[: 2 * wanted]} | {n: [c[i] for i in rows[: 2 * wanted]] for n, c in table.items()}


def one(table: Table, number: object, readings: Sequence[str], alternatives: Mapping[str, str], label: str) -> Table:
    """Return the table with one draw alone, by its number, the place of its line from 0.

    Raises ConfigError where there is none of that number, or it reads the text in another way than the user.
    """
    last = len(next(iter(table.values()))) - 1
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= last:
        raise ConfigError(
            Problem(PREFIX + DRAW, number, f"must be a whole number from 0 to {last:,}: a draw of {label}")
        )
    for name in readings:
        column = table.get(READING + alternatives.get(name, ""))
        if column is not None and column[number] != name:
            allowed = f"reads the text as {column[number]}, and study.reading says {name}"
            raise ConfigError(Problem(PREFIX + DRAW, number, allowed))
    return {"draw": [number]} | {name: [column[number]] for name, column in table.items()}


def drawn(container: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Return a configuration whose table has one draw (`one`) with this draw's values in the place of point values.

    ``draw`` keeps its number, which nothing reads but the record of a run. What a file says of a drawn parameter, such
    as its interval, stays, as it is of the posterior; the parameter's note says that the value is a draw, and whose.
    """
    [design] = designs(container, overrides)
    group, number = design.config[GROUP], design.numbers[0]
    note = f"draw {number} of the posterior{whose(group)}; interval and source are the posterior's"
    for path in design.drawn:
        [value] = design.values[path]
        *above, last = path.split(".")
        node = group
        for step in above:
            node = node[step]
        said = node[last] if isinstance(node[last], Mapping) else {}
        node[last] = {**said, "value": value, "note": "; ".join(filter(None, (note, said.get("note"))))}
    group[DRAW] = number
    group |= {key: container[GROUP][key] for key in (NOT_APPLIED, KEPT) if key in container[GROUP]}
    return design.config


@dataclass(frozen=True)
class DrawnConfiguration:
    """Draws under one reading of the text: the configuration that they share, and the parameters that they set.

    ``numbers`` of the draws; ``values``: path of a parameter → a value a draw, for `schema.declare_possible`;
    ``drawn``: the paths that have the draws' values, and not one that was set closer to the run.
    """

    config: dict[str, Any]
    numbers: tuple[int, ...]
    values: dict[str, list[Any]]
    drawn: tuple[str, ...]


def designs(container: Mapping[str, Any], overrides: Sequence[str]) -> list[DrawnConfiguration]:
    """Return the draws that may be needed, a design for each reading of the text among them.

    Raises
    ------
    ConfigError
        Where the table has a column that is no parameter.
    """
    group = container[GROUP]
    table: Table = dict(group[POSTERIOR])
    numbers = table.pop("draw")
    by_hand = keys_of(overrides)
    plain = {key: value for key, value in group.items() if key not in KEYS}
    known = list(_paths(plain))
    wrong = [name for name in table if not name.startswith(READING) and name not in known]
    if wrong:
        allowed = "is a column of the draws, and no parameter of this cohort"
        raise ConfigError([Problem(PREFIX + name, MISSING, allowed, nearest(name, known)) for name in wrong])
    given = (container.get("study") or {}).get("reading")
    chosen = [given] if isinstance(given, str) else list(given or ())
    questions = [name for name in table if name.startswith(READING)]
    paths = [name for name in table if not name.startswith(READING)]
    kept = group.get(KEPT) or {}
    drawn = [path for path in paths if path not in kept and not {PREFIX + path, f"{PREFIX}{path}.value"} & by_hand]
    parameters = published_with(plain, drawn) | {key: group[key] for key in (CALIBRATED_ON,) if key in group}
    rows: dict[tuple[str, ...], list[int]] = {}
    for row in range(len(numbers)):
        rows.setdefault(tuple(str(table[name][row]) for name in questions), []).append(row)
    found = []
    for readings, places in rows.items():
        study = {**container["study"], "reading": list(dict.fromkeys([*chosen, *filter(None, readings)])) or None}
        values = {path: [table[path][row] for row in places] for path in drawn}
        values |= {path: [_value(plain, path)] * len(places) for path in paths if path not in drawn}
        config = {**container, GROUP: parameters, "study": study}
        found.append(DrawnConfiguration(config, tuple(int(numbers[row]) for row in places), values, tuple(drawn)))
    return found


def published_with(group: Mapping[str, Any], paths: Sequence[str]) -> dict[str, Any]:
    """Return parameters whose published study has the scenario's values of some of them, whatever they are."""
    out = copy.deepcopy(dict(group))
    for path in paths:
        *above, last = path.split(".")
        node = (out.get("reference") or {}).get("parameters")
        for step in above:
            node = node.get(step) if isinstance(node, dict) else None
        if isinstance(node, dict):
            node.pop(last, None)
    return out


def _paths(node: Mapping[str, Any], before: str = "") -> Iterator[str]:
    for name, child in node.items():
        if isinstance(child, Mapping) and "value" not in child and not (not before and name == "reference"):
            yield from _paths(child, f"{before}{name}.")
        else:
            yield f"{before}{name}"


def _value(node: Any, path: str) -> Any:
    """Return what is declared of a parameter."""
    for step in path.split("."):
        node = node[step]
    return node["value"] if isinstance(node, Mapping) else node
