"""The legacy file's tables as the service that runs today declares them, from the facts in legacy_columns.json."""

from __future__ import annotations

import json
import sqlite3
from importlib.resources import files


def _load() -> dict[str, tuple[tuple[str, str, str], ...]]:
    declared = json.loads(files("db.legacy").joinpath("legacy_columns.json").read_text(encoding="utf-8"))
    return {table: tuple((*column, "")[:3] for column in columns) for table, columns in declared.items()}


COLUMNS = _load()
"""Table to its columns in order: (name, declared type, constraint or '')."""


def names(table: str, count: int | None = None) -> tuple[str, ...]:
    """List the table's columns in order; `count` of them for an older file, or unknown ones after them for a newer."""
    known = tuple(name for name, _type, _constraint in COLUMNS[table])
    if count is None:
        return known
    return known[:count] + tuple(f"newerColumn{n}" for n in range(1, count - len(known) + 1))


def create(connection: sqlite3.Connection, *, user_columns: int | None = None) -> None:
    """Make every table, empty; `user_columns` as `names` takes it."""
    for table in COLUMNS:
        columns = names(table, user_columns if table == "users" else None)
        connection.execute(f"CREATE TABLE {table} ({', '.join(_declaration(table, name) for name in columns)})")


def _declaration(table: str, column: str) -> str:
    for name, declared, constraint in COLUMNS[table]:
        if name == column:
            return f'"{name}" {declared} {constraint.upper()}'.rstrip()
    return f'"{column}" TEXT'
