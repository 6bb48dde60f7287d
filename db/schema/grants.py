"""The rights of the service's role on the game's tables."""

from __future__ import annotations

from psycopg import sql

from db import ops, tables
from game import tables as game_tables


def grant(conn: ops.Connection, schema: str, role: str | None) -> None:
    """Give the service's role all its rights, in one transaction. Safe to call again."""
    with conn.transaction():
        for statement in statements(conn, schema, role):
            conn.execute(statement)


def statements(conn: ops.Connection, schema: str, role: str | None) -> list[sql.Composed]:
    """Return the statements that give the service all its rights: write the state, add to journals, read the fence."""
    if role is None or role == conn.info.user:
        return []
    to = sql.Identifier(role)
    # Named one by one: rights on an extension's tables in the schema must stay.
    state = _names(schema, [table.name for table in (*game_tables.PLAYER_STATE, *game_tables.OTHER_STATE)])
    journals = _names(schema, [table.name for table in game_tables.JOURNALS])
    readable = ["fence_state", tables.VERSION_TABLE]
    own_tables = (*game_tables.ALL, *tables.ALL)
    return [
        sql.SQL("grant usage on schema {} to {}").format(sql.Identifier(schema), to),
        sql.SQL("revoke all on {} from {}").format(
            _names(schema, [*(table.name for table in own_tables), *readable]), to
        ),
        sql.SQL("grant select, insert, update, delete on {} to {}").format(state, to),
        sql.SQL("grant select, insert on {} to {}").format(journals, to),
        sql.SQL("grant select on {} to {}").format(_names(schema, readable), to),
    ]


def _names(schema: str, names: list[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(schema, name) for name in names)
