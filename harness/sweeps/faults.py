"""The fault sweep: a scenario, once for each fault at each of its round trips, must end as if nothing had happened.

A clean run on warm connections, one for all faults, tells the round trips, and each command's must be one transaction.
Each case then has
one fault at one of them. Dispatch retries as it does in the service, and where it gives up, a client asks again under
the same id. What was answered and every row, journals and receipts among them, must be as in the clean run: once the
command that was struck is answered, for what is lost then a later retry may bring back, and at the end. Where a process
was killed, the history checker judges the case too. A case costs some 30 ms, one with a process of its own or a crashed
server some 150.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from psycopg import sql

from game.rows import compare
from harness.play import arena, invariants, requests
from harness.play.defects import Case, Raised
from harness.play.differences import Difference, of_rows
from harness.play.requests import FinalState, PreparedRequest
from harness.scenarios.model import Scenario
from harness.scenarios.yaml_reader import Path
from harness.sweeps import client_history
from harness.sweeps.comparison import CaseComparison
from harness.sweeps.fault_kinds import NO_FAULT, AtCommit, Fault, Moment
from harness.sweeps.proxied_database import ProxiedDatabase, refill
from harness.wire import RoundTrip, beside_one_transaction

COMMANDS_OF_A_CASE = 2
"""The one that is struck, and the next, if there is one."""


@dataclass(frozen=True)
class FailedCase:
    """A case that did not end as the clean run. `path` is the command's under way when the fault struck."""

    fault: str
    moment: Moment
    path: Path
    statement: str
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class Torn:
    """A command whose one attempt was not one transaction, though nothing went wrong; `found` instead, in words."""

    path: Path
    label: str
    statements: tuple[str, ...]
    found: str


@dataclass(frozen=True)
class Swept:
    """The result of a sweep of one fault over one scenario; a scenario that never commits has no COMMIT to hit."""

    fault: str
    cases: int
    fired: int
    fired_at_commit: int
    commits: int
    seconds: float
    failures: tuple[FailedCase, ...]
    torn: tuple[Torn, ...] = ()

    @property
    def missed_commit(self) -> bool:
        """Return True if there is a COMMIT, and the fault struck at none."""
        return self.commits > 0 and self.fired_at_commit == 0


@dataclass(frozen=True)
class Clean:
    """A run without faults: its round trips, and how things stood before the first command and after each.

    step_of: for each round trip the place of the command that made it, from 0.
    """

    trips: tuple[RoundTrip, ...]
    step_of: tuple[int, ...]
    ends: tuple[FinalState, ...]
    _refills: dict[int, sql.Composed] = field(default_factory=dict, repr=False)

    def before(self, step: int) -> sql.Composed:
        """Return the statements that put all rows to what they were before a command. Composed once for each step."""
        if step not in self._refills:
            self._refills[step] = refill([self.ends[step].rows])
        return self._refills[step]


@dataclass(frozen=True)
class CaseEnd:
    """The end of a case. path: of the command under way when the fault struck. struck: False if it came to nothing."""

    struck: bool
    path: Path
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class FaultCase:
    """A case to try: the moment of its fault, the statement there, and the function that runs it."""

    moment: Moment
    statement: str
    run: Callable[[], CaseEnd]
    commits: bool = False


@dataclass(frozen=True)
class Selection:
    """The cases that a sweep tries, all of them by default.

    at: only those at this round trip or statement of the run without faults, from 0. steps: only those in these
    commands, by their places from 0. to_first: end at the first case that fails, so that the store stays as it left it.
    """

    at: int | None = None
    steps: Collection[int] | None = None
    to_first: bool = False

    def has_step(self, step: int) -> bool:
        """Return True if cases in the command at this place are tried."""
        return self.steps is None or step in self.steps


ALL_CASES = Selection()


def sweep(scenario: Scenario, fault: Fault, clean: Clean, selection: Selection = ALL_CASES) -> Swept:
    """Run the scenario under the fault at each selected moment. clean: the scenario's run without faults."""
    began = time.monotonic()
    todo = requests.prepared_requests(scenario)
    fault.proxied.place(arena.starts(scenario).values())
    within = {k for k, step in enumerate(clean.step_of) if selection.has_step(step)}
    cases = [
        FaultCase(moment, trip.short, partial(_case, fault, moment, clean, todo), trip.commits)
        for moment in fault.moments(clean.trips)
        if moment.k in within and selection.at in (None, moment.k)
        for trip in [clean.trips[moment.k]]
    ]
    commits = sum(clean.trips[k].commits for k in within) if selection.at is None else 0
    swept = try_cases(fault.name, cases, todo, commits, began, to_first=selection.to_first)
    return replace(swept, torn=tuple(_torn(clean, todo)))


def try_cases(
    fault: str,
    cases: Sequence[FaultCase],
    todo: Sequence[PreparedRequest],
    commits: int,
    began: float,
    *,
    to_first: bool,
) -> Swept:
    """Run the cases; with `to_first`, up to the first that fails. A defect of the game is raised with its case.

    commits: how many COMMITs there are to strike. began: the monotonic time at which the sweep began.
    """
    failures: list[FailedCase] = []
    fired: list[FaultCase] = []
    for case in cases:
        try:
            end = case.run()
        except Raised as raised:
            raised.case = Case(fault, case.moment.k, case.statement)
            raise
        fired += [case] if end.struck else []
        if end.differences:
            named = tuple(each.named(todo[0].aliases) for each in end.differences)
            failures.append(FailedCase(fault, case.moment, end.path, case.statement, named))
            if to_first:
                break
    return Swept(
        fault=fault,
        cases=len(cases),
        fired=len(fired),
        fired_at_commit=sum(case.commits for case in fired),
        commits=commits,
        seconds=time.monotonic() - began,
        failures=tuple(failures),
    )


def run_clean(scenario: Scenario, proxied: ProxiedDatabase) -> Clean:
    """Run the scenario without a fault; the rows are read after every command, past the proxy.

    It serves the sweeps of every fault. A defect of the game is raised with its case.
    """
    todo = requests.prepared_requests(scenario)
    proxied.place(arena.starts(scenario).values())
    watched = NO_FAULT.on(proxied)
    watched.arm(None)
    ends = [FinalState((), proxied.read())]
    step_of: list[int] = []
    for step, prepared in enumerate(todo):
        try:
            answer = requests.carry_out(proxied.wired, prepared, clock=requests.standing)
        except Raised as raised:
            raised.case = Case(NO_FAULT.name)
            raise
        step_of += [step] * (len(watched.trips) - len(step_of))
        answers = (*ends[-1].answers, (prepared.label, answer))
        ends.append(FinalState(answers, proxied.read()))
    # Every case is compared with this run, so that the laws hold of what is equal to it.
    invariants.require_sound(ends[0].rows, ends[-1].rows, "the run without a fault")
    return Clean(tuple(watched.trips), tuple(step_of), tuple(ends))


def _torn(clean: Clean, todo: Sequence[PreparedRequest]) -> Iterator[Torn]:
    for step, prepared in enumerate(todo):
        trips = [trip for trip, of in zip(clean.trips, clean.step_of, strict=True) if of == step]
        if (borders := beside_one_transaction(trips)) is not None:
            yield Torn(prepared.turn.path, prepared.label, tuple(trip.short for trip in trips), borders)


def _case(fault: Fault, moment: Moment, clean: Clean, todo: Sequence[PreparedRequest]) -> CaseEnd:
    """Run one case. Any exception but Raised bears a note of the fault and its round trip."""
    try:
        return _run(fault, moment, clean, todo)
    except Raised:
        fault.end()
        raise
    except Exception as error:
        error.add_note(f"under {fault.name} at round trip {moment.k}: {clean.trips[moment.k].short}")
        raise


def _run(fault: Fault, moment: Moment, clean: Clean, todo: Sequence[PreparedRequest]) -> CaseEnd:
    """Run one case: the command that is struck, from how things stood before it, and the one after it.

    The commands before it are as in the clean run. Those after it begin with the same rows, and with connections that
    have served one of them.
    """
    step = clean.step_of[moment.k]
    fault.proxied.put_back(clean.before(step))
    fault.arm(replace(moment, k=moment.k - clean.step_of.index(step)))
    fault.begin()
    case = CaseComparison(todo, clean.ends[1:], fault.read, begun=step)
    partial_ends: list[Difference] = []
    for place, prepared in enumerate(todo[step : step + COMMANDS_OF_A_CASE], step):
        check = partial(_check_whole, fault, clean.ends[place : place + 2], partial_ends)
        case.answered(fault.carry_out(prepared, check))
        if not case.struck and fault.struck is not None:
            case.strike(is_kept=fault.unheard)
    fault.end()
    hit = fault.struck is not None and fault.hit()
    missed = [] if hit else [_missed(fault)]
    wrong = case.end()
    if isinstance(fault, AtCommit):
        wrong += client_history.differences(*case.asked, clean.ends[0].rows, case.rows)
    return CaseEnd(hit, case.path, (*partial_ends, *missed, *wrong))


def _missed(fault: Fault) -> Difference:
    """Return the difference of a fault without effect: it proves nothing, however well the case ended."""
    if fault.struck is None:
        return Difference("the fault", "to strike there", "a run that never came there")
    return Difference("the fault", fault.effect, "that it struck nothing")


def _check_whole(
    fault: Fault, between: Sequence[FinalState], partial_ends: list[Difference], prepared: PreparedRequest
) -> None:
    """Check that a command without an answer is saved whole or not at all; note in `partial_ends` how it is neither."""
    rows = fault.read()
    # To write the differences down takes ten times as long as to find that there are some.
    if all(compare(end.rows, rows) for end in between):
        what = f"{prepared.label} left without an answer: "
        partial_ends += [replace(each, what=what + each.what) for each in of_rows(between[-1].rows, rows)]
