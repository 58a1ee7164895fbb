"""Which parameters a run takes: those that calibration started from, calibrated point values, draws of a posterior.

Knows the keys of a file of parameters that are no parameters, and tables of draws beside it; knows no parameter.

| `parameters=` | |
|---|---|
| (nothing) | what the cohort names |
| `start` | the values that calibration started from |
| `calibrated` | calibrated point values: of the file that the cohort names, or of `<that file>_calibrated` |
| `posterior` | `parameters.draws` draws of the posterior, 100 if nothing is said |
| a name, a path | that file, or the `parameters.yaml` of a folder; with `parameters.draws=N` its draws |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from simulator.cli.compose import Composition, Library, compose, compose_files
from simulator.cli.overrides import CALIBRATED, PARAMETERS, POSTERIOR, START, Overrides
from simulator.declaration import posterior as table_of_draws
from simulator.errors import ConfigError, Problem

DRAWS = 100
CALIBRATED_FILE = "_calibrated"
"""How the name of a file of parameters ends that was calibrated from the one before the ending."""


def composed_with_parameters(library: Library, made: Overrides) -> Composition:
    """Compose what was chosen, with the parameters that were asked for. Raises ConfigError."""
    composed = compose(library, chosen(library, made.choices, made.source), made.values)
    group = composed.container[PARAMETERS]
    if not isinstance(group, dict):
        return composed  # the schema says so
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
    """Compose files, without draws: ``parameters`` may be ``start`` or ``calibrated``. Raises ConfigError."""
    source = choices.get(PARAMETERS)
    if source in (START, CALIBRATED):
        others = {group: name for group, name in choices.items() if group != PARAMETERS}
        choices = chosen(library, others, source)
    composed = compose_files(library, choices)
    group = composed.container.get(PARAMETERS)
    if isinstance(group, dict):
        for key in (table_of_draws.POSTERIOR, table_of_draws.START):
            group.pop(key, None)
    return composed


def _take_draws(composed: Composition, library: Library) -> None:
    """Put the draws in the place of the name of their table; take the name away where none are wanted."""
    container = composed.container
    group = container[PARAMETERS]
    wanted, named = group.get(table_of_draws.DRAWS), group.get(table_of_draws.POSTERIOR)
    if wanted is None:
        for key in (table_of_draws.DRAWS, table_of_draws.POSTERIOR, table_of_draws.START):
            group.pop(key, None)
        return
    group.pop(table_of_draws.START, None)
    if not isinstance(named, str) or isinstance(wanted, bool) or not isinstance(wanted, int) or wanted < 1:
        return  # the schema says so
    key = f"{PARAMETERS}.{table_of_draws.POSTERIOR}"
    if Path(named).name != named or PARAMETERS not in composed.choices:
        raise ConfigError(Problem(key, named, "must be the name of a file in the same folder"))
    path, label = library.beside(PARAMETERS, composed.choices[PARAMETERS], named)
    try:
        table = table_of_draws.read_table(path.read_text(encoding="utf-8"), label)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is not UTF-8 text"
        raise ConfigError(Problem(key, label, f"cannot be read: {reason}")) from None
    group[table_of_draws.POSTERIOR] = table_of_draws.selected(
        table, wanted, _chosen(container), _questions(container.get("evidence")), label
    )


def _chosen(container: Mapping[str, Any]) -> Sequence[str]:
    study = container.get("study")
    given = study.get("reading") if isinstance(study, Mapping) else None
    return [given] if isinstance(given, str) else [name for name in given or () if isinstance(name, str)]


def _questions(evidence: Any) -> dict[str, str]:
    """Of every alternative of the evidence, the question that it answers."""
    readings = evidence.get("readings") if isinstance(evidence, Mapping) else None
    found: dict[str, str] = {}
    for question, reading in readings.items() if isinstance(readings, Mapping) else ():
        names = reading.get("alternatives") if isinstance(reading, Mapping) else None
        found |= dict.fromkeys(names if isinstance(names, Mapping) else (), question)
    return found
