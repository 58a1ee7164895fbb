"""What a run was made of, in words and values, for the attributes of its results. Simulates nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from simulator.declaration.assumption import assumption
from simulator.declaration.posterior import DRAW, GROUP
from simulator.declaration.schema import Experiment

_KNOWN = ("interval", "prior", "contraction")  # what may be said of how well a parameter is known


def record_of(experiment: Experiment, *, engine: str, draws: Sequence[Experiment] = (), **facts: Any) -> dict[str, Any]:
    """Return the run record of an experiment (`results.provenance.record`), and these facts of the run.

    ``draws``: the experiments that were run instead, with draws of a posterior as their parameter sets.
    """
    from simulator.results.provenance import record

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
    draw = (experiment.config.get(GROUP) or {}).get(DRAW)
    if draw is not None:
        facts = {"parameter_uncertainty": f"no parameter uncertainty: draw {draw} of the posterior", **facts}
    return record(
        experiment.config,
        seed=experiment.root.seed,
        evidence={
            "readings": dict(experiment.selection.chosen),
            "not_applied": dict(experiment.not_applied),
            "entries": list(experiment.selection.entries),
        },
        parameters={"declared": parameters, "solved": experiment.solved.values},
        engine=engine,
        cohort=experiment.name,
        title=experiment.cohort.title or experiment.name,
        n_replicates=experiment.study.replicates,
        n_patients=int(experiment.tables.patients.n_patients[0]),
        overrides="\n".join(experiment.overrides),
        assumed=assumption(*(draws or (experiment,))),
        **({"size": experiment.size} if experiment.size else {}),
        **facts,
    )
