"""Tells how a session of a pool differs from a fresh one. A look costs one round trip, some 2 ms.

A transaction's own settings end with it. Whatever a session keeps (a setting, the fence's pass, a session's lock) is
handed on to the next command, of another player.
"""

from __future__ import annotations

import select
import time

import psycopg
from psycopg.pq import ConnStatus, ExecStatus, TransactionStatus
from psycopg.pq.abc import PGconn

from game.errors import FENCE_PASS_SETTING

ANSWER_SECONDS = 5.0
"""A server that was stopped, or a proxy that holds all it gets, tells nothing of the session."""

LEFT = f"""
SELECT 'the setting ' || name || ' = ' || setting FROM pg_settings
    WHERE source = 'session' AND name <> 'application_name'
UNION ALL SELECT 'a pass of the fence' WHERE coalesce(current_setting('{FENCE_PASS_SETTING}', true), '') <> ''
UNION ALL SELECT 'the role ' || current_user WHERE current_user <> session_user
UNION ALL SELECT 'an advisory lock, ' || mode FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'
UNION ALL SELECT 'the temporary table ' || relname FROM pg_class
    WHERE relnamespace = pg_my_temp_schema() AND relkind IN ('r', 'v', 'S', 'm')
UNION ALL SELECT 'the prepared statement ' || name FROM pg_prepared_statements
UNION ALL SELECT 'the channel ' || c FROM pg_listening_channels() c
UNION ALL SELECT 'the cursor ' || name FROM pg_cursors WHERE is_holdable
ORDER BY 1
"""
"""A fresh session has none of them: what its connection asked for (`options`) has another source.

A pooler gives the session the name of its client, which changes the meaning of nothing.
"""


def left(connection: psycopg.Connection) -> tuple[str, ...]:
    """Return what a session keeps that a fresh one does not have; nothing of one that is gone or does not answer."""
    pgconn = connection.pgconn
    if pgconn.status != ConnStatus.OK:
        return ()
    if pgconn.transaction_status in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
        return ("a transaction that is open",)
    with connection.lock:
        return _asked(pgconn, LEFT) if pgconn.transaction_status == TransactionStatus.IDLE else ()


def clear(connection: psycopg.Connection) -> None:
    """Reset the session to a fresh one, so that leftovers are reported only once."""
    with connection.lock:
        for statement in ("ROLLBACK", "DISCARD ALL"):
            _asked(connection.pgconn, statement)


def _asked(pgconn: PGconn, query: str) -> tuple[str, ...]:
    """Return the first column of the answer; nothing if there is none in time."""
    values: list[str] = []
    deadline = time.monotonic() + ANSWER_SECONDS
    try:
        pgconn.send_query(query.encode())
        while pgconn.flush():
            _wait(pgconn, deadline, writing=True)
        while True:
            while pgconn.is_busy():
                _wait(pgconn, deadline)
                pgconn.consume_input()
            result = pgconn.get_result()
            if result is None:
                return tuple(values)
            if result.status == ExecStatus.TUPLES_OK:
                values += [(result.get_value(row, 0) or b"").decode() for row in range(result.ntuples)]
    except (psycopg.OperationalError, TimeoutError):
        return ()


def _wait(pgconn: PGconn, deadline: float, *, writing: bool = False) -> None:
    """Wait until the socket is ready. Raises TimeoutError past the deadline."""
    sockets = [pgconn.socket]
    if not any(select.select(sockets, sockets if writing else [], [], max(0.0, deadline - time.monotonic()))):
        raise TimeoutError
