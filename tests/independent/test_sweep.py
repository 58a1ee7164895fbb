"""A sweep's store, contrasts and summary against single runs, one by one, on a grid whose blocks span both axes."""

from __future__ import annotations

import csv
import itertools
import math
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import zarr

import simulator
from simulator.cli.commands import main
from simulator.sweep import layout
from tests.independent import plain, quarry

STUDIES = 25
EFFECTS, MEDIANS = (0.4, 0.7, 1.0, 1.3), (200.0, 400.0)
COMMON = ["cohort=quarry", "seed=9", f"study.replicates={STUDIES}"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory):
    """The store of 4 × 2 scenarios in blocks of four, which lie across both axes, and the single runs by scenario."""
    folder = tmp_path_factory.mktemp("quarry")
    own, patch = quarry.written(folder / "own"), pytest.MonkeyPatch()
    patch.setattr(layout, "FEWEST_BLOCKS", 2)
    words = [f"parameters.effect={','.join(map(str, EFFECTS))}", f"parameters.typical={','.join(map(str, MEDIANS))}"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        code = main(["--config-dir", str(own), "--multirun", *COMMON, *words, f"hydra.sweep.dir={folder / 'sweep'}"])
        patch.undo()
        assert code == 0
        alone = {
            (effect, median): simulator.simulate(
                [*COMMON, f"parameters.effect={effect}", f"parameters.typical={median}"], config_dir=own
            )
            for effect, median in itertools.product(EFFECTS, MEDIANS)
        }
    with simulator.open_results(folder / "sweep") as tree:
        yield SimpleNamespace(tree=tree, alone=alone, folder=folder / "sweep")


def values(one, target: str) -> list[float]:
    return one["targets"]["simulated"].sel(target=target).values.tolist()


def test_a_block_holds_points_of_both_axes(made):
    stored = zarr.open_group(made.folder / "sweep.zarr", mode="r")["targets/simulated"]
    assert stored.chunks[:2] == (2, 2)


def test_every_cell_is_the_single_run_with_its_values(made):
    for (effect, median), one in made.alone.items():
        cell = made.tree.sel(effect=effect, typical=median)
        for node in ("targets", "statistics"):
            for name, variable in one[node].to_dataset().data_vars.items():
                if not {"patient", "history"} & set(variable.dims) and variable.dtype.kind in "fi":
                    stored = cell[node][name]
                    assert np.array_equal(stored.transpose(*variable.dims).values, variable.values, equal_nan=True), (
                        name
                    )
    medians = {float(values(one, "Q5")[0]) for one in made.alone.values()}
    assert len(medians) == len(made.alone)  # no two scenarios could be exchanged unseen


@pytest.mark.parametrize("against", [{"effect": 1.0}, {"typical": 200.0}, {"effect": 0.7, "typical": 400.0}])
def test_contrasts_pair_study_by_study_with_the_error_of_the_pairs(made, against):
    found = simulator.contrast(made.tree, against)["targets"]
    seen = set()
    for (effect, median), one in made.alone.items():
        there = made.alone[against.get("effect", effect), against.get("typical", median)]
        for target in quarry.STATISTICS:
            pairs = [
                (a, b)
                for a, b in zip(values(one, target), values(there, target), strict=True)
                if math.isfinite(a) and math.isfinite(b)
            ]
            row = found.sel(effect=effect, typical=median, target=target)
            assert int(row["n_pairs"]) == len(pairs)
            seen.add(len(pairs))
            if len(pairs) < 2:
                continue
            gaps = [a - b for a, b in pairs]
            mean = sum(gaps) / len(gaps)
            error = math.sqrt(sum((g - mean) ** 2 for g in gaps) / (len(gaps) - 1) / len(gaps))
            assert float(row["difference"]) == pytest.approx(mean, rel=1e-9, abs=1e-12)
            assert float(row["difference_standard_error"]) == pytest.approx(error, rel=1e-9, abs=1e-12)
            here, other = (sum(column) / len(pairs) for column in zip(*pairs, strict=True))
            ratio = here / other
            rest = [a - ratio * b for a, b in pairs]
            centre = sum(rest) / len(rest)
            of_ratio = math.sqrt(sum((r - centre) ** 2 for r in rest) / (len(rest) - 1) / len(rest)) / abs(other)
            assert float(row["ratio"]) == pytest.approx(ratio, rel=1e-9)
            assert float(row["ratio_standard_error"]) == pytest.approx(of_ratio, rel=1e-9, abs=1e-12)
    assert len(seen - {STUDIES}) > 1  # some pairs are not finite


def test_the_summary_has_the_numbers_of_each_scenario(made):
    rows = list(csv.DictReader((made.folder / "summary.csv").read_text(encoding="utf-8").splitlines()))
    of_target = {name: [row for row in rows if row["quantity"] == name] for name in quarry.STATISTICS}
    seen = 0
    for (effect, median), one in made.alone.items():
        node = one["targets"].to_dataset()
        for name in quarry.STATISTICS:
            (row,) = [r for r in of_target[name] if float(r["effect"]) == effect and float(r["typical"]) == median] or [
                None
            ]
            each = values(one, name)
            if row is None:
                assert math.isnan(plain.quantile(each, 0.5))
                continue
            known = {
                "reported": float(node["reported"].sel(target=name)),
                "estimate": plain.quantile(each, 0.5),
                "lower": plain.quantile(each, 0.025),
                "upper": plain.quantile(each, 0.975),
                "standard_error": plain.quantile_error(each, 0.5),
            }
            for column, number in known.items():
                shown = float(row[column]) if row[column] else math.nan
                assert shown == pytest.approx(number, rel=1e-5, abs=1e-9, nan_ok=True), (name, column)
            seen += 1
    assert seen > 5 * len(made.alone)
    lived = [row for row in rows if row["quantity"] == "rmst" and row["group"] == "drug"]
    assert len(lived) == len(made.alone)
    for row in lived:
        one = made.alone[float(row["effect"]), float(row["typical"])]
        at = one["statistics"].to_dataset().sel(group="drug")
        assert float(row["estimate"]) == pytest.approx(float(at["rmst"]), rel=1e-5)
        assert float(row["standard_error"]) == pytest.approx(float(at["rmst_standard_error"]), rel=1e-5)
