"""JSON text with holes where the values stand that the game models, so that it can be written again byte for byte.

`cut` leaves a mark where a value stood: `\\x01column\\x01`, or `\\x01column=TEXT\\x01` where the source wrote the value
otherwise than we would (`3.0`, `"\\uac00"`). `fill` puts the column's value back; TEXT returns as long as it still
reads as that value. A control character can't stand in valid JSON, so a mark is never mistaken for content.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sized
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from game.rows import Value

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

MARK = "\x01"
_MARK_ESCAPED = "\\u0001"
SPACE = " \t\n\r"

MOST_CHARACTERS = 4 * 1024 * 1024
"""Of a document that is parsed: real ones have some tens of thousands, and Python's values take 30 times as much."""

MOST_PARTS = 50_000
"""Of one array or object that is taken apart: each becomes a record, or a finding of its own."""

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


@dataclass(frozen=True, slots=True)
class Field:
    """One modelled value: the column it goes to, how it is read, how it is written, and what its absence means."""

    column: str
    read: Callable[[Json, str], Value]
    """Takes the parsed value and its source text; raises Unreadable."""
    write: Callable[[Value], str]
    absent: Value


Fields: TypeAlias = "Mapping[str, Field | Fields]"


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


_scan: Callable[[str, int], tuple[Json, int]] = json.JSONDecoder(parse_constant=_no_constant).raw_decode


dumps: Callable[[object], str] = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
"""JSON text as the legacy service writes it: compact, Korean as it is."""


def value_at(text: str, start: int) -> tuple[Json, int]:
    """The JSON value that begins at `start`, and where it ends; Unreadable where there is none or it is too deep."""
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
    """The one JSON value that `text` is, spaces around it allowed. Raises Unreadable."""
    check_size(text)
    value, end = value_at(text, skip(text, 0))
    if skip(text, end) != len(text):
        raise Unreadable("broken_json", f"something follows the value at offset {end}")
    return value


def skip(text: str, start: int) -> int:
    """The next offset that is no space."""
    if text[start : start + 1] not in SPACE:
        return start
    match = _SKIP.match(text, start)
    return match.end() if match else start


class Part(NamedTuple):
    """An element of an array, or an entry of an object: where it stands in its text."""

    start: int
    end: int
    value_start: int
    value: Json
    key: str | None = None


def parts(text: str, start: int, *, whole: bool = False) -> tuple[list[Part], int]:
    """The parts of the array or object that begins at `start`, and the offset after its closing bracket.

    `whole` asks that nothing but spaces follows. Raises Unreadable.
    """
    is_object = text[start] == "{"
    close = "}" if is_object else "]"
    found: list[Part] = []
    at = skip(text, start + 1)
    if text[at : at + 1] == close:
        return found, _closed(text, at + 1, whole)
    while True:
        part = _entry(text, at) if is_object else _element(text, at)
        found.append(part)
        check_many(found)
        at = skip(text, part.end)
        mark = text[at : at + 1]
        if mark == close:
            return found, _closed(text, at + 1, whole)
        if mark != ",":
            raise Unreadable("broken_json", f"expected , or {close} at offset {at}")
        at = skip(text, at + 1)


def _closed(text: str, end: int, whole: bool) -> int:
    if whole and skip(text, end) != len(text):
        raise Unreadable("broken_json", f"something follows the value at offset {end}")
    return end


def _element(text: str, at: int) -> Part:
    value, end = value_at(text, at)
    return Part(at, end, at, value)


def _entry(text: str, at: int) -> Part:
    if text[at : at + 1] != '"':
        raise Unreadable("broken_json", f"expected a key at offset {at}")
    key, end = value_at(text, at)
    end = skip(text, end)
    if text[end : end + 1] != ":":
        raise Unreadable("broken_json", f"expected : at offset {end}")
    value_start = skip(text, end + 1)
    value, end = value_at(text, value_start)
    return Part(at, end, value_start, value, str(key))


def cut_part(text: str, part: Part, fields: Fields) -> tuple[str, dict[str, Value]]:
    """The object that is the part's value as (form, values by column), as `cut` gives them. Raises Unreadable.

    An object written as we would write it, which nearly every one is, is cut without going through its text.
    """
    raw = text[part.value_start : part.end]
    if isinstance(part.value, dict) and _MARK_ESCAPED not in raw and _plainly(part.value) == raw:
        values: dict[str, Value] = {}
        if (marked := _marked(part.value, fields, values)) is not None:
            return dumps(marked).replace(f'"{_MARK_ESCAPED}', MARK).replace(f'{_MARK_ESCAPED}"', MARK), values
    form, values, _ = cut(text, part.value_start, fields)
    return form, values


def _plainly(value: Json) -> str | None:
    try:
        return dumps(value)
    except RecursionError:
        return None


def _marked(value: dict[str, Json], fields: Fields, values: dict[str, Value]) -> dict[str, Json] | None:
    """The object with marks for its modelled values, which go to `values`; None where one asks for its source text."""
    marked = dict(value)
    for key, field in fields.items():
        if key not in value:
            continue
        found = value[key]
        if isinstance(field, Field):
            raw = "" if field.write is dumps else dumps(found)
            read = field.read(found, raw)
            if (field.write(read) != raw) if raw else (type(read) is not type(found) or read != found):
                return None
            values[field.column] = read
            marked[key] = f"{MARK}{field.column}{MARK}"
        elif isinstance(found, dict):
            inner = _marked(found, field, values)
            if inner is None:
                return None
            marked[key] = inner
        else:
            _refuse_inner(key, found)
    return marked


def cut(text: str, start: int, fields: Fields) -> tuple[str, dict[str, Value], int]:
    """The object at `start` as (form, values by column, end). Of a key that occurs twice the last one counts.

    Raises Unreadable, of which the whole object is then the unit.
    """
    found, end = parts(text, start)
    last = {part.key: part for part in found if part.key in fields}
    form: list[str] = []
    values: dict[str, Value] = {}
    at = start
    for part in sorted(last.values(), key=_start):
        field = fields[str(part.key)]
        form.append(text[at : part.value_start])
        if isinstance(field, Field):
            value, marked = _cut_value(field, part.value, text[part.value_start : part.end])
            values[field.column] = value
            form.append(marked)
        elif isinstance(part.value, dict):
            inner, inner_values, _ = cut(text, part.value_start, field)
            values |= inner_values
            form.append(inner)
        else:
            _refuse_inner(str(part.key), part.value)
            form.append(text[part.value_start : part.end])
        at = part.end
    form.append(text[at:end])
    return "".join(form), values, end


def _start(part: Part) -> int:
    return part.start


def _refuse_inner(key: str, value: Json) -> None:
    if value is not None:
        raise Unreadable("not_an_object", f"{key} is {_kind(value)}, not an object")


def _cut_value(field: Field, parsed: Json, raw: str) -> tuple[Value, str]:
    value = field.read(parsed, raw)
    mark = field.column if field.write(value) == raw else f"{field.column}={raw}"
    return value, f"{MARK}{mark}{MARK}"


def fill(form: str, fields: Mapping[str, Field], record: Mapping[str, Value], keys: Mapping[str, str]) -> str:
    """The text again, with the record's values; `fields` and `keys` (the JSON key of each) are by column.

    A value that the form has no place for is added at the object's end, where it differs from what absence means.
    """
    pieces = form.split(MARK)
    seen = set()
    for index in range(1, len(pieces), 2):
        column, _, raw = pieces[index].partition("=")
        seen.add(column)
        pieces[index] = written(fields[column], record.get(column), raw)
    text = "".join(pieces)
    for column, field in fields.items():
        if column not in keys and column not in seen and record.get(column, field.absent) != field.absent:
            raise ValueError(f"the source has no place for {column}, and no command may make one")
    added = [
        f"{dumps(key)}:{fields[column].write(record.get(column))}"
        for column, key in keys.items()
        if column not in seen and record.get(column, fields[column].absent) != fields[column].absent
    ]
    return _with_entries(text, added) if added else text


def written(field: Field, value: Value, raw: str) -> str:
    """The value's text: the source's own where it still reads as the value, else ours."""
    if raw:
        read = field.read(loads(raw), raw)
        if type(read) is type(value) and read == value:
            return raw
    return field.write(value)


def rewritten(text: str, value: Json) -> str:
    """The JSON text, changed only where it does not read as the value: what was not changed keeps its spelling.

    Of an object or array members may be changed and added, none taken away; no key may occur twice.
    """
    start = skip(text, 0)
    old, _ = value_at(text, start)
    if old == value:
        return text
    if isinstance(old, dict) and isinstance(value, dict):
        found, _ = parts(text, start)
        new = [value[str(part.key)] for part in found]
        added = [f"{dumps(key)}:{dumps(member)}" for key, member in value.items() if key not in old]
    elif isinstance(old, list) and isinstance(value, list):
        found, _ = parts(text, start)
        new, added = value[: len(found)], [dumps(member) for member in value[len(found) :]]
    else:
        return dumps(value)
    pieces = []
    at = 0
    for part, member in zip(found, new, strict=True):
        pieces += [text[at : part.value_start], rewritten(text[part.value_start : part.end], member)]
        at = part.end
    again = "".join([*pieces, text[at:]])
    return _with_entries(again, added) if added else again


def _with_entries(text: str, entries: list[str]) -> str:
    body = text.rstrip(SPACE)[:-1].rstrip(SPACE)
    tail = text[len(body) :]
    comma = "" if body.endswith(("{", "[")) else ","
    return f"{body}{comma}{','.join(entries)}{tail}"


def by_column(fields: Fields) -> dict[str, Field]:
    """The fields by column, nested ones included."""
    return dict(_by_column(fields))


def _by_column(fields: Fields) -> Iterator[tuple[str, Field]]:
    for field in fields.values():
        if isinstance(field, Field):
            yield field.column, field
        else:
            yield from _by_column(field)


def top_keys(fields: Fields) -> dict[str, str]:
    """The JSON key of each column that stands at the object's top."""
    return {field.column: key for key, field in fields.items() if isinstance(field, Field)}


def _kind(value: Json) -> str:
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string"}
    return names.get(type(value), "an array")
