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
from db.cutover import hooks, ownership, plan, rollback_steps, switch, switch_record, undo
from db.cutover.deadline import Deadline
from db.cutover.move import FAILURES, Means, Move, Step, legacy_mark
from db.cutover.report import Report, Status, Verdict
from db.cutover.standing import Refuse, Standing, unknowable
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


def standing(env: Environment) -> Standing:
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
        odd: tuple[str, ...] = ()
        if migrate.current(conn):
            target = fence.said(conn)
            odd = fence.odd(conn, target)
        phase = ops.phase(conn)
        return Standing(
            phase,
            ops.phase_run(conn),
            target,
            odd,
            mark,
            ops.identity(conn),
            switch.pointed(env),
            unfinished=switch.is_unfinished(env, env.target if phase is Phase.LIVE else env.legacy),
            undoing=switch_record.undoing(env),
        )


def require_same(env: Environment, before: Standing, refuse: Refuse) -> None:
    """Raise Refusal unless the state read before the lock still holds: another run may have changed it."""
    now = standing(env)
    refuse(now, env)
    if now != before:
        raise Refusal(
            f"the phase {before.phase} of run {before.run}, and both fences, as they were a moment ago",
            f"the phase {now.phase} of run {now.run}, the legacy file {now.legacy}, Postgres {now.target}",
            where=env.name,
            do="Another run went on meanwhile; this one changed nothing. The next command:"
            f" invoke status --env {env.name}",
        )


def before_cutover(env: Environment) -> Standing:
    """Read where the move stands. Raises Refusal as `refuse_cutover` does."""
    found = standing(env)
    refuse_cutover(found, env)
    return found


def refuse_cutover(found: Standing, env: Environment) -> None:
    """Raise Refusal if a cutover may neither begin nor go on from this state."""
    fence.require_even(found.target, found.odd, env.target_direct.schema, where=env.target_direct.redacted)
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


def anothers(found: Standing, env: Environment) -> Refusal:
    """Make the Refusal for a legacy file whose fence is not of this database's moves."""
    return Refusal(
        f"a legacy file that is open, or that run {found.run} fenced",
        ownership.said(found.mark),
        where=str(env.legacy.path),
        do=ownership.remedy(found.mark, env.name),
    )


def _return_unknown(env: Environment) -> Refusal:
    return Refusal(
        "a legacy file that is closed while Postgres is live",
        "one that is open, and that the pointer names",
        where=str(env.legacy.path),
        do=f"Players may play on the file. Run: invoke rollback --env {env.name}; it compares the two and changes no"
        " player.",
    )


def lift_not_known(found: Standing, env: Environment) -> Refusal:
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


def require_no_undo_of_a_rollback(found: Standing, env: Environment) -> None:
    """Raise Refusal if the undo of a rollback has still to switch the services back to Postgres."""
    if found.rollback_undo_unfinished:
        raise Refusal(
            "no undo of a rollback under way",
            "one whose switch back to Postgres is not done",
            where=env.name,
            do=f"Finish it first: invoke rollback --env {env.name} --abort.",
        )


def abort(env: Environment, means: Means) -> Report:
    """Undo an attempt. Safe to call again. Raises Refusal if there is none, or it is past its point of no return."""
    found = standing(env)
    refuse_abort(found, env)
    move = means.move("cutover", env, run=found.run)
    with move.locked(lambda: require_same(env, found, refuse_abort), undoing=True):
        if found.lift_lost:
            move.journal.write("lift lost", since=found.mark.since)
        _undo(move, undo.UNDO, found.odd)
    return move.finished(Verdict.UNDONE)


def refuse_abort(found: Standing, env: Environment) -> None:
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


def abort_rollback(move: Move, found: Standing, refuse: Refuse) -> Report:
    """Undo a rollback, so that Postgres stays the game's store. Safe to call again."""
    with move.locked(lambda: require_same(move.env, found, refuse), undoing=True):
        _undo(move, rollback_steps.UNDO, found.odd)
    return move.finished(Verdict.UNDONE)


def after(move: Move, cause: BaseException) -> None:
    """Undo a cutover after a failed step, and raise Undone; or finish it if it turns out to be live."""
    _after(move, cause, begun=Phase.LOADING, beyond=Phase.LIVE, last=plan.LIVE, undo_steps=undo.UNDO)


def after_rollback(move: Move, cause: BaseException) -> None:
    """Undo a rollback after a failed step, and raise Undone; or finish it if it turns out to have returned."""
    last, undo_steps = rollback_steps.RETURN, rollback_steps.UNDO
    _after(move, cause, begun=Phase.LIVE, beyond=Phase.RETURNED, last=last, undo_steps=undo_steps)


def _after(
    move: Move, cause: BaseException, *, begun: Phase, beyond: Phase, last: Step, undo_steps: tuple[Step, ...]
) -> None:
    """Find out how far the move came, and finish or undo it.

    After a failed COMMIT only the phase tells whether it was made. Once the lock is taken again, the lost session is
    gone, so the phase can't change any more. Past the point of no return an interrupt and a defect are raised after the
    last step; a failure of a store is not, since the move is finished.
    """
    with _holding_signals(move):
        # A lost lock is reported as the cause, whatever failed first: a run that was paused has used up its budget too.
        lost = not _answers(move)
        phase = _settled_phase(move, cause)
        if phase is beyond:
            move.means.progress.say(f"     {last.name} was committed, although this followed: {_said(cause)}")
            move.perform(last)
            # A store or a hook may fail for a moment, and the move is finished all the same. A defect is reported.
            if not isinstance(cause, (ToolError, *FAILURES)):
                raise cause
        else:
            if phase is not begun:
                raise cause
            reason = f"the session that held the lock was lost: {_said(cause)}" if lost else _said(cause)
            _undo(move, undo_steps, reason=reason)
            move.finished(Verdict.UNDONE)
            raise Undone(
                f"the {move.verb} to reach its end",
                reason,
                where=move.env.name,
                do=f"{_restored(move, undo_steps[-1])} The log: {move.journal.folder}",
            ) from cause
    move.means.signals.check()


def _restored(move: Move, switch_back: Step) -> str:
    """Say who serves the players after an undo. An undo that found the switch not begun has switched nothing back."""
    status = [step.status for step in move.performed if step.name == switch_back.name][-1]
    serves = switch_back.true_after[:1].upper() + switch_back.true_after[1:]
    return f"{serves}, as before." if status is Status.ALREADY else f"{serves} again."


def settled(move: Move) -> None:
    """Make sure that a working connection holds the lock. Raises Inconclusive if it can't be taken."""
    if _answers(move):
        return
    move.means.progress.say("     the connection is gone; taking the lock again")
    again = Retrying(
        retry=retry_if_exception_type(Refusal), stop=stop_after_delay(RECONNECT_SECONDS), wait=wait_fixed(0.2)
    )
    try:
        again(move.lock_again)
    except RetryError as error:
        last = error.last_attempt.exception()
        assert isinstance(last, Refusal), "nothing else is tried again"
        raise unknowable(_said(last), move.env, last.do) from None


def _answers(move: Move) -> bool:
    try:
        move.conn.execute("select 1")
    except psycopg.OperationalError:
        return False
    return True


def _settled_phase(move: Move, cause: BaseException) -> Phase:
    """Read the phase under the lock. Raises the cause if another run has changed the phase since."""
    try:
        settled(move)
        phase, ours = move.phase(), move.is_ours
    except Inconclusive as error:
        raise error from cause
    except psycopg.OperationalError as error:
        raise unknowable(str(error).strip(), move.env) from cause
    if not ours:
        raise cause
    return phase


def _undo(move: Move, steps: tuple[Step, ...], odd: tuple[str, ...] = (), *, reason: str = "") -> None:
    """Undo. reason: why the move failed; "" if somebody asked for the undo."""
    with _holding_signals(move):
        _undo_steps(move, steps, odd, reason)


def _undo_steps(move: Move, steps: tuple[Step, ...], odd: tuple[str, ...], reason: str) -> None:
    move.deadline = Deadline(float("inf"))
    if reason:  # Now, for an undo may hang; and once more at its end.
        move.means.progress.say(f"     the {move.verb} failed: {redact(reason)}")
    move.means.progress.say(f"     undoing: {_how_long(move.env)}")
    move.begin_undo()
    if odd:  # Players must not wait for it: the undo opens either store without asking this fence.
        move.means.progress.say(f"     the fence of Postgres is odd on {', '.join(odd)}: look, once this is undone")
        move.journal.write("odd", "undo", tables=list(odd))
    move.let_dump_end()
    try:
        for step in steps:
            move.perform(step)
    except psycopg.OperationalError as error:
        raise unknowable(str(error).strip(), move.env) from error
    except ToolError as error:
        mend = f"{error.do} Then go" if error.do else "Go"
        both = f"the {move.verb} to reach its end, or " if reason else ""
        why = f"{reason}\n  and of the undo: " if reason else ""
        raise Failure(
            f"{both}the undo to finish",
            f"{why}{_said(error)}",
            where=move.env.name,
            do=f"{mend} on with it: {abort_command(move)}",
        ) from error
    move.end_undo()


@contextmanager
def finishing(move: Move) -> Iterator[None]:
    """Have what stops a move after its point of no return name the command that finishes it, with exit code 1.

    A Refusal would say that nothing was changed, though players play on the other store by then.
    """
    try:
        yield
    except (Failure, Refusal) as error:
        finish = f"Then finish it: invoke {move.verb} --env {move.env.name}"
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


def abort_command(move: Move) -> str:
    """Return the command that undoes this move."""
    return f"invoke {move.verb} --env {move.env.name} --abort"


def _holding_signals(move: Move) -> AbstractContextManager[None]:
    return move.means.signals.holding(
        f"The undo is under way, and no signal stops it: {_how_long(move.env)}.",
        f"kill -9 of process {os.getpid()} is safe; afterwards run: {abort_command(move)}",
    )


def _said(cause: BaseException) -> str:
    if isinstance(cause, ToolError):
        return f"{cause.where + ': ' if cause.where else ''}expected {cause.expected}; found {cause.found}"
    return str(cause) or type(cause).__name__
