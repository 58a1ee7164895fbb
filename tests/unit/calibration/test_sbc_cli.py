"""`python -m calibration.sbc`: what it prints and writes, what it refuses, its exit codes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import simulator
from calibration.sbc import cli as sbc
from calibration.sbc.cli import LIGHT, main, settings_of
from calibration.sbc.rank_checks import LEVELS, points_of
from tests.two_strata import written


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory, which must still be empty at the end."""
    folder = tmp_path / "cwd"
    folder.mkdir()
    monkeypatch.chdir(folder)
    yield folder
    assert list(folder.iterdir()) == []


@pytest.fixture
def own(tmp_path: Path) -> list[str]:
    """The words for a cohort of our own, small and quickly searched."""
    words = ["cohort=meadow", "draws=19", "seed=3", "search.initial=500", "search.step=100", "search.draws=200"]
    return [*words, "--config-dir", str(written(tmp_path / "own")), f"hydra.run.dir={tmp_path / 'run'}"]


def test_a_cohort_is_checked_and_its_ranks_are_written(here, own, tmp_path, capsys):
    assert main([*own, "papers=12"]) == 0
    said, wrong = capsys.readouterr()
    assert wrong == ""
    assert said.startswith("12 simulated papers, truths drawn from the prior; ranks among 19 draws each\n")
    assert "PASSED at the family-wise level 0.001" in said
    assert "0.001 over 25 checks (family-wise, Bonferroni)" in said
    tree = simulator.open_results(tmp_path / "run")
    papers, checks = tree["papers"].to_dataset(), tree["checks"].to_dataset()
    strata = ("large", "small")
    names = [*(f"survival.{what}.{s}" for s in strata for what in ("median", "shape")), "fever", "log likelihood"]
    assert papers["quantity"].values.tolist() == checks["quantity"].values.tolist() == names
    assert papers["unit"].values.tolist() == ["d", "1", "d", "1", "1", "1"]
    rank = papers["rank"].values
    assert rank.shape == (12, 6)
    assert rank.min() >= 0
    assert rank.max() <= 19
    assert checks["level"].values.tolist() == list(LEVELS)
    inside = np.abs(papers["position"].values - 0.5) < 0.5 * np.array(LEVELS)[:, None, None]
    np.testing.assert_allclose(checks["coverage"].values, inside.mean(axis=1).T)
    points = points_of(19)
    curve = (rank[:, :, None] <= points).mean(axis=0) - (points + 1) / 20
    np.testing.assert_allclose(checks["ecdf_difference"].values, curve)
    assert np.all((checks["band_lower"].values <= curve) & (curve <= checks["band_upper"].values))
    assert papers["reading"].values.tolist() == ["split_49_17", "split_47_19"]
    np.testing.assert_allclose(papers["reading_share"].values.sum(axis=1), 1.0)
    assert (tree.attrs["papers"], tree.attrs["draws"], tree.attrs["failed"], tree.attrs["seed"]) == (12, 19, "", 3)


def test_a_negative_control_fails_and_exits_with_1(here, own, tmp_path, capsys):
    assert main([*own, "papers=40", "control=prior"]) == 1
    said = capsys.readouterr().out
    assert "NEGATIVE CONTROL prior" in said
    assert "FAILED at the family-wise level 0.001:\n  χ² of log likelihood\n" in said
    tree = simulator.open_results(tmp_path / "run")
    assert "ECDF of log likelihood" in tree.attrs["failed"]
    assert tree.attrs["control"] == "prior"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["papers=5"], "papers = 5: must be >= 10"),
        (["papers=many"], "papers = many: must be a whole number"),
        (["draws=1"], "draws = 1: must be >= 9"),
        (["control=normal"], "control = normal: must be one of: prior"),
        (["false_alarm=0"], "false_alarm = 0: must be > 0"),
        (["search.initials=9"], "search.initials = 9: unknown key"),
        (["papers=20", "papers=30"], "papers = 30: is given twice; keep one"),
        (["paper=20"], "paper = 20: unknown key"),
        (["cohort=ilpp"], "ilpp"),
        (["--multirun"], "belongs to python -m simulator"),
    ],
)
def test_bad_input_is_refused_and_nothing_is_made(here, arguments, said, capsys):
    assert main(["cohort=il2_hai_unresectable", *arguments] if "cohort=ilpp" not in arguments else arguments) == 2
    out, wrong = capsys.readouterr()
    assert out == ""
    assert said in wrong
    assert "Traceback" not in wrong


def test_keys_of_this_command_are_taken_and_others_are_left():
    settings, others = settings_of(["papers=50", "seed=7", "search.step=70", "cohort.mix.stomach=0.2"])
    assert (settings.papers, settings.draws, settings.control, settings.false_alarm) == (50, 99, None, 0.001)
    assert (settings.search.step, settings.search.initial, settings.search.stages) == (70, LIGHT["initial"], 100)
    assert others == ["seed=7", "cohort.mix.stomach=0.2"]


def test_an_interrupted_run_says_how_far_it_was_and_leaves_nothing(here, own, tmp_path, capsys, monkeypatch):
    class Interrupts(sbc.Progress):
        def at(self, done: int, total: int) -> None:
            super().at(done, total)
            if done == 3:
                raise KeyboardInterrupt

    monkeypatch.setattr(sbc, "Progress", Interrupts)
    assert main([*own, "papers=12"]) == 130
    assert "3 of 12 papers were done; nothing is written" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_help_tells_the_keys_and_their_defaults(here, capsys):
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    assert "search.initial=2000" in said
    assert all(f"  {key}=" in said for key in ("papers", "draws", "control", "false_alarm"))
