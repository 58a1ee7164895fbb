"""The tree of a study of ranks: simulated papers one by one, and what their ranks say."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from calibration.output.columns import RowValue, Variable, described, variables
from calibration.output.results import record_of
from calibration.sbc.rank_checks import LEVELS, Verdict, ecdf, ecdf_band, points_of, uniform
from calibration.sbc.ranks import Ranks
from simulator.results.tree import assembled
from simulator.running.experiment import engine_of

QUANTITY = "number with a prior, or the log likelihood"


def ranks_tree(found: Ranks, verdict: Verdict) -> xr.DataTree:
    """Return the tree of a study of ranks: `papers` one by one, and `checks` of what their ranks say."""
    nodes = {"papers": _papers(found), "checks": _checks(found, verdict)}
    facts: dict[str, Any] = {
        "papers": len(found.papers.rank),
        "draws": found.draws,
        "control": found.control or "none",
        "false_alarm_of_all_checks": verdict.level,
        "false_alarm_of_one_check": verdict.each,
        "false_alarm_of_coverage_bounds": verdict.level,
        "failed": "; ".join(verdict.failed),
    }
    return assembled(nodes, record_of(found.fitted, engine=engine_of(found.fitted.readings[0].experiment), **facts))


def _papers(found: Ranks) -> xr.Dataset:
    papers = found.papers
    each, both, readings = ("paper",), ("paper", "quantity"), ("paper", "reading")
    units = [found.fitted.units.get(name, "1") for name in found.quantities]
    columns: dict[str, Variable] = {
        "rank": (both, papers.rank, "draws of the posterior below the truth", "1"),
        "position": (both, papers.position, "(rank + uniform number)/(draws + 1)", "1"),
        "truth": (both, papers.truth, "true value", "see unit"),
        "unit": (("quantity",), units, "unit of the true value", ""),
        "reading_share": (readings, papers.share, "share of the draws under each reading", "1"),
        "reading_refused": (readings, papers.refused, "whether it cannot have been printed under the reading", "1"),
        "true_reading": (each, papers.reading, "number of the true reading", "1"),
        "redrawn": (each, papers.redrawn, "draws of the prior that the model cannot produce, before the truth", "1"),
        "left_out": (each, papers.left_out, "share of draws of the posterior that the model cannot produce", "1"),
        "converged": (each, papers.converged, "whether every search ended before its stages ran out", "1"),
        "effective_size": (each, papers.effective_size, "least effective size of the parts of the posterior", "1"),
    }
    return described(
        columns,
        paper=(range(len(papers.rank)), "simulated paper", "1"),
        quantity=(found.quantities, QUANTITY, "1"),
        reading=(found.readings, "alternatives of the text", "1"),
    )


def _checks(found: Ranks, verdict: Verdict) -> xr.Dataset:
    points, expected = points_of(found.draws), uniform(found.draws)
    lower, upper = ecdf_band(len(found.papers.rank), found.draws, verdict.each)
    difference = np.stack([ecdf(column, found.draws) - expected for column in found.papers.rank.T])

    def covered(of: str, said: str) -> RowValue:
        return RowValue(lambda one: [getattr(interval, of) for interval in one.coverage], said, across="level")

    columns = {
        "chi_square_p_value": RowValue("chi_square", "p-value of χ² of ranks in bins"),
        "ecdf_p_value": RowValue("ecdf", "p-value of the ECDF of ranks"),
        "coverage": covered("share", "share of papers whose central interval holds the truth"),
        "coverage_lower": covered("lower", "exact binomial bound of the share, lower"),
        "coverage_upper": covered("upper", "exact binomial bound of the share, upper"),
        "coverage_p_value": covered("p_value", "exact binomial p-value of the share"),
    }
    curves: dict[str, Variable] = {
        "ecdf_difference": (("quantity", "rank"), difference, "ECDF of ranks − uniform", "1"),
        "band_lower": (("rank",), lower - expected, "simultaneous band of ecdf_difference, lower", "1"),
        "band_upper": (("rank",), upper - expected, "simultaneous band of ecdf_difference, upper", "1"),
    }
    return described(
        variables("quantity", verdict.quantities, columns) | curves,
        quantity=(found.quantities, QUANTITY, "1"),
        level=(LEVELS, "level of the central interval", "1"),
        rank=(points, "rank up to which is counted", "1"),
    )
