"""Read-only, enforced by Postgres itself: statement triggers on every table, which ask one row whether it is open.

The fence stops every writer and every kind of write, except a transaction that has the pass. The pass is a random token
of one run; the database keeps its sha256 in `ops`, where the service's role can't read it.
`default_transaction_read_only` would not do: any session may switch it off.

The triggers are always on. One UPDATE opens the game. One UPDATE closes it, under an advisory lock that every write
shares until its transaction ends. No table is locked, so neither waits for a vacuum, an index that is built, or a
reader; each of those can last for minutes.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from psycopg import errors, sql
from psycopg.pq import TransactionStatus
from tenacity import RetryError, Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from db import ops, tables
from db.errors import Failure, Refusal
from db.ops import change_log, locks
from db.ops.schema import FENCE_LOCK, FUNCTIONS
from db.remedies import statement
from db.target.extensions import not_an_extensions
from game import tables as game_tables
from game.errors import FENCE_PASS_SETTING
from game.legacy.fence_schema import Owner
from game.unit_of_work import FenceState


@dataclass(frozen=True)
class FencedTable:
    """A table, how the fence's trigger stands on it (None where there is none), and what our role may do to it."""

    name: str
    enabled: str | None
    kind: int | None
    is_own_function: bool | None
    column: str | None
    rights: list[str]

    @property
    def fenced(self) -> bool:
        """Return True if the trigger is ENABLE ALWAYS, runs before every kind of statement, and calls our function."""
        return (
            self.enabled == "A" and bool(self.is_own_function) and self.kind == BEFORE_STATEMENT + sum(EVENTS.values())
        )


LOCK_TIMEOUT_MS = 50
"""How long one attempt may wait for the writes in flight; other writes wait behind it for as long."""

LONGEST_PAUSE_SECONDS = 0.5
"""The longest pause between two attempts, in which players write."""

PATIENCE_SECONDS = 15.0

BEFORE_STATEMENT = 2
EVENTS = {"INSERT": 4, "DELETE": 8, "UPDATE": 16, "TRUNCATE": 32}
"""Bits of pg_trigger.tgtype."""

WRITE_STATE = """
insert into ops.fence as f (schema, state, run, peer) values (%s, %s, %s, %s)
on conflict (schema) do update set state = excluded.state, since = now(),
    run = case when excluded.state = 'open' then f.run else excluded.run end,
    peer = case when excluded.state = 'open' then f.peer else excluded.peer end
"""

TABLES = f"""
select
    c.relname,
    t.tgenabled,
    t.tgtype,
    n.nspname = 'ops' and p.proname = 'refuse_fenced',
    (select attname from pg_attribute where attrelid = c.oid and attnum > 0 and not attisdropped limit 1),
    array(select e from unnest(%s::text[]) e where has_table_privilege(c.oid, e))
from pg_class c
left join pg_trigger t on t.tgrelid = c.oid and t.tgname = %s and not t.tgisinternal
left join pg_proc p on p.oid = t.tgfoid
left join pg_namespace n on n.oid = p.pronamespace
where c.relnamespace = to_regnamespace(quote_ident(current_schema())) and c.relkind in ('r', 'p') and c.relname <> %s
    and {not_an_extensions("pg_class", "c.oid")}
order by c.relname
"""


def new_pass() -> str:
    """Return a pass for one run: 256 bits."""
    return secrets.token_urlsafe(32)


@dataclass(frozen=True, slots=True)
class Prepared:
    """The result of `prepare`. disabled: the tables whose fence trigger is not enabled."""

    disabled: tuple[str, ...]


def prepare(conn: ops.Connection) -> Prepared:
    """Do before a window what `raise_fence` and `lift` would do in it: read the triggers, and replace an outdated
    trigger function.

    Raises Failure where a table has no trigger, with the SQL that makes it, and Refusal where nothing was migrated.
    """
    prepared = Prepared(tuple(_disabled(conn)))
    with conn.transaction():
        _require_function(conn)
    return prepared


def raise_fence(
    conn: ops.Connection,
    *,
    state: FenceState = "fenced",
    pass_token: str | None = None,
    owner: Owner | None = None,
    patience_seconds: float = PATIENCE_SECONDS,
    prepared: Prepared | None = None,
) -> None:
    """Fence the schema of the connection; again is harmless and replaces the pass and the owner (None: there is none).

    owner: the run and the identity of the legacy file (`game.legacy.identity`); the service trusts no file without it.
    prepared: the result of `prepare` on this connection a moment ago; by default `prepare` is called.

    When it returns no write is in flight: it waits for the transactions that have written, in attempts so short that
    others hardly wait behind it. Joins a transaction that is open. Failure naming the blockers when they do not end in
    time; nothing changed.
    """
    if state == "open":
        raise ValueError("open is what lift makes it")
    if pass_token == "":  # An empty setting is what every session has.
        raise ValueError("an empty pass")
    disabled = (prepared or prepare(conn)).disabled
    retrying = Retrying(
        retry=retry_if_exception_type((errors.LockNotAvailable, errors.DeadlockDetected)),
        stop=stop_after_delay(patience_seconds),
        wait=wait_random_exponential(multiplier=0.02, max=LONGEST_PAUSE_SECONDS),
    )
    try:
        retrying(_fence_once, conn, state, pass_token, owner, disabled)
    except RetryError:
        raise Failure(
            f"the writes in flight to end within {patience_seconds:g} s",
            f"not ended by {locks.fence_blockers(conn)}",
            where=ops.place(conn),
            do="Nothing was changed. Let them end, or end each: SELECT pg_terminate_backend(PROCESS); Then run again.",
        ) from None


def lift(conn: ops.Connection, *, log: bool = False, prepared: Prepared | None = None) -> None:
    """Open the schema to writes, in one transaction or as part of the open one; no pass stays valid.

    Nothing is locked, so it never waits. The owner stays recorded: a service that comes from the other store looks for
    it. log: begin the change log for the owner's legacy file, which says what the schema says. prepared: if given,
    neither triggers nor function are read again.
    """
    if prepared is None:
        tables_of(conn)
    with conn.transaction():
        if prepared is None:
            _require_function(conn)
        _write_state(conn, "open", None)
        if log:
            change_log.begin_at_lift(conn)


def state(conn: ops.Connection) -> FenceState:
    """Read the state of the fence, by the owner's connection or the service's.

    Failure when the triggers say otherwise: somebody has switched them by hand.
    """
    recorded = recorded_state(conn)
    require_consistent(recorded, inconsistent_tables(conn, recorded), _schema(conn), where=ops.place(conn))
    return recorded


def recorded_state(conn: ops.Connection) -> FenceState:
    """Read the recorded state, without a look at the triggers."""
    # For an undo, which no inconsistent trigger may stop.
    try:
        row = conn.execute("select state from fence_state").fetchone()
    except errors.UndefinedTable:
        raise _not_migrated(conn) from None
    assert row is not None, "the view has one row always"
    return cast(FenceState, row[0])


def recorded_owner(conn: ops.Connection) -> Owner | None:
    """Read the run that set the fence last, and the other store that it named; None if it named none."""
    row = conn.execute("select run, peer from ops.fence where schema = current_schema()").fetchone()
    return None if row is None or None in row else Owner(*row)


def inconsistent_tables(conn: ops.Connection, recorded: FenceState) -> tuple[str, ...]:
    """Return the tables on which the fence's trigger is not on though the state is closed.

    While the game is open one may be off: an earlier version switched them off, and the next fence switches them on.
    """
    return () if recorded == "open" else without_trigger(conn)


def without_trigger(conn: ops.Connection) -> tuple[str, ...]:
    """Return the tables on which the fence's trigger is not on, whatever the fence's state."""
    return tuple(table.name for table in tables_of(conn) if table.enabled != "A")


def require_consistent(recorded: FenceState, inconsistent: tuple[str, ...], schema: str, *, where: str) -> None:
    """Raise Failure naming the tables whose trigger differs from the fence's state, with the SQL that mends them."""
    if inconsistent:
        raise Failure(
            f"every trigger as the state {recorded} has it",
            f"otherwise on {', '.join(inconsistent)}",
            where=where,
            do=f"Run as the owner: {' '.join(_mending(table, schema) for table in inconsistent)}",
        )


def _mending(table: str, schema: str) -> str:
    """Return the SQL after which the fence holds on a table of the game; one that is not the game's is moved away."""
    if table not in {each.name for each in (*game_tables.ALL, *tables.ALL)}:
        return statement(
            "CREATE SCHEMA IF NOT EXISTS kept; ALTER TABLE {table} SET SCHEMA kept;", table=(schema, table)
        )
    return statement(
        "CREATE OR REPLACE TRIGGER sudamr_fence BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table}"
        " FOR EACH STATEMENT EXECUTE FUNCTION ops.refuse_fenced();"
        " ALTER TABLE {table} ENABLE ALWAYS TRIGGER sudamr_fence;",
        table=(schema, table),
    )


def bypass(conn: ops.Connection, token: str) -> None:
    """Let the open transaction through the fence; the setting ends with it. Raises ValueError if none is open."""
    if conn.info.transaction_status == TransactionStatus.IDLE:
        raise ValueError("a pass needs a transaction that is open")
    conn.execute("select set_config(%s, %s, true)", (FENCE_PASS_SETTING, token))


@contextmanager
def own_pass(conn: ops.Connection) -> Iterator[None]:
    """Begin a transaction of the owner's that the fence and the journals let through: for maintenance, seed, reset.

    The pass is made in the transaction and gone before it ends, so nobody else can ever use it.
    """
    token = new_pass()
    with conn.transaction():
        parameters = (_schema(conn), _sha256(token))
        conn.execute("insert into ops.fence_passes (schema, pass_sha256) values (%s, %s)", parameters)
        before = _value(conn, "select current_setting(%s, true)", FENCE_PASS_SETTING)
        bypass(conn, token)
        yield
        conn.execute("select set_config(%s, %s, true)", (FENCE_PASS_SETTING, before or ""))
        conn.execute("delete from ops.fence_passes where schema = %s and pass_sha256 = %s", parameters)


def _disabled(conn: ops.Connection) -> list[str]:
    """Return the tables whose trigger is not enabled: an earlier version disabled it while the game was open.

    Failure where a table has none.
    """
    fenced_tables = tables_of(conn)
    without = [table.name for table in fenced_tables if table.enabled is None]
    if without:
        raise Failure(
            "the fence's trigger on every table",
            f"none on {', '.join(without)}",
            where=ops.place(conn),
            do=f"Run as the owner: {' '.join(_mending(table, _schema(conn)) for table in without)}",
        )
    return [table.name for table in fenced_tables if table.enabled != "A"]


def _fence_once(
    conn: ops.Connection, to: FenceState, token: str | None, owner: Owner | None, disabled: Collection[str]
) -> None:
    with conn.transaction():
        before = _value(conn, "select current_setting('lock_timeout')")
        conn.execute("select set_config('lock_timeout', %s, true)", (f"{LOCK_TIMEOUT_MS}ms",))
        conn.execute("select pg_advisory_xact_lock(%s, hashtext(current_schema()))", (FENCE_LOCK,))
        if disabled:  # Their writes share no lock: each command takes its player first, and nothing deadlocks.
            conn.execute("lock table users in exclusive mode")
        for name in disabled:
            conn.execute(
                sql.SQL("alter table {} enable always trigger {}").format(
                    sql.Identifier(name), sql.Identifier(tables.FENCE_TRIGGER)
                )
            )
        _write_state(conn, to, token, owner)
        conn.execute("select set_config('lock_timeout', %s, true)", (before,))


def _require_function(conn: ops.Connection) -> None:
    """Replace the triggers' function if an earlier version of the tool made one that does not read the state."""
    source = _value(conn, "select prosrc from pg_proc where oid = 'ops.refuse_fenced()'::regprocedure")
    if f"pg_advisory_xact_lock_shared({FENCE_LOCK}," not in source:
        conn.execute(FUNCTIONS)


def _write_state(conn: ops.Connection, to: FenceState, token: str | None, owner: Owner | None = None) -> None:
    schema = _schema(conn)
    run, peer = (None, None) if owner is None else (owner.run, owner.target)
    conn.execute(WRITE_STATE, (schema, to, run, peer))
    if to == "moved" and change_log.exists(conn):  # Whoever left Postgres has all of its changes, or gave them up.
        change_log.turn_off(conn)
    conn.execute("delete from ops.fence_passes where schema = %s", (schema,))
    if token is not None:
        conn.execute("insert into ops.fence_passes (schema, pass_sha256) values (%s, %s)", (schema, _sha256(token)))


def tables_of(conn: ops.Connection) -> list[FencedTable]:
    """Return each table but Alembic's. Refusal where nothing was migrated."""
    rows = conn.execute(TABLES, (list(EVENTS), tables.FENCE_TRIGGER, tables.VERSION_TABLE)).fetchall()
    listed = [FencedTable(*row) for row in rows]
    if not any(table.name == "users" for table in listed):
        raise _not_migrated(conn)
    return listed


def _schema(conn: ops.Connection) -> str:
    schema = _value(conn, "select current_schema()")
    if schema is None:
        raise _not_migrated(conn)
    return str(schema)


def _not_migrated(conn: ops.Connection) -> Refusal:
    return Refusal(
        "a migrated schema on the search path",
        "none",
        where=ops.place(conn),
        do=f"Run: invoke migrate --env {ops.named(conn)}",
    )


def _sha256(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _value(conn: ops.Connection, query: str, *parameters: object) -> Any:
    row = conn.execute(query, parameters).fetchone()
    return None if row is None else row[0]
