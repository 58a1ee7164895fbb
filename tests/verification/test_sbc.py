"""Simulation-based calibration at the size that tells a right posterior from a nearly right one (V50, V51).

2,000 simulated papers of strata of 49 and 17 patients, truths drawn from the prior: central 95 % intervals cover within
the exact binomial 99.9 % bounds of 95 %, 80 % intervals of 80 %; ranks are uniform at a family-wise level of 1e-3; both
negative controls fail the same check at the same size. Then the whole PJ-203 cohort: three strata, pooling, readings,
response and adverse events, draws that the model cannot produce left out.

The seed is fixed, unlike elsewhere in this folder: at a random one the first test has a false alarm in at most 1.1 %
(ten coverages at 1e-3, and the family), which the command `python -m calibration.sbc seed=…` says beside its table.
"""

from __future__ import annotations

import pytest

from calibration.cli import preparation
from calibration.sbc.rank_checks import Verdict, verdict
from calibration.sbc.ranks import CONTROLS, LOG_LIKELIHOOD, ranks
from calibration.schema import Search
from tests.normal_curves import gaussian
from tests.two_strata import priors, two_strata

PAPERS, SEED, LEVEL = 2000, 20240917, 1e-3
SEARCH = Search(initial=2000, step=500, draws=1000)  # an effective size of about 1,000


def two_thousand(control: str | None) -> Verdict:
    container = two_strata(seed=SEED, readings=False, share=False)
    return verdict(ranks(container, priors(share=False), papers=PAPERS, search=SEARCH, control=control), LEVEL)


def test_intervals_of_two_thousand_papers_cover_the_truth_and_ranks_are_uniform():
    result = two_thousand(None)
    covered = {(one.name, c.level): (c.lower, c.share, c.upper) for one in result.quantities for c in one.coverage}
    assert len(covered) == 2 * 5
    assert all(low <= share <= high for low, share, high in covered.values()), covered
    assert result.failed == ()


def test_a_normal_approximation_covers_too_seldom(monkeypatch):
    monkeypatch.setitem(CONTROLS, "gaussian", gaussian)
    result = two_thousand("gaussian")
    medians = [one for one in result.quantities if one.name.startswith("survival.median")]
    assert all(c.share < c.lower for one in medians for c in one.coverage if c.level == 0.95)
    assert {f"95% intervals of {one.name}" for one in medians} <= set(result.failed)


def test_a_likelihood_that_ignores_its_data_fails_by_the_log_likelihood_alone():
    result = two_thousand("prior")
    assert f"ECDF of {LOG_LIKELIHOOD}" in result.failed
    assert all(name.endswith(LOG_LIKELIHOOD) for name in result.failed)


@pytest.mark.parametrize("papers", [200])
def test_the_whole_pj203_cohort_recovers_what_is_true(papers):
    # Nineteen draws a paper: each that the model cannot produce takes the solver a quarter of a second to refuse.
    prepared, declared = preparation(["cohort=pj203_mmc", f"seed={SEED}"], None)
    found = ranks(prepared.container, declared, papers=papers, draws=19, search=SEARCH, overrides=prepared.overrides)
    assert found.papers.converged.all()
    assert found.papers.redrawn.sum() > 0
    assert found.papers.refused.any()
    result = verdict(found, LEVEL)
    assert len(list(result.checks())) == 21 * 4 + 1
    assert result.failed == ()
