"""Reads JSON text part by part, each with its place, and rewrites it without respelling what did not change."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sized
from typing import NamedTuple, TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

SPACE = " \t\n\r"

MOST_CHARACTERS = 4 * 1024 * 1024
"""The longest document that is parsed: real ones have some tens of thousands, and Python's values take 30 times as
much.
"""

MOST_PARTS = 50_000
"""The most parts of one array or object that is taken apart: each becomes a record, or a finding of its own."""

_SKIP = re.compile(r"[ \t\n\r]*")


class Unreadable(Exception):
    """The text or value is not what the game's rules need. `rule` is a short name, `reason` a sentence.

    aside: the player plays on without it, whatever else in its document would hold the player.
    """

    def __init__(self, rule: str, reason: str, *, aside: bool = False) -> None:
        super().__init__(f"{rule}: {reason}")
        self.rule = rule
        self.reason = reason
        self.aside = aside


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


_scan: Callable[[str, int], tuple[Json, int]] = json.JSONDecoder(parse_constant=_no_constant).raw_decode


_encode: Callable[[object], str] = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_CONSTANTS = {True: "true", False: "false", None: "null"}


def dumps(value: object) -> str:
    """Return JSON text as the legacy service writes it: compact, Korean as it is.

    Numbers and constants are written here: the encoder makes an iterator for each, and takes eight times as long.
    """
    if type(value) is int:
        return repr(value)
    if value is None or type(value) is bool:
        return _CONSTANTS[value]
    return _encode(value)


def value_at(text: str, start: int) -> tuple[Json, int]:
    """Return the JSON value that begins at `start`, and where it ends. Raises Unreadable if it is none, or too deep."""
    try:
        return _scan(text, start)
    except (ValueError, RecursionError) as error:
        raise Unreadable("broken_json", str(error)) from None


def check_size(text: str) -> None:
    """Raise Unreadable if the document is too large to be parsed."""
    if len(text) > MOST_CHARACTERS:
        raise Unreadable("too_large", f"{len(text):,} characters, more than {MOST_CHARACTERS:,}")


def check_many(elements: Sized) -> None:
    """Raise Unreadable if the elements are too many to be taken apart."""
    if len(elements) > MOST_PARTS:
        raise Unreadable("too_many", f"more than {MOST_PARTS:,} elements")


def loads(text: str) -> Json:
    """Return the one JSON value that `text` is, spaces around it allowed. Raises Unreadable."""
    check_size(text)
    value, end = value_at(text, skip(text, 0))
    if skip(text, end) != len(text):
        raise Unreadable("broken_json", f"something follows the value at offset {end}")
    return value


def skip(text: str, start: int) -> int:
    """Return the next offset that is no space."""
    if text[start : start + 1] not in SPACE:
        return start
    match = _SKIP.match(text, start)
    return match.end() if match else start


class JsonPart(NamedTuple):
    """An element of an array, or an entry of an object: where it stands in its text."""

    start: int
    end: int
    value_start: int
    value: Json
    key: str | None = None


def parts(text: str, start: int, *, to_end: bool = False) -> tuple[list[JsonPart], int]:
    """Return the parts of the array or object that begins at `start`, and the offset after its closing bracket.

    to_end: nothing but spaces may follow. Raises Unreadable if the text is not of that form.
    """
    is_object = text[start] == "{"
    close = "}" if is_object else "]"
    parsed: list[JsonPart] = []
    at = skip(text, start + 1)
    if text[at : at + 1] == close:
        return parsed, _closed(text, at + 1, to_end)
    while True:
        part = _entry(text, at) if is_object else _element(text, at)
        parsed.append(part)
        check_many(parsed)
        at = skip(text, part.end)
        mark = text[at : at + 1]
        if mark == close:
            return parsed, _closed(text, at + 1, to_end)
        if mark != ",":
            raise Unreadable("broken_json", f"expected , or {close} at offset {at}")
        at = skip(text, at + 1)


def _closed(text: str, end: int, to_end: bool) -> int:
    if to_end and skip(text, end) != len(text):
        raise Unreadable("broken_json", f"something follows the value at offset {end}")
    return end


def _element(text: str, at: int) -> JsonPart:
    value, end = value_at(text, at)
    return JsonPart(at, end, at, value)


def _entry(text: str, at: int) -> JsonPart:
    if text[at : at + 1] != '"':
        raise Unreadable("broken_json", f"expected a key at offset {at}")
    key, end = value_at(text, at)
    end = skip(text, end)
    if text[end : end + 1] != ":":
        raise Unreadable("broken_json", f"expected : at offset {end}")
    value_start = skip(text, end + 1)
    value, end = value_at(text, value_start)
    return JsonPart(at, end, value_start, value, str(key))


def rewritten(text: str, value: Json) -> str:
    """Return the JSON text, changed only where it does not read as the value: what was not changed keeps its spelling.

    Of an object or array members may be changed and added, none taken away; no key may occur twice.
    """
    start = skip(text, 0)
    old, _ = value_at(text, start)
    if old == value:
        return text
    if isinstance(old, dict) and isinstance(value, dict):
        members, _ = parts(text, start)
        new = [value[str(part.key)] for part in members]
        added = [f"{dumps(key)}:{dumps(member)}" for key, member in value.items() if key not in old]
    elif isinstance(old, list) and isinstance(value, list):
        members, _ = parts(text, start)
        new, added = value[: len(members)], [dumps(member) for member in value[len(members) :]]
    else:
        return dumps(value)
    pieces = []
    at = 0
    for part, member in zip(members, new, strict=True):
        pieces += [text[at : part.value_start], rewritten(text[part.value_start : part.end], member)]
        at = part.end
    again = "".join([*pieces, text[at:]])
    return with_entries(again, added) if added else again


def with_entries(text: str, entries: list[str]) -> str:
    """Return the object or array with the entries added at its end."""
    body = text.rstrip(SPACE)[:-1].rstrip(SPACE)
    tail = text[len(body) :]
    comma = "" if body.endswith(("{", "[")) else ","
    return f"{body}{comma}{','.join(entries)}{tail}"
