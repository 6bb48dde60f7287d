"""All strikes on every runbook: the moves, their positions, the cases, and the counts of their outcomes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from db.servers import Server
from harness.history.client_log import ClientLog
from harness.strikes.director import BETWEEN, How
from harness.strikes.events import BESIDE, Event, positions, selected
from harness.strikes.runbooks import runbooks, start_of
from harness.strikes.strike import Case, Move, Outcome, Recorded, Run, Then, kill_at, record, strike
from harness.strikes.world import Start, World, prepared

BEFORE = 4
"""Requests of players on each store before the move."""


@dataclass
class StrikeCounts:
    """The count of strikes, which adds up. statements: events that the struck steps have; positions: struck ones."""

    statements: int = 0
    positions: int = 0
    strikes: int = 0
    lost: int = 0
    doubled: int = 0
    dead_ends: int = 0
    seconds: float = 0.0
    by_how: Counter[str] = field(default_factory=Counter)
    by_then: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def add(self, case: Case, outcome: Outcome) -> None:
        """Add the outcome of one strike, with its log if it had problems."""
        self.strikes += outcome.struck
        self.by_how[case.how] += 1
        self.by_then[case.then] += 1
        self.lost += outcome.lost
        self.doubled += outcome.doubled
        self.dead_ends += outcome.dead_ends
        self.problems += [f"{case}: {problem}" for problem in outcome.problems]
        if outcome.problems:
            self.problems += [f"    {line}" for line in outcome.log]

    @property
    def figures(self) -> dict[str, int | float]:
        """Return the counts by name."""
        names = ("statements", "positions", "strikes", "lost", "doubled", "dead_ends")
        counts = {name: getattr(self, name) for name in names}
        return {**counts, **self.by_how, **self.by_then, "seconds": round(self.seconds, 1)}


class Strikes:
    """Strikes in one world. Starts and recordings are made when they are first needed, and kept."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._ends: dict[str, Start] = {}
        self._moves: dict[str, Move] = {}
        self._recorded: dict[str, list[Event]] = {}

    def move(self, name: str) -> Move:
        """Return the runbook of this name, or its undo. The first call makes it, and may run others before it."""
        runbook, _, abort = name.partition(" ")
        if name not in self._moves:
            start = self._midway(runbook) if abort else self._start(runbook)
            self._moves[name] = Move(runbook, bool(abort), start)
        return self._moves[name]

    def events(self, name: str) -> list[Event]:
        """Return what the move does when nothing strikes it."""
        if name not in self._recorded:
            self._recorded[name] = record(self.world, self.move(name)).events
        return self._recorded[name]

    def watch(self, name: str, *, at_all: bool = False) -> Recorded:
        """Look from outside at the move, wherever something was kept since the last look; at_all: at every event."""
        kept = [True]

        def changed(event: Event) -> bool:
            looks, kept[0] = kept[0] or at_all, event.keeps
            return looks

        recorded = record(self.world, self.move(name), look_at=changed)
        self._recorded.setdefault(name, recorded.events)
        return recorded

    def cases(self, name: str, step: str | None = None) -> Iterator[Case]:
        """Yield every case of the move, or of one of its steps.

        Where a step keeps something: in every way, with both commands. Within a transaction, and between the steps,
        where only the lock and the log are kept: in every way, and the commands take turns. At a read the ways take
        turns too: it leaves what the event before it left, which is struck itself.
        """
        for number, position in enumerate(selected(positions(self.events(name)))):
            if step is not None and position.step != step:
                continue
            hows = [how for how in How if how.fits(position)]
            if not position.changes:
                hows = [hows[number % len(hows)]]
            for turn, how in enumerate(hows, number):
                both = position.keeps and position.step != BETWEEN
                thens = tuple(Then) if both else (tuple(Then)[turn % 2],)
                yield from (Case(position, how, then) for then in thens)

    def sweep(self, name: str, step: str, how: How, *, kept: bool = False) -> StrikeCounts:
        """Try every case of the step in one way, and count what came of them. kept: only where something is kept."""
        cases = [case for case in self.cases(name, step) if case.how is how and (case.at.keeps or not kept)]
        return self.try_cases(name, cases, sum(event.step == step for event in self.events(name)))

    def try_cases(self, name: str, cases: Collection[Case], statements: int = 0) -> StrikeCounts:
        """Try these cases of a move, and count what came of them."""
        began = time.monotonic()
        counts = StrikeCounts(statements=statements, positions=len({case.at for case in cases}))
        for case in cases:
            counts.add(case, strike(self.world, self.move(name), case))
        counts.seconds = time.monotonic() - began
        return counts

    def _start(self, runbook: str) -> Start:
        """Return the state that a runbook begins from: untouched, or where another ended. The first call makes it."""
        before = start_of(runbook)
        key = before or ""
        if key not in self._ends:
            log = ClientLog()
            if before is not None:
                move = self.move(before)
                log = move.start.log
                self.world.restore(move.start)
                run = Run(self.world, move.runbook, abort=False)
                assert run.wait() == 0, run.printed
            self.world.players(log).play(BEFORE)
            self._ends[key] = self.world.save(log)
        return self._ends[key]

    def _midway(self, runbook: str) -> Start:
        """Return the state right before the point of no return: its run was killed there."""
        step = runbooks()[runbook].point_of_no_return.name
        first = next(position for position in positions(self.events(runbook)) if position.step == step)
        world, move = self.world, self.move(runbook)
        kill_at(world, move, first)
        return world.save(move.start.asked)


def moves() -> tuple[str, ...]:
    """Return the name of every move: each runbook, and the abort of each that has an undo."""
    return tuple(
        name for verb, runbook in runbooks().items() for name in (verb, *([f"{verb} --abort"] if runbook.undo else []))
    )


def steps(name: str) -> tuple[str, ...]:
    """Return the steps of a move that are struck, with what is done between them and beside them."""
    verb, _, abort = name.partition(" ")
    runbook = runbooks()[verb]
    return (BETWEEN, *(() if abort else (BESIDE,)), *(step.name for step in (runbook.undo if abort else runbook.plan)))


@dataclass(frozen=True)
class Sampled:
    """The counts of a gate for a selection of strikes, and each problem."""

    figures: dict[str, int | float]
    problems: tuple[str, ...]


def sample(server: Server, folder: Path, strikes_a_move: int) -> Sampled:
    """Look at every event of every move, and strike each at its decisive steps: so many times, evenly chosen.

    Decisive are the point of no return of a runbook, and each step of an undo.
    """
    with prepared(server, folder) as world:
        strikes = Strikes(world)
        watched, problems, counted = 0, [], []
        for name in moves():
            seen = strikes.watch(name)
            watched += len(seen.events)
            problems += [f"{name}: {breach}" for breach in seen.breaches]
            cases = [case for step in _decisive(name) for case in strikes.cases(name, step) if case.at.keeps]
            chosen = [cases[n * len(cases) // strikes_a_move] for n in range(min(strikes_a_move, len(cases)))]
            counted.append(strikes.try_cases(name, chosen))
    problems += [problem for counts in counted for problem in counts.problems]
    names = ("strikes", "lost", "doubled", "dead_ends")
    counts = {name.replace("_", " "): sum(getattr(counts, name) for counts in counted) for name in names}
    return Sampled({"moves": len(counted), "statements watched": watched, **counts}, tuple(problems))


def _decisive(name: str) -> tuple[str, ...]:
    verb, _, abort = name.partition(" ")
    runbook = runbooks()[verb]
    return tuple(step.name for step in runbook.undo) if abort else (runbook.point_of_no_return.name,)
