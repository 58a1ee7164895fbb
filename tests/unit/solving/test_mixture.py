"""What is solved of a mixture, beside independent arithmetic: bisection by SciPy, quadrature by hand, neighbours."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import brentq

from simulator.configuration.draws import published_with
from simulator.errors import ConfigError
from simulator.experiment.batches import declare_many
from simulator.experiment.preparation import prepare
from simulator.experiment.schema import declare
from simulator.kernels.marginal import baseline_hazards, convolved, onset_distribution, seen_masses, totals
from simulator.solving import baseline, mixture
from simulator.solving.exposure import per_administration_thresholds
from simulator.solving.latent import FINEST
from simulator.study.counts import histogram_quantiles


def test_thresholds_give_the_share_who_ever_have_it():
    more = [np.array([1.0, 0.7, 0.2, 0.1]), np.array([0.9, 0.5]), np.array([1.0]), np.array([0.4])]
    rate, frailty = np.array([0.5, 0.3, 0.0, 0.4]), np.array([0.32, 0.0, 0.1, 0.2])
    found = per_administration_thresholds(rate, more, frailty)
    assert found[2:].tolist() == [-np.inf, np.inf]  # nobody; nobody is left who might not
    node, weight = np.polynomial.hermite_e.hermegauss(80)
    for a, share, beyond, rho in zip(found[:2], rate, more, frailty, strict=False):
        exactly = -np.diff([1.0, *beyond, 0.0])
        spared = stats.norm.sf((a + np.sqrt(rho) * node) / np.sqrt(1 - rho))
        ever = 1 - sum(p * np.average(spared**n, weights=weight) for n, p in enumerate(exactly))
        assert ever == pytest.approx(share, abs=1e-9)


def test_a_mixture_over_the_solved_baseline_has_the_marginal_survival():
    """The living, one by one, by the formula of `baseline_hazards` with midpoints for onsets between knots."""
    time = np.arange(400) * 2.0
    incidence = stats.lognorm(0.5, scale=40).cdf(time)
    onset = onset_distribution(np.repeat(incidence[:, None], 3, axis=1), np.ones((400, 3)), np.array([0.4, 0.9, 0.0]))
    assert onset[-1] == pytest.approx([0.4, 0.9, 0.0])
    marginal = np.exp(-((time / 300.0) ** 1.3))[:, None] * np.ones(3)
    ratio = np.array([0.5, 1.6, 0.5])
    hazard = baseline_hazards(marginal, onset, np.zeros_like(onset), ratio)
    assert np.allclose(hazard[:, 2], (time / 300.0) ** 1.3, rtol=1e-12)  # without a multiplier nothing is left to solve
    for element in range(2):
        h, mass = hazard[:, element], np.diff(onset[:, element])
        for i in (1, 57, 399):
            since = (
                np.exp(-h[:-1] - ratio[element] * (h[i] - h[:-1]))[:i],
                np.exp(-h[1:] - ratio[element] * (h[i] - h[1:]))[:i],
            )
            living = (1 - onset[i, element]) * np.exp(-h[i]) + (mass[:i] * (since[0] + since[1]) / 2).sum()
            assert living == pytest.approx(marginal[i, element], rel=1e-12)
        alone = baseline_hazards(
            *(np.ascontiguousarray(x[:, [element]]) for x in (marginal, onset, 0 * onset)), ratio[[element]]
        )
        assert alone[:, 0].tobytes() == np.ascontiguousarray(h).tobytes()


def test_without_visits_an_onset_is_seen_at_once_and_with_them_at_the_next():
    n = 50
    onset = np.minimum(np.arange(n) / 20.0, 1.0)[:, None] * [0.5]
    nothing, none = np.zeros((n, 1)), np.zeros(0)
    rest = (nothing, nothing, nothing, nothing, np.ones(1))
    at_once = seen_masses(none, none, onset, *rest, n)
    assert np.allclose(at_once[:, 0], np.diff(onset[:, 0], prepend=0.0))
    step, visits = np.zeros(8), np.zeros(n)
    step[7], visits[::7] = 1.0, 1.0
    at_visits = seen_masses(visits, step, onset, *rest, 30)
    assert np.flatnonzero(at_visits[:, 0]).tolist() == [7, 14, 21]
    whole, below = totals(at_visits, np.array([14]))
    assert whole[0] == pytest.approx(0.5)
    seen = at_visits[:, 0]
    assert below[0] == pytest.approx(seen[:14].sum() + seen[14] / 2 - whole[0] / 2)
    assert np.allclose(convolved(visits, step)[7:], visits[:-7])


def test_newtons_answer_is_that_of_a_search_in_a_bracket():
    """The share seen and the median seen, from the solver's own equations, at roots that SciPy finds."""
    experiment = prepare(["cohort=il2_hai_unresectable"]).experiment
    baseline._KNOWN.clear()
    made: list[tuple[baseline.Solver, baseline.Latent]] = []
    original = baseline.Solver.solve

    def spy(self, sets, wanted, fixed):
        found = original(self, sets, wanted, fixed)
        made.extend((self, wanted, each) for each in found)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baseline.Solver, "solve", spy)
        declare_many(experiment, {"response.hazard_ratio": [0.6]})
    solver, wanted, latent = made[0]
    elements = solver.pieces.elements((0,))

    def errors(p, m):
        share, more = solver._seen(solver.pieces, elements, np.array([[p]]), np.array([m]), wanted.median, None)
        return share[0, 0] - wanted.share[0, 0], more[0, 0]

    def probability(m):
        return brentq(lambda p: errors(p, m)[0], 0.1, 1.0, xtol=1e-14)

    median = brentq(lambda m: errors(probability(m), m)[1], 25.0, 36.0, xtol=1e-11)
    assert latent.median == pytest.approx(median, rel=2e-9)
    assert latent.probability[0] == pytest.approx(probability(latent.median), rel=2e-9)


def test_what_was_solved_before_is_what_is_solved_again():
    experiment = prepare(["cohort=ilp"]).experiment
    values = {"survival.median": ["500 d", "600 d", "500 d"]}
    baseline._KNOWN.clear()
    first = declare_many(experiment, values).tables
    again = declare_many(experiment, values).tables
    assert first.knot_hazard.tobytes() == again.knot_hazard.tobytes()
    assert first.probability.tobytes() == again.probability.tobytes()
    many = {"survival.median": [f"{500 + k} d" for k in range(baseline.REMEMBERED + 9)]}
    declare_many(experiment, many)
    assert len(baseline._KNOWN) <= baseline.REMEMBERED


def test_quantiles_of_bins_are_those_of_the_sorted_times():
    rng = np.random.default_rng(3)
    counts = rng.poisson(0.05, (2, 3, 900))
    counts[1, 2] = 0
    cells = np.array([[1, 1, 1], [1, 0, 0], [0, 0, 1]])
    levels = np.array([0.05, 0.5, 0.95])
    values, errors = histogram_quantiles(counts, cells, levels, 0.25)
    for kind, group in np.ndindex(2, 3):
        times = np.repeat(np.arange(900) * 0.25, cells[group] @ counts[kind])
        if times.size == 0:
            assert np.isnan(values[kind, group]).all()
            assert np.isnan(errors[kind, group]).all()
            continue
        step = np.sqrt(levels * (1 - levels) / times.size)
        low, at, high = (
            times[np.clip(np.ceil(times.size * p), 1, times.size).astype(int) - 1]
            for p in (levels - step, levels, levels + step)
        )
        assert values[kind, group].tolist() == at.tolist()
        assert errors[kind, group].tolist() == ((high - low) / 2).tolist()
    assert np.isnan(values[1, 2]).all()


@pytest.mark.parametrize(
    ("cohort", "values"),
    [
        (
            "pj203_mmc",
            {
                "response.hazard_ratio": [0.3, 1.4],
                "response.onset_sigma": [0.3, 0.6],
                "survival.shape.other": [0.8, 2.0],
            },
        ),
        ("il2_hai_unresectable", {"response.probability": [0.2, 0.7], "response.onset_median": ["50 d", "90 d"]}),
    ],
)
def test_newtons_answer_and_the_careful_one_have_the_same_nine_digits(cohort, values, monkeypatch):
    experiment = prepare([f"cohort={cohort}"]).experiment
    search, careful = mixture.Solver._search, mixture.Solver._carefully
    sought = []

    def unsettled(self, *given):
        state = search(self, *given)
        state.settled[:] = False
        return state

    def watched(self, b, *given):
        sought.append(b)
        return careful(self, b, *given)

    monkeypatch.setattr(mixture.Solver, "_carefully", watched)
    baseline._KNOWN.clear()
    newton = declare_many(experiment, values).tables
    assert not sought
    monkeypatch.setattr(mixture.Solver, "_search", unsettled)
    baseline._KNOWN.clear()
    slow = declare_many(experiment, values).tables
    assert sought
    assert newton.probability.tobytes() == slow.probability.tobytes()
    assert newton.parameters.tobytes() == slow.parameters.tobytes()
    assert newton.knot_hazard.tobytes() == slow.knot_hazard.tobytes()


def test_what_cannot_be_seen_is_named_alike_quickly_and_with_care(monkeypatch):
    # Shares seen in most patients with stomach cancer leave no room for the assumed progression; 0.5 is possible.
    config = prepare([]).container
    experiment = declare({**config, "parameters": published_with(config["parameters"], ["response.probability"])})
    values = {
        "response.probability.stomach": [0.86, 0.5, 0.85, 0.9, 0.69],
        "response.probability.other": [0.3, 0.3, 0.9, 0.05, 0.3],
        "survival.median.stomach": ["150 d", "216 d", "300 d", "120 d", "150 d"],
    }
    sought, careful = [], mixture.Solver._carefully

    def watched(self, b, *given):
        sought.append(b)
        return careful(self, b, *given)

    monkeypatch.setattr(mixture.Solver, "_carefully", watched)

    def said():
        baseline._KNOWN.clear()
        with pytest.raises(ConfigError) as refusal:
            declare_many(experiment, values)
        return sorted(map(str, refusal.value.problems))

    quickly = said()
    assert not sought
    assert sum("stratum 'stomach'" in line for line in quickly) == 3
    assert sum("stratum 'other'" in line for line in quickly) == 1
    monkeypatch.setattr(mixture.Solver, "_at_one", lambda self, sets, wanted, state, failed, *found: failed.tolist())
    assert said() == quickly
    assert len(sought) == 3


def test_a_share_close_to_the_largest_that_can_be_seen_keeps_nine_digits(monkeypatch):
    # At most about 0.87 of these patients can be seen to respond; Newton's steps press the probability against 1.
    config = prepare(["cohort=il2_hai_unresectable"]).container
    experiment = declare({**config, "parameters": published_with(config["parameters"], ["response.probability"])})
    values = {"response.probability": [0.8, 0.83, 0.84, 0.85], "survival.median": ["484 d"] * 4}
    baseline._KNOWN.clear()
    quickly = declare_many(experiment, values).tables
    monkeypatch.setattr(mixture.Solver, "_at_one", lambda self, sets, wanted, state, failed, *found: failed.tolist())
    baseline._KNOWN.clear()
    slowly = declare_many(experiment, values).tables
    assert quickly.probability.tobytes() == slowly.probability.tobytes()
    assert quickly.parameters.tobytes() == slowly.parameters.tobytes()
    assert quickly.knot_hazard.tobytes() == slowly.knot_hazard.tobytes()


def test_a_curve_that_falls_below_floating_point_leaves_a_hazard_that_stands_still():
    # A Weibull of shape 4.2: e^-745 is the last number there is; its logarithm had made the hazard NaN.
    time = np.arange(0.0, 1826.0, 2.0)
    marginal = np.exp(-np.log(2.0) * (time / 259.0) ** 4.24)
    onset = 0.6 * (1.0 - np.exp(-time / 42.0))
    columns = (np.ascontiguousarray(each[:, None]) for each in (marginal, onset, np.zeros_like(onset)))
    hazard = baseline_hazards(*columns, np.array([0.46]))[:, 0]
    assert np.all(np.diff(hazard) >= 0.0)
    assert np.all(hazard[marginal <= 1e-290] == hazard[marginal > 1e-290][-1])
    assert hazard[-1] > 500.0


def test_a_first_grid_cell_in_which_the_curve_hardly_falls_has_finite_knots():
    start = np.array([0.0] * (FINEST - 1) + [5e-324, 1e-323])  # the ratio to a finite hazard overflows
    _, hazard, _ = mixture.knots(np.arange(401.0), None, start)
    assert hazard[: FINEST + 2].tolist() == [0.0] * FINEST + [0.5, 1.0]
    start = np.array([0.0] * (FINEST - 1) + [np.inf, np.inf])
    _, hazard, _ = mixture.knots(np.arange(401.0), None, start)
    assert hazard[: FINEST + 2].tolist() == [0.0] * FINEST + [1.0, 1.0]
