"""Runs that stop themselves (SIGSTOP) at a named point, as a paused machine stops them, and are woken later."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg

from db.cutover import pointer
from db.environments import Environment
from db.errors import ToolError
from db.servers import Server
from game.legacy import fence as legacy_fence
from game.legacy import sqlite_values
from tests.db.cutover.cutover_world import World, quiet_smoke, run_cutover, run_rollback, wait_until
from tests.fixtures.spawning import SPAWN

TICK_SECONDS = 0.005

POSTGRES_TURN = re.compile(r"lock table users|(enable always|disable) trigger|ops\.fence|update ops\.phase", re.I)


@dataclass(frozen=True)
class Point:
    """The point where a run stops itself.

    kind step: before or after a step, `at` being "before fence". kind sqlite: at the first statement that begins with
    `at` in the n-th turn of the legacy file's fence. kind postgres: at the n-th statement that turns Postgres' fence or
    the phase, or (at "COMMIT") at the end of its transaction. kind pointer: right before the pointer is written.
    """

    kind: str
    at: str = ""
    nth: int = 1

    def __str__(self) -> str:
        return "-".join(part for part in (self.kind, self.at.replace(" ", "_"), str(self.nth)) if part)


@contextmanager
def stopped(world: World, point: Point, verb: str, *, abort: bool) -> Iterator[psutil.Process]:
    """A run in a process of its own, while it is stopped at the point; it is woken, and has ended, at the end."""
    given = (world.env, world.folder, world.server.handle(), point, verb, abort)
    process = SPAWN.Process(target=_run, args=given)
    process.start()
    assert process.pid is not None
    seen = psutil.Process(process.pid)
    try:
        wait_until(lambda: not process.is_alive() or seen.status() == psutil.STATUS_STOPPED, seconds=120)
        assert process.is_alive(), f"the run ended with {process.exitcode} before it came to {point}"
        yield seen
    finally:
        if process.is_alive():
            seen.send_signal(signal.SIGCONT)
        process.join(120)
        assert process.exitcode in (0, 1, 2, 3, 4, -signal.SIGKILL), f"the woken run ended with {process.exitcode}"


@dataclass
class Writers:
    """Two writers, one on each store, that try every 5 ms; `both` counts the ticks in which both got through."""

    world: World
    ticks: int = 0
    both: int = 0
    accepted: dict[str, int] = field(default_factory=lambda: {"legacy": 0, "postgres": 0})
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def trying(self) -> Iterator[None]:
        """Write in a thread for as long as the block lasts."""
        thread = threading.Thread(target=self._write, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join(30)

    def _write(self) -> None:
        while not self._stop.wait(TICK_SECONDS):
            # Postgres first: a move from SQLite to Postgres between the two tries must not look like both.
            on_postgres, on_legacy = self._postgres(), self._legacy()
            self.ticks += 1
            self.both += on_postgres and on_legacy
            self.accepted["postgres"] += on_postgres
            self.accepted["legacy"] += on_legacy

    def _legacy(self) -> bool:
        with closing(sqlite_values.connect(self.world.env.legacy.path, timeout_seconds=0.05)) as connection:
            try:
                connection.execute("UPDATE users SET gold = gold WHERE rowid = (SELECT min(rowid) FROM users)")
            except sqlite3.Error:
                return False
            return True

    def _postgres(self) -> bool:
        try:
            with psycopg.connect(self.world.env.target.conninfo) as conn:
                conn.execute("set local lock_timeout = '50ms'")
                conn.execute("update users set gold = gold where id = (select min(id) from users)")
        except psycopg.Error:
            return False
        return True


def _run(env: Environment, folder: Path, handle: str, point: Point, verb: str, abort: bool) -> None:
    given: dict[str, Any] = {
        "smoke": quiet_smoke,
        "tools": Server.attach(handle).tool,
        "folder": folder / "runs",
        "abort": abort,
        "observer": _arm(point),
    }
    try:
        if verb == "cutover":
            run_cutover(env, **given)
        else:
            run_rollback(env, **given)
    except ToolError as error:
        raise SystemExit(error.exit_code) from error


def _arm(point: Point) -> Callable[[str, str], None]:
    """Have this process stop itself at the point; gives the observer of its steps."""
    match point.kind:
        case "sqlite":
            _arm_sqlite(point)
        case "postgres":
            _arm_postgres(point)
        case "pointer":
            _arm_pointer()

    def observer(when: str, step: str) -> None:
        if point.kind == "step" and point.at == f"{when} {step}":
            _stop()

    return observer


def _arm_pointer() -> None:
    write = pointer.write

    def written(*args: Any) -> None:
        pointer.write = write
        _stop()
        write(*args)

    pointer.write = written


def _arm_sqlite(point: Point) -> None:
    turning, connect = legacy_fence.turning, sqlite_values.connect
    turns = 0
    due = False

    def trace(statement: str) -> None:
        nonlocal due
        if due and statement.upper().startswith(point.at):
            due = False
            _stop()

    @contextmanager
    def counted(*args: Any, **named: Any) -> Iterator[None]:
        nonlocal turns, due
        turns += 1
        due = turns == point.nth
        with turning(*args, **named):
            yield

    def connected(*args: Any, **named: Any) -> sqlite3.Connection:
        connection = connect(*args, **named)
        connection.set_trace_callback(trace)
        return connection

    legacy_fence.turning, sqlite_values.connect = counted, connected


def _arm_postgres(point: Point) -> None:
    execute, leave = psycopg.Connection.execute, psycopg.Transaction.__exit__
    count = 0
    turned = False

    def counted(self: Any, query: Any, *args: Any, **named: Any) -> Any:
        nonlocal count, turned
        text = query.as_string(self) if hasattr(query, "as_string") else str(query)
        if POSTGRES_TURN.search(text) and not text.lstrip().lower().startswith(("select", "create")):
            turned = True
            if point.at != "COMMIT":
                count += 1
                if count == point.nth:
                    _stop()
        return execute(self, query, *args, **named)

    def left(self: Any, *args: Any) -> Any:
        nonlocal count, turned
        if turned and point.at == "COMMIT":
            turned = False
            count += 1
            if count == point.nth:
                _stop()
        return leave(self, *args)

    psycopg.Connection.execute, psycopg.Transaction.__exit__ = counted, left  # type: ignore[method-assign]


def _stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)
