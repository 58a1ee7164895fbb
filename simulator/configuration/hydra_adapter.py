"""Hydra's grammar of overrides: the one file that imports Hydra.

`value_of` reads ``key=value`` with Hydra's own parser, every function refused; `sweep_of` reads what sweeps. Nothing
global is needed or changed. `tests/unit/configuration/test_hydra_adapter.py` holds what is relied on.
"""

from __future__ import annotations

import threading
from typing import Any

from hydra._internal.grammar.functions import FunctionCall, Functions
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, IntervalSweep, QuotedString, RangeSweep, Sweep
from hydra.errors import HydraException

__all__ = ["ChoiceSweep", "Glob", "IntervalSweep", "QuotedString", "RangeSweep", "Unreadable", "sweep_of", "value_of"]

SWEEPS = ("choice", "range", "interval", "glob", "sort", "shuffle", "tag")
"""Functions of the grammar that make a sweep."""
_LOCK = threading.Lock()
"""Hydra's parser keeps tables that threads would share."""


class Unreadable(Exception):
    """What the grammar cannot read, or what is refused: ``function`` that is called, ``sweep``, or neither."""

    def __init__(self, *, function: str = "", sweep: bool = False, reason: str = "") -> None:
        super().__init__(reason)
        self.function, self.sweep, self.reason = function, sweep or function in SWEEPS, reason


class _NoFunctions(Functions):
    def eval(self, func: FunctionCall) -> Any:
        raise Unreadable(function=func.name)


def value_of(text: str) -> Any:
    """Return the value of ``key=value``: plain Python, text in quotes as `QuotedString`. Raises `Unreadable`."""
    value = _read(text, OverridesParser(functions=_NoFunctions()))
    if isinstance(value, Sweep):
        raise Unreadable(sweep=True)
    return value


def sweep_of(text: str) -> ChoiceSweep | RangeSweep | Glob | IntervalSweep | None:
    """Return what ``key=a,b`` or a function of the grammar sweeps; None of a single value. Raises `Unreadable`."""
    value = _read(text, OverridesParser.create())
    return value if isinstance(value, Sweep | Glob) else None  # type: ignore[return-value] # Hydra has these four


def _read(text: str, parser: OverridesParser) -> Any:
    try:
        with _LOCK:
            return parser.parse_rule(text, "override")._value
    except RecursionError:
        raise Unreadable(reason="is nested too deeply") from None
    except HydraException as error:
        if isinstance(error.__cause__, Unreadable):
            raise error.__cause__ from None
        raise Unreadable from None
    except ValueError:
        raise Unreadable(reason="is not a number that can be read") from None
