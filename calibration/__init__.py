"""Calibration of a cohort's parameters to published numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from calibration.cli import calibrate, rerun

__all__ = ["calibrate", "rerun"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'calibration' has no attribute {name!r}")
    from calibration import cli

    return getattr(cli, name)


def __dir__() -> list[str]:
    return sorted(__all__)
