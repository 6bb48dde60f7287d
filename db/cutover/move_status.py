"""Reads the status of a move: the phase, the run, both fences and the pointer, and what follows from them together."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import psycopg

from db import ops
from db.cutover import fence_owner, switch, switch_record
from db.cutover.advice import OVER, PointerTo
from db.environments import Environment
from db.errors import Inconclusive, Refusal
from db.legacy.opening import reading
from db.ops import Phase, emergency, fence, orders
from db.remedies import ANOTHER_SERVER
from db.schema import migrate
from game.legacy.fence import mark as fence_mark
from game.legacy.fence_schema import FenceMark
from game.redaction import redact
from game.unit_of_work import FenceState


@dataclass(frozen=True, slots=True)
class MoveStatus:
    """The phase, the run that set it, and the fence of each store.

    target: the recorded state of Postgres's fence. inconsistent: tables whose trigger differs from it. mark: the legacy
    file's fence. identity: of this database, as a fence records it. pointer: the store that the pointer names.
    unfinished: the record says that the switch to the store of the phase was not completed. undoing: it says that an
    undo was begun. emergency: the fence that somebody set by `invoke fence`, in words, or "". live: the attempt of the
    phase copies while players play. going_back: the run of a live rollback that is under way, None if none is.
    """

    phase: Phase
    run: str | None
    target: FenceState
    inconsistent: tuple[str, ...]
    mark: FenceMark
    identity: str
    pointer: PointerTo
    unfinished: bool = False
    undoing: bool = field(default=False, compare=False)
    emergency: str = ""
    live: bool = False
    going_back: str | None = None

    @property
    def legacy(self) -> FenceState:
        """Return the state of the legacy file's fence."""
        return self.mark.state

    @property
    def startable(self) -> bool:
        """Return True if no attempt is under way."""
        return self.phase in OVER

    @property
    def rollback_begun(self) -> bool:
        """Return True if a rollback has fenced Postgres, and has neither returned nor been undone."""
        return self.phase is Phase.LIVE and self.target != "open"

    @property
    def returned_unknown(self) -> bool:
        """Return True if a failover lost the return: Postgres is live, but the pointer names the open file."""
        return self.phase is Phase.LIVE and self.legacy == "open" and self.pointer is not PointerTo.TARGET

    @property
    def lift_lost(self) -> bool:
        """Return True if the file says moved to this database while Postgres is not live: a failover lost the lift.

        A standby may be older than the whole attempt, so the phase may be any other. A rollback leaves no such state:
        an offline one fences the file anew before it returns, and a live one is the run of the phase and of the fence.
        """
        moved = self.phase is not Phase.LIVE and self.legacy == "moved" and self.of_this_game
        return moved and not self.returned_moved

    @property
    def returned_moved(self) -> bool:
        """Return True if a live rollback has returned and has still to open the file."""
        owner = self.mark.owner
        return self.phase is Phase.RETURNED and owner is not None and owner.run == self.run

    @property
    def of_this_game(self) -> bool:
        """Return True if a move to or from this database set the legacy file's fence."""
        return fence_owner.is_of(self.mark, self.identity)

    @property
    def of_another(self) -> bool:
        """Return True if the legacy file is closed, but not by a move of this database."""
        return self.legacy != "open" and not self.of_this_game

    @property
    def undo_unfinished(self) -> bool:
        """Return True if an attempt is over, but the legacy file is still closed or the switch back is not done."""
        if self.phase not in (Phase.ABORTED, Phase.EMPTY) or self.of_another or self.lift_lost:
            return False
        pointed_away = self.phase is Phase.ABORTED and self.pointer is not PointerTo.LEGACY
        return self.legacy != "open" or pointed_away or self.unfinished

    @property
    def rollback_undo_unfinished(self) -> bool:
        """Return True if the undo of a rollback has opened Postgres, and the switch back to it is not done."""
        opened = self.phase is Phase.LIVE and self.target == "open" and self.legacy == "moved"
        return opened and self.undoing and self.unfinished


Refuse: TypeAlias = Callable[[MoveStatus, Environment], None]
"""Raises Refusal if a verb may not begin from this state."""


def unknowable(reason: str, env: Environment, do: str = "Bring that server back, on its own disk.") -> Inconclusive:
    """Make the error for a Postgres that can't be asked while the legacy file is closed. do: advice for the cause."""
    do = do.removesuffix(ANOTHER_SERVER)  # In the middle of a move no other will do.
    return Inconclusive(
        "Postgres to say whether players play on it",
        reason,
        where=env.target_direct.redacted,
        do=f"Nothing more was changed; the legacy file stays read-only. {do} Then invoke status --env {env.name}"
        " names the next command.",
    )


def read_status(env: Environment) -> MoveStatus:
    """Read where the move stands.

    If Postgres does not answer, raises Refusal while the file is open, and Inconclusive while it is closed.
    """
    with reading(env.legacy.path) as connection:
        mark = fence_mark(connection)
    try:
        conn = ops.connect(env.target_direct)
    except Refusal as error:
        if mark.state == "open":
            raise
        raise unknowable(error.found, env, error.do) from error
    try:
        with conn:
            return _status(env, conn, mark)
    except psycopg.OperationalError as error:
        reason = redact(str(error).splitlines()[0])
        if mark.state == "open":
            raise Refusal(
                "Postgres to say how the move stands",
                f"it stopped answering: {reason}",
                where=env.target_direct.redacted,
                do="Nothing was changed. Run the same command again.",
            ) from error
        raise unknowable(reason, env) from error


def _status(env: Environment, conn: ops.Connection, mark: FenceMark) -> MoveStatus:
    ops.require_marker(conn, env.name)
    target: FenceState = "fenced"
    inconsistent: tuple[str, ...] = ()
    if migrate.current(conn):
        target = fence.recorded_state(conn)
        inconsistent = fence.inconsistent_tables(conn, target)
    phase, run = ops.phase(conn), ops.phase_run(conn)
    standing = orders.standing(conn)
    return MoveStatus(
        phase,
        run,
        target,
        inconsistent,
        mark,
        ops.identity(conn),
        switch.pointed(env),
        unfinished=switch.is_unfinished(env, env.target if phase is Phase.LIVE else env.legacy),
        undoing=switch_record.undoing(env),
        emergency=str(emergency.standing(conn) or fence_owner.unrecorded(mark, ops.identity(conn)) or ""),
        live=orders.read(conn, run) is not None,
        going_back=standing.run if standing is not None and standing.back_from else None,
    )


class SettledMeanwhile(Refusal):
    """Only the file's fence has changed since the status was read: the watchdog of a window has settled it."""


def require_same(env: Environment, before: MoveStatus, refuse: Refuse) -> None:
    """Raise Refusal unless the state read before the lock still holds: another run may have changed it."""
    now = read_status(env)
    refuse(now, env)
    if now != before:
        settled = dataclasses.replace(now, mark=before.mark) == before and (
            before.mark.state == "fenced" or before.returned_moved
        )
        changed = Refusal(
            f"the phase {before.phase} of run {before.run}, and both fences, as they were a moment ago",
            f"the phase {now.phase} of run {now.run}, the legacy file {now.legacy}, Postgres {now.target}",
            where=env.name,
            do="Another run went on meanwhile; this one changed nothing. The next command:"
            f" invoke status --env {env.name}",
        )
        if settled:
            raise SettledMeanwhile(changed.expected, changed.found, where=changed.where, do=changed.do)
        raise changed
