"""Nothing that can be declared, estimated or fitted is missing from the docs, and the schema says how it is read."""

import copy
import importlib.util
import inspect
import re
import sys
import warnings
from pathlib import Path
from typing import get_args

import pytest

from calibration.likelihoods import simulated
from calibration.likelihoods import terms as likelihoods
from simulator.errors import DeclarationWarning
from simulator.evidence.statistic import Estimator
from simulator.experiment.preparation import prepare
from simulator.experiment.schema import declare
from simulator.kernels.hazards import FAMILIES
from simulator.kernels.quantiles import DISTRIBUTIONS
from simulator.study.estimators import ESTIMATORS
from simulator.units import DIMENSIONS

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs"
OWN = ROOT / "tests" / "packaging" / "cohorts"
COHORTS = [
    *((None, path.stem) for path in sorted((ROOT / "configs" / "cohort").glob("*.yaml"))),
    *((path.parents[1], path.stem) for path in sorted(OWN.glob("*/cohort/*.yaml"))),
]


def loaded(name):
    """A module of docs/, which is no package."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


schema_keys = loaded("schema_keys")
SECTIONS = [section for within in schema_keys.sections().values() for section in within]


def page(name):
    return schema_keys.filled((DOCS / name).read_text(encoding="utf-8"))


def inlined(value, experiment):
    """A configuration with the values of its parameters where they are referred to."""
    if isinstance(value, dict):
        return {key: inlined(inner, experiment) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [inlined(inner, experiment) for inner in value]
    if isinstance(value, str) and value.startswith("parameters."):
        path = value.removeprefix("parameters.")
        leaves = experiment.parameters
        if path in leaves:
            return leaves[path].value
        return {p.rpartition(".")[2]: leaf.value for p, leaf in leaves.items() if p.rpartition(".")[0] == path}
    return value


def units_read(config_dir, cohort):
    """The units in which the numbers of a cohort are read, at the keys where they are used."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeclarationWarning)
        experiment = prepare([f"cohort={cohort}"], config_dir=config_dir).experiment
        container = copy.deepcopy(dict(experiment.config))
        written = {group: inlined(container[group], experiment) for group in ("cohort", "model", "course", "study")}
        return {key: DIMENSIONS[kind].unit for key, kind in declare(container | written).kinds.items()}


@pytest.mark.parametrize("schema", [section.schema for section in SECTIONS], ids=lambda schema: schema.__name__)
def test_every_key_says_what_it_means(schema):
    keys = schema_keys.keys(schema)  # KeyError where one does not
    assert [key.name for key in keys if not key.meaning.endswith(".")] == []
    assert len({key.name for key in keys}) == len(schema.model_fields)


def test_every_key_is_documented_in_a_chapter():
    chapters = "".join(page(f"{name}.md") for name in ("declaring", "solving", "statistics", "calibrating", "sweeps"))
    words = {word for code in re.findall(r"`([^`\n]+)`", chapters) for word in re.findall(r"[A-Za-z_]+", code)}
    known = {key.name for section in SECTIONS for key in schema_keys.keys(section.schema)}
    assert known - words == set()


def test_the_reference_holds_every_key_once():
    text = schema_keys.page()
    for section in SECTIONS:
        assert text.count(f"({schema_keys.anchor(section.schema)})=") == 1
        assert f"`{section.places[0]}`" in text or section.places == [""]
    targets = re.findall(r"\]\(#([a-z-]+)\)", text)
    assert {f"({target})=" for target in targets} <= set(re.findall(r"^\(keys-of-[a-z]+\)=$", text, re.MULTILINE))


def test_the_schema_says_how_numbers_are_read():
    """The unit of a kind in the schema is the one in which the resolver reads it, with parameters written out."""
    seen = set()
    for config_dir, cohort in COHORTS:
        for key, unit in units_read(config_dir, cohort).items():
            kind = schema_keys.kind_at(key)
            if kind is None or kind.distribution or key.endswith("covariates.age"):
                continue
            expected = DIMENSIONS[kind.name].unit if kind.name in DIMENSIONS else "1"
            assert unit == expected, (cohort, key)
            seen.add(kind.name)
    kinds = {"time", "duration", "rate", "probability", "ratio", "positive", "whole", "correlation", "mediation"}
    assert seen == kinds


@pytest.mark.parametrize("name", sorted({*ESTIMATORS, *get_args(Estimator)}))
def test_every_estimator_is_defined(name):
    assert re.search(rf"^\|[^|]*`{name}`[^|]*\|[^|]+\|", page("statistics.md"), re.MULTILINE)


def terms():
    """Classes of likelihood terms: those that have a log density, and what terms are made of."""
    for module in (likelihoods, simulated):
        for name, found in inspect.getmembers(module, inspect.isclass):
            own = found.__module__ == module.__name__ and not getattr(found, "_is_protocol", False)
            if own and (hasattr(found, "log_density") or hasattr(found, "log_table")):
                yield name


def test_every_likelihood_has_its_equation():
    named = set(re.findall(r"^\| `(\w+)` \|[^|]+\|[^|]*\(\d", page("likelihoods.md"), re.MULTILINE))
    assert named == set(terms())
    assert len(named) >= 5


@pytest.mark.parametrize("name", [*FAMILIES, *DISTRIBUTIONS, "piecewise_exponential"])
def test_every_family_and_distribution_is_documented(name):
    assert f"| `{name}` |" in page("declaring.md")
