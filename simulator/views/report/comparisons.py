"""Scenarios of a sweep against a reference, as sections of its page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from simulator.sweep.contrasts import NO_EFFECT, Slices, contrast, one_way
from simulator.sweep.outcomes import DECISIONS, ESTIMATES, STATISTICS, TARGETS, ShownOutcome, difference
from simulator.sweep.scenarios import COHORT, part, share_caused, swept, thinned
from simulator.views import figures
from simulator.views.estimates import without
from simulator.views.figures.scenarios import WIDE_ERROR
from simulator.views.report.markup import Content, Element, element, table
from simulator.views.report.pictures import picture
from simulator.views.report.results import figure, paragraph, warning
from simulator.views.report.sweep import SweepRun
from simulator.views.tables import significant, supported

MOST_COMPARED, MOST_OF_A_KIND, MOST_ROWS, MOST_TORNADOS = 12, 6, 40, 6
"""Outcomes that are contrasted, those of one kind before others, rows of each, and outcomes that have a tornado."""

_DIGITS = 4
_MOST_LABELS = (12, 4)  # of the first two dimensions of a contrast


def contrasts(sweep: SweepRun) -> Iterator[Element]:
    """Differences from the reference with their intervals."""
    against = _against(sweep)
    if not against:
        yield paragraph(
            "Nothing is contrasted: draws, samples of a design and cohorts have no natural reference. One may be "
            "named: output.contrast, or ", element("code", "simulator.contrast(tree, …)"), ".",
        )  # fmt: skip
        return
    if COHORT in against:
        yield warning(f"{NO_EFFECT[:1].upper()}{NO_EFFECT[1:]}.")
    cut = _compared(sweep, against)
    made = contrast(cut, against, across_cohorts=True)
    named = ", ".join(f"{name} {label}" for name, label in against.items())
    said = "as output.contrast names it" if sweep.against else "no output.contrast was given"
    yield paragraph(
        f"Mean of each scenario less that of the reference, {named} ({said}). Intervals are of Monte Carlo (95 %): how "
        "sure the difference is, given the model; they shrink with more studies. What studies report is compared study "
        "by study, as they share their random numbers: the factor says how many times as many independent studies "
        "the same error would take. Pairs without: those in which a value is undefined (undef.) or not reached (n.r.), "
        "left out. Pooled statistics have the error of independent runs, which is too wide."
    )
    for number, each in enumerate(_outcomes(sweep, first=TARGETS)):
        rows = [*_rows(cut, made, each, against)]
        if rows:
            yield _opened(each, rows, [axis.name for axis in swept(cut)], first=number == 0)
    n, n_shown = sweep.states.size, int(np.prod([len(axis.labels) for axis in swept(cut)]))
    if n_shown < n:
        yield paragraph(
            f"{n_shown:,} of {n:,} scenarios are contrasted here, others held at the reference or left out evenly; "
            "contrast.nc, or simulator.contrast, has all of them."
        )


def tornado(sweep: SweepRun) -> Iterator[Element]:
    """Each swept key alone; nothing where there is only one."""
    slices = _slices(sweep)
    if len(slices) < 2:
        return
    yield paragraph(
        "From the reference scenario each swept key alone takes its other values: the bar goes from the smallest to "
        "the largest difference, a dot is a value, its line the Monte-Carlo error (95 %). How long a bar is depends on "
        "the values that were swept, and what keys do together is not seen."
    )
    panels = []
    for number, each in enumerate(
        [each for each in _outcomes(sweep, first=STATISTICS) if _moves(each, slices)][:MOST_TORNADOS]
    ):
        drawn = picture(
            partial(figures.tornado, sweep.tree, of=each.id, at=sweep.reference, slices=slices),
            slug=f"tornado-{number}", alt=f"Tornado: how far {each.name} moves when each swept key alone changes.",
            width=5.4, height=1.15 + 0.5 * len(slices), margins=(2.0, 0.25, 0.55, 0.1),
        )  # fmt: skip
        panels.append(figure(drawn, each.name))
    if panels:
        yield element("div", panels, class_="panels")
    else:
        yield paragraph("No outcome moves.")


def _against(sweep: SweepRun) -> dict[str, Any]:
    if sweep.against:
        return dict(sweep.against)
    keys = [each.name for each in sweep.dimensions if not each.sampled and each.name != COHORT and len(each.labels) > 1]
    within = [name for name in keys if name != share_caused(sweep.tree)] or keys  # under one share, if more is swept
    return {name: sweep.reference[name] for name in within}


def _compared(sweep: SweepRun, against: Mapping[str, Any]) -> xr.DataTree:
    """Return the part of a sweep that is contrasted: a bounded number of scenarios, the reference among them."""
    order = sorted(sweep.dimensions, key=lambda each: (each.name not in against, -len(each.labels)))
    free = [each.name for each in order][: len(_MOST_LABELS)]
    free += [name for name in against if name not in free]
    most = dict(zip(free, (*_MOST_LABELS, *(2 for _ in free)), strict=False))
    held = {name: label for name, label in sweep.reference.items() if name not in free}
    return part(sweep.tree, held, most=most, keep=sweep.reference)


def _outcomes(sweep: SweepRun, *, first: str) -> list[ShownOutcome]:
    """Outcomes in which scenarios differ: what was asked for, then those of the node that comes first, then others."""
    moved = [each for each in sweep.outcomes if sweep.varies(each) and each.node != DECISIONS]
    order = (ESTIMATES, first)
    kinds = [[each for each in moved if each.node == node] for node in order]
    others = [each for each in moved if each.node not in order]
    return [*kinds[0][:MOST_OF_A_KIND], *kinds[1][:MOST_OF_A_KIND], *others][:MOST_COMPARED]


def _slices(sweep: SweepRun) -> Slices:
    return one_way(sweep.tree, sweep.reference)


def _moves(outcome: ShownOutcome, slices: Slices) -> bool:
    found = [difference(made, outcome) for _, made in slices]
    return any(pair is not None and bool((np.abs(pair[0].values) > 0).any()) for pair in found)


def _rows(
    cut: xr.DataTree, made: xr.DataTree, outcome: ShownOutcome, against: Mapping[str, Any]
) -> Iterator[tuple[Content, ...]]:
    """Yield labels of a scenario, difference, interval, ratio, factor, number of pairs, and the share of others.

    A scenario of which no pair of studies has both values has a row, and one that has no such outcome has none.
    """
    found, ratios = difference(made, outcome), difference(made, outcome, "ratio")
    if found is None or ratios is None:
        return
    axes = swept(cut)
    dims = [axis.name for axis in axes]
    gap, error, ratio, error_of_ratio = (each.transpose(*dims).values for each in (*found, *ratios))

    def column(of: xr.DataTree, name: str) -> Any:
        node = of[outcome.node].to_dataset()
        return node[name].isel(outcome.at, drop=True).transpose(*dims).values

    counts, present = {}, np.isfinite(gap)
    if outcome.paired:
        counts = {what: column(made, f"n_{what}") for what in ("pairs", "not_reached", "undefined")}
        present = sum(column(cut, f"n_{what}") for what in ("finite", "not_reached", "undefined")) > 0
        factor = column(made, "variance_reduction")
    for place in np.ndindex(*gap.shape):
        labels = {axis.name: axis.labels[at] for axis, at in zip(axes, place, strict=True)}
        if all(labels[name] == label for name, label in against.items()) or not present[place]:
            continue
        value, wrong = float(gap[place]), float(error[place])
        low, high = (supported(value + side * WIDE_ERROR * wrong, wrong, 1.0, _DIGITS) for side in (-1, 1))
        yield (
            *(str(label) for label in labels.values()),
            supported(value, wrong, 1.0, _DIGITS),
            f"{low} to {high}" if np.isfinite(wrong) else "–",
            supported(float(ratio[place]), float(error_of_ratio[place]), 1.0, _DIGITS),
            significant(float(factor[place])) if outcome.paired and np.isfinite(factor[place]) else "–",
            f"{int(counts['pairs'][place]):,}" if outcome.paired else "independent",
            without({what: float(each[place]) for what, each in counts.items()}) if outcome.paired else "",
        )


def _opened(outcome: ShownOutcome, rows: list[tuple[Content, ...]], dims: list[str], *, first: bool) -> Element:
    """Return a table of contrasts that can be opened, the first one open."""
    head = (*dims, f"difference{f' ({outcome.unit})' if outcome.unit else ''}", "95 % interval", "ratio",
            "variance reduction", "pairs of studies", "pairs without")  # fmt: skip
    places = thinned(len(rows), MOST_ROWS)
    more = f" ({len(places)} of {len(rows):,} rows)" if len(places) < len(rows) else ""
    grid = table(f"{outcome.label}: contrasts{more}", head, [rows[place] for place in places],
                 numeric=range(len(dims), len(head)))  # fmt: skip
    return element("details", element("summary", outcome.name), grid, **({"open": "open"} if first else {}))
