"""The page of a run: whole, by itself, true to its tree, and deaf to markup in configurations."""

from __future__ import annotations

import json
import re
import shlex
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import simulator
from simulator.cli.commands import main
from simulator.cli.console import PAGE, RESULTS
from simulator.errors import ConfigError
from simulator.results.assumptions import ASSUMPTION, EVIDENCE, Basis, Grounds, grounds_of
from simulator.results.store import save
from simulator.views import report, tables
from simulator.views.figures.style import statistics_of
from tests.pages import pictures, read

OWN = Path(__file__).resolve().parents[2] / "packaging" / "cohorts"
SCENARIOS = {
    "pj203_mmc": ["cohort=pj203_mmc"],
    "ilp": ["cohort=ilp"],
    "il2_hai_unresectable": ["cohort=il2_hai_unresectable"],
    "il2_hai_adjuvant": ["cohort=il2_hai_adjuvant"],
    "draws": ["cohort=il2_hai_unresectable", "parameters=posterior", "parameters.draws=5"],
    "before calibration": ["cohort=il2_hai_adjuvant", "parameters=start"],
    "emerald": ["cohort=emerald"],
    "harbour": ["cohort=harbour"],
}
FOLDERS = {"emerald": OWN / "two_arm_trial", "harbour": OWN / "registry"}
HEADINGS = [
    "Results", "Reported and simulated", "Survival", "Response, progression and causes of death",
    "Time to response and other events", "Administrations", "Adverse events", "Single patients",
    "Three kinds of spread",
    "1 Objectives", "1.1 Purpose of the model", "1.2 Model outputs", "1.3 Aims of experimentation",
    "2 Logic", "2.1 Base model", "2.2 Base model logic and algorithms", "2.3 Components",
    "3 Data", "3.1 Data sources and evidence", "3.2 Input parameters", "3.3 Calibration", "3.4 Assumptions",
    "4 Experimentation", "4.1 Initialisation", "4.2 Run length", "4.3 Estimation approach",
    "5 Implementation", "5.1 Software", "5.2 Random sampling", "5.3 Model execution", "6 Code access",
]  # fmt: skip
EVIL = "</svg></style><script>alert(1)</script><img src=x onerror=alert(2)>&amp; $\\frac{x$ $y$ \u202e \x01\ud7ff"
every_scenario = pytest.mark.parametrize("name", SCENARIOS)


@cache
def tree_of(name: str) -> xr.DataTree:
    return simulator.simulate([*SCENARIOS[name], "study.replicates=40"], config_dir=FOLDERS.get(name))


@cache
def page_of(name: str) -> str:
    return report.page(tree_of(name))


def section(page: str, id_: str):
    [found] = read(page).all("section", id=id_)
    return found


def rows(node) -> list[list[str]]:
    return [[cell.text for cell in row.all("td")] for body in node.all("tbody") for row in body.all("tr")]


def with_record(tree: xr.DataTree, **attributes: str) -> xr.DataTree:
    made = tree.copy()
    made.attrs = {**tree.attrs, **attributes}
    return made


@every_scenario
def test_every_section_stands_in_the_order_of_stress_des(name):
    page = read(page_of(name))
    found = [heading.text for heading in page.all("h2", "h3") if heading.text != "Contents"]
    classes = {leaf["provenance"] for leaf in json.loads(tree_of(name).attrs["parameters"])["declared"].values()}
    expected = [heading for heading in HEADINGS if heading != "3.3 Calibration" or "calibrated" in classes]
    assert found == expected
    [contents] = page.all("nav")
    assert [link.text for link in contents.all("a")] == expected
    [title] = page.all("h1")
    assert title.text == tree_of(name).attrs["title"]


@every_scenario
def test_a_page_needs_nothing_but_itself(name):
    page = read(page_of(name))
    elements = list(page.all())
    assert not {"script", "link", "img", "iframe", "object", "embed", "base", "form"} & {node.tag for node in elements}
    for node in elements:
        for attribute, value in node.attributes.items():
            assert not attribute.startswith("on")
            if attribute == "src" or attribute.endswith("href"):
                assert value.startswith("#"), value
            assert re.findall(r"url\((?!#)", value) == []
    [style] = page.all("style")
    assert "url(" not in style.text
    assert "@import" not in style.text
    [policy] = page.all("meta", **{"http-equiv": "Content-Security-Policy"})
    assert "default-src 'none'" in policy.attributes["content"]


@every_scenario
def test_every_reference_has_its_one_target(name):
    ids = [node.attributes["id"] for node in read(page_of(name)).all() if "id" in node.attributes]
    assert len(ids) == len(set(ids))
    referred = re.findall(r'href="#([^"]+)"', page_of(name)) + re.findall(r"url\(#([^)]+)\)", page_of(name))
    referred += re.findall(r'aria-labelledby="([^"]+)"', page_of(name))
    assert referred
    assert set(referred) <= set(ids)


@every_scenario
def test_every_picture_is_well_formed_and_says_what_it_shows(name):
    found = pictures(page_of(name))
    statistics = statistics_of(tree_of(name))
    assert len(found) >= statistics.sizes["group"] + statistics.sizes["event"] + 2
    for picture in found:
        [title] = picture.findall("title")
        assert len(title.text) > 20
        assert picture.get("role") == "img"
        assert picture.findall(".//text")  # text is text, not outlines
        assert not any("nan" in path.get("d", "").lower() for path in picture.iter("path"))
        assert not picture.findall(".//image")
    axes = [[text.text for text in picture.findall(".//text")] for picture in found]
    timed = [texts for texts in axes if any("Time since entry" in text for text in texts)]
    assert all("Time since entry (days)" in texts for texts in timed)
    assert len(timed) >= statistics.sizes["group"]


@every_scenario
def test_numbers_are_those_of_the_tree(name):
    shown = rows(section(page_of(name), "targets"))
    expected = tables.target_rows(tree_of(name))
    assert [(row[0], row[3], row[4], row[7]) for row in shown] == [
        (each.id, each.median, each.interval, each.provenance) for each in expected
    ]
    record = json.loads(tree_of(name).attrs["evidence"])
    evidence = rows(section(page_of(name), "sources"))
    assert [(row[0], row[2], row[4]) for row in evidence] == [
        (entry["id"], entry["printed"], entry["provenance"]) for entry in record["entries"]
    ]
    declared = json.loads(tree_of(name).attrs["parameters"])["declared"]
    parameters = {row[0]: row[2] for row in rows(section(page_of(name), "parameters")) if len(row) == 5}
    assert parameters == {path: leaf["provenance"] for path, leaf in declared.items()}
    calibrated = [path for path, leaf in declared.items() if leaf["provenance"] == "calibrated"]
    if calibrated:
        shown = [row[0] for row in rows(section(page_of(name), "calibration"))]
        kept = [path for path, leaf in declared.items() if "prior" in leaf and path not in calibrated]
        assert shown == calibrated + kept
    assumed = section(page_of(name), "assumptions").text
    assert all(path in assumed for path, leaf in declared.items() if leaf["provenance"] in ASSUMPTION)


def minus(number: float) -> str:
    return f"{number:.2f}".replace("-", "−")


def test_calibration_shows_prior_and_posterior_and_what_nothing_informs():
    declared = json.loads(tree_of("ilp").attrs["parameters"])["declared"]
    messages = section(page_of("ilp"), "calibration")
    shown = {row[0]: row for row in rows(messages)}
    for path in ("survival.median", "response.hazard_ratio"):
        leaf = declared[path]
        (lower, upper), (first, last) = leaf["interval"], leaf["prior"]
        expected = [f"{first:g} to {last:g}", f"{lower:g} to {upper:g}", minus(leaf["contraction"])]
        assert shown[path][2:5] == expected
    assert first < declared["response.hazard_ratio"]["value"] < last
    assert shown["survival.median"][5].startswith(declared["survival.median"]["source"])
    assert shown["response.hazard_ratio"][5] == "borrowed"
    assert "targets inform them hardly or not at all" in messages.text
    assert "of the posterior is infeasible and left out" in messages.text
    assert hatched(page_of("ilp"), "calibrated")  # they are told apart in the picture too


def test_a_value_that_is_set_by_hand_is_no_longer_calibrated():
    for key in ("survival.median", "survival.median.value"):
        tree = simulator.simulate(["cohort=ilp", f"parameters.{key}=700 d", "study.replicates=2"])
        leaf = json.loads(tree.attrs["parameters"])["declared"]["survival.median"]
        assert leaf == {"value": "700 d", "provenance": "assumed", "note": "set by the user", "source": ""}
        assert "survival.median" not in {row[0] for row in rows(section(report.page(tree), "calibration"))}
    hand = [f"parameters.{key}=700 d" for key in ("survival.median.value", "survival.median.source")]
    tree = simulator.simulate(
        ["cohort=ilp", *hand, "parameters.survival.median.provenance=derived", "study.replicates=2"]
    )
    assert json.loads(tree.attrs["parameters"])["declared"]["survival.median"]["provenance"] == "derived"


def test_what_keeps_its_prior_is_shown_even_where_nothing_is_calibrated():
    chosen = ["cohort=il2_hai_unresectable", "parameters.response.probability=0.75", "study.replicates=2"]
    page = report.page(simulator.simulate(chosen))
    messages = section(page, "calibration")
    assert messages.text.startswith("3.3 Calibration0 of ")
    assert "response.hazard_ratio" in {row[0] for row in rows(messages)}


def test_of_many_calibrated_numbers_some_are_drawn_and_all_are_listed():
    tree = tree_of("ilp")
    record = json.loads(tree.attrs["parameters"])
    leaf = record["declared"]["survival.median"]
    record["declared"] |= {f"more.{i}": leaf for i in range(60)}
    page = report.page(with_record(tree, parameters=json.dumps(record)))
    messages = section(page, "calibration")
    known = sum("prior" in each for each in record["declared"].values())
    assert len(rows(messages)) == known
    assert f"{known - 40} more are in the tables" in messages.text


def test_calibration_shows_the_numbers_of_the_reading_that_is_chosen():
    tree = simulator.simulate(["cohort=ilp", "study.reading=naive", "study.replicates=2"])
    other = simulator.simulate(["cohort=ilp", "study.reading=kaplan_meier", "study.replicates=2"])
    shown = [{row[0]: row for row in rows(section(report.page(each), "calibration"))} for each in (tree, other)]
    for each, page in zip((tree, other), shown, strict=True):
        leaf = json.loads(each.attrs["parameters"])["declared"]["survival.median"]
        assert page["survival.median"][1] == leaf["value"]
        assert page["survival.median"][3] == f"{leaf['interval'][0]:g} to {leaf['interval'][1]:g}"
    assert shown[0]["survival.median"] != shown[1]["survival.median"]


def test_a_number_without_its_prior_is_shown_as_it_is():
    chosen = ["cohort=ilp", "parameters.survival.median.prior=null", "parameters.survival.shape.contraction=null"]
    page = report.page(simulator.simulate([*chosen, "study.replicates=2"]))
    shown = {row[0]: row for row in rows(section(page, "calibration"))}
    assert (shown["survival.median"][2], shown["survival.median"][4]) == ("none given", "0.72")
    assert shown["survival.shape"][4] == ""
    [drawn] = [each for each in read(page).all("svg") if each.attributes["aria-labelledby"] == "calibrated-title"]
    assert "survival.median" not in drawn.text
    assert "survival.shape" in drawn.text


def hatched(page: str, slug: str) -> bool:
    """Whether a picture has a hatched area, and its caption says why."""
    [picture] = [each for each in read(page).all("svg") if each.attributes["aria-labelledby"] == f"{slug}-title"]
    return any(True for _ in picture.all("pattern"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pj203_mmc", {"Response": "its time", "Progression": "rests on assumption alone"}),
        ("il2_hai_unresectable", {"Response": "its time", "Progression": "rests on", "Death": "rests on"}),
        ("ilp", {"Response": "its time", "Additional infusion": "rests on"}),
    ],
)
def test_what_rests_on_assumption_is_hatched_and_named(name, expected):
    page = page_of(name)
    captions = [figure.text for figure in section(page, "occurrences").all("figcaption")]
    events = [str(event) for event in tree_of(name)["statistics"]["event"].values]
    for i, caption in enumerate(captions[: len(events)]):
        wanted = expected.get(caption.split(":")[0], "")
        assert ("assumption alone" in caption) == bool(wanted) == hatched(page, f"incidence-{i}"), caption
        assert wanted in caption
    assert "assumption alone" in captions[len(events)]  # states
    assert hatched(page, "states")


def test_survival_is_hatched_where_nothing_speaks_of_it():
    said = section(page_of("pj203_mmc"), "survival").text
    # D26, D28 and D30 are of day 365; D27, 419 days of colorectal cancer, is rounded from up to 419.5.
    after = "day 365 (All patients, Stomach, Other); day 419.5 (Colorectal)"
    assert f"No target informs survival after {after}: what is hatched is extrapolated." in said
    assert hatched(page_of("pj203_mmc"), "survival-0")
    assert "rests on assumption alone" not in said
    assert "Survival rests on assumption alone" in section(page_of("il2_hai_unresectable"), "survival").text
    assert "held against" not in section(page_of("il2_hai_unresectable"), "survival").text
    assert "can be held against" in section(page_of("before calibration"), "survival").text  # I10
    assert "Overall survival rests on assumption alone" in section(page_of("il2_hai_unresectable"), "assumptions").text


def test_provenance_decides_and_no_name():
    tree = tree_of("il2_hai_unresectable")
    record = json.loads(tree.attrs["parameters"])
    for provenance in (*EVIDENCE, *ASSUMPTION):
        record["declared"]["survival.median"]["provenance"] = provenance
        changed = with_record(tree, parameters=json.dumps(record))
        assert grounds_of(changed).survival_is_assumed() == (provenance in ASSUMPTION)
        said = section(report.page(changed), "survival").text
        assert ("rests on assumption alone" in said) == (provenance in ASSUMPTION)


def test_a_model_is_grounded_by_the_numbers_that_say_when():
    declared = {
        "known": {"provenance": "reported"}, "fitted.a": {"provenance": "calibrated"},
        "fitted.b": {"provenance": "assumed"}, "guess": {"provenance": "borrowed"},
    }  # fmt: skip
    events = {
        "seen": {"to": "ill", "hazard": {"family": "exponential", "median": "parameters.guess",
                                         "probability": "parameters.known"}},
        "also": {"to": "ill", "hazard": {"family": "exponential", "median": "parameters.fitted"}},
        "bare": {"to": "gone", "hazard": {"family": "weibull", "scale": "20 d", "shape": {"x": 1, "y": 2}}},
        "killed": {"to": "dead", "cause": "war", "hazard": {"family": "exponential", "rate": "parameters.guess"},
                   "per_administration": {"probability": "parameters.known", "lag": 3}},
        "died": {"to": "dead", "cause": "war", "hazard": {"family": "exponential", "rate": "parameters.guess"}},
    }  # fmt: skip
    states = ("well", "ill", "gone", "dead")
    grounds = Grounds(events, states, "well", ("dead",), by_administration=False, declared=declared)
    bases = grounds.bases()
    assert bases["seen"] == Basis(("borrowed",), ("reported",), ("guess", "known"))
    assert bases["seen"].assumed
    assert not bases["seen"].wholly_assumed
    assert bases["also"].when == ("calibrated", "assumed")
    assert not bases["also"].assumed
    assert bases["bare"] == Basis(("assumed",))
    assert bases["death.war"].wholly_assumed
    assert grounds.deaths() == {"death.war"}
    assert grounds.assumed_states() == {"gone", "dead"}
    assert grounds.survival_is_assumed()
    driven = Grounds(events, states, "well", ("dead",), by_administration=True, declared=declared)
    assert not driven.survival_is_assumed()
    assert not Grounds({}, (), "", (), by_administration=False, declared={}).survival_is_assumed()


def test_estimates_and_decisions_stand_beside_the_targets_where_they_were_asked_for():
    asked = [
        "output.estimates={year: {estimator: kaplan_meier_landmark, variable: survival, time: 12 mo}}",
        "output.decisions={go: {target: I11, above: 0.1, method: exact}}",
    ]
    tree = simulator.simulate(["cohort=il2_hai_adjuvant", "study.replicates=40", *asked])
    page = report.page(tree)
    [estimate] = rows(section(page, "estimates"))
    node = tree["estimates"].to_dataset().isel(estimate=0)
    assert estimate[:2] == ["year", "kaplan_meier_landmark; survival"]
    assert float(estimate[2]) == pytest.approx(node["mean"].item(), abs=node["mean_standard_error"].item())
    [decision] = rows(section(page, "decisions"))
    of_rule = tree["decisions"].to_dataset().isel(decision=0)
    assert decision[:2] == ["go", "lower 95 % bound (exact) of I11 above 0.1"]
    error = of_rule["decision_probability_standard_error"].item()
    assert float(decision[2]) == pytest.approx(of_rule["decision_probability"].item(), abs=error)
    headings = [heading.text for heading in read(page).all("h3")]
    places = [headings.index(name) for name in ("Estimates without a reported value", "Decisions", "Survival")]
    assert places == sorted(places)
    plain = [heading.text for heading in read(page_of("ilp")).all("h3")]
    assert not {"Estimates without a reported value", "Decisions"} & set(plain)


def test_spreads_are_apart_where_there_are_draws():
    shown = rows(section(page_of("draws"), "spreads"))
    assert [tuple(row) for row in shown] == list(tables.spread_rows(tree_of("draws")))
    assert "keeps no histories" in section(page_of("draws"), "patients").text
    assert "no parameter uncertainty" in section(page_of("ilp"), "spreads").text
    assert not rows(section(page_of("ilp"), "spreads"))


def evil(value):
    """The same value with markup, mathematics and control characters behind every text."""
    if isinstance(value, dict):
        return {key: evil(item) for key, item in value.items()}
    if isinstance(value, list):
        return [evil(item) for item in value]
    return value + EVIL if isinstance(value, str) else value


def evil_tree(name: str) -> xr.DataTree:
    """A tree all of whose texts, in the record and in coordinates, are hostile."""
    tree = tree_of(name)
    nodes = {"/": xr.Dataset(attrs=dict(tree.attrs))}
    for attribute, value in tree.attrs.items():
        if attribute in ("config", "evidence", "parameters"):
            nodes["/"].attrs[attribute] = json.dumps(evil(json.loads(value)))
        elif isinstance(value, str):
            nodes["/"].attrs[attribute] = value + EVIL
    kept = {"variable", "estimator", "analysis_set"}
    for child, node in tree.children.items():
        dataset = node.to_dataset()
        texts = [key for key, each in dataset.variables.items() if each.dtype == object and key not in kept]
        for key in texts:
            each = dataset[key]
            renamed = np.array([f"{value}{EVIL}" if value else value for value in each.values], dtype=object)
            dataset = dataset.assign_coords({key: (each.dims, renamed, each.attrs)})
        nodes[f"/{child}"] = dataset
    return xr.DataTree.from_dict(nodes)


@pytest.mark.parametrize("name", ["pj203_mmc", "draws", "emerald"])
def test_hostile_text_shows_as_text_everywhere(name):
    made = report.page(evil_tree(name))
    page, plain = read(made), read(page_of(name))
    assert {node.tag for node in page.all()} <= {node.tag for node in plain.all()}
    assert {key for node in page.all() for key in node.attributes} <= {
        key for node in plain.all() for key in node.attributes
    }
    assert "<script" not in made.lower()
    assert "<img" not in made.lower()
    [title] = page.all("h1")
    assert "<script>alert(1)</script>" in title.text
    assert not {"\x01", "\u202e"} & set(made)
    texts = [text.text or "" for picture in pictures(made) for text in picture.findall(".//text")]
    assert any("<script>alert(1)</script>" in text and "$\\frac{x$ $y$" in text for text in texts)


def test_a_hostile_cohort_of_ones_own_is_shown_as_text(tmp_path, capsys):
    folder = tmp_path / "own"
    for path in (OWN / "two_arm_trial").rglob("*.yaml"):
        text = path.read_text("utf-8")
        if path.parent.name == "cohort":
            text = text.replace("title: EMERALD, a", "title: <script>alert(1)</script> a")
        if path.parent.name == "evidence":
            text = text.replace("name: response, standard", "name: <img src=x onerror=alert(2)> $x$ $", 1)
        target = folder / path.relative_to(OWN / "two_arm_trial")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8")
    run = tmp_path / "run"
    arguments = ["--config-dir", str(folder), "cohort=emerald", "study.replicates=3", f"hydra.run.dir={run}"]
    assert main(arguments) == 0, capsys.readouterr().err
    page = (run / PAGE).read_text("utf-8")
    [title] = read(page).all("h1")
    assert title.text.startswith("<script>alert(1)</script> a")
    assert not [*read(page).all("script", "img")]
    drawn = [text.text or "" for picture in pictures(page) for text in picture.findall(".//text")]
    assert any("<img src=x onerror=alert(2)> $x$ $" in text for text in drawn)


def test_a_run_ends_with_its_page_and_the_page_is_made_again_from_results(tmp_path, capsys):
    run = tmp_path / "run"
    assert main(["cohort=ilp", "study.replicates=5", f"hydra.run.dir={run}"]) == 0
    first = (run / PAGE).read_bytes()
    assert PAGE in capsys.readouterr().out
    for path in (run, run / RESULTS):
        (run / PAGE).unlink()
        assert main(["report", str(path)]) == 0
        assert capsys.readouterr().out == f"{run / PAGE}\n"
        assert (run / PAGE).read_bytes() == first
    assert report.page(simulator.rerun(run)).encode() == first


def test_the_command_on_the_page_runs_the_same_again():
    tree = tree_of("ilp")
    [*_, command] = [block.text for block in section(page_of("ilp"), "access").all("pre")]
    python, option, module, *overrides = shlex.split(command)
    assert (python, option, module) == ("python", "-m", "simulator")
    again = simulator.simulate(overrides)
    xr.testing.assert_identical(again["targets"].to_dataset(), tree["targets"].to_dataset())


def test_no_page_where_none_is_wanted(tmp_path):
    run = tmp_path / "run"
    assert main(["cohort=ilp", "study.replicates=2", "output.report=false", f"hydra.run.dir={run}"]) == 0
    assert (run / RESULTS).exists()
    assert not (run / PAGE).exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["report"], "report: takes one path"),
        (["report", "a", "b"], "takes one path"),
        (["report", "nowhere"], "there is nothing at this path"),
        (["report", "."], "must hold a results.nc"),
        (["report", "text.nc"], "must be results of Lobule"),
        (["report", "x", "--config-dir", "y"], "--config-dir = y: says nothing of finished results"),
        (["report", "x", "--cfg", "job"], "--cfg = job"),
        (["report", "--multirun", "x"], "--multirun"),
        (["explain", "report", "x"], "one command at a time"),
    ],
)
def test_a_page_of_nothing_is_refused(arguments, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.nc").write_text("no results")
    assert main(arguments) == 2
    assert said in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["text.nc"]


def test_other_results_are_refused_by_their_path(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    tree = xr.DataTree.from_dict(
        {path: node for path, node in tree_of("ilp").to_dict().items() if "targets" not in path}
    )
    tree.attrs = dict(tree_of("ilp").attrs)
    save(tree, tmp_path / RESULTS)
    assert main(["report", RESULTS]) == 2
    assert f"results = {RESULTS}: must be those of one simulation: no node targets" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [RESULTS]


@pytest.mark.parametrize("lacking", ["targets", "statistics"])
def test_a_tree_that_is_no_run_is_refused_and_the_page_that_was_there_stays(lacking, tmp_path):
    tree = xr.DataTree.from_dict({key: node for key, node in tree_of("ilp").to_dict().items() if lacking not in key})
    tree.attrs = dict(tree_of("ilp").attrs)
    (tmp_path / PAGE).write_text("what was there")
    with pytest.raises(ConfigError, match=f"must be those of one simulation: no node {lacking}"):
        report.write(tree, tmp_path / PAGE)
    with pytest.raises(ConfigError, match="must be those of a sweep: no overrides of scenarios"):
        report.page(with_record(tree_of("ilp"), sweep="{}"))
    bare = tree_of("ilp").copy()
    bare.attrs = {}
    with pytest.raises(ConfigError, match="must carry a run record"):
        report.page(bare)
    assert (tmp_path / PAGE).read_text() == "what was there"
    with pytest.raises(ConfigError, match="report"):
        report.write(tree_of("ilp"), tmp_path / "nowhere" / PAGE)


def test_pages_made_in_threads_are_the_same_to_the_byte():
    names = ["ilp", "draws", "ilp", "draws"]
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda name: report.page(tree_of(name)), names))
    assert made == [page_of(name) for name in names]
