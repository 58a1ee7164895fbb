"""A posterior truncated to feasible parameter sets.

Some parameters under which the targets are probable cannot be declared: a response seen in 80 % of patients with
stomach cancer leaves no room for the assumed progression. They have no data of their own, so that their likelihood is
0: to leave them out of the posterior is to truncate the prior to the set F of what can be produced,

    π_F(θ) = π(θ)·1_F(θ)/π(F),   evidence ∫ L·π_F = ∫ L·π · (share of the posterior in F)/(share of the prior in F).

Draws are declared many side by side; those that are refused are replaced by further ones. The first of those that can
be produced are simulated at once, each with random numbers of its own: that is the posterior predictive distribution.
"""

from __future__ import annotations

import math
import re
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from calibration.likelihoods.simulated import Simulated
from calibration.posterior.draws import allotted
from calibration.posterior.feasible import Truncation
from calibration.posterior.fit import Fit, ReadingFit
from calibration.schema import ROOT
from simulator.errors import ConfigError, DeclarationWarning, Problem
from simulator.experiment.batches import declare_possible
from simulator.experiment.schema import Experiment
from simulator.running import batch
from simulator.running.draws import TOGETHER
from simulator.running.workers import in_order, processors
from simulator.tables import Flags, Floats

MOST_DRAWS = 1000
"""Draws of the posterior that are declared, at most: each takes some ten milliseconds."""
UNDEFINED_DRAWS = 50
"""Draws of the prior at which it is seen whether a simulated term has a likelihood."""
PRIOR_DRAWS = 200
"""Draws of the prior, the same scores under every reading, that say how much of it can be produced."""
SIMULATED = 1000
"""Of this many draws those that can be produced are simulated."""
STUDIES = 5
"""Simulated studies of each of them."""
MOST_BATCHES = 20
SPARE = 16  # draws beyond those that are expected to be needed


def draws_of(fitted: Fit) -> int:
    """Return how many draws of the posterior are declared: as many as the search is for, up to `MOST_DRAWS`."""
    return min(fitted.declared.search.draws, MOST_DRAWS)


def shares(fitted: Fit) -> tuple[float, float]:
    """Return the share of the posterior over all readings that can be produced, and its Monte-Carlo standard error."""
    truncations = [reading.truncation for reading in fitted.readings]
    uncut = [
        reading.log_evidence - (one.log_factor if one and math.isfinite(one.log_factor) else 0.0)
        for reading, one in zip(fitted.readings, truncations, strict=True)
    ]
    weights = fitted.alternatives.probabilities(uncut)
    share = math.fsum(w * one.share for w, one in zip(weights, truncations, strict=True) if one)
    square = math.fsum(
        w**2 * one.share * (1 - one.share) / one.tried for w, one in zip(weights, truncations, strict=True) if one
    )
    return share, math.sqrt(square)


def said(fitted: Fit) -> str:
    """Say how much of the posterior cannot be produced, and why; nothing where all of it can."""
    truncations = [reading.truncation for reading in fitted.readings if reading.truncation is not None]
    reasons: Counter[str] = sum((Counter(one.reasons) for one in truncations), Counter())
    if not reasons:
        return ""
    share, error = shares(fitted)
    why = "; ".join(f"{name} ({times} draws)" for name, times in reasons.most_common(3))
    return f"{100 * (1 - share):.0f} % (± {100 * error:.1g}) of the posterior is infeasible and left out: {why}"


def truncate(
    fitted: Fit,
    n: int,
    *,
    studies: int = 0,
    threads: int | None = None,
    progress: Callable[[str], None] | None = None,
) -> Fit:
    """Return a fit whose posterior is truncated to feasible parameter sets, with n draws over all readings.

    Parameters
    ----------
    studies : simulated studies of each of the first draws, of the size and with the estimators of the published one.
    threads : as in `simulator.running.batch.outcomes`; changes nothing in the result.
    progress : is called with a line for each batch of draws.

    Raises
    ------
    ConfigError
        If the model can produce none of the draws, or too few to find n of them.
    """
    works = [_Work(reading, studies, processors(threads)) for reading in fitted.readings]
    with warnings.catch_warnings(action="ignore", category=DeclarationWarning):  # shown when the cohort was declared
        for work in works:
            work.look_at_prior()
        for number in range(MOST_BATCHES):
            found = replace(fitted, readings=tuple(work.reading_cut() for work in works)) if number else fitted
            if not np.isfinite([reading.log_evidence for reading in found.readings]).any():
                break
            wanted = np.bincount(allotted(found.probabilities, n), minlength=len(works))
            short = [(work, int(w)) for work, w in zip(works, wanted, strict=True) if work.size < w]
            if not short:
                return found
            for work, needed in short:
                work.more(needed, number, math.ceil(SIMULATED * needed / n))
                if progress is not None:
                    progress(f"{work.size} of {needed} draws; the model cannot produce {work.refused} of {work.tried}")
    tried, refused = sum(work.tried for work in works), sum(work.refused for work in works)
    reasons = "; ".join(name for name, _ in sum((work.reasons for work in works), Counter()).most_common(3))
    allowed = f"the model can produce only {tried - refused} of {tried} draws of the posterior: {reasons}"
    raise ConfigError(Problem(f"{ROOT}.search.draws", n, allowed))


class _Work:
    """Draws of one reading as they are tried."""

    def __init__(self, reading: ReadingFit, studies: int, threads: int) -> None:
        self.reading, self.studies, self.threads = reading, studies, threads
        self.tried = self.refused = self.prior_tried = self.prior_refused = 0
        self.reasons: Counter[str] = Counter()
        self.undefined: dict[str, float] = {}
        self.coordinates: list[list[Floats]] = []
        self.simulated: list[Floats] = []
        self.config = reading.config

    @property
    def size(self) -> int:
        return self.tried - self.refused

    def look_at_prior(self) -> None:
        """Estimate the share of the prior that can be produced, and where a simulated term has no likelihood."""
        z = self.reading.prior_coordinates(PRIOR_DRAWS)
        possible, _, _ = self._tried(z, 0)
        for component, scores in zip(self.reading.components, z, strict=True):
            sets = component.prior.parameter_sets(scores[:UNDEFINED_DRAWS])
            for term in component.terms:
                if isinstance(term, Simulated) and (share := float(term.undefined(sets).mean())):
                    self.undefined[term.name] = share
        self.prior_tried, self.prior_refused = len(possible), int((~possible).sum())

    def more(self, needed: int, number: int, simulated: int) -> None:
        """Try a further batch of draws, so many that those still needed should be among them; simulate the first."""
        share = self.size / self.tried if self.tried else 1.0
        missing = needed - self.size
        n = missing if number == 0 else math.ceil(missing / max(share, 0.1)) + SPARE
        z = self.reading.coordinates(n, number)
        possible, reports, reasons = self._tried(z, simulated if self.tried == 0 else 0)
        self.coordinates.append([one[possible] for one in z])
        self.simulated.append(reports)
        self.reasons.update(reasons)
        self.tried += n
        self.refused += int((~possible).sum())

    def reading_cut(self) -> ReadingFit:
        """Return the reading with what has been found."""
        k = len(self.reading.components)
        coordinates = tuple(np.concatenate([part[i] for part in self.coordinates]) for i in range(k))
        counts = (self.tried, self.refused, self.prior_tried, self.prior_refused)
        found = Truncation(coordinates, np.concatenate(self.simulated), *counts, dict(self.reasons), self.undefined)
        return replace(self.reading, truncation=found)

    def _tried(self, z: Sequence[Floats], simulated: int) -> tuple[Flags, Floats, list[str]]:
        """Declare draws: which of them can be produced, (n,); what studies report; what is said of the others.

        ``simulated``: of this many draws, the first, studies are simulated.
        """
        numbers, n = self.reading.values_at(z), len(z[0])
        values = {path: numbers[path] for path in self.reading.parameters}

        def work(rows: range) -> tuple[tuple[int, ...], Floats, list[str]]:
            some = {path: column[rows.start : rows.stop].tolist() for path, column in values.items()}
            found = declare_possible(self.config, some, overrides=self.reading.experiment.overrides)
            numbers = [rows.start + row for row in found.rows if rows.start + row < simulated]
            return found.rows, self._reports(found.experiment, numbers), [_said(why) for why in found.refused.values()]

        possible = np.zeros(n, dtype=bool)
        found, reasons = [], []
        tasks = (range(start, min(start + TOGETHER, n)) for start in range(0, n, TOGETHER))
        for rows, (kept, reports, said) in in_order(work, tasks, self.threads):
            possible[[rows.start + row for row in kept]] = True
            found.append(reports)
            reasons += said
        return possible, np.concatenate(found), reasons

    def _reports(self, experiment: Experiment | None, numbers: Sequence[int]) -> Floats:
        """Return what studies of the first parameter sets report, (sets, studies, targets); own random numbers for
        each.
        """
        if experiment is None or not numbers or self.studies == 0:
            return np.empty((0, self.studies, len(self.reading.experiment.selection.targets)))
        studies_of = [range(number * self.studies, (number + 1) * self.studies) for number in numbers]
        return batch.targets(experiment, threads=1, replicates=studies_of)


def _said(why: str) -> str:
    """A reason without its numbers, so that equal reasons are counted together."""
    first = why.partition("; ")[0]
    key, _, rest = first.partition(": ")
    return re.sub(r" in [0-9.]+", "", f"{key.partition(' = ')[0]}: {rest}")
