"""Overall survival, and how long patients were followed."""

from __future__ import annotations

from simulator.endpoints.base import Column, Endpoint, Observed, Variable


def _survival(data: Observed, variable: Variable) -> Column:
    observed = data.observed
    return Column(lambda: observed, data.died, data.all_patients)


def _follow_up(data: Observed, variable: Variable) -> Column:
    observed = data.observed
    return Column(lambda: observed, ~data.died, data.all_patients)


ENDPOINTS = (
    Endpoint(
        "survival",
        "overall survival",
        "time_to_event",
        "d",
        _survival,
        informs_survival=True,
        curve=lambda declared: declared.survival(),
    ),
    Endpoint("follow_up", "time under observation", "duration", "d", _follow_up, informs_survival=True),
)
