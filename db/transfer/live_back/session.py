"""A live write-back from its beginning to the last round: whether the log leads on from the file, and what if not."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from psycopg import errors
from tenacity import RetryError, Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from db import ops
from db.console.progress import Progress, Silent
from db.errors import Failure, Refusal
from db.legacy.opening import check_file
from db.legacy.source import Source
from db.ops import change_log, fence, locks
from db.ops.change_log import Capture
from db.transfer.live.session import FrozenProof, prove_frozen
from db.transfer.live_back.anew import write_back_anew
from db.transfer.live_back.file import FileTransactions
from db.transfer.live_back.players import GIVE_PLACES
from db.transfer.live_back.rounds import LogLost, RoundOfWriteBack, Rounds, lost
from db.transfer.preconditions import LOCK_TIMEOUT, check_homes, writing
from db.transfer.target import Target
from db.transfer.write_back import WriteBackCounts
from game.legacy import applied_log, identity
from game.legacy import fence as legacy_fence
from game.urls import PostgresUrl

PATIENCE_SECONDS = 15.0
LONGEST_PAUSE_SECONDS = 0.5


class WritesInFlight(Failure):
    """A new log could not begin, since writes of players or operators did not end in time. Nothing was changed."""


class LiveWriteBack:
    """A live write-back under way. Not thread-safe.

    path: the legacy file, fenced or moved under the pass. run: of this process, which fenced it. conn: the owner's
    connection to Postgres, in autocommit. Everything that it knows stands in the two stores, so it may be killed
    anywhere, and another process goes on.
    """

    def __init__(self, path: Path, target: PostgresUrl, conn: ops.Connection, *, run: str, pass_token: str) -> None:
        self.path = path
        self.target = target
        self.conn = conn
        self.run = run
        self.file = FileTransactions(path, pass_token)
        self.rounds = Rounds(conn, self.file)

    @property
    def capture(self) -> Capture | None:
        """Return the log of Postgres as it is now; None if none was ever begun."""
        return change_log.capture(self.conn)

    def reason_to_begin_anew(self) -> str | None:
        """Return why rounds can't go on from the log alone; None if they can. Changes nothing."""
        return reason_to_begin_anew(self.conn, self.path, self.file.connection, self.run)

    def begin(self, progress: Progress | None = None) -> WriteBackCounts | None:
        """Go on from the log alone, and return None; or begin a new log, and write everything back once, in parts.

        Players play on. Killed anywhere, the file says that it has a part, and the next call begins anew. After a
        cutover the file is what Postgres was at the lift, so the log leads on from there. Raises Refusal if the file's
        fence does not name this database, and whatever `write_back_anew` raises; Failure where the log's triggers are
        not as they were made, or writes in flight do not end.
        """
        if self.reason_to_begin_anew() is None:
            capture = self.capture
            assert capture is not None
            if applied_log.read(self.file.connection) is None:
                self._follow(capture.followed)
            return None
        self._require_own()
        self._require_triggers()
        self._turn_on()
        capture = self._require_log(self.conn)
        with fence.own_pass(self.conn):
            self.conn.execute(GIVE_PLACES)
        change_log.clean(self.conn)
        return write_back_anew(self.target, self.file, capture.followed, progress or Silent())

    def round(self, connection: ops.Connection | None = None) -> RoundOfWriteBack:
        """Apply what changed since the last round, in a snapshot of its own, while players play.

        connection: another one of the owner's, in autocommit; None: this session's own. With that of the last round its
        first readings of each table, which are slow, happen here.
        Raises LogLost where `begin` has to come again.
        """
        conn = connection or self.conn
        with self._snapshot(conn):
            rounds = self.rounds if connection is None else self._rounds_on(connection)
            result = rounds.apply(self._require_log(conn), give_places=True)
            self.rounds.know(rounds)
            return result

    def last_round(self, connection: ops.Connection) -> RoundOfWriteBack:
        """Apply what changed since the last round, in the open transaction of the connection, which lets no write in.

        It is READ COMMITTED and has locked `users` in EXCLUSIVE MODE and raised the fence, in this order: then each
        statement sees all that was ever committed. The file is on disk when this returns. The lines are deleted in the
        transaction of the caller: if that fails, players play on, and a further round applies them again.
        """
        query = "select current_setting('transaction_isolation'), state <> 'open' from fence_state"
        if connection.execute(query).fetchone() != ("read committed", True):
            raise ValueError("a last round needs a READ COMMITTED transaction that has raised the fence")
        return self._rounds_on(connection).apply(self._require_log(connection), give_places=False)

    def prove(self, progress: Progress | None = None) -> FrozenProof:
        """Prove the whole file against one snapshot of Postgres, after a round from that snapshot; players play on.

        Raises Failure naming what differs.
        """
        with self._snapshot(self.conn):
            self.rounds.apply(self._require_log(self.conn), give_places=True)
            source = Source(self.file.connection, str(self.path))
            return prove_frozen(source, Target(self.conn), progress or Silent())

    def wait_for_file(self, seconds: float) -> None:
        """Have each round wait so long for the file's write lock, while it holds a snapshot of Postgres."""
        self.file.connection.execute(f"PRAGMA busy_timeout = {seconds * 1000:.0f}")

    def waiting_now(self) -> tuple[int, float]:
        """Return how many lines wait on the log, and the age in seconds of the oldest change of those; 0 for none.

        Raises LogLost if no log is on.
        """
        lines, age = change_log.waiting(self.conn, self._require_log(self.conn).log)
        return lines, age or 0.0

    @property
    def waiting(self) -> int | None:
        """Return how many lines wait on the log; None if that is unknown, since no log is on."""
        capture = self.capture
        if capture is None or not capture.on:
            return None
        return change_log.waiting(self.conn, capture.log)[0]

    @property
    def lag(self) -> float | None:
        """Return the age in seconds of the oldest change that is not applied; 0 if there is none; None: unknown."""
        if self.reason_to_begin_anew() is not None:
            return None
        capture = self.capture
        assert capture is not None
        waiting, age = change_log.waiting(self.conn, capture.log)
        return 0.0 if not waiting else age

    def _rounds_on(self, connection: ops.Connection) -> Rounds:
        rounds = Rounds(connection, self.file)
        rounds.know(self.rounds)
        return rounds

    @contextmanager
    def _snapshot(self, connection: ops.Connection) -> Iterator[None]:
        """Hold one REPEATABLE READ transaction; rolled back when the body fails."""
        connection.execute("begin isolation level repeatable read")
        try:
            connection.execute(f"set local lock_timeout = '{LOCK_TIMEOUT}'")  # Whichever connection it is.
            yield
            connection.execute("commit")
        finally:
            if not connection.closed and connection.info.transaction_status:
                connection.rollback()

    def _require_log(self, conn: ops.Connection) -> Capture:
        capture = change_log.capture(conn)
        if capture is None:
            raise lost("none", ops.place(conn))
        if capture.peer != identity.of(self.path):
            raise lost("one of another file", str(self.path))
        return capture

    def _follow(self, followed: str) -> None:
        with self.file.writing():
            applied_log.write(self.file.connection, followed, 0)

    def _require_own(self) -> None:
        """Raise Refusal unless the fence of the file names this database."""
        owner = legacy_fence.mark(self.file.connection).owner
        if owner is None or owner.target != ops.identity(self.conn):
            raise Refusal(
                "the legacy file that this database's game came from, and its fence",
                "a file without a fence, or one that names another database",
                where=str(self.path),
                do=f"Nothing was written. The next command: invoke status --env {ops.named(self.conn)}",
            )

    def _require_triggers(self) -> None:
        if lacking := change_log.lacking(self.conn):
            raise Failure(
                "the triggers of the change log on every table, and their functions, as they were made",
                f"otherwise: {', '.join(lacking)}",
                where=ops.place(self.conn),
                do="Nothing was changed. Undo what was changed by hand; a function is made again by: invoke prepare"
                f" --env {ops.named(self.conn)}. To see every difference: invoke status --env {ops.named(self.conn)}",
            )

    def _turn_on(self) -> None:
        retrying = Retrying(
            retry=retry_if_exception_type(errors.LockNotAvailable),
            stop=stop_after_delay(PATIENCE_SECONDS),
            wait=wait_random_exponential(multiplier=0.02, max=LONGEST_PAUSE_SECONDS),
        )
        try:
            retrying(change_log.turn_on, self.conn, run=self.run, peer=identity.of(self.path))
        except RetryError:
            raise WritesInFlight(
                f"the writes in flight to end within {PATIENCE_SECONDS:g} s",
                f"not ended by {locks.fence_blockers(self.conn)}",
                where=ops.place(self.conn),
                do="Nothing was changed. Let them end, or end each: SELECT pg_terminate_backend(PROCESS);"
                " Then run again.",
            ) from None


def reason_to_begin_anew(
    conn: ops.Connection, path: Path, file: sqlite3.Connection, run: str | None = None
) -> str | None:
    """Return why the change log does not lead on from this file; None if it does. Changes nothing.

    file: a connection to the file at the path. run: of a process that fenced it, if that is another than the log's.
    """
    capture = change_log.capture(conn)
    if capture is None:
        return "no change log was begun"
    if not capture.on:
        return f"the change log is off ({capture.ended or 'it was turned off'})"
    if not capture.whole or change_log.lacking(conn):
        return "tables or triggers were changed since the change log began"
    if capture.peer != identity.of(path):
        return "the change log belongs to another file"
    return _reason_of_file(conn, capture, file, run)


def _reason_of_file(conn: ops.Connection, capture: Capture, file: sqlite3.Connection, run: str | None) -> str | None:
    followed = applied_log.read(file)
    if followed is not None:
        if followed[0] == applied_log.NO_LOG:
            return "a write-back of everything into the file was begun, and did not come to its end"
        if followed[0] != capture.followed and followed[0].startswith(f"{capture.log}."):
            return "another server took over, by a failover or a restore, and may lack what the file was given"
        follows = followed[0] == capture.followed and followed[1] >= capture.rounds
        return None if follows else "the file is not the one that the last round wrote"
    mark = legacy_fence.mark(file)
    if not capture.at_lift or capture.rounds or mark.owner is None:
        return "the file does not say which change log it follows"
    if mark.owner.target != ops.identity(conn) or mark.owner.run not in (capture.run, run):
        return "the file was fenced by another move"
    return None


@contextmanager
def writing_back(path: Path, target: PostgresUrl, *, run: str, pass_token: str) -> Iterator[LiveWriteBack]:
    """Open a live write-back for the block; the caller has fenced the file under this pass, by its owner's checks.

    Raises Refusal if another transfer is at work on the target, or the file is no legacy file.
    """
    check_homes()
    check_file(path)
    with writing(target) as conn:
        session = LiveWriteBack(path, target, conn, run=run, pass_token=pass_token)
        with closing(session.file):
            yield session


__all__ = [
    "LiveWriteBack",
    "LogLost",
    "RoundOfWriteBack",
    "WritesInFlight",
    "reason_to_begin_anew",
    "writing_back",
]
