"""The parts of the table: which rows there are, on how many patients, and what they are compared with.

Rows of a part are measured in interleaved rounds, so that whatever else the machine does falls on all of them.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from simulator.errors import LobuleError
from tests.benchmarks import systems
from tests.benchmarks.measure import Measured, child, process_seconds, processor_seconds, wall_seconds
from tests.benchmarks.systems import Engine, here
from tests.benchmarks.workloads import CONFIGS, tables, tiled

LIMIT = "hand kernel"
NUMPY, NUMPY_TUNED = "NumPy", "NumPy, tuned"
SIMPY, SIMPY_W2 = "SimPy", "SimPy, W2"
PATIENTS, TOTALS, EVENTS = "heormodel", "heormodel, totals", "heormodel, events"
YARDSTICKS = {
    LIMIT: (LIMIT,),
    NUMPY: (NUMPY,),
    NUMPY_TUNED: (NUMPY_TUNED,),
    SIMPY: (SIMPY, SIMPY_W2),
    PATIENTS: (PATIENTS, TOTALS, EVENTS),
}
"""Columns of ratios, and the rows that serve them: a row is compared with one of them at most."""

W1_AGAINST = (LIMIT, NUMPY, NUMPY_TUNED, SIMPY, PATIENTS)
PYTHON = sys.executable


@dataclass(frozen=True)
class Options:
    """What the command line asks for."""

    quick: bool
    rounds: int
    pythons: tuple[str, ...]
    growth: str  # the engine whose growth is measured

    def sized(self, n: int) -> int:
        """Patients of a row: a twentieth in a quick run, in whole studies of 1,000."""
        return max(1_000, n // 20_000 * 1_000) if self.quick else n


@dataclass
class Entry:
    """A row and how one sample of it is taken, or the reason why none is."""

    row: Measured
    run: Callable[[int], float] | str
    scale: float = 1.0  # from what `run` returns to the row's unit
    warm: bool = True  # a first call is not counted: it compiles


def measured(entries: Iterable[Entry], rounds: int, *, tell: Callable[[str], None]) -> list[Measured]:
    """Take a sample of every entry in each round."""
    entries = list(entries)
    for entry in entries:
        if isinstance(entry.run, str):
            entry.row.missing = entry.run
    for number in range(rounds + 1):
        for entry in entries:
            if entry.row.missing is not None or (number == 0 and not entry.warm):
                continue
            assert not isinstance(entry.run, str)
            tell(f"{entry.row.section}: {entry.row.name} (round {number} of {rounds})")
            try:
                sample = entry.run(number)
            except (LobuleError, RuntimeError) as error:
                entry.row.missing = str(error)
                continue
            if number:
                entry.row.samples.append(sample * entry.scale)
    return [entry.row for entry in entries]


def _per_patient(
    section: str, name: str, n: int, run: Callable[[int], float] | str, *, warm: bool = True, **row: object
) -> Entry:
    return Entry(Measured(section, name, n, **row), run, scale=1e9 / n, warm=warm)


def w1(options: Options) -> Iterator[Entry]:
    """Treatment cohort: the engines, then the yardsticks; SimPy and peers in processes of their own."""
    rows = {"against": W1_AGAINST}
    for name, engine in systems.engines().items():
        yield from _engine_rows("W1", "w1", name, engine, options, columns=W1_AGAINST, log=W1_AGAINST)
    n = options.sized(1_000_000)
    yield _per_patient("W1", "hand-written kernel", n, here(lambda: systems.by_hand(n)), role=LIMIT, **rows)
    columns = here(lambda: systems.in_numpy_columns(n))
    yield _per_patient("W1", "NumPy, whole columns", n, columns, role=NUMPY, **rows)
    yield _per_patient("W1", NUMPY_TUNED, n, here(lambda: systems.in_numpy(n)), role=NUMPY_TUNED, **rows)
    few = options.sized(100_000)
    yield _per_patient("W1", "plain SimPy", few, systems.plain_simpy("w1", few), warm=False, role=SIMPY, **rows)
    for peer, most, role in (("cimba", 400_000, None), ("miscore", 100_000, None), ("heormodel", 10_000, PATIENTS)):
        size = options.sized(most)
        run = systems.peer(peer, "w1", size, options.pythons)
        yield _per_patient("W1", peer, size, run, warm=False, role=role, **rows)


def w2(options: Options) -> Iterator[Entry]:
    """Illness and death: the engines, then the yardsticks."""
    for name, engine in systems.engines().items():
        against = {"columns": (SIMPY_W2, TOTALS), "log": (SIMPY_W2, EVENTS)}
        yield from _engine_rows("W2", "w2", name, engine, options, **against)
    few, many = options.sized(200_000), options.sized(1_000_000)
    yield _per_patient("W2", "plain SimPy", few, systems.plain_simpy("w2", few), warm=False, role=SIMPY_W2)
    for role, workload in ((TOTALS, "w2"), (EVENTS, "w2_events")):
        run = systems.peer("heormodel", workload, many, options.pythons)
        yield _per_patient("W2", role, many, run, warm=False, role=role, against=(SIMPY_W2,))


def _engine_rows(
    section: str,
    workload: str,
    name: str,
    engine: Engine | str,
    options: Options,
    *,
    columns: tuple[str, ...],
    log: tuple[str, ...],
) -> Iterator[Entry]:
    """Rows of one engine; what its columns and its log are compared with."""
    if isinstance(engine, str):
        yield Entry(Measured(section, f"engine {name}"), engine)
        return
    n = options.sized(engine.size)
    model = tables(workload, n)
    if name != "reference":
        run = here(lambda: engine.columns(model))
        yield _per_patient(section, f"engine {name}, a row a patient", n, run, against=columns)
    run = here(lambda: engine.log(model))
    yield _per_patient(section, f"engine {name}, every event", n, run, against=log)
    run = here(lambda: systems.public_call(workload, n, name))
    yield _per_patient(section, f"simulator.simulate, {name}, statistics only", n, run, against=columns)


def _growing(options: Options) -> Engine | str:
    return systems.engines()[options.growth]


def _repeated(call: Callable[[], object], n: int, size: int) -> tuple[Callable[[int], float], float]:
    """One sample of a call so short that it is repeated; and its scale to ns a patient."""
    times = max(1, size // (5 * n))

    def run(_round: int) -> float:
        return processor_seconds(lambda: [call() for _ in range(times)])

    return run, 1e9 / (n * times)


def _missing(section: str, engine: str) -> Iterator[Entry]:
    yield Entry(Measured(section, f"engine {engine}"), "not built")


def patients(options: Options) -> Iterator[Entry]:
    """Growth with patients of W1, a row a patient."""
    engine, section = _growing(options), "patients, W1"
    if isinstance(engine, str):
        yield from _missing(section, options.growth)
    most = 100_000 if options.quick else 10_000_000
    for n in (10**k for k in range(3, 8)):
        if n > most:
            break
        if isinstance(engine, Engine) and n <= 20 * engine.size:
            model = tables("w1", n)
            run, scale = _repeated(lambda model=model: engine.columns(model), n, engine.size)
            yield Entry(Measured(section, f"engine {engine.name}", n, against=(LIMIT,)), run, scale)
        run, scale = _repeated(lambda n=n: systems.by_hand(n), n, 1_000_000)
        yield Entry(Measured(section, "hand-written kernel", n, against=(LIMIT,)), run, scale)


def parameter_sets(options: Options) -> Iterator[Entry]:
    """Growth with parameter sets of W1 at fixed work: the patients are shared among the sets."""
    engine, section = _growing(options), "parameter sets, W1"
    if isinstance(engine, str):
        yield from _missing(section, options.growth)
        return
    n = options.sized(engine.size)
    for n_sets in (1, 10, 100, 1_000):
        if n_sets > n // 5:
            break
        model = tiled(tables("w1", n // n_sets), n_sets)
        run = here(lambda model=model: engine.columns(model))
        yield _per_patient(section, f"{n_sets} of {n // n_sets} patients", n, run)
    each = min(100, n // 100)
    many, one = tiled(tables("w1", each), 1_000), tables("w1", 1_000 * each)
    if n < 50_000:
        return

    def overhead(_round: int) -> float:
        return (processor_seconds(lambda: engine.columns(many)) - processor_seconds(lambda: engine.columns(one))) / 999

    row = Measured(section, f"overhead of a set, 1,000 sets of {each} patients", unit="µs a set")
    yield Entry(row, overhead, scale=1e6)


def cycles(options: Options) -> Iterator[Entry]:
    """Growth with `course.max_administrations` of W1, progression ten times as late so that courses last."""
    engine, section = _growing(options), "cycles, W1"
    if isinstance(engine, str):
        yield from _missing(section, options.growth)
        return
    n = options.sized(engine.size)
    for most in (0, 1, 5, 11, 22, 44, 88):
        late = ("parameters.progression.median=2000 d", f"course.max_administrations={most}")
        model = tables("w1", n, *late)
        run = here(lambda model=model: engine.columns(model))
        yield _per_patient(section, f"at most {most} administrations", n, run)


def threads(options: Options) -> Iterator[Entry]:
    """Wall-clock time of W1 on one and on two threads."""
    engine, section = _growing(options), "threads, W1, wall clock"
    if isinstance(engine, str):
        yield from _missing(section, options.growth)
    for count in (1, 2):
        if isinstance(engine, Engine):
            n = options.sized(engine.size)
            model = tables("w1", n)

            def run(_round: int, model=model, count=count) -> float:
                return wall_seconds(lambda: engine.columns(model, threads=count))

            yield _per_patient(section, f"engine {engine.name}, {count}", n, run)
        m = options.sized(1_000_000)

        def by_hand(_round: int, m=m, count=count) -> float:
            return wall_seconds(lambda: systems.by_hand(m, threads=count))

        yield _per_patient(section, f"hand-written kernel, {count}", m, by_hand)


def memory(options: Options) -> Iterator[Entry]:
    """Peak memory of whole processes; a patient's share is what a larger run takes more."""
    engine, section = _growing(options), "peak memory, W1"
    if isinstance(engine, str):
        yield from _missing(section, options.growth)
        return
    n = options.sized(engine.size)
    large = 2 * n
    for what, name in (("columns", "a row a patient"), ("log", "every event"), ("public", "statistics only")):

        def peak(size: int, what: str = what) -> float:
            return float(child([PYTHON, "-m", "tests.benchmarks", "--memory", what, str(size), engine.name]))

        row = Measured(section, f"engine {engine.name}, {name}", large, unit="MB")
        yield Entry(row, lambda _round, peak=peak: peak(large), scale=1e-6, warm=False)
        row = Measured(section, f"more for each further patient, {name}", unit="B a patient")
        yield Entry(row, lambda _round, peak=peak: (peak(large) - peak(n)) / (large - n), warm=False)


def memory_of(what: str, n: int, name: str) -> None:
    """Do what a process does whose memory is measured."""
    engine = systems.engines()[name]
    assert isinstance(engine, Engine)
    if what == "public":
        systems.public_call("w1", n, name)
    else:
        kept = getattr(engine, what)(tables("w1", n))
        del kept


def start_up(options: Options) -> Iterator[Entry]:
    """Wall-clock time of whole processes, 1,000 patients of W1; kernels come from the cache on disk."""
    section = "start-up, whole process"
    cohort = ["cohort=w1", "cohort.n_patients=1000", "study.replicates=1"]
    call = f"import simulator; simulator.simulate({cohort!r}, config_dir={str(CONFIGS)!r})"
    commands = {
        "python -c pass": ["-c", "pass"],
        "import numba": ["-c", "import numba"],
        "import simulator": ["-c", "import simulator"],
        "simulator.simulate, without the picture": ["-c", call],
    }
    for name, command in commands.items():
        row = Measured(section, name, unit="s")
        yield Entry(row, lambda _round, command=command: process_seconds([PYTHON, *command]))

    def command_line(_round: int, page: bool = False, **environment: str) -> float:
        with tempfile.TemporaryDirectory() as folder:
            out = [f"hydra.run.dir={Path(folder) / 'run'}", f"output.report={str(page).lower()}"]
            line = [PYTHON, "-m", "simulator", "--config-dir", str(CONFIGS), *cohort, *out]
            return process_seconds(line, **environment)

    yield Entry(Measured(section, "python -m simulator, with the picture", unit="s"), command_line)
    with_page = Measured(section, "python -m simulator, with picture and page", unit="s")
    yield Entry(with_page, lambda round_: command_line(round_, page=True))
    if options.quick:
        return

    def first(_round: int) -> float:
        with tempfile.TemporaryDirectory() as folder:
            return command_line(_round, LOBULE_CACHE_DIR=folder)

    yield Entry(Measured(section, "with the picture, nothing cached (compiles)", unit="s"), first, warm=False)


SECTIONS: dict[str, Callable[[Options], Iterator[Entry]]] = {
    "w1": w1,
    "w2": w2,
    "patients": patients,
    "sets": parameter_sets,
    "cycles": cycles,
    "threads": threads,
    "memory": memory,
    "start": start_up,
}

__all__ = ["LIMIT", "SECTIONS", "YARDSTICKS", "Entry", "Options", "measured", "memory_of"]
