"""The first run on a machine: what is compiled beside it, and what it says meanwhile."""

import os
import re
import subprocess
import sys
import threading

import pytest

from simulator.cli import commands, progress
from simulator.engines import compiled
from simulator.engines.compiled.blocks import run_blocks
from simulator.engines.compiled.early import compile_after_race, smallest_model
from simulator.engines.compiled.output import summarise_block, write_block
from simulator.engines.compiled.visits import count_visits
from simulator.experiment.preparation import prepare
from simulator.running import first_run

SMALL = ["study.replicates=2", "output.report=false"]


@pytest.fixture
def nothing_compiled(monkeypatch):
    monkeypatch.setattr(compiled, "is_compiled", lambda: False)


def test_the_smallest_model_compiles_the_engine_for_every_model():
    tables = prepare(["cohort=ilp"]).experiment.tables
    compiled.simulate(tables, seed=1, replicates=range(1))
    compiled.simulate(smallest_model(), seed=1, replicates=range(1))
    assert len(run_blocks.overloads) == 1


def test_a_part_that_is_compiled_beforehand_is_the_one_that_the_engine_calls():
    if not run_blocks.overloads:
        compiled.simulate(smallest_model(), seed=1, replicates=range(1))
    compile_after_race()

    def symbol(name):  # of a function and its types, without numba's number of it
        return re.sub(r"B\d+v\d+", "", name)

    [caller] = run_blocks.overloads.values()
    called = {symbol(function.name) for function in caller.library._get_module_for_linking().functions}
    for kernel in (count_visits, summarise_block, write_block):
        [callee] = kernel.overloads.values()
        assert symbol(callee.fndesc.llvm_func_name) in called


def test_the_engine_is_compiled_in_a_process_that_ends_with_it(monkeypatch):
    monkeypatch.setenv("LOBULE_THREADS", "2")
    with first_run.FirstRun(lambda done, total: None) as run:
        run.finish(prepare(SMALL).experiment)
        beside = run._engine
    assert beside is not None
    assert beside.returncode == 0


def test_kernels_are_counted_from_where_the_cache_stood(monkeypatch):
    monkeypatch.setenv("LOBULE_THREADS", "1")
    monkeypatch.setattr(first_run, "_SECONDS", 0.001)
    cached, counts, enough = iter([10, 13, 500]), [], threading.Event()
    monkeypatch.setattr(first_run, "n_cached", lambda: next(cached, 500))

    def progress(done, total):
        counts.append((done, total))
        if len(counts) == 2:
            enough.set()

    with first_run.FirstRun(progress):
        assert enough.wait(60)
    assert counts[:2] == [(3, first_run.KERNELS), (490, 490)]


def test_a_process_beside_a_run_does_not_outlive_it(tmp_path):
    command = [sys.executable, "-m", "simulator.engines.compiled"]
    environment = os.environ | {"LOBULE_CACHE_DIR": str(tmp_path)}  # empty: it would compile for long
    beside = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE)
    beside.communicate(timeout=60)
    assert beside.returncode == 0
    assert not list(tmp_path.glob("*/blocks.run_blocks*"))


def test_one_processor_compiles_in_one_process(monkeypatch):
    monkeypatch.setenv("LOBULE_THREADS", "1")
    with first_run.FirstRun(lambda done, total: None) as run:
        assert run._engine is None
        run.finish(prepare(SMALL).experiment)


def test_the_first_run_says_what_it_does(nothing_compiled, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0.0)
    assert commands.main([*SMALL, f"hydra.run.dir={tmp_path / 'run'}"]) == 0
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("compiling, once on this machine")


def test_nothing_is_compiled_beside_the_reference_engine(nothing_compiled, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(first_run, "FirstRun", None)
    assert commands.main([*SMALL, "engine=reference", f"hydra.run.dir={tmp_path / 'run'}"]) == 0
    assert "compiling" not in capsys.readouterr().err
