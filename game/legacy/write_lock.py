"""The write lock of the legacy file: waits for it, but not where a move of the game keeps it.

SQLite's own wait is a poll whose pauses grow to 100 ms, which is longer than the window of a move.
"""

from __future__ import annotations

import sqlite3
import time

from game.legacy import fence
from game.unit_of_work import FenceState

BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})

PRIMARY_CODE = 0xFF
"""SQLite's extended result codes keep the primary one in their lowest byte."""

ASKS_AGAIN_SECONDS = 0.0003
"""The pause between two tries. Of each process one thread waits here; the others queue behind it. A process hands the
lock from thread to thread in less than a millisecond, and with a longer pause another one would hardly meet it free."""

SHORTLY = 0.05
"""Seconds of such tries: longer than any command has the lock. Who has it for longer than that is asked less often."""

ASKS_LATER_SECONDS = 0.002


def take(connection: sqlite3.Connection, patience_seconds: float, *, past_the_fence: bool) -> None:
    """Begin a transaction with the file's write lock. Raises SQLite's error if others keep it for so long.

    Raises Fenced or Moved, unless past_the_fence, where somebody keeps the lock of a closed file: a move does for the
    length of its window, and who waited for it here could not be served by the other store meanwhile.
    """
    began = time.monotonic()
    until = began + patience_seconds
    connection.execute("PRAGMA busy_timeout=0")
    try:
        while not _begin(connection, last=time.monotonic() >= until):
            if not past_the_fence and (state := _state_beside(connection)) != "open":
                raise fence.refusal(state)
            is_soon = time.monotonic() - began < SHORTLY
            # SQLite tells nobody that a lock is free: one has to ask.
            time.sleep(ASKS_AGAIN_SECONDS if is_soon else ASKS_LATER_SECONDS)
    finally:
        connection.execute(f"PRAGMA busy_timeout={int(patience_seconds * 1000)}")


def primary_code(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code; 0 if the error has none."""
    return getattr(error, "sqlite_errorcode", 0) & PRIMARY_CODE


def _begin(connection: sqlite3.Connection, *, last: bool) -> bool:
    """Return False if somebody else has the lock; raise that error if this was the last try."""
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if last or primary_code(error) not in BUSY:
            raise
        return False
    return True


def _state_beside(connection: sqlite3.Connection) -> FenceState:
    """Return the state of the fence while somebody else writes; open where it can't be read then."""
    try:
        return fence.state(connection)
    except sqlite3.OperationalError as error:
        if primary_code(error) not in BUSY:
            raise
        return "open"
