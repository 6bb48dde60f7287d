"""The target as the legacy file would hold it: each legacy table's rows again, in order, from the database alone.

Everything is read in one snapshot and streamed: a group of players or rows is at most a chunk, or one larger value.
"""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import TypeAlias

import sqlalchemy as sa
from psycopg import sql
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateTable

from db import ops
from db.legacy import declared_tables
from db.legacy import schema as schemas
from db.legacy.schema import Schema, Statement
from db.legacy.source import CELL_BYTES, CHUNK_BYTES, table_of
from db.transfer import preconditions
from db.transfer.batches import JOURNALS
from db.transfer.cursors import fetch, stream
from game import tables
from game.legacy import codec, file_journals, numbering, sqlite_values
from game.legacy.codec.mapping import USERS
from game.legacy.sqlite_values import BadText, Cell
from game.rows import Key, Record, Rows
from game.runs import runs
from game.urls import PostgresUrl

LegacyRow: TypeAlias = dict[str, Cell]
PlacedRow: TypeAlias = tuple[int, LegacyRow]
"""A row's position and its cells by column."""

_OWN_TABLE = {"user_credentials": "user_credentials", "live_games": "live_games", "kv": "key_values"}
"""Legacy tables that have a table of their own in the target."""

_INDEX = numbering.INDEX.replace("IF NOT EXISTS ", "")
_PLAYERS_A_FETCH = 2000
_ROOM_BYTES = 80 * CELL_BYTES
_LARGE = {
    "user_tournaments": ("form",),
    "user_inventory": ("form", "options"),
    "user_mail": ("form",),
    "user_equipment_presets": ("form", "equipment"),
    "user_quests": ("form", "reward"),
    "user_milestones": ("form",),
    "user_missions": ("form",),
}
"""The columns that hold what may be of any size, beside a player's own cells."""
_SIZES = "".join(
    f" + coalesce((select sum({' + '.join(f'coalesce(octet_length({column}), 0)' for column in columns)})"
    f" from {table} t where t.user_id = l.key), 0)"
    for table, columns in _LARGE.items()
)
_PLAYERS = f"""
select l.position, l.key, octet_length(l.cells){_SIZES}
from legacy_rows l where l.source = 'users' order by l.position
"""
_PLAYERS_WITHOUT_A_ROW = """
select id from users u
where not exists (select from legacy_rows l where l.source = 'users' and l.key = u.id) order by id collate "C"
"""


@contextmanager
def opened(url: PostgresUrl) -> Iterator[Target]:
    """Open the database in one repeatable-read snapshot; nothing is written. Raises Refusal if it does not answer."""
    with ops.connect(url, application="sudamr transfer") as conn, preconditions.explained(url.redacted):
        conn.execute("begin isolation level repeatable read read only")
        yield Target(conn)


class Target:
    """An open snapshot of the database."""

    def __init__(self, conn: ops.Connection) -> None:
        self.conn = conn

    @cached_property
    def schema(self) -> Schema:
        """Return the schema of the loaded file, with journals that it had not; for no file, that of today's service."""
        records = self.conn.execute(
            "select type, name, table_name, sql from legacy_schema order by position"
        ).fetchall()
        schema = schemas.from_records(records) if records else default_schema()
        have = {statement.name for statement in schema.tables}
        missing = [name for name, journal in JOURNALS.items() if name not in have and self.count(journal)]
        added = [*map(_journal_statement, missing)]
        if numbering.RECEIPTS in missing:
            added.append(Statement("index", str(file_journals.SEQ_INDEX.name), numbering.RECEIPTS, _INDEX))
        return Schema((*schema.statements, *added), schema.settings)

    @cached_property
    def users_columns(self) -> tuple[str, ...]:
        """Return the columns of `users` in the file that was loaded, in order."""
        memory = sqlite3.connect(":memory:", isolation_level=None)
        try:
            schemas.make_tables(memory, self.schema)
            return table_of(memory, "users").columns
        finally:
            memory.close()

    def count(self, table: sa.Table) -> int:
        """Return the number of rows in a table of the target."""
        row = self.conn.execute(sql.SQL("select count(*) from {}").format(sql.Identifier(table.name))).fetchone()
        assert row is not None
        return int(row[0])

    def rows(self, table: str) -> Iterator[PlacedRow]:
        """Yield the legacy table's rows in the order of their positions, which only ever rise."""
        if table == "users":
            return self._players()
        if table in JOURNALS:
            return self._lines(table)
        return self._others(table)

    def players(self) -> int:
        """Return the number of rows that `users` of the legacy file had."""
        row = self.conn.execute(
            "select (select count(*) from users)"
            " + (select count(*) from legacy_rows where source = 'users' and key is null)"
        ).fetchone()
        assert row is not None
        return int(row[0])

    def player(self, player: str) -> Rows:
        """Return every row of the player's, with what was kept of the legacy row."""
        return self.players_of([player])[player]

    def legacy_row(self, rows: Rows) -> LegacyRow:
        """Return the legacy row that these rows of one player are written back as."""
        return self._encode(rows)

    @property
    def absent_columns(self) -> tuple[str, ...]:
        """Return the modelled columns that the loaded file lacked: a legacy row has one where a command wrote it."""
        return tuple(self._absent)

    def take_schema_of(self, other: Target) -> None:
        """Take over what another snapshot's target found out about the file's schema, which is the same in this one."""
        for name in ("schema", "users_columns", "_absent"):
            self.__dict__[name] = getattr(other, name)
        if "_notes_replays" in other.__dict__:
            self.__dict__["_notes_replays"] = other._notes_replays

    def kept_lines(self, table: str) -> Iterator[LegacyRow]:
        """Yield the lines of a journal that were kept whole."""
        return (row for _position, row in self._encoded("legacy_rows", ["position"], source=table))

    def kept_whole_of(self, names: Collection[str]) -> set[str]:
        """Return those of the legacy tables of which a row was kept whole."""
        query = "select distinct source from legacy_rows where source = any(%s)"
        return {name for (name,) in self.conn.execute(query, (list(names),))}

    def added_columns(self) -> list[str]:
        """Return columns that `users` needs besides those of the file: a command wrote what it had no place for."""
        if not self._absent:
            return []
        used = {column for _position, row in self._players() for column in row if column in self._absent}
        return [column for column in USERS.declared if column in used]

    @cached_property
    def _absent(self) -> LegacyRow:
        """Return the modelled columns that the file lacked, each as it is rebuilt for an untouched player."""
        nobody = codec.decode_row({"id": "nobody"}, rowid=0).rows
        for table in tables.PLAYER_STATE:
            nobody.table(table.name)
        row = codec.encode_row(nobody)
        for document in USERS.documents:  # What a tournament says whose file has no place for day or flag.
            row |= {column: scalar.write(scalar.absent) for column, scalar in document.beside.items()}
        return {column: row.get(column) for column in USERS.declared if column not in self.users_columns}

    def _encode(self, rows: Rows) -> LegacyRow:
        """Return the legacy row; of columns that the file lacked, only those that a command gave a value."""
        row = codec.encode_row(rows)
        for column, cell in self._absent.items():
            if column in row and sqlite_values.same(row[column], cell):
                del row[column]
        return row

    def _players(self) -> Iterator[PlacedRow]:
        last = 0
        for group in self._groups():
            players = self.players_of([str(key) for _position, key in group if key is not None])
            kept_rows = self.kept_whole([position for position, key in group if key is None])
            for position, key in group:
                last = position
                yield position, self._encode(kept_rows.pop(position) if key is None else players.pop(key))
        for (player,) in self.conn.execute(_PLAYERS_WITHOUT_A_ROW).fetchall():
            last += 1
            yield last, self._encode(self.players_of([player])[player])

    def _groups(self) -> Iterator[list[tuple[int, str | None]]]:
        with self.conn.cursor(name="players") as cursor:
            cursor.itersize = _PLAYERS_A_FETCH
            players = cursor.execute(_PLAYERS)
            for group in runs(players, lambda player: int(player[2]) + _ROOM_BYTES, CHUNK_BYTES):
                yield [(position, key) for position, key, _bytes in group]

    def players_of(self, ids: list[str]) -> dict[str, Rows]:
        """Return every row of these players, with what was kept of their legacy rows."""
        rows_of = {player: Rows({table.name: {} for table in tables.PLAYER_STATE}) for player in ids}
        unread_query = self._unread
        with self.conn.pipeline():
            state = {
                table: fetch(self.conn, table, "id" if table is tables.users else "user_id", ids)
                for table in tables.PLAYER_STATE
            }
            kept = fetch(self.conn, tables.legacy_rows, "key", ids, source="users")
            unread = self.conn.execute(unread_query, (ids,))
        for table, records in state.items():
            for record in records:
                player = str(record["id" if table is tables.users else "user_id"])
                rows_of[player][table.name][key_of(table, record)] = record
        for record in kept:
            rows_of[str(record["key"])].table("legacy_rows")[key_of(tables.legacy_rows, record)] = record
        for player, column in unread:
            rows_of[player].table(codec.UNREAD)[player, column] = {}
        return rows_of

    @property
    def _unread(self) -> str:
        """Return the query of the players' cells, as (player, column), that the quarantine has still."""
        query = "select key, column_name from quarantine where source_table = 'users' and path = '$' and key = any(%s)"
        return f"{query} and loaded_by is null" if self._notes_replays else query

    # A rollback must not need a migration first: what a revision added is looked for.
    @cached_property
    def _notes_replays(self) -> bool:
        """Return True from the revision 0002 on."""
        return self._has("quarantine", "loaded_by")

    @cached_property
    def numbers_receipts(self) -> bool:
        """Return True from the revision 0004 on."""
        return self._has("action_receipts", "seq")

    def _has(self, table: str, column: str) -> bool:
        query = "select from pg_attribute where attrelid = %s::regclass and attname = %s and not attisdropped"
        return bool(self.conn.execute(query, (table, column)).rowcount)

    def kept_whole(self, positions: list[int]) -> dict[int, Rows]:
        """Return the rows of `users` that were kept whole at these positions."""
        records = fetch(self.conn, tables.legacy_rows, "position", positions, source="users") if positions else ()
        return {int(str(r["position"])): Rows({"legacy_rows": {key_of(tables.legacy_rows, r): r}}) for r in records}

    def _others(self, table: str) -> Iterator[PlacedRow]:
        streams = [self._encoded("legacy_rows", ["position"], source=table)]
        if (name := _OWN_TABLE.get(table)) is not None:
            streams.append(self._encoded(name, ["position", *tables.KEYS[name]]))
        last: int | None = None
        for position, row in heapq.merge(*streams, key=_position):
            last = position if last is None or position > last else last + 1
            yield last, row

    def _encoded(self, name: str, order: list[str], source: str | None = None) -> Iterator[PlacedRow]:
        for record in stream(self.conn, tables.BY_NAME[name], order=order, source=source):
            line = int(str(record["position"])), codec.encode_other(name, record)
            record.clear()  # What is suspended here must not hold a large value twice.
            yield line

    def _lines(self, table: str) -> Iterator[PlacedRow]:
        """Yield a journal in the order of its key, the lines that were kept whole among the others."""
        journal = JOURNALS[table]
        kept = list(self.kept_lines(table))
        without = () if self.numbers_receipts else file_journals.ADDED_TO_RECEIPTS
        lines: Iterator[LegacyRow] = (
            _plain(record) for record in stream(self.conn, journal, order=tables.KEYS[journal.name], without=without)
        )
        columns = tables.KEYS[journal.name]
        merged = heapq.merge(
            lines, sorted(kept, key=lambda row: sqlite_key(row, columns)), key=lambda row: sqlite_key(row, columns)
        )
        yield from enumerate(merged, 1)


def sqlite_key(row: Mapping[str, Cell], columns: tuple[str, ...]) -> tuple[tuple[int, int | float | bytes], ...]:
    """Return a key that sorts as SQLite does: NULL, numbers, texts by their bytes, blobs."""
    return tuple(_sortable(row[column]) for column in columns)


def _sortable(cell: Cell) -> tuple[int, int | float | bytes]:
    match cell:
        case None:
            return 0, 0
        case int() | float():
            return 1, cell
        case bytes():
            return 3, cell
        case str() | BadText():
            return 2, sqlite_values.original(cell)


def default_schema() -> Schema:
    """Return the tables as today's service declares them, in WAL mode, for a database without a loaded file."""
    memory = sqlite3.connect(":memory:", isolation_level=None)
    try:
        declared_tables.create(memory)
        schema = schemas.read(memory)
    finally:
        memory.close()
    return Schema(schema.statements, schema.settings | {"journal_mode": "wal"})


def _journal_statement(name: str) -> Statement:
    table = file_journals.TABLES[JOURNALS[name].name]
    return Statement("table", name, name, str(CreateTable(table).compile(dialect=sqlite.dialect())).strip())


def _position(line: PlacedRow) -> int:
    return line[0]


def key_of(table: sa.Table, record: Record) -> Key:
    """Return the primary key of a record of the target."""
    values = [record[name] for name in tables.KEYS[table.name]]
    return tuple(value if isinstance(value, int) else str(value) for value in values)


def _plain(record: Record) -> LegacyRow:
    return dict(record.items())
