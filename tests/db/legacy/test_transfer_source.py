"""Tests that other files are refused and left alone, and that a legacy file is read whole, its log included."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from db.errors import Failure, Refusal
from db.legacy.comparison import compare_files
from db.legacy.source import SourceRow, chunks, opened
from db.samples import seed
from db.transfer import profile
from tests.db.transfer.transferring import seeded


def nothing(path: Path) -> None:
    """Make no file at all."""


def a_folder(path: Path) -> None:
    path.mkdir()


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def empty(path: Path) -> None:
    path.touch()


def text(path: Path) -> None:
    path.write_text("id,gold\nuser-1,5\n", encoding="utf-8")


def cut_off(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\x00" + b"\x00" * 20)


def garbled(path: Path) -> None:
    seeded(path)
    content = bytearray(path.read_bytes())
    content[100:4096] = b"\xff" * 3996
    path.write_bytes(content)


def cut_in_half(path: Path) -> None:
    seeded(path)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def without_users(path: Path) -> None:
    _sqlite(path, "CREATE TABLE cities (name TEXT)")


def without_users_in_wal_mode(path: Path) -> None:
    _sqlite(path, "PRAGMA journal_mode=WAL", "CREATE TABLE cities (name TEXT)")


def users_as_a_view(path: Path) -> None:
    _sqlite(path, "CREATE TABLE people (id TEXT)", "CREATE VIEW users AS SELECT id FROM people")


def users_without_an_id(path: Path) -> None:
    _sqlite(path, "CREATE TABLE users (name TEXT)")


def users_with_a_column_spelt_otherwise(path: Path) -> None:
    _sqlite(path, "CREATE TABLE users (id TEXT, GOLD INTEGER)")


def in_utf_16(path: Path) -> None:
    _sqlite(path, "PRAGMA encoding='UTF-16le'", "CREATE TABLE users (id TEXT)")


def _sqlite(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (nothing, "no such file"),
        (a_folder, "a folder"),
        (a_pipe, "a pipe"),
        (empty, "an empty file"),
        (text, "a file of another kind"),
        (cut_off, "database"),
        (garbled, "malformed"),
        (cut_in_half, "malformed"),
        (without_users, "tables: cities"),
        (without_users_in_wal_mode, "tables: cities"),
        (users_as_a_view, "tables: people"),
        (users_without_an_id, "no such column"),
        (users_with_a_column_spelt_otherwise, "one spelt `GOLD`"),
        (in_utf_16, "one in UTF-16le"),
    ],
)
def test_what_is_no_legacy_file_is_refused_and_left_alone(
    make: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "game.db"
    make(path)
    before = _state(tmp_path)
    with pytest.raises(Refusal) as refusal:
        profile(path)
    assert message in refusal.value.found
    assert refusal.value.where == str(path)
    assert refusal.value.expected
    assert refusal.value.do
    assert "\n" not in refusal.value.found
    assert refusal.value.exit_code == 2
    assert _state(tmp_path) == before


def _state(folder: Path) -> dict[str, bytes | None]:
    return {path.name: path.read_bytes() if path.is_file() else None for path in folder.iterdir()}


def test_comparing_with_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal):
        compare_files(seeded(tmp_path / "game.db"), tmp_path / "none.db")


def test_a_hot_journal_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "game.db"
    writer = (
        "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('CREATE TABLE users (id TEXT, filler TEXT)')\n"
        "c.execute('PRAGMA cache_size = 1'); c.execute('BEGIN')\n"
        "for n in range(2000): c.execute('INSERT INTO users VALUES (?, ?)', (str(n), 'x' * 500))\n"
        "os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", writer, str(path)], check=False).returncode == -signal.SIGKILL
    before = _state(tmp_path)
    assert "game.db-journal" in before
    with pytest.raises(Refusal, match="hot journal"):
        profile(path)
    assert _state(tmp_path) == before


def test_a_locked_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "game.db"
    _sqlite(path, "CREATE TABLE users (id TEXT)")
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(Refusal, match="locked"), opened(path, lock_timeout_seconds=0.1):
        pass
    holder.close()


def test_a_page_that_is_garbled_in_the_middle_is_a_failure(tmp_path: Path) -> None:
    path = seeded(tmp_path / "game.db")
    pages = path.stat().st_size // 4096
    with path.open("r+b") as file:
        file.seek(pages // 2 * 4096)
        file.write(b"\xff" * 4096 * (pages // 4))
    with pytest.raises(Failure, match="malformed"):
        profile(path)


def test_what_lies_in_the_write_ahead_log_is_read(tmp_path: Path) -> None:
    path = seeded(tmp_path / "game.db")
    service = sqlite3.connect(path, isolation_level=None)
    service.execute("UPDATE users SET gold = 424242 WHERE rowid = 1")
    assert path.with_name("game.db-wal").stat().st_size > 0
    with opened(path) as source:
        gold = source.tables["users"].columns.index("gold")
        assert next(source.rows("users")).cells[gold] == 424242
    service.close()


def test_reading_a_file_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = seeded(tmp_path / "game.db")
    before = _state(tmp_path)
    profile(path)
    assert _state(tmp_path) == before


def test_a_reader_does_not_take_the_log_from_a_service_that_has_it_open(tmp_path: Path) -> None:
    path = seeded(tmp_path / "game.db")
    with opened(path) as source:
        service = sqlite3.connect(path, isolation_level=None)
        service.execute("UPDATE users SET gold = 77 WHERE rowid = 1")
        assert source.count("users") == 12
    assert service.execute("SELECT gold FROM users WHERE rowid = 1").fetchone() == (77,)
    service.execute("UPDATE users SET gold = 78 WHERE rowid = 1")
    assert sqlite3.connect(path).execute("SELECT gold FROM users WHERE rowid = 1").fetchone() == (78,)
    service.close()


@pytest.mark.parametrize(
    ("sizes", "runs"),
    [
        ([], []),
        ([1, 2, 3], [[1, 2, 3]]),
        ([6, 5], [[6], [5]]),
        ([10, 1], [[10], [1]]),
        ([2, 11, 2], [[2], [11], [2]]),
        ([11, 12, 1, 1], [[11], [12], [1, 1]]),
    ],
)
def test_a_chunk_holds_ten_bytes_here_and_a_larger_row_travels_alone(sizes: list[int], runs: list[list[int]]) -> None:
    rows = [SourceRow(n, (), {}, size) for n, size in enumerate(sizes)]
    assert [[row.bytes for row in chunk] for chunk in chunks(rows, 10)] == runs


def test_a_large_row_is_handed_on_before_the_next_one_is_read() -> None:
    read: list[int] = []

    def rows() -> Iterator[SourceRow]:
        for n in (1, 99, 1):
            read.append(n)
            yield SourceRow(n, (), {}, n)

    groups = chunks(rows(), 10)
    assert len(next(groups)) == 1
    assert len(next(groups)) == 1
    assert read == [1, 99]


def test_the_profile_counts_what_is_there_and_shows_no_value(tmp_path: Path) -> None:
    path = tmp_path / "game.db"
    seed.empty_legacy(path)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("INSERT INTO users (id, gold, inventory, mail) VALUES ('user-1', 5, '[1]', '[broken')")
    connection.execute("INSERT INTO users (id, gold, inventory) VALUES ('user-2', 'many', x'00ff')")
    connection.execute("INSERT INTO user_credentials VALUES ('hana', 'a hash', 'user-1')")
    connection.close()
    profiled = profile(path)
    assert profiled.players == 2
    columns = {column.name: column for table in profiled.tables if table.name == "users" for column in table.columns}
    assert columns["gold"].classes == {"integer": 1, "text": 1}
    assert columns["inventory"].classes == {"text": 1, "blob": 1}
    assert (columns["inventory"].documents, columns["inventory"].broken) == (1, 0)
    assert (columns["mail"].documents, columns["mail"].broken) == (1, 1)
    assert columns["mail"].largest == len("[broken")
    assert profiled.largest[:2] == ("users", "mail")
    assert "a hash" not in repr(profiled)
    assert "a hash" not in str([list(table.lines()) for table in profiled.tables])


def test_two_files_that_differ_are_told_apart_without_a_value(tmp_path: Path) -> None:
    left = seeded(tmp_path / "left.db")
    for change, named in [
        (
            "UPDATE user_credentials SET passwordHash = 'another' WHERE rowid = 3",
            "user_credentials row 3, passwordHash",
        ),
        ("UPDATE users SET gold = gold || 'x' WHERE rowid = 2", "users row 2, gold"),
        ("DELETE FROM kv WHERE rowid = 1", "kv"),
        ("INSERT INTO kv VALUES ('another', 'value')", "kv row 13: only in the second file"),
        ("UPDATE kv SET rowid = 1000 WHERE rowid = (SELECT max(rowid) FROM kv)", "kv"),
        ("UPDATE kv SET value = CAST(value AS BLOB) WHERE rowid = 1", "kv row 1, value"),
        ("CREATE INDEX richest ON users (gold)", "index: none and richest"),
        ("PRAGMA user_version = 9", "pragma user_version: 0 and 9"),
    ]:
        right = tmp_path / "right.db"
        for old in tmp_path.glob("right.db*"):
            old.unlink()
        right.write_bytes(left.read_bytes())
        _sqlite(right, change)
        differences = compare_files(left, right)
        assert any(difference.startswith(named) for difference in differences), (change, differences)
        assert not any("another" in difference for difference in differences)
    assert compare_files(left, left) == []


@pytest.mark.parametrize(
    ("left", "right"),
    [("1", "'1'"), ("1", "1.0"), ("'a'", "x'61'"), ("NULL", "''"), ("'a'", "'a' || char(0)"), ("0.0", "-0.0")],
)
def test_values_of_other_storage_classes_or_bytes_differ(left: str, right: str, tmp_path: Path) -> None:
    for name, value in (("left.db", left), ("right.db", right)):
        _sqlite(tmp_path / name, "CREATE TABLE users (id, value)", f"INSERT INTO users VALUES ('user-1', {value})")
    differences = compare_files(tmp_path / "left.db", tmp_path / "right.db")
    assert len(differences) == 1
    assert differences[0].startswith("users row 1, value: ")
