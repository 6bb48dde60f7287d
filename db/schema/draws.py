"""The draw epoch of the game in Postgres, beside its fence in `ops`: `game.rules.chance` mixes it into every draw.

Whatever gives writes up renews it, before players can play again; whatever carries writes carries it too. It is no
secret that a draw could be foretold by, but it is never shown and never logged: the server makes each new one.
"""

from __future__ import annotations

import psycopg

from db import ops, tables
from db.errors import Failure
from db.schema import migrate, revisions
from game.redaction import redact

PUBLISHED_SINCE = "0003"
"""The first revision whose tables tell the service the draw epoch."""


def read(conn: ops.Connection) -> str:
    """Return the epoch of the schema on the search path; "" if none was ever given, or `ops` is of an older version."""
    # By way of the whole row, which has the column or not.
    row = conn.execute(
        "select to_jsonb(f) ->> 'draw_epoch' from ops.fence f where schema = current_schema()"
    ).fetchone()
    return "" if row is None or row[0] is None else str(row[0])


def give(conn: ops.Connection, epoch: str) -> None:
    """Give the schema on the search path this epoch; joins an open transaction."""
    conn.execute(
        "insert into ops.fence (schema, state, draw_epoch) values (current_schema(), 'fenced', nullif(%s, ''))"
        " on conflict (schema) do update set draw_epoch = excluded.draw_epoch",
        (epoch,),
    )


def renew(conn: ops.Connection, schema: str) -> None:
    """Give the schema a new epoch, also one that does not exist yet; joins an open transaction."""
    conn.execute(
        "insert into ops.fence (schema, state, draw_epoch) values (%s, 'fenced', gen_random_uuid()::text)"
        " on conflict (schema) do update set draw_epoch = excluded.draw_epoch",
        (schema,),
    )


def publish_epoch(conn: ops.Connection, schema: str) -> None:
    """Apply to older tables, on the search path, the revisions up to the one that tells the service the epoch.

    For tables that were restored or put back: without it players would draw as before their writes were given up.
    Their revisions must have been adopted. Joins an open transaction. Raises Failure if a revision does not pass.
    """
    at = migrate.current(conn)
    older = revisions.read().pending(at) if at is not None else ()
    for revision in older:
        if revision.id <= PUBLISHED_SINCE:
            _apply(conn, schema, revision)


def _apply(conn: ops.Connection, schema: str, revision: revisions.Revision) -> None:
    # Not by Alembic, which ends the transaction that it works in: tables are swapped in one.
    version = f"update {tables.VERSION_TABLE} set version_num = '{revision.id}'"
    try:
        with conn.transaction():
            for statement in (*migrate.BEFORE, *revision.statements, version, revision.record(schema), *migrate.AFTER):
                conn.execute(statement.encode())
    except psycopg.Error as error:
        raise Failure(
            f"revision {revision.id} to pass",
            redact(str(error).partition("\n")[0]),
            where=ops.place(conn),
            do="Nothing was changed. Somebody altered these tables by hand. Restore a snapshot instead:"
            f" invoke snapshot.restore --env {ops.named(conn)} --path FOLDER",
        ) from error
