"""Figures. Knows trees, colours and paper; computes no statistic and keeps no state.

Figures are made without pyplot, so that they may be drawn in threads and inside other programs. Colours are
Okabe & Ito's (2008), which people with colour-blindness tell apart; no meaning rests on colour alone.
"""

from __future__ import annotations

import io
import math
import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter

from simulator.errors import ConfigError, Problem, unknown
from simulator.units import DAYS_PER

OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
RESOLUTION = 150
"""Dots per inch of a saved picture."""

_INK = "#222222"
_MUTED = "#666666"
_MARKERS = {
    "kaplan_meier_median": ("D", "reported median"),
    "kaplan_meier_median_midpoint": ("D", "reported median"),
    "naive_median": ("s", "reported median, naive"),
    "kaplan_meier_landmark": ("o", "reported landmark"),
}
_ROLES = {
    "held_out": ("#000000", "o"),
    "left_out": ("#56B4E9", "s"),
    "fitted": ("#FFFFFF", "o"),
    "borrowed": ("#E69F00", "^"),
}
_BETWEEN = ("overall_survival_lower", "overall_survival_upper")  # of draws, where there are any
_LEAST_AT_RISK = 1.0
_NEAR = 0.3  # of the width of a panel: what a note takes
_MONTHS = (1, 2, 3, 6, 12, 24, 60, 120)


def survival(tree: xr.DataTree, ax: Axes | None = None, *, groups: Sequence[str] | None = None) -> Figure:
    """Draw simulated survival by group, what one study would show of it, and what was reported.

    Of a run over draws of a posterior: the mean over draws, how much survival varies between draws, and, apart from
    that, what one study would show of an average draw.

    Without ``ax`` a figure is made with a panel for each group and the numbers at risk beneath it; with
    ``ax`` all groups are drawn there. ``groups`` are values of the coordinate ``group`` of the statistics.

    Raises
    ------
    ConfigError
        If there is no group of a name.
    """
    statistics = tree["spread" if "spread" in tree.children else "statistics"].to_dataset()
    known = [str(name) for name in statistics["group"].values]
    chosen = known if groups is None else list(groups)
    problems = [unknown("groups", name, known, what="group") for name in chosen if name not in known]
    if problems or not chosen:
        raise ConfigError(problems or Problem("groups", groups, "must name at least one group"))
    points = _points(tree["targets"].to_dataset(), known)
    colours = {known[0]: _INK} | {name: OKABE_ITO[i % len(OKABE_ITO)] for i, name in enumerate(known[1:])}
    end = _end(statistics, [point for point in points if point.group in chosen])
    if ax is not None:
        for name in chosen:
            _draw_survival(ax, statistics.sel(group=name), colours[name], label=_words(name))
            _draw_points(ax, [point for point in points if point.group == name], colours[name], notes=False)
        _dress(ax, end)
        ax.legend(frameon=False, fontsize="small")
        return _figure_of(ax)
    return _panels(statistics, chosen, points, colours, end)


def targets(tree: xr.DataTree, ax: Axes | None = None) -> Figure:
    """Draw where each reported number falls among the simulated ones: its percentile and the central 95 %."""
    node = tree["targets"].to_dataset()
    n = node.sizes["target"]
    if ax is None:
        figure = new_figure(8.0, 1.6 + 0.24 * n)
        ax = figure.add_subplot()
    y = np.arange(n)
    percentile, error = node["percentile"].values, node["percentile_standard_error"].values
    ax.barh(y, 95, left=2.5, height=0.62, color="#56B4E9", alpha=0.3, linewidth=0)
    ax.vlines(50, -0.5, n - 0.5, color=_MUTED, linewidth=0.6)
    roles = [str(role) for role in node["role"].values]
    present = [role for role in dict.fromkeys(roles) if role]
    for role in dict.fromkeys(roles):
        face, marker = _ROLES.get(role, ("#999999", "o"))
        mine = np.array([each == role for each in roles]) & np.isfinite(percentile)
        ax.errorbar(100 * percentile[mine], y[mine], xerr=100 * error[mine], fmt="none", ecolor=_MUTED, elinewidth=0.8)
        ax.plot(
            100 * percentile[mine],
            y[mine],
            marker,
            color=face,
            markeredgecolor=_INK,
            markersize=6,
            clip_on=False,
        )
    for at in y[~np.isfinite(percentile)]:
        ax.text(50, at, "not computed", ha="center", va="center", fontsize="x-small", color=_MUTED)
    labels = [
        f"{_short(str(name), 46)}  {id_}" for name, id_ in zip(node["name"].values, node["target"].values, strict=True)
    ]
    ax.set_yticks(y, labels, fontsize="small")
    ax.set_ylim(n - 0.5, -0.5)
    ax.set_xlim(0, 100)
    ax.set_xlabel("Percentile among simulated studies (%)")
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
    handles: list[Any] = [Patch(color="#56B4E9", alpha=0.3, linewidth=0, label="central 95 %")]
    handles += [
        Line2D([], [], linestyle="none", marker=_ROLES.get(role, ("#999999", "o"))[1], markeredgecolor=_INK,
               color=_ROLES.get(role, ("#999999", "o"))[0], label=role.replace("_", " "))
        for role in present
    ]  # fmt: skip
    handles.append(Line2D([], [], color=_MUTED, linewidth=0.8, label="± Monte-Carlo error"))
    ax.legend(
        handles=handles,
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=4,
        frameon=False,
        fontsize="small",
    )
    return _figure_of(ax)


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure as PNG: the same figure, the same bytes; a file is replaced whole or not at all.

    Raises
    ------
    ConfigError
        If the file cannot be written.
    """
    target = Path(path)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=RESOLUTION, facecolor="white", metadata={"Software": None})
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
    try:
        temporary.write_bytes(picture.getvalue())
        temporary.replace(target)
    except OSError as error:
        raise ConfigError(
            Problem("figure", str(target), f"must be a file that can be written: {error.strerror}")
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


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
    fitted: bool


def _points(node: xr.Dataset, groups: Sequence[str]) -> list[_Point]:
    points = []
    for i in range(node.sizes["target"]):
        target = node.isel(target=i)
        group = _resolved(str(target["group"].item()), groups)
        estimator = str(target["estimator"].item())
        if str(target["variable"].item()) != "survival" or estimator not in _MARKERS or group is None:
            continue
        reported, landmark = float(target["reported"].item()), float(target["time"].item())
        time, share = (reported, 0.5) if math.isnan(landmark) else (landmark, reported)
        name, percentile = str(target["target"].item()), float(target["percentile"].item())
        if math.isfinite(time):
            decimals = 0 if 0.01 <= percentile <= 0.99 else 1
            note = name if math.isnan(percentile) else f"{name}, percentile {100 * percentile:.{decimals}f}"
            population = str(target["analysis_set"].item())
            note += f" (of {population})" if population != "treated" else ""
            fitted = str(target["role"].item()) == "fitted"
            points.append(_Point(name, group, time, share, *_MARKERS[estimator], note, fitted))
    return points


def _resolved(group: str, groups: Sequence[str]) -> str | None:
    """Name of the group in node statistics; where that has one group, every stratum and arm is everybody."""
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
        _draw_survival(ax, group, colours[name])
        _draw_points(ax, [point for point in points if point.group == name], colours[name], notes=True, end=end)
        _dress(ax, end)
        ax.set_title(f"{_words(name)}{size}", loc="left", fontsize="medium", color=colours[name], fontweight="bold")
        ax.tick_params(labelbottom=True, labelleft=True)
        ax.set_xlabel("")
        ax.set_ylabel("")
        _draw_at_risk(ax, group)
    figure.supxlabel("Time since entry (days); at risk: patients of one study, mean", fontsize="medium")
    figure.supylabel("Overall survival", fontsize="medium")
    for ax in axes[0, : len(groups)]:
        months = next(step for step in _MONTHS if end / DAYS_PER["mo"] / step <= 9 or step == _MONTHS[-1])
        top = ax.secondary_xaxis("top", functions=(_to_months, _to_days))
        top.set_xticks(np.arange(0, end / DAYS_PER["mo"] + 1e-9, months))
        top.tick_params(labelsize="x-small", colors=_MUTED, length=2, pad=1)
        top.set_xlabel("months", fontsize="x-small", color=_MUTED, loc="right", labelpad=1)
        top.spines[:].set_visible(False)
    shown = [point for point in points if point.group in groups]
    dotted = bool((statistics["number_at_risk"].sel(group=list(groups), time=slice(0, end)) < _LEAST_AT_RISK).any())
    figure.legend(
        handles=_legend(shown, dotted=dotted, draws=_BETWEEN[0] in statistics),
        loc="outside upper center",
        ncols=3,
        frameon=False,
        fontsize="small",
    )
    return figure


def _legend(points: Sequence[_Point], *, dotted: bool, draws: bool = False) -> list[Any]:
    handles: list[Any] = [
        Line2D([], [], color=_INK, linewidth=1.8, label="simulated survival"),
        Patch(color=_INK, alpha=0.18, linewidth=0, label="Kaplan–Meier of one study, 95 % band"),
    ]
    if draws:
        handles = [
            Line2D([], [], color=_INK, linewidth=1.8, label="simulated survival, mean of draws"),
            Patch(facecolor="none", edgecolor=_INK, hatch="////", linewidth=0, label="parameters: 95 % of draws"),
            Patch(color=_INK, alpha=0.18, linewidth=0, label="study sampling: 95 % band of one study, average draw"),
        ]
    for marker, label in dict.fromkeys((point.marker, point.label) for point in points):
        handles.append(Line2D([], [], linestyle="none", marker=marker, color=_INK, label=label))
    if any(point.fitted for point in points):
        open_marker: Any = {"marker": "o", "color": "white", "markeredgecolor": _INK, "markeredgewidth": 1.5}
        handles.append(Line2D([], [], linestyle="none", label="open: used in calibration", **open_marker))
    if dotted:
        handles.append(
            Line2D([], [], color=_INK, linewidth=1.0, linestyle=":", label="fewer than one patient observed")
        )
    return handles


def _draw_survival(ax: Axes, group: xr.Dataset, colour: str, *, label: str | None = None) -> None:
    """The curve and the band; dotted where less than one patient of a study is still observed."""
    time, share = group["time"].values, group["overall_survival"].values
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


def _draw_points(ax: Axes, points: Sequence[_Point], colour: str, *, notes: bool, end: float = math.inf) -> None:
    """Points and, if asked for, what they are: right above, one line higher where the next one is near."""
    ordered = sorted(points, key=lambda point: (point.time, point.id))
    raised = 0
    for point, following in reversed([*zip_longest(ordered, ordered[1:])]):
        face = "white" if point.fitted else colour
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
                point.note, (point.time, point.survival), xytext=(-7 if left else 7, 7 + 10 * raised),
                textcoords="offset points", ha="right" if left else "left", va="bottom",
                fontsize="x-small", color=_INK, zorder=6,
            )  # fmt: skip


def _draw_at_risk(ax: Axes, group: xr.Dataset) -> None:
    """Numbers at risk at the ticks, beneath the tick labels."""
    time, at_risk = group["time"].values, group["number_at_risk"].values
    low, high = ax.get_xlim()
    for tick in ax.get_xticks():
        if low <= tick <= high:
            number = at_risk[np.searchsorted(time, tick, side="right") - 1]
            ax.annotate(
                f"{number:.0f}", (tick, 0), xytext=(0, -19), xycoords=("data", "axes fraction"),
                textcoords="offset points", ha="center", va="top", fontsize="x-small", color=_MUTED,
            )  # fmt: skip
    ax.annotate(
        "at risk", (0, 0), xytext=(-8, -19), xycoords="axes fraction", textcoords="offset points",
        ha="right", va="top", fontsize="x-small", color=_MUTED,
    )  # fmt: skip


def _dress(ax: Axes, end: float) -> None:
    ax.set_xlim(0, end)
    ax.set_ylim(0, 1.0)
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    ax.set_xlabel("Time since entry (days)")
    ax.set_ylabel("Overall survival")
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    ax.set_axisbelow(True)


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of this size, inches, that belongs to no window."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _figure_of(ax: Axes) -> Figure:
    figure = ax.figure.figure  # the whole one, also where the axes stand in a subfigure
    if not isinstance(figure, Figure):
        raise ConfigError(Problem("ax", ax, "must be axes of a figure"))
    return figure


def _size(n: float) -> str:
    whole = round(n)
    return f" (n {'=' if math.isclose(n, whole) else '≈'} {whole})"


def _to_months(days: Any) -> Any:
    return np.asarray(days) / DAYS_PER["mo"]


def _to_days(months: Any) -> Any:
    return np.asarray(months) * DAYS_PER["mo"]


def _words(name: str) -> str:
    return "All patients" if name == "all" else name.removeprefix("arm.").replace("_", " ").capitalize()


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"
