"""A fit as one self-describing tree, in the layout of ArviZ.

With `comparison_tree` the only place of this package that builds xarray objects. Groups `posterior`, `prior`,
`sample_stats` and `log_likelihood` have the dimensions (chain, draw) first: one chain of equally weighted draws.
`observed_data` is what was reported, `parameters` and `readings` what was found of each. A study of ranks has `papers`
and `checks`. Every variable has ``long_name`` and ``units``; times are days. ArviZ is needed neither to write nor to
read it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from calibration.diagnostics.blocks import BlockCheck
from calibration.diagnostics.identifiability import Diagnostics
from calibration.diagnostics.sensitivity import Sensitivity, pressed, sensitivities
from calibration.diagnostics.truncation import Truncated, truncated
from calibration.diagnostics.wider import Wider
from calibration.posterior import feasibility
from calibration.posterior.draws import Draws
from calibration.posterior.fit import Fit
from calibration.prediction.predictive import Predictive
from calibration.samplers.summary import Row
from simulator.configuration.draws import READING
from simulator.results.provenance import record
from simulator.results.tree import STORED, assembled, in_unit, target_coordinates, targets_over_draws
from simulator.running.experiment import engine_of
from simulator.units import DIMENSIONS

SAMPLE = ("chain", "draw")
METHOD = "incremental mixture importance sampling (Raftery & Bao 2010)"


def tree_of(
    fitted: Fit,
    posterior: Draws,
    prior: Draws,
    rows: Sequence[Row],
    predicted: Predictive | None = None,
    diagnostics: Diagnostics | None = None,
    more: Mapping[str, xr.Dataset] | None = None,
) -> xr.DataTree:
    """Return the tree of a calibration: its record, its draws, what was observed, what was found.

    With what the posterior predicts, ``posterior_predictive`` in ArviZ's layout (chain, draw, target), a draw being
    a simulated study, and ``targets``, the node of a simulation over draws, with percentiles of what was reported.
    ``more``: further nodes, such as those of `comparison_tree`.
    """
    nodes = {
        "posterior": _numbers(fitted, posterior, "posterior"),
        "prior": _numbers(fitted, prior, "prior"),
        "observed_data": _observed(fitted),
        "sample_stats": _sample_stats(posterior),
        "log_likelihood": _log_likelihood(posterior),
        "parameters": _parameters(fitted, rows, truncated(fitted)),
        "readings": _readings(fitted),
    }
    if predicted is not None:
        nodes["targets"] = targets_of(predicted)
        nodes["posterior_predictive"] = _predictive(predicted)
    if diagnostics is not None:
        nodes["profiles"] = _profiles(fitted, diagnostics)
        nodes["left_out"] = _left_out(diagnostics)
    nodes |= more or {}
    return assembled(nodes, record_of(fitted))


def _profiles(fitted: Fit, found: Diagnostics) -> xr.Dataset:
    units, each = units_of(fitted), found.profiles
    end = "end of the 95 % interval by profile likelihood; infinite: open"
    best = "value of the greatest likelihood, without the prior"
    columns: dict[str, tuple[list[Any], str, str]] = {
        "unit": ([units.get(one.parameter, "1") for one in each], "unit of the values", ""),
        "most_likely": ([one.best for one in each], best, "see unit"),
        "lower": ([one.lower for one in each], end, "see unit"),
        "upper": ([one.upper for one in each], end, "see unit"),
    }
    variables = {
        name: ("parameter", _array(values), {"long_name": long_name, "units": unit})
        for name, (values, long_name, unit) in columns.items()
    }
    attrs: dict[str, Any] = {
        "collinearity": json.dumps({", ".join(one.parameters): one.index for one in found.collinear}),
        "modes": json.dumps([[{"mass": m.mass, "values": dict(m.values)} for m in hills] for hills in found.modes]),
    }
    names = ("parameter", _array([one.parameter for one in each]), {"long_name": "informed parameter", "units": ""})
    return xr.Dataset(variables, coords={"parameter": names}, attrs=attrs)


def _left_out(found: Diagnostics) -> xr.Dataset:
    each = found.left_out
    columns: dict[str, tuple[list[Any], str, str]] = {
        "percentile": ([one.percentile for one in each], "mid-rank of the reported value without the target", "1"),
        "effective_size": ([one.effective_size for one in each], "effective size of the draws without the target", "1"),
        "why": ([one.why for one in each], "why there is no percentile, or how it was found", ""),
    }
    variables = {
        name: ("target", _array(values), {"long_name": long_name, "units": unit})
        for name, (values, long_name, unit) in columns.items()
    }
    names = ("target", _array([one.target for one in each]), {"long_name": "evidence id", "units": ""})
    return xr.Dataset(variables, coords={"target": names})


def blocks_node(found: Sequence[BlockCheck]) -> xr.Dataset:
    """Return the checks of blocks of targets: dimensions ``block``, and ``target`` of what was left out."""
    names = [one.block.name for one in found]
    targets = list(dict.fromkeys(name for one in found for name in one.block.targets))
    columns: dict[str, tuple[list[Any], str]] = {
        "log_density": ([one.log_density for one in found], "log predictive density of the block, given the others"),
        "log_density_standard_error": ([one.errors[0] for one in found], "Monte-Carlo standard error of log_density"),
        "reference_log_density": ([one.reference for one in found], "the same where strata share nothing"),
        "reference_log_density_standard_error": ([one.errors[1] for one in found], "its Monte-Carlo standard error"),
        "share_further": ([one.p for one in found], "share of studies at least as far out as what was printed"),
        "share_further_standard_error": (
            [one.errors[2] for one in found],
            "its Monte-Carlo standard error",
        ),
        "alarm": ([one.alarm for one in found], "whether the others do not predict the block"),
    }
    variables: dict[str, Any] = {
        name: ("block", np.asarray(values), {"long_name": long_name, "units": "1"})
        for name, (values, long_name) in columns.items()
    }
    variables["why"] = ("block", _array([one.why for one in found]), {"long_name": "what is missing", "units": ""})
    for k, what in enumerate(("prior", "posterior")):
        values = [[one.percentiles.get(name, (np.nan, np.nan))[k] for name in targets] for one in found]
        attrs = {"long_name": f"mid-rank of the reported value under the {what} without the block", "units": "1"}
        variables[f"{what}_percentile"] = (("block", "target"), np.asarray(values), attrs)
    coords = {
        "block": ("block", _array(names), {"long_name": "targets that are left out together", "units": ""}),
        "target": ("target", _array(targets), {"long_name": "evidence id", "units": ""}),
    }
    return xr.Dataset(variables, coords=coords)


def targets_of(predicted: Predictive) -> xr.Dataset:
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


def predictive_tree(fitted: Fit, predicted: Predictive) -> xr.DataTree:
    """Return what tables and figures of simulated targets take."""
    return assembled({"targets": targets_of(predicted)}, record_of(fitted))


def _numbers(fitted: Fit, draws: Draws, what: str) -> xr.Dataset:
    units = units_of(fitted)
    variables = {
        name: _sampled(column, f"{_words(name)}, {what}", units.get(name, "1")) for name, column in draws.values.items()
    }
    for question in varied(fitted):
        names = list(dict.fromkeys(reading.chosen[question] for reading in fitted.readings))
        codes = np.array([names.index(reading.chosen[question]) for reading in fitted.readings], dtype=np.int16)
        flags = {"flag_values": np.arange(len(names), dtype=np.int16), "flag_meanings": " ".join(names)}
        long_name = f"how the text is read: {_words(question)}, {what}"
        variables[READING + question] = _sampled(codes[draws.reading], long_name, "1", **flags)
    return _dataset(variables, draws.size)


def described(
    columns: Mapping[str, tuple[tuple[str, ...], Any, str, str]], **coordinates: tuple[Sequence[Any] | Any, str]
) -> xr.Dataset:
    """Return variables, each of dimensions, values, long name and units, with coordinates of values and long name."""
    return xr.Dataset(
        {
            name: (of, _array(values), {"long_name": said, "units": unit})
            for name, (of, values, said, unit) in columns.items()
        },
        coords={
            name: (name, _array(list(values)), {"long_name": said, "units": "1"})
            for name, (values, said) in coordinates.items()
        },
    )


def varied(fitted: Fit) -> list[str]:
    """Return the questions whose answers are part of a draw."""
    return [question for question in fitted.declared.readings if question in fitted.readings[0].chosen]


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


def _parameters(fitted: Fit, rows: Sequence[Row], truncation: Mapping[str, Truncated]) -> xr.Dataset:
    units = units_of(fitted)
    reading = fitted.readings[fitted.default]
    answers, leaning = sensitivities(reading), {one.name: one.bound for one in pressed(reading)}
    columns: dict[str, tuple[Sequence[Any], str, str]] = {
        "unit": ([units.get(row.name, "1") for row in rows], "unit of the quantiles", ""),
        "contraction": ([row.contraction for row in rows], "1 − variance after/before; NaN: fixed", "1"),
        "effective_size": ([row.effective_size for row in rows], "effective size of the posterior draws", "1"),
        "informed": ([row.informed for row in rows], "whether the targets inform it; if not, an assumption", "1"),
    }
    for when in ("prior", "posterior"):
        for level, share in (("lower", "2.5 %"), ("median", "50 %"), ("upper", "97.5 %")):
            values = [getattr(getattr(row, when), level) for row in rows]
            columns[f"{when}_{level}"] = (values, f"{share} quantile of the {when}", "see unit")
    for level, share in (("lower", "2.5 %"), ("median", "50 %"), ("upper", "97.5 %")):
        alone = [truncation[row.name].without if row.name in truncation else row.posterior for row in rows]
        values = [np.nan if one is None else getattr(one, level) for one in alone]
        said = f"{share} quantile of the posterior before it is truncated to feasible parameter sets; NaN: not defined"
        columns[f"without_truncation_{level}"] = (values, said, "see unit")
    unknown = Sensitivity(np.nan, np.nan)
    of_each = [answers.get(row.name, unknown) for row in rows]
    columns |= {
        "cut_distance": (
            [truncation[row.name].distance if row.name in truncation else 0.0 for row in rows],
            "what the truncation moves its mean by, standard deviations before it; NaN: not defined", "1",
        ),
        "bound": (
            [leaning.get(row.name, np.nan) for row in rows],
            "bound of its prior or of the model that the posterior is pressed against; NaN: none", "see unit",
        ),
        "prior_sensitivity": ([one.prior for one in of_each], "power-scaling sensitivity to the prior", "1"),
        "likelihood_sensitivity": (
            [one.likelihood for one in of_each], "power-scaling sensitivity to the likelihood", "1"
        ),
        "power_scaling": ([one.said for one in of_each], "what the power-scaling sensitivities mean", ""),
    }  # fmt: skip
    variables = {
        name: ("parameter", _array(values), {"long_name": long_name, "units": unit})
        for name, (values, long_name, unit) in columns.items()
    }
    names = ("parameter", _array([row.name for row in rows]), {"long_name": "number with a prior", "units": ""})
    return xr.Dataset(variables, coords={"parameter": names})


def _readings(fitted: Fit) -> xr.Dataset:
    def column(values: Sequence[Any] | NDArray[Any], long_name: str, units: str = "1") -> Any:
        return "reading", _array(values), {"long_name": long_name, "units": units}

    errors_of = [[c.simulation for c in reading.components if c.simulation is not None] for reading in fitted.readings]
    names = ["+".join(reading.chosen[question] for question in varied(fitted)) for reading in fitted.readings]
    of_each = fitted.readings
    variables = {
        "prior_probability": column(fitted.alternatives.probabilities(), "probability before the data"),
        "probability": column(fitted.probabilities, "probability after the data"),
        "log_evidence": column([r.log_evidence for r in of_each], "log probability of all fitted targets"),
        "log_evidence_standard_error": column(
            [r.log_evidence_error for r in of_each], "Monte-Carlo standard error of the log evidence"
        ),
        "converged": column(
            [r.converged for r in of_each],
            "whether the search ended before its stages ran out, and the random numbers move it little",
        ),
        "simulation_shift": column(
            [max((e.largest_shift for e in errors), default=0.0) for errors in errors_of],
            "most that posterior means move between seeds of a simulated likelihood, posterior standard deviations",
        ),
        "simulation_log_likelihood_error": column(
            [max((e.log_likelihood for e in errors), default=0.0) for errors in errors_of],
            "standard deviation between seeds of a simulated log likelihood at the mode",
        ),
        "effective_size": column(
            [min((c.draws.effective_size for c in r.components if c.terms), default=np.nan) for r in of_each],
            "least effective size of the components of the posterior",
        ),
    }
    truncations = [reading.truncation for reading in of_each]
    for name, what, value in (
        ("possible_share", "share of the posterior that the model can produce; the rest is left out", "share"),
        ("possible_prior_share", "share of the prior that the model can produce", "prior_share"),
        ("draws_tried", "draws of the posterior that were declared", "tried"),
        ("prior_draws_tried", "draws of the prior that were declared", "prior_tried"),
        (
            "possible_log_factor",
            "log of the share of the posterior over that of the prior; in log_evidence",
            "log_factor",
        ),
        ("possible_log_factor_standard_error", "its Monte-Carlo standard error", "log_factor_error"),
    ):
        values = [np.nan if one is None else getattr(one, value) for one in truncations]
        variables[name] = column(values, what)
    variables["undefined"] = column(
        ["" if one is None or not one.undefined else json.dumps(dict(one.undefined)) for one in truncations],
        "simulated terms without a likelihood in some of the prior, whatever else is: the share of it, as JSON",
        "",
    )
    return xr.Dataset(variables, coords={"reading": column(names or [""], "alternatives of the text", "")})


def wider_node(fitted: Fit, rows: Sequence[Wider]) -> xr.Dataset:
    """Return the posterior under the declared priors and under priors twice as wide."""
    units = units_of(fitted)
    columns: dict[str, tuple[tuple[str, ...], Any, str, str]] = {
        "unit": (("parameter",), [units.get(row.name, "1") for row in rows], "unit of the quantiles", "")
    }
    for what, said in (("declared", "declared priors"), ("wider", "priors twice as wide")):
        for level, share in (("lower", "2.5 %"), ("median", "50 %"), ("upper", "97.5 %")):
            values = [getattr(getattr(row, what), level) for row in rows]
            long_name = f"{share} quantile of the posterior under {said}"
            columns[f"{what}_{level}"] = (("parameter",), values, long_name, "see unit")
    return described(columns, parameter=([row.name for row in rows], "number that a target looks at"))


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


def units_of(fitted: Fit) -> dict[str, str]:
    """Units of every number that is not plain."""
    units: dict[str, str] = {}
    for reading in fitted.readings:
        for component in reading.components:
            for block in component.prior.blocks:
                unit = DIMENSIONS[reading.kinds.get(block.parameters[0], "real")].unit
                units |= {name: unit for name in block.names if not name.endswith("(between)")}
    return units


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


def _array(values: Sequence[Any] | NDArray[Any]) -> NDArray[Any]:
    array = np.asarray(values)
    return array.astype(object) if array.dtype.kind in "UT" else array
