"""The owner's side of the reaper: tell it what to clear up, have it start servers, end it.

Everything is announced before it is made, so that no moment exists at which the owner's death would leave something.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from db import environments
from db.errors import Failure
from db.servers.unix_user import UnixUser
from game import libpq

SCRIPT = Path(__file__).with_name("reaper.py")

CLEARING_SECONDS = 60.0
"""How long `close` waits: removing a container takes a moment on a busy daemon."""


class ReaperClient:
    """A reaper process, alive until `close`, `leave` or the death of this process."""

    def __init__(self, *, drops_databases: bool = False) -> None:
        """Start it. drops_databases: `guest` will be called, so it needs the password that connections take."""
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd="/",
            start_new_session=True,
            # What a run made on a server of yours is dropped with a password that may stand in PGPASSWORD alone.
            env=environments.child_variables(secrets=libpq.KEPT if drops_databases else ()),
        )
        _clients.add(self)

    @property
    def pid(self) -> int:
        """Return the process id of the reaper."""
        return self._process.pid

    def folder(self, path: Path) -> None:
        """Remove this folder at the end; announced before it is made."""
        self._ask("folder", path=str(path))

    def mount(self, path: Path) -> None:
        """Unmount what is mounted on this folder at the end, before folders go; announced before it is mounted."""
        self._ask("mount", path=str(path))

    def container(self, name: str, *, made: bool) -> None:
        """Remove this container at the end; announced before it is made, and once more when it is."""
        self._ask("container", name=name, made=made)

    def guest(self, conninfo: str, mark: str, roles: Sequence[str]) -> None:
        """Drop the databases whose names begin with `mark`, and these roles, at the end; see `drops_databases`."""
        self._ask("guest", conninfo=conninfo, mark=mark, roles=list(roles))

    def run(self, argv: Sequence[str], *, account: UnixUser | None, env: Mapping[str, str], log: Path) -> None:
        """Run a program to its end. Raises Failure with the last lines that it said."""
        answer = self._ask("run", argv=list(argv), env=dict(env), log=str(log), **_ids(account))
        if answer["code"] != 0:
            raise Failure(
                f"{Path(argv[0]).name} to succeed", f"exit code {answer['code']}: {last_lines(log)}", where=argv[0]
            )

    def spawn(self, argv: Sequence[str], *, account: UnixUser | None, env: Mapping[str, str], log: Path) -> int:
        """Start a server, to be stopped at the end; its process id."""
        answer = self._ask("spawn", argv=list(argv), env=dict(env), log=str(log), **_ids(account))
        return int(answer["pid"])

    def ended(self, pid: int) -> bool:
        """Return True if a server that was spawned has ended by itself."""
        return self._ask("poll", pid=pid)["code"] is not None

    def leave(self) -> None:
        """End the reaper and let everything stay."""
        self._ask("leave")
        self.close()

    def close(self) -> None:
        """Have everything cleared up, and wait for it. Raises Failure when something could not be."""
        _clients.discard(self)
        with self._process as process:
            _stdin(process).close()
            try:
                code = process.wait(CLEARING_SECONDS)
            except subprocess.TimeoutExpired:
                raise Failure(
                    f"the server to be gone within {CLEARING_SECONDS:.0f} s",
                    "its reaper still at work",
                    do=f"Look what it waits for (ps -fp {process.pid}); once it has ended, nothing is left.",
                ) from None
        if code != 0:
            raise Failure(
                "the server to leave nothing behind",
                f"its reaper ended with code {code}",
                do="Remove by hand what it named on standard error.",
            )

    def _ask(self, do: str, **request: Any) -> dict[str, Any]:
        try:
            _stdin(self._process).write(json.dumps({"do": do, **request}).encode() + b"\n")
            _stdin(self._process).flush()
            line = self._process.stdout.readline() if self._process.stdout else b""
        except BrokenPipeError:
            line = b""
        if not line:
            raise Failure(
                "the server's reaper at work", "it ended", do="Run the same command again: that process was killed."
            )
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise Failure(f"the reaper to carry out the request {do!r}", answer["error"])
        return answer

    def let_go(self) -> None:
        """Close a forked child's copy of the pipe to the reaper."""
        # Left open, it would keep the reaper waiting for the child too.
        os.close(_stdin(self._process).fileno())


def last_lines(log: Path, lines: int = 5) -> str:
    """Return the end of a log, on one line."""
    try:
        text = log.read_text(errors="replace")
    except FileNotFoundError:
        return "it said nothing"
    return " | ".join(text.strip().splitlines()[-lines:]) or "it said nothing"


def _stdin(process: subprocess.Popen[bytes]) -> Any:
    assert process.stdin is not None
    return process.stdin


def _ids(account: UnixUser | None) -> dict[str, int]:
    return {} if account is None else {"uid": account.uid, "gid": account.gid}


_clients: weakref.WeakSet[ReaperClient] = weakref.WeakSet()


def _after_fork() -> None:
    for reaper in list(_clients):
        reaper.let_go()


os.register_at_fork(after_in_child=_after_fork)
