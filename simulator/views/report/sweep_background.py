"""What a sweep was made of: the documentation of its first scenario, and what is of the sweep itself."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from simulator.results.assumptions import ASSUMPTION
from simulator.sweep.scenarios import SAMPLED
from simulator.views.report import documentation as made_of
from simulator.views.report.markup import Element, bullets, element
from simulator.views.report.record import Run
from simulator.views.report.results import paragraph
from simulator.views.report.sweep import SweepRun

_MOST_LABELS = 200  # labels of an axis that a command line is written with


def of_first(write: Callable[[Run], Iterator[Element]]) -> Callable[[SweepRun], Iterator[Element]]:
    """Return what writes a section of the documentation from the record of the first scenario that is finished."""

    def section(sweep: SweepRun) -> Iterator[Element]:
        if sweep.first is not None:
            yield from write(sweep.first)

    return section


def aims(sweep: SweepRun) -> Iterator[Element]:
    """1.3 Aims of the experimentation: what is set for all scenarios."""
    yield paragraph(
        f"{sweep.states.size:,} scenarios: every combination of the swept labels, see ",
        element("a", "what was swept", href="#swept"), ".",
    )  # fmt: skip
    if set_ := _description(sweep).get("set"):
        yield paragraph("Set for all of them:")
        yield bullets(element("code", f"{key}={value}") for key, value in set_.items())
    if sweep.first is None:
        yield paragraph("This store has no record of a finished scenario; a run of one scenario documents the model.")
    else:
        yield paragraph("What follows is of the first finished scenario:")
        yield element("pre", element("code", sweep.first.command))


def assumptions(sweep: SweepRun) -> Iterator[Element]:
    """3.4 Assumptions, of the first scenario; and what scenarios say of their own survival."""
    if sweep.first is not None:
        yield from made_of.assumptions(sweep.first)
        assumed = {path for path, leaf in sweep.first.grounds.declared.items() if leaf.get("provenance") in ASSUMPTION}
        varied = [f"parameters.{path}" for path in sorted(assumed)]
        found = [each.key for each in sweep.dimensions if any(key in varied for key in each.keys)]
        if found:
            yield paragraph(f"Swept are, of these: {', '.join(found)}.")
    said: Any = sweep.tree["scenarios"]["assumed"].values
    kinds = dict.fromkeys(str(text) for text in said.ravel() if str(text))
    if kinds:
        yield paragraph("Scenarios rest on, as far as survival is concerned:")
        yield bullets(kinds)


def access(sweep: SweepRun) -> Iterator[Element]:
    """6 Code access: how to run it again."""
    commit = sweep.tree.root.attrs.get("source_commit")
    yield paragraph(
        f"Lobule {sweep.said('software_version')}, BSD-3-Clause" + (f", commit {commit}." if commit else ".")
    )
    again = command(sweep)
    if again is None:
        yield paragraph(
            "The sweep's command is not written out here: it drew its points, or has very many labels. The store has "
            "the overrides of every scenario."
        )
    else:
        yield paragraph(
            "The same sweep again; into its own folder the command goes on where it stopped, or has nothing to do "
            "(paths are not recorded: add the --config-dir and hydra.sweep.dir of the sweep if it had them):"
        )
        yield element("pre", element("code", again))
    yield paragraph("The overrides of one scenario give the same numbers in a single run:")
    yield element("pre", element("code", _ONE_SCENARIO))
    yield paragraph(
        "This page again: ", element("code", "python -m simulator report FOLDER"), "; from Python, figures are "
        "functions of ", element("code", "simulator.figures"), ", contrasts of ", element("code", "simulator.contrast"),
        ".",
    )  # fmt: skip


_ONE_SCENARIO = (
    'import simulator\ntree = simulator.open_results("FOLDER")\n'
    'overrides = tree["scenarios"]["overrides"][0, ...].values.flat[0].split("\\n")\n'
    "run = simulator.simulate(overrides)"
)


def command(sweep: SweepRun) -> str | None:
    """Return the command line of a sweep, for a shell; None where it drew its points or has very many labels."""
    described = _description(sweep)
    overrides = [f"{key}={value}" for key, value in (described.get("set") or {}).items()]
    for axis in described.get("axes") or []:
        if axis["dimension"] == SAMPLED or len(axis["points"]) > _MOST_LABELS:
            return None
        overrides.append(f"{axis['keys'][0]}={','.join(point[0] for point in axis['points'])}")
    if sweep.against:
        named = ", ".join(f"{name}: {label}" for name, label in sweep.against.items())
        overrides.append(f"output.contrast={{{named}}}")
    return shlex.join(["python", "-m", "simulator", "--multirun", *overrides])


def _description(sweep: SweepRun) -> Mapping[str, Any]:
    found = json.loads(sweep.said("sweep"))
    return found if isinstance(found, Mapping) else {}
