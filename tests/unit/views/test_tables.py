import concurrent.futures
import hashlib
import sys
from dataclasses import dataclass, field

import numpy as np
import pytest
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from simulator.errors import ConfigError
from simulator.views import figures, tables

STRATA = {"colorectal": (49, 396.0, 1.22), "stomach": (17, 216.0, 1.59), "other": (15, 192.0, 1.41)}
MEDIAN, LANDMARK = "kaplan_meier_median", "kaplan_meier_landmark"
CRC, STO = "colorectal", "stomach"
SHARE, DAY, MONTH, OF_18 = (100, 1), (1, 0), (1 / 30.4375, 0), (18, 0)
# id, name, printed, unit, (scale, decimals), reported, role, estimator, variable, group, time
TARGETS = [
    (
        "D07",
        "objective response",
        "48.1%",
        "%",
        SHARE,
        25 / 52,
        "fitted",
        "proportion",
        "response",
        "all",
        None,
    ),
    ("D25", "median survival", "277 days", "d", DAY, 277.0, "held_out", MEDIAN, "survival", "all", None),
    ("D26", "one-year survival", "35.7%", "%", SHARE, 0.357, "held_out", LANDMARK, "survival", "all", 365.0),
    ("D27", "median, colorectal", "419 days", "d", DAY, 419.0, "fitted", MEDIAN, "survival", CRC, None),
    ("D28", "one-year, colorectal", "51.0%", "%", SHARE, 0.51, "fitted", LANDMARK, "survival", CRC, 365.0),
    ("D29", "median, stomach", "239 days", "d", DAY, 239.0, "fitted", MEDIAN, "survival", STO, None),
    ("D30", "one-year, stomach", "11.8%", "%", SHARE, 0.118, "fitted", LANDMARK, "survival", STO, 365.0),
    ("L09", "median, odd", "14 months", "mo", MONTH, 426.1, "held_out", "naive_median", "survival", "", None),
    ("I09", "alive", "12", "patients", OF_18, 12 / 18, "borrowed", "proportion", "state.free", "all", None),
]


def survival_of(name, time):
    if name == "all":
        n = sum(each[0] for each in STRATA.values())
        return sum(each[0] * survival_of(key, time) for key, each in STRATA.items()) / n
    _, median, shape = STRATA[name]
    return np.exp(-np.log(2) * (time / median) ** shape)


def statistics(groups=("all", *STRATA), horizon=1500.0):
    time = np.arange(0.0, horizon + 1, 7.0)
    size = np.array([81 if name == "all" else STRATA[name][0] for name in groups])
    share = np.stack([survival_of(name, time) for name in groups])
    spread = 1.96 * np.sqrt(share * (1 - share) / size[:, None])
    at_risk = size[:, None] * share * np.clip(1.3 - time / 1200, 0, 1)
    timed = ("group", "time")
    return xr.Dataset(
        {
            "overall_survival": (timed, share),
            "kaplan_meier_lower": (timed, np.clip(share - spread, 0, 1)),
            "kaplan_meier_median": (timed, share),
            "kaplan_meier_upper": (timed, np.clip(share + spread, 0, 1)),
            "number_at_risk": (timed, at_risk),
            "n_patients": ("group", size * 1000),
        },
        coords={"group": np.array(groups, dtype=object), "time": time},
    )


def targets(rows=TARGETS, n=1000, percentiles=None):
    columns = list(zip(*rows, strict=True))
    scale, decimals = zip(*columns[4], strict=True)
    reported = np.array(columns[5])
    rng = np.random.default_rng(3)
    simulated = reported * rng.lognormal(0.05, 0.15, (n, len(rows)))
    lower, median, upper = np.quantile(simulated, [0.025, 0.5, 0.975], axis=0, method="inverted_cdf")
    percentile = (simulated < reported).mean(axis=0) if percentiles is None else np.array(percentiles)

    def text(values):
        return ("target", np.array(values, dtype=object))

    one = np.ones(len(rows))
    return xr.Dataset(
        {
            "reported": ("target", reported),
            "simulated": (("replicate", "target"), simulated),
            "lower": ("target", lower),
            "median": ("target", median),
            "upper": ("target", upper),
            "percentile": ("target", percentile),
            "lower_standard_error": ("target", 0.01 * lower),
            "median_standard_error": ("target", 0.005 * median),
            "upper_standard_error": ("target", 0.01 * upper),
            "percentile_standard_error": ("target", np.sqrt(percentile * (1 - percentile) / n)),
            "miss_probability": ("target", 0.05 * one),
            "n_not_reached": ("target", 0 * one.astype(int)),
            "n_undefined": ("target", 0 * one.astype(int)),
        },
        coords={
            "target": text(columns[0]),
            "name": text(columns[1]),
            "printed": text(columns[2]),
            "unit": text(columns[3]),
            "scale": ("target", np.array(scale, dtype=float)),
            "decimals": ("target", np.array(decimals)),
            "half_width": ("target", 0.5 * 10.0 ** -np.array(decimals) / np.array(scale, dtype=float)),
            "role": text(columns[6]),
            "estimator": text(columns[7]),
            "variable": text(columns[8]),
            "group": text(columns[9]),
            "time": ("target", np.array([np.nan if t is None else t for t in columns[10]])),
            "analysis_set": text(["treated"] * len(rows)),
            "provenance": text(["reported"] * len(rows)),
            "replicate": np.arange(n),
        },
    )


def tree(targets_node=None, **attributes):
    record = {"seed": 7, "n_patients": 81, "parameter_uncertainty": "no parameter uncertainty: point values"}
    root = xr.Dataset(attrs=record | attributes)
    nodes = {
        "/": root,
        "/targets": targets() if targets_node is None else targets_node,
        "/statistics": statistics(),
    }
    return xr.DataTree.from_dict(nodes)


def printed(targets_node=None, width=80, **attributes):
    return tables.plain(tables.targets_table(tree(targets_node, **attributes)), width=width)


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_the_targets_table_fits_its_terminal_and_has_no_control_codes(width):
    shown = printed(width=width)
    assert max(map(len, shown.splitlines())) <= width
    assert "\x1b" not in shown
    assert all(row[0] in shown for row in TARGETS)
    assert shown.count("reported\n") == len(TARGETS)  # provenance, the last column, is never cut


def test_the_table_says_what_it_rests_on():
    shown = " ".join(printed(width=200).split())
    assert "1,000 simulated studies of 81 patients each; seed 7" in shown
    assert "Parameters: no parameter uncertainty: point values" in shown
    assert "standard error of at most 2 points" in shown
    assert "Assumed: response causes survival" in printed(assumed="assumed: response causes survival", width=200)


def test_targets_outside_are_marked_counted_and_named():
    percentiles = [0.5, 0.01, 0.024, 0.025, 0.975, 0.976, 0.3, 0.4, np.nan]
    shown = printed(targets(percentiles=percentiles), width=160)
    assert "expected 0.4 of 8, observed 3 (D25, D26, D29)" in shown
    assert "held out: expected 0.2 of 3, observed 2 (D25, D26)" in shown
    marked = [line.split()[0] for line in shown.splitlines() if " % *" in line]
    assert marked == ["D25", "D26", "D29"]


def test_with_few_studies_nothing_is_called_outside():
    shown = printed(targets(n=20, percentiles=[0.0] * len(TARGETS)))
    assert "fewer than 40 studies: nothing can be called outside" in shown
    assert " *" not in shown


def test_numbers_are_in_the_printed_unit():
    node = targets().assign(median=("target", np.array([0.5, 277.4, 0.35, 419, 0.5, 239, 0.12, 440.0, 12 / 18])))
    shown = {line.split()[0]: line for line in printed(node, width=160).splitlines() if line[:1] in "DLI" and line}
    assert " 50.0 " in shown["D07"]
    assert " 277 " in shown["D25"]
    assert " 14 " in shown["L09"]
    assert " 12 " in shown["I09"]


@pytest.mark.parametrize(
    ("value", "error", "scale", "decimals", "shown"),
    [
        (0.4808, 0.001, 100, 1, "48.1"),
        (0.4808, 0.02, 100, 1, "48"),
        (1234.0, 30.0, 1, 0, "1,230"),
        (286.4, 1.6, 1, 0, "286"),
        (286.4, 16.0, 1, 0, "290"),
        (2.5, 0.0, 1, 0, "3"),
        (0.0, 0.0, 1, 1, "0.0"),
        (12 / 18, 0.0, 18, 0, "12"),
        (435.0, np.inf, 1, 0, "400"),
        (0.0, np.inf, 1, 0, "0"),
        (np.inf, np.nan, 1, 0, "n.r."),
        (-np.inf, np.nan, 1, 0, "−n.r."),
        (np.nan, np.nan, 1, 0, "–"),
    ],
)
def test_no_digit_is_shown_beyond_the_monte_carlo_error(value, error, scale, decimals, shown):
    assert tables.supported(value, error, scale, decimals) == shown


@pytest.mark.parametrize(
    ("percentile", "n", "shown"),
    [(0.0, 1000, "<0.1 %"), (1.0, 1000, ">99.9 %"), (0.634, 1000, "63 %"), (0.5, 10, "50 %")],
)
def test_a_percentile_is_never_surer_than_its_replicates(percentile, n, shown):
    assert tables._percent(percentile, np.sqrt(percentile * (1 - percentile) / n), n) == shown


def test_studies_without_a_value_are_counted():
    node = targets()
    node["n_not_reached"][3], node["n_undefined"][0] = 12, 3
    shown = printed(node, width=160)
    assert "Not reached, ranked highest: D27 in 12 of 1,000 studies" in shown
    assert "Undefined, left out: D07 in 3 of 1,000 studies" in shown
    assert "Not reached" not in printed()


def test_markup_in_a_name_is_shown_and_not_read():
    rows = [(TARGETS[0][0], "[red]x[/red] <script>", *TARGETS[0][2:])]
    assert "[red]x[/red] <script>" in printed(targets(rows), width=200)


@dataclass
class Source:
    file: str = "paper.txt"
    locator: str = "abstract, sentence 3"


@dataclass
class Entry:
    id: str = "D07"
    name: str = "objective response"
    printed: str = "48.1%"
    unit: str = "%"
    numerator: int | None = 25
    denominator: int | None = 52
    population: str = "evaluable"
    kind: str = "statistic"
    estimator_name: str | None = "proportion"
    provenance: str = "reported"
    role: str | None = "held_out"
    source: Source = field(default_factory=Source)


@dataclass
class Check:
    passed: bool = True
    entry: str = "D07"
    what: str = "n/N prints the figure within rounding"
    outcome: str = "25/52 is 48.077, printed 48.1%"


@dataclass
class File:
    checks: list
    name: str = "made_up"
    title: str = "A made-up paper"
    entries: list = field(
        default_factory=lambda: [Entry(), Entry(id="D01", role=None, estimator_name=None, kind="design")]
    )

    def verify(self):
        return self.checks


@pytest.mark.parametrize("width", [80, 160])
def test_the_evidence_table_shows_every_entry_and_check(width):
    shown = tables.plain(tables.evidence_table(File([Check(), Check(passed=False)])), width=width)
    assert max(map(len, shown.splitlines())) <= width
    for text in (
        "D07",
        "D01",
        "48.1%",
        "25/52",
        "held out",
        "design",
        "FAILED",
        "1 of 2 failed",
        "A made-up paper",
    ):
        assert text in shown
    assert "all 1 passed" in tables.plain(tables.evidence_table(File([Check()])))


def test_a_panel_is_drawn_for_each_group_with_its_reported_points():
    figure = figures.survival(tree())
    panels = figure.axes[:4]
    assert [panel.get_title("left") for panel in panels] == [
        "All patients (n = 81)", "Colorectal (n = 49)", "Stomach (n = 17)", "Other (n = 15)",
    ]  # fmt: skip
    points = [
        {(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in panel.lines if line.get_marker() in "Dos"}
        for panel in panels
    ]
    assert points == [
        {(277.0, 0.5), (365.0, 0.357)},
        {(419.0, 0.5), (365.0, 0.51)},
        {(239.0, 0.5), (365.0, 0.118)},
        set(),
    ]
    assert "days" in figure.get_supxlabel()
    assert "survival" in figure.get_supylabel().lower()


def test_notes_of_neighbouring_points_do_not_overlap():
    figure = figures.survival(tree())
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    for panel in figure.axes[:4]:
        boxes = [text.get_window_extent(renderer) for text in panel.texts if "percentile" in text.get_text()]
        assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])


def test_curves_go_on_given_axes_with_units():
    own = Figure()
    FigureCanvasAgg(own)
    ax = own.add_subplot()
    assert figures.survival(tree(), ax, groups=["stomach", "other"]) is own
    assert "(days)" in ax.get_xlabel()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["Stomach", "Other"]


def test_an_unknown_group_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'stomach'"):
        figures.survival(tree(), groups=["stomack"])


def test_every_target_has_its_strip():
    figure = figures.targets(tree(targets(percentiles=[0.5, 0.0, 1.0, 0.2, 0.3, 0.4, 0.6, 0.7, np.nan])))
    (ax,) = figure.axes
    assert [label.get_text().split()[-1] for label in ax.get_yticklabels()] == [row[0] for row in TARGETS]
    assert [text.get_text() for text in ax.texts] == ["not computed"]
    assert "(%)" in ax.get_xlabel()


def test_the_same_picture_has_the_same_bytes_also_from_threads(tmp_path):
    def draw(i):
        path = tmp_path / f"{i}.png"
        figures.save((figures.survival if i % 2 else figures.targets)(tree()), path)
        return hashlib.sha256(path.read_bytes()).hexdigest()

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        drawn = list(pool.map(draw, range(6)))
    assert len({*drawn[::2]}) == len({*drawn[1::2]}) == 1
    assert b"Software" not in (tmp_path / "0.png").read_bytes()
    assert sorted(each.name for each in tmp_path.iterdir()) == [f"{i}.png" for i in range(6)]


def test_a_picture_that_cannot_be_written_is_refused_by_name(tmp_path):
    with pytest.raises(ConfigError, match=r"survival\.png"):
        figures.save(figures.targets(tree()), tmp_path / "nowhere" / "survival.png")


def test_figures_need_no_pyplot():
    assert "simulator.views.figures" in sys.modules
    import subprocess

    code = "import sys, simulator.views.figures; print('matplotlib.pyplot' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
