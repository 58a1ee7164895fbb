"""V7 in its heavy form: 1,000 generated models of 20,000 patients, and 20,000 models of 150, other ones every day.

Zero mismatches, no tolerance: α = 0. LOBULE_SLICE=3/10 runs the third of ten parts, so that a run can be spread over
machines or taken up again; without it everything runs. A failure names its case: `cases.generated(number)`.
"""

from __future__ import annotations

import os

import pytest

from tests.parity import cases
from tests.parity.cases import FEW, PATIENTS
from tests.parity.test_engines import assert_same
from tests.verification.conftest import SCALE, SEED

DEPTH = 100 * SCALE
BREADTH = 2_000 * SCALE
PART, PARTS = (int(word) for word in os.environ.get("LOBULE_SLICE", "1/1").split("/"))
GROUP = 20


def numbers(first: int, size: int) -> range:
    """Numbers of the cases of this slice, none of which another day or the tests in CI have."""
    if not 1 <= PART <= PARTS:
        raise ValueError(f"LOBULE_SLICE={PART}/{PARTS}: must be one of 1/{PARTS} to {PARTS}/{PARTS}")
    begin = SEED * 1_000_000 + first
    return range(begin + size * (PART - 1) // PARTS, begin + size * PART // PARTS)


def groups(of: range, size: int) -> list[range]:
    return [of[i : i + size] for i in range(0, len(of), size)]


@pytest.mark.parametrize("group", groups(numbers(0, DEPTH), GROUP), ids=lambda group: str(group.start))
def test_every_patient_of_generated_models_is_the_same(group):
    for case, expected in cases.ahead(group, patients=PATIENTS):
        assert_same(case, expected)


@pytest.mark.parametrize("group", groups(numbers(500_000, BREADTH), 10 * GROUP), ids=lambda group: str(group.start))
def test_rules_that_few_models_have_are_the_same(group):
    for case, expected in cases.ahead(group, patients=FEW, study=FEW // 3):
        assert_same(case, expected)
