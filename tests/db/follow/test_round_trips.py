"""Cutover, follow, rollback, play on SQLite, and again: what nobody touched is as in the beginning, to the byte.

In the second trip a newer version migrates Postgres while the file follows; from then on it is that version that moves.
A run makes two; `--exhaustive`, as every night, ten.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from psycopg import sql

from db import ops
from db.errors import Inconclusive
from db.legacy.source import opened
from db.ops.following import FollowState
from db.schema import drift, migrate, revisions
from db.schema.revisions import History
from db.servers import Server
from db.snapshots import kept
from game.legacy import sidecars, sqlite_values
from game.urls import PostgresUrl
from tests.db.cutover.cutover_world import World, made
from tests.db.follow.followed import Follower, on_a_thread, receipts, wait_for_receipt, wait_for_state
from tests.fixtures.revisions import write

TRIPS = 2
EVERY_NIGHT = 10
MIGRATED = 1
"""The trip in which a newer version migrates Postgres."""

NEXT = f"{int(revisions.read().head) + 1:04}"
REVISION = ("alter table users add column omen text", "create index luck on users (gold)")
MOST_GROWTH = 1 << 20
MOST_LOG = 8 << 20
"""SQLite brings its log back at 1,000 pages, 4 MB, and keeps the file for the next ones."""


def schema(path: Path) -> list[tuple[str, str, str]]:
    """Return every statement of the file's schema but our journals, which the game makes with its first write."""
    with closing(sqlite_values.connect(path, readonly=True)) as file:
        query = (
            "SELECT type, name, coalesce(sql, '') FROM sqlite_master WHERE tbl_name NOT LIKE 'sudamr_%' ORDER BY 1, 2"
        )
        return list(file.execute(query))


def rows_of(path: Path, *, but: frozenset[str]) -> dict[str, object]:
    """Return the rows of all tables of the game with their rowids, but those of some players and our journals."""
    rows: dict[str, object] = {}
    with opened(path) as file:
        for name in file.tables:
            if not name.startswith("sudamr_"):
                kept = [(row.position, row.cells) for row in file.rows(name) if not but & set(map(str, row.cells))]
                rows[name] = sorted(kept, key=repr)
    return rows


def lines_of_logs(world: World) -> int:
    """Return how many lines the change log of Postgres still has, of whatever trip."""
    with ops.connect(world.owner) as conn:
        row = conn.execute("select count(*) from ops.change_log").fetchone()
    assert row is not None
    return int(row[0])


def chains_left(world: World, player: str) -> list[list[tuple[int, str]]]:
    """Return the player's chain in each schema that a rollback put away, the oldest first."""
    with ops.connect(world.owner) as conn:
        kept_schemas = "select nspname from pg_namespace where starts_with(nspname, %s) order by 1"
        names = [name for (name,) in conn.execute(kept_schemas, (kept.ROLLED_BACK,)).fetchall()]
        query = sql.SQL("select seq, chain from {}.action_receipts where user_id = %s order by seq")
        return [conn.execute(query.format(sql.Identifier(name)), (player,)).fetchall() for name in names]


@pytest.fixture
def newer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], History]:
    """Make this process one of a newer version, which has a revision more; returns its revisions."""

    def become_newer() -> History:
        write(tmp_path / "more", NEXT, *REVISION)
        monkeypatch.setattr(revisions, "read", partial(revisions.read, tmp_path / "more"))
        monkeypatch.setattr(migrate, "drift", drift_of_newer)
        return revisions.read()

    return become_newer


def drift_of_newer(direct: PostgresUrl) -> list[str]:
    """Return what differs from the newer version's revisions: its tables have the column that the last one adds."""
    with ops.connect(direct) as conn:
        return drift.since(conn, direct.schema, revisions.read().revisions)


def trip(world: World, number: int, newer: Callable[[], History] | None = None) -> None:
    """One round trip, with a request on each side, and the same again after each move: it is answered as before.

    newer: a newer version migrates Postgres while the file follows. The process of the version before stops then.
    """
    world.cutover(offline=False)
    assert schema_of_postgres(world) == revisions.read().head
    with on_a_thread(world) as follower:
        assert world.save(0, f"there-{number}").status_code == 200
        wait_for_receipt(world, f"there-{number}")
        if newer is not None:
            history = newer()
            assert migrate.migrate(world.owner, environment="test", service_role=None).applied == [NEXT]
            assert world.save(0, f"there-{number}").json()["replayed"]
            with pytest.raises(Inconclusive, match=f"found {NEXT}"):
                follower.future.result(60)
            with on_a_thread(world, history=history) as other:
                goes_back(world, other)
        else:
            goes_back(world, follower)
    assert world.save(0, f"there-{number}").json()["replayed"]
    assert world.save(0, f"back-{number}").status_code == 200
    assert (world.phase(), world.legacy_fence(), world.engine()) == ("returned", "open", "legacy")


def goes_back(world: World, follower: Follower) -> None:
    wait_for_state(world, FollowState.FOLLOWING)
    report = world.rollback(offline=False)
    assert follower.future.result(60).outcome == "returned"
    assert report.live is not None


def schema_of_postgres(world: World) -> str | None:
    with ops.connect(world.owner) as conn:
        return migrate.current(conn)


def test_round_trips_leave_what_nobody_touched_as_it_was(
    server: Server, tmp_path: Path, request: pytest.FixtureRequest, newer: Callable[[], History]
) -> None:
    trips = EVERY_NIGHT if request.config.getoption("--exhaustive") else TRIPS
    with made(server, tmp_path) as world:
        path = world.env.legacy.path
        played = frozenset({world.unfinished[0][0]})
        columns, before, size = schema(path), rows_of(path, but=played), path.stat().st_size
        for number in range(trips):
            trip(world, number, newer if number == MIGRATED else None)
        assert schema(path) == columns
        assert rows_of(path, but=played) == before
        grown, log = path.stat().st_size - size, sidecars.log_of(path)
        log_bytes = log.stat().st_size if log.exists() else 0
        print(f"{trips} round trips: the file of {size:,} bytes grew by {grown:,}, its log has {log_bytes:,}")
        assert grown < MOST_GROWTH
        assert log_bytes < MOST_LOG
        assert lines_of_logs(world) == 0
        names = [f"{way}-{number}" for way in ("back", "there") for number in range(trips)]
        assert receipts(world, "%") == names
        with closing(sqlite_values.connect(path, readonly=True)) as file:
            query = "SELECT seq, chain FROM sudamr_action_receipts WHERE user_id = ? ORDER BY seq"
            chain = file.execute(query, tuple(played)).fetchall()
        assert [seq for seq, _digest in chain] == list(range(1, 2 * trips + 1))
        # Each Postgres that was left has the beginning of the same chain, to the last request that it granted.
        assert chains_left(world, *played) == [chain[: 2 * number + 1] for number in range(trips)]
