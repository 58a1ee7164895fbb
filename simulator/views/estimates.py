"""The table of estimates: of a run, or of every scenario of a sweep. Knows trees and digits; computes no statistic."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr
from rich.console import Group, RenderableType
from rich.text import Text

from simulator.views.tables import add_row, ruled_table, significant, supported

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
        *((name, {}) for name in swept), ("estimate", {}), ("mean", right), ("±", right), ("median", right),
        ("95 %\ninterval", right), ("unit", {}),
    )  # fmt: skip
    places = list(np.ndindex(*(root.sizes[name] for name in swept)))
    for place in places[:MOST_SCENARIOS]:
        at = dict(zip(swept, place, strict=True))
        labels = [str(root[name].values[where]) for name, where in at.items()]
        for cells in estimate_rows(node.isel(at, missing_dims="ignore")):
            add_row(table, [*labels, *cells])
    left = len(places) - MOST_SCENARIOS
    rest = [Text(f"… {left:,} scenarios more")] if left > 0 else []
    notes = ["mean: over the studies in which it is finite", *([BOTH_ENDS] if SHARE in node.coords else [])]
    return Group(table, *rest, Text(), *map(Text, notes))


def estimate_rows(node: xr.Dataset) -> Iterator[tuple[str, ...]]:
    """Yield name, mean, its error, median, interval and unit of each estimate of one scenario, as shown."""
    for number, name in enumerate(node["estimate"].values):
        one = node.isel(estimate=number)
        if not one["simulated"].notnull().any():  # a scenario that has none of it, or a study that never defines it
            continue

        def figure(what: str, one: xr.Dataset = one) -> str:
            error = one["mean_standard_error" if what == "mean" else f"{what}_standard_error"].item()
            return supported(one[what].item(), error, 1.0, _DIGITS)

        error = one["mean_standard_error"].item()
        interval = f"{figure('lower')} – {figure('upper')}"
        told = significant(error) if np.isfinite(error) else "–"
        yield str(name), figure("mean"), told, figure("median"), interval, str(one["stored_unit"].item())
