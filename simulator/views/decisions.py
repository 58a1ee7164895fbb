"""The table of decisions: of a run, or of every scenario of a sweep."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr
from rich.console import Group, RenderableType

from simulator.views.tables import add_row, line, ruled_table, significant, supported, swept_heads, swept_labels

NODE = "decisions"
MOST_SCENARIOS = 100
"""Scenarios that are shown; of more the first ones."""


def decisions_table(tree: xr.DataTree) -> RenderableType:
    """Return how often each rule would decide, and how wide its interval is, each with its Monte-Carlo error."""
    node = tree[NODE].to_dataset()
    root = tree.to_dataset()
    swept = [str(name) for name in root.sizes]
    right = {"justify": "right", "no_wrap": True}
    table = ruled_table(
        *((head, {}) for head in swept_heads(root)), ("decision", {"no_wrap": True}), ("probability", right),
        ("±", right), ("width", right), ("±", right),
    )  # fmt: skip
    places = list(np.ndindex(*(node.sizes[name] for name in swept)))
    for place in places[:MOST_SCENARIOS]:
        at = dict(zip(swept, place, strict=True))
        for cells in decision_rows(node.isel(at)):
            add_row(table, [*swept_labels(root, at), *cells])
    left = len(places) - MOST_SCENARIOS
    rest = [line(f"… {left:,} scenarios more")] if left > 0 else []
    names = zip(node["decision"].values, rules(node), strict=True)
    return Group(table, *rest, line(), *(line(f"{name}: {rule}") for name, rule in names))


def decision_rows(node: xr.Dataset) -> Iterator[tuple[str, ...]]:
    """Yield name, probability, its error, width of the interval and its error of each decision, as shown."""
    columns = ("decision_probability", "interval_width")
    for number, name in enumerate(node["decision"].values):
        cells = [str(name)]
        for column in columns:
            value, error = (float(node[each].values[number]) for each in (column, f"{column}_standard_error"))
            cells += [supported(value, error, 1.0, 4), "–" if np.isnan(error) else significant(error)]
        yield tuple(cells)


def rules(node: xr.Dataset) -> list[str]:
    """Return what is decided, in words; of scenarios that differ in it, all that there is."""
    rules = node["rule"]
    whole = rules.transpose("decision", ...).values.reshape(rules.sizes["decision"], -1)
    return [" | ".join(dict.fromkeys(str(rule) for rule in row if rule)) for row in whole]
