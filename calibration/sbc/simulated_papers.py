"""Papers of which the truth is known: parameters from the prior, a study simulated with them, and its figures printed.

A paper is a copy of the cohort's evidence in which every fitted target says what the simulated study found, by its own
estimator, with its own denominators, and with the decimals of the real paper. What is not fitted is not in the copy,
nor are the checks and notes that are about the real figures (`checks`, `survivors`).

Everything about paper i has an address (seed, i, …): no paper knows how many others there are.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import special

from calibration.likelihoods.closed_forms import ClosedForms
from calibration.likelihoods.targets import simulated_ids
from calibration.posterior.fit import Fit, ReadingFit
from calibration.sbc.printed_figures import Keys, Printed
from calibration.schema import ROOT, Calibration
from simulator.configuration.draws import published_with
from simulator.errors import MISSING, ConfigError, DeclarationWarning, Problem
from simulator.experiment.batches import declare_many, declare_possible
from simulator.experiment.schema import Experiment, declare
from simulator.kernels.rng import stream_number, uniforms
from simulator.running.experiment import design_of, trajectories_of
from simulator.study.observe import observe
from simulator.tables import Flags, Floats, Integers

MOST_ATTEMPTS = 1000
FIGURES = ("printed", "normalised", "value", "numerator", "denominator", "unit", "interval", "bound")
"""Keys of an entry that say a figure: a reading that sets them reads another figure, not the same one otherwise."""


@dataclass(frozen=True, eq=False)
class Truth:
    """What is true in one simulated paper: the number of the reading, every number with a prior (times in days).

    ``redrawn``: how many draws before it the model could not produce.
    """

    reading: int
    values: Mapping[str, float]
    experiment: Experiment
    redrawn: int


@dataclass(frozen=True, eq=False)
class SimulatedPapers:
    """Papers by their numbers, of the cohort of a fit; what was found there of its posterior is not looked at."""

    fitted: Fit

    # ------------------------------------------------------------------------------------------------ truth

    def truth(self, paper: int) -> Truth:
        """Draw a reading by its prior weight, and every parameter from its prior, until the model can produce them.

        Raises
        ------
        ConfigError
            Where a thousand draws cannot be produced.
        """
        weights = np.cumsum(self.fitted.alternatives.probabilities())[:-1]
        reason = ""
        for attempt in range(MOST_ATTEMPTS):
            u = float(uniforms(self.fitted.seed, paper, attempt, stream_number("calibration.sbc.reading"), 0))
            reading = int(np.searchsorted(weights, u, side="right"))
            values = self._drawn(self.fitted.readings[reading], paper, attempt)
            try:
                known = self._known(reading, {name: np.array([value]) for name, value in values.items()})
                experiment = declare_many(self._experiments[reading], known)
            except ConfigError as refusal:
                reason = str(refusal.problems[0])
                continue
            return Truth(reading, values, experiment, attempt)
        allowed = f"the model can produce none of {MOST_ATTEMPTS} draws of paper {paper}: {reason}"
        raise ConfigError(Problem(f"{ROOT}.parameters", MISSING, allowed))

    def possible(self, reading: Integers, values: Mapping[str, Floats]) -> Flags:
        """Return which of n parameter sets, (n,) of each number, the model can produce under their readings, (n,)."""
        possible = np.zeros(len(reading), dtype=bool)
        for number in np.unique(reading).tolist():
            rows, experiment = np.flatnonzero(reading == number), self._experiments[number]
            known = self._known(number, {name: column[rows] for name, column in values.items()})
            possible[rows[list(declare_possible(experiment.config, known, overrides=experiment.overrides).rows)]] = True
        return possible

    def _known(self, reading: int, values: Mapping[str, Floats]) -> dict[str, list[float]]:
        """Return the numbers that are parameters of the model, not of the prior alone."""
        parameters = self._experiments[reading].parameters
        return {name: column.tolist() for name, column in values.items() if name in parameters}

    @cached_property
    def _experiments(self) -> list[Experiment]:
        """The experiment under each reading; what has a prior has the same value in the published study."""
        found = []
        with warnings.catch_warnings(action="ignore", category=DeclarationWarning):
            for reading in self.fitted.readings:
                config = reading.experiment.config
                config = {**config, "parameters": published_with(config["parameters"], reading.parameters)}
                found.append(declare(config, overrides=reading.experiment.overrides))
        return found

    def _drawn(self, reading: ReadingFit, paper: int, attempt: int) -> dict[str, float]:
        values: dict[str, float] = {}
        for component in reading.components:
            prior = component.prior
            stream = stream_number(f"calibration.sbc.truth.{prior.names[0]}")
            columns = np.arange(len(prior.coordinates))
            z = special.ndtri(uniforms(self.fitted.seed, paper, attempt, stream, columns))[None, :]
            values |= {name: float(column[0]) for name, column in prior.parameter_sets(z).values.items()}
        return values

    # ------------------------------------------------------------------------------------------------ study

    def paper(self, paper: int, truth: Truth) -> tuple[Mapping[str, Any], Calibration]:
        """Simulate one study with the truth, and print it: what `fit` takes, but for the reading and the seed.

        Raises
        ------
        ConfigError
            Where readings set other figures.
        """
        experiment, declared = truth.experiment, self.fitted.declared
        histories = trajectories_of(experiment, range(paper, paper + 1), parameter_sets=range(1))
        data = observe(histories, design_of(experiment), seed=self.fitted.seed)
        closed, open_ended = Printed(data, ClosedForms(experiment, ()).follow_up), Printed(data, 0.0)
        simulated = simulated_ids(declared)
        said: dict[str, Keys | None] = {}
        for entry in experiment.selection.entries:
            if entry.statistic is not None:
                fitted = entry.role == "fitted" and entry.id not in declared.left_out
                printed = open_ended if entry.id in simulated else closed
                said[entry.id] = printed.target(entry, entry.statistic) if fitted else None
        self._refuse_other_figures([name for name, printing in said.items() if printing is not None])
        kept = declared.without({name for name, printing in said.items() if printing is None})
        declared = kept.model_copy(update={"left_out": {}, "survivors": {}})
        return {**self.fitted.config, "evidence": _copied(self.fitted.config["evidence"], said)}, declared

    def _refuse_other_figures(self, names: Sequence[str]) -> None:
        for question, reading in self.fitted.evidence.readings.items():
            for alternative, patches in reading.alternatives.items():
                for name in names:
                    keys = [key for key in patches.entries.get(name, {}) if key in FIGURES]
                    if keys:
                        here = f"evidence.readings.{question}.alternatives.{alternative}.entries.{name}.{keys[0]}"
                        allowed = "is another figure than under other readings, so that no one figure can be simulated"
                        raise ConfigError(Problem(here, MISSING, allowed))


def _copied(evidence: Mapping[str, Any], said: Mapping[str, Keys | None]) -> dict[str, Any]:
    """Return the evidence with what was said of entries (None: nothing, so that there is no such entry)."""
    made = copy.deepcopy(dict(evidence))
    kept = []
    for item in made["entries"]:
        printing = said.get(item["id"])
        if printing is not None:
            kept.append({key: value for key, value in {**item, **printing}.items() if value is not None})
        elif item["id"] not in said:
            kept.append(item)
    made["entries"], made["checks"] = kept, []
    plain = {name for name, printing in said.items() if printing is None or "statistic" in printing}
    for question in (made.get("readings") or {}).values():
        for alternative in question["alternatives"].values():
            patches = alternative.get("entries") or {}
            alternative["entries"] = {name: patch for name, patch in patches.items() if name not in plain}
    return made
