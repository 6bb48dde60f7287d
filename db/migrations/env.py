"""What Alembic runs for each command; `db.migrate` hands it the connection, and a hook for each revision applied."""

from __future__ import annotations

from alembic import context

from db import tables


def run() -> None:
    """Each revision in a transaction of its own, on the connection given; without one, as SQL text."""
    connection = context.config.attributes.get("connection")
    context.configure(
        connection=connection,
        dialect_name=None if connection is not None else "postgresql",
        target_metadata=tables.metadata,
        version_table=tables.VERSION_TABLE,
        transaction_per_migration=True,
        on_version_apply=context.config.attributes.get("on_version_apply"),
    )
    with context.begin_transaction():
        context.run_migrations()


run()
