"""The last line of every run: how it ended · who serves the players now · which fences stand · the next command.

The stores and the services are asked when the run ends, for whatever reason it ends; nothing is concluded from what the
run meant to do. A part that does not answer is reported as unknown and raises nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from db import fence, migrate, ops
from db.cutover import ownership, pointer, rollback_steps, services, switch
from db.cutover.advice import (
    Advice,
    Command,
    Elsewhere,
    Ends,
    Fence,
    FenceOwner,
    PointerTo,
    Rest,
    Settled,
    State,
    Tool,
    advise,
)
from db.cutover.move import FAILURES, legacy_mark
from db.cutover.services import Ready
from db.environments import Environment
from db.errors import Refusal, ToolError
from db.ops import Holder, Phase
from db.redaction import redact
from game.legacy.fence_schema import Mark

LEGACY = "the legacy file"
TARGET = "Postgres"


@dataclass(frozen=True, slots=True)
class Target:
    """The state of Postgres. odd: tables whose trigger differs from the fence's state. holder: of the lock. schema: its
    revision. rows: whether a table of the game has any."""

    phase: Phase
    run: str | None
    fence: Fence
    odd: tuple[str, ...]
    identity: str
    holder: Holder | None
    marker: str | None
    schema: str | None
    rows: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """The state of an environment. A part that is None does not answer; `unknown` says why.

    amiss: why the pointer can't be read. unprepared: Postgres answers, and has no schema of ours, or an older one.
    """

    environment: str
    legacy: Mark | None
    target: Target | None
    pointer: PointerTo
    amiss: str
    services: dict[str, Ready | None]
    unknown: dict[str, str]
    unprepared: bool = False

    @property
    def serves(self) -> str:
        """Who serves the players now, in a clause."""
        file_open = self.legacy is not None and self.legacy.state == "open"
        target_open = self.target is not None and self.target.fence is Fence.OPEN
        if file_open and target_open:
            return "BOTH STORES TAKE WRITES: stop the service"
        if file_open:  # The stores are never both open, so this is true also if Postgres does not answer.
            return self._served("legacy", "SQLite")
        if target_open:
            return self._served("postgres", "Postgres")
        if self.legacy is None or self.target is None:
            return "who serves the players is not known"
        return "nobody plays: both stores are read-only"

    @property
    def legacy_fence(self) -> str:
        """The fence of the legacy file, and its run."""
        if self.legacy is None:
            return f"not known: {self.unknown[LEGACY]}"
        return self.legacy.state if self.legacy.owner is None else f"{self.legacy.state} by run {self.legacy.owner.run}"

    @property
    def target_fence(self) -> str:
        """The fence of Postgres, and the tables on which it differs."""
        if self.target is None:
            return f"not known: {self.unknown[TARGET]}"
        return str(self.target.fence) + (f", but not on {', '.join(self.target.odd)}" if self.target.odd else "")

    @property
    def fences(self) -> str:
        """Both fences, in a clause."""
        legacy = "not known" if self.legacy is None else self.legacy_fence
        return f"SQLite {legacy}, Postgres {'not known' if self.target is None else self.target_fence}"

    @property
    def advice(self) -> Advice | None:
        """The advice that ends this state; None if a store does not answer."""
        if self.legacy is None or self.target is None:
            return None
        return advise(
            State(
                self.target.phase, Fence(self.legacy.state), _owner(self.legacy, self.target), self.target.fence,
                self.pointer, _tool(self.target.holder), self._rest(self.target),
            )
        )  # fmt: skip

    @property
    def next(self) -> str:
        """The next command, in a clause; a pointer that can't be read is to be mended first, for no command can."""
        silent = [url for url, ready in self.services.items() if ready is None]
        first = [f"mend the pointer ({self.amiss})"] if self.amiss else []
        if silent:  # A restart hook that signals a process can't start one that is gone.
            first.append(f"start the service at {', '.join(silent)}, which does not answer")
        return ", then ".join([*first, self._next])

    @property
    def _next(self) -> str:
        match self.advice:
            case Ends(command, why, loses):
                return f"{_command(command, self.environment)} ({why}{'; ' + loses if loses else ''})"
            case Elsewhere(do):
                holder = self.target.holder if self.target is not None else None
                return do if holder is None else f"{do} It is {holder}."
            case Settled(next=None):
                return "nothing is left to do"
            case Settled(next=command):
                assert command is not None
                ends = _command(command, self.environment)
                # What ended well is not to be taken back because a line says that this is next.
                return f"no move is under way; to go back: {ends}" if command is Command.ROLLBACK else ends
            case None:
                env = self.environment
                later = f"invoke status --env {env}, once {' and '.join(self.unknown)} answers"
                return f"invoke prepare --env {env}" if self.unprepared else later
            case unreachable:
                return f"look at the stores: no run leaves them in this state ({unreachable.guard})"

    def _rest(self, target: Target) -> Rest:
        """What the last steps do, which no fence and no phase tells of: restart every process, put the rows away."""
        served = len(self._serving("postgres" if target.phase is Phase.LIVE else "legacy")) == len(self.services)
        put_away = target.phase is not Phase.RETURNED or not target.rows
        return Rest.DONE if served and put_away else Rest.LEFT

    def _serving(self, engine: str) -> list[str]:
        return [url for url, r in self.services.items() if r is not None and (r.engine, r.fence) == (engine, "open")]

    def _served(self, engine: str, name: str) -> str:
        asked = len(self.services)
        serving = self._serving(engine)
        if len(serving) == asked:
            return f"players play on {name}"
        if not serving:
            return f"nobody plays: {name} takes writes, and no process serves it"
        return f"players play on {name}, by {len(serving)} of {asked} processes"


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended; each part is text for people."""

    outcome: str
    serves: str
    fences: str
    next: str

    @property
    def line(self) -> str:
        """The last line of a run."""
        return f"{self.outcome} · {self.serves} · {self.fences} · next: {self.next}"


def ended(env: Environment, outcome: str, todo: str = "") -> Ending:
    """Describe the environment after a run with this outcome. todo: what is next, if the stores don't decide it."""
    seen = look(env)
    # The refusal names what stands in the way of the command that would be next.
    first = "do what is said above, then: " if outcome == "refused" and isinstance(seen.advice, Settled) else ""
    return Ending(outcome, seen.serves, seen.fences, todo or first + seen.next)


def look(env: Environment) -> Seen:
    """Ask both stores, the pointer and the services. Raises nothing if a part does not answer."""
    unknown: dict[str, str] = {}
    legacy: Mark | None = None
    target: Target | None = None
    try:
        legacy = legacy_mark(env.legacy.path)
    except FAILURES as error:
        unknown[LEGACY] = redact(" ".join(str(error).split()))
    unprepared = False
    try:
        target = _target(env)
    except (ToolError, *FAILURES) as error:
        unknown[TARGET] = redact(" ".join(str(error).split()))
        unprepared = isinstance(error, Refusal) and "invoke prepare" in error.do
    answers = {url: services.ask(url) for url in env.services}
    return Seen(env.name, legacy, target, switch.pointed(env), _amiss(env), answers, unknown, unprepared)


def _amiss(env: Environment) -> str:
    try:
        pointer.url(env.pointer)
    except Refusal as error:
        return " ".join(str(error).split())
    return ""


def _target(env: Environment) -> Target:
    with ops.connect(env.target_direct) as conn:
        schema = migrate.current(conn)
        state = Fence.FENCED
        odd: tuple[str, ...] = ()
        marker = ops.marker(conn)
        phase, run = ops.phase(conn), ops.phase_run(conn)
        rows = False
        if schema:
            recorded = fence.said(conn)
            state, odd = Fence(recorded), fence.odd(conn, recorded)
            rows = rollback_steps.has_rows(conn)
        return Target(phase, run, state, odd, ops.identity(conn), ops.holder(conn), marker, schema, rows)


def _tool(holder: Holder | None) -> Tool:
    if holder is None:
        return Tool.NONE
    return Tool.STOPPED if holder.stopped else Tool.ALIVE


def _owner(mark: Mark, target: Target) -> FenceOwner:
    if mark.state == "open" or mark.owner is None:
        return FenceOwner.NOBODY
    if not ownership.is_of(mark, target.identity):
        return FenceOwner.ANOTHER_DATABASE
    return FenceOwner.THIS_RUN if mark.owner.run == target.run else FenceOwner.ANOTHER_RUN


def _command(command: Command, environment: str) -> str:
    verb, abort, _ = command.value.partition(" --abort")
    return f"{verb} --env {environment}{abort}"
