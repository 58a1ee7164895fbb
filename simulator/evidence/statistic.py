"""What a simulated study must compute to get the same number as a paper: an estimator of a variable in a subgroup."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from simulator.configuration.fields import Declared, Name, Number, Text, Time
from simulator.configuration.messages import Wrong
from simulator.endpoints.base import Endpoint, Variable
from simulator.endpoints.estimators import ESTIMATORS, Estimator, names_of
from simulator.endpoints.registry import ENDPOINTS, variable
from simulator.errors import MISSING, Problem

if TYPE_CHECKING:
    EstimatorName = str
else:
    EstimatorName = Literal[tuple(ESTIMATORS)]
ComparisonName = Literal["difference", "ratio"]


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

    estimator: EstimatorName
    """How it is computed."""
    variable: Text
    """Of what."""
    population: Name = "treated"
    """Population of the study whose members count."""
    where: Where = Where()
    """Subgroup of the population."""
    against: Where | None = None
    """The other of two groups."""
    comparison: ComparisonName | None = None
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
        if ENDPOINTS[kind].kind not in self.record.kinds:
            fit = [name for name, record in ESTIMATORS.items() if ENDPOINTS[kind].kind in record.kinds]
            allowed = f"{self.estimator} has no meaning for it; it may have: {', '.join(fit)}"
            wrong.append(Problem("variable", self.variable, allowed))
        for key, what in (
            ("time", "days, or text with a unit such as '1 y'"),
            ("value", "the value whose share was printed"),
        ):
            given, needed = getattr(self, key), getattr(self.record, key)
            if needed and given is None:
                wrong.append(Problem(key, MISSING, f"must be given for {self.estimator}: {what}"))
            if not needed and given is not None:
                wrong.append(Problem(key, given, self._only(key)))
        if self.extend and not self.record.time:
            wrong.append(Problem("extend", True, self._only("time")))
        if self.time is not None and self.time <= 0:
            wrong.append(Problem("time", self.time, "must be > 0 days"))
        wrong += [*self._wrong_groups(), *self._wrong_confidence()]
        if wrong:
            raise Wrong(wrong)
        return self

    def _only(self, key: str) -> str:
        return f"only {' or '.join(names_of(of=key))} takes it, not {self.estimator}"

    def _wrong_groups(self) -> Iterator[Problem]:
        compares = self.record.two_groups
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
        if self.comparison is not None or not self.record.interval:
            share = self.record.closed_form == "share" and self.comparison is None
            why = "the interval of a share says no more than its count" if share else "no interval of it is known"
            allowed = f"{why}; {', '.join(names_of(of='interval'))} may have one, without comparison"
            yield Problem("confidence", self.confidence.end, allowed)
        elif self.record.two_groups and self.confidence.scale is not None:
            yield Problem("confidence.scale", self.confidence.scale, "is for Kaplan-Meier intervals: leave it out")

    @property
    def record(self) -> Estimator:
        """What is known of the estimator."""
        return ESTIMATORS[self.estimator]

    @property
    def endpoint(self) -> Endpoint:
        """What is known of what it is of."""
        return ENDPOINTS[self.column.kind]

    @property
    def plain(self) -> bool:
        """Whether it is the estimator itself: no comparison of two estimates, no end of an interval."""
        return self.comparison is None and self.confidence is None

    @property
    def closed_form(self) -> str:
        """Which closed form of its endpoint gives its likelihood: ``curve`` or ``share``; empty where there is none."""
        form = self.record.closed_form if self.plain else ""
        return "" if form == "curve" and self.endpoint.curve is None else form

    @property
    def on_a_curve(self) -> bool:
        """Whether it is a point of a Kaplan-Meier curve."""
        return self.plain and bool(self.record.point) and self.record.censoring

    @property
    def counted(self) -> bool:
        """Whether it is a whole count of patients over a denominator."""
        return self.plain and self.record.counted

    @property
    def unit(self) -> str:
        """Unit of its values as results show them; ``1`` of shares, ratios and p values."""
        return "1" if self.unitless or self.record.share else self.endpoint.unit

    @property
    def named(self) -> str:
        """The estimator, and what of it: ``ratio of kaplan_meier_median``, ``lower 95 % of hazard_ratio``."""
        if self.confidence is not None:
            return f"{self.confidence.end} {100 * self.confidence.level:g} % of {self.estimator}"
        return f"{self.comparison} of {self.estimator}" if self.comparison else self.estimator

    @property
    def unitless(self) -> bool:
        """Whether it is a ratio or a p value, a number of its own kind."""
        return self.comparison == "ratio" or self.record.two_groups

    @property
    def ratio(self) -> bool:
        """Whether it is a ratio of two groups."""
        return self.comparison == "ratio" or self.record.ratio

    @property
    def column(self) -> Variable:
        """The variable in its parts."""
        return variable(self.variable)
