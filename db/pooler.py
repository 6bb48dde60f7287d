"""What a pooler may do and what it may not: `target` may name one, `target_direct` names the server itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg.conninfo import conninfo_to_dict

from db import requirements
from db.errors import Refusal
from db.redaction import redact
from game import session
from game.urls import PostgresUrl


@contextmanager
def transaction(service: PostgresUrl, *, application: str = "sudamr") -> Iterator[session.Connection]:
    """One transaction with our settings, rolled back at its end; the same session serves all of it.

    Refusal: no answer, or a pooler that gives each statement another session.
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
    """Refusal naming what the service's role lacks, or the pooler between; see `db.requirements`."""
    with transaction(service) as conn:
        requirements.require(conn, pooled=not session.is_direct(conn))


def require_direct(conn: session.Connection, url: PostgresUrl) -> session.Connection:
    """The connection. Refusal behind a pooler, and it is closed: whichever session served it would hold our locks."""
    if session.is_direct(conn):
        return conn
    conn.close()
    raise _between(url)


def no_answer(url: PostgresUrl, error: psycopg.OperationalError) -> Refusal:
    """The refusal of a direct connection that was not made."""
    if session.refused_by_a_pooler(error):
        return _between(url)
    return Refusal(
        "a Postgres that answers", _said(error) or "no answer", where=url.redacted,
        do="Is it running, and is the address right?",
    )  # fmt: skip


def _between(url: PostgresUrl) -> Refusal:
    return Refusal(
        "a direct connection", "a pooler between", where=url.redacted, do="Name the server in target_direct."
    )


def _no_transaction(url: PostgresUrl, error: psycopg.OperationalError) -> Refusal:
    return Refusal(
        "a server, or a pooler that keeps a transaction on one session", _said(error), where=url.redacted,
        do="Have the pooler pool transactions or sessions (pgbouncer: pool_mode = transaction), and restart it.",
    )  # fmt: skip


def _said(error: psycopg.Error) -> str:
    return redact(" ".join(str(error).split()))
