"""From a cohort's evidence to likelihood terms, under one reading.

Every target with the role `fitted` becomes part of a term, or is named under `left_out`, or is refused by name: a
target that nobody can compute must not drop out without a word. Counts come from numerators, or are those that print as
the percentage; intervals are half a printed unit either side of the printed figure. Targets that are held out or
borrowed are never fitted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from calibration.likelihoods.closed_forms import (
    CURE,
    ClosedForms,
    NoClosedForm,
    ShareOf,
    no_closed_form,
    statistic_of,
    wrong,
)
from calibration.likelihoods.held import moves_of
from calibration.likelihoods.printable import beyond_follow_up, unprinted_shares
from calibration.likelihoods.printed_curves import PrintedCurves
from calibration.likelihoods.simulated import PrintedTarget, Simulated, moved, with_seed
from calibration.likelihoods.terms import Outcomes, ProportionTerm, Term
from calibration.priors.distributions import Fixed
from calibration.priors.parameters import Prior, Single
from calibration.schema import EXACT, ROOT, Calibration
from simulator.configuration.draws import published_with
from simulator.configuration.values import Problems
from simulator.endpoints.base import Endpoint
from simulator.endpoints.registry import ENDPOINTS
from simulator.errors import Problem
from simulator.evidence.entries import EvidenceEntry, listed
from simulator.evidence.statistic import Statistic
from simulator.experiment.schema import Experiment
from simulator.units import DIMENSIONS

TOLERATE = "give it a tolerance under calibration.simulated"


def terms_of(declared: Calibration, closed: ClosedForms) -> tuple[tuple[Term, ...], list[Problem]]:
    """Return the likelihood of one experiment's fitted targets, and everything that is wrong with them."""
    made = _Targets(declared, closed)
    terms = tuple(made.terms())
    return terms, made.problems.found


def simulated_ids(declared: Calibration) -> tuple[str, ...]:
    """Return the targets whose likelihood is found by simulation."""
    return tuple(name for term in declared.simulated.values() for name in term.targets)


def simulated_terms(
    declared: Calibration, experiment: Experiment, prior: Prior
) -> tuple[tuple[Simulated, ...], list[Problem]]:
    """Return the terms of targets that are simulated, and everything that is wrong with them."""
    problems = Problems()
    found = []
    by_id = {entry.id: entry for entry in experiment.selection.entries}
    published = published_with(experiment.config["parameters"], prior.parameters)
    experiment = replace(experiment, config={**experiment.config, "parameters": published})
    _refuse_unprintable(declared, experiment, ClosedForms(experiment, prior.parameters).last_follow_up, problems)
    if problems.found:
        return (), problems.found
    for name, given in declared.simulated.items():
        here = f"{ROOT}.simulated.{name}"
        printed = [_printed(by_id[target], tolerance, here, problems) for target, tolerance in given.targets.items()]
        looked_at = _looked_at(given.parameters, prior, f"{here}.parameters", problems)
        if problems.found:
            continue
        study = with_seed(experiment, name, replicates=given.replicates)
        term = Simulated(name, tuple(p for p in printed if p is not None), looked_at, study, given.recombined)
        influential, untried = moved(term, prior)
        if given.parameters is None:
            term = replace(term, parameters=influential)
            if not influential:
                problems.add(here, list(given.targets), f"no parameter with a prior moves these targets; {CURE}")
                continue
        own = term.parameters
        moves = moves_of(study, prior, own, seed=int(study.config.get("seed", 0)), name=name)
        held, unknown = (tuple(sorted(names - own)) for names in (influential, untried))
        found.append(replace(term, held=held, untried=unknown, moves=tuple(moves)))
    return tuple(found), problems.found


def _refuse_unprintable(declared: Calibration, experiment: Experiment, last: float, problems: Problems) -> None:
    """Refuse, by name, figures that no simulated study prints; ``last``: days of follow-up at most."""
    by_id = {entry.id: entry for entry in experiment.selection.entries}
    exact = []
    for given in declared.simulated.values():
        for name, tolerance in given.targets.items():
            entry = by_id[name]
            why = beyond_follow_up(entry, statistic_of(entry), last)
            if why is not None:
                wrong(problems, entry, why)
            elif tolerance == EXACT:
                exact.append(entry)
    for entry, why in unprinted_shares(experiment, exact):
        wrong(problems, entry, f"{why}; {TOLERATE}, or {CURE}")


def _printed(entry: EvidenceEntry, tolerance: float | int | str, here: str, problems: Problems) -> PrintedTarget | None:
    """Return what was printed of a target; None where a problem was added."""
    limits = entry.limits
    if limits is None:
        wrong(problems, entry, "must have a figure in its printed text, whose last decimal tells the rounding")
        return None
    key = f"{here}.targets.{entry.id}"
    share = (entry.unit in ("%", "1") or entry.counted) and not statistic_of(entry).unitless
    spread = 0.0
    if tolerance != EXACT:
        percent = share and isinstance(tolerance, str) and tolerance.strip().endswith("%")
        text = str(tolerance).strip().removesuffix("%") if percent else tolerance
        try:
            spread = float(str(text)) if share else DIMENSIONS["time" if entry.time else "positive"].read(text)
        except ValueError as refusal:
            allowed = "must be a share between 0 and 1, such as 0.03, or 3 %" if share else str(refusal)
            problems.add(key, tolerance, f"{allowed}; or {EXACT}")
            return None
        spread = spread / 100 if percent else spread
        if not 0.0 < spread < (1.0 if share else math.inf):
            problems.add(key, tolerance, f"must be > 0{' and < 1, a share' if share else ''}; or {EXACT}")
            return None
    return PrintedTarget(entry.id, *limits, spread)


def _looked_at(names: Sequence[str] | None, prior: Prior, here: str, problems: Problems) -> frozenset[str]:
    """Return the parameters that are named, by themselves or by what all strata begin with."""
    found: set[str] = set()
    for name in names or ():
        own = {path for path in prior.parameters if name in (path, path.rpartition(".")[0])}
        if not own:
            groups = {path.rpartition(".")[0] for path in prior.parameters} - {""}
            problems.unknown(here, name, [*prior.parameters, *sorted(groups)], what="parameter with a prior")
        found |= own
    if not found:
        return frozenset()
    for block in prior.blocks:  # shares that sum to one come together; what is fixed is no choice
        if found & set(block.parameters) or (isinstance(block, Single) and isinstance(block.distribution, Fixed)):
            found |= set(block.parameters)
    return frozenset(found)


@dataclass
class _Targets:
    declared: Calibration
    closed: ClosedForms
    problems: Problems = field(default_factory=Problems)

    def terms(self) -> Iterator[Term]:
        selection = self.closed.experiment.selection
        by_id = {entry.id: entry for entry in selection.entries}
        self._known(by_id)
        elsewhere = {*self.declared.left_out, *simulated_ids(self.declared)}
        fitted = [e for e in selection.targets if e.role == "fitted" and e.id not in elsewhere]
        survival = [e for e in fitted if statistic_of(e).closed_form == "curve"]
        shares = [e for e in fitted if statistic_of(e).closed_form == "share"]
        for entry in fitted:
            if entry not in survival and entry not in shares:
                estimator = statistic_of(entry).named.replace("_", " ")
                no_closed_form(self.problems, entry, f"the {estimator} of {statistic_of(entry).variable}")
        for term in (*self._survival(survival), *self._shares(shares)):
            if term.parameters:
                yield term
                continue
            for name in term.targets:
                allowed = f"depends on no parameter that has a prior under {ROOT}.parameters; {CURE}"
                wrong(self.problems, by_id[name], allowed)

    def _known(self, entries: dict[str, EvidenceEntry]) -> None:
        """Refuse names in the calibration file that no fitted entry has, and notes that would have no effect."""
        declared = self.declared
        places = {f"left_out.{name}": name for name in declared.left_out}
        places |= {f"survivors.{name}": name for name in declared.survivors}
        for term, given in declared.simulated.items():
            places |= {f"simulated.{term}.targets.{name}": name for name in given.targets}
        owner: dict[str, str] = {}
        for place, name in places.items():
            here, key = f"{ROOT}.{place}", place.partition(".")[0]
            above = owner.setdefault(name, place.partition(".targets.")[0] if key == "simulated" else key)
            if name not in entries:
                self.problems.unknown(here, name, entries, what="entry of the evidence")
            elif entries[name].role != "fitted":
                anyway = "" if key == "simulated" else " anyway"
                self.problems.add(here, entries[name].role or entries[name].kind, f"is no fitted target{anyway}")
            elif key == "survivors" and statistic_of(entries[name]).record.point != "landmark":
                self.problems.add(here, statistic_of(entries[name]).estimator, "must be a kaplan_meier_landmark")
            elif not place.startswith(f"{above}."):
                self.problems.add(here, name, f"stands under {ROOT}.{above} too; keep one")

    # ---------------------------------------------------------------------------------------------- survival

    def _survival(self, entries: Sequence[EvidenceEntry]) -> Iterator[Term]:
        by_endpoint: dict[str, list[EvidenceEntry]] = {}
        for entry in entries:
            by_endpoint.setdefault(statistic_of(entry).endpoint.name, []).append(entry)
        for name, own in by_endpoint.items():
            yield from self._curves(ENDPOINTS[name], own)

    def _curves(self, endpoint: Endpoint, entries: Sequence[EvidenceEntry]) -> Iterator[Term]:
        """Yield the likelihood of what was printed of the curves of one endpoint."""
        try:
            curves = endpoint.curve(self.closed) if endpoint.curve else {}
        except NoClosedForm as reason:
            for entry in entries:
                no_closed_form(self.problems, entry, endpoint.name, str(reason))
            return
        sizes = self.closed.sizes
        if sizes is None:
            for entry in entries:
                allowed = "needs the number of patients in each stratum, and the cohort gives no whole, fixed numbers"
                wrong(self.problems, entry, allowed)
            return
        survivors = {name: given.count for name, given in self.declared.survivors.items()}
        printed = PrintedCurves(sizes, survivors, self.closed.follow_up, self.problems)
        for entry in entries:
            printed.add(entry)
        if printed.sound:
            yield from printed.terms(curves)

    # ------------------------------------------------------------------------------------------- proportions

    def _shares(self, entries: Sequence[EvidenceEntry]) -> Iterator[Term]:
        sound = [entry for entry in entries if not self._nested(entry, entries)]
        together: dict[tuple[object, ...], list[tuple[EvidenceEntry, ShareOf]]] = {}
        for entry in sound:
            statistic = statistic_of(entry)
            try:
                shares = self.closed.shares(statistic)
            except NoClosedForm as reason:
                no_closed_form(self.problems, entry, f"the share of {statistic.variable}", str(reason))
                continue
            counts = self._counts(entry)
            if not counts:
                continue
            stratum, size = statistic.where.stratum, entry.denominator or 0
            if stratum is not None:
                share = shares[self.closed.strata.index(stratum)]
            elif all(other == shares[0] for other in shares):
                share = shares[0]
            else:
                yield from self._of_all(entry, shares, counts)
                continue
            if statistic.column.outcome is not None and len(counts) == 1:
                same = (statistic.column.name, stratum, statistic.population, size)
                together.setdefault(same, []).append((entry, share))
            else:
                yield ProportionTerm((entry.id,), ((share, size),), counts)
        for group in together.values():
            ids, size = tuple(entry.id for entry, _ in group), group[0][0].denominator or 0
            numbers = tuple(self._counts(entry)[0] for entry, _ in group)
            if sum(numbers) > size:
                for entry, _ in group:
                    wrong(self.problems, entry, f"outcomes {listed(ids)} add up to more than {size}")
            else:
                yield Outcomes(ids, tuple(share for _, share in group), numbers, size)

    def _counts(self, entry: EvidenceEntry) -> tuple[int, ...]:
        """Return the counts that the entry can stand for; none, with a problem, where that is unknown."""
        if entry.numerator is not None:
            return (entry.numerator,)
        if entry.denominator is None:
            wrong(self.problems, entry, f"has no denominator, so no count is known; {CURE}")
            return ()
        return tuple(entry.counts_of(entry.denominator))  # that there is one was checked with the evidence

    def _of_all(self, entry: EvidenceEntry, shares: Sequence[ShareOf], counts: tuple[int, ...]) -> Iterator[Term]:
        """A share of all patients where strata differ: a sum of binomials, if the numbers in the strata are known."""
        sizes = self.closed.sizes
        if statistic_of(entry).population != "treated" or sizes is None or sum(sizes.values()) != entry.denominator:
            why = "it differs by stratum, and how many of the denominator are of which stratum is not known"
            what = f"the share of {statistic_of(entry).variable} in all strata together"
            no_closed_form(self.problems, entry, what, why)
            return
        yield ProportionTerm((entry.id,), tuple(zip(shares, sizes.values(), strict=True)), counts)

    def _nested(self, entry: EvidenceEntry, entries: Sequence[EvidenceEntry]) -> bool:
        """Refuse a count whose patients another fitted count has counted already."""
        me, later = statistic_of(entry), entries.index(entry)
        again = [other.id for i, other in enumerate(entries) if _contains(me, statistic_of(other), equal=i < later)]
        if again:
            wrong(self.problems, entry, f"counts patients of {listed(again)} once more; {CURE}")
        return bool(again)


def _contains(own: Statistic, other: Statistic, *, equal: bool) -> bool:
    """Whether the patients counted by one proportion include those of another; of the same ones if ``equal``."""
    a, b = own.column, other.column
    pairs = (
        (a.outcome, b.outcome, None),
        (own.where.stratum, other.where.stratum, None),
        (own.where.arm, other.where.arm, None),
        (own.population, other.population, "treated"),
    )
    if own is other or (a.kind, a.name) != (b.kind, b.name):
        return False
    wider = all(one in (another, everything) for one, another, everything in pairs)
    return wider and (equal or any(one != another for one, another, _ in pairs))
