"""JSON texts among the columns: read so that nothing a legacy file holds in them can break a rule."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

UNREADABLE = object()
"""The value of a text that is no JSON, is too deep, names a key of an object twice, or a number beyond all bounds."""


UNREADABLE_STATUS = "unreadable"
"""The status of a tournament whose document, day or flag can't be read: it is kept as it was, for its reward may be
unclaimed, or claimed before."""


UNREADABLE_KEY = ""
"""The key of the record that marks a legacy document, or an element of one, as unreadable.

A command that loads the record's table is refused, so the document is never overwritten. No readable element has an
empty key."""


def from_json(text: str) -> object:
    """Return the value that the text is, or UNREADABLE."""
    try:
        return json.loads(text, object_pairs_hook=_each_key_once, parse_float=_finite, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return UNREADABLE


def to_json(value: object) -> str:
    """Write JSON as the legacy service does: compact, Korean as it is; a lone surrogate, no text, is escaped."""
    written = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if any("\ud800" <= character <= "\udfff" for character in written):
        return json.dumps(value, separators=(",", ":"))
    return written


def is_whole_number(value: object) -> bool:
    """Return True for a whole number of JSON; True and 1.0 are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def _finite(text: str) -> float:
    """Read a number of JSON. Raises ValueError for one beyond the largest float."""
    number = float(text)
    # 1e999 is JSON, but would be written again as Infinity, which is none.
    if not math.isfinite(number):
        raise ValueError(f"{text} is no number that can be written again")
    return number


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _each_key_once(pairs: list[tuple[str, object]]) -> Mapping[str, object]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a key occurs twice")
    return values
