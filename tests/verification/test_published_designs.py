"""The checks of tests/statistical/test_published_designs.py, on ten times as many patients and a rotating seed."""

from tests.statistical.test_published_designs import *  # noqa: F403
