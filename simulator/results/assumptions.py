"""What the curves of a run rest on: provenance classes in its record, and how far what was reported looks along them.

A number has one of the provenance classes `EVIDENCE` or `ASSUMPTION`; a number that stands in a declaration itself has
none and counts as assumed, as a parameter without a class does.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import xarray as xr

from simulator.evidence.entries import EvidenceEntry
from simulator.study.scope import ALL_PATIENTS

EVIDENCE = ("reported", "derived", "read", "calibrated")
ASSUMPTION = ("borrowed", "assumed")

_PREFIX = "parameters."
INFORMING = ("fitted", "used")
"""Roles of targets that the numbers of a model were chosen by."""

_NO_TIME = ("family", "observed", "solved_for", "response_effect", "probability")


@dataclass(frozen=True)
class Basis:
    """What says when an event happens, and in how many: provenance classes, and the parameters among it."""

    when: tuple[str, ...] = ()
    how_often: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()

    @property
    def assumed(self) -> bool:
        """Whether nothing but assumption says when it happens."""
        return bool(self.when) and set(self.when) <= set(ASSUMPTION)

    @property
    def wholly_assumed(self) -> bool:
        """Whether nothing but assumption says when it happens, nor in how many."""
        return self.assumed and set(self.how_often) <= set(ASSUMPTION)

    def __or__(self, other: Basis) -> Basis:
        pairs = ((self.when, other.when), (self.how_often, other.how_often), (self.parameters, other.parameters))
        return Basis(*(tuple(dict.fromkeys(one + more)) for one, more in pairs))


class Look(NamedTuple):
    """That a number looks at survival: of which groups (as in the statistics: ``all``, strata, arms), until when.

    ``until``, days: NaN of a number that compares two groups and looks at no time, such as a hazard ratio.
    """

    groups: tuple[str, ...]
    until: float


def look_of(entry: EvidenceEntry) -> Look | None:
    """Return how a target looks at survival; None where it does not.

    A landmark and a restricted mean look until their time, also where two groups are compared and at the ends of an
    interval; a median until the upper end of what it was rounded from; a median of which a bound was printed until the
    bound. Counts at the end of follow-up look at no time of their own, and a test says nothing of a curve. Conditions
    narrower than stratum and arm, such as a status, are passed over.
    """
    statistic = entry.statistic
    if statistic is None or not statistic.endpoint.informs_survival:
        return None
    until, reported = math.nan, entry.reported
    if statistic.time is not None:
        until = statistic.time
    elif statistic.record.point and statistic.comparison is None and reported is not None and math.isfinite(reported):
        until = reported + (entry.half_width or 0.0)
    compared = statistic.against is not None and (statistic.comparison is not None or statistic.ratio)
    if math.isnan(until) and not compared:
        return None
    wheres = [where for where in (statistic.where, statistic.against) if where is not None]
    return Look(tuple(where.stratum or where.arm or ALL_PATIENTS for where in wheres), until)


def last_looks(looks: Iterable[Look], groups: Sequence[str]) -> dict[str, float]:
    """Return, for each group of patients, the last time, days, at which anything looks at its survival; 0: never.

    What is said of all patients speaks of each group, and what is said of every group speaks of all patients. A
    comparison that looks at no time carries over from one of its groups to the other what is known of that.
    """
    known = list(looks)
    places = {group: {ALL_PATIENTS, group, group.removeprefix("arm.")} for group in groups}
    last = dict.fromkeys(groups, 0.0)
    for group, names in places.items():
        until = [look.until for look in known if len(groups) == 1 or names & set(look.groups)]
        last[group] = max((time for time in until if math.isfinite(time)), default=0.0)
    for look in (look for look in known for _ in groups if math.isnan(look.until)):  # along chains of comparisons, too
        tied = [
            group for group in groups if group != ALL_PATIENTS and (places[group] - {ALL_PATIENTS}) & set(look.groups)
        ]
        if len(tied) == len(look.groups):
            last |= dict.fromkeys(tied, max(last[group] for group in tied))
    others = [last[group] for group in groups if group != ALL_PATIENTS]
    if ALL_PATIENTS in last and others:
        last[ALL_PATIENTS] = max(last[ALL_PATIENTS], min(others))
    return last


@dataclass(frozen=True)
class Grounds:
    """The events of a run's model, and what is declared of the numbers that they refer to."""

    events: Mapping[str, Mapping[str, Any]]
    states: tuple[str, ...]
    initial: str
    absorbing: tuple[str, ...]
    by_administration: bool  # what drives events that declare both
    declared: Mapping[str, Mapping[str, Any]]

    def bases(self) -> dict[str, Basis]:
        """Return what each event rests on, under its name in the node of the statistics."""
        found: dict[str, Basis] = {}
        for name, event in self.events.items():
            shown = self._shown(name)
            found[shown] = found.get(shown, Basis()) | self.basis(event)
        return found

    def deaths(self) -> set[str]:
        """Return the names of deaths in the node of the statistics."""
        return {self._shown(name) for name, event in self.events.items() if event.get("to") in self.absorbing}

    def survival_is_assumed(self) -> bool:
        """Whether nothing but assumption says when patients die, of whatever cause."""
        deaths = [self.basis(event) for event in self.events.values() if event.get("to") in self.absorbing]
        return bool(deaths) and all(basis.assumed for basis in deaths)

    def assumed_states(self) -> set[str]:
        """Return the states that patients enter only through events of which nothing but assumption says when."""
        leading: dict[str, list[bool]] = {}
        for event in self.events.values():
            if event.get("to"):
                leading.setdefault(str(event["to"]), []).append(self.basis(event).assumed)
        return {state for state, assumed in leading.items() if all(assumed)}

    def _shown(self, name: str) -> str:
        event = self.events[name]
        own = str(event.get("cause") or name) if event.get("to") in self.absorbing else name
        return own if own in self.events else f"death.{own}"

    def basis(self, event: Mapping[str, Any]) -> Basis:
        """Return what a declared event rests on, under the driver that it has in this run."""
        hazard, given = event.get("hazard") or {}, event.get("per_administration") or {}
        if given and (not hazard or self.by_administration):
            when, often = self._said(given, "probability", "lag"), self._said(given, "ever")
        else:
            when = self._said(hazard, *(key for key in hazard if key not in _NO_TIME))
            often = self._said(hazard, "probability")
        paths = dict.fromkeys(path for path, _ in (*when, *often) if path)
        return Basis(tuple(dict.fromkeys(c for _, c in when)), tuple(dict.fromkeys(c for _, c in often)), tuple(paths))

    def _said(self, declared: Mapping[str, Any], *keys: str) -> list[tuple[str, str]]:
        return [found for key in keys if declared.get(key) is not None for found in self._classes(declared[key])]

    def _classes(self, value: Any) -> Iterator[tuple[str, str]]:
        """Yield path (empty for a number in its place) and provenance class of all that a value refers to."""
        if isinstance(value, Mapping | list):
            for item in value.values() if isinstance(value, Mapping) else value:
                yield from self._classes(item)
        elif isinstance(value, str) and value.startswith(_PREFIX):
            path = value.removeprefix(_PREFIX)
            for name, leaf in self.declared.items():
                if name == path or name.startswith(f"{path}."):
                    yield path, str(leaf.get("provenance", "assumed"))
        else:
            yield "", "assumed"


def grounds_of(tree: xr.DataTree) -> Grounds:
    """Return what the record of a tree says; without a record, nothing."""
    record = tree.root.attrs
    config, parameters = json.loads(record.get("config", "{}")), json.loads(record.get("parameters", "{}"))
    model, course = config.get("model") or {}, config.get("course") or {}
    return Grounds(
        events=model.get("events") or {},
        states=tuple(model.get("states") or ()),
        initial=str(model.get("initial") or ""),
        absorbing=tuple(model.get("absorbing") or ()),
        by_administration=course.get("response") == "per_administration",
        declared=parameters.get("declared") or {},
    )
