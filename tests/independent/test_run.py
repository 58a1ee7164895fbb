"""Every number of a run, in tree, terminal, page and tables, made again from its patients by `plain`."""

from __future__ import annotations

import contextlib
import html.parser
import io
import math
import re
import warnings
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

import simulator
from simulator.cli.commands import main
from tests.independent import plain, quarry

STUDIES = 60
RULES = {"enough": ("Q6", "above", 0.15), "few": ("Q6", "below", 0.45)}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """The results tree of the command, what it printed, its page, and the patients of its studies."""
    pytest.importorskip("lifelines")
    folder = tmp_path_factory.mktemp("quarry")
    rules = ", ".join(
        f"{name}: {{target: {target}, {side}: {threshold}}}" for name, (target, side, threshold) in RULES.items()
    )
    words = ["cohort=quarry", "seed=5", f"study.replicates={STUDIES}", "output.patients=true",
             "output.contrast={arm: control}", f"output.decisions={{{rules}}}"]  # fmt: skip
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        code = main(["--config-dir", str(quarry.written(folder / "own")), *words, f"hydra.run.dir={folder / 'run'}"])
    assert code == 0, printed.getvalue()
    with simulator.open_results(folder / "run/results.nc") as tree:
        page = (folder / "run/report.html").read_text(encoding="utf-8")
        yield SimpleNamespace(tree=tree, printed=printed.getvalue(), page=page, studies=studies_of(tree))


def studies_of(tree: xr.DataTree) -> list[SimpleNamespace]:
    """What was seen of the patients of each study, as arrays."""
    node = tree["patients"].to_dataset().load()
    arms, strata = (str(node[name].attrs["flag_meanings"]).split() for name in ("arm", "stratum"))
    found = []
    for number in node["replicate"].values:
        each = node.sel(replicate=number)
        x = each["observation"].values
        found.append(
            SimpleNamespace(
                x=x,
                dead=np.isfinite(each["death_seen"].values),
                drug=each["arm"].values == arms.index("drug"),
                stratum=np.array(strata, dtype=object)[each["stratum"].values],
                response=each["response_seen"].values,
                given=each["administrations"].values,
                died_at=each["death_onset"].values,
                onset=each["response_onset"].values,
            )
        )
    return found


def targets_of(one: SimpleNamespace) -> dict[str, float]:
    """What one study reports, by target."""
    x, dead, drug, seen = one.x, one.dead, one.drug, np.isfinite(one.response)
    at, a, b = 12 * 30.4375, one.stratum == "a", one.stratum == "b"
    times = one.response[seen & b]
    gap = plain.landmark(x[drug], dead[drug], at) - plain.landmark(x[~drug], dead[~drug], at)
    return {
        "Q1": plain.median(x, dead),
        "Q2": plain.median(x[drug], dead[drug]),
        "Q3": plain.landmark(x[a], dead[a], at),
        "Q4": plain.landmark(x[b], dead[b], 22 * 30.4375),
        "Q5": float(np.median(x[dead])) if dead.any() else math.nan,
        "Q6": float(seen.mean()),
        "Q7": float(np.median(times)) if times.size else math.nan,
        "Q8": plain.hazard_ratio(x, dead, drug),
        "Q9": plain.log_rank_p(x, dead, drug),
        "Q10": plain.median_limit(x[~drug], dead[~drug], "lower"),
        "Q11": plain.median_limit(x[~drug], dead[~drug], "upper"),
        "Q12": gap,
        "Q13": float(one.given[drug].mean()),
    }


def test_every_study_reports_what_is_found_in_its_patients(run):
    node = run.tree["targets"].to_dataset()
    for number, one in enumerate(run.studies):
        for name, value in targets_of(one).items():
            found = float(node["simulated"].sel(replicate=number, target=name))
            assert found == pytest.approx(value, rel=1e-6, abs=1e-9, nan_ok=True), (number, name)
    some = node["simulated"].values
    assert np.isinf(some).any()
    assert np.isnan(some).any()


def test_what_is_pooled_of_the_targets_is_made_of_the_studies(run):
    node = run.tree["targets"].to_dataset()
    each = [targets_of(one) for one in run.studies]
    for name, (_, value, unit, more) in quarry.PRINTED.items():
        values, row = [one[name] for one in each], node.sel(target=name)
        days = value * 30.4375 if unit == "mo" else value / 100 if unit == "%" else value
        reported = more["numerator"] / more["denominator"] if "numerator" in more else days
        decimals = len(str(quarry.PRINTED[name][0]).partition(".")[2].split(" ")[0].rstrip("%"))
        half = 0.5 * 10.0**-decimals * (30.4375 if unit == "mo" else 0.01 if unit == "%" else 1.0)
        half = 0.5 / more["denominator"] if "numerator" in more else 0.0 if "bound" in more else half
        expected = {
            "reported": reported,
            "half_width": half,
            "median": plain.quantile(values, 0.5),
            "lower": plain.quantile(values, 0.025),
            "upper": plain.quantile(values, 0.975),
            "median_standard_error": plain.quantile_error(values, 0.5),
            "lower_standard_error": plain.quantile_error(values, 0.025),
            "upper_standard_error": plain.quantile_error(values, 0.975),
            "percentile": (p := plain.percentile(values, reported, half, more.get("bound"))),
            "percentile_standard_error": math.sqrt(p * (1 - p) / sum(not math.isnan(v) for v in values)),
            "n_not_reached": sum(map(math.isinf, values)),
            "n_undefined": sum(map(math.isnan, values)),
        }
        known = [v for v in values if not math.isnan(v)]
        own = [plain.percentile(known, min(v, days) if more.get("bound") == "above" else v, half, more.get("bound"))
               for v in known]  # fmt: skip
        if "bound" not in more:
            expected["miss_probability"] = sum(not 0.025 <= p <= 0.975 for p in own) / len(own)
        for what, number in expected.items():
            assert float(row[what]) == pytest.approx(number, rel=1e-6, abs=1e-9, nan_ok=True), (name, what)


def columns_of(text: str) -> dict[str, dict[str, str]]:
    """Rows of the terminal's table of targets: reported, median, interval and percentile by target."""
    found = {}
    for line in text.splitlines():
        cells = re.split(r" {2,}", line.strip())
        if re.fullmatch(r"Q\d+", cells[0]) and len(cells) >= 6:
            found[cells[0]] = dict(zip(("reported", "median", "interval", "percentile"), cells[2:6], strict=True))
    return found


class Tables(html.parser.HTMLParser):
    """Rows of cells of every table of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.open = False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")
            self.open = True

    def handle_endtag(self, tag):
        self.open = self.open and tag not in ("td", "th")

    def handle_data(self, data):
        if self.open:
            self.rows[-1][-1] += data


def zeros(text: str) -> int:
    """Zeros at the end of a whole number: figures that its error does not support are rounded away."""
    digits = text.strip().rstrip("%*").strip().lstrip("-−")
    return len(digits) - len(digits.rstrip("0")) if digits.isdecimal() and digits != "0" else 0


def shows(text: str, value: float, beside: str = "") -> bool:
    """Whether a printed figure is this value, rounded to the figures that are shown, or are ``beside`` it."""
    text = text.strip().rstrip("%*").strip()
    if math.isinf(value) or text == "n.r.":
        return math.isinf(value) and text == "n.r."
    half = 0.5 * 10.0 ** -len(text.partition(".")[2])
    return abs(float(text.replace("−", "-")) - value) <= half * 10.0 ** max(zeros(text), zeros(beside)) + 1e-9


@pytest.mark.parametrize("where", ["terminal", "page"])
def test_the_shown_rows_of_the_targets_round_what_the_studies_say(run, where):
    each = [targets_of(one) for one in run.studies]
    if where == "terminal":
        shown = columns_of(run.printed)
    else:
        rows = [row for row in Tables(run.page).rows if row and re.fullmatch(r"Q\d+", row[0].strip())]
        shown = {row[0].strip(): dict(zip(("reported", "median", "interval", "percentile"), row[2:6], strict=True))
                 for row in rows if len(row) == 8}  # fmt: skip
    assert shown.keys() >= {"Q3", "Q5", "Q6", "Q8", "Q12"}
    node = run.tree["targets"].to_dataset()
    for name, cells in shown.items():
        scale = {"mo": 1 / 30.4375, "%": 100.0, "patients": 40.0}.get(quarry.PRINTED[name][2], 1.0)
        values = [one[name] for one in each]
        assert shows(cells["median"], plain.quantile(values, 0.5) * scale), (name, cells)
        low, high = re.split("–(?=[^–]*$)", cells["interval"].strip())
        assert shows(low, plain.quantile(values, 0.025) * scale, high), (name, cells)
        assert shows(high, plain.quantile(values, 0.975) * scale, low), (name, cells)
        reported, half = (float(node[what].sel(target=name)) for what in ("reported", "half_width"))
        percentile = 100 * plain.percentile(values, reported, half, quarry.PRINTED[name][3].get("bound"))
        said = cells["percentile"].strip().removesuffix("*").rstrip("% ")
        within = (
            percentile < float(said[1:]) if said[0] == "<" else percentile > float(said[1:]) if said[0] == ">" else None
        )
        assert shows(said, percentile) if within is None else within, (name, cells)
        assert ("*" in cells["percentile"]) == (not 2.5 <= percentile <= 97.5), (name, cells)


def test_contrasts_of_arms_are_made_of_the_studies(run):
    """One horizon for all studies: the restricted mean is recomputed at the horizon that the estimate names."""
    node = run.tree["estimates"].to_dataset()
    seen = {"log_rank_p": "Q9", "hazard_ratio": "Q8"}
    found = {str(node["estimator"].sel(estimate=name).item()): name for name in node["estimate"].values}
    for estimator, target in seen.items():
        values = [targets_of(one)[target] for one in run.studies]
        check_estimate(node.sel(estimate=found[estimator]), values)
    ratios = []
    for one in run.studies:
        here, there = (plain.median(one.x[arm], one.dead[arm]) for arm in (one.drug, ~one.drug))
        both = math.isinf(here) and math.isinf(there)
        ratios.append(math.nan if both else -math.inf if math.isinf(there) else here / there)
    check_estimate(node.sel(estimate=found["ratio of kaplan_meier_median"]), ratios)
    seen_in = [(np.isfinite(one.response), one.drug) for one in run.studies]
    shares = [float(seen[drug].mean() - seen[~drug].mean()) for seen, drug in seen_in]
    check_estimate(node.sel(estimate=found["difference of proportion"]), shares)


def check_estimate(row: xr.Dataset, values: list[float]) -> None:
    assert row["simulated"].values == pytest.approx(np.array(values), rel=1e-6, abs=1e-9, nan_ok=True)
    finite = [v for v in values if math.isfinite(v)]
    mean = sum(finite) / len(finite)
    spread = math.sqrt(sum((v - mean) ** 2 for v in finite) / (len(finite) - 1))
    expected = {
        "mean": mean,
        "study_sd": spread,
        "mean_standard_error": spread / math.sqrt(len(finite)),
        "median": plain.quantile(values, 0.5),
        "lower": plain.quantile(values, 0.025),
        "upper": plain.quantile(values, 0.975),
        "n_finite": len(finite),
        "n_not_reached": sum(map(math.isinf, values)),
        "n_undefined": sum(map(math.isnan, values)),
    }
    for what, number in expected.items():
        assert float(row[what]) == pytest.approx(number, rel=1e-6, abs=1e-9), (str(row["estimator"].item()), what)


def test_decisions_are_made_of_wilson_intervals_of_each_study(run):
    node = run.tree["decisions"].to_dataset()
    for name, (_, side, threshold) in RULES.items():
        ends = [plain.wilson(int(np.isfinite(one.response).sum()), one.x.size) for one in run.studies]
        p = sum(low > threshold if side == "above" else high < threshold for low, high in ends) / STUDIES
        row = node.sel(decision=name)
        assert float(row["decision_probability"]) == pytest.approx(p, abs=1e-12)
        assert float(row["decision_probability_standard_error"]) == pytest.approx(math.sqrt(p * (1 - p) / STUDIES))
        assert float(row["interval_width"]) == pytest.approx(sum(high - low for low, high in ends) / STUDIES)
        assert 0.0 < p < 1.0


def group(one: SimpleNamespace, name: str) -> np.ndarray:
    if name in ("control", "drug"):
        return one.drug if name == "drug" else ~one.drug
    return np.ones(one.x.size, dtype=bool) if name == "all" else one.stratum == name


def test_pooled_statistics_are_shares_and_means_of_all_patients(run):
    node = run.tree["statistics"].to_dataset()
    horizon = 3 * 365.25
    assert set(node["group"].values) == {"all", "a", "b", "c", "control", "drug"}
    for name in map(str, node["group"].values):
        row = node.sel(group=name)
        parts = [group(one, name) for one in run.studies]
        died = np.concatenate([one.died_at[part] for one, part in zip(run.studies, parts, strict=True)])
        onset = np.concatenate([one.onset[part] for one, part in zip(run.studies, parts, strict=True)])
        n = died.size
        assert int(row["n_patients"]) == n
        if name == "c":
            assert n == 0
            for what in ("overall_survival", "state_occupancy", "cumulative_incidence", "rmst"):
                assert np.isnan(row[what].values).all(), what
                assert np.isnan(row[f"{what}_standard_error"].values).all(), what
            continue
        lived = np.where(np.isnan(died), horizon, died)
        assert float(row["rmst"]) == pytest.approx(lived.mean(), rel=1e-8)
        assert float(row["rmst_standard_error"]) == pytest.approx(lived.std() / math.sqrt(n), rel=0.02)
        for t in (0.0, 105.0, 364.0, 728.0):
            alive = float(np.mean(np.isnan(died) | (died > t)))
            at = row.sel(time=t)
            assert float(at["overall_survival"]) == pytest.approx(alive, abs=1e-12)
            error = math.sqrt(alive * (1 - alive) / n)
            assert float(at["overall_survival_standard_error"]) == pytest.approx(error, abs=1e-12)
            assert float(at["state_occupancy"].sel(state="dead")) == pytest.approx(1 - alive, abs=1e-12)
            assert float(at["state_occupancy"].sel(state="alive")) == pytest.approx(alive, abs=1e-12)
            happened = float(np.mean(onset <= t))
            assert float(at["cumulative_incidence"].sel(event="response")) == pytest.approx(happened, abs=1e-12)
            watched = [int((one.x[part] >= t).sum()) for one, part in zip(run.studies, parts, strict=True)]
            assert float(at["number_at_risk"]) == pytest.approx(sum(watched) / STUDIES)
