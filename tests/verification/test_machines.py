"""Bits of both engines on other processors and under other settings of the compiler, the C library and threads (V62).

Each setting compiles every kernel anew, once in a folder of its own: 80 s of a processor. Generated models beside the
recorded experiments: these use neither gamma hazards nor most clocks.
"""

from __future__ import annotations

import pytest

from tests.golden.bits import MODELS
from tests.golden.test_bits import ENGINES, OTHER_MACHINES, RECORDED, computed
from tests.verification.conftest import SCALE

NAMES = ["pj203_mmc", "ilp", "il2_hai_adjuvant", "causal log-normal", "log-logistic", "accrual, cut and loss"]
SETTINGS = {
    **OTHER_MACHINES,
    "numba, some optimisation": {"NUMBA_OPT": "1"},
    "numba without vectorised loops": {"NUMBA_LOOP_VECTORIZE": "0"},
    "numba with vectors of straight code": {"NUMBA_SLP_VECTORIZE": "1"},
    "numba without wide vectors": {"NUMBA_CPU_FEATURES": "+sse2"},
    "one processor": {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"},
}


@pytest.fixture(scope="module")
def usual() -> dict:
    made = computed(NAMES, ENGINES, models=30 * SCALE)
    assert made["reference"] == made["compiled"]
    assert {name: made["reference"][name] for name in NAMES} == {name: RECORDED[name] for name in NAMES}
    return made


@pytest.mark.parametrize("setting", SETTINGS)
def test_bits_do_not_depend_on_the_machine(usual, setting, tmp_path):
    changed = SETTINGS[setting]
    own = {"LOBULE_CACHE_DIR": str(tmp_path)} if any(key.startswith("NUMBA_") for key in changed) else {}
    made = computed(NAMES, ENGINES, models=30 * SCALE, **changed, **own)
    assert MODELS in made["compiled"]
    assert made == usual
