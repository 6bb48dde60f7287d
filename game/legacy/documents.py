"""The legacy documents that are taken apart: bag, mail, what is worn, tournaments, and two small objects.

An array or object of elements becomes records in order, each with its form, and a frame where assembling the elements
plainly would not give the source text: spaces, elements that can't be read, entries written in another way.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import TypeAlias

from game.legacy import fields
from game.legacy.cells import Cell
from game.legacy.forms import (
    MARK,
    Field,
    Fields,
    Part,
    Unreadable,
    by_column,
    cut,
    dumps,
    fill,
    loads,
    parts,
    skip,
    top_keys,
)
from game.rows import Record, Value

STEP = 1024
"""The gap between the positions of neighbours."""

FrameItem: TypeAlias = "tuple[str, int | str, str] | tuple[str, int | str, str, str]"
"""Spaces before, the element's position (or its raw text), spaces after; for an entry also its own text, or ""."""

Frame: TypeAlias = tuple[str, list[FrameItem], str]
"""What opens the document, its elements, what closes it."""

PRIVATE = MARK
"""Begins the names of forms and frames among a player's cells; no column is called so."""

_ITEM_COLUMNS, _ITEM_KEYS = by_column(fields.ITEM), top_keys(fields.ITEM)
_MAIL_COLUMNS, _MAIL_KEYS = by_column(fields.MAIL), top_keys(fields.MAIL)
_TOURNAMENT_COLUMNS, _TOURNAMENT_KEYS = by_column(fields.TOURNAMENT), top_keys(fields.TOURNAMENT)

_NEW_ITEM = dumps(
    {"id": "id", "name": "name", "description": "", "type": "type", "slot": "slot", "grade": "grade", "level": 1,
     "stars": "stars", "isEquipped": "worn", "createdAt": 0, "image": "", "quantity": "quantity", "options": "options",
     "enhancementFails": "fails"}
)  # fmt: skip
_NEW_MAIL = dumps(
    {"id": "id", "from": "", "title": "", "message": "", "attachments": {"gold": "gold", "diamonds": "diamonds",
     "actionPoints": "action_points", "items": "items"}, "receivedAt": 0, "expiresAt": "expires_at", "isRead": False,
     "attachmentsClaimed": "claimed"}
)  # fmt: skip


@dataclass(slots=True)
class Apart:
    """A document taken apart. units: its elements, one at least; troubles: (place, what, source text)."""

    units: int
    records: list[Record] = field(default_factory=list)
    troubles: list[tuple[int, Unreadable, str]] = field(default_factory=list)
    frame: str | None = None


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
    text, start = _opened(cell, "{", "an object")
    form, values, end = cut(text, start, wanted)
    if skip(text, end) != len(text):
        raise Unreadable("broken_json", f"something follows the object at offset {end}")
    return text[:start] + form + text[end:], absent(wanted) | values


def write_object(form: str | None, wanted: Fields, record: Mapping[str, Value]) -> str:
    """The document of `read_object` again, with the record's values; without a form a plain one."""
    return fill(form if form is not None else plain_form(wanted), by_column(wanted), record, top_keys(wanted))


def read_whole(cell: Cell, wanted: Fields) -> dict[str, Value]:
    """What a small object's column reads as where it is no object: bag places may be one number for all three types."""
    if wanted is fields.PLACES and isinstance(cell, int) and cell >= 0:
        return dict.fromkeys(by_column(wanted), cell)
    return absent(wanted)


def object_again(cell: Cell, wanted: Fields, record: Mapping[str, Value]) -> Cell:
    """The cell of `read_whole` again, unless a value of the record differs from what it reads as."""
    values = read_whole(cell, wanted)
    return (
        cell if all(record[column] == value for column, value in values.items()) else write_object(None, wanted, record)
    )


def read_array(cell: Cell, wanted: Fields, needs: tuple[str, ...], units: int | None) -> Apart:
    """The bag or the mailbox taken apart. Raises Unreadable where the document as a whole can't be."""
    text, found, apart = _taken(cell, "[", "an array", units)
    pieces: list[tuple[Part, int | str]] = []
    seen: set[Value] = set()
    for place, part in enumerate(found):
        try:
            record = _element(text, part, wanted, needs, seen)
        except Unreadable as trouble:
            raw = text[part.start : part.end]
            apart.troubles.append((place, trouble, raw))
            pieces.append((part, raw))
            continue
        record["position"] = place * STEP
        apart.records.append(record)
        pieces.append((part, place * STEP))
    apart.frame = _array_frame(text, pieces)
    return apart


def write_array(texts: list[tuple[int, str]], frame: str | None) -> str:
    """The array again: what the frame names in its place, then the rest by position."""
    texts = sorted(texts)
    if frame is None:
        return f"[{','.join(text for _, text in texts)}]"
    opening, items, closing = _frame(frame)
    elements, rest = _framed(items, dict(texts), [position for position, _ in texts])
    by_position = dict(texts)
    return opening + ",".join([*elements, *(by_position[position] for position in rest)]) + closing


def item_texts(bag: Iterable[Record], worn: Iterable[Record]) -> list[tuple[int, str]]:
    """Each item's position and JSON text; the flag isEquipped follows what is worn unless it disagreed."""
    ids: set[Value] = {record["item_id"] for record in worn if record["item_id"] is not None}
    return [(_position(record), _item_text(record, ids)) for record in bag]


def mail_texts(mail: Iterable[Record]) -> list[tuple[int, str]]:
    """Each letter's position and JSON text."""
    return [(_position(record), fill(_form(record, _new_mail), _MAIL_COLUMNS, record, _MAIL_KEYS)) for record in mail]


def write_tournament(record: Record) -> str:
    """A tournament's document."""
    form = _form(record, lambda: '{"type":' + dumps(record["kind"]) + "," + plain_form(fields.TOURNAMENT)[1:])
    return fill(form, _TOURNAMENT_COLUMNS, record, _TOURNAMENT_KEYS)


def read_equipment(cell: Cell, bag: set[str], units: int | None) -> Apart:
    """What is worn, by slot; an entry that names no item of the bag, or one worn already, is kept as its text."""
    text, found, apart = _taken(cell, "{", "an object", units)
    last = {part.key: place for place, part in enumerate(found)}
    items: list[FrameItem] = []
    worn: set[str] = set()
    plain = True
    for place, part in enumerate(found):
        raw = text[part.start : part.end]
        before, after = _around(text, found, place)
        if last[part.key] != place or not part.key or not fields.indexable(part.key):
            apart.troubles.append((place, Unreadable("repeated_slot", "the slot is repeated or no usable name"), raw))
            items.append((before, raw, after))
            plain = False
            continue
        record = _worn_record(text, part, bag, worn)
        record["position"] = place * STEP
        apart.records.append(record)
        if record["kept"] not in (None, "null"):
            apart.troubles.append((place, Unreadable("dangling", "names no item of the bag that is free"), raw))
        same = _entry_text(record) == raw
        plain = plain and same and not before and not after
        items.append((before, place * STEP, after, "" if same else raw))
    if found and not (plain and text.startswith("{") and text.endswith("}")):
        apart.frame = dumps([text[: text.index("{") + 1], items, text[text.rindex("}") :]])
    return apart


def write_equipment(worn: Iterable[Record], frame: str | None) -> str:
    """The object again."""
    records = {_position(record): record for record in worn}
    if frame is None:
        return "{" + ",".join(_entry_text(record) for _, record in sorted(records.items(), key=_first)) + "}"
    opening, items, closing = _frame(frame)
    texts = {position: _entry_text(record) for position, record in records.items()}
    for item in items:
        if len(item) == 4 and item[3] and (record := records.get(int(item[1]))) and _still_reads(item[3], record):
            texts[_position(record)] = item[3]
    elements, rest = _framed(items, texts, sorted(records))
    return opening + ",".join([*elements, *(texts[position] for position in rest)]) + closing


def _frame(frame: str) -> Frame:
    opening, items, closing = json.loads(frame)
    return opening, [tuple(item) for item in items], closing


def _opened(cell: Cell, bracket: str, name: str) -> tuple[str, int]:
    if not isinstance(cell, str):
        raise Unreadable("not_a_text", f"expected {name} as JSON text")
    start = skip(cell, 0)
    if cell[start : start + 1] != bracket:
        loads(cell)
        raise Unreadable("wrong_shape", f"expected {name}")
    return cell, start


def _taken(cell: Cell, bracket: str, name: str, units: int | None) -> tuple[str, list[Part], Apart]:
    text, start = _opened(cell, bracket, name)
    found, _ = parts(text, start, whole=True)
    counted = max(1, len(found))
    if units is not None and units != counted:
        raise Unreadable("count_disagrees", f"SQLite counts {units} elements, we count {counted}")
    return text, found, Apart(counted)


def _element(text: str, part: Part, wanted: Fields, needs: tuple[str, ...], seen: set[Value]) -> Record:
    if not isinstance(part.value, dict):
        raise Unreadable("not_an_object", "expected an object")
    form, values, _ = cut(text, part.start, wanted)
    for need in needs:
        if need not in values:
            raise Unreadable(f"without_{need}", f"the element has no {need}")
    if values["id"] in seen:
        raise Unreadable("repeated_id", "the id occurs twice in this document")
    seen.add(values["id"])
    return {**absent(wanted), **values, "form": form}


def _array_frame(text: str, pieces: list[tuple[Part, int | str]]) -> str | None:
    found = [part for part, _ in pieces]
    if not found:
        return None
    plain = "[" + ",".join([text[part.start : part.end] for part in found]) + "]"
    if plain == text and all(isinstance(piece, int) for _, piece in pieces):
        return None
    items = [
        [_around(text, found, place)[0], piece, _around(text, found, place)[1]]
        for place, (_, piece) in enumerate(pieces)
    ]
    return dumps([text[: text.index("[") + 1], items, text[text.rindex("]") :]])


def _around(text: str, found: list[Part], place: int) -> tuple[str, str]:
    """The spaces before and after a part, up to the comma or bracket on either side."""
    part = found[place]
    begin = found[place - 1].end if place else _outer(text)
    begin = part.start - _spaces(text[begin : part.start][::-1])
    return text[begin : part.start], text[part.end : skip(text, part.end)]


def _outer(text: str) -> int:
    return skip(text, 0) + 1


def _spaces(text: str) -> int:
    return len(text) - len(text.lstrip(" \t\n\r"))


def _framed(items: list[FrameItem], texts: Mapping[int, str], positions: list[int]) -> tuple[list[str], list[int]]:
    """The frame's elements that still exist, and the positions that it does not name."""
    named = {item[1] for item in items if isinstance(item[1], int)}
    elements = [
        item[0] + (texts[item[1]] if isinstance(item[1], int) else item[1]) + item[2]
        for item in items
        if not isinstance(item[1], int) or item[1] in texts
    ]
    return elements, [position for position in positions if position not in named]


def _worn_record(text: str, part: Part, bag: set[str], worn: set[str]) -> Record:
    value = part.value
    if isinstance(value, str) and value in bag and value not in worn:
        worn.add(value)
        return {"slot": part.key, "item_id": value, "kept": None}
    return {"slot": part.key, "item_id": None, "kept": text[part.value_start : part.end]}


def _entry_text(record: Record) -> str:
    value = dumps(record["item_id"]) if record["kept"] is None else str(record["kept"])
    return f"{dumps(record['slot'])}:{value}"


def _still_reads(original: str, record: Record) -> bool:
    text = "{" + original + "}"
    (part,), _ = parts(text, 0)
    if record["kept"] is not None:
        return part.key == record["slot"] and text[part.value_start : part.end] == record["kept"]
    return part.key == record["slot"] and part.value == record["item_id"]


def _item_text(record: Record, worn: Set[Value]) -> str:
    flag = record.get("worn_flag")
    shown = record["id"] in worn if flag is None else flag
    return fill(_form(record, lambda: _NEW_ITEM_FORM), _ITEM_COLUMNS, {**record, "worn": shown}, _ITEM_KEYS)


def _new_mail() -> str:
    return _NEW_MAIL_FORM


def _marked(template: str, columns: Mapping[str, Field]) -> str:
    """A template's texts that are names of columns, turned into marks."""
    for column in columns:
        template = template.replace(f':"{column}"', f":{MARK}{column}{MARK}")
    return template


_NEW_ITEM_FORM = _marked(_NEW_ITEM, _ITEM_COLUMNS)
_NEW_MAIL_FORM = _marked(_NEW_MAIL, _MAIL_COLUMNS)


def _form(record: Record, new: Callable[[], str]) -> str:
    form = record.get("form")
    return form if isinstance(form, str) else new()


def _position(record: Record) -> int:
    position = record["position"]
    if not isinstance(position, int):
        raise TypeError(f"a position is a number, not {position!r}")
    return position


def _first(pair: tuple[int, Record]) -> int:
    return pair[0]
