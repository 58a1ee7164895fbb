"""Survival of arms whose response differs, at the other end of what response may cause. Declares; simulates nothing.

Where nobody has set `response_effect`, contrasts of survival between such arms are found twice, with none and with all
of the responders' advantage caused by response: either alone would pass for a finding.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from simulator.configuration.layers import keys_of
from simulator.errors import DeclarationWarning
from simulator.evidence.statistic import Statistic
from simulator.experiment.arms import ARM
from simulator.experiment.assumption import key_of_share
from simulator.experiment.schema import Experiment, declare
from simulator.tables import Floats

SUFFIX = ".causal"
"""What the name of a contrast ends with that is found with all of the advantage caused."""


def other_end(experiment: Experiment) -> Experiment | None:
    """Return an experiment with the contrasts of survival between arms where response causes all of the advantage.

    None where nothing is to be added: no arm has a response of its own, nothing is contrasted between arms, or the
    share is set by hand or is not 0.
    """
    solved, given = experiment.solved, experiment.root.output.contrast
    if not solved.arms or any(solved.effect) or ARM not in given:
        return None
    key = key_of_share(experiment)
    if {key, f"{key}.value"} & keys_of(experiment.overrides):
        return None
    config = copy.deepcopy(dict(experiment.config))
    config["output"] = {"contrast": dict(given), "time_step": experiment.root.output.time_step, "report": False}
    *above, last = key.split(".")
    node = config
    for step in above:
        node = node[step]
    node[last] = {**node[last], "value": 1.0} if isinstance(node.get(last), Mapping) else 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeclarationWarning)  # `experiment` has given them
        other = declare(config, overrides=experiment.overrides)
    kept = {name: each for name, each in other.estimates.items() if each.variable == "survival"}
    return replace(other, estimates=kept)


def side_by_side(
    estimates: Mapping[str, Statistic], values: Floats, other: Mapping[str, Statistic], others: Floats
) -> tuple[dict[str, Statistic], Floats, Floats]:
    """Return estimates and their values (…, estimates), each contrast beside that of the other end.

    The third: the share under which each is found, NaN of what is not found at both ends.
    """
    names, columns, shares = dict[str, Statistic](), [], []
    at = {name: place for place, name in enumerate(other)}
    for place, (name, statistic) in enumerate(estimates.items()):
        names[name] = statistic
        columns.append(values[..., place])
        shares.append(0.0 if name in at else np.nan)
        if name in at:
            names[name + SUFFIX] = statistic
            columns.append(others[..., at[name]])
            shares.append(1.0)
    return names, np.stack(columns, axis=-1), np.array(shares)


__all__ = ["SUFFIX", "other_end", "side_by_side"]
