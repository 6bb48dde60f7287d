"""Names the sessions of a database and the locks that they hold, without waiting for them."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
import tenacity

from db.errors import Failure

LEAVING_SECONDS = 1.0
"""A client that closed its connection is gone before its backend is: that much is waited for, and no more."""

SESSIONS = """
SELECT pid, usename, application_name, coalesce(state, ''), coalesce(left(query, 120), '')
FROM pg_stat_activity
WHERE datname = %s AND pid <> pg_backend_pid() AND backend_type = 'client backend'
ORDER BY pid
"""

LOCKS = """
SELECT a.pid, a.usename, a.application_name, coalesce(a.state, ''), coalesce(left(a.query, 120), ''),
       string_agg(DISTINCT coalesce(l.relation::regclass::text, l.locktype) || ' ' || l.mode, ', ')
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.granted AND a.datname = current_database() AND a.pid <> pg_backend_pid()
  AND a.backend_type = 'client backend' AND l.locktype <> 'virtualxid'
  AND coalesce(l.relation >= 16384, true)
GROUP BY a.pid, a.usename, a.application_name, a.state, a.query
ORDER BY a.pid
"""
"""Locks on the server's own catalogs are left out: who looks up a name holds one for a moment."""


@dataclass(frozen=True)
class ServerSession:
    """One session of a server, with the locks that it holds."""

    pid: int
    user: str
    application: str
    state: str
    query: str
    locks: str = ""

    def __str__(self) -> str:
        application = f" ({self.application})" if self.application else ""
        locks = f", holding {self.locks}" if self.locks else ""
        return f"process {self.pid} of {self.user}{application}, {self.state}{locks}, last said: {self.query!r}"


def wait_until_left(conn: psycopg.Connection, dbname: str) -> None:
    """Return when nobody is connected to a database. Raises Failure naming those who stay."""
    held = _settled(conn, SESSIONS, [dbname])
    if held:
        raise Failure(
            "nobody connected", "; ".join(map(str, held)), where=f"database {dbname}", do="Close that connection first."
        )


def refuse_locks(conn: psycopg.Connection) -> None:
    """Return when nobody else holds a lock in this connection's database. Raises Failure naming those who do."""
    held = _settled(conn, LOCKS, [])
    if held:
        raise Failure(
            "no lock held",
            "; ".join(map(str, held)),
            where=f"database {conn.info.dbname}",
            do="Commit or roll back there first.",
        )


def _settled(conn: psycopg.Connection, query: str, parameters: list[str]) -> list[ServerSession]:
    """Return the sessions that remain after LEAVING_SECONDS at most."""

    def look() -> list[ServerSession]:
        return [ServerSession(*row) for row in conn.execute(query, parameters).fetchall()]

    # A client's goodbye takes a moment to arrive, so one look would name sessions that are ending.
    return tenacity.Retrying(
        retry=tenacity.retry_if_result(bool),
        wait=tenacity.wait_fixed(0.01),
        stop=tenacity.stop_after_delay(LEAVING_SECONDS),
        retry_error_callback=lambda state: state.outcome.result() if state.outcome else [],
    )(look)
