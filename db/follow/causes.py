"""Says of an error whether it is a reason to wait, and go on later, or to stop. Players play on in every case."""

from __future__ import annotations

import sqlite3

import psycopg

from db.errors import ToolError
from db.follow.entering import NotYet
from db.transfer.live_back.anew import LogOfFileGrows
from db.transfer.live_back.session import LogLost, WritesInFlight
from db.transfer.preconditions import TransferUnderWay
from db.transfer.write_back import TakenOver
from game.errors import StoreUnavailable
from game.redaction import redact

PASSING = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_PROTOCOL,
    }
)
"""SQLite's kinds of errors that end when somebody frees the disk, ends a process, or mounts a folder."""


def reason_to_wait(error: BaseException) -> str:
    """Return why to wait, in a clause; "" if waiting does not help."""
    if isinstance(error, NotYet):
        return str(error)
    if isinstance(error, (TakenOver, WritesInFlight, TransferUnderWay, LogLost, LogOfFileGrows)):
        return redact(error.found)
    if isinstance(error, StoreUnavailable):
        return f"the legacy file can't be had: {error}"
    if isinstance(error, psycopg.OperationalError):
        return f"Postgres does not go on: {_line(error)}"
    file_error = error if isinstance(error, sqlite3.Error) else error.__cause__
    if isinstance(file_error, sqlite3.Error) and _kind(file_error) in PASSING:
        return f"the legacy file can't be written: {_line(file_error)}"
    return f"the legacy file can't be written: {_line(error)}" if isinstance(error, OSError) else ""


def found(error: BaseException) -> str:
    """Return what an error found, in one line without secrets, for the row and for people."""
    if isinstance(error, ToolError):
        return redact(" ".join(f"expected {error.expected}; found {error.found}".split()))
    return redact(f"{type(error).__name__}: {_line(error)}")


def _kind(error: sqlite3.Error) -> int | None:
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _line(error: BaseException) -> str:
    return redact(" ".join((str(error).strip() or type(error).__name__).split()))
