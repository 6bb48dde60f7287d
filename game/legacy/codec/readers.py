"""Readers and writers of single values: from a parsed JSON value to a column, and back to JSON text.

A reader takes the parsed value and its source text, and raises Unreadable if it is no value of the column.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from game.json_text import Json, Unreadable, dumps
from game.rows import Value
from game.rules.json_columns import UNREADABLE, from_json

BIGINT = 2**63 - 1

MILESTONES = 5
NO_FLAGS = "[false,false,false,false,false]"

KEY_BYTES = 800
"""The longest text that is a key: an index row of Postgres holds 2,704 bytes, and a key is at most three texts."""


def storable(text: str) -> bool:
    """Return True if Postgres can hold the text: no NUL, no lone surrogate."""
    if "\x00" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def text(parsed: Json, _raw: str) -> str:
    """Return a text that is not empty and that Postgres can hold."""
    if not isinstance(parsed, str) or not parsed:
        raise Unreadable("not_a_text", "expected a text that is not empty")
    if not storable(parsed):
        raise Unreadable("not_storable", "the text holds NUL or a lone surrogate")
    return parsed


def indexable(text: str) -> bool:
    """Return True if Postgres can hold the text as part of a key."""
    return storable(text) and len(text.encode()) <= KEY_BYTES


def key(parsed: Json, raw: str) -> str:
    """Return a text that fits into an index."""
    name = text(parsed, raw)
    if not indexable(name):
        raise Unreadable("too_long", f"expected an id of at most {KEY_BYTES} bytes")
    return name


def text_or_nothing(parsed: Json, raw: str) -> str | None:
    """Return a text, an empty one included; None for null."""
    return None if parsed is None else "" if parsed == "" else text(parsed, raw)


def integer(low: int, high: int, nothing: int | None) -> Callable[[Json, str], int | None]:
    """Make a reader of whole numbers from `low` to `high`; null reads as `nothing`."""

    def read(parsed: Json, _raw: str) -> int | None:
        if parsed is None:
            return nothing
        if isinstance(parsed, float) and parsed.is_integer():
            parsed = int(parsed)
        if not isinstance(parsed, int) or isinstance(parsed, bool):
            raise Unreadable("not_an_integer", "expected a whole number")
        if not low <= parsed <= high:
            raise Unreadable("out_of_range", f"expected {low} to {high}")
        return parsed

    return read


def flag(parsed: Json, _raw: str) -> bool:
    """Return true or false; 1 and 0 read so too, and null as false."""
    if parsed is None or parsed is False or parsed is True:
        return bool(parsed)
    if parsed in (0, 1):
        return bool(parsed)
    raise Unreadable("not_a_flag", "expected true or false")


def source_text(parsed: Json, raw: str) -> str | None:
    """Return the source text; None for null."""
    return None if parsed is None else raw


def any_text(parsed: Json, raw: str) -> str:
    """Return the source text, whatever it is; null reads as an empty object."""
    return "{}" if parsed is None else raw


def worn_texts(parsed: Json, raw: str) -> str:
    """Return {slot: item id or null} as its source text."""
    if parsed is None:
        return "{}"
    if not isinstance(parsed, dict) or (raw and from_json(raw) is UNREADABLE):
        raise Unreadable("not_an_object", "expected {slot: item id}, each slot once")
    for slot, item in parsed.items():
        if not storable(slot) or not (item is None or (isinstance(item, str) and storable(item))):
            raise Unreadable("not_an_item", "expected {slot: item id}")
    return raw


def five_flags(parsed: Json, _raw: str) -> str:
    """Return five flags as JSON text."""
    if parsed is None:
        return NO_FLAGS
    if not isinstance(parsed, list) or len(parsed) != MILESTONES or not all(isinstance(one, bool) for one in parsed):
        raise Unreadable("not_flags", f"expected {MILESTONES} of true or false")
    return dumps(parsed)


def counts(parsed: Json, _raw: str) -> str:
    """Return {name: quantity} as JSON text."""
    if parsed is None:
        return "{}"
    if not isinstance(parsed, dict):
        raise Unreadable("not_an_object", "expected {name: quantity}")
    for name, quantity in parsed.items():
        text(name, "")
        integer(0, BIGINT, 0)(quantity, "")
    return dumps(parsed)


def attached_items(parsed: Json, _raw: str) -> str:
    """Return [{itemId, quantity}] as JSON text [[name, quantity], …]."""
    if parsed is None:
        return "[]"
    if not isinstance(parsed, list):
        raise Unreadable("not_an_array", "expected [{itemId, quantity}]")
    return dumps([_attached(item) for item in parsed])


def _attached(item: Json) -> list[Value]:
    if not isinstance(item, dict):
        raise Unreadable("not_an_object", "expected {itemId, quantity}")
    return [text(item.get("itemId"), ""), integer(1, BIGINT, 1)(item.get("quantity"), "")]


def write_text(value: Value) -> str:
    """Return the kept JSON text as it is; null for None."""
    return str(value) if value is not None else "null"


def write_items(value: Value) -> str:
    """Return what `attached_items` read as [{itemId, quantity}]."""
    return dumps([{"itemId": name, "quantity": quantity} for name, quantity in json.loads(str(value))])
