"""Runs one order of a race: each party behind a gate that holds its statements, and a choice of who goes on.

A walk runs until each session waits at its gate, is blocked by another or is done; where more than one waits, there is
a choice. BEGIN and ROLLBACK are no choices: they see and change nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

from db.errors import Failure
from harness import wire
from harness.play.defects import Defect, Raised
from harness.sweeps.parties import Party
from harness.sweeps.proxied_database import ProxiedDatabase
from harness.sweeps.race_gates import Event, Gate, SessionState
from harness.wire import Proxy

NAMES = ("a", "b", "c")
POLL_SECONDS = 0.002
STUCK_SECONDS = 30.0

Choose: TypeAlias = Callable[[Sequence[Gate], str | None], Gate]
"""Returns who of those that wait goes on; the second argument is who went on last."""


@dataclass(frozen=True)
class Choice:
    """The session that was let through when more than one waited, and the one that had gone last."""

    chosen: str
    last: str | None

    @property
    def preempts(self) -> bool:
        """Return True if it takes the turn from a session that could have gone on."""
        return self.last is not None and self.chosen != self.last


@dataclass
class RaceRun:
    """One order, as it was run: who was chosen, what each session did, and the answer of each party by its label."""

    choices: list[Choice] = field(default_factory=list)
    timeline: list[Event] = field(default_factory=list)
    defects: list[Defect] = field(default_factory=list)
    answers: list[tuple[str, str]] = field(default_factory=list)

    @property
    def order(self) -> str:
        """Return the names of those who were chosen, one letter each."""
        return "".join(choice.chosen for choice in self.choices)


def run_order(proxied: ProxiedDatabase, proxies: Sequence[Proxy], parties: Sequence[Party], choose: Choose) -> RaceRun:
    """Run the parties at once, in the order that `choose` makes. Raises Failure if a statement passed a gate unheld."""
    run = RaceRun()
    with _gates(proxies, run) as gates, ThreadPoolExecutor(len(parties)) as pool:
        racing = [pool.submit(_raced, party, gate, run.defects) for party, gate in zip(parties, gates, strict=True)]
        try:
            _walk(proxied, gates, choose, run)
            _check_held(gates, run)
        finally:
            for gate in gates:
                gate.give_up()
        run.answers = [(party.label, each.result(STUCK_SECONDS)) for party, each in zip(parties, racing, strict=True)]
    return run


def by_prefix(prefix: str) -> Choose:
    """Choose as the prefix says; beyond it, or where that one does not wait, the session that went last goes on."""
    letters = iter(prefix)

    def choose(waiting: Sequence[Gate], last: str | None) -> Gate:
        wanted = next(letters, last or NAMES[0])
        by_name = {gate.name: gate for gate in waiting}
        return by_name.get(wanted) or by_name.get(last or "") or waiting[0]

    return choose


def answer_of(party: Party, defects: list[Defect]) -> str:
    """Run the party. A defect of the game becomes an answer that no serial order gives, and is noted in `defects`."""
    try:
        return party.run()
    except Raised as raised:
        defects.append(raised.defect)
        return f"raised {raised.defect.what}, at {raised.defect.where}"


def _raced(party: Party, gate: Gate, defects: list[Defect]) -> str:
    try:
        return answer_of(party, defects)
    finally:
        gate.done()


@contextmanager
def _gates(proxies: Sequence[Proxy], run: RaceRun) -> Iterator[tuple[Gate, ...]]:
    changed = threading.Condition()
    gates = tuple(Gate(name, changed, run.timeline) for name, _ in zip(NAMES, proxies, strict=False))
    for proxy, gate in zip(proxies, gates, strict=True):
        proxy.interceptor = gate
    yield gates
    for proxy in proxies:
        proxy.interceptor = wire.Open()


def _walk(proxied: ProxiedDatabase, gates: Sequence[Gate], choose: Choose, run: RaceRun) -> None:
    """Let one statement through at a time, until all sessions are done."""
    last: str | None = None
    deadline = time.monotonic() + STUCK_SECONDS
    changed = gates[0].changed
    while True:
        _settle_all(proxied, gates)
        with changed:
            waiting = [gate for gate in gates if gate.state is SessionState.WAITING]
            if all(gate.state is SessionState.DONE for gate in gates):
                return
            if waiting:
                gate = choose(waiting, last) if len(waiting) > 1 else waiting[0]
                if len(waiting) > 1:
                    run.choices.append(Choice(gate.name, last))
                last = gate.name
                gate.let_through()
        if time.monotonic() > deadline:
            states = ", ".join(f"{gate.name} {gate.state.name.lower()}" for gate in gates)
            raise Failure(f"all sessions to end within {STUCK_SECONDS:.0f} s", states)


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


def _settle_all(proxied: ProxiedDatabase, gates: Sequence[Gate]) -> None:
    """Wait until no session does anything by itself.

    One that was blocked is looked at once all others rest: what they released may have let it go on.
    """
    while True:
        for gate in gates:
            _settle(proxied, gate, gates)
        with gates[0].changed:
            blocked = [gate for gate in gates if gate.state is SessionState.BLOCKED]
        woken = [gate for gate in blocked if not _is_blocked(proxied, gate, gates)]
        for gate in woken:
            with gate.changed:
                gate.look_again()
        if not woken:
            return


def _settle(proxied: ProxiedDatabase, gate: Gate, gates: Sequence[Gate]) -> None:
    """Wait until the session waits at its gate, is done, or is blocked."""
    changed = gate.changed
    while True:
        with changed:
            if changed.wait_for(lambda: gate.settled, POLL_SECONDS):
                return
        if _is_blocked(proxied, gate, gates):
            with changed:
                gate.note_blocked()
            return


def _is_blocked(proxied: ProxiedDatabase, gate: Gate, gates: Sequence[Gate]) -> bool:
    """Return True if the session waits for a lock that another of the race holds or awaits."""
    others = [other.pid for other in gates if other.pid is not None]
    return gate.pid is not None and proxied.blocked(gate.pid, others)
