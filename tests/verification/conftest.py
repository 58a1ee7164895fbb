"""The heavy battery: ten times the patients, and a seed of the day that every failure prints (VERIFICATION 3.3)."""

from __future__ import annotations

import datetime
import os

import pytest

from tests.statistical.conftest import Battery

SCALE = int(os.environ.get("LOBULE_SCALE", "10"))
SEED = int(os.environ.get("LOBULE_SEED") or datetime.date.today().strftime("%Y%m%d"))
AGAIN = f"LOBULE_SEED={SEED} LOBULE_SCALE={SCALE} python -m pytest tests/verification"


@pytest.fixture(scope="session")
def battery() -> Battery:
    return Battery(scale=SCALE, seed=SEED % 2**32)


def pytest_report_header() -> str:
    return f"heavy battery: {AGAIN}"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport():
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        report.sections.append(("seed of this run", AGAIN))
