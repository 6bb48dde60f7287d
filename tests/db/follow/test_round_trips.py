"""Cutover, follow, rollback, play on SQLite, and again: what nobody touched is as in the beginning, to the byte.

A run makes three; `--exhaustive`, as every night, ten.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from db.legacy.source import opened
from db.servers import Server
from game.legacy import sidecars, sqlite_values
from tests.db.cutover.cutover_world import World, made
from tests.db.follow.followed import on_a_thread, receipts, wait_for_receipt

TRIPS = 3
EVERY_NIGHT = 10
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


def trip(world: World, number: int) -> None:
    """One round trip, with a request on each side, and the same again after each move: it is answered as before."""
    world.cutover(offline=False)
    with on_a_thread(world) as follower:
        assert world.save(0, f"there-{number}").status_code == 200
        wait_for_receipt(world, f"there-{number}")
        report = world.rollback(offline=False)
        assert follower.future.result(60).outcome == "returned"
    assert report.live is not None
    assert world.save(0, f"there-{number}").json()["replayed"]
    assert world.save(0, f"back-{number}").status_code == 200
    assert (world.phase(), world.legacy_fence(), world.engine()) == ("returned", "open", "legacy")


def test_round_trips_leave_what_nobody_touched_as_it_was(
    server: Server, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    trips = EVERY_NIGHT if request.config.getoption("--exhaustive") else TRIPS
    with made(server, tmp_path) as world:
        path = world.env.legacy.path
        played = frozenset({world.unfinished[0][0]})
        columns, before, size = schema(path), rows_of(path, but=played), path.stat().st_size
        for number in range(trips):
            trip(world, number)
        assert schema(path) == columns
        assert rows_of(path, but=played) == before
        assert path.stat().st_size < size + MOST_GROWTH
        log = sidecars.log_of(path)
        assert not log.exists() or log.stat().st_size < MOST_LOG
        names = [f"{way}-{number}" for way in ("back", "there") for number in range(trips)]
        assert receipts(world, "%") == names
        with closing(sqlite_values.connect(path, readonly=True)) as file:
            query = "SELECT seq FROM sudamr_action_receipts WHERE user_id = ? ORDER BY seq"
            assert [seq for (seq,) in file.execute(query, tuple(played))] == list(range(1, 2 * trips + 1))
