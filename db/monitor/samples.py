"""Counters of earlier looks, in a file of this machine: a rate needs two, an unused index fourteen days of them.

The watch's role may only read the database, so nothing is kept there. A look is written in one transaction, so a watch
that is killed leaves the looks before.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from db.files import private

KEPT = timedelta(hours=6)
"""How long every look is kept; beyond, one a day is, for KEPT_DAILY."""

KEPT_DAILY = timedelta(days=30)

STANDING = "standing "
"""Begins the names of what the standing checks keep; a look that did not judge one leaves it as it was."""

TABLES = """
create table if not exists looks (
    at real primary key,
    daily integer not null,
    counters text not null
);
create table if not exists alarms (
    check_name text primary key,
    recent text not null,
    firing_since real
);
create table if not exists messages (
    id integer primary key,
    at real not null,
    place text not null,
    document text not null
);
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """Counters at one instant, by name. began: when the server began to count them, in seconds since 1970."""

    at: datetime
    began: float
    counters: dict[str, float] = field(default_factory=dict)


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the file of looks and alarms; make it where it is missing. In autocommit. Raises OSError, sqlite3.Error."""
    private.make_folder(path.parent)
    with private.opened(path, "a"):  # Makes it 0600, or narrows it, before SQLite writes into it.
        pass
    with closing(sqlite3.connect(path, timeout=10.0, isolation_level=None)) as conn:
        conn.execute("pragma journal_mode = wal")
        conn.executescript(TABLES)
        yield conn


def add(conn: sqlite3.Connection, sample: Sample) -> None:
    """Write a look, and drop what is too old."""
    at = sample.at.timestamp()
    sample.counters.update(_standing(conn, sample))
    day = sample.at.replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
    document = json.dumps({"began": sample.began, "counters": sample.counters})
    with transaction(conn):
        (today,) = conn.execute("select count(*) from looks where daily and at >= ?", (day,)).fetchone()
        conn.execute("insert or replace into looks values (?, ?, ?)", (at, int(not today), document))
        conn.execute("delete from looks where at < ? and not daily", (at - KEPT.total_seconds(),))
        conn.execute("delete from looks where at < ?", (at - KEPT_DAILY.total_seconds(),))


def before(conn: sqlite3.Connection, at: datetime, *, least: timedelta, most: timedelta) -> Sample | None:
    """Return the newest look that is at least and at most so long before an instant; None if there is none."""
    row = conn.execute(
        "select at, counters from looks where at between ? and ? order by at desc limit 1",
        ((at - most).timestamp(), (at - least).timestamp()),
    ).fetchone()
    if row is None:
        return None
    document = json.loads(row[1])
    return Sample(datetime.fromtimestamp(row[0], UTC), document["began"], document["counters"])


def _standing(conn: sqlite3.Connection, sample: Sample) -> dict[str, float]:
    """Return what the newest look that is kept knows of the standing checks that this one did not judge."""
    newest = before(conn, sample.at, least=timedelta(0), most=KEPT_DAILY)
    kept = {} if newest is None else {key: n for key, n in newest.counters.items() if key.startswith(STANDING)}
    judged = {key.partition(": ")[0] for key in sample.counters if key.startswith(STANDING)}
    return {key: n for key, n in kept.items() if key.partition(": ")[0] not in judged}


@contextmanager
def transaction(conn: sqlite3.Connection) -> Iterator[None]:
    """Hold the file's write lock; commit at the end, or roll back what raised."""
    conn.execute("begin immediate")
    with conn:
        yield
