"""Writes what was found into a scenario file: `expect`, `outcomes` and `after` where they are there, comments kept."""

from __future__ import annotations

import io
from collections.abc import Collection
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from harness.play.replay import PlayResult, outcomes
from harness.scenarios.model import Race, Scenario, ScenarioStep
from harness.scenarios.yaml_reader import Data, flow, plain
from harness.scenarios.yaml_reader import Path as YamlPath

LINE = 118


def rewrite(path: Path, scenario: Scenario, verdict: PlayResult) -> None:
    """Rewrite the file, at once and whole, so that it expects what the verdict's runs gave; what holds stays as it is.

    The verdict has no standing problem. With a race, `after` is what its first order leaves.
    """
    yaml = _yaml()
    document = yaml.load(path.read_text("utf-8"))
    wrong = {problem.path[:3] for problem in verdict.unexpected}
    taken_by_path = {taken.turn.path: taken for taken in verdict.runs[0].taken}
    for n, step in enumerate(scenario.steps):
        if isinstance(step, Race) and ("steps", n, "outcomes") in wrong:
            _put(document["steps"][n], "outcomes", [dict(outcome) for outcome in outcomes(verdict.runs)])
        elif isinstance(step, ScenarioStep) and ("steps", n, "expect") in wrong:
            _put(document["steps"][n], "expect", dict(taken_by_path[("steps", n)].outcome or {}))
    _put_after(document, plain(verdict.runs[0].changes.as_data()), wrong)
    _write(path, yaml, document)


def _put_after(document: CommentedMap, changes: Data, wrong: Collection[YamlPath]) -> None:
    """Put each row and each request's lines that are wrong; delete what did not change, and tables left empty."""
    assert isinstance(changes, dict)
    tables = [path[1] for path in wrong if path[0] == "after"]
    if not tables:
        return
    if not document["after"]:
        document["after"] = _laid_out(changes, indent=0)
        return
    for table in [table for table in dict.fromkeys((*document["after"], *changes)) if table in tables]:
        rows = changes.get(table, {})
        assert isinstance(rows, dict)
        written = document["after"].setdefault(table, _laid_out({}, indent=LINE))
        for key in [key for key in (*written, *rows) if ("after", table, key) in wrong]:
            if key in rows:
                _put(written, key, rows[key])
            else:
                del written[key]
        if not written:
            del document["after"][table]


def _yaml() -> YAML:
    """Return a writer of scenario files: lists indented under their key, lines whole, every mapping in its braces."""
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = 10_000
    yaml.brace_single_entry_mapping_in_flow_sequence = True
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


def _write(path: Path, yaml: YAML, document: CommentedMap) -> None:
    """Replace the file at once: the old one stands until the new one is whole."""
    text = io.StringIO()
    yaml.dump(document, text)
    beside = path.with_name(f"{path.name}.new")
    beside.write_text(text.getvalue(), "utf-8")
    beside.replace(path)


def _put(holder: CommentedMap, key: str, value: Data) -> None:
    """Set the key; where it holds a mapping already, only what differs in it, so that comments stay."""
    old = holder.get(key)
    if isinstance(old, CommentedMap) and old and isinstance(value, dict):
        for name in [name for name in old if name not in value]:
            del old[name]
        for name, each in value.items():
            _put(old, name, each)
    elif old is None or plain(old) != value:
        holder[key] = _laid_out(plain(value), indent=8)


def _laid_out(value: Data, *, indent: int) -> object:
    """Write in flow style what fits on a line, the rest in blocks; all of `after` always a table a line."""
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
