"""Checks of ranks against enumeration of everything that can happen, and against SciPy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from calibration.sbc.rank_checks import (
    Coverage,
    alternative,
    chi_square_p_value,
    coverage,
    ecdf,
    ecdf_band,
    ecdf_p_value,
    points_of,
    verdict,
)
from calibration.sbc.ranks import PaperRanks, Ranks

PAPERS, DRAWS = 5, 4


EVERYTHING = [np.array(ranks) for ranks in itertools.combinations_with_replacement(range(DRAWS + 1), PAPERS)]
"""All ranks of n papers, whatever their order."""
CHANCE = np.array([stats.multinomial.pmf(np.bincount(r, minlength=DRAWS + 1), PAPERS, [0.2] * 5) for r in EVERYTHING])


def test_p_values_of_the_ecdf_are_exact():
    p_values = np.array([ecdf_p_value(ranks, DRAWS) for ranks in EVERYTHING])
    assert len(np.unique(p_values.round(12))) == 11
    for p in np.unique(p_values):
        assert CHANCE[p_values <= p + 1e-9].sum() == pytest.approx(p, abs=1e-9)


@pytest.mark.parametrize("level", [0.05, 0.2, 0.5])
def test_an_ecdf_leaves_its_band_with_at_most_the_stated_probability(level):
    low, high = ecdf_band(PAPERS, DRAWS, level)
    curves = np.array([ecdf(ranks, DRAWS) for ranks in EVERYTHING])
    leaves = np.any((curves < low - 1e-9) | (curves > high + 1e-9), axis=1)
    assert 0.0 < CHANCE[leaves].sum() <= level
    # No p-value lies between: the band is as narrow as the level allows.
    p_values = np.array([ecdf_p_value(ranks, DRAWS) for ranks in EVERYTHING])
    assert np.array_equal(leaves, p_values <= level)


def test_the_ecdf_of_many_papers_notices_a_shift_and_no_small_p_value_takes_long():
    ranks = np.random.default_rng(1).integers(0, 100, 2000)
    assert ecdf_p_value(ranks, 99) > 0.01
    assert ecdf_p_value(np.minimum(ranks, 80), 99) < 1e-60
    assert len(points_of(99)) == 99
    assert len(points_of(999)) == 100


def test_chi_square_is_that_of_scipy_in_bins_with_enough_expected():
    ranks = np.random.default_rng(2).integers(0, 100, 200)
    seen = np.histogram(ranks, bins=20, range=(0, 100))[0]
    assert chi_square_p_value(ranks, 99) == pytest.approx(stats.chisquare(seen).pvalue)
    few = ranks[:40]  # eight bins, of 12 or 13 ranks: 4.8 expected in the smaller, so seven bins of 14 or 15
    sizes = [15, 15, 14, 14, 14, 14, 14]
    ends = np.cumsum([0, *sizes])
    seen = [np.sum((few >= a) & (few < b)) for a, b in itertools.pairwise(ends)]
    assert chi_square_p_value(few, 99) == pytest.approx(stats.chisquare(seen, 40 * np.array(sizes) / 100).pvalue)
    assert chi_square_p_value(ranks[:9], 99) == 1.0
    assert chi_square_p_value(np.zeros(200, dtype=int), 99) < 1e-100


def test_coverage_has_exact_binomial_bounds():
    positions = np.concatenate([np.full(93, 0.5), np.full(7, 0.99)])
    found = coverage(positions, 0.95, bounds=0.001)
    assert found == Coverage(
        0.95,
        0.93,
        stats.binom.ppf(0.0005, 100, 0.95) / 100,
        stats.binom.ppf(0.9995, 100, 0.95) / 100,
        pytest.approx(2 * stats.binom.cdf(93, 100, 0.95)),
    )
    assert found.lower <= found.share <= found.upper
    never = coverage(np.full(100, 0.01), 0.8, bounds=0.001)
    assert never.share < never.lower
    assert coverage(np.array([0.1, 0.1 + 1e-9, 0.9 - 1e-9]), 0.8, bounds=0.5).share == pytest.approx(2 / 3)


def test_alternatives_are_checked_by_the_law_that_exchangeability_gives():
    # Three papers of 4 draws: 0, 2 and 3 draws of the alternative; it is true in the last. Pooled 0, 2 and 4 of 5.
    found = alternative("one", np.array([False, False, True]), np.array([0.0, 0.5, 0.75]), 4)
    chances = (0.0, 0.4, 0.8)
    law = {0: 0.0, 1: 0.0, 2: 0.0, 3: 0.0}
    for what in itertools.product((0, 1), repeat=3):
        law[sum(what)] += np.prod([p if one else 1 - p for p, one in zip(chances, what, strict=True)])
    tail = min(law[0] + law[1], law[1] + law[2] + law[3])
    assert (found.true, found.expected, found.p_value) == (1, 1.25, pytest.approx(min(1.0, 2 * tail)))
    assert alternative("one", np.ones(60, dtype=bool), np.full(60, 0.5), 99).p_value < 1e-15


def made(quantities, readings, ranks, positions, true, share):
    """A study of ranks among 99 draws, with what checks look at."""
    none = np.zeros(len(ranks))
    papers = PaperRanks(ranks, positions, none, true, share, none, none, none, none, none)
    return Ranks(quantities, readings, 99, papers, None, None)


def test_a_verdict_shares_its_level_among_all_checks_and_names_what_fails():
    rng = np.random.default_rng(3)
    ranks = np.stack([rng.integers(0, 100, 400), rng.integers(30, 70, 400)], axis=1)
    positions = (ranks + rng.random(ranks.shape)) / 100
    true, share = rng.integers(0, 3, 400), np.full((400, 3), 1 / 3)
    names = ("a", "b", "c")
    found = verdict(made(("right", "wide"), names, ranks, positions, true, share), 0.01)
    assert found.each == 0.01 / (2 * 4 + 3)
    assert not found.passed
    assert found.failed == ("χ² of wide", "ECDF of wide", "80% intervals of wide", "95% intervals of wide")
    two_shares = np.tile([1 / 3, 2 / 3], (400, 1))
    two = verdict(made(("right",), names[:2], ranks[:, :1], positions[:, :1], (true > 0).astype(int), two_shares), 0.01)
    assert [one.name for one in two.alternatives] == ["a"]
    assert two.passed
