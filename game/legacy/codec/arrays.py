"""The legacy documents that are taken apart: bag, mail, what is worn, presets, missions, tournaments, small objects.

An array or object of elements becomes records in order, each with its form, and a frame where assembling the elements
plainly would not give the source text: spaces, elements that can't be read, entries written in another way.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from game.json_text import (
    MARK,
    SPACE,
    Fields,
    Json,
    Part,
    Unreadable,
    by_column,
    check_size,
    cut,
    cut_part,
    dumps,
    fill,
    loads,
    parts,
    skip,
    top_keys,
)
from game.legacy.codec import mapping
from game.legacy.sqlite_values import Cell
from game.rows import Record, Value

STEP = 1024
"""The gap between the positions of neighbours."""

FrameItem: TypeAlias = "tuple[str, int | str, str] | tuple[str, int | str, str, str]"
"""Spaces before, the element's position (or its raw text), spaces after; for an entry also its own text, or ""."""

Frame: TypeAlias = tuple[str, list[FrameItem], str]
"""What opens the document, its elements, what closes it."""

Check: TypeAlias = Callable[[Json, Record], None]
"""Takes an element as it was parsed, and its record; raises Unreadable."""

PRIVATE = MARK
"""Begins the names of forms and frames among a player's cells; no column is called so."""


@dataclass(slots=True)
class Apart:
    """A document taken apart. units: its elements, one at least; troubles: (place, what, source text).

    refuses: an element that commands could overwrite can't be read, so commands on the document are refused.
    """

    units: int
    records: list[Record] = field(default_factory=list)
    troubles: list[tuple[int, Unreadable, str]] = field(default_factory=list)
    frame: str | None = None
    refuses: bool = False


def private(column: str) -> str:
    """The name among a player's cells of the column's form or frame."""
    return PRIVATE + column


def absent(wanted: Fields) -> dict[str, Value]:
    """What each column reads as where the document is missing."""
    return {column: one.absent for column, one in by_column(wanted).items()}


def plain_form(wanted: Fields) -> str:
    """The form of an object that holds the wanted values alone, as the legacy service writes it."""
    entries = (f"{dumps(key)}:{MARK}{column}{MARK}" for column, key in top_keys(wanted).items())
    return "{" + ",".join(entries) + "}"


def read_object(cell: Cell, wanted: Fields) -> tuple[str, dict[str, Value]]:
    """A document that is one object, as (form, values). Raises Unreadable."""
    text, start = opened(cell, "{", "an object")
    form, values, end = cut(text, start, wanted)
    if skip(text, end) != len(text):
        raise Unreadable("broken_json", f"something follows the object at offset {end}")
    return text[:start] + form + text[end:], absent(wanted) | values


def write_object(form: str | None, wanted: Fields, record: Mapping[str, Value]) -> str:
    """The document of `read_object` again, with the record's values; without a form a plain one."""
    return fill(form if form is not None else plain_form(wanted), by_column(wanted), record, top_keys(wanted))


def read_whole(cell: Cell, wanted: Fields) -> dict[str, Value]:
    """What a small object's column reads as where it is no object: bag places may be one number for all three types."""
    if wanted is mapping.PLACES and isinstance(cell, int) and cell >= 0:
        return dict.fromkeys(by_column(wanted), cell)
    return absent(wanted)


def object_again(cell: Cell, wanted: Fields, record: Mapping[str, Value]) -> Cell:
    """The cell of `read_whole` again, unless a value of the record differs from what it reads as."""
    values = read_whole(cell, wanted)
    return (
        cell if all(record[column] == value for column, value in values.items()) else write_object(None, wanted, record)
    )


def read_array(
    cell: Cell, wanted: Fields, needs: tuple[str, ...], units: int | None, check: Check | None = None
) -> Apart:
    """An array of objects taken apart; the first of `needs` is their key. Unreadable where the whole can't be read.

    `check` may still refuse an element that was read; its key counts as there, so that one like it is a repetition.
    """
    text, found, apart = taken(cell, "[", "an array", units)
    seen: set[Value] = set()
    nothing = absent(wanted)

    def element(part: Part) -> Record:
        record = {**nothing, **_element(text, part, wanted, needs, seen)}
        if check is not None:
            check(part.value, record)
        return record

    return _apart(text, found, apart, element)


def read_entries(cell: Cell, wanted: Fields, key: str, units: int | None, used: Container[str | None]) -> Apart:
    """An object of objects taken apart; `key` is the column of their keys, and a form is the whole entry's.

    used: the keys that commands write. If an entry with such a key can't be read, commands are refused: a second entry
    with the key would hide the first. Raises Unreadable if the document can't be read as a whole.
    """
    text, found, apart = taken(cell, "{", "an object", units)
    last = {part.key: part for part in found}
    nothing = absent(wanted)

    def entry(part: Part) -> Record:
        if last[part.key] is not part:
            raise Unreadable("repeated_key", "the key occurs again further on", aside=True)
        try:
            values: Record = {key: mapping.key(part.key, ""), **_inner(text, part, wanted)}
        except Unreadable as trouble:
            apart.refuses = apart.refuses or part.key in used
            trouble.aside = True
            raise
        values["form"] = text[part.start : part.value_start] + str(values["form"])
        return {**nothing, **values}

    return _apart(text, found, apart, entry)


def write_array(texts: list[tuple[int, str]], frame: str | None, brackets: str = "[]") -> str:
    """The array (or, with other brackets, object) again: what the frame names in its place, the rest by position."""
    texts = sorted(texts)
    if frame is None:
        return f"{brackets[0]}{','.join(text for _, text in texts)}{brackets[1]}"
    opening, items, closing = opened_frame(frame)
    elements, rest = framed(items, dict(texts), [position for position, _ in texts])
    by_position = dict(texts)
    return opening + ",".join([*elements, *(by_position[position] for position in rest)]) + closing


def opened_frame(frame: str) -> Frame:
    opening, items, closing = json.loads(frame)
    return opening, [tuple(item) for item in items], closing


def opened(cell: Cell, bracket: str, name: str) -> tuple[str, int]:
    """The cell as text and where its value begins, which opens with `bracket`. Raises Unreadable."""
    if not isinstance(cell, str):
        raise Unreadable("not_a_text", f"expected {name} as JSON text")
    check_size(cell)
    start = skip(cell, 0)
    if cell[start : start + 1] != bracket:
        loads(cell)
        raise Unreadable("wrong_shape", f"expected {name}")
    return cell, start


def taken(cell: Cell, bracket: str, name: str, units: int | None) -> tuple[str, list[Part], Apart]:
    text, start = opened(cell, bracket, name)
    found, _ = parts(text, start, whole=True)
    counted = max(1, len(found))
    if units is not None and units != counted:
        raise Unreadable("count_disagrees", f"SQLite counts {units} elements, we count {counted}")
    return text, found, Apart(counted)


def _apart(text: str, found: list[Part], apart: Apart, read: Callable[[Part], Record]) -> Apart:
    pieces: list[tuple[Part, int | str]] = []
    for place, part in enumerate(found):
        try:
            record = read(part)
        except Unreadable as trouble:
            raw = text[part.start : part.end]
            apart.troubles.append((place, trouble, raw))
            pieces.append((part, raw))
            continue
        record["position"] = place * STEP
        apart.records.append(record)
        pieces.append((part, place * STEP))
    apart.frame = _frame_of(text, pieces)
    return apart


def _element(text: str, part: Part, wanted: Fields, needs: tuple[str, ...], seen: set[Value]) -> Record:
    record = _inner(text, part, wanted)
    for need in needs:
        if need not in record:
            raise Unreadable(f"without_{need}", f"the element has no {need}")
    key = record[needs[0]]
    if key in seen:
        raise Unreadable(f"repeated_{needs[0]}", f"the {needs[0]} occurs twice in this document")
    seen.add(key)
    return record


def _inner(text: str, part: Part, wanted: Fields) -> Record:
    if not isinstance(part.value, dict):
        raise Unreadable("not_an_object", "expected an object")
    form, values = cut_part(text, part, wanted)
    return {**values, "form": form}


def _frame_of(text: str, pieces: list[tuple[Part, int | str]]) -> str | None:
    found = [part for part, _ in pieces]
    if not found:
        return None
    plain = ",".join([text[part.start : part.end] for part in found])
    if len(plain) + 2 == len(text) and all(isinstance(piece, int) for _, piece in pieces):
        return None
    items = [
        [around(text, found, place)[0], piece, around(text, found, place)[1]] for place, (_, piece) in enumerate(pieces)
    ]
    return dumps([text[: _outer(text)], items, text[len(text.rstrip(SPACE)) - 1 :]])


def around(text: str, found: list[Part], place: int) -> tuple[str, str]:
    """The spaces before and after a part, up to the comma or bracket on either side."""
    part = found[place]
    begin = found[place - 1].end if place else _outer(text)
    begin = part.start - _spaces(text[begin : part.start][::-1])
    return text[begin : part.start], text[part.end : skip(text, part.end)]


def _outer(text: str) -> int:
    return skip(text, 0) + 1


def _spaces(text: str) -> int:
    return len(text) - len(text.lstrip(SPACE))


def framed(items: list[FrameItem], texts: Mapping[int, str], positions: list[int]) -> tuple[list[str], list[int]]:
    """The frame's elements that still exist, and the positions that it does not name."""
    named = {item[1] for item in items if isinstance(item[1], int)}
    elements = [
        item[0] + (texts[item[1]] if isinstance(item[1], int) else item[1]) + item[2]
        for item in items
        if not isinstance(item[1], int) or item[1] in texts
    ]
    return elements, [position for position in positions if position not in named]
