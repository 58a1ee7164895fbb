"""One evidence entry as a target: its statistic, its key, and how it is refused. Knows entries and problems alone."""

from __future__ import annotations

from simulator.declaration.reported import EvidenceEntry
from simulator.declaration.statistic import Statistic
from simulator.declaration.values import Problems

CURE = "name it, with the reason, under calibration.left_out, or give it the role used or held_out"
SIMULATE = "find its likelihood by simulation, under calibration.simulated"


def statistic_of(entry: EvidenceEntry) -> Statistic:
    """Return the statistic of a target."""
    if entry.statistic is None:
        raise RuntimeError(f"{entry.id} is no target")
    return entry.statistic


def narrowed(statistic: Statistic) -> str | None:
    """Return the first condition, other than a stratum, that the statistic's patients must meet; None without one."""
    keys = ("arm", "status", "ever", "never", "landmark")
    return next((key for key in keys if getattr(statistic.where, key) is not None), None)


def wrong(problems: Problems, entry: EvidenceEntry, allowed: str) -> None:
    """Add a problem of one entry."""
    problems.add(f"evidence.entries.{entry.id}", entry.printed, allowed)


def no_closed_form(problems: Problems, entry: EvidenceEntry, what: str, why: str = "") -> None:
    """Refuse a target by name: ``what`` has no closed form, since ``why``."""
    reason = f": {why}" if why else ""
    wrong(problems, entry, f"{what} has no closed form{reason}; {SIMULATE}, or {CURE}")
