"""Runs the revisions by Alembic, and adds a bounded lock that names its holder, timeouts, digests and grants.

Each revision is one transaction; one that can't run in a transaction is a single statement. The first makes the tables
fenced; nothing in this module lifts a fence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from typing import Any

import psycopg
import sqlalchemy as sa
from alembic import command
from alembic.runtime.migration import MigrationContext
from psycopg import errors, sql
from sqlalchemy.pool import StaticPool
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_random

from db import ops, remedies, tables
from db.counts import few
from db.errors import Failure, Refusal
from db.ops import following, locks
from db.schema import drift as catalog
from db.schema import grants, revisions, unchanged
from db.schema.revisions import History, Revision
from db.target import requirements
from game import printable
from game.postgres.statements import lacking as lacking_columns
from game.redaction import redact
from game.urls import PostgresUrl

LOCK_WAIT_SECONDS = 30
"""How long to wait for another migration; it is named when this has passed."""

LOCK_TIMEOUT_SECONDS = 5
"""How long a statement may wait for a table, and the game's commands behind it."""

STATEMENT_TIMEOUT_SECONDS = 600
NAMED = 3
"""How many processes a refusal names."""

BEFORE = ("delete from ops.proven where exists (select from ops.phase where phase = 'loading')", *revisions.PASS)
"""Runs first in a revision's transaction: the copy must be proven again, and the revision may write fenced rows."""

AFTER = revisions.NO_PASS
"""Runs last in a revision's transaction."""


@dataclass(frozen=True)
class Migrated:
    """The revisions that were applied, oldest first, and the schema's revision. sql: the text of a dry run."""

    applied: list[str]
    head: str
    sql: str = ""


def no_process(_ability: str) -> Sequence[str]:
    """Name no process: for a database that no service uses."""
    return ()


def migrate(
    direct: PostgresUrl,
    *,
    environment: str,
    service_role: str | None,
    sql: bool = False,
    history: History | None = None,
    unable: Callable[[str], Sequence[str]] = no_process,
) -> Migrated:
    """Bring the schema of the URL to the head and give the service's role its rights. Safe to call again.

    sql: change nothing and return the statements. history: other revisions than the project's own. unable: names the
    processes of the service that can't do what a revision needs of them.
    Raises Refusal for a faulty revision file; a database that is not prepared or is another environment's; another
    migration under way; a schema with foreign tables or changed by hand; a revision that was edited after it was
    applied, or that this version does not know; a table that another session locks; a process of the service that is
    older than a revision allows: nothing is applied then.
    Raises Failure if a revision does not pass; those before it stay applied.
    """
    history = history or revisions.read()
    with ops.connect(direct, application="sudamr migrate") as conn:
        requirements.require(conn)
        ops.require_marker(conn, environment)
        ops.require_prepared(conn)
        _require_role(conn, service_role)
        with _one_at_a_time(conn, direct):
            pending = _pending(conn, direct, history)
            applied = [revision.id for revision in pending]
            if sql:
                return Migrated(applied, history.head, _dry_run(conn, direct.schema, service_role, history, pending))
            if current(conn) is not None:  # A new schema has no receipts, and no process uses it yet.
                _require_able(pending, unable)
            _create_schema(conn, direct.schema)
            _upgrade(conn, direct, history, pending)
            grants.grant(conn, direct.schema, service_role)
    return Migrated(applied, history.head)


def _require_able(pending: tuple[Revision, ...], unable: Callable[[str], Sequence[str]]) -> None:
    for revision in pending:
        if revision.needs_of_service and (older := unable(revision.needs_of_service)):
            raise Refusal(
                f"processes of the service that know {revision.needs_of_service}, before revision {revision.id}",
                few(older, NAMED, between="; "),
                where="the services of the environment",
                do="Start each with this version of the program, which plays on the schema as it is, and run again.",
            )


def head() -> str:
    """Return the newest revision that this version knows."""
    return revisions.read().head


def current(conn: ops.Connection) -> str | None:
    """Return the revision of the schema on the connection's search path; None if nothing was migrated.

    Raises Refusal if the schema names several revisions; no version of this program does that.
    """
    if _value(conn, "select to_regclass(%s)", tables.VERSION_TABLE) is None:
        return None
    applied = [str(revision) for (revision,) in conn.execute("select version_num from alembic_version").fetchall()]
    if len(applied) > 1:
        raise Refusal(
            f"one revision in {tables.VERSION_TABLE}",
            ", ".join(applied),
            where=ops.place(conn),
            do="Somebody wrote there by hand. Delete the rows that are not the revision of these tables.",
        )
    return applied[0] if applied else None


def require_as_migrated(conn: ops.Connection, direct: PostgresUrl, history: History) -> None:
    """Check that the schema is at the head and as the revisions make it. Raises Refusal otherwise."""
    ops.require_prepared(conn)
    at = current(conn)
    if at is not None:
        unchanged.require_known(conn, direct.schema, at, history)
    if at != history.head:
        raise Refusal(
            f"the schema at revision {history.head}",
            f"at {at}" if at else "no revision applied",
            where=direct.redacted,
            do=f"First: invoke migrate --env {ops.named(conn)}",
        )
    unchanged.require_unchanged(conn, direct.schema, history.revisions)
    unchanged.require_no_drift(conn, direct, history.revisions, ())


def require_current(conn: ops.Connection) -> None:
    """Check that the schema has every column of game/tables.py. Raises Refusal otherwise."""
    if current(conn) is None:
        raise Refusal(
            "a migrated database", "none", where=ops.place(conn), do=f"Run: invoke migrate --env {ops.named(conn)}"
        )
    if lacking := _value(conn, lacking_columns()):
        raise Refusal(
            "every column of game/tables.py",
            f"no {printable.named(lacking)}",
            where=ops.place(conn),
            do=f"Run: invoke migrate --env {ops.named(conn)}",
        )


def drift(direct: PostgresUrl) -> list[str]:
    """Return a line for each difference between the schema and our tables; see `db.schema.drift.drift`."""
    return catalog.drift(direct)


@contextmanager
def _one_at_a_time(conn: ops.Connection, direct: PostgresUrl) -> Iterator[None]:
    """Take the session lock of migrations; it ends with the connection. Raises Refusal naming its holder."""
    # Polled. A statement that waits for the lock holds a snapshot, and CREATE INDEX CONCURRENTLY in the other migration
    # waits for every older snapshot: the two would wait for each other.
    tried = Retrying(
        retry=retry_if_result(lambda had: not had),
        wait=wait_random(0.05, 0.2),
        stop=stop_after_delay(LOCK_WAIT_SECONDS),
        retry_error_callback=lambda _state: False,
    )
    if not tried(_value, conn, "select pg_try_advisory_lock(%s, %s)", locks.LOCK_CLASS, locks.MIGRATION_LOCK):
        raise Refusal(
            f"the migration lock within {LOCK_WAIT_SECONDS} s",
            f"it is held by {locks.owners(conn, locks.MIGRATION_LOCK)}",
            where=direct.redacted,
            do=locks.how_to_end(conn, locks.MIGRATION_LOCK),
        )
    _timeouts(conn, lock=LOCK_TIMEOUT_SECONDS, statement=STATEMENT_TIMEOUT_SECONDS)
    yield


def _timeouts(conn: ops.Connection, *, lock: int, statement: int) -> None:
    conn.execute("select set_config('lock_timeout', %s, false)", (f"{lock}s",))
    conn.execute("select set_config('statement_timeout', %s, false)", (f"{max(statement, lock + 1)}s",))


def _pending(conn: ops.Connection, direct: PostgresUrl, history: History) -> tuple[Revision, ...]:
    """Return the revisions still to apply. Raises Refusal if the schema is not as the applied ones made it."""
    at = current(conn)
    pending = history.pending(at)
    if at is None:
        unchanged.require_empty(conn, direct.schema)
    else:
        unchanged.require_known(conn, direct.schema, at, history)
        unchanged.require_unchanged(conn, direct.schema, history.applied(at))
        unchanged.require_no_drift(conn, direct, history.applied(at), pending)
    catalog.require_made(conn, history.revisions)
    return pending


def _require_role(conn: ops.Connection, role: str | None) -> None:
    if role is not None and _value(conn, "select to_regrole(%s)", _identifier(role)) is None:
        raise Refusal(
            "the service's role on the server",
            f"no role {role}",
            where=ops.place(conn),
            do=f"{remedies.statement('CREATE ROLE {role} LOGIN;', role=role)} Give it the password of the URL.",
        )


def _create_schema(conn: ops.Connection, schema: str) -> None:
    if _value(conn, "select to_regnamespace(%s)", _identifier(schema)) is not None:
        return
    try:
        conn.execute(sql.SQL("create schema {}").format(sql.Identifier(schema)))
    except errors.InsufficientPrivilege as error:
        raise Refusal(
            f"a role that may create the schema {schema}",
            str(error).splitlines()[0],
            where=ops.place(conn),
            do=remedies.grant_create(conn.info.dbname, conn.info.user),
        ) from None


def _upgrade(conn: ops.Connection, direct: PostgresUrl, history: History, pending: tuple[Revision, ...]) -> None:
    """Run Alembic on the connection that holds the lock, so that a migration that lost it can change nothing."""
    engine = sa.create_engine("postgresql+psycopg://", creator=lambda: conn, poolclass=StaticPool)
    for position, revision in enumerate(pending):
        index = unchanged.index_of(revision)
        if index:
            _drop_index(conn, index)
        _patience(conn, revision)
        conn.autocommit = False
        try:
            with revisions.alembic(), engine.connect() as connection:
                attributes = _attributes(direct.schema, revision, require=_captured(conn, revision))
                command.upgrade(revisions.config(history, connection=connection, **attributes), revision.id)
                connection.commit()
        except (sa.exc.DBAPIError, psycopg.Error) as error:
            cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
            raise _not_passed(conn, direct, pending[: position + 1], cause) from error
        conn.autocommit = True


def _patience(conn: ops.Connection, revision: Revision) -> None:
    """Set the timeouts. CREATE INDEX CONCURRENTLY may wait longer for a lock: nobody has to wait behind it."""
    lock = STATEMENT_TIMEOUT_SECONDS if unchanged.index_of(revision) else LOCK_TIMEOUT_SECONDS
    _timeouts(conn, lock=lock, statement=STATEMENT_TIMEOUT_SECONDS)


def _drop_index(conn: ops.Connection, name: str) -> None:
    conn.execute(sql.SQL("drop index concurrently if exists {}").format(sql.Identifier(name.lower())))


def _not_passed(
    conn: ops.Connection, direct: PostgresUrl, tried: tuple[Revision, ...], cause: BaseException | None
) -> Failure | Refusal:
    """Make the error for the last revision of `tried`; those before it were applied."""
    *before, revision = tried
    index = unchanged.index_of(revision)
    if not conn.closed:
        conn.rollback()
        conn.autocommit = True
        if index:
            _drop_index(conn, index)
    stay = f"; {', '.join(one.id for one in before)} stays" if before else ""
    # One that commits as it goes, player by player, has nothing to take back.
    by_parts = revision.outside and not index
    kept = f"What revision {revision.id} did stays" if by_parts else f"Revision {revision.id} changed nothing"
    if isinstance(cause, errors.LockNotAvailable):
        kind = Failure if before or by_parts else Refusal
        return kind(
            f"the tables of revision {revision.id} within {LOCK_TIMEOUT_SECONDS} s",
            f"locked by {locks.table_lockers(conn)}",
            where=direct.redacted,
            do=f"{kept}{stay}. Let them end, or end each (SELECT pg_terminate_backend(PROCESS);), and run again.",
        )
    message = redact(str(cause).partition("\n")[0])
    return Failure(
        f"revision {revision.id} to pass",
        message,
        where=direct.redacted,
        do=f"{kept}{stay}. Correct the cause and run again.",
    )


def _captured(conn: ops.Connection, revision: Revision) -> Callable[[], None]:
    """Return the check, within a revision's transaction, that it makes no table whose changes a legacy file would lack.

    It raises Refusal, while `invoke follow` is on. Of tables that were there before nothing is asked.
    """
    if not following.is_on(conn):
        return _unasked
    before = _uncaptured(conn)

    def check() -> None:
        if made := sorted(_uncaptured(conn) - before):
            name = ops.named(conn)
            raise Refusal(
                "tables whose changes are noted, while the legacy file follows",
                f"{few(made, NAMED)} of revision {revision.id} without the triggers of the change log",
                where=ops.place(conn),
                do=f"Revision {revision.id} changed nothing. Give the table the triggers that revision 0012 gives each."
                f" Or give up the way back to the legacy file first: invoke follow --env {name} --stop",
            )

    return check


def _uncaptured(conn: ops.Connection) -> set[str]:
    return set(following.uncaptured(conn, tables.LOG_PREFIX, len(tables.LOG_TRIGGERS)))


def _unasked() -> None:
    """Check nothing."""


def _attributes(schema: str, revision: Revision, require: Callable[[], None] = _unasked) -> dict[str, Any]:
    """Return the attributes that add our statements to a revision's transaction; without one, only the record.

    require: called last in the transaction; not in a dry run, which asks nothing of a database.
    """
    before, after = ((), ()) if revision.outside else (BEFORE, AFTER)
    record = revision.record(schema)

    def applied(*, ctx: MigrationContext, **_: Any) -> None:
        for statement in (record, *after):
            ctx.impl.execute(sa.text(statement.replace(":", r"\:")))
        require()

    return {"before": [sa.text(one.replace(":", r"\:")) for one in before], "on_version_apply": applied}


def adopt(conn: ops.Connection, schema: str) -> None:
    """Record the revisions of a restored schema: a new database has no record of them."""
    for revision in revisions.read().applied(current(conn)):
        conn.execute(
            "insert into ops.revisions (schema, revision, sha256) values (%s, %s, %s) on conflict do nothing",
            (schema, revision.id, revision.digest),
        )


def _dry_run(
    conn: ops.Connection, schema: str, role: str | None, history: History, pending: tuple[Revision, ...]
) -> str:
    """Return the statements of a run, in order, fit for psql on a direct connection."""
    text = StringIO()
    at = current(conn) or "base"
    for revision in pending:
        made = revisions.config(history, **_attributes(schema, revision))
        made.output_buffer = text
        with revisions.alembic():
            command.upgrade(made, f"{at}:{revision.id}", sql=True)
        at = revision.id
    quoted = sql.Identifier(schema).as_string(conn)
    rights = "".join(f"{statement.as_string(conn)};\n" for statement in grants.statements(conn, schema, role))
    return (
        f"create schema if not exists {quoted};\nset search_path = {quoted};\n"
        f"set lock_timeout = '{LOCK_TIMEOUT_SECONDS}s';\n\n{text.getvalue()}\nbegin;\n{rights}commit;\n"
    )


def _identifier(name: str) -> str:
    return sql.Identifier(name).as_string(None)


def _value(conn: ops.Connection, query: str, *parameters: object) -> Any:
    row = conn.execute(query, parameters).fetchone()
    return None if row is None else row[0]
