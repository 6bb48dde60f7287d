"""The rights of the role that the watch looks as: it reads, and not what players log in by."""

from __future__ import annotations

from psycopg import sql

from db import ops
from db.tables import VERSION_TABLE
from game import tables

UNREAD = frozenset({tables.user_credentials.name})
"""Tables of the game that no check reads."""

READ = (*sorted(set(tables.BY_NAME) - UNREAD), "fence_state", VERSION_TABLE)

GRANTS = f"""\
GRANT CONNECT ON DATABASE {{database}} TO {{monitor}};
GRANT pg_monitor TO {{monitor}};
GRANT USAGE ON SCHEMA {{schema}}, ops TO {{monitor}};
GRANT SELECT ON ops.environment, ops.phase TO {{monitor}};
GRANT SELECT ON ALL SEQUENCES IN SCHEMA {{schema}} TO {{monitor}};
GRANT SELECT ON {", ".join(f"{{schema}}.{name}" for name in READ)} TO {{monitor}};
"""
"""To run as a superuser, or as who may grant pg_monitor; again after a revision that makes a table. No write is among
them: `pg_monitor` sees the sessions and statements of every role, the rest is for the checks of the game's own tables.
"""


def statements(conn: ops.Connection, schema: str, monitor: str) -> list[str]:
    """Return the statements of `GRANTS` for a role, with every name quoted."""
    names = {"database": conn.info.dbname, "schema": schema, "monitor": monitor}
    text = sql.SQL(GRANTS).format(**{key: sql.Identifier(name) for key, name in names.items()}).as_string(conn)
    return text.strip().splitlines()
