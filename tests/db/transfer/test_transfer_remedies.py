"""Every remedy that a refusal of a legacy file prints is followed exactly, and the file is then accepted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from db import environments, snapshots, transfer
from db.console.progress import Silent
from db.errors import Refusal
from db.legacy.comparison import compare_files
from db.snapshots import Side
from game.legacy import sqlite_values
from harness.cli.commands import transfers
from harness.cli.commands.transfers import TransferOptions
from harness.databases import Database, Databases
from harness.rehearsal import run as rehearsals
from tests.db.legacy.unusual_cases import PLAYERS, run, run_elsewhere
from tests.db.legacy.unusual_refused import REFUSED, Refused
from tests.db.transfer.transferring import load, seeded

SQL = "With the game stopped, in the file: "


@pytest.fixture(scope="module")
def reused(databases: Databases) -> Iterator[Database]:
    """One fenced database for many files, put back between them."""
    clone = databases.clone(fenced=True)
    yield clone
    databases.drop(clone)


@pytest.fixture(params=REFUSED, ids=lambda refused_kind: refused_kind.name)
def refused_kind(request: pytest.FixtureRequest) -> Refused:
    param = request.param
    assert isinstance(param, Refused)
    return param


def written(refused_kind: Refused, path: Path) -> Path:
    seeded(path, PLAYERS)
    run(path, "PRAGMA journal_mode=DELETE", *refused_kind.steps)
    return path


def players(path: Path) -> list[tuple[object, ...]]:
    """List what the players own, in order, whatever their table is called by."""
    connection = sqlite_values.connect(path, readonly=True)
    connection.execute("PRAGMA writable_schema=ON")  # So that a schema which SQLite can't read is passed over.
    try:
        return connection.execute("SELECT rowid, username, nickname, gold FROM users ORDER BY rowid").fetchall()
    finally:
        connection.close()


def refusal(act: Callable[[], object]) -> Refusal:
    with pytest.raises(Refusal) as raised:
        act()
    return raised.value


def test_a_file_is_refused_in_the_same_words_by_all_and_left_alone(
    refused_kind: Refused, reused: Database, tmp_path: Path
) -> None:
    source = written(refused_kind, tmp_path / "game.db")
    before = source.read_bytes()
    first = refusal(lambda: transfer.check(source))
    assert refused_kind.found in first.found
    assert str(first).count("\n") <= 1
    env = environments.throwaway(owner=reused.owner, service=reused.service, legacy=source, folder=tmp_path)
    wish = TransferOptions("test", source, tmp_path / "copy.db", back=True, max_held=None, postgres=None)
    for others in (
        lambda: transfers.run(wish, Silent()),
        lambda: rehearsals.rehearse(1, source, None, Silent()),
        lambda: snapshots.take(env, Side.LEGACY),
    ):
        assert str(refusal(others)) == str(first)
    assert source.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["game.db"]


def test_what_the_refusal_says_makes_the_file_fit(
    refused_kind: Refused, reused: Database, databases: Databases, tmp_path: Path
) -> None:
    source, copy = written(refused_kind, tmp_path / "game.db"), tmp_path / "copy.db"
    rows = players(source)
    remedy = refusal(lambda: transfer.check(source)).do
    assert remedy.startswith(SQL) is not bool(refused_kind.mend)
    if refused_kind.mend:
        run(source, *refused_kind.mend.split("; "))
    else:
        run_elsewhere(source, remedy.removeprefix(SQL))
    transfer.check(source)
    assert refused_kind.mend or players(source) == rows
    databases.reset(reused)
    load(reused, source)
    transfer.back(reused.owner, copy)
    assert compare_files(source, copy) == []
