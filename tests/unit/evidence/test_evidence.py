"""The evidence of the four shipped cohorts, and what the evidence layer refuses."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from omegaconf import OmegaConf
from pydantic import Field, ValidationError

from simulator.configuration.fields import Declared, Name, Time
from simulator.configuration.messages import Wrong, problems_of
from simulator.endpoints.base import Variable
from simulator.endpoints.registry import variable
from simulator.errors import ConfigError, Problem
from simulator.evidence.evidence import EvidenceFile, load
from simulator.evidence.statistic import Statistic
from simulator.units import TIME_ALLOWED

CONFIGS = Path(__file__).parents[3] / "configs" / "evidence"
# Every row of the evidence table, and the parts in which a row is kept.
IDS = {
    "pj203_mmc": [
        *(
            *"D01 D02 D03 D04 D05.min D05.max D06 D07 D08 D09 D10 D11.min D11.max".split(),
            *"D12 D13 D14 D15 D16 D17".split(),
        ),
        *("D18 D19 D20 D21 D22.min D22.max D23 D24 D25 D26 D27 D28 D29 D30".split()),
    ],
    "ilp": [*(f"L{number:02d}" for number in range(1, 12)), "L11.count", *(f"L{number}" for number in range(12, 22))],
    "il2_hai_unresectable": [f"I{number:02d}" for number in range(6)],
    "il2_hai_adjuvant": "I06 I07.fluorouracil I07.mitomycin I07.duration I08 I09 I10 I11 I12".split(),
}
TARGETS = {
    "pj203_mmc": [name for name in IDS["pj203_mmc"] if name not in ("D01", "D02", "D04", "D12")],
    "ilp": "L04 L08 L09 L10 L11 L11.count L12 L13 L14 L15 L16".split(),
    "il2_hai_unresectable": ["I04"],
    "il2_hai_adjuvant": "I09 I10 I11 I12".split(),
}
COHORTS = sorted(IDS)


def container(name: str) -> dict[str, Any]:
    made = OmegaConf.to_container(OmegaConf.load(CONFIGS / f"{name}.yaml"))
    assert isinstance(made, dict)
    return made  # type: ignore[return-value]


FILES = {name: container(name) for name in COHORTS}


def evidence(name: str) -> EvidenceFile:
    return load(FILES[name])


def entry_of(given: dict[str, Any], name: str) -> dict[str, Any]:
    return next(item for item in given["entries"] if item["id"] == name)


def refused(cohort: str, entry: str, **changes: Any) -> list[Problem]:
    """Change one entry of a shipped file and return what is said about it."""
    given = copy.deepcopy(FILES[cohort])
    entry_of(given, entry).update(changes)
    with pytest.raises(ConfigError) as caught:
        load(given)
    return list(caught.value.problems)


def lines(problems: list[Problem]) -> str:
    return "\n".join(map(str, problems))


# ---------------------------------------------------------------- the four files


@pytest.mark.parametrize("cohort", COHORTS)
def test_every_row_of_the_evidence_table_is_there_once(cohort: str) -> None:
    assert [entry.id for entry in evidence(cohort).entries] == IDS[cohort]


@pytest.mark.parametrize("cohort", COHORTS)
def test_targets_are_the_statistics_a_simulated_study_can_compute(cohort: str) -> None:
    selection = evidence(cohort).select()
    assert [entry.id for entry in selection.targets] == TARGETS[cohort]
    assert all(entry.role in ("fitted", "used") for entry in selection.targets)
    assert all(entry.role is None for entry in selection.entries if not entry.is_target)


@pytest.mark.parametrize("cohort", COHORTS)
def test_every_check_of_a_shipped_file_passes(cohort: str) -> None:
    failed = [check for check in evidence(cohort).verify() if not check.passed]
    assert failed == []


@pytest.mark.parametrize(
    ("cohort", "what", "outcome"),
    [
        ("pj203_mmc", "D08.numerator + D09.numerator + D10.numerator = D07.numerator", "11 + 11 + 3 = 25"),
        ("pj203_mmc", "D08.denominator + D09.denominator + D10.denominator = D07.denominator", "= 52"),
        ("pj203_mmc", "D05.min.value ≤ D06.value ≤ D05.max.value", "D06.value 3.1"),
        ("pj203_mmc", "a range in order", "180 to 900 mg"),
        ("pj203_mmc", "D22.min.value ≤ D23.at ≤ D22.max.value", "D23.at 600"),
        ("pj203_mmc", "D14.numerator ≤ D13.numerator", "D14.numerator 40, D13.numerator 56"),
        ("pj203_mmc", "a whole count prints the figure", "159/52, 160/52, 161/52, 162/52, 163/52"),
        ("pj203_mmc", "D30.value ≤ D26.value ≤ D28.value", "0.118"),
        ("pj203_mmc", "D29.value ≤ D25.value ≤ D27.value", "239"),
        ("pj203_mmc", "survival does not rise from D28 to D27", "0.510 at 365 d, 0.500 at 419 d"),
        ("pj203_mmc", "denominators among 76 to 81 that print 26.3%: 76, 80", "20/76, 21/80"),
        ("pj203_mmc", "denominators among 76 to 81 that print 12.7%: 79", "10/79"),
        ("pj203_mmc", "denominators among 60 to 81 that print 37.7%: 61, 69, 77", "23/61, 26/69, 29/77"),
        ("pj203_mmc", "denominators among 81 that print 35.7%: none", "no count does"),
        ("pj203_mmc", "denominators among 27 to 56 that print 51.0%: 49, 51", "25/49, 26/51"),
        ("pj203_mmc", "denominators among 16 to 45 that print 11.8%: 17, 34", "2/17, 4/34"),
        ("ilp", "L06.numerator + L07.numerator = L02.value", "46 + 4 = 50"),
        ("ilp", "L10.denominator + L11.denominator = L08.numerator", "11 + 30 = 41"),
        ("ilp", "L04.numerator + L08.numerator ≤ L02.value", "4 + 41 = 45"),
        ("ilp", "L14.numerator + L15.numerator ≤ L08.numerator", "9 + 28 = 37"),
        ("ilp", "L11.value ≤ L09.value ≤ L10.value", "380.469"),
        ("ilp", "L12.value ≤ L09.value ≤ L13.value", "228.281"),
        ("ilp", "denominators among 41 that print 40%: none", "no count does"),
        ("il2_hai_unresectable", "I00.value = I04.denominator", "25"),
        ("il2_hai_adjuvant", "I09.numerator + I11.numerator = I08.value", "12 + 6 = 18"),
        ("il2_hai_adjuvant", "I12.numerator ≤ I11.numerator", "0"),
        ("il2_hai_adjuvant", "denominators among 18 that print 75%: none", "no count does"),
    ],
)
def test_a_relation_between_figures_is_checked(cohort: str, what: str, outcome: str) -> None:
    found = [check for check in evidence(cohort).verify() if check.what == what and outcome in check.outcome]
    assert len(found) == 1


@pytest.mark.parametrize(
    ("cohort", "entry", "reported", "half_width"),
    [
        ("pj203_mmc", "D03", 52 / 81, 0.5 / 81),
        ("pj203_mmc", "D05.max", 11, 0.5),
        ("pj203_mmc", "D06", 3.1, 0.05),
        ("pj203_mmc", "D07", 25 / 52, 0.5 / 52),
        ("pj203_mmc", "D18", 21 / 80, 0.5 / 80),
        ("pj203_mmc", "D22.min", 180, 0.5),
        ("pj203_mmc", "D23", 0.377, 0.0005),
        ("pj203_mmc", "D25", 277, 0.5),
        ("pj203_mmc", "D28", 0.510, 0.0005),
        ("ilp", "L04", 4 / 50, 0.5 / 50),
        ("ilp", "L09", 14 * 30.4375, 0.5 * 30.4375),
        ("ilp", "L11", 12.5 * 30.4375, 0.05 * 30.4375),
        ("ilp", "L16", 0.40, 0.005),
        ("ilp", "L18", 1.5 * 365.25, 0.5 * 365.25),
        ("il2_hai_unresectable", "I01", 700_000, 50_000),
        ("il2_hai_adjuvant", "I09", 12 / 18, 0.5 / 18),
        ("il2_hai_adjuvant", "I10", 0.75, 0.005),
        ("il2_hai_adjuvant", "I12", 0, 0.5 / 18),
    ],
)
def test_reported_and_half_width_are_on_the_internal_scale(
    cohort: str, entry: str, reported: float, half_width: float
) -> None:
    found = evidence(cohort).by_id[entry]
    assert found.reported == pytest.approx(reported, rel=1e-12)
    assert found.half_width == pytest.approx(half_width, rel=1e-12)


def test_a_misread_figure_keeps_what_was_read_beside_what_was_meant() -> None:
    entry = evidence("ilp").by_id["L18"]
    assert (entry.printed, entry.normalised) == ("1 89 years", "1 1/2 years")


def test_a_statement_without_a_figure_reports_nothing() -> None:
    entry = evidence("ilp").by_id["L21"]
    assert (entry.reported, entry.half_width, entry.estimator_name) == (None, None, None)


def test_interpretations_and_derivations_are_marked_as_such() -> None:
    found = {entry.id: entry.provenance for name in COHORTS for entry in evidence(name).entries}
    marked = {kind: [name for name in found if found[name] == kind] for kind in ("derived", "read", "borrowed")}
    assert marked["derived"] == ["L11.count", "D18", "D19", "D20", "D21"]
    assert sorted(marked["read"]) == sorted("D12 D22.min D22.max D23 I01 L04 L09 L10 L12 L13 L16 L20".split())
    assert marked["borrowed"] == []


# ---------------------------------------------------------------- readings


def test_defaults_patch_nothing() -> None:
    selection = evidence("pj203_mmc").select()
    assert selection.chosen == {"strata_of_survival": "split_49_17_15", "evaluability": "independent"}
    assert (selection.cohort, selection.study, selection.parameters, selection.course) == ({}, {}, {}, {})
    assert evidence("il2_hai_adjuvant").select().chosen == {}


@pytest.mark.parametrize("name", ["split_51_17_13", "split_42_25_14"])
def test_a_split_of_the_strata_keeps_81_treated_and_52_evaluable(name: str) -> None:
    selection = evidence("pj203_mmc").select(name)
    mix, share = selection.cohort["mix"], selection.study["populations"]["evaluable"]["probability"]
    assert sum(mix.values()) == 81
    evaluable = {stratum: mix[stratum] * share[stratum] for stratum in mix}
    assert evaluable == pytest.approx({"colorectal": 27, "stomach": 16, "other": 9}, abs=1e-6)


def test_missing_read_as_no_response_keeps_25_responders_and_52_evaluable() -> None:
    selection = evidence("pj203_mmc").select(["missing_is_nonresponse"])
    declared = selection.parameters["response"]["probability"]
    population = selection.study["populations"]["evaluable"]
    mix = {"colorectal": 49, "stomach": 17, "other": 15}
    responders = {stratum: n * declared[stratum]["value"] for stratum, n in mix.items()}
    assert responders == pytest.approx({"colorectal": 11, "stomach": 11, "other": 3}, abs=1e-6)
    others = sum((mix[s] - responders[s]) * population["probability"][s] for s in mix)
    assert population["always"] == "response"
    assert others + sum(responders.values()) == pytest.approx(52, abs=1e-6)


def test_the_kaplan_meier_reading_changes_three_estimators_and_nothing_else() -> None:
    file = evidence("ilp")
    naive, other = file.select(), file.select("kaplan_meier")
    changed = {a.id for a, b in zip(naive.entries, other.entries, strict=True) if a != b}
    assert changed == {"L09", "L12", "L13"}
    assert {b.estimator_name for b in other.entries if b.id in changed} == {"kaplan_meier_median"}
    assert {a.estimator_name for a in naive.entries if a.id in changed} == {"naive_median"}
    assert [b.statistic.where for b in other.entries if b.statistic] == [
        a.statistic.where for a in naive.entries if a.statistic
    ]


def test_readings_of_two_questions_go_together() -> None:
    selection = evidence("pj203_mmc").select(["split_49_17_15", "alive_at_assessment"])
    assert selection.study["populations"]["evaluable"]["alive_at"] == "42 d"


@pytest.mark.parametrize(
    ("cohort", "names", "said"),
    [
        ("ilp", "kaplan_meyer", "did you mean 'kaplan_meier'"),
        ("ilp", ["naive", "kaplan_meier"], "one alternative a question"),
        ("ilp", 177435, "must be one or more of: kaplan_meier, naive"),
        ("ilp", [False], "unknown reading"),
        ("pj203_mmc", ["split_51_17_13", "missing_is_nonresponse"], "cannot go together"),
        ("il2_hai_adjuvant", "naive", "known: none declared"),
    ],
)
def test_a_reading_that_cannot_be_is_refused(cohort: str, names: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=r"study\.reading") as caught:
        evidence(cohort).select(names)
    assert said in str(caught.value)


def test_selecting_twice_gives_the_same_and_leaves_the_file_alone() -> None:
    file = evidence("pj203_mmc")
    first = file.select("split_51_17_13")
    first.cohort["mix"]["colorectal"] = 0
    assert file.select("split_51_17_13").cohort["mix"]["colorectal"] == 51


# ---------------------------------------------------------------- planted contradictions


@pytest.mark.parametrize(
    ("cohort", "entry", "changes", "key", "said"),
    [
        ("pj203_mmc", "D07", {"numerator": 60}, "D07.numerator", "60 of 52"),
        ("pj203_mmc", "D13", {"numerator": 55}, "D13.numerator", "55/81 is 67.901, printed 69.1%"),
        ("pj203_mmc", "D13", {"printed": "96.1%", "value": 96.1}, "D13.numerator", "printed 96.1%"),
        ("pj203_mmc", "D13", {"value": 69.2}, "D13.printed", "69.2 does not stand in '69.1%'"),
        ("pj203_mmc", "D08", {"numerator": 12, "denominator": 17}, "D08.numerator", "12/17 is 70.588"),
        ("pj203_mmc", "D09", {"numerator": 22, "denominator": 54}, "D07.numerator", "11 + 22 + 3 = 36"),
        ("pj203_mmc", "D05.max", {"value": 1, "printed": "1"}, "D05.max.value", "D05.max.value 1"),
        ("pj203_mmc", "D05.min", {"value": 12, "printed": "12"}, "D05.min.value", "12 to 11"),
        ("pj203_mmc", "D12", {"interval": [3, 2]}, "D12.interval", "3 to 2"),
        ("pj203_mmc", "D26", {"value": 57.3, "printed": "57.3%"}, "D26.value", "0.573 at 365 d"),
        ("pj203_mmc", "D30", {"value": 118.0, "printed": "118%"}, "D30.value", "between 0 and 100"),
        ("pj203_mmc", "D18", {"numerator": None, "denominator": 81}, "D18.denominator", "no count of 81"),
        ("pj203_mmc", "D03", {"numerator": 53}, "D03.numerator", "numerator is the printed count"),
        ("ilp", "L15", {"denominator": 40, "printed": "70%", "value": 70}, "L15.denominator", "41"),
        ("ilp", "L10", {"denominator": 12}, "L08.numerator", "12 + 30 = 42"),
        ("il2_hai_adjuvant", "I11", {"numerator": 5, "value": 5, "printed": "5"}, "I08.value", "12 + 5 = 17"),
    ],
)
def test_a_contradiction_is_refused_naming_the_entry(
    cohort: str, entry: str, changes: dict[str, Any], key: str, said: str
) -> None:
    problems = refused(cohort, entry, **changes)
    found = [problem for problem in problems if problem.key == f"evidence.entries.{key}"]
    assert said in lines(found), lines(problems)


@pytest.mark.parametrize(("median", "percent", "passes"), [(365, 51.0, True), (364, 51.0, False), (366, 49.0, False)])
def test_a_rounded_median_may_lie_on_either_side_of_a_landmark(median: int, percent: float, passes: bool) -> None:
    # A median of 365.3 days is printed as 365, with 25 of 49 alive at day 365.
    given = container("pj203_mmc")
    given["checks"] = []
    entry_of(given, "D27").update(printed=f"{median} days", value=median)
    entry_of(given, "D28").update(printed=f"{percent}%", value=percent)
    failed = [check.what for check in EvidenceFile.model_validate(given).verify() if not check.passed]
    assert (failed == []) == passes, failed


def test_every_contradiction_is_listed_at_once() -> None:
    given = copy.deepcopy(FILES["pj203_mmc"])
    entry_of(given, "D07")["numerator"] = 60
    entry_of(given, "D12")["interval"] = [3, 2]
    entry_of(given, "D25")["statistic"]["estimator"] = "kaplan_meier_medan"
    with pytest.raises(ConfigError) as caught:
        load(given)
    keys = {problem.key for problem in caught.value.problems}
    wanted = {"D07.numerator", "D12.interval", "D25.statistic.estimator"}
    assert {f"evidence.entries.{key}" for key in wanted} <= keys
    assert "(did you mean 'kaplan_meier_median'?)" in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "changes", "key", "said"),
    [
        ("D07", {"numerator": "010"}, "numerator", "must be a whole number, not text"),
        ("D07", {"value": "48,1"}, "value", "must be a finite number"),
        ("D07", {"value": float("nan")}, "value", "must be a finite number"),
        ("D25", {"value": float("inf")}, "value", "must be a finite number"),
        ("D07", {"numerator": True}, "numerator", "must be a whole number"),
        ("D07", {"printed": 48.1}, "printed", "must be text; YAML read a number"),
        ("D07", {"printed": ""}, "printed", "must not be empty"),
        ("D07", {"id": False}, "id", "YAML reads NO"),
        ("D07", {"numerator": -1}, "numerator", "must be >= 0"),
        ("D07", {"denominator": 0}, "denominator", "must be >= 1"),
        ("D07", {"denominator": None}, "denominator", "must be given with a numerator"),
        ("D07", {"role": None}, "role", "must be given for a target"),
        ("D07", {"role": "fited"}, "role", "did you mean 'fitted'"),
        ("D02", {"role": "fitted"}, "role", "only an entry with a statistic"),
        ("D07", {"kind": "dose"}, "kind", "must be statistic"),
        ("D07", {"estimator": "proportion"}, "estimator", "must be left out"),
        ("D07", {"unit": "percent"}, "unit", "must be %, 1 or patients"),
        ("D25", {"unit": "dys"}, "unit", "must be a time"),
        ("D06", {"unit": "mg"}, "unit", "must be administrations"),
        ("D22.min", {"unit": "wk"}, "unit", "must be a unit of dose"),
        ("D07", {"provenance": "derived"}, "formula", "must be given when provenance is derived"),
        ("D07", {"provenance": "borrowed"}, "citation", "must be given when provenance is borrowed"),
        ("D08", {"provenance": "read"}, "note", "name the other interpretations"),
        ("D08", {"provenance": "assumed"}, "note", "give the reason"),
        ("D23", {"denominator_unknown": False}, "denominator", "or denominator_unknown: true"),
        ("D23", {"denominator": 61}, "denominator", "must be left out where it is unknown"),
        ("D07", {"sourc": 1}, "sourc", "did you mean 'source'"),
        ("D07", {"source": {"file": "000.txt", "locator": "x"}}, "source.file", "unknown source"),
        ("D08", {"id": "D07"}, None, "stands twice"),
        ("D07", {"id": "7"}, None, "must be a name"),
        ("D07", {"statistic": {"variable": "response"}}, "statistic.estimator", "must be given"),
        ("D07", {"statistic": 3}, "statistic", "must be a mapping"),
    ],
)
def test_a_malformed_entry_is_refused_in_plain_words(
    entry: str, changes: dict[str, Any], key: str | None, said: str
) -> None:
    problems = refused("pj203_mmc", entry, **changes)
    found = problems if key is None else [problem for problem in problems if problem.key.endswith(f".{key}")]
    assert said in lines(found), lines(problems)
    assert "Input should" not in lines(problems)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{default: 49:17:15, alternatives: {49:17:15: {note: a}}}", "49:17:15: begin it with a letter"),
        ("{default: NO, alternatives: {NO: {note: a}}}", "YAML reads NO, YES, ON and OFF"),
        ("{default: a, alternatives: {b: {note: a}}}", "unknown alternative; known: b"),
        ("{default: naive, alternatives: {naive: {note: a}}}", "must be unique in the file"),
        ("{default: 1a, alternatives: {1a: {note: a}}}", "a letter, then letters, digits and underscores"),
        ("{default: a, alternatives: {a: {note: a, entries: {L99: {value: 1}}}}}", "unknown entry"),
        ("{default: a, alternatives: {a: {note: a, entries: {L09: {valu: 1}}}}}", "did you mean 'value'"),
        ("{default: a, alternatives: {a: {note: a, entries: {L09: {value: 15}}}}}", "does not stand in"),
        ("{default: a, alternatives: {a: {note: a, entries: {L09: 15}}}}", "must be a mapping"),
        ("{default: a, alternatives: {a: {note: a, mix: {x: 1}}}}", "unknown key"),
        ("{default: a, alternatives: {}}", "must not be empty"),
    ],
)
def test_a_reading_with_a_trap_of_yaml_or_of_names_is_refused(text: str, said: str) -> None:
    given = copy.deepcopy(FILES["ilp"])
    given["readings"]["another"] = {
        "question": "?",
        **OmegaConf.to_container(OmegaConf.create(text)),  # type: ignore[dict-item]
    }
    with pytest.raises(ConfigError) as caught:
        load(given)
    assert said in str(caught.value), str(caught.value)


@pytest.mark.parametrize(
    ("relation", "said"),
    [
        ({"sum": ["L14.numerator", "L15.numerator"]}, "must go with equals or with at_most"),
        ({"order": ["L14.numerator"]}, "must have at least 2 items"),
        ({"order": ["L14.value", "L09.value"], "equals": "L02.value"}, "only sum takes it"),
        ({"order": ["L14.value", "L99.value"]}, "unknown entry"),
        ({"order": ["L14.value", "L09.valeu"]}, "as in 'D07.numerator'"),
        ({"order": ["L14.value", "L09"]}, "as in 'D07.numerator'"),
        ({"equal": ["L02.value", "L16.denominator"]}, "evidence.entries.L16.denominator"),
        ({"prints": "L16"}, "must be given with prints"),
        ({"prints": "L16", "denominators": [40, 41], "only": [41]}, "found: 16/40"),
        ({"equal": ["L02.value", "L08.numerator"]}, "L02.value 50, L08.numerator 41"),
        ({"order": ["L10.value", "L09.value"]}, "evidence.entries.L09.value"),
        ({"note": "none"}, "exactly one of sum, order, equal, prints"),
    ],
)
def test_a_relation_that_cannot_hold_is_refused(relation: dict[str, Any], said: str) -> None:
    given = copy.deepcopy(FILES["ilp"])
    given["checks"].append(relation)
    with pytest.raises(ConfigError) as caught:
        load(given)
    assert said in str(caught.value), str(caught.value)


def test_evidence_that_is_no_mapping_is_refused() -> None:
    with pytest.raises(ConfigError, match="evidence = pj203_mmc: must be a mapping"):
        load("pj203_mmc")


# ---------------------------------------------------------------- statistics


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("survival", Variable("survival")),
        ("administrations_before.response", Variable("administrations_before", "response")),
        ("adverse_event.any", Variable("adverse_event", "any")),
        ("state.disease_free", Variable("state", "disease_free")),
        ("population.observed", Variable("population", "observed")),
        ("progression", Variable("event", "progression")),
        ("response.complete", Variable("event", "response", "complete")),
    ],
)
def test_a_column_is_named_by_one_or_two_words(text: str, parts: Variable) -> None:
    assert variable(text) == parts


@pytest.mark.parametrize("text", ["", "state", "adverse_event", "survival.days", "a.b.c", "a b", "3a", ".a", "a."])
def test_a_column_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be|needs|takes"):
        variable(text)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"estimator": "proportion", "variable": "survival"}, "proportion has no meaning for it"),
        ({"estimator": "kaplan_meier_median", "variable": "response"}, "it may have: proportion, median"),
        ({"estimator": "median", "variable": "survival"}, "kaplan_meier_median"),
        ({"estimator": "kaplan_meier_landmark", "variable": "survival"}, "time: must be given"),
        ({"estimator": "kaplan_meier_landmark", "variable": "survival", "time": "1 yy"}, "must be a time"),
        ({"estimator": "kaplan_meier_landmark", "variable": "survival", "time": 0}, "must be > 0 days"),
        ({"estimator": "mode_share", "variable": "dose"}, "value: must be given"),
        ({"estimator": "mean", "variable": "dose", "value": 3}, "only mode_share takes it"),
        (
            {"estimator": "mean", "variable": "dose", "time": "1 y"},
            "only kaplan_meier_landmark or restricted_mean take",
        ),
        (
            {"estimator": "mean", "variable": "dose", "where": {"status": "ill"}},
            "must be one of: alive, dead",
        ),
        ({"estimator": "mean", "variable": "dose", "where": {"strata": "a"}}, "did you mean 'stratum'"),
        ({"estimator": "mean", "variable": "dose", "where": {"ever": "a", "never": "a"}}, "nobody is left"),
        ({"estimator": "mean", "variable": "state"}, "needs a second name"),
    ],
)
def test_a_statistic_that_cannot_be_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Statistic.model_validate(given)
    assert said in lines(problems_of(caught.value, "statistic", Statistic, given))


# ---------------------------------------------------------------- messages


QUOTES = "YAML read a number (10:30 too is one): put it in quotes"
KEYS = "unknown key; known: kind, time"


class Inner(Declared):
    kind: Literal["fixed", "drawn"]
    time: Time | None = None

    def model_post_init(self, context: Any) -> None:
        if self.kind == "drawn" and self.time is None:
            raise Wrong([Problem("time", 0, "must be given when drawn")])


class Other(Declared):
    label: str


class Outer(Declared):
    inner: Inner | None = None
    items: list[Inner] = Field(default_factory=list)
    named: dict[Name, Inner] = Field(default_factory=dict)
    count: Annotated[int, Field(gt=0, le=9)] = 1
    share: Annotated[float, Field(ge=0.5, lt=1)] = 0.5
    either: Time | Inner | None = None
    several: str | list[Name] | Inner | Other = "a"
    loose: float | int | str | dict[str, Any] = 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"count": 0}, ["root.count = 0: must be > 0"]),
        ({"count": 10}, ["root.count = 10: must be <= 9"]),
        ({"count": 1.5}, ["root.count = 1.5: must be a whole number"]),
        ({"share": 0.25}, ["root.share = 0.25: must be >= 0.5"]),
        ({"share": 1}, ["root.share = 1: must be < 1"]),
        (
            {"inner": {"kind": "fixd"}},
            ["root.inner.kind = fixd: must be one of: fixed, drawn (did you mean 'fixed'?)"],
        ),
        ({"inner": {}}, ["root.inner.kind: must be given"]),
        ({"inner": {"kind": "drawn"}}, ["root.inner.time = 0: must be given when drawn"]),
        ({"inner": {"kind": "fixed", "tme": 1}}, [f"root.inner.tme = 1: {KEYS} (did you mean 'time'?)"]),
        ({"items": {}}, ["root.items = {}: must be a list"]),
        (
            {"items": [{"kind": "fixed"}, {"kind": 1}]},
            ["root.items.1.kind = 1: must be one of: fixed, drawn"],
        ),
        (
            {"named": {"a": {"kind": "x", "zzz": 2}}},
            ["root.named.a.kind = x: must be one of: fixed, drawn", f"root.named.a.zzz = 2: {KEYS}"],
        ),
        ({"either": "14 moo"}, [f"root.either = 14 moo: {TIME_ALLOWED}"]),
        ({"either": {"kind": "x"}}, ["root.either.kind = x: must be one of: fixed, drawn"]),
        (
            {"several": 3},
            [f"root.several = 3: must be text, a list or a mapping of keys to values; {QUOTES}"],
        ),
        ({"several": [1, "a"]}, [f"root.several.0 = 1: must be text; {QUOTES}"]),
        ({"several": {"label": 3}}, [f"root.several.label = 3: must be text; {QUOTES}"]),
        ({"loose": [1]}, ["root.loose = [1]: must be a number, text or a mapping of keys to values"]),
        ({12: 1}, ["root.12 = 12: a key must be text: put it in quotes"]),
    ],
)
def test_what_pydantic_says_is_said_in_plain_words(given: dict[Any, Any], said: list[str]) -> None:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(given)
    assert [str(problem) for problem in problems_of(caught.value, "root", Outer, given)] == said


def test_items_of_a_list_are_called_by_their_id() -> None:
    class Item(Declared):
        id: str
        n: int

    class Holder(Declared):
        items: list[Item]

    given = {"items": [{"id": "a", "n": 1}, {"id": "b", "n": "x"}]}
    with pytest.raises(ValidationError) as caught:
        Holder.model_validate(given)
    assert [problem.key for problem in problems_of(caught.value, "", Holder, given)] == ["items.b.n"]
    assert [problem.key for problem in problems_of(caught.value, "", Holder)] == ["items.1.n"]
