"""Estimates beyond all follow-up, of tests/cases/03: two arms of 40, entered within a year, analysed at two years.

Expected values are of the exponential laws that the case declares (means 900 d and 1,800 d) and of lifelines on the
simulated patients.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from lifelines import KaplanMeierFitter
from lifelines.utils import restricted_mean_survival_time

import simulator
from simulator.errors import ConfigError, DeclarationWarning
from simulator.views.estimates import estimates_table
from simulator.views.tables import plain

pytestmark = pytest.mark.filterwarnings("ignore:parameters.unused is not used")

CASE = Path(__file__).parents[2] / "cases" / "03-beyond-follow-up"
HALF = 2 * 365.25 - 365.25 / 2  # who enters in the middle of accrual is followed so long
LATE = 640.0  # 22 % of the patients enter early enough to be followed so long
LANDMARK = "{estimator: kaplan_meier_landmark, variable: survival, where: {arm: control}"
MEAN = "{estimator: restricted_mean, variable: survival, where: {arm: drug}, against: {arm: control}"
ESTIMATES = [
    f"s4: {LANDMARK}, time: 4 y}}",
    f"extended: {LANDMARK}, time: 4 y, extend: true}}",
    f"late: {LANDMARK}, time: {LATE:g}}}",
    f"lower: {LANDMARK}, time: {LATE:g}, confidence: {{end: lower}}}}",
    f"gain: {MEAN}, comparison: difference, time: 600 d}}",
    f"far: {MEAN}, comparison: difference, time: 725 d}}",
]
WORDS = [
    "cohort=cut",
    "output.contrast={arm: control}",
    f"output.estimates={{{', '.join(ESTIMATES)}}}",
    "output.patients=true",
]


@pytest.fixture(scope="module")
def tree() -> xr.DataTree:
    with pytest.warns(DeclarationWarning, match=r"s4\.time = 1461: nobody is followed beyond day 730\.5"):
        return simulator.simulate(WORDS, config_dir=CASE)


def arms_of(tree: xr.DataTree, number: int) -> list[tuple[Any, Any]]:
    """Times and deaths of control and drug in one study."""
    patients = tree["patients"].to_dataset().isel(replicate=number)
    arm, time, died = (patients[name].values for name in ("arm", "observation", "censoring"))
    return [(time[arm == k], died[arm == k] == 0) for k in (0, 1)]


def is_followed(time: Any, died: Any, day: float) -> bool:
    return bool(day <= time.max() or died[time == time.max()].all())


def node_share(tree: xr.DataTree, name: str) -> float:
    return float(np.isnan(found(tree, name)).mean())


def found(tree: xr.DataTree, name: str) -> Any:
    return tree["estimates"]["simulated"].sel(estimate=name).values


def test_survival_beyond_the_data_cut_is_undefined_and_counted(tree: xr.DataTree) -> None:
    # Where the last observation is a death the curve has reached 0; elsewhere there is no estimate.
    values = found(tree, "s4")
    ends = [arms_of(tree, number)[0] for number in range(60)]
    at_zero = np.array([died[time == time.max()].all() for time, died in ends])
    np.testing.assert_array_equal(values, np.where(at_zero, 0.0, np.nan))
    n = int(at_zero.sum())
    assert n < 10
    one = tree["estimates"].to_dataset().sel(estimate="s4")
    assert (one["n_undefined"], one["n_finite"], one["n_not_reached"]) == (60 - n, n, 0)
    # The truth is exp(-4 y / 900 d) = .197; the last value of a curve says something else, and extend asks for it.
    assert found(tree, "extended").mean() > 0.4


def test_estimates_are_those_of_lifelines_or_undefined(tree: xr.DataTree) -> None:
    undefined = 0
    for number in range(60):
        groups = arms_of(tree, number)
        curves = [KaplanMeierFitter().fit(*group) for group in groups]
        late, far = found(tree, "late")[number], found(tree, "far")[number]
        if is_followed(*groups[0], LATE):
            assert late == pytest.approx(curves[0].predict(LATE), rel=1e-12)
        assert np.isnan(late) == np.isnan(found(tree, "lower")[number]) == (not is_followed(*groups[0], LATE))
        assert found(tree, "extended")[number] == pytest.approx(curves[0].predict(1461.0), rel=1e-12)
        for name, day in (("gain", 600.0), ("far", 725.0), ("drug.difference_of_restricted_means", HALF)):
            if all(is_followed(*group, day) for group in groups):
                control, drug = (restricted_mean_survival_time(curve, t=day) for curve in curves)
                assert found(tree, name)[number] == pytest.approx(drug - control, rel=1e-7)
            else:
                assert np.isnan(found(tree, name)[number])
        undefined += np.isnan(far)
    assert 30 < undefined <= 60  # of 40 patients one in 146 enters within 2.5 days and lives for 725


@pytest.mark.parametrize(("name", "day"), [("gain", 600.0), ("drug.difference_of_restricted_means", HALF)])
def test_a_contrast_within_follow_up_is_the_truth(tree: xr.DataTree, name: str, day: float) -> None:
    # Mean to a day: m (1 - exp(-day/m)). False alarm of |z| < 5: 6e-7 each.
    truth = sum(sign * m * (1 - math.exp(-day / m)) for sign, m in ((1, 1800.0), (-1, 900.0)))
    one = tree["estimates"].to_dataset().sel(estimate=name)
    assert abs(one["mean"].item() - truth) < 5 * one["mean_standard_error"].item()
    assert one["n_finite"].item() >= 55


def test_a_contrast_has_one_horizon_and_says_it(tree: xr.DataTree) -> None:
    node = simulator.contrast(tree, {"arm": "control"})["estimates"].to_dataset()
    one = node.sel(estimate="drug.difference_of_restricted_means")
    assert one["time"].item() == HALF
    assert {"n_finite", "n_undefined", "n_not_reached"} <= set(node)
    shown = plain(estimates_table(tree), width=120)
    assert "drug.difference_of_restricted_means: until day 547.875, the same in all studies" in shown
    [row] = [line for line in shown.splitlines() if line.strip().startswith("s4 ")]
    share = 100 * node_share(tree, "s4")
    assert f"{share:.2g} % undef." in row


def test_a_curve_of_all_studies_ends_with_follow_up(tree: xr.DataTree) -> None:
    node = tree["statistics"].to_dataset().sel(group="all")
    late = node["time"].values > 2 * 365.25
    # The curve of a study exists there only if its last observation is a death: then it is 0.
    ends = [[np.concatenate(both) for both in zip(*arms_of(tree, number), strict=True)] for number in range(60)]
    n_at_zero = sum(bool(died[time == time.max()].all()) for time, died in ends)
    assert n_at_zero < 10
    expected = 0.0 if n_at_zero else np.nan
    for level in ("lower", "median", "upper"):
        np.testing.assert_array_equal(node[f"kaplan_meier_{level}"].values[late], expected)
    # The pooled share alive is the truth, whatever the data cut.
    truth = np.mean([np.exp(-1826.25 / mean) for mean in (900.0, 1800.0)])
    last, error = (node[name].values[-1] for name in ("overall_survival", "overall_survival_standard_error"))
    assert abs(last - truth) < 5 * error


def evidence(time: str, extra: str = "") -> str:
    source = "source: {file: invented.txt, locator: line 1}, provenance: reported, kind: statistic, role: held_out"
    what = "id: X1, name: alive, printed: 30 %, value: 30, unit: '%', population: control"
    statistic = f"{LANDMARK}, time: {time}{extra}}}"
    return f"evidence.entries=[{{{what}, {source}, statistic: {statistic}}}]"


def test_evidence_beyond_the_data_cut_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        simulator.simulate(["cohort=cut", evidence("2.5 y")], config_dir=CASE)
    assert "evidence.entries.X1.statistic.time = 913.125: nobody is followed beyond day 730.5" in str(caught.value)
    words = ["cohort=cut", "study.replicates=3"]
    extended = simulator.simulate([*words, evidence("2.5 y", ", extend: true")], config_dir=CASE)
    assert np.isfinite(extended["targets"]["simulated"]).all()
    simulator.simulate([*words, evidence("1.5 y")], config_dir=CASE)


def test_extend_is_only_for_what_is_read_at_a_time() -> None:
    words = ["cohort=cut", "output.estimates={m: {estimator: kaplan_meier_median, variable: survival, extend: true}}"]
    with pytest.raises(ConfigError, match="only kaplan_meier_landmark or restricted_mean takes it"):
        simulator.simulate(words, config_dir=CASE)


def test_a_contrast_that_half_of_the_patients_cannot_reach_is_refused() -> None:
    words = ["cohort=cut", "output.contrast={arm: control}", "study.data_cut=5 mo"]
    with pytest.raises(ConfigError, match="they enter after the data cut"):
        simulator.simulate(words, config_dir=CASE)
