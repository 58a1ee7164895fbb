"""Keys at the top of a configuration, beside the groups: seed, engine, what to keep of the results."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from simulator.configuration.fields import Declared, Name, Time
from simulator.evidence.statistic import Statistic
from simulator.experiment.decisions import Decision


class Output(Declared):
    """What to keep, and what to write of it."""

    patients: bool = False
    """Keep a row for each simulated patient, in node `patients`."""
    events: bool = False
    """Keep every event of every history, in node `events`."""
    report: bool = True
    """Write a page, `report.html`."""
    time_step: Time = Field(default=7.0, gt=0)
    """Time between the points of curves."""
    decisions: dict[Name, Decision] = {}
    """By a name of yours: questions about intervals of proportions, answered in every study."""
    estimates: dict[Name, Statistic] = {}
    """By a name of yours: statistics without a reported value."""
    contrast: dict[str, Any] = {}
    """What all else is compared with: `{arm: NAME}`, or in a sweep a scenario by its labels."""


class Root(Declared):
    """Keys at the top of a configuration, beside the groups."""

    seed: int = Field(default=0, ge=0, lt=2**64)
    """Where all random numbers come from; the command line's default is in `configs/simulate.yaml`."""
    engine: Literal["auto", "reference", "compiled"] = "auto"
    """`reference` (SimPy), `compiled`, or `auto`: compiled wherever it has room for the model."""
    launcher: Literal["local"] = "local"
    """Where the work is done; sweeps have more of them."""
    output: Output = Output()
    """What to keep, and what to write of it."""
