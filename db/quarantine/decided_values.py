"""Puts a value that an operator decided in the place of one that can't be read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing

from db.legacy import schema as schemas
from db.legacy.schema import Schema
from db.legacy.source import units_sql
from game.json_text import SPACE, parts, skip
from game.legacy import codec, sqlite_values
from game.legacy.sqlite_values import Cell, quote

_DEPTH = 4
"""Quests lie deepest: the document, a period, its array, the quest."""


def as_stored(schema: Schema, table: str, column: str, text: str) -> Cell:
    """Return the cell that the legacy file would hold if a program wrote the text to that column."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as memory:
        schemas.make_tables(memory, schema)
        described = memory.execute(f"PRAGMA table_xinfo({quote(table)})").fetchall()
        declared = next((str(row[2]) for row in described if row[1] == column), "")
        memory.execute(f"CREATE TABLE temp.sudamr_probe (value {_affinity(declared)})")
        memory.execute("INSERT INTO temp.sudamr_probe VALUES (?)", (text,))
        stored: Cell = memory.execute("SELECT value FROM temp.sudamr_probe").fetchone()[0]
        return stored


def replaced(cell: Cell, original: bytes, text: str) -> Cell:
    """Return the document with one element replaced; None if it has no element of these bytes any more."""
    if not isinstance(cell, str):
        return None
    for start, end in _spans(cell, skip(cell, 0), _DEPTH):
        if cell[start:end].encode() == original:
            return cell[:start] + text.strip(SPACE) + cell[end:]
    return None


def units(row: Mapping[str, Cell]) -> dict[str, int]:
    """Count the elements of each document of the row as SQLite does, independently of our own reader."""
    counted = [column for column in codec.TAKEN_APART if column in row]
    given = ", ".join(f"{sqlite_values.placeholder(row[column])} AS {quote(column)}" for column in counted)
    if not counted:
        return {}
    query = f"SELECT {', '.join(map(units_sql, counted))} FROM (SELECT {given})"
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as memory:
        counts = memory.execute(query, [sqlite_values.bind(row[column]) for column in counted]).fetchone()
    return dict(zip(counted, counts, strict=True))


def _spans(text: str, start: int, depth: int) -> Iterator[tuple[int, int]]:
    """Yield where each element, entry and value of a document stands, the outer ones first."""
    if not depth or text[start : start + 1] not in ("{", "["):
        return
    pieces, _end = parts(text, start)
    for part in pieces:
        yield part.start, part.end
        if part.value_start != part.start:
            yield part.value_start, part.end
    for part in pieces:
        yield from _spans(text, part.value_start, depth - 1)


def _affinity(declared: str) -> str:
    """Return a declared type's affinity, by the five rules of https://sqlite.org/datatype3.html, section 3.1."""
    kind = declared.upper()
    rules = (("INTEGER", ("INT",)), ("TEXT", ("CHAR", "CLOB", "TEXT")), ("BLOB", ("BLOB",)))
    for affinity, words in rules:
        if any(word in kind for word in words):
            return affinity
    if not kind:
        return "BLOB"
    return "REAL" if any(word in kind for word in ("REAL", "FLOA", "DOUB")) else "NUMERIC"
