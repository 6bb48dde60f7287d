"""The cutover: from the legacy file to Postgres. The list of its steps reads like docs/cutover.md, which is made of it.

Offline, the whole copy is made under the fence; the steps keep the numbers that the runbook gives them. Running it
again goes on where it stopped, however it stopped; an abort undoes it up to the point of no return.
"""

from __future__ import annotations

from functools import partial

from db.cutover import cutover_steps as steps
from db.cutover import plan, preflight, refusals, rollback, undo, watch
from db.cutover.checks import PreflightCheck
from db.cutover.context import PREFLIGHT, RunConfig, RunContext
from db.cutover.move_status import MoveStatus
from db.cutover.ports import Evidence
from db.cutover.preflight import FREEZE
from db.cutover.report import RunVerdict
from db.cutover.runbook import Runbook, RunbookRow, Step
from db.environments import Environment
from db.errors import Failure, Refusal, Undone
from db.ops import Phase

SNAPSHOT = Step(
    "3",
    "snapshot",
    "both stores can be restored",
    steps.snapshot_done,
    steps.take_snapshots,
    "keep",
    detail="both stores were restored in a scratch place and counted",
    on_failure="Make room, or allow the owner `CREATEDB`. Run again.",
)
MIGRATE = Step(
    "4",
    "migrate",
    "Postgres has the schema, fenced and empty",
    steps.migrated,
    steps.migrate_target,
    "keep",
    detail="Postgres has the schema, fenced, empty; the fence was tried by the service's role; phase `loading`",
    on_failure="Rows in the target: it is another's, name an empty database. A schema changed by hand, a revision file"
    " at fault: [migrations.md](migrations.md).",
)
FENCE = Step(
    "6",
    "fence",
    "the legacy file is read-only for all",
    steps.fenced,
    steps.fence_legacy,
    "unfence, at last",
    detail="**read-only begins**; the budget runs; `drain` has ended; SQLite refused every kind of write on every"
    " table. A run that goes on after a kill tries it again, and has the whole budget again",
    on_failure="Another process keeps the file locked: stop it, run again.",
)
COPY = Step(
    "5+7",
    "copy",
    "every value is in Postgres, proven for every player",
    steps.copied,
    steps.copy,
    "keep",
    checked=False,
    detail="every value is loaded or quarantined, counted by SQLite itself, and every player's row was rebuilt and"
    " compared; `ops.proven` says so for this run, and nothing else counts: who has no such line copies again",
    on_failure="It undoes itself. More players held than `max_held`: `invoke transfer.quarantine` lists them.",
)
SWITCH = Step(
    "8",
    "switch",
    "every process serves Postgres, read-only",
    steps.switched,
    steps.switch_to_target,
    "the old pointer, restart",
    checked=False,
    repeated=True,
    detail="the pointer names Postgres; `deploy` and `restart` ended with 0; every process in `services` is a new one"
    " and serves Postgres",
    on_failure="It undoes itself. What the hooks printed is in the journal; what a process said at `/readyz` is in the"
    " message.",
)
SMOKE = Step(
    "9",
    "smoke",
    "players of our own could play, over HTTP",
    None,
    steps.smoke,
    "nothing is left of them",
    detail="players of our own played over HTTP, on every process, and are gone",
    on_failure="It undoes itself. The message names the scenario.",
)
FINAL_DUMP = Step(
    "10",
    "final dump",
    "the legacy file's last state is kept",
    steps.final_dump_done,
    steps.final_dump,
    "keep",
    detail="SQLite's last state is kept, hashed, verified (begun beside the copy)",
    on_failure="It undoes itself.",
)
LIVE = Step(
    "11",
    "live",
    "players play on Postgres; the legacy file says that it moved",
    steps.lifted,
    steps.go_live,
    "POINT OF NO RETURN: from here on, invoke rollback",
    detail="**point of no return; read-only ends**: phase `live` and the lift are one transaction, made while SQLite is"
    " held, its fence this run's and whole; then SQLite says *moved*. Run again when live, it sees to the switch once"
    " more",
    on_failure="Before the commit it undoes itself. Exit 3: see below.",
)
FIRST_SNAPSHOT = Step(
    "12",
    "first snapshot",
    "the live Postgres can be restored",
    steps.first_snapshot_done,
    steps.first_snapshot,
    detail="the lock is free; Postgres can be restored",
    on_failure="Exit 1, and **players play on Postgres**: run again to finish.",
)

WINDOW_OF_THE_PLAN = "window of the plan"
"""The name of the check of the freeze that was approved."""

MARK_ABORTED = Step(
    "a",
    "mark aborted",
    "Postgres says that the attempt is over, and stays fenced",
    undo.aborted,
    undo.mark_aborted,
)
UNFENCE = Step("b", "unfence", "the legacy file takes writes, as before", None, undo.unfence)
SWITCH_BACK = Step(
    "c",
    "switch back",
    "every service process serves the legacy file",
    undo.switched_back,
    undo.switch_back,
    checked=False,
)

ROWS_BEFORE = (
    RunbookRow("1", PREFLIGHT, "everything below can be expected to work", "Exit 2; see the next table."),
    RunbookRow(
        "2",
        "lock",
        "this run alone changes the phase; no hook of a run that died is at work; all is as it was read before the"
        " lock",
        "The message names run, host and process of the holder. Wait, or end that process: its lock ends with it. A"
        " hook left at work: exit 3, see below. *Another run went on meanwhile*: look at `status`, run again.",
    ),
)
WATCH = RunbookRow(
    "12",
    "watch",
    "every process served Postgres, smoke and `health` passed for `watch_seconds`, at the end of it too",
    "Exit 1, and **players play on Postgres**: run again to finish, or decide to roll back. With `on_breach ="
    ' "rollback"` the watch rolls back by itself: exit 4, players play on SQLite.',
)


def _run_of(status: MoveStatus, env: Environment, config: RunConfig, *, undoes: bool) -> str | None:
    del env, config
    return status.run if undoes or not status.startable else None


def preflight_of(context: RunContext, evidence: Evidence | None = None) -> tuple[PreflightCheck, ...]:
    """Return the checks of step 1. evidence: checks that the environment may be cut over; None: no such check."""
    certificate = () if evidence is None else (("certificate", evidence),)
    checks = preflight.before_cutover(context, (*certificate, *context.config.demands))
    if (most := context.config.most_seconds) is None:
        return checks
    return (
        *checks,
        PreflightCheck(WINDOW_OF_THE_PLAN, partial(_check_window, context, most), (FREEZE,)),
    )


def _check_window(context: RunContext, most_seconds: float) -> None:
    """Check that the predicted freeze is not much longer than the one that was approved with the plan."""
    predicted = context.predicted_seconds or 0.0
    if predicted > most_seconds:
        raise Refusal(
            f"a freeze of at most {most_seconds:.0f} s, for which the plan was approved",
            f"{predicted:.0f} s predicted",
            where=str(context.env.legacy.path),
            do=plan.anew(context.env.name),
        )


_AFTER_A_BREACH = "The game is live on Postgres. The last line says who serves it, and the next command."


def _watch(context: RunContext) -> None:
    """Watch, and answer a breach as the policy says: report it, or roll back."""
    if (breach := watch.watch(context)) is None:
        return
    context.finished(RunVerdict.LIVE)
    if context.env.policy.on_breach == "report":
        raise Failure("a quiet watch", breach, where=context.env.name, do=_AFTER_A_BREACH)
    try:
        rollback.run(context.env, context.config.of_watch())
    except (Failure, Refusal, Undone) as error:  # Its own exit code would describe the rollback, not the cutover.
        raise Failure(
            "a quiet watch, or a rollback after its breach",
            f"{breach}; and of the rollback: {error}",
            where=context.env.name,
            do=f"See where players play: invoke status --env {context.env.name}",
        ) from error
    raise Undone("a quiet watch", breach, where=context.env.name, do="It was rolled back: players play on SQLite.")


CUTOVER = Runbook(
    verb="cutover",
    steps=(SNAPSHOT, MIGRATE, FENCE, COPY, SWITCH, SMOKE, FINAL_DUMP),
    point_of_no_return=LIVE,
    released=(FIRST_SNAPSHOT,),
    watch=_watch,
    undo=(MARK_ABORTED, UNFENCE, SWITCH_BACK),
    begun=Phase.LOADING,
    beyond=Phase.LIVE,
    verdict=RunVerdict.LIVE,
    refuse=refusals.refuse_cutover,
    refuse_abort=refusals.refuse_abort,
    preflight=preflight_of,
    begins=lambda status: status.startable,
    run_of=_run_of,
    for_undo=preflight.FOR_AN_UNDO,
    undo_first=lambda status: status.undo_unfinished,
    undone_first=frozenset({"pointer", "services", "fence of the legacy file"}),
    asked_again=preflight.check_override,
    rows_before=ROWS_BEFORE,
    rows_after=(WATCH,),
)
