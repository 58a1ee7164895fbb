"""The checks of tests/statistical/test_adverse_events.py, on ten times as many patients and a rotating seed."""

from tests.statistical.test_adverse_events import *  # noqa: F403
