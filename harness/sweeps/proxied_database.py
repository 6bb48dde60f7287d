"""The set-up of faults and races: a database of one's own, a wire proxy before it, and a store on each side of it.

A start is placed once, with the proof that nothing else is there (some 25 ms); for the cases that begin with it, or
with what a command of the run made of it, all rows are put back in one statement (3 ms). An end is every row of the
game, of every player.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Self

import psycopg
import sqlalchemy as sa
import tenacity
from psycopg import sql

from db.errors import Failure
from db.ops import fence, statements
from db.servers import Server
from game import tables
from game.postgres.store import PostgresStore
from game.rows import Key, Record, Rows
from game.unit_of_work import Store
from game.urls import PostgresUrl
from harness import wire
from harness.databases import Database, Databases
from harness.play import arena
from harness.play.arena import PostgresStage, StartingPlayer
from harness.wire import Proxy


class Busy(Failure):
    """A background process of the server was at work when it should have been stopped."""


def _everything() -> sql.Composed:
    """Return the query for a JSON array of records per table, all of them as of one instant."""
    arrays = [sql.SQL("(SELECT json_agg(r) FROM {} r)").format(sql.Identifier(table.name)) for table in tables.ALL]
    return sql.SQL("SELECT ") + sql.SQL(", ").join(arrays)


EVERYTHING = _everything()
BACKGROUND = """
SELECT array_agg(pid), bool_and(coalesce(wait_event_type = 'Activity', false)) AND bool_or(backend_type = 'walwriter')
FROM pg_stat_activity WHERE backend_type <> 'client backend'
"""
"""The server's own processes, and True if each of them rests: then it holds no lock that a session could wait for."""

RECOVERY_SECONDS = 10.0
RECOVERING = tenacity.Retrying(
    retry=tenacity.retry_if_exception_type((psycopg.OperationalError, Busy)),
    wait=tenacity.wait_fixed(0.01),
    stop=tenacity.stop_after_delay(RECOVERY_SECONDS),
    reraise=True,
)
"""A server in recovery refuses connections, and has not all of its processes yet; it takes some 100 ms."""

FILLED = (*arena.TABLE_ORDER, *tables.JOURNALS)
"""Parents before their children."""


def _by_key(table: sa.Table, records: Iterable[Record]) -> dict[Key, Record]:
    key = tables.KEYS[table.name]
    return {tuple(record[column] for column in key): record for record in records}  # type: ignore[misc]  # keys are text or numbers


def refill(states: Iterable[Rows]) -> sql.Composed:
    """Compose statements that empty all tables, children first, and insert these rows; each state is of other players.

    For `put_back`; they wait 2 s at most for each lock. To compose them takes longer than to run them: keep them for
    the cases that begin alike.
    """
    kept = list(states)
    parts: list[sql.Composable] = [sql.SQL("SET LOCAL lock_timeout = '2s'")]
    parts += [sql.SQL("DELETE FROM {}").format(sql.Identifier(table.name)) for table in reversed(FILLED)]
    parts += [
        _insert(table.name, record) for table in FILLED for rows in kept for record in rows.get(table.name, {}).values()
    ]
    return sql.SQL("; ").join(parts)


def _insert(table: str, record: Record) -> sql.Composed:
    """Return an INSERT of one record: each may name columns that another leaves at their defaults."""
    return statements.insert_into(sql.Identifier(table), record, map(sql.Literal, record.values()))


class ProxiedDatabase:
    """One database, reset in place between cases. `wired` is the store whose round trips go through the proxy."""

    def __init__(self, server: Server, databases: Databases) -> None:
        self._server = server
        self._databases = databases
        self._database = databases.clone()
        self._lost = False
        self._crashing = threading.Lock()
        self.proxy = Proxy(wire.address(self._database.service))
        self._open()

    def _connect(self) -> None:
        self._admin = psycopg.connect(self._server.maintenance.conninfo, autocommit=True)
        self._owner = psycopg.connect(self._database.owner.conninfo, autocommit=True)

    def _open(self) -> None:
        self._connect()
        self._open_stores()

    def _open_stores(self) -> None:
        self._stage = PostgresStage(self._database.service, lambda: self._databases.reset(self._database))
        self.wired = self.store()

    @property
    def url(self) -> PostgresUrl:
        """Return the URL of the database by way of the proxy."""
        return self.proxy.url(self._database.service)

    def store(self, proxy: Proxy | None = None) -> PostgresStore:
        """Open another store by way of a proxy, with one warm connection: a cold one makes more round trips."""
        store = PostgresStore((proxy or self.proxy).url(self._database.service), pool_size=1)
        with store.begin():
            return store

    def owner_url(self, proxy: Proxy) -> PostgresUrl:
        """Return the owner's URL of the database, by way of a proxy."""
        return proxy.url(self._database.owner)

    def unfence(self) -> None:
        """Lift the fence, if one is raised."""
        if fence.recorded_state(self._owner) != "open":
            fence.lift(self._owner)

    def place(self, starts: Iterable[StartingPlayer]) -> None:
        """Empty the database, prove that it is as it began, and put these players into it."""
        placed = list(starts)
        self._stage.place(placed)
        self._refill = refill(start.rows for start in placed)

    def put_back(self, statements: sql.Composed | None = None) -> None:
        """Put the rows that were placed last back; or those of another state, by the statements of its `refill`.

        Raises psycopg's LockNotAvailable where a lock was left behind.
        """
        with fence.own_pass(self._owner):
            self._owner.execute(self._refill if statements is None else statements)

    def read(self) -> Rows:
        """Return all rows of the game's tables, past the proxy; bytes as their hexadecimal text."""
        row = self._owner.execute(EVERYTHING).fetchone()
        assert row is not None
        return Rows(
            {table.name: _by_key(table, records) for table, records in zip(tables.ALL, row, strict=True) if records}
        )

    @property
    def direct(self) -> Store:
        """Return the store past the proxy."""
        return self._stage.store

    def terminate(self, pid: int) -> None:
        """Have the server end one of its processes, as an operator would; when it ends is its own affair."""
        self._admin.execute("SELECT pg_terminate_backend(%s)", [pid])

    def crash(self, pids: Sequence[int]) -> None:
        """Kill processes of the server's by signal: it ends all the others, and recovers from its log.

        It has begun to when this returns: our own connection waited to be ended by it.
        """
        with self._crashing, suppress(psycopg.OperationalError):
            self._lost = True
            self._signal("KILL", pids)
            self._admin.execute("SELECT pg_sleep(10)")

    def freeze(self) -> list[int]:
        """Stop (SIGSTOP) every process of the server that is no session's. Returns them, to be killed or thawed."""
        return RECOVERING(self._freeze)

    def _freeze(self) -> list[int]:
        pids, _ = self._background()
        self._signal("STOP", pids)
        if self._background() != (pids, True):
            self.thaw(pids)
            raise Busy("the server's own processes at rest", "one at work, or one that has just begun")
        return pids

    def _background(self) -> tuple[list[int], bool]:
        row = self._admin.execute(BACKGROUND).fetchone()
        assert row is not None
        return row[0], row[1]

    def thaw(self, pids: Sequence[int]) -> None:
        """Let stopped processes go on (SIGCONT)."""
        self._signal("CONT", pids)

    def _signal(self, signal: str, pids: Sequence[int]) -> None:
        """Have the server send a signal to its own processes; one that has ended meanwhile is passed over."""
        # The first death has the server send SIGQUIT to its sessions, and to what they run: to this shell too.
        command = f'trap "" QUIT; kill -{signal} {" ".join(map(str, pids))}; true'
        self._admin.execute(f"COPY (SELECT WHERE false) TO PROGRAM '{command}'".encode())

    def serves(self, pid: int) -> bool:
        """Return True if the server still has that process."""
        row = self._admin.execute("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = %s)", [pid]).fetchone()
        return row is not None and bool(row[0])

    def life(self) -> object:
        """Return a value that changes at each crash recovery of the server: the start of its checkpointer."""
        return self._admin.execute(
            "SELECT pid, backend_start FROM pg_stat_activity WHERE backend_type = 'checkpointer'"
        ).fetchone()

    def blocked(self, pid: int, by: list[int]) -> bool:
        """Return True if a session waits for a lock that one of the others holds or awaits."""
        row = self._admin.execute("SELECT pg_isolation_test_session_is_blocked(%s, %s)", [pid, by]).fetchone()
        return row is not None and bool(row[0])

    def reopen(self) -> None:
        """Connect anew, after a crash took every connection. Raises Failure when the server stays away."""
        self._close_stores()
        self.reconnect()
        self._open_stores()

    def reconnect(self) -> None:
        """Connect our own two sessions anew, if a crash took them. Raises Failure when the server stays away."""
        with self._crashing:  # On a thread of a proxy, our own session may be waiting still to be ended.
            if not self._lost:
                return
            for connection in (self._admin, self._owner):
                connection.close()
            try:
                RECOVERING(self._connect)
                self._lost = False
            except psycopg.OperationalError as error:
                raise Failure("the server to be back after a crash", str(error).strip()) from error

    def leave(self) -> Database:
        """Leave the database as it is and take another. Returns the one that was left."""
        left = self._database
        self._close()
        self._database = self._databases.clone()
        self._open()
        return left

    def close(self) -> None:
        """Close the proxy and drop the database."""
        self._close()
        self.proxy.close()
        self._databases.drop(self._database)

    def _close_stores(self) -> None:
        self.wired.close()
        self._stage.close()

    def _close(self) -> None:
        self._close_stores()
        self._owner.close()
        self._admin.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_cause: object) -> None:
        self.close()
