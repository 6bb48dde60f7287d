"""Our own schema `ops` in the target: the environment's marker, the phase of the move, the lock, and the fence's pass.

The service's role has no right on anything in it. It is never dumped and never restored: it says what is true now.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

import psycopg
from psycopg import errors, sql
from psycopg.pq import TransactionStatus

from db import environments
from db.errors import Failure, Inconclusive, Refusal
from db.ops import checkout, locks, schema
from db.ops.checkout import Checkout
from db.remedies import statement
from db.target import pooler, requirements
from game.redaction import redact
from game.urls import PostgresUrl

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]

place = requirements.place

TRIAL = "transfer-"
"""Begins the id of a run that loads a trial's copy. No other run's id begins so."""


class Phase(StrEnum):
    """The phase of a move: one row, changed only by `RunLock.advance`."""

    EMPTY = "empty"
    LOADING = "loading"
    LIVE = "live"
    ABORTED = "aborted"
    RETURNED = "returned"


_PREPARED = """
select to_regclass('ops.proven') is not null and exists (
    select from pg_attribute
    where attrelid = to_regclass('ops.fence') and attname = 'draw_epoch' and not attisdropped
) and exists (
    select from pg_attribute
    where attrelid = to_regclass('ops.fence') and attname = 'peer' and not attisdropped
)
"""
"""True if this version of the program, or a newer one, made `ops`."""

LEGAL = frozenset(
    {
        (Phase.EMPTY, Phase.LOADING),
        (Phase.ABORTED, Phase.LOADING),
        (Phase.RETURNED, Phase.LOADING),
        (Phase.LOADING, Phase.LIVE),
        (Phase.LOADING, Phase.ABORTED),
        (Phase.LIVE, Phase.RETURNED),
    }
)


KEEPALIVES: Mapping[str, Any] = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 4}
"""Short TCP timeouts: a dead connection is noticed in half a minute, not in two hours."""


def connect(url: PostgresUrl, *, application: str = "sudamr") -> Connection:
    """Open a direct connection in autocommit.

    Raises Refusal naming the URL where the server does not answer, the server refuses the role, a pooler stands
    between, or the environment holds a variable that libpq would read.
    """
    environments.check_libpq(url.parameters, where=url.redacted)
    try:
        conn = psycopg.connect(
            url.conninfo,
            autocommit=True,
            application_name=application,
            **KEEPALIVES,
        )
    except psycopg.OperationalError as error:
        raise pooler.no_answer(url, error) from None
    return pooler.require_direct(conn, url)


def prepare(
    owner: PostgresUrl,
    environment: str,
    *,
    service: PostgresUrl | None = None,
    durable: bool = False,
    whose: Checkout | None = None,
    take_over: bool = False,
    check: bool = False,
) -> None:
    """Make the schema `ops` with the environment's marker. Safe to call again.

    service: the service's URL; its role and its pooler are checked too. durable: the data must survive a crash.
    whose: the checkout that the database belongs to from now on. take_over: also if it is another checkout's.
    check: only make the checks.
    Raises Refusal if the database is another's or unfit for a move; nothing is changed.
    """
    with connect(owner, application="sudamr prepare") as conn, conn.transaction():
        conn.execute("select pg_advisory_xact_lock(%s, %s)", (locks.LOCK_CLASS, locks.PREPARE_LOCK))
        marked = _require_fit(conn, environment, service, durable=durable)
        if marked and whose is not None and not take_over:
            checkout.require_claimable(conn, environment, whose)
        if check:
            return
        try:
            conn.execute(schema.TABLES)
            conn.execute(schema.FUNCTIONS)
            for mark in marking(environment, whose):
                conn.execute(mark)
        except errors.InsufficientPrivilege as error:
            raise Refusal(
                "a role that owns the database and its schema ops",
                str(error).splitlines()[0],
                where=owner.redacted,
                do="Run as a superuser, with no service under way: "
                + statement("ALTER DATABASE {database} OWNER TO {role};", database=owner.dbname, role=owner.user),
            ) from None


def marking(environment: str, whose: Checkout | None = None) -> list[sql.Composed]:
    """Return the statements that mark a database whose schema `ops` is made, after which `prepare` changes nothing."""
    statements = [
        sql.SQL("insert into ops.environment (name) values ({}) on conflict do nothing").format(environment),
        sql.SQL("insert into ops.phase (phase) values ({}) on conflict do nothing").format(str(Phase.EMPTY)),
    ]
    return statements if whose is None else [*statements, checkout.claiming(whose)]


def _require_fit(conn: Connection, environment: str, service: PostgresUrl | None, *, durable: bool) -> bool:
    """Check the database and the roles, and return whether the database is marked. Raises Refusal."""
    requirements.require_role(conn)
    marked = marker(conn)
    if marked not in (None, environment):
        raise _wrong_marker(conn, environment, marked)
    requirements.require(conn, durable=durable)
    if service is not None:
        pooler.require(service)
    return marked is not None


def marker(conn: Connection) -> str | None:
    """Return the environment of this database; None before `prepare`. Raises Refusal for any role but the owner's."""
    try:
        if _value(conn, "select to_regclass('ops.environment')") is None:
            return None
        name = _value(conn, "select name from ops.environment")
    except errors.InsufficientPrivilege:
        raise Refusal(
            "the role that owns the schema ops",
            f"the role {conn.info.user}",
            where=place(conn),
            do="Name the owner's role in target_direct: the service's role has no right there.",
        ) from None
    return None if name is None else str(name)


def require_marker(conn: Connection, environment: str) -> None:
    """Raise Refusal unless the database is the environment's own."""
    name = marker(conn)
    if name != environment:
        raise _wrong_marker(conn, environment, name)


def require_prepared(conn: Connection) -> None:
    """Raise Refusal if `prepare` did not run, or an older version of it made the schema `ops`."""
    name = marker(conn)
    if not _value(conn, _PREPARED):
        version = "no schema ops" if name is None else "one by an older version"
        raise Refusal(
            "a prepared database", version, where=place(conn), do=f"Run: invoke prepare --env {name or 'NAME'}"
        )


def named(conn: Connection) -> str:
    """Return the environment that the database is marked for, for a command in a message; NAME if it can't be told."""
    try:
        return marker(conn) or "NAME"
    except (Refusal, psycopg.Error):  # The error that the message is for may have ended the transaction.
        return "NAME"


def identity(conn: Connection) -> str:
    """Return the database's identity for a fence: the number that `prepare` gave it, and the server's own.

    It outlives a change of host, name or version; a copy made with CREATE DATABASE … TEMPLATE is another database.
    """
    require_prepared(conn)
    query = "select identity || '/' || oid from ops.environment, pg_database where datname = current_database()"
    return str(_value(conn, query))


def phase_run(conn: Connection) -> str | None:
    """Return the run that brought the phase to where it is."""
    run = _value(conn, "select run from ops.phase")
    return None if run is None else str(run)


def is_trial(run: str | None) -> bool:
    """Return True for the run of an `invoke transfer`, which begins no move."""
    return run is not None and run.startswith(TRIAL)


def is_proven(conn: Connection, run: str) -> bool:
    """Return True if what this run loaded was verified, and the schema still holds it."""
    return bool(_value(conn, "select exists (select from ops.proven where run = %s)", (run,)))


def clear_proof(conn: Connection) -> None:
    """Record that the schema holds no verified copy any more; joins a transaction that is open."""
    conn.execute("delete from ops.proven")


def phase(conn: Connection) -> Phase:
    """Return the phase. Raises Refusal before `prepare`, or if the row was deleted; `prepare` makes it."""
    require_prepared(conn)
    value = _value(conn, "select phase from ops.phase")
    if value is None:
        raise Refusal("a row in ops.phase", "none", where=place(conn), do=f"Run: invoke prepare --env {marker(conn)}")
    return Phase(str(value))


@dataclass(frozen=True)
class RunLock:
    """The run's lock, held by `conn` (in autocommit) for as long as that connection lives."""

    conn: Connection
    run: str

    def require(self) -> None:
        """Raise Failure if the lock is lost: from here on whatever is done could cross another run."""
        try:
            self.conn.execute("select 1")
        except psycopg.OperationalError as error:
            raise _lock_lost(redact(str(error).splitlines()[0])) from None

    def require_phase(self, *phases: Phase, runs: Collection[str | None]) -> Phase:
        """Read the phase on the connection that holds the lock.

        Raises Failure if the lock is lost, the phase is none of these, or the phase's run is none of these.
        """
        try:
            row = self.conn.execute("select phase, run from ops.phase").fetchone()
        except psycopg.OperationalError as error:
            raise _lock_lost(redact(str(error).splitlines()[0])) from None
        assert row is not None, "prepare made the row"
        if row[0] not in phases or row[1] not in runs:
            expected = " or ".join(phases)
            raise Failure(
                f"the phase {expected} of run {self.run}",
                f"the phase {row[0]} of run {row[1]}",
                where="ops.phase",
                do="Another run has changed the phase since; this run changed nothing more. The next command:"
                f" invoke status --env {named(self.conn)}",
            )
        return Phase(row[0])

    def record_proof(self) -> None:
        """Have it in writing that this run's copy is proven; Failure unless it is this run that loads."""
        with self.conn.transaction():
            clear_proof(self.conn)
            written = self.conn.execute(
                "insert into ops.proven (run) select run from ops.phase where phase = %s and run = %s",
                (Phase.LOADING, self.run),
            ).rowcount
            if written != 1:
                raise Failure(f"the run {self.run} to be the one that loads", "another", where="ops.phase")

    def require_proof(self) -> None:
        """Raise Failure unless this run's copy is proven. In the transaction of live it still holds at the commit."""
        if not is_proven(self.conn, self.run):
            raise Failure(
                "a copy that was proven",
                "none of this run",
                where="ops.proven",
                do="Run the same command again: it copies anew.",
            )

    def advance(self, from_: Phase, to: Phase) -> None:
        """Move the phase one step, on the connection that holds the lock; joins a transaction that is open on it.

        Raises Failure if the phase is another or the lock is lost, and nothing changed; Inconclusive if the server
        stopped answering in the middle.
        """
        if (from_, to) not in LEGAL:
            raise ValueError(f"no phase goes from {from_} to {to}")
        if self.conn.closed:
            raise _lock_lost(f"the phase is still to go from {from_} to {to}")
        joined = self.conn.info.transaction_status != TransactionStatus.IDLE
        changed = None
        try:
            with self.conn.transaction():
                changed = self.conn.execute(
                    "update ops.phase set phase = %s, run = %s, since = now() where phase = %s", (to, self.run, from_)
                ).rowcount
        except psycopg.OperationalError as error:
            reason = redact(str(error).splitlines()[0])
            if joined or changed is None:  # The COMMIT was never sent: the change died with the connection.
                raise _lock_lost(reason) from None
            raise Inconclusive(
                f"an answer to the phase {to}",
                reason,
                where="ops.phase",
                do="Bring the server back, on its own disk; then invoke status --env NAME names the next command.",
            ) from None
        if changed != 1:
            raise Failure(f"the phase {from_}, to go to {to}", f"the phase {phase(self.conn)}", where="ops.phase")


@contextmanager
def lock(direct: PostgresUrl, *, run: str, why: str) -> Iterator[RunLock]:
    """Take the one lock of cutover, rollback and transfer, with a row that says who, where and why.

    Refusal naming the holder when it is taken. It is a session lock: it ends with the connection, however its owner
    dies, and a row left behind by one that died is overwritten.
    """
    with connect(direct, application=f"sudamr {run}") as conn:
        requirements.require(conn)
        require_prepared(conn)
        if not _value(conn, "select pg_try_advisory_lock(%s, %s)", (locks.LOCK_CLASS, locks.RUN_LOCK)):
            raise Refusal(
                "the lock to be free",
                str(locks.holder(conn) or locks.owners(conn, locks.RUN_LOCK)),
                where=direct.redacted,
                do=locks.how_to_end(conn, locks.RUN_LOCK),
            )
        try:
            _sign(conn, run, why)
            yield RunLock(conn, run)
        finally:
            with suppress(psycopg.OperationalError):  # The row of a connection that is gone counts for nothing.
                _unsign(conn)
            locks.release(conn, locks.RUN_LOCK)


def _sign(conn: Connection, run: str, why: str) -> None:
    """Write who holds the lock, in place of any row left behind."""
    with conn.transaction():
        conn.execute("delete from ops.lock_holder")
        conn.execute(
            "insert into ops.lock_holder (run, why, host, pid, backend_pid) values (%s, %s, %s, %s, pg_backend_pid())",
            (run, why, socket.gethostname(), os.getpid()),
        )


def _unsign(conn: Connection) -> None:
    if conn.info.transaction_status != TransactionStatus.IDLE:
        conn.rollback()
    conn.execute("delete from ops.lock_holder where backend_pid = pg_backend_pid()")


def _lock_lost(reason: str) -> Failure:
    return Failure(
        "the connection that holds the lock",
        f"it is lost: {reason}",
        where="ops.phase",
        do="Run the same command again: it asks the databases how far this one came.",
    )


def _wrong_marker(conn: Connection, environment: str, name: str | None) -> Refusal:
    if name is None:
        return Refusal(
            f"a database prepared for {environment}",
            "one without a marker",
            where=place(conn),
            do=f"If it is the right one: invoke prepare --env {environment}",
        )
    return Refusal(
        f"the database of {environment}",
        f"the database of {name}",
        where=place(conn),
        do=f"The URL is another environment's: correct target_direct and target of [{environment}], where they are set"
        " (invoke status --env NAME: settings). Never the marker.",
    )


def _value(conn: Connection, query: str, parameters: tuple[object, ...] = ()) -> Any:
    row = conn.execute(query, parameters).fetchone()
    return None if row is None else row[0]
