"""Checks that a path leads to a SQLite file which can be opened, with what SQLite keeps beside it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from db.errors import Refusal
from db.files import paths
from db.legacy import schema_code
from db.legacy.read_errors import unreadable
from db.remedies import RESTORE_FILE
from game.legacy import sidecars, sqlite_values
from game.legacy.guarding import at_most, names_another_file
from game.paths import describe


def check_file(path: Path) -> None:
    """Refuse what is no SQLite file. Safe while this process holds locks on the file.

    SQLite itself reads the header: if we opened and closed the file, POSIX would drop every lock that a connection of
    this process holds on it, and another process could write in the middle of a copy.
    """
    where, expected = str(path), "a legacy SQLite file"
    paths.require_file(path, expected, do="Correct the path: name the file in which the game keeps its players.")
    if not path.stat().st_size:
        raise Refusal(expected, "an empty file", where=where, do="Correct the path; nothing was ever written there.")
    _check_beside(path)
    if not _is_sqlite(path):
        raise Refusal(
            expected,
            "a file of another kind, or a damaged database",
            where=where,
            do=f"Name the database that the game writes. If this is its path, the file is damaged. {RESTORE_FILE}",
        )


def is_absent(path: Path) -> bool:
    """Return True if nothing is at the path. A link that leads nowhere is not nothing, nor is one on the way to it.

    What such a link leads to may be on a volume that is not mounted, with a file on which players play tomorrow.
    """
    try:
        path.stat()
    except FileNotFoundError:
        return not any(one.is_symlink() and not one.exists() for one in (path, *path.parents))
    except OSError:
        return False
    return False


def _check_beside(path: Path) -> None:
    """Refuse what lies where SQLite keeps its logs and is none: opening a pipe would wait for ever."""
    real = path.resolve()
    for suffix in sidecars.SUFFIXES:
        beside = real.with_name(real.name + suffix)
        if beside.is_symlink() or (beside.exists() and not beside.is_file()):
            raise Refusal(
                "SQLite's own files beside the file, or none",
                "a link" if beside.is_symlink() else describe(beside),
                where=str(beside),
                do="Move it away: SQLite made none such.",
            )
    if names_another_file(real):
        raise Refusal(
            "a rollback journal of this file alone",
            "one that names another file",
            where=str(sidecars.journal_of(real)),
            do="Have the program that wrote both files open this one once: SQLite then rolls both back together.",
        )


def _is_sqlite(path: Path) -> bool:
    """Return False if SQLite finds no header of its own. Other faults are left to who reads the file.

    Raises Refusal if the schema is too large to be read: SQLite reads all of it, with a cost that grows as its square.
    """
    try:
        with tidied(path), closing(sqlite_values.connect(path, readonly=True, timeout_seconds=0)) as connection:
            connection.execute("PRAGMA user_version").fetchall()
            with at_most(connection, schema_code.MOST_STEPS):
                (size,) = connection.execute("SELECT total(length(sql)) FROM sqlite_master").fetchone()
            if size > schema_code.MOST_BYTES:
                raise schema_code.too_large(str(path))
    except sqlite3.DatabaseError as error:
        name = getattr(error, "sqlite_errorname", "")
        if name == "SQLITE_INTERRUPT":
            raise schema_code.too_large(str(path)) from None
        return bool(name != "SQLITE_NOTADB")
    except MemoryError:
        raise schema_code.too_large(str(path)) from None
    return True


@contextmanager
def reading(path: Path, *, timeout_seconds: float = 5.0) -> Iterator[sqlite3.Connection]:
    """Connect read-only for a small read. Raises Refusal if the file can't be read: nothing was changed."""
    check_file(path)  # First: SQLite would read a schema of any size.
    try:  # A schema that SQLite can't read is known only by the first read of a table.
        with closing(sqlite_values.connect(path, readonly=True, timeout_seconds=timeout_seconds)) as connection:
            yield connection
    except (sqlite3.DatabaseError, MemoryError) as error:
        raise unreadable(path, error) from error


@contextmanager
def tidied(path: Path) -> Iterator[None]:
    """Remove afterwards the empty log that reading makes beside the file, unless a log was there before."""
    log = sidecars.log_of(path)
    had_log = log.exists()
    try:
        yield
    finally:
        if not had_log and log.exists():
            _tidy(path)


def _tidy(path: Path) -> None:
    """Let SQLite itself remove the empty log that reading a file in WAL mode makes; it won't while another reads."""
    try:
        with closing(sqlite_values.connect(path)) as connection:
            # This reads the header alone, so it works on a damaged file too.
            connection.execute("PRAGMA user_version").fetchall()
    except sqlite3.DatabaseError:
        return  # The file or its folder is not writable. The empty log stays and does no harm.
