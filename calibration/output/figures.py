"""Figures of a calibration.

In the style of `simulator.views.figures`, whose colours and writing they use.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from calibration.diagnostics.calibrated import Calibrated
from calibration.diagnostics.comparison import Comparison
from calibration.output.report import ASSUMPTION
from calibration.posterior.draws import Draws
from calibration.posterior.fit import Fit
from calibration.prediction.survival import simulated_draws
from calibration.samplers.summary import Row
from simulator.running.draws import tree_of
from simulator.tables import Floats
from simulator.units import UNITS
from simulator.views import figures
from simulator.views.figures import ASSUMED, OKABE_ITO
from simulator.views.figures.style import INK, LINES, MUTED, assumed_patch, dress_shares, group_label, literal

PARAMETERS, SURVIVAL, TARGETS = "parameters.png", "survival_fit.png", "targets.png"
ALTERNATIVES = "alternatives.png"
COLUMNS = 4
GRID = 200
SURVIVAL_DRAWS, SURVIVAL_STUDIES = 60, 60
_PRIOR, _POSTERIOR = "#888888", OKABE_ITO[0]


def parameters(rows: list[Row], prior: Draws, posterior: Draws, units: dict[str, str]) -> Figure:
    """Draw the density of every number before and after the data, with its contraction or that it is an assumption."""
    shown = [row for row in rows if not math.isnan(row.contraction)]
    n_rows = math.ceil(len(shown) / COLUMNS)
    figure = figures.new_figure(3.0 * COLUMNS, 0.7 + 1.75 * n_rows)
    axes = figure.subplots(n_rows, COLUMNS, squeeze=False)
    for ax in axes.flat[len(shown) :]:
        ax.set_visible(False)
    for ax, row in zip(axes.flat, shown, strict=False):
        _densities(ax, row, prior.values[row.name], posterior.values[row.name])
        ax.set_xlabel(UNITS[units.get(row.name, "1")].label, fontsize="x-small", labelpad=1)
    handles = [
        Line2D([], [], color=_PRIOR, linewidth=1.4, linestyle="--", label="prior"),
        Line2D([], [], color=_POSTERIOR, linewidth=1.8, label="posterior"),
        Patch(color=_POSTERIOR, alpha=0.2, linewidth=0, label="central 95 % of the posterior"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=3, frameon=False, fontsize="small")
    figure.supylabel("density, each to its own height", fontsize="small")
    return figure


def _densities(ax: Axes, row: Row, before: Floats, after: Floats) -> None:
    before, after = (x[np.isfinite(x)] for x in (before, after))
    low = min(row.posterior.lower, row.prior.lower if not row.informed else row.posterior.lower)
    high = max(row.posterior.upper, row.prior.upper if not row.informed else row.posterior.upper)
    room = 0.8 * (high - low)
    least = 0.0 if min(before.min(), after.min()) >= 0.0 else -math.inf
    most = 1.0 if max(before.max(), after.max()) <= 1.0 else math.inf
    x = np.linspace(max(low - room, least), min(high + room, most), GRID)
    for values, colour, style, width in ((before, _PRIOR, "--", 1.4), (after, _POSTERIOR, "-", 1.8)):
        height = _density(values, x)
        top = height.max()
        ax.plot(x, height / top if top > 0 else height, color=colour, linestyle=style, linewidth=width)
        if colour == _POSTERIOR:
            inside = (x >= row.posterior.lower) & (x <= row.posterior.upper)
            ax.fill_between(x, height / top, where=inside.tolist(), color=colour, alpha=0.2, linewidth=0)
    said = f"contraction {row.contraction:.2f}" if row.informed else ASSUMPTION
    ax.set_title(row.name.replace("_", " ").replace(".", ", "), loc="left", fontsize="x-small", fontweight="bold")
    ax.annotate(said, (0.99, 0.97), xycoords="axes fraction", ha="right", va="top", fontsize="x-small", color="#222222",
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 1})  # fmt: skip
    ax.set_ylim(0, 1.25)
    ax.set_xlim(x[0], x[-1])
    ax.set_yticks([])
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.tick_params(labelsize="x-small", length=2)
    ax.spines[["top", "right", "left"]].set_visible(False)


def _density(values: Floats, x: Floats) -> Floats:
    """Return a kernel density estimate at x, reflected where x ends at the end of all values (0, or 1 of shares)."""
    low, high = np.quantile(values, [0.25, 0.75])
    spread = min(float(values.std()), float(high - low) / 1.34) or float(values.std()) or 1.0
    width = 0.9 * spread * len(values) ** -0.2
    ends = [end for end in (0.0, 1.0) if end in (x[0], x[-1])]
    all_of = np.concatenate([values, *(2.0 * end - values for end in ends)])
    heights: Floats = np.array([float(np.exp(-0.5 * ((at - all_of) / width) ** 2).sum()) for at in x])
    heights /= len(values) * width * math.sqrt(2.0 * math.pi)
    return heights


def survival(fitted: Fit, posterior: Draws, tree: xr.DataTree, informed: Mapping[str, float] | None = None) -> Figure:
    """Draw survival by stratum of draws of the posterior, what one study would show, and what was reported.

    Some draws are simulated for it, with as many studies each of the published size; percentiles are those of ``tree``.
    What lies beyond the last ``informed`` time of a group, days, is hatched.
    """
    curves = simulated(fitted, posterior)
    curves["targets"] = tree["targets"]
    return figures.survival(curves, informed=informed)


def alternatives(found: Comparison) -> Figure:
    """Draw survival by group under each alternative, and averaged; hatched is what no target informs."""
    first = found.sides[0].survival
    time, end = first.times, float(first.times[-1])
    n_columns = min(len(first.groups), 3)
    n_rows = math.ceil(len(first.groups) / n_columns)
    figure = figures.new_figure(7.0 if n_columns == 1 else 4.3 * n_columns, 1.0 + 3.0 * n_rows)
    axes = figure.subplots(n_rows, n_columns, squeeze=False, sharex=True, sharey=True)
    for ax in axes.flat[len(first.groups) :]:
        ax.set_visible(False)
    colours = [OKABE_ITO[k % len(OKABE_ITO)] for k in range(len(found.sides))]
    for g, (ax, group) in enumerate(zip(axes.flat, first.groups, strict=False)):
        for k, colour in enumerate(colours):
            lower, median, upper = found.share[k, :, g]
            ax.fill_between(time, lower, upper, color=colour, alpha=0.08, linewidth=0)
            for edge in (lower, upper):
                ax.plot(time, edge, color=colour, linewidth=0.6, linestyle=LINES[k % len(LINES)])
            ax.plot(time, median, color=colour, linewidth=1.6, linestyle=LINES[k % len(LINES)])
        ax.plot(time, found.averaged_share[1, g], color=INK, linewidth=1.0, linestyle=":")
        beyond = (time >= found.informed[group]).tolist()
        top = np.maximum(found.share[:, 2, g].max(axis=0), found.averaged_share[2, g])
        ax.fill_between(
            time, top, where=beyond, facecolor="none", edgecolor=MUTED, hatch=ASSUMED, linewidth=0, alpha=0.5
        )
        dress_shares(ax, end, y="Overall survival" if g % n_columns == 0 else "")
        ax.set_title(group_label(group), loc="left", fontsize="medium", fontweight="bold")
    handles: list[Any] = []
    for k, colour in enumerate(colours):
        line: Any = {"color": colour, "linewidth": 1.6, "linestyle": LINES[k % len(LINES)]}
        handles.append(Line2D([], [], **line, label=_legend_of(found, k)))
    handles.append(Line2D([], [], color=INK, linewidth=1.0, linestyle=":", label="averaged"))
    handles.append(Patch(color=INK, alpha=0.13, linewidth=0, label="95 % of draws, between thin lines"))
    handles.append(assumed_patch("beyond the last time that a target informs"))
    figure.legend(handles=handles, loc="outside upper center", ncols=3, frameon=False, fontsize="small")
    return figure


def _legend_of(found: Comparison, k: int) -> str:
    return literal(f"{found.names[k].replace('_', ' ')}, probability {found.probabilities[k]:.2f}")


def simulated(fitted: Fit, posterior: Draws) -> xr.DataTree:
    """Return the tree of a simulation over the first draws under the reading that a run takes if nothing is said."""
    from simulator.running.draws import DeclaredDraws

    reading = fitted.readings[fitted.default]
    rows = np.flatnonzero(posterior.reading == fitted.default)[:SURVIVAL_DRAWS]
    experiment, kept, brought = simulated_draws(reading, posterior, rows, SURVIVAL_STUDIES)
    numbers = tuple(range(len(kept)))
    return tree_of(reading.experiment, DeclaredDraws(numbers, (experiment,), numbers, {}), brought)


def write(folder: Path, found: Calibrated, tree: xr.DataTree) -> dict[str, str]:
    """Write all figures of a calibration and its tree into a folder; return what each file shows."""
    fitted, compared = found.fitted, found.compared
    shown = {
        PARAMETERS: (
            parameters(fitted.rows(), found.prior, found.posterior, fitted.units),
            "densities before and after the data",
        ),
        SURVIVAL: (
            survival(fitted, found.posterior, tree, compared.informed),
            "survival of draws of the posterior, and reported",
        ),
        TARGETS: (figures.targets(tree), "percentile of every reported value"),
    }
    if len(compared.sides) > 1:
        what = ", ".join(compared.sides[0].combination.chosen)
        shown[ALTERNATIVES] = alternatives(compared), f"survival by {what}, side by side"
    for name, (figure, _) in shown.items():
        figures.save(figure, folder / name)
    return {name: said for name, (_, said) in shown.items()}
