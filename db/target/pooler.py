"""Connections by `target`, where a pooler may stand between, and the refusal of a pooler on `target_direct`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg.conninfo import conninfo_to_dict

from db import connection_failures
from db.errors import Refusal
from db.target import requirements
from game import session
from game.redaction import redact
from game.urls import PostgresUrl


@contextmanager
def transaction(service: PostgresUrl, *, application: str = "sudamr") -> Iterator[session.Connection]:
    """Open one transaction with our settings, and roll it back at its end. One session serves all of it.

    Raises Refusal if the server does not answer, or if the pooler gives each statement another session.
    """
    parameters = {**conninfo_to_dict(service.conninfo), "application_name": application}
    try:
        conn = session.connect(parameters)
    except psycopg.OperationalError as error:
        raise no_answer(service, error) from None
    with conn:
        try:
            session.begin_first(conn, session.begin(service.schema))
        except psycopg.OperationalError as error:
            raise _no_transaction(service, error) from None
        try:
            yield conn
        finally:
            if not conn.closed:
                conn.rollback()


def require(service: PostgresUrl) -> None:
    """Check that the service's role and its pooler fit a move. Raises Refusal as `requirements.require` does."""
    with transaction(service) as conn:
        requirements.require(conn, pooled=not session.is_direct(conn))


def require_direct(conn: session.Connection, url: PostgresUrl) -> session.Connection:
    """Return the connection if it is direct; close it and raise Refusal if a pooler stands between.

    A session lock taken through a pooler belongs to whichever session the pooler happened to use.
    """
    if session.is_direct(conn):
        return conn
    conn.close()
    raise _between(url)


def no_answer(url: PostgresUrl, error: psycopg.OperationalError) -> Refusal:
    """Make the Refusal for a connection that failed, with the server's answer and advice that fits it."""
    if session.refused_by_a_pooler(error):
        return _between(url)
    return connection_failures.refusal(url, error)


def _between(url: PostgresUrl) -> Refusal:
    return Refusal(
        "a direct connection", "a pooler between", where=url.redacted, do="Name the server in target_direct."
    )


def _no_transaction(url: PostgresUrl, error: psycopg.OperationalError) -> Refusal:
    return Refusal(
        "a server, or a pooler that keeps a transaction on one session",
        _text(error),
        where=url.redacted,
        do="Have the pooler pool transactions or sessions (pgbouncer: pool_mode = transaction), and restart it.",
    )


def _text(error: psycopg.Error) -> str:
    return redact(" ".join(str(error).split()))
