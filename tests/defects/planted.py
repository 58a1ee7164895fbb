"""The defects: one changed line each, as a hurried edit would leave it, and the tests that stand nearest.

``downstream``: the line stands between an estimator and its reader (pooled errors, stores, contrasts, tables, files).
"""

from __future__ import annotations

from typing import NamedTuple

RUN, SWEEP, DRAWS = (f"tests/independent/test_{name}.py" for name in ("run", "sweep", "draws"))


class Defect(NamedTuple):
    """``old`` stands in ``file`` exactly once; ``new`` takes its place; ``tests`` should notice."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    downstream: bool = True


def upstream(name: str, file: str, old: str, new: str, *tests: str) -> Defect:
    """Return a defect before the estimators, or in them."""
    return Defect(name, file, old, new, tests, downstream=False)


CONTRASTS, TREE = "simulator/sweep/contrasts.py", "simulator/results/tree.py"
CROSSED, RANKS = "simulator/study/crossed.py", "simulator/study/ranks.py"
ESTIMATES, STATISTICS = "simulator/results/estimates.py", "simulator/study/statistics.py"
TABLES, SUMMARY = "simulator/views/tables.py", "simulator/sweep/tree.py"
ESTIMATORS = "simulator/study/estimators.py"

DEFECTS = [
    # contrasts
    Defect("contrast: error divided by all instead of the finite pairs", CONTRASTS,
           "((spread / n) ** 0.5,", '((spread / each.sizes["replicate"]) ** 0.5,', (SWEEP,)),
    Defect("contrast: reference minus scenario", CONTRASTS, "gap = here - there\n", "gap = there - here\n", (SWEEP,)),
    Defect("contrast: ratio the other way round", CONTRASTS,
           "ratio = (mean_here / mean_there).where", "ratio = (mean_there / mean_here).where", (SWEEP,)),
    Defect("contrast: error of a ratio as of a difference", CONTRASTS,
           "of_ratio = (here - ratio * there).std", "of_ratio = (here - there).std", (SWEEP,)),
    Defect("contrast: error of a ratio over all studies", CONTRASTS, "(of_ratio / n**0.5,", "(of_ratio,", (SWEEP,)),
    Defect("contrast: an infinite value of the reference is paired", CONTRASTS,
           "lambda a, b: np.isfinite(a) & np.isfinite(b)", "lambda a, b: np.isfinite(a) & ~np.isnan(b)", (SWEEP,)),
    # stores
    Defect("store: scenarios of a block transposed", "simulator/sweep/layout.py",
           "np.ravel_multi_index([each.ravel() for each in places], self.shape)",
           "np.ravel_multi_index([each.T.ravel() for each in places], self.shape)", (SWEEP,)),
    Defect("summary: the estimate column holds the lower bound", SUMMARY,
           '_QUANTILES = ("median", "lower", "upper", "median_standard_error")',
           '_QUANTILES = ("lower", "lower", "upper", "median_standard_error")', (SWEEP,)),
    Defect("summary: error of another quantile", SUMMARY,
           '_QUANTILES = ("median", "lower", "upper", "median_standard_error")',
           '_QUANTILES = ("median", "lower", "upper", "upper_standard_error")', (SWEEP,)),
    Defect("summary: few digits", SUMMARY, "_ROUNDED = 12", "_ROUNDED = 4", (SWEEP,)),
    # draws of a posterior
    Defect("draws: Monte-Carlo error without the number of draws", CROSSED,
           "math.sqrt(max(a + b - e, e) / (d * r))", "math.sqrt(max(a + b - e, e) / r)", (DRAWS,)),
    Defect("draws: variance of parameters over draws", CROSSED,
           "max((a - e) / r, 0.0)", "max((a - e) / d, 0.0)", (DRAWS,)),
    Defect("draws: study sampling without what is left", CROSSED,
           "study, of_study = (b - e) / d + e,", "study, of_study = (b - e) / d,", (DRAWS,)),
    Defect("draws: ranked against the first reading's number", TREE,
           "[[_reported(entry) for entry in each] for each in of_draws]",
           "[[_reported(entry) for entry in entries] for _ in of_draws]", (DRAWS,)),
    Defect("draws: pooled error without the number of draws", TREE,
           "sd**2 / len(values))", "sd**2)", (DRAWS,)),
    Defect("draws: quantiles over draws from the first ones", TREE,
           "lower, upper = order_statistics(values, CENTRAL)\n        sd",
           "lower, upper = order_statistics(values[:3], CENTRAL)\n        sd", (DRAWS,)),
    Defect("draws: values of another draw", "simulator/configuration/draws.py",
           "{n: [c[i] for i in rows[: 2 * wanted]] for n, c in table.items()}",
           "{n: [c[i] for i in rows[: 2 * wanted][::-1]] for n, c in table.items()}", (DRAWS,)),
    # ranks and quantiles
    Defect("percentile: equal studies count whole", RANKS,
           "(below.sum() + equal.sum() / 2)", "(below.sum() + equal.sum())", (RUN,)),
    Defect("percentile: undefined studies count", RANKS, "/ (studies.size - n_undefined))", "/ studies.size)", (RUN,)),
    Defect("percentile: equal within a whole printed unit", RANKS,
           "<= width + TOLERANCE", "<= 2 * width + TOLERANCE", (RUN,)),
    Defect("percentile: a bound kept from the wrong side", RANKS,
           '(np.maximum if bound == "below" else np.minimum)', '(np.minimum if bound == "below" else np.maximum)',
           (RUN,)),
    Defect("quantile: one order statistic lower", RANKS,
           "np.ceil(level * n).astype(np.int64) - 1, 0", "np.ceil(level * n).astype(np.int64) - 2, 0", (RUN,)),
    Defect("quantile error: the whole distance", TREE, "float((high - low) / 2)", "float(high - low)", (RUN,)),
    Defect("quantile error: the variance of the rank", TREE,
           "reach = int(np.ceil(np.sqrt(n * level * (1 - level))))", "reach = int(np.ceil(n * level * (1 - level)))",
           (RUN,)),
    Defect("percentile error: of a mean of shares", CROSSED,
           "return math.sqrt(share * (1.0 - share) / known.size)\n    found",
           "return math.sqrt(share * (1.0 - share)) / known.size\n    found", (RUN,)),
    # tables and page
    Defect("table: interval from lower to median", TABLES,
           'for end in ("lower", "upper"))\n    outside', 'for end in ("lower", "median"))\n    outside', (RUN,)),
    Defect("table: the lower quantile as median", TABLES,
           'median=supported(target["median"],', 'median=supported(target["lower"],', (RUN,)),
    Defect("table: scale of printed units inverted", TREE, "return 1.0 / entry.scaled(1.0)", "return entry.scaled(1.0)",
           (RUN,)),
    Defect("table: the star only above", TABLES,
           "(percentile < CENTRAL[0] or percentile > CENTRAL[1])", "percentile > CENTRAL[1]", (RUN,)),
    Defect("page: median and interval exchanged", "simulator/views/report/results.py",
           "(link, row.what, *numbers, row.role", "(link, row.what, *numbers[::-1], row.role", (RUN,)),
    # estimates and decisions
    Defect("estimate: error of the mean as of a variance", "simulator/results/decisions.py",
           "spread / math.sqrt(len(values) if len(values) > 1 else known.size)",
           "spread / (len(values) if len(values) > 1 else known.size)", (RUN,)),
    Defect("estimate: mean over studies that are not finite too", ESTIMATES,
           "finite = np.where(np.isfinite(crossed), crossed, np.nan)",
           "finite = np.where(np.isinf(crossed), 0.0, crossed)",
           (RUN,)),
    Defect("decision: upper end against a threshold from above", "simulator/study/decisions.py",
           "(ends[..., 0] > above)", "(ends[..., 1] > above)", (RUN,)),
    Defect("decision: width of half the interval", "simulator/results/decisions.py",
           "width = crossed[..., 1] - crossed[..., 0]", "width = (crossed[..., 1] - crossed[..., 0]) / 2", (RUN,)),
    # pooled statistics
    Defect("statistics: at risk per patient instead of per study", STATISTICS,
           "mean = risk.at_risk / totals.n_replicates", "mean = risk.at_risk / (totals.n_replicates - 1)", (RUN,)),
    Defect("statistics: strata and arms exchanged in groups", "simulator/study/scope.py",
           "rows += [cell // n_strata == arm", "rows += [cell % len(model.arms) == arm", (RUN,)),
    Defect("statistics: nobody starts in the first state", STATISTICS,
           "changes[:, scope.model.initial_state, 0] += counts.patients", "changes[:, 0, 0] += 0", (RUN,)),
    # calibration's summaries
    Defect("contraction from standard deviations", "calibration/samplers/summary.py",
           "contraction = 1.0 - variance / before if", "contraction = 1.0 - math.sqrt(variance / before) if",
           ("tests/independent/test_calibration.py",)),
    Defect("calibration: interval of 90 %", "calibration/samplers/summary.py",
           "LEVELS = (0.025, 0.5, 0.975)", "LEVELS = (0.05, 0.5, 0.95)",
           ("tests/independent/test_calibration.py",)),
    # before the estimators
    upstream("arm: odds ratio inverted", "simulator/solving/interventions.py",
             "ratio * p / (1.0 - p + ratio * p))", "p / (ratio - ratio * p + p))",
             "tests/statistical/test_one_change.py", "tests/unit/solving/test_mediation.py"),
    upstream("follow-up: the data cut counted from entry", "simulator/study/observe.py",
             "np.maximum(design.data_cut[row] - entry[who], 0.0)", "np.maximum(design.data_cut[row], 0.0)",
             "tests/statistical/test_follow_up.py", "tests/unit/study/test_observe.py"),
    upstream("visit: allowed at entry", "simulator/study/observed_times.py",
             "while visit < time or n_visits == 0:", "while visit < time:",
             "tests/unit/study/test_observe.py", "tests/properties/test_study_walks.py"),
    upstream("subgroup: the living for the dead", ESTIMATORS,
             '_index("status", where.status, ("alive", "dead"))',
             '_index("status", where.status, ("dead", "alive"))', RUN),
    upstream("subgroup: ever for never", ESTIMATORS,
             'kept.append(~_seen(data, "never"', 'kept.append(_seen(data, "never"', "tests/unit/study/test_observe.py"),
    upstream("two groups exchanged", ESTIMATORS,
             "Pair(estimator.gather(data, wanted), estimator.gather(data, other))",
             "Pair(estimator.gather(data, other), estimator.gather(data, wanted))", RUN),
    upstream("interval: ends exchanged", ESTIMATORS,
             '"upper": limit.end == "upper"', '"upper": limit.end == "lower"', RUN),
    upstream("share: over all patients of the study", ESTIMATORS,
             "return summaries.proportion(data.column(wanted.variable).event, members(data, wanted))",
             "return summaries.proportion(data.column(wanted.variable).event, data.all_patients)",
             "tests/unit/study/test_observe.py", "tests/unit/results/test_estimates.py"),
    upstream("units: months of 30 days", "simulator/units.py", '"mo": 30.4375', '"mo": 30.0', RUN),
    upstream("evidence: rounding by a whole unit", "simulator/evidence/entries.py",
             "self.scaled(0.5 * 10.0**-decimals)", "self.scaled(10.0**-decimals)", RUN),
    upstream("mix: the other strata keep their shares", "simulator/experiment/groups.py",
             "shares = {n: max(rest, 0.0) * (v / total if", "shares = {n: v * (v / total if",
             "tests/unit/experiment/test_declare.py"),
    upstream("recombined studies: the first patient's status", "simulator/study/recombined.py",
             "return values.reshape(-1).take(place)", "return values.reshape(-1).take(np.maximum(place - 1, 0))",
             "tests/unit/study/test_recombined.py", "tests/unit/calibration/test_simulated.py"),
    # likelihoods and search
    upstream("likelihood: failures for successes", "calibration/likelihoods/terms.py",
             "special.xlogy(k, q) + special.xlog1py(size - k, -q)",
             "special.xlogy(size - k, q) + special.xlog1py(k, -q)",
             "tests/unit/calibration/test_likelihoods.py"),
    upstream("likelihood: outcomes without the rest", "calibration/likelihoods/terms.py",
             "total + special.xlogy(rest, np.maximum(left, 0.0))", "total",
             "tests/unit/calibration/test_likelihoods.py"),
    upstream("evidence: the truncation divides", "calibration/posterior/feasible.py",
             "math.log(self.share / self.prior_share)", "math.log(self.prior_share / self.share)",
             "tests/independent/test_calibration.py"),
    upstream("search: weights without the prior", "calibration/samplers/imis.py",
             "log_weight = likelihood + log_prior - log_sum", "log_weight = likelihood - log_sum",
             "tests/unit/calibration/test_imis.py"),
    upstream("pooling: twice the spread between strata", "calibration/priors/parameters.py",
             "{name: middle + between * z[:, 2 + s] for", "{name: middle + 2 * between * z[:, 2 + s] for",
             "tests/unit/calibration/test_parameters.py"),
    upstream("readings: weights of the prior ignored", "calibration/priors/parameters.py",
             "log = np.log(self.weights) + (0.0 if", "log = 0.0 * np.log(self.weights) + (0.0 if",
             "tests/unit/calibration/test_parameters.py", "tests/unit/calibration/test_targets.py"),
]  # fmt: skip
