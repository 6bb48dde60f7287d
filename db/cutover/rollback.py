"""The rollback: back to the legacy file with everything that players did on Postgres, by docs/cutover.md.

Running it again goes on where it stopped; `abort` undoes it up to its own point of no return.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from db.confirmation import unasked
from db.console.progress import Progress, Silent
from db.cutover import checks, plan, preflight, recovery, rollback_steps
from db.cutover import dry_run as dry_runs
from db.cutover import journal as journals
from db.cutover.move import RUNS, Means, Move
from db.cutover.ports import Observer, Smoke, unobserved
from db.cutover.preflight import Demand
from db.cutover.report import Report, Verdict
from db.cutover.standing import Standing
from db.environments import Environment
from db.errors import Refusal
from db.ops import Phase, fence
from db.processes.interruption import Signals
from db.snapshots.tools import Tools


def run(
    env: Environment,
    *,
    smoke: Smoke,
    demands: Sequence[Demand] = (),
    confirm: Callable[[], None] = unasked,
    offline: bool = True,
    dry_run: bool = False,
    abort: bool = False,
    discard_writes: bool = False,
    accept_loss: int | None = None,
    tools: Tools | None = None,
    progress: Progress | None = None,
    observer: Observer = unobserved,
    folder: Path = RUNS,
    signals: Signals | None = None,
) -> Report:
    """Move the game back to the legacy file.

    abort: undo a rollback instead, so that the game stays on Postgres. dry_run: only make and list the checks.
    discard_writes: leave on Postgres what players did there; `accept_loss` must then be the number of their granted
    requests. Raises Refusal, Undone, Inconclusive and Failure as a cutover does.
    """
    plan.require_offline(offline)
    means = Means(smoke, tools, progress or Silent(), observer, folder, signals or Signals())
    refuse = _refuse_abort if abort else _refuse
    if dry_run:
        planned = means.move("rollback", env, run=None)
        if abort:
            return dry_runs.abort(planned, refuse)
        accept = partial(_accepted, planned, discard_writes=discard_writes, accept_loss=accept_loss)
        return dry_runs.rollback(planned, refuse, accept, demands, discards=discard_writes)
    standing = recovery.standing(env)
    refuse(standing, env)
    move = means.move("rollback", env, run=_begun(standing, env, folder))
    if abort:
        confirm()
        return recovery.abort_rollback(move, standing, refuse)
    loss = _accepted(move, standing, discard_writes=discard_writes, accept_loss=accept_loss)
    if standing.phase is Phase.LIVE:
        carries = not discard_writes and not standing.returned_unknown
        wanted = preflight.before_rollback(move, demands, carries=carries)
        move.check(plan.PREFLIGHT, lambda: checks.require(wanted, means.progress))
    confirm()
    with move.locked(lambda: recovery.require_same(env, standing, refuse)):
        if standing.lift_lost:
            move.journal.write("lift lost", since=standing.mark.since)
        if standing.returned_unknown:
            for step in rollback_steps.adopting(loss or 0):
                move.perform(step)
        elif standing.phase is Phase.LIVE:
            _begin_or_go_on(move, loss)
        else:
            _see_to_it(move)
        with recovery.finishing(move):
            move.perform(rollback_steps.PUT_AWAY)
    return move.finished(Verdict.RETURNED)


def _begin_or_go_on(move: Move, loss: int | None) -> None:
    """R3 to R7; what fails before the last is undone, and what fails within it is asked of Postgres."""
    try:
        for step in rollback_steps.plan(loss):
            move.check_deadline()
            move.perform(step)
    except (Exception, KeyboardInterrupt) as cause:  # noqa: BLE001  # undone and raised again, whatever it is
        recovery.after_rollback(move, cause)


def _see_to_it(move: Move) -> None:
    """Already returned: finish R7 and check the switch again. Past the point of no return, so never undo."""
    move.perform(rollback_steps.RETURN)
    move.perform(rollback_steps.SWITCH)


def _refuse(found: Standing, env: Environment) -> None:
    """Raise Refusal if a rollback may neither begin nor go on from this state."""
    if found.phase is not Phase.RETURNED:
        _refuse_unless_live(found, env)
    recovery.require_no_undo_of_a_rollback(found, env)
    fence.require_even(found.target, found.odd, env.target_direct.schema, where=env.target_direct.redacted)
    if found.of_another:
        raise recovery.anothers(found, env)


def _refuse_abort(found: Standing, env: Environment) -> None:
    """Raise Refusal if there is no rollback to undo."""
    _refuse_unless_live(found, env)
    if found.returned_unknown:
        raise Refusal(
            "a rollback that has not opened the legacy file",
            "one that is open, and that the pointer names",
            where=str(env.legacy.path),
            do=f"Players may play on it. Finish: invoke rollback --env {env.name}.",
        )


def _refuse_unless_live(found: Standing, env: Environment) -> None:
    """Raise Refusal if players do not play on Postgres, naming the command that ends the present state, if any."""
    if found.lift_lost:
        raise recovery.lift_not_known(found, env)
    if found.of_another:
        raise recovery.anothers(found, env)
    if found.phase is Phase.LOADING:
        raise Refusal(
            "a game that is live on Postgres",
            "a cutover under way",
            where=env.target_direct.redacted,
            do=f"Undo it: invoke cutover --env {env.name} --abort.",
        )
    if found.startable:
        raise Refusal(
            "a game that is live on Postgres",
            f"the phase {found.phase}",
            where=env.target_direct.redacted,
            do=_end_of(found, env),
        )


def _end_of(found: Standing, env: Environment) -> str:
    if found.undo_unfinished:
        return f"There is nothing to roll back; open the legacy file: invoke cutover --env {env.name} --abort."
    if found.phase is Phase.RETURNED and found.legacy != "open":
        return f"It has returned already; open the legacy file: invoke rollback --env {env.name}."
    return "There is nothing to roll back: players play on the legacy file."


def _begun(standing: Standing, env: Environment, folder: Path) -> str | None:
    """Return the run to go on with: from the phase once it is returned, before that from the newest journal."""
    if standing.phase is Phase.RETURNED:
        return standing.run
    begun = journals.unfinished(folder, "rollback", env.name)
    return begun.run if begun is not None and standing.rollback_begun else None


def _accepted(move: Move, standing: Standing, *, discard_writes: bool, accept_loss: int | None) -> int | None:
    """How many writes are given up; None: none, they are carried back."""
    if not discard_writes:
        return None
    if standing.phase is not Phase.LIVE:
        return accept_loss
    with move.looking():
        lost = rollback_steps.lost_writes(move)
    if accept_loss != lost:
        raise Refusal(
            f"--accept-loss {lost}, the requests granted on Postgres",
            "none" if accept_loss is None else f"--accept-loss {accept_loss}",
            where=move.env.target_direct.redacted,
            do=f"To give them up: --discard-writes --accept-loss {lost}."
            if standing.returned_unknown
            else "Leave --discard-writes out, and all of them are carried back. To give them up:"
            f" --discard-writes --accept-loss {lost}.",
        )
    return lost
