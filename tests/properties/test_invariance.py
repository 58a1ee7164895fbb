"""What must change nothing: other patients, other events, scenarios, blocks, order (V11-V14, V18, V38). α = 0."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.engines import reference
from simulator.errors import SimulationError
from simulator.running import batch as running
from simulator.running.workers import in_order, processors
from tests import any_model, models

SEED = 31
FEW = 120


def few(**more):
    """The rich model without arms, for a few patients."""
    config = models.rich(**more)
    config["cohort"] = {k: v for k, v in config["cohort"].items() if k != "arms"} | {"n_patients": FEW}
    return config


@pytest.fixture(scope="module")
def usual():
    return models.lines(models.simulated(few(), seed=SEED))


def outcome(config, **options):
    return models.lines(models.simulated(models.compiled(config, quiet=True), seed=SEED, **options))


def without(lines, *names):
    return [[row for row in own if row[1] not in names] for own in lines]


# -- V11, an addition that does nothing ------------------------------------------------------------------

NEVER = {
    "from": ["stable", "response", "progression"],
    "set": ["spare"],
    "hazard": {"family": "exponential", "rate": 0.0},
}
UNREAD = {
    "from": ["stable", "response", "progression"],
    "set": ["spare"],
    "maximum": 500,
    "hazard": {"family": "weibull", "median": 50.0, "shape": 1.1},
}


def with_event(event, at):
    config = few()
    events = list(config["model"]["events"].items())
    events.insert(at, ("added", event))
    config["model"]["events"] = dict(events)
    config["model"]["markers"] = [*config["model"]["markers"], "spare"]
    return config


@pytest.mark.parametrize("at", [0, 3, 8])
def test_an_event_that_never_happens_changes_nothing(usual, at):
    assert outcome(with_event(NEVER, at)) == usual


@pytest.mark.parametrize("at", [0, 3, 8])
def test_an_event_that_nothing_reads_changes_nothing_else(usual, at):
    changed = outcome(with_event(UNREAD, at))
    assert changed != usual
    assert without(changed, "added") == usual


def test_inert_attributes_change_nothing(usual):
    config = few()
    config["cohort"]["covariates"]["unused"] = {"normal": [3.0, 2.0]}
    config["model"]["markers"] = ["unused", *config["model"]["markers"]]
    config["course"]["adverse_events"]["terms"]["never"] = {"probability": 0.0}
    assert outcome(config) == usual


@given(any_model.random_models(), st.integers(0, 6))
@models.examples(30)
def test_an_event_that_never_happens_changes_nothing_in_any_valid_model(config, at):
    events = list(config["model"]["events"].items())
    added = copy.deepcopy(config)
    events.insert(
        at,
        (
            "added",
            {"from": [config["model"]["initial"]], "to": "dead", "hazard": {"family": "exponential", "rate": 0.0}},
        ),
    )
    added["model"]["events"] = dict(events)
    assert outcome(added) == outcome(config)


# -- V12, more patients, more replicates -------------------------------------------------------------------


@pytest.mark.parametrize("allocation", ["deficit", "random"])
@pytest.mark.parametrize("more", [1, FEW])
def test_adding_a_patient_changes_nobody(allocation, more):
    config = few(cohort={"allocation": allocation})
    larger = copy.deepcopy(config)
    larger["cohort"]["n_patients"] = FEW + more
    before = models.simulated(config, seed=SEED)
    after = models.simulated(larger, seed=SEED)
    assert models.lines(after)[:FEW] == models.lines(before)
    assert after.cell[:FEW].tolist() == before.cell.tolist()
    assert after.covariates[:FEW].tobytes() == before.covariates.tobytes()


@given(any_model.random_models(n_patients=24))
@models.examples(30)
def test_adding_a_patient_changes_nobody_in_any_valid_model(config):
    config["cohort"].pop("arms", None)  # an arm is declared with its size, a share of the whole
    config["cohort"]["n_patients"] = 24
    larger = copy.deepcopy(config)
    larger["cohort"]["n_patients"] = 25
    assert outcome(larger)[:24] == outcome(config)


def test_a_replicate_does_not_know_which_others_are_run():
    tables = models.compiled(few()).tables
    together = models.simulated(tables, seed=SEED, replicates=range(4))
    alone = models.simulated(tables, seed=SEED, replicates=range(2, 3))
    assert alone.difference(together.select(together.replicate == 2)) is None
    backwards = [models.lines(models.simulated(tables, seed=SEED, replicates=range(r, r + 1))) for r in (3, 2, 1, 0)]
    assert [own for part in backwards[::-1] for own in part] == models.lines(together)


def test_replicates_and_seeds_are_other_patients():
    tables = models.compiled(few()).tables
    first = models.lines(models.simulated(tables, seed=SEED, replicates=range(1)))
    assert first != models.lines(models.simulated(tables, seed=SEED, replicates=range(1, 2)))
    assert first != models.lines(models.simulated(tables, seed=SEED + 1, replicates=range(1)))


# -- V13, order of what has no order -------------------------------------------------------------------------


def reordered(config):
    """Everything that is a set in a modeler's mind, backwards."""
    config = copy.deepcopy(config)
    model, course = config["model"], config["course"]
    model["events"] = {name: dict(reversed(event.items())) for name, event in reversed(model["events"].items())}
    for key in ("states", "markers", "absorbing"):
        model[key] = model[key][::-1]
    for event in model["events"].values():
        event["from"] = event["from"][::-1]
        event["hazard"] = dict(reversed(event["hazard"].items()))
        for name, value in event["hazard"].items():
            if isinstance(value, dict):
                event["hazard"][name] = dict(reversed(value.items()))
    config["cohort"]["covariates"] = dict(reversed(config["cohort"]["covariates"].items()))
    course["adverse_events"]["terms"] = dict(reversed(course["adverse_events"]["terms"].items()))
    for group in ("cohort", "model", "course", "study"):
        config[group] = dict(reversed(config[group].items()))
    return dict(reversed(config.items()))


def test_the_order_of_keys_changes_nothing(usual):
    assert [sorted(own) for own in outcome(reordered(few()))] == [sorted(own) for own in usual]


def varying(values):
    events = {
        "onset": {
            "from": ["alive"],
            "set": ["responded"],
            "hazard": {"family": "exponential", "mean": "parameters.mean"},
        },
        "death": models.death(300.0, 1.3, ratios=[{"marker": "responded", "ratio": "parameters.ratio"}]),
    }
    config = models.container(events, markers=["responded"], parameters={"mean": 40.0, "ratio": 0.6}, n_patients=100)
    return models.compiled(config, varied=values).tables


def test_scenarios_do_not_know_of_each_other():
    # Order of scenarios, and a subset of them: each one's histories stay as they are, bit for bit.
    means, ratios = [40.0, 80.0, 20.0, 40.0], [0.6, 0.4, 1.0, 1.0]
    forward = models.simulated(varying({"mean": means, "ratio": ratios}), seed=SEED, replicates=range(2))
    backward = models.simulated(varying({"mean": means[::-1], "ratio": ratios[::-1]}), seed=SEED, replicates=range(2))
    for b in range(4):
        alone = models.lines(
            models.simulated(varying({"mean": [means[b]], "ratio": [ratios[b]]}), seed=SEED, replicates=range(2))
        )
        assert models.lines(forward.select(forward.parameter_set == b)) == alone
        assert models.lines(backward.select(backward.parameter_set == 3 - b)) == alone


# -- V14, a treatment that does nothing ---------------------------------------------------------------------


def test_a_hazard_ratio_of_one_leaves_every_bit_of_survival():
    untreated = models.simulated(varying({"mean": [1e6], "ratio": [0.5]}), seed=SEED, replicates=range(20))
    treated = models.simulated(varying({"mean": [40.0], "ratio": [1.0]}), seed=SEED, replicates=range(20))
    assert (treated.count(0) > untreated.count(0)).mean() > 0.5
    kept = untreated.count(0) == 0
    assert kept.mean() > 0.99
    assert treated.absorbed_at[kept].tobytes() == untreated.absorbed_at[kept].tobytes()


def test_an_arm_without_an_effect_is_the_other_arm():
    config = models.rich()
    config["cohort"]["arms"]["active"]["effects"] = {"hazard_ratio": {"death": 1.0, "response": 1}}
    same = copy.deepcopy(config)
    same["cohort"]["arms"]["active"]["effects"] = {}
    assert outcome(config) == outcome(same)


# -- V18, the horizon -------------------------------------------------------------------------------------


def cut(lines, horizon):
    return [[row for row in own if float.fromhex(row[0]) < horizon] for own in lines]


@pytest.mark.parametrize("horizon", [0.5, 42.0, 333.3])
def test_a_shorter_horizon_only_cuts(usual, horizon):
    config = few()
    config["study"]["horizon"] = horizon
    assert outcome(config) == cut(usual, horizon)


@given(any_model.random_models(), st.sampled_from([42.0, 147.0, 200.5]))
@models.examples(40)
def test_a_shorter_horizon_only_cuts_in_any_valid_model(config, horizon):
    shorter = copy.deepcopy(config)
    shorter["study"]["horizon"] = horizon
    assert outcome(shorter) == cut(outcome(config), horizon)


# -- V38, mixtures ----------------------------------------------------------------------------------------


def test_a_mixed_cohort_is_made_of_its_parts():
    # Patient i of stratum a lives as patient i of a cohort of a alone: the union is the weighted mixture, exactly.
    mixed = models.simulated(few(), seed=SEED)
    lines = models.lines(mixed)
    for s, stratum in enumerate(mixed.model.strata):
        pure = few()
        pure["cohort"]["mix"] = {"north": int(stratum == "north"), "south": int(stratum == "south")}
        alone = outcome(pure)
        own = np.flatnonzero(mixed.stratum == s)
        assert own.size >= FEW // 3
        assert [lines[i] for i in own] == [alone[i] for i in own]


@pytest.mark.parametrize("allocation", ["deficit", "random"])
def test_splitting_a_cohort_by_an_inert_flag_changes_nothing(allocation):
    whole, split = few(), few()
    for config in (whole, split):
        for event in config["model"]["events"].values():
            for holder in (event["hazard"], *event.get("ratios", [])):
                for key, value in holder.items():
                    if isinstance(value, dict):
                        holder[key] = value["north"]
    del whole["cohort"]["mix"]
    split["cohort"]["mix"] = {"smoker": 0.3, "other": 0.7}
    split["cohort"]["allocation"] = allocation
    assert outcome(split) == outcome(whole)


# -- blocks -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 7, 100])
def test_the_engine_s_batch_changes_no_bit(rich_histories, rich, monkeypatch, size):
    monkeypatch.setattr(reference, "BATCH", size)
    again = models.simulated(rich, seed=SEED, here=True, engine="reference")
    assert again.difference(rich_histories) is None


def test_processes_change_no_bit(monkeypatch):
    tables = models.compiled(few()).tables
    here = models.simulated(tables, seed=SEED, replicates=range(3), here=True, engine="reference")
    monkeypatch.setattr(models, "IN_PROCESS", 0)
    monkeypatch.setattr(models, "processors", lambda: 2)
    assert models.simulated(tables, seed=SEED, replicates=range(3), engine="reference").difference(here) is None


def arrays(tree):
    return {
        f"{node.path}/{name}": (variable.dims, np.asarray(variable.values).tolist().__repr__())
        for node in tree.subtree
        for name, variable in node.variables.items()
    }


def test_the_size_of_a_block_changes_no_array_of_the_results(monkeypatch):
    from simulator.experiment.preparation import prepare

    trees = []
    for size in (50, 170, 10_000):
        monkeypatch.setattr(running, "BLOCK_PATIENTS", size)
        experiment = prepare(
            ["cohort=ilp", "study.replicates=17", "output.patients=true", "output.events=true"]
        ).experiment
        trees.append(arrays(running.run(experiment)))
    assert trees[0] == trees[1] == trees[2]


def prepared(*overrides):
    from simulator.experiment.preparation import prepare

    return prepare([*overrides, "engine=reference"]).experiment


@pytest.mark.parametrize("size", [50, 1_000])
def test_the_number_of_threads_changes_no_array_of_the_results(size, monkeypatch):
    monkeypatch.setattr(running, "BLOCK_PATIENTS", size)
    trees = [arrays(running.run(prepared("study.replicates=20"), threads=threads)) for threads in (1, 2, 5)]
    assert trees[0] == trees[1] == trees[2]


def test_the_environment_says_how_many_threads(monkeypatch):
    from simulator.errors import ConfigError

    monkeypatch.setenv("LOBULE_THREADS", "3")
    assert (processors(), processors(2)) == (3, 2)
    monkeypatch.delenv("LOBULE_THREADS")
    assert processors() >= 1
    for wrong in ("0", "-1", "two", "1.5"):
        monkeypatch.setenv("LOBULE_THREADS", wrong)
        with pytest.raises(ConfigError, match="LOBULE_THREADS"):
            processors()


def test_a_few_blocks_are_held_at_a_time():
    held, most = 0, 0

    def work(task):
        nonlocal held, most
        held += 1
        most = max(most, held)
        return task * task

    found = []
    for task, result in in_order(work, range(200), 3):
        held -= 1
        found.append((task, result))
    assert found == [(task, task * task) for task in range(200)]
    assert most <= 3 + 2


def test_an_error_in_a_block_ends_the_run():
    def work(task):
        if task == 5:
            raise SimulationError("too much of it")
        return task

    with pytest.raises(SimulationError, match="too much of it"):
        list(in_order(work, range(1_000_000), 2))


@pytest.mark.parametrize("threads", [1, 2])
def test_progress_tells_of_every_patient_whatever_the_threads(threads, monkeypatch):
    monkeypatch.setattr(running, "BLOCK_PATIENTS", 100)
    said = []
    running.run(prepared("study.replicates=8"), threads=threads, progress=lambda *both: said.append(both))
    assert said[-1] == (648, 648)
    assert all(earlier[0] < later[0] for earlier, later in itertools.pairwise(said))
