"""Fresh databases by the dozen: a template named by what made it, clones of it, and a reset in place.

A clone and its drop cost some 12 ms each, a reset under 1 after a command and some 15 after anything else; it leaves
connections open. A connection or lock that somebody forgot is named, not waited for.
"""

from __future__ import annotations

import hashlib
import secrets
import select
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Self

import psycopg
from psycopg import sql

import db
import game
from db import ops
from db.ops import fence
from db.schema import migrate
from db.servers import Server
from db.servers.sessions import wait_until_left
from game.urls import PostgresUrl
from harness.databases.reset import Reset
from harness.databases.restrict import Restriction
from harness.databases.start_state import StartState

ENVIRONMENT = "test"

LOCK_KEY = 0x5D4A_3201
"""The key of the advisory lock under which a template is made: xdist's workers come to it at once."""

LOCK_WAIT_SECONDS = 60
"""A template takes a fifth of a second; who waits longer waits for a worker that hangs."""

MAKERS = (
    "db/migrations",
    "db/schema/migrate.py",
    "db/ops/control.py",
    "db/ops/fence.py",
    "db/tables.py",
    "game/tables.py",
)
"""The sources of a template, and the program that makes it."""


@dataclass(frozen=True)
class Database:
    """A database of its own for one test, and the state that it began with. restriction: keeps the owner out."""

    name: str
    owner: PostgresUrl
    service: PostgresUrl
    start: StartState = field(repr=False)
    restriction: Restriction | None = None


class Databases:
    """The databases of one run on one server."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._starts: dict[str, StartState] = {}
        self._ready: set[str] = set()
        self._entered: dict[str, psycopg.Connection] = {}
        self._resets: dict[str, Reset] = {}
        self._maker = ExitStack()
        self._made_by: psycopg.Connection | None = None

    def clone(self, *, fenced: bool = False, restricted: bool = False) -> Database:
        """Make a migrated, empty database with the marker `test`: open, or fenced as the migration leaves it.

        restricted: only the service may come in, which makes a reset cheaper.
        """
        template = self.template(fenced=fenced)
        name = f"{self._server.mark}{secrets.token_hex(4)}"
        self._server.create_database(name, template, self._making())
        if template not in self._starts:
            self._starts[template] = StartState.read(self._enter(name))
        owner, service = self._server.url(name, "owner"), self._server.url(name, "service")
        restriction = Restriction(owner.user, service.user) if restricted else None
        if restriction:
            restriction.put(self._making(), name)
        return Database(name, owner, service, self._starts[template], restriction)

    def lift_restriction(self, database: Database) -> None:
        """Let the owner in, to look at what is there."""
        if database.restriction:
            database.restriction.lift(self._making(), database.name)

    def reset(self, database: Database) -> None:
        """Put it back to the start, in place, proven. Raises Failure naming a held lock, or what could not be reset."""
        self._reset(database).run()

    def drop(self, database: Database) -> None:
        """Drop it. Raises Failure naming who is connected still, or what changed in a restricted one."""
        if database.restriction and database.name in self._resets:
            self._reset(database).prove()
        self._leave(database.name)
        self._server.drop_database(database.name)

    def _reset(self, database: Database) -> Reset:
        """Return the reset over the kept connection; make and keep another if that was lost."""
        conn = self._enter(database.name)
        reset = self._resets.get(database.name)
        if reset is None or reset.conn is not conn:
            reset = self._resets[database.name] = Reset(conn, database.start, database.restriction)
        return reset

    def close(self) -> None:
        """Close our own connections; clones that were not dropped go with the server."""
        for name in list(self._entered):
            self._leave(name)
        self._maker.close()
        self._made_by = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_cause: object) -> None:
        self.close()

    def _making(self) -> psycopg.Connection:
        """Return the owner's connection to where databases are made; connect anew if there is none that lives."""
        if self._made_by is None or not _alive(self._made_by):
            self._maker.close()
            self._made_by = self._maker.enter_context(self._server.as_owner())
        return self._made_by

    def _enter(self, name: str) -> psycopg.Connection:
        """Return our connection to a database: kept until its drop, for a warm one resets it in half the time.

        Its role is neither the owner nor the service, but the one that sees what the sessions of both do.
        """
        conn = self._entered.get(name)
        if conn is None or not _alive(conn):
            self._leave(name)
            conn = psycopg.connect(self._server.url(name, "superuser").conninfo, autocommit=True)
            self._entered[name] = conn
        return conn

    def _leave(self, name: str) -> None:
        """Close the kept connection to a database, if there is one."""
        self._resets.pop(name, None)
        conn = self._entered.pop(name, None)
        if conn is not None:
            conn.close()

    @cached_property
    def _digest(self) -> str:
        digest = hashlib.sha256(str(self._server.major).encode())
        for path in sorted(_files(MAKERS)):
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
        return digest.hexdigest()[:12]

    def template(self, *, fenced: bool) -> str:
        """Return the template's name; the first process to come makes it, while the others wait."""
        name = f"{self._server.mark}{'fenced' if fenced else 'open'}_{self._digest}"
        if name in self._ready:
            return name
        base = None if fenced else self.template(fenced=True)
        with self._server.admin() as conn:
            conn.execute(f"SET lock_timeout = '{LOCK_WAIT_SECONDS}s'")
            conn.execute("SELECT pg_advisory_lock(%s)", [LOCK_KEY])
            if not self._finished(conn, name):
                self._make(name, base)
                _close(conn, name)
        self._ready.add(name)
        return name

    def _finished(self, conn: psycopg.Connection, name: str) -> bool:
        """Return True if the template is there and complete; drops one that a killed worker left half made."""
        row = conn.execute("SELECT datallowconn FROM pg_database WHERE datname = %s", [name]).fetchone()
        if row is None:
            return False
        if row[0]:
            self._server.drop_database(name)
        return not row[0]

    def _make(self, name: str, base: str | None) -> None:
        owner, service = self._server.url(name, "owner"), self._server.url(name, "service")
        self._server.create_database(name, base)
        if base is None:
            ops.prepare(owner, ENVIRONMENT)
            migrate.migrate(owner, environment=ENVIRONMENT, service_role=service.user)
        else:
            with psycopg.connect(owner.conninfo) as conn:
                fence.lift(conn)


def _alive(conn: psycopg.Connection) -> bool:
    """Return True if the connection can still be used: a crash test takes every connection of its server.

    A server that ends a session says so, or closes: where there is nothing to read, nothing happened.
    """
    if not conn.closed and not select.select([conn], [], [], 0)[0]:
        return True
    try:
        conn.execute("SELECT")
    except psycopg.OperationalError:
        return False
    return True


def _close(conn: psycopg.Connection, name: str) -> None:
    """Allow no connections from now on: one left on a template fails every clone of it, after 5 s each."""
    wait_until_left(conn, name)
    conn.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(name)))


def _files(makers: Iterable[str]) -> Iterator[Path]:
    """Return the files behind the names, whichever tree the packages were imported from."""
    roots = {"db": Path(db.__file__).parent, "game": Path(game.__file__).parent}
    for maker in makers:
        package, _, rest = maker.partition("/")
        path = roots[package] / rest
        yield from path.rglob("*.py") if path.is_dir() else [path]
