"""Tell the service its database's identity, and the other store of the move that the fence names."""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """The view finds its row once for all columns; it takes more at its end without being dropped."""
    op.execute("""
        create or replace view fence_state as
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
        where d.datname = pg_catalog.current_database()
    """)


def downgrade() -> None:
    """Never: production goes forward, or back to a snapshot."""
    raise NotImplementedError("restore a snapshot instead")
