"""Tell the service the draw epoch, which is kept beside the fence."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A view takes more columns at its end without being dropped, so the service goes on reading it."""
    op.execute("""
        create or replace view fence_state as
        select
            coalesce((
                select f.state
                from ops.fence f
                join pg_catalog.pg_namespace n on n.nspname = f.schema
                join pg_catalog.pg_class c on c.relnamespace = n.oid
                where c.oid = 'users'::regclass
            ), 'fenced') as state,
            (select e.name from ops.environment e) as environment,
            (
                select f.draw_epoch
                from ops.fence f
                join pg_catalog.pg_namespace n on n.nspname = f.schema
                join pg_catalog.pg_class c on c.relnamespace = n.oid
                where c.oid = 'users'::regclass
            ) as draw_epoch
    """)


def downgrade() -> None:
    """Never: production goes forward, or back to a snapshot."""
    raise NotImplementedError("restore a snapshot instead")
