"""What a run found, as sections of its page."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from simulator.views import decisions as decided
from simulator.views import estimates as estimated
from simulator.views import figures
from simulator.views.figures.occurrences import event_rows
from simulator.views.figures.style import event_words, statistics_of, words
from simulator.views.figures.survival_curves import Doubt, doubts_of
from simulator.views.figures.treatment import SHOWN_PATIENTS, term_rows
from simulator.views.report.markup import Content, Element, bullets, element, table
from simulator.views.report.pictures import picture
from simulator.views.report.record import Run
from simulator.views.tables import TargetRow, remarks, spread_rows, supported, target_rows

MOST_PANELS = 12
"""More groups or events than this are not drawn; the tree has them all."""

MOST_ROWS = 40
"""Times to events are drawn for all patients only, if rows for each group would be more than this."""

_PROVENANCES = ("reported", "derived", "read", "borrowed", "assumed", "calibrated")


def badge(provenance: str) -> Element:
    """Return a provenance class as it stands in tables; its word says it, colour only helps."""
    kind = provenance if provenance in _PROVENANCES else "other"
    return element("span", provenance, class_=f"badge {kind}")


def targets(run: Run) -> Iterator[Element]:
    """Reported beside simulated."""
    rows = target_rows(run.tree)
    yield paragraph(
        "Each number that was reported, what simulated studies of the same size report, and where the reported number "
        "falls among them. The interval is that of study sampling"
        + (" and parameters together." if "draw" in run.tree["targets"].sizes else ".")
    )
    head = ("id", "what", "reported", "simulated median", "95 % interval", "percentile", "role", "provenance")
    yield table("Reported and simulated", head, map(_target_cells, rows), numeric=range(2, 6))
    yield bullets(line.strip() for line in remarks(run.tree, rows))
    n = len(rows)
    if n:
        drawn = picture(
            partial(figures.targets, run.tree),
            slug="percentiles", alt="Percentile of each reported number among the simulated ones, as in the table.",
            width=7.6, height=0.95 + 0.22 * n, margins=(3.7, 0.2, 0.5, 0.4),
        )  # fmt: skip
        yield figure(drawn, "Percentiles; the shaded strip is the central 95 %.", wide=True)


def estimates(run: Run) -> Iterator[Element]:
    """What studies find beside the reported numbers; nothing where nothing was asked for."""
    if estimated.NODE not in run.tree.children:
        return
    node = run.tree[estimated.NODE].to_dataset()
    yield paragraph(
        "Statistics that no paper printed, of every simulated study: the mean over the studies in which it is finite "
        "with its Monte-Carlo error, the median, and the central 95 % of studies. A unit of 1 is a share or a ratio."
    )
    if estimated.SHARE in node.coords:
        yield paragraph(f"{estimated.BOTH_ENDS[:1].upper()}{estimated.BOTH_ENDS[1:]}.")
    about = ["; ".join(filter(None, (_said(node, name, place) for name in ("estimator", "variable", "of_group"))))
             for place in range(node.sizes["estimate"])]  # fmt: skip
    named = dict(zip(map(str, node["estimate"].values), about, strict=True))
    rows = [(cells[0], named[cells[0]], *cells[1:]) for cells in estimated.estimate_rows(node)]
    head = ("estimate", "what", "mean", "Monte Carlo ±", "median", "95 % interval", "unit", "studies without")
    yield table("Estimates without a reported value", head, rows, numeric=range(2, 6))
    for said in (f"{estimated.MEANS[:1].upper()}{estimated.MEANS[1:]}.", *estimated.horizons(node)):
        yield paragraph(said)


def decisions(run: Run) -> Iterator[Element]:
    """How often a study would decide so; nothing where no rule was given."""
    if decided.NODE not in run.tree.children:
        return
    node = run.tree[decided.NODE].to_dataset()
    yield paragraph(
        "A rule looks at the confidence interval of a proportion in each simulated study. Its probability is the share "
        "of studies that decide so; widths are of the interval, mean over studies. Errors are those of Monte Carlo."
    )
    head = ("decision", "what is decided", "probability", "±", "width of the interval", "±")
    rules = dict(zip(map(str, node["decision"].values), decided.rules(node), strict=True))
    rows = [(cells[0], rules[cells[0]], *cells[1:]) for cells in decided.decision_rows(node)]
    yield table("Decisions", head, rows, numeric=range(2, 6))


def survival(run: Run) -> Iterator[Element]:
    """Survival by stratum and arm."""
    doubts = doubts_of(run.tree, _groups(run))
    doubt = next(iter(doubts.values()))  # all alike but for the time
    yield paragraph(
        "The line is simulated survival, the band what the Kaplan–Meier curve of one study would show (95 %), beneath "
        "stand the patients of one study at risk, on average. Signs are reported numbers, open where numbers of the "
        "model were chosen by them: diamonds medians, squares medians without censoring, circles landmarks. Dotted "
        "where fewer than one patient of a study is still observed."
    )
    if "draw" in run.tree["targets"].sizes:
        yield paragraph(
            "Over draws of the posterior: the line is the mean of draws, the area hatched //// between dashed lines "
            "holds 95 % of draws (parameters), the band is one study of an average draw (study sampling)."
        )
    if doubt.assumed:
        held = "; reported points are what it can be held against" if math.isfinite(doubt.after) else ""
        said = "every parameter that says when patients die is assumed or borrowed"
        yield warning(f"Survival rests on assumption alone, and is hatched: {said}{held}.")
    elif math.isfinite(doubt.after):
        yield warning(f"{_silence(doubts)}: what is hatched is extrapolated.")
    else:
        reported = any(row.variable == "survival" for row in target_rows(run.tree))
        held = "was reported that these curves could be held against"
        yield warning(f"No survival number {'that was reported informs these curves' if reported else held}.")
    panels = [
        figure(
            picture(
                partial(figures.survival, run.tree, groups=[group], annotated=True),
                slug=f"survival-{i}", alt=f"Survival of {words(group)} over days since entry.",
                height=3.2, margins=(0.75, 0.25, 0.72, 0.12),
            ),
            words(group),
        )
        for i, group in enumerate(_groups(run)[:MOST_PANELS])
    ]  # fmt: skip
    yield element("div", panels, class_="panels")
    yield from _left_out("groups", _groups(run))


def occurrences(run: Run) -> Iterator[Element]:
    """Cumulative incidence of events and causes of death, and states over time."""
    yield paragraph(
        "True shares of patients in whom an event has happened by a time, whether or not it was seen; other events "
        "compete with it. Deaths by cause; lines mean the same in all. Hatched: nothing but assumption says when it "
        "happens."
    )
    bases = run.grounds.bases()
    panels = []
    for i, event in enumerate(_events(run)[:MOST_PANELS]):
        basis = bases.get(event)
        doubtful = basis is not None and basis.assumed
        caption: list[Content] = [event_words(event)]
        if basis is not None and doubtful:
            caption.append(": " + ("rests" if basis.wholly_assumed else "its time rests") + " on assumption alone")
        drawn = picture(
            partial(figures.cumulative_incidence, run.tree, events=[event], legend=i == 0),
            slug=f"incidence-{i}", alt=f"Cumulative incidence of {event_words(event)}, by group.",
        )  # fmt: skip
        panels.append(figure(drawn, *caption))
    drawn = picture(
        partial(figures.states, run.tree), slug="states", alt="Share of all patients in each state over time.",
        height=3.5, margins=(0.75, 0.25, 0.5, 0.2 + 0.17 * math.ceil((len(run.grounds.states) + 1) / 2)),
    )  # fmt: skip
    free = [name for name in run.grounds.assumed_states() if name not in run.grounds.absorbing]
    caption = ["All patients by state"]
    if free:
        states = ", ".join(sorted(name.replace("_", " ") for name in free))
        caption.append(f": the edge beneath {states} (survival free of that) rests on assumption alone")
    yield element("div", [*panels, figure(drawn, *caption)], class_="panels")
    yield from _left_out("events", _events(run))


def times(run: Run) -> Iterator[Element]:
    """Time to response and other events."""
    groups = _groups(run)
    if len(event_rows(run.tree)) > MOST_ROWS:
        groups = groups[:1]
    n = len(event_rows(run.tree, groups=groups))
    if not n:
        yield paragraph("Nothing but death happens in this model.")
        return
    yield paragraph(
        "Among those in whom an event happens: 5, 25, 50, 75 and 95 % points of its time, as assessments show it and "
        "as it truly is. Events that are not assessed are seen when they happen."
    )
    drawn = picture(
        partial(figures.time_to_event, run.tree, groups=groups), slug="times",
        alt="Quantiles of times to events, true and as seen.",
        width=6.4, height=1.1 + 0.42 * max(n, 2), margins=(2.3, 0.15, 0.5, 0.55),
    )  # fmt: skip
    yield figure(drawn, "Times to events", wide=True)


def administrations(run: Run) -> Iterator[Element]:
    """Number of administrations."""
    node = statistics_of(run.tree)
    if not float(node["administrations_mean"].max()):
        yield paragraph("Nothing is administered in this course.")
        return
    drawn = picture(
        partial(figures.administrations, run.tree), slug="administrations",
        alt="Share of patients given at least so many administrations, by group.",
        width=5.2,
    )  # fmt: skip
    yield figure(drawn, "Share of patients given at least so many administrations (true)")
    names = ("administrations_mean", "time_on_treatment")
    rows = [
        (words(group), *(_estimate(node, name, group) for name in names)) for group in _groups(run)
    ]  # fmt: skip
    head = ("group", "administrations per patient, mean", "time on treatment, mean (days)")
    yield table("Administrations (true means; ± Monte-Carlo error)", head, rows, numeric=(1, 2))


def adverse_events(run: Run) -> Iterator[Element]:
    """Adverse events, reported and simulated."""
    n = len(term_rows(run.tree))
    if not n:
        yield paragraph("The course declares no adverse events, or none happens.")
        return
    harms = [row for row in target_rows(run.tree) if row.variable.startswith("adverse_event.")]
    drawn = picture(
        partial(figures.adverse_events, run.tree), slug="adverse-events",
        alt="Share of patients who ever have each adverse event, simulated and reported.",
        width=6.4, height=1.0 + 0.3 * max(n, 2),
        margins=(1.9, 0.2, 0.5, 0.3),
    )  # fmt: skip
    yield figure(drawn, "Patients who ever have an adverse event", wide=True)
    if harms:
        head = ("id", "what", "reported", "simulated median", "95 % interval", "percentile", "role", "provenance")
        yield table("Adverse events, reported and simulated", head, map(_target_cells, harms), numeric=range(2, 6))
    else:
        yield paragraph("No adverse event was reported that could be compared.")


def patients(run: Run) -> Iterator[Element]:
    """A sample of patients."""
    node = run.tree["statistics"].to_dataset()
    if "history_time" not in node:
        yield paragraph(
            "A run over draws of a posterior keeps no histories of single patients; a run at point values shows them."
        )
        return
    n = min(SHOWN_PATIENTS, node.sizes["patient"])
    yield paragraph(
        f"The first {n} simulated patients, the longest history at the top: what truly happened, whether or not it was "
        "seen. A bar ends at death or at the horizon."
    )
    drawn = picture(
        partial(figures.histories, run.tree), slug="patients",
        alt=f"Histories of {n} simulated patients: states, administrations, events.",
        width=7.6, height=1.5 + 0.2 * n, margins=(0.7, 0.15, 0.5, 0.9),
    )  # fmt: skip
    yield figure(drawn, "Single patients", wide=True)


def spreads(run: Run) -> Iterator[Element]:
    """Three kinds of spread, apart."""
    yield paragraph(
        "Study sampling is how much a study of this size varies; parameters, how little is known of them; Monte Carlo, "
        "that only so many studies were simulated. They are never mixed without a word."
    )
    if "draw" not in run.tree["targets"].sizes:
        yield paragraph(
            f"This run: {run.said('parameter_uncertainty')}. So the intervals above are of study sampling alone; "
            "Monte-Carlo errors limit the digits that are shown. A run with parameters=posterior has parameters apart."
        )
        return
    head = ("id", "what", "mean", "study sampling ±", "parameters ±", "Monte Carlo ±")
    rows = spread_rows(run.tree)
    yield table("Standard deviations, in printed units", head, rows, numeric=range(2, 6))
    yield paragraph("± is one standard deviation: over studies of one draw; over draws; of the mean.")


def paragraph(*content: Content) -> Element:
    """Return a paragraph."""
    return element("p", *content)


def warning(said: str) -> Element:
    """Return a paragraph that a reader should not miss."""
    return element("p", said, class_="warning")


def figure(drawn: Element, *caption: Content, wide: bool = False) -> Element:
    """Return a picture with its caption; a wide one scrolls sideways where the page is narrow."""
    box = element("div", drawn, class_="scroll", tabindex="0", role="group", aria_label="figure") if wide else drawn
    return element("figure", box, element("figcaption", *caption), class_="wide" if wide else "panel")


def _target_cells(row: TargetRow) -> tuple[Content, ...]:
    numbers = (row.reported, row.median, row.interval, row.percentile.strip())
    link = element("a", row.id, href=f"#{anchor(row.id)}")
    return (link, row.what, *numbers, row.role, badge(row.provenance))


def anchor(id_: str) -> str:
    """Return the id of an element that stands for an entry of the evidence."""
    return "evidence-" + "".join(c if c.isascii() and c.isalnum() else f"_{ord(c):x}_" for c in id_)


def _estimate(node: Any, name: str, group: str) -> str:
    value = float(node[name].sel(group=group))
    error = next((f"{name}_{kind}" for kind in ("standard_error", "monte_carlo_error") if f"{name}_{kind}" in node), "")
    if not error or not math.isfinite(value):
        return supported(value, math.nan, 1.0, 2)
    of = float(node[error].sel(group=group))
    return f"{supported(value, of, 1.0, 3)} ± {of:.1g}"


def _said(node: Any, name: str, place: int) -> str:
    against = str(node["against_group"].values[place]) if name == "of_group" else ""
    return str(node[name].values[place]) + (f" against {against}" if against else "")


def _silence(doubts: Mapping[str, Doubt]) -> str:
    """Say after which day no target informs survival, of whom where that differs."""
    groups: dict[str, list[str]] = {}
    for group, doubt in doubts.items():
        groups.setdefault(f"day {doubt.after:g}", []).append(words(group))
    if len(groups) == 1:
        return f"No target informs survival after {next(iter(groups))}"
    said = "; ".join(f"{day} ({', '.join(names)})" for day, names in groups.items())
    return f"No target informs survival after {said}"


def _groups(run: Run) -> list[str]:
    return [str(name) for name in statistics_of(run.tree)["group"].values]


def _events(run: Run) -> list[str]:
    node = statistics_of(run.tree)
    return [str(name) for name in node["event"].values] if "event" in node.coords else []


def _left_out(what: str, names: list[str]) -> Iterator[Element]:
    if len(names) > MOST_PANELS:
        yield paragraph(f"{len(names) - MOST_PANELS} more {what} are not drawn; results.nc has them.")
