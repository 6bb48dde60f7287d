"""A server that is not ours, by its URL: roles and databases with the run's id in their names are made, and dropped."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import psycopg
from psycopg import sql

from db import connection_failures
from db.errors import Refusal
from db.remedies import statement
from db.servers.reaper_client import ReaperClient
from db.servers.server_info import Login, ServerInfo, new_logins
from game.urls import PostgresUrl

RIGHTS = """
SELECT rolsuper, rolcreaterole AND rolcreatedb FROM pg_roles WHERE rolname = current_user
"""


class External:
    """The server behind a URL whose role may make roles and databases.

    The URL's database is where we stand to make our own; its schema means nothing there. Its password is better
    given in PGPASSWORD, which libpq reads: every account of a machine sees the arguments of a command.
    """

    kind = "url"

    def __init__(self, url: PostgresUrl) -> None:
        self._url = url

    def missing(self) -> str | None:
        """Return why the server can't be used, or None."""
        try:
            superuser, may_create = self._rights
        except psycopg.OperationalError as error:
            cause, message = connection_failures.explain(error)
            return f"{self._url.redacted} {'refuses' if cause.reached else 'does not answer'}: {message}"
        if superuser or may_create:
            return None
        needed = statement("ALTER ROLE {role} CREATEROLE CREATEDB", role=self._url.user)
        return (
            f"{self._url.user} at {self._url.host}:{self._url.port} may not make roles and databases (needed: {needed})"
        )

    def version(self) -> str:
        """Ask the server for its version."""
        with psycopg.connect(self._url.conninfo) as conn:
            return str(conn.info.parameter_status("server_version")).split()[0]

    def launch(self, run: str, reaper: ReaperClient, settings: Mapping[str, str]) -> ServerInfo:
        """Announce to the reaper what will be made; nothing is started. `settings` are the server's own."""
        del settings
        logins = new_logins(run)
        logins["superuser"] = Login(self._url.user, self._url.password)
        info = ServerInfo(
            kind=self.kind,
            run=run,
            host=self._url.host,
            port=self._url.port,
            logins=logins,
            maintenance=self._url.dbname,
            parameters=self._url.parameters,
            remains=f"drop the databases and roles with {run} in their names",
        )
        roles = [logins["owner"].user, logins["service"].user]
        reaper.guest(self._url.conninfo, info.mark, roles)
        return info

    @cached_property
    def _rights(self) -> tuple[bool, bool]:
        with psycopg.connect(self._url.conninfo) as conn:
            row = conn.execute(RIGHTS).fetchone()
        if row is None:
            raise Refusal(
                "a role of the server",
                self._url.user,
                where=self._url.redacted,
                do="Name in the URL a role that this server has.",
            )
        return bool(row[0]), bool(row[1])


def grant_logins(conn: psycopg.Connection, info: ServerInfo) -> None:
    """Give the role of the URL, which need not be a superuser, the two roles' rights: to see and end their sessions."""
    for role in ("owner", "service"):
        query = sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(info.logins[role].user))
        conn.execute(query)
