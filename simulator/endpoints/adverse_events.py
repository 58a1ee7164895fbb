"""Adverse events: whether a term, or any that is counted, was seen."""

from __future__ import annotations

from collections.abc import Iterator

from simulator.endpoints.base import Column, Endpoint, Observed, Variable, occurrence

ANY = "any"


def _names(data: Observed) -> Iterator[str]:
    yield f"adverse_event.{ANY}"
    for term in data.model.course.terms:
        yield f"adverse_event.{term}"


def _seen(data: Observed, variable: Variable) -> Column:
    terms = data.model.course.terms
    if variable.name in terms:
        return occurrence(data, data.model.log_codes.first_term + terms.index(variable.name))
    return occurrence(data, *data.counted)


ENDPOINTS = (
    Endpoint(
        "adverse_event",
        "adverse event",
        "share",
        "1",
        _seen,
        names=_names,
        second="adverse_event",
        share=lambda declared, variable, within: declared.term(str(variable.name)),
    ),
)
