"""Read-only, enforced by SQLite itself: a RAISE trigger for each kind of write on every table of the legacy file.

It holds against every writer, those that know nothing of us included; the error's message says `fenced` or `moved`.
Who bears the pass writes within one transaction that takes the triggers away and puts them back before it commits.

The table `sudamr_fence` and the triggers `sudamr_fence_…` are no part of the game: they are never transferred, and
a lifted fence leaves the file's schema as it was. Setting, lifting and passing do change `PRAGMA schema_version`.
What bears such a name and was not made here is the game's own: it is named, never dropped.

A fence says whose it is, for a file outlives the runs that move it: who goes on, undoes or moves looks first.
"""

from __future__ import annotations

import hashlib
import hmac
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from tenacity import RetryError, Retrying, retry_if_exception, stop_after_delay, wait_random

from game.errors import FENCE_MESSAGE, Fenced, Moved, StoreFailure, StoreUnavailable
from game.legacy import applied_log, fence_schema, sqlite_values
from game.legacy.fence_schema import FenceMark, Owner
from game.unit_of_work import FenceState

PATIENCE_SECONDS = 15.0


class NotFenced(StoreFailure):
    """The fence has holes; the message names each."""


OwnerCheck: TypeAlias = Callable[[FenceMark], None]
"""Asked inside the transaction that is to change the fence; what it raises leaves the file as it was."""


def unowned(mark: FenceMark) -> None:
    """Do not check the owner: for callers with exclusive use of the file, who may change any fence."""
    del mark


def raise_fence(
    conn: sqlite3.Connection,
    *,
    state: FenceState = "fenced",
    pass_token: str | None = None,
    owner: Owner | None = None,
    check: OwnerCheck = unowned,
    patience_seconds: float = PATIENCE_SECONDS,
) -> None:
    """Fence the file, durably; again is harmless, covers tables made since, and replaces state, pass and owner.

    No transaction and no unfinished SELECT may be open on the connection. Raises StoreUnavailable, with nothing
    changed, when other connections do not let go in time.
    """
    if state == "open":
        raise ValueError("open is what lift makes it")
    with turning(conn, state, pass_token=pass_token, owner=owner, check=check, patience_seconds=patience_seconds):
        pass


def lift(conn: sqlite3.Connection, *, check: OwnerCheck = unowned, patience_seconds: float = PATIENCE_SECONDS) -> None:
    """Open the file to writes: the schema is as it was before the fence, to the byte. Harmless where there is none."""
    with turning(conn, "open", check=check, patience_seconds=patience_seconds):
        pass


@contextmanager
def turning(
    conn: sqlite3.Connection,
    to: FenceState,
    *,
    pass_token: str | None = None,
    owner: Owner | None = None,
    check: OwnerCheck = unowned,
    patience_seconds: float = PATIENCE_SECONDS,
) -> Iterator[None]:
    """Turn the fence to another state after the body, durably; nobody else can write or turn it while the body runs.

    So what the body commits elsewhere is committed while `check` holds. Where the body fails, the file is as it was.
    """
    with _durable(conn, patience_seconds):
        check(mark(conn))
        yield
        fence_schema.drop(conn)
        if to == "open":
            applied_log.drop(conn)  # Players write from now on: it follows nothing any more.
        else:
            fence_schema.make(conn, to, _sha256(pass_token), owner)


def mark(conn: sqlite3.Connection) -> FenceMark:
    """Read the state and the owner of the fence. Costs one small read."""
    row = fence_schema.row(conn)
    return FenceMark("open") if row is None else row[0]


def state(conn: sqlite3.Connection) -> FenceState:
    """Read the state of the fence. Costs one small read."""
    return mark(conn).state


@contextmanager
def bypass(conn: sqlite3.Connection, token: str) -> Iterator[None]:
    """Let the block write to a fenced file, within an open BEGIN IMMEDIATE; the fence stands again before any commit.

    Raises Fenced or Moved if the token is not the pass. Harmless where there is no fence.
    """
    if not _is_open(conn):
        raise ValueError("a pass needs a transaction that is open")
    row = fence_schema.row(conn)
    if row is None:
        yield
        return
    recorded_mark, pass_sha256 = row
    recorded = recorded_mark.state
    if not token or not hmac.compare_digest(str(pass_sha256).encode(), str(_sha256(token)).encode()):
        raise refusal(recorded)
    fence_schema.drop_triggers(conn)
    try:
        yield
    finally:
        if _is_open(conn):
            fence_schema.create_triggers(conn, recorded)
        elif fence_schema.changed(conn, recorded):  # The body committed: close the hole at once, then say so.
            raise_fence(conn, state=recorded, pass_token=token, owner=recorded_mark.owner)
            raise ValueError("the transaction was committed while the fence was down")


def prove(conn: sqlite3.Connection) -> int:
    """Try every kind of write on every table, each undone; how many were refused. Raises NotFenced naming each hole.

    UPDATE and DELETE are tried where there is a row: on an empty table no row trigger fires, and the schema must do.
    """
    recorded = state(conn)
    if recorded == "open":
        raise NotFenced("there is no fence")
    conn.execute("BEGIN IMMEDIATE")
    try:
        if holes := missing(conn):  # Then nothing is tried: a write that goes through might be a large one.
            raise NotFenced(f"not as it was made: {', '.join(holes)}")
        tries = [attempt for table in fence_schema.tables(conn) for attempt in _tries(conn, table)]
        holes = [statement for statement in tries if not _refused(conn, statement)]
        if holes:
            raise NotFenced(f"went through: {'; '.join(holes)}")
        return len(tries)
    finally:
        conn.rollback()


def refusal(state: str) -> Fenced | Moved:
    """Return the game's error for a fence in this state."""
    return Moved(fence_schema.MESSAGES["moved"]) if state == "moved" else Fenced(fence_schema.MESSAGES["fenced"])


def refused_by(error: sqlite3.Error) -> Fenced | Moved | None:
    """Return the game's error for what SQLite raised, if a fence raised it."""
    text = str(error)
    return refusal(text.rpartition(" ")[2]) if text.startswith(FENCE_MESSAGE) else None


def missing(conn: sqlite3.Connection) -> list[str]:
    """Return the triggers of the fence that are not as they were made, by name; none where there is no fence."""
    recorded = state(conn)
    return [] if recorded == "open" else fence_schema.changed(conn, recorded)


def _tries(conn: sqlite3.Connection, table: str) -> list[str]:
    """Return statements that write into the table: an INSERT, and an UPDATE and a DELETE if it has rows."""
    name = sqlite_values.quote(table)
    tries = [f"INSERT INTO {name} DEFAULT VALUES"]
    if conn.execute(f"SELECT EXISTS (SELECT 1 FROM {name})").fetchone()[0]:
        # Column 1 is the name, column 6 tells hidden and generated ones.
        column = next(
            sqlite_values.quote(row[1]) for row in conn.execute(f"PRAGMA table_xinfo({name})").fetchall() if row[6] == 0
        )
        tries += [f"UPDATE {name} SET {column} = {column}", f"DELETE FROM {name}"]
    return tries


def _refused(conn: sqlite3.Connection, statement: str) -> bool:
    """Run the statement. Return True if the fence refused it, False if it succeeded or failed otherwise."""
    try:
        conn.execute(statement)
    except sqlite3.Error as error:
        return refused_by(error) is not None
    return False


@contextmanager
def _durable(conn: sqlite3.Connection, patience_seconds: float) -> Iterator[None]:
    """Hold one IMMEDIATE transaction, on disk when it has ended; rolled back when the body fails."""
    if _is_open(conn):
        raise ValueError("a transaction is open on the connection")
    before = conn.execute("PRAGMA main.synchronous").fetchone()[0]
    conn.execute("PRAGMA main.synchronous = EXTRA")
    try:
        _patiently(lambda: conn.execute("BEGIN IMMEDIATE"), patience_seconds)
        yield
        # Without a write-ahead log a reader delays the COMMIT itself; the transaction stays open and may try again.
        _patiently(conn.commit, patience_seconds)
    finally:
        if _is_open(conn):
            conn.rollback()
        conn.execute(f"PRAGMA main.synchronous = {before}")


def _patiently(act: Callable[[], Any], patience_seconds: float) -> None:
    """Try again while others hold the file; who has little patience asks oftener, for SQLite gives nobody a turn."""
    retrying = Retrying(
        retry=retry_if_exception(_is_busy),
        stop=stop_after_delay(patience_seconds),
        wait=wait_random(0, patience_seconds / 300),
    )
    try:
        retrying(act)
    except RetryError:
        raise StoreUnavailable(f"the file stayed locked by other connections for {patience_seconds:g} s") from None


def _is_open(conn: sqlite3.Connection) -> bool:
    return conn.in_transaction


def _is_busy(error: BaseException) -> bool:
    """Return True if another connection holds the file, in any form."""
    # The low byte of SQLite's code is the kind; the others say which form.
    return isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF in (
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
    )


def _sha256(token: str | None) -> str | None:
    return None if token is None else hashlib.sha256(token.encode()).hexdigest()
