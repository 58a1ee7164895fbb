"""Simulated papers: they say what their study found, as the real paper would have, and no paper knows the others."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from calibration.cli import preparation
from calibration.posterior.fit import Fit, fit
from calibration.sbc.printed_figures import Printed, _figure
from calibration.sbc.ranks import ranks
from calibration.sbc.simulated_papers import SimulatedPapers
from calibration.schema import Search
from simulator.errors import ConfigError
from simulator.evidence import evidence as evidence_file
from simulator.evidence.statistic import Statistic
from simulator.running.experiment import design_of, trajectories_of
from simulator.study.estimators import counts, estimate
from simulator.study.observe import observe
from tests.normal_curves import NormalCurves
from tests.two_strata import WEIGHTS, priors, two_strata

LIGHT = Search(initial=500, step=100, draws=200)
SEED = 5


def fitted(container: dict[str, Any], **keys: Any) -> Fit:
    return fit(container, priors(**keys).model_copy(update={"search": LIGHT}))


@pytest.fixture(scope="module")
def papers() -> SimulatedPapers:
    return SimulatedPapers(fitted(two_strata(seed=SEED), readings=WEIGHTS))


def entries_of(container: Any) -> dict[str, dict[str, Any]]:
    return {item["id"]: item for item in container["evidence"]["entries"]}


# ----------------------------------------------------------------------------------------------- truths and papers


def test_a_truth_depends_on_its_own_number_and_on_the_seed_alone(papers):
    again = SimulatedPapers(fitted(two_strata(seed=SEED), readings=WEIGHTS))
    other = SimulatedPapers(fitted(two_strata(seed=SEED + 1), readings=WEIGHTS))
    truths = [papers.truth(i) for i in range(40)]
    for i in (3, 0, 17):
        assert (again.truth(i).values, again.truth(i).reading) == (truths[i].values, truths[i].reading)
        assert other.truth(i).values != truths[i].values
    assert len({truth.values["fever"] for truth in truths}) == 40
    assert {truth.reading for truth in truths} == {0, 1}


def test_truths_have_the_distribution_of_the_prior(papers):
    # 100 draws: each mean of normal scores within 4.9 standard errors, the share of a reading likewise (p < 1e-6).
    truths = [papers.truth(i) for i in range(100)]
    for component in papers.fitted.readings[0].components:
        columns = {name: np.array([t.values[name] for t in truths]) for name in component.prior.names}
        scores = component.prior.scores(columns)
        assert np.abs(scores.mean(axis=0)).max() < 4.9 / 10
        assert np.abs(scores.var(axis=0) - 1.0).max() < 4.9 * np.sqrt(2.0) / 10
    assert abs(np.mean([t.reading for t in truths]) - 1 / 3) < 4.9 * np.sqrt(2) / 3 / 10


def test_a_paper_prints_what_the_study_found(papers):
    sizes = set()
    for i in range(12):
        truth = papers.truth(i)
        container, _ = papers.paper(i, truth)
        experiment = truth.experiment
        data = observe(trajectories_of(experiment, range(i, i + 1)), design_of(experiment), seed=SEED)
        printed = entries_of(container)
        assert list(printed) == ["M.large", "L.large", "M.small", "L.small", "P"]
        for name, item in printed.items():
            statistic = Statistic.model_validate(item["statistic"])
            found, share = float(estimate(data, statistic)[0]), counts(data, statistic)
            if item["unit"] == "d":
                assert item["printed"] == f"{found:.0f}"
            else:
                assert item["printed"] == f"{100 * found:.{1 if name == 'P' else 0}f}"
            assert item["value"] == float(item["printed"])
            if name == "P":
                assert (item["numerator"], item["denominator"]) == (share.count[0], share.denominator[0])
                sizes.add(item["denominator"])
            else:
                assert "denominator" not in item
        checks = evidence_file.load(container["evidence"]).verify()
        assert all(check.passed for check in checks)
    assert len(sizes) > 4  # of those examined: they differ from study to study
    assert min(sizes) < 44 < max(sizes)


def test_the_real_evidence_is_left_as_it_was(papers):
    before = copy.deepcopy(papers.fitted.config)
    papers.paper(0, papers.truth(0))
    assert papers.fitted.config == before


def test_what_is_not_fitted_or_is_about_the_real_figures_is_not_in_a_paper():
    container = two_strata(seed=SEED, readings=False)
    container["evidence"]["entries"][0]["role"] = "held_out"
    container["evidence"]["checks"] = [{"order": ["M.small.value", "M.large.value"]}]
    papers = SimulatedPapers(fitted(container, left_out={"L.small": "to see what happens"}))
    paper, declared = papers.paper(0, papers.truth(0))
    assert list(entries_of(paper)) == ["L.large", "M.small", "P"]
    assert paper["evidence"]["checks"] == []
    assert declared.left_out == {}
    fit(paper, declared)


def test_a_reading_that_sets_another_figure_is_refused():
    container = two_strata(seed=SEED)
    alternative = container["evidence"]["readings"]["strata"]["alternatives"]["split_47_19"]
    alternative["entries"] = {"P": {"numerator": 22, "value": 50.0, "printed": "50.0%"}}
    papers = SimulatedPapers(fitted(container, readings=WEIGHTS))
    with pytest.raises(ConfigError, match=r"split_47_19\.entries\.P\.(printed|value|numerator).*other readings"):
        papers.paper(0, papers.truth(0))


# --------------------------------------------------------------------------------------------------------- figures


class Curve:
    """Stands for a study in which a median was found."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, median: float) -> None:
        monkeypatch.setattr("calibration.sbc.printed_figures.estimate", lambda data, statistic: np.array([median]))


def median_entry(**changes: Any) -> Any:
    given = next(item for item in two_strata(seed=1)["evidence"]["entries"] if item["id"] == "M.small")
    return evidence_file.EvidenceEntry.model_validate({**given, **changes})


@pytest.mark.parametrize(
    ("median", "printed", "reached"),
    [
        (239.4, "239", True),
        (239.6, "240", True),
        (598.4, "598", True),  # (597.5, 598.5] ends within 599 days
        (598.6, "not reached by 598.5 d", False),
        (700.0, "not reached by 598.5 d", False),
        (np.inf, "not reached by 598.5 d", False),
    ],
)
def test_a_median_is_printed_if_its_interval_of_rounding_ends_within_follow_up(monkeypatch, median, printed, reached):
    Curve(monkeypatch, median)
    entry = median_entry()
    said = Printed(None, 599.0).target(entry, entry.statistic)
    assert (said["printed"], said.get("bound")) == (printed, None if reached else "above")
    if not reached:
        assert said["value"] == 598.5


@pytest.mark.parametrize(("median", "printed"), [(11.4 * 30.4375, "11"), (13.0 * 30.4375, "not reached by 11.5 mo")])
def test_a_median_in_months_is_printed_in_months(monkeypatch, median, printed):
    Curve(monkeypatch, median)
    entry = median_entry(printed="8 months", value=8, unit="mo")
    assert Printed(None, 12.0 * 30.4375).target(entry, entry.statistic)["printed"] == printed


@pytest.mark.parametrize(("median", "bound"), [(300.2, "below"), (800.0, "above"), (np.inf, "above")])
def test_where_the_real_paper_prints_a_bound_so_does_a_study_or_the_other_way_round(monkeypatch, median, bound):
    Curve(monkeypatch, median)
    entry = median_entry(printed="not reached by 2 years", value=2, unit="y", bound="above")
    assert Printed(None, 5000.0).target(entry, entry.statistic) == {"bound": bound}


@pytest.mark.parametrize(
    ("figure", "decimals", "printed", "value"),
    [
        (0.04999, 1, "0.0", 0.0),
        (51.02, 1, "51.0", 51.0),
        (1234.0, 0, "1234", 1234.0),
        (1.94e9, -8, "19x10^8", 1.9e9),
    ],
)
def test_a_figure_keeps_the_decimals_of_the_real_one(figure, decimals, printed, value):
    said = _figure(figure, decimals)
    assert (said["printed"], said["value"]) == (printed, value)
    entry = median_entry(printed=said["printed"], value=value)
    assert entry.decimals == decimals


# ----------------------------------------------------------------------------------------------------------- ranks


def test_ranks_do_not_depend_on_the_number_of_papers_or_threads():
    def found(papers: int, threads: int) -> Any:
        container = two_strata(seed=SEED, horizon="600 d")
        declared = priors(readings=WEIGHTS)
        return ranks(container, declared, papers=papers, draws=19, search=LIGHT, threads=threads)

    few, more = found(3, 1), found(8, 3)
    for name in ("rank", "position", "truth", "reading", "share", "refused", "effective_size"):
        np.testing.assert_array_equal(getattr(few.papers, name), getattr(more.papers, name)[:3])
    assert few.quantities == more.quantities
    assert few.readings == ("split_49_17", "split_47_19")
    assert np.all((more.papers.position * 20 > more.papers.rank) & (more.papers.position * 20 < more.papers.rank + 1))
    assert np.unique(more.papers.position).size == more.papers.position.size


def test_draws_that_the_model_cannot_produce_are_left_out_of_prior_and_posterior():
    # A response seen in nearly all patients is more than progression and death leave room for.
    prepared, declared = preparation(["cohort=il2_hai_unresectable", "parameters=start", "seed=3"], None)
    found = ranks(prepared.container, declared, papers=12, draws=9, search=LIGHT, overrides=prepared.overrides)
    assert found.papers.redrawn.sum() > 0
    assert found.papers.left_out.max() > 0.0
    papers = SimulatedPapers(found.fitted)
    for number in np.flatnonzero(found.papers.redrawn)[:2].tolist():
        truth = papers.truth(number)
        assert truth.redrawn == found.papers.redrawn[number]
        values = {name: np.array([value]) for name, value in truth.values.items()}
        assert papers.possible(np.array([truth.reading]), values).tolist() == [True]
        lost = papers._drawn(found.fitted.readings[0], number, truth.redrawn - 1)
        both = {name: np.array([lost[name], truth.values[name]]) for name in lost}
        assert papers.possible(np.zeros(2, int), both).tolist() == [False, True]


def test_a_number_out_of_range_is_one_that_the_model_cannot_produce(papers):
    values = {name: np.full(3, value) for name, value in papers.truth(0).values.items()}
    first = np.zeros(3, int)
    assert papers.possible(first, values).tolist() == [True, True, True]
    assert papers.possible(first, {**values, "fever": np.array([0.2, 1e-13, 0.3])}).tolist() == [True, False, True]


def test_a_normal_approximation_is_near_the_exact_likelihood_in_large_studies():
    """At 20,000 patients the two agree; at 17 the control is another likelihood (EVIDENCE B3)."""
    from calibration.likelihoods.order_statistics import Cut, OrderStatistic, median_rank
    from calibration.likelihoods.terms import DeathCounts, Sample
    from calibration.priors.parameters import ParameterSets

    class Weibull:
        parameters = frozenset({"m", "k"})

        def log_survival(self, sets, times):
            return -np.log(2.0) * (times[None, :] / sets["m"][:, None]) ** sets["k"][:, None]

    def gap(size: int, spread: float) -> float:
        """Greatest difference of log likelihoods, relative to their greatest value, near the truth."""
        alive = round(size * float(np.exp(-np.log(2.0) * (365 / 300) ** 1.3)))
        order = OrderStatistic(median_rank(size), 299.5, 300.5)
        exact = DeathCounts(("x",), (Sample(Weibull(), size, (Cut(365.0, (size - alive,)),), order),))
        m, k = np.meshgrid(300 * np.exp(np.linspace(-2, 2, 9) * spread), 1.3 * np.exp(np.linspace(-2, 2, 9) * spread))
        sets = ParameterSets({"m": m.ravel(), "k": k.ravel()}, m.size)
        a, b = exact.log_density(sets), NormalCurves(exact).log_density(sets)
        near = a - a.max() > -4.0
        return float(np.abs((a - a.max()) - (b - b.max()))[near].max())

    assert gap(20_000, 0.008) < 0.5
    assert gap(17, 0.3) > 1.0
