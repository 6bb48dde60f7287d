"""The window of a live cutover: the moment in which no player can write, about a tenth of a second.

The legacy file is fenced, durably, and its write lock held; the last round is applied; then phase `live` and the lift
of Postgres's fence are one transaction, the point of no return; then the file says that it moved. Nothing here reads
more than what changed since the last round.

Before that transaction is sent the file may be opened again at once, whatever Postgres answers; once it is sent nothing
is opened before a session that holds the lock has read the phase.
"""

from __future__ import annotations

import gc
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import psycopg

from db import ops
from db.console.live_view import MoveState
from db.counts import few
from db.cutover import catching_up, fence_owner, holding, live_record, switch, watchdog
from db.cutover.context import FAILURES, READ_ONLY_BEGINS, READ_ONLY_ENDS, RunContext
from db.cutover.cutover_steps import require_whole
from db.cutover.ports import Observer
from db.cutover.turning import turning
from db.cutover.watchdog import Watchdog
from db.errors import Failure, ToolError
from db.ops import Phase, fence, orders
from db.processes import priority
from db.transfer.live.leeway import Leeway
from db.transfer.live.session import LiveTransfer
from game.errors import StoreUnavailable
from game.legacy import capture_schema, sqlite_values
from game.tables import CANARY_PREFIX
from game.urls import LegacyUrl, PostgresUrl

BUDGET_SECONDS = 1.0
"""Seconds from the fence to the moment at which the transaction of the point of no return is sent."""

LOCK_SECONDS = 0.3
"""Seconds to wait for the file's write lock. Players write meanwhile; a writer that keeps it longer is not a player."""

SWITCH_SECONDS = 0.0005
"""The interpreter's switch interval during a window, in seconds."""

ATTEMPTS = 5
"""Windows that are tried. One that does not fit its budget opens the file again, and further rounds follow."""


_LATER = "Players play on the legacy file. Choose a quieter hour, and run again: the copy goes on where it is."


class WindowMissed(Failure):
    """The budget was used up before the point of no return; the file was opened again, and nothing else changed."""


@dataclass(slots=True)
class Timeline:
    """The course of a window, from the moment that its file is locked.

    began: seconds since 1970; since: monotonic seconds; marks: the end of each part, in ms.

    observer: called with each part as it ends.
    """

    observer: Observer
    began: float = field(default_factory=time.time)
    since: float = field(default_factory=time.monotonic)
    marks: dict[str, float] = field(default_factory=dict)

    def begin(self) -> None:
        """Start the clocks: players wait from now on."""
        self.began, self.since = time.time(), time.monotonic()

    def mark(self, name: str) -> None:
        """Note that this part has ended."""
        self.observer("at", name)
        self.marks[name] = round((time.monotonic() - self.since) * 1000, 2)

    @property
    def seconds(self) -> float:
        """Return how long it has lasted."""
        return time.monotonic() - self.since


def cross(context: RunContext, live: LiveTransfer) -> dict[str, Any]:
    """Catch up, and pass the window. If one does not fit its budget, players go on playing and another one is tried.

    A watchdog process stands by: if this process dies or hangs, players play again within moments.

    Raises WindowMissed after the last try, and whatever a store raises; the file is open again then, unless the
    transaction of the point of no return was sent.
    """
    guarded = watchdog.Guarded(context.env, context.journal.folder, context.owner)
    with watchdog.standing_by(guarded) as tool_end:
        for attempt in range(1, ATTEMPTS + 1):
            holding.until_calm(context, lambda: live_record.of_round(context, live.round(context.leeway), live.waiting))
            caught = catching_up.catch_up(context, live)
            context.check_deadline()
            try:
                with context.config.view.doing(MoveState.IN_THE_WINDOW):
                    return _once(context, live, tool_end, {"attempts": attempt, "rounds": caught.rounds})
            except WindowMissed as error:
                context.journal.write("window missed", attempt=attempt, found=error.found)
                context.config.progress.say(f"     the window was opened again: {error.found}")
                orders.wait(context.conn, context.journal.run, f"a window was opened again: {error.found}")
                if attempt == ATTEMPTS:
                    raise
    raise AssertionError("the last attempt returns or raises")


def _once(context: RunContext, live: LiveTransfer, tool_end: Watchdog, facts: dict[str, Any]) -> dict[str, Any]:
    """Try the window once. A failure before the point of no return opens the file again, then raises."""
    expected = "every process of the service to have Postgres open beside the file"
    require_offered(context, context.env.target, expected, later=_LATER)
    context.journal.write("window")
    context.config.observer("at", "window")  # Nothing is fenced yet, so whatever an observer does is no part of it.
    with priority.raised():
        catching_up.close_in(live)
    prepared = fence.prepare(context.conn)
    line = Timeline(context.config.observer)
    with _impatient(context.conn, live.conn):
        try:
            tool_end.tell(watchdog.WINDOW)
            with live.hurried(), undisturbed(context.leeway):
                facts |= _through(context, live, tool_end, line, prepared)
            tool_end.tell(watchdog.OVER)
        except (ToolError, *FAILURES, KeyboardInterrupt):
            phase = _known_phase(context)
            with suppress(Failure):  # The watchdog may be what failed.
                if phase is Phase.LOADING:  # If the file can't be opened now, the watchdog tries on.
                    tool_end.tell(watchdog.WINDOW)
            if phase is Phase.LOADING:  # So no store but the file can be open.
                context.lifting = False
                watchdog.open_again(context.env, context.owner)
                context.journal.write(READ_ONLY_BEGINS, when=line.began)
                context.journal.write(READ_ONLY_ENDS, when=line.began + line.seconds)
            with suppress(Failure):
                if phase is not None:  # Else the watchdog would wait for the lock, which this process holds.
                    tool_end.tell(watchdog.OVER)
            raise
    context.journal.write(READ_ONLY_BEGINS, when=line.began)
    context.journal.write(READ_ONLY_ENDS, when=line.began + line.marks["live"] / 1000)
    context.journal.write("window passed", **facts)
    return facts


def _known_phase(context: RunContext) -> Phase | None:
    """Return the phase, which nobody but this process can change; None if it is not known: the session is lost.

    The session that sent the point of no return knows how it ended. Before that was sent nobody has to be asked.
    """
    if not context.lifting:
        return Phase.LOADING
    try:
        return context.phase()
    except psycopg.Error:
        return None


@contextmanager
def _impatient(*conns: ops.Connection) -> Iterator[None]:
    """Have these sessions wait no longer for a lock of Postgres than for the file's; who keeps one puts the window off.

    Their own limits are longer than a window may last.
    """
    had = [conn.execute("show lock_timeout").fetchone() or ("0",) for conn in conns]
    for conn in conns:
        _wait_at_most(conn, f"{LOCK_SECONDS * 1000:.0f}ms")
    try:
        yield
    except psycopg.errors.LockNotAvailable as error:
        raise WindowMissed(
            f"every lock of Postgres within {LOCK_SECONDS:g} s", str(error).splitlines()[0], do=_LATER
        ) from error
    finally:
        for conn, (timeout,) in zip(conns, had, strict=True):
            with suppress(psycopg.Error):  # A session that is lost.
                _wait_at_most(conn, timeout)


def _wait_at_most(conn: ops.Connection, timeout: str) -> None:
    conn.execute("select set_config('lock_timeout', %s, false)", (timeout,))


def require_offered(context: RunContext, store: PostgresUrl | LegacyUrl, expected: str, *, later: str) -> None:
    """Raise WindowMissed unless every process of the service has the store open as its next one."""
    if not switch.offered(context, store):
        raise WindowMissed(expected, "one that has not", where=", ".join(context.env.services), do=later)


def require_in_time(context: RunContext, line: Timeline, *, later: str) -> None:
    """Raise WindowMissed if the budget of the window is used up."""
    if line.seconds > BUDGET_SECONDS:
        raise WindowMissed(
            f"the point of no return within {BUDGET_SECONDS:g} s",
            f"{line.seconds:.2f} s ({few([f'{name} {ms:.0f} ms' for name, ms in line.marks.items()], 9)})",
            where=context.env.name,
            do=later,
        )


@contextmanager
def undisturbed(leeway: Leeway) -> Iterator[None]:
    """Have this thread come first, where it may, and Python collect no garbage within.

    Requests that arrive in a window want the processor that it needs. To look through all that a copy has made takes as
    long as a window. A call that has returned waits for another thread that computes, by default 5 ms.
    """
    gc.disable()
    had = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        with leeway.resting(), priority.raised():
            yield
    finally:
        sys.setswitchinterval(had)
        gc.enable()


def _through(
    context: RunContext, live: LiveTransfer, tool_end: Watchdog, line: Timeline, prepared: fence.Prepared
) -> dict[str, Any]:
    """Go through the window: fence the file, apply the last round, check, and lift Postgres's fence. Returns facts."""
    owner, path = context.owner, context.env.legacy.path
    closing_check = fence_owner.of_this_game_or_open(owner, path)
    run_check = fence_owner.of_this_run(owner, path)
    turn = partial(turning, phases=(Phase.LOADING,), using=live.file, patience_seconds=LOCK_SECONDS)
    with _soon(turn(context, "fenced", owner_check=closing_check, pass_token=context.pass_token)):
        line.begin()  # Up to here players wrote: this waited for its turn among them.
    line.mark("fence")
    with _soon(turn(context, "moved", owner_check=run_check)) as connection:
        line.mark("lock")
        require_whole(context, connection)
        _require_captured(context, live, connection)
        result = live.last_round(connection)
        line.mark("last round")
        live.gate(context.env.policy.max_held)
        _require_no_canaries(context)
        if context.instant is not None:
            context.instant.take()
        line.mark("checks")
        _lift(context, tool_end, line, prepared)
        line.mark("live")
    line.mark("moved")
    return {
        "window_ms": line.marks["live"],
        "parts_ms": line.marks,
        "last_round": {"players": result.players, "rows": result.rows, "written": result.written},
    }


@contextmanager
def _soon(turning_fence: AbstractContextManager[sqlite3.Connection]) -> Iterator[sqlite3.Connection]:
    """Turn the fence; a file that somebody else keeps locked puts the window off."""
    try:
        with turning_fence as connection:
            yield connection
    except Failure as error:
        if not isinstance(error.__cause__, StoreUnavailable):
            raise
        raise WindowMissed(error.expected, error.found, where=error.where, do=_LATER) from error


def _lift(context: RunContext, tool_end: Watchdog, line: Timeline, prepared: fence.Prepared) -> None:
    """Send the point of no return. The budget is asked last."""
    require_in_time(context, line, later=_LATER)
    tool_end.tell(watchdog.SENT)
    context.lifting = True
    with context.conn.transaction():
        context.held.require_proof()
        context.held.advance(Phase.LOADING, Phase.LIVE)
        fence.lift(context.conn, log=True, prepared=prepared)


def _require_captured(context: RunContext, live: LiveTransfer, connection: sqlite3.Connection) -> None:
    """Raise WindowMissed if a table has no triggers: the next rounds see to it."""
    lacking = live.lacking(connection)
    if lacking:
        raise WindowMissed(
            "change capture on every table",
            f"none on {few(lacking, 3)}",
            where=context.env.legacy.redacted,
            do=_LATER,
        )


def _require_no_canaries(context: RunContext) -> None:
    upper = CANARY_PREFIX[:-1] + chr(ord(CANARY_PREFIX[-1]) + 1)
    row = context.conn.execute(
        "select count(*) from users where id >= %s and id < %s", (CANARY_PREFIX, upper)
    ).fetchone()
    if row != (0,):
        raise Failure(
            "no player of the smoke test's on Postgres",
            f"{row[0] if row else 'an unknown number'} that an earlier one left",
            where=context.env.target_direct.redacted,
            do="Players play on the legacy file. Run again: the smoke test removes what an earlier one left.",
        )


def capture_is_off(context: RunContext) -> bool:
    """Return True if the legacy file bears nothing of change capture."""
    with closing(sqlite_values.connect(context.env.legacy.path, readonly=True)) as connection:
        return not capture_schema.own(connection)
