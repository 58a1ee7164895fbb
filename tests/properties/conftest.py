"""Fixtures of the deterministic battery: nothing here can raise a false alarm.

A random model that fails is printed as it was drawn; LOBULE_SHRINK=1 takes minutes to make it small.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, Phase, settings

from simulator.trajectories import Trajectories
from tests import models

settings.register_profile(
    "battery",
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    phases=[Phase.explicit, Phase.generate, *([Phase.shrink] if os.environ.get("LOBULE_SHRINK") else [])],
)
settings.load_profile("battery")

RICH_SEED = 31


@pytest.fixture(scope="session")
def rich() -> dict:
    return models.rich()


@pytest.fixture(scope="session")
def rich_histories(rich) -> Trajectories:
    """1,000 patients of the model that has one of everything."""
    return models.simulated(rich, seed=RICH_SEED, replicates=range(1))
