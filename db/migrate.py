"""Alembic, with what it lacks: a bounded lock that names its holder, timeouts, hashes of what was applied, and grants.

Each revision is one transaction. The first makes the tables fenced; nothing here ever lifts a fence.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from psycopg import errors, sql
from sqlalchemy.pool import StaticPool

from db import drift as catalog
from db import ops, relocation, requirements, tables
from db.errors import Failure, Refusal
from db.redaction import redact
from game import tables as game_tables
from game.urls import PostgresUrl

LOCK_WAIT_SECONDS = 30
"""How long to wait for another migration; it is named when this has passed."""

LOCK_TIMEOUT_SECONDS = 5
"""How long a statement may wait for a table, and the game's commands behind it."""

STATEMENT_TIMEOUT_SECONDS = 600


@dataclass(frozen=True)
class Migrated:
    """What was done: revisions applied, oldest first, and where the schema stands. sql: the text of a dry run."""

    applied: list[str]
    head: str
    sql: str = ""


def migrate(direct: PostgresUrl, *, environment: str, service_role: str | None, sql: bool = False) -> Migrated:
    """Bring the schema of the URL to the head and give the service's role its rights; again is harmless.

    With `sql`, nothing is changed and the statements are returned. Refusal: not prepared or another environment's,
    another migration under way, a schema with tables of someone else's, a revision that was edited since it was
    applied or that this version does not know. Failure: a revision did not pass; those before it stay.
    """
    with ops.connect(direct, application="sudamr migrate") as conn:
        requirements.require(conn)
        ops.require_marker(conn, environment)
        _require_role(conn, service_role)
        with _one_at_a_time(conn, direct):
            pending = _pending(conn, direct.schema)
            if sql:
                return Migrated(
                    [script.revision for script in pending], head(), _dry_run(conn, direct.schema, service_role)
                )
            _create_schema(conn, direct.schema)
            _upgrade(conn, direct)
            _grant(conn, direct.schema, service_role)
    return Migrated([script.revision for script in pending], head())


def head() -> str:
    """The newest revision that this version knows."""
    revision = ScriptDirectory.from_config(config()).get_current_head()
    assert revision is not None, "there is at least one revision"
    return revision


def current(conn: ops.Connection) -> str | None:
    """The revision of the schema on the connection's search path; None where nothing was migrated."""
    if _value(conn, "select to_regclass(%s)", tables.VERSION_TABLE) is None:
        return None
    revision = _value(conn, "select version_num from alembic_version")
    return None if revision is None else str(revision)


def drift(direct: PostgresUrl) -> list[str]:
    """What the database has and our tables don't name, and the other way round, a line each; see `db.drift`."""
    return catalog.drift(direct)


def config(**attributes: Any) -> Config:
    """Alembic's settings, for its own commands too: making a revision, showing the history."""
    made = Config()
    made.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    made.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    made.set_main_option("path_separator", "os")
    made.attributes.update(attributes)
    return made


def statements(revision: str) -> str:
    """The SQL of one revision alone: what its hash is made of, and what a linter of migrations reads."""
    script = ScriptDirectory.from_config(config()).get_revision(revision)
    assert script is not None, revision
    text = StringIO()
    context = MigrationContext.configure(dialect_name="postgresql", opts={"as_sql": True, "output_buffer": text})
    with Operations.context(context):
        script.module.upgrade()
    return text.getvalue()


def _digest(revision: str) -> str:
    return hashlib.sha256(" ".join(statements(revision).split()).encode()).hexdigest()


@contextmanager
def _one_at_a_time(conn: ops.Connection, direct: PostgresUrl) -> Iterator[None]:
    """The session lock of migrations, waited for and no longer; it ends with the connection."""
    _timeouts(conn, lock=LOCK_WAIT_SECONDS, statement=STATEMENT_TIMEOUT_SECONDS)
    try:
        conn.execute("select pg_advisory_lock(%s, %s)", (ops.LOCK_CLASS, ops.MIGRATION_LOCK))
    except errors.LockNotAvailable:
        raise Refusal(
            f"the migration lock within {LOCK_WAIT_SECONDS} s",
            f"it is held by {ops.lock_owners(conn, ops.MIGRATION_LOCK)}",
            where=direct.redacted,
            do="Wait for it to end, or stop it.",
        ) from None
    _timeouts(conn, lock=LOCK_TIMEOUT_SECONDS, statement=STATEMENT_TIMEOUT_SECONDS)
    yield


def _timeouts(conn: ops.Connection, *, lock: int, statement: int) -> None:
    conn.execute("select set_config('lock_timeout', %s, false)", (f"{lock}s",))
    conn.execute("select set_config('statement_timeout', %s, false)", (f"{max(statement, lock + 1)}s",))


def _pending(conn: ops.Connection, schema: str) -> list[Script]:
    """The revisions still to apply, oldest first, once those applied are known to be ours and unchanged."""
    scripts = {script.revision: script for script in reversed(list(_walk()))}
    found = current(conn)
    if found is None:
        _require_empty(conn, schema)
        return list(scripts.values())
    if found not in scripts:
        raise Refusal(
            f"a revision out of {', '.join(scripts)}", f"the revision {found}", where=f"{ops.place(conn)} {schema}",
            do="A newer version of this program migrated it: use that one.",
        )  # fmt: skip
    applied = [revision for revision in scripts if revision <= found]
    _require_unchanged(conn, schema, applied)
    return [script for revision, script in scripts.items() if revision not in applied]


def _walk() -> Iterator[Script]:
    return ScriptDirectory.from_config(config()).walk_revisions()


def _require_unchanged(conn: ops.Connection, schema: str, applied: list[str]) -> None:
    rows = conn.execute("select revision, sha256 from ops.revisions where schema = %s", (schema,)).fetchall()
    hashes = {str(revision): str(digest) for revision, digest in rows}
    for revision in applied:
        if hashes.get(revision) != _digest(revision):
            raise Refusal(
                f"revision {revision} as it was applied",
                "other statements in its file" if revision in hashes else "no record of it in ops.revisions",
                where=f"{ops.place(conn)} {schema}",
                do="Put the file back as it was; what is to change belongs in a new revision.",
            )


def _require_empty(conn: ops.Connection, schema: str) -> None:
    names = [name for name in relocation.relations(conn, schema) if name != tables.VERSION_TABLE]
    if names:
        raise Refusal(
            f"an empty schema {schema}, or one that this program migrated",
            f"tables that it did not make: {', '.join(names[:3])}",
            where=ops.place(conn),
            do="Name another schema in the URL (?schema=game), or drop this one.",
        )


def _require_role(conn: ops.Connection, role: str | None) -> None:
    if role is not None and _value(conn, "select to_regrole(%s)", _identifier(role)) is None:
        raise Refusal(
            "the service's role on the server", f"no role {role}", where=ops.place(conn), do="Create it first."
        )


def _create_schema(conn: ops.Connection, schema: str) -> None:
    if _value(conn, "select to_regnamespace(%s)", _identifier(schema)) is not None:
        return
    try:
        conn.execute(sql.SQL("create schema {}").format(sql.Identifier(schema)))
    except errors.InsufficientPrivilege as error:
        raise Refusal(
            f"a role that may create the schema {schema}", str(error).splitlines()[0], where=ops.place(conn)
        ) from None


def _upgrade(conn: ops.Connection, direct: PostgresUrl) -> None:
    """Alembic on the connection that holds the lock: one that lost it can change nothing any more."""
    conn.autocommit = False
    engine = sa.create_engine("postgresql+psycopg://", creator=lambda: conn, poolclass=StaticPool)
    try:
        with engine.connect() as connection:
            command.upgrade(config(connection=connection, on_version_apply=_record(direct.schema)), "head")
            connection.commit()
    except (sa.exc.DBAPIError, psycopg.Error) as error:
        cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
        raise Failure(
            "each revision to pass", redact(str(cause).splitlines()[0]), where=direct.redacted,
            do="That revision changed nothing; those before it stay. Correct it and run again.",
        ) from error  # fmt: skip
    conn.autocommit = True


def _record(schema: str) -> Any:
    """Alembic's hook: the hash of a revision is written in the transaction that applies it."""

    def record(*, ctx: MigrationContext, step: Any, **_: Any) -> None:
        revision = step.up_revision_id
        ctx.impl.execute(
            sa.text(
                f"insert into ops.revisions (schema, revision, sha256) values ('{schema}', '{revision}',"
                f" '{_digest(revision)}') on conflict (schema, revision)"
                " do update set sha256 = excluded.sha256, applied_at = now()"
            )
        )

    return record


def adopt(conn: ops.Connection, schema: str) -> None:
    """Record the revisions of a schema that was restored; a database that is new has no record of them."""
    found = current(conn)
    scripts = [script.revision for script in _walk()]
    for revision in scripts[scripts.index(found) :] if found in scripts else []:
        conn.execute(
            "insert into ops.revisions (schema, revision, sha256) values (%s, %s, %s) on conflict do nothing",
            (schema, revision, _digest(revision)),
        )


def _grant(conn: ops.Connection, schema: str, role: str | None) -> None:
    with conn.transaction():
        for statement in _grants(conn, schema, role):
            conn.execute(statement)


def _grants(conn: ops.Connection, schema: str, role: str | None) -> list[sql.Composed]:
    """The service's rights, wholly: state to read and write, journals to read and add to, nothing of ours.

    Tables are named one by one: what an extension keeps in the schema is not ours to revoke.
    """
    if role is None or role == conn.info.user:
        return []
    to = sql.Identifier(role)
    state = _names(schema, [table.name for table in (*game_tables.PLAYER_STATE, *game_tables.OTHER_STATE)])
    journals = _names(schema, [table.name for table in game_tables.JOURNALS])
    readable = ["fence_state", tables.VERSION_TABLE]
    ours = (*game_tables.ALL, *tables.ALL)
    return [
        sql.SQL("grant usage on schema {} to {}").format(sql.Identifier(schema), to),
        sql.SQL("revoke all on {} from {}").format(_names(schema, [*(table.name for table in ours), *readable]), to),
        sql.SQL("grant select, insert, update, delete on {} to {}").format(state, to),
        sql.SQL("grant select, insert on {} to {}").format(journals, to),
        sql.SQL("grant select on {} to {}").format(_names(schema, readable), to),
    ]


def _names(schema: str, names: list[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(schema, name) for name in names)


def _dry_run(conn: ops.Connection, schema: str, role: str | None) -> str:
    """What a run would send, in order: fit for psql on the direct connection."""
    text = StringIO()
    made = config(on_version_apply=_record(schema))
    made.output_buffer = text
    command.upgrade(made, f"{current(conn) or 'base'}:head", sql=True)
    quoted = sql.Identifier(schema).as_string(conn)
    grants = "".join(f"{statement.as_string(conn)};\n" for statement in _grants(conn, schema, role))
    return (
        f"create schema if not exists {quoted};\nset search_path = {quoted};\n"
        f"set lock_timeout = '{LOCK_TIMEOUT_SECONDS}s';\n\n{text.getvalue()}\nbegin;\n{grants}commit;\n"
    )


def _identifier(name: str) -> str:
    return sql.Identifier(name).as_string(None)


def _value(conn: ops.Connection, query: str, *parameters: object) -> Any:
    row = conn.execute(query, parameters).fetchone()
    return None if row is None else row[0]
