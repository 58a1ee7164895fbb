"""What a calibration file may hold, and the messages that name key, value, what is allowed, and the nearest name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from calibration import schema
from calibration.priors.distributions import Beta, HalfNormal, Normal, Uniform
from calibration.priors.parameters import Dirichlet, Pooled, Single
from simulator.configuration.values import Leaf
from simulator.errors import ConfigError

LEAVES = {
    name: Leaf(name, value, "assumed")
    for name, value in {
        "survival.median.colon": "400 d",
        "survival.median.rectum": "10 mo",
        "survival.shape.colon": 1.2,
        "survival.shape.rectum": 1.2,
        "best.complete": 0.2,
        "best.partial": 0.5,
        "best.none": 0.3,
        "fever": 0.3,
        "background": "0.05 / y",
        "by_mapping": {"colon": 1, "rectum": 2},
    }.items()
}
KINDS = {"fever": "probability", "survival.shape.colon": "positive"}


def file(parameters: dict[str, Any], **more: Any) -> schema.Calibration:
    return schema.load({"name": "lakes", "parameters": parameters, **more})


def prior(parameters: dict[str, Any]) -> tuple[Any, ...]:
    return schema.prior_of(file(parameters), LEAVES, KINDS).blocks


def refusal(parameters: dict[str, Any], **more: Any) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        schema.prior_of(file(parameters, **more), LEAVES, KINDS)
    return [str(problem) for problem in refused.value.problems]


def test_a_prior_of_a_time_is_read_in_days():
    months = {"log_normal": {"median": "10 mo", "sigma": 0.6}}
    blocks = prior({"survival.median": months})
    assert blocks == tuple(
        Single(f"survival.median.{s}", Normal(np.log(304.375), 0.6, "log")) for s in ("colon", "rectum")
    )
    (block,) = prior({"survival.median.colon": {"uniform": {"low": 14, "high": "3 wk"}}})
    assert block == Single("survival.median.colon", Uniform(14.0, 21.0))


def test_a_prior_of_a_rate_is_read_per_day():
    (block,) = prior({"background": {"log_normal": {"median": "0.05 / y", "sigma": 0.3}}})
    assert block.distribution.value(np.zeros(1)) == pytest.approx(0.05 / 365.25)


def test_strata_may_be_pooled():
    (block,) = prior(
        {
            "survival.shape": {
                "pooled": {
                    "centre": {"log_normal": {"median": 1.3, "sigma": 0.35}},
                    "between": {"half_normal": {"sd": 0.25}},
                }
            }
        }
    )
    assert block == Pooled("survival.shape", ("colon", "rectum"), Normal(np.log(1.3), 0.35, "log"), HalfNormal(0.25))


def test_shares_may_be_dirichlet_in_the_order_of_the_parameters():
    (block,) = prior({"best": {"dirichlet": {"none": 4.5, "partial": 28.5, "complete": 9.5}}})
    assert block == Dirichlet("best", {"complete": 9.5, "partial": 28.5, "none": 4.5})


def test_one_law_a_parameter():
    assert prior({"fever": {"beta": {"a": 0.5, "b": 0.5}, "note": "Jeffreys"}}) == (Single("fever", Beta(0.5, 0.5)),)
    both = {"fever": {"beta": {"a": 0.5, "b": 0.5}, "uniform": {"low": 0, "high": 1}}}
    with pytest.raises(ConfigError, match="must have exactly one of normal, log_normal"):
        file(both)
    with pytest.raises(ConfigError, match="it has none"):
        file({"fever": {"note": "forgotten"}})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"fevr": {"beta": {"a": 1, "b": 1}}},
            "calibration.parameters.fevr: unknown parameter of this cohort (did you mean 'fever'?)",
        ),
        (
            {"fever": {"log_normal": {"median": 0.3, "sigma": 1}}},
            "calibration.parameters.fever.log_normal: log_normal leaves what this parameter may be: it must be a "
            "probability between 0 and 1; use beta, logit_normal, or uniform within 0 and 1",
        ),
        (
            {"survival.median.colon": {"normal": {"mean": "300 d", "sd": "50 d"}}},
            "calibration.parameters.survival.median.colon.normal: normal leaves what this parameter may be: it must be "
            "> 0 days; use log_normal, or uniform",
        ),
        (
            {"survival.shape": {"log_normal": {"median": "1.3 mo", "sigma": 0.3}}},
            "calibration.parameters.survival.shape.log_normal.median = 1.3 mo: must be a finite number without a unit",
        ),
        (
            {"survival.median.colon": {"uniform": {"low": "3 wk", "high": 14}}},
            "calibration.parameters.survival.median.colon.uniform = ['3 wk', 14]: must be in order: low < high",
        ),
        (
            {"fever": {"logit_normal": {"median": 1.0, "sigma": 1}}},
            "calibration.parameters.fever.logit_normal.median = 1.0: must be > 0 and < 1",
        ),
        (
            {"fever": {"fixed": 1.3}},
            "calibration.parameters.fever.fixed: fixed leaves what this parameter may be: it must be a probability",
        ),
        (
            {"by_mapping": {"uniform": {"low": 0, "high": 1}}},
            "calibration.parameters.by_mapping: has a mapping as its value",
        ),
        (
            {"fever": {"dirichlet": {"a": 1, "b": 1}}},
            "calibration.parameters.fever.dirichlet: needs several parameters below this key",
        ),
        (
            {"best": {"dirichlet": {"complete": 1, "partial": 1}}},
            "calibration.parameters.best.dirichlet = ['complete', 'partial']: must give a concentration for each of: "
            "complete, none, partial",
        ),
    ],
)
def test_a_prior_that_cannot_be_is_refused(given, said):
    (problem,) = refusal(given)
    assert problem.startswith(said)


def test_a_parameter_has_one_prior():
    given = {
        "survival.shape": {"log_normal": {"median": 1.3, "sigma": 0.35}},
        "survival.shape.colon": {"log_normal": {"median": 1.3, "sigma": 0.35}},
    }
    (problem,) = refusal(given)
    assert problem == (
        "calibration.parameters.survival.shape.colon: gives survival.shape.colon a second prior; survival.shape gives "
        "it one"
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"centre": {"beta": {"a": 1, "b": 1}}, "between": {"half_normal": {"sd": 1}}},
            "calibration.parameters.survival.shape.pooled.centre = beta: must be normal, log_normal or logit_normal",
        ),
        (
            {"centre": {"log_normal": {"median": 1, "sigma": 1}}, "between": {"normal": {"mean": 1, "sd": 1}}},
            "calibration.parameters.survival.shape.pooled.between = normal: must be half_normal, log_normal, uniform",
        ),
        (
            {"centre": {"log_normal": {"median": 1, "sigma": 0}}, "between": {"half_normal": {"sd": 1}}},
            "calibration.parameters.survival.shape.pooled.centre.log_normal.sigma = 0: must be > 0",
        ),
    ],
)
def test_a_hierarchy_that_cannot_be_is_refused(given, said):
    with pytest.raises(ConfigError) as refused:
        file({"survival.shape": {"pooled": given}})
    assert str(refused.value.problems[0]).startswith(said)


def test_unknown_keys_and_wrong_types_are_refused_all_at_once():
    with pytest.raises(ConfigError) as refused:
        schema.load(
            {
                "name": "lakes",
                "parameters": {"fever": {"betta": {"a": 1, "b": 1}}},
                "leftout": {"K1": "x"},
                "search": {"initial": 5, "step": "many"},
                "survivors": {"K1": {"count": 29}},
                "readings": {"split": {"a": 0}},
            }
        )
    said = [str(problem) for problem in refused.value.problems]
    assert any(line.startswith("calibration.leftout") and "'left_out'?" in line for line in said)
    assert any(line.startswith("calibration.parameters.fever.betta") and "'beta'" in line for line in said)
    assert "calibration.search.initial = 5: must be >= 100" in said
    assert any(line.startswith("calibration.search.step = many: must be a whole number") for line in said)
    assert "calibration.survivors.K1.because: must be given" in said
    assert "calibration.readings.split.a = 0: must be > 0" in said


@pytest.mark.parametrize("given", [None, [], "text"])
def test_a_file_is_a_mapping(given):
    with pytest.raises(ConfigError, match="must be a mapping of keys to values"):
        schema.load(given)


def test_a_file_without_parameters_is_refused():
    with pytest.raises(ConfigError, match=r"calibration\.parameters"):
        schema.load({"name": "lakes", "parameters": {}})
