"""Carrying back: what players did on Postgres is in the file afterwards, whole or not at all, and nothing else is."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from db import ops, transfer
from db.errors import Failure, Refusal
from db.legacy.source import opened
from db.transfer import WriteBackCounts
from game.legacy import codec, sqlite_values
from game.legacy import fence as legacy_fence
from game.legacy.codec import mapping
from game.legacy.sqlite_values import Cell
from game.tables import CANARY_PREFIX
from harness.databases import Database
from tests.db.transfer.transferring import PASS, load, moved, seeded, sqlite, written_to


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A file with its anomalies, as a service left it."""
    return seeded(tmp_path / "game.db", 20)


def carry(database: Database, path: Path, token: str = PASS) -> WriteBackCounts:
    return transfer.write_back(database.owner, path, pass_token=token)


def play(database: Database, *statements: str) -> None:
    """Write what commands would have done, as plain SQL."""
    with written_to(database.owner) as conn:
        for statement in statements:
            assert conn.execute(statement).rowcount > 0, statement


def rows(path: Path, table: str = "users") -> dict[int, dict[str, Cell]]:
    """Every row by its rowid, its cells by column."""
    connection = sqlite_values.connect(path, readonly=True)
    cursor = connection.execute(f'SELECT rowid, * FROM "{table}"')
    names = [column[0] for column in cursor.description][1:]
    by_rowid = {row[0]: dict(zip(names, row[1:], strict=True)) for row in cursor}
    connection.close()
    return by_rowid


def first_player(database: Database) -> str:
    """A player with a bag, worn equipment and mail, whom nothing is wrong with."""
    with ops.connect(database.owner) as conn:
        row = conn.execute(
            "select u.id from users u where not held and exists (select from user_inventory i where i.user_id = u.id"
            " and i.quantity > 1) and exists (select from user_mail m where m.user_id = u.id and not m.claimed)"
            " and not exists (select from quarantine q where q.key = u.id) order by u.id limit 1"
        ).fetchone()
    assert row is not None
    return str(row[0])


def changed_cells(before: Path, after: Path) -> set[tuple[str, str]]:
    """The (player, column) pairs of `users` that differ."""
    old, new = rows(before), rows(after)
    assert list(old) == list(new)
    return {
        (str(old[position]["id"]), column)
        for position in old
        for column in new[position]
        if not sqlite_values.same(old[position].get(column), new[position][column])
    }


def test_what_was_played_is_in_the_file_and_every_other_byte_is_as_it_was(
    fenced_database: Database, source: Path, tmp_path: Path
) -> None:
    before = tmp_path / "before.db"
    before.write_bytes(source.read_bytes())
    load(fenced_database, source)
    player = first_player(fenced_database)
    play(
        fenced_database,
        f"update users set gold = gold + 50 where id = '{player}'",
        f"update user_mail set claimed = true where user_id = '{player}' and not claimed",
        f"insert into action_receipts values ('{player}', 'r-1', '{{}}', '{{}}', 5, 1, 'chain')",
        f"update users set seq = 1, chain = 'chain' where id = '{player}'",
        f"insert into currency_ledger values ('{player}', 'r-1', 1, 'gold', 50, 'mail', 5050)",
        f"insert into player_openings values ('{player}', 5000, 0, '{{}}')",
    )
    carried = carry(fenced_database, moved(source))
    assert (carried.players, carried.cells, carried.lines, carried.deleted) == (1, 2, 3, 0)
    assert changed_cells(before, source) == {(player, "gold"), (player, "mail")}
    old, new = (next(row for row in rows(path).values() if row["id"] == player) for path in (before, source))
    assert new["gold"] == int(str(old["gold"])) + 50
    assert all(letter["attachmentsClaimed"] for letter in json.loads(str(new["mail"])))
    ledger = sqlite3.connect(source).execute("SELECT * FROM sudamr_currency_ledger").fetchall()
    assert ledger == [(player, "r-1", 1, "gold", 50, "mail", 5050)]
    transfer.prove(source, fenced_database.owner).check()


def test_quests_missions_stages_and_presets_are_carried_back_in_their_place(
    fenced_database: Database, source: Path, tmp_path: Path
) -> None:
    before = tmp_path / "before.db"
    before.write_bytes(source.read_bytes())
    load(fenced_database, source)
    player = first_player(fenced_database)
    play(
        fenced_database,
        f"update user_quests set claimed = not claimed where user_id = '{player}' and id = 'q-daily-attend'",
        f"update user_milestones set activity = 77 where user_id = '{player}' and period = 'weekly'",
        f"update user_missions set amount = 0, collected = 7 where user_id = '{player}' and id = 'mission_attendance'",
        f"insert into user_stages values ('{player}', '유단자-99', 9000000, true, true)",
        f"insert into user_equipment_presets (user_id, name, position) values ('{player}', '새 세트', 9000000)",
        f"update users set stage_progress = 99 where id = '{player}'",
    )
    carried = carry(fenced_database, moved(source))
    columns = ("quests", "singlePlayerMissions", "singlePlayerProgress", "equipmentPresets", *mapping.STAGES.values())
    assert (carried.players, carried.cells) == (1, len(columns))
    assert changed_cells(before, source) == {(player, column) for column in columns}
    old, new = (next(row for row in rows(path).values() if row["id"] == player) for path in (before, source))
    assert new["clearedSinglePlayerStages"] == str(old["clearedSinglePlayerStages"])[:-1] + ',"유단자-99"]'
    quests, were = json.loads(str(new["quests"])), json.loads(str(old["quests"]))
    assert quests["weekly"] == were["weekly"] | {"activityProgress": 77}
    assert quests["daily"]["quests"][1:] == were["daily"]["quests"][1:]
    assert json.loads(str(new["equipmentPresets"]))[-1] == {"name": "새 세트", "equipment": {}}
    transfer.prove(source, fenced_database.owner).check()


def test_the_fence_stands_again_and_says_what_it_said(fenced_database: Database, source: Path) -> None:
    load(fenced_database, source)
    play(fenced_database, "update users set gold = gold + 1 where not held")
    carry(fenced_database, moved(source))
    connection = sqlite_values.connect(source)
    assert legacy_fence.state(connection) == "moved"
    assert legacy_fence.prove(connection) > 0
    connection.close()


def test_the_fence_covers_the_journals_that_were_made(fenced_database: Database, source: Path) -> None:
    load(fenced_database, source)
    player = first_player(fenced_database)
    play(
        fenced_database,
        f"insert into action_receipts values ('{player}', 'r', '', '', 1, 1, 'chain')",
        f"update users set seq = 1, chain = 'chain' where id = '{player}'",
    )
    carry(fenced_database, moved(source))
    connection = sqlite3.connect(source)
    with pytest.raises(sqlite3.IntegrityError, match="sudamr_fence"):
        connection.execute("DELETE FROM sudamr_action_receipts")
    connection.close()


def test_carrying_back_again_writes_nothing(fenced_database: Database, source: Path) -> None:
    load(fenced_database, source)
    play(fenced_database, "update users set diamonds = diamonds + 3 where not held")
    assert carry(fenced_database, moved(source)).cells > 0
    again = carry(fenced_database, source)
    assert (again.cells, again.lines, again.inserted, again.deleted) == (0, 0, 0, 0)


def test_more_play_after_a_first_carrying_back_is_added(fenced_database: Database, source: Path) -> None:
    load(fenced_database, source)
    player = first_player(fenced_database)
    for request in ("r-5", "r-1", "r-9", "r-3"):
        play(
            fenced_database,
            f"update users set gold = gold + 1 where id = '{player}'",
            f"insert into currency_ledger values ('{player}', '{request}', 1, 'gold', 1, 'mail', 1)",
        )
        assert carry(fenced_database, moved(source)).lines == 1
    lines = sqlite3.connect(source).execute("SELECT request_id FROM sudamr_currency_ledger").fetchall()
    assert lines == [("r-1",), ("r-3",), ("r-5",), ("r-9",)]


def test_two_players_may_swap_their_nicknames(fenced_database: Database, source: Path) -> None:
    load(fenced_database, source)
    before = rows(source)
    with written_to(fenced_database.owner) as conn:
        pair = conn.execute(
            "select id, nickname from users where not held and nickname is not null order by id limit 2"
        ).fetchall()
        (one, first), (other, second) = pair
        conn.execute("update users set nickname = 'between' where id = %s", (one,))
        conn.execute("update users set nickname = %s where id = %s", (first, other))
        conn.execute("update users set nickname = %s where id = %s", (second, one))
    carried = carry(fenced_database, moved(source))
    assert carried.cells == 2
    after = rows(source)
    assert list(after) == list(before)
    names = {row["id"]: row["nickname"] for row in after.values()}
    assert (names[one], names[other]) == (second, first)


def test_players_and_rows_come_and_go(fenced_database: Database, source: Path) -> None:
    load(fenced_database, source)
    play(
        fenced_database,
        "insert into users (id, nickname, gold) values ('user-zz-new', '새별', 7)",
        "delete from key_values where key = 'announcements'",
        "insert into key_values (key, value, position) values ('fresh', '[1]', 500)",
        "update key_values set value = '{}' where key = 'guilds'",
        "delete from live_games where position = 1",
    )
    carried = carry(fenced_database, moved(source))
    assert (carried.inserted, carried.deleted) == (2, 2)
    new = next(row for row in rows(source).values() if row["id"] == "user-zz-new")
    assert (new["gold"], new["nickname"]) == (7, "새별")
    kept = {row["key"]: row["value"] for row in rows(source, "kv").values()}
    assert kept["fresh"] == "[1]"
    assert kept["guilds"] == "{}"
    assert "announcements" not in kept
    transfer.prove(source, fenced_database.owner).check()


ONE = "(select key from legacy_rows where source = 'users' and key is not null order by key limit 1)"


@pytest.mark.parametrize(
    "deleted",
    [
        f"delete from legacy_rows where source = 'users' and key = {ONE}",
        "delete from legacy_rows where source = 'users' and key is null",
    ],
    ids=["a player", "a row that is kept whole"],
)
def test_a_player_whom_the_database_lacks_is_never_deleted_from_the_file(
    deleted: str, fenced_database: Database, source: Path
) -> None:
    sqlite(source, "INSERT INTO users (id) VALUES (x'00')")
    load(fenced_database, source)
    before = rows(moved(source))
    play(fenced_database, "update users set gold = gold + 1 where not held", deleted)
    with pytest.raises(Refusal, match="all 21 players of the legacy file in Postgres; found 1 missing: ") as caught:
        carry(fenced_database, source)
    assert caught.value.do.startswith("Nothing was written")
    assert rows(source) == before


def test_no_player_is_missing_after_a_vacuum_or_by_what_a_smoke_left(fenced_database: Database, source: Path) -> None:
    sqlite(source, "DELETE FROM users WHERE rowid = 2")  # A VACUUM closes the gap.
    load(fenced_database, source)
    sqlite(source, f"INSERT INTO users (id) VALUES ('{CANARY_PREFIX}1')", "VACUUM")
    with opened(source) as file, ops.connect(fenced_database.owner) as conn:
        assert transfer.find_missing(file, conn) == transfer.MissingPlayers(19, 0, ())
    carry(fenced_database, moved(source))
    assert len(rows(source)) == 19


def test_a_column_that_an_older_file_lacks_is_added_for_what_was_played(
    fenced_database: Database, tmp_path: Path
) -> None:
    source = seeded(tmp_path / "game.db", 12, user_columns=73, anomalies=False)
    assert "blacksmithXp" not in next(iter(rows(source).values()))
    load(fenced_database, source)
    player = first_player(fenced_database)
    play(fenced_database, f"update users set forge_xp = 40 where id = '{player}'")
    carried = carry(fenced_database, moved(source))
    assert carried.added_columns == ["blacksmithXp"]
    after = rows(source)
    assert {row["blacksmithXp"] for row in after.values() if row["id"] != player} == {None}
    assert [row["blacksmithXp"] for row in after.values() if row["id"] == player] == [40]
    transfer.back(fenced_database.owner, tmp_path / "copy.db")
    assert rows(tmp_path / "copy.db") == after
    assert carry(fenced_database, source).cells == 0


def test_the_files_own_triggers_do_not_answer(fenced_database: Database, source: Path) -> None:
    connection = sqlite3.connect(source, isolation_level=None)
    connection.execute(
        "CREATE TRIGGER seen AFTER UPDATE OF gold ON users"
        " BEGIN UPDATE users SET lastLoginAt = 1 WHERE id = NEW.id; END"
    )
    connection.close()
    load(fenced_database, source)
    play(fenced_database, "update users set gold = gold + 1 where not held")
    carried = carry(fenced_database, moved(source))
    assert carried.cells == carried.players > 0
    names = sqlite3.connect(source).execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
    assert ("seen",) in names


def not_fenced(path: Path) -> str:
    return PASS


def another_pass(path: Path) -> str:
    moved(path)
    return "another"


def without_a_table(path: Path) -> str:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("DROP TABLE kv")
    connection.close()
    moved(path)
    return PASS


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (not_fenced, "a fenced file"),
        (another_pass, "the pass of the run"),
        (without_a_table, "the file that was loaded, with its table kv"),
    ],
)
def test_a_file_that_must_not_be_written_is_refused_and_left_as_it_was(
    make: Callable[[Path], str], expected: str, fenced_database: Database, source: Path
) -> None:
    load(fenced_database, source)
    play(fenced_database, "update users set gold = gold + 1 where not held")
    token = make(source)
    before = source.read_bytes()
    with pytest.raises(Refusal, match=expected):
        carry(fenced_database, source, token)
    assert source.read_bytes() == before


def test_a_file_that_is_not_there_is_refused(fenced_database: Database, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="no such file"):
        carry(fenced_database, tmp_path / "none.db")
    assert list(tmp_path.iterdir()) == []


def test_what_the_file_cannot_hold_as_it_is_is_never_committed(fenced_database: Database, source: Path) -> None:
    load(fenced_database, source)
    player = first_player(fenced_database)
    play(
        fenced_database,
        "update users set gold = gold + 1 where not held",
        'update legacy_rows set cells = regexp_replace(cells, \'"lastLoginAt":[0-9]+\', \'"lastLoginAt":"12"\')'
        f" where key = '{player}'",
    )
    moved(source)
    before = rows(source)
    with pytest.raises(Failure, match=r"users row \d+, lastLoginAt") as failure:  # SQLite makes a number of it
        carry(fenced_database, source)
    assert failure.value.exit_code == 1
    assert rows(source) == before


def test_the_codec_reads_what_was_carried_back_as_the_database_has_it(fenced_database: Database, source: Path) -> None:
    load(fenced_database, source)
    player = first_player(fenced_database)
    play(
        fenced_database,
        f"update user_inventory set quantity = quantity + 4 where user_id = '{player}' and quantity > 1",
    )
    carry(fenced_database, moved(source))
    position, row = next((p, row) for p, row in rows(source).items() if row["id"] == player)
    bag = codec.decode_row(row, rowid=position).rows["user_inventory"]
    with ops.connect(fenced_database.owner) as conn:
        expected = dict(
            conn.execute("select id, quantity from user_inventory where user_id = %s", (player,)).fetchall()
        )
    assert {str(key[1]): record["quantity"] for key, record in bag.items()} == expected
