"""Where a move stands, and what to do when it stopped: go on, undo, or change nothing and say why.

All of it is read from the databases under the lock. When Postgres does not answer and the legacy file is not open, it
can't be known whether players play on Postgres, so nothing is changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import psycopg
from tenacity import RetryError, Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from db import fence, migrate, ops
from db.cutover import ownership, plan, rollback_steps, undo
from db.cutover.deadline import Deadline
from db.cutover.move import Means, Move, Step, legacy_mark
from db.cutover.report import Report, Verdict
from db.environments import Environment
from db.errors import Failure, Inconclusive, Refusal, ToolError, Undone
from db.ops import Phase
from db.transfer.source import check_file
from game.legacy.fence_schema import Mark, Owner, State
from game.unit import Fence

RECONNECT_SECONDS = 20.0
"""How long a restarting server may take to answer, or the session of a cut connection to let go of the lock."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The phase, the run that brought it there, and the fence on either side.

    target: as the fence of Postgres says of itself; odd: tables whose trigger says otherwise. mark: the legacy file's
    fence. identity: which database this is, as a fence bears it.
    """

    phase: Phase
    run: str | None
    target: Fence
    odd: tuple[str, ...]
    mark: Mark
    identity: str

    @property
    def legacy(self) -> State:
        """The state of the legacy file's fence."""
        return self.mark.state

    @property
    def startable(self) -> bool:
        """Whether no attempt is under way."""
        return self.phase in (Phase.EMPTY, Phase.ABORTED, Phase.RETURNED)

    @property
    def rollback_begun(self) -> bool:
        """Whether a rollback has fenced Postgres, and neither gone back nor been undone."""
        return self.phase is Phase.LIVE and self.target != "open"

    @property
    def has_the_file(self) -> bool:
        """Whether the legacy file's fence is of the run that the phase names; open, it is nobody else's."""
        return ownership.is_ours_or_open(self.mark, Owner(self.run or "", self.identity))

    @property
    def of_this_game(self) -> bool:
        """Whether the legacy file's fence was set by a move to or from this database."""
        return ownership.is_of(self.mark, self.identity)

    @property
    def undo_unfinished(self) -> bool:
        """Whether an attempt is over, and players still wait for the legacy file."""
        return self.phase is Phase.ABORTED and self.legacy != "open" and self.has_the_file


Refuse: TypeAlias = Callable[[Standing, Environment], None]
"""A Refusal where a verb does not begin from there."""


def standing(env: Environment) -> Standing:
    """What the databases say. Where Postgres does not answer: Refusal if nothing is under way, else Inconclusive."""
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
        return Standing(ops.phase(conn), ops.phase_run(conn), target, odd, mark, ops.identity(conn))


def require_same(env: Environment, before: Standing, refuse: Refuse) -> None:
    """Under the lock: what was read before it was had holds still; Refusal where another run went on meanwhile."""
    now = standing(env)
    refuse(now, env)
    if now != before:
        raise Refusal(
            f"the phase {before.phase} of run {before.run}, and both fences, as they were a moment ago",
            f"the phase {now.phase} of run {now.run}, the legacy file {now.legacy}, Postgres {now.target}",
            where=env.name, do="Another run went on meanwhile; nothing was changed by this one. Look, and run again.",
        )  # fmt: skip


def unknowable(found: str, env: Environment) -> Inconclusive:
    """The sentence for a Postgres that does not answer while the legacy file is closed."""
    return Inconclusive(
        "Postgres to say whether players play on it", found, where=env.target_direct.redacted,
        do="Nothing more was changed; the legacy file stays read-only. When the server answers, run again or --abort.",
    )  # fmt: skip


def before_cutover(env: Environment) -> Standing:
    """What the databases say where a cutover begins; Refusal while a rollback is under way, or another's move."""
    found = standing(env)
    refuse_cutover(found, env)
    return found


def refuse_cutover(found: Standing, env: Environment) -> None:
    """What a cutover does not begin or go on from."""
    fence.require_even(found.target, found.odd, where=env.target_direct.redacted)
    if found.rollback_begun:
        raise Refusal("no rollback under way", "a fenced Postgres that is live", do="Go on with it: invoke rollback.")
    if found.phase is Phase.RETURNED and found.legacy != "open" and found.has_the_file:
        raise Refusal("no rollback under way", "one that still has to open the file", do="Go on: invoke rollback.")
    if found.phase is Phase.LOADING and not found.has_the_file:
        raise anothers(found, env)
    if found.phase is Phase.LIVE and found.legacy != "open" and not found.of_this_game:
        raise anothers(found, env)


def anothers(found: Standing, env: Environment) -> Refusal:
    """The sentence for a legacy file whose fence is not of the run that this database knows."""
    return Refusal(
        f"a legacy file that is open, or that run {found.run} fenced", ownership.said(found.mark),
        where=str(env.legacy.path),
        do="Another move has the file; nothing was changed. Name its database in target_direct, and go on from there.",
    )  # fmt: skip


def abort(env: Environment, means: Means) -> Report:
    """Undo an attempt that was begun; again is harmless. Refusal where there is none, or it is past its end."""
    found = standing(env)
    _refuse_abort(found, env)
    move = means.move("cutover", env, run=found.run)
    with move.locked(lambda: require_same(env, found, _refuse_abort)):
        _undo(move, undo.UNDO, found.odd)
    return move.finished(Verdict.UNDONE)


def _refuse_abort(found: Standing, env: Environment) -> None:
    if found.phase in (Phase.LIVE, Phase.RETURNED):
        raise Refusal(
            "an attempt before its point of no return", f"the phase {found.phase}",
            where=env.target_direct.redacted,
            do="To go back to the legacy file with everything that players did: invoke rollback.",
        )  # fmt: skip
    if found.phase is Phase.EMPTY:
        raise Refusal("an attempt to abort", "none that was begun", where=env.target_direct.redacted)
    if not found.has_the_file:
        raise anothers(found, env)


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
    """A failed COMMIT is the hard case: the phase says which it was.

    Taking the lock again shows that the session that was cut is gone, so the answer can't change any more.
    """
    phase = _settled_phase(move, cause)
    if phase is beyond:
        move.perform(last)
        return
    if phase is not begun:
        raise cause
    _undo(move, undo_steps)
    move.finished(Verdict.UNDONE)
    raise Undone(
        f"the {move.verb} to reach its end", _said(cause), where=move.env.name,
        do=f"Now {undo_steps[-1].true_after}. The log: {move.journal.folder}",
    ) from cause  # fmt: skip


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
    """The phase, under the lock; raises the cause where another run went on since, whose phase it is then."""
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
    move.deadline = Deadline(float("inf"))
    move.means.progress.say("     undoing")
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
        raise Failure(
            "the undo to finish", _said(error), where=move.env.name, do=f"Go on with it: invoke {move.verb} --abort."
        ) from error


def _said(cause: BaseException) -> str:
    if isinstance(cause, ToolError):
        return f"{cause.where + ': ' if cause.where else ''}expected {cause.expected}; found {cause.found}"
    return str(cause) or type(cause).__name__
