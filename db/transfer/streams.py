"""Records of one table of the target, in order, a few megabytes at a time whatever their sizes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from psycopg import sql

from db import ops
from db.transfer.source import CELL_BYTES, CHUNK_BYTES
from game.rows import Record

_SIZES_A_FETCH = 2000


def stream(
    conn: ops.Connection, table: sa.Table, *, order: Sequence[str], source: str | None = None
) -> Iterator[Record]:
    """Every record in the order of the columns named, text by its bytes; `source`: of legacy_rows, only that table's.

    `order` must tell any two records apart. Two cursors walk the same order: one reads how large the records are, the
    other takes as many of them as a chunk holds, or one that is larger.
    """
    names = [column.name for column in table.columns]
    rest = _rest(table, order, source)
    texts = [column.name for column in table.columns if isinstance(column.type, sa.Text)]
    total = sql.SQL(" + ").join(sql.SQL("coalesce(octet_length({}), 0)").format(sql.Identifier(name)) for name in texts)
    wanted = sql.SQL(", ").join(map(sql.Identifier, names))
    taken = sql.Identifier(f"rows of {table.name} {source}")
    conn.execute(sql.SQL("declare {} no scroll cursor for select {}").format(taken, wanted) + rest)
    with conn.cursor(name=f"sizes of {table.name} {source}") as sizes:
        sizes.itersize = _SIZES_A_FETCH
        sizes.execute(sql.SQL("select {}").format(total) + rest)
        for many in runs(int(size) + CELL_BYTES * len(names) for (size,) in sizes):
            found = _fetch_next(conn, taken, many)
            while found:
                yield dict(zip(names, found.pop(), strict=True))
    conn.execute(sql.SQL("close {}").format(taken))


def _fetch_next(conn: ops.Connection, taken: sql.Identifier, many: int) -> list[tuple[Any, ...]]:
    """The next rows, last one first. The cursor that fetches is closed at once, for an open one keeps its result."""
    with conn.cursor(binary=True) as cursor:
        cursor.execute(sql.SQL("fetch forward {} from {}").format(sql.Literal(many), taken))
        return cursor.fetchall()[::-1]


def fetch(conn: ops.Connection, table: sa.Table, column: str, values: list[str] | list[int], *,
          source: str | None = None) -> Iterator[Record]:  # fmt: skip
    """The records whose `column` is one of the values, in no order, all at once."""
    names = [found.name for found in table.columns]
    query = sql.SQL("select {} from {} where {} = any(%s)").format(
        sql.SQL(", ").join(map(sql.Identifier, names)), sql.Identifier(table.name), sql.Identifier(column)
    )
    if source is not None:
        query += sql.SQL(" and source = {}").format(sql.Literal(source))
    with conn.cursor(binary=True) as cursor:
        cursor.execute(query, (values,))
        for row in cursor:
            yield dict(zip(names, row, strict=True))


def runs(sizes: Iterable[int], limit: int = CHUNK_BYTES) -> Iterator[int]:
    """How many of the next ones make a chunk of at most `limit` bytes; a larger one makes its own."""
    many = total = 0
    for size in sizes:
        if many and total + size > limit:
            yield many
            many = total = 0
        many += 1
        total += size
    if many:
        yield many


def _rest(table: sa.Table, order: Sequence[str], source: str | None) -> sql.Composed:
    terms = [
        sql.SQL('{} collate "C"' if isinstance(table.columns[name].type, sa.Text) else "{}").format(
            sql.Identifier(name)
        )
        for name in order
    ]
    where = sql.SQL("true") if source is None else sql.SQL("source = {}").format(sql.Literal(source))
    return sql.SQL(" from {} where {} order by {}").format(sql.Identifier(table.name), where, sql.SQL(", ").join(terms))
