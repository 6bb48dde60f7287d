"""Runs for each command of Alembic, which loads it by its name.

`db.schema.migrate` hands it the connection, and a hook for each revision applied.
"""

from __future__ import annotations

from alembic import context

from db import tables
from db.schema import revisions


def run() -> None:
    """Run the revision in a transaction, after the statements in `before`. Without a connection, print its SQL."""
    connection = context.config.attributes.get("connection")
    context.configure(
        connection=connection,
        dialect_name=None if connection is not None else "postgresql",
        dialect_opts=None if connection is not None else revisions.PLAIN,
        target_metadata=tables.metadata,
        version_table=tables.VERSION_TABLE,
        on_version_apply=context.config.attributes.get("on_version_apply"),
    )
    with context.begin_transaction():
        for statement in context.config.attributes.get("before", ()):
            context.execute(statement)
        context.run_migrations()


run()
