"""How reported figures must agree with one another."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Self

from pydantic import Field, model_validator

from simulator.configuration.fields import Declared, Text
from simulator.configuration.messages import Wrong
from simulator.errors import MISSING, Problem, unknown
from simulator.evidence.entries import TINY, Check, Count, EvidenceEntry, check_of, listed
from simulator.evidence.statistic import Where

FIELDS = ("numerator", "denominator", "value", "at")
ENDS = {"min": "max", "lower": "upper"}
MOST_DENOMINATORS = 10_000
KINDS = ("sum", "order", "equal", "prints")
Terms = Annotated[list[Text], Field(min_length=2)]


class Relation(Declared):
    """How entries must agree. Exactly one of ``sum``, ``order``, ``equal``, ``prints``.

    A term is ``<id>.<field>``, the field one of numerator, denominator, value (times in days, shares 0-1)
    and ``at`` (the time of a landmark, the value of a mode). ``sum`` needs ``equals`` or ``at_most``;
    ``order`` is non-decreasing; ``prints``: of the ``denominators`` from the first to the last, ``only``
    these have a whole count that prints as the entry does.
    """

    sum: Terms | None = None
    """Terms that add up to `equals`, or to at most `at_most`."""
    equals: Text | None = None
    """Term that the sum equals."""
    at_most: Text | None = None
    """Term that the sum does not exceed."""
    order: Terms | None = None
    """Terms that do not fall."""
    equal: Terms | None = None
    """Terms that are equal."""
    prints: Text | None = None
    """Id of an entry, of whose `denominators` some have a whole count that prints it."""
    denominators: Annotated[list[Count], Field(min_length=2, max_length=2)] | None = None
    """The first and the last denominator that is tried."""
    only: list[Count] | None = None
    """Those that print the entry, and no others."""
    note: Text | None = None
    """For the reader."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(f"must have exactly one of {listed(KINDS)}; it has {listed(given) or 'none'}")
        wrong = []
        bounds = [key for key in ("equals", "at_most") if getattr(self, key) is not None]
        if given == ["sum"] and len(bounds) != 1:
            wrong.append(Problem("sum", self.sum, "must go with equals or with at_most, and not with both"))
        if given != ["sum"]:
            wrong += [Problem(key, getattr(self, key), "only sum takes it") for key in bounds]
        for key in ("denominators", "only"):
            value = getattr(self, key)
            if value is None and given == ["prints"]:
                wrong.append(Problem(key, MISSING, "must be given with prints"))
            elif value is not None and given != ["prints"]:
                wrong.append(Problem(key, value, "only prints takes it"))
        if self.denominators is not None and self.denominators[1] - self.denominators[0] > MOST_DENOMINATORS:
            allowed = f"must be at most {MOST_DENOMINATORS:,} apart: each of them is tried"
            wrong.append(Problem("denominators", self.denominators, allowed))
        if wrong:
            raise Wrong(wrong)
        return self

    @property
    def terms(self) -> list[str]:
        """The terms it speaks of, the bound of a sum last."""
        bound = [term for term in (self.equals, self.at_most) if term]
        return [*(self.sum or self.order or self.equal or []), *bound]

    def wrong(self, entries: Mapping[str, EvidenceEntry], here: str) -> Iterator[Problem]:
        """Yield what it refers to that does not exist."""
        if self.prints is not None and self.prints not in entries:
            yield unknown(f"{here}.prints", self.prints, entries, what="entry")
        for term in self.terms:
            entry, _, field = term.rpartition(".")
            if not entry or field not in FIELDS:
                allowed = f"must be an entry and one of {listed(FIELDS)}, as in 'D07.numerator'"
                yield Problem(here, term, allowed)
            elif entry not in entries:
                yield unknown(here, entry, entries, what="entry")
            elif _number(entries[entry], field) is None:
                yield Problem(f"entries.{entry}.{field}", MISSING, f"must be given: {here} speaks of it")

    def verify(self, entries: Mapping[str, EvidenceEntry]) -> Check:
        """Return whether the entries agree, and what was found."""
        if self.prints is not None:
            return self._verified_counts(entries[self.prints])
        terms = self.terms
        values = [_value(entries, term) for term in terms]
        shown = [f"{term} {value:g}" for term, value in zip(terms, values, strict=True)]
        if self.sum is not None:
            total, bound = sum(values[:-1]), values[-1]
            passed = abs(total - bound) < TINY if self.equals else total <= bound + TINY
            what = f"{' + '.join(terms[:-1])} {'=' if self.equals else '≤'} {terms[-1]}"
            outcome = f"{' + '.join(f'{value:g}' for value in values[:-1])} = {total:g}; {shown[-1]}"
            return _on(terms[-1], what, outcome, passed, bound)
        steps = enumerate(itertools.pairwise(values), start=1)
        bad = [i for i, (a, b) in steps if (a > b + TINY if self.order else abs(a - b) > TINY)]
        first = bad[0] if bad else 0
        what = (" ≤ " if self.order else " = ").join(terms)
        return _on(terms[first], what, listed(shown), not bad, values[first])

    def _verified_counts(self, entry: EvidenceEntry) -> Check:
        (first, last), only = self.denominators or (0, 0), self.only or []
        fits = {n: entry.counts_of(n) for n in range(max(first, 1), last + 1)}
        outcome = listed(f"{count}/{n}" for n, counts in fits.items() for count in counts) or "no count does"
        between = f"{first} to {last}" if first < last else f"{first}"
        what = f"denominators among {between} that print {entry.printed}: {listed(only) or 'none'}"
        passed = [n for n, counts in fits.items() if counts] == only
        return check_of(entry.id, "value", what, outcome, passed, entry.value)


def range_checks(entries: Mapping[str, EvidenceEntry]) -> Iterator[Check]:
    """Check that the two ends of every reported range, and of every reported interval, are in order."""
    for name, low in entries.items():
        stem, _, end = name.rpartition(".")
        high = entries.get(f"{stem}.{ENDS[end]}") if end in ENDS else None
        if high is not None and low.value is not None and high.value is not None and not (low.bound or high.bound):
            outcome = f"{low.value:g} to {high.value:g} {high.unit}"
            what = f"{'a range' if end == 'min' else 'an interval'} in order"
            ends = low.scaled(low.value), high.scaled(high.value)
            yield check_of(name, "value", what, outcome, ends[0] <= ends[1], low.value)
            middle = entries.get(stem)
            if middle is not None and middle.value is not None and not middle.bound and ends[0] <= ends[1]:
                value, half = middle.scaled(middle.value), middle.half_width or 0.0
                inside = ends[0] - half - TINY <= value <= ends[1] + half + TINY
                what = f"{stem} lies between {name} and {high.id}"
                yield check_of(stem, "value", what, f"{middle.value:g}; {outcome}", inside, middle.value)


def curve_checks(entries: Sequence[EvidenceEntry]) -> Iterator[Check]:
    """Check that landmarks of one curve fall with time, and lie on the right side of its median.

    A landmark within half a printed unit of the median may lie on either side: the median was rounded. A median that
    was not reached by a time has every landmark until then above one half.
    """
    yield from _bounded_medians(entries)
    curves: dict[tuple[str, str, Where], list[tuple[float, float, float, EvidenceEntry]]] = {}
    for entry in entries:
        statistic, reported, half = entry.statistic, entry.reported, entry.half_width
        if statistic is None or reported is None or not statistic.on_a_curve:
            continue
        if entry.bound is not None:
            continue
        median = statistic.time is None
        point = (reported, 0.5, 0.0, entry) if median else (statistic.time or 0.0, reported, half or 0.0, entry)
        curves.setdefault((statistic.variable, statistic.population, statistic.where), []).append(point)
    for points in curves.values():
        points.sort(key=lambda point: point[0])
        for (t, s, half, earlier), (u, lower, also, later) in itertools.pairwise(points):
            near = sum(e.half_width or 0.0 for e in (earlier, later) if e.statistic and e.statistic.time is None)
            if u - t <= near:
                continue
            outcome = f"{s:.3f} at {t:g} d, {lower:.3f} at {u:g} d"
            what = f"survival does not rise from {earlier.id} to {later.id}"
            yield check_of(later.id, "value", what, outcome, lower <= s + half + also + TINY, later.value)


def same_statistic_checks(entries: Sequence[EvidenceEntry]) -> Iterator[Check]:
    """Check that one curve has one value at a time, and that no estimate lies outside its own range or interval."""
    for one, other in _disagreeing(entries):
        if _is_landmark(other):
            what = f"{one.id} and {other.id} are one point of one curve, with one value"
            yield check_of(other.id, "value", what, _both(one, other), False, other.value)
    known = _by_statistic(entries)
    for entry in (entry for group in known.values() for entry in group):
        for lower in _below(entry, known):
            (least, _), (_, most) = lower.limits or (0.0, 0.0), entry.limits or (0.0, 0.0)
            what = f"{lower.id} is not above {entry.id}"
            yield check_of(entry.id, "value", what, _both(lower, entry), least <= most - TINY, entry.value)


def _by_statistic(entries: Sequence[EvidenceEntry]) -> dict[str, list[EvidenceEntry]]:
    known: dict[str, list[EvidenceEntry]] = {}
    for entry in entries:
        if entry.statistic is not None and entry.limits is not None:
            known.setdefault(repr(entry.statistic), []).append(entry)
    return known


def _disagreeing(entries: Sequence[EvidenceEntry]) -> Iterator[tuple[EvidenceEntry, EvidenceEntry]]:
    """Yield pairs of entries with one statistic of one group whose figures no single value prints."""
    for group in _by_statistic(entries).values():
        for one, other in ((group[0], other) for other in group[1:]):
            (low, high), (least, most) = one.limits or (0.0, 0.0), other.limits or (0.0, 0.0)
            if low > most - TINY or least > high - TINY:  # that a tie is rounded up here and down there is no agreement
                yield one, other


def _is_landmark(entry: EvidenceEntry) -> bool:
    return entry.statistic is not None and entry.statistic.on_a_curve and entry.statistic.time is not None


def _both(one: EvidenceEntry, other: EvidenceEntry) -> str:
    return f"{one.printed} and {other.printed}; name another group or time, or say what is meant in `normalised`"


_BELOW = {"median": ("minimum",), "mean": ("minimum",), "maximum": ("minimum", "median", "mean")}


def _below(entry: EvidenceEntry, known: Mapping[str, Sequence[EvidenceEntry]]) -> Iterator[EvidenceEntry]:
    """Yield the entries whose statistic is never above that of this one, by definition."""
    statistic = entry.statistic
    if statistic is None or statistic.comparison is not None:
        return
    for name in _BELOW.get(statistic.estimator, ()):
        yield from known.get(repr(statistic.model_copy(update={"estimator": name})), ())
    for group in known.values():
        there = group[0].statistic
        ends = [None if each is None or each.confidence is None else each.confidence.end for each in (there, statistic)]
        if there is None or ends not in (["lower", None], [None, "upper"]):
            continue
        if there.model_copy(update={"confidence": None}) == statistic.model_copy(update={"confidence": None}):
            yield from group


_LEAST_P, _MOST_P = 0.02, 0.1
"""A log-rank test and a Wald interval of 95 % part company between these."""


def doubts(entries: Sequence[EvidenceEntry]) -> Iterator[str]:
    """Yield what is legal but surely not meant.

    One statistic of one group with two values; a p value and a 95 % interval of the hazard ratio of the same groups
    that say opposite things.
    """
    for one, other in _disagreeing(entries):
        if not _is_landmark(other):
            yield f"evidence.entries.{other.id}: the statistic of {one.id} with another value: {_both(one, other)}"
    two = [e for e in entries if e.statistic is not None and e.limits is not None]
    for test in (e for e in two if e.statistic and e.statistic.estimator == "log_rank_p"):
        low, high = test.limits or (0.0, 1.0)
        for id_, ends in _hazard_ratio_intervals(test, two):
            apart, around = ends[0] > 1 or ends[1] < 1, ends[0] < 1 < ends[1]
            if (apart and low > _MOST_P) or (around and high < _LEAST_P):
                yield (
                    f"evidence.entries.{test.id}: {test.printed} and the interval {ends[0]:g} to {ends[1]:g} of {id_} "
                    f"say opposite things of the same groups; if one is misprinted, say what is meant in `normalised`"
                )


def _hazard_ratio_intervals(
    test: EvidenceEntry, entries: Sequence[EvidenceEntry]
) -> Iterator[tuple[str, tuple[float, float]]]:
    ends: dict[str, float] = {}
    for entry in entries:
        one, other = entry.statistic, test.statistic
        if one is None or other is None or one.estimator != "hazard_ratio" or entry.value is None:
            continue
        groups = {str(one.where), str(one.against)} == {str(other.where), str(other.against)}
        if not groups or one.population != other.population:
            continue
        if entry.interval is not None and one.confidence is None:
            yield entry.id, (entry.interval[0], entry.interval[1])
        if one.confidence is not None and one.confidence.level == 0.95:
            ends[one.confidence.end] = entry.value
            if len(ends) == 2:
                yield entry.id, (ends["lower"], ends["upper"])


def _bounded_medians(entries: Sequence[EvidenceEntry]) -> Iterator[Check]:
    """Check that landmarks are on the right side of medians of which a bound alone is known."""
    curves = [e for e in entries if e.statistic and e.statistic.on_a_curve]
    for median in (e for e in curves if e.bound is not None and e.statistic and e.statistic.time is None):
        by, above = median.reported or 0.0, median.bound == "above"
        for other in curves:
            own, its = median.statistic, other.statistic
            if own is None or its is None or its.time is None or other.reported is None or other.bound is not None:
                continue
            apart = its.time >= by if above else its.time <= by
            if apart or (own.variable, own.population, own.where) != (its.variable, its.population, its.where):
                continue
            half = other.half_width or 0.0
            fits = other.reported + half >= 0.5 - TINY if above else other.reported - half <= 0.5 + TINY
            what = f"survival is {'at least' if above else 'at most'} one half at day {its.time:g}, as {median.id} says"
            yield check_of(other.id, "value", what, f"{other.reported:.3f}", fits, other.value)


def count_checks(entries: Sequence[EvidenceEntry]) -> Iterator[Check]:
    """Check that counts in groups go into the count of all patients: those flagged, and those who are not.

    Strata, and arms, go into it together; any other group by itself.
    """
    counts: dict[tuple[str, ...], list[EvidenceEntry]] = {}
    all_patients: dict[tuple[str, str], EvidenceEntry] = {}
    for entry in entries:
        statistic = entry.statistic
        if statistic is None or statistic.estimator != "proportion" or not entry.counted:
            continue
        given = statistic.where.model_dump(exclude_none=True)
        if not given:
            all_patients[statistic.variable, statistic.population] = entry
        elif len(given) == 1 and next(iter(given)) in ("stratum", "arm"):
            counts.setdefault((statistic.variable, statistic.population, next(iter(given))), []).append(entry)
        elif statistic.where.landmark is None:
            counts.setdefault((statistic.variable, statistic.population, entry.id), []).append(entry)
    for (variable, population, _), parts in counts.items():
        whole = all_patients.get((variable, population))
        if whole is None or len({str(part.statistic) for part in parts}) < len(parts):
            continue
        n, of = (sum(getattr(part, key) or 0 for part in parts) for key in ("numerator", "denominator"))
        flagged, others = whole.numerator or 0, (whole.denominator or 0) - (whole.numerator or 0)
        outcome = f"{n}/{of} in {listed(part.id for part in parts)}, {whole.numerator}/{whole.denominator} in all"
        yield check_of(
            whole.id, "numerator", f"counts of {variable} in parts go into that of all",
            outcome, n <= flagged and of - n <= others, whole.numerator,
        )  # fmt: skip


def _number(entry: EvidenceEntry, field: str) -> float | None:
    if field == "value":
        return None if entry.value is None else entry.scaled(entry.value)
    if field == "at":
        return None if entry.statistic is None else entry.statistic.time or entry.statistic.value
    return entry.numerator if field == "numerator" else entry.denominator


def _value(entries: Mapping[str, EvidenceEntry], term: str) -> float:
    entry, _, field = term.rpartition(".")
    return float(_number(entries[entry], field) or 0.0)


def _on(term: str, what: str, outcome: str, passed: bool, value: float) -> Check:
    entry, _, field = term.rpartition(".")
    return check_of(entry, "statistic" if field == "at" else field, what, outcome, passed, f"{value:g}")
