"""What a posterior predicts: mid-ranks, and a distance that accounts for targets that move together."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import simulator
from calibration.cli import main
from calibration.prediction.predictive import distance, mid_ranks, normal_scores
from simulator.study.ranks import mid_rank


def entry(reported: float, half_width: float = 0.0):
    return SimpleNamespace(reported=reported, half_width=half_width, bound=None)


def p_of(simulated, *reported):
    scores, ours = normal_scores(simulated, np.zeros(len(simulated), int), [[entry(x) for x in reported]])
    return distance(scores, ours).mean()


def correlated(rho, seed=5, n=1000):
    return np.random.default_rng(seed).multivariate_normal([0, 0], [[1, rho], [rho, 1]], size=(n, 4))


def test_each_target_may_look_well_and_both_together_not():
    # Two targets with correlation 0.95: 1.2 above and 1.2 below are 12th and 88th percentile, and d² = 2.88/0.05.
    assert p_of(correlated(0.95), 1.2, -1.2) < 0.001
    # Negative control: without the correlation d² = 2.88, of which χ² with 2 degrees of freedom says e^-1.44 = 0.24.
    assert p_of(correlated(0.0), 1.2, -1.2) == pytest.approx(0.237, abs=0.03)


def test_a_study_of_the_model_itself_has_any_p_with_the_same_probability():
    # 200 studies as if they were reported: p is uniform, Kolmogorov-Smirnov at 1e-4 below 0.156; exp for skewed ones.
    studies = np.exp(correlated(0.6, seed=6))
    others = np.exp(correlated(0.6, seed=7)).reshape(-1, 2)[:200]
    found = np.sort([p_of(studies, *other) for other in others])
    assert np.max(np.abs(found - (np.arange(200) + 0.5) / 200)) < 0.156


def test_mid_ranks_are_those_of_the_table_of_targets():
    rng = np.random.default_rng(3)
    studies = np.where(rng.uniform(size=400) < 0.1, np.inf, np.round(rng.normal(10, 3, 400)))
    for reported in (4.0, 10.0, 10.4, np.inf):
        rank = mid_ranks(np.array([reported]), np.sort(studies), 0.5)[0]
        assert rank == pytest.approx(mid_rank(studies, reported, 0.5).percentile)


def test_an_undefined_target_is_left_out_and_an_undefined_study_is_in_the_middle():
    simulated = correlated(0.0)
    simulated[:, :, 1] = np.nan
    simulated[0, 0, 0] = np.nan
    scores, reported = normal_scores(simulated, np.zeros(1000, int), [[entry(0.0), entry(1.0)]])
    assert np.isnan(reported[1])
    assert scores[0, 0, 0] == 0.0


def test_directions_in_which_studies_do_not_vary_do_not_count():
    # The third target is the sum of the first two, as a total is of its strata.
    two = correlated(0.3)
    three = np.concatenate([two, two.sum(axis=2, keepdims=True)], axis=2)
    assert p_of(three, 1.0, -0.5, 0.5) == pytest.approx(p_of(two, 1.0, -0.5), abs=0.05)


def test_it_is_printed_and_stored_in_the_layout_of_arviz(tmp_path, capsys):
    own = tmp_path / "own" / "calibration"
    own.mkdir(parents=True)
    (own / "quick.yaml").write_text(
        "name: quick\nparameters:\n  response.probability: {beta: {a: 2, b: 2}}\nsearch: {draws: 200}\n"
    )
    arguments = ["cohort=il2_hai_unresectable", "calibration=quick", "--config-dir", str(own.parent)]
    assert main([*arguments, f"hydra.run.dir={tmp_path / 'run'}"]) == 0
    said = capsys.readouterr().out
    assert "percen" in said
    assert "a fitted target can hardly miss" in said
    assert "Together, accounting for correlation" in said
    tree = simulator.open_results(tmp_path / "run")
    node = tree["posterior_predictive"]["reported"]
    assert node.dims == ("chain", "draw", "target")
    assert node.sizes["draw"] == tree["targets"]["simulated"].size
    assert node.sizes["target"] == tree["observed_data"].sizes["target"]
    values = tree["targets"]["simulated"].values
    assert np.array_equal(node.values[0], values.reshape(-1, values.shape[-1]))
    # 19 of 25 reported: Beta(21, 8) and a binomial: near the middle, half the ties counted.
    assert float(tree["targets"]["percentile"].sel(target="I04")) == pytest.approx(0.58, abs=0.1)
    assert 0.0 < tree["targets"].attrs["joint_p_all_targets"] <= 1.0
