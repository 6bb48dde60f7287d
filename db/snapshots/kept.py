"""Schemas of the game that were moved aside in the target and are kept there: by a restore, or by a rollback.

No service reads one: its search path names the game's schema alone.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from itertools import chain, count

from psycopg import sql

from db import ops
from db.errors import Refusal
from db.ops import fence
from db.schema import draws, grants, migrate, relocation
from db.snapshots import manifest

REPLACED = "replaced_"
ROLLED_BACK = "rolled_back_"

_KEPT = """
select n.nspname, (select coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint from pg_class c
    where c.relnamespace = n.oid and c.relkind in ('r', 'p'))
from pg_namespace n
where (starts_with(n.nspname, %s) or starts_with(n.nspname, %s)) and pg_has_role(n.nspowner, 'usage')
    and exists (select from pg_class c where c.relnamespace = n.oid and c.relname = 'users' and c.relkind in ('r', 'p'))
order by n.nspname
"""


@dataclass(frozen=True, slots=True)
class Kept:
    """A schema that is kept: how many players it has, and its bytes on the server's disk."""

    schema: str
    players: int
    bytes: int


def find(conn: ops.Connection) -> list[Kept]:
    """List the schemas that are kept, by name."""
    counting = sql.SQL("select count(*) from {}")
    schemas = conn.execute(_KEPT, (REPLACED, ROLLED_BACK)).fetchall()
    counted = [
        (name, size, conn.execute(counting.format(sql.Identifier(name, "users"))).fetchone()) for name, size in schemas
    ]
    return [Kept(name, int(row[0]) if row else 0, size) for name, size, row in counted]


def put_aside(conn: ops.Connection, schema: str) -> str:
    """Move the game's tables from `schema` to a schema of a new name, with the note of their revisions; return it.

    One transaction; joins an open one.
    """
    aside = free_name(conn, f"{REPLACED}{manifest.now():%Y%m%d_%H%M%S}_{secrets.token_hex(2)}")
    move(conn, schema, aside)
    return aside


def free_name(conn: ops.Connection, name: str) -> str:
    """Return the name, or with the first number that makes it one that no schema has. The caller holds the lock."""
    # Into a schema that exists the tables would be moved one by one, and fail at the first that it has.
    names = chain([name], (f"{name}_{number}" for number in count(2)))
    return next(free for free in names if not relocation.exists(conn, free))


def put_back(conn: ops.Connection, schema: str, kept: str, *, service_role: str, keep_fence: bool) -> str | None:
    """Move a kept schema to its place, and what stands there aside, in one transaction; return where that is kept.

    The caller holds the lock of runs. Raises Refusal if no schema of this name is kept. Killed anywhere, either all of
    it was done or nothing.
    """
    require(conn, kept)
    with conn.transaction():
        aside = put_aside(conn, schema) if relocation.relations(conn, schema) else None
        move(conn, kept, schema)
        ops.clear_proof(conn)  # Else a cutover that goes on would take it for its own copy.
        draws.renew(conn, schema)
        put_to_use(conn, schema, service_role=service_role, keep_fence=keep_fence)
    return aside


def put_to_use(conn: ops.Connection, schema: str, *, service_role: str, keep_fence: bool) -> None:
    """Make tables that came from elsewhere the game's: note revisions, set or lift the fence, grant the service.

    The draw epoch must be new already.
    """
    migrate.adopt(conn, schema)
    draws.publish_epoch(conn, schema)
    if keep_fence:
        fence.raise_fence(conn)
    else:
        fence.lift(conn)
    # Last: the service's role has no rights until the fence is as it is to be.
    grants.grant(conn, schema, service_role)


def drop(conn: ops.Connection, kept: str) -> None:
    """Drop a kept schema for good. Raises Refusal if none of this name is kept."""
    require(conn, kept)
    with conn.transaction():
        conn.execute(sql.SQL("drop schema {} cascade").format(sql.Identifier(kept)))
        for table in ("revisions", "fence", "fence_passes"):
            conn.execute(sql.SQL("delete from ops.{} where schema = %s").format(sql.Identifier(table)), (kept,))


def move(conn: ops.Connection, schema: str, to: str) -> None:
    """Move the game's tables and the note of their revisions, in one transaction; joins an open one."""
    with conn.transaction():
        relocation.move(conn, schema, to)
        conn.execute("delete from ops.revisions where schema = %s", (to,))
        conn.execute("update ops.revisions set schema = %s where schema = %s", (to, schema))


def require(conn: ops.Connection, kept: str) -> None:
    """Raise Refusal unless a schema of this name is kept."""
    names = [one.schema for one in find(conn)]
    if kept not in names:
        raise Refusal(
            "the name of a schema that is kept",
            repr(kept),
            where=ops.place(conn),
            do=f"These are kept: {', '.join(names) or 'none'}.",
        )
