"""The real service as processes of its own, under a reaper: none of them outlives us, however we end."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

import game
from db import web
from db.cutover import pointer, services
from db.environments import Pointer
from db.errors import Failure
from db.files import private
from db.servers.reaper_client import ReaperClient, last_lines
from game.redaction import redact
from game.service import tokens

START_SECONDS = 20.0
STOP_SECONDS = 30.0
"""The service itself gives requests in flight 8 seconds; the rest is for a machine that is busy."""

POLL_SECONDS = 0.05
VARIABLE = "DATABASE_URL"
PORTS = range(20_000, 30_000)
"""Below those that systems give to outgoing connections, which would be taken between our look and the service's."""

ATTEMPTS = 5
HELD = "sudamr_holds_total{"
"""Begins the lines of /metrics that count the requests which a process has held, by how that ended."""

PORT_TAKEN = "to be free"
_ARGV = (sys.executable, "-P", "-m", "game.service")
"""With -P the folder that we were started in comes not before the tree in `Service.code`."""


@dataclass
class Service:
    """`python -m game.service` on ports of its own, its store named by an env file.

    `operator_token` lets the smoke test through; it and the secrets of draws and tokens are this service's alone.
    `code` is the tree that it runs.
    """

    folder: Path
    reaper: ReaperClient
    processes: int = 2
    operator_token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    token_secret: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    chance_secret: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    code: Path = Path(game.__file__).parent.parent
    _pid: int = 0
    _port: int = 0

    @property
    def env_file(self) -> Path:
        """Return the path of the file that names the store's URL; a switch writes it anew."""
        return self.folder / "service.env"

    @property
    def pid_file(self) -> Path:
        """Return the path of the file that holds the supervisor's process id."""
        return self.folder / "service.pid"

    @property
    def log(self) -> Path:
        """Return the path of the file that holds the processes' output."""
        return self.folder / "service.log"

    @property
    def pointer(self) -> Pointer:
        """Return the pointer: the line of the env file that names the store."""
        return Pointer(self.env_file, VARIABLE)

    @property
    def urls(self) -> tuple[str, ...]:
        """Return the base URL of each process's private port."""
        return tuple(f"http://127.0.0.1:{self._port + n}" for n in range(self.processes))

    @property
    def public_urls(self) -> tuple[str, ...]:
        """Return the base URL of each process's public port, which players use: it takes many more connections."""
        return tuple(f"http://127.0.0.1:{self._port + self.processes + n}" for n in range(self.processes))

    @property
    def restart(self) -> str:
        """Return the hook that restarts every process, so that it reads the env file again."""
        return f"read -r pid < '{self.pid_file}' && kill -HUP $pid"

    def held(self) -> int:
        """Return how many requests the processes that run now have held in a window, however each ended.

        A restart begins anew: ask before the switch.
        """
        total = 0.0
        for url in self.urls:
            text = httpx.get(f"{url}/metrics", timeout=10, trust_env=False, verify=web.authorities()).text
            total += sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(HELD))
        return int(total)

    def token_of(self, player: str) -> str:
        """Return the bearer token of a player."""
        return tokens.issue(self.token_secret, player)

    def start(self, store: str) -> None:
        """Start it on a store and wait until every process answers. Failure with what it said last."""
        private.write(self.env_file, f"# The store that the service opens.\n{VARIABLE}=''\n")
        pointer.write(self.pointer, store)
        for _attempt in range(ATTEMPTS):
            self._port = free_ports(2 * self.processes)
            self._pid = self.reaper.spawn(_ARGV, account=None, env=self._environment(), log=self.log)
            if self._came_up():
                return
            if not (self.reaper.ended(self._pid) and PORT_TAKEN in last_lines(self.log, 1)):
                break  # Somebody else's taking the port since we looked is all that another attempt can help.
        raise Failure("the service to start", redact(last_lines(self.log)), where=", ".join(self.urls))

    def _came_up(self) -> bool:
        """Wait until every process answers. Return False if one ended before, or START_SECONDS have passed."""
        coming = Retrying(
            retry=retry_if_result(lambda decided: decided is None),
            stop=stop_after_delay(START_SECONDS),
            wait=wait_fixed(POLL_SECONDS),
            retry_error_callback=lambda _state: False,
        )
        return bool(coming(self._decided))

    def _decided(self) -> bool | None:
        if self.reaper.ended(self._pid):
            return False
        return all(_answers(services.ask(url)) for url in self.urls) or None

    def stop(self) -> None:
        """Ask it to end, and wait; the reaper ends what does not."""
        if not self._pid:
            return
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGTERM)
        self._await_end(self._pid)
        self._pid = 0

    def _await_end(self, pid: int) -> None:
        ending = Retrying(
            retry=retry_if_result(lambda ended: not ended),
            stop=stop_after_delay(STOP_SECONDS),
            wait=wait_fixed(POLL_SECONDS),
        )
        try:
            ending(self.reaper.ended, pid)
        except RetryError:
            last = redact(last_lines(self.log))
            raise Failure(f"the service to end within {STOP_SECONDS:.0f} s", last, where=f"process {pid}") from None

    def _environment(self) -> Mapping[str, str]:
        """Return an environment with our PATH and little else: an exported variable would win over the env file."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        return kept | {
            "PYTHONPATH": str(self.code),
            "SUDAMR_ENV_FILE": str(self.env_file),
            "HOST": "127.0.0.1",
            "PRIVATE_PORT": str(self._port),
            "PORT": str(self._port + self.processes),
            "PROCESSES": str(self.processes),
            "PIDFILE": str(self.pid_file),
            "CHANCE_SECRET": self.chance_secret,
            "TOKEN_SECRET": self.token_secret,
            "OPERATOR_TOKEN": self.operator_token,
        }


def _answers(ready: services.Ready | None) -> bool:
    return ready is not None and ready.status == httpx.codes.OK


def free_ports(count: int) -> int:
    """Return the first of that many free ports in a row, out of those that no outgoing connection is given."""
    while True:
        first = PORTS.start + secrets.randbelow(len(PORTS) - count)
        with ExitStack() as sockets, suppress(OSError):
            for n in range(count):
                sockets.enter_context(socket.socket()).bind(("127.0.0.1", first + n))
            return first
