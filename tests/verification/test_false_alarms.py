"""The checks themselves: on a right engine they raise no more alarms than they say (VERIFICATION 3.8 a).

Each check runs on 2,000 small replicates at a level of 1 %; the number of alarms must not exceed the exact binomial
bound at 1e-6. A check may be conservative (Massart's bound is), never liberal.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tests import models, oracles
from tests.oracles import ALPHA
from tests.statistical import test_cycles, test_one_change

REPLICATES, SIZE, LEVEL = 2_000, 500, 0.01


def alarms(p):
    """P-values of all replicates by check → checks with more alarms than their level allows."""
    most = stats.binom.isf(1e-6, REPLICATES, LEVEL)
    return {name: count for name in p[0] if (count := sum(one[name] < LEVEL for one in p)) > most}


def by_replicate(trajectories):
    return [trajectories.select(trajectories.replicate == r) for r in range(REPLICATES)]


def simulate(config, battery, name):
    return models.simulated(config, seed=battery.seed_of(name), replicates=range(REPLICATES))


def test_checks_of_curves_medians_and_means_keep_their_level(battery):
    law = test_one_change.LAW
    config = models.switch(
        at=test_one_change.AT, ratio=test_one_change.RATIO, median=law.median, shape=law.shape, n_patients=SIZE
    )
    death = simulate(config, battery, "level of curves").absorbed_at.reshape(REPLICATES, SIZE)
    assert alarms([test_one_change.p_switched(one) for one in death]) == {}


def test_checks_of_cycles_keep_their_level(battery):
    law = test_cycles.LAW
    config = models.cycles(
        cycle=test_cycles.CYCLE,
        most=test_cycles.MOST,
        p=test_cycles.P,
        ratio=test_cycles.RATIO,
        median=law.median,
        shape=law.shape,
        stop=True,
        n_patients=SIZE,
    )
    trajectories = simulate(config, battery, "level of cycles")
    assert alarms([test_cycles.p_cycled(one, stop=True) for one in by_replicate(trajectories)]) == {}


def test_checks_of_integrated_intensities_keep_their_level(battery):
    # Compensator and time-rescaling, on a random onset with a hazard ratio.
    config = models.random_onset(hazard=0.004, onset=0.01, ratio=0.5, n_patients=SIZE, horizon=400.0)
    trajectories = simulate(config, battery, "level of intensities")
    plain = models.declared(config)
    p = []
    for r, one in enumerate(by_replicate(trajectories)):
        spells = oracles.integrated_intensities(models.history(one), plain)
        death = spells["death"]
        after = death.labels["responded"]
        p.append(
            {
                "onset": spells["onset"].p(),
                "death": death.p(),
                "before": death.p(~after),
                "after": death.p(after),
                "residuals": oracles.p_of_curve(death.residuals(r), lambda x: -np.expm1(-x)),
            }
        )
    assert alarms(p) == {}


def test_a_liberal_check_would_be_noticed():
    # The negative control: a normal check of a skewed mean on 10 patients is liberal.
    sample = np.random.default_rng(3).weibull(0.4, (REPLICATES, 10))
    mean = stats.weibull_min(0.4).mean()
    assert alarms([{"mean": oracles.p_of_mean(one, mean)} for one in sample]) != {}


def test_alpha_is_the_budget_over_four_hundred_checks():
    assert pytest.approx(1e-6 / 400) == ALPHA
    assert oracles.critical() == pytest.approx(5.961, abs=5e-4)
    assert oracles.detectable_gap(10**6) == pytest.approx(0.0052, abs=5e-5)  # VERIFICATION 3.2
    assert oracles.detectable(1e-3) == pytest.approx(0.0091, abs=5e-5)
