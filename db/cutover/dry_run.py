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
from db.cutover.move import FAILURES, Move, Step
from db.cutover.preflight import Demand
from db.cutover.report import Finding, Mark, Report, Status, StepReport, Verdict
from db.cutover.standing import Refuse, Standing
from db.errors import Inconclusive, ToolError
from db.legacy.opening import tidied
from db.ops import Phase

STANDING = "where the move stands"
STANDS_ON = ("legacy file", "server")
"""Checks of the stores from which it is read where the move stands."""

UNDONE_FIRST = frozenset({"pointer", "services", "fence of the legacy file"})
"""Checks that the run skips when it first finishes an undo, which puts these right."""


def cutover(move: Move, demands: Sequence[Demand]) -> Report:
    """Make the checks of a cutover from this state."""
    with tidied(move.env.legacy.path):
        standing, where = _where(move, recovery.refuse_cutover)
        begins = standing is None or standing.startable
        unfinished = standing is not None and standing.undo_unfinished
        wanted = [
            check
            for check in preflight.before_cutover(move, demands)
            if (begins or not check.begins) and not (unfinished and check.name in UNDONE_FIRST)
        ]
        return _report(move, _placed(where, wanted), (*plan.OFFLINE, plan.LIVE, plan.FIRST_SNAPSHOT))


def rollback(
    move: Move, refuse: Refuse, accept: Callable[[Standing], int | None], demands: Sequence[Demand], *, discards: bool
) -> Report:
    """Make the checks of a rollback from this state. accept: returns the writes given up, or raises Refusal."""
    with tidied(move.env.legacy.path):
        standing, where = _where(move, refuse)
        carries = not discards and (standing is None or not standing.returned_unknown)
        wanted = [
            check
            for check in preflight.before_rollback(move, demands, carries=carries)
            if standing is None or standing.phase is not Phase.RETURNED or not check.begins
        ]
        loss: int | None = None

        def accepted() -> None:
            nonlocal loss
            if standing is not None:
                loss = accept(standing)

        given_up = Check("writes that are given up", accepted, ("server", STANDING))
        checked = [*_placed(where, wanted), given_up]

        def steps() -> tuple[Step, ...]:
            adopts = standing is not None and standing.returned_unknown
            way = rollback_steps.adopting(loss or 0) if adopts else rollback_steps.plan(loss)
            return (*way, rollback_steps.PUT_AWAY)

        return _report(move, checked, steps)


def abort(move: Move, refuse: Refuse) -> Report:
    """Make the checks of an abort from this state."""
    with tidied(move.env.legacy.path):
        _, where = _where(move, refuse)
        before = preflight.before_cutover(move) if move.verb == "cutover" else preflight.before_rollback(move)
        wanted = [check for check in before if not check.begins and check.name in preflight.FOR_AN_UNDO]
        return _report(move, _placed(where, wanted), undo.UNDO if move.verb == "cutover" else rollback_steps.UNDO)


def _where(move: Move, refuse: Refuse) -> tuple[Standing | None, Check]:
    """Return where the move stands (None if unknown), and the check that fails where the verb may not begin."""
    standing: Standing | None = None
    problem: Exception | None = None
    try:
        standing = recovery.standing(move.env)
        refuse(standing, move.env)
    except (ToolError, *FAILURES) as error:
        problem = error

    def check() -> str:
        if problem is not None:
            raise problem
        assert standing is not None
        phase = "no move under way" if ops.is_trial(standing.run) else f"phase {standing.phase}"
        return f"{phase}, the legacy file {standing.legacy}, Postgres {standing.target}"

    return standing, Check(STANDING, check, STANDS_ON, begins=False)


def _placed(where: Check, wanted: Sequence[Check]) -> list[Check]:
    """Put the check of the standing after those of the stores from which it is read: one fault is one finding."""
    after = 1 + max((n for n, check in enumerate(wanted) if check.name in STANDS_ON), default=-1)
    return [*wanted[:after], where, *wanted[after:]]


def _no_hook_at_work(move: Move) -> None:
    """Raise Inconclusive if a hook of another run is at work: a run would wait for it, and this answer may change."""
    if (named := hooks.at_work(move.env)) is not None:
        raise Inconclusive(
            "no hook of another run at work",
            named,
            where=str(hooks.lock_path(move.env)),
            do=hooks.to_end(named),
        )


def _report(move: Move, wanted: Iterable[Check], steps: tuple[Step, ...] | Callable[[], tuple[Step, ...]]) -> Report:
    began = time.monotonic()
    at_work = Check("no hook of another run", lambda: _no_hook_at_work(move), ("file of the pointer",), begins=False)
    findings = checks.judge([*wanted, at_work])
    verdict = _verdict(findings)
    move.performed.append(StepReport(plan.PREFLIGHT, _STATUS[verdict], round(time.monotonic() - began, 3)))
    for step in steps() if callable(steps) else steps:
        move.means.progress.say(step.line)
        move.performed.append(StepReport(step.name, Status.PLANNED, 0.0))
    return dataclasses.replace(move.finished(Verdict.PLANNED), verdict=verdict, checks=findings)


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
