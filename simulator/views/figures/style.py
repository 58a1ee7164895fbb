"""What all figures have in common: colours, axes, words.

Colours are Okabe & Ito's (2008), which people with colour-blindness tell apart; no meaning rests on colour alone.
"""

from __future__ import annotations

import io
import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter

from simulator.errors import MISSING, ConfigError, Problem, unknown
from simulator.sweep.scenarios import SWEEP

OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
INK = "#222222"
MUTED = "#666666"
GRID = "#DDDDDD"
PAPER = "#FFFFFF"
RESOLUTION = 150
"""Dots per inch of a saved picture."""
LINES = ("-", "--", "-.", (0, (1, 1)), (0, (5, 1, 1, 1, 1, 1)))
QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0)
LEGEND: dict[str, Any] = {"fontsize": "small", "facecolor": PAPER, "edgecolor": "none", "framealpha": 0.85}
"""How a legend stands within axes."""
ASSUMED = "\\\\\\\\"
"""Hatch of what rests on assumption alone."""


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of so many inches, made without pyplot: it may be drawn in a thread."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def figure_of(ax: Axes) -> Figure:
    """Return the whole figure, also where the axes stand in a subfigure. Raises ConfigError if there is none."""
    figure = ax.figure.figure
    if not isinstance(figure, Figure):
        raise ConfigError(Problem("ax", ax, "must be axes of a figure"))
    return figure


def axes(ax: Axes | None, width: float, height: float) -> Axes:
    """Return the axes that are given, or those of a new figure of so many inches."""
    return new_figure(width, height).add_subplot() if ax is None else ax


def of_a_run(tree: xr.DataTree) -> xr.DataTree:
    """Return a tree that is no sweep. Raises ConfigError where it is one."""
    if SWEEP in tree.root.attrs:
        allowed = "must be the tree of one simulation, and this is a sweep, whose figures are outcome, heat_map, "
        allowed += "scatter, survival_beside, contrasts and tornado"
        raise ConfigError(Problem("tree", MISSING, allowed))
    return tree


def statistics_of(tree: xr.DataTree) -> xr.Dataset:
    """Return the statistics of a run; of a run over draws, their means over draws and what draws do to them.

    Raises
    ------
    ConfigError
        If the tree is a sweep.
    """
    of_a_run(tree)
    return tree["spread" if "spread" in tree.children else "statistics"].to_dataset()


def chosen(key: str, names: Sequence[str] | None, known: Sequence[str], what: str) -> list[str]:
    """Return the names that are asked for, all that are known if none is. Raises ConfigError on any other."""
    wanted = list(known) if names is None else list(names)
    problems = [unknown(key, name, known, what=what) for name in wanted if name not in known]
    if problems or not wanted:
        raise ConfigError(problems or Problem(key, names, f"must name at least one {what}"))
    return wanted


def colour_of_group(groups: Sequence[str]) -> dict[str, str]:
    """Return the colour of each group of the statistics, of which the first is all patients."""
    return {groups[0]: INK} | {name: OKABE_ITO[i % len(OKABE_ITO)] for i, name in enumerate(groups[1:])}


def words(name: str) -> str:
    """Return a name as it is written for people."""
    return "All patients" if name == "all" else name.removeprefix("arm.").replace("_", " ").capitalize()


def event_words(name: str) -> str:
    """Return an event, a term or a state as it is written for people; a cause of death as one."""
    cause = name.removeprefix("death.")
    shown = cause.replace("_", " ")
    return f"Death: {shown}" if cause != name else f"{shown[:1].upper()}{shown[1:]}"


def group_label(name: str) -> str:
    """Return `words` for matplotlib."""
    return literal(words(name))


def event_label(name: str) -> str:
    """Return `event_words` for matplotlib."""
    return literal(event_words(name))


def literal(text: str) -> str:
    """Return text that matplotlib shows as it is: a dollar would begin mathematics."""
    return text.replace("$", r"\$")


def short(text: str, length: int) -> str:
    """Return text cut to a length, with a sign that it was."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def dress(ax: Axes, *, x: str = "", y: str = "", grid: str = "y") -> None:
    """Label axes, take away the spines that bound nothing, and draw a light grid."""
    if x:
        ax.set_xlabel(x)
    if y:
        ax.set_ylabel(y)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis=grid, color=GRID, linewidth=0.6)  # type: ignore[arg-type] # "x", "y" or "both"
    ax.set_axisbelow(True)


def dress_shares(ax: Axes, end: float, *, y: str) -> None:
    """Axes of shares over days since entry."""
    ax.set_xlim(0, end)
    ax.set_ylim(0, 1.0)
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    ax.set_yticks(QUARTERS)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    dress(ax, x="Time since entry (days)", y=y)


def dress_rows(ax: Axes, names: Sequence[str]) -> None:
    """Axes whose rows have names, the first at the top."""
    ax.set_yticks(range(len(names)), list(names), fontsize="small")
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    dress(ax, grid="x")
    ax.spines["left"].set_visible(False)


def assumed_patch(label: str = "rests on assumption alone") -> Any:
    """Entry of a legend for `ASSUMED`."""
    return Patch(facecolor="none", edgecolor=MUTED, hatch=ASSUMED, linewidth=0, label=label)


def nothing(ax: Axes, said: str) -> None:
    """Say why there is nothing to draw."""
    ax.set_axis_off()
    ax.text(0.5, 0.5, said, transform=ax.transAxes, ha="center", va="center", color=MUTED, wrap=True)


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure as PNG: the same figure, the same bytes; a file is replaced whole or not at all.

    Raises
    ------
    ConfigError
        If the file cannot be written.
    """
    picture, canvas, facecolor, resolution = io.BytesIO(), figure.canvas, figure.get_facecolor(), figure.dpi
    agg = FigureCanvasAgg(figure)
    try:  # not `savefig`, which draws everything twice
        figure.set_facecolor(PAPER)
        figure.dpi = RESOLUTION
        agg.print_png(picture, metadata={"Software": None})  # type: ignore[no-untyped-call]
    finally:
        figure.dpi = resolution
        figure.set_facecolor(facecolor)
        figure.set_canvas(canvas)
    write_whole(picture.getvalue(), path, key="figure")


def write_whole(content: bytes, path: str | os.PathLike[str], *, key: str) -> None:
    """Write a file whole or not at all. Raises ConfigError, about this key, if it cannot be written."""
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(target)
    except OSError as error:
        raise ConfigError(Problem(key, str(target), f"must be a file that can be written: {error.strerror}")) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
