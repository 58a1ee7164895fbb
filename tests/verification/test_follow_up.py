"""The checks of tests/statistical/test_follow_up.py, on ten times as many patients and a rotating seed."""

from tests.statistical.test_follow_up import *  # noqa: F403
