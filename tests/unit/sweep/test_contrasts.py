"""Contrasts: pairs of studies, their errors against formulas, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import simulator
from simulator.cli.commands import main
from simulator.errors import ConfigError
from simulator.views.report.comparisons import _rows
from simulator.views.report.sweep import sweep_of

WORDS = ["cohort=il2_hai_adjuvant", "study.replicates=200", "parameters.recurrence.probability=0.2,0.36,0.5"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep") / "store"
    words = [*WORDS, "output.contrast={probability: 0.36}", f"hydra.sweep.dir={folder}"]
    assert main(["--multirun", *words]) == 0
    return folder


def test_a_difference_and_its_error_are_those_of_the_pairs(folder: Path) -> None:
    tree = simulator.open_results(folder)
    made = simulator.contrast(tree, {"probability": 0.36})["targets"].to_dataset()
    values = tree["targets"]["simulated"].sel(target="I11")
    here, there = values.sel(probability=0.5).values, values.sel(probability=0.36).values
    one = made.sel(target="I11", probability=0.5)
    assert one["difference"].item() == pytest.approx((here - there).mean(), rel=1e-12)
    paired = np.sqrt(np.var(here - there, ddof=1) / 200)
    assert one["difference_standard_error"].item() == pytest.approx(paired, rel=1e-12)
    assert one["ratio"].item() == pytest.approx(here.mean() / there.mean(), rel=1e-12)
    factor = (np.var(here, ddof=1) + np.var(there, ddof=1)) / np.var(here - there, ddof=1)
    assert one["variance_reduction"].item() == pytest.approx(factor, rel=1e-12)
    assert factor > 1.5  # patients share luck; independent seeds have 1
    assert one["n_pairs"].item() == 200


def test_the_error_of_a_ratio_is_that_of_the_delta_method(folder: Path) -> None:
    """Against the general formula var(x)/m² + r² var(y)/m² − 2 r cov(x, y)/m²."""
    tree = simulator.open_results(folder)
    one = simulator.contrast(tree, {"probability": 0.36})["targets"].to_dataset().sel(target="I11", probability=0.2)
    values = tree["targets"]["simulated"].sel(target="I11")
    here, there = values.sel(probability=0.2).values, values.sel(probability=0.36).values
    (xx, xy), (_, yy) = np.cov(here, there)
    ratio, mean = here.mean() / there.mean(), there.mean()
    expected = np.sqrt((xx + ratio**2 * yy - 2 * ratio * xy) / mean**2 / 200)
    assert one["ratio_standard_error"].item() == pytest.approx(expected, rel=1e-9)


def test_the_page_shows_pairs_that_are_left_out_and_scenarios_without_any(tmp_path: Path) -> None:
    # studies of 3 with a median survival beyond half of the horizon: some medians are not reached, or none is
    words = ["cohort=il2_hai_adjuvant", "cohort.n_patients=3", "study.replicates=40", "study.horizon='6 y'",
             "parameters.recurrence.probability=0.01,0.5,0.9", "output.contrast={probability: 0.9}",
             "output.estimates={m: {estimator: kaplan_meier_median, variable: survival}}"]  # fmt: skip
    assert main(["--multirun", *words, f"hydra.sweep.dir={tmp_path}"]) == 0
    with simulator.open_results(tmp_path) as tree:
        made = simulator.contrast(tree, {"probability": 0.9})["estimates"].to_dataset().sel(estimate="m")
        sweep = sweep_of(tree, "", {"probability": 0.9})
        outcome = next(each for each in sweep.outcomes if each.id == "estimate.m")
        cells = [
            list(row) for row in _rows(sweep.tree, simulator.contrast(tree, sweep.against), outcome, sweep.against)
        ]
    assert [row[0] for row in cells] == ["0.01", "0.5"]
    for row in cells:
        one = made.sel(probability=float(row[0]))
        pairs, left, undefined = (int(one[f"n_{what}"]) for what in ("pairs", "not_reached", "undefined"))
        assert (row[-2], pairs + left + undefined) == (str(pairs), 40)
        share, said = row[-1].split(maxsplit=1)
        assert (float(share), said) == (pytest.approx(100 * left / 40, abs=0.5), "% n.r.")
    assert (cells[0][1], cells[0][-2:]) == ("–", ["0", "100 % n.r."])


def test_the_reference_differs_from_itself_by_nothing(folder: Path) -> None:
    made = simulator.contrast(simulator.open_results(folder), {"probability": 0.36}).sel(probability=0.36)
    for node, name in (("targets", "difference"), ("statistics", "rmst_difference")):
        values = made[node][name]
        assert (values.where(values.notnull(), 0) == 0).all()
    assert (made["statistics"]["rmst_ratio"] == 1).all()
    for node in made.subtree:
        for variable in node.to_dataset(inherit=False).variables.values():
            assert {"long_name"} < set(variable.attrs) & {"long_name", "units", "comment"}


def test_the_command_writes_what_the_function_returns(folder: Path) -> None:
    written = xr.open_datatree(folder / "contrast.nc")
    made = simulator.contrast(simulator.open_results(folder), {"probability": 0.36})
    np.testing.assert_array_equal(written["targets"]["difference"], made["targets"]["difference"])
    written.close()


@pytest.mark.parametrize(
    ("against", "said"),
    [({}, "names no reference"), ({"probabilty": 0.36}, "did you mean 'probability'"), ({"probability": 0.4}, "0.36")],
)
def test_a_reference_that_is_not_there_is_refused(folder: Path, against: dict[str, float], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        simulator.contrast(simulator.open_results(folder), against)


@pytest.mark.filterwarnings("ignore::simulator.errors.DeclarationWarning")
def test_a_contrast_across_cohorts_needs_leave_and_is_titled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--multirun", "cohort=ilp,il2_hai_adjuvant", "study.replicates=10", "output.contrast={cohort: ilp}"]
    words += [f"hydra.sweep.dir={tmp_path / 'store'}"]
    assert main(words) == 2
    assert "compares different patients: no treatment effect; if that is" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert main([*words, "output.contrast_across_cohorts=true"]) == 0
    written = xr.open_datatree(tmp_path / "store" / "contrast.nc")
    assert "no treatment effect" in written.attrs["title"]
    assert "no treatment effect" in written["statistics"].attrs["title"]
    written.close()
    with pytest.raises(ConfigError, match="no treatment effect"):
        simulator.contrast(simulator.open_results(tmp_path / "store"), {"cohort": "ilp"})
