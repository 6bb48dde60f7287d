"""The dry run of any runbook or its abort: makes every check of the run and prints the plan. Changes nothing.

A run makes some of these checks later: who holds the lock, whose fence is on the file, whether a dead run's hook is
still at work. The dry run makes all of them and lists all findings.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Sequence

from db import ops
from db.cutover import checks, hooks, move_status
from db.cutover.checks import PreflightCheck
from db.cutover.context import FAILURES, PREFLIGHT, RunContext
from db.cutover.move_status import MoveStatus, Refuse
from db.cutover.report import CheckMark, CheckResult, RunReport, RunVerdict, StepReport, StepStatus
from db.cutover.runbook import Runbook, Step
from db.errors import Inconclusive, ToolError
from db.legacy.opening import tidied

STANDING = "where the move stands"
STANDS_ON = ("legacy file", "server")
"""Checks of the stores from which it is read where the move stands."""


def run(context: RunContext, runbook: Runbook) -> RunReport:
    """Make the checks of a run, or (config.abort) of its abort, from this state."""
    with tidied(context.env.legacy.path):
        return _abort(context, runbook) if context.config.abort else _go(context, runbook)


def _go(context: RunContext, runbook: Runbook) -> RunReport:
    """Make the checks that the runbook would make from the present state, and report them with its plan."""
    status, where = _where(context, runbook.refuse)
    runbook = runbook.of(status)
    begins = status is None or runbook.begins(status)
    undoes = status is not None and runbook.undo_first(status)
    wanted = [
        check
        for check in runbook.preflight(context)
        if (begins or not check.begins) and not (undoes and check.name in runbook.undone_first)
    ]
    checked = _placed(where, wanted)
    if (agreement := runbook.agreement) is not None:

        def agreed() -> None:
            if status is not None:
                agreement.check(context, status)

        checked.append(PreflightCheck(agreement.name, agreed, agreement.needs))
    return _report(context, checked, runbook.plan)


def _abort(context: RunContext, runbook: Runbook) -> RunReport:
    _, where = _where(context, runbook.refuse_abort)
    wanted = [check for check in runbook.preflight(context) if not check.begins and check.name in runbook.for_undo]
    return _report(context, _placed(where, wanted), runbook.undo)


def _where(context: RunContext, refuse: Refuse) -> tuple[MoveStatus | None, PreflightCheck]:
    """Return where the move stands (None if unknown), and the check that fails where the verb may not begin."""
    status: MoveStatus | None = None
    problem: Exception | None = None
    try:
        status = move_status.read_status(context.env)
        refuse(status, context.env)
    except (ToolError, *FAILURES) as error:
        problem = error

    def check() -> str:
        if problem is not None:
            raise problem
        assert status is not None
        phase = "no move under way" if ops.is_trial(status.run) else f"phase {status.phase}"
        return f"{phase}, the legacy file {status.legacy}, Postgres {status.target}"

    return status, PreflightCheck(STANDING, check, STANDS_ON, begins=False)


def _placed(where: PreflightCheck, wanted: Sequence[PreflightCheck]) -> list[PreflightCheck]:
    """Put the check of the status after those of the stores from which it is read: one fault is one finding."""
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


def _report(context: RunContext, wanted: Iterable[PreflightCheck], steps: tuple[Step, ...]) -> RunReport:
    began = time.monotonic()
    at_work = PreflightCheck(
        "no hook of another run", lambda: _no_hook_at_work(context), ("file of the pointer",), begins=False
    )
    findings = checks.judge([*wanted, at_work])
    verdict = _verdict(findings)
    context.performed.append(StepReport(PREFLIGHT, _STATUS[verdict], round(time.monotonic() - began, 3)))
    for step in steps:
        context.config.progress.say(step.line)
        context.performed.append(StepReport(step.name, StepStatus.PLANNED, 0.0))
    return dataclasses.replace(context.finished(RunVerdict.PLANNED), verdict=verdict, checks=findings)


_STATUS = {
    RunVerdict.PLANNED: StepStatus.DONE,
    RunVerdict.REFUSED: StepStatus.FAILED,
    RunVerdict.INCONCLUSIVE: StepStatus.PLANNED,
}
"""How the step of the checks ended; it is still to do where a check could not be judged."""


def _verdict(findings: tuple[CheckResult, ...]) -> RunVerdict:
    marks = {finding.mark for finding in findings}
    if CheckMark.REFUSED in marks:
        return RunVerdict.REFUSED
    return RunVerdict.INCONCLUSIVE if CheckMark.NOT_JUDGED in marks else RunVerdict.PLANNED
