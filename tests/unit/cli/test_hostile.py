"""A few hundred mutations of configurations: each gives a result or is refused. `tests/verification` has 20,000."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.errors import ConfigError
from tests import hostile

SEED = 16


@pytest.mark.parametrize("first", range(0, 300, 50))
def test_a_mutated_configuration_gives_a_result_or_is_refused(tmp_path: Path, first: int) -> None:
    for mutated in hostile.mutations(range(first, first + 50), seed=SEED):
        try:
            hostile.outcome(mutated, tmp_path / str(mutated.number))
        except Exception as error:
            error.add_note(f"mutation {mutated.number} of seed {SEED}: {mutated.said}")
            raise


@pytest.mark.parametrize("cohort", hostile.bases())
def test_what_is_mutated_gives_a_result_as_it_is(tmp_path: Path, cohort: str) -> None:
    texts = {**hostile.documented(), **hostile.shipped()}.get(cohort, {})
    assert hostile.outcome(hostile.Mutation(0, (f"cohort={cohort}",), texts, ""), tmp_path) == "result"


def test_another_error_than_a_refusal_is_let_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mutated = hostile.Mutation(0, ("cohort=ilp",), {}, "")
    monkeypatch.setattr(hostile, "explain", lambda experiment: {}["a fault"])
    with pytest.raises(KeyError):
        hostile.outcome(mutated, tmp_path)


def test_mutations_are_those_of_their_seed_and_number() -> None:
    first, again = (list(hostile.mutations([7, 8], seed=SEED)) for _ in range(2))
    (other,) = hostile.mutations([7], seed=SEED + 1)
    assert first == again
    assert first[0] != other


def test_a_refusal_without_a_key_is_let_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(experiment: object) -> None:
        raise ConfigError([])

    monkeypatch.setattr(hostile, "explain", refuse)
    with pytest.raises(ConfigError):
        hostile.outcome(hostile.Mutation(0, ("cohort=ilp",), {}, ""), tmp_path)
