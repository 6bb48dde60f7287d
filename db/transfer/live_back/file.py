"""The legacy file that rounds write into: transactions of a bounded size under the fence's pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from db.legacy.source import Source, SourceTable, table_of
from db.transfer.write_back import open_file, writing
from game.legacy import applied_log, sidecars
from game.legacy.codec.mapping import USERS
from game.legacy.sqlite_values import quote


class FileTransactions:
    """One write transaction after another on a file that is fenced. Not thread-safe; close it."""

    def __init__(self, path: Path, pass_token: str) -> None:
        self.connection = open_file(path)
        self.where = str(path)
        self.tables: dict[str, SourceTable] = {}
        self.added_columns: list[str] = []
        self._pass_token = pass_token
        self._stack = ExitStack()

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Begin the first transaction for the block, and commit the last one; rolled back when the block fails."""
        with self._stack:
            self._begin()
            self.reread()
            self.added_columns = []
            yield

    @contextmanager
    def in_parts(self) -> Iterator[None]:
        """Commit the last part of a write-back of everything when the block ends; rolled back when the block fails."""
        with self._stack:
            yield

    def begin_part(self) -> None:
        """Begin a transaction in which the file follows no log and has a part of a write-back; see `in_parts`."""
        self._begin()
        applied_log.begin_anew(self.connection)

    def end_part(self) -> None:
        """Commit what was written since `begin_part`, durably."""
        self._stack.close()

    def reread(self) -> None:
        """Read the file's tables again."""
        self.tables = dict(Source(self.connection, self.where).tables)

    def turn(self) -> None:
        """Commit what was written as a part of a round, durably, and begin the next transaction."""
        applied_log.note_part(self.connection)
        self._stack.close()
        self._begin()

    def log_beyond(self, most_bytes: int) -> int:
        """Return the size of the file's write-ahead log if it is larger, and can't be brought back and emptied; else 0.

        Another process that reads the file is in the way then.
        """
        log = sidecars.log_of(Path(self.where).resolve())
        size = log.stat().st_size if log.exists() else 0
        if size <= most_bytes:
            return 0
        (busy, _pages, _moved) = self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return size if busy else 0

    def source(self) -> Source:
        """Return the file as the open transaction sees it."""
        source = Source(self.connection, self.where)
        source.__dict__["tables"] = self.tables
        return source

    def add_column(self, column: str) -> None:
        """Make a column of `users` that a command wrote and the file has no place for."""
        self.connection.execute(f"ALTER TABLE users ADD COLUMN {quote(column)} {USERS.declared[column]}")
        self.tables["users"] = table_of(self.connection, "users")
        self.added_columns.append(column)

    def _begin(self) -> None:
        self._stack.enter_context(writing(self.connection, self.where, self._pass_token))
