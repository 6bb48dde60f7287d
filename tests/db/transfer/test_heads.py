"""The newest receipt of each player is carried, there and back, and proven; a file without them is not loaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from db import ops, transfer
from db.errors import Failure, Refusal
from db.legacy import receipts
from db.ops import fence
from db.samples import builders
from game.chain import Head
from game.legacy import fence as legacy_fence
from game.legacy import numbering, sqlite_values
from game.rows import Rows
from game.rules.commands import ClaimMail, Enhance, Equip
from harness.databases import Database
from harness.play import invariants
from tests.db.transfer.transferring import PASS, load, written_to
from tests.fixtures.numbered import GIVEN, take_numbers_away
from tests.game.places import LegacyPlace, PostgresPlace
from tests.game.playing_on_stores import ask

PLAYERS = ("hana", "jun")


@pytest.fixture
def legacy(tmp_path: Path) -> Iterator[LegacyPlace]:
    place = LegacyPlace(tmp_path / "game.db")
    for player in (*PLAYERS, "nobody"):
        place.put(builders.player(player, **GIVEN))
    for player in PLAYERS:
        ask(place.store, ClaimMail("m1"), f"{player} r0", player=player)
        ask(place.store, Equip("fan"), f"{player} r1", player=player)
    yield place
    place.store.close()


def head_of(path: Path, player: str) -> Head:
    with closing(sqlite_values.connect(path, readonly=True)) as conn:
        return numbering.head(conn, player)


def heads_of(database: Database) -> dict[str, Head]:
    with ops.connect(database.owner) as conn:
        rows = conn.execute("select id, seq, chain from users").fetchall()
    return {player: Head(seq, chain) for player, seq, chain in rows}


def test_the_heads_are_carried_there_and_receipts_go_on_from_them_and_back(
    fenced_database: Database, legacy: LegacyPlace
) -> None:
    load(fenced_database, legacy.path)
    expected = {player: head_of(legacy.path, player) for player in PLAYERS}
    assert heads_of(fenced_database) == expected | {"nobody": Head()}
    with ops.connect(fenced_database.owner) as conn:
        fence.lift(conn)
    postgres = PostgresPlace(fenced_database)
    ask(postgres.store, Enhance("fan"), "on Postgres", player="hana")
    rows = postgres.store.read("hana") or Rows()
    postgres.store.close()
    assert invariants.breaches(rows) == []
    legacy.fence(pass_token=PASS)
    transfer.write_back(fenced_database.owner, legacy.path, pass_token=PASS)
    legacy.lift()
    assert head_of(legacy.path, "hana") == heads_of(fenced_database)["hana"]
    ask(legacy.store, ClaimMail("m1"), "back again", player="nobody")
    ask(legacy.store, Equip("fan2"), "back again", player="hana")
    assert head_of(legacy.path, "hana").seq == 4
    assert invariants.breaches(legacy.store.read("hana") or Rows()) == []


@pytest.mark.parametrize("change", ["seq = seq + 1", "chain = repeat('0', 64)", "seq = 0, chain = ''"])
def test_a_head_that_is_not_the_file_s_fails_the_proof(
    fenced_database: Database, legacy: LegacyPlace, change: str
) -> None:
    load(fenced_database, legacy.path)
    with written_to(fenced_database.owner) as conn:
        conn.execute(f"update users set {change} where id = 'hana'".encode())
    with pytest.raises(Failure, match="users hana: the newest receipt"):
        transfer.prove(legacy.path, fenced_database.owner).check()


def test_a_file_without_numbers_is_refused_until_it_is_numbered(fenced_database: Database, legacy: LegacyPlace) -> None:
    take_numbers_away(legacy.path)
    with pytest.raises(Refusal, match="without a number"):
        load(fenced_database, legacy.path)
    assert receipts.number_open(legacy.path) == 4
    load(fenced_database, legacy.path)


def test_what_was_played_goes_back_to_a_file_that_is_older_than_the_numbers(
    fenced_database: Database, legacy: LegacyPlace
) -> None:
    load(fenced_database, legacy.path)
    take_numbers_away(legacy.path)
    legacy.fence(pass_token=PASS)
    transfer.write_back(fenced_database.owner, legacy.path, pass_token=PASS)
    legacy.lift()
    assert {player: head_of(legacy.path, player) for player in PLAYERS} == {
        player: head for player, head in heads_of(fenced_database).items() if head.seq
    }


def test_a_fenced_file_is_not_numbered_by_others(legacy: LegacyPlace) -> None:
    take_numbers_away(legacy.path)
    legacy.fence(pass_token=PASS)
    assert receipts.number_open(legacy.path) == 0
    with closing(sqlite_values.connect(legacy.path, readonly=True)) as conn:
        assert legacy_fence.state(conn) == "fenced"
    assert receipts.number_all(legacy.path, pass_token=PASS) == 4


def test_a_database_of_before_the_numbers_is_carried_back_without_a_migration(
    fenced_database: Database, legacy: LegacyPlace
) -> None:
    load(fenced_database, legacy.path)
    take_numbers_away(legacy.path)
    with ops.connect(fenced_database.owner) as conn:
        for table in ("users", "action_receipts"):
            conn.execute(f"alter table {table} drop column seq, drop column chain".encode())
    legacy.fence(pass_token=PASS)
    transfer.write_back(fenced_database.owner, legacy.path, pass_token=PASS)
    legacy.lift()
    ask(legacy.store, Equip("fan2"), "back again", player="hana")
    assert head_of(legacy.path, "hana").seq == 3
