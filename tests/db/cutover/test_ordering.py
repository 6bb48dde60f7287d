"""Orders for a live attempt: each is in time or refused, by the row alone; what is refused changes nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from db import ops
from db.confirmation import Change, unasked
from db.cutover import ordering
from db.environments import Environment
from db.errors import Failure, Inconclusive, Refusal
from db.ops import Phase, locks, orders
from db.ops.orders import Go
from db.servers import Server
from tests.db.cutover.cutover_world import SPAWN, World, quiet_world, wait_until

RUN, OTHER = "20261128_010203_abcd", "20261127_010203_ef01"
ORDERS: dict[str, Callable[[Environment], ordering.OrderReport]] = {
    "go": lambda env: ordering.go(env, unasked),
    "hold": ordering.hold,
    "pause": ordering.pause,
    "resume": lambda env: ordering.resume(env, unasked),
}
PAUSED = "paused"


@pytest.fixture(scope="module")
def quiet(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with quiet_world(server, tmp_path_factory.mktemp("ordering")) as world:
        yield world


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody takes a go here."""
    monkeypatch.setattr(ordering, "TAKEN_SECONDS", 0.0)


def stand(world: World, go: Go | None = Go.HOLDING, *, phase: Phase = Phase.LOADING, paused: bool = False) -> None:
    """Have Postgres say that a live attempt of RUN stands so; go None: that it copies offline."""
    with ops.connect(world.owner) as conn:
        conn.execute("update ops.phase set phase = %s, run = %s", (phase, RUN))
        orders.begin(conn, RUN, hold=False)
        by = "hana on db-1" if go in (Go.ORDERED, Go.TAKEN) else None
        at = "2026-11-28T01:02:03Z"
        conn.execute("update ops.live_orders set go = %s, go_by = %s, go_at = %s", (go or Go.UNASKED, by, by and at))
        conn.execute(
            "update ops.live_orders set paused_by = %s, paused_at = %s",
            ("minsu on db-1", at) if paused else (None, None),
        )
        if go is None:
            orders.end(conn)


def row(world: World) -> tuple[Any, ...] | None:
    with ops.connect(world.owner) as conn:
        return conn.execute("select * from ops.live_orders").fetchone()


@contextmanager
def at_work(world: World) -> Iterator[None]:
    """A tool holds the lock for the attempt."""
    with ops.lock(world.owner, run=RUN, why="cutover"):
        yield


REFUSED = {
    ("go", Go.UNASKED): "one that goes through its window by itself once it is ready",
    ("go", Go.ASKED): "one that is not ready yet",
    ("go", PAUSED): "one that minsu on db-1 paused at 2026-11-28 01:02:03 UTC",
    ("hold", Go.TAKEN): "one whose window follows at once",
    ("pause", Go.ORDERED): "a go that hana on db-1 ordered at 2026-11-28 01:02:03 UTC",
    ("pause", Go.TAKEN): "one whose window follows at once",
}
SAID = {
    ("go", Go.HOLDING): ("ordered", True, "has not taken the go yet"),
    ("go", Go.ORDERED): ("ordered", False, "has not taken the go yet"),
    ("go", Go.TAKEN): ("taken", False, "took the go"),
    ("hold", Go.UNASKED): ("held", True, "is to hold before its window"),
    ("hold", Go.ASKED): ("held", False, "is to hold already"),
    ("hold", Go.HOLDING): ("held", False, "is to hold already"),
    ("hold", Go.ORDERED): ("held", True, "the go that hana on db-1 ordered is taken back"),
    ("hold", PAUSED): ("held", False, "is to hold already"),
    ("pause", Go.UNASKED): ("paused", True, "is paused, by"),
    ("pause", Go.ASKED): ("paused", True, "is paused, by"),
    ("pause", Go.HOLDING): ("paused", True, "is paused, by"),
    ("pause", PAUSED): ("paused", False, "is paused already, by minsu on db-1"),
    ("resume", Go.HOLDING): ("resumed", False, "is not paused"),
    ("resume", PAUSED): ("resumed", True, "goes on"),
}


@pytest.mark.parametrize(("order", "state"), SAID, ids=str)
def test_an_order_that_is_in_time_is_told_with_the_run(quiet: World, order: str, state: Go | str) -> None:
    stand(quiet, Go.HOLDING if state == PAUSED else Go(state), paused=state == PAUSED)
    with at_work(quiet):
        report = ORDERS[order](quiet.env)
    outcome, changed, said = SAID[order, state]
    assert (report.outcome, report.changed, report.run) == (outcome, changed, RUN)
    assert said in report.said
    assert RUN in report.said


@pytest.mark.parametrize(("order", "state"), REFUSED, ids=str)
def test_an_order_that_does_not_fit_is_refused_and_changes_nothing(quiet: World, order: str, state: Go | str) -> None:
    stand(quiet, Go.HOLDING if state == PAUSED else Go(state), paused=state == PAUSED)
    before = row(quiet)
    with at_work(quiet), pytest.raises(Refusal) as caught:
        ORDERS[order](quiet.env)
    assert caught.value.found.startswith(REFUSED[order, state]), caught.value
    assert caught.value.where == f"run {RUN}"
    assert "nothing was changed" in caught.value.do.lower()
    assert row(quiet) == before


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("phase", "go", "found", "do"),
    [
        (Phase.ABORTED, Go.HOLDING, "none: the phase is aborted", "invoke cutover --env test --hold."),
        (Phase.EMPTY, Go.HOLDING, "none: the phase is empty", "invoke cutover --env test --hold."),
        (Phase.RETURNED, Go.HOLDING, "none: the phase is returned", "invoke cutover --env test --hold."),
        (Phase.LOADING, None, f"run {RUN}, which copies offline, or has not begun to copy", "invoke status --env test"),
        (Phase.LIVE, Go.TAKEN, f"run {RUN}, which is past it: the phase is live", "It is too late"),
    ],
)
def test_without_a_live_attempt_each_order_is_refused(
    quiet: World, order: str, phase: Phase, go: Go | None, found: str, do: str
) -> None:
    stand(quiet, go, phase=phase)
    before = row(quiet)
    with pytest.raises(Refusal) as caught:
        ORDERS[order](quiet.env)
    assert caught.value.found == found
    assert do in caught.value.do
    assert row(quiet) == before


def test_orders_of_an_earlier_run_are_none_of_this_one(quiet: World) -> None:
    stand(quiet)
    with ops.connect(quiet.owner) as conn:
        conn.execute("update ops.phase set run = %s", (OTHER,))
        assert orders.read(conn, OTHER) is None
        assert not orders.order_go(conn, RUN, "hana on db-1")
        assert not orders.order_pause(conn, RUN, "hana on db-1")
        orders.begin(conn, OTHER, hold=True)
        assert orders.read(conn, RUN) is None
        assert conn.execute("select run, go from ops.live_orders").fetchall() == [(OTHER, "asked")]


def test_without_a_tool_a_go_is_refused_with_the_command_that_goes_on(quiet: World) -> None:
    stand(quiet)
    before = row(quiet)
    with pytest.raises(Refusal, match="found none at work") as caught:
        ordering.go(quiet.env, unasked)
    assert "invoke cutover --env test." in caught.value.do
    assert row(quiet) == before
    assert ordering.pause(quiet.env).said.endswith("; no tool is at work on it.")
    assert ordering.resume(quiet.env, unasked).said.endswith("; no tool is at work on it.")


def test_a_go_that_a_dead_tool_took_can_be_made_a_hold_by_going_on(quiet: World) -> None:
    stand(quiet, Go.TAKEN)
    with pytest.raises(Refusal, match="one that took its go") as caught:
        ordering.hold(quiet.env)
    assert "invoke cutover --env test --hold." in caught.value.do
    with ops.connect(quiet.owner) as conn:
        orders.begin(conn, RUN, hold=False)
        assert orders.take(conn, RUN)
        orders.begin(conn, RUN, hold=True)
        assert not orders.take(conn, RUN)


def test_going_on_keeps_what_was_ordered_unless_it_is_to_hold(quiet: World) -> None:
    with ops.connect(quiet.owner) as conn:
        for before, hold, go in (
            (Go.ORDERED, False, Go.ORDERED),
            (Go.ORDERED, True, Go.ASKED),
            (Go.HOLDING, False, Go.ASKED),
            (Go.ASKED, False, Go.ASKED),
            (Go.UNASKED, False, Go.UNASKED),
            (Go.UNASKED, True, Go.ASKED),
        ):
            stand(quiet, before, paused=before is Go.HOLDING)
            orders.fail(conn, RUN, "a reason of the run before")
            orders.begin(conn, RUN, hold=hold)
            order = orders.read(conn, RUN)
            assert order is not None
            assert (order.go, order.paused, order.failed) == (go, before is Go.HOLDING, "")


def test_a_tool_that_is_stopped_takes_no_go(quiet: World) -> None:
    stand(quiet)
    before = row(quiet)
    tool = SPAWN.Process(target=_stop, args=(quiet.owner,))
    tool.start()
    try:
        wait_until(lambda: _holder_is_stopped(quiet), seconds=60)
        with pytest.raises(Refusal, match="one that is stopped") as caught:
            ordering.go(quiet.env, unasked)
    finally:
        tool.kill()
        tool.join()
    assert f"kill -9 {tool.pid} is safe" in caught.value.do
    assert row(quiet) == before


def _stop(owner: Any) -> None:
    with ops.lock(owner, run=RUN, why="cutover"):
        os.kill(os.getpid(), signal.SIGSTOP)


def _holder_is_stopped(world: World) -> bool:
    with ops.connect(world.owner) as conn:
        holder = locks.holder(conn)
        return holder is not None and holder.stopped


@pytest.mark.parametrize("order", ["go", "resume"])
def test_what_moves_the_game_on_asks_first(quiet: World, order: str) -> None:
    stand(quiet, paused=order == "resume")
    before = row(quiet)
    asked: list[str] = []

    def no(change: Change) -> None:
        asked.append(change.does)
        assert row(quiet) == before
        raise Refusal("the name", "another")

    with at_work(quiet), pytest.raises(Refusal, match="the name"):
        {"go": ordering.go, "resume": ordering.resume}[order](quiet.env, no)
    assert row(quiet) == before
    assert RUN in asked[0]
    assert quiet.env.target.dbname in asked[0]


LOST = {
    "the tool is gone": ("", "that the tool is gone, while the go stands"),
    "the go was taken back": ("update ops.live_orders set go = 'asked'", "that the go was taken back"),
    "the run undid itself": ("update ops.phase set phase = 'aborted'", "the phase aborted: it was undone"),
}


@pytest.mark.parametrize("what", LOST)
def test_whoever_ordered_a_go_hears_why_no_window_comes(
    quiet: World, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    stand(quiet)
    monkeypatch.setattr(ordering, "TAKEN_SECONDS", 60.0)
    statement, found = LOST[what]
    with at_work(quiet) if statement else _noted_once(quiet, monkeypatch), ops.connect(quiet.owner) as conn:

        def then(_seconds: float) -> None:
            conn.execute(statement.encode())

        monkeypatch.setattr(ordering.time, "sleep", then)
        with pytest.raises(Failure) as caught:
            ordering.go(quiet.env, unasked)
    assert caught.value.found == found
    assert "invoke status --env test" in caught.value.do


@contextmanager
def _noted_once(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A tool that dies between the look at it and the order."""
    real = ordering.operator.name
    with ops.lock(world.owner, run=RUN, why="cutover") as held:

        def name() -> str:
            held.conn.close()
            wait_until(lambda: not _is_held(world))
            return real()

        monkeypatch.setattr(ordering.operator, "name", name)
        yield


def _is_held(world: World) -> bool:
    with ops.connect(world.owner) as conn:
        return locks.holder(conn) is not None


def test_a_go_that_was_taken_is_told_with_who_serves_the_players(quiet: World, monkeypatch: pytest.MonkeyPatch) -> None:
    stand(quiet)
    monkeypatch.setattr(ordering, "TAKEN_SECONDS", 60.0)
    with at_work(quiet), ops.connect(quiet.owner) as conn:

        def then(_seconds: float) -> None:
            assert orders.take(conn, RUN)
            conn.execute("update ops.phase set phase = 'live'")

        monkeypatch.setattr(ordering.time, "sleep", then)
        report = ordering.go(quiet.env, unasked)
    assert (report.outcome, report.said) == ("live", f"run {RUN} took the go, and players play on Postgres.")


def test_a_tool_that_waits_says_why_to_whoever_ordered_the_go(quiet: World, monkeypatch: pytest.MonkeyPatch) -> None:
    stand(quiet)
    monkeypatch.setattr(ordering, "TAKEN_SECONDS", 60.0)
    with ops.connect(quiet.owner) as conn:
        orders.wait(conn, RUN, "every player is proven again")
    with at_work(quiet):
        report = ordering.go(quiet.env, unasked)
    assert report.outcome == "ordered"
    assert report.said == f"run {RUN} has not taken the go yet; it waits because every player is proven again."


def test_where_postgres_stops_answering_nobody_says_if_the_order_counts(
    quiet: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand(quiet)

    def lost(*_: object) -> bool:
        raise psycopg.OperationalError("the connection is lost")

    monkeypatch.setattr(orders, "order_pause", lost)
    with pytest.raises(Inconclusive, match="the connection is lost") as caught:
        ordering.pause(quiet.env)
    assert "invoke status --env test" in caught.value.do


def test_a_go_is_either_taken_or_taken_back(quiet: World) -> None:
    """Both at once: whoever comes second waits for the first, and the count of rows says that it was too late."""
    with ops.connect(quiet.owner) as tool, ops.connect(quiet.owner) as person, ThreadPoolExecutor(1) as executor:
        for commits in (True, False):
            stand(quiet, Go.ORDERED)
            with tool.transaction() as transaction:
                assert orders.take(tool, RUN)
                second = executor.submit(orders.order_hold, person, RUN)
                wait_until(lambda: _waits(tool, person.info.backend_pid))
                if not commits:
                    raise psycopg.Rollback(transaction)
            assert second.result() is not commits
            assert orders.take(tool, RUN) is commits


def _waits(conn: ops.Connection, pid: int) -> bool:
    return conn.execute("select cardinality(pg_blocking_pids(%s)) > 0", (pid,)).fetchone() == (True,)
