"""The race sweep: two commands of one player in every feasible order of their statements must end as in a serial one.

Each session stands behind a proxy that holds its statements. A walk runs until each session waits at its gate, is
blocked by the other or is done; where both wait, there is a choice of who goes on. Depth first, fewest preemptions
first: the first order that fails is the smallest. BEGIN and ROLLBACK are no choices: they see and change nothing.
An order costs some 30 ms.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self

from db.errors import Failure
from game.rows import Rows
from game.unit_of_work import Store
from harness import wire
from harness.databases import Database
from harness.play import arena, invariants, requests
from harness.play.arena import StartingPlayer
from harness.play.defects import Defect, Raised
from harness.play.differences import Difference
from harness.play.requests import FinalState, PreparedRequest
from harness.scenarios.model import Scenario
from harness.scenarios.yaml_reader import Path
from harness.sweeps.proxied_database import ProxiedDatabase
from harness.sweeps.race_gates import Event, Gate, SessionState
from harness.wire import Proxy

NAMES = ("a", "b")
POLL_SECONDS = 0.002
STUCK_SECONDS = 30.0
MOST_ORDERS = 300
"""Of one race; commands that lock their player first have some ten."""


@dataclass(frozen=True)
class PreparedRace:
    """The players, what they did before, the two commands, and what comes after."""

    starts: tuple[StartingPlayer, ...]
    before: tuple[PreparedRequest, ...]
    racers: tuple[PreparedRequest, PreparedRequest]
    after: tuple[PreparedRequest, ...]


@dataclass(frozen=True)
class FailedOrder:
    """An order that ended as neither serial order does, and how it differs from the one that it is nearest to."""

    order: str
    serial: str
    timeline: tuple[Event, ...]
    differences: tuple[Difference, ...]
    defects: tuple[Defect, ...] = ()


@dataclass(frozen=True)
class Raced:
    """The result of a sweep. `serial`: the ends of the serial orders, by who came first. `whole`: nothing left."""

    serial: Mapping[str, FinalState]
    orders: int
    longest: int
    whole: bool
    seconds: float
    failures: tuple[FailedOrder, ...]


@dataclass(frozen=True)
class Choice:
    """The session that was let through when both waited, and the one that had gone last."""

    chosen: str
    last: str | None

    @property
    def preempts(self) -> bool:
        """Return True if it takes the turn from a session that could have gone on."""
        return self.last is not None and self.chosen != self.last


@dataclass
class Track:
    """Two sessions of one application on one database, warm, each behind a proxy of its own."""

    proxied: ProxiedDatabase

    def __post_init__(self) -> None:
        self.proxies = tuple(Proxy(self.proxied.proxy.upstream) for _ in NAMES)
        self._open()

    def _open(self) -> None:
        self.stores = tuple(self.proxied.store(proxy) for proxy in self.proxies)

    def leave(self) -> Database:
        """Leave the database as it is and take another. Returns the one that was left."""
        self._close()
        left = self.proxied.leave()
        self._open()
        return left

    def _close(self) -> None:
        for store in self.stores:
            store.close()

    def close(self) -> None:
        """Close both sessions and their stores."""
        self._close()
        for proxy in self.proxies:
            proxy.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_cause: object) -> None:
        self.close()


def of(scenario: Scenario) -> PreparedRace:
    """Return the race of a scenario that has one."""
    todo = requests.prepared_requests(scenario)
    first = next(n for n, prepared in enumerate(todo) if prepared.turn.step is None)
    return PreparedRace(
        starts=tuple(arena.starts(scenario).values()),
        before=tuple(todo[:first]),
        racers=(todo[first], todo[first + 1]),
        after=tuple(todo[first + 2 :]),
    )


def place(scenario: Scenario) -> Path:
    """Return the place of the race in the scenario's document."""
    return ("steps", next(n for n, step in enumerate(scenario.steps) if step is scenario.race))


def sweep(race: PreparedRace, track: Track, order: str | None = None, *, to_first: bool = False) -> Raced:
    """Run every feasible order of the race, or the one that is given, as far as it goes.

    to_first: end at the first that fails, so that the database stays as it left it.
    """
    began = time.monotonic()
    serial = _serial(race, track.proxied)
    failures: list[FailedOrder] = []
    longest = orders = 0
    todo: list[tuple[int, int, str]] = [(0, 0, order or "")]
    while todo and orders < MOST_ORDERS:
        _, _, prefix = heapq.heappop(todo)
        try:
            run = _run(race, track, prefix)
        except Exception as error:
            error.add_note(f"in the order {prefix or 'that comes first'} of a race")
            raise
        orders += 1
        longest = max(longest, len(run.choices))
        failures += _failed_order(run, serial)
        if failures and to_first:
            break
        if order is None:
            for alternative in _alternatives(run.choices, len(prefix)):
                heapq.heappush(todo, (alternative[0], orders, alternative[1]))
    return Raced(serial, orders, longest, not todo, time.monotonic() - began, tuple(failures))


def _alternatives(choices: Sequence[Choice], settled: int) -> Iterator[tuple[int, str]]:
    """Return the other choices, beyond what was settled before: preemptions, and the choices up to there."""
    for n in range(settled, len(choices)):
        other = Choice(NAMES[1 - NAMES.index(choices[n].chosen)], choices[n].last)
        path = (*choices[:n], other)
        yield sum(choice.preempts for choice in path), "".join(choice.chosen for choice in path)


def _serial(race: PreparedRace, proxied: ProxiedDatabase) -> dict[str, FinalState]:
    """Run the two serial orders. Returns their ends, by which command came first."""
    proxied.place(race.starts)
    ends = {}
    for name, racers in zip(NAMES, (race.racers, race.racers[::-1]), strict=True):
        proxied.again()
        opening = proxied.read()
        todo = (*race.before, *racers, *race.after)
        ends[name] = FinalState(tuple(_answers(proxied, todo)), proxied.read())
        invariants.require_sound(opening, ends[name].rows, f"the serial order that begins with {name}")
    return ends


def _answers(proxied: ProxiedDatabase, todo: Sequence[PreparedRequest]) -> list[tuple[str, str]]:
    """Carry out the commands one after the other, past the proxies. Returns each label and answer."""
    return [(prepared.label, requests.carry_out(proxied.direct, prepared)) for prepared in todo]


@dataclass
class RaceRun:
    """One order, as it was run."""

    choices: list[Choice] = field(default_factory=list)
    timeline: list[Event] = field(default_factory=list)
    defects: list[Defect] = field(default_factory=list)
    end: FinalState = field(default_factory=lambda: FinalState((), Rows()))


def _failed_order(run: RaceRun, serial: dict[str, FinalState]) -> list[FailedOrder]:
    differences = {name: requests.differences(end, run.end) for name, end in serial.items()}
    if not all(differences.values()):
        return []
    nearest = min(differences, key=lambda name: len(differences[name]))
    order = "".join(choice.chosen for choice in run.choices)
    return [FailedOrder(order, nearest, tuple(run.timeline), tuple(differences[nearest]), tuple(run.defects))]


def _run(race: PreparedRace, track: Track, prefix: str) -> RaceRun:
    run = RaceRun()
    track.proxied.again()
    answers = _answers(track.proxied, race.before)
    with _gates(track, run) as gates, ThreadPoolExecutor(len(NAMES)) as pool:
        racing = [
            pool.submit(_racer, prepared, store, gate, run.defects)
            for prepared, store, gate in zip(race.racers, track.stores, gates, strict=True)
        ]
        try:
            _walk(track.proxied, gates, prefix, run)
            _check_held(gates, run)
        finally:
            for gate in gates:
                gate.give_up()
        answers += [(e.label, _result(future)) for e, future in zip(race.racers, racing, strict=True)]
    answers += _answers(track.proxied, race.after)
    run.end = FinalState(tuple(answers), track.proxied.read())
    return run


def _racer(prepared: PreparedRequest, store: Store, gate: Gate, defects: list[Defect]) -> str:
    """Return the answer. A defect of the game becomes one that no serial order gives, and is noted in `defects`."""
    try:
        return requests.carry_out(store, prepared)
    except Raised as raised:
        defects.append(raised.defect)
        return f"raised {raised.defect.what}, at {raised.defect.where}"
    finally:
        gate.done()


def _result(future: Future[str]) -> str:
    return future.result(STUCK_SECONDS)


@contextmanager
def _gates(track: Track, run: RaceRun) -> Iterator[tuple[Gate, ...]]:
    changed = threading.Condition()
    gates = tuple(Gate(name, changed, run.timeline) for name in NAMES)
    for proxy, gate in zip(track.proxies, gates, strict=True):
        proxy.interceptor = gate
    yield gates
    for proxy in track.proxies:
        proxy.interceptor = wire.Open()


def _walk(proxied: ProxiedDatabase, gates: Sequence[Gate], prefix: str, run: RaceRun) -> None:
    """Let one statement through at a time, until both sessions are done."""
    last: str | None = None
    deadline = time.monotonic() + STUCK_SECONDS
    changed = gates[0].changed
    while True:
        for gate in gates:
            _settle(proxied, gate, gates)
        with changed:
            waiting = [gate for gate in gates if gate.state is SessionState.WAITING]
            if all(gate.state is SessionState.DONE for gate in gates):
                return
            if waiting:
                gate = _choose(waiting, last, prefix, run)
                last = gate.name
                gate.let_through()
        if time.monotonic() > deadline:
            states = ", ".join(f"{gate.name} {gate.state.name.lower()}" for gate in gates)
            raise Failure(f"both commands to end within {STUCK_SECONDS:.0f} s", states)


def _check_held(gates: Sequence[Gate], run: RaceRun) -> None:
    """Raise Failure if a statement came past a gate, or if there was nothing to choose: such a run tried no order."""
    if run.choices and all(gate.let == gate.came for gate in gates):
        return
    held = " and ".join(f"{gate.let} of {gate.came} statements of {gate.name}" for gate in gates)
    raise Failure(
        "each statement held at its gate, and at least one choice of who goes on",
        f"{len(run.choices)} choices, and {held} held",
        where="the race's gates",
    )


def _choose(waiting: Sequence[Gate], last: str | None, prefix: str, run: RaceRun) -> Gate:
    """Choose when both wait: as the prefix says; beyond it, the session that went last goes on."""
    if len(waiting) == 1:
        return waiting[0]
    n = len(run.choices)
    chosen = prefix[n] if n < len(prefix) else last or NAMES[0]
    run.choices.append(Choice(chosen, last))
    return next(gate for gate in waiting if gate.name == chosen)


def _settle(proxied: ProxiedDatabase, gate: Gate, gates: Sequence[Gate]) -> None:
    """Wait until the session waits at its gate, is done, or is blocked."""
    changed = gate.changed
    with changed:
        gate.look_again()
    while True:
        with changed:
            if changed.wait_for(lambda: gate.settled, POLL_SECONDS):
                return
        others = [other.pid for other in gates if other.pid is not None]
        if gate.pid is not None and proxied.blocked(gate.pid, others):
            with changed:
                gate.note_blocked()
            return
