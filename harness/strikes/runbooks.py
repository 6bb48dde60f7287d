"""Every runbook of the project, found by its type in `db.cutover`: a new one is struck without a change here."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any

from db import cutover
from db.cutover import live_checks, rollback
from db.cutover.checks import PreflightCheck
from db.cutover.context import RunContext
from db.cutover.runbook import Runbook, Step

Enter = Callable[[str], None]
"""Called with a step's name as its `done` or `do` begins, and with "" as it ends."""

OFFLINE = ("cutover", "rollback")
"""The names of the runbooks that stop the game for their copy; those that do not are found by the name LIVE of it."""

LIVE = "live_{}"

STARTS_A_SERVICE = ("a service on the legacy file", "a service on Postgres")
"""Checks that start a process of the service and end it: two seconds each, nothing is written, and no step needs it."""

LEFT_OUT = (*STARTS_A_SERVICE, live_checks.OTHERS)
"""The last one would find the process that strikes: its stand-in for the service has the file open there."""


@cache
def runbooks() -> dict[str, Runbook]:
    """Return each runbook of `db.cutover` by its verb; a second one of a verb by its name in the code."""
    by_name: dict[str, Runbook] = {}
    for module in pkgutil.iter_modules(cutover.__path__, f"{cutover.__name__}."):
        for name, value in vars(importlib.import_module(module.name)).items():
            if isinstance(value, Runbook) and not any(value is each for each in by_name.values()):
                by_name[value.verb if value.verb not in by_name else name.lower()] = value
    # The verb itself also adopts a return that a failover lost.
    return by_name | {"rollback": rollback.runbook_of(discard_writes=False, accept_loss=None)}


def start_of(name: str) -> str | None:
    """Return the runbook whose end this one begins from; None: from a game that no move has touched."""
    begun = runbooks()[name].begun
    return next((other for other, each in runbooks().items() if other != name and each.beyond is begun), None)


def announcing(runbook: Runbook, enter: Enter) -> Runbook:
    """Return the runbook with steps that call `enter`, and without the checks that are left out."""
    parts = ("steps", "then", "released", "undo")
    changed: dict[str, Any] = {
        part: tuple(_announcing(step, enter) for step in getattr(runbook, part)) for part in parts
    }
    return replace(
        runbook,
        point_of_no_return=_announcing(runbook.point_of_no_return, enter),
        preflight=partial(_quick, runbook.preflight),
        adapted=None if runbook.adapted is None else partial(_adapted, runbook, enter),
        **changed,
    )


def _adapted(runbook: Runbook, enter: Enter, status: Any) -> Runbook:
    assert runbook.adapted is not None
    return replace(announcing(replace(runbook.adapted(status), adapted=None), enter), adapted=None)


def _announcing(step: Step, enter: Enter) -> Step:
    def within(act: Callable[[RunContext], Any], context: RunContext) -> Any:
        enter(step.name)
        try:
            return act(context)
        finally:
            enter("")

    return replace(step, done=None if step.done is None else partial(within, step.done), do=partial(within, step.do))


def _quick(
    preflight: Callable[[RunContext], tuple[PreflightCheck, ...]], context: RunContext
) -> tuple[PreflightCheck, ...]:
    """Return the runbook's checks without those that are left out."""
    return tuple(check for check in preflight(context) if check.name not in LEFT_OUT)
