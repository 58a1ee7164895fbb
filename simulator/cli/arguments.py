"""The command line taken apart: command, options, overrides."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from simulator.configuration.library import PRIMARY
from simulator.configuration.overrides import COMMANDS
from simulator.errors import MISSING, ConfigError, Problem, nearest

RUN = "run"
EXPLAIN, EVIDENCE, REPORT, VERIFY = COMMANDS
OF_RESULTS = (REPORT, VERIFY)
"""Commands that take the path of results, and nothing else."""

_REFUSED_OPTIONS = {
    ("--config-path", "-cp"): "is not used: the shipped files always stay in reach; give your own folder with "
    "--config-dir FOLDER, and a file of it to begin with by --config-name NAME",
    ("--info", "-i"): "is not used: `explain` says what a declaration implies, --cfg job prints the configuration, "
    "hydra.verbose=true says what is done",
    ("--hydra-help", "--shell-completion", "-sc"): "is not offered; --help shows every key that can be set",
    ("--resolve",): "is not needed: no value is an interpolation, and --cfg job prints what is run",
    ("--package", "-p"): "is not offered: --cfg job prints the whole configuration",
    ("--experimental-rerun",): "is not offered: simulator.rerun(PATH) repeats a run from its results",
}  # fmt: skip
_TAKES = "takes one path: a results.nc, or the folder that holds one"
_OPTIONS = ("--help", "--version", "--cfg", "--config-dir", "--config-name", "--multirun", "--dry-run")


@dataclass(frozen=True)
class Arguments:
    """The command line, taken apart but not yet judged."""

    command: str = RUN
    overrides: tuple[str, ...] = ()
    config_dir: str | None = None
    """The user's own folder, or a file of it that the configuration begins with."""
    cfg: bool = False
    help: bool = False
    version: bool = False
    multirun: bool = False
    dry: bool = False


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(_option_problem(message))


def read_arguments(argv: Sequence[str]) -> Arguments:
    """Take a command line apart. Raises ConfigError."""
    for argument in argv:
        if any("\ud800" <= character <= "\udfff" for character in argument):
            raise ConfigError(Problem("argument", ascii(argument), "is not UTF-8 text"))
    given = dict.fromkeys(argument.partition("=")[0] for argument in argv)
    if barred := [option for option in given if any(option in options for options in _REFUSED_OPTIONS)]:
        raise ConfigError([_option_problem(option) for option in barred])
    parser = _Parser(prog="python -m simulator", add_help=False, allow_abbrev=False)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--help", "-h", action="store_true")
    parser.add_argument("--version", action="store_true")
    parser.add_argument("--multirun", "-m", action="store_true")
    parser.add_argument("--dry-run", dest="dry", action="store_true")
    parser.add_argument("--run", "-r", action="store_true")
    parser.add_argument("--cfg", "-c")
    parser.add_argument("--config-dir", "-cd", dest="config_dir")
    parser.add_argument("--config-name", "-cn", dest="config_name")
    known, rest = parser.parse_known_intermixed_args(list(argv))
    problems = [_option_problem(argument) for argument in rest]
    overrides: list[str] = known.overrides
    if overrides[:1] and overrides[0] in OF_RESULTS:  # a folder may be called like a command
        commands, overrides = overrides[:1], overrides[1:]
    else:
        commands = [override for override in overrides if override in COMMANDS]
        overrides = [override for override in overrides if override not in COMMANDS]
    command = commands[0] if commands else RUN
    if len(commands) > 1:
        problems.append(Problem(" ".join(commands), MISSING, "one command at a time"))
    if known.cfg not in (None, "job"):
        problems.append(Problem("--cfg", known.cfg, "must be job: the composed configuration"))
    if known.multirun and commands:
        problems.append(Problem("--multirun", MISSING, f"sweeps simulations; {command} takes one scenario"))
    if known.dry and not known.multirun:
        problems.append(Problem("--dry-run", MISSING, "belongs to a sweep: add --multirun"))
    if command in OF_RESULTS and len(overrides) != 1:
        problems.append(Problem(command, " ".join(overrides) or MISSING, _TAKES))
    if command in OF_RESULTS:
        options = (("--cfg", known.cfg), ("--config-dir", known.config_dir), ("--config-name", known.config_name))
        for option, given in options:
            if given is not None:
                problems.append(Problem(option, given, f"says nothing of finished results; {command} {_TAKES}"))
    config_dir, name = known.config_dir, (known.config_name or PRIMARY).removesuffix(".yaml")
    if name != PRIMARY and config_dir is None:
        problems.append(Problem("--config-name", name, "needs --config-dir: the folder that has this file"))
    elif name != PRIMARY:
        config_dir = f"{config_dir.rstrip('/')}/{name}.yaml"
    if problems and not (known.help or known.version):
        raise ConfigError(problems)
    return Arguments(
        command,
        tuple(overrides),
        config_dir,
        cfg=bool(known.cfg),
        help=known.help,
        version=known.version,
        multirun=known.multirun,
        dry=known.dry,
    )


def _option_problem(said: str) -> Problem:
    """Return the problem of an option, or of what argparse says of one."""
    if found := re.match(r"argument (\S+?)(?:/\S+)*: expected one argument", said):
        example = {"--cfg": "--cfg job", "--config-name": "--config-name NAME"}.get(found[1], "--config-dir FOLDER")
        return Problem(found[1], MISSING, f"needs a value: {example}")
    if said.startswith("-"):
        option = said.partition("=")[0]
        for options, allowed in _REFUSED_OPTIONS.items():
            if option in options:
                return Problem(option, MISSING, allowed)
        known = f"unknown option; known: {', '.join(_OPTIONS)}"
        return Problem(option, MISSING, known, nearest(option, _OPTIONS))
    return Problem("arguments", MISSING, said)
