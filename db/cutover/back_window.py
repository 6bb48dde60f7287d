"""The window of a live rollback: one transaction of Postgres, in which the legacy file gets the last round.

The transaction is on the connection that holds the run lock. It locks `users`, so no command is in flight, raises the
fence, writes the last round durably to the file, and sets phase `returned` and the fence *moved*. Its COMMIT is the
point of no return. Then the file is opened. A tool that dies before the COMMIT leaves Postgres open, since its
transaction is rolled back; after it the watchdog opens the file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import psycopg
from psycopg import errors
from tenacity import RetryError, Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from db.console.live_view import MoveState
from db.cutover import holding, returning, watchdog, writing_back
from db.cutover.context import FAILURES, READ_ONLY_BEGINS, RunContext
from db.cutover.cutover_steps import require_whole
from db.cutover.watchdog import Watchdog
from db.cutover.window import Timeline, WindowMissed, require_in_time, require_offered, undisturbed
from db.errors import Failure, ToolError
from db.ops import Phase, fence, locks, orders
from db.transfer.live_back.session import LiveWriteBack
from game.tables import CANARY_PREFIX

LOCK_TIMEOUT_MS = 50
"""How long one attempt may wait for the commands in flight; others wait behind it for as long."""

LOCK_SECONDS = 3.0
"""How long attempts go on before the window is put off, and rounds follow."""

FENCE_SECONDS = 0.1
"""How long the fence may wait for writes that lock no player: an operator's SQL. Players wait meanwhile."""

ATTEMPTS = 5

_LATER = "Players play on Postgres. Choose a quieter hour, and run again: the rounds go on where they are."


def cross(context: RunContext, back: LiveWriteBack) -> dict[str, Any]:
    """Catch up, and pass the window. If one does not fit its budget, or can't have its lock, another one is tried.

    Raises WindowMissed after the last try, and whatever a store raises; Postgres is open then, unless the COMMIT was
    sent.
    """
    guarded = watchdog.Guarded(context.env, context.journal.folder, context.owner, verb="rollback")
    with watchdog.standing_by(guarded) as tool_end:
        for attempt in range(1, ATTEMPTS + 1):
            holding.until_calm(context, partial(writing_back.one_round, context, back))
            rounds = writing_back.catch_up(context, back)
            try:
                with context.config.view.doing(MoveState.IN_THE_WINDOW):
                    return _once(context, back, tool_end, {"attempts": attempt, "rounds": rounds})
            except WindowMissed as error:
                context.journal.write("window missed", attempt=attempt, found=error.found)
                context.config.progress.say(f"     the window was put off: {error.found}")
                orders.wait(context.conn, context.journal.run, f"a window was put off: {error.found}")
                if attempt == ATTEMPTS:
                    raise
    raise AssertionError("the last attempt returns or raises")


def _once(context: RunContext, back: LiveWriteBack, tool_end: Watchdog, facts: dict[str, Any]) -> dict[str, Any]:
    expected = "every process of the service to have the legacy file open beside Postgres"
    require_offered(context, context.env.legacy, expected, later=_LATER)
    context.journal.write("window")
    writing_back.close_in(context, back)
    prepared = fence.prepare(context.conn)
    context.config.observer("at", "window")  # Nothing is locked yet; what players do meanwhile is the last round's.
    line = Timeline(context.config.observer)
    committed = False
    try:
        with undisturbed(context.leeway):
            with _locked(context, line):
                tool_end.tell(watchdog.WINDOW)  # Not before the lock: attempts may take longer than a window may last.
                facts |= _last_moments(context, back, tool_end, line, prepared)
            committed = True
            line.mark("returned")
            context.journal.write_in_window(READ_ONLY_BEGINS, when=line.began)
            returning.open_file(context, back.file.connection)
            line.mark("open")
        tool_end.tell(watchdog.OVER)
    except (ToolError, *FAILURES, KeyboardInterrupt):
        if committed or not context.lifting:  # Settled: this process holds the lock, and goes on from the phase.
            tool_end.tell(watchdog.OVER)
        raise
    facts |= {"window_ms": line.marks["open"], "parts_ms": line.marks}
    context.journal.write("window passed", **facts)
    return facts


@contextmanager
def _locked(context: RunContext, line: Timeline) -> Iterator[None]:
    """Hold a transaction that has locked `users`, commit it after the body, and roll it back where that fails."""
    retrying = Retrying(
        retry=retry_if_exception_type(errors.LockNotAvailable),
        stop=stop_after_delay(LOCK_SECONDS),
        wait=wait_random_exponential(multiplier=0.02, max=0.5),
    )
    try:
        retrying(_lock, context.conn)
    except RetryError:
        raise WindowMissed(
            f"the commands in flight to end within {LOCK_SECONDS:g} s",
            f"not ended by {locks.table_lockers(context.conn)}",
            where=context.env.target_direct.redacted,
            do=_LATER,
        ) from None
    line.begin()
    try:
        yield
        context.conn.execute("commit")
    except BaseException:  # Ctrl-C too: players wait for as long as the lock is held.
        with suppress(psycopg.Error):  # A connection that is gone has rolled back, or committed: the phase tells.
            context.conn.rollback()
        raise


def _lock(conn: psycopg.Connection[Any]) -> None:
    """Begin, and lock `users` in one short attempt; rolled back where the lock can't be had."""
    conn.execute("begin isolation level read committed")
    try:
        conn.execute("set local idle_in_transaction_session_timeout = '2s'")
        conn.execute("set local synchronous_commit = on")
        conn.execute(f"set local lock_timeout = '{LOCK_TIMEOUT_MS}ms'")
        conn.execute("lock table users in exclusive mode")
    except BaseException:  # Ctrl-C too: the connection goes on, and must not stay within this transaction.
        conn.rollback()
        raise


def _last_moments(
    context: RunContext, back: LiveWriteBack, tool_end: Watchdog, line: Timeline, prepared: fence.Prepared
) -> dict[str, Any]:
    """Raise the fence, write the last round, check, and set the phase. The budget is asked last. Returns facts."""
    line.mark("lock")
    try:
        fence.raise_fence(
            context.conn,
            pass_token=context.pass_token,
            owner=context.owner_on_target,
            patience_seconds=FENCE_SECONDS,
            prepared=prepared,
        )
    except Failure as error:
        raise WindowMissed(error.expected, error.found, where=error.where, do=_LATER) from error
    line.mark("fence")
    result = back.last_round(context.conn)
    line.mark("last round")
    require_whole(context, back.file.connection)
    _require_no_canaries(context, back.file.connection)
    line.mark("checks")
    context.held.advance(Phase.LIVE, Phase.RETURNED)
    fence.raise_fence(context.conn, state="moved", owner=context.owner_on_target, prepared=prepared)
    require_in_time(context, line, later=_LATER)
    tool_end.tell(watchdog.SENT)
    context.lifting = True
    line.mark("sent")
    return {"last_round": {"players": result.players, "rows": result.log_lines, "written": result.cells}}


def _require_no_canaries(context: RunContext, file: sqlite3.Connection) -> None:
    """Raise Failure if the file, which has now what Postgres has, bears a player of the smoke test's."""
    upper = CANARY_PREFIX[:-1] + chr(ord(CANARY_PREFIX[-1]) + 1)
    (found,) = file.execute("SELECT count(*) FROM users WHERE id >= ? AND id < ?", (CANARY_PREFIX, upper)).fetchone()
    if found:
        raise Failure(
            "no player of the smoke test's in the legacy file",
            f"{found} that an earlier one left",
            where=context.env.legacy.redacted,
            do="Players play on Postgres. Run again: the smoke test removes what an earlier one left.",
        )
