"""Records in `ops` what `invoke follow` does, and what was ordered of it: one row, each change a conditional UPDATE.

A process that follows signs the row and holds a lock of its own. A rollback asks it by the row to hand the file over.
The row outlives the process: whoever reads it asks for the lock's holder too.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from psycopg.rows import dict_row

from db.ops import locks
from db.ops.control import Connection, Phase

TABLE = """
create table if not exists ops.follow (
    only_one boolean primary key default true check (only_one),
    name text not null,
    host text not null,
    pid integer not null,
    since timestamptz not null default now(),
    state text not null check (state in ('following', 'anew', 'pausing', 'handed over', 'stopped', 'returned')),
    reason text not null default '',
    ordered text check (ordered in ('pause', 'stop')),
    ordered_by text,
    ordered_at timestamptz,
    wanted_by text,
    as_of timestamptz,
    lag double precision,
    lines bigint,
    rounds bigint not null default 0,
    seconds double precision,
    window_seconds double precision
)
"""

_GRANTS = """
do $body$
declare
    reader text;
begin
    for reader in
        select distinct a.grantee::regrole::text from pg_class c, aclexplode(c.relacl) a
        where c.oid = 'ops.phase'::regclass and a.privilege_type = 'SELECT' and a.grantee not in (0, c.relowner)
    loop
        execute 'grant select on ops.follow to ' || reader;
    end loop;
end
$body$
"""
"""Whoever may read the phase, such as the role of the watch, may read how the file follows."""

_EXISTS = "select to_regclass('ops.follow') is not null"

_READ = """
select f.name, f.host, f.pid, f.state, f.reason, coalesce(f.ordered, '') as ordered,
    coalesce(f.ordered_by, '') as ordered_by,
    coalesce(date_trunc('second', f.ordered_at at time zone 'UTC') || ' UTC', '') as ordered_at,
    date_trunc('second', f.since at time zone 'UTC') || ' UTC' as since,
    coalesce(f.wanted_by, '') as wanted_by, f.lag, f.lines, f.rounds, f.seconds, f.window_seconds,
    extract(epoch from clock_timestamp() - f.as_of)::float8 as age
from ops.follow f
"""

_AT_WORK = """
select exists (
    select from pg_locks l where l.locktype = 'advisory' and l.granted and l.classid = %s and l.objid = %s
        and l.database = (select oid from pg_database where datname = current_database())
)
"""

_UNCAPTURED = """
select c.relname from pg_class c
where c.relnamespace = to_regnamespace(quote_ident(current_schema())) and c.relkind in ('r', 'p')
    and (select count(*) from pg_trigger t where t.tgrelid = c.oid and starts_with(t.tgname, %s)) < %s
order by 1
"""


class FollowState(StrEnum):
    """The states of a process that follows, or that did when it was last heard of."""

    FOLLOWING = "following"
    ANEW = "anew"
    PAUSING = "pausing"
    HANDED_OVER = "handed over"
    STOPPED = "stopped"
    RETURNED = "returned"

    def explained(self, reason: str) -> str:
        """Return the state in words, with the reason for it."""
        return f"{_WORDS[self]} {reason}".rstrip()


_WORDS = {
    FollowState.FOLLOWING: "following",
    FollowState.ANEW: "beginning anew because",
    FollowState.PAUSING: "pausing because",
    FollowState.HANDED_OVER: "handed over to run",
    FollowState.STOPPED: "stopped because",
    FollowState.RETURNED: "ended: the game returned to the legacy file",
}

OVER = (FollowState.STOPPED, FollowState.RETURNED)


class Order(StrEnum):
    """An operator's order; it stands until another one, or the next `invoke follow` after a stop."""

    NONE = ""
    PAUSE = "pause"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Following:
    """The row. name, host, pid: of the process; since: when it signed, ISO.

    wanted_by: the run of a rollback that asked for the file, or "". lag: the age in seconds of the oldest change that
    the file lacked after the last round; lines: how many changes waited then; None for both: not known. age: seconds
    since the snapshot of the last round, so every older change is in the file; None before the first. seconds: of the
    last round. window_seconds: of the window that a rollback would have, as the last rounds predict it.
    """

    name: str
    host: str
    pid: int
    state: FollowState
    reason: str
    ordered: Order
    ordered_by: str
    ordered_at: str
    since: str
    wanted_by: str
    lag: float | None
    lines: int | None
    rounds: int
    seconds: float | None
    window_seconds: float | None
    age: float | None

    @property
    def wished(self) -> bool:
        """Return True unless it was ended on purpose: by an operator's stop, or by the return of the game."""
        return self.state is not FollowState.RETURNED and self.ordered is not Order.STOP

    @property
    def process(self) -> str:
        """Name the process, for people."""
        return f"process {self.pid} on {self.host}, since {self.since}"


def read(conn: Connection) -> Following | None:
    """Return the row; None if nothing ever followed. Raises InsufficientPrivilege where the role may not read it."""
    if conn.execute(_EXISTS).fetchone() != (True,):
        return None
    with conn.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(_READ).fetchone()
    if row is None:
        return None
    return Following(**(row | {"state": FollowState(row["state"]), "ordered": Order(row["ordered"])}))


def at_work(conn: Connection) -> bool:
    """Return True if a process holds the lock of those that follow. Every role may ask."""
    return conn.execute(_AT_WORK, (locks.LOCK_CLASS, locks.FOLLOW_LOCK)).fetchone() == (True,)


def sign(conn: Connection, name: str) -> None:
    """Make the row this process's own; the caller holds the lock. A pause stands; a stop has been obeyed, and goes.

    What a rollback asked of an earlier process, or of an earlier session of this one, it asks of this process.
    """
    with conn.transaction():
        conn.execute(TABLE)
        conn.execute(_GRANTS)
        conn.execute(
            "insert into ops.follow (name, host, pid, state, reason) values (%s, %s, %s, 'pausing', 'it begins')"
            " on conflict (only_one) do update set name = excluded.name, host = excluded.host, pid = excluded.pid,"
            " since = now(), state = 'pausing', reason = 'it begins', lag = null, lines = null,"
            " ordered = nullif(ops.follow.ordered, 'stop')",
            (name, socket.gethostname(), os.getpid()),
        )


def note_state(conn: Connection, name: str, state: FollowState, reason: str) -> None:
    """Record the state of this process. What waits is not known unless it follows."""
    conn.execute(
        "update ops.follow set state = %s, reason = %s, lag = null, lines = null where name = %s",
        (state, reason, name),
    )


def note_round(
    conn: Connection, name: str, *, age: float, lag: float, lines: int, seconds: float, window_seconds: float | None
) -> None:
    """Record a round. age: seconds since its snapshot was taken."""
    conn.execute(
        "update ops.follow set state = 'following', reason = '', as_of = clock_timestamp() - make_interval(secs => %s),"
        " lag = %s, lines = %s, rounds = rounds + 1, seconds = %s, window_seconds = %s where name = %s",
        (age, lag, lines, seconds, window_seconds, name),
    )


def want(conn: Connection, run: str) -> None:
    """Ask the process that follows to hand the file over to this run of a rollback."""
    conn.execute("update ops.follow set wanted_by = %s", (run,))


def hand_over(conn: Connection, name: str) -> str:
    """Record that the file was handed over to whoever asked for it. Returns the run, "" if nobody asks any more."""
    row = conn.execute(
        "update ops.follow set state = 'handed over', reason = wanted_by, lag = null, lines = null"
        " where name = %s and wanted_by is not null returning wanted_by",
        (name,),
    ).fetchone()
    return "" if row is None else str(row[0])


def take_back(conn: Connection, name: str, run: str) -> None:
    """Record that this run of a rollback wants the file no more, which the caller knows since its lock is free."""
    conn.execute(
        "update ops.follow set wanted_by = null, state = 'pausing', reason = 'the file was given back'"
        " where name = %s and wanted_by = %s",
        (name, run),
    )


def note_returned(conn: Connection) -> None:
    """Record that the game returned, for a process that is gone: after another cutover nobody misses it."""
    if conn.execute(_EXISTS).fetchone() == (True,):
        conn.execute("update ops.follow set state = %s, reason = ''", (FollowState.RETURNED,))


def is_handed_over(conn: Connection, run: str) -> bool:
    """Return True if the file was handed over to this run, or no process follows."""
    query = "select exists (select from ops.follow where state = 'handed over' and wanted_by = %s)"
    return conn.execute(query, (run,)).fetchone() == (True,) or not at_work(conn)


def order_pause(conn: Connection, who: str) -> bool:
    """Order a pause; False if one was ordered already, or it was stopped."""
    return _order(conn, "ordered = 'pause', ordered_by = %s, ordered_at = now()", "ordered is null", who)


def order_resume(conn: Connection) -> bool:
    """Take a pause back; False if none was ordered."""
    return _order(conn, "ordered = null, ordered_by = null, ordered_at = null", "ordered = 'pause'")


def order_stop(conn: Connection, who: str) -> bool:
    """Order the end; False if that was ordered already."""
    change = "ordered = 'stop', ordered_by = %s, ordered_at = now()"
    return _order(conn, change, "ordered is distinct from 'stop' and state <> 'returned'", who)


def _order(conn: Connection, change: str, condition: str, *values: Any) -> bool:
    return conn.execute(f"update ops.follow set {change} where {condition}".encode(), values).rowcount == 1


def is_on(conn: Connection) -> bool:
    """Return True if the game is live here, and a process follows or is to be started again."""
    if conn.execute("select phase from ops.phase").fetchone() != (Phase.LIVE,):
        return False
    row = read(conn)
    return row is not None and row.wished


def uncaptured(conn: Connection, prefix: str, triggers: int) -> list[str]:
    """List the tables of the schema that have fewer than so many triggers whose name begins so."""
    return [str(name) for (name,) in conn.execute(_UNCAPTURED, (prefix, triggers))]
