"""The live rollback: players play throughout, and what they did at any moment of it is in the file, once."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count
from pathlib import Path
from threading import Event, Timer

import psycopg
import pytest

from db import ops
from db.cutover.back import LIVE_ROLLBACK
from db.errors import Refusal, ToolError, Undone
from db.ops import change_log, orders
from db.servers import Server
from game.legacy import applied_log, sqlite_values
from tests.db.cutover.cutover_world import World, failing_before, failing_smoke, made, run_rollback, wait_until

STEPS = [step.name for step in LIVE_ROLLBACK.plan]
BEFORE_THE_WINDOW = STEPS[: STEPS.index("window") + 1]
PARTS = ["window", "lock", "fence", "last round", "checks", "sent", "returned", "open"]
CLIENTS = 3
BEFORE_SENT = PARTS[: PARTS.index("sent") + 1]


@pytest.fixture
def world(server: Server, tmp_path: Path) -> Iterator[World]:
    """The game after a live cutover."""
    with made(server, tmp_path) as world:
        world.cutover(offline=False)
        yield world


def receipts(world: World, like: str) -> list[str]:
    with closing(sqlite_values.connect(world.env.legacy.path, readonly=True)) as file:
        query = "SELECT request_id FROM sudamr_action_receipts WHERE request_id LIKE ? ORDER BY 1"
        return [name for (name,) in file.execute(query, (like,))]


def assert_back(world: World) -> None:
    """Players play on the file and nowhere else."""
    assert (world.phase(), world.legacy_fence(), world.engine()) == ("returned", "open", "legacy")
    assert world.postgres_refuses()
    assert not world.legacy_refuses()


def test_players_play_until_the_window_and_all_of_it_is_in_the_file(world: World) -> None:
    answers: dict[str, int] = {}

    def observer(when: str, step: str) -> None:
        if when == "before" and step in BEFORE_THE_WINDOW:
            answers[step] = world.act(len(answers), f"during-{len(answers)}").status_code

    report = world.rollback(offline=False, observer=observer)
    assert answers == dict.fromkeys(BEFORE_THE_WINDOW, 200)
    assert_back(world)
    assert len(receipts(world, "during-%")) == len(BEFORE_THE_WINDOW)
    assert report.read_only_seconds is not None
    assert report.read_only_seconds < 1
    again = world.act(0, "during-0")
    assert (again.status_code, again.json()["replayed"]) == (200, True)


@pytest.mark.core
def test_no_request_is_refused_on_the_way_back(world: World) -> None:
    """Players ask all the while; each is answered, and each that was granted is in the file once."""
    ended, answered = Event(), []

    def play(client: int) -> None:
        for n in count():
            request = f"steady-{client}-{n}"
            answered.append((world.save((client + n) % len(world.unfinished), request).status_code, request))
            if ended.is_set():
                return

    with ThreadPoolExecutor(CLIENTS) as executor:
        playing = [executor.submit(play, client) for client in range(CLIENTS)]
        try:
            report = world.rollback(
                offline=False, observer=lambda when, step: ended.set() if step == "switch" else None
            )
        finally:
            ended.set()
        for client in playing:
            client.result()
    assert {status for status, _request in answered} == {200}
    assert receipts(world, "steady-%") == sorted(request for _status, request in answered)
    assert report.live is not None
    assert report.live.instant["by_chain"] + report.live.instant["as_they_are"] == 10
    assert_back(world)


@pytest.mark.parametrize("step", BEFORE_THE_WINDOW)
def test_what_fails_before_the_window_is_undone_while_players_play(world: World, step: str) -> None:
    with pytest.raises(ToolError):
        world.rollback(offline=False, observer=failing_before(step))
    world.assert_open_on_postgres()


def test_a_smoke_that_fails_is_undone(world: World) -> None:
    with pytest.raises(Undone, match="bag_full"):
        world.rollback(offline=False, smoke=failing_smoke)
    world.assert_open_on_postgres()
    assert world.act(0, "after").status_code == 200


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_live_rollback_that_was_killed_goes_on(world: World, when: str, step: str) -> None:
    assert world.dies(when, step, run_rollback, offline=False) == -signal.SIGKILL
    world.rollback(offline=False)
    assert_back(world)


@pytest.mark.parametrize("step", BEFORE_THE_WINDOW)
def test_a_live_rollback_that_was_killed_is_undone_by_abort_and_made_later(world: World, step: str) -> None:
    assert world.dies("before", step, run_rollback, offline=False) == -signal.SIGKILL
    assert world.act(0, "between").status_code == 200
    world.rollback(abort=True)
    world.assert_open_on_postgres()
    with ops.connect(world.owner) as conn, closing(sqlite_values.connect(world.env.legacy.path)) as file:
        (run,) = file.execute("SELECT run FROM sudamr_fence").fetchone()
        assert run == ops.phase_run(conn)
    world.rollback(offline=False)
    assert_back(world)
    assert receipts(world, "between") == ["between"]


@pytest.mark.parametrize("part", PARTS)
def test_a_tool_that_is_killed_in_the_window_leaves_a_game_that_is_played(world: World, part: str) -> None:
    assert world.dies("at", part, run_rollback, offline=False) == -signal.SIGKILL
    expected = ("live", "moved") if part in BEFORE_SENT else ("returned", "open")
    wait_until(lambda: (world.phase(), world.legacy_fence()) == expected)
    assert world.act(0, "after").status_code == 200
    world.rollback(offline=False)
    assert_back(world)
    assert world.act(0, "after").json()["replayed"]


def test_a_session_that_holds_a_player_puts_the_window_off(world: World) -> None:
    held: list[psycopg.Connection] = []

    def observer(when: str, step: str) -> None:
        if (when, step) == ("at", "window") and not held:
            held.append(psycopg.connect(world.owner.conninfo))
            held[0].execute("SELECT 1 FROM users FOR UPDATE")
            Timer(4, held[0].close).start()

    report = world.rollback(offline=False, observer=observer)
    assert report.live is not None
    assert report.live.attempts == 2
    assert_back(world)


def test_a_log_that_was_lost_is_begun_anew(world: World) -> None:
    """What was played before and after it is written back."""

    def observer(when: str, step: str) -> None:
        if (when, step) == ("before", "stand by"):
            assert world.act(0, "logged").status_code == 200
            with ops.connect(world.owner) as conn:
                change_log.turn_off(conn)
        if (when, step) == ("before", "window"):
            assert world.act(1, "logged-anew").status_code == 200
            with ops.connect(world.owner) as conn:
                change_log.turn_off(conn)

    world.rollback(offline=False, observer=observer)
    assert_back(world)
    assert receipts(world, "logged%") == ["logged", "logged-anew"]
    assert "log lost" in world.journals()


def test_a_live_one_does_not_go_on_with_an_offline_one(world: World) -> None:
    assert world.dies("after", "fence Postgres", run_rollback) == -signal.SIGKILL
    with pytest.raises(Refusal, match="stops the game"):
        world.rollback(offline=False)
    world.rollback()
    assert_back(world)


def test_a_return_that_gave_writes_up_is_finished_and_nothing_is_compared(world: World) -> None:
    """The file lacks what Postgres granted, as it was accepted: no proof of an instant is to be made of it."""
    assert world.act(0, "given-up").status_code == 200
    wish = {"discard_writes": True, "accept_loss": 1}
    assert world.dies("after", "return", run_rollback, **wish) == -signal.SIGKILL
    world.rollback(offline=False)
    assert_back(world)
    assert receipts(world, "given-up") == []


@pytest.mark.parametrize("note", [applied_log.note_part, applied_log.begin_anew])
def test_a_file_with_a_part_of_a_round_is_opened_by_none_who_gives_writes_up(
    world: World, note: Callable[[sqlite3.Connection], None]
) -> None:
    """A player of it could have the gold of a command and lack its receipt: a retry would be granted twice."""
    assert world.act(0, "given-up").status_code == 200
    assert world.dies("before", "window", run_rollback, offline=False) == -signal.SIGKILL
    with closing(sqlite_values.connect(world.env.legacy.path)) as file:
        note(file)
    with pytest.raises(Refusal, match="a part of one, which was cut off"):
        world.rollback(discard_writes=True, accept_loss=1)
    assert (world.phase(), world.legacy_fence(), world.engine()) == ("live", "moved", "postgres")
    world.rollback(offline=False)
    assert_back(world)


def test_an_offline_one_takes_over_from_a_live_one(world: World) -> None:
    assert world.dies("before", "window", run_rollback, offline=False) == -signal.SIGKILL
    assert world.act(0, "between").status_code == 200
    world.rollback()
    assert_back(world)
    assert receipts(world, "between") == ["between"]


def test_a_live_return_is_proven_although_it_is_finished_offline(world: World) -> None:
    assert world.dies("at", "open", run_rollback, offline=False) == -signal.SIGKILL
    wait_until(lambda: (world.phase(), world.legacy_fence()) == ("returned", "open"))
    world.rollback(offline=True)
    assert_back(world)
    assert "instant" in world.journals()
    with ops.connect(world.owner) as conn:
        assert orders.read(conn, ops.phase_run(conn)) is None
