"""Text from files and command lines, as terminals and spreadsheets get it."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from simulator.cli.commands import main
from simulator.errors import Problem
from simulator.text import cell, csv_text, visible
from simulator.views.tables import add_row, plain, ruled_table

ESCAPE = "\x1b]0;owned\x07"


def test_control_characters_are_written_out_and_nothing_else_is() -> None:
    assert visible(ESCAPE) == r"\x1b]0;owned\x07"
    assert visible("a\x9b31mb\u202ec\rd\x7f") == r"a\x9b31mb\u202ec\rd\x7f"
    kept = "median (95 % CI) 14·2 months – ½, Zürich 漢字\n\ttabbed"
    assert visible(kept) == kept


@pytest.mark.parametrize("text", ["=1+1", "+1 day", "-cmd", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "-", "=1e3"])
def test_what_begins_like_a_formula_begins_with_an_apostrophe(text: str) -> None:
    assert cell(text).startswith("'")


@pytest.mark.parametrize("text", ["-0.125", "+3", "-1e-05", "-inf", "12", "", "a=b", "3 - 2"])
def test_numbers_and_plain_text_are_left_as_they_are(text: str) -> None:
    assert cell(text) == text


def test_csv_is_read_back_with_its_numbers() -> None:
    text = csv_text([["-x", "n"], ["=HYPERLINK(1)", -0.5], ["a,b", "-0.5"]])
    assert list(csv.reader(io.StringIO(text))) == [["'-x", "n"], ["'=HYPERLINK(1)", "-0.5"], ["a,b", "-0.5"]]


def test_tables_and_problems_obey_nothing() -> None:
    table = ruled_table((f"head{ESCAPE}", {}))
    add_row(table, [f"name{ESCAPE}"])
    shown = plain(table)
    assert r"name\x1b]0;owned\x07" in shown
    assert "\x1b" not in shown
    assert "\x1b" not in str(Problem("key", ESCAPE, "must be plain"))


def test_a_command_prints_no_escape_that_it_was_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"cohort={ESCAPE}"]) == 2
    assert main(["--config-dir", str(tmp_path / f"no{ESCAPE}"), "cohort=x"]) == 2
    printed = "".join(capsys.readouterr())
    assert "owned" in printed
    assert "\x1b" not in printed
    assert "\x07" not in printed
