"""The checks of tests/statistical/test_mediation.py, on ten times as many patients and a rotating seed."""

from tests.statistical.test_mediation import *  # noqa: F403
