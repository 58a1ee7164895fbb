"""What the posterior predicts for each target: simulated studies beside the reported value, and all of them together.

A study is of the published size, with the published estimators. Every target is looked at, be it fitted, held out or
borrowed; a fitted target can hardly miss, so that its percentile checks the transcription, not the model.

Together: the distance of a study from the middle of all studies, d² = zᵀC⁺z, with z the normal scores of its mid-ranks
and C their covariance over studies (Mahalanobis). It accounts for targets that share patients, whereas percentiles one
by one do not. A rank of the log likelihood would look at fitted targets alone.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from calibration.posterior.draws import allotted
from calibration.posterior.fit import Fit
from simulator.evidence.entries import EvidenceEntry
from simulator.study.crossed import error_of_share
from simulator.study.ranks import TOLERANCE, as_printed
from simulator.tables import Floats, Integers

LEFT_OUT = "left_out"
SMALLEST = 0.01
"""Directions with less than this share of the variance of one target are left out: they are rounding and ties."""


@dataclass(frozen=True)
class Joint:
    """How far the reported values lie from the middle of the studies: ``p`` = share of studies at least as far."""

    what: str
    targets: tuple[str, ...]
    p: float
    p_error: float  # Monte-Carlo standard error


@dataclass(frozen=True, eq=False)
class Predictive:
    """Simulated studies of draws of the posterior.

    ``reading``: of each draw, (D,). ``simulated``: (D, R, T), each draw with random numbers of its own; +inf not
    reached, NaN undefined. ``entries``: the targets under each reading. ``joint``: of all targets, and of those of each
    role.
    """

    reading: Integers
    simulated: Floats
    entries: tuple[Sequence[EvidenceEntry], ...]
    joint: tuple[Joint, ...]

    @property
    def of_draws(self) -> list[Sequence[EvidenceEntry]]:
        """The targets as each draw reads them."""
        return [self.entries[int(reading)] for reading in self.reading]


def predictive(fitted: Fit) -> Predictive | None:
    """Return what was simulated of the first draws of a posterior that was truncated; None where nothing was."""
    truncations = [reading.truncation for reading in fitted.readings]
    if any(one is None for one in truncations):
        return None
    sizes = np.array([len(one.simulated) for one in truncations if one is not None])
    reading = allotted(fitted.probabilities, int(sizes.sum()))
    place = np.array([np.count_nonzero(reading[:i] == which) for i, which in enumerate(reading)])
    enough = place < sizes[reading]
    n = len(reading) if enough.all() else int(np.argmin(enough))
    if n == 0:
        return None
    simulated = np.stack([truncations[r].simulated[k] for r, k in zip(reading[:n], place[:n], strict=True)])
    used = fitted.readings[0].targets
    entries = tuple([_as_used(e, used) for e in one.experiment.selection.targets] for one in fitted.readings)
    return Predictive(reading[:n], simulated, entries, tuple(_joint(simulated, reading[:n], entries)))


def _as_used(entry: EvidenceEntry, used: Container[str]) -> EvidenceEntry:
    """A target with the role that it had: one that could be fitted and was not is left out."""
    return entry.model_copy(update={"role": LEFT_OUT}) if entry.role == "fitted" and entry.id not in used else entry


def _joint(simulated: Floats, reading: Integers, entries: Sequence[Sequence[EvidenceEntry]]) -> list[Joint]:
    roles = [entry.role or "" for entry in entries[0]]
    scores, reported = normal_scores(simulated, reading, entries)
    known = np.isfinite(reported)
    groups = [("all targets", known)]
    groups += [(role.replace("_", " "), known & np.array([r == role for r in roles])) for role in dict.fromkeys(roles)]
    found = []
    for what, chosen in groups:
        if not chosen.any() or (what != "all targets" and np.array_equal(chosen, known)):
            continue
        further = distance(scores[..., chosen], reported[chosen])
        names = tuple(entry.id for entry, c in zip(entries[0], chosen, strict=True) if c)
        found.append(Joint(what, names, float(further.mean()), error_of_share(further.astype(float))))
    return found


def normal_scores(
    simulated: Floats, reading: Integers, entries: Sequence[Sequence[EvidenceEntry]]
) -> tuple[Floats, Floats]:
    """Return normal scores of the mid-ranks of studies, (D, R, T), and of what was reported, (T,).

    A study counts as equal to what prints alike, as the reported value does. An undefined study lies in the middle;
    a target without any defined study has NaN.
    """
    d, r, t = simulated.shape
    scores, reported = np.zeros((d, r, t)), np.full(t, np.nan)
    for k in range(t):
        of_draws = [entries[which][k] for which in reading]
        values = as_printed(simulated[:, :, k], [e.bound for e in of_draws], [e.reported for e in of_draws])
        known = np.sort(values[~np.isnan(values)])
        if known.size == 0:
            continue
        own = mid_ranks(values.ravel(), known, entries[0][k].half_width or 0.0).reshape(d, r)
        scores[:, :, k] = np.where(np.isnan(values), 0.0, _score(own, known.size))
        share = np.mean([_reported_rank(known, entry) for entry in of_draws])
        reported[k] = float(_score(np.array(share), known.size))
    return scores, reported


def mid_ranks(values: Floats, known: Floats, half_width: float) -> Floats:
    """Return for each value (n,) the share of sorted numbers (m,) below it, plus half the share that prints alike."""
    reach = half_width + TOLERANCE * np.maximum(1.0, np.abs(values))
    with np.errstate(invalid="ignore"):
        low, high = (np.where(np.isinf(values), values, values + side * reach) for side in (-1, 1))
    below, upto = np.searchsorted(known, low, side="left"), np.searchsorted(known, high, side="right")
    return np.asarray((below + upto) / (2.0 * known.size))


def distance(scores: Floats, reported: Floats) -> NDArray[np.bool_]:
    """Return which studies, (D, R), are at least as far from the middle of all of them as what was reported.

    ``scores`` (D, R, T), ``reported`` (T,). Directions in which studies hardly vary are left out.
    """
    flat = scores.reshape(-1, scores.shape[-1])
    middle = flat.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(flat, rowvar=False).reshape(len(middle), -1))
    kept = values > SMALLEST
    along = vectors[:, kept] / np.sqrt(values[kept])
    reported_square = float(np.sum(((reported - middle) @ along) ** 2))
    others = np.sum(((flat - middle) @ along) ** 2, axis=1)
    return np.asarray((others >= reported_square).reshape(scores.shape[:2]))


def _reported_rank(known: Floats, entry: EvidenceEntry) -> float:
    value = np.array([np.nan if entry.reported is None else entry.reported])
    return float(mid_ranks(value, known, entry.half_width or 0.0)[0])


def _score(rank: Floats, n: int) -> Floats:
    """Normal score of a rank, kept within half a study of 0 and 1."""
    return np.asarray(special.ndtri(np.clip(rank, 0.5 / n, 1.0 - 0.5 / n)))
