"""Records in `ops` what people ordered of a live attempt: to hold before its window, to go, to pause, to resume.

One row, which bears the attempt's run, of a cutover or of a rollback. Each change is one conditional UPDATE, and the
count of rows says if it was in time. The tool that makes the attempt reads the row. Before its window it takes the go;
then no order counts any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from psycopg.rows import dict_row

from db.ops.control import Connection, Phase

TABLE = """
create table if not exists ops.live_orders (
    only_one boolean primary key default true check (only_one),
    run text not null,
    go text not null check (go in ('unasked', 'asked', 'holding', 'ordered', 'taken')),
    go_by text,
    go_at timestamptz,
    paused_by text,
    paused_at timestamptz,
    waiting text,
    failed text,
    back_from text
)
"""
"""back_from: the run of phase `live` from which a rollback goes back; null for a cutover."""

_COLUMN = "alter table ops.live_orders add column if not exists back_from text"  # A row by an older version has none.

_BACK_FROM = "to_jsonb(o) ->> 'back_from'"
"""The column, null also in a table of an older version."""

_UNDER_WAY = f"""
exists (
    select from ops.phase p where (p.phase = '{Phase.LOADING}' and p.run = o.run)
    or (p.phase = '{Phase.LIVE}' and p.run = {_BACK_FROM})
)
"""
"""The attempt of the row has not come to its point of no return, and no other move has gone on since."""


class Go(StrEnum):
    """The state of the go. UNASKED: none is needed. ASKED: the attempt is to hold once it is ready.

    HOLDING: it is ready, and holds. ORDERED: a person ordered it. TAKEN: the window follows, and nothing holds it.
    """

    UNASKED = "unasked"
    ASKED = "asked"
    HOLDING = "holding"
    ORDERED = "ordered"
    TAKEN = "taken"


@dataclass(frozen=True, slots=True)
class Orders:
    """The orders for an attempt. go_by: who ordered the go; paused_by: who paused it; both "" if nobody did.

    go_at, paused_at: ISO times, by the server's clock. waiting: why the tool waits, failed: why it left the attempt, as
    it said itself; "" for neither. back_from: the run of the cutover from which a rollback goes back; "" of a cutover.
    """

    run: str
    go: Go
    go_by: str
    go_at: str
    paused_by: str
    paused_at: str
    waiting: str
    failed: str
    back_from: str = ""

    @property
    def paused(self) -> bool:
        """Return True if the attempt is paused."""
        return bool(self.paused_at)


def read(conn: Connection, run: str | None) -> Orders | None:
    """Return the orders for this run; None if there is no row for it."""
    return _read(conn, "run = %s", run)


def standing(conn: Connection) -> Orders | None:
    """Return the orders for the attempt that is under way, in either direction; None if none is.

    An attempt past its point of no return is none, and neither is one from which another move has gone on.
    """
    return _read(conn, _UNDER_WAY)


def is_return(conn: Connection, run: str) -> bool:
    """Return True if this run has returned, by a live rollback whose last steps are still to do."""
    returned = "run = %s and exists (select from ops.phase p where p.run = o.run and p.phase = 'returned')"
    return _read(conn, returned, run) is not None


def _read(conn: Connection, condition: str, *values: Any) -> Orders | None:
    if conn.execute("select to_regclass('ops.live_orders') is not null").fetchone() != (True,):
        return None
    with conn.cursor(row_factory=dict_row) as cursor:
        cursor.execute(
            "select run, go, coalesce(go_by, '') as go_by, coalesce(paused_by, '') as paused_by,"
            " coalesce(date_trunc('second', go_at at time zone 'UTC') || ' UTC', '') as go_at,"
            " coalesce(date_trunc('second', paused_at at time zone 'UTC') || ' UTC', '') as paused_at,"
            " coalesce(waiting, '') as waiting, coalesce(failed, '') as failed,"
            f" coalesce({_BACK_FROM}, '') as back_from from ops.live_orders o where {condition}".encode(),
            values,
        )
        row = cursor.fetchone()
    return None if row is None else Orders(**(row | {"go": Go(row["go"])}))


def begin(conn: Connection, run: str, *, hold: bool) -> None:
    """Make the row of a run that begins or goes on; the caller holds the run lock. In phase `live` it is a rollback.

    What was ordered of it stands, and so does a pause. hold: it is to hold, so a go that was ordered is taken back.
    """
    with conn.transaction():
        conn.execute(TABLE)
        conn.execute(_COLUMN)
        conn.execute("delete from ops.live_orders where run <> %s", (run,))
        conn.execute(
            "insert into ops.live_orders (run, go, back_from) select %s, %s, case when phase = %s then run end"
            " from ops.phase on conflict do nothing",
            (run, Go.UNASKED, Phase.LIVE),
        )
        conn.execute("update ops.live_orders set waiting = null, failed = null")
        # The tool that held is gone, and this one is not ready yet.
        conn.execute(
            "update ops.live_orders set go = 'asked', go_by = null, go_at = null where %s or go = 'holding'", (hold,)
        )


def end(conn: Connection) -> None:
    """Delete the row, whichever run's: the attempt is over."""
    if conn.execute("select to_regclass('ops.live_orders') is not null").fetchone() == (True,):
        conn.execute("delete from ops.live_orders")


def stand_ready(conn: Connection, run: str) -> None:
    """Record that the tool is ready and holds, if that was asked for."""
    _change(conn, "go = 'holding'", run, "go = 'asked'")


def take(conn: Connection, run: str) -> bool:
    """Take the go, if none is needed or it was ordered; False if the attempt is to hold, or is paused."""
    condition = "go in ('unasked', 'ordered', 'taken') and paused_at is null"
    return _change(conn, "go = 'taken', waiting = null", run, condition)


def wait(conn: Connection, run: str, why: str) -> None:
    """Record why the tool waits, or "" that it does not."""
    conn.execute("update ops.live_orders set waiting = nullif(%s, '') where run = %s", (why, run))


def fail(conn: Connection, run: str, why: str) -> None:
    """Record why the tool leaves the attempt as it is."""
    conn.execute("update ops.live_orders set failed = %s, waiting = null where run = %s", (why, run))


def order_go(conn: Connection, run: str, who: str) -> bool:
    """Order the go; False if the attempt does not hold, or is past its point of no return."""
    change = "go = 'ordered', go_by = %s, go_at = now()"
    return _ordered(conn, change, run, "go = 'holding' and paused_at is null", who)


def order_hold(conn: Connection, run: str) -> bool:
    """Take back the go, or have a run that goes on by itself hold; False if it holds already, or it is too late."""
    # Not HOLDING: a tool that is ready says so itself, within moments.
    change = "go = 'asked', go_by = null, go_at = null, waiting = null"
    return _ordered(conn, change, run, "go in ('unasked', 'ordered')")


def order_pause(conn: Connection, run: str, who: str) -> bool:
    """Pause the attempt; False if it is paused, a go was ordered, or it is too late."""
    change = "paused_by = %s, paused_at = now()"
    return _ordered(conn, change, run, "go in ('unasked', 'asked', 'holding') and paused_at is null", who)


def order_resume(conn: Connection, run: str) -> bool:
    """Have a paused attempt go on; False if it is not paused."""
    return _ordered(conn, "paused_by = null, paused_at = null", run, "paused_at is not null")


def proven_seconds(conn: Connection, run: str) -> float | None:
    """Return the age of the proof of this run's copy; None if there is none."""
    query = "select extract(epoch from clock_timestamp() - at)::float8 from ops.proven where run = %s"
    row = conn.execute(query, (run,)).fetchone()
    return None if row is None else float(row[0])


def _ordered(conn: Connection, change: str, run: str, condition: str, *who: str) -> bool:
    """Change the row of a run whose attempt has not come to its point of no return; True if it was in time."""
    return _change(conn, change, run, f"{condition} and {_UNDER_WAY}", *who)


def _change(conn: Connection, change: str, run: str, condition: str, *values: Any) -> bool:
    query = f"update ops.live_orders o set {change} where run = %s and {condition}"
    return conn.execute(query.encode(), (*values, run)).rowcount == 1
