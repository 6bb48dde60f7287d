"""Performs a runbook: begins it or goes on with it, undoes it, and finishes it past its point of no return.

What is true is asked of the databases under the lock, so a run goes on however an earlier one stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext, suppress
from functools import partial

from db.cutover import checks, dry_run, move_status, undoing
from db.cutover.context import PREFLIGHT, RunConfig, RunContext
from db.cutover.listening import listening
from db.cutover.move_status import MoveStatus, Refuse, SettledMeanwhile
from db.cutover.report import RunReport, RunVerdict
from db.cutover.runbook import LeftStanding, LeftToGoOn, Runbook, perform
from db.environments import Environment
from db.errors import Undone
from db.transfer.live.capture import LogOutgrown


def run(env: Environment, runbook: Runbook, config: RunConfig) -> RunReport:
    """Perform a runbook, or its abort or dry run.

    Raises Refusal if nothing was changed; Undone, with the cause, if the attempt was undone completely; LogOutgrown if
    players wrote more than a live copy can catch up with, and it was undone; Inconclusive if the state can't be known,
    and nothing more was changed; Failure in any other case, with what was changed.
    """
    if config.dry_run:
        return dry_run.run(config.new_context(runbook.verb, env, run=None), runbook)
    if config.abort:
        return abort(env, runbook, config)
    return _after_watchdog(_run, env, runbook, config)


def _run(env: Environment, runbook: Runbook, config: RunConfig) -> RunReport:
    """Run the runbook. Undo first what an earlier attempt left, if the runbook asks for that."""
    status = _read(env, runbook.refuse)
    if runbook.undo_first(status):
        abort(env, runbook, config)
        config.signals.check()
        status = _read(env, runbook.refuse)
    run_id = runbook.run_of(status, env, config, undoes=False)
    context = config.new_context(runbook.verb, env, run=run_id)
    with nullcontext() if config.offline else listening(env.services, context.leeway):
        return _go(context, runbook, status)


def abort(env: Environment, runbook: Runbook, config: RunConfig) -> RunReport:
    """Undo an attempt. Safe to call again. Raises Refusal if there is none, or it is past its point of no return."""
    return _after_watchdog(_abort, env, runbook, config)


def _after_watchdog(
    act: Callable[[Environment, Runbook, RunConfig], RunReport], env: Environment, runbook: Runbook, config: RunConfig
) -> RunReport:
    """Act, and once more if the watchdog of a killed window settled the file's fence meanwhile; it settles it once."""
    try:
        return act(env, runbook, config)
    except SettledMeanwhile:
        return act(env, runbook, config)


def _abort(env: Environment, runbook: Runbook, config: RunConfig) -> RunReport:
    status = _read(env, runbook.refuse_abort)
    config.confirm()
    context = config.new_context(runbook.verb, env, run=runbook.run_of(status, env, config, undoes=True))
    recheck = partial(move_status.require_same, env, status, runbook.refuse_abort)
    with context.locked(recheck, undoing=True):
        _note_lost_lift(context, status)
        undoing.undo(context, runbook, status.inconsistent)
    return context.finished(RunVerdict.UNDONE)


def _go(context: RunContext, runbook: Runbook, status: MoveStatus) -> RunReport:
    """Begin, or go on from this state, to the end."""
    if runbook.agreement is not None:
        runbook.agreement.check(context, status)
    runbook = runbook.of(status)
    if runbook.begins(status):
        context.check(PREFLIGHT, lambda: checks.require(runbook.preflight(context), context.config.progress))
    else:
        runbook.asked_again(context)
    context.config.confirm()
    with context.locked(partial(move_status.require_same, context.env, status, runbook.refuse)):
        _note_lost_lift(context, status)
        if status.phase is runbook.beyond:
            with undoing.finishing(context):
                _see_to_it(context, runbook)
        else:
            _cross(context, runbook)
        with undoing.finishing(context):
            for step in runbook.then:
                perform(context, step)
    with undoing.finishing(context):
        for step in runbook.released:
            perform(context, step)
    if runbook.watch is not None:
        runbook.watch(context)
    return context.finished(runbook.verdict)


def _cross(context: RunContext, runbook: Runbook) -> None:
    """Perform the steps to the point of no return and over it; what fails is undone, if that is possible."""
    try:
        for step in runbook.steps:
            perform(context, step)
            context.check_deadline()
        perform(context, runbook.point_of_no_return)
    except (LeftToGoOn, LeftStanding):
        raise
    except LogOutgrown as cause:  # Undone too, since no run can go on with this copy; a new one may come through.
        with suppress(Undone):
            undoing.after(context, runbook, cause)
        raise
    except (Exception, KeyboardInterrupt) as cause:  # undone and raised again, whatever it is
        if not runbook.undo:
            raise
        undoing.after(context, runbook, cause)


def _see_to_it(context: RunContext, runbook: Runbook) -> None:
    """Finish a move that is past the point of no return, and repeat the steps that need it. Never undo."""
    perform(context, runbook.point_of_no_return)
    for step in runbook.steps:
        if step.repeated:
            perform(context, step)


def _read(env: Environment, refuse: Refuse) -> MoveStatus:
    status = move_status.read_status(env)
    refuse(status, env)
    return status


def _note_lost_lift(context: RunContext, status: MoveStatus) -> None:
    if status.lift_lost:
        context.journal.write("lift lost", since=status.mark.since)
