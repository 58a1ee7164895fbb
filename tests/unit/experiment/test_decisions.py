"""Decisions on intervals of proportions: against scipy, against a run's own patients, and what is refused."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

import simulator
from simulator.cli.commands import main
from simulator.errors import ConfigError
from simulator.experiment.decisions import Decision
from simulator.results.decisions import decisions_dataset
from simulator.study.crossed import spreads
from simulator.study.decisions import decided, interval
from simulator.study.summaries import Proportion
from simulator.views.decisions import decisions_table
from simulator.views.tables import plain

RULES = "output.decisions={go: {target: D07, above: 0.3}, stop: {target: D08, below: 0.9, method: exact, level: 0.8}}"


@pytest.mark.parametrize("method", ["wilson", "exact"])
@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.999])
def test_an_interval_is_that_of_scipy_for_every_count(method: str, level: float) -> None:
    counts = [(k, n) for n in (1, 2, 7, 52, 400) for k in range(0, n + 1, max(1, n // 26))]
    k, n = (np.array(column) for column in zip(*counts, strict=True))
    found = interval(Proportion(k, n), level, method)
    expected = [binomtest(int(a), int(b)).proportion_ci(level, method) for a, b in counts]
    np.testing.assert_allclose(found, [(each.low, each.high) for each in expected], rtol=1e-9, atol=1e-12)
    assert (found[k == 0, 0] == 0).all()
    assert (found[k == n, 1] == 1).all()


def test_nobody_counted_has_no_interval_and_decides_nothing() -> None:
    for method in ("wilson", "exact"):
        ends = interval(Proportion(np.array([0]), np.array([0])), 0.95, method)
        assert np.isnan(ends).all()
        rules = [Decision(target="x", above=0.0), Decision(target="x", below=1.0)]
        assert not decided(np.stack([ends, ends], axis=1), rules).any()
    with pytest.raises(ValueError, match="must be one of wilson, exact"):
        interval(Proportion(np.array([1]), np.array([2])), 0.95, "wald")


def test_a_bound_at_the_threshold_is_not_beyond_it() -> None:
    rules = [Decision(target="x", above=0.25), Decision(target="x", below=0.75)]
    ends = np.array([[[0.25, 0.75], [0.25, 0.75]], [[0.26, 0.75], [0.25, 0.74]]])
    np.testing.assert_array_equal(decided(ends, rules), [[False, False], [True, True]])


def test_probabilities_and_widths_have_the_errors_of_their_studies() -> None:
    rng = np.random.default_rng(3)
    lower = rng.random((50, 1))
    ends = np.stack([lower, lower + rng.random((50, 1)) / 10], axis=-1)
    made = decisions_dataset({"go": Decision(target="x", above=0.4)}, ends)
    share = (lower > 0.4).mean()
    assert made["decision_probability"].item() == share
    assert made["decision_probability_standard_error"].item() == pytest.approx(np.sqrt(share * (1 - share) / 50))
    width = ends[:, 0, 1] - ends[:, 0, 0]
    assert made["interval_width"].item() == pytest.approx(width.mean())
    assert made["interval_width_standard_error"].item() == pytest.approx(width.std(ddof=1) / np.sqrt(50))
    crossed = ends.reshape(5, 10, 1, 2)
    over = decisions_dataset({"go": Decision(target="x", above=0.4)}, crossed, draws=range(5))
    assert over["decision_probability"].item() == share
    expected = spreads((lower > 0.4).astype(float).reshape(5, 10)).monte_carlo
    assert over["decision_probability_standard_error"].item() == pytest.approx(expected)
    with pytest.raises(ValueError, match="shape"):
        decisions_dataset({"go": Decision(target="x", above=0.4)}, crossed)
    for dataset in (made, over):
        assert all({"long_name", "units"} <= set(variable.attrs) for variable in dataset.variables.values())


def test_what_a_run_decides_is_counted_from_its_own_patients() -> None:
    words = ["study.replicates=60", RULES, "output.patients=true"]
    tree = simulator.simulate(words)
    patients, node = tree["patients"].to_dataset(), tree["decisions"].to_dataset()
    evaluable, seen = patients["population_evaluable"].values, patients["response_seen"].notnull().values
    stomach = patients["stratum"].values == patients["stratum"].attrs["flag_meanings"].split().index("stomach")
    for name, member, level, method in (("go", evaluable, 0.95, "wilson"), ("stop", evaluable & stomach, 0.8, "exact")):
        for study in range(60):
            k, n = int((seen & member)[study].sum()), int(member[study].sum())
            expected = binomtest(k, n).proportion_ci(level, method)
            here = node.sel(decision=name, replicate=study)
            assert here["interval_lower"].item() == pytest.approx(expected.low, rel=1e-9)
            assert here["interval_upper"].item() == pytest.approx(expected.high, rel=1e-9)
    yes = (node["interval_lower"].sel(decision="go") > 0.3).mean()
    assert node["decision_probability"].sel(decision="go").item() == yes
    assert 0 < yes < 1
    alone = simulator.simulate(["study.replicates=60"])
    np.testing.assert_array_equal(alone["targets"]["simulated"], tree["targets"]["simulated"])
    assert "decisions" not in alone.children


def test_a_large_study_that_comes_in_parts_decides_on_its_whole() -> None:
    words = ["study.replicates=2", "cohort.n_patients=40000", "output.decisions={go: {target: D07, above: 0.3}}"]
    tree = simulator.simulate(words)
    node, share = tree["decisions"].to_dataset(), tree["targets"]["simulated"].sel(target="D07").values
    n = np.round(share * (1 - share) * 4 * 1.959963984540054**2 / node["interval_width"].item() ** 2)
    assert ((n > 25_000) & (n < 27_000)).all()  # 52 of 81 are evaluable: 25,679
    assert ((node["interval_lower"].values[:, 0] < share) & (share < node["interval_upper"].values[:, 0])).all()


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (
            "{target: D97, above: 0.3}",
            "go.target = D97: unknown proportion among targets and estimates",
        ),
        ("{target: D25, above: 0.3}", "is a kaplan_meier_median, which has no count and denominator"),
        ("{target: D07}", "output.decisions.go.above: must be given, or below"),
        ("{target: D07, above: 0.3, below: 0.5}", "cannot stand beside above"),
        ("{target: D07, above: 1.3}", "output.decisions.go.above = 1.3: must be <= 1"),
        ("{target: D07, above: 0.3, level: 1.0}", "output.decisions.go.level = 1.0: must be < 1"),
        ("{target: D07, above: 0.3, method: wilsn}", "did you mean 'wilson'"),
        ("{target: D07, abov: 0.3}", "did you mean 'above'"),
    ],
)
def test_a_decision_that_cannot_be_taken_is_refused_by_name(rule: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        simulator.simulate([f"output.decisions={{go: {rule}}}"])
    assert said in str(caught.value)


def test_decisions_of_a_sweep_are_those_of_single_runs_and_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["study.replicates=40", RULES, "cohort.n_patients=30,60", f"hydra.sweep.dir={tmp_path / 'store'}"]
    assert main(["--multirun", *words]) == 0
    out = capsys.readouterr().out
    assert "go: lower 95 % bound (wilson) of D07 above 0.3" in out
    assert "stop: upper 80 % bound (exact) of D08 below 0.9" in out
    tree = simulator.open_results(tmp_path / "store")
    with (tmp_path / "store" / "summary.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["quantity"] in ("decision_probability", "interval_width")]
    assert len(rows) == 2 * 2 * 2
    for n in (30, 60):
        alone = simulator.simulate(["study.replicates=40", RULES, f"cohort.n_patients={n}"])
        node, cell = alone["decisions"].to_dataset(), tree["decisions"].to_dataset().sel(n_patients=n)
        for name, variable in node.data_vars.items():
            np.testing.assert_array_equal(cell[name].transpose(*variable.dims).values, variable.values)
        messages = [row for row in rows if row["n_patients"] == str(n) and row["quantity"] == "decision_probability"]
        assert [float(row["estimate"]) for row in messages] == node["decision_probability"].values.tolist()
        assert "go" in plain(decisions_table(alone))
