"""No command says that a switch is done before its hooks have ended with 0: their effect may be on another machine.

Each hook, in each direction, fails once, dies with its run, or outlives it; on the way forward, and in the undo. Then
the commands that `status` names are run until nothing is left: the copy of the pointer's file on "app2" names the store
that players play on. And what the undo says, the last line says too.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from db.cutover import ending, hooks, pointer, rollback
from db.cutover import run as cutover
from db.cutover.advice import Command, Elsewhere, Ends, Fence, FenceOwner, PointerTo, Settled, State
from db.environments import Hooks
from db.errors import Failure, Inconclusive, Undone
from db.ops import Phase
from db.servers import Server
from tests.db.cutover.cutover_world import KILL_THE_RUN, World, failing_smoke, proven, quiet_world, wait_until
from tests.db.cutover.standing import run, set_up

STARTS = {
    "cutover": State(Phase.ABORTED, Fence.OPEN, FenceOwner.NOBODY, Fence.FENCED, PointerTo.LEGACY),
    "rollback": State(Phase.LIVE, Fence.MOVED, FenceOwner.THIS_RUN, Fence.OPEN, PointerTo.TARGET),
}
ENGINES = {("cutover", "forward"): "postgres", ("cutover", "undo"): "legacy",
           ("rollback", "forward"): "legacy", ("rollback", "undo"): "postgres"}  # fmt: skip
ABORTS = {"cutover": Command.ABORT, "rollback": Command.ABORT_ROLLBACK}
FAULTS = {
    "fails": "echo mended soon; exit 3",
    "killed": f"{KILL_THE_RUN}; exit 3",
    "outlives": f"{KILL_THE_RUN}; touch hangs; sleep 600",
}
EVERY = [*product(("cutover", "rollback"), ("forward", "undo"), ("deploy", "restart"), FAULTS)]
SAMPLE = [
    ("cutover", "undo", "deploy", "fails"), ("rollback", "undo", "deploy", "fails"),
    ("cutover", "undo", "restart", "outlives"), ("rollback", "undo", "deploy", "outlives"),
    ("cutover", "forward", "deploy", "killed"), ("rollback", "forward", "restart", "fails"),
    ("cutover", "undo", "deploy", "killed"), ("rollback", "forward", "deploy", "outlives"),
]  # fmt: skip
"""`--exhaustive` plays every one."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "fault" in metafunc.fixturenames:
        faults = EVERY if metafunc.config.getoption("exhaustive") else SAMPLE
        metafunc.parametrize("fault", faults, ids="-".join)


@pytest.fixture(scope="module")
def world(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with quiet_world(server, tmp_path_factory.mktemp("elsewhere")) as world:
        world.cutover()
        world.rollback()
        yield world


def test_a_switch_is_done_once_its_hooks_have_ended_with_0(
    world: World, fault: tuple[str, str, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    verb, way, hook, how = fault
    set_up(world, STARTS[verb])
    app2 = world.folder / "app2.env"
    app2.write_text(world.env.pointer.path.read_text())
    struck = _with_fault(world, app2, hook, ENGINES[verb, way], FAULTS[how])
    smoke = failing_smoke if way == "undo" else None

    if how == "fails":
        with pytest.raises(Failure if way == "undo" else Undone) as ended:
            getattr(struck, verb)(**({"smoke": smoke} if smoke else {}))
        if way == "undo":
            said = str(ended.value)
            assert "found refused bag_full" in said.partition("and of the undo")[0], said
            assert "code 3: mended soon" in said.partition("and of the undo")[2], said
            assert f"invoke {verb} --env test --abort" in ended.value.do
            assert ending.ended(struck.env, "failed").next.startswith(f"invoke {verb} --env test --abort (")
    else:
        module = cutover.run if verb == "cutover" else rollback.run
        given = ({"evidence": proven} if verb == "cutover" else {}) | ({"smoke": smoke} if smoke else {})
        assert struck.dies("never", "", module, **given) == -signal.SIGKILL
    if how == "outlives":
        _end_what_hangs(struck, monkeypatch)

    commands = _finish(struck)

    if way == "undo":
        assert commands == [ABORTS[verb]]
    assert pointer.read(world.env.pointer) in app2.read_text(), commands
    seen = ending.look(world.env)
    assert seen.serves == f"players play on {'Postgres' if world.phase() == 'live' else 'SQLite'}"


def _with_fault(world: World, app2: Path, hook: str, engine: str, fault: str) -> World:
    """Deploy to app2 by copying the file; the hook has the fault once, for this engine, before it does anything."""
    due = world.folder / "due"
    due.touch()
    commands = {"deploy": f'cp "$ENV_FILE" {app2}', "restart": str(world.env.hooks.restart)}
    once = fault.replace("touch hangs", f"touch {world.folder}/hangs")
    commands[hook] = f'if [ "$ENGINE" = {engine} ] && rm {due} 2>&-; then {once}; fi; {commands[hook]}'
    return world.with_(hooks=Hooks(**commands))


def _end_what_hangs(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Do what the status and the refusal of a run say: end the process group that both name."""
    wait_until((world.folder / "hangs").exists)
    (world.folder / "hangs").unlink()
    advice, text = ending.look(world.env).advice, ending.look(world.env).next
    assert isinstance(advice, Elsewhere), advice
    assert "A hook of a run that ended is still at work" in text
    named = re.search(r"kill -- -(\d+); then: (invoke .*)", text)
    assert named is not None, text
    with monkeypatch.context() as patch:
        patch.setattr(hooks, "ORPHAN_SECONDS", 0.2)
        aborts = "--abort" in named[2].partition(" (")[0]
        with pytest.raises(Inconclusive, match=f"kill -- -{named[1]}. Then run again"):
            (world.rollback if "rollback" in named[2] else world.cutover)(abort=aborts)
        assert ending.ended(world.env, "inconclusive").next.endswith(named[2])
    os.killpg(int(named[1]), signal.SIGKILL)
    wait_until(lambda: hooks.at_work(world.env) is None)


def _finish(world: World) -> list[Command]:
    """Run what the status names until nothing is left."""
    done: list[Command] = []
    while isinstance(advice := ending.look(world.env).advice, Ends):
        assert len(done) < 3, done
        done.append(advice.command)
        run(world, advice.command)
    assert isinstance(advice, Settled), advice
    return done
