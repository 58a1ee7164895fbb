"""A finished calibration: its posterior with everything that was asked of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from calibration.diagnostics.blocks import BlockCheck, check_blocks
from calibration.diagnostics.comparison import FULL, Comparison, compare
from calibration.diagnostics.identifiability import Diagnostics, diagnose
from calibration.diagnostics.wider import Wider, wider
from calibration.posterior.draws import Draws, posterior_draws, prior_draws
from calibration.posterior.feasibility import STUDIES, draws_of, truncate
from calibration.posterior.fit import Fit
from calibration.posterior.journal import Journal
from calibration.prediction.predictive import Predictive, predictive

NONE = "none"
"""The depth of diagnostics at which nothing is diagnosed."""


@dataclass(frozen=True, eq=False)
class Calibrated:
    """A fit truncated to feasible parameter sets, draws of it and of its prior, and each diagnostic.

    ``predicted``: None where no draw was simulated. ``identified``: None where nothing was diagnosed. ``blocks`` and
    ``wider``: empty but for full diagnostics.
    """

    fitted: Fit
    posterior: Draws
    prior: Draws
    compared: Comparison
    predicted: Predictive | None = None
    identified: Diagnostics | None = None
    blocks: Sequence[BlockCheck] = ()
    wider: Sequence[Wider] = ()


def calibrated(fitted: Fit, *, depth: str, progress: Callable[[str], None] | None, journal: Journal) -> Calibrated:
    """Truncate a fit to feasible parameter sets, draw from it, and diagnose it.

    Parameters
    ----------
    depth : of diagnostics: ``standard``, ``full`` or ``none``.
    progress, journal : as for `fit`.

    Raises
    ------
    ConfigError
        Where the model can produce too few of the draws.
    """
    n, full = draws_of(fitted), depth == FULL
    fitted = truncate(fitted, n, studies=STUDIES, progress=progress)
    draws, predicted = posterior_draws(fitted, n), predictive(fitted)
    return Calibrated(
        fitted,
        draws,
        prior_draws(fitted, n),
        identified=None if depth == NONE else diagnose(fitted, predicted, full=full),
        compared=compare(fitted, draws, depth=depth, progress=progress, journal=journal),
        predicted=predicted,
        blocks=check_blocks(fitted, progress) if full else (),
        wider=wider(fitted, progress) if full else (),
    )
