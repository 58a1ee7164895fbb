"""Plain summaries against numpy on each study alone, and what empty groups and ties give."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.study.summaries import (
    maximum,
    mean,
    median,
    minimum,
    mode_share,
    naive_median,
    proportion,
    share_at,
)


@pytest.fixture(scope="module")
def studies():
    rng = np.random.default_rng(1)
    values = rng.integers(1, 12, (300, 25)).astype(float)
    member = rng.random(values.shape) < rng.random((300, 1))
    member[0] = False
    member[1] = True
    return np.where(member, values, rng.choice([np.nan, -1e300, 1e300], values.shape)), member


@pytest.mark.parametrize(
    ("summary", "alone"),
    [(median, np.median), (naive_median, np.median), (mean, np.mean), (minimum, np.min), (maximum, np.max)],
)
def test_a_summary_is_that_of_each_study_alone(studies, summary, alone):
    values, member = studies
    found = summary(values, member)
    for study, own in enumerate(member):
        if own.any():
            assert found[study] == pytest.approx(alone(values[study][own]), rel=1e-14)
        else:
            assert np.isnan(found[study])


def test_a_proportion_has_its_own_count_and_denominator():
    flag = np.array([[True, True, False, False], [True, False, False, False]])
    member = np.array([[True, False, True, True], [False, False, False, False]])
    found = proportion(flag, member)
    assert found.count.tolist() == [1, 0]
    assert found.denominator.tolist() == [3, 0]
    assert found.share[0] == 1 / 3
    assert np.isnan(found.share[1])


def test_the_share_at_the_mode():
    values = np.array([[600.0, 600.0, 300.0, 900.0, 600.0], [1.0, 2.0, 3.0, 4.0, 5.0], [7.0] * 5])
    member = np.array([[True, True, True, True, False], [True] * 5, [False] * 5])
    assert mode_share(values, member).share[:2].tolist() == [2 / 4, 1 / 5]
    assert np.isnan(mode_share(values, member).share[2])
    assert share_at(values, member, 600.0).count.tolist() == [2, 0, 0]
    assert share_at(values, member, 900.0).share[0] == 1 / 4


def test_the_mode_share_is_the_largest_share_at_any_value(studies):
    values, member = studies
    largest = np.max([share_at(values, member, float(v)).count for v in range(1, 12)], axis=0)
    assert np.array_equal(mode_share(values, member).count, largest)


def test_the_median_of_unreached_times_is_unreached():
    values = np.array([[1.0, np.inf, np.inf], [1.0, 2.0, np.inf], [np.inf, np.inf, 1.0]])
    member = np.array([[True] * 3, [True] * 3, [True, True, False]])
    assert median(values, member).tolist() == [np.inf, 2.0, np.inf]
