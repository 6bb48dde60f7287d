"""Refuses to empty or to fill a target that players play on, or that a move needs."""

from __future__ import annotations

from db import ops
from db.errors import Refusal
from db.ops import Phase, statements
from db.schema import migrate


def require_unused(conn: ops.Connection) -> Phase:
    """Return the phase. Raises Refusal if players play on the target, a cutover fills it, or a rollback left rows."""
    phase, name = ops.phase(conn), ops.named(conn)
    if phase is Phase.LIVE:
        raise live(conn)
    if phase is Phase.LOADING:
        raise Refusal(
            "a target that no cutover has begun to fill",
            f"the phase {phase}",
            where=ops.place(conn),
            do=f"Undo that cutover first: invoke cutover --env {name} --abort",
        )
    if phase is Phase.RETURNED and _filled(conn):
        raise Refusal(
            "a rollback that has put away what players did",
            "a copy that it left",
            where=ops.place(conn),
            do=f"Finish the rollback, which keeps these rows in another schema: invoke rollback --env {name}",
        )
    return phase


def live(conn: ops.Connection) -> Refusal:
    """Make the Refusal to load into, or to empty, a database on which players play."""
    return Refusal(
        "a target that nobody plays on",
        "a live one",
        where=ops.place(conn),
        do="Players play on it: leave it alone, or name another environment. To go back to the legacy file:"
        f" invoke rollback --env {ops.named(conn)}",
    )


def _filled(conn: ops.Connection) -> bool:
    return migrate.current(conn) is not None and statements.first_filled(conn, ["users"]) is not None
