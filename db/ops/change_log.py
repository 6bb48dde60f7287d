"""The change log of Postgres: whose rows of the game were changed, written by triggers. See `db.ops.noting`.

The log is on from the lift of a cutover until Postgres is left, so that a rollback knows what the legacy file lacks. It
names players, requests and tables, never values. `ops.fence` says whether it is on, and which log it is; one row of
`ops.change_capture` says which legacy file it belongs to, and how far it was applied. The triggers are always there.

The log is bounded. One that is full turns itself off, and the next write-back begins anew; no player waits for it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from psycopg import errors

from db import ops, tables
from db.ops import noting
from db.ops.schema import FENCE_LOCK

LINE_BYTES = 150
"""Of a line of one player's command, with its share of the index."""

PART_OF_DATABASE = 5
"""The log may grow to this part of the game's tables."""

LEAST_LINES = 100_000
"""The log may grow to so many lines, some 15 MB, whatever the tables' size: a burst would fill a small part."""

ENTRY_TIMEOUT_MS = 50
"""How long one attempt to turn the log on may wait for the writes in flight; other writes wait behind it."""

_BITS = {"insert": 4, "delete": 8, "update": 16, tables.TRUNCATE: 32}
"""Of the events of triggers, in pg_trigger."""

_EXISTS = "select to_regclass('ops.change_capture') is not null"

_TRIGGERS = """
select c.relname, t.tgname, t.tgenabled, t.tgtype, p.proname, p.pronamespace = to_regnamespace('ops'),
    encode(t.tgargs, 'escape'), t.tgoldtable, t.tgnewtable, t.tgqual is null and t.tgattr = ''
from pg_class c
join pg_trigger t on t.tgrelid = c.oid and not t.tgisinternal and starts_with(t.tgname, %s)
join pg_proc p on p.oid = t.tgfoid
where c.relnamespace = to_regnamespace(quote_ident(current_schema())) and c.relkind in ('r', 'p')
"""
_FUNCTIONS = """
select proname, prosrc, prosecdef, proconfig from pg_proc
where pronamespace = to_regnamespace('ops') and proname = any(%s)
"""
_RELATIONS = """
select coalesce(md5(string_agg(c.oid || '.' || t.tgname || '.' || t.xmin, ' ' order by c.oid, t.tgname)), '')
from pg_class c join pg_trigger t on t.tgrelid = c.oid and starts_with(t.tgname, %(prefix)s)
where c.relnamespace = to_regnamespace(quote_ident(current_schema()))
"""
"""A trigger that is switched off and on has another xmin; a table that was restored has another oid."""

_TURN_ON = f"""
with owner as (
    select f.schema, coalesce(%(run)s, f.run) as run, coalesce(%(peer)s, f.peer) as peer from ops.fence f
    where f.schema = current_schema()
), capture as (
    insert into ops.change_capture as c (schema, log, run, peer, relations, most, applied, at_lift)
    select o.schema, %(log)s, o.run, o.peer, ({_RELATIONS}),
        greatest(%(least)s, (
            select sum(r.relpages)::bigint * current_setting('block_size')::bigint / %(line_bytes)s from pg_class r
            where r.relnamespace = to_regnamespace(quote_ident(current_schema()))
        )),
        coalesce((select s.last_value from pg_sequences s
            where s.schemaname = 'ops' and s.sequencename = 'change_log_n_seq'), 0), %(at_lift)s
    from owner o where o.run is not null and o.peer is not null
    on conflict (schema) do update set log = excluded.log, run = excluded.run, peer = excluded.peer,
        relations = excluded.relations, most = excluded.most, applied = excluded.applied, rounds = 0,
        at_lift = excluded.at_lift, ended = null, since = now()
    returning c.schema, c.log
)
update ops.fence f set log = capture.log from capture where f.schema = capture.schema
"""

_CAPTURE = f"""
select c.log, c.run, c.peer, c.rounds, c.applied, c.most, c.at_lift, c.ended,
    coalesce(f.log = c.log, false), c.relations = ({_RELATIONS}), c.log || '.' || case
        when pg_is_in_recovery() then '' else left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) end
from ops.change_capture c left join ops.fence f on f.schema = c.schema where c.schema = current_schema()
"""


@dataclass(frozen=True, slots=True)
class Capture:
    """The log of a schema. run, peer: the move that it began with, and the identity of the legacy file.

    rounds: how many were applied; applied: the newest line of those. most: how many lines it may have. at_lift: it
    began with the lift of a cutover, when the file said what Postgres said. ended: why the log turned itself off.
    on: changes are noted. whole: every table and trigger is the one with which the log began.
    followed: the name by which a file follows it: the log's and, after a dot, that of the server's timeline. A standby
    that was promoted may lack what the file was given, and so may a server that was restored to a point in time; both
    begin another timeline.
    """

    log: str
    run: str
    peer: str
    rounds: int
    applied: int
    most: int
    at_lift: bool
    ended: str | None
    on: bool
    whole: bool
    followed: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the log. source: the legacy table; `users` for all that belongs to a player.

    keys: ids of players; requests: of the same places, if journals changed; positions: rowids of `users`.
    """

    n: int
    source: str
    keys: Sequence[str]
    requests: Sequence[str] | None
    positions: Sequence[int]


def exists(conn: ops.Connection) -> bool:
    """Return True if the schema `ops` has the log: revision 0012, or a newer `prepare`, made it."""
    return conn.execute(_EXISTS).fetchone() == (True,)


def capture(conn: ops.Connection) -> Capture | None:
    """Return the log of the schema on the search path, also one that has ended; None if none was ever begun."""
    try:
        row = conn.execute(_CAPTURE, {"prefix": tables.LOG_PREFIX}).fetchone()
    except errors.UndefinedTable:
        return None
    return None if row is None else Capture(*row)


def begin_at_lift(conn: ops.Connection) -> None:
    """Begin the log in the open transaction, which lifts the fence: nothing was written before it.

    The log belongs to the legacy file that the fence names. Does nothing if the fence names none, or the schema has no
    log yet.
    """
    if exists(conn):
        _turn_on(conn, at_lift=True)


def turn_on(conn: ops.Connection, *, run: str, peer: str) -> str:
    """Begin a new log for this legacy file while players play, in one transaction of its own. Returns its name.

    A transaction that is committed later noted all of its writes. Raises LockNotAvailable where writes in flight do not
    end within ENTRY_TIMEOUT_MS; nothing is changed then.
    """
    with conn.transaction():
        before = conn.execute("select current_setting('lock_timeout')").fetchone()
        assert before is not None
        conn.execute("select set_config('lock_timeout', %s, true)", (f"{ENTRY_TIMEOUT_MS}ms",))
        # Each write shares this lock until its transaction ends, so none is in flight that has seen the log off.
        conn.execute("select pg_advisory_xact_lock(%s, hashtext(current_schema()))", (FENCE_LOCK,))
        conn.execute("select set_config('lock_timeout', %s, true)", before)
        return _turn_on(conn, at_lift=False, run=run, peer=peer)


def _turn_on(conn: ops.Connection, *, at_lift: bool, run: str | None = None, peer: str | None = None) -> str:
    log = secrets.token_hex(8)
    values = {
        "log": log,
        "run": run,
        "peer": peer,
        "prefix": tables.LOG_PREFIX,
        "least": LEAST_LINES,
        "line_bytes": PART_OF_DATABASE * LINE_BYTES,
        "at_lift": at_lift,
    }
    conn.execute(_TURN_ON, values)
    # Whatever this transaction has written before, unnoted: from now on all is noted.
    conn.execute("select set_config(%s, '*', true)", (noting.NOTED_SETTING,))
    return log


def turn_off(conn: ops.Connection) -> None:
    """Note nothing from now on, in the open transaction. The lines stay; harmless if the log is off."""
    conn.execute("update ops.fence set log = null where schema = current_schema() and log is not null")


def lines(conn: ops.Connection, log: str) -> list[Line]:
    """Return the lines of the log that the open snapshot shows, in the order of their numbers."""
    rows = conn.execute(
        "select n, source, coalesce(keys, '{}'), requests, coalesce(positions, '{}') from ops.change_log"
        " where log = %s order by n",
        (log,),
    )
    return [Line(*row) for row in rows]


def forget(conn: ops.Connection, log: str, numbers: Collection[int], round_number: int) -> None:
    """Delete exactly these lines, which are applied, and those of earlier logs. Count the round.

    Others with smaller numbers may be committed later: they stay, for the next round.
    """
    conn.execute("delete from ops.change_log where n = any(%s)", (list(numbers),))
    conn.execute(
        "update ops.change_capture set rounds = %s, applied = greatest(applied, %s)"
        " where schema = current_schema() and log = %s",
        (round_number, max(numbers, default=0), log),
    )


def clean(conn: ops.Connection) -> None:
    """Delete the lines of logs that no schema has any more."""
    conn.execute("delete from ops.change_log l where not exists (select from ops.change_capture c where c.log = l.log)")


def waiting(conn: ops.Connection, log: str) -> tuple[int, float | None]:
    """Return how many lines wait, and the age in seconds of the oldest change of those; None if there is none."""
    row = conn.execute(
        "select count(*), extract(epoch from clock_timestamp() - min(at))::float8 from ops.change_log where log = %s",
        (log,),
    ).fetchone()
    assert row is not None
    return int(row[0]), row[1]


def lacking(conn: ops.Connection) -> list[str]:
    """List the triggers and functions of the log that are missing, or are otherwise than they were made.

    Each table of `tables.LOGGED` has exactly one trigger an event, on whatever the session's replication role is, that
    calls the function of `ops` with its own arguments, and a table of players one more for each row; any other trigger
    with the log's prefix is listed too.
    """
    with conn.pipeline():  # One round trip: each is a wait for a processor, and players wait for this in a window.
        triggers = conn.execute(_TRIGGERS, (tables.LOG_PREFIX,))
        bodies = conn.execute(_FUNCTIONS, (list(_functions()),))
    actual = {(row[0], row[1]): tuple(row[2:]) for row in triggers}
    expected = {(table, name): _trigger(table, event) for table in tables.LOGGED for event, name in _names()}
    expected |= {
        (table, name): _row_trigger(table, event)
        for table in tables.ROWS_NOTED
        for event, name in tables.LOG_ROW_TRIGGERS.items()
    }
    wrong = [f"{name} on {table}" for (table, name), how in expected.items() if actual.get((table, name)) != how]
    wrong += [f"{name} on {table}" for table, name in actual.keys() - expected.keys()]
    functions = {row[0]: row[1:] for row in bodies}
    wrong += [
        f"function ops.{name}"
        for name, (body, path) in _functions().items()
        if functions.get(name) != (body, True, ["search_path=pg_catalog, pg_temp"] if path else None)
    ]
    return sorted(wrong)


def _names() -> list[tuple[str, str]]:
    return list(tables.LOG_TRIGGERS.items())


def _trigger(table: str, event: str) -> tuple[object, ...]:
    """Return the trigger as pg_trigger has it: after (0) or before (2) a statement, with the bit of its event."""
    if event == tables.TRUNCATE:
        return "A", 2 + _BITS[event], "refuse_truncate", True, "", None, None, True
    rows = dict(re.findall(r"(old|new) table as (\w+)", tables.LOG_ROWS[event]))
    function = "note_statement" if table in tables.ROWS_NOTED else "note_change"
    return "A", _BITS[event], function, True, _arguments(table), rows.get("old"), rows.get("new"), True


def _row_trigger(table: str, event: str) -> tuple[object, ...]:
    """Return the trigger as pg_trigger has it: after each row (1), with the bit of its event."""
    return "A", 1 + _BITS[event], noting.row_function(tables.LOGGED[table][0], event), True, "", None, None, True


def _arguments(table: str) -> str:
    return "".join(f"{argument}\\000" for argument in tables.LOGGED[table])


def _functions() -> dict[str, tuple[str, bool]]:
    """Return the body of each function, and whether it sets a search path: the others name every schema."""
    return {
        **{
            noting.row_function(kind, event): (noting.note_row_body(kind, event), False)
            for kind in noting.KINDS
            for event in noting.EVENTS
        },
        "note_statement": (noting.NOTE_STATEMENT_BODY, False),
        "note_change": (noting.NOTE_CHANGES_BODY, True),
        "bound_change_log": (noting.BOUND_CHANGE_LOG_BODY, True),
        "refuse_truncate": (noting.REFUSE_TRUNCATE_BODY, True),
    }
