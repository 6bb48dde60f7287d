"""Writes what was found into a scenario file: `expect`, `outcomes` and `after` where they are there, comments kept."""

from __future__ import annotations

import io
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from harness.replay import Verdict, outcomes
from harness.scenario_model import Race, Scenario, Step
from harness.yaml_reader import Data, flow, plain

LINE = 118


def rewrite(path: Path, scenario: Scenario, verdict: Verdict) -> None:
    """Rewrites the file, at once and whole, so that it expects what the verdict's runs gave.

    The verdict has no standing problem. With a race, `after` is what its first order leaves.
    """
    yaml = _yaml()
    document = yaml.load(path.read_text("utf-8"))
    found = {taken.turn.path: taken for taken in verdict.runs[0].taken}
    for n, step in enumerate(scenario.steps):
        written = document["steps"][n]
        if isinstance(step, Race) and step.outcomes is not None:
            _put(written, "outcomes", [dict(outcome) for outcome in outcomes(verdict.runs)], indent=8)
        elif isinstance(step, Step) and step.expect is not None:
            _put(written, "expect", dict(found[("steps", n)].outcome or {}), indent=8)
    if scenario.after is not None:
        _put(document, "after", verdict.runs[0].difference.as_data(), indent=0)
    _write(path, yaml, document)


def _yaml() -> YAML:
    """As scenario files are written: lists indented under their key, and no line folded."""
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = 10_000
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


def _write(path: Path, yaml: YAML, document: CommentedMap) -> None:
    """The old file stands until the new one is whole."""
    text = io.StringIO()
    yaml.dump(document, text)
    beside = path.with_name(f"{path.name}.new")
    beside.write_text(text.getvalue(), "utf-8")
    beside.replace(path)


def _put(holder: CommentedMap, key: str, value: Data, *, indent: int) -> None:
    """Sets the key; where it holds a mapping already, only what differs in it, so that comments stay."""
    old = holder.get(key)
    if isinstance(old, CommentedMap) and old and isinstance(value, dict):
        for name in [name for name in old if name not in value]:
            del old[name]
        for name, each in value.items():
            _put(old, name, each, indent=indent + 2)
    elif old is None or plain(old) != plain(value):
        holder[key] = _laid_out(plain(value), indent=indent)


def _laid_out(value: Data, *, indent: int) -> object:
    """In flow style what fits on a line, the rest in blocks; the whole difference always a table a line."""
    flowing = indent >= LINE or ((indent > 0 or not value) and indent + len(flow(value)) < LINE)
    inner = LINE if flowing else indent + 2
    if isinstance(value, dict):
        return _styled(CommentedMap((key, _laid_out(each, indent=inner)) for key, each in value.items()), flowing)
    if isinstance(value, list):
        return _styled(CommentedSeq(_laid_out(each, indent=inner) for each in value), flowing)
    return value


def _styled(collection: CommentedMap | CommentedSeq, flowing: bool) -> CommentedMap | CommentedSeq:
    if flowing:
        collection.fa.set_flow_style()
    else:
        collection.fa.set_block_style()
    return collection
