"""Closed-form likelihoods against enumeration, scipy, the formulas of EVIDENCE B3, and simulated papers."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
from scipy import stats
from scipy.special import gammaln, xlogy

from calibration.likelihoods.order_statistics import (
    Cut,
    OrderStatistic,
    log_path_probabilities,
    log_sum,
    median_rank,
    merged,
    paths_of,
)
from calibration.likelihoods.terms import DeathCounts, Outcomes, ProportionTerm, Sample
from calibration.priors.parameters import ParameterSets
from simulator.study.survival import kaplan_meier_median, landmark

ONE = ParameterSets({}, 1)


@dataclass(frozen=True)
class Weibull:
    """exp(−log 2·(t/m)^k), a curve for tests that knows nothing of the simulator's."""

    median: float | str
    shape: float | str

    @property
    def parameters(self):
        return frozenset(x for x in (self.median, self.shape) if isinstance(x, str))

    def log_survival(self, sets, times):
        m, k = (np.broadcast_to(sets[x] if isinstance(x, str) else x, sets.size) for x in (self.median, self.shape))
        return -math.log(2.0) * (times[None, :] / m[:, None]) ** k[:, None]

    def s(self, t):
        return math.exp(-math.log(2.0) * (t / self.median) ** self.shape) if t < math.inf else 0.0


@dataclass(frozen=True)
class Known:
    """A share that is a parameter."""

    name: str

    @property
    def parameters(self):
        return frozenset({self.name})

    def of(self, sets):
        return sets[self.name]


def density(term, sets=ONE):
    return term.log_density(sets)


# -------------------------------------------------------------------- every patient in every place, enumerated


def enumerated(groups, statement):
    """Probability of a statement on death times, by enumeration of every patient's segment of the time axis.

    ``groups``: (curve, size) each. ``statement``: from one list of times a group to true or false; it must only
    depend on the segments between the marks, given as `MARKS`.
    """
    edges = [0.0, *MARKS, math.inf]
    middle = [(a + b) / 2 if b < math.inf else a + 1.0 for a, b in itertools.pairwise(edges)]
    total = 0.0
    choices = [range(len(middle))] * sum(size for _, size in groups)
    for places in itertools.product(*choices):
        probability, times, start = 1.0, [], 0
        for curve, size in groups:
            ours = places[start : start + size]
            start += size
            for place in ours:
                probability *= curve.s(edges[place]) - curve.s(edges[place + 1])
            times.append(sorted(middle[place] for place in ours))
        total += probability if statement(times) else 0.0
    return total


MARKS = [100.0, 180.0, 220.0, 365.0]
EARLY, LATE = Weibull(150.0, 1.4), Weibull(400.0, 0.8)


def deaths_by(times, at):
    return sum(t <= at for t in times)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("curve", [EARLY, LATE])
def test_median_and_landmark_of_one_stratum_agree_with_enumeration(size, curve):
    rank = median_rank(size)
    for lower, upper in ((180.0, 220.0), (220.0, math.inf), (0.0, 100.0), (100.0, 365.0)):
        order = OrderStatistic(rank, lower, upper)

        def median_inside(times, *, lower=lower, upper=upper):
            return lower < times[0][rank - 1] <= upper

        found = density(DeathCounts(("x",), (Sample(curve, size, (), order),)))[0]
        assert math.exp(found) == pytest.approx(enumerated([(curve, size)], median_inside), rel=1e-9)
        for deaths in range(size + 1):
            both = enumerated(
                [(curve, size)], lambda t, d=deaths, m=median_inside: m(t) and deaths_by(t[0], 365.0) == d
            )
            sample = Sample(curve, size, (Cut(365.0, (deaths,)),), order)
            assert math.exp(density(DeathCounts(("x",), (sample,)))[0]) == pytest.approx(both, rel=1e-9, abs=1e-15)


def test_a_landmark_inside_the_medians_interval_agrees_with_enumeration():
    order, cuts = OrderStatistic(2, 100.0, 220.0), (Cut(180.0, (1, 2)), Cut(365.0, (3,)))
    expected = enumerated(
        [(EARLY, 4)],
        lambda t: 100.0 < t[0][1] <= 220.0 and deaths_by(t[0], 180.0) in (1, 2) and deaths_by(t[0], 365.0) == 3,
    )
    assert math.exp(density(DeathCounts(("x",), (Sample(EARLY, 4, cuts, order),)))[0]) == pytest.approx(
        expected, rel=1e-9
    )


@pytest.mark.parametrize("own", [True, False])
def test_the_median_and_landmark_of_all_strata_agree_with_enumeration(own):
    # Three of one stratum and two of another; the third death of the five within (180, 220], four dead by 365.
    first = Sample(EARLY, 3, (Cut(365.0, (2, 3)),) if own else (), OrderStatistic(2, 100.0, 365.0) if own else None)
    second = Sample(LATE, 2)

    def statement(t):
        all_patients = sorted([*t[0], *t[1]])
        ours = not own or (100.0 < t[0][1] <= 365.0 and deaths_by(t[0], 365.0) in (2, 3))
        return ours and 180.0 < all_patients[2] <= 220.0 and deaths_by(all_patients, 365.0) == 4

    term = DeathCounts(("x",), (first, second), Cut(365.0, (4,)), OrderStatistic(3, 180.0, 220.0))
    expected = enumerated([(EARLY, 3), (LATE, 2)], statement)
    assert math.exp(density(term)[0]) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("landmark", "order"),
    [
        (None, OrderStatistic(3, 180.0, 220.0)),
        (None, OrderStatistic(3, 220.0, math.inf)),
        (None, OrderStatistic(3, 0.0, 100.0)),
        (Cut(100.0, (1, 2)), OrderStatistic(3, 220.0, math.inf)),
        (Cut(220.0, (2, 4)), None),
        (Cut(180.0, (2,)), OrderStatistic(3, 180.0, 220.0)),
    ],
)
def test_statements_on_all_strata_alone_agree_with_enumeration(landmark, order):
    def statement(t):
        all_patients = sorted([*t[0], *t[1]])
        counted = landmark is None or deaths_by(all_patients, landmark.time) in landmark.deaths
        return counted and (order is None or order.lower < all_patients[order.rank - 1] <= order.upper)

    term = DeathCounts(("x",), (Sample(EARLY, 3), Sample(LATE, 2)), landmark, order)
    expected = enumerated([(EARLY, 3), (LATE, 2)], statement)
    assert math.exp(density(term)[0]) == pytest.approx(expected, rel=1e-9)


def test_everything_that_can_be_printed_sums_to_one():
    # Medians by 50-day steps and every landmark count of 7 patients: the constants are right if this is 1.
    edges = [*np.arange(0.0, 3000.0, 50.0), math.inf]
    total = 0.0
    for deaths in range(8):
        for lower, upper in itertools.pairwise(edges):
            sample = Sample(LATE, 7, (Cut(365.0, (deaths,)),), OrderStatistic(4, float(lower), float(upper)))
            if len(paths_of(sample.landmarks, 7, sample.median)):
                total += math.exp(density(DeathCounts(("x",), (sample,)))[0])
    assert total == pytest.approx(1.0, abs=1e-12)


# ---------------------------------------------------------------------------- EVIDENCE B3, written out by hand


def b3(size, alive, median, curve, *, at=365.0):
    """EVIDENCE B3 with its constants; f(m) is S(m − ½) − S(m + ½), all others at m itself."""
    r, dead = math.ceil(size / 2), size - alive
    density_of_median = curve.s(median - 0.5) - curve.s(median + 0.5)
    if median < at:
        counts = (r - 1, 1, dead - r, alive)
        mass = (1 - curve.s(median), density_of_median, curve.s(median) - curve.s(at), curve.s(at))
    else:
        counts = (dead, r - 1 - dead, 1, size - r)
        mass = (1 - curve.s(at), curve.s(at) - curve.s(median), density_of_median, curve.s(median))
    return gammaln(size + 1) + sum(xlogy(n, p) - gammaln(n + 1) for n, p in zip(counts, mass, strict=True))


def printed(curve, size, alive, median):
    order = OrderStatistic(median_rank(size), median - 0.5, median + 0.5)
    return Sample(curve, size, (Cut(365.0, (size - alive,)),), order)


PLACES = [((396.0, 1.22), (216.0, 1.59), (192.0, 1.41)), ((330.0, 0.6), (260.0, 2.6), (150.0, 0.9))]


@pytest.mark.parametrize("place", PLACES)
def test_strata_agree_with_the_formula_of_the_evidence(place):
    # The formula takes all but the median's own density at the printed day: right to (24/400)²/24 at a width of a day.
    crc, stomach, _ = (Weibull(*p) for p in place)
    for sample, expected in (
        (printed(crc, 49, 25, 419.0), b3(49, 25, 419.0, crc)),
        (printed(stomach, 17, 2, 239.0), b3(17, 2, 239.0, stomach)),
        (printed(crc, 51, 26, 419.0), b3(51, 26, 419.0, crc)),
    ):
        assert density(DeathCounts(("x",), (sample,)))[0] == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize("place", PLACES)
def test_the_median_of_all_agrees_with_the_convolution_of_the_evidence(place):
    # 49:17:15: N(t) = 9 + Bin(24, ·) + Bin(6, ·) + Bin(13, ·), P(N(277.5) ≥ 41) − P(N(276.5) ≥ 41), and the count of
    # the third stratum, 13 of 15, which the others and 29 of 81 alive at 365 leave.
    crc, stomach, other = (Weibull(*p) for p in place)

    def at_least(t):
        c = stats.binom.pmf(np.arange(25), 24, (1 - crc.s(t)) / (1 - crc.s(365.0)))
        between = (stomach.s(239.0) - stomach.s(t)) / (stomach.s(239.0) - stomach.s(365.0))
        s = stats.binom.pmf(np.arange(7), 6, between)
        o = stats.binom.pmf(np.arange(14), 13, (1 - other.s(t)) / (1 - other.s(365.0)))
        return np.convolve(np.convolve(c, s), o)[41 - 9 :].sum()

    expected = b3(49, 25, 419.0, crc) + b3(17, 2, 239.0, stomach)
    expected += stats.binom.logpmf(13, 15, 1 - other.s(365.0)) + math.log(at_least(277.5) - at_least(276.5))
    samples = (printed(crc, 49, 25, 419.0), printed(stomach, 17, 2, 239.0), Sample(other, 15))
    term = DeathCounts(("x",), samples, Cut(365.0, (52,)), OrderStatistic(41, 276.5, 277.5))
    assert density(term)[0] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("curve", [Weibull(70.0, 1.2), Weibull(2500.0, 1.5), Weibull(419.0, 1.2)])
def test_far_from_the_data_both_tails_keep_their_digits(curve):
    # The formula of the evidence is written in logarithms and loses none; its error is that of the midpoint rule on
    # u^24·(1 − u)^24, up to 1 % at the steepest of these curves. And one stratum's median is the median of all of it.
    order = OrderStatistic(25, 418.5, 419.5)
    own = density(DeathCounts(("x",), (Sample(curve, 49, (), order),)))[0]
    f = curve.s(418.5) - curve.s(419.5)
    expected = gammaln(50) - 2 * gammaln(25) + 24 * math.log((1 - curve.s(419.0)) * curve.s(419.0)) + math.log(f)
    assert own == pytest.approx(expected, abs=0.01)
    assert density(DeathCounts(("x",), (Sample(curve, 49),), None, order))[0] == pytest.approx(own, abs=1e-6)


# ------------------------------------------------------------------------------------------- simulated papers


def test_simulated_papers_print_what_the_likelihood_says():
    # 200 000 studies of 9 and 6 patients, the simulator's own Kaplan–Meier; printed in 60-day steps. Every outcome with
    # an expected count of 25 or more: χ² at 1e-6.
    rng = np.random.default_rng(11)
    curves, sizes, n = (Weibull(260.0, 1.3), Weibull(420.0, 0.9)), (9, 6), 200_000
    times = [
        c.median * (rng.standard_exponential((n, size)) / math.log(2.0)) ** (1 / c.shape)
        for c, size in zip(curves, sizes, strict=True)
    ]
    all_patients = np.concatenate(times, axis=1)
    yes = np.ones_like(times[0], dtype=bool)
    everyone = np.ones_like(all_patients, dtype=bool)
    first = np.minimum(np.ceil(kaplan_meier_median(times[0], yes, yes) / 60), 8).astype(int)
    alive = np.rint(9 * landmark(times[0], yes, yes, 365.0)).astype(int)
    overall = np.minimum(np.ceil(kaplan_meier_median(all_patients, everyone, everyone) / 60), 8).astype(int)
    seen = Counter(zip(first.tolist(), alive.tolist(), overall.tolist(), strict=True))
    observed, expected = [], []

    def edge(step):
        return 60.0 * step if step < 8 else math.inf

    for i, k, j in itertools.product(range(1, 9), range(10), range(1, 9)):
        ours = OrderStatistic(5, 60.0 * (i - 1), edge(i))
        if not len(paths_of((Cut(365.0, (9 - k,)),), 9, ours)):
            assert seen[i, k, j] == 0
            continue
        samples = (Sample(curves[0], 9, (Cut(365.0, (9 - k,)),), ours), Sample(curves[1], 6))
        term = DeathCounts(("x",), samples, None, OrderStatistic(8, 60.0 * (j - 1), edge(j)))
        observed.append(seen[i, k, j])
        expected.append(n * math.exp(density(term)[0]))
    observed, expected = np.array(observed, float), np.array(expected)
    assert expected.sum() == pytest.approx(n, rel=1e-9)
    many = expected >= 25
    rest = np.array([observed[~many].sum()]), np.array([expected[~many].sum()])
    o, e = np.concatenate([observed[many], rest[0]]), np.concatenate([expected[many], rest[1]])
    assert many.sum() > 80
    assert stats.chi2.sf(((o - e) ** 2 / e).sum(), len(o) - 1) > 1e-6


def test_the_wrong_event_for_the_median_of_all_is_distinguished():
    # EVIDENCE B3: P(N(277) = 41) is another event than "the 41st death is printed as 277".
    curve = Weibull(277.0, 1.3)
    right = DeathCounts(("x",), (Sample(curve, 81),), None, OrderStatistic(41, 276.5, 277.5))
    wrong = DeathCounts(("x",), (Sample(curve, 81),), Cut(277.0, (41,)))
    assert abs(density(right)[0] - density(wrong)[0]) > 1.0


# ------------------------------------------------------------------------------------------------ proportions


def test_a_proportion_is_binomial_with_its_constant():
    p = np.array([0.01, 0.3, 0.688, 0.99])
    term = ProportionTerm(("x",), ((Known("p"), 16),), (11,))
    assert term.log_density(ParameterSets({"p": p}, 4)) == pytest.approx(stats.binom.logpmf(11, 16, p))
    assert term.parameters == {"p"}


def test_a_proportion_at_the_border_is_certain_or_impossible():
    sets = ParameterSets({"p": np.array([0.0, 1.0])}, 2)
    assert ProportionTerm(("x",), ((Known("p"), 18),), (0,)).log_density(sets).tolist() == [0.0, -math.inf]
    assert ProportionTerm(("x",), ((Known("p"), 18),), (18,)).log_density(sets).tolist() == [-math.inf, 0.0]


def test_counts_that_print_alike_are_summed():
    sets = ParameterSets({"p": np.array([0.2, 0.41])}, 2)
    expected = np.log(sum(stats.binom.pmf(k, 300, sets["p"]) for k in (120, 121)))
    assert ProportionTerm(("x",), ((Known("p"), 300),), (120, 121)).log_density(sets) == pytest.approx(expected)


def test_a_share_of_strata_together_is_the_sum_of_their_binomials():
    sets = ParameterSets({"p": np.array([0.2, 0.5]), "q": np.array([0.7, 0.5])}, 2)
    term = ProportionTerm(("x",), ((Known("p"), 4), (Known("q"), 3)), (3,))
    expected = [
        math.log(sum(stats.binom.pmf(i, 4, p) * stats.binom.pmf(3 - i, 3, q) for i in range(4)))
        for p, q in zip(sets["p"], sets["q"], strict=True)
    ]
    assert term.log_density(sets) == pytest.approx(expected)
    assert term.log_density(sets)[1] == pytest.approx(stats.binom.logpmf(3, 7, 0.5))


def test_outcomes_are_multinomial_with_their_constant():
    sets = ParameterSets({"c": np.array([0.22, 0.1]), "p": np.array([0.68, 0.3])}, 2)
    term = Outcomes(("c", "p"), (Known("c"), Known("p")), (9, 28), 41)
    shares = ((0.22, 0.68), (0.1, 0.3))
    expected = [float(stats.multinomial.logpmf([9, 28, 4], 41, [c, p, 1 - c - p])) for c, p in shares]
    assert term.log_density(sets) == pytest.approx(expected)
    impossible = ParameterSets({"c": np.array([0.6]), "p": np.array([0.6])}, 1)
    assert term.log_density(impossible).tolist() == [-math.inf]
    nobody_else = Outcomes(("c", "p"), (Known("c"), Known("p")), (9, 32), 41)
    summed = ParameterSets({"c": np.array([0.1 + 0.2]), "p": np.array([0.7])}, 1)  # 1 − (0.1 + 0.2) − 0.7 < 0
    assert nobody_else.log_density(summed) == pytest.approx(stats.binom.logpmf(9, 41, 0.3))


# ------------------------------------------------------------------------------------------------------ batches


def whole_paper():
    samples = (
        printed(Weibull("m1", "k1"), 49, 25, 419.0),
        printed(Weibull("m2", "k2"), 17, 2, 239.0),
        Sample(Weibull("m3", "k3"), 15),
    )
    return DeathCounts(("x",), samples, Cut(365.0, (52,)), OrderStatistic(41, 276.5, 277.5))


def many_sets(n, seed=4):
    rng = np.random.default_rng(seed)
    medians = {f"m{i}": 300.0 * np.exp(0.6 * rng.standard_normal(n)) for i in (1, 2, 3)}
    return ParameterSets(medians | {f"k{i}": 1.3 * np.exp(0.5 * rng.standard_normal(n)) for i in (1, 2, 3)}, n)


def test_a_parameter_set_has_the_same_bits_alone_and_among_others():
    term, sets = whole_paper(), many_sets(600)
    together = term.log_density(sets)
    for start, stop in ((0, 1), (1, 8), (8, 307), (307, 600)):
        part = ParameterSets({k: v[start:stop] for k, v in sets.values.items()}, stop - start)
        assert np.array_equal(term.log_density(part), together[start:stop])
    assert term.parameters == {"m1", "k1", "m2", "k2", "m3", "k3"}


def test_blocks_that_bound_the_memory_change_no_bit(monkeypatch):
    term, sets = whole_paper(), many_sets(200)
    together = term.log_density(sets)
    monkeypatch.setattr("calibration.likelihoods.terms.LARGEST_TABLE", 7 * 50 * 82)
    assert np.array_equal(term.log_density(sets), together)


def test_far_from_the_data_the_likelihood_is_small_and_never_a_nan():
    extreme = [1e-3, 1.0, 30.0, 3e3, 1e6]
    grid = np.array(list(itertools.product(extreme, (0.05, 1.0, 30.0, 54.0, 54.8))))  # log S down to −1e308
    n = len(grid)
    names = {f"m{i}": grid[:, 0] for i in (1, 2, 3)} | {f"k{i}": grid[:, 1] for i in (1, 2, 3)}
    found = whole_paper().log_density(ParameterSets(names, n))
    assert not np.isnan(found).any()
    assert found.max() < -20.0


def test_a_curve_that_could_not_be_computed_has_no_likelihood():
    sets = many_sets(3)
    sets = ParameterSets({**sets.values, "m1": np.array([400.0, np.nan, 400.0])}, 3)
    found = whole_paper().log_density(sets)
    assert found[1] == -math.inf
    assert np.isfinite(found[[0, 2]]).all()
    lone = DeathCounts(("x",), (Sample(Weibull("m1", 1.0), 9, (Cut(365.0, (4,)),)),))
    assert lone.log_density(sets)[1] == -math.inf


# ------------------------------------------------------------------------------------------- smaller pieces


def test_cuts_at_one_time_allow_what_all_of_them_allow():
    assert merged([Cut(365.0, (3, 4)), Cut(100.0, (1,)), Cut(365.0, (4, 5))]) == (Cut(100.0, (1,)), Cut(365.0, (4,)))


def test_paths_never_fall_and_respect_the_order_statistic():
    cuts = (Cut(100.0, (0, 1, 2)), Cut(200.0, (1, 2)))
    assert paths_of(cuts, 3, None).tolist() == [[0, 1], [0, 2], [1, 1], [1, 2], [2, 2]]
    assert paths_of(cuts, 3, OrderStatistic(2, 100.0, 200.0)).tolist() == [[0, 2], [1, 2]]
    assert paths_of(cuts, 3, OrderStatistic(3, 0.0, 100.0)).shape == (0, 2)


def test_an_impossible_path_has_no_probability():
    paths = np.array([[1]])
    assert log_path_probabilities(paths, 2, np.array([[0.0]])).tolist() == [[-math.inf]]


def test_log_sum_of_nothing_is_nothing():
    assert log_sum(np.zeros((2, 0))).tolist() == [-math.inf, -math.inf]
    assert log_sum(np.array([[-math.inf, -math.inf], [0.0, 0.0]])) == pytest.approx([-math.inf, math.log(2)])


@pytest.mark.parametrize(("size", "rank"), [(1, 1), (2, 1), (17, 9), (49, 25), (50, 25), (81, 41)])
def test_the_median_is_the_first_death_at_which_the_curve_is_at_most_one_half(size, rank):
    times = np.arange(1.0, size + 1)[None, :]
    all_of_them = np.ones_like(times, dtype=bool)
    assert median_rank(size) == rank == kaplan_meier_median(times, all_of_them, all_of_them)[0]
