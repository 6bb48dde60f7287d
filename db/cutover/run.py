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
from db.cutover.move import RUNS, Means, Move
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
    means = Means(smoke, tools, progress or Silent(), observer, folder, signals or Signals())
    demands = (("certificate", evidence), *demands)
    if dry_run:
        planned = means.move("cutover", env, run=None)
        return dry_runs.abort(planned, recovery.refuse_abort) if abort else dry_runs.cutover(planned, demands)
    if abort:
        confirm()
        return recovery.abort(env, means)
    standing = recovery.before_cutover(env)
    if standing.undo_unfinished:
        confirm()
        recovery.abort(env, means)
        means.signals.check()
        standing = recovery.before_cutover(env)
    move = means.move("cutover", env, run=None if standing.startable else standing.run)
    if standing.startable:
        wanted = preflight.before_cutover(move, demands)
        move.check(plan.PREFLIGHT, lambda: checks.require(wanted, means.progress))
    else:
        preflight.check_override(move)
    confirm()
    with move.locked(lambda: recovery.require_same(env, standing, recovery.refuse_cutover)):
        if standing.phase is Phase.LIVE:
            _see_to_it(move)
        else:
            _begin_or_go_on(move)
    with recovery.finishing(move):
        move.perform(plan.FIRST_SNAPSHOT)
    if (breach := watch.watch(move)) is not None:
        _answer(breach, move)
    return move.finished(Verdict.LIVE)


def _begin_or_go_on(move: Move) -> None:
    """Steps 3 to 11; what fails before the last is undone, and what fails within it is asked of Postgres."""
    try:
        for step in plan.OFFLINE:
            move.perform(step)
            move.check_deadline()
        move.perform(plan.LIVE)
    except (Exception, KeyboardInterrupt) as cause:  # noqa: BLE001  # undone and raised again, whatever it is
        recovery.after(move, cause)


def _see_to_it(move: Move) -> None:
    """Already live: finish step 11 and check the switch again. Past the point of no return, so never undo."""
    move.perform(plan.LIVE)
    move.perform(plan.SWITCH)


_AFTER_A_BREACH = "The game is live on Postgres. The last line says who serves it, and the next command."


def _answer(breach: str, move: Move) -> None:
    """What the policy says about a breach of the watch: report it, or roll back."""
    move.finished(Verdict.LIVE)
    if move.env.policy.on_breach == "report":
        raise Failure("a quiet watch", breach, where=move.env.name, do=_AFTER_A_BREACH)
    means = move.means
    try:
        rollback.run(
            move.env,
            smoke=means.smoke,
            tools=means.tools,
            progress=means.progress,
            observer=means.observer,
            folder=means.folder,
            signals=means.signals,
        )
    except (Failure, Refusal, Undone) as error:  # Its own exit code would describe the rollback, not the cutover.
        raise Failure(
            "a quiet watch, or a rollback after its breach",
            f"{breach}; and of the rollback: {error}",
            where=move.env.name,
            do=f"See where players play: invoke status --env {move.env.name}",
        ) from error
    raise Undone("a quiet watch", breach, where=move.env.name, do="It was rolled back: players play on SQLite.")
