"""Papers and priors that cannot be: `python -m calibration` refuses them with exit code 2, by name; nothing is made."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from calibration.cli import main
from calibration.likelihoods.printable import beyond_follow_up
from simulator.endpoints.estimators import ESTIMATORS
from tests import two_arms, two_strata

Change = Callable[[dict[str, Any], dict[str, Any]], object]
"""What is done to the entries of the evidence by their ids, and to the calibration file."""
LANDMARK = {"estimator": "kaplan_meier_landmark", "variable": "survival"}
FEVER = {"estimator": "proportion", "variable": "adverse_event.fever"}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory, which must still be empty at the end."""
    folder = tmp_path / "cwd"
    folder.mkdir()
    monkeypatch.chdir(folder)
    yield folder
    assert list(folder.iterdir()) == []


def said(made: Path, capsys: pytest.CaptureFixture[str], change: Change, *words: str) -> str:
    """Change a folder of one cohort, calibrate it, and return what is said; it must be refused."""
    (name,) = (path.stem for path in (made / "cohort").iterdir())
    paths = [made / group / f"{name}.yaml" for group in ("evidence", "calibration")]
    evidence, file = (yaml.safe_load(path.read_text(encoding="utf-8")) for path in paths)
    entries = {item["id"]: item for item in evidence["entries"]}
    change(entries, file)
    evidence["entries"] = list(entries.values())
    for path, content in zip(paths, (evidence, file), strict=True):
        plain = json.loads(json.dumps(content))  # nothing shared, so that YAML needs no anchors
        path.write_text(yaml.safe_dump(plain, sort_keys=False), encoding="utf-8")
    assert main(["--config-dir", str(made), f"cohort={name}", "diagnostics=none", *words]) == 2
    out, wrong = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in wrong
    assert all(line.startswith("config error: ") for line in wrong.splitlines())
    return wrong


def share(name: str, n: int, of: int, stratum: str | None = None) -> dict[str, Any]:
    where = {"where": {"stratum": stratum}} if stratum else {}
    percent = round(100 * n / of, 1)
    made = two_strata.entry(name, f"{percent}%", percent, "%", **FEVER, population="examined", **where)
    return {**made, "numerator": n, "denominator": of}


def counts_of_parts(entries: dict[str, Any], file: dict[str, Any]) -> None:
    entries |= {"P1": share("P1", 20, 30, "large"), "P2": share("P2", 10, 14, "small"), "P": share("P", 25, 44)}
    file["left_out"] = {"P": "the sum of P1 and P2"}


def curve_that_rises(entries: dict[str, Any], file: dict[str, Any]) -> None:
    where = {"where": {"stratum": "large"}, "time": "2 y"}
    entries["L2"] = two_strata.entry("L2", "60%", 60, "%", **LANDMARK, **where)


def count_that_nothing_prints(entries: dict[str, Any], file: dict[str, Any]) -> None:
    del entries["P"]["numerator"]
    entries["P"] |= {"printed": "25.5%", "value": 25.5}


def exact_share_of_seventeen(entries: dict[str, Any], file: dict[str, Any]) -> None:
    made = two_strata.entry("P", "37%", 37, "%", **FEVER, where={"stratum": "small"})
    entries["P"] = {**made, "denominator_unknown": True}
    file["simulated"] = {"fevers": {"targets": {"P": "exact"}, "parameters": ["fever"], "replicates": 20}}


def exact_landmark_of_seventeen(entries: dict[str, Any], file: dict[str, Any]) -> None:
    entries["L.small"] |= {"printed": "48.5%", "value": 48.5}
    file["simulated"] = {"one": {"targets": {"L.small": "exact"}, "parameters": ["survival.median"], "replicates": 20}}


def prior_from_what_is_held_out(entries: dict[str, Any], file: dict[str, Any]) -> None:
    entries["L1"] = entries.pop("L.small") | {"id": "L1", "role": "held_out"}
    file["parameters"]["fever"] = {"beta": {"a": 1, "b": 3}, "note": "centred so that L1 is met"}


@pytest.mark.parametrize(
    ("change", "words", "expected"),
    [
        (prior_from_what_is_held_out, (), "parameters.fever.note: cites L1, which is held out"),
        (lambda e, f: e["P"].update(numerator=50), (), "P.numerator = 50: must hold: numerator at most the denom"),
        (count_that_nothing_prints, (), "P.denominator = 44: must hold: a whole count prints the figure"),
        (counts_of_parts, (), "P.numerator = 25: must hold: counts of adverse_event.fever in parts go into that of"),
        (curve_that_rises, (), "L2.value = 60.0: must hold: survival does not rise from M.large to L2"),
        (lambda e, f: e["L.small"].update(printed="65%", value=65), (), "does not rise from M.small to L.small"),
        (lambda e, f: e["L.small"]["statistic"].update(time="6 y"), (), "must be before the horizon, day 1826.25"),
        (
            lambda e, f: None,
            ("study.data_cut=500", "+study.accrual={uniform: [0, 200]}"),
            "L.small = 47%: a censored curve has no closed form: patients are",
        ),
        (lambda e, f: f["parameters"].update({"survival.medain": {"fixed": 3}}), (), "did you mean 'survival.median'?"),
        (lambda e, f: f.update(left_out={"L.smal": "x"}), (), "did you mean 'L.small'?"),
        (lambda e, f: f["parameters"].update(fever={"fixed": 1.0}), (), "no draw of the priors of fever gives P any"),
        (exact_share_of_seventeen, (), "P = 37%: no count of 17 prints it"),
        (exact_landmark_of_seventeen, (), "L.small = 48.5%: no count of 17 prints it"),
    ],
)
def test_of_one_group(
    here: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Change,
    words: tuple[str, ...],
    expected: str,
) -> None:
    assert expected in said(two_strata.written(tmp_path / "own"), capsys, change, "study.reading=split_49_17", *words)


def landmark_against_the_bound(entries: dict[str, Any], file: dict[str, Any]) -> None:
    made = two_arms.entry("median") | {"id": "L1", "printed": "40%", "value": 40, "unit": "%"}
    entries["L1"] = made | {"statistic": {**LANDMARK, "time": "12 mo", "where": two_arms.ADDED}}
    file["left_out"] = {"L1": "for a test"}


def harmful(entries: dict[str, Any], file: dict[str, Any]) -> None:
    file["parameters"]["effect.death"] = {"uniform": {"low": 3, "high": 4}}
    file["simulated"]["survival"]["targets"] = {"median": "0.7 mo", "ratio": "exact"}
    for name in set(entries) - {"median", "ratio", "gain"}:
        del entries[name]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda e, f: e["waited"].pop("value"), "waited.value: must be given for a target, the mo that it was above"),
        (
            lambda e, f: e["waited"].update(printed="not reached"),
            "waited.printed = not reached: must hold: the printed",
        ),
        (
            lambda e, f: e["waited"].update(printed="not reached by 60 months", value=60),
            "waited = not reached by 60 months: is about day 1826.25, and nobody is followed beyond day 1095.75",
        ),
        (
            lambda e, f: e["median"].update(printed="40 months", value=40) or e.pop("median.upper"),
            "median = 40 months: is about day 1202.28, and nobody is followed beyond day 1095.75",
        ),
        (landmark_against_the_bound, "L1.value = 40.0: must hold: survival is at least one half at day 365.25"),
        (lambda e, f: e["ratio.lower"].update(printed="0.60", value=0.6), "ratio lies between ratio.lower and ratio."),
        (lambda e, f: e["median.lower"].update(printed="16.0", value=16), "an interval in order; found: 16 to 15.1 mo"),
        (lambda e, f: f["simulated"]["survival"]["targets"].update(ratoi=0.1), "did you mean 'ratio'?"),
        (lambda e, f: f["simulated"]["survival"]["targets"].update(ratio="3 %"), "ratio = 3 %: must be"),
        (
            lambda e, f: f["parameters"].update({"effect.death": {"uniform": {"low": 3, "high": 4}}}),
            "of 100 draws, each has some by itself, not together",
        ),
        (harmful, "of 100 draws, by themselves ratio have none"),
    ],
)
def test_of_two_groups(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Change, expected: str
) -> None:
    def smaller(entries: dict[str, Any], file: dict[str, Any]) -> None:
        for term in file["simulated"].values():
            term |= {"replicates": 20, "recombined": 0}
        change(entries, file)
        file["simulated"]["survival"]["targets"] = {
            k: v for k, v in file["simulated"]["survival"]["targets"].items() if k in entries or k == "ratoi"
        }

    assert expected in said(two_arms.written(tmp_path / "own"), capsys, smaller)


def test_priors_far_from_the_data_are_refused_though_nothing_is_impossible(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def far(entries: dict[str, Any], file: dict[str, Any]) -> None:
        file["parameters"]["survival.median"] = {"uniform": {"low": "2000 d", "high": "2001 d"}}
        file["parameters"]["survival.shape"] = {"fixed": 1.3}
        file["search"] = {"initial": 500, "draws": 200}

    found = said(two_strata.written(tmp_path / "own"), capsys, far, "study.reading=split_49_17")
    assert "excludes the data: no draw of the priors of survival.median.large" in found
    assert "gives M.large, L.large a probability of more than" in found


@pytest.mark.parametrize(
    ("estimator", "bound", "limits", "time", "refused"),
    [
        ("kaplan_meier_median", "below", (-math.inf, 1826.0), None, False),  # any median that is reached
        ("kaplan_meier_median", "above", (1826.0, math.inf), None, True),
        ("kaplan_meier_median", "above", (1000.0, math.inf), None, False),  # not reached by the end
        ("restricted_mean", None, (300.0, 301.0), 1000.0, False),  # the area until the end
        ("restricted_mean", None, (300.0, 301.0), 1001.0, True),
        ("kaplan_meier_landmark", None, (0.1, 0.2), 1000.0, True),  # follow-up is half-open
    ],
)
def test_only_what_no_study_prints_is_beyond_follow_up(estimator, bound, limits, time, refused):
    entry = SimpleNamespace(limits=limits, bound=bound, time=True)
    endpoint, record = SimpleNamespace(since_entry=True), ESTIMATORS[estimator]
    statistic = SimpleNamespace(against=None, endpoint=endpoint, time=time, record=record, extend=False)
    assert (beyond_follow_up(entry, statistic, 1000.0) is not None) == refused
