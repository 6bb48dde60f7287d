"""No command says that a switch is done before its hooks have ended with 0: their effect may be on another machine.

Each hook, in each direction, fails once, dies with its run, or outlives it; on the way forward, and in the undo. Then
the commands that `status` names are run until nothing is left: the copy of the pointer's file on "app2" names the store
that players play on. And what the undo says, the last line says too.
"""

from __future__ import annotations

import errno
import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from db.cutover import ending, hooks, move_status, pointer, switch
from db.cutover.advice import Elsewhere, Ends, EnvironmentState, Fence, FenceOwner, OperatorCommand, PointerTo, Settled
from db.cutover.context import READ_ONLY_BEGINS as BEGINS
from db.cutover.context import READ_ONLY_ENDS as ENDS
from db.cutover.context import read_only_seconds, text_of
from db.cutover.journal import Journal
from db.environments import Hooks, Pointer
from db.errors import Failure, Inconclusive, Refusal, Undone
from db.ops import Phase
from db.servers import Server
from tests.db.cutover.cutover_world import (
    KILL_THE_RUN,
    World,
    failing_before,
    failing_smoke,
    quiet_world,
    run_cutover,
    run_rollback,
    wait_until,
)
from tests.db.cutover.standing import run, set_up

STARTS = {
    "cutover": EnvironmentState(Phase.ABORTED, Fence.OPEN, FenceOwner.NOBODY, Fence.FENCED, PointerTo.LEGACY),
    "rollback": EnvironmentState(Phase.LIVE, Fence.MOVED, FenceOwner.THIS_RUN, Fence.OPEN, PointerTo.TARGET),
}
ENGINES = {
    ("cutover", "forward"): "postgres",
    ("cutover", "undo"): "legacy",
    ("rollback", "forward"): "legacy",
    ("rollback", "undo"): "postgres",
}
ABORTS = {"cutover": OperatorCommand.ABORT, "rollback": OperatorCommand.ABORT_ROLLBACK}
FAULTS = {
    "fails": "echo mended soon; exit 3",
    "killed": f"{KILL_THE_RUN}; exit 3",
    "outlives": f"{KILL_THE_RUN}; touch hangs; sleep 600",
}
EVERY = [*product(("cutover", "rollback"), ("forward", "undo"), ("deploy", "restart"), FAULTS)]
SAMPLE = [
    ("cutover", "undo", "deploy", "fails"),
    ("rollback", "undo", "deploy", "fails"),
    ("cutover", "undo", "restart", "outlives"),
    ("rollback", "undo", "deploy", "outlives"),
    ("cutover", "forward", "deploy", "killed"),
    ("rollback", "forward", "restart", "fails"),
    ("cutover", "undo", "deploy", "killed"),
    ("rollback", "forward", "deploy", "outlives"),
]
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
            message = str(ended.value)
            assert "found refused bag_full" in message.partition("and of the undo")[0], message
            assert "code 3: mended soon" in message.partition("and of the undo")[2], message
            assert f"invoke {verb} --env test --abort" in ended.value.do
            assert ending.ended(struck.env, "failed").next.startswith(f"invoke {verb} --env test --abort (")
        if (verb, way) == ("rollback", "undo"):
            with pytest.raises(Refusal, match="Finish it first: invoke rollback --env test --abort"):
                struck.rollback()
    else:
        module = run_cutover if verb == "cutover" else run_rollback
        given = {"smoke": smoke} if smoke else {}
        assert struck.dies("never", "", module, **given) == -signal.SIGKILL
    if how == "outlives":
        _end_what_hangs(struck, monkeypatch)

    commands = _finish(struck)

    if way == "undo":
        assert commands == [ABORTS[verb]]
    assert pointer.read(world.env.pointer) in app2.read_text(), commands
    seen = ending.look(world.env)
    assert seen.serves == f"players play on {'Postgres' if world.phase() == 'live' else 'SQLite'}"


def test_the_read_only_time_is_the_same_when_an_abort_is_typed_again(world: World) -> None:
    set_up(world, STARTS["cutover"])
    assert world.dies("after", "fence", run_cutover) == -signal.SIGKILL

    first = world.cutover(abort=True)
    again = world.cutover(abort=True)

    assert first.read_only_seconds is not None
    assert again.read_only_seconds == first.read_only_seconds


def test_read_only_begins_and_ends_are_paired(tmp_path: Path) -> None:
    events = [(1, ENDS), (10, BEGINS), (12, BEGINS), (20, ENDS), (220, ENDS), (300, BEGINS), (301, ENDS)]
    lines = [json.dumps({"at": at, "event": event, "step": ""}) for at, event in events]
    (tmp_path / "journal.jsonl").write_text("\n".join(lines))

    assert read_only_seconds(Journal(tmp_path)) == 11
    assert read_only_seconds(Journal(tmp_path / "none")) is None


def test_an_undo_at_work_is_called_one_and_a_new_attempt_is_none(world: World) -> None:
    set_up(world, STARTS["cutover"])
    heard: dict[str, str] = {}

    def observer(when: str, step: str) -> None:
        if when == "before":
            heard[step] = ending.look(world.env).next

    with pytest.raises(Undone):
        world.cutover(smoke=failing_smoke, observer=observer)

    assert heard["copy"].startswith("A run is at work: wait for it, or end it with Ctrl-C")
    assert heard["switch back"].startswith("An undo is at work, and no signal stops it")
    assert ending.look(world.env).next == "invoke cutover --env test"


def test_an_attempt_that_never_switched_restarts_nothing_in_its_undo(world: World) -> None:
    for record in world.folder.glob("service.env.switched"):
        record.unlink()
    set_up(world, replace(STARTS["cutover"], phase=Phase.EMPTY))
    (world.folder / "service.env.switched").unlink()  # As in an environment in which no move was ever begun.
    ran = world.folder / "ran"
    counted = world.with_(hooks=Hooks(deploy=f"echo $ENGINE >> {ran}", restart=world.env.hooks.restart))

    with pytest.raises(Undone):
        counted.cutover(observer=failing_before("copy"))
    assert not ran.exists()

    (world.folder / "service.env.switched").unlink()  # As an older version leaves it: what its hooks did is not known.
    assert counted.cutover(abort=True).verdict == "undone"
    assert ran.read_text() == "legacy\n"


def test_a_process_that_was_not_restarted_is_called_the_old_one_and_both_faults_are_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up(world, STARTS["cutover"])
    monkeypatch.setattr(switch, "READY_SECONDS", 0.3)

    with pytest.raises(Failure, match="the undo to finish") as failed:
        world.with_(hooks=Hooks(restart="true")).cutover()

    assert len(re.findall(r"is still the old process, \d+, which was not restarted", failed.value.found)) == 2
    assert _finish(world) == [OperatorCommand.ABORT]


def test_a_full_disk_is_reported_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    (tmp_path / "service.env").write_text("DATABASE_URL=file:a\n")
    writes: list[Callable[[], None]] = [
        lambda: Journal(tmp_path).keep_secret("pointer.before", "file:a"),
        lambda: pointer.write(Pointer(tmp_path / "service.env"), "file:b"),
    ]
    for write, name in zip(writes, ("pointer.before", "service.env"), strict=True):
        with pytest.raises(OSError, match="No space left") as caught:
            write()
        assert text_of(caught.value) == f"No space left on device: {tmp_path / name}"


def test_no_other_server_is_advised_in_the_middle_of_a_move(world: World) -> None:
    env = replace(world.env, target_direct=replace(world.owner, port=1, started_by="invoke up"))
    set_up(world, STARTS["cutover"])
    with pytest.raises(Refusal, match="Or name a Postgres of your own"):
        move_status.read_status(env)

    set_up(world, EnvironmentState(Phase.LOADING, Fence.FENCED, FenceOwner.THIS_RUN, Fence.FENCED, PointerTo.LEGACY))
    with pytest.raises(Inconclusive) as caught:
        move_status.read_status(env)

    assert "Start it: invoke up (it needs Docker with its Compose plugin). Then invoke status" in caught.value.do


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


def _finish(world: World) -> list[OperatorCommand]:
    """Run what the status names until nothing is left."""
    done: list[OperatorCommand] = []
    while isinstance(advice := ending.look(world.env).advice, Ends):
        assert len(done) < 3, done
        done.append(advice.command)
        run(world, advice.command)
    assert isinstance(advice, Settled), advice
    return done
