"""The service as it runs: `python -m game.service`, and how to wait for it."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil
import psycopg
from tenacity import Retrying, retry_if_not_exception_type, stop_after_delay, wait_fixed

import game
from db.web import authorities
from game.service import tokens
from harness.load.service_processes import free_ports

T = TypeVar("T")
PATIENCE_SECONDS = 120
TOKEN_SECRET = secrets.token_urlsafe(16)
BEARER = {"Authorization": f"Bearer {tokens.issue(TOKEN_SECRET, 'hana')}"}


class ServiceEnded(Exception):
    """The service ended, with this exit code and log, so that to wait for it is vain."""


class Running:
    """`python -m game.service` of the test's own, its store named by an env file."""

    def __init__(self, folder: Path, url: str, *, processes: int, descriptors: int = 0, **variables: str) -> None:
        self.folder = folder
        self.processes = processes
        self.port = free_ports(2 * processes)
        self.pidfile = folder / "service.pid"
        self.point_to(url)
        given = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(Path(game.__file__).parent.parent),
            "SUDAMR_ENV_FILE": str(self.env_file),
            "PRIVATE_PORT": str(self.port),
            "PORT": str(self.port + processes),
            "PROCESSES": str(processes),
            "PIDFILE": str(self.pidfile),
            "CHANCE_SECRET": secrets.token_urlsafe(16),
            "TOKEN_SECRET": TOKEN_SECRET,
        } | variables
        with (folder / "service.log").open("wb") as log:
            command = [sys.executable, "-m", "game.service"]
            if descriptors:
                command = ["/bin/sh", "-c", f'ulimit -n {descriptors}; exec "$@"', "sh", *command]
            self.process = subprocess.Popen(command, env=given, stdout=log, stderr=log)

    @property
    def env_file(self) -> Path:
        return self.folder / "service.env"

    @property
    def urls(self) -> list[str]:
        return [f"http://127.0.0.1:{self.port + n}" for n in range(self.processes)]

    @property
    def public_urls(self) -> list[str]:
        """The base URL of each process's PORT, which players reach."""
        return [f"http://127.0.0.1:{self.port + self.processes + n}" for n in range(self.processes)]

    @property
    def log(self) -> str:
        return (self.folder / "service.log").read_text()

    def point_to(self, url: str, *more: str) -> None:
        self.env_file.write_text("\n".join([f"DATABASE_URL='{url}'", *more]))

    def ready(self) -> list[dict[str, Any]]:
        """Return the answers of all processes at /readyz, once all answer. Raises ServiceEnded if it has."""
        verify = authorities()

        def answers() -> list[dict[str, Any]]:
            if self.process.poll() is not None:
                raise ServiceEnded(f"with exit code {self.process.returncode}: {self.log[-3000:]}")
            return [httpx.get(f"{url}/readyz", timeout=5, verify=verify).json() for url in self.urls]

        return eventually(answers)

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children()

    def act(self, mail: str, key: str, *, process: int = 0) -> httpx.Response:
        url = f"{self.urls[process]}/players/hana/actions/claim_mail"
        headers = {"Idempotency-Key": key, **BEARER}
        return httpx.post(url, json={"mail": mail}, headers=headers, timeout=PATIENCE_SECONDS, verify=authorities())

    def end(self) -> None:
        """Whatever a failed test has left."""
        for process in [*self.children(), psutil.Process(self.process.pid)] if self.process.poll() is None else []:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()


def eventually(look: Callable[[], T]) -> T:
    """Call `look` until it raises no more, and return its result."""
    return Retrying(
        stop=stop_after_delay(PATIENCE_SECONDS),
        wait=wait_fixed(0.02),
        retry=retry_if_not_exception_type(ServiceEnded),
        reraise=True,
    )(look)


def one_waits(connection: psycopg.Connection[Any]) -> None:
    assert connection.execute("select count(*) from pg_locks where not granted").fetchall() == [(1,)]
