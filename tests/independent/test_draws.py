"""A run over draws of a posterior against a run of each draw alone, under the reading of each draw."""

from __future__ import annotations

import math
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

import simulator
from tests.independent import plain, quarry

STUDIES = 24


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory):
    own = quarry.written(tmp_path_factory.mktemp("quarry") / "own")
    common = ["cohort=quarry", "seed=11", f"study.replicates={STUDIES}"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = simulator.simulate(
            [*common, "parameters=drawn", f"parameters.draws={len(quarry.DRAWS)}"], config_dir=own
        )
        alone = [
            simulator.simulate(
                [
                    *common,
                    f"parameters.effect={effect}",
                    f"parameters.odds={odds}",
                    f"parameters.typical={median}",
                    f"study.reading={reading}",
                ],
                config_dir=own,
            )
            for effect, odds, median, reading in quarry.DRAWS
        ]
    return SimpleNamespace(tree=tree, alone=alone)


def studies(made, target: str) -> np.ndarray:
    """What studies of each draw report, (draws, studies)."""
    return np.array([one["targets"]["simulated"].sel(target=target).values for one in made.alone])


def test_each_draw_is_the_run_with_its_values_and_its_reading(made):
    for number, one in enumerate(made.alone):
        node = made.tree["targets"]["simulated"].sel(draw=number)
        for target in quarry.STATISTICS:
            here, there = node.sel(target=target).values, one["targets"]["simulated"].sel(target=target).values
            assert np.array_equal(here, there, equal_nan=True), (number, target)
        for name in ("overall_survival", "rmst", "number_at_risk"):
            pooled = made.tree["statistics"][name].sel(draw=number).values
            assert np.array_equal(pooled, one["statistics"][name].values, equal_nan=True)


def test_a_draw_is_ranked_against_the_number_that_its_reading_reads(made):
    """Q1 is 13 months in one reading and 14 in the other, and simulated medians lie between the two."""
    days = {"as_printed": 13 * 30.4375, "other": 14 * 30.4375}
    each, known, score = studies(made, "Q1"), 0, 0.0
    for row, draw in zip(each.tolist(), quarry.DRAWS, strict=True):
        score += plain.percentile(row, days[draw[3]], 0.5 * 30.4375) * sum(not math.isnan(v) for v in row)
        known += sum(not math.isnan(v) for v in row)
    first = sum(plain.percentile(row, days["as_printed"], 0.5 * 30.4375) for row in each.tolist()) / len(each)
    found = float(made.tree["targets"]["percentile"].sel(target="Q1"))
    assert found == pytest.approx(score / known)
    assert abs(found - first) > 0.004  # ranked against the first reading's number it would be another


@pytest.mark.parametrize("target", ["Q3", "Q5", "Q6", "Q8", "Q12", "Q13"])
def test_spreads_are_those_of_a_two_way_layout(made, target):
    values = studies(made, target)
    mean, study, parameter, error = plain.crossed(values[:, ~np.isnan(values).any(axis=0)])
    row = made.tree["targets"].sel(target=target)
    assert float(row["mean"]) == pytest.approx(mean)
    assert float(row["study_sd"]) == pytest.approx(study)
    assert float(row["parameter_sd"]) == pytest.approx(parameter, abs=1e-12)
    assert float(row["monte_carlo_error"]) == pytest.approx(error)
    flat = values.ravel().tolist()
    for name, level in (("median", 0.5), ("lower", 0.025), ("upper", 0.975)):
        assert float(row[name]) == pytest.approx(plain.quantile(flat, level))


def test_pooled_statistics_over_draws_have_the_error_of_the_number_of_draws(made):
    d = len(quarry.DRAWS)
    for name in ("rmst", "overall_survival"):
        each = np.array([one["statistics"][name].sel(group="drug").values for one in made.alone])
        errors = np.array([one["statistics"][f"{name}_standard_error"].sel(group="drug").values for one in made.alone])
        mean = each.sum(axis=0) / d
        sd = np.sqrt(((each - mean) ** 2).sum(axis=0) / (d - 1))
        node = made.tree["spread"].to_dataset().sel(group="drug") if "spread" in made.tree.children else None
        assert node is not None
        assert node[name].values == pytest.approx(mean)
        assert node[f"{name}_parameter_sd"].values == pytest.approx(sd)
        error = np.sqrt((errors**2).sum(axis=0) / d + sd**2 / d)
        assert node[f"{name}_monte_carlo_error"].values == pytest.approx(error)
        assert node[f"{name}_lower"].values == pytest.approx(each.min(axis=0))
        assert node[f"{name}_upper"].values == pytest.approx(each.max(axis=0))
