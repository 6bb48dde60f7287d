"""Make room for the number and the chain of each receipt, and for the player's newest."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nullable, and without a default: no row is rewritten, and a process of before goes on without them."""
    op.execute("alter table users add column seq bigint, add column chain text")
    op.execute("alter table action_receipts add column seq bigint, add column chain text")


def downgrade() -> None:
    """Never: production goes forward, or back to a snapshot."""
    raise NotImplementedError("restore a snapshot instead")
