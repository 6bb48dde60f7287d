"""Tests that following the refusal of a hostile file makes it one that can be moved."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from db import transfer
from db.errors import Refusal
from db.legacy import schema_code
from tests.db.legacy import hostile_files
from tests.db.legacy.unusual_cases import run_elsewhere
from tests.db.transfer.transferring import seeded, sqlite


def _run_the_sql(path: Path, refusal: Refusal) -> None:
    assert refusal.do.startswith("With the game stopped, in the file: ")
    run_elsewhere(path, refusal.do.partition(": ")[2])


def _rebuild_notes(path: Path, refusal: Refusal) -> None:
    assert refusal.do == "Rebuild notes without it."
    sqlite(
        path,
        "CREATE TABLE new (a)",
        "INSERT INTO new SELECT a FROM notes",
        "DROP TABLE notes",
        "ALTER TABLE new RENAME TO notes",
    )


def _move_away(path: Path, refusal: Refusal) -> None:
    assert refusal.do.startswith("Move it away")
    Path(refusal.where).rename(path.with_name("away"))


def _open_once(path: Path, refusal: Refusal) -> None:
    assert "open this one once" in refusal.do
    # This journal holds no page: SQLite removes it, and what it names, as it does in the program that wrote both.
    sqlite(path, "SELECT count(*) FROM users")


def _shorten(path: Path, refusal: Refusal) -> None:
    assert refusal.do.startswith("Shorten")
    sqlite(path, "UPDATE users SET appSettings = NULL")


@pytest.mark.parametrize(
    ("name", "mend"),
    [
        ("a trigger that loads a library", _run_the_sql),
        ("a trigger without an end", _run_the_sql),
        ("a journal that is a view", _run_the_sql),
        ("a fence that is a view", _run_the_sql),
        ("an index of a gigabyte", _run_the_sql),
        ("a CHECK of a gigabyte", _rebuild_notes),
        ("a default of a gigabyte", _rebuild_notes),
        ("a log that is a link", _move_away),
        ("a journal that is a folder", _move_away),
        ("a journal that removes another file", _open_once),
        ("a text beyond the limit", _shorten),
    ],
)
def test_what_a_refusal_says_to_do_makes_the_file_movable(
    name: str, mend: Callable[[Path, Refusal], None], tmp_path: Path
) -> None:
    (hostile,) = (each for each in hostile_files.ALL if each.name == name)
    path = hostile.write(tmp_path / "game.db")
    with pytest.raises(Refusal) as refused:
        transfer.check(path)
    mend(path, refused.value)
    transfer.check(path)


def test_a_schema_that_is_too_large_can_be_moved_without_the_tables_that_are_not_the_game_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = seeded(tmp_path / "game.db")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for n in range(2000):
            connection.execute(f"CREATE VIEW v{n} AS SELECT 1")
    monkeypatch.setattr(schema_code, "MOST_STEPS", 10_000)
    with pytest.raises(Refusal, match="a schema of at most") as refused:
        transfer.check(path)
    assert refused.value.do.startswith("Drop or move away")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for n in range(2000):
            connection.execute(f"DROP VIEW v{n}")
    transfer.check(path)
