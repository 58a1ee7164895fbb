"""What is refused before any work: each trap, each trick, each slip, with a message that carries the cure."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulator.cli.arguments import read_arguments
from simulator.cli.commands import main
from simulator.configuration.compose import compose
from simulator.configuration.files import read, trap
from simulator.configuration.library import COHORT, Library
from simulator.configuration.overrides import LONGEST, read_overrides
from simulator.errors import ConfigError, LobuleError, Problem, SimulationError
from simulator.experiment import preparation
from simulator.experiment.preparation import prepare

REPOSITORY = Path(preparation.__file__).resolve().parents[2]
NAMED = ("evidence", "model", "course", "study", "parameters")


def python(*arguments: str | bytes, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONUTF8": "1"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=120
    )


def contents(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def refused(*texts: str) -> list[Problem]:
    made = read_overrides(texts, Library())
    assert made.problems or made.unknown_roots
    return made.problems


def only(*texts: str) -> str:
    (problem,) = refused(*texts)
    return str(problem)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory, which must still be empty at the end."""
    folder = tmp_path / "cwd"
    folder.mkdir()
    monkeypatch.chdir(folder)
    yield folder
    assert contents(folder) == []


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder of a user's own with one sound cohort, `mine`, made of shipped parts."""
    write(tmp_path / "own" / "cohort" / "mine.yaml", sound())
    return tmp_path / "own"


def sound(more: str = "") -> str:
    model = Library().file(f"{COHORT}/pj203_mmc").content["defaults"][1]["/model"]
    parts = "".join(f"  - /{group}: {model if group == 'model' else 'pj203_mmc'}\n" for group in NAMED)
    return f"defaults:\n{parts}  - _self_\nname: mine\nn_patients: 30\n{more}"


def write(path: Path, text: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


def in_file(own: Path, more: str) -> list[str]:
    write(own / "cohort" / "mine.yaml", sound(more))
    library = Library(own=own, own_label="own")
    with pytest.raises(ConfigError) as caught:
        compose(library, {COHORT: "mine"}, [])
    return [str(problem) for problem in caught.value.problems]


# --- values -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("010", "octal"),
        ("-007", "octal"),
        ("0x1F", "decimals"),
        ("0b11", "decimals"),
        ("0o17", "decimals"),
        ("12:30", "base 60"),
        ("49:17:15", "base 60"),
        ("NO", "true or false"),
        ("on", "true or false"),
        ("Yes", "true or false"),
        (".nan", "finite"),
        ("nan", "finite"),
        ("-.inf", "finite"),
        ("inf", "finite"),
        ("1e400", "largest"),
        ("0,5", "decimal point"),
        ("−5", "minus sign"),
        ("???", "missing value"),
        ("", "has no value"),
        ("   ", "has no value"),
        ('"14', "not closed"),
        ("[1,2", "brackets"),
        ("a;b", "';'"),
        ("=1", "quotes"),
        ("14\tmo", "control character"),
        ("14\nmo", "control character"),
        ("[NO]", "holds NO"),
        ("{a: 010}", "holds 010"),
        ("[nan]", "finite"),
        ("[" * 900 + "]" * 900, "nested too deeply"),
    ],
)
def test_an_ambiguous_or_unreadable_value_is_refused(value: str, said: str) -> None:
    message = only(f"course.interval={value}")
    assert said in message
    if "control" not in said:
        assert message.startswith("course.interval")


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        ("14", 14),
        ("-14", -14),
        ("1_000", 1000),
        ("1e3", 1000.0),
        ("0.5", 0.5),
        ("0", 0),
        ("14 mo", "14 mo"),
        ("0.05 / y", "0.05 / y"),
        ("'010'", "010"),
        ('"NO"', "NO"),
        ("'12:30'", "12:30"),
        ("'a, b (c)'", "a, b (c)"),
        ("true", True),
        ("null", None),
        ("[1,2,'x']", [1, 2, "x"]),
        ("{uniform: [14 d, 21 d]}", {"uniform": ["14 d", "21 d"]}),
        ("C-reactive", "C-reactive"),
    ],
)
def test_a_plain_value_is_read_as_hydra_reads_it(value: str, meant: object) -> None:
    made = read_overrides([f"course.interval={value}"], Library())
    assert made.problems == []
    assert made.values == [("course.interval", meant)]
    assert type(made.values[0][1]) is type(meant)


@pytest.mark.parametrize("value", ["14,21", "a,b", "range(1,3)", "choice(1,2)", "glob(*)", "1,2.5", "pj203_mmc,ilp"])
def test_several_values_without_multirun_are_said_to_be_a_sweep(value: str) -> None:
    assert "--multirun" in only(f"course.interval={value}")


def test_a_very_long_value_is_refused_and_not_printed_whole() -> None:
    message = only("course.interval=" + "x" * LONGEST)
    assert "at most 2,000" in message
    assert len(message) < 300


@pytest.mark.parametrize(
    "text",
    [
        "course._target_=os.system",
        "_target_=os.system",
        "course={_target_: os.system}",
        "course={interval: {_partial_: true}}",
        "course.class=x",
        "course={class: x}",
        "course={a: {_args_: [1]}}",
        "+course._target_=x",
    ],
)
def test_no_override_can_name_code(text: str) -> None:
    assert "names code to run" in only(text)


@pytest.mark.parametrize("value", ["${oc.env:HOME}", "'${seed}'", "${seed}", "a${b}c", "[${seed}]", "\\${seed}"])
def test_no_override_can_hold_an_interpolation(value: str) -> None:
    assert "${…} is not read" in only(f"course.interval={value}")


def test_no_override_can_call_anything() -> None:
    assert "calls system()" in only("course.interval=system(3)")
    assert "calls int()" in only("course.interval=int(3)")


# --- keys ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["hydra.mode", "hydra.run", "hydra"])
def test_of_hydras_own_settings_three_can_be_set(key: str) -> None:
    assert "only hydra.run.dir, hydra.sweep.dir, hydra.verbose can be set" in only(f"{key}=x")


@pytest.mark.parametrize(
    ("key", "instead"),
    [
        ("hydra.callbacks.x._target_", "simulator.simulate"),
        ("hydra/job_logging", "hydra.verbose=true"),
        ("hydra.launcher", "launcher=dask"),
        ("hydra/launcher", "launcher.workers=N"),
        ("hydra.searchpath", "--config-dir"),
        ("hydra.job.chdir", "hydra.run.dir"),
        ("+hydra.sweeper.x", "--multirun"),
    ],
)
def test_a_setting_of_hydras_that_is_not_used_says_what_to_do_instead(key: str, instead: str) -> None:
    said = only(f"{key}=x")
    assert "is not used" in said
    assert instead in said


@pytest.mark.parametrize(
    "text", ["a..b=1", "=1", "a.=1", ".a=1", "a b=1", "a[0]=1", "cohort@x=ilp", "cohort/x=ilp", "a-b=1", "é=1"]
)
def test_what_is_no_key_is_refused(text: str) -> None:
    assert "is no key" in only(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("~seed", "every run needs it"),
        ("~study", "another one with study=NAME"),
        ("~course.interval=14", "takes no value: write ~course.interval"),
    ],
)
def test_what_cannot_be_taken_away_says_why(text: str, said: str) -> None:
    assert said in only(text)


def test_a_key_set_twice_is_refused() -> None:
    assert "set twice" in only("seed=1", "seed=2")
    assert read_overrides(["seed=1", "seed=1"], Library()).problems == []


@pytest.mark.parametrize("sign", ["", "+", "++"])
def test_a_sign_before_a_key_changes_nothing(sign: str) -> None:
    assert read_overrides([f"{sign}seed=3"], Library()).values == [("seed", 3)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cohort=pj204_mmc", "did you mean 'pj203_mmc'?"),
        ("cohort=pj203_mmc.yaml", "did you mean 'pj203_mmc'?"),
        ("cohort=pj204_mmc", "il2_hai_adjuvant, il2_hai_unresectable, ilp, pj203_mmc"),
        ("study=ipl", "did you mean 'ilp'?"),
        ("cohort=[ilp,pj203_mmc]", "must be the name of one cohort"),
        ("cohort=null", "must be the name of one cohort"),
        ("cohort=3", "must be the name of one cohort"),
        ("parameters=outputs/x/parameters.yaml", "there is no such file, and no folder with one"),
        ("parameters=strat", "did you mean 'start'?"),
    ],
)
def test_an_unknown_file_of_a_group_is_refused_with_the_nearest(text: str, said: str) -> None:
    assert said in only(text)


@pytest.mark.parametrize("source", ["start", "calibrated", "posterior"])
def test_a_source_of_parameters_chooses_no_file(source: str) -> None:
    made = read_overrides([f"parameters={source}"], Library())
    assert (made.problems, made.choices, made.source) == ([], {}, source)


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("sede=3", "'seed'"),
        ("cohorts=ilp", "'cohort'"),
        ("curse.interval=3", "'course.interval'"),
        ("interval=3", "'course.interval'"),
        ("course.intervall=3", "'interval'"),
        ("cohort.n_patient=3", "'n_patients'"),
        ("output.patient=true", "'patients'"),
        ("parameters.response.onset_medain=30", "'parameters.response.onset_median'"),
        ("+cohort.n_patient=3", "'n_patients'"),
    ],
)
@pytest.mark.filterwarnings("ignore:parameters:simulator.DeclarationWarning")
def test_an_unknown_key_is_refused_with_the_nearest(text: str, near: str) -> None:
    with pytest.raises(ConfigError) as caught:
        prepare([text])
    assert f"did you mean {near}?" in str(caught.value)


def test_a_single_value_has_no_keys_below_it() -> None:
    with pytest.raises(ConfigError, match="seed is the single value"):
        prepare(["seed.x=3"])


def test_all_problems_are_shown_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        prepare(["sede=3", "course.interval=0,5", "study.replicates=-1", "hydra.job.name=x", "seed=x y"])
    assert {problem.key for problem in caught.value.problems} == {
        "sede", "course.interval", "study.replicates", "hydra.job.name", "seed",
    }  # fmt: skip


# --- arguments ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--config-path=x"], "--config-dir"),
        (["--config-path", "x"], "--config-dir"),
        (["--config-name", "x"], "needs --config-dir"),
        (["-cn", "x"], "needs --config-dir"),
        (["--config-name"], "--config-name NAME"),
        (["-cp=x"], "--config-dir"),
        (["--experimental-rerun=x"], "not offered"),
        (["--hydra-help"], "not offered"),
        (["--info"], "`explain` says"),
        (["--package", "x"], "prints the whole configuration"),
        (["--bogus"], "unknown option"),
        (["--confg-dir=x"], "did you mean '--config-dir'?"),
        (["--multirun", "explain"], "takes one scenario"),
        (["--dry-run"], "add --multirun"),
        (["report"], "takes one path"),
        (["--cfg"], "--cfg job"),
        (["--cfg", "hydra"], "must be job"),
        (["--config-dir"], "needs a value"),
        (["explain", "evidence"], "one command"),
        (["seed=\udcff"], "UTF-8"),
    ],
)
def test_an_argument_that_is_not_offered_is_refused(argv: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_arguments(argv)
    assert said in str(caught.value)


def test_a_command_may_stand_anywhere_and_a_misspelt_one_is_recognised() -> None:
    assert read_arguments(["cohort=ilp", "explain"]).command == "explain"
    (problem,) = read_overrides(["explian"], Library()).problems
    assert problem.nearest == "explain"


# --- a user's files -----------------------------------------------------------------------------------------


def test_a_sound_file_composes(own: Path) -> None:
    composed = compose(Library(own=own, own_label="own"), {COHORT: "mine"}, [])
    assert composed.container["cohort"] == {"name": "mine", "n_patients": 30}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a: 010", "octal"),
        ("a: NO", "true or false"),
        ("a: 12:30", "base 60"),
        ("a: .nan", "finite"),
        ("a: .inf", "finite"),
        ("a: 1e400", "largest"),
        ("a: 0,5", "decimal comma"),
        ("a:", "has no value"),
        ("a: ???", "missing value"),
        ("a: ${oc.env:HOME}", "is not read"),
        ("a: '${seed}'", "is not read"),
        ("a: {_target_: os.system}", "names code"),
        ("a: {class: os.system}", "names code"),
        ("a: {(): os.system}", "names code"),
        ("a: !!python/object/apply:os.system [ls]", "tags are not read"),
        ("a: !x 3", "tags are not read"),
        ("a: &b [1]", "not read"),
        ("<<: {a: 1}", "merge keys"),
        ("n_patients: 31", "twice"),
        ("NO: 3", "true or false"),
        ("1: 3", "must be a name"),
        ("? [a]\n: 3", "not a name"),
        ("x: 3\n y: 4", "not readable YAML"),
        ("x: a: b", "not readable YAML"),
        ("x: 'abc\ny: 3", "not closed"),
        ("x: [1, 2\ny: 3", "not closed"),
        ("a:\n\tb: 3", "a tab"),
        ("---\nb: 3", "second document"),
    ],
)
def test_a_trap_in_a_file_is_named_with_its_file_and_line(own: Path, line: str, said: str) -> None:
    (message,) = in_file(own, line + "\n")
    assert said in message
    number = int(message.removeprefix("own/cohort/mine.yaml:").split(":")[0].split(" ")[0])
    assert number in range(10, 12)  # the lines after the sound ones


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"n_patients: 3\ntitle: caf\xe9\n", "mine.yaml:2: is not UTF-8"),
        ("n_patients: 3\n".encode("utf-16"), "is not UTF-8"),
        (b"a: b\x00c\n", "not readable YAML"),
        (b"- a\n- b\n", "must be a mapping"),
        (b"", "must name evidence, model, course, study, parameters"),
        (b"# @package _global_\nn_patients: 3\n", "has no header"),
        (b"a: " + b"[" * 100_000, "nested deeper"),
        (b"a: " + b"- " * 100_000, "not readable YAML"),
        (b"defaults: [mine]\n", "name each other"),
        (b"defaults: {a: b}\n", "must be a list"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(own: Path, data: bytes, said: str) -> None:
    write(own / "cohort" / "mine.yaml", data)
    with pytest.raises(ConfigError) as caught:
        compose(Library(own=own, own_label="own"), {COHORT: "mine"}, [])
    assert said in str(caught.value)


def test_a_byte_order_mark_is_no_fault(own: Path) -> None:
    write(own / "cohort" / "mine.yaml", b"\xef\xbb\xbf" + sound().encode())
    compose(Library(own=own, own_label="own"), {COHORT: "mine"}, [])


def test_all_problems_of_a_file_are_shown_at_once(own: Path) -> None:
    assert len(in_file(own, "a: 010\nb: NO\nc: 0,5\n")) == 3


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("/study: pj204_mmc", "did you mean 'pj203_mmc'?"),
        ("/studdy: ilp", "did you mean 'study'?"),
        ("override hydra/launcher: joblib", "unknown group"),
        ("/hydra/callbacks: x", "unknown group"),
        ("/study@seed: ilp", "must be"),
        ("optional /study: ilp", "must be"),
        ("../../etc/passwd", "must be"),
        ("/study: [ilp, pj203_mmc]", "unknown study"),
        ("{a: b, c: d}", "must be"),
        ("3", "must be"),
        ("/study: ilp", "twice"),
        ("override /study: ilp\n  - /course: ilp", "must be"),
    ],
)
def test_a_defaults_list_names_known_files_of_groups_and_nothing_else(own: Path, entry: str, said: str) -> None:
    text = sound().replace("  - _self_\n", f"  - {entry}\n  - _self_\n")
    write(own / "cohort" / "mine.yaml", text)
    with pytest.raises(ConfigError) as caught:
        compose(Library(own=own, own_label="own"), {COHORT: "mine"}, [])
    assert said in str(caught.value)


def test_shipped_files_hold_no_traps() -> None:
    library = Library()
    for group in library.groups:
        for name in library.options(group):
            library.file(f"{group}/{name}")


@pytest.mark.parametrize(
    "text", ["0", "14", "-3", "1.5", "a", "colorectal", "14 mo", "2024-01-31", "1:", "a:b", "n", "y"]
)
def test_plain_text_is_no_trap(text: str) -> None:
    assert trap(text) is None


# --- a user's folder ----------------------------------------------------------------------------------------


def folder_problems(own: Path) -> str:
    return "\n".join(str(problem) for problem in Library(own=own, own_label="own").problems())


def test_a_file_with_a_shipped_name_is_refused_by_name(own: Path) -> None:
    write(own / "cohort" / "pj203_mmc.yaml", sound())
    write(own / "simulate.yaml", "seed: 1\n")
    said = folder_problems(own)
    assert "own/cohort/pj203_mmc.yaml: has the name of a shipped file" in said
    assert "own/simulate.yaml: has the name of a shipped file" in said


def test_a_folder_or_file_that_would_not_be_read_is_refused(own: Path) -> None:
    write(own / "study" / "x.yml", "replicates: 3\n")
    write(own / "study" / "a-b.yaml", "replicates: 3\n")
    write(own / "courses" / "x.yaml", "interval: 3\n")
    said = folder_problems(own)
    assert "own/study/x.yml: is not read; its name must end in .yaml" in said
    assert "own/study/a-b.yaml: its name must be" in said
    assert "courses: unknown group" in said
    assert "did you mean 'course'?" in said


def test_a_folder_of_other_things_beside_the_groups_is_no_fault(own: Path) -> None:
    write(own / "notebooks" / "x.yaml", "a: 1\n")
    assert folder_problems(own) == ""


@pytest.mark.parametrize("name", ["nowhere", "a_file", "empty"])
def test_a_folder_without_configurations_is_refused(tmp_path: Path, name: str, here: Path) -> None:
    write(tmp_path / "a_file", "")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="config-dir"):
        prepare([], config_dir=tmp_path / name)
    assert main([f"--config-dir={tmp_path / name}"]) == 2


# --- where a run writes -------------------------------------------------------------------------------------


def test_a_folder_that_is_not_empty_is_refused_and_left_alone(
    tmp_path: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "run" / "mine.txt", "precious")
    assert main([f"hydra.run.dir={tmp_path / 'run'}"]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert contents(tmp_path / "run") == ["mine.txt"]


def test_a_folder_that_a_killed_run_has_claimed_says_how_to_go_on(
    tmp_path: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "run" / "config.yaml", "")
    assert main([f"hydra.run.dir={tmp_path / 'run'}"]) == 2
    assert "if none goes on, remove the empty config.yaml in it" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["a_file", "a_file/run", "x" * 300])
def test_a_place_where_no_folder_can_be_made_is_refused(tmp_path: Path, here: Path, name: str) -> None:
    write(tmp_path / "a_file", "")
    with pytest.raises(ConfigError, match=r"hydra\.run\.dir"):
        prepare([f"hydra.run.dir={tmp_path / name}"], output=True)


def test_a_folder_without_permission_is_refused(tmp_path: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # the tests may run as root, whom nothing stops
    with pytest.raises(ConfigError, match="no permission"):
        prepare([f"hydra.run.dir={tmp_path / 'run'}"], output=True)


def test_the_default_folder_names_the_cohort_and_the_time(here: Path) -> None:
    first = prepare(["cohort=ilp"], output=True).folder
    second = prepare(["cohort=ilp"], output=True).folder
    assert first is not None
    assert first.parts[:2] == ("outputs", "ilp")
    assert first != second


def test_a_folder_may_have_commas_and_brackets_in_its_name(here: Path, tmp_path: Path) -> None:
    folder = tmp_path / "a, b (c)=[d]"
    assert prepare([f"hydra.run.dir={folder}"], output=True).folder == folder


# --- from the outside ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "argv",
    [
        ["sede=3"],
        ["cohort=pj204_mmc"],
        ["course.interval=-14"],
        ["course.interval=abc"],
        ["cohort=ilp,pj203_mmc"],
        ["hydra.callbacks.x._target_=os.getcwd"],
        ["hydra/job_logging=default"],
        ["--multirun", "cohort=ilp"],
        ["report", "outputs"],
        ["--config-dir=nowhere"],
        ["explain", "sede=3"],
        ["--cfg", "job", "sede=3"],
        ["--help", "cohort=nothing"],
        ["hydra.run.dir="],
    ],
)
def test_bad_input_ends_with_2_and_a_message_and_nothing_made(
    argv: list[str], here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simulator.engines.compiled.is_compiled", lambda: True)  # a first run says more
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("config error: ")
    assert "Traceback" not in err
    for raw in ("hydra.cc", "omegaconf", "OmegaConf", "HYDRA_FULL_ERROR", "Exception"):
        assert raw not in err


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (SimulationError("recurrence: more than 20 times"), 1, "error: recurrence: more than 20 times"),
        (LobuleError("x"), 1, "LOBULE_TRACEBACK=1"),
        (OSError(28, "No space left on device", "run/results.nc"), 1, "run/results.nc: No space left"),
        (MemoryError(), 1, "not enough memory"),
        (ZeroDivisionError("x"), 1, "a fault in Lobule: ZeroDivisionError: x"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (ConfigError(Problem("a", 1, "b")), 2, "config error: a = 1: b"),
    ],
)
def test_every_kind_of_end_has_its_code_and_leaves_no_folder(
    error: BaseException,
    code: int,
    said: str,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.delenv("LOBULE_TRACEBACK", raising=False)
    monkeypatch.setattr("simulator.running.batch.run", fail)
    assert main(["hydra.run.dir=a/b/c"]) == code
    err = capsys.readouterr().err
    assert said in err
    assert "Traceback" not in err


def test_the_traceback_is_there_for_whoever_asks(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOBULE_TRACEBACK", "1")
    assert main(["sede=3"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_the_preparation_imports_neither_arrays_nor_pictures(here: Path) -> None:
    heavy = "('xarray', 'matplotlib', 'scipy.stats', 'dask', 'rich')"
    code = (
        "import sys\n"
        "from simulator.cli.commands import main\n"
        "from simulator.experiment.preparation import prepare\n"
        "assert main(['cohort=pj204_mmc', 'sede=3']) == 2\n"
        f"print([name for name in (*{heavy}, 'numba', 'numpy') if name in sys.modules])\n"
        "prepare([], output=True)\n"
        f"print([name for name in {heavy} if name in sys.modules])\n"
    )
    done = python("-c", code, cwd=here)
    assert done.stdout.splitlines() == ["[]", "[]"], done.stderr


@pytest.mark.skipif(os.name == "nt", reason="arguments are text there")
def test_an_argument_in_another_encoding_is_refused(here: Path) -> None:
    done = python("-m", "simulator", b"seed=\xff", cwd=here)
    assert done.returncode == 2
    assert "is not UTF-8 text" in done.stderr


def test_version_and_help_say_what_there_is(here: Path, own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("lobule ")
    assert main(["--help", "--config-dir", str(own), "cohort=ilp"]) == 0
    shown = capsys.readouterr().out
    for name in ("mine", *Library().options(COHORT), "seed=", "study.replicates=", "course."):
        assert name in shown
    assert "${" not in shown


def test_what_the_help_shows_can_be_set_as_it_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    for cohort in Library().options(COHORT):
        main(["--help", f"cohort={cohort}"])
        shown = capsys.readouterr().out
        settings = [line.strip() for line in shown.splitlines() if line.startswith("  ") and "=" in line]
        texts = [line for line in settings if " " not in line.partition("=")[0] and not line.startswith("hydra")]
        assert len(texts) > 15
        made = read_overrides(texts, Library())
        assert made.problems == []
        composed = compose(Library(), {COHORT: cohort}, made.values)
        assert composed.new == ()


def test_a_reader_that_stops_early_is_no_error(here: Path) -> None:
    code = "import sys, os\nfrom simulator.cli.commands import main\nos.close(1)\nr, w = os.pipe()\nos.close(r)\n"
    code += "sys.stdout = os.fdopen(w, 'w', buffering=1)\nsys.exit(main(['--help']))\n"
    done = python("-c", code, cwd=here)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT to send there")
def test_an_interrupted_run_leaves_nothing(here: Path) -> None:
    code = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored where the tests run in the background
        "import simulator.running.batch as batch\n"
        "def slow(*_, **__):\n"
        "    print('running', flush=True)\n"
        "    time.sleep(60)\n"
        "batch.run = slow\n"
        "from simulator.cli.commands import main\n"
        "sys.exit(main([]))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    child = subprocess.Popen([sys.executable, "-c", code], cwd=here, env=environment, text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "running\n"
        time.sleep(0.1)
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert err == "interrupted\n"


def test_a_file_is_read_whole_or_refused(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").mkdir()
    with pytest.raises(ConfigError, match="is not a file"):
        read(tmp_path / "x.yaml", label="x.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        read(tmp_path / "y.yaml", label="y.yaml")
