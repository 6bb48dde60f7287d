"""A snapshot without the game is refused, and the last good snapshot of either store is never removed."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from db import environments, ops, snapshots
from db.console.progress import Silent
from db.environments import Environment, SnapshotPlan
from db.errors import Refusal, ToolError
from db.ops import Phase, fence
from db.samples import seed
from db.servers import Server
from db.snapshots import Label, Side, manifest
from game.legacy import fence as legacy_fence
from game.legacy import sqlite_values
from game.legacy.fence_schema import Owner
from game.unit_of_work import FenceState
from harness.cli.commands import transfers
from harness.databases import Database

KEEP = 2


@pytest.fixture
def env(database: Database, tmp_path: Path) -> Environment:
    """A legacy file of three players, and a migrated database of two."""
    legacy = tmp_path / "game.db"
    seed.seed_legacy(legacy, 3, anomalies=False)
    seed.seed_postgres(database.owner, "test", 2)
    return environments.throwaway(
        owner=database.owner,
        service=database.service,
        legacy=legacy,
        folder=tmp_path,
        snapshots=SnapshotPlan(tmp_path / "snapshots", keep=KEEP),
    )


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A locked file is waited for only briefly."""
    connect = sqlite_values.connect

    def briefly(path: Path, *, readonly: bool = False, timeout_seconds: float = 0) -> sqlite3.Connection:
        return connect(path, readonly=readonly, timeout_seconds=0.05)

    monkeypatch.setattr(sqlite_values, "connect", briefly)


def written(*statements: str) -> Callable[[Path], None]:
    """A new SQLite file in the place of the game's."""

    def write(path: Path) -> None:
        path.unlink()
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            for statement in statements:
                connection.execute(statement)

    return write


def bytes_at(offset: int, data: bytes) -> Callable[[Path], None]:
    """The game's file, overwritten at one place."""

    def write(path: Path) -> None:
        with path.open("r+b") as file:
            file.seek(offset)
            file.write(data)

    return write


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def a_link_to_itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def a_write_cut_off(path: Path) -> None:
    """Kill a writer in the middle of a transaction that has spilled to the file."""
    writer = (
        "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('PRAGMA journal_mode = DELETE'); c.execute('PRAGMA cache_size = 1'); c.execute('BEGIN')\n"
        "for n in range(2000): c.execute('INSERT INTO kv VALUES (?, ?)', (f'filler {n}', 'x' * 500))\n"
        "os.kill(os.getpid(), 9)"
    )
    ended = subprocess.run([sys.executable, "-c", writer, str(path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert path.with_name(f"{path.name}-journal").exists()


def a_truncated_file(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(5000)


FILES: dict[str, Callable[[Path], None]] = {
    "missing": Path.unlink,
    "empty": lambda path: path.write_bytes(b"") and None,
    "a folder": a_folder,
    "a pipe": a_pipe,
    "a link to itself": a_link_to_itself,
    "a text": lambda path: path.write_text("hello\n" * 200) and None,
    "another program's database": written("CREATE TABLE guests (name)"),
    "a database without tables": written("VACUUM"),
    "a view called users": written("CREATE TABLE t (id)", "CREATE VIEW users AS SELECT * FROM t"),
    "users without an id": written("CREATE TABLE users (name)"),
    "a column spelt otherwise": written("CREATE TABLE users (id TEXT, GOLD INTEGER)"),
    "in UTF-16": written("PRAGMA encoding = 'UTF-16'", "CREATE TABLE users (id TEXT)"),
    "a garbled header": bytes_at(16, b"\xff" * 80),
    "a garbled schema": bytes_at(100, b"\xff" * 500),
    "truncated": a_truncated_file,
    "a write cut off": a_write_cut_off,
}


def refusal(act: Callable[[], Any]) -> tuple[type[ToolError], str]:
    with pytest.raises(ToolError) as caught:
        act()
    return type(caught.value), str(caught.value)


def of_transfer(path: Path) -> tuple[type[ToolError], str]:
    """Return how `invoke transfer` ends on the file."""
    wish = transfers.TransferOptions("test", path, into=None, back=False, max_held=None, postgres=None)
    return refusal(lambda: transfers.run(wish, Silent()))


@pytest.mark.parametrize("state", FILES)
def test_a_file_that_transfer_refuses_is_refused_in_the_same_words_and_costs_no_snapshot(
    env: Environment, state: str
) -> None:
    good = snapshots.take_verified(env, Side.LEGACY)
    FILES[state](env.legacy.path)
    before = sorted(path.name for path in env.legacy.path.parent.iterdir())

    refusals = {refusal(lambda: snapshots.take_verified(env, Side.LEGACY)) for _ in range(KEEP + 1)}

    assert refusals == {of_transfer(env.legacy.path)}
    assert [snapshot.folder for snapshot in snapshots.find(env.snapshots.folder, env.name)] == [good.folder]
    assert sorted(path.name for path in env.legacy.path.parent.iterdir()) == before
    assert [path.name for path in env.snapshots.folder.iterdir()] == [good.folder.name]


def test_a_locked_file_is_refused_in_the_same_words(env: Environment) -> None:
    with closing(sqlite3.connect(env.legacy.path, isolation_level=None)) as holder:
        holder.execute("PRAGMA journal_mode = DELETE")
        holder.execute("BEGIN EXCLUSIVE")

        words = refusal(lambda: snapshots.take_verified(env, Side.LEGACY))

        assert words == of_transfer(env.legacy.path)
    assert "locked by another" in words[1]
    assert not env.snapshots.folder.exists()


def test_a_file_with_a_damaged_page_is_never_a_verified_snapshot(env: Environment) -> None:
    good = snapshots.take_verified(env, Side.LEGACY)
    size = env.legacy.path.stat().st_size
    bytes_at(size - size % 4096 - 4096 * 3, b"\xff" * 4096)(env.legacy.path)

    for _ in range(KEEP + 1):
        with pytest.raises(ToolError, match="sound SQLite file"):
            snapshots.take_verified(env, Side.LEGACY)

    listed = snapshots.find(env.snapshots.folder, env.name)
    assert [snapshot.folder for snapshot in listed if snapshots.is_verified(snapshot)] == [good.folder]


def test_a_virtual_table_whose_module_is_not_here_is_no_hindrance(env: Environment) -> None:
    with closing(sqlite3.connect(env.legacy.path)) as connection, connection:
        connection.execute("PRAGMA writable_schema = ON")
        statement = "CREATE VIRTUAL TABLE search USING a_module_that_nobody_has(text)"
        connection.execute("INSERT INTO sqlite_master VALUES ('table', 'search', 'search', 0, ?)", [statement])

    assert snapshots.take_verified(env, Side.LEGACY).manifest.counts["users"] == 3


DATABASES = {
    "without a marker": ("DROP SCHEMA ops CASCADE", "prepared for test; found one without a marker"),
    "another environment's": ("UPDATE ops.environment SET name = 'staging'", "the database of test; found the"),
    "empty": ("DROP SCHEMA game CASCADE", "a migrated schema on the search path; found none"),
    "an empty schema": ("DROP SCHEMA game CASCADE; CREATE SCHEMA game", "a migrated schema on the search path"),
    "another program's": (
        "DROP SCHEMA game CASCADE; CREATE SCHEMA game; CREATE TABLE game.users (id text)",
        "a migrated schema on the search path; found none",
    ),
}


@pytest.mark.parametrize("state", DATABASES)
def test_a_database_that_transfer_refuses_is_refused_and_costs_no_snapshot(
    env: Environment, server: Server, state: str
) -> None:
    good = snapshots.take_verified(env, Side.TARGET, tools=server.tool)
    statement, words = DATABASES[state]
    with ops.connect(env.target_direct) as conn:
        conn.execute(statement.encode())

    for _ in range(KEEP + 1):
        with pytest.raises(Refusal, match=words):
            snapshots.take_verified(env, Side.TARGET, tools=server.tool)

    assert [path.name for path in env.snapshots.folder.iterdir()] == [good.folder.name]


@pytest.mark.parametrize("marker", ["DROP SCHEMA ops CASCADE", "UPDATE ops.environment SET name = 'staging'"])
def test_a_snapshot_is_verified_only_beside_its_own_environment_s_database(
    env: Environment, server: Server, marker: str
) -> None:
    taken = snapshots.take(env, Side.TARGET, tools=server.tool)
    with ops.connect(env.target_direct) as conn:
        conn.execute(marker.encode())

    with pytest.raises(Refusal, match=r"prepared for test|the database of test"):
        snapshots.verify(env, taken, tools=server.tool)


class Kept:
    """One store of an environment, and what is kept of it."""

    def __init__(self, env: Environment, side: Side, server: Server) -> None:
        self.env, self.side, self.server = env, side, server

    def take(self, label: Label = Label.MANUAL) -> Path:
        """Take one that is verified."""
        return snapshots.take_verified(self.env, self.side, label=label, tools=self.server.tool).folder

    def take_unverified(self) -> Path:
        return snapshots.take(self.env, self.side, tools=self.server.tool).folder

    def players(self, *, gone: bool) -> None:
        """Empty the store, or fill it."""
        if self.side is Side.TARGET and gone:
            seed.empty_postgres(self.env.target_direct, "test")
        elif self.side is Side.TARGET:
            seed.seed_postgres(self.env.target_direct, "test", 2)
        else:
            with closing(sqlite3.connect(self.env.legacy.path)) as connection, connection:
                connection.execute("DELETE FROM users" if gone else "INSERT INTO users (id) VALUES ('new')")

    def there(self) -> list[Path]:
        return [snapshot.folder for snapshot in snapshots.find(self.env.snapshots.folder, "test")]


@pytest.fixture(params=list(Side))
def kept(env: Environment, server: Server, request: pytest.FixtureRequest) -> Kept:
    return Kept(env, request.param, server)


def test_the_oldest_of_a_label_make_room_once_a_newer_one_is_verified(kept: Kept) -> None:
    final = kept.take(Label.FINAL)
    first, second, third = kept.take(), kept.take(), kept.take()
    assert kept.there() == [final, second, third]

    unverified = [kept.take_unverified() for _ in range(KEEP + 1)]
    assert kept.there() == [final, second, third, *unverified]

    last = kept.take()
    assert kept.there() == [final, third, unverified[-1], last]
    assert not first.exists()


def test_the_newest_verified_one_that_holds_players_stays(kept: Kept) -> None:
    with_players = kept.take()
    kept.players(gone=True)
    empty = [kept.take() for _ in range(KEEP + 1)]
    assert kept.there() == [with_players, *empty[-KEEP:]]

    kept.players(gone=False)
    newer = kept.take()
    assert kept.there() == [empty[-1], newer]


def test_one_that_fails_to_be_verified_again_is_not_verified_any_more(kept: Kept) -> None:
    good, damaged = kept.take(), kept.take()
    file = snapshots.read(damaged).path
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(Refusal, match="bytes; found"):
        snapshots.verify(kept.env, snapshots.read(damaged), tools=kept.server.tool)
    kept.players(gone=True)
    for _ in range(KEEP + 1):
        kept.take()

    assert good in kept.there()
    assert damaged not in kept.there()


def test_one_of_an_empty_file_that_an_older_version_verified_is_refused_and_holds_nobody(
    env: Environment, tmp_path: Path
) -> None:
    good = snapshots.take_verified(env, Side.LEGACY)
    sqlite3.connect(tmp_path / "empty.db").close()
    with manifest.being_made(env.snapshots.folder, "test", Side.LEGACY, Label.MANUAL) as (folder, finish):
        (folder / "legacy.sqlite").write_bytes(b"")
        made = manifest.Manifest(
            **{
                **{name: getattr(good.manifest, name) for name in manifest.Manifest.__slots__},
                "counts": {},
                "sha256": manifest.digest(folder / "legacy.sqlite"),
                "taken_at": manifest.now().isoformat(),
            }
        )
        manifest.write(folder, made, None)
        nothing = snapshots.Snapshot(finish(), made)
    manifest.note_verified(nothing, None)

    for act in (
        lambda: snapshots.verify(env, nothing),
        lambda: snapshots.restore(env, nothing, keep_fence=False, into=tmp_path / "back.db"),
    ):
        with pytest.raises(Refusal, match="a snapshot of the game; found one without a table `users`"):
            act()
    assert not (tmp_path / "back.db").exists()


@pytest.mark.parametrize("place", ["a file", "beneath a file"])
def test_a_folder_for_snapshots_that_can_not_be_made_is_refused(env: Environment, tmp_path: Path, place: str) -> None:
    (tmp_path / "taken").touch()
    folder = tmp_path / "taken" / ("" if place == "a file" else "snapshots")
    other = Environment(**{**vars(env), "snapshots": SnapshotPlan(folder)})

    with pytest.raises(Refusal, match="a folder for snapshots"):
        snapshots.take(other, Side.LEGACY)


def test_a_file_that_is_gone_from_its_folder_and_a_place_that_is_not_there_are_named(
    env: Environment, tmp_path: Path
) -> None:
    taken = snapshots.take_verified(env, Side.LEGACY)
    with pytest.raises(Refusal, match="a folder to restore into"):
        snapshots.restore(env, taken, keep_fence=False, into=tmp_path / "nowhere" / "back.db")
    taken.path.unlink()

    with pytest.raises(Refusal, match="the file of the snapshot"):
        snapshots.verify(env, taken)


@pytest.mark.parametrize(
    ("phase", "state", "of_another", "opens"),
    [
        (Phase.EMPTY, "open", True, False),
        (Phase.EMPTY, "moved", False, False),
        (Phase.EMPTY, "moved", True, True),
        (Phase.LOADING, "fenced", False, False),
        (Phase.ABORTED, "fenced", False, False),
        (Phase.RETURNED, "moved", True, False),
        (Phase.LIVE, "open", True, False),
        (Phase.LIVE, "moved", False, True),
    ],
)
def test_a_restore_into_service_asks_whether_players_play_on_the_file(
    env: Environment, server: Server, phase: Phase, state: FenceState, of_another: bool, opens: bool
) -> None:
    taken = snapshots.take_verified(env, Side.TARGET, tools=server.tool)
    with ops.connect(env.target_direct) as conn, closing(sqlite_values.connect(env.legacy.path)) as file:
        conn.execute("update ops.phase set phase = %s", (phase,))
        if state != "open":
            target = "another/1" if of_another else ops.identity(conn)
            legacy_fence.raise_fence(file, state=state, owner=Owner("20261128_010203_abcd", target))

    if opens:
        snapshots.restore(env, taken, keep_fence=False, replace=True, tools=server.tool)
    else:
        with pytest.raises(Refusal, match="a legacy file on which nobody plays") as caught:
            snapshots.restore(env, taken, keep_fence=False, replace=True, tools=server.tool)
        assert "Leave --unfence out" in caught.value.do
        snapshots.restore(env, taken, keep_fence=True, replace=True, tools=server.tool)
    with ops.connect(env.target) as conn:
        assert fence.state(conn) == ("open" if opens else "fenced")
