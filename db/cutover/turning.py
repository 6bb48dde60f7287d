"""Turns the legacy file's fence, after checks of the lock, the phase and the fence's owner. Moves use no other way.

A run can be paused for seconds at any instruction (a paused machine, a disk that hangs) and lose its lock meanwhile.
So lock and phase are read inside the transaction that turns the fence, on the connection that holds the lock: a run
that wakes late fails there and changes nothing. It can still be paused after it read them, while it holds the file's
write lock. Therefore an undo always turns the fence, even one that looks open, and so waits for that write lock before
it reports that the move is undone.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path

import psutil

from db.cutover.context import RunContext
from db.errors import Failure
from db.ops import Phase
from game.errors import StoreUnavailable
from game.legacy import draws, sqlite_values
from game.legacy import fence as legacy_fence
from game.legacy.fence import OwnerCheck
from game.legacy.fence_schema import FenceMark, Owner
from game.unit_of_work import FenceState


@contextmanager
def turning(
    context: RunContext,
    to: FenceState,
    *,
    phases: tuple[Phase, ...],
    owner_check: OwnerCheck,
    pass_token: str | None = None,
    using: sqlite3.Connection | None = None,
    patience_seconds: float = legacy_fence.PATIENCE_SECONDS,
    owner: Owner | None = None,
    renews: bool = True,
) -> Iterator[sqlite3.Connection]:
    """Turn the legacy file's fence to `to` after the body; during the body nobody else can write to the file.

    phases: the phases in which the fence may be turned. owner_check: see db.cutover.fence_owner.
    using: a connection that knows the file already, for a window; by default one is opened.
    owner: of the fence; by default this run.
    A file that said moved gets a new draw epoch (`game.legacy.draws`): players played elsewhere since, and remember
    which requests won there. What carries their writes back brings the epoch back with them. renews: False where that
    was done already.
    Raises Failure if the lock is lost, the phase is another, or other processes keep the file locked; the file is then
    unchanged.
    """
    path = context.env.legacy.path

    def check(mark: FenceMark) -> None:
        context.require_phase(*phases)
        owner_check(mark)

    try:
        with (
            closing(sqlite_values.connect(path)) if using is None else nullcontext(using) as connection,
            legacy_fence.turning(
                connection,
                to,
                pass_token=pass_token,
                owner=owner or context.owner,
                check=check,
                patience_seconds=patience_seconds,
            ),
        ):
            if renews and to != "moved" and legacy_fence.state(connection) == "moved":
                draws.renew(connection)
            yield connection
    except StoreUnavailable as error:
        raise Failure(
            "the legacy file's write lock",
            f"{error}; it is open in {_users(path)}",
            where=str(path),
            do="Nothing was changed. Stop that process (kill -9 is safe for a run of this tool), then run again.",
        ) from error


def turn(
    context: RunContext,
    to: FenceState,
    *,
    phases: tuple[Phase, ...],
    owner_check: OwnerCheck,
    pass_token: str | None = None,
    owner: Owner | None = None,
) -> None:
    """Turn the fence at once; see `turning`."""
    with turning(context, to, phases=phases, owner_check=owner_check, pass_token=pass_token, owner=owner):
        pass


def _users(path: Path) -> str:
    """Name the processes of this machine that have the file open, as far as this user may see them."""
    named = [f"process {process.pid} ({process.info['name']}, {process.info['status']})" for process in users(path)]
    return ", ".join(named) or "no other process that can be seen from here"


def users(path: Path) -> list[psutil.Process]:
    """Return the other processes that have the file open, as far as this user may see them, with name and status."""
    resolved, using = str(path.resolve()), []
    for process in psutil.process_iter(["name", "status"]):
        try:
            if process.pid != psutil.Process().pid and any(f.path == resolved for f in process.open_files()):
                using.append(process)
        except psutil.Error:  # The process has ended, or belongs to another user.
            continue
    return using
