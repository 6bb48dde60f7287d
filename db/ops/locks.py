"""Our advisory locks in the target, and who holds them."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, LiteralString, TypeAlias

import psutil
import psycopg
from psycopg.pq import TransactionStatus

from db.ops.schema import FENCE_LOCK

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]

LOCK_CLASS = 0x5DA3
"""The first half of every advisory lock of ours; Postgres keeps them apart by database."""

RUN_LOCK = 1
MIGRATION_LOCK = 2
PREPARE_LOCK = 3
TRANSFER_LOCK = 4
"""Held by a process that writes batches."""

UPKEEP_LOCK = 6
"""5 is that of a verification: see db.snapshots.postgres."""

FOLLOW_LOCK = 7
"""Held by the process that has the legacy file follow; see db.follow."""

FENCE_BLOCKERS = f"""
select distinct a.pid, a.application_name, a.usename, coalesce(a.state, '')
from pg_locks l join pg_stat_activity a using (pid)
where l.locktype = 'advisory' and l.granted and l.objsubid = 2
    and l.database = (select oid from pg_database where datname = current_database())
    and l.classid = {FENCE_LOCK} and l.objid::bigint = hashtext(current_schema())::bigint & 4294967295
    and l.pid <> pg_backend_pid()
"""
TABLE_LOCKERS = """
select distinct a.pid, a.application_name, a.usename, coalesce(a.state, '')
from pg_locks l join pg_stat_activity a using (pid) join pg_class c on c.oid = l.relation
where l.locktype = 'relation' and l.granted
    and l.database = (select oid from pg_database where datname = current_database())
    and c.relnamespace = (select oid from pg_namespace where nspname = current_schema()) and c.relkind in ('r', 'p')
    and l.pid <> pg_backend_pid()
"""


@dataclass(frozen=True, slots=True)
class Holder:
    """The run that holds the lock, as it signed itself. host, pid: its process; since: UTC, by the server."""

    run: str
    why: str
    host: str
    pid: int
    since: str

    @property
    def stopped(self) -> bool:
        """Return True where its process is one of this machine's and is stopped, as by SIGSTOP or a debugger."""
        if self.host != socket.gethostname():
            return False
        try:
            return psutil.Process(self.pid).status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
        except psutil.Error:
            return False

    def __str__(self) -> str:
        return f"run {self.run} ({self.why}) on {self.host}, process {self.pid}, since {self.since}"


def runs(host: str, pid: int) -> bool:
    """Return False if this process is known to be gone, or is the one that asks; True also where it can't be known."""
    if host != socket.gethostname():
        return True
    return pid != os.getpid() and psutil.pid_exists(pid)


def holder(conn: Connection) -> Holder | None:
    """Return the run that holds the lock; None where nobody does."""
    row = conn.execute(
        "select run, why, host, h.pid, date_trunc('second', since at time zone 'UTC') || ' UTC'"
        " from ops.lock_holder h join pg_locks l on l.pid = h.backend_pid"
        " where l.locktype = 'advisory' and l.granted and l.classid = %s and l.objid = %s",
        (LOCK_CLASS, RUN_LOCK),
    ).fetchone()
    return None if row is None else Holder(*row)


def release(conn: Connection, key: int) -> None:
    """Give back one of our advisory locks. A connection that is gone has released it.

    Not left to the end of the connection: the server drops a closed session's locks a little later, and a command that
    follows at once would be refused.
    """
    with suppress(psycopg.Error):  # At worst it is given back a little later; what ended the work is to be heard of.
        if conn.info.transaction_status != TransactionStatus.IDLE:
            conn.rollback()
        conn.execute("select pg_advisory_unlock(%s, %s)", (LOCK_CLASS, key))


def owners(conn: Connection, key: int) -> str:
    """Name the sessions that hold one of our advisory locks, as the server knows them."""
    owners = [
        f"{application or 'a session'} of {role} (server process {pid})"
        for application, role, pid in _owners(conn, key)
    ]
    return ", ".join(owners) or "a session that has just released the lock"


def how_to_end(conn: Connection, key: int) -> str:
    """Say how to end who holds one of our advisory locks: the process of a run that signed itself, or its session."""
    run = holder(conn) if key == RUN_LOCK else None
    if run is not None:
        return f"Wait for it to end, or end it on {run.host}: kill {'-9 ' if run.stopped else ''}{run.pid}"
    sessions = [f"SELECT pg_terminate_backend({pid});" for _application, _role, pid in _owners(conn, key)]
    return f"Wait for it to end, or end it: {' '.join(sessions)}" if sessions else "The lock is free now: run again."


def _owners(conn: Connection, key: int) -> list[tuple[Any, ...]]:
    return conn.execute(
        "select a.application_name, a.usename, a.pid from pg_locks l join pg_stat_activity a using (pid)"
        " where l.locktype = 'advisory' and l.granted and l.classid = %s and l.objid = %s"
        " and l.database = (select oid from pg_database where datname = current_database())",
        (LOCK_CLASS, key),
    ).fetchall()


def fence_blockers(conn: Connection) -> str:
    """Name the sessions whose transaction has written to a table of the schema on the search path."""
    return _named(conn, FENCE_BLOCKERS)


def table_lockers(conn: Connection) -> str:
    """Name the sessions that hold a lock of any kind on a table of the schema on the search path."""
    return _named(conn, TABLE_LOCKERS)


def _named(conn: Connection, query: LiteralString) -> str:
    rows = conn.execute(query).fetchall()
    named = [
        f"{application or 'a session'} of {role} (server process {pid}, {doing or 'state hidden'})"
        for pid, application, role, doing in rows
    ]
    return ", ".join(named) or "a session that has just released the lock"
