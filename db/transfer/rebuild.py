"""The legacy file again, from nothing but the database.

It is made under another name, read back and checked, and gets its own name only then; no file is ever overwritten.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from db.console.progress import Advance, Progress, Silent
from db.errors import Failure, Refusal
from db.files import paths, private
from db.files.part_file import part_of
from db.legacy import schema as schemas
from db.legacy.row_writer import insert
from db.legacy.schema import Schema
from db.legacy.source import Source, table_of
from db.schema import draws
from db.transfer.target import Target, opened
from db.transfer.verify import compare, uncounted
from game.legacy import draws as legacy_draws
from game.legacy import sqlite_values
from game.legacy.codec.mapping import USERS
from game.legacy.sqlite_values import quote
from game.urls import PostgresUrl


@dataclass(frozen=True, slots=True)
class Returned:
    """The file that was made: its tables' rows, players among them, its bytes, and how long it took."""

    path: Path
    players: int
    rows: dict[str, int]
    bytes: int
    seconds: float


def back(target: PostgresUrl, into: Path, *, progress: Progress | None = None) -> Returned:
    """Rebuild the whole legacy file; equal to the one that was loaded in all that no command changed.

    Refusal: a name that is taken, a folder that is not there, a database that does not answer or holds no game.
    Failure: the file that was made does not pass SQLite's check or is not what the database says; it is removed.
    """
    began = time.monotonic()
    shown = progress or Silent()
    refuse_taken(into)
    with opened(target) as snapshot, made(into) as part:
        rows = _write(snapshot, part, shown)
        _check(snapshot, part, shown)
    return Returned(into, rows["users"], rows, into.stat().st_size, time.monotonic() - began)


def refuse_taken(into: Path) -> None:
    """Refuse the name of a new file if it, or the name of one of its journals, is taken, even by a dangling link."""
    paths.require_new(into)


@contextmanager
def made(into: Path) -> Iterator[Path]:
    """Make a file beside `into`. Rename it to `into` if the block succeeds, and remove it if the block fails.

    Raises Refusal if no file can be made there, or if something has the name by then.
    """
    with ExitStack() as stack:
        try:
            private.make_parent(into)
            part = stack.enter_context(part_of(into))
        except OSError as error:
            raise Refusal(
                "a folder to write in",
                str(error.strerror),
                where=str(into.parent),
                do="Allow this user to write there, or name another place: --into NEW",
            ) from None
        yield part
        private.put(part, into, check=lambda: refuse_taken(into))


def _write(target: Target, part: Path, progress: Progress) -> dict[str, int]:
    schema = target.schema
    connection = sqlite_values.connect(part)
    try:
        schemas.prepare(connection, schema)
        connection.execute("PRAGMA journal_mode=OFF").fetchall()
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA ignore_check_constraints=ON")
        connection.execute("BEGIN")
        schemas.make_tables(connection, schema)
        for column in target.added_columns():
            connection.execute(f"ALTER TABLE users ADD COLUMN {quote(column)} {USERS.declared[column]}")
        rows = {name: _table(target, connection, name, progress) for name in _order(schema)}
        schemas.make_the_rest(connection, schema)
        legacy_draws.write(connection, draws.read(target.conn))
        connection.execute("COMMIT")
        schemas.finish(connection, schema)
    except sqlite3.DatabaseError as error:
        raise Failure("the rows of the database to fit its own schema", str(error), where=str(part)) from error
    finally:
        connection.close()
    return rows


def _order(schema: Schema) -> list[str]:
    """List the tables in the order in which they are filled, SQLite's own last."""
    # Filling the other tables writes to SQLite's own, such as sqlite_sequence.
    return sorted((statement.name for statement in schema.tables), key=lambda name: name.startswith("sqlite_"))


def _table(target: Target, connection: sqlite3.Connection, name: str, progress: Progress) -> int:
    if name.startswith("sqlite_"):
        connection.execute(f"DELETE FROM {quote(name)}")
    if name != "users":
        return _insert_all(target, connection, name, uncounted)
    with progress.bar("writing back", target.players(), "players") as advance:
        return _insert_all(target, connection, name, advance)


def _insert_all(target: Target, connection: sqlite3.Connection, name: str, advance: Advance) -> int:
    table = table_of(connection, name)
    many = 0
    for position, row in target.rows(name):
        insert(connection, table, position, row)
        many += 1
        advance(1)
    return many


def _check(target: Target, part: Path, progress: Progress) -> None:
    """Check the file: SQLite's integrity check, and every row against the database. Raises Failure."""
    connection = sqlite_values.connect(part)
    try:
        problems = connection.execute("PRAGMA integrity_check(3)").fetchall()
        if problems != [("ok",)]:
            raise Failure("a sound file", "; ".join(str(row[0]) for row in problems), where=str(part))
        compare(Source(connection, str(part)), target, progress).check()
    finally:
        connection.close()
