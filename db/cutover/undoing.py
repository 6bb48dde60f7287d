"""Ends an attempt that failed or that somebody gives up, and says how to finish one past its point of no return.

All of it is read from the databases under the lock. When Postgres does not answer and the legacy file is not open, it
can't be known whether players play on Postgres, so nothing is changed.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import psycopg
from tenacity import RetryError, Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from db.cutover import hooks, switch
from db.cutover.context import FAILURES, RunContext, text_of
from db.cutover.deadline import Deadline
from db.cutover.move_status import unknowable
from db.cutover.report import RunVerdict, StepStatus
from db.cutover.runbook import Runbook, Step, perform
from db.environments import Environment
from db.errors import Failure, Inconclusive, Refusal, ToolError, Undone
from db.ops import Phase
from game.legacy.fence import PATIENCE_SECONDS
from game.redaction import redact

RECONNECT_SECONDS = 20.0
"""How long a restarting server may take to answer, or the session of a cut connection to let go of the lock."""


def after(context: RunContext, runbook: Runbook, cause: BaseException) -> None:
    """Find out how far the move came, and finish it; or undo it, and raise Undone.

    After a failed COMMIT only the phase tells whether it was made. Once the lock is taken again, the lost session is
    gone, so the phase can't change any more. Past the point of no return an interrupt and a defect are raised after the
    last step; a failure of a store is not, since the move is finished.
    """
    with _holding_signals(context):
        # A lost lock is reported as the cause, whatever failed first: a run that was paused has used up its budget too.
        lost = not _answers(context)
        phase = _settled_phase(context, cause)
        if phase is runbook.beyond:
            context.config.progress.say(
                f"     {runbook.point_of_no_return.name} was committed, although this followed: {_text(cause)}"
            )
            with finishing(context):
                perform(context, runbook.point_of_no_return)
            # A store or a hook may fail for a moment, and the move is finished all the same. A defect is reported.
            if not isinstance(cause, (ToolError, *FAILURES)):
                raise cause
        else:
            if phase is not runbook.begun:
                raise cause
            reason = f"the session that held the lock was lost: {_text(cause)}" if lost else _text(cause)
            undo(context, runbook, cause=cause, reason=reason)
            context.finished(RunVerdict.UNDONE)
            raise Undone(
                f"the {context.verb} to reach its end",
                reason,
                where=context.env.name,
                do=f"{_restored(context, runbook.undo[-1])} The journal is in {context.journal.folder}.",
            ) from cause
    context.config.signals.check()


def _restored(context: RunContext, switch_back: Step) -> str:
    """Say who serves the players after an undo. An undo that found the switch not begun has switched nothing back."""
    status = [step.status for step in context.performed if step.name == switch_back.name][-1]
    serves = switch_back.true_after[:1].upper() + switch_back.true_after[1:]
    return f"{serves}, as before." if status is StepStatus.ALREADY else f"{serves} again."


def settled(context: RunContext) -> None:
    """Make sure that a working connection holds the lock. Raises Inconclusive if it can't be taken."""
    if _answers(context):
        return
    context.config.progress.say("     the connection is gone; taking the lock again")
    again = Retrying(
        retry=retry_if_exception_type(Refusal), stop=stop_after_delay(RECONNECT_SECONDS), wait=wait_fixed(0.2)
    )
    try:
        again(context.lock_again)
    except RetryError as error:
        last = error.last_attempt.exception()
        assert isinstance(last, Refusal), "nothing else is tried again"
        raise unknowable(_text(last), context.env, last.do) from None


def _answers(context: RunContext) -> bool:
    """Return True if Postgres still answers over the run's connection."""
    try:
        context.conn.execute("select 1")
    except psycopg.OperationalError:
        return False
    return True


def _settled_phase(context: RunContext, cause: BaseException) -> Phase:
    """Read the phase under the lock. Raises the cause if another run has changed the phase since."""
    try:
        settled(context)
        phase, is_ours = context.phase(), context.is_ours
    except Inconclusive as error:
        raise error from cause
    except psycopg.OperationalError as error:
        raise unknowable(str(error).strip(), context.env) from cause
    if not is_ours:
        raise cause
    return phase


def undo(
    context: RunContext,
    runbook: Runbook,
    inconsistent: tuple[str, ...] = (),
    *,
    cause: BaseException | None = None,
    reason: str = "",
) -> None:
    """Undo the move. cause, reason: why it failed; None and "" if the operator asked for the undo."""
    with _holding_signals(context):
        _prepare_undo(context, inconsistent, reason)
        try:
            for step in runbook.undo:
                perform(context, step)
        except psycopg.OperationalError as error:
            raise unknowable(str(error).strip(), context.env) from error
        except ToolError as error:
            raise _unfinished(context, error, cause, reason) from error
        context.end_undo()


def _prepare_undo(context: RunContext, inconsistent: tuple[str, ...], reason: str) -> None:
    context.deadline = Deadline(float("inf"))
    if reason:  # Now, for an undo may hang; and once more at its end.
        context.config.progress.say(f"     the {context.verb} failed: {redact(reason)}")
    context.config.progress.say(f"     undoing: {_how_long(context.env)}")
    context.begin_undo()
    if inconsistent:  # Players must not wait for it: the undo opens either store without asking this fence.
        context.config.progress.say(
            f"     the fence of Postgres is not whole on {', '.join(inconsistent)}; once this is undone:"
            f" invoke status --env {context.env.name}"
        )
        context.journal.write("odd", "undo", tables=list(inconsistent))
    context.let_dump_end()


def _unfinished(context: RunContext, error: ToolError, cause: BaseException | None, reason: str) -> Failure:
    """Make the Failure of an undo that failed: both reasons, and the remedy of each."""
    mend = f"{error.do} Then go" if error.do else "Go"
    both = f"the {context.verb} to reach its end, or " if reason else ""
    why = f"{reason}\n  and of the undo: " if reason else ""
    # The undo comes first, since players may be waiting for it.
    first = cause.do if isinstance(cause, ToolError) and cause.do and cause.do != error.do else ""
    later = f". Before a new {context.verb}: {first}" if first else ""
    return Failure(
        f"{both}the undo to finish",
        f"{why}{_text(error)}",
        where=context.env.name,
        do=f"{mend} on with it: {abort_command(context)}{later}",
    )


@contextmanager
def finishing(context: RunContext) -> Iterator[None]:
    """Turn what stops a move after its point of no return into a Failure that names the command that finishes it.

    A Refusal would say that nothing was changed, though players play on the other store by then.
    """
    finish = f"Then finish it: invoke {context.verb} --env {context.env.name}"
    try:
        yield
    except (Failure, Refusal) as error:
        raise Failure(
            error.expected,
            error.found,
            where=error.where,
            do=f"The move is made. {error.do} {finish}".replace("  ", " "),
        ) from error
    except FAILURES as error:  # Outside of a step's work, which makes a Failure of it: asked whether the step is done.
        raise Failure(
            "both stores to answer",
            redact(text_of(error)),
            where=context.env.name,
            do=f"The move is made. {finish}",
        ) from error


def undo_seconds(env: Environment) -> float:
    """Return how many seconds an undo may take at most: the sum of its time limits."""
    hooked = sum(1 for hook in (env.hooks.deploy, env.hooks.restart) if hook)
    return (
        RECONNECT_SECONDS
        + hooks.ORPHAN_SECONDS
        + PATIENCE_SECONDS
        + hooked * switch.HOOK_SECONDS
        + switch.READY_SECONDS
    )


def _how_long(env: Environment) -> str:
    """Say how long an undo takes: seconds, or if a hook or a service hangs until the last time limit has passed."""
    return f"it takes seconds; if a hook or a service hangs, {math.ceil(undo_seconds(env) / 60)} minutes at most"


def abort_command(context: RunContext) -> str:
    """Return the command that undoes this move."""
    return f"invoke {context.verb} --env {context.env.name} --abort"


def _holding_signals(context: RunContext) -> AbstractContextManager[None]:
    return context.config.signals.holding(
        f"The undo is under way, and no signal stops it: {_how_long(context.env)}.",
        f"kill -9 of process {os.getpid()} is safe; afterwards run: {abort_command(context)}",
    )


def _text(cause: BaseException) -> str:
    if isinstance(cause, ToolError):
        return f"{cause.where + ': ' if cause.where else ''}expected {cause.expected}; found {cause.found}"
    return str(cause) or type(cause).__name__
