"""What a calibration found of each number, as a section of a page."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from simulator.views import figures
from simulator.views.figures.calibrated import CalibratedRow, calibrated_rows, can_be_drawn
from simulator.views.report.markup import Content, Element, element, table
from simulator.views.report.pictures import picture
from simulator.views.report.record import NOT_RECORDED, Run, ends, in_a_line
from simulator.views.report.results import badge, figure, paragraph, warning

_KNOWN = ("parameter", "point value", "prior", "posterior", "contraction")
_MOST_DRAWN = 40


def calibrated(run: Run) -> Iterator[Element]:
    """3.3 Calibration; nothing where no parameter is calibrated or has a prior."""
    known = calibrated_rows(run.tree)
    informed = [row for row in known if row.informed]
    if not known:
        return
    yield paragraph(
        f"{len(informed)} of {len(run.grounds.declared)} parameters are calibrated: fitted to the evidence that is "
        f"named. This run: {run.said('parameter_uncertainty')}."
    )
    if run.group("parameters").get("draw") is not None:
        yield paragraph("Point values are those of one draw; intervals, contractions and sources are the posterior's.")
    if truncation := run.group("parameters").get("truncation"):
        yield warning(f"{truncation}.")
        yield paragraph("Posteriors and contractions are of what is left; priors are as they were declared.")
    yield paragraph(
        "Prior and posterior are the central 95 % before and after the data, of times in days, of rates per day. "
        "Contraction is 1 − variance after/before, on a scale where the prior is normal or nearly so: 0 where the data "
        "say nothing, 1 where they say all."
    )
    if informed:
        rows = [(*_known(run, row), _fitted_to(_leaf(run, row))) for row in informed]
        yield table("Calibrated parameters", (*_KNOWN, "fitted to"), rows, numeric=(4,))
    if len(informed) < len(known):
        yield paragraph(
            "These had a prior, and targets inform them hardly or not at all. Their point values are those of the "
            "prior, and assumptions; draws of the posterior vary them too. A contraction counts as none below 0.2, or "
            "where it is above by less than its Monte-Carlo error."
        )
        rows = [
            (*_known(run, row), badge(str(_leaf(run, row).get("provenance", "assumed"))),
             str(_leaf(run, row).get("note", "")))
            for row in known if not row.informed
        ]  # fmt: skip
        yield table("Not informed", (*_KNOWN, "provenance", "note"), rows, numeric=(4,))
    n = sum(map(can_be_drawn, known))
    if n:
        shown = min(n, _MOST_DRAWN)
        drawn = picture(
            partial(figures.calibrated, run.tree, most=shown), slug="calibrated", width=7.6, height=0.95 + 0.24 * shown,
            alt="Central 95 % of each calibrated number before and after the data, as in the tables.",
            margins=(3.2, 0.2, 0.5, 0.4),
        )  # fmt: skip
        more = f" {n - shown} more are in the tables." if n > shown else ""
        yield figure(
            drawn, f"What the data did to each number; 0 and 100 % are the ends of its prior.{more}", wide=True
        )


def _leaf(run: Run, row: CalibratedRow) -> Mapping[str, Any]:
    return run.grounds.declared[row.path]


def _fitted_to(leaf: Mapping[str, Any]) -> str:
    """The targets of a number, and what is said of it, such as what it is without truncation."""
    return "; ".join(filter(None, (str(leaf.get("source", "")) or NOT_RECORDED, str(leaf.get("note", "")))))


def _known(run: Run, row: CalibratedRow) -> tuple[Content, ...]:
    """Return the cells that say how well a number is known."""
    leaf = _leaf(run, row)
    contraction = f"{row.contraction:.2f}".replace("-", "−") if math.isfinite(row.contraction) else ""
    before, after = (ends(leaf.get(name)) or "none given" for name in ("prior", "interval"))
    return element("code", row.path), in_a_line(leaf.get("value")), before, after, contraction
