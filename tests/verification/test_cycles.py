"""The checks of tests/statistical/test_cycles.py, on ten times as many patients and a rotating seed."""

from tests.statistical.test_cycles import *  # noqa: F403
