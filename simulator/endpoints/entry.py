"""Entry into the study before the data cut, and when."""

from __future__ import annotations

from simulator.endpoints.base import Column, Endpoint, Observed, Variable


def _entered(data: Observed, variable: Variable) -> Column:
    entry = data.entry
    return Column(lambda: entry, data.entered, data.entered)


ENDPOINTS = (Endpoint("entered", "entry into the study", "event", "d", _entered, since_entry=False),)
