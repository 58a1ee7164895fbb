"""Simulation-based calibration of the whole pipeline, small: priors, simulated study, print, fit, ranks (V50, V51).

An invented paper about strata of 49 and 17 patients whose numbers are read in two ways; follow-up is so short that
medians are sometimes not reached, and the denominator of a share differs between studies. `tests/verification/test_sbc`
has 2,000 papers, and a shipped cohort; `test_calibration_coverage` has the closed form alone.

One check, `rank_checks.verdict`, at a family-wise false-alarm probability of 1e-3, with a fixed seed. The negative
controls must fail it with as many papers: here their p-values are below 1e-15.
"""

from __future__ import annotations

import pytest

from calibration.sbc.rank_checks import verdict
from calibration.sbc.ranks import CONTROLS, LOG_LIKELIHOOD, Ranks, ranks
from calibration.schema import Search
from tests.normal_curves import gaussian
from tests.two_strata import WEIGHTS, priors, two_strata

PAPERS, SEED, LEVEL = 100, 20240917, 1e-3
SEARCH = Search(initial=1000, step=300, draws=500)


def ranked(control: str | None) -> Ranks:
    container = two_strata(seed=SEED, horizon="600 d")
    return ranks(container, priors(readings=WEIGHTS), papers=PAPERS, search=SEARCH, control=control)


def test_truths_from_the_prior_have_uniform_ranks_in_their_posteriors():
    found = ranked(None)
    assert found.quantities == (
        *("survival.median.large", "survival.shape.large", "survival.median.small", "survival.shape.small"),
        *("fever", LOG_LIKELIHOOD),
    )
    assert found.papers.converged.all()
    assert not found.papers.redrawn.any()  # nothing is solved here: the model can produce every draw
    # Both readings are true in some papers, and both are refused in some: what is printed tells them apart.
    assert 0 < found.papers.reading.sum() < PAPERS
    assert found.papers.refused.any(axis=0).all()
    assert not found.papers.refused[range(PAPERS), found.papers.reading].any()
    result = verdict(found, LEVEL)
    assert result.failed == ()
    assert result.each == LEVEL / (6 * 4 + 1)


@pytest.mark.parametrize("control", ["prior", "gaussian"])
def test_wrong_posteriors_fail_the_same_check(control, monkeypatch):
    monkeypatch.setitem(CONTROLS, "gaussian", gaussian)
    result = verdict(ranked(control), LEVEL)
    assert {f"χ² of {LOG_LIKELIHOOD}", f"ECDF of {LOG_LIKELIHOOD}"} <= set(result.failed)
    if control == "prior":  # the posterior is the prior: parameters alone would never show it
        assert all(name.endswith(LOG_LIKELIHOOD) for name in result.failed)
