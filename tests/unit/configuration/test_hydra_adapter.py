"""What is relied on of Hydra's grammar, on the oldest and the newest Hydra that is allowed (`make bounds`)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from hydra import version
from hydra.core.global_hydra import GlobalHydra

from simulator.configuration.hydra_adapter import (
    ChoiceSweep,
    Glob,
    IntervalSweep,
    QuotedString,
    RangeSweep,
    Unreadable,
    sweep_of,
    value_of,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a=1", 1),
        ("a=-2.5e3", -2500.0),
        ("a=true", True),
        ("a=null", None),
        ("a=14 mo", "14 mo"),
        ("a=[1,b,{c:2}]", [1, "b", {"c": 2}]),
        ("a={b:{c:1},d:x}", {"b": {"c": 1}, "d": "x"}),
        ("a.b.0=x", "x"),
    ],
)
def test_a_value_is_plain_python(text: str, value: object) -> None:
    made = value_of(text)
    assert made == value
    assert type(made) is type(value)


def test_text_in_quotes_is_marked() -> None:
    made = value_of("a='1, 2'")
    assert isinstance(made, QuotedString)
    assert made.text == "1, 2"


@pytest.mark.parametrize(("text", "kind"), [("a=1,2", ""), ("a=range(1,3)", "range"), ("a=choice(x,y)", "choice")])
def test_a_sweep_is_no_value(text: str, kind: str) -> None:
    with pytest.raises(Unreadable) as caught:
        value_of(text)
    assert caught.value.sweep
    assert caught.value.function == kind


def test_nothing_is_called() -> None:
    with pytest.raises(Unreadable) as caught:
        value_of("a=[1,extend_list(2)]")
    assert (caught.value.function, caught.value.sweep) == ("extend_list", False)


@pytest.mark.parametrize("text", ["a=[1,2", "a='b", "a=" + "[" * 5000])
def test_what_cannot_be_read_says_so(text: str) -> None:
    with pytest.raises(Unreadable):
        value_of(text)
    with pytest.raises(Unreadable):
        sweep_of(text)


def test_sweeps_have_what_the_axes_need() -> None:
    choice = sweep_of("a=1,'x, y'")
    assert isinstance(choice, ChoiceSweep)
    assert choice.simple_form
    counted = sweep_of("a=range(0,10,2.5)")
    assert isinstance(counted, RangeSweep)
    assert (counted.start, counted.stop, counted.step) == (0, 10, 2.5)
    pattern = sweep_of("a=glob([x*,y],exclude=xx)")
    assert isinstance(pattern, Glob)
    assert (pattern.include, pattern.exclude) == (["x*", "y"], ["xx"])
    interval = sweep_of("a=interval(0.5,2)")
    assert isinstance(interval, IntervalSweep)
    assert (interval.start, interval.end) == (0.5, 2)
    tagged, shuffled = sweep_of("a=tag(t,choice(1,2))"), sweep_of("a=shuffle(1,2)")
    assert tagged is not None
    assert shuffled is not None
    assert tagged.tags == {"t"}
    assert shuffled.shuffle
    assert sweep_of("a=[1,2]") is None


def test_threads_read_what_one_reads_and_nothing_global_is_set() -> None:
    before = version.getbase()
    texts = [f"a={{b:[{n},{n}.5],c:'{n}'}}" for n in range(60)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(repr, pool.map(value_of, texts))) == [repr(value_of(text)) for text in texts]
    assert version.getbase() is before
    assert not GlobalHydra.instance().is_initialized()
