"""The live rollback: from Postgres to the legacy file while players play. They wait once, for about 0.1 s.

The offline rollback (db.cutover.rollback) stays for a service that can't open two stores. It may take over from a live
one that was not finished, since it writes everything back under its own fence.
"""

from __future__ import annotations

import dataclasses

from db.cutover import back_steps, live_checks, preflight, refusals, rollback, rollback_steps
from db.cutover.checks import PreflightCheck
from db.cutover.context import RunConfig, RunContext
from db.cutover.move_status import MoveStatus
from db.cutover.rollback import PUT_AWAY, ROLLBACK, SWITCH
from db.cutover.runbook import Runbook, Step
from db.environments import Environment
from db.errors import Refusal
from db.legacy.source import opened
from db.ops import Phase

_FINISH = "Exit 1, and **players play on SQLite**: run again to finish."

WRITE_BACK = Step(
    "R2",
    "write back",
    "the legacy file has what Postgres has, but for the last moments",
    None,
    back_steps.write_back,
    "keep; the change log stays on",
    detail="rounds from the change log of Postgres until one is short; the file stays *moved*",
    on_failure="It undoes itself, but for a kill: run again, and the rounds go on. Players who write faster than rounds"
    " apply: exit 3, at a quieter hour run again.",
)
STAND_BY = Step(
    "R3",
    "stand by",
    "nothing is left to do before the window",
    None,
    back_steps.stand_by,
    detail="every process has the legacy file open beside Postgres; players of our own played on it over HTTP, behind"
    " its fence; every player was proven at one instant, while players played",
    on_failure="It undoes itself. The message names what differs, or the scenario.",
)
HOLD = Step(
    "R3",
    "hold",
    "no order keeps the window from coming",
    None,
    back_steps.hold,
    detail="with `--hold`: a round each ten seconds, until `--go` was ordered and taken; without it: no wait",
    on_failure="It undoes itself, but for Ctrl-C, after which all that was written back stays: run again, and it holds"
    " again.",
)
WINDOW = Step(
    "R4",
    "window",
    "players play on the legacy file; Postgres says that it moved",
    rollback_steps.returned,
    back_steps.go_back,
    "POINT OF NO RETURN: from here on, a new cutover",
    detail="**point of no return**: one transaction of Postgres locks `users`, writes the last round to the file, sets"
    " phase `returned` and *moved*; then the file is opened",
    on_failure="Before the commit it undoes itself, and players played on throughout.",
)
SWITCH_AFTERWARDS = dataclasses.replace(
    SWITCH, undo="", repeated=False, true_after="every process serves the legacy file first", on_failure=_FINISH
)
INSTANT = Step(
    "R6",
    "instant",
    "what was written back is proven, every player",
    back_steps.instant_proven,
    back_steps.prove_instant,
    checked=False,
    detail="Postgres, frozen since the window, equals the file, every player; who has played since is proven by his"
    " chain",
    on_failure="Exit 1, and **players play on SQLite**: the message names who differs. Nothing is put away.",
)
PUT_AWAY_AFTERWARDS = dataclasses.replace(
    PUT_AWAY, number="R7", done=back_steps.put_away, do=back_steps.put_target_away
)


def _refuse(status: MoveStatus, env: Environment) -> None:
    refusals.refuse_rollback(status, env)
    if status.rollback_begun and not status.returned_unknown:
        raise Refusal(
            "no rollback under way that stops the game",
            "a fenced Postgres that is live: one that was begun with --offline",
            where=env.name,
            do=f"Go on with it: invoke rollback --env {env.name} --offline. Or undo it first: invoke rollback --env"
            f" {env.name} --abort.",
        )


def _run_of(status: MoveStatus, env: Environment, config: RunConfig, *, undoes: bool) -> str | None:
    """Return the run to go on with: that of the phase once it is returned, else the one whose orders stand."""
    del env, config, undoes
    return status.run if status.phase is Phase.RETURNED else status.going_back


def _preflight(context: RunContext) -> tuple[PreflightCheck, ...]:
    return (
        *preflight.before_rollback(context, context.config.demands),
        PreflightCheck("live write-back", lambda: _check_file(context), ("legacy file",)),
        PreflightCheck(live_checks.OTHERS, lambda: live_checks.check_others(context), ("legacy file", "services")),
        PreflightCheck("two stores", lambda: live_checks.check_two_stores(context), ("services",)),
    )


def _check_file(context: RunContext) -> str:
    """Check that the file is in WAL mode: in another mode commits stop behind any reader."""
    with opened(context.env.legacy.path) as source:
        (mode,) = source.connection.execute("PRAGMA journal_mode").fetchone()
    if mode != "wal":
        raise Refusal(
            "a legacy file in WAL mode",
            f"one in {mode} mode",
            where=context.env.legacy.redacted,
            do="Nothing was changed. Go back with the game stopped: add --offline to the same command.",
        )
    return "it is in WAL mode"


def _of(status: MoveStatus) -> Runbook:
    """Return the live rollback, or the variant for a return that a failover lost: players play on the file then."""
    return rollback.adopting(ROLLBACK, 0) if status.returned_unknown else LIVE_ROLLBACK


LIVE_ROLLBACK = dataclasses.replace(
    ROLLBACK,
    steps=(WRITE_BACK, STAND_BY, HOLD),
    point_of_no_return=WINDOW,
    then=(SWITCH_AFTERWARDS, INSTANT, PUT_AWAY_AFTERWARDS),
    refuse=_refuse,
    preflight=_preflight,
    run_of=_run_of,
    begins=lambda status: status.phase is not Phase.RETURNED and status.going_back is None,
    adapted=_of,
)
