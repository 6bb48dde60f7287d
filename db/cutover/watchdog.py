"""A watchdog process for each window: if the tool dies or hangs in the window, it lets players play again.

The tool writes to the watchdog's pipe: the window begins, the point of no return is sent, the window is over. If the
pipe closes inside a window, the tool is gone; if nothing comes for longer than a window may last, the watchdog kills
the tool. If the point of no return was not sent, the legacy file is opened at once. If it was sent, the watchdog takes
the run lock, which the dead session has lost by then, and reads the phase from Postgres: if it is live, the file's
fence says that the game moved; else the file is opened. While Postgres does not answer nothing is opened. A copy that
was not finished stays, and the next run goes on with it.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from db.cutover import cutover_steps, fence_owner, returning
from db.cutover.context import FAILURES, READ_ONLY_ENDS, RunConfig
from db.cutover.journal import Journal
from db.cutover.ports import SmokeResult
from db.environments import Environment, child_variables
from db.errors import Failure, ToolError
from db.ops import Phase
from game import libpq
from game.legacy import fence as legacy_fence
from game.legacy import sqlite_values
from game.legacy.fence_schema import Owner
from game.redaction import redact
from game.urls import LegacyUrl, PostgresUrl

LONGEST_SECONDS = 3.0
"""A tool that writes nothing for so long inside a window is killed: three times the window's budget."""

START_SECONDS = 30.0
SETTLE_SECONDS = 120.0
WINDOW, SENT, OVER, READY = b"w", b"s", b"o", b"ready\n"


@dataclass(frozen=True, slots=True)
class Guarded:
    """The run that the watchdog guards: its environment, the folder of its journal, and the owner of its fences.

    verb: of the move; in the window of a rollback the file is opened only once Postgres says returned, and a tool that
    dies before that leaves Postgres open. longest_seconds: the watchdog ends a tool that writes nothing for so long
    inside a window. tool: the process that writes.
    """

    env: Environment
    folder: Path
    owner: Owner
    verb: str = "cutover"
    longest_seconds: float = field(default_factory=lambda: LONGEST_SECONDS)
    tool: int = field(default_factory=os.getpid)


@dataclass(frozen=True, slots=True)
class Watchdog:
    """The tool's end of the pipe."""

    pipe: IO[bytes]

    def tell(self, message: bytes) -> None:
        """Write one of WINDOW, SENT, OVER. Raises Failure if the watchdog is gone: no window without one."""
        try:
            self.pipe.write(message)
            self.pipe.flush()
        except OSError as error:
            raise Failure("the watchdog of the window at work", str(error), do="Run the same command again.") from None


@contextmanager
def standing_by(guarded: Guarded) -> Iterator[Watchdog]:
    """Start the process and wait until it is ready. At the block's end, close its pipe and wait until it has ended.

    If the last message was not OVER, it settles the fence before it ends, which may take minutes.
    Raises Failure if it does not start.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "db.cutover.watchdog"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C at the terminal is the tool's to answer.
        env=child_variables(secrets=libpq.KEPT),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        pickle.dump(guarded, process.stdin)
        process.stdin.flush()
        if not select.select([process.stdout], [], [], START_SECONDS)[0] or process.stdout.readline() != READY:
            process.kill()
            raise Failure("the watchdog of the window to start", "it did not", do="Run the same command again.")
        try:
            yield Watchdog(process.stdin)
        finally:
            with suppress(BrokenPipeError):  # The watchdog is gone, as the block's own error says.
                process.stdin.close()


def main() -> int:
    """Wait on the pipe; return 0 once all is settled, 3 if it can't be."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    try:
        guarded: Guarded = pickle.load(sys.stdin.buffer)  # noqa: S301  # written by the tool that started this process
        os.write(1, READY)
    except (EOFError, pickle.UnpicklingError, BrokenPipeError):  # The tool is gone, and begins nothing before READY.
        return 0
    last = OVER
    while message := _next_message(None if last == OVER else guarded.longest_seconds, guarded.tool):
        last = message
    if last == OVER:
        return 0
    return settle(guarded, sent=last == SENT)


def _next_message(seconds: float | None, tool: int) -> bytes:
    """Return the next message; b"" once the tool is gone. A tool that writes nothing for so long is killed first."""
    if not select.select([0], [], [], seconds)[0] and os.getppid() == tool:
        os.kill(tool, signal.SIGKILL)
        select.select([0], [], [])
    return os.read(0, 1)


def settle(guarded: Guarded, *, sent: bool) -> int:
    """Open the file, or turn its fence to moved, as the module's text says. Returns the exit code."""
    began = time.monotonic()
    journal = Journal(guarded.folder)
    found = f"the tool gone {'after' if sent else 'before'} the point of no return was sent"
    if not sent and guarded.verb == "rollback":
        journal.write("watchdog", found=found, nothing="Postgres is open")
        return 0
    retrying = Retrying(  # A server that recovers, a lock that is still held, a disk that is full.
        retry=retry_if_exception_type((ToolError, *FAILURES)),
        stop=stop_after_delay(SETTLE_SECONDS),
        wait=wait_fixed(0.1),
        reraise=True,
    )
    try:
        if not sent:
            journal.write("watchdog", found=found, opened=retrying(open_again, guarded.env, guarded.owner))
            return 0
        phase = retrying(_settle_sent, guarded)
    except (ToolError, *FAILURES) as error:
        journal.write("watchdog", found=found, nothing=redact(str(error)))
        return 3
    journal.write("watchdog", phase=str(phase), seconds=round(time.monotonic() - began, 3))
    return 0


def _settle_sent(guarded: Guarded) -> Phase:
    config = RunConfig(smoke=_unplayed, folder=guarded.folder.parent)
    context = config.new_context(guarded.verb, guarded.env, run=guarded.folder.name)
    with context.locked(lambda: None):
        phase = context.phase()
        if guarded.verb == "rollback":
            if phase is Phase.RETURNED:
                returning.open_file(context)
        elif phase is Phase.LIVE:
            cutover_steps.go_live(context)
        elif phase in (Phase.LOADING, Phase.ABORTED):
            open_again(guarded.env, guarded.owner)
            context.journal.write(READ_ONLY_ENDS)
        return phase


def _unplayed(services: Sequence[str], store: PostgresUrl | LegacyUrl, *, pass_token: str) -> SmokeResult:
    """Play nothing: the smoke test ran before the window."""
    del services, store, pass_token
    return SmokeResult(0)


def open_again(env: Environment, owner: Owner) -> bool:
    """Open the file at once, without asking Postgres; a fence that is not this run's stays. True if it was fenced."""
    path = env.legacy.path
    with closing(sqlite_values.connect(path)) as connection:
        mark = legacy_fence.mark(connection)
        if mark.state != "fenced" or mark.owner != owner:
            return False
        legacy_fence.lift(connection, check=fence_owner.of_this_run(owner, path))
        return True


if __name__ == "__main__":
    # All is written. The interpreter's own shutdown takes 0.17 s of a processor, which the players need who waited in
    # the window.
    os._exit(main())
