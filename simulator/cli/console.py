"""What all commands share: exit codes, messages on stderr, folders that belong to one run, tables on a terminal."""

from __future__ import annotations

import io
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from simulator.cli.terminal import raw_of, shown
from simulator.errors import ConfigError, DeclarationWarning, LobuleError, Problem, ScenarioError

DONE, OUR_ERROR, BAD_INPUT, SOME_FAILED, INTERRUPTED = 0, 1, 2, 3, 130
TRACEBACK = "LOBULE_TRACEBACK"
"""Environment variable: 1 shows the traceback of an error."""

RESULTS, CONFIG, PICTURE, PAGE = "results.nc", "config.yaml", "survival.png", "report.html"
CONTRAST = "contrast.nc"


def exit_code_of(obey: Callable[[Sequence[str]], None], argv: Sequence[str] | None) -> int:
    """Obey a command line and return its exit code; whatever is raised becomes a message on stderr."""
    _be_printable(sys.stdout)
    with shown(), _plain_warnings():
        try:
            obey(sys.argv[1:] if argv is None else argv)
            sys.stdout.flush()
        except ConfigError as error:
            return _failed(str(error), BAD_INPUT)
        except ScenarioError as error:
            return _failed(f"error: {error}", SOME_FAILED)
        except KeyboardInterrupt:
            return _failed("interrupted", INTERRUPTED)
        except BrokenPipeError:  # the reader of our output, such as `head`, had enough
            _silence_stdout()
        except (LobuleError, OSError, MemoryError) as error:
            return _failed(f"error: {_said(error)}", OUR_ERROR)
        except Exception as error:
            return _failed(f"error: a fault in Lobule: {type(error).__name__}: {_said(error)}", OUR_ERROR)
    return DONE


def tell_files(folder: Path, files: Mapping[str, str]) -> None:
    """Print what lies in a folder of a run."""
    width = max(map(len, files))
    print(f"\n{folder}{os.sep}")
    for name, what in files.items():
        print(f"  {name:{width}}  {what}")


def show(renderable: Any) -> None:
    """Print tables as wide as the terminal."""
    from rich.console import Console

    Console(file=raw_of(sys.stdout), highlight=False).print(renderable)


@contextmanager
def claimed(folder: Path, first: str) -> Iterator[Path]:
    """Make a folder that is ours alone, with an empty file of this name; take both away if nothing comes of it."""
    made: list[Path] = []
    try:
        for path in [*reversed(folder.parents), folder]:
            if path.is_dir():
                continue
            try:
                path.mkdir()
                made.append(path)
            except FileExistsError:  # another run may have made it just now
                if not path.is_dir():
                    raise
        file = folder / first
        file.touch(exist_ok=False)
        made.append(file)
    except FileExistsError:
        _remove(made)
        problem = Problem("hydra.run.dir", str(folder), "is in use by another run; name a new folder")
        raise ConfigError(problem) from None
    except OSError as error:
        _remove(made)
        problem = Problem("hydra.run.dir", str(folder), f"cannot be written to: {error.strerror or error}")
        raise ConfigError(problem) from None
    try:
        yield folder
    except BaseException:
        _remove(made)
        raise


def _remove(made: Sequence[Path]) -> None:
    for path in reversed(made):
        with suppress(OSError):  # a folder that is not empty holds somebody else's file by now
            path.rmdir() if path.is_dir() else path.unlink()


def _failed(message: str, code: int) -> int:
    with suppress(OSError):
        sys.stdout.flush()
    if code != INTERRUPTED and os.environ.get(TRACEBACK, "") not in ("", "0"):
        traceback.print_exc()
    elif code == OUR_ERROR:
        message += f"\n(for the traceback: set {TRACEBACK}=1)"
    print(message, file=sys.stderr)
    return code


def _said(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return (
            "not enough memory: fewer study.replicates or parameters.draws, a longer output.time_step,"
            " or output.patients=false and output.events=false"
        )
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Show a warning about a declaration as one line, once; leave every other warning as it is."""
    shown: set[str] = set()

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if not issubclass(category, DeclarationWarning):
            usual(message, category, filename, lineno, file, line)
        elif str(message) not in shown:
            shown.add(str(message))
            print(f"warning: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        usual = warnings.showwarning
        warnings.showwarning = show
        warnings.simplefilter("always", DeclarationWarning)
        yield


def listen(verbose: str) -> None:
    """Switch on what ``hydra.verbose`` asks for: our own and Hydra's loggers, or those named."""
    if verbose.lower() == "false":
        return
    names = [name.strip() for name in verbose.strip("[]").split(",") if name.strip()]
    logging.basicConfig(format="%(relativeCreated)d ms %(name)s: %(message)s")
    for name in ("simulator", "hydra") if verbose.lower() == "true" else names:
        logging.getLogger(name).setLevel(logging.DEBUG)


def _be_printable(stream: TextIO) -> None:
    """Let a terminal that lacks a character show a '?' instead of ending the run."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="replace")


def _silence_stdout() -> None:
    """Keep the interpreter from complaining about the broken pipe once more at its end."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
