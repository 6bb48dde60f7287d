"""Replays of the quarantine in tests, and what stands in the database before and after."""

from __future__ import annotations

import json

from db import ops
from db.console.progress import Silent
from db.ops import Phase, fence
from db.quarantine import replaying
from db.quarantine.results import Replayed
from game import tables
from game.postgres.store import PostgresStore
from harness.databases import Database


def replay(database: Database, **wish: object) -> Replayed:
    with ops.lock(database.owner, run="replay-1", why="a test") as held:
        return replaying.replay(held, Silent(), **wish)  # type: ignore[arg-type]  # a test names only what matters


def rows(database: Database, *names: str) -> dict[str, list[str]]:
    """Every row of the tables, sorted; of kept cells the order carries no meaning."""
    with ops.connect(database.owner) as conn:
        return {
            name: sorted(_plain(name, row) for row in conn.execute(f"select * from {name}").fetchall())
            for name in names or [table.name for table in tables.ALL]
        }


def _plain(name: str, row: tuple[object, ...]) -> str:
    read = [*row[:-1], json.loads(str(row[-1]))] if name == "legacy_rows" else row
    return json.dumps(read, sort_keys=True, ensure_ascii=False, default=str)


def kept(database: Database) -> list[tuple[object, ...]]:
    """Return what is still in the quarantine and was not loaded."""
    query = (
        "select kind, source_table, key, column_name, path, position, storage, original, rule, reason from quarantine"
        " where loaded_by is null order by 2, 3, 4, 5, 8"
    )
    with ops.connect(database.owner) as conn:
        return conn.execute(query).fetchall()


def playing(database: Database) -> PostgresStore:
    """Open the loaded copy to players, as a cutover does."""
    with ops.connect(database.owner) as conn:
        fence.lift(conn)
        conn.execute("update ops.phase set phase = %s", (Phase.LIVE,))
    return PostgresStore(database.service)


def column(database: Database, query: str) -> list[object]:
    with ops.connect(database.owner) as conn:
        return [row[0] for row in conn.execute(query).fetchall()]
