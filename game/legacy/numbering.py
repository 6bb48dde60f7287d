"""Makes the journals of a file, and numbers the receipts that an earlier version left without a number.

They come after the numbered ones, in the order of their time. Each statement runs in the open transaction.
"""

from __future__ import annotations

import sqlite3
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from game import chain, tables
from game.chain import Head
from game.legacy import file_journals
from game.legacy.sqlite_values import quote
from game.rows import Record

RECEIPTS = file_journals.RECEIPTS.name
INDEX = str(CreateIndex(file_journals.SEQ_INDEX, if_not_exists=True).compile(dialect=sqlite.dialect()))

_TABLES = [
    *(
        str(CreateTable(journal, if_not_exists=True).compile(dialect=sqlite.dialect()))
        for journal in file_journals.TABLES.values()
    ),
    INDEX,
]
_MADE_NAMES = [*(journal.name for journal in file_journals.TABLES.values()), str(file_journals.SEQ_INDEX.name)]
_MADE = f"SELECT count(*) = {len(_TABLES)} FROM sqlite_master WHERE name IN ({', '.join('?' * len(_TABLES))})"

_NEWEST = f"SELECT seq, chain FROM {RECEIPTS} WHERE user_id = ? AND seq IS NOT NULL ORDER BY seq DESC LIMIT 1"
_NEWEST_OF_ALL = (
    f"SELECT EXISTS (SELECT 1 FROM {RECEIPTS} WHERE user_id = ?1 AND seq IS NULL), seq, chain"
    f" FROM {RECEIPTS} WHERE user_id = ?1 ORDER BY seq DESC LIMIT 1"
)
"""One statement with two index searches: a second statement would cost a command as much as both searches."""

_TO_NUMBER = f"SELECT {', '.join(chain.RECEIPT)} FROM {RECEIPTS} WHERE user_id = ? AND seq IS NULL"
_NUMBER = f"UPDATE {RECEIPTS} SET seq = ?, chain = ? WHERE user_id = ? AND request_id = ?"


def make_tables(conn: sqlite3.Connection) -> None:
    """Make the journals that the file lacks. Reads first, for a CREATE that makes nothing costs as much as a write."""
    if not conn.execute(_MADE, _MADE_NAMES).fetchone()[0]:
        for statement in _TABLES:
            conn.execute(statement)


def absent_columns(conn: sqlite3.Connection) -> tuple[str, ...]:
    """Return the columns of numbers that the table of receipts lacks; none if the file has no receipts."""
    have = _columns(conn)
    return tuple(name for name in file_journals.ADDED_TO_RECEIPTS if have and name not in have)


def add_columns(conn: sqlite3.Connection) -> None:
    """Make the place for the numbers where there is none. A process of an earlier version goes on with it."""
    for name in absent_columns(conn):
        declared = file_journals.RECEIPTS.c[name].type.compile(dialect=sqlite.dialect())
        conn.execute(f"ALTER TABLE {RECEIPTS} ADD COLUMN {quote(name)} {declared}")
    conn.execute(INDEX)


def head_of_all(conn: sqlite3.Connection, player: str) -> Head | None:
    """Return the player's newest receipt; None if one of the player's receipts has no number."""
    without, seq, link = conn.execute(_NEWEST_OF_ALL, (player,)).fetchone() or (0, None, None)
    if without:
        return None
    return Head() if seq is None else Head(int(seq), str(link))


def head(conn: sqlite3.Connection, player: str) -> Head:
    """Return the player's newest receipt that has a number. One look into an index."""
    row = conn.execute(_NEWEST, (player,)).fetchone()
    return Head(int(row[0]), str(row[1])) if row else Head()


def number(conn: sqlite3.Connection, player: str) -> int:
    """Number the player's receipts that have none, and return how many had none."""
    opening = next(iter(_records(conn, tables.player_openings, player)), None)
    ledger, history = (_by_request(conn, table, player) for table in (tables.currency_ledger, tables.inventory_history))
    newest = head(conn, player)
    receipts = [dict(zip(chain.RECEIPT, row, strict=True)) for row in conn.execute(_TO_NUMBER, (player,))]
    for receipt in sorted(receipts, key=lambda one: (one["at"], one["request_id"])):
        request = receipt["request_id"]
        newest = chain.following(newest, opening, receipt, ledger.get(request, ()), history.get(request, ()))
        conn.execute(_NUMBER, (newest.seq, newest.chain, player, request))
    return len(receipts)


def _columns(conn: sqlite3.Connection) -> set[str]:
    return {name for (name,) in conn.execute("SELECT name FROM pragma_table_info(?)", (RECEIPTS,))}


def _by_request(conn: sqlite3.Connection, journal: sa.Table, player: str) -> dict[Any, list[Record]]:
    lines: dict[Any, list[Record]] = {}
    for line in _records(conn, journal, player):
        lines.setdefault(line["request_id"], []).append(line)
    return lines


def _records(conn: sqlite3.Connection, journal: sa.Table, player: str) -> list[Record]:
    table, names = file_journals.TABLES[journal.name].name, [column.name for column in journal.columns]
    if not conn.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)).fetchone():
        return []  # A journal without a line may have no table: none is made for it when players' writes come back.
    query = f"SELECT {', '.join(names)} FROM {table} WHERE user_id = ?"
    return [dict(zip(names, row, strict=True)) for row in conn.execute(query, (player,))]
