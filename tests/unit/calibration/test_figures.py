"""Figures of a calibration: what they say of each number, and densities against a closed form."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from calibration.output.figures import _density, parameters
from calibration.posterior.draws import Draws
from calibration.samplers.summary import row


def draws(values: dict[str, np.ndarray]) -> Draws:
    n = len(next(iter(values.values())))
    return Draws(np.zeros(n, int), values, np.zeros(n), {})


def test_a_density_is_that_of_the_law_also_where_shares_end():
    # Kernel estimate of 20,000 draws: within 8 % of the greatest height, also at the end of a falling density.
    rng = np.random.default_rng(2)
    for law, x in ((stats.norm(300, 60), np.linspace(100, 500, 50)), (stats.beta(1, 4), np.linspace(0, 1, 50))):
        truth = law.pdf(x)
        assert _density(law.rvs(20_000, random_state=rng), x) == pytest.approx(truth, abs=0.08 * truth.max())


def test_every_number_has_a_panel_with_its_contraction_or_the_word_assumption():
    rng = np.random.default_rng(1)
    before = {"survival.median": 300 * np.exp(0.6 * rng.normal(size=500)), "hazard.ratio": np.exp(rng.normal(size=500))}
    after = {"survival.median": 300 * np.exp(0.1 * rng.normal(size=500)), "hazard.ratio": before["hazard.ratio"]}
    rows = [
        row(name, prior=x, values=after[name], weights=np.ones(500), prior_scaled=np.log(x), scaled=np.log(after[name]))
        for name, x in before.items()
    ]
    figure = parameters(rows, draws(before), draws(after), {"survival.median": "d"})
    median, ratio = (ax for ax in figure.axes if ax.get_visible())
    assert median.get_title(loc="left") == "survival, median"
    assert median.get_xlabel() == "days"
    assert any("contraction 0.9" in text.get_text() for text in median.texts)
    assert [text.get_text() for text in ratio.texts] == ["assumption"]
    assert ratio.get_xlim()[1] > 1.5  # a ratio is no share
