"""The tool as a process of its own, forked from one that has imported it. It announces each event and waits.

It differs from a real run only in the messages that it sends: every statement on every SQLite connection, and every
change of a file and every program, by Python's own audit hook. The round trips are seen on the wire.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from db.console.output import outcome
from db.cutover import catching_up, ending, engine, hooks, preflight, services, switch, undoing, watchdog, window
from db.cutover.context import RunConfig
from db.cutover.ports import SmokeResult
from db.cutover.services import Ready
from db.environments import Environment
from db.processes.interruption import SIGNALS, Signals
from db.servers import Server, Tool
from game.legacy import fence as legacy_fence
from harness.strikes.events import BESIDE, PART, SNAPSHOT, Location
from harness.strikes.runbooks import OFFLINE, announcing, runbooks

FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(["harness.strikes.preloaded"])

WAIT_SECONDS = 0.4
"""How long a run waits for a stopped one, and for a hook of a dead one."""

RECONNECT_SECONDS = 5.0
ENDS_A_WINDOW_SECONDS = 10.0
"""Seconds after which the watchdog kills a tool that is stopped in a window."""

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_OPERATIONS = {
    "os.rename": 1,
    "os.remove": 0,
    "os.mkdir": 0,
    "os.rmdir": 0,
    "os.link": 1,
    "os.symlink": 1,
    "os.truncate": 0,
    "shutil.rmtree": 0,
}
"""Audit events that change files, and which of their arguments names the one that is changed."""


@dataclass(frozen=True)
class Order:
    """A command for the tool. runbook: its name. abort: undo. output: the file that takes both standard streams.

    ready_seconds: how long it waits for the service's processes to follow.
    """

    env: Environment
    folder: Path
    server: str
    runbook: str
    abort: bool
    output: Path
    ready_seconds: float = 30.0

    @property
    def line(self) -> str:
        """Return the command as an operator types it."""
        option = " --abort" if self.abort else " --offline" if self.runbook in OFFLINE else ""
        return f"invoke {runbooks()[self.runbook].verb} --env {self.env.name}{option}"


def run(order: Order, line: Connection | None) -> None:
    """Run the command as the task does, and exit with its code. line: told of what comes, and waited for."""
    _streams_to(order.output)
    _hurry(order.ready_seconds)
    narrator = None if line is None else Narrator(line, order.env.legacy.path.parent)
    enter = _unheard if narrator is None else narrator.enter
    config = RunConfig(
        passing,
        offline=order.runbook in OFFLINE,
        abort=order.abort,
        tools=partial(_program, order),
        folder=order.folder / "runs",
    )
    with Signals() as signals, outcome(None) as out:
        out.at_end, out.signals = partial(ending.ended, order.env), signals
        report = engine.run(
            order.env,
            announcing(runbooks()[order.runbook], enter),
            replace(config, signals=signals, progress=out.progress),
        )
        out.end(str(report.verdict))


def _program(order: Order, name: str) -> Tool:
    """Return a program of Postgres. One in the server's container can't reach our proxy, and goes past it."""
    program = Server.attach(order.server).tool(name)
    target = order.env.target_direct
    return program if program.seen == program.own else replace(program, seen=(target.host, target.port))


def passing(*_services: object, **_pass: object) -> SmokeResult:
    """Pass without playing: the smoke test is not struck here."""
    return SmokeResult(1)


class Narrator:
    """Announces each event of this process, and waits until the director lets it go on."""

    def __init__(self, line: Connection, folder: Path) -> None:
        self._line = line
        self._folder = str(folder)
        self._lock = threading.Lock()
        self._main = threading.main_thread()
        sys.addaudithook(self._hear)
        # Its own audit event comes before a connection takes a callback.
        sqlite3.connect = partial(self._connect, sqlite3.connect)

    def enter(self, step: str) -> None:
        """Say that the step begins, or with "" that it ends."""
        self._say("step", step, "")

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "subprocess.Popen":
            self._say(Location.PROGRAM, "", Path(os.fsdecode(arguments[0])).name)
        elif event == "open":
            path, _mode, flags = arguments
            if isinstance(flags, int) and flags & _WRITES:
                self._changes("write", path)
        elif event in _OPERATIONS:
            self._changes(event.partition(".")[2], arguments[_OPERATIONS[event]])

    def _changes(self, operation: str, path: object) -> None:
        text = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""
        if text.startswith(self._folder):
            name = self._name(text)
            self._say(Location.FILE, "", name if name in (SNAPSHOT, PART) else f"{operation} {name}")

    def _connect(self, connect: Callable[..., sqlite3.Connection], path: Any, *more: Any, **named: Any) -> Any:
        connection = connect(path, *more, **named)
        if ":memory:" in (text := os.fsdecode(path)):
            return connection
        name = self._name(text.removeprefix("file://").partition("?")[0])

        def trace(statement: str) -> None:
            if not statement.startswith("--"):  # What a trigger runs is part of the statement that fired it.
                self._say(Location.SQLITE, name, statement, within=connection.in_transaction)

        connection.set_trace_callback(trace)
        return connection

    def _name(self, path: str) -> str:
        """Return the file's name, the same in every run; what only waits for its rename is alike, and snapshots are."""
        name = path.removeprefix(self._folder).lstrip("/")
        top, _, rest = name.partition("/")
        if top == "snapshots" and Path(rest).suffix != ".sqlite":
            return SNAPSHOT
        if ".part" in name:
            return PART
        return f"{top}/{Path(rest).name if Path(rest).suffix else '…'}" if rest else name

    def _say(self, what: str, who: str, text: str, *, within: bool = False) -> None:
        beside = threading.current_thread() is not self._main
        with self._lock:
            self._line.send((str(what), BESIDE if beside else "", who, text, within))
            self._line.recv()


def _unheard(step: str) -> None:
    del step


def _streams_to(output: Path) -> None:
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(file, 1)
    os.dup2(file, 2)
    for number in SIGNALS:  # A job in the background of a shell ignores SIGINT, and so would this process.
        signal.signal(number, signal.SIG_DFL)


def _hurry(ready_seconds: float) -> None:
    """Shorten the waits for a stopped run and for the hook of a dead one, which never end here."""
    legacy_fence.turning.__wrapped__.__kwdefaults__["patience_seconds"] = WAIT_SECONDS  # type: ignore[attr-defined]
    preflight.FREE_SECONDS = WAIT_SECONDS
    hooks.ORPHAN_SECONDS = WAIT_SECONDS
    undoing.RECONNECT_SECONDS = RECONNECT_SECONDS
    switch.READY_SECONDS = ready_seconds
    services.SETTLE_SECONDS = 0.0  # Players that are struck need no quiet start.
    # Each statement in the window is held and looked at.
    window.BUDGET_SECONDS, watchdog.LONGEST_SECONDS = ENDS_A_WINDOW_SECONDS, ENDS_A_WINDOW_SECONDS
    catching_up.LONGEST_SECONDS = ENDS_A_WINDOW_SECONDS
    services.started_beside = _beside  # type: ignore[assignment]  # what it would play is no part of what is struck


@contextmanager
def _beside(_url: object, *, operator_token: str = "") -> Iterator[Ready]:
    del operator_token
    yield Ready("http://127.0.0.1", services.OK, "postgres", "", "fenced", 0, "")
