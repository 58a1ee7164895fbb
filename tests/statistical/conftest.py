"""Fixed seeds and sizes of the statistical battery: a red is real, or a stream has changed (VERIFICATION 3.3).

Every check has a false-alarm probability of at most `oracles.ALPHA` = 2.5e-9 at a random seed; a test that makes
several comparisons shares it among them (Bonferroni). `tests/verification` runs the same tests on ten times as many
patients under a rotating seed: it replaces the fixture `battery`.
"""

from __future__ import annotations

from dataclasses import dataclass
from zlib import crc32

import pytest

SEED = 20240917


@dataclass(frozen=True)
class Battery:
    """How many patients, and whose luck."""

    scale: int = 1
    seed: int = SEED

    def n(self, patients: int) -> int:
        return self.scale * patients

    def seed_of(self, name: str) -> int:
        """Return the seed of one simulation."""
        return (self.seed << 32 | crc32(name.encode())) % 2**64


@pytest.fixture(scope="session")
def battery() -> Battery:
    return Battery()
