"""Each check that a legacy file is asked before a move refuses a file of its own, which every other check lets pass."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from db.errors import Refusal
from db.legacy.source import Source, opened
from db.transfer import soundness
from db.transfer.soundness import CONTENTS, LAST_PLACE, SOUNDNESS
from game.legacy.numbering import RECEIPTS
from tests.db.legacy.unusual_cases import Step, case, in_schema

CHECKS = {check.__name__: check for check in (*SOUNDNESS, *CONTENTS)}
NOTES = "CREATE TABLE notes (id INTEGER PRIMARY KEY, t TEXT"
RECEIPT = "user_id TEXT, request_id TEXT, command TEXT, outcome TEXT, at INTEGER, seq INTEGER, chain TEXT"
PLANTS: dict[str, tuple[Step, ...]] = {
    "check_sizes": (f"{NOTES})", "INSERT INTO notes VALUES (1, printf('%.*c', 70000, 'x'))"),
    "compute_generated": (
        f"{NOTES}, g AS (t || t || t || t) VIRTUAL)",
        "INSERT INTO notes (t) VALUES (printf('%.*c', 20000, 'x'))",
    ),
    "check_integrity": (
        f"{NOTES})",
        "INSERT INTO notes VALUES (1, 'a')",
        *in_schema("notes", f"{NOTES} CHECK (t > 'b'))"),
    ),
    "check_names": (f'CREATE TABLE "{"표" * 700}" (a)',),
    "check_places": (f"{NOTES})", f"INSERT INTO notes VALUES ({LAST_PLACE + 1}, 'a')"),
    "check_writable": ("CREATE TRIGGER t AFTER UPDATE ON users BEGIN UPDATE kv SET value = norm(value); END",),
    "check_schema": (
        "CREATE TABLE badly (a UNIQUE)",
        "PRAGMA writable_schema=ON",
        *(
            f"UPDATE sqlite_master SET {column} = replace({column}, 'badly', 'sqlite_history')"
            for column in ("name", "tbl_name", "sql")
        ),
    ),
    "check_journals": ("CREATE TABLE sudamr_currency_ledger (user_id, amount)",),
    "check_numbers": (
        f"CREATE TABLE {RECEIPTS} ({RECEIPT}, PRIMARY KEY (user_id, request_id))",
        f"INSERT INTO {RECEIPTS} VALUES ('a', 'r1', '[]', '{{}}', 0, NULL, NULL)",
    ),
    "check_ids": ("UPDATE users SET id = 'sudamr-canary-1' WHERE rowid = 1",),
}
LONGEST = 60_000
"""The longest value that SQLite may take, in place of a gigabyte."""


def test_each_check_has_a_file_of_its_own() -> None:
    assert set(PLANTS) == set(CHECKS)


def refusing(path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The checks that refuse the file, each with what it found."""
    monkeypatch.setattr(soundness, "MOST_BYTES", LONGEST)
    refused = {}
    for name, check in CHECKS.items():
        with opened(path) as source:
            source.connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST)
            if refusal := refusal_of(check, source):
                refused[name] = refusal
    return refused


def refusal_of(check: Callable[[Source], None], source: Source) -> str:
    try:
        check(source)
    except Refusal as refusal:
        return refusal.found
    except sqlite3.DatabaseError as error:  # Of these the caller makes the refusal.
        return str(error)
    return ""


def test_a_file_that_is_sound_passes_each_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusing(case("sound").write(tmp_path / "game.db"), monkeypatch) == {}


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_refuses_what_no_other_does(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = case(name, *PLANTS[name]).write(tmp_path / "game.db")
    refusals = refusing(path, monkeypatch)
    assert set(refusals) == {name}, refusals


def test_a_row_below_the_last_place_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = f"{NOTES})", f"INSERT INTO notes VALUES ({LAST_PLACE}, 'a'), (-9223372036854775808, 'b')"
    assert refusing(case("places", *steps).write(tmp_path / "game.db"), monkeypatch) == {}
