"""One line changed in either engine must make the parity test fail (VERIFICATION 3.8 b, 4f).

Some of these are rules, some the order of two roundings. The reference is changed in its source, the compiled engine
in a copy of its package, which takes most of a minute to compile: one of them here, the others with ``-m slow``.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

from simulator.engines import reference
from simulator.trajectories import Trajectories
from tests.parity import cases
from tests.parity.cases import FEW, Case
from tests.parity.differences import explain_difference
from tests.parity.planting import planted

compiled = pytest.importorskip("simulator.engines.compiled")

MODELS = 300
"""Generated models, of those of `test_engines`, among which one must notice."""

CONTROLS = 60
"""Models in which the right engine must show nothing; `test_engines` asks the same of hundreds."""

RULES = {
    "a change of ratio spends the budget at the new ratio": (
        "clock.remaining - clock.rate * (hazard - clock.anchor)",
        "clock.remaining - rate * (hazard - clock.anchor)",
    ),
    "ties in the opposite order": (
        "self.calendar.schedule_at(entry, time, 1 + what)",
        "self.calendar.schedule_at(entry, time, 1_000 - what)",
    ),
    "the horizon is inside": ("if not time < self.setting.horizon:", "if time > self.setting.horizon:"),
    "visits at a running sum": (
        "course.start + self.n_visits * course.interval[0] + self.delayed",
        "now + course.interval[0] + self.last_delay",
    ),
    "markers cleared after they are set": (
        "(self.markers & ~s.clears[event]) | s.sets[event]",
        "(self.markers | s.sets[event]) & ~s.clears[event]",
    ),
    "a covariate's reference taken off later": (
        "exp(slope * (self.covariates[covariate] - reference))",
        "exp(slope * self.covariates[covariate] - slope * reference)",
    ),
    "ratios in the opposite order": (
        "for state, marker, effect in s.effects[event]:",
        "for state, marker, effect in reversed(s.effects[event]):",
    ),
    "a reset clock keeps its budget": (
        "self.clocks[event].origin, fresh = now, True",
        "self.clocks[event].origin = now",
    ),
    "a second success while one is pending": (
        "if clock.pending or not self.is_at_risk(event)",
        "if not self.is_at_risk(event)",
    ),
    "a success that lasts beyond the risk": (
        "elif self.clocks[event].pending and not self.is_at_risk(event):",
        "elif False:",
    ),
    "one administration more": ("if self.n_given >= self.planned:", "if self.n_given > self.planned:"),
    "nothing is withheld": (
        "if any(s.withholds[e] and self.clocks[e].pending for e in s.by_administration):",
        "if False:",
    ),
    "equal deficits go to the last cell": (
        "best = max(range(len(share)), key=deficits.__getitem__)",
        "best = max(reversed(range(len(share))), key=deficits.__getitem__)",
    ),
    "markers decide the reason before states": (
        "if not reason:\n            reason = next(",
        "if True:\n            reason = next(",
    ),
    "the course's marker outlasts it": ("self.markers &= ~s.on_treatment", "pass"),
    "the occurrence of a choice is not counted": ("self.choose(event, clock.fired - 1)", "self.choose(event, 0)"),
    "a renewed clock forgets that it was spent": ("clock.spent = clock.occurrence != NONE", "pass"),
    "a timer that has run out goes off again": ("over = clock.spent and not renew and hazard == inf", "over = False"),
    "a quotient by the inverse": (
        "clock.anchor + clock.remaining / rate",
        "clock.anchor + clock.remaining * (1.0 / rate)",
    ),
}

COMPILED_RULES = {
    "a quotient by the inverse": (
        "x = hazard + columns.event[REMAINING, e, s] / rate",
        "x = hazard + columns.event[REMAINING, e, s] * (1.0 / rate)",
    ),
    "ties to the last": (
        "winner[k] = e if time < least else leader",
        "winner[k] = e if time <= least else leader",
    ),
    "a delay that is forgotten": ("columns.real[DELAYED, s] += plan.number[DELAY, row]", "harmed = True"),
}
IN_CI = "a quotient by the inverse"
"""The only one of these that is not slow: a rounding, which few patients show."""
"""Lines of the engine as it stands: `planted` refuses one that has been rewritten, which is then to be named anew."""


@cache
def right(number: int) -> tuple[Case, Trajectories]:
    case = cases.generated(number, patients=FEW, study=FEW // 3)
    histories = case.by(compiled)
    assert isinstance(histories, Trajectories)
    return case, histories


def noticed_by(engine: ModuleType, models: int = MODELS) -> int | None:
    """Number of the first generated model in which an engine differs from the compiled one."""
    for number in range(models):
        case, expected = right(number)
        given = case.by(engine)
        if not isinstance(given, Trajectories) or explain_difference(expected, given) is not None:
            return number
    return None


@pytest.mark.parametrize("module", [reference, compiled])
def test_every_line_to_be_changed_stands_once(module):
    source = Path(module.__file__)
    files = sorted(source.parent.glob("*.py")) if source.name == "__init__.py" else [source]
    text = "".join(file.read_text(encoding="utf-8") for file in files)
    rules = RULES if module is reference else COMPILED_RULES
    assert {name: text.count(old) for name, (old, _) in rules.items()} == dict.fromkeys(rules, 1)


def test_the_right_engine_is_noticed_by_none():
    assert noticed_by(reference, CONTROLS) is None


@pytest.mark.parametrize("defect", RULES)
def test_a_line_changed_in_the_reference_is_found(defect, tmp_path):
    assert noticed_by(planted(reference, *RULES[defect], tmp_path)) is not None


@pytest.mark.parametrize(
    "defect", [pytest.param(name, marks=[] if name == IN_CI else [pytest.mark.slow]) for name in COMPILED_RULES]
)
def test_a_line_changed_in_the_compiled_engine_is_found(defect, tmp_path):
    assert noticed_by(planted(compiled, *COMPILED_RULES[defect], tmp_path)) is not None


def test_a_difference_is_explained_by_the_first_patient_and_both_histories(tmp_path):
    case, expected = next(right(k) for k in range(MODELS) if len(right(k)[1].log_time) > 100)
    wrong = planted(
        reference, "self.log.time.append(time)", "self.log.time.append(time + 1.0 * (self.patient == 7))", tmp_path
    )
    given = case.by(wrong)
    assert isinstance(given, Trajectories)
    said = explain_difference(expected, given)
    assert said is not None
    assert "log_time" in said.splitlines()[0]
    assert "\n  patient: 7 | 7" in said
    assert "\n≠ " in said
    assert explain_difference(expected, expected) is None
    fewer = expected.select(expected.patient != 3)
    assert "patients: " in (explain_difference(expected, fewer) or "")
