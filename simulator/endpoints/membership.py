"""Shares of patients: in a state at the end of observation, in a population of the study."""

from __future__ import annotations

from simulator.endpoints.base import Column, Endpoint, Observed, Variable, flag


def _state(data: Observed, variable: Variable) -> Column:
    return flag(data.state == data.model.states.index(str(variable.name)))


def _population(data: Observed, variable: Variable) -> Column:
    return flag(data.populations[str(variable.name)])


ENDPOINTS = (
    Endpoint(
        "state",
        "state at the end of observation",
        "share",
        "1",
        _state,
        names=lambda data: [f"state.{state}" for state in data.model.states],
        second="state",
    ),
    Endpoint(
        "population",
        "membership of a population",
        "share",
        "1",
        _population,
        names=lambda data: [f"population.{population}" for population in data.populations],
        second="population",
        share=lambda declared, variable, within: declared.membership(str(variable.name), within),
    ),
)
