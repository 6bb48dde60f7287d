"""Empty values of a legacy `users` row: every way in which a column, or a key of a document, may hold nothing.

They follow from the declared columns and from the mapping, so a new column or key has its own at once. Made players
get only those with which a player plays on; the others would hold the player.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from db.legacy import declared_tables
from db.samples import builders
from db.samples.anomaly import LegacyRow
from game.json_text import dumps
from game.legacy import codec
from game.legacy.codec.document import Document
from game.legacy.codec.forms import Field, Fields
from game.legacy.codec.mapping import USERS
from game.legacy.sqlite_values import Cell

NOTHINGS: Mapping[str, Cell] = {"NULL": None, "''": "", "[]": "[]", "{}": "{}", "null": "null"}
"""The ways in which a column holds nothing; the last three only in a column of text."""

ABSENT, NULL = "absent", "null"
"""The ways in which a key of a document's first element holds nothing."""

FIRST = 12
"""So many first players of a file are as the service writes them; of the others every second one has empty values."""

EACH = 3
"""So many empty values of one player at most, each in a column of its own."""

_LEAST: Mapping[str, Any] = {
    "level": 30,
    "bag": {"fan": {"name": "푸른 바람 부채", "stars": 1}},
    "worn": ["fan"],
    "mail": {"m1": {"gold": 5, "items": {"미사일": 1}, "expires": 1}},
    "presets": {"대국": {"fan": "fan"}},
    "quests": {period: {"q1": {"target": 3, "progress": 1}} for period in ("daily", "weekly", "monthly")},
    "missions": {"mission_attendance": {"amount": 3}},
    "stages": ["입문-1"],
    "tournaments": {kind: {"status": "complete", "rank": 2} for kind in ("neighborhood", "national", "world")},
}
"""A player with one element in each document."""


@dataclass(frozen=True, slots=True)
class EmptyValue:
    """One column, or with a path one key of its document's elements, and how it holds nothing: a key of NOTHINGS."""

    column: str
    nothing: str
    path: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Return a name of its own: `mail.attachments.gold: absent`."""
        return f"{'.'.join((self.column, *self.path))}: {self.nothing}"

    @property
    def only_once(self) -> bool:
        """Return True if no two players of a file may have it: the column is unique, and this is a value."""
        scalar = USERS.scalars.get(self.column)
        return scalar is not None and scalar.unique and self.nothing != "NULL"

    def change(self, row: LegacyRow) -> bool:
        """Empty the column or key. Return False, and change nothing, if the row's document has no such element."""
        if not self.path:
            row[self.column] = NOTHINGS[self.nothing]
            return True
        document = json.loads(str(row[self.column] or "null"))
        holders = _holders(self.column, document, self.path)
        if not holders:
            return False
        # The service leaves out a key that says nothing: then it is absent already.
        holder = next((one for one in holders if self.path[-1] in one), holders[0])
        if self.nothing == ABSENT:
            holder.pop(self.path[-1], None)
        else:
            holder[self.path[-1]] = None
        row[self.column] = dumps(document)
        return True

    def is_in(self, row: Mapping[str, Cell]) -> bool:
        """Return True if a row holds it."""
        cell = row[self.column]
        if not self.path:
            return type(cell) is type(NOTHINGS[self.nothing]) and cell == NOTHINGS[self.nothing]
        try:
            document = json.loads(str(cell))
        except ValueError:
            return False
        holders = _holders(self.column, document, self.path)
        if self.nothing == ABSENT:
            return any(self.path[-1] not in holder for holder in holders)
        return any(holder.get(self.path[-1], 0) is None for holder in holders)


@cache
def declared() -> tuple[EmptyValue, ...]:
    """Return every empty value of every column and key."""
    return tuple(_of_columns()) + tuple(_of_keys())


@cache
def plays_on(empty: EmptyValue) -> bool:
    """Return True if a player with this empty value plays on, as the codec reads the row; the others are held."""
    row = builders.legacy_row("hana", **_LEAST)
    assert empty.change(row), f"the least player has no {empty.name}"
    return not codec.decode_row(row, rowid=1).rows["users"]["hana",]["held"]


class Dealer:
    """Gives the empty values to a file's players in turn; after the last one it begins again."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[EmptyValue]] = {}
        self._queue(declared())

    def deal(self, n: int, row: LegacyRow, taken: Collection[str]) -> list[EmptyValue]:
        """Empty up to EACH columns or keys of the n-th player's row, n from 0. Return what was emptied.

        The FIRST players and every second one get none. A column in `taken` (an anomaly changed it) stays as it is.
        """
        if n < FIRST or n % 2 == 0:
            return []
        dealt: list[EmptyValue] = []
        # A column has one empty value a player, so those with the most waiting come first.
        for column in sorted(self._waiting, key=lambda column: -len(self._waiting[column])):
            if column not in taken and self._waiting[column] and len(dealt) < EACH:
                dealt += self._of_column(column, row)
        if not any(self._waiting.values()):
            self._queue(empty for empty in declared() if not empty.only_once)
        return dealt

    def _of_column(self, column: str, row: LegacyRow) -> list[EmptyValue]:
        """Give the row the first waiting empty value that fits the column. Return it, or nothing if none fits."""
        waiting = self._waiting[column]
        for _ in range(len(waiting)):
            empty = waiting.popleft()
            if not plays_on(empty):  # Asked here: it costs 2 ms for each.
                continue
            if empty.change(row):
                return [empty]
            waiting.append(empty)
        return []

    def _queue(self, among: Iterable[EmptyValue]) -> None:
        for empty in among:
            self._waiting.setdefault(empty.column, deque()).append(empty)


def _of_columns() -> Iterator[EmptyValue]:
    """Yield the ways in which whole columns of `users` may hold nothing."""
    for column, declared_type, constraint in declared_tables.COLUMNS["users"]:
        if "primary" in constraint:
            continue
        is_document = column in USERS.by_column or (declared_type == "TEXT" and column not in USERS.scalars)
        for nothing in NOTHINGS if is_document else ("NULL", "''"):
            yield EmptyValue(column, nothing)


def _of_keys() -> Iterator[EmptyValue]:
    """Yield the ways in which keys of the documents' elements may hold nothing."""
    for document in USERS.documents:
        for path in (*_paths(document.fields), *(_paths(document.outer.fields) if document.outer else ())):
            prefixes = document.periods if document.shape == "periods" else ("",)
            for prefix in prefixes:
                place = (*filter(None, (prefix,)), *path)
                yield from (EmptyValue(document.column, nothing, place) for nothing in (ABSENT, NULL))


def _paths(fields: Fields) -> Iterator[tuple[str, ...]]:
    for key, field in fields.items():
        yield (key,)
        if not isinstance(field, Field):
            yield from ((key, *path) for path in _paths(field))


def _holders(column: str, document: Any, path: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return the objects of the document that may hold the last key of the path."""
    holders = [one for one in _elements(USERS.by_column[column], document, path) if isinstance(one, dict)]
    inner = path[1:-1] if USERS.by_column[column].shape == "periods" else path[:-1]
    for key in inner:
        holders = [one[key] for one in holders if isinstance(one.get(key), dict)]
    return holders


def _elements(of: Document, document: Any, path: tuple[str, ...]) -> list[Any]:
    if of.shape == "array":
        return document if isinstance(document, list) else []
    if not isinstance(document, dict):
        return []
    if of.shape == "entries":
        return [*document.values()]
    if of.shape != "periods":
        return [document]
    period = document.get(path[0])
    if not isinstance(period, dict) or path[1] not in of.fields:
        return [period]
    quests = period.get("quests")
    return quests if isinstance(quests, list) else []
