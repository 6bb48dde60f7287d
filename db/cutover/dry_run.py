"""The dry run of a cutover, a rollback or an abort: every check of the run, and the plan. It changes nothing.

A run asks some of these only where it begins, or finds out later: who holds the lock, whose move has the file, a hook
of a run that died. Here all are made and all are listed.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Sequence

from db.cutover import checks, hooks, plan, preflight, recovery, rollback_steps, undo
from db.cutover.checks import Check
from db.cutover.move import FAILURES, Move, Step
from db.cutover.preflight import Demand
from db.cutover.recovery import Refuse, Standing
from db.cutover.report import Finding, Mark, Report, Status, StepReport, Verdict
from db.errors import Inconclusive, ToolError
from db.ops import Phase
from db.transfer.source import tidied

STANDING = "where the move stands"
UNDONE_FIRST = frozenset({"pointer", "services", "fence of the legacy file"})
"""What an undo that is unfinished puts right before the run begins."""


def cutover(move: Move, demands: Sequence[Demand]) -> Report:
    """Judge what a cutover would refuse from here."""
    with tidied(move.env.legacy.path):
        found, where = _where(move, recovery.refuse_cutover)
        begins = found is None or found.startable
        unfinished = found is not None and found.undo_unfinished
        wanted = [
            check
            for check in preflight.before_cutover(move, demands)
            if (begins or not check.begins) and not (unfinished and check.name in UNDONE_FIRST)
        ]
        return _report(move, [where, *wanted], (*plan.OFFLINE, plan.LIVE, plan.FIRST_SNAPSHOT))


def rollback(move: Move, refuse: Refuse, accept: Callable[[Standing], int | None], demands: Sequence[Demand]) -> Report:
    """Judge what a rollback would refuse from here; `accept` gives the writes that are given up, or raises Refusal."""
    with tidied(move.env.legacy.path):
        found, where = _where(move, refuse)
        wanted = [
            check
            for check in preflight.before_rollback(move, demands)
            if found is None or found.phase is not Phase.RETURNED or not check.begins
        ]
        loss: int | None = None

        def accepted() -> None:
            nonlocal loss
            if found is not None:
                loss = accept(found)

        given_up = Check("writes that are given up", accepted, ("server", STANDING))
        checked = [where, *wanted, given_up]

        def steps() -> tuple[Step, ...]:
            adopts = found is not None and found.returned_unknown
            way = rollback_steps.adopting(loss or 0) if adopts else rollback_steps.plan(loss)
            return (*way, rollback_steps.PUT_AWAY)

        return _report(move, checked, steps)


def abort(move: Move, refuse: Refuse) -> Report:
    """Judge what an abort would refuse from here."""
    with tidied(move.env.legacy.path):
        _, where = _where(move, refuse)
        before = preflight.before_cutover(move) if move.verb == "cutover" else preflight.before_rollback(move)
        wanted = [check for check in before if not check.begins and check.name in preflight.FOR_AN_UNDO]
        return _report(move, [where, *wanted], undo.UNDO if move.verb == "cutover" else rollback_steps.UNDO)


def _where(move: Move, refuse: Refuse) -> tuple[Standing | None, Check]:
    """What the databases say, None where they can't, and the check that says what is refused of it."""
    found: Standing | None = None
    problem: Exception | None = None
    try:
        found = recovery.standing(move.env)
        refuse(found, move.env)
    except (ToolError, *FAILURES) as error:
        problem = error

    def check() -> str:
        if problem is not None:
            raise problem
        assert found is not None
        return f"phase {found.phase}, the legacy file {found.legacy}, Postgres {found.target}"

    return found, Check(STANDING, check, begins=False)


def _no_hook_at_work(move: Move) -> None:
    """A run waits a minute for it to end."""
    if (named := hooks.at_work(move.env)) is not None:
        raise Inconclusive(
            "no hook of another run at work", named, where=str(hooks.lock_path(move.env)),
            do="A run waits for it for a minute. Let it end, or end its process group (kill -- -GROUP).",
        )  # fmt: skip


def _report(move: Move, wanted: Iterable[Check], steps: tuple[Step, ...] | Callable[[], tuple[Step, ...]]) -> Report:
    began = time.monotonic()
    at_work = Check("hooks at work", lambda: _no_hook_at_work(move), ("file of the pointer",), begins=False)
    found = checks.judge([*wanted, at_work])
    move.performed.append(StepReport(plan.PREFLIGHT, Status.DONE, round(time.monotonic() - began, 3)))
    for step in steps() if callable(steps) else steps:
        move.means.progress.say(step.line)
        move.performed.append(StepReport(step.name, Status.PLANNED, 0.0))
    return dataclasses.replace(move.finished(Verdict.PLANNED), verdict=_verdict(found), checks=found)


def _verdict(found: tuple[Finding, ...]) -> Verdict:
    marks = {finding.mark for finding in found}
    if Mark.REFUSED in marks:
        return Verdict.REFUSED
    return Verdict.INCONCLUSIVE if Mark.NOT_JUDGED in marks else Verdict.PLANNED
