"""Chooses the runbook of a move: live, or offline where the operator says so. An attempt keeps the one it has."""

from __future__ import annotations

import dataclasses
from functools import partial

from db import ops
from db.cutover import back, cutover, engine, live, preflight, refusals, rollback
from db.cutover.checks import PreflightCheck
from db.cutover.context import RunConfig, RunContext
from db.cutover.live_checks import live_checks
from db.cutover.move_status import MoveStatus
from db.cutover.ports import Evidence
from db.cutover.report import RunReport
from db.cutover.runbook import Runbook
from db.environments import Environment
from db.errors import Refusal
from db.legacy.opening import reading
from db.ops import Phase
from game.legacy import capture_schema


def cut_over(env: Environment, config: RunConfig, *, evidence: Evidence) -> RunReport:
    """Move the game to Postgres. Raises what `engine.run` raises.

    Refusal if an attempt was begun by the other runbook: a copy that was made while players played is not one that was
    made under a fence.
    """
    if config.offline:
        runbook = dataclasses.replace(
            cutover.CUTOVER,
            refuse=_refuse_offline,
            preflight=partial(cutover.preflight_of, evidence=evidence),
        )
    else:
        runbook = dataclasses.replace(
            live.LIVE_CUTOVER, refuse=_refuse_live, preflight=partial(_before_live, evidence=evidence)
        )
    return engine.run(env, runbook, config)


def roll_back(
    env: Environment, config: RunConfig, *, discard_writes: bool = False, accept_loss: int | None = None
) -> RunReport:
    """Move the game back to the legacy file: live unless config.offline. Raises what `engine.run` raises.

    An abort undoes either. discard_writes, accept_loss: see `rollback.run`, which is offline. A live one that has
    returned is finished as a live one, whatever is wished now: nothing is put away before its instant is proven.
    """
    if discard_writes:
        config = dataclasses.replace(config, offline=True)
    if not config.offline and not config.abort:
        return engine.run(env, back.LIVE_ROLLBACK, config)
    offline = rollback.runbook_of(discard_writes=discard_writes, accept_loss=accept_loss)

    def adapted(status: MoveStatus) -> Runbook:
        return back.LIVE_ROLLBACK if status.phase is Phase.RETURNED and status.live else offline.of(status)

    return engine.run(env, dataclasses.replace(offline, adapted=adapted), config)


def _before_live(context: RunContext, evidence: Evidence) -> tuple[PreflightCheck, ...]:
    checks = [
        check
        for check in cutover.preflight_of(context, evidence)
        if check.name not in (preflight.FREEZE, cutover.WINDOW_OF_THE_PLAN)
    ]
    return (*checks, *live_checks(context))


def _refuse_live(status: MoveStatus, env: Environment) -> None:
    refusals.refuse_cutover(status, env)
    if status.phase is Phase.LOADING and not ops.is_trial(status.run) and not status.live:
        raise Refusal(
            "no attempt under way that stops the game for its copy",
            f"run {status.run}, which was begun with --offline",
            where=env.name,
            do=f"Go on with it: invoke cutover --env {env.name} --offline. Or undo it first: invoke cutover --env"
            f" {env.name} --abort",
        )


def _refuse_offline(status: MoveStatus, env: Environment) -> None:
    refusals.refuse_cutover(status, env)
    if (run := _begun_live(status, env)) is not None:
        raise Refusal(
            "no attempt under way that copies while players play",
            f"run {run}, which was begun without --offline",
            where=env.name,
            do=f"Go on with it: invoke cutover --env {env.name}. Or undo it first: invoke cutover --env {env.name}"
            " --abort",
        )


def _begun_live(status: MoveStatus, env: Environment) -> str | None:
    """Return the run of a live attempt that is under way, by its record on Postgres or its capture on the file."""
    if status.phase is Phase.LOADING and status.live:
        return status.run
    with reading(env.legacy.path) as connection:
        known = capture_schema.state(connection)
    return None if known is None else known[1]
