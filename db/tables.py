"""The tables that db adds to the game's schema, two of the transfer, and the triggers that defend every table.

The migrations hold their own copy of all this, in SQL; `db.schema.drift` compares the two on a live database.
"""

from __future__ import annotations

import sqlalchemy as sa

from game import tables as game_tables

FENCE_TRIGGER = "sudamr_fence"
APPEND_ONLY_TRIGGER = "sudamr_journal"
"""Triggers fire by name: the fence's comes first, so that a fenced journal answers like every other table."""
VERSION_TABLE = "alembic_version"

metadata = sa.MetaData(naming_convention=game_tables.metadata.naming_convention)

quarantine = sa.Table(
    "quarantine",
    metadata,
    sa.Column("run", sa.Text, primary_key=True),
    sa.Column("n", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("source_table", sa.Text, nullable=False),
    sa.Column("key", sa.Text),
    sa.Column("column_name", sa.Text, nullable=False),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("position", sa.BigInteger),
    sa.Column("storage", sa.Text, nullable=False),
    sa.Column("original", sa.LargeBinary, nullable=False),
    sa.Column("rule", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("loaded_by", sa.Text),
    sa.Column("loaded_at", sa.BigInteger),
    sa.Column("replacement", sa.LargeBinary),
    sa.CheckConstraint("kind in ('aside', 'held')", name="kind"),
    sa.Index("quarantine_source_table_key_idx", "source_table", "key"),
    comment=(
        "Each source value that could not be loaded as it is: n counts from 1; original is its bytes. loaded_by: the"
        " run that loaded it again, at loaded_at (epoch milliseconds); replacement: what was loaded in its place."
    ),
)

transfer_checkpoints = sa.Table(
    "transfer_checkpoints",
    metadata,
    sa.Column("run", sa.Text, primary_key=True),
    sa.Column("source_table", sa.Text, primary_key=True),
    sa.Column("n", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("position", sa.BigInteger, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("counts", sa.Text, nullable=False, server_default="{}"),
    comment=(
        "One row a chunk, written with it: n counts from 1 in a run and table; source identifies the file; position is"
        " the last row taken; counts is JSON text, by column."
    ),
)

ALL = (quarantine, transfer_checkpoints)

LOG_ROWS = {
    "insert": "new table as changed",
    "update": "old table as was new table as changed",
    "delete": "old table as changed",
}
"""The rows that each trigger of the change log is given."""

TRUNCATE = "truncate"
LOG_PREFIX = "sudamr_log_"
LOG_TRIGGERS = {event: f"{LOG_PREFIX}{event}" for event in (*LOG_ROWS, TRUNCATE)}
LOG_ROW_TRIGGERS = {event: f"{LOG_PREFIX}row_{event}" for event in LOG_ROWS}
"""Of the tables of players only, besides `LOG_TRIGGERS`."""

_REQUESTS = ("action_receipts", "currency_ledger", "inventory_history")
_WHOLE = {
    "user_credentials": "user_credentials",
    "live_games": "live_games",
    "key_values": "kv",
    "legacy_schema": "legacy_schema",
}
LOGGED: dict[str, tuple[str, ...]] = {
    "users": ("user",),
    **{table.name: ("player",) for table in game_tables.PLAYER_STATE if table is not game_tables.users},
    **{table: ("whole", legacy) for table, legacy in _WHOLE.items()},
    "legacy_rows": ("kept",),
    "player_openings": ("player",),
    **dict.fromkeys(_REQUESTS, ("request",)),
    "quarantine": ("finding",),
}
"""The tables whose changes are logged, and the arguments of their triggers: the kind of a row's key, and for a table
without players its name in the legacy file. The quarantine says which cells of a player are written back as they were.
"""

ROWS_NOTED = frozenset(table for table, (kind, *_) in LOGGED.items() if kind in ("user", "player", "request"))
"""The tables of players, whose rows are noted one by one."""

FENCE_STATE = """create view fence_state as
select
    coalesce(f.state, 'fenced') as state,
    e.name as environment,
    f.draw_epoch,
    e.identity || '/' || d.oid as identity,
    f.run,
    f.peer
from pg_catalog.pg_database d
left join ops.environment e on true
left join (
    select f.state, f.draw_epoch, f.run, f.peer
    from ops.fence f
    join pg_catalog.pg_namespace n on n.nspname = f.schema
    join pg_catalog.pg_class c on c.relnamespace = n.oid
    where c.oid = 'users'::regclass
) f on true
where d.datname = pg_catalog.current_database()"""
"""The schema is found through the table `users`, so that one renamed away reads as fenced. One row, always.

identity: as `db.ops.identity` gives it. run, peer: the move of the fence, and the identity of its other store.
"""


def ddl() -> list[str]:
    """Return the triggers and the view, statement by statement, for a schema that has all tables already."""
    fences = [
        _trigger(table, FENCE_TRIGGER, "insert or update or delete or truncate", "refuse_fenced") for table in _all()
    ]
    append_only = [
        _trigger(table.name, APPEND_ONLY_TRIGGER, "update or delete or truncate", "refuse_rewrite")
        for table in game_tables.JOURNALS
    ]
    logs = [_log_trigger(table, event) for table in LOGGED for event in LOG_TRIGGERS]
    rows = [_log_row_trigger(table, event) for table in LOGGED if table in ROWS_NOTED for event in LOG_ROW_TRIGGERS]
    return [statement for pair in (*fences, *append_only, *logs, *rows) for statement in pair] + [FENCE_STATE]


def _all() -> list[str]:
    return [table.name for table in (*game_tables.ALL, *ALL)]


def _trigger(table: str, name: str, events: str, function: str) -> tuple[str, str]:
    return (
        f"create trigger {name} before {events} on {table} for each statement execute function ops.{function}()",
        f"alter table {table} enable always trigger {name}",
    )


def _log_trigger(table: str, event: str) -> tuple[str, str]:
    name = LOG_TRIGGERS[event]
    if event == TRUNCATE:
        return _trigger(table, name, event, "refuse_truncate")
    function = "note_statement" if table in ROWS_NOTED else "note_change"
    created = (
        f"create trigger {name} after {event} on {table} referencing {LOG_ROWS[event]}"
        f" for each statement execute function ops.{function}({_arguments(table)})"
    )
    return created, f"alter table {table} enable always trigger {name}"


def _log_row_trigger(table: str, event: str) -> tuple[str, str]:
    name, function = LOG_ROW_TRIGGERS[event], f"ops.note_{LOGGED[table][0]}_{event}()"
    return (
        f"create trigger {name} after {event} on {table} for each row execute function {function}",
        f"alter table {table} enable always trigger {name}",
    )


def _arguments(table: str) -> str:
    return ", ".join(f"'{argument}'" for argument in LOGGED[table])
