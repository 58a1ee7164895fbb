"""What a run would hold in memory, judged from its declaration before anything is allocated."""

from __future__ import annotations

import math
from collections.abc import Mapping

from simulator.configuration.values import Problems, nearest_to_the_run
from simulator.experiment.root import Output
from simulator.model.study import Study
from simulator.tables import ModelTables

MOST_BYTES = 16e9
"""Bytes of the largest array of results."""
KEPT_CURVES = 10_000
"""Studies whose curves are kept, for the band (`study.statistics.BAND_REPLICATES`)."""
NUMBER = 8
"""Bytes of one."""


def check(
    output: Output,
    study: Study,
    tables: ModelTables,
    n_statistics: int,
    draws: int | None,
    by_hand: Mapping[str, str],
    problems: Problems,
) -> None:
    """Refuse results that no memory holds: curves, statistics of each study, histories that are kept."""
    replicates, n_draws = study.replicates, draws or 1
    patients = int(tables.patients.n_patients.max())
    points = float(tables.horizon.max()) / output.time_step + 1.0
    groups = 1 + len(tables.arms) + len(tables.strata) + len(tables.arms) * len(tables.strata)
    curves = max(min(replicates, KEPT_CURVES), 2 + len(tables.states) + len(tables.events) * n_draws)
    histories = len(tables.events) + len(tables.markers) + len(tables.patients.covariates) + 12
    sizes = {
        "curves": (points * groups * curves, ("output.time_step", "study.horizon", "study.replicates")),
        "statistics of studies": (
            float(replicates) * n_draws * (n_statistics + 3 * len(output.decisions) + 1),
            ("study.replicates", "parameters.draws"),
        ),
    }
    for what in ("patients", "events"):
        if getattr(output, what):
            size = float(replicates) * patients * histories
            sizes[f"histories of {what}"] = (size, (f"output.{what}", "cohort.n_patients", "study.replicates"))
    values = {
        "output.time_step": output.time_step,
        "study.horizon": study.horizon,
        "study.replicates": replicates,
        "parameters.draws": draws,
        "cohort.n_patients": patients,
        "output.patients": output.patients,
        "output.events": output.events,
    }
    for what, (numbers, keys) in sizes.items():
        if numbers * NUMBER <= MOST_BYTES:
            continue
        key = nearest_to_the_run(keys, by_hand)
        others = ", ".join(f"{name} = {values[name]}" for name in keys if name != key and values[name] is not None)
        takes = f"{numbers * NUMBER / 1e9:.3g} GB" if math.isfinite(numbers) else "more than can be counted"
        allowed = f"makes {what} that take {takes}; at most {MOST_BYTES / 1e9:g} GB"
        problems.add(key, values[key], f"{allowed}, together with {others}" if others else allowed)
