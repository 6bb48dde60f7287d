"""The one way in which a move turns the legacy file's fence: by the lock, by the phase, and by the fence's owner.

A run can be stopped for seconds at any instruction (a paused machine, a disk that hangs) and lose its lock meanwhile.
So lock and phase are asked inside the transaction that turns the fence, on the connection that holds the lock: a run
that wakes late fails there and changes nothing. It can still be stopped right after it asked, with the file's write
lock in its hands. Therefore whoever undoes turns the fence too, even one that looks open already, and so waits for
that write lock before it says that it is undone.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil

from db.cutover.move import Move
from db.errors import Failure
from db.ops import Phase
from game.errors import StoreUnavailable
from game.legacy import cells
from game.legacy import fence as legacy_fence
from game.legacy.fence import Check
from game.legacy.fence_schema import Mark, State


@contextmanager
def turning(
    move: Move, to: State, *, phases: tuple[Phase, ...], owned: Check, pass_token: str | None = None
) -> Iterator[sqlite3.Connection]:
    """Turn the legacy file's fence to `to` after the body; the body runs while nobody else can write or turn it.

    phases: where the move must stand. owned: the check of whose fence it is, see db.cutover.ownership. Raises Failure
    where the lock is lost, the phase is another, or other processes keep the file locked; the file is as it was then.
    """
    path = move.env.legacy.path

    def check(mark: Mark) -> None:
        move.require_phase(*phases)
        owned(mark)

    try:
        with (
            closing(cells.connect(path)) as connection,
            legacy_fence.turning(connection, to, pass_token=pass_token, owner=move.owner, check=check),
        ):
            yield connection
    except StoreUnavailable as error:
        raise Failure(
            "the legacy file's write lock", f"{error}; it is open in {_users(path)}", where=str(path),
            do="Nothing was changed. A run that is stopped there loses nothing by kill -9: end it, and run again.",
        ) from error  # fmt: skip


def turn(move: Move, to: State, *, phases: tuple[Phase, ...], owned: Check, pass_token: str | None = None) -> None:
    """Turn the fence, with nothing done meanwhile."""
    with turning(move, to, phases=phases, owned=owned, pass_token=pass_token):
        pass


def _users(path: Path) -> str:
    """Name the processes of this machine that have the file open, as far as this user may see them."""
    resolved = str(path.resolve())
    named = []
    for process in psutil.process_iter():
        try:
            if process.pid != psutil.Process().pid and any(f.path == resolved for f in process.open_files()):
                named.append(f"process {process.pid} ({process.name()}, {process.status()})")
        except psutil.Error:  # It ended meanwhile, or is another user's.
            continue
    return ", ".join(named) or "no other process that can be seen from here"
