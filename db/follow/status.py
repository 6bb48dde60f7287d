"""Says how the legacy file follows, for people, from the two stores alone. What is not known is never zero."""

from __future__ import annotations

from db import ops
from db.counts import counted
from db.environments import Environment
from db.legacy.opening import reading
from db.ops import Phase, change_log, following
from db.ops.following import Following
from db.transfer.live_back.session import reason_to_begin_anew

STALE_SECONDS = 10.0
"""A round that is older says nothing about the window that a rollback would have now."""


def described(env: Environment) -> list[str]:
    """Return lines: who follows, how far it is behind, and what a rollback would be now; none unless Postgres is live.

    Raises what the stores raise where they do not answer.
    """
    with ops.connect(env.target_direct, application="sudamr status") as conn:
        if ops.phase(conn) is not Phase.LIVE or change_log.capture(conn) is None:
            return []
        row = following.read(conn)
        works = following.at_work(conn)
        with reading(env.legacy.path) as file:
            anew = reason_to_begin_anew(conn, env.legacy.path, file, row.name if row else None)
        return [_state(env, row, works=works), *_figures(conn, row, anew), _rollback(row, anew, works=works)]


def _state(env: Environment, row: Following | None, *, works: bool) -> str:
    starts = f"to have it follow: invoke follow --env {env.name}"
    if row is None:
        return f"no process follows; {starts}"
    if works:
        return f"{row.state.explained(row.reason)}; {row.process}"
    if not row.wished:
        return f"{row.state.explained(row.reason)}; {starts}"
    return f"no process follows: {row.process} is gone; {starts}"


def _figures(conn: ops.Connection, row: Following | None, anew: str | None) -> list[str]:
    if anew is not None:
        return [f"lag not known: {anew}"]
    capture = change_log.capture(conn)
    assert capture is not None, "the log leads on from the file"
    lines, lag = change_log.waiting(conn, capture.log)
    waits = f"lag {lag or 0.0:.1f} s; {counted(lines, 'changes')} {'waits' if lines == 1 else 'wait'}"
    if row is None or row.age is None or row.seconds is None:
        return [waits]
    return [f"{waits}; the last round was {row.age:.1f} s ago, and took {row.seconds * 1000:.0f} ms"]


def _rollback(row: Following | None, anew: str | None, *, works: bool) -> str:
    if anew is not None:
        return f"a rollback now would first write everything back once, while players play: {anew}"
    fresh = works and row is not None and row.age is not None and row.age < STALE_SECONDS
    if fresh and row is not None and row.window_seconds is not None:
        return f"a rollback now would be live, with a window of about {row.window_seconds * 1000:.0f} ms"
    return "a rollback now would be live, after rounds for what waits; its window is not known"
