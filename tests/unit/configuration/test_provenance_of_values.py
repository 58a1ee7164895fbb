"""Provenance belongs to a value: whoever changes the value takes source and interval away, by every route (case 02)."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from simulator.configuration.layers import merged
from simulator.experiment.batches import declare_many
from simulator.experiment.preparation import prepare

SOURCED = Path(__file__).parents[2] / "cases" / "02-provenance-kept"
BY_HAND = ("assumed", "set by the user", None, None)


def declared(*texts: str, folder: Path = SOURCED, cohort: str = "sourced"):
    return prepare([f"cohort={cohort}", *texts], config_dir=folder).experiment


def said(experiment, path: str) -> tuple:
    leaf = experiment.parameters[path]
    return leaf.provenance, leaf.note, leaf.source, leaf.interval


@pytest.mark.parametrize("text", [
    "parameters.median=70", "parameters.median='70 d'", "parameters.median.value='70 d'",
    "parameters.median={value: 70 d}",
])  # fmt: skip
def test_a_value_set_by_hand_has_no_source_of_the_old_one(text):
    assert said(declared(text), "median") == BY_HAND


@pytest.mark.parametrize("text", [
    "parameters.other.value.a='70 d'", "parameters.other={value: {a: 70 d}}", "parameters.other.value={a: 70 d}",
])  # fmt: skip
def test_a_mapping_changed_in_one_stratum_says_whose_each_value_is(text):
    experiment = declared(text)
    assert said(experiment, "other.a") == BY_HAND
    assert said(experiment, "other.b") == ("reported", None, "table 3 of an invented paper", None)
    assert (experiment.parameters["other.a"].value, experiment.parameters["other.b"].value) == ("70 d", "600 d")


def test_a_mapping_changed_in_every_stratum_is_the_users():
    assert said(declared("parameters.other.value.a=70", "parameters.other.value.b=80"), "other") == BY_HAND


def test_what_is_set_by_hand_beside_the_value_stays_with_it():
    texts = ("parameters.median.provenance=derived", "parameters.median.value='70 d'", "parameters.median.source=mine")
    assert declared(*texts).parameters["median"].source == "mine"
    assert declared(*texts).parameters["median"].provenance == "derived"
    assert declared(*texts).parameters["median"].interval is None


def test_what_is_said_of_an_unchanged_value_can_be_added_to():
    leaf = declared("+parameters.median.note=checked").parameters["median"]
    assert (leaf.note, leaf.source) == ("checked", "table 2 of an invented paper")


def test_a_value_changed_in_a_file_is_that_files(tmp_path):
    for group in ("cohort", "parameters", "model", "course", "study", "evidence"):
        (tmp_path / group).mkdir()
        (tmp_path / group / "sourced.yaml").write_text(
            (SOURCED / group / "sourced.yaml").read_text(encoding="utf-8"), encoding="utf-8"
        )
    cohort = {"defaults": ["sourced", "_self_", {"override /parameters": "mine"}]}
    own = {
        "defaults": ["sourced", "_self_"],
        "median": {"value": "70 d"},
        "other": {"value": {"a": "70 d", "b": "600 d"}},
    }
    (tmp_path / "cohort/mine.yaml").write_text(yaml.safe_dump(cohort), encoding="utf-8")
    (tmp_path / "parameters/mine.yaml").write_text(yaml.safe_dump(own), encoding="utf-8")
    experiment = declared(folder=tmp_path, cohort="mine")
    assert said(experiment, "median") == ("assumed", "set in parameters/mine.yaml", None, None)
    assert said(experiment, "other.a") == ("assumed", "set in parameters/mine.yaml", None, None)
    assert said(experiment, "other.b")[2] == "table 3 of an invented paper"  # the same value again


def test_a_reading_that_sets_a_value_takes_the_old_source_away():
    old = {"m": {"value": 1, "provenance": "reported", "source": "table 2"}}
    old = merged(old, {"m": {"value": 2}}, "of a reading", key="parameters")
    assert old["m"] == {"value": 2, "note": "of a reading"}
    old = merged(old, {"m": {"value": 3, "provenance": "read", "note": "other"}}, "of a reading", key="parameters")
    assert old["m"] == {"value": 3, "provenance": "read", "note": "other"}


def test_a_stratum_set_by_hand_stays_where_a_reading_sets_all():
    old = {"m": {"value": {"a": 7, "b": 2}, "provenance": "reported"}}
    patch = {"m": {"value": {"a": 3, "b": 4}}}
    new = merged(old, patch, "of a reading", key="parameters", closer={"parameters.m.value.a"})
    assert new["m"]["value"] == {"a": 7, "b": 4}


def test_a_parameter_varied_over_sets_keeps_no_source():
    many = declare_many(declared(), {"median": ["50 d", "70 d"]})
    assert said(many, "median") == ("assumed", "one value a parameter set", None, None)
    assert said(many, "other")[2] == "table 3 of an invented paper"
