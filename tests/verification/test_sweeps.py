"""A sweep that is killed 500 times (LOBULE_KILLS for another number), each at a random moment: not a byte changes."""

from __future__ import annotations

import os
from pathlib import Path

from tests.properties import test_sweeps as properties

whole = properties.whole


def test_kills_at_many_random_moments_change_no_byte(tmp_path: Path, whole: dict[str, str]) -> None:
    properties.kill_at_random_moments(tmp_path, int(os.environ.get("LOBULE_KILLS", "500")), whole)
