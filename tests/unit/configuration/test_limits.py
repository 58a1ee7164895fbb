"""Every number that a key permits gives a result or a refusal that names the key; what is not meant is warned of.

Case 13 of the shared cases, all of its inputs, is the first test. Sizes and times are bounds of ours, not of a paper.
"""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import pytest

from simulator.configuration import files, parameters
from simulator.errors import ConfigError, DeclarationWarning
from simulator.experiment import sizes
from simulator.experiment.plausibility import differing_by_case
from simulator.experiment.preparation import prepare
from tests import hostile, models

BASE = ["cohort=pj203_mmc", "output.report=false"]


def messages(*overrides: str) -> list[str]:
    """Return the warnings of a declaration."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DeclarationWarning)
        prepare([*BASE, *overrides], hydra=False)
    return [str(warning.message) for warning in caught]


def refused(*overrides: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        prepare([*BASE, *overrides], hydra=False)
    return caught.value


@pytest.mark.parametrize(
    "given",
    [
        ["parameters.response.hazard_ratio=1e9"],
        ["parameters.response.hazard_ratio=1e12", "parameters=start"],
        ["study.horizon=1e-12"],
        ["study.horizon=1e9"],
        ["study.horizon=73051", "study.assessment_interval=60"],
        ["cohort.mix=1e300"],
        ["cohort.mix=null"],
        ["study.reading=1e12", "parameters=posterior", "parameters.draws=5"],
        ["output.time_step=1e-308"],
        ["output.time_step=1e-9"],
        ["study.replicates=4000000000"],
        ["output.patients=true", "cohort.n_patients=1000000"],
        ["parameters.progression.median=1e-6", "parameters=start"],
        ["parameters.survival.shape.stomach=1e-12", "parameters=start"],
        ["parameters.reference.horizon=1", "parameters=start"],
    ],
    ids=" ".join,
)
def test_a_number_beyond_what_can_be_computed_is_refused_by_its_key(given: list[str]) -> None:
    key = given[0].partition("=")[0]
    assert {problem.key for problem in refused(*given).problems} == {key}


@pytest.mark.filterwarnings("ignore::simulator.errors.DeclarationWarning")
@pytest.mark.parametrize("given", ["parameters.survival.median='1e-9 d'", "parameters.progression.median=1e12"])
def test_an_extreme_number_that_can_be_computed_gives_a_result(given: str) -> None:
    hostile.simulate(prepare([*BASE, given], hydra=False).experiment)


def test_a_solver_names_the_key_at_which_a_number_stands_in_a_file() -> None:
    (problem,) = refused("parameters=start", "parameters.response.probability.stomach=0.99").problems
    assert problem.key == "parameters.response.probability.stomach"


def test_of_several_numbers_set_by_hand_the_others_are_named_too() -> None:
    (problem, *_) = refused("parameters=start", "parameters.progression.median=1", "course.interval=20").problems
    assert problem.key == "parameters.progression.median"
    assert "course.interval = 20 is set by hand too" in problem.allowed


def test_a_distribution_of_visits_near_zero_is_refused() -> None:
    (problem,) = refused("study.assessment_interval={weibull: [60, 1e-3]}").problems
    assert (problem.key, "hardly ever near 0" in problem.allowed) == ("study.assessment_interval", True)


def test_an_array_is_judged_before_it_is_allocated(monkeypatch: pytest.MonkeyPatch) -> None:
    bound = 8.0 * 1_000 * 100  # as many numbers as 1,000 studies have in a hundred statistics
    monkeypatch.setattr(sizes, "MOST_BYTES", bound)
    keys = {problem.key for problem in refused("output.time_step=1").problems}
    assert keys == {"output.time_step"}


@pytest.mark.parametrize(("name", "text"), [("study/large.yaml", "x: [1]\n"), ("parameters/large.csv", "a\n1\n")])
def test_a_file_beyond_the_limit_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    path = tmp_path / Path(name).name
    path.write_text(text)
    if path.suffix == ".yaml":
        monkeypatch.setattr(files, "LARGEST_FILE", len(text) - 1)
        with pytest.raises(ConfigError, match=r"large.yaml: is larger than .* MB, the most that is read"):
            files.read(path, label="large.yaml")
    else:
        monkeypatch.setattr(parameters, "LARGEST_TABLE", 1_000)
        with pytest.raises(ConfigError, match=r"pj203_mmc_calibrated.csv: is larger than 0.001 MB"):
            prepare([*BASE, "parameters=posterior"], hydra=False)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("parameters.response.hazard_ratio=250", "parameters.response.hazard_ratio = 250 is an unlikely hazard ratio"),
        ("parameters.survival.median.stomach='365 mo'", "stomach = 365 mo is 6.1 horizons; '365 d'?"),
        ("cohort.mix={colorectal: 0.5, stomach: 0.3, other: 0.18}", "cohort.mix sums to 0.98: shares are taken"),
        ("course.adverse_events.terms.Pain={probability: 0.1}", "course.adverse_events.terms: Pain stands beside pain"),
        ("parameters.survival.median=300", "for one of them write parameters.survival.median.colorectal=…"),
    ],
)
def test_what_is_surely_not_meant_is_warned_of(given: str, said: str) -> None:
    assert any(said in warning for warning in messages(given))


@pytest.mark.parametrize(
    "given",
    [
        "parameters.response.hazard_ratio=0.02",
        "parameters.survival.median.stomach='30 y'",
        "cohort.mix={colorectal: 0.33, stomach: 0.33, other: 0.33}",
        "cohort.mix={colorectal: 49, stomach: 17, other: 15}",
    ],
)
def test_what_may_well_be_meant_is_not_warned_of(given: str) -> None:
    assert messages(given) == []


def test_a_share_written_in_per_cent_is_recognised() -> None:
    (problem,) = refused("parameters.response.probability.stomach=37").problems
    assert "must be a probability between 0 and 1 (did you mean '0.37'?)" in str(problem)


@pytest.mark.parametrize("cohort", hostile.bases())
def test_shipped_and_documented_cohorts_are_declared_without_a_warning(cohort: str) -> None:
    texts = {**hostile.documented(), **hostile.shipped()}.get(cohort, {})
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("error")
        own = hostile.Mutation(0, (), texts, "").written(Path(folder))
        prepare([f"cohort={cohort}"], config_dir=own, hydra=False)


def test_names_that_differ_by_case_are_found_in_lists_and_below() -> None:
    declared = {"states": ["well", "Well"], "events": {"a": {"set": ["x", "y"]}, "b": {"Q": 1, "q": 2}}}
    assert [warning.partition(" ")[0] for warning in differing_by_case(declared, "model")] == [
        "model.states:",
        "model.events.b:",
    ]


def test_hazard_ratios_of_arms_are_looked_at() -> None:
    arms = {
        "usual": {"n_patients": 5, "reference": True},
        "new": {"n_patients": 5, "effects": {"hazard_ratio": {"death": 0.001}}},
    }
    config = models.container({"death": models.death(100.0)}, cohort={"arms": arms})
    with pytest.warns(DeclarationWarning, match=r"new\.effects\.hazard_ratio\.death = 0\.001 is an unlikely"):
        models.compiled(config)
