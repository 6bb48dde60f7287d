"""The legacy store under faults: killed at each statement, locked by a real second writer, unplugged after an answer.

As on the wire, a case is the command that is struck and the next, from the file as it was before them, and the end must
be that of a clean run, once the client has asked again; where the application was killed or the power cut, the history
checker judges the case too. A case costs some 20 ms.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from itertools import accumulate
from pathlib import Path

from game.dispatch import retry
from game.legacy import sqlite_values
from game.legacy.store import LegacyStore
from game.rows import Rows
from game.urls import LegacyUrl
from harness.play import arena, invariants, requests
from harness.play.arena import LegacyStage
from harness.play.differences import Difference
from harness.play.requests import FinalState, PreparedRequest
from harness.scenarios.model import Scenario
from harness.sweeps import client_history
from harness.sweeps.comparison import CaseComparison
from harness.sweeps.fault_kinds import Moment
from harness.sweeps.faults import ALL_CASES, COMMANDS_OF_A_CASE, CaseEnd, FaultCase, Selection, Swept, try_cases
from harness.sweeps.forkserver import CrashableWorker, Died
from harness.sweeps.power_loss import lose_unsynced

KILLED, BUSY, POWER_CUT = "legacy-killed", "legacy-busy", "legacy-power-cut"
NAMES = (KILLED, BUSY, POWER_CUT)
IMPATIENT_SECONDS = 0.01
"""How long a store waits for the file's write lock where another holds it for as long as it takes."""


def sweep_killed(
    scenario: Scenario, stage: LegacyStage, crashable: CrashableWorker, selection: Selection = ALL_CASES
) -> Swept:
    """Kill the application by SIGKILL before each of its statements, and before each of its answers."""
    with _run(scenario, stage) as run:
        ran = _statements(run, crashable)
        first = list(accumulate(map(len, ran), initial=0))
        cases = [
            FaultCase(
                Moment(first[step] + n),
                " ".join(statement.split()),
                partial(_killed, run, crashable, step, n, is_kept=any(map(_commits, statements[:n]))),
                _commits(statement),
            )
            for step, statements in enumerate(ran)
            if selection.has_step(step)
            for n, statement in enumerate(statements)
        ]
        return run.try_cases(KILLED, cases, selection)


def sweep_busy(scenario: Scenario, stage: LegacyStage, selection: Selection = ALL_CASES) -> Swept:
    """Let a second writer hold the file at each command: until a new attempt, and until the command ends."""
    with _run(scenario, stage) as run:
        run.play(run.carry_out)
        cases = [
            FaultCase(Moment(step), "BEGIN IMMEDIATE", partial(_busy, run, step, lasts=lasts))
            for step in range(len(run.todo))
            if selection.has_step(step)
            for lasts in (False, True)
        ]
        return run.try_cases(BUSY, cases, selection)


def sweep_power_cut(
    scenario: Scenario, stage: LegacyStage, crashable: CrashableWorker, selection: Selection = ALL_CASES
) -> Swept:
    """Cut the machine's power right after each granted command: what was not synced is lost."""
    with _run(scenario, stage) as run:
        run.play(run.carry_out)
        cases = [
            FaultCase(Moment(step, after=True), "(the answer)", partial(_power_cut, run, crashable, step))
            for step, (_label, answer) in enumerate(run.ends[-1].answers)
            if answer.startswith(requests.GRANTED) and selection.has_step(step)
        ]
        return run.try_cases(POWER_CUT, cases, selection)


class LegacyRun:
    """A run without faults, with a copy of the file before each command; its cases begin with one of the copies."""

    def __init__(self, scenario: Scenario, stage: LegacyStage, folder: Path) -> None:
        self._began = time.monotonic()
        self._players = tuple(scenario.given)
        self._folder = folder
        self.stage = stage
        self.todo = requests.prepared_requests(scenario)
        stage.place(arena.starts(scenario).values())
        self.opening = self.read()
        self.ends: list[FinalState] = []

    def play(self, carry_out: Callable[[PreparedRequest], str]) -> None:
        """Carry the commands out, each in the way that is given. The laws have to hold of the end."""
        answers: list[tuple[str, str]] = []
        for step, prepared in enumerate(self.todo):
            self.stage.copy_to(self._kept(step))
            answers.append((prepared.label, carry_out(prepared)))
            self.ends.append(FinalState(tuple(answers), self.read()))
        # Every case is compared with this run, so that the laws hold of what is equal to it.
        invariants.require_sound(self.opening, self.ends[-1].rows, "the run without a fault")

    def carry_out(self, prepared: PreparedRequest) -> str:
        """Carry a command out, without any fault. Returns the answer."""
        return requests.carry_out(self.stage.store, prepared, clock=requests.standing)

    def begin(self, step: int) -> CaseComparison:
        """Put the file to what it was before a command, and return the comparison of a case that begins with it."""
        self.stage.place_copy(self._kept(step))
        return CaseComparison(self.todo, self.ends, self.read, begun=step)

    def go_on(self, case: CaseComparison, step: int) -> None:
        """Carry out the rest of a case, after the command that was struck."""
        for prepared in self.todo[step + 1 : step + COMMANDS_OF_A_CASE]:
            case.answered(requests.carry_out(self.stage.store, prepared))

    def end(self, case: CaseComparison, *missed: Difference, judged: bool) -> CaseEnd:
        """Return the end of a case. missed: how the fault came to nothing; judged: the history checker looks at it."""
        differences = case.end()
        wrong = client_history.differences(*case.asked, self.opening, case.rows) if judged else ()
        return CaseEnd(not missed, case.path, (*missed, *differences, *wrong))

    def try_cases(self, fault: str, cases: Sequence[FaultCase], selection: Selection) -> Swept:
        """Try the cases, or only those at the selected moment; see `faults.try_cases`."""
        tried = [case for case in cases if selection.at in (None, case.moment.k)]
        commits = sum(case.commits for case in cases) if selection.at is None else 0
        return try_cases(fault, tried, self.todo, commits, self._began, to_first=selection.to_first)

    def read(self) -> Rows:
        """Return all rows of the scenario's players."""
        rows = Rows()
        for player in self._players:
            own = retry(partial(self.stage.store.read, player)) or Rows()
            for table, records in own.items():
                rows.table(table).update(records)
        return rows

    def _kept(self, step: int) -> Path:
        return self._folder / f"{step}.sqlite"


@contextmanager
def _run(scenario: Scenario, stage: LegacyStage) -> Iterator[LegacyRun]:
    """Place the players; the copies go beside the stage's own file, and are removed."""
    with tempfile.TemporaryDirectory(dir=stage.path.parent) as folder:
        yield LegacyRun(scenario, stage, Path(folder))


def _statements(run: LegacyRun, crashable: CrashableWorker) -> list[list[str]]:
    """Run the scenario without faults in an application that may be killed. Returns the statements of each command."""
    ran: list[list[str]] = []

    def carry_out(prepared: PreparedRequest) -> str:
        crashable.die_at(-1)
        answer = crashable.carry_out(prepared) or requests.UNANSWERED
        ran.append(crashable.statements())
        return answer

    crashable.start(_url(run.stage.path))
    run.play(carry_out)
    crashable.end()
    return ran


def _commits(statement: str) -> bool:
    return statement.startswith("COMMIT")


def _killed(run: LegacyRun, crashable: CrashableWorker, step: int, n: int, *, is_kept: bool) -> CaseEnd:
    """Run a case in which the application is killed before the n-th statement of a command.

    is_kept: the command has committed by then.
    """
    case = run.begin(step)
    crashable.start(_url(run.stage.path))
    crashable.die_at(n)
    answer, is_killed = None, False
    try:
        answer = crashable.carry_out(run.todo[step])
    except Died as death:
        is_killed = death.killed
    crashable.end()
    case.answered(answer or requests.carry_out(run.stage.store, run.todo[step]))
    if is_killed:
        case.strike(is_kept=is_kept)
    run.go_on(case, step)
    alive = Difference("the application", f"killed at statement {n} of its command", "alive at the end")
    return run.end(case, *(() if is_killed else (alive,)), judged=True)


def _power_cut(run: LegacyRun, crashable: CrashableWorker, step: int) -> CaseEnd:
    """Run a case in which the power fails once the client has the answer to a command."""
    case = run.begin(step)
    path = run.stage.path
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        synced = Path(folder)
        shutil.copyfile(path, synced / path.name)
        crashable.start(_url(path), synced)
        case.answered(crashable.carry_out(run.todo[step]) or requests.UNANSWERED)
        crashable.lose()
        lose_unsynced(path, synced)
    case.strike(is_kept=False)
    run.go_on(case, step)
    return run.end(case, judged=True)


def _busy(run: LegacyRun, step: int, *, lasts: bool) -> CaseEnd:
    """Run a case in which the file is busy at a command; `lasts`: until the client has given up once."""
    case = run.begin(step)
    waited: list[float] = []
    with (
        closing(LegacyStore(run.stage.path, busy_timeout_seconds=IMPATIENT_SECONDS)) as store,
        closing(Writer(run.stage.path)) as writer,
    ):
        case.answered(_beside(writer, store, run.todo[step], waited, lasts=lasts))
    case.strike(is_kept=False)
    run.go_on(case, step)
    past = Difference("the store", "turned away by the other writer", "let through")
    return run.end(case, *(() if waited else (past,)), judged=False)


def _beside(writer: Writer, store: LegacyStore, prepared: PreparedRequest, waited: list[float], *, lasts: bool) -> str:
    """Carry a request out beside a program that has the file's write lock.

    lasts: it keeps the lock until the client was told that the store is unavailable, else until dispatch first waits.
    waited: takes the seconds of each wait.
    """

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        if not lasts:
            writer.release()

    return requests.carry_out(store, prepared, sleep=sleep, unanswered=lambda _prepared: writer.release())


class Writer:
    """Another program that has the file's write lock."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite_values.connect(path)
        self._connection.execute("BEGIN IMMEDIATE")

    def release(self) -> None:
        """End the transaction that keeps the file busy."""
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def close(self) -> None:
        """Close the connection, which releases the lock."""
        self._connection.close()


def _url(path: Path) -> str:
    return LegacyUrl(path.resolve()).as_text()
