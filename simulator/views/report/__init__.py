"""One self-contained page a run or sweep: what it found, what it was made of.

The page needs no network and no script. Its headings follow STRESS-DES (Monks et al. 2019), so that it serves as the
documentation of the model in a submission.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import xarray as xr

from simulator.sweep.scenarios import SWEEP
from simulator.views.figures.style import write_whole
from simulator.views.report import comparisons as compared
from simulator.views.report import documentation as made_of
from simulator.views.report import results as found
from simulator.views.report import sweep_background as background
from simulator.views.report import sweep_results as swept
from simulator.views.report.calibrated import calibrated
from simulator.views.report.markup import Element, element, written
from simulator.views.report.record import Run, run_of, sentence
from simulator.views.report.sweep import SweepRun, summary, sweep_of

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"  # nothing is fetched, nothing runs


_Of = Callable[[Any], Iterator[Element]]


@dataclass(frozen=True)
class Section:
    """A section: its id, its heading, what writes it of a run and of a sweep, and the sections within.

    Of a sweep, one without a writer of its own is left out; ``of_first`` says that it is of the first scenario.
    """

    id: str
    heading: str
    run: _Of | None = None  # of a `Run`
    sweep: _Of | None = None  # of a `SweepRun`
    within: Sequence[Section] = ()


def _of_first(id_: str, heading: str, write: _Of) -> Section:
    """Return a section that a sweep has of its first finished scenario."""
    return Section(id_, heading, write, background.of_first(write))


SECTIONS = (
    Section("results", "Results", within=(
        Section("swept", "What was swept", sweep=swept.what_was_swept),
        Section("main", "Main statistics", sweep=swept.main),
        Section("targets", "Reported and simulated", found.targets, swept.reported),
        Section("estimates", "Estimates without a reported value", found.estimates, swept.estimates),
        Section("decisions", "Decisions", found.decisions, swept.decisions),
        Section("survival", "Survival", found.survival, swept.survival),
        Section("occurrences", "Response, progression and causes of death", found.occurrences),
        Section("times", "Time to response and other events", found.times),
        Section("administrations", "Administrations", found.administrations),
        Section("adverse", "Adverse events", found.adverse_events),
        Section("patients", "Single patients", found.patients),
        Section("spreads", "Three kinds of spread", found.spreads),
        Section("contrasts", "Contrasts with the reference", sweep=compared.contrasts),
        Section("tornado", "One key at a time", sweep=compared.tornado),
    )),
    Section("objectives", "1 Objectives", within=(
        _of_first("purpose", "1.1 Purpose of the model", made_of.purpose),
        Section("outputs", "1.2 Model outputs", made_of.outputs),
        Section("aims", "1.3 Aims of experimentation", made_of.aims, background.aims),
    )),
    Section("logic", "2 Logic", within=(
        _of_first("overview", "2.1 Base model", made_of.base_model),
        _of_first("algorithms", "2.2 Base model logic and algorithms", made_of.logic),
        _of_first("components", "2.3 Components", made_of.components),
    )),
    Section("data", "3 Data", within=(
        _of_first("sources", "3.1 Data sources and evidence", made_of.sources),
        _of_first("parameters", "3.2 Input parameters", made_of.parameters),
        _of_first("calibration", "3.3 Calibration", calibrated),
        Section("assumptions", "3.4 Assumptions", made_of.assumptions, background.assumptions),
    )),
    Section("experimentation", "4 Experimentation", within=(
        _of_first("initialisation", "4.1 Initialisation", made_of.initialisation),
        _of_first("length", "4.2 Run length", made_of.length),
        _of_first("estimation", "4.3 Estimation approach", made_of.estimation),
    )),
    Section("implementation", "5 Implementation", within=(
        _of_first("software", "5.1 Software", made_of.software),
        _of_first("sampling", "5.2 Random sampling", made_of.sampling),
        _of_first("execution", "5.3 Model execution", made_of.execution),
    )),
    Section("access", "6 Code access", made_of.access, background.access),
)  # fmt: skip
"""Sections in their order; one that writes nothing, as calibration where nothing is calibrated, is left out."""


def page(tree: xr.DataTree, *, source: str = "DataTree", against: Mapping[str, Any] | None = None) -> str:
    """Return the page of a run or a sweep: HTML that needs nothing else. The same tree, the same text.

    ``source`` is what an error calls the tree: where it was read, say. ``against``, of a sweep, is the reference by
    dimension that ``output.contrast`` named.

    Raises
    ------
    ConfigError
        If the tree is not that of one run with its record, or of a sweep; or ``against`` is not in it.
    """
    if SWEEP in tree.root.attrs:
        sweep = sweep_of(tree, source, against)
        return _page(sweep, sweep.title, summary(sweep))
    run = run_of(tree, source)
    return _page(run, run.said("title"), _summary(run))


def write(
    tree: xr.DataTree,
    path: str | os.PathLike[str],
    *,
    source: str = "DataTree",
    against: Mapping[str, Any] | None = None,
) -> Path:
    """Write the page of a run or a sweep into a file, whole or not at all, and return the file; others as of `page`.

    Raises
    ------
    ConfigError
        If the tree has no page (`page`), or the file cannot be written.
    """
    write_whole(page(tree, source=source, against=against).encode("utf-8"), path, key="report")
    return Path(path)


def _page(run: Run | SweepRun, title: str, lead: str) -> str:
    made = [section for section in (_written(each, run, 2) for each in SECTIONS) if section is not None]
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="generator", content=f"Lobule {run.said('software_version')}"),
        element("title", f"{title} – Lobule"),
        element("style", files(__package__).joinpath("page.css").read_text(encoding="utf-8")),
    )
    top = element("header", element("h1", title), element("p", lead, class_="lead"), id="top")
    contents = element("nav", element("h2", "Contents"), _contents(made), aria_label="Contents")
    foot = element("footer", element("a", "to the top", href="#top"))
    return written(element("html", head, element("body", top, contents, element("main", made), foot), lang="en"))


def _written(section: Section, run: Run | SweepRun, level: int) -> Element | None:
    """Return a section with its heading, or None if there is nothing to say."""
    write = section.run if isinstance(run, Run) else section.sweep
    content = [*write(run)] if write else []
    content += [each for each in (_written(one, run, level + 1) for one in section.within) if each is not None]
    if not content:
        return None
    return element("section", element(f"h{level}", section.heading), content, id=section.id)


def _contents(sections: Sequence[Element]) -> Element:
    items = []
    for section in sections:
        link = element("a", section[0].text or "", href=f"#{section.get('id')}")
        within = [child for child in section if child.tag == "section"]
        items.append(element("li", link, [_contents(within)] if within else []))
    return element("ul", items)


def _summary(run: Run) -> str:
    draws = run.tree["targets"].sizes.get("draw")
    of_draws = f"{draws} draws of the parameters, each in " if draws else ""
    spread = "" if draws else f" {sentence(run.said('parameter_uncertainty'))}."
    return (
        f"{of_draws}{int(run.said('n_replicates')):,} simulated studies of {int(run.said('n_patients')):,} patients "
        f"(cohort {run.said('cohort')}, seed {run.said('seed')}, Lobule {run.said('software_version')}).{spread}"
    )
