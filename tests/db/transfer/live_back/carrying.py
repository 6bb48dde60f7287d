"""Helpers of the tests of the live write-back: a database and its file as a cutover leaves them, open to players."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from db import ops
from db.console.progress import Silent
from db.legacy.source import opened
from db.ops import fence
from db.transfer import target as targets
from db.transfer.live_back.session import LiveWriteBack, writing_back
from db.transfer.verify import compare
from game.legacy import fence as legacy_fence
from game.legacy import identity, sqlite_values
from game.legacy.fence_schema import Owner
from harness.databases import Database
from tests.db.transfer.transferring import PASS, load

RUN = "cutover-1"


def cut_over(database: Database, path: Path) -> None:
    """Load the file and lift the database: the two name each other, and the log begins."""
    load(database, path)
    lift(database, path)


def lift(database: Database, path: Path) -> None:
    """Have the file say that it moved, and lift the database with its log on."""
    with ops.connect(database.owner) as conn:
        connection = sqlite_values.connect(path)
        owner = Owner(RUN, ops.identity(conn))
        legacy_fence.raise_fence(connection, state="moved", pass_token=PASS, owner=owner)
        connection.close()
        fence.raise_fence(conn, pass_token=PASS, owner=Owner(RUN, identity.of(path)))
        fence.lift(conn, log=True)


@contextmanager
def session(database: Database, path: Path) -> Iterator[LiveWriteBack]:
    with writing_back(path, database.owner, run="rollback-1", pass_token=PASS) as live:
        yield live


def play(database: Database, *statements: str) -> None:
    """Run the statements as an operator who has the pass: journals too may be rewritten."""
    with ops.connect(database.owner) as conn, fence.own_pass(conn):
        for statement in statements:
            conn.execute(statement.encode())


def differences(database: Database, path: Path) -> tuple[str, ...]:
    with opened(path) as file, targets.opened(database.owner) as snapshot:
        return compare(file, snapshot, Silent()).named


def rows_of(path: Path) -> dict[str, list[object]]:
    """Return every row with its rowid and its values, of each table of the game that has rows."""
    rows: dict[str, list[object]] = {}
    with opened(path) as file:
        for name, table in file.tables.items():
            found = [(row.position if table.rowid else 0, row.cells) for row in file.rows(name)]
            if found:
                rows[name] = sorted(found, key=repr)
    return rows
