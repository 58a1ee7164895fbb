"""Figures as SVG in a page.

A picture keeps its text as text, has ids of its own, and takes its colours from the page, so that it follows light and
dark. What matplotlib writes only for programs that edit pictures is left out.
"""

from __future__ import annotations

import io
import re
import threading
import warnings
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from simulator.views.figures.style import GRID, INK, MUTED, OKABE_ITO, PAPER
from simulator.views.report.markup import Element, clean, element

PIXELS = 112
"""Pixels of an inch: as large as a picture is shown where there is room."""

_LOCK = threading.Lock()  # matplotlib's settings are of the whole process
_SETTINGS: Any = {"svg.fonttype": "none", "svg.hashsalt": "lobule"}
_NUMBER = re.compile(r"-?\d+\.\d+")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_THEME = {
    INK: "ink", "#000000": "ink", MUTED: "muted", "#999999": "muted", GRID: "grid", PAPER: "paper",
    **{colour: f"c{i}" for i, colour in enumerate(OKABE_ITO)},
}  # fmt: skip
"""Colours of figures, and the names that they have in the page's style."""
_NAMES = {colour.lower(): f"var(--{name})" for colour, name in _THEME.items()}
_DROPPED = ("stroke-linejoin: miter", "stroke-linecap: butt", "text-anchor: start", "stroke-opacity: 1")


def picture(
    draw: Callable[[Axes], Figure],
    *,
    slug: str,
    alt: str,
    width: float = 4.2,
    height: float = 3.0,
    margins: tuple[float, float, float, float] = (0.75, 0.25, 0.5, 0.15),
) -> Element:
    """Return what is drawn on axes as an element ``svg``.

    ``slug`` begins every id of the picture, ``alt`` says in words what is seen. Width, height and margins (left, right,
    bottom, top) are inches; nothing is fitted, which would take most of the time.
    """
    left, right, bottom, top = margins
    figure = Figure(figsize=(width, height))
    figure.patch.set_visible(False)
    canvas = FigureCanvasSVG(figure)
    box = (left / width, bottom / height, (width - left - right) / width, (height - bottom - top) / height)
    with _LOCK, matplotlib.rc_context(_SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the browser has other fonts
        ax = figure.add_axes(box)
        ax.patch.set_visible(False)
        draw(ax)
        file = io.StringIO()
        # not `savefig`, which draws everything twice
        nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
        canvas.print_svg(file, metadata=nothing)  # type: ignore[no-untyped-call]
    svg = _cleaned(ElementTree.fromstring(clean(file.getvalue())), slug, alt)
    svg.set("width", f"{width * PIXELS:.0f}")
    return svg


def _cleaned(root: Element, slug: str, alt: str) -> Element:
    used = {each for node in root.iter() for each in _references(node)}
    ids = {old: f"{slug}-{i}" for i, old in enumerate(sorted(used))}
    svg = element("svg", viewBox=root.attrib["viewBox"], role="img", aria_labelledby=f"{slug}-title")
    svg.append(element("title", alt, id=f"{slug}-title"))
    for child in root:
        _copy(child, svg, ids)
    return svg


def _references(node: Element) -> list[str]:
    found = [reference for value in node.attrib.values() for reference in _REFERENCE.findall(value)]
    return found + [value.removeprefix("#") for name, value in node.attrib.items() if name.endswith("href")]


def _copy(node: Element, parent: Element, ids: dict[str, str]) -> None:
    """Append a copy without what a page has no use for; a group that says nothing gives its place to its children."""
    tag = node.tag.rpartition("}")[2]
    if tag in ("metadata", "style"):
        return
    attributes = {}
    for name, value in node.attrib.items():
        name = name.rpartition("}")[2]
        if name == "id":
            value = ids.get(value, "")
        elif name == "href":
            value = f"#{ids[value.removeprefix('#')]}"
        elif name in ("style", "fill", "stroke"):
            value = _style(value)
        elif name in ("d", "x", "y", "transform"):
            value = _NUMBER.sub(_rounded, " ".join(value.split()))
        if value and not (name == "transform" and value.startswith("rotate(-0 ")):
            attributes[name] = _REFERENCE.sub(lambda match: f"url(#{ids[match[1]]})", value)
    text = (node.text or "").strip()
    if tag == "g" and not attributes:
        for child in node:
            _copy(child, parent, ids)
        return
    made = Element(tag, attributes)
    made.text = text or None
    for child in node:
        _copy(child, made, ids)
    if tag != "defs" or len(made):
        parent.append(made)


def _style(value: str) -> str:
    kept = [
        part for part in (each.strip() for each in value.split(";"))
        if part and not part.startswith("font-family") and part not in _DROPPED
    ]  # fmt: skip
    joined = ";".join(part.replace(": ", ":") for part in kept)
    return _COLOUR.sub(lambda match: _NAMES.get(match[0].lower(), match[0]), joined)


def _rounded(match: re.Match[str]) -> str:
    return f"{float(match[0]):.1f}".removesuffix(".0")
