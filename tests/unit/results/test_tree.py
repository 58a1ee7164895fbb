import json

import numpy as np
import pytest
import xarray as xr

from simulator.errors import ConfigError
from simulator.evidence.entries import EvidenceEntry
from simulator.results import histories, provenance, tree
from simulator.study.accumulators import Accumulator
from simulator.study.design import StudyDesign
from simulator.study.observe import StudyData
from simulator.tables import NONE, CourseTables, ModelTables, PatientTable
from simulator.trajectories import Trajectories


def entry(id, name, printed, value, unit, estimator, variable, *, role="held_out", where=None, time=None, **more):
    statistic = {"estimator": estimator, "variable": variable, "where": where or {}}
    if time is not None:
        statistic["time"] = time
    return EvidenceEntry.model_validate(
        {
            "id": id,
            "name": name,
            "printed": printed,
            "value": value,
            "unit": unit,
            "population": "treated",
            "kind": "statistic",
            "source": {"file": "paper.txt", "locator": "abstract"},
            "provenance": "reported",
            "role": role,
            "statistic": statistic,
            **more,
        }
    )


RESPONSE = entry("T1", "response", "48.1%", 48.1, "%", "proportion", "response", numerator=25, denominator=52)
MEDIAN = entry("T2", "median survival", "14 months", 14.0, "mo", "kaplan_meier_median", "survival", role="fitted")
LANDMARK = entry(
    "T3", "1-year survival, colorectal", "51.0%", 51.0, "%", "kaplan_meier_landmark", "survival",
    where={"stratum": "colorectal"}, time=365.0,
)  # fmt: skip
ALIVE = entry("T4", "alive", "12", 12.0, "patients", "proportion", "state.alive", numerator=12, denominator=18)
MINIMUM = entry("T5.min", "administrations", "1-11", 1.0, "administrations", "minimum", "administrations")
AMONG_THE_DEAD = entry(
    "T6", "median among the dead", "12.5", 12.5, "mo", "naive_median", "follow_up", where={"status": "dead"}
)
ENTRIES = [RESPONSE, MEDIAN, LANDMARK, ALIVE, MINIMUM, AMONG_THE_DEAD]


def simulated(n=200):
    rng = np.random.default_rng(1)
    columns = [
        rng.binomial(52, 0.45, n) / 52,
        rng.lognormal(np.log(430), 0.2, n),
        rng.beta(25, 24, n),
        rng.binomial(18, 0.7, n) / 18,
        np.ones(n),
        rng.lognormal(np.log(370), 0.2, n),
    ]
    return np.column_stack(columns)


def model():
    """A response and a death, two strata, one adverse-event term."""
    course = CourseTables(
        terms=("pain",),
        reasons=("completed", "death"),
        given=[[True]],
        start=[[0.0]],
        interval_code=[[NONE]],
        interval=np.zeros((1, 1, 3)),
        maximum=[[2]],
        planned_cdf=np.ones((1, 1, 2, 3)),
        stop_states=[[0, 0, 1]],
        stop_markers=np.zeros((1, 0)),
        dose_level=[[[1.0]]],
        dose_cdf=[[[1.0]]],
        delay_after_adverse_event=[[0.0]],
        dose_factor_after_adverse_event=[[1.0]],
        frailty=[0.0],
        term_threshold=np.zeros((1, 2, 1)),
        term_set=[0],
        term_stream=[0],
    )
    patients = PatientTable(
        covariates=("age",),
        n_patients=[3],
        share=[[0.5, 0.5]],
        covariate_code=[0],
        covariate=np.zeros((1, 2, 1, 3)),
        covariate_stream=[0],
        age=0,
    )
    masks = ("event_set", "event_clear", "event_when", "event_unless")
    streams = ("event_stream", "ever_stream", "choice_stream", "lag_stream")
    per_cell = ("family", "probability", "cell_ratio", "success")
    return ModelTables(
        states=("stable", "response", "dead"),
        markers=(),
        events=("response", "death"),
        arms=("all",),
        strata=("colorectal", "stomach"),
        outcomes=("response.complete", "response.partial"),
        causes=("response", "disease"),
        course=course,
        patients=patients,
        horizon=[1000.0],
        absorbing=[False, False, True],
        event_from=[[True, False, False], [True, True, False]],
        event_to=[1, 2],
        event_clock=[0, 0],
        event_since=[NONE, NONE],
        event_maximum=[1, 1],
        event_recurrent=[False, False],
        event_driver=[0, 0],
        **dict.fromkeys(masks, np.zeros(2, dtype=np.uint64)),
        **dict.fromkeys(streams, np.zeros(2)),
        **dict.fromkeys(per_cell, np.ones((1, 2, 2))),
        parameters=np.zeros((1, 2, 2, 3)),
        table=np.full((1, 2, 2), NONE),
        knot_offset=[0],
        knot_time=[],
        knot_hazard=[],
        effect_event=[],
        effect_state=[],
        effect_marker=[],
        effect_ratio=np.ones((1, 0, 2)),
        covariate_effect_event=[],
        covariate_effect_covariate=[],
        covariate_effect=np.ones((1, 0, 2)),
        outcome_offset=[0, 2, 2],
        outcome_set=[0, 0],
        outcome_cdf=np.ones((1, 2, 2)),
        lag_code=[[0, 0]],
        lag=np.zeros((1, 2, 3)),
        withholds=[False, False],
        confirmed_at_onset=[False, False],
    )


def study(first_replicate=0):
    """Two studies of three patients: one dies after a response, one is treated and lives, one has nothing.

    Codes: 0 response, 1 death, 2 administration, 3 pain, 4 end of course.
    """
    time = [0.0, 0.0, 40.0, 300.0, 300.0, 0.0, 14.0]
    code = [2, 3, 0, 1, 4, 2, 4]
    value = [600.0, 1.0, 1.0, np.nan, 1.0, 300.0, 0.0]
    trajectories = Trajectories(
        model(),
        np.zeros(6, dtype=np.int64),
        np.repeat([first_replicate, first_replicate + 1], 3),
        np.tile(np.arange(3), 2),
        np.array([0, 1, 0] * 2),
        np.full((6, 1), 20000.0),
        np.array([0, 5, 7, 7, 12, 14, 14]),
        np.array(time * 2),
        np.array(code * 2, dtype=np.int16),
        np.array(value * 2),
    )
    design = StudyDesign(
        populations=(), entry_code=[NONE], entry=np.zeros((1, 3)), data_cut=[900.0], loss_family=[NONE],
        loss=np.zeros((1, 3)), assessment_code=[NONE], assessment=np.zeros((1, 3)), assessed=[True, False],
        counted=[True],
    )  # fmt: skip
    seen = np.where(trajectories.log_code == 0, 56.0, trajectories.log_time)
    end = np.tile([900.0, 700.0, 900.0], (2, 1))
    death = trajectories.absorbed_at.reshape(2, 3)
    died = np.isfinite(death)
    all_patients = {"treated": np.ones((2, 3), dtype=bool)}
    return StudyData(
        trajectories, design, np.zeros((2, 3)), end, death, died, np.where(died, 1, NONE), seen, all_patients
    )


def statistics(*parts):
    accumulator = Accumulator(np.arange(0.0, 1000.0, 50.0))
    for part in parts:
        accumulator.add(part)
    return tree.statistics_dataset(accumulator.conclude())


def record(**facts):
    return provenance.record(
        {"seed": 7, "cohort": {"name": "made_up", "mix": {"colorectal": 0.5, "stomach": 0.5}}},
        seed=7, evidence=[RESPONSE], parameters={"response.probability": 0.5}, engine="reference",
        cohort="made_up", n_patients=3, **facts,
    )  # fmt: skip


def whole_tree():
    parts = [study(0), study(2)]
    return tree.build(
        targets=tree.targets_dataset(ENTRIES, simulated()), statistics=statistics(*parts),
        patients=histories.patients_dataset(parts), events=histories.events_dataset(parts), record=record(),
    )  # fmt: skip


def test_every_variable_of_every_node_has_a_long_name_and_units():
    built = whole_tree()
    assert set(built.children) == {"targets", "statistics", "patients", "events"}
    for node in built.subtree:
        for name, variable in node.variables.items():
            said = {"long_name", "comment" if variable.attrs.get("comment") == tree.STORED else "units"}
            assert said <= set(variable.attrs), f"{node.path}/{name}"
            assert "see" not in str(variable.attrs.get("units"))
            assert variable.dtype.kind != "U", f"{node.path}/{name} is fixed-width text"


def test_nodes_claim_cf_only_where_every_variable_has_units():
    built = whole_tree()
    for name, node in built.children.items():
        whole = all("units" in variable.attrs for variable in node.variables.values())
        assert ("Conventions" in node.attrs) == whole == (name != "targets")
    assert "Conventions" not in built.attrs


def test_a_plot_of_one_target_shows_its_unit(tmp_path):
    # xarray writes scalar coordinates into the title, in their order, up to 50 characters.
    from matplotlib.figure import Figure

    targets = tree.targets_dataset(ENTRIES, simulated())
    targets.to_netcdf(tmp_path / "targets.nc")
    for node in (targets, xr.load_dataset(tmp_path / "targets.nc")):
        for name, unit in (("T1", "1"), ("T2", "d")):
            axes = Figure().subplots()
            node["simulated"].sel(target=name).plot(ax=axes)
            assert f"target = {name} [], stored_unit = {unit} []" in axes.get_title()
            assert "[" not in axes.get_ylabel()


def test_a_variable_without_units_is_refused_by_name():
    targets = tree.targets_dataset(ENTRIES, simulated())
    del targets["percentile"].attrs["units"]
    with pytest.raises(ValueError, match=r"targets\.percentile: no units"):
        tree.build(targets=targets, statistics=xr.Dataset(), record=record())


def test_reported_values_are_shares_and_days_and_scale_back_to_what_is_printed():
    targets = tree.targets_dataset(ENTRIES, simulated())
    assert targets["reported"].values == pytest.approx([25 / 52, 14 * 30.4375, 0.51, 12 / 18, 1.0, 12.5 * 30.4375])
    printed = targets["reported"] * targets["scale"]
    assert printed.values == pytest.approx([100 * 25 / 52, 14.0, 51.0, 12.0, 1.0, 12.5])
    assert targets["stored_unit"].values.tolist() == ["1", "d", "1", "1", "administrations", "d"]
    assert targets["decimals"].values.tolist() == [1, 0, 1, 0, 0, 1]


def test_targets_know_their_curve_and_subgroups_have_none():
    targets = tree.targets_dataset(ENTRIES, simulated())
    assert targets["group"].values.tolist() == ["all", "all", "colorectal", "all", "all", ""]
    assert targets["time"].sel(target="T3") == 365.0
    assert np.isnan(targets["time"].sel(target="T2"))


def test_the_percentile_is_the_mid_rank_and_counts_are_compared_as_counts():
    shares = np.array([24, 25, 25, 26]) / 52
    targets = tree.targets_dataset([RESPONSE], shares[:, None])
    assert targets["percentile"].item() == 0.5
    assert targets["lower"].item() == 24 / 52
    assert targets["median"].item() == 25 / 52


def test_not_reached_ranks_highest_and_undefined_is_left_out():
    values = np.array([400.0, 500.0, np.inf, np.nan])[:, None]
    targets = tree.targets_dataset([MEDIAN], values)
    assert (targets["n_not_reached"].item(), targets["n_undefined"].item()) == (1, 1)
    assert targets["percentile"].item() == pytest.approx(1 / 3)
    assert targets["upper"].item() == np.inf
    assert targets["upper_standard_error"].item() == np.inf


def test_a_target_nobody_can_compute_is_nan_throughout():
    targets = tree.targets_dataset([MEDIAN], np.full((5, 1), np.nan))
    for name in ("percentile", "median", "lower", "upper", "median_standard_error", "miss_probability"):
        assert np.isnan(targets[name].item()), name


def test_the_quantile_error_is_the_binomial_one_for_a_uniform_sample():
    # Order statistics of an even grid: the error of the median of n uniforms is 1/(2 sqrt(n)), up to a rank.
    n = 10_000
    targets = tree.targets_dataset([LANDMARK], ((np.arange(n) + 0.5) / n)[:, None])
    assert targets["median_standard_error"].item() == pytest.approx(0.005, abs=1 / n)
    assert targets["percentile_standard_error"].item() == pytest.approx(0.005, rel=1e-3)


def test_a_continuous_target_misses_five_times_in_a_hundred_a_certain_one_never():
    targets = tree.targets_dataset(ENTRIES, simulated(2000))
    assert targets["miss_probability"].sel(target="T2").item() == pytest.approx(0.05, abs=0.01)
    assert targets["miss_probability"].sel(target="T5.min").item() == 0.0


def test_simulated_values_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="expected"):
        tree.targets_dataset(ENTRIES, np.zeros((3, 2)))


def test_patients_tell_what_happened_from_what_was_seen():
    patients = histories.patients_dataset([study(0), study(2)])
    assert dict(patients.sizes) == {"replicate": 4, "patient": 3}
    assert patients["replicate"].values.tolist() == [0, 1, 2, 3]
    one = patients.isel(replicate=0)
    assert one["response_onset"].values[0] == 40.0
    assert one["response_seen"].values[0] == 56.0
    assert np.isnan(one["response_seen"].values[1:]).all()
    assert one["death_seen"].values[0] == 300.0
    assert one["administrations"].values.tolist() == [1, 1, 0]
    assert one["adverse_event_pain"].values.tolist() == [True, False, False]
    assert _meant(one["censoring"]) == ["death", "lost_to_follow_up", "data_cut"]
    assert _meant(one["cause_of_death"]) == ["disease", "none", "none"]
    assert _meant(one["response_outcome"]) == ["partial", "none", "none"]
    assert _meant(one["stratum"]) == ["colorectal", "stomach", "colorectal"]


def test_events_are_a_contiguous_ragged_array_with_sdtm_domains():
    events = histories.events_dataset([study(0), study(2)])
    assert events["row_size"].attrs["sample_dimension"] == "obs"
    assert events["row_size"].values.tolist() == [5, 2, 0] * 4
    assert events.sizes["obs"] == events["row_size"].sum()
    assert events["patient"].values.tolist() == [0, 1, 2] * 4
    assert events["replicate"].values.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert _meant(events["term"])[:5] == ["administration", "pain", "response", "death", "end_of_course"]
    assert _meant(events["domain"])[:5] == ["EX", "AE", "RS", "DD", "DS"]


def test_the_record_holds_no_path_time_or_host():
    config = {
        "seed": 7,
        "hydra": {"run": {"dir": "somewhere"}},
        "parameters": "/a/place/fit.yaml",
        "files": ["C:\\data\\x.nc", "paper.txt"],
        "rate": "0.05 / y",
        "printed": "~ 40 %",
    }
    facts = {"overrides": "parameters=/a/place/fit.yaml\ncourse.interval='14 d'"}
    made = provenance.record(config, seed=7, evidence={}, parameters={}, engine="reference", **facts)
    kept = {"seed": 7, "files": ["paper.txt"], "rate": "0.05 / y", "printed": "~ 40 %"}
    assert json.loads(made["config"]) == kept
    assert made["overrides"] == "course.interval='14 d'"
    assert made["parameter_uncertainty"] == "no parameter uncertainty: point values"
    assert not any("date" in key or "time" in key or "host" in key for key in made)
    assert made == provenance.record(config, seed=7, evidence={}, parameters={}, engine="reference", **facts)
    for package in ("numpy", "numba", "scipy", "simpy", "xarray", "python"):
        assert made[f"{package}_version"]


def test_the_configuration_comes_back_in_its_order():
    built = whole_tree()
    config = provenance.config_of(built)
    assert list(config["cohort"]["mix"]) == ["colorectal", "stomach"]
    assert provenance.config_of(built["targets"]) == config


def test_a_tree_without_a_record_cannot_be_rerun():
    with pytest.raises(ConfigError, match="run record"):
        provenance.config_of(xr.DataTree())


def _meant(codes):
    names = dict(zip(codes.attrs["flag_values"].tolist(), codes.attrs["flag_meanings"].split(), strict=True))
    return [names[code] for code in codes.values.tolist()]
