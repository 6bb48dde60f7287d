"""Records of one table of the target, in order, a few megabytes at a time whatever their sizes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import count
from typing import Any

import sqlalchemy as sa
from psycopg import sql

from db import ops
from db.legacy.source import CELL_BYTES, CHUNK_BYTES
from game import tables
from game.rows import Record
from game.runs import runs

_SIZES_A_FETCH = 2000

_numbers = count(1)
"""Numbers for the names of cursors. A legacy table's name would be cut to 63 bytes, within a character."""


def stream(
    conn: ops.Connection,
    table: sa.Table,
    *,
    order: Sequence[str],
    source: str | None = None,
    without: Collection[str] = (),
) -> Iterator[Record]:
    """Yield records in the order of the columns, text by its bytes; `source`: of legacy_rows, only that table's.

    without: columns that the database has not yet; the records lack them.

    `order` must tell any two records apart. What fits a chunk is fetched at once. Else two cursors walk the same order:
    one reads how large the records are, the other takes as many of them as a chunk holds, or one that is larger.
    """
    columns = [column for column in tables.record_columns(table) if column.name not in without]
    names = [column.name for column in columns]
    texts = [column.name for column in columns if isinstance(column.type, sa.Text)]
    sizes = [sql.SQL("coalesce(octet_length({}), 0)").format(sql.Identifier(name)) for name in texts]
    size = sql.SQL(" + ").join([*sizes, sql.Literal(CELL_BYTES * len(names))])
    from_table, ordered = _from(table, source), _order(table, order)
    select = sql.SQL("select {}").format(sql.SQL(", ").join(map(sql.Identifier, names))) + from_table + ordered
    row = conn.execute(sql.SQL("select coalesce(sum({}), 0)").format(size) + from_table).fetchone()
    assert row is not None
    if row[0] <= CHUNK_BYTES:
        groups = iter([_fetched(conn, select)] if row[0] else [])
    else:
        groups = _in_chunks(conn, select, sql.SQL("select {}").format(size) + from_table + ordered)
    for records in groups:
        while records:
            yield dict(zip(names, records.pop(), strict=True))


def _in_chunks(conn: ops.Connection, wanted: sql.Composed, sizes: sql.Composed) -> Iterator[list[tuple[Any, ...]]]:
    number = next(_numbers)
    taken = sql.Identifier(f"rows_{number}")
    conn.execute(sql.SQL("declare {} no scroll cursor for ").format(taken) + wanted)
    with conn.cursor(name=f"sizes_{number}") as plan:
        plan.itersize = _SIZES_A_FETCH
        plan.execute(sizes)
        for run in runs((int(size) for (size,) in plan), int, CHUNK_BYTES):
            yield _fetched(conn, sql.SQL("fetch forward {} from {}").format(sql.Literal(len(run)), taken))
    conn.execute(sql.SQL("close {}").format(taken))


def _fetched(conn: ops.Connection, query: sql.Composed) -> list[tuple[Any, ...]]:
    """Return the rows, last one first."""
    # Closed at once: an open cursor keeps its whole result in memory.
    with conn.cursor(binary=True) as cursor:
        cursor.execute(query)
        return cursor.fetchall()[::-1]


def fetch(
    conn: ops.Connection, table: sa.Table, column: str, values: list[str] | list[int], *, source: str | None = None
) -> Iterator[Record]:
    """Yield the records whose `column` is one of the values, in no order; all are read at once.

    The query is sent by this call, so that in a pipeline several are answered in one round trip.
    """
    names = [field.name for field in tables.record_columns(table)]
    query = sql.SQL("select {} from {} where {} = any(%s)").format(
        sql.SQL(", ").join(map(sql.Identifier, names)), sql.Identifier(table.name), sql.Identifier(column)
    )
    if source is not None:
        query += sql.SQL(" and source = {}").format(sql.Literal(source))
    cursor = conn.cursor(binary=True).execute(query, (values,))
    return (dict(zip(names, row, strict=True)) for row in cursor)


def _from(table: sa.Table, source: str | None) -> sql.Composed:
    where = sql.SQL("true") if source is None else sql.SQL("source = {}").format(sql.Literal(source))
    return sql.SQL(" from {} where {}").format(sql.Identifier(table.name), where)


def _order(table: sa.Table, order: Sequence[str]) -> sql.Composed:
    terms = [
        sql.SQL('{} collate "C"' if isinstance(table.columns[name].type, sa.Text) else "{}").format(
            sql.Identifier(name)
        )
        for name in order
    ]
    return sql.SQL(" order by {}").format(sql.SQL(", ").join(terms))
