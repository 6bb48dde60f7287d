"""Pending revisions are tried on the newest verified snapshot first, and refused if its rows break one."""

from __future__ import annotations

from pathlib import Path

import pytest

from db import ops, snapshots
from db.console.progress import Silent
from db.environments import Environment
from db.errors import Refusal
from db.schema import migrate, revisions
from db.schema.revisions import History
from db.servers import Server
from db.snapshots import Side, trial
from harness.cli.commands import preparing
from tests.fixtures.revisions import write

HEAD = revisions.read().head
NEXT = f"{int(HEAD) + 1:04}"
POOR = "alter table users add constraint users_poor_check check (gold < 0)"


@pytest.fixture
def production(env: Environment, monkeypatch: pytest.MonkeyPatch) -> Environment:
    """Players own the rows, as in production."""
    monkeypatch.setattr(preparing, "UNSIGNED_STAGES", frozenset())
    return env


def one(folder: Path, statement: str) -> History:
    write(folder, NEXT, statement)
    return revisions.read(folder)


def run(env: Environment, server: Server, history: History) -> list[str]:
    options = {"sql": False, "progress": Silent(), "history": history, "tools": server.tool}
    return preparing.run_migrations(env, lambda _change: None, **options).applied  # type: ignore[arg-type]


def revision_of(env: Environment) -> str | None:
    with ops.connect(env.target_direct) as conn:
        return migrate.current(conn)


@pytest.mark.plan(31)
def test_a_revision_that_the_rows_break_is_refused_on_the_snapshot_and_the_database_is_never_asked(
    production: Environment, server: Server, tmp_path: Path
) -> None:
    taken = snapshots.take_verified(production, Side.TARGET, tools=server.tool)
    with pytest.raises(Refusal, match=f"revision {NEXT} to pass on the newest verified snapshot.*violated") as refused:
        run(production, server, one(tmp_path / "more", POOR))
    assert str(taken.folder) in str(refused.value)
    assert revision_of(production) == HEAD
    assert snapshots.is_verified(taken), "the snapshot is not at fault"
    corrected = one(tmp_path / "other", POOR.replace("< 0", ">= 0"))
    assert run(production, server, corrected) == [NEXT]


def test_rows_that_were_mended_need_another_snapshot_and_then_it_passes(
    production: Environment, server: Server, tmp_path: Path
) -> None:
    snapshots.take_verified(production, Side.TARGET, tools=server.tool)
    history = one(tmp_path / "more", POOR.replace("< 0", "= 7"))
    with pytest.raises(Refusal, match=r"after a change of rows take another snapshot: invoke snapshot.take"):
        run(production, server, history)
    with ops.connect(production.target_direct) as conn:
        conn.execute("update users set gold = 7")
    snapshots.take_verified(production, Side.TARGET, tools=server.tool)
    assert run(production, server, history) == [NEXT]


def test_without_a_verified_snapshot_it_is_refused_until_one_is_taken(
    production: Environment, server: Server, tmp_path: Path
) -> None:
    history = one(tmp_path / "more", "alter table users add column luck bigint")
    snapshots.take(production, Side.TARGET, tools=server.tool)  # Nobody verified it.
    with pytest.raises(Refusal, match=r"expected a verified snapshot of Postgres.*\n.*invoke snapshot.take --env"):
        run(production, server, history)
    assert revision_of(production) == HEAD
    snapshots.take_verified(production, Side.TARGET, tools=server.tool)
    assert run(production, server, history) == [NEXT]


def test_an_older_snapshot_is_brought_to_the_head_and_beyond(env: Environment, server: Server, tmp_path: Path) -> None:
    taken = snapshots.take_verified(env, Side.TARGET, tools=server.tool)
    folder = tmp_path / "more"
    write(folder, NEXT, "alter table users add column luck bigint")
    run(env, server, revisions.read(folder))
    write(folder, f"{int(NEXT) + 1:04}", "update users set luck = 1")
    tried = trial.try_revisions(env, history=revisions.read(folder), tools=server.tool)
    assert (tried.snapshot, tried.applied) == (taken, [NEXT, f"{int(NEXT) + 1:04}"])


def test_in_development_nothing_is_tried(env: Environment, server: Server, tmp_path: Path) -> None:
    assert run(env, server, one(tmp_path / "more", "alter table users add column luck bigint")) == [NEXT]
