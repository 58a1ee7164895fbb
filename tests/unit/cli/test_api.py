"""Simulating from Python: the command's results, in threads, inside another Hydra application, nothing written."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import xarray as xr

import simulator
from simulator.cli.commands import main
from simulator.cli.console import CONFIG, PAGE, PICTURE, RESULTS
from simulator.configuration.files import read
from simulator.configuration.library import COHORT, Library
from simulator.errors import ConfigError

REPOSITORY = Path(simulator.__file__).resolve().parents[1]
SMALL = ["study.replicates=3"]


def contents(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def same(one: xr.DataTree, other: xr.DataTree) -> None:
    assert [node.path for node in one.subtree] == [node.path for node in other.subtree]
    for node in one.subtree:
        xr.testing.assert_identical(node.to_dataset(inherit=False), other[node.path].to_dataset(inherit=False))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory, which must still be empty at the end."""
    folder = tmp_path / "cwd"
    folder.mkdir()
    monkeypatch.chdir(folder)
    yield folder
    assert contents(folder) == []


def test_simulate_returns_what_the_command_writes_and_rerun_makes_it_again(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = [*SMALL, "cohort=ilp", "parameters.response.hazard_ratio=0.7"]
    run = tmp_path / "run"
    assert main([*texts, f"hydra.run.dir={run}"]) == 0
    assert contents(run) == sorted([RESULTS, CONFIG, PICTURE, PAGE])
    shown = capsys.readouterr()
    assert str(run) in shown.out
    assert shown.err == ""  # no bar where nobody watches
    stored = simulator.open_results(run / RESULTS)
    same(simulator.simulate(texts), stored)
    same(simulator.rerun(run / RESULTS), stored)


def test_the_written_configuration_is_the_composed_one(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main([*SMALL, f"hydra.run.dir={run}"]) == 0
    capsys.readouterr()
    assert main(["--cfg", "job", *SMALL]) == 0
    assert capsys.readouterr().out == (run / CONFIG).read_text("utf-8")
    assert read(run / CONFIG, label=CONFIG).content["study"]["replicates"] == 3


def test_a_share_set_by_hand_is_rerun_as_it_was(here: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    texts = [*SMALL, "cohort.mix.stomach=0.3"]
    assert main([*texts, f"hydra.run.dir={run}"]) == 0
    same(simulator.rerun(run), simulator.open_results(run))


def test_threads_simulate_what_one_thread_does(here: Path) -> None:
    texts = [[*SMALL, f"cohort={cohort}", f"seed={seed}"] for seed in (1, 2) for cohort in ("ilp", "pj203_mmc")]
    with ThreadPoolExecutor(4) as pool:
        threaded = list(pool.map(simulator.simulate, texts))
    for one, alone in zip(threaded, map(simulator.simulate, texts), strict=True):
        same(one, alone)


def test_simulate_works_inside_a_running_hydra_application(tmp_path: Path) -> None:
    """The host keeps its GlobalHydra, its configuration and its version base; we write nothing beside its run."""
    (tmp_path / "host.yaml").write_text("seed: 5\nhydra: {run: {dir: host_run}, job: {chdir: false}}\n", "utf-8")
    (tmp_path / "host.py").write_text(
        "import hydra, simulator\n"
        "from hydra import version\n"
        "from hydra.core.global_hydra import GlobalHydra\n"
        "from hydra.core.hydra_config import HydraConfig\n"
        "@hydra.main(version_base='1.2', config_path='.', config_name='host')\n"
        "def host(config):\n"
        "    before = GlobalHydra.instance().hydra, HydraConfig.get(), version.getbase()\n"
        f"    tree = simulator.simulate([*{SMALL!r}, f'seed={{config.seed}}'])\n"
        "    assert tree.attrs['seed'] == 5\n"
        "    assert GlobalHydra.instance().hydra is before[0]\n"
        "    assert HydraConfig.get() is before[1]\n"
        "    assert version.getbase() is before[2]\n"
        "    print('simulated')\n"
        "host()\n",
        "utf-8",
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "HYDRA_FULL_ERROR": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "host.py"], cwd=tmp_path, env=environment, capture_output=True, text=True,
                          timeout=300)  # fmt: skip
    assert done.stdout == "simulated\n", done.stderr
    ours = [name for name in contents(tmp_path) if not name.startswith("host")]
    assert ours == []


def test_simulate_takes_a_folder_of_a_users_own(here: Path, tmp_path: Path) -> None:
    own = tmp_path / "own" / COHORT / "mine.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("defaults: [pj203_mmc, _self_]\nname: mine\ntitle: Mine\n", "utf-8")
    tree = simulator.simulate([*SMALL, "cohort=mine"], config_dir=tmp_path / "own")
    assert tree.attrs["cohort"] == "mine"
    assert "mine" not in Library().options(COHORT)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["sede=3"], "did you mean 'seed'?"),
        (["course.interval=-14"], "must be > 0 days"),
        (["cohort=pj204_mmc"], "did you mean 'pj203_mmc'?"),
        (["hydra.run.dir=x"], "belongs to the command line"),
        (["--multirun"], "must be key=value"),
        ("cohort=ilp", "must be a list of texts"),
        ([3], "must be a list of texts"),
        ({"cohort": "ilp"}, "must be a list of texts"),
    ],
)
def test_bad_input_raises_a_config_error(overrides: object, said: str, here: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        simulator.simulate(overrides)  # type: ignore[arg-type]
    assert said in str(caught.value)
    assert caught.value.problems


def test_rerun_refuses_what_is_no_results(here: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        simulator.rerun(tmp_path / "nothing.nc")


def test_importing_the_package_loads_nothing_heavy(here: Path) -> None:
    code = "import sys, simulator; dir(simulator); print([n for n in ('hydra', 'omegaconf', 'yaml', 'xarray', 'numpy')"
    code += " if n in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n", done.stderr
