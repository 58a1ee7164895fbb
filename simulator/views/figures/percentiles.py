"""Where reported numbers fall among simulated ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from simulator.views.figures.style import INK, MUTED, axes, figure_of, literal, of_a_run, short

_ROLES = {
    "held_out": ("#000000", "o"),
    "left_out": ("#56B4E9", "s"),
    "used": ("#56B4E9", "D"),
    "fitted": ("#FFFFFF", "o"),
    "borrowed": ("#E69F00", "^"),
    "not_fitted": ("#E69F00", "v"),
}


def targets(tree: xr.DataTree, ax: Axes | None = None) -> Figure:
    """Draw where each reported number falls among the simulated ones: its percentile and the central 95 %."""
    node = of_a_run(tree)["targets"].to_dataset()
    n = node.sizes["target"]
    ax = axes(ax, 8.0, 1.6 + 0.24 * n)
    y = np.arange(n)
    percentile, error = node["percentile"].values, node["percentile_standard_error"].values
    ax.barh(y, 95, left=2.5, height=0.62, color="#56B4E9", alpha=0.3, linewidth=0)
    ax.vlines(50, -0.5, n - 0.5, color=MUTED, linewidth=0.6)
    roles = [str(role) for role in node["role"].values]
    present = [role for role in dict.fromkeys(roles) if role]
    for role in dict.fromkeys(roles):
        face, marker = _ROLES.get(role, ("#999999", "o"))
        shown = np.array([each == role for each in roles]) & np.isfinite(percentile)
        ax.errorbar(
            100 * percentile[shown], y[shown], xerr=100 * error[shown], fmt="none", ecolor=MUTED, elinewidth=0.8
        )
        ax.plot(
            100 * percentile[shown],
            y[shown],
            marker,
            color=face,
            markeredgecolor=INK,
            markersize=6,
            clip_on=False,
        )
    for at in y[~np.isfinite(percentile)]:
        ax.text(50, at, "not computed", ha="center", va="center", fontsize="x-small", color=MUTED)
    labels = [
        literal(f"{short(str(name), 46)}  {id_}")
        for name, id_ in zip(node["name"].values, node["target"].values, strict=True)
    ]
    ax.set_yticks(y, labels, fontsize="small")
    ax.set_ylim(n - 0.5, -0.5)
    ax.set_xlim(0, 100)
    ax.set_xlabel("Percentile among simulated studies (%)")
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
    handles: list[Any] = [Patch(color="#56B4E9", alpha=0.3, linewidth=0, label="central 95 %")]
    handles += [
        Line2D([], [], linestyle="none", marker=_ROLES.get(role, ("#999999", "o"))[1], markeredgecolor=INK,
               color=_ROLES.get(role, ("#999999", "o"))[0], label=literal(role.replace("_", " ")))
        for role in present
    ]  # fmt: skip
    handles.append(Line2D([], [], color=MUTED, linewidth=0.8, label="± Monte-Carlo error"))
    ax.legend(
        handles=handles,
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        ncols=4,
        frameon=False,
        fontsize="small",
    )
    return figure_of(ax)
