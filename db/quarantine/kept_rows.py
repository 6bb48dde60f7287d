"""A row that was kept whole because it could not be loaded beside the others; loaded by itself once it can be."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from db import ops
from db.errors import Failure
from db.legacy.schema import Schema
from db.quarantine import decided_values
from db.quarantine.entries import Value
from db.transfer import heads
from db.transfer.batches import JOURNALS, plain_line, unfit
from db.transfer.copying import copy
from db.transfer.target import LegacyRow
from game import tables
from game.legacy import codec, sqlite_values
from game.legacy.codec import Finding
from game.rows import Record

_UNIQUE = {"users": ("id", "username", "nickname")}
"""Columns that no two rows may share, besides the key."""


@dataclass(slots=True)
class KeptRow:
    """The row: its table and place in the legacy file, and its cells, a decided value among them."""

    table: str
    position: int
    cells: LegacyRow

    @classmethod
    def read(cls, conn: ops.Connection, schema: Schema, value: Value, decided: str | None) -> KeptRow:
        """Read the row that was kept for the value; `decided` takes the value's place."""
        assert value.row is not None, "the caller has seen that the row is kept"
        kept = conn.execute(
            "select cells from legacy_rows where source = %s and position = %s for update", (value.table, value.row)
        ).fetchone()
        assert kept is not None, "the lock of runs lets nobody else take it away"
        row = sqlite_values.decode(str(kept[0]))
        if decided is not None:
            row[value.column] = decided_values.as_stored(schema, value.table, value.column, decided)
        return cls(value.table, value.row, row)

    @property
    def player(self) -> str | None:
        """Return the player whom the row names."""
        owner = self.cells.get("id" if self.table == "users" else "user_id")
        return owner if isinstance(owner, str) else None

    def blocker(self, conn: ops.Connection) -> str:
        """Say why the row can't be loaded; "" if it can be."""
        if self.table in JOURNALS:
            return self._line_blocker(conn)
        if self.table == "users":
            user = codec.decode_row(self.cells, rowid=self.position).rows.get("users")
            if not user:
                return "the row's id is no text that Postgres can hold as a key"
            (record,) = user.values()
            return self._taken(conn, "users", record, _UNIQUE["users"])
        name, record = codec.decode_other(self.table, self.cells, rowid=self.position)
        if name == "legacy_rows":
            return "the row's key is no text that Postgres can hold as a key"
        return self._taken(conn, name, record, tables.KEYS[name])

    def _line_blocker(self, conn: ops.Connection) -> str:
        journal = JOURNALS[self.table]
        if self.player is None or not conn.execute("select from users where id = %s", (self.player,)).rowcount:
            return "the target has no such player"
        if (column := unfit(journal, self.cells)) is not None:
            return f"no value for {column}"
        return self._taken(conn, journal.name, plain_line(self.cells), tables.KEYS[journal.name], together=True)

    def _taken(
        self, conn: ops.Connection, name: str, record: Record, columns: tuple[str, ...], *, together: bool = False
    ) -> str:
        """Say which key another row has; `together`: the columns are one key."""
        for group in [columns] if together else [(column,) for column in columns]:
            if any(record[column] is None for column in group):
                continue
            equal = sql.SQL(" and ").join(sql.SQL("{} = %s").format(sql.Identifier(column)) for column in group)
            query = sql.SQL("select from {} where {}").format(sql.Identifier(name), equal)
            if conn.execute(query, [record[column] for column in group]).rowcount:
                return f"another {'player' if name == 'users' else 'row'} has this {' and '.join(group)}"
        return ""

    def load(self, conn: ops.Connection) -> list[Finding]:
        """Load the row into its tables. Return what could not be read of it."""
        if self.table == "users":
            return self._load_player(conn)
        if self.table in JOURNALS:
            copy(conn, JOURNALS[self.table], [plain_line(self.cells)])
            heads.give_of_receipts(conn, str(self.player))
        else:
            name, record = codec.decode_other(self.table, self.cells, rowid=self.position)
            copy(conn, tables.BY_NAME[name], [record])
        conn.execute("delete from legacy_rows where source = %s and position = %s", (self.table, self.position))
        return []

    def _load_player(self, conn: ops.Connection) -> list[Finding]:
        decoded = codec.decode_row(self.cells, rowid=self.position, units=decided_values.units(self.cells))
        for table in tables.PLAYER_STATE:
            if records := decoded.rows.get(table.name):
                copy(conn, table, records.values())
        (record,) = decoded.rows["legacy_rows"].values()
        conn.execute(
            "update legacy_rows set key = %s, cells = %s where source = 'users' and position = %s",
            (record["key"], record["cells"], self.position),
        )
        return decoded.findings

    def prove(self, conn: ops.Connection) -> None:
        """Rebuild a row that is no player's from the database, and compare. Raises Failure if it is not as kept."""
        rebuilt = self._rebuilt(conn)
        if rebuilt.keys() != self.cells.keys() or any(
            not sqlite_values.same(cell, rebuilt[column]) for column, cell in self.cells.items()
        ):
            raise Failure(
                "the row rebuilt to equal the one that was kept",
                "another",
                where=f"{self.table} {self.position}",
                do="It is as before. Keep the quarantine; mend the program.",
            )

    def _rebuilt(self, conn: ops.Connection) -> LegacyRow:
        if self.table in JOURNALS:
            name, record = JOURNALS[self.table].name, plain_line(self.cells)
        else:
            name, record = codec.decode_other(self.table, self.cells, rowid=self.position)
        columns = [column.name for column in tables.BY_NAME[name].columns]
        key = tables.KEYS[name]
        query = sql.SQL("select {} from {} where {}").format(
            sql.SQL(", ").join(map(sql.Identifier, columns)),
            sql.Identifier(name),
            sql.SQL(" and ").join(sql.SQL("{} = %s").format(sql.Identifier(column)) for column in key),
        )
        row = conn.execute(query, [record[column] for column in key]).fetchone()
        existing: Record = dict(zip(columns, row or (), strict=bool(row)))
        if self.table in JOURNALS:
            return dict(existing)
        return codec.encode_other(self.table, existing) if existing else {}
