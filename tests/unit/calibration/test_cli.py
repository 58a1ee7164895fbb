"""`python -m calibration`: what it prints, what it refuses, its exit codes, and that it writes where it is told."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import simulator
from calibration import cli
from calibration.cli import main

QUICK = {"draws": 100}
FILES = {"calibration.nc", "parameters.yaml", "draws.csv", "parameters.png", "survival_fit.png", "targets.png"}
REPOSITORY = Path(cli.__file__).resolve().parents[1]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory, which must still be empty at the end."""
    folder = tmp_path / "cwd"
    folder.mkdir()
    monkeypatch.chdir(folder)
    yield folder
    assert list(folder.iterdir()) == []


def own_file(folder: Path, name: str, **keys: object) -> Path:
    path = folder / "own" / "calibration" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    priors = {"response.probability": {"beta": {"a": 2, "b": 2}}}
    path.write_text(yaml.safe_dump({"name": name, "parameters": priors, **keys}), encoding="utf-8")
    return folder / "own"


def test_a_cohort_is_calibrated_and_written_where_asked(here, tmp_path, capsys):
    assert main(["cohort=il2_hai_unresectable", f"hydra.run.dir={tmp_path / 'run'}"]) == 0
    assert {path.name for path in (tmp_path / "run").iterdir()} == FILES
    said, wrong = capsys.readouterr()
    assert wrong == ""
    response = next(line for line in said.splitlines() if line.startswith("response.probability"))
    # Beta(19.5, 6.5), EVIDENCE B8: 0.756 (0.571–0.893), less the third that cannot be seen
    assert any(f"†0.{median} (0.5" in response for median in range(720, 750))
    assert "In conflict: I04; the visit scheme and progression.median" in " ".join(said.split())
    assert "of the posterior is infeasible and left out" in said
    (ratio,) = (line for line in said.splitlines() if line.startswith("response.hazard_ratio"))
    assert ratio.endswith("assumption")
    assert "Fitted: I04" in said
    # C(25, 19)·B(19.5, 6.5)/B(½, ½) = e^-3.53, and about two thirds of the posterior over as much of the prior
    assert any(f"log evidence -3.{digit}" in said for digit in (3, 4, 5, 6, 7))


def test_a_folder_of_its_own_is_named_after_cohort_and_time(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    own = own_file(tmp_path, "quick", search=QUICK)
    for _ in range(2):
        assert main(["cohort=il2_hai_unresectable", "calibration=quick", "--config-dir", str(own)]) == 0
    folders = list((tmp_path / "outputs" / "calibration" / "il2_hai_unresectable").iterdir())
    assert len(folders) == 2
    assert f"outputs/calibration/il2_hai_unresectable/{max(folders).name}/" in capsys.readouterr().out


def test_the_same_seed_prints_the_same_and_another_one_does_not(here, tmp_path, capsys):
    printed = []
    own = own_file(tmp_path, "quick", search=QUICK)
    for run, seed in enumerate((7, 7, 8)):
        arguments = ["calibration=quick", f"seed={seed}", f"hydra.run.dir={tmp_path / str(run)}"]
        assert main(["cohort=il2_hai_unresectable", *arguments, "--config-dir", str(own)]) == 0
        printed.append(capsys.readouterr().out.partition(str(tmp_path))[0])
    assert printed[0] == printed[1] != printed[2]


def test_a_file_of_ones_own_gives_a_shipped_cohort_other_priors(here, tmp_path, capsys):
    own = own_file(tmp_path, "sceptical", search=QUICK)
    arguments = ["cohort=il2_hai_unresectable", "calibration=sceptical", "--config-dir", str(own)]
    assert main([*arguments, f"hydra.run.dir={tmp_path / 'run'}"]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("response.probability"))
    median = float(line.split(")")[1].split()[0])
    assert median == pytest.approx(0.727, abs=0.03)  # of Beta(21, 8); of 100 draws, cut to what can be produced


def test_alternatives_are_shown_side_by_side_unless_nothing_is_diagnosed(here, tmp_path, capsys):
    own = own_file(
        tmp_path, "families", search=QUICK, alternatives={"survival.family": {"weibull": 1, "log_normal": 1}}
    )
    arguments = ["cohort=il2_hai_unresectable", "calibration=families", "--config-dir", str(own)]
    assert main([*arguments, f"hydra.run.dir={tmp_path / 'run'}"]) == 0
    assert {path.name for path in (tmp_path / "run").iterdir()} == FILES | {"alternatives.png"}
    said = capsys.readouterr().out
    assert "Side by side: survival.family" in said
    assert "all, 1 y*" in said  # no target looks at survival
    assert "(all: none)" in " ".join(said.split())  # lines are wrapped
    tree = simulator.open_results(tmp_path / "run" / "calibration.nc")
    assert tree["survival"]["alternative"].values.tolist() == ["weibull", "log_normal"]
    assert tree["survival"]["extrapolated"].values[:, 1:].all()
    assert tree["alternatives"]["probability"].values == pytest.approx([0.5, 0.5], abs=0.05)  # as before the data
    assert main([*arguments, "diagnostics=none", f"hydra.run.dir={tmp_path / 'none'}"]) == 0
    assert {path.name for path in (tmp_path / "none").iterdir()} == FILES
    assert "Not compared: log_normal (diagnostics=standard does)" in capsys.readouterr().out


def test_an_alternative_that_there_is_not_ends_with_two_and_leaves_nothing(here, tmp_path, capsys):
    own = own_file(tmp_path, "typo", alternatives={"survival.family": {"weibull": 1, "log_norml": 1}})
    run = tmp_path / "run"
    arguments = ["cohort=il2_hai_unresectable", "calibration=typo", "--config-dir", str(own), f"hydra.run.dir={run}"]
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert "config error: calibration.alternatives.survival.family.log_norml: unknown hazard family" in said
    assert "(did you mean 'log_normal'?)" in said
    assert not run.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["calibration=pj203"],
            "config error: calibration = pj203: unknown calibration file; known: il2_hai_adjuvant, "
            "il2_hai_unresectable, ilp, pj203_mmc (did",
        ),
        (["calibration=a", "calibration=b"], "config error: calibration = a, b: is given twice; keep one"),
        (["evidence"], "config error: evidence: belongs to python -m simulator"),
        (["--cfg", "job"], "config error: --cfg: belongs to python -m simulator"),
        (["cohort=ilq"], "config error: cohort = ilq"),
        (["--multirun"], "config error: --multirun"),
        (
            ["study.reading=split_42_25_14"],
            "config error: evidence.entries.D28 = 51.0%: a censored curve has no closed form: no count of 42 prints it",
        ),
    ],
)
def test_bad_input_ends_with_two_and_says_what_is_allowed(here, capsys, arguments, said):
    assert main(arguments) == 2
    printed, wrong = capsys.readouterr()
    assert printed == ""
    assert said in wrong
    assert "Traceback" not in wrong


def test_a_file_of_a_shipped_name_is_refused(here, tmp_path, capsys):
    own = own_file(tmp_path, "pj203_mmc")
    assert main(["--config-dir", str(own)]) == 2
    assert "calibration/pj203_mmc.yaml: has the name of a shipped file" in capsys.readouterr().err


def test_problems_of_a_file_are_named_by_their_keys(here, tmp_path, capsys):
    own = own_file(tmp_path, "mine", left_out={"I44": "x"}, serach={"initial": 9})
    assert main(["cohort=il2_hai_unresectable", "calibration=mine", "--config-dir", str(own)]) == 2
    assert "calibration.serach" in capsys.readouterr().err


def test_help_and_version_say_so_and_no_more(here, capsys):
    assert main(["--help"]) == 0
    assert "Calibrated so far: il2_hai_adjuvant, il2_hai_unresectable, ilp, pj203_mmc" in capsys.readouterr().out
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("lobule ")


def test_importing_the_package_loads_nothing(here):
    heavy = "[name for name in ('numpy', 'scipy', 'hydra', 'numba', 'pydantic') if name in sys.modules]"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", f"import sys, calibration; print(dir(calibration), {heavy})"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout == "['calibrate', 'rerun'] []\n"


def test_it_runs_as_a_module(here):
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONUTF8": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "calibration", "cohort=il2"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("config error: cohort = il2")
