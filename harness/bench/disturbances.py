"""What disturbs a file that follows, each for real: kills, a crash of the server, a full disk, a migration."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import psycopg
from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from db import environments, ops
from db.cutover import services
from db.environments import Environment
from db.errors import Failure, ToolError
from db.follow.ending_signals import GentleSignals
from db.follow.loop import FollowConfig
from db.follow.loop import follow as have_it_follow
from db.follow.view import Lines
from db.ops import change_log, following
from db.ops.following import FollowState
from db.schema import migrate
from harness.bench import versions
from harness.bench.versions import Version
from harness.load.server_crash import answers, crash
from harness.load.small_disk import SmallDisk
from harness.rehearsal.setup import RehearsalSetup

WAIT_SECONDS = 60.0
FULL_SECONDS = 5.0
"""The lag in seconds at which the disk is freed."""

POLL_SECONDS = 0.1


class Follower:
    """The process that follows: one at a time, each of the version that stands here when it starts."""

    def __init__(self, env: Environment) -> None:
        self.env = env
        self.version = Version()
        self._process: BaseProcess | None = None

    def start(self) -> None:
        """Start a process that follows, of this version."""
        self._process = self.version.start(_follow, self.env)

    def kill(self) -> None:
        """Kill the process, and wait for its end."""
        assert self._process is not None, "started"
        self._process.kill()
        self._process.join()

    def wait(self) -> None:
        """Wait until it has ended by itself. Raises Failure if it does not."""
        assert self._process is not None, "started"
        self._process.join(WAIT_SECONDS)
        if self._process.is_alive():
            raise Failure("the process that follows to end", "it runs on", where=f"process {self._process.pid}")

    def end(self) -> None:
        """End it, if it runs."""
        if self._process is not None:
            self._process.terminate()
            self._process.join(30)
            self.kill()


@contextmanager
def following_file(env: Environment) -> Iterator[Follower]:
    """Follow in a process of its own until the block ends."""
    follower = Follower(env)
    follower.start()
    try:
        yield follower
    finally:
        follower.end()


def _follow(env: Environment) -> None:
    with GentleSignals() as signals:
        try:
            have_it_follow(env, FollowConfig(signals=signals, view=Lines(_line)))
        except ToolError as error:
            _line(str(error))


def _line(text: str) -> None:
    sys.stderr.write(f"     {text}\n")


@dataclass(frozen=True)
class Disturbed:
    """What is disturbed. disk: on which the file lies; None if this user may mount none. folder: of a newer version."""

    setup: RehearsalSetup
    disk: SmallDisk | None
    follower: Follower
    folder: Path

    def unable(self, name: str) -> str:
        """Return why this disturbance can't be made here; "" if it can."""
        if name == FULL_DISK and self.disk is None:
            return "this user may not mount a disk"
        if name == CRASH and self.setup.server.kind == "url":
            return "the server is not ours to crash"
        return ""


def kill_the_follower(bench: Disturbed) -> None:
    """Kill the process that follows, and start another one."""
    bench.follower.kill()
    bench.follower.start()


def kill_a_service(bench: Disturbed) -> None:
    """Kill one process of the service; its supervisor starts another one."""
    url = bench.setup.service.urls[0]
    ready = services.ask(url)
    if ready is None:
        raise Failure("a process of the service that answers", "none", where=url)
    os.kill(ready.pid, signal.SIGKILL)
    _wait_until(lambda: (now := services.ask(url)) is not None and now.pid != ready.pid, "another process there", url)


def end_sessions(bench: Disturbed) -> None:
    """End every session of the database, as a restart of a pooler does."""
    with psycopg.connect(bench.setup.server.maintenance.conninfo, autocommit=True) as conn:
        query = "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s"
        conn.execute(query, [bench.setup.environment.target_direct.dbname])


def crash_the_server(bench: Disturbed) -> None:
    """Kill a process of the server, which then recovers from its log; returns when it takes sessions again."""
    crash(bench.setup.server)
    _wait_until(lambda: answers(bench.setup.server), "the server to take sessions again", str(bench.setup.server))
    bench.setup.vitals.renew()


def fill_the_disk(bench: Disturbed) -> None:
    """Fill the disk of the file until the process that follows reports it and the lag is FULL_SECONDS; then free it."""
    assert bench.disk is not None, "asked before"
    try:
        bench.disk.fill()
        env = bench.setup.environment
        _wait_until(lambda: _pauses_for_disk(env), "a pause because the disk is full", FULL_DISK)
        _wait_until(lambda: _lacks_seconds(env), f"a lag of {FULL_SECONDS:g} s while players play on", FULL_DISK)
    finally:
        bench.disk.free()


def migrate_by_a_newer_version(bench: Disturbed) -> None:
    """Have a newer version migrate the schema: the older one's process ends by itself, and the newer one follows."""
    newer = versions.newer(bench.folder)
    bench.follower.version = newer
    newer.run(_migrate, bench.setup.environment)
    bench.follower.wait()
    bench.follower.start()


FULL_DISK, CRASH = "disk full", "server crashed"
DISTURBANCES: Mapping[str, Callable[[Disturbed], None]] = {
    "follow killed": kill_the_follower,
    "sessions ended": end_sessions,
    "service killed": kill_a_service,
    CRASH: crash_the_server,
    FULL_DISK: fill_the_disk,
    "migrated": migrate_by_a_newer_version,
}
"""By name, in the order in which they come: the newer version also makes the rollback."""


def _migrate(env: Environment) -> None:
    migrate.migrate(env.target_direct, environment=environments.THROWAWAY, service_role=env.target.user)


def _pauses_for_disk(env: Environment) -> bool:
    with ops.connect(env.target_direct) as conn:
        row = following.read(conn)
    return row is not None and row.state is FollowState.PAUSING and "disk" in row.reason


def _lacks_seconds(env: Environment) -> bool:
    with ops.connect(env.target_direct) as conn:
        return lag(conn)[0] >= FULL_SECONDS


def lag(conn: ops.Connection) -> tuple[float, int]:
    """Return the age in seconds of the oldest change that the file lacks, and how many changes it lacks.

    Raises Failure if no change log is on.
    """
    capture = change_log.capture(conn)
    if capture is None or not capture.on:
        raise Failure("a change log that is on", "none", where=ops.place(conn))
    lines, age = change_log.waiting(conn, capture.log)
    return age or 0.0, lines


def _wait_until(holds: Callable[[], bool], expected: str, where: str) -> None:
    waiting = Retrying(
        retry=retry_if_result(lambda held: not held), stop=stop_after_delay(WAIT_SECONDS), wait=wait_fixed(POLL_SECONDS)
    )
    try:
        waiting(holds)
    except RetryError:
        raise Failure(f"{expected} within {WAIT_SECONDS:.0f} s", "not yet", where=where) from None
