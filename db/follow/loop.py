"""Has the legacy file follow Postgres: rounds of write-back, one after another, until it is told to end.

Players come first: whatever stands in the way of a round is waited for with growing pauses, in which nothing is held;
the change log of Postgres is bounded, and where it was lost the next write-back begins anew. Everything that it knows
stands in the two stores, so it may be killed anywhere, and run again.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field

import psycopg

from db import ops
from db.console.progress import Advance, Progress, Silent
from db.environments import Environment
from db.errors import Failure, Inconclusive, Refusal
from db.follow import causes, entering, lock
from db.follow.ending_signals import GentleSignals
from db.follow.entering import NotYet
from db.follow.figures import Prediction, RoundFigures
from db.follow.view import FollowView, Unseen
from db.ops import Phase, following, locks
from db.ops.following import FollowState, Order
from db.schema import migrate, revisions
from db.schema.revisions import History
from db.transfer.live_back.session import LiveWriteBack, LogLost, writing_back
from db.transfer.preconditions import check_homes

ROUND_SECONDS = 0.5
"""From the begin of a round to that of the next, unless much waits. A change waits for this and for two rounds."""

MUCH = 50
"""So many changes wait for no pause."""

LOOK_SECONDS = 0.1
"""Between two looks at what was ordered: a few rows of Postgres."""

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0

MOST_LOG_BYTES = 256 << 20
"""The write-ahead log of the file may grow to this while another process reads the file."""


def _nothing(_what: str) -> None:
    """Do nothing: a test stops the loop at this place."""


@dataclass(frozen=True, slots=True)
class FollowConfig:
    """How to follow. history: other revisions than the project's own. observer: told each place of the loop that a test
    may stop at.
    """

    progress: Progress = field(default_factory=Silent)
    view: FollowView = field(default_factory=Unseen)
    signals: GentleSignals = field(default_factory=GentleSignals)
    history: History | None = None
    observer: Callable[[str], None] = _nothing


@dataclass(frozen=True, slots=True)
class FollowReport:
    """How it ended. outcome: stopped, returned or interrupted. most_lag: the greatest lag in seconds after a round."""

    environment: str
    outcome: str
    reason: str
    rounds: int
    seconds: float
    most_lag: float | None


class _Elsewhere(Exception):
    """Raised inside a long write-back: it was told to end, to pause or to hand over."""


def follow(env: Environment, config: FollowConfig) -> FollowReport:
    """Follow until the game returns, an operator stops it, or a signal asks for the end.

    Raises Refusal if another process follows, or players do not play on Postgres; Inconclusive at a schema that this
    version was not built for; Failure if a round proves wrong. The file says what it said after the last round.
    """
    check_homes()
    follower = _Follower(env, config)
    while True:
        with ExitStack() as stack:
            try:
                conn = stack.enter_context(lock.holding(env, follower.name, first=not follower.began))
            except (Refusal, psycopg.OperationalError) as error:
                if not follower.began or isinstance(error, lock.AnotherFollows):
                    raise
                away: BaseException = error
            else:
                follower.meet(conn)
                stack.callback(follower.leave)
                try:
                    return follower.until_it_ends()
                except psycopg.OperationalError as error:
                    if not follower.is_gone():
                        raise
                    away = error
        if (report := follower.without_postgres(away)) is not None:
            return report


class _Follower:
    """A process that follows, over all of its connections. Not thread-safe."""

    def __init__(self, env: Environment, config: FollowConfig) -> None:
        self.env = env
        self.config = config
        self.name = f"follow {secrets.token_hex(4)}"
        self.began = False
        self._conn: ops.Connection | None = None
        self._stack = ExitStack()
        self._back: LiveWriteBack | None = None
        self._known = config.history or revisions.read()
        self._prediction = Prediction()
        self._shown: tuple[FollowState, str] | None = None
        self._since = time.monotonic()
        self._rounds = 0
        self._most_lag: float | None = None
        self._pause = FIRST_PAUSE_SECONDS

    @property
    def conn(self) -> ops.Connection:
        """Return the connection that holds the lock."""
        assert self._conn is not None, "met in `follow`"
        return self._conn

    def meet(self, conn: ops.Connection) -> None:
        """Go on with this connection. What was shown is shown again, and recorded in the row."""
        self._conn = conn
        self._shown = None
        self.began = True

    def leave(self) -> None:
        """Give the file and the connection of its rounds back."""
        stack, self._stack, self._back = self._stack, ExitStack(), None
        with suppress(psycopg.Error):  # A connection that is gone has given back what it held.
            stack.close()

    def is_gone(self) -> bool:
        """Return True if the connection that holds the lock does not answer."""
        try:
            self.conn.execute("select 1")
        except psycopg.OperationalError:
            return True
        return False

    def without_postgres(self, error: BaseException) -> FollowReport | None:
        """Wait a moment, for Postgres can't be asked. Returns the report if a signal asks for the end."""
        found = error.found if isinstance(error, Refusal) else causes.found(error)
        self._show(FollowState.PAUSING, f"Postgres can't be asked: {found}", noted=False)
        self._rest(self._longer_pause(), look=False)
        return self._interrupted(noted=False) if self.config.signals.asked else None

    def until_it_ends(self) -> FollowReport:
        """Apply rounds, or wait, until there is a reason to end."""
        while True:
            if self.config.signals.asked:
                return self._interrupted()
            phase, row = ops.phase(self.conn), self._row()
            if phase is Phase.RETURNED:
                return self._ended(FollowState.RETURNED, "")
            if row.ordered is Order.STOP:
                return self._ended(FollowState.STOPPED, f"{row.ordered_by} ordered it")
            reason = self._reason_to_wait(phase, row)
            if reason is not None:
                self.leave()
                self._show(*reason)
                self._rest(LOOK_SECONDS, look=False)
                continue
            self._try_a_round()

    def _row(self) -> following.Following:
        row = following.read(self.conn)
        if row is None or row.name != self.name:
            raise Failure(
                "the row of this process in ops.follow",
                row.process if row else "none",
                where=self.env.target_direct.redacted,
                do=f"Somebody changed it by hand. Run again: invoke follow --env {self.env.name}",
            )
        return row

    def _reason_to_wait(self, phase: Phase, row: following.Following) -> tuple[FollowState, str] | None:
        """Return the state in which to wait, and why; None for a round."""
        if row.wanted_by:
            holder = locks.holder(self.conn)
            if holder is not None and holder.run == row.wanted_by:
                if row.state is not FollowState.HANDED_OVER:
                    self.leave()  # Before the row says so: the rollback takes the file then.
                    following.hand_over(self.conn, self.name)
                return FollowState.HANDED_OVER, row.wanted_by
            following.take_back(self.conn, self.name, row.wanted_by)
        if row.ordered is Order.PAUSE:
            return FollowState.PAUSING, f"{row.ordered_by} ordered it; invoke follow --env {self.env.name} --resume"
        if phase is not Phase.LIVE:
            return FollowState.PAUSING, f"the phase is {phase}"
        if reason := entering.reason_to_wait(self.conn, follows=self._back is not None):
            return FollowState.PAUSING, reason
        return self._schema()

    def _schema(self) -> tuple[FollowState, str] | None:
        """Return why to wait for a migration. Raises Inconclusive at a schema that this version does not know."""
        at = migrate.current(self.conn)
        if at == self._known.head:
            return None
        if at is None or at in self._known:
            todo = f"invoke migrate --env {self.env.name}"
            return (
                FollowState.PAUSING,
                f"the schema is at {at or 'none'}, and this version is for {self._known.head}: {todo}",
            )
        self.leave()
        reason = f"the schema is at {at}, and this version was built for {self._known.head}"
        self._note(FollowState.STOPPED, reason)
        raise Inconclusive(
            f"the schema {self._known.head}, for which this version was built",
            at,
            where=self.env.target_direct.redacted,
            do="Players play on, and the log is bounded. Start the version that migrated the schema:"
            f" invoke follow --env {self.env.name}",
        )

    def _try_a_round(self) -> None:
        """Apply one round and rest until the next; where something stands in the way, let go of all and wait."""
        began = time.monotonic()
        try:
            figures = self._round()
        except _Elsewhere:
            self.leave()
            return
        except Exception as error:  # Of any kind: what is not waited for is recorded in the row, and raised again.
            self.leave()
            if self.is_gone():
                raise psycopg.OperationalError(causes.found(error)) from error
            self._wait_or_stop(error)
            return
        self._pause = FIRST_PAUSE_SECONDS
        if figures.lines < MUCH:
            self._rest(ROUND_SECONDS - (time.monotonic() - began))

    def _wait_or_stop(self, error: Exception) -> None:
        """Wait for what passes. Anything else is recorded, and raised again."""
        if self._schema_changed():
            return
        if isinstance(error, LogLost):  # The next look says why, and begins anew.
            self._rest(self._longer_pause())
            return
        reason = causes.reason_to_wait(error)
        if not reason:
            self._note(FollowState.STOPPED, causes.found(error))
            raise error
        self._show(FollowState.PAUSING, reason)
        self._rest(self._longer_pause())

    def _schema_changed(self) -> bool:
        """Return True if the schema is not this version's: the next look says what follows from it."""
        return migrate.current(self.conn) != self._known.head

    def _round(self) -> RoundFigures:
        back = self._opened()
        self.config.observer("round")
        result = back.round()
        self.config.observer("after a round")
        lines, lag = back.waiting_now()
        self._require_bounded_log()
        self._rounds += 1
        if result.log_lines:
            self._prediction.add(result.seconds)
        figures = RoundFigures(lag, lines, result.seconds, result.log_lines, self._prediction.seconds)
        following.note_round(
            self.conn,
            self.name,
            age=time.monotonic() - result.read_at,
            lag=lag,
            lines=lines,
            seconds=result.seconds,
            window_seconds=figures.window_seconds,
        )
        self._most_lag = max(lag, self._most_lag or 0.0)
        if self._shown is None or self._shown[0] is not FollowState.FOLLOWING:
            self._shown = (FollowState.FOLLOWING, "")
            self.config.view.state(*self._shown)
        self.config.view.round(figures)
        return figures

    def _opened(self) -> LiveWriteBack:
        """Return the write-back of this process, begun: the file has its pass, and the log leads on from it."""
        if self._back is not None:
            return self._back
        token = secrets.token_hex(16)
        back = self._stack.enter_context(
            writing_back(self.env.legacy.path, self.env.target_direct, run=self.name, pass_token=token)
        )
        # After the lock of transfers: no rollback's rounds are under way.
        entering.take(self.env, self.conn, token)
        if (reason := back.reason_to_begin_anew()) is not None:
            self._show(FollowState.ANEW, reason)
        self.config.observer("begin")
        back.wait_for_file(entering.PATIENCE_SECONDS)
        back.begin(_Watched(self.config.progress, self._check_elsewhere))
        self._back = back
        return back

    def _require_bounded_log(self) -> None:
        """Raise NotYet while another process reads the file for so long that its write-ahead log grows."""
        assert self._back is not None
        if size := self._back.file.log_beyond(MOST_LOG_BYTES):
            users = entering.users(self.env.legacy.path)
            raise NotYet(f"another process reads the legacy file for long, and its -wal has {size >> 20} MB; {users}")

    def _check_elsewhere(self) -> None:
        """Raise _Elsewhere where a long write-back is to end."""
        row = self._row()
        if self.config.signals.asked or row.wanted_by or row.ordered:
            raise _Elsewhere

    def _rest(self, seconds: float, *, look: bool = True) -> None:
        """Wait so long, or until something was ordered or asked for."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self.config.signals.asked:
            self.config.signals.check()
            if look and (row := self._row()) and (row.wanted_by or row.ordered):
                return
            time.sleep(min(LOOK_SECONDS, left))  # Orders are rows that other processes write.

    def _longer_pause(self) -> float:
        pause, self._pause = self._pause, min(self._pause * 2, LONGEST_PAUSE_SECONDS)
        return pause

    def _show(self, state: FollowState, reason: str, *, noted: bool = True) -> None:
        if self._shown == (state, reason):
            return
        self._shown = state, reason
        self.config.view.state(state, reason)
        if noted and state is not FollowState.HANDED_OVER:
            self._note(state, reason)

    def _note(self, state: FollowState, reason: str) -> None:
        following.note_state(self.conn, self.name, state, reason)

    def _interrupted(self, *, noted: bool = True) -> FollowReport:
        return self._ended(FollowState.STOPPED, self.config.signals.asked, outcome="interrupted", noted=noted)

    def _ended(self, state: FollowState, reason: str, *, outcome: str = "", noted: bool = True) -> FollowReport:
        self.leave()
        if noted:
            self._note(state, reason)
        seconds = round(time.monotonic() - self._since, 1)
        return FollowReport(self.env.name, outcome or str(state), reason, self._rounds, seconds, self._most_lag)


class _Watched:
    """A progress that asks now and then if the work is to end."""

    def __init__(self, shown: Progress, check: Callable[[], None]) -> None:
        self._shown = shown
        self._check = check
        self._checked_at = time.monotonic()

    @contextmanager
    def bar(self, title: str, total: int, unit: str) -> Iterator[Advance]:
        with self._shown.bar(title, total, unit) as advance:

            def checked(more: int) -> None:
                advance(more)
                if time.monotonic() - self._checked_at >= LOOK_SECONDS:
                    self._checked_at = time.monotonic()
                    self._check()

            yield checked

    def say(self, line: str) -> None:
        self._shown.say(line)
