"""The help: its text from the primary configuration, its lists from the files that are found."""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import simulator
from simulator.configuration.draws import CALIBRATED_ON
from simulator.configuration.library import COHORT, EXPERIMENT, NAMED_BY_COHORT, Library
from simulator.configuration.overrides import read_overrides
from simulator.configuration.parameters import composed_with_parameters
from simulator.errors import ConfigError
from simulator.experiment.preparation import open_library

MOST_SHOWN = 60
"""Characters of a value that is shown whole."""


def help_text(texts: Sequence[str], *, config_dir: str | None = None) -> str:
    """Return the help, as for a run with these overrides. Raises ConfigError as such a run would."""
    library = open_library(config_dir)
    made = read_overrides(texts, library)
    if problems := [*library.problems(), *made.problems]:
        raise ConfigError(problems)
    composed = composed_with_parameters(library, made)
    cohorts = {name: _about(library, f"{COHORT}/{name}") for name in library.options(COHORT)}
    width = max(map(len, cohorts))
    template = string.Template(library.primary["hydra"]["help"]["template"])
    return template.safe_substitute(
        VERSION=simulator.__version__,
        COHORT=composed.choices[COHORT],
        COHORTS="\n".join(f"  {name:{width}}  {about}".rstrip() for name, about in cohorts.items()),
        EXPERIMENTS=", ".join(library.options(EXPERIMENT)),
        GROUPS="\n".join(f"  {group:10}  {', '.join(library.options(group))}" for group in NAMED_BY_COHORT),
        SETTINGS="\n".join(f"  {key}={value}" for key, value in _settings(composed.container, library)),
    ).rstrip("\n")


def _about(library: Library, config_path: str) -> str:
    """Return a file's title, or else its first comment."""
    try:
        file = library.file(config_path)
    except ConfigError:
        return "(cannot be read)"
    return str(file.content.get("title") or file.comment or "")


def _settings(container: Mapping[str, Any], library: Library) -> Iterator[tuple[str, str]]:
    """Yield the keys a modeler may set and their values: the root's first, structure left out."""
    named = [group for group in (COHORT, "course", "study", "parameters") if group in container]
    roots = [key for key in container if key not in library.groups]
    for key in (*roots, *named):
        group = container[key]
        if key == "parameters":
            group = {name: value for name, value in group.items() if name != CALIBRATED_ON}  # what is so, not a choice
        yield from _below(key, group, depth=4 if key == "parameters" else 3)


def _below(key: str, value: Any, *, depth: int) -> Iterator[tuple[str, str]]:
    """Yield a key and its value, or the keys below it, as far as `depth` names and what fits on a line."""
    if key.rpartition(".")[2] in ("name", "title", "description", "reference", "under"):
        return
    if isinstance(value, Mapping) and "value" in value:
        value = value["value"]
    distribution = isinstance(value, Mapping) and len(value) == 1 and not key.startswith("parameters.")
    if (distribution or not isinstance(value, Mapping)) and len(shown := _in_one_line(value)) <= MOST_SHOWN:
        yield key, shown
    elif isinstance(value, Mapping) and key.count(".") + 1 < depth:
        for name, item in value.items():
            yield from _below(f"{key}.{name}", item, depth=depth)


def _in_one_line(value: Any) -> str:
    """Write a value as it may be given on the command line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_in_one_line(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_in_one_line, value)) + "]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
