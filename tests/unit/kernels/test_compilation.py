"""The cache of compiled kernels: it notices every edit, needs no disk, and is safe with several processes."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from simulator.kernels import compilation, sources

PACKAGE = Path(compilation.__file__).parents[1]

PROGRAM = "from simulator.kernels import elementary; print(elementary.log(2.0))"
LOG_2 = "0.6931471805599453"  # mpmath.log(2), rounded


def environment(cache: Path | None = None, path: Path = PACKAGE.parent, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("NUMBA_", "LOBULE_", "XDG_"))}
    if cache is not None:
        kept["LOBULE_CACHE_DIR"] = str(cache)
    return {**kept, "PYTHONPATH": str(path), **more}


def run(program: str, env: dict[str, str], cwd: Path) -> str:
    finished = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", program], env=env, cwd=cwd, capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.strip()


def copy_of_the_kernels(folder: Path) -> Path:
    package = folder / "simulator"
    shutil.copytree(PACKAGE / "kernels", package / "kernels", ignore=shutil.ignore_patterns("__pycache__"))
    (package / "__init__.py").write_text("")
    shutil.copy(PACKAGE / "errors.py", package)
    return package


def keys(package: Path) -> dict[str, str]:
    """Key of every module of the copied package."""
    sources.source_of.cache_clear()
    return {file.stem: sources.module_key(file, None, package) for file in sorted((package / "kernels").glob("*.py"))}


def changed(package: Path, file: str, old: str, new: str) -> set[str]:
    """Return the modules whose key an edit changes; the edit is undone."""
    before, path = keys(package), package / "kernels" / file
    source = path.read_text(encoding="utf-8")
    assert source.count(old) == 1
    path.write_text(source.replace(old, new), encoding="utf-8")
    after = keys(package)
    path.write_text(source, encoding="utf-8")
    return {name for name in before if before[name] != after[name]}


def test_an_edit_changes_the_keys_of_its_module_and_of_those_that_build_on_it(tmp_path):
    package = copy_of_the_kernels(tmp_path)
    of_numbers = {"elementary", "frailty", "hazards", "marginal", "quantiles", "rng"}
    assert changed(package, "frailty.py", "HALVINGS = 60", "HALVINGS = 61") == {"frailty"}
    assert changed(package, "elementary.py", "\nLN2 = ", "\nLN2 = 2.0 * ") == of_numbers
    assert changed(package, "compilation.py", 'error_model="numpy", nogil', 'error_model="python", nogil') == {
        "compilation",
        *of_numbers,
    }


def test_a_comment_a_docstring_or_an_empty_line_changes_no_key(tmp_path):
    package = copy_of_the_kernels(tmp_path)
    assert changed(package, "frailty.py", "HALVINGS = 60", "# as many as bits\n\nHALVINGS = 60  # halvings") == set()
    assert changed(package, "frailty.py", "By halving, since", "By halving, because") == set()


def test_a_source_is_taken_from_its_record_unless_that_is_damaged(tmp_path):
    package = copy_of_the_kernels(tmp_path)
    module, records = package / "kernels" / "frailty.py", tmp_path / "records"
    records.mkdir()
    key = sources.module_key(module, None, package)
    for _ in range(2):
        sources.source_of.cache_clear()
        assert sources.module_key(module, records, package) == key
    kept = sorted(records.glob("*.source"))
    assert len(kept) == 5  # frailty, elementary, compilation, linking, sources
    for path in kept:
        path.write_text(path.read_text(encoding="utf-8").replace('["', '["0'), encoding="utf-8")
    sources.source_of.cache_clear()
    assert sources.module_key(module, records, package) == key


@pytest.mark.parametrize("setting", ["CPU_NAME", "CPU_FEATURES", "OPT"])
def test_another_processor_or_optimisation_level_gives_a_new_folder(monkeypatch, setting):
    before = compilation.environment_key()
    monkeypatch.setattr(compilation.config, setting, "other")
    assert compilation.environment_key() != before


def test_an_edited_helper_is_compiled_anew(tmp_path):
    """What numba's own cache gets wrong: the caller stands in a file that did not change."""
    package = copy_of_the_kernels(tmp_path)
    (package / "kernels" / "helper.py").write_text(
        "from simulator.kernels.compilation import kernel\n@kernel\ndef helper(x):\n    return x + 1.0\n"
    )
    (package / "kernels" / "caller.py").write_text(
        "from simulator.kernels.compilation import kernel\nfrom simulator.kernels.helper import helper\n"
        "@kernel\ndef caller(x):\n    return helper(x) * 10.0\n"
    )
    program = "from simulator.kernels.caller import caller; print(caller(1.0), sum(caller.stats.cache_hits.values()))"
    env = environment(tmp_path / "cache", tmp_path, PYTHONDONTWRITEBYTECODE="1")
    assert run(program, env, tmp_path) == "20.0 0"
    assert run(program, env, tmp_path) == "20.0 1"
    helper = package / "kernels" / "helper.py"
    helper.write_text(helper.read_text().replace("1.0", "2.0"))
    assert run(program, env, tmp_path) == "30.0 0"
    helper.write_text("# a comment\n" + helper.read_text())
    assert run(program, env, tmp_path) == "30.0 1"


def test_an_unwritable_cache_costs_only_time(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("a file where a folder should be: not even root can write below it")
    program = PROGRAM + "; from simulator.kernels import compilation; print(compilation.cache_folder())"
    assert run(program, environment(blocked), tmp_path) == f"{LOG_2}\nNone"
    assert run(program, environment(HOME=str(blocked)), tmp_path) == f"{LOG_2}\nNone"


WARNED = (
    "import warnings\nwith warnings.catch_warnings(record=True) as said:\n"
    "    warnings.simplefilter('always')\n"
    "    from simulator.kernels import elementary, hazards, compilation\n"
    "print(elementary.log(2.0), compilation.cache_folder() is None, [str(w.message) for w in said])"
)


@pytest.mark.skipif(os.name == "nt", reason="Windows gives each user a folder")
def test_code_is_run_only_from_a_folder_that_this_user_alone_can_write_to(tmp_path):
    cache, env = tmp_path / "cache", environment(tmp_path / "cache")
    assert run(WARNED, env, tmp_path) == f"{LOG_2} False []"
    [folder] = cache.iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700

    def refused(why: str) -> None:
        said = run(WARNED, env, tmp_path)
        assert said.startswith(f"{LOG_2} True ['{folder} {why}: compiled kernels are neither read from there nor kept")
        assert said.count(str(folder)) == 1  # one warning, of several files with kernels

    for mode in (0o720, 0o702):
        folder.chmod(mode)
        refused("can be written to by other users")
    folder.chmod(0o700)
    cache.chmod(0o777)
    refused("can be replaced by other users")
    cache.chmod(0o1777)  # a sticky folder such as /tmp: nobody can replace what is another user's
    assert run(WARNED, env, tmp_path) == f"{LOG_2} False []"
    cache.chmod(0o700)
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    refused("is a link")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_refused(tmp_path):
    env = environment(tmp_path / "cache")
    run(PROGRAM, env, tmp_path)
    [folder] = (tmp_path / "cache").iterdir()
    os.chown(folder, 12345, -1)
    assert "belongs to another user" in run(WARNED, env, tmp_path)


def test_a_cached_file_of_another_signature_version_or_place_is_not_run(tmp_path):
    cache = tmp_path / "cache"
    hits = "; print(sum(elementary.log.stats.cache_hits.values()))"
    for program in (PROGRAM, PROGRAM.replace("2.0", "2")):
        run(program, environment(cache), tmp_path)
    files = [path for path in cache.rglob("*.nbc") if ".log-" in path.name]
    assert len(files) == 2
    first, second = (path.read_bytes() for path in files)
    files[0].write_bytes(second)
    files[1].write_bytes(first)
    assert run(PROGRAM + hits, environment(cache), tmp_path) == f"{LOG_2}\n0"
    assert run(PROGRAM + hits, environment(cache), tmp_path) == f"{LOG_2}\n1"


def test_a_damaged_or_vanished_cache_costs_only_time(tmp_path):
    cache = tmp_path / "cache"
    assert run(PROGRAM, environment(cache), tmp_path) == LOG_2
    files = list(cache.rglob("*.nbc"))
    assert files
    for file in files:
        file.write_bytes(b"damaged")
    assert run(PROGRAM, environment(cache), tmp_path) == LOG_2
    assert all(file.read_bytes() != b"damaged" for file in files if ".log-" in file.name)
    vanishing = PROGRAM.replace("; ", f"; import shutil; shutil.rmtree({str(cache)!r}); ")
    assert run(vanishing, environment(cache), tmp_path) == LOG_2


def test_two_processes_may_compile_at_once_and_leave_a_whole_cache(tmp_path):
    cache = tmp_path / "cache"
    programs = [PROGRAM, PROGRAM.replace("2.0", "2"), PROGRAM]  # two signatures of one kernel
    with ThreadPoolExecutor(3) as pool:
        outputs = list(pool.map(lambda program: run(program, environment(cache), tmp_path), programs))
    assert outputs == [LOG_2] * 3
    hits = PROGRAM + "; print(sum(elementary.log.stats.cache_hits.values()))"
    for program in (hits, hits.replace("2.0", "2")):
        assert run(program, environment(cache), tmp_path) == f"{LOG_2}\n1"
    assert not [file for file in cache.rglob("*") if file.is_file() and file.suffix not in (".nbc", ".source")]


def test_numbas_own_settings_are_left_alone(tmp_path):
    program = (
        "import numba; before = numba.config.CACHE_DIR; from simulator.kernels import hazards; "
        "assert numba.config.CACHE_DIR == before; print(hazards.log.stats.cache_path)"
    )
    theirs = tmp_path / "theirs"
    folder = run(program, environment(tmp_path / "ours", NUMBA_CACHE_DIR=str(theirs)), tmp_path)
    assert Path(folder).parent == tmp_path / "ours"
    assert not theirs.exists()


def test_the_cache_is_where_the_platform_keeps_caches(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("LOBULE_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert compilation.cache_root() == tmp_path / "lobule"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert compilation.cache_root() == tmp_path / ".cache" / "lobule"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert compilation.cache_root() == tmp_path / "Library" / "Caches" / "lobule"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    assert compilation.cache_root() == tmp_path / "lobule" / "Cache"
    monkeypatch.setenv("LOBULE_CACHE_DIR", str(tmp_path / "chosen"))
    assert compilation.cache_root() == tmp_path / "chosen"


def test_a_kernel_says_whether_it_has_been_compiled_here_or_before(tmp_path):
    program = (
        "from simulator.kernels.compilation import is_compiled; from simulator.kernels.elementary import log_gamma\n"
        "before = is_compiled(log_gamma); log_gamma(3.0); print(before, is_compiled(log_gamma))"
    )
    env = environment(tmp_path / "cache")
    assert run(program, env, tmp_path) == "False True"
    assert run(program, env, tmp_path) == "True True"


def test_a_process_that_has_loaded_kernels_can_compile_others(tmp_path):
    """Loading makes numba less ready than compiling does."""
    package = copy_of_the_kernels(tmp_path)
    (package / "kernels" / "late.py").write_text(
        "import numpy as np\nfrom simulator.kernels.compilation import kernel\n"
        "from simulator.kernels.elementary import log\n"
        "@kernel\ndef late(x):\n    return np.sort(np.array([log(x), -1.0])).sum()\n"
    )
    env = environment(tmp_path / "cache", tmp_path)
    assert run(PROGRAM, env, tmp_path) == LOG_2
    program = (
        PROGRAM
        + "; from simulator.kernels.late import late; print(late(2.0), sum(elementary.log.stats.cache_hits.values()))"
    )
    assert run(program, env, tmp_path) == f"{LOG_2}\n{float(LOG_2) - 1.0} 1"


TOWER = """
from typing import NamedTuple
import numpy as np
from simulator.kernels.compilation import bare_kernel, entry_kernel
from simulator.kernels.references import by_reference

@by_reference
class Columns(NamedTuple):
    value: np.ndarray
    factor: float

@bare_kernel
def scaled(columns, at):
    columns.value[at] *= columns.factor
    return columns.value[at]

@bare_kernel
def total(columns):
    total = 0.0
    for k in range(columns.value.size):
        total += scaled(columns, k)
    return total

@entry_kernel
def twice(columns):
    return total(columns) + total(columns)
"""


def test_kernels_that_are_called_by_name_come_with_their_caller(tmp_path):
    package, env = copy_of_the_kernels(tmp_path), environment(tmp_path / "cache", tmp_path)
    (package / "kernels" / "tower.py").write_text(TOWER)
    program = (
        "import numpy as np; from simulator.kernels import tower\n"
        "columns = tower.Columns(np.array([1.0, 2.0, 4.0]), 3.0)\n"
        "print(tower.twice(columns), columns.value.tolist(), len(tower.total.signatures))"
    )
    expected = "84.0 [9.0, 18.0, 36.0]"  # 3 · 7 + 9 · 7
    assert run(program, env, tmp_path) == f"{expected} 1"
    for kept in (tmp_path / "cache").glob("*/*.nbc"):
        if not kept.name.startswith("tower.twice"):
            kept.unlink()
    assert run(program, env, tmp_path) == f"{expected} 0"  # nothing was compiled


def test_what_is_passed_by_reference_has_only_its_own_attributes(tmp_path):
    package, env = copy_of_the_kernels(tmp_path), environment(tmp_path / "cache", tmp_path)
    wrong = TOWER + "\n@entry_kernel\ndef wrong(columns):\n    return columns.valeu[0]\n"
    (package / "kernels" / "tower.py").write_text(wrong)
    program = (
        "import numba, numpy as np; from simulator.kernels import tower\n"
        "try:\n    tower.wrong(tower.Columns(np.zeros(1), 1.0))\n"
        "except numba.TypingError as error:\n    print('valeu' in str(error))"
    )
    assert run(program, env, tmp_path) == "True"
