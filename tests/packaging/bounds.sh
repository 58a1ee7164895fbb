#!/usr/bin/env bash
# The main job and a small set of tests on the oldest and on the newest versions that pyproject.toml allows.
# Takes "lowest-direct" or "highest" for one of the two. Resolves afresh: no lock file is read or left.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

PYTHON=${PYTHON:-python3}
unset PYTHONPATH PYTHONHOME VIRTUAL_ENV
away=$(mktemp -d)
trap 'rm -rf "$away"' EXIT

TESTS=(
    tests/packaging/test_metadata.py
    tests/unit/configuration/test_compose.py
    tests/unit/configuration/test_hydra_adapter.py
    tests/unit/kernels/test_compilation.py
    tests/unit/results/test_store.py
    tests/unit/running
    tests/unit/sweep/test_store.py
    tests/unit/sweep/test_verification.py
    tests/golden
    tests/properties/test_sweeps_on_dask.py
)

"$PYTHON" -m venv "$away/tools"
"$away/tools/bin/python" -m pip install --quiet --disable-pip-version-check uv
uv=$away/tools/bin/uv

for resolution in ${*:-lowest-direct highest}; do
    printf '\n== %s (at %d s)\n' "$resolution" "$SECONDS"
    here=$away/$resolution
    "$uv" pip compile pyproject.toml --quiet --resolution "$resolution" --python "$PYTHON" \
        --extra calibration --extra distributed --extra test \
        --no-annotate --no-emit-index-url --no-header --output-file "$here.txt" >/dev/null
    "$uv" venv --quiet --python "$PYTHON" "$here"
    "$uv" pip sync --quiet --python "$here/bin/python" "$here.txt"
    "$uv" pip install --quiet --no-deps --python "$here/bin/python" --editable .
    grep -E '^(netcdf4|numba|numpy|pandas|xarray|zarr)==' "$here.txt" | paste -sd ' '
    "$here/bin/python" -m simulator study.replicates=20 hydra.run.dir="$here-run" >/dev/null
    "$here/bin/python" -m simulator verify "$here-run"
    # what an old version does that a newer one deprecates is no fault of ours; the other warning numpy ignores itself
    "$here/bin/python" -m pytest -W default::DeprecationWarning \
        -W "ignore:numpy.ndarray size changed:RuntimeWarning" "${TESTS[@]}"
done
printf '\nbounds: passed, %d s\n' "$SECONDS"
