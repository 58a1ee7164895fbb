"""The command line: `python -m calibration [cohort=NAME] [calibration=NAME] [key=value ...]`.

Knows arguments, files and exit codes, the simulator's own; computes nothing. Hydra's composition stops here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import simulator
from calibration.schema import Calibration, load
from simulator.cli.commands import exit_code_of
from simulator.cli.compose import shipped_folder
from simulator.cli.files import read
from simulator.cli.preflight import RUN, prepare, read_arguments
from simulator.errors import MISSING, ConfigError, Problem, unknown

if TYPE_CHECKING:
    from calibration.fit import Fit

GROUP = "calibration"
HELP = """\
Lobule calibrates a cohort's parameters to what was published about it, with the paper's own estimators.

Usage
  python -m calibration [cohort=NAME] [calibration=NAME] [key=value ...]

  cohort=NAME         the cohort; the default is the simulator's
  calibration=NAME    its priors and targets, calibration/NAME.yaml; the default is the cohort's name
  key=value           any key of the simulator's: seed=7, study.reading=..., cohort.mix.stomach=0.2
  --config-dir FOLDER  your own files: FOLDER/calibration/NAME.yaml beside FOLDER/cohort/ and the others
  --help, --version

It prints prior and posterior of every parameter, and the evidence of every reading. Calibrated so far: {known}
Exit codes: 0 done, 1 an error of ours, 2 bad input, 130 interrupted.\
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    return exit_code_of(_obey, argv)


def _obey(argv: Sequence[str]) -> None:
    arguments = read_arguments(argv)
    if arguments.version:
        print(f"lobule {simulator.__version__}")
        return
    if arguments.help:
        print(HELP.format(known=", ".join(_files(arguments.config_dir))))
        return
    if arguments.command != RUN or arguments.cfg or arguments.multirun:
        what = "--cfg" if arguments.cfg else "--multirun" if arguments.multirun else arguments.command
        raise ConfigError(Problem(what, MISSING, "belongs to python -m simulator"))
    from calibration.report import report

    print(report(calibrate(arguments.overrides, config_dir=arguments.config_dir)), end="")


def calibrate(overrides: Sequence[str] = (), *, config_dir: str | os.PathLike[str] | None = None) -> Fit:
    """Calibrate a cohort, as the command with these overrides; nothing is written.

    Parameters
    ----------
    overrides
        Texts as on the command line, such as ``["cohort=pj203_mmc", "seed=7"]``.
    config_dir
        A folder with configurations of your own, as ``--config-dir``.

    Raises
    ------
    ConfigError
        With every problem of the input.
    """
    from calibration.fit import fit

    chosen = [text.partition("=")[2] for text in overrides if text.startswith(f"{GROUP}=")]
    if len(chosen) > 1:
        raise ConfigError(Problem(GROUP, ", ".join(chosen), "is given twice; keep one"))
    others = [text for text in overrides if not text.startswith(f"{GROUP}=")]
    prepared = prepare(others, config_dir=config_dir, hydra=False)
    declared = declaration(chosen[0] if chosen else prepared.cohort, config_dir=config_dir)
    return fit(prepared.container, declared, overrides=prepared.overrides, told=_progress())


def _progress() -> Callable[[str], None] | None:
    """Tell somebody at a terminal what has been searched, and nobody else."""
    return (lambda line: print(line, file=sys.stderr)) if sys.stderr.isatty() else None


def declaration(name: str, *, config_dir: str | os.PathLike[str] | None = None) -> Calibration:
    """Return the calibration file of this name. Raises ConfigError."""
    files = _files(config_dir)
    if name not in files:
        raise ConfigError(unknown(GROUP, name, files, what="calibration file"))
    path, label = files[name]
    return load(read(path, label=label).content)


def _files(config_dir: str | os.PathLike[str] | None) -> dict[str, tuple[Path, str]]:
    """Return every calibration file by its name, shipped ones first; refuse one of a shipped name."""
    shipped = {p.stem: (p, f"configs/{GROUP}/{p.name}") for p in sorted((shipped_folder() / GROUP).glob("*.yaml"))}
    if config_dir is None:
        return shipped
    folder = Path(config_dir).expanduser() / GROUP
    own = {path.stem: (path, f"{os.fspath(config_dir)}/{GROUP}/{path.name}") for path in sorted(folder.glob("*.yaml"))}
    if folder.resolve() == (shipped_folder() / GROUP).resolve():
        return shipped
    for name in own.keys() & shipped.keys():
        allowed = "has the name of a shipped file; give it a name of its own"
        raise ConfigError(Problem("--config-dir", own[name][1], allowed))
    return shipped | own
