"""Harms a player's history in a real store, past all that protects it, as a defect or an operator's SQL could."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, Protocol

import psycopg
from psycopg.rows import dict_row

from db.tables import APPEND_ONLY_TRIGGER
from game import chain, tables
from game.chain import Head
from game.legacy import file_journals, sqlite_values
from game.rows import Rows
from harness.history.reference import kept_receipts
from tests.game.places import LegacyPlace, PostgresPlace

PLAYER = "hana"
JOURNALS = tuple(table.name for table in tables.JOURNALS)
STATE = tuple(table.name for table in tables.PLAYER_STATE)
Dump = dict[str, list[dict[str, Any]]]
"""Raw rows of the player by the table's own name in the store."""


class Harmed(Protocol):
    """A store that can be harmed. `name_of`: the name that a journal of the game has there."""

    place: PostgresPlace | LegacyPlace

    def name_of(self, journal: str) -> str: ...

    def dump(self) -> Dump: ...

    def put_back(self, dump: Dump, *, journals: bool = True, columns: Sequence[str] = ()) -> None:
        """Put the player back to how he was: state, and the journals too. columns: of `users` alone, nothing else."""
        ...

    def execute(self, statement: str, *values: object) -> None:
        """Carry out a statement with `?` for each value. One that changes no row fails the test."""
        ...

    def unclaim(self, mail: str, dump: Dump) -> None:
        """Make a mail unclaimed again, as in the dump."""
        ...


class HarmedPostgres:
    """As the owner, without the triggers that refuse to rewrite a journal."""

    def __init__(self, place: PostgresPlace) -> None:
        self.place = place

    def name_of(self, journal: str) -> str:
        return journal

    def dump(self) -> Dump:
        with self._open() as conn:
            return {
                name: conn.execute(f"SELECT * FROM {name} WHERE {_owner(name)} = %s", [PLAYER]).fetchall()  # type: ignore[call-overload]
                for name in (*STATE, *JOURNALS)
            }

    def put_back(self, dump: Dump, *, journals: bool = True, columns: Sequence[str] = ()) -> None:
        with self._open() as conn:
            (user,) = dump["users"]
            wanted = columns or [name for name in user if journals or name not in ("seq", "chain")]
            assignments = ", ".join(f'"{name}" = %s' for name in wanted)
            values = [*(user[name] for name in wanted), PLAYER]
            conn.execute(f"UPDATE users SET {assignments} WHERE id = %s", values)  # type: ignore[call-overload]
            if columns:
                return
            others = [name for name in (*STATE, *(JOURNALS if journals else ())) if name != "users"]
            for name in reversed(others):  # Children before their parents.
                conn.execute(f"DELETE FROM {name} WHERE user_id = %s", [PLAYER])  # type: ignore[call-overload]
            for name in others:
                _insert(conn, name, dump[name])

    def execute(self, statement: str, *values: object) -> None:
        with self._open() as conn:
            done = conn.execute(statement.replace("?", "%s"), values)  # type: ignore[call-overload]
            assert done.rowcount != 0, statement

    def unclaim(self, mail: str, dump: Dump) -> None:
        self.execute("UPDATE user_mail SET claimed = false WHERE user_id = ? AND id = ?", PLAYER, mail)

    @contextmanager
    def _open(self) -> Iterator[psycopg.Connection[dict[str, Any]]]:
        with psycopg.connect(self.place.database.owner.conninfo, row_factory=dict_row) as conn:
            for name in JOURNALS:
                conn.execute(f"ALTER TABLE {name} DISABLE TRIGGER {APPEND_ONLY_TRIGGER}")  # type: ignore[call-overload]
            yield conn


class HarmedFile:
    """By SQL on the file."""

    def __init__(self, place: LegacyPlace) -> None:
        self.place = place

    def name_of(self, journal: str) -> str:
        return file_journals.TABLES[journal].name

    def dump(self) -> Dump:
        with self._open() as conn:
            have = {name for (name,) in conn.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            conn.row_factory = sqlite3.Row
            return {
                name: [dict(row) for row in conn.execute(f"SELECT * FROM {name} WHERE {_owner(name)} = ?", [PLAYER])]
                for name in ("users", *map(self.name_of, JOURNALS))
                if name in have
            }

    def put_back(self, dump: Dump, *, journals: bool = True, columns: Sequence[str] = ()) -> None:
        with self._open() as conn:
            (user,) = dump["users"]
            wanted = columns or list(user)
            assignments = ", ".join(f'"{name}" = ?' for name in wanted)
            conn.execute(f"UPDATE users SET {assignments} WHERE id = ?", [*(user[name] for name in wanted), PLAYER])
            for journal in map(self.name_of, JOURNALS if journals and not columns else ()):
                conn.execute(f"DELETE FROM {journal} WHERE user_id = ?", [PLAYER])
                for row in dump.get(journal, []):
                    marks = ", ".join("?" for _ in row)
                    conn.execute(f"INSERT INTO {journal} ({', '.join(row)}) VALUES ({marks})", list(row.values()))

    def execute(self, statement: str, *values: object) -> None:
        with self._open() as conn:
            assert conn.execute(statement, values).rowcount != 0, statement  # type: ignore[arg-type]

    def unclaim(self, mail: str, dump: Dump) -> None:
        self.put_back(dump, columns=["mail"])

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite_values.connect(self.place.path)) as conn:
            conn.execute("BEGIN IMMEDIATE")
            yield conn
            conn.execute("COMMIT")


def _owner(table: str) -> str:
    return "id" if table == "users" else "user_id"


def _insert(conn: psycopg.Connection[dict[str, Any]], table: str, rows: list[dict[str, Any]]) -> None:
    for row in rows:
        names, marks = ", ".join(f'"{name}"' for name in row), ", ".join("%s" for _ in row)
        conn.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(row.values()))  # type: ignore[call-overload]


def rows_of(harmed: Harmed) -> Rows:
    rows = harmed.place.store.read(PLAYER)
    assert rows is not None
    return rows


def number_anew(harmed: Harmed, order: Sequence[str] = ()) -> None:
    """Give all receipts right numbers and digests, in this order or the one they have: no harm shows in the chain."""
    receipts = harmed.name_of("action_receipts")
    where = f"UPDATE {receipts} SET seq = ?, chain = ? WHERE user_id = ? AND request_id = ?"
    rows = rows_of(harmed)
    kept = {one.request: one for one in kept_receipts(rows)}
    for n, request in enumerate(kept):
        harmed.execute(where, 1_000 + n, str(n), PLAYER, request)
    head = Head()
    for request in order or list(kept):
        one = kept[request].granted
        opening = rows["player_openings"][(PLAYER,)]
        lines = one.ledger.values(), one.history.values()
        head = chain.following(head, opening, kept[request].receipt, *lines)
        harmed.execute(where, head.seq, head.chain, PLAYER, request)
    if isinstance(harmed, HarmedPostgres):
        harmed.execute("UPDATE users SET seq = ?, chain = ? WHERE id = ?", head.seq, head.chain, PLAYER)
