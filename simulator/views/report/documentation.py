"""What a run was made of, in the order of STRESS-DES (Monks et al. 2019, doi:10.1080/17477778.2018.1442155)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from simulator.results.assumptions import ASSUMPTION
from simulator.views.figures.style import event_words
from simulator.views.report.markup import Content, Element, bullets, definitions, element, table
from simulator.views.report.record import NOT_RECORDED, Run, declared_lines, ends, in_a_line
from simulator.views.report.results import anchor, badge, paragraph, warning

_CLASSES = {
    "reported": "printed in the source",
    "derived": "follows from printed numbers by arithmetic",
    "read": "the source is ambiguous and was read so",
    "borrowed": "taken from another publication",
    "assumed": "from no source",
    "calibrated": "fitted to reported numbers",
}
_VERSIONS = ("numpy", "numba", "scipy", "simpy", "xarray")


def purpose(run: Run) -> Iterator[Element]:
    """1.1 Purpose of the model."""
    yield paragraph(
        f"{run.said('title')}: histories of single patients are simulated many times over in studies of the published "
        "size, watched as the investigators watched theirs, and set beside what was published."
    )
    for group in ("cohort", "model"):
        if said := run.group(group).get("description"):
            yield paragraph(str(said))


def outputs(run: Run) -> Iterator[Element]:
    """1.2 Model outputs."""
    n = run.tree["targets"].sizes["target"]
    yield bullets(
        (
            element("span", _link("targets", f"{n} reported numbers"), " beside what simulated studies report"),
            element("span", _link("survival", "overall survival"), ", by stratum and arm"),
            element("span", _link("occurrences", "cumulative incidence"), " of events and causes of death; states"),
            element("span", _link("times", "times to events"), ", true and as seen"),
            element("span", _link("administrations", "administrations"), " and ", _link("adverse", "adverse events")),
        )
    )


def aims(run: Run) -> Iterator[Element]:
    """1.3 Aims of the experimentation."""
    set_ = run.overrides
    yield paragraph(
        "One scenario. " + ("It differs from the shipped settings in:" if set_ else "Nothing was set by hand.")
    )
    if set_:
        yield bullets(element("code", text) for text in set_)


def base_model(run: Run) -> Iterator[Element]:
    """2.1 Base model: states and events."""
    model = run.group("model")
    yield definitions(
        [
            ("states", ", ".join(map(str, model.get("states") or ()))),
            ("at entry", str(model.get("initial", NOT_RECORDED))),
            ("left no more (exit points)", ", ".join(map(str, model.get("absorbing") or ()))),
            *([("markers", ", ".join(map(str, model["markers"])))] if model.get("markers") else []),
        ]
    )
    rows = [(name, *_event_cells(event)) for name, event in run.grounds.events.items()]
    yield table("Events", ("event", "from", "to", "changes", "driven by", "hazard ratios"), rows)


def logic(run: Run) -> Iterator[Element]:
    """2.2 Logic of the base model."""
    yield paragraph(
        "Each event at risk has a budget, −log of a uniform number, which its cumulative hazard times the current "
        "hazard ratio spends; it happens when the budget is spent. Changes of state and markers change the rate, never "
        "the budget. Ties are settled in declared order, then the administration, then the assessment."
    )
    if assumed := run.said("assumed").strip():
        yield paragraph(assumed[:1].upper() + assumed[1:] + ".")


def components(run: Run) -> Iterator[Element]:
    """2.3 Components: who enters, what is done, what is watched."""
    for title, group in (("Entities: patients", "cohort"), ("Activities: the course", "course"),
                         ("Observation: the study", "study")):  # fmt: skip
        yield element("h4", title)
        lines = [*declared_lines(run.group(group))]
        yield definitions(lines) if lines else paragraph("Nothing is declared.")


def sources(run: Run) -> Iterator[Element]:
    """3.1 Data sources and the evidence."""
    cited = run.group("evidence").get("sources") or []
    yield bullets(f"{each.get('file', '')}: {each.get('citation', '')}" for each in cited if isinstance(each, Mapping))
    if readings := run.evidence.get("readings"):
        yield paragraph("Where the text is ambiguous it was read so:")
        yield definitions((str(question).replace("_", " "), str(answer)) for question, answer in readings.items())
    if left := run.evidence.get("not_applied"):
        yield paragraph("These readings are not applied, since something closer to the run says otherwise:")
        yield definitions((str(name).replace("_", " "), str(why)) for name, why in left.items())
    yield definitions((name, said) for name, said in _CLASSES.items())
    rows = map(_evidence_cells, run.evidence.get("entries") or [])
    yield table("Evidence", ("id", "what", "as printed", "n/N", "provenance", "role", "where"), rows)


def parameters(run: Run) -> Iterator[Element]:
    """3.2 Input parameters."""
    rows = [
        (element("code", path), in_a_line(leaf.get("value")), badge(str(leaf.get("provenance", "assumed"))),
         ends(leaf.get("interval")), "; ".join(filter(None, (str(leaf.get("source", "")), str(leaf.get("note", ""))))))
        for path, leaf in run.grounds.declared.items()
    ]  # fmt: skip
    yield table("Parameters", ("parameter", "value", "provenance", "interval", "source, note"), rows)
    if solved := run.parameters.get("solved"):
        yield table(
            "Solved, so that what the paper saw comes out",
            ("what", "value, by stratum"),
            [(what, in_a_line({k: float(f"{v:.4g}") for k, v in of.items()})) for what, of in solved.items()],
        )


def assumptions(run: Run) -> Iterator[Element]:
    """3.4 Assumptions."""
    if run.grounds.survival_is_assumed():
        yield warning("Overall survival rests on assumption alone.")
    doubtful = [(name, basis) for name, basis in run.grounds.bases().items() if basis.assumed]
    if doubtful:
        yield paragraph("Nothing but assumption says when these happen, and their curves are hatched:")
        yield bullets(
            f"{event_words(name)}" + (f" ({', '.join(basis.parameters)})" if basis.parameters else "")
            + ("" if basis.wholly_assumed else "; in how many, evidence says")
            for name, basis in doubtful
        )  # fmt: skip
    assumed = [(p, leaf) for p, leaf in run.grounds.declared.items() if leaf.get("provenance", "assumed") in ASSUMPTION]
    yield paragraph("Parameters that no source of this cohort informs:" if assumed else "No parameter is assumed.")
    yield bullets(
        element("span", element("code", path), f" = {in_a_line(leaf.get('value'))} ",
                badge(str(leaf.get("provenance", "assumed"))),
                " " + "; ".join(str(leaf[key]) for key in ("note", "source") if leaf.get(key)))
        for path, leaf in assumed
    )  # fmt: skip
    yield paragraph(
        "A number that stands in the declaration itself carries no class and counts as assumed: see the events, the "
        "course and the study above."
    )


def initialisation(run: Run) -> Iterator[Element]:
    """4.1 Initialisation."""
    initial = run.group("model").get("initial", NOT_RECORDED)
    yield paragraph(
        f"Every patient enters in the state {initial}, at time 0 of an own clock. There is no warm-up: a study begins "
        "empty, as the published one did."
    )


def length(run: Run) -> Iterator[Element]:
    """4.2 Run length."""
    horizon = float(run.tree["statistics"].to_dataset()["time"].values[-1])
    yield paragraph(
        f"{int(run.said('n_replicates')):,} studies of {int(run.said('n_patients')):,} patients, each followed for at "
        f"most {horizon:g} days."
    )


def estimation(run: Run) -> Iterator[Element]:
    """4.3 Estimation approach."""
    yield paragraph(
        "Every number is estimated in each simulated study as the source estimated it. The percentile of a reported "
        "number is its mid-rank among the studies; intervals are the central 95 % of studies; whatever comes from a "
        "finite number of studies carries a Monte-Carlo standard error, and no digit is shown that it does not support."
    )


def software(run: Run) -> Iterator[Element]:
    """5.1 Software and environment."""
    versions = [(name, run.said(f"{name}_version")) for name in _VERSIONS]
    yield definitions([("Lobule", run.said("software_version")), ("Python", run.said("python_version")), *versions])


def sampling(run: Run) -> Iterator[Element]:
    """5.2 Random sampling."""
    yield paragraph(
        f"Philox4x32-10 by address (seed {run.said('seed')}, replicate, patient, stream, occurrence), streams of "
        f"version {run.said('stream_version')}: no generator has a state, so the same seed gives the same bits, and "
        "what is changed leaves the random numbers of all else as they were."
    )


def execution(run: Run) -> Iterator[Element]:
    """5.3 Model execution."""
    yield paragraph(
        f"Engine {run.said('engine')}: next event of each patient, patients independent of each other. No result "
        "depends on the number of threads, the cut into blocks or the engine; so the record names no machine."
    )


def access(run: Run) -> Iterator[Element]:
    """6 Code access: how to run it again."""
    commit = run.tree.root.attrs.get("source_commit")
    yield paragraph(f"Lobule {run.said('software_version')}, BSD-3-Clause" + (f", commit {commit}." if commit else "."))
    yield paragraph("The same run again, every array exactly, with the versions above:")
    again = 'import simulator\nagain = simulator.rerun("results.nc")'
    yield element("pre", element("code", again))
    yield paragraph(
        "or from the shell, with the --config-dir of the run if it had one (paths are not recorded; "
        f"seed {run.said('seed')} stands in the configuration):"
    )
    yield element("pre", element("code", run.command))
    yield paragraph(
        "This page again: ", element("code", "python -m simulator report results.nc"), "; from Python, figures are "
        "functions of ", element("code", "simulator.figures"), ".",
    )  # fmt: skip


def _link(to: str, said: str) -> Element:
    return element("a", said, href=f"#{to}")


def _event_cells(event: Mapping[str, Any]) -> tuple[Content, ...]:
    changes = [f"{key} {', '.join(event[key])}" for key in ("set", "clear") if event.get(key)]
    changes += [f"chooses {', '.join(event['choose'])}"] if event.get("choose") else []
    changes += [f"if {', '.join(event['when'])}"] if event.get("when") else []
    changes += [f"unless {', '.join(event['unless'])}"] if event.get("unless") else []
    changes += [f"clock {in_a_line(event['clock'])}"] if event.get("clock") else []
    drivers = [f"{key.replace('_', ' ')}: {in_a_line(event[key])}"
               for key in ("hazard", "per_administration") if event.get(key)]  # fmt: skip
    to = str(event.get("to") or "stays") + (f" (cause {event['cause']})" if event.get("cause") else "")
    ratios = "; ".join(in_a_line(each) for each in event.get("ratios") or [])
    return ", ".join(event.get("from") or []), to, "; ".join(changes), "; ".join(drivers), ratios


def _evidence_cells(entry: Mapping[str, Any]) -> tuple[Content, ...]:
    counts = f"{_or(entry.get('numerator'), '?')}/{entry['denominator']}" if entry.get("denominator") else ""
    source = entry.get("source") or {}
    id_ = str(entry.get("id", ""))
    what: list[Content] = [str(entry.get("name", "")), element("small", f" {entry.get('population', '')}")]
    what += [element("small", f" {entry['note']}")] if entry.get("note") else []
    return (
        element("span", id_, id=anchor(id_)),
        element("span", *what),
        str(entry.get("printed", "")),
        counts,
        badge(str(entry.get("provenance", ""))),
        str(entry.get("role") or "").replace("_", " "),
        f"{source.get('file', '')}: {source.get('locator', '')}",
    )


def _or(value: object, otherwise: str) -> str:
    return otherwise if value is None else str(value)
