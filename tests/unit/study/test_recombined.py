"""Studies put together anew from simulated patients: who stands where, and what estimators make of them."""

from __future__ import annotations

import gc
import warnings
import weakref

import numpy as np
import pytest

from simulator.experiment.batches import declare_many
from simulator.experiment.preparation import prepare
from simulator.experiment.schema import declare
from simulator.running import batch
from simulator.running.experiment import design_of, trajectories_of
from simulator.study.estimators import conclude, gather
from simulator.study.observe import observe
from simulator.study.recombined import Recombined, recombinations

REPLICATES = 30


def experiment(*overrides, cohort="pj203_mmc"):
    made = prepare([f"cohort={cohort}", f"study.replicates={REPLICATES}", *overrides], config_dir=None, output=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return declare(made.container, overrides=made.overrides)


@pytest.fixture(scope="module", params=["pj203_mmc", "ilp", "il2_hai_adjuvant"])
def studies(request):
    made = experiment(cohort=request.param)
    data = observe(trajectories_of(made, range(REPLICATES)), design_of(made), seed=made.root.seed)
    return data, [entry.statistic for entry in made.selection.targets]


def test_studies_put_together_anew_are_forgotten_at_once(studies):
    # As in test_study_observe: in a ring of references, a search of thousands of sets would fill the memory.
    data, statistics = studies
    gc.collect()
    gc.disable()
    try:
        anew = Recombined(data, recombinations(REPLICATES, data.shape[1], 2, seed=3))
        conclude(gather(anew, statistics), statistics, 2 * REPLICATES)
        alive = weakref.ref(anew)
        del anew
        assert alive() is None
    finally:
        gc.enable()


def test_every_patient_is_used_once_a_time_in_the_same_place():
    source = recombinations(7, 5, 3, seed=1).reshape(3, 7, 5)
    assert (np.sort(source, axis=1) == np.arange(7)[None, :, None]).all()
    assert len({source[k, :, j].tobytes() for k in range(3) for j in range(5)}) == 15  # of 7! orders: a repeat 2 %


def test_recombinations_depend_on_their_address_alone():
    many = recombinations(7, 5, 4, seed=1)
    assert np.array_equal(many[:14], recombinations(7, 5, 2, seed=1))
    assert np.array_equal(many[:, :3], recombinations(7, 3, 4, seed=1))
    assert not np.array_equal(many, recombinations(7, 5, 4, seed=2))


def test_studies_as_they_were_give_the_same_estimates_in_every_bit(studies):
    data, statistics = studies
    same = Recombined(data, np.repeat(np.arange(REPLICATES)[:, None], data.shape[1], axis=1))
    expected = conclude(gather(data, statistics), statistics, REPLICATES)
    assert np.array_equal(conclude(gather(same, statistics), statistics, REPLICATES), expected, equal_nan=True)


def test_studies_in_another_order_give_the_same_estimates_in_that_order(studies):
    data, statistics = studies
    order = np.random.default_rng(1).permutation(REPLICATES)
    other = Recombined(data, np.repeat(order[:, None], data.shape[1], axis=1))
    expected = conclude(gather(data, statistics), statistics, REPLICATES)[order]
    assert np.array_equal(conclude(gather(other, statistics), statistics, REPLICATES), expected, equal_nan=True)


def test_patients_of_one_parameter_set_stay_in_it():
    many = declare_many(experiment(), {"adverse_events.pain": [0.4, 0.5, 0.6]})
    together = batch.targets(many, of=["D14"], recombined=2)
    assert together.shape == (3, 3 * REPLICATES, 1)
    for value, found in zip([0.4, 0.5, 0.6], together, strict=True):
        alone = batch.targets(declare_many(experiment(), {"adverse_events.pain": [value]}), of=["D14"], recombined=2)
        assert np.array_equal(found, alone[0])
        assert np.isclose(found[:REPLICATES].mean(), found[REPLICATES:].mean())  # the same patients, n is fixed


def test_targets_that_are_asked_for_come_in_that_order():
    made = experiment()
    everything = batch.targets(made)
    names = [entry.id for entry in made.selection.targets]
    some = batch.targets(made, of=["D27", "D14", "D06"])
    assert np.array_equal(some, everything[:, :, [names.index(name) for name in ("D27", "D14", "D06")]])
