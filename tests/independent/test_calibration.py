"""What is told of a calibrated number against the conjugate posterior by SciPy: interval, contraction, draws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, special, stats

from calibration.output.parameter_file import draws_table
from calibration.output.report import report
from calibration.posterior.draws import posterior_draws
from calibration.posterior.feasible import Truncation
from calibration.posterior.fit import Fit, fit
from calibration.schema import load
from tests.two_strata import two_strata

N, OF, DRAWS = 11, 44, 20_000
AFTER = stats.beta(N + 0.5, OF - N + 0.5)
"""Posterior of Jeffreys' prior."""


@pytest.fixture(scope="module")
def fitted() -> Fit:
    made = two_strata(seed=5, readings=False)
    made["evidence"]["entries"] = [entry for entry in made["evidence"]["entries"] if entry["id"] == "P"]
    prior = {"fever": {"beta": {"a": 0.5, "b": 0.5}}}
    search = {"initial": 20_000, "draws": DRAWS, "step": 5_000}
    return fit(made, load({"name": "meadow", "parameters": prior, "search": search}))


def contraction() -> float:
    """1 − Var(z | data)/Var(z), z the normal score of the prior at p, by quadrature over the posterior's quantiles."""

    def score(u: float) -> float:
        return float(special.ndtri(special.betainc(0.5, 0.5, AFTER.ppf(u))))

    mean = integrate.quad(score, 0, 1, limit=200)[0]
    return 1.0 - integrate.quad(lambda u: (score(u) - mean) ** 2, 0, 1, limit=200)[0]


def test_the_summary_is_that_of_the_conjugate_posterior(fitted):
    """Five standard errors of an effective size of at least 10,000; false alarms 1e-6 each."""
    (row,) = fitted.rows()
    n = 10_000
    assert row.effective_size > n
    for value, level in zip(
        (row.posterior.lower, row.posterior.median, row.posterior.upper), (0.025, 0.5, 0.975), strict=True
    ):
        reach = 5 * math.sqrt(level * (1 - level) / n) / AFTER.pdf(AFTER.ppf(level))
        assert abs(value - AFTER.ppf(level)) < reach
    assert row.contraction == pytest.approx(contraction(), abs=5 * math.sqrt(4 / n))
    assert abs(row.contraction - (1 - math.sqrt(1 - row.contraction))) > 0.1
    low, high = stats.beta(0.5, 0.5).ppf([0.025, 0.975])
    assert row.prior.lower == pytest.approx(low, abs=0.005)
    assert row.prior.upper == pytest.approx(high, abs=0.005)
    assert row.informed


def test_the_evidence_is_the_beta_binomial_probability(fitted):
    exact = stats.betabinom(OF, 0.5, 0.5).logpmf(N)
    reading = fitted.readings[0]
    assert abs(reading.log_evidence - exact) < 5 * reading.log_evidence_error + 0.01 < 0.1


def test_the_written_draws_are_draws_of_the_posterior(fitted):
    n = 1000
    header, *lines = draws_table(fitted, posterior_draws(fitted, n)).strip().splitlines()
    column = header.split(",").index("fever")
    values = np.array([float(line.split(",")[column]) for line in lines])
    assert values.size == n
    assert stats.kstest(values, AFTER.cdf).statistic < math.sqrt(math.log(2 / 1e-9) / (2 * n))  # Massart's bound


def test_the_report_shows_the_rounded_summary(fitted):
    (line,) = (line for line in report(fitted).splitlines() if line.startswith("fever"))
    shown = [
        float(text)
        for text in line.replace("(", " ").replace(")", " ").replace("–", " ").split()[1:]
        if text[0].isdigit()
    ]
    prior = stats.beta(0.5, 0.5).ppf([0.5, 0.025, 0.975])
    expected = [*prior, *AFTER.ppf([0.5, 0.025, 0.975]), contraction()]
    assert shown == pytest.approx(expected, abs=0.02)


def test_truncation_moves_the_evidence_by_the_ratio_of_its_shares():
    """∫ L·π over what can be produced, over π of that: the share of the posterior over the share of the prior."""
    truncation = Truncation(
        (np.empty((50, 1)),), np.empty((0, 1, 1)), tried=100, refused=50, prior_tried=200, prior_refused=40, reasons={}
    )
    assert truncation.log_factor == pytest.approx(math.log(0.5 / 0.8))
