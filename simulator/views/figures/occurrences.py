"""What happens to patients and when: incidence, states, times to events."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from simulator.results.assumptions import grounds_of
from simulator.views.figures.style import (
    ASSUMED,
    INK,
    LEGEND,
    LINES,
    MUTED,
    OKABE_ITO,
    PAPER,
    assumed_patch,
    axes,
    chosen,
    colour_of_group,
    dress_rows,
    dress_shares,
    event_label,
    figure_of,
    group_label,
    nothing,
    statistics_of,
)

_NO_EVENTS = "no event is counted in this model"
_SHARE = "Share of patients"
_ASSUMED = "when: assumption alone"
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_REPORTED = ("median", "kaplan_meier_median", "naive_median")


def cumulative_incidence(
    tree: xr.DataTree,
    ax: Axes | None = None,
    *,
    events: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
    legend: bool = True,
) -> Figure:
    """Draw the share of patients in whom events have happened by a time, as it truly is: deaths by cause.

    One event is drawn for each group, several for the first of the groups. ``events`` and ``groups`` are values of
    coordinates of the statistics. An event of which nothing but assumption says when it happens is hatched beneath if
    it is drawn alone, and called assumed otherwise.

    Raises
    ------
    ConfigError
        If there is no event or no group of a name.
    """
    statistics, ax = statistics_of(tree), axes(ax, 6.0, 4.0)
    if "event" not in statistics.coords:
        nothing(ax, _NO_EVENTS)
        return figure_of(ax)
    every = [str(name) for name in statistics["group"].values]
    names = chosen("events", events, [str(name) for name in statistics["event"].values], "event")
    of = chosen("groups", groups, every, "group")
    time, bases, colours = statistics["time"].values, grounds_of(tree).bases(), colour_of_group(every)
    one = len(names) == 1
    assumed = {name for name in names if name in bases and bases[name].assumed}
    curves = [(name, group) for name in names for group in (of if one else of[:1])]
    for i, (name, group) in enumerate(curves):
        share = statistics["cumulative_incidence"].sel(event=name, group=group).values
        colour = colours[group] if one else OKABE_ITO[i % len(OKABE_ITO)]
        label = group_label(group) if one else event_label(name) + (" (assumed)" if name in assumed else "")
        ax.plot(time, share, color=colour, linestyle=LINES[i % len(LINES)], linewidth=1.8, label=label)
    if one and assumed:
        _hatch(ax, time, statistics["cumulative_incidence"].sel(event=names[0], group=of[0]).values)
    dress_shares(ax, float(time[-1]), y=_SHARE)
    handles = [line for line in ax.lines if len(curves) > 1]
    if one and assumed:
        handles.append(assumed_patch(_ASSUMED))
    if handles and legend:
        ax.legend(handles=handles, **LEGEND)
    return figure_of(ax)


def states(tree: xr.DataTree, ax: Axes | None = None, *, group: str | None = None) -> Figure:
    """Draw the share of patients in each state over time, as it truly is, one above the other.

    ``group`` is a value of the coordinate ``group`` of the statistics, the first if none is named.

    Where states follow upon each other, the edge beneath a state is survival free of what leads to it: beneath a state
    of progression, progression-free survival. Hatched are states that patients enter only through events of which
    nothing but assumption says when they happen.

    Raises
    ------
    ConfigError
        If there is no group of this name.
    """
    statistics, ax = statistics_of(tree), axes(ax, 6.0, 4.0)
    known = [str(name) for name in statistics["group"].values]
    [group] = chosen("group", known[:1] if group is None else [group], known, "group")
    time, names = statistics["time"].values, [str(name) for name in statistics["state"].values]
    shares = statistics["state_occupancy"].sel(group=group).values
    hatched = [name in grounds_of(tree).assumed_states() for name in names]
    colours = [OKABE_ITO[i % len(OKABE_ITO)] for i in range(len(names))]
    ax.stackplot(time, shares, colors=colours, alpha=0.55, linewidth=0)
    edges = np.concatenate([np.zeros((1, time.size)), np.cumsum(shares, axis=0)])
    for below, above, assumed in zip(edges, edges[1:], hatched, strict=False):
        if assumed:
            _hatch(ax, time, above, below)
    dress_shares(ax, float(time[-1]), y=_SHARE)
    handles: list[Any] = [
        Patch(facecolor=colour, alpha=0.55, linewidth=0, label=event_label(name))
        for name, colour in zip(names, colours, strict=True)
    ]
    handles += [assumed_patch(_ASSUMED)] if any(hatched) else []
    ax.legend(
        handles=handles[::-1], frameon=False, fontsize="small", loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2
    )
    return figure_of(ax)


def time_to_event(
    tree: xr.DataTree,
    ax: Axes | None = None,
    *,
    events: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
) -> Figure:
    """Draw when events happen, among those in whom they do: 5, 25, 50, 75 and 95 % points, true and as seen.

    A row for each event and group, of events other than deaths unless ``events`` names others; ``events`` and
    ``groups`` are values of coordinates of the statistics. Reported medians stand beside.

    Raises
    ------
    ConfigError
        If there is no event or no group of a name.
    """
    statistics = statistics_of(tree)
    rows = event_rows(tree, events, groups)
    ax = axes(ax, 6.0, 1.2 + 0.45 * max(len(rows), 2))
    if not rows:
        nothing(ax, _NO_EVENTS)
        return figure_of(ax)
    every, bases = [str(name) for name in statistics["group"].values], grounds_of(tree).bases()
    colours = colour_of_group(every)
    for y, (event, group) in enumerate(rows):
        at = {"event": event, "group": group}
        true, seen = (statistics[f"time_to_event_{what}"].sel(at).values for what in ("true", "observed"))
        if not np.isfinite(true).all():
            ax.annotate("happens in nobody", (0, y), xytext=(4, 0), textcoords="offset points", va="center",
                        fontsize="x-small", color=MUTED)  # fmt: skip
        assumed = event in bases and bases[event].assumed
        _box(ax, y - 0.17, seen, colours[group], hatch=ASSUMED if assumed else "")
        _box(ax, y + 0.17, true, MUTED, hatch=ASSUMED if assumed else "", filled=False)
        for time in _reported_medians(tree, event, group):
            ax.plot(time, y - 0.17, "D", color=PAPER, markeredgecolor=INK, markersize=6, zorder=5)
    dress_rows(
        ax, [event_label(event) + ("" if len(every) == 1 else f", {group_label(group)}") for event, group in rows]
    )
    ax.set_xlim(left=0)
    ax.set_xlabel("Time since entry (days)")
    handles: list[Any] = [
        Patch(facecolor=INK, alpha=0.4, label="as seen"),
        Patch(facecolor="none", edgecolor=MUTED, label="true"),
        Line2D([], [], linestyle="none", marker="D", color=PAPER, markeredgecolor=INK, label="reported median"),
    ]
    if any(event in bases and bases[event].assumed for event, _ in rows):
        handles.append(assumed_patch(_ASSUMED))
    ax.legend(handles=handles, frameon=False, fontsize="small", loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return figure_of(ax)


def event_rows(
    tree: xr.DataTree, events: Sequence[str] | None = None, groups: Sequence[str] | None = None
) -> list[tuple[str, str]]:
    """Return the rows of `time_to_event`, event and group. Raises ConfigError if there is none of a name."""
    statistics = statistics_of(tree)
    of = chosen("groups", groups, [str(name) for name in statistics["group"].values], "group")
    known = [str(name) for name in statistics["event"].values] if "event" in statistics.coords else []
    deaths = grounds_of(tree).deaths()
    alive = [name for name in known if name not in deaths]
    names = alive if events is None else chosen("events", events, known, "event")
    return [(event, group) for event in names for group in of]


def _hatch(ax: Axes, time: NDArray[Any], above: NDArray[Any], below: NDArray[Any] | float = 0.0) -> None:
    ax.fill_between(time, below, above, facecolor="none", edgecolor=MUTED, hatch=ASSUMED, linewidth=0, alpha=0.5)


def _box(ax: Axes, y: float, times: NDArray[Any], colour: str, *, hatch: str, filled: bool = True) -> None:
    """Whisker from the first quantile to the last, box between the middle ones, a stroke at the median."""
    if not np.isfinite(times).all():
        return
    low, lower, middle, upper, high = times
    ax.plot([low, high], [y, y], color=colour, linewidth=1.0)
    face: dict[str, Any] = {"color": colour, "alpha": 0.4} if filled else {"facecolor": PAPER, "edgecolor": colour}
    ax.barh(y, upper - lower, left=lower, height=0.24, linewidth=0.8, zorder=2, **face)
    if hatch:
        ax.barh(y, upper - lower, left=lower, height=0.24, facecolor="none", edgecolor=MUTED, hatch=hatch, linewidth=0)
    ax.plot([middle, middle], [y - 0.14, y + 0.14], color=colour, linewidth=2.2, zorder=3)


def _reported_medians(tree: xr.DataTree, event: str, group: str) -> Iterator[float]:
    """Yield reported medians of the time to an event: of a group, or of all in whom it happened."""
    node = tree["targets"].to_dataset()
    columns = ("target", "variable", "estimator", "group", "reported")
    for id_, what, how, of, reported in zip(*(node[name].values for name in columns), strict=True):
        if what == event and how in _REPORTED and np.isfinite(reported):
            own = _who(tree, str(id_)) == {"ever": event} if not of else of == "all"
            if of in (group, f"arm.{group}") or (own and group == "all"):
                yield float(reported)


def _who(tree: xr.DataTree, id_: str) -> dict[str, str]:
    """Return of whom a target is, as its evidence says: which of stratum, arm, status, ever and never are set."""
    entries = json.loads(tree.root.attrs.get("evidence", "{}")).get("entries") or []
    statistic = next((entry.get("statistic") for entry in entries if entry.get("id") == id_), None) or {}
    return {key: value for key, value in (statistic.get("where") or {}).items() if value is not None}
