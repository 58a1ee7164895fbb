"""What more studies can be added to: sums of an accumulator, and their bytes."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from simulator.experiment.preparation import prepare
from simulator.experiment.schema import Experiment
from simulator.running.batch import PartialRun, RunResult, outcomes
from simulator.study.accumulators import Accumulator
from simulator.sweep.sums import packed, unpacked

CASES = [
    ["cohort=pj203_mmc"],
    ["cohort=ilp", "cohort.n_patients=30000"],  # blocks of one study
    [
        "cohort=il2_hai_adjuvant",
        "output.decisions={go: {target: I11, above: 0.2}}",
        "output.estimates={mean: {estimator: restricted_mean, variable: survival, time: 3 y}}",
    ],
]


def run(words: list[str], replicates: int, before: RunResult | None = None, threads: int = 1) -> RunResult:
    partial = None if before is None else PartialRun(before.targets, before.estimates, before.decisions, before.sums)
    [outcome] = outcomes([experiment(words, replicates)], partial=[partial], summed=True, threads=threads)
    return outcome


def experiment(words: list[str], replicates: int) -> Experiment:
    return prepare([*words, f"study.replicates={replicates}"]).experiment


@pytest.mark.parametrize("words", CASES)
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.filterwarnings("ignore::simulator.errors.DeclarationWarning")
def test_studies_that_are_added_give_what_one_run_gives(words: list[str], threads: int) -> None:
    whole, first = run(words, 4), run(words, 1)
    again = run(words, 4, run(words, 3, first), threads)  # twice extended
    np.testing.assert_array_equal(again.targets, whole.targets)
    np.testing.assert_array_equal(again.estimates, whole.estimates)
    np.testing.assert_array_equal(again.decisions, whole.decisions)
    assert again.statistics.keys() == whole.statistics.keys()
    for name, variable in whole.statistics.items():
        if not {"patient", "history"} & set(variable.dims):
            np.testing.assert_array_equal(again.statistics[name].values, variable.values, err_msg=name)
    assert packed({0: again.sums}) == packed({0: whole.sums})
    assert first.sums["replicates"] == 1


def test_bytes_give_back_every_array() -> None:
    rng = np.random.default_rng(1)
    sparse = np.zeros((2, 500), dtype=np.int64)
    sparse[1, [3, 499]] = 7, -1
    sums = {"sparse": sparse, "dense": rng.integers(0, 9, (3, 4)), "curves": rng.random((2, 0, 3)), "n": np.array(5)}
    data = packed({3: sums, 8: {}, 11: {"zeros": np.zeros((2, 3), dtype=np.int64)}})
    found = unpacked(data)
    assert found.keys() == {3, 11}
    for name, values in sums.items():
        np.testing.assert_array_equal(found[3][name], values)
        assert found[3][name].dtype == values.dtype
    np.testing.assert_array_equal(found[11]["zeros"], np.zeros((2, 3)))
    assert packed({3: sums}) == packed({3: {name: values.copy() for name, values in sums.items()}})
    with pytest.raises(zlib.error):
        unpacked(data[:-4])


def test_an_accumulator_merges_only_before_anything_is_added() -> None:
    sums = run(["cohort=il2_hai_adjuvant"], 2).sums
    accumulator = Accumulator(np.array([0.0, 1.0]))
    accumulator.merge(sums)
    with pytest.raises(ValueError, match="nothing was added"):
        accumulator.merge(sums)
    with pytest.raises(ValueError, match="no replicate was added"):
        Accumulator(np.array([0.0, 1.0])).sums()
