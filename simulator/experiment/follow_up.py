"""How long the design of a study can follow its patients: potential follow-up, and figures that lie beyond it.

Potential follow-up of a patient is the time from entry to the data cut, or to the horizon where that is shorter. It is
a quantity of the design: deaths and losses do not enter it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from simulator.configuration.values import Problems
from simulator.evidence.statistic import Statistic
from simulator.kernels.quantiles import quantile
from simulator.tables import Floats

LATEST = 1.0 - 1e-12  # level of the quantile that stands for the last entry of an unbounded accrual
EARLIEST = 1e-12
MEDIAN = 0.5


def potential_follow_up(horizon: Floats, design: Mapping[str, Any], entered: float) -> Floats:
    """Return the potential follow-up of who enters at a quantile of accrual, (parameter sets,), days ≥ 0.

    Parameters
    ----------
    horizon : of each parameter set, days.
    design : arrays of `study.design`, by name.
    entered : level of the quantile: `EARLIEST` gives the longest, `MEDIAN` the time that half of the patients reach.
    """
    cut = design["data_cut"]
    if not np.isfinite(cut).any():
        return np.broadcast_to(horizon, cut.shape)
    rows = zip(design["entry_code"].tolist(), design["entry"].tolist(), strict=True)
    entry = np.array([quantile(code, entered, *numbers) for code, numbers in rows])
    return np.asarray(np.maximum(np.minimum(horizon, cut - entry), 0.0))


def refuse_beyond(wanted: Mapping[str, Statistic], last: float, problems: Problems) -> list[str]:
    """Refuse evidence about a time beyond the longest potential follow-up; return warnings of other statistics.

    ``wanted``: by key. What a user asks for is undefined, and counted so, in every study whose curve is not 0 by then.
    ``last``: days, half-open; the area under a curve may end with it.
    """
    notes = []
    for key, statistic in wanted.items():
        time, mean = statistic.time, not statistic.record.point
        if time is None or statistic.extend or (time <= last if mean else time < last):
            continue
        what = f"nobody is followed beyond day {last:g} (accrual and data cut of the study)"
        if key.startswith("evidence."):
            allowed = f"{what}, so that it is undefined; extend: true keeps the last value of a curve"
            problems.add(f"{key}.time", time, allowed)
        else:
            notes.append(f"{key}.time = {time:g}: {what}, so that it is undefined unless a curve has reached 0")
    return notes
