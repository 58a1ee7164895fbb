"""Parameter sets declared, stacked and run together: each is what it is by itself, to the bit (V60, V61). α = 0."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simulator import tables
from simulator.engines import compiled
from simulator.errors import ConfigError
from simulator.experiment.batches import declare_many
from simulator.experiment.preparation import prepare
from simulator.running import batch
from simulator.solving import baseline
from tests.parity.cases import led_by_sets

VALUES = {
    "pj203_mmc": {
        "response.probability.colorectal": [0.41, 0.3, 0.41, 0.5],
        "response.hazard_ratio": [0.6, 1.0, 0.3, 1.3],
        "survival.median.stomach": ["216 d", "300 d", "9 mo", 400.0],
        "adverse_events.pain": [0.494, 0.2, 0.6, 0.5],
    },
    "ilp": {"survival.median": ["500 d", "700 d"], "survival.shape": [1.1, 0.9]},
    "il2_hai_adjuvant": {"recurrence.median": ["14 mo", "10 mo", "2 y"], "recurrence.sigma": [0.8, 1.0, 0.6]},
    "il2_hai_unresectable": {"response.onset_median": ["60 d", "70 d"], "response.hazard_ratio": [0.5, 0.8]},
}


def experiment(*overrides):
    return prepare([*overrides, "study.replicates=3"]).experiment


def alone(cohort, values, b):
    baseline._KNOWN.clear()  # solve it again
    return experiment(f"cohort={cohort}", *(f"parameters.{path}={column[b]}" for path, column in values.items()))


def row(made, b):
    """The arrays of one parameter set, its tabulated hazards by what they hold."""
    found = {}
    for part in (made, made.course, made.patients):
        found |= {name: getattr(part, name)[b].tobytes() for name in led_by_sets(part) if name != "table"}
    knots = np.stack([made.knot_time, made.knot_hazard])
    found["table"] = [
        b"" if h == tables.NONE else knots[:, made.knot_offset[h] : made.knot_offset[h + 1]].tobytes()
        for h in made.table[b].ravel()
    ]
    return found


@pytest.fixture(scope="module", params=VALUES)
def case(request):
    values = VALUES[request.param]
    n_sets = len(next(iter(values.values())))
    return declare_many(experiment(f"cohort={request.param}"), values), [
        alone(request.param, values, b) for b in range(n_sets)
    ]


def test_many_declared_together_are_what_each_is_declared_alone(case):
    many, each = case
    assert many.tables.n_sets == len(each)
    rows = [row(many.tables, b) for b in range(len(each))]
    assert rows == [row(one.tables, 0) for one in each]
    assert all(rows[0] != other for other in rows[1:])
    assert many.solved.values == each[0].solved.values  # of the first set


def test_a_stack_holds_what_each_holds(case):
    _, each = case
    backwards = tables.stack([one.tables for one in each[::-1]])
    assert [row(backwards, b) for b in range(len(each))] == [row(one.tables, 0) for one in each[::-1]]


def test_stacked_tables_are_simulated_as_they_are_alone(case):
    _, each = case
    together = compiled.simulate(tables.stack([one.tables for one in each]), seed=5, replicates=range(2))
    for b, one in enumerate(each):
        own = together.select(together.parameter_set == b)
        own = replace(own, model=one.tables, parameter_set=np.zeros_like(own.parameter_set))
        assert own.difference(compiled.simulate(one.tables, seed=5, replicates=range(2))) is None


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("block", [100, 600, 16_384])
def test_outcomes_and_targets_of_sets_are_those_of_each_alone(case, threads, block, monkeypatch):
    many, each = case
    monkeypatch.setattr(batch, "BLOCK_PATIENTS", block)
    together = list(batch.outcomes([many], threads=threads))
    apart = list(batch.outcomes(each, threads=threads))
    for one, other in zip(together, apart, strict=True):
        assert one.targets.tobytes() == other.targets.tobytes()
        assert {name: repr(value.values.tolist()) for name, value in one.statistics.items()} == {
            name: repr(value.values.tolist()) for name, value in other.statistics.items()
        }
    found = batch.targets(many, threads=threads)
    assert found.tobytes() == np.stack([one.targets for one in apart]).tobytes()


def test_a_longer_course_is_stacked_with_a_shorter_one():
    courses = [experiment(f"course.max_administrations={most}").tables for most in (3, 11, 5)]
    together = compiled.simulate(tables.stack(courses), seed=5, replicates=range(2))
    for b, one in enumerate(courses):
        own = together.select(together.parameter_set == b)
        own = replace(own, model=one, parameter_set=np.zeros_like(own.parameter_set))
        assert own.difference(compiled.simulate(one, seed=5, replicates=range(2))) is None


def test_what_cannot_be_stacked_is_named():
    usual = experiment().tables
    with pytest.raises(ValueError, match=r"tables differ in states, markers, events, .*parameters"):
        tables.stack([usual, experiment("cohort=ilp").tables])
    other = replace(usual, course=replace(usual.course, dose_per=1 - usual.course.dose_per))
    with pytest.raises(
        ValueError, match=r"tables differ in course\.dose_per: they cannot be parameter sets of one model"
    ):
        tables.stack([usual, other])


def test_values_that_no_experiment_takes_are_named():
    declared = experiment()
    with pytest.raises(
        ConfigError, match=r"parameters\.response\.hazard_ration.*did you mean 'response\.hazard_ratio'"
    ):
        declare_many(declared, {"response.hazard_ration": [1.0]})
    with pytest.raises(ConfigError, match="must be as many for every parameter"):
        declare_many(declared, {"response.hazard_ratio": [1.0, 0.5], "survival.family": ["weibull"]})
    with pytest.raises(ConfigError, match="must be as many for every parameter, and for one at least"):
        declare_many(declared, {})
    with pytest.raises(ConfigError, match=r"parameters\.response\.hazard_ratio = -1\.0: must be a ratio"):
        declare_many(declared, {"response.hazard_ratio": [1.0, -1.0]})


def test_sets_that_cannot_be_solved_are_named_one_by_one():
    values = {"response.probability.stomach": [0.6, 0.9, 0.5, 0.95], "response.hazard_ratio": [0.6, 0.6, 0.7, 0.8]}
    with pytest.raises(
        ConfigError, match=r"cannot be the observed share in stratum 'stomach'.*\(parameter set 1\)"
    ) as error:
        declare_many(experiment(), values)
    assert {problem.parameter_set for problem in error.value.problems} == {1, 3}
