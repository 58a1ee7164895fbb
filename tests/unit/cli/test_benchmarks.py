"""What the benchmarks compare does the same work: the yardsticks simulate W1 and W2 as they are declared."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

import simulator
from simulator.engines import reference
from simulator.kernels import rng
from tests.benchmarks import hand_kernel, numpy_vectorised, plain_simpy
from tests.benchmarks.__main__ import table
from tests.benchmarks.measure import Measured
from tests.benchmarks.sections import LIMIT, Options
from tests.benchmarks.workloads import CONFIGS, tables, tiled

LARGEST_Z = 5.0
"""Of |z| in a comparison of two means: a false alarm has probability 6e-7, below 3e-5 in all of this file."""


def by_hand(n, *, seed):
    return hand_kernel.simulate(hand_kernel.numbers_of(tables("w1", 2_000)), seed=seed, replicate=0, patients=range(n))


def observed_w1(response, progression, death, visits, adverse_events):
    """Variables of one patient each whose means are compared, a row each."""
    return np.array(
        [
            visits,
            adverse_events,
            np.isfinite(response),
            np.isfinite(progression),
            np.isinf(death),
            death < 352.0,
            np.where(np.isfinite(response), response, 0.0),
        ],
        dtype=float,
    )


def z_between(a, b):
    return (a.mean(axis=1) - b.mean(axis=1)) / np.sqrt(a.var(axis=1) / a.shape[1] + b.var(axis=1) / b.shape[1])


def test_the_hand_written_kernel_equals_the_reference_engine_to_the_bit():
    model, seed, replicate = tables("w1", 2_000), 7, 3
    histories = reference.simulate(model, seed=seed, replicates=range(replicate, replicate + 1))
    made = hand_kernel.simulate(hand_kernel.numbers_of(model), seed=seed, replicate=replicate, patients=range(2_000))
    codes = model.log_codes
    for event, times in enumerate((made.response, made.progression, made.death)):
        assert np.array_equal(times, histories.first_time(event)), model.events[event]
    assert np.array_equal(made.visits, histories.count(codes.administration))
    assert np.array_equal(made.adverse_events, histories.count(codes.first_term))


def test_the_hand_written_kernel_depends_on_no_block():
    numbers = hand_kernel.numbers_of(tables("w1", 2_000))
    whole = hand_kernel.simulate(numbers, seed=7, replicate=0, patients=range(5_000))
    part = hand_kernel.simulate(numbers, seed=7, replicate=0, patients=range(1_001, 4_000))
    for one, other in zip(whole, part, strict=True):
        assert np.array_equal(one[1_001:4_000], other)


@pytest.mark.parametrize("seed", [0, 20240917, 2**64 - 1])
def test_philox_written_out_draws_the_bits_of_the_projects_own(seed):
    patients, stream, occurrence = np.arange(1_000), 0x80000001, 5
    u = rng.uniforms(seed, patients, 2, stream, occurrence)
    words = [np.uint64(word) for word in (seed, 2, stream, occurrence)]
    bits = [hand_kernel.draw_bits(words[0], np.uint64(patient), *words[1:]) for patient in patients]
    assert np.array_equal(((np.array(bits, np.uint64) >> np.uint64(12)).astype(float) + 0.5) * 2.0**-52, u)


def test_w1_gives_the_answers_that_others_gave():
    # Five systems agreed on these; the bounds are theirs and five standard errors at 10⁶ patients.
    made = by_hand(1_000_000, seed=1)
    assert np.median(made.death) == pytest.approx(352.0, abs=1.0 + 1.5)
    assert made.visits.mean() == pytest.approx(6.895, abs=0.005 + 0.02)
    assert made.adverse_events.mean() == pytest.approx(2.07, abs=0.005 + 0.008)
    assert np.isfinite(made.response).mean() == pytest.approx(0.438, abs=0.0005 + 0.0025)
    assert np.isinf(made.death).mean() == pytest.approx(0.0062, abs=0.00005 + 0.0004)


@pytest.mark.parametrize("yardstick", ["simulate", "simulate_columns"])
def test_the_numpy_scripts_simulate_w1(yardstick):
    made = getattr(numpy_vectorised, yardstick)(400_000, seed=1)
    assert np.all(np.abs(z_between(observed_w1(*made), observed_w1(*by_hand(400_000, seed=2)))) < LARGEST_Z)


def test_plain_simpy_simulates_w1():
    made = np.array(plain_simpy.simulate("w1", 20_000, seed=1)).T
    assert np.all(np.abs(z_between(observed_w1(*made), observed_w1(*by_hand(400_000, seed=2)))) < LARGEST_Z)


def test_plain_simpy_simulates_w2():
    histories = reference.simulate(tables("w2", 10_000), seed=1, replicates=range(1))
    ours = np.array([histories.first_time(0), histories.absorbed_at])
    theirs = np.array(plain_simpy.simulate("w2", 50_000, seed=1)).T

    def observed(times):
        return np.concatenate([np.isfinite(times), times < 300.0, times < 900.0]).astype(float)

    assert np.all(np.abs(z_between(observed(ours), observed(theirs))) < LARGEST_Z)


@pytest.mark.parametrize("cohort", ["w1", "w2"])
def test_a_workload_runs_through_the_public_call(cohort):
    tree = simulator.simulate([f"cohort={cohort}", "cohort.n_patients=50"], config_dir=CONFIGS)
    assert "statistics" in tree.children


def test_every_parameter_set_of_tiled_tables_is_the_model():
    model = tables("w1", 50)
    once = reference.simulate(model, seed=1, replicates=range(2))
    thrice = reference.simulate(tiled(model, 3), seed=1, replicates=range(2))
    assert thrice.model.n_sets == 3
    for number in range(3):
        part = thrice.select(thrice.parameter_set == number)
        assert np.array_equal(part.log_time, once.log_time)
        assert np.array_equal(part.log_code, once.log_code)


def test_the_table_shows_ratios_and_says_why_a_row_is_missing():
    limit = Measured("W1", "limit", 10, samples=[19.0, 20.0, 22.0], role=LIMIT)
    slower = Measured("W1", "slower", 10, samples=[50.0], against=(LIMIT,))
    absent = Measured("W1", "absent", missing="not installed")
    console = Console(width=165, file=io.StringIO())
    console.print(table([limit, slower, absent], {"processor": "any"}, Options(False, 3, (), "reference")))
    text = console.file.getvalue()
    assert "19 – 22" in text
    assert "2.5 ×" in text
    assert "absent: not installed" in text
