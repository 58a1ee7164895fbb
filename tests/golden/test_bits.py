"""The same seed gives the same bits: recorded hashes of whole histories, here and on other instruction sets.

Both engines must give them (V61, V62): they are recorded once.

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
from typing import Any

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


ENGINES = ("reference", "compiled")
COMPILES_ANEW = ("numba for a generic processor", "numba without optimisation")
"""Settings under which every kernel is compiled again: a minute and more of a processor with the compiled engine."""


def computed(names: list[str], engines: tuple[str, ...], *, models: int = 0, **environment: str) -> dict[str, Any]:
    """Return hashes by engine and name, made in a process of its own."""
    chosen = [word for engine in engines for word in ("--engine", engine)]
    run = subprocess.run(
        [sys.executable, "-W", "ignore", str(SCRIPT), *chosen, "--models", str(models), *names],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return dict(json.loads(run.stdout))


@pytest.mark.parametrize("engine", ENGINES)
def test_every_recorded_experiment_gives_the_recorded_bits(engine: str) -> None:
    assert computed(list(RECORDED), (engine,)) == {engine: RECORDED}


@pytest.mark.parametrize("machine", OTHER_MACHINES)
def test_bits_do_not_depend_on_the_machine(machine: str) -> None:
    # Settings that compile anew: the reference engine, which uses the same kernels; both engines in tests/verification.
    engines = ENGINES[:1] if machine in COMPILES_ANEW else ENGINES
    names = ["pj203_mmc", "causal log-normal"]
    expected = {name: RECORDED[name] for name in names}
    assert computed(names, engines, **OTHER_MACHINES[machine]) == dict.fromkeys(engines, expected)


def test_another_seed_gives_other_bits() -> None:
    assert RECORDED["pj203_mmc"] != RECORDED["another seed"]
