"""A sweep taken apart for its page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from simulator.errors import ConfigError, Problem
from simulator.sweep.outcomes import ShownOutcome, loaded, numbers, outcomes
from simulator.sweep.scenarios import (
    FINISHED,
    SweptDimension,
    is_sweep,
    one,
    record_at,
    reference,
    states,
    swept,
)
from simulator.views.arrangement import Arrangement, arranged, shown
from simulator.views.report.record import NOT_RECORDED, Run, parsed, sentence

MOST_LABELS = 24


@dataclass(frozen=True, eq=False)
class SweepRun:
    """The tree of a sweep, and what a page of it needs again and again."""

    tree: xr.DataTree
    against: Mapping[str, Any]  # what `output.contrast` named; empty if nothing was declared

    @cached_property
    def dimensions(self) -> tuple[SweptDimension, ...]:
        """Return the swept dimensions."""
        return swept(self.tree)

    @cached_property
    def reference(self) -> dict[str, Any]:
        """Labels of the scenario that others are held against."""
        return reference(self.tree, self.against)

    @cached_property
    def states(self) -> xr.DataArray:
        """What is finished, failed, or not done yet."""
        return states(self.tree)

    @cached_property
    def arrangement(self) -> Arrangement:
        """Where each dimension stands in figures."""
        return arranged(self.tree, self.against)

    @cached_property
    def shown(self) -> xr.DataTree:
        """The part of the sweep that figures of outcomes show, in memory."""
        return loaded(shown(self.tree, self.arrangement, self.reference))

    @cached_property
    def outcomes(self) -> list[ShownOutcome]:
        """What is known of some scenario that is shown."""
        found = outcomes(self.shown)
        return [each for each in found if bool(np.isfinite(numbers(self.shown, each)["value"].values).any())]

    @cached_property
    def first(self) -> Run | None:
        """The first scenario that is finished as a run with its record; None if there is none, or no record."""
        finished = np.argwhere(self.states.values == FINISHED)
        if not len(finished):
            return None
        places = dict(zip((each.name for each in self.dimensions), map(int, finished[0]), strict=True))
        if not record_at(self.tree, places):
            return None
        return parsed(one(self.tree, {each.name: each.labels[places[each.name]] for each in self.dimensions}))

    def said(self, name: str) -> str:
        """An attribute of the record as text."""
        return str(self.tree.root.attrs.get(name, NOT_RECORDED))

    @property
    def title(self) -> str:
        """The title of the experiment, or what was swept."""
        return self.said("title").replace(NOT_RECORDED, "") or f"Sweep of {', '.join(e.key for e in self.dimensions)}"

    def varies(self, outcome: ShownOutcome) -> bool:
        """Whether scenarios that are shown differ in an outcome."""
        return varies(self.shown, outcome)


def sweep_of(tree: xr.DataTree, source: str, against: Mapping[str, Any] | None) -> SweepRun:
    """Return a sweep for its page. Raises ConfigError, about its source, if the tree is not that of a sweep."""
    missing = [name for name in ("targets", "statistics") if name not in tree.children]
    if missing or not is_sweep(tree):
        reason = f"no node {' and no node '.join(missing)}" if missing else "no overrides of scenarios"
        raise ConfigError(Problem("results", source, f"must be those of a sweep: {reason}"))
    return SweepRun(tree, dict(against or {}))


def summary(sweep: SweepRun) -> str:
    """One line beneath the title."""
    n = int(np.prod([len(each.labels) for each in sweep.dimensions]))
    n_finished = int((sweep.states.values == FINISHED).sum())
    done = f"{n:,} scenarios" if n == n_finished else f"{n_finished:,} of {n:,} scenarios are finished"
    studies = sweep.tree["targets"].sizes.get("replicate", 0)
    return (
        f"{done}, {studies:,} simulated studies each; swept: {', '.join(each.key for each in sweep.dimensions)} "
        f"(Lobule {sweep.said('software_version')}). {sentence(sweep.said('parameter_uncertainty'))}."
    )


def varies(tree: xr.DataTree, outcome: ShownOutcome) -> bool:
    """Whether scenarios of a tree differ in an outcome."""
    values = numbers(tree, outcome)["value"].values
    known = values[np.isfinite(values)]
    return known.size > 0 and differ(known, np.broadcast_to(known[:1], known.shape))


def differ(one_: Any, other: Any) -> bool:
    """Whether numbers differ where both are known, by more than rounding."""
    known = np.isfinite(one_) & np.isfinite(other)
    return not bool(np.isclose(one_[known], other[known], rtol=1e-9, atol=1e-12).all())


def labels_said(labels: Mapping[str, Any]) -> str:
    """Return labels of a scenario in words."""
    return ", ".join(f"{name} {label}" for name, label in labels.items())


def listed(labels: Sequence[Any]) -> str:
    """Return labels in words, the middle left out where there are many."""
    words = [str(label) for label in labels]
    if len(words) > MOST_LABELS:
        words = [*words[: MOST_LABELS // 2], "…", *words[-3:]]
    return ", ".join(words)
