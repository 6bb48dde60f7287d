"""The cutover: from the legacy file to Postgres, by the runbook in docs/cutover.md.

Running it again goes on where it stopped, however it stopped; `abort` undoes it up to the point of no return.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from db.confirmation import unasked
from db.console.progress import Progress, Silent
from db.cutover import checks, plan, preflight, recovery, rollback, watch
from db.cutover import dry_run as dry_runs
from db.cutover.context import RUNS, RunConfig, RunContext
from db.cutover.ports import Evidence, Observer, Smoke, unobserved
from db.cutover.preflight import Demand
from db.cutover.report import Report, Verdict
from db.environments import Environment
from db.errors import Failure, Refusal, Undone
from db.ops import Phase
from db.processes.interruption import Signals
from db.snapshots.tools import Tools


def run(
    env: Environment,
    *,
    evidence: Evidence,
    smoke: Smoke,
    demands: Sequence[Demand] = (),
    confirm: Callable[[], None] = unasked,
    offline: bool = True,
    dry_run: bool = False,
    abort: bool = False,
    tools: Tools | None = None,
    progress: Progress | None = None,
    observer: Observer = unobserved,
    folder: Path = RUNS,
    signals: Signals | None = None,
) -> Report:
    """Move the game to Postgres.

    abort: undo an attempt instead. dry_run: only make and list the checks. confirm: called after the checks and before
    any change; may raise Refusal.
    Raises Refusal if nothing was changed; Undone, with the cause, if the attempt was undone completely; Inconclusive if
    the state can't be known, and nothing more was changed; Failure in any other case, with what was changed.
    """
    plan.require_offline(offline)
    config = RunConfig(smoke, tools, progress or Silent(), observer, folder, signals or Signals())
    demands = (("certificate", evidence), *demands)
    if dry_run:
        planned = config.new_context("cutover", env, run=None)
        return dry_runs.abort(planned, recovery.refuse_abort) if abort else dry_runs.cutover(planned, demands)
    if abort:
        confirm()
        return recovery.abort(env, config)
    status = recovery.before_cutover(env)
    if status.undo_unfinished:
        confirm()
        recovery.abort(env, config)
        config.signals.check()
        status = recovery.before_cutover(env)
    context = config.new_context("cutover", env, run=None if status.startable else status.run)
    if status.startable:
        wanted = preflight.before_cutover(context, demands)
        context.check(plan.PREFLIGHT, lambda: checks.require(wanted, config.progress))
    else:
        preflight.check_override(context)
    confirm()
    with context.locked(lambda: recovery.require_same(env, status, recovery.refuse_cutover)):
        if status.phase is Phase.LIVE:
            _see_to_it(context)
        else:
            _begin_or_go_on(context)
    with recovery.finishing(context):
        context.perform(plan.FIRST_SNAPSHOT)
    if (breach := watch.watch(context)) is not None:
        _answer(breach, context)
    return context.finished(Verdict.LIVE)


def _begin_or_go_on(context: RunContext) -> None:
    """Steps 3 to 11; what fails before the last is undone, and what fails within it is asked of Postgres."""
    try:
        for step in plan.OFFLINE:
            context.perform(step)
            context.check_deadline()
        context.perform(plan.LIVE)
    except (Exception, KeyboardInterrupt) as cause:  # noqa: BLE001  # undone and raised again, whatever it is
        recovery.after(context, cause)


def _see_to_it(context: RunContext) -> None:
    """Already live: finish step 11 and check the switch again. Past the point of no return, so never undo."""
    context.perform(plan.LIVE)
    context.perform(plan.SWITCH)


_AFTER_A_BREACH = "The game is live on Postgres. The last line says who serves it, and the next command."


def _answer(breach: str, context: RunContext) -> None:
    """What the policy says about a breach of the watch: report it, or roll back."""
    context.finished(Verdict.LIVE)
    if context.env.policy.on_breach == "report":
        raise Failure("a quiet watch", breach, where=context.env.name, do=_AFTER_A_BREACH)
    config = context.config
    try:
        rollback.run(
            context.env,
            smoke=config.smoke,
            tools=config.tools,
            progress=config.progress,
            observer=config.observer,
            folder=config.folder,
            signals=config.signals,
        )
    except (Failure, Refusal, Undone) as error:  # Its own exit code would describe the rollback, not the cutover.
        raise Failure(
            "a quiet watch, or a rollback after its breach",
            f"{breach}; and of the rollback: {error}",
            where=context.env.name,
            do=f"See where players play: invoke status --env {context.env.name}",
        ) from error
    raise Undone("a quiet watch", breach, where=context.env.name, do="It was rolled back: players play on SQLite.")
