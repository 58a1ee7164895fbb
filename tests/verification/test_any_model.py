"""Rules and rates of random valid models, many more of them and other ones every day; the pathwise oracle on 1e5."""

from __future__ import annotations

import numpy as np
from hypothesis import given, seed

from tests import any_model, models, oracles
from tests.oracles import ALPHA
from tests.properties import test_pathwise
from tests.verification.conftest import SCALE, SEED

MANY = models.examples(100 * SCALE, derandomize=False)


@seed(SEED)
@MANY
@given(config=any_model.random_models())
def test_every_history_of_any_valid_model_keeps_every_rule(config):
    # V9. Deterministic: α = 0.
    trajectories = models.simulated(models.compiled(config, quiet=True), seed=SEED)
    assert list(oracles.violations(models.history(trajectories), models.declared(config))) == []


@seed(SEED)
@MANY
@given(config=any_model.random_models(n_patients=300))
def test_any_valid_model_spends_its_budgets_as_declared(config):
    # V35, V36: 1,000 models of 300 patients; α is shared among 12,000 comparisons. Detects: one event's hazard off by
    # 45 % in 300 of them; a wrong rule in most.
    trajectories = models.simulated(models.compiled(config, quiet=True), seed=SEED)
    spells = oracles.integrated_intensities(
        models.history(trajectories), models.declared(config), susceptible=models.susceptible(trajectories, SEED)
    )
    for name, own in spells.items():
        p = [own.p()]
        if own.residual.size:
            p.append(oracles.p_of_curve(own.residuals(1), lambda x: -np.expm1(-x)))
        assert min(p) >= ALPHA / 12_000, name


def test_every_time_of_a_hundred_thousand_patients_follows_from_the_draws():
    # V8 at the size of VERIFICATION: largest relative error ≤ 1e-12. Deterministic: α = 0.
    trajectories = models.simulated(test_pathwise.announced(), seed=test_pathwise.SEED, n=10_000 * SCALE)
    for event, expected in enumerate(test_pathwise.replay(trajectories)):
        assert test_pathwise.error(trajectories.first_time(event), expected) <= test_pathwise.EXACT


def test_the_hundred_thousand_who_have_it_better_never_die_earlier():
    # V15: 0 violations. Deterministic: α = 0.
    death, _ = test_pathwise.varied(ratio=[0.2, 0.6, 1.0, 2.5], n_patients=2_500 * SCALE)
    assert (np.diff(death, axis=0) <= 0.0).all()
