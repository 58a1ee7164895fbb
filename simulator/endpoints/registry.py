"""All endpoints by name, and what a variable's name means."""

from __future__ import annotations

import pkgutil
import re
from importlib import import_module

from simulator import endpoints
from simulator.endpoints.base import Column, Endpoint, Observed, Variable
from simulator.errors import ConfigError, unknown

DOTTED = re.compile(r"^[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*$")
EVENT = "event"
"""The endpoint whose variables are named after the model's events."""


def declared() -> dict[str, Endpoint]:
    """Return the endpoints that files of this folder declare, by name; ValueError where two have one name."""
    modules = sorted(module.name for module in pkgutil.iter_modules(endpoints.__path__) if module.name != "registry")
    by_name: dict[str, Endpoint] = {}
    for module in modules:
        for record in getattr(import_module(f"{endpoints.__name__}.{module}"), "ENDPOINTS", ()):
            if record.name in by_name:
                raise ValueError(f"two endpoints are called {record.name!r}, one of them in {module}.py")
            by_name[record.name] = record
    return by_name


ENDPOINTS = declared()
"""Every endpoint by its name."""


def variable(text: str) -> Variable:
    """Return the parts of a variable's name; ValueError where it cannot be one."""
    first, *rest = text.split(".")
    if not DOTTED.match(text) or len(rest) > 1:
        raise ValueError("must be a name, or two names with a dot between, as in 'response.complete'")
    second = rest[0] if rest else None
    endpoint = ENDPOINTS.get(first)
    if endpoint is None or first == EVENT:
        return Variable(EVENT, first, second)
    if endpoint.second and second is None:
        raise ValueError(f"needs a second name, as in '{first}.<name>'")
    if not endpoint.second and second is not None:
        raise ValueError(f"{first!r} takes no second name")
    return Variable(first, second)


def variables(data: Observed) -> list[str]:
    """Return the names of all variables of these studies."""
    return [name for endpoint in ENDPOINTS.values() for name in endpoint.variables(data)]


def column(data: Observed, name: str) -> Column:
    """Return a variable of the patients of studies. Raises ConfigError if there is none; the nearest is suggested."""
    try:
        found = variable(name)
    except ValueError:
        found = Variable("")
    endpoint = ENDPOINTS.get(found.kind)
    if endpoint is None or name not in endpoint.variables(data):
        raise ConfigError(unknown("statistic.variable", name, variables(data), what="variable"))
    return endpoint.column(data, found)
