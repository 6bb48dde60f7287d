"""The settings that every session of ours has, whatever the server, the database or the role has set instead.

A direct connection sends them with its first message, so they cost no round trip and hold from the first statement.
A pooler refuses or drops that part of the message, and hands the next transaction to another session. Behind one each
transaction brings its own, in the message that begins it: again no round trip, and nothing is left to the next client.
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
        # When a COMMIT is answered: off loses what players were told that they have.
        "synchronous_commit": "on",
    }
)
"""Beside them stand search_path, which is the URL's schema, and client_encoding, which libpq has a keyword for.

What is not here and decides what a statement means can't be set by an ordinary role: see `db.requirements`.
"""

BETWEEN_TRANSACTIONS = frozenset({"idle_session_timeout", "tcp_user_timeout"})
"""These mean nothing within a transaction."""

BY_BEGIN = frozenset({"default_transaction_isolation", "default_transaction_deferrable"})
"""These are read when a transaction begins, so BEGIN itself says them."""

WHO_ANSWERS = "SELECT pg_backend_pid()"

REFUSED_BY_A_POOLER = re.compile(r"unsupported startup parameter|command-line options", re.IGNORECASE)
"""pgbouncer's words, and Amazon's RDS Proxy's."""


def options(schema: str, settings: Mapping[str, str] = MappingProxyType({})) -> str:
    """libpq's `options` with all settings of ours. `settings` come beside them or instead; see `PINNED`."""
    wanted = {**PINNED, "search_path": f'"{schema}"', **settings}
    return " ".join(f"-c {name}={_escaped(value)}" for name, value in wanted.items())


def begin(schema: str, settings: Mapping[str, str] = MappingProxyType({})) -> str:
    """One message that begins a transaction and gives all settings to it alone.

    It must be sent without parameters: only a simple query may hold several statements. The statement timeout comes
    first, so that one which the role has set strikes BEGIN at most.
    """
    wanted = {**PINNED, "search_path": schema, **settings}
    local = [
        f"SET LOCAL {name} = '{value}'"
        for name, value in wanted.items()
        if name not in BETWEEN_TRANSACTIONS and name not in BY_BEGIN
    ]
    return "; ".join(["BEGIN ISOLATION LEVEL READ COMMITTED, NOT DEFERRABLE", *local])


def connect(parameters: Mapping[str, Any]) -> Connection:
    """Connect in autocommit; without `options` where a pooler refuses them: then `is_direct` says no.

    Nothing is prepared: behind a pooler the next transaction may meet another session, which does not know it.
    """
    wanted = {**parameters, "autocommit": True, "prepare_threshold": None}
    try:
        return psycopg.connect(**wanted)
    except psycopg.OperationalError as error:
        if not refused_by_a_pooler(error) or "options" not in wanted:
            raise
    return psycopg.connect(**wanted | {"options": ""})  # Empty, not left out: libpq would take PGOPTIONS then.


def refused_by_a_pooler(error: psycopg.Error) -> bool:
    """Tell whether a connection was refused because a pooler takes no `options`."""
    return REFUSED_BY_A_POOLER.search(str(error)) is not None


def begin_first(conn: Connection, text: str) -> bool:
    """Begin the connection's first transaction by `begin`'s text; True where the connection is direct.

    It is direct where `options` were taken and the server's process is the one that answered when we connected. A
    pooler gives a number of its own there. That is asked in the same message, so it costs no round trip.
    """
    cursor = conn.execute(f"{text}; {WHO_ANSWERS}".encode())
    while cursor.nextset():
        pass
    return _is_direct(conn, cursor)


def is_direct(conn: Connection) -> bool:
    """Tell whether no pooler stands between, for one round trip."""
    return _is_direct(conn, conn.execute(WHO_ANSWERS))


def _is_direct(conn: Connection, answer: psycopg.Cursor[tuple[Any, ...]]) -> bool:
    return bool(conn.pgconn.options) and answer.fetchone() == (conn.info.backend_pid,)


def _escaped(value: str) -> str:
    return re.sub(r"([\\\s])", r"\\\1", value)
