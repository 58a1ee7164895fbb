"""Labels of a sweep are what the values mean. Expected numbers: a week is 7 days, a month 30.4375, a year 365.25."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import simulator
from simulator.cli.multirun import axes_of_results, run_sweep
from simulator.errors import ConfigError
from simulator.sweep.axes import meaning
from simulator.sweep.grammar import read_sweep
from simulator.sweep.scenarios import reference

CONFIGS = Path(__file__).parents[2] / "cases" / "05-sweep-labels"


def coordinate(*words: str) -> tuple[list[Any], str, str]:
    """Return the labels of the one swept key, their kind and unit."""
    sweep, _ = read_sweep(["cohort=labels", *words], config_dir=CONFIGS)
    [axis] = axes_of_results(sweep, sweep.experiment(0))
    values, attrs = axis.coordinates[axis.name]
    return values.tolist(), values.dtype.kind, attrs["units"]


@pytest.mark.parametrize(
    ("word", "labels", "kind", "unit"),
    [
        ("course.interval='3 wk',14.0", [21.0, 14.0], "f", "d"),
        ("course.interval=14,21", [14, 21], "i", "d"),
        ("course.interval=range(14,16,0.5)", [14.0, 14.5, 15.0, 15.5], "f", "d"),
        ("study.horizon='2 y',700", [730.5, 700.0], "f", "d"),
        ("parameters.mean='2 mo',61", [60.875, 61.0], "f", "d"),
        ("parameters.mean.value=6000,'1 y'", [6000.0, 365.25], "f", "d"),
        ("cohort.n_patients=20,30", [20, 30], "i", "1"),
        ("course.interval={uniform: [14,21]},21", ["{uniform: [14,21]}", "21"], "O", ""),
        ("study.data_cut=null,700", ["null", "700"], "O", ""),
        ("course.interval=parameters.mean,21", ["parameters.mean", "21"], "O", ""),
    ],
)
def test_numbers_are_coordinates_in_the_unit_inside(word: str, labels: list[Any], kind: str, unit: str) -> None:
    assert coordinate(word) == (labels, kind, unit)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("course.interval='3 wk',21,14.0,14", ["'3 wk' and 21;", "14.0 and 14;"]),
        ("parameters.mean=6000,6000.0", ["parameters.mean", "6000 and 6000.0"]),
        ("course.interval='0.1 wk',0.7", ["'0.1 wk' and 0.7"]),
        ("course.interval={uniform: [2 wk,3 wk]},{uniform: [14,21.0]}", ["one value twice"]),
        ("course.interval=null,null", ["null twice"]),
        ("cohort=labels,'labels'", ["labels and 'labels'"]),
    ],
)
def test_one_value_in_two_spellings_is_refused_naming_both(word: str, said: list[str]) -> None:
    words = [word] if word.startswith("cohort=") else ["cohort=labels", word]
    with pytest.raises(ConfigError) as caught:
        read_sweep(words, config_dir=CONFIGS)
    assert all(text in str(caught.value) for text in said)


@pytest.mark.parametrize(("one", "other"), [(True, 1), ("a", ["a"]), (None, "None"), (21, "21"), (0.7, "0.1 wk")])
def test_other_kinds_of_values_are_not_the_same(one: Any, other: Any) -> None:
    assert meaning(one) != meaning(other)


def test_a_store_takes_labels_in_any_spelling(tmp_path: Path) -> None:
    grown, whole = tmp_path / "grown", tmp_path / "whole"

    def swept(folder: Path, interval: str) -> None:
        words = ["cohort=labels", f"course.interval={interval}", f"hydra.sweep.dir={folder}", "output.report=false"]
        run_sweep(words, config_dir=CONFIGS)

    swept(grown, "'3 wk',14")
    with simulator.open_results(grown) as tree:
        assert "course.interval='3 wk'" in tree.sel(interval=21.0)["scenarios"]["overrides"].item()
        by_text, by_number = (simulator.contrast(tree, {"interval": label}) for label in ("3 wk", 21))
        xr.testing.assert_identical(by_text, by_number)
        assert reference(tree) == {"interval": 21.0}  # the course has 3 wk
        with pytest.raises(ConfigError, match=r"must be one of 21\.0, 14\.0"):
            simulator.contrast(tree, {"interval": "4 wk"})
        before = tree["statistics"]["administrations_mean"].sel(interval=21).values
        single = simulator.simulate(["cohort=labels", "course.interval=3 wk"], config_dir=CONFIGS)
        np.testing.assert_array_equal(before, single["statistics"]["administrations_mean"].values)
    swept(grown, "14,21,'1 mo'")
    swept(whole, "14,21,'1 mo'")
    files = sorted(path.relative_to(whole) for path in (whole / "sweep.zarr").rglob("*") if path.is_file())
    assert files
    assert all((grown / name).read_bytes() == (whole / name).read_bytes() for name in files)
