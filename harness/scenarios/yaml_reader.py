"""YAML 1.2, the part that data needs: scalars of the core schema, lists, mappings; and where each of them stands.

Refused, with line, column and cure: duplicate keys, anchors, aliases, merge keys, tags, a second document, a byte order
mark, numbers that are none (.nan, .inf) or that no bigint holds. Keys are always text, as they are written.
"""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from harness.scenarios.yaml_errors import COMPARE, BadYaml, Mark, explained, mark_of, unreadable

Data: TypeAlias = "bool | int | float | str | list[Data] | dict[str, Data] | None"
Path: TypeAlias = tuple[str | int, ...]

_NULL = re.compile(r"|~|null|Null|NULL")
_TRUE = re.compile(r"true|True|TRUE")
_FALSE = re.compile(r"false|False|FALSE")
_INTEGER = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NO_NUMBER = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_SHOWN, _MOST_DIGITS = 40, 1_000

LEAST, MOST = -(2**63), 2**63 - 1
"""A value of a column, on either store."""

DEEPEST = 40
"""The deepest nesting of lists and mappings; a scenario has some eight levels."""


@dataclass(frozen=True)
class YamlDocument:
    """One document: its data, and for each path the marks of the value and of the key that names it."""

    data: Data
    values: dict[Path, Mark] = field(repr=False)
    keys: dict[Path, Mark] = field(repr=False)

    def mark(self, path: Path) -> Mark:
        """Return where `path` begins: its key, or its value; if it is missing, what would hold it."""
        for length in range(len(path), -1, -1):
            if place := self.keys.get(path[:length]) or self.values.get(path[:length]):
                return place
        return Mark(1, 1)

    def within(self, location: Path) -> Path:
        """Return the longest path of this document along `location`, without the parts that name nothing in it."""
        path: list[str | int] = []
        value: Data = self.data
        for part in location:
            if isinstance(value, dict) and part in value:
                value = value[str(part)]
            elif isinstance(value, list) and isinstance(part, int) and part < len(value):
                value = value[part]
            else:
                continue
            path.append(part)
        return tuple(path)


def read(text: str) -> YamlDocument:
    """Return the document that `text` holds. Raises BadYaml, which says what else was found, and where."""
    document = YamlDocument(None, {}, {})
    if text.startswith("\ufeff"):
        cure = "Save the file as UTF-8 without a byte order mark."
        raise BadYaml(Mark(1, 1), "the first key", "a byte order mark", cure)
    try:
        events = _events(text)
        first = next(events, None)
        data = None if first is None else _node(events, first, (), document)
        list(events)
    except MarkedYAMLError as error:
        raise explained(text, error) from None
    except ReaderError as error:
        raise unreadable(text, error) from None
    except YAMLError as error:
        raise BadYaml(Mark(1, 1), "YAML", str(error).splitlines()[0], COMPARE) from None
    return YamlDocument(data, document.values, document.keys)


def plain(value: Data) -> Data:
    """Return the value in plain types alone: ruamel's emitter knows no subclass of text."""
    copied: Data = json.loads(json.dumps(value))
    return copied


def flow(value: Data) -> str:
    """Return the value as YAML on one line, ready to be pasted into a file."""
    yaml = YAML(typ="rt")
    yaml.default_flow_style = True
    yaml.width = 10_000
    out = io.StringIO()
    yaml.dump(plain(value), out)
    return out.getvalue().removesuffix("...\n").strip()


def _events(text: str) -> Iterator[Event]:
    """Yield the parser's events for nodes, of one document."""
    documents = 0
    for event in YAML(typ="safe", pure=True).parse(text):
        if isinstance(event, NodeEvent | MappingEndEvent | SequenceEndEvent):
            yield event
        elif isinstance(event, DocumentStartEvent):
            documents += 1
            if documents > 1:
                cure = "Move it to a file of its own: a file is one scenario."
                raise BadYaml(mark_of(event.start_mark), "one document", "the start of another", cure)


def _node(events: Iterator[Event], event: Event, path: Path, document: YamlDocument) -> Data:
    mark = mark_of(event.start_mark)
    if len(path) > DEEPEST:
        raise BadYaml(mark, f"{DEEPEST} levels at most", "another", "Close the brackets that were opened by mistake.")
    document.values[path] = mark
    _refuse_cleverness(event, mark)
    if isinstance(event, ScalarEvent):
        return _scalar(event, mark)
    if isinstance(event, SequenceStartEvent):
        return _sequence(events, path, document)
    return _mapping(events, path, document)


def _refuse_cleverness(event: Event, mark: Mark) -> None:
    """Raise BadYaml for an alias, an anchor or a tag."""
    anchor, tag = getattr(event, "anchor", None), getattr(event, "tag", None)
    if isinstance(event, AliasEvent):
        raise BadYaml(
            mark, "the value itself", f"the alias *{anchor}", "Write the value out, or put a text into quotes."
        )
    if anchor:
        cure = "Remove it and write the value out where it is used again, or put a text into quotes."
        raise BadYaml(mark, "a plain value", f"the anchor &{anchor}", cure)
    if tag:
        raise BadYaml(mark, "a value without a tag", f"the tag {tag}", "Remove the tag, or put a text into quotes.")


def _sequence(events: Iterator[Event], path: Path, document: YamlDocument) -> list[Data]:
    items: list[Data] = []
    while not isinstance(event := next(events), SequenceEndEvent):
        items.append(_node(events, event, (*path, len(items)), document))
    return items


def _mapping(events: Iterator[Event], path: Path, document: YamlDocument) -> dict[str, Data]:
    entries: dict[str, Data] = {}
    while not isinstance(event := next(events), MappingEndEvent):
        mark = mark_of(event.start_mark)
        _refuse_cleverness(event, mark)
        if not isinstance(event, ScalarEvent):
            raise BadYaml(mark, "a key of plain text", "a list or a mapping", "Write a name before the colon.")
        key = str(event.value)
        if key == "<<" and event.style is None:
            raise BadYaml(mark, "a key", "the merge key <<", "Write out the keys that it would add.")
        if key in entries:
            first = document.keys[(*path, key)]
            expected = f"each key once (the first is in line {first.line})"
            raise BadYaml(
                mark, expected, f"{key!r} again", "Put all that it holds under the first, and remove this one."
            )
        document.keys[(*path, key)] = mark
        entries[key] = _node(events, next(events), (*path, key), document)
    return entries


def _scalar(event: ScalarEvent, mark: Mark) -> Data:
    """Read a plain scalar by YAML's core schema; what is quoted is text."""
    text = str(event.value)
    if event.style is not None:
        return text
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text) or _FALSE.fullmatch(text):
        return bool(_TRUE.fullmatch(text))
    if _INTEGER.fullmatch(text) or _BASED.fullmatch(text):
        return _integer(text, mark)
    if _NO_NUMBER.fullmatch(text) or (_FLOAT.fullmatch(text) and math.isinf(float(text))):
        raise BadYaml(
            mark, "a number", shortened(text), "Write a number that both stores hold, or put a text into quotes."
        )
    return float(text) if _FLOAT.fullmatch(text) else text


def _integer(text: str, mark: Mark) -> int:
    """Check the range of a whole number. Raises BadYaml beyond what a bigint holds."""
    # Python's int() raises ValueError for thousands of digits.
    value = MOST + 1 if len(text) > _MOST_DIGITS else int(text, 0 if _BASED.fullmatch(text) else 10)
    if not LEAST <= value <= MOST:
        cure = "Write a number that a column holds, or put a text into quotes."
        raise BadYaml(mark, f"a whole number from {LEAST} to {MOST}", shortened(text), cure)
    return value


def shortened(text: str) -> str:
    """Return the text, with the middle of a long one left out."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text):,} characters)"
