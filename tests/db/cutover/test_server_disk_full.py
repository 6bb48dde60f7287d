"""Postgres's disk fills at each part of a live cutover: players play on, and running again ends with all of it."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest

from db.cutover import ending
from db.errors import Undone
from db.servers import Server, binaries
from db.servers.binaries import Local
from db.servers.vitals import lasting
from tests.db.cutover.cutover_world import made, wait_until
from tests.fixtures.small_disk import SmallDisk, mounted

LARGE = "UPDATE users SET currencyLogs = '[\"' || hex(randomblob(400000)) || '\"]'"
"""More than the pages that a table has free: what brings it to Postgres needs the disk."""


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallDisk]:
    # In /tmp itself: the account that Postgres runs under must be able to enter every folder above.
    with mounted(Path(tmp_path_factory.mktemp("server")), megabytes=400) as disk:
        for folder in (disk.folder.parent, disk.folder.parent.parent):
            folder.chmod(0o711)
        yield disk


@pytest.fixture(scope="module")
def own_server(disk: SmallDisk) -> Iterator[Server]:
    """A server of this module's own, with its data on the small disk."""
    if why := Local().missing():
        pytest.skip(f"needs a server whose folder can be chosen: {why}")
    with pytest.MonkeyPatch.context() as placed:
        placed.setattr(binaries, "scratch", lambda: disk.folder)
        with lasting("local") as (own, _):
            yield own


@pytest.mark.parametrize(
    ("when", "part"), [("before", "copy"), ("before", "stand by"), ("before", "window"), ("at", "window")]
)
def test_players_play_on_where_postgres_has_no_room_and_running_again_goes_on(
    own_server: Server, disk: SmallDisk, tmp_path: Path, when: str, part: str
) -> None:
    def observer(moment: str, step: str) -> None:
        if (moment, step) == (when, part):
            world.write_to_legacy(LARGE)
            disk.fill()

    with made(own_server, tmp_path) as world:
        try:
            with pytest.raises(Undone, match="No space left on device"):
                world.cutover(offline=False, observer=observer)
            assert (world.phase(), world.legacy_fence(), world.engine()) == ("aborted", "open", "legacy")
            assert "players play on SQLite" in ending.ended(world.env, "undone").line
            assert world.act(0, "full").status_code == HTTPStatus.OK
        finally:
            disk.free()
        world.cutover(offline=False)
        world.assert_open_on_postgres()
        wait_until(lambda: world.act(0, "full").json()["replayed"])
