"""Brings the journals of the legacy file up to Postgres: the lines of requests, and the openings of players."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from db.transfer.batches import JOURNALS
from db.transfer.live import writing
from db.transfer.live_back.dirty import Dirty
from db.transfer.live_back.file import FileTransactions
from db.transfer.live_back.players import require_equal
from db.transfer.target import LegacyRow, Target
from db.transfer.write_back import FileWriter
from game import tables
from game.legacy import sqlite_values
from game.legacy.sqlite_values import quote
from game.runs import runs

AT_ONCE = 500
"""Requests whose lines are read and written in one transaction of the file: less than a megabyte."""

OPENINGS = tables.LEGACY_PREFIX + tables.player_openings.name
NAMES = frozenset(JOURNALS)
_OF_REQUESTS = tuple(name for name in JOURNALS if name != OPENINGS)

Place = tuple[object, ...]


def apply(file: FileTransactions, target: Target, writer: FileWriter, dirty: Dirty) -> None:
    """Bring the lines of these requests, and of these players' openings, up to the snapshot, some at a time.

    Raises Failure if what is read again is not as it was written; nothing of the open transaction is written then.
    """
    lines = _Lines(file, target, writer)
    openings: set[tuple[str, ...]] = {(player,) for player in dirty.players}
    requests: set[tuple[str, ...]] = set(dirty.requests)
    for names, keys in (((OPENINGS,), openings), (_OF_REQUESTS, requests)):
        for some in runs(sorted(keys), _one, AT_ONCE):
            lines.apply(names, some)
            if len(some) == AT_ONCE:
                file.turn()


class _Lines:
    def __init__(self, file: FileTransactions, target: Target, writer: FileWriter) -> None:
        self.file = file
        self.target = target
        self.writer = writer
        self._kept: dict[str, list[LegacyRow]] = {name: [] for name in JOURNALS}
        for name in target.kept_whole_of(JOURNALS):
            self._kept[name] = list(target.kept_lines(name))

    def apply(self, names: Collection[str], keys: Collection[tuple[str, ...]]) -> None:
        with self.target.conn.pipeline():
            of_target = {name: self._select(name, keys) for name in names}
        for name, lines in of_target.items():
            self._apply(name, keys, lines)

    def _apply(self, name: str, keys: Collection[tuple[str, ...]], of_target: Iterator[LegacyRow]) -> None:
        table, key = self.file.tables[name], tables.KEYS[JOURNALS[name].name]
        expected = {_place(line, key): line for line in (*of_target, *self._kept_of(name, keys))}
        actual = {_place(line, key): line for line in self._in_file(name, keys)}
        for place, line in actual.items():
            if place not in expected or self._differs(name, line, expected[place]):
                self.writer.drop_line(table, line)
        for place, line in expected.items():
            if place not in actual or self._differs(name, actual[place], line):
                self.writer.add_line(table, line)
        if expected != actual:
            require_equal(self._differences(name, keys, expected), self.file.where)

    def _differs(self, name: str, left: LegacyRow, right: LegacyRow) -> bool:
        columns = self.file.tables[name].columns
        return any(not sqlite_values.same(left.get(column), right.get(column)) for column in columns)

    def _select(self, name: str, keys: Collection[tuple[str, ...]]) -> Iterator[LegacyRow]:
        """Return the lines of Postgres. The query is sent by this call: several are answered in one round trip."""
        journal = JOURNALS[name]
        columns = [column.name for column in tables.record_columns(journal)]
        query, parameters = writing.selecting(journal, columns, list(keys), width=_width(keys))
        cursor = self.target.conn.execute(query, parameters)
        return (dict(zip(columns, row, strict=True)) for row in cursor)

    def _kept_of(self, name: str, keys: Collection[tuple[str, ...]]) -> Iterator[LegacyRow]:
        """Yield the lines that were kept whole."""
        wanted, names = set(keys), tables.KEYS[JOURNALS[name].name][: _width(keys)]
        return (line for line in self._kept[name] if tuple(line[column] for column in names) in wanted)

    def _in_file(self, name: str, keys: Collection[tuple[str, ...]]) -> Iterator[LegacyRow]:
        columns = self.file.tables[name].columns
        of_key = tables.KEYS[JOURNALS[name].name][: _width(keys)]
        where = " AND ".join(f"{column} IS ?" for column in of_key)
        query = f"SELECT {', '.join(map(quote, columns))} FROM {quote(name)} WHERE {where}"
        for key in keys:
            for cells in self.file.connection.execute(query, key).fetchall():
                yield dict(zip(columns, cells, strict=True))

    def _differences(
        self, name: str, keys: Collection[tuple[str, ...]], expected: dict[Place, LegacyRow]
    ) -> Iterator[str]:
        key = tables.KEYS[JOURNALS[name].name]
        written = {_place(line, key): line for line in self._in_file(name, keys)}
        for place in written.keys() ^ expected.keys():
            yield f"{name}, {place[0]!r}: a line"
        for place in written.keys() & expected.keys():
            if self._differs(name, written[place], expected[place]):
                yield f"{name}, {place[0]!r}: a line"


def _width(keys: Collection[tuple[str, ...]]) -> int:
    """Return the number of columns by which these keys name lines."""
    return len(next(iter(keys)))


def _place(line: LegacyRow, key: tuple[str, ...]) -> Place:
    return tuple((type(line[column]), line[column]) for column in key)


def _one(_each: object) -> int:
    """Count each as one."""
    return 1
