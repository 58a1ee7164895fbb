"""Targets of two groups, ends of intervals and bounds: from declaration to rank, rerun, sweep and likelihood."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import simulator
from calibration import schema
from calibration.likelihoods.simulated import PrintedTarget
from calibration.likelihoods.targets import simulated_terms
from calibration.sbc.printed_figures import Printed as PrintedFigures
from simulator.evidence.entries import EvidenceEntry
from simulator.experiment.schema import declare
from simulator.running import batch
from simulator.study.ranks import as_printed, mid_rank
from tests.two_arms import ARM, BOUNDS, CALIBRATION, SOURCE, entry, two_arms, written


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("own") / "configs")


@pytest.fixture(scope="module")
def tree(folder: Path) -> Any:
    return simulator.simulate(["cohort=harbour", "study.replicates=30", "output.patients=true"], config_dir=folder)


def values(tree: Any, target: str) -> np.ndarray[Any, Any]:
    return tree["targets"]["simulated"].sel(target=target).values


def test_what_studies_report_of_two_arms_is_what_lifelines_finds_in_their_patients(tree: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of lifelines' own imports
        lifelines = pytest.importorskip("lifelines")
        from lifelines.statistics import logrank_test
        from lifelines.utils import median_survival_times
    import pandas as pd

    patients = tree["patients"].to_dataset()
    for study in range(6):
        one = patients.isel(replicate=study)
        time, died = one["observation"].values, one["censoring"].values == 0
        added = one["arm"].values == 1
        seen = np.isfinite(one["response_seen"].values)
        fit = lifelines.KaplanMeierFitter().fit(time[~added], died[~added])
        low, high = median_survival_times(fit.confidence_interval_).to_numpy()[0]
        table = pd.DataFrame({"t": time, "e": died, "x": added.astype(float)})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pandas
            cox = lifelines.CoxPHFitter().fit(table, "t", "e", fit_options={"precision": 1e-10})
        expected = {
            "median": fit.median_survival_time_,
            "median.lower": low,
            "median.upper": high,
            "ratio": np.exp(cox.params_["x"]),
            "ratio.lower": np.exp(cox.confidence_intervals_.iloc[0, 0]),
            "ratio.upper": np.exp(cox.confidence_intervals_.iloc[0, 1]),
            "test": logrank_test(time[added], time[~added], died[added], died[~added]).p_value,
            "gain": seen[added].mean() - seen[~added].mean(),
        }
        for target, number in expected.items():
            assert values(tree, target)[study] == pytest.approx(number, rel=1e-5), target


def test_a_bound_ranks_among_what_keeps_it(tree: Any) -> None:
    for target, bound in BOUNDS.items():
        node = tree["targets"].sel(target=target)
        studies, at = values(tree, target), float(node["reported"])
        kept = (studies <= at).mean() if bound == "below" else (studies >= at).mean()
        assert 0.0 < kept < 1.0
        expected = kept / 2 if bound == "below" else 1.0 - kept / 2
        assert float(node["percentile"]) == pytest.approx(expected)
        assert str(node["estimator"].values).endswith(bound)


def test_a_rerun_has_the_same_bits(tree: Any, tmp_path: Path) -> None:
    from simulator.results.store import save

    save(tree, tmp_path / "results.nc")
    again = simulator.rerun(tmp_path / "results.nc")
    assert again["targets"]["simulated"].values.tobytes() == tree["targets"]["simulated"].values.tobytes()


def test_blocks_and_parts_of_a_study_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    container = {**two_arms(), "study": {**two_arms()["study"], "replicates": 5}}
    whole = batch.targets(declare(container))[0]
    for patients in (33, 300):  # a study has 140
        monkeypatch.setattr(batch, "BLOCK_PATIENTS", patients)
        (outcome,) = batch.outcomes([declare(container)])
        assert outcome.targets.tobytes() == whole.tobytes()


def test_a_sweep_over_the_effect_has_the_targets_of_both_arms(folder: Path, tmp_path: Path) -> None:
    from simulator.cli.commands import main

    out = tmp_path / "sweep"
    words = ["--multirun", "--config-dir", str(folder), "cohort=harbour", "parameters.effect.death=0.3,1.0"]
    assert main([*words, "study.replicates=40", f"hydra.sweep.dir={out}"]) == 0
    stored = simulator.open_results(out)["targets"]
    medians = stored["median"].sel(target="ratio").values
    assert medians[0] < 0.45 < 0.7 < medians[1]


# ------------------------------------------------------------------------------------------------- declared


def given(name: str, **changes: Any) -> dict[str, Any]:
    made = entry(name)
    statistic = {**made["statistic"], **changes.pop("statistic", {})}
    made["statistic"] = {key: value for key, value in statistic.items() if value is not None}
    return {key: value for key, value in (made | changes).items() if value is not None}


def problems(name: str, **changes: Any) -> str:
    from pydantic import ValidationError

    from simulator.configuration.messages import problems_of

    with pytest.raises(ValidationError) as refusal:
        EvidenceEntry.model_validate(given(name, **changes))
    return "\n".join(map(str, problems_of(refusal.value, "evidence", EvidenceEntry)))


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("ratio", {"statistic": {"against": None}}, "against: must be given for hazard_ratio"),
        ("ratio", {"statistic": {"comparison": "ratio"}}, "hazard_ratio compares two groups by itself"),
        ("ratio", {"statistic": {"against": {"arm": "added"}}}, "must be another group than `where`"),
        ("ratio", {"statistic": {"variable": "follow_up"}}, "hazard_ratio has no meaning for it"),
        ("ratio", {"unit": "%"}, "unit = %: must be 1 for the hazard_ratio"),
        ("ratio.lower", {"statistic": {"confidence": {"end": "lower", "scale": "log"}}}, "leave it out"),
        ("ratio.lower", {"statistic": {"confidence": {"end": "lower", "level": 95}}}, "level = 95: must be < 1"),
        ("gain", {"statistic": {"comparison": None}}, "comparison: must be given with against"),
        ("gain", {"statistic": {"against": None}}, "against: must be given for a difference"),
        ("gain", {"denominator": 70}, "denominator = 70: must be left out: two groups have one each"),
        ("gain", {"statistic": {"confidence": {"end": "upper"}}}, "no interval of it is known"),
        ("median", {"statistic": {"comparison": "ratio", "against": {"arm": "added"}}}, "must be 1 for the ratio of"),
        ("waited", {"value": None}, "value: must be given for a target, the mo that it was above"),
        ("test", {"role": None, "statistic": {}}, "role: must be given for a target"),
    ],
)
def test_what_cannot_be_compared_is_refused_by_name(name: str, changes: dict[str, Any], said: str) -> None:
    assert said in problems(name, **changes)


def test_an_interval_of_a_share_is_refused_since_its_count_says_the_same() -> None:
    statistic = {"estimator": "proportion", "variable": "response", "confidence": {"end": "lower"}}
    said = problems("median", unit="%", denominator=70, statistic=statistic)
    assert "says no more than its count" in said


def test_a_group_that_the_cohort_does_not_have_is_refused_with_the_nearest() -> None:
    container = two_arms()
    container["evidence"]["entries"] = [given("ratio", statistic={"against": {"arm": "standart"}})]
    with pytest.raises(simulator.ConfigError, match="standard"):
        declare(container)


@pytest.mark.parametrize(
    ("name", "printed", "value", "sound"),
    [
        ("gain", "12.5 % fewer", -12.5, True),
        ("gain", "12.5 %", -125.0, False),
        ("ratio", "1.84", 1.84, True),
        ("ratio", "-0.5", -0.5, False),
        ("test", "p = 1.2", 1.2, False),
    ],
)
def test_a_comparison_has_the_range_of_its_own(name: str, printed: str, value: float, sound: bool) -> None:
    made = EvidenceEntry.model_validate(given(name, printed=printed, value=value, bound=None))
    assert all(check.passed for check in made.verify()) is sound


# ------------------------------------------------------------------------------------------------- likelihood


def test_a_bound_is_printed_by_all_that_keeps_it_also_by_what_is_not_reached() -> None:
    values = np.array([-np.inf, 3.0, 5.0, 7.0, np.inf, np.nan])
    above, below = (PrintedTarget("a", *limits, 0.0) for limits in ((5.0, np.inf), (-np.inf, 5.0)))
    assert above.probability(values).tolist() == [0, 0, 1, 1, 1, 0]
    assert below.probability(values).tolist() == [1, 1, 1, 0, 0, 0]
    blurred = PrintedTarget("a", 5.0, np.inf, 1.0).probability(values)
    assert blurred.tolist() == pytest.approx([0, 0.02275, 0.5, 0.97725, 1, 0], abs=1e-5)


def test_what_studies_would_print_of_a_bound_is_one_value() -> None:
    values = np.array([[0.01, 0.2, np.nan], [0.04, 0.9, 0.05]])
    assert np.nan_to_num(as_printed(values, ["below", None], [0.05, 0.05]), nan=-1.0).tolist() == [
        [0.05, 0.2, -1.0],
        [0.04, 0.9, 0.05],
    ]
    ranked = as_printed(np.array([[10.0, 30.0, np.inf]]), ["above"], [24.0])
    assert mid_rank(ranked, 24.0, 0.0).percentile == pytest.approx(1 / 3 + 1 / 3)


def test_terms_of_comparisons_look_at_the_effect_and_print_bounds() -> None:
    declared = schema.load(dict(CALIBRATION))
    experiment = declare(two_arms())
    prior = schema.prior_of(declared, experiment.parameters, {"survival.median": "time"})
    (survival, response), wrong = simulated_terms(declared, experiment, prior)
    assert not wrong
    assert survival.parameters == {"survival.median", "effect.death"}
    printed = {one.target: one for one in (*survival.printed, *response.printed)}
    assert (printed["test"].lower, printed["test"].upper) == (-np.inf, 0.05)
    assert printed["gain"].lower == pytest.approx(0.195)
    assert printed["gain"].tolerance == pytest.approx(0.02)
    assert (printed["waited"].lower, printed["waited"].upper) == (pytest.approx(18 * 30.4375), np.inf)
    assert printed["ratio"].tolerance == 0.05


def test_a_ratio_may_have_a_tolerance_above_one_and_a_difference_in_percent() -> None:
    given = {"more": {"targets": {"ratio": 1.5}, "parameters": ["effect.death"], "replicates": 10}}
    declared = schema.load({**CALIBRATION, "simulated": given})
    experiment = declare(two_arms())
    prior = schema.prior_of(declared, experiment.parameters, {"survival.median": "time"})
    (term,), wrong = simulated_terms(declared, experiment, prior)
    assert not wrong
    assert term.printed[0].tolerance == 1.5


def test_no_closed_form_of_a_comparison_names_what_is_compared() -> None:
    from calibration.posterior.fit import fit

    with pytest.raises(simulator.ConfigError) as refusal:
        fit(two_arms(), schema.load({**CALIBRATION, "simulated": {}}))
    said = str(refusal.value)
    assert "the difference of proportion of response has no closed form" in said
    assert "the hazard ratio of survival has no closed form" in said
    assert "the log rank p of survival has no closed form" in said


def test_counts_of_two_arms_share_no_patients() -> None:
    from calibration.posterior.fit import fit

    config = two_arms()
    for arm, number in (("standard", 14), ("added", 21)):  # of 70 each: 20 %, 30 %
        where = {"variable": "response", "estimator": "proportion", "where": {"arm": arm}}
        said = {
            "id": arm,
            "name": f"response, {arm}",
            "printed": f"{number / ARM:.0%}",
            "value": 100 * number / ARM,
            "unit": "%",
        }
        counted = {"numerator": number, "denominator": ARM, "population": "randomised", "role": "fitted"}
        config["evidence"]["entries"].append({**said, **counted, **SOURCE, "statistic": where})
    with pytest.raises(simulator.ConfigError) as refusal:
        fit(config, schema.load({**CALIBRATION, "simulated": {}}))
    said = str(refusal.value)
    assert said.count("the share of response has no closed form: the cohort has several arms") == 2
    assert "once more" not in said


def test_a_law_that_leaves_what_a_simulated_parameter_may_be_is_refused() -> None:
    from calibration.posterior.fit import fit

    wrong = {"response": {"normal": {"mean": 0.2, "sd": 0.2}}, "effect.death": {"normal": {"mean": 0.3, "sd": 1}}}
    with pytest.raises(simulator.ConfigError) as refusal:
        fit(two_arms(), schema.load({**CALIBRATION, "parameters": {**CALIBRATION["parameters"], **wrong}}))
    assert "parameters.response.normal: normal leaves what this parameter may be: it must be a prob" in str(
        refusal.value
    )
    assert "effect.death.normal: normal leaves what this parameter may be: it must be a ratio" in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "value", "keys"),
    [
        ("test", 0.03, {"bound": "below"}),
        ("test", 0.3, {"bound": "above"}),
        ("gain", -0.123, {"printed": "-12", "value": -12.0}),
        ("ratio", np.inf, None),
        ("ratio", 0.7349, {"printed": "0.73", "value": 0.73}),
    ],
)
def test_a_simulated_paper_prints_comparisons(
    monkeypatch: pytest.MonkeyPatch, name: str, value: float, keys: dict[str, Any] | None
) -> None:
    monkeypatch.setattr("calibration.sbc.printed_figures.estimate", lambda data, statistic: np.array([value]))
    made = EvidenceEntry.model_validate(given(name))
    assert made.statistic is not None
    said = PrintedFigures(None, 0.0).target(made, made.statistic)  # type: ignore[arg-type]
    if keys is None:
        assert said is None
        return
    assert said is not None
    assert {key: said[key] for key in keys} == keys
    again = EvidenceEntry.model_validate(given(name, **said))
    assert all(check.passed for check in again.verify())
