"""Looks from outside while the tool is held: at what both stores say of themselves, and whether they take writes.

What it saw is judged by the project's own table of states (`db.cutover.advice`): one that no run may leave is a breach
at any instant, and so is a game that has gone live behind its fence, and two stores that take a player's write.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.errors import LockNotAvailable

from db.cutover.advice import EnvironmentState, Fence, FenceOwner, PointerTo, Unreachable, advise
from db.ops import Phase, locks
from game.legacy import fence, sqlite_values
from game.legacy.fence_schema import FenceMark
from game.urls import PostgresUrl

WATCHER = "watcher"
SEEN = """
select
    phase,
    run,
    (select state from ops.fence where schema = %s),
    (select identity || '/' || oid from ops.environment, pg_database where datname = current_database())
from ops.phase
"""
LOCK_FREE = """
select not exists (
    select from pg_locks where locktype = 'advisory' and granted and classid = %s and objid = %s
        and database = (select oid from pg_database where datname = current_database())
)
"""
WRITE = "update users set gold = gold where id = (select min(id) from users)"


@dataclass(frozen=True)
class Seen:
    """The answers of both stores at one instant. legacy: None while somebody is writing the file's own fence."""

    phase: Phase
    target: Fence
    legacy: Fence | None
    owner: FenceOwner
    both_write: bool


class Watcher:
    """Its own connections, past the wire proxy. pointed: says which store the pointer names."""

    def __init__(
        self, owner: PostgresUrl, service: PostgresUrl, legacy: Path, pointed: Callable[[], PointerTo]
    ) -> None:
        self._owner = psycopg.connect(owner.conninfo, autocommit=True, application_name=WATCHER)
        self._service = psycopg.connect(service.conninfo, autocommit=True, application_name=WATCHER)
        self._service.execute("set lock_timeout = '20ms'")
        self._owner.execute("set lock_timeout = '20ms'")
        self._legacy = legacy
        self._schema = owner.schema
        self._pointed = pointed
        self._phase: Phase | None = None

    def look(self) -> str:
        """Look once. Return the breach of what has to hold at every instant, in a sentence; "" if there is none.

        Nothing is seen while a migration has the tables to itself: the run whose statement waits for this look may.
        """
        try:
            seen = self._seen()
        except LockNotAvailable:
            return ""
        breach = self._breach(seen)
        self._phase = seen.phase
        return breach

    def phase(self) -> Phase:
        """Read the phase of the move from the target."""
        row = self._owner.execute("select phase from ops.phase").fetchone()
        assert row is not None
        return Phase(row[0])

    def is_settled(self) -> bool:
        """Return True if exactly one store is to take writes, by what both say, and no run holds the lock."""
        seen = self._seen()
        free = self._owner.execute(LOCK_FREE, (locks.LOCK_CLASS, locks.RUN_LOCK)).fetchone() == (True,)
        if seen.phase is Phase.LIVE:
            return free and seen.legacy is Fence.MOVED
        return seen.legacy is Fence.OPEN and seen.target is not Fence.OPEN

    def writable(self) -> tuple[str, ...]:
        """Name the stores that take a write now, by trying; the write is rolled back."""
        stores = (("postgres", self._postgres_writes), ("legacy", self._legacy_writes))
        return tuple(name for name, writes in stores if writes())

    def close(self) -> None:
        """Close the connections of the owner and of the service."""
        self._owner.close()
        self._service.close()

    def _seen(self) -> Seen:
        row = self._owner.execute(SEEN, [self._schema]).fetchone()
        assert row is not None
        phase, run, target, identity = row
        mark = self._mark()
        return Seen(
            Phase(phase),
            Fence(target or "fenced"),
            None if mark is None else Fence(mark.state),
            _owner(mark, run, identity),
            len(self.writable()) > 1,
        )

    def _mark(self) -> FenceMark | None:
        try:
            with closing(sqlite_values.connect(self._legacy, readonly=True, timeout_seconds=0.02)) as connection:
                return fence.mark(connection)
        except sqlite3.OperationalError:
            return None

    def _breach(self, seen: Seen) -> str:
        if seen.both_write:
            return "both stores take a player's write"
        if seen.phase is Phase.LIVE and self._phase not in (None, Phase.LIVE) and seen.target is not Fence.OPEN:
            return f"the phase went to live while Postgres is {seen.target}: phase and lift are not one transaction"
        if seen.legacy is None:
            return ""
        state = EnvironmentState(seen.phase, seen.legacy, seen.owner, seen.target, self._pointed())
        advice = advise(state)
        return f"a state that no run may leave: {state} ({advice.guard})" if isinstance(advice, Unreachable) else ""

    def _postgres_writes(self) -> bool:
        try:
            with self._service.transaction(force_rollback=True):
                self._service.execute(WRITE)
        except psycopg.Error:
            return False
        return True

    def _legacy_writes(self) -> bool:
        with closing(sqlite_values.connect(self._legacy, timeout_seconds=0.0)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute(WRITE)
            except sqlite3.Error:
                return False
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            return True


def _owner(mark: FenceMark | None, run: str | None, identity: str) -> FenceOwner:
    if mark is None or mark.state == "open" or mark.owner is None:
        return FenceOwner.NOBODY
    if mark.owner.target != identity:
        return FenceOwner.ANOTHER_DATABASE
    return FenceOwner.THIS_RUN if mark.owner.run == run else FenceOwner.ANOTHER_RUN
