"""Which parameters a run takes: those that calibration started from, calibrated point values, draws of a posterior.

| `parameters=` | |
|---|---|
| (nothing) | what the cohort names |
| `start` | the values that calibration started from |
| `calibrated` | calibrated point values: of the file that the cohort names, or of `<that file>_calibrated` |
| `posterior` | `parameters.draws` draws of the posterior, 100 if nothing is said; or one, `parameters.draw` |
| a name, a path | that file, or the `parameters.yaml` of a folder; with `parameters.draws=N` its draws |
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from simulator.configuration import draws as table_of_draws
from simulator.configuration.closeness import alternatives
from simulator.configuration.compose import Composition, compose, compose_files
from simulator.configuration.defaults import Defaults
from simulator.configuration.files import contents
from simulator.configuration.layers import OVERRULED, why_not
from simulator.configuration.library import PARAMETERS, Library
from simulator.configuration.overrides import CALIBRATED, POSTERIOR, START, Overrides
from simulator.errors import ConfigError, Problem

DRAWS = 100
LARGEST_TABLE = 50_000_000
"""Bytes of a table of draws."""
ONE_DRAW = f"{PARAMETERS}.{table_of_draws.DRAW}"
CALIBRATED_FILE = "_calibrated"
"""How the name of a file of parameters ends that was calibrated from the one before the ending."""


def composed_with_parameters(library: Library, made: Overrides) -> Composition:
    """Compose what was chosen, with the parameters that were asked for. Raises ConfigError."""
    composed = compose(library, chosen(library, made.choices, made.source), made.values)
    group = composed.container[PARAMETERS]
    if not isinstance(group, dict):
        return composed  # the schema says so
    if group.get(table_of_draws.DRAW) is not None:
        if group.get(table_of_draws.DRAWS) is not None:
            allowed = f"cannot stand beside {PARAMETERS}.{table_of_draws.DRAWS}: one draw, or so many"
            raise ConfigError(Problem(ONE_DRAW, group[table_of_draws.DRAW], allowed))
        return with_draw(library, composed, made.texts)
    if made.source == POSTERIOR and group.get(table_of_draws.DRAWS) is None:
        group[table_of_draws.DRAWS] = DRAWS
    if made.source in (START, CALIBRATED) and group.get(table_of_draws.DRAWS) is not None:
        allowed = f"are draws of a posterior: use {PARAMETERS}={POSTERIOR}"
        raise ConfigError(Problem(f"{PARAMETERS}.{table_of_draws.DRAWS}", group[table_of_draws.DRAWS], allowed))
    _take_draws(composed, library)
    return composed


def chosen(library: Library, choices: Mapping[str, str], source: str | None) -> dict[str, str]:
    """Return choices of files that take the parameters which ``source`` stands for. Raises ConfigError."""
    if source is None:
        return dict(choices)
    composed = compose_files(library, choices)
    group = composed.container[PARAMETERS]
    if not isinstance(group, Mapping):
        return dict(choices)
    if source == START:
        started_from = group.get(table_of_draws.START)
        if not isinstance(started_from, str):
            return dict(choices)
        if started_from not in library.options(PARAMETERS):
            allowed = "is not there; the parameters of the cohort were calibrated from it"
            raise ConfigError(Problem(f"{PARAMETERS}.{table_of_draws.START}", started_from, allowed))
        return {**choices, PARAMETERS: started_from}
    if table_of_draws.POSTERIOR in group:
        return dict(choices)
    beside = f"{composed.choices.get(PARAMETERS)}{CALIBRATED_FILE}"
    if beside not in library.options(PARAMETERS):
        allowed = f"{composed.choices.get(PARAMETERS, 'the cohort')} has not been calibrated; use {START}, its values"
        raise ConfigError(Problem(PARAMETERS, source, allowed))
    return {**choices, PARAMETERS: beside}


def point_values(library: Library, choices: Mapping[str, str]) -> Composition:
    """Compose files: ``parameters`` may be ``start``, ``calibrated`` or ``posterior``. Raises ConfigError.

    The name of a table of draws stays, for `with_draw`.
    """
    source = choices.get(PARAMETERS)
    if source in (START, CALIBRATED, POSTERIOR):
        others = {group: name for group, name in choices.items() if group != PARAMETERS}
        choices = chosen(library, others, source)
    return compose_files(library, choices)


def with_draw(library: Library, composed: Composition, texts: Sequence[str]) -> Composition:
    """Return a composition with the values of the draw that it names, or with its point values if it names none.

    ``texts``: the user's overrides, which win over the draw. Raises ConfigError where there is no such draw.
    """
    group = composed.container.get(PARAMETERS)
    if not isinstance(group, dict):
        return composed  # the schema says so
    left_out = (table_of_draws.DRAW, table_of_draws.POSTERIOR, table_of_draws.START)
    point = {**composed.container, PARAMETERS: {key: value for key, value in group.items() if key not in left_out}}
    number, named = (group.get(key) for key in left_out[:2])
    if number is None:
        return replace(composed, container=point)
    if not isinstance(named, str):
        raise ConfigError(Problem(ONE_DRAW, number, "needs draws of a posterior, and these parameters come with none"))
    table, label = _table(library, composed, named)
    readings = _chosen(composed.container), _questions(composed.container.get("evidence"))
    _put_draws(point, table_of_draws.one(table, number, *readings, label))
    return replace(composed, container=table_of_draws.drawn(point, texts))


def table_fingerprint(library: Library, composed: Composition) -> str:
    """Return a hash of the table of draws that parameters come with, empty if there is none."""
    named = (composed.container.get(PARAMETERS) or {}).get(table_of_draws.POSTERIOR)
    if not isinstance(named, str):
        return ""
    return hashlib.sha256(repr(_table(library, composed, named)[0]).encode()).hexdigest()


def _table(library: Library, composed: Composition, named: str) -> tuple[table_of_draws.Table, str]:
    """Return the table of draws beside a file of parameters, and what it is called."""
    key = f"{PARAMETERS}.{table_of_draws.POSTERIOR}"
    if Path(named).name != named or PARAMETERS not in composed.choices:
        raise ConfigError(Problem(key, named, "must be the name of a file in the same folder"))
    files = [name for name, _ in Defaults(library, composed.choices).below(PARAMETERS, composed.choices[PARAMETERS])]
    own = [name for name in files if table_of_draws.POSTERIOR in library.file(f"{PARAMETERS}/{name}").content]
    path, label = library.beside(PARAMETERS, (own or files)[0], named)
    try:
        return _read(contents(path, label, LARGEST_TABLE), label), label
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is not UTF-8 text"
        raise ConfigError(Problem(key, label, f"cannot be read: {reason}")) from None


@lru_cache(maxsize=8)
def _read(data: bytes, label: str) -> table_of_draws.Table:
    """Read a table; scenarios of a sweep share it, so nobody may change it."""
    return table_of_draws.read_table(data.decode(), label)


def _take_draws(composed: Composition, library: Library) -> None:
    """Put the draws in the place of the name of their table; take the name away where none are wanted."""
    container = composed.container
    group = container[PARAMETERS]
    wanted, named = group.get(table_of_draws.DRAWS), group.get(table_of_draws.POSTERIOR)
    if wanted is None:
        for key in (table_of_draws.DRAWS, table_of_draws.DRAW, table_of_draws.POSTERIOR, table_of_draws.START):
            if isinstance(group.get(key), str | None):  # what is no name at all is refused with its key
                group.pop(key, None)
        return
    group.pop(table_of_draws.START, None)
    if not isinstance(named, str) or isinstance(wanted, bool) or not isinstance(wanted, int) or wanted < 1:
        return  # the schema says so
    table, label = _table(library, composed, named)
    questions = _questions(container.get("evidence"))
    _put_draws(container, table_of_draws.selected(table, wanted, _chosen(container), questions, label))


def _put_draws(container: Mapping[str, Any], table: table_of_draws.Table) -> None:
    """Put draws into a configuration, without the readings that change nothing in this cohort."""
    evidence, group = container.get("evidence"), container[PARAMETERS]
    against = {name: why for _, name, said in alternatives(evidence) if (why := why_not(said.get(OVERRULED) or {}))}
    table, left = table_of_draws.applicable(table, _questions(evidence), against, _chosen(container))
    group[table_of_draws.POSTERIOR] = table
    if left:
        group[table_of_draws.NOT_APPLIED] = left


def _chosen(container: Mapping[str, Any]) -> Sequence[str]:
    study = container.get("study")
    given = study.get("reading") if isinstance(study, Mapping) else None
    return [given] if isinstance(given, str) else [name for name in _listed(given) if isinstance(name, str)]


def _listed(given: object) -> Sequence[object]:
    return given if isinstance(given, list | tuple) else ()  # anything else the schema refuses


def _questions(evidence: Any) -> dict[str, str]:
    """Of every alternative of the evidence, the question that it answers."""
    return {name: question for question, name, _ in alternatives(evidence)}
