"""The figures of a legacy file's players, read by SQLite's own JSON functions: one side of the independent proof.

Nothing here comes from the codec. A value that SQLite can't read, or may read otherwise than the game does, is unclear:
the column's figures are left out for this player, and the omission is counted.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from typing import Any, ClassVar, NamedTuple, TypeAlias

from db.legacy.source import Source, SourceTable
from db.transfer.figures import DOCUMENTS, FLAGS, NAMES, NUMBERS, OBJECTS, TEXTS, Digest, Figures
from game.legacy.sqlite_values import Cell, quote

MOST_CHARACTERS = 1024 * 1024
"""The largest document that is read, in characters. Real ones have some tens of thousands, and SQLite takes several
times a document's size in memory.
"""

_KEPT_CHARACTERS = 64 * 1024
"""Larger documents are read by a connection of their own, since a statement keeps the text that was last bound to it.
"""

_EXACT = 2**53
"""Beyond this number two programs may read one decimal differently."""

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")

_NOTHING = (None, "", "null", "{}", "[]")

_MEMBERS = "SELECT key, type, value FROM json_each(?)"
_OBJECTS = """
SELECT e.key, m.key, m.type, m.value
FROM json_each(?) AS e LEFT JOIN json_each(CASE e.type WHEN 'object' THEN e.value END) AS m ON m.key IN ({keys})
"""

_ITEM_TEXTS = ("id", "name", "type", "slot", "grade")
_ITEM_KEYS = "'id', 'name', 'type', 'slot', 'grade', 'stars', 'quantity', 'enhancementFails'"
_LETTER_KEYS = "'id', 'attachments', 'expiresAt', 'attachmentsClaimed'"
_QUEST_KEYS = "'id', 'progress', 'target', 'activityPoints', 'isClaimed'"
_MISSION_KEYS = "'isStarted', 'lastCollectionTime', 'accumulatedAmount', 'level', 'accumulatedCollection'"

Member: TypeAlias = "tuple[str, Any]"
"""A value of an object: SQLite's name of its JSON type, and the value."""

_ABSENT: Member = ("null", None)


class FilePlayer(NamedTuple):
    """A row of `users`: its rowid, or its place from 1 where it has none; its id if that is a text; its figures."""

    position: int
    id: str | None
    figures: Figures


class _Unclear(Exception):
    """SQLite can't read the value as the game does."""


def players(source: Source) -> Iterator[FilePlayer]:
    """Yield every row of `users` in the table's order, one at a time. Raises nothing for what a cell may hold."""
    shape = source.tables["users"]
    columns = [column for column in NAMES if column in shape.columns]
    lacking = {column: None for column in NAMES if column not in shape.columns}
    with closing(_Documents()) as documents:
        for place, (rowid, player, *cells) in enumerate(source.connection.execute(_query(shape, columns)), 1):
            row = dict(zip(columns, cells, strict=True)) | lacking
            figures: Figures = {column: _figures(documents, column, row[column]) for column in NAMES}
            yield FilePlayer(place if rowid is None else rowid, player if isinstance(player, str) else None, figures)


def _query(shape: SourceTable, columns: Iterable[str]) -> str:
    wanted = [shape.rowid or "NULL", quote("id"), *map(_bounded, columns)]
    # Without a rowid to sort by, an index that covers the columns would be read instead, in its own order.
    order = f" ORDER BY {shape.rowid}" if shape.rowid else " NOT INDEXED"
    return f"SELECT {', '.join(wanted)} FROM users{order}"


def _bounded(column: str) -> str:
    """Return SQL for the cell; for a document that is too large, a BLOB, which is no document."""
    name = quote(column)
    return name if column not in DOCUMENTS else f"CASE WHEN length({name}) > {MOST_CHARACTERS} THEN x'' ELSE {name} END"


def _figures(documents: _Documents, column: str, cell: Cell) -> tuple[object, ...] | None:
    try:
        if column in NUMBERS:
            return (_whole(_member(cell), NUMBERS[column][1]),)
        if column in FLAGS:
            return (_flag(_member(cell)),)
        if column in TEXTS:
            return (_digest_of(_text(_member(cell))),)
        return documents.figures(column, cell)
    except _Unclear:
        return None


class _Documents:
    """Reads documents by a SQLite of its own, in memory. Close it."""

    def __init__(self) -> None:
        self._connection = _memory()

    def close(self) -> None:
        self._connection.close()

    def figures(self, column: str, cell: Cell) -> tuple[object, ...]:
        """Return the figures of the document. Raises _Unclear."""
        if column == "inventorySlots" and isinstance(cell, int) and cell >= 0:
            return (cell,) * len(OBJECTS[column])  # One number for all of them.
        if cell in _NOTHING:
            cell = "{}"  # Empty, as an array is: it has no elements.
        # SQLite up to 3.44 cuts a key at an escaped NUL. Its JSON functions would read a BLOB too, as binary JSON.
        if not isinstance(cell, str) or "\\u0000" in cell:
            raise _Unclear
        if len(cell) > _KEPT_CHARACTERS:
            self._connection.close()
            self._connection = _memory()
        if column in OBJECTS:
            members = self._members(cell)
            return tuple(_whole(members.get(key, _ABSENT), absent) for key, (_to, absent) in OBJECTS[column].items())
        return self._READERS[column](self, cell)

    def _inventory(self, document: str) -> tuple[object, ...]:
        count, digest = 0, Digest()
        for _key, item in self._objects(document, _ITEM_KEYS):
            count += 1
            digest.add(
                *[_text(item.get(key, _ABSENT)) for key in _ITEM_TEXTS],
                _number(item, "stars"),
                _number(item, "quantity", 1),
                _number(item, "enhancementFails"),
            )
        return count, digest.hex()

    def _equipment(self, document: str) -> tuple[object, ...]:
        if _SURROGATE.search(document):  # `target_figures` does not read it in the text of an entry that is kept.
            raise _Unclear
        digest = Digest()
        for slot, kind, value in self._rows(_MEMBERS, document):
            digest.add(slot, _text((kind, value)))
        return (digest.hex(),)

    def _mail(self, document: str) -> tuple[object, ...]:
        letters, unclaimed, sums, digest = 0, 0, [0, 0, 0], Digest()
        for _key, letter in self._objects(document, _LETTER_KEYS):
            attached = self._inner(letter.get("attachments", _ABSENT))
            amounts = [_number(attached, key) for key in ("gold", "diamonds", "actionPoints")]
            claimed = _flag(letter.get("attachmentsClaimed", _ABSENT))
            letters += 1
            digest.add(_text(letter.get("id", _ABSENT)), *amounts, _time(letter, "expiresAt"), claimed)
            if not claimed:
                unclaimed += 1
                sums = [total + amount for total, amount in zip(sums, amounts, strict=True)]
        return letters, unclaimed, *sums, digest.hex()

    def _quests(self, document: str) -> tuple[object, ...]:
        # A period that is null is none, even where another value for it stood before.
        named = {key: (kind, value) for key, kind, value in self._rows(_MEMBERS, document) if kind != "null"}
        periods, quests = Digest(), Digest()
        for name in ("daily", "monthly", "weekly"):
            if name not in named:
                continue
            period = self._inner(named[name])
            periods.add(name, _number(period, "activityProgress"), _time(period, "lastReset"))
            kind, array = period.get("quests", _ABSENT)
            for _key, quest in self._objects(array, _QUEST_KEYS) if kind != "null" else ():
                quests.add(name, _text(quest.get("id", _ABSENT)), _number(quest, "progress"), _number(quest, "target"))
                quests.add(_number(quest, "activityPoints"), _flag(quest.get("isClaimed", _ABSENT)))
        return periods.hex(), quests.hex()

    def _missions(self, document: str) -> tuple[object, ...]:
        count, digest = 0, Digest()
        for key, mission in self._objects(document, _MISSION_KEYS):
            count += 1
            digest.add(str(key), _flag(mission.get("isStarted", _ABSENT)), _time(mission, "lastCollectionTime"))
            digest.add(_number(mission, "accumulatedAmount"), _number(mission, "level", 1))
            digest.add(_number(mission, "accumulatedCollection"))
        return count, digest.hex()

    _READERS: ClassVar[Mapping[str, Callable[[_Documents, str], tuple[object, ...]]]] = {
        "inventory": _inventory,
        "equipment": _equipment,
        "mail": _mail,
        "quests": _quests,
        "singlePlayerMissions": _missions,
    }

    def _inner(self, member: Member) -> dict[str, Member]:
        """Return the members of an object inside another; null counts as an empty object."""
        kind, value = member
        if kind == "null":
            return {}
        if kind != "object":
            raise _Unclear
        return self._members(value)

    def _members(self, document: str) -> dict[str, Member]:
        """Return the object's values by key; of a key that occurs twice the last one counts, as for the game."""
        return {key: (kind, value) for key, kind, value in self._rows(_MEMBERS, document)}

    def _objects(self, document: str, keys: str) -> Iterator[tuple[int | str, dict[str, Member]]]:
        """Yield the elements of an array or object, themselves objects: their own key, and some of their values by key.

        An element that is none comes without values, and two that follow each other under one key come as one: the
        game reads neither, so the quarantine has them.
        """
        place: int | str | None = None
        members: dict[str, Member] = {}
        for element, key, kind, value in self._rows(_OBJECTS.format(keys=keys), document):
            if element != place:
                if place is not None:
                    yield place, members
                place, members = element, {}
            if key is not None:
                members[key] = (kind, value)
        if place is not None:
            yield place, members

    def _rows(self, query: str, document: str) -> Iterator[tuple[Any, ...]]:
        try:
            yield from self._connection.execute(query, (document,))
        except sqlite3.Error as error:  # Broken JSON, or deeper than SQLite reads.
            raise _Unclear from error


def _memory() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.text_factory = lambda data: data.decode(errors="replace")  # An escaped lone surrogate is no UTF-8.
    return connection


def _member(cell: Cell) -> Member:
    """Return a plain cell as if it stood in a document. Raises _Unclear for what no JSON text could say."""
    match cell:
        case None:
            return _ABSENT
        case int():
            return "integer", cell
        case float():
            return "real", cell
        case str():
            return "text", cell
        case _:
            raise _Unclear


def _whole(member: Member, absent: int) -> int:
    number = _whole_or_none(member)
    return absent if number is None else number


def _whole_or_none(member: Member) -> int | None:
    kind, value = member
    if kind == "integer" and type(value) is int:
        return value
    if kind == "null":
        return None
    # SQLite gives an integer past 64 bits as a decimal too.
    if kind not in ("integer", "real") or not value.is_integer() or abs(value) > _EXACT:
        raise _Unclear
    return int(value)


def _number(members: dict[str, Member], key: str, absent: int = 0) -> int:
    return _whole(members.get(key, _ABSENT), absent)


def _time(members: dict[str, Member], key: str) -> int | None:
    return _whole_or_none(members.get(key, _ABSENT))


def _flag(member: Member) -> int:
    kind, _value = member
    if kind in ("true", "false"):
        return int(kind == "true")
    number = _whole(member, 0)
    if number not in (0, 1):
        raise _Unclear
    return number


def _text(member: Member) -> str | None:
    kind, value = member
    if kind == "text":
        return str(value)
    if kind != "null":
        raise _Unclear
    return None


def _digest_of(text: str | None) -> str:
    """Return a digest in place of a text, which may be of any size."""
    digest = Digest()
    digest.add(text)
    return digest.hex()
