"""Records in `ops` which certificates admitted a move to this database; records are added and never changed.

It stands with the target, not with who asks: a fresh checkout or another machine finds the same last one.
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from db import ops
from db.ops.statements import insert_into

TABLE = """
create table if not exists ops.admissions (
    n bigint generated always as identity primary key,
    commit_id text not null,
    made_at text not null,
    scenarios bigint not null,
    twins bigint not null,
    faults_fired bigint not null,
    race_orders bigint not null,
    admitted_at timestamptz not null default now()
)
"""


@dataclass(frozen=True, slots=True)
class Admission:
    """A certificate that was accepted: of which commit, made when (ISO time), and how much its gate had run."""

    commit_id: str
    made_at: str
    scenarios: int
    twins: int
    faults_fired: int
    race_orders: int


COLUMNS = tuple(Admission.__dataclass_fields__)


def last(conn: ops.Connection) -> Admission | None:
    """Return the admission accepted last; None before the first."""
    row = conn.execute("select to_regclass('ops.admissions') is not null").fetchone()
    if row != (True,):
        return None
    listed = sql.SQL(", ").join(map(sql.Identifier, COLUMNS))
    admission = conn.execute(sql.SQL("select {} from ops.admissions order by n desc limit 1").format(listed)).fetchone()
    return None if admission is None else Admission(*admission)


def add(conn: ops.Connection, admission: Admission) -> None:
    """Note that it was accepted; the same one again is noted once."""
    if last(conn) == admission:
        return
    conn.execute(TABLE)
    places = [sql.Placeholder()] * len(COLUMNS)
    statement = insert_into(sql.Identifier("ops", "admissions"), COLUMNS, places)
    conn.execute(statement, [getattr(admission, column) for column in COLUMNS])
