"""Check that every receipt and every player has a number, and keep it so by the columns."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Validating blocks no player. SET NOT NULL then reads no row, for the check has proven it."""
    op.execute("alter table users validate constraint users_numbered")
    op.execute("alter table action_receipts validate constraint action_receipts_numbered")
    op.execute("alter table action_receipts validate constraint action_receipts_seq_check")
    op.execute("alter table users alter column seq set not null, alter column chain set not null")
    op.execute("alter table action_receipts alter column seq set not null, alter column chain set not null")
    # The columns themselves say by now what each of these did.
    for table in ("users", "action_receipts"):
        op.execute(f"-- squawk-ignore ban-drop-constraint\nalter table {table} drop constraint {table}_numbered")


def downgrade() -> None:
    """Never: production goes forward, or back to a snapshot."""
    raise NotImplementedError("restore a snapshot instead")
