"""Snapshots of the game's schema in Postgres: pg_dump's custom format, of the game's schema alone.

`ops` is never in one: restoring the phase or the fence of another day would undo what the databases know of today.
The rows are counted in the transaction whose exported snapshot pg_dump reads, so file and counts are of one instant.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, TypeAlias

from psycopg import errors, sql

from db import ops, remedies
from db.confirmation import unasked
from db.counts import few
from db.errors import Refusal
from db.files import private
from db.files.json_files import shown
from db.legacy.opening import is_absent, reading
from db.ops import fence, locks
from db.schema import draws, migrate, relocation
from db.servers.tools import Tool
from db.snapshots import kept, manifest, staging_schema
from db.snapshots.legacy import check_counts, opened
from db.snapshots.manifest import FILE_NAMES, Label, Manifest, Side, Snapshot
from db.snapshots.tools import Tools, installed
from db.snapshots.tools import run as run_tool
from db.target import requirements
from db.target.extensions import not_an_extensions
from game.errors import BadUrl
from game.legacy import fence as legacy_fence
from game.legacy.fence_schema import FenceMark
from game.urls import PostgresUrl, read

TABLES = f"""
    SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = %s AND c.relkind IN ('r', 'p') AND {not_an_extensions("pg_class", "c.oid")} ORDER BY c.relname
"""
ABANDONED = "SELECT datname FROM pg_database WHERE starts_with(datname, %s) AND datdba = current_user::regrole"
SCRATCH = "sudamr_verify_"
VERIFY_LOCK = 5
"""The second half of the advisory lock of who verifies a snapshot of the database: one at a time."""

TURN_SECONDS = 600

Inspect: TypeAlias = Callable[[PostgresUrl], None]
"""Looks at a restored database, by its owner. Raises Failure for what is not as it must be."""


def take(
    url: PostgresUrl,
    parent: Path,
    *,
    environment: str,
    label: Label,
    run: str,
    key: str | None,
    tools: Tools | None = None,
    instant: ops.Connection | None = None,
) -> Snapshot:
    """Dump the schema as of one instant. `url` is the owner's, past a pooler. key: signs the manifest.

    instant: a session in a transaction that sees the instant to dump; by default one is begun, and it is now.

    Raises Refusal, before a folder is made, if the database is another environment's or has no tables of the game.
    """
    with ExitStack() as reading:
        connection = instant or reading.enter_context(ops.connect(url, application="sudamr snapshot"))
        if instant is None:
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        ops.require_marker(connection, environment)
        state, counts = fence.state(connection), count(connection, url.schema)
        folder, finish = reading.enter_context(manifest.being_made(parent, environment, Side.TARGET, label))
        dump = folder / FILE_NAMES[Side.TARGET]
        arguments = ["--format=custom", f"--schema={_pattern(url.schema)}", f"--snapshot={_exported(connection)}"]
        with private.opened(dump, "xb") as file:
            run_tool(_tool("pg_dump", connection, tools), arguments, url, stdout=file)
        made = Manifest(
            environment=environment,
            side=Side.TARGET,
            label=label,
            run=run,
            taken_at=manifest.now().isoformat(),
            file=dump.name,
            size=dump.stat().st_size,
            sha256=manifest.digest(dump),
            counts=counts,
            source=url.redacted,
            fence=state,
            schema=migrate.current(connection) or "",
            tool=f"pg_dump for PostgreSQL {major(connection)}",
        )
        made = manifest.write(folder, made, key)
        return Snapshot(finish(), made)


def verify(
    snapshot: Snapshot, url: PostgresUrl, *, tools: Tools | None = None, inspect: Inspect | None = None
) -> dict[str, int]:
    """Restore into a scratch database beside the URL's and count: rows a table. Raises Unsound where any disagree.

    inspect: is called with the scratch database, whose fence is open, before it is dropped; what it raises is raised.
    """
    schema = schema_of(snapshot)
    with opened(snapshot) as file:
        with ops.connect(url) as connection:
            ops.require_marker(connection, snapshot.manifest.environment)
        with _scratch(url.with_(schema=schema)) as scratch:
            ops.prepare(scratch, snapshot.manifest.environment)
            with ops.connect(scratch) as connection, connection.transaction():
                staging, counts = _load(connection, snapshot, file, tools)
                if inspect is not None:
                    kept.move(connection, staging, schema)
                    draws.renew(connection, schema)
                    kept.put_to_use(connection, schema, service_role=url.user, keep_fence=False)
            if inspect is not None:
                inspect(scratch)
            return counts


def restore(
    snapshot: Snapshot,
    url: PostgresUrl,
    *,
    service_role: str,
    legacy: Path,
    keep_fence: bool,
    replace: bool = False,
    confirm: Callable[[], None] = unasked,
    tools: Tools | None = None,
) -> str | None:
    """Restore the schema. Return the name of the schema that now holds the replaced tables, or None if there were none.

    All is done in one transaction: whatever fails, and wherever it is killed, the database is as it was. Until then
    players play on what stood there. The restored tables are made fenced, and the fence then set or lifted as
    `keep_fence` asks.
    """
    if (schema := schema_of(snapshot)) != url.schema:
        raise Refusal(
            f"a snapshot of the schema {url.schema}",
            f"one of the schema {shown(schema)}",
            where=str(snapshot.folder),
            do=f"Name that schema in target and target_direct: ?schema={schema}",
        )
    with opened(snapshot) as file:
        with ops.connect(url) as connection:
            ops.require_marker(connection, snapshot.manifest.environment)
            requirements.require(connection)
            if not keep_fence:
                require_no_other_store(connection, legacy)
            _tool("pg_restore", connection, tools)
            _require_free(connection, url, replace=replace)
            staging_schema.applied(snapshot)
        # Before the lock: an answer may take minutes, and a cutover must not be refused meanwhile. All is checked
        # again.
        confirm()
        run = f"restore-{secrets.token_hex(4)}"
        with ops.lock(url, run=run, why=f"restore of {snapshot.folder.name}") as held:
            connection = held.conn
            if not keep_fence:
                require_no_other_store(connection, legacy)
            with connection.transaction():
                staging, _ = _load(connection, snapshot, file, tools)
                aside = _move_aside(connection, url, replace=replace)
                # Else a cutover that goes on would take what is restored for its own copy.
                ops.clear_proof(connection)
                kept.move(connection, staging, schema)
                draws.renew(connection, schema)
                kept.put_to_use(connection, schema, service_role=service_role, keep_fence=keep_fence)
    return aside


def _load(
    connection: ops.Connection, snapshot: Snapshot, file: BinaryIO, tools: Tools | None
) -> tuple[str, dict[str, int]]:
    """Fill a new schema in the open transaction; its name, and the rows of each table, which the manifest counts."""
    tool = _tool("pg_restore", connection, tools)
    staging = staging_schema.load(connection, snapshot, file, tool, schema=schema_of(snapshot))
    counts = count(connection, staging)
    check_counts(snapshot, counts)
    return staging, counts


def require_no_other_store(connection: ops.Connection, legacy: Path) -> None:
    """Raise Refusal if Postgres must not be opened: the legacy file is open, or a move of this database can open it."""
    phase, mark = ops.phase(connection), _mark(legacy)
    is_ours = mark.owner is not None and mark.owner.target == ops.identity(connection)
    if mark.state == "open" or phase not in (ops.Phase.EMPTY, ops.Phase.LIVE) or (phase is ops.Phase.EMPTY and is_ours):
        raise Refusal(
            "a legacy file on which nobody plays, before Postgres is opened to writes",
            f"the phase {phase}, and a file that is {mark.state}",
            where=str(legacy),
            do="Leave --unfence out: Postgres then holds the snapshot, read-only. Only a move opens it. What is under"
            f" way: invoke status --env {ops.named(connection)}",
        )


def _mark(legacy: Path) -> FenceMark:
    """Read the legacy file's fence. Raises Refusal of one that can't be read; where nothing is counts as moved."""
    if is_absent(legacy):
        return FenceMark("moved")
    with reading(legacy) as file:
        return legacy_fence.mark(file)


def count(connection: ops.Connection, schema: str) -> dict[str, int]:
    """Count the rows of each table of the schema."""
    names = [name for (name,) in connection.execute(TABLES, [schema]).fetchall()]
    return {name: _rows(connection, schema, name) for name in names}


def schema_of(snapshot: Snapshot) -> str:
    """Return the name of the dumped schema. Raises Refusal if the manifest names no database."""
    try:
        source = read(snapshot.manifest.source)
    except BadUrl:
        source = None
    if not isinstance(source, PostgresUrl):
        raise Refusal(
            "a snapshot of a database",
            "one whose manifest names none",
            where=str(snapshot.folder),
            do="Name another snapshot with --path.",
        )
    return source.schema


def major(connection: ops.Connection) -> int:
    """Return the major version of the server."""
    return connection.info.server_version // 10_000


def may_create_databases(connection: ops.Connection) -> bool:
    """Return True if the role can create the scratch database that verifying needs."""
    row = connection.execute("SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
    return bool(row and row[0])


def no_createdb(url: PostgresUrl) -> Refusal:
    """Return the refusal for a role that may make no database: a snapshot is verified by restoring it into one."""
    return Refusal(
        "a role that may make the scratch database to restore into",
        f"{url.user} without CREATEDB",
        where=url.redacted,
        do=remedies.statement("ALTER ROLE {role} CREATEDB;", role=url.user),
    )


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
    """Quote the schema as a pattern of pg_dump's."""
    # Without quotes pg_dump folds capitals.
    return f'"{schema}"'


@contextmanager
def _scratch(url: PostgresUrl) -> Iterator[PostgresUrl]:
    """Make a database of the snapshot's own, which only its owner may enter; one of a killed run goes first."""
    mark = _mark_of(url)
    scratch = url.with_(dbname=mark + secrets.token_hex(6))
    name = sql.Identifier(scratch.dbname)
    with ops.connect(url) as connection:
        if not may_create_databases(connection):
            raise no_createdb(url)
        connection.execute(sql.SQL("SET lock_timeout = {}").format(sql.Literal(f"{TURN_SECONDS}s")))
        connection.execute("SELECT pg_advisory_lock(%s, %s)", (locks.LOCK_CLASS, VERIFY_LOCK))
        _drop_abandoned(connection, mark)
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'").format(name))
        try:
            connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))
            yield scratch
        finally:
            _drop(connection, name)


def clear_abandoned(url: PostgresUrl) -> int:
    """Drop the scratch databases that killed runs left, unless one is verifying now. Return how many."""
    with ops.connect(url) as connection:
        row = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", (locks.LOCK_CLASS, VERIFY_LOCK)).fetchone()
        return _drop_abandoned(connection, _mark_of(url)) if row and row[0] else 0


def _mark_of(url: PostgresUrl) -> str:
    """Return what the names of the scratch databases of this database begin with."""
    return f"{SCRATCH}{hashlib.sha256(url.dbname.encode()).hexdigest()[:8]}_"


def _drop_abandoned(connection: ops.Connection, mark: str) -> int:
    abandoned = connection.execute(ABANDONED, [mark]).fetchall()
    for (name,) in abandoned:
        _drop(connection, sql.Identifier(name))
    return len(abandoned)


def _drop(connection: ops.Connection, name: sql.Identifier) -> None:
    """Drop a scratch database; FORCE only where a session of a killed run is still in it.

    Autovacuum may be at work there. A plain DROP ends it; FORCE by a role that is no superuser is refused for it.
    """
    try:
        connection.execute(sql.SQL("DROP DATABASE {}").format(name))
    except errors.ObjectInUse:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


def _tool(name: str, connection: ops.Connection, tools: Tools | None) -> Tool:
    return (tools or installed(major(connection)))(name)


def _move_aside(connection: ops.Connection, url: PostgresUrl, *, replace: bool) -> str | None:
    if not _require_free(connection, url, replace=replace):
        return None
    return kept.put_aside(connection, url.schema)


def _require_free(connection: ops.Connection, url: PostgresUrl, *, replace: bool) -> list[str]:
    """Return the relations in the schema's place. Raises Refusal if there are any, unless they may be replaced."""
    relations = relocation.relations(connection, url.schema)
    if relations and not replace:
        raise Refusal(
            f"no schema {url.schema}, or an empty one",
            f"one with {few(relations, 3)}",
            where=url.redacted,
            do="Add --replace: these are then kept in another schema.",
        )
    return relations
