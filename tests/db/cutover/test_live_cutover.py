"""The live cutover: players play throughout, and what they did at any moment of it is on Postgres, once."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from threading import Event

import pytest

from db import ops, snapshots, transfer
from db.cutover import live_checks
from db.cutover.live import LIVE_CUTOVER
from db.errors import Inconclusive, Refusal, ToolError, Undone
from db.legacy.comparison import compare_files
from db.snapshots import Label, Side, Snapshot
from db.transfer.live.session import LiveTransfer
from game.tables import LEGACY_PREFIX
from harness.cli.commands import environment_status
from tests.db.cutover.cutover_world import World, failing_before, failing_smoke, run_cutover, world
from tests.db.transfer.transferring import value

__all__ = ["world"]

STEPS = [step.name for step in LIVE_CUTOVER.plan]
BEFORE_THE_WINDOW = STEPS[: STEPS.index("window") + 1]


def assert_as_before(world: World) -> None:
    """Players play on the file, which is as it was but for our own journals, which a command would have made."""
    assert (world.legacy_fence(), world.engine(), world.captured()) == ("open", "legacy", False)
    assert [line for line in compare_files(world.before, world.env.legacy.path) if LEGACY_PREFIX not in line] == []
    assert world.phase() in ("empty", "aborted")


def test_players_play_until_the_window_and_all_of_it_is_on_postgres(world: World) -> None:
    answers: dict[str, int] = {}

    def observer(when: str, step: str) -> None:
        if when == "before" and step in BEFORE_THE_WINDOW:
            answers[step] = world.act(len(answers), f"during-{len(answers)}").status_code

    report = world.cutover(offline=False, observer=observer)
    assert answers == dict.fromkeys(BEFORE_THE_WINDOW, 200)
    world.assert_open_on_postgres()
    assert transfer.prove(world.env.legacy.path, world.owner).mismatches == 0
    with ops.connect(world.owner) as conn:
        have = conn.execute("select count(*) from action_receipts where request_id like 'during-%'").fetchone()
    assert have == (len(BEFORE_THE_WINDOW),)
    assert not world.captured()
    assert report.read_only_seconds is not None
    assert report.read_only_seconds < 1


@pytest.mark.core
def test_no_request_is_refused_in_the_window_or_after_it(world: World) -> None:
    """Players ask all the while, until the process was restarted with Postgres first; each is answered once."""
    ended, statuses = Event(), []

    def play() -> None:
        for n in count():
            statuses.append(world.act(n % len(world.unfinished), f"steady-{n}").status_code)
            if ended.is_set():
                return

    with ThreadPoolExecutor(1) as executor:
        playing = executor.submit(play)
        try:
            report = world.cutover(offline=False, observer=lambda when, step: ended.set() if step == "switch" else None)
        finally:
            ended.set()
        playing.result()
    assert {status for status in statuses if status >= 500} == set()
    assert report.read_only_seconds is not None
    world.assert_open_on_postgres()


def test_the_first_snapshot_and_the_final_dump_are_of_one_instant(world: World) -> None:
    """A player who plays on Postgres before either is taken is in neither."""

    def observer(when: str, step: str) -> None:
        if (when, step) == ("before", "instant"):
            assert world.act(0, "since-the-window").status_code == 200

    world.cutover(offline=False, observer=observer)
    (first,) = kept(world, Side.TARGET, Label.FIRST)
    (final,) = kept(world, Side.LEGACY, Label.FINAL)
    now = value(world.owner, "select count(*) from action_receipts")
    receipts = first.manifest.counts["action_receipts"]
    assert receipts == final.manifest.counts["sudamr_action_receipts"] == now - 1
    assert first.manifest.fence == "fenced"


def kept(world: World, side: Side, label: Label) -> list[Snapshot]:
    return snapshots.find(world.env.snapshots.folder, world.env.name, side=side, label=label)


@pytest.mark.parametrize("step", BEFORE_THE_WINDOW)
def test_what_fails_before_the_window_is_undone_while_players_play(world: World, step: str) -> None:
    with pytest.raises(ToolError):
        world.cutover(offline=False, observer=failing_before(step))
    assert_as_before(world)


def test_a_smoke_that_fails_is_undone(world: World) -> None:
    with pytest.raises(Undone, match="bag_full"):
        world.cutover(offline=False, smoke=failing_smoke)
    assert_as_before(world)
    assert world.act(0, "after").status_code == 200


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_live_cutover_that_was_killed_goes_on(world: World, when: str, step: str) -> None:
    assert world.dies(when, step, run_cutover, offline=False) == -9
    world.cutover(offline=False)
    world.assert_whole_on_postgres()
    assert not world.captured()


@pytest.mark.parametrize("step", ["copy", "stand by", "window"])
def test_a_live_cutover_that_was_killed_is_undone_by_abort(world: World, step: str) -> None:
    assert world.dies("before", step, run_cutover, offline=False) == -9
    assert world.act(0, "between").status_code == 200
    world.cutover(abort=True)
    assert (world.legacy_fence(), world.engine(), world.phase()) == ("open", "legacy", "aborted")
    assert not world.captured()


@pytest.mark.parametrize("step", ["migrate", "copy"])
def test_a_live_attempt_does_not_go_on_offline(world: World, step: str) -> None:
    assert world.dies("after", step, run_cutover, offline=False) == -9
    with pytest.raises(Refusal, match="begun without --offline"):
        world.cutover()
    world.cutover(offline=False)
    world.assert_whole_on_postgres()


def test_a_program_that_has_the_file_open_beside_the_service_is_named(world: World) -> None:
    opens = (
        f"import sqlite3, sys; c = sqlite3.connect({str(world.env.legacy.path)!r}); c.execute('SELECT 1 FROM users')"
    )
    with subprocess.Popen(
        [sys.executable, "-c", f"{opens}; print('open', flush=True); sys.stdin.read()", world.env.legacy.path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"open\n"
        with pytest.raises(Refusal, match=f"process {program.pid} ") as caught:
            world.cutover(offline=False)
        program.kill()
    assert "--offline" in caught.value.do
    world.cutover(offline=False)
    world.assert_whole_on_postgres()


def test_a_service_of_an_earlier_version_is_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_checks, "NEXT_STORE", "an ability that nobody has")
    with pytest.raises(Refusal, match="a process of an earlier version"):
        world.cutover(offline=False)
    assert world.phase() == "empty"


def test_players_who_write_faster_than_rounds_apply_end_it_with_both_rates(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy stays, and the same command goes on with it at a quieter hour."""
    real = LiveTransfer.round
    monkeypatch.setattr(LiveTransfer, "round", lambda live: replace(real(live), rows=50, seconds=2.0))
    with pytest.raises(Inconclusive, match=r"50 .*a second|25 rows a second"):
        world.cutover(offline=False)
    assert (world.phase(), world.legacy_fence()) == ("loading", "open")
    rows = dict(environment_status.status(world.env).rows)
    assert rows["move"].startswith("failed because 25 rows a second changed by players, 25 a second applied; ")
    assert "invoke cutover --env test" in rows["next"]
    monkeypatch.setattr(LiveTransfer, "round", real)
    world.cutover(offline=False)
    world.assert_whole_on_postgres()
