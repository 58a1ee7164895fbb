"""Figures of a run: what stands in the tree, on axes with units, on any axes."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import simulator
from simulator.errors import ConfigError
from simulator.views import figures
from simulator.views.figures.calibrated import calibrated_rows
from simulator.views.figures.occurrences import event_rows
from simulator.views.figures.treatment import term_rows

DRAWN = [
    figures.survival, figures.targets, figures.cumulative_incidence, figures.states, figures.time_to_event,
    figures.administrations, figures.adverse_events, figures.histories, figures.calibrated,
]  # fmt: skip
DRAWS = ("parameters=posterior", "parameters.draws=3")
UNITS = ("(days)", "(%)", "Number of")


@cache
def tree_of(*overrides: str) -> xr.DataTree:
    return simulator.simulate([*overrides, "study.replicates=40"])


def pj203() -> xr.DataTree:
    return tree_of("cohort=pj203_mmc")


def blank():
    figure = Figure()
    FigureCanvasAgg(figure)
    return figure.add_subplot()


@pytest.mark.parametrize("draw", DRAWN, ids=lambda draw: draw.__name__)
def test_every_figure_goes_on_given_axes_or_on_its_own_with_units(draw):
    ax = blank()
    assert draw(pj203(), ax) is ax.figure
    assert any(unit in ax.get_xlabel() for unit in UNITS)
    assert ax.get_ylabel() or ax.get_yticklabels()
    own = draw(pj203())
    assert own is not ax.figure
    own.canvas.draw()


@pytest.mark.parametrize("draw", DRAWN, ids=lambda draw: draw.__name__)
@pytest.mark.parametrize(
    "overrides",
    [
        ("cohort=ilp",),
        ("cohort=il2_hai_adjuvant",),
        ("cohort=il2_hai_unresectable", *DRAWS),
        ("cohort=ilp", "course.max_administrations=0"),
    ],
    ids=" ".join,
)
def test_a_tree_that_lacks_something_is_drawn_and_says_so(draw, overrides):
    figure = draw(tree_of(*overrides))
    figure.canvas.draw()
    if draw is figures.histories and "parameters=posterior" in overrides:
        assert "no histories are kept" in figure.axes[0].texts[0].get_text()
    if draw is figures.adverse_events:
        assert "no adverse events" in figure.axes[0].texts[0].get_text()
    if draw is figures.administrations and "course.max_administrations=0" in overrides:
        assert "nothing is administered" in figure.axes[0].texts[0].get_text()


def test_curves_are_those_of_the_tree():
    statistics = pj203()["statistics"].to_dataset()
    ax = blank()
    figures.cumulative_incidence(pj203(), ax, events=["progression"], groups=["stomach", "other"])
    for line, group in zip(ax.lines, ["stomach", "other"], strict=True):
        expected = statistics["cumulative_incidence"].sel(event="progression", group=group)
        np.testing.assert_array_equal(line.get_ydata(), expected)
        np.testing.assert_array_equal(line.get_xdata(), statistics["time"])
    ax = blank()
    figures.administrations(pj203(), ax, groups=["all"])
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), statistics["administrations"].sel(group="all"))


@pytest.mark.parametrize(
    "overrides",
    [("cohort=pj203_mmc",), ("cohort=il2_hai_unresectable",), ("cohort=il2_hai_unresectable", *DRAWS)],
    ids=" ".join,
)
def test_the_legend_of_survival_is_whole_and_names_what_is_hatched(overrides):
    figure = figures.survival(tree_of(*overrides))
    figure.canvas.draw()
    (legend,) = figure.legends
    said = "beyond the last time that a target informs" if "pj203" in overrides[0] else "rests on assumption alone"
    assert said in [text.get_text() for text in legend.get_texts()]
    place = legend.get_window_extent()
    assert place.x0 >= 0
    assert place.x1 <= figure.bbox.width


def test_states_fill_the_whole():
    ax = blank()
    figures.states(pj203(), ax, group="stomach")
    statistics = pj203()["statistics"].to_dataset()
    bands = ax.collections[: statistics.sizes["state"]]
    tops = [band.get_paths()[0].vertices[:, 1].max() for band in bands]
    occupied = statistics["state_occupancy"].sel(group="stomach").cumsum("state").max("time")
    np.testing.assert_allclose(tops, occupied, atol=1e-12)
    assert tops[-1] == pytest.approx(1)


def test_adverse_events_stand_beside_what_was_reported():
    ax = blank()
    figures.adverse_events(pj203(), ax)
    rows, targets = term_rows(pj203()), pj203()["targets"].to_dataset()
    incidence = pj203()["statistics"]["ae_incidence"].sel(group="all")
    assert [group for _, group in rows] == ["all"] * len(rows)
    for bar, (term, _) in zip(ax.patches, rows, strict=True):
        assert bar.get_width() == incidence.sel(term=term)
    diamonds = {int(line.get_ydata()[0]): line.get_xdata()[0] for line in ax.lines if line.get_marker() == "D"}
    variables = [str(value) for value in targets["variable"].values]
    expected = {
        y: targets["reported"].values[variables.index(f"adverse_event.{term}")] for y, (term, _) in enumerate(rows)
    }
    assert diamonds == expected  # D13 to D21: every term was reported


def test_times_to_events_show_quantiles_and_the_reported_median():
    ax = blank()
    figures.time_to_event(pj203(), ax)
    assert event_rows(pj203())[:2] == [("response", "all"), ("response", "colorectal")]
    diamonds = [(line.get_xdata()[0], line.get_ydata()[0]) for line in ax.lines if line.get_marker() == "D"]
    assert diamonds == [(42.0, pytest.approx(-0.17))]  # D24
    record = json.loads(pj203().attrs["evidence"])
    [entry] = [entry for entry in record["entries"] if entry["id"] == "D24"]
    entry["statistic"]["where"] |= {"never": "relapse"}  # of others than those in whom it happened
    others, ax_of_others = pj203().copy(), blank()
    others.attrs = {**pj203().attrs, "evidence": json.dumps(record)}
    figures.time_to_event(others, ax_of_others)
    assert not [line for line in ax_of_others.lines if line.get_marker() == "D"]
    seen = pj203()["statistics"]["time_to_event_observed"].sel(event="response", group="all").values
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), [seen[0], seen[-1]])


def test_histories_are_those_of_the_first_patients():
    ax = blank()
    figures.histories(pj203(), ax, n=6)
    node, codes = pj203()["statistics"].to_dataset(), {}
    names = node["history_code"].attrs["flag_meanings"].split()
    first = int(node["history_row_size"].values[:6].sum())
    for time, code in zip(node["history_time"].values[:first], node["history_code"].values[:first], strict=True):
        codes.setdefault(names[code], []).append(time)
    drawn = {line.get_label(): sorted(line.get_xdata()) for line in ax.lines}
    assert drawn["Death"] == sorted(codes["death"])
    assert drawn["Administration"] == sorted(codes["administration"])
    assert len(ax.get_yticklabels()) == 6
    ends = [patch.get_x() + patch.get_width() for patch in ax.patches]
    assert all(np.isclose(ends, time, rtol=1e-12).any() for time in codes["death"])


def test_calibrated_numbers_stand_on_the_scale_of_their_priors():
    tree = tree_of("cohort=ilp", "parameters.survival.shape.prior=[100 wk, 701 d]")  # a prior in units is drawn too
    declared = json.loads(tree.attrs["parameters"])["declared"]
    rows = {row.path: row for row in calibrated_rows(tree)}
    assert rows["survival.shape"].before == (700, 701)
    ax = blank()
    figures.calibrated(tree, ax)
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels == [path for path, leaf in declared.items() if "prior" in leaf]
    bars = [bar for bar in ax.patches if round(bar.get_height(), 3) == 0.3]
    (low, high), (first, last) = declared["relapse.median"]["interval"], declared["relapse.median"]["prior"]
    bar = bars[labels.index("relapse.median")]
    assert bar.get_x() == pytest.approx(100 * (low - first) / (last - first))
    assert bar.get_x() + bar.get_width() == pytest.approx(100 * (high - first) / (last - first))
    beyond = bars[labels.index("survival.shape")]  # nowhere near such a prior: cut off, four widths away
    assert (beyond.get_x(), beyond.get_width()) == (-400, 0)
    hatched = [bar.get_y() + 0.31 for bar in ax.patches if bar.get_hatch()]
    assert [labels[round(y)] for y in hatched] == [n for n in labels if declared[n]["provenance"] != "calibrated"]
    few = blank()
    figures.calibrated(tree, few, most=2)
    assert [label.get_text() for label in few.get_yticklabels()] == labels[:2]


def test_without_priors_there_is_a_figure_that_says_so():
    figure = figures.calibrated(tree_of("cohort=ilp", "parameters=start"))
    figure.canvas.draw()
    [said] = figure.axes[0].texts
    assert "no number" in said.get_text()
    assert figure.bbox.containsx(said.get_window_extent().x0)
    assert figure.bbox.containsy(said.get_window_extent().y0)


@pytest.mark.parametrize("draw", [figures.survival, figures.targets, figures.states, figures.calibrated])
def test_a_sweep_is_refused_with_the_figures_that_it_has(draw):
    tree = pj203().copy()
    tree.attrs["sweep"] = "{}"
    with pytest.raises(ConfigError, match=r"this is a sweep, whose figures are outcome"):
        draw(tree)


@pytest.mark.parametrize(
    ("draw", "asked", "said"),
    [
        (figures.cumulative_incidence, {"events": ["respons"]}, "did you mean 'response'"),
        (figures.cumulative_incidence, {"groups": ["stomack"]}, "did you mean 'stomach'"),
        (figures.cumulative_incidence, {"events": []}, "at least one event"),
        (figures.states, {"group": "stomack"}, "did you mean 'stomach'"),
        (figures.time_to_event, {"events": ["death.liver"]}, "unknown event"),
        (figures.administrations, {"groups": ["al"]}, "did you mean 'all'"),
    ],
)
def test_what_is_not_there_is_refused_with_the_nearest(draw, asked, said):
    with pytest.raises(ConfigError, match=said):
        draw(pj203(), **asked)
