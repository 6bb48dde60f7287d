"""Checks the rows that the table of pairs gives in the terms of the game's tables, before anything is written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

import sqlalchemy as sa
from pydantic import JsonValue

from game import tables
from harness.play.expectations import JSON_COLUMNS
from harness.scenarios.problems import ScenarioProblem, known
from harness.scenarios.yaml_reader import Path, flow

FOLLOWING = frozenset({"user_id", "position"})
"""Columns that follow from the player and the place in the list."""

TABLES = tuple(table.name for table in tables.PLAYER_STATE if table is not tables.users)


def check(rows: Mapping[str, Sequence[Mapping[str, JsonValue]]]) -> Iterator[ScenarioProblem]:
    """Yield the problems of all rows: tables, columns and values that Postgres would refuse."""
    for table, records in rows.items():
        path: Path = ("rows", table)
        wrong = list(known(path, table, TABLES, "a table"))
        yield from wrong
        if wrong:
            continue
        seen: set[tuple[str, ...]] = set()
        for n, record in enumerate(records):
            yield from _record((*path, n), table, record)
            key = tuple(str(record.get(column)) for column in tables.KEYS[table][1:])
            if key in seen:
                yield ScenarioProblem((*path, n), "each row once", f"{'/'.join(key)} again")
            seen.add(key)


def empty(table: str) -> dict[str, None]:
    """Return the columns that may be left out of a row: NULL then."""
    return dict.fromkeys(name for name, column in _columns(table).items() if column.nullable)


def _columns(table: str) -> dict[str, sa.Column[object]]:
    every = tables.game_columns(tables.BY_NAME[table])
    return {column.name: column for column in every if column.name not in FOLLOWING}


def _record(path: Path, table: str, record: Mapping[str, JsonValue]) -> Iterator[ScenarioProblem]:
    columns = _columns(table)
    strangers = [name for name in record if name not in columns]
    for name in strangers:
        yield from known((*path, name), name, columns, "a column")
    for name, value in record.items():
        if name in columns:
            yield from _value((*path, name), columns[name], value)
    for name, column in columns.items() if not strangers else ():
        if name not in record and not column.nullable:
            yield ScenarioProblem(path, f"the column {name!r}", f"a row of {', '.join(record) or 'nothing'}")


def _value(path: Path, column: sa.Column[object], value: JsonValue) -> Iterator[ScenarioProblem]:
    expected, kind = {sa.Text: ("text", str), sa.BigInteger: ("a whole number", int)}.get(
        type(column.type), ("true or false", bool)
    )
    if type(value) is not kind:
        yield ScenarioProblem(path, expected, flow(value))
    elif isinstance(value, str) and column.name in JSON_COLUMNS and not _is_json(value):
        yield ScenarioProblem(path, "JSON", flow(value))


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
