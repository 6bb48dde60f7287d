"""A running Postgres: where it is, who may log in, its databases and its tools.

The one that started it owns it and stops it; a worker attaches by its handle and can't.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import psycopg
from psycopg import sql

from db.errors import Failure
from db.servers.reaper_client import ReaperClient
from db.servers.server_info import Role, ServerInfo
from db.servers.sessions import wait_until_left
from db.servers.tools import Tool, find
from game.urls import PostgresUrl


class Server:
    """A Postgres with the roles `owner` (may create databases) and `service`, and no other use."""

    def __init__(self, info: ServerInfo, reaper: ReaperClient | None = None) -> None:
        self._info = info
        self._reaper = reaper

    @property
    def kind(self) -> str:
        """Return docker, local, embedded, embedded18 or url."""
        return self._info.kind

    @property
    def version(self) -> str:
        """Return the server's version, such as "15.18"."""
        return self._info.version

    @property
    def major(self) -> int:
        """Return the major version: 15 of 15.18."""
        return int(self.version.partition(".")[0])

    @property
    def why(self) -> str:
        """Return why better kinds were passed over; "" if none was."""
        return self._info.why

    @property
    def mark(self) -> str:
        """Return the prefix of the names of this run's databases; only those may be dropped by pattern."""
        return self._info.mark

    def __str__(self) -> str:
        return f"{self.kind} {self.version}"

    def url(self, dbname: str, role: Role = "owner") -> PostgresUrl:
        """Return the URL of a database as one of the three roles."""
        login = self._info.logins[role]
        return PostgresUrl(
            host=self._info.host,
            port=self._info.port,
            user=login.user,
            password=login.password,
            dbname=dbname,
            parameters=self._info.parameters,
        )

    @property
    def maintenance(self) -> PostgresUrl:
        """Return the database to stand in while others are made, as the role that may do most."""
        return self.url(self._info.maintenance, "superuser")

    def create_database(self, name: str, template: str | None = None, conn: psycopg.Connection | None = None) -> None:
        """Make a database of the owner's: empty, or a copy of a template that nobody is connected to.

        conn: the owner's, in autocommit, where there is one: to connect takes a fifth of the time that a copy takes.
        """
        # Without fsync its two checkpoints cost little, and it takes half the time of WAL_LOG: 11 ms, not 24.
        query = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY").format(
            sql.Identifier(name), sql.Identifier(template or "template0")
        )
        if conn is not None:
            conn.execute(query)
            return
        with self.as_owner() as own:
            own.execute(query)

    def drop_database(self, name: str) -> None:
        """Drop it. Raises Failure naming who is connected to it still."""
        with self.admin() as conn:
            wait_until_left(conn, name)
            conn.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))

    def tool(self, name: str) -> Tool:
        """Return one of Postgres's programs (`pg_dump`, `psql`), not older than the server. Raises Refusal if none."""
        return find(name, self._info)

    def handle(self) -> str:
        """Return all that another process needs to use this server; bears the passwords."""
        return self._info.as_text()

    @classmethod
    def attach(cls, handle: str) -> Self:
        """Attach to the server of another process; stopping it from here does nothing."""
        return cls(ServerInfo.read(handle))

    @contextmanager
    def admin(self) -> Iterator[psycopg.Connection]:
        """Open a connection in autocommit to the maintenance database, as the role that may do most."""
        with psycopg.connect(self.maintenance.conninfo, autocommit=True) as conn:
            yield conn

    def stop(self) -> None:
        """Stop it and remove all that it left; what we did not make stays. Raises Failure when something is left."""
        reaper, self._reaper = self._reaper, None
        if reaper is None:
            return
        try:
            reaper.close()
        except Failure as error:
            do = f"Remove what may be left: {self._info.remains}"
            raise Failure(error.expected, error.found, where=error.where, do=do) from error

    def keep(self) -> str:
        """Let it run on without us. Return the command that removes it. Raises Failure if it is not this process's."""
        reaper, self._reaper = self._reaper, None
        if reaper is None:
            raise Failure("a server of this process's own", "one of another's, or one that was stopped")
        reaper.leave()
        return self._info.remains

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @contextmanager
    def as_owner(self) -> Iterator[psycopg.Connection]:
        """Open a connection in autocommit to the maintenance database, as the role that may create databases."""
        url = self.url(self._info.maintenance, "owner")
        with psycopg.connect(url.conninfo, autocommit=True) as conn:
            yield conn
