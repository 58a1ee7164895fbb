"""One reported figure: how it was printed, where, and the statistic that a simulated study computes for it."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from simulator import units
from simulator.configuration.fields import Declared, Number, Text
from simulator.configuration.messages import Wrong
from simulator.endpoints.base import ADMINISTRATIONS
from simulator.endpoints.estimators import names_of
from simulator.endpoints.registry import DOTTED
from simulator.errors import MISSING, Problem
from simulator.evidence.printed import Figure, figures, has_percent
from simulator.evidence.statistic import EstimatorName, Statistic

ROOT = "evidence"
Label = EstimatorName | Literal["range", "not_reached"]
Bound = Literal["below", "above"]
Role = Literal["fitted", "used", "held_out", "borrowed"]
Count = Annotated[int, Field(ge=0, le=10_000_000)]

TINY = 1e-9
MOST_LISTED = 40
_NORMALISED = "say what is meant in `normalised`"


class Source(Declared):
    """Where a figure stands: a file of the evidence's sources, and a place in it."""

    file: Text
    """One of the `sources`."""
    locator: Text
    """Place in it."""


@dataclass(frozen=True)
class Check:
    """One thing checked about the evidence; ``key`` is where to mend it when it did not pass."""

    entry: str
    what: str
    outcome: str
    passed: bool
    key: str = ""
    value: object = MISSING


class EvidenceEntry(Declared):
    """One reported figure or statement. With a ``statistic`` it is a target."""

    id: Text
    """Name, or two with a dot, as `D05.min`; unique."""
    name: Text
    """What was reported, for the tables."""
    printed: Text
    """As it was printed."""
    normalised: Text | None = None
    """What `printed` means, where it holds misprints or words."""
    value: Number | None = None
    """The figure, in the printed unit; needed for a target."""
    bound: Bound | None = None
    """Whether the figure is only a bound of the statistic, and from which side."""
    interval: Annotated[list[Number], Field(min_length=2, max_length=2)] | None = None
    """A range that was printed."""
    unit: Text
    """`%`, `1`, `patients`, a time, `administrations`, a dose, or anything else."""
    numerator: Count | None = None
    """Count behind a share, where it is known."""
    denominator: Annotated[int, Field(ge=1)] | None = None
    """Patients behind a share or mean, where they are known."""
    denominator_unknown: bool = False
    """The paper does not say the denominator of this proportion."""
    population: Text
    """Of whom, in words."""
    kind: Literal["statistic", "design", "dose", "qualitative"]
    """What the entry is; `statistic` for targets."""
    estimator: Label | None = None
    """Label of an entry that is no target."""
    source: Source
    """Where it stands."""
    provenance: Literal["reported", "derived", "read", "borrowed", "assumed"]
    """How the figure was come by."""
    formula: Text | None = None
    """Of a derived figure: how."""
    citation: Text | None = None
    """Of a borrowed figure: from where."""
    note: Text | None = None
    """Of a read or assumed figure: other interpretations, or the reason."""
    role: Role | None = None
    """Of a target: `fitted` by a calibration; `used`, a person chose a value of the model by it; `held_out`, neither;
    `borrowed` from elsewhere."""
    statistic: Statistic | None = None
    """What makes the entry a target: every simulated study computes it."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        wrong = []
        if not DOTTED.match(self.id):
            wrong.append(Problem("id", self.id, "must be a name, with a dotted part for one end of a range"))
        needs = {"derived": "formula", "borrowed": "citation", "read": "note", "assumed": "note"}
        need = needs.get(self.provenance)
        if need and getattr(self, need) is None:
            why = {"read": "; name the other interpretations", "assumed": "; give the reason"}
            allowed = f"must be given when provenance is {self.provenance}{why.get(self.provenance, '')}"
            wrong.append(Problem(need, MISSING, allowed))
        if self.numerator is not None and self.denominator is None:
            wrong.append(Problem("denominator", MISSING, "must be given with a numerator"))
        if self.denominator_unknown and self.denominator is not None:
            wrong.append(Problem("denominator", self.denominator, "must be left out where it is unknown"))
        if self.statistic is None:
            for key in ("role", "bound"):
                if getattr(self, key) is not None:
                    wrong.append(Problem(key, getattr(self, key), f"only an entry with a statistic has a {key}"))
        else:
            wrong += self._wrong_for_target(self.statistic)
        if wrong:
            raise Wrong(wrong)
        return self

    def _wrong_for_target(self, statistic: Statistic) -> Iterator[Problem]:
        if self.kind != "statistic":
            yield Problem("kind", self.kind, "must be statistic, since a statistic is given")
        if self.value is None:
            what = "in the printed unit" if self.bound is None else f"the {self.unit} that it was {self.bound}"
            yield Problem("value", MISSING, f"must be given for a target, {what}")
        if self.role is None:
            yield Problem("role", MISSING, "must be given for a target: fitted, used, held_out or borrowed")
        if self.estimator is not None:
            yield Problem("estimator", self.estimator, "must be left out: the statistic names it")
        if self.bound is not None and self.numerator is not None:
            yield Problem("numerator", self.numerator, "must be left out: a bound is no count")
        if statistic.against is not None:
            for key in ("numerator", "denominator"):
                if getattr(self, key) is not None:
                    yield Problem(key, getattr(self, key), "must be left out: two groups have one each")
        yield from self._wrong_unit(statistic)
        counted = statistic.record.counted and statistic.against is None
        if counted and self.denominator is None and not self.denominator_unknown:
            allowed = "must be given, or denominator_unknown: true where the paper does not say"
            yield Problem("denominator", MISSING, allowed)

    def _wrong_unit(self, statistic: Statistic) -> Iterator[Problem]:
        share = statistic.record.share
        if statistic.unitless:
            if self.unit != "1":
                yield Problem("unit", self.unit, f"must be 1 for the {statistic.named}")
        elif share and self.unit not in ("%", "1", "patients"):
            yield Problem("unit", self.unit, f"must be %, 1 or patients for {statistic.estimator}")
        elif self.unit == "patients" and not self.counted:
            yield Problem("unit", self.unit, "patients are a target only as numerator of a denominator")
        elif not share and (wrong := statistic.endpoint.wrong_unit(self.unit, time=self.time)):
            yield Problem("unit", self.unit, wrong)

    @property
    def is_target(self) -> bool:
        """Whether a simulated study computes it."""
        return self.statistic is not None

    @property
    def estimator_name(self) -> str | None:
        """The estimator of a target, what of it, and its bound (``kaplan_meier_median, above``); a label elsewhere."""
        if self.statistic is None:
            return self.estimator
        return f"{self.statistic.named}, {self.bound}" if self.bound else self.statistic.named

    @property
    def time(self) -> bool:
        """Whether its unit is one of time."""
        return _days_per(self.unit) is not None

    @property
    def counted(self) -> bool:
        """Whether it is a proportion whose numerator and denominator are both known."""
        known = self.numerator is not None and self.denominator is not None
        return known and self.estimator_name in names_of(of="counted")

    @property
    def reported(self) -> float | None:
        """n/N where counted, else the value: shares 0-1, times in days, anything else as printed."""
        if self.counted and self.numerator is not None and self.denominator is not None:
            return self.numerator / self.denominator
        return None if self.value is None else self.scaled(self.value)

    @property
    def half_width(self) -> float | None:
        """Half a printed unit on the scale of ``reported``; half a patient where counted; 0 of a bound."""
        if self.bound is not None:
            return 0.0
        if self.counted and self.denominator is not None:
            return 0.5 / self.denominator
        decimals = self.decimals
        return None if decimals is None else self.scaled(0.5 * 10.0**-decimals)

    @property
    def decimals(self) -> int | None:
        """Decimals of the printed figure (negative for powers of ten); None when no figure is the value."""
        return next((figure.decimals for figure in self._figures), None)

    @property
    def _text(self) -> str:
        return self.normalised or self.printed

    @property
    def _figures(self) -> list[Figure]:
        """The printed figures that are the value: with its unit, if any has it; those in no range before others."""
        if self.value is None:
            return []
        value, unsigned = self.value, abs(self.value) if self._difference else self.value  # "12 % fewer"
        found = [f for f in figures(self._text) if f.prints(value) or (not f.signed and f.prints(unsigned))]
        own_unit = _printed_unit(self.unit)
        chosen = [f for f in found if f.unit == own_unit] if own_unit else []
        chosen = chosen or [f for f in found if f.unit is None] or found
        return [f for f in chosen if not f.in_range] or chosen

    @property
    def limits(self) -> tuple[float, float] | None:
        """What prints as this: from where to where, on the scale of ``reported``; ends of a bound are infinite."""
        value, half = self.reported, self.half_width
        if value is None or half is None:
            return None
        if self.bound is not None:
            return (-math.inf, value) if self.bound == "below" else (value, math.inf)
        return value - half, value + half

    @property
    def _difference(self) -> bool:
        return self.statistic is not None and self.statistic.comparison == "difference"

    def scaled(self, figure: float) -> float:
        """Return a figure in the printed unit as a share 0-1, in days, or as it is."""
        return figure / 100 if self.unit == "%" else figure * (_days_per(self.unit) or 1.0)

    def verify(self) -> list[Check]:
        """Return what the entry's own arithmetic says."""
        return list(self._verified())

    def _verified(self) -> Iterator[Check]:
        n, of, value = self.numerator, self.denominator, self.value
        check = functools.partial(check_of, self.id)
        if value is not None:
            yield from self._verified_text(value)
            if self.statistic is not None and self.statistic.unitless and self.statistic.ratio:
                yield check("value", "a ratio is not negative", f"{value:g}", value >= 0, value)
            elif self.unit in ("%", "1"):
                most = 100 if self.unit == "%" else 1
                least = -most if self._difference else 0
                yield check("value", f"between {least} and {most}", f"{value:g}", least <= value <= most, value)
            elif _days_per(self.unit) is not None and not self._difference:
                yield check("value", "a time is not negative", f"{value:g} {self.unit}", value >= 0, value)
        if n is not None and of is not None:
            yield check("numerator", "numerator at most the denominator", f"{n} of {of}", n <= of, n)
            yield from self._verified_counts(n, of)
        elif of is not None and self.estimator_name in (*names_of(of="counted"), "mean"):
            whole = self.estimator_name != "mean" or self.unit == ADMINISTRATIONS
            counts = self.counts_of(of)
            outcome = listed(f"{count}/{of}" for count in counts) or f"no count of {of} prints {self.printed}"
            if whole:
                yield check("denominator", "a whole count prints the figure", outcome, bool(counts), of)
        if self.interval is not None:
            low, high = self.interval
            inside = low < high and (value is None or low <= value <= high)
            outcome = f"{low:g} to {high:g}" + ("" if value is None else f" around {value:g}")
            yield check("interval", "ends in order, the value between them", outcome, inside, self.interval)

    def _verified_text(self, value: float) -> Iterator[Check]:
        """Check that the text holds the value, and that it is no figure of something else."""
        check, text, found = functools.partial(check_of, self.id), self._text, self._figures
        absent = f"{value:g} does not stand in {text!r}; {_NORMALISED}"
        stands = f"{value:g} stands in {text!r}" if found else absent
        yield check("printed", "the printed text holds the value", stands, bool(found), text)
        own_unit = _printed_unit(self.unit)
        share = self.unit == "1" and self.statistic is not None and self.statistic.record.share
        named = "1" if share else own_unit
        others = {f.unit for f in found if f.unit is not None and f.unit != named}
        if named and found and all(f.unit in others for f in found):
            outcome = f"{value:g} is printed in {listed(sorted(map(str, others)))}, the unit is {self.unit}"
            yield check("unit", "the printed figure has the unit", f"{outcome}; {_NORMALISED}", False, self.unit)
        if self.statistic is None or self.bound is not None or not found:
            return
        if not self.counted and len(precisions := {f.decimals for f in found}) > 1:
            outcome = f"{text!r} prints {value:g} with {listed(sorted(precisions))} decimals; {_NORMALISED}"
            yield check("printed", "the value is printed with one precision", outcome, False, text)
        end = self.statistic.confidence is not None or self.statistic.estimator in ("minimum", "maximum")
        if not end and all(f.in_range for f in found):
            outcome = f"{value:g} is one end of {text!r}; give an interval and no value, or {_NORMALISED}"
            yield check("value", "the value is a figure, not the end of a range", outcome, False, value)

    def doubts(self) -> Iterator[str]:
        """Yield what is legal but surely not meant."""
        if self.unit == "%" and self.value is not None and self.decimals is not None and not has_percent(self._text):
            yield (
                f"{ROOT}.entries.{self.id}.unit = %: {self._text!r} has no percent sign, so {self.value:g} is taken as "
                f"{self.value:g} %; if it is a share of 1, the unit is '1', else {_NORMALISED}"
            )

    def _verified_counts(self, n: int, of: int) -> Iterator[Check]:
        check = functools.partial(check_of, self.id)
        if self.unit == "patients" and self.value is not None:
            yield check("numerator", "numerator is the printed count", f"{n}", n == self.value, n)
        elif self.unit in ("%", "1") and self.counted and self.decimals is not None:
            figure = (100 if self.unit == "%" else 1) * n / of
            outcome = f"{n}/{of} is {figure:.{self.decimals + 2}f}, printed {self.printed}"
            yield check("numerator", "n/N prints the figure within rounding", outcome, self._prints(figure), n)

    def _prints(self, figure: float) -> bool:
        """Whether a figure in the printed unit rounds to the printed value, a tie either way, or keeps its bound."""
        if self.value is None or self.decimals is None:
            return False
        return _within(self.value, 0.5 * 10.0**-self.decimals, figure, self.bound)

    def counts_of(self, denominator: int) -> range:
        """Return the whole counts of ``denominator`` that print as this share or mean."""
        value, decimals = self.value, self.decimals
        if value is None or decimals is None:
            return range(0)
        factor = denominator / (100 if self.unit == "%" else 1)
        half = 0.5 * 10.0**-decimals if self.bound is None else 0.0
        least = 0 if self.bound == "below" else max(0, math.ceil((value - half - TINY) * factor))
        most = denominator if self.bound == "above" else math.floor((value + half + TINY) * factor)
        # the product may be rounded to the wrong side of a whole number
        while least > 0 and _within(value, half, (least - 1) / factor, self.bound):
            least -= 1
        while least <= most and not _within(value, half, least / factor, self.bound):
            least += 1
        while most >= least and not _within(value, half, most / factor, self.bound):
            most -= 1
        while self.bound != "above" and _within(value, half, (most + 1) / factor, self.bound):
            most += 1
        return range(least, (most if self.bound is None else min(most, denominator)) + 1)


def _within(value: float, half: float, figure: float, bound: str | None) -> bool:
    """Whether a figure rounds to a printed value, a tie either way, or keeps the bound that it prints."""
    if bound is not None:
        return figure <= value + TINY if bound == "below" else figure >= value - TINY
    return abs(figure - value) <= half + TINY


def _printed_unit(unit: str) -> str | None:
    """Return what `printed.figures` calls a unit; None of one that it does not know."""
    if unit in ("%", "patients"):
        return unit
    per = _days_per(unit)
    return next((name for name, days in units.DAYS_PER.items() if days == per), None)


def _days_per(unit: str) -> float | None:
    try:
        return units.days(f"1 {unit}")
    except ValueError:
        return None


def check_of(entry: str, key: str, what: str, outcome: str, passed: bool, value: object = MISSING) -> Check:
    """Return a check of one key of an entry."""
    return Check(entry, what, outcome, passed, f"{ROOT}.entries.{entry}.{key}", value)


def listed(items: Iterable[object]) -> str:
    """Return items with commas between; of many the first ones."""
    shown = list(itertools.islice(map(str, items), MOST_LISTED + 1))
    return ", ".join(shown if len(shown) <= MOST_LISTED else [*shown[:MOST_LISTED], "…"])
