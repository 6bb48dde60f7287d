"""Where a move stands, and what to do when it stopped: go on, undo, or change nothing and say why.

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

from db import ops
from db.cutover import fence_owner, hooks, plan, rollback_steps, switch, switch_record, undo
from db.cutover.context import FAILURES, RunConfig, RunContext, Step, legacy_mark
from db.cutover.deadline import Deadline
from db.cutover.move_status import MoveStatus, Refuse, unknowable
from db.cutover.report import Report, Status, Verdict
from db.environments import Environment
from db.errors import Failure, Inconclusive, Refusal, ToolError, Undone
from db.legacy.opening import check_file
from db.ops import Phase, fence
from db.schema import migrate
from game.legacy.fence import PATIENCE_SECONDS
from game.redaction import redact
from game.unit_of_work import Fence

_GO_ON_OR_UNDO = "Go on with it: invoke rollback --env {0}; or undo it: invoke rollback --env {0} --abort."

RECONNECT_SECONDS = 20.0
"""How long a restarting server may take to answer, or the session of a cut connection to let go of the lock."""


def read_status(env: Environment) -> MoveStatus:
    """Read where the move stands. Without Postgres, raises Refusal if the file is open, else Inconclusive."""
    check_file(env.legacy.path)
    mark = legacy_mark(env.legacy.path)
    try:
        conn = ops.connect(env.target_direct)
    except Refusal as error:
        if mark.state == "open":
            raise
        raise unknowable(error.found, env, error.do) from error
    with conn:
        ops.require_marker(conn, env.name)
        target: Fence = "fenced"
        inconsistent: tuple[str, ...] = ()
        if migrate.current(conn):
            target = fence.recorded_state(conn)
            inconsistent = fence.inconsistent_tables(conn, target)
        phase = ops.phase(conn)
        return MoveStatus(
            phase,
            ops.phase_run(conn),
            target,
            inconsistent,
            mark,
            ops.identity(conn),
            switch.pointed(env),
            unfinished=switch.is_unfinished(env, env.target if phase is Phase.LIVE else env.legacy),
            undoing=switch_record.undoing(env),
        )


def require_same(env: Environment, before: MoveStatus, refuse: Refuse) -> None:
    """Raise Refusal unless the state read before the lock still holds: another run may have changed it."""
    now = read_status(env)
    refuse(now, env)
    if now != before:
        raise Refusal(
            f"the phase {before.phase} of run {before.run}, and both fences, as they were a moment ago",
            f"the phase {now.phase} of run {now.run}, the legacy file {now.legacy}, Postgres {now.target}",
            where=env.name,
            do="Another run went on meanwhile; this one changed nothing. The next command:"
            f" invoke status --env {env.name}",
        )


def before_cutover(env: Environment) -> MoveStatus:
    """Read where the move stands. Raises Refusal as `refuse_cutover` does."""
    found = read_status(env)
    refuse_cutover(found, env)
    return found


def refuse_cutover(found: MoveStatus, env: Environment) -> None:
    """Raise Refusal if a cutover may neither begin nor go on from this state."""
    fence.require_consistent(
        found.target, found.inconsistent, env.target_direct.schema, where=env.target_direct.redacted
    )
    # Before all that names a command: while another move has the file, none would begin.
    if found.phase in (Phase.LOADING, Phase.LIVE) and found.of_another:
        raise anothers(found, env)
    if found.returned_unknown:
        raise _return_unknown(env)
    if found.rollback_begun:
        raise Refusal(
            "no rollback under way",
            "a fenced Postgres that is live",
            where=env.name,
            do=_GO_ON_OR_UNDO.format(env.name),
        )
    if found.lift_lost:
        raise lift_not_known(found, env)
    if found.phase is Phase.RETURNED and found.legacy != "open" and found.of_this_game:
        raise Refusal(
            "no rollback under way",
            "one that still has to open the file",
            where=env.name,
            do=f"Go on: invoke rollback --env {env.name}.",
        )


def anothers(found: MoveStatus, env: Environment) -> Refusal:
    """Make the Refusal for a legacy file whose fence is not of this database's moves."""
    return Refusal(
        f"a legacy file that is open, or that run {found.run} fenced",
        fence_owner.describe(found.mark),
        where=str(env.legacy.path),
        do=fence_owner.remedy(found.mark, env.name),
    )


def _return_unknown(env: Environment) -> Refusal:
    return Refusal(
        "a legacy file that is closed while Postgres is live",
        "one that is open, and that the pointer names",
        where=str(env.legacy.path),
        do=f"Players may play on the file. Run: invoke rollback --env {env.name}; it compares the two and changes no"
        " player.",
    )


def lift_not_known(found: MoveStatus, env: Environment) -> Refusal:
    """Say that a failover lost the lift, and the command that gives up what players did after it."""
    by = found.mark.owner.run if found.mark.owner else "of an earlier cutover"
    aborts = f"invoke cutover --env {env.name} --abort"
    opens = f"invoke rollback --env {env.name}" if found.phase is Phase.RETURNED else aborts
    return Refusal(
        f"Postgres to know that run {by} went live",
        f"the phase {found.phase}, and a legacy file that says moved",
        where=env.target_direct.redacted,
        do="A failover lost its newest transactions, and with them what players did on Postgres. If the old primary can"
        f" be had, bring it back. If not: {opens} opens the file as it was when it was fenced.",
    )


def require_no_undo_of_a_rollback(found: MoveStatus, env: Environment) -> None:
    """Raise Refusal if the undo of a rollback has still to switch the services back to Postgres."""
    if found.rollback_undo_unfinished:
        raise Refusal(
            "no undo of a rollback under way",
            "one whose switch back to Postgres is not done",
            where=env.name,
            do=f"Finish it first: invoke rollback --env {env.name} --abort.",
        )


def abort(env: Environment, config: RunConfig) -> Report:
    """Undo an attempt. Safe to call again. Raises Refusal if there is none, or it is past its point of no return."""
    found = read_status(env)
    refuse_abort(found, env)
    context = config.new_context("cutover", env, run=found.run)
    with context.locked(lambda: require_same(env, found, refuse_abort), undoing=True):
        if found.lift_lost:
            context.journal.write("lift lost", since=found.mark.since)
        _undo(context, undo.UNDO, found.inconsistent)
    return context.finished(Verdict.UNDONE)


def refuse_abort(found: MoveStatus, env: Environment) -> None:
    """Raise Refusal if there is no attempt to abort, or it is past its point of no return."""
    if found.of_another:
        raise anothers(found, env)
    if found.phase is Phase.LIVE and found.rollback_begun and not found.returned_unknown:
        raise Refusal(
            "an attempt before its point of no return",
            "a rollback under way",
            where=env.target_direct.redacted,
            do=_GO_ON_OR_UNDO.format(env.name),
        )
    require_no_undo_of_a_rollback(found, env)
    if found.phase in (Phase.LIVE, Phase.RETURNED):
        raise Refusal(
            "an attempt before its point of no return",
            f"the phase {found.phase}",
            where=env.target_direct.redacted,
            do=f"To go back to the legacy file with everything that players did: invoke rollback --env {env.name}."
            if found.phase is Phase.LIVE or found.legacy != "open"
            else f"Players play on the legacy file already; to see what is left to do: invoke status --env {env.name}.",
        )
    if found.phase is Phase.EMPTY and found.legacy == "open" and not found.unfinished:
        raise Refusal(
            "an attempt to abort",
            "none that was begun",
            where=env.target_direct.redacted,
            do=f"Nothing has to be undone. To begin: invoke cutover --env {env.name}.",
        )


def abort_rollback(context: RunContext, found: MoveStatus, refuse: Refuse) -> Report:
    """Undo a rollback, so that Postgres stays the game's store. Safe to call again."""
    with context.locked(lambda: require_same(context.env, found, refuse), undoing=True):
        _undo(context, rollback_steps.UNDO, found.inconsistent)
    return context.finished(Verdict.UNDONE)


def after(context: RunContext, cause: BaseException) -> None:
    """Undo a cutover after a failed step, and raise Undone; or finish it if it turns out to be live."""
    _after(context, cause, begun=Phase.LOADING, beyond=Phase.LIVE, last=plan.LIVE, undo_steps=undo.UNDO)


def after_rollback(context: RunContext, cause: BaseException) -> None:
    """Undo a rollback after a failed step, and raise Undone; or finish it if it turns out to have returned."""
    last, undo_steps = rollback_steps.RETURN, rollback_steps.UNDO
    _after(context, cause, begun=Phase.LIVE, beyond=Phase.RETURNED, last=last, undo_steps=undo_steps)


def _after(
    context: RunContext, cause: BaseException, *, begun: Phase, beyond: Phase, last: Step, undo_steps: tuple[Step, ...]
) -> None:
    """Find out how far the move came, and finish or undo it.

    After a failed COMMIT only the phase tells whether it was made. Once the lock is taken again, the lost session is
    gone, so the phase can't change any more. Past the point of no return an interrupt and a defect are raised after the
    last step; a failure of a store is not, since the move is finished.
    """
    with _holding_signals(context):
        # A lost lock is reported as the cause, whatever failed first: a run that was paused has used up its budget too.
        lost = not _answers(context)
        phase = _settled_phase(context, cause)
        if phase is beyond:
            context.config.progress.say(f"     {last.name} was committed, although this followed: {_said(cause)}")
            context.perform(last)
            # A store or a hook may fail for a moment, and the move is finished all the same. A defect is reported.
            if not isinstance(cause, (ToolError, *FAILURES)):
                raise cause
        else:
            if phase is not begun:
                raise cause
            reason = f"the session that held the lock was lost: {_said(cause)}" if lost else _said(cause)
            _undo(context, undo_steps, reason=reason)
            context.finished(Verdict.UNDONE)
            raise Undone(
                f"the {context.verb} to reach its end",
                reason,
                where=context.env.name,
                do=f"{_restored(context, undo_steps[-1])} The log: {context.journal.folder}",
            ) from cause
    context.config.signals.check()


def _restored(context: RunContext, switch_back: Step) -> str:
    """Say who serves the players after an undo. An undo that found the switch not begun has switched nothing back."""
    status = [step.status for step in context.performed if step.name == switch_back.name][-1]
    serves = switch_back.true_after[:1].upper() + switch_back.true_after[1:]
    return f"{serves}, as before." if status is Status.ALREADY else f"{serves} again."


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
        raise unknowable(_said(last), context.env, last.do) from None


def _answers(context: RunContext) -> bool:
    try:
        context.conn.execute("select 1")
    except psycopg.OperationalError:
        return False
    return True


def _settled_phase(context: RunContext, cause: BaseException) -> Phase:
    """Read the phase under the lock. Raises the cause if another run has changed the phase since."""
    try:
        settled(context)
        phase, ours = context.phase(), context.is_ours
    except Inconclusive as error:
        raise error from cause
    except psycopg.OperationalError as error:
        raise unknowable(str(error).strip(), context.env) from cause
    if not ours:
        raise cause
    return phase


def _undo(
    context: RunContext, steps: tuple[Step, ...], inconsistent: tuple[str, ...] = (), *, reason: str = ""
) -> None:
    """Undo. reason: why the move failed; "" if somebody asked for the undo."""
    with _holding_signals(context):
        _undo_steps(context, steps, inconsistent, reason)


def _undo_steps(context: RunContext, steps: tuple[Step, ...], inconsistent: tuple[str, ...], reason: str) -> None:
    context.deadline = Deadline(float("inf"))
    if reason:  # Now, for an undo may hang; and once more at its end.
        context.config.progress.say(f"     the {context.verb} failed: {redact(reason)}")
    context.config.progress.say(f"     undoing: {_how_long(context.env)}")
    context.begin_undo()
    if inconsistent:  # Players must not wait for it: the undo opens either store without asking this fence.
        context.config.progress.say(
            f"     the fence of Postgres is odd on {', '.join(inconsistent)}: look, once this is undone"
        )
        context.journal.write("odd", "undo", tables=list(inconsistent))
    context.let_dump_end()
    try:
        for step in steps:
            context.perform(step)
    except psycopg.OperationalError as error:
        raise unknowable(str(error).strip(), context.env) from error
    except ToolError as error:
        mend = f"{error.do} Then go" if error.do else "Go"
        both = f"the {context.verb} to reach its end, or " if reason else ""
        why = f"{reason}\n  and of the undo: " if reason else ""
        raise Failure(
            f"{both}the undo to finish",
            f"{why}{_said(error)}",
            where=context.env.name,
            do=f"{mend} on with it: {abort_command(context)}",
        ) from error
    context.end_undo()


@contextmanager
def finishing(context: RunContext) -> Iterator[None]:
    """Have what stops a move after its point of no return name the command that finishes it, with exit code 1.

    A Refusal would say that nothing was changed, though players play on the other store by then.
    """
    try:
        yield
    except (Failure, Refusal) as error:
        finish = f"Then finish it: invoke {context.verb} --env {context.env.name}"
        raise Failure(
            error.expected,
            error.found,
            where=error.where,
            do=f"The move is made. {error.do} {finish}".replace("  ", " "),
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


def _said(cause: BaseException) -> str:
    if isinstance(cause, ToolError):
        return f"{cause.where + ': ' if cause.where else ''}expected {cause.expected}; found {cause.found}"
    return str(cause) or type(cause).__name__
