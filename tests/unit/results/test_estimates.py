"""Statistics that a user asks for, landmark analyses and contrasts between arms: against a run's own patients."""

from __future__ import annotations

import copy
import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from lifelines import KaplanMeierFitter
from lifelines.statistics import logrank_test
from lifelines.utils import restricted_mean_survival_time

import simulator
from simulator.cli.commands import main
from simulator.errors import ConfigError
from simulator.experiment.schema import declare
from simulator.running import batch
from tests.two_arms import two_arms, written

LANDMARK = 182.625
ESTIMATES = """output.estimates={
naive: {estimator: kaplan_meier_median, variable: survival, where: {ever: additional_infusion}},
treated: {estimator: median, variable: follow_up, where: {landmark: 6 mo, ever: additional_infusion}},
others: {estimator: median, variable: follow_up, where: {landmark: 6 mo, never: additional_infusion}},
mean: {estimator: restricted_mean, variable: survival, population: observed, time: 2 y}}""".replace("\n", "")


@pytest.fixture(scope="module")
def tree() -> xr.DataTree:
    return simulator.simulate(["cohort=ilp", "study.replicates=30", ESTIMATES, "output.patients=true"])


def study_of(tree: xr.DataTree, number: int) -> dict[str, Any]:
    return {str(name): each.values[number] for name, each in tree["patients"].to_dataset().data_vars.items()}


def test_a_landmark_splits_those_who_are_still_followed_by_what_was_seen_by_then(tree: xr.DataTree) -> None:
    node = tree["estimates"].to_dataset()
    differ = 0
    for number in range(30):
        ours = study_of(tree, number)
        time, given = ours["observation"], ours["additional_infusion_seen"]
        there = time > LANDMARK
        by_then = given <= LANDMARK  # NaN, never, is not
        found = {name: node["simulated"].sel(replicate=number, estimate=name).item() for name in ("treated", "others")}
        for name, group in (("treated", there & by_then), ("others", there & ~by_then)):
            assert found[name] == pytest.approx(np.median(time[group]), rel=1e-12)
        differ += int(found["treated"] != found["others"])
    assert differ > 25


def test_a_restricted_mean_is_that_of_lifelines(tree: xr.DataTree) -> None:
    node = tree["estimates"].to_dataset()
    for number in range(30):
        ours = study_of(tree, number)
        member = ours["population_observed"].astype(bool)
        fitter = KaplanMeierFitter().fit(ours["observation"][member], ours["censoring"][member] == 0)
        expected = restricted_mean_survival_time(fitter, t=730.5)
        assert node["simulated"].sel(replicate=number, estimate="mean").item() == pytest.approx(expected, rel=1e-9)


def test_means_and_spreads_are_those_of_the_studies(tree: xr.DataTree) -> None:
    node = tree["estimates"].to_dataset()
    values = node["simulated"].sel(estimate="mean").values
    one = node.sel(estimate="mean")
    assert one["mean"].item() == pytest.approx(values.mean())
    assert one["mean_standard_error"].item() == pytest.approx(values.std(ddof=1) / np.sqrt(30))
    assert one["study_sd"].item() == pytest.approx(values.std(ddof=1))
    assert one["lower"].item() == np.sort(values)[0]
    assert one["stored_unit"].item() == "d"
    assert (one["n_finite"], one["n_not_reached"], one["n_undefined"]) == (30, 0, 0)
    assert node["of_group"].values.tolist()[1] == f"ever additional_infusion, landmark {LANDMARK} d"
    assert all({"units", "comment"} & set(variable.attrs) for variable in node.variables.values())
    assert node.sel(estimate="mean")["time"].item() == 730.5
    plain = simulator.simulate(["cohort=ilp", "study.replicates=30"])
    np.testing.assert_array_equal(plain["targets"]["simulated"], tree["targets"]["simulated"])


def trial(**output: Any) -> Any:
    container = copy.deepcopy(two_arms())
    container["output"] = {"report": False, **output}
    container["study"]["replicates"] = 40
    return container


def test_arms_are_contrasted_study_by_study() -> None:
    tree = batch.run(declare(trial(contrast={"arm": "standard"}, patients=True)))
    node = simulator.contrast(tree, {"arm": "standard"})["estimates"].to_dataset()
    patients, horizon = tree["patients"].to_dataset(), 2 * 365.25
    # Entered within 2 y and analysed after 3: half of the patients can be followed for 2 y.
    assert node["time"].sel(estimate="added.difference_of_restricted_means") == horizon
    arms = patients["arm"].attrs["flag_meanings"].split()
    for number in range(40):
        ours = {name: patients[name].values[number] for name in ("arm", "observation", "censoring", "response_seen")}
        found = dict(zip(node["estimate"].values, node["simulated"].values[number], strict=True))
        groups = [ours["arm"] == arms.index(name) for name in ("added", "standard")]
        time, died = ours["observation"], ours["censoring"] == 0
        test = logrank_test(*(time[group] for group in groups), *(died[group] for group in groups))
        assert found["added.log_rank_p"] == pytest.approx(test.p_value, rel=1e-7)
        curves = [KaplanMeierFitter().fit(time[group], died[group]) for group in groups]
        ratio = curves[0].median_survival_time_ / curves[1].median_survival_time_
        assert found["added.ratio_of_medians"] == pytest.approx(ratio)
        means = [restricted_mean_survival_time(curve, t=horizon) for curve in curves]
        assert all(time[group].max() > horizon for group in groups)
        assert found["added.difference_of_restricted_means"] == pytest.approx(means[0] - means[1], rel=1e-7)
        shares = [np.isfinite(ours["response_seen"][group]).mean() for group in groups]
        assert found["added.difference_of_response"] == pytest.approx(shares[0] - shares[1])
    gain = node.sel(estimate="added.difference_of_response")
    values = gain["simulated"].values
    assert gain["mean_standard_error"].item() == pytest.approx(values.std(ddof=1) / np.sqrt(40))
    for against, said in (
        ({"arm": "added"}, "simulate with output.contrast={arm: added}"),
        ({"arm": "standard", "interval": 14}, "is contrasted by itself"),
    ):
        with pytest.raises(ConfigError, match=said):
            simulator.contrast(tree, against)


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ({"contrast": {"arm": "standart"}}, "output.contrast.arm = standart: unknown arm of the cohort"),
        ({"contrast": {"interval": 14}}, "is no arm: a contrast between scenarios is one of a sweep"),
        (
            {"estimates": {"x": {"estimator": "restricted_mean", "variable": "survival"}}},
            "must be given for",
        ),
        (
            {"estimates": {"x": {"estimator": "mean", "variable": "follow_up", "where": {"ever": "respons"}}}},
            "output.estimates.x.where.ever = respons: unknown event or marker",
        ),
        (
            {"estimates": {"x": {"estimator": "restricted_mean", "variable": "survival", "time": "90 y"}}},
            "must not be after the horizon",
        ),
        (
            {"estimates": {"x": {"estimator": "mean", "variable": "follow_up", "where": {"landmark": "90 y"}}}},
            "output.estimates.x.where.landmark",
        ),
        (
            {"estimates": {"x": {"estimator": "mean", "variable": "follow_up", "where": {"landmark": 0}}}},
            "output.estimates.x.where.landmark",
        ),
    ],
)
def test_what_cannot_be_computed_is_refused_by_name(output: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        declare(trial(**output))
    assert said in str(caught.value)


def test_arms_are_contrasted_in_a_sweep_and_between_its_scenarios(tmp_path: Path) -> None:
    own, store = written(tmp_path / "own"), tmp_path / "store"
    words = ["cohort=harbour", "study.replicates=30", "parameters.effect.death=0.5,1.0"]
    words += ["output.contrast={arm: standard, death: 1.0}", f"hydra.sweep.dir={store}"]
    assert main(["--config-dir", str(own), "--multirun", *words]) == 0
    tree = simulator.open_results(store)
    node = simulator.contrast(tree, {"arm": "standard"})["estimates"].to_dataset()
    assert node.sizes["death"] == 2
    alone = simulator.simulate(
        ["cohort=harbour", "study.replicates=30", "parameters.effect.death=0.5", "output.contrast={arm: standard}"],
        config_dir=own,
    )["estimates"].to_dataset()
    cell = node["simulated"].sel(death=0.5).transpose(*alone["simulated"].dims)
    np.testing.assert_array_equal(cell.values, alone["simulated"].values)
    between = xr.open_datatree(store / "contrast.nc")
    ratios = node["simulated"].sel(estimate="added.hazard_ratio")
    gap = (ratios.sel(death=0.5) - ratios.sel(death=1.0)).values
    one = between["estimates"].to_dataset().sel(estimate="added.hazard_ratio", death=0.5)
    assert one["difference"].item() == pytest.approx(gap.mean())
    assert gap.mean() < -0.2
    between.close()


def test_one_arm_has_nothing_to_be_contrasted_with() -> None:
    with pytest.raises(ConfigError, match="needs a cohort of two arms"):
        simulator.simulate(["output.contrast={arm: all}"])


def test_estimates_of_a_sweep_are_those_of_single_runs_and_are_contrasted_in_pairs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["cohort=ilp", "study.replicates=40", ESTIMATES]
    swept = ["parameters.additional_infusion.hazard_ratio=0.6,1.0", "output.contrast={hazard_ratio: 1.0}"]
    assert main(["--multirun", *words, *swept, f"hydra.sweep.dir={tmp_path / 'store'}"]) == 0
    assert "treated" in capsys.readouterr().out
    store = simulator.open_results(tmp_path / "store")
    alone = simulator.simulate([*words, "parameters.additional_infusion.hazard_ratio=0.6"])["estimates"].to_dataset()
    cell = store["estimates"].to_dataset().sel(hazard_ratio=0.6)
    for name, variable in alone.data_vars.items():
        np.testing.assert_array_equal(cell[name].transpose(*variable.dims).values, variable.values)
    with (tmp_path / "store" / "summary.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["quantity"] == "mean" and row["hazard_ratio"] == "0.6"]
    assert [float(row["estimate"]) for row in rows] == pytest.approx([alone["median"].sel(estimate="mean").item()])
    pairs = store["estimates"]["simulated"].sel(estimate="mean")
    gap = (pairs.sel(hazard_ratio=0.6) - pairs.sel(hazard_ratio=1.0)).values
    made = simulator.contrast(store, {"hazard_ratio": 1.0})["estimates"].to_dataset()
    one = made.sel(estimate="mean", hazard_ratio=0.6)
    assert one["difference"].item() == pytest.approx(gap.mean())
    assert one["difference_standard_error"].item() == pytest.approx(gap.std(ddof=1) / np.sqrt(40))
