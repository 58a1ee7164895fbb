"""Opening results of any kind: a run, a calibration, a sweep."""

from __future__ import annotations

import os
from pathlib import Path

import xarray as xr

from simulator.results.store import located, open_file, sweep_at
from simulator.sweep.tree import open_sweep


def open_results(path: str | os.PathLike[str]) -> xr.DataTree:
    """Open the results of a run, a calibration or a sweep: the file or store, or the folder that holds it.

    Every byte is held against the checksum at the end of the file, or, of a sweep, against its manifest. Trees of less
    than 256 MiB are loaded and the file closed. Larger ones are read as they are used and
    keep the file open until ``tree.close()``; the file may be replaced or deleted meanwhile. A sweep is always read
    as it is used (`tree.open_sweep`).

    Raises
    ------
    ConfigError
        If there is nothing at the path, or it is not results, or not as it was written, or of a newer version.
    """
    if (folder := sweep_at(Path(path))) is not None:
        return open_sweep(folder)
    return open_file(located(Path(path)))[0]
