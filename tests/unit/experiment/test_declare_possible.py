"""Many parameter sets of which some cannot be declared: the others are not lost, and each is what it is alone."""

from __future__ import annotations

import pytest

from simulator.configuration.draws import published_with
from simulator.errors import ConfigError
from simulator.experiment.batches import declare_many, declare_possible
from simulator.experiment.preparation import prepare
from simulator.experiment.schema import declare

STOMACH = "response.probability.stomach"
MEDIAN = "survival.median.stomach"


@pytest.fixture(scope="module")
def experiment():
    config = prepare([]).container
    return declare({**config, "parameters": published_with(config["parameters"], ["response.probability"])})


def possible(experiment, values):
    return declare_possible(experiment.config, values, overrides=experiment.overrides)


def alone(experiment, values, row):
    """What `declare` says of one set, alone."""
    with pytest.raises(ConfigError) as refusal:
        declare(experiment.config, overrides=experiment.overrides, varied={p: [c[row]] for p, c in values.items()})
    return "; ".join(map(str, refusal.value.problems))


def test_infeasible_sets_are_refused_with_reasons_and_the_others_kept(experiment):
    values = {STOMACH: [0.5, 0.9, 0.6, 0.88, 0.9], MEDIAN: ["216 d", "216 d", "200 d", "216 d", "216 d"]}
    found = possible(experiment, values)
    assert found.rows == (0, 2)
    assert set(found.refused) == {1, 3, 4}  # 4 repeats 1: what was refused once is refused again
    for row, reason in found.refused.items():
        assert reason == alone(experiment, values, row)
        assert "cannot be the observed share" in reason
    both = declare_many(experiment, {path: [column[row] for row in (0, 2)] for path, column in values.items()})
    assert found.experiment.tables.knot_hazard.tobytes() == both.tables.knot_hazard.tobytes()
    assert found.experiment.tables.probability.tobytes() == both.tables.probability.tobytes()


@pytest.mark.parametrize(
    ("path", "column"),
    [
        ("adverse_events.pain", [0.5, 0.4, 1.5, 0.2, 0.1, "a"]),  # the problem names the set
        ("survival.response_effect", ["prognostic", "causal", "neither", 0.5, 0, 1.5]),  # a share, or its name
    ],
)
def test_a_value_that_is_not_allowed_is_found_among_others(experiment, path, column):
    values = {STOMACH: [0.5, 0.6, 0.5, 0.9, 0.4, 0.3], path: column}
    found = possible(experiment, values)
    assert found.rows == (0, 1, 4)
    assert found.experiment.tables.n_sets == 3
    assert {row: reason == alone(experiment, values, row) for row, reason in found.refused.items()} == {
        2: True, 3: True, 5: True
    }  # fmt: skip


def test_where_none_can_be_declared_there_is_no_experiment(experiment):
    found = possible(experiment, {STOMACH: [0.9, 1.5]})
    assert found.experiment is None
    assert found.rows == ()
    assert set(found.refused) == {0, 1}
