"""However the owner of a server dies, nothing of it stays: no process, container, folder, shared memory, OS user."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import docker
import psutil
import psycopg
import pytest

from db.errors import Failure
from db.servers import Server, start
from tests.fixtures.server_kinds import HERE
from tests.fixtures.waiting import answers, until

OWNER = """
import os, sys
from db.servers import start
with start(sys.argv[1]) as server:
    child = os.fork() if sys.argv[2] == "forked" else None
    if child != 0:
        print(server.handle(), child, sep="\\n", flush=True)
    sys.stdin.read()
    if child == 0:
        os._exit(0)
"""


@dataclass
class Traces:
    """All that a running server consists of, as the machine sees it."""

    processes: list[psutil.Process]
    paths: set[Path]
    container: str | None

    def left(self) -> list[str]:
        """Say in words what of it still exists."""
        return [
            *(f"process {process.pid}" for process in self.processes if running(process)),
            *(f"path {path}" for path in self.paths if path.exists()),
            *(f"container {name}" for name in containers() if name == self.container),
        ]

    def complete(self, kind: str) -> bool:
        """Return True for a reaper and a whole server that nobody who may do everything owns."""
        if kind == "docker":
            return self.container is not None and len(self.processes) == 1
        _reaper, *server = self.processes
        return (
            self.container is None
            and len(server) > 1
            and not any(runs_as_root(process) for process in server)
            and any("sudamr-" in str(path) for path in self.paths)
            and (sys.platform != "linux" or any("PostgreSQL." in path.name for path in self.paths))
        )

    def not_begun(self, kind: str) -> list[str]:
        """Say what of it does not exist yet."""
        return [] if (self.container if kind == "docker" else self.paths) else ["nothing begun"]


def running(process: psutil.Process) -> bool:
    """A process whose exit nobody has asked about yet is dead all the same."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def runs_as_root(process: psutil.Process) -> bool:
    """Unless it has just ended."""
    try:
        return bool(process.uids().real == 0)
    except psutil.NoSuchProcess:
        return False


def containers() -> dict[str, str]:
    """Names of all containers, running or not, with the label that says whose they are."""
    if "docker" not in HERE:
        return {}
    with closing(docker.from_env()) as client:
        listed = client.api.containers(all=True)
    return {each["Names"][0].removeprefix("/"): each["Labels"].get("sudamr.owner", "") for each in listed}


def traces(owner: int) -> Traces:
    """Processes below the owner, the folders and shared memory that they use, the container that bears its label."""
    processes = psutil.Process(owner).children(recursive=True)
    paths = {path for process in processes for path in used(process)}
    named = [name for name, label in containers().items() if label.endswith(f":{owner}")]
    return Traces(processes, paths, named[0] if named else None)


def used(process: psutil.Process) -> list[Path]:
    """Folders of ours in its arguments, and the server's shared memory; none of a process that has just ended."""
    try:
        words, regions = process.cmdline(), process.memory_maps()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []
    folders = [
        Path(*Path(word).parts[: at + 1])
        for word in words
        for at, part in enumerate(Path(word).parts)
        if part.startswith("sudamr-")
    ]
    return folders + [Path(region.path) for region in regions if "/PostgreSQL." in region.path]


@contextmanager
def owner(kind: str, mode: str = "plain") -> Iterator[subprocess.Popen[str]]:
    """A process of its own session that starts a server, says so, and waits."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, kind, mode],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as process:
        yield process


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    printed = process.stdout.readline()
    assert printed, "the owner died by itself"
    return printed


def end(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.close()


def interrupt(process: subprocess.Popen[str]) -> None:
    """As a terminal does: the signal goes to the whole group."""
    os.killpg(process.pid, signal.SIGINT)


WAYS = {"the end": end, "Ctrl-C": interrupt, "SIGTERM": subprocess.Popen.terminate, "kill -9": subprocess.Popen.kill}


@pytest.mark.plan(5)
@pytest.mark.parametrize("kind", HERE)
def test_nothing_stays_however_the_owner_dies(kind: str) -> None:
    users = pwd.getpwall()
    with ExitStack() as stack:
        owners = {way: stack.enter_context(owner(kind)) for way in WAYS}
        servers = {way: Server.attach(line(process)) for way, process in owners.items()}
        before = {way: traces(process.pid) for way, process in owners.items()}
        assert all(each.complete(kind) for each in before.values()), before
        for way, process in owners.items():
            WAYS[way](process)
    for way in WAYS:
        until(lambda way=way: before[way].left())
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(servers[way].maintenance.conninfo)
    assert pwd.getpwall() == users


@pytest.mark.parametrize("kind", HERE)
def test_nothing_stays_when_the_owner_is_killed_while_it_starts_a_server(kind: str) -> None:
    with owner(kind) as process:
        until(lambda: traces(process.pid).not_begun(kind))
        before = traces(process.pid)
        process.kill()
    until(before.left)
    assert not [name for name, label in containers().items() if label.endswith(f":{process.pid}")]


def test_a_forked_child_that_outlives_the_owner_does_not_keep_the_server() -> None:
    with owner(HERE[-1], "forked") as process:
        line(process)
        child = psutil.Process(int(line(process)))
        before = traces(process.pid)
        before.processes.remove(child)
        process.kill()
        until(before.left)
        assert running(child)
        child.kill()


def test_a_server_whose_reaper_was_killed_is_said_to_be_left_and_how_to_remove_it() -> None:
    others = set(psutil.Process().children())
    server = start(HERE[-1])
    (reaper,) = set(psutil.Process().children()) - others
    reaper.kill()
    with pytest.raises(Failure, match="its reaper ended with code -9") as failed:
        server.stop()
    assert answers(server.maintenance.conninfo)
    subprocess.run(failed.value.do.partition("may be left: ")[2], shell=True, check=True, capture_output=True)
    until(lambda: ["the server answers"] if answers(server.maintenance.conninfo) else [])
