"""Let the receipts of new players be numbered from their first one."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

needs_of_service = "numbered receipts"
"""A process that does not number receipts would leave new ones without a number."""


def upgrade() -> None:
    """A row that is there keeps its NULL, by which a command knows that the player's receipts are not numbered yet."""
    op.execute("alter table users alter column seq set default 0, alter column chain set default ''")


def downgrade() -> None:
    """Never: production goes forward, or back to a snapshot."""
    raise NotImplementedError("restore a snapshot instead")
