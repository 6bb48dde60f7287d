"""Find a player's receipts by their numbers, of which no two are equal."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Built while players play."""
    with op.get_context().autocommit_block():
        op.execute("create unique index concurrently action_receipts_user_id_seq_idx on action_receipts (user_id, seq)")


def downgrade() -> None:
    """Never: production goes forward, or back to a snapshot."""
    raise NotImplementedError("restore a snapshot instead")
