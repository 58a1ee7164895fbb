"""Onset at the end of a cycle, and how many cycles are started, against closed forms (V23, V24). α = 2.5e-9."""

from __future__ import annotations

import numpy as np
import pytest

from tests import models, oracles
from tests.oracles import ALPHA, Weibull

LAW = Weibull(60.0, 1.4)
CYCLE, MOST, P, RATIO = 21.0, 4, 0.3, 0.5


@pytest.fixture(scope="module", params=[True, False], ids=["to response", "regardless"])
def cycled(battery, request):
    """N = 60,000 patients treated until they respond, and as many treated four times whatever happens."""
    config = models.cycles(
        cycle=CYCLE, most=MOST, p=P, ratio=RATIO, median=LAW.median, shape=LAW.shape, stop=request.param
    )
    seed = battery.seed_of(f"cycles {request.param}")
    return request.param, models.simulated(config, seed=seed, n=battery.n(60_000))


def p_cycled(trajectories, stop, p=P, ratio=RATIO, most=MOST):
    """Curve; onsets by cycle; cycles started, each and on average."""
    n, death = len(trajectories), trajectories.absorbed_at
    onset = trajectories.first_time(0)
    by_cycle = [(onset == j * CYCLE).sum() for j in range(1, MOST + 1)]
    responses = oracles.cycle_responses(LAW, CYCLE, most, p)[:MOST]
    started = oracles.cycles_started(LAW, CYCLE, most, p, ratio, stop=stop)
    given = trajectories.count(trajectories.codes.administration)
    return {
        "curve": oracles.p_of_curve(death, lambda t: 1.0 - oracles.cycle_survival(t, LAW, CYCLE, most, p, ratio)),
        "onset": oracles.smallest(oracles.p_of_count(by_cycle, n, responses)),
        "response rate": float(oracles.p_of_count(np.isfinite(onset).sum(), n, responses.sum())),
        "cycles": oracles.smallest(oracles.p_of_count([(given > j).sum() for j in range(MOST)], n, started[:MOST])),
        "mean": oracles.p_of_mean(given, float(started.sum())),
        "most": float(given.max() <= most),
    }


@pytest.mark.parametrize("what", ["curve", "onset", "response rate", "cycles", "mean", "most"])
def test_cycles_follow_their_closed_form(cycled, what):
    # V23, V24. Detects: gap of 2.1 points; response rate by 1.8 points; each cycle's share by 1.9; mean cycles by 0.04.
    stop, trajectories = cycled
    assert p_cycled(trajectories, stop)[what] >= ALPHA


def test_onsets_fall_on_cycle_ends_only(cycled):
    onset = cycled[1].first_time(0)
    assert set(onset[np.isfinite(onset)]) == {CYCLE * j for j in range(1, MOST + 1)}


def test_a_probability_off_by_twice_the_detectable_is_found(cycled):
    # 3.8 b: the response rate off by 2 × 1.8 points, by another probability per cycle.
    stop, trajectories = cycled
    rate = oracles.cycle_responses(LAW, CYCLE, MOST, P).sum()
    size = 2.0 * oracles.detectable(np.sqrt(rate * (1 - rate) / len(trajectories)))
    wrong = next(p for p in np.arange(P, 1.0, 1e-4) if oracles.cycle_responses(LAW, CYCLE, MOST, p).sum() - rate > size)
    assert p_cycled(trajectories, stop, p=wrong)["response rate"] < ALPHA
    assert min(p_cycled(trajectories, stop, most=MOST + 1).values()) < ALPHA  # one cycle too many
