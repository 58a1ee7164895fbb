"""What was declared closest to the run wins: the command line, then readings of the evidence, then files.

Each group in turn is set by a reading and by a file closer or farther than it; case 01 is run.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import yaml

import simulator
from simulator.errors import ConfigError, DeclarationWarning
from simulator.experiment.explain import explain
from simulator.experiment.preparation import prepare

CASES = Path(__file__).parents[2] / "cases"
BORROWED = CASES / "01-reading-overwrites-mix"
# group → what a reading sets, what a file sets, what is in force
GROUPS = {
    "cohort": ({"mix": {"colorectal": 10, "stomach": 70, "other": 1}}, {"mix": {"colorectal": 80}}, ("mix", "stomach")),
    "study": ({"assessment_interval": 10}, {"assessment_interval": 33}, ("assessment_interval",)),
    "course": ({"interval": 10}, {"interval": 33}, ("interval",)),
    "parameters": (
        {"response": {"hazard_ratio": 0.5}},
        {"response": {"hazard_ratio": 0.9}},
        ("response", "hazard_ratio"),
    ),
}


def written(folder: Path, name: str, content: dict) -> None:
    path = folder / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def with_reading(folder: Path, patch: dict, *, closer: tuple[str, dict] | None, own: bool) -> None:
    """Write a cohort `mine` on PJ-203, with a reading of its own evidence, or of evidence that this builds on."""
    readings = {"more": {"question": "?", "default": "other_way", "alternatives": {
        "other_way": {"note": "invented", **patch}}}}  # fmt: skip
    written(folder, "evidence/parent", {"defaults": ["pj203_mmc", "_self_"], "readings": readings})
    written(folder, "evidence/mine", {"defaults": ["parent", "_self_"], **({"readings": readings} if own else {})})
    defaults: list = ["pj203_mmc", "_self_", {"override /evidence": "mine"}]
    cohort: dict = {}
    if closer is not None:
        group, content = closer
        if group == "cohort":
            cohort = content
        else:
            written(folder, f"{group}/mine", {"defaults": [_file_of(group), "_self_"], **content})
            defaults.append({f"override /{group}": "mine"})
    written(folder, "cohort/mine", {"defaults": defaults, **cohort})


def _file_of(group: str) -> str:
    return "pj203_mmc_calibrated" if group == "parameters" else "pj203_mmc"


def declared(folder: Path, *texts: str):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeclarationWarning)
        return prepare(["cohort=mine", *texts], config_dir=folder).experiment


def in_force(experiment, group: str, path: tuple[str, ...]) -> float:
    if group == "parameters":
        return experiment.parameters[".".join(path)].value
    if group == "cohort":
        return float(experiment.tables.patients.share[0][1])  # of the stratum stomach
    return getattr(getattr(experiment, group), path[0])


@pytest.mark.parametrize("group", GROUPS)
def test_a_reading_of_own_evidence_wins_over_own_files(tmp_path, group):
    by_reading, by_file, path = GROUPS[group]
    with_reading(tmp_path, {group: by_reading}, closer=(group, by_file), own=True)
    experiment = declared(tmp_path)
    expected = {"cohort": 70 / 81, "study": 10, "course": 10, "parameters": 0.5}[group]
    assert in_force(experiment, group, path) == pytest.approx(expected)
    assert not experiment.not_applied


@pytest.mark.parametrize("group", GROUPS)
def test_a_closer_file_wins_over_an_inherited_reading(tmp_path, group):
    by_reading, by_file, path = GROUPS[group]
    with_reading(tmp_path, {group: by_reading}, closer=(group, by_file), own=False)
    experiment = declared(tmp_path)
    expected = {"cohort": 17 / (80 + 17 + 15), "study": 33, "course": 33, "parameters": 0.9}[group]
    assert in_force(experiment, group, path) == pytest.approx(expected)
    assert f"{group}/mine.yaml" in experiment.not_applied["other_way"]


@pytest.mark.parametrize("group", GROUPS)
def test_an_inherited_reading_named_on_the_command_line_wins(tmp_path, group):
    by_reading, by_file, path = GROUPS[group]
    with_reading(tmp_path, {group: by_reading}, closer=(group, by_file), own=False)
    experiment = declared(tmp_path, "study.reading=other_way")
    expected = {"cohort": 70 / 81, "study": 10, "course": 10, "parameters": 0.5}[group]
    assert in_force(experiment, group, path) == pytest.approx(expected)


@pytest.mark.parametrize("group", ["study", "course", "parameters"])
def test_the_command_line_wins_over_a_reading_of_own_evidence(tmp_path, group):
    by_reading, _, path = GROUPS[group]
    with_reading(tmp_path, {group: by_reading}, closer=None, own=True)
    assert in_force(declared(tmp_path, f"{group}.{'.'.join(path)}=0.75"), group, path) == 0.75


def test_a_reading_that_only_the_draws_know_changes_nothing(tmp_path):
    written(
        tmp_path,
        "evidence/bare",
        {
            "name": "bare",
            "title": "Invented",
            "sources": [{"file": "invented.txt", "citation": "Invented"}],
            "entries": [],
        },
    )
    written(tmp_path, "cohort/mine", {"defaults": ["pj203_mmc", "_self_", {"override /evidence": "bare"}]})
    experiment = declared(tmp_path, "parameters=posterior", "parameters.draws=20")
    assert set(experiment.not_applied) == {"split_49_17_15", "split_51_17_13"}
    assert "has no such reading" in experiment.not_applied["split_51_17_13"]


def test_a_value_of_a_closer_file_is_not_drawn(tmp_path):
    from simulator.configuration.draws import designs

    written(
        tmp_path,
        "parameters/mine",
        {"defaults": ["pj203_mmc_calibrated", "_self_"], "survival": {"median": {"colorectal": "500 d"}}},
    )
    written(tmp_path, "cohort/mine", {"defaults": ["pj203_mmc", "_self_", {"override /parameters": "mine"}]})
    experiment = declared(tmp_path, "parameters=posterior", "parameters.draws=5")
    for design in designs(experiment.config, experiment.overrides):
        assert set(design.values["survival.median.colorectal"]) == {"500 d"}
        assert len(set(design.values["survival.median.stomach"])) > 1
    assert any("parameters/mine.yaml" in messages for messages in experiment.warnings)


# ---------------------------------------------------------------------------------------------------- case 01


def simulated(*texts: str):
    settings = ["parameters=posterior", "parameters.draws=20", "study.replicates=20"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeclarationWarning)
        return simulator.simulate(["cohort=borrowed", *settings, *texts], config_dir=BORROWED)


@pytest.fixture(scope="module")
def case_01():
    return simulated()


def test_every_draw_simulates_the_mix_of_the_cohort_at_hand(case_01):
    # the same run with the same mix on the command line, which wins over every reading
    by_hand = simulated("cohort.mix={colorectal: 1, stomach: 0, other: 0}")
    same = case_01["targets"]["simulated"].values
    assert same.shape == (20, 20, 1)
    np.testing.assert_array_equal(same, by_hand["targets"]["simulated"].values)


def test_the_record_and_the_warning_name_the_reading_left_out(case_01):
    assert "split_51_17_13" in case_01.attrs["evidence"]
    with pytest.warns(DeclarationWarning, match=r"split_51_17_13 is not applied: cohort/borrowed\.yaml"):
        prepare(["cohort=borrowed", "parameters=posterior", "parameters.draws=20"], config_dir=BORROWED)


def test_one_draw_takes_no_reading_that_the_cohort_overrules():
    with pytest.warns(DeclarationWarning, match="is not applied"):
        made = prepare(["cohort=borrowed", "parameters=posterior", "parameters.draw=1"], config_dir=BORROWED)
    assert made.experiment.tables.patients.share[0].tolist() == [1.0, 0.0, 0.0]


def test_explain_says_the_mix_that_is_run(case_01):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeclarationWarning)
        said = explain(prepare(["cohort=borrowed", "parameters=posterior"], config_dir=BORROWED).experiment)
    assert "Patients   21 a study" in said
    assert "Strata     colorectal 100.0%, stomach 0.0%, other 0.0%" in said
    simulated_patients = case_01["statistics"]["n_patients"].mean("draw") / 20  # of 20 studies
    of = dict(zip(case_01["statistics"]["group"].values, simulated_patients.values, strict=True))
    assert (of["all"], of["colorectal"], of["stomach"], of["other"]) == (21, 21, 0, 0)


# ---------------------------------------------------------------------------------------------------- aliases


def test_an_alias_is_refused_with_file_line_and_key(tmp_path):
    written(tmp_path, "cohort/mine", {"defaults": ["pj203_mmc", "_self_", {"override /study": "mine"}]})
    (tmp_path / "study").mkdir()
    (tmp_path / "study/mine.yaml").write_text("defaults: [pj203_mmc, _self_]\ndata_cut: *cut\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"study/mine\.yaml:2: data_cut = \*cut: .*aliases"):
        prepare(["cohort=mine"], config_dir=tmp_path)


# -------------------------------------------------------------------------------------------- size of the study


def of_size(folder: Path, n: int, where: dict | None = None, **cohort) -> None:
    entry = {
        "id": "S1", "name": "responses", "printed": "28 of 80", "value": 28, "unit": "patients", "numerator": 28,
        "denominator": 80, "population": "all treated", "kind": "statistic", "provenance": "reported",
        "source": {"file": "invented.txt", "locator": "1"}, "role": "held_out",
        "statistic": {"estimator": "proportion", "variable": "response", **({"where": where} if where else {})},
    }  # fmt: skip
    sources = [{"file": "invented.txt", "citation": "Invented"}]
    written(folder, "evidence/sized", {"name": "sized", "title": "Invented", "sources": sources, "entries": [entry]})
    defaults = ["pj203_mmc", "_self_", {"override /evidence": "sized"}]
    written(folder, "cohort/mine", {"defaults": defaults, "n_patients": n, **cohort})


def test_a_study_of_another_size_than_the_evidence_is_shown(tmp_path):
    of_size(tmp_path, 60)
    with pytest.warns(DeclarationWarning, match=r"80 treated in the evidence, 60 of cohort\.n_patients = 60"):
        prepare(["cohort=mine"], config_dir=tmp_path)


@pytest.mark.parametrize(
    ("n_in_arm", "said"),
    [(60, "80 treated in arm A in the evidence, 60 of cohort.n_patients = 140 simulated (S1)"), (80, None)],
)
def test_the_size_of_an_arm_is_held_against_its_evidence(tmp_path, n_in_arm, said):
    arms = {"A": {"n_patients": n_in_arm}, "B": {"n_patients": 80, "reference": True}}
    of_size(tmp_path, n_in_arm + 80, {"arm": "A"}, arms=arms)
    assert declared(tmp_path).size == (f"the size of the study is not the published one: {said}" if said else "")


@pytest.mark.parametrize(
    ("colorectal", "said"),
    [
        (40, "80 treated in stratum colorectal in the evidence, 40 of cohort.n_patients = 100 simulated (S1)"),
        (80, None),
    ],
)
def test_the_size_of_a_stratum_is_held_against_its_evidence(tmp_path, colorectal, said):
    mix = {"colorectal": colorectal, "stomach": 100 - colorectal, "other": 0}
    of_size(tmp_path, 100, {"stratum": "colorectal"}, mix=mix)
    assert declared(tmp_path).size == (f"the size of the study is not the published one: {said}" if said else "")


def test_a_size_set_by_hand_is_shown_without_a_warning(tmp_path):
    of_size(tmp_path, 80)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeclarationWarning)
        assert not prepare(["cohort=mine"], config_dir=tmp_path).experiment.size
        made = prepare(["cohort=mine", "cohort.n_patients=60"], config_dir=tmp_path).experiment
    assert "80 treated in the evidence" in made.size
