"""A sweep as described: what the words mean, what is refused, and that nothing is made before it is asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from simulator.cli.commands import main
from simulator.configuration.library import Library
from simulator.configuration.overrides import read_overrides
from simulator.configuration.parameters import composed_with_parameters
from simulator.errors import ConfigError
from simulator.experiment.preparation import prepare
from simulator.sweep.axes import Range, read_swept
from simulator.sweep.grammar import read_sweep


def labels(key: str, given: str) -> list[str]:
    found = read_swept(key, given, Library())
    assert found is not None
    assert not isinstance(found.values, tuple)
    return list(found.values)


def refused(*words: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read_sweep(words)
    return str(caught.value)


@pytest.mark.parametrize(
    ("given", "texts"),
    [
        ("14,21,28", ["14", "21", "28"]),
        ("choice(14,21)", ["14", "21"]),
        ("'2 wk',3 wk", ["'2 wk'", "3 wk"]),
        ("'a,b',c", ["'a,b'", "c"]),
        (r"'a\',b',c", [r"'a\',b'", "c"]),
        ("[a,b],[c]", ["[a,b]", "[c]"]),
        ("{uniform: [1,2]},3", ["{uniform: [1,2]}", "3"]),
        ("0.30,1e-3", ["0.30", "1e-3"]),
        ("range(3)", ["0", "1", "2"]),
        ("range(2,5)", ["2", "3", "4"]),
        ("range(0,1.01,0.1)", ["0", "0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9", "1"]),
        ("range(0,0.3,0.1)", ["0", "0.1", "0.2"]),
        ("range(3,0,-1.5)", ["3", "1.5"]),
        ("range(20,201,60)", ["20", "80", "140", "200"]),
    ],
)
def test_values_are_labelled_as_they_are_written(given: str, texts: list[str]) -> None:
    assert labels("course.interval", given) == texts


def test_a_glob_takes_names_of_files() -> None:
    assert labels("cohort", "glob(*)") == sorted(Library().options("cohort"))
    assert labels("cohort", "glob(il*,exclude=ilp)") == ["il2_hai_adjuvant", "il2_hai_unresectable"]


def test_a_range_is_counted_and_not_made() -> None:
    numbers = read_swept("course.interval", "range(0,100000000)", Library())
    assert numbers is not None
    assert isinstance(numbers.values, Range)
    assert len(numbers.values) == 10**8
    assert numbers.values[10**8 - 1] == "99999999"


@pytest.mark.parametrize("given", ["14", "[14,21]", "'14,21'", "{uniform: [14,21]}", "wk"])
def test_a_single_value_is_no_sweep(given: str) -> None:
    assert read_swept("course.interval", given, Library()) is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["seed=1,2"], "two seeds are two stores"),
        (["study.replicates=10,20"], "study.replicates = 10,20: is not swept: give one number"),
        (["output.time_step=1,2"], "what is kept is the same"),
        (["launcher=local,dask"], "unknown launcher"),
        (["course.interval=14"], "nothing is swept"),
        (["course.interval=14,14"], "has 14 twice"),
        (["course.interval=14,21", "course.interval=7"], "is set and swept"),
        (["course.interval=14,21", "course.interval=7,8"], "is swept twice"),
        (["course.interval=shuffle(14,21)"], "another order"),
        (["course.interval=range(3,1)"], "is empty"),
        (["course.interval=range(0,1,0)"], "a step other than 0"),
        (["course.interval=glob(*)"], "takes names of files"),
        (["cohort=glob(x*)"], "names no file"),
        (["course.interval=interval(3,1)"], "low < high"),
        (["course.interval=interval(1,3)"], "sweep.samples=64"),
        (["course.interval=interval(1,3)", "sweep.samples=6", "sweep.design=sobol"], "a power of 2"),
        (["course.interval=interval(1,3)", "sweep.samples=6", "sweep.design=grid"], "unknown design"),
        (["course.interval=14,21", "sweep.samples=4"], "draws from nothing"),
        (["course.interval=14,21", "sweep.size=4"], "unknown key"),
        (["course.interval=14,21", "launcher=slurm"], "unknown launcher"),
        (["course.interval=14,21", "launcher.shard=3/2"], "the i-th of n jobs"),
        (["course.interval=14,21", "launcher.takeover=maybe"], "true or false"),
        (["course.interval=010,21"], "may be read as octal"),
        (["cohort=ilp,pj204_mmc"], "did you mean 'pj203_mmc'?"),
        (["cohrt=ilp,pj203_mmc"], "did you mean 'cohort'?"),
        (["experiment=nothing"], "unknown experiment"),
        (["course._target_=a,b"], "names code to run"),
    ],
)
def test_what_cannot_be_swept_is_refused_with_the_cure(words: list[str], said: str) -> None:
    assert said in refused(*words)


def test_dimensions_are_named_by_the_last_word_the_stratum_or_the_whole_key() -> None:
    sweep, _ = read_sweep(
        [
            "cohort.mix.stomach=0.1,0.2",
            "course.interval=14,21",
            "parameters.response.probability.colorectal=0.3,0.4",
            "parameters.survival.median.stomach=100,200",
            "parameters.progression.median=100,200",
        ]
    )
    assert [axis.name for axis in sweep.axes] == [
        "mix_stomach",
        "interval",
        "probability_colorectal",
        "median_stomach",
        "parameters.progression.median",  # a target has a `median` too
    ]
    sweep, _ = read_sweep(["parameters.a.x=1,2", "parameters.b.x=1,2"])
    assert [axis.name for axis in sweep.axes] == ["parameters.a.x", "parameters.b.x"]


def test_scenarios_are_those_of_the_product_the_last_key_fastest() -> None:
    sweep, _ = read_sweep(["cohort=pj203_mmc,ilp", "seed=7", "parameters.response.hazard_ratio=0.45,0.6,1.0"])
    assert len(sweep) == 6
    assert sweep.overrides(4) == ("seed=7", "cohort=ilp", "parameters.response.hazard_ratio=0.6")


@pytest.mark.parametrize("index", range(8))
def test_a_scenario_is_composed_as_a_single_run_is(index: int) -> None:
    words = [
        "cohort=pj203_mmc,ilp",
        "study=pj203_mmc,ilp",
        "+parameters.response={hazard_ratio: 0.5},{onset_median: 9}",
    ]
    sweep, _ = read_sweep([*words, "course.max_administrations=1"])
    library = Library()
    alone = read_overrides(sweep.overrides(index), library)
    assert alone.problems == []
    single = composed_with_parameters(library, alone)
    assert sweep.composed(index).container == single.container
    assert sweep.composed(index).choices == single.choices


def test_parameters_that_a_word_stands_for_are_those_of_a_single_run() -> None:
    sweep, _ = read_sweep(["cohort=pj203_mmc", "parameters=calibrated,start"])
    containers = [sweep.composed(index).container for index in range(2)]
    alone = [prepare(["cohort=pj203_mmc", f"parameters={word}"]).experiment for word in ("calibrated", "start")]
    assert containers == [experiment.config for experiment in alone]
    assert containers[0]["parameters"] != containers[1]["parameters"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["parameters=posterior,start"], "gives every scenario the dimension draw"),
        (["parameters=posterior", "parameters.draws=3,4"], "must be one whole number"),
        (["parameters=posterior", "parameters.draws=3", "parameters.draw=1,2"], "without parameters.draw beside it"),
    ],
)
def test_draws_are_one_dimension(words: list[str], said: str) -> None:
    assert said in refused(*words)


def test_draws_of_a_posterior_are_an_axis() -> None:
    for words, n in ((["parameters.draws=4"], 4), ([], 100), (["parameters.draw=7,9"], 2)):
        sweep, _ = read_sweep(["cohort=ilp", "parameters=posterior", "study.assessment_interval=7,14", *words])
        assert {axis.name: axis.size for axis in sweep.axes} == {"draw": n, "assessment_interval": 2}
    alone = prepare(["cohort=ilp", "parameters=posterior", "parameters.draw=9", "study.assessment_interval=14"])
    assert sweep.composed(3).container == alone.container
    assert alone.experiment.config["parameters"]["draw"] == 9
    calibrated = prepare(["cohort=ilp", "parameters=calibrated"]).container["parameters"]
    assert alone.container["parameters"]["survival"] != calibrated["survival"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["parameters=start", "parameters.draw=1"], "these parameters come with none"),
        (["parameters=posterior", "parameters.draw=-1"], "must be a whole number from 0 to"),
        (["parameters=posterior", "parameters.draw=1000000"], "must be a whole number from 0 to"),
        (["parameters=posterior", "parameters.draw=1", "parameters.draws=2"], "cannot stand beside parameters.draws"),
    ],
)
def test_a_draw_that_is_not_there_is_refused(words: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        prepare(["cohort=ilp", *words])


def test_one_scenario_changes_no_other() -> None:
    sweep, _ = read_sweep(["parameters.response.hazard_ratio=0.45,0.6,1.0"])
    first = sweep.composed(0).container
    sweep.composed(2)
    assert first == sweep.composed(0).container == prepare(sweep.overrides(0)).container


@pytest.mark.parametrize("effect", ["prognostic", "causal"])
def test_what_is_remembered_of_other_scenarios_changes_no_bit(effect: str) -> None:
    words = ["course.interval=14,21", "parameters.response.probability.stomach=0.5,0.684"]
    sweep, _ = read_sweep(["cohort=pj203_mmc", f"parameters.survival.response_effect={effect}", *words])
    for index in range(len(sweep)):
        ours, alone = sweep.experiment(index), prepare(sweep.overrides(index)).experiment
        assert ours.solved.values == alone.solved.values
        for name in ("probability", "parameters", "knot_time", "knot_hazard"):
            np.testing.assert_array_equal(getattr(ours.tables, name), getattr(alone.tables, name))
        np.testing.assert_array_equal(ours.tables.course.term_threshold, alone.tables.course.term_threshold)


def test_a_sampled_design_is_one_dimension_with_several_coordinates() -> None:
    words = ["parameters.response.hazard_ratio=interval(0.4,1)", "parameters.response.onset_median=interval(20,60)"]
    sweep, _ = read_sweep([*words, "sweep.samples=8", "sweep.design=sobol", "cohort=pj203_mmc,ilp"])
    assert [axis.name for axis in sweep.axes] == ["scenario", "cohort"]
    assert len(sweep) == 16
    longer, _ = read_sweep([*words, "sweep.samples=16", "sweep.design=sobol", "cohort=pj203_mmc,ilp"])
    assert [longer.axes[0].point(i) for i in range(8)] == [sweep.axes[0].point(i) for i in range(8)]
    hypercube, _ = read_sweep([*words, "sweep.samples=10", "sweep.seed=3"])
    ratios = sorted(float(hypercube.axes[0].points(i)[0]) for i in range(10))
    assert all(0.4 + 0.06 * i <= ratio <= 0.4 + 0.06 * (i + 1) for i, ratio in enumerate(ratios))


def test_a_file_of_a_users_own_sweeps_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "own" / "experiment"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text(
        "title: Mine\nset: {cohort: ilp, study.replicates: 30}\n"
        "sweep:\n  parameters.response.hazard_ratio: [0.5, 0.6]\n  study.assessment_interval: range(7, 22, 7)\n"
    )
    for word in ("experiment=mine", "+experiment=mine"):
        sweep, _ = read_sweep([word, "study.replicates=20"], config_dir=tmp_path / "own")
        assert sweep.title == "Mine"
        assert [axis.name for axis in sweep.axes] == ["hazard_ratio", "assessment_interval"]
        assert "study.replicates=20" in sweep.overrides(0)
        assert "study.replicates=30" not in sweep.overrides(0)
    (folder / "wrong.yaml").write_text("sweeps: {a: 1}\n")
    with pytest.raises(ConfigError, match="did you mean 'sweep'"):
        read_sweep(["experiment=wrong"], config_dir=tmp_path / "own")


@pytest.mark.parametrize("name", Library().options("experiment"))
@pytest.mark.filterwarnings("ignore::simulator.errors.DeclarationWarning")
def test_a_shipped_sweep_is_sound_at_both_ends(name: str) -> None:
    sweep, _ = read_sweep([f"experiment={name}"])
    assert sweep.title
    assert len(sweep) > 8
    for index in (0, len(sweep) - 1):
        assert sweep.experiment(index).study.replicates >= 400


def test_every_scenario_is_checked_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["cohort=il2_hai_adjuvant", "parameters.recurrence.sigma=0.8,0.9,-1", "course.interval=7,abc"]
    assert main(["--multirun", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "parameters.recurrence.sigma = -1" in err
    assert "course.interval = abc" in err
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_tells_and_makes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [
        "cohort=il2_hai_adjuvant",
        "parameters.recurrence.sigma=0.8,0.9",
        "course.interval=7,14",
        "study.replicates=9",
    ]
    assert main(["--multirun", "--dry-run", *words]) == 0
    out, _ = capsys.readouterr()
    assert "sigma (2) × interval (2): 4 scenarios" in out
    assert f"{4 * 9 * 18} patients" in out
    assert "parameters.recurrence.sigma=0.9 course.interval=14" in out
    for what in ("time", "disk", "memory"):
        assert f"\n{what} " in out
    assert list(tmp_path.iterdir()) == []


def test_a_product_beyond_any_machine_is_counted_and_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["cohort=il2_hai_adjuvant", "parameters.recurrence.sigma=range(1,10001)", "course.interval=range(1,10001)"]
    for dry in ([], ["--dry-run"]):
        assert main(["--multirun", *dry, *words]) == 2
        assert "100,000,000 scenarios: is more than 1,000,000; about 1.8e+12 patients" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
