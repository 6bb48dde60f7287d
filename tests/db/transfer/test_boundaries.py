"""Where something is read or written a part at a time: a part that is exactly full, one short of it, and one beyond."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from db import ops, transfer
from db.legacy import receipts
from db.legacy.source import UNIT_BYTES, opened
from db.samples import builders, seed
from db.transfer import cursors, heads
from game import tables
from game.legacy import numbering, sqlite_values
from game.rules.commands import ClaimMail
from game.runs import runs
from harness.databases import Database
from tests.db.transfer.transferring import PASS, load, moved, seeded, value, written_to
from tests.fixtures.numbered import GIVEN, take_numbers_away
from tests.game.places import LegacyPlace
from tests.game.playing_on_stores import ask

AROUND = pytest.mark.parametrize("beyond", [-1, 0, 1])
PLAYERS = 6


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (4, [[2, 2], [3, 1], [5]]),
        (5, [[2, 2], [3, 1], [5]]),
        (8, [[2, 2, 3, 1], [5]]),
        (7, [[2, 2, 3], [1, 5]]),
        (13, [[2, 2, 3, 1, 5]]),
        (12, [[2, 2, 3, 1], [5]]),
        (1, [[2], [2], [3], [1], [5]]),
    ],
)
def test_a_run_is_as_heavy_as_it_may_be_and_no_heavier(limit: int, expected: list[list[int]]) -> None:
    assert [*runs([2, 2, 3, 1, 5], int, limit)] == expected


@AROUND
@pytest.mark.parametrize("rows", [1, 3, PLAYERS])
def test_a_chunk_that_is_exactly_full_is_loaded_and_carried_back(
    fenced_database: Database, tmp_path: Path, rows: int, beyond: int
) -> None:
    source = seeded(tmp_path / "game.db", PLAYERS, anomalies=False)
    with opened(source) as file:
        weights = [row.bytes + UNIT_BYTES * sum(row.units.values()) for row in file.rows("users")]
    limit = sum(weights[:rows]) + beyond
    load(fenced_database, source, chunk_bytes=limit)
    first = value(fenced_database.owner, "select rows from transfer_checkpoints where source_table = 'users' and n = 1")
    assert first == len(next(runs(weights, int, limit)))
    assert first == max(1, rows - (beyond < 0))
    transfer.prove(source, fenced_database.owner).check()
    before = source.read_bytes()
    counts = transfer.write_back(fenced_database.owner, moved(source), pass_token=PASS)
    assert (counts.cells, counts.inserted) == (0, 0)
    assert len(before) <= len(source.read_bytes())


def records(database: Database) -> list[dict[str, object]]:
    with ops.connect(database.owner) as conn, conn.transaction():
        return [dict(row) for row in cursors.stream(conn, tables.user_inventory, order=("user_id", "id"))]


@AROUND
def test_a_stream_of_exactly_a_chunk_gives_every_record(
    database: Database, monkeypatch: pytest.MonkeyPatch, beyond: int
) -> None:
    seed.seed_postgres(database.owner, "test", 3)
    expected = records(database)
    sizes = []
    for record in expected:
        texts = sum(len(text.encode()) for text in record.values() if isinstance(text, str))
        sizes.append(texts + cursors.CELL_BYTES * len(record))
    for limit in (sum(sizes), sum(sizes[:5]), sum(sizes[:-1]), sizes[0]):
        monkeypatch.setattr(cursors, "CHUNK_BYTES", limit + beyond)
        assert records(database) == expected


@AROUND
def test_sizes_that_fill_a_fetch_exactly_give_every_record(
    database: Database, monkeypatch: pytest.MonkeyPatch, beyond: int
) -> None:
    seed.seed_postgres(database.owner, "test", 2)
    expected = records(database)
    monkeypatch.setattr(cursors, "CHUNK_BYTES", 3_000)
    for fetch in (len(expected), len(expected) // 2):
        monkeypatch.setattr(cursors, "_SIZES_A_FETCH", fetch + beyond)
        assert records(database) == expected


@pytest.fixture
def three_players(tmp_path: Path) -> Path:
    place = LegacyPlace(tmp_path / "game.db")
    for player in ("hana", "jun", "sena"):
        place.put(builders.player(player, **GIVEN))
        ask(place.store, ClaimMail("m1"), f"{player} r1", player=player)
    place.store.close()
    return place.path


@AROUND
def test_heads_are_compared_to_the_last_player(
    fenced_database: Database, three_players: Path, monkeypatch: pytest.MonkeyPatch, beyond: int
) -> None:
    load(fenced_database, three_players)
    with written_to(fenced_database.owner) as conn:
        conn.execute("update users set seq = seq + 1")
    monkeypatch.setattr(heads, "_MOST", 3 + beyond)
    with opened(three_players) as source, ops.connect(fenced_database.owner) as conn:
        assert len([*heads.differences(source, conn)]) == 3


@AROUND
def test_receipts_are_numbered_to_the_last_player(
    three_players: Path, monkeypatch: pytest.MonkeyPatch, beyond: int
) -> None:
    take_numbers_away(three_players)
    monkeypatch.setattr(receipts, "PLAYERS_AT_ONCE", 3 + beyond)
    assert receipts.number_open(three_players) == 3
    with closing(sqlite_values.connect(three_players, readonly=True)) as conn:
        assert receipts.unnumbered(conn) == ""
        assert [numbering.head(conn, player).seq for player in ("hana", "jun", "sena")] == [1, 1, 1]


@AROUND
def test_a_batch_of_made_players_that_is_exactly_full_has_each_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beyond: int
) -> None:
    monkeypatch.setattr(seed, "BATCH_PLAYERS", 4)
    made = seed.seed_legacy(tmp_path / "game.db", 4 + beyond, anomalies=False)
    with closing(sqlite_values.connect(tmp_path / "game.db", readonly=True)) as conn:
        assert [player for (player,) in conn.execute("SELECT id FROM users ORDER BY rowid")] == list(made.ids)
    assert len(set(made.ids)) == 4 + beyond
