"""What the project says of itself agrees with what it is.

Reads files and asks a fresh interpreter; builds nothing.
"""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import simulator

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]

CONSTRAINED_EXTRAS = ("calibration", "distributed", "docs", "oracle", "test")
"""The extras that `make constraints` resolves."""

USABLE_EXTRAS = {"simulator": ("distributed",), "calibration": ("calibration", "distributed")}
"""The extras that a package may import from, where it does without them when they are absent."""

DISTRIBUTIONS = {
    "antlr4": "hydra-core",
    "hydra": "hydra-core",
    "llvmlite": "numba",
    "omegaconf": "hydra-core",
    "yaml": "pyyaml",
}
"""Distribution that answers for an import name, where names differ or where it alone decides the version."""

HEAVY = ("dask", "hydra", "matplotlib", "pydantic", "scipy.stats", "xarray")


def normalised(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def distribution(requirement):
    """Name of the distribution that a line of requirements starts with."""
    return normalised(re.match(r"[A-Za-z0-9._-]+", requirement.strip()).group())


def imported(path):
    """Top-level names of everything that a file imports, wherever in the file it does so."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), filename=str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.split(".")[0]


def test_the_version_is_one():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    cited = re.search(r"^version:\s*[\"']?([^\"'\s]+)", citation, re.MULTILINE).group(1)
    assert PROJECT["version"] == cited == simulator.__version__


def test_the_licence_is_one():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^license:\s*(\S+)", citation, re.MULTILINE).group(1) == PROJECT["license"]
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("BSD 3-Clause License")


@pytest.mark.parametrize("package", ["calibration", "simulator"])
def test_every_import_is_a_declared_dependency(package):
    declared = {distribution(line) for line in PROJECT["dependencies"]}
    for extra in USABLE_EXTRAS[package]:
        declared |= {distribution(line) for line in EXTRAS[extra]}
    own = {"calibration", "simulator", "hydra_plugins"}
    undeclared = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in sorted((ROOT / package).rglob("*.py"))
        for name in imported(path)
        if name not in sys.stdlib_module_names
        and name not in own
        and normalised(DISTRIBUTIONS.get(name, name)) not in declared
    }
    assert not undeclared


def test_importing_the_package_stays_cheap():
    program = f"import sys, simulator; print(*[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.split() == []


def test_constraints_hold_names_versions_and_markers_only():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = re.compile(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+( ; [^:/@]+)?")
    assert [line for line in lines if not pinned.fullmatch(line)] == []


def test_constraints_hold_every_direct_dependency():
    pinned = {distribution(line) for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()}
    direct = [*PROJECT["dependencies"], *(line for extra in CONSTRAINED_EXTRAS for line in EXTRAS[extra])]
    assert {distribution(line) for line in direct} - pinned == set()
