"""Postgres is killed and recovers at each part of a live cutover: one store is open, and running again goes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest

from db.errors import ToolError
from db.servers import Server
from db.servers.vitals import lasting
from harness.load.server_crash import answers, crash
from tests.db.cutover.cutover_world import made, wait_until

PARTS = [
    ("before", "copy"),
    ("before", "stand by"),
    ("at", "window"),
    ("at", "fence"),
    ("at", "lock"),
    ("at", "last round"),
    ("at", "checks"),
    ("at", "live"),
    ("after", "window"),
    ("before", "instant"),
    ("before", "capture off"),
]
BEYOND = PARTS[PARTS.index(("at", "live")) :]


@pytest.fixture(scope="module")
def own_server(server: Server) -> Iterator[Server]:
    """A server of this module's own: a crash takes every session of its server."""
    with lasting(server.kind if server.kind in ("docker", "local") else None) as (own, _):
        yield own


@pytest.mark.parametrize(("when", "part"), PARTS)
def test_a_server_that_is_killed_and_recovers_ends_in_one_open_store(
    own_server: Server, tmp_path_factory: pytest.TempPathFactory, when: str, part: str
) -> None:
    struck: list[str] = []

    def observer(moment: str, step: str) -> None:
        if (moment, step) == (when, part) and not struck:
            struck.append(step)
            crash(own_server)

    with made(own_server, tmp_path_factory.mktemp("killed")) as world:
        assert world.act(0, "before").status_code == 200
        with suppress(ToolError):
            world.cutover(offline=False, observer=observer)
        assert struck
        wait_until(lambda: answers(own_server))
        assert (world.phase() == "live") == ((when, part) in BEYOND)
        assert world.legacy_fence() == ("moved" if (when, part) in BEYOND else "open")
        wait_until(lambda: world.act(1, "after").status_code == 200)
        world.cutover(offline=False)
        world.assert_open_on_postgres()
        for number, request in enumerate(("before", "after")):
            assert world.act(number, request).json()["replayed"]
