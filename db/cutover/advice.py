"""Names for each state of an environment the command that ends it, as `invoke status` prints it.

A state has nine fields, enums but for two flags. `advise` answers for every combination: with a command, with something
else that has to act first, with "nothing is under way", or with the guard in the code that prevents the state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from db.ops import Phase


class Fence(StrEnum):
    """The state of a store's fence. A Postgres without the game's schema counts as fenced."""

    OPEN = "open"
    FENCED = "fenced"
    MOVED = "moved"


class FenceOwner(StrEnum):
    """The owner of the legacy file's fence, seen from this database. NOBODY: no fence, or one that names no run."""

    NOBODY = "nobody"
    THIS_RUN = "the run of the phase"
    ANOTHER_RUN = "another run of this database"
    ANOTHER_DATABASE = "another database"


class PointerTo(StrEnum):
    """The store that the pointer names. OTHER: neither store, or the file or its line is missing."""

    LEGACY = "the legacy file"
    TARGET = "Postgres"
    OTHER = "something else"


class LockHolder(StrEnum):
    """The run that holds the lock. NONE: nobody holds it. STOPPED: its process is paused, its session lives.

    HOOK: nobody holds it, and a hook of a run that ended is at work.
    """

    NONE = "none"
    HOOK = "a hook"
    ALIVE = "alive"
    STOPPED = "stopped"


class LastSteps(StrEnum):
    """The state of the last steps: every process serves the open store, and old rows are put away.

    SWITCH: the record of the switches says that the last one was not completed, or was to the other store.
    """

    DONE = "done"
    LEFT = "left"
    SWITCH = "a switch"


class OperatorCommand(StrEnum):
    """A command of the operator, without its --env."""

    CUTOVER = "invoke cutover"
    ABORT = "invoke cutover --abort"
    ROLLBACK = "invoke rollback"
    ABORT_ROLLBACK = "invoke rollback --abort"


@dataclass(frozen=True, slots=True)
class EnvironmentState:
    """The state of an environment. target: the fence of Postgres. owner: of the legacy file's fence.

    undoing: an undo was begun, and has neither ended nor been followed by a run that goes forward. going_back: a live
    rollback was begun; it fences nothing before its window.
    """

    phase: Phase
    legacy: Fence
    owner: FenceOwner
    target: Fence
    pointer: PointerTo
    holder: LockHolder = LockHolder.NONE
    last_steps: LastSteps = LastSteps.DONE
    undoing: bool = False
    going_back: bool = False


@dataclass(frozen=True, slots=True)
class Ends:
    """A command ends the state: then players play on one store, and no fence of an ended run stands.

    why: what the command does from this state. loses: what is lost, whichever command is run.
    """

    command: OperatorCommand
    why: str
    loses: str = ""


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Something else must act first: a working run, a stopped process, or another database's move."""

    do: str


@dataclass(frozen=True, slots=True)
class Settled:
    """Nothing is under way. next: the command that begins a move from this state, if any."""

    next: OperatorCommand | None = None


@dataclass(frozen=True, slots=True)
class Unreachable:
    """No run leaves this state. guard: the code that prevents it."""

    guard: str


Advice = Ends | Elsewhere | Settled | Unreachable

OVER = (Phase.EMPTY, Phase.ABORTED, Phase.RETURNED)
"""Phases in which no attempt is under way."""


def advise(state: EnvironmentState) -> Advice:
    """Return what ends the state. Checks for impossible states first, then for who must act first, then the phase."""
    if guard := _guard(state):
        return Unreachable(guard)
    if (who := _AT_WORK.get((state.holder, state.undoing))) is not None:
        return Elsewhere(_PASSED if who == _RUN and _passed(state) else who)
    if state.owner is FenceOwner.ANOTHER_DATABASE:
        return _another_database(state)
    return _BY_PHASE[state.phase](state)


_RUN = "A run is at work: wait for it, or end it with Ctrl-C or SIGTERM, which undoes it."
_PASSED = (
    "A run is at work, past its point of no return: wait for it. Ctrl-C or SIGTERM ends it, and undoes nothing; what"
    " is left of it the same command does."
)
_UNDO = "An undo is at work, and no signal stops it: wait for it. kill -9 of its process is safe; then look again."
_STOPPED = "The run that holds the lock is stopped: kill -9 of its process is safe; then look again."
_HOOK = "A hook of a run that ended is still at work."
_AT_WORK = {
    (LockHolder.ALIVE, False): _RUN,
    (LockHolder.ALIVE, True): _UNDO,
    **dict.fromkeys(((LockHolder.STOPPED, False), (LockHolder.STOPPED, True)), _STOPPED),
    **dict.fromkeys(((LockHolder.HOOK, False), (LockHolder.HOOK, True)), _HOOK),
}
"""The sentence about what must act first, by the lock's holder and by whether it is an undo."""


def _passed(state: EnvironmentState) -> bool:
    """Tell if players play where the move was to bring them, and no rollback has begun anything."""
    if state.phase is Phase.LIVE:
        return state.target is Fence.OPEN and not state.going_back
    return state.phase is Phase.RETURNED


def _guard(state: EnvironmentState) -> str:
    """Name the code that rules the state out; "" if the state can be."""
    closed = state.legacy is not Fence.OPEN
    if not closed and state.owner is not FenceOwner.NOBODY:
        return "fence_schema.row: the owner stands in the fence's own row, which goes with it"
    if closed and state.owner is FenceOwner.NOBODY:
        return "turning.turning: a move's fence bears its owner always"
    if state.target is Fence.MOVED and state.phase in (Phase.EMPTY, Phase.LOADING, Phase.LIVE):
        return "rollback_steps.go_back: moved is written with returned; steps.migrate_target fences before loading"
    if state.target is Fence.OPEN and state.phase in (Phase.LOADING, Phase.ABORTED, Phase.RETURNED):
        return "steps.go_live: the lift is of one transaction with live; a restore into service asks the phase"
    if state.target is Fence.OPEN and state.phase is Phase.EMPTY and state.owner is not FenceOwner.ANOTHER_DATABASE:
        return "a restore into service refuses while the legacy file is open, or this database's move has it"
    return ""


def _another_database(state: EnvironmentState) -> Advice:
    if state.target is Fence.OPEN and state.pointer is PointerTo.TARGET:
        return Settled()
    return Elsewhere(
        "Another database's move has the legacy file: name that database in target_direct, and look from there."
    )


def _lift_lost(command: OperatorCommand) -> Ends:
    return Ends(
        command,
        "opens the legacy file as it was when it was fenced",
        loses="Postgres went live and does not know it: a failover lost its newest transactions, and what players"
        " did in them. If the old primary can be had, bring it back first.",
    )


def _empty(state: EnvironmentState) -> Advice:
    if state.legacy is Fence.MOVED:
        return _lift_lost(OperatorCommand.ABORT)
    if state.legacy is not Fence.OPEN:
        return Ends(OperatorCommand.ABORT, "opens the legacy file, whose fence no run needs any more")
    if state.last_steps is LastSteps.SWITCH:
        return Ends(OperatorCommand.ABORT, "has the hooks end for the legacy file, and every process serve it")
    if state.pointer is not PointerTo.LEGACY:
        return Elsewhere("No move was begun: have the pointer name the store that the service is to read.")
    if state.last_steps is LastSteps.LEFT:
        return Elsewhere("No move was begun: start every process of the service on the legacy file.")
    return Settled(OperatorCommand.CUTOVER)


def _loading(state: EnvironmentState) -> Advice:
    if state.legacy is Fence.MOVED:
        return _lift_lost(OperatorCommand.ABORT)
    if state.undoing:
        return Ends(OperatorCommand.ABORT, "finishes the undo that was begun")
    return Ends(OperatorCommand.CUTOVER, "goes on with the attempt; --abort undoes it")


def _live(state: EnvironmentState) -> Advice:
    if state.legacy is Fence.OPEN and state.pointer is not PointerTo.TARGET:
        return Ends(
            OperatorCommand.ROLLBACK,
            "finishes a return of which Postgres does not know, if the file has all that was granted",
        )
    if state.legacy is Fence.OPEN and state.target is Fence.FENCED:
        return Ends(
            OperatorCommand.ABORT_ROLLBACK, "closes the legacy file and opens Postgres, which the pointer names"
        )
    going = state.target is Fence.FENCED or state.going_back
    if state.undoing and (going or state.last_steps is not LastSteps.DONE):
        return Ends(OperatorCommand.ABORT_ROLLBACK, "finishes the undo that was begun")
    if state.target is Fence.FENCED or (state.going_back and state.pointer is PointerTo.TARGET):
        return Ends(OperatorCommand.ROLLBACK, "goes on with the rollback; --abort undoes it")
    if state.legacy is Fence.MOVED and state.pointer is PointerTo.TARGET and state.last_steps is LastSteps.DONE:
        return Settled(OperatorCommand.ROLLBACK)
    return Ends(OperatorCommand.CUTOVER, "finishes the switch to Postgres, where players play")


def _back_on_legacy(state: EnvironmentState, command: OperatorCommand, opens: str, serves: str) -> Advice:
    """Return the advice where players belong on the legacy file. opens, serves: what the command still has to do."""
    returned = state.phase is Phase.RETURNED and state.owner is FenceOwner.THIS_RUN  # By a live rollback.
    if state.legacy is Fence.MOVED and not returned:
        return _lift_lost(command)
    if state.legacy is not Fence.OPEN or state.pointer is not PointerTo.LEGACY:
        return Ends(command, opens)
    if state.last_steps is not LastSteps.DONE:
        return Ends(command, serves)
    return Settled(OperatorCommand.CUTOVER)


_aborted = partial(
    _back_on_legacy,
    command=OperatorCommand.ABORT,
    opens="opens the legacy file and switches back to it",
    serves="has every process serve the legacy file",
)

_returned = partial(
    _back_on_legacy,
    command=OperatorCommand.ROLLBACK,
    opens="opens the legacy file and switches to it",
    serves="has every process serve the legacy file, and puts the old rows away",
)

_BY_PHASE: dict[Phase, Callable[[EnvironmentState], Advice]] = {
    Phase.EMPTY: _empty,
    Phase.LOADING: _loading,
    Phase.LIVE: _live,
    Phase.ABORTED: _aborted,
    Phase.RETURNED: _returned,
}
