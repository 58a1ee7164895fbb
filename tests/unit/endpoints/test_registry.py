"""An endpoint declared in one file is known everywhere: evidence, estimates, contrasts, tables, page, calibration."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

import simulator
from calibration.likelihoods.closed_forms import ClosedForms
from calibration.likelihoods.targets import terms_of
from calibration.schema import load
from simulator import endpoints
from simulator.cli.commands import main
from simulator.endpoints import registry
from simulator.endpoints.base import Variable
from simulator.errors import ConfigError
from simulator.experiment.schema import declare
from tests.unit.calibration.test_targets import config, median

FILE = """
from simulator.endpoints.base import Column, Endpoint


def _alive_or_dead(data, variable):
    observed = data.observed
    return Column(lambda: 2.0 * observed, data.died, data.all_patients)


ENDPOINTS = (Endpoint("double_time", "twice the time to death", "time_to_event", "d", _alive_or_dead{}),)
"""
CLOSED = ", curve=lambda declared: declared.survival()"


@pytest.fixture
def declared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Declare an endpoint, twice the time to death, in a file of its own."""

    def declare_it(closed_form: str = "") -> None:
        for earlier in tmp_path.glob("scratch_*.py"):
            earlier.unlink()
        name = f"scratch_{len(closed_form)}"
        (tmp_path / f"{name}.py").write_text(FILE.format(closed_form), encoding="utf-8")
        monkeypatch.setattr(endpoints, "__path__", [*endpoints.__path__, str(tmp_path)])
        monkeypatch.setitem(registry.ENDPOINTS, "double_time", registry.declared()["double_time"])

    return declare_it


def doubled(days: int = 600) -> dict[str, object]:
    return median("K", days) | {"statistic": {"estimator": "kaplan_meier_median", "variable": "double_time"}}


def test_two_endpoints_of_one_name_are_refused(declared, tmp_path):
    declared()
    (tmp_path / "second.py").write_text(FILE.format(""), encoding="utf-8")
    with pytest.raises(ValueError, match="two endpoints are called 'double_time'"):
        registry.declared()


def test_without_its_file_a_name_is_an_event_that_the_model_lacks():
    assert registry.variable("double_time") == Variable("event", "double_time")
    with pytest.raises(ConfigError, match="kaplan_meier_median has no meaning for it"):
        declare(config(doubled()))


def test_evidence_of_it_has_its_unit(declared):
    declared()
    (target,) = declare(config(doubled())).targets
    assert target.reported == 600.0
    with pytest.raises(ConfigError, match="must be a time: d, wk, mo or y"):
        declare(config(doubled() | {"unit": "%", "printed": "60 %", "value": 60}))


def test_calibration_refuses_it_until_it_says_how_its_likelihood_is_found(declared):
    calibration = load(
        {"name": "test_cohort", "parameters": {"survival.median": {"log_normal": {"median": "300 d", "sigma": 0.6}}}}
    )
    paths = frozenset(f"survival.median.{stratum}" for stratum in ("colon", "rectum", "other"))

    def problems(given) -> str:
        return "; ".join(map(str, terms_of(calibration, ClosedForms(declare(config(given)), paths))[1]))

    declared()
    assert "the kaplan meier median of double_time has no closed form" in problems(doubled())
    declared(CLOSED)
    assert problems(doubled()) == ""
    assert "double_time of those of `where.ever` has no closed form" in problems(
        doubled() | {"statistic": {**doubled()["statistic"], "where": {"ever": "response"}}}
    )


def test_it_stands_in_results_table_page_csv_and_contrast_with_its_unit(declared, tmp_path, capsys):
    declared()
    asked = "output.estimates={half: {estimator: kaplan_meier_median, variable: double_time}}"
    alone = "output.estimates={half: {estimator: kaplan_meier_median, variable: survival}}"
    words = ["cohort=ilp", "study.replicates=20"]
    found, plain = (simulator.simulate([*words, text])["estimates"].to_dataset() for text in (asked, alone))
    assert found["stored_unit"].item() == "d"
    assert found["variable"].item() == "double_time"
    assert found["median"].item() == pytest.approx(2 * plain["median"].item())
    swept = [
        *words,
        asked,
        "parameters.additional_infusion.hazard_ratio=0.6,1.0",
        "output.contrast={hazard_ratio: 1.0}",
    ]
    assert main(["--multirun", *swept, f"hydra.sweep.dir={tmp_path / 'sweep'}"]) == 0
    assert re.search(r"half .* d\b", capsys.readouterr().out)
    with (tmp_path / "sweep" / "summary.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["quantity"] == "half"]
    assert {row["unit"] for row in rows} == {"d"}
    assert "half" in (tmp_path / "sweep" / "report.html").read_text(encoding="utf-8")
    with simulator.open_results(tmp_path / "sweep") as tree:
        pair = simulator.contrast(tree, {"hazard_ratio": 1.0})["estimates"].sel(estimate="half", hazard_ratio=0.6)
        assert pair["stored_unit"].item() == "d"
        assert pair["difference"].item() != 0.0


def test_every_variable_of_an_endpoint_is_named_after_it():
    for name, endpoint in registry.ENDPOINTS.items():
        assert endpoint.name == name
        assert endpoint.label
        second = ".x" if endpoint.second else ""
        assert registry.variable(f"{name}{second}").kind == (name if name != registry.EVENT else "event")
