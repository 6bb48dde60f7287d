"""The fence of the legacy file: it holds against every writer, and leaves the file as it was."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from game.errors import FENCE_MESSAGE, Fenced, Moved, StoreFailure, StoreUnavailable
from game.legacy import fence, fence_schema, sqlite_values
from game.legacy.fence_schema import FenceMark
from tests.game.legacy.fenced_file import OWNER, WRITES, conn, everything, path, schema, stranger

__all__ = ["conn", "path"]


@pytest.mark.parametrize("write", WRITES)
def test_no_write_of_any_kind_gets_through(path: Path, conn: sqlite3.Connection, write: str) -> None:
    before = everything(path)
    fence.raise_fence(conn)
    with stranger(path) as other:
        with pytest.raises(sqlite3.IntegrityError, match=FENCE_MESSAGE) as error:
            other.execute(write)
        assert isinstance(fence.refused_by(error.value), Fenced)
        other.commit()
    fence.lift(conn)
    assert everything(path) == before


def test_reads_go_on_under_the_fence(path: Path, conn: sqlite3.Connection) -> None:
    fence.raise_fence(conn)
    with stranger(path) as other:
        assert other.execute("SELECT gold FROM rich").fetchall() == [(500,)]


def test_moved_is_told_from_fenced(path: Path, conn: sqlite3.Connection) -> None:
    fence.raise_fence(conn)
    fence.raise_fence(conn, state="moved")
    assert fence.state(conn) == "moved"
    with stranger(path) as other, pytest.raises(sqlite3.IntegrityError) as error:
        other.execute(WRITES[0])
    assert isinstance(fence.refused_by(error.value), Moved)


def test_other_errors_are_not_taken_for_the_fences(conn: sqlite3.Connection) -> None:
    with pytest.raises(sqlite3.IntegrityError) as error:
        conn.execute('INSERT INTO "table" VALUES (NULL)')
    assert fence.refused_by(error.value) is None


def test_a_lifted_fence_leaves_the_schema_as_it_was_to_the_byte(path: Path, conn: sqlite3.Connection) -> None:
    before = schema(path)
    fence.raise_fence(conn, pass_token="pass")
    assert schema(path) != before
    fence.raise_fence(conn, state="moved")
    fence.lift(conn)
    assert schema(path) == before
    assert fence.state(conn) == "open"


def test_lifting_where_there_is_no_fence_does_nothing(path: Path, conn: sqlite3.Connection) -> None:
    before = everything(path)
    fence.lift(conn)
    assert everything(path) == before


def test_what_is_the_fences_own_is_told_from_all_else(path: Path, conn: sqlite3.Connection) -> None:
    before = {row[1] for row in schema(path)}
    fence.raise_fence(conn)
    assert {row[1] for row in schema(path) if row[:2] not in fence_schema.own(conn)} == before
    assert fence_schema.strangers(conn) == []


STRANGERS = {
    "table sudamr_fence_notes": "CREATE TABLE sudamr_fence_notes (a TEXT)",
    "table Sudamr_Fence": "CREATE TABLE Sudamr_Fence (a TEXT)",
    "table sudamr_fence": "CREATE TABLE sudamr_fence (state TEXT, message TEXT)",
    "index sudamr_fence_by_gold": "CREATE INDEX sudamr_fence_by_gold ON users (gold)",
    "trigger sudamr_fence_of_gold": (
        "CREATE TRIGGER sudamr_fence_of_gold BEFORE UPDATE ON users WHEN new.gold < 0"
        " BEGIN SELECT RAISE(ABORT, 'no'); END"
    ),
}


@pytest.mark.parametrize(("name", "statement"), STRANGERS.items(), ids=STRANGERS.keys())
def test_the_games_own_under_a_name_of_the_fence_is_named_and_never_dropped(
    path: Path, conn: sqlite3.Connection, name: str, statement: str
) -> None:
    conn.execute(statement)
    before = everything(path)
    assert (fence_schema.strangers(conn), fence.state(conn)) == ([name], "open")
    with pytest.raises(StoreFailure, match=name):
        fence.raise_fence(conn)
    fence.lift(conn)
    assert everything(path) == before


def test_the_triggers_of_a_table_that_was_renamed_are_lifted_with_the_rest(
    path: Path, conn: sqlite3.Connection
) -> None:
    fence.raise_fence(conn)
    conn.execute("ALTER TABLE users RENAME TO players")
    assert fence_schema.strangers(conn) == []
    fence.lift(conn)
    assert not any("sudamr_fence" in line for line in everything(path))


def test_a_fence_says_whose_it_is_until_another_sets_it_anew(conn: sqlite3.Connection) -> None:
    fence.raise_fence(conn, owner=OWNER, pass_token="pass")
    assert fence.mark(conn) == FenceMark("fenced", OWNER)
    conn.execute("BEGIN IMMEDIATE")
    with fence.bypass(conn, "pass"):
        pass
    conn.commit()
    assert fence.mark(conn) == FenceMark("fenced", OWNER)
    fence.raise_fence(conn, state="moved")
    assert fence.mark(conn) == FenceMark("moved", None)
    fence.lift(conn)
    assert fence.mark(conn) == FenceMark("open", None)


def test_a_fence_from_before_it_bore_an_owner_holds_and_is_nobodys(conn: sqlite3.Connection) -> None:
    fence.raise_fence(conn, owner=OWNER, pass_token="pass")
    conn.executescript("ALTER TABLE sudamr_fence DROP COLUMN run; ALTER TABLE sudamr_fence DROP COLUMN target;")
    assert fence.mark(conn) == FenceMark("fenced", None)
    assert fence.prove(conn) > 0
    conn.execute("BEGIN IMMEDIATE")
    with fence.bypass(conn, "pass"):
        pass
    conn.commit()
    fence.lift(conn)
    assert fence.state(conn) == "open"


@pytest.mark.parametrize("change", [fence.lift, fence.raise_fence])
def test_a_check_sees_the_fence_that_is_changed_and_what_it_refuses_stays(
    path: Path, conn: sqlite3.Connection, change: Callable[..., None]
) -> None:
    fence.raise_fence(conn, owner=OWNER)
    before = everything(path)

    def check(mark: FenceMark) -> None:
        assert conn.in_transaction
        raise KeyError(mark)

    with pytest.raises(KeyError) as caught:
        change(conn, check=check)
    assert caught.value.args == (FenceMark("fenced", OWNER),)
    assert everything(path) == before


def test_while_the_fence_is_turned_nobody_else_can_turn_it(path: Path, conn: sqlite3.Connection) -> None:
    fence.raise_fence(conn, owner=OWNER)
    with closing(sqlite_values.connect(path, timeout_seconds=0)) as other:
        with fence.turning(conn, "moved", owner=OWNER), pytest.raises(StoreUnavailable, match="locked"):
            fence.lift(other, patience_seconds=0.1)
        assert fence.mark(other) == FenceMark("moved", OWNER)
        with pytest.raises(ZeroDivisionError), fence.turning(conn, "open"):
            raise ZeroDivisionError
        assert fence.mark(other) == FenceMark("moved", OWNER)


def test_the_pass_lets_its_bearer_write_and_nobody_else(path: Path, conn: sqlite3.Connection) -> None:
    fence.raise_fence(conn, pass_token="pass")
    conn.execute("BEGIN IMMEDIATE")
    with fence.bypass(conn, "pass"):
        conn.execute("UPDATE users SET gold = 7 WHERE id = 'a'")
    with stranger(path) as other:
        assert other.execute("SELECT gold FROM users WHERE id = 'a'").fetchone() == (5,)
        conn.commit()
        assert other.execute("SELECT gold FROM users WHERE id = 'a'").fetchone() == (7,)
        with pytest.raises(sqlite3.IntegrityError, match=FENCE_MESSAGE):
            other.execute(WRITES[0])
    assert fence.prove(conn) > 0


def test_a_table_made_with_the_pass_is_fenced_too(conn: sqlite3.Connection) -> None:
    fence.raise_fence(conn, pass_token="pass")
    conn.execute("BEGIN IMMEDIATE")
    with fence.bypass(conn, "pass"):
        conn.execute("CREATE TABLE sudamr_currency_ledger (n INTEGER)")
    conn.commit()
    with pytest.raises(sqlite3.IntegrityError, match=FENCE_MESSAGE):
        conn.execute("INSERT INTO sudamr_currency_ledger VALUES (1)")


def test_after_the_pass_the_same_transaction_is_fenced_again(conn: sqlite3.Connection) -> None:
    fence.raise_fence(conn, pass_token="pass")
    conn.execute("BEGIN IMMEDIATE")
    with fence.bypass(conn, "pass"):
        pass
    with pytest.raises(sqlite3.IntegrityError, match=FENCE_MESSAGE):
        conn.execute(WRITES[0])
    conn.rollback()


@pytest.mark.parametrize("token", ["wrong", ""])
def test_a_wrong_pass_opens_nothing(conn: sqlite3.Connection, token: str) -> None:
    fence.raise_fence(conn, pass_token="pass")
    conn.execute("BEGIN IMMEDIATE")
    with pytest.raises(Fenced), fence.bypass(conn, token):
        pass
    conn.rollback()
    assert fence.prove(conn) > 0


def test_without_a_pass_there_is_none_to_guess(conn: sqlite3.Connection) -> None:
    fence.raise_fence(conn, state="moved")
    conn.execute("BEGIN IMMEDIATE")
    with pytest.raises(Moved), fence.bypass(conn, ""):
        pass
    conn.rollback()


def test_the_file_keeps_the_passes_hash_alone(path: Path, conn: sqlite3.Connection) -> None:
    fence.raise_fence(conn, pass_token="a-pass-of-this-run")
    assert not any("a-pass-of-this-run" in line for line in everything(path))


def test_a_pass_that_fails_in_the_middle_leaves_the_fence(conn: sqlite3.Connection) -> None:
    fence.raise_fence(conn, pass_token="pass")
    conn.execute("BEGIN IMMEDIATE")
    with pytest.raises(ZeroDivisionError), fence.bypass(conn, "pass"):
        raise ZeroDivisionError
    conn.commit()
    assert fence.prove(conn) > 0


def test_a_commit_inside_the_pass_is_an_error_and_the_fence_stands(conn: sqlite3.Connection) -> None:
    fence.raise_fence(conn, pass_token="pass")
    conn.execute("BEGIN IMMEDIATE")
    with pytest.raises(ValueError, match="committed"), fence.bypass(conn, "pass"):
        conn.commit()
    assert fence.prove(conn) > 0


def test_a_pass_needs_an_open_transaction(conn: sqlite3.Connection) -> None:
    with pytest.raises(ValueError, match="open"), fence.bypass(conn, "pass"):
        pass


def test_the_proof_tries_each_write_and_keeps_none(path: Path, conn: sqlite3.Connection) -> None:
    fence.raise_fence(conn)
    before = everything(path)
    # Three tables have a row and are tried in three ways; the empty one is tried with INSERT.
    assert fence.prove(conn) == 3 * 3 + 1
    assert everything(path) == before


def test_the_proof_finds_a_table_that_was_rebuilt(conn: sqlite3.Connection) -> None:
    fence.raise_fence(conn)
    conn.executescript('ALTER TABLE "table" RENAME TO old; CREATE TABLE "table" (a INTEGER); DROP TABLE old;')
    with pytest.raises(fence.NotFenced, match="sudamr_fence_table_insert"):
        fence.prove(conn)


def test_the_proof_finds_a_trigger_that_lets_writes_through(path: Path, conn: sqlite3.Connection) -> None:
    fence.raise_fence(conn)
    conn.executescript(
        "DROP TRIGGER sudamr_fence_users_delete;"
        "CREATE TRIGGER sudamr_fence_users_delete BEFORE DELETE ON users WHEN 0"
        f" BEGIN SELECT RAISE(ABORT, '{FENCE_MESSAGE}: fenced'); END;"
    )
    before = everything(path)
    with pytest.raises(fence.NotFenced, match="sudamr_fence_users_delete"):
        fence.prove(conn)
    assert everything(path) == before


def test_an_open_file_is_not_proven_fenced(conn: sqlite3.Connection) -> None:
    with pytest.raises(fence.NotFenced):
        fence.prove(conn)


def test_a_writer_under_way_is_named_as_a_lock_and_nothing_is_changed(path: Path) -> None:
    before = schema(path)
    with stranger(path) as other, closing(sqlite_values.connect(path, timeout_seconds=0.05)) as conn:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="locked"):
            fence.raise_fence(conn, patience_seconds=0.1)
        other.rollback()
        assert not conn.in_transaction
    assert schema(path) == before


def test_a_reader_under_way_delays_the_fence_and_does_not_stop_it(path: Path) -> None:
    """Without a write-ahead log the reader holds up the COMMIT: it ends only when a second one was tried."""
    with stranger(path) as reader, closing(sqlite_values.connect(path, timeout_seconds=0)) as conn:
        commits = threading.Semaphore(0)
        conn.set_trace_callback(lambda statement: commits.release() if statement == "COMMIT" else None)
        cursor = reader.execute("SELECT id FROM users")
        cursor.fetchone()
        fencing = threading.Thread(target=fence.raise_fence, args=(conn,))
        fencing.start()
        for _ in range(1 if reader.execute("PRAGMA journal_mode").fetchone() == ("wal",) else 2):
            assert commits.acquire(timeout=10)
        cursor.close()
        fencing.join()
        assert fence.prove(conn) > 0


def test_the_fence_outlives_a_kill_right_after_it(path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; from game.legacy import fence, sqlite_values\n"
        "fence.raise_fence(sqlite_values.connect(Path(sys.argv[1]))); os.kill(os.getpid(), signal.SIGKILL)"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert ended.returncode == -9
    with closing(sqlite_values.connect(path)) as conn:
        assert fence.prove(conn) > 0


def test_a_kill_inside_the_pass_leaves_the_fence_and_no_write(path: Path, conn: sqlite3.Connection) -> None:
    fence.raise_fence(conn, pass_token="pass")
    before = everything(path)
    program = (
        "import os, signal, sys; from pathlib import Path; from game.legacy import fence, sqlite_values\n"
        "conn = sqlite_values.connect(Path(sys.argv[1])); conn.execute('BEGIN IMMEDIATE')\n"
        "with fence.bypass(conn, 'pass'):\n"
        "    conn.execute('DELETE FROM users'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert ended.returncode == -9
    assert everything(path) == before
    assert fence.prove(conn) > 0


def test_fencing_is_on_disk_whatever_the_connection_had(conn: sqlite3.Connection) -> None:
    conn.execute("PRAGMA synchronous = OFF")
    seen: list[str] = []
    conn.set_trace_callback(seen.append)
    fence.raise_fence(conn)
    assert seen.index("PRAGMA main.synchronous = EXTRA") < seen.index("BEGIN IMMEDIATE") < seen.index("COMMIT")
    assert conn.execute("PRAGMA synchronous").fetchone() == (0,)
