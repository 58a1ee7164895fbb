"""The page of a sweep: whole, by itself, true to its store, bounded, and deaf to markup; what is missing is said."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import simulator
from simulator.cli.commands import main
from simulator.cli.console import CONTRAST, PAGE
from simulator.errors import ConfigError, IncompleteWarning
from simulator.sweep.contrasts import named_beside, one_way
from simulator.sweep.outcomes import loaded, numbers, outcome_of, outcomes
from simulator.sweep.scenarios import (
    FAILED,
    FINISHED,
    MISSING,
    RECORDS,
    one,
    part,
    reference,
    states,
    swept,
    thinned,
)
from simulator.views import report
from simulator.views.arrangement import arranged
from tests.pages import Node, pictures, read

SWEEPS = {
    "one key": ["cohort=pj203_mmc", "course.interval=14,21,42", "study.replicates=20"],
    "two keys": [
        "cohort=il2_hai_adjuvant",
        "parameters.recurrence.probability=0.2,0.36,0.5",
        "study.horizon='6 y','10 y'",
        "study.replicates=30",
        "output.estimates={two: {estimator: kaplan_meier_landmark, variable: survival, time: 24 mo}}",
        "output.decisions={go: {target: I11, above: 0.3, method: exact}}",
        "output.contrast={probability: 0.36}",
    ],
    "three keys": [
        "cohort=pj203_mmc",
        "course.interval=range(10,18)",
        "study.assessment_interval=range(7,15)",
        "parameters.survival.family=weibull,log_normal",
        "study.replicates=4",
    ],
    "sampled": [
        "cohort=il2_hai_adjuvant",
        "parameters.recurrence.probability=interval(0.2,0.5)",
        "course.interval=interval(7,30)",
        "study.horizon='6 y','10 y'",
        "sweep.samples=8",
        "study.replicates=10",
    ],
    "cohorts": ["cohort=ilp,il2_hai_adjuvant", "study.replicates=5"],
    "draws": ["cohort=il2_hai_unresectable", "parameters=posterior", "parameters.draws=4", "study.replicates=5"],
}
FILLED = ("overall_survival", "median", "lower", "upper", "rmst", "cumulative_incidence", "administrations_mean")
EVIL = "</svg></style><script>alert(1)</script><img src=x onerror=alert(2)>&amp; $\\frac{x$ $y$ \x01"
DOCUMENTED = ["1 Objectives", "2 Logic", "3 Data", "4 Experimentation", "5 Implementation", "6 Code access"]
every_sweep = pytest.mark.parametrize("name", SWEEPS)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for name, words in SWEEPS.items():
        made[name] = tmp_path_factory.mktemp("sweep") / name.replace(" ", "_")
        assert main(["--multirun", *words, f"hydra.sweep.dir={made[name]}"]) == 0
    return made


@pytest.fixture(scope="module")
def trees(folders: dict[str, Path]) -> dict[str, xr.DataTree]:
    return {name: simulator.open_results(folder) for name, folder in folders.items()}


def page_in(folder: Path) -> str:
    return (folder / PAGE).read_text("utf-8")


def section(page: str, id_: str) -> Node:
    [found] = read(page).all("section", id=id_)
    return found


def rows(node: Node) -> list[list[str]]:
    return [[cell.text for cell in row.all("td")] for body in node.all("tbody") for row in body.all("tr")]


def titles(node: Node) -> list[str]:
    return [title.text for svg in node.all("svg") for title in svg.all("title")]


@every_sweep
def test_a_sweep_ends_with_a_page_that_is_made_again_from_the_store_alone(name, folders, tmp_path, capsys):
    first = (folders[name] / PAGE).read_bytes()
    copy = tmp_path / "copy"
    shutil.copytree(folders[name], copy)
    for path in (copy, copy / "sweep.zarr"):
        (copy / PAGE).unlink()
        assert main(["report", str(path)]) == 0
        assert capsys.readouterr().out == f"{copy / PAGE}\n"
        assert (copy / PAGE).read_bytes() == first
    assert len(first) < 3_000_000


@every_sweep
def test_a_page_needs_nothing_but_itself_and_every_reference_has_its_one_target(name, folders):
    page = page_in(folders[name])
    elements = list(read(page).all())
    assert not {"script", "link", "img", "image", "iframe", "object", "form"} & {node.tag for node in elements}
    for node in elements:
        for attribute, value in node.attributes.items():
            assert not attribute.startswith("on")
            if attribute == "src" or attribute.endswith("href"):
                assert value.startswith("#"), value
    ids = [node.attributes["id"] for node in elements if "id" in node.attributes]
    assert len(ids) == len(set(ids))
    referred = re.findall(r'href="#([^"]+)"', page) + re.findall(r"url\(#([^)]+)\)", page)
    assert set(referred) <= set(ids)


@every_sweep
def test_every_picture_says_what_it_shows_and_has_units(name, folders):
    found = pictures(page_in(folders[name]))
    assert len(found) >= 4
    for picture in found:
        [title] = picture.findall("title")
        assert len(title.text or "") > 20
        assert picture.findall(".//text")
        assert not any("nan" in path.get("d", "").lower() for path in picture.iter("path"))
    texts = [text.text for picture in found for text in picture.findall(".//text")]
    if name == "one key":
        assert "interval (d)" in texts
        assert any("(%)" in str(text) for text in texts)


@every_sweep
def test_what_was_swept_stands_first_and_the_model_is_documented(name, folders, trees):
    page = page_in(folders[name])
    tops = [heading.text for heading in read(page).all("h2") if heading.text != "Contents"]
    assert tops == ["Results", *DOCUMENTED]
    shown = {row[0]: row for row in rows(section(page, "swept"))}
    for each in swept(trees[name]):
        assert shown[each.key][1:3] == [each.name, str(len(each.labels))]
    first = section(page, "aims").text
    words = trees[name]["scenarios"]["overrides"].values.flat[0]
    assert shlex.join(words.split("\n")) in first
    assert rows(section(page, "parameters"))
    assert "rests" in section(page, "assumptions").text.lower() or "assum" in section(page, "assumptions").text.lower()


def test_one_key_is_drawn_as_lines_against_what_was_reported(folders, trees):
    page = page_in(folders["one key"])
    assert arranged(trees["one key"]).shape == "lines"
    moved = titles(section(page, "targets"))
    assert moved
    assert all(title.endswith("over interval, simulated scenarios.") for title in moved)
    still = section(page, "main").text
    assert "Administrations per patient" in still
    assert not [*read(page).all("section", id="tornado")]  # one key alone has none
    # What does not move is named with its number and not drawn.
    messages = [item.text for details in section(page, "targets").all("details") for item in details.all("li")]
    drawn = {title.split(" ")[0] for title in moved}
    assert messages
    assert not {item.split(" ")[0] for item in messages} & drawn


def test_two_keys_have_lines_contrasts_a_tornado_estimates_and_decisions(folders, trees):
    page, tree = page_in(folders["two keys"]), trees["two keys"]
    assert "Estimates without a reported value" in [heading.text for heading in read(page).all("h3")]
    assert "Probability of decision go" in section(page, "decisions").text
    assert "lower 95 % bound (exact) of I11 above 0.3" in section(page, "decisions").text
    compared = section(page, "contrasts")
    assert "probability 0.36 (as output.contrast names it)" in compared.text
    opened = {next(details.all("summary")).text: details for details in compared.all("details")}
    of_estimate = opened["two"]
    made = simulator.contrast(tree, {"probability": 0.36})["estimates"].to_dataset().isel(estimate=0)
    found = {(row[0], row[1]): row for row in rows(of_estimate)}
    assert len(found) == 4  # two of three probabilities, two horizons
    for (probability, horizon), row in found.items():
        one_row = made.sel(probability=float(probability), horizon=horizon)
        gap, error = (one_row[name].item() for name in ("difference", "difference_standard_error"))
        assert float(row[2]) == pytest.approx(gap, abs=2 * error)
        low, high = map(float, row[3].split(" to "))
        assert low <= gap <= high
        assert high - low == pytest.approx(2 * 1.96 * error, rel=0.6)  # as many digits as the error supports
        assert float(row[5]) == pytest.approx(one_row["variance_reduction"].item(), rel=0.5)  # one digit
        assert row[6] == "30"
    assert titles(section(page, "tornado"))


def test_a_tornado_is_the_slices_through_the_reference(trees):
    tree = trees["two keys"]
    slices = one_way(tree, {"probability": 0.2})
    assert [each.name for each, _ in slices] == ["probability", "horizon"]
    [_, made], [_, other] = slices
    values = tree["targets"]["simulated"].sel(target="I11")
    first = reference(tree)["horizon"]
    for label in (0.36, 0.5):
        gap = (values.sel(probability=label, horizon=first) - values.sel(probability=0.2, horizon=first)).mean().item()
        assert made["targets"]["difference"].sel(target="I11", probability=label).item() == pytest.approx(gap)
    assert other["targets"]["difference"].sel(target="I11", horizon=first).item() == 0


def test_three_keys_have_heat_maps_that_are_opened_by_the_third(folders, trees):
    page, tree = page_in(folders["three keys"]), trees["three keys"]
    usual = arranged(tree)
    assert (usual.shape, usual.facets) == ("cells", "family")
    opened = [details.attributes.get("open") for details in section(page, "main").all("details")]
    assert opened == ["open", None]
    assert "Alive at day" in section(page, "main").text  # survival does not move within a facet: a number, no map
    assert not [title for title in titles(section(page, "main")) if title.startswith("Alive")]
    assert len(titles(section(page, "survival"))) == 2  # only the family moves it
    assert len(titles(section(page, "tornado"))) > 1


def test_a_sampled_design_is_a_scatter_over_each_drawn_value(folders, trees):
    page = page_in(folders["sampled"])
    found = titles(section(page, "main"))
    assert {title.split(" over ")[1] for title in found} == {
        f"{x}, by horizon, simulated scenarios." for x in ("probability", "interval")
    }
    [picture] = [p for p in pictures(page) if p.findall("title")[0].text == found[0]]
    assert len(picture.findall(".//use")) >= 16  # a sign for each scenario
    assert "Drawn together" in section(page, "swept").text
    assert "probability 0." in section(page, "survival").text  # a scenario is named by what was drawn
    assert "its points" in section(page, "access").text


def test_cohorts_are_not_contrasted_unasked_and_draws_have_no_reference(folders):
    for name in ("cohorts", "draws"):
        said = section(page_in(folders[name]), "contrasts").text
        assert "no natural reference" in said
        assert not rows(section(page_in(folders[name]), "contrasts"))


def test_the_command_on_the_page_gives_the_same_sweep(folders, tmp_path, capsys):
    for name in ("one key", "two keys"):
        [command, *_] = [block.text for block in section(page_in(folders[name]), "access").all("pre")]
        python, option, module, *words = shlex.split(command)
        assert (python, option, module) == ("python", "-m", "simulator")
        copy = tmp_path / name
        shutil.copytree(folders[name], copy)
        assert main([*words, f"hydra.sweep.dir={copy}"]) == 0
        assert "0 computed" in capsys.readouterr().err
        assert (copy / PAGE).read_bytes() == (folders[name] / PAGE).read_bytes()


def killed(folder: Path, to: Path, *, n: int) -> Path:
    """A copy of a store whose last n blocks were never committed."""
    shutil.copytree(folder, to)
    for path in sorted((to / "manifest").glob("block-*.json"))[-n:]:
        path.unlink()
    (to / "manifest/finished.json").unlink()
    (to / PAGE).unlink()
    return to


def test_what_is_missing_or_failed_is_said_and_the_rest_is_drawn(folders, tmp_path):
    folder = killed(folders["two keys"], tmp_path / "killed", n=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert main(["report", str(folder)]) == 0
    page = page_in(folder)
    assert "4 of 6 scenarios are finished; 2 are not done yet" in section(page, "swept").text
    listed = {row[0]: row for row in rows(section(page, "swept")) if row[0].isdecimal()}
    assert set(listed) == {"4", "5"}
    assert "parameters.recurrence.probability=0.5" in listed["5"][1]
    assert "4 of 6 scenarios are finished, " in next(read(page).all("header")).text
    assert titles(section(page, "survival"))
    with pytest.warns(IncompleteWarning):
        tree = simulator.open_results(folder)
    tree.attrs["failed"] = json.dumps({"0": "SimulationError: <b>no</b> solution"})
    found = states(tree)
    assert [int((found == state).sum()) for state in (FINISHED, MISSING, FAILED)] == [3, 2, 1]
    said = section(report.page(tree), "swept")
    assert "3 of 6 scenarios are finished; 1 failed; 2 are not done yet" in said.text
    [failed] = [row for row in rows(said) if row[0] == "0"]
    assert failed[2] == "SimulationError: <b>no</b> solution"


def test_a_store_of_which_nothing_is_finished_has_a_page(folders, tmp_path):
    folder = tmp_path / "begun"
    shutil.copytree(folders["one key"], folder)
    for path in (folder / "manifest").glob("*.json"):
        if path.name.startswith("block-") or path.name == "finished.json":
            path.unlink()
    for chunks in (folder / "sweep.zarr").glob("*/*/c"):
        if chunks.parent.name in FILLED:
            shutil.rmtree(chunks)
    assert main(["report", str(folder)]) == 0
    assert "0 of 3 scenarios are finished; 3 are not done yet" in section(page_in(folder), "swept").text
    assert "No scenario is finished." in section(page_in(folder), "survival").text


def test_an_older_store_without_records_still_has_a_page(trees):
    tree = trees["one key"].copy()
    tree.attrs = {key: value for key, value in trees["one key"].attrs.items() if key != RECORDS}
    page = report.page(tree)
    assert "no record of a finished scenario" in section(page, "aims").text
    assert not [*read(page).all("section", id="logic")]
    assert titles(section(page, "survival"))


def evil_tree(tree: xr.DataTree) -> xr.DataTree:
    """A sweep all of whose names and labels are hostile."""
    nodes = {}
    for node in tree.subtree:
        dataset = node.to_dataset(inherit=False)
        for key, each in list(dataset.variables.items()):
            if each.dtype == object and key not in ("variable", "estimator", "analysis_set"):
                texts = np.array([f"{v}{EVIL}" if v else v for v in each.values.ravel()], dtype=object)
                dataset[key] = (each.dims, texts.reshape(each.shape), each.attrs)
        nodes[node.path] = dataset
    made = xr.DataTree.from_dict(nodes)
    kept = ("sweep", "configurations", RECORDS, "failed")
    made.attrs = {key: value + EVIL if isinstance(value, str) and key not in kept else value
                  for key, value in tree.attrs.items()}  # fmt: skip
    described = json.loads(tree.attrs["sweep"])
    for axis in described["axes"]:
        axis["keys"] = [key + EVIL for key in axis["keys"]]
        axis["points"] = [[text + EVIL for text in point] for point in axis["points"]]
    made.attrs["sweep"] = json.dumps(described)
    made.attrs["failed"] = json.dumps({"0": f"error {EVIL}"})
    return made


@pytest.mark.parametrize("name", ["three keys", "sampled", "cohorts", "two keys"])
def test_hostile_names_show_as_text(name, folders, trees):
    made = report.page(evil_tree(trees[name]))
    page, plain = read(made), read(page_in(folders[name]))
    assert {node.tag for node in page.all()} <= {node.tag for node in plain.all()} | {"li", "details", "summary"}
    assert "<script" not in made.lower()
    assert "<img" not in made.lower()
    assert "\x01" not in made
    [title] = page.all("h1")
    assert "<script>alert(1)</script>" in title.text
    assert pictures(made)


def test_a_page_of_a_grid_of_a_thousand_scenarios_is_bounded(trees):
    """A store blown up by repetition: its figures grow no more than the bounds allow."""
    small = trees["three keys"]
    repeat = {"interval": 5, "assessment_interval": 4}
    nodes = {}
    for node in small.subtree:
        dataset = node.to_dataset(inherit=False).drop_dims("replicate", errors="ignore")
        for dim, times in repeat.items():
            if dim in dataset.dims:
                dataset = dataset.isel({dim: np.tile(np.arange(dataset.sizes[dim]), times)})
                if dim in dataset.coords:
                    dataset = dataset.assign_coords({dim: (dim, np.arange(dataset.sizes[dim]), dataset[dim].attrs)})
        nodes[node.path] = dataset
    targets = nodes["/targets"]
    pairs = np.broadcast_to(targets["median"].values[..., None], (*targets["median"].shape, 2))
    nodes["/targets"] = targets.assign(simulated=((*targets["median"].dims, "replicate"), pairs))
    large = xr.DataTree.from_dict(nodes)
    large.attrs = dict(small.attrs)
    assert states(large).size == 40 * 32 * 2
    page = report.page(large)
    assert len(page.encode()) < 3_000_000
    assert "16 of 40 labels" in section(page, "swept").text
    assert "96 of 2,560 scenarios are contrasted here" in section(page, "contrasts").text


def test_numbers_are_those_of_the_store(trees):
    tree = trees["two keys"]
    cut = loaded(tree)
    for id_, node, variable, at, scale in (
        ("I11", "targets", "median", {"target": "I11"}, None),
        ("rmst", "statistics", "rmst", {"group": "all"}, 1.0),
        ("estimate.two", "estimates", "mean", {"estimate": "two"}, 1.0),
        ("decision.go", "decisions", "decision_probability", {"decision": "go"}, 100.0),
    ):
        dataset = tree[node].to_dataset()
        factor = float(dataset["scale"].sel(at)) if scale is None else scale
        expected = dataset[variable].sel(at).values * factor
        for source in (tree, cut):
            found = numbers(source, outcome_of(source, id_))["value"]
            assert found.dims == ("probability", "horizon")
            np.testing.assert_array_equal(found.values, expected)
    year = outcome_of(tree, "survival_1y")
    time = tree["statistics"]["time"].values
    day = time[year.at["time"]]
    assert 365.25 - np.diff(time).max() < day <= 365.25
    assert f"day {day:g}" in year.name
    for years in (1, 2, 5):  # a time that all scenarios have, though their horizons end elsewhere
        messages = outcome_of(trees["cohorts"], f"survival_{years}y")
        assert np.isfinite(numbers(trees["cohorts"], messages)["value"].values).all()
    assert outcome_of(trees["cohorts"], "rmst").name == "Mean time lived until the horizon"
    assert len({each.id for each in outcomes(tree)}) == len(outcomes(tree))


def test_the_reference_is_the_value_of_the_files_where_it_is_swept(trees):
    first = {"probability": 0.2, "horizon": 3652.5}  # of probabilities none is the file's 0.3604, so the first
    assert reference(trees["two keys"]) == first
    assert trees["two keys"]["horizon"].values.tolist() == [2191.5, 3652.5]
    assert reference(trees["two keys"], {"probability": 0.5})["probability"] == 0.5
    assert reference(trees["three keys"]) == {"interval": 10, "assessment_interval": 7, "family": "weibull"}
    with pytest.raises(ConfigError, match=r"at.probability = 0.4: must be one of 0.2, 0.36, 0.5"):
        reference(trees["two keys"], {"probability": 0.4})
    with pytest.raises(ConfigError, match="did you mean 'probability'"):
        reference(trees["two keys"], {"probabilty": 0.36})


def test_a_part_keeps_the_reference_and_one_scenario_is_as_a_single_run(trees):
    assert thinned(10, 4) == [0, 3, 6, 9]
    assert thinned(10, 4, keep=4) == [0, 4, 6, 9]
    assert thinned(3, 5) == [0, 1, 2]
    cut = part(trees["three keys"], {"family": "weibull"}, most={"interval": 3}, keep={"interval": 12})
    assert 12 in swept(cut)[0].labels
    assert len(swept(cut)[0].labels) == 3
    tree = trees["cohorts"]
    made = one(tree, {"cohort": "il2_hai_adjuvant"})
    alone = simulator.simulate(["cohort=il2_hai_adjuvant", "study.replicates=5"])
    assert list(made["targets"]["target"].values) == list(alone["targets"]["target"].values)
    assert list(made["statistics"]["group"].values) == list(alone["statistics"]["group"].values)
    np.testing.assert_array_equal(
        made["statistics"]["overall_survival"].values, alone["statistics"]["overall_survival"].values
    )
    for name in ("config", "evidence", "parameters"):
        assert json.loads(made.attrs[name]) == json.loads(alone.attrs[name])


@pytest.mark.parametrize(
    ("draw", "said"),
    [
        (lambda f, t: f.outcome(t, of="I99"), "did you mean"),
        (lambda f, t: f.outcome(t, of="rmst", x="probabilty"), "did you mean 'probability'"),
        (lambda f, t: f.outcome(t, of="rmst", at={"horizon": "7 y"}), "at.horizon"),
        (lambda f, t: f.heat_map(t, of="rmst", by=""), "second swept dimension"),
        (lambda f, t: f.contrasts(t, of="I11", against={}), "one label of a swept dimension"),
    ],
)
def test_figures_refuse_what_is_not_there(draw, said, trees):
    with pytest.raises(ConfigError, match=said):
        draw(simulator.figures, trees["two keys"])


def test_figures_of_a_sweep_refuse_a_run_and_draw_on_given_axes(trees):
    run = simulator.simulate(["cohort=ilp", "study.replicates=2"])
    with pytest.raises(ConfigError, match="must be those of a sweep"):
        simulator.figures.outcome(run, of="rmst")
    figure = simulator.figures.new_figure(4, 3)
    ax = figure.add_subplot()
    assert simulator.figures.outcome(trees["two keys"], ax, of="I11", at={"horizon": "6 y"}) is figure
    [line] = [each for each in ax.lines if each.get_label() == "simulated"]
    expected = trees["two keys"]["targets"]["median"].sel(target="I11", horizon=2191.5)
    np.testing.assert_allclose(line.get_xdata(), [0.2, 0.36, 0.5])
    scale = float(trees["two keys"]["targets"]["scale"].sel(target="I11"))
    np.testing.assert_allclose(line.get_ydata(), expected.values * scale)
    assert ax.get_xlabel() == "probability"


def test_a_sweep_without_a_page_and_a_contrast_that_is_damaged(tmp_path):
    folder = tmp_path / "none"
    words = ["cohort=ilp", "course.interval=14,21", "study.replicates=2", "output.report=false"]
    assert main(["--multirun", *words, f"hydra.sweep.dir={folder}"]) == 0
    assert not (folder / PAGE).exists()
    assert named_beside(folder / CONTRAST) == {}
    (folder / CONTRAST).write_text("no results")
    with pytest.raises(ConfigError, match=r"contrast\.nc: must be results of Lobule"):
        named_beside(folder / CONTRAST)


def test_what_a_killed_writer_of_a_page_left_behind_is_no_obstacle(folders, tmp_path, capsys):
    folder = tmp_path / "killed"
    shutil.copytree(folders["one key"], folder)
    (folder / PAGE).unlink()
    (folder / f".{PAGE}.0123456789ab.tmp").write_text("<!DOCTYPE")
    assert main(["--multirun", *SWEEPS["one key"], f"hydra.sweep.dir={folder}"]) == 0
    assert "0 computed" in capsys.readouterr().err
    assert (folder / PAGE).read_bytes() == (folders["one key"] / PAGE).read_bytes()
    assert not [*folder.glob(".*.tmp")]


def test_a_tree_that_is_no_whole_sweep_is_refused(trees):
    tree = trees["one key"]
    bare = xr.DataTree.from_dict({path: node for path, node in tree.to_dict().items() if "scenarios" not in path})
    bare.attrs = dict(tree.attrs)
    with pytest.raises(ConfigError, match="results = there: must be those of a sweep: no overrides of scenarios"):
        report.page(bare, source="there")


def test_a_cohort_of_which_nothing_was_reported_has_a_page(tmp_path):
    configs = str(Path(__file__).parents[2] / "benchmarks" / "configs")
    words = ["cohort=w1", "cohort.n_patients=50", "study.replicates=1", "parameters.response.hazard_ratio=0.5,0.6"]
    assert main(["--config-dir", configs, "--multirun", *words, f"hydra.sweep.dir={tmp_path / 'w1'}"]) == 0
    page = page_in(tmp_path / "w1")
    assert "Mean time lived" in section(page, "main").text
