"""Tests that a remembered request draws anew where writes are given up, and as before where they are kept."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path

import pytest

from db import ops, snapshots, transfer
from db.cutover import pointer
from db.cutover.advice import EnvironmentState, Fence, FenceOwner, PointerTo
from db.environments import Environment
from db.errors import Failure, Undone
from db.legacy.comparison import compare_files
from db.ops import Phase, fence
from db.schema import draws, grants, migrate, revisions
from db.servers import Server
from db.snapshots import Side, kept, postgres
from game.dispatch import Request, dispatch
from game.legacy import draws as legacy_draws
from game.legacy import fence as legacy_fence
from game.legacy import sqlite_values
from game.rules.chance import Chance
from game.rules.commands import Command, FinishTournament, SavePreset
from game.stores import open_store
from tests.db.cutover.cutover_world import World, failing_smoke, quiet_world, run_rollback
from tests.db.cutover.standing import set_up

SPAWN = get_context("forkserver")
KILLED = -signal.SIGKILL
LIVE = EnvironmentState(Phase.LIVE, Fence.MOVED, FenceOwner.THIS_RUN, Fence.OPEN, PointerTo.TARGET)
BEFORE = EnvironmentState(Phase.EMPTY, Fence.OPEN, FenceOwner.NOBODY, Fence.FENCED, PointerTo.LEGACY)


@pytest.fixture(scope="module")
def world(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with quiet_world(server, tmp_path_factory.mktemp("draws")) as world:
        migrate.migrate(world.owner, environment="test", service_role=world.env.target.user)
        yield world


@pytest.fixture(scope="module")
def remembered() -> set[int]:
    """All that a player ever saw the remembered request draw."""
    return set()


class Foretold(Exception):
    """Ends an attempt at its first draw, so that nothing of it is kept."""


class Foretelling(Chance):
    def _number(self, name: str, n: int, of: str) -> int:
        raise Foretold(super()._number(name, n, of))


def drawn(world: World) -> int:
    """Return what the remembered request draws on the store that serves the game."""
    player, kind = world.unfinished[0]
    with pytest.raises(Foretold) as foretold:
        ask(world, player, FinishTournament(kind), "remembered", Foretelling)
    return int(foretold.value.args[0])


def grant(world: World) -> None:
    """A write that is granted on the store that serves the game."""
    ask(world, world.unfinished[0][0], SavePreset("연습"), f"granted-{secrets.token_hex(4)}", Chance)


def ask(world: World, player: str, command: Command, key: str, chance: type[Chance]) -> None:
    url = pointer.url(world.env.pointer)
    assert url is not None
    with closing(open_store(url.as_text())) as store:
        dispatch(
            store,
            Request(player, key, command),
            clock=lambda: 1_800_000_000_000,
            chance=lambda request: chance("a secret of the tests", request),
        )


def discard(world: World) -> None:
    grant(world)
    world.rollback(discard_writes=True, accept_loss=1)


def discard_killed_at(when: str, step: str) -> Callable[[World], None]:
    def way(world: World) -> None:
        grant(world)
        assert world.dies(when, step, run_rollback, discard_writes=True, accept_loss=1) == KILLED
        world.rollback(discard_writes=True, accept_loss=1)

    return way


def discard_gone_on_without_the_option(world: World) -> None:
    """From R7 on a run does not ask any more what is given up."""
    grant(world)
    assert world.dies("after", "return", run_rollback, discard_writes=True, accept_loss=1) == KILLED
    world.rollback()


def lift_lost_in(phase: Phase) -> Callable[[World], None]:
    """A failover lost what players did on Postgres, and the operator opens the file as it was."""

    def way(world: World) -> None:
        with ops.connect(world.owner) as conn:
            conn.execute("update ops.phase set phase = %s", (phase,))
            fence.raise_fence(conn)
        if phase is Phase.RETURNED:
            world.rollback()
        else:
            world.cutover(abort=True)

    return way


def opened_by_hand_and_adopted(world: World) -> None:
    grant(world)
    world.lift_legacy()
    world.env.pointer.path.write_text(world.pointer_before)
    world.rollback(discard_writes=True, accept_loss=1)


def restored(world: World) -> None:
    taken = snapshots.take(world.env, Side.TARGET, tools=world.server.tool)
    grant(world)
    snapshots.restore(world.env, taken, keep_fence=False, replace=True, tools=world.server.tool)


def restored_from_before_the_epochs(world: World) -> None:
    """The snapshot is of tables whose view tells no epoch."""
    (view,) = [
        statement for statement in revisions.read().revisions[0].statements if "create view fence_state" in statement
    ]
    older(world, view)
    taken = snapshots.take(world.env, Side.TARGET, tools=world.server.tool)
    migrate.migrate(world.owner, environment="test", service_role=world.env.target.user)
    grant(world)
    snapshots.restore(world.env, taken, keep_fence=False, replace=True, tools=world.server.tool)
    assert migrate.drift(world.owner) == []
    assert migrate.migrate(world.owner, environment="test", service_role=world.env.target.user).applied == []


def older(world: World, view: str) -> None:
    """Make the tables those of the revision before the epochs, with this view of the fence."""
    with ops.connect(world.owner) as conn:
        conn.execute("drop view fence_state")
        conn.execute(view.encode())
        conn.execute("update alembic_version set version_num = '0002'")
        conn.execute("delete from ops.revisions where revision > '0002'")


def all_kept(world: World) -> set[str]:
    with ops.connect(world.owner) as conn:
        return {one.schema for one in kept.find(conn)}


def put_back_one_of(world: World, schemas: set[str]) -> None:
    (schema,) = schemas
    with ops.connect(world.owner) as conn:
        kept.put_back(conn, world.owner.schema, schema, service_role=world.env.target.user, keep_fence=False)


def restore_killed_at(at: str) -> Callable[[World], None]:
    def way(world: World) -> None:
        taken = snapshots.take(world.env, Side.TARGET, tools=world.server.tool)
        grant(world)
        before = epoch(world)
        process = SPAWN.Process(target=_restore_and_die, args=(world.env, taken.folder, world.server.handle(), at))
        process.start()
        process.join()
        assert process.exitcode == KILLED
        assert epoch(world) == before, "one transaction: nothing was given up yet"
        snapshots.restore(world.env, taken, keep_fence=False, replace=True, tools=world.server.tool)

    return way


def _restore_and_die(env: Environment, folder: Path, handle: str, at: str) -> None:
    def dies(*_arguments: object, **_named: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    module, _, name = at.rpartition(".")
    setattr({"postgres": postgres, "migrate": migrate, "fence": fence, "grants": grants}[module], name, dies)
    taken = snapshots.read(folder)
    snapshots.restore(env, taken, keep_fence=False, replace=True, tools=Server.attach(handle).tool)


def put_back(world: World) -> None:
    """Put back the schema that a restore kept; it is older than what players did since."""
    before = all_kept(world)
    restored(world)
    grant(world)
    put_back_one_of(world, all_kept(world) - before)


def legacy_restored(world: World) -> None:
    taken = snapshots.take(world.env, Side.LEGACY)
    grant(world)
    snapshots.restore(world.env, taken, keep_fence=False, replace=True)


def legacy_restored_fenced(world: World) -> None:
    """A snapshot of a fenced file, which stays so; somebody lifts the fence later."""
    with closing(sqlite_values.connect(world.env.legacy.path)) as connection:
        legacy_fence.raise_fence(connection)
        taken = snapshots.take(world.env, Side.LEGACY)
        legacy_fence.lift(connection)
    grant(world)
    snapshots.restore(world.env, taken, keep_fence=True, replace=True)
    world.lift_legacy()


GIVEN_UP: dict[str, tuple[EnvironmentState, Callable[[World], None]]] = {
    "rollback --discard-writes": (LIVE, discard),
    "the same, killed after R3": (LIVE, discard_killed_at("after", "fence Postgres")),
    "the same, killed after R4": (LIVE, discard_killed_at("after", "discard")),
    "the same, killed before R7": (LIVE, discard_killed_at("before", "return")),
    "the same, killed after R7 and gone on with": (LIVE, discard_gone_on_without_the_option),
    **{
        f"opened after a lost lift, phase {phase}": (LIVE, lift_lost_in(phase))
        for phase in Phase
        if phase is not Phase.LIVE
    },
    "opened by hand, then adopted": (LIVE, opened_by_hand_and_adopted),
    "snapshot.restore of Postgres": (LIVE, restored),
    "snapshot.restore from before the epochs": (LIVE, restored_from_before_the_epochs),
    **{
        f"snapshot.restore killed at {at}": (LIVE, restore_killed_at(at))
        for at in ("postgres._load", "migrate.adopt", "fence.lift", "grants.grant")
    },
    "snapshot.kept --put-back": (LIVE, put_back),
    "snapshot.restore of the file": (BEFORE, legacy_restored),
    "snapshot.restore of a fenced file": (BEFORE, legacy_restored_fenced),
}


@pytest.mark.parametrize("way", GIVEN_UP)
def test_a_remembered_request_draws_anew_where_writes_are_given_up(
    world: World, remembered: set[int], way: str
) -> None:
    state, act = GIVEN_UP[way]
    set_up(world, state)
    remembered.add(drawn(world))

    act(world)

    now = drawn(world)
    assert now not in remembered
    assert now == drawn(world)
    remembered.add(now)


def test_old_tables_that_can_not_be_made_to_tell_the_epoch_are_not_put_back(world: World, remembered: set[int]) -> None:
    """Somebody changed their view by hand. A snapshot is restored instead, as the message says."""
    set_up(world, LIVE)
    remembered.add(drawn(world))
    whole = snapshots.take(world.env, Side.TARGET, tools=world.server.tool)
    before = all_kept(world)
    older(world, "create view fence_state as select 'open'::text as state, 'test'::name as environment")
    snapshots.restore(world.env, whole, keep_fence=False, replace=True, tools=world.server.tool)
    now, kept_now = drawn(world), all_kept(world)

    with pytest.raises(Failure, match="revision 0003 to pass") as failure:
        put_back_one_of(world, kept_now - before)

    assert (drawn(world), all_kept(world)) == (now, kept_now), "nothing was changed"
    remembered.add(now)
    assert "invoke snapshot.restore" in failure.value.do
    snapshots.restore(world.env, whole, keep_fence=False, replace=True, tools=world.server.tool)
    assert drawn(world) not in remembered


def cut_over(world: World) -> None:
    grant(world)
    assert world.cutover().verdict == "live"


def cut_over_undone(world: World) -> None:
    with pytest.raises(Undone):
        world.cutover(smoke=failing_smoke)


def rolled_back(world: World) -> None:
    grant(world)
    assert world.rollback().verdict == "returned"


def rolled_back_after_a_kill(world: World) -> None:
    grant(world)
    assert world.dies("after", "carry back", run_rollback) == KILLED
    assert world.rollback().verdict == "returned"


def carried_back_after_a_discard_was_killed(world: World) -> None:
    grant(world)
    assert world.dies("after", "discard", run_rollback, discard_writes=True, accept_loss=1) == KILLED
    assert world.rollback().verdict == "returned"


def rollback_undone(world: World, **wish: object) -> None:
    grant(world)
    with pytest.raises(Undone):
        world.rollback(smoke=failing_smoke, **wish)


KEPT: dict[str, tuple[EnvironmentState, Callable[[World], None]]] = {
    "cutover": (BEFORE, cut_over),
    "cutover, undone": (BEFORE, cut_over_undone),
    "rollback": (LIVE, rolled_back),
    "rollback, killed after R4": (LIVE, rolled_back_after_a_kill),
    "rollback after one that discards was killed": (LIVE, carried_back_after_a_discard_was_killed),
    "rollback, undone": (LIVE, rollback_undone),
    "rollback --discard-writes, undone": (
        LIVE,
        lambda world: rollback_undone(world, discard_writes=True, accept_loss=1),
    ),
}


@pytest.mark.parametrize(
    ("way", "begun"), [("cutover", ""), ("rollback", ""), *((way, "an epoch from before") for way in KEPT)]
)
def test_a_request_draws_as_before_where_writes_are_kept(world: World, way: str, begun: str) -> None:
    state, act = KEPT[way]
    world.lift_legacy()
    give_legacy(world.env.legacy.path, begun)
    set_up(world, state)
    if state is BEFORE:  # What Postgres has from an earlier attempt is not what counts.
        with ops.connect(world.owner) as conn:
            draws.renew(conn, world.owner.schema)
    before = drawn(world)

    act(world)

    assert drawn(world) == before


def test_a_file_that_is_rebuilt_keeps_the_epoch(world: World, tmp_path: Path) -> None:
    world.lift_legacy()
    give_legacy(world.env.legacy.path, "an epoch that is carried")
    set_up(world, LIVE)

    transfer.back(world.owner, tmp_path / "back.db")

    with closing(sqlite_values.connect(tmp_path / "back.db", readonly=True)) as connection:
        assert legacy_draws.read(connection) == "an epoch that is carried"
    assert compare_files(world.env.legacy.path, tmp_path / "back.db") == []


def test_the_epoch_is_in_no_journal_report_or_status(world: World) -> None:
    set_up(world, LIVE)
    discard(world)
    with closing(sqlite_values.connect(world.env.legacy.path, readonly=True)) as connection:
        drawn_epoch = legacy_draws.read(connection)
    assert len(drawn_epoch) == 32
    assert drawn_epoch not in world.journals()
    assert not [path for path in world.runs.rglob("*") if path.is_file() and drawn_epoch.encode() in path.read_bytes()]


def epoch(world: World) -> str:
    with ops.connect(world.owner) as conn:
        row = conn.execute(
            "select coalesce(draw_epoch, '') from ops.fence where schema = %s", (world.owner.schema,)
        ).fetchone()
    assert row is not None
    return str(row[0])


def give_legacy(path: Path, value: str) -> None:
    with closing(sqlite_values.connect(path)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        legacy_draws.write(connection, value)
        connection.execute("COMMIT")
