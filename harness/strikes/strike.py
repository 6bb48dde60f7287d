"""One strike: a start, a run that is struck at a position, what the operator does then, and what is left at the end."""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from multiprocessing.process import BaseProcess

from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from db.cutover import ending
from db.cutover.advice import Ends, Settled
from db.ops import Phase
from harness.history.violations import GRANTED_TOO_OFTEN
from harness.strikes import tool
from harness.strikes.director import Director, How
from harness.strikes.events import Event, Position
from harness.strikes.players import Players
from harness.strikes.runbooks import LIVE, runbooks
from harness.strikes.tool import Order
from harness.strikes.watcher import Watcher
from harness.strikes.world import Start, World

ENDS_SECONDS = 300.0
WINDOW = "window"
SETTLES_SECONDS = 20.0
SAYS_SECONDS = 2.0
"""Seconds after which the watchdog counts as failed; it takes one."""
FOLLOWED = 4
"""After so many printed commands the move counts as a dead end."""

SHOWN = 3
"""So many last lines of a command's output go into a report."""

MEANWHILE, AFTERWARDS = 2, 3
"""Requests of players at the instant of the strike, and at the end; between them they ask all the time."""

REFUSED = 2
UNDONE = 4
CODES = frozenset({0, 1, REFUSED, 3, UNDONE})
SERVES = {"players play on SQLite": "legacy", "players play on Postgres": "postgres"}
_RUNS = itertools.count()
_NEXT = re.compile(r"invoke (\w+) --env \w+( --offline)?( --abort)?")


class Then(StrEnum):
    """The operator's reaction to the strike: run the same command again, or undo."""

    AGAIN = "again"
    ABORT = "abort"


@dataclass(frozen=True)
class Move:
    """A run of a runbook that is struck, or its undo, and where it begins."""

    runbook: str
    abort: bool
    start: Start

    @property
    def name(self) -> str:
        """Return the runbook's name, with ` --abort` for its undo."""
        return f"{self.runbook}{' --abort' if self.abort else ''}"


@dataclass(frozen=True)
class Case:
    """One strike: the position in the move, how the tool is struck there, and what is run after it."""

    at: Position
    how: How
    then: Then

    def __str__(self) -> str:
        return f"{self.how} at {self.at}, then {self.then}"


@dataclass
class Outcome:
    """The result of a strike. struck: the tool came to the position. problems: a sentence each; log: each command."""

    struck: bool = True
    lost: int = 0
    doubled: int = 0
    dead_ends: int = 0
    problems: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)


@dataclass
class Recorded:
    """A run that nothing struck. looked: how often the watcher looked; breaches: what it saw."""

    events: list[Event] = field(default_factory=list)
    looked: int = 0
    breaches: list[str] = field(default_factory=list)


class Run:
    """A run of the tool as a process of its own. director: holds it at each event; None: it runs unheld."""

    def __init__(
        self, world: World, runbook: str, *, abort: bool, director: Director | None = None, **order_more: float
    ) -> None:
        self._output = world.folder.parent / f"output-{next(_RUNS)}"
        order = Order(world.env, world.folder, world.server.handle(), runbook, abort, self._output, **order_more)
        self.command = order.line
        self._output.write_text("")
        parent_end, child_end = (None, None) if director is None else tool.FORK.Pipe()
        self._process: BaseProcess = tool.FORK.Process(target=tool.run, args=(order, child_end))
        self._process.start()
        if director is not None:
            assert parent_end is not None
            assert child_end is not None
            assert self._process.pid is not None
            child_end.close()
            director.pid = self._process.pid
            threading.Thread(target=director.serve, args=(parent_end,), name="director", daemon=True).start()

    def wait(self) -> int:
        """Wait for its end and return its exit code. Raises TimeoutError."""
        self._process.join(ENDS_SECONDS)
        if self._process.exitcode is None:
            self.kill()
            raise TimeoutError(f"{self.command} did not end within {ENDS_SECONDS:.0f} s: {self.printed[-2000:]}")
        return self._process.exitcode

    def ended_by_the_watchdog(self) -> None:
        """Wait for it to be ended by the watchdog of a window, and for that to settle what it left."""
        self._process.join(2 * tool.ENDS_A_WINDOW_SECONDS)

    def kill(self) -> None:
        """Kill it, and wait until it is gone."""
        self._process.kill()
        self._process.join()

    @property
    def alive(self) -> bool:
        """Return True if the process has not ended."""
        return self._process.is_alive()

    @property
    def printed(self) -> str:
        """Return all that it printed."""
        return self._output.read_text()

    @property
    def last_line(self) -> str:
        """Return the last line that it printed."""
        return (self.printed.strip().splitlines() or [""])[-1]


def record(world: World, move: Move, *, look_at: Callable[[Event], bool] | None = None) -> Recorded:
    """Run the move unstruck, with a look from outside while it is held at each event for which `look_at` is true."""
    world.restore(move.start)
    recorded = Recorded()
    with world.watcher() as watcher:

        def look(event: Event) -> None:
            if look_at is None or not look_at(event):
                return
            recorded.looked += 1
            if breach := watcher.look():
                recorded.breaches.append(f"before {event.step}, {event.kind}: {breach}")

        director = Director(watch=look)
        world.proxy.interceptor = director
        try:
            run = Run(world, move.runbook, abort=move.abort, director=director)
            code = run.wait()
        finally:
            world.proxy.interceptor = Director()
    assert code in (0, UNDONE), f"{move.name} ended with {code}: {run.printed}"
    recorded.events = director.events
    return recorded


def kill_at(world: World, move: Move, at: Position) -> None:
    """Kill the move at a position, and leave the world as it is then."""
    world.restore(move.start)
    director = Director(at, How.KILL)
    world.proxy.interceptor = director
    try:
        Run(world, move.runbook, abort=move.abort, director=director).wait()
    finally:
        world.proxy.interceptor = Director()
    assert director.struck.wait(SAYS_SECONDS), f"{move.name} never came to {at}"


def strike(world: World, move: Move, case: Case) -> Outcome:
    """Strike the move, react, follow the printed commands to an end, and judge what is there."""
    world.restore(move.start)
    outcome = Outcome()
    players = world.players(move.start.log)
    with world.watcher() as watcher:
        with players.playing():
            _Striking(world, move, case, outcome, players, watcher).carry_out()
        _judge(world, players, watcher, outcome)
    return outcome


class _Striking:
    """Carries out one strike, and notes into its outcome what was run after it and what went wrong."""

    def __init__(
        self, world: World, move: Move, case: Case, outcome: Outcome, players: Players, watcher: Watcher
    ) -> None:
        self._world, self._move, self._case, self._outcome = world, move, case, outcome
        self._players, self._watcher = players, watcher
        self._runbook = runbooks()[move.runbook]
        self._wanted: bool | None = None
        self._refused = False
        """The move that the operator wanted was refused: what was under way is to be finished first."""

    def carry_out(self) -> None:
        """Run, strike, and go on to the end."""
        case = self._case
        director = Director(case.at, case.how, self._look)
        self._world.proxy.interceptor = director
        self._earlier = self._runs()
        run = self._run = Run(self._world, self._move.runbook, abort=self._move.abort, director=director)
        try:
            ended = self._until_struck(run, director)
            if not ended and case.how is How.STOP:
                self._stopped(run, director)
            else:
                self._note(run)
                self._players.play(MEANWHILE)
                if case.at.step == WINDOW:
                    self._watchdog_settles()
                self._react()
        finally:
            director.release()
            if run.alive:
                run.kill()
            self._world.proxy.interceptor = Director()
        self._follow()
        if self._refused:
            self._note(Run(self._world, self._move.runbook, abort=False))
            self._follow()
        self._judge_end()

    def _runs(self) -> list[str]:
        """Return the folders of the runs that have begun: each makes its own once it has the lock."""
        return sorted(path.name for path in (self._world.folder / "runs").glob("*"))

    def _watchdog_settles(self) -> None:
        """Wait for the moment that a watchdog takes after the death of its tool; an operator is not faster."""
        settled = Retrying(
            retry=retry_if_result(lambda settled: not settled),
            stop=stop_after_delay(SETTLES_SECONDS),
            wait=wait_fixed(0.05),
            retry_error_callback=lambda _: self._problem("the watchdog has settled nothing"),
        )
        settled(self._watcher.is_settled)

    def _until_struck(self, run: Run, director: Director) -> bool:
        """Wait until the run is struck or has ended, and note which. Return False if the strike has stopped it."""
        while run.alive and not director.struck.wait(0.02):
            pass
        # A killed run can be seen dead before its director, which killed it, gets to say so.
        self._outcome.struck = director.struck.wait(SAYS_SECONDS)
        if not self._outcome.struck:
            self._outcome.problems.append(f"the run never came there: {run.last_line}")
        return not (self._outcome.struck and self._case.how is How.STOP)

    def _stopped(self, run: Run, director: Director) -> None:
        """Let a stopped run be named, lose its sessions, and be overtaken by another run; then wake it."""
        self._players.play(MEANWHILE)
        begun = self._move.abort or self._runs() != self._earlier  # An undo has the folder of what it undoes.
        seen = ending.look(self._world.env)
        if isinstance(seen.advice, Settled | Ends) and seen.target is not None and seen.target.holder is not None:
            self._problem(f"a stopped run holds the lock, and what is next does not say so: {seen.next}")
        self._world.cut_sessions()
        self._world.proxy.interceptor = Director(watch=self._look)
        if self._case.at.step == WINDOW:
            run.ended_by_the_watchdog()
        finished = self._react()
        before = ending.look(self._world.env)
        director.release()
        self._note(run)
        if not begun:  # There was nothing to undo, and the woken run begins: it asks its operator first.
            self._wanted = None
            return
        after = ending.look(self._world.env)
        if finished and isinstance(before.advice, Settled) and _stands(before) != _stands(after):
            self._problem(f"the woken run changed what was settled: {before.fences}; now {after.fences}")

    def _react(self) -> bool:
        """Run the operator's command. Return True if it succeeded, or said that nothing is left to do."""
        abort = self._move.abort is (self._case.then is Then.AGAIN)
        self._world.proxy.interceptor = Director(watch=self._look)
        wanted = not abort or self._phase() is self._runbook.beyond
        code = self._note(Run(self._world, self._move.runbook, abort=abort))
        finished, self._refused = code in (0, UNDONE), code == REFUSED and not abort
        # A stopped run may hold what this one needs: then the next run ends it, one way or the other.
        self._wanted = wanted if finished or self._case.how is not How.STOP else None
        return finished

    def _follow(self) -> None:
        """Follow what `status` prints until nothing is under way."""
        for _ in range(FOLLOWED):
            seen = ending.look(self._world.env)
            if not isinstance(seen.advice, Ends):
                break
            command = _NEXT.search(seen.next)
            if command is None:
                break
            name = command[1] if command[2] else LIVE.format(command[1])
            self._note(Run(self._world, name, abort=bool(command[3])))

    def _judge_end(self) -> None:
        """Judge whether nothing is under way, and whether what the operator wanted was done."""
        seen = ending.look(self._world.env)
        if not isinstance(seen.advice, Settled) or seen.serves not in SERVES:
            self._outcome.dead_ends += 1
            self._problem(f"a dead end: {seen.serves} · {seen.fences} · next: {seen.next}")
        if self._wanted is not None and (self._phase() is self._runbook.beyond) is not self._wanted:
            self._problem(f"the operator wanted it {'done' if self._wanted else 'undone'}; {seen.serves}")

    def _note(self, run: Run) -> int:
        code = run.wait()
        self._outcome.log.append(f"{run.command}: {code}: {' / '.join(run.printed.strip().splitlines()[-SHOWN:])}")
        # A tool that is stopped in a window is ended by its watchdog.
        struck_dead = code < 0 and self._case.how in (How.KILL, How.STOP) and run is self._run
        if (code not in CODES and not struck_dead) or "Traceback" in run.printed:
            self._problem(f"{run.command} ended with {code}: {run.printed[-1500:]}")
        return code

    def _look(self, event: Event) -> None:
        if event.keeps and (breach := self._watcher.look()):
            self._problem(f"before {event.step}, {event.kind}: {breach}")

    def _phase(self) -> Phase:
        return self._watcher.phase()

    def _problem(self, text: str) -> None:
        self._outcome.problems.append(text)


def _judge(world: World, players: Players, watcher: Watcher, outcome: Outcome) -> None:
    """Judge the history of the players, and check which store takes writes."""
    seen = ending.look(world.env)
    engine = SERVES.get(seen.serves)
    if engine is None:
        return
    players.play(AFTERWARDS)
    players.settle()
    if (writable := watcher.writable()) != (engine,):
        outcome.problems.append(f"{seen.serves}, and writes are taken by {', '.join(writable) or 'no store'}")
    judged = world.judge(players.log, engine)
    altered = world.altered(players.log, engine)
    too_often = sum(violation.kind in GRANTED_TOO_OFTEN for violation in judged.violations)
    outcome.lost += len(judged.violations) - too_often + len(altered)
    outcome.doubled += too_often
    outcome.problems += [*map(str, judged.violations), *altered]
    if players.unsettled:
        outcome.problems.append(f"requests without an answer at the end: {players.unsettled}")


def _stands(seen: ending.Observation) -> tuple[object, ...]:
    """Return all but the run that a fence names: who undoes what is undone already puts its own name there."""
    legacy = None if seen.legacy is None else seen.legacy.state
    target = None if seen.target is None else (seen.target.phase, seen.target.fence)
    return legacy, target, seen.pointer, seen.services
