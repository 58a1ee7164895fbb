"""The checks of tests/statistical/test_universal.py, on ten times as many patients and a rotating seed."""

from tests.statistical.test_universal import *  # noqa: F403
