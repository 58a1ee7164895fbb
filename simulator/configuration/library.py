"""Which configurations there are: the shipped ones and those of a user's own folder, by group and name."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from simulator.configuration.files import ConfigFile, read
from simulator.errors import ConfigError, Problem, unknown

PRIMARY = "simulate"
COHORT = "cohort"
PARAMETERS = "parameters"
NAMED_BY_COHORT = ("evidence", "model", "course", "study", "parameters")
OF_OTHER_COMMANDS = ("calibration",)
"""Folders of configurations that no simulation takes: no groups of Hydra's."""
EXPERIMENT = "experiment"
"""Folder of sweeps by name. A file of it is read as overrides, so it is not a group."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def shipped_folder() -> Path:
    """Return the folder of shipped configurations: inside the package in a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


@dataclass(frozen=True)
class Library:
    """The shipped configurations and, beside them, those of a user's own folder."""

    own: Path | None = None
    own_label: str = ""
    primary_name: str = PRIMARY
    """The configuration that a run begins with: the shipped one, or a file of the user's own folder."""
    shipped: Path = field(default_factory=shipped_folder)
    given: list[str] = field(default_factory=list)  # groups of which a file was given by its path
    _read: dict[str, ConfigFile] = field(default_factory=dict, repr=False)

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups, those that a cohort names last."""
        found = {item.name for item in self.shipped.iterdir() if item.is_dir()} - {
            "hydra",
            EXPERIMENT,
            *OF_OTHER_COMMANDS,
        }
        return tuple(sorted(found, key=lambda group: (group in NAMED_BY_COHORT, group)))

    @cached_property
    def _options(self) -> dict[str, dict[str, tuple[Path, str]]]:
        folders = [(self.shipped, "configs")] + ([(self.own, self.own_label)] if self.own else [])
        options: dict[str, dict[str, tuple[Path, str]]] = {group: {} for group in (*self.groups, EXPERIMENT)}
        for folder, label in folders:
            for group in options:
                for path in sorted((folder / group).glob("*.yaml")):
                    options[group].setdefault(path.stem, (path, f"{label}/{group}/{path.name}"))
        return options

    def options(self, group: str) -> tuple[str, ...]:
        """Names of the files of a group, shipped ones first; without a group, of what a primary file may build on."""
        return tuple(self._options[group]) if group else (PRIMARY,)

    def add(self, group: str, path: str, *, usual: str) -> str:
        """Take a file at a path, or the ``usual`` one of a folder, into a group; return the name it gets.

        Raises ConfigError if there is none.
        """
        found = Path(path).expanduser()
        try:
            file = found / usual if found.is_dir() else found
            if not file.is_file():
                allowed = f"has no {usual}" if found.is_dir() else "there is no such file, and no folder with one"
                raise ConfigError(Problem(group, path, allowed))
        except (OSError, ValueError) as error:
            raise ConfigError(Problem(group, path, f"cannot be read: {getattr(error, 'strerror', error)}")) from None
        name = f"given_{group}"
        self.given.append(group)
        self._options[group][name] = (file, path if file == found else f"{path.rstrip('/')}/{usual}")
        return name

    def beside(self, group: str, name: str, file: str) -> tuple[Path, str]:
        """Return path and label of a file that lies beside one of a group."""
        path, label = self._options[group][name]
        return path.with_name(file), f"{label.rpartition('/')[0] or '.'}/{file}"

    def file(self, config_path: str) -> ConfigFile:
        """Return the file of ``group/name``, or a primary one by its name, read once. Raises ConfigError."""
        if config_path not in self._read:
            group, _, name = config_path.rpartition("/")
            if group:
                path, label = self._options[group][name]
            elif name == PRIMARY:
                path, label = self.shipped / f"{PRIMARY}.yaml", f"configs/{PRIMARY}.yaml"
            else:
                assert self.own is not None  # `problems` refuses another primary file without a folder
                path, label = self.own / f"{name}.yaml", f"{self.own_label}/{name}.yaml"
            self._read[config_path] = read(path, label=label, trusted=config_path == PRIMARY)
        return self._read[config_path]

    def content(self, config_path: str) -> dict[str, Any]:
        """Return what a file adds to a configuration: all but its defaults list, below the name of its group."""
        settings = ("defaults", "hydra") if config_path == PRIMARY else ("defaults",)
        content: dict[str, Any] = {key: v for key, v in self.file(config_path).content.items() if key not in settings}
        for step in reversed(config_path.split("/")[:-1]):
            content = {step: content}
        return content

    @property
    def primary(self) -> Mapping[str, Any]:
        """The shipped primary file: the root's values, and Hydra's settings under ``hydra``."""
        return self.file(PRIMARY).content

    @property
    def root_keys(self) -> tuple[str, ...]:
        """Everything that can begin a key."""
        return (*(key for key in self.primary if key not in ("defaults", "hydra")), *self.groups)

    def problems(self) -> list[Problem]:
        """Return what is wrong with the user's folder itself: not with what is in its files."""
        if self.own is None:
            return []
        if not self.own.is_dir():
            what = "is a file, not a folder" if self.own.exists() else "no such folder"
            return [Problem("--config-dir", self.own_label, what)]
        found: list[Problem] = []
        try:
            present = sorted(self.own.iterdir())
            held = {path.name: sorted(path.iterdir()) for path in present
                    if path.is_dir() and path.name in self._options}  # fmt: skip
        except OSError as error:
            return [Problem("--config-dir", self.own_label, f"cannot be read: {error.strerror or error}")]
        for path in present:
            if path.name == f"{PRIMARY}.yaml":
                found.append(self._shadows(path.name))
            elif path.is_dir() and path.name not in self._options and any(path.glob("*.y*ml")):
                problem = unknown("--config-dir", path.name, self.groups, what="group")
                found += [problem] if problem.nearest else []  # a folder of something else may lie there too
        for group, files in held.items():
            for path in files:
                shown = f"{self.own_label}/{group}/{path.name}"
                if path.suffix.lower() in (".yml", ".yaml") and path.suffix != ".yaml":
                    found.append(Problem("--config-dir", shown, "is not read; its name must end in .yaml"))
                elif path.suffix == ".yaml" and (self.shipped / group / path.name).exists():
                    found.append(self._shadows(f"{group}/{path.name}"))
                elif path.suffix == ".yaml" and not _NAME.fullmatch(path.stem):
                    allowed = "its name must be a letter, then letters, digits and _"
                    found.append(Problem("--config-dir", shown, allowed))
        others = (path for folder in OF_OTHER_COMMANDS for path in (self.own / folder).glob("*.yaml"))
        alone = self.primary_name != PRIMARY
        if (
            not found
            and not alone
            and not any(path.suffix == ".yaml" for path in itertools.chain(*held.values(), others))
        ):
            allowed = f"holds no configuration: no .yaml in a folder named {', '.join(self.groups)}"
            found.append(Problem("--config-dir", self.own_label, allowed))
        return found

    def _shadows(self, name: str) -> Problem:
        allowed = "has the name of a shipped file and would be ignored; give it a name of its own"
        return Problem("--config-dir", f"{self.own_label}/{name}", allowed)
