"""Binary COPY of records into one table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import sqlalchemy as sa
from psycopg import sql

from db import ops
from game import tables
from game.rows import Value

TYPES: dict[type, str] = {sa.Text: "text", sa.BigInteger: "int8", sa.Boolean: "bool", sa.LargeBinary: "bytea"}


def copy(conn: ops.Connection, table: sa.Table, records: Iterable[Mapping[str, Value]]) -> None:
    """Add the records, in order, within the transaction that is open; a column that a record lacks is NULL."""
    names = [column.name for column in tables.record_columns(table)]
    into = sql.SQL("copy {} ({}) from stdin (format binary)").format(
        sql.Identifier(table.name), sql.SQL(", ").join(map(sql.Identifier, names))
    )
    with conn.cursor() as cursor, cursor.copy(into) as lines:
        lines.set_types([TYPES[type(column.type)] for column in tables.record_columns(table)])
        for record in records:
            lines.write_row([record.get(name) for name in names])
