"""The legacy documents that are taken apart: bag, mail, what is worn, presets, missions, tournaments, small objects.

An array or object of elements becomes records in order, each with its form, and a layout where assembling the elements
plainly would not give the source text: spaces, elements that can't be read, entries written in another way.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias

from game.json_text import SPACE, JsonPart, Unreadable, check_size, dumps, loads, parts, skip
from game.legacy.codec import readers
from game.legacy.codec.document import Document, ElementCheck, Elements
from game.legacy.codec.forms import MARK, Fields, cut, cut_part, fill
from game.legacy.sqlite_values import Cell
from game.rows import Record, Value

STEP = 1024
"""The gap between the positions of neighbours."""

LayoutItem: TypeAlias = "tuple[str, int | str, str] | tuple[str, int | str, str, str]"
"""Spaces before, the element's position (or its raw text), spaces after; for an entry also its own text, or ""."""

Layout: TypeAlias = tuple[str, list[LayoutItem], str]
"""The text that opens the document, its elements, and the text that closes it."""

PRIVATE = MARK
"""Begins the names of forms and layouts among a player's cells; no column is called so."""


@dataclass(frozen=True, slots=True)
class KnownElement:
    """An element that was read before. record: what its text reads as, without its place."""

    text: str
    record: Record


KnownTexts: TypeAlias = Mapping[str, KnownElement]
"""The known elements of one document, by their text."""

NONE_KNOWN: KnownTexts = MappingProxyType({})


@dataclass(slots=True)
class ArrayRecords:
    """A document taken apart. units: its elements, one at least; unreadable: (place, what, source text).

    refuses: an element that commands could overwrite can't be read, so commands on the document are refused.
    known: the elements that were not read again, by position.
    """

    units: int
    records: list[Record] = field(default_factory=list)
    unreadable: list[tuple[int, Unreadable, str]] = field(default_factory=list)
    layout: str | None = None
    refuses: bool = False
    known: dict[int, KnownElement] = field(default_factory=dict)


def private(column: str) -> str:
    """Return the name among a player's cells of the column's form or layout."""
    return PRIVATE + column


def position(record: Record) -> int:
    """Return the record's place among its neighbours."""
    place = record["position"]
    if not isinstance(place, int):
        raise TypeError(f"a position is a number, not {place!r}")
    return place


def form_of(record: Record, new: str) -> str:
    """Return the record's own form, or a new one."""
    form = record.get("form")
    return form if isinstance(form, str) else new


def read_object(cell: Cell, document: Document) -> tuple[str, dict[str, Value]]:
    """Return a document that is one object, as (form, values). Raises Unreadable."""
    text, start = opened(cell, "{", "an object")
    form, values, end = cut(text, start, document.fields)
    if skip(text, end) != len(text):
        raise Unreadable("broken_json", f"something follows the object at offset {end}")
    return text[:start] + form + text[end:], document.absent | values


def write_object(form: str | None, document: Document, record: Mapping[str, Value]) -> str:
    """Return the document of `read_object` again, with the record's values; without a form a plain one."""
    return fill(form if form is not None else document.plain_form, document.columns, record, document.keys)


def is_number_for_all(cell: Cell, document: Document) -> bool:
    """Return True if the cell is the one number that such a document may be: it then counts for each of its values."""
    return document.one_number and isinstance(cell, int) and cell >= 0


def read_whole(cell: Cell, document: Document) -> Mapping[str, Value]:
    """Return the values of an object's column that holds no object."""
    if is_number_for_all(cell, document):
        assert isinstance(cell, int)
        return dict.fromkeys(document.columns, cell)
    return document.absent


def object_again(cell: Cell, document: Document, record: Mapping[str, Value]) -> Cell:
    """Return the cell of `read_whole` again, unless a value of the record differs from the one it reads as."""
    values = read_whole(cell, document)
    if all(record[column] == value for column, value in values.items()):
        return cell
    return write_object(None, document, record)


def read_array(
    cell: Cell,
    shape: Elements,
    units: int | None,
    check: ElementCheck | None = None,
    known: KnownTexts = NONE_KNOWN,
) -> ArrayRecords:
    """Read an array of objects; the first that they need is their key. Raises Unreadable if the whole can't be read.

    `check` may still refuse an element that was read; its key counts as there, so that one like it is a repetition.
    """
    text, elements, array = opened_parts(cell, "[", "an array", units)
    keys: set[Value] = set()
    nothing = shape.absent

    def element(part: JsonPart, seen: Record | None) -> Record:
        record = {**nothing, **_element(text, part, shape)} if seen is None else dict(seen)
        key = record[shape.needs[0]]
        if key in keys:
            raise Unreadable(f"repeated_{shape.needs[0]}", f"the {shape.needs[0]} occurs twice in this document")
        keys.add(key)
        if check is not None:
            check(part.value, record)
        return record

    return _read_parts(text, elements, array, element, known)


def read_entries(cell: Cell, document: Document, units: int | None, known: KnownTexts = NONE_KNOWN) -> ArrayRecords:
    """Read an object of objects; a record's form is the whole entry's. Raises Unreadable if the whole can't be read.

    If an entry whose key commands write can't be read, commands are refused: a second entry with the key would hide
    the first.
    """
    text, entries, array = opened_parts(cell, "{", "an object", units)
    last = {part.key: part for part in entries}
    nothing = document.absent

    def entry(part: JsonPart, seen: Record | None) -> Record:
        if last[part.key] is not part:
            raise Unreadable("repeated_key", "the key occurs again further on")
        if seen is not None:
            return dict(seen)
        try:
            values: Record = {document.key: readers.key(part.key, ""), **_inner(text, part, document.fields)}
        except Unreadable:
            array.refuses = array.refuses or part.key in document.used
            raise
        values["form"] = text[part.start : part.value_start] + str(values["form"])
        return {**nothing, **values}

    return _read_parts(text, entries, array, entry, known)


def element_texts(shape: Elements, records: Iterable[Record]) -> list[tuple[int, str]]:
    """Return each element's position and JSON text."""
    return [(position(record), element_text(shape, record)) for record in records]


def element_text(shape: Elements, record: Record) -> str:
    """Return the element's JSON text."""
    return fill(form_of(record, shape.new_form), shape.columns, record, shape.keys)


def entry_text(document: Document, record: Record) -> str:
    """Return the entry's JSON text: its key, and its object."""
    new = f"{dumps(record[document.key])}:{document.new_form}"
    return fill(form_of(record, new), document.columns, record, document.keys)


def write_array(texts: list[tuple[int, str]], layout: str | None, brackets: str = "[]") -> str:
    """Return the array (or, with other brackets, object): what the layout names in its place, the rest by position."""
    texts = sorted(texts)
    if layout is None:
        return f"{brackets[0]}{','.join(text for _, text in texts)}{brackets[1]}"
    opening, items, closing = opened_layout(layout)
    by_position = dict(texts)
    elements, positions_left = laid_out(items, by_position, [place for place, _ in texts])
    return opening + ",".join([*elements, *(by_position[place] for place in positions_left)]) + closing


def opened_layout(layout: str) -> Layout:
    """Read a layout from the text that is kept of it."""
    opening, items, closing = json.loads(layout)
    return opening, [tuple(item) for item in items], closing


def opened(cell: Cell, bracket: str, name: str) -> tuple[str, int]:
    """Return the cell as text and where its value begins, which opens with `bracket`. Raises Unreadable."""
    if not isinstance(cell, str):
        raise Unreadable("not_a_text", f"expected {name} as JSON text")
    check_size(cell)
    start = skip(cell, 0)
    if cell[start : start + 1] != bracket:
        loads(cell)
        raise Unreadable("wrong_shape", f"expected {name}")
    return cell, start


def opened_parts(cell: Cell, bracket: str, name: str, units: int | None) -> tuple[str, list[JsonPart], ArrayRecords]:
    """Return the document as text, its parts, and what takes its records. Raises Unreadable."""
    text, start = opened(cell, bracket, name)
    elements, _ = parts(text, start, to_end=True)
    counted = max(1, len(elements))
    if units is not None and units != counted:
        raise Unreadable("count_disagrees", f"SQLite counts {units} elements, we count {counted}")
    return text, elements, ArrayRecords(counted)


def _read_parts(
    text: str,
    elements: list[JsonPart],
    array: ArrayRecords,
    read: Callable[[JsonPart, Record | None], Record],
    known: KnownTexts,
) -> ArrayRecords:
    pieces: list[tuple[JsonPart, int | str]] = []
    for place, part in enumerate(elements):
        raw = text[part.start : part.end]
        seen = known.get(raw)
        try:
            record = read(part, None if seen is None else seen.record)
        except Unreadable as trouble:
            array.unreadable.append((place, trouble, raw))
            pieces.append((part, raw))
            continue
        record["position"] = place * STEP
        if seen is not None:
            array.known[place * STEP] = seen
        array.records.append(record)
        pieces.append((part, place * STEP))
    array.layout = _layout_of(text, pieces)
    return array


def _element(text: str, part: JsonPart, shape: Elements) -> Record:
    record = _inner(text, part, shape.fields)
    for need in shape.needs:
        if need not in record:
            raise Unreadable(f"without_{need}", f"the element has no {need}")
    return record


def _inner(text: str, part: JsonPart, fields: Fields) -> Record:
    if not isinstance(part.value, dict):
        raise Unreadable("not_an_object", "expected an object")
    form, values = cut_part(text, part, fields)
    return {**values, "form": form}


def _layout_of(text: str, pieces: list[tuple[JsonPart, int | str]]) -> str | None:
    elements = [part for part, _ in pieces]
    if not elements:
        return None
    plain = ",".join([text[part.start : part.end] for part in elements])
    if len(plain) + 2 == len(text) and all(isinstance(piece, int) for _, piece in pieces):
        return None
    items = [
        [around(text, elements, place)[0], piece, around(text, elements, place)[1]]
        for place, (_, piece) in enumerate(pieces)
    ]
    return dumps([text[: _outer(text)], items, text[len(text.rstrip(SPACE)) - 1 :]])


def around(text: str, elements: list[JsonPart], place: int) -> tuple[str, str]:
    """Return the spaces before and after a part, up to the comma or bracket on either side."""
    part = elements[place]
    begin = elements[place - 1].end if place else _outer(text)
    begin = part.start - _spaces(text[begin : part.start][::-1])
    return text[begin : part.start], text[part.end : skip(text, part.end)]


def _outer(text: str) -> int:
    return skip(text, 0) + 1


def _spaces(text: str) -> int:
    return len(text) - len(text.lstrip(SPACE))


def laid_out(items: list[LayoutItem], texts: Mapping[int, str], positions: list[int]) -> tuple[list[str], list[int]]:
    """Return the layout's elements that still exist, and the positions that it does not name."""
    named = {item[1] for item in items if isinstance(item[1], int)}
    elements = [
        item[0] + (texts[item[1]] if isinstance(item[1], int) else item[1]) + item[2]
        for item in items
        if not isinstance(item[1], int) or item[1] in texts
    ]
    return elements, [position for position in positions if position not in named]
