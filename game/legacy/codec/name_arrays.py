"""Single-play stages: an array of names each of those cleared and of those whose first-clear reward was granted."""

from __future__ import annotations

from collections.abc import Sequence

from game.json_text import SPACE, Json, Unreadable, check_many, dumps, loads, parts
from game.legacy.codec.arrays import ArrayRecords, opened
from game.legacy.codec.readers import indexable
from game.legacy.sqlite_values import Cell


def read_names(cell: Cell, units: int | None) -> tuple[list[str], ArrayRecords]:
    """Return the readable names in order, and the array's size with its unreadable elements (no name, or named twice).

    units: the number of elements by SQLite's count, None if there is none. Raises Unreadable if it is no array, has too
    many elements, or another number of them than `units`.
    """
    text, start = opened(cell, "[", "an array")
    elements = loads(text)
    assert isinstance(elements, list)  # It begins with a bracket, and is valid.
    check_many(elements)
    array = ArrayRecords(max(1, len(elements)))
    if units is not None and units != array.units:
        raise Unreadable("count_disagrees", f"SQLite counts {units} elements, we count {array.units}")
    names: dict[str, int] = {}
    unreadable: dict[int, Unreadable] = {}
    for place, element in enumerate(elements):
        if not _is_name(element):
            unreadable[place] = Unreadable("not_a_name", "expected the name of a stage")
        elif names.setdefault(str(element), place) != place:
            unreadable[place] = Unreadable("repeated_name", "the stage is named twice")
    if unreadable:
        listed, _ = parts(text, start)
        array.unreadable = [
            (place, error, text[listed[place].start : listed[place].end]) for place, error in unreadable.items()
        ]
    return list(names), array


def write_names(names: Sequence[str], original: str | None) -> str:
    """Return the array again: `original`, where it is kept, without names that are gone and with the new ones."""
    if original is None:
        return dumps(list(names))
    listed, end = parts(original, original.index("["))
    named = {part.value for part in listed if isinstance(part.value, str)}
    stay = [part for part in listed if not _is_name(part.value) or part.value in names]
    added = [dumps(name) for name in names if name not in named]
    if len(stay) == len(listed):
        body = original[: end - 1].rstrip(SPACE) if added else original[: end - 1]
        comma = "," if listed and added else ""
        return body + comma + ",".join(added) + original[len(body) :]
    return "[" + ",".join([*(original[part.start : part.end] for part in stay), *added]) + "]"


def _is_name(element: Json) -> bool:
    return isinstance(element, str) and element != "" and indexable(element)
