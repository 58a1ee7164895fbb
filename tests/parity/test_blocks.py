"""How the compiled engine divides its work changes no bit (V60, V61): threads, blocks, replicates, sets, patients."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from simulator.engines import reference
from simulator.engines.compiled.output import more_rows
from simulator.trajectories import Trajectories, concatenate
from tests import any_model, models
from tests.parity import cases
from tests.parity.cases import Case
from tests.parity.differences import explain_difference

compiled = pytest.importorskip("simulator.engines.compiled")

SETS = 4
MODELS = ("rich", "random allocation", "grid")


def case_of(name: str) -> Case:
    """One of a few models in four parameter sets, which differ in number of patients and in horizon."""
    rng = np.random.default_rng(5)
    if name == "grid":
        config = any_model.drawn(any_model.grid_models(n_patients=250), 41)
    else:
        config = models.rich(cohort={"allocation": "random" if name == "random allocation" else "deficit"})
        for arm in config["cohort"]["arms"].values():
            arm["n_patients"] //= 4
    unit = cases.step_of(config) if name == "grid" else None
    tables = cases.varied(models.compiled(config, quiet=True).tables, SETS, rng, unit=unit)
    return Case(name, config, tables, 7, range(3))


@pytest.fixture(scope="module", params=MODELS)
def case(request) -> Case:
    return case_of(request.param)


@pytest.fixture(scope="module")
def whole(case) -> Trajectories:
    histories = case.by(compiled)
    assert isinstance(histories, Trajectories)
    assert np.diff(np.bincount(histories.parameter_set)).any()  # sets of different sizes
    return histories


def simulated(case: Case, **options) -> Trajectories:
    return compiled.simulate(case.tables, **{"seed": case.seed, "replicates": case.replicates} | options)


def assert_equal(one: Trajectories, other: Trajectories) -> None:
    said = explain_difference(one, other)
    assert said is None, said


def test_the_whole_is_what_the_reference_gives(case, whole):
    assert_equal(case.by(reference), whole)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_change_no_bit(case, whole, threads):
    assert_equal(whole, simulated(case, threads=threads))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("block", [1, 7, 1_000, 10**9])
def test_blocks_change_no_bit(case, whole, block, threads):
    assert_equal(whole, simulated(case, block=block, threads=threads))


@pytest.mark.parametrize("threads", [1, 2])
def test_histories_that_need_more_room_than_expected_change_no_bit(case, whole, threads, monkeypatch):
    grown = []

    def more(*arguments):
        grown.append(arguments)
        return more_rows(*arguments)

    monkeypatch.setattr(compiled, "ROOM", 0)
    monkeypatch.setattr(compiled, "more_rows", more)
    assert_equal(whole, simulated(case, block=50, threads=threads))
    assert len(grown) >= 3


def test_a_second_run_changes_no_bit(case, whole):
    assert_equal(whole, simulated(case))


def test_replicates_backwards_and_by_themselves(case, whole):
    for r in reversed(case.replicates):
        assert_equal(whole.select(whole.replicate == r), simulated(case, replicates=range(r, r + 1)))
    assert_equal(whole.select(whole.replicate >= 1), simulated(case, replicates=range(1, 3)))


def test_parameter_sets_by_themselves_and_in_part(case, whole):
    alone = [simulated(case, parameter_sets=range(b, b + 1)) for b in range(SETS)]
    assert_equal(whole, concatenate(alone))
    some = np.isin(whole.parameter_set, (1, 2))
    assert_equal(whole.select(some), simulated(case, parameter_sets=range(1, 3)))


@pytest.mark.parametrize("engine", [compiled, reference], ids=["compiled", "reference"])
def test_ranges_of_patients_make_up_the_whole(case, whole, engine):
    n = int(case.tables.patients.n_patients[0])
    cuts = [0, 1, 8, n // 2, n // 2, n]
    one = {"parameter_sets": range(1), "replicates": range(1, 2)}
    parts = [
        engine.simulate(case.tables, seed=case.seed, patients=range(first, last), **one)
        for first, last in pairwise(cuts)
    ]
    assert_equal(whole.select((whole.parameter_set == 0) & (whole.replicate == 1)), concatenate(parts))


def test_a_range_of_patients_is_taken_from_every_set_and_replicate(case, whole):
    chosen = simulated(case, patients=range(5, 60))
    assert_equal(whole.select((whole.patient >= 5) & (whole.patient < 60)), chosen)
    assert_equal(
        reference.simulate(case.tables, seed=case.seed, replicates=case.replicates, patients=range(5, 60)), chosen
    )


def test_a_set_does_not_know_in_which_row_it_stands(case, whole):
    # V60: the order of scenarios. The last set alone in a table of its own.
    one = {spec: np.asarray(getattr(case.tables, spec))[-1:] for spec in cases.led_by_sets(case.tables)}
    course = {s: np.asarray(getattr(case.tables.course, s))[-1:] for s in cases.led_by_sets(case.tables.course)}
    patients = {s: np.asarray(getattr(case.tables.patients, s))[-1:] for s in cases.led_by_sets(case.tables.patients)}
    last = replace(
        case.tables,
        course=replace(case.tables.course, **course),
        patients=replace(case.tables.patients, **patients),
        **one,
    )
    alone = compiled.simulate(last, seed=case.seed, replicates=case.replicates)
    ours = whole.select(whole.parameter_set == SETS - 1)
    assert_equal(replace(ours, parameter_set=np.zeros_like(ours.parameter_set)), alone)


def test_progress_counts_every_patient_once(case, whole):
    done: list[int] = []
    simulated(case, progress=done.append)
    assert sum(done) == len(whole)
