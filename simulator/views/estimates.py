"""The table of estimates: of a run, or of every scenario of a sweep. Knows trees and digits; computes no statistic."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr
from rich.console import Group, RenderableType
from rich.text import Text

from simulator.views.tables import add_row, ruled_table, significant, supported, swept_heads, swept_labels

NODE = "estimates"
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
        ("95 %\ninterval", right), ("unit", {}),
    )  # fmt: skip
    places = list(np.ndindex(*(root.sizes[name] for name in swept)))
    for place in places[:MOST_SCENARIOS]:
        at = dict(zip(swept, place, strict=True))
        for cells in estimate_rows(node.isel(at, missing_dims="ignore")):
            add_row(table, [*swept_labels(root, at), *cells])
    left = len(places) - MOST_SCENARIOS
    rest = [Text(f"… {left:,} scenarios more")] if left > 0 else []
    return Group(table, *rest, Text(), Text("mean: over the studies in which it is finite"))


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
