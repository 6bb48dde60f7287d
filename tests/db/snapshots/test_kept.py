"""Schemas that a restore kept aside: listed, put back in one transaction, dropped; and a restore killed anywhere."""

from __future__ import annotations

import os
import signal
from multiprocessing import get_context
from pathlib import Path

import pytest

from db import ops, snapshots
from db.environments import Environment
from db.errors import Failure, Refusal
from db.ops import fence
from db.samples import seed
from db.schema import grants, migrate
from db.servers import Server
from db.snapshots import Side, dump, kept
from game.postgres.store import PostgresStore
from harness.cli.commands import environment_status
from harness.cli.commands import kept as keeping

SPAWN = get_context("forkserver")


def run(env: Environment, *, put_back: str = "", drop: str = "", unfence: bool = False) -> keeping.Done:
    return keeping.run(env, put_back, drop, unfence=unfence, confirmed=lambda: None)


def players(env: Environment) -> int:
    with ops.connect(env.target_direct) as conn:
        row = conn.execute("select count(*) from users").fetchone()
    assert row is not None
    return int(row[0])


def make_five(env: Environment) -> None:
    """Make other players in the place of those who are there."""
    with ops.connect(env.target_direct) as conn:
        conn.execute("update ops.phase set phase = 'empty'")
        seed.empty_postgres(env.target_direct, "test")
        seed.seed_postgres(env.target_direct, "test", 5)
        conn.execute("update ops.phase set phase = 'live'")


def restored_over(env: Environment, server: Server) -> str:
    """Take a snapshot of two players, make them five, and restore it over these; where the five are."""
    taken = snapshots.take_verified(env, Side.TARGET, tools=server.tool)
    make_five(env)
    return snapshots.restore(env, taken, keep_fence=False, replace=True, tools=server.tool)


def test_what_a_restore_kept_is_listed_put_back_and_dropped(env: Environment, server: Server) -> None:
    service = PostgresStore(env.target)
    assert service.status().lacks == ""
    aside = restored_over(env, server)
    assert players(env) == 2
    assert [(one.schema, one.players) for one in run(env).kept] == [(aside, 5)]
    assert f"{aside}, 5 players" in environment_status.status(env).values["kept schemas"]

    run(env, put_back=aside, unfence=True)

    assert players(env) == 5
    assert service.status().lacks == "", "a service that stayed connected goes on"
    service.close()
    assert migrate.drift(env.target_direct) == []
    assert migrate.migrate(env.target_direct, environment="test", service_role=env.target.user).applied == []
    with ops.connect(env.target) as conn:
        assert fence.state(conn) == "open"
        conn.execute("update users set gold = gold + 1")
    (other,) = run(env).kept
    assert other.players == 2
    with pytest.raises(Refusal, match="a schema that is kept; found 'game'"):
        run(env, drop="game")
    assert run(env, drop=other.schema).kept == ()
    assert "kept schemas" not in environment_status.status(env).values


@pytest.mark.parametrize("asked", ["game", "ops", "public", "replaced_nothing", 'x"; drop schema game; --'])
def test_no_other_schema_is_ever_put_back_or_dropped(env: Environment, asked: str) -> None:
    for wish in ({"put_back": asked}, {"drop": asked}):
        with pytest.raises(Refusal, match="the name of a schema that is kept"):
            run(env, **wish)  # type: ignore[arg-type]  # one of two names
    assert players(env) == 2


def _restore_and_die(env: Environment, folder: Path, handle: str, at: str) -> None:
    def dies(*_arguments: object, **_named: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    module, _, name = at.rpartition(".")
    homes = {"dump": dump, "kept": kept, "migrate": migrate, "fence": fence, "grants": grants}
    setattr(homes[module], name, dies)
    taken = snapshots.read(folder)
    snapshots.restore(env, taken, keep_fence=False, replace=True, tools=Server.attach(handle).tool)


@pytest.mark.parametrize(
    "at",
    [
        "dump.require_known",
        "dump.copy_rows",
        "kept.put_aside",
        "kept.move",
        "migrate.adopt",
        "fence.lift",
        "grants.grant",
    ],
)
def test_a_restore_that_is_killed_anywhere_leaves_the_game_as_it_was(env: Environment, server: Server, at: str) -> None:
    taken = snapshots.take_verified(env, Side.TARGET, tools=server.tool)
    make_five(env)
    process = SPAWN.Process(target=_restore_and_die, args=(env, taken.folder, server.handle(), at))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL

    assert run(env).kept == ()
    assert players(env) == 5
    assert migrate.drift(env.target_direct) == []
    with ops.connect(env.target) as conn:
        conn.execute("update users set gold = 7")

    snapshots.restore(env, taken, keep_fence=False, replace=True, tools=server.tool)
    assert players(env) == 2
    run(env, put_back=run(env).kept[0].schema, unfence=True)
    assert players(env) == 5


def test_options_that_exclude_or_need_each_other_are_refused_with_what_to_leave_out(env: Environment) -> None:
    with pytest.raises(Refusal, match="found both") as both:
        run(env, put_back="a", drop="b")
    assert both.value.do == "Nothing was changed. Leave one of them out."
    with pytest.raises(Refusal, match="--unfence alone") as alone:
        run(env, unfence=True)
    assert alone.value.do == "Nothing was changed. Leave it out, or add --put-back NAME."
    assert run(env).kept == ()


def test_a_put_back_that_fails_changes_nothing(
    env: Environment, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    aside = restored_over(env, server)

    def fails(*_arguments: object) -> None:
        raise Failure("a role", "none")

    with monkeypatch.context() as patch:
        patch.setattr(kept.grants, "grant", fails)
        with pytest.raises(Failure):
            run(env, put_back=aside)

    assert (players(env), [one.schema for one in run(env).kept]) == (2, [aside])
    with ops.connect(env.target) as conn:
        assert fence.state(conn) == "open"


def test_what_is_restored_is_no_proven_copy_of_a_cutover_that_stopped(env: Environment, server: Server) -> None:
    taken = snapshots.take_verified(env, Side.TARGET, tools=server.tool)
    for act in (
        lambda: snapshots.restore(env, taken, keep_fence=True, replace=True, tools=server.tool),
        lambda: run(env, put_back=run(env).kept[0].schema),
    ):
        with ops.connect(env.target_direct) as conn:
            conn.execute("update ops.phase set phase = 'loading', run = 'a-run'")
            conn.execute("insert into ops.proven (run) values ('a-run')")
        act()
        with ops.connect(env.target_direct) as conn:
            assert not ops.is_proven(conn, "a-run")
