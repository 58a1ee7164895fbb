"""What a configuration says, group by group: the evidence, and the other groups as its readings leave them."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from simulator.configuration import draws
from simulator.configuration.layers import READING_GROUPS, key_of, keys_of, merged
from simulator.configuration.messages import validated
from simulator.configuration.values import Problems
from simulator.errors import MISSING, ConfigError
from simulator.evidence.evidence import READING_KEY, EvidenceFile, Selection, load
from simulator.experiment.root import Root

DECLARED = ("cohort", "model", "course", "study")
OF_A_READING = "set by a reading of the evidence"


@dataclass(frozen=True)
class DeclaredGroups:
    """A configuration taken apart. None where something is wrong, which stands among the problems then.

    ``raw``: groups but the evidence, with the patches of the chosen readings. ``keys``: dotted keys that the user set,
    ``by_hand``: with their values, without choices of files.
    """

    raw: Mapping[str, dict[str, Any]]
    evidence: EvidenceFile | None
    selection: Selection | None
    root: Root | None
    keys: frozenset[str]
    by_hand: Mapping[str, str]


def read_groups(container: Mapping[str, Any], overrides: Sequence[str], problems: Problems) -> DeclaredGroups:
    """Return the groups of a composed configuration. Raises ConfigError where one is missing or a key is unknown."""
    raw = _groups(container, problems)
    evidence = _evidence(container["evidence"], problems)
    draws.check(raw["parameters"], problems)
    selection = _select(evidence, raw, overrides, problems) if evidence is not None else None
    _rescale_mix(raw["cohort"], overrides, problems)
    top = {key: value for key, value in container.items() if key not in {*DECLARED, "parameters", "evidence"}}
    root = validated(Root, top, "", problems.found)
    if root is not None and draws.has_draws(container):
        for what in ("patients", "events"):
            if getattr(root.output, what):
                allowed = "keeps histories of one parameter set: leave it out, or take point values"
                problems.add(f"output.{what}", True, allowed)
    return DeclaredGroups(raw, evidence, selection, root, frozenset(keys_of(overrides)), _by_hand(overrides))


def _groups(container: Mapping[str, Any], problems: Problems) -> dict[str, dict[str, Any]]:
    """Return a copy of every group but the evidence; ConfigError where one is missing or a key is unknown."""
    names = (*DECLARED, "parameters", "evidence")
    known = {*names, *Root.model_fields}
    for key in container:
        if key not in known:
            problems.unknown(str(key), str(key), known, what="key")
    for name in names:
        group = container.get(name)
        if not isinstance(group, Mapping):
            value = MISSING if group is None else group
            problems.add(name, value, f"is missing: the cohort's defaults must name a {name} file")
    problems.raise_any()
    return {name: copy.deepcopy(dict(container[name])) for name in names[:-1]}


def _evidence(container: object, problems: Problems) -> EvidenceFile | None:
    try:
        return load(container)
    except ConfigError as refusal:
        problems.found.extend(refusal.problems)
        return None


def _select(evidence: EvidenceFile, groups: dict[str, Any], overrides: Sequence[str], problems: Problems) -> Selection:
    """Choose readings and lay their patches over the groups; what the user set by hand stays."""
    keys = keys_of(overrides)
    try:
        selection = evidence.select(groups["study"].get("reading"), by_hand=READING_KEY in keys)
    except ConfigError as refusal:
        problems.found.extend(refusal.problems)
        return evidence.select(None)
    for name in READING_GROUPS:
        groups[name] = merged(groups[name], getattr(selection, name), OF_A_READING, key=name, closer=keys)
    applied = set(selection.chosen.values()) - set(selection.not_applied)
    groups["parameters"] = draws.with_readings(groups["parameters"], applied, keys)
    return selection


def _rescale_mix(cohort: dict[str, Any], overrides: Sequence[str], problems: Problems) -> None:
    """``cohort.mix.<stratum>=share``: that stratum gets the share, the others keep their proportions."""
    prefix = "cohort.mix."
    strata = [key[len(prefix) :] for key in map(key_of, overrides) if key.startswith(prefix)]
    mix = cohort.get("mix")
    if not strata or not isinstance(mix, dict) or any(name not in mix for name in strata):
        return
    fixed = {name: mix[name] for name in strata}
    if any(isinstance(v, bool) or not isinstance(v, (int, float)) or not 0 <= v <= 1 for v in fixed.values()):
        for name, value in fixed.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
                problems.add(prefix + name, value, "must be a share between 0 and 1; the other strata are rescaled")
        return
    others = {name: value for name, value in mix.items() if name not in fixed}
    if any(isinstance(v, bool) or not isinstance(v, (int, float)) for v in others.values()):
        problems.add("cohort.mix", dict(mix), "only a mix of plain numbers can be rescaled: set every stratum's share")
        return
    rest, total = 1.0 - sum(fixed.values()), sum(others.values())
    if rest < -1e-9 or (not others and abs(rest) > 1e-9):
        problems.add("cohort.mix", fixed, "the shares must sum to at most 1 (to 1 if all are given)")
        return
    shares = {n: max(rest, 0.0) * (v / total if total > 0 else 1.0 / len(others)) for n, v in others.items()}
    cohort["mix"] = {name: shares.get(name, share) for name, share in mix.items()}


def _by_hand(overrides: Sequence[str]) -> dict[str, str]:
    """Return the dotted keys that texts set, with what they set them to; choices of files are not among them."""
    found = {key_of(text): text for text in overrides}
    return {
        key: "(taken away)" if text.startswith("~") else text.partition("=")[2]
        for key, text in found.items()
        if "." in key
    }
