"""Writes what differs between two states of rows to the target: one statement a table and kind, in one pipeline."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import sqlalchemy as sa
from psycopg import sql

from db import ops
from db import tables as db_tables
from db.transfer.copying import TYPES
from game import tables
from game.rows import Key, Record, Rows, compare

_UNIQUE = ("username", "nickname")
_PLAYERS = tables.users.name


def write(conn: ops.Connection, before: Rows, after: Rows) -> int:
    """Write what differs, in the open transaction, and return how many rows that was. Each state names whole rows.

    A row that changed is taken out and put in again, so that two may swap what is unique; one of `users`, which others
    refer to, is updated in place.
    """
    changes = compare(before, after)
    written = 0
    with conn.pipeline():
        conn.execute("set constraints all deferred")
        for table in reversed(tables.ALL):
            if table.name != _PLAYERS and (change := changes.get(table.name)):
                delete(conn, table, [*change.deletes, *change.updates])
        if players := changes.get(_PLAYERS):
            delete(conn, tables.users, list(players.deletes))
            renamed = [key for key, columns in players.updates.items() if not columns.keys().isdisjoint(_UNIQUE)]
            _free_names(conn, [key[0] for key in renamed])
            insert(conn, tables.users, players.inserts.values())
            _update_players(conn, [after[_PLAYERS][key] for key in players.updates])
        for table in tables.ALL:
            if change := changes.get(table.name):
                written += len(change.deletes) + len(change.inserts) + len(change.updates)
                if table.name != _PLAYERS:
                    rows = after.get(table.name, {})
                    insert(conn, table, [*change.inserts.values(), *(rows[key] for key in change.updates)])
    return written


def insert(conn: ops.Connection, table: sa.Table, records: Iterable[Record]) -> None:
    """Add the records; a column that a record lacks is NULL."""
    columns = _columns(table)
    if rows := [[record.get(column.name) for column in columns] for record in records]:
        names = sql.SQL(", ").join(sql.Identifier(column.name) for column in columns)
        conn.execute(
            sql.SQL("insert into {} ({}) select * from {}").format(sql.Identifier(table.name), names, _unnest(columns)),
            _transposed(rows, columns),
        )


def delete(conn: ops.Connection, table: sa.Table, keys: Sequence[Key]) -> None:
    """Delete the rows of these primary keys."""
    if keys:
        columns = list(table.primary_key.columns)
        names = sql.SQL(", ").join(sql.Identifier(column.name) for column in columns)
        conn.execute(
            sql.SQL("delete from {} where ({}) in (select * from {})").format(
                sql.Identifier(table.name), names, _unnest(columns)
            ),
            _transposed(keys, columns),
        )


def number(conn: ops.Connection, findings: list[Record], run: str) -> None:
    """Add these findings to the quarantine, numbered on, in the open transaction."""
    if findings:
        row = conn.execute("select coalesce(max(n), 0) from quarantine where run = %s", (run,)).fetchone()
        assert row is not None
        numbered = [one | {"run": run, "n": n} for n, one in enumerate(findings, int(row[0]) + 1)]
        insert(conn, db_tables.quarantine, numbered)


def selecting(
    table: sa.Table, columns: Sequence[str], keys: Sequence[Key], width: int | None = None
) -> tuple[sql.Composed, list[list[object]]]:
    """Return the query of the rows of these primary keys, and its parameters. width: only so many columns of a key."""
    key = list(table.primary_key.columns)[:width]
    query = sql.SQL("select {} from {} where ({}) in (select * from {})").format(
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.Identifier(table.name),
        sql.SQL(", ").join(sql.Identifier(column.name) for column in key),
        _unnest(key),
    )
    return query, _transposed(keys, key)


def _update_players(conn: ops.Connection, records: list[Record]) -> None:
    if not records:
        return
    columns = _columns(tables.users)
    names = [sql.Identifier(column.name) for column in columns]
    assignments = sql.SQL(", ").join(sql.SQL("{} = v.{}").format(name, name) for name in names[1:])
    conn.execute(
        sql.SQL("update users u set {} from {} as v ({}) where u.id = v.id").format(
            assignments, _unnest(columns), sql.SQL(", ").join(names)
        ),
        _transposed([[record[column.name] for column in columns] for record in records], columns),
    )


def _free_names(conn: ops.Connection, ids: list[str | int]) -> None:
    """Take the names of players who get others: two may swap theirs."""
    if ids:
        conn.execute("update users set username = null, nickname = null where id = any(%s)", (ids,))


def _columns(table: sa.Table) -> list[sa.Column[object]]:
    if table in db_tables.ALL:
        return list(table.columns)
    return tables.record_columns(table)


def _unnest(columns: Sequence[sa.Column[object]]) -> sql.Composed:
    arrays = [sql.SQL("%s::{}[]").format(sql.SQL(TYPES[type(column.type)])) for column in columns]
    return sql.SQL("unnest({})").format(sql.SQL(", ").join(arrays))


def _transposed(rows: Sequence[Sequence[object]], columns: Sequence[sa.Column[object]]) -> list[list[object]]:
    return [[row[n] for row in rows] for n in range(len(columns))]
