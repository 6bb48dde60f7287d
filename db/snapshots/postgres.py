"""Snapshots of the game's schema in Postgres: pg_dump's custom format, of the game's schema alone.

`ops` is never in one: restoring the phase or the fence of another day would undo what the databases know of today.
The rows are counted in the transaction whose exported snapshot pg_dump reads, so file and counts are of one instant.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from psycopg import sql

from db import fence, migrate, ops, requirements
from db.errors import Refusal
from db.servers.tools import Tool
from db.snapshots import manifest
from db.snapshots.legacy import check_counts, check_hash
from db.snapshots.manifest import FILE_NAMES, Label, Manifest, Side, Snapshot
from db.snapshots.tools import Tools, installed
from db.snapshots.tools import run as run_tool
from game.urls import PostgresUrl

TABLES = """
    SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = %s AND c.relkind IN ('r', 'p') ORDER BY c.relname
"""
ABANDONED = "SELECT datname FROM pg_database WHERE starts_with(datname, %s) AND datdba = current_user::regrole"
SCRATCH = "sudamr_verify_"
VERIFY_LOCK = 5
"""The second half of the advisory lock of who verifies a snapshot of the database: one at a time."""

TURN_SECONDS = 600


def take(
    url: PostgresUrl, parent: Path, *, environment: str, label: Label, run: str, tools: Tools | None = None
) -> Snapshot:
    """Dump the schema as of one instant; `url` is the owner's, past a pooler."""
    with (
        manifest.being_made(parent, environment, Side.TARGET, label) as (folder, finish),
        ops.connect(url, application="sudamr snapshot") as connection,
    ):
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        counts = count(connection, url.schema)
        if not counts:
            raise Refusal(f"tables in the schema {url.schema}", "none", where=url.redacted, do="Migrate it first.")
        dump = folder / FILE_NAMES[Side.TARGET]
        arguments = ["--format=custom", f"--schema={_pattern(url.schema)}", f"--snapshot={_exported(connection)}"]
        with dump.open("wb") as file:
            run_tool(_tool("pg_dump", connection, tools), arguments, url, stdout=file)
        made = Manifest(
            environment=environment, side=Side.TARGET, label=label, run=run, taken_at=manifest.now().isoformat(),
            file=dump.name, size=dump.stat().st_size, sha256=manifest.digest(dump), counts=counts,
            source=url.redacted, fence=fence.state(connection), schema=migrate.current(connection) or "",
            tool=f"pg_dump for PostgreSQL {major(connection)}",
        )  # fmt: skip
        manifest.write(folder, made)
        return Snapshot(finish(), made)


def verify(snapshot: Snapshot, url: PostgresUrl, *, tools: Tools | None = None) -> dict[str, int]:
    """Restore into a scratch database beside the URL's and count: rows a table. Failure where any disagree."""
    check_hash(snapshot)
    with _scratch(url) as scratch:
        ops.prepare(scratch, snapshot.manifest.environment)
        with ops.connect(scratch) as connection:
            _restore(snapshot, scratch, _tool("pg_restore", connection, tools), "--no-privileges")
            counts = count(connection, url.schema)
    check_counts(snapshot, counts)
    return counts


def restore(
    snapshot: Snapshot, url: PostgresUrl, *, keep_fence: bool, replace: bool = False, tools: Tools | None = None
) -> str | None:
    """Put the schema back; gives the name that the schema in its place was given, if there was one.

    The dump brings the triggers of the fence as they were; what the fence says is then made to be what was asked for.
    """
    check_hash(snapshot)
    with ops.connect(url) as connection:
        ops.require_marker(connection, snapshot.manifest.environment)
        requirements.require(connection)
        aside = _move_aside(connection, url, replace=replace)
        _restore(snapshot, url, _tool("pg_restore", connection, tools))
        if keep_fence:
            fence.set_on(connection)
        else:
            fence.lift(connection)
    return aside


def count(connection: ops.Connection, schema: str) -> dict[str, int]:
    """Rows a table of the schema."""
    names = [name for (name,) in connection.execute(TABLES, [schema]).fetchall()]
    return {name: _rows(connection, schema, name) for name in names}


def major(connection: ops.Connection) -> int:
    """The server's major version."""
    return connection.info.server_version // 10_000


def may_create_databases(connection: ops.Connection) -> bool:
    """Whether the role could make the scratch database that verifying needs."""
    row = connection.execute("SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
    return bool(row and row[0])


def no_createdb(url: PostgresUrl) -> Refusal:
    """A snapshot that can't be restored somewhere can't be verified."""
    return Refusal(
        "a role that may make the scratch database to restore into", f"{url.user} without CREATEDB",
        where=url.redacted, do=f"ALTER ROLE {url.user} CREATEDB;",
    )  # fmt: skip


def _rows(connection: ops.Connection, schema: str, table: str) -> int:
    counting = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(schema, table))
    row = connection.execute(counting).fetchone()
    assert row is not None
    return int(row[0])


def _exported(connection: ops.Connection) -> str:
    row = connection.execute("SELECT pg_export_snapshot()").fetchone()
    assert row is not None
    return str(row[0])


def _pattern(schema: str) -> str:
    """The schema as pg_dump's pattern: quoted, for it would fold capitals otherwise."""
    return f'"{schema}"'


@contextmanager
def _scratch(url: PostgresUrl) -> Iterator[PostgresUrl]:
    """A database of the snapshot's own, which nobody but its owner may enter; one that a killed run left goes first."""
    mark = f"{SCRATCH}{hashlib.sha256(url.dbname.encode()).hexdigest()[:8]}_"
    scratch = url.with_(dbname=mark + secrets.token_hex(6))
    name = sql.Identifier(scratch.dbname)
    with ops.connect(url) as connection:
        if not may_create_databases(connection):
            raise no_createdb(url)
        connection.execute(sql.SQL("SET lock_timeout = {}").format(sql.Literal(f"{TURN_SECONDS}s")))
        connection.execute("SELECT pg_advisory_lock(%s, %s)", (ops.LOCK_CLASS, VERIFY_LOCK))
        for (left,) in connection.execute(ABANDONED, [mark]).fetchall():
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(left)))
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'").format(name))
        try:
            connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))
            yield scratch
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


def _restore(snapshot: Snapshot, url: PostgresUrl, tool: Tool, *options: str) -> None:
    with snapshot.path.open("rb") as file:
        run_tool(tool, ["--exit-on-error", "--single-transaction", "--no-owner", *options], url, stdin=file)


def _tool(name: str, connection: ops.Connection, tools: Tools | None) -> Tool:
    return (tools or installed(major(connection)))(name)


def _move_aside(connection: ops.Connection, url: PostgresUrl, *, replace: bool) -> str | None:
    if connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", [url.schema]).fetchone() is None:
        return None
    if not replace:
        raise Refusal(
            f"no schema {url.schema}", "one", where=url.redacted, do="Say that it is to be replaced; it is kept aside."
        )
    aside = f"replaced_{manifest.now():%Y%m%d_%H%M%S}_{secrets.token_hex(2)}"
    connection.execute(
        sql.SQL("ALTER SCHEMA {} RENAME TO {}").format(sql.Identifier(url.schema), sql.Identifier(aside))
    )
    return aside
