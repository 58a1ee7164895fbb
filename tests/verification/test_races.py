"""The checks of tests/statistical/test_races.py, on ten times as many patients and a rotating seed."""

from tests.statistical.test_races import *  # noqa: F403
