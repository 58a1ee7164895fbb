"""20,000 mutations of shipped and documented configurations: each gives a result or is refused.

`LOBULE_MUTATIONS` says how many instead.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests import hostile
from tests.verification.conftest import SEED

MUTATIONS = int(os.environ.get("LOBULE_MUTATIONS", "20000"))
PARTS = 100


@pytest.mark.parametrize("part", range(PARTS))
def test_a_mutated_configuration_gives_a_result_or_is_refused(tmp_path: Path, part: int) -> None:
    found = []
    for mutated in hostile.mutations(range(part, MUTATIONS, PARTS), seed=SEED):
        try:
            hostile.outcome(mutated, tmp_path / str(mutated.number))
        except Exception as error:
            found.append(f"mutation {mutated.number} of seed {SEED}: {mutated.said}: {error!r}")
    assert not found, "\n".join(found)
