"""Let no receipt and no player be without a number from now on."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Checks that are not validated: no row is read."""
    op.execute(
        "alter table users add constraint users_numbered check (seq is not null and chain is not null) not valid"
    )
    op.execute("alter table action_receipts add constraint action_receipts_seq_check check (seq >= 1) not valid")
    op.execute(
        "alter table action_receipts"
        " add constraint action_receipts_numbered check (seq is not null and chain is not null) not valid"
    )


def downgrade() -> None:
    """Never: production goes forward, or back to a snapshot."""
    raise NotImplementedError("restore a snapshot instead")
