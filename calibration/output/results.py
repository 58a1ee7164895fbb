"""A fit as one self-describing tree, in the layout of ArviZ.

Groups `posterior`, `prior`,
`sample_stats` and `log_likelihood` have the dimensions (chain, draw) first: one chain of equally weighted draws.
`observed_data` is what was reported, `parameters` and `readings` what was found of each. A study of ranks has `papers`
and `checks`. Every variable has ``long_name`` and ``units``; times are days. ArviZ is needed neither to write nor to
read it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from calibration.diagnostics.blocks import BlockCheck
from calibration.diagnostics.calibrated import Calibrated
from calibration.diagnostics.identifiability import Diagnostics
from calibration.diagnostics.sensitivity import Sensitivity, pressed, sensitivities
from calibration.diagnostics.truncation import Truncated, truncated
from calibration.diagnostics.wider import Wider
from calibration.output.columns import RowValue, Variable, described, interval, variables
from calibration.output.comparison_tree import CONVERGED, comparison_nodes
from calibration.posterior import feasibility
from calibration.posterior.draws import Draws
from calibration.posterior.fit import Fit, ReadingFit
from calibration.prediction.predictive import Predictive
from simulator.configuration.draws import READING
from simulator.results.provenance import record
from simulator.results.tree import STORED, assembled, in_unit, target_coordinates, targets_over_draws
from simulator.running.experiment import engine_of

SAMPLE = ("chain", "draw")
METHOD = "incremental mixture importance sampling (Raftery & Bao 2010)"


def tree_of(found: Calibrated) -> xr.DataTree:
    """Return the tree of a calibration: its record, its draws, what was observed, what was found.

    With what the posterior predicts, ``posterior_predictive`` in ArviZ's layout (chain, draw, target), a draw being
    a simulated study, and ``targets``, the node of a simulation over draws, with percentiles of what was reported.
    """
    fitted = found.fitted
    nodes = {
        "posterior": _numbers(fitted, found.posterior, "posterior"),
        "prior": _numbers(fitted, found.prior, "prior"),
        "observed_data": _observed(fitted),
        "sample_stats": _sample_stats(found.posterior),
        "log_likelihood": _log_likelihood(found.posterior),
        "parameters": _parameters(fitted),
        "readings": _readings(fitted),
    }
    if found.predicted is not None:
        nodes["targets"] = _targets(found.predicted)
        nodes["posterior_predictive"] = _predictive(found.predicted)
    if found.identified is not None:
        nodes["profiles"] = _profiles(fitted, found.identified)
        nodes["left_out"] = _left_out(found.identified)
    nodes |= comparison_nodes(found.compared)
    if found.blocks:
        nodes["blocks"] = blocks_node(found.blocks)
    if found.wider:
        nodes["wider_priors"] = _wider(fitted, found.wider)
    return assembled(nodes, record_of(fitted))


def _profiles(fitted: Fit, found: Diagnostics) -> xr.Dataset:
    names = [one.parameter for one in found.profiles]
    end = "end of the 95 % interval by profile likelihood; infinite: open"
    columns = {
        "unit": RowValue(lambda one: fitted.units.get(one.parameter, "1"), "unit of the values", ""),
        "most_likely": RowValue("best", "value of the greatest likelihood, without the prior", "see unit"),
        "lower": RowValue("lower", end, "see unit"),
        "upper": RowValue("upper", end, "see unit"),
    }
    dataset = described(variables("parameter", found.profiles, columns), parameter=(names, "informed parameter", ""))
    return dataset.assign_attrs(
        collinearity=json.dumps({", ".join(one.parameters): one.index for one in found.collinear}),
        modes=json.dumps([[{"mass": m.mass, "values": dict(m.values)} for m in hills] for hills in found.modes]),
    )


def _left_out(found: Diagnostics) -> xr.Dataset:
    columns = {
        "percentile": RowValue("percentile", "mid-rank of the reported value without the target"),
        "effective_size": RowValue("effective_size", "effective size of the draws without the target"),
        "why": RowValue("why", "why there is no percentile, or how it was found", ""),
    }
    names = [one.target for one in found.left_out]
    return described(variables("target", found.left_out, columns), target=(names, "evidence id", ""))


def blocks_node(found: Sequence[BlockCheck]) -> xr.Dataset:
    """Return the checks of blocks of targets: dimensions ``block``, and ``target`` of what was left out."""
    targets = list(dict.fromkeys(name for one in found for name in one.block.targets))
    error = "its Monte-Carlo standard error"
    columns = {
        "log_density": RowValue("log_density", "log predictive density of the block, given the others"),
        "log_density_standard_error": RowValue(lambda one: one.errors[0], "Monte-Carlo standard error of log_density"),
        "reference_log_density": RowValue("reference", "the same where strata share nothing"),
        "reference_log_density_standard_error": RowValue(lambda one: one.errors[1], error),
        "share_further": RowValue("p", "share of studies at least as far out as what was printed"),
        "share_further_standard_error": RowValue(lambda one: one.errors[2], error),
        "alarm": RowValue("alarm", "whether the others do not predict the block"),
        "why": RowValue("why", "what is missing", ""),
    }
    for k, what in enumerate(("prior", "posterior")):

        def percentiles(one: BlockCheck, k: int = k) -> list[float]:
            return [one.percentiles.get(name, (np.nan, np.nan))[k] for name in targets]

        said = f"mid-rank of the reported value under the {what} without the block"
        columns[f"{what}_percentile"] = RowValue(percentiles, said, across="target")
    names = ([one.block.name for one in found], "targets that are left out together", "")
    return described(variables("block", found, columns), block=names, target=(targets, "evidence id", ""))


def _targets(predicted: Predictive) -> xr.Dataset:
    """Return the reported values beside the simulated ones of draws, as of a simulation over draws; the joint check."""
    draws = range(len(predicted.reading))
    dataset = targets_over_draws(predicted.of_draws, predicted.simulated, draws)
    attrs = {f"joint_p_{each.what.replace(' ', '_')}": each.p for each in predicted.joint}
    attrs |= {f"joint_p_{each.what.replace(' ', '_')}_standard_error": each.p_error for each in predicted.joint}
    return dataset.assign_attrs(attrs)


def _predictive(predicted: Predictive) -> xr.Dataset:
    d, r, t = predicted.simulated.shape
    long_name = "value in a simulated study; +inf not reached, NaN undefined"
    values = predicted.simulated.reshape(1, d * r, t)
    variable = ((*SAMPLE, "target"), values, {"long_name": long_name, **in_unit(STORED)})
    of = ("draw", np.repeat(np.arange(d), r), {"long_name": "draw of the posterior that the study is of", "units": "1"})
    coords = target_coordinates(predicted.entries[0]) | {"posterior_draw": of}
    return _dataset({"reported": variable}, d * r).assign_coords(coords)


def _numbers(fitted: Fit, draws: Draws, what: str) -> xr.Dataset:
    units = fitted.units
    variables = {
        name: _sampled(column, f"{_words(name)}, {what}", units.get(name, "1")) for name, column in draws.values.items()
    }
    for question in fitted.varied:
        names = list(dict.fromkeys(reading.chosen[question] for reading in fitted.readings))
        codes = np.array([names.index(reading.chosen[question]) for reading in fitted.readings], dtype=np.int16)
        flags = {"flag_values": np.arange(len(names), dtype=np.int16), "flag_meanings": " ".join(names)}
        long_name = f"how the text is read: {_words(question)}, {what}"
        variables[READING + question] = _sampled(codes[draws.reading], long_name, "1", **flags)
    return _dataset(variables, draws.size)


def _observed(fitted: Fit) -> xr.Dataset:
    entries = fitted.readings[fitted.default].experiment.selection.targets
    values = np.array([np.nan if e.reported is None else e.reported for e in entries])
    attrs = {"long_name": "reported value", **in_unit(STORED)}
    return xr.Dataset({"reported": ("target", values, attrs)}, coords=target_coordinates(entries))


def _sample_stats(draws: Draws) -> xr.Dataset:
    total = sum(draws.log_likelihood.values(), np.zeros(draws.size))
    variables = {
        "lp": _sampled(draws.log_prior + total, "log density of the posterior, not normalised", "1"),
        "log_prior": _sampled(draws.log_prior, "log density of the prior, of standard normal scores", "1"),
        "log_likelihood": _sampled(total, "log likelihood of all fitted targets", "1"),
    }
    return _dataset(variables, draws.size)


def _log_likelihood(draws: Draws) -> xr.Dataset:
    variables = {
        name: _sampled(column, f"log likelihood of {name.replace('+', ', ')}", "1")
        for name, column in draws.log_likelihood.items()
    }
    return _dataset(variables, draws.size)


def _parameters(fitted: Fit) -> xr.Dataset:
    rows, reading, truncation = fitted.rows(), fitted.readings[fitted.default], truncated(fitted)
    answers, leaning = sensitivities(reading), {one.name: one.bound for one in pressed(reading)}
    names = [row.name for row in rows]
    alone = [truncation.get(row.name) or Truncated(row.name, row.posterior, 0.0, row.posterior, ()) for row in rows]
    before = "the posterior before it is truncated to feasible parameter sets; NaN: not defined"
    moved = "what the truncation moves its mean by, standard deviations before it; NaN: not defined"
    bound = "bound of its prior or of the model that the posterior is pressed against; NaN: none"
    summary = {
        "unit": RowValue(lambda row: fitted.units.get(row.name, "1"), "unit of the quantiles", ""),
        "contraction": RowValue("contraction", "1 − variance after/before; NaN: fixed"),
        "effective_size": RowValue("effective_size", "effective size of the posterior draws"),
        "informed": RowValue("informed", "whether the targets inform it; if not, an assumption"),
        **interval("prior", "prior", "the prior"),
        **interval("posterior", "posterior", "the posterior"),
    }
    of_truncation = {
        **interval("without_truncation", "without", before),
        "cut_distance": RowValue("distance", moved),
        "bound": RowValue(lambda one: leaning.get(one.name, np.nan), bound, "see unit"),
    }
    of_scaling = {
        "prior_sensitivity": RowValue("prior", "power-scaling sensitivity to the prior"),
        "likelihood_sensitivity": RowValue("likelihood", "power-scaling sensitivity to the likelihood"),
        "power_scaling": RowValue("said", "what the power-scaling sensitivities mean", ""),
    }
    scaled = [answers.get(name, Sensitivity(np.nan, np.nan)) for name in names]
    found: dict[str, Variable] = {}
    for of, columns in ((rows, summary), (alone, of_truncation), (scaled, of_scaling)):
        found |= variables("parameter", of, columns)
    return described(found, parameter=(names, "number with a prior", ""))


def _readings(fitted: Fit) -> xr.Dataset:
    def largest_error(of: str) -> Callable[[ReadingFit], float]:
        return lambda one: max((getattr(c.simulation, of) for c in one.components if c.simulation), default=0.0)

    def undefined(reading: ReadingFit) -> str:
        truncation = reading.truncation
        return json.dumps(dict(truncation.undefined)) if truncation and truncation.undefined else ""

    shift = "most that posterior means move between seeds of a simulated likelihood, posterior standard deviations"
    spread = "standard deviation between seeds of a simulated log likelihood at the mode"
    factor = "log of the share of the posterior over that of the prior; in log_evidence"
    missing = "simulated terms without a likelihood in some of the prior, whatever else is: the share of it, as JSON"
    error = "Monte-Carlo standard error"
    possible = "share of the posterior that the model can produce; the rest is left out"
    columns = {
        "log_evidence": RowValue("log_evidence", "log probability of all fitted targets"),
        "log_evidence_standard_error": RowValue("log_evidence_error", f"{error} of the log evidence"),
        "converged": RowValue("converged", f"whether the search {CONVERGED}"),
        "simulation_shift": RowValue(largest_error("largest_shift"), shift),
        "simulation_log_likelihood_error": RowValue(largest_error("log_likelihood"), spread),
        "effective_size": RowValue("effective_size", "least effective size of the components of the posterior"),
        "possible_share": RowValue("truncation.share", possible),
        "possible_prior_share": RowValue("truncation.prior_share", "share of the prior that the model can produce"),
        "draws_tried": RowValue("truncation.tried", "draws of the posterior that were declared"),
        "prior_draws_tried": RowValue("truncation.prior_tried", "draws of the prior that were declared"),
        "possible_log_factor": RowValue("truncation.log_factor", factor),
        "possible_log_factor_standard_error": RowValue("truncation.log_factor_error", f"its {error}"),
        "undefined": RowValue(undefined, missing, ""),
    }
    before = {"prior_probability": RowValue(float, "probability before the data")}
    after = {"probability": RowValue(float, "probability after the data")}
    return described(
        variables("reading", fitted.alternatives.probabilities().tolist(), before)
        | variables("reading", fitted.probabilities.tolist(), after)
        | variables("reading", fitted.readings, columns),
        reading=([fitted.name_of(reading) for reading in fitted.readings], "alternatives of the text", ""),
    )


def _wider(fitted: Fit, rows: Sequence[Wider]) -> xr.Dataset:
    columns = {
        "unit": RowValue(lambda row: fitted.units.get(row.name, "1"), "unit of the quantiles", ""),
        **interval("declared", "declared", "the posterior under declared priors"),
        **interval("wider", "wider", "the posterior under priors twice as wide"),
    }
    names = [row.name for row in rows]
    return described(variables("parameter", rows, columns), parameter=(names, "number that a target looks at", "1"))


def _engine(fitted: Fit) -> str:
    """Say what the likelihood is found by."""
    simulated = any(c.simulation is not None for reading in fitted.readings for c in reading.components)
    return f"closed forms and {engine_of(fitted.readings[0].experiment)}" if simulated else "closed forms"


def record_of(fitted: Fit, *, engine: str = "", **facts: str | int | float) -> dict[str, Any]:
    """Return the run record of a calibration, with some facts of its own."""
    reading = fitted.readings[fitted.default]
    experiment = reading.experiment
    declared = fitted.declared.model_dump(mode="json", exclude_unset=True)
    return record(
        fitted.config,
        seed=fitted.seed,
        evidence={"readings": dict(reading.chosen), "entries": list(experiment.selection.entries)},
        parameters={"declared": {path: leaf.value for path, leaf in experiment.parameters.items()}},
        engine=engine or _engine(fitted),
        parameter_uncertainty="posterior draws",
        cohort=experiment.name,
        title=experiment.cohort.title or experiment.name,
        n_patients=int(experiment.tables.patients.n_patients[0]),
        overrides="\n".join(fitted.overrides),
        calibration=json.dumps(declared, ensure_ascii=False, separators=(",", ":")),
        truncation=feasibility.said(fitted),
        inference_library="lobule",
        sampling_method=METHOD,
        **facts,
    )


def _dataset(variables: Mapping[str, Any], n: int) -> xr.Dataset:
    coords = {
        "chain": ("chain", np.zeros(1, dtype=np.int64), {"long_name": "chain", "units": "1"}),
        "draw": ("draw", np.arange(n), {"long_name": "draw, each of one weight", "units": "1"}),
    }
    return xr.Dataset(variables, coords=coords)


def _sampled(column: NDArray[Any], long_name: str, units: str, **attrs: Any) -> Any:
    return SAMPLE, column[None, :], {"long_name": long_name, "units": units, **attrs}


def _words(name: str) -> str:
    return name.replace(".", " ").replace("_", " ")
