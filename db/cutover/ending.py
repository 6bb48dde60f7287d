"""The last line of every run: how it ended · who serves the players now · which fences stand · the next command.

The stores and the services are asked when the run ends, for whatever reason it ends; nothing is concluded from what the
run meant to do. A part that does not answer is reported as unknown and raises nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from db import snapshots
from db.counts import count
from db.cutover import fence_owner, hooks, live_status, pointer, probes, services, starting, switch, switch_record
from db.cutover.advice import (
    Advice,
    Elsewhere,
    Ends,
    EnvironmentState,
    Fence,
    FenceOwner,
    LastSteps,
    LockHolder,
    OperatorCommand,
    PointerTo,
    Settled,
    advise,
)
from db.cutover.context import FAILURES
from db.cutover.live_status import LiveStatus
from db.cutover.probes import LEGACY, TARGET, CaptureState, TargetAnswer, TargetState, UnknownState
from db.cutover.services import Ready
from db.cutover.starting import StartCommand
from db.environments import DEVELOPMENT, Environment
from db.errors import Refusal, ToolError
from db.legacy.opening import is_absent
from db.ops import Phase
from db.ops.emergency import Emergency
from db.ops.locks import Holder
from db.remedies import seeding
from db.snapshots import Label, Side
from game.legacy.fence_schema import FenceMark

NOTHING_AGAIN: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Observation:
    """The state of an environment. A part that is None does not answer; `unknown` says why.

    amiss: why the pointer can't be read. silent: by service, why it does not answer. asked: the answer of Postgres.
    starts: how silent ones are started.
    unfinished: the game is live, and Postgres has no verified snapshot since. switching: the switch to the store of the
    phase was not completed. undoing: an undo was begun. hook: the signature of a hook at work, or "". capture: change
    capture on the file, if it is on.
    """

    environment: str
    legacy: FenceMark | None
    asked: TargetAnswer
    pointer: PointerTo
    amiss: str
    services: dict[str, Ready | None]
    silent: dict[str, str]
    unknown: dict[str, UnknownState]
    unfinished: bool = False
    switching: bool = False
    undoing: bool = False
    hook: str = ""
    capture: CaptureState | None = None
    starts: tuple[StartCommand, ...] = ()

    @property
    def target(self) -> TargetState | None:
        """Return the state of Postgres, if all of it could be asked."""
        return self.asked.target

    @property
    def serves(self) -> str:
        """Say in a clause which store serves the players now."""
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
        if self.emergency is not None:
            return f"nobody plays: an emergency fence stands on {self.emergency.store}"
        return "nobody plays: both stores are read-only"

    @property
    def emergency(self) -> Emergency | None:
        """Return the fence that somebody set by `invoke fence`, if one stands; by its record, or by the file alone."""
        if self.asked.control is None:
            return None
        return self.asked.control.emergency or fence_owner.unrecorded(self.legacy, self.asked.control.identity)

    @property
    def live(self) -> LiveStatus | None:
        """Return where a live attempt stands; None if none is under way, or a store does not answer."""
        if self.legacy is None or self.target is None:
            return None
        return live_status.of(self.legacy, self.capture, self.target)

    @property
    def legacy_fence(self) -> str:
        """Return the fence of the legacy file, and its run."""
        if self.legacy is None:
            return f"not known: {self.unknown[LEGACY].why}"
        return self.legacy.state if self.legacy.owner is None else f"{self.legacy.state} by run {self.legacy.owner.run}"

    @property
    def target_fence(self) -> str:
        """Return the fence of Postgres, and the tables on which it differs."""
        if self.target is None:
            return f"not known: {self.unknown[TARGET].why}"
        return str(self.target.fence) + (
            f", but not on {', '.join(self.target.inconsistent)}" if self.target.inconsistent else ""
        )

    @property
    def fences(self) -> str:
        """Return both fences, in a clause."""
        legacy = "not known" if self.legacy is None else self.legacy_fence
        return f"SQLite {legacy}, Postgres {'not known' if self.target is None else self.target_fence}"

    @property
    def advice(self) -> Advice | None:
        """Return the advice that ends this state; None if a store does not answer."""
        if self.legacy is None or self.target is None:
            return None
        phase = Phase.EMPTY if self.target.trial else self.target.phase
        holder = _holder_of_lock(self.target.holder)
        if self.emergency is not None and holder is LockHolder.NONE:
            return Elsewhere(
                f"invoke fence --env {self.environment} --off --reason WHY, once the game may be played again"
            )
        return advise(
            EnvironmentState(
                phase,
                Fence(self.legacy.state),
                _owner(self.legacy, self.target),
                self.target.fence,
                self.pointer,
                LockHolder.HOOK if holder is LockHolder.NONE and self.hook else holder,
                self._last_steps(self.target),
                self.undoing,
                going_back=self.target.going_back,
            )
        )

    @property
    def next(self) -> str:
        """Return the next command, in a clause, with the reason for whatever is to be mended before it."""
        amiss = [f"mend the pointer ({self.amiss})"] if self.amiss else []
        silent = [start.sentence(", which does not answer") for start in self.starts]
        return ", then ".join([*amiss, *silent, self._next])

    def next_after_refusal(self, *, dry_run: bool) -> str:
        """Return the same for a settled state, after a refusal: it says what stands in the way of the next command."""
        above = "do what is said above"
        if dry_run and self.advice == Settled(OperatorCommand.CUTOVER):
            return f"{above}, then: {_command(OperatorCommand.CUTOVER, self.environment)} --dry-run"
        if self._next.startswith("invoke "):
            return f"{above}, then: {self.next}"
        return f"{above}; {self.next}"

    @property
    def steps(self) -> list[str]:
        """List what to do next. Reasons that `unknown`, `amiss` and `silent` give are left out."""
        prepares = TARGET if self.asked.unprepared else None
        mend = [f"{part}: {why.do}" for part, why in self.unknown.items() if why.do and part != prepares]
        amiss = ["mend the pointer; docs/service.md says what it holds"] if self.amiss else []
        # A restart hook that signals a process can't start one that is gone.
        silent = [start.sentence() for start in self.starts]
        look = f"invoke status --env {self.environment}"
        last = look if self.unknown and not self.asked.unprepared else self._next
        return [*mend, *amiss, *silent, last]

    @property
    def _next(self) -> str:
        match self.advice:
            case Ends(command, why, loses):
                ordered = self._ordered if command in (OperatorCommand.CUTOVER, OperatorCommand.ROLLBACK) else ""
                return ordered or f"{self._command(command)} ({why}{'; ' + loses if loses else ''})"
            case Elsewhere(do):
                return self._elsewhere(do)
            case Settled(next=None):
                return "nothing is left to do"
            case Settled(next=command):
                assert command is not None
                return self._settled(command)
            case None:
                env = self.environment
                later = f"invoke status --env {env}, once {' and '.join(self.unknown)} can be read"
                return f"invoke prepare --env {env}" if self.asked.unprepared else later
            case unreachable:
                return f"look at the stores: no run leaves them in this state ({unreachable.guard})"

    def _elsewhere(self, do: str) -> str:
        holder = self.target.holder if self.target is not None else None
        if holder is not None:
            ordered = "" if holder.stopped or self.undoing else self._ordered
            return ordered or f"{do} It is {holder}."
        if not self.hook:
            return do
        return f"{do} It is {self.hook}. {hooks.to_end(self.hook)}; then: {replace(self, hook='')._next}"

    @property
    def _ordered(self) -> str:
        """Return the next command for a live attempt that people's orders hold, pause, or have go on; else ""."""
        return "" if self.live is None else self.live.next(self.environment)

    def _settled(self, command: OperatorCommand) -> str:
        if command is not OperatorCommand.ROLLBACK:
            return self._command(command)
        if self.unfinished:
            again = self._command(OperatorCommand.CUTOVER)
            return f"{again} (takes the first snapshot of Postgres, and watches)"
        # What ended well is not to be taken back because a line says that this is next.
        return f"no move is under way; to go back: {_command(command, self.environment)}"

    def _command(self, command: OperatorCommand) -> str:
        """Return the command line. What was begun offline is gone on with offline: its copy is one under a fence."""
        offline = (command is OperatorCommand.CUTOVER and self._copies_offline) or (
            command is OperatorCommand.ROLLBACK and self._goes_back_offline
        )
        return _command(command, self.environment) + (" --offline" if offline else "")

    @property
    def _copies_offline(self) -> bool:
        """Return True if an attempt is under way that stops the game for its copy."""
        target = self.target
        return target is not None and target.phase is Phase.LOADING and not target.trial and target.orders is None

    @property
    def _goes_back_offline(self) -> bool:
        """Return True if a rollback is under way that has stopped the game, and players can't play on the file yet."""
        target, legacy = self.target, self.legacy
        closed = legacy is not None and legacy.state != "open"
        return closed and target is not None and target.phase is Phase.LIVE and target.fence is not Fence.OPEN

    def _last_steps(self, target: TargetState) -> LastSteps:
        """Find which last steps are still to do; no fence and no phase shows it."""
        served = len(self._serving("postgres" if target.phase is Phase.LIVE else "legacy")) == len(self.services)
        put_away = target.phase is not Phase.RETURNED or not target.rows
        if self.switching:
            return LastSteps.SWITCH
        return LastSteps.DONE if served and put_away else LastSteps.LEFT

    def _serving(self, engine: str) -> list[str]:
        return [url for url, r in self.services.items() if r is not None and (r.engine, r.fence) == (engine, "open")]

    def _served(self, engine: str, name: str) -> str:
        asked = len(self.services)
        serving = self._serving(engine)
        if len(serving) == asked:
            return f"players play on {name}"
        if not serving:
            return f"nobody plays: {name} takes writes, and no process serves it"
        return f"players play on {name}, by {len(serving)} of {count(asked, 'process', 'processes')}"


@dataclass(frozen=True, slots=True)
class RunEnding:
    """The ending of a run; each part is text for people."""

    outcome: str
    serves: str
    fences: str
    next: str

    @property
    def line(self) -> str:
        """Return the last line of a run."""
        return f"{self.outcome} · {self.serves} · {self.fences} · next: {self.next}"


def ended(
    env: Environment, outcome: str, todo: str = "", *, dry_run: bool = False, again: Mapping[str, str] = NOTHING_AGAIN
) -> RunEnding:
    """Describe the environment after a run with this outcome. todo: what is next, if the stores don't decide it.

    again: by outcome, what comes first where players play on Postgres and no move is under way.
    """
    seen = look(env)
    if outcome == "refused" and isinstance(seen.advice, Settled):
        todo = todo or seen.next_after_refusal(dry_run=dry_run)
    if (first := again.get(outcome)) and seen.advice == Settled(OperatorCommand.ROLLBACK):
        todo = todo or f"{first}; {seen.next}"
    return RunEnding(outcome, seen.serves, seen.fences, todo or seen.next)


def look(env: Environment) -> Observation:
    """Ask both stores, the pointer and the services. Raises nothing if a part does not answer."""
    unknown: dict[str, UnknownState] = {}
    legacy: FenceMark | None = None
    try:
        legacy = probes.legacy(env.legacy.path)
    except (ToolError, *FAILURES) as error:
        unknown[LEGACY] = probes.unknown(error)
        if env.name == DEVELOPMENT and is_absent(env.legacy.path):
            unknown[LEGACY] = replace(unknown[LEGACY], do=seeding(env.legacy.path))
    capture: CaptureState | None = None
    with suppress(ToolError, *FAILURES):  # What can't be read is said above.
        capture = probes.capture(env.legacy.path)
    of_target, why = probes.ask(env)
    if why is not None:
        unknown[TARGET] = why
    answers_by_url = {url: services.asked(url) for url in env.services}
    silent = {url: answer for url, answer in answers_by_url.items() if isinstance(answer, str)}
    return Observation(
        env.name,
        legacy,
        of_target,
        switch.pointed(env),
        _amiss(env),
        {url: answer if isinstance(answer, Ready) else None for url, answer in answers_by_url.items()},
        silent,
        unknown,
        _lacks_first_snapshot(env, of_target.target),
        _is_switching(env, of_target.target),
        switch_record.undoing(env),
        _hook(env),
        capture,
        starting.starts(env, silent),
    )


def _is_switching(env: Environment, target: TargetState | None) -> bool:
    if target is None:
        return False
    return switch.is_unfinished(env, env.target if target.phase is Phase.LIVE else env.legacy)


def _hook(env: Environment) -> str:
    """Return the signature of the hook at work, or ""; also "" if this user may not read the lock."""
    try:
        return hooks.at_work(env) or ""
    except OSError:
        return ""


def _lacks_first_snapshot(env: Environment, target: TargetState | None) -> bool:
    """Return True if the live game has no verified snapshot of Postgres: a cutover that is run again takes it."""
    if target is None or target.phase is not Phase.LIVE:
        return False
    try:
        listed = snapshots.find(env.snapshots.folder, env.name, side=Side.TARGET, label=Label.FIRST)
    except (Refusal, OSError):
        return True  # The cutover that takes it says what is wrong with the folder.
    return not any(
        s.manifest.run == target.run and snapshots.is_verified(s) and snapshots.is_admitted(s) for s in listed
    )


def _amiss(env: Environment) -> str:
    """Say what is wrong with the pointer; "" if it names a store."""
    try:
        pointer.url(env.pointer)
    except Refusal as error:
        return " ".join(str(error).split())
    return ""


def _holder_of_lock(holder: Holder | None) -> LockHolder:
    if holder is None:
        return LockHolder.NONE
    return LockHolder.STOPPED if holder.stopped else LockHolder.ALIVE


def _owner(mark: FenceMark, target: TargetState) -> FenceOwner:
    if mark.state == "open" or mark.owner is None:
        return FenceOwner.NOBODY
    if not fence_owner.is_of(mark, target.identity):
        return FenceOwner.ANOTHER_DATABASE
    return FenceOwner.THIS_RUN if mark.owner.run == target.run else FenceOwner.ANOTHER_RUN


def _command(command: OperatorCommand, environment: str) -> str:
    verb, abort, _ = command.value.partition(" --abort")
    return f"{verb} --env {environment}{abort}"
