"""The checks of step 1 that only a live cutover makes: of the file, of who has it open, and of the service."""

from __future__ import annotations

import socket
from functools import partial

from db import ops
from db.counts import few
from db.cutover import services
from db.cutover.checks import Checks, PreflightCheck
from db.cutover.context import RunContext
from db.cutover.turning import users
from db.errors import Refusal
from db.legacy.source import opened
from db.ops import following
from db.transfer.live import capture, copying

OTHERS = "other programs on the legacy file"
NEXT_STORE = "next store"
"""The ability of a process of the service to open two stores, as /readyz lists it."""

OFFLINE = "Or move with the game stopped: add --offline to the same command."


def live_checks(context: RunContext) -> Checks:
    """Return the checks, in their order."""
    return (
        PreflightCheck("live copy", partial(check_file, context), ("legacy file",)),
        PreflightCheck(OTHERS, partial(check_others, context), ("legacy file", "services")),
        PreflightCheck("two stores", partial(check_two_stores, context), ("services",)),
    )


def check_file(context: RunContext) -> str:
    """Check that the file can be copied while players play: WAL, rows with a rowid, unique ids, room."""
    path = context.env.legacy.path
    with opened(path) as source:
        copying.require_live(source)
        capture.captured(source)
    # The log of capture may take a fifth of the file, and players' write-ahead log grows while a proof reads.
    needed = path.stat().st_size // capture.PART_OF_FILE + 2 * capture.LEAST_FREE_BYTES
    if (free := capture.free_bytes(path)) < needed:
        raise Refusal(
            f"{needed / 1_000_000:.0f} MB free beside the legacy file, for the change log and for what players write",
            f"{free / 1_000_000:.0f} MB",
            where=str(path),
            do=f"Make room on that disk, and run again. {OFFLINE}",
        )
    return "it is in WAL mode, its ids and names are unique, and its disk has room for the change log"


def check_others(context: RunContext) -> str:
    """Check that no program has the file open but the service: what another one writes brings no receipt."""
    path = context.env.legacy.path
    ours = {ready.pid for ready in map(services.ask, context.env.services) if ready is not None} | _follower(context)
    others = [process for process in users(path) if process.pid not in ours]
    if others:
        raise Refusal(
            "only the service to have the legacy file open",
            few([f"process {process.pid} ({process.info['name']})" for process in others], 5),
            where=str(path),
            do=f"End them, and run again. {OFFLINE}",
        )
    return "none that can be seen from here"


def _follower(context: RunContext) -> set[int]:
    """Return the process of this machine that has the file follow, which hands it over; see taking_over."""
    with ops.connect(context.env.target_direct) as conn:
        row = following.read(conn) if following.at_work(conn) else None
    return {row.pid} if row is not None and row.host == socket.gethostname() else set()


def check_two_stores(context: RunContext) -> str:
    """Check that every process of the service can open two stores."""
    if unable := services.unable(context.env.services, NEXT_STORE):
        raise Refusal(
            "a service that opens a second store, each process of it",
            few(unable, 3),
            where=", ".join(context.env.services),
            do=f"Deploy this version of the service on the legacy file first. {OFFLINE}",
        )
    return "every process of the service can open two"
