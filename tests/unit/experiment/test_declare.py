"""What `declare` refuses, and how it says so: key, value, what is allowed, nearest name; and what it keeps."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from simulator.errors import ConfigError, DeclarationWarning
from simulator.experiment.preparation import prepare
from simulator.experiment.schema import Experiment, declare
from simulator.running.experiment import trajectories_of
from tests.two_strata import two_strata


def declared(*overrides: str) -> Experiment:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeclarationWarning)
        return prepare(list(overrides)).experiment


REFUSED = [
    ("seed=-1", "seed = -1: must be >= 0"),
    ("engine=fast", "engine = fast: must be one of"),
    ("output.time_step=0", "output.time_step = 0.0: must be > 0"),
    ("output.patient=true", "did you mean 'patients'?"),
    ("cohort.n_patients=0", "cohort.n_patients = 0: must be a whole number between 1 and"),
    ("cohort.n_patients=1000001", "between 1 and 1,000,000; for more patients raise study.replicates"),
    ("cohort.n_patients=2.5", "cohort.n_patients = 2.5: must be a whole number"),
    ("cohort.n_patient=3", "did you mean 'n_patients'?"),
    ("cohort.mix.stomach=1.5", "cohort.mix.stomach = 1.5: must be a share between 0 and 1"),
    ("cohort.allocation=alphabetical", "cohort.allocation = alphabetical: must be one of"),
    ("course.interval=-14", "course.interval = -14: must be > 0 days"),
    ("course.interval='14 kg'", "course.interval = 14 kg: must be a time"),
    ("course.interval={unifrom: [14, 21]}", "did you mean 'uniform'?"),
    ("course.interval={uniform: [21, 14]}", "must be ordered: low ≤ high"),
    ("course.interval={uniform: [14]}", "must be 2 values: low, high"),
    ("course.max_administrations=2.5", "must be a whole number between 0 and 10,000"),
    ("course.response=sometimes", "course.response = sometimes: must be one of"),
    ("course.stop.states=[progresion]", "did you mean 'progression'?"),
    ("course.planned.number={geometric: {probabilty: 0.3}}", "did you mean 'probability'?"),
    ("course.dose.shares=[0.5, 0.5]", "course.dose.shares = [0.5, 0.5]: must be as many as the levels, 6"),
    ("course.adverse_events.frailty=1", "must be a correlation ≥ 0 and < 1"),
    ("course.adverse_events.terms.pain.probability=1.3", "must be a probability between 0 and 1"),
    ("course.after_adverse_event.delay=-1", "must be ≥ 0 days"),
    ("study.replicates=0", "study.replicates = 0: must be >= 1"),
    ("study.horizon=0", "study.horizon = 0: must be > 0 days"),
    ("study.horizon=soon", "study.horizon = soon: must be a time"),
    ("study.reading=split_49_17_51", "did you mean 'split_49_17_15'?"),
    ("study.assessed=[respons]", "did you mean 'response'?"),
    ("study.populations.evaluable.probability=2", "must be a probability between 0 and 1"),
    ("study.loss_to_follow_up={family: exponental, median: 3 y}", "did you mean 'exponential'?"),
    ("parameters.response.hazard_ratio=-0.5", "parameters.response.hazard_ratio = -0.5: must be a ratio ≥ 0"),
    ("parameters.response.probability.colorectal=40", "must be a probability between 0 and 1"),
    ("parameters.survival.median.colorectal=abc", "parameters.survival.median.colorectal = abc: must be a time"),
    ("+parameters.survival.median.colorectal.prior=[1]", "colorectal.prior = [1]: must be a list of two values"),
    ("+parameters.survival.median.colorectal.prior=[9 mo, 3 mo]", "must be a list of two values in order"),
    ("+parameters.survival.median.colorectal.prior=[null, 5]", "must be a list of two values in order"),
    ("parameters.survival.median.colorectal.interval=[3 furlong, 9 mo]", "must be a list of two values in order"),
    ("+parameters.survival.median.colorectal.contraction=1.5", "colorectal.contraction = 1.5: must be a finite number"),
    ("+parameters.survival.median.colorectal.contraction=big", "colorectal.contraction = big: must be a finite number"),
    ("+parameters.survival.median.colorectal.source=0.5", "median.colorectal.source = 0.5: must be text"),
    ("+parameters.survival.median.colorectal.priors=[1, 2]", "did you mean 'prior'?"),
    ("parameters.survival.family=weibul", "did you mean 'weibull'?"),
    ("parameters.survival.response_effect=both", "response_effect = both: must be a share between 0 and 1, or a name"),
    ("parameters.survival.response_effect=1.2", "must be a share between 0 (prognostic) and 1 (causal)"),
    ("parameters.survival.shape.colorectal=1e300", "is out of range"),
    (
        "model.events.response.hazard.median=parameters.response.onset_media",
        "did you mean 'parameters.response.onset_median'?",
    ),
    ("model.events.death.from=[stable, alive]", "model.events.death.from = alive: unknown state"),
    ("model.events.response.hazard.rate=0.1", "is not a parameter of log_normal"),
    ("model.initial=dead", "is absorbing: nothing could ever happen"),
]  # fmt: skip


@pytest.mark.parametrize(("override", "message"), REFUSED, ids=[o for o, _ in REFUSED])
def test_bad_input_is_refused_by_key_value_and_cure(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        declared(override)
    assert message in str(refusal.value)


def test_problems_of_all_groups_are_listed_at_once() -> None:
    with pytest.raises(ConfigError) as refusal:
        declared(
            "seed=-1",
            "course.interval=-14",
            "parameters.response.hazard_ratio=-1",
            "study.data_cut='5 kg'",
            "cohort.n_patients=0",
        )
    assert {problem.key for problem in refusal.value.problems} == {
        "seed", "course.interval", "parameters.response.hazard_ratio", "study.data_cut", "cohort.n_patients",
    }  # fmt: skip


def test_an_impossible_observed_share_is_refused_with_what_can_be_seen() -> None:
    with pytest.raises(ConfigError, match=r"even if every patient were to have response, it would be seen in 0\.\d+"):
        declared("parameters.response.probability.stomach=0.99")


@pytest.mark.parametrize("key", ["source", "note"])
def test_a_held_out_target_by_which_a_value_was_chosen_is_refused(key: str) -> None:
    given = two_strata(seed=1)
    target = next(entry for entry in given["evidence"]["entries"] if entry["id"] == "P")
    target |= {"id": "P1", "role": "held_out"}
    fever = {"value": 0.25, "provenance": "assumed", key: "chosen so that about P1, not P10 or Q.P1, is seen"}
    given["parameters"]["fever"] = fever
    with pytest.raises(ConfigError, match=r"parameters\.fever = 0\.25: cites P1, which is held out"):
        declare(given)
    target["role"] = "used"
    assert declare(given).parameters["fever"].provenance == "assumed"


def test_one_stratum_share_rescales_the_others() -> None:
    # 49 : 15 of what is left, from the cohort's own mix
    share = declared("cohort.mix.stomach=0.5").tables.patients.share[0]
    np.testing.assert_allclose(share, [0.5 * 49 / 64, 0.5, 0.5 * 15 / 64], rtol=1e-15)


def test_what_the_user_sets_wins_over_a_reading() -> None:
    experiment = declared("study.reading=missing_is_nonresponse", "parameters.response.probability.other=0.3")
    assert experiment.parameters["response.probability.other"].value == 0.3
    assert experiment.parameters["response.probability.stomach"].value == pytest.approx(11 / 17, abs=1e-4)


def test_an_override_of_a_parameter_says_that_the_user_set_it() -> None:
    leaf = declared("parameters.response.hazard_ratio=0.8").parameters["response.hazard_ratio"]
    assert (leaf.value, leaf.provenance, leaf.note) == (0.8, "assumed", "set by the user")


def test_an_inert_interval_is_warned_about_by_name() -> None:
    with pytest.warns(DeclarationWarning, match=r"course\.interval is inert"):
        prepare(["cohort=ilp", "course.interval=21"])


def test_new_parameter_values_change_no_shape() -> None:
    one, other = (
        declared().tables,
        declared("parameters.survival.median.colorectal=500", "parameters.response.hazard_ratio=0.7").tables,
    )
    for name in ("parameters", "family", "table", "probability", "effect_ratio"):
        assert getattr(one, name).shape == getattr(other, name).shape


@pytest.mark.parametrize("horizon", [400, 1500, 4500])
@pytest.mark.parametrize("response", ["continuous", "per_administration"])
def test_a_longer_horizon_changes_nothing_before_it(horizon: float, response: str) -> None:
    """V18 where a baseline is solved: equal bits up to the shorter horizon."""
    shorter = min(horizon, 1826.25)
    logs = []
    for days in (1826.25, horizon):
        experiment = declared(f"study.horizon={days}", f"course.response={response}", "cohort.n_patients=81")
        histories = trajectories_of(experiment, range(2))
        kept = histories.log_time < shorter
        logs.append((histories.log_time[kept].tobytes(), histories.log_code[kept].tobytes()))
    assert logs[0] == logs[1]


OUTSIDE = {
    "a death that depends on progression": "model.events.death.ratios=[{state: progression, ratio: 3}]",
    "an unless that the quadrature does not know": "model.events.progression.unless=[responded]",
    "a baseline for no death": "model.events.progression.hazard.solved_for=response",
    "a second observed event": "model.events.progression.hazard.observed=[median]",
    "a ratio that forbids death": "parameters.response.hazard_ratio=0",
    "adverse events that delayed the published course": "parameters.reference.course.after_adverse_event.delay=7",
    "an interval that differs by stratum": "course.interval={colorectal: 14, stomach: 21, other: 21}",
    "an interval that can be negative": "course.interval={normal: [21, 30]}",
    "an event with a name in use": "model.events.survival="
    "{from: [stable], to: dead, hazard: {family: exponential, median: 9}}",
    "a term with a name in use": "course.adverse_events.terms.any={probability: 0.1}",
}


@pytest.mark.parametrize("case", OUTSIDE)
def test_what_cannot_be_solved_or_meant_is_refused(case: str) -> None:
    with pytest.raises(ConfigError):
        declared(OUTSIDE[case])


@pytest.mark.parametrize("ratio", [0.01, 0.2, 5.0, 200.0])
def test_a_baseline_is_solved_for_extreme_ratios(ratio: float) -> None:
    tables = declared(f"parameters.response.hazard_ratio={ratio}").tables
    assert np.all(np.isfinite(tables.knot_hazard))
    assert np.all(np.diff(tables.knot_hazard[: tables.knot_offset[1]]) >= 0)
