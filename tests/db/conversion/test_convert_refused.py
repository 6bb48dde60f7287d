"""Tests that a file that can't be converted or written is refused by name, and nothing is left."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from db.conversion.convert import convert
from db.errors import Failure, Refusal
from tests.db.conversion.converting import state
from tests.db.conversion.encoded_files import make


def in_utf_8(folder: Path) -> tuple[Path, Path]:
    return make(folder / "game.db", "CREATE TABLE users (id)", encoding="UTF-8"), folder / "new.db"


def nothing_there(folder: Path) -> tuple[Path, Path]:
    return folder / "none.db", folder / "new.db"


def no_database(folder: Path) -> tuple[Path, Path]:
    (folder / "game.db").write_text("id,gold\n")
    return folder / "game.db", folder / "new.db"


def a_name_that_is_taken(folder: Path) -> tuple[Path, Path]:
    (folder / "new.db").write_text("")
    return make(folder / "game.db", "CREATE TABLE users (id)"), folder / "new.db"


def its_own_name(folder: Path) -> tuple[Path, Path]:
    source = make(folder / "game.db", "CREATE TABLE users (id)")
    return source, source


def a_link_to_nowhere(folder: Path) -> tuple[Path, Path]:
    (folder / "new.db").symlink_to("nowhere")
    return make(folder / "game.db", "CREATE TABLE users (id)"), folder / "new.db"


def the_name_of_its_log(folder: Path) -> tuple[Path, Path]:
    return make(folder / "game.db", "CREATE TABLE users (id)"), folder / "game.db-wal"


def no_folder(folder: Path) -> tuple[Path, Path]:
    return make(folder / "game.db", "CREATE TABLE users (id)"), folder / "none" / "new.db"


def too_long_a_name(folder: Path) -> tuple[Path, Path]:
    return make(folder / "game.db", "CREATE TABLE users (id)"), folder / ("n" * 254)


def a_damaged_page(folder: Path) -> tuple[Path, Path]:
    source = make(
        folder / "game.db",
        "PRAGMA page_size=512",
        "CREATE TABLE users (id)",
        "INSERT INTO users VALUES (zeroblob(200)), (zeroblob(200)), (zeroblob(200)), (zeroblob(200))",
        "CREATE INDEX i ON users (id)",
    )
    data = bytearray(source.read_bytes())
    data[-512:] = b"\xff" * 512
    source.write_bytes(data)
    return source, folder / "new.db"


def an_index_that_lacks_a_row(folder: Path) -> tuple[Path, Path]:
    source = make(
        folder / "game.db",
        "CREATE TABLE users (id)",
        "CREATE INDEX i ON users (id) WHERE id > 5",
        "INSERT INTO users VALUES (1), (9)",
        "PRAGMA writable_schema=ON",
        "UPDATE sqlite_master SET sql = 'CREATE INDEX i ON users (id)' WHERE name = 'i'",
    )
    return source, folder / "new.db"


@pytest.mark.parametrize(
    ("arranged", "found"),
    [
        (in_utf_8, "one in UTF-8 already"),
        (nothing_there, "no such file"),
        (no_database, "a file of another kind"),
        (a_name_that_is_taken, "an empty file"),
        (its_own_name, "a file"),
        (a_link_to_nowhere, "a link to nowhere"),
        (the_name_of_its_log, "source's log"),
        (no_folder, "none"),
        (too_long_a_name, "too long"),
        (a_damaged_page, "page"),
        (an_index_that_lacks_a_row, "row 1 missing from index i"),
    ],
)
def test_what_can_not_be_converted_is_refused_and_nothing_is_made(
    arranged: Callable[[Path], tuple[Path, Path]], found: str, tmp_path: Path
) -> None:
    source, into = arranged(tmp_path)
    before = state(tmp_path)
    with pytest.raises(Refusal) as refusal:
        convert(source, into)
    assert found in refusal.value.found
    assert state(tmp_path) == before


@pytest.mark.parametrize(
    ("limited", "error", "found"),
    [
        (
            lambda connection: connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 3_000_000),
            Refusal,
            "too big: users, row 7",
        ),
        (lambda connection: connection.execute("PRAGMA max_page_count=9"), Failure, "full"),
    ],
    ids=["a row that is too large in UTF-8", "a full disk"],
)
def test_what_can_not_be_written_is_said_and_nothing_is_left(
    limited: Callable[[sqlite3.Connection], object],
    error: type[Exception],
    found: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = make(
        tmp_path / "game.db",
        "CREATE TABLE users (id)",
        "INSERT INTO users(rowid, id) VALUES (7, replace(hex(zeroblob(600000)), '0', '가'))",
    )
    before = state(tmp_path)
    connect = sqlite3.connect

    def connecting(path: object, **options: object) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(path, **options)  # type: ignore[call-overload]
        if str(path).endswith(".part"):
            limited(connection)
        return connection

    monkeypatch.setattr(sqlite3, "connect", connecting)
    with pytest.raises(error, match=found):
        convert(source, tmp_path / "new.db")
    assert state(tmp_path) == before
