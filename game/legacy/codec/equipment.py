"""The slots of a player: {slot: item id}, in which an entry may name no item, or one that is worn elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from game.json_text import JsonPart, Unreadable, dumps, parts
from game.legacy.codec.arrays import (
    STEP,
    ArrayRecords,
    LayoutItem,
    around,
    laid_out,
    opened_layout,
    opened_parts,
    position,
)
from game.legacy.codec.readers import indexable
from game.legacy.sqlite_values import Cell
from game.rows import Record


def read_equipment(cell: Cell, slots: Mapping[str, str], units: int | None) -> ArrayRecords:
    """Read what is worn, by slot; `slots`: the slot of each equipment in the bag, by its id.

    An entry that names no equipment for its slot, or one worn already, is kept as its text: were a stack of materials
    worn, it could never be used up. Commands are refused if a slot is named twice or its value is no item's id:
    putting on and taking off would lose that entry.
    """
    text, entries, array = opened_parts(cell, "{", "an object", units)
    last = {part.key: place for place, part in enumerate(entries)}
    items: list[LayoutItem] = []
    worn: set[str] = set()
    plain = True
    for place, part in enumerate(entries):
        raw = text[part.start : part.end]
        before, after = around(text, entries, place)
        if last[part.key] != place or not part.key or not indexable(part.key):
            array.unreadable.append((place, Unreadable("repeated_slot", "the slot is repeated or no usable name"), raw))
            array.refuses = array.refuses or last[part.key] != place
            items.append((before, raw, after))
            plain = False
            continue
        record = _worn_record(text, part, slots, worn)
        record["position"] = place * STEP
        array.records.append(record)
        array.refuses = array.refuses or not isinstance(part.value, str | None)
        if record["kept"] not in (None, "null"):
            array.unreadable.append((place, Unreadable("dangling", "names no free equipment of the slot"), raw))
        same = _entry_text(record) == raw
        plain = plain and same and not before and not after
        items.append((before, place * STEP, after, "" if same else raw))
    if entries and not (plain and text.startswith("{") and text.endswith("}")):
        array.layout = dumps([text[: text.index("{") + 1], items, text[text.rindex("}") :]])
    return array


def write_equipment(worn: Iterable[Record], layout: str | None) -> str:
    """Return the object of `read_equipment` with these records: for the legacy store's saves, and for proofs."""
    records = {position(record): record for record in worn}
    if layout is None:
        return "{" + ",".join(_entry_text(record) for _, record in sorted(records.items(), key=_first)) + "}"
    opening, items, closing = opened_layout(layout)
    texts = {position: _entry_text(record) for position, record in records.items()}
    for item in items:
        if len(item) == 4 and item[3] and (record := records.get(int(item[1]))) and _still_reads(item[3], record):
            texts[position(record)] = item[3]
    elements, positions_left = laid_out(items, texts, sorted(records))
    return opening + ",".join([*elements, *(texts[position] for position in positions_left)]) + closing


def _worn_record(text: str, part: JsonPart, slots: Mapping[str, str], worn: set[str]) -> Record:
    value = part.value
    if isinstance(value, str) and slots.get(value) == part.key and value not in worn:
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


def _first(pair: tuple[int, Record]) -> int:
    return pair[0]
