"""A tool that was updated within a move, or between a cutover and its rollback, goes on from what is there."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from db import ops
from db.servers import Server
from tests.db.cutover.cutover_world import World, quiet_world, world
from tests.fixtures import earlier_commit

__all__ = ["world"]

SCRIPT = Path(__file__).with_name("earlier_run.py")


@pytest.fixture
def quiet(server: Server, tmp_path: Path) -> Iterator[World]:
    """The game with a stand-in for the service."""
    with quiet_world(server, tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree of the commit before."""
    return earlier_commit.extracted(earlier_commit.BEFORE, tmp_path_factory.mktemp("earlier"))


def by_earlier(tree: Path, world: World, verb: str, *, dies_before: str = "", abort: bool = False) -> None:
    """Run the move by the earlier tool, to its end or until it kills itself."""
    env = world.env
    given = {
        "tree": str(tree),
        "owner": env.target_direct.as_text(),
        "service": env.target.as_text(),
        "legacy": str(env.legacy.path),
        "folder": str(world.folder),
        "pointer": str(env.pointer.path),
        "services": env.services,
        "restart": env.hooks.restart,
        "handle": world.server.handle(),
        "verb": verb,
        "dies_before": dies_before,
        "abort": abort,
    }
    done = earlier_commit.run(tree, SCRIPT, json.dumps(given))
    assert done.returncode == (-signal.SIGKILL if dies_before else 0), done.stdout + done.stderr


@pytest.mark.plan(31)
@pytest.mark.parametrize("step", ["copy", "live", "first snapshot"])
def test_a_cutover_that_an_earlier_tool_began_is_gone_on_with(quiet: World, earlier: Path, step: str) -> None:
    by_earlier(earlier, quiet, "cutover", dies_before=step)
    assert quiet.cutover().verdict == "live"
    quiet.assert_whole_on_postgres()
    assert len([*quiet.runs.glob("*/journal.jsonl")]) == 1, "the same run"


@pytest.mark.parametrize("step", ["copy", "live"])
def test_a_cutover_that_an_earlier_tool_began_is_undone(quiet: World, earlier: Path, step: str) -> None:
    by_earlier(earlier, quiet, "cutover", dies_before=step)
    assert quiet.cutover(abort=True).verdict == "undone"
    quiet.assert_whole_on_legacy()


@pytest.mark.plan(26, 31)
def test_after_a_cutover_by_an_earlier_tool_the_rollback_carries_back_what_players_did(
    world: World, earlier: Path
) -> None:
    by_earlier(earlier, world, "cutover")
    world.assert_whole_on_postgres()
    assert world.act(0, "after-the-update").status_code == 200
    assert world.rollback().verdict == "returned"
    assert (world.phase(), world.legacy_fence(), world.engine()) == ("returned", "open", "legacy")
    answered = world.act(0, "after-the-update")
    assert (answered.status_code, answered.json()["replayed"]) == (200, True)


def test_a_rollback_that_an_earlier_tool_began_is_gone_on_with(quiet: World, earlier: Path) -> None:
    quiet.cutover()
    by_earlier(earlier, quiet, "rollback", dies_before="switch")
    assert quiet.rollback().verdict == "returned"
    assert (quiet.phase(), quiet.legacy_fence(), quiet.engine()) == ("returned", "open", "legacy")


def test_a_database_that_an_earlier_tool_prepared_is_named_until_it_is_prepared_again(quiet: World) -> None:
    with ops.connect(quiet.owner) as conn:
        conn.execute("alter table ops.fence drop column draw_epoch")  # As before the version that added it.
    with pytest.raises(Exception, match=r"one by an older version.*\n.*invoke prepare --env test"):
        quiet.cutover()
    ops.prepare(quiet.owner, "test")
    assert quiet.cutover().verdict == "live"
