"""Pins the settings of every session that the service and the tools open, over those of server, database and role.

A direct connection sends them with its first message, so they cost no round trip and hold from the first statement.
A pooler refuses or drops that part of the message, and gives the next transaction to another session. Behind a pooler
each transaction therefore sets them in the message that begins it: no extra round trip, and the pooler's next client
finds none of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

import psycopg

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]

PINNED: Mapping[str, str] = MappingProxyType(
    {
        # Patience: a tool waits as long as it takes; the service has its own limits.
        "statement_timeout": "0",
        "lock_timeout": "0",
        "idle_in_transaction_session_timeout": "0",
        "idle_session_timeout": "0",
        "tcp_user_timeout": "0",
        # How values are written and read.
        "DateStyle": "ISO, MDY",
        "IntervalStyle": "postgres",
        "TimeZone": "UTC",
        "bytea_output": "hex",
        "extra_float_digits": "1",
        # What a statement means.
        "standard_conforming_strings": "on",
        "array_nulls": "on",
        "transform_null_equals": "off",
        "quote_all_identifiers": "off",
        "row_security": "on",
        "exit_on_error": "off",
        "check_function_bodies": "on",
        "default_transaction_isolation": "read committed",
        "default_transaction_deferrable": "off",
        # Where a table goes.
        "default_tablespace": "",
        "temp_tablespaces": "",
        "default_table_access_method": "heap",
        # When COMMIT returns. With off, a crash loses items that players were already told they have.
        "synchronous_commit": "on",
    }
)
"""search_path comes from the URL's schema, and client_encoding has a keyword of libpq's, so neither is listed here.

An ordinary role can't set the other settings that change the meaning of a statement: see `db.target.requirements`.
"""

BETWEEN_TRANSACTIONS = frozenset({"idle_session_timeout", "tcp_user_timeout"})
"""Settings without effect inside a transaction."""

BY_BEGIN = frozenset({"default_transaction_isolation", "default_transaction_deferrable"})
"""Settings that the server reads when a transaction begins. The BEGIN statement itself names their values."""

WHO_ANSWERS = "SELECT pg_backend_pid()"

REFUSED_BY_A_POOLER = re.compile(r"unsupported startup parameter|command-line options", re.IGNORECASE)
"""Error texts of pgbouncer and of Amazon's RDS Proxy."""


def options(schema: str, settings: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return libpq's `options` with every pinned setting. `settings` adds to them or replaces some."""
    wanted = {**PINNED, "search_path": f'"{schema}"', **settings}
    return " ".join(f"-c {name}={_escaped(value)}" for name, value in wanted.items())


def begin(schema: str, settings: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return one message that begins a transaction and sets every pinned setting for that transaction alone.

    Send it without parameters: only a simple query may hold several statements.
    """
    # PINNED lists statement_timeout first, so a tiny timeout of the role can only cancel BEGIN, nothing after it.
    wanted = {**PINNED, "search_path": schema, **settings}
    local = [
        f"SET LOCAL {name} = '{value}'"
        for name, value in wanted.items()
        if name not in BETWEEN_TRANSACTIONS and name not in BY_BEGIN
    ]
    return "; ".join(["BEGIN ISOLATION LEVEL READ COMMITTED, NOT DEFERRABLE", *local])


def connect(parameters: Mapping[str, Any]) -> Connection:
    """Connect in autocommit. If a pooler refuses `options`, connect without them; `is_direct` is then False."""
    # No prepared statements: behind a pooler the next transaction may run in a session that does not have them.
    wanted = {**parameters, "autocommit": True, "prepare_threshold": None}
    try:
        return psycopg.connect(**wanted)
    except psycopg.OperationalError as error:
        if not refused_by_a_pooler(error) or "options" not in wanted:
            raise
    # Empty, not left out: libpq would read PGOPTIONS otherwise.
    return psycopg.connect(**wanted | {"options": ""})


def refused_by_a_pooler(error: psycopg.Error) -> bool:
    """Return True if a pooler refused the connection because of its `options`."""
    return REFUSED_BY_A_POOLER.search(str(error)) is not None


def begin_first(conn: Connection, text: str) -> bool:
    """Begin the connection's first transaction with the text of `begin`. Return True if the connection is direct.

    It is direct if the server accepted `options` and the process that runs the transaction has the id that was sent at
    connection; a pooler sends an id of its own. The id is asked in the same message, so it costs no round trip.
    """
    cursor = conn.execute(f"{text}; {WHO_ANSWERS}".encode())
    while cursor.nextset():
        pass
    return _is_direct(conn, cursor)


def is_direct(conn: Connection) -> bool:
    """Return True if no pooler stands between. Costs one round trip."""
    return _is_direct(conn, conn.execute(WHO_ANSWERS))


def _is_direct(conn: Connection, answer: psycopg.Cursor[tuple[Any, ...]]) -> bool:
    return bool(conn.pgconn.options) and answer.fetchone() == (conn.info.backend_pid,)


def _escaped(value: str) -> str:
    return re.sub(r"([\\\s])", r"\\\1", value)
