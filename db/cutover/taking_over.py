"""Takes the legacy file over from a process that has it follow, at the end of one of its rounds."""

from __future__ import annotations

from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from db.cutover.context import RunContext
from db.cutover.runbook import LeftToGoOn
from db.ops import following

PATIENCE_SECONDS = 30.0
"""A round takes well under a second; a whole write-back looks up each moment, and is left."""

LOOK_SECONDS = 0.05


def from_follower(context: RunContext) -> None:
    """Ask the process that follows for the file, and wait until it is handed over; at once if none follows.

    It goes on by itself when this run has given its lock back and players still play on Postgres. Raises LeftToGoOn
    naming the process if it does not answer.
    """
    row = following.read(context.conn)
    if row is None or not following.at_work(context.conn):
        return
    following.want(context.conn, context.journal.run)
    context.config.progress.say(f"     asking for the legacy file: {row.process} has it follow")
    try:
        Retrying(
            retry=retry_if_result(lambda handed: not handed),
            stop=stop_after_delay(PATIENCE_SECONDS),
            wait=wait_fixed(LOOK_SECONDS),
        )(_handed_over, context)
    except RetryError:
        raise LeftToGoOn(
            f"the file to be handed over within {PATIENCE_SECONDS:g} s",
            f"no answer of {row.process}",
            where=context.env.name,
            do=f"Players play on Postgres. End that process on {row.host} (kill -9 {row.pid} is safe), and run again.",
        ) from None
    context.journal.write("handed over", by=row.process)


def _handed_over(context: RunContext) -> bool:
    context.config.signals.check()
    context.require_lock()
    return following.is_handed_over(context.conn, context.journal.run)
