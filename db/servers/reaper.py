"""The reaper: a process of its own session that clears up after its owner, however the owner died.

Run as a script by `reaper_client.py`, never imported: an isolated interpreter, so that it starts in milliseconds and
needs nothing of the project. Standard input is a pipe from the owner, one JSON request a line; each is answered by one
line. The kernel closes that pipe when the owner ends, by whatever cause: then servers are stopped (they are children
of this process, so none can escape between its start and its registration), and containers, databases, mounts and
folders removed.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

STOP_SECONDS = 10.0
"""How long an immediate shutdown may take: the postmaster itself waits 5 s for its children."""

CREATION_SECONDS = 10.0
"""How long a container may still appear whose creator died while asking for it."""


class Registry:
    """The servers, folders, mounts, containers and guests that are to be cleaned up."""

    def __init__(self) -> None:
        self.servers: list[subprocess.Popen[bytes]] = []
        self.folders: list[str] = []
        self.mounts: list[str] = []
        self.containers: dict[str, bool] = {}
        self.guests: list[dict[str, Any]] = []

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Carry out one request; what goes wrong is the answer, not the end of the reaper."""
        try:
            done: dict[str, Any] = getattr(self, f"do_{request['do']}")(request)
        except (OSError, subprocess.SubprocessError) as error:
            return {"error": str(error)}
        return done

    def do_folder(self, request: dict[str, Any]) -> dict[str, Any]:
        """Remove this folder at the end; it need not exist yet."""
        self.folders.append(request["path"])
        return {}

    def do_mount(self, request: dict[str, Any]) -> dict[str, Any]:
        """Unmount what is mounted on this folder at the end; nothing needs to be mounted yet."""
        self.mounts.append(request["path"])
        return {}

    def do_container(self, request: dict[str, Any]) -> dict[str, Any]:
        """Remove this container at the end; `made` is false while it is only being asked for."""
        self.containers[request["name"]] = request["made"]
        return {}

    def do_guest(self, request: dict[str, Any]) -> dict[str, Any]:
        """Drop, at the end, the databases and roles of this run on a server that is not ours."""
        self.guests.append(request)
        return {}

    def do_run(self, request: dict[str, Any]) -> dict[str, Any]:
        """Run to its end; while it runs, an owner's death is not seen, and is seen right after."""
        with _log(request) as log:
            done = subprocess.run(stdout=log, stderr=log, check=False, **_how(request))
        return {"code": done.returncode}

    def do_spawn(self, request: dict[str, Any]) -> dict[str, Any]:
        """Start a server; it is stopped at the end."""
        with _log(request) as log:
            server = subprocess.Popen(stdout=log, stderr=log, **_how(request))
        self.servers.append(server)
        return {"pid": server.pid}

    def do_poll(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the exit code of a server that was spawned; null while it runs."""
        (server,) = (server for server in self.servers if server.pid == request["pid"])
        return {"code": server.poll()}

    def do_leave(self, _request: dict[str, Any]) -> dict[str, Any]:
        """Forget everything: it stays when the owner goes."""
        for kept in (self.servers, self.folders, self.mounts, self.containers, self.guests):
            kept.clear()
        return {}

    def clear(self) -> list[str]:
        """Clear up all; one that fails does not keep the others from going. What failed, in words."""
        steps: list[Callable[[], None]] = [
            *(partial(_stop, server) for server in self.servers),
            *(partial(_remove_container, name, made=made) for name, made in self.containers.items()),
            *(partial(_drop_guest, guest) for guest in self.guests),
            *(partial(_unmount, folder) for folder in self.mounts),
            *(partial(_remove_folder, Path(folder)) for folder in self.folders),
        ]
        failed: list[str] = []
        for step in steps:
            try:
                step()
            except Exception as error:  # noqa: BLE001  # told by the exit code and on standard error
                failed.append(str(error))
        return failed


def _log(request: dict[str, Any]) -> Any:
    """Open the log for its owner alone, as db.files.private does, which this script does not import."""
    return os.fdopen(os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")


def _how(request: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of Popen for a program that is asked for."""
    who = {"user": request["uid"], "group": request["gid"], "extra_groups": []} if "uid" in request else {}
    return {
        "args": request["argv"],
        "env": request["env"],
        "cwd": "/",
        "stdin": subprocess.DEVNULL,
        "start_new_session": True,
        **who,
    }


def _stop(server: subprocess.Popen[bytes]) -> None:
    """Stop the server by an immediate shutdown; kill it after STOP_SECONDS."""
    # Its data are removed too, so a checkpoint would be wasted.
    with contextlib.suppress(ProcessLookupError):
        server.send_signal(signal.SIGQUIT)
    try:
        server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait(STOP_SECONDS)


def _remove_container(name: str, *, made: bool) -> None:
    """Remove by name; one that was only being asked for may still appear, so it is awaited a while."""
    import docker  # noqa: PLC0415  # most runs need none of it
    from testcontainers.core.docker_client import DockerClient  # noqa: PLC0415  # likewise

    client = DockerClient().client
    deadline = time.monotonic() + (0.0 if made else CREATION_SECONDS)
    with contextlib.closing(client):
        while True:
            try:
                client.containers.get(name).remove(force=True, v=True)
            except docker.errors.NotFound:
                if time.monotonic() >= deadline:
                    return
                time.sleep(0.1)
            else:
                return


def _drop_guest(guest: dict[str, Any]) -> None:
    """Drop only what bears the run's id in its name."""
    import psycopg  # noqa: PLC0415  # most runs need none of it
    from psycopg import sql  # noqa: PLC0415  # likewise

    mark = guest["mark"]
    with psycopg.connect(guest["conninfo"], autocommit=True) as conn:
        query = "SELECT datname FROM pg_database WHERE starts_with(datname, %s)"
        for (name,) in conn.execute(query, [mark]).fetchall():
            conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        for role in guest["roles"]:
            conn.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))


def _unmount(folder: str) -> None:
    """Unmount, even if files are open there: the disk goes when they are closed."""
    if os.path.ismount(folder):
        subprocess.run(["umount", "--lazy", folder], env={"PATH": os.defpath}, check=True, capture_output=True)


def _remove_folder(folder: Path) -> None:
    """Remove the folder. Tried again for STOP_SECONDS; then raises the OSError."""
    deadline = time.monotonic() + STOP_SECONDS
    while folder.exists():
        # A killed server may leave a straggler that writes its last line while we remove.
        try:
            shutil.rmtree(folder)
        except OSError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.05)


def _end(_number: int, _frame: object) -> None:
    raise SystemExit(0)


def main() -> int:
    """Answer until the owner's pipe closes, then clear up."""
    signal.signal(signal.SIGTERM, _end)
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(ignored, signal.SIG_IGN)
    registry = Registry()
    try:
        for line in sys.stdin.buffer:
            answer = json.dumps(registry.answer(json.loads(line)))
            with contextlib.suppress(BrokenPipeError):
                os.write(sys.stdout.fileno(), answer.encode() + b"\n")
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        failed = registry.clear()
    for line in failed:
        sys.stderr.write(f"reaper: {line}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
