"""Forms: JSON text with holes where the values stand that the game models, so that it can be written again exactly.

`cut` leaves a mark where a value stood: `\\x01column\\x01`, or `\\x01column=TEXT\\x01` where the source wrote the value
otherwise than we would (`3.0`, `"\\uac00"`). `fill` puts the column's value back; TEXT returns as long as it still
reads as that value. A control character can't stand in valid JSON, so a mark is never mistaken for content.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import orjson

from game.json_text import Json, JsonPart, Unreadable, dumps, loads, parts, with_entries
from game.rows import Value

MARK = "\x01"


_MARK_ESCAPED = "\\u0001"


@dataclass(frozen=True, slots=True)
class Field:
    """One modelled value: the column it goes to, how it is read and written, what its absence means, and its type.

    type: what a reviewer reads in the printed mapping.
    """

    column: str
    read: Callable[[Json, str], Value]
    """Takes the parsed value and its source text; raises Unreadable."""
    write: Callable[[Value], str]
    absent: Value
    type: str = "text"


Fields: TypeAlias = "Mapping[str, Field | Fields]"


def cut_part(text: str, part: JsonPart, fields: Fields) -> tuple[str, dict[str, Value]]:
    """Return the object that is the part's value as (form, values by column), as `cut` does. Raises Unreadable.

    An object written as we would write it, which nearly every one is, is cut without going through its text.
    """
    raw = text[part.value_start : part.end]
    if isinstance(part.value, dict) and _MARK_ESCAPED not in raw and _plainly(part.value) == raw:
        values: dict[str, Value] = {}
        if (marked := _marked(part.value, fields, values)) is not None:
            return _plainly(marked).replace(f'"{_MARK_ESCAPED}', MARK).replace(f'{_MARK_ESCAPED}"', MARK), values
    form, values, _ = cut(text, part.value_start, fields)
    return form, values


def _plainly(value: Json) -> str:
    """Return compact JSON text as `dumps` does, in a sixth of the time; "" where orjson can't write the value.

    It writes some floats otherwise than `dumps`. The caller compares its text with the source's: if they are equal,
    all that is kept of the source is written as the source has it.
    """
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:  # Nested too deep, an integer of over 64 bits, or a lone surrogate.
        return ""


def _marked(value: dict[str, Json], fields: Fields, values: dict[str, Value]) -> dict[str, Json] | None:
    """Return the object with marks for its modelled values, which go to `values`; None if one needs its source text."""
    marked = dict(value)
    for key, field in fields.items():
        if key not in value:
            continue
        member = value[key]
        if isinstance(field, Field):
            raw = "" if field.write is dumps else _plainly(member)  # As the source has it: see `cut_part`.
            read = field.read(member, raw)
            if (field.write(read) != raw) if raw else (type(read) is not type(member) or read != member):
                return None
            values[field.column] = read
            marked[key] = f"{MARK}{field.column}{MARK}"
        elif isinstance(member, dict):
            inner = _marked(member, field, values)
            if inner is None:
                return None
            marked[key] = inner
        else:
            _refuse_inner(key, member)
    return marked


def cut(text: str, start: int, fields: Fields) -> tuple[str, dict[str, Value], int]:
    """Return the object at `start` as (form, values by column, end). Of a key that occurs twice the last one counts.

    Raises Unreadable, of which the whole object is then the unit.
    """
    entries, end = parts(text, start)
    last = {part.key: part for part in entries if part.key in fields}
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


def _start(part: JsonPart) -> int:
    return part.start


def _refuse_inner(key: str, value: Json) -> None:
    if value is not None:
        raise Unreadable("not_an_object", f"{key} is {_kind(value)}, not an object")


def _cut_value(field: Field, parsed: Json, raw: str) -> tuple[Value, str]:
    value = field.read(parsed, raw)
    mark = field.column if field.write(value) == raw else f"{field.column}={raw}"
    return value, f"{MARK}{mark}{MARK}"


def fill(form: str, fields: Mapping[str, Field], record: Mapping[str, Value], keys: Mapping[str, str]) -> str:
    """Return the text again, with the record's values; `fields` and `keys` (the JSON key of each) are by column.

    A value that the form has no place for is added at the object's end, where it differs from what absence means.
    """
    pieces = form.split(MARK)
    seen = set()
    for index in range(1, len(pieces), 2):
        column, _, raw = pieces[index].partition("=")
        seen.add(column)
        pieces[index] = written(fields[column], record.get(column), raw)
    text = "".join(pieces)
    added: list[str] = []
    for column, field in fields.items():
        if column in seen or record.get(column, field.absent) == field.absent:
            continue
        if column not in keys:
            raise ValueError(f"the source has no place for {column}, and no command may make one")
        added.append(f"{dumps(keys[column])}:{field.write(record.get(column))}")
    return with_entries(text, added) if added else text


def written(field: Field, value: Value, raw: str) -> str:
    """Return the value's text: the source's own if it still reads as the value, else the one that we write."""
    if raw:
        read = field.read(loads(raw), raw)
        if type(read) is type(value) and read == value:
            return raw
    return field.write(value)


def by_column(fields: Fields) -> dict[str, Field]:
    """Return the fields by column, nested ones included."""
    return dict(_by_column(fields))


def _by_column(fields: Fields) -> Iterator[tuple[str, Field]]:
    for field in fields.values():
        if isinstance(field, Field):
            yield field.column, field
        else:
            yield from _by_column(field)


def top_keys(fields: Fields) -> dict[str, str]:
    """Return the JSON key of each column that stands at the object's top."""
    return {field.column: key for key, field in fields.items() if isinstance(field, Field)}


def _kind(value: Json) -> str:
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string"}
    return names.get(type(value), "an array")
