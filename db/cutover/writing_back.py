"""Repeats the rounds of a live write-back until one is short enough for a window. Players play on Postgres."""

from __future__ import annotations

from dataclasses import asdict

from db.counts import counted
from db.cutover.catching_up import LEAST_SHRINKING, LONGEST_SECONDS, MOST_AHEAD, MOST_ROUNDS, SHORT_SECONDS, STILL
from db.cutover.context import RunContext
from db.cutover.runbook import LeftToGoOn
from db.transfer.live_back.session import LiveWriteBack, LogLost, RoundOfWriteBack

MOST_LOST = 3
"""So often in a row the log may be lost (outgrown, switched off) before players are too fast for it."""


def begin(context: RunContext, back: LiveWriteBack) -> None:
    """Go on from the change log, or begin a new one with a whole write-back."""
    if (reason := back.reason_to_begin_anew()) is not None:
        context.config.progress.say(f"     everything is written back once: {reason}")
    written = back.begin(context.config.progress)
    if written is not None:
        context.journal.write("written back", reason=reason, players=written.players, cells=written.cells)


def catch_up(context: RunContext, back: LiveWriteBack) -> int:
    """Apply rounds until one is short; return how many. Raises LeftToGoOn if players write faster than rounds apply."""
    before: float | None = None
    still = 0
    for number in range(1, MOST_ROUNDS + 1):
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
            if result.seconds <= LONGEST_SECONDS:
                return number
            break
        before = result.seconds
    raise LeftToGoOn(
        "rounds that become shorter",
        f"a round takes {result.seconds:.1f} s and writes {counted(result.log_lines, 'changes')}",
        where=context.env.name,
        do="Players play on Postgres. Choose a quieter hour and run again: the rounds go on where they are. Or undo:"
        f" invoke rollback --env {context.env.name} --abort",
    )


def close_in(context: RunContext, back: LiveWriteBack) -> None:
    """Apply rounds right before a window until they no longer shrink."""
    before = one_round(context, back)
    for _round in range(1, MOST_AHEAD):
        result = one_round(context, back)
        if result.seconds >= before.seconds * LEAST_SHRINKING:
            return
        before = result


def one_round(context: RunContext, back: LiveWriteBack) -> RoundOfWriteBack:
    """Apply a round; where the log was lost, begin a new one first. Raises LogLost if that does not help."""
    for _attempt in range(MOST_LOST):
        context.config.signals.check()
        context.require_lock()
        try:
            result = back.round()
        except LogLost as error:
            context.journal.write("log lost", found=error.found)
            begin(context, back)
            continue
        facts = {name: value for name, value in asdict(result).items() if name != "added_columns"}
        context.journal.write("round", left=back.waiting, **facts)
        return result
    return back.round()
