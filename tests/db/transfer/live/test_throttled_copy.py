"""A live copy leaves the machine to players: its thread has a lower priority, it pauses, and says how much it works."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from db import ops
from db.console.live_view import CopyProgress
from db.console.progress import Advance, Silent
from db.processes import lowered
from db.transfer import prove
from db.transfer.live import capture, copying, lines, players, session, writing
from db.transfer.live import leeway as leeways
from db.transfer.live.leeway import LEAST_SHARE, Leeway
from db.transfer.live.rounds import RoundResult
from db.transfer.live.session import LiveTransfer, transferring
from db.transfer.live.throttle import Throttle
from game.legacy import capture_schema
from harness.databases import Database
from tests.db.transfer.transferring import PASS, give_pass, seeded, sqlite, value
from tests.fixtures.interrupts import answering_interrupts

with_priorities = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities of threads")

SHARE = 0.25
SMALL_BATCH = 100_000


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that takes several batches."""
    monkeypatch.setitem(copying.LiveCopy.__init__.__kwdefaults__, "batch_bytes", SMALL_BATCH)
    return seeded(tmp_path / "game.db", 20)


def copy(database: Database, source: Path, seen: copying.Seen, leeway: Leeway | None = None) -> int:
    give_pass(database)
    with transferring(source, database.owner, run="run-1", pass_token=PASS) as live:
        return live.copy(live.begin(), seen, leeway)


@contextmanager
def copied(database: Database, source: Path) -> Iterator[LiveTransfer]:
    give_pass(database)
    with transferring(source, database.owner, run="run-1", pass_token=PASS) as live:
        live.copy(live.begin(), lambda _progress: None)
        yield live


def priority() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def pausing(monkeypatch: pytest.MonkeyPatch, seconds: float) -> list[int]:
    """Have every batch followed by a pause of so many seconds; return the sizes of the batches, which come later."""
    sizes: list[int] = []

    def end(throttle: Throttle, size: int) -> float:
        sizes.append(size)
        throttle.share = SHARE
        return seconds

    monkeypatch.setattr(Throttle, "end", end)
    return sizes


@with_priorities
def test_the_copy_has_a_lower_priority_and_what_follows_it_has_not(fenced_database: Database, source: Path) -> None:
    nicer = []

    def seen(_progress: CopyProgress) -> None:
        nicer.append(priority())

    before = priority()
    assert copy(fenced_database, source, seen) > 0
    assert min(nicer) > before
    assert priority() == before


class Told(Silent):
    """A progress that calls a function when a player is proven."""

    def __init__(self, function: Callable[[], object]) -> None:
        self.function = function

    @contextmanager
    def bar(self, title: str, total: int, unit: str) -> Iterator[Advance]:
        del title, total, unit
        yield lambda _more: self.function()


@with_priorities
def test_the_copy_is_proven_at_a_lower_priority(fenced_database: Database, source: Path) -> None:
    nicer = []
    with copied(fenced_database, source) as live:
        live.prove(Told(lambda: nicer.append(priority())), lambda _result: None)
    assert min(nicer) > priority()


@with_priorities
def test_a_round_that_nobody_waits_for_is_applied_last_and_takes_the_files_lock_first(
    fenced_database: Database, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Players would wait for the write lock of a thread that comes last."""
    seen: dict[str, set[int]] = {"apply": set(), "forget": set()}

    def noting(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*arguments: Any, **named: Any) -> Any:
            seen[name].add(priority())
            return real(*arguments, **named)

        return noted

    with copied(fenced_database, source) as live:
        live.round()
        sqlite(source, "UPDATE users SET gold = gold + 1")
        monkeypatch.setattr(players, "apply", noting("apply", players.apply))
        monkeypatch.setattr(capture, "forget", noting("forget", capture.forget))
        result = live.round(Leeway())
        assert live.waiting == 0
    assert (result.players, result.written) == (20, 20)
    assert seen == {"apply": {priority() + lowered.NICENESS, priority()}, "forget": {priority()}}
    assert prove(source, fenced_database.owner).mismatches == 0


def test_a_copy_works_all_the_time_once_the_log_is_half_full(fenced_database: Database, source: Path) -> None:
    """No round empties it while the copy lasts, and a full one ends the attempt."""
    shares: list[float] = []
    give_pass(fenced_database)
    with transferring(source, fenced_database.owner, run="run-1", pass_token=PASS) as live:
        log = live.begin()

        def seen(progress: CopyProgress) -> None:
            shares.append(progress.share)
            if len(shares) == 1:
                sqlite(source, "UPDATE users SET gold = gold + 1")
                live.file.execute(f"UPDATE {capture_schema.STATE} SET lines = {capture.size(live.file)} * 3 / 2")

        live.copy(log, seen, Leeway(share=0.5))
    assert shares[0] <= 0.5
    assert max(shares[2:]) > 0.5


def test_rounds_go_on_beside_a_proof_which_is_of_its_own_instant(
    fenced_database: Database, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "ROUND_SECONDS", 0.0)
    rounds: list[RoundResult] = []
    applied = threading.Event()

    def play() -> None:
        if not applied.is_set():
            sqlite(source, "UPDATE users SET gold = gold + 1")
            assert applied.wait(60), "no round was applied while the proof waits"

    def note(result: RoundResult) -> None:
        rounds.append(result)
        if result.written:
            applied.set()

    with copied(fenced_database, source) as live:
        proof = live.prove(Told(play), note)
        assert live.waiting == 0
    assert proof.proof.mismatches == 0
    assert not rounds[0].written, "the proof is of the instant before"
    assert prove(source, fenced_database.owner).mismatches == 0


def test_a_proof_that_is_interrupted_ends_with_the_next_player(fenced_database: Database, source: Path) -> None:
    proven = []

    def interrupt() -> None:
        proven.append(len(proven))
        if len(proven) == 1:
            os.kill(os.getpid(), signal.SIGINT)
            interrupted.wait(60)

    interrupted = threading.Event()
    interrupting = pytest.raises(KeyboardInterrupt)
    with answering_interrupts(), copied(fenced_database, source) as live, interrupting, telling(interrupted):
        live.prove(Told(interrupt), lambda _result: None)
    assert len(proven) == 1


@contextmanager
def telling(interrupted: threading.Event) -> Iterator[None]:
    """Set the event once this thread has been interrupted and has told the work to end."""

    def waiting(futures: list[Future[object]], seconds: float | None = None) -> object:
        if seconds != lowered.LOOK_SECONDS:
            interrupted.set()
        return wait(futures, seconds)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(lowered, "wait", waiting)
        yield


def test_each_batch_says_how_much_the_copy_works(
    fenced_database: Database, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes, seen = pausing(monkeypatch, 0.0), []
    copy(fenced_database, source, seen.append)
    assert len(seen) > 5
    assert {progress.share for progress in seen} == {SHARE}
    assert sum(sizes) == seen[-1].bytes
    assert min(sizes) > 0


def test_a_copy_pauses_for_the_share_that_players_leave_at_each_batch(
    fenced_database: Database, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    end = Throttle.end

    def ended(throttle: Throttle, size: int) -> float:
        pauses.append(end(throttle, size))
        return 0.0  # Nothing is slept in a test.

    monkeypatch.setattr(Throttle, "end", ended)
    leeway, seen = Leeway(share=0.25), []

    def told(progress: CopyProgress) -> None:
        seen.append(progress.share)
        leeway.share = LEAST_SHARE

    assert copy(fenced_database, source, told, leeway) > 0
    assert seen[0] <= 0.25
    assert set(seen[1:]) == {LEAST_SHARE}
    assert min(pauses) > 0


def test_a_proof_pauses_for_the_share_that_players_leave(
    fenced_database: Database, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    class Time:
        def __init__(self) -> None:
            self.at = count()

        def monotonic(self) -> float:
            return next(self.at)

        def sleep(self, seconds: float) -> None:
            pauses.append(seconds)

    with copied(fenced_database, source) as live:
        monkeypatch.setattr(leeways, "time", Time())
        live.prove(Silent(), lambda _result: None)
        assert pauses == [], "nobody is asked"
        live.prove(Silent(), lambda _result: None, Leeway(share=0.8))
        assert pauses
        assert pauses == [pytest.approx(0.25)] * len(pauses)
        pauses.clear()
        monkeypatch.setattr(leeways, "MOST_LOG_BYTES", -1)
        live.prove(Silent(), lambda _result: None, Leeway(share=0.8))
        assert pauses == [], "the file's log has grown"


def test_an_interrupted_copy_ends_in_the_middle_of_a_pause_and_goes_on_later(
    fenced_database: Database, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pause of a day: were it not ended, this test would not end."""
    with monkeypatch.context() as patched, answering_interrupts():
        pausing(patched, 86_400.0)
        with pytest.raises(KeyboardInterrupt):
            copy(fenced_database, source, lambda _progress: os.kill(os.getpid(), signal.SIGINT))
    players = "select coalesce(sum(rows), 0)::int from transfer_checkpoints where source_table = 'users'"
    assert 0 < int(str(value(fenced_database.owner, players))) < 20
    copy(fenced_database, source, lambda _progress: None)
    assert value(fenced_database.owner, players) == 20


def test_batches_wait_for_no_sync_and_what_comes_after_them_does(
    fenced_database: Database, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a crash takes of the batches it takes with their checkpoints; a round deletes lines of the log."""
    synced: dict[str, set[object]] = {"batch": set(), "round": set(), "heads": set()}

    def noting(what: str, real: Callable[..., Any], conn_of: Callable[..., ops.Connection]) -> Callable[..., Any]:
        def noted(*arguments: Any, **named: Any) -> Any:
            last = "whole" in named  # The checkpoint of a whole copy is written with the heads.
            synced["heads" if last else what].add(conn_of(*arguments).execute("show synchronous_commit").fetchone())
            return real(*arguments, **named)

        return noted

    checkpoint = copying.LiveCopy._checkpoint
    monkeypatch.setattr(copying.LiveCopy, "_checkpoint", noting("batch", checkpoint, lambda batches, *_: batches.conn))
    monkeypatch.setattr(lines, "give_all_heads", noting("heads", lines.give_all_heads, lambda conn: conn))
    monkeypatch.setattr(writing, "write", noting("round", writing.write, lambda conn, *_: conn))
    with copied(fenced_database, source) as live:
        sqlite(source, "UPDATE users SET gold = gold + 1")
        live.round()
    assert synced == {"batch": {("off",)}, "round": {("on",)}, "heads": {("on",)}}
