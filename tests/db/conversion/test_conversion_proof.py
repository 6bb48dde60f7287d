"""The proof of a conversion finds any change of the copy."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from db.console.progress import Silent
from db.conversion.convert import convert
from db.conversion.proof import prove
from db.errors import Failure
from tests.db.conversion.encoded_files import EVERYTHING, make

CHANGES = (
    "UPDATE users SET id = 'user' WHERE rowid = -5",
    "UPDATE users SET id = CAST(id AS BLOB) WHERE rowid = 7",
    "UPDATE users SET rowid = 8 WHERE rowid = 7",
    "UPDATE users SET late = 'it''s' WHERE rowid = 7",
    "DELETE FROM users WHERE rowid = 7",
    "INSERT INTO counted(id) VALUES (5)",
    "UPDATE counted SET numeric = '5'||char(0)",
    "UPDATE counted SET blob = 5.0",
    "UPDATE by_key SET c = 0.0 WHERE a = 'z'",
    "UPDATE by_key SET a = 'y' WHERE a = 'z'",
    "DELETE FROM by_key WHERE a = 'z'",
    "UPDATE sqlite_sequence SET seq = 900",
    "DELETE FROM sqlite_sequence",
    "DELETE FROM sqlite_stat1",
    "UPDATE all_names SET oid = 'x' WHERE oid = 'one'",
    "DELETE FROM all_names WHERE oid = 'three'",
    "INSERT INTO all_names VALUES (5, 'three', 6)",
    "UPDATE wide SET c1998 = 0",
    "UPDATE words_content SET c0 = 'other words'",
    "DROP INDEX some_gold",
    "DROP TRIGGER fires",
    "DROP VIEW rich",
    "CREATE TABLE another (a)",
    "DROP TABLE two_names",
    "PRAGMA user_version=1",
    "PRAGMA application_id=1",
    "PRAGMA schema_version=1",
    "PRAGMA default_cache_size=5",
    "PRAGMA journal_mode=WAL",
)


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("converted")
    source = make(folder / "game.db", *EVERYTHING)
    convert(source, folder / "new.db")
    return source, folder / "new.db"


@pytest.mark.parametrize("change", [None, *CHANGES])
def test_the_proof_sees_any_change_of_the_copy(
    change: str | None, converted: tuple[Path, Path], tmp_path: Path
) -> None:
    source, copy = converted[0], tmp_path / "new.db"
    copy.write_bytes(converted[1].read_bytes())
    with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
        version = connection.execute("PRAGMA schema_version").fetchone()[0]
        if change is not None:
            connection.execute(change)
        if change is not None and "schema_version" not in change:
            connection.execute(f"PRAGMA schema_version={version}")
    with closing(sqlite3.connect(source)) as connection:
        if change is None:
            prove(connection, copy, known=frozenset(), blobs=False, progress=Silent())
            return
        with pytest.raises(Failure, match="a copy that equals the source"):
            prove(connection, copy, known=frozenset(), blobs=False, progress=Silent())
