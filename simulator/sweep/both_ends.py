"""Sweeps in which response changes: survival is shown with none and with all of the responders' advantage caused by it.

Nothing that is reported of one arm says how much response causes, so that either end alone would pass for a finding.
"""

from __future__ import annotations

from collections.abc import Iterator

from simulator.errors import ConfigError
from simulator.experiment.assumption import changes_response, key_of_share
from simulator.experiment.schema import Experiment
from simulator.sweep.design import Sweep

ENDS = "0,1"


def both_ends(sweep: Sweep) -> tuple[str, str]:
    """Return the override that sweeps both ends of `response_effect`, and what to say; empty where nothing is added.

    It is added where a scenario changes response. A share that is set or swept, or that the files set to another
    number than 0, stays as it is.
    """
    looked_at = list(_some(sweep))
    if not any(changes_response(experiment) for experiment in looked_at):
        return "", ""
    keys = {key_of_share(experiment) for experiment in looked_at}
    chosen = any(share for experiment in looked_at for share in experiment.solved.effect)
    if chosen or any(_sets(given, key) for given in sweep.keys for key in keys):
        return "", ""
    said = "some scenarios change response against the published study, and what that does to survival is not known"
    if len(keys) > 1 or "" in keys:
        which = " or ".join(f"{key}={ENDS}" for key in sorted(filter(None, keys)))
        return "", f"{said}: here it does nothing. Sweep each cohort by itself with {which} to see both ends"
    [key] = keys
    return f"{key}={ENDS}", f"{said}: both ends are simulated, {key}={ENDS}. Set it to have one of them"


def _sets(given: str, key: str) -> bool:
    """Whether a key that a user gives sets another: itself, a mapping that it is in, or the value of it."""
    return given == key or f"{key}.value" == given or ("." in given and key.startswith(f"{given}."))


def _some(sweep: Sweep) -> Iterator[Experiment]:
    """Yield the first and the last scenario, and of each axis some points with all others at their first."""
    places = {0, len(sweep) - 1}
    stride = len(sweep)
    for axis in sweep.axes:
        stride //= axis.size
        places |= {point * stride for point in (1, axis.size // 2, axis.size - 1) if point < axis.size}
    for index in sorted(places):
        try:
            yield sweep.experiment(index)
        except ConfigError:  # the check of all scenarios reports it
            continue
