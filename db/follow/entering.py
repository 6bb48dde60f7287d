"""Takes the legacy file for this process: its fence stays *moved* and its owner's, and gets this process's pass.

Who writes under a pass is known by it: a rollback that fences the file anew ends the writes of this process, and this
process takes the file back only while no run is at work, players play on Postgres, and no proof needs the file as it
is. Each of these is asked inside the file's transaction.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from db import ops
from db.counts import few
from db.cutover import fence_owner, turning
from db.environments import Environment
from db.ops import Phase, fence, locks
from game.errors import StoreUnavailable
from game.legacy import capture_schema, sqlite_values
from game.legacy import fence as legacy_fence
from game.legacy.fence_schema import FenceMark

PATIENCE_SECONDS = 1.0
"""How long one attempt waits for the file's write lock."""


class NotYet(Exception):
    """The file can't follow now; the text says why, in a clause. Another look may find that it can."""


def reason_to_wait(conn: ops.Connection, *, follows: bool = False) -> str:
    """Return why Postgres does not let the file follow now, in a clause; "" if it does.

    follows: it does already, and a run that wants the file asks for it, or fences Postgres first.
    """
    if not follows and (holder := locks.holder(conn)) is not None:
        return f"{holder} is at work"
    if (state := fence.recorded_state(conn)) != "open":
        return f"Postgres is {state}: invoke status --env {ops.named(conn)} says by whom, and what is next"
    return ""


def take(env: Environment, conn: ops.Connection, pass_token: str) -> None:
    """Put this process's pass into the fence of the file. Raises NotYet if the file, or Postgres, says otherwise."""
    path = env.legacy.path
    database = ops.identity(conn)
    try:
        with closing(sqlite_values.connect(path, timeout_seconds=PATIENCE_SECONDS)) as connection:
            before = legacy_fence.mark(connection)
            if capture_schema.state(connection) is not None:
                raise NotYet(f"the cutover has still to prove the file as it is: invoke cutover --env {env.name}")

            def check(mark: FenceMark) -> None:
                if mark != before or mark.state != "moved" or not fence_owner.is_of(mark, database):
                    raise NotYet(f"the legacy file is {fence_owner.describe(mark)}")
                if ops.phase(conn) is not Phase.LIVE:
                    raise NotYet(f"the phase is {ops.phase(conn)}")
                if reason := reason_to_wait(conn):
                    raise NotYet(reason)

            with legacy_fence.turning(
                connection,
                "moved",
                pass_token=pass_token,
                owner=before.owner,
                check=check,
                patience_seconds=PATIENCE_SECONDS,
            ):
                pass
    except StoreUnavailable as error:
        raise NotYet(f"{error}; {users(path)}") from error


def users(path: Path) -> str:
    """Name the other processes of this machine that have the file open, as far as this user may see them."""
    named = [f"process {process.pid} ({process.info['name']})" for process in turning.users(path)]
    return f"it is open in {few(named, 4)}" if named else "no other process that has it open can be seen from here"
