"""Statements on tables of Postgres whose names are known only when the program runs."""

from __future__ import annotations

from collections.abc import Iterable

from psycopg import sql

from db.ops.control import Connection


def insert_into(table: sql.Composable, columns: Iterable[str], values: Iterable[sql.Composable]) -> sql.Composed:
    """Return an INSERT of one row; each value is a literal or a placeholder."""
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    return sql.SQL("insert into {} ({}) values ({})").format(table, names, sql.SQL(", ").join(values))


def first_filled(conn: Connection, tables: Iterable[str]) -> str | None:
    """Return the first of the tables that has a row; None if all are empty. Each of them must exist."""
    for name in tables:
        query = sql.SQL("select exists (select from {})").format(sql.Identifier(name))
        if conn.execute(query).fetchone() == (True,):
            return name
    return None
