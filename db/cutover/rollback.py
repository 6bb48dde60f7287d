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
from db.cutover.context import RUNS, RunConfig, RunContext
from db.cutover.move_status import MoveStatus
from db.cutover.ports import Observer, Smoke, unobserved
from db.cutover.preflight import Demand
from db.cutover.report import Report, Verdict
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
    config = RunConfig(smoke, tools, progress or Silent(), observer, folder, signals or Signals())
    refuse = _refuse_abort if abort else _refuse
    if dry_run:
        planned = config.new_context("rollback", env, run=None)
        if abort:
            return dry_runs.abort(planned, refuse)
        accept = partial(_accepted, planned, discard_writes=discard_writes, accept_loss=accept_loss)
        return dry_runs.rollback(planned, refuse, accept, demands, discards=discard_writes)
    status = recovery.read_status(env)
    refuse(status, env)
    context = config.new_context("rollback", env, run=_begun(status, env, folder))
    if abort:
        confirm()
        return recovery.abort_rollback(context, status, refuse)
    loss = _accepted(context, status, discard_writes=discard_writes, accept_loss=accept_loss)
    if status.phase is Phase.LIVE:
        carries = not discard_writes and not status.returned_unknown
        wanted = preflight.before_rollback(context, demands, carries=carries)
        context.check(plan.PREFLIGHT, lambda: checks.require(wanted, config.progress))
    confirm()
    with context.locked(lambda: recovery.require_same(env, status, refuse)):
        if status.lift_lost:
            context.journal.write("lift lost", since=status.mark.since)
        if status.returned_unknown:
            for step in rollback_steps.adopting(loss or 0):
                context.perform(step)
        elif status.phase is Phase.LIVE:
            _begin_or_go_on(context, loss)
        else:
            _see_to_it(context)
        with recovery.finishing(context):
            context.perform(rollback_steps.PUT_AWAY)
    return context.finished(Verdict.RETURNED)


def _begin_or_go_on(context: RunContext, loss: int | None) -> None:
    """R3 to R7; what fails before the last is undone, and what fails within it is asked of Postgres."""
    try:
        for step in rollback_steps.plan(loss):
            context.check_deadline()
            context.perform(step)
    except (Exception, KeyboardInterrupt) as cause:  # noqa: BLE001  # undone and raised again, whatever it is
        recovery.after_rollback(context, cause)


def _see_to_it(context: RunContext) -> None:
    """Already returned: finish R7 and check the switch again. Past the point of no return, so never undo."""
    context.perform(rollback_steps.RETURN)
    context.perform(rollback_steps.SWITCH)


def _refuse(found: MoveStatus, env: Environment) -> None:
    """Raise Refusal if a rollback may neither begin nor go on from this state."""
    if found.phase is not Phase.RETURNED:
        _refuse_unless_live(found, env)
    recovery.require_no_undo_of_a_rollback(found, env)
    fence.require_consistent(
        found.target, found.inconsistent, env.target_direct.schema, where=env.target_direct.redacted
    )
    if found.of_another:
        raise recovery.anothers(found, env)


def _refuse_abort(found: MoveStatus, env: Environment) -> None:
    """Raise Refusal if there is no rollback to undo."""
    _refuse_unless_live(found, env)
    if found.returned_unknown:
        raise Refusal(
            "a rollback that has not opened the legacy file",
            "one that is open, and that the pointer names",
            where=str(env.legacy.path),
            do=f"Players may play on it. Finish: invoke rollback --env {env.name}.",
        )


def _refuse_unless_live(found: MoveStatus, env: Environment) -> None:
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


def _end_of(found: MoveStatus, env: Environment) -> str:
    if found.undo_unfinished:
        return f"There is nothing to roll back; open the legacy file: invoke cutover --env {env.name} --abort."
    if found.phase is Phase.RETURNED and found.legacy != "open":
        return f"It has returned already; open the legacy file: invoke rollback --env {env.name}."
    return "There is nothing to roll back: players play on the legacy file."


def _begun(status: MoveStatus, env: Environment, folder: Path) -> str | None:
    """Return the run to go on with: from the phase once it is returned, before that from the newest journal."""
    if status.phase is Phase.RETURNED:
        return status.run
    begun = journals.unfinished(folder, "rollback", env.name)
    return begun.run if begun is not None and status.rollback_begun else None


def _accepted(context: RunContext, status: MoveStatus, *, discard_writes: bool, accept_loss: int | None) -> int | None:
    """How many writes are given up; None: none, they are carried back."""
    if not discard_writes:
        return None
    if status.phase is not Phase.LIVE:
        return accept_loss
    with context.looking():
        lost = rollback_steps.lost_writes(context)
    if accept_loss != lost:
        raise Refusal(
            f"--accept-loss {lost}, the requests granted on Postgres",
            "none" if accept_loss is None else f"--accept-loss {accept_loss}",
            where=context.env.target_direct.redacted,
            do=f"To give them up: --discard-writes --accept-loss {lost}."
            if status.returned_unknown
            else "Leave --discard-writes out, and all of them are carried back. To give them up:"
            f" --discard-writes --accept-loss {lost}.",
        )
    return lost
