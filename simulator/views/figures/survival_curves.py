"""Survival: simulated, as one study would show it, and reported."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from simulator.endpoints.estimators import ESTIMATORS
from simulator.results.assumptions import INFORMING, Look, grounds_of, last_looks
from simulator.units import DAYS_PER
from simulator.views.figures.style import (
    ASSUMED,
    INK,
    LEGEND,
    MUTED,
    assumed_patch,
    chosen,
    colour_of_group,
    dress_shares,
    figure_of,
    group_label,
    literal,
    new_figure,
    statistics_of,
)

_MARKERS = {"median": ("D", "reported median"), "landmark": ("o", "reported landmark")}
_NAIVE = ("s", "reported median, naive")
_BETWEEN = ("overall_survival_lower", "overall_survival_upper")  # of draws, where there are any
_LEAST_AT_RISK = 1.0
_NEAR = 0.3  # of the width of a panel: what a note takes
_MONTHS = (1, 2, 3, 6, 12, 24, 60, 120)
_OUTCOME = "Overall survival"


def survival(
    tree: xr.DataTree,
    ax: Axes | None = None,
    *,
    groups: Sequence[str] | None = None,
    annotated: bool = False,
    informed: Mapping[str, float] | None = None,
) -> Figure:
    """Draw simulated survival by group, what one study would show of it, and what was reported.

    Of a run over draws of a posterior: the mean over draws, how much survival varies between draws, and, apart from
    that, what one study would show of an average draw. Hatched below is what rests on assumption alone, by the
    provenance classes in the run record, and what lies beyond the last time at which a target informs survival.

    Without ``ax`` a figure is made with a panel for each group and the numbers at risk beneath it; with ``ax`` all
    groups are drawn there, and if ``annotated`` those of the first with their numbers at risk and the ids of reported
    points. ``groups`` are values of the coordinate ``group`` of the statistics.

    Raises
    ------
    ConfigError
        If there is no group of a name.
    """
    statistics = statistics_of(tree)
    known = [str(name) for name in statistics["group"].values]
    names = chosen("groups", groups, known, "group")
    points = _points(tree["targets"].to_dataset(), known)
    colours, doubts = colour_of_group(known), doubts_of(tree, known)
    if informed is not None:
        doubts = {name: replace(doubt, after=informed.get(name, doubt.after)) for name, doubt in doubts.items()}
    end = _end(statistics, [point for point in points if point.group in names])
    if ax is None:
        return _panels(statistics, names, points, colours, end, doubts)
    for name in names:
        of_group = statistics.sel(group=name)
        _draw_survival(
            ax, of_group, colours[name], doubts[name] if name == names[0] else Doubt(), label=group_label(name)
        )
        shown = [point for point in points if point.group == name]
        _draw_points(ax, shown, colours[name], notes="short" if annotated else "", end=end)
    dress_shares(ax, end, y=_OUTCOME)
    if annotated:
        _draw_at_risk(ax, statistics.sel(group=names[0]), size="small")
        ax.xaxis.labelpad = 14
    elif len(names) > 1:
        ax.legend(**LEGEND)
    return figure_of(ax)


@dataclass(frozen=True)
class Doubt:
    """What of survival no evidence informs: all of it, or what comes after a time in days."""

    assumed: bool = False
    after: float = math.inf

    @property
    def said(self) -> str:
        """Words for a legend."""
        return "rests on assumption alone" if self.assumed else "beyond the last time that a target informs"


def doubts_of(tree: xr.DataTree, groups: Sequence[str]) -> dict[str, Doubt]:
    """Return what of each group's survival no evidence informs; all that is known if the tree has no record.

    A target informs that a calibration fitted, or that a value was chosen by. Where none does, there is no last time.
    """
    node = tree["targets"].to_dataset()
    columns = ("looks_at", "looks_until", "role")
    present = set(columns) <= set(node.variables)  # results of an older version do not have them
    rows = zip(*(node[name].values.tolist() for name in columns), strict=True) if present else ()
    looks = [Look(tuple(groups.split()), until) for groups, until, role in rows if groups and role in INFORMING]
    assumed = grounds_of(tree).survival_is_assumed()
    known = any(math.isfinite(look.until) for look in looks)
    return {group: Doubt(assumed, after if known else math.inf) for group, after in last_looks(looks, groups).items()}


@dataclass(frozen=True)
class _Point:
    """A reported point of a survival curve: time in days, survival 0 to 1."""

    id: str
    group: str
    time: float
    survival: float
    marker: str
    label: str
    note: str
    short_note: str
    informing: bool


def _points(node: xr.Dataset, groups: Sequence[str]) -> list[_Point]:
    points = []
    columns = ("target", "variable", "estimator", "group", "reported", "time", "percentile", "analysis_set", "role")
    for row in zip(*(node[name].values.tolist() for name in columns), strict=True):
        name, variable, estimator, of, reported, landmark, percentile, population, role = row
        group = _resolved(of, groups)
        record = ESTIMATORS.get(estimator)
        if variable != "survival" or record is None or not record.point or group is None:
            continue
        marker = _MARKERS[record.point] if record.censoring else _NAIVE
        time, share = (reported, 0.5) if math.isnan(landmark) else (landmark, reported)
        if math.isfinite(time):
            decimals = 0 if 0.01 <= percentile <= 0.99 else 1
            note = name if math.isnan(percentile) else f"{name}, percentile {100 * percentile:.{decimals}f}"
            of = f" (of {population})" if population != "treated" else ""
            notes = literal(f"{note}{of}"), literal(f"{name}{of}")
            points.append(_Point(name, group, time, share, *marker, *notes, role in INFORMING))
    return points


def _resolved(group: str, groups: Sequence[str]) -> str | None:
    """Name of the group in node statistics; where that has one group, every stratum and arm is all patients."""
    if not group:
        return None
    if len(groups) == 1:
        return groups[0]
    candidates = (group, group.removeprefix("arm."))
    return next((name for name in candidates if name in groups), None)


def _end(statistics: xr.Dataset, points: Sequence[_Point]) -> float:
    """Last time worth drawing: some patient of a study is still observed, or something was reported."""
    time, at_risk = statistics["time"].values, statistics["number_at_risk"].isel(group=0).values
    observed = time[at_risk >= _LEAST_AT_RISK]
    last = float(observed[-1]) if observed.size else float(time[-1])
    reported = max((point.time for point in points), default=0.0)
    return min(max(last, 1.15 * reported, float(time[min(1, time.size - 1)])), float(time[-1])) or 1.0


def _panels(
    statistics: xr.Dataset,
    groups: Sequence[str],
    points: Sequence[_Point],
    colours: dict[str, str],
    end: float,
    doubts: Mapping[str, Doubt],
) -> Figure:
    n_columns = len(groups) if len(groups) <= 3 else 2 if len(groups) == 4 else 3
    n_rows = math.ceil(len(groups) / n_columns)
    figure = new_figure(7.0 if n_columns == 1 else 4.3 * n_columns, 0.9 + 3.3 * n_rows)
    axes = figure.subplots(n_rows, n_columns, squeeze=False, sharex=True, sharey=True)
    for ax in axes.flat[len(groups) :]:
        ax.set_visible(False)
    for ax, name in zip(axes.flat, groups, strict=False):
        group = statistics.sel(group=name)
        size = _size(float(group["number_at_risk"].values[0]))
        _draw_survival(ax, group, colours[name], doubts[name])
        _draw_points(ax, [point for point in points if point.group == name], colours[name], notes="long", end=end)
        dress_shares(ax, end, y=_OUTCOME)
        ax.set_title(
            f"{group_label(name)}{size}", loc="left", fontsize="medium", color=colours[name], fontweight="bold"
        )
        ax.tick_params(labelbottom=True, labelleft=True)
        ax.set_xlabel("")
        ax.set_ylabel("")
        _draw_at_risk(ax, group)
    figure.supxlabel("Time since entry (days); at risk: patients of one study, mean", fontsize="medium")
    figure.supylabel(_OUTCOME, fontsize="medium")
    for ax in axes[0, : len(groups)]:
        months = next(step for step in _MONTHS if end / DAYS_PER["mo"] / step <= 9 or step == _MONTHS[-1])
        top = ax.secondary_xaxis("top", functions=(_to_months, _to_days))
        top.set_xticks(np.arange(0, end / DAYS_PER["mo"] + 1e-9, months))
        top.tick_params(labelsize="x-small", colors=MUTED, length=2, pad=1)
        top.set_xlabel("months", fontsize="x-small", color=MUTED, loc="right", labelpad=1)
        top.spines[:].set_visible(False)
    shown = [point for point in points if point.group in groups]
    dotted = bool((statistics["number_at_risk"].sel(group=list(groups), time=slice(0, end)) < _LEAST_AT_RISK).any())
    doubt = next((each for each in map(doubts.get, groups) if each and (each.assumed or each.after < end)), None)
    figure.legend(
        handles=_legend(shown, doubt, dotted=dotted, draws=_BETWEEN[0] in statistics),
        loc="outside upper center",
        ncols=max(2, n_columns),
        frameon=False,
        fontsize="small",
    )
    return figure


def _legend(points: Sequence[_Point], doubt: Doubt | None, *, dotted: bool, draws: bool = False) -> list[Any]:
    handles: list[Any] = [
        Line2D([], [], color=INK, linewidth=1.8, label="simulated survival"),
        Patch(color=INK, alpha=0.18, linewidth=0, label="Kaplan–Meier of one study, 95 % band"),
    ]
    if draws:
        handles = [
            Line2D([], [], color=INK, linewidth=1.8, label="simulated survival, mean of draws"),
            Patch(facecolor="none", edgecolor=INK, hatch="////", linewidth=0, label="parameters: 95 % of draws"),
            Patch(color=INK, alpha=0.18, linewidth=0, label="study sampling: 95 % band of one study, average draw"),
        ]
    for marker, label in dict.fromkeys((point.marker, point.label) for point in points):
        handles.append(Line2D([], [], linestyle="none", marker=marker, color=INK, label=label))
    if any(point.informing for point in points):
        open_marker: Any = {"marker": "o", "color": "white", "markeredgecolor": INK, "markeredgewidth": 1.5}
        handles.append(Line2D([], [], linestyle="none", label="open: the model was chosen by it", **open_marker))
    if dotted:
        handles.append(Line2D([], [], color=INK, linewidth=1.0, linestyle=":", label="fewer than one patient observed"))
    if doubt is not None:
        handles.append(assumed_patch(doubt.said))
    return handles


def _draw_survival(ax: Axes, group: xr.Dataset, colour: str, doubt: Doubt, *, label: str | None = None) -> None:
    """The curve and the band; dotted where less than one patient of a study is still observed, hatched in doubt."""
    time, share = group["time"].values, group["overall_survival"].values
    doubtful = time >= (0.0 if doubt.assumed else doubt.after)
    ax.fill_between(
        time, share, where=doubtful.tolist(), facecolor="none", edgecolor=MUTED, hatch=ASSUMED, linewidth=0, alpha=0.5
    )
    observed = group["number_at_risk"].values >= _LEAST_AT_RISK
    ax.fill_between(
        time, group["kaplan_meier_lower"].values, group["kaplan_meier_upper"].values,
        where=observed.tolist(), color=colour, alpha=0.18, linewidth=0, step="post",
    )  # fmt: skip
    if _BETWEEN[0] in group:
        lower, upper = (group[name].values for name in _BETWEEN)
        ax.fill_between(time, lower, upper, facecolor="none", edgecolor=colour, hatch="////", linewidth=0, alpha=0.7)
        for end in (lower, upper):
            ax.plot(time, end, color=colour, linewidth=0.7, linestyle="--")
    ax.plot(time, np.where(observed, share, np.nan), color=colour, linewidth=1.8, label=label)
    ax.plot(time, np.where(~observed, share, np.nan), color=colour, linewidth=1.0, linestyle=":")


def _draw_points(ax: Axes, points: Sequence[_Point], colour: str, *, notes: str, end: float) -> None:
    """Points and, if asked for, what they are: right above, one line higher where the next one is near."""
    ordered = sorted(points, key=lambda point: (point.time, point.id))
    raised, size = 0, "x-small" if notes == "long" else "small"
    for point, following in reversed([*zip_longest(ordered, ordered[1:])]):
        face = "white" if point.informing else colour
        ax.plot(
            point.time, point.survival, point.marker, color=face, markeredgecolor=colour, markeredgewidth=1.5,
            markersize=7, zorder=5, clip_on=False,
        )  # fmt: skip
        if notes:
            near = following is not None and (
                following.time - point.time < _NEAR * end and abs(following.survival - point.survival) < 0.08
            )
            raised = raised + 1 if near else 0
            left = point.time > 0.75 * end
            ax.annotate(
                point.note if notes == "long" else point.short_note, (point.time, point.survival),
                xytext=(-7 if left else 7, 7 + 10 * raised),
                textcoords="offset points", ha="right" if left else "left", va="bottom",
                fontsize=size, color=INK, zorder=6,
            )  # fmt: skip


def _draw_at_risk(ax: Axes, group: xr.Dataset, *, size: str = "x-small") -> None:
    """Numbers at risk at the ticks, beneath the tick labels."""
    time, at_risk = group["time"].values, group["number_at_risk"].values
    low, high = ax.get_xlim()
    for tick in ax.get_xticks():
        if low <= tick <= high:
            number = at_risk[np.searchsorted(time, tick, side="right") - 1]
            ax.annotate(
                f"{number:.0f}", (tick, 0), xytext=(0, -19), xycoords=("data", "axes fraction"),
                textcoords="offset points", ha="center", va="top", fontsize=size, color=MUTED,
            )  # fmt: skip
    ax.annotate(
        "at risk", (0, 0), xytext=(-14, -19), xycoords="axes fraction", textcoords="offset points",
        ha="right", va="top", fontsize=size, color=MUTED,
    )  # fmt: skip


def _size(n: float) -> str:
    whole = round(n)
    return f" (n {'=' if math.isclose(n, whole) else '≈'} {whole})"


def _to_months(days: Any) -> Any:
    return np.asarray(days) / DAYS_PER["mo"]


def _to_days(months: Any) -> Any:
    return np.asarray(months) * DAYS_PER["mo"]
