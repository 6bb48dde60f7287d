"""Players of the legacy file whom Postgres lacks: no rollback deletes one from the file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest

from db import ops, snapshots
from db.cutover import services
from db.cutover.report import CheckMark
from db.errors import Refusal
from db.ops import fence
from db.samples import seed
from db.schema import migrate
from db.servers import Server
from db.snapshots import Side, Snapshot, kept
from game import tables
from tests.db.cutover.cutover_world import World, quiet_world

LEFT_AS_IT_WAS = re.compile(r"invoke rollback --env test --discard-writes --accept-loss (\d+)")
ALL_TABLES = ", ".join(table.name for table in tables.ALL)


@pytest.fixture(scope="module")
def server_world(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with quiet_world(server, tmp_path_factory.mktemp("missing")) as made:
        yield made


@pytest.fixture
def world(server_world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A live game; no services on trial, which take seconds."""
    monkeypatch.setattr(services, "trial", lambda url: services.Ready("", 200, services.engine(url), "", "", 1, ""))
    server_world.cutover()
    return server_world


@pytest.fixture(scope="module")
def empty(server_world: World) -> Snapshot:
    """A snapshot of Postgres from before the cutover."""
    migrate.migrate(server_world.owner, environment="test", service_role=server_world.env.target.user)
    return snapshots.take(server_world.env, Side.TARGET, tools=server_world.server.tool)


def executed(*statements: str) -> Callable[[World, Snapshot], None]:
    def lose(world: World, _empty: Snapshot) -> None:
        with ops.connect(world.owner) as conn, fence.own_pass(conn):  # The journals refuse a DELETE without one.
            for statement in statements:
                conn.execute(statement.encode())

    return lose


def other_players(world: World, _empty: Snapshot) -> None:
    """As many as there were, in their places."""
    with ops.connect(world.owner) as conn:
        conn.execute("update ops.phase set phase = 'aborted'")
        seed.empty_postgres(world.owner, "test")
        seed.seed_postgres(world.owner, "test", 10, 7)
        fence.lift(conn)
        conn.execute("update ops.phase set phase = 'live'")


def restored(world: World, snapshot: Snapshot, *, keep_fence: bool = False) -> None:
    snapshots.restore(world.env, snapshot, keep_fence=keep_fence, replace=True, tools=world.server.tool)


_ONE = "(select id from users order by id limit 1)"
LOST: dict[str, tuple[int, Callable[[World, Snapshot], None]]] = {
    "all tables emptied": (10, executed(f"truncate {ALL_TABLES}")),
    "users emptied": (10, executed("truncate users cascade")),
    "one deleted": (
        1,
        executed(
            *(
                f"delete from {table.name} where user_id = {_ONE}"
                for table in tables.PLAYER_STATE[:0:-1]
                if "user_id" in table.columns
            ),
            f"delete from users where id = {_ONE}",
        ),
    ),
    "what was kept of their rows emptied": (10, executed("delete from legacy_rows where source = 'users'")),
    "as many others in their places": (10, other_players),
    "an older snapshot restored": (10, restored),
}


@pytest.mark.parametrize("loss", LOST)
def test_a_rollback_that_would_delete_players_is_refused_and_can_leave_the_file_as_it_was(
    loss: str, world: World, empty: Snapshot
) -> None:
    missing, lose = LOST[loss]
    lose(world, empty)

    (check,) = [one for one in world.rollback(dry_run=True).checks if one.mark is CheckMark.REFUSED]
    assert (check.name, check.expected) == ("players", "all 10 players of the legacy file in Postgres")
    assert check.found.startswith(f"{missing} missing: ")
    with pytest.raises(Refusal, match=f"found {missing} missing"):
        world.rollback()
    assert (world.phase(), world.legacy_fence()) == ("live", "moved")
    world.assert_same_as_before()

    accepted = LEFT_AS_IT_WAS.search(check.do)
    assert accepted
    assert world.rollback(discard_writes=True, accept_loss=int(accepted[1])).verdict == "returned"
    world.assert_same_as_before()


def test_what_is_restored_after_a_rollback_is_put_away_as_often_as_it_is_and_a_cutover_goes_on(
    world: World, empty: Snapshot
) -> None:
    """Each takes a name of its own beside those of the same run."""
    full = snapshots.take(world.env, Side.TARGET, tools=world.server.tool)
    run = world.rollback().run
    for _ in range(2):
        restored(world, full, keep_fence=True)
        with pytest.raises(Refusal, match="it, and they are kept in another schema: invoke rollback"):
            world.cutover()
        assert world.rollback().verdict == "returned"
    with ops.connect(world.owner) as conn:
        players_of = {one.schema: one.players for one in kept.find(conn)}
    of_this_run = {name: players for name, players in players_of.items() if run in name}
    assert of_this_run == dict.fromkeys((f"rolled_back_{run}", f"rolled_back_{run}_2", f"rolled_back_{run}_3"), 10)
    assert world.cutover().verdict == "live"
    world.rollback()
