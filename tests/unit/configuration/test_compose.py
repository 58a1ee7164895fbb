"""Composing: the same as Hydra's own composition, with cohorts of a user's own, and nothing global touched."""

from __future__ import annotations

import random
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import hydra
import pytest
from hydra import version
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.singleton import Singleton
from hydra.errors import HydraException
from omegaconf import OmegaConf

from simulator.configuration import library
from simulator.configuration.compose import Composition, compose
from simulator.configuration.defaults import Defaults
from simulator.configuration.files import dump, read
from simulator.configuration.layers import merged
from simulator.configuration.library import COHORT, NAMED_BY_COHORT, Library, shipped_folder
from simulator.configuration.overrides import read_overrides
from simulator.errors import ConfigError
from simulator.experiment.preparation import open_library

COHORTS = Library().options(COHORT)


def composed(*texts: str, library: Library | None = None) -> Composition:
    library = library or Library()
    made = read_overrides(texts, library)
    assert made.problems == []
    return compose(library, made.choices, made.values)


def by_hydra(folder: Path, *texts: str) -> Any:
    with hydra.initialize_config_dir(str(folder), version_base="1.3"):
        return OmegaConf.to_container(hydra.compose("simulate", list(texts)))


@pytest.fixture
def long_form(tmp_path: Path) -> Path:
    """The shipped configurations, the cohorts' defaults lists in the form that Hydra alone understands."""
    folder = tmp_path / "configs"
    shutil.copytree(shipped_folder(), folder)
    for path in (folder / COHORT).glob("*.yaml"):
        path.write_text(re.sub(r"- /(\w+):", r"- /\1@_global_.\1:", path.read_text("utf-8")), "utf-8")
    return folder


@pytest.fixture
def own(tmp_path: Path) -> Library:
    """A user's folder: a cohort with its own parts, and one that builds on a shipped cohort."""
    folder = tmp_path / "own"
    files = {
        "cohort/mine": f"""
            defaults: [/evidence: pj203_mmc, /model: {MODEL}, /course: mine, /study: ilp, /parameters: mine, _self_]
            n_patients: 30
            """,
        "cohort/built": """
            defaults: [pj203_mmc, _self_, override /course: mine]
            n_patients: 500
            mix: {stomach: 100}
            """,
        "course/mine": "interval: 3 wk\n",
        "parameters/mine": "defaults: [pj203_mmc, _self_]\nresponse: {probability: {stomach: 0.5}}\n",
    }
    for name, text in files.items():
        path = folder / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(re.sub(r"^ {12}", "", text, flags=re.MULTILINE), "utf-8")
    return Library(own=folder, own_label="own")


MODEL = "response_progression_death"


@pytest.mark.parametrize("cohort", COHORTS)
@pytest.mark.parametrize(
    "texts",
    [
        (),
        ("seed=7", "engine=reference", "output.patients=true"),
        ("study.replicates=10", "course.max_administrations=3", "cohort.n_patients=1_000"),
        ("++parameters.survival.shape=1.5", "++course={max_administrations: 2, response: per_administration}"),
        ("study=ilp", "parameters=pj203_mmc", "+study.note='a, b'", "++output.time_step=14 d"),
    ],
)
def test_the_composition_is_hydras_own(cohort: str, texts: tuple[str, ...], long_form: Path) -> None:
    theirs = by_hydra(long_form, f"cohort={cohort}", *texts)
    ours = composed(f"cohort={cohort}", *texts, library=Library(shipped=long_form)).container
    assert ours == theirs
    assert dump(ours) == dump(theirs)  # the order of keys too: patients are allotted in declared order
    assert composed(f"cohort={cohort}", *texts).container == theirs  # the short form means the same


def invented(folder: Path, draw: random.Random) -> list[str]:
    """Write configurations with defaults lists drawn at random; return overrides."""
    for group in (COHORT, *NAMED_BY_COHORT):
        for number in range(3):
            entries = [f"  - f{other}" for other in range(number) if draw.random() < 0.4]
            if group == COHORT:
                named = [each for each in NAMED_BY_COHORT if draw.random() < 0.4]
                entries += [f"  - /{each}@_global_.{each}: f{draw.randrange(3)}" for each in named]
            elif draw.random() < 0.05:
                other = draw.choice(NAMED_BY_COHORT)
                entries.append(f"  - /{other}@_global_.{other}: f{draw.randrange(3)}")
            draw.shuffle(entries)
            if draw.random() < 0.7:
                entries.insert(draw.randint(0, len(entries)), "  - _self_")
            if group == COHORT:
                entries += [f"  - override /{g}@_global_.{g}: f{draw.randrange(3)}" for g in NAMED_BY_COHORT
                            if draw.random() < 0.2]  # fmt: skip
            head = "defaults:\n" + "\n".join(entries) + "\n" if entries else ""
            values = "".join(f"{key}: {{from: '{group} {number}'}}\n" for key in "abc" if draw.random() < 0.6)
            (folder / group).mkdir(parents=True, exist_ok=True)
            (folder / group / f"f{number}.yaml").write_text(f"{head}{values}own_{number}: {number}\n", "utf-8")
    chosen = [f"{group}=f{draw.randrange(3)}" for group in NAMED_BY_COHORT if draw.random() < 0.2]
    return [f"cohort=f{draw.randrange(3)}", *chosen]


def test_defaults_lists_mean_what_hydra_makes_of_them(tmp_path: Path) -> None:
    draw, sound, refused = random.Random(20261201), 0, 0
    for number in range(100):
        folder = tmp_path / str(number)
        texts = invented(folder, draw)
        primary = "defaults:\n  - cohort: f0\n  - _self_\nseed: 1\n"
        (folder / "simulate.yaml").write_text(primary, "utf-8")
        library = Library(shipped=folder)
        choices = dict(text.split("=") for text in texts)
        try:
            theirs = by_hydra(folder, *texts)
        except (HydraException, RecursionError):
            assert Defaults(library, choices).problems
            refused += 1
            continue
        defaults = Defaults(library, choices)
        if any("keep one" in problem.allowed for problem in defaults.problems):
            continue  # Hydra refuses the same file twice only where that file has no defaults list itself
        assert not defaults.problems, texts
        container: dict[str, Any] = {}
        for path in defaults.files:
            container = merged(container, library.content(path))
        assert dump(container) == dump(theirs), texts
        sound += 1
    assert min(sound, refused) >= 20


def test_a_key_is_taken_away_and_stays_away() -> None:
    made = composed("~study.horizon", "~parameters.response.hazard_ratio")
    assert "horizon" not in made.container["study"]
    assert "hazard_ratio" not in made.container["parameters"]["response"]
    assert "hazard_ratio" in composed().container["parameters"]["response"]
    with pytest.raises(ConfigError, match=r"did you mean '~study\.replicates'"):
        composed("~study.replicate")
    with pytest.raises(ConfigError, match="is not there"):
        composed("~study.nothing.x")


def test_a_primary_file_of_ones_own_is_what_a_run_begins_with(own: Library) -> None:
    assert own.own is not None
    (own.own / "large.yaml").write_text(
        "defaults:\n  - simulate\n  - _self_\n  - override /cohort: mine\n  - override /study: pj203_mmc\n"
        "seed: 7\nstudy: {replicates: 11}\n",
        "utf-8",
    )
    library = open_library(own.own / "large.yaml")
    made = composed(library=library)
    assert made.choices[COHORT] == "mine"
    assert (made.container["seed"], made.container["study"]["replicates"]) == (7, 11)
    assert composed("cohort=ilp", "seed=3", library=library).container["seed"] == 3
    with pytest.raises(ConfigError, match="did you mean 'large'"):
        open_library(own.own / "larg.yaml")


def test_every_shipped_file_reads_as_omegaconf_reads_it() -> None:
    for path in sorted(shipped_folder().rglob("*.yaml")):
        theirs = OmegaConf.to_container(OmegaConf.load(path))
        assert read(path, label=path.name, trusted=True).content == theirs, path.name


def test_a_cohort_names_its_five_other_groups_and_each_can_be_exchanged() -> None:
    before = composed("cohort=pj203_mmc")
    assert set(before.choices) == {COHORT, *NAMED_BY_COHORT}
    after = composed("cohort=pj203_mmc", "study=ilp")
    assert after.container["study"] == composed("cohort=ilp").container["study"]
    assert {**after.container, "study": None} == {**before.container, "study": None}


def test_an_override_replaces_a_parameter_and_its_provenance() -> None:
    before = composed().container["parameters"]["response"]["probability"]
    after = composed("parameters.response.probability.colorectal=0.5").container["parameters"]["response"]
    assert isinstance(before["colorectal"], dict)
    assert after["probability"] == {**before, "colorectal": 0.5}


def test_start_changes_nothing() -> None:
    assert composed("parameters=start") == composed()


def test_keys_that_no_file_has_are_listed() -> None:
    assert composed("seed=1", "study.new=3", "parameters.a.b=1").new == ("study.new", "parameters.a.b")


def test_an_item_of_a_list_can_be_set_and_only_one_that_is_there() -> None:
    before = composed().container["study"]["assessed"]
    after = composed("study.assessed.0=dead").container["study"]["assessed"]
    assert after == ["dead", *before[1:]]
    with pytest.raises(ConfigError, match="its items are"):
        composed("study.assessed.9=dead")


def test_a_users_cohort_uses_its_own_and_shipped_parts(own: Library) -> None:
    made = composed("cohort=mine", library=own)
    assert made.choices == {COHORT: "mine", "evidence": "pj203_mmc", "model": MODEL, "course": "mine",
                            "study": "ilp", "parameters": "mine"}  # fmt: skip
    assert made.container["course"] == {"interval": "3 wk"}
    assert composed("cohort=mine", "course=ilp", library=own).choices["course"] == "ilp"


def test_a_users_file_may_build_on_a_shipped_one(own: Library) -> None:
    shipped = composed().container
    made = composed("cohort=built", library=own).container
    assert made["cohort"] == {
        **shipped["cohort"],
        "n_patients": 500,
        "mix": {**shipped["cohort"]["mix"], "stomach": 100},
    }
    assert made["course"] == {"interval": "3 wk"}
    assert made["parameters"] == shipped["parameters"]
    probability = composed("cohort=mine", library=own).container["parameters"]["response"]["probability"]
    assert probability["stomach"] == {"value": 0.5, "note": "set in parameters/mine.yaml"}
    start = composed("parameters=pj203_mmc").container["parameters"]["response"]["probability"]
    assert probability["other"] == start["other"]


def test_a_group_that_no_list_names_is_asked_for(own: Library) -> None:
    assert own.own is not None
    path = own.own / "cohort" / "mine.yaml"
    path.write_text(path.read_text("utf-8").replace("/study: ilp, ", ""), "utf-8")
    with pytest.raises(ConfigError, match="must name study"):
        composed("cohort=mine", library=own)
    with pytest.raises(ConfigError, match="names no study"):
        composed("cohort=mine", "study=ilp", library=Library(own=own.own, own_label="own"))


def test_the_shipped_folder_is_found_in_a_wheel_and_in_a_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "simulator"
    (package / "configuration").mkdir(parents=True)
    monkeypatch.setattr(library, "__file__", str(package / "configuration" / "library.py"))
    assert shipped_folder() == tmp_path.resolve() / "configs"
    (package / "configs").mkdir()
    assert shipped_folder() == package.resolve() / "configs"


def test_a_dumped_configuration_reads_back_as_it_was(tmp_path: Path) -> None:
    texts = [
        "010",
        "NO",
        "12:30",
        "1e3",
        ".nan",
        "0,5",
        "14 mo",
        "null",
        "true",
        "",
        " a ",
        "a: b",
        "é",
        "−5",
        "3",
        "'",
    ]
    awkward = {"texts": texts, **{f"k{i}": text for i, text in enumerate(texts)}, "n": None, "x": 1e-5, "y": True}
    for container in (awkward, *(composed(f"cohort={cohort}").container for cohort in COHORTS)):
        path = tmp_path / "x.yaml"
        path.write_text(dump(container), "utf-8")
        assert read(path, label="x").content == container
        assert OmegaConf.to_container(OmegaConf.load(path)) == container


def test_composing_needs_and_changes_nothing_global(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Singleton, "_instances", dict(Singleton._instances))
    GlobalHydra.instance().clear()
    before = dict(Singleton._instances)
    composed("seed=3")
    assert not GlobalHydra.instance().is_initialized()
    assert before == Singleton._instances


@pytest.mark.parametrize("base", ["1.2", "1.3"])
def test_a_hosts_version_base_is_left_alone(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Singleton, "_instances", dict(Singleton._instances))
    version.setbase(base)
    before = version.getbase()
    composed("seed=3")
    assert version.getbase() is before


def test_a_hosts_config_store_and_global_hydra_do_not_leak_in(long_form: Path) -> None:
    plain = composed().container
    store = ConfigStore.instance()
    saved = dict(store.repo)
    try:
        store.store(name="simulate", node={"seed": 1, "foreign": True})
        store.store(group=COHORT, name="foreign", node={"n_patients": 1})
        with hydra.initialize_config_dir(str(long_form), version_base="1.3"):
            found = GlobalHydra.instance().hydra
            assert composed().container == plain
            assert GlobalHydra.instance().hydra is found
        assert "foreign" not in Library().options(COHORT)
    finally:
        store.repo = saved


def test_many_threads_compose_what_one_does() -> None:
    texts = [(f"cohort={cohort}", f"seed={seed}") for seed in range(5) for cohort in COHORTS]
    with ThreadPoolExecutor(8) as pool:
        threaded = list(pool.map(lambda one: composed(*one), texts))
    assert threaded == [composed(*one) for one in texts]
