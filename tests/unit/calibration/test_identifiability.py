"""Profiles, collinearity and modes on made-up targets whose answers are known in closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from scipy import stats

from calibration import cli
from calibration.diagnostics.identifiability import likelihood_shape, modes, percentile
from calibration.posterior.components import Component, searched
from calibration.prediction.predictive import Predictive
from calibration.priors.distributions import Beta, Normal
from calibration.priors.parameters import Prior, Single
from calibration.schema import Search


@dataclass(frozen=True)
class Made:
    """A target that is a normal measurement, with an error, of a function of parameters."""

    targets: tuple[str, ...]
    parameters: frozenset[str]
    of: object
    value: float
    error: float

    def log_density(self, sets):
        return stats.norm.logpdf(self.value, self.of(sets), self.error)


def posterior(blocks, *terms) -> Component:
    return searched(Prior(tuple(blocks)), tuple(terms), Search(), 5)


def test_the_profile_of_a_measurement_is_its_interval_whatever_the_prior():
    # A narrow prior far away moves the posterior, and not the likelihood: 2 ± 1.96·0.5.
    found = posterior([Single("a", Normal(0.0, 1.0))], Made(("A",), frozenset("a"), lambda s: s["a"], 2.0, 0.5))
    ((one,), _) = likelihood_shape(found, ["a"])
    assert (one.best, one.lower, one.upper) == pytest.approx((2.0, 2.0 - 0.98, 2.0 + 0.98), abs=0.01)


def test_a_profile_lets_the_other_parameters_follow():
    # a + b = 1 ± 0.1 and b = 0.5 ± 0.3: a = 0.5 with variance 0.01 + 0.09; with b held it would be 0.01 alone.
    terms = (
        Made(("A",), frozenset("ab"), lambda s: s["a"] + s["b"], 1.0, 0.1),
        Made(("B",), frozenset("b"), lambda s: s["b"], 0.5, 0.3),
    )
    found = posterior([Single(name, Normal(0.0, 1.0)) for name in "ab"], *terms)
    profiles, _ = likelihood_shape(found, ["a", "b"])
    one = next(each for each in profiles if each.parameter == "a")
    width = 1.96 * math.sqrt(0.1)
    assert (one.best, one.lower, one.upper) == pytest.approx((0.5, 0.5 - width, 0.5 + width), abs=0.02)


def test_what_the_likelihood_does_not_bound_has_no_end():
    # a·b alone is measured: each of them may be anything, on the logarithmic scale.
    term = Made(("A",), frozenset("ab"), lambda s: np.log(s["a"]) + np.log(s["b"]), 0.0, 0.1)
    found = posterior([Single(name, Normal(0.0, 1.0, "log")) for name in "ab"], term)
    profiles, (index,) = likelihood_shape(found, ["a", "b"])
    assert all(math.isinf(one.lower) and math.isinf(one.upper) for one in profiles)
    assert index.index > 100


def test_the_collinearity_index_is_that_of_brun():
    # Sensitivities (1, 0) and (0.6, 0.8): cosine 0.6, so γ = 1/√(1 − 0.6).
    terms = (
        Made(("A",), frozenset("ab"), lambda s: s["a"] + 0.6 * s["b"], 0.3, 0.2),
        Made(("B",), frozenset("b"), lambda s: 0.8 * s["b"], 0.2, 0.2),
    )
    found = posterior([Single(name, Normal(0.0, 1.0)) for name in "ab"], *terms)
    _, (index,) = likelihood_shape(found, ["a", "b"])
    assert index.index == pytest.approx(1 / math.sqrt(0.4), rel=0.01)
    assert index.parameters == ("a", "b")


def test_two_equal_modes_are_listed_with_their_places_and_masses():
    # 4p(1 − p) = 0.64 ± 0.03: exactly two equal modes, at p = 0.2 and at 0.8.
    term = Made(("A",), frozenset("p"), lambda s: 4 * s["p"] * (1 - s["p"]), 0.64, 0.03)
    first, second = modes(posterior([Single("p", Beta(2.0, 2.0)), Single("q", Beta(1.0, 1.0))], term))
    assert sorted((first.values["p"], second.values["p"])) == pytest.approx([0.2, 0.8], abs=0.03)
    assert first.mass == pytest.approx(0.5, abs=0.06)
    assert first.mass + second.mass == pytest.approx(1.0)


@pytest.mark.parametrize("d", [1, 3, 6])
def test_a_posterior_with_one_mode_has_one_however_many_its_parameters(d):
    names = "abcdef"[:d]
    terms = [Made((n.upper(),), frozenset(n), lambda s, n=n: s[n], 0.3, 0.4) for n in names[1:]]
    ridge = Made(("R",), frozenset(names), lambda s: sum(s[n] for n in names), 1.0, 0.1)
    assert len(modes(posterior([Single(n, Normal(0.0, 1.0)) for n in names], ridge, *terms))) == 1


def test_a_weighted_percentile_is_that_of_the_draws_that_weigh():
    from types import SimpleNamespace

    simulated = np.array([[[1.0], [2.0]], [[3.0], [4.0]], [[math.nan], [2.5]]])
    entry = SimpleNamespace(id="A", reported=2.5, half_width=0.0, bound=None)
    predicted = Predictive(np.zeros(3, int), simulated, ((entry,),), ())
    assert percentile(predicted, "A") == pytest.approx(2.5 / 5)
    assert percentile(predicted, "A", np.array([1.0, 0.0, 0.0])) == 1.0
    assert percentile(predicted, "A", np.array([1.0, 0.0, 2.0])) == pytest.approx((2 + 2 * 0.5) / 4)


def test_the_depth_of_diagnostics_is_one_of_three(capsys):
    assert cli.main(["cohort=il2_hai_unresectable", "diagnostics=fulll"]) == 2
    assert (
        "diagnostics = fulll: unknown depth of diagnostics; known: full, none, standard (did" in capsys.readouterr().err
    )
