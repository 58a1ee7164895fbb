"""Plants one-line defects, one at a time, and runs the nearest tests: a defect that they do not see is a missing test.

    python -m tests.defects                  all of them, in as many processes as there are processors
    python -m tests.defects --only contrast  those whose name contains a word
    python -m tests.defects --list           names, files and tests

Each defect is planted in a copy of the project; the working tree stays as it is. Exit code 1 where fewer than 95 % are
caught, 2 where a defect's line is not found exactly once, or where the tests fail without any defect.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue

from tests.defects.planted import DEFECTS, Defect

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("simulator", "calibration", "configs", "tests", "docs", "pyproject.toml", "README.md", "CHANGELOG.md")
LEAST = 0.95
LIMIT = 1500  # seconds for the tests of one defect; a run beyond it counts as caught


def copy_of(folder: Path) -> Path:
    """Copy what tests need into a folder of its own."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.nbc", "*.nbi"))
        else:
            shutil.copy(source, folder / name)
    return folder


def tests_pass(copy: Path, tests: Sequence[str]) -> bool:
    """Whether tests pass in a copy."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider", *tests]
    environment = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return False
    if done.returncode not in (0, 1, 2):  # 2: a module that cannot be imported any more
        raise RuntimeError(f"{' '.join(tests)}: pytest ends with {done.returncode}\n{done.stdout[-2000:]}{done.stderr}")
    return done.returncode == 0


def caught(copy: Path, defect: Defect) -> bool:
    """Whether a test fails when the defect is planted."""
    path = copy / defect.file
    right = path.read_text(encoding="utf-8")
    path.write_text(right.replace(defect.old, defect.new), encoding="utf-8")
    try:
        return not tests_pass(copy, defect.tests)
    finally:
        path.write_text(right, encoding="utf-8")


def misplaced() -> list[str]:
    """Say of which defects the line does not stand in its file exactly once."""
    found = []
    for defect in DEFECTS:
        times = (ROOT / defect.file).read_text(encoding="utf-8").count(defect.old)
        if times != 1:
            found.append(f"{defect.name}: {defect.old!r} stands {times} times in {defect.file}: name the line anew")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.defects", description="Plant defects.")
    parser.add_argument("--only", default="", help="defects whose name contains this")
    parser.add_argument("--list", action="store_true", help="list them and stop")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    chosen = [defect for defect in DEFECTS if arguments.only in defect.name]
    if arguments.list:
        print("\n".join(f"{each.name}\n    {each.file}: {', '.join(each.tests)}" for each in chosen))
        return 0
    if wrong := misplaced():
        print("\n".join(wrong), file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as place:
        copies: Queue[Path] = Queue()
        for number in range(arguments.processes):
            copies.put(copy_of(Path(place) / str(number)))
        every = sorted({test for defect in chosen for test in defect.tests})
        copy = copies.get()
        if not tests_pass(copy, every):
            print(f"the tests fail without any defect: {' '.join(every)}", file=sys.stderr)
            return 2
        copies.put(copy)

        def tried(defect: Defect) -> bool:
            ours, start = copies.get(), time.monotonic()
            try:
                found = caught(ours, defect)
            finally:
                copies.put(ours)
            print(f"{'caught' if found else 'MISSED':7} {time.monotonic() - start:5.0f} s  {defect.name}", flush=True)
            return found

        with ThreadPoolExecutor(arguments.processes) as pool:
            results = list(pool.map(tried, chosen))
    missed = [defect.name for defect, found in zip(chosen, results, strict=True) if not found]
    downstream = sum(defect.downstream for defect in chosen)
    print(f"{sum(results)} of {len(results)} caught ({downstream} stand after the estimators)")
    if missed:
        print("missed: " + "; ".join(missed))
    return 0 if sum(results) >= LEAST * len(results) else 1


if __name__ == "__main__":
    sys.exit(main())
