"""Counts of administrations, and the dose."""

from __future__ import annotations

import numpy as np

from simulator.endpoints.base import ADMINISTRATIONS, Column, Endpoint, Observed, Variable, number


def _administrations(data: Observed, variable: Variable) -> Column:
    return number(data.administrations(data.end))


def _before(data: Observed, variable: Variable) -> Column:
    event = data.model.events.index(str(variable.name))
    return number(data.administrations(np.where(data.was_seen(event), data.seen(event), data.end)))


def _dose(data: Observed, variable: Variable) -> Column:
    return number(data.dose)


ENDPOINTS = (
    Endpoint("administrations", "administrations", "number", "1", _administrations, printed=ADMINISTRATIONS),
    Endpoint("dose", "dose", "number", "as the dose", _dose, printed="a unit of dose", needs_dose=True),
    Endpoint(
        "administrations_before",
        "administrations before an event",
        "number",
        "1",
        _before,
        names=lambda data: [f"administrations_before.{event}" for event in data.model.events],
        second="event",
        printed=ADMINISTRATIONS,
    ),
)
