"""Affine-invariant ensemble sampling (Goodman & Weare 2010), a cross-check of `imis` by another algorithm."""

from __future__ import annotations

from typing import Any

import numpy as np

from calibration.priors.parameters import normal_scores, standard_normal_log_density
from calibration.samplers.imis import LogLikelihood
from simulator.tables import Floats


def ensemble(
    log_likelihood: LogLikelihood, d: int, *, seed: int, stream: str, walkers: int, steps: int, burn_in: int
) -> tuple[Floats, float]:
    """Return draws (walkers·(steps − burn_in), d) in order of time, and the longest autocorrelation time, in steps.

    Walkers begin at draws from the prior that have some likelihood. ImportError where emcee is not installed.
    """
    import emcee

    start = normal_scores(50 * walkers, d, seed=seed, stream=stream)
    start = start[log_likelihood(start) > -np.inf][:walkers]

    def log_posterior(z: Floats) -> Floats:
        return standard_normal_log_density(z) + log_likelihood(z)

    sampler: Any = emcee.EnsembleSampler(walkers, d, log_posterior, vectorize=True)
    sampler.random_state = np.random.RandomState(seed % 2**32).get_state()  # emcee's own generator
    sampler.run_mcmc(start, steps)
    time = float(np.max(sampler.get_autocorr_time(discard=burn_in, quiet=True)))
    return np.asarray(sampler.get_chain(discard=burn_in, flat=True)), time
