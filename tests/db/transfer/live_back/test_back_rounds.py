"""Rounds bring the file to Postgres, whatever was done there: it ends as a whole write-back would leave it."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import pytest

from db import ops, transfer
from db.errors import Failure, Refusal
from db.ops import fence
from db.transfer.live_back import players
from db.transfer.live_back.file import FileTransactions
from db.transfer.live_back.rounds import LogLost, Rounds
from db.transfer.live_back.session import LiveWriteBack
from game.legacy import applied_log, sqlite_values
from game.legacy import fence as legacy_fence
from game.legacy.fence_schema import Owner
from harness.databases import Database, Databases
from tests.db.transfer.live_back.carrying import RUN, cut_over, differences, play, rows_of, session
from tests.db.transfer.live_back.played import WRITES, A, B
from tests.db.transfer.transferring import PASS, seeded, sqlite


@pytest.mark.parametrize("what", WRITES)
def test_a_round_brings_what_was_done_as_a_whole_write_back_does(
    live: LiveWriteBack, fenced_database: Database, source: Path, tmp_path: Path, what: str
) -> None:
    whole = tmp_path / "whole.db"
    shutil.copyfile(source, whole)
    play(fenced_database, *WRITES[what])
    transfer.write_back(fenced_database.owner, whole, pass_token=PASS)
    assert live.round().log_lines > 0
    assert rows_of(source) == rows_of(whole)
    assert differences(fenced_database, source) == ()
    assert live.prove().proof.mismatches == 0
    again = live.round()
    assert (again.cells, again.inserted, again.deleted, again.lines) == (0, 0, 0, 0)
    assert (live.waiting, live.lag) == (0, 0.0)


def test_what_was_not_touched_is_not_written(live: LiveWriteBack, fenced_database: Database) -> None:
    play(fenced_database, f"update users set gold = gold + 1, league = 'x' where id = {A}")
    result = live.round()
    assert (result.players, result.cells, result.inserted, result.deleted, result.lines) == (1, 2, 0, 0, 0)


def test_a_round_that_dies_before_it_forgets_its_lines_is_repeated(
    live: LiveWriteBack, fenced_database: Database, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(_rounds: Rounds) -> None:
        raise KeyboardInterrupt

    play(fenced_database, *WRITES["a claim"], *WRITES["new players"])
    with monkeypatch.context() as patched:
        patched.setattr(Rounds, "_committed", die)
        with pytest.raises(KeyboardInterrupt):
            live.round()
    after = rows_of(source)
    assert (live.waiting or 0) > 0
    assert live.round().cells == 0
    assert live.waiting == 1, "the places that Postgres noted of the new players"
    assert live.round().cells == 0
    assert live.waiting == 0
    assert rows_of(source) == after
    assert differences(fenced_database, source) == ()


def test_another_process_goes_on_from_the_two_stores_alone(
    live: LiveWriteBack, fenced_database: Database, source: Path
) -> None:
    play(fenced_database, *WRITES["everybody"])
    live.round()
    play(fenced_database, *WRITES["a claim"])
    live.conn.close()
    with session(fenced_database, source) as other:
        assert other.begin() is None
        assert other.round().lines > 0
    assert differences(fenced_database, source) == ()


def test_a_line_that_is_committed_after_later_ones_is_not_lost(
    live: LiveWriteBack, fenced_database: Database, source: Path
) -> None:
    with ops.connect(fenced_database.owner) as early:
        early.execute("begin")
        early.execute(f"update users set gold = gold + 70 where id = {A}".encode())
        play(fenced_database, f"update users set gold = gold + 5 where id = {B}")
        assert live.round().players == 1
        early.execute("commit")
    assert live.round().players == 1
    assert differences(fenced_database, source) == ()


def test_a_writer_in_another_database_hides_nothing(
    live: LiveWriteBack, fenced_database: Database, databases: Databases, source: Path
) -> None:
    other = databases.clone()
    try:
        with ops.connect(other.owner) as writer:
            writer.execute("begin")
            writer.execute("insert into users (id) values ('somebody')")
            play(fenced_database, *WRITES["everybody"])
            assert live.round().players > 0
            assert live.waiting == 0
            assert differences(fenced_database, source) == ()
            writer.execute("rollback")
    finally:
        databases.drop(other)


def test_the_last_round_is_part_of_the_transaction_that_leaves_postgres(
    live: LiveWriteBack, fenced_database: Database, source: Path
) -> None:
    play(fenced_database, *WRITES["a claim"], *WRITES["new players"])
    with ops.connect(fenced_database.owner) as conn, conn.transaction():
        conn.execute("lock table users in exclusive mode")
        owner = Owner(RUN, "the file")
        fence.raise_fence(conn, pass_token=PASS, owner=owner)
        assert live.last_round(conn).lines == 4
        fence.raise_fence(conn, state="moved", owner=owner)
    assert differences(fenced_database, source) == ()
    assert (live.waiting, live.lag) == (None, None)
    connection = sqlite_values.connect(source)
    legacy_fence.lift(connection)
    connection.close()
    assert not [name for name in names(source) if name.startswith("sudamr_fence")]


def names(path: Path) -> list[str]:
    with closing(sqlite_values.connect(path, readonly=True)) as connection:
        return [str(name) for (name,) in connection.execute("SELECT name FROM sqlite_master").fetchall()]


def test_a_last_round_whose_transaction_fails_leaves_the_lines(
    live: LiveWriteBack, fenced_database: Database, source: Path
) -> None:
    play(fenced_database, *WRITES["a claim"])
    with ops.connect(fenced_database.owner) as conn:
        with conn.transaction(force_rollback=True):
            conn.execute("lock table users in exclusive mode")
            fence.raise_fence(conn, pass_token=PASS)
            assert live.last_round(conn).lines == 4
        with pytest.raises(ValueError, match="raised the fence"):
            live.last_round(conn)
    play(fenced_database, *WRITES["everybody"])
    assert live.round().players > 0
    assert differences(fenced_database, source) == ()


def test_a_round_that_was_cut_off_between_two_parts_says_so_until_it_is_whole(
    live: LiveWriteBack, fenced_database: Database, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(fenced_database, *WRITES["everybody"])

    turn = FileTransactions.turn

    def cut(file: FileTransactions) -> None:
        turn(file)
        raise InterruptedError

    with monkeypatch.context() as patched:
        patched.setattr(players, "AT_ONCE", 1)
        patched.setattr(FileTransactions, "turn", cut)
        with pytest.raises(InterruptedError):
            live.round()
    followed = applied_log.read(live.file.connection)
    assert applied_log.has_part(live.file.connection)
    live.round()
    assert not applied_log.has_part(live.file.connection)
    assert followed is not None
    assert applied_log.read(live.file.connection) == (followed[0], followed[1] + 1)
    assert differences(fenced_database, source) == ()


LOST = {
    "a trigger switched off": (
        "alter table user_mail disable trigger sudamr_log_update",
        "without sudamr_log_update on user_mail",
    ),
    "a trigger that fires for the origin only": (
        "alter table users enable trigger sudamr_log_insert",
        "without sudamr_log_insert on users",
    ),
    "a trigger dropped": ("drop trigger sudamr_log_delete on key_values", "without sudamr_log_delete on key_values"),
    "a trigger switched off and on": (
        (
            "alter table users disable trigger sudamr_log_update;"
            " alter table users enable always trigger sudamr_log_update"
        ),
        "triggers were changed",
    ),
    "another function": (
        "create or replace function ops.note_change() returns trigger language plpgsql as 'begin return null; end'",
        "without function ops.note_change",
    ),
    "outgrown": (
        "update ops.change_capture set most = 0; select ops.bound_change_log('game', 1000000)",
        "off (outgrown)",
    ),
    "truncated under a pass": ("truncate user_stages", "off (truncated)"),
    "turned off": ("update ops.fence set log = null", "off (it was turned off)"),
}


@pytest.mark.parametrize("how", LOST)
def test_a_log_that_does_not_lead_on_is_named_and_begun_anew(
    live: LiveWriteBack, fenced_database: Database, source: Path, how: str
) -> None:
    statement, found = LOST[how]
    with ops.connect(fenced_database.owner) as conn:
        kept = [row[0] for row in conn.execute("select prosrc from pg_proc where proname = 'note_change'").fetchall()]
    play(fenced_database, *WRITES["everybody"], statement)
    with pytest.raises(LogLost) as caught:
        live.round()
    assert found in caught.value.found
    assert live.lag is None
    assert live.reason_to_begin_anew()
    if found.startswith("without"):
        with pytest.raises(Failure, match=found.removeprefix("without ")):
            live.begin()
        mend(fenced_database, kept[0])
    play(fenced_database, f"update users set gold = gold + 3 where id = {A}")
    assert live.begin() is not None
    assert differences(fenced_database, source) == ()
    play(fenced_database, f"update users set gold = gold + 3 where id = {A}")
    assert live.round().players == 1
    assert differences(fenced_database, source) == ()


def mend(database: Database, body: str) -> None:
    function = (
        "create or replace function ops.note_change() returns trigger language plpgsql security definer"
        f" set search_path = pg_catalog, pg_temp as $body${body}$body$"
    )
    trigger = (
        "create or replace trigger sudamr_log_delete after delete on key_values referencing old table as changed"
        " for each statement execute function ops.note_change('whole', 'kv')"
    )
    tables = ("user_mail", "users", "key_values")
    switches = [f"alter table {table} enable always trigger sudamr_log_{e}" for table in tables for e in EVENTS]
    play(database, function, trigger, *switches)


EVENTS = ("insert", "update", "delete", "truncate")


def test_a_file_that_is_older_than_what_was_forgotten_is_known(
    live: LiveWriteBack, fenced_database: Database, source: Path
) -> None:
    sqlite(source, "PRAGMA wal_checkpoint(TRUNCATE)")
    older = source.read_bytes()
    play(fenced_database, *WRITES["everybody"])
    live.round()
    live.file.close()
    live.conn.close()
    source.write_bytes(older)
    for end in ("-wal", "-shm"):
        source.with_name(source.name + end).unlink(missing_ok=True)
    with session(fenced_database, source) as other:
        play(fenced_database, f"update users set gold = gold + 1 where id = {A}")
        with pytest.raises(LogLost, match="rounds"):
            other.round()
        assert other.begin() is not None
    assert differences(fenced_database, source) == ()


def test_a_server_that_may_lack_what_the_file_was_given_is_written_back_anew(
    live: LiveWriteBack, fenced_database: Database, source: Path
) -> None:
    play(fenced_database, f"update users set gold = gold + 1 where id = {A}")
    live.round()
    capture = live.capture
    assert capture is not None
    with ops.connect(fenced_database.owner) as conn:  # What the lost primary had done, and another timeline.
        timeline = conn.execute("select left(pg_walfile_name(pg_current_wal_lsn()), 8)").fetchone()
    assert (capture.followed,) == (f"{capture.log}.{timeline[0] if timeline else ''}",)
    with live.file.writing():
        live.file.connection.execute("UPDATE users SET gold = gold + 50 WHERE rowid = 7")
        applied_log.write(live.file.connection, f"{capture.log}.0000FFFF", capture.rounds + 1)
    play(fenced_database, f"update users set gold = gold + 1 where id = {A}")
    with pytest.raises(LogLost):
        live.round()
    assert live.lag is None
    assert "may lack what the file was given" in (live.reason_to_begin_anew() or "")
    assert live.begin() is not None
    assert live.reason_to_begin_anew() is None
    assert differences(fenced_database, source) == ()


def test_a_file_of_another_database_is_refused(live: LiveWriteBack, fenced_database: Database, source: Path) -> None:
    connection = sqlite_values.connect(source)
    legacy_fence.raise_fence(connection, state="moved", pass_token=PASS, owner=Owner(RUN, "another"))
    connection.close()
    play(fenced_database, "update ops.fence set log = null")
    with pytest.raises(Refusal, match="names another database"):
        live.begin()


def test_a_player_whom_the_database_lacks_is_never_deleted_from_the_file(
    live: LiveWriteBack, fenced_database: Database, source: Path
) -> None:
    before = rows_of(source)
    play(
        fenced_database,
        f"create temp table g as select {A} as id",
        "delete from user_equipment where user_id in (select id from g)",
        *(f"delete from {table} where user_id in (select id from g)" for table in CHILDREN),
        "delete from users where id in (select id from g)",
    )
    with pytest.raises(Refusal, match="1 missing"):
        live.round()
    assert rows_of(source) == before


CHILDREN = (
    "user_inventory",
    "user_mail",
    "user_tournaments",
    "user_equipment_presets",
    "user_quests",
    "user_milestones",
    "user_missions",
    "user_stages",
)


def test_a_column_that_an_older_file_lacks_is_added(fenced_database: Database, tmp_path: Path) -> None:
    source = seeded(tmp_path / "old.db", 12, user_columns=73, anomalies=False)
    cut_over(fenced_database, source)
    with session(fenced_database, source) as live:
        live.begin()
        play(fenced_database, f"update users set forge_xp = 40 where id = {A}")
        assert live.round().added_columns == ["blacksmithXp"]
        assert differences(fenced_database, source) == ()
        assert live.round().added_columns == []


def test_many_players_are_written_some_at_a_time(fenced_database: Database, tmp_path: Path) -> None:
    source = seeded(tmp_path / "many.db", 250)
    cut_over(fenced_database, source)
    with session(fenced_database, source) as live:
        live.begin()
        play(
            fenced_database,
            "update users set gold = gold + 1, nickname = nickname || 'x'",
            "insert into users (id) select 'new-' || n from generate_series(1, 230) n",
        )
        assert live.round().inserted == 230
        assert differences(fenced_database, source) == ()


def test_a_row_that_sqlite_changes_is_never_committed(
    live: LiveWriteBack, fenced_database: Database, source: Path
) -> None:
    before = rows_of(source)
    play(
        fenced_database,
        'update legacy_rows set cells = regexp_replace(cells, \'"lastLoginAt":[0-9]+\', \'"lastLoginAt":"12"\')'
        f" where source = 'users' and key = {A}",
    )
    with pytest.raises(Failure, match=r"users row \d+, lastLoginAt"):
        live.round()
    assert rows_of(source) == before
    assert (live.waiting or 0) > 0


def test_the_files_own_triggers_do_not_answer(fenced_database: Database, source: Path) -> None:
    sqlite(
        source,
        "CREATE TRIGGER seen AFTER UPDATE OF gold ON users"
        " BEGIN UPDATE users SET lastLoginAt = 1 WHERE id = NEW.id; END",
    )
    cut_over(fenced_database, source)
    with session(fenced_database, source) as live:
        live.begin()
        play(fenced_database, *WRITES["everybody"])
        live.round()
    assert differences(fenced_database, source) == ()
    assert "seen" in names(source)
