"""The legacy store under faults: its process killed at each statement, and its file locked by a real second writer.

As on the wire, the end must be that of a clean run, once the client has asked again. A case costs some 30 ms.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from game.dispatch import again
from game.legacy import sqlite_values
from game.legacy.store import LegacyStore
from game.rows import Rows
from game.urls import LegacyUrl
from harness.play import arena, requests
from harness.play.arena import LegacyStage
from harness.play.defects import Case, Raised
from harness.play.differences import Difference
from harness.play.requests import FinalState, PreparedRequest
from harness.scenarios.model import Scenario
from harness.sweeps.fault_kinds import Moment
from harness.sweeps.faults import Failure, Swept
from harness.sweeps.forkserver import CrashableWorker, Died

KILLED, BUSY = "legacy-killed", "legacy-busy"
NAMES = (KILLED, BUSY)
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
    """The application killed by SIGKILL before each of its statements, and before each of its answers.

    steps: the places of the commands in which it is killed, from 0; None: in all of them. to_first: end at the first
    case that fails, so that the file stays as it left it.
    """
    began = time.monotonic()
    todo = requests.prepared_requests(scenario)
    statements, step_of, clean = _clean(scenario, place, crashable, todo)
    within = [n for n, step in enumerate(step_of) if steps is None or step in steps]
    failures: list[Failure] = []
    fired: list[str] = []
    tried = [n for n in within if at in (None, n)]
    for n in tried:
        with _under(KILLED, n, " ".join(statements[n].split())):
            end, struck = _killed(scenario, place, crashable, todo, n)
        fired += [statements[n]] if struck else []
        missed = [] if struck else [Difference("the application", f"killed at statement {n}", "alive at the end")]
        path = (struck or todo[-1]).turn.path
        failures += _failure(KILLED, n, " ".join(statements[n].split()), path, clean, (end, missed, todo))
        if failures and to_first:
            break
    return Swept(
        KILLED,
        len(tried),
        len(fired),
        _commits(fired),
        _commits([statements[n] for n in within]) if at is None else 0,
        time.monotonic() - began,
        tuple(failures),
    )


@contextmanager
def _under(fault: str, k: int, statement: str) -> Iterator[None]:
    """Note on a defect of the game the fault under which it came."""
    try:
        yield
    except Raised as raised:
        raised.case = Case(fault, k, statement)
        raise


def _commits(statements: Sequence[str]) -> int:
    return sum(statement.startswith("COMMIT") for statement in statements)


def sweep_busy(
    scenario: Scenario,
    place: LegacyStage,
    at: int | None = None,
    steps: Collection[int] | None = None,
    *,
    to_first: bool = False,
) -> Swept:
    """At each command, or those of `steps`, a second writer has the file until a new attempt, and until it gives up.

    to_first: end at the first case that fails, so that the file stays as it left it.
    """
    began = time.monotonic()
    todo = requests.prepared_requests(scenario)
    clean = _end(scenario, place, todo, [requests.carry_out(s, e) for s, e in _placed(scenario, place, todo)])
    within = [k for k in range(len(todo)) if (steps is None or k in steps) and at in (None, k)]
    moments = [Moment(k, after) for k in within for after in (False, True)]
    failures: list[Failure] = []
    fired = 0
    for moment in moments:
        with _under(BUSY, moment.k, "BEGIN IMMEDIATE"):
            answers, waited = _busy(scenario, place, todo, moment)
        fired += waited
        missed = [] if waited else [Difference("the store", "turned away by the other writer", "let through")]
        end = _end(scenario, place, todo, answers)
        path = todo[moment.k].turn.path
        failures += _failure(BUSY, moment.k, "BEGIN IMMEDIATE", path, clean, (end, missed, todo))
        if failures and to_first:
            break
    return Swept(BUSY, len(moments), fired, 0, 0, time.monotonic() - began, tuple(failures))


def _failure(
    fault: str,
    k: int,
    statement: str,
    path: tuple[str | int, ...],
    clean: FinalState,
    found: tuple[FinalState, list[Difference], Sequence[PreparedRequest]],
) -> list[Failure]:
    end, missed, todo = found
    differences = [*missed, *requests.differences(clean, end)]
    named = tuple(each.named(todo[0].aliases) for each in differences)
    return [Failure(fault, Moment(k), path, statement, named)] if differences else []


def _clean(
    scenario: Scenario, place: LegacyStage, crashable: CrashableWorker, todo: Sequence[PreparedRequest]
) -> tuple[list[str], list[int], FinalState]:
    """The statements of a run without faults, for each the place of its command, and the end."""
    place.place(arena.starts(scenario).values())
    crashable.start(_url(place.path))
    crashable.die_at(-1)
    answers: list[str] = []
    step_of: list[int] = []
    for step, prepared in enumerate(todo):
        answers.append(crashable.carry_out(prepared) or requests.UNANSWERED)
        statements = crashable.statements()
        step_of += [step] * (len(statements) - len(step_of))
    crashable.end()
    return statements, step_of, _end(scenario, place, todo, answers)


def _killed(
    scenario: Scenario, place: LegacyStage, crashable: CrashableWorker, todo: Sequence[PreparedRequest], n: int
) -> tuple[FinalState, PreparedRequest | None]:
    """The end, and the command under way at the kill."""
    place.place(arena.starts(scenario).values())
    crashable.start(_url(place.path))
    crashable.die_at(n)
    struck: PreparedRequest | None = None
    answers = []
    for prepared in todo:
        answer = None
        if struck is None:
            try:
                answer = crashable.carry_out(prepared)
            except Died as death:
                struck = prepared if death.killed else None
        answers.append(answer or requests.carry_out(place.store, prepared))
    crashable.end()
    return _end(scenario, place, todo, answers), struck


def _placed(
    scenario: Scenario, place: LegacyStage, todo: Sequence[PreparedRequest]
) -> Iterator[tuple[LegacyStore, PreparedRequest]]:
    """Each command, with a store on the file that does not wait long for its lock."""
    place.place(arena.starts(scenario).values())
    with closing(LegacyStore(place.path, busy_timeout_seconds=IMPATIENT_SECONDS)) as store:
        for prepared in todo:
            yield store, prepared


def _busy(
    scenario: Scenario, place: LegacyStage, todo: Sequence[PreparedRequest], moment: Moment
) -> tuple[list[str], bool]:
    """The answers, and whether the store was turned away."""
    answers: list[str] = []
    waited: list[float] = []
    for n, (store, prepared) in enumerate(_placed(scenario, place, todo)):
        if n != moment.k:
            answers.append(requests.carry_out(store, prepared))
            continue
        with _second_writer(place.path) as writer:
            answers.append(_beside(writer, store, prepared, waited, lasts=moment.after))
    return answers, bool(waited)


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
        """Close the connection, and remove the file."""
        self._connection.close()


@contextmanager
def _second_writer(path: Path) -> Iterator[Writer]:
    with closing(Writer(path)) as writer:
        yield writer


def _end(scenario: Scenario, place: LegacyStage, todo: Sequence[PreparedRequest], answers: Sequence[str]) -> FinalState:
    rows = Rows()
    for player in scenario.given:
        found = again(lambda player=player: place.store.read(player)) or Rows()  # type: ignore[misc]  # a default binds the loop's variable
        for table, records in found.items():
            rows.table(table).update(records)
    return FinalState(tuple((prepared.label, answer) for prepared, answer in zip(todo, answers, strict=True)), rows)


def _url(path: Path) -> str:
    return LegacyUrl(path.resolve()).as_text()
