"""Figures as journals print them, and contradictions between printed figures. Expected values are read by a person."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from simulator.configuration.values import Problems, outside_interval, parameter_leaves
from simulator.errors import ConfigError
from simulator.evidence.entries import EvidenceEntry
from simulator.evidence.evidence import load
from simulator.evidence.printed import figures

CASES = Path(__file__).parents[2] / "cases"
HAZARD_RATIO = {"estimator": "hazard_ratio", "variable": "survival", "where": {"arm": "a"}, "against": {"arm": "b"}}
LOG_RANK = {**HAZARD_RATIO, "estimator": "log_rank_p"}
MEDIAN = {"estimator": "kaplan_meier_median", "variable": "survival"}
THREE_MONTHS = {"estimator": "kaplan_meier_landmark", "variable": "survival", "time": "3 mo"}
RESPONSE = {"estimator": "proportion", "variable": "response"}


def entry(
    id_: str, printed: str, value: float | None, unit: str, statistic: dict[str, Any], **more: Any
) -> dict[str, Any]:
    return {
        "id": id_, "name": id_, "printed": printed, "unit": unit, "population": "all", "kind": "statistic",
        "source": {"file": "t", "locator": "l"}, "provenance": "reported", "role": "held_out", "statistic": statistic,
        "value": value, **more,
    }  # fmt: skip


def file(*entries: dict[str, Any]) -> dict[str, Any]:
    sources = [{"file": "t", "citation": "c"}]
    return {"name": "n", "title": "t", "sources": sources, "entries": copy.deepcopy(list(entries))}


def refused(*entries: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        load(file(*entries))
    return str(caught.value)


@pytest.mark.parametrize(
    ("printed", "value", "decimals"),
    [
        ("0·74", 0.74, 2),
        ("0\u221974", 0.74, 2),
        ("0\u22c574", 0.74, 2),
        (".74", 0.74, 2),
        ("·74", 0.74, 2),
        ("P < .001", 0.001, 3),
        ("16,5 Monate", 16.5, 1),
        ("1,234", 1234, 0),
        ("1,234", 1.234, 3),
        ("1.234,5", 1234.5, 1),
        ("1,234.5", 1234.5, 1),
        ("1 234 days", 1234, 0),
        ("1\u2009234", 1234, 0),
        ("1\u00a0234\u00a0567", 1234567, 0),
        ("1\u202f234,5", 1234.5, 1),
        ("1'234", 1234, 0),
        ("7½ months", 7.5, 0),
        ("½", 0.5, 0),
        ("2¾", 2.75, 0),
        ("7 1/2", 7.5, 0),
        ("7-1/2", 7.5, 0),
        ("21/60", 21, 0),
        ("\u22123.2%", -3.2, 1),
        ("80–99%", 99, 0),
        ("34 per cent", 34, 0),
        ("2.1 × 10^-3", 0.0021, 4),
        ("2.1×10⁻³", 0.0021, 4),
        ("7·10^-3", 0.007, 3),
        ("1.4 × 10(6)", 1.4e6, -5),
        ("1e-3", 0.001, 3),
    ],
)
def test_a_figure_is_read_as_it_is_printed(printed: str, value: float, decimals: int) -> None:
    assert [f.decimals for f in figures(printed) if f.prints(value)] == [decimals]


@pytest.mark.parametrize(
    ("printed", "value"),
    [("16,5 months", 16), ("0·74", 74), ("95% CI 80-99%", 95), ("CI95 80-99", 95), ("1\u2009234", 234), ("7½", 7),
     ("21/60", 0.35), ("\u22123.2", 3.2), ("7 × 10^5", 7), ("IL2", 2)],
)  # fmt: skip
def test_a_piece_of_a_figure_or_the_level_of_an_interval_is_no_figure(printed: str, value: float) -> None:
    assert not any(f.prints(value) for f in figures(printed))


@pytest.mark.parametrize("printed", ["9" * 5000, "1/" + "9" * 5000, "2 × 10^" + "9" * 5000, "1e9999", "1/0", "½½"])
def test_no_text_of_digits_is_too_long_or_too_large_to_read(printed: str) -> None:
    assert not any(f.prints(2.0) for f in figures(printed))


def test_the_forms_of_case_06_are_accepted_with_their_precision() -> None:
    given: Any = OmegaConf.to_container(OmegaConf.load(CASES / "06-printed-forms" / "evidence" / "typography.yaml"))
    decimals = {each.id: each.decimals for each in load(given).entries}
    assert decimals == {"P1": 2, "P2": 1, "P3": 2, "P4": 3, "P5": 1, "P6": 0, "P7": 0}


def test_the_figure_with_the_unit_of_the_entry_gives_the_precision() -> None:
    # 7.0 months is 6.95 to 7.05: half a tenth of 30.4375 days.
    made = EvidenceEntry.model_validate(entry("A", "7 patients; 7.0 months", 7, "mo", MEDIAN))
    assert made.half_width == pytest.approx(0.05 * 30.4375)


ALIVE = entry("A", "97% at 3 months", 97, "%", THREE_MONTHS)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([ALIVE, entry("B", "96%", 96, "%", THREE_MONTHS)], "A and B are one point of one curve, with one value"),
        ([entry("A", "95% CI 80-99%", 95, "%", THREE_MONTHS)], "95 does not stand in"),
        ([entry("A", "7.4 to 11 months", 7.4, "mo", MEDIAN, interval=[7.4, 11])], "not the end of a range"),
        ([entry("A", "between 7.4 and 11 months", 11, "mo", MEDIAN)], "not the end of a range"),
        ([entry("A", "7 or 7.0", 7, "mo", MEDIAN)], "prints 7 with 0, 1 decimals"),
        ([entry("A", "14 weeks", 14, "mo", MEDIAN)], "14 is printed in wk, the unit is mo"),
        ([entry("A", "1%", 1, "1", THREE_MONTHS)], "1 is printed in %, the unit is 1"),
        (
            [
                entry("A", "14.2 months", 14.2, "mo", MEDIAN),
                entry("B", "15.0", 15.0, "mo", {**MEDIAN, "confidence": {"end": "lower"}}),
            ],
            "B is not above A",
        ),
        (
            [
                entry("A", "12", 12, "administrations", {"estimator": "median", "variable": "administrations"}),
                entry("B", "11", 11, "administrations", {"estimator": "maximum", "variable": "administrations"}),
            ],
            "A is not above B",
        ),
        (
            [
                entry("A", "50%", 50, "%", RESPONSE, numerator=5, denominator=10),
                entry("B", "6", 6, "patients", {**RESPONSE, "where": {"ever": "x"}}, numerator=6, denominator=9),
            ],
            "counts of response in parts go into that of all",
        ),
    ],
)  # fmt: skip
def test_a_contradiction_between_printed_figures_is_refused(entries: list[dict[str, Any]], said: str) -> None:
    assert said in refused(*entries)


@pytest.mark.parametrize(
    "wrong",
    [
        [ALIVE, entry("B", "96%", 96, "%", THREE_MONTHS)],
        [entry("A", "95% CI 80-99%", 95, "%", THREE_MONTHS)],
        [entry("A", "7.4 to 11 months", 7.4, "mo", MEDIAN, interval=[7.4, 11])],
        [entry("A", "7 or 7.0", 7, "mo", MEDIAN)],
        [entry("A", "14 weeks", 14, "mo", MEDIAN)],
    ],
)
def test_a_refused_text_names_the_key_that_says_what_is_meant(wrong: list[dict[str, Any]]) -> None:
    assert "`normalised`" in refused(*wrong)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([entry("A", "0.34", 0.34, "%", THREE_MONTHS)], ["no percent sign"]),
        ([entry("A", "34", 34, "%", THREE_MONTHS, normalised="34 %")], []),
        ([entry("A", "14 mo", 14, "mo", MEDIAN), entry("B", "16 mo", 16, "mo", MEDIAN)], ["the statistic of A"]),
        (
            [entry("A", "0.5", 0.5, "1", HAZARD_RATIO, interval=[0.4, 0.7]), entry("B", "0.4", 0.4, "1", LOG_RANK)],
            ["say opposite things"],
        ),
        (
            [
                entry("A", "0.9", 0.9, "1", HAZARD_RATIO, interval=[0.6, 1.3]),
                entry("B", "p < .001", 0.001, "1", LOG_RANK, bound="below"),
            ],
            ["say opposite things"],
        ),
        ([entry("A", "0.5", 0.5, "1", HAZARD_RATIO, interval=[0.4, 0.7]),
          entry("B", "p < .001", 0.001, "1", LOG_RANK, bound="below")], []),
    ],
)  # fmt: skip
def test_what_is_surely_not_meant_is_warned_about(entries: list[dict[str, Any]], said: list[str]) -> None:
    found = load(file(*entries)).doubts()
    assert len(found) == len(said)
    assert all(text in line for text, line in zip(said, found, strict=True))


def test_a_parameter_outside_its_own_interval_is_warned_about() -> None:
    given = {
        "a": {"value": "70 d", "interval": ["40 d", "60 d"]},
        "b": {"value": {"x": 1, "y": 3}, "interval": [0, 2]},
        "c": {"value": "2 mo", "interval": ["40 d", "61 d"]},
    }
    said = list(outside_interval(parameter_leaves(given, Problems())))
    assert [line.partition(" =")[0] for line in said] == ["parameters.a.value", "parameters.b.value.y"]
