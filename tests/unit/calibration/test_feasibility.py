"""A posterior truncated to feasible parameter sets: which draws, what it does to evidence, and what it says."""

from __future__ import annotations

import math

import numpy as np
import pytest

from calibration.cli import preparation
from calibration.posterior import feasibility
from calibration.posterior.draws import posterior_draws
from calibration.posterior.feasibility import said, shares, truncate
from calibration.posterior.feasible import Truncation
from calibration.posterior.fit import fit
from simulator.errors import ConfigError
from simulator.experiment.batches import Possible

RATE = "response.probability"


@pytest.fixture(scope="module")
def fitted():
    prepared, declared = preparation(["cohort=il2_hai_unresectable"], None)
    return fit(prepared.container, declared, overrides=prepared.overrides)


def below(limit):
    """A model that can produce every rate of response below a limit, and no other."""

    def possible(config, values, *, overrides=()):
        refused = {
            row: f"rate = {rate}: is too much; it would be seen in 0.8; more"
            for row, rate in enumerate(values[RATE])
            if rate >= limit
        }
        kept = tuple(row for row in range(len(values[RATE])) if row not in refused)
        return Possible(None, kept, refused)

    return possible


def test_the_posterior_is_that_of_the_prior_cut_to_what_can_be_produced(fitted, monkeypatch):
    # Prior Beta(½, ½) below 0.8, by rejection of its posterior Beta(19.5, 6.5): tails of both from scipy.
    from scipy import stats

    monkeypatch.setattr(feasibility, "declare_possible", below(0.8))
    monkeypatch.setattr(feasibility, "PRIOR_DRAWS", 4000)
    n = 1000
    found = truncate(fitted, n, threads=1)
    (reading,), posterior, prior = found.readings, stats.beta(19.5, 6.5), stats.beta(0.5, 0.5)
    draws = posterior_draws(found, n).values[RATE]
    assert draws.max() < 0.8
    share = posterior.cdf(0.8)
    # Five standard errors of binomial shares of at least 1,300 and 4,000 draws; false alarm below 1e-6.
    assert reading.truncation.share == pytest.approx(share, abs=5 * math.sqrt(share * (1 - share) / 1300))
    factor = math.log(share / prior.cdf(0.8))
    assert reading.truncation.log_factor == pytest.approx(factor, abs=5 * reading.truncation.log_factor_error)
    evidence = fitted.readings[0].log_evidence + reading.truncation.log_factor
    assert reading.log_evidence == pytest.approx(evidence)
    (row,) = (row for row in found.rows() if row.name == RATE)
    assert row.posterior.median == pytest.approx(posterior.ppf(0.5 * share), abs=5 * 0.06 / math.sqrt(800))
    assert row.posterior.upper < 0.8 < fitted.rows()[0].posterior.upper
    assert row.effective_size < n
    assert shares(found)[0] == reading.truncation.share
    assert f"{100 * (1 - reading.truncation.share):.0f} % (±" in said(found)
    assert said(found).endswith(f"is infeasible and left out: rate: is too much ({reading.truncation.refused} draws)")


def test_where_everything_can_be_produced_nothing_changes(fitted, monkeypatch):
    monkeypatch.setattr(feasibility, "declare_possible", below(2.0))
    found = truncate(fitted, 500, threads=1)
    assert found.rows() == fitted.rows()
    assert found.readings[0].log_evidence == fitted.readings[0].log_evidence
    for name, column in posterior_draws(fitted, 500).values.items():
        assert np.array_equal(posterior_draws(found, 500).values[name], column)
    assert said(found) == ""


def test_a_posterior_that_cannot_be_produced_is_refused(fitted, monkeypatch):
    monkeypatch.setattr(feasibility, "declare_possible", below(0.0))
    with pytest.raises(
        ConfigError, match="the model can produce only 0 of 100 draws of the posterior: rate: is too much"
    ):
        truncate(fitted, 100, threads=1)


def test_draws_are_the_same_whatever_the_threads_each_with_own_random_numbers(fitted):
    one, two = (truncate(fitted, 80, studies=3, threads=threads).readings[0].truncation for threads in (1, 2))
    assert np.array_equal(one.simulated, two.simulated, equal_nan=True)
    assert all(np.array_equal(a, b) for a, b in zip(one.coordinates, two.coordinates, strict=True))
    assert one.simulated.shape[1:] == (3, 1)
    # About two thirds of the first 80 can be produced: below 40 or above 68 in one of 1e5.
    assert 40 <= len(one.simulated) <= min(68, one.size)
    # 25 patients: a share of responders in each study, and hardly the same in all.
    assert len(np.unique(one.simulated)) > 5


def test_asking_for_more_draws_than_there_are_is_refused(fitted, monkeypatch):
    monkeypatch.setattr(feasibility, "declare_possible", below(0.8))
    found = truncate(fitted, 100, threads=1)
    with pytest.raises(ConfigError, match="is more than the"):
        found.readings[0].draws(100_000)


def test_a_share_of_nothing_has_no_evidence():
    nothing = Truncation((), np.empty((0, 0, 0)), 10, 10, 10, 5, {})
    assert nothing.log_factor == -math.inf
    assert nothing.log_factor_error == 0.0
