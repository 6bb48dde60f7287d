"""Records in `ops` the fences that a person sets in an emergency: on which store, by whom, since when and why.

One stands at most. A row is ended, never deleted, so who closed the game and who opened it again can be looked up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from psycopg.rows import class_row

from db.ops.control import Connection

RUN = "fence-"
"""Begins the id of each emergency fence. No other run's id begins so."""

LEGACY, TARGET = "the legacy file", "Postgres"
"""The stores, as the rows name them."""

TABLE = """
create table if not exists ops.emergency_fences (
    run text primary key,
    store text not null check (store in ('the legacy file', 'Postgres')),
    who text not null,
    reason text not null,
    since timestamptz not null default now(),
    ended timestamptz,
    ended_by text,
    ended_why text
);
create unique index if not exists emergency_fences_one on ops.emergency_fences ((true)) where ended is null
"""


@dataclass(frozen=True, slots=True)
class Emergency:
    """An emergency fence that stands. who: a user and a host. since: ISO time, by the server's clock."""

    run: str
    store: str
    who: str
    reason: str
    since: str

    def __str__(self) -> str:
        return f"on {self.store}, set by {self.who} at {self.since}: {self.reason} ({self.run})"


def is_emergency(run: str | None) -> bool:
    """Return True for the run of an emergency fence, which begins no move."""
    return run is not None and run.startswith(RUN)


def standing(conn: Connection) -> Emergency | None:
    """Return the emergency fence that stands; None also where none was ever set."""
    if conn.execute("select to_regclass('ops.emergency_fences') is not null").fetchone() != (True,):
        return None
    with conn.cursor(row_factory=class_row(Emergency)) as cursor:
        cursor.execute(
            "select run, store, who, reason, date_trunc('second', since at time zone 'UTC') || ' UTC' as since"
            " from ops.emergency_fences where ended is null"
        )
        return cursor.fetchone()


def begin(conn: Connection, run: str, store: str, who: str, reason: str) -> Emergency:
    """Record that a fence is set; joins a transaction that is open. Raises a psycopg.Error if one stands."""
    conn.execute(TABLE)
    conn.execute(
        "insert into ops.emergency_fences (run, store, who, reason) values (%s, %s, %s, %s)", (run, store, who, reason)
    )
    return cast(Emergency, standing(conn))


def end(conn: Connection, run: str, who: str, why: str) -> None:
    """Record that the fence was lifted; joins a transaction that is open."""
    parameters: tuple[Any, ...] = (who, why, run)
    conn.execute(TABLE)  # A failover to an older standby may have lost it, with the record.
    conn.execute(
        "update ops.emergency_fences set ended = now(), ended_by = %s, ended_why = %s where run = %s and ended is null",
        parameters,
    )
