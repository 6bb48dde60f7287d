"""Legacy files made to order: their shape, their anomalies, and what is never done."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from db import ops
from db.errors import Refusal
from db.legacy import declared_tables
from db.ops import Phase, fence
from db.samples import anomalies, seed
from db.samples.random_players import random_players
from game.legacy import codec, sqlite_values
from game.legacy.sqlite_values import Cell
from game.postgres.store import PostgresStore
from game.rows import Rows, compare
from harness.databases import Database

PLAYERS = 60


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, seed.Seeded]:
    path = tmp_path_factory.mktemp("legacy") / "game.db"
    return path, seed.seed_legacy(path, PLAYERS, seed=3)


def rows_of(path: Path, table: str) -> list[dict[str, Cell]]:
    with closing(sqlite_values.connect(path, readonly=True)) as connection:
        cursor = connection.execute(f"SELECT * FROM {table} ORDER BY rowid")
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]


def declared(path: Path, table: str) -> list[tuple[str, str]]:
    with closing(sqlite_values.connect(path, readonly=True)) as connection:
        return [(row[1], row[2]) for row in connection.execute(f"PRAGMA table_info({table})")]


def test_every_table_has_its_columns_as_declared(made: tuple[Path, seed.Seeded]) -> None:
    path, _ = made
    for table, columns in declared_tables.COLUMNS.items():
        assert declared(path, table) == [(name, kind) for name, kind, _constraint in columns]


def test_a_file_is_in_wal_mode_whole_and_alone(made: tuple[Path, seed.Seeded]) -> None:
    path, _ = made
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert [file.name for file in path.parent.iterdir()] == ["game.db"]


def test_a_player_takes_thirty_kilobytes_and_more(made: tuple[Path, seed.Seeded]) -> None:
    path, _ = made
    sizes = [sum(len(sqlite_values.original(cell)) for cell in row.values()) for row in rows_of(path, "users")]
    assert sum(sizes) / len(sizes) > 30_000


def test_every_table_has_rows_and_every_player_a_secret(made: tuple[Path, seed.Seeded]) -> None:
    path, result = made
    assert [row["userId"] for row in rows_of(path, "user_credentials")] == list(result.ids)
    assert len(rows_of(path, "users")) == result.players == PLAYERS
    assert rows_of(path, "live_games")
    assert {"guilds", "announcements", "adminLogs"} <= {row["key"] for row in rows_of(path, "kv")}
    assert rows_of(path, "schema_version") == [{"version": seed.LEGACY_SCHEMA_VERSION}]


def test_every_oddity_is_present(made: tuple[Path, seed.Seeded]) -> None:
    _, result = made
    assert set(result.by_anomaly) == {anomaly.name for anomaly in anomalies.ANOMALIES}
    assert len(result.by_anomaly["an_item_id_that_two_players_have"]) == 2


def test_an_oddity_changes_the_columns_that_it_names_and_no_others(
    made: tuple[Path, seed.Seeded], tmp_path: Path
) -> None:
    path, result = made
    seed.seed_legacy(tmp_path / "clean.db", PLAYERS, seed=3, anomalies=False)
    touched = {player: set(result.emptied.get(player, ())) for player in result.ids}
    for anomaly in anomalies.ANOMALIES:
        for player in result.by_anomaly[anomaly.name]:
            touched[player] |= set(anomaly.columns)
    for odd, clean in zip(rows_of(path, "users"), rows_of(tmp_path / "clean.db", "users"), strict=True):
        changed = {column for column in odd if not sqlite_values.same(odd[column], clean[column])}
        assert changed <= touched[str(odd["id"])]
        # An empty value may be what the column held already.
        assert bool(changed) == bool(touched[str(odd["id"])]) or str(odd["id"]) in result.emptied


def test_the_flag_of_what_is_worn_and_of_what_is_not_may_disagree(made: tuple[Path, seed.Seeded]) -> None:
    path, result = made
    flags = {}
    for name in ("worn_flag_that_disagrees", "worn_item_whose_flag_disagrees"):
        (row, *_) = (row for row in rows_of(path, "users") if row["id"] in result.by_anomaly[name])
        rows = codec.decode_row(row, rowid=1).rows
        worn = {record["item_id"] for record in rows["user_equipment"].values()}
        flags |= {item["worn_flag"]: item["id"] in worn for item in rows["user_inventory"].values()}
    assert (flags[True], flags[False]) == (False, True)


def test_storage_classes_disagree_with_what_is_declared(made: tuple[Path, seed.Seeded]) -> None:
    path, _ = made
    users = rows_of(path, "users")
    classes = {column: {sqlite_values.storage(row[column]) for row in users} for column in users[0]}
    assert {"text", "integer"} <= classes["inventorySlots"]
    assert {"integer", "real", "text"} <= classes["gold"]
    assert "blob" in classes["mail"]
    assert any(isinstance(row["nickname"], sqlite_values.BadText) for row in users)
    assert any("\x00" in row["nickname"] for row in users if isinstance(row["nickname"], str))


def test_who_is_held_is_known_and_the_others_can_play(made: tuple[Path, seed.Seeded]) -> None:
    path, result = made
    held = set()
    for n, row in enumerate(rows_of(path, "users"), start=1):
        (user,) = codec.decode_row(row, rowid=n).rows["users"].values()
        if user["held"]:
            held.add(user["id"])
    assert held == result.held
    assert 0 < len(held) < PLAYERS / 2


def test_players_have_things_to_do_and_tournaments_in_every_state(tmp_path: Path) -> None:
    seed.seed_legacy(tmp_path / "clean.db", 20, seed=1, anomalies=False)
    counts: Counter[object] = Counter()
    for n, row in enumerate(rows_of(tmp_path / "clean.db", "users"), start=1):
        rows = codec.decode_row(row, rowid=n).rows
        counts.update(
            (record["kind"], record["status"], record["claimed"]) for record in rows["user_tournaments"].values()
        )
        counts["mail"] += any(not mail["claimed"] for mail in rows["user_mail"].values())
        counts["slots"] += any(item["slot"] for item in rows["user_inventory"].values())
        counts["worn"] += bool(rows["user_equipment"])
    assert counts["mail"] >= 18
    assert counts["slots"] == 20
    assert counts["worn"] >= 15
    for kind in ("neighborhood", "national", "world"):
        for state in (("bracket_ready", False), ("round_in_progress", False), ("complete", False), ("complete", True)):
            assert counts[(kind, *state)]


def test_the_same_seed_gives_the_same_file(tmp_path: Path) -> None:
    seed.seed_legacy(tmp_path / "a.db", 12, seed=9)
    seed.seed_legacy(tmp_path / "b.db", 12, seed=9)
    seed.seed_legacy(tmp_path / "c.db", 12, seed=10)
    assert (tmp_path / "a.db").read_bytes() == (tmp_path / "b.db").read_bytes()
    assert (tmp_path / "a.db").read_bytes() != (tmp_path / "c.db").read_bytes()


@pytest.mark.parametrize("columns", [73, 80])
def test_older_files_lack_columns_and_newer_ones_have_more(tmp_path: Path, columns: int) -> None:
    seed.seed_legacy(tmp_path / "game.db", 2, user_columns=columns)
    assert len(declared(tmp_path / "game.db", "users")) == columns


def test_an_empty_file_has_all_tables_and_no_rows(tmp_path: Path) -> None:
    seed.empty_legacy(tmp_path / "game.db")
    assert all(rows_of(tmp_path / "game.db", table) == [] for table in declared_tables.COLUMNS)


@pytest.mark.parametrize("taken", ["game.db", "game.db-wal"])
def test_an_existing_file_is_never_overwritten(tmp_path: Path, taken: str) -> None:
    (tmp_path / taken).write_text("precious")
    with pytest.raises(Refusal, match="expected a name that is free"):
        seed.seed_legacy(tmp_path / "game.db", 3)
    assert [file.name for file in tmp_path.iterdir()] == [taken]
    assert (tmp_path / taken).read_text() == "precious"


def test_a_folder_that_is_missing_and_a_number_too_small_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="expected a folder to write into"):
        seed.seed_legacy(tmp_path / "nowhere" / "game.db", 3)
    with pytest.raises(Refusal, match="expected at least one player"):
        seed.seed_legacy(tmp_path / "game.db", 0)


class Interrupted(Exception):
    """Stands for whatever ends the making half-way."""


def test_nothing_is_left_of_a_file_that_was_not_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_args: object) -> object:
        raise Interrupted

    monkeypatch.setattr("db.samples.legacy_tables.live_game", interrupt)
    with pytest.raises(Interrupted):
        seed.seed_legacy(tmp_path / "game.db", 3)
    assert list(tmp_path.iterdir()) == []


def test_players_for_postgres_are_those_that_the_builder_makes(database: Database) -> None:
    result = seed.seed_postgres(database.owner, "test", 25, seed=6)
    assert len(result.ids) == 25
    with closing(PostgresStore(database.service)) as store:
        for player in random_players(25, seed=6):
            made = player.rows()
            stored = store.read(player.id)
            assert stored is not None
            assert compare(made, Rows({name: stored.get(name, {}) for name in made})) == {}


@pytest.mark.plan(30)
def test_postgres_is_seeded_behind_its_fence(fenced_database: Database) -> None:
    seed.seed_postgres(fenced_database.owner, "test", 3)
    with ops.connect(fenced_database.owner) as conn:
        assert conn.execute("SELECT count(*) FROM users").fetchone() == (3,)
        assert fence.state(conn) == "fenced"


def test_players_that_are_there_are_not_added_to(database: Database) -> None:
    seed.seed_postgres(database.owner, "test", 3)
    with pytest.raises(Refusal, match="expected a database without players; found 3"):
        seed.seed_postgres(database.owner, "test", 3)


@pytest.mark.parametrize("environment", ["production", "staging"])
def test_no_environment_of_real_players_is_seeded(database: Database, environment: str) -> None:
    with pytest.raises(Refusal, match="expected development or test"):
        seed.seed_postgres(database.owner, environment, 3)


def test_a_database_of_another_environment_is_not_seeded(database: Database) -> None:
    with pytest.raises(Refusal, match="development"):
        seed.seed_postgres(database.owner, "development", 3)


@pytest.mark.plan(30)
def test_a_database_is_emptied_of_players_and_stays_fenced(fenced_database: Database) -> None:
    seed.seed_postgres(fenced_database.owner, "test", 3)
    seed.empty_postgres(fenced_database.owner, "test")
    with ops.connect(fenced_database.owner) as conn:
        assert conn.execute("SELECT count(*) FROM users").fetchone() == (0,)
        assert fence.state(conn) == "fenced"


ACTS: dict[str, Callable[[Database, Callable[[], None]], object]] = {
    "reset": lambda database, confirm: seed.empty_postgres(database.owner, "test", confirm=confirm),
    "seed": lambda database, confirm: seed.seed_postgres(database.owner, "test", 3, confirm=confirm),
}


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize(
    ("phase", "do"),
    [
        (Phase.LIVE, "invoke rollback --env test"),
        (Phase.LOADING, "invoke cutover --env test --abort"),
        (Phase.RETURNED, "invoke rollback --env test"),
    ],
)
def test_what_players_play_on_or_a_move_needs_is_neither_emptied_nor_filled(
    phase: Phase, do: str, act: str, database: Database
) -> None:
    seed.seed_postgres(database.owner, "test", 3)
    with ops.connect(database.owner) as conn:
        conn.execute("update ops.phase set phase = %s", (phase,))
    asked: list[None] = []
    with pytest.raises(Refusal, match=r"a target that|a rollback that") as caught:
        ACTS[act](database, lambda: asked.append(None))
    assert do in caught.value.do
    assert not asked
    with ops.connect(database.owner) as conn:
        assert conn.execute("SELECT count(*) FROM users").fetchone() == (3,)


@pytest.mark.parametrize("act", ACTS)
def test_a_move_that_begins_while_the_question_is_open_is_seen(act: str, fenced_database: Database) -> None:
    def begins() -> None:
        with ops.connect(fenced_database.owner) as conn:
            conn.execute("update ops.phase set phase = 'loading'")

    with pytest.raises(Refusal, match="a target that no cutover has begun to fill"):
        ACTS[act](fenced_database, begins)


def test_no_environment_of_real_players_is_emptied(database: Database) -> None:
    seed.seed_postgres(database.owner, "test", 3)
    with pytest.raises(Refusal, match="expected development or test"):
        seed.empty_postgres(database.owner, "production")
    with ops.connect(database.owner) as conn:
        assert conn.execute("SELECT count(*) FROM users").fetchone() == (3,)
