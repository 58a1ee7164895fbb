"""What a sweep found, as sections of its page: what was swept, outcomes over it, survival scenario by scenario.

A page has a bounded number of figures, whatever the number of scenarios, and says of every section what it shows and
what it leaves out.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from simulator.sweep.outcomes import DECISIONS, ESTIMATES, STATISTICS, TARGETS, ShownOutcome, numbers
from simulator.sweep.scenarios import (
    FAILED,
    FINISHED,
    MISSING,
    drawn,
    failures,
    overrides_of,
    part,
    share_caused,
    swept,
    thinned,
)
from simulator.views import decisions as decided
from simulator.views import figures
from simulator.views.arrangement import MOST_DOTS, Arrangement
from simulator.views.figures.scenarios import LEGEND_COLUMNS
from simulator.views.report.markup import Content, Element, bullets, definitions, element, table
from simulator.views.report.pictures import picture
from simulator.views.report.results import figure, paragraph, warning
from simulator.views.report.sweep import SweepRun, differ, labels_said, listed, varies
from simulator.views.tables import supported

MOST_OUTCOMES, MOST_TARGETS, MOST_SURVIVALS, MOST_DRAWN, MOST_POINTS = 9, 12, 12, 6, 8_000
"""Outcomes of a kind, reported numbers, survival curves and drawn keys that are drawn, and points of all scatters."""
MOST_NAMED = 20


def what_was_swept(sweep: SweepRun) -> Iterator[Element]:
    """Keys, labels, what is missing."""
    yield from unfinished(sweep)
    rows = [
        (element("code", each.key), each.name, f"{len(each.labels):,}", listed(each.labels), each.units)
        for each in sweep.dimensions
    ]
    yield table("Swept keys", ("key", "dimension", "labels", "which", "unit"), rows, numeric=(2,))
    if names := drawn(sweep.tree):
        root = sweep.tree.to_dataset()
        ranges = [(element("code", str(root[name].attrs.get("long_name", name))), name, *_ends(root[name].values))
                  for name in names]  # fmt: skip
        yield table("Drawn together, a value for each scenario", ("key", "coordinate", "from", "to"), ranges)
    named = f"{labels_said(sweep.against)} named by output.contrast, otherwise " if sweep.against else ""
    yield paragraph(
        f"Reference scenario: {labels_said(sweep.reference)} ({named}the value of the files where it is among the "
        "labels, else the first label). Study r of each scenario has the same patients with the same random numbers."
    )
    if share := share_caused(sweep.tree):
        yield paragraph(
            f"{share} is the share of the responders' advantage that response causes (0: none, prognostic; 1: all, "
            "causal). It is assumed: what changes response moves survival by as much as it says. Where survival "
            "differs between its labels, no one of them is a finding."
        )
    yield paragraph(*_roles(sweep))


def unfinished(sweep: SweepRun) -> Iterator[Element]:
    """Say which scenarios failed and which are not done; nothing if all are."""
    values = sweep.states.values
    n, failed = values.size, failures(sweep.tree)
    n_missing = int((values == MISSING).sum())
    if n_missing or failed:
        parts = [f"{n - n_missing - len(failed):,} of {n:,} scenarios are finished"]
        parts += [f"{len(failed):,} failed"] if failed else []
        parts += [f"{n_missing:,} are not done yet"] if n_missing else []
        yield warning("; ".join(parts) + ". Figures have gaps there; the sweep's command goes on where it was.")
    for state, what in ((FAILED, "Failed"), (MISSING, "Not done yet")):
        places = np.argwhere(values == state)
        if len(places):
            more = f", the first {MOST_NAMED} of {len(places):,}" if len(places) > MOST_NAMED else ""
            rows = []
            for place in places[:MOST_NAMED]:
                index = int(np.ravel_multi_index(tuple(place), values.shape))
                words = shlex.join(overrides_of(sweep.tree, place).split("\n"))
                rows.append((f"{index:,}", element("code", words), failed.get(index, "")))
            yield table(f"{what}{more}", ("scenario", "overrides of a single run", "why"), rows)


def main(sweep: SweepRun) -> Iterator[Element]:
    """Statistics of all patients over the swept keys."""
    found = [each for each in sweep.outcomes if each.node == STATISTICS]
    moved = [each for each in found if sweep.varies(each)]
    yield paragraph("True values of all patients, pooled over the simulated studies. ", _drawn_so(sweep))
    yield from _faceted(sweep, moved[:MOST_OUTCOMES], "main")
    still = [each for each in found if not sweep.varies(each)]
    yield from _constant(sweep.shown, still, "that are shown")
    if not found:
        yield paragraph("No scenario that is shown is finished.")


def reported(sweep: SweepRun) -> Iterator[Element]:
    """Reported numbers over the swept keys."""
    found = [each for each in sweep.outcomes if each.node == TARGETS]
    moved = [each for each in found if sweep.varies(each)]
    still = [each for each in found if not sweep.varies(each)]
    yield paragraph(
        "Median over the simulated studies of what each study reports, against the reported number (dashed). "
        + _drawn_so(sweep)
    )
    yield from _panels(sweep, moved[:MOST_TARGETS], "target", sweep.shown)
    if len(moved) > MOST_TARGETS:
        more = ", ".join(each.id for each in moved[MOST_TARGETS:])
        yield paragraph(f"They move too, and are not drawn: {more}. summary.csv and the store have them.")
    if still:
        said = f"{len(still)} of the reported numbers do not move"
        yield element("details", element("summary", said), [*_constant(sweep.shown, still, "that are shown")])
    if not found:
        yield paragraph("No scenario that is shown has a reported number that is computed.")


def estimates(sweep: SweepRun) -> Iterator[Element]:
    """Estimates without a reported value; nothing where none was asked for."""
    found = [each for each in sweep.outcomes if each.node == ESTIMATES]
    if found:
        yield paragraph("Mean over the studies in which it is finite. " + _drawn_so(sweep))
        yield from _faceted(sweep, found[:MOST_OUTCOMES], "estimate")
        yield from _left_out("estimates", len(found), MOST_OUTCOMES)


def decisions(sweep: SweepRun) -> Iterator[Element]:
    """How often a study would decide so; nothing where no rule was given."""
    found = [each for each in sweep.outcomes if each.node == DECISIONS]
    if found:
        node = sweep.tree[DECISIONS].to_dataset()
        yield definitions(zip(map(str, node["decision"].values), decided.rules(node), strict=True))
        yield from _faceted(sweep, found[:MOST_OUTCOMES], "decision")
        yield from _left_out("decisions", len(found), MOST_OUTCOMES)


def survival(sweep: SweepRun) -> Iterator[Element]:
    """Overall survival, scenario by scenario."""
    places = np.argwhere(sweep.states.values == FINISHED)
    if not len(places):
        yield paragraph("No scenario is finished.")
        return
    along = _moving_survival(sweep)
    held = {name: label for name, label in sweep.reference.items() if name not in along}
    labels = [*_scenarios(sweep, along, held)]
    others = f" Others are held: {labels_said(held)}." if held and along else ""
    yield paragraph(
        f"All patients, one scenario a panel, {len(labels)} of {sweep.states.size:,}"
        + ("." if along else ": among those that are shown above it is the same.") + others
        + " The line is simulated survival, the band what one study would show (95 %), signs are reported numbers; the "
        "reference scenario is dashed grey. Hatched is what no reported number looks at, or what rests on assumption "
        "alone."
    )  # fmt: skip
    panels = []
    for number, at in enumerate(labels):
        named = labels_said({name: at[name] for name in along or at} | _drawn_values(sweep, at))
        drawn_ = picture(
            partial(figures.survival_beside, sweep.tree, at=at, beside=sweep.reference),
            slug=f"scenario-{number}", alt=f"Survival of all patients over days since entry: {named}.",
        )  # fmt: skip
        panels.append(figure(drawn_, named))
    yield element("div", panels, class_="panels")


def _moving_survival(sweep: SweepRun) -> list[str]:
    """The dimensions, two at most, along which survival of the scenarios that are shown changes."""
    known = [each for each in sweep.outcomes if each.value in ("overall_survival", "rmst")]
    usual, found = sweep.arrangement, []
    for name in (usual.x, usual.by, usual.facets):
        if name:
            values = [numbers(sweep.shown, each)["value"].transpose(name, ...).values for each in known]
            if any(differ(each, np.broadcast_to(each[:1], each.shape)) for each in values):
                found.append(name)
    return found[:2]


def _drawn_values(sweep: SweepRun, at: Mapping[str, Any]) -> dict[str, str]:
    """What was drawn for a scenario of a sampled design."""
    root, names = sweep.tree.to_dataset(), drawn(sweep.tree)
    places = {each.name: each.labels.index(at[each.name]) for each in sweep.dimensions if names and each.sampled}
    values = {name: root[name].values[places[str(root[name].dims[0])]] for name in names}
    return {name: f"{value:.4g}" if isinstance(value, float) else str(value) for name, value in values.items()}


def _common(tree: xr.DataTree, outcome: ShownOutcome) -> str:
    """The value of an outcome that all scenarios of a tree have, with the digits that its error supports."""
    found = numbers(tree, outcome)
    values = found["value"].values.ravel()
    known = np.flatnonzero(np.isfinite(values))
    if not known.size:
        return "not known"
    place = int(known[0])
    unit = f" {outcome.unit}" if outcome.unit else ""
    return supported(float(values[place]), float(found["error"].values.ravel()[place]), 1.0, 2) + unit


def _scenarios(sweep: SweepRun, along: Sequence[str], held: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield labels of at most `MOST_SURVIVALS` scenarios along some dimensions, evenly spaced."""
    known = {each.name: each for each in sweep.dimensions}
    shape = tuple(len(known[name].labels) for name in along)
    for index in thinned(math.prod(shape), MOST_SURVIVALS):
        places = np.unravel_index(index, shape)
        yield {**held, **{name: known[name].labels[at] for name, at in zip(along, places, strict=True)}}


def _faceted(sweep: SweepRun, found: Sequence[ShownOutcome], slug: str) -> Iterator[Element]:
    """Yield panels of outcomes, for each label of the third key that can be opened."""
    facets = sweep.arrangement.facets
    dimension = next((each for each in swept(sweep.shown) if each.name == facets), None)
    if dimension is None:
        yield from _panels(sweep, found, slug, sweep.shown)
        return
    for number, label in enumerate(dimension.labels):
        panels = [*_panels(sweep, found, f"{slug}-{number}", part(sweep.shown, {facets: label}))]
        state = {"open": "open"} if label == sweep.reference[facets] else {}
        yield element("details", element("summary", f"{facets}: {label}"), panels, **state)


def _panels(sweep: SweepRun, found: Sequence[ShownOutcome], slug: str, tree: xr.DataTree) -> Iterator[Element]:
    """Yield a panel for each outcome, of a sampled design for each outcome and drawn key."""
    usual = sweep.arrangement
    at = {usual.facets: sweep.reference[usual.facets]} if usual.facets in tree.sizes else {}
    panels, margins = [], _margins(tree, usual)
    over: Sequence[str] = drawn(tree)[:MOST_DRAWN] if usual.shape == "points" else ()
    still = [each for each in found if usual.shape == "cells" and not varies(tree, each)]
    for number, each in enumerate(found):
        if each in still:  # a heat map of one colour says less than its number
            continue
        for place, x in enumerate(over or (usual.x,)):
            draw: Callable[..., Any] = {"lines": figures.outcome, "cells": figures.heat_map, "points": figures.scatter}[
                usual.shape
            ]
            options: dict[str, Any] = {"of": each.id, "x": x, "by": usual.by, "at": at}
            if usual.shape == "points":
                most = MOST_POINTS // max(1, 2 * MOST_OUTCOMES * max(len(over), 1))
                options["most"] = min(MOST_DOTS, max(most, 40))
            what = f"{each.label} over {x}" + (f", by {usual.by}" if usual.by else "")
            drawn_ = picture(
                partial(draw, tree, **options), slug=f"{slug}-{number}-{place}", alt=f"{what}, simulated scenarios.",
                margins=margins, height=2.2 + margins[2] + margins[3],
            )  # fmt: skip
            notes = [f", over {x}"] if len(over) > 1 else []
            notes += [_printed(tree, each)] if usual.shape == "cells" else []
            panels.append(figure(drawn_, each.name, *notes))
    yield element("div", panels, class_="panels")
    yield from _constant(tree, still, "here")


def _constant(tree: xr.DataTree, still: Sequence[ShownOutcome], where: str) -> Iterator[Element]:
    """Yield outcomes that are the same in all scenarios of a tree, with their one value."""
    if still:
        yield paragraph(f"The same in all scenarios {where}:")
        yield bullets(f"{each.name}: {_common(tree, each)}{_printed(tree, each)}" for each in still)


def _printed(tree: xr.DataTree, outcome: ShownOutcome) -> str:
    """The reported number for the caption of a heat map, which has no place for it."""
    found = numbers(tree, outcome)
    values = found["reported"].values if "reported" in found else np.empty(0)
    known = np.unique(values[np.isfinite(values)])
    return f"; reported {known[0]:.4g} {outcome.unit}" if known.size == 1 else ""


def _margins(tree: xr.DataTree, usual: Arrangement) -> tuple[float, float, float, float]:
    """Inches around the axes, left, right, bottom, top: room for turned words and for the legend above."""
    if usual.shape == "cells":
        return 0.95, 0.95, 0.55, 0.15
    known = {each.name: each for each in swept(tree)}
    turned = usual.shape == "lines" and not known[usual.x].numeric
    entries = 1 + (len(known[usual.by].labels) if usual.by else 0)
    return 0.8, 0.25, 0.95 if turned else 0.55, 0.15 + 0.2 * math.ceil(entries / LEGEND_COLUMNS)


def _drawn_so(sweep: SweepRun) -> str:
    """What the figures are, for their shape."""
    if sweep.arrangement.shape == "cells":
        return "Colour is the number; white is a scenario that is not finished or has none."
    if sweep.arrangement.shape == "points":
        return "A sign is a scenario: draws are evenly thinned where they are many."
    known = {each.name: each for each in sweep.dimensions}
    if not known[sweep.arrangement.x].numeric:
        return "Bars are the Monte-Carlo error (95 %), a pale bar the central 95 % of studies."
    if sweep.arrangement.by:
        return "Lines join labels; bands are the Monte-Carlo error (95 %)."
    return "Lines join labels; the band is the Monte-Carlo error (95 %), a pale area the central 95 % of studies."


def _roles(sweep: SweepRun) -> Iterator[Content]:
    """Yield in words what figures of outcomes show of the swept keys, and what they leave out."""
    usual = sweep.arrangement
    sizes = {each.name: len(each.labels) for each in sweep.dimensions}
    words = {"lines": ("along the axis", "a line each"), "cells": ("from left to right", "from bottom to top"),
             "points": ("a sign each", "by colour and sign")}[usual.shape]  # fmt: skip
    yield "Figures of outcomes show "
    parts = []
    for name, how in ((usual.x, words[0]), (usual.by, words[1]), (usual.facets, "to be opened one by one")):
        if name:
            most = min(sizes[name], usual.most[name])
            parts.append(f"{name} {how}" + (f" ({most} of {sizes[name]:,} labels)" if most < sizes[name] else ""))
    yield "; ".join(parts)
    yield f"; the others are held at the reference: {labels_said(usual.held)}." if usual.held else "."
    yield " Reported numbers are drawn at the reference of what is opened one by one." if usual.facets else ""


def _ends(values: Any) -> tuple[str, str]:
    numbers_ = [value for value in values.tolist() if isinstance(value, int | float)]
    return (f"{min(numbers_):.6g}", f"{max(numbers_):.6g}") if numbers_ else ("", "")


def _left_out(what: str, n: int, most: int) -> Iterator[Element]:
    if n > most:
        yield paragraph(f"{n - most} more {what} are not drawn; the store has them.")
