"""Whose posterior a run takes is named, and a target is called fitted only where its parameters were fitted to it."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import yaml

import simulator
from simulator.cli.commands import main
from simulator.configuration.draws import read_table
from simulator.configuration.library import shipped_folder
from simulator.errors import ConfigError, DeclarationWarning
from simulator.experiment.explain import explain
from simulator.experiment.preparation import prepare
from simulator.views.report import page
from simulator.views.tables import plain, targets_table

BORROWED = Path(__file__).parents[2] / "cases" / "01-reading-overwrites-mix"
SAID = "borrowed for borrowed, calibrated for the cohort pj203_mmc on the evidence pj203_mmc"
SMALL = ["study.replicates=2"]


def written(folder: Path, group: str, name: str, content: dict) -> None:
    (folder / group).mkdir(exist_ok=True)
    (folder / group / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


@pytest.fixture
def heir(tmp_path: Path) -> Path:
    """A cohort whose evidence has the entries of PJ-203, under a name of its own."""
    written(tmp_path, "evidence", "heir", {"defaults": ["pj203_mmc", "_self_"], "name": "heir"})
    cohort = {"defaults": ["pj203_mmc", "_self_", {"override /evidence": "heir"}], "name": "heir"}
    written(tmp_path, "cohort", "heir", cohort)
    return tmp_path


def with_a_target(folder: Path, **changes: object) -> Path:
    """Case 01 with its target as one that a calibration of this cohort would fit."""
    evidence = yaml.safe_load((BORROWED / "evidence/borrowed.yaml").read_text(encoding="utf-8"))
    evidence["entries"][0] |= {"role": "fitted", **changes}
    written(folder, "evidence", "borrowed", evidence)
    cohort = yaml.safe_load((BORROWED / "cohort/borrowed.yaml").read_text(encoding="utf-8"))
    written(folder, "cohort", "borrowed", cohort)
    return folder


def declared(*texts: str, folder: Path | None = None):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeclarationWarning)
        return prepare(list(texts), config_dir=folder).experiment


def roles(*texts: str, folder: Path | None = None) -> dict[str, str]:
    return {entry.id: entry.role for entry in declared(*texts, folder=folder).targets}


def simulated(*texts: str, folder: Path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeclarationWarning)
        return simulator.simulate(["cohort=borrowed", *SMALL, *texts], config_dir=folder)


def test_targets_are_fitted_where_the_posterior_was_fitted_to_them():
    own = roles("cohort=pj203_mmc")
    assert own == {e.id: e.role for e in declared("cohort=pj203_mmc").selection.targets}
    assert "fitted" in own.values()
    assert declared("cohort=pj203_mmc").borrowed == ""


def test_an_inherited_target_that_another_calibration_fitted_is_borrowed(heir):
    own, inherited = roles("cohort=pj203_mmc"), roles("cohort=heir", folder=heir)
    assert inherited == {id_: "borrowed" if role == "fitted" else role for id_, role in own.items()}


def test_a_target_that_nobody_fitted_is_not_called_fitted(tmp_path):
    assert roles("cohort=borrowed", folder=with_a_target(tmp_path)) == {"W1": "not_fitted"}


def test_an_equal_id_makes_no_fitted_target_of_another_paper(tmp_path):
    # PJ-203 fits D25, printed as 277 days
    assert roles("cohort=borrowed", folder=with_a_target(tmp_path, id="D25")) == {"D25": "not_fitted"}


def test_starting_values_are_nobodys_posterior():
    assert declared("cohort=borrowed", "parameters=start", folder=BORROWED).borrowed == ""


@pytest.mark.parametrize("parameters", ["parameters=calibrated", "parameters.draw=3", "parameters.draws=3"])
def test_record_table_page_and_explain_name_whose_posterior_it_is(tmp_path, parameters):
    tree = simulated(parameters, folder=with_a_target(tmp_path))
    assert tree.attrs["parameter_uncertainty"].endswith(SAID)
    assert tree["targets"]["role"].values.tolist() == ["not_fitted"]
    assert '"role":"not_fitted"' in tree.attrs["evidence"]
    table = plain(targets_table(tree), width=400)
    assert SAID in table
    assert "not fitted" in table
    assert "can hardly miss" not in table
    assert SAID in page(tree)
    assert SAID in explain(declared("cohort=borrowed", parameters, folder=tmp_path))


def test_a_sweep_names_whose_posterior_it_is(tmp_path, capsys):
    folder = with_a_target(tmp_path)
    words = ["cohort=borrowed", *SMALL, "course.interval=21,42", f"hydra.sweep.dir={tmp_path / 'out'}"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeclarationWarning)
        assert main(["--multirun", "--config-dir", str(folder), *words]) == 0
    assert SAID in " ".join(capsys.readouterr().out.split())
    assert SAID in (tmp_path / "out/report.html").read_text(encoding="utf-8")
    with simulator.open_results(tmp_path / "out") as tree:
        assert tree["targets"]["role"].values.tolist() == ["not_fitted"]


def test_the_value_of_one_draw_says_which_draw_of_whose_posterior_it_is():
    experiment = declared("cohort=borrowed", "parameters.draw=3", folder=BORROWED)
    drawn = experiment.parameters["survival.median.colorectal"]
    assert drawn.note == "draw 3 of the posterior of pj203_mmc; interval and source are the posterior's"
    assert drawn.provenance == "calibrated"
    said = experiment.parameters["response.hazard_ratio"].note
    assert said.startswith("draw 3 of the posterior of pj203_mmc; interval and source are the posterior's; assumption")
    assert "draw" not in (experiment.parameters["adverse_events.frailty"].note or "")


def test_a_value_set_by_hand_is_no_draw():
    made = declared("cohort=pj203_mmc", "parameters.draw=3", "parameters.survival.median.colorectal=400 d")
    assert made.parameters["survival.median.colorectal"].note == "set by the user"


def test_a_draw_outside_the_interval_of_its_posterior_is_no_doubt():
    # the ratio is an assumption, whose value would be doubted; of 1,000 draws about 50 lie outside the central 95 %
    name = "response.hazard_ratio"
    lower, upper = declared("cohort=pj203_mmc").parameters[name].interval
    text = (shipped_folder() / "parameters/pj203_mmc_calibrated.csv").read_text(encoding="utf-8")
    number = next(n for n, value in enumerate(read_table(text, "draws")[name]) if not lower <= value <= upper)
    experiment = declared("cohort=pj203_mmc", f"parameters.draw={number}")
    assert not lower <= experiment.parameters[name].value <= upper
    assert not [said for said in experiment.warnings if name in said]


@pytest.mark.parametrize("given", ["pj203_mmc", {"cohort": "pj203_mmc"}, {"cohort": 1, "evidence": "a", "targets": {}}])
@pytest.mark.parametrize("more", ["seed=1", "parameters.draw=3"])
def test_what_does_not_say_whose_posterior_it_is_is_refused(tmp_path, given, more):
    for name in ("pj203_mmc_calibrated.yaml", "pj203_mmc_calibrated.csv"):
        (tmp_path / name).write_bytes((shipped_folder() / "parameters" / name).read_bytes())
    content = yaml.safe_load((tmp_path / "pj203_mmc_calibrated.yaml").read_text(encoding="utf-8"))
    file = tmp_path / "parameters.yaml"
    file.write_text(yaml.safe_dump(content | {"calibrated_on": given}), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"parameters\.calibrated_on = .*names cohort and evidence"):
        declared(f"parameters={file}", more)
