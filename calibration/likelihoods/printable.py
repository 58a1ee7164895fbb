"""Which printed figures no simulated study can have, whatever the parameters.

A likelihood by simulation says 0 of them, but only after a search, and of all targets of its term alike. Two things are
known before: when the last patient is under observation at the latest, and, where every study has the same number of
patients in a group, which shares whole counts of it print.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from calibration.likelihoods.simulated import with_seed
from simulator.evidence.entries import EvidenceEntry
from simulator.evidence.statistic import Statistic
from simulator.experiment.schema import Experiment
from simulator.running.experiment import design_of, trajectories_of
from simulator.study.estimators import counts, members
from simulator.study.observe import StudyData, observe

STUDIES = 50
"""Simulated studies in which the size of a group is looked up."""


def beyond_follow_up(entry: EvidenceEntry, statistic: Statistic, last: float) -> str | None:
    """Say that a figure is about a day on which nobody is under observation any more; None if it is not.

    ``last``: days for which a patient is under observation at most; half-open.
    """
    limits = entry.limits
    if statistic.extend or statistic.against is not None or not statistic.endpoint.since_entry or limits is None:
        return None
    if statistic.time is not None:
        day = statistic.time
    elif entry.time:
        day = limits[0] if np.isfinite(limits[0]) else limits[1]
    else:
        return None
    if entry.bound == "below" and statistic.time is None:
        return None  # any time before is below it
    # "Not reached by the end of follow-up" can be known, and the area under a curve until then.
    whole = bool(entry.bound) or (statistic.time is not None and not statistic.record.point)
    beyond = day > last if whole else day >= last
    return f"is about day {day:g}, and nobody is followed beyond day {last:g}" if beyond else None


def unprinted_shares(experiment: Experiment, entries: Sequence[EvidenceEntry]) -> Iterator[tuple[EvidenceEntry, str]]:
    """Yield shares that no whole count prints of a group that has the same size in every study, and say so."""
    shares = [(entry, statistic) for entry in entries if (statistic := _share(entry)) is not None]
    if not shares:
        return
    experiment = with_seed(experiment, "printable", replicates=STUDIES)
    histories = trajectories_of(experiment, range(STUDIES), parameter_sets=range(1))
    data = observe(histories, design_of(experiment), seed=experiment.root.seed)
    for entry, statistic in shares:
        size = _size(data, statistic)
        if size is not None and not entry.counts_of(size) and not entry.counted:
            yield entry, f"no count of {size} prints it, and a simulated study has {size} patients there"


def _share(entry: EvidenceEntry) -> Statistic | None:
    """Return the statistic of a share of patients, None for any other entry."""
    statistic = entry.statistic
    return statistic if statistic is not None and statistic.plain and statistic.record.share else None


def _size(data: StudyData, statistic: Statistic) -> int | None:
    """Return how many patients a share is of in every study; None where studies differ, or some are censored before."""
    member = members(data, statistic)
    if statistic.time is not None:
        column = data.column(statistic.variable)
        if bool((member & ~column.event & (column.value <= statistic.time)).any()):
            return None
    of = counts(data, statistic)
    sizes = np.unique(member.sum(axis=1) if of is None else of.denominator)
    return int(sizes[0]) if sizes.size == 1 else None
