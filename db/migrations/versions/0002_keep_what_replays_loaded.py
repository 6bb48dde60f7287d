"""Keep beside each value of the quarantine which run loaded it again, and what an operator decided instead of it."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Columns without a default, so that no row is rewritten."""
    op.execute(
        "alter table quarantine add column loaded_by text, add column loaded_at bigint, add column replacement bytea"
    )


def downgrade() -> None:
    """Never: production goes forward, or back to a snapshot."""
    raise NotImplementedError("restore a snapshot instead")
