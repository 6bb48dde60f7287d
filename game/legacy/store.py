"""The legacy store: players as JSON in the columns of one SQLite table, in a file that others may be writing too.

It writes only the columns that a command changed, and within them only the elements. The journals stand beside, in
tables that begin with `sudamr_`, made with the first write. The file's journal mode is left as it is; every commit is
synced. A command takes the file's one write lock (BEGIN IMMEDIATE) and reads some 30 KB of the player's row.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import ClassVar, cast

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import PoolProxiedConnection, QueuePool

from game import idempotency, printable, tables
from game.chain import Head
from game.errors import StoreFailure, StoreUnavailable, TryAgain
from game.legacy import (
    codec,
    draws,
    fence,
    fence_schema,
    file_journals,
    guarding,
    identity,
    numbering,
    player_row,
    sqlite_values,
    write_lock,
)
from game.legacy.codec import homes
from game.legacy.codec.mapping import USERS
from game.legacy.codec.unneeded import HarmlessDocuments
from game.legacy.digests import DigestSet
from game.legacy.sqlite_values import Cell, insert_into, placeholder, quote
from game.legacy.write_lock import BUSY, primary_code
from game.rows import Record, Rows, compare
from game.unit_of_work import UNWATCHED, Engine, FenceView, LoadedPlayer, StoreStatus, Watch

UNREACHABLE = frozenset(
    {
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_TOOBIG,
        sqlite3.SQLITE_AUTH,
    }
)
NO_GAME_HERE = (
    "no such table: users",
    f"table {tables.LEGACY_PREFIX}",
    "no such column: ",
    "not authorized",
    "user-defined function raised exception",
)
"""Beginnings of SQLite's messages about a missing table or column, or about a trigger of the file's that would act
beyond it or reads a text that is not UTF-8: the file is not one that this version can use."""

GAME = "SELECT count(*) FROM users WHERE 0"
"""The statement that fails on a file that is not the game's, such as an empty one."""

GIVE_A_HOME = "give it one in game/legacy, or take it out of game/tables.py until the game has moved to Postgres"
MOST_STEPS = 50_000_000
"""The most steps of SQLite's virtual machine in one transaction, a second or two: a trigger of the file's may have no
end.
"""

MOST_CPU_SECONDS = 10.0
"""The CPU time of one transaction: a step can take long by itself, where a value of the file is large."""

LOADED_ALWAYS = (tables.user_inventory.name,)
"""The bag comes along with whatever a command loads, for it is read anyway."""

_JOURNALS = {name: journal.name for name, journal in file_journals.TABLES.items()}


def _read(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN")


class LegacyStore:
    """Players in the legacy file. Opens nothing before it is used.

    digests: memory for a `DigestSet` that other processes share; None: one of its own.
    """

    engine: ClassVar[Engine] = "legacy"

    def __init__(
        self,
        path: Path,
        *,
        pool_size: int = 4,
        pool_timeout_seconds: float = 1.0,
        busy_timeout_seconds: float = 5.0,
        watch: Watch = UNWATCHED,
        digests: int | None = None,
    ) -> None:
        self._path = path
        self._watch = watch
        self._pool_size = pool_size
        self._busy_timeout_seconds = busy_timeout_seconds
        # SQLite's own wait is a poll that lets newcomers overtake; within the process writers queue here instead.
        self._turn = threading.Lock()
        self._harmless = HarmlessDocuments(digests=DigestSet(digests))
        self._pool = QueuePool(self._connect, pool_size=pool_size, max_overflow=0, timeout=pool_timeout_seconds)

    @contextmanager
    def begin(self, fence_pass: str | None = None, *, patience_seconds: float | None = None) -> Iterator[LegacyUnit]:
        """Begin a unit of work that holds the file's write lock."""
        patience = self._busy_timeout_seconds if patience_seconds is None else patience_seconds
        with self._watch.waiting():
            had = self._turn.acquire(timeout=min(patience, self._busy_timeout_seconds))
        if not had:
            raise TryAgain("tx_rolled_back", "other commands of this process kept the file's write lock")
        try:
            with self._transaction(partial(self._lock, patience, fence_pass), patience_seconds) as connection:
                yield LegacyUnit(connection, fence_pass, self._harmless, self._watch)
        finally:
            self._turn.release()

    def state(self, player: str) -> Rows | None:
        """See `Store`: one read transaction."""
        return self._select(player, ())

    def state_if_open(self, player: str) -> Rows | None:
        """See `PairedStore`: one read transaction."""
        return self._select(player, (), open_only=True)

    def read(self, player: str) -> Rows | None:
        """See `Store`: one read transaction."""
        return self._select(player, tables.JOURNALS)

    def _select(self, player: str, journals: Iterable[sa.Table], *, open_only: bool = False) -> Rows | None:
        with self._transaction() as connection:
            state = fence.state(connection)
            if state == "moved" or (open_only and state != "open"):
                raise fence.refusal(state)
            if lacks := homes.homeless():
                raise StoreUnavailable(_sentence(lacks))
            row_and_rows = player_row.find(
                connection, player, [table.name for table in tables.PLAYER_STATE], self._harmless
            )
            if row_and_rows is None:
                return None
            rows = Rows({table.name: row_and_rows[1].get(table.name, {}) for table in tables.PLAYER_STATE})
            for journal in journals:
                absent = numbering.absent_columns(connection) if journal is tables.action_receipts else ()
                rows[journal.name] = file_journals.records(connection, journal, player, absent=absent)
        return player_row.without_codec_columns(rows)

    def status(self) -> StoreStatus:
        """Read the store's status. The file's own place is its identity: links are followed."""
        with self._transaction() as connection:
            connection.execute(GAME)
            state = fence.state(connection)
            lacks = homes.homeless() or _lacking(connection)
        store = f"legacy:{self._path.resolve()}"
        return StoreStatus(self.engine, store, None, None, state, _sentence(lacks), identity.of(self._path))

    def fence_view(self) -> FenceView:
        """Read the fence and whom it names, in one read transaction; see `PairedStore`."""
        with self._transaction() as connection:
            connection.execute(GAME)
            mark = fence.mark(connection)
        named = (None, None) if mark.owner is None else (mark.owner.target, mark.owner.run)
        return FenceView(identity.of(self._path), mark.state, *named)

    def warm(self) -> None:
        """Open the whole pool, and read the file's schema on each connection; see `PairedStore`."""
        with ExitStack() as held:
            for connection in [held.enter_context(self._transaction()) for _ in range(self._pool_size)]:
                connection.execute(GAME)

    def acquaint(self, player: str) -> None:
        """Decode the player's documents: commands need not decode the harmless ones again. See `PairedStore`."""
        with self._transaction() as connection:
            player_row.find(connection, player, LOADED_ALWAYS, self._harmless)

    def close(self) -> None:
        """Close all connections of the pool; see `Store`."""
        self._pool.dispose()

    def _connect(self) -> DBAPIConnection:
        connection = sqlite_values.connect(self._path, timeout_seconds=self._busy_timeout_seconds)
        # FULL does not sync the folder: in a file without a write-ahead log, the removal of the journal, which is the
        # commit, could be lost with the power, and the journal roll back what was answered.
        connection.execute("PRAGMA synchronous=EXTRA")
        return cast(DBAPIConnection, connection)

    @contextmanager
    def _transaction(
        self, begin: Callable[[sqlite3.Connection], object] = _read, patience_seconds: float | None = None
    ) -> Iterator[sqlite3.Connection]:
        """Hold a connection in a transaction, which ends with a rollback unless it was committed."""
        with _translated():
            with self._watch.waiting():
                pooled: PoolProxiedConnection = self._pool.connect()
            try:
                connection = pooled.driver_connection
                assert isinstance(connection, sqlite3.Connection)
                with (
                    self._watch.holding(),
                    self._patient(connection, patience_seconds),
                    guarding.at_most(connection, MOST_STEPS, cpu_seconds=MOST_CPU_SECONDS),
                ):
                    yield from self._begun(connection, begin)
            except sqlite3.OperationalError as error:
                if primary_code(error) not in BUSY:
                    pooled.invalidate(error)
                raise
            finally:
                pooled.close()

    @contextmanager
    def _patient(self, connection: sqlite3.Connection, seconds: float | None) -> Iterator[None]:
        """Let the connection wait no longer than this for the file's locks."""
        if seconds is None or seconds >= self._busy_timeout_seconds:
            yield
            return
        connection.execute(f"PRAGMA busy_timeout={int(seconds * 1000)}")
        try:
            yield
        finally:
            connection.execute(f"PRAGMA busy_timeout={int(self._busy_timeout_seconds * 1000)}")

    def _lock(self, patience: float, fence_pass: str | None, connection: sqlite3.Connection) -> None:
        with self._watch.asking("lock"):
            write_lock.take(
                connection, min(patience, self._busy_timeout_seconds), past_the_fence=fence_pass is not None
            )

    def _begun(
        self, connection: sqlite3.Connection, begin: Callable[[sqlite3.Connection], object]
    ) -> Iterator[sqlite3.Connection]:
        """Yield the connection once, within a transaction."""
        try:
            begin(connection)
            yield connection
        except BaseException:  # Whatever ends it, a worker told to stop included, is a rollback; it goes on.
            self._watch.rolled_back()
            raise


class LegacyUnit:
    """One transaction on the legacy file."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        fence_pass: str | None,
        harmless: HarmlessDocuments,
        watch: Watch = UNWATCHED,
    ) -> None:
        self._connection = connection
        self._harmless = harmless
        self._fence_pass = fence_pass
        self._watch = watch
        self._row: dict[str, Cell] = {}

    def load(self, player: str, request_id: str, names: Collection[str]) -> LoadedPlayer | None:
        """See `Unit`."""
        if lacks := homes.homeless():
            raise StoreUnavailable(_sentence(lacks))
        state = fence.state(self._connection)
        if state == "moved" and self._fence_pass is None:
            raise fence.refusal(state)
        with self._watch.asking("load"):
            row_and_rows = player_row.find(self._connection, player, {*names, *LOADED_ALWAYS}, self._harmless)
            if row_and_rows is None:
                return None
            self._row, rows = row_and_rows
            receipts, openings = tables.action_receipts, tables.player_openings
            absent = numbering.absent_columns(self._connection)
            forms = idempotency.forms(request_id)
            read = partial(file_journals.records, self._connection)
            rows[receipts.name] = read(receipts, player, request_ids=forms, absent=absent)
            rows[openings.name] = read(openings, player)
            head = self._head(player, absent) if state == "open" or self._fence_pass is not None else None
        return LoadedPlayer(rows, state, head, draws.read(self._connection))

    def _head(self, player: str, absent: Collection[str]) -> Head:
        """Return the player's newest receipt. Numbers his receipts first if some have no number."""
        if not file_journals.has(self._connection, numbering.RECEIPTS):
            return Head()
        head = None if absent else numbering.head_of_all(self._connection, player)
        if head is None:
            with self._past_the_fence():
                numbering.add_columns(self._connection)
                numbering.number(self._connection, player)
                head = numbering.head(self._connection, player)
        return head

    def save(self, before: Rows, after: Rows) -> None:
        """Write the changed columns of the player's row, and the journals' new lines; with a pass, past the fence."""
        row = codec.changed(self._row, _state(before), _state(after))
        with self._watch.asking("save"), self._past_the_fence():
            if row:
                self._update(row)
            numbering.make_tables(self._connection)
            _require_tables(self._connection)
            for name, change in compare(before, after).items():
                if name in _JOURNALS:
                    self._append(name, change.inserts.values())

    def commit(self) -> None:
        """COMMIT, synced to the disk."""
        with self._watch.asking("commit"):
            self._connection.execute("COMMIT")

    def _past_the_fence(self) -> AbstractContextManager[object]:
        if self._fence_pass is None:
            return nullcontext()
        return fence.bypass(self._connection, self._fence_pass)

    def _update(self, row: dict[str, Cell]) -> None:
        for column in row:
            if column not in self._row and column not in player_row.columns(self._connection):
                self._connection.execute(f"ALTER TABLE users ADD COLUMN {quote(column)} {USERS.declared[column]}")
        assignments = ", ".join(f"{quote(column)} = {placeholder(cell)}" for column, cell in row.items())
        values = [*(sqlite_values.bind(cell) for cell in row.values()), sqlite_values.bind(self._row["id"])]
        updated = self._connection.execute(f"UPDATE users SET {assignments} WHERE id = ?", values)
        if updated.rowcount != 1:  # A trigger of the file's can undo it silently, by RAISE(IGNORE).
            raise StoreUnavailable(f"the legacy file: {updated.rowcount} rows changed in place of the player's one")

    def _append(self, name: str, records: Collection[Record]) -> None:
        columns = [column.name for column in tables.BY_NAME[name].columns]
        statement = insert_into(_JOURNALS[name], ["?"] * len(columns), columns)
        self._connection.executemany(statement, [[record[column] for column in columns] for record in records])


def _require_tables(connection: sqlite3.Connection) -> None:
    """Raise StoreUnavailable if a view stands in a journal's place, or a trigger on one: a receipt could vanish."""
    query = (
        "SELECT name FROM sqlite_master WHERE type IN ('view', 'trigger') AND substr(lower(tbl_name), 1, ?) = ?"
        " AND substr(name, 1, ?) <> ?"
    )
    prefix, fences = tables.LEGACY_PREFIX, fence_schema.PREFIX
    if intruder := connection.execute(query, (len(prefix), prefix, len(fences), fences)).fetchone():
        raise StoreUnavailable(f"the legacy file: {intruder[0]} acts in the place of a journal")


def _lacking(connection: sqlite3.Connection) -> list[str]:
    """Name the columns that the file's journals lack, but for those that a command adds.

    A file without journals gets them complete, so it lacks none.
    """
    lacking = []
    for journal in file_journals.TABLES.values():
        have = {name for (name,) in connection.execute("SELECT name FROM pragma_table_info(?)", (journal.name,))}
        wanted = [column.name for column in journal.columns if column.name not in file_journals.ADDED_TO_RECEIPTS]
        lacking += [f"{journal.name}.{name}" for name in wanted if have and name not in have]
    return lacking


def _sentence(lacks: Collection[str]) -> str:
    return f"the legacy file has no place for {printable.named(lacks)}: {GIVE_A_HOME}" if lacks else ""


def _state(rows: Rows) -> Rows:
    """Return the rows that the codec writes: all but the journals."""
    return Rows({name: records for name, records in rows.items() if name not in _JOURNALS})


@contextmanager
def _translated() -> Iterator[None]:
    """Raise SQLite's errors in the store's words. What is neither transient nor a fence is a defect, and goes on."""
    try:
        yield
    except sa.exc.TimeoutError as error:
        raise StoreUnavailable("every connection of the pool is in use") from error
    except MemoryError as error:
        raise StoreUnavailable("the legacy file: SQLite can't read it within its memory") from error
    except sqlite3.Error as error:
        failure = _failure(error)
        if failure is None:
            raise
        raise failure from error


def _failure(error: sqlite3.Error) -> StoreFailure | None:
    if refused := fence.refused_by(error):
        return refused
    if primary_code(error) in BUSY:
        return TryAgain("tx_rolled_back", str(error))
    if primary_code(error) in UNREACHABLE or str(error).startswith(NO_GAME_HERE):
        return StoreUnavailable(f"the legacy file: {error}")
    return None
