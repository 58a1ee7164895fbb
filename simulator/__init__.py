"""Lobule: simulate cohorts of treated patients and set them beside what was published."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from simulator.errors import (
    ConfigError,
    DeclarationWarning,
    IncompleteWarning,
    LobuleError,
    ScenarioError,
    SimulationError,
)

if TYPE_CHECKING:
    import simulator.views.figures as figures
    from simulator.cli.api import rerun, simulate
    from simulator.sweep.contrasts import contrast
    from simulator.sweep.opening import open_results

__version__ = "0.2.0"

__all__ = [
    "ConfigError",
    "DeclarationWarning",
    "IncompleteWarning",
    "LobuleError",
    "ScenarioError",
    "SimulationError",
    "contrast",
    "figures",
    "open_results",
    "rerun",
    "simulate",
]

_HOME = {
    "simulate": ("simulator.cli.api", "simulate"),
    "rerun": ("simulator.cli.api", "rerun"),
    "open_results": ("simulator.sweep.opening", "open_results"),
    "contrast": ("simulator.sweep.contrasts", "contrast"),
    "figures": ("simulator.views.figures", None),
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'simulator' has no attribute {name!r}")
    module, attribute = _HOME[name]
    loaded = import_module(module)
    return loaded if attribute is None else getattr(loaded, attribute)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
