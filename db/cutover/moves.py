"""Chooses the runbook of a cutover: live, or offline where the operator says so."""

from __future__ import annotations

import dataclasses
from functools import partial

from db.cutover import cutover, engine, live, preflight
from db.cutover.checks import PreflightCheck
from db.cutover.context import RunConfig, RunContext
from db.cutover.live_checks import live_checks
from db.cutover.ports import Evidence
from db.cutover.report import RunReport
from db.environments import Environment
from db.errors import Refusal
from db.legacy.opening import reading
from game.legacy import capture_schema


def cut_over(env: Environment, config: RunConfig, *, evidence: Evidence) -> RunReport:
    """Move the game to Postgres. Raises what `engine.run` raises.

    Refusal if an attempt was begun live and would go on offline: its copy was not made under a fence.
    """
    if not config.offline:
        runbook = dataclasses.replace(live.LIVE_CUTOVER, preflight=partial(_before_live, evidence=evidence))
        return engine.run(env, runbook, config)
    if not config.abort and not config.dry_run:
        _require_no_live_attempt(env)
    return cutover.run(env, config, evidence=evidence)


def _before_live(context: RunContext, evidence: Evidence) -> tuple[PreflightCheck, ...]:
    checks = [
        check
        for check in cutover.preflight_of(context, evidence)
        if check.name not in (preflight.FREEZE, cutover.WINDOW_OF_THE_PLAN)
    ]
    return (*checks, *live_checks(context))


def _require_no_live_attempt(env: Environment) -> None:
    if not env.legacy.path.is_file():
        return
    with reading(env.legacy.path) as connection:
        known = capture_schema.state(connection)
    if known is not None:
        raise Refusal(
            "no attempt under way that copies while players play",
            f"change capture of run {known[1]} on the legacy file",
            where=str(env.legacy.path),
            do=f"Go on with it: invoke cutover --env {env.name} --no-offline. Or undo it first: invoke cutover --env"
            f" {env.name} --abort",
        )
