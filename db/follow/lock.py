"""The lock of those that have a legacy file follow: one process an environment, named by its row."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from db import ops
from db.environments import Environment
from db.errors import Refusal
from db.ops import Phase, following, locks
from db.target import requirements

LOOK_SECONDS = 0.1

GONE_SECONDS = 30.0
"""How long to wait for the lock of a process that is gone: the server notices within this time."""


class AnotherFollows(Refusal):
    """Another process has this legacy file follow."""


@contextmanager
def holding(env: Environment, name: str, *, first: bool) -> Iterator[ops.Connection]:
    """Hold the lock of those that follow. Raises Refusal naming the holder, or if players do not play on Postgres."""
    with ops.connect(env.target_direct, application=f"sudamr {name}") as conn:
        requirements.require(conn)
        ops.require_marker(conn, env.name)
        ops.require_prepared(conn)
        if first:
            _require_live(env, conn)
        _lock(env, conn)
        try:
            following.sign(conn, name)
            conn.execute("set synchronous_commit = off")  # The row is for people: one that is lost does no harm.
            yield conn
        finally:
            locks.release(conn, locks.FOLLOW_LOCK)


def _require_live(env: Environment, conn: ops.Connection) -> None:
    phase = ops.phase(conn)
    if phase is not Phase.LIVE:
        raise Refusal(
            "a game that is live on Postgres",
            f"the phase {phase}",
            where=env.target_direct.redacted,
            do=f"Nothing was changed. The legacy file follows after: invoke cutover --env {env.name}.",
        )


def _lock(env: Environment, conn: ops.Connection) -> None:
    """Take the lock. A session that is gone, as after kill -9, keeps it until the server notices."""
    until = time.monotonic() + GONE_SECONDS
    while True:
        row = conn.execute("select pg_try_advisory_lock(%s, %s)", (locks.LOCK_CLASS, locks.FOLLOW_LOCK)).fetchone()
        if row == (True,):
            return
        holder = following.read(conn)
        if time.monotonic() > until or (holder is not None and _runs(holder)):
            raise AnotherFollows(
                "no other process that has the legacy file follow",
                holder.process if holder else locks.owners(conn, locks.FOLLOW_LOCK),
                where=env.target_direct.redacted,
                do="Nothing was changed. Leave it at work. Or end it first, on its machine: Ctrl-C, or"
                f" systemctl stop sudamr-follow@{env.name}",
            )
        time.sleep(LOOK_SECONDS)  # The holder's end is the server's to notice.


def _runs(holder: following.Following) -> bool:
    """Return False if the process is known to be gone, or is this one: its earlier session holds the lock."""
    return locks.runs(holder.host, holder.pid)
