"""From a calibration to a run: files, `parameters=…`, draws that share luck. One cohort, calibrated once."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

import calibration
import simulator
from calibration.cli import main
from calibration.posterior.draws import allotted, posterior_draws
from simulator.configuration.library import shipped_folder
from simulator.errors import ConfigError
from simulator.experiment.preparation import prepare
from simulator.results.tree import STORED

COHORT = ["cohort=il2_hai_unresectable"]
RATE = "response.probability"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("calibrated") / "run"
    assert main([*COHORT, f"hydra.run.dir={made}"]) == 0
    return made


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The folders of two runs of one calibration that takes 100 draws."""
    above = tmp_path_factory.mktemp("quick")
    own = above / "own" / "calibration" / "quick.yaml"
    own.parent.mkdir(parents=True)
    priors = {RATE: {"beta": {"a": 2, "b": 2}}}
    own.write_text(yaml.safe_dump({"name": "quick", "parameters": priors, "search": {"draws": 100}}), encoding="utf-8")
    made = [above / "one", above / "two"]
    for run in made:
        arguments = ["calibration=quick", "--config-dir", str(own.parents[1]), f"hydra.run.dir={run}"]
        assert main([*COHORT, *arguments]) == 0
    return made


@pytest.fixture(scope="module")
def over_draws(folder: Path):
    return simulator.simulate([*COHORT, f"parameters={folder}", "parameters.draws=6", "study.replicates=30"])


def declared(folder: Path) -> dict:
    return yaml.safe_load((folder / "parameters.yaml").read_text(encoding="utf-8"))


def table(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "draws.csv").read_text(encoding="utf-8").splitlines()))


def refusal(*overrides: str) -> str:
    with pytest.raises(ConfigError) as refused:
        simulator.simulate([*COHORT, *overrides])
    return str(refused.value)


# ------------------------------------------------------------------------------------------------------- files


def test_the_same_calibration_leaves_the_same_bytes(quick):
    one, two = quick
    for name in ("calibration.nc", "parameters.yaml", "draws.csv", "parameters.png", "survival_fit.png", "targets.png"):
        assert (one / name).read_bytes() == (two / name).read_bytes()


def test_the_tree_has_the_groups_and_dimensions_of_arviz(folder):
    tree = simulator.open_results(folder)
    for group in ("posterior", "prior", "sample_stats", "log_likelihood"):
        node = tree[group].to_dataset()
        assert node.sizes["chain"] == 1
        assert all(variable.dims[:2] == ("chain", "draw") for variable in node.data_vars.values())
    assert tree["observed_data"]["reported"].sel(target="I04") == 19 / 25
    for node in tree.subtree:
        for each in node.to_dataset(inherit=False).variables.values():
            assert {"long_name", "comment" if each.attrs.get("comment") == STORED else "units"} <= set(each.attrs)
    assert tree["posterior"]["survival.median"].attrs["units"] == "d"
    # Beta(19.5, 6.5) has the mean 0.75; cut together with progression and onset it has less: a regression value, with
    # five standard errors of some 600 draws of standard deviation 0.08.
    assert float(tree["posterior"][RATE].mean()) == pytest.approx(0.722, abs=5 * 0.08 / np.sqrt(600))
    assert float(tree["prior"][RATE].mean()) == pytest.approx(0.5, abs=5 * 0.354 / np.sqrt(1000))


def test_draws_that_cannot_be_produced_are_replaced_and_said(folder):
    tree = simulator.open_results(folder)
    share = float(tree["readings"]["possible_share"].item())
    assert 0.5 < share < 0.8
    assert "of the posterior is infeasible and left out" in tree.attrs["truncation"]
    assert declared(folder)["truncation"] == tree.attrs["truncation"]
    factor = np.log(share / float(tree["readings"]["possible_prior_share"].item()))
    assert float(tree["readings"]["possible_log_factor"].item()) == pytest.approx(factor)
    # Every draw of the table can be produced: a run over draws leaves none out.
    many = simulator.simulate([*COHORT, f"parameters={folder}", "parameters.draws=200", "study.replicates=1"])
    assert many.attrs["draws_left_out"] == ""


def test_a_calibration_is_run_again_from_its_own_record(quick):
    tree = simulator.open_results(quick[0])
    draws = posterior_draws(calibration.rerun(quick[0]), tree["posterior"].sizes["draw"])
    for name, column in draws.values.items():
        assert np.array_equal(column, tree["posterior"][name].values[0])


def test_results_of_a_simulation_are_no_calibration(folder, tmp_path):
    path = tmp_path / "results.nc"
    from simulator.results.store import save

    save(simulator.simulate([*COHORT, "study.replicates=2"]), path)
    with pytest.raises(ConfigError, match=r"must be a calibration\.nc"):
        calibration.rerun(path)


def test_the_file_says_what_it_was_calibrated_on(folder):
    name = "il2_hai_unresectable"
    assert declared(folder)["calibrated_on"] == {"cohort": name, "evidence": name, "targets": {"I04": "76%"}}


def test_what_no_target_informs_keeps_its_prior_and_says_so(folder):
    content = declared(folder)
    assert content["response"]["probability"]["provenance"] == "calibrated"
    assert content["response"]["probability"]["source"] == "I04"
    ratio = content["response"]["hazard_ratio"]
    assert (ratio["value"], ratio["provenance"]) == (0.6, "borrowed")
    found = simulator.open_results(folder)["parameters"].to_dataset()
    for said, path in ((content["response"]["probability"], RATE), (ratio, "response.hazard_ratio")):
        row = found.sel(parameter=path)
        for name, when in (("prior", "prior"), ("interval", "posterior")):
            assert said[name] == pytest.approx([float(row[f"{when}_{end}"]) for end in ("lower", "upper")], rel=6e-3)
        assert said["contraction"] == pytest.approx(float(row["contraction"]), abs=5.1e-3)
    assert ratio["note"].startswith("assumption: no target informs it")
    assert content["survival"]["median"]["value"] == "484 d"
    assert content["survival"]["shape"] == {
        "value": 1.35, "provenance": "borrowed", "citation": "hepatic arterial infusion arms, Cochrane review"
    }  # fmt: skip
    # The published study had the calibrated response.
    assert content["reference"]["parameters"]["response"]["probability"] == content["response"]["probability"]["value"]


def test_a_refused_calibration_leaves_nothing_behind(tmp_path):
    own = tmp_path / "own" / "calibration" / "impossible.yaml"
    own.parent.mkdir(parents=True)
    priors = {RATE: {"uniform": {"low": 1e-9, "high": 1e-8}}}
    own.write_text(yaml.safe_dump({"name": "impossible", "parameters": priors}), encoding="utf-8")
    made = tmp_path / "above" / "run"
    arguments = [*COHORT, "calibration=impossible", "--config-dir", str(tmp_path / "own")]
    assert main([*arguments, f"hydra.run.dir={made}", "study.reading=no_such"]) == 2
    assert not made.parent.exists()
    made.mkdir(parents=True)
    (made / "mine").touch()
    assert main([*arguments, f"hydra.run.dir={made}"]) == 2
    assert [path.name for path in made.iterdir()] == ["mine"]


# -------------------------------------------------------------------------------------------------- point values


def test_point_values_of_a_folder_or_a_file_are_those_that_stand_there(folder):
    value = declared(folder)["response"]["probability"]["value"]
    for path in (folder, folder / "parameters.yaml"):
        tree = simulator.simulate([*COHORT, f"parameters={path}", "study.replicates=2"])
        assert f'"{RATE}":{{"value":{value},"provenance":"calibrated"' in tree.attrs["parameters"]
        assert tree.attrs["parameter_uncertainty"].startswith("no parameter uncertainty")
        assert "draw" not in tree["targets"].sizes


def test_what_is_set_by_hand_wins_over_the_file(folder):
    tree = simulator.simulate([*COHORT, f"parameters={folder}", f"parameters.{RATE}=0.5", "study.replicates=2"])
    assert f'"{RATE}":{{"value":0.5' in tree.attrs["parameters"]


# --------------------------------------------------------------------------------------------------------- draws


def test_a_run_over_draws_has_each_draw_as_if_it_were_run_alone(folder, over_draws):
    rows = table(folder)
    assert over_draws["targets"]["simulated"].dims == ("draw", "replicate", "target")
    for number in over_draws["targets"]["draw"].values[:2]:
        row = rows[int(number)]
        values = [f"parameters.{path}={value}" for path, value in row.items()]
        published = ("response.probability", "response.onset_median")  # of the published study, which draws set too
        values += [f"parameters.reference.parameters.{path}={row[path]}" for path in published]
        alone = simulator.simulate([*COHORT, "parameters=start", *values, "study.replicates=30"])
        ours = over_draws["targets"]["simulated"].sel(draw=number)
        assert np.array_equal(ours, alone["targets"]["simulated"], equal_nan=True)
        survival = over_draws["statistics"]["overall_survival"].sel(draw=number)
        assert np.array_equal(survival, alone["statistics"]["overall_survival"])


def test_more_draws_are_the_same_draws_and_others(folder, over_draws):
    more = simulator.simulate([*COHORT, f"parameters={folder}", "parameters.draws=8", "study.replicates=30"])
    same = more["targets"]["simulated"].sel(draw=over_draws["targets"]["draw"])
    assert np.array_equal(same, over_draws["targets"]["simulated"], equal_nan=True)


def test_a_run_over_draws_is_run_again_from_its_own_record(folder, over_draws, tmp_path):
    from simulator.results.store import save

    save(over_draws, tmp_path / "results.nc")
    again = simulator.rerun(tmp_path / "results.nc")
    assert again.identical(simulator.open_results(tmp_path / "results.nc"))


def test_threads_change_nothing(folder, over_draws, monkeypatch):
    monkeypatch.setenv("LOBULE_THREADS", "3")
    arguments = [*COHORT, f"parameters={folder}", "parameters.draws=6", "study.replicates=30"]
    assert simulator.simulate(arguments).identical(over_draws)


def test_spreads_are_apart_and_said(over_draws):
    target = over_draws["targets"].sel(target="I04")
    values = target["simulated"].values
    assert float(target["mean"]) == pytest.approx(values.mean())
    assert float(target["study_sd"]) ** 2 == pytest.approx(values.var(axis=1, ddof=1).mean())
    assert 0 < float(target["parameter_sd"]) < values.mean(axis=1).std(ddof=1)
    assert over_draws.attrs["parameter_uncertainty"].startswith("6 draws of the posterior")
    spread = over_draws["spread"].to_dataset()
    curve = over_draws["statistics"]["overall_survival"]
    assert np.allclose(spread["overall_survival"], curve.mean("draw"))
    assert np.allclose(spread["overall_survival_parameter_sd"], curve.std("draw", ddof=1))


def test_table_and_figure_show_the_spreads(over_draws):
    from simulator.views import figures, tables

    said = tables.plain(tables.targets_table(over_draws), width=100)
    assert "sampling ±" in said
    assert "parameters ±" in said
    assert "6 draws of the parameters, 30 simulated studies of 25 patients each" in said
    (legend,) = figures.survival(over_draws).legends
    assert any("95 % of draws" in text.get_text() for text in legend.get_texts())


def test_a_parameter_set_by_hand_has_no_draws(folder):
    over = [*COHORT, f"parameters={folder}", "parameters.draws=3", "study.replicates=5"]
    tree = simulator.simulate([*over, f"parameters.{RATE}=0.4", "parameters.response.hazard_ratio=1"])
    assert float(tree["targets"]["parameter_sd"].sel(target="I04")) == pytest.approx(0.0, abs=0.05)
    curves = tree["statistics"]["overall_survival"]
    assert not np.allclose(curves.isel(draw=0), curves.isel(draw=1))  # survival still has its draws


def test_a_draw_that_the_model_cannot_produce_is_left_out_and_named(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "run")
    path = tmp_path / "run" / "draws.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    column = lines[0].split(",").index(RATE)
    for number, rate in ((1, "0.999"), (2, "0.5"), (3, "0.6")):
        cells = lines[number].split(",")
        cells[column] = rate
        lines[number] = ",".join(cells)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    over = [*COHORT, f"parameters={tmp_path / 'run'}", "study.replicates=2"]
    tree = simulator.simulate([*over, "parameters.draws=2"])
    assert tree["targets"]["draw"].values.tolist() == [1, 2]
    assert tree.attrs["draws_left_out"] == "0"
    assert "cannot be the observed share" in tree.attrs["parameter_uncertainty"]


# ---------------------------------------------------------------------------------------------------- refusals


def test_bad_input_is_named(folder):
    path = f"parameters={folder}"
    assert "must be a whole number from 1" in refusal(path, "parameters.draws=0")
    assert "must be a whole number from 1" in refusal(path, "parameters.draws=2.5")
    assert "must be at most 1000" in refusal(path, "parameters.draws=2000")
    assert "are draws of a posterior: use parameters=posterior" in refusal("parameters=start", "parameters.draws=5")
    assert "output.patients" in refusal(path, "parameters.draws=2", "output.patients=true")
    own = Path(__file__).parents[2] / "packaging" / "cohorts" / "registry"
    with pytest.raises(ConfigError, match="harbour has not been calibrated; use start"):
        simulator.simulate(["cohort=harbour", "parameters=posterior"], config_dir=own)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "must be a header"),
        ("a,a\n1,2\n", "must be a header of different names"),
        (f"{RATE}\nx\n", f"draws.csv:2: {RATE} = x: must be a number"),
        (f"{RATE}\n0.5,1\n", "draws.csv:2: has 2 values, and the header 1 names"),
        ("response.probabilty\n0.5\n", "parameters.response.probabilty: is a column of the draws, and no parameter"),
        (f"{RATE}\n0.99999\n", "the model can produce only 0 of 1 draws"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused(folder, tmp_path, content, said):
    shutil.copytree(folder, tmp_path / "run")
    (tmp_path / "run" / "draws.csv").write_text(content, encoding="utf-8")
    assert said in refusal(f"parameters={tmp_path / 'run'}", "parameters.draws=1", "study.replicates=2")


def test_a_table_that_is_not_there_or_lies_elsewhere_is_refused(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "run")
    (tmp_path / "run" / "draws.csv").unlink()
    path = tmp_path / "run" / "parameters.yaml"
    assert "draws.csv: cannot be read: No such file" in refusal(f"parameters={path}", "parameters.draws=1")
    path.write_text(path.read_text().replace("posterior: draws.csv", "posterior: ../draws.csv"), encoding="utf-8")
    assert "must be the name of a file in the same folder" in refusal(f"parameters={path}", "parameters.draws=1")


def test_the_first_draws_have_the_readings_in_proportion():
    probabilities = [0.66, 0.34]
    taken = allotted(probabilities, 1000)
    for n in range(1, 1000):
        shares = np.bincount(taken[:n], minlength=2) / n
        assert np.all(np.abs(shares - probabilities) <= 1 / n + 1e-12)


def calibrated_with(folder: Path, more: dict) -> Path:
    """Write the shipped point values of a cohort with further keys, as the parameters `own`."""
    (folder / "parameters").mkdir()
    shipped = (shipped_folder() / "parameters" / "pj203_mmc_calibrated.yaml").read_text(encoding="utf-8")
    text = yaml.safe_dump({**yaml.safe_load(shipped), **more}, sort_keys=False)
    (folder / "parameters" / "own.yaml").write_text(text, encoding="utf-8")
    return folder


def test_a_mapping_in_the_place_of_a_table_of_draws_is_refused_by_its_key(tmp_path):
    own = calibrated_with(tmp_path, {"posterior": {"gamma": {"mean": 1, "sd": 1}}})
    with pytest.raises(ConfigError, match=r"parameters\.posterior"):
        prepare(["cohort=pj203_mmc", "parameters=own"], config_dir=own)


def test_a_parameter_called_value_beside_draws_is_one_more_parameter(tmp_path):
    own = calibrated_with(tmp_path, {"value": {}})
    plain = prepare(["cohort=pj203_mmc"]).experiment
    found = prepare(["cohort=pj203_mmc", "parameters=own"], config_dir=own).experiment
    assert found.parameters.keys() == plain.parameters.keys()
