"""The share that response causes: as a number of a declaration, in what a run says, and in a calibration."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import simulator
from calibration import schema
from calibration.likelihoods.simulated import Simulated
from calibration.likelihoods.targets import simulated_terms
from calibration.posterior.draws import posterior_draws
from calibration.posterior.fit import fit
from calibration.prediction.survival import survival_of
from simulator.cli.commands import main
from simulator.cli.console import PAGE
from simulator.experiment.assumption import assumption
from simulator.experiment.batches import declare_many
from simulator.experiment.preparation import prepare
from simulator.experiment.schema import declare
from simulator.running.draws import run
from simulator.sweep.both_ends import both_ends
from simulator.sweep.grammar import read_sweep
from simulator.views.estimates import BOTH_ENDS, estimates_table
from tests import models
from tests.pages import read
from tests.two_arms import CALIBRATION, two_arms
from tests.unit.calibration.test_targets import config as lakes
from tests.unit.calibration.test_targets import landmark, share

COHORT = "il2_hai_unresectable"
PHI = "survival.response_effect"
FEWER = "parameters.response.probability=0.4"
NOTHING = "nothing in this run changes response or its timing"
SMALL = {"initial": 2000, "step": 500, "draws": 1000}


@cache
def declared(*words: str) -> Any:
    return prepare([f"cohort={COHORT}", "parameters=start", *words]).experiment


def trial(effects: dict[str, Any], *words: str, course: dict[str, Any] | None = None) -> Any:
    config = copy.deepcopy(prepare([f"cohort={COHORT}", "parameters=start", *words]).container)
    other = {"n_patients": 25, "effects": effects, "course": course or {}}
    config["cohort"] |= {"n_patients": None, "arms": {"control": {"n_patients": 25, "reference": True}, "new": other}}
    return models.compiled(config, quiet=True)


def solved(experiment: Any) -> bytes:
    return bytes(experiment.tables.knot_hazard.tobytes())


@pytest.mark.parametrize(("word", "number"), [("prognostic", "0"), ("causal", "1.0")])
def test_a_word_is_the_name_of_a_number(word: str, number: str) -> None:
    by_name, by_number = (declared(f"parameters.{PHI}={given}", FEWER) for given in (word, number))
    assert solved(by_name) == solved(by_number)
    assert by_name.solved.effect == by_number.solved.effect == (float(number),)


def test_every_parameter_set_has_its_own_share() -> None:
    shares, changed = [0, 0.5, "causal", 0.5], [0.4, 0.4, 0.4, 0.756]  # the last is the published one
    values = {PHI: shares, "response.probability": changed}
    many = declare_many(declared(), values).tables
    for row in range(len(shares)):
        one = declare_many(declared(), {path: [column[row]] for path, column in values.items()}).tables
        death, start = one.events.index("death"), many.knot_offset[many.table[row, one.events.index("death"), 0]]
        assert one.table[0, death, 0] == 0
        ours = many.knot_hazard[start : start + one.knot_hazard.size]
        assert ours.tobytes() == one.knot_hazard.tobytes()
        assert many.probability[row].tobytes() == one.probability[0].tobytes()


def test_the_share_moves_nothing_where_nothing_changes_response() -> None:
    first, *others = (solved(declared(f"parameters.{PHI}={share}")) for share in (0, 0.3, 1))
    assert others == [first, first]


def test_the_course_changes_response_where_that_follows_administrations() -> None:
    by_visits, slower = "course.response=per_administration", "course.interval=14"
    same = [solved(declared(by_visits, f"parameters.{PHI}={share}")) for share in (0, 1)]
    assert same[0] == same[1]
    moved = [declared(by_visits, slower, f"parameters.{PHI}={share}") for share in (0, 1)]
    assert solved(moved[0]) != solved(moved[1])
    assert all(each.solved.scenario for each in moved)
    assert not declared(slower).solved.scenario  # a response with a time of its own asks no course
    arm = trial({}, by_visits, course={"interval": 14})
    assert (arm.solved.scenario, arm.solved.arms) == (False, {1})


def test_arms_whose_response_is_the_same_share_a_baseline() -> None:
    same, other = (trial(effects) for effects in ({"hazard_ratio": {"death": 0.7}}, {"odds_ratio": {"response": 0.2}}))
    death = same.tables.events.index("death")
    assert same.tables.table[0, death].tolist() == [0, 0]
    assert other.tables.table[0, death].tolist() == [0, 1]
    assert solved(same) == solved(declared())


SAID = [
    ((), {}, NOTHING),
    (("parameters.response.hazard_ratio=0.8", "parameters.survival.median=600"), {}, NOTHING),
    (
        (FEWER,),
        {},
        "response is changed by the scenario, against the published study; assumed: response causes none of",
    ),
    ((FEWER, f"parameters.{PHI}=0.25"), {}, "assumed: response causes a share of 0.25 of the responders' advantage"),
    ((), {"odds_ratio": {"response": 0.2}}, "response is changed by arm new; assumed: response causes none"),
    (
        (FEWER, f"parameters.{PHI}=causal"),
        {"odds_ratio": {"response": 0.2}},
        "changed by the scenario, against the published study and by arm new; assumed: response causes all of the",
    ),
    ((), {"hazard_ratio": {"death": 0.7}}, "whatever response causes; the effect of arm new on death comes on top"),
    (("parameters.response.hazard_ratio=1", FEWER), {}, NOTHING),  # no advantage is moved
]


@pytest.mark.parametrize(("words", "effects", "said"), SAID)
def test_a_run_says_what_changed_response_and_what_is_assumed_of_it(words, effects, said) -> None:
    experiment = trial(effects, *words) if effects else declared(*words)
    assert said in assumption(experiment)


def test_shares_that_differ_by_parameter_set_are_given_as_a_range() -> None:
    range_ = "differs by parameter set (response_effect, 0.2 to 0.9, median 0.4)"
    assert range_ in assumption(declare_many(declared(FEWER), {PHI: [0.2, 0.9, 0.4]}))
    assert range_ in assumption(*(declared(FEWER, f"parameters.{PHI}={share}") for share in (0.2, 0.9, 0.4)))


# ------------------------------------------------------------------------------------------------- calibration


def with_share(*entries: Any, **changes: Any) -> dict[str, Any]:
    made = lakes(*entries, model__events__death__hazard__response_effect=f"parameters.{PHI}", **changes)
    made["parameters"]["survival"]["response_effect"] = "prognostic"
    return made


PRIORS = {
    "survival.median": {"log_normal": {"median": "300 d", "sigma": 0.6}},
    "response.probability": {"beta": {"a": 0.5, "b": 0.5}},
}


@pytest.mark.parametrize("prior", [{"uniform": {"low": 0, "high": 1}}, {"beta": {"a": 2, "b": 2}}])
def test_one_arm_leaves_a_prior_of_the_share_as_it_was(prior: dict[str, Any]) -> None:
    targets = landmark("K1", 55, "colon"), share("S1", 7, 20, "response", "colon")
    file = schema.load({"name": "lakes", "parameters": PRIORS | {PHI: prior}, "search": SMALL})
    fitted = fit(with_share(*targets), file)
    row = {row.name: row for row in fitted.rows()}[PHI]
    assert not row.informed
    assert row.posterior.median == pytest.approx(0.5, abs=0.1)  # both laws are symmetric; 1,000 draws: an error of .02
    assert survival_of(fitted, posterior_draws(fitted, 50)).closed


def test_a_prior_that_leaves_the_share_is_refused() -> None:
    file = schema.load({"name": "lakes", "parameters": {PHI: {"uniform": {"low": 0, "high": 2}}}})
    with pytest.raises(Exception, match="must be a share between 0"):
        fit(with_share(landmark("K1", 55, "colon")), file)


def test_two_arms_whose_response_differs_inform_the_share() -> None:
    made = two_arms()
    hazard, parameters = made["model"]["events"]["death"]["hazard"], made["parameters"]
    hazard |= {"solved_for": "response", "response_effect": f"parameters.{PHI}"}
    made["model"]["events"]["death"]["ratios"] = [{"marker": "responded", "ratio": 0.2}]
    parameters["survival"]["response_effect"] = 0.0
    parameters["effect"]["odds"], parameters["effect"]["death"] = 20.0, 1.0
    wanted = {"ratio": 0.05}
    simulated = {"survival": {"targets": wanted, "parameters": [PHI], "replicates": 200, "recombined": 0}}
    priors = {PHI: {"uniform": {"low": 0, "high": 1}}}
    left = {entry["id"]: "not looked at" for entry in made["evidence"]["entries"] if entry["id"] not in wanted}
    file = schema.load({**CALIBRATION, "parameters": priors, "simulated": simulated, "left_out": left})
    experiment = declare(made)
    prior = schema.prior_of(file, experiment.parameters, {PHI: "mediation"})
    (term,), wrong = simulated_terms(file, experiment, prior)
    assert not wrong
    assert isinstance(term, Simulated)
    assert term.parameters == {PHI}
    sets = prior.parameter_sets(np.array([[-2.5], [2.5]]))
    none, much = term.log_density(sets)
    assert much > none + 1.0  # a hazard ratio of .50 was printed, and response is all that differs between the arms


# ------------------------------------------------------------------------------------------------------ sweeps

ENDS = f"parameters.{PHI}=0,1"
PER_VISIT = "course.response=per_administration"
PROBABILITY = "parameters.response.probability=0.4,0.6"


@pytest.mark.parametrize(
    ("words", "added"),
    [
        ([f"cohort={COHORT}", PROBABILITY], True),
        (["cohort=pj203_mmc", PER_VISIT, "course.interval=14,21"], True),
        (["cohort=pj203_mmc", "course.interval=14,21"], False),  # a response with a time of its own asks no course
        ([f"cohort={COHORT}", "parameters.response.hazard_ratio=0.4,0.6"], False),  # what is assumed of the paper
        ([f"cohort={COHORT}", PROBABILITY, f"parameters.{PHI}=prognostic"], False),
        ([f"cohort={COHORT}", PROBABILITY, f"parameters.{PHI}.value=0"], False),
        ([f"cohort={COHORT}", PROBABILITY, f"parameters.{PHI}=0,0.5,1"], False),
    ],
)
def test_a_sweep_that_changes_response_has_both_ends_unless_one_is_set(words, added) -> None:
    override, said = both_ends(read_sweep([*words, "parameters=start"])[0])
    assert override == (ENDS if added else "")
    assert (ENDS in said) == added


def test_of_cohorts_without_a_common_share_it_says_how_to_see_both_ends() -> None:
    words = ["cohort=pj203_mmc,il2_hai_adjuvant", PER_VISIT, "course.interval=14,21"]
    override, said = both_ends(read_sweep(words)[0])
    assert override == ""
    assert f"Sweep each cohort by itself with {ENDS} to see both ends" in said


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("ends") / "sweep"
    words = [f"cohort={COHORT}", "parameters=start", PROBABILITY, "study.replicates=40", f"hydra.sweep.dir={folder}"]
    assert main(["--multirun", *words]) == 0
    return folder


def test_a_sweep_at_both_ends_shows_survival_side_by_side(swept: Path) -> None:
    with simulator.open_results(swept) as tree:
        mean = tree["statistics"]["rmst"].sel(group="all").transpose("probability", "response_effect").values
        said = tree["scenarios"]["assumed"].transpose("probability", "response_effect").values
    assert mean[0, 0] == pytest.approx(mean[1, 0], abs=60.0)  # 1,000 patients each of common random numbers
    assert mean[0, 0] - mean[0, 1] > 40.0  # fewer responses than published, with all of the advantage caused
    assert "none of the responders' advantage" in said[0, 0]
    assert "all of the responders' advantage" in said[0, 1]


def test_the_page_says_so_and_contrasts_scenarios_under_one_share(swept: Path) -> None:
    page = read((swept / PAGE).read_text("utf-8")).text
    assert "response_effect is the share of the responders' advantage that response causes" in page
    assert "less that of the reference, probability 0.4 (" in page


# ---------------------------------------------------------------------------------------------- contrasts of arms


def contrasted(effects: dict[str, Any], *words: str) -> Any:
    """A run of a trial of 100 an arm with the contrasts of its arms."""
    config = copy.deepcopy(prepare([f"cohort={COHORT}", "study.replicates=20", *words]).container)
    arms = {"control": {"n_patients": 100, "reference": True}, "new": {"n_patients": 100, "effects": effects}}
    config["cohort"] |= {"n_patients": None, "arms": arms}
    config["output"] = {"contrast": {"arm": "control"}}
    config["evidence"] = models.NO_EVIDENCE
    return run(declare(config, overrides=words))


FEWER_IN_NEW = {"odds_ratio": {"response": 0.1}}
GAIN = "new.difference_of_restricted_means"


@pytest.mark.parametrize("words", [("parameters=start",), ("parameters=posterior", "parameters.draws=3")])
def test_arms_whose_response_differs_are_contrasted_at_both_ends(words: tuple[str, ...]) -> None:
    tree = contrasted(FEWER_IN_NEW, *words)
    node = tree["estimates"].to_dataset()
    names = list(node["estimate"].values)
    assert names[names.index(GAIN) + 1] == f"{GAIN}.causal"
    of = node["mean"].to_series()
    assert of[GAIN] - of[f"{GAIN}.causal"] > 40.0  # days; both ends share their random numbers
    share = node["response_effect"].to_series()
    assert share[GAIN] == 0.0
    assert share[f"{GAIN}.causal"] == 1.0
    assert np.isnan(share["new.difference_of_response"])
    console = Console(width=200, record=True)
    console.print(estimates_table(tree))
    assert BOTH_ENDS in " ".join(console.export_text().split())


def test_each_end_is_what_a_run_with_that_share_finds() -> None:
    both, alone = (
        contrasted(FEWER_IN_NEW, "parameters=start", *words)["estimates"].to_dataset()["simulated"]
        for words in ((), (f"parameters.{PHI}=1",))
    )
    ours, theirs = both.sel(estimate=f"{GAIN}.causal"), alone.sel(estimate=GAIN)
    np.testing.assert_array_equal(ours.values, theirs.values)
    assert f"{GAIN}.causal" not in alone["estimate"].values


@pytest.mark.parametrize(
    ("effects", "words"),
    [({"hazard_ratio": {"death": 0.7}}, ()), (FEWER_IN_NEW, (f"parameters.{PHI}=prognostic",))],
)
def test_arms_of_one_response_and_a_share_that_is_set_have_one_contrast(effects, words) -> None:
    node = contrasted(effects, "parameters=start", *words)["estimates"]
    assert not any(str(name).endswith(".causal") for name in node["estimate"].values)
    assert "response_effect" not in node.coords
