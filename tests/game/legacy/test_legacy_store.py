"""Tests what only the legacy store meets: other writers, older files, and a file that must keep its bytes."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from db.legacy import declared_tables
from db.samples import builders, seed
from game.errors import Refused, StoreUnavailable
from game.legacy import file_journals, sqlite_values
from game.legacy.sqlite_values import Cell
from game.legacy.store import LegacyStore
from game.rules.commands import ClaimMail, Command, Enhance, Equip, FinishTournament
from harness.play import invariants
from tests.game.places import LegacyPlace
from tests.game.playing_on_stores import ask

HANA = {
    "gold": 5000,
    "level": 30,
    "bag": {"fan": "푸른 바람 부채", "fan2": "은결 바람 부채", "stone": {"name": "하급 강화석", "quantity": 20}},
    "worn": ["fan2"],
    "mail": {"m1": {"gold": 50, "items": {"골드 꾸러미1": 2}}},
    "tournaments": {"world": {}},
}
CLAIM = ClaimMail("m1")
OLDEST_COLUMNS = 73
"""Of `users`, in the oldest files that are out there."""


@pytest.fixture
def hana(legacy: LegacyPlace) -> LegacyPlace:
    legacy.put(builders.player("hana", **HANA))
    return legacy


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite_values.connect(path)) as connection:
        yield connection


def row(path: Path) -> dict[str, Cell]:
    with opened(path) as connection:
        cursor = connection.execute("SELECT * FROM users WHERE id = 'hana'")
        return dict(zip([column[0] for column in cursor.description], cursor.fetchone(), strict=True))


def journals(path: Path) -> set[str]:
    with opened(path) as connection:
        listed = connection.execute(
            "SELECT name FROM sqlite_master WHERE name LIKE 'sudamr\\_%' ESCAPE '\\' AND type = 'table'"
        )
        return {str(name) for (name,) in listed}


@pytest.mark.plan(27)
@pytest.mark.parametrize(
    ("command", "written"),
    [
        (Equip("fan"), {"inventory", "equipment"}),
        (Enhance("fan"), {"inventory", "gold", "blacksmithXp"}),
        (CLAIM, {"inventory", "gold", "mail"}),
        (FinishTournament("world"), {"lastWorldTournament", "tournamentScore", "cumulativeTournamentScore"}),
    ],
    ids=["equip", "enhance", "claim_mail", "finish_tournament"],
)
def test_a_command_writes_the_columns_that_it_changes_and_no_other(
    hana: LegacyPlace, command: Command, written: set[str]
) -> None:
    before = row(hana.path)
    ask(hana.store, command)
    after = row(hana.path)
    assert {column for column in after if not sqlite_values.same(before[column], after[column])} == written


def test_elements_that_a_command_does_not_touch_keep_their_bytes(hana: LegacyPlace) -> None:
    fan = '{"id":"fan","name":"푸른 바람 부채", "type":"equipment","slot":"fan","grade":"normal","x":1.50,"stars":0}'
    stone = '{"id":"b","name":"\\uac00","type":"material","quantity":2e0}'
    spaced = f"[ {fan},{stone} ]"
    with opened(hana.path) as connection:
        connection.execute("UPDATE users SET inventory = ?, equipment = '{}' WHERE id = 'hana'", (spaced,))
    ask(hana.store, Equip("fan"))
    kept = str(row(hana.path)["inventory"])
    assert '"x":1.50' in kept
    assert kept.endswith(f",{stone} ]")
    assert json.loads(kept)[0]["isEquipped"] is True


def test_the_journals_are_made_with_the_first_write_and_not_before(hana: LegacyPlace) -> None:
    hana.store.read("hana")
    hana.store.status()
    with pytest.raises(Refused):
        ask(hana.store, ClaimMail("m9"))
    assert journals(hana.path) == set()
    ask(hana.store, CLAIM)
    assert journals(hana.path) == {journal.name for journal in file_journals.TABLES.values()}


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_the_files_journal_mode_stays_and_every_commit_is_synced(legacy: LegacyPlace, mode: str) -> None:
    with opened(legacy.path) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
    legacy.put(builders.player("hana", **HANA))
    assert not ask(legacy.store, CLAIM).replayed
    with opened(legacy.path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == (mode,)
    assert isinstance(legacy.store, LegacyStore)
    with legacy.store.begin() as unit:
        assert unit._connection.execute("PRAGMA synchronous").fetchone() == (3,)


def test_another_writers_lock_is_waited_for_and_then_a_503(hana: LegacyPlace) -> None:
    store = LegacyStore(hana.path, busy_timeout_seconds=0.01)
    slept: list[float] = []
    with opened(hana.path) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="tx_rolled_back: database is locked"):
            ask(store, CLAIM, slept=slept)
        other.execute("ROLLBACK")
    assert len(slept) == 3
    assert not ask(store, CLAIM).replayed
    store.close()


def test_a_command_has_the_write_lock_before_it_reads(hana: LegacyPlace) -> None:
    with (
        closing(sqlite_values.connect(hana.path, timeout_seconds=0)) as other,
        hana.store.begin(),
        pytest.raises(sqlite3.OperationalError, match="database is locked"),
    ):
        other.execute("BEGIN IMMEDIATE")


def test_commands_of_one_process_take_turns_and_do_not_wait_for_ever(hana: LegacyPlace) -> None:
    store = LegacyStore(hana.path, busy_timeout_seconds=0.01)
    with store.begin(), pytest.raises(StoreUnavailable, match="other commands of this process"):
        ask(store, CLAIM)
    assert not ask(store, CLAIM).replayed
    store.close()


def test_a_reader_that_holds_a_delete_journal_file_delays_the_commit_and_loses_nothing(legacy: LegacyPlace) -> None:
    with opened(legacy.path) as connection:
        connection.execute("PRAGMA journal_mode = delete")
    legacy.put(builders.player("hana", **HANA))
    store = LegacyStore(legacy.path, busy_timeout_seconds=0.01)
    with opened(legacy.path) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM users").fetchone()
        with pytest.raises(StoreUnavailable, match="tx_rolled_back"):
            ask(store, CLAIM)
        reader.execute("ROLLBACK")
    assert not ask(store, CLAIM).replayed
    store.close()


def test_what_another_writer_saved_meanwhile_is_what_counts(hana: LegacyPlace) -> None:
    ask(hana.store, Equip("fan"))
    with opened(hana.path) as other:
        other.execute("UPDATE users SET gold = 7 WHERE id = 'hana'")
    ask(hana.store, CLAIM, "r2")
    assert row(hana.path)["gold"] == 57


def test_an_older_file_gets_the_column_that_a_command_needs(tmp_path: Path) -> None:
    path = tmp_path / "older.db"
    full_row = builders.legacy_row("hana", **HANA)
    with closing(sqlite3.connect(path)) as connection, connection:
        declared_tables.create(connection, user_columns=OLDEST_COLUMNS)
        names = declared_tables.names("users", OLDEST_COLUMNS)
        assert "blacksmithXp" not in names
        marks = ", ".join("?" for _ in names)
        connection.execute(
            f"INSERT INTO users VALUES ({marks})", [sqlite_values.bind(full_row[name]) for name in names]
        )
    store = LegacyStore(path)
    ask(store, Enhance("fan"))
    rows = store.read("hana")
    store.close()
    assert rows is not None
    assert invariants.breaches(rows) == []
    assert int(str(row(path)["blacksmithXp"])) == rows["users"][("hana",)]["forge_xp"] > 0


def test_a_file_that_is_not_there_is_unavailable_and_is_not_made(tmp_path: Path) -> None:
    store = LegacyStore(tmp_path / "none.db")
    with pytest.raises(StoreUnavailable, match="unable to open"):
        store.status()
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_something_else_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("no database at all" * 100)
    with pytest.raises(StoreUnavailable, match="not a database"):
        LegacyStore(tmp_path / "text.db").status()
    with closing(sqlite3.connect(tmp_path / "other.db")) as connection:
        connection.execute("CREATE TABLE t (x)")
    with pytest.raises(StoreUnavailable, match="no such table: users"):
        LegacyStore(tmp_path / "other.db").status()


def test_a_link_to_the_file_is_the_same_store(hana: LegacyPlace) -> None:
    link = hana.path.with_name("link.db")
    link.symlink_to(hana.path)
    linked = LegacyStore(link)
    assert linked.status().store == hana.store.status().store
    linked.close()


def test_players_of_a_seeded_file_play_on(tmp_path: Path) -> None:
    seed.seed_legacy(tmp_path / "seeded.db", 40, seed=5)
    store = LegacyStore(tmp_path / "seeded.db")
    with opened(tmp_path / "seeded.db") as connection:
        players = [str(player) for (player,) in connection.execute("SELECT id FROM users WHERE typeof(id) = 'text'")]
    played = 0
    for player in players:
        rows = store.read(player)
        assert rows is not None
        mail = [
            key[1] for key, letter in rows["user_mail"].items() if not letter["claimed"] and not letter["expires_at"]
        ]
        for mail_id in mail[:1]:
            if not rows["users"][(player,)]["held"]:
                ask(store, ClaimMail(str(mail_id)), player=player)
                played += 1
        assert invariants.breaches(store.read(player) or rows) == []
    store.close()
    assert played > 3


def test_a_row_whose_id_is_no_key_is_no_player(tmp_path: Path) -> None:
    place = LegacyPlace(tmp_path / "game.db")
    player = "long" * 1000
    place.put(builders.player(player))
    assert place.store.read(player) is None
    with place.store.begin() as unit:
        assert unit.load(player, "r1", ()) is None
    place.store.close()
