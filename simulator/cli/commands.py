"""The commands: a run, an explanation, the evidence, the configuration, the page of a run or sweep.

Knows folders, terminals and exit codes; computes nothing.
"""

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

import simulator
from simulator.cli.files import dump
from simulator.cli.preflight import EVIDENCE, EXPLAIN, REPORT, VERIFY, Prepared, prepare, read_arguments
from simulator.cli.terminal import raw_of, shown
from simulator.errors import (
    ConfigError,
    DeclarationWarning,
    IncompleteWarning,
    LobuleError,
    Problem,
    ScenarioError,
)

DONE, OUR_ERROR, BAD_INPUT, SOME_FAILED, INTERRUPTED = 0, 1, 2, 3, 130
TRACEBACK = "LOBULE_TRACEBACK"
"""Environment variable: 1 shows the traceback of an error."""

RESULTS, CONFIG, PICTURE, PAGE = "results.nc", "config.yaml", "survival.png", "report.html"
CONTRAST = "contrast.nc"

_log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    return exit_code_of(_obey, argv)


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


def _obey(argv: Sequence[str]) -> None:
    arguments = read_arguments(argv)
    if arguments.version:
        print(f"lobule {simulator.__version__}")
    elif arguments.help:
        from simulator.cli.help import help_text

        print(help_text(arguments.overrides, config_dir=arguments.config_dir))
    elif arguments.multirun:
        from simulator.cli.multirun import run_sweep

        run_sweep(arguments.overrides, config_dir=arguments.config_dir, dry=arguments.dry, cfg=arguments.cfg)
    elif arguments.command == REPORT:
        [path] = arguments.overrides
        print(_report(Path(path).expanduser()))
    elif arguments.command == VERIFY:
        [path] = arguments.overrides
        _verify(Path(path).expanduser())
    elif arguments.cfg:
        print(dump(prepare(arguments.overrides, config_dir=arguments.config_dir).container), end="")
    elif arguments.command == EXPLAIN:
        print(_explained(prepare(arguments.overrides, config_dir=arguments.config_dir)))
    elif arguments.command == EVIDENCE:
        _show_evidence(prepare(arguments.overrides, config_dir=arguments.config_dir))
    else:
        run_and_write(prepare(arguments.overrides, config_dir=arguments.config_dir, output=True))


def run_and_write(prepared: Prepared) -> Path:
    """Simulate, write the results into a folder of their own, print the table. Returns the folder."""
    listen(prepared.verbose)
    assert prepared.folder is not None  # prepared with an output folder
    with claimed(prepared.folder, CONFIG) as folder:
        (folder / CONFIG).write_text(dump(prepared.container), encoding="utf-8")
        _log.debug("simulating %s into %s", prepared.cohort, folder)
        from simulator.results.store import save
        from simulator.running.draws import run
        from simulator.running.experiment import is_compiled

        if sys.stderr.isatty() and not is_compiled(prepared.experiment):
            print("compiling the engine, once on this machine: about a minute …", file=sys.stderr, flush=True)
        with _progress() as progress:
            solved = None if progress is None else progress.solved
            tree = run(prepared.experiment, progress=progress, solved=solved)
        save(tree, folder / RESULTS)
    from simulator.views import decisions, estimates, figures
    from simulator.views.tables import targets_table

    figures.save(figures.survival(tree), folder / PICTURE)
    show(targets_table(tree))
    if estimates.NODE in tree.children:
        show(estimates.estimates_table(tree))
    if decisions.NODE in tree.children:
        show(decisions.decisions_table(tree))
    files = {
        RESULTS: f'the results: simulator.open_results("{(folder / RESULTS).as_posix()}")',
        CONFIG: "what was simulated",
        PICTURE: "survival, simulated and reported",
    }
    if prepared.experiment.root.output.report:
        from simulator.views import report

        report.write(tree, folder / PAGE)
        files[PAGE] = "all of it on a page, for a browser"
    tell_files(folder, files)
    return folder


def _report(path: Path) -> Path:
    """Write the page of results beside them, and return it; of a sweep also before it is finished."""
    from simulator.results.contrasts import named_beside
    from simulator.results.store import SWEEP, open_results
    from simulator.views import report

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IncompleteWarning)  # the page says it
        tree = open_results(path)
    folder = path if path.is_dir() and path.name != SWEEP else path.parent
    try:
        return report.write(tree, folder / PAGE, source=str(path), against=named_beside(folder / CONTRAST))
    finally:
        tree.close()


def _verify(path: Path) -> None:
    """Print what was checked of results. Raises ConfigError with everything that is damaged."""
    from simulator.results.verification import verify

    found = verify(path)
    for line in found.checked:
        print(f"checked: {line}")
    for line in found.notes:
        print(f"note: {line}")
    if found.damaged:
        raise ConfigError(found.damaged)
    print(f"{path}: nothing is damaged")


def tell_files(folder: Path, files: Mapping[str, str]) -> None:
    """Print what lies in a folder of a run."""
    width = max(map(len, files))
    print(f"\n{folder}{os.sep}")
    for name, what in files.items():
        print(f"  {name:{width}}  {what}")


def _explained(prepared: Prepared) -> str:
    from simulator.declaration.explain import explain

    return explain(prepared.experiment).rstrip()


def _show_evidence(prepared: Prepared) -> None:
    from simulator.declaration.evidence import load
    from simulator.views.tables import evidence_table

    show(evidence_table(load(prepared.container["evidence"])))


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


class _Bar:
    """A bar that patients and draws of parameters move."""

    def __init__(self, bar: Any) -> None:
        self.bar, self.task = bar, bar.add_task("preparing", total=None)

    def __call__(self, done: int, total: int) -> None:
        self._show(f"simulating {done:,} of {total:,}", done, total)

    def solved(self, done: int, total: int) -> None:
        self._show(f"solving draw {done:,} of {total:,}", done, total)

    def _show(self, description: str, done: int, total: int) -> None:
        self.bar.update(self.task, completed=done, total=total, description=description)


@contextmanager
def _progress() -> Iterator[_Bar | None]:
    """Give callbacks that move a bar on a terminal, and None where nobody watches."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:,.0f}/s")

    columns = (TextColumn("{task.description}"), BarColumn(), Rate(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=raw_of(sys.stderr)), transient=True) as bar:
        yield _Bar(bar)


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
