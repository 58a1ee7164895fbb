"""How far the fitted targets look along a survival curve. Knows entries, terms and follow-up; knows no curve.

The last informative time of a group of patients is the latest at which a fitted target of theirs, or of everybody,
looks at survival. What a curve says beyond it follows from the family of hazards and is extrapolated. What a shape
that is pooled over strata borrows from another stratum is not counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from calibration.entries import statistic_of
from calibration.fit import Fit
from calibration.simulated import Simulated
from simulator.declaration.reported import EvidenceEntry
from simulator.declaration.schema import Experiment
from simulator.results.assumptions import last_looks, looked_at_until
from simulator.study.statistics import EVERYBODY
from simulator.tables import Floats

_SURVIVAL = ("survival", "follow_up", "state")


def informed_until(fitted: Fit, groups: Sequence[str], follow_up: float) -> dict[str, float]:
    """Return the last informative time of each group, days; 0 if there is none.

    Parameters
    ----------
    groups : as in the statistics of a simulation: ``all``, strata, arms.
    follow_up : `end_of_follow_up`; a target that is simulated looks at everything until then.
    """
    return last_looks(_looks(fitted, follow_up), groups)


def end_of_follow_up(experiments: Iterable[Experiment]) -> float:
    """Return when the first patient is no longer followed, days since entry: the median over parameter sets."""
    ends: list[Floats] = []
    for one in experiments:
        horizon = np.broadcast_to(one.tables.horizon, one.design["data_cut"].shape)
        ends.append(np.minimum(horizon, one.design["data_cut"]))
    return float(np.median(np.concatenate(ends)))


def _looks(fitted: Fit, follow_up: float) -> list[tuple[str, float]]:
    """Return, for each fitted target that looks at survival, the group that it is about, and until when it looks."""
    reading = fitted.readings[fitted.default]
    by_id: Mapping[str, EvidenceEntry] = {entry.id: entry for entry in reading.experiment.selection.entries}
    found = []
    for component in reading.components:
        for term in component.terms:
            for entry in (by_id[name] for name in term.targets if name in by_id):
                statistic = statistic_of(entry)
                if statistic.column.kind not in _SURVIVAL:
                    continue
                time = statistic.time if statistic.time is not None else np.nan
                reported = np.nan if entry.reported is None else entry.reported
                until = looked_at_until(entry.estimator_name or "", time, reported, entry.half_width or 0.0)
                until = follow_up if isinstance(term, Simulated) or np.isnan(until) else until
                groups = [where for where in (statistic.where, statistic.against) if where is not None]
                found += [(where.stratum or where.arm or EVERYBODY, until) for where in groups]
    return found
