"""The legacy store under faults: killed at each statement, locked by a real second writer, unplugged after an answer.

As on the wire, the end must be that of a clean run, once the client has asked again; where the application was killed,
the history checker judges the case too. A case costs some 30 ms.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from game.dispatch import again
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
from harness.sweeps.faults import CaseEnd, FaultCase, Swept, try_cases
from harness.sweeps.forkserver import CrashableWorker, Died
from harness.sweeps.power_loss import lose_unsynced

KILLED, BUSY, POWER_CUT = "legacy-killed", "legacy-busy", "legacy-power-cut"
NAMES = (KILLED, BUSY, POWER_CUT)
IMPATIENT_SECONDS = 0.01
"""How long a store waits for the file's write lock where another holds it for as long as it takes."""


def sweep_killed(
    scenario: Scenario,
    place: LegacyStage,
    crashable: CrashableWorker,
    at: int | None = None,
    steps: Collection[int] | None = None,
    *,
    to_first: bool = False,
) -> Swept:
    """Kill the application by SIGKILL before each of its statements, and before each of its answers.

    steps: the places of the commands in which it is killed, from 0; None: in all of them. to_first: end at the first
    case that fails, so that the file stays as it left it.
    """
    began = time.monotonic()
    todo = requests.prepared_requests(scenario)
    statements, step_of, ends = _clean(scenario, place, crashable, todo)
    cases = [
        FaultCase(
            Moment(n),
            " ".join(statements[n].split()),
            partial(_killed, scenario, place, crashable, todo, ends, n, is_kept=_is_kept(statements, step_of, n)),
            statements[n].startswith("COMMIT"),
        )
        for n, step in enumerate(step_of)
        if steps is None or step in steps
    ]
    return _sweep(KILLED, cases, todo, began, at, to_first=to_first)


def sweep_busy(
    scenario: Scenario,
    place: LegacyStage,
    at: int | None = None,
    steps: Collection[int] | None = None,
    *,
    to_first: bool = False,
) -> Swept:
    """Have a second writer hold the file at each command, or those of `steps`, until a new attempt, and until it ends.

    to_first: end at the first case that fails, so that the file stays as it left it.
    """
    began = time.monotonic()
    todo = requests.prepared_requests(scenario)
    ends = _ends(scenario, place, todo)
    cases = [
        FaultCase(Moment(k), "BEGIN IMMEDIATE", partial(_busy, scenario, place, todo, ends, Moment(k, lasts)))
        for k in range(len(todo))
        if steps is None or k in steps
        for lasts in (False, True)
    ]
    return _sweep(BUSY, cases, todo, began, at, to_first=to_first)


def sweep_power_cut(
    scenario: Scenario,
    place: LegacyStage,
    crashable: CrashableWorker,
    at: int | None = None,
    steps: Collection[int] | None = None,
    *,
    to_first: bool = False,
) -> Swept:
    """Take the power from the machine right after each command was granted, or each of `steps`: the unsynced is lost.

    to_first: end at the first case that fails, so that the file stays as it left it.
    """
    began = time.monotonic()
    todo = requests.prepared_requests(scenario)
    ends = _ends(scenario, place, todo)
    cases = [
        FaultCase(Moment(k, after=True), "(the answer)", partial(_power_cut, scenario, place, crashable, todo, ends, k))
        for k, (_, answer) in enumerate(ends[-1].answers)
        if answer.startswith(requests.GRANTED) and (steps is None or k in steps)
    ]
    return _sweep(POWER_CUT, cases, todo, began, at, to_first=to_first)


def _ends(scenario: Scenario, place: LegacyStage, todo: Sequence[PreparedRequest]) -> list[FinalState]:
    """Run the scenario without faults. Returns how things stood after each command."""
    answers: list[str] = []
    ends: list[FinalState] = []
    for store, prepared in _placed(scenario, place, todo):
        answers.append(requests.carry_out(store, prepared, clock=requests.standing))
        ends.append(_end(scenario, place, todo, answers))
    return ends


def _sweep(
    fault: str,
    cases: Sequence[FaultCase],
    todo: Sequence[PreparedRequest],
    began: float,
    at: int | None,
    *,
    to_first: bool,
) -> Swept:
    tried = [case for case in cases if at in (None, case.moment.k)]
    commits = sum(case.commits for case in cases) if at is None else 0
    return try_cases(fault, tried, todo, commits, began, to_first=to_first)


def _clean(
    scenario: Scenario, place: LegacyStage, crashable: CrashableWorker, todo: Sequence[PreparedRequest]
) -> tuple[list[str], list[int], list[FinalState]]:
    """Run the scenario without faults.

    Returns its statements, for each the place of its command, and how things stood after each command.
    """
    place.place(arena.starts(scenario).values())
    opening = _read(scenario, place)
    crashable.start(_url(place.path))
    crashable.die_at(-1)
    answers: list[str] = []
    step_of: list[int] = []
    ends: list[FinalState] = []
    for step, prepared in enumerate(todo):
        answers.append(crashable.carry_out(prepared) or requests.UNANSWERED)
        statements = crashable.statements()
        step_of += [step] * (len(statements) - len(step_of))
        ends.append(_end(scenario, place, todo, answers))
    crashable.end()
    # Every case is compared with this run, so that the laws hold of what is equal to it.
    invariants.require_sound(opening, ends[-1].rows, "the run without a fault")
    return statements, step_of, ends


def _is_kept(statements: Sequence[str], step_of: Sequence[int], n: int) -> bool:
    """Return True if the command of the n-th statement has committed before that statement."""
    return any(step_of[k] == step_of[n] and statements[k].startswith("COMMIT") for k in range(n))


def _killed(
    scenario: Scenario,
    place: LegacyStage,
    crashable: CrashableWorker,
    todo: Sequence[PreparedRequest],
    ends: Sequence[FinalState],
    n: int,
    *,
    is_kept: bool,
) -> CaseEnd:
    """Run a case in which the application is killed before its n-th statement. is_kept: its command has committed."""
    place.place(arena.starts(scenario).values())
    crashable.start(_url(place.path))
    crashable.die_at(n)
    case = CaseComparison(todo, ends, partial(_read, scenario, place))
    for prepared in todo:
        answer, struck = None, False
        if not case.struck:
            try:
                answer = crashable.carry_out(prepared)
            except Died as death:
                struck = death.killed
        case.answered(answer or requests.carry_out(place.store, prepared))
        if struck:
            case.strike(is_kept=is_kept)
    crashable.end()
    missed = [] if case.struck else [Difference("the application", f"killed at statement {n}", "alive at the end")]
    start = _together(player.rows for player in arena.starts(scenario).values())
    wrong = client_history.differences(*case.asked, start, _read(scenario, place))
    return CaseEnd(case.struck, case.path, (*missed, *case.end(), *wrong))


def _power_cut(
    scenario: Scenario,
    place: LegacyStage,
    crashable: CrashableWorker,
    todo: Sequence[PreparedRequest],
    ends: Sequence[FinalState],
    k: int,
) -> CaseEnd:
    """Run a case in which the power fails once the client has the answer to the k-th command."""
    place.place(arena.starts(scenario).values())
    case = CaseComparison(todo, ends, partial(_read, scenario, place))
    with tempfile.TemporaryDirectory(dir=place.path.parent) as folder:
        synced = Path(folder)
        shutil.copyfile(place.path, synced / place.path.name)
        crashable.start(_url(place.path), synced)
        for prepared in todo[: k + 1]:
            case.answered(crashable.carry_out(prepared) or requests.UNANSWERED)
        crashable.lose()
        lose_unsynced(place.path, synced)
    case.strike(is_kept=False)
    for prepared in todo[k + 1 :]:
        case.answered(requests.carry_out(place.store, prepared))
    return CaseEnd(case.struck, case.path, tuple(case.end()))


def _placed(
    scenario: Scenario, place: LegacyStage, todo: Sequence[PreparedRequest]
) -> Iterator[tuple[LegacyStore, PreparedRequest]]:
    """Place the players and yield each command, with a store on the file that does not wait long for its lock."""
    place.place(arena.starts(scenario).values())
    with closing(LegacyStore(place.path, busy_timeout_seconds=IMPATIENT_SECONDS)) as store:
        for prepared in todo:
            yield store, prepared


def _busy(
    scenario: Scenario,
    place: LegacyStage,
    todo: Sequence[PreparedRequest],
    ends: Sequence[FinalState],
    moment: Moment,
) -> CaseEnd:
    """Run a case in which the file is busy at the k-th command; `after`: until the client has given up once."""
    case = CaseComparison(todo, ends, partial(_read, scenario, place))
    waited: list[float] = []
    for n, (store, prepared) in enumerate(_placed(scenario, place, todo)):
        if n != moment.k:
            case.answered(requests.carry_out(store, prepared))
            continue
        with _second_writer(place.path) as writer:
            case.answered(_beside(writer, store, prepared, waited, lasts=moment.after))
        case.strike(is_kept=False)
    missed = [] if waited else [Difference("the store", "turned away by the other writer", "let through")]
    return CaseEnd(bool(waited), case.path, (*missed, *case.end()))


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


@contextmanager
def _second_writer(path: Path) -> Iterator[Writer]:
    with closing(Writer(path)) as writer:
        yield writer


def _end(scenario: Scenario, place: LegacyStage, todo: Sequence[PreparedRequest], answers: Sequence[str]) -> FinalState:
    """Return how things stand once the first commands have been answered so."""
    labels = (prepared.label for prepared in todo)
    return FinalState(tuple(zip(labels, answers, strict=False)), _read(scenario, place))


def _read(scenario: Scenario, place: LegacyStage) -> Rows:
    return _together(
        again(lambda player=player: place.store.read(player)) or Rows()  # type: ignore[misc]  # a default binds the loop's variable
        for player in scenario.given
    )


def _together(players: Iterable[Rows]) -> Rows:
    rows = Rows()
    for own in players:
        for table, records in own.items():
            rows.table(table).update(records)
    return rows


def _url(path: Path) -> str:
    return LegacyUrl(path.resolve()).as_text()
