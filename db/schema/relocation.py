"""Moves the game's objects from one schema of the target to another, to keep them there.

A schema with the game's objects only is renamed, which takes no lock on a table. `public`, and any schema with objects
of an extension, is shared: it keeps its rights and its extensions, and the game's objects move one by one.
"""

from __future__ import annotations

from psycopg import errors, sql

from db import ops
from db.errors import Failure
from db.target.extensions import not_an_extensions

LOCK_TIMEOUT_SECONDS = 15
"""How long to wait for each object. Nobody plays on the schema by then, but a backup may read it."""

RELATIONS = f"""
select c.relname from pg_class c
where c.relnamespace = (select oid from pg_namespace where nspname = %s)
    and c.relkind in ('r', 'p', 'v', 'm', 'S', 'f') and {not_an_extensions("pg_class", "c.oid")}
order by c.relname
"""
SHARED = f"""
select n.nspname = 'public' or exists (select from pg_extension e where e.extnamespace = n.oid)
    or exists (select from pg_class c where c.relnamespace = n.oid and not {not_an_extensions("pg_class", "c.oid")})
    or exists (select from pg_proc p where p.pronamespace = n.oid and not {not_an_extensions("pg_proc", "p.oid")})
    or exists (select from pg_type t where t.typnamespace = n.oid and not {not_an_extensions("pg_type", "t.oid")})
from pg_namespace n where n.nspname = %s
"""
# A sequence that a column owns moves with its table.
MOVES = f"""
with objects (catalog, oid) as (
    select 'pg_class'::regclass, c.oid from pg_class c
    where c.relnamespace = (select oid from pg_namespace where nspname = %(from)s)
        and c.relkind in ('r', 'p', 'v', 'm', 'S', 'f') and {not_an_extensions("pg_class", "c.oid")}
        and not (c.relkind = 'S' and exists (
            select from pg_depend owned
            where owned.classid = 'pg_class'::regclass and owned.objid = c.oid and owned.deptype in ('a', 'i')
        ))
    union all
    select 'pg_proc'::regclass, p.oid from pg_proc p
    where p.pronamespace = (select oid from pg_namespace where nspname = %(from)s)
        and {not_an_extensions("pg_proc", "p.oid")}
    union all
    select 'pg_type'::regclass, t.oid from pg_type t left join pg_class c on c.oid = t.typrelid
    where t.typnamespace = (select oid from pg_namespace where nspname = %(from)s)
        and (t.typtype in ('e', 'd', 'r') or c.relkind = 'c') and {not_an_extensions("pg_type", "t.oid")}
)
select format('alter %%s %%s set schema %%I', named.type, named.identity, %(to)s::text)
from objects, pg_identify_object(objects.catalog, objects.oid, 0) named
"""


def exists(conn: ops.Connection, schema: str) -> bool:
    """Return True if the database has a schema of this name."""
    return is_shared(conn, schema) is not None


def relations(conn: ops.Connection, schema: str) -> list[str]:
    """Return the names of the tables, views and sequences of the schema, without those of extensions."""
    return [str(name) for (name,) in conn.execute(RELATIONS, [schema]).fetchall()]


def move(conn: ops.Connection, schema: str, to: str) -> None:
    """Move the game's objects from `schema` to the schema `to`, in one transaction; joins an open one.

    Makes `to` if it does not exist. Raises Failure if another session holds a table too long; nothing is changed.
    """
    shared, source, target = is_shared(conn, schema), sql.Identifier(schema), sql.Identifier(to)
    with conn.transaction():
        if not shared and not exists(conn, to):
            conn.execute(sql.SQL("alter schema {} rename to {}").format(source, target))
            return
        conn.execute(sql.SQL("create schema if not exists {}").format(target))
        _move_objects(conn, schema, to)
        if not shared:
            conn.execute(sql.SQL("drop schema {}").format(source))


def _move_objects(conn: ops.Connection, schema: str, to: str) -> None:
    conn.execute("select set_config('lock_timeout', %s, true)", (f"{LOCK_TIMEOUT_SECONDS}s",))
    try:
        for (statement,) in conn.execute(MOVES, {"from": schema, "to": to}).fetchall():
            conn.execute(str(statement).encode())
    except errors.LockNotAvailable:
        raise Failure(
            f"the tables of the schema {schema} within {LOCK_TIMEOUT_SECONDS} s",
            "another session holds one",
            where=ops.place(conn),
            do="Nothing was changed. End that session, and run again.",
        ) from None


def is_shared(conn: ops.Connection, schema: str) -> bool | None:
    """Return True if the schema holds more than the game's objects; None if there is no such schema."""
    row = conn.execute(SHARED, [schema]).fetchone()
    return None if row is None else bool(row[0])
