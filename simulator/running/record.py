"""What a run was made of, in words and values, for the attributes of its results. Simulates nothing."""

from __future__ import annotations

from typing import Any

import numpy as np

from simulator.declaration.posterior import DRAW, GROUP
from simulator.declaration.schema import Experiment
from simulator.tables import NONE

_KNOWN = ("interval", "prior", "contraction")  # what may be said of how well a parameter is known


def record_of(experiment: Experiment, *, engine: str, **facts: Any) -> dict[str, Any]:
    """Return the run record of an experiment (`results.provenance.record`), and these facts of the run."""
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
        assumed=assumption(experiment),
        **({"size": experiment.size} if experiment.size else {}),
        **facts,
    )


def assumption(experiment: Experiment) -> str:
    """What every survival output rests on, in words."""
    effect, tables = experiment.solved.effect, experiment.tables
    if not effect:
        return ""
    if "causal" in effect:
        said = "assumed: response causes survival"
    else:
        said = (
            "response announces survival (prognostic): a change of response or course leaves overall survival as it is"
        )
    if len(tables.arms) > 1:
        said += "; solved for the reference arm, the effects of other arms come on top"
    solved = {e for e, event in enumerate(experiment.model.events.values()) if event.hazard and event.hazard.solved_for}
    on_top = {
        tables.markers[int(tables.effect_marker[f])]
        for f in range(tables.effect_event.size)
        if int(tables.effect_event[f]) in solved
        and tables.effect_marker[f] != NONE
        and np.any(tables.effect_ratio[:, f] != 1.0)
        and not any(_sets(experiment, e, int(tables.effect_marker[f])) for e in solved)
    }
    return said + (f"; the effect of {', '.join(sorted(on_top))} comes on top of it" if on_top else "")


def _sets(experiment: Experiment, death: int, marker: int) -> bool:
    """Whether the event for which a death is solved sets a marker."""
    hazard = list(experiment.model.events.values())[death].hazard
    if hazard is None or hazard.solved_for is None:
        return False
    return experiment.model.markers[marker] in experiment.model.events[hazard.solved_for].set
