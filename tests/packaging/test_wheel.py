"""The wheel, as a stranger meets it: built, installed away from the checkout, run where little is writable.

The packages that Lobule needs are lent by the running interpreter; Lobule itself comes from the wheel alone,
and a test checks that it does. `.ci/run` installs the wheel with its real dependencies.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from simulator.kernels.compilation import CACHE_VARIABLE, cache_root

pytestmark = pytest.mark.packaging

ROOT = Path(__file__).resolve().parents[2]
COHORTS = Path(__file__).with_name("cohorts")
USERS = sorted(
    (folder.name, file.stem)
    for folder in (COHORTS.iterdir() if COHORTS.is_dir() else ())
    for file in (folder / "cohort").glob("*.yaml")
)
"""Folders of a user's own configs, each with the cohorts that it declares."""

PRODUCTS = {"config.yaml", "report.html", "results.nc", "survival.png"}

UNPRIVILEGED = ["--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"]
"""For setpriv: root without the capabilities that let it pass over the modes of files."""


def call(*command, cwd, env, code=0):
    """Run a command, show all it said if it ends otherwise than expected, and return its output."""
    done = subprocess.run(list(map(str, command)), cwd=cwd, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def install(*arguments, python, cwd):
    """Install with the running interpreter's pip into the environment of another."""
    quiet = ("--quiet", "--disable-pip-version-check")
    pip = (sys.executable, "-m", "pip", "--python", python, "install", *quiet, *arguments)
    return subprocess.run(list(map(str, pip)), cwd=cwd, capture_output=True, text=True, timeout=600)


def interpreter(folder):
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def packages_of(folder):
    return Path(sysconfig.get_path("purelib", "venv", vars={"base": str(folder), "platbase": str(folder)}))


def contents(folder):
    """Path, mode and hash of everything in a folder, so that any write shows."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mode,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in sorted(folder.rglob("*"))
    }


def files_of(archive):
    """Names and hashes of a wheel's files."""
    with zipfile.ZipFile(archive) as opened:
        return {name: hashlib.sha256(opened.read(name)).hexdigest() for name in opened.namelist()}


def shipped_configs():
    return {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "configs").rglob("*")
        if path.is_file() and path.suffix in {".yaml", ".yml"}
    }


@pytest.fixture(scope="session")
def backend(tmp_path_factory):
    """An environment with the build backend alone, as an isolated build would have."""
    folder = tmp_path_factory.mktemp("backend")
    venv.create(folder / "venv", symlinks=os.name != "nt")
    python = interpreter(folder / "venv")
    requires = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]["requires"]
    done = install(*requires, python=python, cwd=folder)
    if done.returncode and os.environ.get("CI") != "true":
        pytest.skip(f"the build backend cannot be installed here: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    return python


@pytest.fixture(scope="session")
def checkout(tmp_path_factory):
    """A copy of what a commit would hold, so that nothing is built in the checkout."""
    folder = tmp_path_factory.mktemp("source") / "lobule"
    unwanted = shutil.ignore_patterns(
        ".git", ".venv*", ".*_cache", ".hypothesis", "__pycache__", "build", "dist", "outputs"
    )
    shutil.copytree(ROOT, folder, ignore=unwanted)
    return folder


@pytest.fixture(scope="session")
def wheel(backend, checkout, tmp_path_factory):
    target = tmp_path_factory.mktemp("wheel")
    call(backend, "-m", "hatchling", "build", "-t", "wheel", "-d", target, cwd=checkout, env=os.environ)
    (built,) = target.glob("lobule-*.whl")
    return built


@pytest.fixture(scope="session")
def installed(wheel, tmp_path_factory):
    """A clean environment that holds the wheel, and borrows everything else."""
    folder = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(folder, symlinks=os.name != "nt")
    done = install("--no-deps", "--no-index", wheel, python=interpreter(folder), cwd=folder.parent)
    assert done.returncode == 0, done.stderr
    borrowed = dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))
    # A folder named in a .pth file is searched, its own .pth files are not read: no editable Lobule gets in.
    (packages_of(folder) / "borrowed.pth").write_text("\n".join(borrowed), encoding="utf-8")
    return folder


@pytest.fixture
def place(tmp_path):
    """Fresh folders for home, temporary files and work, and an environment that knows no others."""
    for name in ("home", "temporary", "work"):
        (tmp_path / name).mkdir()
    kept = ("PATH", "LANG", "LC_ALL", "SYSTEMROOT", "LD_LIBRARY_PATH")
    env = {name: os.environ[name] for name in kept if name in os.environ}
    env |= {
        "HOME": str(tmp_path / "home"),
        "USERPROFILE": str(tmp_path / "home"),
        "TMPDIR": str(tmp_path / "temporary"),
        "MPLBACKEND": "agg",
    }
    return tmp_path, env


@pytest.fixture(scope="session")
def kernels():
    """The suite's compiled kernels, for tests that are not about compiling, which takes a minute.

    Those of the wheel are the same: their folder is named by what stands in the sources.
    """
    root = cache_root()
    return {} if root is None else {CACHE_VARIABLE: str(root)}


def run_folder(work):
    """The one folder that a run has left under a working folder's outputs/."""
    (results,) = (work / "outputs").rglob("results.nc")
    return results.parent


def test_only_the_output_folder_need_be_writable(installed, place):
    """Nor is there a kernel in any cache: this run compiles all that it needs."""
    folder, env = place
    work, temporary = folder / "work", folder / "temporary"
    (work / "outputs").mkdir()
    caches = folder / "caches"
    caches.mkdir()
    env |= {"NUMBA_CACHE_DIR": str(caches), "XDG_CACHE_HOME": str(caches), "XDG_CONFIG_HOME": str(caches)}
    prefix = []
    if os.geteuid() == 0:
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            pytest.skip("root passes over the modes of folders, and there is no setpriv to keep it from that")
        prefix = [setpriv, *UNPRIVILEGED]

    closed = [installed, folder / "home", caches, work]
    opened = {}
    try:
        for path in (p for top in closed for p in (top, *top.rglob("*"))):
            if not path.is_symlink() and path != work / "outputs":
                opened[path] = path.stat().st_mode
                path.chmod(path.stat().st_mode & ~0o222)
        probe = "import pathlib, sys; pathlib.Path(sys.argv[1], 'probe').touch()"
        for top in closed:
            call(*prefix, interpreter(installed), "-c", probe, top, cwd=work, env=env, code=1)
        before = [contents(top) for top in (installed, folder / "home", caches)]
        call(*prefix, interpreter(installed), "-m", "simulator", "study.replicates=5", cwd=work, env=env)
        after = [contents(top) for top in (installed, folder / "home", caches)]
    finally:
        for path, mode in opened.items():
            path.chmod(mode)

    assert after == before
    assert [path.name for path in work.iterdir()] == ["outputs"]
    assert list(temporary.iterdir()) == [], "a temporary file was left behind"
    assert {path.name for path in run_folder(work).iterdir()} >= PRODUCTS


def test_the_wheel_holds_configs_and_packages(wheel):
    inside = set(files_of(wheel))
    assert {"simulator/configs/simulate.yaml", "simulator/py.typed", "calibration/__init__.py"} <= inside
    assert {f"simulator/{name}" for name in shipped_configs()} <= inside


def test_the_wheel_holds_nothing_else(wheel):
    roots = {name.split("/")[0] for name in files_of(wheel)}
    assert {root for root in roots if not root.endswith(".dist-info")} == {"calibration", "simulator"}
    assert not [name for name in files_of(wheel) if "__pycache__" in name]


def test_the_source_distribution_builds_the_same_wheel(backend, checkout, wheel, tmp_path):
    call(backend, "-m", "hatchling", "build", "-t", "sdist", "-d", tmp_path, cwd=checkout, env=os.environ)
    (source,) = tmp_path.glob("lobule-*.tar.gz")
    with tarfile.open(source) as archive:
        archive.extractall(tmp_path, filter="data")
    unpacked = tmp_path / source.name.removesuffix(".tar.gz")
    call(backend, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path, cwd=unpacked, env=os.environ)
    assert files_of(tmp_path / wheel.name) == files_of(wheel)


def test_the_code_that_runs_comes_from_the_wheel(installed, place):
    folder, env = place
    program = (
        "import json, simulator, calibration; from importlib.metadata import version\n"
        "print(json.dumps([p.__file__ for p in (simulator, calibration)]"
        " + [simulator.__version__, version('lobule')]))"
    )
    *files, version, recorded = json.loads(call(interpreter(installed), "-c", program, cwd=folder / "work", env=env))
    assert all(Path(file).is_relative_to(packages_of(installed)) for file in files)
    assert version == recorded


def test_the_console_script_answers(installed, place):
    folder, env = place
    assert "cohort" in call(interpreter(installed).with_name("lobule"), "--help", cwd=folder / "work", env=env)
    assert list((folder / "work").iterdir()) == []


def test_the_main_job_runs_from_any_folder(installed, place, kernels):
    folder, env = place
    env |= kernels
    work = folder / "work"
    call(interpreter(installed), "-m", "simulator", "study.replicates=5", cwd=work, env=env)
    assert [path.name for path in work.iterdir()] == ["outputs"]
    left = {path.name for path in run_folder(work).iterdir() if path.stat().st_size > 0}
    assert left >= PRODUCTS


@pytest.mark.skipif(os.name == "nt", reason="modes of folders do not keep their owner out on Windows")
def test_a_cohort_is_calibrated_from_any_folder(installed, place, kernels):
    folder, env = place
    env |= kernels
    work = folder / "work"
    said = call(interpreter(installed), "-m", "calibration", "cohort=il2_hai_unresectable", cwd=work, env=env)
    assert "Fitted: I04" in said
    script = interpreter(installed).with_name("lobule-calibrate")
    assert "il2_hai_unresectable" in call(script, "--help", cwd=work, env=env)
    assert [path.name for path in work.iterdir()] == ["outputs"]
    (run,) = (work / "outputs" / "calibration" / "il2_hai_unresectable").iterdir()
    again = call(
        interpreter(installed),
        "-m",
        "simulator",
        "cohort=il2_hai_unresectable",
        f"parameters={run}",
        "parameters.draws=3",
        "study.replicates=5",
        cwd=work,
        env=env,
    )
    assert "3 draws" in again


def test_a_refused_run_creates_nothing(installed, place):
    folder, env = place
    command = (interpreter(installed), "-m", "simulator", "study.replicate=5")
    call(*command, cwd=folder / "work", env=env, code=2)
    assert list((folder / "work").iterdir()) == []


@pytest.mark.parametrize(("user", "cohort"), USERS, ids=lambda name: name)
def test_a_users_own_cohort_runs(installed, place, kernels, user, cohort):
    folder, env = place
    env |= kernels
    theirs, work = folder / "theirs", folder / "work"
    shutil.copytree(COHORTS / user, theirs)
    before = contents(theirs)
    command = ("-m", "simulator", "--config-dir", theirs, f"cohort={cohort}", "study.replicates=5")
    call(interpreter(installed), *command, cwd=work, env=env)
    assert contents(theirs) == before
    assert {path.name for path in run_folder(work).iterdir()} >= PRODUCTS
