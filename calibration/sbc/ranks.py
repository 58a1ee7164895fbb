"""Simulation-based calibration: the rank of every truth in the posterior of its simulated paper.

A paper is fitted as any cohort is, by `fit`, under every reading; L draws are taken from the posterior, independently
of each other, and the truth is ranked among them: every number with a prior, and the log likelihood, without which a
likelihood that ignores its data would pass (Talts et al. 2018, arXiv:1804.06788; Modrák et al. 2023,
doi:10.1214/23-BA1404). If prior, simulation, likelihood and search belong together, ranks are uniform (`rank_checks`).

Two things are as they are where draws are used (`simulator.running.draws`): a reading is part of a draw, and a draw
that the model cannot produce is left out. Truths are drawn so as well, so that prior and posterior are truncated alike.

A reading under which a paper cannot have been printed (no count of its patients prints a percentage) is refused by
`fit`: here its evidence is 0. The reading that is true is never refused.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from calibration.posterior.components import Component
from calibration.posterior.fit import Fit, ReadingFit, fit
from calibration.priors.parameters import ParameterSets
from calibration.sbc.simulated_papers import SimulatedPapers, Truth
from calibration.schema import ROOT, Calibration, Search
from simulator.errors import MISSING, ConfigError, DeclarationWarning, Problem
from simulator.kernels.rng import stream_number, uniforms
from simulator.running.workers import in_order, processors
from simulator.tables import Flags, Floats, Integers

Control = Callable[[Component, Search, int], Component]
"""From a component with its posterior, settings of the search, and a seed, to the component with a wrong posterior."""
LOG_LIKELIHOOD = "log likelihood"
MOST_TRIED = 50
"""Draws of a posterior that are tried for one that the model can produce."""


def prior_only(component: Component, search: Search, seed: int) -> Component:
    """Return the component with draws of its prior for its posterior, and a log evidence of 0: its data are ignored.

    Ranks of parameters stay uniform; only the rank of the log likelihood shows it (Modrák et al. 2023).
    """
    n, draws = component.draws.n_prior, component.draws
    alone = replace(
        draws,
        coordinates=draws.coordinates[:n],
        weights=np.full(n, 1.0 / n),
        log_likelihood=draws.log_likelihood[:n],
        log_evidence=0.0,
    )
    return replace(component, draws=alone)


CONTROLS: dict[str, Control] = {"prior": prior_only}
"""Negative controls by name: what a check must find out."""


class PaperRanks(NamedTuple):
    """One paper; or n of them, with a leading dimension. q quantities, r readings.

    ``rank`` (q,): draws below the truth. ``position`` (q,): (rank + uniform)/(draws + 1). ``truth`` (q,): times in
    days. ``reading``: which is true. ``share`` (r,): of the draws. ``refused`` (r,): readings that cannot have printed
    it. ``redrawn``: draws of the prior that the model could not produce. ``left_out``: share of draws of the posterior
    that it could not. ``converged``, ``effective_size``: of the search, the least of its parts.
    """

    rank: Integers
    position: Floats
    truth: Floats
    reading: Any
    share: Floats
    refused: Flags
    redrawn: Any
    left_out: Any
    converged: Any
    effective_size: Any


@dataclass(frozen=True, eq=False)
class Ranks:
    """Ranks among ``draws`` of each posterior; the last of the quantities is the log likelihood.

    ``fitted``: the cohort itself, for its readings and priors. ``control``: name of the negative control, if it is one.
    """

    quantities: tuple[str, ...]
    readings: tuple[str, ...]
    draws: int
    papers: PaperRanks
    fitted: Fit
    control: str | None


def ranks(
    container: Mapping[str, Any],
    declared: Calibration,
    *,
    papers: int,
    draws: int = 99,
    search: Search | None = None,
    control: str | None = None,
    overrides: tuple[str, ...] = (),
    threads: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Ranks:
    """Simulate papers of a cohort, fit each, and rank its truth among draws of its posterior.

    Parameters
    ----------
    container, declared, overrides : as for `fit`; the ``seed`` of the container addresses everything.
    papers : their number; the first are the same whatever it is.
    draws : of the posterior of each, L.
    search : settings of the search; those of ``declared`` if None.
    control : name of a wrong posterior in place of the right one, one of `CONTROLS`.
    threads : that work, see `workers.processors`; they change no bit.
    progress : is called with the number of papers that are done.

    Raises
    ------
    ConfigError
        Where the cohort cannot be calibrated, its papers not be simulated, or a paper not be fitted.
    """
    light = declared if search is None else declared.model_copy(update={"search": search})
    rows = []
    with warnings.catch_warnings(action="ignore", category=DeclarationWarning):
        fitted = fit(container, light, overrides=overrides)
        study = _Study(SimulatedPapers(fitted), draws, control)
        for done, (_, row) in enumerate(in_order(study.ranked, range(papers), processors(threads)), start=1):
            rows.append(row)
            if progress is not None:
                progress(done)
    return Ranks(
        study.quantities, study.readings, draws, PaperRanks(*map(np.stack, zip(*rows, strict=True))), fitted, control
    )


@dataclass(frozen=True, eq=False)
class _Study:
    papers: SimulatedPapers
    draws: int
    control: str | None

    @property
    def quantities(self) -> tuple[str, ...]:
        names = (name for c in self.papers.fitted.readings[0].components for name in c.prior.names)
        return (*names, LOG_LIKELIHOOD)

    @property
    def readings(self) -> tuple[str, ...]:
        fitted = self.papers.fitted
        return tuple(map(fitted.name_of, fitted.readings))

    def ranked(self, paper: int) -> PaperRanks:
        """Do one paper."""
        truth = self.papers.truth(paper)
        found = self._fitted(paper, truth)
        values, reading, tried = self._posterior(paper, found)
        of_reading = found[truth.reading]
        assert of_reading is not None
        true = {**truth.values, LOG_LIKELIHOOD: _log_likelihood(of_reading, truth.values)}
        quantities, fits = self.quantities, [one for one in found if one is not None]
        u = uniforms(self.papers.fitted.seed, paper, np.arange(2)[:, None], stream_number("calibration.sbc.ties"),
                     np.arange(len(quantities))[None, :])  # fmt: skip
        below = np.array([np.sum(values[name] < true[name]) for name in quantities])
        ties = np.array([np.sum(values[name] == true[name]) for name in quantities])
        rank = below + np.floor(u[0] * (ties + 1)).astype(np.int64)
        return PaperRanks(
            rank=rank,
            position=(rank + u[1]) / (self.draws + 1),
            truth=np.array([true[name] for name in quantities]),
            reading=truth.reading,
            share=np.bincount(reading, minlength=len(found)) / self.draws,
            refused=np.array([one is None for one in found]),
            redrawn=truth.redrawn,
            left_out=1.0 - self.draws / tried,
            converged=all(c.draws.converged for one in fits for c in one.components),
            effective_size=min(one.effective_size for one in fits),
        )

    def _fitted(self, paper: int, truth: Truth) -> list[ReadingFit | None]:
        """Fit a paper under every reading; None under one that it cannot have been printed under."""
        printed, declared = self.papers.paper(paper, truth)
        seed = int(uniforms(self.papers.fitted.seed, paper, 0, stream_number("calibration.sbc.search"), 0) * 2.0**53)
        found: list[ReadingFit | None] = []
        for number, reading in enumerate(self.papers.fitted.readings):
            study = {**printed["study"], "reading": list(reading.chosen.values()) or None}
            container = {**printed, "study": study, "seed": seed}
            try:
                (one,) = fit(container, declared, overrides=self.papers.fitted.overrides, threads=1).readings
            except ConfigError as refusal:
                if number == truth.reading:
                    said = [replace(p, allowed=f"{p.allowed} (simulated paper {paper})") for p in refusal.problems]
                    raise ConfigError(said) from None
                found.append(None)
                continue
            if self.control is not None:
                wrong = CONTROLS[self.control]
                parts = (wrong(c, declared.search, seed) for c in one.components)
                one = replace(one, components=tuple(parts))
            found.append(one)
        return found

    def _posterior(self, paper: int, found: list[ReadingFit | None]) -> tuple[dict[str, Floats], Integers, int]:
        """Return draws of every quantity, (draws,) each, the reading of each, and how many were tried for them."""
        evidence = [-np.inf if one is None else one.log_evidence for one in found]
        chances = np.cumsum(self.papers.fitted.alternatives.probabilities(evidence))
        kept: list[tuple[dict[str, Floats], Integers]] = []
        tried = have = 0
        while have < self.draws:
            if tried >= MOST_TRIED * self.draws:
                allowed = f"the model can produce only {have} of {tried} draws of simulated paper {paper}"
                raise ConfigError(Problem(f"{ROOT}.parameters", MISSING, allowed))
            numbers = np.arange(tried, tried + self.draws - have)
            values, reading = self._drawn(paper, numbers, found, chances)
            possible = self.papers.possible(reading, values)
            kept.append(({name: column[possible] for name, column in values.items()}, reading[possible]))
            have, tried = have + int(possible.sum()), tried + len(numbers)
        values = {name: np.concatenate([part[name] for part, _ in kept]) for name in self.quantities}
        return values, np.concatenate([reading for _, reading in kept]), tried

    def _drawn(
        self, paper: int, numbers: Integers, found: list[ReadingFit | None], chances: Floats
    ) -> tuple[dict[str, Floats], Integers]:
        """Return the posterior draws of these numbers, each from an address of its own."""

        def uniform_of(stream: str) -> Floats:
            return uniforms(self.papers.fitted.seed, paper, numbers, stream_number(f"calibration.sbc.draw.{stream}"), 0)

        reading = np.searchsorted(chances, uniform_of("reading"), side="right").clip(0, len(found) - 1)
        values = {name: np.zeros(len(numbers)) for name in self.quantities}
        for number, one in enumerate(found):
            of_reading = reading == number
            if one is None or not of_reading.any():
                continue
            for component in one.components:
                heaped = np.cumsum(component.draws.weights)
                u = uniform_of(component.prior.names[0])[of_reading] * heaped[-1]
                rows = np.searchsorted(heaped, u, side="right").clip(0, len(heaped) - 1)
                for name, column in component.values.items():
                    values[name][of_reading] = column[rows]
                values[LOG_LIKELIHOOD][of_reading] += component.draws.log_likelihood[rows]
        return values, reading


def _log_likelihood(reading: ReadingFit, values: Mapping[str, float]) -> float:
    """Return the log likelihood of all fitted targets at one parameter set."""
    sets = ParameterSets({name: np.array([value]) for name, value in values.items()}, 1)
    return float(sum(term.log_density(sets)[0] for c in reading.components for term in c.terms))
