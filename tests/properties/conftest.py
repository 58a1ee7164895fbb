"""Fixtures of the deterministic battery: nothing here can raise a false alarm."""

from __future__ import annotations

import pytest

from simulator.trajectories import Trajectories
from tests import models

RICH_SEED = 31


@pytest.fixture(scope="session")
def rich() -> dict:
    return models.rich()


@pytest.fixture(scope="session")
def rich_histories(rich) -> Trajectories:
    """1,000 patients of the model that has one of everything."""
    return models.simulated(rich, seed=RICH_SEED)
