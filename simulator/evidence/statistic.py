"""What a simulated study must compute to get the same number as a paper. Knows estimators, variables and subgroups by
name; knows no figure and no model.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from simulator.configuration.fields import Declared, Name, Number, Text, Time
from simulator.configuration.messages import Wrong
from simulator.errors import MISSING, Problem

Estimator = Literal[
    "proportion",
    "kaplan_meier_median",
    "kaplan_meier_median_midpoint",
    "kaplan_meier_landmark",
    "restricted_mean",
    "naive_median",
    "median",
    "mean",
    "minimum",
    "maximum",
    "mode_share",
    "hazard_ratio",
    "log_rank_p",
]
Comparison = Literal["difference", "ratio"]

_SUMMARIES = ("follow_up", "administrations", "administrations_before", "dose", "entered", "event")
_SUITED: dict[str, tuple[str, ...]] = {
    "proportion": ("adverse_event", "state", "population", "entered", "event"),
    **dict.fromkeys(
        ("kaplan_meier_median", "kaplan_meier_median_midpoint", "kaplan_meier_landmark", "restricted_mean"),
        ("survival",),
    ),
    "naive_median": ("survival", "follow_up"),
    **dict.fromkeys(("median", "mean", "minimum", "maximum"), _SUMMARIES),
    "mode_share": ("administrations", "administrations_before", "dose"),
    **dict.fromkeys(("hazard_ratio", "log_rank_p"), ("survival",)),
}
_OF_TWO_GROUPS = ("hazard_ratio", "log_rank_p")
_WITH_LIMITS = ("kaplan_meier_median", "kaplan_meier_landmark", "hazard_ratio")
_AT_A_TIME = ("kaplan_meier_landmark", "restricted_mean")
_PLAIN = ("survival", "follow_up", "administrations", "dose", "entered")
_NAMING = ("administrations_before", "adverse_event", "state", "population")
DOTTED = re.compile(r"^[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*$")


@dataclass(frozen=True)
class Variable:
    """A column of the study data: ``kind`` is one of the reserved words or ``event``."""

    kind: str
    name: str | None = None
    outcome: str | None = None


def variable(text: str) -> Variable:
    """Return the parts of a column's name; ValueError where it cannot be one."""
    kind, *rest = text.split(".")
    if not DOTTED.match(text) or len(rest) > 1:
        raise ValueError("must be a name, or two names with a dot between, as in 'response.complete'")
    if kind in _PLAIN:
        if rest:
            raise ValueError(f"{kind!r} takes no second name")
        return Variable(kind)
    if kind in _NAMING:
        if not rest:
            raise ValueError(f"needs a second name, as in '{kind}.<name>'")
        return Variable(kind, rest[0])
    return Variable("event", kind, rest[0] if rest else None)


class Where(Declared):
    """A subgroup of the population; several keys narrow it together."""

    stratum: Name | None = None
    """Patients of this stratum."""
    arm: Name | None = None
    """Patients of this arm."""
    status: Literal["alive", "dead"] | None = None
    """Those whose death was not seen, or was."""
    ever: Name | None = None
    """Those in whom this event, or what sets this marker, was seen."""
    never: Name | None = None
    """Those in whom it was not."""
    landmark: Time | None = Field(default=None, gt=0)
    """Those who are still under observation then (x > t); `ever` and `never` look no further."""

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if self.ever is not None and self.ever == self.never:
            raise Wrong([Problem("never", self.never, "nobody is left: the same name stands under ever")])
        return self


class Confidence(Declared):
    """One end of a confidence interval around an estimate; see `study.confidence`."""

    end: Literal["lower", "upper"]
    """Which end of the interval."""
    level: Annotated[Number, Field(gt=0, lt=1)] = 0.95
    """Its level."""
    scale: Literal["plain", "log", "log_log"] | None = None
    """Scale on which a Kaplan–Meier interval is symmetric; `log_log` if left out."""


class Statistic(Declared):
    """What a simulated study must compute to get the same number as the paper."""

    estimator: Estimator
    """How it is computed."""
    variable: Text
    """Of what."""
    population: Name = "treated"
    """Population of the study whose members count."""
    where: Where = Where()
    """Subgroup of the population."""
    against: Where | None = None
    """The other of two groups."""
    comparison: Comparison | None = None
    """Of an estimate in `where` and one in `against`."""
    confidence: Confidence | None = None
    """One end of a confidence interval instead of the estimate."""
    time: Time | None = None
    """Of `kaplan_meier_landmark`: when; of `restricted_mean`: until when."""
    value: Number | None = None
    """Of `mode_share`: the value whose share was printed."""
    extend: bool = False
    """Of `kaplan_meier_landmark` and `restricted_mean`: whether the curve keeps its last value beyond all follow-up,
    where it is undefined otherwise."""

    @model_validator(mode="after")
    def _combines(self) -> Self:
        wrong = []
        try:
            kind = variable(self.variable).kind
        except ValueError as error:
            raise Wrong([Problem("variable", self.variable, str(error))]) from None
        if kind not in _SUITED[self.estimator]:
            fit = [name for name, kinds in _SUITED.items() if kind in kinds]
            allowed = f"{self.estimator} has no meaning for it; it may have: {', '.join(fit)}"
            wrong.append(Problem("variable", self.variable, allowed))
        for key, estimators, what in (
            ("time", _AT_A_TIME, "days, or text with a unit such as '1 y'"),
            ("value", ("mode_share",), "the value whose share was printed"),
        ):
            given = getattr(self, key)
            if self.estimator in estimators and given is None:
                wrong.append(Problem(key, MISSING, f"must be given for {self.estimator}: {what}"))
            if self.estimator not in estimators and given is not None:
                wrong.append(Problem(key, given, f"only {' or '.join(estimators)} takes it, not {self.estimator}"))
        if self.extend and self.estimator not in _AT_A_TIME:
            wrong.append(Problem("extend", True, f"only {' or '.join(_AT_A_TIME)} takes it, not {self.estimator}"))
        if self.time is not None and self.time <= 0:
            wrong.append(Problem("time", self.time, "must be > 0 days"))
        wrong += [*self._wrong_groups(), *self._wrong_confidence()]
        if wrong:
            raise Wrong(wrong)
        return self

    def _wrong_groups(self) -> Iterator[Problem]:
        compares = self.estimator in _OF_TWO_GROUPS
        if self.against is None and (compares or self.comparison):
            what = self.estimator if compares else f"a {self.comparison}"
            yield Problem("against", MISSING, f"must be given for {what}: the group that `where` is compared with")
        if self.comparison is not None and compares:
            yield Problem(
                "comparison", self.comparison, f"{self.estimator} compares two groups by itself: leave it out"
            )
        if self.against is not None:
            if self.comparison is None and not compares:
                yield Problem("comparison", MISSING, "must be given with against: difference or ratio")
            if self.against == self.where:
                same = str(self.against.model_dump(exclude_none=True))
                yield Problem("against", same, "must be another group than `where`")

    def _wrong_confidence(self) -> Iterator[Problem]:
        if self.confidence is None:
            return
        if self.comparison is not None or self.estimator not in _WITH_LIMITS:
            share = self.estimator == "proportion" and self.comparison is None
            why = "the interval of a share says no more than its count" if share else "no interval of it is known"
            allowed = f"{why}; {', '.join(_WITH_LIMITS)} may have one, without comparison"
            yield Problem("confidence", self.confidence.end, allowed)
        elif self.estimator == "hazard_ratio" and self.confidence.scale is not None:
            yield Problem("confidence.scale", self.confidence.scale, "is for Kaplan-Meier intervals: leave it out")

    @property
    def named(self) -> str:
        """The estimator, and what of it: ``ratio of kaplan_meier_median``, ``lower 95 % of hazard_ratio``."""
        if self.confidence is not None:
            return f"{self.confidence.end} {100 * self.confidence.level:g} % of {self.estimator}"
        return f"{self.comparison} of {self.estimator}" if self.comparison else self.estimator

    @property
    def unitless(self) -> bool:
        """Whether it is a ratio or a p value, a number of its own kind."""
        return self.comparison == "ratio" or self.estimator in _OF_TWO_GROUPS

    @property
    def column(self) -> Variable:
        """The variable in its parts."""
        return variable(self.variable)
