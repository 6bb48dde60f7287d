"""Writes what was found into a scenario file: `expect`, `outcomes` and `after` where they are there, comments kept."""

from __future__ import annotations

from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from harness.replay import Verdict, outcomes
from harness.scenario_model import Race, Scenario, Step
from harness.yaml_reader import Data


def rewrite(path: Path, scenario: Scenario, verdict: Verdict) -> None:
    """Rewrites the file so that the verdict's own runs are what it expects.

    The verdict has no standing problem. With a race, `after` is what its first order leaves.
    """
    yaml = _yaml()
    document = yaml.load(path.read_text("utf-8"))
    found = {taken.turn.path: taken for taken in verdict.runs[0].taken}
    for n, step in enumerate(scenario.steps):
        written = document["steps"][n]
        if isinstance(step, Race) and step.outcomes is not None:
            _put(written, "outcomes", [dict(outcome) for outcome in outcomes(verdict.runs)])
        elif isinstance(step, Step) and step.expect is not None:
            outcome = found[("steps", n)].outcome
            _put(written, "expect", dict(outcome or {}))
    if scenario.after is not None:
        _put(document, "after", verdict.runs[0].difference.as_data())
    with path.open("w", encoding="utf-8") as out:
        yaml.dump(document, out)


def _yaml() -> YAML:
    """As scenario files are written: lists indented under their key, and no line folded."""
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = 10_000
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


def _put(holder: CommentedMap, key: str, value: Data) -> None:
    """Sets the key; where it holds a mapping already, only what differs in it, so that comments stay."""
    old = holder.get(key)
    if isinstance(old, CommentedMap) and isinstance(value, dict):
        for name in [name for name in old if name not in value]:
            del old[name]
        for name, each in value.items():
            _put(old, name, each)
    elif old != value or type(old) is not type(value):
        holder[key] = _flowing(value)


def _flowing(value: Data) -> object:
    """The value in flow style, as a scenario writes what is short."""
    if isinstance(value, dict):
        mapping = CommentedMap((key, _flowing(each)) for key, each in value.items())
        mapping.fa.set_flow_style()
        return mapping
    if isinstance(value, list):
        sequence = CommentedSeq(_flowing(each) for each in value)
        sequence.fa.set_flow_style()
        return sequence
    return value
