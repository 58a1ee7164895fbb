"""1,000 bit flips, 200 truncations, 50 deletions, 50 swaps in a sweep, `results.nc` and a cache: none goes unseen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests import damages
from tests.verification.conftest import SEED

COUNTS = {"flip": 1000, "truncate": 200, "delete": 50, "swap": 50}
SWEEP, FILE, CACHE = damages.shares(COUNTS, 5, 3, 2)


@pytest.mark.parametrize(("write", "counts"), [(damages.a_sweep, SWEEP), (damages.a_file, FILE)])
def test_no_damage_of_results_is_read_as_a_value_or_missed_by_verify(tmp_path: Path, write, counts) -> None:
    write(tmp_path)
    found = damages.battery_of_results(tmp_path, counts, np.random.default_rng(SEED))
    print(dict(found))
    for kind, count in counts.items():
        assert found[f"{kind}: damages"] == count
        assert found[f"{kind}: read as another value"] == 0
        assert found[f"{kind}: not found by verify"] == 0


def test_damaged_kernels_are_compiled_again_to_the_same_results(tmp_path: Path) -> None:
    found = damages.battery_of_a_cache(tmp_path, CACHE, np.random.default_rng(SEED))
    print(dict(found))
    for kind, count in CACHE.items():
        assert found[f"{kind}: damages"] == count
        for wrong in ("another hash", "damaged code that was run", "not mended"):
            assert found[f"{kind}: {wrong}"] == 0
