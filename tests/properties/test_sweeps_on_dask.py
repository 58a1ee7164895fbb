"""A sweep on a real Dask cluster of separate processes, one of them killed: the bytes of a local run."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("distributed", reason="an extra: pip install 'lobule[distributed]'")

from distributed import LocalCluster

from tests.properties.test_sweeps import CHEAP, NO_PAGE, SWEPT, contents, multirun

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="kills processes by signal"),
    pytest.mark.filterwarnings("ignore"),  # what Dask and its servers warn of is theirs
]


def test_a_cluster_of_which_a_worker_is_killed_fills_the_store_of_a_local_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*CHEAP, NO_PAGE, *SWEPT]
    assert multirun(tmp_path / "local", *words) == 0
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        victims: list[int] = []

        def kill_one() -> None:
            """Kill a worker once some blocks, but not all, are committed."""
            while len(list((tmp_path / "dask" / "manifest").glob("block-*"))) < 2:
                time.sleep(0.01)
            victims.append(next(iter(cluster.workers.values())).pid)
            os.kill(victims[0], signal.SIGKILL)

        killer = threading.Thread(target=kill_one)
        killer.start()
        there = [*words, "launcher=dask", f"launcher.address={cluster.scheduler_address}"]
        assert multirun(tmp_path / "dask", *there) == 0
        killer.join(60)
    assert len(victims) == 1
    assert contents(tmp_path / "dask") == contents(tmp_path / "local")
    with pytest.raises(ProcessLookupError):
        os.kill(victims[0], 0)


def test_a_cluster_that_is_started_here_fills_the_same_store(tmp_path: Path) -> None:
    words = [*CHEAP, NO_PAGE, SWEPT[0]]
    assert multirun(tmp_path / "local", *words) == 0
    assert multirun(tmp_path / "dask", *words, "launcher=dask", "launcher.workers=2") == 0
    assert contents(tmp_path / "dask") == contents(tmp_path / "local")


def test_a_scheduler_that_does_not_answer_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there = ["launcher=dask", "launcher.address=tcp://127.0.0.1:9"]
    assert multirun(tmp_path / "dask", *CHEAP, SWEPT[0], *there) == 2
    assert "launcher.address = tcp://127.0.0.1:9: no scheduler answers there" in capsys.readouterr().err
