"""The checks of tests/statistical/test_one_change.py, on ten times as many patients and a rotating seed."""

from tests.statistical.test_one_change import *  # noqa: F403
