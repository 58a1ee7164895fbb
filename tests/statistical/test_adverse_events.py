"""Adverse events: counts per administration, the shared frailty, ever-rates, counts over an exposure (V28).

α = 2.5e-9 a test, shared among its comparisons.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests import models, oracles
from tests.oracles import ALPHA, Weibull

SIX, CORRELATION = 6, 0.32
TERMS = {"pain": 0.2, "fever": 0.35}


@pytest.fixture(scope="module")
def harmed(battery):
    """Six administrations to all patients, N = 30,000; at which each term occurred, shape (terms, N, 6)."""
    config = models.container(
        {"death": {"from": ["alive"], "to": "dead", "hazard": {"family": "exponential", "rate": 0.0}}},
        course={
            "interval": 21.0,
            "max_administrations": SIX,
            "adverse_events": {
                "frailty": CORRELATION,
                "terms": {name: {"probability": p} for name, p in TERMS.items()},
            },
        },
        horizon=200.0,
    )
    trajectories = models.simulated(config, seed=battery.seed_of("adverse events"), n=battery.n(30_000))
    return by_administration(trajectories, SIX)


def by_administration(trajectories, most):
    out = np.zeros((len(trajectories.model.course.terms), len(trajectories), most), dtype=bool)
    for k in range(out.shape[0]):
        rows = trajectories.rows(trajectories.codes.first_term + k)
        out[k, trajectories.owner[rows], trajectories.log_value[rows].astype(int)] = True
    return out


def p_harmed(occurred, correlation=CORRELATION, scale=1.0):
    """Distribution of the number per patient; both terms at one administration; the mean per administration."""
    n = occurred.shape[1]
    p = {}
    for k, (name, probability) in enumerate(TERMS.items()):
        counts = np.bincount(occurred[k].sum(axis=1), minlength=SIX + 1)
        expected = n * oracles.frailty_counts(SIX, probability * scale, correlation)
        p[f"{name}: counts"] = oracles.p_of_counts(counts, expected)
        p[f"{name}: mean"] = oracles.p_of_mean(occurred[k].sum(axis=1), SIX * probability * scale)
    together = oracles.frailty_both(*(x * scale for x in TERMS.values()), correlation)
    p["both"] = oracles.p_of_mean((occurred[0] & occurred[1]).sum(axis=1), SIX * together)
    return p


@pytest.mark.parametrize("what", ["pain: counts", "pain: mean", "fever: counts", "fever: mean", "both"])
def test_counts_of_adverse_events_share_a_frailty(harmed, what):
    # Marginal probability per administration as declared, one-factor probit between administrations and terms.
    # Detects: a probability per administration off by 1.0 point, a correlation off by 0.03.
    assert p_harmed(harmed)[what] >= ALPHA


def test_administrations_are_exchangeable(harmed):
    # Each administration has the declared probability: none is skipped, none counted twice. Detects: 2.6 points.
    counts = harmed.sum(axis=1)
    expected = np.array(list(TERMS.values()))[:, None]
    assert oracles.smallest(oracles.p_of_count(counts, harmed.shape[1], expected)) >= ALPHA


def test_a_wrong_frailty_and_a_wrong_probability_are_found(harmed):
    # 3.8 b: 2 × 0.03 of the correlation, 2 × 1.0 point (5 %) of a probability.
    assert min(p_harmed(harmed, correlation=CORRELATION - 0.06).values()) < ALPHA
    assert min(p_harmed(harmed, scale=1.1).values()) < ALPHA


# -- random numbers of administrations -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def treated(battery):
    """A course that death and a planned number end; ever-rates declared; N = 40,000."""
    events = {
        "flare": {
            "from": ["alive"],
            "set": ["flared"],
            "when": ["on"],
            "maximum": 1000,
            "hazard": {"family": "exponential", "rate": 0.02},
        },
        "death": models.death(70.0, 1.2),
    }
    config = models.container(
        events,
        markers=["flared", "on"],
        course={
            "interval": {"uniform": [14.0, 21.0]},
            "max_administrations": 7,
            "planned": {"number": {"geometric": {"probability": 0.2}}},
            "marker": "on",
            "adverse_events": {
                "frailty": 0.4,
                "terms": {
                    "pain": {"probability": 0.494, "scale": "ever"},
                    "nausea": {"probability": 0.062, "scale": "ever"},
                    "rash": {"probability": 0.15},
                },
            },
        },
    )
    experiment = models.compiled(config)
    return experiment, models.simulated(experiment, seed=battery.seed_of("treated"), n=battery.n(40_000))


@pytest.mark.parametrize(("term", "rate"), [("pain", 0.494), ("nausea", 0.062)])
def test_ever_rates_come_out_as_declared(treated, term, rate):
    # With the frailty, and with the administrations that patients live to receive. Detects: 2.3 points (pain).
    experiment, trajectories = treated
    k = experiment.tables.course.terms.index(term)
    ever = np.isfinite(trajectories.first_time(trajectories.codes.first_term + k))
    assert oracles.p_of_count(ever.sum(), len(trajectories), rate) >= ALPHA
    # 3.8 b: 2 × the detectable difference.
    wrong = rate + 2.0 * oracles.detectable(np.sqrt(rate * (1 - rate) / ever.size))
    assert oracles.p_of_count(ever.sum(), ever.size, wrong) < ALPHA


def test_administrations_and_ever_rates_follow_their_quadrature(treated):
    # P(administration k + 1 is given) by Irwin–Hall visits; P(ever) of a term declared per administration, over them
    # and the frailty. Detects: 2.3 points.
    _, trajectories = treated
    n, most = len(trajectories), 7
    started = oracles.administrations_started(Weibull(70.0, 1.2), 14.0, 21.0, most, 0.8 ** np.arange(most))
    given = trajectories.count(trajectories.codes.administration)
    assert given.min() >= 1
    p = oracles.p_of_count([(given > k).sum() for k in range(1, most)], n, started[1:])
    assert oracles.smallest(p) >= ALPHA
    number = -np.diff(np.concatenate([[1.0], started, [0.0]]))
    ever = np.isfinite(trajectories.first_time(trajectories.codes.first_term + 2)).sum()
    assert oracles.p_of_count(ever, n, oracles.frailty_ever(number, 0.15, 0.4)) >= ALPHA
    assert oracles.p_of_count(ever, n, oracles.frailty_ever(number, 0.15, 0.0)) < ALPHA  # 3.8 b: no frailty


def test_expected_counts_are_the_probability_times_the_administrations(treated):
    # V28: E = q·E[administrations]; the course does not depend on the term. Detects: 4 % of q.
    _, trajectories = treated
    given = trajectories.count(trajectories.codes.administration)
    rashes = trajectories.count(trajectories.codes.first_term + 2)
    assert oracles.p_of_mean(rashes - 0.15 * given, 0.0) >= ALPHA
    # 3.8 b: 2 × the detectable difference.
    surplus = rashes - 0.15 * given
    wrong = 0.15 + 2.0 * oracles.detectable(surplus.std() / np.sqrt(given.size)) / given.mean()
    assert oracles.p_of_mean(rashes - wrong * given, 0.0) < ALPHA


def test_counts_over_an_exposure_are_a_poisson_process(treated):
    # V28: E[N] = a·E[exposure], and E[(N − a·exposure)²] = a·E[exposure]. Detects: 4 % of the rate.
    _, trajectories = treated
    exposure = trajectories.first_time(trajectories.codes.end_of_course)
    assert np.isfinite(exposure).all()
    surplus = trajectories.count(0) - 0.02 * exposure
    assert oracles.p_of_mean(surplus, 0.0) >= ALPHA
    assert oracles.p_of_mean(surplus**2 - 0.02 * exposure, 0.0) >= ALPHA
    times = trajectories.log_time[trajectories.rows(0)]
    assert (times < exposure[trajectories.owner[trajectories.rows(0)]]).all()
