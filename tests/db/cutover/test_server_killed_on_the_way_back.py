"""Postgres is killed and recovers in the window of a live rollback: one store is open, and running again goes on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from db.cutover.context import FAILURES
from db.errors import ToolError
from db.servers import Server
from harness import wire
from harness.load.server_crash import answers, crash
from harness.wire import Decision, DropBefore, DropReply, Open, Pass, Proxy, ProxySession, RoundTrip
from tests.db.cutover.cutover_world import World, made, wait_until
from tests.db.cutover.test_beside_the_window import once
from tests.db.cutover.test_server_killed import own_server
from tests.db.cutover.test_struck_on_the_way_back import assert_back

__all__ = ["own_server"]

LIVE, BACK = ("live", "moved"), ("returned", "open")


@dataclass
class AtTheCommit(Open):
    """Loses the COMMIT of the window, or its answer, and has the server killed right then. struck: what was lost."""

    decision: Decision
    kill: Callable[[], None]
    armed: bool = False
    struck: list[str] = field(default_factory=list)

    def intercept(self, session: ProxySession, trip: RoundTrip) -> Decision:
        if not self.armed or trip.sql != "commit":
            return Pass()
        self.armed = False
        self.struck.append(trip.sql)
        if isinstance(self.decision, DropBefore):
            self.kill()
        return self.decision

    def answered(self, session: ProxySession, trip: RoundTrip) -> None:
        if self.struck and trip.sql == "commit" and isinstance(self.decision, DropReply):
            self.kill()


@pytest.mark.parametrize(
    ("when", "part", "settled"),
    [("at", "last round", LIVE), ("at", "sent", LIVE), ("at", "returned", BACK), ("before", "put away", BACK)],
)
def test_a_server_that_is_killed_and_recovers_ends_in_one_open_store(
    own_server: Server, tmp_path: Path, when: str, part: str, settled: tuple[str, str]
) -> None:
    with made(own_server, tmp_path) as world:
        world.cutover(offline=False)
        struck: list[str] = []

        def kill() -> None:
            struck.append(part)
            crash(own_server)

        with suppress(ToolError, *FAILURES):
            world.rollback(offline=False, observer=once(when, part, kill))
        assert struck
        assert_goes_back(world, settled)


@pytest.mark.parametrize(
    ("decision", "settled"), [(DropBefore(), LIVE), (DropReply(), BACK)], ids=["lost", "carried out"]
)
def test_a_server_that_is_killed_when_the_commit_was_sent_ends_in_one_open_store(
    own_server: Server, tmp_path: Path, decision: Decision, settled: tuple[str, str]
) -> None:
    """Whether it came to the server or not, the tool hears nothing. Only the phase tells, once Postgres answers."""
    with made(own_server, tmp_path) as world:
        world.cutover(offline=False)
        lost = AtTheCommit(decision, lambda: crash(own_server))

        def arm() -> None:
            lost.armed = True

        with Proxy(wire.address(own_server.maintenance), lost) as proxy, suppress(ToolError, *FAILURES):
            behind = world.with_(target_direct=proxy.url(world.owner))
            behind.rollback(offline=False, observer=once("at", "sent", arm))
        assert lost.struck == ["commit"]
        assert_goes_back(world, settled)


def assert_goes_back(world: World, settled: tuple[str, str]) -> None:
    wait_until(lambda: answers(world.server), 60)
    wait_until(lambda: (world.phase(), world.legacy_fence()) == settled, 60)
    wait_until(lambda: world.save(0, "after").status_code == 200, 60)
    world.rollback(offline=False)
    assert_back(world)
    assert world.save(0, "after").json()["replayed"]
