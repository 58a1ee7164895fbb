"""Events of the model: whether one was seen, when, and with which outcome."""

from __future__ import annotations

from collections.abc import Iterator

from simulator.endpoints.base import Column, Endpoint, Observed, Variable, occurrence


def _names(data: Observed) -> Iterator[str]:
    yield from data.model.events
    for event, name in enumerate(data.model.events):
        for outcome in data.outcomes(event):
            yield f"{name}.{outcome}"


def _seen(data: Observed, variable: Variable) -> Column:
    event = data.model.events.index(str(variable.name))
    if variable.outcome is None:
        return occurrence(data, event)
    return occurrence(data, event, of=data.outcome(event) == data.outcomes(event).index(variable.outcome))


ENDPOINTS = (
    Endpoint(
        "event",
        "event of the model",
        "event",
        "d",
        _seen,
        names=_names,
        second="event",
        share=lambda declared, variable, within: declared.event(str(variable.name), variable.outcome),
    ),
)
