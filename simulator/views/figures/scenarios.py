"""Scenarios of a sweep side by side: an outcome over what was swept, survival beside the reference, tornado,
contrasts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simulator.errors import ConfigError, Problem
from simulator.sweep.contrasts import Slices, contrast, one_way
from simulator.sweep.outcomes import ShownOutcome, difference, numbers, outcome_of
from simulator.sweep.scenarios import SweptDimension, drawn, one, part, reference, swept
from simulator.views.arrangement import MOST_CELLS, MOST_DOTS, MOST_LINES, MOST_POINTS, asked
from simulator.views.figures.style import (
    INK,
    LINES,
    MUTED,
    OKABE_ITO,
    axes,
    dress,
    dress_rows,
    dress_shares,
    figure_of,
    literal,
    nothing,
    short,
)
from simulator.views.figures.survival_curves import survival

WIDE_ERROR = 1.96
"""Monte-Carlo standard errors on either side of what is drawn: 95 %."""
MOST_ROWS = 24
"""Labels of a swept key in a tornado or a figure of contrasts."""
LEGEND_COLUMNS = 2
"""Columns of the legend that stands above the axes."""
_MARKERS = ("o", "s", "^", "D", "v", "P")
_NAME = 34  # characters that have room along the axis of values
_ASIDE = 0.1  # of the way from word to word
_SHADES = 32  # colours of a heat map: a page has them all in the bar beside it
_MOST_TICKS = 6  # numbers beneath an axis that are labels
_MOST_TURNED = 4  # words beneath an axis that have room side by side
_LEGEND: dict[str, Any] = {
    "loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "frameon": False, "fontsize": "small", "borderpad": 0.1,
    "handlelength": 1.6, "columnspacing": 0.9, "labelspacing": 0.2, "ncols": LEGEND_COLUMNS,
}  # fmt: skip


def outcome(
    tree: xr.DataTree,
    ax: Axes | None = None,
    *,
    of: str,
    x: str | None = None,
    by: str | None = None,
    at: Mapping[str, Any] | None = None,
) -> Figure:
    """Draw an outcome over a swept key, a line for each label of another one.

    The band is the Monte-Carlo error (95 %); with one line, the pale area is the central 95 % of studies. Dashed is
    what was reported.

    Parameters
    ----------
    of : id of the outcome: of a target (``D07``), ``estimate.<name>``, ``decision.<name>``, ``survival_1y``, ``rmst``,
        ``event_<event>``, ``administrations_mean``, ``time_on_treatment``.
    x, by : swept dimensions; the longest and the next one if nothing is said. ``by=""`` draws one line.
    at : label at which other dimensions are held, instead of the reference.

    Raises
    ------
    ConfigError
        If something of a name is not in the tree, or the tree is not that of a sweep.
    """
    shown = outcome_of(tree, of)
    cut, along, other = asked(tree, x=x, by=by, at=at, most={"x": MOST_POINTS, "by": MOST_LINES})
    ax = axes(ax, 5.2, 3.6)
    dimensions = {each.name: each for each in swept(cut)}
    found = numbers(cut, shown)
    if not _any(found["value"]):
        nothing(ax, "No scenario that is shown has this number")
        return figure_of(ax)
    ground = dimensions[along]
    places, lines = _places(ground), dimensions[other].labels if other else ("",)
    for number, label in enumerate(lines):
        here = found.isel({other: number}) if other else found
        colour, style = OKABE_ITO[number % len(OKABE_ITO)], LINES[number % len(LINES)]
        value, error = _finite(here["value"].values), np.nan_to_num(here["error"].values, posinf=0.0)
        if not other and "lower" in here:
            lower, upper = (_finite(here[end].values) for end in ("lower", "upper"))
            if ground.numeric:
                ax.fill_between(places, lower, upper, color=colour, alpha=0.12, linewidth=0)
            else:
                ax.vlines(places, lower, upper, color=colour, alpha=0.2, linewidth=7)
        named: dict[str, Any] = {"label": literal(short(f"{other} {label}", 24))} if other else {"label": "simulated"}
        low, high = value - WIDE_ERROR * error, value + WIDE_ERROR * error
        if not ground.numeric:  # nothing lies between words
            _draw_words(ax, places, value, WIDE_ERROR * error, number, named)
            continue
        ax.fill_between(places, low, high, color=colour, alpha=0.3, linewidth=0)
        ax.plot(places, value, color=colour, linestyle=style, linewidth=1.6, marker=_MARKERS[number % len(_MARKERS)],
                markersize=3.5 if len(places) <= MOST_ROWS else 0, **named)  # fmt: skip
    reported = _reported(ax, found, along, places)
    _dress_swept(ax, ground, places)
    _name_value(ax, shown)
    if other or reported:
        ax.legend(**_LEGEND)
    return figure_of(ax)


def heat_map(
    tree: xr.DataTree,
    ax: Axes | None = None,
    *,
    of: str,
    x: str | None = None,
    by: str | None = None,
    at: Mapping[str, Any] | None = None,
) -> Figure:
    """Draw an outcome over two swept keys as colour; empty where a scenario has none. Parameters as of `outcome`."""
    shown = outcome_of(tree, of)
    cut, along, other = asked(tree, x=x, by=by, at=at, most={"x": MOST_CELLS, "by": MOST_CELLS})
    if not other:
        raise ConfigError(Problem("by", by, "must be a second swept dimension"))
    ax = axes(ax, 5.4, 3.8)
    dimensions = {each.name: each for each in swept(cut)}
    values = _finite(numbers(cut, shown)["value"].transpose(other, along).values)
    if not np.isfinite(values).any():
        nothing(ax, "No scenario that is shown has this number")
        return figure_of(ax)
    edges = [np.arange(len(dimensions[name].labels) + 1) - 0.5 for name in (along, other)]
    mesh = ax.pcolormesh(*edges, values, cmap=colormaps["cividis"].resampled(_SHADES), edgecolor="face", linewidth=0.4)
    mesh.set_clip_on(False)  # a page repeats it for every cell
    figure = figure_of(ax)
    box = ax.get_position()
    beside = ax.inset_axes((1.03, 0.0, 0.035, 1.0)) if box.width else None
    colours = figure.colorbar(mesh, cax=beside)
    if colours.solids is not None:
        colours.solids.set_clip_on(False)
        colours.solids.set_edgecolor("face")
        colours.solids.set_linewidth(0.4)
    colours.set_label(literal(short(shown.label, 38)), fontsize="small")
    for name, axis in ((along, ax.xaxis), (other, ax.yaxis)):
        labels = dimensions[name].labels
        ticks = np.unique(np.linspace(0, len(labels) - 1, min(len(labels), 6)).round().astype(int))
        axis.set_ticks(ticks, [_label(labels[tick], 12) for tick in ticks], fontsize="small")
    ax.set_xlabel(_axis_name(dimensions[along]))
    ax.set_ylabel(_axis_name(dimensions[other]))
    return figure


def scatter(
    tree: xr.DataTree,
    ax: Axes | None = None,
    *,
    of: str,
    x: str | None = None,
    by: str | None = None,
    at: Mapping[str, Any] | None = None,
    most: int = MOST_DOTS,
) -> Figure:
    """Draw an outcome of scenarios of a sampled design over one of the values that were drawn, at most so many points.

    ``x`` is a coordinate of the design, or a swept dimension; ``by`` a dimension that the design was crossed with, by
    colour and sign. Others as of `outcome`.
    """
    shown, sampled = outcome_of(tree, of), drawn(tree)
    over = x or (sampled[0] if sampled else None)
    cut, along, other = asked(tree, x=over, by=by, at=at, most={"x": most, "by": MOST_LINES})
    ax = axes(ax, 5.2, 3.6)
    found, root = numbers(cut, shown), cut.to_dataset()
    if not _any(found["value"]):
        nothing(ax, "No scenario that is shown has this number")
        return figure_of(ax)
    dimensions = {each.name: each for each in swept(cut)}
    where = root[over] if over in sampled else None
    ground = dimensions[along] if where is None else _coordinate(where)
    places = _places(ground)
    for number, label in enumerate(dimensions[other].labels if other else ("",)):
        value = _finite((found.isel({other: number}) if other else found)["value"].values)
        colour = OKABE_ITO[number % len(OKABE_ITO)]
        named: dict[str, Any] = {"label": literal(short(f"{other} {label}", 24))} if other else {}
        ax.plot(places, value, _MARKERS[number % len(_MARKERS)], color=colour, markersize=3.5, alpha=0.75,
                markeredgewidth=0, **named)  # fmt: skip
    reported = _reported(ax, found, along, places)
    _dress_swept(ax, ground, places)
    _name_value(ax, shown)
    if other or reported:
        ax.legend(**_LEGEND)
    return figure_of(ax)


def survival_beside(
    tree: xr.DataTree, ax: Axes | None = None, *, at: Mapping[str, Any], beside: Mapping[str, Any] | None = None
) -> Figure:
    """Draw overall survival of all patients in one scenario, with what one study would show and what was reported.

    ``at`` are labels of the scenario, the reference's where nothing is said; ``beside`` those of a second one, whose
    curve is drawn in grey.
    """
    ax = axes(ax, 5.2, 3.6)
    scenario = one(tree, reference(tree, at))
    node = scenario["statistics"].to_dataset()
    if not node.sizes["time"] or not node.sizes["group"]:
        nothing(ax, "This scenario is not finished")
        return figure_of(ax)
    survival(scenario, ax, groups=[str(node["group"].values[0])])
    if beside is not None:
        there = one(tree, reference(tree, beside))["statistics"].to_dataset()
        if there.sizes["time"] and there.sizes["group"]:
            share = there["overall_survival"].isel(group=0)
            ax.plot(there["time"].values, share.values, color=MUTED, linewidth=1.1, linestyle="--")
    dress_shares(ax, ax.get_xlim()[1], y="Overall survival")
    return figure_of(ax)


def tornado(
    tree: xr.DataTree,
    ax: Axes | None = None,
    *,
    of: str,
    at: Mapping[str, Any] | None = None,
    slices: Slices | None = None,
) -> Figure:
    """Draw how far an outcome moves from the reference when each swept key alone takes its other values.

    Bars go from the smallest to the largest difference, widest at the top; a dot is a label, its line the Monte-Carlo
    error (95 %), of pairs of studies where every study's value is kept. The outcome and ``at`` are as of `outcome`.
    Samples, draws and cohorts have no bar. ``slices`` are those of `one_way`, if they are made already.
    """
    shown = outcome_of(tree, of)
    slices = one_way(tree, at) if slices is None else slices
    ax = axes(ax, 6.4, 1.4 + 0.5 * max(len(slices), 1))
    rows = [(each, *_differences(made, shown)) for each, made in slices]
    rows = [(each, gap, error) for each, gap, error in rows if np.isfinite(gap).any()]
    if not rows:
        nothing(ax, "No swept key has finished scenarios to compare")
        return figure_of(ax)
    rows.sort(key=lambda row: np.nanmax(row[1]) - np.nanmin(row[1]), reverse=True)
    held = reference(tree, at)
    for y, (each, gap, error) in enumerate(rows):
        low, high = int(np.nanargmin(gap)), int(np.nanargmax(gap))
        ax.barh(y, gap[high] - gap[low], left=gap[low], height=0.5, color=OKABE_ITO[5], alpha=0.5, linewidth=0)
        others = [place for place, label in enumerate(each.labels) if label != held[each.name]]
        wide = WIDE_ERROR * np.nan_to_num(error[others])
        ax.errorbar(gap[others], np.full(len(others), y), xerr=wide, fmt="o", color=OKABE_ITO[0], ecolor=MUTED,
                    markersize=3.5, elinewidth=0.9)  # fmt: skip
        for place, side in ((low, "right"), (high, "left")):
            if each.labels[place] != held[each.name]:
                ax.annotate(
                    _label(each.labels[place], 14), (gap[place], y), xytext=(0, 9), textcoords="offset points",
                    ha="center" if low == high else side, va="bottom", fontsize="small", color=INK,
                )  # fmt: skip
    ax.axvline(0, color=MUTED, linewidth=0.8)
    dress_rows(ax, [literal(short(f"{each.name} (from {_label(held[each.name], 12)})", 34)) for each, *_ in rows])
    ax.set_ylim(len(rows) - 0.4, -0.75)
    ax.margins(x=0.12)
    ax.set_xlabel(_difference_name(shown), fontsize="small")
    return figure_of(ax)


def contrasts(
    tree: xr.DataTree,
    ax: Axes | None = None,
    *,
    of: str,
    against: Mapping[str, Any],
    at: Mapping[str, Any] | None = None,
) -> Figure:
    """Draw differences of an outcome from a reference with their Monte-Carlo intervals (95 %), one row a label.

    ``against`` is one label of a swept dimension, other dimensions are held as by ``at`` of `outcome`.
    """
    shown = outcome_of(tree, of)
    if len(against) != 1:
        raise ConfigError(Problem("against", dict(against), "must be one label of a swept dimension"))
    [name] = against
    held = {key: label for key, label in reference(tree, {**(at or {}), **against}).items() if key != name}
    cut = part(tree, held, most={name: MOST_ROWS}, keep=against)
    gap, error = _differences(contrast(cut, against, across_cohorts=True), shown)
    [each] = swept(cut)
    ax = axes(ax, 5.6, 1.2 + 0.24 * len(each.labels))
    rows = np.arange(gap.size)
    ax.errorbar(gap, rows, xerr=WIDE_ERROR * np.nan_to_num(error), fmt="o", color=OKABE_ITO[0], ecolor=OKABE_ITO[0],
                markersize=4, elinewidth=1.1)  # fmt: skip
    ax.axvline(0, color=MUTED, linewidth=0.8)
    dress_rows(ax, [_label(label, 22) for label in each.labels])
    ax.set_ylabel(_axis_name(each))
    ax.set_xlabel(_difference_name(shown), fontsize="small")
    return figure_of(ax)


def _differences(made: xr.DataTree, of: ShownOutcome) -> tuple[Any, Any]:
    """Differences along the one swept dimension of a contrast, and their errors; NaN where there are none."""
    found = difference(made, of)
    if found is None:
        [size] = (len(each.labels) for each in swept(made))
        return np.full(size, math.nan), np.full(size, math.nan)
    gap, error = found
    return _finite(gap.values), _finite(error.values)


def _draw_words(ax: Axes, places: Any, value: Any, wide: Any, number: int, named: Mapping[str, str]) -> None:
    """Draw values of words, each with its error; those of several lines stand a little aside of one another."""
    colour = OKABE_ITO[number % len(OKABE_ITO)]
    ax.errorbar(places + _ASIDE * number, value, yerr=wide, fmt=_MARKERS[number % len(_MARKERS)], color=colour,
                ecolor=colour, markersize=4.5, elinewidth=1.2, label=named["label"])  # fmt: skip


def _reported(ax: Axes, found: xr.Dataset, along: str, places: Sequence[float]) -> bool:
    """Draw what was reported, if it is the same for all that is shown, or along x alone."""
    if "reported" not in found:
        return False
    values = found["reported"].transpose(along, ...).values.reshape(found.sizes[along], -1)
    first = values[:, 0]
    same = (values == first[:, None]) | np.isnan(values)
    known = first[np.isfinite(first)]
    if not same.all() or not known.size:
        return False
    if (known == known[0]).all():
        ax.axhline(known[0], color=INK, linewidth=1.0, linestyle=(0, (4, 2)), label="reported")
    else:
        ax.plot(places, _finite(first), "_", color=INK, markersize=9, label="reported")
    return True


def _coordinate(values: xr.DataArray) -> SweptDimension:
    """A drawn value as a dimension of its own."""
    units = str(values.attrs.get("units", ""))
    key = str(values.attrs.get("long_name", values.name))
    return SweptDimension(str(values.name), (key,), tuple(values.values.tolist()), "" if units == "1" else units)


def _places(each: SweptDimension) -> Any:
    return np.asarray(each.labels, dtype=float) if each.numeric else np.arange(len(each.labels))


def _dress_swept(ax: Axes, each: SweptDimension, places: Any) -> None:
    """The axis of a swept key: numbers to scale, words side by side."""
    if each.numeric and not each.sampled and len(each.labels) <= _MOST_TICKS:
        ax.set_xticks(places, [_label(label, 10) for label in each.labels], fontsize="small")
    if not each.numeric:
        few = np.unique(np.linspace(0, len(each.labels) - 1, min(len(each.labels), 8)).round().astype(int))
        turned: dict[str, Any] = {}
        if len(few) > _MOST_TURNED:
            turned = {"rotation": 25, "ha": "right", "rotation_mode": "anchor"}
        ax.set_xticks(places[few], [_label(each.labels[tick], 13) for tick in few], fontsize="small", **turned)
        ax.set_xlim(-0.4, len(each.labels) - 0.6)
    dress(ax, x=_axis_name(each))


def _axis_name(each: SweptDimension) -> str:
    name = each.name.replace("_", " ")
    return literal(short(f"{name} ({each.units})" if each.units else name, 40))


def _name_value(ax: Axes, of: ShownOutcome) -> None:
    ax.set_ylabel(_with_unit(of), fontsize="small")


def _difference_name(of: ShownOutcome) -> str:
    return f"Difference: {_with_unit(of)}"


def _with_unit(of: ShownOutcome) -> str:
    unit = f" ({short(of.unit, 16)})" if of.unit else ""
    return literal(short(of.name, _NAME - len(unit)) + unit)


def _label(label: Any, length: int) -> str:
    return literal(short(f"{label:g}" if isinstance(label, float) else str(label), length))


def _finite(values: Any) -> Any:
    return np.where(np.isfinite(values), values, np.nan)


def _any(values: xr.DataArray) -> bool:
    return bool(np.isfinite(values.values).any())
