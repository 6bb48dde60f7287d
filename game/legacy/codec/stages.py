"""Single-play stages: an array of names each of those cleared and of those whose first-clear reward was granted."""

from __future__ import annotations

from collections.abc import Sequence

from game.json_text import SPACE, Json, Unreadable, check_many, dumps, loads, parts
from game.legacy.codec import mapping
from game.legacy.codec.arrays import Apart, opened
from game.legacy.sqlite_values import Cell


def read_names(cell: Cell, units: int | None) -> tuple[list[str], Apart]:
    """The names that can be read, in order; and the array apart, without records. Unreadable where it is no array."""
    text, start = opened(cell, "[", "an array")
    elements = loads(text)
    assert isinstance(elements, list)  # It begins with a bracket, and is valid.
    check_many(elements)
    apart = Apart(max(1, len(elements)))
    if units is not None and units != apart.units:
        raise Unreadable("count_disagrees", f"SQLite counts {units} elements, we count {apart.units}")
    names: dict[str, int] = {}
    odd: dict[int, Unreadable] = {}
    for place, element in enumerate(elements):
        if not _is_name(element):
            odd[place] = Unreadable("not_a_name", "expected the name of a stage")
        elif names.setdefault(str(element), place) != place:
            odd[place] = Unreadable("repeated_name", "the stage is named twice")
    if odd:
        found, _ = parts(text, start)
        apart.troubles = [(place, what, text[found[place].start : found[place].end]) for place, what in odd.items()]
    return list(names), apart


def write_names(names: Sequence[str], original: str | None) -> str:
    """The array again: `original` (where it is not written plainly), without names that are gone, and the new ones."""
    if original is None:
        return dumps(list(names))
    found, end = parts(original, original.index("["))
    there = {part.value for part in found if isinstance(part.value, str)}
    stay = [part for part in found if not _is_name(part.value) or part.value in names]
    added = [dumps(name) for name in names if name not in there]
    if len(stay) == len(found):
        body = original[: end - 1].rstrip(SPACE) if added else original[: end - 1]
        comma = "," if found and added else ""
        return body + comma + ",".join(added) + original[len(body) :]
    return "[" + ",".join([*(original[part.start : part.end] for part in stay), *added]) + "]"


def _is_name(element: Json) -> bool:
    return isinstance(element, str) and element != "" and mapping.indexable(element)
