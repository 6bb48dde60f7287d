"""Whatever stands in the place of a snapshot's files, or beside them, is refused in one line."""

from __future__ import annotations

import dataclasses
import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from db import ops, snapshots
from db.environments import Environment
from db.errors import Refusal
from db.samples import seed
from db.servers import Server
from db.snapshots import Side
from db.snapshots.manifest import MANIFEST, VERIFIED, Manifest
from game.legacy import fence as legacy_fence
from game.legacy import sqlite_values
from tests.db.legacy import absent_files, hostile_files
from tests.db.snapshots.forging import forged
from tests.fixtures.hostile_json import HOSTILE, refusal_of, with_value


def test_a_folder_that_can_not_be_read_is_named_until_it_is_moved_away(env: Environment, tmp_path: Path) -> None:
    seed.seed_legacy(env.legacy.path, 1, anomalies=False)
    snapshot = snapshots.take(env, Side.LEGACY)
    (snapshot.folder / MANIFEST).write_text("[" * 100_000)
    with pytest.raises(Refusal, match="levels deep") as caught:
        snapshots.find(env.snapshots.folder, env.name)
    assert str(snapshot.folder) in caught.value.where
    assert "Move this folder out" in caught.value.do

    snapshot.folder.rename(tmp_path / "elsewhere")

    assert snapshots.find(env.snapshots.folder, env.name) == []


BESIDE: dict[str, Callable[[Path, Path], object]] = {
    "verified.json a pipe": lambda folder, _: os.mkfifo(folder / VERIFIED),
    "verified.json a link": lambda folder, other: (folder / VERIFIED).symlink_to(other / "theirs"),
    "a scratch that is a link": lambda folder, other: (folder / ".verify-x").symlink_to(other),
    "a scratch that is a pipe": lambda folder, _: os.mkfifo(folder / ".verify-x"),
    "a partial that is a link": lambda folder, other: (folder.parent / "test-x.partial").symlink_to(other),
    "a partial that is a pipe": lambda folder, _: os.mkfifo(folder.parent / "test-x.partial"),
}


@pytest.mark.parametrize("thing", BESIDE)
def test_what_lies_beside_a_snapshot_is_neither_waited_for_nor_followed(
    env: Environment, tmp_path: Path, thing: str
) -> None:
    seed.seed_legacy(env.legacy.path, 1, anomalies=False)
    snapshot = snapshots.take(env, Side.LEGACY)
    other = tmp_path / "other"
    other.mkdir()
    (other / "theirs").write_text("theirs")
    BESIDE[thing](snapshot.folder, other)

    assert not snapshots.is_verified(snapshot)
    snapshots.verify(env, snapshot)
    assert snapshots.is_verified(snapshot)
    snapshots.take_verified(env, Side.LEGACY)

    assert (other / "theirs").read_text() == "theirs"


def test_a_note_of_another_file_verifies_nothing(env: Environment) -> None:
    seed.seed_legacy(env.legacy.path, 1, anomalies=False)
    snapshot = snapshots.take_verified(env, Side.LEGACY)
    for text in ("", "{}", '{"at": "now", "sha256": "' + "0" * 64 + '"}'):
        (snapshot.folder / VERIFIED).write_text(text)
        assert not snapshots.is_verified(snapshot)


def a_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def huge(path: Path) -> None:
    os.truncate(path, 1 << 30)


PLACES: dict[str, Callable[[Path], None]] = {
    "a link": a_link,
    "a pipe": a_pipe,
    "a folder": a_folder,
    "a device": a_device,
    "huge": huge,
    "gone": Path.unlink,
}


@pytest.mark.parametrize("which", ["manifest", "file"])
@pytest.mark.parametrize("place", PLACES)
def test_another_thing_in_place_of_a_snapshot_s_file_is_answered_in_one_line(
    env: Environment, tmp_path: Path, place: str, which: str
) -> None:
    seed.seed_legacy(env.legacy.path, 1, anomalies=False)
    snapshot = snapshots.take(env, Side.LEGACY)
    PLACES[place](snapshot.folder / MANIFEST if which == "manifest" else snapshot.path)

    with pytest.raises(Refusal) as caught:
        restored(env, snapshot.folder, tmp_path / "back.db")

    assert "\n" not in caught.value.found
    assert not (tmp_path / "back.db").exists()


def restored(env: Environment, folder: Path, into: Path) -> None:
    """Read the snapshot in the folder and restore it."""
    snapshots.restore(env, snapshots.read(folder), keep_fence=False, into=into)


@pytest.mark.parametrize("name", ["../../game.db", "/etc/passwd", "game.dump", "manifest.json", "", ".", "\0", "x\n"])
def test_a_manifest_names_only_its_own_file(env: Environment, name: str) -> None:
    seed.seed_legacy(env.legacy.path, 1, anomalies=False)
    snapshot = snapshots.take(env, Side.LEGACY)
    path = snapshot.folder / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | {"file": name}))

    with pytest.raises(Refusal, match="a snapshot w"):
        snapshots.read(snapshot.folder)


@pytest.mark.parametrize("field", [*(one.name for one in dataclasses.fields(Manifest)), "counts.users", ""])
def test_whatever_stands_in_a_manifest_is_answered_in_one_line(env: Environment, tmp_path: Path, field: str) -> None:
    seed.seed_legacy(env.legacy.path, 1, anomalies=False)
    snapshot = snapshots.take(env, Side.LEGACY)
    path = snapshot.folder / MANIFEST
    text = json.loads(path.read_text())
    for hostile in HOSTILE:
        path.write_text(with_value(text, tuple(filter(None, field.split("."))), hostile))
        error = refusal_of(partial(restored, env, snapshot.folder, tmp_path / "back.db"))
        assert (tmp_path / "back.db").exists() == (error is None)
        assert error is None or isinstance(error, Refusal)
        assert error is None or (len(error.found) < 400 and "\n" not in error.found)
        (tmp_path / "back.db").unlink(missing_ok=True)


def damaged(statement: str) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.executescript(statement)

    return damage


def fenced(path: Path) -> None:
    with closing(sqlite_values.connect(path)) as connection:
        legacy_fence.raise_fence(connection)


def garbled(path: Path) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size - size % 4096 - 4096 * 3)
        file.write(b"\xff" * 4096)


FILES: dict[str, Callable[[Path], None]] = {
    "no users": damaged("DROP TABLE users"),
    "a row fewer": damaged("DELETE FROM users WHERE rowid = 1"),
    "a table more": damaged("CREATE TABLE more (n)"),
    "a fence": fenced,
    "a schema that can't be read": damaged(
        "PRAGMA writable_schema = ON; INSERT INTO sqlite_master VALUES ('view', 'v', 'v', 0, 'CREATE VIEW v AS SELEKT')"
    ),
    "noise": lambda path: path.write_bytes(bytes(range(256)) * 64) and None,
    "nothing": lambda path: path.write_bytes(b"") and None,
    "a garbled page": garbled,
}


@pytest.mark.parametrize("kind", FILES)
def test_a_legacy_file_that_is_not_what_was_taken_is_not_put_in_place(
    env: Environment, tmp_path: Path, kind: str
) -> None:
    seed.seed_legacy(env.legacy.path, 3, anomalies=False)
    snapshot = snapshots.take(env, Side.LEGACY)
    FILES[kind](snapshot.path)
    snapshot = forged(snapshot)
    before = sorted(path.name for path in tmp_path.iterdir())

    for keep in (True, False):
        with pytest.raises(Refusal) as caught:
            snapshots.restore(env, snapshot, keep_fence=keep, into=tmp_path / "back.db")
        assert "back.db." not in str(caught.value), "the partial copy is gone"
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize("name", ["a folder", "a pipe", "encrypted", "a type that is none", "a name that is no text"])
def test_postgres_is_not_opened_beside_a_legacy_file_that_can_not_be_read(
    env: Environment, server: Server, name: str
) -> None:
    taken = snapshots.take_verified(env, Side.TARGET, tools=server.tool)
    (hostile,) = (one for one in hostile_files.ALL if one.name == name)
    hostile.write(env.legacy.path)
    assert_not_opened(env, server, taken)


@pytest.mark.parametrize("leads_away", absent_files.LEADS_AWAY)
def test_postgres_is_not_opened_while_a_link_to_the_legacy_file_leads_nowhere(
    env: Environment, server: Server, leads_away: str
) -> None:
    taken = snapshots.take_verified(env, Side.TARGET, tools=server.tool)
    env = absent_files.leading_away(env, leads_away)
    assert_not_opened(env, server, taken)


def assert_not_opened(env: Environment, server: Server, taken: snapshots.Snapshot) -> None:
    """Raise AssertionError unless a restore into service is refused for the legacy file, with nothing changed."""
    with pytest.raises(Refusal) as caught:
        snapshots.restore(env, taken, keep_fence=False, replace=True, tools=server.tool)
    assert caught.value.where == str(env.legacy.path)
    with ops.connect(env.target) as conn:
        schemas = conn.execute("SELECT nspname FROM pg_namespace WHERE starts_with(nspname, %s)", [env.target.schema])
        assert schemas.fetchall() == [(env.target.schema,)]  # A restore puts the replaced tables into another.
