"""Opens the legacy file after the point of no return of a live rollback; the tool does it, or its watchdog."""

from __future__ import annotations

import sqlite3

from db.cutover import fence_owner
from db.cutover.context import READ_ONLY_ENDS, RunContext
from db.cutover.turning import turning
from db.ops import Phase


def open_file(context: RunContext, using: sqlite3.Connection | None = None) -> None:
    """Open the file, once Postgres says that the game returned. The write-back brought the draw epoch back with it.

    using: a connection that knows the file already, for a window; by default one is opened.
    """
    owner_check = fence_owner.of_this_game_or_open(context.owner, context.env.legacy.path)
    with turning(context, "open", phases=(Phase.RETURNED,), owner_check=owner_check, using=using, renews=False):
        pass
    context.journal.write(READ_ONLY_ENDS)
