"""What survival of a run rests on, in words: whether response was changed, by what, and what was assumed of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from simulator.configuration.values import PREFIX
from simulator.experiment.schema import Experiment
from simulator.model.model import Hazard
from simulator.tables import NONE


def assumption(*experiments: Experiment) -> str:
    """Return what every survival output rests on; empty where no baseline is solved.

    ``experiments`` have parameter sets of one cohort, as draws of a posterior are declared.
    """
    experiment = experiments[0]
    shares = [share for one in experiments for share in one.solved.effect]
    if not shares:
        return ""
    if changed := _changed_by(experiments):
        said = f"response is changed by {changed}; {_mediation(experiment, shares)}"
    else:
        said = (
            "nothing in this run changes response or its timing: survival of all patients is the calibrated curve,"
            " whatever response causes"
        )
    on_top = [*_arms_on_top(experiment), *_markers_on_top(experiment)]
    if not on_top:
        return said
    effects = f"the effect of {on_top[0]} comes" if len(on_top) == 1 else f"the effects of {', '.join(on_top)} come"
    return f"{said}; {effects} on top of it"


def _mediation(experiment: Experiment, shares: Sequence[float]) -> str:
    """Return the share of the responders' advantage that response causes, and where it comes from."""
    leaf = experiment.parameters.get(key_of_share(experiment).removeprefix(PREFIX))
    origin = "assumed" if leaf is None else leaf.provenance
    low, high = min(shares), max(shares)
    if low < high:
        middle = float(np.median(shares))
        return (
            f"{origin}: response causes a share of the responders' advantage that differs by parameter set"
            f" (response_effect, {low:.2g} to {high:.2g}, median {middle:.2g})"
        )
    if low == 0.0:
        return (
            f"{origin}: response causes none of the responders' advantage (response_effect 0, prognostic), so that"
            " survival stays the calibrated curve"
        )
    if low == 1.0:
        return f"{origin}: response causes all of the responders' advantage (response_effect 1, causal)"
    return f"{origin}: response causes a share of {low:.3g} of the responders' advantage (response_effect)"


def changes_response(experiment: Experiment) -> bool:
    """Whether response in a group is not that of the published study, so that survival depends on `response_effect`."""
    return experiment.solved.scenario or bool(experiment.solved.arms)


def key_of_share(experiment: Experiment) -> str:
    """Return the key that sets `response_effect`, of a parameter or in the model; empty where nothing is solved."""
    for name, event in experiment.model.events.items():
        if event.hazard is not None and event.hazard.solved_for is not None:
            declared = event.hazard.response_effect
            if isinstance(declared, str) and declared.startswith(PREFIX):
                return declared
            return f"model.events.{name}.hazard.response_effect"
    return ""


def _changed_by(experiments: Sequence[Experiment]) -> str:
    changed = frozenset[int]().union(*(one.solved.arms for one in experiments))
    names = [experiments[0].tables.arms[arm] for arm in sorted(changed)]
    arms = f"{'arms' if len(names) > 1 else 'arm'} {', '.join(names)}" if names else ""
    scenario = "the scenario, against the published study" if any(one.solved.scenario for one in experiments) else ""
    return " and by ".join(filter(None, (scenario, arms)))


def _solved_hazard(experiment: Experiment) -> Hazard | None:
    """The hazard of the death whose baseline is solved."""
    hazards = (event.hazard for event in experiment.model.events.values())
    return next((hazard for hazard in hazards if hazard is not None and hazard.solved_for is not None), None)


def _solved_deaths(experiment: Experiment) -> list[int]:
    events = enumerate(experiment.model.events.values())
    return [e for e, event in events if event.hazard is not None and event.hazard.solved_for is not None]


def _arms_on_top(experiment: Experiment) -> list[str]:
    """Arms with a hazard ratio of the solved death."""
    tables, n_strata = experiment.tables, len(experiment.tables.strata)
    ratios = tables.cell_ratio[:, _solved_deaths(experiment)].reshape(tables.n_sets, -1, len(tables.arms), n_strata)
    return [f"arm {arm} on death" for a, arm in enumerate(tables.arms) if np.any(ratios[:, :, a] != 1.0)]


def _markers_on_top(experiment: Experiment) -> list[str]:
    """Markers with a hazard ratio of the solved death that the event it is solved for does not set."""
    tables, deaths, hazard = experiment.tables, _solved_deaths(experiment), _solved_hazard(experiment)
    own = experiment.model.events[hazard.solved_for].set if hazard is not None and hazard.solved_for else []
    found = {
        tables.markers[int(tables.effect_marker[f])]
        for f in range(tables.effect_event.size)
        if int(tables.effect_event[f]) in deaths
        and tables.effect_marker[f] != NONE
        and np.any(tables.effect_ratio[:, f] != 1.0)
    }
    return sorted(found - set(own))


__all__ = ["assumption", "changes_response", "key_of_share"]
