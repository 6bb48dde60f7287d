"""A live copy from its beginning to the last round: the connections that it needs, and the order of its parts."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Event

from db import ops
from db import tables as db_tables
from db.console.live_view import CopyProgress
from db.console.progress import Advance, Progress
from db.errors import Failure
from db.legacy.opening import check_file
from db.legacy.source import Source, connected, opened
from db.processes import lowered
from db.remedies import LOAD_ANEW
from db.transfer import independent
from db.transfer import target as targets
from db.transfer.independent import IndependentProof
from db.transfer.live import capture
from db.transfer.live.capture import LogOutgrown
from db.transfer.live.copying import LiveCopy, Seen, require_live
from db.transfer.live.leeway import MOST_PAUSE_SECONDS, Leeway, Paced, of_reader, pausing_after
from db.transfer.live.rounds import RoundResult, Rounds
from db.transfer.live.throttle import Throttle
from db.transfer.preconditions import check_homes, findings, gate, require_empty, require_fenced, under_pass, writing
from db.transfer.soundness import check_contents
from db.transfer.target import Target
from db.transfer.verify import Proof, compare
from game import tables
from game.urls import PostgresUrl

ROUND_SECONDS = 2.0
"""Between two rounds beside a proof."""


@dataclass(frozen=True, slots=True)
class FrozenProof:
    """Both proofs at one instant: the file's newest line of the log by then, and what was compared.

    independent: the proof that shares no function with the codec.
    source: the file's units as SQLite counts them; quarantined: those of them that the quarantine has.
    """

    top: int
    proof: Proof
    independent: IndependentProof
    source: int
    quarantined: int

    @property
    def loaded(self) -> int:
        """Return the units that the target rebuilds, without those that the quarantine has."""
        return self.proof.units - self.quarantined


@dataclass(frozen=True, slots=True)
class Asking:
    """A progress that asks a question each time that it is told of some. ask: raises what is to end the task."""

    progress: Progress
    ask: Callable[[], None]

    @contextmanager
    def bar(self, title: str, total: int, unit: str) -> Iterator[Advance]:
        with self.progress.bar(title, total, unit) as advance:

            def advanced(more: int) -> None:
                self.ask()
                advance(more)

            yield advanced

    def say(self, line: str) -> None:
        self.progress.say(line)


class LiveTransfer:
    """A live copy under way. Not thread-safe. file: the legacy file, open for writing."""

    def __init__(self, path: Path, target: PostgresUrl, conn: ops.Connection, *, run: str, pass_token: str) -> None:
        self.path = path
        self.target = target
        self.conn = conn
        self.run = run
        transaction = partial(under_pass, conn, pass_token, require_fenced(conn))
        self.file = capture.open_file(path)
        self._transaction = transaction
        self.rounds = Rounds(conn, str(path), run=run, transaction=transaction)

    def begin(self) -> str:
        """Turn capture on, and return the log's name. A copy with another log is taken out of the target first.

        Raises Refusal for a file that can't be copied live, and for a target with rows of another origin.
        """
        with opened(self.path) as source:
            check_contents(source)
            require_live(source)
        if capture.log_of(self.file, self.run) is None:
            self._require_empty()
        log = capture.turn_on(self.file, str(self.path), run=self.run)
        with self._transaction():
            # A log that is new knows nothing of what changed after an earlier one's batches.
            other = self.conn.execute(
                "select exists (select from transfer_checkpoints where source <> %s or run <> %s)", (log, self.run)
            ).fetchone()
            if other == (True,):
                names = ", ".join(table.name for table in (*tables.ALL, *db_tables.ALL))
                self.conn.execute(f"truncate {names}".encode())
        self.rounds.begin()
        return log

    def _require_empty(self) -> None:
        """Raise Refusal if the target holds rows that no copy of ours left: those have checkpoints."""
        if self.conn.execute("select exists (select from transfer_checkpoints)").fetchone() != (True,):
            require_empty(self.conn)

    def copy(self, log: str, seen: Seen, leeway: Leeway | None = None) -> int:
        """Copy what is not copied yet, in batches; how many rows that was. seen: told of each batch, in another thread.

        The copy leaves the machine to players: its thread has a lower priority, and pauses; see `throttle`.
        """
        batches = LiveCopy(self.conn, str(self.path), run=self.run, log=log, transaction=self._transaction)
        leeway = leeway or Leeway()
        throttle = Throttle(most=partial(self._share, leeway))

        def copied(ending: Event) -> int:
            size = 0

            def written(progress: CopyProgress) -> None:
                nonlocal size
                pause, size = throttle.end(progress.bytes - size), progress.bytes
                seen(replace(progress, share=round(throttle.share, 3)))
                self.require_room()
                if ending.wait(min(pause, MOST_PAUSE_SECONDS)):
                    raise CancelledError
                throttle.begin()

            throttle.begin()
            return batches.copy(self.file, written)

        return lowered.run(copied, self.conn.cancel_safe)

    def _share(self, leeway: Leeway) -> float:
        """Return the share of the copy: all of the time once the log is half full, for no round empties it."""
        return 1.0 if capture.is_half_full(self.file) else leeway.for_work()

    def round(self, gently: Leeway | None = None) -> RoundResult:
        """Apply what changed since the last round. Raises LogOutgrown, see `require_room`.

        gently: where nothing waits for its end, most of it has a lower priority, and pauses for players.
        """
        with self._bounded():
            if gently is None:
                return self.rounds.run_once(self.file)
            # Not what takes the file's write lock: players would wait for a thread that comes last.
            paused = partial(pausing_after, self._transaction, gently)
            ahead = lowered.run(lambda _ending: self.rounds.run_ahead(self.file, paused), self.conn.cancel_safe)
            return ahead.and_then(self.rounds.run_once(self.file))

    def run_ahead(self) -> RoundResult:
        """Apply what changed since the last round, and wait for nobody; see `Rounds.run_ahead`."""
        with self._bounded():
            return self.rounds.run_ahead(self.file)

    def require_room(self) -> None:
        """Raise LogOutgrown if the log is full, or the disk nearly is: capture is off then.

        To be asked wherever no round runs for long.
        """
        with self._bounded():
            capture.require_room(self.file, str(self.path))

    @contextmanager
    def _bounded(self) -> Iterator[None]:
        """Turn capture off where the log is full. What was copied stays until the next copy takes it out."""
        try:
            yield
        except LogOutgrown:
            with suppress(sqlite3.Error):  # On a disk that is full by now; the undo that follows tries again.
                capture.turn_off(self.file)
            raise

    @property
    def waiting(self) -> int:
        """Return how many changes wait on the log, about."""
        return capture.size(self.file)

    def last_round(self, file: sqlite3.Connection) -> RoundResult:
        """Apply what changed since the last round, in a transaction that holds the file's write lock."""
        return self.rounds.last(file)

    @contextmanager
    def hurried(self) -> Iterator[None]:
        """Have the connection to the file not wait for its write lock: who waits asks again, oftener than SQLite."""
        self.file.execute("PRAGMA busy_timeout = 0")
        try:
            yield
        finally:
            self.file.execute(f"PRAGMA busy_timeout = {int(capture.BUSY_SECONDS * 1000)}")

    def lacking(self, file: sqlite3.Connection) -> list[str]:
        """List the tables without their triggers, as the open transaction sees them."""
        return self.rounds.lacking(file)

    def gate(self, max_held: int | None) -> tuple[int, int]:
        """Return the counts of findings kept aside and of players held. Raises Refusal if too many are held."""
        aside, held = findings(self.conn)
        gate(self.conn, held, max_held)
        return aside, held

    def prove(
        self, progress: Progress, applied: Callable[[RoundResult], None], leeway: Leeway | None = None
    ) -> FrozenProof:
        """Prove the whole copy at one instant, while players play on. Raises Failure naming what differs.

        The proof's priority is lower, and it pauses; less once the file's write-ahead log has grown, for the file's
        snapshot is held for as long as it takes. Rounds go on beside it, so that the change log does not grow too.

        applied: told of each round, the one before the proof in another thread.
        """
        leeway = leeway or Leeway()
        snapshots_taken, due = Event(), time.monotonic()
        paced = Paced(progress, of_reader(self.path, leeway))

        def proven(ending: Event) -> FrozenProof:
            def ask() -> None:
                capture.require_room(beside, str(self.path))
                if ending.is_set():
                    raise CancelledError

            with connected(self.path) as frozen, closing(capture.open_file(self.path)) as beside:
                frozen.execute("BEGIN")
                result = self.rounds.apply(frozen)
                applied(result)
                with targets.opened(self.target) as snapshot:
                    snapshot.conn.execute("select 1")  # It is this that takes the snapshot.
                    snapshots_taken.set()
                    asking = Asking(paced, ask)
                    return prove_frozen(Source(frozen, str(self.path)), snapshot, asking, top=result.top)

        def go_on() -> None:
            nonlocal due
            if snapshots_taken.is_set() and time.monotonic() >= due:
                applied(self.round(leeway))
                due = time.monotonic() + ROUND_SECONDS

        with self._bounded():
            return lowered.run(proven, self.conn.cancel_safe, go_on)


def prove_frozen(source: Source, target: Target, progress: Progress, *, top: int = 0) -> FrozenProof:
    """Prove the whole file against the target, both in snapshots of one instant. Raises Failure naming what differs."""
    proof = compare(source, target, progress)
    proof.check()
    second = independent.compare(source, target.conn, progress)
    second.check()
    units = sum(sum(source.units(name).values()) for name in source.tables)
    row = target.conn.execute(
        "select count(*) from (select distinct source_table, coalesce(key, 'n ' || n), column_name, position"
        " from quarantine) as q"
    ).fetchone()
    assert row is not None
    frozen = FrozenProof(top, proof, second, units, int(row[0]))
    if units != proof.units:
        raise Failure(
            "as many values rebuilt as SQLite counts in the file",
            f"{proof.units:,} of {units:,}",
            where=source.where,
            do=LOAD_ANEW,
        )
    return frozen


@contextmanager
def transferring(path: Path, target: PostgresUrl, *, run: str, pass_token: str) -> Iterator[LiveTransfer]:
    """Open a live copy for the block; the caller holds `ops.lock`. What was copied stays after it, and so does capture.

    Raises Refusal if another transfer is at work on the target, or the file is no legacy file.
    """
    check_homes()
    check_file(path)
    with writing(target) as conn:
        transfer = LiveTransfer(path, target, conn, run=run, pass_token=pass_token)
        with closing(transfer.file):
            yield transfer


def end(path: Path) -> None:
    """Turn capture off, whichever run turned it on."""
    with closing(capture.open_file(path)) as file:
        capture.turn_off(file)
