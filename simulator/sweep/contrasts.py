"""Scenarios against a reference scenario.

Scenarios share random numbers: study r of one has the patients of study r of the other, so differences of what the
studies report are taken study by study, and their Monte-Carlo error is that of the pairs. Of the pooled statistics a
sweep keeps no value of each study; their differences carry the error of independent runs, and say so.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from simulator.errors import ConfigError, Problem, unknown
from simulator.results.tree import STORED, in_unit
from simulator.sweep.opening import open_results
from simulator.sweep.scenarios import COHORT, SweptDimension, label_of, part, reference, swept

ARM, ESTIMATES = "arm", "estimates"
NO_EFFECT = "a contrast across cohorts compares different patients: no treatment effect"
MOST_ALONG = 24
"""Labels of a swept key that are contrasted in `one_way`."""

Slices = Sequence[tuple[SweptDimension, xr.DataTree]]
"""Swept keys, each with the contrasts along it."""

_ERROR = "_standard_error"
_UNPAIRED = (
    "error as of independent runs: shared random numbers make the true one smaller where it makes both vary alike"
)


def contrast(tree: xr.DataTree, against: Mapping[str, Any], *, across_cohorts: bool = False) -> xr.DataTree:
    """Return every statistic of a sweep as difference from, and ratio to, a reference scenario.

    Parameters
    ----------
    tree : a sweep, as `open_results` gives it.
    against : label of the reference by swept dimension, as in ``{"interval": 21}`` or ``{"interval": "3 wk"}``. Along
        dimensions that are left out, each scenario has the reference that has its own labels there. ``{"arm": name}``,
        of a run or a sweep that was made with ``output.contrast={arm: name}``: the other arms against this one.
    across_cohorts : allow ``cohort`` in ``against``.

    Returns
    -------
    A tree. Nodes ``targets`` and ``estimates``: ``difference``, ``ratio`` of means, their paired ``…_standard_error``,
    ``variance_reduction`` (variance of a difference of independent studies over that of the pairs) and ``n_pairs``,
    those studies in which both values are finite; ``n_not_reached`` and ``n_undefined`` count the others. Node
    ``statistics``: ``<name>_difference``, ``<name>_ratio`` and errors as of independent runs. Between arms, node
    ``estimates`` alone: what each study finds, its mean with Monte-Carlo error, and its spread over studies.

    Raises
    ------
    ConfigError
        If ``against`` names what is not swept, or a cohort without leave, or an arm that nothing was compared with.
    """
    if ARM in against:
        return _between_arms(tree, against)
    root = tree.to_dataset()
    against = {name: _label(root, name, label) for name, label in against.items()}
    _check(root, against, across_cohorts)
    title = NO_EFFECT if COHORT in against else ""
    nodes = {"/": xr.Dataset(coords=root.coords, attrs={**root.attrs, "against": str(dict(against)), "title": title})}
    for name in ("targets", ESTIMATES):
        if name in tree.children and "simulated" in tree[name]:
            nodes[f"/{name}"] = _paired(tree[name].to_dataset(), against)
    nodes["/statistics"] = _unpaired(tree["statistics"].to_dataset(), against)
    for node in nodes.values():
        node.attrs |= {"title": title} if title else {}
    return xr.DataTree.from_dict(nodes)


def one_way(tree: xr.DataTree, at: Mapping[str, Any] | None = None) -> Slices:
    """Return, for each swept key with several labels, the contrasts of its scenarios with the reference.

    All other keys are held at the reference; of very many labels `MOST_ALONG` are taken, evenly spaced. Samples, draws
    and cohorts are no keys of this kind.
    """
    held = reference(tree, at)
    made: list[tuple[SweptDimension, xr.DataTree]] = []
    for each in swept(tree):
        if each.sampled or each.name == COHORT or len(each.labels) < 2:
            continue
        others = {name: label for name, label in held.items() if name != each.name}
        cut = part(tree, others, most={each.name: MOST_ALONG}, keep=held)
        made.append((swept(cut)[0], contrast(cut, {each.name: held[each.name]})))
    return made


def named_beside(path: Path) -> dict[str, Any]:
    """Return the reference that a file of contrasts was made against; empty if there is no such file.

    Raises ConfigError where the file is not as it was written.
    """
    if not path.is_file():
        return {}
    with open_results(path) as tree:
        said = str(tree.attrs.get("against", "{}"))
    try:
        found = ast.literal_eval(said)
    except (ValueError, SyntaxError):
        return {}
    return found if isinstance(found, dict) else {}


def _between_arms(tree: xr.DataTree, against: Mapping[str, Any]) -> xr.DataTree:
    """Return what each study found between its arms: both have the random numbers of one study, so nothing is left to
    pair.
    """
    arm = against[ARM]
    if len(against) > 1:
        allowed = "is contrasted by itself: first between arms, then between scenarios (node `estimates`)"
        raise ConfigError(Problem(f"contrast.{ARM}", arm, allowed))
    node = tree[ESTIMATES].to_dataset() if ESTIMATES in tree.children else None
    compared: Any = [] if node is None else np.flatnonzero(_said(node["against_group"]) == f"{ARM} {arm}")
    if node is None or not len(compared):
        allowed = f"nothing was compared with it: simulate with output.contrast={{{ARM}: {arm}}}"
        raise ConfigError(Problem(f"contrast.{ARM}", arm, allowed))
    root = tree.to_dataset().assign_attrs(against=str(dict(against)), title="")
    return xr.DataTree.from_dict({"/": root, f"/{ESTIMATES}": node.isel(estimate=compared)})


def _said(texts: xr.DataArray) -> Any:
    """Texts by estimate; of scenarios that differ in which there are, that of those that have it."""
    other = [name for name in texts.dims if name != "estimate"]
    return texts.transpose(*other, "estimate").values.reshape(-1, texts.sizes["estimate"]).max(axis=0)


def _label(root: xr.Dataset, name: str, given: Any) -> Any:
    """Return the label of a dimension that is meant; see `label_of`."""
    if name not in root.coords:
        return given
    return label_of(given, root[name].values.tolist(), str(root[name].attrs.get("units", "")))


def _check(root: xr.Dataset, against: Mapping[str, Any], across_cohorts: bool) -> None:
    problems = []
    if not against:
        problems.append(Problem("contrast", {}, f"names no reference; swept are {', '.join(map(str, root.sizes))}"))
    for name, label in against.items():
        if name not in root.sizes:
            problems.append(unknown("contrast", str(name), map(str, root.sizes), what="swept dimension"))
        elif label not in root[name].values.tolist():
            known = ", ".join(map(str, root[name].values.tolist()))
            problems.append(Problem(f"contrast.{name}", label, f"must be one of {known}"))
        elif name == COHORT and not across_cohorts:
            allowed = f"{NO_EFFECT}; if that is what you want, say output.contrast_across_cohorts=true"
            problems.append(Problem(f"contrast.{name}", label, allowed))
    if problems:
        raise ConfigError(problems)


def _paired(targets: xr.Dataset, against: Mapping[str, Any]) -> xr.Dataset:
    """Contrast what the studies report, study by study."""
    each = targets["simulated"].load()
    there = each.sel(against, drop=True)
    both: xr.DataArray = xr.apply_ufunc(lambda a, b: np.isfinite(a) & np.isfinite(b), each, there)
    undefined: xr.DataArray = xr.apply_ufunc(lambda a, b: np.isnan(a) | np.isnan(b), each, there)
    n = both.sum("replicate")
    here, there = each.where(both), there.where(both)
    gap = here - there
    mean_here, mean_there = here.mean("replicate"), there.mean("replicate")
    ratio = (mean_here / mean_there).where(mean_there != 0)
    of_ratio = (here - ratio * there).std("replicate", ddof=1) / np.abs(mean_there)
    spread = gap.var("replicate", ddof=1)
    apart = here.var("replicate", ddof=1) + there.var("replicate", ddof=1)
    units = in_unit(STORED)
    found: dict[str, tuple[xr.DataArray, dict[str, str]]] = {
        "difference": (gap.mean("replicate"), {"long_name": "mean difference from the reference", **units}),
        f"difference{_ERROR}": ((spread / n) ** 0.5, {"long_name": "paired Monte-Carlo standard error", **units}),
        "ratio": (ratio, {"long_name": "ratio of means to the reference", "units": "1"}),
        f"ratio{_ERROR}": (of_ratio / n**0.5, {"long_name": "paired Monte-Carlo standard error", "units": "1"}),
        "variance_reduction": (
            (apart / spread).where(spread > 0),
            {"long_name": "variance of differences of independent studies, in that of the pairs", "units": "1"},
        ),
        "n_pairs": (n, {"long_name": "pairs of studies in which both values are finite", "units": "1"}),
        "n_not_reached": (
            (~both & ~undefined).sum("replicate"),
            {"long_name": "pairs of studies in which a value was not reached and none is undefined", "units": "1"},
        ),
        "n_undefined": (
            undefined.sum("replicate"),
            {"long_name": "pairs of studies in which a value is undefined, or there is no study", "units": "1"},
        ),
    }
    made = xr.Dataset({name: values.assign_attrs(attrs) for name, (values, attrs) in found.items()})
    return made.assign_coords({name: coordinate for name, coordinate in targets.coords.items() if name != "replicate"})


def _unpaired(statistics: xr.Dataset, against: Mapping[str, Any]) -> xr.Dataset:
    """Contrast the pooled statistics."""
    made = {}
    for name in statistics.data_vars:
        if f"{name}{_ERROR}" not in statistics:
            continue
        here, error = statistics[name].load(), statistics[f"{name}{_ERROR}"].load()
        there, error_there = here.sel(against, drop=True), error.sel(against, drop=True)
        ratio = (here / there).where(there != 0)
        about = str(here.attrs["long_name"])
        units = {"units": here.attrs["units"]}
        gap = {"long_name": f"difference from the reference: {about}", **units}
        made[f"{name}_difference"] = (here - there).assign_attrs(gap)
        described = {"long_name": f"Monte-Carlo standard error: difference: {about}", "comment": _UNPAIRED}
        made[f"{name}_difference{_ERROR}"] = _together(error, error_there).assign_attrs(described | units)
        made[f"{name}_ratio"] = ratio.assign_attrs({"long_name": f"ratio to the reference: {about}", "units": "1"})
        described = {"long_name": f"Monte-Carlo standard error: ratio: {about}", "units": "1", "comment": _UNPAIRED}
        relative = _together(error, ratio * error_there) / np.abs(there)
        made[f"{name}_ratio{_ERROR}"] = relative.where(there != 0).assign_attrs(described)
    return xr.Dataset(made)


def _together(one: xr.DataArray, other: xr.DataArray) -> xr.DataArray:
    """Standard error of a difference of independent values."""
    return (one**2 + other**2) ** 0.5
