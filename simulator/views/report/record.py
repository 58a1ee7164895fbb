"""The record of a run, taken apart for a page."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import xarray as xr

from simulator.errors import ConfigError, Problem
from simulator.results.assumptions import Grounds, grounds_of
from simulator.results.provenance import config_of

NOT_RECORDED = "not recorded"
_NODES = ("targets", "statistics")


@dataclass(frozen=True, eq=False)
class Run:
    """A results tree of one run, and its record."""

    tree: xr.DataTree
    config: Mapping[str, Any]
    evidence: Mapping[str, Any]
    parameters: Mapping[str, Any]
    grounds: Grounds

    def said(self, name: str) -> str:
        """An attribute of the record as text."""
        return str(self.tree.root.attrs.get(name, NOT_RECORDED))

    def group(self, name: str) -> Mapping[str, Any]:
        """One group of the configuration, such as ``model``; empty if there is none."""
        found = self.config.get(name)
        return found if isinstance(found, Mapping) else {}

    @property
    def overrides(self) -> list[str]:
        """What was set on the command line."""
        return [line for line in self.said("overrides").split("\n") if line and line != NOT_RECORDED]

    @property
    def command(self) -> str:
        """The command line that asked for the run, for a shell."""
        return shlex.join(["python", "-m", "simulator", *self.overrides])


def run_of(tree: xr.DataTree, source: str) -> Run:
    """Return the record of a tree. Raises ConfigError, about its source, if it is not of one run with a record."""
    missing = [name for name in _NODES if name not in tree.children]
    reason = "this is a sweep" if "sweep" in tree.root.attrs else f"no node {' and no node '.join(missing)}"
    if missing or "sweep" in tree.root.attrs:
        raise ConfigError(Problem("results", source, f"must be those of one simulation: {reason}"))
    return parsed(tree)


def parsed(tree: xr.DataTree) -> Run:
    """Return the record of a tree as a run's. Raises ConfigError if it has none."""
    record = tree.root.attrs
    return Run(
        tree=tree,
        config=config_of(tree),
        evidence=json.loads(record.get("evidence", "{}")),
        parameters=json.loads(record.get("parameters", "{}")),
        grounds=grounds_of(tree),
    )


def sentence(text: str) -> str:
    """Return text that begins with a capital letter; names within it stay as they are."""
    return text[:1].upper() + text[1:]


def ends(interval: Sequence[Any] | None) -> str:
    """Return an interval of two declared values in words; empty if none is declared."""
    return f"{in_a_line(interval[0])} to {in_a_line(interval[1])}" if interval else ""


def in_a_line(value: Any, *, within: bool = False) -> str:
    """Return a declared value in one line; ``within`` another value in brackets, as a file may have it."""
    if isinstance(value, Mapping):
        said = [f"{name}: {in_a_line(item, within=True)}" for name, item in value.items()]
        return f"{{{', '.join(said)}}}" if within else "; ".join(said)
    if isinstance(value, Sequence) and not isinstance(value, str):
        listed = ", ".join(in_a_line(item, within=True) for item in value)
        return f"[{listed}]" if within else listed
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def declared_lines(group: Mapping[str, Any], *without: str) -> Iterator[tuple[str, str]]:
    """Yield the keys of a group in words, and what is declared under each."""
    for key, value in group.items():
        if key not in ("name", "title", "description", *without) and value not in (None, [], {}):
            yield key.replace("_", " "), in_a_line(value)
