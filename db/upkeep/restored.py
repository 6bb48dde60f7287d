"""Looks at a restored copy: the standing checks of every player, and a smoke scenario played on it."""

from __future__ import annotations

from collections.abc import Callable

from db import ops
from db.cutover.ports import SmokeResult
from db.errors import Failure
from db.monitor.checks import game
from db.monitor.checks.tables import NOT_VALID
from game.urls import PostgresUrl


def inspect(url: PostgresUrl, play: Callable[[PostgresUrl], SmokeResult]) -> str:
    """Check every player of a restored copy and play on it; say what was checked. Raises Failure for what is wrong."""
    with ops.connect(url) as conn:
        for name, query in (
            ("gold and diamonds = opening + ledger", game.BALANCES),
            ("stock = opening + history", game.STOCK),
        ):
            wrong = conn.execute(query, game.OF_EVERYONE).fetchall()
            if wrong:
                raise Failure(name, f"{len(wrong):,} that differ: {wrong[0][1]}", where="the restored copy")
        if loose := conn.execute(NOT_VALID, [url.schema]).fetchall():
            raise Failure("every constraint validated", str(loose[0][1]), where="the restored copy")
        ((players,),) = conn.execute("select count(*) from users").fetchall()
    if not players:  # Everything about an empty copy adds up.
        raise Failure("players in the backup of a game that is played", "none", where="the restored copy")
    result = play(url)
    if result.failed or not result.passed:
        raise Failure("the smoke to pass", "; ".join(result.failed) or "no scenario", where="the restored copy")
    return f"restored, {players:,} players checked, {result.passed} scenarios played"
