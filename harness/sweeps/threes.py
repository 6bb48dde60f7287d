"""Races of three sessions, by bounded preemption: all orders are too many, so some are drawn, from a seed.

An order follows from priorities: of those who wait, the highest goes on. At one to MOST_PREEMPTIONS steps, drawn too,
who would go on falls behind all others (Burckhardt et al., 2010: a bug that needs d such steps is found with a
probability that does not shrink with the length of the race, but as 1 in n to the power of d - 1 of its n steps).
Whatever the order, the end must be that of one of the six serial orders. An order costs some 100 ms.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import permutations
from random import Random

from harness.play.arena import StartingPlayer
from harness.play.requests import FinalState
from harness.sweeps.parties import Opening, Party
from harness.sweeps.proxied_database import ProxiedDatabase
from harness.sweeps.race_gates import Gate
from harness.sweeps.race_run import NAMES, Choose, RaceRun, answer_of, by_prefix, run_order
from harness.sweeps.races import FailedOrder, Raced, failed_order
from harness.wire import Proxy

SEED = "three at once"
"""The seed of all orders that are drawn; it stands in a gate's certificate."""

MOST_PREEMPTIONS = 3
ORDERS_OF_A_GATE = 32
"""The drawn orders of one race, beside its six serial orders. A fixed number, not a time: a certificate counts the
orders.

One order in twelve shows a lock that was given up after a wait: 16 miss it one time in four, 32 one in sixteen.
"""

ORDERS_OF_ALL = 160


@dataclass(frozen=True)
class PreparedThree:
    """A race of three: its name, the players, and how each party is opened, by what a failure calls it."""

    name: str
    starts: tuple[StartingPlayer, ...]
    parties: Mapping[str, Opening]


class Drawn:
    """One drawn order: priorities, and the steps at which the first of those who wait falls behind."""

    def __init__(self, chance: Random, steps: int, preemptions: int) -> None:
        self._priorities = chance.sample(NAMES, len(NAMES))
        # Not at the first step: nobody has gone on yet.
        self._falls = frozenset(chance.sample(range(2, max(steps, preemptions + 1) + 1), preemptions))
        self._step = 0

    def __call__(self, waiting: Sequence[Gate], last: str | None) -> Gate:
        """Return who goes on; see `race_run.Choose`."""
        del last
        self._step += 1
        if self._step in self._falls:
            first = self._first(waiting)
            self._priorities.remove(first.name)
            self._priorities.append(first.name)
        return self._first(waiting)

    def _first(self, waiting: Sequence[Gate]) -> Gate:
        return min(waiting, key=lambda gate: self._priorities.index(gate.name))


def draws(name: str, orders: int, steps: int) -> Iterator[Choose]:
    """Yield so many orders of the race of that name. steps: how many choices an order of it has, more or less."""
    for number in range(orders):
        chance = Random(f"{SEED}/{name}/{number}")  # noqa: S311  # no secret: it must repeat itself
        yield Drawn(chance, steps, 1 + number % MOST_PREEMPTIONS)


def sweep(
    three: PreparedThree, proxied: ProxiedDatabase, orders: int, order: str | None = None, *, to_first: bool = False
) -> Raced:
    """Run so many drawn orders of the race, or the one that is given.

    to_first: end at the first that fails, so that the database stays as it left it.
    """
    began = time.monotonic()
    failures: list[FailedOrder] = []
    longest = tried = 0
    with _opened(three, proxied) as (proxies, parties):
        serial = _serial(proxied, parties)
        todo: Iterator[Choose] = iter((by_prefix(order or ""),))
        while (choose := next(todo, None)) is not None:
            run = _run(proxied, proxies, parties, choose)
            failures += failed_order(run, FinalState(tuple(run.answers), proxied.read()), serial)
            if failures and to_first:
                break
            if not tried and order is None:  # The first order tells how many choices there are to draw from.
                todo = draws(three.name, orders - 1, len(run.choices))
            tried += 1
            longest = max(longest, len(run.choices))
        else:
            proxied.unfence()
    seconds = time.monotonic() - began
    return Raced(serial, tried, longest, whole=True, seconds=seconds, failures=tuple(failures))


@contextmanager
def _opened(three: PreparedThree, proxied: ProxiedDatabase) -> Iterator[tuple[list[Proxy], list[Party]]]:
    """Open each party's session behind a proxy of its own, and close them all."""
    with ExitStack() as stack:
        proxied.place(three.starts)
        proxies = [stack.enter_context(Proxy(proxied.proxy.upstream)) for _ in three.parties]
        openings = zip(three.parties.values(), proxies, strict=True)
        parties = [stack.enter_context(closing(opening(proxied, proxy))) for opening, proxy in openings]
        yield proxies, parties


def _serial(proxied: ProxiedDatabase, parties: Sequence[Party]) -> dict[str, FinalState]:
    """Run the six serial orders. Returns their ends by the names of the parties, in their order."""
    ends = {}
    for order in permutations(zip(NAMES, parties, strict=True)):
        proxied.unfence()
        proxied.put_back()
        answers = tuple((party.label, answer_of(party, [])) for _, party in order)
        ends["".join(name for name, _ in order)] = FinalState(answers, proxied.read())
    return ends


def _run(proxied: ProxiedDatabase, proxies: Sequence[Proxy], parties: Sequence[Party], choose: Choose) -> RaceRun:
    proxied.unfence()
    proxied.put_back()
    return run_order(proxied, proxies, parties, choose)
