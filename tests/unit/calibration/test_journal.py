"""The journal of a calibration: what was found is not found again, and a run cut off ends with the same bytes."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from threading import Event
from time import sleep

import numpy as np
import pytest

from calibration.cli import main
from calibration.likelihoods.terms import ProportionTerm
from calibration.posterior.fit import _Search, _side_by_side
from calibration.posterior.journal import HASH, HEAD, Journal, journal_of
from calibration.priors.distributions import Beta
from calibration.priors.parameters import Prior, Single
from calibration.schema import Search
from tests.unit.calibration.test_cli import own_file

Z = np.arange(12.0).reshape(4, 3)


class Counted:
    """Sums of rows, which counts how often it is asked, and is interrupted at a call."""

    def __init__(self, interrupted_at: int | None = None) -> None:
        self.calls, self.interrupted_at = 0, interrupted_at

    def __call__(self, z: np.ndarray) -> np.ndarray:
        self.calls += 1
        if self.calls == self.interrupted_at:
            raise KeyboardInterrupt
        return np.asarray(z.sum(axis=1))


def test_an_answer_is_found_once(tmp_path):
    first, again = Counted(), Counted()
    asked = Journal(tmp_path / "j").remembered({"reading": "a"}, first)
    assert np.array_equal(asked(Z), Z.sum(axis=1))
    assert np.array_equal(asked(Z), Z.sum(axis=1))
    reopened = Journal(tmp_path / "j")
    assert reopened.found == 4
    assert np.array_equal(reopened.remembered({"reading": "a"}, again)(Z), Z.sum(axis=1))
    assert (first.calls, again.calls) == (1, 0)


def test_other_rows_and_other_contexts_are_other_questions(tmp_path):
    counted = Counted()
    journal = Journal(tmp_path / "j")
    for context in ({"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 1}):  # the order of strata has a meaning
        asked = journal.remembered(context, counted)
        for z in (Z, Z[:2], Z.reshape(3, 4), Z + 1e-15):
            asked(z)
    assert counted.calls == 12


def test_infinities_come_back_as_they_were(tmp_path):
    values = np.array([-np.inf, -0.0, 5e-324, 1.0])
    Journal(tmp_path / "j").remembered(0, lambda z: values)(Z)
    back = Journal(tmp_path / "j").remembered(0, Counted())(Z)
    assert back.tobytes() == values.tobytes()


def test_a_record_that_is_cut_off_is_not_read_and_costs_no_other(tmp_path):
    path = tmp_path / "j"
    asked = Journal(path).remembered(0, Counted())
    asked(Z)
    one = len(path.read_bytes())
    asked(Z[:3])
    whole = path.read_bytes()
    for length in range(one, len(whole)):
        path.write_bytes(whole[:length])
        counted = Counted()
        again = Journal(path)
        assert again.found == 4
        asked = again.remembered(0, counted)
        assert np.array_equal(asked(Z), Z.sum(axis=1))
        assert counted.calls == 0
        asked(Z[:2])  # written behind the broken one
        assert Journal(path).found == 6


def test_a_damaged_record_is_not_believed(tmp_path):
    path = tmp_path / "j"
    Journal(path).remembered(0, Counted())(Z)
    data = bytearray(path.read_bytes())
    for at in (HEAD.size - HASH, HEAD.size + 3, len(data) - 1):
        damaged = data.copy()
        damaged[at] ^= 1
        path.write_bytes(damaged)
        assert Journal(path).found == 0


def test_something_else_has_another_journal(tmp_path):
    folder = tmp_path / "run"
    assert journal_of(folder, {"seed": 1}).path == journal_of(tmp_path / "later", {"seed": 1}).path
    assert journal_of(folder, {"seed": 1}).path != journal_of(folder, {"seed": 2}).path


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    own = own_file(tmp_path, "cut_off", search={"draws": 100, "initial": 1000, "batch": 250})
    return ["cohort=il2_hai_unresectable", "calibration=cut_off", "--config-dir", str(own), "diagnostics=none"]


def test_a_calibration_that_was_cut_off_goes_on_to_the_same_bytes(command, tmp_path, monkeypatch, capsys):
    found, asked = ProportionTerm.log_density, []

    def counted(self, sets):
        asked.append(sets.size)
        return found(self, sets)

    def cut_off(self, sets):
        if len(asked) == 3:
            raise KeyboardInterrupt
        return counted(self, sets)

    monkeypatch.setattr(ProportionTerm, "log_density", counted)
    assert main([*command, f"hydra.run.dir={tmp_path / 'whole'}"]) == 0
    in_one_go = sum(asked)
    asked.clear()
    capsys.readouterr()

    monkeypatch.setattr(ProportionTerm, "log_density", cut_off)
    folder = tmp_path / "there" / "run"
    assert main([*command, f"hydra.run.dir={folder}"]) == 130
    assert not folder.exists()
    (journal,) = folder.parent.iterdir()
    assert f"kept in {journal}" in capsys.readouterr().err

    monkeypatch.setattr(ProportionTerm, "log_density", counted)
    assert main([*command, f"hydra.run.dir={folder}"]) == 0
    assert "going on: 750 likelihoods are known" in capsys.readouterr().err
    assert sum(asked) == in_one_go
    assert [path.name for path in folder.parent.iterdir()] == ["run"]
    for path in (tmp_path / "whole").iterdir():
        assert (folder / path.name).read_bytes() == path.read_bytes()


def test_a_refused_calibration_leaves_no_journal(command, tmp_path, monkeypatch):
    monkeypatch.setattr(ProportionTerm, "log_density", lambda self, sets: np.full(sets.size, -np.inf))
    folder = tmp_path / "there" / "run"
    assert main([*command, f"hydra.run.dir={folder}"]) == 2
    assert list(folder.parent.glob("*")) == []


def test_a_full_disk_is_no_refusal_and_keeps_what_was_found(command, tmp_path, monkeypatch, capsys):
    written = []
    whole = os.fsync

    def full(descriptor):
        written.append(descriptor)
        if len(written) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        whole(descriptor)

    monkeypatch.setattr("calibration.posterior.journal.os.fsync", full)
    folder = tmp_path / "there" / "run"
    assert main([*command, f"hydra.run.dir={folder}"]) == 1
    assert "No space left on device" in capsys.readouterr().err
    (journal,) = folder.parent.iterdir()
    assert Journal(journal).found >= 500


def test_a_search_that_fails_ends_the_others():
    partial = Event()
    batches = []

    class Endless:
        targets, parameters = ("A",), frozenset({"a"})

        def log_density(self, sets):
            batches.append(sets.size)
            partial.set()
            sleep(0.01)
            return np.zeros(sets.size)

    class Failing(Endless):
        targets, parameters = ("B",), frozenset({"b"})

        def log_density(self, sets):
            partial.wait()
            raise FloatingPointError("no")

    parts = [_Search(Prior((Single(name, Beta(1, 1)),)), (term,), None) for name, term in
             (("a", Endless()), ("b", Failing()))]  # fmt: skip
    with pytest.raises(FloatingPointError, match="no"):
        list(_side_by_side(parts, Search(initial=100_000, batch=10), 1, 2))
    assert len(batches) < 10_000
