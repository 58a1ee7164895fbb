"""Printed medians and landmarks of survival, gathered into one exact statement.

Applies where nobody was censored before the printed times: then a landmark is a whole count of the stratum, a median
one of its deaths (EVIDENCE B3). Whatever does not fit is refused by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from calibration.likelihoods.closed_forms import CURE, narrowed, no_closed_form, statistic_of, wrong
from calibration.likelihoods.order_statistics import Cut, OrderStatistic, median_rank, merged, paths_of
from calibration.likelihoods.terms import DeathCounts, Sample, SurvivalTerm, Term
from simulator.configuration.values import Problems
from simulator.errors import MISSING
from simulator.evidence.entries import EvidenceEntry, listed

ALL = None
"""The stratum of what was printed of all patients, in a cohort of several strata."""


@dataclass
class PrintedCurves:
    """What was printed of the survival of each stratum, and of all of them (the stratum ``ALL``).

    ``survivors``: counts that percentages stand for, by entry, where no whole count prints them.
    ``follow_up``: days for which all patients are followed if alive.
    """

    sizes: Mapping[str, int]
    survivors: Mapping[str, int]
    follow_up: float
    problems: Problems
    landmarks: dict[str | None, list[Cut]] = field(default_factory=dict)
    medians: dict[str | None, OrderStatistic] = field(default_factory=dict)
    ids: dict[str | None, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._before = len(self.problems.found)

    @property
    def sound(self) -> bool:
        """Whether nothing was refused so far."""
        return len(self.problems.found) == self._before

    def _wrong(self, entry: EvidenceEntry, allowed: str) -> None:
        wrong(self.problems, entry, allowed)

    def _size(self, stratum: str | None) -> int:
        return sum(self.sizes.values()) if stratum is ALL else self.sizes[stratum]

    def _place(self, stratum: str | None) -> str | None:
        """A cohort without strata has one, which is all patients."""
        return next(iter(self.sizes)) if stratum is ALL and len(self.sizes) == 1 else stratum

    def add(self, entry: EvidenceEntry) -> None:
        statistic = statistic_of(entry)
        narrower = narrowed(statistic)
        if statistic.population != "treated" or narrower:
            of = f"those of `where.{narrower}`" if narrower else f"population {statistic.population}"
            why = "only that of all treated, or of a stratum, is known"
            no_closed_form(self.problems, entry, f"{statistic.variable} of {of}", why)
            return
        stratum = self._place(statistic.where.stratum)
        size = self._size(stratum)
        if size == 0:
            self._wrong(entry, f"is about {stratum}, in which the cohort has no patients")
            return
        if entry.denominator is not None and entry.denominator != size:
            self._wrong(
                entry, f"has {entry.denominator} patients as denominator, and the cohort {size}; they must agree"
            )
            return
        if statistic.record.point == "landmark":
            self._landmark(entry, stratum, size, float(statistic.time or 0.0))
            return
        if statistic.record.midpoint and size % 2 == 0:
            why = f"of {size}, an even number, it is the middle of two deaths"
            no_closed_form(self.problems, entry, "the midpoint median", why)
            return
        limits = entry.limits
        if limits is None:
            self._wrong(entry, "must have a figure in its printed text, whose last decimal tells the rounding")
            return
        self._median(entry, stratum, OrderStatistic(median_rank(size), max(limits[0], 0.0), limits[1]))

    def _landmark(self, entry: EvidenceEntry, stratum: str | None, size: int, time: float) -> None:
        self._followed(entry, time)
        assumed, printing = self.survivors.get(entry.id), entry.counts_of(size)
        alive = list(printing) if assumed is None else [assumed]
        here = f"calibration.survivors.{entry.id}"
        if assumed is not None and assumed > size:
            self._wrong(entry, f"{here}.count is {assumed}, more than {size} patients")
        elif assumed is not None and printing:
            self._wrong(entry, f"is printed by {listed(f'{count}/{size}' for count in printing)}: leave out {here}")
        elif not alive:
            why = f"no count of {size} prints it, so someone was censored before"
            no_closed_form(self.problems, entry, "a censored curve", f"{why} (or name the count it stands for: {here})")
        self.landmarks.setdefault(stratum, []).append(Cut(time, tuple(sorted(size - count for count in alive))))
        self.ids.setdefault(stratum, []).append(entry.id)
        if stratum is ALL and len({cut.time for cut in self.landmarks[ALL]}) > 1:
            self._wrong(entry, f"is the second landmark of all strata together; one is possible so far; {CURE}")

    def _median(self, entry: EvidenceEntry, stratum: str | None, median: OrderStatistic) -> None:
        self._followed(entry, median.lower if median.upper == float("inf") else median.upper)
        if stratum in self.medians:
            self._wrong(entry, f"is the second median of one group; {CURE}")
        self.medians[stratum] = median
        self.ids.setdefault(stratum, []).append(entry.id)

    def _followed(self, entry: EvidenceEntry, time: float) -> None:
        if time >= self.follow_up:
            why = f"patients are censored before day {time:g}; complete follow-up ends at day {self.follow_up:g}"
            no_closed_form(self.problems, entry, "a censored curve", why)

    def terms(self, curves: Mapping[str, SurvivalTerm]) -> Iterator[Term]:
        """Yield one term a stratum, or one for all where something was printed of all."""
        samples = {
            stratum: Sample(curves[stratum], size, merged(self.landmarks.get(stratum, [])), self.medians.get(stratum))
            for stratum, size in self.sizes.items()
        }
        for stratum, sample in samples.items():
            if not len(paths_of(sample.landmarks, sample.size, sample.median)):
                self._contradict(self.ids[stratum], f"of {sample.size} patients in {stratum}, no curve prints all")
        if self.ids.get(ALL):
            landmark = next(iter(merged(self.landmarks.get(ALL, []))), None)
            if landmark is not None and not self._add_up(samples.values(), landmark):
                everything = [name for ids in self.ids.values() for name in ids]
                self._contradict(
                    everything, f"the strata's deaths by day {landmark.time:g} cannot add up to those of all"
                )
            if self.sound:
                ids = tuple(name for names in self.ids.values() for name in names)
                yield DeathCounts(ids, tuple(samples.values()), landmark, self.medians.get(ALL))
            return
        if self.sound:
            for place, names in self.ids.items():
                if place is not ALL:
                    yield DeathCounts(tuple(names), (samples[place],))

    @staticmethod
    def _add_up(samples: Iterable[Sample], landmark: Cut) -> bool:
        """Whether the strata's possible deaths by the landmark can sum to one of its own."""
        sums = {0}
        for sample in samples:
            cuts = merged([*sample.landmarks, Cut(landmark.time, tuple(range(sample.size + 1)))])
            place = [cut.time for cut in cuts].index(landmark.time)
            counts = {int(path[place]) for path in paths_of(cuts, sample.size, sample.median)}
            sums = {a + b for a in sums for b in counts}
        return bool(sums & set(landmark.deaths))

    def _contradict(self, names: Sequence[str], why: str) -> None:
        self.problems.add(
            f"evidence.entries.{names[0]}", MISSING, f"contradicts {listed(names[1:]) or 'itself'}: {why}"
        )
