"""The same seed gives the same bits: recorded hashes of whole histories, here and on other instruction sets.

A hash covers the compiled tables and every time, code and value of the log. They are regression values, made by
``python tests/golden/bits.py --write`` and reviewed when they change: a change of `STREAM_VERSION`, of the
canonical arithmetic or of a shipped number changes them, and the changelog says so.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
RECORDED: dict[str, str] = json.loads((HERE / "hashes.json").read_text(encoding="utf-8"))
SCRIPT = HERE / "bits.py"

OTHER_MACHINES = {
    "numpy without vector extensions": {"NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR AVX2 FMA3"},
    "numba for a generic processor": {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""},
    "numba without optimisation": {"NUMBA_OPT": "0"},
    "C library without fused multiply-add": {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-FMA,-AVX2"},
    "another locale, time zone and hash seed": {"LC_ALL": "C", "TZ": "Pacific/Apia", "PYTHONHASHSEED": "1"},
}


def computed(names: list[str], **environment: str) -> dict[str, str]:
    run = subprocess.run(
        [sys.executable, "-W", "ignore", str(SCRIPT), *names],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(json.loads(run.stdout))


def test_every_recorded_experiment_gives_the_recorded_bits() -> None:
    assert computed(list(RECORDED)) == RECORDED


@pytest.mark.parametrize("machine", OTHER_MACHINES)
def test_bits_do_not_depend_on_the_machine(machine: str) -> None:
    names = ["pj203_mmc", "causal log-normal"]
    assert computed(names, **OTHER_MACHINES[machine]) == {name: RECORDED[name] for name in names}


def test_another_seed_gives_other_bits() -> None:
    assert RECORDED["pj203_mmc"] != RECORDED["another seed"]
