"""The dry run of a cutover, a rollback or an abort: makes every check of the run and prints the plan. Changes nothing.

A run makes some of these checks later: who holds the lock, whose fence is on the file, whether a dead run's hook is
still at work. The dry run makes all of them and lists all findings.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Sequence

from db import ops
from db.cutover import checks, hooks, plan, preflight, recovery, rollback_steps, undo
from db.cutover.checks import Check
from db.cutover.context import FAILURES, RunContext, Step
from db.cutover.move_status import MoveStatus, Refuse
from db.cutover.preflight import Demand
from db.cutover.report import Finding, Mark, Report, Status, StepReport, Verdict
from db.errors import Inconclusive, ToolError
from db.legacy.opening import tidied
from db.ops import Phase

STANDING = "where the move stands"
STANDS_ON = ("legacy file", "server")
"""Checks of the stores from which it is read where the move stands."""

UNDONE_FIRST = frozenset({"pointer", "services", "fence of the legacy file"})
"""Checks that the run skips when it first finishes an undo, which puts these right."""


def cutover(context: RunContext, demands: Sequence[Demand]) -> Report:
    """Make the checks of a cutover from this state."""
    with tidied(context.env.legacy.path):
        status, where = _where(context, recovery.refuse_cutover)
        begins = status is None or status.startable
        unfinished = status is not None and status.undo_unfinished
        wanted = [
            check
            for check in preflight.before_cutover(context, demands)
            if (begins or not check.begins) and not (unfinished and check.name in UNDONE_FIRST)
        ]
        return _report(context, _placed(where, wanted), (*plan.OFFLINE, plan.LIVE, plan.FIRST_SNAPSHOT))


def rollback(
    context: RunContext,
    refuse: Refuse,
    accept: Callable[[MoveStatus], int | None],
    demands: Sequence[Demand],
    *,
    discards: bool,
) -> Report:
    """Make the checks of a rollback from this state. accept: returns the writes given up, or raises Refusal."""
    with tidied(context.env.legacy.path):
        status, where = _where(context, refuse)
        carries = not discards and (status is None or not status.returned_unknown)
        wanted = [
            check
            for check in preflight.before_rollback(context, demands, carries=carries)
            if status is None or status.phase is not Phase.RETURNED or not check.begins
        ]
        loss: int | None = None

        def accepted() -> None:
            nonlocal loss
            if status is not None:
                loss = accept(status)

        given_up = Check("writes that are given up", accepted, ("server", STANDING))
        checked = [*_placed(where, wanted), given_up]

        def steps() -> tuple[Step, ...]:
            adopts = status is not None and status.returned_unknown
            way = rollback_steps.adopting(loss or 0) if adopts else rollback_steps.plan(loss)
            return (*way, rollback_steps.PUT_AWAY)

        return _report(context, checked, steps)


def abort(context: RunContext, refuse: Refuse) -> Report:
    """Make the checks of an abort from this state."""
    with tidied(context.env.legacy.path):
        _, where = _where(context, refuse)
        before = preflight.before_cutover(context) if context.verb == "cutover" else preflight.before_rollback(context)
        wanted = [check for check in before if not check.begins and check.name in preflight.FOR_AN_UNDO]
        return _report(context, _placed(where, wanted), undo.UNDO if context.verb == "cutover" else rollback_steps.UNDO)


def _where(context: RunContext, refuse: Refuse) -> tuple[MoveStatus | None, Check]:
    """Return where the move stands (None if unknown), and the check that fails where the verb may not begin."""
    status: MoveStatus | None = None
    problem: Exception | None = None
    try:
        status = recovery.read_status(context.env)
        refuse(status, context.env)
    except (ToolError, *FAILURES) as error:
        problem = error

    def check() -> str:
        if problem is not None:
            raise problem
        assert status is not None
        phase = "no move under way" if ops.is_trial(status.run) else f"phase {status.phase}"
        return f"{phase}, the legacy file {status.legacy}, Postgres {status.target}"

    return status, Check(STANDING, check, STANDS_ON, begins=False)


def _placed(where: Check, wanted: Sequence[Check]) -> list[Check]:
    """Put the check of the standing after those of the stores from which it is read: one fault is one finding."""
    after = 1 + max((n for n, check in enumerate(wanted) if check.name in STANDS_ON), default=-1)
    return [*wanted[:after], where, *wanted[after:]]


def _no_hook_at_work(context: RunContext) -> None:
    """Raise Inconclusive if a hook of another run is at work: a run would wait for it, and this answer may change."""
    if (named := hooks.at_work(context.env)) is not None:
        raise Inconclusive(
            "no hook of another run at work",
            named,
            where=str(hooks.lock_path(context.env)),
            do=hooks.to_end(named),
        )


def _report(
    context: RunContext, wanted: Iterable[Check], steps: tuple[Step, ...] | Callable[[], tuple[Step, ...]]
) -> Report:
    began = time.monotonic()
    at_work = Check("no hook of another run", lambda: _no_hook_at_work(context), ("file of the pointer",), begins=False)
    findings = checks.judge([*wanted, at_work])
    verdict = _verdict(findings)
    context.performed.append(StepReport(plan.PREFLIGHT, _STATUS[verdict], round(time.monotonic() - began, 3)))
    for step in steps() if callable(steps) else steps:
        context.config.progress.say(step.line)
        context.performed.append(StepReport(step.name, Status.PLANNED, 0.0))
    return dataclasses.replace(context.finished(Verdict.PLANNED), verdict=verdict, checks=findings)


_STATUS = {
    Verdict.PLANNED: Status.DONE,
    Verdict.REFUSED: Status.FAILED,
    Verdict.INCONCLUSIVE: Status.PLANNED,
}
"""How the step of the checks ended; it is still to do where a check could not be judged."""


def _verdict(findings: tuple[Finding, ...]) -> Verdict:
    marks = {finding.mark for finding in findings}
    if Mark.REFUSED in marks:
        return Verdict.REFUSED
    return Verdict.INCONCLUSIVE if Mark.NOT_JUDGED in marks else Verdict.PLANNED
