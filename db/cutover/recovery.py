"""Where a move stands, and what to do when it stopped: go on, undo, or change nothing and say why.

All of it is read from the databases under the lock. When Postgres does not answer and the legacy file is not open, it
can't be known whether players play on Postgres, so nothing is changed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeAlias

import psycopg
from tenacity import RetryError, Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from db import fence, migrate, ops
from db.cutover import hooks, ownership, plan, rollback_steps, switch, undo
from db.cutover.advice import OVER, PointerTo
from db.cutover.deadline import Deadline
from db.cutover.move import Means, Move, Step, legacy_mark
from db.cutover.report import Report, Verdict
from db.environments import Environment
from db.errors import Failure, Inconclusive, Refusal, ToolError, Undone
from db.ops import Phase
from db.transfer.source import check_file
from game.legacy.fence import PATIENCE_SECONDS
from game.legacy.fence_schema import Mark, State
from game.unit import Fence

_GO_ON_OR_UNDO = "Go on with it: invoke rollback --env {0}; or undo it: invoke rollback --env {0} --abort."

RECONNECT_SECONDS = 20.0
"""How long a restarting server may take to answer, or the session of a cut connection to let go of the lock."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The phase, the run that brought it there, and the fence on either side.

    target: as the fence of Postgres says of itself; odd: tables whose trigger says otherwise. mark: the legacy file's
    fence. identity: which database this is, as a fence bears it. pointer: which store the pointer names.
    """

    phase: Phase
    run: str | None
    target: Fence
    odd: tuple[str, ...]
    mark: Mark
    identity: str
    pointer: PointerTo

    @property
    def legacy(self) -> State:
        """The state of the legacy file's fence."""
        return self.mark.state

    @property
    def startable(self) -> bool:
        """True where no attempt is under way."""
        return self.phase in OVER

    @property
    def rollback_begun(self) -> bool:
        """True where a rollback has fenced Postgres, and neither gone back nor been undone."""
        return self.phase is Phase.LIVE and self.target != "open"

    @property
    def returned_unknown(self) -> bool:
        """True where the file is open and served while Postgres says live: a failover lost the return."""
        return self.phase is Phase.LIVE and self.legacy == "open" and self.pointer is not PointerTo.TARGET

    @property
    def lift_lost(self) -> bool:
        """True where the file says that the game moved here, and Postgres knows of no live: a failover lost it.

        The standby may be older than the whole attempt, so any phase but live tells it. A rollback does not leave it:
        it fences the file anew before it returns.
        """
        return self.phase is not Phase.LIVE and self.legacy == "moved" and self.of_this_game

    @property
    def of_this_game(self) -> bool:
        """True where a move to or from this database set the legacy file's fence."""
        return ownership.is_of(self.mark, self.identity)

    @property
    def of_another(self) -> bool:
        """True where the legacy file is closed, and not by this database's moves."""
        return self.legacy != "open" and not self.of_this_game

    @property
    def undo_unfinished(self) -> bool:
        """True where an attempt is over, and players still wait for the legacy file."""
        if self.phase not in (Phase.ABORTED, Phase.EMPTY) or self.of_another or self.lift_lost:
            return False
        return self.legacy != "open" or (self.phase is Phase.ABORTED and self.pointer is not PointerTo.LEGACY)


Refuse: TypeAlias = Callable[[Standing, Environment], None]
"""Raises Refusal where a verb does not begin from there."""


def standing(env: Environment) -> Standing:
    """Read what the databases say. Postgres does not answer: Refusal if nothing is under way, else Inconclusive."""
    check_file(env.legacy.path)
    mark = legacy_mark(env.legacy.path)
    try:
        conn = ops.connect(env.target_direct)
    except Refusal as error:
        if mark.state == "open":
            raise
        raise unknowable(error.found, env) from error
    with conn:
        ops.require_marker(conn, env.name)
        target: Fence = "fenced"
        odd: tuple[str, ...] = ()
        if migrate.current(conn):
            target = fence.said(conn)
            odd = fence.odd(conn, target)
        return Standing(
            ops.phase(conn), ops.phase_run(conn), target, odd, mark, ops.identity(conn), switch.pointed(env)
        )


def require_same(env: Environment, before: Standing, refuse: Refuse) -> None:
    """Raise Refusal unless what was read before the lock was had still holds: another run may have gone on."""
    now = standing(env)
    refuse(now, env)
    if now != before:
        raise Refusal(
            f"the phase {before.phase} of run {before.run}, and both fences, as they were a moment ago",
            f"the phase {now.phase} of run {now.run}, the legacy file {now.legacy}, Postgres {now.target}",
            where=env.name, do="Another run went on meanwhile; nothing was changed by this one. Look, and run again.",
        )  # fmt: skip


def unknowable(found: str, env: Environment) -> Inconclusive:
    """Say that Postgres does not answer while the legacy file is closed."""
    return Inconclusive(
        "Postgres to say whether players play on it", found, where=env.target_direct.redacted,
        do="Nothing more was changed; the legacy file stays read-only. When the server answers, run again or --abort.",
    )  # fmt: skip


def before_cutover(env: Environment) -> Standing:
    """Read what the databases say where a cutover begins; Refusal while a rollback is under way, or another's move."""
    found = standing(env)
    refuse_cutover(found, env)
    return found


def refuse_cutover(found: Standing, env: Environment) -> None:
    """Raise Refusal where a cutover does not begin or go on."""
    fence.require_even(found.target, found.odd, where=env.target_direct.redacted)
    if found.returned_unknown:
        raise _return_unknown(env)
    if found.rollback_begun:
        raise Refusal(
            "no rollback under way", "a fenced Postgres that is live", where=env.name,
            do=_GO_ON_OR_UNDO.format(env.name),
        )  # fmt: skip
    if found.lift_lost:
        raise lift_not_known(found, env)
    if found.phase is Phase.RETURNED and found.legacy != "open" and found.of_this_game:
        raise Refusal(
            "no rollback under way", "one that still has to open the file", where=env.name,
            do=f"Go on: invoke rollback --env {env.name}.",
        )  # fmt: skip
    if found.phase in (Phase.LOADING, Phase.LIVE) and found.of_another:
        raise anothers(found, env)


def anothers(found: Standing, env: Environment) -> Refusal:
    """Say that the legacy file's fence is not of a run that this database knows."""
    return Refusal(
        f"a legacy file that is open, or that run {found.run} fenced", ownership.said(found.mark),
        where=str(env.legacy.path),
        do="Another move has the file; nothing was changed. Name its database in target_direct, and go on from there.",
    )  # fmt: skip


def _return_unknown(env: Environment) -> Refusal:
    return Refusal(
        "a legacy file that is closed while Postgres is live", "one that is open, and that the pointer names",
        where=str(env.legacy.path),
        do=f"Players may play on the file. Run: invoke rollback --env {env.name}; it compares the two and changes no"
        " player.",
    )  # fmt: skip


def lift_not_known(found: Standing, env: Environment) -> Refusal:
    """Say that a failover lost the lift, and the command that gives up what players did after it."""
    by = found.mark.owner.run if found.mark.owner else "of an earlier cutover"
    opens = "rollback" if found.phase is Phase.RETURNED else "cutover"
    return Refusal(
        f"Postgres to know that run {by} went live", f"the phase {found.phase}, and a legacy file that says moved",
        where=env.target_direct.redacted,
        do="A failover lost its newest transactions, and with them what players did on Postgres. If the old primary can"
        f" be had, bring it back. If not: invoke {opens} --env {env.name}{' --abort' if opens == 'cutover' else ''}"
        " opens the file as it was when it was fenced.",
    )  # fmt: skip


def abort(env: Environment, means: Means) -> Report:
    """Undo an attempt that was begun; again is harmless. Refusal where there is none, or it is past its end."""
    found = standing(env)
    refuse_abort(found, env)
    move = means.move("cutover", env, run=found.run)
    with move.locked(lambda: require_same(env, found, refuse_abort)):
        if found.lift_lost:
            move.journal.write("lift lost", since=found.mark.since)
        _undo(move, undo.UNDO, found.odd)
    return move.finished(Verdict.UNDONE)


def refuse_abort(found: Standing, env: Environment) -> None:
    """Raise Refusal where there is no attempt to abort, or it is past its point of no return."""
    if found.phase is Phase.LIVE and found.rollback_begun and not found.returned_unknown:
        raise Refusal(
            "an attempt before its point of no return", "a rollback under way", where=env.target_direct.redacted,
            do=_GO_ON_OR_UNDO.format(env.name),
        )  # fmt: skip
    if found.phase in (Phase.LIVE, Phase.RETURNED):
        raise Refusal(
            "an attempt before its point of no return", f"the phase {found.phase}",
            where=env.target_direct.redacted,
            do=f"To go back to the legacy file with everything that players did: invoke rollback --env {env.name}."
            if found.phase is Phase.LIVE or found.legacy != "open"
            else f"Players play on the legacy file already; to see what is left to do: invoke status --env {env.name}.",
        )  # fmt: skip
    if found.of_another:
        raise anothers(found, env)
    if found.phase is Phase.EMPTY and found.legacy == "open":
        raise Refusal(
            "an attempt to abort", "none that was begun", where=env.target_direct.redacted,
            do=f"Nothing has to be undone. To begin: invoke cutover --env {env.name}.",
        )  # fmt: skip


def abort_rollback(move: Move, found: Standing, refuse: Refuse) -> Report:
    """Undo a rollback that was begun: Postgres goes on being the game's store; again is harmless."""
    with move.locked(lambda: require_same(move.env, found, refuse)):
        _undo(move, rollback_steps.UNDO, found.odd)
    return move.finished(Verdict.UNDONE)


def after(move: Move, cause: BaseException) -> None:
    """After a step of a cutover failed: undo and raise Undone, or go on where it turns out to be live."""
    _after(move, cause, begun=Phase.LOADING, beyond=Phase.LIVE, last=plan.LIVE, undo_steps=undo.UNDO)


def after_rollback(move: Move, cause: BaseException) -> None:
    """After a step of a rollback failed: undo and raise Undone, or go on where it turns out to have returned."""
    last, undo_steps = rollback_steps.RETURN, rollback_steps.UNDO
    _after(move, cause, begun=Phase.LIVE, beyond=Phase.RETURNED, last=last, undo_steps=undo_steps)


def _after(
    move: Move, cause: BaseException, *, begun: Phase, beyond: Phase, last: Step, undo_steps: tuple[Step, ...]
) -> None:
    """Settle how far the move came, and finish or undo it.

    A failed COMMIT is the hard case: the phase says which it was.
    Taking the lock again shows that the session that was cut is gone, so the answer can't change any more. Where it
    was lost, that is the cause, whatever failed first: a run that was stopped finds its budget used up too. An
    interrupt that came past the point of no return is raised once the last step is done.
    """
    with _holding_signals(move):
        lost = not _answers(move)
        phase = _settled_phase(move, cause)
        if phase is beyond:
            move.perform(last)
            if isinstance(cause, KeyboardInterrupt):
                raise cause
        else:
            if phase is not begun:
                raise cause
            _undo(move, undo_steps)
            move.finished(Verdict.UNDONE)
            found = f"the session that held the lock was lost: {_said(cause)}" if lost else _said(cause)
            raise Undone(
                f"the {move.verb} to reach its end", found, where=move.env.name,
                do=f"Now {undo_steps[-1].true_after}. The log: {move.journal.folder}",
            ) from cause  # fmt: skip
    move.means.signals.check()


def settled(move: Move) -> None:
    """Hold the lock on a connection that works; Inconclusive where it can't be had."""
    if _answers(move):
        return
    move.means.progress.say("     the connection is gone; taking the lock again")
    again = Retrying(
        retry=retry_if_exception_type(Refusal), stop=stop_after_delay(RECONNECT_SECONDS), wait=wait_fixed(0.2)
    )
    try:
        again(move.lock_again)
    except RetryError as error:
        raise unknowable(str(error.last_attempt.exception()), move.env) from None


def _answers(move: Move) -> bool:
    try:
        move.conn.execute("select 1")
    except psycopg.OperationalError:
        return False
    return True


def _settled_phase(move: Move, cause: BaseException) -> Phase:
    """Read the phase under the lock; raise the cause where another run went on since, whose phase it is then."""
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


def _undo(move: Move, steps: tuple[Step, ...], odd: tuple[str, ...] = ()) -> None:
    with _holding_signals(move):
        _undo_steps(move, steps, odd)


def _undo_steps(move: Move, steps: tuple[Step, ...], odd: tuple[str, ...]) -> None:
    move.deadline = Deadline(float("inf"))
    move.means.progress.say(f"     undoing; for {undo_seconds(move.env):.0f} s at most")
    if odd:  # It must not keep players waiting: on whichever store they are to play, the undo does not ask this fence.
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
        raise Failure(
            "the undo to finish", _said(error), where=move.env.name, do=f"{mend} on with it: {abort_command(move)}"
        ) from error


def undo_seconds(env: Environment) -> float:
    """How long an undo may take at most: each hook has its limit, and so has all that is waited for."""
    hooked = sum(1 for hook in (env.hooks.deploy, env.hooks.restart) if hook)
    return (
        RECONNECT_SECONDS
        + hooks.ORPHAN_SECONDS
        + PATIENCE_SECONDS
        + hooked * switch.HOOK_SECONDS
        + switch.READY_SECONDS
    )


def abort_command(move: Move) -> str:
    """The command that undoes this move."""
    return f"invoke {move.verb} --env {move.env.name} --abort"


def _holding_signals(move: Move) -> AbstractContextManager[None]:
    return move.means.signals.holding(
        f"The undo is under way; it takes {undo_seconds(move.env):.0f} s at most.",
        f"kill -9 of process {os.getpid()} is safe; afterwards run: {abort_command(move)}",
    )


def _said(cause: BaseException) -> str:
    if isinstance(cause, ToolError):
        return f"{cause.where + ': ' if cause.where else ''}expected {cause.expected}; found {cause.found}"
    return str(cause) or type(cause).__name__
