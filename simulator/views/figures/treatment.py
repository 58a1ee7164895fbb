"""What patients are given and what it does to them: administrations, adverse events, single histories."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter

from simulator.results.assumptions import Grounds, grounds_of
from simulator.views.figures.style import (
    INK,
    LEGEND,
    LINES,
    OKABE_ITO,
    PAPER,
    QUARTERS,
    axes,
    chosen,
    colour_of_group,
    dress,
    dress_rows,
    event_label,
    figure_of,
    group_label,
    nothing,
    statistics_of,
)

SHOWN_PATIENTS = 20
_SHARE = "Share of patients"
_SIGNS = ("o", "^", "s", "P", "v", "*", "X", "h")
_TERM = "adverse_event."
_ADVERSE = "adverse event"


def administrations(tree: xr.DataTree, ax: Axes | None = None, *, groups: Sequence[str] | None = None) -> Figure:
    """Draw the share of patients given at least so many administrations, by group, as it truly is.

    Raises
    ------
    ConfigError
        If there is no group of a name.
    """
    statistics, ax = statistics_of(tree), axes(ax, 6.0, 3.6)
    known = [str(name) for name in statistics["group"].values]
    names, colours = chosen("groups", groups, known, "group"), colour_of_group(known)
    visit = statistics["visit"].values
    if not visit.size or not statistics["administrations"].values.any():
        nothing(ax, "nothing is administered in this course")
        return figure_of(ax)
    for i, name in enumerate(names):
        share = statistics["administrations"].sel(group=name).values
        ax.plot(
            visit, share, color=colours[name], linestyle=LINES[i % len(LINES)], drawstyle="steps-mid",
            marker=_SIGNS[i % len(_SIGNS)], markersize=4.5, linewidth=1.2, label=group_label(name),
        )  # fmt: skip
    dress(ax, x="Number of the administration", y="Share of patients given it")
    ax.set_ylim(0, 1.02)
    ax.set_xlim(0.5, float(visit[-1]) + 0.5)
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    ax.set_yticks(QUARTERS)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    if len(names) > 1:
        ax.legend(**LEGEND)
    return figure_of(ax)


def adverse_events(tree: xr.DataTree, ax: Axes | None = None) -> Figure:
    """Draw the share of patients who ever have each adverse event: truly, as studies report it, and as reported.

    The bar is the true share. The line is the central 95 % of what simulated studies report, and the diamond the
    reported number, where there is a target. A row for each term, of all patients and of each group with targets.
    """
    statistics, rows = statistics_of(tree), term_rows(tree)
    if not rows:
        ax = axes(ax, 6.0, 2.0)
        nothing(ax, "the course declares no adverse events")
        return figure_of(ax)
    groups = [str(name) for name in statistics["group"].values]
    reported_terms = {(each.term, each.group): each for each in _reported_terms(tree, groups)}
    incidence, several = statistics["ae_incidence"], len({group for _, group in rows}) > 1
    ax, colours = axes(ax, 6.0, 1.2 + 0.3 * len(rows)), colour_of_group(groups)
    for y, (term, group) in enumerate(rows):
        ax.barh(
            y, float(incidence.sel(term=term, group=group)), height=0.55, color=colours[group], alpha=0.3, linewidth=0
        )
        if (term, group) in reported_terms:
            each = reported_terms[term, group]
            ax.plot([each.lower, each.upper], [y, y], color=colours[group], linewidth=2.2)
            ax.plot(each.reported, y, "D", color=PAPER, markeredgecolor=INK, markersize=6, zorder=5)
    dress_rows(ax, [event_label(term) + (f", {group_label(group)}" if several else "") for term, group in rows])
    ax.set_xlim(left=0)
    ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    ax.set_xlabel("Patients who ever have it (%)")
    handles: list[Any] = [
        Patch(facecolor=INK, alpha=0.3, linewidth=0, label="simulated, true"),
        Line2D([], [], color=INK, linewidth=2.2, label="simulated studies, 95 %"),
        Line2D([], [], linestyle="none", marker="D", color=PAPER, markeredgecolor=INK, label="reported"),
    ]
    ax.legend(handles=handles, frameon=False, fontsize="small", loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    return figure_of(ax)


def histories(tree: xr.DataTree, ax: Axes | None = None, *, n: int = SHOWN_PATIENTS) -> Figure:
    """Draw the histories of the first patients of the first study as a swimmer plot: what truly happened, and when.

    A bar from entry to death or the horizon, in the colour of the state; strokes are administrations, signs other
    events, crosses adverse events of any term. The longest history is at the top. No histories are kept of
    a run over draws.
    """
    node = tree["statistics"].to_dataset()
    if "history_time" not in node or not node.sizes.get("patient"):
        ax = axes(ax, 6.0, 2.0)
        nothing(ax, "no histories are kept of a run over draws of a posterior")
        return figure_of(ax)
    grounds, horizon = grounds_of(tree), float(node["time"].values[-1])
    reported_terms = sorted(_histories(node, grounds, horizon, n), key=lambda each: -each.end)
    ax = axes(ax, 7.0, 1.4 + 0.22 * len(reported_terms))
    state_names = [str(name) for name in node["state"].values]
    colours = {name: OKABE_ITO[i % len(OKABE_ITO)] for i, name in enumerate(state_names)}
    signs = {name: _SIGNS[i % len(_SIGNS)] for i, name in enumerate(grounds.events)}
    spans: dict[str, list[tuple[int, float, float]]] = {}
    marks: dict[str, list[tuple[float, int]]] = {}
    for y, each in enumerate(reported_terms):
        for state, start, stop in each.spans:
            spans.setdefault(state, []).append((y, start, stop))
        for what, time in each.marks:
            marks.setdefault(what, []).append((time, y))
    handles: list[Any] = []
    for state in [name for name in state_names if name in spans]:
        rows, starts, stops = np.array(spans[state]).T
        ax.barh(rows, stops - starts, left=starts, height=0.62, color=colours[state], alpha=0.45, linewidth=0)
        handles.append(Patch(color=colours[state], alpha=0.45, linewidth=0, label=event_label(state)))
    for what in sorted(marks, key=_order_of(grounds)):
        times, rows = np.array(marks[what]).T
        marker, size = ("|", 8.0) if what == "administration" else (signs.get(what, "x"), 4.5)
        drawn = ax.plot(times, rows, marker, color=INK, markersize=size, markeredgewidth=0.9, markerfacecolor=PAPER,
                        label=event_label(what), clip_on=False)  # fmt: skip
        handles += drawn
    dress_rows(ax, [f"{each.replicate}.{each.patient}" for each in reported_terms])
    ax.set_xlim(0, max(each.end for each in reported_terms) * 1.02 or 1.0)
    ax.set_xlabel("Time since entry (days)")
    ax.set_ylabel("Study.patient")
    ax.legend(handles=handles, frameon=False, fontsize="small", loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4)
    return figure_of(ax)


def term_rows(tree: xr.DataTree) -> list[tuple[str, str]]:
    """Return the rows of `adverse_events`, term and group; none where no adverse event happens."""
    statistics = statistics_of(tree)
    if "term" not in statistics.coords or not np.nansum(statistics["ae_incidence"].values):
        return []
    groups = [str(name) for name in statistics["group"].values]
    reported_terms = {each.group for each in _reported_terms(tree, groups)}
    of = [name for name in groups if name in reported_terms] or groups[:1]
    return [(str(term), group) for term in statistics["term"].values for group in of]


@dataclass(frozen=True)
class _Reported:
    term: str
    group: str
    reported: float
    lower: float
    upper: float


def _reported_terms(tree: xr.DataTree, groups: Sequence[str]) -> Iterator[_Reported]:
    """Yield reported shares of adverse events, of the groups there are."""
    node = tree["targets"].to_dataset()
    columns = ("variable", "estimator", "group", "reported", "lower", "upper")
    for what, how, of, *numbers in zip(*(node[name].values for name in columns), strict=True):
        group = next((name for name in (of, str(of).removeprefix("arm.")) if name in groups), None)
        if str(what).startswith(_TERM) and how == "proportion" and group is not None:
            yield _Reported(str(what).removeprefix(_TERM), group, *map(float, numbers))


@dataclass(frozen=True)
class _History:
    """One patient: the states passed through, from when to when in days, and what else happened."""

    replicate: int
    patient: int
    end: float
    spans: list[tuple[str, float, float]]
    marks: list[tuple[str, float]]


def _histories(node: xr.Dataset, grounds: Grounds, horizon: float, n: int) -> Iterator[_History]:
    names = str(node["history_code"].attrs["flag_meanings"]).split()
    sizes = node["history_row_size"].values
    starts = np.concatenate([[0], np.cumsum(sizes)])
    initial = str(node["state"].values[0]) if not grounds.initial else grounds.initial
    for i in range(min(n, sizes.size)):
        rows = slice(starts[i], starts[i + 1])
        state, since, end = initial, 0.0, horizon
        spans, marks = [], []
        for time, code in zip(node["history_time"].values[rows], node["history_code"].values[rows], strict=True):
            what = names[int(code)]
            to = grounds.events.get(what, {}).get("to")
            if to and to != state:
                spans.append((state, since, float(time)))
                state, since = str(to), float(time)
            if to in grounds.absorbing:
                end = float(time)
            if what in grounds.events or what == "administration":
                marks.append((what, float(time)))
            elif what != "end_of_course":
                marks.append((_ADVERSE, float(time)))
        if state not in grounds.absorbing:
            spans.append((state, since, horizon))
        replicate, patient = (int(node[f"history_{what}"].values[i]) for what in ("replicate", "patient"))
        yield _History(replicate, patient, end, spans, marks)


def _order_of(grounds: Grounds) -> Any:
    """Administrations first, then events as declared, then adverse events."""
    events = ["administration", *grounds.events, _ADVERSE]
    return events.index
