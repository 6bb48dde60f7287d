"""A runbook: the steps of one move as data. The engine performs any of them; a new move is a new list."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from db.cutover.checks import PreflightCheck
from db.cutover.context import FAILURES, RunConfig, RunContext, text_of
from db.cutover.move_status import MoveStatus, Refuse
from db.cutover.report import RunVerdict, StepStatus
from db.environments import Environment
from db.errors import Failure, Inconclusive
from db.ops import Phase
from db.processes.interruption import Interrupted
from game.redaction import redact


@dataclass(frozen=True, slots=True)
class RunbookRow:
    """A row of the runbook's page: a step, or what the engine itself does before and after the steps."""

    number: str
    name: str
    true_after: str
    on_failure: str


@dataclass(frozen=True, slots=True)
class Step:
    """A named step: what it does, how it is known to be done, and all that is said of it.

    number: as on the runbook's page. true_after: what holds once it is done. done: reads only databases, files and
    /readyz; None where doing it again is harmless and cheaper than knowing. do: returns what the journal is to keep.
    undo: what an undo does about it. checked: `done` is asked right after; False where `do` proves more than that.
    repeated: a run that goes on past the point of no return performs it once more. detail: what the page says instead
    of true_after. on_failure: what the page says of a refusal or a failure.
    """

    number: str
    name: str
    true_after: str
    done: Callable[[RunContext], bool] | None
    do: Callable[[RunContext], dict[str, Any] | None]
    undo: str = ""
    checked: bool = True
    repeated: bool = False
    detail: str = ""
    on_failure: str = ""

    @property
    def line(self) -> str:
        """Describe the step in a plan: what will be true after it, and what an undo does about it."""
        return f"{self.number:>3}  {self.name}: {self.true_after}{f' (undo: {self.undo})' if self.undo else ''}"

    @property
    def row(self) -> RunbookRow:
        """Return the step's row of the runbook's page."""
        return RunbookRow(self.number, self.name, self.detail or self.true_after, self.on_failure)


@dataclass(frozen=True, slots=True)
class Agreement:
    """Something that the operator has to agree to. A run asks first; a dry run asks after the checks.

    check: raises Refusal if it was not agreed to. needs: names of checks without which it can't be judged.
    """

    name: str
    check: Callable[[RunContext, MoveStatus], None]
    needs: tuple[str, ...]


class RunOf(Protocol):
    """Finds the run to go on with."""

    def __call__(self, status: MoveStatus, env: Environment, config: RunConfig, *, undoes: bool) -> str | None:
        """Return the id of the run that a run or (undoes) an abort goes on with; None: a new one."""
        ...


class LeftToGoOn(Inconclusive):
    """Raised by a step that another run can go on from and that players do not notice: nothing is undone."""


class LeftStanding(Interrupted):
    """Raised where a signal ends a run that holds or is paused: nothing is undone, and another run goes on from it."""


def never(status: MoveStatus) -> bool:
    """Return False in every state."""
    del status
    return False


def nothing(context: RunContext) -> None:
    """Check nothing: for a runbook without such checks."""
    del context


@dataclass(frozen=True, slots=True, kw_only=True)
class Runbook:
    """A move of one direction, and everything in which it differs from another.

    steps: before the point of no return; what fails there is undone. then: after it, while the lock is held. released:
    after the lock is released. undo: in their order; () if a failure leaves everything as it is. watch: performed last;
    raises what a breach calls for.
    begun, beyond: the phases before and after the point of no return. refuse, refuse_abort: raise Refusal if a run or
    an abort may not begin from a state. begins: a run from this state makes the checks of preflight. undo_first: an
    undo has to be finished before a run; it puts the checks of `undone_first` right. asked_again: asked of a run that
    goes on. for_undo: names of the checks that an abort needs too. adapted: returns the variant for a state.
    """

    verb: str
    steps: tuple[Step, ...]
    point_of_no_return: Step
    then: tuple[Step, ...] = ()
    released: tuple[Step, ...] = ()
    undo: tuple[Step, ...]
    begun: Phase
    beyond: Phase
    verdict: RunVerdict
    refuse: Refuse
    refuse_abort: Refuse
    preflight: Callable[[RunContext], tuple[PreflightCheck, ...]]
    begins: Callable[[MoveStatus], bool]
    run_of: RunOf
    for_undo: frozenset[str] = frozenset()
    undo_first: Callable[[MoveStatus], bool] = never
    undone_first: frozenset[str] = frozenset()
    asked_again: Callable[[RunContext], None] = nothing
    adapted: Callable[[MoveStatus], Runbook] | None = None
    agreement: Agreement | None = None
    watch: Callable[[RunContext], None] | None = None
    rows_before: tuple[RunbookRow, ...] = ()
    rows_after: tuple[RunbookRow, ...] = ()

    @property
    def plan(self) -> tuple[Step, ...]:
        """Return every step, in the order in which they are performed."""
        return (*self.steps, self.point_of_no_return, *self.then, *self.released)

    @property
    def rows(self) -> tuple[RunbookRow, ...]:
        """Return the rows of the runbook's page."""
        return (*self.rows_before, *(step.row for step in self.plan), *self.rows_after)

    def of(self, status: MoveStatus | None) -> Runbook:
        """Return the variant for this state; None: the state is not known."""
        return self if status is None or self.adapted is None else self.adapted(status)


def perform(context: RunContext, step: Step) -> None:
    """Do the step unless it is done; log it, and check that it is true afterwards.

    Whatever a store, a file or a hook raises becomes a Failure that names the step.
    """
    context.config.signals.check()
    context.require_lock()
    if step.done is not None and step.done(context):
        context.note_step(step.name, StepStatus.ALREADY, 0.0, {})
        return
    context.config.observer("before", step.name)
    context.config.progress.say(f"{step.number:>3}  {step.name}")
    context.journal.write("begin", step.name)
    began = time.monotonic()
    try:
        facts = _done(context, step)
    except BaseException as error:  # Ctrl-C too: the journal records it, and it is raised again.
        context.note_step(step.name, StepStatus.FAILED, time.monotonic() - began, {"error": str(error)})
        raise
    context.note_step(step.name, StepStatus.DONE, time.monotonic() - began, facts)
    context.config.observer("after", step.name)


def _done(context: RunContext, step: Step) -> dict[str, Any]:
    """Do a step's work and check that it is done. Returns its facts. Raises Failure if it is not, or a store fails."""
    try:
        facts = step.do(context) or {}
        held = step.done is None or not step.checked or step.done(context)
    except FAILURES as error:
        raise Failure(step.true_after, redact(text_of(error)), where=f"step {step.name}") from error
    if not held:
        raise Failure(step.true_after, "otherwise, though all of it was done", where=f"step {step.name}")
    return facts
