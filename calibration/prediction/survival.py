"""Survival of groups of patients under draws of a posterior: curves, and means to a time.

The curve is the closed form that entered the likelihood where there is one (`closed_forms`); otherwise studies of a few
draws are simulated, and the share alive is counted, with random numbers that all draws share.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from calibration.likelihoods.closed_forms import ClosedForms, NoClosedForm, SurvivalOf
from calibration.posterior.draws import Draws
from calibration.posterior.fit import Fit, ReadingFit
from calibration.priors.parameters import ParameterSets
from simulator.errors import DeclarationWarning
from simulator.experiment.batches import declare_possible
from simulator.experiment.schema import Experiment
from simulator.running.batch import RunResult, outcomes
from simulator.study.scope import ALL_PATIENTS
from simulator.study.statistics import LabelledArray
from simulator.tables import Floats, Integers
from simulator.units import DAYS_PER

LONGEST = 5 * DAYS_PER["y"]
"""Means are restricted to five years; curves go as far, or to the last printed landmark, and never past the horizon."""
YEARS = (1, 2, 5)
A_DAY = 1.0
STEP = 14.0  # days between points of a curve
FINE = 366  # points of the integral of a closed curve: its error is below a hundredth of a day
SIMULATED_DRAWS, SIMULATED_STUDIES = 200, 40
"""Without a closed form: draws that are simulated, and studies of each."""


@dataclass(frozen=True, eq=False)
class Survival:
    """Survival under n draws, of groups, at times in days since entry.

    ``share``: alive, (n, groups, times). ``mean``: within ``restricted_to`` days, (n, groups). ``closed``: whether by
    closed forms, or else by simulation.
    """

    groups: tuple[str, ...]
    times: Floats
    share: Floats
    mean: Floats
    restricted_to: float
    closed: bool


def survival_of(fitted: Fit, draws: Draws) -> Survival:
    """Return survival at the times of `times_of` under draws, of each stratum, or of all patients if there is one."""
    times, end = times_of(fitted)
    try:
        return _closed(fitted, draws, times, end)
    except NoClosedForm:
        return _simulated(fitted, draws, times, end)


def times_of(fitted: Fit) -> tuple[Floats, float]:
    """Return the times of curves, days, and the time to which means are restricted.

    A grid, the printed landmarks, and one, two and five years, as far as they are within the horizon.
    """
    horizon = float(fitted.readings[0].experiment.tables.horizon.min())
    end, named = min(LONGEST, horizon), [time for time in named_times(fitted) if time <= horizon]
    last = max(end, *named)
    return np.unique(np.concatenate([np.arange(0.0, last, STEP), [end, last], named])), end


def named_times(fitted: Fit) -> list[float]:
    """Return the times at which survival is shown, days: printed landmarks, and one, two and five years.

    A landmark within a day of a year stands for it: a year may be written as 365 days.
    """
    entries = fitted.readings[fitted.default].experiment.selection.targets
    wanted = [entry.statistic for entry in entries if entry.statistic is not None]
    landmarks = {s.time for s in wanted if s.record.point == "landmark" and s.time is not None}
    years = {years * DAYS_PER["y"] for years in YEARS}
    return sorted(landmarks | {year for year in years if all(abs(year - time) > A_DAY for time in landmarks)})


def _closed(fitted: Fit, draws: Draws, times: Floats, end: float) -> Survival:
    curves = [_curves(reading) for reading in fitted.readings]
    strata = fitted.readings[0].experiment.cohort.strata
    fine = np.linspace(0.0, end, FINE)
    share, mean = np.empty((draws.size, len(strata), times.size)), np.empty((draws.size, len(strata)))
    for number, of_reading in enumerate(curves):
        draws_of = draws.reading == number
        sets = ParameterSets({name: column[draws_of] for name, column in draws.values.items()}, int(draws_of.sum()))
        for s, stratum in enumerate(strata if sets.size else ()):
            share[draws_of, s] = np.exp(of_reading[stratum].log_survival(sets, times))
            curve = np.exp(of_reading[stratum].log_survival(sets, fine))
            mean[draws_of, s] = np.trapezoid(curve, fine, axis=1)
    groups = strata if len(strata) > 1 else (ALL_PATIENTS,)
    return Survival(tuple(groups), times, share, mean, end, closed=True)


def _curves(reading: ReadingFit) -> dict[str, SurvivalOf]:
    """Return the closed curve of each stratum. Raises NoClosedForm."""
    return ClosedForms(reading.experiment, frozenset(reading.parameters)).survival()


def _simulated(fitted: Fit, draws: Draws, times: Floats, end: float) -> Survival:
    rows = np.arange(min(SIMULATED_DRAWS, draws.size))
    found: dict[int, Mapping[str, LabelledArray]] = {}
    for number, reading in enumerate(fitted.readings):
        draws_of = rows[draws.reading[rows] == number]
        if draws_of.size:
            _, kept, brought = simulated_draws(reading, draws, draws_of, SIMULATED_STUDIES)
            found |= {int(draws_of[row]): each.statistics for row, each in zip(kept, brought, strict=True)}
    curves = [_counted(found[row], times, end) for row in sorted(found)]
    names = [str(name) for name in next(iter(found.values()))["group"].values]
    kept_groups = [i for i, name in enumerate(names) if name != ALL_PATIENTS or len(names) == 1]
    share, mean = (np.stack(each)[:, kept_groups] for each in zip(*curves, strict=True))
    groups = tuple(names[i] for i in kept_groups)
    return Survival(groups, times, share, mean, end, closed=False)


def _counted(statistics: Mapping[str, LabelledArray], times: Floats, end: float) -> tuple[Floats, Floats]:
    """Return the share alive of each group at times, (groups, times), and its mean to the end, (groups,)."""
    grid = np.asarray(statistics["time"].values, dtype=np.float64)
    inside = np.append(grid[grid < end], end)
    curves = np.asarray(statistics["overall_survival"].values)
    share = np.stack([np.interp(times, grid, curve) for curve in curves])
    return share, np.array([np.trapezoid(np.interp(inside, grid, curve), inside) for curve in curves])


def simulated_draws(
    reading: ReadingFit, draws: Draws, chosen: Integers, studies: int
) -> tuple[Experiment, tuple[int, ...], list[RunResult]]:
    """Simulate chosen rows of the draws, ``studies`` of the published size of each.

    Returns the experiment whose parameter sets they are, the place of each among ``chosen`` (all but those that cannot
    be declared), and what each brings.
    """
    experiment = reading.experiment
    config = {**reading.config, "study": {**experiment.config["study"], "replicates": studies}}
    others = [text for text in experiment.overrides if not text.startswith("study.replicates=")]
    values = {path: draws.values[path][chosen].tolist() for path in reading.parameters}
    with warnings.catch_warnings(action="ignore", category=DeclarationWarning):  # shown when the cohort was declared
        found = declare_possible(config, values, overrides=others)
    if found.experiment is None:
        raise RuntimeError("no draw of the posterior can be produced, and all of them could")
    return found.experiment, found.rows, list(outcomes([found.experiment]))
