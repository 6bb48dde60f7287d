"""The race sweep: two commands of one player in every feasible order of their statements must end as in a serial one.

Each order is run by `race_run`. Depth first, fewest preemptions first: the first order that fails is the smallest. An
order costs some 30 ms.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from harness.databases import Database
from harness.play import arena, invariants, requests
from harness.play.arena import StartingPlayer
from harness.play.defects import Defect
from harness.play.differences import Difference
from harness.play.requests import FinalState, PreparedRequest
from harness.scenarios.model import Scenario
from harness.scenarios.yaml_reader import Path
from harness.sweeps.parties import CommandParty
from harness.sweeps.proxied_database import ProxiedDatabase
from harness.sweeps.race_gates import Event
from harness.sweeps.race_run import NAMES, Choice, RaceRun, by_prefix, run_order
from harness.wire import Proxy

PAIR = NAMES[:2]
MOST_ORDERS = 300
"""The most orders of one race; commands that lock their player first have some ten."""


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
    """The result of a sweep. `serial`: the ends of the serial orders, by the names in order. `whole`: nothing left."""

    serial: Mapping[str, FinalState]
    orders: int
    longest: int
    whole: bool
    seconds: float
    failures: tuple[FailedOrder, ...]


@dataclass
class Track:
    """Two sessions of one application on one database, warm, each behind a proxy of its own."""

    proxied: ProxiedDatabase

    def __post_init__(self) -> None:
        self.proxies = tuple(Proxy(self.proxied.proxy.upstream) for _ in PAIR)
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
            run, end = _run(race, track, prefix)
        except Exception as error:
            error.add_note(f"in the order {prefix or 'that comes first'} of a race")
            raise
        orders += 1
        longest = max(longest, len(run.choices))
        failures += failed_order(run, end, serial)
        if failures and to_first:
            break
        if order is None:
            for alternative in _alternatives(run.choices, len(prefix)):
                heapq.heappush(todo, (alternative[0], orders, alternative[1]))
    return Raced(serial, orders, longest, not todo, time.monotonic() - began, tuple(failures))


def _alternatives(choices: Sequence[Choice], settled: int) -> Iterator[tuple[int, str]]:
    """Return the other choices, beyond what was settled before: preemptions, and the choices up to there."""
    for n in range(settled, len(choices)):
        other = Choice(PAIR[1 - PAIR.index(choices[n].chosen)], choices[n].last)
        path = (*choices[:n], other)
        yield sum(choice.preempts for choice in path), "".join(choice.chosen for choice in path)


def _serial(race: PreparedRace, proxied: ProxiedDatabase) -> dict[str, FinalState]:
    """Run the case past the proxy without a race, once for each order of the two commands, with those before and after.

    Return the final states by the two names in their order. Raises Failure if a final state breaks an invariant.
    """
    proxied.place(race.starts)
    ends = {}
    for order in (PAIR, PAIR[::-1]):
        proxied.put_back()
        opening = proxied.read()
        racers = (race.racers[PAIR.index(name)] for name in order)
        todo = (*race.before, *racers, *race.after)
        end = FinalState(tuple(_answers(proxied, todo)), proxied.read())
        invariants.require_sound(opening, end.rows, f"the serial order {''.join(order)}")
        ends["".join(order)] = end
    return ends


def _answers(proxied: ProxiedDatabase, todo: Sequence[PreparedRequest]) -> list[tuple[str, str]]:
    """Carry out the commands one after the other, past the proxies. Returns each label and answer."""
    return [(prepared.label, requests.carry_out(proxied.direct, prepared)) for prepared in todo]


def failed_order(run: RaceRun, end: FinalState, serial: Mapping[str, FinalState]) -> list[FailedOrder]:
    """Return the order as one that failed, beside the serial order that it is nearest to; nothing if it is as one."""
    differences = {name: requests.differences(each, end) for name, each in serial.items()}
    if not all(differences.values()):
        return []
    nearest = min(differences, key=lambda name: len(differences[name]))
    return [FailedOrder(run.order, nearest, tuple(run.timeline), tuple(differences[nearest]), tuple(run.defects))]


def _run(race: PreparedRace, track: Track, prefix: str) -> tuple[RaceRun, FinalState]:
    track.proxied.put_back()
    before = _answers(track.proxied, race.before)
    parties = [CommandParty(prepared, store) for prepared, store in zip(race.racers, track.stores, strict=True)]
    run = run_order(track.proxied, track.proxies, parties, by_prefix(prefix))
    after = _answers(track.proxied, race.after)
    return run, FinalState((*before, *run.answers, *after), track.proxied.read())
