"""Guards connections on which the schema of a legacy file is read: the file chooses neither what runs nor how long.

A schema holds code: triggers, views, CHECKs, generated columns, indexes on expressions. SQLite runs it with the rights
of whoever reads or writes the file. Here it reaches no other file and no extension, it may call only functions whose
cost and result are bounded by their arguments, and no recursive query. Values, statements, programs and SQLite's heap
are limited, and so is the product of the lengths that one call compares (`bounded_functions`). What is over a limit
ends in an error of SQLite's, or in MemoryError.
"""

from __future__ import annotations

import math
import sqlite3
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from game.legacy import bounded_functions
from game.legacy.sidecars import journal_of

MOST_BYTES = 160_000_000
"""The size of one value, or of one row that is written. Postgres holds 1 GB, and as JSON a byte takes up to six."""

HEAP_BYTES = 1 << 30
"""The memory of all connections of this process together; a value of MOST_BYTES is copied several times."""

MOST_STATEMENT_BYTES = 1_000_000

LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: MOST_BYTES,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: MOST_STATEMENT_BYTES,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 32,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 1000,
    # Generated columns that name each other twice double the program with each column.
    sqlite3.SQLITE_LIMIT_VDBE_OP: 1_000_000,
}

_NAMES = """
-> ->> abs acos acosh asin asinh atan atan2 atanh avg ceil ceiling changes coalesce cos cosh count cume_dist
current_date current_time current_timestamp date datetime degrees dense_rank exp first_value floor glob hex ifnull
iif instr json json_array json_array_length json_each json_extract json_insert json_object
json_quote json_remove json_replace json_set json_tree json_type json_valid julianday lag last_insert_rowid
last_value lead length like likelihood likely ln log log10 log2 lower ltrim match max min mod nth_value ntile
nullif octet_length percent_rank pi pow power radians random rank round row_number rtrim sign sin sinh soundex
sqlite_version sqrt strftime substr substring sum tan tanh time timediff total total_changes trim trunc typeof
unicode unixepoch unlikely upper
"""

FUNCTIONS = frozenset(_NAMES.split())
"""The functions that a schema may call. The others make large results of small arguments (zeroblob, replace, printf),
take the square of their length (json_patch: minutes for 8 MB), or act.
"""

_FORBIDDEN = frozenset(("load_extension", "fts3_tokenizer"))
_OF_SQLITE = ("pragma_", "dbstat", "sqlite_stmt", "fts3tokenize")
"""Begins the names of tables that are SQLite's own functions, a check of the whole file among them."""

_JOURNAL_OF_SEVERAL = bytes.fromhex("d9d505f920a163d7")
"""Ends a rollback journal that names another file, which SQLite reads, and removes, when it rolls back."""

_STEPS_A_CALL = 100
"""Between two of these Python handles no signal. One step can take a second: a function of a value of MOST_BYTES."""


class _Deadline(threading.local):
    """Of the statements that this thread runs, in CPU seconds of the thread."""

    at: float = math.inf

    def is_over(self) -> bool:
        return time.thread_time() >= self.at

    def check(self) -> None:
        if self.is_over():
            raise OverflowError  # The module sqlite3 makes SQLITE_TOOBIG of it.


_DEADLINE = _Deadline()


def guard(connection: sqlite3.Connection) -> sqlite3.Connection:
    """Limit what the schema behind the connection can do. Return the connection. Reads nothing of the file."""
    for limit, most in LIMITS.items():
        connection.setlimit(limit, min(most, connection.getlimit(limit)))
    # OFF refuses our functions in a schema, and fts5 in triggers, which real searches use. The authorizer refuses the
    # rest.
    connection.execute("PRAGMA trusted_schema=ON")
    connection.execute("PRAGMA cell_size_check=ON")
    # How SQLite was built says whether it is ON: then to carry a player back would take what other tables have of him.
    connection.execute("PRAGMA foreign_keys=OFF")
    connection.execute(f"PRAGMA hard_heap_limit={HEAP_BYTES}").fetchall()
    connection.set_authorizer(_authorize)
    bounded_functions.install(connection, LIMITS, _DEADLINE.check)
    # The handler is also what lets Python handle a signal while a statement runs. What that raises is dropped by the
    # module sqlite3, which ends the statement with an error of its own.
    connection.set_progress_handler(_DEADLINE.is_over, _STEPS_A_CALL)
    return connection


@contextmanager
def strictly(connection: sqlite3.Connection, *, also: Collection[str] = ()) -> Iterator[None]:
    """Allow in the block's statements only what the file's triggers may do: their text is the file's.

    also: further functions, by name in lower case.
    """

    def authorize(action: int, first: str | None, second: str | None, _schema: str | None, _source: str | None) -> int:
        return _strict(action, first, second, also)

    connection.set_authorizer(authorize)
    try:
        yield
    finally:
        connection.set_authorizer(_authorize)


@contextmanager
def at_most(connection: sqlite3.Connection, steps: int, *, cpu_seconds: float = math.inf) -> Iterator[None]:
    """Interrupt the block's statements when they have taken so many steps of SQLite's machine together.

    Steps, unlike seconds, are the same on a slow machine; but a step on a large value can take a second. SQLite then
    raises OperationalError (SQLITE_INTERRUPT), or DataError (SQLITE_TOOBIG). cpu_seconds: of this thread in the block.
    """
    calls = steps // _STEPS_A_CALL
    _DEADLINE.at = time.thread_time() + cpu_seconds

    def spent() -> bool:
        nonlocal calls
        calls -= 1
        return calls <= 0 or _DEADLINE.is_over()

    connection.set_progress_handler(spent, _STEPS_A_CALL)
    try:
        yield
    finally:
        _DEADLINE.at = math.inf
        connection.set_progress_handler(_DEADLINE.is_over, _STEPS_A_CALL)


def names_another_file(path: Path) -> bool:
    """Return True if a rollback journal beside the file names a further file: then SQLite must not roll it back."""
    try:
        with journal_of(path).open("rb") as journal:
            journal.seek(0, 2)
            journal.seek(max(0, journal.tell() - len(_JOURNAL_OF_SEVERAL)))
            return journal.read() == _JOURNAL_OF_SEVERAL
    except OSError:
        return False  # No journal, or none that SQLite could read either.


def _authorize(action: int, first: str | None, second: str | None, _schema: str | None, source: str | None) -> int:
    """Decide on one part of a statement. source: the trigger or view that it stands in; None: our own statement."""
    if source is not None:
        return _strict(action, first, second)
    if action in (sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH):
        return sqlite3.SQLITE_DENY
    if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in _FORBIDDEN:
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK


def _strict(action: int, table: str | None, function: str | None, also: Collection[str] = ()) -> int:
    if action in (sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH, sqlite3.SQLITE_RECURSIVE):
        return sqlite3.SQLITE_DENY
    if action == sqlite3.SQLITE_READ and (table or "").lower().startswith(_OF_SQLITE):
        return sqlite3.SQLITE_DENY
    if action == sqlite3.SQLITE_FUNCTION and (name := (function or "").lower()) not in FUNCTIONS and name not in also:
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK
