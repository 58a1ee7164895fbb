"""The table of estimates: of a run, or of every scenario of a sweep."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import xarray as xr
from rich.console import Group, RenderableType

from simulator.views.tables import add_row, line, ruled_table, significant, supported, swept_heads, swept_labels

NODE, SHARE = "estimates", "response_effect"
BOTH_ENDS = (
    "response differs between the arms, and what that does to survival is assumed: contrasts of survival stand for "
    "none of the responders' advantage caused by response, and for all of it (.causal); neither is a finding"
)
MOST_SCENARIOS = 100
"""Scenarios that are shown; of more the first ones."""
_DIGITS = 4


def estimates_table(tree: xr.DataTree) -> RenderableType:
    """Return what studies find beside the targets: mean with its Monte-Carlo error, median and central 95 %."""
    root, node = tree.to_dataset(), tree[NODE].to_dataset()
    swept = [str(name) for name in root.sizes]
    right = {"justify": "right", "no_wrap": True}
    table = ruled_table(
        *((head, {}) for head in swept_heads(root)), ("estimate", {}), ("mean", right), ("±", right), ("median", right),
        ("95 %\ninterval", right), ("unit", {}), ("studies\nwithout", {}),
    )  # fmt: skip
    places = list(np.ndindex(*(root.sizes[name] for name in swept)))
    for place in places[:MOST_SCENARIOS]:
        at = dict(zip(swept, place, strict=True))
        for cells in estimate_rows(node.isel(at, missing_dims="ignore")):
            add_row(table, [*swept_labels(root, at), *cells])
    left = len(places) - MOST_SCENARIOS
    rest = [line(f"… {left:,} scenarios more")] if left > 0 else []
    about = [MEANS, *horizons(node), *([BOTH_ENDS] if SHARE in node.coords else [])]
    return Group(table, *rest, line(), *map(line, about))


MEANS = (
    "mean: over the studies in which it is finite; studies without: share in which it is undefined (undef.), as beyond "
    "all follow-up, or not reached (n.r.); −n.r.: a difference or ratio whose second group does not reach it"
)


def horizons(node: xr.Dataset) -> list[str]:
    """Return until when each restricted mean goes, in words; a contrast takes the median potential follow-up."""
    if "time" not in node:
        return []
    found = []
    for number, name in enumerate(map(str, node["estimate"].values)):
        one = node.isel(estimate=number)
        days = sorted({float(day) for day in np.ravel(one["time"].values) if not np.isnan(day)})
        if days and any("restricted_mean" in str(text) for text in np.ravel(one["estimator"].values)):
            found.append(f"{name}: until day {' | '.join(f'{day:g}' for day in days)}, the same in all studies")
    return found


def estimate_rows(node: xr.Dataset) -> Iterator[tuple[str, ...]]:
    """Yield name, mean, its error, median, interval, unit and studies without it of each estimate, as shown."""
    for number, name in enumerate(node["estimate"].values):
        one = node.isel(estimate=number)
        counts = {what: float(one[f"n_{what}"].item()) for what in ("finite", "not_reached", "undefined")}
        if not sum(counts.values()) > 0:  # a scenario that has none of it
            continue

        def figure(what: str, one: xr.Dataset = one) -> str:
            error = one["mean_standard_error" if what == "mean" else f"{what}_standard_error"].item()
            return supported(one[what].item(), error, 1.0, _DIGITS)

        error = one["mean_standard_error"].item()
        interval = f"{figure('lower')} – {figure('upper')}"
        shown_error = significant(error) if np.isfinite(error) else "–"
        cells = figure("mean"), shown_error, figure("median"), interval, str(one["stored_unit"].item())
        yield str(name), *cells, without(counts)


def without(counts: Mapping[str, float]) -> str:
    """Return the shares of studies in which a number is undefined or not reached; empty where there are none."""
    total = sum(counts.values())
    shares = ((100 * counts[what] / total, said) for what, said in (("undefined", "undef."), ("not_reached", "n.r.")))
    return ", ".join(f"{_share(share)} % {said}" for share, said in shares if share > 0)


def _share(percent: float) -> str:
    """Two significant digits; 100 only of all."""
    return ">99" if 99.5 <= percent < 100 else f"{float(f'{percent:.2g}'):g}"
