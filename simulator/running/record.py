"""What a run was made of, in words and values, for the attributes of its results. Simulates nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from simulator.configuration.draws import DRAW, GROUP
from simulator.evidence.entries import EvidenceEntry
from simulator.experiment.assumption import assumption
from simulator.experiment.schema import Experiment

_KNOWN = ("interval", "prior", "contraction")  # what may be said of how well a parameter is known


def record_of(experiment: Experiment, *, engine: str, draws: Sequence[Experiment] = (), **facts: Any) -> dict[str, Any]:
    """Return the run record of an experiment (`results.provenance.record`), and these facts of the run.

    ``draws``: the experiments that were run instead, with draws of a posterior as their parameter sets.
    """
    from simulator.results.provenance import POINT_VALUES, record

    parameters = {
        path: {
            "value": leaf.value,
            "provenance": leaf.provenance,
            "note": leaf.note or "",
            "source": leaf.source or "",
            **{name: getattr(leaf, name) for name in _KNOWN if getattr(leaf, name) is not None},
        }
        for path, leaf in experiment.parameters.items()
    }
    draw = experiment.config[GROUP].get(DRAW)
    said = POINT_VALUES if draw is None else f"no parameter uncertainty: draw {draw} of the posterior"
    said = facts.pop("parameter_uncertainty", said) + (f"; {experiment.borrowed}" if experiment.borrowed else "")
    return record(
        experiment.config,
        seed=experiment.root.seed,
        evidence={
            "readings": dict(experiment.selection.chosen),
            "not_applied": dict(experiment.not_applied),
            "entries": [as_shown(entry) for entry in experiment.entries],
        },
        parameters={"declared": parameters, "solved": experiment.solved.values},
        engine=engine,
        cohort=experiment.name,
        title=experiment.cohort.title or experiment.name,
        n_replicates=experiment.study.replicates,
        n_patients=int(experiment.tables.patients.n_patients[0]),
        overrides="\n".join(experiment.overrides),
        assumed=assumption(*(draws or (experiment,))),
        parameter_uncertainty=said,
        **({"size": experiment.size} if experiment.size else {}),
        **facts,
    )


def as_shown(entry: EvidenceEntry) -> dict[str, Any]:
    """Return an entry of the evidence as a record has it, with the role that results show (`Experiment.entries`)."""
    return entry.model_copy(update={"role": None}).model_dump(mode="json") | {"role": entry.role}
