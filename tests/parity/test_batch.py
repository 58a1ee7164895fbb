"""Experiments run together: each is what it is by itself, to the bit, whoever its neighbours are (V60, V61). α = 0."""

from __future__ import annotations

import itertools

import pytest

from simulator.experiment.preparation import prepare
from simulator.running import batch
from simulator.running.batch import outcomes, run, tree_of

COHORTS = ("pj203_mmc", "ilp", "il2_hai_adjuvant", "il2_hai_unresectable")


def experiment(*overrides):
    return prepare(overrides).experiment


def contents(tree):
    """Every array, name and attribute of a tree, bit for bit."""
    return {
        f"{node.path}/{name}": (values.dims, values.values.dtype, bits(values.values), str(values.attrs))
        for node in tree.subtree
        for name, values in node.variables.items()
    } | {"record": str(tree.attrs)}


def bits(values):
    return repr(values.tolist()) if values.dtype == object else values.tobytes()


@pytest.fixture(scope="module")
def various():
    """Of each cohort two experiments that differ in what only a table holds, and one that differs in more."""
    made = []
    for cohort in COHORTS:
        one = f"cohort={cohort}"
        made += [
            experiment(one, "study.replicates=7"),
            experiment(one, "study.replicates=7", "cohort.n_patients=50"),
            experiment(one, "study.replicates=4", "seed=3", "output.patients=true", "output.events=true"),
        ]
    return made


@pytest.fixture(scope="module")
def alone(various):
    return [contents(run(one, threads=1)) for one in various]


def test_experiments_that_differ_give_different_results(alone):
    assert all(alone[i] != alone[j] for i in range(len(alone)) for j in range(i))


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("block", [50, 16_384])
def test_together_they_give_what_each_gives_alone(various, alone, threads, block, monkeypatch):
    monkeypatch.setattr(batch, "BLOCK_PATIENTS", block)
    found = outcomes(various, threads=threads)
    assert [contents(tree_of(*both)) for both in zip(various, found, strict=True)] == alone


def test_in_another_order_they_give_the_same(various, alone):
    found = outcomes(various[::-1], threads=2)
    assert [contents(tree_of(*both)) for both in zip(various[::-1], found, strict=True)] == alone[::-1]


def test_the_engine_of_one_changes_nothing_for_another(various, alone):
    mixed = [various[0], experiment("cohort=ilp", "study.replicates=7", "engine=reference"), various[1]]
    found = list(outcomes(mixed))
    assert [outcome.engine for outcome in found] == ["compiled", "reference", "compiled"]
    assert contents(tree_of(mixed[0], found[0])) == alone[0]
    assert contents(tree_of(mixed[2], found[2])) == alone[1]
    assert found[1].targets.tobytes() == next(outcomes([various[3]])).targets.tobytes()


def test_progress_counts_the_patients_of_all(various):
    said = []
    list(outcomes(various[:3], threads=2, progress=lambda *both: said.append(both)))
    total = sum(one.study.replicates * int(one.tables.patients.n_patients[0]) for one in various[:3])
    assert said[-1] == (total, total)
    assert all(earlier[0] < later[0] for earlier, later in itertools.pairwise(said))
