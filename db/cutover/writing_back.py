"""Repeats the rounds of a live write-back until one is short enough for a window. Players play on Postgres."""

from __future__ import annotations

from functools import partial

from db import ops
from db.console.live_view import Dirty, MoveState
from db.counts import counted
from db.cutover import catching_up, holding, live_record
from db.cutover.catching_up import LEAST_SHRINKING, MOST_AHEAD, MOST_ROUNDS, SHORT_SECONDS, STILL
from db.cutover.context import FAILURES, RunContext
from db.cutover.runbook import LeftToGoOn
from db.environments import Environment
from db.errors import ToolError
from db.ops import change_log, orders
from db.transfer.live_back.session import LiveWriteBack, LogLost, RoundOfWriteBack

MOST_LOST = 3
"""So often in a row the log may be lost (outgrown, switched off) before players are too fast for it."""


def begin(context: RunContext, back: LiveWriteBack) -> None:
    """Go on from the change log, or begin a new one with a whole write-back."""
    if (reason := back.reason_to_begin_anew()) is None:
        back.begin()
        return
    context.config.progress.say(f"     everything is written back once: {reason}")
    with context.config.view.doing(MoveState.COPYING_BACK, waiting(context), reason):
        written = back.begin(context.config.progress)
    if written is not None:
        context.journal.write("written back", reason=reason, players=written.players, cells=written.cells)


def catch_up(context: RunContext, back: LiveWriteBack) -> int:
    """Apply rounds until one is short; return how many. Raises LeftToGoOn if players write faster than rounds apply."""
    with context.config.view.doing(MoveState.CATCHING_UP, waiting(context)):
        return _catch_up(context, back)


def _catch_up(context: RunContext, back: LiveWriteBack) -> int:
    before: float | None = None
    still = 0
    for number in range(1, MOST_ROUNDS + 1):
        if holding.wait_while_paused(context):
            before, still = None, 0  # The next round has the whole pause to apply, which says nothing of the rates.
        result = one_round(context, back)
        if result.seconds <= SHORT_SECONDS or not result.log_lines:
            return number
        context.config.progress.say(
            f"     round {number}: {counted(result.players, 'players')} had changed, written in"
            f" {result.seconds * 1000:.0f} ms"
        )
        shrinks = before is None or result.seconds < before * LEAST_SHRINKING
        still = 0 if shrinks else still + 1
        if still >= STILL:
            if result.seconds <= catching_up.LONGEST_SECONDS:
                return number
            break
        before = result.seconds
    found = f"a round takes {result.seconds:.1f} s and writes {counted(result.log_lines, 'changes')}"
    orders.fail(context.conn, context.journal.run, found)
    raise LeftToGoOn(
        "rounds that become shorter",
        found,
        where=context.env.name,
        do="Players play on Postgres. Choose a quieter hour and run again: the rounds go on where they are. Or undo:"
        f" invoke rollback --env {context.env.name} --abort",
    )


def close_in(context: RunContext, back: LiveWriteBack) -> None:
    """Apply rounds right before a window until they no longer shrink, on the session that makes the last one."""
    before = one_round(context, back, context.conn)
    for _round in range(1, MOST_AHEAD):
        result = one_round(context, back, context.conn)
        if result.seconds >= before.seconds * LEAST_SHRINKING:
            return
        before = result


def one_round(context: RunContext, back: LiveWriteBack, connection: ops.Connection | None = None) -> RoundOfWriteBack:
    """Apply a round; where the log was lost, begin a new one first. Raises LogLost if that does not help.

    connection: see `LiveWriteBack.round`.
    """
    for _attempt in range(MOST_LOST):
        context.config.signals.check()
        context.require_lock()
        try:
            result = back.round(connection)
        except LogLost as error:
            context.journal.write("log lost", found=error.found)
            begin(context, back)
            continue
        live_record.of_write_back(context, result, back.waiting)
        return result
    return back.round(connection)


def waiting(context: RunContext) -> Dirty:
    """Return what counts the changes of players that wait on the log, by a connection of its own."""
    return partial(_waiting, context.env)


def _waiting(env: Environment) -> int | None:
    try:
        with ops.connect(env.target_direct) as conn:
            log = change_log.capture(conn)
            return None if log is None or not log.on else change_log.waiting(conn, log.log)[0]
    except (ToolError, *FAILURES):  # It is shown as unknown; the rounds themselves say what is wrong.
        return None
