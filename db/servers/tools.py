"""Postgres's own programs, in a version that fits a server: pg_dump refuses servers newer than itself."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from db import environments
from db.errors import Refusal
from db.processes import children
from db.servers.binaries import best, installed
from db.servers.server_info import ServerInfo
from game import libpq
from game.urls import PostgresUrl


@dataclass(frozen=True)
class Tool:
    """A program that reads and writes by its standard streams; a file that it names may lie in its container.

    `seen` is the server's address for us, `own` the same for the program.
    """

    name: str
    command: tuple[str, ...]
    seen: tuple[str, int]
    own: tuple[str, int]

    def run(self, args: Sequence[str], url: PostgresUrl, **kw: Any) -> subprocess.CompletedProcess[Any]:
        """Run it on a database. `kw` goes to `children.run`, which takes what subprocess.run takes."""
        command, environment = self.invocation(args, url)
        return children.run(command, env=environment, **kw)

    def invocation(self, args: Sequence[str], url: PostgresUrl) -> tuple[list[str], dict[str, str]]:
        """Build the command line and the environment.

        One argument holds all that psycopg would connect by, except the password. The password goes by the environment,
        where neither libpq nor the program finds another variable of its own.
        """
        host, port = self.own if (url.host, url.port) == self.seen else (url.host, url.port)
        settings = {"PGPASSWORD": url.password} if url.password else {}
        command = [part for part in self.command if part != PASSED]
        if PASSED in self.command:
            at = self.command.index(PASSED)
            command[at:at] = [part for name in settings for part in ("--env", name)]
        database = url.with_(host=host, port=port, password="").conninfo
        arguments = [f"--dbname={database}", *args]
        if self.name == "psql":
            arguments.insert(0, "--no-psqlrc")
        if self.name == "pgbench":  # Version 15 has no --dbname yet.
            arguments = [*args, database]
        return [*command, *arguments], environments.child_variables(settings, secrets=libpq.KEPT)

    def version(self) -> str:
        """Ask the program for its version, such as "15.18"."""
        command, environment = self.alone(["--version"])
        printed = children.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        return str(printed).split()[2]  # pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)

    def alone(self, args: Sequence[str]) -> tuple[list[str], dict[str, str]]:
        """Build the command line and the environment of a run that reaches no database."""
        return [*(part for part in self.command if part != PASSED), *args], environments.child_variables({})


PASSED = "{passed}"
"""Where `docker exec` is told which variables to pass on: their names alone, so that no password is an argument."""


def find(name: str, info: ServerInfo) -> Tool:
    """Return the server's own program; for a server elsewhere, one of this machine not older. Raises Refusal."""
    seen = (info.host, info.port)
    docker = shutil.which("docker")
    if info.container and docker:
        command = (docker, "exec", "--interactive", PASSED, info.container, name)
        return Tool(name, command, seen, ("127.0.0.1", 5432))
    folder = info.programs or _nearest(info)
    if folder is None or not os.access(Path(folder) / name, os.X_OK):
        raise Refusal(
            f"{name} of version {info.version.partition('.')[0]} or newer",
            "none on this machine",
            where=f"for the server of kind {info.kind}",
            do="Install Postgres's client programs of that version.",
        )
    return Tool(name, (str(Path(folder) / name),), seen, seen)


def _nearest(info: ServerInfo) -> str | None:
    binaries = best(installed(), at_least=int(info.version.partition(".")[0]))
    return str(binaries.folder) if binaries else None
