"""Makes the game's schema from the revisions and fills it from a dump, in the transaction that is open.

Types, defaults, checks, indexes, triggers and the view are the revisions' own, and the first revision makes the tables
fenced. Of the dump the rows alone are taken.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO

from psycopg import errors, sql

from db import ops, remedies, tables
from db.errors import Refusal
from db.files.json_files import shown
from db.ops import fence
from db.schema import migrate, revisions
from db.schema.revisions import NO_PASS, PASS, Revision
from db.servers.tools import Tool
from db.snapshots import dump
from db.snapshots.manifest import NAME_ANOTHER, Snapshot, Unsound
from db.target.extensions import not_an_extensions

RESTORING = "restoring_"
"""Begins the name of a schema that is being filled. No other session ever sees one."""

_TABLES = f"""
select c.relname, array_agg(a.attname::text)
from pg_class c join pg_attribute a on a.attrelid = c.oid
where a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
    and c.relnamespace = to_regnamespace(%s) and c.relkind in ('r', 'p') and {not_an_extensions("pg_class", "c.oid")}
group by c.relname
"""
_ENTRIES = """
with relations as (select c.* from pg_class c where c.relnamespace = to_regnamespace(%s))
select case relkind when 'v' then 'VIEW' else 'TABLE' end, relname from relations where relkind in ('r', 'p', 'v')
union all select 'TABLE DATA', relname from relations where relkind = 'r'
union all select case o.contype when 'f' then 'FK CONSTRAINT' else 'CONSTRAINT' end, c.relname || ' ' || o.conname
    from pg_constraint o join relations c on c.oid = o.conrelid where o.contype <> 'c'
union all select 'INDEX', i.relname
    from relations i where i.relkind = 'i' and not exists (select from pg_constraint o where o.conindid = i.oid)
union all select 'TRIGGER', c.relname || ' ' || t.tgname
    from pg_trigger t join relations c on c.oid = t.tgrelid where not t.tgisinternal
union all select 'ACL', 'TABLE ' || quote_ident(relname) from relations where relkind in ('r', 'p', 'v')
union all select 'COMMENT', case relkind when 'v' then 'VIEW ' else 'TABLE ' end || quote_ident(relname)
    from relations where relkind in ('r', 'p', 'v')
union all select kind, 'COLUMN ' || quote_ident(c.relname) || '.' || quote_ident(a.attname)
    from relations c join pg_attribute a on a.attrelid = c.oid, (values ('ACL'), ('COMMENT')) kinds (kind)
    where c.relkind in ('r', 'p', 'v') and a.attnum > 0 and not a.attisdropped
"""
_REFERENCES = """
select c.relname, o.conname, pg_get_constraintdef(o.oid)
from pg_constraint o join pg_class c on c.oid = o.conrelid
where c.relnamespace = to_regnamespace(%s) and o.contype = 'f'
"""
_VERSIONS = f"""
create table {tables.VERSION_TABLE} (
    version_num varchar(32) not null, constraint {tables.VERSION_TABLE}_pkc primary key (version_num)
)
"""
"""As Alembic makes it."""


def applied(snapshot: Snapshot) -> tuple[Revision, ...]:
    """Return the revisions that made what was dumped. Raises Refusal if this version does not know them."""
    history = revisions.read()
    if snapshot.manifest.schema not in history:
        raise Refusal(
            f"a snapshot of a revision up to {history.head}",
            f"one of {snapshot.manifest.schema or 'none'}",
            where=str(snapshot.folder),
            do="A newer version of this program took it: run the command from a checkout of that version.",
        )
    return history.applied(snapshot.manifest.schema)


def load(conn: ops.Connection, snapshot: Snapshot, file: BinaryIO, tool: Tool, *, schema: str) -> str:
    """Make and fill a new schema, which is fenced. Return its name; the search path is as it was before.

    schema: the one that was dumped. Raises Unsound: before a row is read, if the dump holds anything else than what the
    revisions make; later, if its rows do not fit.
    """
    staging = f"{RESTORING}{secrets.token_hex(6)}"
    with _made(conn, staging, applied(snapshot)):
        dump.require_known(snapshot, file, tool, _known(conn, staging, schema))
        with fence.own_pass(conn), _without_references(conn, staging):
            dump.copy_rows(snapshot, file, tool, conn, schema=schema, into=staging, tables=_columns(conn, staging))
        if (revision := migrate.current(conn)) != snapshot.manifest.schema:
            raise Unsound(
                f"the rows of revision {snapshot.manifest.schema}",
                f"those of {shown(str(revision))}",
                where=str(snapshot.path),
                do=NAME_ANOTHER,
            )
    return staging


@contextmanager
def _made(conn: ops.Connection, schema: str, history: Sequence[Revision]) -> Iterator[None]:
    """Make the schema with its tables; while the block runs, the search path leads to it alone."""
    row = conn.execute("select current_setting('search_path')").fetchone()
    assert row is not None
    try:
        conn.execute(sql.SQL("create schema {}").format(sql.Identifier(schema)))
    except errors.InsufficientPrivilege as error:
        raise Refusal(
            "a role that may create a schema",
            str(error).splitlines()[0],
            where=ops.place(conn),
            do=remedies.grant_create(conn.info.dbname, conn.info.user),
        ) from None
    conn.execute(sql.SQL("set local search_path = {}").format(sql.Identifier(schema)))
    conn.execute(_VERSIONS)
    for revision in history:
        conn.execute("; ".join(PASS).encode())  # A revision may write rows, and the tables are made fenced.
        conn.execute(revision.for_a_copy.encode())
        conn.execute("; ".join(NO_PASS).encode())
    yield
    conn.execute("select set_config('search_path', %s, true)", row)


def _known(conn: ops.Connection, staging: str, schema: str) -> list[str]:
    """Return what a dump of the schema may name: what the revisions made in `staging`, and rights.

    Rights are never taken from a dump: the service's are granted anew.
    """
    rows = conn.execute(_ENTRIES, (staging,)).fetchall()
    ((quoted,),) = conn.execute("select quote_ident(%s)", (schema,)).fetchall()
    own = [f"SCHEMA - {schema}", f"COMMENT - SCHEMA {quoted}", f"ACL - SCHEMA {quoted}", f"DEFAULT ACL {schema}"]
    return [*own, *(f"{kind} {schema} {name}" for kind, name in rows)]


def _columns(conn: ops.Connection, schema: str) -> dict[str, frozenset[str]]:
    return {str(name): frozenset(columns) for name, columns in conn.execute(_TABLES, (schema,)).fetchall()}


@contextmanager
def _without_references(conn: ops.Connection, schema: str) -> Iterator[None]:
    """Take the foreign keys away and set them again: rows come in the order of the tables' names."""
    references = conn.execute(_REFERENCES, (schema,)).fetchall()
    for table, name, _ in references:
        conn.execute(
            sql.SQL("alter table {} drop constraint {}").format(sql.Identifier(schema, table), sql.Identifier(name))
        )
    yield
    for table, name, definition in references:
        adding = sql.SQL("alter table {} add constraint {} {}").format(
            sql.Identifier(schema, table), sql.Identifier(name), sql.SQL(definition)
        )
        try:
            conn.execute(adding)
        except errors.IntegrityError as error:
            raise Unsound(
                f"rows of {table} that fit",
                shown(str(error).splitlines()[0], 200),
                where=ops.place(conn),
                do=NAME_ANOTHER,
            ) from error
