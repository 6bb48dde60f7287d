"""YAML 1.2, the part that data needs: scalars of the core schema, lists, mappings; and where each of them stands.

Refused, with line and column: duplicate keys, anchors, aliases, tags, a second document, and numbers that are none
(.nan, .inf). Keys are always text, as they are written.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, StreamMark, YAMLError
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

Data: TypeAlias = "bool | int | float | str | list[Data] | dict[str, Data] | None"
Path: TypeAlias = tuple[str | int, ...]

_NULL = re.compile(r"|~|null|Null|NULL")
_TRUE = re.compile(r"true|True|TRUE")
_FALSE = re.compile(r"false|False|FALSE")
_INTEGER = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NO_NUMBER = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A place in a text; line and column count from 1."""

    line: int
    column: int


class BadYaml(Exception):
    """The text is no YAML of the part that is read here."""

    def __init__(self, mark: Mark, expected: str, found: str) -> None:
        super().__init__(f"{mark.line}:{mark.column}: expected {expected}; found {found}")
        self.mark = mark
        self.expected = expected
        self.found = found


@dataclass(frozen=True)
class Document:
    """One document: its data, and for each path the marks of the value and of the key that names it."""

    data: Data
    values: dict[Path, Mark] = field(repr=False)
    keys: dict[Path, Mark] = field(repr=False)

    def mark(self, path: Path) -> Mark:
        """Where the thing at `path` begins: its key, or its value; for what is missing, what would hold it."""
        for length in range(len(path), -1, -1):
            if place := self.keys.get(path[:length]) or self.values.get(path[:length]):
                return place
        return Mark(1, 1)

    def within(self, location: Path) -> Path:
        """The longest path of this document along `location`; parts of it that name nothing here are left out."""
        path: list[str | int] = []
        here: Data = self.data
        for part in location:
            if isinstance(here, dict) and part in here:
                here = here[str(part)]
            elif isinstance(here, list) and isinstance(part, int) and part < len(here):
                here = here[part]
            else:
                continue
            path.append(part)
        return tuple(path)


def read(text: str) -> Document:
    """The document that `text` holds; BadYaml says what else was found, and where."""
    document = Document(None, {}, {})
    try:
        events = _events(text)
        first = next(events, None)
        data = None if first is None else _node(events, first, (), document)
        list(events)
    except MarkedYAMLError as error:
        raise BadYaml(_mark(error.problem_mark), *_expected_found(error.problem or "something else")) from None
    except YAMLError as error:
        raise BadYaml(Mark(1, 1), "YAML", str(error).splitlines()[0]) from None
    return Document(data, document.values, document.keys)


def _expected_found(problem: str) -> tuple[str, str]:
    """The parser's own words, in our order."""
    expected, but, found = problem.removeprefix("expected ").partition(", but got ")
    return (expected, found) if but else ("YAML", problem.removeprefix("found "))


def plain(value: Data) -> Data:
    """The value in plain types alone: ruamel's emitter knows no subclass of text."""
    copied: Data = json.loads(json.dumps(value))
    return copied


def flow(value: Data) -> str:
    """The value as YAML on one line, ready to be pasted into a file."""
    yaml = YAML(typ="rt")
    yaml.default_flow_style = True
    yaml.width = 10_000
    out = io.StringIO()
    yaml.dump(plain(value), out)
    return out.getvalue().removesuffix("...\n").strip()


def _events(text: str) -> Iterator[Event]:
    """The parser's events for nodes, of one document."""
    documents = 0
    for event in YAML(typ="safe", pure=True).parse(text):
        if isinstance(event, NodeEvent | MappingEndEvent | SequenceEndEvent):
            yield event
        elif isinstance(event, DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise BadYaml(_mark(event.start_mark), "one document", "the start of another")


def _node(events: Iterator[Event], event: Event, path: Path, document: Document) -> Data:
    mark = _mark(event.start_mark)
    document.values[path] = mark
    _refuse_cleverness(event, mark)
    if isinstance(event, ScalarEvent):
        return _scalar(event, mark)
    if isinstance(event, SequenceStartEvent):
        return _sequence(events, path, document)
    return _mapping(events, path, document)


def _refuse_cleverness(event: Event, mark: Mark) -> None:
    anchor, tag = getattr(event, "anchor", None), getattr(event, "tag", None)
    if isinstance(event, AliasEvent):
        raise BadYaml(mark, "the value itself", f"the alias *{anchor}")
    if anchor:
        raise BadYaml(mark, "a plain value", f"the anchor &{anchor}")
    if tag:
        raise BadYaml(mark, "a value without a tag", f"the tag {tag}")


def _sequence(events: Iterator[Event], path: Path, document: Document) -> list[Data]:
    items: list[Data] = []
    while not isinstance(event := next(events), SequenceEndEvent):
        items.append(_node(events, event, (*path, len(items)), document))
    return items


def _mapping(events: Iterator[Event], path: Path, document: Document) -> dict[str, Data]:
    entries: dict[str, Data] = {}
    while not isinstance(event := next(events), MappingEndEvent):
        mark = _mark(event.start_mark)
        _refuse_cleverness(event, mark)
        if not isinstance(event, ScalarEvent):
            raise BadYaml(mark, "a key of plain text", "a list or a mapping")
        key = str(event.value)
        if key in entries:
            first = document.keys[(*path, key)]
            raise BadYaml(mark, f"each key once (the first is in line {first.line})", f"{key!r} again")
        document.keys[(*path, key)] = mark
        entries[key] = _node(events, next(events), (*path, key), document)
    return entries


def _scalar(event: ScalarEvent, mark: Mark) -> Data:
    """The core schema's reading of a plain scalar; what is quoted is text."""
    text = str(event.value)
    if event.style is not None:
        return text
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text) or _FALSE.fullmatch(text):
        return bool(_TRUE.fullmatch(text))
    if _INTEGER.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    if _NO_NUMBER.fullmatch(text):
        raise BadYaml(mark, "a number", text)
    return float(text) if _FLOAT.fullmatch(text) else text


def _mark(mark: StreamMark | None) -> Mark:
    return Mark(mark.line + 1, mark.column + 1) if mark else Mark(1, 1)
